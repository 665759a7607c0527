//! The clinic, whatever the database.

use std::sync::Arc;

use clinic::aggregate::Source;
use clinic::apply::{Applied, Booking, FindKey, Snapshot};
use clinic::people::Patient;
use clinic::value::{Coding, Concept, PersonName, Ref};
use clinic::{Aggregate, Kind};
use engine::store::{ClinicQuery, Committed, Store, TimeRange};
use uuid::Uuid;

use crate::make::{NOBODY, applying, commit, identifier, message, next, record, seq, write};

/// Says something about an aggregate that every kind can hold.
fn call(aggregate: &mut Aggregate, value: &str) {
    aggregate.identifiers_mut().push(identifier("urn:his", value));
}

pub async fn each_kind_is_written_changed_and_read_with_its_history(store: Arc<dyn Store>) {
    assert_eq!(Kind::ALL.len(), 23);
    for kind in Kind::ALL {
        let name = kind.as_str();
        let mut work = applying(&format!("{name}-1"), vec![]);
        let mut first = record(*kind, work.message.id);
        call(&mut first.aggregate, &format!("{name}-a"));
        work.applied.as_mut().unwrap().writes = vec![write(first.clone())];
        let made = work.message.id;
        seq(store.commit(work).await.unwrap());
        assert_eq!(
            store.read(*kind, first.meta.id).await.unwrap().as_ref(),
            Some(&first)
        );

        let mut work = applying(&format!("{name}-2"), vec![]);
        let changed = work.message.id;
        let mut second = next(&first, changed);
        call(&mut second.aggregate, &format!("{name}-b"));
        work.applied = applying("", vec![write(second.clone())]).applied;
        seq(store.commit(work).await.unwrap());

        let id = first.meta.id;
        assert_eq!(store.read(*kind, id).await.unwrap().as_ref(), Some(&second));
        assert_eq!(
            store.read_version(*kind, id, 1).await.unwrap().as_ref(),
            Some(&first)
        );
        assert_eq!(
            store.read_version(*kind, id, 2).await.unwrap().as_ref(),
            Some(&second)
        );
        assert_eq!(store.read_version(*kind, id, 3).await.unwrap(), None);
        assert_eq!(
            store.history(*kind, id).await.unwrap(),
            [second.clone(), first.clone()]
        );
        assert_eq!(
            store.snapshot().unwrap().load(*kind, id).unwrap(),
            Some(second.clone().into())
        );
        // Each version knows its message, and each message what it wrote.
        for (record, message, version) in [(&first, made, 1), (&second, changed, 2)] {
            let source = Source::Message {
                channel: "lab".into(),
                message,
            };
            assert_eq!(record.meta.source, source);
            let detail = store.message(message).await.unwrap().unwrap();
            let verb = if version == 1 { "created" } else { "updated" };
            let wrote = engine::message::Wrote {
                kind: *kind,
                id,
                version,
                event: Some(format!("{}.{verb}", kind.as_str())),
            };
            assert_eq!(detail.wrote, [wrote]);
        }
        let other = if *kind == Kind::Patient {
            Kind::Order
        } else {
            Kind::Patient
        };
        assert_eq!(store.read(other, id).await.unwrap(), None);
    }
}

pub async fn a_version_that_moved_takes_out_one_message(store: Arc<dyn Store>) {
    let mut patient = record(Kind::Patient, Uuid::now_v7());
    call(&mut patient.aggregate, "1");
    seq(store
        .commit(applying("c1", vec![write(patient.clone())]))
        .await
        .unwrap());
    // Two changes of the same version and one of something else, under way at once.
    let one = store.commit(applying("c2", vec![write(next(&patient, Uuid::now_v7()))]));
    let two = store.commit(applying("c3", vec![write(next(&patient, Uuid::now_v7()))]));
    let three = store.commit(applying("c4", vec![write(record(Kind::Order, Uuid::now_v7()))]));
    let (one, two, three) = tokio::join!(one, two, three);
    seq(one.unwrap());
    assert!(matches!(two.unwrap(), Committed::Moved));
    seq(three.unwrap());
    assert_eq!(
        store.history(Kind::Patient, patient.meta.id).await.unwrap().len(),
        2
    );
    // Nothing of the one that was taken out is there.
    let rows = store
        .messages(&engine::store::MessageFilter {
            control_id: Some("c3".into()),
            limit: 1,
            ..Default::default()
        })
        .await
        .unwrap();
    assert!(rows.is_empty());
    // A read alone is checked as well.
    let mut reader = commit(message("c5", "reads"));
    reader.applied = Some(Applied {
        reads: vec![(Kind::Patient, patient.meta.id, 1)],
        ..Applied::default()
    });
    assert!(matches!(
        store.commit(reader.clone()).await.unwrap(),
        Committed::Moved
    ));
    reader.applied.as_mut().unwrap().reads[0].2 = 2;
    seq(store.commit(reader).await.unwrap());
}

