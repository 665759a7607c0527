//! The senders: so many connections, each sends its next message once the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::messages::Pool;

/// When to stop sending.
#[derive(Clone, Copy)]
pub enum Until {
    /// After so many messages.
    Count(u64),
    /// After so long.
    Passed(Duration),
}

/// What the senders saw.
pub struct Sent {
    /// Messages that were answered AA: each one that was sent.
    pub messages: u64,
    /// When the first one left.
    pub begun: Instant,
    /// From the first byte to the last answer.
    pub took: Duration,
    /// How long each waited for its answer, sorted.
    pub waits: Vec<Duration>,
    /// When each left, by its number.
    pub left: Vec<(u64, Instant)>,
}

/// How fast is sent, at most.
#[derive(Clone, Copy)]
struct Pace {
    begun: Instant,
    first: u64,
    each: Option<Duration>,
}

impl Pace {
    /// When a message may leave.
    async fn may_leave(&self, number: u64) {
        if let Some(each) = self.each {
            let behind = u32::try_from(number - self.first).unwrap_or(u32::MAX);
            tokio::time::sleep_until((self.begun + each * behind).into()).await;
        }
    }
}

/// Sends messages numbered from `first` on. Runs on one thread of its own, so that it competes as little as it can.
pub fn send(to: SocketAddr, connections: usize, until: Until, first: u64, pool: &Arc<Pool>) -> Result<Sent> {
    send_paced(to, connections, until, first, pool, None)
}

/// The same, not more than so many messages a second.
pub fn send_paced(
    to: SocketAddr,
    connections: usize,
    until: Until,
    first: u64,
    pool: &Arc<Pool>,
    a_second: Option<f64>,
) -> Result<Sent> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let next = Arc::new(AtomicU64::new(first));
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(to)
                .await
                .context("the channel does not listen")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let begun = Instant::now();
        let (last, deadline) = match until {
            Until::Count(count) => (first + count, None),
            Until::Passed(time) => (u64::MAX, Some(begun + time)),
        };
        let pace = Pace {
            begun,
            first,
            each: a_second.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        };
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(one(stream, next.clone(), last, deadline, pool.clone(), pace)))
            .collect();
        let (mut waits, mut left) = (vec![], vec![]);
        for task in tasks {
            for (number, at, wait) in task.await?? {
                waits.push(wait);
                left.push((number, at));
            }
        }
        let took = begun.elapsed();
        waits.sort_unstable();
        Ok(Sent {
            messages: waits.len() as u64,
            begun,
            took,
            waits,
            left,
        })
    })
}

async fn one(
    mut stream: TcpStream,
    next: Arc<AtomicU64>,
    last: u64,
    deadline: Option<Instant>,
    pool: Arc<Pool>,
    pace: Pace,
) -> Result<Vec<(u64, Instant, Duration)>> {
    let (mut message, mut frame, mut answer) = (vec![], vec![], Vec::with_capacity(1024));
    let mut waits = vec![];
    let aa = memchr::memmem::Finder::new(b"\rMSA|AA|");
    loop {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            break;
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        if last <= number {
            break;
        }
        pool.write(number, &mut message);
        frame.clear();
        frame.push(0x0B);
        frame.extend_from_slice(&message);
        frame.extend_from_slice(&[0x1C, 0x0D]);
        pace.may_leave(number).await;
        let begun = Instant::now();
        stream.write_all(&frame).await?;
        answer.clear();
        while !answer.ends_with(&[0x1C, 0x0D]) {
            let read = tokio::time::timeout(Duration::from_secs(60), stream.read_buf(&mut answer));
            if read.await.context("no answer within a minute")?? == 0 {
                bail!("the connection was closed without an answer");
            }
        }
        waits.push((number, begun, begun.elapsed()));
        if aa.find(&answer).is_none() {
            bail!(
                "message {number} was refused: {}",
                String::from_utf8_lossy(&answer).replace('\r', " ")
            );
        }
    }
    Ok(waits)
}

/// The value under which so many in a hundred lie. The list is sorted.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Microseconds of processor time for each of so many, from ticks.
pub fn micros_each(ticks: u64, count: u64) -> f64 {
    ticks as f64 * (1_000_000 / crate::machine::TICKS) as f64 / count.max(1) as f64
}
