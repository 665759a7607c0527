//! Orders, results, visits, appointments: what is found, what is written, and what it is called.

use clinic::apply::{ApplyError, FindKey, Snapshot};
use clinic::change_set::{Change, Missing};
use clinic::diagnostics::{OrderChange, OrderStatus, ResultStatus};
use clinic::memory::Conflict;
use clinic::patch::{Items, Patch};
use clinic::records::{EncounterChange, EncounterStatus, Stay, StayStatus};
use clinic::scheduling::{AppointmentChange, AppointmentStatus, Participant};
use clinic::value::{Concept, Identifier};
use clinic::{Aggregate, Body, ChangeSet, Kind};

use crate::people::*;

#[test]
fn a_report_its_repeat_and_its_correction() {
    let mut play = Play::new();
    let values = ["4.1", "5.40", "<3"];
    let first = play.takes(&laboratory_report(ResultStatus::Final, &values));
    assert_eq!(first.writes.len(), 7);
    let verbs: Vec<&str> = first.writes.iter().map(|w| w.verb).collect();
    assert_eq!(
        verbs,
        [
            "created", "created", "placed", "issued", "created", "created", "created"
        ]
    );
    assert!(
        play.takes(&laboratory_report(ResultStatus::Final, &values))
            .writes
            .is_empty()
    );

    let corrected = play.takes(&laboratory_report(
        ResultStatus::Corrected,
        &["4.1", "5.50", "<3"],
    ));
    let written: Vec<&str> = corrected.writes.iter().map(|w| w.verb).collect();
    assert_eq!(written, ["corrected", "updated"]);
    let (_, id) = corrected.ids["observation-1"];
    let versions = play.clinic.versions(Kind::Observation, id);
    let value = |idx: usize| match &versions[idx].aggregate {
        Aggregate::Observation(observation) => observation.value_original.clone(),
        _ => None,
    };
    assert_eq!(
        (value(0).as_deref(), value(1).as_deref()),
        (Some("5.40"), Some("5.50"))
    );
    assert_eq!(corrected.known.len(), 7);
}

#[test]
fn natural_keys_stay() {
    let mut play = Play::new();
    let applied = play.takes(&laboratory_report(ResultStatus::Final, &["1"]));
    let observation = applied.writes.last().expect("one");
    assert_eq!(observation.natural_keys.len(), 1);
    assert!(observation.keys.is_empty());
    // Within what is new nothing is looked for, and the commit has nothing of it to check.
    assert!(!applied.finds.iter().any(|(key, _)| key.kind == Kind::Observation));
    // It gets a number of its own; what it is within the report finds it all the same.
    let mut words = laboratory_report(ResultStatus::Final, &["1"]);
    if let Some(Body::Observation(said)) = words.changes.last_mut().map(|change| &mut change.say) {
        said.identifiers = Items::merge(vec![number("LIS", "OBI", "77")]);
    }
    let numbered = play.takes(&words);
    assert!(
        numbered
            .finds
            .iter()
            .any(|(key, _)| key.kind == Kind::Observation)
    );
    assert!(numbered.writes[0].keys_changed && numbered.writes[0].natural_keys.is_empty());
    assert!(
        play.takes(&laboratory_report(ResultStatus::Final, &["1"]))
            .writes
            .is_empty()
    );
    assert!(play.takes(&words).writes.is_empty());
}

#[test]
fn a_number_of_another_patient_is_parked() {
    let mut play = Play::new();
    let words = |who: &str| {
        set(vec![
            patient("p", vec![chart(who)], "Pop"),
            order("o", "p", vec![number("HIS", "PLAC", "1")]),
        ])
    };
    let order_id = play.takes(&words("1")).ids["o"].1;
    let (why, candidates) = play.parks(&words("2"));
    assert!(why.contains("another patient"), "{why}");
    assert_eq!(candidates[0].id, order_id);
    // A number without a system says nothing beyond its patient.
    let bare = |who: &str| {
        set(vec![
            patient("p", vec![chart(who)], "Pop"),
            order("o", "p", vec![number("", "PLAC", "5")]),
        ])
    };
    play.takes(&bare("1"));
    play.takes(&bare("2"));
    assert_eq!(play.count(Kind::Order), 3);
    assert!(play.takes(&bare("2")).writes.is_empty());
}

