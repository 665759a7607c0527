//! New keys: another master key, another data key.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::store::verify::verify;
use engine::store::{
    MasterKey, ResealPlace, RewrapError, SqliteOptions, SqliteStore, Store, StoreError, hand_over, rewrap,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::Fresh;
use crate::make::{commit, message, repeat, seq};
use crate::verify_suite::filled;

fn hex(digit: &str) -> MasterKey {
    MasterKey::from_hex(&digit.repeat(64)).unwrap()
}

async fn open(folder: &Path, key: &MasterKey) -> Result<std::sync::Arc<SqliteStore>, StoreError> {
    SqliteStore::open(folder, key, SqliteOptions::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_master_key_comes_in_place_while_the_store_is_open() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    seq(store.commit(commit(message("c1", "one"))).await.unwrap());
    let new = hex("b");
    assert!(matches!(
        rewrap(fresh.path(), &hex("c"), &new),
        Err(RewrapError::Store(StoreError::Damaged(_)))
    ));
    // Messages come in all the while.
    let writes = async {
        for n in 0..100 {
            seq(store
                .commit(commit(message(&format!("w{n}"), "x")))
                .await
                .unwrap());
        }
    };
    let (folder, old) = (fresh.path().to_owned(), &fresh.key);
    let changes = async {
        let keys = tokio::task::block_in_place(|| rewrap(&folder, old, &new)).unwrap();
        assert_eq!(keys, 2, "a data key and the hash key");
    };
    tokio::join!(writes, changes);
    assert!(matches!(
        rewrap(fresh.path(), &fresh.key, &new),
        Err(RewrapError::Already)
    ));
    seq(store.commit(commit(message("c2", "two"))).await.unwrap());
    // The new one can be handed over to who has the store open, sealed; the old one and another's can't.
    assert!(hand_over(fresh.path(), &fresh.key).is_err());
    let handed = hand_over(fresh.path(), &new).unwrap();
    assert!(!handed.windows(4).any(|bytes| bytes == [0xbb; 4]), "it is sealed");
    assert!(store.handed_key(&handed[1..]).is_err());
    let key = store.handed_key(&handed).unwrap();
    assert!(SqliteStore::look(fresh.path(), &key, None).is_ok());
    store.close().await.unwrap();
    drop(store);
    let files = state(fresh.path());
    let refused = open(fresh.path(), &fresh.key).await.err().unwrap();
    assert!(refused.to_string().contains("another master key"), "{refused}");
    assert_eq!(state(fresh.path()), files, "what is refused changes nothing");
    let store = open(fresh.path(), &new).await.unwrap();
    repeat(store.commit(commit(message("c1", "one"))).await.unwrap());
    store.close().await.unwrap();
}

/// The database and its log, byte by byte.
fn state(folder: &Path) -> Vec<Vec<u8>> {
    ["punte.db", "punte.db-wal"]
        .iter()
        .map(|name| std::fs::read(folder.join(name)).unwrap_or_default())
        .collect()
}

/// Under which keys the values of the store are, by the last byte of each; the journal's aside.
fn keys_of_values(folder: &Path) -> BTreeSet<u8> {
    let file = Connection::open(folder.join("punte.db")).unwrap();
    let mut keys = BTreeSet::new();
    for (table, column) in [
        ("message", "head"),
        ("body", "body"),
        ("delivery", "body"),
        ("attempt", "note"),
        ("aggregate", "data"),
        ("history", "data"),
        ("cursor", "cursor"),
        ("halt", "note"),
        ("seen", "note"),
    ] {
        let sql = format!("SELECT DISTINCT substr({column}, -1) FROM {table} WHERE {column} IS NOT NULL");
        let mut statement = file.prepare(&sql).unwrap();
        let found = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        for last in found {
            keys.extend(last.unwrap());
        }
    }
    for folder in std::fs::read_dir(folder.join("blobs")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            // What lies ready for the next one is empty.
            if path.extension().is_none() {
                let file = std::fs::read(path).unwrap();
                // Behind the seal are zeros and the length.
                keys.extend(file[..file.len() - 8].iter().rfind(|byte| **byte != 0));
            }
        }
    }
    keys
}

async fn pass(store: &dyn Store, steps: usize) -> u64 {
    let (mut count, mut place) = (0, Some(ResealPlace::default()));
    for _ in 0..steps {
        let Some(at) = place else { break };
        let step = store.reseal(at).await.unwrap();
        count += step.count;
        place = step.next;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_data_key_seals_everything_anew_also_after_a_kill() {
    let fresh = filled().await;
    let store = fresh.open().await;
    crate::journal_suite::reads(store.as_ref(), 3, Uuid::now_v7()).await;
    assert!(matches!(
        store.renew_key(&hex("c")).await,
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(store.seal_keys().await.unwrap().now, 1);
    assert_eq!(store.renew_key(&fresh.key).await.unwrap(), 2);
    seq(store.commit(commit(message("new", "x"))).await.unwrap());
    let keys = store.seal_keys().await.unwrap();
    assert_eq!((keys.now, keys.is_resealed), (2, false));
    assert_eq!(keys.older, [(1, 3)]);
    // A few steps, and what a kill leaves: the files as they are.
    assert!(pass(store.as_ref(), 3).await > 0);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(fresh.path(), copy.path());
    assert_eq!(keys_of_values(copy.path()), BTreeSet::from([1, 2]));
    let store = open(copy.path(), &fresh.key).await.unwrap();
    assert_eq!(store.seal_keys().await.unwrap().now, 2);
    assert!(pass(store.as_ref(), 1000).await > 0);
    let begun = Instant::now();
    assert_eq!(pass(store.as_ref(), 1000).await, 0);
    assert_eq!(keys_of_values(copy.path()), BTreeSet::from([2]));
    // The journal's rows are as they were written, and its chain holds.
    assert!(store.forget_keys(begun).await.unwrap().is_empty());
    let keys = store.seal_keys().await.unwrap();
    assert_eq!((keys.older, keys.is_resealed), (vec![(1, 3)], true));
    assert!(store.verify_journal(None).await.unwrap().faults.is_empty());
    store.prune_journal(3).await.unwrap();
    assert_eq!(store.forget_keys(Instant::now()).await.unwrap(), [1]);
    repeat(store.commit(commit(message("new", "x"))).await.unwrap());
    store.close().await.unwrap();
    drop(store);
    let report = verify(copy.path(), &fresh.key, &mut |_, _, _| {}).unwrap();
    assert_eq!(report.faults, []);
    let store = open(copy.path(), &fresh.key).await.unwrap();
    let keys = store.seal_keys().await.unwrap();
    assert_eq!((keys.now, keys.older), (2, vec![]));
    assert_eq!(store.cursor("lab").await.unwrap().as_deref(), Some("page 7"));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_key_stays_while_something_may_be_on_its_way() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    store.renew_key(&fresh.key).await.unwrap();
    let begun = Instant::now();
    assert_eq!(pass(store.as_ref(), 100).await, 0);
    assert!(store.forget_keys(begun).await.unwrap().is_empty());
    assert!(!store.seal_keys().await.unwrap().is_resealed);
    // A pass that began long after finds the same, and may.
    let later = begun + Duration::from_secs(120);
    assert_eq!(store.forget_keys(later).await.unwrap(), [1]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_while_it_is_sealed_anew_is_there() {
    let fresh = filled().await;
    let store = fresh.open().await;
    let writes = async {
        for n in 0..300 {
            seq(store
                .commit(commit(message(&format!("w{n}"), "x")))
                .await
                .unwrap());
        }
    };
    let renews = async {
        for nr in 2..5 {
            assert_eq!(store.renew_key(&fresh.key).await.unwrap(), nr);
            while pass(store.as_ref(), 1000).await != 0 {}
        }
    };
    tokio::join!(writes, renews);
    assert_eq!(pass(store.as_ref(), 1000).await, 0);
    let later = Instant::now() + Duration::from_secs(120);
    assert_eq!(store.forget_keys(later).await.unwrap(), [1, 2, 3]);
    store.close().await.unwrap();
    drop(store);
    assert_eq!(keys_of_values(fresh.path()), BTreeSet::from([4]));
    let report = verify(fresh.path(), &fresh.key, &mut |_, _, _| {}).unwrap();
    assert_eq!((report.faults, report.messages), (vec![], 307));
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
