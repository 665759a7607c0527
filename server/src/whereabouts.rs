//! Where something is, in words: what came of the messages that name an order, an accession, a patient or a control id.

use std::collections::BTreeMap;

use engine::channel::Channel;
use engine::format::Formats;
use engine::message::{ASKED, AttemptRow, DeliveryDetail, DeliveryState, MessageDetail, MessageState};
use engine::store::{Halt, MessageFilter, Store};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The most messages that are told of one key, newest first.
const MOST: u32 = 50;

/// What one message has to do with it.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The message.
    pub id: Uuid,
    /// Its place in the order.
    pub seq: i64,
    /// Its channel.
    pub channel: String,
    /// Type and event.
    pub message_type: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// As what it names the key: `order`, `patient`, `visit`, `control id`.
    pub names_it_as: Vec<&'static str>,
    /// What became of it.
    pub state: MessageState,
    /// The same in sentences: received, passed on or held, in the chart.
    pub words: Vec<String>,
}

/// Finds a channel by its name.
pub type ByName<'a> = dyn Fn(&str) -> Option<Channel> + Send + Sync + 'a;

/// Who is asked.
pub struct Asked<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The formats, to read who confirmed.
    pub formats: &'a Formats,
    /// What stands still.
    pub halts: &'a [Halt],
    /// The channels by their names, as they are now.
    pub channel: &'a ByName<'a>,
    /// What time it is.
    pub now: Timestamp,
}

