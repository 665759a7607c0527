//! What a store keeps of each aggregate so that FHIR searches find it: plain columns, and texts of which it keeps keyed
//! hashes. And how a question is put to them.
//!
//! | question | asked as |
//! |---|---|
//! | `_id`, `_lastUpdated` | columns that every row has |
//! | `patient`, `subject` | [`Columns::patient`], in all of [`patient_ids`] of the patient that is named |
//! | `status` | [`Columns::status`] |
//! | `date` (Appointment, Encounter, Observation, Result), `authored` (Order), `started` (ImagingStudy), `birthdate` (Patient) | [`Columns::date_from`] and [`Columns::date_to`] by [`DateQuery`] |
//! | `identifier=system\|value`, `=value` | [`FindKey::system_value`](crate::apply::FindKey::system_value), [`FindKey::value`](crate::apply::FindKey::value) |
//! | `identifier=\|value` | as `=value`, and finished on the opened rows |
//! | `code=system\|code`, `=\|code`, `=code` | [`SearchKey`] `code` with just that text |
//! | `modality` (ImagingStudy) | [`SearchKey`] `modality` |
//! | orders for a worklist, by accession number (also ImagingStudy) | [`SearchKey`] `imaging` with [`LIVE`], `accession` |
//! | what was measured of a patient and a worklist tells | [`SearchKey`] `measure` by [`Measure::key`] |
//! | the objects of a study | [`FindKey::referring`](crate::apply::FindKey::referring) |
//! | `family`, `given`, `name` | [`SearchKey`] of that name by [`NameQuery`] |
//!
//! Names are found by their beginnings of 3 to 12 letters; a longer question is asked by its first 12 letters and
//! finished on the opened rows; for a shorter one there is no key: it finds whole words, or each row is opened.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use crate::diagnostics::{Order, OrderStatus};
use crate::imaging::{ACCESSION, ImagingStudy};
use crate::kinds::{Aggregate, Kind};
use crate::people::{LinkKind, Patient};
use crate::value::{Concept, Period, PersonName, Ref, When};
use crate::worklist::Measure;

/// The shortest and the longest beginning of a word that is kept.
const PREFIX: std::ops::RangeInclusive<usize> = 3..=12;
/// The most keys that one aggregate gets: a name is no book.
const MAX_KEYS: usize = 400;

/// What is kept in plain columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Whose; of a patient, none.
    pub patient: Option<Uuid>,
    /// The status as its code.
    pub status: Option<&'static str>,
    /// The first moment of what FHIR's `date` (Order: `authored`, Patient: `birthdate`) means: included. A moment
    /// lasts as long as it is precise: a second, or a millisecond. None with `date_to`: since ever.
    pub date_from: Option<Timestamp>,
    /// The end of it: excluded. None with `date_from`: it goes on.
    pub date_to: Option<Timestamp>,
}

/// A text that an aggregate is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchKey {
    /// The search parameter.
    pub name: &'static str,
    /// For `code` as in the question; for names a beginning, or `=` and a whole word.
    pub text: String,
}

impl SearchKey {
    /// By a patient who takes part in an appointment beside the one whose it is.
    pub fn comes_along(patient: Uuid) -> Self {
        SearchKey {
            name: "comes-along",
            text: patient.to_string(),
        }
    }
}

