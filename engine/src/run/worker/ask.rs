//! `on_unsure = { ask = … }`: what was sent and whose answer is lost is asked for before it is sent again.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use clinic::exchange::{Judgement, Response};
use futures_util::FutureExt;

use super::{STORE_PAUSE, Verdict, Worker, after, stopped_for};
use crate::actor::Actor;
use crate::channel::OnUnsure;
use crate::channel::ask::{Filled, Inquiry, Stamped};
use crate::format::Answered;
use crate::message::DeliveryState;
use crate::run::asking::{Asking, ON_UNSURE, Question, failed};
use crate::store::{Attempted, Waiting};

impl Worker {
    /// One try. What may be at the far side already is asked for, and sent only where it is surely not there.
    pub(super) async fn try_one(&self, head: &mut Waiting) -> (Attempted, Option<Response>) {
        if let (DeliveryState::Unsure, OnUnsure::Ask(inquiry)) = (head.state, &self.settings.on_unsure)
            && let Some(attempted) = self.inquire(inquiry, head).await
        {
            return (attempted, None);
        }
        self.send(head).await
    }

    /// Asks for a delivery. None: it is not there, it is on its way again, and that is on disk.
    async fn inquire(&self, inquiry: &Inquiry, head: &mut Waiting) -> Option<Attempted> {
        let unsure = |why: &str| Ok(Answered::Not(Judgement::Unsure { why: why.to_owned() }));
        let asking = AssertUnwindSafe(self.ask(inquiry, head)).catch_unwind();
        let asked = tokio::select! {
            asked = asking => asked.unwrap_or_else(|_| unsure("the question panicked; please report it")),
            () = stopped_for(&self.stop, Duration::from_secs(1)) => unsure("the program was stopped while it was asked"),
        };
        let now = (self.world.now)();
        let give_up = self.gives_up(head, now);
        let name = &inquiry.destination;
        let (word, why, state) = match &asked {
            Ok(Answered::Found(_)) => {
                let why = format!("{name} was asked, and has it");
                ("accepted", why, DeliveryState::Sent)
            }
            Ok(Answered::Several(count)) => {
                let why = format!("{name} was asked, and has {count} of it");
                ("accepted", why, DeliveryState::Sent)
            }
            Ok(Answered::Nothing) => {
                let state = match give_up {
                    true => self.settings.on_error.state(),
                    false => DeliveryState::Sending,
                };
                ("retry", format!("{name} was asked: it is not there"), state)
            }
            Ok(answered @ Answered::Not(_)) => {
                let state = match give_up {
                    true => DeliveryState::Held,
                    false => DeliveryState::Unsure,
                };
                let why = failed(name, answered).map_or_else(String::new, |error| error.what);
                ("unsure", why, state)
            }
            Err(why) => ("unsure", why.clone(), DeliveryState::Held),
        };
        let pause = || after(now, self.back_off(head.id, head.attempts + 1));
        let due = (state == DeliveryState::Unsure).then(pause);
        let attempted = self.ended(head, now, Verdict::new(word, Some(why)), (state, due));
        if state != DeliveryState::Sending {
            let has_answered = matches!(
                asked,
                Ok(Answered::Found(_) | Answered::Several(_) | Answered::Nothing)
            );
            // Whoever else was asked does not know whether this destination is there.
            let is_there = has_answered && *name == self.settings.name;
            self.turn_breaker(if is_there { "accepted" } else { "unsure" });
            return Some(attempted);
        }
        // Known to be on its way before the first byte leaves.
        while let Err(error) = self.store.attempted(attempted.clone()).await {
            self.store_failed(&error);
            self.pause(STORE_PAUSE).await;
            if self.stop.is_cancelled() {
                return Some(self.attempted(head, Verdict::unsure("the program is stopping"), None));
            }
        }
        head.state = state;
        head.attempts = attempted.number;
        None
    }

    /// What is answered about a delivery. An error: it can't be asked for.
    async fn ask(&self, inquiry: &Inquiry, head: &mut Waiting) -> Result<Answered, String> {
        let later = |why: String| Ok(Answered::Not(Judgement::Retry { why }));
        let reads = |beginning: &[u8]| self.format.reads(beginning);
        if let Err(error) = head.read(self.store.as_ref(), &reads).await {
            self.store_failed(&error);
            return later(error.to_string());
        }
        let (channel, name) = (&self.channel, &inquiry.destination);
        let Some(askable) = self.askables.get(&channel.id, name) else {
            return later("it stands still: a person has stopped it (punte channels)".to_owned());
        };
        let stamped = Stamped {
            id: (self.world.new_id)(),
            now: (self.world.now)(),
            zone: channel.source.format_settings.zone.as_deref(),
        };
        let value = |path: &str| self.format.values(&head.body, path);
        let body = match inquiry.question.fill(askable.format(), stamped, &value) {
            Ok(Filled::Question(body)) => Bytes::from(body),
            Ok(Filled::Lacks(path)) => {
                return Err(format!(
                    "{path} has no value, so that {name} can't be asked for it"
                ));
            }
            Err(error) => return Err(format!("{name} can't be asked for it: {error}")),
        };
        let mut all = channel.destinations.iter();
        let idx = all.position(|known| known.name == self.settings.name);
        let question = Question {
            step: format!("destination[{}]{ON_UNSURE}", idx.unwrap_or_default()),
            destination: name.clone(),
            body,
            within: inquiry.within,
        };
        let asking = Asking {
            store: self.store.as_ref(),
            world: &self.world,
            askables: &self.askables,
            channel: &channel.id,
            actor: Actor {
                channel: Some(channel.id.clone()),
                ..Actor::default()
            },
            purpose: None,
            message: Some(head.message),
            patients: &self.format.keys(&head.body).patients,
        };
        match asking.ask(&question).await {
            Ok(told) => Ok(told.heard.answered),
            Err(error) => later(format!("what it answered could not be recorded: {error}")),
        }
    }
}
