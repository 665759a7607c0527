//! Whose images are: whom they name, held against whom they are expected to be of.
//!
//! A person who decides about one object of a study decides about the study: what else comes of it under the same number and name is
//! taken as that one was ([`decided_before`]).

use uuid::Uuid;

use super::identify::{Found, named};
use super::person::may_be_same;
use super::resolve::{Work, patient_said};
use super::{ApplyError, Candidate, Choice, Decision};
use crate::change_set::{Change, ChangeSet};
use crate::imaging::UID_SYSTEM;
use crate::kinds::{Aggregate, Body, Kind};
use crate::people::Patient;
use crate::search::fold;
use crate::value::{Identifier, PersonName, Ref};

/// Under this word a study holds the number and the name under which a person has said that images are its patient's, and a
/// patient the name under which their results come.
pub(super) const WHOSE: &str = "whose";

/// What a person has decided before about the studies of a set, by one object of each.
pub(super) fn decided_before(work: &mut Work<'_>) -> Result<Vec<Decision>, ApplyError> {
    let set = work.set;
    let mut decisions = vec![];
    for change in set
        .changes
        .iter()
        .filter(|change| change.kind() == Kind::ImagingStudy)
    {
        let Some(Ref::Local(key)) = patient_said(change) else {
            continue;
        };
        let uids = named(change).filter(|id| id.system.as_deref() == Some(UID_SYSTEM));
        for uid in uids {
            let Some(find) = super::FindKey::identifier(Kind::ImagingStudy, uid, None) else {
                continue;
            };
            for id in work.reader.find(&find)?.to_vec() {
                let Some(record) = work.reader.load(Kind::ImagingStudy, id)? else {
                    continue;
                };
                let whose = record.aggregate.patient().and_then(Ref::id);
                if let Some(patient) = whose.filter(|_| record.meta.held.has(WHOSE, &said_as(set, key))) {
                    decisions.push(Decision {
                        key: key.clone(),
                        choice: Choice::Is(patient),
                    });
                }
            }
        }
    }
    Ok(decisions)
}

/// Keeps that a person has decided whose the images are that name somebody so.
pub(super) fn keep_decision(work: &mut Work<'_>, place: usize, key: &str) {
    let said = said_as(work.set, key);
    work.touched[place].held.hold(WHOSE, &said, "a decision");
}

/// The number and the name by which images name their patient.
fn said_as(set: &ChangeSet, key: &str) -> String {
    let changes = set.changes.iter().filter(|change| change.key == key);
    let mut words: Vec<String> = changes
        .flat_map(named)
        .map(|number| number.value.clone())
        .collect();
    for name in names_said(set, key) {
        words.extend(name.family.iter().chain(&name.given).map(|part| fold(part)));
    }
    words.join("|")
}

/// Parks images that name somebody else than the one whom they are expected to be of.
pub(super) fn check_patient(
    work: &mut Work<'_>,
    place: usize,
    expected: Uuid,
    key: Option<String>,
) -> Result<(), ApplyError> {
    let differs = match said_patient(work, place)? {
        Said::Nobody => return Ok(()),
        Said::Unknown => true,
        Said::Is(id) => id != expected,
    };
    let names = said_names(work, place);
    let patient = patient_before(work, expected)?;
    let what = if differs {
        "another patient"
    } else if patient.is_some_and(|known| !same_name(&names, &known.names)) {
        "a patient of another name"
    } else {
        return Ok(());
    };
    Err(ApplyError::Parked {
        why: format!("The images name {what} than their order or their study does. Decide whose they are."),
        about: key,
        candidates: vec![Candidate {
            kind: Kind::Patient,
            id: expected,
            why: "is the patient of the order or the study".to_owned(),
        }],
    })
}

