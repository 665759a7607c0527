//! What is found by identifiers: on charts and in general.

use std::sync::Arc;

use uuid::Uuid;

use super::resolve::{Work, patient_said};
use super::{ApplyError, Candidate, FindKey, Record};
use crate::change_set::Change;
use crate::cnp::is_national;
use crate::diagnostics::OrderStatus;
use crate::imaging::{ACCESSION, UID_SYSTEM, given};
use crate::keys::{Care, care, kind_code, names_one, same_in_series, same_series, system};
use crate::kinds::{Aggregate, Body, Kind};
use crate::records::EncounterStatus;
use crate::value::{Coding, Concept, Identifier, Ref};

impl<'a> Work<'a> {
    // ---- by identifiers ----

    /// The keys to look for, each with the identifier that it comes from.
    pub(super) fn lookups(
        &mut self,
        idx: usize,
        patient: Option<Uuid>,
    ) -> Result<Vec<Lookup<'a>>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let kind = change.kind();
        let from = self.local_or_id(change.find.from.as_ref())?;
        let others = self.named_by_survivors(idx);
        // The study UID of a report names an examination, not an order.
        let is_of_study = |id: &Identifier| change.find.by_report && id.system.as_deref() == Some(UID_SYSTEM);
        let mut all: Vec<&'a Identifier> = named(change)
            .filter(|id| names_one(kind, id) && !is_of_study(id))
            .collect();
        // A merge may name the old record by all its numbers, also by those that the survivor has too: only the
        // others tell the two apart.
        if all.iter().any(|id| !others.iter().any(|other| same(id, other))) {
            all.retain(|id| !others.iter().any(|other| same(id, other)));
        }
        let mut out: Vec<Lookup<'a>> = Vec::with_capacity(all.len());
        for identifier in all {
            if change.find.bare && system(identifier).is_none() {
                let key = FindKey::value(kind, &identifier.value);
                out.push(Lookup { key, identifier });
                continue;
            }
            let mut owners = vec![];
            if system(identifier).is_none() {
                for patient in [patient, from].into_iter().flatten() {
                    owners.extend(self.reader.selves(patient)?);
                }
            }
            let owners: Vec<Option<Uuid>> = if owners.is_empty() {
                vec![None]
            } else {
                owners.into_iter().map(Some).collect()
            };
            for owner in owners {
                if let Some(key) = FindKey::identifier(kind, identifier, owner)
                    && !out.iter().any(|lookup| lookup.key == key)
                {
                    out.push(Lookup { key, identifier });
                }
            }
        }
        Ok(out)
    }

    pub(super) fn named_by_survivors(&self, idx: usize) -> Vec<&'a Identifier> {
        let set = self.set;
        let survivors = self.parts.get(&idx).map_or(&[][..], |part| &part.old_of);
        survivors
            .iter()
            .flat_map(|survivor| named(&set.changes[*survivor]))
            .collect()
    }

    /// Who is found, in the store and in this set, each once, with the kinds of the identifiers that led there.
    pub(super) fn matches(&mut self, lookups: &[Lookup<'_>]) -> Result<Vec<Found>, ApplyError> {
        let mut found: Vec<Found> = vec![];
        for lookup in lookups {
            let stored = self.reader.find(&lookup.key)?.to_vec();
            let pending = self.pending.get(&lookup.key).map_or(&[][..], Vec::as_slice);
            let pending: Vec<Uuid> = pending.iter().map(|place| self.touched[*place].id).collect();
            let own = self.own_id(lookup)?;
            for id in stored.into_iter().chain(pending).chain(own) {
                let why = kind_code(lookup.identifier);
                let one = Found::new(id, why, lookup.identifier);
                match found.iter_mut().find(|f| f.id == id) {
                    Some(known) => known.join(one),
                    None => found.push(one),
                }
            }
        }
        Ok(found)
    }

    /// The patient whose id stands where a number should: who has no number of the clinic is known by it to devices.
    fn own_id(&mut self, lookup: &Lookup<'_>) -> Result<Option<Uuid>, ApplyError> {
        let is_bare = lookup.key.text.starts_with("v|") && lookup.key.kind == Kind::Patient;
        let value = &lookup.identifier.value;
        let id = Uuid::try_parse(value)
            .ok()
            .filter(|_| is_bare && value.len() == 32);
        let Some(id) = id else { return Ok(None) };
        Ok(self.reader.load(Kind::Patient, id)?.map(|record| record.meta.id))
    }

    pub(super) fn on_chart_by_identifiers(
        &mut self,
        idx: usize,
        lookups: &[Lookup<'_>],
        patient: Option<Uuid>,
    ) -> Result<Vec<Uuid>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let kind = change.kind();
        let chart = care(kind) == Care::Chart;
        let from = self
            .local_or_id(change.find.from.as_ref())?
            .filter(|from| Some(*from) != patient);
        let (mut mine, mut others, mut moving, mut beside) = (vec![], vec![], vec![], vec![]);
        for found in self.matches(lookups)? {
            if chart && self.has_another_number(kind, found.id, change)? {
                beside.push(found);
                continue;
            }
            let theirs = self.patient_of(kind, found.id)?;
            if from.is_some() && theirs == from {
                moving.push(found);
            } else if change.find.moves || patient.is_none() || theirs.is_none() || theirs == patient {
                mine.push(found);
            } else {
                others.push(found);
            }
        }
        if kind == Kind::Order && change.find.bare && !mine.is_empty() {
            others = self.with_a_number_of_their_own(change, &mine, others)?;
        }
        // A number of a visit is that of one patient: PID says whose visit it is, and the same number of somebody else
        // is another visit. An order's or a result's number with another patient is too dangerous to guess.
        if chart && kind != Kind::Encounter && !others.is_empty() {
            return Err(ApplyError::Parked {
                why: format!(
                    "The {} with a number of the message belongs to another patient than the message says. \
                     Decide whose it is.",
                    kind.as_str()
                ),
                about: Some(change.key.clone()),
                candidates: others.iter().map(|found| found.candidate(kind)).collect(),
            });
        }
        if !moving.is_empty() {
            mine = moving;
        }
        if 1 < mine.len() {
            mine = self.in_use(kind, mine)?;
        }
        // What is said of several new tests, one by one, makes each of them.
        let is_new =
            change.find.by_code && mine.iter().filter(|one| self.is_stored(kind, one.id)).count() < 2;
        if kind == Kind::Order && change.find.by_report && !is_new {
            beside.retain(|found| !mine.iter().any(|one| one.id == found.id));
            mine = self.by_what_is_reported(idx, mine, beside, patient)?;
        } else if kind == Kind::Order {
            mine = match is_performed(change) {
                true => self.by_what_is_performed(idx, mine)?,
                false => self.by_what_is_ordered(idx, mine)?,
            };
        }
        match mine.as_slice() {
            all if change.find.each || change.find.joins => Ok(all.iter().map(|found| found.id).collect()),
            several @ [_, _, ..] if chart => Err(self.ambiguous(idx, several)),
            all => Ok(all.first().map(|found| found.id).into_iter().collect()),
        }
    }

    /// Of the orders of other patients those that have a number of the change which no order of its own patient has. Two sites may
    /// give out the same number: a device names it without its issuer, and the patient says which of the two is meant.
    fn with_a_number_of_their_own(
        &mut self,
        change: &Change,
        mine: &[Found],
        others: Vec<Found>,
    ) -> Result<Vec<Found>, ApplyError> {
        let mut theirs: Vec<Identifier> = vec![];
        for one in mine {
            theirs.extend(self.ordered(one.id)?.1);
        }
        let mut out = vec![];
        for other in others {
            let (_, numbers) = self.ordered(other.id)?;
            let has =
                |all: &[Identifier], number: &Identifier| all.iter().any(|one| one.value == number.value);
            if named(change).any(|number| has(&numbers, number) && !has(&theirs, number)) {
                out.push(other);
            }
        }
        Ok(out)
    }

    /// Of the orders that were found those of what the change says is ordered: a requisition has many tests under one number.
    /// A new one that is of none of them is a further one; what is said of one that is there has to be of one of them, and
    /// where no test is named it is of all.
    fn by_what_is_ordered(&mut self, idx: usize, found: Vec<Found>) -> Result<Vec<Found>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let is_requisition = 1 < found.len() && self.one_number_names(&found)?;
        if !change.find.by_code && !is_requisition {
            return Ok(found);
        }
        let Some(code) = order_code(change) else {
            let (how, nearest, _) = self.by_examination(change, found.clone())?;
            return match found.as_slice() {
                _ if how == Examination::Same => Ok(nearest),
                several @ [_, _, ..]
                    if change.find.by_code && (how == Examination::Another || !is_requisition) =>
                {
                    Err(self.ambiguous(idx, several))
                }
                _ => Ok(found),
            };
        };
        // A new one of another code is another test, also where the words are the same.
        let least = match change.find.by_code {
            true => Fit::WordsOfNoCode,
            false => Fit::CodeAlone,
        };
        let ByTest {
            of_it,
            of_nothing,
            others,
        } = self.by_test(change, &found, code, least)?;
        let booked = match of_it.is_empty() && of_nothing.is_empty() && change.find.by_code {
            true => self.only_booked(idx, &others, least)?,
            false => None,
        };
        if let Some(booked) = booked {
            let others = others.iter().map(|one| one.id);
            self.note_shared(idx, others.filter(|id| *id != booked.id));
            return Ok(vec![booked]);
        }
        let is_further = change.find.by_code && !(is_revoked(change) && self.any_is_stored(&others));
        let meant = match (of_it.is_empty(), of_nothing.is_empty()) {
            (false, _) => of_it,
            (true, false) => of_nothing,
            (true, true) if is_further => {
                let ids = others.iter().map(|one| one.id);
                self.siblings.insert(idx, ids.collect());
                vec![]
            }
            (true, true) if found.is_empty() => vec![],
            (true, true) => return Err(self.ambiguous(idx, &found)),
        };
        self.note_shared(idx, others.into_iter().map(|one| one.id));
        Ok(meant)
    }

    /// Of orders with the number of a new one, and of another code, the one that an appointment has made and nobody has placed so far:
    /// whoever schedules has codes of their own. None where another change of the set is of its code.
    fn only_booked(&mut self, idx: usize, found: &[Found], least: Fit) -> Result<Option<Found>, ApplyError> {
        let set = self.set;
        let mut booked = vec![];
        for one in found {
            let is_placed_here = |idx: &usize| !set.changes[*idx].find.by_report;
            if self.makers(Kind::Order, one.id).iter().any(is_placed_here) {
                continue;
            }
            let Some(Aggregate::Order(order)) =
                self.before(Kind::Order, one.id)?.map(|record| &record.aggregate)
            else {
                continue;
            };
            let is_its = |(other, change): (usize, &Change)| {
                let codes = order.code.as_ref().zip(order_code(change));
                let fits = codes.is_some_and(|(known, said)| least <= fit(known, said));
                other != idx && change.find.by_code && fits
            };
            if order.is_only_booked() && !set.changes.iter().enumerate().any(is_its) {
                booked.push(one.clone());
            }
        }
        Ok(booked.pop().filter(|_| booked.is_empty()))
    }

    /// The order that a report is of: of several with its number the one of its test, by code or words; else the one that has
    /// its number of the filler, where all others have another. Laboratories have codes of their own: where nothing tells which, it is a report of the whole
    /// requisition, found again by the first of it, and nothing is said of any order.
    fn by_what_is_reported(
        &mut self,
        idx: usize,
        found: Vec<Found>,
        beside: Vec<Found>,
        patient: Option<Uuid>,
    ) -> Result<Vec<Found>, ApplyError> {
        let mut all = found.clone();
        for one in beside {
            if patient.is_none() || self.patient_of(Kind::Order, one.id)? == patient {
                all.push(one);
            }
        }
        if found.is_empty() || all.len() == 1 || !self.one_number_names(&all)? {
            return Ok(found);
        }
        self.one_of_all(idx, found, all)
    }

    /// The order that a report is of which names its examination by study UID or accession number: of several orders that were
    /// done together the one of its test. Those of other patients, and those that have another number where the report has one, are others.
    pub(super) fn of_examination(
        &mut self,
        idx: usize,
        patient: Option<Uuid>,
    ) -> Result<Option<Uuid>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let Some(patient) = patient else { return Ok(None) };
        let mut found: Vec<Found> = vec![];
        for (id, by) in super::imaging::examined(self, &change.find.identifiers, patient)? {
            if !self.has_another_number(Kind::Order, id, change)? {
                found.push(Found::new(id, kind_code(by), by));
            }
        }
        let found = match found.len() {
            0 | 1 => found,
            _ => self.one_of_all(idx, found.clone(), found)?,
        };
        Ok(found.first().map(|one| one.id))
    }

    /// What a modality did unplanned, of which this is the order that is made for it afterwards: it has its study UID, and nobody
    /// else has ordered it (IHE RAD TF-1, 4.2: unscheduled case).
    pub(super) fn done_unplanned(
        &mut self,
        idx: usize,
        patient: Option<Uuid>,
    ) -> Result<Option<Uuid>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let (Body::Order(say), Some(_)) = (&change.say, patient) else {
            return Ok(None);
        };
        let said = say
            .imaging
            .value()
            .and_then(|imaging| imaging.study_uid.as_deref());
        let Some(uid) = said else { return Ok(None) };
        let key = FindKey::system_value(Kind::Order, UID_SYSTEM, uid);
        for id in self.reader.find(&key)?.to_vec() {
            let is_unplanned = match self.before(Kind::Order, id)?.map(|record| &record.aggregate) {
                Some(Aggregate::Order(order)) => order.imaging.is_none() && !order.performed.is_empty(),
                _ => false,
            };
            if is_unplanned
                && self.makers(Kind::Order, id).is_empty()
                && self.patient_of(Kind::Order, id)? == patient
                && !self.has_another_number(Kind::Order, id, change)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Of several orders that a report may be of (`found`) the one of its test, or that of its number of the filler; where nothing
    /// tells which, it is of `all` of them.
    fn one_of_all(
        &mut self,
        idx: usize,
        found: Vec<Found>,
        mut all: Vec<Found>,
    ) -> Result<Vec<Found>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        let ids: Vec<Uuid> = all.iter().map(|one| one.id).collect();
        self.note_shared(idx, ids.iter().copied());
        if let Some(code) = order_code(change) {
            let ByTest {
                of_it, of_nothing, ..
            } = self.by_test(change, &found, code, Fit::Words)?;
            let meant = if of_it.is_empty() { of_nothing } else { of_it };
            if meant.len() == 1 {
                return Ok(meant);
            }
        }
        let (how, nearest, _) = self.by_examination(change, found.clone())?;
        if let ([_], Examination::Same) = (nearest.as_slice(), how) {
            return Ok(nearest);
        }
        if let [one] = found.as_slice() {
            let (_, theirs) = self.ordered(one.id)?;
            let mut numbers = named(change).filter(|number| is_fillers(number));
            if numbers.any(|number| theirs.iter().any(|their| same(their, number))) {
                return Ok(found);
            }
        }
        self.mute[idx] = true;
        self.of_requisition.insert(idx, ids);
        all.sort_by_key(|one| one.id);
        all.truncate(1);
        Ok(all)
    }

    /// Of the orders that were found those that a modality works on: who has most of the study, the accession number and the
    /// steps that it names. Where several have one of its numbers, as orders of one accession number do, it is for those of the
    /// procedure that it names, else for all of them (IHE RAD-6, group case).
    fn by_what_is_performed(&mut self, idx: usize, found: Vec<Found>) -> Result<Vec<Found>, ApplyError> {
        let set = self.set;
        let change = &set.changes[idx];
        if found.len() < 2 {
            return Ok(found);
        }
        let performed = match &change.say {
            Body::Order(say) => say.performed.values(),
            _ => &[],
        };
        let steps: Vec<&String> = performed.iter().flat_map(|one| &one.steps).collect();
        let mut all: Vec<(usize, Vec<bool>, Found)> = Vec::with_capacity(found.len());
        for one in found {
            let (_, numbers) = self.ordered(one.id)?;
            let has = |number: &Identifier| numbers.iter().any(|their| their.value == number.value);
            let has: Vec<bool> = named(change).map(has).collect();
            let has_step = match self.before(Kind::Order, one.id)?.map(|record| &record.aggregate) {
                Some(Aggregate::Order(order)) => {
                    let planned = order.imaging.iter().flat_map(|imaging| &imaging.steps);
                    let mut ids = planned.filter_map(|step| step.id.as_ref());
                    ids.any(|id| steps.contains(&id))
                }
                _ => false,
            };
            let count = has.iter().filter(|has| **has).count() + usize::from(has_step);
            all.push((count, has, one));
        }
        let most = all.iter().map(|(count, ..)| *count).max();
        all.retain(|(count, ..)| Some(*count) == most);
        let is_one_number = (0..named(change).count()).any(|n| all.iter().all(|(_, has, _)| has[n]));
        let nearest: Vec<Found> = all.into_iter().map(|(.., one)| one).collect();
        if !is_one_number {
            return Err(self.ambiguous(idx, &nearest));
        }
        let Some(code) = order_code(change).filter(|_| 1 < nearest.len()) else {
            return Ok(nearest);
        };
        let ByTest { of_it, .. } = self.by_test(change, &nearest, code, Fit::Words)?;
        Ok(if of_it.is_empty() { nearest } else { of_it })
    }

    /// Those that are of this test, those of which nobody said what they are of, and the others. How well they fit decides:
    /// who fits less is another one where someone fits better. The same test again, as an examination with numbers of its
    /// own (left and right), is another one too.
    fn by_test(
        &mut self,
        change: &Change,
        found: &[Found],
        code: &Concept,
        least: Fit,
    ) -> Result<ByTest, ApplyError> {
        let (mut of_nothing, mut coded) = (vec![], vec![]);
        for one in found {
            let (codes, _) = self.ordered(one.id)?;
            match codes.iter().map(|known| fit(known, code)).max() {
                None => of_nothing.push(one.clone()),
                Some(fit) => coded.push((fit, one.clone())),
            }
        }
        let best = coded
            .iter()
            .map(|(fit, _)| *fit)
            .filter(|fit| least <= *fit)
            .max();
        let (of_it, others): (Vec<_>, Vec<_>) = coded.into_iter().partition(|(fit, _)| Some(*fit) == best);
        let without_fit = |all: Vec<(Fit, Found)>| all.into_iter().map(|(_, one)| one).collect();
        let mut others: Vec<Found> = without_fit(others);
        let (how, mut of_it, rest) = self.by_examination(change, without_fit(of_it))?;
        others.extend(rest);
        if how == Examination::Another && change.find.by_code {
            others.append(&mut of_it);
        }
        Ok(ByTest {
            of_it,
            of_nothing,
            others,
        })
    }

    /// Those that are nearest to the examination that the change names, how near they are, and the others.
    fn by_examination(
        &mut self,
        change: &Change,
        found: Vec<Found>,
    ) -> Result<(Examination, Vec<Found>, Vec<Found>), ApplyError> {
        let set = self.set;
        let said = examination_said(change);
        let mut all: Vec<(Examination, Found)> = Vec::with_capacity(found.len());
        for one in found {
            let makers = self.makers(Kind::Order, one.id).iter();
            let mut known: Vec<_> = makers.map(|idx| examination_said(&set.changes[*idx])).collect();
            if let Some(before) = self.before(Kind::Order, one.id)?
                && let Aggregate::Order(order) = &before.aggregate
                && let Some(imaging) = &order.imaging
            {
                known.push(given(imaging, Some(one.id)));
            }
            all.push((Examination::of(&said, &known), one));
        }
        let how = all.iter().map(|(how, _)| *how).max();
        let how = how.unwrap_or(Examination::Unsaid);
        let (nearest, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(other, _)| *other == how);
        let without_how = |all: Vec<(Examination, Found)>| all.into_iter().map(|(_, one)| one).collect();
        Ok((how, without_how(nearest), without_how(rest)))
    }

    fn any_is_stored(&self, found: &[Found]) -> bool {
        found.iter().any(|one| self.is_stored(Kind::Order, one.id))
    }

    /// These have a number that the order of this change has too.
    fn note_shared(&mut self, idx: usize, others: impl Iterator<Item = Uuid>) {
        let others: Vec<Uuid> = others.collect();
        if !others.is_empty() {
            self.share_number.0.extend(others);
            self.share_number.1.insert(idx);
        }
    }

    /// Whether one and the same number is that of all of these orders.
    fn one_number_names(&mut self, found: &[Found]) -> Result<bool, ApplyError> {
        let Some((first, rest)) = found.split_first() else {
            return Ok(false);
        };
        let (_, mut numbers) = self.ordered(first.id)?;
        for one in rest {
            let (_, theirs) = self.ordered(one.id)?;
            numbers.retain(|number| theirs.iter().any(|other| same(number, other)));
        }
        Ok(numbers.iter().any(|number| names_one(Kind::Order, number)))
    }

    /// What an order is of and its numbers, as it stands and as this set says.
    fn ordered(&mut self, id: Uuid) -> Result<(Vec<Concept>, Vec<Identifier>), ApplyError> {
        let set = self.set;
        // A report says nothing of what was ordered.
        let is_known = self.is_stored(Kind::Order, id);
        let changes: Vec<usize> = self
            .makers(Kind::Order, id)
            .iter()
            .copied()
            .filter(|idx| !(is_known && set.changes[*idx].find.by_report))
            .collect();
        let mut codes: Vec<Concept> = changes
            .iter()
            .filter_map(|idx| order_code(&set.changes[*idx]))
            .cloned()
            .collect();
        let mut numbers: Vec<Identifier> = changes
            .iter()
            .flat_map(|idx| named(&set.changes[*idx]))
            .cloned()
            .collect();
        let before = self.before(Kind::Order, id)?;
        if let Some(Aggregate::Order(order)) = before.map(|record| &record.aggregate) {
            codes.extend(order.code.clone());
            numbers.extend(order.identifiers.iter().cloned());
        }
        Ok((codes, numbers))
    }

    /// Without the visits that were entered in error, where others have the number too: after two became one, it is the
    /// other's.
    fn in_use(&mut self, kind: Kind, found: Vec<Found>) -> Result<Vec<Found>, ApplyError> {
        let mut used: Vec<Found> = vec![];
        for one in &found {
            let is_error = self
                .before(kind, one.id)?
                .is_some_and(|record| match &record.aggregate {
                    Aggregate::Encounter(visit) => visit.status == Some(EncounterStatus::EnteredInError),
                    _ => false,
                });
            if !is_error {
                used.push(one.clone());
            }
        }
        Ok(match used.is_empty() {
            true => found,
            false => used,
        })
    }

    /// What was found, as it was before this set; none of what is new in it.
    fn before(&mut self, kind: Kind, id: Uuid) -> Result<Option<&Arc<Record>>, ApplyError> {
        Ok(match self.index.get(&(kind, id)) {
            Some(place) => self.touched[*place].before.as_ref(),
            None => self.reader.load(kind, id)?,
        })
    }

    /// Whether what was found was there before this set.
    fn is_stored(&self, kind: Kind, id: Uuid) -> bool {
        let place = self.index.get(&(kind, id));
        place.is_none_or(|place| self.touched[*place].before.is_some())
    }

    /// The changes that turned out to be about it.
    fn makers(&self, kind: Kind, id: Uuid) -> &[usize] {
        let place = self.index.get(&(kind, id));
        place.map_or(&[], |place| &self.touched[*place].changes)
    }

    /// Two tests of one order share the placer's number, and each has its own of the filler: who has another number
    /// of the same series is something else.
    pub(super) fn has_another_number(
        &mut self,
        kind: Kind,
        id: Uuid,
        change: &Change,
    ) -> Result<bool, ApplyError> {
        let set = self.set;
        let differ = |theirs: &[Identifier]| {
            let of_series =
                || named(change).filter(|said| !kind_code(said).is_empty() && names_one(kind, said));
            // A message may name an old number of a series and a new one: either will do.
            of_series().any(|said| {
                let mut series = theirs.iter().filter(|t| same_series(t, said)).peekable();
                let is_said = |t: &Identifier| of_series().any(|s| same_in_series(s, t));
                series.peek().is_some() && !series.any(is_said)
            })
        };
        if let Some(record) = self.before(kind, id)? {
            return Ok(differ(record.aggregate.identifiers()));
        }
        let makers = self.makers(kind, id).iter();
        let said: Vec<Identifier> = makers
            .flat_map(|idx| named(&set.changes[*idx]))
            .cloned()
            .collect();
        Ok(differ(&said))
    }

    /// Whose it is, by the survivor of merges.
    pub(super) fn patient_of(&mut self, kind: Kind, id: Uuid) -> Result<Option<Uuid>, ApplyError> {
        if let Some(record) = self.before(kind, id)? {
            let Some(patient) = record.aggregate.patient().and_then(Ref::id) else {
                return Ok(None);
            };
            return Ok(Some(self.reader.survivor(patient)?));
        }
        let set = self.set;
        match self.makers(kind, id).first().copied() {
            Some(idx) => self.local_or_id(patient_said(&set.changes[idx])),
            None => Ok(None),
        }
    }

    pub(super) fn ambiguous(&self, idx: usize, several: &[Found]) -> ApplyError {
        let change = &self.set.changes[idx];
        let kind = change.kind();
        let stored = several.iter().filter(|found| self.is_stored(kind, found.id));
        ApplyError::Parked {
            why: format!(
                "{} of kind {} match this message. Choose which is meant.",
                several.len(),
                kind.as_str()
            ),
            about: Some(change.key.clone()),
            candidates: stored.map(|found| found.candidate(kind)).collect(),
        }
    }
}

