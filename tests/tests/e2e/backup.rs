//! A backup of an engine while messages flow, and a restore; and what both refuse. The people are invented.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::disk::SmallDisk;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte, binary};
use e2e::sink::Sink;
use e2e::{collect, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::scenes;

/// Nobody's name and number.
const FAMILY: &str = "Zamfirescu";
const CNP: &str = "2800514018887";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ran(output: &Output) -> Result<()> {
    anyhow::ensure!(output.status.success(), "{}", said(output));
    Ok(())
}

/// What it says where it refuses.
fn refusal(home: &Home, args: &[&str]) -> Result<String> {
    let output = home.run(args)?;
    assert_eq!(output.status.code(), Some(1), "{args:?} was not refused");
    Ok(said(&output))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn manifest(backup: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(
        backup.join("manifest.json"),
    )?)?)
}

/// Names of what stands in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn patient(id: &str, number: u32) -> String {
    format!(
        "{}EVN|A28|20260505083000\rPID|1||P-{number}^^^TEST^MR~{CNP}^^^^NNROU||{FAMILY}^Ana^^^^^L||19800514|F\r",
        scenes::msh("ADT^A28^ADT_A05", id)
    )
}

/// A result with a body that does not fit into its row.
fn big(id: &str) -> String {
    let page: String = (0..60_000_u32)
        .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    format!(
        "{}OBX|1|ED|PDF||^^^Base64^{page}|\r",
        scenes::result(id, "P-1", "O1", "1.0")
    )
}

/// The control ids of all messages.
async fn control_ids(punte: &Punte) -> Result<Vec<String>> {
    let mut ids = vec![];
    let mut before = String::new();
    loop {
        let page = punte.messages(&before).await?;
        let Some(last) = page.last() else {
            return Ok(ids);
        };
        before = format!("&before={}", last["seq"]);
        ids.extend(
            page.iter()
                .map(|row| row["control_id"].as_str().unwrap_or_default().to_owned()),
        );
    }
}

