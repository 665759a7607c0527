//! A format whose messages are `id:words`, and ends that keep what they get. `id:re 7 words` answers the message 7, and
//! `id:words for P1+P2` is about two patients.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::{Course, Judgement, Keys, MapError, Place, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::channel::OnUnsure;
use crate::connector::{
    Asks, Connector, ConnectorError, Destination, Intake, Mine, Outgoing, SendError, SettingsProblem, Source,
    Stop, Surroundings,
};
use crate::format::{Answered, Format, Reads, Replies, SetOp, Settings, Subject};
use crate::split::{Part, Splitter};

/// `id:words`. What begins with `?` is no message, unless it is called `anything`. The path `$` is all of it, `none` has
/// no value. Called
/// `heads`, it reads only the beginning of what is long, to the first dot; called `courses`, a change set that says `begin` or `end`
/// as its type begins something or ends it,
/// and one that says `part` is decided with the others of the number before its dash.
pub(super) struct Text {
    pub name: &'static str,
}

impl Format for Text {
    fn name(&self) -> &'static str {
        self.name
    }

    fn content_type(&self) -> &'static str {
        "text/plain"
    }

    fn reads(&self, beginning: &[u8]) -> Reads {
        match self.name {
            "heads" if beginning.contains(&b'.') => Reads::Enough,
            "heads" => Reads::More,
            _ => Reads::Whole,
        }
    }

    fn keys(&self, message: &[u8]) -> Keys {
        let text = String::from_utf8_lossy(message);
        if self.name == "courses"
            && let Ok(set) = serde_json::from_slice::<ChangeSet>(message)
        {
            let is_part = set.about.message_type.as_deref() == Some("part");
            let number = set.about.control_id.as_deref().and_then(|id| id.split_once('-'));
            return Keys {
                orders: number
                    .filter(|_| is_part)
                    .map(|(number, _)| number.to_owned())
                    .into_iter()
                    .collect(),
                control_id: set.about.control_id,
                message_type: set.about.message_type,
                ..Keys::default()
            };
        }
        if text.starts_with('{') {
            return Keys::default();
        }
        Keys {
            control_id: text.split_once(':').map(|(id, _)| id.to_owned()),
            answers: answered(message),
            patients: patients(&text),
            ..Keys::default()
        }
    }

    fn about(&self, message: &[u8], what: Subject) -> Vec<String> {
        match what {
            Subject::Patient => patients(&String::from_utf8_lossy(message)),
            Subject::Visit | Subject::Order => vec![],
        }
    }

    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        if self.name == "text" && message.starts_with(b"?") {
            return Err(MapError::new(Reason::Sequence, Some("1"), "this is no message"));
        }
        Ok(())
    }

    fn may_mean_this_one(&self, answer: &Response) -> bool {
        answer.body.starts_with(b"full")
    }

    fn decided_with(&self, keys: &Keys) -> Option<String> {
        keys.orders.first().cloned()
    }

    fn hangs_together(&self) -> bool {
        self.name == "courses"
    }

    /// `begin` and `end` of the number before the dash.
    fn course(&self, keys: &Keys) -> Option<Course> {
        let kind = keys.message_type.as_deref()?;
        let (number, _) = keys.control_id.as_deref()?.split_once('-')?;
        (self.hangs_together() && kind != "part").then(|| Course {
            is_beginning: kind == "begin",
            begun_by: "begin".into(),
            begins: format!("{number}-begin"),
            goes_on_by: "end".into(),
            goes_on: vec![format!("{number}-end")],
        })
    }

    /// What begins with `{` is a change set.
    fn decode(&self, message: &[u8], _: &Settings) -> Result<ChangeSet, MapError> {
        assert!(!message.ends_with(b"panic in decode"), "as it is asked to");
        serde_json::from_slice(message)
            .map_err(|error| MapError::new(Reason::UnsupportedType, None, error.to_string()))
    }

    /// The type of the message, and each aggregate that it speaks of: kind and first number.
    fn encode(
        &self,
        changes: &ChangeSet,
        applied: &Applied,
        _: &Settings,
        _: &Stamp,
    ) -> Result<Vec<u8>, MapError> {
        let mut text = changes.about.message_type.clone().unwrap_or_default();
        for change in &changes.changes {
            let known = &applied.known[&applied.ids[&change.key].1].aggregate;
            let number = known.identifiers().first().map_or("-", |number| &number.value);
            text.push_str(&format!(" {} {number}", known.kind().as_str()));
        }
        Ok(text.into_bytes())
    }

    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }

    fn can_be_asked(&self) -> bool {
        self.name == "text"
    }

    fn is_answer_to(&self, sent: &[u8], candidate: &[u8]) -> bool {
        answered(candidate).is_none_or(|id| self.keys(sent).control_id == Some(id))
    }

    /// `pending`, `busy`, what ends with `no`, and all the rest.
    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement {
        assert!(!answer.body.starts_with(b"panic"), "as it is asked to");
        if answer.body.starts_with(b"pending") {
            let reference = self.keys(sent).control_id.unwrap();
            Judgement::Pending { reference }
        } else if answer.body.starts_with(b"busy") || answer.body.starts_with(b"full") {
            let why = String::from_utf8_lossy(&answer.body).into_owned();
            Judgement::Retry { why }
        } else if answer.body.ends_with(b"no") {
            Judgement::Refused { why: "no".into() }
        } else {
            Judgement::Accepted
        }
    }

    /// `several` is two of what was asked for.
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        match answer.body.starts_with(b"several") {
            true => Answered::Several(2),
            false => Answered::by(self.judge(question, answer), &answer.body),
        }
    }

    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        if path == "none" {
            return Ok(vec![]);
        }
        let text = String::from_utf8_lossy(message);
        assert!(!text.contains("panic in when"), "as it is asked to");
        Ok(vec![String::from_utf8_lossy(message).into_owned()])
    }

    fn check_path(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    /// Of a clear something comes. Called `heads`, what stands before the first dot is removed, or becomes what it is set to.
    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let dot = message.iter().position(|byte| *byte == b'.');
        Ok(match ops {
            [(_, SetOp::Remove)] if self.name == "heads" => {
                Cow::Owned([b"removed", &message[dot.unwrap_or(0)..]].concat())
            }
            [(_, SetOp::Assign(value))] if self.name == "heads" => {
                Cow::Owned([value.as_bytes(), &message[dot.unwrap_or(0)..]].concat())
            }
            [(_, SetOp::Remove)] => Cow::Owned(b"removed".to_vec()),
            _ => Cow::Borrowed(message),
        })
    }
}