/// What a change says is ordered.
fn order_code(change: &Change) -> Option<&Concept> {
    let mut bodies = std::iter::once(&change.say).chain(&change.say_if_new);
    bodies
        .find_map(|body| match body {
            Body::Order(say) => say.code.value(),
            _ => None,
        })
        .filter(|code| !code.is_empty())
}

/// True where a modality says that it begins. What is said later names the performed step alone.
fn is_performed(change: &Change) -> bool {
    match &change.say {
        Body::Order(say) => change.find.bare && !say.performed.values().is_empty(),
        _ => false,
    }
}

/// Of one series, as a laboratory counts its tests.
fn is_fillers(number: &Identifier) -> bool {
    kind_code(number) == "FILL"
}

/// True where the change says that it is not to be done.
fn is_revoked(change: &Change) -> bool {
    match &change.say {
        Body::Order(say) => matches!(
            say.status.value(),
            Some(OrderStatus::Revoked | OrderStatus::EnteredInError)
        ),
        _ => false,
    }
}

/// The numbers of the examination that a change speaks of, as [`given`] has them; a report says the first among those of its
/// order.
fn examination_said(change: &Change) -> [Option<String>; 3] {
    let bodies = std::iter::once(&change.say).chain(&change.say_if_new);
    let mut imaging = bodies.filter_map(|body| match body {
        Body::Order(say) => say.imaging.value(),
        _ => None,
    });
    let [accession, procedure, study] = imaging
        .next()
        .map_or([None, None, None], |imaging| given(imaging, None));
    let among = || {
        let mut all = change.say.identifiers().iter().chain(&change.find.identifiers);
        let number = all.find(|number| kind_code(number) == ACCESSION);
        number.map(|number| number.value.clone())
    };
    [accession.or_else(among), procedure, study]
}