impl Asked<'_> {
    /// All messages that name this key, the oldest first.
    pub async fn about(&self, key: &str) -> anyhow::Result<Vec<Found>> {
        let mut names: BTreeMap<i64, (Uuid, Vec<&'static str>)> = BTreeMap::new();
        for (name, filter) in filters(key) {
            for row in self.store.messages(&filter).await? {
                names.entry(row.seq).or_insert((row.id, vec![])).1.push(name);
            }
        }
        let mut found = vec![];
        for (id, names_it_as) in names.into_values() {
            if let Some(detail) = self.store.message(id).await? {
                found.push(self.found(detail, names_it_as).await?);
            }
        }
        Ok(found)
    }

    async fn found(&self, detail: MessageDetail, names_it_as: Vec<&'static str>) -> anyhow::Result<Found> {
        let row = &detail.row;
        let mut words = vec![received(&detail)];
        for resolution in &row.resolutions {
            let reason = resolution
                .reason
                .as_deref()
                .map_or(String::new(), |why| format!(": {why}"));
            words.push(format!(
                "decided about by {} at {}{reason}",
                resolution.by,
                second(resolution.at)
            ));
        }
        words.push(became(&detail));
        for delivery in &detail.deliveries {
            words.push(self.delivery(&row.channel, delivery).await?);
        }
        for wrote in &detail.wrote {
            let (kind, id, version) = (&wrote.kind, &wrote.id, &wrote.version);
            let record = self.store.read_version(*kind, *id, *version).await?;
            let brief = record
                .and_then(|record| record.aggregate.to_json().ok())
                .and_then(|json| serde_json::from_slice::<Value>(&json).ok())
                .map_or(String::new(), |json| brief(&json));
            let newest = self
                .store
                .read(*kind, *id)
                .await?
                .map_or(*version, |record| record.meta.version);
            let since = if newest == *version {
                String::new()
            } else {
                format!(", changed since: version {newest} now")
            };
            words.push(format!(
                "in the chart: {}{brief} ({id}, version {version}{since})",
                kind.as_str()
            ));
        }
        Ok(Found {
            id: row.id,
            seq: row.seq,
            channel: row.channel.clone(),
            message_type: row.message_type.clone(),
            received_at: row.received_at,
            names_it_as,
            state: row.state,
            words,
        })
    }

    /// `ris: sent at … (try 1), confirmed by RIS`
    async fn delivery(&self, channel: &str, delivery: &DeliveryDetail) -> anyhow::Result<String> {
        let name = &delivery.row.destination;
        let last = delivery.attempts.last();
        let at = last.map_or(String::new(), |attempt| format!(" at {}", second(attempt.at)));
        // What a person decided stands among the tries, and is none.
        let is_try = |attempt: &&AttemptRow| attempt.by.is_none();
        let tries = match delivery.attempts.iter().filter(is_try).count() {
            0 => String::new(),
            1 => " (try 1)".to_owned(),
            many => format!(" ({many} tries)"),
        };
        let why = last
            .and_then(|attempt| attempt.why.as_deref())
            .map_or(String::new(), |why| format!(": {why}"));
        let decided = last.and_then(|attempt| attempt.by.as_deref());
        let waits = |word: &str| -> String { format!("to {name}: {word}") };
        Ok(match delivery.row.state {
            DeliveryState::Sent => {
                if let Some(by) = decided {
                    return Ok(format!("{}{at} by {by}{why}", waits("called done")));
                }
                let by = last
                    .and_then(|attempt| attempt.response.as_deref())
                    .and_then(|answer| self.confirmed_by(answer))
                    .map_or(String::new(), |by| format!(", confirmed by {by}"));
                format!("{}{at}{tries}{by}", waits("sent"))
            }
            DeliveryState::Pending => format!("{}{at}{tries}", waits("taken, its decision is still to come")),
            DeliveryState::Queued => format!(
                "{}{}",
                waits("waits"),
                self.why_it_waits(channel, name, delivery.row.id).await?
            ),
            DeliveryState::Sending => waits("on its way just now"),
            DeliveryState::Retrying | DeliveryState::Unsure => {
                let next = delivery
                    .row
                    .due
                    .map_or(String::new(), |due| format!(", again at {}", second(due)));
                let shut = self
                    .shut(channel, name)
                    .map_or(String::new(), |shut| format!("; {shut}"));
                let word = match delivery.row.state == DeliveryState::Unsure {
                    true => "not known whether it was taken",
                    false => "not taken yet",
                };
                format!("{}{at}{tries}{why}{next}{shut}", waits(word))
            }
            DeliveryState::Held => format!("{} since{}{tries}{why}", waits("held"), at.replace(" at", "")),
            DeliveryState::Dead => format!("{}{at}{tries}{why}", waits("set aside as dead")),
            DeliveryState::Cancelled => format!(
                "{}{at}{}{why}",
                waits("cancelled"),
                decided.map_or(String::new(), |by| format!(" by {by}"))
            ),
        })
    }

    /// `shut until Mon 07:00`, where it is outside its window.
    fn shut(&self, channel: &str, destination: &str) -> Option<String> {
        let channel = (self.channel)(channel)?;
        let destination = channel.destinations.iter().find(|end| end.name == destination)?;
        destination.window.as_ref()?.says(self.now)
    }

    /// ` because adt/ris is paused since … by anna: …`, ` behind message …, which is held`.
    async fn why_it_waits(&self, channel: &str, destination: &str, delivery: i64) -> anyhow::Result<String> {
        let halt = self.halts.iter().find(|halt| {
            halt.channel == channel && halt.destination.as_deref().is_none_or(|name| name == destination)
        });
        if let Some(halt) = halt {
            let end = halt
                .destination
                .as_ref()
                .map_or(String::new(), |name| format!("/{name}"));
            let reason = halt
                .reason
                .as_deref()
                .map_or(String::new(), |why| format!(": {why}"));
            return Ok(format!(
                ", since {channel}{end} is {} since {} by {}{reason}",
                halt.word.as_str(),
                second(halt.since),
                halt.by
            ));
        }
        if let Some(shut) = self.shut(channel, destination) {
            return Ok(format!(", since {channel}/{destination} is {shut}"));
        }
        let first = self.store.waiting(channel, destination, 0, 1).await?;
        Ok(match first.first() {
            Some(head) if head.id != delivery => {
                format!(
                    " behind message {}, which is {}",
                    head.message,
                    head.state.as_str()
                )
            }
            Some(_) | None => String::new(),
        })
    }

    /// Who wrote an answer, as it says itself.
    fn confirmed_by(&self, answer: &[u8]) -> Option<String> {
        let names = self.formats.names();
        names.into_iter().find_map(|name| {
            let format = self.formats.get(name)?;
            format.inspect(answer).ok()?;
            format.keys(answer).sender
        })
    }
}

