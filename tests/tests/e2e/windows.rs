//! Destinations that are shut, and those that take only so much at a time.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::{Manner, Sink};

use crate::scenes::{control_ids, message};

const LONG: Duration = Duration::from_secs(90);

/// What the `date` of the machine says, in the clinic's zone.
fn date(of: &str, form: &str) -> Result<String> {
    let said = Command::new("date")
        .env("TZ", "Europe/Bucharest")
        .env("LC_ALL", "C")
        .args(["-d", of, form])
        .output()?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

fn channel(ris: &Sink, more: &str) -> String {
    format!(
        "id = \"adt\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\n{more}\n",
        ris.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_shut_is_said_to_be_and_its_queue_waits() -> Result<()> {
    let ris = Sink::hl7().await?;
    // Neither today nor tomorrow.
    let day = date("3 days", "+%F")?;
    let word = date(&day, "+%a")?;
    let window = format!(
        "window = {{ open = \"07:00-19:00\", days = \"{}\" }}",
        word.to_lowercase()
    );
    let home = Home::with(&[("adt", &channel(&ris, &window))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    for number in 0..3 {
        let answer = sender.ask(message(&format!("A{number}")).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA", "what comes in is taken");
    }
    punte.stop()?;
    let punte = home.serve()?;
    let listed = home.run(&["channels"])?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("ris: 3 queued"), "{text}");
    assert!(
        text.contains(&format!("adt/ris shut until {word} 07:00\n")),
        "{text}"
    );
    let json = home.json(&["channels", "--json"])?;
    let row = json["channels"]
        .as_array()
        .context("channels")?
        .iter()
        .find(|row| row["id"] == "adt");
    let shut = row.context("the channel")?["shut"][0].clone();
    assert_eq!(shut["destination"], "ris");
    assert_eq!(shut["says"], format!("shut until {word} 07:00"));
    let until = date(shut["until"].as_str().context("until")?, "+%F %H:%M")?;
    assert_eq!(until, format!("{day} 07:00"));
    assert!(ris.received().is_empty(), "nothing goes to what is shut");
    let found = home.run(&["where", "A1"])?;
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        text.contains(&format!(
            "to ris: waits, since adt/ris is shut until {word} 07:00"
        )),
        "{text}"
    );

    // Another window, and it goes.
    home.channel("adt", &channel(&ris, "window = { open = \"00:00-24:00\" }"))?;
    assert!(home.run(&["reload"])?.status.success());
    eventually("all of it, in order", LONG, async || {
        (control_ids(&ris) == ["A0", "A1", "A2"]).then_some(())
    })
    .await;
    let listed = home.run(&["channels"])?;
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("shut"));
    punte.stop()?;
    Ok(())
}

/// In no span does the receiver get more than it takes: with retries, over a kill and over a reload.
#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_never_gets_more_than_its_rate() -> Result<()> {
    const MOST: usize = 5;
    const PER: Duration = Duration::from_millis(400);
    let ris = Sink::hl7().await?;
    let rate = "rate = { most = 5, per = \"400ms\" }\nretry = { first = \"20ms\", max = \"20ms\" }";
    let home = Home::with(&[("adt", &channel(&ris, rate))])?;
    let punte = home.serve()?;
    ris.behave(Manner::Busy);
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    let sent: Vec<String> = (0..40).map(|number| format!("R{number}")).collect();
    for id in &sent {
        sender.ask(message(id).as_bytes()).await?;
    }
    let arrived = |count: usize| {
        let ris = &ris;
        eventually("more of them", LONG, async move || {
            (count <= ris.received().len()).then_some(())
        })
    };
    // The first one, again and again.
    arrived(12).await;
    ris.behave(Manner::Polite);
    arrived(22).await;
    punte.kill();
    let punte = home.serve()?;
    arrived(32).await;
    // Another worker, with the same rate.
    home.channel("adt", &channel(&ris, &format!("{rate}\non_error = \"dead\"")))?;
    assert!(home.run(&["reload"])?.status.success());
    eventually("all of them", LONG, async || {
        (control_ids(&ris).last() == sent.last()).then_some(())
    })
    .await;
    // A retry comes again, and so does what was not yet flushed at the kill: by first arrivals it is in order.
    let mut known = BTreeSet::new();
    let mut first_arrivals = control_ids(&ris);
    first_arrivals.retain(|id| known.insert(id.clone()));
    assert_eq!(first_arrivals, sent);

    // The receiver writes a message down before it answers, so between the first byte and the answer of a try. The next
    // one but `MOST` begins a span after that answer. So whatever the load of this machine, there is nothing to tolerate;
    // both programs read the same clock (CLOCK_MONOTONIC).
    let times: Vec<_> = ris.arrivals().into_iter().map(|(at, _)| at).collect();
    for (first, next) in times.iter().zip(times.iter().skip(MOST)) {
        let between = next.duration_since(*first);
        assert!(PER <= between, "{} tries within {between:?}", MOST + 1);
    }
    punte.stop()?;
    Ok(())
}
