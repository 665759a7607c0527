//! What was really received, run through a channel as its file says now, beside what was sent. Nothing is written and
//! nothing is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::channel::{Channel, Step};
use engine::format::Formats;
use engine::message::{By, MessageState, Origin};
use engine::run::{Answers, World, parts_of, try_message};
use engine::store::Store;
use serde::Serialize;
use uuid::Uuid;

use crate::golden::{diff, readable, sent_format};

/// One message, then and now.
#[derive(Debug, Serialize)]
pub struct Rerun {
    /// The message.
    pub id: Uuid,
    /// The sender's number of it.
    pub control_id: Option<String>,
    /// What became of it.
    pub was: MessageState,
    /// What would become of it.
    pub now: MessageState,
    /// Why it would fail or be parked, or may differ: a destination was not asked.
    pub why: Option<String>,
    /// What would differ.
    pub differences: Vec<Difference>,
}

/// What one destination would get otherwise.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The destination.
    pub destination: String,
    /// In a few words: `PID-8`, `gets nothing now`.
    pub what: String,
    /// Line by line.
    pub diff: Vec<String>,
}

/// Runs one stored message. None: there is none of that id.
pub async fn rerun(
    store: &dyn Store,
    channel: &Arc<Channel>,
    formats: &Formats,
    id: Uuid,
) -> anyhow::Result<Option<Rerun>> {
    let Some(detail) = store.message(id).await? else {
        return Ok(None);
    };
    if detail.is_question() || detail.row.pruned.is_some() {
        return Ok(None);
    }
    let received_at = detail.row.received_at;
    let answers = Arc::new(match channel.asks() {
        true => Answers::of_message(store, &detail).await?,
        false => Answers::none(),
    });
    let count = AtomicU64::new(1);
    let world = World {
        now: Arc::new(move || received_at),
        new_id: Arc::new(move || Uuid::from_u128(u128::from(count.fetch_add(1, Ordering::Relaxed)))),
    };
    let inspected = formats
        .open(&channel.source.format, &channel.source.format_settings)
        .map_or(Ok(()), |format| format.inspect(&detail.body));
    let is_part = |origin: &Origin| origin.by == By::Part;
    let whole =
        parts_of(channel, formats, &detail.body).filter(|_| !detail.row.origin.as_ref().is_some_and(is_part));
    let (now, why, sent) = match (whole, inspected) {
        // Its parts are messages of their own, and run by themselves.
        (Some(Ok(_)), _) => (MessageState::Routed, None, vec![]),
        (Some(Err(error)), _) | (None, Err(error)) => (MessageState::Failed, Some(error.to_string()), vec![]),
        (None, Ok(())) => {
            let snapshot = store.snapshot()?;
            let (outcome, _) = try_message(
                channel.clone(),
                formats,
                &world,
                detail.body.clone(),
                answers.clone(),
                snapshot.as_ref(),
            )?;
            let why = outcome
                .failure
                .as_ref()
                .map(|failure| format!("{}: {}", failure.step, failure.why));
            (outcome.state(), why, outcome.deliveries)
        }
    };
    let was_sent: BTreeMap<&str, &[u8]> = detail
        .deliveries
        .iter()
        .map(|delivery| (delivery.row.destination.as_str(), delivery.body.as_ref()))
        .collect();
    let would_be: BTreeMap<&str, &[u8]> = sent
        .iter()
        .map(|delivery| {
            let body = delivery.body.as_deref().unwrap_or(&detail.body);
            (delivery.destination.as_str(), body)
        })
        .collect();
    let mut differences = vec![];
    for (destination, before) in &was_sent {
        match would_be.get(destination) {
            None => differences.push(nothing(destination, "gets nothing now")),
            Some(after) => differences.extend(difference(channel, destination, before, after)),
        }
    }
    for destination in would_be.keys().filter(|name| !was_sent.contains_key(*name)) {
        differences.push(nothing(destination, "gets it now"));
    }
    let why = why.or_else(|| {
        let open = answers.not_asked();
        let first = open.first()?;
        Some(format!("{}: {} was not asked", first.step, first.destination))
    });
    Ok(Some(Rerun {
        id,
        control_id: detail.row.control_id,
        was: detail.row.state,
        now,
        why,
        differences,
    }))
}

