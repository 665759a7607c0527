//! Taking out what is old enough.

use std::sync::Arc;
use std::time::Duration;

use engine::channel::{Keep, KeepFor};
use engine::message::{DeliveryState, MessageState, Pruned, Seen};
use engine::store::{
    Ages, Attempted, Committed, Keeping, MessageFilter, PrunePlace, PruneStep, SqliteStore, Store,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Fresh;
use crate::make::{WEEK, applying, commit, delivery, failure, message, now, record, repeat, seq, write};

const DAY: Duration = Duration::from_secs(86_400);

fn days(days: u64) -> Option<KeepFor> {
    Some(KeepFor::For(DAY * days as u32))
}

/// Everything is kept as this says, and known again for `dedup`.
fn keeping(keep: &Keep, dedup: Duration) -> Keeping {
    Keeping {
        channels: Default::default(),
        others: Ages::new(keep, &Keep::default(), dedup),
        journal: keep.journal.unwrap_or_default(),
    }
}

fn whole(days_kept: u64) -> Keep {
    Keep {
        messages: days(days_kept),
        ..Keep::default()
    }
}

async fn pass(store: &dyn Store, keeping: &Keeping, now: Timestamp, act: bool) -> PruneStep {
    let mut all = PruneStep::default();
    let mut place = Some(PrunePlace::default());
    while let Some(at) = place {
        let step = store.prune(keeping, now, at, act).await.unwrap();
        all.add(&step);
        place = step.next;
    }
    all
}

async fn control_ids(store: &dyn Store) -> Vec<String> {
    let all = MessageFilter {
        limit: 10_000,
        ..MessageFilter::default()
    };
    let mut ids: Vec<String> = store
        .messages(&all)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.control_id.unwrap_or_default())
        .collect();
    ids.sort();
    ids
}

fn attempt(delivery: i64, state: DeliveryState, verdict: &'static str) -> Attempted {
    Attempted {
        delivery,
        number: 1,
        at: now(),
        state,
        due: None,
        verdict,
        why: Some("because".into()),
        reference: Some("ref".into()),
        response: Some("what came back".into()),
    }
}

/// A message of one delivery, in this state.
async fn with(store: &dyn Store, id: &str, state: DeliveryState) -> Uuid {
    let one = message(id, format!("body of {id}"));
    let mut work = commit(one.clone());
    work.deliveries = vec![delivery("ris", Some("sent"))];
    let delivery = seq(store.commit(work).await.unwrap()) * 1024;
    match state {
        DeliveryState::Queued => {}
        DeliveryState::Sending => store.sending(delivery).await.unwrap(),
        other => store.attempted(attempt(delivery, other, "retry")).await.unwrap(),
    }
    one.id
}

pub async fn what_is_open_stays_and_what_is_over_goes(store: Arc<dyn Store>) {
    for state in DeliveryState::ALL {
        with(store.as_ref(), state.as_str(), state).await;
    }
    for (id, state) in [
        ("routed", MessageState::Routed),
        ("filtered", MessageState::Filtered),
        ("failed", MessageState::Failed),
        ("parked", MessageState::Parked),
        ("newest", MessageState::Routed),
    ] {
        let mut one = message(id, "x");
        one.state = state;
        one.failure = (state == MessageState::Failed).then(failure);
        seq(store.commit(commit(one)).await.unwrap());
    }
    let later = now() + SignedDuration::from_hours(24 * 8);
    let keeping = keeping(&whole(1), WEEK);
    let would = pass(store.as_ref(), &keeping, later, false).await;
    let before = control_ids(store.as_ref()).await.len();
    assert_eq!(before, 14);
    let of = would.channels["lab"];
    assert_eq!((of.messages, of.open), (5, 7 + 1 - 1), "{of:?}");
    // Within the time for which they are known again nothing goes.
    let soon = now() + SignedDuration::from_hours(24 * 6);
    assert!(pass(store.as_ref(), &keeping, soon, true).await.is_nothing());

    let did = pass(store.as_ref(), &keeping, later, true).await;
    assert_eq!(did.channels, would.channels);
    let left = [
        "dead", "held", "newest", "parked", "pending", "queued", "retrying", "sending", "unsure",
    ];
    assert_eq!(control_ids(store.as_ref()).await, left);
    // What is left is as it was, and the counts go with it.
    assert_eq!(store.waiting("lab", "ris", 0, 100).await.unwrap().len(), 5);
    let counts = store.counts().await.unwrap();
    assert!(
        counts.contains(&("lab".into(), MessageState::Routed, 8)),
        "{counts:?}"
    );
    assert!(
        counts.contains(&("lab".into(), MessageState::Parked, 1)),
        "{counts:?}"
    );
    assert_eq!(counts.len(), 2, "{counts:?}");
    // Nobody finds what is gone.
    let gone = MessageFilter {
        control_id: Some("sent".into()),
        limit: 10,
        ..MessageFilter::default()
    };
    assert!(store.messages(&gone).await.unwrap().is_empty());

    // Once somebody has seen what is dead, it goes too.
    let rows = MessageFilter {
        delivery_state: Some(DeliveryState::Dead),
        limit: 10,
        ..MessageFilter::default()
    };
    let dead = store.messages(&rows).await.unwrap()[0].id;
    let seen = Seen {
        at: now(),
        by: "anna".into(),
        reason: Some("told the ward".into()),
    };
    assert_eq!(store.queues().await.unwrap()[0].dead_seen, 0);
    assert_eq!(store.see(dead, &seen).await.unwrap(), 1);
    assert_eq!(store.queues().await.unwrap()[0].dead_seen, 1);
    assert_eq!(store.see(dead, &seen).await.unwrap(), 0, "seen already");
    let row = store.message(dead).await.unwrap().unwrap().row;
    assert_eq!(row.deliveries[0].seen, Some(seen));
    pass(store.as_ref(), &keeping, later, true).await;
    assert_eq!(control_ids(store.as_ref()).await, left[1..]);
}

