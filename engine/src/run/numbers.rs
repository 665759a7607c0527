//! What is counted. Each number is registered once, with what it belongs to, so that a message costs no look-up; where a
//! thing is logged, its number moves too.
//!
//! Labels are channels, destinations and outcomes, never an id: their number does not grow with traffic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use metrics::{Counter, Histogram};

use crate::message::MessageState;

/// What a try can come to, as its outcome is labelled.
const VERDICTS: [&str; 5] = ["accepted", "pending", "refused", "retry", "unsure"];

/// The numbers of all channels. One that is gone keeps its numbers: a counter never goes back.
#[derive(Default)]
pub(super) struct Numbers {
    channels: Mutex<BTreeMap<String, Arc<ChannelNumbers>>>,
    ends: Mutex<BTreeMap<(String, String), Arc<EndNumbers>>>,
}

/// How much has gone through a channel since the program was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The channel.
    pub channel: String,
    /// Messages that were stored.
    pub received: u64,
    /// Deliveries that the far side took.
    pub sent: u64,
    /// When something came in by its source last, stored or not; none: nothing has yet.
    pub heard: Option<Timestamp>,
}

/// The numbers of one channel.
pub(super) struct ChannelNumbers {
    /// By the state that messages came to.
    stored: [Counter; MessageState::ALL.len()],
    repeats: Counter,
    reruns: Counter,
    not_stored: Counter,
    answered_after: Histogram,
    received: AtomicU64,
    /// Microseconds since 1970; 0: never.
    heard: AtomicI64,
}

/// The numbers of one destination.
pub(super) struct EndNumbers {
    /// By verdict.
    attempts: [Counter; VERDICTS.len()],
    answered_after: Histogram,
    sent: AtomicU64,
}

impl Numbers {
    /// Those of a channel.
    pub fn channel(&self, id: &str) -> Arc<ChannelNumbers> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = channels.entry(id.to_owned());
        numbers
            .or_insert_with(|| Arc::new(ChannelNumbers::new(id)))
            .clone()
    }

    /// Those of a destination.
    pub fn end(&self, channel: &str, destination: &str) -> Arc<EndNumbers> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = ends.entry((channel.to_owned(), destination.to_owned()));
        numbers
            .or_insert_with(|| Arc::new(EndNumbers::new(channel, destination)))
            .clone()
    }

    /// How much has gone through each channel.
    pub fn totals(&self) -> Vec<Total> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let total = |(id, numbers): (&String, &Arc<ChannelNumbers>)| {
            let of_channel = ends.iter().filter(|((channel, _), _)| channel == id);
            let heard = numbers.heard.load(Ordering::Relaxed);
            Total {
                channel: id.clone(),
                received: numbers.received.load(Ordering::Relaxed),
                sent: of_channel.map(|(_, end)| end.sent.load(Ordering::Relaxed)).sum(),
                heard: Timestamp::from_microsecond(heard).ok().filter(|_| heard != 0),
            }
        };
        channels.iter().map(total).collect()
    }
}

impl ChannelNumbers {
    fn new(id: &str) -> Self {
        let channel = || id.to_owned();
        ChannelNumbers {
            stored: MessageState::ALL.map(|state| {
                metrics::counter!("punte_messages_total", "channel" => channel(), "outcome" => state.as_str())
            }),
            repeats: metrics::counter!("punte_repeats_total", "channel" => channel()),
            reruns: metrics::counter!("punte_reruns_total", "channel" => channel()),
            not_stored: metrics::counter!("punte_not_stored_total", "channel" => channel()),
            answered_after: metrics::histogram!("punte_answer_seconds", "channel" => channel()),
            received: AtomicU64::default(),
            heard: AtomicI64::default(),
        }
    }

    /// Something came in by its source.
    pub fn heard(&self, at: Timestamp) {
        self.heard.fetch_max(at.as_microsecond(), Ordering::Relaxed);
    }

    /// A message was stored.
    pub fn stored(&self, state: MessageState) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let place = MessageState::ALL.iter().position(|known| *known == state);
        if let Some(counter) = place.and_then(|place| self.stored.get(place)) {
            counter.increment(1);
        }
    }

    /// A message came again.
    pub fn repeated(&self) {
        self.repeats.increment(1);
    }

    /// The steps of a message ran again, since what they had read had moved.
    pub fn reran(&self) {
        self.reruns.increment(1);
    }

    /// A message could not be stored.
    pub fn not_stored(&self) {
        self.not_stored.increment(1);
    }

    /// Its sender was answered after so long.
    pub fn answered(&self, after: Duration) {
        self.answered_after.record(after);
    }
}

impl EndNumbers {
    fn new(channel: &str, destination: &str) -> Self {
        let (channel, destination) = (|| channel.to_owned(), || destination.to_owned());
        EndNumbers {
            attempts: VERDICTS.map(|outcome| {
                metrics::counter!("punte_attempts_total", "channel" => channel(), "destination" => destination(), "outcome" => outcome)
            }),
            answered_after: metrics::histogram!("punte_send_seconds", "channel" => channel(), "destination" => destination()),
            sent: AtomicU64::default(),
        }
    }

    /// A delivery was tried.
    pub fn tried(&self, verdict: &str) {
        if verdict == "accepted" {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        let place = VERDICTS.iter().position(|known| *known == verdict);
        if let Some(counter) = place.and_then(|place| self.attempts.get(place)) {
            counter.increment(1);
        }
    }

    /// The far side answered, or did not, after so long.
    pub fn answered(&self, after: Duration) {
        self.answered_after.record(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_those_of_each_channel() {
        let numbers = Numbers::default();
        let adt = numbers.channel("adt");
        adt.stored(MessageState::Routed);
        adt.stored(MessageState::Failed);
        let (first, second) = (Timestamp::from_second(20), Timestamp::from_second(10));
        adt.heard(first.unwrap());
        adt.heard(second.unwrap());
        numbers.end("adt", "ris").tried("accepted");
        numbers.end("adt", "lis").tried("accepted");
        numbers.end("adt", "lis").tried("retry");
        // The same, not another one.
        numbers.channel("adt").stored(MessageState::Routed);
        numbers.channel("lab");
        let total = |channel: &str, received, sent, heard| Total {
            channel: channel.into(),
            received,
            sent,
            heard,
        };
        let heard = Timestamp::from_second(20).ok();
        assert_eq!(
            numbers.totals(),
            [total("adt", 3, 2, heard), total("lab", 0, 0, None)]
        );
    }
}