fn by(value: &str) -> FindKey {
    FindKey::system_value(Kind::Patient, "urn:his", value)
}

pub async fn a_finding_that_moved_takes_out_one_message(store: Arc<dyn Store>) {
    let make = |control_id: &str| {
        let mut patient = record(Kind::Patient, Uuid::now_v7());
        call(&mut patient.aggregate, "77");
        let mut work = applying(control_id, vec![write(patient.clone())]);
        work.applied.as_mut().unwrap().finds = vec![(by("77"), vec![])];
        (work, patient.meta.id)
    };
    let ((one, id), (two, _)) = (make("c1"), make("c2"));
    let (one, two) = tokio::join!(store.commit(one), store.commit(two));
    seq(one.unwrap());
    assert!(matches!(two.unwrap(), Committed::Moved));
    assert_eq!(store.snapshot().unwrap().find(&by("77")).unwrap(), [id]);
    let mut right = commit(message("c3", "finds"));
    right.applied = Some(Applied {
        finds: vec![(by("77"), vec![id])],
        ..Applied::default()
    });
    seq(store.commit(right).await.unwrap());
}

fn at(hour: i8, minute: i8) -> jiff::Timestamp {
    jiff::tz::TimeZone::UTC
        .to_timestamp(jiff::civil::date(2026, 12, 1).at(hour, minute, 0, 0))
        .unwrap()
}

fn booking(resource: Uuid, from: (i8, i8), to: (i8, i8)) -> Booking {
    Booking {
        resource,
        start: at(from.0, from.1),
        end: at(to.0, to.1),
        overbooked: false,
    }
}

pub async fn nobody_is_booked_twice(store: Arc<dyn Store>) {
    let doctor = Uuid::now_v7();
    let appointment = |control_id: &str, from, to| {
        let mut write = write(record(Kind::Appointment, Uuid::now_v7()));
        write.bookings = vec![booking(doctor, from, to)];
        let record = write.record.clone();
        (applying(control_id, vec![write]), record)
    };
    let (first, record) = appointment("c1", (9, 0), (9, 30));
    let (second, _) = appointment("c2", (9, 15), (9, 45));
    let (third, _) = appointment("c3", (9, 30), (10, 0));
    let (first, second, third) = tokio::join!(store.commit(first), store.commit(second), store.commit(third));
    seq(first.unwrap());
    assert!(matches!(second.unwrap(), Committed::Conflict { .. }));
    seq(third.unwrap());
    // Nothing of the refused one is there: its control id is free.
    let (again, _) = appointment("c2", (10, 0), (10, 30));
    seq(store.commit(again).await.unwrap());
    // Moved away, its time is free; and it does not collide with itself.
    let mut moved = write(next(&record, Uuid::now_v7()));
    moved.bookings = vec![booking(doctor, (8, 50), (9, 20))];
    seq(store.commit(applying("c4", vec![moved.clone()])).await.unwrap());
    let (late, _) = appointment("c5", (9, 20), (9, 30));
    seq(store.commit(late).await.unwrap());
    // Cancelled: it takes no time.
    let cancelled = write(next(&moved.record, Uuid::now_v7()));
    seq(store.commit(applying("c6", vec![cancelled])).await.unwrap());
    let (early, _) = appointment("c7", (8, 50), (9, 20));
    seq(store.commit(early).await.unwrap());
    // What is taken can be asked for: what touches the span, and nobody else's.
    let span = booking(doctor, (9, 20), (10, 0));
    let taken = store
        .bookings(&[doctor, Uuid::now_v7()], span.start, span.end)
        .await
        .unwrap();
    let taken: Vec<Booking> = taken.into_iter().map(|booked| booked.booking).collect();
    assert_eq!(
        taken,
        [
            booking(doctor, (9, 20), (9, 30)),
            booking(doctor, (9, 30), (10, 0))
        ]
    );
}

