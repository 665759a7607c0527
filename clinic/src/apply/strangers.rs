//! The right number with the wrong person. Two cases in which a number alone does not say who is meant:
//!
//! - **It names no authority.** Who numbers patients, or doctors, without saying whose numbers they are counts from 1 as all
//!   others do. HL7 v2.5.1 §2.A.14.4 implies the sender's authority. That can't be taken by its word: a laboratory answers
//!   with the number that the clinic has sent, and names no authority either. So the number is followed, and the person
//!   has to fit.
//! - **It brings a result, an order, a booking or a document**, or moves, ends or merges what is here: a tube or a form with another
//!   one's number is a mistake of every day. A registration may rename; a result may not.
//!
//! A national number is one person's, but where neither the name nor the birth date agrees: then it is a wrong one.

use std::borrow::Cow;

use uuid::Uuid;

use super::identify::{Found, Lookup, same};
use super::images::WHOSE;
use super::person::{By, Person, have_other_families, is_of_nobody, same_words};
use super::resolve::Work;
use super::{ApplyError, Context};
use crate::aggregate::Source;
use crate::held::{Kept, Writer};
use crate::keys::system;
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::{Items, Patch};
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
        // A person who writes may give any name, and what a device says is looked at elsewhere.
        let Source::Message { channel, .. } = &context.source else {
            return Ok(found);
        };
        if change.find.bare {
            return Ok(found);
        }
        let said = Person::said(change);
        let is_only_named = change.find.registers_nobody || self.brings_something();
        let mut fitting = vec![];
        for one in &found {
            let is_doubtful = one.is_bare || one.is_national || is_only_named;
            if !is_doubtful || self.may_be(one, &said, channel)? {
                fitting.push(one.clone());
            } else if self.was_decided(one, &said)? {
                // Taken as the one that a person looked at: nothing of that name.
                self.mute[idx] = true;
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
                    "The patient who is found by the number has another name or birth date than the message says. Decide \
                     whose this is.{hint}"
                ),
                about: Some(set.changes[idx].key.clone()),
                candidates: found.iter().map(|one| one.candidate(Kind::Patient)).collect(),
            });
        }
        Ok(fitting)
    }

    /// Whether a patient, or a record that was merged into theirs, may be the person of whom the message speaks. Who is not
    /// known by name yet may be named by the channel that was the last to write the record.
    fn may_be(&mut self, found: &Found, said: &Person<'_>, channel: &str) -> Result<bool, ApplyError> {
        for id in self.reader.selves(found.id)? {
            let stored = self.reader.stored(Kind::Patient, id)?;
            let may_be = stored.is_none_or(|record| {
                let is_own =
                    matches!(&record.meta.source, Source::Message { channel: by, .. } if by == channel);
                let by = match found {
                    Found {
                        is_national: true, ..
                    } => By::National,
                    _ if is_own => By::Own,
                    Found { is_bare: true, .. } => By::Bare,
                    Found { .. } => By::Number,
                };
                match &record.aggregate {
                    Aggregate::Patient(known) => said.may_be(&Person::known(known), by),
                    _ => true,
                }
            });
            if may_be {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a person has filed something under that name on this chart.
    fn was_decided(&mut self, found: &Found, said: &Person<'_>) -> Result<bool, ApplyError> {
        let stored = self.reader.stored(Kind::Patient, found.id)?;
        Ok(stored.is_some_and(|record| record.meta.held.has(WHOSE, &said.as_said())))
    }

    /// Whether the set brings a result, an order, a booking or a document.
    pub(super) fn brings_something(&self) -> bool {
        self.brings(&[
            Kind::Result,
            Kind::Order,
            Kind::Appointment,
            Kind::Document,
            Kind::MedicationOrder,
        ])
    }

    /// A person has chosen whose the message is. The chart takes from it no number that another patient has, which would lead to
    /// both from then on; and where it brings something under another person's name, nothing of that person at all: that name is
    /// known from then on as one under which this patient's results come.
    pub(super) fn part_from_others(
        &mut self,
        idx: usize,
        chosen: Uuid,
        lookups: &[Lookup<'_>],
    ) -> Result<(), ApplyError> {
        let numbers = self.numbers_of_others(Some(chosen), lookups)?;
        let said = Person::said(&self.set.changes[idx]);
        let record = self.reader.load(Kind::Patient, chosen)?;
        let is_stranger = match record.map(|record| &record.aggregate) {
            Some(Aggregate::Patient(known)) => !said.may_be(&Person::known(known), By::Number),
            _ => false,
        };
        if is_stranger && self.brings_something() {
            self.mute[idx] = true;
            let place = self.touch(Kind::Patient, chosen)?;
            self.touched[place]
                .held
                .hold(WHOSE, &said.as_said(), "a decision");
            self.tell(chosen, "names");
        }
        if !numbers.is_empty() {
            self.tell(chosen, "identifiers");
        }
        self.of_others.insert(idx, numbers);
        Ok(())
    }

    /// A person has said that it is somebody new: who takes no number that names an authority, or that a device gave, and that
    /// another patient has.
    pub(super) fn part_new_from_others(
        &mut self,
        idx: usize,
        lookups: &[Lookup<'_>],
    ) -> Result<(), ApplyError> {
        let is_bare = self.set.changes[idx].find.bare;
        let mut numbers = self.numbers_of_others(None, lookups)?;
        numbers.retain(|number| is_bare || system(number).is_some());
        self.of_others.insert(idx, numbers);
        Ok(())
    }

    /// The numbers that lead to another patient than this one.
    fn numbers_of_others(
        &mut self,
        own: Option<Uuid>,
        lookups: &[Lookup<'_>],
    ) -> Result<Vec<Identifier>, ApplyError> {
        let mut numbers: Vec<Identifier> = vec![];
        for lookup in lookups {
            for found in self.reader.find(&lookup.key)?.to_vec() {
                if Some(self.reader.survivor(found)?) != own {
                    numbers.push(lookup.identifier.clone());
                    break;
                }
            }
        }
        Ok(numbers)
    }

    fn tell(&mut self, patient: Uuid, field: &str) {
        self.kept.push(Kept::new(Kind::Patient, patient, field, CHOSEN));
    }

    /// Takes those numbers out again of what the changes have made of a patient.
    pub(super) fn without_numbers_of_others(&self, place: usize, changes: &[usize], after: &mut Aggregate) {
        let of_others = || changes.iter().filter_map(|idx| self.of_others.get(idx)).flatten();
        if of_others().next().is_none() {
            return;
        }
        let before = self.touched[place].before.as_ref();
        let known = before.map_or(&[][..], |record| record.aggregate.identifiers());
        // What a device gave is looked for by its value alone.
        let is_bare = changes.iter().any(|idx| self.set.changes[*idx].find.bare);
        let is_same = |other: &Identifier, number: &Identifier| {
            same(other, number) || (is_bare && other.value == number.value)
        };
        let stays = |number: &Identifier| {
            known.iter().any(|known| same(known, number)) || !of_others().any(|other| is_same(other, number))
        };
        after.identifiers_mut().retain(stays);
    }

    /// Of what a result says of a patient who is known, all but the name, the birth date and the sex that the record has: a laboratory
    /// does not register patients, and calls them as it did when they first came. Of what any message says, all but a name and a birth
    /// date that are none, where the record has some. With what was left out and differs.
    pub(super) fn without_identity<'b>(
        &self,
        place: usize,
        body: Cow<'b, Body>,
        writer: Writer<'_>,
    ) -> (Cow<'b, Body>, Vec<&'static str>) {
        let is_result = self.brings(&[Kind::Result]);
        let before = self.touched[place].before.as_ref();
        let (Body::Patient(say), Some(Aggregate::Patient(known)), Writer::Feed { overwrite: false }) =
            (&*body, before.map(|record| &record.aggregate), writer)
        else {
            return (body, vec![]);
        };
        let (mut rest, mut told) = ((**say).clone(), vec![]);
        let is_named = |names: &[PersonName]| Person::named(names).is_named();
        if !rest.names.values().is_empty() && !is_named(rest.names.values()) && is_named(&known.names) {
            rest.names = Items::Absent;
            told.push("names");
        }
        if rest.birth_date.value().is_some_and(is_of_nobody)
            && known
                .birth_date
                .as_ref()
                .is_some_and(|known| !is_of_nobody(known))
        {
            rest.birth_date = Patch::Absent;
            told.push("birth_date");
        }
        if !is_result {
            return match told.is_empty() {
                true => (body, told),
                false => (Cow::Owned(rest.into()), told),
            };
        }
        if !known.names.is_empty() {
            let is_known = |name: &PersonName| known.names.iter().any(|known| same_words(name, known));
            if !rest.names.values().iter().all(is_known) {
                told.push("names");
            }
            rest.names = Items::Absent;
        }
        if let (Some(birth_date), false) = (&known.birth_date, matches!(rest.birth_date, Patch::Absent)) {
            if rest.birth_date.value().map(When::date_text) != Some(birth_date.date_text()) {
                told.push("birth_date");
            }
            rest.birth_date = Patch::Absent;
        }
        if let (Some(sex), false) = (&known.sex, matches!(rest.sex, Patch::Absent)) {
            if rest.sex.value() != Some(sex) {
                told.push("sex");
            }
            rest.sex = Patch::Absent;
        }
        (Cow::Owned(rest.into()), told)
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
                    Aggregate::Practitioner(known) => have_other_families(&names, &known.names),
                    _ => false,
                });
            if !is_stranger {
                return Ok(Some(one.id));
            }
        }
        Ok(None)
    }
}
