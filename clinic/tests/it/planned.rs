//! What is planned, in memory: never less is found than a worklist tells, whatever came in which order.

use std::collections::BTreeMap;

use clinic::aggregate::{Meta, Source};
use clinic::ask::{Found, WorklistQuestion};
use clinic::diagnostics::{Order, OrderStatus};
use clinic::imaging::{Imaging, ImagingStep, PerformedStatus, PerformedStep, StepStatus};
use clinic::people::Patient;
use clinic::planned::{Planned, PlannedQuery};
use clinic::scheduling::{Appointment, AppointmentStatus};
use clinic::value::{Ref, When};
use clinic::worklist::entries;
use clinic::{Aggregate, Kind, Record};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use uuid::Uuid;

const PATIENT: u128 = 1;
const ORDERS: u128 = 100;
const APPOINTMENTS: u128 = 200;

fn record(id: u128, version: u64, aggregate: impl Into<Aggregate>) -> Record {
    Record {
        meta: Meta {
            id: Uuid::from_u128(id),
            site: None,
            version,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Actor {
                name: "test".to_owned(),
                message: None,
            },
            held: Default::default(),
        },
        aggregate: aggregate.into(),
    }
}

fn step(modality: &str, station: &str, start: Option<&str>) -> ImagingStep {
    ImagingStep {
        id: Some("S".to_owned()),
        modality: Some(modality.to_owned()).filter(|text| !text.is_empty()),
        station_aes: Some(station.to_owned())
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
        start: start.map(|start| start.parse().expect("a moment")),
        ..ImagingStep::default()
    }
}

/// Its number is its accession number.
fn order(number: u128, version: u64, status: OrderStatus, steps: Vec<ImagingStep>) -> Record {
    let order = Order {
        patient: Some(Ref::Id(Kind::Patient, Uuid::from_u128(PATIENT))),
        status: Some(status),
        imaging: Some(Imaging {
            accession: Some(number.to_string()),
            steps,
            ..Imaging::default()
        }),
        ..Order::default()
    };
    record(ORDERS + number, version, order)
}

fn appointment(
    number: u128,
    version: u64,
    status: AppointmentStatus,
    start: Option<&str>,
    orders: &[u128],
) -> Record {
    let of = |number: &u128| Ref::Id(Kind::Order, Uuid::from_u128(ORDERS + number));
    let appointment = Appointment {
        status: Some(status),
        start: start.map(|start| start.parse().expect("a moment")),
        orders: orders.iter().map(of).collect(),
        ..Appointment::default()
    };
    record(APPOINTMENTS + number, version, appointment)
}

fn query(question: WorklistQuestion) -> PlannedQuery {
    PlannedQuery {
        question,
        patients: None,
        zone: TimeZone::get("Europe/Bucharest").expect("a zone"),
        today: date(2026, 11, 27),
    }
}

fn on(from: Option<Date>, to: Option<Date>) -> WorklistQuestion {
    WorklistQuestion {
        from,
        to,
        ..WorklistQuestion::default()
    }
}

fn found(planned: &Planned, asked: &PlannedQuery) -> Vec<u128> {
    let ids = planned.find(asked).into_iter();
    ids.map(|id| id.as_u128() - ORDERS).collect()
}

