//! Alerts: rules of `punte.toml` are held against the overview; what one finds is an episode, told once when it begins and
//! once when it is over, to those whom the rule names and to the log.
//!
//! An episode and what is to be told of it are written together, so that a restart or a mail server that is down loses
//! nothing and doubles nothing. No word of a message, and so nobody's name, is in any of it.

mod courier;
mod current;
mod rules;
mod settings;
mod tasks;
mod watch;

pub use courier::{Courier, Receivers};
pub use current::{Alerts, Current};
pub use settings::AlertSettings;
pub use tasks::{tell, watch};
pub use watch::Watch;

use engine::store::Alert;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::overview::{lasts, moment};

/// The most episodes of one listing.
pub const LISTED: u32 = 1000;

/// An episode in a line: `since 2026-05-05 08:30 (3 min): adt/ris: 1 delivery is held`.
pub fn line(alert: &Alert, now: Timestamp, zone: &TimeZone) -> String {
    let lasted = |until: Timestamp| lasts(until.duration_since(alert.began).as_secs_f64());
    match alert.ended {
        None => format!(
            "since {} ({}): {}",
            moment(alert.began, zone),
            lasted(now),
            alert.says
        ),
        Some(ended) => format!(
            "{} to {} ({}): {}",
            moment(alert.began, zone),
            moment(ended, zone),
            lasted(ended),
            alert.says
        ),
    }
}
