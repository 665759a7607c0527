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
    let dropped = home.run(&["verify"])?;
    let said = String::from_utf8_lossy(&dropped.stderr).into_owned();
    assert!(said.contains("trigger journal_is_kept"), "{said}");
    assert!(
        !said.contains("journal row"),
        "without the log line a cut end can't be seen: {said}"
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_asked_and_refused_is_noted_too() -> Result<()> {
    let lookups = "id = \"lookups\"\n[source]\nquestions = \"clinic\"\nmllp.listen = \"127.0.0.1:0\"\n";
    let home = Home::with(&[("clinic", &scenes::chart_only()), ("lookups", lookups)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    sender
        .ask(scenes::register("2", "P-2", "Popa").as_bytes())
        .await?;
    let key = home.json(&["key", "add", "desk", "--scope", "clinic:write", "--json"])?;
    let key = key["key"].as_str().context("no key")?;
    let client = reqwest::Client::builder().no_proxy().build()?;

    // Written: whom it is about, and what.
    let write = serde_json::json!({ "changes": [{ "key": "p", "say": { "Patient": {
        "identifiers": { "merge": [{ "system": "TEST", "value": "P-1" }] },
        "names": [{ "family": "Popescu", "given": ["Ana"], "use": "official" }] } } }] });
    let url = format!("http://{}/clinic/changes", punte.http);
    let post = |key: &str| {
        let request = client
            .post(&url)
            .header("content-type", "application/json")
            .bearer_auth(key);
        request
            .header("X-User", "dr.ionescu")
            .body(write.to_string())
            .send()
    };
    let answer = post(key).await?;
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let id = answer["ids"]["p"]["id"]
        .as_str()
        .with_context(|| format!("{answer:#}"))?
        .to_owned();
    let noted = rows(&home.json(&["journal", "--patient", &id, "--json"])?);
    assert_eq!(
        (
            &noted[0]["action"],
            &noted[0]["actor"]["key"],
            &noted[0]["actor"]["user"]
        ),
        (&"write".into(), &"desk".into(), &"dr.ionescu".into())
    );
    assert_eq!(noted[0]["outcome"], "written");
    let what = noted[0]["what"].as_array().context("what was written")?;
    assert!(what.contains(&format!("Patient/{id}").into()), "{what:?}");
    // Once more: nothing is new, and its answer tells who it is.
    post(key).await?;
    let noted = rows(&home.json(&["journal", "--patient", &id, "--json"])?);
    assert_eq!(
        (&noted[0]["action"], &noted[0]["outcome"]),
        (&"write".into(), &"shown".into())
    );

    // Asked from outside: those who were told, by their ids and numbers.
    let mut lis = Sender::connect(punte.listens("lookups")).await?;
    let question = |id: &str, by: &str| {
        format!(
            "{}QPD|Q22^Find|T{id}|{by}\rRCP|I\r",
            scenes::msh("QBP^Q22^QBP_Q21", id)
        )
    };
    lis.ask(question("Q1", "@PID.5.1^popes").as_bytes()).await?;
    lis.ask(question("Q2", "@PID.3.1^P-7").as_bytes()).await?;
    let asked = |patient: &str| -> Result<Vec<Value>> {
        let all = rows(&home.json(&["journal", "--patient", patient, "--json"])?);
        Ok(all.into_iter().filter(|row| row["action"] == "ask").collect())
    };
    let told = asked(&id)?;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["outcome"], &told[0]["patients"]),
        (&"shown".into(), &serde_json::json!([id]))
    );
    assert_eq!(told[0]["actor"]["channel"], "lookups");
    assert!(
        told[0]["actor"]["peer"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1"))
    );
    assert_eq!(asked("P-2")?.len(), 0, "who was not told of is not noted");
    assert_eq!(asked("P-7")?[0]["outcome"], "nothing");

    // Refused: the first of each, and the flood as a count.
    for _ in 0..40 {
        assert_eq!(post("punte_wrong").await?.status(), 401);
    }
    for _ in 0..30 {
        let answer = client.get(format!("http://{}/fhir/Patient?identifier=P-1", punte.http));
        assert_eq!(answer.bearer_auth(key).send().await?.status(), 403);
    }
    let refused = |home: &Home| -> Result<Vec<Value>> {
        let all = rows(&home.json(&["journal", "--json"])?);
        Ok(all.into_iter().filter(|row| row["action"] == "refused").collect())
    };
    let first = refused(&home)?;
    assert_eq!(first.len(), 2, "{first:#?}");
    assert_eq!(
        (&first[0]["actor"]["key"], &first[0]["outcome"]),
        (&"desk".into(), &"refused".into())
    );
    assert_eq!(
        first[0]["what"][0], "GET /fhir/Patient",
        "the words of a question are not noted"
    );
    assert_eq!(first[1]["what"][0], "POST /clinic/changes");
    assert!(first[1]["actor"]["key"].is_null() && first[1]["actor"]["peer"] == "127.0.0.1");
    assert!(punte.stop()?.success());
    let counted = refused(&home)?;
    let mut words: Vec<&str> = counted.iter().filter_map(|row| row["words"].as_str()).collect();
    words.sort_unstable();
    assert_eq!(counted.len(), 4);
    assert!(
        words[0].starts_with("29 more since") && words[1].starts_with("39 more since"),
        "{words:?}"
    );
    Ok(())
}