#[test]
fn only_what_may_be_meant_is_found() {
    let mut planned = Planned::default();
    let active = OrderStatus::Active;
    planned.put(&order(
        1,
        1,
        active,
        vec![step("CT", "CT1", Some("2026-11-27T08:30:00+02:00"))],
    ));
    planned.put(&order(2, 1, active, vec![step("MR", "", Some("2026-11-27"))]));
    planned.put(&order(3, 1, active, vec![step("CT", "CT2", None)]));
    planned.put(&order(4, 1, OrderStatus::OnHold, vec![step("CT", "CT1", None)]));
    // By the clock of the clinic this is the 28th.
    planned.put(&order(
        5,
        1,
        active,
        vec![step("CT", "CT1", Some("2026-11-27T23:30:00Z"))],
    ));
    let day = |number: i8| Some(date(2026, 11, number));
    let today = || on(day(27), day(27));
    assert_eq!(found(&planned, &query(WorklistQuestion::default())), [1, 2, 3, 5]);
    assert_eq!(found(&planned, &query(today())), [1, 2, 3]);
    assert_eq!(found(&planned, &query(on(day(28), None))), [5]);
    let ct = WorklistQuestion {
        modalities: vec!["CT".to_owned()],
        ..today()
    };
    assert_eq!(found(&planned, &query(ct)), [1, 3]);
    let ct1 = WorklistQuestion {
        stations: vec!["CT1".to_owned()],
        ..today()
    };
    assert_eq!(found(&planned, &query(ct1.clone())), [1, 2], "no station is any");
    let nobody = PlannedQuery {
        patients: Some(Default::default()),
        ..query(today())
    };
    assert!(found(&planned, &nobody).is_empty());
    // Booked for another day, moved, called off.
    let booked = AppointmentStatus::Booked;
    planned.put(&appointment(
        1,
        1,
        booked,
        Some("2026-12-03T09:00:00+02:00"),
        &[3],
    ));
    assert_eq!(found(&planned, &query(today())), [1, 2]);
    let december = |number: i8| Some(date(2026, 12, number));
    assert_eq!(found(&planned, &query(on(december(3), december(3)))), [3]);
    planned.put(&appointment(
        1,
        2,
        booked,
        Some("2026-12-04T09:00:00+02:00"),
        &[3],
    ));
    assert!(found(&planned, &query(on(december(3), december(3)))).is_empty());
    // An older version that comes late changes nothing.
    planned.put(&appointment(
        1,
        1,
        booked,
        Some("2026-12-03T09:00:00+02:00"),
        &[3],
    ));
    assert!(found(&planned, &query(on(december(3), december(3)))).is_empty());
    planned.put(&appointment(1, 3, AppointmentStatus::Cancelled, None, &[3]));
    assert_eq!(found(&planned, &query(today())), [1, 2, 3]);
    // Done, and taken up again.
    planned.put(&order(
        1,
        2,
        OrderStatus::Completed,
        vec![step("CT", "CT1", None)],
    ));
    assert!(found(&planned, &query(ct1.clone())) == [2]);
    planned.put(&order(1, 3, active, vec![step("CT", "CT1", Some("2026-11-27"))]));
    assert_eq!(found(&planned, &query(ct1)), [1, 2]);
}

#[test]
fn what_was_changed_unseen_is_found_on_any_day_until_all_is_in() {
    let mut planned = Planned::default();
    let steps = || vec![step("CT", "CT1", Some("2026-11-27"))];
    planned.put(&order(1, 5, OrderStatus::Active, steps()));
    let far = query(on(Some(date(2027, 1, 1)), None));
    assert_eq!(found(&planned, &far), [1], "it may have an appointment then");
    let orders: Vec<Uuid> = planned.orders().collect();
    planned.all_are_in(&orders);
    assert!(found(&planned, &far).is_empty());
    planned.put(&order(1, 6, OrderStatus::Active, steps()));
    assert!(found(&planned, &far).is_empty());
}

#[test]
fn what_was_begun_and_not_ended_is_known() {
    let mut planned = Planned::default();
    let begun = |version, status| {
        let mut record = order(1, version, OrderStatus::Active, vec![step("CT", "", None)]);
        if let Aggregate::Order(order) = &mut record.aggregate {
            order.performed = vec![PerformedStep {
                uid: "1.2".to_owned(),
                status: Some(status),
                station_ae: Some("CT1".to_owned()),
                started: "2026-11-27T08:30:00+02:00".parse().ok(),
                ..PerformedStep::default()
            }];
        }
        record
    };
    planned.put(&begun(1, PerformedStatus::InProgress));
    let known: Vec<_> = planned.begun().cloned().collect();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].station.as_deref(), Some("CT1"));
    assert_eq!(known[0].since.to_string(), "2026-11-27T06:30:00Z");
    planned.put(&begun(2, PerformedStatus::Completed));
    assert_eq!(planned.begun().count(), 0);
}

#[test]
fn an_older_version_that_comes_after_one_without_anything_changes_nothing() {
    let mut planned = Planned::default();
    planned.put(&order(1, 1, OrderStatus::Active, vec![step("CT", "", None)]));
    planned.put(&appointment(1, 2, AppointmentStatus::Booked, None, &[]));
    planned.put(&appointment(
        1,
        1,
        AppointmentStatus::Booked,
        Some("2026-11-01"),
        &[1],
    ));
    let today = PlannedQuery {
        question: on(Some(date(2026, 11, 27)), Some(date(2026, 11, 27))),
        patients: None,
        zone: TimeZone::UTC,
        today: date(2026, 11, 27),
    };
    assert_eq!(
        found(&planned, &today).len(),
        1,
        "it is on no day, so it is told today"
    );
    planned.in_order_from_here();
    planned.put(&appointment(
        1,
        3,
        AppointmentStatus::Booked,
        Some("2026-11-01"),
        &[1],
    ));
    assert!(found(&planned, &today).is_empty());
}

/// Days, moments around midnight, a month, nothing.
fn start() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("2026-11-27")),
        Just(Some("2026-11-28")),
        Just(Some("2026-11")),
        Just(Some("2026-11-26T22:30:00Z")),
        Just(Some("2026-11-27T23:59:59+02:00")),
        Just(Some("2026-11-27T12:00:00Z")),
        Just(Some("2026-11-28T00:00:00+13:00")),
        Just(Some("2026-11-30T08:00:00-11:00")),
    ]
}

