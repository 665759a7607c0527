//! What the scripts of a channel may keep from one message for the next: counters and caches, each with its life, as the
//! channel file states them. A script that names another one is refused.

use std::time::Duration;

use super::read::Reader;
use super::tree::{Node, Path, Value};
use super::{Destination, Step, duration, size};

/// The most counters of a channel, and the most caches.
const MOST: usize = 32;

/// The greatest number that JavaScript counts to without a gap.
pub const GREATEST: u64 = (1 << 53) - 1;

/// How much a cache may hold.
const LEAST_MEMORY: u64 = 1 << 10;
const MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 64 << 20;

/// A counter: its value moves with the commit of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// True: one for all channels that declare it so. Else it is the channel's own.
    pub is_shared: bool,
    /// The first number that it gives.
    pub first: u64,
    /// The last one, after which the first comes again. None: it goes on.
    pub last: Option<u64>,
}

/// A cache: texts by keys, in memory, with a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// How long what was written stays.
    pub life: Life,
    /// How many bytes it may hold; what was written first goes first.
    pub memory: u64,
}

/// How long what was written to a cache stays. None of it outlives the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// So long.
    For(Duration),
    /// Until the program starts anew.
    Restart,
    /// While the channel takes so many messages.
    Messages(u64),
}

impl Reader<'_> {
    /// The counters of a channel.
    pub(super) fn counters(&mut self, root: &Node) -> Vec<Counter> {
        let top = Path::default().key("counter");
        let entries = root.get("counter").map(Node::entries).unwrap_or_default();
        self.at_most(entries.len(), &top);
        let mut counters = vec![];
        for entry in entries.iter().take(MOST) {
            let path = top.key(&entry.key);
            self.state_name(&entry.key, &path);
            let mut number = |key: &str| match entry.node.get(key).map(|node| &node.value) {
                Some(Value::Integer(number)) => match u64::try_from(*number) {
                    Ok(number) if number <= GREATEST => Some(number),
                    Ok(_) | Err(_) => {
                        let what = format!("a counter has whole numbers from 0 to {GREATEST}");
                        self.problem(path.key(key), what);
                        None
                    }
                },
                Some(_) | None => None,
            };
            let (first, last) = (number("first").unwrap_or(1), number("last"));
            if last.is_some_and(|last| last <= first) {
                let what = format!("the last number comes after the first, {first}");
                self.problem(path.key("last"), what);
            }
            let shared = entry.node.get("shared").map(|node| &node.value);
            counters.push(Counter {
                name: entry.key.clone(),
                is_shared: matches!(shared, Some(Value::Bool(true))),
                first,
                last,
            });
        }
        counters
    }

    /// The caches of a channel.
    pub(super) fn caches(&mut self, root: &Node) -> Vec<Cache> {
        let top = Path::default().key("cache");
        let entries = root.get("cache").map(Node::entries).unwrap_or_default();
        self.at_most(entries.len(), &top);
        let mut caches = vec![];
        for entry in entries.iter().take(MOST) {
            let path = top.key(&entry.key);
            self.state_name(&entry.key, &path);
            let memory = match entry.node.get("memory").and_then(Node::text).map(size::parse) {
                Some(Ok(memory)) if (LEAST_MEMORY..=MOST_MEMORY).contains(&memory) => memory,
                Some(Ok(_)) => {
                    let what = "a cache holds from \"1 KB\" to \"64 MB\"".to_owned();
                    self.problem(path.key("memory"), what);
                    MEMORY
                }
                Some(Err(what)) => {
                    self.problem(path.key("memory"), what);
                    MEMORY
                }
                None => MEMORY,
            };
            if let Some(life) = self.life(&entry.node, &path.key("life")) {
                caches.push(Cache {
                    name: entry.key.clone(),
                    life,
                    memory,
                });
            }
        }
        caches
    }

    fn life(&mut self, node: &Node, path: &Path) -> Option<Life> {
        let life = node.get("life")?;
        match (life.text(), life.get("messages").map(|node| &node.value)) {
            (Some("restart"), _) => Some(Life::Restart),
            (Some(text), _) => match duration::parse(text) {
                Ok(life) if !life.is_zero() => Some(Life::For(life)),
                Ok(_) => {
                    self.problem(path.clone(), "a life is at least \"1ms\"".to_owned());
                    None
                }
                Err(what) => {
                    let what = format!("{what}, \"restart\" or {{ messages = 100 }}");
                    self.problem(path.clone(), what);
                    None
                }
            },
            (None, Some(Value::Integer(messages))) => match u64::try_from(*messages) {
                Ok(messages) if 0 < messages => Some(Life::Messages(messages)),
                Ok(_) | Err(_) => {
                    self.problem(path.key("messages"), "at least 1".to_owned());
                    None
                }
            },
            (None, Some(_) | None) => None,
        }
    }

    /// A counter, a cache or a grant that no script can use.
    pub(super) fn unused_state(&mut self, root: &Node, steps: &[Step], destinations: &[Destination]) {
        let mut all = steps.iter().chain(destinations.iter().flat_map(|to| &to.steps));
        let is_end = destinations.iter().any(|to| to.end.script.is_some())
            || root
                .get("source")
                .is_some_and(|source| source.get("script").is_some());
        // A script that is wrong is one all the same.
        let is_wrong =
            !self.findings.is_empty() || !self.table_problems.is_empty() || !self.problems.is_empty();
        if is_wrong || is_end || all.any(|step| matches!(step, Step::Script(_))) {
            return;
        }
        for key in ["counter", "cache", "http", "ask"] {
            if root.get(key).is_some() {
                let what = "is for scripts, and the channel has none".to_owned();
                self.warning(Path::default().key(key), what);
            }
        }
    }

    pub(super) fn at_most(&mut self, count: usize, path: &Path) {
        if MOST < count {
            self.problem(path.clone(), format!("{count} of them; {MOST} are the most"));
        }
    }

    /// The name of a counter or a cache.
    pub(super) fn state_name(&mut self, name: &str, path: &Path) {
        let is_right = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || 64 < name.len() || !name.chars().all(is_right) {
            let what = "a name has letters, digits and hyphens, at most 64".to_owned();
            self.problem(path.clone(), what);
        }
    }
}
