//! The steps of a channel, run on one message. CPU only: what they need of the clinic they read from a snapshot, which
//! only `apply` does. It is given back before the steps after it, so that none is held while a script runs. Where a step
//! asks a destination, the run ends there with the question; it is run again once the answer is known.

mod ask;
mod script;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use clinic::aggregate::Source;
use clinic::apply::{ApplyError, Candidate, Context, Decision, Nobody, OnUnmatched, Snapshot, SnapshotError};
use clinic::exchange::{MapError, Place, Reason, Stamp};
use clinic::{Applied, ChangeSet};
use uuid::Uuid;

use self::script::Ran;
use super::World;
use super::asking::{Answers, Question};
use super::ordering;
use super::outcome::Outcome;
use super::state::{Kept, Pending};
use super::trace::{Shown, Trace, said, show, trace, trace_halt, with_console};
use crate::channel::{Channel, Step, heading, is_heading};
use crate::format::{Format, Formats, SetOp, Settings};
use crate::message::{Failure, Incoming, MessageState, NewDelivery, Notes, Rest};
use crate::sabotage;

/// A message on its way through the steps.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) body: Bytes,
    /// What follows, where it is only the beginning of what came.
    rest: Option<Rest>,
    /// True once a step changed the bytes: a delivery then needs a body of its own.
    own_body: bool,
    format: Arc<dyn Format>,
    content_type: String,
    pub(super) changes: Option<Arc<ChangeSet>>,
    pub(super) applied: Option<Arc<Applied>>,
    /// What `encode` sees where nothing was applied: the change set on an empty clinic.
    imagined: Option<Arc<Applied>>,
    /// What the last script wrote to its console.
    pub(super) console: Vec<String>,
    /// What scripts have changed of what the channel keeps.
    pending: Pending,
    /// What the last question came to, in words.
    pub(super) told: String,
}

impl Flow {
    /// Other bytes in place of those that came.
    fn change(&mut self, body: Bytes) -> Result<(), MapError> {
        if self.rest.is_some() {
            return Err(MapError::new(
                Reason::UnsupportedType,
                None,
                "the message is too long to be changed: only its beginning is read",
            ));
        }
        self.set(body);
        Ok(())
    }

    /// What its format made of it: of a long message that is another beginning, which the same rest follows.
    fn set(&mut self, body: Bytes) {
        self.body = body;
        self.own_body = true;
    }
}

/// Where the steps end before the last one.
enum Halt {
    Filtered,
    Failed(Failure),
    Parked {
        failure: Failure,
        candidates: Vec<Candidate>,
    },
    Snapshot(SnapshotError),
    /// Not over: a destination is to be asked first.
    Asks(Question),
}

/// One message's way through one channel. Steps before the first `apply` run once; the rest runs again on each
/// fresh snapshot.
pub struct Pipeline {
    channel: Arc<Channel>,
    formats: Formats,
    world: World,
    message: Uuid,
    start: Result<Flow, Outcome>,
    prepared: usize,
    only: Option<Vec<String>>,
    /// What the transport said beside the message.
    headers: Vec<(String, String)>,
    /// What follows the part of the message that is at hand.
    rest: Option<Rest>,
    /// What tells a long message apart from others.
    content: Option<String>,
    decisions: Vec<Decision>,
    /// Who writes, where that is not the channel itself.
    actor: Option<String>,
    /// What the message answers, where it is an answer.
    sent: Option<Bytes>,
    /// What the scripts made of what they were given: a re-run asks again only where that has changed.
    ran: Mutex<Ran>,
    /// What the channel keeps from the messages before.
    kept: Kept,
    /// What destinations have answered.
    answers: Arc<Answers>,
    /// What is to be asked before the steps can go on.
    asks: Option<Question>,
}

/// How far a message is once what it says is applied.
#[derive(Clone)]
pub struct Applying {
    flow: Result<Flow, Outcome>,
    /// The step to go on with.
    next: usize,
}

impl Pipeline {
    /// Writes in the name of somebody.
    pub fn by(self, actor: Option<String>) -> Self {
        Pipeline { actor, ..self }
    }

