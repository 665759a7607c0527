//! What a channel file says about a timer.

use std::time::Duration;

use engine::connector::SettingsProblem;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::cron::Cron;
use crate::values::{Problems, Table};

/// `[source.timer]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimerSettings {
    /// How often: "15m". It takes no notice of the clock's changes.
    #[serde(default)]
    pub every: Option<String>,
    /// When: minute, hour, day, month and day of the week, as cron has it: "0 7 * * 1-5".
    #[serde(default)]
    pub cron: Option<String>,
    /// The zone of `cron`, an IANA name: "Europe/Bucharest".
    #[serde(default = "default_zone")]
    pub zone: String,
    /// What happens to ticks whose time passed while the program did not run.
    #[serde(default)]
    pub missed: Missed,
}

/// What happens to ticks whose time passed while the program did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One tick for all of them, that of the last.
    #[default]
    Once,
    /// Nothing: the next tick is the next one to come.
    Skip,
}

/// A timer's settings, checked.
#[derive(Clone, Debug)]
pub struct Timer {
    /// When it ticks.
    pub schedule: Schedule,
    /// How its ticks are written.
    pub zone: TimeZone,
    /// Of what was missed.
    pub missed: Missed,
}

/// When a timer ticks.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At every multiple of this, counted from 1970.
    Every(Duration),
    /// By a pattern.
    Cron(Cron, TimeZone),
}

fn default_zone() -> String {
    "Europe/Bucharest".to_owned()
}

impl Table for TimerSettings {
    type Checked = Timer;

    fn check(&self) -> Result<Timer, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let (every, cron) = (self.every.as_deref(), self.cron.as_deref());
        let (schedule, zone) = schedule(every, cron, &self.zone, &mut problems);
        problems.into_result(Timer {
            schedule,
            zone,
            missed: self.missed,
        })
    }
}

/// When it ticks by `every` or `cron`, and the zone.
pub(crate) fn schedule(
    every: Option<&str>,
    cron: Option<&str>,
    zone: &str,
    problems: &mut Problems,
) -> (Schedule, TimeZone) {
    let zone = match TimeZone::get(zone) {
        Ok(zone) => zone,
        Err(_) => {
            problems.add(
                "zone",
                "no zone of this name is known; write it as \"Europe/Bucharest\"",
            );
            TimeZone::UTC
        }
    };
    let mut schedule = Schedule::Every(Duration::from_secs(1));
    match (every, cron) {
        (Some(_), Some(_)) => problems.add("cron", "stands beside `every`; a timer has one of the two"),
        (None, None) => problems.add(
            "",
            "when does it tick? Write every = \"15m\" or cron = \"0 7 * * 1-5\"",
        ),
        (Some(every), None) => {
            let every = problems.duration("every", every);
            if every < Duration::from_secs(1) {
                problems.add("every", "too often; \"1s\" is the least");
            } else if every.subsec_nanos() != 0 {
                problems.add("every", "write whole seconds");
            }
            schedule = Schedule::Every(every);
        }
        (None, Some(cron)) => match Cron::parse(cron) {
            Ok(cron) => schedule = Schedule::Cron(cron, zone.clone()),
            Err(what) => problems.add("cron", what),
        },
    }
    (schedule, zone)
}

impl Schedule {
    /// The first tick after a time.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Every(every) => {
                let every = i64::try_from(every.as_secs()).ok()?;
                let latest = after.as_second().div_euclid(every) * every;
                Timestamp::from_second(latest.checked_add(every)?).ok()
            }
            Schedule::Cron(cron, zone) => cron.next(after, zone),
        }
    }

    /// The last tick that is not after a time.
    pub fn latest(&self, until: Timestamp) -> Option<Timestamp> {
        match self {
            Schedule::Every(every) => {
                let every = i64::try_from(every.as_secs()).ok()?;
                Timestamp::from_second(until.as_second().div_euclid(every) * every).ok()
            }
            Schedule::Cron(cron, zone) => cron.latest(until, zone),
        }
    }
}
