//! Takes notices to their receivers, again and again until they are taken. Each receiver gets its own in order; one that
//! does not answer holds up nobody else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use connectors::notice::{Notice, Way};
use engine::store::{AlertNotice, Store, StoreError};
use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Alerts;
use super::settings::AlertSettings;
use crate::overview::{lasts, moment};

/// The pause after the first try that failed; it doubles.
const FIRST: Duration = Duration::from_secs(2);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(300);
/// After so long nobody wants to know any more.
const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);
/// How many notices are looked at at once.
const PAGE: u32 = 1000;

/// All receivers, ready to be told.
#[derive(Default)]
pub struct Receivers {
    ways: BTreeMap<String, Box<dyn Way>>,
    name: String,
}

impl Receivers {
    /// Reads their secrets and certificates; an error names the receiver.
    pub async fn open(settings: &AlertSettings, folder: &Path) -> anyhow::Result<Self> {
        let mut ways = BTreeMap::new();
        for (name, receiver) in &settings.receiver {
            let way = receiver.open(folder).await;
            let way = way.map_err(|what| anyhow!("punte.toml: alerts.receiver.{name}: {what}"))?;
            ways.insert(name.clone(), way);
        }
        let name = settings.name.clone().unwrap_or_else(|| "Punte".to_owned());
        Ok(Receivers { ways, name })
    }

    /// Tells each, or one, that this is a test: why it could not be told, if so.
    pub async fn test(&self, only: Option<&str>, now: Timestamp) -> Vec<(String, Option<String>)> {
        let notice = Notice {
            id: format!("punte-test-{}", now.as_millisecond()),
            at: now,
            is_end: false,
            subject: format!("{}: a test of its alerts", self.name),
            text: "This is a test. Nothing is wrong.\n".to_owned(),
        };
        let meant = self
            .ways
            .iter()
            .filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
        let told = meant.map(async |(name, way)| (name.clone(), way.tell(&notice).await.err()));
        join_all(told).await
    }
}

/// Who tells.
pub struct Courier {
    /// Whom.
    pub alerts: Alerts,
    /// What.
    pub store: Arc<dyn Store>,
    /// By whose clock.
    pub zone: TimeZone,
}

impl Courier {
    /// Tells what is due.
    pub async fn tell(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut queues: BTreeMap<String, Vec<AlertNotice>> = BTreeMap::new();
        for notice in self.store.alert_notices(PAGE).await? {
            queues.entry(notice.receiver.clone()).or_default().push(notice);
        }
        let told = queues
            .into_iter()
            .map(|(receiver, notices)| self.tell_one(receiver, notices, now));
        join_all(told).await.into_iter().collect()
    }

    async fn tell_one(
        &self,
        receiver: String,
        notices: Vec<AlertNotice>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let current = self.alerts.current();
        for notice in notices {
            let alert = notice.alert.what.as_str();
            let Some(way) = current.receivers.ways.get(&receiver) else {
                tracing::warn!(%receiver, alert, "An alert is not told: its receiver is no longer in punte.toml.");
                self.store.alert_told(notice.nr).await?;
                continue;
            };
            if now < notice.due {
                break;
            }
            match way
                .tell(&self.notice(&notice, &current.receivers.name, now))
                .await
            {
                Ok(()) => self.store.alert_told(notice.nr).await?,
                Err(why) if is_old(&notice, now) => {
                    tracing::error!(%receiver, alert, why, "An alert could not be told within a week, and is given up.");
                    self.store.alert_told(notice.nr).await?;
                }
                Err(why) => {
                    let attempt = notice.attempts + 1;
                    tracing::warn!(%receiver, alert, attempt, why, "An alert could not be told; it is tried again.");
                    let pause = FIRST.saturating_mul(1 << notice.attempts.min(16)).min(LONGEST);
                    self.store
                        .alert_not_told(notice.nr, now.checked_add(pause).unwrap_or(now))
                        .await?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn notice(&self, notice: &AlertNotice, name: &str, now: Timestamp) -> Notice {
        let alert = &notice.alert;
        let since = moment(alert.began, &self.zone);
        let look = "How it goes: punte status. All alerts: punte alerts.";
        if notice.is_end {
            let ended = alert.ended.unwrap_or(now);
            let lasted = lasts(ended.duration_since(alert.began).as_secs_f64());
            return Notice {
                id: format!("punte-{}-{}-end", alert.nr, alert.began.as_millisecond()),
                at: ended,
                is_end: true,
                subject: format!("{name}: over: {}", alert.says),
                text: format!(
                    "It is over, since {}, after {lasted}.\n\nIt was: {}.\nSince {since}.\n\n{look}\n",
                    moment(ended, &self.zone),
                    alert.says
                ),
            };
        }
        Notice {
            id: format!("punte-{}-{}-begin", alert.nr, alert.began.as_millisecond()),
            at: alert.began,
            is_end: false,
            subject: format!("{name}: {}", alert.says),
            text: format!(
                "{}.\nSince {since}.\n\nYou get one more message when it is over.\n\n{look}\n",
                alert.says
            ),
        }
    }
}

fn is_old(notice: &AlertNotice, now: Timestamp) -> bool {
    let since = if notice.is_end {
        notice.alert.ended
    } else {
        Some(notice.alert.began)
    };
    since
        .and_then(|since| since.checked_add(GIVE_UP).ok())
        .is_some_and(|end| end < now)
}