    /// On an answer to these bytes.
    pub fn answering(self, sent: Option<Bytes>) -> Self {
        Pipeline { sent, ..self }
    }

    /// With what tells a long message apart from others.
    pub fn with_content(self, content: Option<String>) -> Self {
        Pipeline { content, ..self }
    }

    /// Before its first step. `only`: to these destinations alone (a replay).
    pub fn new(
        channel: Arc<Channel>,
        formats: Formats,
        world: World,
        message: Uuid,
        only: Option<Vec<String>>,
    ) -> Self {
        Pipeline {
            start: Err(Outcome::default()),
            channel,
            formats,
            world,
            message,
            prepared: 0,
            only,
            headers: vec![],
            rest: None,
            content: None,
            decisions: vec![],
            actor: None,
            sent: None,
            ran: Mutex::default(),
            kept: Kept::default(),
            answers: Arc::default(),
            asks: None,
        }
    }

    /// Runs the steps that need no clinic: to the first `apply`, or to a question that has no answer yet. Can be called
    /// again.
    pub fn prepared(mut self, incoming: &Incoming) -> Self {
        self.headers.clone_from(&incoming.headers);
        let from = incoming.body.len() as u64;
        let big = incoming.big.filter(|_| incoming.is_beginning());
        self.rest = big.map(|of| Rest { of, from });
        self.prepare(incoming.body.clone(), incoming.content_type.clone(), &mut None);
        self
    }

    /// What is to be asked before the steps can go on.
    pub fn asks(&self) -> Option<&Question> {
        self.asks.as_ref()
    }

    /// What destinations have answered.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// With what its channel keeps from the messages before, and with what scripts returned and destinations answered in a
    /// run of the same message before this one.
    pub(super) fn after(mut self, kept: Kept, before: Option<&Pipeline>) -> Self {
        self.kept = kept;
        if let Some(before) = before {
            self.ran = Mutex::new(before.take_ran());
            self.answers = before.answers.clone();
        }
        self
    }

    /// With what a person decided, where the message was parked before.
    pub fn with_decisions(mut self, decisions: Vec<Decision>) -> Self {
        self.decisions = decisions;
        self
    }

    fn prepare(&mut self, body: Bytes, content_type: String, shown: Shown<'_>) {
        self.asks = None;
        let source = &self.channel.source;
        let Some(format) = self.formats.open(&source.format, &source.format_settings) else {
            self.start = Err(Outcome::failed(internal(
                "source",
                "the channel's format is not in this program",
            )));
            return;
        };
        let mut flow = Flow {
            body,
            rest: self.rest,
            own_body: false,
            format,
            content_type,
            changes: None,
            applied: None,
            imagined: None,
            console: vec![],
            pending: Pending::default(),
            told: String::new(),
        };
        let steps = self
            .channel
            .steps
            .iter()
            .take_while(|step| !matches!(step, Step::Apply { .. }))
            .count();
        self.prepared = steps;
        for (idx, step) in self.channel.steps[..steps].iter().enumerate() {
            let name = self.step_name(idx, step);
            // Nobody: a step before the first apply reads nothing of the clinic.
            let before = flow.body.clone();
            match self.guarded(&name, &mut flow, step, &Nobody) {
                Ok(()) => show(shown, || trace(&name, step, &before, &flow)),
                Err(Halt::Asks(question)) => {
                    self.asks = Some(question);
                    return;
                }
                Err(halt) => {
                    let outcome =
                        halted(halt).unwrap_or_else(|error| Outcome::failed(internal(&name, &error.0)));
                    show(shown, || trace_halt(&name, &outcome, &self.last_words()));
                    self.start = Err(outcome);
                    return;
                }
            }
        }
        self.start = Ok(flow);
    }

    /// Runs the rest on a snapshot. Can be called again. Asks nobody: a channel that asks after its `apply` is not run
    /// like this.
    pub fn finish(&self, snapshot: &dyn Snapshot) -> Result<Outcome, SnapshotError> {
        let outcome = self.complete(self.apply_on(snapshot)?);
        Ok(outcome
            .unwrap_or_else(|question| Outcome::failed(internal(&question.step, "nobody can be asked here"))))
    }

