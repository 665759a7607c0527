//! What a sender can do wrong: never a hang, never a crash; answered or closed in time, and kept with the reason.

use std::time::Duration;

use anyhow::Result;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::Value;

use crate::scenes;

const CHANNEL: &str = "id = \"clinic\"\nsource.mllp = { listen = \"127.0.0.1:0\", max_frame = \"300 KB\", frame_timeout = \"1s\", idle_timeout = \"20s\" }\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";

async fn clinic() -> Result<(Home, Punte)> {
    let home = Home::with(&[("clinic", CHANNEL)])?;
    let punte = home.serve()?;
    Ok((home, punte))
}

async fn newest(punte: &Punte) -> Result<Value> {
    Ok(punte.messages("").await?.first().cloned().unwrap_or(Value::Null))
}

/// A good message on a fresh connection is taken.
async fn still_works(punte: &Punte, id: &str) -> Result<()> {
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let answer = sender.ask(scenes::register(id, "OK-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    Ok(())
}

/// The connection is answered or closed within the limit.
async fn ends(sender: &mut Sender) -> bool {
    tokio::time::timeout(Duration::from_secs(10), sender.is_closed())
        .await
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hl7_is_kept_with_the_reason() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let binary: Vec<u8> = (0..2000_u32)
        .map(|n| (n * 7 % 251) as u8)
        .filter(|b| !matches!(b, 0x0B | 0x1C))
        .collect();
    let cases: [(&str, Vec<u8>); 4] = [
        ("no MSH", b"PID|1||P-1^^^T^MR||Pop^Ana\r".to_vec()),
        ("text", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("binary", binary),
        ("truncated MSH", b"MSH|^~".to_vec()),
    ];
    for (count, (what, body)) in cases.iter().enumerate() {
        let mut sender = Sender::connect(punte.listens("clinic")).await?;
        sender.tell(body).await?;
        // Answered or not: the next message on the same connection is taken, or the connection was closed.
        let next = tokio::time::timeout(Duration::from_secs(10), async {
            sender
                .tell(scenes::register(&format!("AFTER-{count}"), "OK-1", "Pop").as_bytes())
                .await?;
            loop {
                let answer = sender.answer().await?;
                if field(&answer, "MSA", 2).starts_with("AFTER-") {
                    return anyhow::Ok(());
                }
            }
        })
        .await;
        assert!(next.is_ok(), "{what}: neither answered nor closed");
        still_works(&punte, &format!("STILL-{count}")).await?;
        let failed = punte.messages("&state=failed").await?;
        assert_eq!(failed.len(), count + 1, "{what} is kept: {failed:?}");
        assert!(
            !failed[0]["failure"]["why"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
        );
    }
    Ok(())
}

/// What is marked as a test comes into no chart where the source takes production alone: HL7 v2.5.1, 2.9.2.1 and table 0103.
#[tokio::test(flavor = "multi_thread")]
async fn a_processing_id_that_is_not_taken_is_refused() -> Result<()> {
    let channel = CHANNEL.replace("source.mllp", "source.processing = [\"P\"]\nsource.mllp");
    let home = Home::with(&[("clinic", &channel)])?;
    let tested = home.path().join("test.hl7");
    let message = |id: &str, said: &str| {
        scenes::register(id, "P-1", "Pop").replacen(&format!("|{id}|P|"), &format!("|{id}|{said}|"), 1)
    };
    std::fs::write(&tested, message("TRY", "T"))?;
    let tried = home.run(&["try", "clinic", &tested.display().to_string()])?;
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert!(said.contains("MSH-11: is another processing id"), "{said}");
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    for (count, (said, verdict)) in [
        ("P", "AA"),
        ("T", "AR"),
        ("D", "AR"),
        ("", "AA"),
        ("P^T", "AA"),
        ("T^T", "AR"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = sender
            .ask(message(&format!("PROC-{count}"), said).as_bytes())
            .await?;
        assert_eq!(field(&answer, "MSA", 1), verdict, "{said:?}");
        if verdict == "AR" {
            assert!(field(&answer, "ERR", 3).starts_with("202^"), "{said:?}");
            assert_eq!(field(&answer, "ERR", 2), "MSH^1^11^1");
        }
    }
    let failed = punte.messages("&state=failed").await?;
    assert_eq!(failed.len(), 3, "{failed:?}");
    Ok(())
}

/// Some senders probe a listener with an empty frame: there is nothing to keep, and nothing to answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_is_passed_over() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.tell(b"").await?;
    let answer = sender
        .ask(scenes::register("E1", "OK-1", "Pop").as_bytes())
        .await?;
    assert_eq!(field(&answer, "MSA", 2), "E1");
    assert_eq!(punte.messages("").await?.len(), 1);
    Ok(())
}

/// What failed keeps its place when it is sent again and taken: its delivery goes out though later ones have gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_is_sent_again_is_delivered() -> Result<()> {
    let sink = e2e::sink::Sink::hl7().await?;
    let channel = format!(
        "{}[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\n",
        scenes::chart_only(),
        sink.address
    );
    let home = Home::with(&[("clinic", &channel)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let (start, end) = ("20260520140000", "20260520142000");
    let late = scenes::booking("B2", "AP-2", "P-2", start, end);
    sender
        .ask(scenes::booking("B1", "AP-1", "P-1", start, end).as_bytes())
        .await?;
    assert_eq!(
        field(&sender.ask(late.as_bytes()).await?, "MSA", 1),
        "AE",
        "the time is taken"
    );
    let cancel = scenes::booking("B3", "AP-1", "P-1", start, end)
        .replace("SIU^S12", "SIU^S15")
        .replace("|Booked\r", "|Cancelled\r");
    assert_eq!(field(&sender.ask(cancel.as_bytes()).await?, "MSA", 1), "AA");
    e2e::eventually("both are out", Duration::from_secs(20), async || {
        (sink.received().len() == 2).then_some(())
    })
    .await;
    assert_eq!(
        field(&sender.ask(late.as_bytes()).await?, "MSA", 1),
        "AA",
        "now it is free"
    );
    e2e::eventually("the third is out", Duration::from_secs(20), async || {
        (sink.received().len() == 3).then_some(())
    })
    .await;
    assert_eq!(
        punte.messages("&control_id=B2").await?.len(),
        1,
        "it is the same message"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_long_or_has_no_end() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let long = format!(
        "{}NTE|1||{}\r",
        scenes::register("LONG", "P-1", "Pop"),
        "x".repeat(400_000)
    );
    let _ = sender.tell(long.as_bytes()).await;
    assert!(
        ends(&mut sender).await,
        "a frame over max_frame is answered or closed"
    );
    e2e::eventually("it is kept", Duration::from_secs(10), async || {
        punte
            .messages("&state=failed")
            .await
            .ok()
            .filter(|failed| failed.len() == 1)
    })
    .await;
    let failed = newest(&punte).await?;
    let kept = failed["length"].as_u64().unwrap_or(0);
    assert!(
        (1..=256 * 1024).contains(&kept),
        "at most the first 256 KB are kept: {kept}"
    );

    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender
        .raw(b"\x0bMSH|^~\\&|A|B|C|D|2026||ADT^A08|NOEND|P|2.5\r")
        .await?;
    assert!(ends(&mut sender).await, "a frame without an end is given up");
    e2e::eventually("it is kept", Duration::from_secs(10), async || {
        punte
            .messages("&state=failed")
            .await
            .ok()
            .filter(|failed| failed.len() == 2)
    })
    .await;
    still_works(&punte, "STILL").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_sins_of_framing_are_forgiven() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let frame = |id: &str| {
        let mut frame = vec![0x0B];
        frame.extend_from_slice(scenes::register(id, &format!("P-{id}"), "Pop").as_bytes());
        frame.extend_from_slice(&[0x1C, 0x0D]);
        frame
    };
    // Several in one packet, with bytes between them.
    let mut packet = frame("K1");
    packet.extend_from_slice(b"\r\n");
    packet.extend(frame("K2"));
    packet.extend(frame("K3"));
    sender.raw(&packet).await?;
    for id in ["K1", "K2", "K3"] {
        let answer = sender.answer().await?;
        assert_eq!(
            (
                field(&answer, "MSA", 1).as_str(),
                field(&answer, "MSA", 2).as_str()
            ),
            ("AA", id)
        );
    }
    // One in many packets.
    for byte in frame("K4").chunks(7) {
        sender.raw(byte).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(field(&sender.answer().await?, "MSA", 2), "K4");
    // LF endings.
    let text = scenes::register("K5", "P-K5", "Pop").replace('\r', "\n");
    assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    // No CR behind FS.
    let mut bare = frame("K6");
    bare.pop();
    sender.raw(&bare).await?;
    assert_eq!(field(&sender.answer().await?, "MSA", 2), "K6");
    assert_eq!(punte.messages("&state=routed").await?.len(), 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_content_is_answered_ae_or_ar_and_kept() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let no_patient = format!(
        "{}OBR|1|C-1|F-1|2093-3^C^LN\rOBX|1|NM|2093-3^C^LN||5\r",
        scenes::msh("ORU^R01^ORU_R01", "NP")
    );
    let answer = sender.ask(no_patient.as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    assert!(
        field(&answer, "ERR", 3).starts_with("101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let unknown_event = scenes::register("UE", "P-1", "Pop").replace("ADT^A28^ADT_A05", "ADT^X99");
    assert_eq!(
        field(&sender.ask(unknown_event.as_bytes()).await?, "MSA", 1),
        "AR"
    );
    // Declared ASCII, and it is not: the letters are not lost.
    let charset = scenes::register("CS", "P-CS", "Țîru").replace("UNICODE UTF-8", "ASCII");
    assert_eq!(field(&sender.ask(charset.as_bytes()).await?, "MSA", 1), "AA");
    assert_eq!(
        punte.search("Patient?family=tiru").await?[0]["name"][0]["family"],
        "Țîru"
    );
    assert_eq!(punte.messages("&state=failed").await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_control_id_with_the_same_and_with_another_body() -> Result<()> {
    let (_home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let first = sender
        .ask(scenes::register("R1", "P-1", "Pop").as_bytes())
        .await?;
    let repeat = sender
        .ask(scenes::register("R1", "P-1", "Pop").as_bytes())
        .await?;
    assert_eq!(first, repeat, "a repeat is answered as the first was");
    assert_eq!(punte.messages("").await?.len(), 1);
    let other = sender
        .ask(scenes::register("R1", "P-1", "Popa").as_bytes())
        .await?;
    assert_eq!(field(&other, "MSA", 1), "AA");
    let rows = punte.messages("").await?;
    assert_eq!(rows.len(), 2, "another body is a new message");
    assert_eq!(rows[0]["reused_control_id"], true, "with a warning");
    // What failed runs again as the same message.
    let bad = format!("{}OBR|1|C-1\r", scenes::msh("ORU^R01^ORU_R01", "R2"));
    for _ in 0..2 {
        assert_eq!(field(&sender.ask(bad.as_bytes()).await?, "MSA", 1), "AE");
    }
    assert_eq!(punte.messages("&control_id=R2").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_patients_that_match_one_message_are_parked_with_both() -> Result<()> {
    let (home, punte) = clinic().await?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender
        .ask(scenes::register("M1", "P-1", "Pop").as_bytes())
        .await?;
    sender
        .ask(scenes::register("M2", "P-2", "Popa").as_bytes())
        .await?;
    let both = scenes::register("M3", "P-1", "Pop").replace("P-1^^^TEST^MR", "P-1^^^TEST^MR~P-2^^^TEST^MR");
    assert_eq!(
        field(&sender.ask(both.as_bytes()).await?, "MSA", 1),
        "AA",
        "parked is answered AA"
    );
    let parked = home.json(&["parked", "--json"])?;
    let rows = parked["parked"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0]["candidates"].as_array().map(Vec::len),
        Some(2),
        "{}",
        rows[0]
    );
    assert_eq!(
        punte.search("Patient?identifier=P-1").await?[0]["meta"]["versionId"],
        "1"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_logged_by_its_length_alone() -> Result<()> {
    let door = "id = \"door\"\n[source]\nformat = \"hl7v2\"\nhttp = { listen = \"127.0.0.1:0\", path = \"/in\", max_body = \"1 KB\" }\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";
    let home = Home::with(&[("door", door)])?;
    let punte = home.serve()?;
    let body = format!(
        "{}NTE|1||{}\r",
        scenes::register("T-1", "P-1", "Popescu"),
        "Popescu ".repeat(200)
    );
    let length = body.len();
    let url = format!("http://{}/in", punte.listens("door"));
    let client = reqwest::Client::new();
    let answer = client.post(&url).body(body).send().await?;
    assert_eq!(answer.status().as_u16(), 413);
    e2e::eventually("it is kept", Duration::from_secs(10), async || {
        let rows = punte.messages("&state=failed").await.ok()?;
        (rows.len() == 1).then_some(())
    })
    .await;
    let log = home.log();
    let line = log
        .lines()
        .find(|line| line.contains("A request could not be taken; what came is kept."))
        .unwrap_or_default();
    assert!(
        line.contains("WARN") && line.contains("status=413") && line.contains(&format!("length={length}")),
        "{log}"
    );
    assert!(!log.contains("Popescu"), "{log}");
    Ok(())
}
