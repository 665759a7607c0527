//! Taking out what is old enough, beside traffic. The people are invented.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};
use serde_json::Value;

use crate::scenes;

/// Takes everything a second after it is over.
const SHORT: &str = "dedup = \"1s\"\nkeep = { messages = \"1s\" }\n";

fn keep(home: &Home, text: &str) -> Result<()> {
    Ok(std::fs::write(home.path().join("punte.toml"), text)?)
}

async fn send(punte: &Punte, channel: &str, from: u32, to: u32) -> Result<()> {
    let mut sender = Sender::connect(punte.listens(channel)).await?;
    for n in from..to {
        let text = scenes::result(&format!("R-{n}"), "P-1", "O1", "1.0");
        ensure!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1) == "AA");
    }
    Ok(())
}

async fn eventually(what: &str, is: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is().await? {
        ensure!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_goes_by_itself_and_nothing_else() -> Result<()> {
    let ris = Sink::hl7().await?;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let home = Home::with(&[
        ("route", &format!("{SHORT}{}", scenes::route(ris.address))),
        (
            "waits",
            &format!(
                "{SHORT}{}",
                scenes::route(closed).replace("\"route\"", "\"waits\"")
            ),
        ),
        (
            "kept",
            &scenes::route(ris.address).replace("\"route\"", "\"kept\""),
        ),
    ])?;
    keep(&home, "[keep]\nevery = \"1s\"\n")?;
    let punte = home.serve()?;
    send(&punte, "route", 0, 60).await?;
    send(&punte, "waits", 100, 110).await?;
    send(&punte, "kept", 200, 210).await?;
    // Beside it more comes in and goes out.
    let flows = tokio::spawn({
        let to = punte.listens("route");
        async move {
            let mut sender = Sender::connect(to).await?;
            for n in 300..600 {
                let text = scenes::result(&format!("R-{n}"), "P-1", "O1", "1.0");
                ensure!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1) == "AA");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        }
    });
    flows.await??;
    eventually("nothing was taken out", async || {
        Ok(punte.messages("&channel=route").await?.len() <= 1)
    })
    .await?;
    assert_eq!(punte.messages("&channel=waits").await?.len(), 10);
    assert_eq!(punte.messages("&channel=kept").await?.len(), 10);
    assert_eq!(ris.received().len(), 370, "each was delivered once");
    // Nothing is left to do by hand, and it is said what waits.
    let would = home.json(&["prune", "--dry-run", "--json"])?;
    assert_eq!(would["channels"]["waits"]["open"], 10, "{would}");
    // The numbers go on after a kill.
    let last = punte.messages("").await?[0]["seq"].clone();
    punte.kill();
    let punte = home.serve()?;
    send(&punte, "route", 700, 701).await?;
    let next = punte.messages("").await?[0]["seq"].clone();
    assert!(last.as_i64() < next.as_i64(), "{last} {next}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_out_and_the_dead_wait_until_they_are_seen() -> Result<()> {
    let ris = Sink::hl7().await?;
    ris.behave(Manner::Refuse);
    let dead = scenes::route(ris.address).replace("[[destination]]", "[[destination]]\non_error = \"dead\"");
    let home = Home::with(&[("route", &format!("{SHORT}{dead}"))])?;
    keep(&home, "[keep]\nevery = \"forever\"\n")?;
    let punte = home.serve()?;
    send(&punte, "route", 0, 4).await?;
    eventually("they did not die", async || {
        Ok(punte.messages("&state=dead").await?.len() == 4)
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let would = home.json(&["prune", "--dry-run", "--json"])?;
    // The newest is never looked at.
    assert_eq!(would["channels"]["route"]["open"], 3, "{would}");
    let did = home.json(&["prune", "--json"])?;
    assert_eq!(did["channels"]["route"]["messages"], 0, "{did}");
    let first = punte.messages("&state=dead").await?[3]["id"].clone();
    let first = first.as_str().unwrap_or_default();
    let seen = home.json(&["messages", "seen", first, "--reason", "told the ward", "--json"])?;
    assert_eq!(seen["seen"], 1);
    let shown = home.run(&["messages", "show", first])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("told the ward"), "{shown}");
    let did = home.json(&["prune", "--json"])?;
    assert_eq!(did["channels"]["route"]["messages"], 1, "{did}");
    let seen = home.json(&["messages", "seen", "--channel", "route", "--json"])?;
    assert_eq!(seen["seen"], 3);
    punte.stop()?;
    // Without an engine it works alike.
    let did: Value = home.json(&["prune", "--json"])?;
    assert_eq!(did["channels"]["route"]["messages"], 2, "{did}");
    let listed = home.json(&["messages", "--json"])?;
    assert_eq!(listed["messages"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_how_long_is_checked() -> Result<()> {
    let ris = Sink::hl7().await?;
    let wrong = format!(
        "keep = {{ messages = \"30 days\", message = \"1d\" }}\n{}",
        scenes::route(ris.address)
    );
    let home = Home::with(&[("route", &wrong)])?;
    let said = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(
        said.contains("\"30d\"") && said.contains("did you mean \"messages\""),
        "{said}"
    );
    home.channel("route", &scenes::route(ris.address))?;
    keep(&home, "[keep]\nmessages = \"soon\"\n")?;
    let said = home.run(&["serve"])?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("punte.toml:2:12"), "{said}");
    Ok(())
}
