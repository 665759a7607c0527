//! Two visits become one (`find.joins`).
//!
//! The one that goes stays readable, as entered in error. Its numbers lead to the one that stays, as old ones: where a number
//! has both, the one in use is meant.

use super::resolve::Work;
use super::settle::note_who;
use crate::held::Writer;
use crate::keys::same_series;
use crate::kinds::Aggregate;
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
                let is_known = |id: &Identifier| same_series(id, &number) && id.value == number.value;
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
