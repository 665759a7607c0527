//! The last tries of a destination, for its rate.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::Rate;

/// The last tries of a destination: they outlive its worker, so that a reload or a start gives no second burst.
///
/// What the receiver sees is what counts. A try reaches it at some moment between its first byte and its answer. So a
/// next one begins no sooner than a span after the *end* of the one that many before: whatever the network does, they
/// are a span apart at the receiver. The clock is the machine's own, which nobody sets back.
#[derive(Debug)]
pub(super) struct Tries {
    /// Before this nothing is known of what was tried: by the program that ran before.
    known_from: Instant,
    ended: Mutex<VecDeque<Instant>>,
}

impl Default for Tries {
    fn default() -> Self {
        Tries::since(Instant::now())
    }
}

impl Tries {
    fn since(known_from: Instant) -> Tries {
        Tries {
            known_from,
            ended: Mutex::default(),
        }
    }

    /// How long the next try has to wait, while so many are under way; none: it may begin.
    pub fn rest(&self, rate: Rate, under_way: usize, now: Instant) -> Option<Duration> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(most) = rate.most.checked_sub(under_way).filter(|most| *most != 0) else {
            // Until one of them has ended.
            return Some(rate.per);
        };
        let first_that_counts = match ended.len().checked_sub(most) {
            Some(older) => ended.get(older).copied(),
            // There may have been as many just before.
            None => Some(self.known_from),
        };
        let rest = (first_that_counts? + rate.per).saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// A try has ended.
    pub fn note(&self, rate: Rate, now: Instant) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back(now);
        while rate.most < ended.len() {
            ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_no_more_than_that_in_any_span() {
        let start = Instant::now();
        let ms = |ms: u64| start + Duration::from_millis(ms);
        let rate = Rate {
            most: 3,
            per: Duration::from_millis(1000),
        };
        let tries = Tries::since(start);
        // What the program before has tried is not known: a span is left free.
        assert_eq!(tries.rest(rate, 0, ms(0)), Some(rate.per));
        assert_eq!(tries.rest(rate, 0, ms(999)), Some(Duration::from_millis(1)));
        // Then a burst …
        for end in [1001, 1002, 1500] {
            assert_eq!(tries.rest(rate, 0, ms(end - 1)), None);
            tries.note(rate, ms(end));
        }
        // … and the next when the first of it is a span old, counted from its end.
        assert_eq!(tries.rest(rate, 0, ms(1501)), Some(Duration::from_millis(500)));
        assert_eq!(tries.rest(rate, 0, ms(2001)), None);
        tries.note(rate, ms(2100));
        assert_eq!(
            tries.rest(rate, 0, ms(2101)),
            None,
            "the second is a span old too"
        );
        tries.note(rate, ms(2102));
        assert_eq!(tries.rest(rate, 0, ms(2103)), Some(Duration::from_millis(397)));
        // What is under way counts as if it ended just now.
        assert_eq!(tries.rest(rate, 0, ms(3103)), None);
        assert_eq!(tries.rest(rate, 2, ms(2503)), Some(Duration::from_millis(599)));
        assert_eq!(tries.rest(rate, 2, ms(3103)), None);
        assert_eq!(tries.rest(rate, 3, ms(9000)), Some(rate.per));
    }
}
