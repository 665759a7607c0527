//! What only the store in SQLite has: a folder, a file, a lock, keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::message::MessageState;
use engine::store::{Committed, MasterKey, MessageFilter, SqliteOptions, SqliteStore, Store, StoreError};
use uuid::Uuid;

use crate::Fresh;
use crate::make::{applying, commit, delivery, identifier, message, record, repeat, seq, write};

fn all() -> MessageFilter {
    MessageFilter {
        limit: 10_000,
        ..MessageFilter::default()
    }
}

async fn refusal(fresh: &Fresh, key: &MasterKey, options: SqliteOptions) -> String {
    match SqliteStore::open(fresh.path(), key, options).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_where_a_store_was_is_refused() {
    // A start that was broken off before anything was written is begun again.
    let fresh = Fresh::new();
    std::fs::create_dir_all(fresh.path()).unwrap();
    std::fs::write(fresh.path().join("punte.db"), "").unwrap();
    fresh.open().await.close().await.unwrap();
    for beside in ["running.json", "blobs/ab/abcd"] {
        let fresh = Fresh::new();
        fresh.open().await.close().await.unwrap();
        let file = fresh.path().join(beside);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "{}").unwrap();
        // What was there is opened as ever.
        fresh.open().await.close().await.unwrap();
        for log in ["punte.db-wal", "punte.db-shm"] {
            let _ = std::fs::remove_file(fresh.path().join(log));
        }
        std::fs::write(fresh.path().join("punte.db"), "").unwrap();
        let refused = refusal(&fresh, &fresh.key, SqliteOptions::default()).await;
        assert!(
            refused.contains("is empty, and a store has been there"),
            "{beside}: {refused}"
        );
        assert_eq!(std::fs::metadata(fresh.path().join("punte.db")).unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_one_key_one_clinic() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let clinic = store.clinic();
    let busy = refusal(&fresh, &fresh.key, SqliteOptions::default()).await;
    assert!(busy.contains("another process has the data folder"), "{busy}");
    store.close().await.unwrap();
    assert!(matches!(
        store.commit(commit(message("c", "late"))).await,
        Err(StoreError::Unavailable(_))
    ));
    drop(store);

    let wrong = refusal(&fresh, &MasterKey::generate().unwrap(), SqliteOptions::default()).await;
    assert!(wrong.contains("another master key"), "{wrong}");
    let options = SqliteOptions {
        clinic: Some(Uuid::now_v7()),
        ..SqliteOptions::default()
    };
    let other = refusal(&fresh, &fresh.key, options).await;
    assert!(other.contains("the store of the clinic"), "{other}");
    let options = SqliteOptions {
        clinic: Some(clinic),
        ..SqliteOptions::default()
    };
    drop(fresh.open_with(options).await);

    let file = rusqlite::Connection::open(fresh.path().join("punte.db")).unwrap();
    file.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, x'00', 0)",
        [],
    )
    .unwrap();
    drop(file);
    let newer = refusal(&fresh, &fresh.key, SqliteOptions::default()).await;
    assert!(
        newer.contains("version 999") && newer.contains("newer program"),
        "{newer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn big_bodies_of_an_earlier_version_are_refused() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    seq(store.commit(commit(message("c1", "small"))).await.unwrap());
    store.close().await.unwrap();
    let earlier = || {
        let file = rusqlite::Connection::open(fresh.path().join("punte.db")).unwrap();
        file.execute_batch(
            "DELETE FROM _sqlx_migrations WHERE version > 17; DROP TABLE sieve; DROP TABLE sieve_of;
             ALTER TABLE blob DROP COLUMN pack",
        )
        .unwrap();
    };
    earlier();
    // Without any, it is brought to this version.
    let store = fresh.open().await;
    seq(store
        .commit(commit(message("c2", vec![b'x'; 300_000])))
        .await
        .unwrap());
    store.close().await.unwrap();
    earlier();
    let refused = refusal(&fresh, &fresh.key, SqliteOptions::default()).await;
    assert!(refused.contains("version 17, whose big bodies"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_taken_away_takes_nothing_until_it_is_back() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    seq(store.commit(commit(message("c1", "one"))).await.unwrap());
    for name in ["punte.db", "punte.db-wal"] {
        let (file, aside) = (fresh.path().join(name), fresh.path().join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        let refused = store.commit(commit(message("c2", "two"))).await;
        assert!(
            matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("taken away")),
            "{refused:?}"
        );
        std::fs::rename(&aside, &file).unwrap();
        seq(store.commit(commit(message(name, "three"))).await.unwrap());
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_an_abrupt_end() {
    let fresh = Fresh::new();
    let copy = Fresh {
        folder: tempfile::tempdir().unwrap(),
        key: MasterKey::from_hex(&"ab".repeat(32)).unwrap(),
    };
    let fresh = Fresh {
        key: MasterKey::from_hex(&"ab".repeat(32)).unwrap(),
        ..fresh
    };
    let store = fresh.open().await;
    for n in 0..50 {
        let mut work = commit(message(&format!("c{n}"), format!("body {n}")));
        work.deliveries = vec![delivery("ris", None)];
        seq(store.commit(work).await.unwrap());
    }
    // What a killed process leaves: the files as they are, the log not checkpointed.
    for name in ["punte.db", "punte.db-wal"] {
        std::fs::copy(fresh.path().join(name), copy.path().join(name)).unwrap();
    }
    let store = copy.open().await;
    assert_eq!(store.messages(&all()).await.unwrap().len(), 50);
    assert_eq!(store.waiting("lab", "ris", 0, 100).await.unwrap().len(), 50);
    // Repeats are known again, and numbers go on.
    let found = repeat(store.commit(commit(message("c49", "body 49"))).await.unwrap());
    assert_eq!(
        seq(store.commit(commit(message("c50", "new"))).await.unwrap(),),
        found.seq + 1
    );
    assert_eq!(
        store.counts().await.unwrap(),
        [("lab".to_owned(), MessageState::Routed, 51)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_found_in_older_buckets() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let many = async |store: &Arc<SqliteStore>, from: u32, to: u32| {
        let work = (from..to).map(|n| store.commit(commit(message(&format!("c{n}"), format!("body {n}")))));
        futures_util::future::join_all(work).await
    };
    // They are handed in at once: who is first in the inbox is nobody's promise.
    let outcomes = many(&store, 0, 9000).await;
    let seqs: Vec<i64> = outcomes
        .into_iter()
        .map(|outcome| seq(outcome.unwrap()))
        .collect();
    drop(store);
    let store = fresh.open().await;
    for n in [0, 4095, 4096, 8999] {
        for outcome in many(&store, n, n + 1).await {
            assert_eq!(repeat(outcome.unwrap()).seq, seqs[n as usize]);
        }
    }
    // One with the same number as another has in an old bucket is told so.
    let reused = message("c5", "other");
    seq(store.commit(commit(reused.clone())).await.unwrap());
    assert!(
        store
            .message(reused.id)
            .await
            .unwrap()
            .unwrap()
            .row
            .reused_control_id
    );
    let by_key = MessageFilter {
        control_id: Some("c5".into()),
        ..all()
    };
    assert_eq!(store.messages(&by_key).await.unwrap().len(), 2);
    // The first 8,192 have a sieve now: what it denies is not looked for, what is there is found.
    let file = rusqlite::Connection::open(fresh.path().join("punte.db")).unwrap();
    let sieves = || file.query_row("SELECT count(*) FROM sieve_of", [], |row| row.get::<_, i64>(0));
    let until = Instant::now() + Duration::from_secs(20);
    while sieves().unwrap() == 0 {
        assert!(Instant::now() < until, "no sieve is made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (control_id, wanted) in [
        ("c0", 1),
        ("c5", 2),
        ("c4095", 1),
        ("c8999", 1),
        ("c9000", 0),
        ("d1", 0),
    ] {
        let by_key = MessageFilter {
            control_id: Some(control_id.into()),
            ..all()
        };
        let found = store.messages(&by_key).await.unwrap().len();
        assert_eq!(found, wanted, "{control_id}");
    }
    let by_patient = MessageFilter {
        patient: Some("1234^HIS".into()),
        limit: 5000,
        ..all()
    };
    let rows = store.messages(&by_patient).await.unwrap();
    assert_eq!(rows.len(), 5000);
    assert!(rows.is_sorted_by(|one, other| one.seq > other.seq));
    file.execute_batch("UPDATE sieve SET bits = zeroblob(4032)")
        .unwrap();
    assert_eq!(
        store.messages(&by_key).await.unwrap().len(),
        1,
        "the sieve is not asked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_shows_what_was_stored() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let secrets = [
        "Marinescu",
        "1960229123456",
        "kalium",
        "LIS|LAB",
        "MSGCTRL77",
        "1234^HIS",
        "127.0.0.1:4000",
        "s3cr3t-key",
    ];
    let body = "PID|||1960229123456||Marinescu^Ana\rOBX|1|NM|kalium||4.1 ".repeat(40);
    let mut patient = record(clinic::Kind::Patient, Uuid::now_v7());
    patient
        .aggregate
        .identifiers_mut()
        .push(identifier("urn:oid:cnp", "1960229123456"));
    let mut work = applying("MSGCTRL77", vec![write(patient)]);
    work.message.incoming.body = body.clone().into();
    work.deliveries = vec![delivery("portal", Some(&body)), delivery("ris", None)];
    seq(store.commit(work).await.unwrap());
    let big = body.repeat(300);
    assert!(big.len() > 512 * 1024);
    seq(store.commit(commit(message("MSGCTRL77", big))).await.unwrap());
    let waiting = store.waiting("lab", "portal", 0, 1).await.unwrap();
    store
        .attempted(engine::store::Attempted {
            delivery: waiting[0].id,
            number: 1,
            at: crate::make::now(),
            state: engine::message::DeliveryState::Sent,
            due: None,
            verdict: "accepted",
            why: Some("kalium".into()),
            reference: Some("Marinescu".into()),
            response: Some("Marinescu".into()),
        })
        .await
        .unwrap();
    let key = engine::store::ApiKey {
        name: "portal".into(),
        scopes: vec![],
        created_at: crate::make::now(),
        expires_at: None,
    };
    store.add_api_key(&key, "s3cr3t-key").await.unwrap();
    let look = || {
        let mut seen = 0;
        let mut folders = vec![fresh.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                seen += bytes.len();
                for secret in secrets {
                    let found = bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes());
                    assert!(!found, "{secret} stands in {}", path.display());
                }
            }
        }
        seen
    };
    assert!(look() > 0);
    store.close().await.unwrap();
    assert!(look() > 512 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_goes_on_by_itself() {
    let fresh = Fresh::new();
    drop(fresh.open().await);
    let options = SqliteOptions {
        max_pages: 120,
        ..SqliteOptions::default()
    };
    let store = fresh.open_with(options).await;
    let mut stored = 0;
    let full = loop {
        // What can't be compressed, so that it takes its room.
        let body: Vec<u8> = (0..4)
            .flat_map(|_| *Uuid::now_v7().as_bytes())
            .cycle()
            .take(60_000)
            .collect();
        let body: Vec<u8> = body
            .iter()
            .zip(0u32..)
            .map(|(b, n)| b ^ (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        match store.commit(commit(message(&format!("c{stored}"), body))).await {
            Ok(Committed::Stored { .. }) => stored += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
        assert!(stored < 1000);
    };
    assert!(matches!(full, StoreError::Full), "{full}");
    assert!(stored > 0);
    // Nothing of the refused one is there; what fits is still taken.
    assert_eq!(store.messages(&all()).await.unwrap().len(), stored);
    seq(store.commit(commit(message("small", "x"))).await.unwrap());
    drop(store);
    let store = fresh.open().await;
    assert_eq!(store.messages(&all()).await.unwrap().len(), stored + 1);
    seq(store
        .commit(commit(message(&format!("c{stored}"), vec![7; 200_000])))
        .await
        .unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_database_refuses_does_not_take_others_with_it() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let first = message("c1", "one");
    seq(store.commit(commit(first.clone())).await.unwrap());
    let mut twin = message("c2", "two");
    twin.id = first.id;
    let (twin, fine) = tokio::join!(
        store.commit(commit(twin)),
        store.commit(commit(message("c3", "three")))
    );
    assert!(matches!(twin, Err(StoreError::Unavailable(_))));
    seq(fine.unwrap());
    assert_eq!(store.messages(&all()).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_started_anew() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let log = fresh.path().join("punte.db-wal");
    let mut longest = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let mut n = 0;
    // Four times the length at which a busy log is started anew.
    while n < 1200 && std::time::Instant::now() < deadline {
        let work = (n..n + 20).map(|n| {
            let body: Vec<u8> = (0..200_000u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n as u8)
                .collect();
            store.commit(commit(message(&format!("c{n}"), body)))
        });
        for outcome in futures_util::future::join_all(work).await {
            seq(outcome.unwrap());
        }
        n += 20;
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    assert_eq!(n, 1200);
    assert!(longest < 140_000_000, "the log grew to {longest} bytes");
}
