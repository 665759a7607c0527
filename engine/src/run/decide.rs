//! What a person decides about deliveries: sent again, done, cancelled. The worker that has one in its hand keeps it; all
//! others are the person's while it is written down, so that nothing is sent after the answer was given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::host::{Engine, EngineError};
use super::worker::{Bell, Claim};
use crate::message::{DeliveryRow, DeliveryState, MessageRow};
use crate::store::{DecidedWord, DeliveryDecision, Store};

/// A worker has this long to let go of what it has written down.
const LET_GO: Duration = Duration::from_millis(500);

/// What a person decides about the deliveries of a message.
#[derive(Clone, Debug)]
pub struct Decide {
    /// What is to become of them.
    pub word: DecidedWord,
    /// To these destinations alone; empty: to all of which it can be said.
    pub only: Vec<String>,
    /// Only what is in this state; none: in any.
    pub was: Option<DeliveryState>,
    /// Who decides: the name of a key.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Decided {
    /// What was changed.
    pub decided: Vec<Moved>,
    /// What was not, and why: somebody or something was quicker.
    pub refused: Vec<NotMoved>,
}

/// A delivery that was changed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// To which destination.
    pub destination: String,
    /// What it was.
    pub was: DeliveryState,
    /// What it is.
    pub state: DeliveryState,
}

/// A delivery that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NotMoved {
    /// To which destination.
    pub destination: String,
    /// Why.
    pub why: String,
}

impl Engine {
    /// Decides about deliveries of a message; the workers take note of it at once.
    pub async fn decide(&self, id: Uuid, decide: Decide) -> Result<Decided, EngineError> {
        let bell = |row: &MessageRow, delivery: &DeliveryRow| {
            let (channel, queue) = queue_of(&row.channel, &delivery.destination);
            Some(self.lanes.bell(channel, queue))
        };
        decided(self.store.as_ref(), &bell, id, decide, (self.world.now)()).await
    }
}

/// The same where no engine runs.
pub async fn decide_at_rest(
    store: &dyn Store,
    id: Uuid,
    decide: Decide,
    now: Timestamp,
) -> Result<Decided, EngineError> {
    decided(store, &|_, _| None, id, decide, now).await
}

async fn decided(
    store: &dyn Store,
    bell: &(dyn Fn(&MessageRow, &DeliveryRow) -> Option<Arc<Bell>> + Sync),
    id: Uuid,
    decide: Decide,
    now: Timestamp,
) -> Result<Decided, EngineError> {
    if decide.reason.trim().is_empty() {
        return Err(EngineError::Wrong(
            "say why: a reason is kept with each decision".into(),
        ));
    }
    let message = store
        .message(id)
        .await?
        .ok_or_else(|| EngineError::NotThere(format!("there is no message {id}")))?;
    let row = message.row;
    let chosen = chosen(&row, &decide)?;
    let mut came = Decided::default();
    for delivery in chosen {
        let destination = delivery.destination.clone();
        let refused = |why: String| NotMoved {
            destination: delivery.destination.clone(),
            why,
        };
        let bell = bell(&row, delivery);
        let claim = match &bell {
            Some(bell) => claimed(bell, delivery).await,
            None => None,
        };
        if bell.is_some() && claim.is_none() {
            let why = "it is being sent just now; look again when it is known what came of it";
            came.refused.push(refused(why.into()));
            continue;
        }
        let decision = DeliveryDecision {
            delivery: delivery.id,
            word: decide.word,
            at: now,
            by: decide.by.clone(),
            reason: decide.reason.clone(),
        };
        if store.decide(decision).await? {
            if let Some(claim) = &claim {
                claim.is_settled();
            }
            tracing::info!(channel = %row.channel, %destination, delivery = delivery.id, by = %decide.by, "A person has decided about a delivery: {}.", decide.word.as_str());
            came.decided.push(Moved {
                destination,
                was: delivery.state,
                state: decide.word.state(),
            });
        } else {
            came.refused
                .push(refused("it has changed meanwhile; look at it again".into()));
        }
    }
    match came.refused.first() {
        Some(first) if came.decided.is_empty() => Err(EngineError::NotNow(format!(
            "nothing of message {id} was changed; {}: {}",
            first.destination, first.why
        ))),
        Some(_) | None => Ok(came),
    }
}

/// A delivery in the hand of who decides. What is held or dead may be in its worker's hand for a moment after that was
/// written: it is waited for.
async fn claimed<'b>(bell: &'b Bell, delivery: &DeliveryRow) -> Option<Claim<'b>> {
    let rests = matches!(delivery.state, DeliveryState::Held | DeliveryState::Dead);
    let until = Instant::now() + LET_GO;
    loop {
        let claim = bell.claim(delivery.id);
        if claim.is_some() || !rests || until < Instant::now() {
            return claim;
        }
        tokio::time::sleep(LET_GO / 50).await;
    }
}

/// The deliveries that are meant.
fn chosen<'r>(row: &'r MessageRow, decide: &Decide) -> Result<Vec<&'r DeliveryRow>, EngineError> {
    let id = row.id;
    for name in &decide.only {
        if !row
            .deliveries
            .iter()
            .any(|delivery| delivery.destination == *name)
        {
            return Err(EngineError::NotThere(format!(
                "message {id} owes nothing to {name:?}; it has: {}",
                listed(row)
            )));
        }
    }
    let is_meant = |delivery: &&DeliveryRow| {
        (decide.only.is_empty() || decide.only.contains(&delivery.destination))
            && decide.was.is_none_or(|was| delivery.state == was)
    };
    let meant: Vec<&DeliveryRow> = row.deliveries.iter().filter(is_meant).collect();
    let can: Vec<&DeliveryRow> = meant
        .iter()
        .copied()
        .filter(|delivery| decide.word.is_for(delivery.state))
        .collect();
    if can.is_empty() || (!decide.only.is_empty() && can.len() < meant.len()) {
        let needs = match decide.word {
            DecidedWord::Released => "only what is held or dead can be released",
            DecidedWord::Done => "only what is held or dead can be called done",
            DecidedWord::Cancelled => {
                "what is sent is sent, and what is being sent just now can be cancelled when it is known what came of it"
            }
        };
        return Err(EngineError::NotNow(format!(
            "{needs}; message {id} has: {}. Nothing was changed",
            listed(row)
        )));
    }
    if row.pruned.is_some() && decide.word == DecidedWord::Released {
        return Err(EngineError::NotNow(format!(
            "the bytes of message {id} were taken out when their time had come, so that there is nothing to send; ask its sender for it again"
        )));
    }
    Ok(can)
}

/// `ris held, portal sent`
fn listed(row: &MessageRow) -> String {
    let each: Vec<String> = row
        .deliveries
        .iter()
        .map(|delivery| format!("{} {}", delivery.destination, delivery.state.as_str()))
        .collect();
    match each.is_empty() {
        true => "no deliveries".into(),
        false => each.join(", "),
    }
}

/// In whose queue a delivery waits: `orders-out@events` in that of a channel that listens.
fn queue_of<'n>(channel: &'n str, destination: &'n str) -> (&'n str, &'n str) {
    match destination.find('@') {
        Some(at) if 0 < at => destination.split_at(at),
        Some(_) | None => (channel, destination),
    }
}