/// The plain columns of an aggregate. `zone` is the clinic's: days without a time are days there. Birth dates are days
/// everywhere, and kept as days of UTC; ask for them with UTC.
pub fn columns(aggregate: &Aggregate, zone: &TimeZone) -> Columns {
    let patient = aggregate.patient().and_then(Ref::id);
    let (status, (date_from, date_to)) = match aggregate {
        Aggregate::Patient(p) => (None, range_of(p.birth_date.as_ref(), &TimeZone::UTC)),
        Aggregate::Appointment(a) => (a.status.map(|s| s.as_str()), range_of(a.start.as_ref(), zone)),
        Aggregate::Encounter(e) => (
            e.status.map(|s| s.as_str()),
            range_of_period(e.period.as_ref(), zone),
        ),
        Aggregate::Order(o) => (o.status.map(|s| s.as_str()), range_of(o.authored.as_ref(), zone)),
        Aggregate::Result(r) => (
            r.status.map(|s| s.as_str()),
            effective(r.effective_at.as_ref(), r.effective_period.as_ref(), zone),
        ),
        Aggregate::Observation(o) => (
            o.status.map(|s| s.as_str()),
            range_of(o.effective_at.as_ref(), zone),
        ),
        Aggregate::Specimen(s) => (
            s.status.map(|s| s.as_str()),
            effective(s.collected_at.as_ref(), s.collected_period.as_ref(), zone),
        ),
        Aggregate::Procedure(p) => (
            p.status.map(|s| s.as_str()),
            effective(p.performed_at.as_ref(), p.performed_period.as_ref(), zone),
        ),
        Aggregate::Document(d) => (d.status.map(|s| s.as_str()), range_of(d.date.as_ref(), zone)),
        Aggregate::MedicationOrder(m) => (m.status.map(|s| s.as_str()), range_of(m.authored.as_ref(), zone)),
        Aggregate::Coverage(c) => (c.status.map(|s| s.as_str()), (None, None)),
        Aggregate::ImagingStudy(i) => (i.status.map(|s| s.as_str()), range_of(i.started.as_ref(), zone)),
        Aggregate::Slot(s) => (s.status.map(|s| s.as_str()), range_of(s.start.as_ref(), zone)),
        Aggregate::Condition(c) => (None, range_of(c.recorded.as_ref(), zone)),
        Aggregate::Allergy(a) => (None, range_of(a.recorded.as_ref(), zone)),
        Aggregate::Site(s) => (s.status.map(|s| s.as_str()), (None, None)),
        Aggregate::Room(r) => (r.status.map(|s| s.as_str()), (None, None)),
        Aggregate::RelatedPerson(_)
        | Aggregate::Practitioner(_)
        | Aggregate::Clinic(_)
        | Aggregate::Service(_)
        | Aggregate::Schedule(_)
        | Aggregate::ImagingInstance(_) => (None, (None, None)),
    };
    Columns {
        patient,
        status,
        date_from,
        date_to,
    }
}

/// The texts that an aggregate is found by, beside its identifiers; each once.
pub fn search_keys(aggregate: &Aggregate) -> Vec<SearchKey> {
    let mut keys: Vec<SearchKey> = vec![];
    match aggregate {
        Aggregate::Patient(patient) => name_keys(&patient.names, &mut keys),
        Aggregate::Practitioner(practitioner) => name_keys(&practitioner.names, &mut keys),
        Aggregate::RelatedPerson(person) => name_keys(&person.names, &mut keys),
        Aggregate::Order(order) => {
            code_keys(order.code.as_ref(), &mut keys);
            imaging_keys(order, &mut keys);
        }
        Aggregate::ImagingStudy(study) => study_keys(study, &mut keys),
        Aggregate::Result(result) => code_keys(result.code.as_ref(), &mut keys),
        Aggregate::Observation(observation) => {
            code_keys(observation.code.as_ref(), &mut keys);
            let patient = observation.patient.as_ref().and_then(Ref::id);
            let measured = patient.zip(Measure::of(observation));
            keys.extend(measured.map(|(patient, measure)| measure.key(patient)));
        }
        Aggregate::Appointment(appointment) => {
            let actors = appointment
                .participants
                .iter()
                .filter_map(|one| one.actor.as_ref());
            keys.extend(actors.filter_map(|actor| match actor {
                Ref::Id(Kind::Patient, id) => Some(SearchKey::comes_along(*id)),
                Ref::Id(..) | Ref::Local(_) => None,
            }));
        }
        Aggregate::Clinic(_)
        | Aggregate::Site(_)
        | Aggregate::Room(_)
        | Aggregate::Service(_)
        | Aggregate::Schedule(_)
        | Aggregate::Slot(_)
        | Aggregate::Encounter(_)
        | Aggregate::Condition(_)
        | Aggregate::Allergy(_)
        | Aggregate::Procedure(_)
        | Aggregate::Coverage(_)
        | Aggregate::Specimen(_)
        | Aggregate::Document(_)
        | Aggregate::MedicationOrder(_)
        | Aggregate::ImagingInstance(_) => {}
    }
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(MAX_KEYS);
    keys
}

