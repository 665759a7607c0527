//! Channels that lead to channels, over the real program, which is killed (SIGKILL) again and again.

use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;

use crate::scenes;

fn router() -> String {
    "id = \"router\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"results\"\nwhen = { \"MSH-9\" = \"ORU^R01\" }\nchannel = \"archive\"\n".to_owned()
}

fn archive(to: std::net::SocketAddr) -> String {
    format!(
        "id = \"archive\"\n[source]\nformat = \"hl7v2\"\nchannel = {{}}\n[[destination]]\nname = \"shelf\"\nmllp = {{ connect = \"{to}\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

/// The control ids of a channel's messages, the first one first.
async fn ids(punte: &Punte, channel: &str) -> Result<Vec<String>> {
    let rows = punte.messages(&format!("&channel={channel}")).await?;
    let ids = rows
        .iter()
        .rev()
        .map(|row| row["control_id"].as_str().unwrap_or_default().to_owned());
    Ok(ids.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_each_message_is_once_in_the_linked_channel_and_in_order() -> Result<()> {
    let shelf = Sink::hl7().await?;
    let home = Home::with(&[("router", &router()), ("archive", &archive(shelf.address))])?;
    let mut punte = home.serve()?;
    let mut sent: Vec<String> = vec![];
    for kill in 0..8 {
        let mut sender = Sender::connect(punte.listens("router")).await?;
        let many = 20 + kill * 13 % 30;
        for n in 0..many {
            let id = format!("L{kill}-{n}");
            let text = scenes::result(&id, "P-1", &format!("O{kill}-{n}"), "1.0");
            assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
            sent.push(id);
        }
        // A moment later, at another place of the linked channel's work each time.
        tokio::time::sleep(Duration::from_micros(kill * 1_900 % 9_000)).await;
        punte.kill();
        punte = home.serve()?;
    }
    let made = eventually(
        "all of it is in the archive",
        Duration::from_secs(60),
        async || {
            let made = ids(&punte, "archive").await.ok()?;
            (sent.len() <= made.len()).then_some(made)
        },
    )
    .await;
    assert_eq!(made, sent, "each once, in order");
    eventually("all of it is on the shelf", Duration::from_secs(60), async || {
        (sent.len() <= shelf.received().len()).then_some(())
    })
    .await;
    let rows = punte.messages("&channel=archive").await?;
    let id = rows[0]["id"].as_str().unwrap_or_default();
    let shown = String::from_utf8(home.run(&["messages", "show", id])?.stdout)?;
    let origin = rows[0]["origin"]["message"].as_str().unwrap_or_default();
    assert!(
        shown.contains(&format!("link of message {origin}, passed router")),
        "{shown}"
    );
    let shown = String::from_utf8(home.run(&["messages", "show", origin])?.stdout)?;
    assert!(shown.contains(&format!("made {id}")), "{shown}");
    Ok(())
}

fn batches(to: std::net::SocketAddr) -> String {
    format!(
        "id = \"batches\"\n[source]\nformat = \"hl7v2\"\nhttp = {{ listen = \"127.0.0.1:0\" }}\n[[step]]\nsplit = \"hl7v2\"\n[[destination]]\nname = \"shelf\"\nmllp = {{ connect = \"{to}\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

/// A batch file of so many results; its trailer says how many.
fn batch(count: usize, says: usize) -> String {
    let results: String = (0..count)
        .map(|n| scenes::result(&format!("B-{n}"), "P-1", &format!("O-{n}"), "1.0"))
        .collect();
    format!("FHS|^~\\&|LIS\rBHS|^~\\&|LIS\r{results}BTS|{says}\rFTS|1\r")
}

async fn post(to: std::net::SocketAddr, body: String) -> Result<u16> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.post(format!("http://{to}/")).body(body).send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_killed_in_the_middle_goes_on_where_it_stopped() -> Result<()> {
    let shelf = Sink::hl7().await?;
    let home = Home::with(&[("batches", &batches(shelf.address))])?;
    let mut punte = home.serve()?;
    // One whose trailer says otherwise: nothing of it is done.
    assert!(400 <= post(punte.listens("batches"), batch(3, 4)).await?);
    let rows = punte.messages("&channel=batches").await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["state"], "failed");
    let why = rows[0]["failure"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("4 messages declared, 3 found"), "{why}");

    assert_eq!(post(punte.listens("batches"), batch(600, 600)).await?, 200);
    let parts = async |punte: &Punte| -> Option<Vec<String>> {
        let rows = punte.messages("&channel=batches").await.ok()?;
        let parts = rows.iter().rev().filter(|row| row["origin"]["by"] == "part");
        Some(
            parts
                .map(|row| row["control_id"].as_str().unwrap_or_default().to_owned())
                .collect(),
        )
    };
    for some in [20, 150, 400] {
        eventually("some more parts are there", Duration::from_secs(60), async || {
            (some <= parts(&punte).await?.len()).then_some(())
        })
        .await;
        punte.kill();
        punte = home.serve()?;
    }
    let all = eventually("all parts are there", Duration::from_secs(60), async || {
        parts(&punte).await.filter(|parts| 600 <= parts.len())
    })
    .await;
    let sent: Vec<String> = (0..600).map(|n| format!("B-{n}")).collect();
    assert_eq!(all, sent, "each once, in order");
    let rows = punte.messages("&channel=batches&state=routed").await?;
    let id = rows[0]["id"].as_str().unwrap_or_default();
    let shown = String::from_utf8(home.run(&["messages", "show", id])?.stdout)?;
    assert!(shown.contains("part 600 of 600 of message"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_mllp_is_answered_once() -> Result<()> {
    let shelf = Sink::hl7().await?;
    let channel = batches(shelf.address).replace("http = { listen", "mllp = { listen");
    let plain = "id = \"plain\"\nsource.mllp.listen = \"127.0.0.1:0\"\n";
    let home = Home::with(&[("batches", &channel), ("plain", plain)])?;
    let punte = home.serve()?;
    let named = |count, says| batch(count, says).replacen("FHS|^~\\&|LIS", "FHS|^~\\&|LIS||||||||F1", 1);
    for (channel, body, code) in [
        ("batches", named(3, 3), "AA"),
        ("batches", named(3, 4), "AE"),
        ("plain", named(1, 1), "AE"),
    ] {
        let mut sender = Sender::connect(punte.listens(channel)).await?;
        let answer = sender.ask(body.as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), code);
        assert_eq!(field(&answer, "MSA", 2), "F1");
    }
    eventually("its messages went on", Duration::from_secs(20), async || {
        (shelf.received().len() == 3).then_some(())
    })
    .await;
    Ok(())
}

#[test]
fn the_check_finds_links_that_lead_nowhere_and_circles() -> Result<()> {
    let link = |id: &str, to: &str| {
        format!(
            "id = \"{id}\"\n[source]\nformat = \"hl7v2\"\nchannel = {{}}\n[[destination]]\nname = \"on\"\nchannel = \"{to}\"\n"
        )
    };
    let home = Home::with(&[
        ("a", &link("a", "b")),
        ("b", &link("b", "a")),
        ("lab", &router().replace("archive", "archiv")),
        ("archive", &link("archive", "lab")),
    ])?;
    let output = home.run(&["check"])?;
    assert!(!output.status.success());
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for part in [
        "a.toml:7:11 destination[0].channel  goes round in a circle: a → b → a; take one of these links out",
        "lab.toml:6:11 destination[0].channel  there is no channel \"archiv\"; did you mean \"archive\"?",
    ] {
        assert!(said.contains(part), "{said}");
    }
    Ok(())
}
