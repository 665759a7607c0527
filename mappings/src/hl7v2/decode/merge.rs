//! MRG → records that prove to be of one person, and numbers that change. HL7 v2.5.1, 3.4.9 and 3.6.2.
//!
//! | event | what it does here |
//! |---|---|
//! | A18 A34 A36 A39 A40 | MRG is merged into PID; PID stays |
//! | A46 A47 | the number of MRG becomes that of PID; nobody is merged |
//! | A50 A51 | the visit number of MRG becomes that of PV1 |
//! | A42 A45 | the visit of MRG-5 is one of the patient in PID |
//! | A24 | the two patients are linked, both in use |
//! | A30 A35 A41 A43 A44 A48 A49 | the patient is carried; what moves waits in `extra` |

use clinic::change_set::{Find, Merge, Missing};
use clinic::patch::{Items, Patch};
use clinic::people::{LinkKind, PatientChange, PatientLink};
use clinic::records::EncounterChange;
use clinic::value::{Identifier, IdentifierUse, Ref};
use clinic::{Body, Change};

use super::collect::{Collected, Seg};
use super::datatypes as data;
use super::parties::add;

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
pub fn merge_from_mrg(
    out: &mut Collected<'_>,
    event: &str,
    mrg: Seg<'_>,
    patient: &Ref,
    pv1: Option<Seg<'_>>,
) {
    match event {
        "A18" | "A34" | "A36" | "A39" | "A40" => merge(out, mrg, patient),
        "A46" | "A47" => renumber(out, mrg, patient),
        "A42" | "A45" | "A50" | "A51" => move_visit(out, event, mrg, patient, pv1),
        _ => {}
    }
}

fn merge(out: &mut Collected<'_>, mrg: Seg<'_>, survivor: &Ref) {
    let numbers = old_numbers(mrg);
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

/// MRG-5 with PV1-19: the visit has that number now (A50, A51), or is that of another patient now (A42, A45).
fn move_visit(out: &mut Collected<'_>, event: &str, mrg: Seg<'_>, patient: &Ref, pv1: Option<Seg<'_>>) {
    let visit_number = |number: Identifier| Identifier {
        kind: number.kind.or_else(|| Some(data::kind_of("VN"))),
        ..number
    };
    let Some(old) = data::identifier(mrg.f(5)).map(visit_number) else {
        return;
    };
    let new = pv1
        .and_then(|pv1| data::identifier(pv1.f(19).first()))
        .map(visit_number);
    let mut numbers: Vec<Identifier> = new.into_iter().collect();
    if matches!(event, "A50" | "A51") && !numbers.contains(&old) {
        numbers.push(Identifier {
            usage: Some(IdentifierUse::Old),
            ..old.clone()
        });
    }
    let find = Find {
        identifiers: std::iter::once(old).chain(numbers.iter().cloned()).collect(),
        missing: Missing::Create,
        ..Find::default()
    };
    let key = out.key("encounter");
    let say = EncounterChange {
        identifiers: Items::merge(numbers),
        patient: Patch::Set(patient.clone()),
        ..EncounterChange::default()
    };
    out.push(Change {
        find,
        ..Change::new(key, say)
    });
}

/// A24: two records of one person, both in use.
pub fn link(out: &mut Collected<'_>, one: &Ref, other: &Ref) {
    for (from, to) in [(one, other), (other, one)] {
        if let Some(Body::Patient(say)) = out.change_mut(from).map(|change| &mut change.say) {
            let link = PatientLink {
                other: to.clone(),
                kind: LinkKind::SeeAlso,
            };
            add(&mut say.links, Some(link));
        }
    }
}
