//! `clinic`: the source of a channel that a change of the clinic starts. Each change queues a delivery for each channel
//! that listens, in the commit that writes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use clinic::{Applied, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::link::Inside;
use crate::channel::{Channel, OnUnsure, nearest};
use crate::connector::{Connector, ConnectorError, SettingsProblem, Source, Surroundings};
use crate::message::{Incoming, NewDelivery};
use crate::store::Store;

/// Its name in channel files.
pub const CLINIC: &str = "clinic";

/// The queue of a channel in which events wait for it. No destination can have this name.
pub(super) const EVENTS: &str = "@events";

/// What a `source.clinic` says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Wants {
    on: Vec<String>,
    not_from: Vec<String>,
}

impl Wants {
    /// What a channel listens to; none: it does not.
    fn of(channel: &Channel) -> Option<Self> {
        (channel.source.connector == CLINIC)
            .then(|| Wants::deserialize(&channel.source.settings).unwrap_or_default())
    }
}

/// A channel that listens.
pub(super) struct Listener {
    channel: String,
    on: BTreeSet<String>,
    not_from: Vec<String>,
}

/// All channels that listen.
pub(super) type Listeners = Arc<[Listener]>;

impl Listener {
    pub fn of(channel: &Channel) -> Option<Self> {
        let wants = Wants::of(channel)?;
        Some(Listener {
            channel: channel.id.clone(),
            on: wants.on.into_iter().collect(),
            not_from: wants.not_from,
        })
    }

    /// Whether it is told of what comes by these channels, the last of which writes it.
    fn hears(&self, passed: &[&str]) -> bool {
        !passed
            .iter()
            .any(|channel| *channel == self.channel || self.not_from.iter().any(|not| not == channel))
    }
}

/// One change, as it waits for a channel: which event, of which aggregate, in which version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Event {
    event: String,
    kind: Kind,
    id: Uuid,
    version: u64,
}

/// What is owed to those who listen. `trace`: the channels that the message passed before `channel`, which writes.
pub(super) fn owed(
    listeners: &[Listener],
    applied: &Applied,
    channel: &str,
    trace: &[String],
) -> Vec<NewDelivery> {
    let passed: Vec<&str> = trace.iter().map(String::as_str).chain([channel]).collect();
    let mut owed = vec![];
    for listener in listeners.iter().filter(|listener| listener.hears(&passed)) {
        let events: Vec<Event> = applied
            .writes
            .iter()
            .filter_map(|write| {
                let (kind, meta) = (write.record.aggregate.kind(), &write.record.meta);
                let event = format!("{}.{}", kind.as_str(), write.verb);
                listener.on.contains(&event).then_some(Event {
                    event,
                    kind,
                    id: meta.id,
                    version: meta.version,
                })
            })
            .collect();
        if events.is_empty() {
            continue;
        }
        owed.push(NewDelivery {
            lane: None,
            destination: EVENTS.to_owned(),
            body: Some(Bytes::from(serde_json::to_vec(&events).unwrap_or_default())),
            rest: None,
            content_type: "application/json".to_owned(),
            queue_of: Some(listener.channel.clone()),
        });
    }
    owed
}

/// The messages of a delivery of events: a change set each, as the clinic stands now, which is that version or a newer.
pub(super) fn messages(
    store: &dyn Store,
    body: &[u8],
    now: jiff::Timestamp,
) -> Result<Vec<Incoming>, MapError> {
    let internal = |what: String| MapError::new(Reason::Internal, None, what);
    let events: Vec<Event> = serde_json::from_slice(body)
        .map_err(|_| MapError::new(Reason::DataType, None, "the events can't be read"))?;
    let snapshot = store.snapshot().map_err(|error| internal(error.to_string()))?;
    let mut messages = vec![];
    for event in events {
        let set = clinic::told::change_set(&event.event, event.kind, event.id, snapshot.as_ref())
            .map_err(|error| internal(error.to_string()))?
            .ok_or_else(|| {
                let what = "what the event is about is not in the clinic";
                MapError::new(Reason::UnknownKey, None, what)
            })?;
        let body = serde_json::to_vec(&set).map_err(|error| internal(error.to_string()))?;
        let headers = vec![
            ("event".to_owned(), event.event),
            (
                "aggregate".to_owned(),
                format!("{}/{}", event.kind.as_str(), event.id),
            ),
            ("version".to_owned(), event.version.to_string()),
        ];
        messages.push(Incoming {
            body: Bytes::from(body),
            big: None,
            content_type: "application/json".to_owned(),
            headers,
            received_at: now,
            identity: None,
        });
    }
    Ok(messages)
}

/// The source as an end of channels.
pub struct Clinic;

#[async_trait]
impl Connector for Clinic {
    fn name(&self) -> &'static str {
        CLINIC
    }

    fn format(&self) -> Option<&'static str> {
        Some(CLINIC)
    }

    fn source_schema(&self) -> Option<Value> {
        Some(json!({
            "description": "Changes of the clinic, whoever made them.",
            "type": "object",
            "additionalProperties": false,
            "required": ["on"],
            "properties": {
                "on": {
                    "description": "The events that start the channel: Order.placed, Patient.updated …",
                    "type": "array",
                    "items": { "type": "string" },
                    "minItems": 1
                },
                "not_from": {
                    "description": "The channels whose changes are not told: those by which the same partner comes in.",
                    "type": "array",
                    "items": { "type": "string" }
                }
            }
        }))
    }

    fn check_source(&self, settings: &Value) -> Vec<SettingsProblem> {
        let known = clinic::events::events();
        let on = settings["on"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wrong = on.iter().enumerate().filter_map(|(n, event)| {
            let event = event.as_str()?;
            let what = if known.iter().any(|known| known == event) {
                return None;
            } else if let Some(near) = nearest(event, known.iter().map(String::as_str)) {
                format!("no event of the clinic; did you mean \"{near}\"?")
            } else {
                let kind = event.split('.').next().unwrap_or_default();
                let of_kind: Vec<&str> = known
                    .iter()
                    .map(String::as_str)
                    .filter(|known| known.split('.').next() == Some(kind))
                    .collect();
                match of_kind.is_empty() {
                    true => "no event of the clinic; write it as \"Order.placed\"".to_owned(),
                    false => format!(
                        "no event of the clinic; those of {kind} are {}",
                        of_kind.join(", ")
                    ),
                }
            };
            Some(SettingsProblem {
                path: format!("on[{n}]"),
                what,
            })
        });
        wrong.collect()
    }

    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Inside))
    }

    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brought_it_is_not_told() {
        let listener = Listener {
            channel: "orders-out".into(),
            on: BTreeSet::new(),
            not_from: vec!["lab-results".into()],
        };
        assert!(listener.hears(&["reception"]));
        assert!(!listener.hears(&["orders-out"]));
        assert!(!listener.hears(&["orders-out", "chart"]));
        assert!(!listener.hears(&["lab-results"]));
        assert!(!listener.hears(&["lab-results", "chart"]));
    }
}
