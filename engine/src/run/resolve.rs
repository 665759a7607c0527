//! A parked message and what a person decides about it: it goes through the same steps with that decision, and keeps
//! its id, its place in the order and the time when it came.

use clinic::Kind;
use clinic::apply::{Choice, Decision};
use uuid::Uuid;

use super::host::{Engine, EngineError};
use crate::message::{Failure, MessageRow, MessageState, Resolution, ResolutionWord};

/// What a person decides.
#[derive(Clone, Debug)]
pub enum Resolve {
    /// It is about this one: the id of a candidate or of any patient, or the beginning of a candidate's id.
    Is(String),
    /// It is about a new one.
    New,
    /// Nothing is to come of it.
    Ignore,
}

/// What came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Resolved {
    /// What the message is now. `parked`: there is one more thing to decide.
    pub state: MessageState,
    /// Why it failed, or is parked again.
    pub failure: Option<Failure>,
}

impl Engine {
    /// Takes a parked message again with a person's decision.
    pub async fn resolve(
        &self,
        id: Uuid,
        resolve: Resolve,
        by: &str,
        reason: Option<String>,
    ) -> Result<Resolved, EngineError> {
        let parked = self
            .store
            .message(id)
            .await?
            .ok_or_else(|| EngineError::NotThere(format!("there is no message {id}")))?;
        if parked.row.state != MessageState::Parked {
            return Err(EngineError::NotNow(format!(
                "message {id} is not parked, it is {}; nothing was changed",
                parked.row.state.as_str()
            )));
        }
        let door = self.door(&parked.row.channel).ok_or_else(|| {
            EngineError::NotThere(format!(
                "the channel {:?} of message {id} is not there any more",
                parked.row.channel
            ))
        })?;
        let (word, decision) = self.decision(&parked.row, resolve).await?;
        let mut resolutions = parked.row.resolutions.clone();
        resolutions.push(Resolution {
            word,
            decision,
            by: by.to_owned(),
            at: (self.world.now)(),
            reason,
        });
        let sent = self.sent_of(&parked).await?;
        let resolved = door.resolve(parked, resolutions, sent).await?;
        let (state, failure) = resolved.ok_or_else(|| {
            EngineError::NotNow(format!(
                "somebody else has decided about message {id} meanwhile; nothing was changed"
            ))
        })?;
        Ok(Resolved { state, failure })
    }

    async fn decision(
        &self,
        row: &MessageRow,
        resolve: Resolve,
    ) -> Result<(ResolutionWord, Option<Decision>), EngineError> {
        let (word, choice) = match resolve {
            Resolve::Ignore => return Ok((ResolutionWord::Ignored, None)),
            Resolve::New => (ResolutionWord::New, Choice::New),
            Resolve::Is(who) => (ResolutionWord::Is, Choice::Is(self.chosen(row, &who).await?)),
        };
        let about = row.failure.as_ref().and_then(|failure| failure.place.as_ref());
        let key = about.ok_or_else(|| {
            EngineError::NotNow(format!(
                "message {} waits for more than a choice between records. Correct the clinic and replay it, replay it edited, or ignore it",
                row.id
            ))
        })?;
        let decision = Decision {
            key: key.0.clone(),
            choice,
        };
        Ok((word, Some(decision)))
    }

    /// The one that is meant by an id, or by the beginning of a candidate's.
    async fn chosen(&self, row: &MessageRow, who: &str) -> Result<Uuid, EngineError> {
        let near: Vec<Uuid> = row
            .candidates
            .iter()
            .map(|candidate| candidate.id)
            .filter(|id| 8 <= who.len() && id.to_string().starts_with(who))
            .collect();
        if let [one] = near.as_slice() {
            return Ok(*one);
        }
        let not_there = || {
            EngineError::NotThere(format!(
                "{who:?} is neither a candidate of this message nor the id of a patient. See: punte parked"
            ))
        };
        let id: Uuid = who.parse().map_err(|_| not_there())?;
        if self.store.read(Kind::Patient, id).await?.is_none() {
            return Err(not_there());
        }
        // Who is to be corrected here was decided before; the question of now is another one.
        let mut kinds = row.candidates.iter().map(|candidate| candidate.kind);
        match kinds.next() {
            Some(kind) if kind != Kind::Patient && kinds.all(|other| other == kind) => {
                Err(EngineError::NotNow(format!(
                    "message {} asks about a record of kind {} now, and {id} is a patient; nothing was changed. Choose a candidate, or a new one. \
                     Where another patient is meant than was decided before, ignore the message and replay it: it asks anew",
                    row.id,
                    kind.as_str()
                )))
            }
            Some(_) | None => Ok(id),
        }
    }
}
