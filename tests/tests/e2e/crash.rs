//! The program is killed (SIGKILL) in the middle of the day, again and again; nothing is missing at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;
use serde_json::Value;
use tokio::sync::watch;

use crate::concurrency::control_id_of;
use crate::scenes;

/// Senders at once; each sends its own messages one after the other and repeats what was not answered.
const SENDERS: u32 = 6;

/// `PUNTE_KILLS` says how often; 20 unless it does.
fn kills() -> u32 {
    std::env::var("PUNTE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20)
}

/// What has come to a receiver, by first arrivals. Each body is read once: there are many, and the program needs the
/// processors.
#[derive(Default)]
struct Arrivals {
    read: usize,
    seen: BTreeSet<String>,
    first: Vec<String>,
}

impl Arrivals {
    fn read(&mut self, sink: &Sink, id_of: impl Fn(&[u8]) -> String) {
        let new = sink.received_from(self.read);
        self.read += new.len();
        for body in new {
            let id = id_of(&body);
            if self.seen.insert(id.clone()) {
                self.first.push(id);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_the_day_nothing_is_missing() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let mut punte = home.serve()?;
    let (address_tx, address_rx) = watch::channel(Some(punte.listens("clinic")));
    let (over_tx, over_rx) = watch::channel(false);
    let acknowledged = Arc::new(AtomicU32::new(0));
    let mut senders = vec![];
    for sender in 0..SENDERS {
        let (mut addresses, over, acknowledged) = (address_rx.clone(), over_rx.clone(), acknowledged.clone());
        senders.push(tokio::spawn(async move {
            let mut log: Vec<String> = vec![];
            let mut number = 0;
            while !*over.borrow() {
                let id = format!("C{sender}-{number}");
                let text = scenes::result(
                    &id,
                    &format!("P-{sender}-{}", number % 7),
                    &format!("O{sender}-{}", number % 7),
                    &format!("{number}.0"),
                );
                // The same message until it is acknowledged, on a new connection after each break.
                let mut connection: Option<Sender> = None;
                loop {
                    if connection.is_none() {
                        let address = *addresses.borrow_and_update();
                        connection = match address {
                            Some(address) => Sender::connect(address).await.ok(),
                            None => None,
                        };
                    }
                    let answer = match connection.as_mut() {
                        Some(open) => open.ask(text.as_bytes()).await.ok(),
                        None => None,
                    };
                    match answer {
                        Some(answer) if field(&answer, "MSA", 1) == "AA" => break,
                        Some(answer) => panic!("{id}: {}", String::from_utf8_lossy(&answer)),
                        None => {
                            connection = None;
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                }
                log.push(id);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                number += 1;
            }
            log
        }));
    }
    for kill in 0..kills() {
        // At a different moment each time, while messages are under way.
        let before = acknowledged.load(Ordering::Relaxed);
        let more = 3 + kill * 7 % 25;
        eventually(
            "some more are acknowledged",
            Duration::from_secs(60),
            async || (before + more <= acknowledged.load(Ordering::Relaxed)).then_some(()),
        )
        .await;
        tokio::time::sleep(Duration::from_micros(u64::from(kill) * 1_700 % 9_000)).await;
        address_tx.send(None)?;
        punte.kill();
        punte = home.serve()?;
        address_tx.send(Some(punte.listens("clinic")))?;
    }
    over_tx.send(true)?;
    let mut logs = vec![];
    for sender in senders {
        logs.push(sender.await?);
    }
    let sent: usize = logs.iter().map(Vec::len).sum();
    assert!(sent as u32 >= kills() * 3);

    // Stored once each.
    let mut stored: BTreeMap<String, u32> = BTreeMap::new();
    let mut before = String::new();
    loop {
        let (_, page) = punte.get(&format!("/admin/messages?limit=1000{before}")).await?;
        for row in page["messages"].as_array().into_iter().flatten() {
            *stored
                .entry(row["control_id"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    for id in logs.iter().flatten() {
        assert_eq!(
            stored.get(id),
            Some(&1),
            "{id} was acknowledged and must be stored once"
        );
    }
    // Delivered at least once to both, none invented.
    let mut at_ris = Arrivals::default();
    let mut at_portal = Arrivals::default();
    eventually(
        "everything arrives at both",
        Duration::from_secs(120),
        async || {
            at_ris.read(&ris, |body| field(body, "MSH", 10));
            at_portal.read(&portal, |body| {
                control_id_of(&serde_json::from_slice::<Value>(body).unwrap_or_default())
            });
            (stored.len() <= at_ris.first.len() && stored.len() <= at_portal.first.len()).then_some(())
        },
    )
    .await;
    for arrivals in [at_ris.first, at_portal.first] {
        for id in &arrivals {
            assert!(stored.contains_key(id), "{id} was delivered and is not stored");
        }
        // By first arrivals, each sender's messages are in the order in which they were acknowledged.
        for log in &logs {
            let places: Vec<Option<usize>> = log
                .iter()
                .map(|id| arrivals.iter().position(|known| known == id))
                .collect();
            assert!(
                places.iter().all(Option::is_some),
                "something that was acknowledged did not arrive"
            );
            assert!(places.is_sorted(), "the order of a sender was lost");
        }
    }
    // Applied once each: the last value of each order of each sender is the one that was sent last.
    for (sender, log) in logs.iter().enumerate() {
        let Some(last) = log.len().checked_sub(1) else {
            continue;
        };
        let order = format!("FO{sender}-{}", last % 7);
        let orders = punte
            .search(&format!("ServiceRequest?identifier={order}"))
            .await?;
        assert!(!orders.is_empty(), "{order} is not on the chart");
    }
    Ok(())
}