fn patients(text: &str) -> Vec<String> {
    let Some((_, patients)) = text.split_once(" for ") else {
        return vec![];
    };
    patients.split('+').map(str::to_owned).collect()
}

fn answered(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let rest = text.split_once(":re ")?.1.to_owned();
    rest.split(' ').next().map(str::to_owned)
}

/// The clock of the world: it goes as fast as ours, from where it was set.
#[derive(Default)]
pub(super) struct Clock {
    ahead: Mutex<SignedDuration>,
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + *self.ahead.lock().unwrap()
    }

    pub fn set(&self, to: Timestamp) {
        *self.ahead.lock().unwrap() = to.duration_since(Timestamp::now());
    }
}

/// What is at the ends of channels, by their names.
#[derive(Default)]
pub(super) struct Ends {
    intakes: Mutex<BTreeMap<String, Intake>>,
    got: Mutex<BTreeMap<String, Vec<String>>>,
    answers: Mutex<BTreeMap<String, VecDeque<String>>>,
    pub clock: Clock,
    /// When each arrived, at all destinations.
    arrived: Mutex<Vec<Timestamp>>,
    /// How many bytes of each were in memory when it was sent.
    pub at_hand: Mutex<Vec<usize>>,
    /// What the clock shows at the end of the next send.
    later: Mutex<Option<Timestamp>>,
    /// What destinations answer to texts with this in them, each time; `lost`: it is taken and the answer is lost; `breaks`: the far
    /// side breaks off; `gone`: it is not taken, and there is no answer.
    always: Mutex<BTreeMap<String, String>>,
    /// What was taken, by whichever destination.
    pub taken: Mutex<Vec<String>>,
    /// Whom was asked what, and when.
    asked: Mutex<Vec<(String, String, Timestamp)>>,
    /// What is told next of what is asked for; `down`: nothing.
    tells: Mutex<VecDeque<String>>,
    /// True: nobody can be asked.
    pub is_deaf: AtomicBool,
    /// How long each send takes.
    pub takes: Mutex<Duration>,
    /// How many sends there are now, and were at most.
    pub at_once: AtomicUsize,
    pub most_at_once: AtomicUsize,
}

