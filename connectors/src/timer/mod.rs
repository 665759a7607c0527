//! A timer: a message at set times, `{"tick":"2026-11-26T07:00:00+02:00"}`.
//!
//! ```toml
//! [source.timer]
//! every = "15m"                  # at every full quarter of an hour; takes no notice of the clock's changes
//!
//! [source.timer]
//! cron   = "0 7 * * 1-5"         # minute, hour, day, month, day of the week: lists, ranges, steps, mon and jan
//! zone   = "Europe/Bucharest"    # that of the clinic
//! missed = "once"                # or "skip"
//! ```
//!
//! | | |
//! |---|---|
//! | the hour that happens twice (autumn) | `cron` ticks in the first of the two |
//! | the hour that is left out (spring) | what `cron` has in it comes an hour later |
//! | ticks whose time passed while the program did not run | `"once"`: one tick for all of them, that of the last; `"skip"`: none. Up to a minute late is not missed |
//! | the very first start | begins with the next tick |
//! | killed between a tick and its storing | it is handed in again and known by its number: it counts once |
//! | the store can't take it | it is handed in again, at most a minute apart; what comes due meanwhile is one tick |
//! | a pattern that never comes (`0 0 31 2 *`) | refused by `punte check` |
//!
//! Which tick was the last is read from the messages that are stored. Absent by design: what to do at that time; the
//! channel's steps say it.

pub mod cron;
pub mod settings;
mod source;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{Connector, ConnectorError, Source, Stop, Surroundings};
use jiff::Timestamp;
use serde_json::Value;

use crate::values::{checked, tables};
use settings::TimerSettings;

/// What time it is, and waiting for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The clock is looked at so often, since it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);

/// Waits until a time has come. False: stopped before.
pub(crate) async fn wait_until<Sleep: Future<Output = ()>>(
    due: Timestamp,
    now: impl Fn() -> Timestamp,
    sleep: impl Fn(Duration) -> Sleep,
    stop: &Stop,
) -> bool {
    while !stop.is_cancelled() {
        match Duration::try_from(due.duration_since(now())) {
            Ok(left) if !left.is_zero() => tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(left.min(LOOK)) => {}
            },
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

/// The connector `timer`.
#[derive(Clone)]
pub struct Timers {
    clock: Arc<dyn Clock>,
}

impl Default for Timers {
    /// By the clock of the machine.
    fn default() -> Self {
        Timers::by(Arc::new(RealClock))
    }
}

impl Timers {
    /// By any clock.
    pub fn by(clock: Arc<dyn Clock>) -> Self {
        Timers { clock }
    }
}

#[async_trait]
impl Connector for Timers {
    fn name(&self) -> &'static str {
        "timer"
    }

    fn format(&self) -> Option<&'static str> {
        Some("json")
    }

    tables!(source = TimerSettings);

    async fn open_source(
        &self,
        settings: &Value,
        _surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = checked::<TimerSettings>(settings)?;
        Ok(Box::new(source::TimerSource {
            settings,
            clock: self.clock.clone(),
        }))
    }

    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}
