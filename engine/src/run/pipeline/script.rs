//! Steps that are scripts: what they reach, and what of it is kept for a run again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clinic::ChangeSet;
use clinic::exchange::{MapError, Reason};

use super::{Flow, Halt, Pipeline, lock};
use crate::call::{CallAnswer, CallError, CallRequest};
use crate::channel::state::Counter;
use crate::format::Answered;
use crate::message::Failure;
use crate::run::asking::{Known, Question, failed, several};
use crate::run::calling::{self, Called};
use crate::run::state::{self, Pending};
use crate::script::{Call, Count, Heard, Reach, Returned, Said, Script, Task};
use crate::store::CounterMove;

/// What the scripts of one message did, by their steps.
#[derive(Default)]
pub(in crate::run) struct Ran {
    returned: HashMap<String, Run>,
    called: HashMap<String, Arc<Called>>,
    /// What the script that ended the message, or failed, wrote to its console.
    last_words: Vec<String>,
}

/// One run of a script.
struct Run {
    body: Bytes,
    changes: Option<Arc<ChangeSet>>,
    counters: BTreeMap<String, Count>,
    returned: Returned,
}

/// What a script of this message reaches.
struct Reached<'a> {
    pipeline: &'a Pipeline,
    pending: &'a Pending,
    called: &'a Called,
    /// The step, and the question that it ends at.
    step: &'a str,
    open: &'a Mutex<Option<Question>>,
}

impl Reach for Reached<'_> {
    fn cached(&self, cache: &str, key: &str) -> Option<String> {
        if let Some(own) = self.pending.cached(cache, key) {
            return own.map(str::to_owned);
        }
        let Pipeline {
            channel, kept, world, ..
        } = self.pipeline;
        kept.state.as_ref()?.cached(channel, cache, key, (world.now)())
    }

    fn call(&self, number: usize, request: CallRequest, within: Duration) -> Result<CallAnswer, CallError> {
        let Some(sides) = &self.pipeline.kept.sides else {
            return Err(CallError::not_sent(
                "nobody is called here: a message that is tried is sent to nobody",
            ));
        };
        let channel = &self.pipeline.channel.id;
        self.called.answer(number, request, |request| {
            calling::call(channel, sides, request, within)
        })
    }

    fn ask(&self, destination: &str, question: String) -> Heard {
        let Pipeline { channel, answers, .. } = self.pipeline;
        let Some(within) = channel.script_asks.get(destination) else {
            return Heard::Not(format!("the channel does not let scripts ask {destination}"));
        };
        let format = match self.pipeline.format_of(destination) {
            Ok(format) => format,
            Err(error) => return Heard::Not(error.what),
        };
        let question = Question {
            step: self.step.to_owned(),
            destination: destination.to_owned(),
            body: question.into(),
            within: *within,
        };
        let answered = match answers.of(&question, format.as_ref()) {
            Known::Answer(answered) => answered,
            Known::Asks => {
                *lock(self.open) = Some(question);
                return Heard::Later;
            }
            Known::WouldAsk => return Heard::Not(format!("{destination} is not asked here")),
        };
        if let Some(error) = failed(destination, &answered) {
            return Heard::Not(error.what);
        }
        match answered {
            Answered::Found(found) => Heard::Found(found),
            Answered::Nothing | Answered::Not(_) => Heard::Nothing,
            Answered::Several(count) => Heard::Not(several(destination, count)),
        }
    }
}

