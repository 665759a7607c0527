//! The access journal: who read what of whom, over every door; and what a check of it finds.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::mllp::Sender;
use e2e::program::Home;
use serde_json::Value;

use crate::scenes;

fn rows(value: &Value) -> Vec<Value> {
    value["journal"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_of_a_patient_is_found_by_the_patient() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    sender.ask(scenes::register("2", "P-2", "Rus").as_bytes()).await?;
    let key = home.json(&["key", "add", "portal", "--scope", "clinic:read", "--json"])?;
    let key = key["key"].as_str().context("no key")?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let ask = async |path: &str| -> Result<Value> {
        let answer = client
            .get(format!("http://{}{path}", punte.http))
            .bearer_auth(key)
            .header("X-User", "dr.ionescu")
            .header("X-Purpose-Of-Use", "TREAT")
            .send()
            .await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    };
    let found = ask("/fhir/Patient?identifier=P-1").await?;
    let id = found["entry"][0]["resource"]["id"]
        .as_str()
        .context("no patient")?
        .to_owned();
    ask(&format!("/fhir/Patient/{id}")).await?;
    ask(&format!("/fhir/Patient/{id}/_history/1")).await?;
    ask(&format!("/fhir/Observation?patient={id}")).await?;
    let messages = home.json(&["messages", "--patient", "P-1", "--json"])?;
    let message = messages["messages"][0]["id"]
        .as_str()
        .context("no message")?
        .to_owned();
    assert!(home.run(&["messages", "show", &message])?.status.success());
    // Somebody else was read as well.
    ask("/fhir/Patient?identifier=P-2").await?;

    let read = home.json(&["journal", "--patient", "P-1", "--json"])?;
    let actions: Vec<String> = rows(&read)
        .iter()
        .rev()
        .map(|row| row["action"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        actions,
        ["search", "read", "read", "search", "messages", "message"]
    );
    for row in rows(&read) {
        let is_portal = ["search", "read"].contains(&row["action"].as_str().unwrap_or_default());
        let actor = &row["actor"];
        assert_eq!(actor["key"], if is_portal { "portal" } else { "local" }, "{row}");
        assert_eq!(actor["peer"], "127.0.0.1");
        if is_portal {
            assert_eq!(
                (&actor["user"], &row["purpose"]),
                (&"dr.ionescu".into(), &"TREAT".into())
            );
        }
    }
    // The search for the chart found nothing, and is noted all the same.
    assert_eq!(rows(&read)[2]["outcome"], "nothing");
    // The same by id; and that the journal was read is in the journal.
    let read = home.json(&["journal", "--patient", &id, "--json"])?;
    assert_eq!(rows(&read).len(), 7, "{read:#}");
    assert_eq!(rows(&read)[0]["action"], "journal");
    let table = home.run(&["journal", "--patient", "P-1"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("dr.ionescu") && table.contains(&format!("Patient/{id}")),
        "{table}"
    );
    assert!(
        rows(&home.json(&["journal", "--patient", "P-9", "--json"])?)
            .iter()
            .all(|row| row["action"] == "journal")
    );
    assert!(home.run(&["verify"])?.status.success());
    assert!(punte.stop()?.success());

    // Without a running engine the command line opens the store: the owner is noted.
    assert!(home.run(&["messages", "show", &message])?.status.success());
    let read = home.json(&["journal", "--patient", "P-1", "--json"])?;
    assert_eq!(rows(&read)[0]["action"], "message");
    assert_eq!(rows(&read)[0]["actor"]["key"], "local");
    assert!(rows(&read)[0]["actor"]["peer"].is_null());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_journal_is_found_against_the_log_line_of_the_stop() -> Result<()> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    for _ in 0..5 {
        punte.search("Patient?identifier=P-1").await?;
    }
    assert!(punte.stop()?.success());
    let log = home.log();
    let head = log
        .lines()
        .rev()
        .find_map(|line| line.split_once("journal_head=")?.1.split_whitespace().next())
        .with_context(|| format!("the log has no head:\n{log}"))?;
    assert!(head.starts_with("5:"), "{head}");
    let verified = home.json(&["verify", "--journal-head", head, "--json"])?;
    assert_eq!(verified["journal"]["head"], head);
    assert_eq!(verified["journal"]["faults"].as_array().map(Vec::len), Some(0));
    let edit =
        "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1])\nd.executescript(sys.argv[2])\nd.close()\n";
    let tamper = |sql: &str| -> Result<()> {
        let python = std::env::var_os("PUNTE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let done = std::process::Command::new(python)
            .args(["-c", edit])
            .arg(home.path().join("data/punte.db"))
            .arg(sql)
            .status()?;
        assert!(done.success());
        Ok(())
    };
    tamper("DROP TRIGGER journal_is_kept; DELETE FROM journal WHERE nr = 5;")?;
    assert!(
        home.run(&["verify"])?.status.success(),
        "without the log line a cut end can't be seen"
    );
    let cut = home.run(&["verify", "--journal-head", head])?;
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("its end was cut"));
    tamper("DELETE FROM journal WHERE nr = 2;")?;
    let gap = home.run(&["verify"])?;
    assert_eq!(gap.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gap.stderr).contains("journal row 2"));
    assert!(
        !home
            .run(&["verify", "--journal-head", "nonsense"])?
            .status
            .success()
    );
    Ok(())
}