    /// The `apply`, where there is one: all that needs a snapshot. Can be called again.
    pub fn apply_on(&self, snapshot: &dyn Snapshot) -> Result<Applying, SnapshotError> {
        self.apply_showing(snapshot, &mut None)
    }

    /// What follows the `apply`, and the deliveries; or a question that is to be answered first.
    pub fn complete(&self, applying: Applying) -> Result<Outcome, Question> {
        self.complete_showing(applying, &mut None)
    }

    /// Runs everything and shows each step; for `punte try`.
    pub fn show(
        self,
        body: Bytes,
        answers: Arc<Answers>,
        snapshot: &dyn Snapshot,
    ) -> Result<(Outcome, Vec<Trace>), SnapshotError> {
        let mut shown = Some(vec![]);
        let mut pipeline = Pipeline { answers, ..self };
        pipeline.prepare(body, String::new(), &mut shown);
        let applying = pipeline.apply_showing(snapshot, &mut shown)?;
        let outcome = pipeline.complete_showing(applying, &mut shown);
        let outcome = outcome
            .unwrap_or_else(|question| Outcome::failed(internal(&question.step, "nobody can be asked here")));
        Ok((outcome, shown.unwrap_or_default()))
    }

    fn apply_showing(&self, snapshot: &dyn Snapshot, shown: Shown<'_>) -> Result<Applying, SnapshotError> {
        let mut next = self.prepared;
        let mut flow = match &self.start {
            Ok(flow) => flow.clone(),
            Err(outcome) => {
                let flow = Err(outcome.clone());
                return Ok(Applying { flow, next });
            }
        };
        if let Some(step @ Step::Apply { .. }) = self.channel.steps.get(next) {
            let name = self.step_name(next, step);
            let before = flow.body.clone();
            if let Err(halt) = self.guarded(&name, &mut flow, step, snapshot) {
                let outcome = halted(halt)?;
                show(shown, || trace_halt(&name, &outcome, &self.last_words()));
                let flow = Err(outcome);
                return Ok(Applying { flow, next });
            }
            show(shown, || trace(&name, step, &before, &flow));
            next += 1;
        }
        Ok(Applying { flow: Ok(flow), next })
    }

