//! Holds the rules against how it goes, again and again, and keeps the episodes. The clock is passed in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::store::{Alert, Store, StoreError};
use jiff::Timestamp;

use super::Alerts;
use super::rules::{Known, judge};
use super::settings::{Condition, Rule};
use crate::overview::{Overview, lasts};

/// How often it is written down who was heard.
const WRITE_HEARD: Duration = Duration::from_secs(60);
/// How far back the clock is compared.
const HOUR: Duration = Duration::from_secs(3600);
/// The most episodes that can be on.
const MOST: u32 = 10_000;

/// The watch over one engine.
pub struct Watch {
    alerts: Alerts,
    store: Arc<dyn Store>,
    /// The episodes that are on; what is well again, since when (time since the start).
    on: BTreeMap<String, (Alert, Option<Duration>)>,
    heard: BTreeMap<String, Timestamp>,
    written: BTreeMap<String, Timestamp>,
    wrote: Option<Duration>,
    clock: VecDeque<(Duration, Timestamp)>,
}

impl Watch {
    /// Goes on with the episodes that are on in the store.
    pub async fn open(alerts: Alerts, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let episodes = store.alerts(MOST).await?;
        let on = episodes.into_iter().filter(|alert| alert.ended.is_none());
        let heard: BTreeMap<String, Timestamp> = store.heard().await?.into_iter().collect();
        Ok(Watch {
            alerts,
            on: on.map(|alert| (alert.what.clone(), (alert, None))).collect(),
            written: heard.clone(),
            heard,
            store,
            wrote: None,
            clock: VecDeque::new(),
        })
    }

    /// One look. `since_start` goes on evenly, whatever the clock does; `open_since` as in [`Known`].
    pub async fn look(
        &mut self,
        overview: &Overview,
        since_start: Duration,
        open_since: &(dyn Fn(&str, &str, Timestamp) -> Duration + Sync),
    ) -> Result<(), StoreError> {
        self.hear(overview, since_start).await?;
        let heard = self.waited_for(overview);
        let current = self.alerts.current();
        let wants_begun = |rule: &Rule| matches!(rule.condition, Condition::MppsSilent(_));
        let begun = match current.rules.iter().any(wants_begun) {
            true => self.store.begun().await?,
            false => vec![],
        };
        let known = Known {
            begun: &begun,
            heard: &heard,
            clock_moved: self.clock_moved(overview.at, since_start),
            open_since,
        };
        let findings = judge(&current.rules, overview, &known);
        let found: BTreeSet<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        let over: Vec<String> = self
            .on
            .keys()
            .filter(|what| !found.contains(what.as_str()))
            .cloned()
            .collect();
        for what in over {
            self.calm(&what, overview.at, since_start, current.calm).await?;
        }
        for finding in findings {
            if let Some((_, well_since)) = self.on.get_mut(&finding.what) {
                *well_since = None;
                continue;
            }
            let alert = Alert {
                nr: 0,
                what: finding.what,
                says: finding.says,
                receivers: finding.to,
                began: overview.at,
                ended: None,
            };
            self.store.alert_begins(&alert).await?;
            tracing::error!(alert = %alert.what, "Alert: {}.", alert.says);
            self.on.insert(alert.what.clone(), (alert, None));
        }
        metrics::gauge!("punte_alerts").set(self.on.len() as f64);
        Ok(())
    }

    /// Something is well: over, once it has been so for a while.
    async fn calm(
        &mut self,
        what: &str,
        now: Timestamp,
        since_start: Duration,
        calm: Duration,
    ) -> Result<(), StoreError> {
        let Some((alert, well_since)) = self.on.get_mut(what) else {
            return Ok(());
        };
        let since = *well_since.get_or_insert(since_start);
        if since_start.saturating_sub(since) < calm {
            return Ok(());
        }
        // Over since it was well, and not before it began, whatever the clock did.
        let over = now
            .checked_sub(since_start.saturating_sub(since))
            .unwrap_or(now)
            .max(alert.began);
        self.store.alert_ends(what, over).await?;
        let lasted = lasts(over.duration_since(alert.began).as_secs_f64());
        tracing::info!(alert = %what, "Over after {lasted}: {}.", alert.says);
        self.on.remove(what);
        Ok(())
    }

    /// Notes who was heard, and writes it down now and then.
    async fn hear(&mut self, overview: &Overview, since_start: Duration) -> Result<(), StoreError> {
        for channel in &overview.channels {
            if let Some(heard) = channel.heard {
                self.heard.insert(channel.id.clone(), heard);
            }
        }
        if self
            .wrote
            .is_some_and(|wrote| since_start.saturating_sub(wrote) < WRITE_HEARD)
        {
            return Ok(());
        }
        for (channel, at) in &self.heard {
            if self.written.get(channel) != Some(at) {
                self.store.hear(channel, *at).await?;
            }
        }
        self.written = self.heard.clone();
        self.wrote = Some(since_start);
        Ok(())
    }

