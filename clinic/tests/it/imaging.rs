//! Imaging: orders get their numbers, what the modalities say moves them, and studies find their orders.

use clinic::apply::{ApplyError, Choice, Decision, FindKey, OnUnmatched, Snapshot};
use clinic::change_set::{Change, Missing, Natural};
use clinic::diagnostics::{Order, OrderChange, OrderIntent, OrderStatus};
use clinic::imaging::{
    self, Imaging, ImagingInstance, ImagingInstanceChange, ImagingStep, ImagingStudy, ImagingStudyChange,
    ImagingStudyStatus, PerformedStatus, PerformedStep, Series, StepStatus,
};
use clinic::patch::{Items, Patch};
use clinic::people::PatientChange;
use clinic::records::{EncounterChange, EncounterStatus};
use clinic::scheduling::{AppointmentChange, AppointmentStatus};
use clinic::search::{LIVE, search_keys};
use clinic::value::{Concept, Identifier, Ref};
use clinic::{Aggregate, Body, ChangeSet, Kind};
use proptest::prelude::*;
use uuid::Uuid;

use crate::people::*;

const STUDY: &str = "1.2.826.0.1.7";

fn step(id: &str) -> ImagingStep {
    ImagingStep {
        id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        modality: Some("CT".to_owned()),
        ..ImagingStep::default()
    }
}

fn asked(study: Option<&str>, steps: &[&str]) -> Imaging {
    Imaging {
        study_uid: study.map(str::to_owned),
        steps: steps.iter().map(|id| step(id)).collect(),
        ..Imaging::default()
    }
}

/// An imaging order of the patient with chart number 1.
fn ordered(imaging: Imaging) -> ChangeSet {
    let say = OrderChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", "P1")]),
        patient: Patch::Set(local("p")),
        status: Patch::Set(OrderStatus::Active),
        imaging: Patch::Set(imaging),
        ..OrderChange::default()
    };
    set(vec![patient("p", vec![chart("1")], "Pop"), Change::new("o", say)])
}

/// What a modality says of the order by its number.
fn mpps(uid: &str, steps: &[&str], status: PerformedStatus, reason: Option<&str>) -> ChangeSet {
    let performed = PerformedStep {
        uid: uid.to_owned(),
        steps: steps.iter().map(|id| (*id).to_owned()).collect(),
        status: Some(status),
        reason: reason.map(|code| Concept::coded("DCM", code, None)),
        ..PerformedStep::default()
    };
    let say = OrderChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", "P1")]),
        performed: Items::merge(vec![performed]),
        ..OrderChange::default()
    };
    set(vec![Change::new("o", say)])
}

fn order_of(play: &Play, id: Uuid) -> &Order {
    match &play.record(Kind::Order, id).aggregate {
        Aggregate::Order(order) => order,
        _ => panic!("no order"),
    }
}

fn imaging_of(play: &Play, id: Uuid) -> &Imaging {
    order_of(play, id).imaging.as_ref().expect("an imaging part")
}

fn states(play: &Play, id: Uuid) -> (Option<OrderStatus>, Vec<StepStatus>) {
    let order = order_of(play, id);
    let steps = imaging_of(play, id).steps.iter();
    (
        order.status,
        steps.map(|step| imaging::step_status_of(order, step)).collect(),
    )
}

#[test]
fn an_order_without_numbers_gets_them_once() {
    let mut play = Play::new();
    let id = play.takes(&ordered(asked(None, &["", ""]))).ids["o"].1;
    let first = imaging_of(&play, id).clone();
    let uid = first.study_uid.clone().expect("a study UID");
    assert_eq!(uid, format!("2.25.{}", id.as_u128()));
    assert!(imaging::is_uid(&uid));
    let numbers = [
        &first.accession,
        &first.procedure_id,
        &first.steps[0].id,
        &first.steps[1].id,
    ];
    for number in numbers {
        assert_eq!(number.as_deref().map(str::len), Some(16));
    }
    assert_ne!(first.steps[0].id, first.steps[1].id);
    assert!(play.takes(&ordered(asked(None, &["", ""]))).writes.is_empty());
    // The order is found by both.
    let accession = first.accession.clone().expect("a number");
    for key in [
        FindKey::system_value(Kind::Order, imaging::UID_SYSTEM, &uid),
        FindKey::value(Kind::Order, &accession),
    ] {
        assert_eq!(play.clinic.find(&key).expect("read"), [id]);
    }
    // A late study UID changes nothing; a late accession number takes the place of ours, and ours still finds it.
    let mut late = asked(Some(STUDY), &[]);
    late.accession = Some("RIS-77".to_owned());
    play.takes(&ordered(late));
    let second = imaging_of(&play, id);
    assert_eq!(second.study_uid, first.study_uid);
    // Who writes it himself is told so.
    play.actor = Some("reception");
    assert!(matches!(
        play.tries(&ordered(asked(Some(STUDY), &[]))),
        Err(ApplyError::Refused(_))
    ));
    play.takes(&ordered(asked(first.study_uid.as_deref(), &[])));
    play.actor = None;
    let second = imaging_of(&play, id);
    assert_eq!(second.accession.as_deref(), Some("RIS-77"));
    assert_eq!(second.steps, first.steps);
    for number in ["RIS-77", accession.as_str()] {
        assert_eq!(
            play.clinic
                .find(&FindKey::value(Kind::Order, number))
                .expect("read"),
            [id]
        );
    }
}

#[test]
fn what_a_message_leaves_out_of_an_imaging_part_stays() {
    let mut play = Play::new();
    let mut full = asked(Some(STUDY), &["S1", "S2"]);
    full.transport = Some("WALK".to_owned());
    full.steps[0].station_aes = vec!["CT1".to_owned()];
    let id = play.takes(&ordered(full)).ids["o"].1;
    let mut part = asked(None, &["S1"]);
    part.steps[0].start = Some("2026-05-05T08:30:00+03:00".parse().expect("a moment"));
    play.takes(&ordered(part));
    let now = imaging_of(&play, id);
    assert_eq!(now.transport.as_deref(), Some("WALK"));
    assert_eq!(now.steps.len(), 2);
    assert_eq!(now.steps[0].station_aes, ["CT1"]);
    assert!(now.steps[0].start.is_some() && now.steps[1].start.is_none());
    // The one step of an order is the same, with a number and without.
    let mut play = Play::new();
    let id = play.takes(&ordered(asked(None, &[""]))).ids["o"].1;
    play.takes(&ordered(asked(None, &["S9"])));
    play.takes(&ordered(asked(None, &[""])));
    let ids: Vec<_> = imaging_of(&play, id)
        .steps
        .iter()
        .map(|step| step.id.as_deref())
        .collect();
    assert_eq!(ids, [Some("S9")]);
}

#[test]
fn what_a_worklist_cannot_tell_is_refused() {
    let mut play = Play::new();
    let long = "12345678901234567".to_owned();
    let with = |change: &dyn Fn(&mut ImagingStep)| {
        let mut plan = asked(None, &["S1"]);
        change(&mut plan.steps[0]);
        plan
    };
    let cases = [
        Imaging {
            accession: Some(long.clone()),
            ..Imaging::default()
        },
        Imaging {
            procedure_id: Some(long.clone()),
            ..Imaging::default()
        },
        asked(None, &[&long]),
        asked(Some("1.x.3"), &[]),
        asked(Some(&"1".repeat(65)), &[]),
        with(&|step| step.station_aes = vec!["CT1".to_owned(), long.clone()]),
        with(&|step| step.station_aes = vec!["CT\\1".to_owned()]),
        with(&|step| step.modality = Some("ct scan".to_owned())),
    ];
    for case in cases {
        assert!(matches!(play.tries(&ordered(case)), Err(ApplyError::Refused(_))));
    }
    let mut fits = asked(Some("1.0.3"), &["1234567890123456"]);
    fits.accession = Some("ș".repeat(16));
    play.takes(&ordered(fits));
}

#[test]
fn live_orders_and_numbers_are_searched() {
    let mut play = Play::new();
    let mut say = asked(Some(STUDY), &["S1"]);
    say.accession = Some("A1".to_owned());
    let id = play.takes(&ordered(say)).ids["o"].1;
    let texts = |play: &Play| -> Vec<String> {
        let keys = search_keys(&play.record(Kind::Order, id).aggregate);
        keys.into_iter()
            .map(|key| format!("{}|{}", key.name, key.text))
            .collect()
    };
    assert_eq!(
        texts(&play),
        ["accession|A1".to_owned(), format!("imaging|{LIVE}")]
    );
    play.takes(&mpps("1.1", &["S1"], PerformedStatus::Completed, None));
    assert_eq!(texts(&play), ["accession|A1"]);
}

