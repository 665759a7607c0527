//! The worker processes: few, started when they are needed, killed when one takes too long.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::unix;
use crate::wire::{self, Answer, Ask, Given, Unit, Want};

/// How long a worker may take to start; the clock of a script runs only afterwards.
const START: Duration = Duration::from_secs(20);

/// How long a message waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so many messages, or scripts that it keeps, a worker makes room for a fresh one.
const MAX_CALLS: u32 = 100_000;
const MAX_SCRIPTS: usize = 64;

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// The words that make it a worker.
    pub words: Vec<String>,
}

impl Program {
    /// This program with one word.
    pub fn this(word: &str) -> io::Result<Self> {
        Ok(Program {
            path: unix::this_program()?,
            words: vec![word.to_owned()],
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The script took too long, and its worker was killed.
    #[error("takes longer than its limit")]
    Late,
    /// The worker ended, twice.
    #[error("its worker process ended in the middle")]
    Ended,
    /// There was no worker for it.
    #[error("no worker process was free")]
    Busy,
    /// None can be started.
    #[error("a worker process could not be started: {0}")]
    Start(String),
    /// What is to be sent can't be.
    #[error("{0}")]
    TooLong(String),
}

/// Gives a script what it wants while it runs: with the body of the frame, and the time that it has left.
pub type Give<'a> = dyn Fn(Want, Vec<u8>, Duration) -> (Given, Vec<u8>) + 'a;

/// The workers.
pub struct Pool {
    program: Program,
    /// How many there may be; of these one channel has at most half, so that its scripts keep nobody else waiting.
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    busy: HashMap<String, usize>,
}

impl Pool {
    /// A pool with no worker yet.
    pub fn new(program: Program) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Pool {
            program,
            most: cores.clamp(4, 16),
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Asks a worker, for at most `limit`. `kept`: the script that the question names, so that the worker has it.
    pub fn ask(
        &self,
        owner: &str,
        kept: Option<(u64, &Arc<Unit>)>,
        ask: &Ask,
        body: &[u8],
        limit: Duration,
        give: &Give<'_>,
    ) -> Result<(Answer, Vec<u8>), PoolError> {
        let frame = wire::frame(ask, body).map_err(|error| PoolError::TooLong(error.to_string()))?;
        let mut turn = self.turn(owner)?;
        let mut until = None;
        // A script changes nothing outside its worker, so that one whose worker has ended can be run once more.
        for _ in 0..2 {
            let mut worker = match turn.worker.take() {
                Some(worker) => worker,
                None => Worker::start(&self.program).map_err(|error| PoolError::Start(error.to_string()))?,
            };
            let until = *until.get_or_insert_with(|| Instant::now() + limit);
            match worker.ask(kept, frame.clone(), until, give) {
                Ok(answer) => {
                    if !worker.is_worn() {
                        turn.worker = Some(worker);
                    }
                    return Ok(answer);
                }
                Err(PoolError::Ended) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PoolError::Ended)
    }

    /// Waits for a place, and takes a worker that is free.
    fn turn(&self, owner: &str) -> Result<Turn<'_>, PoolError> {
        let share = self.most / 2;
        let is_full = |state: &mut State| {
            let busy: usize = state.busy.values().sum();
            busy >= self.most || share <= state.busy.get(owner).copied().unwrap_or(0)
        };
        let (mut state, waited) = self
            .freed
            .wait_timeout_while(self.state(), PATIENCE, is_full)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if waited.timed_out() {
            return Err(PoolError::Busy);
        }
        *state.busy.entry(owner.to_owned()).or_default() += 1;
        Ok(Turn {
            pool: self,
            owner: owner.to_owned(),
            worker: state.idle.pop(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A place in the pool. Given back when dropped, with the worker if it can be used again.
struct Turn<'a> {
    pool: &'a Pool,
    owner: String,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(busy) = state.busy.get_mut(&self.owner) {
            *busy -= 1;
            if *busy == 0 {
                state.busy.remove(&self.owner);
            }
        }
        state.idle.extend(self.worker.take());
        drop(state);
        self.pool.freed.notify_all();
    }
}

/// One process. Killed when dropped.
struct Worker {
    child: Child,
    asks: SyncSender<Vec<u8>>,
    answers: Receiver<(Answer, Vec<u8>)>,
    scripts: HashSet<u64>,
    calls: u32,
}

impl Worker {
    /// Starts one and waits until it is ready. It gets nothing of our environment: there may be secrets in it.
    fn start(program: &Program) -> io::Result<Worker> {
        let mut child = Command::new(&program.path)
            .args(&program.words)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (asks, to_write) = sync_channel::<Vec<u8>>(4);
        let (read, answers) = sync_channel(4);
        // Two threads, since a pipe to a process that has stopped reading (or writing) keeps whoever waits at it.
        std::thread::Builder::new()
            .name("script-writer".to_owned())
            .spawn(move || {
                use std::io::Write;
                let Some(mut input) = input else { return };
                for frame in to_write {
                    if input.write_all(&frame).and_then(|()| input.flush()).is_err() {
                        return;
                    }
                }
            })?;
        std::thread::Builder::new()
            .name("script-reader".to_owned())
            .spawn(move || {
                let Some(output) = output else { return };
                let mut output = io::BufReader::new(output);
                while let Ok(Some(answer)) = wire::read(&mut output) {
                    if read.send(answer).is_err() {
                        return;
                    }
                }
            })?;
        let worker = Worker {
            child,
            asks,
            answers,
            scripts: HashSet::new(),
            calls: 0,
        };
        match worker.answers.recv_timeout(START) {
            Ok((Answer::Ready, _)) => Ok(worker),
            Ok(_) => Err(io::Error::other("it says something else than that it is ready")),
            Err(RecvTimeoutError::Timeout) => Err(io::Error::other("it does not get ready")),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("it ended at once")),
        }
    }

    fn ask(
        &mut self,
        kept: Option<(u64, &Arc<Unit>)>,
        frame: Vec<u8>,
        until: Instant,
        give: &Give<'_>,
    ) -> Result<(Answer, Vec<u8>), PoolError> {
        if let Some((script, unit)) = kept
            && self.scripts.insert(script)
        {
            let unit = Unit::clone(unit);
            let keep = wire::frame(&Ask::Keep { script, unit }, &[])
                .map_err(|error| PoolError::TooLong(error.to_string()))?;
            self.asks.send(keep).map_err(|_| PoolError::Ended)?;
        }
        self.calls += 1;
        self.asks.send(frame).map_err(|_| PoolError::Ended)?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => PoolError::Late,
                RecvTimeoutError::Disconnected => PoolError::Ended,
            })?;
            let (Answer::Wants { want }, body) = answer else {
                return Ok(answer);
            };
            let left = until.saturating_duration_since(Instant::now());
            let (given, body) = give(want, body, left);
            let frame = wire::frame(&Ask::Given { given }, &body)
                .map_err(|error| PoolError::TooLong(error.to_string()))?;
            self.asks.send(frame).map_err(|_| PoolError::Ended)?;
        }
    }

    fn is_worn(&self) -> bool {
        MAX_CALLS <= self.calls || MAX_SCRIPTS <= self.scripts.len()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
