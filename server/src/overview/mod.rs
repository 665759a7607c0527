//! The engine at one glance: what `punte status` shows, what Prometheus reads, what alerts are judged by. Made at one
//! place, so that the three never say different things.
//!
//! Names of channels and destinations, times and counts; nothing of a message.

pub mod certificates;
mod lookout;
pub mod machine;
pub mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::channel::Channel;
use engine::message::{DeliveryState, MessageState};
use engine::run::ChannelRow;
use engine::store::{Alert, QueueRow, Store, StoreError};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use certificates::Certificate;
pub use lookout::{Lookout, of_the_store};
use machine::{Disk, Sizes};
use pace::Pace;

/// A certificate that ends within so many days waits for somebody.
pub const CERTIFICATE_DAYS: i64 = 14;
/// Less free space than that waits for somebody.
pub const LOW_DISK: u64 = 1 << 30;

/// The engine at one glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overview {
    /// Whether an engine runs here.
    pub running: bool,
    /// The version of the program that says this.
    pub version: String,
    /// When this was so.
    pub at: Timestamp,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// Where its HTTP interface listens.
    pub http: Option<String>,
    /// Its channels, by name.
    pub channels: Vec<ChannelView>,
    /// The disk that the data folder is on.
    pub disk: Option<Disk>,
    /// How large the store is.
    pub store: Sizes,
    /// The certificates that the settings name, the first to end first.
    pub certificates: Vec<Certificate>,
    /// The alerts that are on, the newest first.
    pub alerts: Vec<Alert>,
    /// What waits for a person, one sentence each.
    pub attention: Vec<String>,
}

/// A channel at one glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelView {
    /// Its name.
    pub id: String,
    /// `running`, `paused`, `stopped`, `ended`; `idle` where no engine runs, `gone` where it has no file any more.
    pub state: String,
    /// Messages that came and deliveries that were taken; none where no engine runs.
    pub rates: Option<Rates>,
    /// When something came in last since the engine was started.
    pub heard: Option<Timestamp>,
    /// How many messages of each state are stored.
    pub messages: BTreeMap<String, u64>,
    /// How many of them failed today, by the clinic's clock.
    pub failed_today: u64,
    /// What waits for each of its destinations.
    pub queues: Vec<QueueView>,
}

/// How much went through in the last minute and in the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Messages received.
    pub received_minute: u64,
    /// The same in an hour.
    pub received_hour: u64,
    /// Deliveries taken by the far side.
    pub sent_minute: u64,
    /// The same in an hour.
    pub sent_hour: u64,
}

/// A queue at one glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueView {
    /// The destination.
    pub destination: String,
    /// How many are to go: queued, under way, to be tried again.
    pub waiting: u64,
    /// How many of each state.
    pub states: BTreeMap<String, u64>,
    /// How many of the dead a person has seen: they wait for nobody.
    pub dead_seen: u64,
    /// When the message of the oldest one came that waits or is held.
    pub oldest: Option<Timestamp>,
    /// How long ago that was.
    pub oldest_seconds: f64,
    /// `shut until Mon 07:00`, where it is outside its window.
    pub shut: Option<String>,
    /// Since when it takes nothing, so that it is left alone for a while.
    pub left_alone: Option<Timestamp>,
}

impl QueueView {
    /// How many are dead that nobody has seen.
    pub fn dead_unseen(&self) -> u64 {
        let dead = self.states.get("dead").copied().unwrap_or_default();
        dead.saturating_sub(self.dead_seen)
    }
}

/// The engine that runs.
pub struct Alive<'a> {
    /// Its channels.
    pub rows: &'a [ChannelRow],
    /// How fast they are.
    pub pace: &'a Pace,
    /// Since when it runs.
    pub since: Timestamp,
    /// Where it listens.
    pub http: String,
}

/// What is looked at.
pub struct Looking<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The channels of the files, or those that run.
    pub channels: &'a [Arc<Channel>],
    /// The engine; none: none runs here.
    pub alive: Option<Alive<'a>>,
    /// The disk.
    pub disk: Option<Disk>,
    /// The sizes of the store's files.
    pub sizes: Sizes,
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// What time it is.
    pub now: Timestamp,
    /// The clinic's zone.
    pub zone: &'a TimeZone,
    /// Whether what failed today is counted: the one count that takes longer on a bad day.
    pub counts_failed: bool,
}