impl Ends {
    /// The door of the channel with this source.
    pub fn intake(&self, source: &str) -> Option<Intake> {
        self.intakes.lock().unwrap().get(source).cloned()
    }

    /// What a destination is to answer next; without it nothing.
    pub fn answer(&self, destination: &str, answer: &str) {
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.entry(destination.to_owned()).or_default();
        answers.push_back(answer.to_owned());
    }

    /// What is always answered to texts with this in them; none: nothing from now on.
    pub fn always(&self, part: &str, answer: Option<&str>) {
        let mut always = self.always.lock().unwrap();
        match answer {
            Some(answer) => always.insert(part.to_owned(), answer.to_owned()),
            None => always.remove(part),
        };
    }

    /// What is told next of what is asked for; without it, whether it was taken.
    pub fn tells(&self, told: &str) {
        self.tells.lock().unwrap().push_back(told.to_owned());
    }

    /// Whom was asked what, and when.
    pub fn asked(&self) -> Vec<(String, String, Timestamp)> {
        self.asked.lock().unwrap().clone()
    }

    /// The next send takes until then.
    pub fn takes_until(&self, later: Timestamp) {
        *self.later.lock().unwrap() = Some(later);
    }

    /// When each arrived, at all destinations.
    pub fn arrived(&self) -> Vec<Timestamp> {
        self.arrived.lock().unwrap().clone()
    }

    /// What a destination got, in its order.
    pub fn got(&self, destination: &str) -> Vec<String> {
        self.got
            .lock()
            .unwrap()
            .get(destination)
            .cloned()
            .unwrap_or_default()
    }
}

/// `fake = { name = "…" }`.
pub(super) struct FakeEnd {
    pub ends: Arc<Ends>,
}

struct End {
    name: String,
    ends: Arc<Ends>,
}

#[async_trait]
impl Connector for FakeEnd {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn format(&self) -> Option<&'static str> {
        Some("text")
    }

    fn source_schema(&self) -> Option<Value> {
        Some(json!({ "type": "object", "properties": { "name": { "type": "string" } } }))
    }

    fn destination_schema(&self) -> Option<Value> {
        self.source_schema()
    }

    fn check_source(&self, _: &Value) -> Vec<SettingsProblem> {
        vec![]
    }

    fn check_destination(&self, _: &Value) -> Vec<SettingsProblem> {
        vec![]
    }

    async fn open_source(
        &self,
        settings: &Value,
        _: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(self.end(settings)))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        _: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        Ok(Arc::new(self.end(settings)))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Message)
    }

    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

impl FakeEnd {
    fn end(&self, settings: &Value) -> End {
        End {
            name: settings["name"].as_str().unwrap_or_default().to_owned(),
            ends: self.ends.clone(),
        }
    }
}

#[async_trait]
impl Source for End {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        self.ends
            .intakes
            .lock()
            .unwrap()
            .insert(self.name.clone(), intake);
        stop.cancelled().await;
        self.ends.intakes.lock().unwrap().remove(&self.name);
        Ok(())
    }
}

