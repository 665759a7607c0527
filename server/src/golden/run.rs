//! What comes of a sample: the same at each run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clinic::exchange::{MapError, Reason, Stamp, Verdict};
use clinic::memory::MemoryClinic;
use engine::channel::{Channel, Step};
use engine::format::Formats;
use engine::message::{Failure, MessageState};
use engine::run::{Answers, Outcome, Trace, World, parts_of, try_answer, try_message};
use engine::split::Part;
use jiff::Timestamp;
use uuid::Uuid;

use super::Files;
use super::files::{read_before, read_input, read_responses, readable};

/// The moment at which all samples come: 2026-01-05, 08:00 UTC.
const NOW: i64 = 1_767_600_000;

/// Runs the samples of a folder on a clinic in memory.
pub(super) fn run(
    folder: &Path,
    channel: &Channel,
    channels: &[Channel],
    formats: &Formats,
    answers: &Arc<Answers>,
) -> anyhow::Result<Files> {
    let mut stage = Stage {
        formats,
        world: fixed(),
        clinic: MemoryClinic::new(),
    };
    for (by, sample) in read_before(folder)? {
        let by = match &by {
            None => channel,
            Some(id) => channels.iter().find(|channel| channel.id == *id).ok_or_else(|| {
                anyhow!(
                    "{}: there is no channel {id:?} for a sample before",
                    folder.display()
                )
            })?,
        };
        stage
            .before(&Arc::new(by.clone()), sample.into())
            .with_context(|| format!("{}: a sample before", folder.display()))?;
    }
    let channel = Arc::new(channel.clone());
    let body = Bytes::from(read_input(folder)?);
    let mut all = match parts_of(&channel, formats, &body) {
        None => {
            let (outcome, mut came) = stage.one(&channel, &body, answers)?;
            stage.commit(&outcome)?;
            came.extend(stage.responses(folder, &channel, &body, &outcome)?);
            came
        }
        Some(Err(error)) => {
            let outcome = Outcome::failed(Failure::of("step[0].split", error));
            files(&channel, formats, &body, &outcome, &[])
        }
        Some(Ok(parts)) => stage.parts(&channel, &body, parts, answers)?,
    };
    asked(&channel, answers, &mut all);
    Ok(all)
}

/// Where samples are run.
struct Stage<'a> {
    formats: &'a Formats,
    world: World,
    clinic: MemoryClinic,
}

