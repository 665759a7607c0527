//! The two ends of a channel, as traits that `connectors` implements, and the doors that the engine opens to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::{MapError, Reason, Response};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::anew::{Anew, AnewError};
use crate::archive::KeptObject;
use crate::body::{BodyWriter, StoredBody};
use crate::call::Calls;
use crate::format::Format;
use crate::message::{Incoming, MessageState};
use crate::run::ScriptEnd;

/// What stops a source or a worker: cancelled when it is to end.
pub type Stop = CancellationToken;

/// A connector could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConnectorError {
    /// What is wrong and what to do.
    pub what: String,
}

impl ConnectorError {
    /// With a sentence.
    pub fn new(what: impl Into<String>) -> Self {
        ConnectorError { what: what.into() }
    }
}

/// What the sender of a message is told, and whether it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What its format answers: one frame each. Empty: nothing is to be said.
    pub frames: Vec<Vec<u8>>,
    /// How far it was taken; a transport with a status of its own (HTTP) goes by it.
    pub outcome: Outcome,
    /// In words, for transports that say something beside the frames. No personal values.
    pub note: Option<String>,
    /// The message, where it was stored.
    pub message: Option<uuid::Uuid>,
    /// What it came to.
    pub state: Option<MessageState>,
    /// Where in it something is wrong.
    pub place: Option<String>,
}

/// How far a message was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Stored: routed, filtered, parked, or a repeat of such a one.
    #[default]
    Stored,
    /// Stored as failed: it can't be read or written as it is.
    Failed,
    /// Not stored: the sender is to try again later.
    Unavailable,
}

/// The door of the engine for one channel's source.
#[async_trait]
pub trait Accept: Send + Sync {
    /// Stores a message and says what its sender is told. What comes back *is* the acknowledgement.
    async fn accept(&self, incoming: Incoming) -> Acknowledgement;
    /// Answers a question now, from the clinic as it stands, and records it; it is not queued and no step runs on it.
    /// What may be either is handed to [`Accept::accept`], which knows a question by its format.
    async fn ask(&self, question: Incoming) -> Acknowledgement {
        self.accept(question).await
    }
    /// Finds the objects that a question asks for, to be taken elsewhere, and records it as a question. An error is what the
    /// asker is told.
    async fn fetch(&self, _question: Incoming) -> Result<Vec<KeptObject>, Acknowledgement> {
        Err(Acknowledgement {
            outcome: Outcome::Unavailable,
            ..Acknowledgement::default()
        })
    }
    /// Keeps what came and can't be a message (a frame too long, one without an end), with the reason.
    /// `kept` is at most the first 256 KB of it.
    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement;
    /// The newest number of the messages that came by this door, of those that begin like this: where a source goes on
    /// after a restart. None: there is none among the last that came.
    async fn newest(&self, _beginning: &str) -> Result<Option<String>, ConnectorError> {
        Ok(None)
    }
    /// Where a source that fetches goes on; none: at the beginning.
    async fn cursor(&self) -> Result<Option<String>, ConnectorError> {
        Ok(None)
    }
    /// Keeps where it goes on, once all before is stored; returns once that is on disk.
    async fn keep_cursor(&self, _cursor: &str) -> Result<(), ConnectorError> {
        Err(ConnectorError::new("nothing is kept here"))
    }
    /// Takes a body of at most so many bytes piece by piece, before it is handed in. What it is finished to goes into
    /// [`Incoming`], as `body` and `big`.
    fn begin_body(&self, limit: u64) -> BodyWriter {
        BodyWriter::in_memory(limit)
    }
}

/// The door of the engine, to be shared by the connections of a source.
pub type Intake = Arc<dyn Accept>;

/// Brings messages in.
#[async_trait]
pub trait Source: Send {
    /// The address that it listens on, where it listens (port 0 has become a real one).
    fn local_address(&self) -> Option<std::net::SocketAddr>;
    /// Runs until stopped. Waits for what it has begun, at most a second.
    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError>;
}

