//! Messages and deliveries, whatever the database.

use std::sync::Arc;

use bytes::Bytes;
use engine::body::{BodyError, BodyWriter, StoredBody};
use engine::format::Reads;
use engine::message::{By, DeliveryState, Lane, LaneKey, MessageState, NewDelivery, Origin};
use engine::store::{
    ApiKey, Asked, Attempted, Awaited, Commit, Committed, CounterKey, CounterMove, Dedup, MadeBy,
    MessageFilter, Store, StoreError,
};
use uuid::Uuid;

use crate::make::{self, NOBODY, commit, delivery, failure, message, now, repeat, seq};

fn all() -> MessageFilter {
    MessageFilter {
        limit: 100,
        ..MessageFilter::default()
    }
}

pub async fn what_is_stored_is_read_back(store: Arc<dyn Store>) {
    let mut one = message("c1", "MSH|^~\\&|LIS");
    one.state = MessageState::Parked;
    one.failure = Some(failure());
    one.candidates = vec![clinic::apply::Candidate {
        kind: clinic::Kind::Patient,
        id: Uuid::now_v7(),
        why: "the same MR".into(),
    }];
    let mut work = commit(one.clone());
    work.deliveries = vec![delivery("portal", Some("{}")), delivery("ris", None)];
    let place = seq(store.commit(work).await.unwrap());
    let detail = store.message(one.id).await.unwrap().unwrap();
    assert_eq!(detail.row.seq, place);
    assert_eq!(detail.row.channel, "lab");
    assert_eq!(detail.row.state, MessageState::Parked);
    assert_eq!(detail.row.received_at, one.incoming.received_at);
    assert_eq!(detail.row.message_type.as_deref(), Some("ORU^R01"));
    assert_eq!(detail.row.sender.as_deref(), Some("LIS|LAB"));
    assert_eq!(detail.row.control_id.as_deref(), Some("c1"));
    assert_eq!(detail.row.length, one.incoming.body.len() as u64);
    assert_eq!(detail.row.failure, Some(failure()));
    assert_eq!(detail.row.candidates, one.candidates);
    assert_eq!(detail.body, one.incoming.body);
    assert_eq!(detail.content_type, "application/hl7-v2");
    assert_eq!(detail.headers, one.incoming.headers);
    let [portal, ris] = detail.deliveries.as_slice() else {
        panic!("two deliveries");
    };
    assert_eq!(
        (portal.row.destination.as_str(), &portal.body[..]),
        ("portal", &b"{}"[..])
    );
    assert_eq!(portal.content_type, "application/fhir+json");
    assert_eq!(
        (ris.row.destination.as_str(), &ris.body),
        ("ris", &one.incoming.body)
    );
    assert_eq!(ris.content_type, "application/hl7-v2");
    assert_eq!(ris.row.state, DeliveryState::Queued);
    let rows = store.messages(&all()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].deliveries.len(), 2);
    assert!(store.message(Uuid::now_v7()).await.unwrap().is_none());
}

pub async fn equal_messages_at_once_are_stored_once(store: Arc<dyn Store>) {
    let mut tasks = vec![];
    for _ in 0..4 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.commit(commit(message("c1", "same"))).await.unwrap()
        }));
    }
    let mut stored = vec![];
    let mut repeats = vec![];
    for task in tasks {
        match task.await.unwrap() {
            Committed::Stored { seq } => stored.push(seq),
            Committed::Repeat(repeat) => repeats.push(repeat.seq),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stored.len(), 1);
    assert_eq!(repeats, vec![stored[0]; 3]);
    let rows = store.messages(&all()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].repeats, 3);
    assert!(!rows[0].reused_control_id);
}

