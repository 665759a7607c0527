//! What a script is to the engine: something checked that is run on one message. The engine knows no language;
//! `server` brings one.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clinic::ChangeSet;
use clinic::exchange::MapError;
use uuid::Uuid;

use crate::format::CodeTables;

/// How long a script may take where the step does not say.
pub const TIMEOUT: Duration = Duration::from_secs(1);

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
    fn run(&self, call: &Call<'_>) -> Result<Returned, MapError>;
}

/// What a script gets.
#[derive(Clone, Copy)]
pub struct Call<'a> {
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
    /// False once the change set is written to the clinic.
    pub may_change: bool,
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
