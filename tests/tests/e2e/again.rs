//! Messages that a person takes again: replayed, or parked and decided about.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::Value;

use crate::scenes;

const LONG: Duration = Duration::from_secs(60);

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

async fn sends(punte: &Punte, channel: &str, messages: &[String]) -> Result<()> {
    let mut sender = Sender::connect(punte.listens(channel)).await?;
    for message in messages {
        sender.ask(message.as_bytes()).await?;
    }
    Ok(())
}

async fn the_only(punte: &Punte, query: &str) -> Result<Value> {
    let rows = punte.messages(query).await?;
    assert_eq!(rows.len(), 1, "{query}: {rows:#?}");
    Ok(rows[0].clone())
}

/// Two destinations; the second step fails where PID-8 is not there.
fn two_ends(ris: &Sink, lis: &Sink) -> String {
    format!(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nlookup = {{ table = \"sex.csv\", from = \"PID-8\", missing = \"fail\" }}\n[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\n[[destination]]\nname = \"lis\"\nmllp.connect = \"{}\"\n",
        ris.address, lis.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_rehearsed_edited_and_sent_to_whom_it_is_meant() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let home = Home::with(&[("adt", &two_ends(&ris, &lis))])?;
    std::fs::write(
        home.path().join("channels/sex.csv"),
        "system,code,system,code,display\n,F,,F,\n,M,,M,\n",
    )?;
    let punte = home.serve()?;
    let good = scenes::register("G1", "P-1", "Pop");
    let bad = |id: &str| scenes::register(id, "P-2", "Rusu").replace("|F\r", "|X\r");
    sends(&punte, "adt", &[good, bad("B1"), bad("B2"), bad("B3")]).await?;
    eventually("the good one", LONG, async || {
        (ris.received().len() == 1 && lis.received().len() == 1).then_some(())
    })
    .await;
    let failed = the_only(&punte, "&control_id=B1").await?;
    let id = failed["id"].as_str().context("an id")?;

    // As it is, it would fail again; with the value changed it would go. Nothing is written by asking.
    let dry = home.run(&["messages", "replay", id, "--dry-run"])?;
    assert_eq!(dry.status.code(), Some(1), "{}", text(&dry));
    assert!(text(&dry).contains("sex.csv"), "{}", text(&dry));
    let dry = home.run(&[
        "messages",
        "replay",
        id,
        "--set",
        "PID-8=F",
        "--to",
        "lis",
        "--dry-run",
    ])?;
    assert!(dry.status.success(), "{}", text(&dry));
    let said = text(&dry);
    assert!(
        said.contains("lis would get") && !said.contains("ris would get"),
        "{said}"
    );
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(punte.messages("").await?.len(), 4);

    let done = home.run(&["messages", "replay", id, "--set", "PID-8=F", "--to", "lis"])?;
    assert!(
        done.status.success() && text(&done).contains("routed"),
        "{}",
        text(&done)
    );
    eventually("to lis alone", LONG, async || {
        (lis.received().len() == 2).then_some(())
    })
    .await;
    assert_eq!(field(&lis.received()[1], "PID", 8), "F");
    assert_eq!(field(&lis.received()[1], "MSH", 10), "B1");
    let newest = punte.messages("").await?[0].clone();
    assert_eq!(newest["replay_of"], id);
    let (_, detail) = punte
        .get(&format!(
            "/admin/messages/{}",
            newest["id"].as_str().unwrap_or_default()
        ))
        .await?;
    let headers = detail["headers"].to_string();
    assert!(
        headers.contains("edited") && headers.contains("local"),
        "{headers}"
    );

    // Edited by hand, and long.
    let file = home.path().join("fixed.hl7");
    let fixed = scenes::register("B1", "P-2", "Rusu");
    std::fs::write(&file, format!("{fixed}NTE|1||{}\r", "long ".repeat(600_000)))?;
    let path = file.to_string_lossy().into_owned();
    let done = home.run(&["messages", "replay", id, "--edit", &path])?;
    assert!(done.status.success(), "{}", text(&done));
    eventually("to both", LONG, async || {
        (ris.received().len() == 2 && lis.received().len() == 3).then_some(())
    })
    .await;

    for (args, said) in [
        (
            vec!["messages", "replay", id, "--to", "riss"],
            "did you mean \"ris\"?",
        ),
        (vec!["messages", "replay", id, "--set", "PID.8=F"], "PID.8"),
        (vec!["messages", "replay", id, "--set", "PID-8"], "PATH=VALUE"),
        (vec!["messages", "replay"], "say which"),
        (
            vec!["messages", "replay", "00000000-0000-7000-8000-000000000000"],
            "there is no message",
        ),
    ] {
        let output = home.run(&args)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{args:?}: {}", text(&output));
    }

    // Many at once: counted first, then done, the oldest first.
    std::fs::write(
        home.path().join("channels/sex.csv"),
        "system,code,system,code,display\n,F,,F,\n,M,,M,\n,X,,F,\n",
    )?;
    let many = [
        "messages",
        "replay",
        "--channel",
        "adt",
        "--state",
        "failed",
        "--since",
        "1h",
    ];
    let asked = home.run(&many)?;
    assert!(
        text(&asked).contains("3 messages would be taken again"),
        "{}",
        text(&asked)
    );
    assert!(text(&asked).contains("--yes"), "{}", text(&asked));
    assert_eq!(ris.received().len(), 2, "nothing happens by asking");
    assert!(home.run(&["reload"])?.status.success(), "the new table");
    let done = home.run(&[&many[..], &["--yes"]].concat())?;
    assert!(
        done.status.success() && text(&done).contains("3 routed"),
        "{}",
        text(&done)
    );
    eventually("all three", LONG, async || {
        (ris.received().len() == 5).then_some(())
    })
    .await;
    let ids: Vec<String> = ris.received()[2..]
        .iter()
        .map(|body| field(body, "MSH", 10))
        .collect();
    assert_eq!(ids, ["B1", "B2", "B3"]);
    Ok(())
}

/// Applies, parks who is not known, and passes on.
fn careful(ris: &Sink) -> String {
    format!(
        "id = \"clinic\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = {{ on_unmatched = \"park\" }}\n[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\n",
        ris.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_about_what_is_parked() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &careful(&ris))])?;
    let punte = home.serve()?;
    let messages = [
        scenes::register("N1", "P-1", "Pop"),
        scenes::result("N2", "P-2", "C-2", "5.40"),
        scenes::result("N3", "P-3", "C-3", "6.10"),
    ];
    sends(&punte, "clinic", &messages).await?;
    let parked = home.json(&["parked", "--json"])?;
    assert_eq!(parked["parked"].as_array().map(Vec::len), Some(3));
    let first = the_only(&punte, "&control_id=N1").await?;
    let second = the_only(&punte, "&control_id=N2").await?;
    let third = the_only(&punte, "&control_id=N3").await?;
    let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();

    // Somebody new.
    let done = home.run(&[
        "parked",
        "resolve",
        &id(&first),
        "--new",
        "--reason",
        "registered at the desk",
    ])?;
    assert!(
        done.status.success() && text(&done).contains("routed"),
        "{}",
        text(&done)
    );
    let patients = punte.search("Patient?identifier=P-1").await?;
    assert_eq!(patients.len(), 1);
    let patient = patients[0]["id"].as_str().context("an id")?.to_owned();

    // It is that one: the result comes to that chart, with the number of the message.
    let nobody = home.run(&[
        "parked",
        "resolve",
        &id(&second),
        "--as",
        "00000000-0000-7000-8000-000000000000",
    ])?;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        text(&nobody).contains("nor the id of a patient"),
        "{}",
        text(&nobody)
    );
    let done = home.run(&[
        "parked",
        "resolve",
        &id(&second),
        "--as",
        &patient,
        "--reason",
        "phoned the ward",
    ])?;
    assert!(
        done.status.success() && text(&done).contains("routed"),
        "{}",
        text(&done)
    );
    let results = punte.search(&format!("Observation?patient={patient}")).await?;
    assert_eq!(results.len(), 1, "{results:#?}");
    let row = the_only(&punte, "&control_id=N2").await?;
    assert_eq!(
        (row["id"].as_str(), row["seq"].as_i64()),
        (second["id"].as_str(), second["seq"].as_i64())
    );
    let shown = text(&home.run(&["messages", "show", &id(&second)])?);
    assert!(
        shown.contains(&format!("is {patient} by ")) && shown.contains("phoned the ward"),
        "{shown}"
    );

    // Nothing is to come of it; a reason is needed.
    let without = home.run(&["parked", "resolve", &id(&third), "--ignore"])?;
    assert_eq!(without.status.code(), Some(2), "{}", text(&without));
    let done = home.run(&[
        "parked",
        "resolve",
        &id(&third),
        "--ignore",
        "--reason",
        "a test of the laboratory",
    ])?;
    assert!(
        done.status.success() && text(&done).contains("filtered"),
        "{}",
        text(&done)
    );

    eventually("what was decided goes on", LONG, async || {
        (ris.received().len() == 2).then_some(())
    })
    .await;
    let again = home.run(&["parked", "resolve", &id(&third), "--new"])?;
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again).contains("is not parked, it is filtered"),
        "{}",
        text(&again)
    );

    // One decision more is open: the order of the message is that of somebody else.
    sends(&punte, "clinic", &[scenes::result("N4", "P-4", "C-2", "5.50")]).await?;
    let fourth = the_only(&punte, "&control_id=N4").await?;
    let open = home.run(&["parked", "resolve", &id(&fourth), "--new"])?;
    assert_eq!(open.status.code(), Some(1), "{}", text(&open));
    for words in ["is still parked", "belongs to another patient", "still open"] {
        assert!(text(&open).contains(words), "{words}: {}", text(&open));
    }
    // A patient is no answer to that; nothing is changed.
    let other = home.run(&["parked", "resolve", &id(&fourth), "--as", &patient])?;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        text(&other).contains("asks about a record of kind Order now"),
        "{}",
        text(&other)
    );
    let done = home.run(&["parked", "resolve", &id(&fourth), "--new"])?;
    assert!(
        done.status.success() && text(&done).contains("is now routed"),
        "{}",
        text(&done)
    );

    // A repeat by its sender changes nothing.
    sends(&punte, "clinic", &[messages[2].clone()]).await?;
    assert_eq!(the_only(&punte, "&control_id=N3").await?["state"], "filtered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_keeps_its_place_in_the_order() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &careful(&ris))])?;
    let punte = home.serve()?;
    assert!(home.run(&["channels", "pause", "clinic/ris"])?.status.success());
    sends(
        &punte,
        "clinic",
        &[
            scenes::register("O1", "P-1", "Pop"),
            scenes::register("O2", "P-2", "Rusu"),
        ],
    )
    .await?;
    let first = the_only(&punte, "&control_id=O1").await?;
    let second = the_only(&punte, "&control_id=O2").await?;
    for row in [second, first] {
        let id = row["id"].as_str().context("an id")?;
        assert!(home.run(&["parked", "resolve", id, "--new"])?.status.success());
    }
    assert!(home.run(&["channels", "start", "clinic/ris"])?.status.success());
    eventually("in the order in which they came", LONG, async || {
        let ids: Vec<String> = ris.received().iter().map(|body| field(body, "MSH", 10)).collect();
        (ids == ["O1", "O2"]).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_says_in_words_where_a_result_is() -> Result<()> {
    let ris = Sink::hl7().await?;
    let home = Home::with(&[("clinic", &careful(&ris).replace("\"park\"", "\"create\""))])?;
    let punte = home.serve()?;
    assert_eq!(home.run(&["where", "C-1"])?.status.code(), Some(1));
    sends(&punte, "clinic", &[scenes::result("W1", "P-1", "C-1", "5.40")]).await?;
    eventually("sent", LONG, async || {
        let rows = punte.messages("&order=C-1&state=sent").await.ok()?;
        (rows.len() == 1).then_some(())
    })
    .await;
    let said = text(&home.run(&["where", "C-1"])?);
    for words in [
        "ORU^R01",
        "as order",
        "from SENDER",
        "control id W1",
        "to ris: sent at",
        "confirmed by SINK",
        "in the chart: Observation Cholesterol = 5.40 mg/dL, final",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Its code is known everywhere; one that is not is listed for the table.
    let local = scenes::result("W0", "P-1", "C-9", "1").replace("2093-3^Cholesterol^LN", "XYZ^Zinc^99LAB");
    sends(&punte, "clinic", &[local]).await?;
    let codes = home.run(&["channels", "codes", "clinic", "--csv"])?;
    assert!(
        text(&codes).contains("99LAB,XYZ,,,Zinc") && !text(&codes).contains("2093-3"),
        "{}",
        text(&codes)
    );

    // What waits says for whom, since when, and who made it wait.
    assert!(
        home.run(&["channels", "pause", "clinic/ris", "--reason", "an update"])?
            .status
            .success()
    );
    sends(&punte, "clinic", &[scenes::result("W2", "P-1", "C-2", "5.50")]).await?;
    let said = text(&home.run(&["where", "C-2"])?);
    assert!(
        said.contains("to ris: waits, since clinic/ris is paused since"),
        "{said}"
    );
    assert!(said.contains("local") && said.contains(": an update"), "{said}");
    // The same from the store, when nothing runs.
    punte.stop()?;
    assert!(text(&home.run(&["where", "W1"])?).contains("as control id"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_channel_is_tried_on_what_really_came() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let home = Home::with(&[("adt", &two_ends(&ris, &lis))])?;
    std::fs::write(
        home.path().join("channels/sex.csv"),
        "system,code,system,code,display\n,F,,F,\n,M,,M,\n",
    )?;
    let punte = home.serve()?;
    let good = |id: &str| scenes::register(id, "P-1", "Pop");
    let bad = scenes::register("B1", "P-2", "Rusu").replace("|F\r", "|X\r");
    sends(&punte, "adt", &[good("G1"), good("G2"), bad]).await?;
    eventually("they are sent", LONG, async || {
        (lis.received().len() == 2).then_some(())
    })
    .await;
    let same = home.run(&["try", "adt", "--since", "1h"])?;
    assert!(same.status.success(), "{}", text(&same));
    assert!(
        text(&same).contains("3 messages run again: 3 as they were, 0 differ"),
        "{}",
        text(&same)
    );

    // The file says otherwise now, and is not loaded yet.
    std::fs::write(
        home.path().join("channels/sex.csv"),
        "system,code,system,code,display\n,F,,W,\n,M,,M,\n,X,,O,\n",
    )?;
    let differs = home.run(&["try", "adt", "--since", "1h"])?;
    assert_eq!(differs.status.code(), Some(1));
    let said = text(&differs);
    assert!(said.contains("0 as they were, 3 differ"), "{said}");
    assert!(
        said.contains("2 ris: PID-8") && said.contains("2 lis: PID-8"),
        "{said}"
    );
    assert!(said.contains("1 failed before, routed now"), "{said}");
    assert!(said.contains("PID-8: \"F\" became \"W\""), "{said}");
    assert_eq!(
        (lis.received().len(), punte.messages("").await?.len()),
        (2, 3),
        "nothing was sent or written"
    );

    home.channel("adt", "id = \"adt\"\nsource.mlp.listen = \"127.0.0.1:0\"\n")?;
    let wrong = home.run(&["try", "adt", "--since", "1h"])?;
    assert!(text(&wrong).contains("source.mlp"), "{}", text(&wrong));
    Ok(())
}
