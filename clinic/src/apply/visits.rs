//! Two visits become one (`find.joins`), and visits that became another patient's.
//!
//! Of two, the one that goes stays readable, as entered in error. Its numbers lead to the one that stays, as old ones: where a number
//! has both, the one in use is meant.

use uuid::Uuid;

use super::identify::named;
use super::resolve::Work;
use super::settle::note_who;
use super::{ApplyError, FindKey};
use crate::change_set::Change;
use crate::held::Writer;
use crate::keys::{same_in_series, system};
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::Items;
use crate::records::{Encounter, EncounterStatus, Stay, StayStatus};
use crate::value::{Identifier, IdentifierUse, Ref};

impl Work<'_> {
    /// A visit becomes another patient's (HL7 A42, A45): whose it was is remembered beside it, under its numbers.
    pub(super) fn note_moved(
        &mut self,
        idx: usize,
        place: usize,
        patient: Option<Uuid>,
    ) -> Result<(), ApplyError> {
        let change = &self.set.changes[idx];
        let (true, Some(before)) = (change.find.moves, self.touched[place].before.clone()) else {
            return Ok(());
        };
        let Some(was) = before.aggregate.patient().and_then(Ref::id) else {
            return Ok(());
        };
        let was = self.reader.survivor(was)?;
        if before.aggregate.kind() == Kind::Encounter && Some(was) != patient {
            let keys = before
                .aggregate
                .identifiers()
                .iter()
                .map(|number| moved_key(number, was));
            self.touched[place].natural_keys.extend(keys);
        }
        Ok(())
    }

    /// Whether this speaks of a visit that became another patient's as if it were still the first one's: a message that comes
    /// late. One that begins a visit begins another one.
    pub(super) fn was_moved_away(&mut self, idx: usize, patient: Option<Uuid>) -> Result<bool, ApplyError> {
        let change = &self.set.changes[idx];
        let (Body::Encounter(say), Some(patient)) = (&change.say, patient) else {
            return Ok(false);
        };
        if say.status.value().is_some_and(|status| status.goes_on()) {
            return Ok(false);
        }
        for number in named(change) {
            for whose in self.reader.selves(patient)? {
                if !self.reader.find(&moved_key(number, whose))?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Of a visit that was this patient's under this number.
fn moved_key(number: &Identifier, patient: Uuid) -> FindKey {
    let key = format!("moved|{}|{}", system(number).unwrap_or_default(), number.value);
    FindKey::natural(Kind::Encounter, Some(patient), &key)
}

/// Joins those that the set says are one.
pub(super) fn join(work: &mut Work<'_>, writer: Writer<'_>) {
    for (stays, goes) in std::mem::take(&mut work.joined) {
        let Aggregate::Encounter(visit) = &mut work.touched[goes].after else {
            continue;
        };
        visit.status = Some(EncounterStatus::EnteredInError);
        let numbers = visit.identifiers.clone();
        if let Aggregate::Encounter(visit) = &mut work.touched[stays].after {
            for number in numbers {
                let is_known = |id: &Identifier| same_in_series(id, &number);
                if !visit.identifiers.iter().any(is_known) {
                    visit.identifiers.push(Identifier {
                        usage: Some(IdentifierUse::Old),
                        ..number
                    });
                }
            }
        }
        for place in [stays, goes] {
            let after = work.touched[place].after.clone();
            note_who(&mut work.touched[place], &after, writer);
        }
    }
}

/// The places of a visit after a message: where the patient was and is not any more is kept, once (R4 Encounter.location:
/// where they have been); what was reserved is so for one place, until they are there or the visit is over.
pub(super) fn keep_places(work: &Work<'_>, place: usize, changes: &[usize], after: &mut Aggregate) {
    let Aggregate::Encounter(after) = after else {
        return;
    };
    let before = work.touched[place]
        .before
        .as_ref()
        .map(|record| &record.aggregate);
    // Where somebody was to lie, or had been admitted by mistake, they have not been.
    let nowhere = [EncounterStatus::Planned, EncounterStatus::Cancelled];
    let known = match before {
        Some(Aggregate::Encounter(before)) if before.status.is_none_or(|was| !nowhere.contains(&was)) => {
            &before.stays[..]
        }
        _ => &[],
    };
    let said = changes.iter().filter(|idx| !work.mute[**idx]);
    let said: Vec<&Change> = said.map(|idx| &work.set.changes[*idx]).collect();
    let mut stays: Vec<(&Stay, Option<Uuid>)> = vec![];
    for change in &said {
        let Body::Encounter(say) = &change.say else {
            continue;
        };
        if !matches!(say.stays, Items::Merge(_) | Items::Absent) {
            return;
        }
        stays.extend(say.stays.values().iter().map(|stay| {
            let id = match &stay.place {
                Ref::Id(_, id) => Some(*id),
                Ref::Local(key) => work.keys.get(key.as_str()).and_then(|idx| work.target_id(*idx)),
            };
            (stay, id)
        }));
    }
    let is = |stay: &Stay, status: StayStatus, temporary: bool| {
        stay.status == Some(status) && stay.temporary == temporary
    };
    // As far as it was taken: what is no registration moves nobody.
    let said_as = |status: StayStatus, temporary: bool, after: &Encounter| -> Vec<Option<Uuid>> {
        let taken = |id: &Option<Uuid>| {
            let mut all = after.stays.iter().filter(|stay| is(stay, status, temporary));
            all.any(|stay| stay.place.id() == *id)
        };
        let all = stays.iter().filter(|(stay, _)| is(stay, status, temporary));
        all.map(|(_, id)| *id).filter(taken).collect()
    };
    // They are in one bed, and for a time in one other place.
    for temporary in [false, true] {
        let here = said_as(StayStatus::Active, temporary, after);
        if here.is_empty() {
            continue;
        }
        let is_active = |stay: &Stay| is(stay, StayStatus::Active, temporary);
        after.stays.retain(|stay| {
            stay.temporary != temporary || is_active(stay) || !here.contains(&stay.place.id())
        });
        for was in known.iter().filter(|stay| is_active(stay)) {
            if !after
                .stays
                .iter()
                .any(|stay| stay.place == was.place && stay.temporary == temporary)
            {
                after.stays.push(Stay {
                    status: Some(StayStatus::Completed),
                    ..was.clone()
                });
            }
        }
    }
    // Where they came back from, they are not any more.
    let left = said_as(StayStatus::Completed, true, after);
    after
        .stays
        .retain(|stay| !(is(stay, StayStatus::Active, true) && left.contains(&stay.place.id())));
    let is_over = match after.status {
        Some(EncounterStatus::Unknown) | None => false,
        Some(status) => !status.goes_on(),
    };
    let is_released = is_over || said.iter().any(|change| change.releases);
    let reserved = said_as(StayStatus::Reserved, false, after);
    after.stays.retain(|stay| {
        let is_another = !reserved.is_empty() && !reserved.contains(&stay.place.id());
        stay.status != Some(StayStatus::Reserved) || !(is_released || is_another)
    });
}
