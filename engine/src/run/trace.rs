//! What each step of a channel did, for whoever looks: `punte try`, rehearsals, golden tests.

use bytes::Bytes;

use super::outcome::Outcome;
use super::pipeline::Flow;
use crate::channel::Step;

/// What one step did, for `punte try`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Trace {
    /// Which step, as in the channel file.
    pub step: String,
    /// What it did, in words.
    pub result: String,
    /// The message before it, where the step changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it made: the message, the change set, what would be written.
    pub shows: Option<String>,
}

/// Where traces are kept, if somebody looks. Making one costs more than the step: a channel at work makes none.
pub(super) type Shown<'a> = &'a mut Option<Vec<Trace>>;

pub(super) fn show(shown: Shown<'_>, trace: impl FnOnce() -> Trace) {
    if let Some(traces) = shown {
        traces.push(trace());
    }
}

/// What is told of a step that made nothing.
pub(super) fn said(step: &str, result: String) -> Trace {
    Trace {
        step: step.to_owned(),
        result,
        before: None,
        shows: None,
    }
}

/// What a script wrote to its console, behind what it did.
pub(super) fn with_console(mut result: String, console: &[String]) -> String {
    for line in console {
        result.push_str("\n   console: ");
        result.push_str(line);
    }
    result
}

/// Where the steps ended before the last one, and why; `console`: what the script that ended them wrote before.
pub(super) fn trace_halt(step: &str, outcome: &Outcome, console: &[String]) -> Trace {
    let why = outcome.failure.as_ref().map_or(String::new(), |failure| {
        let place = failure
            .place
            .as_ref()
            .map_or(String::new(), |place| format!("{place}: "));
        format!(": {place}{}", failure.why)
    });
    let result = format!("{}{why}", outcome.state().as_str());
    said(step, with_console(result, console))
}

/// What a step did, in words, and what it made.
pub(super) fn trace(name: &str, step: &Step, before: &Bytes, flow: &Flow) -> Trace {
    let (result, shows) = match step {
        Step::Filter(_) => ("kept".to_owned(), None),
        Step::Split { .. } => ("taken apart before; this is one of the parts".to_owned(), None),
        Step::Decode { .. } => {
            let changes = flow.changes.as_deref();
            let said = changes.map_or(String::new(), |c| {
                format!(
                    "{} changes, {} merges, {} values without a place",
                    c.changes.len(),
                    c.merges.len(),
                    c.extra.len()
                )
            });
            (said, changes.and_then(|c| serde_json::to_string_pretty(c).ok()))
        }
        Step::Set(_) | Step::Lookup(_) | Step::Deidentify(_) | Step::Transcode { .. } => (
            if *before == flow.body {
                "changed nothing"
            } else {
                "changed"
            }
            .to_owned(),
            Some(String::from_utf8_lossy(&flow.body).into_owned()),
        ),
        Step::Ask(_) => (
            flow.told.clone(),
            Some(String::from_utf8_lossy(&flow.body).into_owned()),
        ),
        Step::Script(script) => {
            let result = with_console(script.file().to_owned(), &flow.console);
            (result, Some(String::from_utf8_lossy(&flow.body).into_owned()))
        }
        Step::Apply { .. } => {
            let writes = flow.applied.as_ref().map_or(&[][..], |a| &a.writes);
            let kept = flow.applied.as_ref().map_or(&[][..], |a| &a.kept);
            let mut list: Vec<String> = writes
                .iter()
                .map(|w| {
                    let kind = w.record.aggregate.kind().as_str();
                    format!(
                        "{kind}.{} {} version {}",
                        w.verb, w.record.meta.id, w.record.meta.version
                    )
                })
                .collect();
            let result = match kept.len() {
                0 => format!("would write {} aggregates", list.len()),
                n => format!("would write {} aggregates, {n} values not taken", list.len()),
            };
            list.extend(kept.iter().map(|kept| {
                let (kind, id) = (kept.kind.as_str(), kept.id);
                format!(
                    "{kind} {id} {}: not taken, {} wrote what stands there",
                    kept.field, kept.by
                )
            }));
            (result, Some(list.join("\n")))
        }
        Step::Encode { format, .. } => (
            format!("{format}, {} bytes", flow.body.len()),
            Some(String::from_utf8_lossy(&flow.body).into_owned()),
        ),
    };
    let is_change = matches!(
        step,
        Step::Set(_) | Step::Lookup(_) | Step::Ask(_) | Step::Deidentify(_) | Step::Transcode { .. }
    );
    Trace {
        step: name.to_owned(),
        result,
        before: is_change.then(|| String::from_utf8_lossy(before).into_owned()),
        shows,
    }
}