/// What a destination is given to send.
#[derive(Clone)]
pub struct Outgoing {
    /// The delivery's number: the same for each try, and of this store alone; see [`Outgoing::key`].
    pub delivery: i64,
    /// The bytes; for a destination that takes them in pieces, of a long one at least its beginning.
    pub body: Bytes,
    /// All of a long one, where `body` is only its beginning.
    pub big: Option<StoredBody>,
    /// MIME type.
    pub content_type: String,
    /// What may be said of the message beside its bytes.
    pub about: About,
}

impl Outgoing {
    /// What a far side knows a repeat by: the same for each try, and of no other delivery, also after a restore and of another
    /// store. A UUID (version 8) made of the message, the number of the delivery and what is sent.
    pub fn key(&self) -> Uuid {
        let mut hash = blake3::Hasher::new();
        hash.update(self.about.message.as_bytes());
        hash.update(&self.delivery.to_be_bytes());
        hash.update(&self.body);
        let mut bytes = [0; 16];
        hash.finalize_xof().fill(&mut bytes);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// All of its bytes, to be read in pieces.
    pub fn whole(&self) -> StoredBody {
        self.big.clone().unwrap_or_else(|| self.body.clone().into())
    }

    /// The same in another coding of its format, written while it is sent.
    pub async fn anew(&self, to: &str) -> Result<Anew, AnewError> {
        let (format, beginning, to) = (self.about.format.clone(), self.body.clone(), to.to_owned());
        let whole = self.whole();
        let length = whole.length();
        Anew::begin(whole, move |file| match format {
            Some(format) => format.rewritten(&beginning, file, length, &to),
            None => Err(MapError::new(
                Reason::UnsupportedType,
                None,
                "its format is not known",
            )),
        })
        .await
    }
}

/// Reads the values at a path of a message, in the words of its format.
pub type Values = dyn Fn(&str) -> Result<Vec<String>, MapError> + Send + Sync;

/// What a destination may say of a message beside its bytes: in the name of a file, in a subject, in a header.
#[derive(Clone)]
pub struct About {
    /// The message that it belongs to.
    pub message: Uuid,
    /// Through which channel it came.
    pub channel: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The channel's zone, an IANA name. None: Europe/Bucharest.
    pub zone: Option<String>,
    /// Its values by the paths of its format.
    pub values: Arc<Values>,
    /// Its format; none: it is not known.
    pub format: Option<Arc<dyn Format>>,
}

impl Default for About {
    /// Of nothing: without values.
    fn default() -> Self {
        About {
            message: Uuid::nil(),
            channel: String::new(),
            received_at: Timestamp::UNIX_EPOCH,
            zone: None,
            values: Arc::new(|_| Ok(Vec::new())),
            format: None,
        }
    }
}

/// Whether an answer belongs to the message that is being sent. (A type of its own, since `async_trait` would give the
/// argument of a closure written in place a lifetime that no answer has.)
pub type Mine<'m> = dyn Fn(&[u8]) -> bool + Send + Sync + 'm;

/// Takes messages out.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Sends one, and reads on past every answer that is not `mine`, until its deadline; those are recorded by the
    /// connector's log, never returned. A destination whose protocol pairs question and answer (HTTP) ignores `mine`.
    async fn send(&self, outgoing: &Outgoing, mine: &Mine<'_>) -> Result<Response, SendError>;
    /// Asks one question, whose answer is for now. It must not touch the way of the deliveries: no answer of either may
    /// be taken for one of the other.
    async fn query(&self, _question: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        Err(SendError::Refused {
            why: "There is nobody there who could be asked.".to_owned(),
        })
    }
    /// Whether it takes a body in pieces ([`Outgoing::whole`]). Else a long one is read before it is sent.
    fn takes_pieces(&self) -> bool {
        false
    }
    /// Whether what it is given are requests for storage commitment, and what it sends is the report on each; and how long
    /// objects that have not come are waited for. None: it sends what it is given.
    fn commits(&self) -> Option<Duration> {
        None
    }
    /// Whether the far side can be reached.
    async fn probe(&self) -> Result<(), ConnectorError>;
}

/// What a question to a far side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// An address below that of the destination.
    Address,
    /// A message of the destination's format.
    Message,
    /// An address where it begins with `/` or `?`, else a message.
    Either,
}

