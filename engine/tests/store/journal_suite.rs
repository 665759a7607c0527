//! The journal: what was read comes back by patient; each kind of tampering with the file is found.

use std::sync::Arc;

use engine::actor::Actor;
use engine::store::{Access, AccessFilter, AccessOutcome, JournalHead, Store};
use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use crate::Fresh;

fn access(nr: u64, patient: Uuid) -> Access {
    Access {
        at: Timestamp::from_second(1_800_000_000 + nr as i64).unwrap(),
        actor: Actor {
            key: Some("portal".to_owned()),
            user: Some("Ionescu".to_owned()),
            channel: None,
            peer: Some("10.0.0.7".to_owned()),
        },
        action: "read".to_owned(),
        what: vec![format!("Patient/{patient}")],
        patients: vec![patient],
        identifiers: vec![format!("MRN-{nr}")],
        outcome: AccessOutcome::Shown,
        words: Some("Patient?family=Popescu".to_owned()),
        purpose: Some("TREAT".to_owned()),
    }
}

pub async fn reads(store: &dyn Store, count: u64, patient: Uuid) {
    for nr in 1..=count {
        store.accessed(access(nr, patient)).await.unwrap();
    }
}

fn about(who: &str) -> AccessFilter {
    AccessFilter {
        about: vec![who.to_owned()],
        limit: 100,
        ..AccessFilter::default()
    }
}

pub async fn reads_are_found_by_whom_they_are_about(store: Arc<dyn Store>) {
    let (ana, bogdan) = (Uuid::now_v7(), Uuid::now_v7());
    reads(store.as_ref(), 5, ana).await;
    store.accessed(access(6, bogdan)).await.unwrap();
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.first, report.last, report.faults.len()), (1, 6, 0));
    assert_eq!(report.head, store.journal_head().to_string());
    let all = AccessFilter {
        limit: 100,
        ..AccessFilter::default()
    };
    let listed = store.journal(&all).await.unwrap();
    assert_eq!(
        listed.iter().map(|row| row.nr).collect::<Vec<_>>(),
        [6, 5, 4, 3, 2, 1]
    );
    assert_eq!(listed[0].access, access(6, bogdan));
    assert_eq!(store.journal(&about(&ana.to_string())).await.unwrap().len(), 5);
    assert_eq!(store.journal(&about("MRN-6")).await.unwrap()[0].nr, 6);
    assert!(store.journal(&about("MRN-7")).await.unwrap().is_empty());
    let page = AccessFilter {
        before: Some(4),
        limit: 2,
        ..about(&ana.to_string())
    };
    let page = store.journal(&page).await.unwrap();
    assert_eq!(page.iter().map(|row| row.nr).collect::<Vec<_>>(), [3, 2]);
    let since = AccessFilter {
        since: Some(access(3, ana).at),
        until: Some(access(5, ana).at),
        ..all
    };
    let between = store.journal(&since).await.unwrap();
    assert_eq!(between.iter().map(|row| row.nr).collect::<Vec<_>>(), [4, 3]);
}

/// Ten rows in a closed store, and how the journal ended after the seventh and after the last.
async fn ten() -> (Fresh, JournalHead, JournalHead) {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let patient = Uuid::now_v7();
    reads(store.as_ref(), 7, patient).await;
    store.verify_journal(None).await.unwrap();
    let seven = store.journal_head();
    reads(store.as_ref(), 3, patient).await;
    store.close().await.unwrap();
    (fresh, seven, store.journal_head())
}

/// What the check says after somebody edited the file.
async fn after(edit: &str, head: Option<JournalHead>) -> Vec<(u64, String)> {
    let (fresh, seven, last) = ten().await;
    let file = Connection::open(fresh.path().join("punte.db")).unwrap();
    file.execute_batch("DROP TRIGGER journal_is_not_changed; DROP TRIGGER journal_is_kept;")
        .unwrap();
    file.execute_batch(edit).unwrap();
    drop(file);
    let store = fresh.open().await;
    let head = head.map(|head| match head.length {
        7 => seven,
        _ => last,
    });
    let report = store.verify_journal(head).await.unwrap();
    report
        .faults
        .into_iter()
        .map(|fault| (fault.nr, fault.what))
        .collect()
}

fn seven() -> Option<JournalHead> {
    Some(JournalHead {
        length: 7,
        ..JournalHead::default()
    })
}