/// The ids under which the chart of a patient is kept: their own, and those of all records that were merged into this
/// one. Where one of those had survived merges itself, ask again with its record.
pub fn patient_ids(id: Uuid, patient: &Patient) -> Vec<Uuid> {
    let replaced = patient
        .links
        .iter()
        .filter(|link| link.kind == LinkKind::Replaces);
    std::iter::once(id)
        .chain(replaced.filter_map(|link| link.other.id()))
        .collect()
}

// ---- names ----

/// Letters by which names are compared: case, diacritics, ş and ș, ţ and ț, composed or not, make no difference; runs
/// of anything that is no letter or digit are one space.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text
        .nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_combining_mark(*c))
    {
        match char {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' => out.push('d'),
            'ı' => out.push('i'),
            char if char.is_alphanumeric() => out.push(char),
            // An apostrophe is not heard: O'Neil is found by oneil.
            '\'' | '’' | 'ʼ' => {}
            _ if out.is_empty() || out.ends_with(' ') => {}
            _ => out.push(' '),
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

/// A question for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameQuery {
    /// The text of the [`SearchKey`] to look for; none: the question is too short for one, and each row has to be opened.
    pub key: Option<String>,
    /// The question, folded. For a row that was found, [`NameQuery::matches`] decides.
    folded: String,
    /// True where the key finds more than was asked for, so that each row has to be opened.
    pub finish: bool,
    /// Whether only what is called exactly so is meant.
    whole: bool,
}

impl NameQuery {
    /// A question by the beginning of a name or of a word in it; by less than three letters, by a whole word. None: the
    /// question has no letter or digit.
    pub fn new(value: &str) -> Option<Self> {
        let folded = fold(value);
        let count = folded.chars().count();
        if count == 0 {
            return None;
        }
        let whole = count < *PREFIX.start();
        let text = if whole {
            format!("={folded}")
        } else {
            prefix(&folded, *PREFIX.end())
        };
        Some(NameQuery {
            key: Some(text),
            finish: count > *PREFIX.end(),
            folded,
            whole,
        })
    }

    /// The same, by the beginning however short it is (FHIR R4 §3.1.1.4.8).
    pub fn by_beginning(value: &str) -> Option<Self> {
        let query = Self::new(value)?;
        if !query.whole {
            return Some(query);
        }
        Some(NameQuery {
            key: None,
            finish: true,
            whole: false,
            ..query
        })
    }

    /// True where the parameter (`family`, `given` or `name`) of a patient begins as asked.
    pub fn matches(&self, names: &[PersonName], parameter: &str) -> bool {
        let fits = |text: &str| {
            if self.whole {
                text == self.folded
            } else {
                text.starts_with(&self.folded)
            }
        };
        names
            .iter()
            .flat_map(name_parts)
            .filter(|(name, _)| *name == parameter || parameter == "name")
            .any(|(_, part)| {
                let folded = fold(part);
                fits(&folded) || words(&folded).any(fits)
            })
    }
}

/// Each part of a name, with the parameter by which it is found beside `name`.
fn name_parts(name: &PersonName) -> impl Iterator<Item = (&'static str, &str)> {
    let families = [&name.family, &name.own_name, &name.partner_name]
        .into_iter()
        .flatten()
        .map(|t| ("family", t));
    let given = name.given.iter().map(|t| ("given", t));
    let rest = name
        .prefix
        .iter()
        .chain(&name.suffix)
        .chain(&name.text)
        .map(|t| ("name", t));
    families
        .chain(given)
        .chain(rest)
        .map(|(parameter, text)| (parameter, text.as_str()))
}

fn name_keys(names: &[PersonName], keys: &mut Vec<SearchKey>) {
    for (parameter, part) in names.iter().flat_map(name_parts) {
        let folded = fold(part);
        let texts = std::iter::once(folded.as_str()).chain(words(&folded).filter(|word| *word != folded));
        for text in texts.filter(|text| !text.is_empty()) {
            if keys.len() > MAX_KEYS * 4 {
                return;
            }
            let whole = format!("={text}");
            let count = text.chars().count();
            let beginnings = PREFIX
                .take_while(|length| *length <= count)
                .map(|length| prefix(text, length));
            for text in std::iter::once(whole).chain(beginnings) {
                if parameter != "name" {
                    keys.push(SearchKey {
                        name: parameter,
                        text: text.clone(),
                    });
                }
                keys.push(SearchKey { name: "name", text });
            }
        }
    }
}

fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(' ').filter(|word| !word.is_empty())
}

