//! The alerts as `punte.toml` has them: read at the start, and again by `punte reload`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;

use super::Receivers;
use super::settings::{AlertSettings, Rule};

/// The rules and those who are told.
pub struct Current {
    /// What is looked for.
    pub(super) rules: Vec<Rule>,
    /// How long something has to be well before it is over.
    pub(super) calm: Duration,
    /// Who is told.
    pub receivers: Receivers,
}

impl Current {
    /// Reads secrets and certificates; an error names what is wrong.
    pub async fn open(settings: &AlertSettings, zone: &TimeZone, folder: &Path) -> anyhow::Result<Self> {
        Ok(Current {
            // What is wrong with a rule was told by the check.
            rules: settings.rules(zone, None).unwrap_or_default(),
            calm: settings.calm(),
            receivers: Receivers::open(settings, folder).await?,
        })
    }
}

/// The alerts that count now. The watch and the courier look at them each time.
#[derive(Clone)]
pub struct Alerts(watch::Sender<Arc<Current>>);

impl Alerts {
    /// These.
    pub fn new(current: Current) -> Self {
        Alerts(watch::Sender::new(Arc::new(current)))
    }

    /// Those that count now.
    pub fn current(&self) -> Arc<Current> {
        self.0.borrow().clone()
    }

    /// From now on these. Episodes go on: what no rule finds any more is over after the calm.
    pub fn replace(&self, current: Current) {
        self.0.send_replace(Arc::new(current));
    }
}