/// Sends patients until it is told to stop; returns what was acknowledged.
fn flow(
    to: std::net::SocketAddr,
    prefix: u32,
    over: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<Result<u32>> {
    tokio::spawn(async move {
        let mut sender = Sender::connect(to).await?;
        let mut number = 0;
        while !*over.borrow() {
            let text = patient(&format!("F{prefix}-{number}"), prefix * 100 + number % 50);
            let answer = sender.ask(text.as_bytes()).await?;
            assert_eq!(
                field(&answer, "MSA", 1),
                "AA",
                "{}",
                String::from_utf8_lossy(&answer)
            );
            number += 1;
        }
        Ok(number)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_while_messages_flow_has_all_that_was_acknowledged_before() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[
        ("clinic", &scenes::clinic(portal.address, ris.address)),
        ("route", &scenes::route(ris.address)),
    ])?;
    std::fs::create_dir(home.path().join("channels/tables"))?;
    std::fs::write(home.path().join("channels/tables/wards.csv"), "from,to\nA,1\n")?;
    let punte = home.serve()?;
    let mut acknowledged = vec![];
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    for number in 0..40 {
        let id = format!("B-{number}");
        let answer = sender.ask(patient(&id, number % 10).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
        acknowledged.push(id);
    }
    let picture = big("BIG-1");
    let mut route = Sender::connect(punte.listens("route")).await?;
    assert_eq!(field(&route.ask(picture.as_bytes()).await?, "MSA", 1), "AA");
    acknowledged.push("BIG-1".to_owned());
    // Somebody reads, so that there is a journal.
    home.json(&["messages", "--patient", "P-1", "--json"])?;
    // It is written a moment later.
    eventually(
        "the read is in the journal",
        Duration::from_secs(20),
        async || {
            let journal = home.json(&["journal", "--json"]).ok()?;
            journal["journal"]
                .as_array()
                .is_some_and(|rows| !rows.is_empty())
                .then_some(())
        },
    )
    .await;

    let (over_tx, over) = watch::channel(false);
    let flows: Vec<_> = (1..4)
        .map(|prefix| flow(punte.listens("clinic"), prefix, over.clone()))
        .collect();
    let place = TempDir::new()?;
    let backup = place.path().join("friday");
    let first = control_ids(&punte).await?.len();
    let made = home.json(&["backup", text(&backup), "--json"])?;
    let last = control_ids(&punte).await?.len();
    over_tx.send(true)?;
    let mut flowed = 0;
    for flow in flows {
        flowed += flow.await??;
    }
    assert!(
        first < last && 0 < flowed,
        "nothing flowed while the backup was made"
    );
    assert_eq!(names(place.path()), ["friday"]);
    assert_eq!(made["key_file"], text(&home.key_file()));
    // What is written after it is not in it: it is what stood there at one moment.
    let counts = manifest(&backup)?["counts"].clone();
    let stored = counts["messages"].as_u64().context("no count")? as usize;
    assert!((first..=last).contains(&stored), "{first} {stored} {last}");
    assert_eq!(counts["blobs"], 1);

    // Nothing in it says who the patients are, and the key is not in it.
    let key = std::fs::read_to_string(home.key_file())?;
    let mut files: Vec<PathBuf> = vec![];
    collect(&backup, &mut files)?;
    assert!(5 <= files.len(), "{files:?}");
    for file in &files {
        let bytes = std::fs::read(file)?;
        for secret in [FAMILY, CNP, "P-1^^^TEST", "19800514", key.trim()] {
            let stands = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!stands, "{secret} stands in {}", file.display());
        }
    }
    punte.stop()?;

    let new = Home::empty_with_key_of(&home)?;
    let restored = new.json(&["restore", text(&backup), "--json"])?;
    assert_eq!(restored["counts"], counts);
    assert_eq!(
        std::fs::read(new.path().join("channels/tables/wards.csv"))?,
        std::fs::read(home.path().join("channels/tables/wards.csv"))?
    );
    assert_eq!(names(new.path()), ["channels", "data"]);
    let head = restored["journal_head"].as_str().context("no head")?;
    assert!(!head.starts_with("0:"), "{head}");
    ran(&new.run(&["verify", "--journal-head", head])?)?;
    let punte = new.serve()?;
    let ids = control_ids(&punte).await?;
    assert_eq!(ids.len(), stored);
    for id in &acknowledged {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id}");
    }
    let found = new.json(&["messages", "--control-id", "BIG-1", "--json"])?;
    let id = found["messages"][0]["id"]
        .as_str()
        .context("no message")?
        .to_owned();
    let shown = new.run(&["messages", "show", &id, "--raw"])?;
    assert!(shown.stdout == picture.as_bytes(), "the big body is another one");
    ran(&new.run(&["verify", "--journal-head", head])?)?;
    // It goes on: what is new is taken, and what was there is a repeat.
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    for id in ["B-0", "NEW-1"] {
        let answer = sender.ask(patient(id, 0).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    assert_eq!(control_ids(&punte).await?.len(), stored + 1);
    Ok(())
}

/// A stopped engine with a few messages, one of them big.
async fn stopped() -> Result<Home> {
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("route", &scenes::route(ris.address))])?;
    std::fs::write(home.path().join("channels/wards.csv"), "from,to\nA,1\n")?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    for text in [patient("1", 1), patient("2", 2), big("3")] {
        assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    }
    punte.stop()?;
    Ok(home)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut files = vec![];
    collect(from, &mut files)?;
    for file in files {
        let target = to.join(file.strip_prefix(from)?);
        std::fs::create_dir_all(target.parent().context("no parent")?)?;
        std::fs::copy(&file, target)?;
    }
    Ok(())
}

/// Changes a byte in the middle of a file.
fn damage(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(path, bytes)?)
}