#[test]
fn a_number_of_a_visit_is_that_of_one_patient() {
    let mut play = Play::new();
    let first = play.takes(&visit(Patch::Set(EncounterStatus::InProgress), None));
    let mut words = visit(Patch::Absent, None);
    words.changes[0] = patient("p", vec![chart("2")], "Rusu");
    let second = play.takes(&words);
    assert_ne!(second.ids["visit"], first.ids["visit"]);
    // Each is found again by its patient.
    assert_eq!(play.takes(&words).ids["visit"], second.ids["visit"]);
    assert_eq!(
        play.takes(&visit(Patch::Absent, None)).ids["visit"],
        first.ids["visit"]
    );
}

#[test]
fn a_visit_is_moved_where_that_is_said() {
    let mut play = Play::new();
    let first = play.takes(&visit(Patch::Set(EncounterStatus::InProgress), None));
    let mut words = visit(Patch::Absent, None);
    words.changes[0] = patient("p", vec![chart("2")], "Rusu");
    words.changes[1].find.moves = true;
    let moved = play.takes(&words);
    assert_eq!(moved.ids["visit"], first.ids["visit"]);
    let record = play.record(Kind::Encounter, moved.ids["visit"].1);
    assert_eq!(
        record.aggregate.patient().and_then(|r| r.id()),
        Some(moved.ids["p"].1)
    );
}

#[test]
fn an_identifier_without_a_value_finds_nobody() {
    let mut play = Play::new();
    let words = |key: &str| {
        let mut change = order("o", "p", vec![number("HIS", "PLAC", "1")]);
        change.find = natural(Some(local("p")), key);
        change.find.identifiers = vec![Identifier::default()];
        set(vec![patient("p", vec![chart("1")], "Pop"), change])
    };
    play.takes(&words("a"));
    play.takes(&words("b"));
    assert_eq!(play.count(Kind::Order), 2);
    assert!(play.takes(&words("a")).writes.is_empty());
}

#[test]
fn two_orders_that_match_are_parked_and_two_tests_of_one_order_are_two() {
    let mut play = Play::new();
    let words = |numbers: Vec<Identifier>| {
        set(vec![
            patient("p", vec![chart("1")], "Pop"),
            order("o", "p", numbers),
        ])
    };
    let (placer, filler) = (number("HIS", "PLAC", "1"), |value: &str| {
        number("LIS", "FILL", value)
    });
    let one = play.takes(&words(vec![placer.clone(), filler("A")])).ids["o"].1;
    let two = play.takes(&words(vec![placer.clone(), filler("B")])).ids["o"].1;
    assert_ne!(one, two);
    assert_eq!(
        play.takes(&words(vec![placer.clone(), filler("B")])).ids["o"].1,
        two
    );
    let (_, candidates) = play.parks(&words(vec![placer]));
    assert_eq!(candidates.len(), 2);
    // Both in one set.
    let applied = play.takes(&set(vec![
        patient("p", vec![chart("1")], "Pop"),
        order("c", "p", vec![number("HIS", "PLAC", "2"), filler("C")]),
        order("d", "p", vec![number("HIS", "PLAC", "2"), filler("D")]),
    ]));
    assert_ne!(applied.ids["c"], applied.ids["d"]);
}

#[test]
fn the_same_doctor_twice_is_one_write() {
    let mut play = Play::new();
    let applied = play.takes(&set(vec![
        doctor("a", "77", "Rusu"),
        doctor("b", "77", "Rusu-Pop"),
    ]));
    assert_eq!(applied.writes.len(), 1);
    assert_eq!(applied.ids["a"], applied.ids["b"]);
    let words = set(vec![doctor("a", "77", "Rusu"), doctor("b", "77", "Rusu-Pop")]);
    assert!(play.takes(&words).writes.is_empty());
}

