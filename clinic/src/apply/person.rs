//! Whether a message and a record speak of the same person.
//!
//! Names are compared by their words, without case, diacritics and order. What is no name of anybody says nothing: initials, particles,
//! titles, and the words for who is not known yet.

use std::collections::HashSet;

use jiff::civil::Date;

use crate::change_set::Change;
use crate::kinds::Body;
use crate::people::{Patient, Sex};
use crate::search::fold;
use crate::value::{PersonName, When};

/// Words that stand in names and are none.
const NO_NAMES: &[&str] = &[
    "de",
    "da",
    "do",
    "dos",
    "das",
    "di",
    "del",
    "della",
    "du",
    "des",
    "la",
    "le",
    "el",
    "al",
    "van",
    "der",
    "den",
    "ter",
    "ten",
    "von",
    "zu",
    "zur",
    "bin",
    "ben",
    "ibn",
    "st",
    "dr",
    "prof",
    "ing",
    "dl",
    "dna",
    "dra",
    "mr",
    "mrs",
    "ms",
    "herr",
    "frau",
    "domnul",
    "doamna",
    "nou",
    "nascut",
    "noua",
    "nascuta",
    "newborn",
    "baby",
    "boy",
    "girl",
    "necunoscut",
    "necunoscuta",
    "unknown",
    "anonim",
    "anonima",
    "anonymous",
    "barbat",
    "femeie",
    "copil",
    "pacient",
];

/// What is said, or known, of who somebody is.
pub(super) struct Person<'a> {
    pub(super) names: Vec<&'a PersonName>,
    pub(super) birth_date: Option<&'a When>,
    pub(super) sex: Option<Sex>,
}

/// How two names are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alike {
    /// No word is the same.
    Not,
    /// One of several: sisters, a mother and her child, somebody who has married.
    Partly,
    /// Family name and given name, or all that the shorter one has.
    Same,
}

impl<'a> Person<'a> {
    /// As a change says it.
    pub(super) fn said(change: &'a Change) -> Self {
        let bodies = std::iter::once(&change.say).chain(&change.say_if_new);
        let patients: Vec<_> = bodies
            .filter_map(|body| match body {
                Body::Patient(say) => Some(say),
                _ => None,
            })
            .collect();
        Person {
            names: patients.iter().flat_map(|say| say.names.values()).collect(),
            birth_date: patients.iter().find_map(|say| say.birth_date.value()),
            sex: patients.iter().find_map(|say| say.sex.value().copied()),
        }
    }

    /// As it is known.
    pub(super) fn known(patient: &'a Patient) -> Self {
        Person {
            names: patient.names.iter().collect(),
            birth_date: patient.birth_date.as_ref(),
            sex: patient.sex,
        }
    }

    /// Of whom only names are said.
    pub(super) fn named(names: &'a [PersonName]) -> Self {
        Person {
            names: names.iter().collect(),
            birth_date: None,
            sex: None,
        }
    }

    /// Whether the two may be one.
    pub(super) fn may_be(&self, known: &Person<'_>, by: By) -> bool {
        let dates = birth_date(self.birth_date).zip(birth_date(known.birth_date));
        let agrees = dates.is_some_and(|(said, known)| may_be_same(said, known));
        let contradicts = dates.is_some() && !agrees;
        let is_mistyped = dates.is_some_and(|(said, known)| is_mistyped(said, known));
        let other_sex = matches!(
            (self.sex, known.sex),
            (Some(Sex::Male), Some(Sex::Female)) | (Some(Sex::Female), Some(Sex::Male))
        );
        let alike = alike(&self.names, &known.names);
        if by == By::National {
            return alike != Some(Alike::Not) || !contradicts || is_mistyped;
        }
        match alike {
            Some(Alike::Same) => !contradicts || (is_mistyped && !other_sex),
            Some(Alike::Partly) => !contradicts && (agrees || !other_sex),
            Some(Alike::Not) => agrees,
            // Who is registered as unknown may get another birth date with the name.
            None if self.is_named() => by == By::Own || (by == By::Number && !contradicts) || agrees,
            None => !contradicts,
        }
    }

    /// The name in small letters, to be known again.
    pub(super) fn as_said(&self) -> String {
        let words = self
            .names
            .iter()
            .flat_map(|name| name.family.iter().chain(&name.given));
        words.map(|word| fold(word)).collect::<Vec<_>>().join("|")
    }