fn nothing(destination: &str, what: &str) -> Difference {
    Difference {
        destination: destination.to_owned(),
        what: what.to_owned(),
        diff: vec![],
    }
}

fn difference(channel: &Channel, destination: &str, before: &[u8], after: &[u8]) -> Option<Difference> {
    let format = channel
        .destinations
        .iter()
        .find(|d| d.name == destination)
        .map_or("", |d| sent_format(channel, d));
    let is_written_anew = format != channel.source.format || has_encode(channel, destination);
    let text = |bytes: &[u8]| {
        let (_, text) = readable(format, bytes);
        match String::from_utf8(text) {
            Ok(text) if is_written_anew => masked(&text).into_bytes(),
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        }
    };
    let (before, after) = (text(before), text(after));
    if before == after {
        return None;
    }
    let diff = diff::lines(&before, &after);
    let mut fields: Vec<&str> = diff
        .iter()
        .filter_map(|line| line.strip_prefix("    "))
        .filter_map(|line| line.split_once(": ").map(|(field, _)| field))
        .collect();
    fields.dedup();
    let what = if fields.is_empty() {
        "differs".to_owned()
    } else {
        fields.join(", ")
    };
    Some(Difference {
        destination: destination.to_owned(),
        what,
        diff,
    })
}

/// Whether what a destination gets is written by an `encode`.
fn has_encode(channel: &Channel, destination: &str) -> bool {
    let own = channel
        .destinations
        .iter()
        .filter(|d| d.name == destination)
        .flat_map(|d| &d.steps);
    channel
        .steps
        .iter()
        .chain(own)
        .any(|step| matches!(step, Step::Encode { .. }))
}

/// Without what is made anew each time a message is written: ids, versions, the time of writing.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let trimmed = line.trim_start();
        let is_of_writing = [
            "\"versionId\"",
            "\"lastUpdated\"",
            "\"recorded\"",
            "\"timestamp\"",
        ]
        .iter()
        .any(|key| trimmed.starts_with(key));
        if is_of_writing {
            let key = line.split(':').next().unwrap_or_default();
            out.push_str(&format!("{key}: …"));
        } else if line.starts_with("MSH|") {
            let fields: Vec<&str> = line
                .split('|')
                .enumerate()
                .map(|(place, field)| if matches!(place, 6 | 9) { "…" } else { field })
                .collect();
            out.push_str(&fields.join("|"));
        } else {
            out.push_str(&without_ids(line));
        }
        out.push('\n');
    }
    out
}

/// A line whose UUIDs are all the same.
fn without_ids(line: &str) -> String {
    const LENGTH: usize = 36;
    let bytes = line.as_bytes();
    let is_id = |at: usize| {
        bytes.get(at..at + LENGTH).is_some_and(|id| {
            id.iter().enumerate().all(|(place, byte)| match place {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        })
    };
    let mut out = String::with_capacity(line.len());
    let mut from = 0;
    let mut at = 0;
    while at < bytes.len() {
        if is_id(at) {
            out.push_str(line.get(from..at).unwrap_or_default());
            out.push('…');
            at += LENGTH;
            from = at;
        } else {
            at += 1;
        }
    }
    out.push_str(line.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_anew_is_not_compared() {
        let one = "MSH|^~\\&|A|B|C|D|20260101||ADT^A08|1|P|2.5.1\n  \"id\": \"0197a3b2-0000-7000-8000-000000000001\",\n  \"recorded\": \"x\",\nș 0197a3b2\n";
        let other = "MSH|^~\\&|A|B|C|D|20270101||ADT^A08|2|P|2.5.1\n  \"id\": \"0297a3b2-0000-7000-8000-000000000009\",\n  \"recorded\": \"y\",\nș 0197a3b2\n";
        assert_eq!(masked(one), masked(other));
        assert_ne!(masked(one), masked(&one.replace("A08", "A31")));
    }
}
