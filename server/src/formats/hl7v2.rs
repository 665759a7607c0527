//! HL7 v2, as the engine sees it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use clinic::ask::{Found, Question};
use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::value::Coding;
use clinic::{Applied, ChangeSet};
use engine::format::{Answered, Answers, Format, Replies, SetOp, Settings, Subject};
use mappings::hl7v2::decode::Profile;
use mappings::hl7v2::query::Told;
use mappings::hl7v2::{self, Change, Charset, Message, Path, Reading};

use super::bytes::by_status;

/// HL7 v2.
#[derive(Default)]
pub struct Hl7v2 {
    /// The processing ids that are taken; empty: all of them.
    processing: Vec<String>,
}

impl Format for Hl7v2 {
    fn name(&self) -> &'static str {
        "hl7v2"
    }

    fn content_type(&self) -> &'static str {
        "x-application/hl7-v2+er7"
    }

    fn of_channel(&self, settings: &Settings) -> Option<Arc<dyn Format>> {
        let processing = settings.processing.clone();
        (!processing.is_empty()).then(|| Arc::new(Hl7v2 { processing }) as Arc<dyn Format>)
    }

    fn keys(&self, message: &[u8]) -> Keys {
        hl7v2::keys(message)
    }

    fn about(&self, message: &[u8], what: Subject) -> Vec<String> {
        hl7v2::about(
            message,
            match what {
                Subject::Patient => hl7v2::Subject::Patient,
                Subject::Visit => hl7v2::Subject::Visit,
                Subject::Order => hl7v2::Subject::Order,
            },
        )
    }

    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        let message = Message::read(hl7v2::head(message))?;
        let kind = message.msh().field(9);
        if kind.component(1).text().trim().is_empty() {
            return Err(MapError::missing("MSH-9.1", "the message type"));
        }
        self.is_for_here(&message)
    }

    fn decode(&self, message: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        hl7v2::decode::decode(message, &profile(settings))
    }

    fn decode_answer(&self, sent: &[u8], answer: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        hl7v2::decode::decode_answer(sent, answer, &profile(settings))
    }

    fn encode(
        &self,
        changes: &ChangeSet,
        applied: &Applied,
        settings: &Settings,
        stamp: &Stamp,
    ) -> Result<Vec<u8>, MapError> {
        hl7v2::encode::encode(changes, applied, &profile(settings), stamp)
    }

    fn replies(&self, to: &[u8], verdict: Verdict<'_>, stamp: &Stamp) -> Replies {
        let replies = hl7v2::replies(to, verdict, stamp);
        Replies {
            frames: replies.accept.into_iter().chain(replies.application).collect(),
        }
    }

    fn question(&self, message: &[u8]) -> Option<Result<Question, MapError>> {
        Some(hl7v2::query::question(message)?.map(Question::from))
    }

    fn answer(
        &self,
        question: &[u8],
        found: Result<&Found, &MapError>,
        settings: &Settings,
        stamp: &Stamp,
    ) -> Answers {
        let found = found.map(|found| found.records.as_slice());
        Answers {
            frames: vec![hl7v2::query::answer(question, found, &profile(settings), stamp)],
            told: None,
        }
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    fn has_processing_ids(&self) -> bool {
        true
    }

    fn snapshots(&self) -> &'static [&'static str] {
        hl7v2::decode::SNAPSHOTS
    }

    fn has_bare_numbers(&self) -> bool {
        true
    }

    fn answers(&self, question: &[u8], candidate: &[u8]) -> bool {
        hl7v2::is_answer_to(question, candidate) && !hl7v2::query::is_receipt(candidate)
    }

    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        let answered = Answered::by(self.judge(question, answer), &answer.body);
        let Answered::Found(_) = &answered else {
            return answered;
        };
        match hl7v2::query::heard(question, &answer.body) {
            Told::Found => answered,
            Told::Nothing => Answered::Nothing,
            Told::Several(count) => Answered::Several(count),
            Told::Refused(why) => Answered::Not(Judgement::Refused { why }),
            Told::Another(why) => Answered::Not(Judgement::Unsure { why: why.to_owned() }),
        }
    }

    fn escaped(&self, value: &str) -> String {
        let usual = hl7v2::Dialect::USUAL;
        // The usual delimiters have an escape character.
        hl7v2::escape(value, &usual).map_or_else(|_| String::new(), Cow::into_owned)
    }

    /// One segment on a line in the channel file, as in samples.
    fn as_question(&self, text: &str) -> Vec<u8> {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let mut message = lines.join("\r");
        message.push('\r');
        message.into_bytes()
    }

    fn check_address(&self) -> Result<(), String> {
        Err(
            "an answer in HL7 names its question, and an address has no number; ask a destination of its own,              with when = \"asked\" and format = \"json\""
                .to_owned(),
        )
    }

    fn is_answer_to(&self, sent: &[u8], candidate: &[u8]) -> bool {
        hl7v2::is_answer_to(sent, candidate)
    }

    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement {
        // Over HTTP an error without an HL7 answer is judged by its status; an answer is believed before the status.
        let judged = hl7v2::judge(sent, answer);
        match judged {
            Judgement::Unsure { why } => by_status(answer).unwrap_or(Judgement::Unsure { why }),
            Judgement::Accepted
            | Judgement::Pending { .. }
            | Judgement::Refused { .. }
            | Judgement::Retry { .. } => judged,
        }
    }

    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        let of_header = path.starts_with("MSH-");
        let path = parse(path)?;
        let message = match of_header {
            // What routes a big message by its header reads no more of it.
            true => Message::read(hl7v2::head(message))?,
            false => Message::read(message)?,
        };
        let found = hl7v2::get_all(&message, &path);
        Ok(found
            .iter()
            .filter_map(|found| found.value().present().map(Cow::into_owned))
            .collect())
    }

    fn check_path(&self, path: &str) -> Result<(), String> {
        path.parse::<Path>()
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let changes = ops.iter().map(change).collect::<Result<Vec<_>, _>>()?;
        Ok(Cow::Owned(hl7v2::set(message, &changes, &Reading::default())?))
    }

    fn tree(&self, message: &[u8]) -> Result<serde_json::Value, MapError> {
        hl7v2::tree::tree(message)
    }

    fn with_tree(&self, message: &[u8], tree: &serde_json::Value) -> Result<Vec<u8>, MapError> {
        hl7v2::tree::with_tree(message, tree)
    }

    fn split(&self, input: &[u8]) -> Vec<(usize, usize)> {
        let Ok(file) = hl7v2::batch::take_apart(input, &Default::default()) else {
            return vec![(0, input.len())];
        };
        file.messages
            .iter()
            .map(|part| (part.offset, part.offset + part.bytes.len()))
            .collect()
    }
}

