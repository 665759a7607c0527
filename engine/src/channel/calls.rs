//! Whom the scripts of a channel may call.

use std::collections::BTreeMap;

use super::read::Reader;
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
            let (settings, mut is_right) = self.settings(&entry.node, &path);
            if is_right || Shape::fits(calls.schema(), &settings) {
                is_right &= self.are_right(&path, calls.check(&settings));
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
