//! What is kept of imaging, asked by C-FIND, C-MOVE and C-GET (PS3.4 C.4) and by QIDO-RS (PS3.18 §10.6): what a question
//! narrows, which studies, series and objects it means, and what is told of them.
//!
//! Patient root and study root, level by level (PS3.4 C.4.1.3.1): the keys of the levels above are needed and single. An
//! answer says what every level above says too, so that whatever is asked of it can be matched; a key that has no place
//! comes back empty, and the answers say so (FF01).

use clinic::archive::{ArchiveQuestion, KeptStudy, Level};
use clinic::ask::{Found, Question};
use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::Profile;
use super::dataset::DataSet;
use super::found;
use super::matching::{dates, is_partly, matches, times, told};
use super::message::{Service, command};
use super::names;
use super::part10::{File, packing};
use super::reply::status;
use super::worklist::{Answers, refused, shows};
use super::write::{Out, Said};

/// The most answers to one question. More are not cut: the question is refused.
const MOST: usize = 10_000;
/// The most UIDs of one question.
const MOST_UIDS: usize = 50_000;
/// The most parts of the way to a key in an address.
const MAX_DEPTH: usize = 8;

const LEVEL: Tag = Tag(0x0008, 0x0052);
const ACCESSION: Tag = Tag(0x0008, 0x0050);
const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
const MODALITY: Tag = Tag(0x0008, 0x0060);
const MODALITIES: Tag = Tag(0x0008, 0x0061);
const NAME: Tag = Tag(0x0010, 0x0010);
const PATIENT: Tag = Tag(0x0010, 0x0020);
const STUDY: Tag = Tag(0x0020, 0x000D);
const SERIES: Tag = Tag(0x0020, 0x000E);
const OBJECT: Tag = Tag(0x0008, 0x0018);
const REQUEST: Tag = Tag(0x0040, 0x0275);
const OBJECTS_OF_STUDY: Tag = Tag(0x0020, 0x1208);
const OBJECTS_OF_SERIES: Tag = Tag(0x0020, 0x1209);

/// The unique keys, from the top (PS3.4 C.6.1.1, C.6.2.1).
const UNIQUE: [(Level, Tag, &str); 4] = [
    (Level::Patients, PATIENT, "0010,0020"),
    (Level::Studies, STUDY, "0020,000D"),
    (Level::Series, SERIES, "0020,000E"),
    (Level::Objects, OBJECT, "0008,0018"),
];

/// What a message asks of the archive; none: it asks nothing of it. An error says why it can't be answered.
pub fn question(bytes: &[u8], profile: &Profile) -> Option<Result<Question, MapError>> {
    let file = File::read(bytes).ok()?;
    let command = command(&file).ok()?;
    let retrieves = match command.service {
        Service::Find => false,
        Service::Move | Service::Get => true,
        Service::Worklist
        | Service::Store
        | Service::MppsCreate
        | Service::MppsSet
        | Service::Commitment
        | Service::CommitmentReport
        | Service::Other => return None,
    };
    let asked = || {
        let keys = file.data_set(profile.of(&file.meta.calling).fallback)?;
        let level = level(&keys)?;
        needed(top(&command.class)?, level, &keys, retrieves)?;
        let mut question = narrowing(&keys, level);
        if retrieves {
            question.with_objects = true;
            question.counts = false;
        }
        Ok(Question::Archive(question))
    };
    Some(asked())
}

/// The level that an information model begins with.
fn top(class: &str) -> Result<Level, MapError> {
    match class.strip_prefix("1.2.840.10008.5.1.4.1.2.") {
        Some("1.1" | "1.2" | "1.3") => Ok(Level::Patients),
        Some("2.1" | "2.2" | "2.3") => Ok(Level::Studies),
        Some(_) | None => {
            let what = "is none of the patient root and study root, which are answered here";
            Err(MapError::new(Reason::UnsupportedType, Some("0000,0002"), what))
        }
    }
}

fn level(keys: &DataSet<'_>) -> Result<Level, MapError> {
    match keys.text(LEVEL).as_deref() {
        Some("PATIENT") => Ok(Level::Patients),
        Some("STUDY") => Ok(Level::Studies),
        Some("SERIES") => Ok(Level::Series),
        Some("IMAGE") => Ok(Level::Objects),
        Some(_) => {
            let what = "is no level; known are PATIENT, STUDY, SERIES and IMAGE";
            Err(MapError::new(Reason::UnsupportedType, Some("0008,0052"), what))
        }
        None => Err(MapError::missing("0008,0052", "The level of the question")),
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Patients => "PATIENT",
        Level::Studies => "STUDY",
        Level::Series => "SERIES",
        Level::Objects => "IMAGE",
    }
}

