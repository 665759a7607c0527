//! Waits for the next tick and hands it in, until it is stored.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::connector::{ConnectorError, Intake, Outcome, Stop};
use engine::message::Incoming;
use jiff::Timestamp;

use super::settings::{Missed, Timer};
use super::{Clock, wait_until};
use crate::sockets::before_the_end;

/// What the number of a tick begins with.
const NUMBER: &str = "tick-";
/// A tick that comes later than this was missed.
const LATE: Duration = Duration::from_secs(60);
/// The first pause and the longest, where the store can't take a tick or tell the last one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A timer that waits to be run.
pub(super) struct TimerSource {
    pub(super) settings: Timer,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl engine::connector::Source for TimerSource {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        before_the_end(self.tick(&intake, &stop), &stop).await;
        Ok(())
    }
}

impl TimerSource {
    async fn tick(&self, intake: &Intake, stop: &Stop) {
        let Some(mut last) = self.last(intake, stop).await else {
            return;
        };
        while let Some(due) = self.settings.schedule.next(last) {
            let sleep = |pause| self.clock.sleep(pause);
            if !wait_until(due, || self.clock.now(), sleep, stop).await {
                return;
            }
            let now = self.clock.now();
            // More than one may be due by now: the latest stands for all.
            let latest = self
                .settings
                .schedule
                .latest(now)
                .map_or(due, |latest| latest.max(due));
            let is_missed = latest.checked_add(LATE).is_ok_and(|late| late < now);
            match (is_missed, self.settings.missed) {
                (true, Missed::Skip) => {}
                (true, Missed::Once) | (false, Missed::Once | Missed::Skip) => {
                    if !self.hand_in(latest, intake, stop).await {
                        return;
                    }
                }
            }
            last = latest;
        }
        // A pattern whose time has run out for good, which the calendar does not have.
        stop.cancelled().await;
    }

    /// The last tick that was stored; at the very first start: now, since nothing was missed.
    async fn last(&self, intake: &Intake, stop: &Stop) -> Option<Timestamp> {
        let mut pause = PAUSES.0;
        while !stop.is_cancelled() {
            match intake.newest(NUMBER).await {
                Ok(Some(number)) => {
                    let at = number.strip_prefix(NUMBER).and_then(|at| at.parse().ok());
                    return Some(at.unwrap_or_else(|| self.clock.now()));
                }
                Ok(None) => return Some(self.clock.now()),
                Err(error) => {
                    tracing::warn!(%error, "The last tick of a timer is not known yet; it is asked for again.")
                }
            }
            self.pause(&mut pause, stop).await;
        }
        None
    }

    /// Hands a tick in until it is stored. Killed meanwhile, it is handed in again with the same number, and counts once.
    async fn hand_in(&self, at: Timestamp, intake: &Intake, stop: &Stop) -> bool {
        let local = at.to_zoned_datetime(self.settings.zone.clone());
        let body = serde_json::json!({ "tick": local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string() });
        let mut pause = PAUSES.0;
        while !stop.is_cancelled() {
            let incoming = Incoming {
                body: body.to_string().into(),
                big: None,
                content_type: "application/json".to_owned(),
                headers: vec![("tick".to_owned(), at.to_string())],
                received_at: self.clock.now(),
                identity: Some(format!("{NUMBER}{at}")),
            };
            match intake.accept(incoming).await.outcome {
                Outcome::Stored | Outcome::Failed => return true,
                Outcome::Unavailable => self.pause(&mut pause, stop).await,
            }
        }
        false
    }

    async fn pause(&self, pause: &mut Duration, stop: &Stop) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.clock.sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(PAUSES.1);
    }
}
