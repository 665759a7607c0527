//! When a destination may be sent to, and how fast.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::Rate;
use super::read::Reader;
use super::tree::{Node, Path, Value};
use super::window::{Span, Window};
use crate::run::LINK;

/// The zone of a channel that names none.
const ZONE: &str = "Europe/Bucharest";

/// The longest span of a rate. A program that has just been started does not know what the one before it sent, and waits
/// for so long.
const LONGEST_SPAN: Duration = Duration::from_secs(3600);

impl Reader<'_> {
    /// When a destination may be sent to; none: always.
    pub(super) fn window(&mut self, node: &Node, path: &Path, zone: Option<&str>) -> Option<Window> {
        self.not_of_a_link(node, path, "window");
        let node = node.get("window")?;
        let path = path.key("window");
        let places: Vec<(&Node, Path)> = match &node.value {
            Value::List(items) => (items
                .iter()
                .enumerate()
                .map(|(idx, item)| (item, path.index(idx))))
            .collect(),
            _ => vec![(node, path.clone())],
        };
        let mut spans = vec![];
        for (node, path) in places {
            let Some(open) = node.get("open").and_then(Node::text) else {
                continue;
            };
            match Span::read(open, node.get("days").and_then(Node::text)) {
                Ok(span) => spans.push(span),
                Err(wrong) => {
                    for (key, what) in wrong {
                        self.problem(path.key(key), what);
                    }
                }
            }
        }
        let zone = zone.unwrap_or(ZONE);
        match TimeZone::get(zone) {
            Ok(zone) => Some(Window { zone, spans }),
            Err(_) => {
                let what = format!(
                    "the zone {zone} is not known on this machine, so that nobody knows when it is open; install tzdata"
                );
                self.problem(path, what);
                None
            }
        }
    }

    /// How fast a destination may be sent to; none: as it can.
    pub(super) fn rate(&mut self, node: &Node, path: &Path) -> Option<Rate> {
        self.not_of_a_link(node, path, "rate");
        let node = node.get("rate")?;
        let path = path.key("rate");
        let per = self.duration(node, &path, "per")?;
        if per.is_zero() || LONGEST_SPAN < per {
            self.problem(
                path.key("per"),
                "a span of at least \"1ms\" and at most \"1h\"".to_owned(),
            );
        }
        let most = match node.get("most")?.value {
            Value::Integer(most) => usize::try_from(most).ok()?,
            _ => return None,
        };
        Some(Rate { most, per })
    }

    /// What leads to a channel stays in the house: nobody is shut there, and nobody is slow.
    pub(super) fn not_of_a_link(&mut self, node: &Node, path: &Path, key: &str) {
        if node.get(key).is_some() && node.get(LINK).is_some() {
            let what = "belongs to a destination outside; write it in that channel, at its destinations";
            self.problem(path.key(key), what.to_owned());
        }
    }
}
