//! Whom the scripts of a channel may call.

use std::collections::BTreeMap;

use super::read::{Given, Reader};
use super::shape::Shape;
use super::tree::{Node, Path};
use crate::connector::Surroundings;

impl Reader<'_> {
    /// The far sides that the channel grants, as far as their tables are right.
    pub(super) fn calls(&mut self, root: &Node) -> BTreeMap<String, serde_json::Value> {
        let mut granted = BTreeMap::new();
        let top = Path::default().key("http");
        let entries = root.get("http").map(Node::entries).unwrap_or_default();
        self.at_most(entries.len(), &top);
        let Some(calls) = self.connectors.calls() else {
            return granted;
        };
        for entry in entries {
            let path = top.key(&entry.key);
            self.state_name(&entry.key, &path);
            let Given {
                settings,
                mut is_right,
                stand_ins,
            } = self.settings(&entry.node, &path);
            if is_right || Shape::fits(calls.schema(), &settings) {
                let problems = stand_ins.apart_from(&path, calls.check(&settings));
                is_right &= self.are_right(&path, problems);
            }
            self.secrets(&entry.node, &path);
            if is_right {
                let surroundings = Surroundings {
                    folder: self.folder(),
                    script: None,
                };
                self.looks_right(&path, calls.look_at(&settings, &surroundings));
            }
            // Named even where it is wrong: a script that uses it is told nothing more.
            granted.insert(entry.key.clone(), settings);
        }
        granted
    }
}