fn filters(key: &str) -> [(&'static str, MessageFilter); 4] {
    let key = || Some(key.to_owned());
    let all = || MessageFilter {
        limit: MOST,
        ..MessageFilter::default()
    };
    [
        (
            "order",
            MessageFilter {
                order: key(),
                ..all()
            },
        ),
        (
            "patient",
            MessageFilter {
                patient: key(),
                ..all()
            },
        ),
        (
            "visit",
            MessageFilter {
                visit: key(),
                ..all()
            },
        ),
        (
            "control id",
            MessageFilter {
                control_id: key(),
                ..all()
            },
        ),
    ]
}

fn received(detail: &MessageDetail) -> String {
    let row = &detail.row;
    if let Some((_, destination)) = detail.headers.iter().find(|(name, _)| name == ASKED) {
        let origin = row.origin.as_ref();
        let of = origin.map_or(String::new(), |origin| {
            format!(", for message {}", origin.message)
        });
        return format!("asked of {destination} at {}{of}", second(row.received_at));
    }
    let from = row
        .sender
        .as_deref()
        .map_or(String::new(), |sender| format!(" from {sender}"));
    let number = row
        .control_id
        .as_deref()
        .map_or(String::new(), |id| format!(", control id {id}"));
    let repeats = match row.repeats {
        0 => String::new(),
        many => format!(", and {many} times again (nothing was done twice)"),
    };
    let origin = row
        .replay_of
        .map_or(String::new(), |origin| format!(", a replay of {origin}"));
    format!(
        "received at {}{from}{number}{repeats}{origin}",
        second(row.received_at)
    )
}

fn became(detail: &MessageDetail) -> String {
    let row = &detail.row;
    let why = row.failure.as_ref().map_or(String::new(), |failure| {
        let place = failure
            .place
            .as_ref()
            .map_or(String::new(), |place| format!("{place}: "));
        format!(" at {}: {place}{}", failure.step, failure.why)
    });
    match row.state {
        MessageState::Routed if detail.deliveries.is_empty() => "done; it goes nowhere else".to_owned(),
        MessageState::Routed => format!("passed on to {}", count(detail.deliveries.len(), "destination")),
        MessageState::Filtered => "left out: by a filter of the channel, or by a person".to_owned(),
        MessageState::Parked => format!("parked{why}. Decide: punte parked resolve {}", row.id),
        MessageState::Failed if detail.is_question() => format!("failed{why}"),
        MessageState::Failed => format!("failed{why}. Correct it, then: punte messages replay {}", row.id),
        MessageState::Answered => "answered".to_owned(),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("one {what}"),
        many => format!("{many} {what}s"),
    }
}

/// What an aggregate is about, in a few words: ` Potassium = 5.4 mmol/L, final`.
fn brief(json: &Value) -> String {
    let mut out = concept(&json["code"]).map_or(String::new(), |name| format!(" {name}"));
    let value = &json["value"];
    let value = if let Some(amount) = value.get("quantity") {
        let word = |key: &str| amount[key].as_str().map(str::to_owned);
        let number = match &amount["value"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let unit = word("unit")
            .or_else(|| word("code"))
            .map_or(String::new(), |unit| format!(" {unit}"));
        Some(format!(
            "{}{number}{unit}",
            word("comparator").unwrap_or_default()
        ))
    } else if let Some(named) = value.get("concept") {
        concept(named)
    } else {
        ["text", "when", "time"]
            .iter()
            .find_map(|key| value.get(key)?.as_str().map(str::to_owned))
    };
    if let Some(value) = value {
        out.push_str(&format!(" = {value}"));
    }
    if let Some(status) = json["status"].as_str() {
        out.push_str(&format!(", {status}"));
    }
    out
}

fn concept(json: &Value) -> Option<String> {
    let codings = json["codings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let display = codings.iter().find_map(|coding| coding["display"].as_str());
    let code = codings.iter().find_map(|coding| coding["code"].as_str());
    json["text"].as_str().or(display).or(code).map(str::to_owned)
}

/// A moment to the second.
fn second(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}