/// Whether an order is of the examination that a change speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Examination {
    Another,
    /// One of the two names none.
    Unsaid,
    Same,
}

impl Examination {
    /// By accession number and requested procedure; by the study only where neither tells: that of an order never changes.
    fn of(said: &[Option<String>; 3], known: &[[Option<String>; 3]]) -> Self {
        let by = |place: usize| {
            let said = said[place].as_ref()?;
            let mut theirs = known.iter().filter_map(|one| one[place].as_ref()).peekable();
            theirs.peek()?;
            Some(theirs.any(|their| their == said))
        };
        let decided = match (by(0), by(1)) {
            (Some(one), Some(other)) => Some(one && other),
            (one, other) => one.or(other).or_else(|| by(2)),
        };
        match decided {
            None => Examination::Unsaid,
            Some(true) => Examination::Same,
            Some(false) => Examination::Another,
        }
    }
}

/// Orders by whether they are of a test.
struct ByTest {
    of_it: Vec<Found>,
    /// Nobody said what they are of.
    of_nothing: Vec<Found>,
    others: Vec<Found>,
}

/// How well two say that the same is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Not,
    /// The same words, with two codes.
    Words,
    /// One code, of two systems: each calls its own list otherwise.
    CodeAlone,
    /// The same words, and one of the two has no code.
    WordsOfNoCode,
    /// One code, and one of the two names no system.
    CodeOfNoSystem,
    /// One code of one system.
    Code,
}