/// The unique keys that a question has to say (PS3.4 C.4.1.2.2.1, C.4.2.2.1).
fn needed(top: Level, level: Level, keys: &DataSet<'_>, retrieves: bool) -> Result<(), MapError> {
    if level < top {
        let what = "is above the root of this model; ask for studies, or at the patient root";
        return Err(MapError::new(Reason::UnsupportedType, Some("0008,0052"), what));
    }
    for (of, tag, place) in UNIQUE {
        let values = keys.texts(tag);
        let is_plain = !values.is_empty() && values.iter().all(|value| plain(value));
        // A list stands at the level that is retrieved; patients are named one by one.
        let may_be_several = of == level && of != Level::Patients;
        if of < top || level < of || of == level && !retrieves {
            continue;
        }
        if !is_plain || 1 < values.len() && !may_be_several {
            let what = match may_be_several {
                true => "The UIDs of what is to be retrieved",
                false => "One value of each level above",
            };
            return Err(MapError::missing(place, what));
        }
    }
    match [STUDY, SERIES, OBJECT]
        .iter()
        .all(|tag| keys.texts(*tag).len() <= MOST_UIDS)
    {
        true => Ok(()),
        false => Err(MapError::new(Reason::DataType, None, "there are too many UIDs")),
    }
}

fn plain(value: &str) -> bool {
    !value.is_empty() && !value.contains(['*', '?'])
}

/// What of the keys narrows the search; the rest is left to the matching of each study.
pub fn narrowing(keys: &DataSet<'_>, level: Level) -> ArchiveQuestion {
    let list = |tag| {
        let values = keys.texts(tag);
        match values.iter().all(|value| plain(value)) {
            true => values,
            false => vec![],
        }
    };
    let single = |tag| {
        let mut values = list(tag);
        (values.len() == 1).then(|| values.remove(0))
    };
    let modalities = match level {
        Level::Series | Level::Objects if !list(MODALITY).is_empty() => list(MODALITY),
        Level::Patients | Level::Studies | Level::Series | Level::Objects => list(MODALITIES),
    };
    let (from, to) = dates(&keys.texts(STUDY_DATE)).unwrap_or_default();
    let with_series = |level: Level| level == Level::Series && keys.get(OBJECTS_OF_SERIES).is_some();
    ArchiveQuestion {
        level,
        studies: list(STUDY),
        series: match level {
            Level::Objects | Level::Series => list(SERIES),
            Level::Patients | Level::Studies => vec![],
        },
        objects: match level {
            Level::Objects => list(OBJECT),
            Level::Patients | Level::Studies | Level::Series => vec![],
        },
        accession: single(ACCESSION),
        modalities,
        patient: single(PATIENT),
        name: keys.text(NAME).and_then(|name| beginning(&name)),
        from,
        to,
        counts: level == Level::Studies && keys.get(OBJECTS_OF_STUDY).is_some(),
        with_objects: level == Level::Objects || with_series(level),
        with_orders: keys.get(REQUEST).is_some(),
    }
}

/// How the family name begins.
fn beginning(name: &str) -> Option<String> {
    let group = name.split('=').find(|group| !group.trim().is_empty())?;
    let family = group.split('^').next()?;
    let beginning = family.split(['*', '?']).next()?.trim();
    (!beginning.is_empty()).then(|| beginning.to_owned())
}

/// Adds a key as addresses have it (PS3.18 §8.3.4.1): by names or numbers, those in a sequence after it and a dot
/// (`00100020`, `ProcedureCodeSequence.CodeValue`). False: it names nothing that is searched by.
pub fn add_key(keys: &mut Out, name: &str, value: &str) -> bool {
    let named = |part: &str| names::by_number(part).or_else(|| names::by_keyword(part));
    let way: Option<Vec<Tag>> = name.split('.').take(MAX_DEPTH + 1).map(named).collect();
    let way = way.unwrap_or_default();
    let Some((tag, sequences)) = way.split_last().filter(|_| way.len() <= MAX_DEPTH) else {
        return false;
    };
    let vr = names::vr(*tag);
    if vr == VR::SQ || sequences.iter().any(|tag| names::vr(*tag) != VR::SQ) {
        return false;
    }
    let list = |c| c == '\\' || (vr == VR::UI && c == ',');
    let values = value.split(list).map(str::to_owned).collect();
    keys.set_within(sequences, *tag, vr, Said::Texts(values));
    true
}

/// Whether the value of a key can be one: a day, a time, or a range of them, where it is asked by those.
pub fn can_be_asked(name: &str, value: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let tag = names::by_number(last).or_else(|| names::by_keyword(last));
    let values = [value.to_owned()];
    match tag.map(names::vr) {
        _ if value.is_empty() || value == "*" => true,
        Some(VR::DA) => dates(&values).is_some(),
        Some(VR::TM) => times(&values).is_some(),
        _ => true,
    }
}

/// Whether something is asked that an answer of this shape can't say, so that it narrowed nothing.
pub fn is_asked_in_vain(keys: &DataSet<'_>, shape: &Out) -> bool {
    is_partly(keys, shape)
}

/// Whether a study can be meant, as far as it and its patient say.
pub fn takes(keys: &DataSet<'_>, kept: &KeptStudy, zone: &TimeZone) -> bool {
    of_study(kept, zone).is_some_and(|entry| is_meant(keys, &entry, kept))
}