pub async fn time_counts_from_the_last_try(store: Arc<dyn Store>) {
    with(store.as_ref(), "late", DeliveryState::Held).await;
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    let delivery = 1024;
    let sent_at = now() + SignedDuration::from_hours(24 * 90);
    let mut sent = attempt(delivery, DeliveryState::Sent, "accepted");
    (sent.at, sent.number) = (sent_at, 2);
    store.attempted(sent).await.unwrap();
    let keeping = keeping(&whole(30), WEEK);
    let soon = sent_at + SignedDuration::from_hours(24 * 29);
    assert!(pass(store.as_ref(), &keeping, soon, true).await.is_nothing());
    let later = sent_at + SignedDuration::from_hours(24 * 31);
    assert_eq!(
        pass(store.as_ref(), &keeping, later, true).await.channels["lab"].messages,
        1
    );
}

pub async fn bodies_go_and_the_rest_stays(store: Arc<dyn Store>) {
    let id = with(store.as_ref(), "c1", DeliveryState::Sent).await;
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    let keep = Keep {
        bodies: days(1),
        ..Keep::default()
    };
    let later = now() + SignedDuration::from_hours(48);
    let did = pass(store.as_ref(), &keeping(&keep, WEEK), later, true).await;
    assert_eq!(did.channels["lab"].bodies, 1);
    let detail = store.message(id).await.unwrap().unwrap();
    assert_eq!(detail.row.pruned, Some(Pruned::Bodies));
    assert!(detail.body.is_empty() && detail.deliveries[0].body.is_empty());
    let tried = &detail.deliveries[0].attempts[0];
    assert_eq!(
        (tried.why.as_deref(), tried.response.as_ref()),
        (Some("because"), None)
    );
    // It is known again, found, and not taken a second time.
    repeat(store.commit(commit(message("c1", "body of c1"))).await.unwrap());
    let found = MessageFilter {
        control_id: Some("c1".into()),
        limit: 10,
        ..MessageFilter::default()
    };
    assert_eq!(store.messages(&found).await.unwrap().len(), 1);
    assert!(
        pass(store.as_ref(), &keeping(&keep, WEEK), later, true)
            .await
            .is_nothing()
    );
    assert!(store.awaited("ref").await.unwrap().is_empty());
}

pub async fn what_was_told_to_be_safe_stays(store: Arc<dyn Store>) {
    let mut ids = vec![];
    for control_id in ["safe", "other"] {
        ids.push(with(store.as_ref(), control_id, DeliveryState::Sent).await);
    }
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    assert!(store.keep_for_good(&ids[..1]).await.unwrap());
    assert!(store.keep_for_good(&[]).await.unwrap());
    let bodies = Keep {
        bodies: days(1),
        ..Keep::default()
    };
    let later = now() + SignedDuration::from_hours(24 * 60);
    for keep in [bodies, whole(2)] {
        let keeping = keeping(&keep, WEEK);
        pass(store.as_ref(), &keeping, later, true).await;
        assert!(pass(store.as_ref(), &keeping, later, false).await.is_nothing());
        let safe = store.message(ids[0]).await.unwrap().unwrap();
        assert_eq!((safe.row.pruned, &safe.body[..]), (None, &b"body of safe"[..]));
    }
    assert!(!store.keep_for_good(&ids).await.unwrap(), "the other is gone");
}

