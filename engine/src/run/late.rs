//! An answer that comes in by a source, over a connection of its own (HL7 v2.5.1 §2.9.3, the application acknowledgement
//! of enhanced mode): it names its question, and the delivery that waits for it gets it.
//!
//! It is never guessed whose it is: where several deliveries wait for an answer with that reference, the channel by which
//! it came decides (`answers = { by = … }`), else it fails and is listed. A delivery that is just being sent, or will be
//! sent again, is waited for: its far side may answer before we have written down that it has it.

use std::sync::Arc;
use std::time::Duration;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response};
use tokio::time::{Instant, sleep};

use super::door::{Door, Settled};
use super::numbers::EndNumbers;
use super::outcome::Outcome;
use super::response::Question;
use crate::message::{DeliveryState, Failure, Incoming, MessageState};
use crate::store::{Attempted, Awaited, MessageFilter, StoreError};

/// How long the sender of an answer waits for a delivery that is being sent.
const WAIT: Duration = Duration::from_secs(20);
/// How often it is looked whether it has been.
const LOOK: Duration = Duration::from_millis(50);
/// How many messages are looked through for an answer that came before.
const SAME: u32 = 20;

/// Whom an answer is for.
enum Found {
    /// Nobody who is known: it is a message like others.
    Nobody,
    /// A delivery that waits for it, and the door that its answers go through.
    One(Arc<Door>, Awaited),
    /// Deliveries to several destinations wait for it.
    Several(Vec<String>),
    /// A delivery that is being sent, or is to be sent again.
    UnderWay,
    /// Deliveries that have their answers.
    Answered(Vec<(Arc<Door>, Awaited)>),
}

impl Door {
    /// What became of an answer that came in by this channel; none: it is a message like others. `keys`: what it says of
    /// itself.
    pub(super) async fn late_answer(&self, keys: &Keys, incoming: &Incoming) -> Option<Settled> {
        let mut doors = self.doors.upgrade()?.answering();
        doors.retain(|door| {
            let by = door.channel.answers_of.as_ref().and_then(|of| of.by.as_ref());
            by.is_none_or(|by| *by == self.channel.id) && door.format.name() == self.format.name()
        });
        let reference = keys.answers.as_deref().filter(|_| !doors.is_empty())?;
        match self.settle_late(&doors, reference, incoming).await {
            Ok(settled) => settled,
            Err(error) => Some(self.refused(error)),
        }
    }

    async fn settle_late(
        &self,
        doors: &[Arc<Door>],
        reference: &str,
        incoming: &Incoming,
    ) -> Result<Option<Settled>, StoreError> {
        let until = Instant::now() + WAIT;
        loop {
            match self.whose(doors, reference, &incoming.body).await? {
                Found::Nobody => return Ok(None),
                Found::One(door, asked) => match self.give(&door, asked, incoming).await? {
                    // Somebody else has given it one meanwhile.
                    Some(Settled::Over) => {}
                    settled => return Ok(settled),
                },
                Found::Several(names) => {
                    let what = format!(
                        "deliveries to {} wait for an answer with this reference; say in their channel files by which \
                         channel the answers of each come: answers = {{ by = \"…\" }}",
                        names.join(" and ")
                    );
                    let failure = Failure::of("source", MapError::new(Reason::UnknownKey, None, what));
                    let settled = self
                        .keep(self.case(incoming.clone()), Outcome::failed(failure))
                        .await;
                    return Ok(Some(settled));
                }
                Found::Answered(answered) => {
                    for (door, asked) in answered {
                        if let Some(settled) = door.again(&asked, incoming).await? {
                            return Ok(Some(settled));
                        }
                    }
                    return Ok(None);
                }
                Found::UnderWay => {}
            }
            if until <= Instant::now() {
                let what = "what this answers is still being sent".to_owned();
                return Err(StoreError::Unavailable(what));
            }
            sleep(LOOK).await;
        }
    }