impl Stage<'_> {
    /// What the clinic knows before. What it asks is not what is tested: it goes on without.
    fn before(&mut self, channel: &Arc<Channel>, sample: Bytes) -> anyhow::Result<()> {
        let parts = match parts_of(channel, self.formats, &sample) {
            None => vec![sample],
            Some(parts) => parts?.into_iter().map(|part| part.body).collect(),
        };
        for part in parts {
            let (outcome, _) = self.one(channel, &part, &Arc::new(Answers::none()))?;
            self.commit(&outcome)?;
        }
        Ok(())
    }

    /// What comes of one message.
    fn one(
        &self,
        channel: &Arc<Channel>,
        body: &Bytes,
        answers: &Arc<Answers>,
    ) -> anyhow::Result<(Outcome, Files)> {
        let inspected = self
            .formats
            .open(&channel.source.format, &channel.source.format_settings)
            .map(|format| format.inspect(body));
        let (outcome, traces) = match inspected {
            Some(Err(error)) => (Outcome::failed(Failure::of("source", error)), vec![]),
            Some(Ok(())) | None => try_message(
                channel.clone(),
                self.formats,
                &self.world,
                body.clone(),
                answers.clone(),
                &self.clinic,
            )?,
        };
        let files = files(channel, self.formats, body, &outcome, &traces);
        Ok((outcome, files))
    }

    /// What comes of the parts of a whole, each on the clinic as the one before left it.
    fn parts(
        &mut self,
        channel: &Arc<Channel>,
        whole: &Bytes,
        parts: Vec<Part>,
        answers: &Arc<Answers>,
    ) -> anyhow::Result<Files> {
        let mut all = files(channel, self.formats, whole, &Outcome::default(), &[]);
        for (idx, part) in parts.iter().enumerate() {
            let (outcome, came) = self.one(channel, &part.body, answers)?;
            let is_of_part = |(name, _): &(String, Vec<u8>)| !name.starts_with("reply.");
            all.extend(
                came.into_iter()
                    .filter(is_of_part)
                    .map(|(name, text)| (of_part(idx + 1, &name), text)),
            );
            self.commit(&outcome).with_context(|| part.place.to_string())?;
        }
        Ok(all)
    }

    /// What comes of the answers that lie in the folder.
    fn responses(
        &mut self,
        folder: &Path,
        channel: &Channel,
        body: &Bytes,
        outcome: &Outcome,
    ) -> anyhow::Result<Files> {
        let mut all = Files::new();
        for (name, answer) in read_responses(folder)? {
            let destination = channel.destinations.iter().find(|known| known.name == name);
            let response = destination
                .and_then(|known| known.response.clone())
                .ok_or_else(|| {
                    anyhow!(
                        "response.{name}: the channel has no destination {name:?} with [[destination.response]]"
                    )
                })?;
            let delivery = outcome
                .deliveries
                .iter()
                .find(|delivery| delivery.destination == name);
            let delivery = delivery
                .ok_or_else(|| anyhow!("response.{name}: nothing goes to {name:?}, which could answer"))?;
            let sent = delivery.body.clone().unwrap_or_else(|| body.clone());
            let (outcome, traces) = try_answer(
                response.clone(),
                self.formats,
                &self.world,
                sent,
                answer.clone().into(),
                &self.clinic,
            )?;
            all.extend(responded(&name, &response, &answer, &outcome, &traces));
            self.commit(&outcome)
                .with_context(|| format!("response.{name}"))?;
        }
        Ok(all)
    }

    fn commit(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        match &outcome.applied {
            None => Ok(()),
            Some(applied) => {
                let committed = self.clinic.commit(applied);
                committed.map_err(|_| anyhow!("what it says can't be applied"))
            }
        }
    }
}

/// `out.portal.json` of the second part is `out.portal.2.json`.
fn of_part(number: usize, name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}.{number}.{ending}"),
        None => format!("{name}.{number}"),
    }
}

/// What comes of an answer.
fn responded(name: &str, response: &Channel, answer: &[u8], outcome: &Outcome, traces: &[Trace]) -> Files {
    let mut files = Files::new();
    let mut said = state(outcome);
    for write in outcome.applied.iter().flat_map(|applied| &applied.writes) {
        let (kind, version) = (write.record.aggregate.kind().as_str(), write.record.meta.version);
        said.push_str(&format!("{kind}.{} version {version}\n", write.verb));
    }
    files.insert(format!("responded.{name}.state.txt"), said.into_bytes());
    let decoded = traces.iter().find(|trace| trace.step.ends_with(".decode"));
    if let Some(changes) = decoded.and_then(|trace| trace.shows.as_ref()) {
        files.insert(
            format!("responded.{name}.changes.json"),
            format!("{changes}\n").into_bytes(),
        );
    }
    for delivery in &outcome.deliveries {
        let link = response
            .destinations
            .iter()
            .find(|link| link.name == delivery.destination);
        let format = link.map_or("", |link| link.end.format.as_str());
        let (ending, text) = readable(format, delivery.body.as_deref().unwrap_or(answer));
        files.insert(
            format!("responded.{name}.out.{}.{ending}", delivery.destination),
            text,
        );
    }
    files
}

