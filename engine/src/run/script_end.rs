//! A script as an end of a channel: what `connectors` is given to run it by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use jiff::Timestamp;
use uuid::Uuid;

use super::World;
use super::calling::{self, Called};
use super::state::State;
use crate::call::{CallAnswer, CallError, CallRequest, FarSides};
use crate::channel::{Channel, End};
use crate::connector::{Outgoing, SendError};
use crate::script::{Call, Polled, Reach, Returned, Said, Script, ScriptFailed, Task, Verdict};

/// A script that is an end of a channel, with what it may reach.
#[derive(Clone)]
pub struct ScriptEnd {
    channel: Arc<Channel>,
    format: String,
    content_type: &'static str,
    script: Arc<dyn Script>,
    state: Arc<State>,
    sides: Arc<FarSides>,
    world: World,
}

impl fmt::Debug for ScriptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.script)
    }
}

/// What a script as an end reaches.
struct Reached<'a> {
    end: &'a ScriptEnd,
    called: &'a Called,
}

impl Reach for Reached<'_> {
    fn cached(&self, cache: &str, key: &str) -> Option<String> {
        let end = self.end;
        end.state.cached(&end.channel, cache, key, (end.world.now)())
    }

    fn call(&self, number: usize, request: CallRequest, within: Duration) -> Result<CallAnswer, CallError> {
        let end = self.end;
        self.called.answer(number, request, |request| {
            calling::call(&end.channel.id, &end.sides, request, within)
        })
    }
}

impl ScriptEnd {
    /// Of an end whose script was checked with its channel.
    pub(super) fn new(
        channel: &Arc<Channel>,
        end: &End,
        state: &Arc<State>,
        sides: &Arc<FarSides>,
        world: &World,
        content_type: &'static str,
    ) -> Option<Self> {
        Some(ScriptEnd {
            channel: channel.clone(),
            format: end.format.clone(),
            content_type,
            script: end.script.as_ref()?.script.clone(),
            state: state.clone(),
            sides: sides.clone(),
            world: world.clone(),
        })
    }

    /// A script that belongs to no channel file: nothing is kept for it, and it may call nobody.
    pub fn alone(script: Arc<dyn Script>, format: &str, world: World) -> Self {
        let source = End {
            connector: "script".to_owned(),
            settings: serde_json::Value::Null,
            format: format.to_owned(),
            format_settings: Default::default(),
            script: None,
        };
        ScriptEnd {
            channel: Arc::new(Channel::from_source("alone", source)),
            format: format.to_owned(),
            content_type: "application/octet-stream",
            script,
            state: Arc::default(),
            sides: Arc::default(),
            world,
        }
    }

    /// Lets it take a delivery; what the far side calls it, where it says so. The arm is chosen by what is known: a call
    /// that changes something and was sent makes what follows unsure, whatever went wrong.
    pub async fn deliver(&self, outgoing: &Outgoing) -> Result<Option<String>, SendError> {
        let task = Task::Deliver {
            delivery: outgoing.key().to_string(),
        };
        let (returned, called) = self
            .run(task, outgoing.about.message, outgoing.body.clone())
            .await;
        let why = match returned {
            Ok(Returned {
                said: Said::Verdict(verdict),
                cached,
                ..
            }) => {
                self.state.written(&self.channel, &cached, (self.world.now)());
                return match verdict {
                    Verdict::Accepted { reference } => Ok(reference),
                    Verdict::Refused { why } => Err(SendError::Refused { why }),
                    Verdict::Retry { why, after } => Err(SendError::Retry { why, after }),
                    Verdict::Unsure { why } => Err(SendError::Unsure { why }),
                };
            }
            Ok(_) => ScriptFailed {
                error: MapError::new(
                    Reason::Internal,
                    None,
                    "the script does not say what became of it",
                ),
                may_pass: false,
                console: vec![],
            },
            Err(failed) => failed,
        };
        let (may_pass, why) = (why.may_pass, why.error.to_string());
        if called.may_have_changed() {
            Err(SendError::Unsure { why })
        } else if may_pass || called.has_missed() {
            Err(SendError::Retry { why, after: None })
        } else {
            Err(SendError::Refused { why })
        }
    }

    /// Lets it fetch messages. What it wrote to caches counts once [`ScriptEnd::fetched`] is told so.
    pub async fn poll(&self, cursor: Option<String>) -> Result<(Polled, Fetched), MapError> {
        let id = (self.world.new_id)();
        let (returned, _) = self.run(Task::Poll { cursor }, id, Bytes::new()).await;
        match returned {
            Ok(Returned {
                said: Said::Polled(polled),
                cached,
                ..
            }) => Ok((polled, Fetched(cached))),
            Ok(_) => Err(MapError::new(
                Reason::Internal,
                None,
                "the script does not say what it fetched",
            )),
            Err(failed) => Err(failed.error),
        }
    }

    /// What a poll fetched is stored.
    pub fn fetched(&self, fetched: Fetched) {
        self.state.written(&self.channel, &fetched.0, (self.world.now)());
    }

    /// What its messages are, unless the script says it.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.world.now)()
    }

    async fn run(&self, task: Task, message: Uuid, body: Bytes) -> (Result<Returned, ScriptFailed>, Called) {
        let end = self.clone();
        let run = move || {
            let called = Called::default();
            let caches: Vec<String> = end.channel.caches.iter().map(|c| c.name.clone()).collect();
            let granted: Vec<String> = end.channel.calls.keys().cloned().collect();
            let call = Call {
                sent: None,
                task: &task,
                channel: &end.channel.id,
                message,
                format: &end.format,
                body: &body,
                changes: None,
                may_change: false,
                counters: &BTreeMap::new(),
                caches: &caches,
                granted: &granted,
                asks: &[],
                reach: &Reached {
                    end: &end,
                    called: &called,
                },
            };
            (end.script.run(&call), called)
        };
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|_| {
            let error = MapError::new(Reason::Internal, None, "running the script panicked");
            let failed = ScriptFailed {
                error,
                may_pass: false,
                console: vec![],
            };
            (Err(failed), Called::default())
        })
    }
}

/// What a poll wrote to caches.
#[derive(Debug)]
pub struct Fetched(Vec<crate::script::CacheWrite>);
