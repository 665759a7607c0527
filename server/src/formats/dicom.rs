//! DICOM, as the engine sees it: messages as files of PS3.10, answers as data sets with a status line at the end.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use clinic::archive::{Kept, KeptStudy, Referenced};
use clinic::ask::{Found, Question};
use clinic::exchange::{Course, Extra, Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Aggregate, Applied, ChangeSet, Record};
use engine::anew::Rewritten;
use engine::body::ReadSeek;
use engine::channel::{Deidentify, nearest};
use engine::connector::SettingsProblem;
use engine::format::{Answered, Answers, Format, Reads, Replies, SetOp, Settings};
use jiff::tz::TimeZone;
use mappings::dicom::charset::Fallback;
use mappings::dicom::deid::{self, Keep};
use mappings::dicom::message::{course, inspect, keys};
use mappings::dicom::native::Native;
use mappings::dicom::ops::{Op, set};
use mappings::dicom::part10::{self, File};
use mappings::dicom::path::Path;
use mappings::dicom::scan::Until;
use mappings::dicom::{
    self, Device, Enough, Profile, archive, behind, commitment, is_enough, native, question, reconcile,
    reply, web, worklist,
};

use super::bytes::by_status;

/// What is shorter is at hand as a whole: the least that is handed over of a long message.
const SHORT: usize = 256 * 1024;

/// What objects can be written in, in the words of channel files.
const EXPLICIT_LITTLE: &str = "explicit-little";
/// No longer ones are written anew: they are in memory.
const LONGEST_WRITTEN: u64 = 256 << 20;

/// DICOM.
#[derive(Default)]
pub struct Dicom {
    profile: Profile,
}

