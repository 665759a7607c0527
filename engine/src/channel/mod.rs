//! Channels: what a channel file says, once it has been checked.

pub mod ask;
mod calls;
mod check;
mod condition;
pub mod duration;
mod heading;
pub mod keep;
mod keys;
mod links;
mod literal;
mod problem;
mod read;
mod read_ask;
mod read_condition;
mod read_order;
mod read_response;
mod read_step;
mod read_window;
pub mod response;
mod schema;
pub mod secret;
mod shape;
pub mod size;
pub mod state;
mod steps;
pub mod table;
mod tree;
mod uses;
pub mod window;
pub mod write_door;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clinic::apply::OnUnmatched;
use serde::{Deserialize, Serialize};

use crate::format::{CodeTables, SetOp, Settings, Subject};
use crate::message::DeliveryState;
use crate::script::Script;

pub use check::{Checked, check, read_folder, read_table};
pub use heading::{heading, is_heading};
pub use keep::{Keep, KeepFor};
pub use keys::KeyPaths;
pub use problem::{Problem, nearest, no_channel};
pub use response::{AnswersOf, Late};
pub use schema::{CHARSETS, channel_schema};
pub use uses::{Use, uses};
pub use window::Window;

/// A checked channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name: letters, digits, `-`.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// The file it came from.
    pub file: PathBuf,
    /// Where its messages come from.
    pub source: End,
    /// By which paths its messages are known again and found, beside what their format says of itself.
    pub keys: KeyPaths,
    /// True: questions that come by it are answered from the clinic.
    pub questions: bool,
    /// What its sender is told, and when.
    pub ack: Ack,
    /// How long a repeat is known again.
    pub dedup: Duration,
    /// How long its messages are kept.
    pub keep: Keep,
    /// Which site of the clinic it belongs to.
    pub site: Option<String>,
    /// What happens to each message.
    pub steps: Vec<Step>,
    /// Where it goes.
    pub destinations: Vec<Destination>,
    /// Its code tables, read.
    pub tables: CodeTables,
    /// What its scripts may count.
    pub counters: Vec<state::Counter>,
    /// What its scripts may keep for a while.
    pub caches: Vec<state::Cache>,
    /// Whom its scripts may call: the settings by their names.
    pub calls: BTreeMap<String, serde_json::Value>,
    /// Which destinations its scripts may ask, and how long each answer may take.
    pub script_asks: BTreeMap<String, Duration>,
    /// Whose answers go through it; none: it is a channel of a file.
    pub answers_of: Option<AnswersOf>,
}

impl Channel {
    /// One that nothing is said of but where its messages come from: they are stored, and that is all.
    pub fn from_source(id: &str, source: End) -> Self {
        Channel {
            id: id.to_owned(),
            description: String::new(),
            file: PathBuf::new(),
            source,
            keys: KeyPaths::default(),
            questions: false,
            ack: Ack::Stored,
            dedup: Duration::from_secs(7 * 24 * 3600),
            keep: Keep::default(),
            site: None,
            steps: vec![],
            destinations: vec![],
            tables: CodeTables::default(),
            counters: vec![],
            caches: vec![],
            calls: BTreeMap::new(),
            script_asks: BTreeMap::new(),
            answers_of: None,
        }
    }

    /// How what comes in is taken apart; none: it is one message.
    pub fn split(&self) -> Option<&serde_json::Value> {
        match self.steps.first()? {
            Step::Split { settings } => Some(settings),
            Step::Filter(_)
            | Step::Decode { .. }
            | Step::Set(_)
            | Step::Deidentify(_)
            | Step::Transcode { .. }
            | Step::Apply { .. }
            | Step::Encode { .. }
            | Step::Lookup(_)
            | Step::Ask(_)
            | Step::Script(_) => None,
        }
    }
}

/// One end of a channel: a connector, its settings, and the format of what passes.
#[derive(Clone, Debug)]
pub struct End {
    /// The connector's name.
    pub connector: String,
    /// Its settings, checked by its schema.
    pub settings: serde_json::Value,
    /// The name of the format.
    pub format: String,
    /// How the format is read or written here.
    pub format_settings: Settings,
    /// Its script, where it is one.
    pub script: Option<EndScript>,
}