fn fit(one: &Concept, other: &Concept) -> Fit {
    let pairs = || {
        let others = |a| other.codings.iter().map(move |b| (a, b));
        one.codings.iter().flat_map(others)
    };
    let codes = pairs().filter(|(a, b): &(&Coding, &Coding)| a.code.is_some() && a.code == b.code);
    let by_code = codes.map(|(a, b)| match (&a.system, &b.system) {
        (a, b) if a == b => Fit::Code,
        (Some(_), Some(_)) => Fit::CodeAlone,
        (None, _) | (_, None) => Fit::CodeOfNoSystem,
    });
    let words = |of: &Concept| -> Vec<String> {
        let displays = of.codings.iter().filter_map(|coding| coding.display.as_deref());
        displays
            .chain(of.text.as_deref())
            .map(|text| text.trim().to_lowercase())
            .filter(|text| !text.is_empty())
            .collect()
    };
    let theirs = words(other);
    let by_words = words(one).iter().any(|words| theirs.contains(words));
    let by_words = by_words.then_some(match one.code().is_some() && other.code().is_some() {
        true => Fit::Words,
        false => Fit::WordsOfNoCode,
    });
    by_code.chain(by_words).max().unwrap_or(Fit::Not)
}

pub(super) struct Lookup<'a> {
    pub(super) key: FindKey,
    pub(super) identifier: &'a Identifier,
}

