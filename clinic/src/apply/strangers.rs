//! The right number with the wrong person. Two cases in which a number alone does not say who is meant:
//!
//! - **It names no authority.** Who numbers patients, or doctors, without saying whose numbers they are counts from 1 as all
//!   others do. HL7 v2.5.1 §2.A.14.4 implies the sender's authority. That can't be taken by its word: a laboratory answers
//!   with the number that the clinic has sent, and names no authority either. So the number is followed, and the person
//!   has to fit.
//! - **It brings a result, an order or a document**: a tube or a form with another one's number is a mistake of every day. A
//!   registration may rename; a result may not.
//!
//! A national number is one person's, whatever the names are.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::identify::{Found, Lookup, same};
use super::resolve::Work;
use super::{ApplyError, Context};
use crate::aggregate::Source;
use crate::change_set::Change;
use crate::held::Kept;
use crate::kinds::{Aggregate, Body, Kind};
use crate::people::Patient;
use crate::search::fold;
use crate::value::{Identifier, PersonName, When};

/// Who is told to have written what stands there ([`Kept::by`]), where a person has chosen whose a message is.
const CHOSEN: &str = "the patient who was chosen";

impl Work<'_> {
    /// Of the patients who were found, those who may be the one whom the message names. Parked where there is none of them.
    pub(super) fn without_strangers(
        &mut self,
        idx: usize,
        found: Vec<Found>,
        context: &Context<'_>,
    ) -> Result<Vec<Found>, ApplyError> {
        let (set, change) = (self.set, &self.set.changes[idx]);
        // A person who writes may give any name.
        let Source::Message { channel, .. } = &context.source else {
            return Ok(found);
        };
        let (names, birth_date) = patient_said(change);
        if change.find.bare || names.is_empty() {
            return Ok(found);
        }
        let brings = self.brings_something();
        let mut fitting = vec![];
        for one in found.iter() {
            let is_doubtful = !one.is_national && (one.is_bare || brings);
            if !is_doubtful || self.may_be(one.id, &names, birth_date, channel)? {
                fitting.push(one.clone());
            }
        }
        if fitting.is_empty() && !found.is_empty() {
            let hint = match found.iter().all(|one| one.is_bare) {
                true => {
                    " The number names no authority: where senders count for themselves, say in the channel whose such \
                     numbers are."
                }
                false => "",
            };
            return Err(ApplyError::Parked {
                why: format!(
                    "The patient who is found by the number has another name than the message says, and no birth date says that \
                     it is the same person. Decide whose this is.{hint}"
                ),
                about: Some(set.changes[idx].key.clone()),
                candidates: found.iter().map(|one| one.candidate(Kind::Patient)).collect(),
            });
        }
        Ok(fitting)
    }

    /// Whether a patient, or a record that was merged into theirs, may be the person of that name and birth date.
    fn may_be(
        &mut self,
        id: Uuid,
        names: &[&PersonName],
        birth_date: Option<&When>,
        channel: &str,
    ) -> Result<bool, ApplyError> {
        for id in self.reader.selves(id)? {
            let stored = self.reader.stored(Kind::Patient, id)?;
            let is_another = stored.is_some_and(|record| {
                let is_own =
                    matches!(&record.meta.source, Source::Message { channel: by, .. } if by == channel);
                match &record.aggregate {
                    Aggregate::Patient(known) => is_stranger(names, birth_date, known, is_own),
                    _ => false,
                }
            });
            if !is_another {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the set brings a result, an order or a document.
    fn brings_something(&self) -> bool {
        let brought = |kind| {
            matches!(
                kind,
                Kind::Result | Kind::Order | Kind::Document | Kind::MedicationOrder
            )
        };
        self.set.changes.iter().any(|change| brought(change.kind()))
    }

    /// A person has chosen whose the message is. The chart takes from it no number that another patient has, which would lead to
    /// both from then on; and where it brings something under another person's name, nothing of that person at all.
    pub(super) fn part_from_others(
        &mut self,
        idx: usize,
        chosen: Uuid,
        lookups: &[Lookup<'_>],
    ) -> Result<(), ApplyError> {
        let mut numbers: Vec<Identifier> = vec![];
        for lookup in lookups {
            for found in self.reader.find(&lookup.key)?.to_vec() {
                if self.reader.survivor(found)? != chosen {
                    numbers.push(lookup.identifier.clone());
                    break;
                }
            }
        }
        let (names, birth_date) = patient_said(&self.set.changes[idx]);
        let is_stranger = self.brings_something()
            && match self
                .reader
                .load(Kind::Patient, chosen)?
                .map(|record| &record.aggregate)
            {
                Some(Aggregate::Patient(known)) => is_stranger(&names, birth_date, known, false),
                _ => false,
            };
        self.mute[idx] |= is_stranger;
        let fields = [(is_stranger, "names"), (!numbers.is_empty(), "identifiers")];
        for (_, field) in fields.into_iter().filter(|(is_so, _)| *is_so) {
            self.kept.push(Kept {
                kind: Kind::Patient,
                id: chosen,
                field: field.to_owned(),
                by: CHOSEN.to_owned(),
            });
        }
        self.of_others.insert(idx, numbers);
        Ok(())
    }

    /// Takes those numbers out again of what the changes have made of a patient.
    pub(super) fn without_numbers_of_others(&self, place: usize, changes: &[usize], after: &mut Aggregate) {
        let of_others = || changes.iter().filter_map(|idx| self.of_others.get(idx)).flatten();
        if of_others().next().is_none() {
            return;
        }
        let before = self.touched[place].before.as_ref();
        let known = before.map_or(&[][..], |record| record.aggregate.identifiers());
        let stays = |number: &Identifier| {
            known.iter().any(|known| same(known, number)) || !of_others().any(|other| same(other, number))
        };
        after.identifiers_mut().retain(stays);
    }

    /// The first one that was found; of practitioners, the first who may be the one whom the message names.
    pub(super) fn first_not_strange(
        &mut self,
        idx: usize,
        found: &[Found],
    ) -> Result<Option<Uuid>, ApplyError> {
        let change = &self.set.changes[idx];
        if change.kind() != Kind::Practitioner {
            return Ok(found.first().map(|found| found.id));
        }
        let bodies = std::iter::once(&change.say).chain(&change.say_if_new);
        let names: Vec<&PersonName> = bodies
            .flat_map(|body| match body {
                Body::Practitioner(say) => say.names.values(),
                _ => &[],
            })
            .collect();
        for one in found {
            let stored = self.reader.stored(Kind::Practitioner, one.id)?;
            let is_stranger = one.is_bare
                && stored.is_some_and(|record| match &record.aggregate {
                    Aggregate::Practitioner(known) => is_called_otherwise(&names, &known.names),
                    _ => false,
                });
            if !is_stranger {
                return Ok(Some(one.id));
            }
        }
        Ok(None)
    }
}

/// What the message says of who the patient is.
fn patient_said(change: &Change) -> (Vec<&PersonName>, Option<&When>) {
    let bodies = std::iter::once(&change.say).chain(&change.say_if_new);
    let patients: Vec<_> = bodies
        .filter_map(|body| match body {
            Body::Patient(say) => Some(say),
            _ => None,
        })
        .collect();
    let names = patients.iter().flat_map(|say| say.names.values()).collect();
    (names, patients.iter().find_map(|say| say.birth_date.value()))
}

/// Whether it is somebody else: no word of the names is the same, and the birth date does not say that it is the same person.
/// `is_own`: the channel of the message was the last to write the record: it may say who somebody unknown was.
fn is_stranger(names: &[&PersonName], birth_date: Option<&When>, known: &Patient, is_own: bool) -> bool {
    is_called_otherwise(names, &known.names)
        && match (birth_date, &known.birth_date) {
            (Some(said), Some(known)) => !may_be_same(said, known),
            (None, Some(_)) => true,
            (_, None) => !is_own,
        }
}

/// Whether no word of the one's names is among the other's. Nothing said is no difference; nor are the order of the words,
/// case and diacritics.
fn is_called_otherwise(said: &[&PersonName], known: &[PersonName]) -> bool {
    let (said, known) = (words(said.iter().copied()), words(known.iter()));
    !said.is_empty() && !known.is_empty() && said.is_disjoint(&known)
}

fn words<'a>(names: impl Iterator<Item = &'a PersonName>) -> HashSet<String> {
    let parts = names.flat_map(|name| {
        [&name.family, &name.own_name, &name.partner_name]
            .into_iter()
            .flatten()
            .chain(&name.given)
    });
    let folded = parts.map(|part| fold(part));
    folded
        .flat_map(|part| {
            part.split(|char: char| !char.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Two dates of which one may be known less exactly.
pub(super) fn may_be_same(one: &When, other: &When) -> bool {
    let span = |when: &When| Some((when.earliest(&TimeZone::UTC)?, when.latest(&TimeZone::UTC)?));
    match (span(one), span(other)) {
        (Some(one), Some(other)) => one.0 <= other.1 && other.0 <= one.1,
        _ => true,
    }
}