/// An order with a visit and an appointment, each in a state.
fn booked(play: &mut Play) -> (Uuid, Uuid, Uuid) {
    let mut words = ordered(asked(Some(STUDY), &["S1"]));
    let visit = EncounterChange {
        identifiers: Items::merge(vec![number("HIS", "VN", "V1")]),
        patient: Patch::Set(local("p")),
        status: Patch::Set(EncounterStatus::Planned),
        ..EncounterChange::default()
    };
    if let clinic::Body::Order(say) = &mut words.changes[1].say {
        say.encounter = Patch::Set(local("v"));
    }
    let appointment = AppointmentChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", "T1")]),
        patient: Patch::Set(local("p")),
        status: Patch::Set(AppointmentStatus::Booked),
        orders: Items::replace(vec![local("o")]),
        ..AppointmentChange::default()
    };
    words.changes.push(Change::new("v", visit));
    words.changes.push(Change::new("a", appointment));
    let ids = play.takes(&words).ids;
    (ids["o"].1, ids["a"].1, ids["v"].1)
}

fn around(play: &Play, appointment: Uuid, visit: Uuid) -> (&'static str, &'static str) {
    let (Aggregate::Appointment(appointment), Aggregate::Encounter(visit)) = (
        &play.record(Kind::Appointment, appointment).aggregate,
        &play.record(Kind::Encounter, visit).aggregate,
    ) else {
        panic!("other kinds");
    };
    (
        appointment.status.expect("a state").as_str(),
        visit.status.expect("a state").as_str(),
    )
}

#[test]
fn an_examination_moves_order_appointment_and_visit() {
    let mut play = Play::new();
    let (order, appointment, visit) = booked(&mut play);
    let events = |applied: &clinic::Applied| -> Vec<String> {
        let mut all: Vec<String> = applied
            .writes
            .iter()
            .map(|write| format!("{}.{}", write.record.aggregate.kind().as_str(), write.verb))
            .collect();
        all.sort();
        all
    };
    let applied = play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None));
    assert_eq!(
        events(&applied),
        ["Appointment.arrived", "Encounter.started", "Order.started"]
    );
    assert_eq!(around(&play, appointment, visit), ("arrived", "in-progress"));
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Active), vec![StepStatus::Started])
    );
    // The same again changes nothing.
    assert!(
        play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None))
            .writes
            .is_empty()
    );
    let applied = play.takes(&mpps("1.1", &[], PerformedStatus::Completed, None));
    assert_eq!(events(&applied), ["Appointment.fulfilled", "Order.completed"]);
    assert_eq!(around(&play, appointment, visit), ("fulfilled", "in-progress"));
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Completed), vec![StepStatus::Completed])
    );
    // What the beginning said stays, and an end is final.
    assert_eq!(order_of(&play, order).performed[0].steps, ["S1"]);
    let again = play.tries(&mpps("1.1", &[], PerformedStatus::InProgress, None));
    assert!(
        matches!(again, Err(ApplyError::Refused(error)) if error.reason == clinic::exchange::Reason::Conflict)
    );
}

#[test]
fn a_wrong_entry_is_taken_back_and_a_broken_off_examination_ends() {
    for (reason, event, status, step) in [
        (
            Some("110514"),
            "returned",
            OrderStatus::Active,
            StepStatus::Scheduled,
        ),
        (
            Some("110501"),
            "discontinued",
            OrderStatus::Revoked,
            StepStatus::Discontinued,
        ),
        (
            None,
            "discontinued",
            OrderStatus::Revoked,
            StepStatus::Discontinued,
        ),
    ] {
        let mut play = Play::new();
        let (order, appointment, visit) = booked(&mut play);
        play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None));
        let applied = play.takes(&mpps("1.1", &["S1"], PerformedStatus::Discontinued, reason));
        let verb = applied
            .writes
            .iter()
            .find(|write| write.record.meta.id == order)
            .map(|write| write.verb);
        assert_eq!(verb, Some(event));
        assert_eq!(around(&play, appointment, visit), ("booked", "planned"));
        assert_eq!(states(&play, order), (Some(status), vec![step]));
    }
}

#[test]
fn an_order_of_which_a_step_was_broken_off_is_not_completed() {
    use PerformedStatus::{Completed, Discontinued, InProgress};
    for ends in [[Completed, Discontinued], [Discontinued, Completed]] {
        let mut play = Play::new();
        let order = play.takes(&ordered(asked(Some(STUDY), &["S1", "S2"]))).ids["o"].1;
        for (step, uid, end) in [("S1", "1.1", ends[0]), ("S2", "1.2", ends[1])] {
            play.takes(&mpps(uid, &[step], InProgress, None));
            play.takes(&mpps(uid, &[step], end, None));
        }
        assert_eq!(states(&play, order).0, Some(OrderStatus::Active), "{ends:?}");
        // What was broken off is done after all.
        for end in [InProgress, Completed] {
            play.takes(&mpps("1.3", &["S1", "S2"], end, None));
        }
        assert_eq!(states(&play, order).0, Some(OrderStatus::Completed));
    }
}

/// (0040,0009) may be empty (PS3.4 table F.7.2-1).
#[test]
fn an_mpps_without_a_step_is_of_the_steps_of_its_modality_and_station() {
    use StepStatus::{Completed, Scheduled, Started};
    let planned = |steps: [(&str, &str); 3]| {
        let mut imaging = asked(Some(STUDY), &["S1", "S2", "S3"]);
        for (step, (modality, station)) in imaging.steps.iter_mut().zip(steps) {
            step.modality = Some(modality.to_owned());
            step.station_aes = vec![station.to_owned()];
        }
        imaging
    };
    let say = |status, modality: &str, station: &str| {
        let mut set = mpps("1.1", &[], status, None);
        let Body::Order(say) = &mut set.changes[0].say else {
            panic!("an order")
        };
        if let Items::Merge(performed) = &mut say.performed {
            performed[0].modality = Some(modality.to_owned());
            performed[0].station_ae = Some(station.to_owned());
        }
        set
    };
    let three = [("CT", "CT1"), ("MR", "MR1"), ("CT", "CT2")];
    for (steps, modality, station, moved) in [
        (three, "MR", "MR1", [false, true, false]),
        (three, "MR", "OTHER", [false, true, false]),
        (three, "CT", "CT2", [false, false, true]),
        (three, "CT", "OTHER", [true, false, true]),
        (three, "PT", "MR1", [false, true, false]),
        (three, "US", "OTHER", [false, false, false]),
        // The same work by another machine than was planned.
        ([("CR", "X"); 3], "DX", "OTHER", [true, true, true]),
    ] {
        let mut play = Play::new();
        let order = play.takes(&ordered(planned(steps))).ids["o"].1;
        let as_moved = |to| moved.map(|moved| if moved { to } else { Scheduled });
        play.takes(&say(PerformedStatus::InProgress, modality, station));
        assert_eq!(states(&play, order).1, as_moved(Started), "{modality} {station}");
        play.takes(&mpps("1.1", &[], PerformedStatus::Completed, None));
        assert_eq!(
            states(&play, order).1,
            as_moved(Completed),
            "{modality} {station}"
        );
        let end = match moved {
            [true, true, true] => OrderStatus::Completed,
            _ => OrderStatus::Active,
        };
        assert_eq!(states(&play, order).0, Some(end), "{modality} {station}");
    }
}

/// A number of the device's own is no step of the order.
#[test]
fn an_mpps_of_a_step_that_nobody_planned_is_of_the_steps_of_its_modality() {
    let begin = |modality: &str| {
        let mut set = mpps("1.1", &["LOCAL1"], PerformedStatus::InProgress, None);
        if let Body::Order(say) = &mut set.changes[0].say
            && let Items::Merge(performed) = &mut say.performed
        {
            performed[0].modality = Some(modality.to_owned());
        }
        set
    };
    let end = mpps("1.1", &[], PerformedStatus::Completed, None);
    let mut play = Play::new();
    let order = play.takes(&ordered(asked(Some(STUDY), &["S1"]))).ids["o"].1;
    play.takes(&begin("CT"));
    assert_eq!(states(&play, order).1, [StepStatus::Started]);
    play.takes(&end);
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Completed), vec![StepStatus::Completed])
    );
    // Of one that has steps of several modalities, and none of this: a person decides.
    let mut play = Play::new();
    let mut several = asked(Some(STUDY), &["S1", "S2"]);
    several.steps[1].modality = Some("MR".to_owned());
    let order = play.takes(&ordered(several)).ids["o"].1;
    let (why, candidates) = play.parks(&begin("US"));
    assert!(why.contains("the step that the modality names"), "{why}");
    assert_eq!(candidates[0].id, order);
    play.takes(&begin("MR"));
    assert_eq!(
        states(&play, order).1,
        [StepStatus::Scheduled, StepStatus::Started]
    );
}