    /// Whether there is a word of a name.
    pub(super) fn is_named(&self) -> bool {
        self.names
            .iter()
            .any(|name| !family(name).is_empty() || !given(name).is_empty())
    }
}

/// By what somebody was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A national number.
    National,
    /// A number that names its authority.
    Number,
    /// A number that names none, or one that names its authority, through the channel that was the last to write the record.
    Own,
    /// A number that names none.
    Bare,
}

/// A birth date that is one.
fn birth_date(when: Option<&When>) -> Option<&When> {
    when.filter(|when| !is_of_nobody(when))
}

/// A birth date that is none: who is not known is often born when the century began.
pub(super) fn is_of_nobody(when: &When) -> bool {
    when.to_string().starts_with("1900-01-01")
}

/// Whether two doctors are called so differently that they are two.
pub(super) fn have_other_families(said: &[&PersonName], known: &[PersonName]) -> bool {
    let families = |names: &mut dyn Iterator<Item = &PersonName>| -> HashSet<String> {
        names.flat_map(family).collect()
    };
    let (said, known) = (families(&mut said.iter().copied()), families(&mut known.iter()));
    !said.is_empty() && !known.is_empty() && said.is_disjoint(&known)
}

/// Whether both say the same name, each in its own letters.
pub(super) fn same_words(one: &PersonName, other: &PersonName) -> bool {
    family(one) == family(other) && given(one) == given(other)
}

/// The most that a name of the one has in common with one of the other. None: one of them has no name.
fn alike(said: &[&PersonName], known: &[&PersonName]) -> Option<Alike> {
    let pairs = said
        .iter()
        .flat_map(|said| known.iter().map(move |known| (*said, *known)));
    pairs.filter_map(|(said, known)| alike_names(said, known)).max()
}

fn alike_names(one: &PersonName, other: &PersonName) -> Option<Alike> {
    let ((family, given), (their_family, their_given)) =
        ((family(one), given(one)), (family(other), given(other)));
    let all: HashSet<&String> = family.union(&given).collect();
    let theirs: HashSet<&String> = their_family.union(&their_given).collect();
    if all.is_empty() || theirs.is_empty() {
        return None;
    }
    if all.is_disjoint(&theirs) {
        return Some(Alike::Not);
    }
    let straight = !family.is_disjoint(&their_family) && !given.is_disjoint(&their_given);
    let swapped = !family.is_disjoint(&their_given) && !given.is_disjoint(&their_family);
    let is_whole = all.is_subset(&theirs) || theirs.is_subset(&all);
    Some(match straight || swapped || is_whole {
        true => Alike::Same,
        false => Alike::Partly,
    })
}

fn family(name: &PersonName) -> HashSet<String> {
    words(
        [&name.family, &name.own_name, &name.partner_name]
            .into_iter()
            .flatten(),
    )
}

fn given(name: &PersonName) -> HashSet<String> {
    words(name.given.iter())
}

fn words<'a>(parts: impl Iterator<Item = &'a String>) -> HashSet<String> {
    let folded = parts.map(|part| fold(part));
    folded
        .flat_map(|part| {
            let words = part.split(|char: char| !char.is_alphanumeric());
            let names = words.filter(|word| 1 < word.chars().count() && !NO_NAMES.contains(word));
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Two dates of which one may be known less exactly, or to the hour. A birth date is a day on the wall, whatever the zone.
pub(super) fn may_be_same(one: &When, other: &When) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    let length = one.len().min(other.len()).min("YYYY-MM-DD".len());
    one.get(..length) == other.get(..length)
}

/// Whether two days differ as by a slip of the hand: in one of year, month and day, or with month and day exchanged.
fn is_mistyped(one: &When, other: &When) -> bool {
    let day = |when: &When| when.to_string().get(..10)?.parse::<Date>().ok();
    let (Some(one), Some(other)) = (day(one), day(other)) else {
        return false;
    };
    let same = [
        one.year() == other.year(),
        one.month() == other.month(),
        one.day() == other.day(),
    ];
    let is_exchanged = one.year() == other.year() && one.month() == other.day() && one.day() == other.month();
    2 <= same.iter().filter(|same| **same).count() || is_exchanged
}
