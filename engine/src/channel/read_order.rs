//! By which key the order of a destination goes, and when it is left alone.

use std::time::Duration;

use super::problem::nearest;
use super::read::{Flow, Reader};
use super::tree::{Node, Path, Value};
use super::{Breaker, By, OrderBy};
use crate::format::{Format, Subject};

/// How many are sent at once unless it is said.
const PARALLEL: usize = 8;

impl OrderBy {
    /// By a path of what is sent.
    pub(super) fn by_path(path: &str) -> Self {
        OrderBy {
            by: By::Path(path.to_owned()),
            written: path.to_owned(),
            parallel: PARALLEL,
        }
    }
}

/// The words of what a message can be about.
const WORDS: [&str; 4] = ["patient", "visit", "order", STUDY];
/// The study that an object is of, for formats that have a place for it.
const STUDY: &str = "study";

/// The longest that a destination is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

impl Reader<'_> {
    /// By which key the order goes; none: one after the other. `flow`: what is sent.
    pub(super) fn order_by(&mut self, node: &Node, path: &Path, flow: &Flow) -> Option<OrderBy> {
        self.not_of_a_link(node, path, "order_by");
        let parallel = number(node, "parallel");
        if node.get("order_by").is_none() && node.get("parallel").is_some() {
            let what = "several at once keep their order only by a key; write order_by = \"patient\"";
            self.problem(path.key("parallel"), what.to_owned());
        }
        let written = node.get("order_by")?.text()?;
        let path = path.key("order_by");
        for key in ["response", "answers"] {
            if node.get(key).is_some() {
                let what = format!(
                    "what its answers do, they do in the order of all; take {key} out, or order_by and parallel"
                );
                self.problem(path.clone(), what);
            }
        }
        let by = match Subject::from_word(written) {
            Some(subject) => By::Subject(subject),
            None if written == STUDY => match flow.format.as_ref().map(|format| format.study_path()) {
                Some(Some(path)) => By::Path(path.to_owned()),
                Some(None) => {
                    let what = "what is sent is of no study; write \"patient\", \"visit\", \"order\" or a path of it";
                    self.problem(path, what.to_owned());
                    return None;
                }
                None => return None,
            },
            None => {
                let is_path = |format: &std::sync::Arc<dyn Format>| format.check_path(written).is_ok();
                if let Some(word) = nearest(written, WORDS)
                    && !flow.format.as_ref().is_some_and(is_path)
                {
                    let what = format!("not known here; did you mean \"{word}\"?");
                    self.problem(path, what);
                    return None;
                }
                self.value_path(written, &path, flow, false);
                By::Path(written.to_owned())
            }
        };
        Some(OrderBy {
            by,
            written: written.to_owned(),
            parallel: parallel.unwrap_or(PARALLEL),
        })
    }

    /// When it is left alone; none: never.
    pub(super) fn breaker(&mut self, node: &Node, path: &Path, by_key: bool) -> Option<Breaker> {
        self.not_of_a_link(node, path, "breaker");
        let mut breaker = Breaker::default();
        let Some(node) = node.get("breaker") else {
            // One after the other, the pauses of the first are those of all; by key, each key has its own.
            return by_key.then_some(breaker);
        };
        let path = path.key("breaker");
        if let Some(after) = number(node, "after") {
            breaker.after = after.try_into().unwrap_or(u32::MAX);
        }
        if let Some(pause) = self.duration(node, &path, "pause") {
            breaker.pause = pause;
        }
        if breaker.pause.is_zero() || LONGEST_PAUSE < breaker.pause {
            let what = "a pause of at least \"1ms\" and at most \"1h\"".to_owned();
            self.problem(path.key("pause"), what);
        }
        Some(breaker)
    }
}

fn number(node: &Node, key: &str) -> Option<usize> {
    match node.get(key)?.value {
        Value::Integer(number) => usize::try_from(number).ok(),
        _ => None,
    }
}