    fn complete_showing(&self, applying: Applying, shown: Shown<'_>) -> Result<Outcome, Question> {
        let mut flow = match applying.flow {
            Ok(flow) => flow,
            Err(outcome) => return Ok(outcome),
        };
        let ended = |name: &str, halt: Halt, shown: Shown<'_>| {
            if let Halt::Asks(question) = halt {
                return Err(question);
            }
            let outcome = halted(halt).unwrap_or_else(|error| Outcome::failed(internal(name, &error.0)));
            show(shown, || trace_halt(name, &outcome, &self.last_words()));
            Ok(outcome)
        };
        let is_followed = applying.next < self.channel.steps.len() || !self.channel.destinations.is_empty();
        if let Some(idx) = applying.next.checked_sub(1).filter(|_| is_followed) {
            let name = self.step_name(idx, &self.channel.steps[idx]);
            if let Err(halt) = self.caught(&name, || under_its_patient(&name, &mut flow)) {
                return ended(&name, halt, shown);
            }
        }
        for (idx, step) in self.channel.steps.iter().enumerate().skip(applying.next) {
            let name = self.step_name(idx, step);
            let before = flow.body.clone();
            match self.guarded(&name, &mut flow, step, &Nobody) {
                Ok(()) => show(shown, || trace(&name, step, &before, &flow)),
                Err(halt) => return ended(&name, halt, shown),
            }
        }
        let mut deliveries = vec![];
        for (idx, destination) in self.channel.destinations.iter().enumerate() {
            let is_left_out = |only: &Vec<String>| !only.contains(&destination.name);
            if destination.only_asked || self.only.as_ref().is_some_and(is_left_out) {
                continue;
            }
            let name = format!("destination[{idx}]");
            match self.deliver(&name, destination, flow.clone(), shown) {
                Ok(Some((delivery, pending))) => {
                    flow.pending = pending;
                    deliveries.push(delivery);
                }
                Ok(None) => {}
                Err(halt) => return ended(&name, halt, shown),
            }
        }
        let applied = flow
            .applied
            .map(|applied| Arc::try_unwrap(applied).unwrap_or_else(|shared| (*shared).clone()));
        Ok(Outcome {
            notes: applied
                .as_ref()
                .map(|applied| self.notes(applied))
                .unwrap_or_default(),
            applied,
            deliveries,
            counters: self.moves(flow.pending.counted),
            cached: flow.pending.cached,
            ..Outcome::default()
        })
    }

    /// A step as it stands in the channel file.
    fn step_name(&self, idx: usize, step: &Step) -> String {
        let list = match self.channel.answers_of {
            Some(_) => "response",
            None => "step",
        };
        format!("{list}[{idx}].{}", step.verb())
    }

    /// What one destination gets; none: its `when` or a filter of its own says no.
    fn deliver(
        &self,
        name: &str,
        destination: &crate::channel::Destination,
        mut flow: Flow,
        shown: Shown<'_>,
    ) -> Result<Option<(NewDelivery, Pending)>, Halt> {
        if destination.commits && flow.format.commits(&flow.body).is_none() {
            show(shown, || {
                said(
                    name,
                    format!(
                        "not for {:?}: it asks for no storage commitment",
                        destination.name
                    ),
                )
            });
            return Ok(None);
        }
        if let Some(when) = &destination.when {
            let step = format!("{name}.when");
            let matches = self.caught(&step, || {
                when.matches(flow.format.as_ref(), &flow.body, &self.headers)
                    .map_err(|error| Halt::Failed(Failure::of(&step, error)))
            })?;
            if !matches {
                show(shown, || {
                    said(
                        name,
                        format!("not for {:?}: its `when` does not match", destination.name),
                    )
                });
                return Ok(None);
            }
        }
        for (idx, step) in destination.steps.iter().enumerate() {
            let step_name = format!("{name}.step[{idx}].{}", step.verb());
            let before = flow.body.clone();
            // Nobody: a destination never applies.
            match self.guarded(&step_name, &mut flow, step, &Nobody) {
                Ok(()) => show(shown, || trace(&step_name, step, &before, &flow)),
                Err(Halt::Filtered) => {
                    let console = self.last_words();
                    show(shown, || {
                        let told = "filtered: nothing for this destination".to_owned();
                        said(&step_name, with_console(told, &console))
                    });
                    return Ok(None);
                }
                Err(halt) => return Err(halt),
            }
        }
        show(shown, || Trace {
            step: name.to_owned(),
            result: format!("{:?} gets {} bytes", destination.name, flow.body.len()),
            before: None,
            shows: Some(String::from_utf8_lossy(&flow.body).into_owned()),
        });
        let lane = ordering::by_path(destination, flow.format.as_ref(), &flow.body, &self.headers);
        let delivery = NewDelivery {
            destination: destination.name.clone(),
            rest: flow.rest.filter(|_| flow.own_body),
            body: flow.own_body.then_some(flow.body),
            content_type: flow.content_type,
            queue_of: None,
            lane,
        };
        Ok(Some((delivery, flow.pending)))
    }

    /// A panic in one message fails that message.
    fn guarded(&self, name: &str, flow: &mut Flow, step: &Step, snapshot: &dyn Snapshot) -> Result<(), Halt> {
        self.caught(name, || self.step(name, flow, step, snapshot))
    }

    fn caught<T>(&self, name: &str, work: impl FnOnce() -> Result<T, Halt>) -> Result<T, Halt> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            tracing::error!(channel = %self.channel.id, message = %self.message, step = name, "A step panicked; the message is kept as failed.");
            Err(Halt::Failed(internal(name, "the step panicked. The message is kept; please report it")))
        })
    }

    fn step(&self, name: &str, flow: &mut Flow, step: &Step, snapshot: &dyn Snapshot) -> Result<(), Halt> {
        let fail = |error: MapError| Halt::Failed(Failure::of(name, error));
        sabotage::panic_over(&flow.body);
        match step {
            // What goes through the steps is a part already; the door has taken the whole apart.
            Step::Split { .. } => {}
            Step::Filter(condition) => {
                if !condition
                    .matches(flow.format.as_ref(), &flow.body, &self.headers)
                    .map_err(fail)?
                {
                    return Err(Halt::Filtered);
                }
            }
            Step::Decode { format, settings } => {
                let format = self.format(format, settings).map_err(fail)?;
                let of_long;
                let settings = match &self.content {
                    None => settings,
                    Some(_) => {
                        of_long = Settings {
                            content: self.content.clone(),
                            ..settings.clone()
                        };
                        &of_long
                    }
                };
                let decoded = match &self.sent {
                    Some(sent) => format.decode_answer(sent, &flow.body, settings),
                    // It says nothing about the clinic: a destination of this channel answers it.
                    None if self.is_committed(flow) => Ok(ChangeSet::default()),
                    None => format.decode(&flow.body, settings),
                };
                flow.changes = Some(Arc::new(decoded.map_err(fail)?));
                flow.applied = None;
                flow.imagined = None;
            }
            Step::Set(ops) => {
                let body = flow.format.set(&flow.body, &self.said(ops)).map_err(fail)?;
                if let Cow::Owned(body) = body {
                    flow.set(Bytes::from(body));
                }
            }
            Step::Deidentify(how) => {
                let secret = self.kept.secret(&how.project);
                let body = flow.format.deidentify(&flow.body, how, &secret).map_err(fail)?;
                flow.set(Bytes::from(body));
            }
            Step::Transcode { to } => {
                let body = flow.format.transcode(&flow.body, to).map_err(fail)?;
                if let Cow::Owned(body) = body {
                    flow.set(Bytes::from(body));
                }
            }
            Step::Lookup(lookup) => {
                let changed = lookup
                    .run(flow.format.as_ref(), &flow.body, &self.channel.tables)
                    .map_err(fail)?;
                if let Some(body) = changed {
                    flow.set(Bytes::from(body));
                }
            }
            Step::Ask(ask) => self.ask(name, flow, ask)?,
            Step::Script(script) => self.script(name, flow, script.as_ref())?,
            Step::Apply {
                on_unmatched,
                overwrite,
            } => {
                let changes = flow.changes.clone().ok_or_else(|| fail(no_decode("apply")))?;
                let applied = self.apply(name, &changes, snapshot, *on_unmatched, *overwrite)?;
                flow.applied = Some(Arc::new(applied));
            }
            Step::Encode { format, settings } => {
                let changes = flow.changes.clone().ok_or_else(|| fail(no_decode("encode")))?;
                let applied = match (&flow.applied, &flow.imagined) {
                    (Some(applied), _) | (None, Some(applied)) => applied.clone(),
                    (None, None) => {
                        // What the set finds by an id is there, as it says; an event of the clinic is such a set.
                        let told = clinic::told::Told::by(&changes, (self.world.now)());
                        let imagined =
                            Arc::new(self.apply(name, &changes, &told, OnUnmatched::Invent, false)?);
                        flow.imagined = Some(imagined.clone());
                        imagined
                    }
                };
                let format = self.format(format, settings).map_err(fail)?;
                let stamp = Stamp {
                    now: (self.world.now)(),
                    id: (self.world.new_id)(),
                };
                let body = format
                    .encode(&changes, &applied, settings, &stamp)
                    .map_err(fail)?;
                flow.body = Bytes::from(body);
                flow.own_body = true;
                flow.rest = None;
                flow.content_type = format.content_type().to_owned();
                flow.format = format;
            }
        }
        Ok(())
    }

    /// Whether a message asks for storage commitment, and a destination of this channel answers that.
    fn is_committed(&self, flow: &Flow) -> bool {
        let mut destinations = self.channel.destinations.iter();
        destinations.any(|to| to.commits) && flow.format.commits(&flow.body).is_some()
    }

    /// What is told of an apply beside what it writes.
    fn notes(&self, applied: &Applied) -> Notes {
        Notes {
            kept: applied.kept.clone(),
            left_out: applied.left_out.clone(),
            ids: match self.actor {
                Some(_) => applied.ids.clone(),
                None => BTreeMap::new(),
            },
        }
    }

    fn apply(
        &self,
        name: &str,
        changes: &ChangeSet,
        snapshot: &dyn Snapshot,
        on_unmatched: OnUnmatched,
        overwrite: bool,
    ) -> Result<Applied, Halt> {
        let new_id = self.world.new_id.clone();
        let context = Context {
            source: match &self.actor {
                Some(name) => Source::Actor {
                    name: name.clone(),
                    message: Some(self.message),
                },
                None => Source::Message {
                    channel: self.channel.id.clone(),
                    message: self.message,
                },
            },
            now: (self.world.now)(),
            site: self.channel.site.clone(),
            on_unmatched,
            decisions: &self.decisions,
            overwrite,
            new_id: &mut || new_id(),
        };
        clinic::apply(changes, snapshot, context).map_err(|error| match error {
            ApplyError::Parked {
                why,
                about,
                candidates,
            } => Halt::Parked {
                failure: Failure {
                    step: name.to_owned(),
                    reason: Reason::UnknownKey,
                    place: about.map(Place),
                    why,
                },
                candidates,
            },
            ApplyError::Refused(error) => Halt::Failed(Failure::of(name, error)),
            ApplyError::Snapshot(error) => Halt::Snapshot(error),
        })
    }

    /// The changes of a `set`, with what they copy from beside the message in place: where it said nothing, nothing is
    /// changed.
    fn said<'a>(&self, ops: &'a [(String, SetOp)]) -> Cow<'a, [(String, SetOp)]> {
        let copies_heading = |op: &SetOp| matches!(op, SetOp::Copy(from) if is_heading(from));
        if !ops.iter().any(|(_, op)| copies_heading(op)) {
            return Cow::Borrowed(ops);
        }
        let said = ops.iter().filter_map(|(path, op)| match op {
            SetOp::Copy(from) => match heading(&self.headers, from) {
                Some(values) => Some((path.clone(), SetOp::Assign(values.into_iter().next()?))),
                None => Some((path.clone(), op.clone())),
            },
            SetOp::Assign(_) | SetOp::Literal(_) | SetOp::Clear | SetOp::Remove => {
                Some((path.clone(), op.clone()))
            }
        });
        Cow::Owned(said.collect())
    }

    fn format(&self, name: &str, settings: &Settings) -> Result<Arc<dyn Format>, MapError> {
        self.formats.open(name, settings).ok_or_else(|| {
            MapError::new(
                Reason::Internal,
                None,
                format!("the format {name:?} is not in this program"),
            )
        })
    }
}

