//! The circuit breaker of a destination: one that takes nothing is left alone for a while, then asked by one try.
//!
//! Only what was surely not taken counts (no connection, "come later"). What was refused was taken and read, and what is
//! unsure may have been: neither says that nobody is there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::channel::Breaker as Settings;

/// So many spans in which it was left alone are remembered; of a destination that fails so often the first do not count.
const SPANS: usize = 256;

/// What is known of a destination that may take nothing. It outlives the worker, as what was tried does.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Tries in a row that were surely not taken.
    failures: u32,
    open: Option<Open>,
    /// When it was left alone before.
    spans: VecDeque<(Timestamp, Timestamp)>,
}

/// It is left alone.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: Timestamp,
    /// When the next one is tried.
    again: Instant,
    /// The same by the clock, to be shown.
    again_at: Timestamp,
    /// One is under way to ask.
    asking: bool,
}

/// What a try has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Nothing.
    Not,
    /// From now on it is left alone.
    Open,
    /// It takes messages again.
    Closed,
}

impl Breaker {
    /// How long the next try has to wait; none: it may begin.
    pub fn rest(&self, settings: Settings, now: Instant) -> Option<Duration> {
        let open = self.lock().open?;
        if open.asking {
            // Until the answer is there.
            return Some(settings.pause);
        }
        let rest = open.again.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// A try begins.
    pub fn begins(&self) {
        if let Some(open) = &mut self.lock().open {
            open.asking = true;
        }
    }

    /// A try has ended with this verdict.
    pub fn ends(&self, settings: Settings, verdict: &str, now: Instant, at: Timestamp) -> Turned {
        let mut state = self.lock();
        let again = Open {
            since: state.open.map_or(at, |open| open.since),
            again: now + settings.pause,
            again_at: at.checked_add(settings.pause).unwrap_or(at),
            asking: false,
        };
        match (verdict, state.open) {
            ("retry", Some(_)) | ("unsure", Some(_)) => {
                state.open = Some(again);
                Turned::Not
            }
            ("retry", None) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures < settings.after {
                    return Turned::Not;
                }
                state.open = Some(again);
                Turned::Open
            }
            ("unsure", None) => Turned::Not,
            (_, open) => {
                state.failures = 0;
                state.open = None;
                let Some(open) = open else { return Turned::Not };
                if state.spans.len() == SPANS {
                    state.spans.pop_front();
                }
                state.spans.push_back((open.since, at));
                Turned::Closed
            }
        }
    }

    /// The spans of this time in which it was left alone.
    pub fn left_alone(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let state = self.lock();
        let now = state.open.map(|open| (open.since, to));
        let spans = state.spans.iter().copied().chain(now);
        spans
            .map(|(begun, ended)| (begun.max(from), ended.min(to)))
            .filter(|(begun, ended)| begun < ended)
            .collect()
    }

    /// Since when it is left alone, and when the next one is tried; none: it is not.
    pub fn shown(&self) -> Option<(Timestamp, Timestamp)> {
        let open = self.lock().open?;
        Some((open.since, open.again_at))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        after: 3,
        pause: Duration::from_secs(30),
    };

    #[test]
    fn opens_after_so_many_in_a_row_asks_by_one_and_closes() {
        let breaker = Breaker::default();
        let (start, epoch) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let at = |s: u64| (start + Duration::from_secs(s), epoch + Duration::from_secs(s));
        let ends = |verdict, s| breaker.ends(SETTINGS, verdict, at(s).0, at(s).1);
        // One that was taken, or refused, begins the count anew; what is unsure counts for nothing.
        for (verdict, s) in [
            ("retry", 0),
            ("retry", 1),
            ("accepted", 2),
            ("retry", 3),
            ("retry", 4),
            ("refused", 5),
        ] {
            assert_eq!(ends(verdict, s), Turned::Not);
        }
        for (verdict, s) in [("retry", 6), ("unsure", 7), ("retry", 8)] {
            assert_eq!(ends(verdict, s), Turned::Not);
            assert_eq!(breaker.rest(SETTINGS, at(s).0), None);
        }
        assert_eq!(ends("retry", 10), Turned::Open);
        assert_eq!(breaker.rest(SETTINGS, at(10).0), Some(Duration::from_secs(30)));
        assert_eq!(breaker.rest(SETTINGS, at(39).0), Some(Duration::from_secs(1)));
        assert_eq!(breaker.shown(), Some((at(10).1, at(40).1)));
        // One may ask, the others wait for what it is told.
        assert_eq!(breaker.rest(SETTINGS, at(40).0), None);
        breaker.begins();
        assert_eq!(breaker.rest(SETTINGS, at(41).0), Some(Duration::from_secs(30)));
        assert_eq!(ends("retry", 42), Turned::Not);
        assert_eq!(breaker.rest(SETTINGS, at(71).0), Some(Duration::from_secs(1)));
        breaker.begins();
        assert_eq!(
            ends("unsure", 72),
            Turned::Not,
            "nobody has said that it is there"
        );
        assert_eq!(breaker.rest(SETTINGS, at(101).0), Some(Duration::from_secs(1)));
        breaker.begins();
        assert_eq!(ends("accepted", 102), Turned::Closed);
        assert_eq!(breaker.rest(SETTINGS, at(102).0), None);
        assert_eq!(breaker.shown(), None);
        assert_eq!(ends("retry", 103), Turned::Not, "the count begins anew");
        assert_eq!(breaker.left_alone(at(0).1, at(200).1), [(at(10).1, at(102).1)]);
        assert_eq!(breaker.left_alone(at(50).1, at(60).1), [(at(50).1, at(60).1)]);
        assert_eq!(breaker.left_alone(at(102).1, at(200).1), []);
    }
}
