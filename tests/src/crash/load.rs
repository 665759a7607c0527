//! The senders: each has several connections, sends up to three messages at once without waiting, repeats in order what
//! was not acknowledged, and now and then what was.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::rng::Rng;
use super::scene::Told;
use crate::mllp::{Sender, field};

/// Senders at once.
pub(super) const SENDERS: u32 = 4;
/// And connections of each.
pub(super) const CONNECTIONS: u32 = 2;

/// A message as its sender knows it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub id: String,
    /// Just before its first byte left for the first time.
    pub first_sent: Instant,
    /// Just after its acknowledgement was read; none: it never came.
    pub acknowledged: Option<Instant>,
    /// It was told to come later: it may be stored before or after its neighbours.
    pub was_refused: bool,
}

/// What one connection has sent, in its order.
pub(crate) struct Line {
    pub sender: u32,
    pub connection: u32,
    pub sent: Vec<Sent>,
}

/// Everything that was sent.
pub(crate) struct Everything {
    pub lines: Vec<Line>,
    pub repeats: u32,
    pub problems: Vec<String>,
    /// Connections were broken on purpose.
    pub breaks: bool,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Connections break in every phase of a frame.
    breaks: bool,
    acknowledged: AtomicU32,
    repeats: AtomicU32,
    problems: Mutex<Vec<String>>,
}

/// The senders at work.
pub(crate) struct Load {
    address: watch::Sender<Option<SocketAddr>>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Line>>,
}

impl Load {
    /// They begin as soon as there is an address.
    pub fn start(seed: u64, breaks: bool) -> Load {
        let (address, addresses) = watch::channel(None);
        let shared = Arc::new(Shared {
            breaks,
            ..Shared::default()
        });
        let mut tasks = vec![];
        for sender in 0..SENDERS {
            for connection in 0..CONNECTIONS {
                let line = Line {
                    sender,
                    connection,
                    sent: vec![],
                };
                let place = u64::from(sender * CONNECTIONS + connection);
                let working = Working {
                    line,
                    waiting: VecDeque::new(),
                    addresses: addresses.clone(),
                    shared: shared.clone(),
                    rng: Rng::new(seed ^ (place + 1) << 40),
                };
                tasks.push(tokio::spawn(working.work()));
            }
        }
        Load {
            address,
            shared,
            tasks,
        }
    }

    /// Where the program listens now; none: nowhere.
    pub fn goes_to(&mut self, address: Option<SocketAddr>) {
        self.address.send_replace(address);
    }

    /// So many messages were acknowledged.
    pub fn acknowledged(&self) -> u32 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more are. False: not in time.
    pub async fn has_acknowledged(&self, more: u32, within: Duration) -> bool {
        let (wanted, until) = (self.acknowledged() + more, Instant::now() + within);
        while self.acknowledged() < wanted {
            if until < Instant::now() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Lets each finish what it has begun.
    pub async fn end(self, within: Duration) -> Everything {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut lines = vec![];
        let until = tokio::time::Instant::now() + within;
        for mut task in self.tasks {
            match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(line)) => lines.push(line),
                Ok(Err(error)) => self.shared.problem(format!("a sender failed: {error}")),
                Err(_) => {
                    task.abort();
                    self.shared
                        .problem(format!("a sender had no answer within {within:?}"));
                }
            }
        }
        let problems = self
            .shared
            .problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Everything {
            lines,
            repeats: self.shared.repeats.load(Ordering::Relaxed),
            problems: problems.clone(),
            breaks: self.shared.breaks,
        }
    }
}

impl Shared {
    fn problem(&self, what: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.push(what);
    }
}

/// One connection of one sender.
struct Working {
    line: Line,
    /// The places in the line of what is not acknowledged, in the order in which it is sent.
    waiting: VecDeque<usize>,
    addresses: watch::Receiver<Option<SocketAddr>>,
    shared: Arc<Shared>,
    rng: Rng,
}