fn files(channel: &Channel, formats: &Formats, body: &[u8], outcome: &Outcome, traces: &[Trace]) -> Files {
    let mut files = Files::new();
    files.insert("state.txt".to_owned(), state(outcome).into_bytes());
    let is_decode = |trace: &&Trace| trace.step.starts_with("step[") && trace.step.ends_with(".decode");
    if let Some(changes) = traces
        .iter()
        .find(is_decode)
        .and_then(|trace| trace.shows.as_ref())
    {
        files.insert("changes.json".to_owned(), format!("{changes}\n").into_bytes());
    }
    for delivery in &outcome.deliveries {
        let format = channel
            .destinations
            .iter()
            .find(|destination| destination.name == delivery.destination)
            .map_or("", |destination| sent_format(channel, destination));
        let sent = delivery.body.as_deref().unwrap_or(body);
        let (ending, text) = readable(format, sent);
        files.insert(format!("out.{}.{ending}", delivery.destination), text);
    }
    if let Some(format) = formats.open(&channel.source.format, &channel.source.format_settings) {
        let error = (outcome.state() == MessageState::Failed).then(|| error(outcome));
        let verdict = error.as_ref().map_or(Verdict::Accepted, Verdict::Refused);
        let stamp = Stamp {
            now: now(),
            id: Uuid::nil(),
        };
        let frames = format.replies(body, verdict, &stamp).frames;
        if !frames.is_empty() {
            let (ending, text) = readable(&channel.source.format, &frames.join(&b'\r'));
            files.insert(format!("reply.{ending}"), text);
        }
    }
    files
}

/// What was asked, by destination.
fn asked(channel: &Channel, answers: &Answers, files: &mut Files) {
    for question in answers.asked() {
        let mut all = channel.destinations.iter();
        let end = all.find(|destination| destination.name == question.destination);
        let format = end.map_or("", |destination| destination.end.format.as_str());
        // An address is a line of text, whatever its answer is.
        let format = if question.body.starts_with(b"MSH") {
            format
        } else {
            ""
        };
        let (ending, text) = readable(format, &question.body);
        files
            .entry(format!("asked.{}.{ending}", question.destination))
            .or_default()
            .extend(text);
    }
}

/// The format of what leaves: that of the last `encode` on the way, else that of the end.
pub fn sent_format<'c>(channel: &'c Channel, destination: &'c engine::channel::Destination) -> &'c str {
    let encoded = channel
        .steps
        .iter()
        .chain(&destination.steps)
        .filter_map(|step| match step {
            Step::Encode { format, .. } => Some(format.as_str()),
            Step::Filter(_)
            | Step::Decode { .. }
            | Step::Set(_)
            | Step::Deidentify(_)
            | Step::Transcode { .. }
            | Step::Apply { .. }
            | Step::Lookup(_)
            | Step::Ask(_)
            | Step::Split { .. }
            | Step::Script(_) => None,
        })
        .next_back();
    encoded.unwrap_or(&destination.end.format)
}

/// `parked`, and why; who may be meant.
fn state(outcome: &Outcome) -> String {
    let mut text = outcome.state().as_str().to_owned();
    if let Some(failure) = &outcome.failure {
        let place = failure
            .place
            .as_ref()
            .map_or(String::new(), |place| format!(" {place}:"));
        text.push_str(&format!("\n{}:{place} {}", failure.step, failure.why));
    }
    for candidate in &outcome.candidates {
        text.push_str(&format!(
            "\ncandidate {}: {}",
            candidate.kind.as_str(),
            candidate.why
        ));
    }
    text.push('\n');
    text
}

fn error(outcome: &Outcome) -> MapError {
    match &outcome.failure {
        Some(failure) => failure.clone().into_error(),
        None => MapError::new(Reason::Internal, None, "the message could not be processed"),
    }
}

/// A world in which it is always the same moment, and ids are counted.
fn fixed() -> World {
    let count = AtomicU64::new(0);
    World {
        now: Arc::new(now),
        new_id: Arc::new(move || {
            let number = u128::from(count.fetch_add(1, Ordering::Relaxed) + 1);
            Uuid::from_u128((0x0197_0000_0000_7000_8000_u128 << 48) | number)
        }),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap_or_default()
}