pub async fn a_counter_moves_with_its_message_from_where_it_was_found(store: Arc<dyn Store>) {
    let key = |channel: Option<&str>| CounterKey {
        channel: channel.map(str::to_owned),
        name: "sample".into(),
    };
    let keys = [key(Some("lab")), key(None)];
    let unit = |id: &str, channel: Option<&str>, from: Option<u64>, to: u64| Commit {
        counters: vec![CounterMove {
            counter: key(channel),
            from,
            to,
        }],
        ..commit(message(id, "x"))
    };
    let stored = async |unit: Commit| match store.commit(unit).await.unwrap() {
        Committed::Stored { .. } => "stored",
        Committed::Moved => "moved",
        Committed::Repeat(_) => "repeat",
        Committed::Over | Committed::Conflict { .. } => "refused",
    };
    assert_eq!(store.counters(&keys).await.unwrap(), [None, None]);
    assert_eq!(stored(unit("1", Some("lab"), None, 7)).await, "stored");
    // It stands elsewhere by now: nothing is written of it.
    assert_eq!(stored(unit("2", Some("lab"), None, 7)).await, "moved");
    assert_eq!(stored(unit("2", Some("lab"), Some(6), 7)).await, "moved");
    // The same message again takes nothing.
    assert_eq!(stored(unit("1", Some("lab"), Some(7), 8)).await, "repeat");
    assert_eq!(store.counters(&keys).await.unwrap(), [Some(7), None]);
    assert_eq!(stored(unit("2", Some("lab"), Some(7), 9)).await, "stored");
    assert_eq!(stored(unit("3", None, None, 1)).await, "stored");
    assert_eq!(store.counters(&keys).await.unwrap(), [Some(9), Some(1)]);
    // Of many that want the same, in one batch too, one gets it.
    let at_once = (10..30).map(|id| stored(unit(&id.to_string(), None, Some(1), 2)));
    let told = futures_util::future::join_all(at_once).await;
    assert_eq!(told.iter().filter(|told| **told == "stored").count(), 1);
    assert_eq!(told.iter().filter(|told| **told == "moved").count(), 19);
}

pub async fn a_reused_control_id_is_a_new_message_with_a_warning(store: Arc<dyn Store>) {
    seq(store.commit(commit(message("c1", "one"))).await.unwrap());
    let other = message("c1", "another");
    seq(store.commit(commit(other.clone())).await.unwrap());
    assert!(
        store
            .message(other.id)
            .await
            .unwrap()
            .unwrap()
            .row
            .reused_control_id
    );
    // Another sender or channel may use the same number.
    let mut sender = message("c1", "one");
    sender.keys.sender = Some("RIS|RAD".into());
    let mut channel = message("c1", "one");
    channel.channel = "rad".into();
    for fine in [sender, channel] {
        seq(store.commit(commit(fine.clone())).await.unwrap());
        assert!(
            !store
                .message(fine.id)
                .await
                .unwrap()
                .unwrap()
                .row
                .reused_control_id
        );
    }
    // Both first ones are still known again.
    repeat(store.commit(commit(message("c1", "one"))).await.unwrap());
    repeat(store.commit(commit(message("c1", "another"))).await.unwrap());
}

pub async fn a_failed_message_runs_again_in_its_place(store: Arc<dyn Store>) {
    let mut first = message("c1", "body");
    first.state = MessageState::Failed;
    first.failure = Some(failure());
    let place = seq(store.commit(commit(first.clone())).await.unwrap());
    let found = repeat(store.commit(commit(message("c1", "body"))).await.unwrap());
    assert_eq!(
        (found.seq, found.id, found.state),
        (place, first.id, MessageState::Failed)
    );
    assert_eq!(found.failure, Some(failure()));
    assert_eq!(found.received_at, first.incoming.received_at);

    let mut again = commit(message("c1", "body"));
    again.again = Some(place);
    again.deliveries = vec![delivery("ris", Some("x"))];
    assert_eq!(seq(store.commit(again.clone()).await.unwrap()), place);
    let detail = store.message(first.id).await.unwrap().unwrap();
    assert_eq!(detail.row.state, MessageState::Routed);
    assert_eq!(detail.row.failure, None);
    assert_eq!(detail.body, "body");
    assert_eq!(detail.deliveries[0].body, "x");
    // A second one that runs again at the same time does nothing.
    let found = repeat(store.commit(again).await.unwrap());
    assert_eq!((found.seq, found.state), (place, MessageState::Routed));
    assert_eq!(store.waiting("lab", "ris", 0, 10).await.unwrap().len(), 1);
    let counts = store.counts().await.unwrap();
    assert_eq!(counts, [("lab".to_owned(), MessageState::Routed, 1)]);
}

pub async fn without_control_id_or_window_there_are_no_repeats(store: Arc<dyn Store>) {
    for _ in 0..2 {
        let mut nameless = message("", "same");
        nameless.keys.control_id = None;
        seq(store.commit(commit(nameless)).await.unwrap());
        let mut replay = commit(message("c1", "same"));
        replay.dedup = None;
        seq(store.commit(replay).await.unwrap());
    }
    assert_eq!(store.messages(&all()).await.unwrap().len(), 4);
}

