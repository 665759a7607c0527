//! What is shown of the store, as JSON: the same for the HTTP interface and for commands that open the store
//! themselves.

use anyhow::anyhow;
use clinic::ChangeSet;
use clinic::exchange::{Extra, Place};
use engine::body::StoredBody;
use engine::channel::{Channel, Step};
use engine::format::{Formats, Settings};
use engine::message::{By, DeliveryState, MessageDetail, MessageRow, MessageState};
use engine::run::{Outcome, Trace};
use engine::store::{MessageFilter, Store, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The words of a listing of messages, as they come in a query or on the command line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListWords {
    /// Of this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// In this state, of the message or of one of its deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// About this patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// With this control id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_id: Option<String>,
    /// With this visit number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<String>,
    /// With this order number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Before this place in the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What is asked can't be asked so; the text says why.
#[derive(Debug)]
pub struct Wrong(pub String);

impl ListWords {
    /// The filter that these words mean.
    pub fn filter(&self, now: Timestamp) -> Result<MessageFilter, Wrong> {
        let mut filter = MessageFilter {
            channel: self.channel.clone(),
            since: self.since.as_deref().map(|word| moment(word, now)).transpose()?,
            until: self.until.as_deref().map(|word| moment(word, now)).transpose()?,
            patient: self.patient.clone(),
            control_id: self.control_id.clone(),
            visit: self.visit.clone(),
            order: self.order.clone(),
            before: self.before,
            limit: self.limit.unwrap_or(50).clamp(1, 1000),
            ..MessageFilter::default()
        };
        if let Some(word) = self.state.as_deref() {
            filter.state = MessageState::ALL.into_iter().find(|state| state.as_str() == word);
            if filter.state.is_none() {
                filter.delivery_state = DeliveryState::ALL
                    .into_iter()
                    .find(|state| state.as_str() == word);
            }
            if filter.state.is_none() && filter.delivery_state.is_none() {
                let words: Vec<&str> = MessageState::ALL
                    .iter()
                    .map(|s| s.as_str())
                    .chain(DeliveryState::ALL.iter().map(|s| s.as_str()))
                    .collect();
                return Err(Wrong(format!(
                    "{word:?} is no state; the states are {}",
                    words.join(", ")
                )));
            }
        }
        Ok(filter)
    }
}

/// `2026-05-05T08:00:00Z`, `2026-05-05` (in UTC), or how long ago: `15m`, `2h`, `7d`.
pub fn moment(word: &str, now: Timestamp) -> Result<Timestamp, Wrong> {
    let wrong = || {
        Wrong(format!(
            "{word:?} is no moment; write 2026-05-05, 2026-05-05T08:00:00Z, or how long ago: 15m, 2h, 7d"
        ))
    };
    if let Ok(at) = word.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(date) = word.parse::<jiff::civil::Date>() {
        return jiff::tz::TimeZone::UTC
            .to_timestamp(date.at(0, 0, 0, 0))
            .map_err(|_| wrong());
    }
    let ago = engine::channel::duration::parse(word).map_err(|_| wrong())?;
    now.checked_sub(ago).map_err(|_| wrong())
}

/// A page of messages, newest first; `next` is the word `before` of the next page.
pub async fn messages(
    store: &dyn Store,
    words: &ListWords,
    now: Timestamp,
) -> anyhow::Result<Result<Value, Wrong>> {
    let filter = match words.filter(now) {
        Ok(filter) => filter,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let rows = store.messages(&filter).await?;
    let next = if rows.len() == filter.limit as usize {
        rows.last().map(|row| row.seq)
    } else {
        None
    };
    Ok(Ok(json!({ "messages": rows, "next": next })))
}

/// What waits for a person's decision.
pub async fn parked(store: &dyn Store) -> anyhow::Result<Value> {
    let filter = MessageFilter {
        state: Some(MessageState::Parked),
        limit: 1000,
        ..MessageFilter::default()
    };
    let rows: Vec<MessageRow> = store.messages(&filter).await?;
    Ok(json!({ "parked": rows }))
}

/// One message whole.
pub async fn message(
    store: &dyn Store,
    channels: &(dyn Fn(&str) -> Option<Channel> + Send + Sync),
    formats: &Formats,
    detail: &MessageDetail,
) -> anyhow::Result<Value> {
    let channel = channels(&detail.row.channel);
    let decoded = channel
        .as_ref()
        .and_then(|channel| decode(channel, formats, detail));
    let (changes, decode_error) = match decoded {
        Some(Ok(mut changes)) => {
            if let Some(channel) = &channel {
                changes
                    .extra
                    .extend(losses_of_rest(store, channel, formats, detail).await?);
            }
            (Some(serde_json::to_value(changes)?), None)
        }
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let deliveries: Vec<Value> = detail
        .deliveries
        .iter()
        .map(|delivery| {
            let attempts: Vec<Value> = delivery
                .attempts
                .iter()
                .map(|attempt| {
                    let mut value = serde_json::to_value(attempt).unwrap_or_default();
                    value["response"] = attempt.response.as_deref().map_or(Value::Null, text);
                    value
                })
                .collect();
            let mut value = serde_json::to_value(&delivery.row).unwrap_or_default();
            value["attempt_list"] = attempts.into();
            value["content_type"] = delivery.content_type.clone().into();
            value["body"] = text(&delivery.body);
            value["made"] = serde_json::to_value(&delivery.made).unwrap_or_default();
            value
        })
        .collect();
    let mut value = serde_json::to_value(&detail.row)?;
    value["content_type"] = detail.content_type.clone().into();
    value["headers"] = serde_json::to_value(&detail.headers)?;
    value["body"] = text(&detail.body);
    value["deliveries"] = deliveries.into();
    value["wrote"] = serde_json::to_value(&detail.wrote)?;
    value["notes"] = serde_json::to_value(&detail.notes)?;
    value["changes"] = changes.unwrap_or(Value::Null);
    value["decode_error"] = decode_error.map_or(Value::Null, Value::from);
    Ok(value)
}

/// A message by its id or the beginning of it (at least 8 digits, among the newest 1,000).
pub async fn find(store: &dyn Store, id: &str) -> anyhow::Result<Option<Uuid>> {
    if let Ok(id) = id.parse::<Uuid>() {
        return Ok(Some(id));
    }
    if id.len() < 8 {
        return Err(anyhow!(
            "{id:?} is too short for a message id: give at least 8 characters"
        ));
    }
    let filter = MessageFilter {
        limit: 1000,
        ..MessageFilter::default()
    };
    let rows = store.messages(&filter).await?;
    let mut matching = rows
        .iter()
        .filter(|row| row.id.to_string().starts_with(id) || row.id.to_string().ends_with(id));
    match (matching.next(), matching.next()) {
        (Some(row), None) => Ok(Some(row.id)),
        (Some(_), Some(_)) => Err(anyhow!(
            "{id:?} begins or ends the ids of several messages: give more of it"
        )),
        (None, _) => Ok(None),
    }
}

/// What a message would come to: its state, each step, and what each destination would get.
pub fn rehearsal(outcome: &Outcome, traces: &[Trace]) -> Value {
    let deliveries: Vec<Value> = outcome
        .deliveries
        .iter()
        .map(|delivery| {
            json!({
                "destination": delivery.destination,
                "content_type": delivery.content_type,
                "body": delivery.body.as_deref().map_or(Value::Null, text),
            })
        })
        .collect();
    json!({
        "state": outcome.state().as_str(),
        "failure": outcome.failure,
        "candidates": outcome.candidates,
        "steps": traces,
        "deliveries": deliveries,
    })
}

/// What a long message says after the beginning that was decoded; all of it has no place in the model.
async fn losses_of_rest(
    store: &dyn Store,
    channel: &Channel,
    formats: &Formats,
    detail: &MessageDetail,
) -> anyhow::Result<Vec<Extra>> {
    let Some(name) = detail.big.filter(|_| detail.is_beginning()) else {
        return Ok(vec![]);
    };
    let Some((format, settings)) = decode_step(channel) else {
        return Ok(vec![]);
    };
    let Some(format) = formats.open(format, settings) else {
        return Ok(vec![]);
    };
    let (body, beginning, settings) = (
        StoredBody::new(store.vault(), name),
        detail.body.clone(),
        settings.clone(),
    );
    let read = tokio::task::spawn_blocking(move || {
        let mut file = body.open()?;
        let found = format.losses_of_rest(&beginning, &mut *file, name.length(), &settings);
        // What can't be read is told, with the rest of the message.
        Ok::<_, StoreError>(found.unwrap_or_else(|error| {
            vec![Extra {
                place: error.place.unwrap_or(Place(String::new())),
                value: String::new(),
                note: Some(error.what),
            }]
        }))
    });
    Ok(read.await??)
}

/// The first decode of a channel.
fn decode_step(channel: &Channel) -> Option<(&str, &Settings)> {
    channel.steps.iter().find_map(|step| match step {
        Step::Decode { format, settings } => Some((format.as_str(), settings)),
        Step::Filter(_)
        | Step::Set(_)
        | Step::Deidentify(_)
        | Step::Transcode { .. }
        | Step::Apply { .. }
        | Step::Encode { .. }
        | Step::Lookup(_)
        | Step::Ask(_)
        | Step::Script(_)
        | Step::Split { .. } => None,
    })
}

/// What the message says, read again by its channel's decode step (after the steps before it).
pub fn decode(
    channel: &Channel,
    formats: &Formats,
    detail: &MessageDetail,
) -> Option<Result<ChangeSet, String>> {
    let is_part = detail
        .row
        .origin
        .as_ref()
        .is_some_and(|origin| origin.by == By::Part);
    if detail.row.pruned.is_some() {
        // There are no bytes any more.
        return None;
    }
    if detail.is_question() || (channel.split().is_some() && !is_part) {
        // A question tells nothing; of a whole the parts say what they say.
        return None;
    }
    if channel.answers_of.is_some() {
        // An answer says it of what was sent.
        return None;
    }
    let (format, settings) = decode_step(channel)?;
    let format = formats.get(format)?;
    Some(
        format
            .decode(&detail.body, settings)
            .map_err(|error| error.to_string()),
    )
}

/// Bytes as text where they are text, else as Base64 in an object.
pub fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What came back from [`text`], as bytes.
pub fn bytes_of(value: &Value) -> Vec<u8> {
    use base64::Engine;
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other["base64"]
            .as_str()
            .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
            .unwrap_or_default(),
    }
}
