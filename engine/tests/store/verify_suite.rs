//! The check of the store: it finds nothing where nothing is wrong, and each kind of damage where it is.

use std::path::{Path, PathBuf};

use clinic::value::Identifier;
use clinic::{Kind, Record};
use engine::message::{DeliveryState, MessageState};
use engine::store::verify::{Fault, verify};
use engine::store::{Attempted, Store};
use rusqlite::Connection;
use uuid::Uuid;

use crate::Fresh;
use crate::make::{applying, commit, delivery, failure, identifier, message, next, now, record, seq, write};

fn big(n: u8) -> Vec<u8> {
    (0..700_000u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n)
        .collect()
}

fn patient(number: &str) -> Record {
    let mut record = record(Kind::Patient, Uuid::now_v7());
    let identifiers: &mut Vec<Identifier> = record.aggregate.identifiers_mut();
    identifiers.push(identifier("urn:mr", number));
    record
}

/// A store with something of everything, closed.
pub async fn filled() -> Fresh {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let mut who = patient("P-1");
    let mut first = applying("c1", vec![write(who.clone())]);
    first.deliveries = vec![delivery("portal", Some("{}")), delivery("ris", None)];
    let place = seq(store.commit(first).await.unwrap());
    store
        .attempted(Attempted {
            delivery: place * 1024,
            number: 1,
            at: now(),
            state: DeliveryState::Sent,
            due: None,
            verdict: "accepted",
            why: Some("fine".into()),
            reference: None,
            response: Some("taken".into()),
        })
        .await
        .unwrap();
    for id in ["c2", "c3"] {
        who = next(&who, Uuid::now_v7());
        seq(store
            .commit(applying(id, vec![write(who.clone())]))
            .await
            .unwrap());
    }
    seq(store
        .commit(applying("c4", vec![write(patient("P-2"))]))
        .await
        .unwrap());
    for (id, n) in [("b5", 0), ("b6", 1)] {
        let mut work = commit(message(id, big(n)));
        if n == 0 {
            // Short enough for a pack.
            work.deliveries = vec![delivery("portal", Some(&"short ".repeat(50_000)))];
        }
        seq(store.commit(work).await.unwrap());
    }
    let mut failed = message("f7", "unreadable");
    failed.state = MessageState::Failed;
    failed.failure = Some(failure());
    seq(store.commit(commit(failed)).await.unwrap());
    store.keep_cursor("lab", "page 7").await.unwrap();
    store.close().await.unwrap();
    fresh
}

fn check(fresh: &Fresh) -> Vec<Fault> {
    verify(fresh.path(), &fresh.key, &mut |_, _, _| {})
        .unwrap()
        .faults
}

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("blobs"))
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none())
        .collect();
    files.sort();
    files
}

/// The one pack of the store.
fn pack(folder: &Path) -> PathBuf {
    let mut packs = std::fs::read_dir(folder.join("blobs/packs")).unwrap();
    packs.next().unwrap().unwrap().path()
}