/// What the far side did, as far as we can know. The engine acts on the arm, never on the text.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Surely not received.
    #[error("{why}")]
    Retry {
        /// Why.
        why: String,
        /// When the far side wants to be asked again.
        after: Option<Duration>,
    },
    /// Received and rejected: not retried blindly.
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Sent, the answer is lost.
    #[error("{why}")]
    Unsure {
        /// Why.
        why: String,
    },
    /// The far side is there, and broke off at this very message. Where it does so again and again, the message has been
    /// refused in its own way.
    #[error("{why}")]
    BrokenOff {
        /// Why.
        why: String,
        /// All of it was sent: it may have been received.
        is_sent: bool,
    },
}

/// A problem of settings, at a path inside the connector's own table (`listen`, `auth.bearer_env`; empty: the table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Where.
    pub path: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// What a look at the world around a table has found: files that are named and not there, certificates that have expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The end would not open, or nobody could use it.
    pub problems: Vec<SettingsProblem>,
    /// Odd, and may be meant.
    pub warnings: Vec<SettingsProblem>,
}

impl Looked {
    /// Something that is wrong.
    pub fn problem(&mut self, path: &str, what: impl Into<String>) {
        self.problems.push(SettingsProblem {
            path: path.to_owned(),
            what: what.into(),
        });
    }

    /// Something that is odd.
    pub fn warn(&mut self, path: &str, what: impl Into<String>) {
        self.warnings.push(SettingsProblem {
            path: path.to_owned(),
            what: what.into(),
        });
    }
}

/// Where files named in a channel file are looked for, and where secrets come from.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The folder of the channel file.
    pub folder: std::path::PathBuf,
    /// The script of this end, where it is one.
    pub script: Option<ScriptEnd>,
}

/// A script that the table of an end names.
#[derive(Clone, Debug)]
pub struct NamedScript {
    /// Where in the table its file stands; empty: the table is no table but the file.
    pub path: &'static str,
    /// Its file, as the channel writes it.
    pub file: String,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes it may take.
    pub memory: u64,
    /// The code tables that it may look into.
    pub tables: Vec<String>,
}

/// One end of a channel as its file has it, for what only the ends of all channels together show.
#[derive(Clone, Copy, Debug)]
pub struct EndSettings<'a> {
    /// A source or a destination.
    pub is_source: bool,
    /// Its own table.
    pub settings: &'a serde_json::Value,
    /// The channel file that it stands in.
    pub file: &'a std::path::Path,
}

impl EndSettings<'_> {
    /// The folder of its channel file: what its relative paths start from.
    pub fn folder(&self) -> &std::path::Path {
        self.file.parent().unwrap_or(self.file)
    }
}

