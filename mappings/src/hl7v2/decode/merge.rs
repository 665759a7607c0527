//! MRG → records that prove to be of one person, and numbers that change. HL7 v2.5.1, 3.4.9 and 3.6.2.
//!
//! | event | what it does here |
//! |---|---|
//! | A18 A34 A36 A39 A40 | MRG is merged into PID; PID stays |
//! | A46 A47 | the number of MRG becomes that of PID; nobody is merged |
//! | A50 A51 | the visit number of MRG becomes that of PV1 |
//! | A42 | the visits of MRG-5 and PV1-19 are one; that of PV1-19 stays |
//! | A45 | the visit of MRG-5 is one of the patient in PID |
//! | A24, A37 | the two patients are linked, both in use; they are linked no longer |
//! | A30 A35 A41 A43 A44 A48 A49 | the patient is carried; what moves waits in `extra` |

use clinic::Body;
use clinic::change_set::{Find, Merge, Missing};
use clinic::patch::{Items, Patch};
use clinic::people::{LinkKind, PatientChange, PatientLink};
use clinic::records::EncounterChange;
use clinic::value::{Identifier, IdentifierUse, Ref};

use super::collect::{Collected, Seg};
use super::datatypes as data;
use super::parties::add;
use super::visit::{self, Visit};

/// MRG-1, -2, -4 → the numbers of the record that goes.
fn old_numbers(mrg: Seg<'_>) -> Vec<Identifier> {
    let mut all: Vec<Identifier> = vec![];
    for field in [1, 2, 4] {
        for rep in mrg.f(field).reps() {
            all.extend(data::identifier(rep).filter(|new| !all.contains(new)));
        }
    }
    all
}

/// MRG behind PID, by the event.
pub fn merge_from_mrg<'m>(
    out: &mut Collected<'m>,
    event: &str,
    mrg: Seg<'m>,
    patient: &Ref,
    visit: Option<Visit<'_, 'm>>,
) {
    match event {
        "A18" | "A34" | "A36" | "A39" | "A40" => merge(out, mrg, patient),
        "A46" | "A47" => renumber(out, mrg, patient),
        "A42" | "A45" | "A50" | "A51" => move_visit(out, event, mrg, patient, visit),
        _ => {}
    }
}

/// MRG-3 → an earlier account of the visit.
pub fn old_account(out: &mut Collected<'_>, mrg: Seg<'_>, encounter: &Ref) {
    let account = data::identifier(mrg.f(3)).map(|account| Identifier {
        usage: Some(IdentifierUse::Old),
        ..account
    });
    if let Some(Body::Encounter(say)) = out.change_mut(encounter).map(|change| &mut change.say) {
        add(&mut say.accounts, account);
    }
}

fn merge(out: &mut Collected<'_>, mrg: Seg<'_>, survivor: &Ref) {
    let numbers = old_numbers(mrg);
    mrg.f(3)
        .note("the number of an account belongs to a visit, and none is named here");
    let Ref::Local(survivor) = survivor else { return };
    if numbers.is_empty() {
        mrg.f(7).note("a record without a number can't be merged");
        return;
    }
    let names = mrg.f(7).items(data::name);
    let say = PatientChange {
        identifiers: Items::Merge(numbers),
        names,
        ..PatientChange::default()
    };
    let Ref::Local(old) = out.add("patient", say) else {
        return;
    };
    out.merge(Merge {
        survivor: survivor.clone(),
        old,
        undo: false,
        link: false,
    });
}

/// The patient is found by the old number or the new one, and keeps both.
fn renumber(out: &mut Collected<'_>, mrg: Seg<'_>, patient: &Ref) {
    let numbers = old_numbers(mrg);
    let Some(change) = out.change_mut(patient) else {
        return;
    };
    let known = change.say.identifiers().to_vec();
    change.find.identifiers = numbers.iter().chain(&known).cloned().collect();
    if let Body::Patient(say) = &mut change.say {
        for number in numbers {
            let old = Identifier {
                usage: Some(IdentifierUse::Old),
                ..number
            };
            if !known
                .iter()
                .any(|new| new.system == old.system && new.value == old.value)
            {
                add(&mut say.identifiers, Some(old));
            }
        }
    }
}

/// MRG-5 with PV1: the visit has the number of PV1-19 now (A50, A51), is that of another patient now (A45), or one with the
/// visit that has that number (A42). HL7 v2.5.1, 3.3.42, 3.3.45, 3.3.50.
fn move_visit<'m>(
    out: &mut Collected<'m>,
    event: &str,
    mrg: Seg<'m>,
    patient: &Ref,
    visit: Option<Visit<'_, 'm>>,
) {
    let Some(old) = data::identifier(mrg.f(5)) else {
        return;
    };
    let old = Identifier {
        kind: old.kind.or_else(|| Some(data::kind_of("VN"))),
        ..old
    };
    let by_pv1 = visit.and_then(|visit| visit::encounter_from_pv1(out, visit));
    let key = by_pv1.unwrap_or_else(|| {
        let say = EncounterChange {
            patient: Patch::Set(patient.clone()),
            ..EncounterChange::default()
        };
        out.add("encounter", say)
    });
    let from = match event {
        "A42" | "A45" => patient_so_far(out, mrg),
        _ => None,
    };
    let Some(change) = out.change_mut(&key) else {
        return;
    };
    let mut numbers = change.say.identifiers().to_vec();
    numbers.push(old.clone());
    change.find = Find {
        identifiers: numbers,
        moves: matches!(event, "A42" | "A45"),
        from,
        joins: event == "A42",
        ..Find::default()
    };
    if let Body::Encounter(say) = &mut change.say {
        let known = say.identifiers.values().iter();
        if !known
            .clone()
            .any(|new| new.system == old.system && new.value == old.value)
        {
            let usage = matches!(event, "A42" | "A50" | "A51").then_some(IdentifierUse::Old);
            add(&mut say.identifiers, Some(Identifier { usage, ..old }));
        }
    }
}

/// MRG-1 → the patient whose visit it is so far, of whom nothing else is said.
fn patient_so_far(out: &mut Collected<'_>, mrg: Seg<'_>) -> Option<Ref> {
    let numbers = old_numbers(mrg);
    let find = Find {
        identifiers: numbers,
        missing: Missing::Skip,
        ..Find::default()
    };
    (!find.identifiers.is_empty()).then(|| out.add_found("patient", find, PatientChange::default()))
}

/// A37: two records that were linked by A24 are no longer.
pub fn unlink(out: &mut Collected<'_>, one: &Ref, other: &Ref) {
    if let (Ref::Local(one), Ref::Local(other)) = (one, other) {
        out.merge(Merge {
            survivor: one.clone(),
            old: other.clone(),
            undo: true,
            link: true,
        });
    }
}

/// A24: two records of one person, both in use.
pub fn link(out: &mut Collected<'_>, one: &Ref, other: &Ref) {
    for (from, to) in [(one, other), (other, one)] {
        if let Some(Body::Patient(say)) = out.change_mut(from).map(|change| &mut change.say) {
            let link = PatientLink::new(to.clone(), LinkKind::SeeAlso);
            add(&mut say.links, Some(link));
        }
    }
}
