//! What the engine does for its store by the way: taking out what is old enough, and sealing anew what an older key sealed.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::host::Engine;
use crate::channel::{Channel, Keep};
use crate::connector::Stop;
use crate::message::Seen;
use crate::store::{Ages, Keeping, MasterKey, PrunePlace, PruneStep, ResealPlace, Store, StoreError};

/// How long a repeat is known again in a channel that is not there any more.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// The first look comes no later than that after the start.
const FIRST: Duration = Duration::from_secs(60);
/// Where the clock stood is kept under this name: no channel can have it.
const CLOCK: &str = "*clock";
/// How far the clock may move otherwise than time passes.
const STEP: Duration = Duration::from_secs(3600);
/// And how long it has to run evenly after that before it is believed.
const EVENLY: Duration = Duration::from_secs(24 * 3600);

/// For how long everything is kept, as channels and `punte.toml` say.
pub fn keeping<'a>(channels: impl IntoIterator<Item = &'a Channel>, all: &Keep) -> Keeping {
    let ages = |channel: &Channel| {
        let ages = Ages::new(&channel.keep, all, channel.dedup);
        (channel.id.clone(), ages)
    };
    Keeping {
        channels: channels
            .into_iter()
            .filter(|channel| channel.answers_of.is_none())
            .map(ages)
            .collect(),
        others: Ages::new(&Keep::default(), all, WEEK),
        journal: all.journal.unwrap_or_default(),
    }
}

impl Engine {
    /// For how long everything is kept now.
    pub fn keeping(&self) -> Keeping {
        let channels: Vec<Arc<Channel>> = self.lives().values().map(|life| life.channel()).collect();
        keeping(channels.iter().map(Arc::as_ref), &self.keep)
    }

    /// One step of a pass that takes out what is old enough; `act`: false only counts.
    pub async fn prune(&self, place: PrunePlace, act: bool) -> Result<PruneStep, StoreError> {
        let (keeping, now) = (self.keeping(), (self.world.now)());
        self.store.prune(&keeping, now, place, act).await
    }

    /// Notes that somebody has seen the dead deliveries of a message; how many that are.
    pub async fn see(
        &self,
        message: uuid::Uuid,
        by: String,
        reason: Option<String>,
    ) -> Result<u64, StoreError> {
        let at = (self.world.now)();
        self.store.see(message, &Seen { at, by, reason }).await
    }
}

impl Engine {
    /// Makes a new data key, which seals from now on; what older keys sealed is sealed anew by and by. Returns its number.
    pub async fn renew_key(&self, master: &MasterKey) -> Result<u8, StoreError> {
        let nr = self.store.renew_key(master).await?;
        tracing::info!(key = nr, "A new data key seals from now on.");
        self.renewed.notify_one();
        Ok(nr)
    }
}

/// Begins all of it, as long as the engine is there.
pub(super) fn begin(engine: &Arc<Engine>) {
    begin_to_prune(engine);
    let (store, renewed, stop) = (
        engine.store.clone(),
        engine.renewed.clone(),
        engine.tasks.stop().clone(),
    );
    engine.tasks.spawn(async move {
        while !stop.is_cancelled() {
            let pause = match reseal(store.as_ref(), &stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "What an older key sealed could not be sealed anew; it is tried again.");
                    Some(FIRST)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = renewed.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(EVENLY)) => {}
            }
        }
    });
}

/// Seals anew until nothing is left. Returns when to look again; none: nothing is to be done.
async fn reseal(store: &dyn Store, stop: &Stop) -> Result<Option<Duration>, StoreError> {
    let keys = store.seal_keys().await?;
    if keys.older.is_empty() {
        return Ok(None);
    }
    let begun = Instant::now();
    let mut count = 0;
    if !keys.is_resealed {
        let mut place = Some(ResealPlace::default());
        while let Some(at) = place {
            if stop.is_cancelled() {
                return Ok(None);
            }
            let step = store.reseal(at).await?;
            count += step.count;
            place = step.next;
        }
    }
    if count != 0 {
        tracing::info!(values = count, "What an older key sealed was sealed anew.");
        // Another pass shows whether that was all.
        return Ok(Some(Duration::ZERO));
    }
    for key in store.forget_keys(begun).await? {
        tracing::info!(
            key,
            "Nothing is sealed under this key any more; it was taken away."
        );
    }
    Ok(Some(FIRST))
}

