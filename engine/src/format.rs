//! What a wire format is to the engine: pure functions behind one trait object. `server` registers them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clinic::archive::{Kept, KeptStudy, Referenced};
use clinic::ask::{Found, Question};
use clinic::exchange::{Course, Extra, Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet, Kind, Record};
use uuid::Uuid;

use crate::anew::Rewritten;
use crate::body::ReadSeek;
use crate::channel::Deidentify;
use crate::connector::SettingsProblem;
use crate::split::Splitter;

/// An aggregate that a body tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// As what it may be kept.
    pub kinds: &'static [Kind],
    /// Which.
    pub id: Uuid,
    /// In which version.
    pub version: u64,
}

impl Told {
    /// Whether it is somebody's: not a person, a place or a service of the clinic, which stand in nearly every body.
    pub fn is_ones_own(&self) -> bool {
        let is_of_all = |kind: &Kind| {
            matches!(
                kind,
                Kind::Clinic | Kind::Site | Kind::Room | Kind::Practitioner | Kind::Service
            )
        };
        !self.kinds.iter().any(is_of_all)
    }
}

/// Code tables by name: (system, code) → (system, code, display).
pub type CodeTables = BTreeMap<String, Arc<CodeTable>>;

/// One code table (a CSV file with the columns system, code, system, code, display).
#[derive(Clone, Debug, Default)]
pub struct CodeTable {
    /// The rows by (system, code); an empty system stands for any.
    pub rows: BTreeMap<(String, String), (String, String, String)>,
}

/// What a channel says about how to read and write a format.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The charset of messages that do not declare one (`charset` of the channel).
    pub charset: Option<String>,
    /// The charsets of single partners by what they call themselves (`charset_of`), each one or several.
    pub charset_of: BTreeMap<String, Vec<String>>,
    /// The clinic's zone, an IANA name. Empty: Europe/Bucharest.
    pub zone: Option<String>,
    /// The local codes of the partner.
    pub codes: Option<Arc<CodeTable>>,
    /// Whose the numbers of patients, visits and people are that name no authority.
    pub authority: Option<String>,
    /// Lists that a message says whole (`snapshot = ["PID-3"]`).
    pub snapshot: Vec<String>,
    /// For FHIR: `transaction` or `message`.
    pub shape: Option<String>,
    /// The address of the server that is spoken to, where its format counts ids in it.
    pub server: Option<String>,
    /// Which processing ids are taken here (`processing` of a source); empty: all of them.
    pub processing: Vec<String>,
    /// How CSV is written that comes in here.
    pub csv: Csv,
    /// Which value of a document is which value of the clinic.
    pub mapping: Option<Mapping>,
    /// Of a long message the SHA-256 of all from [`Format::content_begins`] on, in hex: only its beginning is handed over.
    pub content: Option<String>,
    /// True where a person has just typed it in: a wrong number is refused then, which is kept where a program sends it.
    pub typed: bool,
}

/// A mapping file, read by the format that it is of.
#[derive(Clone)]
pub struct Mapping {
    /// The name of the file.
    pub file: String,
    /// What the format made of it.
    pub read: Arc<dyn std::any::Any + Send + Sync>,
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping({})", self.file)
    }
}

/// What is wrong with a mapping file, and at which byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingProblem {
    /// The byte.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// Finds a code table that a mapping file names; where there is none, it tells that itself.
pub type FindTable<'a> = dyn FnMut(&str) -> Option<Arc<CodeTable>> + 'a;

/// How CSV is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csv {
    /// What stands between two fields; none: what the first line has most of.
    pub delimiter: Option<char>,
    /// Whether the first line names the columns.
    pub header: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Csv {
            delimiter: None,
            header: true,
        }
    }
}

/// What is written to the one who sent a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// Each is one frame, in this order.
    pub frames: Vec<Vec<u8>>,
}

/// What is written to the one who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Each is one frame, in this order.
    pub frames: Vec<Vec<u8>>,
    /// Whom they tell of; none: the patients whose numbers stand in the frames, by the keys of each.
    pub told: Option<Vec<Uuid>>,
}

/// What a far side answered to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// What was found, in the format, so that its values can be found by paths.
    Found(Bytes),
    /// There is nothing of what was asked for.
    Nothing,
    /// So many were found, and which one is meant can't be known.
    Several(usize),
    /// There is no answer that can be believed: why. (Never that it was accepted.)
    Not(Judgement),
}

impl Answered {
    /// What an answer says that is a message of its format: all of it is what was found.
    pub fn by(judged: Judgement, body: &[u8]) -> Self {
        match judged {
            Judgement::Accepted if body.trim_ascii().is_empty() => Answered::Nothing,
            Judgement::Accepted => Answered::Found(Bytes::copy_from_slice(body)),
            Judgement::Pending { .. } => Answered::Not(Judgement::Unsure {
                why: "the far side took the question and has not answered it".into(),
            }),
            Judgement::Refused { .. } | Judgement::Retry { .. } | Judgement::Unsure { .. } => {
                Answered::Not(judged)
            }
        }
    }
}