fn ends() -> Option<JournalHead> {
    Some(JournalHead {
        length: 10,
        ..JournalHead::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_tampering_is_found() {
    assert_eq!(after("", ends()).await, []);
    assert_eq!(after("", seven()).await, []);
    for (edit, row, word) in [
        ("UPDATE journal SET at = at + 1 WHERE nr = 4", 4, "changed"),
        (
            "UPDATE journal SET entry = (SELECT entry FROM journal WHERE nr = 5) WHERE nr = 4",
            4,
            "changed",
        ),
        (
            "UPDATE journal SET id = randomblob(16) WHERE nr = 4",
            4,
            "changed",
        ),
        (
            "UPDATE journal SET mac = randomblob(32) WHERE nr = 4",
            4,
            "changed",
        ),
        ("UPDATE journal SET mac = x'00' WHERE nr = 4", 4, "changed"),
        ("UPDATE journal SET entry = 'text' WHERE nr = 4", 4, "changed"),
        ("DELETE FROM journal WHERE nr = 4", 4, "rows 4 to 4 are missing"),
        ("DELETE FROM journal WHERE nr < 4", 1, "rows 1 to 3 are missing"),
        (
            "DELETE FROM journal WHERE nr = 4; UPDATE journal SET nr = nr - 1 WHERE nr > 4",
            4,
            "changed",
        ),
        (
            "UPDATE journal SET nr = 99 WHERE nr = 4; UPDATE journal SET nr = 4 WHERE nr = 5; UPDATE journal SET nr = 5 WHERE nr = 99",
            4,
            "changed",
        ),
        (
            "INSERT INTO journal SELECT chain, 11, id, at, entry, mac FROM journal WHERE nr = 10",
            11,
            "changed",
        ),
        (
            "INSERT INTO journal SELECT 2, nr, id, at, entry, mac FROM journal WHERE nr = 10",
            0,
            "put in",
        ),
        ("DELETE FROM journal_patient WHERE nr = 4", 4, "index of patients"),
        (
            "DELETE FROM journal WHERE nr < 4; INSERT INTO journal_start SELECT 1, 3, randomblob(32), randomblob(32)",
            3,
            "beginning of the chain was changed",
        ),
    ] {
        let faults = after(edit, None).await;
        let found = faults.iter().find(|(at, what)| *at == row && what.contains(word));
        assert!(found.is_some(), "{edit}: {faults:?}");
    }
    // An end that was cut shows only against a line of the log; and one that was cut and written anew, too.
    let cut = "DELETE FROM journal WHERE nr > 6";
    assert_eq!(after(cut, None).await, []);
    for head in [seven(), ends()] {
        let faults = after(cut, head).await;
        assert!(
            faults.len() == 1 && faults[0].1.contains("its end was cut"),
            "{faults:?}"
        );
    }
    // What was written after the line proves nothing against it.
    assert_eq!(after("DELETE FROM journal WHERE nr > 8", seven()).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_written_anew_after_a_cut_does_not_fit_the_log() {
    let (fresh, seven, last) = ten().await;
    let file = Connection::open(fresh.path().join("punte.db")).unwrap();
    file.execute_batch("DROP TRIGGER journal_is_kept; DELETE FROM journal WHERE nr > 5; DELETE FROM journal_patient WHERE nr > 5")
        .unwrap();
    drop(file);
    let store = fresh.open().await;
    reads(store.as_ref(), 20, Uuid::now_v7()).await;
    assert!(store.verify_journal(None).await.unwrap().faults.is_empty());
    for head in [seven, last] {
        let report = store.verify_journal(Some(head)).await.unwrap();
        assert!(
            report.faults[0].what.contains("written anew"),
            "{:?}",
            report.faults
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_leaves_a_keyed_beginning() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let patient = Uuid::now_v7();
    reads(store.as_ref(), 10, patient).await;
    assert!(store.prune_journal(4).await.unwrap());
    assert!(!store.prune_journal(4).await.unwrap(), "it is gone already");
    reads(store.as_ref(), 2, patient).await;
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.first, report.last, report.faults.len()), (5, 12, 0));
    assert_eq!(
        store.journal(&about(&patient.to_string())).await.unwrap().len(),
        8
    );
    // All of it, and on.
    assert!(store.prune_journal(12).await.unwrap());
    store.close().await.unwrap();
    drop(store);
    let store = fresh.open().await;
    reads(store.as_ref(), 1, patient).await;
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.first, report.last, report.faults.len()), (13, 13, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_stands_plain_and_the_program_only_adds() {
    let (fresh, _, _) = ten().await;
    let mut bytes = std::fs::read(fresh.path().join("punte.db")).unwrap();
    bytes.extend(std::fs::read(fresh.path().join("punte.db-wal")).unwrap_or_default());
    for word in ["Popescu", "Ionescu", "MRN-", "portal", "10.0.0.7", "TREAT"] {
        let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
        assert!(!found, "{word} stands in the file");
    }
    let file = Connection::open(fresh.path().join("punte.db")).unwrap();
    assert!(file.execute("UPDATE journal SET at = 0", []).is_err());
    assert!(file.execute("DELETE FROM journal WHERE nr = 1", []).is_err());
}
