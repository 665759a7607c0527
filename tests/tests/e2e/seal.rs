//! Where the master key comes from, and new keys while messages flow. The people are invented.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::collect;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;
use tempfile::TempDir;

use crate::scenes;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files of the data folder, byte by byte; those of a running program aside.
fn files(home: &Home) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = vec![];
    collect(&home.path().join("data"), &mut paths)?;
    paths.sort();
    let mut files = vec![];
    for path in paths {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let bytes = std::fs::read(&path)?;
        // An index of the log that only readers use, and an empty log.
        if name != "punte.db-shm" && !(name == "punte.db-wal" && bytes.is_empty()) {
            files.push((path.display().to_string(), bytes));
        }
    }
    Ok(files)
}

async fn a_stopped_engine(ris: &Sink) -> Result<Home> {
    let home = Home::with(&[("route", &scenes::route(ris.address))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    let text = scenes::result("K-1", "P-1", "O1", "1.0");
    ensure!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1) == "AA");
    punte.stop()?;
    Ok(home)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_comes_from_a_variable_a_file_or_a_program() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = a_stopped_engine(&ris).await?;
    let key = std::fs::read_to_string(home.key_file())?;
    let other = "ab".repeat(32);
    let listed = |env: &[(&str, &str)], toml: &str| -> Result<Output> {
        std::fs::write(home.path().join("punte.toml"), toml)?;
        let mut command = home.command(&["messages", "--json"]);
        command
            .env_remove("PUNTE_KEY_FILE")
            .envs(env.iter().copied())
            .env("HOME", "/nowhere");
        Ok(command.env_remove("XDG_CONFIG_HOME").output()?)
    };
    let path = home.key_file().display().to_string();
    let by_program = format!("[key]\ncommand = [\"cat\", \"{path}\"]\n");
    for (env, toml) in [
        (vec![("PUNTE_MASTER_KEY", key.as_str())], ""),
        (vec![("PUNTE_KEY_FILE", path.as_str())], ""),
        // The environment goes first.
        (
            vec![("PUNTE_MASTER_KEY", key.as_str())],
            "[key]\nfile = \"/nowhere\"\n",
        ),
        (vec![], &format!("[key]\nfile = \"{path}\"\n")),
        (vec![], &by_program),
    ] {
        let output = listed(&env, toml)?;
        ensure!(output.status.success(), "{env:?} {toml}: {}", said(&output));
    }
    let before = files(&home)?;
    for (env, toml, words) in [
        (
            vec![("PUNTE_MASTER_KEY", other.as_str())],
            "",
            "sealed under another master key",
        ),
        (
            vec![("PUNTE_MASTER_KEY", "abc")],
            "",
            "the variable PUNTE_MASTER_KEY",
        ),
        (vec![], "[key]\nfile = \"/nowhere/master.key\"\n", "is not there"),
        (
            vec![],
            "[key]\ncommand = [\"false\", \"s3cr3t\"]\n",
            "false, which is to print",
        ),
        (
            vec![],
            "[key]\ncommand = [\"echo\", \"s3cr3t\"]\n",
            "64 hexadecimal digits",
        ),
        (
            vec![],
            "[key]\ncommand = [\"/nowhere/program\"]\n",
            "can't be started",
        ),
        (vec![], "[key]\ncommand = []\n", "command is empty"),
        (vec![], &format!("{by_program}file = \"{path}\"\n"), "one of them"),
    ] {
        let output = listed(&env, toml)?;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{env:?} {toml}");
        assert!(text.contains(words), "{words}: {text}");
        for secret in ["s3cr3t", other.as_str(), key.trim()] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(files(&home)? == before, "{words}: something was changed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_while_messages_flow_and_a_backup_opens_with_the_keys_of_its_day() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let punte = home.serve()?;
    let to = punte.listens("clinic");
    let send = async |from: u32, count: u32| -> Result<()> {
        let mut sender = Sender::connect(to).await?;
        for n in from..from + count {
            let text = scenes::register(&format!("S-{n}"), &format!("P-{}", n % 30), "Zamfirescu");
            ensure!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1) == "AA");
        }
        Ok(())
    };
    send(0, 60).await?;
    // A read, for the journal.
    punte.search("Patient?identifier=P-1").await?;
    let place = TempDir::new()?;
    let backup = place.path().join("before");
    home.json(&["backup", text(&backup), "--json"])?;

    let new_key = place.path().join("keys/master-2.key");
    let flows = async {
        send(100, 40).await?;
        send(200, 40).await
    };
    let changes = async {
        let done = home.json(&["seal", "rewrap", "--to-file", text(&new_key), "--json"])?;
        assert_eq!(done["keys"], 2);
        // The old one does not fit any more, and the engine knows of no other place.
        let refused = home.run(&["seal", "renew"])?;
        assert_eq!(refused.status.code(), Some(1));
        for words in ["another master key", "is not where this command looks for it"] {
            assert!(said(&refused).contains(words), "{}", said(&refused));
        }
        let status = home.run(&["seal", "status"])?;
        let words = String::from_utf8_lossy(&status.stdout).into_owned();
        assert_eq!(status.status.code(), Some(1), "{words}");
        assert!(
            words.contains("Master key: not ") && words.contains("another master key"),
            "{words}"
        );
        // Who says the new place here need not start the engine anew.
        let at_new = |args: &[&str]| home.command(args).env("PUNTE_KEY_FILE", &new_key).output();
        let status = at_new(&["seal", "status"])?;
        let words = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(
            status.status.success() && words.contains("master-2.key."),
            "{words}"
        );
        let done = at_new(&["seal", "renew", "--json"])?;
        assert!(done.status.success(), "{}", said(&done));
        let done: serde_json::Value = serde_json::from_slice(&done.stdout)?;
        assert_eq!(done["key"], 2);
        let old = std::fs::read(home.key_file())?;
        std::fs::copy(&new_key, home.key_file())?;
        Ok::<_, anyhow::Error>(old)
    };
    let (flowed, old) = tokio::join!(flows, changes);
    flowed?;
    let old = old?;
    // A kill in the middle; the next start goes on.
    punte.kill();
    let punte = home.serve()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while home.json(&["seal", "status", "--json"])?["is_resealed"] != true {
        ensure!(
            Instant::now() < deadline,
            "it is not sealed anew:\n{}",
            home.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let verified = home.json(&["verify", "--json"])?;
    assert_eq!(verified["store"]["count"], 0, "{verified}");
    assert_eq!(verified["store"]["messages"], 140);
    let patients = punte.search("Patient?identifier=P-1").await?;
    assert_eq!(patients.len(), 1);
    let after = place.path().join("after");
    home.json(&["backup", text(&after), "--json"])?;
    punte.stop()?;

    // Each backup with the key of its day, and not with the other one.
    let newer = std::fs::read(&new_key)?;
    for (backup, right, wrong) in [(&backup, &old, &newer), (&after, &newer, &old)] {
        let fresh = Home::empty_with_key_of(&home)?;
        std::fs::write(fresh.key_file(), wrong)?;
        let refused = fresh.run(&["restore", text(backup)])?;
        assert!(
            said(&refused).contains("another master key"),
            "{}",
            said(&refused)
        );
        std::fs::write(fresh.key_file(), right)?;
        let restored = fresh.run(&["restore", text(backup)])?;
        ensure!(restored.status.success(), "{}", said(&restored));
        let verified = fresh.run(&["verify"])?;
        ensure!(verified.status.success(), "{}", said(&verified));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_a_new_data_key_is_done_at_once() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = a_stopped_engine(&ris).await?;
    let done = home.json(&["seal", "renew", "--json"])?;
    assert_eq!(done["key"], 2);
    assert!(done["values"].as_u64().context("no count")? > 2, "{done}");
    let status = home.json(&["seal", "status", "--json"])?;
    assert_eq!(
        (&status["now"], status["older"].as_array().map(Vec::len)),
        (&2.into(), Some(0))
    );
    let inside = home.path().join("data/master.key");
    let refused = home.run(&["seal", "rewrap", "--to-file", text(&inside)])?;
    assert!(
        said(&refused).contains("may not lie inside"),
        "{}",
        said(&refused)
    );
    assert!(home.run(&["verify"])?.status.success());
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_the_engine_finds_is_said_to_fit() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = a_stopped_engine(&ris).await?;
    let elsewhere = TempDir::new()?;
    let key = elsewhere.path().join("master.key");
    std::fs::copy(home.key_file(), &key)?;
    std::fs::remove_file(home.key_file())?;
    let status = || home.run(&["seal", "status"]);
    let punte = home.serve_with(&[("PUNTE_KEY_FILE", &key.display().to_string())])?;
    let output = status()?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}{}", said(&output));
    assert!(
        words.contains(&format!("Master key: {}", key.display())) && words.contains("From here"),
        "{words}"
    );
    punte.stop()?;
    assert_eq!(status()?.status.code(), Some(1));
    Ok(())
}