fn visit(status: Patch<EncounterStatus>, new: Option<EncounterStatus>) -> ChangeSet {
    let mut change = Change::new(
        "visit",
        EncounterChange {
            identifiers: Items::merge(vec![number("NORD", "VN", "V1")]),
            patient: Patch::Set(local("p")),
            status,
            ..EncounterChange::default()
        },
    );
    change.say_if_new = new.map(|status| {
        Body::from(EncounterChange {
            status: Patch::Set(status),
            ..EncounterChange::default()
        })
    });
    set(vec![patient("p", vec![chart("1")], "Pop"), change])
}

#[test]
fn a_finished_visit_is_not_opened_by_what_is_said_of_new_ones() {
    let mut play = Play::new();
    let update = visit(Patch::Absent, Some(EncounterStatus::InProgress));
    let applied = play.takes(&update);
    assert_eq!(applied.writes[1].verb, "started");
    let id = applied.ids["visit"].1;
    assert_eq!(
        play.takes(&visit(Patch::Set(EncounterStatus::Finished), None))
            .writes[0]
            .verb,
        "finished"
    );
    assert!(play.takes(&update).writes.is_empty());
    let reopened = play.takes(&visit(Patch::Set(EncounterStatus::InProgress), None));
    assert_eq!(reopened.writes[0].verb, "discharge-cancelled");
    assert_eq!(play.clinic.versions(Kind::Encounter, id).len(), 3);
    assert_eq!(
        play.takes(&visit(Patch::Set(EncounterStatus::Cancelled), None))
            .writes[0]
            .verb,
        "cancelled"
    );
}

#[test]
fn an_account_is_not_a_visit() {
    let mut play = Play::new();
    let words = |visit: &str| {
        let say = EncounterChange {
            identifiers: Items::merge(vec![number("NORD", "VN", visit), number("NORD", "AN", "ACC")]),
            patient: Patch::Set(local("p")),
            ..EncounterChange::default()
        };
        set(vec![
            patient("p", vec![chart("1")], "Pop"),
            Change::new("visit", say),
        ])
    };
    play.takes(&words("1"));
    play.takes(&words("2"));
    assert_eq!(play.count(Kind::Encounter), 2);
}

#[test]
fn what_is_left_out_takes_its_references_along() {
    let mut play = Play::new();
    let mut missing = doctor("gone", "1", "Rusu");
    missing.find.missing = Missing::Skip;
    let mut visit = visit(Patch::Set(EncounterStatus::InProgress), None);
    if let Some(Body::Encounter(encounter)) = visit.changes.last_mut().map(|change| &mut change.say) {
        encounter.stays = Items::merge(vec![Stay {
            place: local("nowhere"),
            status: Some(StayStatus::Active),
            period: None,
            temporary: false,
        }]);
        encounter.destination = Patch::Set(local("nowhere"));
    }
    let mut part_of_gone = Change::new("part", OrderChange::default());
    part_of_gone.find = natural(Some(local("gone")), "x");
    let appointment = Change::new(
        "appointment",
        AppointmentChange {
            identifiers: Items::merge(vec![number("HIS", "PLAC", "9")]),
            participants: Items::merge(vec![
                Participant {
                    actor: Some(local("gone")),
                    ..Participant::default()
                },
                Participant {
                    roles: vec![Concept::words("nurse")],
                    ..Participant::default()
                },
            ]),
            ..AppointmentChange::default()
        },
    );
    visit.changes.extend([missing, part_of_gone, appointment]);
    let applied = play.takes(&visit);
    assert_eq!(applied.left_out, ["gone", "part", "nowhere"]);
    let Aggregate::Appointment(appointment) = &play
        .record(Kind::Appointment, applied.ids["appointment"].1)
        .aggregate
    else {
        panic!("no appointment")
    };
    assert_eq!(appointment.participants.len(), 1);
}