#[async_trait]
impl Destination for End {
    async fn send(&self, outgoing: &Outgoing, _: &Mine<'_>) -> Result<Response, SendError> {
        let mut bytes = vec![];
        let mut pieces = outgoing.whole().pieces(0);
        while let Some(piece) = pieces.next().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
        self.ends.at_hand.lock().unwrap().push(outgoing.body.len());
        let text = String::from_utf8(bytes).unwrap();
        self.ends.arrived.lock().unwrap().push(self.ends.clock.now());
        if let Some(later) = self.ends.later.lock().unwrap().take() {
            self.ends.clock.set(later);
        }
        let always = {
            let always = self.ends.always.lock().unwrap();
            let found = always.iter().find(|(part, _)| text.contains(*part));
            found.map(|(_, answer)| answer.clone())
        };
        {
            let mut got = self.ends.got.lock().unwrap();
            got.entry(self.name.clone()).or_default().push(text.clone());
        }
        let at_once = 1 + self.ends.at_once.fetch_add(1, Ordering::SeqCst);
        self.ends.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let takes = *self.ends.takes.lock().unwrap();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.ends.at_once.fetch_sub(1, Ordering::SeqCst);
        let queued = || {
            let mut answers = self.ends.answers.lock().unwrap();
            answers.get_mut(&self.name).and_then(VecDeque::pop_front)
        };
        let answer = always.or_else(queued).unwrap_or_default();
        if answer == "breaks" {
            return Err(SendError::BrokenOff {
                why: "it fell over".into(),
                is_sent: true,
            });
        }
        if !matches!(answer.as_str(), "gone" | "busy" | "full" | "no") {
            self.ends.taken.lock().unwrap().push(text);
        }
        if matches!(answer.as_str(), "lost" | "gone") {
            return Err(SendError::Unsure { why: "lost".into() });
        }
        Ok(Response {
            body: answer.into_bytes(),
            ..Response::default()
        })
    }

    /// A question is the text that is asked for.
    async fn query(&self, question: &Outgoing, _: &Mine<'_>) -> Result<Response, SendError> {
        let text = String::from_utf8(question.body.to_vec()).unwrap();
        let is_taken = self.ends.taken.lock().unwrap().contains(&text);
        let now = self.ends.clock.now();
        self.ends
            .asked
            .lock()
            .unwrap()
            .push((self.name.clone(), text, now));
        let told = self.ends.tells.lock().unwrap().pop_front();
        if told.as_deref() == Some("down") || self.ends.is_deaf.load(Ordering::SeqCst) {
            return Err(SendError::Retry {
                why: "nobody is there".into(),
                after: None,
            });
        }
        let known = match is_taken {
            true => "found",
            false => "",
        };
        Ok(Response {
            body: told.unwrap_or_else(|| known.to_owned()).into_bytes(),
            ..Response::default()
        })
    }

    fn takes_pieces(&self) -> bool {
        self.name.starts_with("pieces")
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// Lines; the last one is `=` and how many there are.
pub(super) struct Counted;

impl Splitter for Counted {
    fn schema(&self) -> Value {
        json!({ "enum": ["lines"] })
    }

    fn check(&self, _: &Value) -> Vec<SettingsProblem> {
        vec![]
    }

    fn split(&self, _: &Value, whole: &Bytes) -> Result<Vec<Part>, MapError> {
        let text = std::str::from_utf8(whole).unwrap();
        let (lines, count) = text.rsplit_once('=').unwrap();
        let parts: Vec<Part> = lines
            .lines()
            .enumerate()
            .map(|(n, line)| Part {
                place: Place(format!("line {}", n + 1)),
                name: None,
                body: whole.slice_ref(line.as_bytes()),
            })
            .collect();
        if parts.len().to_string() != count {
            let what = format!("the trailer says {count}, and there are {}", parts.len());
            return Err(MapError::new(Reason::Sequence, Some("trailer"), what));
        }
        Ok(parts)
    }
}