#[test]
fn what_the_reception_said_is_not_taken_back() {
    let mut play = Play::new();
    let (_, appointment, visit) = booked(&mut play);
    play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None));
    let mut checked_in = AppointmentChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", "T1")]),
        ..AppointmentChange::default()
    };
    checked_in.status = Patch::Set(AppointmentStatus::CheckedIn);
    play.takes(&set(vec![Change::new("a", checked_in)]));
    play.takes(&mpps(
        "1.1",
        &["S1"],
        PerformedStatus::Discontinued,
        Some("110514"),
    ));
    assert_eq!(around(&play, appointment, visit), ("checked-in", "planned"));
}

#[test]
fn several_mpps_for_a_step_and_several_steps_for_an_mpps() {
    use PerformedStatus::{Completed, Discontinued, InProgress};
    let mut play = Play::new();
    let order = play.takes(&ordered(asked(None, &["S1", "S2"]))).ids["o"].1;
    // Two steps: one is done, the order is not.
    play.takes(&mpps("1.1", &["S1"], Completed, None));
    assert_eq!(
        states(&play, order),
        (
            Some(OrderStatus::Active),
            vec![StepStatus::Completed, StepStatus::Scheduled]
        )
    );
    // A second MPPS for both: a series is appended to the first step.
    play.takes(&mpps("1.2", &["S1", "S2"], InProgress, None));
    assert_eq!(
        states(&play, order),
        (
            Some(OrderStatus::Active),
            vec![StepStatus::Started, StepStatus::Started]
        )
    );
    // It is broken off: the first step was done before, the second was not.
    play.takes(&mpps("1.2", &[], Discontinued, None));
    assert_eq!(
        states(&play, order),
        (
            Some(OrderStatus::Active),
            vec![StepStatus::Completed, StepStatus::Discontinued]
        )
    );
    // One that names no step is for all of them.
    play.takes(&mpps("1.3", &[], Completed, None));
    assert_eq!(
        states(&play, order).1,
        [StepStatus::Completed, StepStatus::Completed]
    );
}

#[test]
fn the_end_of_an_mpps_is_said_of_every_order_that_it_is_for() {
    let mut play = Play::new();
    let order = |number: &str, placer: &str, study: &str| {
        let mut words = ordered(asked(Some(study), &[number]));
        if let clinic::Body::Order(say) = &mut words.changes[1].say {
            say.identifiers = Items::merge(vec![super::people::number("HIS", "PLAC", placer)]);
        }
        words
    };
    let chest = play.takes(&order("S1", "P1", "1.2.1")).ids["o"].1;
    let head = play.takes(&order("S2", "P2", "1.2.2")).ids["o"].1;
    let other = play.takes(&order("S3", "P3", "1.2.3")).ids["o"].1;
    let performed = |key: &str, find: Vec<Identifier>, each: bool, steps: &[&str], status| Change {
        find: clinic::change_set::Find {
            identifiers: find,
            missing: Missing::Refuse,
            each,
            ..Default::default()
        },
        ..Change::new(
            key,
            OrderChange {
                performed: Items::Merge(vec![PerformedStep {
                    uid: "1.9".to_owned(),
                    steps: steps.iter().map(|id| (*id).to_owned()).collect(),
                    status: Some(status),
                    ..PerformedStep::default()
                }]),
                ..OrderChange::default()
            },
        )
    };
    let begun = PerformedStatus::InProgress;
    play.takes(&set(vec![
        performed("one", vec![imaging::uid("1.2.1")], false, &["S1"], begun),
        performed("two", vec![imaging::uid("1.2.2")], false, &["S2"], begun),
    ]));
    let started = (Some(OrderStatus::Active), vec![StepStatus::Started]);
    assert_eq!(
        (states(&play, chest), states(&play, head)),
        (started.clone(), started)
    );
    let ends = |each| {
        set(vec![performed(
            "all",
            vec![imaging::uid("1.9")],
            each,
            &[],
            PerformedStatus::Completed,
        )])
    };
    assert!(
        matches!(play.tries(&ends(false)), Err(ApplyError::Parked { .. })),
        "one is meant, and two are found"
    );
    let applied = play.takes(&ends(true));
    assert_eq!(applied.writes.len(), 2);
    let done = (Some(OrderStatus::Completed), vec![StepStatus::Completed]);
    assert_eq!((states(&play, chest), states(&play, head)), (done.clone(), done));
    assert_eq!(states(&play, other).1, [StepStatus::Scheduled]);
    assert_eq!(
        order_of(&play, head).performed[0].steps,
        ["S2"],
        "each keeps its own"
    );
}

#[test]
fn a_step_for_orders_of_one_accession_number_moves_each_of_them() {
    let order = |placer: &str, accession: &str, study: &str, step: &str| {
        let mut imaging = asked(Some(study), &[step]);
        imaging.accession = Some(accession.to_owned());
        let mut words = ordered(imaging);
        if let Body::Order(say) = &mut words.changes[1].say {
            say.identifiers = Items::merge(vec![number("HIS", "PLAC", placer)]);
        }
        words
    };
    // The study, accession number and step of each item, and which of the three orders have started.
    let started = |items: &[(&str, &str, &str)]| -> Vec<usize> {
        let mut play = Play::new();
        let orders = [
            order("P1", "A1", "1.2.1", "S1"),
            order("P2", "A1", "1.2.2", "S2"),
            order("P3", "A3", "1.2.3", "S1"),
        ]
        .map(|words| play.takes(&words).ids["o"].1);
        let changes = items.iter().enumerate().map(|(n, (study, accession, step))| {
            let steps: Vec<&str> = Some(*step).filter(|step| !step.is_empty()).into_iter().collect();
            let said = mpps("1.9", &steps, PerformedStatus::InProgress, None);
            let mut change = said.changes.into_iter().next().expect("a change");
            change.key = format!("o{n}");
            change.find.identifiers = vec![imaging::uid(study), Identifier::new(None, accession)];
            (change.find.bare, change.find.each) = (true, true);
            change
        });
        play.takes(&set(changes.collect()));
        let begun = |id: &Uuid| states(&play, *id).1 == [StepStatus::Started];
        (0..3).filter(|n| begun(&orders[*n])).map(|n| n + 1).collect()
    };
    // By the worklist entry; the study alone, the step alone.
    assert_eq!(started(&[("1.2.2", "A1", "S2")]), [2]);
    assert_eq!(started(&[("1.2.2", "A1", "")]), [2]);
    assert_eq!(started(&[("1.9.9", "A1", "S2")]), [2]);
    // Two entries done as one, each with its own study, with that of the first, or with one of the modality.
    for studies in [["1.2.1", "1.2.2"], ["1.2.1", "1.2.1"], ["1.9.9", "1.9.9"]] {
        assert_eq!(
            started(&[(studies[0], "A1", "S1"), (studies[1], "A1", "S2")]),
            [1, 2]
        );
    }
    assert_eq!(started(&[("1.2.2", "A1", "S2"), ("1.2.2", "A3", "S1")]), [2, 3]);
}

/// A RIS may make one study of two procedures.
#[test]
fn a_step_of_one_of_two_orders_that_share_a_study_moves_that_one() {
    // Accession number and step of each item, and which of the two orders have started.
    let started = |second_step: &str, items: &[(&str, &str)]| -> Vec<usize> {
        let mut play = Play::new();
        let orders = [("P1", "A1", "S1"), ("P2", "A2", second_step)].map(|(placer, accession, step)| {
            let mut imaging = asked(Some(STUDY), &[step]);
            imaging.accession = Some(accession.to_owned());
            let mut words = ordered(imaging);
            if let Body::Order(say) = &mut words.changes[1].say {
                say.identifiers = Items::merge(vec![number("HIS", "PLAC", placer)]);
                say.code = Patch::Set(Concept::coded("LN", placer, Some(placer)));
            }
            play.takes(&words).ids["o"].1
        });
        let changes = items.iter().enumerate().map(|(n, (accession, step))| {
            let steps: Vec<&str> = Some(*step).filter(|step| !step.is_empty()).into_iter().collect();
            let said = mpps("1.9", &steps, PerformedStatus::InProgress, None);
            let mut change = said.changes.into_iter().next().expect("a change");
            change.key = format!("o{n}");
            change.find.identifiers = vec![imaging::uid(STUDY), Identifier::new(None, accession)];
            (change.find.bare, change.find.each) = (true, true);
            // The words of the modality are none of an order.
            let new = OrderChange {
                code: Patch::Set(Concept::words("CT")),
                ..OrderChange::default()
            };
            change.say_if_new = Some(new.into());
            change
        });
        play.takes(&set(changes.collect()));
        let begun = |id: &Uuid| states(&play, *id).1 == [StepStatus::Started];
        (0..2).filter(|n| begun(&orders[*n])).map(|n| n + 1).collect()
    };
    assert_eq!(started("S1", &[("A1", "S1")]), [1]);
    assert_eq!(started("S2", &[("A2", "S2")]), [2]);
    assert_eq!(started("S2", &[("A1", "")]), [1]);
    assert_eq!(started("S2", &[("A1", "S1"), ("A2", "S2")]), [1, 2]);
}