pub async fn what_failed_and_is_sent_again_has_its_bytes_again(store: Arc<dyn Store>) {
    let mut one = message("c1", "body");
    one.state = MessageState::Failed;
    one.failure = Some(failure());
    let place = seq(store.commit(commit(one.clone())).await.unwrap());
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    let keep = Keep {
        bodies: days(1),
        ..Keep::default()
    };
    let later = now() + SignedDuration::from_hours(48);
    pass(store.as_ref(), &keeping(&keep, WEEK), later, true).await;
    let found = repeat(store.commit(commit(message("c1", "body"))).await.unwrap());
    assert_eq!(found.state, MessageState::Failed);
    let mut again = commit(message("c1", "body"));
    again.again = Some(place);
    assert_eq!(seq(store.commit(again).await.unwrap()), place);
    let detail = store.message(one.id).await.unwrap().unwrap();
    assert_eq!((&detail.body[..], detail.row.pruned), (&b"body"[..], None));
}

pub async fn a_value_of_the_clinic_still_knows_its_message(store: Arc<dyn Store>) {
    let work = applying("c1", vec![write(record(clinic::Kind::Patient, Uuid::now_v7()))]);
    let (id, patient) = (
        work.message.id,
        work.applied.as_ref().unwrap().writes[0].record.meta.id,
    );
    let mut work = work;
    work.deliveries = vec![delivery("ris", None)];
    let place = seq(store.commit(work).await.unwrap());
    store
        .attempted(attempt(place * 1024, DeliveryState::Sent, "accepted"))
        .await
        .unwrap();
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    let later = now() + SignedDuration::from_hours(24 * 8);
    let did = pass(store.as_ref(), &keeping(&whole(1), WEEK), later, true).await;
    assert_eq!(did.channels["lab"].but_a_row, 1);
    let detail = store.message(id).await.unwrap().unwrap();
    assert_eq!(detail.row.pruned, Some(Pruned::AllButARow));
    assert_eq!(detail.row.control_id.as_deref(), Some("c1"));
    assert!(detail.deliveries.is_empty() && detail.body.is_empty());
    assert_eq!(detail.wrote[0].id, patient);
    assert!(
        store
            .read(clinic::Kind::Patient, patient)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        pass(store.as_ref(), &keeping(&whole(1), WEEK), later, true)
            .await
            .is_nothing()
    );
}

async fn send_many(store: &SqliteStore, from: u32, to: u32, body: impl Fn(u32) -> Vec<u8>) {
    let work = (from..to).map(|n| store.commit(commit(message(&format!("c{n}"), body(n)))));
    for outcome in futures_util::future::join_all(work).await {
        seq(outcome.unwrap());
    }
}