#[test]
fn circles_and_long_chains_of_owners_end() {
    let mut play = Play::new();
    let mut one = order("one", "p", vec![]);
    one.find = natural(Some(local("two")), "x");
    let mut two = order("two", "p", vec![]);
    two.find = natural(Some(local("one")), "x");
    let applied = play.takes(&set(vec![patient("p", vec![chart("1")], "Pop"), one, two]));
    assert_eq!(applied.ids.len(), 3);

    let mut changes: Vec<Change> = (0..5_000)
        .map(|idx| {
            let mut change = order(&format!("o{idx}"), "p", vec![]);
            change.find = natural(Some(local(&format!("o{}", idx + 1))), "x");
            change
        })
        .collect();
    changes.push(order("o5000", "p", vec![number("HIS", "PLAC", "1")]));
    changes.push(patient("p", vec![chart("1")], "Pop"));
    let words = set(changes);
    assert_eq!(play.takes(&words).writes.len(), 5_001);
    assert!(play.takes(&words).writes.is_empty());
}

fn appointment(
    number_value: &str,
    status: AppointmentStatus,
    start: &str,
    end: &str,
    overbooked: bool,
) -> ChangeSet {
    let say = AppointmentChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", number_value)]),
        patient: Patch::Set(local("p")),
        status: Patch::Set(status),
        start: Patch::Set(start.parse().expect("a moment")),
        end: Patch::Set(end.parse().expect("a moment")),
        overbooked: if overbooked {
            Patch::Set(true)
        } else {
            Patch::Absent
        },
        participants: Items::merge(vec![
            Participant {
                actor: Some(local("doctor")),
                ..Participant::default()
            },
            Participant {
                actor: Some(local("doctor")),
                roles: vec![Concept::words("also as")],
                ..Participant::default()
            },
        ]),
        ..AppointmentChange::default()
    };
    set(vec![
        patient("p", vec![chart("1")], "Pop"),
        doctor("doctor", "77", "Rusu"),
        Change::new("appointment", say),
    ])
}

#[test]
fn an_appointment_takes_time_until_it_is_cancelled() {
    let mut play = Play::new();
    let (nine, ten, eleven) = (
        "2026-05-05T09:00:00+03:00",
        "2026-05-05T10:00:00+03:00",
        "2026-05-05T11:00:00+03:00",
    );
    let booked = play.takes(&appointment("1", AppointmentStatus::Booked, nine, ten, false));
    let id = booked.ids["appointment"].1;
    let write = booked.writes.last().expect("the appointment");
    assert_eq!((write.verb, write.bookings.len()), ("booked", 1));
    assert_eq!(write.bookings[0].resource, booked.ids["doctor"].1);

    let second = play
        .tries(&appointment("2", AppointmentStatus::Booked, nine, ten, false))
        .expect("applied");
    assert!(matches!(play.clinic.commit(&second), Err(Conflict::Taken { .. })));
    play.takes(&appointment("3", AppointmentStatus::Booked, nine, ten, true));
    play.takes(&appointment("4", AppointmentStatus::Booked, ten, eleven, false));

    let moved = play.takes(&appointment(
        "1",
        AppointmentStatus::Booked,
        eleven,
        "2026-05-05T11:30:00+03:00",
        false,
    ));
    assert_eq!(moved.writes[0].verb, "rescheduled");
    let cancelled = play.takes(&appointment("1", AppointmentStatus::Cancelled, nine, ten, false));
    assert_eq!(cancelled.writes[0].verb, "cancelled");
    assert!(play.clinic.bookings(id).is_empty());
    play.takes(&appointment("2", AppointmentStatus::Booked, nine, ten, false));
}

#[test]
fn what_moved_meanwhile_is_noticed() {
    let mut play = Play::new();
    let words = set(vec![patient("p", vec![chart("1")], "Pop")]);
    let one = play.tries(&words).expect("applied");
    let two = play.tries(&words).expect("applied");
    play.clinic.commit(&one).expect("first");
    assert_eq!(play.clinic.commit(&two), Err(Conflict::Moved));
    let three = play
        .tries(&set(vec![patient("p", vec![chart("1")], "Popa")]))
        .expect("applied");
    play.takes(&set(vec![patient("p", vec![chart("1")], "Popescu")]));
    assert_eq!(play.clinic.commit(&three), Err(Conflict::Moved));
}