    /// Whom an answer with this reference is for.
    async fn whose(&self, doors: &[Arc<Door>], reference: &str, answer: &[u8]) -> Result<Found, StoreError> {
        // Looked at before what is pending: what becomes pending meanwhile is found in one of the two.
        let head = self.head(doors, answer).await?;
        let mut asked: Vec<(Arc<Door>, Awaited)> = vec![];
        for one in self.store.awaited(reference).await? {
            let door = doors.iter().find(|door| {
                let of = door.channel.answers_of.as_ref();
                of.is_some_and(|of| of.channel == one.channel && of.destination == one.destination)
            });
            if let Some(door) = door.filter(|door| door.format.is_answer_to(&one.body, answer)) {
                asked.push((door.clone(), one));
            }
        }
        // Those that say that their answers come by this channel come first.
        let is_named = |door: &Door| door.channel.answers_of.as_ref().is_some_and(|of| of.by.is_some());
        let (named, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(door, _)| is_named(door));
        let mut answered = vec![];
        for asked in [named, others] {
            let (open, over): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, one)| waits(one.state));
            answered.extend(over);
            let mut names: Vec<String> = open.iter().map(|(door, _)| door.channel.id.clone()).collect();
            names.dedup();
            if 1 < names.len() {
                return Ok(Found::Several(names));
            }
            // The same bytes sent twice (a replay): the first one first.
            if let Some((door, one)) = open.into_iter().next() {
                return Ok(Found::One(door, one));
            }
        }
        Ok(match head {
            Some(head) => head,
            None if answered.is_empty() => Found::Nobody,
            None => Found::Answered(answered),
        })
    }

    /// The first delivery of a queue, where it is the one that is answered. Answers are recorded before the next is sent:
    /// of what is not known to be sent only the first can be on its way.
    async fn head(&self, doors: &[Arc<Door>], answer: &[u8]) -> Result<Option<Found>, StoreError> {
        for door in doors {
            let Some(of) = &door.channel.answers_of else {
                continue;
            };
            let head = self.store.waiting(&of.channel, &of.destination, 0, 1).await?;
            let Some(mut head) = head.into_iter().next() else {
                continue;
            };
            head.read(self.store.as_ref(), &|beginning| door.format.reads(beginning))
                .await?;
            if !door.format.is_answer_to(&head.body, answer) {
                continue;
            }
            return Ok(Some(match head.state {
                // Nothing is sent before a person has decided; this answer decides it.
                DeliveryState::Held => Found::One(
                    door.clone(),
                    Awaited {
                        delivery: head.id,
                        message: head.message,
                        channel: of.channel.clone(),
                        destination: of.destination.clone(),
                        state: head.state,
                        attempts: head.attempts,
                        body: head.body,
                    },
                ),
                DeliveryState::Queued
                | DeliveryState::Sending
                | DeliveryState::Retrying
                | DeliveryState::Unsure
                | DeliveryState::Sent
                | DeliveryState::Pending
                | DeliveryState::Dead
                | DeliveryState::Cancelled => Found::UnderWay,
            }));
        }
        Ok(None)
    }

    /// Gives a delivery its answer. None: it is none that decides.
    async fn give(
        &self,
        door: &Arc<Door>,
        asked: Awaited,
        incoming: &Incoming,
    ) -> Result<Option<Settled>, StoreError> {
        let response = Response {
            content_type: Some(incoming.content_type.clone()),
            body: incoming.body.to_vec(),
            ..Response::default()
        };
        let on_error = door.channel.answers_of.as_ref().map(|of| of.on_error);
        let stuck = on_error.unwrap_or_default().state();
        let (state, verdict, why) = match door.format.judge(&asked.body, &response) {
            Judgement::Accepted => (DeliveryState::Sent, "accepted", None),
            // It has had its time: what it wants to be sent again is for a person to send again.
            Judgement::Refused { why } | Judgement::Retry { why } => (stuck, "refused", Some(why)),
            Judgement::Pending { .. } | Judgement::Unsure { .. } => return Ok(None),
        };
        let ends = Attempted {
            delivery: asked.delivery,
            number: asked.attempts + 1,
            at: (self.world.now)(),
            state,
            due: None,
            verdict,
            why,
            reference: None,
            response: Some(incoming.body.clone()),
        };
        let numbers = self.all_numbers.end(&asked.channel, &asked.destination);
        tell(&asked, &numbers, state, ends.why.as_deref().unwrap_or_default());
        let question = Question {
            message: asked.message,
            lineage: self.store.lineage(asked.message).await?.unwrap_or_default(),
            sent: asked.body,
        };
        let mut handed = door.answer(&self.world, question, &response, ends);
        handed.incoming.headers.clone_from(&incoming.headers);
        handed
            .incoming
            .headers
            .push(("came-by".to_owned(), self.channel.id.clone()));
        handed.incoming.received_at = incoming.received_at;
        handed.incoming.identity.clone_from(&incoming.identity);
        handed.is_known_again = true;
        let settled = door.take(handed).await;
        if let Some(doors) = self.doors.upgrade() {
            // What was held is over, or what waited is held: its worker is to look.
            doors.ring_for_an_old_one(&asked.channel, &asked.destination);
        }
        match settled {
            Settled::Not(error) => Err(error),
            settled => Ok(Some(settled)),
        }
    }

    /// The same answer once more: it is answered as the first was, and what failed runs again. None: it is another one.
    async fn again(&self, asked: &Awaited, incoming: &Incoming) -> Result<Option<Settled>, StoreError> {
        let filter = MessageFilter {
            channel: Some(self.channel.id.clone()),
            control_id: self.keys(incoming).control_id,
            limit: SAME,
            ..MessageFilter::default()
        };
        if filter.control_id.is_none() {
            return Ok(None);
        }
        for row in self.store.messages(&filter).await? {
            if row
                .origin
                .as_ref()
                .is_none_or(|origin| origin.delivery != asked.delivery)
            {
                continue;
            }
            let Some(first) = self.store.message(row.id).await? else {
                continue;
            };
            if first.body != incoming.body {
                continue;
            }
            if row.state == MessageState::Failed {
                return self.rerun(first, asked.body.clone()).await.map(Some);
            }
            return Ok(Some(Settled::Stored {
                id: row.id,
                state: row.state,
                failure: row.failure,
                received_at: row.received_at,
                is_repeat: true,
            }));
        }
        Ok(None)
    }
}