/// What can't be compressed.
fn noise(n: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(n) + 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(length)
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_half_is_gone_the_file_is_smaller_and_numbers_go_on() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    send_many(&store, 0, 6000, |n| noise(n, 3000)).await;
    store.close().await.unwrap();
    let file = fresh.path().join("punte.db");
    let full = std::fs::metadata(&file).unwrap().len();
    let store = fresh.open().await;
    // Half of them are of a day long ago.
    let all = store
        .messages(&MessageFilter {
            limit: 10_000,
            ..MessageFilter::default()
        })
        .await
        .unwrap();
    // Who was handed in first is not always the first to be stored.
    let mut times: Vec<_> = all.iter().map(|row| row.received_at).collect();
    times.sort_unstable();
    let middle = times[3000];
    let at = middle + SignedDuration::from_hours(24 * 7);
    let did = pass(store.as_ref(), &keeping(&whole(1), WEEK), at, true).await;
    let gone = did.channels["lab"].messages;
    assert!((2900..=3100).contains(&gone), "{gone}");
    assert!(did.bytes > 0);
    // Of two with the same number and content one is gone: the other one is still known again.
    store.close().await.unwrap();
    let left = std::fs::metadata(&file).unwrap().len();
    assert!(
        left as f64 <= 0.6 * full as f64,
        "{left} of {full} bytes are left"
    );
    // All of them go; the numbers do not begin anew.
    let store = fresh.open().await;
    let later = now() + SignedDuration::from_hours(24 * 30);
    pass(store.as_ref(), &keeping(&whole(1), WEEK), later, true).await;
    assert_eq!(control_ids(store.as_ref()).await.len(), 1);
    store.close().await.unwrap();
    let store = fresh.open().await;
    let place = seq(store.commit(commit(message("next", "x"))).await.unwrap());
    assert_eq!(place, 6001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_alike_the_one_that_stays_is_known_again() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let first = message("c1", "same");
    seq(store.commit(commit(first.clone())).await.unwrap());
    // After its window the same is a new message.
    let mut second = message("c1", "same");
    second.incoming.received_at = first.incoming.received_at + SignedDuration::from_hours(24 * 8);
    seq(store.commit(commit(second.clone())).await.unwrap());
    let mut newest = message("c2", "x");
    newest.incoming.received_at = second.incoming.received_at;
    seq(store.commit(commit(newest)).await.unwrap());
    let at = second.incoming.received_at + SignedDuration::from_hours(1);
    let did = pass(store.as_ref(), &keeping(&whole(1), WEEK), at, true).await;
    assert_eq!(did.channels["lab"].messages, 1);
    let mut third = message("c1", "same");
    third.incoming.received_at = at;
    assert!(matches!(
        store.commit(commit(third)).await.unwrap(),
        Committed::Repeat(_)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_body_goes_a_day_after_its_last_row() {
    // One that lies in a pack, one that has a file of its own.
    for length in [300_000, 900_000] {
        it_goes_a_day_after_its_last_row(length).await;
    }
}

async fn it_goes_a_day_after_its_last_row(length: usize) {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let big = noise(7, length);
    for id in ["c1", "c2"] {
        let mut work = commit(message(id, big.clone()));
        work.dedup = None;
        seq(store.commit(work).await.unwrap());
    }
    seq(store.commit(commit(message("newest", "x"))).await.unwrap());
    let files = || {
        let folders = std::fs::read_dir(fresh.path().join("blobs")).unwrap();
        folders
            .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect::<Vec<_>>()
    };
    let age = |file: &std::path::Path, by: Duration| {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(std::time::SystemTime::now() - by).unwrap();
    };
    let real = Timestamp::now();
    let keep = keeping(&whole(1), Duration::ZERO);
    let first = store
        .messages(&MessageFilter {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    let at = first[1].received_at + SignedDuration::from_hours(24);
    let [file] = files().try_into().unwrap();
    age(&file, DAY * 400);
    let blobs = async |act| {
        store
            .prune(&keep, real, PrunePlace::Blobs, act)
            .await
            .unwrap()
            .blobs
    };
    // The first of two goes: the other one still names it.
    let did = store.prune(&keep, at, PrunePlace::default(), true).await.unwrap();
    assert_eq!(did.channels["lab"].messages, 1);
    assert_eq!(blobs(true).await, 0);
    // Now the other one: the file stays for a day.
    let later = at + SignedDuration::from_hours(24);
    store
        .prune(&keep, later, PrunePlace::default(), true)
        .await
        .unwrap();
    assert_eq!((blobs(true).await, files().len()), (0, 1));
    age(&file, DAY + Duration::from_secs(60));
    assert_eq!((blobs(false).await, files().len()), (1, 1));
    // One that names it again keeps it.
    let mut again = commit(message("c3", big.clone()));
    again.dedup = None;
    let place = again.message.id;
    seq(store.commit(again).await.unwrap());
    assert_eq!((blobs(true).await, files().len()), (0, 1));
    assert_eq!(store.message(place).await.unwrap().unwrap().body, big);
    // And what nobody ever named goes too, as does what was left half written.
    let stray = file.with_file_name("ab".repeat(32));
    let draft = file.with_file_name("0197.draft");
    for path in [&stray, &draft] {
        std::fs::write(path, "x").unwrap();
        age(path, DAY * 2);
    }
    // It lies in the folder of its first letters.
    let home = fresh.path().join("blobs/ab");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::rename(&stray, home.join("ab".repeat(32))).unwrap();
    assert_eq!(blobs(true).await, 1);
    assert_eq!(files(), [file]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_goes_by_its_age_and_proves_the_rest() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    crate::journal_suite::reads(store.as_ref(), 600, Uuid::now_v7()).await;
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.first, report.last), (1, 600));
    let rows = store
        .journal(&engine::store::AccessFilter {
            limit: 1000,
            ..Default::default()
        })
        .await
        .unwrap();
    let middle = rows.iter().find(|row| row.nr == 301).unwrap().access.at;
    let keep = Keep {
        journal: days(365),
        ..Keep::default()
    };
    let at = middle + SignedDuration::from_hours(24 * 365);
    let would = pass(store.as_ref(), &keeping(&keep, WEEK), at, false).await;
    assert_eq!(would.journal, 300);
    let did = pass(store.as_ref(), &keeping(&keep, WEEK), at, true).await;
    assert_eq!(did.journal, 300);
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.first, report.last), (301, 600));
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    store.close().await.unwrap();
}