#[test]
fn a_late_plan_takes_back_nothing_that_was_done() {
    let mut play = Play::new();
    let order = play.takes(&ordered(asked(None, &["S1"]))).ids["o"].1;
    play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None));
    let mut late = asked(None, &["S1"]);
    late.steps[0].status = Some(StepStatus::Scheduled);
    play.takes(&ordered(late.clone()));
    assert_eq!(states(&play, order).1, [StepStatus::Started]);
    // What was broken off may be planned anew.
    play.takes(&mpps("1.1", &["S1"], PerformedStatus::Discontinued, None));
    play.takes(&ordered(late));
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Active), vec![StepStatus::Scheduled])
    );
}

#[test]
fn a_request_that_comes_again_moves_no_order_that_was_done() {
    let mut play = Play::new();
    let order = play.takes(&ordered(asked(None, &["S1"]))).ids["o"].1;
    for status in [PerformedStatus::InProgress, PerformedStatus::Completed] {
        play.takes(&mpps("1.1", &["S1"], status, None));
    }
    for status in [OrderStatus::Active, OrderStatus::Revoked] {
        let mut again = ordered(asked(None, &["S1"]));
        if let Body::Order(say) = &mut again.changes[1].say {
            say.status = Patch::Set(status);
            say.status_original = Patch::Set(Concept::words("again"));
            say.patient_instruction = Patch::Set("drink water".to_owned());
        }
        again.changes[1].order_stays_in = vec![OrderStatus::Completed];
        let applied = play.takes(&again);
        assert_eq!(
            states(&play, order),
            (Some(OrderStatus::Completed), vec![StepStatus::Completed])
        );
        // The rest is taken, and what was not is told.
        assert_eq!(
            order_of(&play, order).patient_instruction.as_deref(),
            Some("drink water")
        );
        assert_eq!(order_of(&play, order).status_original, None);
        let kept: Vec<_> = applied.kept.iter().map(|kept| kept.field.as_str()).collect();
        assert_eq!(kept, ["status"]);
    }
}

#[test]
fn what_was_broken_off_is_booked_again_by_a_new_beginning() {
    let at = |time: &str| {
        let mut plan = asked(Some(STUDY), &["S1", "S2"]);
        for step in &mut plan.steps {
            step.start = Some(time.parse().expect("a time"));
        }
        let mut plan = ordered(plan);
        plan.changes[1].order_stays_in = vec![OrderStatus::Completed, OrderStatus::Revoked];
        plan
    };
    let first = "2026-05-05T10:00:00+03:00";
    let broken_off = |play: &mut Play, uid: &str, steps: &[&str]| {
        play.takes(&mpps(uid, steps, PerformedStatus::InProgress, None));
        let mut end = mpps(uid, steps, PerformedStatus::Discontinued, Some("110513"));
        if let Body::Order(say) = &mut end.changes[0].say
            && let Items::Merge(performed) = &mut say.performed
        {
            performed[0].ended = Some("2026-05-04T11:00:00+03:00".parse().expect("a time"));
        }
        play.takes(&end);
    };
    let over = (Some(OrderStatus::Revoked), vec![StepStatus::Discontinued; 2]);
    let planned = (Some(OrderStatus::Active), vec![StepStatus::Scheduled; 2]);
    let mut play = Play::new();
    let order = play.takes(&at(first)).ids["o"].1;
    broken_off(&mut play, "1.1", &["S1", "S2"]);
    assert_eq!(states(&play, order), over);
    // What was planned before, and what was planned for before, says nothing new.
    for late in [first, "2026-05-04T08:00:00+03:00"] {
        play.takes(&at(late));
        assert_eq!(states(&play, order), over, "{late}");
    }
    play.takes(&at("2026-05-06T10:00:00+03:00"));
    assert_eq!(states(&play, order), planned);
    // One is begun, and the other one stays planned.
    play.takes(&mpps("1.2", &["S1"], PerformedStatus::InProgress, None));
    assert_eq!(
        states(&play, order).1,
        [StepStatus::Started, StepStatus::Scheduled]
    );
    play.takes(&mpps("1.2", &["S1"], PerformedStatus::Completed, None));
    assert_eq!(
        states(&play, order),
        (
            Some(OrderStatus::Active),
            vec![StepStatus::Completed, StepStatus::Scheduled]
        )
    );
    // A word that it is active says so too, of what is broken off as a whole.
    let mut play = Play::new();
    let order = play.takes(&at(first)).ids["o"].1;
    broken_off(&mut play, "1.1", &["S1", "S2"]);
    let mut again = at(first);
    again.changes[1].order_stays_in = vec![];
    play.takes(&again);
    assert_eq!(states(&play, order), planned);
    // An order of which a step was done is booked again for the other one.
    let mut play = Play::new();
    let order = play.takes(&at(first)).ids["o"].1;
    for status in [PerformedStatus::InProgress, PerformedStatus::Completed] {
        play.takes(&mpps("1.1", &["S1"], status, None));
    }
    broken_off(&mut play, "1.2", &["S2"]);
    play.takes(&at("2026-05-06T10:00:00+03:00"));
    assert_eq!(
        states(&play, order),
        (
            Some(OrderStatus::Active),
            vec![StepStatus::Completed, StepStatus::Scheduled]
        )
    );
}

#[test]
fn an_appointment_adds_no_step_to_an_order_that_has_several() {
    for appointment_first in [true, false] {
        let mut play = Play::new();
        let mut words = [
            ordered(asked(None, &[""])),
            ordered(asked(Some(STUDY), &["S1", "S2"])),
        ];
        if !appointment_first {
            words.reverse();
        }
        words.iter().for_each(|words| {
            play.takes(words);
        });
        let order = play.takes(&words[0]).ids["o"].1;
        let steps = imaging_of(&play, order).steps.iter();
        let ids: Vec<_> = steps.map(|step| step.id.as_deref()).collect();
        assert_eq!(ids, [Some("S1"), Some("S2")], "{appointment_first}");
    }
}

/// What an appointment of the device CT1 says of its order: of the one with these numbers, else of its own.
fn scheduled(appointment: &str, placer: Option<&str>) -> ChangeSet {
    let own = format!("imaging|{appointment}");
    let numbers = placer.map(|placer| number("HIS", "PLAC", placer));
    let mut imaging = asked(None, &[""]);
    imaging.steps[0].station_name = Some("CT1".to_owned());
    let say = OrderChange {
        identifiers: Items::merge(numbers.into_iter().collect()),
        patient: Patch::Set(local("p")),
        imaging: Patch::Set(imaging),
        ..OrderChange::default()
    };
    let new = OrderChange {
        status: Patch::Set(OrderStatus::Active),
        intent: Patch::Set(OrderIntent::FillerOrder),
        code: Patch::Set(Concept::coded("99", "CT-T", Some("CT torace"))),
        ..OrderChange::default()
    };
    let mut order = Change::new("o", say);
    order.say_if_new = Some(new.into());
    order.find.by_report = placer.is_some();
    order.find.natural = Some(Natural {
        owner: Some(local("p")),
        key: own,
    });
    let booking = AppointmentChange {
        identifiers: Items::merge(vec![number("REC", "PLAC", appointment)]),
        patient: Patch::Set(local("p")),
        status: Patch::Set(AppointmentStatus::Booked),
        orders: Items::merge(vec![local("o")]),
        ..AppointmentChange::default()
    };
    set(vec![
        patient("p", vec![chart("1")], "Pop"),
        order,
        Change::new("a", booking),
    ])
}

/// A new order of this code with the number P1.
fn placed(code: &str, study: Option<&str>) -> ChangeSet {
    let mut words = ordered(asked(study, &["S1"]));
    if let Body::Order(say) = &mut words.changes[1].say {
        say.code = Patch::Set(Concept::coded("LN", code, None));
        say.intent = Patch::Set(OrderIntent::Order);
    }
    words.changes[1].find.by_code = true;
    words
}

fn orders_of_appointment(play: &Play, id: Uuid) -> Vec<Uuid> {
    match &play.record(Kind::Appointment, id).aggregate {
        Aggregate::Appointment(appointment) => appointment.orders.iter().filter_map(Ref::id).collect(),
        _ => panic!("no appointment"),
    }
}