impl Working {
    async fn work(mut self) -> Line {
        let mut open: Option<Sender> = None;
        loop {
            if self.shared.is_over.load(Ordering::Relaxed) && self.waiting.is_empty() {
                return self.line;
            }
            let address = *self.addresses.borrow_and_update();
            let Some(address) = address else {
                open = None;
                let _ = tokio::time::timeout(Duration::from_millis(50), self.addresses.changed()).await;
                continue;
            };
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => match Sender::connect(address).await {
                    Ok(connection) => connection,
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                },
            };
            if self.exchange(&mut connection).await.is_ok() {
                open = Some(connection);
            }
        }
    }

    /// Sends what waits and perhaps something new, all at once, and reads the answers. An error: the connection is gone.
    async fn exchange(&mut self, connection: &mut Sender) -> anyhow::Result<()> {
        self.shared
            .repeats
            .fetch_add(self.waiting.len() as u32, Ordering::Relaxed);
        if !self.shared.is_over.load(Ordering::Relaxed) {
            let new = 1 + self.rng.below(3);
            for _ in 0..new.saturating_sub(self.waiting.len() as u64) {
                self.waiting.push_back(self.line.sent.len());
                self.line.sent.push(Sent {
                    id: self.told(self.line.sent.len()).control_id(),
                    first_sent: Instant::now(),
                    acknowledged: None,
                    was_refused: false,
                });
            }
        }
        let mut frames = vec![];
        for place in &self.waiting {
            frames.push(0x0B);
            frames.extend_from_slice(self.told(*place).text().as_bytes());
            frames.extend_from_slice(&[0x1C, 0x0D]);
        }
        if self.shared.breaks && self.rng.one_in(4) {
            let phase = self.a_phase(&frames);
            connection.raw(&frames[..phase]).await?;
            bail!("the sender breaks its connection");
        }
        connection.raw(&frames).await?;
        let mut refused = VecDeque::new();
        while let Some(place) = self.waiting.pop_front() {
            let answer = match connection.answer().await {
                Ok(answer) => answer,
                Err(error) => {
                    // All of it is sent again, in its order.
                    refused.push_back(place);
                    refused.append(&mut self.waiting);
                    self.waiting = refused;
                    return Err(error);
                }
            };
            match self.take_answer(place, &answer) {
                true => {
                    self.line.sent[place].acknowledged = Some(Instant::now());
                    self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                false => refused.push_back(place),
            }
        }
        if !refused.is_empty() {
            self.waiting = refused;
            tokio::time::sleep(Duration::from_millis(50)).await;
        } else if self.rng.one_in(12) {
            self.repeat_an_old_one(connection).await?;
        }
        Ok(())
    }

    /// Nothing, the first byte, a part, all but the end, all but its last byte, all of the first frame; or all.
    fn a_phase(&mut self, frames: &[u8]) -> usize {
        let end = frames.iter().position(|byte| *byte == 0x1C).unwrap_or(0);
        let part = self.rng.below(end as u64) as usize;
        let phases = [0, 1, part, end, end + 1, end + 2, frames.len()];
        phases[self.rng.below(phases.len() as u64) as usize]
    }

    /// A sender that has lost its own memory sends again what was acknowledged long ago.
    async fn repeat_an_old_one(&mut self, connection: &mut Sender) -> anyhow::Result<()> {
        let place = self.rng.below(self.line.sent.len() as u64) as usize;
        if self.line.sent[place].acknowledged.is_none() {
            return Ok(());
        }
        self.shared.repeats.fetch_add(1, Ordering::Relaxed);
        let answer = connection.ask(self.told(place).text().as_bytes()).await?;
        self.take_answer(place, &answer);
        Ok(())
    }

    /// True where it is acknowledged; false where it is to be sent later.
    fn take_answer(&mut self, place: usize, answer: &[u8]) -> bool {
        let sent = &mut self.line.sent[place];
        let answered = field(answer, "MSA", 2);
        if answered != sent.id {
            let problem = format!("{} was sent, {answered} was answered", sent.id);
            self.shared.problem(problem);
        }
        match field(answer, "MSA", 1).as_str() {
            "AA" => true,
            "AE" if field(answer, "ERR", 3).starts_with("207") => {
                sent.was_refused = true;
                false
            }
            _ => {
                let text = String::from_utf8_lossy(answer).replace('\r', " ");
                self.shared.problem(format!("{}: {text}", sent.id));
                true
            }
        }
    }

    fn told(&self, place: usize) -> Told {
        Told {
            sender: self.line.sender,
            connection: self.line.connection,
            number: place as u32,
        }
    }
}