/// A kind of source or destination. `check` is pure and reports every problem; `open` may touch the world.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Its name in channel files: `mllp`, `http`, `fhir`.
    fn name(&self) -> &'static str;
    /// The format that its messages have unless the channel says otherwise; none: the channel must say.
    fn format(&self) -> Option<&'static str>;
    /// JSON Schema of its source table; none: it is no source.
    fn source_schema(&self) -> Option<serde_json::Value> {
        None
    }
    /// JSON Schema of its destination table; none: it is no destination.
    fn destination_schema(&self) -> Option<serde_json::Value> {
        None
    }
    /// The script that a table names, where the end is a script.
    fn script(&self, _settings: &serde_json::Value) -> Option<NamedScript> {
        None
    }
    /// What is wrong with a source table beyond its schema.
    fn check_source(&self, _settings: &serde_json::Value) -> Vec<SettingsProblem> {
        Vec::new()
    }
    /// What is wrong with a destination table beyond its schema.
    fn check_destination(&self, _settings: &serde_json::Value) -> Vec<SettingsProblem> {
        Vec::new()
    }
    /// Why two ends can't both work as they are set (two sources that read the same files). It is told at `this`, as a
    /// sentence whose subject is the file of the other: "reads these files already".
    fn clash(&self, _this: EndSettings<'_>, _other: EndSettings<'_>) -> Option<SettingsProblem> {
        None
    }
    /// Whether the channels that name one address share its listener; [`Connector::clash`] says where two of them can't.
    fn shares_listeners(&self) -> bool {
        false
    }
    /// The paths of a message that a destination's settings name: where in the settings, and the path.
    fn message_paths(&self, _settings: &serde_json::Value) -> Vec<(String, String)> {
        Vec::new()
    }
    /// Whether the far side says anything by itself. Where it does not (a file), what could be sent is accepted, and
    /// no format has to judge.
    fn answers(&self) -> bool {
        true
    }
    /// What a question to such a destination is; none: it can't be asked.
    fn asks(&self) -> Option<Asks> {
        None
    }
    /// Whether this can be asked; the error says what is wrong with it.
    fn check_question(&self, _question: &str) -> Result<(), String> {
        Ok(())
    }
    /// What a look at the files around a source table that is right finds. Reads, opens nothing.
    fn look_at_source(&self, _settings: &serde_json::Value, _surroundings: &Surroundings) -> Looked {
        Looked::default()
    }
    /// What a look at the files around a destination table that is right finds. Reads, opens nothing.
    fn look_at_destination(&self, _settings: &serde_json::Value, _surroundings: &Surroundings) -> Looked {
        Looked::default()
    }
    /// Opens a source: binds its address.
    async fn open_source(
        &self,
        settings: &serde_json::Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError>;
    /// Opens a destination. Does not connect yet.
    async fn open_destination(
        &self,
        _settings: &serde_json::Value,
        _surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        Err(ConnectorError::new(format!("{} is no destination", self.name())))
    }
    /// True where only requests for storage commitment go to its destinations: of the messages of a channel that takes other
    /// things too, the others are not for them.
    fn commits(&self) -> bool {
        false
    }
    /// By which path of what is sent its order goes unless the channel says otherwise; none: one after the other.
    fn order(&self) -> Option<&'static str> {
        None
    }
    /// What to do with an unsure delivery unless the channel says otherwise.
    fn on_unsure(&self) -> crate::channel::OnUnsure;
}

/// The connectors that this program has.
#[derive(Clone)]
pub struct Connectors {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    calls: Option<Arc<dyn Calls>>,
}

impl Default for Connectors {
    /// The ends that lie inside Punte, which no protocol is needed for.
    fn default() -> Self {
        Connectors {
            connectors: BTreeMap::new(),
            calls: None,
        }
        .with(crate::run::Link)
        .with(crate::run::Clinic)
        .with(crate::run::Responses)
    }
}

impl Connectors {
    /// Adds one.
    pub fn with(mut self, connector: impl Connector + 'static) -> Self {
        self.connectors.insert(connector.name(), Arc::new(connector));
        self
    }

    /// Sets by what scripts call.
    pub fn with_calls(mut self, calls: impl Calls + 'static) -> Self {
        self.calls = Some(Arc::new(calls));
        self
    }

    /// By what scripts call; none: this program calls nobody for them.
    pub fn calls(&self) -> Option<&dyn Calls> {
        self.calls.as_deref()
    }

    /// By its name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Connector>> {
        self.connectors.get(name).cloned()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_delivery_is_that_of_no_other() {
        let of = |message: u128, delivery: i64, body: &'static str| {
            let outgoing = Outgoing {
                delivery,
                body: Bytes::from_static(body.as_bytes()),
                big: None,
                content_type: String::new(),
                about: About {
                    message: Uuid::from_u128(message),
                    ..About::default()
                },
            };
            outgoing.key()
        };
        let key = of(1, 1024, "a");
        assert_eq!(key, of(1, 1024, "a"), "at each try");
        // Of another store the same number; of one message again; of one that was edited after a restore.
        for other in [of(2, 1024, "a"), of(1, 2048, "a"), of(1, 1024, "b")] {
            assert_ne!(key, other);
        }
        assert_eq!(key.get_version_num(), 8);
    }
}