/// Parks images that nobody here has planned and whose number is that of somebody else: of another name or birth date, or one that
/// another authority has given out (PS3.3 §C.7.1.1). A number that was typed wrongly at a device is often somebody else's, and two
/// hospitals have the same ones. What says how the patient is called, as a registration does, may rename.
pub(super) fn check_number(work: &mut Work<'_>, place: usize, key: Option<String>) -> Result<(), ApplyError> {
    let Said::Is(id) = said_patient(work, place)? else {
        return Ok(());
    };
    let set = work.set;
    let about = || {
        set.changes
            .iter()
            .filter(|change| Some(&change.key) == key.as_ref())
    };
    let renames =
        |change: &Change| matches!(&change.say, Body::Patient(say) if !say.names.values().is_empty());
    if about().any(renames) {
        return Ok(());
    }
    let names = said_names(work, place);
    let Some(known) = patient_before(work, id)? else {
        return Ok(());
    };
    let born = about()
        .filter_map(|change| change.say_if_new.as_ref())
        .find_map(|body| match body {
            Body::Patient(say) => say.birth_date.value(),
            _ => None,
        });
    let is_another_day = || Some(!may_be_same(born?, known.birth_date.as_ref()?));
    let what = if !same_name(&names, &known.names) {
        "a patient of another name"
    } else if is_another_day().unwrap_or(false) {
        "a patient with another birth date"
    } else if about().any(|change| {
        change
            .find
            .identifiers
            .iter()
            .any(|number| is_of_another(number, &known))
    }) {
        "a patient here who has it from another authority"
    } else {
        return Ok(());
    };
    Err(ApplyError::Parked {
        why: format!("The images have the number of {what}. Decide whose they are."),
        about: key,
        candidates: vec![Candidate {
            kind: Kind::Patient,
            id,
            why: "has the number that the images name".to_owned(),
        }],
    })
}

/// Whether a number was given out by an authority, by what a device may have been told of it.
fn is_issued_by(number: &Identifier, issuer: &str) -> bool {
    let names = [&number.assigner, &number.system].into_iter().flatten();
    names.into_iter().any(|name| name.eq_ignore_ascii_case(issuer))
}

/// Whether a number that says whose it is has been given out by others here. A number that says nothing may be any.
fn is_of_another(number: &Identifier, known: &Patient) -> bool {
    let Some(issuer) = &number.assigner else {
        return false;
    };
    let mut theirs = known
        .identifiers
        .iter()
        .filter(|one| one.value == number.value)
        .peekable();
    // Addresses of systems say nothing on a device.
    let is_said = |one: &Identifier| {
        one.assigner.is_some()
            || one
                .system
                .as_ref()
                .is_some_and(|system| !system.contains([':', '/']))
    };
    theirs.peek().is_some() && theirs.all(|one| is_said(one) && !is_issued_by(one, issuer))
}

/// Whom the images name.
pub(super) enum Said {
    /// Nobody.
    Nobody,
    /// Somebody whom nobody here is.
    Unknown,
    /// This one.
    Is(Uuid),
}

pub(super) fn said_patient(work: &mut Work<'_>, place: usize) -> Result<Said, ApplyError> {
    let set = work.set;
    let changes = work.touched[place].changes.clone();
    let said = changes
        .into_iter()
        .find_map(|idx| patient_said(&set.changes[idx]));
    let Some(said) = said else { return Ok(Said::Nobody) };
    Ok(work.local_or_id(Some(said))?.map_or(Said::Unknown, Said::Is))
}

/// The key of the change that says whose a study is.
pub(super) fn patient_key(work: &Work<'_>, place: usize) -> Option<String> {
    let changes = work.touched[place].changes.iter();
    let said = changes
        .into_iter()
        .find_map(|idx| patient_said(&work.set.changes[*idx]));
    match said? {
        Ref::Local(key) if work.keys.contains_key(key.as_str()) => Some(key.clone()),
        Ref::Local(_) | Ref::Id(..) => None,
    }
}

/// The names that the set gives the patient of a study.
fn said_names(work: &Work<'_>, place: usize) -> Vec<PersonName> {
    patient_key(work, place).map_or_else(Vec::new, |key| names_said(work.set, &key))
}

