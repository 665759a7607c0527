//! `ack = { delivered = "ris" }`: the sender waits for what a destination answers.
//!
//! A repeat finds the message in the store and waits for the same delivery again, also after a restart: what is waited
//! for is read from the store, and the worker only says when to look.

use std::time::Duration;

use clinic::exchange::{MapError, Reason, Stamp, Verdict};
use tokio::time::{Instant, sleep_until};

use super::door::{Door, Settled};
use crate::channel::Ack;
use crate::connector::{Acknowledgement, Outcome as Taken};
use crate::message::{DeliveryDetail, DeliveryState, MessageState};
use crate::store::StoreError;

/// How often it is looked without having been told: a person may have acted.
const LOOK: Duration = Duration::from_secs(5);

/// The longest answer that is kept whole with an attempt; a longer one was cut and can't be passed on.
const WHOLE: usize = 64 * 1024;

/// What has become of the delivery that a sender waits for.
enum Delivered {
    /// Nothing is owed there: the sender is told as usual.
    Nothing,
    /// It is decided.
    Decided(Box<DeliveryDetail>),
    /// Not within the time.
    Late,
}

impl Door {
    /// What the sender is told by the answer of the destination that the channel waits for; none: as usual.
    pub(super) async fn answered_by_destination(
        &self,
        body: &[u8],
        settled: &Settled,
    ) -> Option<Acknowledgement> {
        let Ack::Delivered { destination, within } = &self.channel.ack else {
            return None;
        };
        let Settled::Stored {
            id,
            received_at,
            state: MessageState::Routed,
            ..
        } = settled
        else {
            return None;
        };
        let stamp = Stamp {
            now: *received_at,
            id: *id,
        };
        let refused = |what: String, outcome: Taken| {
            let error = MapError::new(Reason::Internal, None, what);
            Acknowledgement {
                frames: self.format.replies(body, Verdict::Refused(&error), &stamp).frames,
                outcome,
                note: Some(error.to_string()),
                message: Some(*id),
                state: Some(MessageState::Routed),
                place: None,
            }
        };
        let delivery = match self.wait_for(*id, destination, *within).await {
            Ok(Delivered::Nothing) => return None,
            Ok(Delivered::Decided(delivery)) => delivery,
            Ok(Delivered::Late) => {
                let what = format!(
                    "{destination} has not answered within {}. The message is stored and will be sent; send it again \
                     to wait for the answer.",
                    crate::channel::duration::show(*within)
                );
                return Some(refused(what, Taken::Unavailable));
            }
            Err(error) => {
                let what = format!("{error}. Send it again later.");
                return Some(refused(what, Taken::Unavailable));
            }
        };
        let is_taken = matches!(delivery.row.state, DeliveryState::Sent | DeliveryState::Pending);
        let answer = self.passed_on(body, destination, &delivery);
        Some(match (is_taken, answer) {
            (true, answer) => Acknowledgement {
                frames: match answer {
                    Some(answer) => vec![answer],
                    None => self.format.replies(body, Verdict::Accepted, &stamp).frames,
                },
                outcome: Taken::Stored,
                note: None,
                message: Some(*id),
                state: Some(MessageState::Routed),
                place: None,
            },
            (false, Some(answer)) => Acknowledgement {
                frames: vec![answer],
                ..refused(said(&delivery, destination), Taken::Failed)
            },
            (false, None) => refused(said(&delivery, destination), Taken::Failed),
        })
    }

    /// The destination's answer, where the sender can read it as the answer to what it sent.
    fn passed_on(&self, body: &[u8], destination: &str, delivery: &DeliveryDetail) -> Option<Vec<u8>> {
        let end = &self
            .channel
            .destinations
            .iter()
            .find(|known| known.name == destination)?
            .end;
        let answer = delivery.attempts.last()?.response.as_ref()?;
        let is_whole = !answer.is_empty() && answer.len() < WHOLE;
        let is_ours = end.format == self.channel.source.format && self.format.is_answer_to(body, answer);
        (is_whole && is_ours).then(|| answer.to_vec())
    }

    async fn wait_for(
        &self,
        message: uuid::Uuid,
        destination: &str,
        within: Duration,
    ) -> Result<Delivered, StoreError> {
        let deadline = Instant::now() + within;
        // Listened to before the first look, so that nothing happens unheard between the two.
        let mut told = self.bells.get(destination).map(|bell| bell.settled());
        loop {
            let detail = self.store.message(message).await?;
            let delivery = detail
                .into_iter()
                .flat_map(|detail| detail.deliveries)
                .find(|delivery| delivery.row.destination == destination);
            let Some(delivery) = delivery else {
                return Ok(Delivered::Nothing);
            };
            match delivery.row.state {
                DeliveryState::Sent
                | DeliveryState::Pending
                | DeliveryState::Held
                | DeliveryState::Dead
                | DeliveryState::Cancelled => return Ok(Delivered::Decided(Box::new(delivery))),
                DeliveryState::Queued
                | DeliveryState::Sending
                | DeliveryState::Retrying
                | DeliveryState::Unsure => {}
            }
            let mine = async {
                match &mut told {
                    // Having missed some (an error) is a reason to look too.
                    Some(told) => while told.recv().await.is_ok_and(|id| id != delivery.row.id) {},
                    None => std::future::pending().await,
                }
            };
            let look = (Instant::now() + LOOK).min(deadline);
            tokio::select! { () = mine => {} () = sleep_until(look) => {} }
            if deadline <= Instant::now() {
                return Ok(Delivered::Late);
            }
        }
    }
}

/// Why a delivery was not taken, for the sender.
fn said(delivery: &DeliveryDetail, destination: &str) -> String {
    let why = delivery.row.last.as_deref().unwrap_or("it was not taken");
    format!(
        "{destination} did not take it ({}): {why}",
        delivery.row.state.as_str()
    )
}