/// Looks.
pub async fn look(looking: Looking<'_>) -> Result<Overview, StoreError> {
    let now = looking.now;
    let counts = looking.store.counts().await?;
    let queues = looking.store.queues().await?;
    let failed = match looking.counts_failed {
        true => looking.store.failed_since(midnight(now, looking.zone)).await?,
        false => vec![],
    };
    let mut alerts = looking.store.alerts(crate::alerts::LISTED).await?;
    alerts.retain(|alert| alert.ended.is_none());
    let mut names: BTreeSet<&str> = looking
        .channels
        .iter()
        .map(|channel| channel.id.as_str())
        .collect();
    names.extend(counts.iter().map(|(channel, _, _)| channel.as_str()));
    names.extend(queues.iter().map(|queue| queue.channel.as_str()));
    let channels = names.into_iter().map(|id| {
        let channel = looking.channels.iter().find(|channel| channel.id == id);
        let row = looking.alive.as_ref();
        let row = row.and_then(|alive| alive.rows.iter().find(|row| row.id == id));
        let total = looking.alive.as_ref().and_then(|alive| alive.pace.of(id));
        let of_channel = counts.iter().filter(|(of, _, _)| of == id);
        ChannelView {
            id: id.to_owned(),
            state: match (row, channel) {
                (Some(row), _) => row.state,
                (None, Some(_)) => "idle",
                (None, None) => "gone",
            }
            .to_owned(),
            rates: total.as_ref().map(|(rates, _)| *rates),
            heard: total.and_then(|(_, heard)| heard),
            messages: with_all(
                MessageState::ALL.iter().map(|state| state.as_str()),
                of_channel.map(|(_, state, count)| (state.as_str(), *count)),
            ),
            failed_today: failed
                .iter()
                .find(|(of, _)| of == id)
                .map_or(0, |(_, count)| *count),
            queues: queues_of(id, channel.map(Arc::as_ref), row, &queues, now),
        }
    });
    let mut overview = Overview {
        running: looking.alive.is_some(),
        version: crate::VERSION.to_owned(),
        at: now,
        since: looking.alive.as_ref().map(|alive| alive.since),
        http: looking.alive.as_ref().map(|alive| alive.http.clone()),
        channels: channels.collect(),
        disk: looking.disk,
        store: looking.sizes,
        certificates: looking.certificates,
        alerts,
        attention: vec![],
    };
    overview.attention = attention(&overview);
    Ok(overview)
}

/// The beginning of the day by the clinic's clock.
fn midnight(now: Timestamp, zone: &TimeZone) -> Timestamp {
    let today = zone.to_datetime(now).date();
    zone.to_timestamp(today.at(0, 0, 0, 0)).unwrap_or(now)
}

/// All states, those too that there are none of.
fn with_all<'a>(
    all: impl Iterator<Item = &'a str>,
    counted: impl Iterator<Item = (&'a str, u64)>,
) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = all.map(|state| (state.to_owned(), 0)).collect();
    counts.extend(counted.map(|(state, count)| (state.to_owned(), count)));
    counts
}

/// The queues of a channel: those of its destinations, and those that something still waits in.
fn queues_of(
    id: &str,
    channel: Option<&Channel>,
    row: Option<&ChannelRow>,
    queues: &[QueueRow],
    now: Timestamp,
) -> Vec<QueueView> {
    let known = channel.into_iter().flat_map(|channel| &channel.destinations);
    let known = known.filter(|destination| !destination.only_asked);
    let mut names: BTreeSet<&str> = known.map(|destination| destination.name.as_str()).collect();
    let rows: Vec<&QueueRow> = queues.iter().filter(|queue| queue.channel == id).collect();
    names.extend(rows.iter().map(|row| row.destination.as_str()));
    let left = row.map(|row| &row.left_alone);
    let view = |name: &str| {
        let row = rows.iter().find(|row| row.destination == name);
        let counts = row.map(|row| row.counts.as_slice()).unwrap_or_default();
        let shown = DeliveryState::ALL.iter().filter(|state| is_shown(**state));
        let oldest = row.and_then(|row| row.oldest);
        let destination = channel.and_then(|channel| channel.destinations.iter().find(|d| d.name == name));
        let window = destination.and_then(|destination| destination.window.as_ref());
        QueueView {
            destination: name.to_owned(),
            waiting: counts
                .iter()
                .filter(|(state, _)| goes(*state))
                .map(|(_, count)| count)
                .sum(),
            states: with_all(
                shown.map(|state| state.as_str()),
                counts.iter().map(|(state, count)| (state.as_str(), *count)),
            ),
            oldest,
            oldest_seconds: oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0)),
            dead_seen: row.map_or(0, |row| row.dead_seen),
            shut: window.and_then(|window| window.says(now)),
            left_alone: left.and_then(|left| {
                left.iter()
                    .find(|left| left.destination == name)
                    .map(|left| left.since)
            }),
        }
    };
    names.into_iter().map(view).collect()
}

