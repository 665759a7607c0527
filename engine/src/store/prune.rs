//! What is taken out after its time, and what never is.
//!
//! Nothing is unless a file says how long it is kept. Time counts from the last that happened to a message: that it came,
//! or the last try of one of its deliveries. Never taken: a message that is parked, one with a delivery that is not over
//! or that is dead and nobody has seen, one of whose answers is parked; and none within the time for which it is known
//! again. Of a message that wrote to the clinic the row stays, so that each value can tell where it comes from; its bytes,
//! deliveries and keys go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::keep::{Keep, KeepFor};
use crate::message::MessageState;

/// For how long each kind of message of a channel is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    routed: KeepFor,
    failed: KeepFor,
    filtered: KeepFor,
    answered: KeepFor,
    bodies: KeepFor,
}

impl Ages {
    /// What a channel says goes before what is said for all; nothing goes while it is to be known again.
    pub fn new(own: &Keep, all: &Keep, dedup: Duration) -> Self {
        let kind = |of: fn(&Keep) -> Option<KeepFor>| {
            let said = of(own).or(own.messages).or(of(all)).or(all.messages);
            said.unwrap_or_default().at_least(dedup)
        };
        Ages {
            routed: kind(|keep| keep.messages),
            failed: kind(|keep| keep.failed),
            filtered: kind(|keep| keep.filtered),
            answered: kind(|keep| keep.answered),
            bodies: own.bodies.or(all.bodies).unwrap_or_default(),
        }
    }

    /// For how long a message in this state is kept whole.
    pub fn whole(&self, state: MessageState) -> KeepFor {
        match state {
            MessageState::Routed => self.routed,
            MessageState::Failed => self.failed,
            MessageState::Filtered => self.filtered,
            MessageState::Answered => self.answered,
            MessageState::Parked => KeepFor::Ever,
        }
    }

    /// For how long its bytes are.
    pub fn bodies(&self, state: MessageState) -> KeepFor {
        match state {
            MessageState::Parked => KeepFor::Ever,
            MessageState::Routed | MessageState::Failed | MessageState::Filtered | MessageState::Answered => {
                self.bodies
            }
        }
    }

    /// The shortest of all; none: nothing is ever taken out.
    fn shortest(&self) -> Option<Duration> {
        let all = [
            self.routed,
            self.failed,
            self.filtered,
            self.answered,
            self.bodies,
        ];
        all.into_iter()
            .filter_map(|length| match length {
                KeepFor::Ever => None,
                KeepFor::For(length) => Some(length),
            })
            .min()
    }
}

/// For how long everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// By the names of channels.
    pub channels: BTreeMap<String, Ages>,
    /// Of channels that are not there any more.
    pub others: Ages,
    /// The rows of the journal.
    pub journal: KeepFor,
}

impl Keeping {
    /// Of a channel by its name in the store: what answers go through (`orders@lis`) is a part of its channel.
    pub fn of(&self, channel: &str) -> &Ages {
        let owner = channel.split_once('@').map_or(channel, |(owner, _)| owner);
        self.channels.get(owner).unwrap_or(&self.others)
    }

    /// The shortest that any message is kept; none: all for ever.
    pub fn shortest(&self) -> Option<Duration> {
        self.channels
            .values()
            .chain([&self.others])
            .filter_map(Ages::shortest)
            .min()
    }

    /// True where nothing is ever taken out.
    pub fn is_ever(&self) -> bool {
        self.shortest().is_none() && self.journal == KeepFor::Ever
    }
}

/// Where a pass is. It begins with the first message and ends with the space that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrunePlace {
    /// After the message of this place in the order.
    Messages(i64),
    /// At the journal.
    Journal,
    /// At files of big bodies that no row names any more.
    Blobs,
    /// At the free pages of the file.
    Space,
}

impl Default for PrunePlace {
    fn default() -> Self {
        PrunePlace::Messages(0)
    }
}

/// What a step of a pass took out, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneStep {
    /// Where the next step begins; none: that was the last.
    pub next: Option<PrunePlace>,
    /// By channel.
    pub channels: BTreeMap<String, PrunedOf>,
    /// Rows of the journal.
    pub journal: u64,
    /// Files of big bodies.
    pub blobs: u64,
    /// Bytes that the file gave back.
    pub bytes: u64,
}

/// What was taken out of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedOf {
    /// Messages with all that belongs to them.
    pub messages: u64,
    /// Messages of which one row stays, since a value of the clinic comes from them.
    pub but_a_row: u64,
    /// Messages of which only the bytes went.
    pub bodies: u64,
    /// Messages that are old enough and stay: something of them is open, or dead and not seen.
    pub open: u64,
}

impl PruneStep {
    /// Adds what another step took out.
    pub fn add(&mut self, other: &PruneStep) {
        for (channel, of) in &other.channels {
            let sum = self.channels.entry(channel.clone()).or_default();
            sum.messages += of.messages;
            sum.but_a_row += of.but_a_row;
            sum.bodies += of.bodies;
            sum.open += of.open;
        }
        self.journal += other.journal;
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }

    /// True where nothing was taken out.
    pub fn is_nothing(&self) -> bool {
        let none = |of: &PrunedOf| of.messages + of.but_a_row + of.bodies == 0;
        self.channels.values().all(none) && self.journal + self.blobs + self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: u64) -> KeepFor {
        KeepFor::For(Duration::from_secs(days * 86_400))
    }

    #[test]
    fn a_channel_goes_before_all_and_dedup_before_both() {
        let week = Duration::from_secs(7 * 86_400);
        let all = Keep {
            messages: Some(days(90)),
            failed: Some(days(365)),
            bodies: Some(days(1)),
            ..Keep::default()
        };
        let ages = Ages::new(&Keep::default(), &all, week);
        assert_eq!(ages.whole(MessageState::Routed), days(90));
        assert_eq!(ages.whole(MessageState::Failed), days(365));
        assert_eq!(ages.whole(MessageState::Filtered), days(90));
        assert_eq!(ages.whole(MessageState::Parked), KeepFor::Ever);
        assert_eq!(ages.bodies(MessageState::Routed), days(1));
        let own = Keep {
            messages: Some(days(3)),
            bodies: Some(KeepFor::Ever),
            ..Keep::default()
        };
        let ages = Ages::new(&own, &all, week);
        assert_eq!(
            ages.whole(MessageState::Routed),
            days(7),
            "known again for a week"
        );
        assert_eq!(
            ages.whole(MessageState::Failed),
            days(7),
            "its own word goes first"
        );
        assert_eq!(ages.bodies(MessageState::Routed), KeepFor::Ever);
        let keeping = Keeping {
            channels: [("a".to_owned(), ages)].into(),
            others: Ages::new(&Keep::default(), &Keep::default(), week),
            journal: KeepFor::Ever,
        };
        assert_eq!(keeping.of("a@lis"), &ages);
        assert!(!keeping.is_ever());
        assert_eq!(keeping.of("gone").whole(MessageState::Routed), KeepFor::Ever);
    }
}