#[test]
fn an_order_that_only_its_appointment_made_is_the_one_that_is_placed() {
    // The appointment names the number when it is booked, or only when it is changed.
    for first in [Some("P1"), None] {
        let mut play = Play::new();
        let made = play.takes(&scheduled("T1", first)).ids["o"].1;
        assert_eq!(play.takes(&scheduled("T1", Some("P1"))).ids["o"].1, made);
        // Whoever schedules has codes of their own; the study is the one that the order names.
        let order = play.takes(&placed("24627-2", Some(STUDY))).ids["o"].1;
        assert_eq!(order, made, "{first:?}");
        assert_eq!(imaging_of(&play, order).study_uid.as_deref(), Some(STUDY));
        assert_eq!(planned_steps(&play, order), ["S1"]);
        assert_eq!(order_of(&play, order).intent, Some(OrderIntent::Order));
        let code = order_of(&play, order).code.as_ref().and_then(Concept::code);
        assert_eq!(code, Some("24627-2"));
        // A further test of the number is one of its own.
        assert_ne!(play.takes(&placed("24628-0", Some("1.2.3"))).ids["o"].1, order);
    }
    // What a modality has begun keeps its study.
    let mut play = Play::new();
    let made = play.takes(&scheduled("T1", Some("P1"))).ids["o"].1;
    let study = imaging_of(&play, made).study_uid.clone();
    play.takes(&mpps("1.1", &[], PerformedStatus::InProgress, None));
    assert_eq!(play.takes(&placed("24627-2", Some(STUDY))).ids["o"].1, made);
    assert_eq!(imaging_of(&play, made).study_uid, study);
    // Of two tests of the number it is the one of its code.
    let mut play = Play::new();
    let made = play.takes(&scheduled("T1", Some("P1"))).ids["o"].1;
    let mut both = placed("24627-2", Some(STUDY));
    let mut second = placed("CT-T", Some("1.2.3")).changes.swap_remove(1);
    second.key = "o2".to_owned();
    if let Body::Order(say) = &mut second.say {
        say.code = Patch::Set(Concept::coded("99", "CT-T", None));
    }
    both.changes.push(second);
    let ids = play.takes(&both).ids;
    assert_eq!(ids["o2"].1, made);
    assert_ne!(ids["o"].1, made);
}

#[test]
fn an_appointment_that_names_an_order_has_no_other_of_its_own() {
    let mut play = Play::new();
    let ids = play.takes(&scheduled("T1", None)).ids;
    let (own, appointment) = (ids["o"].1, ids["a"].1);
    let order = play.takes(&placed("24627-2", Some(STUDY))).ids["o"].1;
    assert_ne!(order, own, "nothing tells so far that they are one");
    assert_eq!(play.takes(&scheduled("T1", Some("P1"))).ids["o"].1, order);
    assert_eq!(orders_of_appointment(&play, appointment), [order]);
    assert_eq!(states(&play, own).0, Some(OrderStatus::EnteredInError));
    assert_eq!(states(&play, order).0, Some(OrderStatus::Active));
    // Said again without the number it stays so.
    play.takes(&scheduled("T1", None));
    assert_eq!(orders_of_appointment(&play, appointment), [order]);
    assert_eq!(states(&play, own).0, Some(OrderStatus::EnteredInError));
}

/// A plan that says all steps of the order.
fn whole(steps: &[&str]) -> ChangeSet {
    let mut plan = ordered(asked(Some(STUDY), steps));
    plan.changes[1].all_steps = true;
    plan
}

fn planned_steps(play: &Play, order: Uuid) -> Vec<String> {
    let steps = imaging_of(play, order).steps.iter();
    steps.filter_map(|step| step.id.clone()).collect()
}

#[test]
fn a_step_that_a_plan_leaves_out_goes_unless_it_was_begun() {
    use PerformedStatus::{Completed, InProgress};
    let mut play = Play::new();
    let order = play.takes(&whole(&["A", "B"])).ids["o"].1;
    assert_eq!(planned_steps(&play, order), ["A", "B"]);
    assert!(play.takes(&whole(&["B", "A"])).writes.is_empty());
    play.takes(&whole(&["A"]));
    assert_eq!(planned_steps(&play, order), ["A"]);
    play.takes(&whole(&["C", "D"]));
    assert_eq!(planned_steps(&play, order), ["C", "D"]);
    // What does not say all of them adds to them.
    play.takes(&ordered(asked(None, &["E"])));
    assert_eq!(planned_steps(&play, order), ["C", "D", "E"]);
    // What a modality works on, and what it has done, stays.
    play.takes(&mpps("1.1", &["C"], InProgress, None));
    play.takes(&whole(&["D"]));
    assert_eq!(planned_steps(&play, order), ["C", "D"]);
    play.takes(&mpps("1.1", &["C"], Completed, None));
    assert_eq!(states(&play, order).0, Some(OrderStatus::Active));
    // Where nothing is left to be done, the order is done.
    play.takes(&whole(&["C"]));
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Completed), vec![StepStatus::Completed])
    );
    // Two plans of one set say it together.
    let mut play = Play::new();
    let order = play.takes(&whole(&["A", "B", "C"])).ids["o"].1;
    let mut both = whole(&["A"]);
    let mut second = whole(&["B"]).changes.swap_remove(1);
    second.key = "o2".to_owned();
    both.changes.push(second);
    play.takes(&both);
    assert_eq!(planned_steps(&play, order), ["A", "B"]);
}

#[test]
fn a_step_that_was_begun_by_mistake_and_is_planned_no_longer_holds_up_no_end() {
    use PerformedStatus::{Completed, Discontinued, InProgress};
    let mut play = Play::new();
    let order = play.takes(&whole(&["A", "B"])).ids["o"].1;
    play.takes(&mpps("1.1", &["A"], InProgress, None));
    play.takes(&mpps("1.1", &["A"], Discontinued, Some("110514")));
    play.takes(&whole(&["B"]));
    assert_eq!(planned_steps(&play, order), ["B"]);
    for status in [InProgress, Completed] {
        play.takes(&mpps("1.2", &["B"], status, None));
    }
    assert_eq!(states(&play, order).0, Some(OrderStatus::Completed));
}

#[test]
fn an_appointment_at_another_device_leaves_no_title_of_the_first() {
    let booked = |name: &str| {
        let mut plan = asked(None, &[""]);
        plan.steps[0].station_name = Some(name.to_owned());
        ordered(plan)
    };
    let device = |name: Option<&str>, appointments: &[&str]| {
        let mut play = Play::new();
        let mut plan = asked(Some(STUDY), &["S1"]);
        plan.steps[0].station_aes = vec!["CT1".to_owned(), "CT2".to_owned()];
        plan.steps[0].station_name = name.map(str::to_owned);
        let order = play.takes(&ordered(plan)).ids["o"].1;
        for name in appointments {
            play.takes(&booked(name));
        }
        let step = &imaging_of(&play, order).steps[0];
        (
            step.station_name.clone().unwrap_or_default(),
            step.station_aes.join(" "),
        )
    };
    let is = |name: &str, titles: &str| (name.to_owned(), titles.to_owned());
    assert_eq!(device(Some("Somatom"), &["CT9"]), is("CT9", ""));
    assert_eq!(device(Some("Somatom"), &["SOMATOM"]), is("SOMATOM", "CT1 CT2"));
    assert_eq!(device(Some("Somatom"), &["ct2"]), is("ct2", "CT2"));
    // How the one who books calls the device is not known at first.
    assert_eq!(device(None, &["TOMO1"]), is("TOMO1", "CT1 CT2"));
    assert_eq!(device(None, &["TOMO1", "TOMO2"]), is("TOMO2", ""));
}

/// Two sites that give out the same accession number, to two patients.
#[test]
fn an_accession_number_of_two_issuers_is_that_of_the_patient() {
    let mut play = Play::new();
    let mut order = |who: &str, issuer: &str, study: &str, step: &str| {
        let mut imaging = asked(Some(study), &[step]);
        imaging.accession = Some("A1".to_owned());
        imaging.accession_issuer = Some(issuer.to_owned());
        let mut words = ordered(imaging);
        words.changes[0] = patient("p", vec![chart(who)], "Pop");
        if let Body::Order(say) = &mut words.changes[1].say {
            say.identifiers = Items::merge(vec![number(issuer, "PLAC", who)]);
        }
        play.takes(&words).ids["o"].1
    };
    let anas = order("1", "RISA", "1.2.1", "S1");
    let bobs = order("2", "RISB", "1.2.2", "S1");
    let second = order("2", "RISC", "1.2.3", "S3");
    let of = |applied: &clinic::Applied, play: &Play| {
        let orders = &study(play, applied.ids["study"].1).orders;
        orders.iter().filter_map(Ref::id).collect::<Vec<_>>()
    };
    let applied = play.takes(&stored("1", "POP", "1.9.1", Some("A1"), "1.9.1.1", "aa"));
    assert_eq!(of(&applied, &play), [anas]);
    // Of his two the images name the issuer; where they do not, nothing is guessed.
    let applied = play.takes(&stored("2", "POP", "1.9.2", Some("A1"), "1.9.2.1", "bb"));
    assert!(of(&applied, &play).is_empty());
    let mut named = stored("2", "POP", "1.9.3", Some("A1"), "1.9.3.1", "cc");
    if let Body::ImagingStudy(say) = &mut named.changes[1].say
        && let Items::Merge(numbers) = &mut say.identifiers
    {
        numbers[1].assigner = Some("RISB".to_owned());
    }
    let applied = play.takes(&named);
    assert_eq!(of(&applied, &play), [bobs]);
    // What a modality begins.
    let begun = |uid: &str, step: &str, who: &str, accession: &str| {
        let mut said = mpps(uid, &[step], PerformedStatus::InProgress, None);
        said.changes[0].find.identifiers = vec![imaging::uid("1.9.9"), Identifier::new(None, accession)];
        (said.changes[0].find.bare, said.changes[0].find.each) = (true, true);
        if let Body::Order(say) = &mut said.changes[0].say {
            say.identifiers = Items::Absent;
            say.patient = Patch::Set(local("p"));
        }
        said.changes.push(patient("p", vec![chart(who)], ""));
        said
    };
    play.takes(&begun("1.7.1", "S1", "2", "A1"));
    let has_begun = |id: Uuid, play: &Play| states(play, id).1 == [StepStatus::Started];
    assert!(has_begun(bobs, &play) && !has_begun(anas, &play) && !has_begun(second, &play));
    // A number that is nobody's but hers is hers.
    let mut only_hers = begun("1.7.2", "S1", "2", "A1");
    only_hers.changes[0].find.identifiers[0] = imaging::uid("1.2.1");
    assert!(matches!(play.tries(&only_hers), Err(ApplyError::Parked { .. })));
}