/// Whether a delivery is to go by itself.
fn goes(state: DeliveryState) -> bool {
    match state {
        DeliveryState::Queued | DeliveryState::Sending | DeliveryState::Retrying | DeliveryState::Unsure => {
            true
        }
        DeliveryState::Sent
        | DeliveryState::Pending
        | DeliveryState::Held
        | DeliveryState::Dead
        | DeliveryState::Cancelled => false,
    }
}

/// Whether a state stands in a queue at all.
fn is_shown(state: DeliveryState) -> bool {
    goes(state)
        || matches!(
            state,
            DeliveryState::Pending | DeliveryState::Held | DeliveryState::Dead
        )
}

/// What waits for a person.
fn attention(overview: &Overview) -> Vec<String> {
    let mut says = vec![];
    for channel in &overview.channels {
        let id = &channel.id;
        if channel.state == "ended" {
            says.push(format!(
                "{id}: its source has ended, nothing comes in. The log says why; open it again: punte channels start {id}"
            ));
        }
        if let Some(parked) = some(&channel.messages, "parked") {
            says.push(format!(
                "{id}: {} decided about: punte parked",
                are(parked, "message waits to be", "messages wait to be")
            ));
        }
        for queue in &channel.queues {
            let end = format!("{id}/{}", queue.destination);
            if let Some(held) = some(&queue.states, "held") {
                let are = are(held, "delivery is", "deliveries are");
                says.push(format!(
                    "{end}: {are} held and the queue waits: punte messages --channel {id} --state held, then: punte messages release --channel {id} --state held --to {} --reason \"…\" (or done, or cancel)",
                    queue.destination
                ));
            }
            if let Some(dead) = Some(queue.dead_unseen()).filter(|dead| *dead != 0) {
                let are = are(dead, "delivery is", "deliveries are");
                says.push(format!(
                    "{end}: {are} set aside as dead: punte messages --channel {id} --state dead, then: punte messages release (or seen) ID --reason \"…\""
                ));
            }
        }
    }
    for alert in overview.alerts.iter().filter(|alert| !is_said(alert)) {
        says.push(alert.says.clone());
    }
    if let Some(disk) = overview.disk.filter(|disk| disk.free_bytes < LOW_DISK) {
        says.push(format!(
            "the disk has {} left; make room in the data folder",
            bytes(disk.free_bytes)
        ));
    }
    for certificate in &overview.certificates {
        let days = certificate.days(overview.at);
        if days < CERTIFICATE_DAYS {
            says.push(format!(
                "the certificate {} {}; renew it",
                certificate.file.display(),
                certificate.says(overview.at)
            ));
        }
    }
    says
}

/// Whether what an alert is about is said with what to do.
fn is_said(alert: &Alert) -> bool {
    ["held ", "dead ", "parked ", "disk_below ", "certificate_ends "]
        .iter()
        .any(|rule| alert.what.starts_with(rule))
}

fn some(counts: &BTreeMap<String, u64>, state: &str) -> Option<u64> {
    counts.get(state).copied().filter(|count| *count != 0)
}

fn are(count: u64, one: &str, many: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {many}")
    }
}

/// A number of bytes, as people read it: `1.2 GB`.
pub fn bytes(count: u64) -> String {
    let units = ["bytes", "KB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while 1024.0 <= value && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} bytes")
    } else if 100.0 <= value {
        format!("{value:.0} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

/// A length of time, as people read it: its two largest units.
pub fn lasts(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// A moment by the clinic's clock, to the minute.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(1536), "1.5 KB");
        assert_eq!(bytes(250 << 30), "250 GB");
        assert_eq!(lasts(12.7), "12 s");
        assert_eq!(lasts(190.0), "3 min");
        assert_eq!(lasts(3.0 * 3600.0 + 720.0), "3 h 12 min");
        assert_eq!(lasts(90_000.0), "1 d 1 h");
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_clinic() {
        let zone = TimeZone::get("Europe/Bucharest").unwrap();
        let now: Timestamp = "2026-05-05T22:30:00Z".parse().unwrap();
        assert_eq!(midnight(now, &zone).to_string(), "2026-05-05T21:00:00Z");
    }
}
