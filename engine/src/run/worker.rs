//! The worker of one destination: takes deliveries in order, sends, judges, records. One whose order goes by a key sends
//! several at once (`keyed.rs`).

mod ask;
mod bell;
mod commitment;
mod hands;
mod keyed;
mod older;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clinic::exchange::{Judgement, Response};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

pub(super) use self::bell::Bell;
pub(super) use self::hands::Claim;
use self::hands::InHand;
use super::World;
use super::asking::Askables;
use super::break_offs::How;
use super::breaker::Turned;
use super::door::{Door, Settled};
use super::numbers::EndNumbers;
use super::response::Question;
use super::servers::Servers;
use crate::body::StoredBody;
use crate::channel::{Channel, Destination as Settings, OnUnsure};
use crate::connector::{About, Destination, Outgoing, SendError, Stop};
use crate::format::{Format, Reads};
use crate::message::DeliveryState;
use crate::sabotage::{self, Switch};
use crate::store::{Attempted, Store, StoreError, Waiting};

/// How many deliveries are read at once; the store reads fewer where they are big, so that the memory of a worker is
/// bounded.
pub(super) const PAGE: u32 = 64;
/// How many results may be on their way to the disk.
const UNFLUSHED: usize = 256;
/// How often a worker looks without having been woken.
pub(super) const LOOK: Duration = Duration::from_secs(30);
/// The same where answers have a time by which they must have come.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
/// After a rest of so long the queue is looked at again: a person may have acted meanwhile.
const LONG_REST: Duration = Duration::from_secs(1);
/// How long a worker waits while a person's decision is written down.
const DECIDED: Duration = Duration::from_millis(10);
/// The pause after the store could not be read or written.
pub(super) const STORE_PAUSE: Duration = Duration::from_millis(500);

/// What is sent by all workers, for [`Switch::SkipOne`], which skips this one.
static SENDS: AtomicU32 = AtomicU32::new(0);
const SKIPPED: u32 = 20;

/// The worker of one destination.
pub(super) struct Worker {
    pub channel: Arc<Channel>,
    pub settings: Settings,
    pub format: Arc<dyn Format>,
    pub destination: Arc<dyn Destination>,
    /// Whether the far side says anything by itself; where it does not, what could be sent is accepted.
    pub answers: bool,
    pub store: Arc<dyn Store>,
    pub world: World,
    pub bell: Arc<Bell>,
    pub numbers: Arc<EndNumbers>,
    /// Ends it at once: a try under way is given a second.
    pub stop: Stop,
    /// Ends it gently: a try under way ends by itself. A child of `stop`.
    pub quit: Stop,
    /// The door that its answers go through; none: nothing comes of them.
    pub response: Option<Arc<Door>>,
    /// Those that can be asked what became of what is unsure.
    pub askables: Arc<Askables>,
    /// What servers were told.
    pub servers: Arc<Servers>,
}

/// What to do next with the first delivery in the queue.
enum Turn {
    Send,
    /// Wait until then, or for ever (a person has to act).
    Wait(Option<Timestamp>),
    /// It could go, but for the rate of the destination, or since that takes nothing.
    Rest(Duration),
    /// An old `sending`, or an old `unsure` of a destination that holds now: that it is not known what became of it is
    /// written down first.
    Lost,
}

impl Worker {
    /// Runs until stopped. What it leaves in the queue, the next worker of this destination finds there.
    pub async fn run(self) {
        let server = self.settings.end.format_settings.server.as_deref();
        self.servers.leads(&self.channel.id, &self.settings.name, server);
        match &self.settings.order_by {
            Some(order) => keyed::run(&self, order).await,
            None => self.one_by_one().await,
        }
    }

