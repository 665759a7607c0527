//! How fast the channels are: what went through in the last minute and in the last hour.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::run::Total;
use jiff::Timestamp;

use super::Rates;

/// Between two looks.
pub const LOOK: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What had gone through at some moments of the last hour. `at` is the time since the start: a clock that is set does
/// not move it.
#[derive(Default)]
pub struct Pace {
    seen: Mutex<VecDeque<(Duration, Vec<Total>)>>,
}

impl Pace {
    /// Notes what has gone through by now.
    pub fn note(&self, at: Duration, totals: Vec<Total>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_back((at, totals));
        // The one before the hour is what the hour is counted from.
        while seen.get(1).is_some_and(|(second, _)| *second + HOUR <= at) {
            seen.pop_front();
        }
    }

    /// What went through a channel, and when something came in last; none: it is not known.
    pub fn of(&self, channel: &str) -> Option<(Rates, Option<Timestamp>)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, newest) = seen.back()?;
        let newest = of(newest, channel)?;
        let since = |span: Duration| {
            let from = at.saturating_sub(span);
            let before = seen.iter().rev().find(|(at, _)| *at <= from);
            // The channel, or the engine, was not there then: all of it is new.
            let before = before.and_then(|(_, totals)| of(totals, channel));
            let (received, sent) = before.map_or((0, 0), |before| (before.received, before.sent));
            (
                newest.received.saturating_sub(received),
                newest.sent.saturating_sub(sent),
            )
        };
        let (minute, hour) = (since(MINUTE), since(HOUR));
        let rates = Rates {
            received_minute: minute.0,
            sent_minute: minute.1,
            received_hour: hour.0,
            sent_hour: hour.1,
        };
        Some((rates, newest.heard))
    }
}

fn of<'a>(totals: &'a [Total], channel: &str) -> Option<&'a Total> {
    totals.iter().find(|total| total.channel == channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(received: u64, sent: u64) -> Vec<Total> {
        vec![Total {
            channel: "adt".into(),
            received,
            sent,
            heard: None,
        }]
    }

    #[test]
    fn a_minute_and_an_hour_are_counted_from_their_beginnings() {
        let pace = Pace::default();
        assert!(pace.of("adt").is_none());
        for second in (0..=2 * 3600).step_by(5) {
            pace.note(Duration::from_secs(second), total(second * 2, second));
        }
        let (rates, _) = pace.of("adt").unwrap();
        let expected = Rates {
            received_minute: 120,
            received_hour: 7200,
            sent_minute: 60,
            sent_hour: 3600,
        };
        assert_eq!(rates, expected);
        assert!(pace.seen.lock().unwrap().len() < 725, "it keeps an hour");
    }

    #[test]
    fn shortly_after_the_start_all_is_new() {
        let pace = Pace::default();
        pace.note(Duration::from_secs(1), total(3, 1));
        pace.note(Duration::from_secs(6), total(8, 2));
        let (rates, _) = pace.of("adt").unwrap();
        assert_eq!((rates.received_minute, rates.sent_hour), (8, 2));
    }
}
