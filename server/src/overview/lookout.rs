//! Where the overview is made: over a running engine, or over the store where none runs.

use std::sync::Arc;
use std::time::Instant;

use engine::channel::Channel;
use engine::run::{Engine, EngineError};
use engine::store::Store;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::certificates::{self, Certificate};
use super::machine::{Disk, Measure, Sizes};
use super::pace::{LOOK, Pace};
use super::{Alive, Looking, Overview, look};
use crate::home::{Home, Settings};

/// Looks at the engine that runs in this process.
pub struct Lookout {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Its folder.
    pub home: Home,
    /// Its `punte.toml`.
    pub settings: Settings,
    /// The clinic's zone.
    pub zone: TimeZone,
    /// Where its HTTP interface listens.
    pub http: String,
    since: Timestamp,
    begun: Instant,
    pace: Pace,
    measure: Arc<Measure>,
}

impl Lookout {
    /// On this engine, which has just been started.
    pub fn new(engine: Arc<Engine>, home: &Home, settings: Settings, zone: TimeZone, http: String) -> Self {
        Lookout {
            engine,
            home: home.clone(),
            settings,
            zone,
            http,
            since: (crate::world::real().now)(),
            begun: Instant::now(),
            pace: Pace::default(),
            measure: Arc::new(Measure::new(home.data())),
        }
    }

    /// How it goes just now.
    pub async fn overview(&self) -> Result<Overview, EngineError> {
        self.look(true).await
    }

    /// The same for who looks every other second: what failed today is not counted.
    pub async fn glance(&self) -> Result<Overview, EngineError> {
        self.look(false).await
    }

    async fn look(&self, counts_failed: bool) -> Result<Overview, EngineError> {
        let ids = self.engine.channel_ids();
        let channels: Vec<_> = ids.iter().filter_map(|id| self.engine.channel(id)).collect();
        let (disk, sizes, certificates) = self.files(&channels).await;
        let rows = self.engine.channels().await?;
        self.note();
        let looking = Looking {
            store: self.engine.store().as_ref(),
            channels: &channels,
            alive: Some(Alive {
                rows: &rows,
                pace: &self.pace,
                since: self.since,
                http: self.http.clone(),
            }),
            disk,
            sizes,
            certificates,
            now: (crate::world::real().now)(),
            zone: &self.zone,
            counts_failed,
        };
        Ok(look(looking).await?)
    }

    /// Notes from time to time what has gone through, for the rates. Runs for ever.
    pub async fn keep_pace(&self, upkeep: impl Fn()) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            self.note();
            upkeep();
        }
    }

    fn note(&self) {
        self.pace.note(self.begun.elapsed(), self.engine.totals());
    }

    /// What is read from the disk, on a thread that may wait for it.
    async fn files(&self, channels: &[Arc<Channel>]) -> (Option<Disk>, Sizes, Vec<Certificate>) {
        let (measure, home, settings) = (self.measure.clone(), self.home.clone(), self.settings.clone());
        let channels = channels.to_vec();
        let read = tokio::task::spawn_blocking(move || {
            let certificates = certificates::all(&home, &settings, &channels);
            (measure.disk(), measure.sizes(), certificates)
        });
        read.await.unwrap_or_default()
    }
}

/// How it stands where no engine runs.
pub async fn of_the_store(
    home: &Home,
    store: &dyn Store,
    channels: Vec<Channel>,
) -> anyhow::Result<Overview> {
    let settings = home.settings()?;
    let channels: Vec<_> = channels.into_iter().map(Arc::new).collect();
    let measure = Measure::new(home.data());
    let looking = Looking {
        store,
        channels: &channels,
        alive: None,
        disk: measure.disk(),
        sizes: measure.sizes(),
        certificates: certificates::all(home, &settings, &channels),
        now: (crate::world::real().now)(),
        zone: &settings.time_zone()?,
        counts_failed: true,
    };
    Ok(look(looking).await?)
}