/// What a modality did unplanned of the patient with chart number 1, under this study UID.
fn unplanned(study: &str, status: PerformedStatus) -> ChangeSet {
    let performed = PerformedStep {
        uid: format!("{study}.9"),
        status: Some(status),
        ..PerformedStep::default()
    };
    let say = OrderChange {
        patient: Patch::Set(local("p")),
        performed: Items::merge(vec![performed]),
        ..OrderChange::default()
    };
    let new = OrderChange {
        identifiers: Items::merge(vec![imaging::uid(study)]),
        status: Patch::Set(OrderStatus::Active),
        ..OrderChange::default()
    };
    let mut change = Change::new("o", say);
    change.find.identifiers = vec![imaging::uid(study)];
    change.find.bare = true;
    change.say_if_new = Some(new.into());
    set(vec![patient("p", vec![chart("1")], "Pop"), change])
}

#[test]
fn what_was_done_unplanned_has_its_images_and_becomes_the_order_that_is_made_for_it() {
    use PerformedStatus::{Completed, InProgress};
    for images_first in [true, false] {
        let mut play = Play::new();
        play.takes(&set(vec![patient("p", vec![chart("1")], "Pop")]));
        let images = stored("1", "POP", STUDY, None, "1.2.1", "aa");
        if images_first {
            play.takes(&images);
        }
        let done = play.takes(&unplanned(STUDY, InProgress)).ids["o"].1;
        play.takes(&unplanned(STUDY, Completed));
        let of = play.takes(&images).ids["study"].1;
        assert_eq!(
            study(&play, of).orders,
            [Ref::Id(Kind::Order, done)],
            "{images_first}"
        );
        let mut afterwards = ordered(asked(Some(STUDY), &["S1"]));
        afterwards.changes[1].order_stays_in = vec![OrderStatus::Completed];
        assert_eq!(play.takes(&afterwards).ids["o"].1, done);
        assert_eq!(
            states(&play, done),
            (Some(OrderStatus::Completed), vec![StepStatus::Completed])
        );
        assert_eq!(play.count(Kind::Order), 1);
        // A second order of the study is one of its own.
        let mut second = ordered(asked(Some(STUDY), &["S2"]));
        if let Body::Order(say) = &mut second.changes[1].say {
            say.identifiers = Items::merge(vec![number("HIS", "PLAC", "P2")]);
        }
        assert_ne!(play.takes(&second).ids["o"].1, done);
    }
}

#[test]
fn an_order_with_the_numbers_of_somebody_elses_examination_is_parked() {
    let of = |who: &str, placer: &str, study: Option<&str>, accession: Option<&str>| {
        let mut plan = asked(study, &["S1"]);
        plan.accession = accession.map(str::to_owned);
        let mut words = ordered(plan);
        words.changes[0] = patient("p", vec![chart(who)], "");
        if let Body::Order(say) = &mut words.changes[1].say {
            say.identifiers = Items::merge(vec![number("HIS", "PLAC", placer)]);
        }
        words
    };
    let mut play = Play::new();
    let first = play.takes(&of("1", "P1", Some(STUDY), Some("A1"))).ids["o"].1;
    play.takes(&of("1", "P2", Some(STUDY), Some("A1")));
    let by_study = of("2", "P3", Some(STUDY), None);
    let (why, candidates) = play.parks(&by_study);
    assert!(why.contains("study UID"), "{why}");
    assert_eq!(candidates[0].id, first);
    let (why, _) = play.parks(&of("2", "P3", None, Some("A1")));
    assert!(why.contains("accession number"), "{why}");
    // Images that nobody ordered are somebody's too.
    play.takes(&stored("1", "POP", "1.9", None, "1.9.1", "aa"));
    let (why, candidates) = play.parks(&of("2", "P3", Some("1.9"), None));
    assert!(why.contains("study UID") && candidates.is_empty(), "{why}");
    // Who gives numbers of their own, and an examination that is over, are no hindrance.
    let mut elsewhere = of("2", "P4", None, Some("A1"));
    if let Body::Order(say) = &mut elsewhere.changes[1].say {
        say.status = Patch::Set(OrderStatus::Completed);
    }
    play.takes(&elsewhere);
    // A person decides that it is another order all the same.
    play.decisions = vec![Decision {
        key: "o".to_owned(),
        choice: Choice::New,
    }];
    play.takes(&by_study);
}

#[test]
fn an_end_that_a_person_wrote_stays() {
    let mut play = Play::new();
    let order = play.takes(&ordered(asked(None, &["S1"]))).ids["o"].1;
    play.actor = Some("reception");
    let mut cancelled = OrderChange {
        identifiers: Items::merge(vec![number("HIS", "PLAC", "P1")]),
        ..OrderChange::default()
    };
    cancelled.status = Patch::Set(OrderStatus::Revoked);
    play.takes(&set(vec![Change::new("o", cancelled)]));
    play.actor = None;
    play.takes(&mpps("1.1", &["S1"], PerformedStatus::InProgress, None));
    assert_eq!(
        states(&play, order),
        (Some(OrderStatus::Revoked), vec![StepStatus::Started])
    );
}

/// Objects as a modality sends them: whose, of which study, what.
fn stored(
    who: &str,
    family: &str,
    study: &str,
    accession: Option<&str>,
    object: &str,
    content: &str,
) -> ChangeSet {
    let mut whose = patient("patient", vec![chart(who)], "");
    whose.find.missing = Missing::Skip;
    whose.say_if_new = Some(
        PatientChange {
            names: Items::merge(vec![named(family)]),
            ..PatientChange::default()
        }
        .into(),
    );
    let mut identifiers: Vec<Identifier> = vec![imaging::uid(study)];
    identifiers.extend(accession.map(|value| imaging::accession(value, None)));
    let images = ImagingStudyChange {
        identifiers: Items::merge(identifiers),
        patient: Patch::Set(local("patient")),
        status: Patch::Set(ImagingStudyStatus::Available),
        series: Items::merge(vec![Series {
            uid: format!("{study}.1"),
            modality: Some("CT".to_owned()),
            ..Series::default()
        }]),
        ..ImagingStudyChange::default()
    };
    let one = ImagingInstanceChange {
        identifiers: Items::merge(vec![imaging::uid(object)]),
        study: Patch::Set(local("study")),
        series_uid: Patch::Set(format!("{study}.1")),
        content: Patch::Set(content.to_owned()),
        ..ImagingInstanceChange::default()
    };
    set(vec![
        whose,
        Change::new("study", images),
        Change::new("instance", one),
    ])
}

fn study(play: &Play, id: Uuid) -> &ImagingStudy {
    match &play.record(Kind::ImagingStudy, id).aggregate {
        Aggregate::ImagingStudy(study) => study,
        _ => panic!("no study"),
    }
}

fn instance(play: &Play, id: Uuid) -> &ImagingInstance {
    match &play.record(Kind::ImagingInstance, id).aggregate {
        Aggregate::ImagingInstance(instance) => instance,
        _ => panic!("no object"),
    }
}