    async fn one_by_one(&self) {
        let mut done = 0;
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        let mut flushing = FuturesUnordered::new();
        let mut looked = Instant::now();
        loop {
            if self.quit.is_cancelled() {
                break;
            }
            if looked.elapsed() >= self.look() {
                looked = Instant::now();
                if self.give_up_waiting().await {
                    self.bell.ring_for_an_old_one();
                }
            }
            if self.bell.starts_anew() {
                // What is sent must be known to be sent before the queue is read from its start.
                while flushing.next().await.is_some() {}
                queue.clear();
                done = 0;
            }
            if queue.is_empty() {
                match self
                    .store
                    .waiting(&self.channel.id, &self.settings.name, done, PAGE)
                    .await
                {
                    Ok(waiting) => queue = waiting.into(),
                    Err(error) => {
                        self.store_failed(&error);
                        self.pause(STORE_PAUSE).await;
                        continue;
                    }
                }
            }
            let Some(head) = queue.front() else {
                if !flushing.is_empty() {
                    tokio::select! { Some(()) = flushing.next() => {} () = self.bell.rung() => {} () = self.quit.cancelled() => {} }
                    continue;
                }
                tokio::select! { () = self.bell.rung() => {} () = tokio::time::sleep(self.look()) => {} () = self.quit.cancelled() => {} }
                continue;
            };
            match self.turn(head) {
                Turn::Wait(until) => {
                    // What was sent before is written down while there is nothing else to do.
                    while flushing.next().await.is_some() {}
                    let look = self.look();
                    let pause = until.map_or(look, |at| duration_until((self.world.now)(), at).min(look));
                    // A person may act meanwhile.
                    queue.clear();
                    self.stand_still(pause, until).await;
                }
                Turn::Rest(rest) => {
                    while flushing.next().await.is_some() {}
                    if LONG_REST <= rest {
                        queue.clear();
                    }
                    self.stand_still(rest.min(self.look()), None).await;
                }
                Turn::Lost => {
                    if let Some(head) = queue.pop_front() {
                        self.lost(&head, None).await;
                    }
                    // What is behind it waits.
                    queue.clear();
                }
                Turn::Send => {
                    let Some(mut head) = queue.pop_front() else {
                        continue;
                    };
                    let Some(in_hand) = self.bell.take_up(head.id) else {
                        // A person decides about it, or something has come before it.
                        queue.clear();
                        self.pause(DECIDED).await;
                        continue;
                    };
                    let (attempted, response) = self.try_one(&mut head).await;
                    let over = attempted.state.is_over();
                    if over {
                        done = head.id;
                    }
                    if let Some(door) = self.door() {
                        // What answers do, they do in the order of their questions; and one that comes by another way
                        // is for the first delivery that is not yet known to be sent.
                        self.record_with_answer(&door, &head, attempted, response).await;
                        if !over {
                            queue.clear();
                        }
                    } else if over && self.settings.on_unsure == OnUnsure::Repeat {
                        flushing.push(self.record(attempted, Some(in_hand)));
                        while UNFLUSHED <= flushing.len() {
                            flushing.next().await;
                        }
                    } else {
                        while flushing.next().await.is_some() {}
                        self.record(attempted, Some(in_hand)).await;
                        queue.clear();
                    }
                }
            }
            while let Some(Some(())) = flushing.next().now_or_never() {}
        }
        while flushing.next().await.is_some() {}
    }

