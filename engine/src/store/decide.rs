//! What a person decides about a delivery, with a reason.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::DeliveryState;

/// What a person makes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedWord {
    /// It is sent again, in its place in the order.
    Released,
    /// The far side has it, by another way: it counts as sent.
    Done,
    /// It is not sent any more.
    Cancelled,
}

impl DecidedWord {
    /// All of them.
    pub const ALL: [DecidedWord; 3] = [DecidedWord::Released, DecidedWord::Done, DecidedWord::Cancelled];

    /// Its name, as a delivery's list of tries has it.
    pub fn as_str(self) -> &'static str {
        match self {
            DecidedWord::Released => "released",
            DecidedWord::Done => "done",
            DecidedWord::Cancelled => "cancelled",
        }
    }

    /// What the delivery is then.
    pub fn state(self) -> DeliveryState {
        match self {
            DecidedWord::Released => DeliveryState::Queued,
            DecidedWord::Done => DeliveryState::Sent,
            DecidedWord::Cancelled => DeliveryState::Cancelled,
        }
    }

    /// Whether it can be said of a delivery in this state. What is being sent just now is nobody's to decide about, until
    /// it is known what came of it.
    pub fn is_for(self, state: DeliveryState) -> bool {
        match state {
            DeliveryState::Held | DeliveryState::Dead => true,
            DeliveryState::Queued
            | DeliveryState::Retrying
            | DeliveryState::Pending
            | DeliveryState::Unsure => self == DecidedWord::Cancelled,
            DeliveryState::Sending | DeliveryState::Sent | DeliveryState::Cancelled => false,
        }
    }
}

/// A decision about one delivery, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryDecision {
    /// The delivery's number in the store.
    pub delivery: i64,
    /// What.
    pub word: DecidedWord,
    /// When.
    pub at: Timestamp,
    /// Who: the name of a key.
    pub by: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of the design, one by one: from, and to which of queued, sent, cancelled.
    #[test]
    fn a_person_may_do_this_and_nothing_else() {
        let nothing = [false, false, false];
        let cancelled = [false, false, true];
        let all = [true, true, true];
        let arrows = [
            (DeliveryState::Queued, cancelled),
            (DeliveryState::Sending, nothing),
            (DeliveryState::Sent, nothing),
            (DeliveryState::Pending, cancelled),
            (DeliveryState::Retrying, cancelled),
            (DeliveryState::Unsure, cancelled),
            (DeliveryState::Held, all),
            (DeliveryState::Dead, all),
            (DeliveryState::Cancelled, nothing),
        ];
        assert_eq!(arrows.len(), DeliveryState::ALL.len());
        for (state, may) in arrows {
            assert_eq!(DecidedWord::ALL.map(|word| word.is_for(state)), may, "{state:?}");
        }
        let states = DecidedWord::ALL.map(DecidedWord::state);
        assert_eq!(
            states,
            [
                DeliveryState::Queued,
                DeliveryState::Sent,
                DeliveryState::Cancelled
            ]
        );
    }
}