pub async fn what_a_transport_wrote_before_it_does_not_tell_a_message_apart(store: Arc<dyn Store>) {
    let after = |number: &'static str, body: &'static str| {
        let mut work = commit(message(number, body));
        work.dedup = Some(Dedup {
            from: 2,
            ..make::DEDUP
        });
        work
    };
    seq(store.commit(after("c1", "1:same")).await.unwrap());
    repeat(store.commit(after("c1", "2:same")).await.unwrap());
    seq(store.commit(after("c1", "2:other")).await.unwrap());
    seq(store.commit(after("c2", "1:same")).await.unwrap());
    // Nothing is there behind it: all of it tells.
    seq(store.commit(after("c3", "1")).await.unwrap());
    seq(store.commit(after("c3", "2")).await.unwrap());
}

pub async fn what_was_told_is_told_again(store: Arc<dyn Store>) {
    let ask = || {
        let mut work = commit(message("c1", "same"));
        work.deliveries = vec![delivery("report", None)];
        work.dedup = Some(Dedup {
            until_told: true,
            ..make::DEDUP
        });
        work
    };
    let first = seq(store.commit(ask()).await.unwrap());
    repeat(store.commit(ask()).await.unwrap());
    let id = store.waiting("lab", "report", 0, 10).await.unwrap()[0].id;
    store
        .attempted(attempt(id, 1, DeliveryState::Sent, "accepted"))
        .await
        .unwrap();
    let again = seq(store.commit(ask()).await.unwrap());
    assert_ne!(first, again);
    repeat(store.commit(ask()).await.unwrap());
    let rows = store.messages(&all()).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| !row.reused_control_id));
}

pub async fn the_window_of_repeats_ends(store: Arc<dyn Store>) {
    let first = message("c1", "same");
    let mut later = message("c1", "same");
    later.incoming.received_at = first.incoming.received_at + make::WEEK + std::time::Duration::from_secs(1);
    seq(store.commit(commit(first)).await.unwrap());
    seq(store.commit(commit(later.clone())).await.unwrap());
    later.incoming.received_at += std::time::Duration::from_secs(1);
    later.id = Uuid::now_v7();
    repeat(store.commit(commit(later)).await.unwrap());
}

pub async fn order_is_that_of_the_inbox(store: Arc<dyn Store>) {
    let mut last = 0;
    let waits: Vec<_> = (0..300)
        .map(|n| {
            let mut work = commit(message(&format!("c{n}"), format!("body {n}")));
            work.deliveries = vec![delivery("ris", None)];
            store.commit(work)
        })
        .collect();
    for committed in futures_util::future::join_all(waits).await {
        let place = seq(committed.unwrap());
        assert!(place > last);
        last = place;
    }
    let mut after = 0;
    let mut bodies = vec![];
    loop {
        let some = store.waiting("lab", "ris", after, 64).await.unwrap();
        let Some(newest) = some.last() else { break };
        after = newest.id;
        bodies.extend(some.into_iter().map(|waiting| waiting.body));
    }
    let expected: Vec<Bytes> = (0..300).map(|n| Bytes::from(format!("body {n}"))).collect();
    assert_eq!(bodies, expected);
}

fn attempt(delivery: i64, number: u32, state: DeliveryState, verdict: &'static str) -> Attempted {
    Attempted {
        delivery,
        number,
        at: now(),
        state,
        due: None,
        verdict,
        why: None,
        reference: None,
        response: None,
    }
}