/// What `set` does to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOp {
    /// Write this text there; where the format has parts within a value, as its parts (HL7: `Pop^Ana`).
    Assign(String),
    /// Write this text there, letter for letter.
    Literal(String),
    /// Tell the receiver to empty it (HL7 `""`).
    Clear,
    /// Write there what stands at another path.
    Copy(String),
    /// Take it out: nothing is said about it.
    Remove,
}

/// What a message can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Patients, by their numbers.
    Patient,
    /// Visits, by their numbers.
    Visit,
    /// Orders and appointments, by the numbers of who placed them.
    Order,
}

impl Subject {
    /// Its word in channel files.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Patient => "patient",
            Subject::Visit => "visit",
            Subject::Order => "order",
        }
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Subject::Patient, Subject::Visit, Subject::Order];
        all.into_iter().find(|subject| subject.as_str() == word)
    }
}

/// How much of a long message a format reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of it.
    Whole,
    /// Its beginning, and more of it than this.
    More,
    /// This much of its beginning.
    Enough,
}

/// A wire format.
pub trait Format: Send + Sync {
    /// Its name in channel files: `hl7v2`, `fhir-r4`.
    fn name(&self) -> &'static str;
    /// The MIME type of what it writes.
    fn content_type(&self) -> &'static str;
    /// Where in its messages the study stands that they are of (`order_by = "study"`); none: they are of no study.
    fn study_path(&self) -> Option<&'static str> {
        None
    }

    /// This format as a channel says it is to be read, where that makes a difference (a charset that no message
    /// declares); none: it makes none.
    fn of_channel(&self, _: &Settings) -> Option<Arc<dyn Format>> {
        None
    }
    /// Reads a mapping file, all that is wrong with it at once; none: the format knows by itself what means what.
    /// `writes`: it is for an encode.
    fn mapping(
        &self,
        _text: &str,
        _writes: bool,
        _table: &mut FindTable<'_>,
    ) -> Option<Result<Arc<dyn std::any::Any + Send + Sync>, Vec<MappingProblem>>> {
        None
    }
    /// True where decode and encode need a mapping.
    fn needs_mapping(&self) -> bool {
        false
    }
    /// What a message says of itself. Never fails.
    fn keys(&self, message: &[u8]) -> Keys;
    /// What it is about, for the order by key: a key of each patient (visit, order) that it speaks of, so that of two it
    /// is seen that they are two. A format that does not know who is who takes the first of its [`Format::keys`].
    fn about(&self, message: &[u8], what: Subject) -> Vec<String> {
        let keys = self.keys(message);
        let all = match what {
            Subject::Patient => keys.patients,
            Subject::Visit => keys.visits,
            Subject::Order => keys.orders,
        };
        all.into_iter().take(1).collect()
    }
    /// Whether the beginning of a long message is enough for all that the format does with it: what the rest says, none of
    /// the other functions is told then. What [`Format::set`] and [`Format::deidentify`] make of a beginning is the new
    /// beginning, which the same rest follows. A format that has to see all of it says nothing here.
    fn reads(&self, _beginning: &[u8]) -> Reads {
        Reads::Whole
    }
    /// Why this is no message of the format at all, or none that can be answered; checked before anything else.
    fn inspect(&self, message: &[u8]) -> Result<(), MapError>;
    /// What it says about the clinic.
    fn decode(&self, message: &[u8], settings: &Settings) -> Result<ChangeSet, MapError>;

    /// What a long message of so many bytes says after the beginning that [`Format::decode`] reads: values without a place in the
    /// model. Blocks while it reads.
    fn losses_of_rest(
        &self,
        _beginning: &[u8],
        _file: &mut dyn ReadSeek,
        _length: u64,
        _settings: &Settings,
    ) -> Result<Vec<Extra>, MapError> {
        Ok(vec![])
    }

    /// Where in a message begins what tells it apart from another one of the same number, after what its transport wrote
    /// before it. None: all of it does.
    fn content_begins(&self, _message: &[u8]) -> Option<u64> {
        None
    }
    /// What an answer says about the clinic, where it takes what was sent to know whom it speaks of. A format whose
    /// answers speak for themselves reads them like any message.
    fn decode_answer(&self, _sent: &[u8], answer: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        self.decode(answer, settings)
    }
    /// The clinic, as it stands after `changes`, in this format. `original` is the message that they came from.
    fn encode(
        &self,
        changes: &ChangeSet,
        applied: &Applied,
        settings: &Settings,
        stamp: &Stamp,
    ) -> Result<Vec<u8>, MapError>;
    /// What its sender is told.
    fn replies(&self, to: &[u8], verdict: Verdict<'_>, stamp: &Stamp) -> Replies;
    /// What the sender of a repeat is told, where that is not what it was told the first time: that it is one. Nothing has
    /// failed by that.
    fn told_of_repeat(&self, _: &[u8]) -> Option<MapError> {
        None
    }
    /// Whether an answer that puts a message off may mean that message alone, and not the state of the far side.
    fn may_mean_this_one(&self, _answer: &Response) -> bool {
        false
    }
    /// The order number of what is decided together with a message of these keys: what is parked under it is tried again
    /// when a person has decided about that one.
    fn decided_with(&self, _: &Keys) -> Option<String> {
        None
    }
    /// Whether messages hang together: some go on with what others begin ([`Format::course`]), or are decided with them
    /// ([`Format::decided_with`]).
    fn hangs_together(&self) -> bool {
        false
    }
    /// What a message with these keys begins or goes on with; none: it stands for itself.
    fn course(&self, _: &Keys) -> Option<Course> {
        None
    }
    /// What a message asks for, for formats that can be asked; none: it is no question. An error says why it can't be
    /// answered.
    fn question(&self, _message: &[u8]) -> Option<Result<Question, MapError>> {
        None
    }
    /// The answer to a question out of what was found, or why there is none.
    fn answer(
        &self,
        _question: &[u8],
        _found: Result<&Found, &MapError>,
        _settings: &Settings,
        _stamp: &Stamp,
    ) -> Answers {
        Answers::default()
    }
    /// Whether a question for images means this study, as far as it, its patient and who sent them say: asked before
    /// anything else of it is read.
    fn takes(&self, _question: &[u8], _study: &KeptStudy) -> bool {
        true
    }
    /// The objects that a message asks to be kept for good (storage commitment); none: it asks no such thing.
    fn commits(&self, _message: &[u8]) -> Option<Result<Vec<Referenced>, MapError>> {
        None
    }
    /// The report on such a message: what became of each of its objects, in their order.
    fn commitment_report(&self, _message: &[u8], _kept: &[Kept]) -> Result<Vec<u8>, MapError> {
        Err(MapError::new(
            Reason::UnsupportedType,
            None,
            format!("{} has no storage commitment", self.name()),
        ))
    }
    /// Whether a message says something only as the answer to what was sent: one that nobody waits for is for a person.
    fn only_answers(&self, _message: &[u8]) -> bool {
        false
    }
    /// True where its messages can be questions.
    fn can_be_asked(&self) -> bool {
        false
    }
    /// True where its messages say what they are for: production, training, debugging (HL7 MSH-11).
    fn has_processing_ids(&self) -> bool {
        false
    }
    /// The lists that a message may say whole (`snapshot`), by name.
    fn snapshots(&self) -> &'static [&'static str] {
        &[]
    }
    /// True where a number of a patient may come without a word of whose it is (HL7 CX-4).
    fn has_bare_numbers(&self) -> bool {
        false
    }
    /// Whether `candidate` is the answer to a question, and not only word that the question has come.
    fn answers(&self, question: &[u8], candidate: &[u8]) -> bool {
        self.is_answer_to(question, candidate)
    }
    /// What a far side answered to a question: believed only where it is matched to the question and can be read.
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        Answered::by(self.judge(question, answer), &answer.body)
    }
    /// A value as a part of a question that is a message of this format.
    fn escaped(&self, value: &str) -> String {
        value.to_owned()
    }
    /// What a channel file has as a question, as it is on the wire.
    fn as_question(&self, text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }
    /// What is wrong with a question as a channel file has it.
    fn check_question(&self, _text: &str) -> Result<(), String> {
        Ok(())
    }
    /// Why what is fetched from an address can't be believed to be an answer of this format.
    fn check_address(&self) -> Result<(), String> {
        Ok(())
    }
    /// Whether `candidate` answers `sent`.
    fn is_answer_to(&self, sent: &[u8], candidate: &[u8]) -> bool;
    /// What a body tells a server that keeps it, each in its version. Nothing: its format tells of messages, not of what stands.
    fn tells(&self, _body: &[u8]) -> Vec<Told> {
        vec![]
    }
    /// A body by which these are made where the server has them not, and stay as it has them where it has. None: it can't be said so.
    fn leaving(&self, _body: &[u8], _ids: &[Uuid]) -> Option<Vec<u8>> {
        None
    }
    /// What an answer means.
    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement;
    /// Whether an answer is a message of this format, of which something may come, and says more than what became of what
    /// was sent.
    fn is_message(&self, answer: &[u8]) -> bool {
        !answer.is_empty()
    }
    /// All values at a path, unescaped; with the text of each component named by the path. Several for repetitions
    /// and repeated segments.
    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError>;
    /// Whether this is a path of the format; the error says what is wrong with it.
    fn check_path(&self, path: &str) -> Result<(), String>;
    /// Changes values at paths, everything else byte for byte as it came.
    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError>;
    /// What is wrong with how a channel takes people out of messages, at paths in the table of the step.
    fn check_deidentify(&self, _how: &Deidentify) -> Vec<SettingsProblem> {
        vec![SettingsProblem {
            path: String::new(),
            what: format!("there is no profile for messages of {}", self.name()),
        }]
    }
    /// A message without those whom it is about. The same secret makes the same pseudonyms.
    fn deidentify(
        &self,
        _message: &[u8],
        _how: &Deidentify,
        _secret: &[u8; 32],
    ) -> Result<Vec<u8>, MapError> {
        Err(MapError::new(
            Reason::UnsupportedType,
            None,
            format!("there is no profile for messages of {}", self.name()),
        ))
    }
    /// A message under the patient whose it is, where it names somebody else; of a long one another beginning, which the same
    /// rest follows. None: it names them rightly, or what is of this format is never changed so.
    fn reconciled(&self, _message: &[u8], _patient: &Record) -> Result<Option<Vec<u8>>, MapError> {
        Ok(None)
    }
    /// Whether the rest of a long message of so many bytes, which begins like this, tells of nobody, so that [`Format::deidentify`]
    /// need not see it.
    fn rest_tells_nobody(&self, _beginning: &[u8], _length: u64) -> bool {
        false
    }
    /// Whether messages can be written in another coding, by its word; the error says what is wrong with it.
    fn check_transcode(&self, _to: &str) -> Result<(), String> {
        Err(format!("messages of {} have one coding only", self.name()))
    }
    /// A message, whole, in another coding that says the same.
    fn transcode<'a>(&self, _message: &'a [u8], to: &str) -> Result<Cow<'a, [u8]>, MapError> {
        let what = self.check_transcode(to).err().unwrap_or_default();
        Err(MapError::new(Reason::UnsupportedType, None, what))
    }
    /// A long message in another coding, which the far side of its protocol names, to be written while it goes. `beginning`:
    /// as much of it as [`Format::reads`] wants; `file`: all of it, of so many bytes.
    fn rewritten(
        &self,
        _beginning: &[u8],
        _file: &mut dyn ReadSeek,
        _length: u64,
        to: &str,
    ) -> Result<Box<dyn Rewritten>, MapError> {
        Err(MapError::new(
            Reason::UnsupportedType,
            None,
            format!("messages of {} are not written in {to}", self.name()),
        ))
    }
    /// The whole message as a tree of plain values, for scripts; the shape is the format's own.
    fn tree(&self, _message: &[u8]) -> Result<serde_json::Value, MapError> {
        Err(no_tree(self.name()))
    }
    /// The message written from such a tree; what is the same in both stays byte for byte as it came.
    fn with_tree(&self, _message: &[u8], _tree: &serde_json::Value) -> Result<Vec<u8>, MapError> {
        Err(no_tree(self.name()))
    }
    /// One long message or file taken apart into messages. (start, end) of each, in bytes.
    fn split(&self, input: &[u8]) -> Vec<(usize, usize)> {
        vec![(0, input.len())]
    }
}