/// A script that is an end, with what it reaches: an end whose script reaches something else is another end.
#[derive(Clone, Debug)]
pub struct EndScript {
    /// The script.
    pub script: Arc<dyn Script>,
    /// What it may keep for a while.
    pub caches: Vec<state::Cache>,
    /// Whom it may call.
    pub calls: BTreeMap<String, serde_json::Value>,
}

/// When the sender is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Once it is stored.
    #[default]
    Stored,
    /// Once a destination has answered, with its answer.
    Delivered {
        /// Which destination of the channel.
        destination: String,
        /// Later than that the sender is told to send it again, and waits for the same delivery.
        within: Duration,
    },
}

/// What happens in between.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps what matches.
    Filter(Condition),
    /// Reads the message as a change set.
    Decode {
        /// The format's name.
        format: String,
        /// How.
        settings: Settings,
    },
    /// Changes values of the message.
    Set(Vec<(String, SetOp)>),
    /// Writes the change set to the clinic.
    Apply {
        /// What to do with a patient who is not found.
        on_unmatched: OnUnmatched,
        /// Whether it writes over what a person wrote.
        overwrite: bool,
    },
    /// Writes the clinic's side of it in a format.
    Encode {
        /// The format's name.
        format: String,
        /// How.
        settings: Settings,
    },
    /// Takes those whom the message is about out of it.
    Deidentify(Deidentify),
    /// Writes the message in another coding of its format, which says the same.
    Transcode {
        /// To which one, in the words of the format.
        to: String,
    },
    /// Replaces a code by that of a table.
    Lookup(Lookup),
    /// Asks a destination and writes what it answers into the message.
    Ask(ask::Ask),
    /// Takes what comes in apart into messages, which go through the steps after it.
    Split {
        /// How, in the words of [`crate::split::Splitter`].
        settings: serde_json::Value,
    },
    /// Runs a script on the message.
    Script(Arc<dyn Script>),
}

impl Channel {
    /// Whether a script may run before the first `apply`.
    pub(crate) fn has_early_scripts(&self) -> bool {
        let early = self
            .steps
            .iter()
            .take_while(|step| !matches!(step, Step::Apply { .. }));
        has_script(early)
    }

    /// Whether any step is a script.
    pub fn has_scripts(&self) -> bool {
        self.has_early_scripts() || self.has_late_scripts()
    }

    /// Whether a script may run after the first `apply`, or on the way to a destination.
    pub(crate) fn has_late_scripts(&self) -> bool {
        let late = self
            .steps
            .iter()
            .skip_while(|step| !matches!(step, Step::Apply { .. }));
        has_script(late) || self.destinations.iter().any(|d| has_script(d.steps.iter()))
    }
}

impl Channel {
    /// Whether a destination may be asked.
    pub fn asks(&self) -> bool {
        let by_script = !self.script_asks.is_empty() && self.has_scripts();
        by_script || self.asks_late() || self.steps.iter().any(|step| matches!(step, Step::Ask(_)))
    }

    /// Whether a destination may be asked after the first `apply`, or on the way to a destination.
    pub(crate) fn asks_late(&self) -> bool {
        let mut late = self
            .steps
            .iter()
            .skip_while(|step| !matches!(step, Step::Apply { .. }))
            .chain(
                self.destinations
                    .iter()
                    .flat_map(|destination| &destination.steps),
            );
        let by_script = !self.script_asks.is_empty() && self.has_late_scripts();
        by_script || late.any(|step| matches!(step, Step::Ask(_)))
    }
}

fn has_script<'a>(mut steps: impl Iterator<Item = &'a Step>) -> bool {
    steps.any(|step| matches!(step, Step::Script(_)))
}

impl Step {
    /// Its word in channel files.
    pub fn verb(&self) -> &'static str {
        match self {
            Step::Filter(_) => "filter",
            Step::Decode { .. } => "decode",
            Step::Set(_) => "set",
            Step::Deidentify(how) if how.only_uids => "new_uids",
            Step::Deidentify(_) => "deidentify",
            Step::Transcode { .. } => "transcode",
            Step::Apply { .. } => "apply",
            Step::Encode { .. } => "encode",
            Step::Lookup(_) | Step::Ask(_) => "lookup",
            Step::Split { .. } => "split",
            Step::Script(_) => "script",
        }
    }
}