pub async fn a_delivery_makes_each_of_its_messages_once(store: Arc<dyn Store>) {
    let whole = message("c1", "one\ntwo");
    let mut work = commit(whole.clone());
    work.deliveries = vec![delivery("parts", None), delivery("gone", None)];
    seq(store.commit(work).await.unwrap());
    let id = store.waiting("lab", "parts", 0, 10).await.unwrap()[0].id;
    let part = |number: u32, ends: bool| {
        let mut part = message(&format!("p{number}"), format!("part {number}"));
        part.origin = Some(Origin {
            by: By::Part,
            message: whole.id,
            delivery: id,
            number,
            of: 2,
            trace: vec!["adt".into()],
        });
        let made_by = MadeBy {
            delivery: id,
            number,
            ends: ends.then(|| attempt(id, 1, DeliveryState::Sent, "accepted")),
        };
        engine::store::Commit {
            counters: vec![],
            made_by: Some(made_by),
            dedup: None,
            ..commit(part)
        }
    };
    assert_eq!(store.made(id).await.unwrap(), 0);
    let first = part(1, false);
    seq(store.commit(first.clone()).await.unwrap());
    // Again, as after a crash of the one who asked: nothing is written.
    for _ in 0..2 {
        assert!(matches!(
            store.commit(part(1, false)).await.unwrap(),
            Committed::Over
        ));
    }
    assert_eq!(store.made(id).await.unwrap(), 1);
    assert_eq!(store.waiting("lab", "parts", 0, 10).await.unwrap().len(), 1);
    // A repeat of the same content is told, and made all the same.
    let mut repeat_of = part(2, true);
    repeat_of.message.keys = whole.keys.clone();
    repeat_of.message.incoming.body = whole.incoming.body.clone();
    repeat_of.dedup = Some(make::DEDUP);
    assert_eq!(repeat(store.commit(repeat_of).await.unwrap()).id, whole.id);
    assert!(store.waiting("lab", "parts", 0, 10).await.unwrap().is_empty());
    assert!(matches!(
        store.commit(part(2, true)).await.unwrap(),
        Committed::Over
    ));
    assert!(matches!(
        store.commit(part(3, false)).await.unwrap(),
        Committed::Over
    ));

    let detail = store.message(whole.id).await.unwrap().unwrap();
    assert_eq!(detail.deliveries[0].row.state, DeliveryState::Sent);
    assert_eq!(detail.deliveries[0].made, [first.message.id, whole.id]);
    assert!(detail.deliveries[1].made.is_empty());
    let kept = store.message(first.message.id).await.unwrap().unwrap();
    assert_eq!(kept.row.origin, first.message.origin);
    let lineage = store.lineage(first.message.id).await.unwrap().unwrap();
    assert_eq!(
        (lineage.channel.as_str(), lineage.trace),
        ("lab", vec!["adt".to_owned()])
    );
    assert_eq!(lineage.headers, first.message.incoming.headers);
    assert!(!lineage.is_replay);
    assert!(store.lineage(Uuid::now_v7()).await.unwrap().is_none());

    // What a person has taken out makes nothing any more.
    let gone = store.waiting("lab", "gone", 0, 10).await.unwrap()[0].id;
    store
        .attempted(attempt(gone, 1, DeliveryState::Cancelled, "refused"))
        .await
        .unwrap();
    let mut late = part(1, true);
    late.made_by = late.made_by.map(|made_by| MadeBy {
        delivery: gone,
        ..made_by
    });
    assert!(matches!(store.commit(late).await.unwrap(), Committed::Over));
}

pub async fn deliveries_go_through_their_states(store: Arc<dyn Store>) {
    let first = message("c1", "body");
    let mut work = commit(first.clone());
    work.deliveries = vec![delivery("portal", Some("{}")), delivery("ris", None)];
    seq(store.commit(work).await.unwrap());
    let waiting = store.waiting("lab", "portal", 0, 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].message, waiting[0].attempts), (first.id, 0));
    assert_eq!(waiting[0].received_at, first.incoming.received_at);
    let id = waiting[0].id;
    assert!(store.waiting("lab", "portal", id, 10).await.unwrap().is_empty());
    assert!(store.waiting("lab", "nobody", 0, 10).await.unwrap().is_empty());

    store.sending(id).await.unwrap();
    assert_eq!(
        store.waiting("lab", "portal", 0, 10).await.unwrap()[0].state,
        DeliveryState::Sending
    );
    let due = now();
    let tried = now();
    store
        .attempted(Attempted {
            at: tried,
            due: Some(due),
            why: Some("503".into()),
            response: Some(Bytes::from(vec![b'z'; 100_000])),
            ..attempt(id, 1, DeliveryState::Retrying, "retry")
        })
        .await
        .unwrap();
    let again = store.waiting("lab", "portal", 0, 10).await.unwrap().remove(0);
    assert_eq!(
        (again.state, again.attempts, again.due),
        (DeliveryState::Retrying, 1, Some(due))
    );
    assert_eq!(again.first_attempt_at, Some(tried));
    assert_eq!(
        (again.body, again.content_type.as_str()),
        (Bytes::from("{}"), "application/fhir+json")
    );
    store
        .attempted(attempt(id, 2, DeliveryState::Sent, "accepted"))
        .await
        .unwrap();
    assert!(store.waiting("lab", "portal", 0, 10).await.unwrap().is_empty());

    let detail = store.message(first.id).await.unwrap().unwrap();
    let portal = &detail.deliveries[0];
    assert_eq!((portal.row.state, portal.row.attempts), (DeliveryState::Sent, 2));
    assert_eq!(portal.row.last.as_deref(), Some("accepted"));
    assert_eq!(portal.row.due, None);
    let [one, two] = portal.attempts.as_slice() else {
        panic!("two attempts");
    };
    assert_eq!(
        (one.number, one.verdict.as_str(), one.why.as_deref()),
        (1, "retry", Some("503"))
    );
    assert_eq!(one.response.as_ref().unwrap().len(), 64 * 1024);
    assert_eq!(
        (two.number, two.verdict.as_str(), &two.response),
        (2, "accepted", &None)
    );
    assert!(
        store
            .attempted(attempt(1 << 40, 1, DeliveryState::Sent, "accepted"))
            .await
            .is_err()
    );
}

