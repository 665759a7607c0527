//! How long it takes to apply a usual laboratory report (a patient, a doctor, an order, a result, ten measurements) to a
//! clinic in memory: `cargo run --release -p clinic --example apply_time`.

use std::time::Instant;

use clinic::aggregate::Source;
use clinic::apply::{Context, OnUnmatched};
use clinic::change_set::{Change, ChangeSet, Find, Natural};
use clinic::diagnostics::{ObservationChange, ObservationStatus, OrderChange, ResultChange, ResultStatus};
use clinic::memory::MemoryClinic;
use clinic::patch::{Items, Patch};
use clinic::people::{PatientChange, PractitionerChange};
use clinic::value::{Concept, Identifier, PersonName, Quantity, Ref};
use uuid::Uuid;

const ROUNDS: u32 = 2_000;

fn main() {
    let mut clinic = MemoryClinic::new();
    let mut ids = 0u128;
    let mut times = [std::time::Duration::ZERO; 2];
    for round in 0..ROUNDS {
        // A new report of a patient who is known, and the same with other values.
        for (which, value) in ["4.1", "4.20"].into_iter().enumerate() {
            let set = report(round, value);
            let context = Context {
                source: Source::Actor {
                    name: "example".to_owned(),
                    message: None,
                },
                now: jiff::Timestamp::UNIX_EPOCH,
                site: None,
                on_unmatched: OnUnmatched::Create,
                decisions: &[],
                overwrite: false,
                new_id: &mut || {
                    ids += 1;
                    Uuid::from_u128(ids)
                },
            };
            let start = Instant::now();
            let applied = clinic::apply(&set, &clinic, context);
            times[which] += start.elapsed();
            match applied {
                Ok(applied) => clinic
                    .commit(&applied)
                    .unwrap_or_else(|error| println!("{error}")),
                Err(error) => println!("{error}"),
            }
        }
    }
    for (name, time) in ["new", "changed"].into_iter().zip(times) {
        println!("{name}: {:.1} µs", time.as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
}

fn local(key: &str) -> Ref {
    Ref::Local(key.to_owned())
}

fn number(system: &str, kind: &str, value: &str) -> Identifier {
    Identifier {
        kind: Some(Concept::coded(
            "http://terminology.hl7.org/CodeSystem/v2-0203",
            kind,
            None,
        )),
        ..Identifier::new(Some(system), value)
    }
}

fn named(family: &str, given: &str) -> Items<PersonName> {
    Items::Merge(vec![PersonName {
        family: Some(family.to_owned()),
        given: vec![given.to_owned()],
        ..PersonName::default()
    }])
}

fn report(round: u32, value: &str) -> ChangeSet {
    let mut changes = vec![
        Change::new(
            "patient",
            PatientChange {
                identifiers: Items::Merge(vec![number("NORD", "MR", &(round % 50).to_string())]),
                names: named("Pop", "Ana"),
                birth_date: Patch::from("1985-03-12".parse().ok()),
                ..PatientChange::default()
            },
        ),
        Change::new(
            "doctor",
            PractitionerChange {
                identifiers: Items::Merge(vec![number("STAFF", "PRN", "77")]),
                names: named("Rusu", "Ion"),
                ..PractitionerChange::default()
            },
        ),
        Change::new(
            "order",
            OrderChange {
                identifiers: Items::Merge(vec![
                    number("HIS", "PLAC", &round.to_string()),
                    number("LIS", "FILL", &round.to_string()),
                ]),
                patient: Patch::Set(local("patient")),
                requester: Patch::Set(local("doctor")),
                ..OrderChange::default()
            },
        ),
    ];
    let mut result = Change::new(
        "result",
        ResultChange {
            patient: Patch::Set(local("patient")),
            orders: Items::Replace(vec![local("order")]),
            status: Patch::Set(ResultStatus::Final),
            observations: Items::Merge((0..10).map(|idx| local(&format!("observation-{idx}"))).collect()),
            ..ResultChange::default()
        },
    );
    result.find = natural("order", "result|CHEM");
    changes.push(result);
    for idx in 0..10 {
        let mut change = Change::new(
            format!("observation-{idx}"),
            ObservationChange {
                patient: Patch::Set(local("patient")),
                orders: Items::Replace(vec![local("order")]),
                status: Patch::Set(ObservationStatus::Final),
                code: Patch::Set(Concept::coded(
                    "http://loinc.org",
                    &format!("{idx}-1"),
                    Some("Something measured"),
                )),
                value: Patch::Set(clinic::diagnostics::Value::Quantity(Quantity {
                    value: value.parse().ok(),
                    unit: Some("mmol/L".to_owned()),
                    ..Quantity::default()
                })),
                ..ObservationChange::default()
            },
        );
        change.find = natural("result", &format!("loinc|{idx}-1|"));
        changes.push(change);
    }
    ChangeSet {
        changes,
        ..ChangeSet::default()
    }
}

fn natural(owner: &str, key: &str) -> Find {
    Find {
        natural: Some(Natural {
            owner: Some(local(owner)),
            key: key.to_owned(),
        }),
        ..Find::default()
    }
}