#[derive(Clone)]
pub(super) struct Found {
    pub(super) id: Uuid,
    pub(super) why: Vec<String>,
    /// By nothing but numbers that name no authority.
    pub(super) is_bare: bool,
    /// By a national number, among others.
    pub(super) is_national: bool,
}

impl Found {
    fn new(id: Uuid, why: &str, by: &Identifier) -> Self {
        let is_national = is_national(by);
        Found {
            id,
            why: vec![why.to_owned()],
            is_bare: system(by).is_none() && !is_national,
            is_national,
        }
    }

    /// The same one was found by another way.
    pub(super) fn join(&mut self, other: Found) {
        self.is_bare &= other.is_bare;
        self.is_national |= other.is_national;
        for why in other.why {
            if !self.why.contains(&why) {
                self.why.push(why);
            }
        }
    }

    pub(super) fn candidate(&self, kind: Kind) -> Candidate {
        let kinds: Vec<&str> = self
            .why
            .iter()
            .map(String::as_str)
            .filter(|kind| !kind.is_empty())
            .collect();
        let why = if kinds.is_empty() {
            "matches by an identifier".to_owned()
        } else {
            format!("matches by {}", kinds.join(", "))
        };
        Candidate {
            kind,
            id: self.id,
            why,
        }
    }
}

/// What a change is found by: `find.identifiers`, else those that it says, else those that it says of a new one. An
/// identifier without a value finds nobody: a format that puts one into `find.identifiers` wants none of those said.
pub(super) fn named(change: &Change) -> impl Iterator<Item = &Identifier> {
    let new = || {
        change
            .say_if_new
            .as_ref()
            .map_or(&[][..], |body| body.identifiers())
    };
    let ways = [
        change.find.identifiers.as_slice(),
        change.say.identifiers(),
        new(),
    ];
    let first = ways.into_iter().find(|way| !way.is_empty());
    first
        .unwrap_or_default()
        .iter()
        .filter(|identifier| !identifier.value.is_empty())
}

pub(super) fn same(one: &Identifier, other: &Identifier) -> bool {
    system(one) == system(other) && one.value == other.value
}

/// Two national numbers of one country: of one system, or (without) of one kind.
pub(super) fn same_number(one: &Identifier, other: &Identifier) -> bool {
    is_national(one)
        && is_national(other)
        && system(one) == system(other)
        && (system(one).is_some() || kind_code(one) == kind_code(other))
}
