//! Two visits become one (`find.joins`), and states of visits that a message does not move.
//!
//! Of two, the one that goes stays readable, as entered in error. Its numbers lead to the one that stays, as old ones: where a number
//! has both, the one in use is meant.

use super::resolve::{Touched, Work};
use super::settle::note_who;
use crate::change_set::Change;
use crate::held::Writer;
use crate::keys::same_in_series;
use crate::kinds::{Aggregate, Body};
use crate::patch::Patch;
use crate::records::EncounterStatus;
use crate::value::{Identifier, IdentifierUse};

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