impl Hl7v2 {
    /// Whether a message is for those who are here: HL7 v2.5.1, 2.9.2.1, MSH-11 by table 0103. One that says nothing is
    /// in production.
    fn is_for_here(&self, message: &Message) -> Result<(), MapError> {
        let field = message.msh().field(11);
        let said = field.component(1).text();
        let said = match said.trim() {
            "" => "P",
            said => said,
        };
        if self.processing.is_empty() || self.processing.iter().any(|taken| taken == said) {
            return Ok(());
        }
        let what = format!(
            "is another processing id than the source takes (processing: {})",
            self.processing.join(", ")
        );
        Err(MapError::new(
            Reason::UnsupportedProcessingId,
            Some("MSH-11"),
            what,
        ))
    }
}

/// How a channel reads and writes HL7. A table of thousands of codes is not copied for each message: what was made for
/// the same settings is kept.
fn profile(settings: &Settings) -> Arc<Profile> {
    static MADE: Mutex<Vec<(Settings, Arc<Profile>)>> = Mutex::new(vec![]);
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((_, profile)) = made.iter().find(|(known, _)| is_same(known, settings)) {
        return profile.clone();
    }
    let profile = Arc::new(make_profile(settings));
    if made.len() == PROFILES {
        made.remove(0);
    }
    made.push((settings.clone(), profile.clone()));
    profile
}

/// Profiles that are kept: those of the steps of all channels, mostly.
const PROFILES: usize = 64;

/// The same settings, with the same table and not only an equal one: comparing is to cost nothing.
fn is_same(one: &Settings, other: &Settings) -> bool {
    let same_codes = match (&one.codes, &other.codes) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_codes
        && one.charset == other.charset
        && one.zone == other.zone
        && one.authority == other.authority
        && one.snapshot == other.snapshot
}

fn make_profile(settings: &Settings) -> Profile {
    let mut profile = Profile {
        reading: reading(settings),
        ..Default::default()
    };
    if let Some(zone) = settings
        .zone
        .as_deref()
        .and_then(|name| jiff::tz::TimeZone::get(name).ok())
    {
        profile.zone = zone;
    }
    profile.authority = settings.authority.clone();
    profile.snapshots = settings.snapshot.iter().cloned().collect();
    for ((system, code), (to_system, to_code, display)) in settings.codes.iter().flat_map(|table| &table.rows)
    {
        let coding = Coding::new(
            to_system,
            to_code,
            (!display.is_empty()).then_some(display.as_str()),
        );
        profile
            .codes
            .entry((system.clone(), code.clone()))
            .or_default()
            .push(coding);
    }
    profile
}

/// How a channel turns bytes into text.
fn reading(settings: &Settings) -> Reading {
    let mut reading = Reading::default();
    if let Some(charset) = settings.charset.as_deref().and_then(Charset::named) {
        reading.legacy = charset;
    }
    reading
}

fn parse(path: &str) -> Result<Path, MapError> {
    path.parse::<Path>()
        .map_err(|error| MapError::new(Reason::DataType, Some(path), error.to_string()))
}

fn change((path, op): &(String, SetOp)) -> Result<Change, MapError> {
    let to = parse(path)?;
    Ok(match op {
        SetOp::Assign(text) if text.contains(['^', '&', '~']) => Change::AssignParts {
            to,
            parts: text.clone(),
        },
        SetOp::Assign(text) | SetOp::Literal(text) => Change::Assign {
            to,
            text: text.clone(),
        },
        SetOp::Clear => Change::Clear { at: to },
        SetOp::Copy(from) => Change::Copy {
            to,
            from: parse(from)?,
        },
        SetOp::Remove => Change::Remove { at: to },
    })
}
