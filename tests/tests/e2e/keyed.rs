//! Several at once, in order by a key: over kills, and while the receiver takes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::{Manner, Sink};

use crate::scenes;

const SOON: Duration = Duration::from_secs(60);

fn by_patient(to: std::net::SocketAddr) -> String {
    format!(
        "id = \"keyed\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"lis\"\nmllp = {{ connect = \"{to}\", reply_timeout = \"2s\" }}\norder_by = \"patient\"\nparallel = 6\nretry = {{ first = \"20ms\", max = \"100ms\" }}\nbreaker = {{ after = 5, pause = \"200ms\" }}\n"
    )
}

/// First arrivals of each patient.
fn first_arrivals(sink: &Sink) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for body in sink.received() {
        let id = field(&body, "MSH", 10);
        if seen.insert(id.clone()) {
            by.entry(field(&body, "PID", 3)).or_default().push(id);
        }
    }
    by
}

#[tokio::test(flavor = "multi_thread")]
async fn each_patient_in_order_over_kills_while_one_is_not_taken() -> Result<()> {
    let sink = Sink::hl7().await?;
    sink.behave(Manner::BusyFor("P-3^^^TEST".to_owned()));
    let home = Home::with(&[("keyed", &by_patient(sink.address))])?;
    let mut punte = home.serve()?;
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..8 {
        let mut sender = Sender::connect(punte.listens("keyed")).await?;
        for n in 0..40 {
            let id = format!("K{round}-{n}");
            let patient = format!("P-{}", n * n % 9);
            let text = scenes::result(&id, &patient, &format!("O-{id}"), "1.0");
            assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
            sent.entry(format!("{patient}^^^TEST^MR")).or_default().push(id);
        }
        // While some are under way.
        tokio::time::sleep(Duration::from_micros(round * 2_300)).await;
        punte.kill();
        punte = home.serve()?;
    }
    // One patient stands still over all restarts, the others flow.
    let others: BTreeMap<String, Vec<String>> = sent
        .iter()
        .filter(|(patient, _)| !patient.starts_with("P-3^"))
        .map(|(patient, ids)| (patient.clone(), ids.clone()))
        .collect();
    eventually("those of the others arrive", SOON, async || {
        let mut arrived = first_arrivals(&sink);
        arrived.retain(|patient, _| !patient.starts_with("P-3^"));
        let all = |by: &BTreeMap<String, Vec<String>>| by.values().map(Vec::len).sum::<usize>();
        (all(&arrived) == all(&others)).then_some(())
    })
    .await;
    let arrived = first_arrivals(&sink);
    assert!(
        arrived.get("P-3^^^TEST^MR").is_none_or(|ids| ids.len() == 1),
        "the second one of the patient who is not taken waits for the first"
    );
    sink.behave(Manner::Polite);
    eventually("all arrive", SOON, async || {
        (first_arrivals(&sink) == sent).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_is_left_alone_and_shown_so() -> Result<()> {
    let sink = Sink::hl7().await?;
    sink.behave(Manner::Busy);
    let home = Home::with(&[("keyed", &by_patient(sink.address))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("keyed")).await?;
    for n in 0..100 {
        let text = scenes::result(&format!("B{n}"), &format!("P-{n}"), &format!("O-{n}"), "1.0");
        assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    }
    let listed = eventually("it is said to take nothing", SOON, async || {
        let listed = home.run(&["channels"]).ok()?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.contains("keyed/lis takes nothing since ").then_some(text)
    })
    .await;
    assert!(listed.contains("; it is tried again at "), "{listed}");
    let before = sink.received().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tries = sink.received().len() - before;
    assert!(
        (1..=12).contains(&tries),
        "{tries} tries in two seconds, with a pause of 200 ms between two"
    );
    sink.behave(Manner::Polite);
    eventually("all arrive, each once it is taken", SOON, async || {
        let by = first_arrivals(&sink);
        (by.len() == 100).then_some(())
    })
    .await;
    eventually("nothing is said any more", SOON, async || {
        let listed = home.run(&["channels"]).ok()?;
        (!String::from_utf8_lossy(&listed.stdout).contains("takes nothing")).then_some(())
    })
    .await;
    Ok(())
}