pub async fn what_waits_is_known_by_its_lane(store: Arc<dyn Store>) {
    let lane = |by: &str, key: LaneKey| Some(Lane { by: by.into(), key });
    let one = |key: &str| LaneKey::One(key.into());
    let lanes = [
        None,
        lane("patient", one("1")),
        lane("patient", one("2")),
        lane("patient", LaneKey::None),
        lane("patient", one("")),
        lane("patient", LaneKey::Several),
        lane("visit", one("1")),
        lane("patient", one("1")),
        lane("patient", LaneKey::None),
    ];
    let mut ids = vec![];
    for (n, lane) in lanes.into_iter().enumerate() {
        let mut work = commit(message(&format!("c{n}"), "body"));
        work.deliveries = vec![NewDelivery {
            lane,
            ..delivery("ris", None)
        }];
        ids.push(seq(store.commit(work).await.unwrap()) * 1024);
    }
    let ahead = store.ahead("lab", "ris", "patient", 0, 100).await.unwrap();
    assert_eq!(ahead.iter().map(|ahead| ahead.id).collect::<Vec<_>>(), ids);
    let lanes: Vec<Option<i64>> = ahead.iter().map(|ahead| ahead.lane).collect();
    // What has none by this key, is about several, or was queued by another key has no lane.
    for n in [0, 5, 6] {
        assert_eq!(lanes[n], None, "{n}");
    }
    let distinct: std::collections::BTreeSet<i64> = [1, 2, 3, 4].map(|n| lanes[n].unwrap()).into();
    assert_eq!(
        distinct.len(),
        4,
        "a key, another, none and an empty one are four lanes"
    );
    assert_eq!((lanes[7], lanes[8]), (lanes[1], lanes[3]));
    let page = store.ahead("lab", "ris", "patient", ids[2], 2).await.unwrap();
    assert_eq!(page, ahead[3..5]);
    let by_visit = store.ahead("lab", "ris", "visit", 0, 100).await.unwrap();
    let with_lane: Vec<i64> = by_visit
        .iter()
        .filter_map(|ahead| ahead.lane.map(|_| ahead.id))
        .collect();
    assert_eq!(with_lane, [ids[6]]);

    let next = async |after| {
        let lane = lanes[1].unwrap();
        store.next_of_lane("lab", "ris", lane, after).await.unwrap()
    };
    assert_eq!(
        (next(0).await, next(ids[1]).await, next(ids[7]).await),
        (Some(ids[1]), Some(ids[7]), None)
    );
    store
        .attempted(attempt(ids[1], 1, DeliveryState::Sent, "accepted"))
        .await
        .unwrap();
    assert_eq!(next(0).await, Some(ids[7]));
    assert!(store.next_of_lane("lab", "nobody", 1, 0).await.unwrap().is_none());
    let sent = store.delivery(ids[1]).await.unwrap().unwrap();
    assert_eq!((sent.state, sent.attempts), (DeliveryState::Sent, 1));
    assert!(store.delivery(1 << 50).await.unwrap().is_none());
}

