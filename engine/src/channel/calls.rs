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
            let mut settings = entry.node.to_json();
            let mut is_right = true;
            // What the schema has refused is left out, so that the rest can still be looked at.
            for finding in self
                .findings
                .iter()
                .filter(|finding| finding.path.is_under(&path))
            {
                is_right = false;
                finding.path.remove_from(&path, &mut settings);
            }
            if is_right || Shape::fits(calls.schema(), &settings) {
                let problems = calls.check(&settings);
                is_right &= problems.is_empty();
                for problem in problems {
                    self.problem(path.join(&problem.path), problem.what);
                }
            }
            self.secrets(&entry.node, &path);
            if is_right {
                let surroundings = Surroundings {
                    folder: self.folder(),
                    script: None,
                };
                let looked = calls.look_at(&settings, &surroundings);
                for problem in looked.problems {
                    self.problem(path.join(&problem.path), problem.what);
                }
                for warning in looked.warnings {
                    self.warning(path.join(&warning.path), warning.what);
                }
            }
            // Named even where it is wrong: a script that uses it is told nothing more.
            granted.insert(entry.key.clone(), settings);
        }
        granted
    }
}
