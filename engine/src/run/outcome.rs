//! What a message comes to, before it is committed.

use clinic::Applied;
use clinic::apply::Candidate;

use crate::message::{Failure, MessageState, NewDelivery, Notes};
use crate::script::CacheWrite;
use crate::store::CounterMove;

/// What a message came to, before it is committed.
#[derive(Clone, Default)]
pub struct Outcome {
    /// What is to be written to the clinic.
    pub applied: Option<Applied>,
    /// What is owed to whom.
    pub deliveries: Vec<NewDelivery>,
    /// Routed unless said otherwise.
    pub state: Option<MessageState>,
    /// Why it failed or was parked.
    pub failure: Option<Failure>,
    /// Who may be meant.
    pub candidates: Vec<Candidate>,
    /// What is told beside that.
    pub notes: Notes,
    /// The counters that scripts moved.
    pub counters: Vec<CounterMove>,
    /// What scripts wrote to caches.
    pub cached: Vec<CacheWrite>,
}

impl Outcome {
    /// What the message came to.
    pub fn state(&self) -> MessageState {
        self.state.unwrap_or(MessageState::Routed)
    }

    /// It could not be understood or written.
    pub fn failed(failure: Failure) -> Self {
        Outcome {
            state: Some(MessageState::Failed),
            failure: Some(failure),
            ..Outcome::default()
        }
    }

    pub(super) fn filtered() -> Self {
        Outcome {
            state: Some(MessageState::Filtered),
            ..Outcome::default()
        }
    }
}
