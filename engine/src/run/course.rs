//! What one message begins and others go on with: an examination of a modality. As long as a person has to decide about the
//! beginning, it can't begin a second time, and what goes on with it waits behind it.

use std::collections::BTreeMap;

use clinic::exchange::{Course, Keys, Reason};
use jiff::Timestamp;
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::case::Case;
use super::door::Door;
use super::outcome::Outcome;
use crate::message::{Failure, MessageRow, MessageState, ResolutionWord};
use crate::store::{MessageFilter, StoreError};

/// The most messages of one control id that are looked at.
const MOST: u32 = 50;

/// So many messages are looked at with each look.
const PAGE: u32 = 500;

/// What is known of the beginning of what a message is part of.
#[derive(Clone, Copy)]
pub(super) enum Beginning {
    /// Nothing that makes a difference.
    Past,
    /// This message is one, and this other one came before it and is parked.
    Again(Uuid),
    /// It is parked.
    Parked(Uuid),
    /// A person decided that nothing is to come of it.
    Ignored,
}

impl Beginning {
    /// What a message comes to, in sight of its beginning.
    pub(super) fn weigh(self, outcome: Outcome) -> Outcome {
        let is_unknown = outcome.state() == MessageState::Failed
            && outcome
                .failure
                .as_ref()
                .is_some_and(|failure| failure.reason == Reason::UnknownKey);
        let failure = |reason, why: String| Failure {
            step: outcome
                .failure
                .as_ref()
                .map_or_else(|| "source".to_owned(), |failure| failure.step.clone()),
            reason,
            place: None,
            why,
        };
        match self {
            Beginning::Again(first) if outcome.state() != MessageState::Failed => {
                let why = format!(
                    "It was begun already by message {first}, which a person has to decide about. Nothing was done."
                );
                Outcome::failed(failure(Reason::Conflict, why))
            }
            Beginning::Parked(first) if is_unknown => {
                let why = format!(
                    "It goes on with what message {first} begins. Decide about that one: this one is taken then."
                );
                Outcome {
                    state: Some(MessageState::Parked),
                    failure: Some(failure(Reason::UnknownKey, why)),
                    ..Outcome::default()
                }
            }
            Beginning::Ignored if is_unknown => Outcome::filtered(),
            Beginning::Past | Beginning::Again(_) | Beginning::Parked(_) | Beginning::Ignored => outcome,
        }
    }
}

