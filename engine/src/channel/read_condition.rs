//! What a `filter` or a `when` asks for: paths and tests.

use super::condition::regex;
use super::heading::{self, is_heading};
use super::read::{Flow, Reader};
use super::shape::Finding;
use super::tree::{Node, Path, Value};
use super::{Condition, Test};

impl Reader<'_> {
    /// Paths and tests.
    pub(super) fn condition(&mut self, node: &Node, path: &Path, flow: &Flow) -> Condition {
        let mut condition = Condition::default();
        for entry in node.entries() {
            let path = path.key(&entry.key);
            self.value_path(&entry.key, &path, flow, true);
            if let Some(test) = self.test(&entry.node, &path) {
                condition.all.push((entry.key.clone(), test));
            }
        }
        condition
    }

    fn test(&mut self, node: &Node, path: &Path) -> Option<Test> {
        match &node.value {
            Value::Text(text) => {
                self.not_empty(text, path);
                Some(Test::Any(vec![text.clone()]))
            }
            Value::List(items) => {
                let mut texts = Vec::new();
                for (idx, item) in items.iter().enumerate() {
                    let text = item.text()?;
                    self.not_empty(text, &path.index(idx));
                    texts.push(text.to_owned());
                }
                Some(Test::Any(texts))
            }
            Value::Table(entries) => {
                let [entry] = entries.as_slice() else {
                    return None;
                };
                let path = path.key(&entry.key);
                match (entry.key.as_str(), &entry.node.value) {
                    ("not", _) => self
                        .test(&entry.node, &path)
                        .map(|test| Test::Not(Box::new(test))),
                    ("matches", Value::Text(text)) => match regex(text) {
                        Ok(regex) => Some(Test::Matches(regex)),
                        Err(what) => {
                            self.problem(path, what);
                            None
                        }
                    },
                    ("present", Value::Bool(flag)) => Some(Test::Present(*flag)),
                    _ => None,
                }
            }
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Other => None,
        }
    }

    fn not_empty(&mut self, text: &str, path: &Path) {
        if text.is_empty() {
            let what = "an empty text matches nothing; write { present = false }".to_owned();
            self.problem(path.clone(), what);
        }
    }

    /// A path that is read: in the message, or beside it.
    pub(super) fn value_path(&mut self, written: &str, path: &Path, flow: &Flow, at_key: bool) {
        if !is_heading(written) {
            self.field_path(written, path, flow, at_key);
        } else if let Err(what) = heading::check(written) {
            self.problem(path.clone(), what);
        }
    }

    /// A path in the messages' format.
    pub(super) fn field_path(&mut self, written: &str, path: &Path, flow: &Flow, at_key: bool) {
        let Some(format) = &flow.format else {
            return;
        };
        let checked = match is_heading(written) {
            true => {
                Err("stands beside the message: it can be asked for, not written or looked up".to_owned())
            }
            false => format.check_path(written),
        };
        if let Err(what) = checked
            && !self.is_told(path)
        {
            let path = path.clone();
            self.problems.push(if at_key {
                Finding::at_key(path, what)
            } else {
                Finding::at_value(path, what)
            });
        }
    }
}