fn prefix(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

// ---- codes ----

fn code_keys(concept: Option<&Concept>, keys: &mut Vec<SearchKey>) {
    for coding in concept.iter().flat_map(|concept| &concept.codings) {
        let Some(code) = coding.code.as_deref().filter(|code| !code.is_empty()) else {
            continue;
        };
        let system = coding.system.as_deref().unwrap_or_default();
        for text in [format!("{system}|{code}"), code.to_owned()] {
            keys.push(SearchKey { name: "code", text });
        }
    }
}

// ---- imaging ----

/// The text of the [`SearchKey`] `imaging` that every order has which a worklist may tell.
pub const LIVE: &str = "live";

/// Whether an order has not ended.
pub(crate) fn is_live(order: &Order) -> bool {
    match order.status {
        Some(OrderStatus::Draft | OrderStatus::Active | OrderStatus::OnHold | OrderStatus::Unknown)
        | None => true,
        Some(OrderStatus::Revoked | OrderStatus::Completed | OrderStatus::EnteredInError) => false,
    }
}

fn imaging_keys(order: &Order, keys: &mut Vec<SearchKey>) {
    let Some(imaging) = &order.imaging else { return };
    if is_live(order) {
        keys.push(SearchKey {
            name: "imaging",
            text: LIVE.to_owned(),
        });
    }
    keys.extend(imaging.accession.clone().map(|text| SearchKey {
        name: "accession",
        text,
    }));
}

fn study_keys(study: &ImagingStudy, keys: &mut Vec<SearchKey>) {
    let series = study.series.iter().filter_map(|series| series.modality.as_ref());
    for text in study.modalities.iter().chain(series) {
        keys.push(SearchKey {
            name: "modality",
            text: text.clone(),
        });
    }
    let accessions = study
        .identifiers
        .iter()
        .filter(|id| id.kind_code() == Some(ACCESSION));
    keys.extend(accessions.map(|id| SearchKey {
        name: "accession",
        text: id.value.clone(),
    }));
}

// ---- dates ----

/// How the range of a value has to lie to that of the question (FHIR R4 §3.1.1.5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePrefix {
    /// Inside it.
    Eq,
    /// Not inside it.
    Ne,
    /// It reaches beyond its end.
    Gt,
    /// It reaches before its beginning.
    Lt,
    /// `Eq` or `Gt`.
    Ge,
    /// `Eq` or `Lt`.
    Le,
    /// It begins after its end.
    Sa,
    /// It ends before its beginning.
    Eb,
}

/// A question for a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateQuery {
    /// How to compare.
    pub prefix: DatePrefix,
    /// The first moment that the question means …
    pub from: Timestamp,
    /// … and the first one after them.
    pub to: Timestamp,
}

impl DateQuery {
    /// Reads `2026-05`, `ge2026-05-05`, `lt2026-05-05T08:30`, `2026-05-05T08:30:00+03:00`. What has no zone is of
    /// `zone`. None: it is no date (`ap` is not known here).
    pub fn parse(text: &str, zone: &TimeZone) -> Option<Self> {
        let (prefix, date) = match text.get(..2) {
            Some("eq") => (DatePrefix::Eq, &text[2..]),
            Some("ne") => (DatePrefix::Ne, &text[2..]),
            Some("gt") => (DatePrefix::Gt, &text[2..]),
            Some("lt") => (DatePrefix::Lt, &text[2..]),
            Some("ge") => (DatePrefix::Ge, &text[2..]),
            Some("le") => (DatePrefix::Le, &text[2..]),
            Some("sa") => (DatePrefix::Sa, &text[2..]),
            Some("eb") => (DatePrefix::Eb, &text[2..]),
            _ => (DatePrefix::Eq, text),
        };
        let (from, to) = question_range(date, zone)?;
        Some(DateQuery { prefix, from, to })
    }