/// How those whom messages are about are taken out of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deidentify {
    /// Under this name the same patients and numbers always become the same other ones.
    pub project: String,
    /// What stays all the same, in the words of the format.
    pub keep: Vec<String>,
    /// True: pictures and documents were looked at and show nobody.
    pub pixels_are_clean: bool,
    /// True: it gets other UIDs, and all else stays (the step `new_uids`).
    pub only_uids: bool,
}

/// A code table put to use: the value at `from` is looked up and what is found is written to `to`.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The table: a file beside the channel.
    pub table: String,
    /// The path of the code.
    pub from: String,
    /// The path to write to; the same unless said.
    pub to: String,
    /// What to do with a code that is not in the table.
    pub missing: LookupMissing,
}

/// What to do with a code that is not in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LookupMissing {
    /// It passes as it is.
    #[default]
    Keep,
    /// The message fails.
    Fail,
    /// This is written.
    Default(String),
}

/// What a message must be: all keys must match.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Path and test.
    pub all: Vec<(String, Test)>,
}

/// What the values at a path must be; any repetition or segment will do.
#[derive(Clone, Debug)]
pub enum Test {
    /// One of these, counted by the components that each names: `ORU^R01` takes `ORU^R01^ORU_R01`.
    Any(Vec<String>),
    /// Not so.
    Not(Box<Test>),
    /// Matches a regular expression.
    Matches(regex::Regex),
    /// There is a value (or there is none).
    Present(bool),
}

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name, unique in the channel.
    pub name: String,
    /// True: it is only asked, and no message goes there.
    pub only_asked: bool,
    /// True: it gets requests for storage commitment, and nothing else.
    pub commits: bool,
    /// What it gets; none: everything.
    pub when: Option<Condition>,
    /// What happens on the way there.
    pub steps: Vec<Step>,
    /// The end.
    pub end: End,
    /// How it is tried again.
    pub retry: Retry,
    /// What happens to what was refused or ran out of retries.
    pub on_error: OnError,
    /// What happens to what was sent and whose answer is lost.
    pub on_unsure: OnUnsure,
    /// The channel that its answers go through; none: nothing comes of them.
    pub response: Option<Arc<Channel>>,
    /// How answers come that come later.
    pub late: Late,
    /// When it may be sent to; none: always.
    pub window: Option<Window>,
    /// How fast it may be sent to; none: as it can.
    pub rate: Option<Rate>,
    /// By which key its order goes; none: one after the other.
    pub order_by: Option<OrderBy>,
    /// When it is left alone for a while; none: never.
    pub breaker: Option<Breaker>,
}

/// By which key the order of a destination goes, and how many keys are sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// Where the key stands.
    pub by: By,
    /// The same as the channel file has it.
    pub written: String,
    /// How many deliveries may be under way at once, each of another key.
    pub parallel: usize,
}

/// Where the key of an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// In the message that came in: whom or what it is about.
    Subject(Subject),
    /// At a path of what is sent.
    Path(String),
}

/// When a destination is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// After how many tries in a row that were surely not taken.
    pub after: u32,
    /// How long until the next one is tried.
    pub pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            after: 10,
            pause: Duration::from_secs(30),
        }
    }
}

/// The most tries in any span of time, as their receiver sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: usize,
    /// In how long a span.
    pub per: Duration,
}

/// How often a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first pause; each next one is twice as long, give or take a tenth.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// When it ends, counted from the first try.
    pub give_up: Duration,
    /// When a message has been refused that the far side puts off by its answers while it takes others.
    pub put_off: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            first: Duration::from_secs(2),
            max: Duration::from_secs(600),
            give_up: Duration::from_secs(7 * 24 * 3600),
            put_off: Duration::from_secs(30 * 60),
        }
    }
}

/// What happens to a delivery that was refused or ran out of retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The queue waits for a person.
    #[default]
    Hold,
    /// It is set aside, the next goes.
    Dead,
}

impl OnError {
    /// What the delivery is then.
    pub fn state(self) -> DeliveryState {
        match self {
            OnError::Hold => DeliveryState::Held,
            OnError::Dead => DeliveryState::Dead,
        }
    }
}

/// What happens to a delivery that was sent and whose answer is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnUnsure {
    /// Sent again, the same bytes: the far side knows doubles by our key.
    #[default]
    Repeat,
    /// A person decides.
    Hold,
    /// The far side is asked whether it has it: sent again only where it surely has not.
    Ask(Box<ask::Inquiry>),
}
