//! `ack = { delivered = … }`: the sender is told what the destination says, in time or not, once or again.

use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};

use crate::scenes;

const SOON: Duration = Duration::from_secs(30);

fn channel(sink: &Sink, within: &str) -> String {
    format!(
        r#"
id = "ask"
ack = {{ delivered = "ris", within = "{within}" }}
source.mllp.listen = "127.0.0.1:0"
[[destination]]
name = "ris"
mllp = {{ connect = "{}", reply_timeout = "1s" }}
retry = {{ first = "100ms", max = "200ms" }}
"#,
        sink.address
    )
}

async fn waiting(within: &str) -> Result<(Sink, Home, Punte, Sender)> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[("ask", &channel(&sink, within))])?;
    let punte = home.serve()?;
    let sender = Sender::connect(punte.listens("ask")).await?;
    Ok((sink, home, punte, sender))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_gets_the_answer_of_the_destination() -> Result<()> {
    let (sink, _home, punte, mut sender) = waiting("20s").await?;
    let answer = sender
        .ask(scenes::register("D1", "P-1", "Pop").as_bytes())
        .await?;
    // The receiver's own words, not ours.
    assert_eq!(field(&answer, "MSH", 3), "SINK");
    assert_eq!(
        (field(&answer, "MSA", 1), field(&answer, "MSA", 2)),
        ("AA".into(), "D1".into())
    );
    sink.behave(Manner::Late(Duration::from_millis(700)));
    let answer = sender
        .ask(scenes::register("D2", "P-1", "Pop").as_bytes())
        .await?;
    assert_eq!(
        (field(&answer, "MSH", 3), field(&answer, "MSA", 1)),
        ("SINK".into(), "AA".into())
    );
    sink.behave(Manner::Refuse);
    let answer = sender
        .ask(scenes::register("D3", "P-1", "Pop").as_bytes())
        .await?;
    assert_eq!(
        (field(&answer, "MSH", 3), field(&answer, "MSA", 1)),
        ("SINK".into(), "AE".into())
    );
    assert_eq!(sink.received().len(), 3);
    assert_eq!(punte.messages("").await?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_waits_for_the_same_delivery_and_nothing_is_doubled() -> Result<()> {
    let (sink, _home, punte, mut sender) = waiting("300ms").await?;
    sink.behave(Manner::Busy);
    let message = scenes::register("D1", "P-1", "Pop");
    for _ in 0..3 {
        let answer = sender.ask(message.as_bytes()).await?;
        assert_eq!(
            (field(&answer, "MSA", 1), field(&answer, "MSA", 2)),
            ("AE".into(), "D1".into())
        );
        assert!(
            field(&answer, "ERR", 3).starts_with("207"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    // Another sender waits for the same one meanwhile.
    let mut other = Sender::connect(punte.listens("ask")).await?;
    sink.behave(Manner::Polite);
    let (one, two) = tokio::join!(
        eventually("the sender is told", SOON, async || {
            let answer = sender.ask(message.as_bytes()).await.ok()?;
            (field(&answer, "MSA", 1) == "AA").then_some(answer)
        }),
        eventually("the other is told", SOON, async || {
            let answer = other.ask(message.as_bytes()).await.ok()?;
            (field(&answer, "MSA", 1) == "AA").then_some(answer)
        }),
    );
    assert_eq!(
        (field(&one, "MSH", 3), field(&two, "MSH", 3)),
        ("SINK".into(), "SINK".into())
    );
    let rows = punte.messages("").await?;
    assert_eq!(rows.len(), 1, "one message, however often it came: {rows:?}");
    assert_eq!(rows[0]["deliveries"].as_array().map(Vec::len), Some(1));
    // What the receiver took, it took once: the tries before it were turned away.
    let taken = sink.received().len();
    let again = sender.ask(message.as_bytes()).await?;
    assert_eq!(
        (field(&again, "MSH", 3), sink.received().len()),
        ("SINK".into(), taken)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_down_is_said_and_found_again_after_a_kill() -> Result<()> {
    let (sink, home, punte, mut sender) = waiting("300ms").await?;
    let address = sink.address.to_string();
    drop(sink);
    let message = scenes::register("D1", "P-1", "Pop");
    let answer = sender.ask(message.as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    punte.kill();
    let punte = home.serve()?;
    let sink = Sink::hl7_at(&address).await?;
    let mut sender = Sender::connect(punte.listens("ask")).await?;
    let answer = eventually("the answer comes", SOON, async || {
        let answer = sender.ask(message.as_bytes()).await.ok()?;
        (field(&answer, "MSA", 1) == "AA").then_some(answer)
    })
    .await;
    assert_eq!(field(&answer, "MSH", 3), "SINK");
    assert_eq!(sink.received().len(), 1);
    assert_eq!(punte.messages("").await?.len(), 1);
    Ok(())
}

#[test]
fn check_refuses_a_destination_that_is_not_there() -> Result<()> {
    let text = "id = \"ask\"\nack = { delivered = \"rsi\" }\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp.connect = \"127.0.0.1:1\"\n";
    let home = Home::with(&[("ask", text)])?;
    let output = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("ask.toml:2:21 ack.delivered  not known here; did you mean \"ris\"?"),
        "{said}"
    );
    let alone = "id = \"ask\"\nack = { delivered = \"ris\" }\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";
    let output = Home::with(&[("ask", alone)])?.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("ack.delivered  the channel has no destination to wait for")
            && said.contains("1 problem."),
        "{said}"
    );
    Ok(())
}