/// Whether a delivery can still get an answer.
fn waits(state: DeliveryState) -> bool {
    match state {
        DeliveryState::Pending | DeliveryState::Held => true,
        DeliveryState::Queued
        | DeliveryState::Sending
        | DeliveryState::Retrying
        | DeliveryState::Unsure
        | DeliveryState::Sent
        | DeliveryState::Dead
        | DeliveryState::Cancelled => false,
    }
}

/// The one place for the log line and the number of an answer that came later.
fn tell(asked: &Awaited, numbers: &EndNumbers, state: DeliveryState, why: &str) {
    let (channel, destination) = (&asked.channel, &asked.destination);
    let outcome = if state == DeliveryState::Sent {
        "accepted"
    } else {
        "refused"
    };
    numbers.tried(outcome);
    match state {
        DeliveryState::Held => {
            tracing::error!(%channel, %destination, delivery = asked.delivery, why, "A delivery was refused later and is held; the queue waits for a person.");
        }
        DeliveryState::Dead => {
            tracing::error!(%channel, %destination, delivery = asked.delivery, why, "A delivery was refused later and is set aside as dead.");
        }
        DeliveryState::Sent
        | DeliveryState::Queued
        | DeliveryState::Sending
        | DeliveryState::Pending
        | DeliveryState::Retrying
        | DeliveryState::Unsure
        | DeliveryState::Cancelled => {
            tracing::debug!(%channel, %destination, delivery = asked.delivery, "A delivery was accepted later.");
        }
    }
}
