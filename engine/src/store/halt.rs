//! What a person stopped or paused. Kept in the store, so that a restart finds it as it was.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How something stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltWord {
    /// A channel: nothing comes in by its source and nothing goes out. A destination: nothing goes out to it.
    Stopped,
    /// A channel: what comes in is stored and waits, nothing goes out. A destination: nothing goes out to it.
    Paused,
}

impl HaltWord {
    /// Its name in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            HaltWord::Stopped => "stopped",
            HaltWord::Paused => "paused",
        }
    }
}

/// A channel or one destination that stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Halt {
    /// The channel.
    pub channel: String,
    /// The destination; none: the channel as a whole.
    pub destination: Option<String>,
    /// How.
    pub word: HaltWord,
    /// Since when.
    pub since: Timestamp,
    /// Who did it: the name of a key.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}