    /// True where a value that lies from `from` to `to` answers the question. A value without either has no date.
    pub fn matches(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        if from.is_none() && to.is_none() {
            return self.prefix == DatePrefix::Ne;
        }
        let inside = from.is_some_and(|from| self.from <= from) && to.is_some_and(|to| to <= self.to);
        let beyond = to.is_none_or(|to| to > self.to);
        let before = from.is_none_or(|from| from < self.from);
        match self.prefix {
            DatePrefix::Eq => inside,
            DatePrefix::Ne => !inside,
            DatePrefix::Gt => beyond,
            DatePrefix::Lt => before,
            DatePrefix::Ge => inside || beyond,
            DatePrefix::Le => inside || before,
            DatePrefix::Sa => from.is_some_and(|from| from >= self.to),
            DatePrefix::Eb => to.is_some_and(|to| to <= self.from),
        }
    }
}

fn question_range(text: &str, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    if let Ok(when) = text.parse::<When>() {
        return closed(range_of(Some(&when), zone));
    }
    // A space stands where a plus was not encoded in the URL.
    let text = text.replacen(' ', "+", 1);
    if text.get(13..14) != Some(":") {
        return None;
    }
    let minutes = text.len() == 16 || text.get(16..17).is_some_and(|c| c == "Z" || c == "+" || c == "-");
    let full = if minutes {
        format!("{}:00{}", text.get(..16)?, text.get(16..)?)
    } else {
        text
    };
    let has_zone = full.get(19..).is_some_and(|rest| rest.contains(['Z', '+', '-']));
    let from = if has_zone {
        full.parse::<Timestamp>().ok()?
    } else {
        zone.to_timestamp(full.parse::<civil::DateTime>().ok()?).ok()?
    };
    let length = if minutes {
        SignedDuration::from_mins(1)
    } else {
        precision(from)
    };
    Some((from, from.checked_add(length).ok()?))
}

fn closed((from, to): (Option<Timestamp>, Option<Timestamp>)) -> Option<(Timestamp, Timestamp)> {
    Some((from?, to?))
}

fn range_of(when: Option<&When>, zone: &TimeZone) -> (Option<Timestamp>, Option<Timestamp>) {
    let Some(when) = when else { return (None, None) };
    let Some(from) = when.earliest(zone) else {
        return (None, None);
    };
    let to = if when.has_time() {
        from.checked_add(precision(from)).ok()
    } else {
        when.latest(zone)
    };
    (Some(from), to.or(Some(from)))
}

/// From the first moment of its start to the last of its end.
fn range_of_period(period: Option<&Period>, zone: &TimeZone) -> (Option<Timestamp>, Option<Timestamp>) {
    let Some(period) = period else { return (None, None) };
    let (from, _) = range_of(period.start.as_ref(), zone);
    let (_, to) = range_of(period.end.as_ref(), zone);
    (from, to)
}

fn effective(
    at: Option<&When>,
    period: Option<&Period>,
    zone: &TimeZone,
) -> (Option<Timestamp>, Option<Timestamp>) {
    if at.is_some() {
        range_of(at, zone)
    } else {
        range_of_period(period, zone)
    }
}

/// How long a moment lasts: as precise as it was given.
fn precision(at: Timestamp) -> SignedDuration {
    let nanos = at.subsec_nanosecond();
    if nanos == 0 {
        SignedDuration::from_secs(1)
    } else if nanos % 1_000_000 == 0 {
        SignedDuration::from_millis(1)
    } else {
        SignedDuration::from_micros(1)
    }
}

#[cfg(test)]
mod tests;
