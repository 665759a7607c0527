//! Back-pressure: a destination that is down, a source at full speed, and a store that can't be written for a while.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;

use crate::scenes;

const SENDERS: u32 = 8;
/// Frames that a sender sends without waiting.
const AHEAD: u32 = 50;

/// `PUNTE_BACKLOG` says how many messages; 20,000 unless it does (`cargo xtask soak` says 1,000,000).
fn backlog() -> u32 {
    let said = std::env::var("PUNTE_BACKLOG").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_down_and_the_source_at_full_speed() -> Result<()> {
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let home = Home::with(&[("route", &scenes::route(nobody))])?;
    let punte = home.serve()?;
    let to = punte.listens("route");
    let each = backlog() / SENDERS;
    let begun = Instant::now();
    let sent = Arc::new(AtomicU32::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let sent = sent.clone();
        senders.spawn(async move {
            let mut connection = Sender::connect(to).await?;
            for first in (0..each).step_by(AHEAD as usize) {
                let some = AHEAD.min(each - first);
                for n in first..first + some {
                    let text = scenes::register(&format!("B{sender}-{n}"), &format!("P-{n}"), "Pop");
                    connection.tell(text.as_bytes()).await?;
                }
                for _ in 0..some {
                    let answer = connection.answer().await?;
                    anyhow::ensure!(
                        field(&answer, "MSA", 1) == "AA",
                        "{}",
                        String::from_utf8_lossy(&answer)
                    );
                }
                sent.fetch_add(some, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    // What it takes while the first tenth comes is what it takes at all.
    let mut early = None;
    while !senders.is_empty() {
        tokio::select! {
            ended = senders.join_next() => if let Some(ended) = ended { ended?? },
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        if early.is_none() && backlog() / 10 <= sent.load(Ordering::Relaxed) {
            early = punte.resident();
        }
    }
    let mb = |bytes: Option<u64>| bytes.unwrap_or_default() as f64 / 1e6;
    let (early, late) = (mb(early), mb(punte.resident()));
    let messages = each * SENDERS;
    println!(
        "{messages} messages in {:.1} s, none delivered: {early:.1} MB resident after a tenth of them, {late:.1} MB at the end",
        begun.elapsed().as_secs_f64()
    );
    assert!(0.0 < early && late < 150.0, "{late} MB resident");
    assert!(
        late < early + 40.0 + f64::from(messages) * 60e-6,
        "it grows: {early} MB, then {late} MB"
    );
    // They are all there, and wait.
    let (_, channels) = punte.get("/admin/channels").await?;
    let queues = &channels["channels"][0]["queues"]["ris"];
    let waiting: u64 = queues
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, n)| n.as_u64())
        .sum();
    assert_eq!(waiting, u64::from(messages), "{queues}");
    Ok(())
}

/// Somebody else has the write lock of the database (a copy, an administrator's tool): nothing is acknowledged
/// meanwhile, and all goes on when it is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cant_be_written_for_a_while_stalls_nothing_for_good() -> Result<()> {
    let python = std::env::var("PUNTE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let seconds: u64 = std::env::var("PUNTE_STORE_DOWN")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(12);
    let sink = Sink::hl7().await?;
    let home = Home::with(&[("route", &scenes::route(sink.address))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    let text = |n: u32| scenes::register(&format!("S{n}"), "P-1", "Pop");
    assert_eq!(field(&sender.ask(text(0).as_bytes()).await?, "MSA", 1), "AA");
    eventually("the first arrives", Duration::from_secs(30), async || {
        (sink.received().len() == 1).then_some(())
    })
    .await;
    let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\ndb.execute('begin immediate')\nprint('locked', flush=True)\nsys.stdin.readline()\ndb.execute('rollback')\n";
    let mut holder = Command::new(python)
        .args(["-c", script])
        .arg(home.path().join("data/punte.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = holder.stdout.take().context("its output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    assert_eq!(line.trim(), "locked");
    // Each is refused or waits; none is acknowledged.
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut refused = 0;
    while Instant::now() < until {
        let rest = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(rest, sender.ask(text(1).as_bytes())).await {
            Ok(answer) => {
                assert_eq!(field(&answer?, "MSA", 1), "AE");
                refused += 1;
            }
            // Its answer may come later; it is another connection's.
            Err(_) => sender = Sender::connect(punte.listens("route")).await?,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(0 < refused, "nobody was told");
    holder.stdin.take().context("its input")?.write_all(b"\n")?;
    holder.wait()?;
    let taken = eventually("it is taken again", Duration::from_secs(30), async || {
        let answer = sender.ask(text(2).as_bytes()).await.ok()?;
        (field(&answer, "MSA", 1) == "AA").then_some(answer)
    })
    .await;
    assert_eq!(field(&taken, "MSA", 2), "S2");
    eventually("and delivered", Duration::from_secs(30), async || {
        let last = sink.received().pop()?;
        (field(&last, "MSH", 10) == "S2").then_some(())
    })
    .await;
    println!("{seconds} s without a store: {refused} times refused, then on by itself");
    Ok(())
}