/// Looks from time to time for what is old enough.
fn begin_to_prune(engine: &Arc<Engine>) {
    let Some(every) = engine.keep.every() else {
        return;
    };
    let (weak, stop) = (Arc::downgrade(engine), engine.tasks.stop().clone());
    engine.tasks.spawn(async move {
        let mut clock = Clock::default();
        let mut pause = every.min(FIRST);
        while !stopped_within(&stop, pause).await {
            pause = every;
            let Some(engine) = weak.upgrade() else { return };
            if engine.keeping().is_ever() {
                continue;
            }
            match clock.is_firm(engine.store.as_ref(), (engine.world.now)()).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(%error, "What is old enough could not be looked for; it is tried again.");
                    continue;
                }
            }
            drop(engine);
            pass(&weak, &stop).await;
        }
    });
}

async fn stopped_within(stop: &Stop, time: Duration) -> bool {
    tokio::time::timeout(time, stop.cancelled()).await.is_ok()
}

/// From the first message to the space that is given back.
async fn pass(engine: &Weak<Engine>, stop: &Stop) {
    let mut all = PruneStep::default();
    let mut place = Some(PrunePlace::default());
    while let Some(at) = place
        && !stop.is_cancelled()
    {
        let Some(engine) = engine.upgrade() else { return };
        match engine.prune(at, true).await {
            Ok(step) => {
                all.add(&step);
                place = step.next;
            }
            Err(error) => {
                tracing::warn!(%error, "What is old enough could not be taken out; it is tried again.");
                break;
            }
        }
    }
    for (channel, of) in &all.channels {
        if of.messages + of.but_a_row + of.bodies != 0 {
            tracing::info!(
                channel,
                messages = of.messages,
                but_a_row = of.but_a_row,
                bodies = of.bodies,
                "Messages that were old enough were taken out."
            );
        }
    }
    if !all.is_nothing() {
        tracing::info!(
            journal_rows = all.journal,
            big_bodies = all.blobs,
            bytes = all.bytes,
            "So were these, and the file gave back so much."
        );
    }
}

/// Whether the clock can be believed. One that was set wrong would make everything old at once: after a jump nothing is
/// taken out until it has run evenly for a day, so that somebody can see the warning.
#[derive(Default)]
struct Clock {
    last: Option<(Timestamp, Instant)>,
    firm_from: Option<Instant>,
}

impl Clock {
    async fn is_firm(&mut self, store: &dyn Store, now: Timestamp) -> Result<bool, StoreError> {
        let kept = match self.last {
            None => store.cursor(CLOCK).await?.and_then(|text| text.parse().ok()),
            Some(_) => None,
        };
        let is_firm = self.look(now, Instant::now(), kept);
        store.keep_cursor(CLOCK, &now.to_string()).await?;
        Ok(is_firm)
    }

    /// `kept`: where the clock stood when an engine last looked, for the first look of this one.
    fn look(&mut self, now: Timestamp, at: Instant, kept: Option<Timestamp>) -> bool {
        let is_even = match (self.last, kept) {
            (Some((before, then)), _) => {
                let passed = at.duration_since(then).as_secs_f64();
                let moved = now.duration_since(before).as_secs_f64();
                (moved - passed).abs() <= STEP.as_secs_f64()
            }
            // How long it stood is not known; a day is believed.
            (None, Some(before)) => {
                let moved = now.duration_since(before).as_secs_f64();
                (-STEP.as_secs_f64()..=EVENLY.as_secs_f64()).contains(&moved)
            }
            (None, None) => true,
        };
        self.last = Some((now, at));
        if !is_even {
            tracing::warn!(
                "The clock has jumped, or the program stood for more than a day. Nothing is taken out until the clock has run evenly for a day; look whether it is right."
            );
            self.firm_from = at.checked_add(EVENLY);
        }
        self.firm_from.is_none_or(|from| from <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_is_not_believed_for_a_day() {
        let begun = Instant::now();
        let hour = |n: u64| begun + Duration::from_secs(n * 3600);
        let wall = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap_or_default();
        let mut clock = Clock::default();
        assert!(clock.look(wall(0), hour(0), None));
        assert!(clock.look(wall(1), hour(1), None));
        // It is set ahead by a year.
        assert!(!clock.look(wall(8_762), hour(2), None));
        assert!(!clock.look(wall(8_763), hour(3), None));
        // And right again.
        assert!(!clock.look(wall(4), hour(4), None));
        assert!(!clock.look(wall(27), hour(27), None));
        assert!(clock.look(wall(28), hour(28), None));
        // A start long after, or before, what the last engine saw.
        assert!(!Clock::default().look(wall(100), begun, Some(wall(0))));
        assert!(!Clock::default().look(wall(0), begun, Some(wall(100))));
        assert!(Clock::default().look(wall(10), begun, Some(wall(0))));
    }
}