    /// Since when each channel is silent. The time in which no engine ran counts nothing, unless the silence had been
    /// told before.
    fn waited_for(&self, overview: &Overview) -> BTreeMap<String, Timestamp> {
        let started = overview.since.unwrap_or(overview.at);
        let is_told = |channel: &str| {
            let of_channel = format!(" {channel}");
            self.on
                .keys()
                .any(|what| what.starts_with("silent ") && what.ends_with(&of_channel))
        };
        let since = |channel: &str| match self.heard.get(channel) {
            Some(heard) if is_told(channel) => *heard,
            Some(heard) => (*heard).max(started),
            None => started,
        };
        let channels = overview.channels.iter();
        channels
            .map(|channel| (channel.id.clone(), since(&channel.id)))
            .collect()
    }

    /// By how much the clock was set within the last hour: what it says has moved against the time since the start.
    fn clock_moved(&mut self, now: Timestamp, since_start: Duration) -> Duration {
        while self
            .clock
            .front()
            .is_some_and(|(at, _)| HOUR < since_start.saturating_sub(*at))
        {
            self.clock.pop_front();
        }
        let is_due = self
            .clock
            .back()
            .is_none_or(|(at, _)| Duration::from_secs(30) <= since_start.saturating_sub(*at));
        let moved = |(at, said): &(Duration, Timestamp)| {
            let expected = said.checked_add(since_start.saturating_sub(*at)).unwrap_or(now);
            now.duration_since(expected).unsigned_abs()
        };
        let most = self.clock.iter().map(moved).max().unwrap_or_default();
        if is_due {
            self.clock.push_back((since_start, now));
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use clinic::Record;
    use clinic::aggregate::{Meta, Source};
    use clinic::apply::Write;
    use clinic::diagnostics::{Order, OrderStatus};
    use clinic::imaging::{Imaging, PerformedStatus, PerformedStep};
    use clinic::value::When;
    use engine::message::{Incoming, MessageState, NewMessage};
    use engine::store::{Commit, Committed, MasterKey, SqliteOptions, SqliteStore};
    use jiff::SignedDuration;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::alerts::settings::AlertSettings;
    use crate::alerts::{Current, Receivers};
    use crate::overview::machine::Disk;
    use crate::overview::{ChannelView, QueueView};

    const CALM: Duration = Duration::from_secs(60);

    /// A clinic whose hours pass as fast as they are told to.
    struct Play {
        folder: tempfile::TempDir,
        key: MasterKey,
        text: &'static str,
        store: Arc<SqliteStore>,
        watch: Watch,
        overview: Overview,
        since_start: Duration,
    }

    impl Play {
        async fn begin(text: &'static str) -> Play {
            let folder = tempfile::tempdir().unwrap();
            let key = MasterKey::generate().unwrap();
            let store = SqliteStore::open(folder.path(), &key, SqliteOptions::default())
                .await
                .unwrap();
            let watch = Watch::open(current(text), store.clone()).await.unwrap();
            let at: Timestamp = "2026-05-05T08:00:00Z".parse().unwrap();
            let queue = QueueView {
                destination: "ris".into(),
                waiting: 0,
                states: BTreeMap::new(),
                dead_seen: 0,
                oldest: None,
                oldest_seconds: 0.0,
                shut: None,
                left_alone: None,
            };
            let channel = ChannelView {
                id: "adt".into(),
                state: "running".into(),
                rates: None,
                heard: None,
                messages: BTreeMap::new(),
                failed_today: 0,
                queues: vec![queue],
            };
            let overview = Overview {
                running: true,
                version: String::new(),
                at,
                since: Some(at),
                http: None,
                channels: vec![channel],
                disk: None,
                store: Default::default(),
                certificates: vec![],
                alerts: vec![],
                attention: vec![],
            };
            Play {
                folder,
                key,
                text,
                store,
                watch,
                overview,
                since_start: Duration::ZERO,
            }
        }

        /// Another engine on the same store, so much later.
        async fn restart(mut self, pause: &str) -> Play {
            self.store.close().await.unwrap();
            drop(self.watch);
            let options = SqliteOptions::default();
            self.store = SqliteStore::open(self.folder.path(), &self.key, options)
                .await
                .unwrap();
            self.watch = Watch::open(current(self.text), self.store.clone()).await.unwrap();
            self.overview.at += SignedDuration::try_from(span(pause)).unwrap();
            self.overview.since = Some(self.overview.at);
            self.overview.channels[0].heard = None;
            self.since_start = Duration::ZERO;
            self
        }

        /// Time passes, with a look every half minute.
        async fn pass(&mut self, text: &str) {
            let until = self.since_start + span(text);
            while self.since_start < until {
                let step = Duration::from_secs(30).min(until - self.since_start);
                self.since_start += step;
                self.overview.at += SignedDuration::try_from(step).unwrap();
                self.look().await;
            }
        }

        async fn look(&mut self) {
            let now = self.overview.at;
            let open = move |_: &str, _: &str, since: Timestamp| {
                Duration::try_from(now.duration_since(since)).unwrap()
            };
            self.watch
                .look(&self.overview, self.since_start, &open)
                .await
                .unwrap();
        }

        fn queue(&mut self, state: &str, count: u64) {
            self.overview.channels[0].queues[0]
                .states
                .insert(state.into(), count);
        }

        /// Writes an aggregate.
        async fn store(&self, record: Record) {
            let id = uuid::Uuid::now_v7();
            let message = NewMessage {
                id,
                replay_of: None,
                channel: "ct".into(),
                incoming: Incoming {
                    body: id.to_string().into_bytes().into(),
                    big: None,
                    content_type: "application/dicom".into(),
                    headers: vec![],
                    received_at: self.overview.at,
                    identity: None,
                },
                keys: Default::default(),
                state: MessageState::Routed,
                failure: None,
                candidates: vec![],
                origin: None,
                resolutions: vec![],
                notes: Default::default(),
            };
            let write = Write {
                before: None,
                verb: "updated",
                keys: vec![],
                keys_changed: true,
                natural_keys: vec![],
                bookings: vec![],
                record: record.into(),
            };
            let commit = Commit {
                counters: vec![],
                message,
                again: None,
                applied: Some(clinic::Applied {
                    writes: vec![write],
                    ..Default::default()
                }),
                deliveries: vec![],
                dedup: None,
                made_by: None,
                asked: None,
            };
            let committed = self.store.commit(commit).await.unwrap();
            assert!(matches!(committed, Committed::Stored { .. }), "{committed:?}");
        }

        /// What was ever told to `it`, in order: `+` it began, `-` it is over.
        async fn told(&self) -> Vec<String> {
            let notices = self.store.alert_notices(1000).await.unwrap();
            let word = |is_end| if is_end { '-' } else { '+' };
            notices
                .iter()
                .map(|notice| format!("{}{}", word(notice.is_end), notice.alert.what))
                .collect()
        }
    }

    fn span(text: &str) -> Duration {
        engine::channel::duration::parse(text).unwrap()
    }

    fn current(text: &str) -> Alerts {
        let text = format!("{text}\n[receiver.it]\nsyslog = {{ to = \"udp://127.0.0.1:514\" }}\n");
        let settings: AlertSettings = toml::from_str(&text).unwrap();
        Alerts::new(Current {
            rules: settings.rules(&TimeZone::UTC, None).unwrap(),
            calm: CALM,
            receivers: Receivers::default(),
        })
    }

    #[tokio::test]
    async fn an_episode_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut play = Play::begin("[[rule]]\nheld = 1\n[[rule]]\nheld = 5").await;
        play.pass("1h").await;
        assert!(play.told().await.is_empty());
        play.queue("held", 1);
        play.pass("12h").await;
        play.queue("held", 6);
        play.pass("12h").await;
        assert_eq!(play.told().await, ["+held 1 adt/ris", "+held 5 adt/ris"]);
        play.queue("held", 0);
        play.pass("12h").await;
        let all = [
            "+held 1 adt/ris",
            "+held 5 adt/ris",
            "-held 1 adt/ris",
            "-held 5 adt/ris",
        ];
        assert_eq!(play.told().await, all);
        let alerts = play.store.alerts(10).await.unwrap();
        let lasted = alerts[1].ended.unwrap().duration_since(alerts[1].began);
        // Over since it was well, and not since that was believed.
        assert_eq!(lasted, SignedDuration::from_hours(24));
        // A new one is a new episode.
        play.queue("held", 1);
        play.pass("1h").await;
        assert_eq!(play.told().await.len(), 5);
    }

    #[tokio::test]
    async fn an_examination_that_does_not_end_is_told_by_its_station() {
        let mut play = Play::begin("[[rule]]\nmpps_silent = \"24h\"").await;
        let started: Timestamp = "2026-05-05T08:00:00Z".parse().unwrap();
        let id = uuid::Uuid::now_v7();
        play.store(examination(id, 1, PerformedStatus::InProgress, started))
            .await;
        play.pass("23h").await;
        assert!(play.told().await.is_empty());
        play.pass("2h").await;
        assert_eq!(play.told().await, ["+mpps_silent 1d CT1"]);
        // It goes on over a restart, and ends with the examination.
        let mut play = play.restart("10m").await;
        play.pass("1h").await;
        assert_eq!(play.told().await.len(), 1);
        play.store(examination(id, 2, PerformedStatus::Completed, started))
            .await;
        play.pass("5m").await;
        assert_eq!(play.told().await, ["+mpps_silent 1d CT1", "-mpps_silent 1d CT1"]);
    }

    /// An order that a modality has begun.
    fn examination(id: uuid::Uuid, version: u64, status: PerformedStatus, started: Timestamp) -> Record {
        let performed = PerformedStep {
            uid: "1.2.3".into(),
            status: Some(status),
            station_ae: Some("CT1".into()),
            started: Some(When::from_timestamp(started)),
            ..PerformedStep::default()
        };
        Record {
            meta: Meta {
                id,
                site: None,
                version,
                created_at: started,
                updated_at: started,
                source: Source::Actor {
                    name: "test".into(),
                    message: None,
                },
                held: Default::default(),
            },
            aggregate: Order {
                status: Some(OrderStatus::Active),
                imaging: Some(Imaging::default()),
                performed: vec![performed],
                ..Order::default()
            }
            .into(),
        }
    }

    #[tokio::test]
    async fn what_comes_and_goes_is_one_episode() {
        let mut play = Play::begin("[[rule]]\ndead = 1").await;
        for round in 0..40 {
            play.queue("dead", round % 2);
            play.pass("30s").await;
        }
        assert_eq!(play.told().await, ["+dead 1 adt/ris"]);
        // What is dead waits for nobody once a person has seen it.
        play.queue("dead", 1);
        play.overview.channels[0].queues[0].dead_seen = 1;
        play.pass("5m").await;
        assert_eq!(play.told().await, ["+dead 1 adt/ris", "-dead 1 adt/ris"]);
    }

    #[tokio::test]
    async fn an_episode_goes_on_over_a_restart() {
        let mut play = Play::begin("[[rule]]\nheld = 1").await;
        play.queue("held", 1);
        play.pass("1h").await;
        let mut play = play.restart("10m").await;
        play.pass("1h").await;
        assert_eq!(play.told().await, ["+held 1 adt/ris"], "it is not told again");
        let mut play = play.restart("10m").await;
        play.queue("held", 0);
        play.pass("1h").await;
        assert_eq!(
            play.told().await,
            ["+held 1 adt/ris", "-held 1 adt/ris"],
            "it ended while nobody looked"
        );
    }

    #[tokio::test]
    async fn silence_counts_in_its_hours_only_and_not_while_no_engine_ran() {
        let text = "[[rule]]\nsilent = \"2h\"\nchannels = [\"adt\"]\nwindow = { open = \"07:00-19:00\" }";
        let mut play = Play::begin(text).await;
        for _ in 0..11 {
            play.overview.channels[0].heard = Some(play.overview.at);
            play.pass("1h").await;
        }
        // The night is silent, and that is normal.
        play.pass("12h").await;
        assert_eq!(play.overview.at.to_string(), "2026-05-06T07:00:00Z");
        assert!(play.told().await.is_empty());
        // No engine runs in the morning: nobody can say that it was silent.
        let mut play = play.restart("3h").await;
        play.pass("1h").await;
        assert!(play.told().await.is_empty());
        play.pass("1h30m").await;
        assert_eq!(play.told().await, ["+silent 2h adt"]);
        // It goes on over a restart, and ends with the first message.
        let mut play = play.restart("10m").await;
        play.pass("1h").await;
        assert_eq!(play.told().await, ["+silent 2h adt"]);
        play.overview.channels[0].heard = Some(play.overview.at);
        play.pass("1h").await;
        assert_eq!(play.told().await, ["+silent 2h adt", "-silent 2h adt"]);
    }

    #[tokio::test]
    async fn queues_disk_and_clock_are_watched() {
        let text =
            "[[rule]]\nqueue_older = \"15m\"\n[[rule]]\ndisk_below = \"1 GB\"\n[[rule]]\nclock_off = \"5m\"";
        let mut play = Play::begin(text).await;
        play.overview.channels[0].queues[0].oldest = Some(play.overview.at);
        play.pass("14m").await;
        assert!(play.told().await.is_empty());
        play.pass("2m").await;
        assert_eq!(play.told().await, ["+queue_older 15m adt/ris"]);
        play.overview.disk = Some(Disk {
            free_bytes: 1 << 20,
            total_bytes: 1 << 40,
        });
        play.overview.channels[0].queues[0].oldest = None;
        play.pass("5m").await;
        // The clock is set back by an hour, as where somebody takes the zone for the time.
        play.overview.at -= SignedDuration::from_hours(1);
        play.pass("30m").await;
        let expected = [
            "+queue_older 15m adt/ris",
            "+disk_below 1073741824",
            "-queue_older 15m adt/ris",
            "+clock_off 5m",
        ];
        assert_eq!(play.told().await, expected);
        play.pass("2h").await;
        assert_eq!(
            play.told().await.last().map(String::as_str),
            Some("-clock_off 5m")
        );
    }
}