impl Format for Dicom {
    fn name(&self) -> &'static str {
        "dicom"
    }

    fn content_type(&self) -> &'static str {
        "application/dicom"
    }

    fn of_channel(&self, settings: &Settings) -> Option<Arc<dyn Format>> {
        let profile = profile(settings);
        Some(Arc::new(Dicom { profile }))
    }

    fn keys(&self, message: &[u8]) -> Keys {
        keys(message)
    }

    fn study_path(&self) -> Option<&'static str> {
        Some("StudyInstanceUID")
    }

    fn reads(&self, beginning: &[u8]) -> Reads {
        match is_enough(beginning) {
            Enough::Yes => Reads::Enough,
            Enough::More => Reads::More,
            Enough::Never => Reads::Whole,
        }
    }

    /// The beginning of a long message is cut in its pixels; a short one has to be whole.
    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        let until = match message.len() < SHORT {
            true => Until::End,
            false => Until::Pixels,
        };
        inspect(message, until)
    }

    fn decode(&self, message: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        dicom::decode(message, &profile(settings))
    }

    fn losses_of_rest(
        &self,
        beginning: &[u8],
        mut file: &mut dyn ReadSeek,
        length: u64,
        settings: &Settings,
    ) -> Result<Vec<Extra>, MapError> {
        let (meta, _) = part10::meta(beginning)?;
        let fallback = profile(settings).of(&meta.calling).fallback;
        behind::losses(beginning, &mut file, length, fallback)
    }

    /// After the meta group: who has sent it is no part of an object.
    fn content_begins(&self, message: &[u8]) -> Option<u64> {
        let file = File::read(message).ok()?;
        Some((message.len() - file.data.len()) as u64)
    }

    fn encode(&self, _: &ChangeSet, _: &Applied, _: &Settings, _: &Stamp) -> Result<Vec<u8>, MapError> {
        let what = "nothing is written as a DICOM object; send on what came, without encode";
        Err(MapError::new(Reason::UnsupportedType, None, what))
    }

    fn replies(&self, to: &[u8], verdict: Verdict<'_>, _: &Stamp) -> Replies {
        Replies {
            frames: vec![reply::reply(to, verdict)],
        }
    }

    /// A step that was begun can't begin again.
    fn told_of_repeat(&self, message: &[u8]) -> Option<MapError> {
        reply::told_of_repeat(message)
    }

    /// The objects of a study: its UID is the first of their order numbers.
    fn decided_with(&self, keys: &Keys) -> Option<String> {
        let is_object = keys
            .message_type
            .as_ref()
            .is_some_and(|kind| kind.starts_with("C-STORE"));
        keys.orders.first().filter(|_| is_object).cloned()
    }

    fn hangs_together(&self) -> bool {
        true
    }

    fn course(&self, keys: &Keys) -> Option<Course> {
        course(keys)
    }

    fn question(&self, message: &[u8]) -> Option<Result<Question, MapError>> {
        archive::question(message, &self.profile).or_else(|| worklist::question(message, &self.profile))
    }

    fn answer(
        &self,
        question: &[u8],
        found: Result<&Found, &MapError>,
        settings: &Settings,
        stamp: &Stamp,
    ) -> Answers {
        let profile = profile(settings);
        let answers = match archive::question(question, &profile) {
            Some(_) => archive::answer(question, found, &profile),
            None => worklist::answer(question, found, &profile, stamp),
        };
        Answers {
            frames: answers.frames,
            told: Some(answers.told),
        }
    }

    fn takes(&self, question: &[u8], study: &KeptStudy) -> bool {
        archive::message_takes(question, study, &self.profile)
    }

    fn commits(&self, message: &[u8]) -> Option<Result<Vec<Referenced>, MapError>> {
        commitment::requested(message)
    }

    fn commitment_report(&self, message: &[u8], kept: &[Kept]) -> Result<Vec<u8>, MapError> {
        commitment::report(message, kept)
    }

    fn only_answers(&self, message: &[u8]) -> bool {
        commitment::is_report(message)
    }

    fn answered(&self, _: &[u8], answer: &Response) -> Answered {
        // Over HTTP the rows of a search, or what an object says.
        if answer.status.is_some() {
            return by_web(answer);
        }
        match question::found(answer) {
            question::Found::One => Answered::Found(Bytes::copy_from_slice(&answer.body)),
            question::Found::Nothing => Answered::Nothing,
            question::Found::Several(count) => Answered::Several(count),
            question::Found::Not(judged) => Answered::Not(judged),
        }
    }

    fn escaped(&self, value: &str) -> String {
        question::escaped(value)
    }

    /// What is no question goes out as it stands, and is refused.
    fn as_question(&self, text: &str) -> Vec<u8> {
        question::written(text).unwrap_or_else(|_| text.as_bytes().to_vec())
    }

    fn check_question(&self, text: &str) -> Result<(), String> {
        question::written(text).map(|_| ())
    }

    fn can_be_asked(&self) -> bool {
        true
    }

    /// DIMSE pairs question and answer by itself. The report on a storage commitment comes later, and names its transaction.
    fn is_answer_to(&self, sent: &[u8], candidate: &[u8]) -> bool {
        !commitment::is_report(candidate) || commitment::is_on(candidate, sent)
    }

    /// Over DIMSE by the status line, over HTTP by its status and what it lists. A request for storage commitment that is taken
    /// waits for its report.
    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement {
        if commitment::is_report(&answer.body) {
            return commitment::judge(&answer.body, sent);
        }
        let judged = web::judge(sent, answer).unwrap_or_else(|| reply::judge(answer));
        match judged {
            Judgement::Accepted => commitment::taken(sent).unwrap_or(Judgement::Accepted),
            Judgement::Pending { .. }
            | Judgement::Refused { .. }
            | Judgement::Retry { .. }
            | Judgement::Unsure { .. } => judged,
        }
    }

    /// Out of resources: for this object, or for all.
    fn may_mean_this_one(&self, answer: &Response) -> bool {
        !commitment::is_report(&answer.body)
            && (reply::is_out_of_resources(answer) || web::is_out_of_resources(answer))
    }

    /// The status of a C-STORE is none, and neither is what a web server says of an upload.
    fn is_message(&self, answer: &[u8]) -> bool {
        answer.get(128..132) == Some(b"DICM")
    }

    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        let path = parse(path)?;
        let file = File::read(message)?;
        match path.group() {
            0x0000 => Ok(file
                .command_set()?
                .map(|set| path.values(&set))
                .unwrap_or_default()),
            0x0002 => Ok(path.tag().map(|tag| file.meta.values(tag)).unwrap_or_default()),
            _ => Ok(path.values(&file.data_set(self.fallback(&file))?)),
        }
    }

    fn check_path(&self, path: &str) -> Result<(), String> {
        path.parse::<Path>().map(|_| ())
    }

    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let changes = ops.iter().map(change).collect::<Result<Vec<_>, _>>()?;
        let fallback = self.fallback(&File::read(message)?);
        Ok(Cow::Owned(set(message, fallback, &changes)?))
    }

    fn check_transcode(&self, to: &str) -> Result<(), String> {
        match to == EXPLICIT_LITTLE {
            true => Ok(()),
            false => Err(format!("not known here; {EXPLICIT_LITTLE:?} is")),
        }
    }

    /// Objects; what a device says of its work passes as it came.
    fn transcode<'a>(&self, message: &'a [u8], to: &str) -> Result<Cow<'a, [u8]>, MapError> {
        self.check_transcode(to)
            .map_err(|what| MapError::new(Reason::UnsupportedType, None, what))?;
        let (meta, _) = part10::meta(message)?;
        match meta.command.is_some() || meta.syntax == native::EXPLICIT {
            true => Ok(Cow::Borrowed(message)),
            false => Ok(Cow::Owned(native::written(
                message,
                LONGEST_WRITTEN,
                native::EXPLICIT,
            )?)),
        }
    }

    fn rewritten(
        &self,
        beginning: &[u8],
        mut file: &mut dyn ReadSeek,
        length: u64,
        to: &str,
    ) -> Result<Box<dyn Rewritten>, MapError> {
        let native = Native::of(beginning, &mut file, length, to)?;
        Ok(Box::new(InPieces(native)))
    }

    fn reconciled(&self, message: &[u8], patient: &Record) -> Result<Option<Vec<u8>>, MapError> {
        let Aggregate::Patient(whose) = &patient.aggregate else {
            return Ok(None);
        };
        let fallback = self.fallback(&File::read(message)?);
        let since = patient.meta.updated_at;
        reconcile::reconciled(message, fallback, whose, patient.meta.id, since)
    }

    fn check_deidentify(&self, how: &Deidentify) -> Vec<SettingsProblem> {
        let known = Keep::ALL.map(Keep::as_str);
        let mut problems = vec![];
        for (idx, word) in how.keep.iter().enumerate() {
            let what = match (Keep::from_word(word), nearest(word, known)) {
                (Some(Keep::Dates), _) if how.keep.iter().any(|word| word == "dates-shifted") => {
                    "stands beside \"dates-shifted\"; dates are kept, or moved".to_owned()
                }
                (Some(_), _) => continue,
                (None, Some(nearest)) => format!("not known here; did you mean {nearest:?}?"),
                (None, None) => format!("not known here; known are {}", known.join(", ")),
            };
            problems.push(SettingsProblem {
                path: format!("keep[{idx}]"),
                what,
            });
        }
        problems
    }

    fn rest_tells_nobody(&self, beginning: &[u8], length: u64) -> bool {
        deid::rest_is_pixels(beginning, length)
    }

    fn deidentify(&self, message: &[u8], how: &Deidentify, secret: &[u8; 32]) -> Result<Vec<u8>, MapError> {
        let keep = how.keep.iter().filter_map(|word| Keep::from_word(word)).collect();
        let profile = deid::Profile::new(keep, how.pixels_are_clean, secret);
        let fallback = self.fallback(&File::read(message)?);
        match how.only_uids {
            true => deid::with_new_uids(message, fallback, &profile),
            false => deid::deidentified(message, fallback, &profile),
        }
    }
}