/// Whether something of a study is meant. A patient is found by the number and name of a record that was merged into theirs too
/// (IHE RAD PIR), and told by those that they have now.
fn is_meant(keys: &DataSet<'_>, entry: &Out, kept: &KeptStudy) -> bool {
    let as_before = |patient| {
        let mut entry = entry.clone();
        entry.extend(found::patient(Some(patient)));
        matches(keys, &entry)
    };
    matches(keys, entry) || kept.merged().any(as_before)
}

/// Whether the question of a message can mean a study.
pub fn message_takes(bytes: &[u8], kept: &KeptStudy, profile: &Profile) -> bool {
    let Ok(file) = File::read(bytes) else {
        return false;
    };
    let keys = file.data_set(profile.of(&file.meta.calling).fallback);
    keys.is_ok_and(|keys| takes(&keys, kept, &profile.zone))
}

fn of_study(kept: &KeptStudy, zone: &TimeZone) -> Option<Out> {
    let study = kept.study()?;
    let mut entry = found::study(study, kept.patient(), kept.referrer(), zone);
    if let Some(count) = kept.count {
        entry.text("NumberOfStudyRelatedInstances", &count.to_string());
    }
    Some(entry)
}

/// What of a study is meant, each with all that is known of it and of what it lies in.
pub fn entries(keys: &DataSet<'_>, level: Level, kept: &KeptStudy, zone: &TimeZone) -> Vec<Out> {
    let mut entries = whole(level, kept, keys.get(REQUEST).is_some(), zone);
    entries.retain(|entry| is_meant(keys, entry, kept));
    entries
}

/// `asks_orders`: what a series was made for is asked, so that one of no order says so: it matches no number of one.
fn whole(level: Level, kept: &KeptStudy, asks_orders: bool, zone: &TimeZone) -> Vec<Out> {
    let Some(study) = kept.study() else {
        return vec![];
    };
    let Some(of_study) = of_study(kept, zone) else {
        return vec![];
    };
    match level {
        Level::Patients => return vec![found::patient(kept.patient())],
        Level::Studies => return vec![of_study],
        Level::Series | Level::Objects => {}
    }
    let mut entries = vec![];
    for series in &study.series {
        let of_series = || {
            kept.objects()
                .filter(|object| object.series_uid.as_deref() == Some(&series.uid))
        };
        let count = (!kept.objects.is_empty()).then(|| of_series().count());
        let mut entry = of_study.clone();
        entry.extend(found::series(study, series, count, zone));
        if asks_orders || kept.orders().next().is_some() {
            entry.extend(found::request(kept.orders()));
        }
        match level {
            Level::Patients | Level::Studies | Level::Series => entries.push(entry),
            Level::Objects => entries.extend(of_series().map(|object| {
                let mut entry = entry.clone();
                entry.extend(found::object(study, object));
                entry
            })),
        }
    }
    entries
}

/// The answers to a C-FIND. To a C-MOVE or C-GET: whose objects they are.
pub fn answer(bytes: &[u8], found: Result<&Found, &MapError>, profile: &Profile) -> Answers {
    let answers = found
        .map_err(Clone::clone)
        .and_then(|found| answers(bytes, found, profile));
    answers.unwrap_or_else(|error| Answers {
        frames: vec![status(refused(&error), &error.what)],
        told: vec![],
    })
}

fn answers(bytes: &[u8], found: &Found, profile: &Profile) -> Result<Answers, MapError> {
    let file = File::read(bytes)?;
    let device = profile.of(&file.meta.calling);
    let keys = file.data_set(device.fallback)?;
    let level = level(&keys)?;
    let is_query = command(&file)?.service == Service::Find;
    let shows = shows(device, &keys);
    let (mut frames, mut told_of): (Vec<Vec<u8>>, Vec<Uuid>) = (vec![], vec![]);
    let mut shape: Option<Out> = None;
    for kept in &found.studies {
        let patient = kept.patient.as_ref().map(|patient| patient.meta.id);
        let is_new = patient.is_some_and(|patient| !told_of.contains(&patient));
        if level == Level::Patients && is_query && !is_new {
            continue;
        }
        let entries = match is_query {
            true => entries(&keys, level, kept, &profile.zone),
            false => vec![],
        };
        if is_new && (!is_query || !entries.is_empty()) {
            told_of.extend(patient);
        }
        for entry in entries {
            let mut answer = told(&keys, &entry);
            answer.text("QueryRetrieveLevel", word(level));
            answer.text("RetrieveAETitle", &file.meta.called);
            let set = answer.choose(&shows);
            frames.push(answer.written(packing(&file.meta.syntax).coding, set));
            shape.get_or_insert(entry);
        }
        if MOST < frames.len() {
            let what = format!("more than {MOST} match; ask for less");
            return Err(MapError::new(Reason::DataType, None, what));
        }
    }
    if shape.is_some_and(|shape| is_partly(&keys, &shape)) {
        frames.insert(0, status(0xFF01, ""));
    }
    frames.push(status(0x0000, ""));
    Ok(Answers {
        frames,
        told: told_of,
    })
}
