//! The numbers that Prometheus reads, and `punte status`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};
use serde_json::Value;

use crate::python;
use crate::scenes::message;

const LONG: Duration = Duration::from_secs(60);

const TWO: &str = r#"
id = "adt"
source.mllp.listen = "127.0.0.1:0"
[[destination]]
name = "ris"
mllp.connect = "RIS"
retry = { first = "50ms", max = "50ms" }
[[destination]]
name = "lis"
mllp.connect = "LIS"
retry = { first = "50ms", max = "50ms", give_up = "100ms" }
on_error = "dead"
"#;

async fn text(punte: &Punte) -> Result<String> {
    let answer = reqwest::Client::builder().no_proxy().build()?;
    let answer = answer
        .get(format!("http://{}/metrics", punte.http))
        .send()
        .await?;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Ok(answer.text().await?)
}

/// What a parser that is not ours reads: the values by name and labels.
fn parsed(text: &str) -> Result<BTreeMap<String, f64>> {
    let output = python::run("read_metrics.py", &[], text)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let families: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut values = BTreeMap::new();
    for family in &families {
        let name = family["name"].as_str().unwrap_or_default();
        assert!(name.starts_with("punte_"), "{name}");
        assert!(
            family["help"].as_str().is_some_and(|help| !help.is_empty()),
            "{name} says nothing"
        );
        assert_ne!(family["type"], "unknown", "{name}");
        for sample in family["samples"].as_array().into_iter().flatten() {
            let labels: BTreeMap<String, String> = serde_json::from_value(sample["labels"].clone())?;
            let allowed = ["channel", "destination", "outcome", "le", "file"];
            assert!(
                labels.keys().all(|label| allowed.contains(&label.as_str())),
                "{sample}"
            );
            let words: Vec<String> = labels
                .into_iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let key = format!(
                "{} {}",
                sample["name"].as_str().unwrap_or_default(),
                words.join(" ")
            );
            let value: f64 = sample["value"].as_str().context("no value")?.parse()?;
            let before = values.insert(key.clone(), value);
            assert!(before.is_none(), "{key} is there twice");
        }
    }
    Ok(values)
}

