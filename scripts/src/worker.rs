//! The worker: reads what it is asked, answers, and ends when nobody asks any more.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, StdoutLock};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use engine::format::Formats;
use engine::script::{PolledMessage, Task};

use crate::machine::{Failed, Machine, Unfit};
use crate::message::{Current, Ready, Wants};
use crate::unix;
use crate::wire::{self, Answer, Ask, Became, Fault, Given, Run, Want};

/// The stack of the thread that runs scripts: theirs, and what formats and the runtime need beside it.
const STACK: usize = 16 << 20;

/// The life of a worker, between standard input and standard output. Called before there is any other thread.
///
/// The reading thread sees that the engine is gone also while a script is deep in a native call: then the whole
/// process ends, so that none is left behind.
pub fn work(formats: Formats) -> io::Result<()> {
    unix::confine();
    let (asks, asked) = sync_channel(1);
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || Worker::new(formats, asked).run())?;
    let mut input = io::stdin().lock();
    while let Ok(Some(ask)) = wire::read(&mut input) {
        if asks.send(ask).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

/// The two pipes to the engine.
struct Pipes {
    asked: Receiver<(Ask, Vec<u8>)>,
    output: RefCell<StdoutLock<'static>>,
}

impl Pipes {
    fn write(&self, answer: &Answer, body: &[u8]) -> io::Result<()> {
        wire::write(&mut *self.output.borrow_mut(), answer, body)
    }
}

impl Wants for Pipes {
    fn want(&self, want: Want, body: &[u8]) -> Result<(Given, Vec<u8>), String> {
        let lost = |_| "the engine does not answer".to_owned();
        let wants = Answer::Wants { want };
        self.write(&wants, body).map_err(|error| error.to_string())?;
        match self.asked.recv().map_err(lost)? {
            (Ask::Given { given }, body) => Ok((given, body)),
            _ => Err("the engine answers something else".to_owned()),
        }
    }
}

struct Worker {
    formats: Formats,
    pipes: Rc<Pipes>,
    scripts: HashMap<u64, Rc<Ready>>,
    /// Made while nobody waits for it.
    spare: Option<Machine>,
}

impl Worker {
    fn new(formats: Formats, asked: Receiver<(Ask, Vec<u8>)>) -> Self {
        let output = RefCell::new(io::stdout().lock());
        Worker {
            formats,
            pipes: Rc::new(Pipes { asked, output }),
            scripts: HashMap::new(),
            spare: None,
        }
    }

    fn run(mut self) {
        self.spare = Machine::new().ok();
        if self.pipes.write(&Answer::Ready, &[]).is_err() {
            return;
        }
        while let Ok((ask, body)) = self.pipes.asked.recv() {
            if let Err(error) = self.answer(ask, body) {
                // An answer that can't be written because it is too long is one too.
                let fault = Fault {
                    at: None,
                    what: format!("what it returned can't be taken: {error}"),
                };
                let failed = Answer::Failed {
                    fault,
                    error: None,
                    console: vec![],
                };
                if self.pipes.write(&failed, &[]).is_err() {
                    break;
                }
            }
            self.spare = Machine::new().ok();
        }
        std::process::exit(0)
    }

    fn answer(&mut self, ask: Ask, body: Vec<u8>) -> io::Result<()> {
        match ask {
            Ask::Keep { script, unit } => {
                self.scripts.insert(script, Rc::new(Ready::new(Arc::new(unit))));
                Ok(())
            }
            Ask::Check { unit, limit } => {
                let answer = match self.machine() {
                    Err(failed) => Answer::Wrong { fault: failed.fault },
                    Ok(machine) => match machine.check(unit, until(limit)) {
                        Ok(()) => Answer::Right,
                        Err(Unfit::Wrong(fault)) => Answer::Wrong { fault },
                        Err(Unfit::Missing((by, specifier, path))) => Answer::Missing { by, specifier, path },
                    },
                };
                self.pipes.write(&answer, &[])
            }
            // What nobody waits for any more.
            Ask::Given { .. } => Ok(()),
            Ask::Run(run) => {
                let limit = until(run.limit);
                match self.run_one(run, body, limit) {
                    Ok((answer, body)) => self.pipes.write(&answer, &body),
                    Err(Failed {
                        fault,
                        error,
                        console,
                    }) => {
                        let failed = Answer::Failed {
                            fault,
                            error: error.map(|error| *error),
                            console,
                        };
                        self.pipes.write(&failed, &[])
                    }
                }
            }
        }
    }

    fn machine(&mut self) -> Result<Machine, Failed> {
        let spare = self.spare.take().map_or_else(Machine::new, Ok);
        spare.map_err(|error| failed(format!("a runtime could not be made: {error}")))
    }

    fn run_one(&mut self, run: Run, body: Vec<u8>, until: Instant) -> Result<(Answer, Vec<u8>), Failed> {
        let script = self.scripts.get(&run.script).cloned();
        let script = script.ok_or_else(|| failed("the worker does not know the script".to_owned()))?;
        let format = self.formats.get(&run.format);
        let format = format.ok_or_else(|| failed(format!("there is no format {:?}", run.format)))?;
        let current = Current {
            script,
            channel: run.channel,
            message: run.message,
            format: format.clone(),
            body,
            is_changed: false,
            changes: run.changes,
            sent: run.sent,
            may_change: run.may_change,
            new_changes: None,
            counters: run.counters,
            counted: BTreeMap::new(),
            caches: run.caches,
            cached: vec![],
            granted: run.granted,
            asks: run.asks,
            task: run.task,
            verdict: None,
            polled: vec![],
            cursor: None,
            calls: 0,
            answers: vec![],
            wants: self.pipes.clone(),
        };
        let done = self.machine()?.run(current, until)?;
        let current = done.current;
        let (became, body) = match (&current.task, current.verdict, done.kept) {
            (Task::Step, _, false) => (Became::Filtered, vec![]),
            (Task::Step, _, true) if current.is_changed => (Became::Changed, current.body),
            (Task::Step, _, true) => (Became::Kept, vec![]),
            (Task::Deliver { .. }, Some(verdict), _) => (Became::Verdict(verdict), vec![]),
            (Task::Deliver { .. }, None, _) => {
                return Err(failed("it says nothing of the delivery".to_owned()));
            }
            (Task::Poll { .. }, ..) => {
                let heads = current.polled.iter().map(|message| {
                    let PolledMessage {
                        identity,
                        content_type,
                        body,
                    } = message;
                    (identity.clone(), content_type.clone(), body.len())
                });
                let messages = heads.collect();
                let bodies: Vec<&[u8]> = current.polled.iter().map(|message| &message.body[..]).collect();
                let cursor = current.cursor;
                (Became::Polled { messages, cursor }, bodies.concat())
            }
        };
        if became == Became::Changed {
            format.inspect(&body).map_err(|error| Failed {
                fault: Fault {
                    at: None,
                    what: format!("what it made is no {}: {}", format.name(), error.what),
                },
                error: Some(Box::new(error)),
                console: done.console.clone(),
            })?;
        }
        let answer = Answer::Ran {
            body: became,
            changes: current.new_changes,
            console: done.console,
            counted: current.counted,
            cached: current.cached,
        };
        Ok((answer, body))
    }
}

fn failed(what: String) -> Failed {
    Failed {
        fault: Fault { at: None, what },
        error: None,
        console: vec![],
    }
}

/// A little before the engine loses its patience, so that the place where the script was can be told.
fn until(limit: u64) -> Instant {
    Instant::now() + Duration::from_millis(limit - limit / 10)
}