#[test]
fn a_study_finds_its_order_and_each_object_is_one_aggregate() {
    let mut play = Play::new();
    let mut say = asked(Some(STUDY), &["S1"]);
    say.accession = Some("A1".to_owned());
    let ids = play.takes(&ordered(say)).ids;
    let (order, who) = (ids["o"].1, ids["p"].1);
    let applied = play.takes(&stored("1", "POP", STUDY, None, "1.2.1", "aa"));
    let (_, id) = applied.ids["study"];
    let verbs: Vec<&str> = applied.writes.iter().map(|write| write.verb).collect();
    assert_eq!(verbs, ["available", "created"]);
    assert_eq!(
        study(&play, id)
            .orders
            .iter()
            .map(|one| one.id())
            .collect::<Vec<_>>(),
        [Some(order)]
    );
    assert_eq!(
        study(&play, id).patient.as_ref().and_then(|one| one.id()),
        Some(who)
    );
    // The next image leaves the study as it is.
    let applied = play.takes(&stored("1", "POP", STUDY, None, "1.2.2", "bb"));
    assert_eq!(applied.writes.len(), 1);
    let key = FindKey::referring(Kind::ImagingInstance, id);
    assert_eq!(play.clinic.find(&key).expect("read").len(), 2);
    let object = applied.ids["instance"].1;
    assert_eq!(
        instance(&play, object).patient.as_ref().and_then(|one| one.id()),
        Some(who)
    );
    assert_eq!(study(&play, id).uid(), Some(STUDY));
    assert_eq!(instance(&play, object).uid(), Some("1.2.2"));
    // A study whose UID no order has is that of the order with its accession number.
    let applied = play.takes(&stored("1", "POP", "1.9", Some("A1"), "1.9.1", "cc"));
    assert_eq!(study(&play, applied.ids["study"].1).orders.len(), 1);
    // And one that neither names is kept without.
    let applied = play.takes(&stored("1", "POP", "1.8", Some("A2"), "1.8.1", "dd"));
    assert!(study(&play, applied.ids["study"].1).orders.is_empty());
    assert_eq!(play.count(Kind::ImagingStudy), 3);
}