/// Prometheus' own tool. It may be missing here, and never in CI.
fn promtool_agrees(text: &str) -> Result<()> {
    let tool = std::env::var_os("PUNTE_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let started = Command::new(&tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("CI").is_none(),
                "promtool is missing, and this is CI"
            );
            eprintln!(
                "SKIPPED: the metrics are not looked at by promtool; `cargo xtask test --install` brings it"
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool: {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_the_numbers_that_a_parser_of_others_reads() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    ris.behave(Manner::Busy);
    let channel = TWO
        .replace("RIS", &ris.address.to_string())
        .replace("LIS", &lis.address.to_string());
    let home = Home::with(&[("adt", &channel)])?;
    let punte = home.serve()?;

    // Before anything has come, each number is there and is nought: a rate is right from the first message on.
    let values = parsed(&text(&punte).await?)?;
    assert_eq!(values["punte_messages_total channel=adt outcome=routed"], 0.0);
    assert_eq!(
        values["punte_deliveries channel=adt destination=ris outcome=held"],
        0.0
    );
    assert_eq!(
        values["punte_oldest_waiting_seconds channel=adt destination=ris"],
        0.0
    );

    let mut sender = Sender::connect(punte.listens("adt")).await?;
    for number in 0..3 {
        let answer = sender.ask(message(&format!("M{number}")).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    eventually("the first is tried again", LONG, async || {
        let values = parsed(&text(&punte).await.ok()?).ok()?;
        (values["punte_deliveries channel=adt destination=ris outcome=retrying"] == 1.0).then_some(())
    })
    .await;
    ris.behave(Manner::Refuse);
    sender.ask(message("M0").as_bytes()).await?;
    sender.ask(b"MSH|^~\\&|nonsense").await?;
    eventually("one is held, three are taken", LONG, async || {
        let values = parsed(&text(&punte).await.ok()?).ok()?;
        let taken = values["punte_attempts_total channel=adt destination=lis outcome=accepted"];
        let held = values["punte_deliveries channel=adt destination=ris outcome=held"];
        (taken == 3.0 && held == 1.0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let all = text(&punte).await?;
    promtool_agrees(&all)?;
    let values = parsed(&all)?;
    assert_eq!(values["punte_messages_total channel=adt outcome=routed"], 3.0);
    assert_eq!(values["punte_messages_total channel=adt outcome=failed"], 1.0);
    assert_eq!(values["punte_repeats_total channel=adt"], 1.0);
    assert_eq!(values["punte_stored_messages channel=adt outcome=routed"], 3.0);
    assert_eq!(values["punte_failed_today channel=adt"], 1.0);
    assert_eq!(
        values["punte_deliveries channel=adt destination=ris outcome=queued"],
        2.0
    );
    assert_eq!(
        values["punte_attempts_total channel=adt destination=ris outcome=refused"],
        1.0
    );
    // What is over is gone: a state that nothing is in any more is nought, and not what it was.
    assert_eq!(
        values["punte_deliveries channel=adt destination=ris outcome=retrying"],
        0.0
    );
    assert_eq!(values["punte_channel_running channel=adt"], 1.0);
    assert!(1.0 <= values["punte_oldest_waiting_seconds channel=adt destination=ris"]);
    assert_eq!(
        values["punte_oldest_waiting_seconds channel=adt destination=lis"],
        0.0
    );
    // Five senders were answered; each took less than half a minute, and none no time.
    assert_eq!(values["punte_answer_seconds_count channel=adt"], 5.0);
    assert_eq!(values["punte_answer_seconds_bucket channel=adt le=30"], 5.0);
    assert!(0.0 < values["punte_answer_seconds_sum channel=adt"]);
    assert_eq!(
        values["punte_send_seconds_count channel=adt destination=lis"],
        3.0
    );
    assert!(0.0 < values["punte_disk_free_bytes "]);
    assert!(4096.0 <= values["punte_store_bytes "]);
    // No message and nobody's name stands in it.
    for word in ["M0", "Pop", "nonsense"] {
        assert!(!all.contains(word), "{word}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_how_it_goes_with_and_without_an_engine() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let channel = TWO
        .replace("RIS", &ris.address.to_string())
        .replace("LIS", &lis.address.to_string());
    let home = Home::with(&[("adt", &channel)])?;

    // Nothing was ever started here.
    let never = home.run(&["status"])?;
    assert_eq!(never.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&never.stderr).contains("there is no store"),
        "{never:?}"
    );

    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("M1").as_bytes()).await?;
    eventually("both have it", LONG, async || {
        let status = home.json(&["status", "--json"]).ok()?;
        (status["channels"][0]["rates"]["sent_minute"] == 2).then_some(())
    })
    .await;
    let well = home.json(&["status", "--json"])?;
    assert_eq!(well["running"], true);
    assert_eq!(well["attention"], serde_json::json!([]));
    assert_eq!(well["channels"][0]["rates"]["received_hour"], 1);
    assert_eq!(well["channels"][0]["queues"][1]["waiting"], 0);
    let screen = home.run(&["status"])?;
    assert_eq!(screen.status.code(), Some(0));
    let shown = String::from_utf8(screen.stdout)?;
    assert!(
        shown.contains(" is running since ") && shown.contains("adt/ris"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "no colour where nobody sees it");
    let headings: Vec<usize> = shown.lines().filter_map(|line| line.find("IN/MIN")).collect();
    let values: Vec<usize> = shown
        .lines()
        .filter(|line| line.starts_with("adt "))
        .filter_map(|line| line.find('1'))
        .collect();
    assert_eq!(
        headings, values,
        "the columns stand under their headings:\n{shown}"
    );

    // One is refused: a person is needed.
    ris.behave(Manner::Refuse);
    sender.ask(message("M2").as_bytes()).await?;
    eventually("it is held", LONG, async || {
        let status = home.run(&["status"]).ok()?;
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        (status.status.code() == Some(1) && shown.contains("adt/ris: 1 delivery is held")).then_some(())
    })
    .await;

    // Watched: again and again, until it is stopped.
    let mut watching = home.command(&["status", "--watch"]);
    let mut watching = watching.stdout(Stdio::piped()).spawn()?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        watching.stdout.take().context("no output")?,
    ));
    let mut looks = 0;
    while looks < 2 {
        let line = lines.next().context("it ended")??;
        looks += usize::from(line.contains(" is running since "));
    }
    watching.kill()?;
    watching.wait()?;

    // Without an engine its store says what waits.
    punte.stop()?;
    let stopped = home.run(&["status"])?;
    let shown = String::from_utf8(stopped.stdout)?;
    assert_eq!(stopped.status.code(), Some(1));
    assert!(shown.contains("no engine runs here"), "{shown}");
    assert!(shown.contains("adt/ris: 1 delivery is held"), "{shown}");
    let value: Value = serde_json::from_slice(&home.run(&["status", "--json"])?.stdout)?;
    assert_eq!(value["running"], false);
    assert_eq!(value["channels"][0]["state"], "idle");
    Ok(())
}
