//! What is planned: found as soon as its message is answered, while it is read for the first time, by whomever it came,
//! and after another start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clinic::ask::WorklistQuestion;
use clinic::diagnostics::{Observation, Order, OrderStatus, Value};
use clinic::imaging::{Imaging, ImagingStep};
use clinic::planned::PlannedQuery;
use clinic::scheduling::{Appointment, AppointmentStatus};
use clinic::value::{Coding, Concept, Quantity, Ref};
use clinic::worklist::{Measure, in_si};
use clinic::{Aggregate, Kind, Record};
use engine::store::{Committed, Store};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::Fresh;
use crate::make::{applying, next, record, seq, write};

fn planned(day: Date, status: OrderStatus) -> Aggregate {
    Order {
        status: Some(status),
        imaging: Some(Imaging {
            steps: vec![ImagingStep {
                id: Some("S".into()),
                modality: Some("CT".into()),
                start: format!("{day}T10:00:00+02:00").parse().ok(),
                ..ImagingStep::default()
            }],
            ..Imaging::default()
        }),
        ..Order::default()
    }
    .into()
}

fn on(day: Date) -> PlannedQuery {
    PlannedQuery {
        question: WorklistQuestion {
            from: Some(day),
            to: Some(day),
            ..WorklistQuestion::default()
        },
        patients: None,
        zone: TimeZone::get("Europe/Bucharest").unwrap(),
        today: date(2026, 1, 1),
    }
}

async fn commit(store: &dyn Store, record: &Record) {
    let number = format!("{}-{}", record.meta.id, record.meta.version);
    seq(store
        .commit(applying(&number, vec![write(record.clone())]))
        .await
        .unwrap());
}

/// Orders that move from day to day by several writers, one of them inside the writer's own transaction, while others ask.
/// The first question reads what is there.
pub async fn what_is_planned_is_found_once_it_is_answered(store: Arc<dyn Store>) {
    let day = |number: i8| date(2026, 3, number);
    let mut orders = vec![];
    for _ in 0..40 {
        let mut one = record(Kind::Order, Uuid::now_v7());
        one.aggregate = planned(day(1), OrderStatus::Active);
        commit(&*store, &one).await;
        orders.push(one);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = vec![];
    for (idx, mut one) in orders.iter().cloned().enumerate() {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for round in 2..8 {
                let before = day(round - 1);
                one = next(&one, Uuid::now_v7());
                one.aggregate = planned(day(round), OrderStatus::Active);
                if idx % 4 == 0 {
                    let made = applying(&format!("{}-{round}", one.meta.id), vec![write(one.clone())]);
                    let done = store
                        .commit_exclusively(Box::new(move |_| Ok(made.clone())))
                        .await;
                    assert!(matches!(done, Ok(Committed::Stored { .. })), "{done:?}");
                } else {
                    commit(&*store, &one).await;
                }
                let id = one.meta.id;
                assert!(
                    store.planned(on(day(round))).await.unwrap().contains(&id),
                    "{round}"
                );
                assert!(!store.planned(on(before)).await.unwrap().contains(&id), "{round}");
            }
        }));
    }
    let asking = {
        let (store, over) = (store.clone(), over.clone());
        let all: BTreeSet<Uuid> = orders.iter().map(|order| order.meta.id).collect();
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let found = store
                    .planned(PlannedQuery {
                        question: WorklistQuestion::default(),
                        ..on(day(1))
                    })
                    .await
                    .unwrap();
                let found: BTreeSet<Uuid> = found.into_iter().collect();
                assert_eq!(found, all, "wherever they stand, they are planned");
                tokio::task::yield_now().await;
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    assert_eq!(store.planned(on(day(7))).await.unwrap().len(), 40);
}

/// The appointment says when, and is known after another start too; what has ended is planned no more.
pub async fn an_appointment_moves_what_is_planned(store: Arc<dyn Store>) {
    let (tuesday, thursday) = (date(2026, 3, 3), date(2026, 3, 5));
    let mut order = record(Kind::Order, Uuid::now_v7());
    order.aggregate = planned(tuesday, OrderStatus::Active);
    commit(&*store, &order).await;
    let id = order.meta.id;
    assert_eq!(store.planned(on(tuesday)).await.unwrap(), [id]);
    let mut booked = record(Kind::Appointment, Uuid::now_v7());
    booked.aggregate = Appointment {
        status: Some(AppointmentStatus::Booked),
        start: "2026-03-05T08:00:00+02:00".parse().ok(),
        orders: vec![Ref::Id(Kind::Order, id)],
        ..Appointment::default()
    }
    .into();
    let keys = clinic::apply::FindKey::referring(Kind::Appointment, id);
    let mut with_key = write(booked);
    with_key.keys.push(keys);
    seq(store.commit(applying("booked", vec![with_key])).await.unwrap());
    assert_eq!(store.planned(on(thursday)).await.unwrap(), [id]);
    let mut order = next(&order, Uuid::now_v7());
    order.aggregate = planned(tuesday, OrderStatus::Completed);
    commit(&*store, &order).await;
    for day in [tuesday, thursday] {
        assert!(store.planned(on(day)).await.unwrap().is_empty());
    }
}

/// Of each patient the last measurement alone.
pub async fn the_newest_of_each_key_is_found(store: Arc<dyn Store>) {
    let patients = [Uuid::now_v7(), Uuid::now_v7()];
    for (patient, weight, day) in [
        (0, "71", "03"),
        (0, "72.5", "05"),
        (0, "70", "01"),
        (1, "55", "02"),
    ] {
        let mut one = record(Kind::Observation, Uuid::now_v7());
        one.aggregate = Observation {
            patient: Some(Ref::Id(Kind::Patient, patients[patient])),
            code: Some(Concept {
                codings: vec![Coding::new("http://loinc.org", "29463-7", None)],
                text: None,
            }),
            value: Some(Value::Quantity(Quantity {
                value: weight.parse().ok(),
                unit: Some("kg".into()),
                ..Quantity::default()
            })),
            effective_at: format!("2026-03-{day}").parse().ok(),
            ..Observation::default()
        }
        .into();
        commit(&*store, &one).await;
    }
    let keys: Vec<_> = patients
        .iter()
        .map(|patient| Measure::Weight.key(*patient))
        .collect();
    let found = store.newest(Kind::Observation, &keys).await.unwrap();
    let weights = found.iter().filter_map(|record| match &record.aggregate {
        Aggregate::Observation(observation) => in_si(observation),
        _ => None,
    });
    assert_eq!(weights.collect::<Vec<_>>(), [72.5, 55.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planned_is_read_at_the_next_start() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let day = date(2026, 3, 3);
    let mut ids = BTreeSet::new();
    for _ in 0..30 {
        let mut order = record(Kind::Order, Uuid::now_v7());
        order.aggregate = planned(day, OrderStatus::Active);
        commit(&*store, &order).await;
        ids.insert(order.meta.id);
    }
    store.close().await.unwrap();
    drop(store);
    let store = fresh.open().await;
    let found: BTreeSet<Uuid> = store.planned(on(day)).await.unwrap().into_iter().collect();
    assert_eq!(found, ids);
    assert!(store.planned(on(date(2026, 3, 4))).await.unwrap().is_empty());
    assert!(store.begun().await.unwrap().is_empty());
}