#[test]
fn verbs_of_orders() {
    let mut play = Play::new();
    let words = |status: OrderStatus| {
        let mut change = order("o", "p", vec![number("HIS", "PLAC", "1")]);
        if let Body::Order(order) = &mut change.say {
            order.status = Patch::Set(status);
        }
        set(vec![patient("p", vec![chart("1")], "Pop"), change])
    };
    let steps = [
        (OrderStatus::Active, "placed"),
        (OrderStatus::OnHold, "held"),
        (OrderStatus::Active, "resumed"),
        (OrderStatus::Completed, "completed"),
        (OrderStatus::Revoked, "cancelled"),
    ];
    for (status, verb) in steps {
        assert_eq!(
            play.takes(&words(status)).writes.last().map(|w| w.verb),
            Some(verb)
        );
    }
}

#[test]
fn every_verb_is_in_the_list() {
    let events = clinic::events::events();
    let mut once = events.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), events.len());
    for event in [
        "Patient.merged",
        "Appointment.booked",
        "Encounter.discharge-cancelled",
        "Result.corrected",
    ] {
        assert!(events.iter().any(|e| e == event), "{event}");
    }
}

#[test]
fn found_by_value_alone() {
    let mut play = Play::new();
    let id = play
        .takes(&set(vec![patient("p", vec![chart("1|2")], "Pop")]))
        .ids["p"]
        .1;
    let found = |key: FindKey| play.clinic.find(&key).expect("read");
    assert_eq!(found(FindKey::value(Kind::Patient, "1|2")), [id]);
    assert_eq!(found(FindKey::system_value(Kind::Patient, "NORD", "1|2")), [id]);
    assert!(found(FindKey::value(Kind::Practitioner, "1|2")).is_empty());
}

#[test]
fn a_set_has_a_limit() {
    let mut play = Play::new();
    let words = set(vec![
        Change::new("x", OrderChange::default());
        clinic::apply::MAX_CHANGES + 1
    ]);
    assert!(matches!(play.tries(&words), Err(ApplyError::Refused(_))));
}

/// Not a measurement, a guard: in a release build a usual report takes some tens of microseconds; where the work grows
/// with the square of something, this test takes minutes.
#[test]
fn many_new_orders_under_one_number_end_soon() {
    let mut play = Play::new();
    let mut changes = vec![patient("p", vec![chart("1")], "Pop")];
    for idx in 0..3_000 {
        let numbers = vec![
            number("HIS", "PLAC", "1"),
            number("LIS", "FILL", &idx.to_string()),
        ];
        changes.push(order(&format!("o{idx}"), "p", numbers));
    }
    assert_eq!(play.takes(&set(changes)).writes.len(), 3_001);
}

#[test]
fn an_appointment_that_a_person_books_ends_after_it_begins() {
    let mut play = Play::new();
    play.actor = Some("reception");
    let booked = |start: &str, end: &str| {
        let say = AppointmentChange {
            start: Patch::Set(start.parse().expect("a time")),
            end: Patch::Set(end.parse().expect("a time")),
            status: Patch::Set(AppointmentStatus::Booked),
            ..AppointmentChange::default()
        };
        let mut set = ChangeSet::default();
        set.changes.push(Change::new("booking", say));
        set
    };
    let at = |clock: &str| format!("2026-05-20T{clock}:00+03:00");
    for end in ["09:00", "09:20"] {
        match play.tries(&booked(&at("09:20"), &at(end))) {
            Err(ApplyError::Refused(error)) => {
                let place = error.place.map(|place| place.0);
                assert_eq!(place.as_deref(), Some("changes[0].say.Appointment.end"));
            }
            other => panic!("{end}: {other:?}"),
        }
    }
    play.takes(&booked(&at("09:20"), &at("09:40")));
}