/// What goes on of an object that was applied names the patient whose it is. Work that needs no snapshot, and none where nothing goes
/// on.
fn under_its_patient(name: &str, flow: &mut Flow) -> Result<(), Halt> {
    let Some(applied) = flow.applied.clone() else {
        return Ok(());
    };
    if let Some(patient) = applied.patient_of_images() {
        let body = flow.format.reconciled(&flow.body, patient);
        let body = body.map_err(|error| Halt::Failed(Failure::of(name, error)))?;
        if let Some(body) = body {
            flow.set(Bytes::from(body));
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_decode(verb: &str) -> MapError {
    MapError::new(
        Reason::Internal,
        None,
        format!("`{verb}` needs a `decode` before it"),
    )
}

fn internal(step: &str, why: &str) -> Failure {
    Failure {
        step: step.to_owned(),
        reason: Reason::Internal,
        place: None,
        why: why.to_owned(),
    }
}

fn halted(halt: Halt) -> Result<Outcome, SnapshotError> {
    match halt {
        Halt::Filtered => Ok(Outcome::filtered()),
        Halt::Failed(failure) => Ok(Outcome::failed(failure)),
        Halt::Parked { failure, candidates } => Ok(Outcome {
            state: Some(MessageState::Parked),
            failure: Some(failure),
            candidates,
            ..Outcome::default()
        }),
        Halt::Snapshot(error) => Err(error),
        Halt::Asks(question) => Ok(Outcome::failed(internal(
            &question.step,
            "nobody can be asked here",
        ))),
    }
}
