//! Several at once: the worker of a destination whose order goes by a key (`order_by`).
//!
//! The deliveries of one key are a *lane*: one behind the other. The first of each lane may be under way, at most
//! `parallel` of them; a lane whose first one waits, or is held, stands still, and the others go on. The queue is looked
//! through by its lanes alone; only what is about to be sent is opened, so that the memory it takes does not grow with
//! the queue.
//!
//! What has no lane (a message about several, or what was queued while the order went by another key) keeps its order
//! with all: it waits for all that is before it, and all that is after it waits.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

use super::{DECIDED, InHand, STORE_PAUSE, Turn, UNFLUSHED, Worker, duration_until};
use crate::channel::{OnUnsure, OrderBy};
use crate::message::DeliveryState;
use crate::store::{Ahead, Attempted, StoreError, Waiting};

/// How many lanes are known at once. Where so many stand still, the queue is not looked through further.
const LANES: usize = 16_384;
/// How many rows are looked through at once.
const PAGE: u32 = 1_024;

/// A lane; none: that of what keeps its order with all.
type Nr = Option<i64>;

/// A lane of which something waits or is under way.
struct Lane {
    /// Its first delivery.
    head: i64,
    stands: Stands,
    /// Others of it have been passed since.
    has_more: bool,
    /// Something may wait before its first one: the next is looked for from the beginning.
    anew: bool,
}

/// How it stands with the first delivery of a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It may go.
    Ready,
    UnderWay,
    /// It is tried again then.
    Until(Timestamp),
    /// A person has to act.
    Held,
}

/// One try that has ended.
struct Ended {
    nr: Nr,
    attempted: Attempted,
    /// It is on disk already.
    is_recorded: bool,
    /// Until it is.
    in_hand: InHand,
}

/// How far the queue has been looked through, and what was found.
struct Keyed<'w> {
    worker: &'w Worker,
    order: &'w OrderBy,
    lanes: HashMap<Nr, Lane>,
    /// The first ones that may go, the oldest first.
    ready: BTreeMap<i64, Nr>,
    due: BTreeSet<(Timestamp, Nr)>,
    page: VecDeque<Ahead>,
    /// All up to this number has been looked at.
    seen: i64,
    is_at_end: bool,
    /// The one by which a destination that takes nothing was asked last.
    asked: i64,
}