/// The names that a set gives the patient with this key.
fn names_said(set: &ChangeSet, key: &str) -> Vec<PersonName> {
    let changes = set.changes.iter().filter(|change| change.key == key);
    let bodies = changes.flat_map(|change| std::iter::once(&change.say).chain(&change.say_if_new));
    let names = bodies.flat_map(|body| match body {
        Body::Patient(say) => say.names.values(),
        _ => &[],
    });
    names.cloned().collect()
}

impl Work<'_> {
    /// Of several patients with a number those who have it from the authority that a device names with it (PS3.3 C.7.1.1, Issuer of
    /// Patient ID); where nobody has, all of them.
    pub(super) fn of_issuer(&mut self, idx: usize, found: Vec<Found>) -> Result<Vec<Found>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        if found.len() < 2 || !change.find.bare {
            return Ok(found);
        }
        let mut theirs = vec![];
        for one in &found {
            let Some(known) = patient_before(self, one.id)? else {
                continue;
            };
            let has = |number: &Identifier| {
                let issuer = number.assigner.as_deref();
                let mut same = known.identifiers.iter().filter(|one| one.value == number.value);
                issuer.is_some_and(|issuer| same.any(|one| is_issued_by(one, issuer)))
            };
            if named(change).any(has) {
                theirs.push(one.clone());
            }
        }
        Ok(match theirs.is_empty() {
            true => found,
            false => theirs,
        })
    }

    /// Whether the patient of a change is known, and by the name that the set says.
    pub(super) fn is_of_a_known_patient(&mut self, idx: usize) -> Result<bool, ApplyError> {
        let said = patient_said(&self.set.changes[idx]);
        let Some(id) = self.local_or_id(said)? else {
            return Ok(false);
        };
        let names = match said {
            Some(Ref::Local(key)) => names_said(self.set, key),
            Some(Ref::Id(..)) | None => vec![],
        };
        let known = patient_before(self, id)?;
        Ok(known.is_some_and(|known| same_name(&names, &known.names)))
    }
}

/// A patient as known before this set, by the names and numbers of the records that were merged into theirs too: a device may
/// have been told those.
fn patient_before(work: &mut Work<'_>, id: Uuid) -> Result<Option<Patient>, ApplyError> {
    let mut known: Option<Patient> = None;
    for id in work.reader.selves(id)? {
        let Some(record) = work.reader.load(Kind::Patient, id)? else {
            continue;
        };
        let Aggregate::Patient(patient) = &record.aggregate else {
            continue;
        };
        match &mut known {
            None => known = Some((**patient).clone()),
            Some(known) => {
                known.names.extend(patient.names.iter().cloned());
                known.identifiers.extend(patient.identifiers.iter().cloned());
                if known.birth_date != patient.birth_date {
                    known.birth_date = None;
                }
            }
        }
    }
    Ok(known)
}

/// Whether one of the names said may be one of those known: they share a word of the family name, and one of the given
/// names where both have some. Case and diacritics make no difference. Nothing said is no difference.
pub fn same_name(said: &[PersonName], known: &[PersonName]) -> bool {
    let words = |parts: Vec<&String>| -> Vec<String> {
        let folded = parts.into_iter().map(|part| fold(part));
        folded
            .flat_map(|part| part.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let family = |name: &PersonName| {
        words(
            [&name.family, &name.own_name, &name.partner_name]
                .into_iter()
                .flatten()
                .collect(),
        )
    };
    let given = |name: &PersonName| words(name.given.iter().collect());
    let share = |one: &[String], other: &[String]| {
        one.is_empty() || other.is_empty() || one.iter().any(|word| other.contains(word))
    };
    let same = |one: &PersonName| {
        known
            .iter()
            .any(|other| share(&family(one), &family(other)) && share(&given(one), &given(other)))
    };
    said.is_empty() || known.is_empty() || said.iter().any(same)
}
