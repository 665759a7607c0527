//! What goes on beside the engine: the watch, and the courier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::run::EngineError;
use jiff::Timestamp;

use super::{Courier, Watch};
use crate::overview::Lookout;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);

/// Looks for ever.
pub async fn watch(lookout: Arc<Lookout>, mut watch: Watch) {
    let begun = Instant::now();
    let mut failing = Failing::default();
    loop {
        let looked: Result<(), EngineError> = async {
            let overview = lookout.glance().await?;
            let now = overview.at;
            let open_since =
                |channel: &str, name: &str, since: Timestamp| open_since(&lookout, channel, name, since, now);
            Ok(watch.look(&overview, begun.elapsed(), &open_since).await?)
        }
        .await;
        failing.note(
            looked.map_err(|error| error.to_string()),
            "The alerts can't be looked at; it is tried again.",
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells for ever.
pub async fn tell(courier: Courier) {
    let mut failing = Failing::default();
    loop {
        let told = courier.tell((crate::world::real().now)()).await;
        failing.note(
            told.map_err(|error| error.to_string()),
            "Alerts can't be read or written down; it is tried again.",
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// How long a destination was open between two moments.
fn open_since(lookout: &Lookout, channel: &str, name: &str, since: Timestamp, now: Timestamp) -> Duration {
    let channel = lookout.engine.channel(channel);
    let destinations = channel.iter().flat_map(|channel| &channel.destinations);
    let mut named = destinations.filter(|destination| destination.name == name);
    match named.find_map(|destination| destination.window.as_ref()) {
        Some(window) => window.open_between(since, now),
        None => Duration::try_from(now.duration_since(since)).unwrap_or_default(),
    }
}

/// Says that something fails once, and not every two seconds.
#[derive(Default)]
struct Failing {
    is: bool,
}

impl Failing {
    fn note(&mut self, result: Result<(), String>, says: &'static str) {
        if let Err(error) = &result
            && !self.is
        {
            tracing::warn!(error, "{says}");
        }
        self.is = result.is_err();
    }
}