impl Door {
    /// The turn of a message that is part of a course: nothing else of any course is committed by this channel meanwhile.
    pub(super) async fn turn_of_course(&self, keys: &Keys) -> Option<MutexGuard<'_, ()>> {
        match self.format.course(keys) {
            Some(_) => Some(self.courses.lock().await),
            None => None,
        }
    }

    /// What is known of the beginning; the turn has to be held.
    pub(super) async fn beginning(&self, case: &Case) -> Result<Beginning, StoreError> {
        let Some(course) = self.format.course(&case.keys) else {
            return Ok(Beginning::Past);
        };
        // What a person takes again was meant so.
        if course.is_beginning && case.replay_of.is_some() {
            return Ok(Beginning::Past);
        }
        let mut rows = self.of_type(&course.begun_by, &course.begins).await?;
        rows.retain(|row| row.id != case.id);
        if course.is_beginning {
            let is_before = |row: &&MessageRow| case.again.is_none_or(|own| row.seq < own);
            let mut parked = rows.iter().filter(|row| row.state == MessageState::Parked);
            return Ok(parked
                .rfind(is_before)
                .map_or(Beginning::Past, |row| Beginning::Again(row.id)));
        }
        if let Some(row) = rows.iter().rfind(|row| row.state == MessageState::Parked) {
            return Ok(Beginning::Parked(row.id));
        }
        let is_ignored = |row: &MessageRow| {
            let last = row.resolutions.last();
            last.is_some_and(|last| last.word == ResolutionWord::Ignored)
        };
        Ok(match rows.iter().any(is_ignored) {
            true => Beginning::Ignored,
            false => Beginning::Past,
        })
    }

    /// Takes what waits behind a beginning that a person has decided about, in the order in which it came.
    pub(super) async fn go_on(&self, keys: &Keys) -> Result<(), StoreError> {
        let Some(course) = self.format.course(keys).filter(|course| course.is_beginning) else {
            return Ok(());
        };
        let Course {
            goes_on_by, goes_on, ..
        } = course;
        let mut waiting = vec![];
        for control_id in &goes_on {
            waiting.extend(self.of_type(&goes_on_by, control_id).await?);
        }
        waiting.retain(|row| row.state == MessageState::Parked);
        waiting.sort_by_key(|row| row.seq);
        self.take_again(waiting).await
    }

    /// Tries again what is parked with a message that a person has decided about, such as the other objects of its study. What
    /// is another question stays parked.
    pub(super) async fn take_with(&self, keys: &Keys) -> Result<(), StoreError> {
        let Some(order) = self.format.decided_with(keys) else {
            return Ok(());
        };
        let waiting = self.listed(Some(MessageState::Parked), Some(order)).await?;
        self.take_again(waiting).await
    }

    /// Takes messages again, those of them that are parked still.
    async fn take_again(&self, waiting: Vec<MessageRow>) -> Result<(), StoreError> {
        for row in waiting {
            let Some(stored) = self.store.message(row.id).await? else {
                continue;
            };
            if stored.row.state == MessageState::Parked {
                let case = self.case_of(stored, row.resolutions, None).await?;
                self.commit(case).await?;
            }
        }
        Ok(())
    }

    /// Takes what is still parked though a person has decided about its beginning, or about another object of its study: the
    /// program ended before what waited was taken.
    pub(super) async fn take_left(&self) -> Result<(), StoreError> {
        if !self.format.hangs_together() {
            return Ok(());
        }
        let mut decided = BTreeMap::new();
        for row in self.listed(Some(MessageState::Parked), None).await? {
            let keys = Keys {
                control_id: row.control_id.clone(),
                message_type: row.message_type.clone(),
                ..Keys::default()
            };
            let course = self.format.course(&keys);
            if course.as_ref().is_some_and(|course| course.is_beginning) {
                continue;
            }
            let Some(stored) = self.store.message(row.id).await? else {
                continue;
            };
            let case = self.case_of(stored, row.resolutions, None).await?;
            let is_left = match course {
                Some(_) => {
                    let _turn = self.turn_of_course(&case.keys).await;
                    !matches!(self.beginning(&case).await?, Beginning::Parked(_))
                }
                None => self.is_left_with(&case, &mut decided).await?,
            };
            if is_left {
                self.commit(case).await?;
            }
        }
        Ok(())
    }

    /// Whether a person has decided about what is decided together with a parked message, after that one came. What came
    /// later was taken in sight of the decision.
    async fn is_left_with(
        &self,
        case: &Case,
        decided: &mut BTreeMap<String, Option<Timestamp>>,
    ) -> Result<bool, StoreError> {
        let Some(order) = self.format.decided_with(&case.keys) else {
            return Ok(false);
        };
        let last = match decided.get(&order) {
            Some(known) => *known,
            None => {
                let mut rows = self.listed(None, Some(order.clone())).await?;
                rows.retain(|row| !matches!(row.state, MessageState::Parked | MessageState::Filtered));
                let resolutions = rows.iter().flat_map(|row| &row.resolutions);
                let last = resolutions.map(|resolution| resolution.at).max();
                decided.insert(order, last);
                last
            }
        };
        Ok(last.is_some_and(|at| case.incoming.received_at < at))
    }

    /// The messages of this channel in a state and with an order number, where one is said; oldest first.
    async fn listed(
        &self,
        state: Option<MessageState>,
        order: Option<String>,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let mut all = vec![];
        let mut before = None;
        loop {
            let filter = MessageFilter {
                channel: Some(self.channel.id.clone()),
                state,
                order: order.clone(),
                before,
                limit: PAGE,
                ..MessageFilter::default()
            };
            let rows = self.store.messages(&filter).await?;
            before = rows.last().map(|row| row.seq);
            let is_last = rows.len() < PAGE as usize;
            all.extend(rows);
            if is_last {
                break;
            }
        }
        all.reverse();
        Ok(all)
    }

    /// The messages of this channel that have a control id and a type, newest first.
    async fn of_type(&self, message_type: &str, control_id: &str) -> Result<Vec<MessageRow>, StoreError> {
        let filter = MessageFilter {
            channel: Some(self.channel.id.clone()),
            control_id: Some(control_id.to_owned()),
            limit: MOST,
            ..MessageFilter::default()
        };
        let mut rows = self.store.messages(&filter).await?;
        rows.retain(|row| row.message_type.as_deref() == Some(message_type));
        Ok(rows)
    }
}
