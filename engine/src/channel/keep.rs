//! How long messages are kept: `keep = { messages = "90d", bodies = "30d" }`, in a channel file or in `punte.toml`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::duration;
use super::read::Reader;
use super::tree::{Node, Path};

/// What says that something is never taken out.
const EVER: &str = "forever";

const HOUR: Duration = Duration::from_secs(3600);

/// How long something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepFor {
    /// It is never taken out.
    #[default]
    Ever,
    /// It is taken out after that.
    For(Duration),
}

/// What a file says of how long messages are kept. What it does not say is said elsewhere, or is kept for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Messages with all that belongs to them.
    pub messages: Option<KeepFor>,
    /// Their bytes and those of their deliveries and answers; the rest stays.
    pub bodies: Option<KeepFor>,
    /// Those that failed; unless said as `messages`.
    pub failed: Option<KeepFor>,
    /// Those that a filter left out; unless said as `messages`.
    pub filtered: Option<KeepFor>,
    /// Questions and their answers; unless said as `messages`.
    pub answered: Option<KeepFor>,
    /// The access journal. Only `punte.toml` says it.
    pub journal: Option<KeepFor>,
    /// How often it is looked for what is old enough. Only `punte.toml` says it.
    pub every: Option<KeepFor>,
}

impl Keep {
    /// How often it is looked for what is old enough; none: only when a person says so.
    pub fn every(&self) -> Option<Duration> {
        match self.every {
            None => Some(HOUR),
            Some(KeepFor::For(every)) => Some(every),
            Some(KeepFor::Ever) => None,
        }
    }
}

impl KeepFor {
    /// Reads a duration, or `forever`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == EVER {
            return Ok(KeepFor::Ever);
        }
        let length = duration::parse(text).map_err(|what| format!("{what}; or \"{EVER}\""))?;
        if length < Duration::from_secs(1) {
            return Err(format!(
                "nothing is kept for less than \"1s\"; or write \"{EVER}\""
            ));
        }
        Ok(KeepFor::For(length))
    }

    /// The longer of both.
    #[must_use]
    pub fn at_least(self, other: Duration) -> Self {
        match self {
            KeepFor::Ever => KeepFor::Ever,
            KeepFor::For(length) => KeepFor::For(length.max(other)),
        }
    }
}

impl<'de> Deserialize<'de> for KeepFor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        KeepFor::parse(&text).map_err(de::Error::custom)
    }
}

impl Reader<'_> {
    /// How long the messages of the channel are kept.
    pub(super) fn keep(&mut self, root: &Node) -> Keep {
        let mut keep = Keep::default();
        let Some(node) = root.get("keep") else {
            return keep;
        };
        let path = Path::default().key("keep");
        for (name, length) in [
            ("messages", &mut keep.messages),
            ("bodies", &mut keep.bodies),
            ("failed", &mut keep.failed),
            ("filtered", &mut keep.filtered),
            ("answered", &mut keep.answered),
        ] {
            let Some(text) = node.get(name).and_then(Node::text) else {
                continue;
            };
            match KeepFor::parse(text) {
                Ok(said) => *length = Some(said),
                Err(what) => self.problem(path.key(name), what),
            }
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_or_forever() {
        assert_eq!(KeepFor::parse("forever"), Ok(KeepFor::Ever));
        let month = KeepFor::For(Duration::from_secs(30 * 86_400));
        assert_eq!(KeepFor::parse("30d"), Ok(month));
        for wrong in ["", "0s", "10ms", "30 days", "ever", "-1d"] {
            assert!(KeepFor::parse(wrong).is_err(), "{wrong}");
        }
    }
}