    /// Waits so long with what is first in the queue, or until then where the clock was set forward. What comes to its end
    /// meanwhile changes nothing: were the queue read for each, a destination that is down would cost more than one that
    /// takes everything.
    async fn stand_still(&self, pause: Duration, until: Option<Timestamp>) {
        let is_over = || until.is_some_and(|until| until <= (self.world.now)());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.bell.rung_for_an_old_one(is_over) => {}
            () = self.quit.cancelled() => {}
        }
    }

    /// What comes next: by the state of the delivery, and where it could go by the window and the rate of the
    /// destination. What is under way when the window shuts ends.
    fn turn(&self, head: &Waiting) -> Turn {
        match self.turn_by_state(head) {
            Turn::Send => self.turn_outside(0),
            turn @ (Turn::Wait(_) | Turn::Rest(_) | Turn::Lost) => turn,
        }
    }

    /// The same for a destination to which so many are under way.
    fn turn_outside(&self, under_way: usize) -> Turn {
        let now = (self.world.now)();
        if let Some(window) = self
            .settings
            .window
            .as_ref()
            .filter(|window| !window.is_open(now))
        {
            return Turn::Wait(window.shut_until(now));
        }
        let (bell, now) = (&self.bell, Instant::now());
        let of_rate = self
            .settings
            .rate
            .and_then(|rate| bell.tries.rest(rate, under_way, now));
        let of_breaker = self
            .settings
            .breaker
            .and_then(|breaker| bell.breaker.rest(breaker, now));
        of_rate.max(of_breaker).map_or(Turn::Send, Turn::Rest)
    }

    fn turn_by_state(&self, head: &Waiting) -> Turn {
        match head.state {
            DeliveryState::Queued => Turn::Send,
            DeliveryState::Unsure if self.settings.on_unsure == OnUnsure::Hold => Turn::Lost,
            DeliveryState::Retrying | DeliveryState::Unsure => match head.due {
                Some(due) if !self.is_due(head.id, due, (self.world.now)()) => Turn::Wait(Some(due)),
                Some(_) | None => Turn::Send,
            },
            DeliveryState::Sending => match self.settings.on_unsure {
                OnUnsure::Repeat => Turn::Send,
                OnUnsure::Hold | OnUnsure::Ask(_) => Turn::Lost,
            },
            DeliveryState::Held => Turn::Wait(None),
            DeliveryState::Sent | DeliveryState::Pending | DeliveryState::Dead | DeliveryState::Cancelled => {
                Turn::Send
            }
        }
    }

    /// Whether a delivery is to be tried again now. No pause of ours is longer than the longest one: where one seems to
    /// be, the clock was set back, unless the far side has asked for it.
    fn is_due(&self, delivery: i64, due: Timestamp, now: Timestamp) -> bool {
        due <= now || (after(now, self.longest_pause()) < due && !self.bell.is_asked_to_wait(delivery))
    }

    /// The longest pause with the spread of [`Worker::back_off`].
    fn longest_pause(&self) -> Duration {
        self.settings.retry.max * 110 / 100
    }

    /// One try, and its answer where steps follow it.
    async fn send(&self, head: &mut Waiting) -> (Attempted, Option<Response>) {
        let in_pieces = self.destination.takes_pieces();
        let needs = |beginning: &[u8]| match in_pieces {
            true => self.format.reads(beginning),
            false => Reads::Whole,
        };
        while let Err(error) = head.read(self.store.as_ref(), &needs).await {
            self.store_failed(&error);
            self.pause(STORE_PAUSE).await;
            if self.stop.is_cancelled() {
                let attempted = self.attempted(head, Verdict::retry("the program is stopping"), None);
                return (attempted, None);
            }
        }
        if self.settings.on_unsure != OnUnsure::Repeat && head.state != DeliveryState::Sending {
            // What is on its way must be known to be on its way before the first byte leaves.
            while let Err(error) = self.store.sending(head.id).await {
                self.store_failed(&error);
                self.pause(STORE_PAUSE).await;
                if self.stop.is_cancelled() {
                    let attempted = self.attempted(head, Verdict::retry("the program is stopping"), None);
                    return (attempted, None);
                }
            }
        }
        if sabotage::is_on(Switch::SkipOne) && SENDS.fetch_add(1, Ordering::Relaxed) == SKIPPED {
            return (self.attempted(head, Verdict::new("accepted", None), None), None);
        }
        let body = match self.destination.commits() {
            None => head.body.clone(),
            Some(grace) => match self.report(head, grace).await {
                Ok(report) => report,
                // Nobody was spoken to.
                Err(verdict) => return (self.attempted(head, verdict, None), None),
            },
        };
        let (body, telling) = match self.no_older(head, body).await {
            Ok(told) => told,
            Err(error) => {
                let verdict = Verdict::retry(&error.to_string());
                return (self.attempted(head, verdict, None), None);
            }
        };
        self.bell.breaker.begins();
        let outgoing = Outgoing {
            delivery: head.id,
            body,
            big: head.big.map(|name| StoredBody::new(self.store.vault(), name)),
            content_type: head.content_type.clone(),
            about: self.about(head),
        };
        let format = self.format.clone();
        let sent = outgoing.body.clone();
        let mine = move |candidate: &[u8]| format.is_answer_to(&sent, candidate);
        let begun = Instant::now();
        let sending = AssertUnwindSafe(self.destination.send(&outgoing, &mine)).catch_unwind();
        let answer = tokio::select! {
            answer = sending => answer.unwrap_or_else(|_| Err(SendError::Unsure { why: "the connector panicked".into() })),
            // A try under way is given a second to end; after that it is unsure, as after a crash.
            () = stopped_for(&self.stop, Duration::from_secs(1)) => Err(SendError::Unsure { why: "the program was stopped while it was sent".into() }),
        };
        self.numbers.answered(begun.elapsed());
        if let Some(rate) = self.settings.rate {
            self.bell.tries.note(rate, Instant::now());
        }
        let mut is_judged = true;
        let (verdict, response) = match answer {
            Ok(response) if !self.answers => (Verdict::new("accepted", None), Some(response)),
            Ok(response) => {
                let judge = AssertUnwindSafe(|| self.format.judge(&outgoing.body, &response));
                let verdict = match std::panic::catch_unwind(judge) {
                    Ok(judgement) => Verdict::from(judgement),
                    Err(_) => Verdict::unsure("the judgement of its answer panicked; please report it"),
                };
                let verdict = match verdict.word == "retry" && self.format.may_mean_this_one(&response) {
                    true => {
                        is_judged = false;
                        self.put_off(head, verdict)
                    }
                    false => verdict,
                };
                (verdict, Some(response))
            }
            Err(SendError::Retry { why, after }) => (
                Verdict {
                    after,
                    ..Verdict::retry(&why)
                },
                None,
            ),
            Err(SendError::Refused { why }) => (Verdict::new("refused", Some(why)), None),
            Err(SendError::Unsure { why }) => (Verdict::unsure(&why), None),
            Err(SendError::BrokenOff { why, is_sent }) => (self.broken_off(head.id, why, is_sent), None),
        };
        if is_judged && response.is_some() && matches!(verdict.word, "accepted" | "pending" | "refused") {
            self.bell.break_offs.taken(head.id);
        }
        self.turn_breaker(verdict.word);
        let verdict = match &telling {
            Some(telling) => older::told(telling, verdict),
            None => verdict,
        };
        // Kept a second time only where something comes of it.
        let answer = match self.response {
            Some(_) => response.clone(),
            None => None,
        };
        let body = response.map(|response| Bytes::from(response.body));
        (self.attempted(head, verdict, body), answer)
    }

    /// What it means that the far side broke off at a message: it is tried again, until that was often enough to be a
    /// refusal. Where a lost answer is no mere repetition, it stays that.
    fn broken_off(&self, delivery: i64, why: String, is_sent: bool) -> Verdict {
        if is_sent && self.settings.on_unsure != OnUnsure::Repeat {
            return Verdict::unsure(&why);
        }
        match self.bell.break_offs.not_taken(delivery, How::BrokeOff) {
            Some(refusal) => Verdict::new("refused", Some(format!("{refusal}. The last time: {why}"))),
            None if is_sent => Verdict::unsure(&why),
            None => Verdict::retry(&why),
        }
    }

    /// What it means that the far side puts a message off by its answer: it is tried again, until that was for long enough to be a
    /// refusal.
    fn put_off(&self, head: &Waiting, verdict: Verdict) -> Verdict {
        let now = (self.world.now)();
        let patience = self.settings.retry.put_off;
        let how = How::PutOff {
            tried: self.tried_for(head.first_attempt_at.unwrap_or(now), now, patience),
            patience,
        };
        match self.bell.break_offs.not_taken(head.id, how) {
            Some(refusal) => {
                let last = verdict.why.unwrap_or_default();
                Verdict::new("refused", Some(format!("{refusal}. The last time: {last}")))
            }
            None => verdict,
        }
    }

    /// What the destination may say of the message beside its bytes.
    fn about(&self, head: &Waiting) -> About {
        let (format, body) = (self.format.clone(), head.body.clone());
        About {
            message: head.message,
            channel: self.channel.id.clone(),
            received_at: head.received_at,
            zone: self.settings.end.format_settings.zone.clone(),
            values: Arc::new(move |path| format.values(&body, path)),
            format: Some(self.format.clone()),
        }
    }

    /// What a verdict makes of the delivery.
    fn attempted(&self, head: &Waiting, verdict: Verdict, response: Option<Bytes>) -> Attempted {
        let now = (self.world.now)();
        let give_up = self.gives_up(head, now);
        let stuck = self.settings.on_error.state();
        let pause = || {
            after(
                now,
                self.back_off(head.id, head.attempts + 1)
                    .max(verdict.after.unwrap_or_default())
                    .min(verdict.at_most.unwrap_or(Duration::MAX)),
            )
        };
        if let Some(asked) = verdict.after.filter(|asked| self.longest_pause() < *asked) {
            self.bell.is_asked_for(head.id, asked);
        }
        let (state, due) = match verdict.word {
            "accepted" => (DeliveryState::Sent, None),
            "pending" => {
                let within = self.settings.late.within;
                (DeliveryState::Pending, within.map(|within| after(now, within)))
            }
            "refused" => (stuck, None),
            "unsure" => match self.settings.on_unsure {
                OnUnsure::Hold => (DeliveryState::Held, None),
                OnUnsure::Repeat if give_up => (stuck, None),
                // Whoever is asked is given the pause to be done with it.
                OnUnsure::Repeat | OnUnsure::Ask(_) => (DeliveryState::Unsure, Some(pause())),
            },
            _ if give_up => (stuck, None),
            _ => (DeliveryState::Retrying, Some(pause())),
        };
        Attempted {
            response,
            ..self.ended(head, now, verdict, (state, due))
        }
    }

    /// A try that has ended, and what the delivery is then: its state, and until when.
    fn ended(
        &self,
        head: &Waiting,
        now: Timestamp,
        verdict: Verdict,
        (state, due): (DeliveryState, Option<Timestamp>),
    ) -> Attempted {
        let number = head.attempts + 1;
        self.tell(head, state, &verdict, number);
        Attempted {
            delivery: head.id,
            number,
            at: now,
            state,
            due,
            verdict: verdict.word,
            why: verdict.why,
            reference: verdict.reference,
            response: None,
        }
    }

    /// Writes down that nobody knows what became of a delivery. Returns until when it waits; none: a person decides.
    async fn lost(&self, head: &Waiting, in_hand: Option<InHand>) -> Option<Timestamp> {
        let why = match head.state == DeliveryState::Sending {
            true => "the program ended while it was sent",
            false => "its answer is lost",
        };
        let attempted = self.attempted(head, Verdict::unsure(why), None);
        let due = attempted.due;
        self.record(attempted, in_hand).await;
        due
    }

    /// Whether it has been tried for so long that it is not tried again.
    fn gives_up(&self, head: &Waiting, now: Timestamp) -> bool {
        let first = head.first_attempt_at.unwrap_or(now);
        let give_up = self.settings.retry.give_up;
        give_up <= self.tried_for(first, now, give_up)
    }

    /// Whether the destination is to be left alone after this try, or is there again.
    fn turn_breaker(&self, verdict: &str) {
        let Some(settings) = self.settings.breaker else {
            return;
        };
        let (channel, destination) = (&self.channel.id, &self.settings.name);
        let is_open = |open: f64| {
            metrics::gauge!("punte_breaker_open", "channel" => channel.clone(), "destination" => destination.clone()).set(open);
        };
        let turned = self
            .bell
            .breaker
            .ends(settings, verdict, Instant::now(), (self.world.now)());
        match turned {
            Turned::Not => {}
            Turned::Open => {
                is_open(1.0);
                tracing::warn!(%channel, %destination, tries = settings.after, pause = ?settings.pause, "The destination takes nothing; it is left alone, and asked by one delivery after each pause.");
            }
            Turned::Closed => {
                is_open(0.0);
                tracing::info!(%channel, %destination, "The destination takes messages again.");
            }
        }
    }

    /// How long it has been tried: only the time counts in which the destination could be sent to. So a night in which
    /// it is shut uses nothing up, nor does the time in which it is left alone. Less than `matters` is told as it comes.
    fn tried_for(&self, first: Timestamp, now: Timestamp, matters: Duration) -> Duration {
        let all = duration_until(first, now);
        if all < matters {
            // To reckon is only worth it where it can matter.
            return all;
        }
        let open = |from, to| match &self.settings.window {
            Some(window) => window.open_between(from, to),
            None => duration_until(from, to),
        };
        let left_alone = self
            .settings
            .breaker
            .map(|_| self.bell.breaker.left_alone(first, now));
        let left_alone = left_alone.unwrap_or_default().into_iter();
        let left_alone: Duration = left_alone.map(|(from, to)| open(from, to)).sum();
        open(first, now).saturating_sub(left_alone)
    }

    /// Doubles with each try up to the longest; a tenth more or less, so that many do not come at once.
    fn back_off(&self, delivery: i64, number: u32) -> Duration {
        let retry = &self.settings.retry;
        let doubled = retry
            .first
            .saturating_mul(1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX));
        let base = doubled.min(retry.max);
        let spread = (delivery
            .unsigned_abs()
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(number)
            % 21) as u32;
        base * (90 + spread) / 100
    }

    /// Writes a result down, again and again until the store takes it: it must not be forgotten while we run.
    /// Until then it is in hand.
    async fn record(&self, attempted: Attempted, _in_hand: Option<InHand>) {
        loop {
            match self.store.attempted(attempted.clone()).await {
                Ok(()) => {
                    // Nobody has to be waiting.
                    let _ = self.bell.settled.send(attempted.delivery);
                    return;
                }
                Err(error) => {
                    self.store_failed(&error);
                    self.pause(STORE_PAUSE).await;
                    if self.stop.is_cancelled() {
                        return;
                    }
                }
            }
        }
    }

    /// Writes a result down together with what its answer does. Only an answer that decides does something, where it is a
    /// message and no mere status: the steps may run again on what has moved meanwhile, nothing is sent again.
    async fn record_with_answer(
        &self,
        door: &Arc<Door>,
        head: &Waiting,
        attempted: Attempted,
        response: Option<Response>,
    ) {
        let decides = matches!(attempted.verdict, "accepted" | "refused");
        let Some(response) = response.filter(|response| decides && door.format.is_message(&response.body))
        else {
            return self.record(attempted, None).await;
        };
        loop {
            let settled = match self.store.lineage(head.message).await {
                Ok(lineage) => {
                    let question = Question {
                        message: head.message,
                        lineage: lineage.unwrap_or_default(),
                        sent: head.body.clone(),
                    };
                    door.take(door.answer(&self.world, question, &response, attempted.clone()))
                        .await
                }
                Err(error) => Settled::Not(error),
            };
            match settled {
                Settled::Stored { .. } => {
                    // Nobody has to be waiting.
                    let _ = self.bell.settled.send(attempted.delivery);
                    return;
                }
                // The delivery is over otherwise; what became of this try is still worth knowing.
                Settled::Over => return self.record(attempted, None).await,
                Settled::Not(error) => {
                    self.store_failed(&error);
                    self.pause(STORE_PAUSE).await;
                    if self.stop.is_cancelled() {
                        return;
                    }
                }
            }
        }
    }

    /// The door that its answers go through: as it hangs now, since a reload changes a door and leaves the worker.
    fn door(&self) -> Option<Arc<Door>> {
        let first = self.response.as_ref()?;
        let now = first
            .doors
            .upgrade()
            .and_then(|doors| doors.get(&first.channel.id));
        Some(now.unwrap_or_else(|| first.clone()))
    }

    /// How often it is looked without having been rung.
    fn look(&self) -> Duration {
        let within = self.settings.late.within;
        within.map_or(LOOK, |within| within.clamp(SHORTEST_LOOK, LOOK))
    }

    /// Ends the wait for answers that did not come in time. True where there were some.
    async fn give_up_waiting(&self) -> bool {
        let Some(within) = self.settings.late.within else {
            return false;
        };
        let now = (self.world.now)();
        let overdue = self
            .store
            .overdue(&self.channel.id, &self.settings.name, now, PAGE)
            .await;
        let overdue = overdue.unwrap_or_else(|error| {
            self.store_failed(&error);
            vec![]
        });
        for waiting in &overdue {
            let why = format!("no answer came within {}", crate::channel::duration::show(within));
            let attempted = self.attempted(waiting, Verdict::new("refused", Some(why)), None);
            let verdict = "unsure";
            self.record(Attempted { verdict, ..attempted }, None).await;
        }
        !overdue.is_empty()
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! { () = tokio::time::sleep(pause) => {} () = self.stop.cancelled() => {} }
    }

    fn store_failed(&self, error: &StoreError) {
        tracing::error!(channel = %self.channel.id, destination = %self.settings.name, %error, "The queue could not be read or written; it is tried again.");
    }

    /// The one place for the log line and the number of a try.
    fn tell(&self, head: &Waiting, state: DeliveryState, verdict: &Verdict, number: u32) {
        self.numbers.tried(verdict.word);
        let why = verdict.why.as_deref().unwrap_or("");
        let (channel, destination) = (&self.channel.id, &self.settings.name);
        match state {
            DeliveryState::Held => {
                tracing::error!(%channel, %destination, delivery = head.id, attempt = number, why, "A delivery is held; the queue waits for a person.");
            }
            DeliveryState::Dead => {
                tracing::error!(%channel, %destination, delivery = head.id, attempt = number, why, "A delivery is set aside as dead.");
            }
            DeliveryState::Unsure if matches!(self.settings.on_unsure, OnUnsure::Ask(_)) => {
                tracing::warn!(%channel, %destination, delivery = head.id, attempt = number, why, "It is not known whether a delivery was taken; it is asked for.");
            }
            DeliveryState::Retrying | DeliveryState::Unsure | DeliveryState::Sending => {
                tracing::warn!(%channel, %destination, delivery = head.id, attempt = number, why, "A delivery was not taken; it is tried again.");
            }
            DeliveryState::Queued
            | DeliveryState::Sent
            | DeliveryState::Pending
            | DeliveryState::Cancelled => {
                tracing::debug!(%channel, %destination, delivery = head.id, attempt = number, "A delivery was taken.");
            }
        }
    }
}

/// What a try came to.
struct Verdict {
    word: &'static str,
    why: Option<String>,
    reference: Option<String>,
    /// How long the next try has to wait at least …
    after: Option<Duration>,
    /// … and at most.
    at_most: Option<Duration>,
}

impl Verdict {
    fn new(word: &'static str, why: Option<String>) -> Self {
        Verdict {
            word,
            why,
            reference: None,
            after: None,
            at_most: None,
        }
    }
    fn retry(why: &str) -> Self {
        Self::new("retry", Some(why.to_owned()))
    }
    fn unsure(why: &str) -> Self {
        Self::new("unsure", Some(why.to_owned()))
    }
}

impl From<Judgement> for Verdict {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Accepted => Self::new("accepted", None),
            Judgement::Pending { reference } => Verdict {
                reference: Some(reference),
                ..Self::new("pending", None)
            },
            Judgement::Refused { why } => Self::new("refused", Some(why)),
            Judgement::Retry { why } => Self::new("retry", Some(why)),
            Judgement::Unsure { why } => Self::new("unsure", Some(why)),
        }
    }
}

async fn stopped_for(stop: &Stop, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

pub(super) fn duration_until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(now)
}