/// Runs until stopped.
pub(super) async fn run(worker: &Worker, order: &OrderBy) {
    let mut keyed = Keyed {
        worker,
        order,
        lanes: HashMap::new(),
        ready: BTreeMap::new(),
        due: BTreeSet::new(),
        page: VecDeque::new(),
        seen: 0,
        is_at_end: false,
        asked: 0,
    };
    let mut sending = FuturesUnordered::new();
    let mut flushing = FuturesUnordered::new();
    let mut looked = Instant::now();
    while !worker.quit.is_cancelled() {
        if worker.look() <= looked.elapsed() {
            looked = Instant::now();
            keyed.look_at_held();
        }
        if worker.bell.starts_anew() {
            // What is sent must be known to be sent before the queue is read from its start.
            while flushing.next().await.is_some() {}
            keyed.start_anew();
        }
        let mut pause = worker.look();
        while sending.len() < order.parallel {
            match keyed.next(sending.len()).await {
                Ok(Next::Send(nr, head, in_hand)) => sending.push(keyed.try_one(nr, *head, in_hand)),
                Ok(Next::Pause(rest)) => {
                    pause = rest.min(pause);
                    break;
                }
                Err(error) => {
                    worker.store_failed(&error);
                    pause = STORE_PAUSE;
                    break;
                }
            }
        }
        tokio::select! {
            Some(ended) = sending.next() => {
                if let Some((attempted, in_hand)) = keyed.ended(ended).await {
                    flushing.push(worker.record(attempted, Some(in_hand)));
                }
                while UNFLUSHED <= flushing.len() {
                    flushing.next().await;
                }
            }
            Some(()) = flushing.next() => {}
            () = worker.bell.rung() => keyed.is_at_end = false,
            () = worker.quit.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    // What is under way ends by itself; what waits stays in the queue.
    while let Some(ended) = sending.next().await {
        if !ended.is_recorded {
            flushing.push(worker.record(ended.attempted, Some(ended.in_hand)));
        }
    }
    while flushing.next().await.is_some() {}
}

/// What to do next.
enum Next {
    Send(Nr, Box<Waiting>, InHand),
    /// Nothing, for so long.
    Pause(Duration),
}

impl<'w> Keyed<'w> {
    /// The next delivery to be sent, while so many are under way.
    async fn next(&mut self, under_way: usize) -> Result<Next, StoreError> {
        let (worker, look) = (self.worker, self.worker.look());
        loop {
            self.wake((worker.world.now)());
            self.look_ahead().await?;
            let Some((id, nr)) = self.first() else {
                let now = (worker.world.now)();
                let due = self.due.first().map(|(due, _)| duration_until(now, *due));
                return Ok(Next::Pause(due.unwrap_or(look)));
            };
            match worker.turn_outside(under_way) {
                Turn::Send => {}
                Turn::Wait(until) => {
                    let now = (worker.world.now)();
                    return Ok(Next::Pause(
                        until.map_or(look, |until| duration_until(now, until)),
                    ));
                }
                Turn::Rest(rest) => return Ok(Next::Pause(rest)),
                Turn::Lost => return Ok(Next::Pause(look)),
            }
            let Some(in_hand) = worker.bell.take_up(id) else {
                // A person decides about it, or something has come before it.
                return Ok(Next::Pause(DECIDED));
            };
            let found = worker.store.delivery(id).await?;
            let Some(head) = found.filter(|head| !head.state.is_over()) else {
                // Somebody has decided about it meanwhile.
                self.go_on(nr, id).await?;
                continue;
            };
            match worker.turn_by_state(&head) {
                Turn::Send => {
                    // Known before the next one is looked at: where nobody is there, one asks.
                    worker.bell.breaker.begins();
                    self.asked = id;
                    self.stand(nr, Stands::UnderWay);
                    return Ok(Next::Send(nr, Box::new(head), in_hand));
                }
                Turn::Wait(until) => self.stand(nr, until.map_or(Stands::Held, Stands::Until)),
                Turn::Rest(_) => return Ok(Next::Pause(look)),
                Turn::Lost => {
                    let due = worker.lost(&head, Some(in_hand)).await;
                    self.stand(nr, due.map_or(Stands::Held, Stands::Until));
                }
            }
        }
    }

    /// The delivery that goes next: the oldest. Where the destination takes nothing, the one after that by which it was asked last: one
    /// that it never takes must not be the only one to ask.
    fn first(&self) -> Option<(i64, Nr)> {
        let after = match self.is_left_alone() {
            true => self.asked,
            false => 0,
        };
        let (before, behind) = (self.ready.range(..=after), self.ready.range(after + 1..));
        behind.chain(before).next().map(|(id, nr)| (*id, *nr))
    }

    fn is_left_alone(&self) -> bool {
        self.worker.settings.breaker.is_some() && self.worker.bell.left_alone().is_some()
    }

    /// One try. What a person or a pause decides about next is on disk when it ends, and so is every result where the
    /// far side must get nothing twice.
    fn try_one(&self, nr: Nr, mut head: Waiting, in_hand: InHand) -> impl Future<Output = Ended> + use<'w> {
        let worker = self.worker;
        async move {
            let (attempted, _) = worker.try_one(&mut head).await;
            let is_recorded = !attempted.state.is_over() || worker.settings.on_unsure != OnUnsure::Repeat;
            if is_recorded {
                worker.record(attempted.clone(), None).await;
            }
            Ended {
                nr,
                attempted,
                is_recorded,
                in_hand,
            }
        }
    }

    /// What follows a try that has ended: the next of its lane, or a pause of the lane. Returns what is still to be
    /// written down.
    async fn ended(&mut self, ended: Ended) -> Option<(Attempted, InHand)> {
        let Ended {
            nr,
            attempted,
            mut is_recorded,
            in_hand,
        } = ended;
        let anew = self.lanes.get(&nr).is_some_and(|lane| lane.anew);
        match attempted.state {
            DeliveryState::Sent | DeliveryState::Pending | DeliveryState::Dead | DeliveryState::Cancelled => {
            }
            // What it is tried again, or held, with is in its row. What may have come before it goes first.
            _ if anew => {
                self.look_again(nr);
                return None;
            }
            DeliveryState::Held => {
                self.stand(nr, Stands::Held);
                return None;
            }
            DeliveryState::Retrying
            | DeliveryState::Unsure
            | DeliveryState::Queued
            | DeliveryState::Sending => {
                let due = attempted.due.unwrap_or(attempted.at);
                self.stand(nr, Stands::Until(due));
                return None;
            }
        }
        let mut after = attempted.delivery;
        if anew {
            if !is_recorded {
                self.worker.record(attempted.clone(), None).await;
                is_recorded = true;
            }
            after = 0;
        }
        while let Err(error) = self.go_on(nr, after).await {
            self.worker.store_failed(&error);
            self.worker.pause(STORE_PAUSE).await;
            if self.worker.stop.is_cancelled() {
                break;
            }
        }
        (!is_recorded).then_some((attempted, in_hand))
    }

    /// The first of a lane is over: the next one of those that were passed is the first now.
    async fn go_on(&mut self, nr: Nr, after: i64) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.get(&nr) else {
            return Ok(());
        };
        let next = match nr {
            Some(number) if lane.has_more => {
                let (channel, destination) = (&self.worker.channel.id, &self.worker.settings.name);
                let store = &self.worker.store;
                store.next_of_lane(channel, destination, number, after).await?
            }
            Some(_) | None => None,
        };
        self.ready.remove(&lane.head);
        // What was not passed yet is found when it is: something that keeps its order with all may be before it.
        match next.filter(|next| *next <= self.seen) {
            Some(head) => {
                let lane = Lane {
                    head,
                    stands: Stands::Ready,
                    has_more: true,
                    anew: false,
                };
                self.lanes.insert(nr, lane);
                self.ready.insert(head, nr);
            }
            None => {
                self.lanes.remove(&nr);
            }
        }
        Ok(())
    }

    /// Looks through the queue until enough may go.
    async fn look_ahead(&mut self) -> Result<(), StoreError> {
        // Where it takes nothing, all may ask in their turn.
        let enough = match self.is_left_alone() {
            true => LANES,
            false => self.order.parallel,
        };
        let is_full = |keyed: &Self| {
            enough <= keyed.ready.len() || LANES <= keyed.lanes.len() || keyed.lanes.contains_key(&None)
        };
        while !is_full(self) {
            let Some(next) = self.page.front().copied() else {
                if self.is_at_end {
                    return Ok(());
                }
                let (channel, destination) = (&self.worker.channel.id, &self.worker.settings.name);
                let store = &self.worker.store;
                let page = store
                    .ahead(channel, destination, &self.order.written, self.seen, PAGE)
                    .await?;
                self.is_at_end = page.len() < PAGE as usize;
                self.page = page.into();
                continue;
            };
            if next.lane.is_none() && !self.lanes.is_empty() {
                return Ok(());
            }
            match self.lanes.entry(next.lane) {
                Entry::Occupied(lane) => lane.into_mut().has_more = true,
                Entry::Vacant(place) => {
                    place.insert(Lane {
                        head: next.id,
                        stands: Stands::Ready,
                        has_more: false,
                        anew: false,
                    });
                    self.ready.insert(next.id, next.lane);
                }
            }
            self.seen = next.id;
            self.page.pop_front();
        }
        Ok(())
    }

    /// Forgets a lane, and looks for its first one from the beginning.
    fn look_again(&mut self, nr: Nr) {
        if let Some(lane) = self.lanes.remove(&nr) {
            self.ready.remove(&lane.head);
        }
        self.page.clear();
        self.seen = 0;
        self.is_at_end = false;
    }

    /// From now on the first of a lane stands like this.
    fn stand(&mut self, nr: Nr, stands: Stands) {
        let Some(lane) = self.lanes.get_mut(&nr) else {
            return;
        };
        lane.stands = stands;
        match stands {
            Stands::Ready => {
                self.ready.insert(lane.head, nr);
                return;
            }
            Stands::Until(due) => {
                self.due.insert((due, nr));
            }
            Stands::UnderWay | Stands::Held => {}
        }
        self.ready.remove(&lane.head);
    }

    /// Lets go what is due.
    fn wake(&mut self, now: Timestamp) {
        while let Some((due, nr)) = self.first_due(now) {
            self.due.remove(&(due, nr));
            if self
                .lanes
                .get(&nr)
                .is_some_and(|lane| lane.stands == Stands::Until(due))
            {
                self.stand(nr, Stands::Ready);
            }
        }
    }

    /// A lane whose pause is over: the first one; or the last one, where the clock was set back.
    fn first_due(&self, now: Timestamp) -> Option<(Timestamp, Nr)> {
        let is_due = |(due, nr): &&(Timestamp, Nr)| {
            let lane = self.lanes.get(nr);
            lane.is_none_or(|lane| self.worker.is_due(lane.head, *due, now))
        };
        let ends = [self.due.first(), self.due.last()];
        ends.into_iter().flatten().find(is_due).copied()
    }

    /// A person may have acted meanwhile, and something may have come without a ring.
    fn look_at_held(&mut self) {
        self.is_at_end = false;
        for (nr, lane) in &mut self.lanes {
            if lane.stands == Stands::Held {
                lane.stands = Stands::Ready;
                self.ready.insert(lane.head, *nr);
            }
        }
    }

    /// Something may stand before what was looked at already: all but what is under way is looked at again.
    fn start_anew(&mut self) {
        self.lanes.retain(|_, lane| lane.stands == Stands::UnderWay);
        for lane in self.lanes.values_mut() {
            lane.has_more = true;
            lane.anew = true;
        }
        self.ready.clear();
        self.due.clear();
        self.page.clear();
        self.seen = 0;
        self.is_at_end = false;
    }
}