/// An object in another transfer syntax, for who takes it piece by piece.
pub struct InPieces(pub Native);

impl Rewritten for InPieces {
    fn pieces(&self) -> usize {
        self.0.pieces()
    }

    fn memory(&self) -> usize {
        self.0.memory()
    }

    fn piece(&mut self, number: usize, mut file: &mut dyn ReadSeek) -> Result<Vec<u8>, MapError> {
        self.0.piece(number, &mut file)
    }
}

impl Dicom {
    fn fallback(&self, file: &File<'_>) -> Fallback {
        self.profile.of(&file.meta.calling).fallback
    }
}

fn by_web(answer: &Response) -> Answered {
    match by_status(answer) {
        Some(_) if matches!(answer.status, Some(404 | 410)) => return Answered::Nothing,
        Some(judgement) => return Answered::Not(judgement),
        None => {}
    }
    let unsure = |why: &str| Answered::Not(Judgement::Unsure { why: why.to_owned() });
    let Some(rows) = web::rows(&answer.body) else {
        return unsure("the answer is no list of data sets as JSON");
    };
    match rows.as_slice() {
        [] => Answered::Nothing,
        [row] => match web::message(row) {
            Ok(message) => Answered::Found(message.into()),
            Err(error) => unsure(&error.to_string()),
        },
        rows => Answered::Several(rows.len()),
    }
}

fn parse(path: &str) -> Result<Path, MapError> {
    path.parse()
        .map_err(|why: String| MapError::new(Reason::DataType, Some(path), why))
}

fn change((path, op): &(String, SetOp)) -> Result<(Path, Op), MapError> {
    let change = match op {
        SetOp::Assign(text) => Op::Assign(text.split('\\').map(str::to_owned).collect()),
        SetOp::Literal(text) => Op::Assign(vec![text.clone()]),
        SetOp::Clear => Op::Clear,
        SetOp::Copy(from) => Op::Copy(parse(from)?),
        SetOp::Remove => Op::Remove,
    };
    Ok((parse(path)?, change))
}

/// How a channel reads and answers its devices: `charset` (of one device: in `charset_of`) is what it can show, and what its
/// bytes are where it does not say so.
fn profile(settings: &Settings) -> Profile {
    let mut profile = Profile {
        content: settings.content.clone(),
        device: Device::named(settings.charset.as_deref()),
        ..Profile::default()
    };
    let devices = settings.charset_of.iter();
    profile.devices = devices
        .map(|(title, sets)| (title.clone(), Device::named(sets.iter().map(String::as_str))))
        .collect();
    if let Some(zone) = settings.zone.as_deref().and_then(|name| TimeZone::get(name).ok()) {
        profile.zone = zone;
    }
    profile
}