#[test]
fn an_order_that_comes_after_its_images_finds_them() {
    let mut play = Play::new();
    play.takes(&set(vec![
        patient("p", vec![chart("1")], "Pop"),
        patient("q", vec![chart("2")], "Rusu"),
    ]));
    let by_uid = play.takes(&stored("1", "POP", STUDY, None, "1.2.1", "aa")).ids["study"].1;
    let by_number = play
        .takes(&stored("1", "POP", "1.9", Some("A1"), "1.9.1", "bb"))
        .ids["study"]
        .1;
    let others = play
        .takes(&stored("2", "RUSU", "1.8", Some("A1"), "1.8.1", "cc"))
        .ids["study"]
        .1;
    let mut say = asked(Some(STUDY), &["S1"]);
    say.accession = Some("A1".to_owned());
    let order = play.takes(&ordered(say)).ids["o"].1;
    let orders = |id: Uuid| {
        study(&play, id)
            .orders
            .iter()
            .map(|one| one.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(orders(by_uid), [Some(order)]);
    assert_eq!(orders(by_number), [Some(order)]);
    assert_eq!(orders(others), []);
}

/// A report that names nothing but its study.
fn reported(who: &str, uid: &str, key: &str) -> ChangeSet {
    let examination = Imaging {
        study_uid: Some(uid.to_owned()),
        ..Imaging::default()
    };
    let say = OrderChange {
        patient: Patch::Set(local("p")),
        ..OrderChange::default()
    };
    let new = OrderChange {
        imaging: Patch::Set(examination),
        ..OrderChange::default()
    };
    let mut change = Change::new("o", say);
    change.say_if_new = Some(new.into());
    change.find.identifiers = vec![imaging::uid(uid)];
    change.find.by_report = true;
    change.find.natural = Some(clinic::change_set::Natural {
        owner: Some(local("p")),
        key: key.to_owned(),
    });
    set(vec![patient("p", vec![chart(who)], ""), change])
}

#[test]
fn a_report_of_a_study_is_of_the_order_of_the_study() {
    let mut play = Play::new();
    let mut say = asked(Some(STUDY), &["S1"]);
    say.accession = Some("A1".to_owned());
    let order = play.takes(&ordered(say)).ids["o"].1;
    play.takes(&stored("1", "POP", "1.9", Some("A1"), "1.9.1", "aa"));
    assert_eq!(play.takes(&reported("1", STUDY, "a")).ids["o"].1, order);
    assert_eq!(play.takes(&reported("1", "1.9", "b")).ids["o"].1, order);
    // One that nobody ordered is an order of its own then, and its study's.
    let unplanned = play.takes(&stored("1", "POP", "1.8", None, "1.8.1", "bb")).ids["study"].1;
    let own = play.takes(&reported("1", "1.8", "c")).ids["o"].1;
    assert_ne!(own, order);
    assert_eq!(study(&play, unplanned).orders, [Ref::Id(Kind::Order, own)]);
    assert_eq!(play.takes(&reported("1", "1.8", "c")).ids["o"].1, own);
    // Nobody else's.
    play.takes(&set(vec![patient("q", vec![chart("2")], "Rusu")]));
    assert_ne!(play.takes(&reported("2", STUDY, "d")).ids["o"].1, order);
}

#[test]
fn unplanned_images_with_the_number_of_somebody_else_are_parked() {
    let mut play = Play::new();
    let who = play.takes(&set(vec![patient("p", vec![chart("1")], "Pop")])).ids["p"].1;
    let (why, candidates) = play.parks(&stored("1", "IONESCU", STUDY, None, "1.2.1", "aa"));
    assert!(why.contains("a patient of another name"), "{why}");
    assert_eq!(candidates[0].id, who);
    assert_eq!(play.count(Kind::ImagingStudy), 0);
    // Without a name the number alone tells whose they are; the same name in other letters is the same.
    let mut nameless = stored("1", "", "1.9", None, "1.9.1", "bb");
    nameless.changes[0].say_if_new = None;
    play.takes(&nameless);
    play.takes(&stored("1", "pop", STUDY, None, "1.2.1", "aa"));
    // A person's word stands.
    play.decisions = vec![Decision {
        key: "patient".to_owned(),
        choice: Choice::Is(who),
    }];
    play.takes(&stored("1", "IONESCU", "1.8", None, "1.8.1", "cc"));
    assert_eq!(play.count(Kind::ImagingStudy), 3);
}

#[test]
fn what_a_person_says_of_one_object_holds_for_its_study_under_that_name() {
    let mut play = Play::new();
    let who = play.takes(&set(vec![patient("p", vec![chart("1")], "Pop")])).ids["p"].1;
    let other = play.takes(&set(vec![patient("p", vec![chart("2")], "Rusu")])).ids["p"].1;
    let named = |family: &str, number: &str, object: &str| stored(number, family, STUDY, None, object, "aa");
    play.parks(&named("IONESCU", "1", "1.2.1"));
    play.parks(&named("IONESCU", "1", "1.2.2"));
    play.decisions = vec![Decision {
        key: "patient".to_owned(),
        choice: Choice::Is(who),
    }];
    play.takes(&named("IONESCU", "1", "1.2.1"));
    play.decisions.clear();
    for object in ["1.2.2", "1.2.3"] {
        let ids = play.takes(&named("Ionescu", "1", object)).ids;
        assert_eq!(
            study(&play, ids["study"].1).patient.as_ref().and_then(Ref::id),
            Some(who)
        );
    }
    // Under another name or number it is another question, and in another study too.
    play.parks(&named("MARIN", "1", "1.2.4"));
    play.parks(&named("RUSU", "2", "1.2.5"));
    play.parks(&stored("1", "IONESCU", "1.9", None, "1.9.1", "bb"));
    // Said of a study that was whole before: nothing of it differs but what was decided.
    play.decisions = vec![Decision {
        key: "patient".to_owned(),
        choice: Choice::Is(who),
    }];
    play.takes(&named("RUSU", "2", "1.2.5"));
    play.decisions.clear();
    play.takes(&named("RUSU", "2", "1.2.6"));
    let hers = |id: Uuid| {
        play.clinic
            .all(Kind::ImagingStudy)
            .iter()
            .filter(|one| one.aggregate.patient().and_then(Ref::id) == Some(id))
            .count()
    };
    assert_eq!((hers(who), hers(other)), (1, 0));
}

#[test]
fn unplanned_images_of_another_authority_or_birth_date_are_parked() {
    let mut play = Play::new();
    let mut who = patient("p", vec![chart("1")], "Pop");
    if let Body::Patient(say) = &mut who.say {
        say.birth_date = Patch::Set("1980-01-02".parse().expect("a date"));
    }
    play.takes(&set(vec![who]));
    let images = |issuer: Option<&str>, born: Option<&str>| {
        let mut images = stored("1", "POP", STUDY, None, "1.2.1", "aa");
        let patient = &mut images.changes[0];
        patient.find.bare = true;
        patient.find.identifiers = vec![Identifier {
            assigner: issuer.map(str::to_owned),
            ..Identifier::new(None, "1")
        }];
        if let Some(Body::Patient(say)) = &mut patient.say_if_new {
            say.birth_date = born.map(|born| born.parse().expect("a date")).into();
        }
        images
    };
    for (issuer, born) in [
        (None, None),
        (Some("nord"), None),
        (Some("NORD"), Some("1980-01-02")),
        (None, Some("1980")),
    ] {
        assert!(play.tries(&images(issuer, born)).is_ok(), "{issuer:?} {born:?}");
    }
    let (why, _) = play.parks(&images(Some("SUD"), None));
    assert!(why.contains("from another authority"), "{why}");
    let (why, _) = play.parks(&images(None, Some("1980-02-01")));
    assert!(why.contains("another birth date"), "{why}");
}

#[test]
fn who_gave_a_number_tells_two_patients_with_it_apart() {
    let mut play = Play::new();
    let of = |authority: &str, family: &str| {
        let own = patient("p", vec![number(authority, "MR", "7")], family);
        set(vec![own])
    };
    play.takes(&of("NORD", "Unu"));
    let second = play.takes(&of("SUD", "Doi")).ids["p"].1;
    let images = |issuer: Option<&str>, family: &str| {
        let mut images = stored("7", family, "1.9", None, "1.9.1", "aa");
        images.changes[0].find.bare = true;
        images.changes[0].find.identifiers = vec![Identifier {
            assigner: issuer.map(str::to_owned),
            ..Identifier::new(None, "7")
        }];
        images
    };
    for (issuer, family) in [(None, "Doi"), (Some("WEST"), "Doi"), (Some("NORD"), "Doi")] {
        play.parks(&images(issuer, family));
    }
    let found = play.takes(&images(Some("SUD"), "DOI")).ids["study"].1;
    assert_eq!(study(&play, found).patient, Some(Ref::Id(Kind::Patient, second)));
}

#[test]
fn images_begin_a_chart_only_where_the_channel_says_so() {
    let unless_said = |who: &str| {
        let mut images = stored(who, "POP", STUDY, None, "1.2.1", "aa");
        images.changes[0].find.missing = Missing::SkipUnlessSaid;
        images
    };
    let mut play = Play::new();
    for careful in [OnUnmatched::Create, OnUnmatched::Park] {
        play.on_unmatched = careful;
        let (why, _) = play.parks(&unless_said("1"));
        assert!(
            why.starts_with("No patient here is the one that the images name"),
            "{why}"
        );
    }
    play.on_unmatched = OnUnmatched::CreateSaid;
    let ids = play.takes(&unless_said("1")).ids;
    let of = study(&play, ids["study"].1).patient.as_ref().and_then(Ref::id);
    assert_eq!(of, Some(ids["patient"].1));
    // The next image finds them both.
    let mut second = unless_said("1");
    if let Some(change) = second.changes.last_mut() {
        change.find.identifiers = vec![imaging::uid("1.2.2")];
    }
    play.takes(&second);
    assert_eq!(
        (play.count(Kind::Patient), play.count(Kind::ImagingStudy)),
        (1, 1)
    );
}

#[test]
fn images_of_somebody_else_than_the_order_names_are_parked() {
    let mut play = Play::new();
    let ids = play.takes(&ordered(asked(Some(STUDY), &["S1"]))).ids;
    let other = play.takes(&set(vec![patient("q", vec![chart("2")], "Rusu")])).ids["q"].1;
    let cases = [("2", "RUSU"), ("9", "POP"), ("1", "IONESCU")];
    for (who, family) in cases {
        let (why, candidates) = play.parks(&stored(who, family, STUDY, None, "1.2.1", "aa"));
        assert!(why.starts_with("The images name"), "{why}");
        assert_eq!(candidates[0].id, ids["p"].1);
    }
    assert_eq!(
        play.count(Kind::ImagingStudy) + play.count(Kind::ImagingInstance),
        0
    );
    // A person says whose they are: those of the order, or somebody else's, and then not of the order.
    let decide = |play: &mut Play, who: Uuid, study: &str| {
        play.decisions = vec![Decision {
            key: "patient".to_owned(),
            choice: Choice::Is(who),
        }];
        let applied = play.takes(&stored("2", "RUSU", study, None, &format!("{study}.9"), "aa"));
        play.decisions.clear();
        applied.ids["study"].1
    };
    let id = decide(&mut play, other, STUDY);
    assert!(study(&play, id).orders.is_empty());
    assert_eq!(
        study(&play, id).patient.as_ref().and_then(|one| one.id()),
        Some(other)
    );
    // Nobody here, and no order: parked too.
    let (why, candidates) = play.parks(&stored("9", "POP", "1.7", None, "1.7.1", "aa"));
    assert!(why.contains("No patient here"), "{why}");
    assert!(candidates.is_empty());
}

#[test]
fn names_are_compared_as_people_read_them() {
    let mut play = Play::new();
    play.takes(&ordered(asked(Some(STUDY), &["S1"])));
    let mut words = ordered(asked(Some("1.3"), &[]));
    words.changes[0] = patient("p", vec![chart("3")], "Ștefănescu-Pop");
    if let clinic::Body::Order(say) = &mut words.changes[1].say {
        say.identifiers = Items::merge(vec![number("HIS", "PLAC", "P3")]);
    }
    play.takes(&words);
    play.takes(&stored("3", "STEFANESCU", "1.3", None, "1.3.1", "aa"));
    play.parks(&stored("3", "STEFAN", "1.3", None, "1.3.2", "aa"));
}

#[test]
fn another_object_of_the_same_number_is_parked_and_the_first_kept() {
    let mut play = Play::new();
    play.takes(&ordered(asked(Some(STUDY), &["S1"])));
    let first = play.takes(&stored("1", "POP", STUDY, None, "1.2.1", "aa"));
    assert!(
        play.takes(&stored("1", "POP", STUDY, None, "1.2.1", "aa"))
            .writes
            .is_empty()
    );
    let (why, _) = play.parks(&stored("1", "POP", STUDY, None, "1.2.1", "bb"));
    assert!(why.contains("other content"), "{why}");
    let object = first.ids["instance"].1;
    assert_eq!(instance(&play, object).content.as_deref(), Some("aa"));
}

#[test]
fn the_first_image_speaks_for_its_series() {
    let mut play = Play::new();
    play.takes(&ordered(asked(Some(STUDY), &["S1"])));
    let named = |object: &str, description: Option<&str>| {
        let mut words = stored("1", "POP", STUDY, None, object, object);
        if let clinic::Body::ImagingStudy(say) = &mut words.changes[1].say
            && let Items::Merge(series) = &mut say.series
        {
            series[0].description = description.map(str::to_owned);
        }
        words
    };
    let id = play.takes(&named("1.2.1", None)).ids["study"].1;
    assert_eq!(play.takes(&named("1.2.2", Some("axial"))).writes.len(), 2);
    assert_eq!(play.takes(&named("1.2.3", Some("sagital"))).writes.len(), 1);
    assert_eq!(play.takes(&named("1.2.4", None)).writes.len(), 1);
    assert_eq!(study(&play, id).series[0].description.as_deref(), Some("axial"));
}

#[test]
fn uids_are_known_by_their_form() {
    for good in [
        "1",
        "1.0",
        "2.25.340282366920938463463374607431768211455",
        &"1".repeat(64),
    ] {
        assert!(imaging::is_uid(good), "{good}");
    }
    for bad in ["", ".", "1.", "1..2", "1.01", "a", "1.2 ", &"1".repeat(65)] {
        assert!(!imaging::is_uid(bad), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever modalities say in whatever order: the same twice is once, an end is final, and the order's state is what
    /// follows from all that was said.
    #[test]
    fn states_follow_from_what_was_said(
        words in prop::collection::vec(
            (
                0usize..3,
                prop::sample::subsequence(vec!["S1", "S2"], 0..3),
                prop::sample::select(PerformedStatus::ALL.to_vec()),
                prop::option::of(prop::sample::select(vec!["110514", "110501"])),
            ),
            1..8,
        )
    ) {
        let mut play = Play::new();
        let mut plan = ordered(asked(Some(STUDY), &["S1", "S2"]));
        if let clinic::Body::Order(say) = &mut plan.changes[1].say {
            say.status = Patch::Set(OrderStatus::Active);
        }
        let order = play.takes(&plan).ids["o"].1;
        let mut ended: Vec<PerformedStep> = vec![];
        for (uid, steps, status, reason) in words {
            let said = mpps(&format!("1.{uid}"), &steps, status, reason);
            let Ok(applied) = play.tries(&said) else {
                let known = ended.iter().find(|one| one.uid == format!("1.{uid}"));
                prop_assert!(known.is_some(), "only of what has ended nothing more is taken");
                continue;
            };
            play.clinic.commit(&applied).expect("nothing moved");
            prop_assert!(play.tries(&said).is_ok_and(|again| again.writes.is_empty()));
            let now = order_of(&play, order);
            for one in &ended {
                prop_assert!(now.performed.iter().any(|known| known.uid == one.uid && known.status == one.status));
            }
            ended = now.performed.iter().filter(|one| one.status != Some(PerformedStatus::InProgress)).cloned().collect();
            let progress = imaging::progress(now).expect("something was said");
            prop_assert_eq!(now.status, Some(imaging::order_status(progress)));
            let begun = now.performed.iter().any(|one| one.status == Some(PerformedStatus::InProgress));
            prop_assert_eq!(begun, now.performed.len() != ended.len());
            if begun {
                prop_assert_eq!(progress, imaging::Progress::Started);
            }
        }
    }
}
