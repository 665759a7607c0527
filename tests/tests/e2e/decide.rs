//! What a person decides about deliveries that are stuck: `punte messages release`, `done`, `cancel`, over the program as
//! it is built. The people are invented.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};

use crate::scenes;

const SOON: Duration = Duration::from_secs(30);

async fn becomes(punte: &Punte, id: &str, wanted: &str) {
    eventually(&format!("{id} becomes {wanted}"), SOON, async || {
        let rows = punte.messages(&format!("&control_id={id}")).await.ok()?;
        (rows.first()?["deliveries"][0]["state"] == wanted).then_some(())
    })
    .await;
}

async fn id_of(punte: &Punte, control_id: &str) -> Result<String> {
    let rows = punte.messages(&format!("&control_id={control_id}")).await?;
    Ok(rows[0]["id"].as_str().unwrap_or_default().to_owned())
}

async fn send(punte: &Punte, ids: &[&str]) -> Result<()> {
    let mut sender = Sender::connect(punte.listens("route")).await?;
    for id in ids {
        let reply = sender.ask(scenes::register(id, "P-1", "Pop").as_bytes()).await?;
        ensure!(field(&reply, "MSA", 1) == "AA");
    }
    Ok(())
}

fn arrived(sink: &Sink) -> Vec<String> {
    let received = sink.received();
    received.iter().map(|body| field(body, "MSH", 10)).collect()
}

/// The first of three is refused and held.
async fn held() -> Result<(Sink, Home, Punte)> {
    let sink = Sink::hl7().await?;
    sink.behave(Manner::Refuse);
    let home = Home::with(&[("route", &scenes::route(sink.address))])?;
    let punte = home.serve()?;
    send(&punte, &["D1", "D2", "D3"]).await?;
    becomes(&punte, "D1", "held").await;
    sink.behave(Manner::Polite);
    Ok((sink, home, punte))
}

fn words(home: &Home, args: &[&str]) -> Result<(Option<i32>, String)> {
    let output = home.run(args)?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_delivery_is_released_by_the_command_that_status_names() -> Result<()> {
    let (sink, home, punte) = held().await?;
    let (code, said) = words(&home, &["status"])?;
    assert_eq!(code, Some(1));
    let named = "punte messages release --channel route --state held --to ";
    assert!(said.contains(named), "{said}");
    let id = id_of(&punte, "D1").await?;
    // Without a reason it is no command.
    let (code, said) = words(&home, &["messages", "release", &id])?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--reason"), "{said}");
    let (code, said) = words(&home, &["messages", "release", &id, "--reason", " "])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("say why"), "{said}");
    let filter = [
        "messages",
        "release",
        "--channel",
        "route",
        "--state",
        "held",
        "--reason",
        "it knows the room now",
    ];
    // It is asked first.
    let (code, said) = words(&home, &filter)?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--yes"), "{said}");
    becomes(&punte, "D1", "held").await;
    let (code, said) = words(&home, &[&filter[..], &["--yes"]].concat())?;
    assert_eq!(code, Some(0), "{said}");
    for id in ["D1", "D2", "D3"] {
        becomes(&punte, id, "sent").await;
    }
    assert_eq!(arrived(&sink), ["D1", "D1", "D2", "D3"]);
    let (_, shown) = words(&home, &["messages", "show", &id])?;
    assert!(
        shown.contains("released at ") && shown.contains("it knows the room now"),
        "{shown}"
    );
    let (code, said) = words(&home, &["messages", "cancel", &id, "--reason", "too late"])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("what is sent is sent"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_or_done_is_not_sent_also_without_an_engine() -> Result<()> {
    let (sink, home, punte) = held().await?;
    let (first, second) = (id_of(&punte, "D1").await?, id_of(&punte, "D2").await?);
    let cancelled = home.json(&[
        "messages",
        "cancel",
        &second,
        "--reason",
        "the wrong patient",
        "--json",
    ])?;
    assert_eq!(
        cancelled["messages"][0]["decided"][0]["state"], "cancelled",
        "{cancelled}"
    );
    punte.kill();
    // No engine runs: the store takes the decision.
    let done = home.json(&[
        "messages",
        "done",
        &first,
        "--reason",
        "typed in by hand",
        "--json",
    ])?;
    assert_eq!(done["messages"][0]["decided"][0]["was"], "held", "{done}");
    let (code, said) = words(&home, &["messages", "release", &second, "--reason", "after all"])?;
    assert_eq!(code, Some(1), "{said}");
    let verified = home.run(&["verify"])?;
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    let punte = home.serve()?;
    becomes(&punte, "D3", "sent").await;
    becomes(&punte, "D1", "sent").await;
    becomes(&punte, "D2", "cancelled").await;
    assert_eq!(arrived(&sink), ["D1", "D3"]);
    let (_, shown) = words(&home, &["messages", "show", &first])?;
    assert!(
        shown.contains("done at ") && shown.contains("typed in by hand"),
        "{shown}"
    );
    Ok(())
}