pub async fn what_is_pending_is_found_by_its_reference_and_has_an_end(store: Arc<dyn Store>) {
    let mut work = commit(message("c1", "body"));
    work.deliveries = vec![delivery("portal", Some("sent")), delivery("ris", None)];
    seq(store.commit(work).await.unwrap());
    let id = store.waiting("lab", "portal", 0, 10).await.unwrap()[0].id;
    let until = now();
    let pending = Attempted {
        due: Some(until),
        reference: Some("R-1".into()),
        ..attempt(id, 1, DeliveryState::Pending, "pending")
    };
    store.attempted(pending).await.unwrap();
    assert!(store.awaited("R-2").await.unwrap().is_empty());
    let [awaited] = store.awaited("R-1").await.unwrap().try_into().ok().unwrap();
    let awaited: Awaited = awaited;
    assert_eq!(
        (awaited.delivery, awaited.attempts, awaited.state),
        (id, 1, DeliveryState::Pending)
    );
    assert_eq!(
        (awaited.channel.as_str(), awaited.destination.as_str()),
        ("lab", "portal")
    );
    assert_eq!(awaited.body, "sent");

    let before = until - std::time::Duration::from_millis(1);
    assert!(
        store
            .overdue("lab", "portal", before, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.overdue("lab", "ris", until, 10).await.unwrap().is_empty());
    assert_eq!(store.overdue("lab", "portal", until, 10).await.unwrap()[0].id, id);

    // What is pending makes the message of its answer; what is over makes none, and is still found.
    let mut answer = commit(message("a1", "fine"));
    answer.dedup = None;
    answer.made_by = Some(MadeBy {
        delivery: id,
        number: 2,
        ends: Some(attempt(id, 2, DeliveryState::Sent, "accepted")),
    });
    seq(store.commit(answer.clone()).await.unwrap());
    answer.message.id = Uuid::now_v7();
    assert!(matches!(store.commit(answer).await.unwrap(), Committed::Over));
    assert_eq!(store.awaited("R-1").await.unwrap()[0].state, DeliveryState::Sent);
    assert!(
        store
            .overdue("lab", "portal", until, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn messages_are_found_by_their_keys(store: Arc<dyn Store>) {
    let mut ids = vec![];
    for n in 0..10 {
        let mut some = message(&format!("c{n}"), format!("body {n}"));
        some.keys.patients = vec![format!("p{}", n % 3), format!("p{}^HIS", n % 3)];
        some.keys.visits = vec![format!("v{n}")];
        some.keys.orders = vec![format!("o{n}"), "shared".into()];
        if n % 2 == 1 {
            some.channel = "rad".into();
            some.state = MessageState::Failed;
        }
        ids.push(some.id);
        seq(store.commit(commit(some)).await.unwrap());
    }
    let find = async |filter: MessageFilter| -> Vec<Uuid> {
        let rows = store.messages(&filter).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        find(MessageFilter {
            patient: text("p1"),
            ..all()
        })
        .await,
        [ids[7], ids[4], ids[1]]
    );
    assert_eq!(
        find(MessageFilter {
            patient: text("p1^HIS"),
            limit: 2,
            ..all()
        })
        .await,
        [ids[7], ids[4]]
    );
    assert_eq!(
        find(MessageFilter {
            patient: text("1"),
            ..all()
        })
        .await,
        NOBODY
    );
    assert_eq!(
        find(MessageFilter {
            control_id: text("c3"),
            ..all()
        })
        .await,
        [ids[3]]
    );
    assert_eq!(
        find(MessageFilter {
            visit: text("v4"),
            ..all()
        })
        .await,
        [ids[4]]
    );
    assert_eq!(
        find(MessageFilter {
            order: text("shared"),
            limit: 3,
            ..all()
        })
        .await,
        [ids[9], ids[8], ids[7]]
    );
    assert_eq!(
        find(MessageFilter {
            order: text("shared"),
            patient: text("p0"),
            channel: text("lab"),
            ..all()
        })
        .await,
        [ids[6], ids[0]]
    );
    assert_eq!(
        find(MessageFilter {
            channel: text("rad"),
            state: Some(MessageState::Failed),
            limit: 2,
            ..all()
        })
        .await,
        [ids[9], ids[7]]
    );
    let rows = store.messages(&all()).await.unwrap();
    assert_eq!(
        find(MessageFilter {
            before: Some(rows[2].seq),
            limit: 2,
            ..all()
        })
        .await,
        [ids[6], ids[5]]
    );
    assert_eq!(
        find(MessageFilter {
            since: Some(rows[1].received_at),
            ..all()
        })
        .await,
        [ids[9], ids[8]]
    );
    assert_eq!(
        find(MessageFilter {
            until: Some(rows[8].received_at),
            ..all()
        })
        .await,
        [ids[0]]
    );
    assert_eq!(
        find(MessageFilter {
            channel: text("none"),
            ..all()
        })
        .await,
        NOBODY
    );
}

pub async fn what_failed_lately_is_counted_by_channel(store: Arc<dyn Store>) {
    let since = now();
    for (id, state, hours) in [
        ("early", MessageState::Failed, -30),
        ("one", MessageState::Failed, 1),
        ("well", MessageState::Routed, 2),
        ("parked", MessageState::Parked, 2),
        ("two", MessageState::Failed, 3),
    ] {
        let mut one = message(id, id);
        one.state = state;
        one.incoming.received_at = since + jiff::SignedDuration::from_hours(hours);
        seq(store.commit(commit(one)).await.unwrap());
    }
    assert_eq!(store.failed_since(since).await.unwrap(), [("lab".to_owned(), 2)]);
    let later = since + jiff::SignedDuration::from_hours(4);
    assert!(store.failed_since(later).await.unwrap().is_empty());
}

pub async fn queues_and_counts_add_up(store: Arc<dyn Store>) {
    let mut oldest = None;
    for n in 0..5 {
        let one = message(&format!("c{n}"), format!("{n}"));
        oldest = oldest.or(Some(one.incoming.received_at));
        let mut work = commit(one);
        work.deliveries = vec![delivery("ris", None)];
        seq(store.commit(work).await.unwrap());
    }
    let waiting = store.waiting("lab", "ris", 0, 10).await.unwrap();
    store
        .attempted(attempt(waiting[4].id, 1, DeliveryState::Dead, "refused"))
        .await
        .unwrap();
    store
        .attempted(attempt(waiting[1].id, 1, DeliveryState::Held, "refused"))
        .await
        .unwrap();
    store
        .attempted(attempt(waiting[2].id, 1, DeliveryState::Sent, "accepted"))
        .await
        .unwrap();
    let queues = store.queues().await.unwrap();
    assert_eq!(queues.len(), 1);
    assert_eq!(
        (queues[0].channel.as_str(), queues[0].destination.as_str()),
        ("lab", "ris")
    );
    assert_eq!(
        queues[0].counts,
        [
            (DeliveryState::Queued, 2),
            (DeliveryState::Held, 1),
            (DeliveryState::Dead, 1)
        ]
    );
    assert_eq!(queues[0].oldest, oldest);
    assert_eq!(
        store.counts().await.unwrap(),
        [("lab".to_owned(), MessageState::Routed, 5)]
    );
    let filter = MessageFilter {
        delivery_state: Some(DeliveryState::Held),
        ..all()
    };
    let held = store.messages(&filter).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].deliveries[0].id, waiting[1].id);
    assert_eq!(held[0].deliveries[0].last.as_deref(), Some("refused"));
}

pub async fn a_big_body_comes_back(store: Arc<dyn Store>) {
    let big: Vec<u8> = (0..700_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let one = message("c1", big.clone());
    let mut work = commit(one.clone());
    let other: Vec<u8> = big.iter().rev().copied().collect();
    work.deliveries = vec![
        delivery("ris", None),
        NewDelivery {
            destination: "portal".into(),
            body: Some(other.clone().into()),
            rest: None,
            content_type: "application/pdf".into(),
            queue_of: None,
            lane: None,
        },
    ];
    seq(store.commit(work).await.unwrap());
    let detail = store.message(one.id).await.unwrap().unwrap();
    assert!(detail.body == big);
    // What waits is told to be big; its bytes are read when they are needed.
    let mut ris = store.waiting("lab", "ris", 0, 1).await.unwrap().remove(0);
    assert_eq!((ris.body.len(), ris.big), (0, detail.big));
    assert_eq!(detail.big.unwrap().length(), big.len() as u64);
    ris.read(store.as_ref(), &|_| Reads::Enough).await.unwrap();
    assert!(ris.body == big[..256 * 1024] && ris.big.is_some());
    ris.read(store.as_ref(), &|_| Reads::Whole).await.unwrap();
    assert!(ris.body == big && ris.big.is_none());
    let stored = store.stored_body(one.id).await.unwrap().unwrap();
    assert_eq!(in_pieces(&stored, 300_000).await, big[300_000..]);
    assert!(store.stored_body(Uuid::nil()).await.unwrap().is_none());
    let mut portal = store.waiting("lab", "portal", 0, 1).await.unwrap().remove(0);
    portal.read(store.as_ref(), &|_| Reads::Whole).await.unwrap();
    assert!(portal.body == other);
    assert_eq!(portal.content_type, "application/pdf");
    repeat(store.commit(commit(message("c1", big.clone()))).await.unwrap());
    // However it is handed in, it is the same.
    let mut writer = BodyWriter::new(big.len() as u64, store.vault());
    for piece in big.chunks(70_001) {
        writer.write(piece).await.unwrap();
    }
    let body = writer.finish().await.unwrap();
    assert_eq!((body.big, body.length()), (detail.big, big.len() as u64));
    let mut again = message("c1", body.bytes);
    again.incoming.big = body.big;
    repeat(store.commit(commit(again.clone())).await.unwrap());
    again.keys.control_id = Some("c2".into());
    seq(store.commit(commit(again.clone())).await.unwrap());
    assert!(store.message(again.id).await.unwrap().unwrap().body == big);
}

async fn in_pieces(body: &StoredBody, from: u64) -> Vec<u8> {
    let (mut all, mut pieces) = (vec![], body.pieces(from));
    while let Some(piece) = pieces.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

/// What comes in pieces lies in memory while it is short, and in a file that is gone where it is not finished.
pub async fn a_body_in_pieces_is_kept_whole_or_not_at_all(store: Arc<dyn Store>) {
    let short = vec![b'x'; 256 * 1024];
    let mut writer = BodyWriter::new(1 << 20, store.vault());
    writer.write(&short).await.unwrap();
    let body = writer.finish().await.unwrap();
    assert!(body.bytes == short && body.big.is_none());
    let mut writer = BodyWriter::new(1 << 20, store.vault());
    for _ in 0..4 {
        writer.write(&short).await.unwrap();
    }
    assert!(matches!(
        writer.write(b"y").await,
        Err(BodyError::TooLong { limit: 1_048_576 })
    ));
    assert!(writer.beginning() == short);
    drop(writer);
    let mut writer = BodyWriter::new(1 << 20, store.vault());
    writer.write(&short).await.unwrap();
    writer.write(b"y").await.unwrap();
    let body = writer.finish().await.unwrap();
    assert!(body.bytes.len() == short.len() && body.length() == short.len() as u64 + 1);
    let mut one = message("c1", body.bytes.clone());
    one.incoming.big = body.big;
    let place = seq(store.commit(commit(one.clone())).await.unwrap());
    let detail = store.message(one.id).await.unwrap().unwrap();
    assert_eq!(detail.row.length, body.length());
    assert_eq!(detail.body, [&short[..], b"y"].concat());
    assert!(!detail.is_beginning());
    assert!(0 < place);
}

pub async fn a_panic_in_exclusive_work_fails_it_alone(store: Arc<dyn Store>) {
    let panics = store.commit_exclusively(Box::new(|_| panic!("a bug")));
    let works = store.commit(commit(message("c1", "fine")));
    let (panics, works) = tokio::join!(panics, works);
    assert!(matches!(panics, Err(StoreError::Unavailable(_))));
    seq(works.unwrap());
    seq(store.commit(commit(message("c2", "fine"))).await.unwrap());
}

pub async fn keys_of_the_api_are_kept_hashed(store: Arc<dyn Store>) {
    let key = ApiKey {
        name: "portal".into(),
        scopes: vec!["clinic:read".into(), "messages:read".into()],
        created_at: now(),
        expires_at: Some(now()),
    };
    assert!(store.add_api_key(&key, "secret-1").await.unwrap());
    assert!(!store.add_api_key(&key, "secret-2").await.unwrap());
    let found = store.api_key("secret-1").await.unwrap().unwrap();
    assert_eq!(
        (found.name, found.scopes, found.created_at, found.expires_at),
        ("portal".into(), key.scopes, key.created_at, key.expires_at)
    );
    assert!(store.api_key("secret-2").await.unwrap().is_none());
    assert_eq!(store.api_keys().await.unwrap().len(), 1);
    assert!(store.remove_api_key("portal").await.unwrap());
    assert!(!store.remove_api_key("portal").await.unwrap());
    assert!(store.api_key("secret-1").await.unwrap().is_none());
}

/// A question that was asked stands with its answer as one try of a delivery that is over: nobody sends it.
pub async fn a_question_is_kept_with_its_answer_and_waits_for_nobody(store: Arc<dyn Store>) {
    let long = Bytes::from(vec![b'x'; 100_000]);
    for (control_id, verdict, state, response) in [
        (
            "q1",
            "accepted",
            DeliveryState::Sent,
            Some(Bytes::from_static(b"{}")),
        ),
        ("q2", "unsure", DeliveryState::Cancelled, None),
        ("q3", "accepted", DeliveryState::Sent, Some(long)),
    ] {
        let mut question = message(control_id, "Patient?identifier=7");
        question.state = MessageState::Answered;
        let mut work = commit(question.clone());
        work.dedup = None;
        work.asked = Some(Asked {
            destination: "registry".into(),
            at: now(),
            verdict,
            why: response.is_none().then(|| "no answer within 1s".into()),
            response: response.clone(),
        });
        seq(store.commit(work).await.unwrap());
        let detail = store.message(question.id).await.unwrap().unwrap();
        let [asked] = detail.deliveries.as_slice() else {
            panic!("one delivery");
        };
        assert_eq!(
            (asked.row.destination.as_str(), asked.row.state),
            ("registry", state)
        );
        assert_eq!(asked.body, question.incoming.body);
        let [attempt] = asked.attempts.as_slice() else {
            panic!("one try");
        };
        assert_eq!((attempt.number, attempt.verdict.as_str()), (1, verdict));
        let kept = response.map(|whole| whole.slice(..whole.len().min(64 * 1024)));
        assert_eq!(attempt.response, kept);
    }
    assert!(store.waiting("lab", "registry", 0, 10).await.unwrap().is_empty());
    let queues = store.queues().await.unwrap();
    assert!(
        queues.iter().all(|queue| queue.destination != "registry"),
        "{queues:?}"
    );
}