fn sql(folder: &Path, edits: &str) {
    let file = Connection::open(folder.join("punte.db")).unwrap();
    file.execute_batch(edits).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_is_wrong() {
    let fresh = filled().await;
    let report = verify(fresh.path(), &fresh.key, &mut |_, _, _| {}).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(
        (report.messages, report.deliveries, report.records, report.blobs),
        (7, 3, 4, 3)
    );
    // And while an engine has it open and writes.
    let store = fresh.open().await;
    let writes = async {
        for n in 0..200 {
            let work = applying(&format!("w{n}"), vec![write(patient(&format!("W-{n}")))]);
            seq(store.commit(work).await.unwrap());
        }
    };
    let (folder, key) = (fresh.path().to_owned(), &fresh.key);
    let checks = async {
        for _ in 0..5 {
            let faults =
                tokio::task::block_in_place(|| verify(&folder, key, &mut |_, _, _| {}).unwrap().faults);
            assert_eq!(faults, []);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, checks);
    store.close().await.unwrap();
    assert_eq!(check(&fresh), []);
}

type Damage = fn(&Path);

/// What is done to the store, and where it has to be found and in which words.
const DAMAGES: &[(&str, Damage, &str, &str)] = &[
    (
        "a byte of a body",
        |folder| {
            sql(
                folder,
                "UPDATE body SET body = CAST(substr(body, 1, 9) || x'5a' || substr(body, 11) AS BLOB) WHERE seq = 2",
            )
        },
        "number 2)",
        "its body was changed",
    ),
    (
        "the bodies of two messages swapped",
        |folder| {
            sql(
                folder,
                "CREATE TEMP TABLE t AS SELECT body FROM body WHERE seq = 2;
                 UPDATE body SET body = (SELECT body FROM body WHERE seq = 3) WHERE seq = 2;
                 UPDATE body SET body = (SELECT body FROM t) WHERE seq = 3",
            );
        },
        "number 3)",
        "or is that of another message",
    ),
    (
        "a body missing",
        |folder| sql(folder, "DELETE FROM body WHERE seq = 2"),
        "number 2)",
        "its body is missing",
    ),
    (
        "a big body cut",
        |folder| {
            let file = &blobs(folder)[0];
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() - 100]).unwrap();
        },
        "blobs/",
        "cut off",
    ),
    (
        "a big body missing",
        |folder| std::fs::remove_file(&blobs(folder)[1]).unwrap(),
        "blobs/",
        "is not there",
    ),
    (
        "a big body of another content",
        |folder| {
            let files = blobs(folder);
            std::fs::copy(&files[0], &files[1]).unwrap();
        },
        "blobs/",
        "was changed",
    ),
    (
        "a slot of a pack changed",
        |folder| {
            let pack = pack(folder);
            let mut bytes = std::fs::read(&pack).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(pack, bytes).unwrap();
        },
        "blobs/packs/",
        "was changed",
    ),
    (
        "a pack cut",
        |folder| {
            let pack = pack(folder);
            let bytes = std::fs::read(&pack).unwrap();
            std::fs::write(pack, &bytes[..bytes.len() - 100]).unwrap();
        },
        "blobs/packs/",
        "cut off",
    ),
    (
        "a pack missing",
        |folder| std::fs::remove_file(pack(folder)).unwrap(),
        "blobs/packs/",
        "is not there",
    ),
    (
        "a message taken out, its deliveries left",
        |folder| sql(folder, "DELETE FROM message WHERE seq = 1"),
        "message number 1",
        "a delivery belongs to it",
    ),
    (
        "a message taken out with all that belongs to it",
        |folder| {
            sql(
                folder,
                "DELETE FROM message WHERE seq = 7; DELETE FROM body WHERE seq = 7; DELETE FROM key WHERE message = 7;
                 UPDATE tally SET count = count - 1 WHERE what = 0 AND state = 5;
                 INSERT INTO message SELECT 8, x'00112233445566778899aabbccddeeff', channel, 2, flags, repeats, received_at,
                 length, NULL, replay_of, NULL, head, NULL, NULL FROM message WHERE seq = 6",
            );
        },
        "look from number 7 on",
        "1 too few",
    ),
    (
        "the key of repeats missing",
        |folder| sql(folder, "DELETE FROM key WHERE message = 2 AND bucket = 0"),
        "number 2)",
        "a repeat of it is known is missing",
    ),
    (
        "a key of a search missing",
        |folder| {
            sql(
                folder,
                "DELETE FROM key WHERE message = 2 AND bucket = 2 AND hash = (SELECT min(hash) FROM key WHERE message = 2 AND bucket = 2)",
            )
        },
        "message number 2",
        "by which it is found is missing",
    ),
    (
        "a gap in a history",
        |folder| sql(folder, "DELETE FROM history WHERE version = 1"),
        "Patient ",
        "versions 1 to 1 are missing",
    ),
    (
        "an earlier version in place of the newest",
        |folder| {
            sql(
                folder,
                "UPDATE aggregate SET data = (SELECT data FROM history WHERE version = 2) WHERE nr = 1",
            );
        },
        "Patient ",
        "version 3 was changed",
    ),
    (
        "a record taken out",
        |folder| sql(folder, "DELETE FROM aggregate WHERE nr = 2"),
        "number 4)",
        "which is not there",
    ),
    (
        "the message of a value taken out",
        |folder| {
            sql(
                folder,
                "DELETE FROM message WHERE seq = 4; DELETE FROM body WHERE seq = 4; DELETE FROM key WHERE message = 4",
            );
        },
        "Patient ",
        "(number 4) that wrote version 1 is not there",
    ),
    (
        "a record in the list of another patient",
        |folder| sql(folder, "UPDATE aggregate SET patient = zeroblob(16) WHERE nr = 2"),
        "Patient ",
        "listed with another patient than its own",
    ),
    (
        "a record changed at another time",
        |folder| {
            sql(
                folder,
                "UPDATE aggregate SET updated_at = updated_at + 1 WHERE nr = 2",
            )
        },
        "Patient ",
        "another time of its last change",
    ),
    (
        "a patient's key missing",
        |folder| sql(folder, "DELETE FROM find WHERE aggregate = 2"),
        "Patient ",
        "keys by which it is matched or found are missing",
    ),
    (
        "a sieve that denies what is there",
        |folder| sql(folder, "INSERT INTO sieve_of VALUES (0, 0)"),
        "message number ",
        "the table sieve does not know it",
    ),
    (
        "a number doubled",
        |folder| {
            sql(
                folder,
                "DROP INDEX message_id;
                 INSERT INTO message SELECT 8, id, channel, state, flags, repeats, received_at, length, NULL, replay_of,
                 NULL, head, NULL, NULL FROM message WHERE seq = 2;
                 INSERT INTO body SELECT 8, body FROM body WHERE seq = 2;
                 UPDATE tally SET count = count + 1 WHERE what = 0 AND state = 2;",
            );
        },
        "message ",
        "it stands in the order 2 times",
    ),
    (
        "a delivery marked as sent",
        |folder| sql(folder, "UPDATE delivery SET state = 1 WHERE state = 0"),
        "deliveries of destination ris",
        "0 are queued, and 1 should be",
    ),
    (
        "a try of no delivery",
        |folder| sql(folder, "DELETE FROM delivery WHERE id = 1024"),
        "try 1 of",
        "its delivery is not there",
    ),
    (
        "what came of a try changed",
        |folder| sql(folder, "UPDATE attempt SET note = zeroblob(64)"),
        "try 1 of",
        "what came of it was changed",
    ),
    (
        "a trigger dropped",
        |folder| sql(folder, "DROP TRIGGER journal_is_kept"),
        "trigger journal_is_kept",
        "it is missing",
    ),
    (
        "where a source goes on, of another",
        |folder| sql(folder, "UPDATE cursor SET channel = 'other'"),
        "channel other",
        "was changed",
    ),
    (
        "a big body that is not noted",
        |folder| sql(folder, "DELETE FROM blob WHERE place = -5"),
        "number 5)",
        "would be removed",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_damage_is_found_where_it_is() {
    let whole = filled().await;
    for (name, damage, place, words) in DAMAGES {
        let copy = Fresh {
            folder: tempfile::tempdir().unwrap(),
            key: engine::store::MasterKey::from_hex(&"00".repeat(32)).unwrap(),
        };
        copy_folder(whole.path(), copy.path());
        damage(copy.path());
        let faults = verify(copy.path(), &whole.key, &mut |_, _, _| {}).unwrap().faults;
        let found = |fault: &Fault| fault.place.contains(place) && fault.what.contains(words);
        assert!(faults.iter().any(found), "{name}: {faults:#?}");
        for fault in &faults {
            assert!(!fault.advice.is_empty());
            for secret in ["P-1", "P-2", "unreadable"] {
                let text = format!("{} {}", fault.place, fault.what);
                assert!(!text.contains(secret), "{name}: {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_pages_are_found() {
    let whole = filled().await;
    let path = whole.path().join("punte.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    // A page in the middle is torn: its second half is that of before.
    for page in [pages / 2, pages - 2] {
        bytes[page * 4096..page * 4096 + 2048].fill(0x5a);
    }
    std::fs::write(&path, bytes).unwrap();
    let found = verify(whole.path(), &whole.key, &mut |_, _, _| {});
    match found {
        Ok(report) => assert!(report.count > 0),
        Err(error) => assert!(error.to_string().contains("can't be read"), "{error}"),
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
