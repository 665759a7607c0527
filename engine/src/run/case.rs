//! One message on its way through a channel, and the commit that is made of it and of what its steps came to.

use bytes::Bytes;
use clinic::apply::Decision;
use clinic::exchange::Keys;
use uuid::Uuid;

use super::outcome::Outcome;
use crate::channel::Channel;
use crate::message::{By, Incoming, MessageState, NewMessage, Origin, Resolution};
use crate::store::{Commit, Dedup, MadeBy};
/// One message to be committed.
#[derive(Clone)]
pub(super) struct Case {
    pub id: Uuid,
    pub again: Option<i64>,
    pub replay_of: Option<Uuid>,
    pub incoming: Incoming,
    pub keys: Keys,
    pub only: Option<Vec<String>>,
    pub origin: Option<Origin>,
    pub made_by: Option<MadeBy>,
    pub is_known_again: bool,
    /// Where in its body begins what tells it apart from another one of the same number.
    pub content_begins: usize,
    pub resolutions: Vec<Resolution>,
    /// What it answers, where it is an answer.
    pub sent: Option<Bytes>,
}

impl Case {
    pub fn new(id: Uuid, incoming: Incoming, keys: Keys) -> Self {
        Case {
            id,
            again: None,
            replay_of: None,
            keys,
            incoming,
            only: None,
            origin: None,
            made_by: None,
            is_known_again: true,
            content_begins: 0,
            resolutions: vec![],
            sent: None,
        }
    }

    pub fn is_part(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.by == By::Part)
    }
}

/// What is written of a message, and of what its steps came to, all at once or not at all.
pub(super) fn unit(channel: &Channel, case: &Case, outcome: Outcome) -> Commit {
    let state = outcome.state();
    let is_known_again = case.is_known_again && case.replay_of.is_none() && case.keys.control_id.is_some();
    let mut made_by = case.made_by.clone();
    if let Some(ends) = made_by.as_mut().and_then(|made_by| made_by.ends.as_mut())
        && matches!(state, MessageState::Failed | MessageState::Parked)
    {
        let what = match channel.answers_of {
            Some(_) => format!("what came of the answer is {}", state.as_str()),
            None => format!("the message in {} is {}", channel.id, state.as_str()),
        };
        ends.why = Some(match ends.why.take() {
            Some(why) => format!("{why}; {what}"),
            None => what,
        });
    }
    // A report on storage commitment is told as often as it is asked for.
    let until_told = outcome.deliveries.iter().any(|delivery| {
        let mut all = channel.destinations.iter();
        all.any(|one| one.commits && one.name == delivery.destination)
    });
    Commit {
        message: NewMessage {
            id: case.id,
            replay_of: case.replay_of,
            channel: channel.id.clone(),
            incoming: case.incoming.clone(),
            keys: case.keys.clone(),
            state,
            failure: outcome.failure,
            candidates: outcome.candidates,
            origin: case.origin.clone(),
            resolutions: case.resolutions.clone(),
            notes: outcome.notes,
        },
        again: case.again,
        applied: outcome.applied,
        deliveries: outcome.deliveries,
        counters: outcome.counters,
        dedup: is_known_again.then_some(Dedup {
            window: channel.dedup,
            from: case.content_begins,
            until_told,
        }),
        made_by,
        asked: None,
    }
}

/// What people decided for it.
pub(super) fn decisions(resolutions: &[Resolution]) -> Vec<Decision> {
    resolutions
        .iter()
        .filter_map(|resolution| resolution.decision.clone())
        .collect()
}
