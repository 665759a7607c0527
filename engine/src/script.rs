//! What a script is to the engine: something checked that is run on one message. The engine knows no language;
//! `server` brings one.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clinic::ChangeSet;
use clinic::exchange::MapError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallAnswer, CallError, CallRequest};
use crate::channel::state::GREATEST;
use crate::format::CodeTables;

/// How long a script may take where the step does not say.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// The limits of what a script may be given.
pub const SHORTEST: Duration = Duration::from_millis(10);
/// The longest time.
pub const LONGEST: Duration = Duration::from_secs(60);
/// The least memory, in bytes.
pub const LEAST_MEMORY: u64 = 4 << 20;
/// The most.
pub const MOST_MEMORY: u64 = 512 << 20;

/// How much memory a script may take where the step does not say.
pub const MEMORY: u64 = 64 << 20;

/// A script that a channel names.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The channel's folder: nothing outside it is read.
    pub folder: &'a Path,
    /// The file, as the channel writes it.
    pub file: &'a str,
    /// The code tables that it may look into.
    pub tables: &'a CodeTables,
    /// The counters that its channel declares.
    pub counters: &'a [&'a str],
    /// The caches that its channel declares.
    pub caches: &'a [&'a str],
    /// The far sides that its channel grants.
    pub granted: &'a [&'a str],
    /// The destinations that its channel lets it ask.
    pub asks: &'a [&'a str],
    /// How long it may take with one message.
    pub timeout: Duration,
    /// How many bytes it may take.
    pub memory: u64,
}

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptProblem {
    /// The file; none: the script itself can't be had, which is a problem of the channel file.
    pub place: Option<(PathBuf, usize, usize)>,
    /// What is wrong.
    pub what: String,
}

/// A language of scripts.
pub trait Scripts: Send + Sync {
    /// Reads a script with all that it imports (by `read`) and sees that it can be run.
    fn check(
        &self,
        wanted: &Wanted<'_>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Arc<dyn Script>, Vec<ScriptProblem>>;
}

/// A script that has been checked.
pub trait Script: Send + Sync + Debug {
    /// Its file, as the channel writes it.
    fn file(&self) -> &str;
    /// Runs it on a message. Blocks, at most for its time limit once it has its turn.
    fn run(&self, call: &Call<'_>) -> Result<Returned, ScriptFailed>;
}

/// A counter, as a script finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number that was given last; none: it has given none yet.
    pub given: Option<u64>,
    /// The first one.
    pub first: u64,
    /// The last one, after which the first comes again.
    pub last: Option<u64>,
}

impl Count {
    /// The next number. None: there is no greater one that a script can tell from the next.
    pub fn next(&self) -> Option<u64> {
        match self.given {
            None => Some(self.first),
            Some(given) if self.last.is_some_and(|last| last <= given) || given < self.first => {
                Some(self.first)
            }
            Some(given) => Some(given + 1).filter(|next| *next <= GREATEST),
        }
    }
}

/// What a script writes to a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheWrite {
    /// The cache.
    pub cache: String,
    /// Where in it.
    pub key: String,
    /// JSON; none: it is taken out.
    pub value: Option<String>,
}

/// What a script reaches beside its message while it runs.
pub trait Reach {
    /// What stands in a cache under a key, as JSON.
    fn cached(&self, cache: &str, key: &str) -> Option<String>;
    /// Calls a far side, for at most so long. `number`: which call of this run it is, from 0. A script whose process has
    /// ended runs once more, and gets what it was answered before.
    fn call(&self, number: usize, request: CallRequest, within: Duration) -> Result<CallAnswer, CallError>;
    /// Asks a destination of the channel.
    fn ask(&self, _destination: &str, _question: String) -> Heard {
        Heard::Not("a destination is asked by steps".to_owned())
    }
}

/// What a script hears from a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What was found.
    Found(Bytes),
    /// There is nothing of what was asked for.
    Nothing,
    /// There is no answer that can be believed: why.
    Not(String),
    /// The script ends here, and runs again once the answer is known.
    Later,
}

/// What a script is run for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// It is a step.
    Step,
    /// It is a destination: it takes a delivery.
    Deliver {
        /// What the delivery is known by, the same at each try ([`crate::connector::Outgoing::key`]).
        delivery: String,
    },
    /// It is a source: it fetches messages.
    Poll {
        /// What it said after the last time.
        cursor: Option<String>,
    },
}

/// What a script as a destination says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The far side has it.
    Accepted {
        /// What the far side calls it.
        reference: Option<String>,
    },
    /// The far side does not want it.
    Refused {
        /// Why.
        why: String,
    },
    /// Surely not taken.
    Retry {
        /// Why.
        why: String,
        /// When the far side wants to be asked again.
        after: Option<Duration>,
    },
    /// It can't be known.
    Unsure {
        /// Why.
        why: String,
    },
}

/// What a script as a source has fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// In their order.
    pub messages: Vec<PolledMessage>,
    /// Where to go on; none: as before.
    pub cursor: Option<String>,
}

/// One message that a script has fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolledMessage {
    /// What it is known again by.
    pub identity: String,
    /// MIME type; none: that of the channel's format.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Why a script returned nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFailed {
    /// What is told.
    pub error: MapError,
    /// True: it lies not in the script but in the machine or in its limit of time, so that another time may be better.
    pub may_pass: bool,
    /// What it wrote to its console before.
    pub console: Vec<String>,
}

/// What a script gets.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What it is run for.
    pub task: &'a Task,
    /// The channel.
    pub channel: &'a str,
    /// The message, a UUIDv7: its time is the script's clock, and its chance comes from it.
    pub message: Uuid,
    /// The name of the format of the body.
    pub format: &'a str,
    /// The body.
    pub body: &'a Bytes,
    /// What the message says about the clinic, after a decode.
    pub changes: Option<&'a ChangeSet>,
    /// What the message answers, where it is an answer.
    pub sent: Option<&'a Bytes>,
    /// False once the change set is written to the clinic.
    pub may_change: bool,
    /// The counters of its channel.
    pub counters: &'a BTreeMap<String, Count>,
    /// The caches of its channel.
    pub caches: &'a [String],
    /// The far sides that its channel grants.
    pub granted: &'a [String],
    /// The destinations that its channel lets it ask.
    pub asks: &'a [String],
    /// What it may ask for while it runs.
    pub reach: &'a dyn Reach,
}

/// What a script says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It stays as it came.
    Kept,
    /// It is this from here on.
    Body(Bytes),
    /// The message ends here, or does not go to this destination.
    Filtered,
    /// Of a delivery.
    Verdict(Verdict),
    /// Of a poll.
    Polled(Polled),
}

/// What a script returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The body.
    pub said: Said,
    /// The change set, where the script changed it.
    pub changes: Option<ChangeSet>,
    /// What it wrote to its console, a line each: for `punte try` only, since it may hold anything.
    pub console: Vec<String>,
    /// The numbers that it took last, by their counters.
    pub counted: BTreeMap<String, u64>,
    /// What it wrote to caches, in this order.
    pub cached: Vec<CacheWrite>,
}

/// A program without scripts.
pub struct NoScripts;

impl Scripts for NoScripts {
    fn check(
        &self,
        _: &Wanted<'_>,
        _: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Arc<dyn Script>, Vec<ScriptProblem>> {
        Err(vec![ScriptProblem {
            place: None,
            what: "this program runs no scripts".to_owned(),
        }])
    }
}