impl Pipeline {
    /// What the script that ended the message wrote to its console, for whoever looks; once.
    pub(super) fn last_words(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.ran).last_words)
    }

    /// Runs a script on the message, or takes what it returned before.
    pub(super) fn script(&self, name: &str, flow: &mut Flow, script: &dyn Script) -> Result<(), Halt> {
        let counters = self.counters(&flow.pending);
        let returned = match self.ran_already(name, flow, &counters) {
            Some(returned) => returned,
            None => {
                let caches: Vec<String> = self.channel.caches.iter().map(|c| c.name.clone()).collect();
                let granted: Vec<String> = self.channel.calls.keys().cloned().collect();
                let called = lock(&self.ran).called.entry(name.to_owned()).or_default().clone();
                let asks: Vec<String> = self.channel.script_asks.keys().cloned().collect();
                let open = Mutex::new(None);
                let call = Call {
                    task: &Task::Step,
                    channel: &self.channel.id,
                    message: self.message,
                    format: flow.format.name(),
                    body: &flow.body,
                    changes: flow.changes.as_deref(),
                    sent: self.sent.as_ref(),
                    may_change: flow.applied.is_none(),
                    counters: &counters,
                    caches: &caches,
                    granted: &granted,
                    asks: &asks,
                    reach: &Reached {
                        pipeline: self,
                        pending: &flow.pending,
                        called: &called,
                        step: name,
                        open: &open,
                    },
                };
                let returned = script.run(&call);
                // Whatever the script made of it: it runs again once the answer is known.
                if let Some(question) = lock(&open).take() {
                    return Err(Halt::Asks(question));
                }
                let returned = returned.map_err(|failed| {
                    lock(&self.ran).last_words = failed.console;
                    Halt::Failed(Failure::of(name, failed.error))
                })?;
                let ran = Run {
                    body: flow.body.clone(),
                    changes: flow.changes.clone(),
                    counters,
                    returned: returned.clone(),
                };
                lock(&self.ran).returned.insert(name.to_owned(), ran);
                returned
            }
        };
        if !returned.console.is_empty() {
            // What it wrote may hold anything of a patient: `punte try` shows it, a log never.
            tracing::debug!(channel = %self.channel.id, message = %self.message, step = name, lines = returned.console.len(), "The script wrote to its console.");
        }
        flow.console = returned.console;
        flow.pending.counted.extend(returned.counted);
        flow.pending.cached.extend(returned.cached);
        if let Some(changes) = returned.changes {
            flow.changes = Some(Arc::new(changes));
            flow.imagined = None;
        }
        match returned.said {
            Said::Kept => {}
            Said::Body(body) => flow
                .change(body)
                .map_err(|error| Halt::Failed(Failure::of(name, error)))?,
            Said::Filtered => {
                lock(&self.ran).last_words = std::mem::take(&mut flow.console);
                return Err(Halt::Filtered);
            }
            Said::Verdict(_) | Said::Polled(_) => {
                let error = MapError::new(Reason::Internal, None, "a step says nothing of a delivery");
                return Err(Halt::Failed(Failure::of(name, error)));
            }
        }
        Ok(())
    }

    /// The counters of the channel, as this message finds them now.
    fn counters(&self, pending: &Pending) -> BTreeMap<String, Count> {
        let count = |counter: &Counter| {
            let name = &counter.name;
            let given = pending.counted.get(name).or_else(|| self.kept.counted.get(name));
            let count = Count {
                given: given.copied(),
                first: counter.first,
                last: counter.last,
            };
            (name.clone(), count)
        };
        self.channel.counters.iter().map(count).collect()
    }

    /// What the commit does to counters.
    pub(super) fn moves(&self, counted: BTreeMap<String, u64>) -> Vec<CounterMove> {
        let of_channel = |name: &String| self.channel.counters.iter().find(|c| c.name == *name);
        let moved = |(name, to): (String, u64)| {
            Some(CounterMove {
                counter: state::key(&self.channel, of_channel(&name)?),
                from: self.kept.counted.get(&name).copied(),
                to,
            })
        };
        counted.into_iter().filter_map(moved).collect()
    }

    /// What its scripts have returned, for another run of the same message.
    pub(super) fn take_ran(&self) -> Ran {
        std::mem::take(&mut *lock(&self.ran))
    }

    fn ran_already(&self, name: &str, flow: &Flow, counters: &BTreeMap<String, Count>) -> Option<Returned> {
        let ran = lock(&self.ran);
        let ran = ran.returned.get(name)?;
        let is_same = ran.body == flow.body && ran.changes == flow.changes && ran.counters == *counters;
        is_same.then(|| ran.returned.clone())
    }
}
