//! Two visits become one (`find.joins`), visits that became another patient's, and states of visits that a message does not
//! move.
//!
//! Of two, the one that goes stays readable, as entered in error. Its numbers lead to the one that stays, as old ones: where a number
//! has both, the one in use is meant.

use uuid::Uuid;

use super::identify::named;
use super::resolve::{Touched, Work};
use super::settle::note_who;
use super::{ApplyError, FindKey};
use crate::change_set::Change;
use crate::held::Writer;
use crate::keys::{same_in_series, system};
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::Patch;
use crate::records::EncounterStatus;
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

/// Who is told to have written a state that a message did not move ([`crate::held::Kept::by`]).
pub(super) const ANOTHER_EVENT: &str = "another event";

/// What is still said of a known visit whose state this change does not move ([`Change::stays_in`]): all but the state. None:
/// the state moves, or is the same already.
pub(super) fn that_stays(change: &Change, visit: &Touched, body: &Body) -> Option<Body> {
    let (Body::Encounter(say), Aggregate::Encounter(known)) = (body, &visit.before.as_ref()?.aggregate)
    else {
        return None;
    };
    let (said, stored) = (say.status.value()?, known.status.as_ref()?);
    if said == stored || !change.stays_in.contains(stored) {
        return None;
    }
    let mut rest = say.clone();
    rest.status = Patch::Absent;
    Some(Body::Encounter(rest))
}
