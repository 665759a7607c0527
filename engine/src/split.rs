//! Files taken apart into the messages that they hold. The engine asks for it and knows no format of files: `server`
//! registers who can ([`crate::format::Formats::with_splitter`]).

use bytes::Bytes;
use clinic::exchange::{MapError, Place};
use serde_json::Value;

use crate::connector::SettingsProblem;

/// The queue of a channel in which wholes wait to be taken apart. No destination can have this name.
pub const PARTS: &str = "@parts";

/// One of the messages that a whole holds.
#[derive(Clone)]
pub struct Part {
    /// Where in the whole it stands, in the words of its kind.
    pub place: Place,
    /// What the whole calls it, where it does.
    pub name: Option<String>,
    /// Its bytes.
    pub body: Bytes,
}

/// Takes wholes apart. Pure: the same bytes and settings give the same parts each time.
pub trait Splitter: Send + Sync {
    /// JSON Schema of what stands behind `split` in a channel file.
    fn schema(&self) -> Value;
    /// What is wrong with it beyond its schema.
    fn check(&self, settings: &Value) -> Vec<SettingsProblem>;
    /// The parts in their order. What is wrong with the whole (a trailer that counts otherwise, more than the limits)
    /// is an error, and none of it is a message then.
    fn split(&self, settings: &Value, whole: &Bytes) -> Result<Vec<Part>, MapError>;
}