pub async fn what_a_person_wrote_is_known_again(store: Arc<dyn Store>) {
    let mut record = record(Kind::Patient, Uuid::now_v7());
    record.meta.held = serde_json::from_str(r#"{"birth_date":{"":"reception"}}"#).unwrap();
    seq(store
        .commit(applying("c1", vec![write(record.clone())]))
        .await
        .unwrap());
    let read = store.read(Kind::Patient, record.meta.id).await.unwrap().unwrap();
    assert_eq!(read.meta.held, record.meta.held);
    assert_eq!(read.meta.held.who("birth_date"), Some("reception"));
}

pub async fn overbooked_time_may_overlap(store: Arc<dyn Store>) {
    let room = Uuid::now_v7();
    for (n, overbooked) in [(1, false), (2, true), (3, true)] {
        let mut write = write(record(Kind::Appointment, Uuid::now_v7()));
        write.bookings = vec![Booking {
            overbooked,
            ..booking(room, (9, 0), (10, 0))
        }];
        seq(store
            .commit(applying(&format!("c{n}"), vec![write]))
            .await
            .unwrap());
    }
    let mut write = write(record(Kind::Appointment, Uuid::now_v7()));
    write.bookings = vec![booking(room, (9, 0), (10, 0))];
    let refused = store.commit(applying("c4", vec![write])).await.unwrap();
    assert!(matches!(refused, Committed::Conflict { .. }));
}

pub async fn keys_follow_the_aggregate(store: Arc<dyn Store>) {
    let mut patient = record(Kind::Patient, Uuid::now_v7());
    let id = patient.meta.id;
    call(&mut patient.aggregate, "1");
    patient
        .aggregate
        .identifiers_mut()
        .push(identifier("urn:other", "1"));
    call(&mut patient.aggregate, "2");
    seq(store
        .commit(applying("c1", vec![write(patient.clone())]))
        .await
        .unwrap());
    let finds = |key: FindKey| store.snapshot().unwrap().find(&key).unwrap();
    let value = |value: &str| FindKey::value(Kind::Patient, value);
    assert_eq!(finds(by("1")), [id]);
    assert_eq!(finds(by("2")), [id]);
    assert_eq!(finds(value("1")), [id]);
    assert_eq!(
        finds(FindKey::system_value(Kind::Patient, "urn:nobody", "1")),
        NOBODY
    );
    assert_eq!(finds(FindKey::system_value(Kind::Order, "urn:his", "1")), NOBODY);
    // A second patient with the same number is found after the first.
    let mut other = record(Kind::Patient, Uuid::now_v7());
    call(&mut other.aggregate, "1");
    seq(store
        .commit(applying("c2", vec![write(other.clone())]))
        .await
        .unwrap());
    assert_eq!(finds(by("1")), [id, other.meta.id]);
    assert_eq!(finds(value("1")), [id, other.meta.id]);

    let mut changed = next(&patient, Uuid::now_v7());
    changed.aggregate.identifiers_mut().remove(0);
    call(&mut changed.aggregate, "3");
    seq(store
        .commit(applying("c3", vec![write(changed.clone())]))
        .await
        .unwrap());
    assert_eq!(finds(by("1")), [other.meta.id]);
    assert_eq!(finds(value("1")), [id, other.meta.id]);
    assert_eq!(finds(by("3")), [id]);
    // Keys that did not change are not given, and stay.
    let mut same = write(next(&changed, Uuid::now_v7()));
    same.keys_changed = false;
    same.keys = vec![];
    seq(store.commit(applying("c4", vec![same])).await.unwrap());
    assert_eq!(finds(by("3")), [id]);
}

pub async fn natural_keys_stay(store: Arc<dyn Store>) {
    let owner = Uuid::now_v7();
    let key = |text: &str| FindKey::natural(Kind::Observation, Some(owner), text);
    let mut first = write(record(Kind::Observation, Uuid::now_v7()));
    first.natural_keys = vec![key("2823-3"), FindKey::natural(Kind::Observation, None, "alone")];
    let id = first.record.meta.id;
    let version = first.record.clone();
    seq(store.commit(applying("c1", vec![first])).await.unwrap());
    seq(store
        .commit(applying("c2", vec![write(next(&version, Uuid::now_v7()))]))
        .await
        .unwrap());
    let finds = |key: FindKey| store.snapshot().unwrap().find(&key).unwrap();
    assert_eq!(finds(key("2823-3")), [id]);
    assert_eq!(finds(FindKey::natural(Kind::Observation, None, "alone")), [id]);
    assert_eq!(finds(key("2160-0")), NOBODY);
    assert_eq!(
        finds(FindKey::natural(
            Kind::Observation,
            Some(Uuid::now_v7()),
            "2823-3"
        )),
        NOBODY
    );
}

pub async fn exclusive_work_sees_what_came_before_it(store: Arc<dyn Store>) {
    let mut patient = record(Kind::Patient, Uuid::now_v7());
    call(&mut patient.aggregate, "5");
    let id = patient.meta.id;
    let before = store.commit(applying("c1", vec![write(patient)]));
    let exclusive = store.commit_exclusively(Box::new(move |snapshot: &dyn Snapshot| {
        let found = snapshot.find(&by("5"))?;
        assert_eq!(found, [id]);
        let patient = snapshot.load(Kind::Patient, id)?.expect("it was found");
        Ok(applying("c2", vec![write(next(&patient, Uuid::now_v7()))]))
    }));
    let (before, exclusive) = tokio::join!(before, exclusive);
    assert!(seq(before.unwrap()) < seq(exclusive.unwrap()));
    assert_eq!(store.history(Kind::Patient, id).await.unwrap().len(), 2);
}

fn patient(family: &str, born: &str) -> Aggregate {
    Aggregate::Patient(Box::new(Patient {
        names: vec![PersonName {
            family: Some(family.into()),
            given: vec!["Ana".into()],
            ..PersonName::default()
        }],
        birth_date: Some(born.parse().unwrap()),
        ..Patient::default()
    }))
}

fn observation(patient: Uuid, code: &str, at: &str) -> Aggregate {
    Aggregate::Observation(Box::new(clinic::diagnostics::Observation {
        patient: Some(Ref::Id(Kind::Patient, patient)),
        code: Some(Concept {
            codings: vec![Coding {
                system: Some("http://loinc.org".into()),
                code: Some(code.into()),
                ..Coding::default()
            }],
            text: None,
        }),
        status: Some(clinic::diagnostics::ObservationStatus::Final),
        effective_at: Some(at.parse().unwrap()),
        ..Default::default()
    }))
}

pub async fn searches_find_and_page(store: Arc<dyn Store>) {
    let mut patients = vec![];
    for (n, (family, born)) in [
        ("Popescu", "1980-05-05"),
        ("Popa", "1990-01-01"),
        ("Ionescu", "1980-05-05"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = record(Kind::Patient, Uuid::now_v7());
        one.aggregate = patient(family, born);
        call(&mut one.aggregate, &format!("{n}"));
        patients.push(one.meta.id);
        seq(store
            .commit(applying(&format!("p{n}"), vec![write(one)]))
            .await
            .unwrap());
    }
    let mut observations = vec![];
    for n in 0..6 {
        let mut one = record(Kind::Observation, Uuid::now_v7());
        let code = if n % 2 == 0 { "2823-3" } else { "2160-0" };
        one.aggregate = observation(patients[n / 3], code, &format!("2026-03-0{}T10:00:00Z", n + 1));
        observations.push(one.clone());
        seq(store
            .commit(applying(&format!("o{n}"), vec![write(one)]))
            .await
            .unwrap());
    }
    let find = async |query: ClinicQuery| -> Vec<Uuid> {
        let found = store.search(&ClinicQuery { limit: 10, ..query }).await.unwrap();
        found.into_iter().map(|record| record.meta.id).collect()
    };
    let of = |kind| ClinicQuery {
        kinds: vec![kind],
        ..ClinicQuery::default()
    };
    let keys = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let ids = |places: &[usize]| {
        places
            .iter()
            .map(|n| observations[*n].meta.id)
            .collect::<Vec<_>>()
    };
    let on_patients = |lists: Vec<Vec<String>>| ClinicQuery {
        keys: lists,
        ..of(Kind::Patient)
    };
    assert_eq!(find(of(Kind::Patient)).await, patients);
    assert_eq!(
        find(on_patients(vec![keys(&["family|pop"])])).await,
        patients[..2]
    );
    assert_eq!(
        find(on_patients(vec![keys(&["family|pope"]), keys(&["given|ana"])])).await,
        patients[..1]
    );
    assert_eq!(
        find(on_patients(vec![keys(&["family|ion", "family|popa"])])).await,
        patients[1..]
    );
    assert_eq!(
        find(on_patients(vec![keys(&["i|urn:his|2"])])).await,
        patients[2..]
    );
    assert_eq!(
        find(on_patients(vec![keys(&["v|0", "v|1"])])).await,
        patients[..2]
    );
    assert_eq!(
        find(on_patients(vec![keys(&["v|0"]), keys(&["family|ion"])])).await,
        NOBODY
    );
    assert_eq!(find(on_patients(vec![keys(&["nothing"])])).await, NOBODY);
    let coded = |patient: Option<Uuid>, code: &str| ClinicQuery {
        keys: vec![keys(&[code])],
        patients: patient.map(|id| vec![id]),
        ..of(Kind::Observation)
    };
    assert_eq!(find(coded(None, "code|2823-3")).await, ids(&[0, 2, 4]));
    assert_eq!(
        find(coded(Some(patients[0]), "code|http://loinc.org|2823-3")).await,
        ids(&[0, 2])
    );
    let by_patient = ClinicQuery {
        patients: Some(vec![patients[1]]),
        ..ClinicQuery::default()
    };
    assert_eq!(find(by_patient).await, ids(&[3, 4, 5]));
    // Whose an appointment is, and who comes along.
    let mut booked = record(Kind::Appointment, Uuid::now_v7());
    booked.aggregate = clinic::scheduling::Appointment {
        patient: Some(Ref::Id(Kind::Patient, patients[0])),
        participants: vec![clinic::scheduling::Participant {
            actor: Some(Ref::Id(Kind::Patient, patients[1])),
            ..Default::default()
        }],
        ..Default::default()
    }
    .into();
    let appointment = booked.meta.id;
    seq(store.commit(applying("a", vec![write(booked)])).await.unwrap());
    for (patient, is_theirs) in patients.iter().zip([true, true, false]) {
        let of_patient = ClinicQuery {
            patients: Some(vec![*patient]),
            ..of(Kind::Appointment)
        };
        let found = find(of_patient).await;
        assert_eq!(found == [appointment], is_theirs, "{found:?}");
    }
    let time = |text: &str| Some(text.parse().unwrap());
    let range = |from: Option<&str>, to: Option<&str>| TimeRange {
        from: from.and_then(time),
        to: to.and_then(time),
    };
    let within_two = ClinicQuery {
        date_overlaps: vec![
            range(Some("2026-03-02T10:00:00.5Z"), None),
            range(None, Some("2026-03-04T10:00:00Z")),
        ],
        ..of(Kind::Observation)
    };
    assert_eq!(find(within_two).await, ids(&[1, 2]));
    let born = ClinicQuery {
        date_within: vec![range(Some("1980-05-05T00:00:00Z"), Some("1980-05-06T00:00:00Z"))],
        ..of(Kind::Patient)
    };
    assert_eq!(find(born).await, [patients[0], patients[2]]);
    let by_id = ClinicQuery {
        ids: Some(vec![patients[1], observations[0].meta.id]),
        statuses: Some(vec!["final".into()]),
        ..ClinicQuery::default()
    };
    assert_eq!(find(by_id).await, ids(&[0]));
    let changed = ClinicQuery {
        updated: vec![TimeRange {
            from: Some(observations[4].meta.updated_at),
            to: Some(observations[5].meta.updated_at),
        }],
        ..of(Kind::Observation)
    };
    assert_eq!(find(changed).await, ids(&[4]));

    // Pages of two are the whole, in order, once each.
    let mut paged = vec![];
    let mut after = None;
    loop {
        let page = store
            .search(&ClinicQuery {
                after,
                limit: 2,
                ..of(Kind::Observation)
            })
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.meta.updated_at, last.meta.id));
        paged.extend(page.into_iter().map(|record| record.meta.id));
    }
    assert_eq!(paged, ids(&[0, 1, 2, 3, 4, 5]));
}