fn change(backup: &Path, key: &str, value: Value) -> Result<()> {
    let mut all = manifest(backup)?;
    *all.pointer_mut(key).context("no such key")? = value;
    Ok(std::fs::write(backup.join("manifest.json"), all.to_string())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_restored_is_refused_and_leaves_nothing() -> Result<()> {
    let home = stopped().await?;
    let place = TempDir::new()?;
    let good = place.path().join("good");
    ran(&home.run(&["backup", text(&good)])?)?;
    let blob = manifest(&good)?["files"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|file| {
            file["path"]
                .as_str()
                .filter(|path| path.starts_with("data/blobs/"))
                .map(str::to_owned)
        })
        .context("no blob")?;

    type Spoil<'a> = Box<dyn Fn(&Path) -> Result<()> + 'a>;
    let cases: Vec<(&str, Spoil<'_>, &[&str])> = vec![
        (
            "database",
            Box::new(|at| damage(&at.join("data/punte.db"))),
            &["damaged", "data/punte.db", "was changed"],
        ),
        (
            "table",
            Box::new(|at| damage(&at.join("channels/wards.csv"))),
            &["damaged", "channels/wards.csv"],
        ),
        (
            "blob",
            Box::new(|at| damage(&at.join(&blob))),
            &["damaged", "data/blobs/", "was changed"],
        ),
        (
            "cut",
            Box::new(|at| {
                Ok(std::fs::File::options()
                    .write(true)
                    .open(at.join("data/punte.db"))?
                    .set_len(8192)?)
            }),
            &["data/punte.db", "has 8192 bytes and had"],
        ),
        (
            "gone",
            Box::new(|at| Ok(std::fs::remove_file(at.join(&blob))?)),
            &["data/blobs/", "not there"],
        ),
        (
            "broken off",
            Box::new(|at| Ok(std::fs::remove_file(at.join("manifest.json"))?)),
            &["no manifest.json", "broken off"],
        ),
        (
            "half a manifest",
            Box::new(|at| {
                let path = at.join("manifest.json");
                let bytes = std::fs::read(&path)?;
                Ok(std::fs::write(&path, &bytes[..bytes.len() / 2])?)
            }),
            &["manifest.json can't be read"],
        ),
        (
            "newer tables",
            Box::new(|at| change(at, "/schema", 999.into())),
            &["version 999", "newer one"],
        ),
        (
            "newer form",
            Box::new(|at| change(at, "/form", 999.into())),
            &["form 999", "newer one"],
        ),
        (
            "other counts",
            Box::new(|at| change(at, "/counts/messages", 4.into())),
            &["messages: 4", "messages: 3"],
        ),
        (
            "a way out",
            Box::new(|at| change(at, "/files/0/path", "../outside".into())),
            &["\"../outside\"", "no backup has"],
        ),
    ];
    for (name, spoil, words) in cases {
        let bad = place.path().join("bad");
        copy_folder(&good, &bad)?;
        spoil(&bad)?;
        let new = Home::empty_with_key_of(&home)?;
        let refusal = refusal(&new, &["restore", text(&bad)])?;
        for word in words {
            assert!(refusal.contains(word), "{name}: {refusal}");
        }
        assert!(
            names(new.path()).is_empty(),
            "{name} left {:?}",
            names(new.path())
        );
        std::fs::remove_dir_all(&bad)?;
    }

    let new = Home::empty_with_key_of(&home)?;
    std::fs::write(new.key_file(), "ab".repeat(32))?;
    let other = refusal(&new, &["restore", text(&good)])?;
    assert!(other.contains("another master key"), "{other}");
    std::fs::remove_file(new.key_file())?;
    let none = refusal(&new, &["restore", text(&good)])?;
    assert!(
        none.contains("is not there. Put the copy you kept there"),
        "{none}"
    );
    assert!(names(new.path()).is_empty() && !new.key_file().exists());
    // Where something is, nothing is written over.
    let before = std::fs::read(home.path().join("data/punte.db"))?;
    let full = refusal(&home, &["restore", text(&good)])?;
    assert!(full.contains("never writes over"), "{full}");
    assert!(before == std::fs::read(home.path().join("data/punte.db"))?);
    // And the good one is good.
    let new = Home::empty_with_key_of(&home)?;
    ran(&new.run(&["restore", text(&good)])?)?;
    ran(&new.run(&["verify"])?)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_can_t_be_made_leaves_nothing() -> Result<()> {
    let home = stopped().await?;
    let place = TempDir::new()?;
    let to = place.path().join("b");
    std::fs::create_dir(&to)?;
    let taken = refusal(&home, &["backup", text(&to)])?;
    assert!(taken.contains("is there already"), "{taken}");
    assert!(names(&to).is_empty());
    std::fs::remove_dir(&to)?;
    let inside = home.path().join("data/b");
    let within = refusal(&home, &["backup", text(&inside)])?;
    assert!(within.contains("which is what is backed up"), "{within}");
    assert!(!inside.exists());
    let nowhere = refusal(&home, &["backup", text(&place.path().join("none/b"))])?;
    assert!(nowhere.contains("in which the backup is to lie"), "{nowhere}");

    // Killed at any moment, it has its name only where it is whole.
    for moment in 0..12_u64 {
        let to = place.path().join(format!("killed-{moment}"));
        let mut child = home
            .command(&["backup", text(&to)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::time::sleep(Duration::from_millis(4 * moment)).await;
        let _ = child.kill();
        let _ = child.wait();
        if to.exists() {
            let new = Home::empty_with_key_of(&home)?;
            ran(&new.run(&["restore", text(&to)])?)?;
        }
    }
    for name in names(place.path())
        .iter()
        .filter(|name| name.ends_with(".partial"))
    {
        let new = Home::empty_with_key_of(&home)?;
        let part = place.path().join(name);
        if !part.join("manifest.json").exists() {
            let refusal = refusal(&new, &["restore", text(&part)])?;
            assert!(refusal.contains("broken off"), "{refusal}");
        }
        std::fs::remove_dir_all(part)?;
    }

    // A big body that is gone: which, and of what message.
    let mut files = vec![];
    collect(&home.path().join("data/blobs"), &mut files)?;
    let [blob] = files.as_slice() else {
        panic!("{files:?}")
    };
    std::fs::remove_file(blob)?;
    let gone = refusal(&home, &["backup", text(&to)])?;
    // Full or not, a pack has one name before the dot.
    assert!(
        gone.contains(text(&blob.with_extension(""))) && gone.contains("of message "),
        "{gone}"
    );
    assert!(
        !names(place.path())
            .iter()
            .any(|name| name == "b" || name.ends_with(".partial"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_a_backup_and_a_restore_with_nothing_half_done() -> Result<()> {
    let home = stopped().await?;
    let place = TempDir::new()?;
    let (small, good) = (place.path().join("small"), place.path().join("good"));
    std::fs::create_dir(&small)?;
    ran(&home.run(&["backup", text(&good)])?)?;
    let to = small.join("b");
    // Too small for the database, and too small for the big body after it.
    let database = std::fs::metadata(good.join("data/punte.db"))?.len() / 1024;
    for size in [database / 2, database + 100] {
        let Some(disk) = SmallDisk::over(&small, &format!("{size}k"))? else {
            return Ok(());
        };
        let words = disk.words();
        for args in [
            ["backup", text(&to), "--home", text(home.path())],
            ["restore", text(&good), "--home", text(&small)],
        ] {
            let output = Command::new(&words[0])
                .args(&words[1..])
                .arg(binary())
                .args(args)
                .env("PUNTE_KEY_FILE", home.key_file())
                .output()?;
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            assert!(said(&output).contains("the disk is full"), "{}", said(&output));
            assert_eq!(names(&disk.seen(&small)), [""; 0]);
        }
    }
    Ok(())
}