fn any_step() -> impl Strategy<Value = ImagingStep> {
    let status = prop_oneof![
        Just(None),
        Just(Some(StepStatus::Completed)),
        Just(Some(StepStatus::Started))
    ];
    let modality = prop_oneof![Just(""), Just("CT"), Just("MR")];
    let station = prop_oneof![Just(""), Just("CT1"), Just("CT2")];
    (modality, station, start(), status).prop_map(|(modality, station, start, status)| ImagingStep {
        status,
        ..step(modality, station, start)
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let status = prop_oneof![
        3 => Just(OrderStatus::Active),
        1 => Just(OrderStatus::OnHold),
        1 => Just(OrderStatus::Completed)
    ];
    let orders = (0u128..4, status, prop::collection::vec(any_step(), 1..3))
        .prop_map(|(number, status, steps)| order(number, 0, status, steps));
    let status = prop_oneof![3 => Just(AppointmentStatus::Booked), 1 => Just(AppointmentStatus::Cancelled)];
    let appointments = (0u128..4, status, start(), prop::collection::vec(0u128..4, 0..3))
        .prop_map(|(number, status, start, of)| appointment(number, 0, status, start, &of));
    prop_oneof![orders, appointments]
}

proptest! {
    #[test]
    fn all_that_a_worklist_tells_is_found(
        history in prop::collection::vec(any_record(), 1..16),
        order_of_puts in prop::collection::vec(any::<prop::sample::Index>(), 16),
        missed in 0usize..4,
        from in 25i8..30,
        length in 0i8..3,
        modality in prop_oneof![Just(""), Just("CT"), Just("MR")],
        station in prop_oneof![Just(""), Just("CT1"), Just("CT2")],
        zone in prop_oneof![Just("Europe/Bucharest"), Just("UTC"), Just("Pacific/Auckland"), Just("Pacific/Pago_Pago")],
    ) {
        // What is newest of each, and all versions in any order; the first ones were never seen.
        let mut newest: BTreeMap<Uuid, Record> = BTreeMap::new();
        let mut versions: Vec<Record> = vec![];
        for mut said in history {
            said.meta.version = newest.get(&said.meta.id).map_or(1, |known| known.meta.version + 1);
            newest.insert(said.meta.id, said.clone());
            versions.push(said);
        }
        let is_order = |record: &Record| record.aggregate.kind() == Kind::Order;
        let last = |record: &Record| newest[&record.meta.id].meta.version == record.meta.version;
        let mut seen = 0;
        versions.retain(|record| {
            seen += 1;
            // An appointment is either put in with its last version, or known to no order that was new here.
            missed < seen || last(record) || !is_order(record)
        });
        let mut planned = Planned::default();
        for index in &order_of_puts {
            planned.put(&versions[index.index(versions.len())]);
        }
        versions.iter().rev().for_each(|record| planned.put(record));

        let zone = TimeZone::get(zone).expect("a zone");
        let asked = PlannedQuery {
            question: WorklistQuestion {
                modalities: Some(modality.to_owned()).filter(|text| !text.is_empty()).into_iter().collect(),
                stations: Some(station.to_owned()).filter(|text| !text.is_empty()).into_iter().collect(),
                ..on(Some(date(2026, 11, from)), Some(date(2026, 11, from + length.min(30 - from))))
            },
            patients: None,
            zone: zone.clone(),
            today: date(2026, 11, 27),
        };
        let (from, to) = (asked.question.from.expect("a day"), asked.question.to.expect("a day"));
        let told = planned.find(&asked);
        let mut all = Found::default();
        all.around.insert(Uuid::from_u128(PATIENT), record(PATIENT, 1, Patient::default()));
        for record in newest.into_values() {
            match is_order(&record) {
                true => all.records.push(record),
                false => drop(all.around.insert(record.meta.id, record)),
            }
        }
        for entry in entries(&all) {
            let day = |when: &When| when.earliest(&zone).map(|at| zone.to_datetime(at).date());
            let day = entry.start.and_then(day).unwrap_or(asked.today);
            let fits = from <= day
                && day <= to
                && (modality.is_empty() || entry.step.modality.as_deref().is_none_or(|known| known == modality))
                && (station.is_empty()
                    || entry.step.station_aes.is_empty()
                    || entry.step.station_aes.iter().any(|known| known == station));
            let number: u128 = entry.imaging.accession.as_deref().unwrap_or_default().parse().expect("a number");
            let id = Uuid::from_u128(ORDERS + number);
            prop_assert!(!fits || told.contains(&id), "order {number} on {day} is missing");
        }
    }
}