fn no_tree(format: &str) -> MapError {
    MapError::new(
        Reason::UnsupportedType,
        None,
        format!("a message of {format} is no tree"),
    )
}

/// The formats that this program speaks.
#[derive(Clone, Default)]
pub struct Formats {
    formats: BTreeMap<&'static str, Arc<dyn Format>>,
    splitter: Option<Arc<dyn Splitter>>,
}

impl Formats {
    /// Adds one.
    pub fn with(mut self, format: impl Format + 'static) -> Self {
        self.formats.insert(format.name(), Arc::new(format));
        self
    }

    /// Sets who takes files apart.
    pub fn with_splitter(mut self, splitter: impl Splitter + 'static) -> Self {
        self.splitter = Some(Arc::new(splitter));
        self
    }

    /// Who takes files apart; none: this program can't.
    pub fn splitter(&self) -> Option<&dyn Splitter> {
        self.splitter.as_deref()
    }

    /// By its name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Format>> {
        self.formats.get(name).cloned()
    }

    /// By its name, to be read as a channel says.
    pub fn open(&self, name: &str, settings: &Settings) -> Option<Arc<dyn Format>> {
        let format = self.formats.get(name)?;
        Some(format.of_channel(settings).unwrap_or_else(|| format.clone()))
    }

    /// All names.
    pub fn names(&self) -> Vec<&'static str> {
        self.formats.keys().copied().collect()
    }
}
