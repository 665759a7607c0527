//! What the rules find in an overview. Pure: time and what was seen are passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use clinic::planned::Begun;
use engine::channel::duration::show;
use jiff::Timestamp;

use super::settings::{Condition, Rule};
use crate::overview::{ChannelView, Overview, QueueView, bytes, lasts};

/// Something that a rule has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule and what it is about; one episode of each is on at a time.
    pub what: String,
    /// In a sentence.
    pub says: String,
    /// Who is told.
    pub to: Vec<String>,
}

/// What is known beside the overview.
pub struct Known<'a> {
    /// When something came in by each channel last, or, before anything did, since when it is waited for.
    pub heard: &'a BTreeMap<String, Timestamp>,
    /// By how much the clock was set within the last hour.
    pub clock_moved: Duration,
    /// What the modalities have begun and not ended.
    pub begun: &'a [Begun],
    /// How long the delivery at the head of a queue could have gone, of its channel and destination, since a moment.
    pub open_since: &'a (dyn Fn(&str, &str, Timestamp) -> Duration + Sync),
}

/// What the rules find, in their order.
pub fn judge(rules: &[Rule], overview: &Overview, known: &Known<'_>) -> Vec<Finding> {
    rules
        .iter()
        .flat_map(|rule| find(rule, overview, known))
        .collect()
}

fn find(rule: &Rule, overview: &Overview, known: &Known<'_>) -> Vec<Finding> {
    let finding = |what: String, says: String| Finding {
        what,
        says,
        to: rule.to.clone(),
    };
    let is_meant = |channel: &ChannelView| {
        rule.channels
            .as_ref()
            .is_none_or(|channels| channels.contains(&channel.id))
    };
    let channels = || overview.channels.iter().filter(|channel| is_meant(channel));
    let queues = || channels().flat_map(|channel| channel.queues.iter().map(move |queue| (channel, queue)));
    // So many deliveries of one state.
    let counted = |state: &str, most: u64, says: &str| -> Vec<Finding> {
        let enough = |(channel, queue): (&ChannelView, &QueueView)| {
            let count = match state {
                "dead" => queue.dead_unseen(),
                state => queue.states.get(state).copied().unwrap_or_default(),
            };
            let end = format!("{}/{}", channel.id, queue.destination);
            let deliveries = if count == 1 {
                "delivery is"
            } else {
                "deliveries are"
            };
            (most.max(1) <= count).then(|| {
                finding(
                    format!("{state} {most} {end}"),
                    format!("{end}: {count} {deliveries} {says}"),
                )
            })
        };
        queues().filter_map(enough).collect()
    };
    match rule.condition {
        Condition::Held(most) => counted(
            "held",
            most,
            "held and the queue waits for a person: punte messages release (or done, cancel)",
        ),
        Condition::Dead(most) => counted("dead", most, "set aside as dead"),
        Condition::QueueOlder(limit) => queues()
            .filter_map(|(channel, queue)| {
                let waited = (known.open_since)(&channel.id, &queue.destination, queue.oldest?);
                let end = format!("{}/{}", channel.id, queue.destination);
                let says = format!(
                    "{end}: the oldest delivery has waited for {}, {} wait in all",
                    lasts(waited.as_secs_f64()),
                    queue.waiting
                );
                (limit <= waited).then(|| finding(format!("queue_older {} {end}", show(limit)), says))
            })
            .collect(),
        Condition::Parked(most) => channels()
            .filter_map(|channel| {
                let count = channel.messages.get("parked").copied().unwrap_or_default();
                let id = &channel.id;
                let says = format!("{id}: {count} parked, to be decided about");
                (most.max(1) <= count).then(|| finding(format!("parked {most} {id}"), says))
            })
            .collect(),
        Condition::Silent(limit) => channels()
            // Who is stopped is silent by somebody's will.
            .filter(|channel| channel.state != "stopped")
            .filter_map(|channel| {
                let last = *known.heard.get(&channel.id)?;
                let silent = match &rule.window {
                    None => Duration::try_from(overview.at.duration_since(last)).unwrap_or_default(),
                    Some(window) => window.open_between(last, overview.at),
                };
                let id = &channel.id;
                let says = format!("{id}: nothing has come in for {}", lasts(silent.as_secs_f64()));
                (limit <= silent).then(|| finding(format!("silent {} {id}", show(limit)), says))
            })
            .collect(),
        Condition::MppsSilent(limit) => unended(known.begun, limit, overview.at)
            .into_iter()
            .map(|(station, (count, oldest))| {
                let examinations = match count {
                    1 => "1 examination was begun and has".to_owned(),
                    count => format!("{count} examinations were begun and have"),
                };
                let says = format!(
                    "{station}: {examinations} not been ended, the oldest for {}. End it at the modality",
                    lasts(overview.at.duration_since(oldest).as_secs_f64())
                );
                finding(format!("mpps_silent {} {station}", show(limit)), says)
            })
            .collect(),
        Condition::CertificateEnds(limit) => overview
            .certificates
            .iter()
            .filter(|certificate| {
                overview
                    .at
                    .checked_add(limit)
                    .is_ok_and(|then| certificate.until < then)
            })
            .map(|certificate| {
                let file = certificate.file.display();
                let says = format!("the certificate {file} {}", certificate.says(overview.at));
                finding(format!("certificate_ends {} {file}", show(limit)), says)
            })
            .collect(),
        Condition::DiskBelow(limit) => overview
            .disk
            .iter()
            .filter(|disk| disk.free_bytes < limit)
            .map(|disk| {
                let says = format!("the disk of the data folder has {} left", bytes(disk.free_bytes));
                finding(format!("disk_below {limit}"), says)
            })
            .collect(),
        Condition::ClockOff(limit) => (limit < known.clock_moved)
            .then(|| {
                let says = format!(
                    "the clock was set by {} within the last hour",
                    lasts(known.clock_moved.as_secs_f64())
                );
                finding(format!("clock_off {}", show(limit)), says)
            })
            .into_iter()
            .collect(),
    }
}

/// What was begun so long ago, by the station that began it: how many, and since when the oldest.
fn unended(begun: &[Begun], limit: Duration, now: Timestamp) -> BTreeMap<&str, (u64, Timestamp)> {
    let mut stations: BTreeMap<&str, (u64, Timestamp)> = BTreeMap::new();
    for begun in begun {
        let silent = Duration::try_from(now.duration_since(begun.since)).unwrap_or_default();
        if limit <= silent {
            let station = begun.station.as_deref().unwrap_or("a modality without a name");
            let (count, oldest) = stations.entry(station).or_insert((0, begun.since));
            *count += 1;
            *oldest = begun.since.min(*oldest);
        }
    }
    stations
}
