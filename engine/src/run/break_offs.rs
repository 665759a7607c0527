//! Deliveries that a far side does not take which is there and takes others: a message that makes its reader fall over, or for which it
//! never has room, must not keep all behind it for days.
//!
//! A far side that is down is tried until it is back. One that lets us in, and breaks off at the same message so many times,
//! has refused it in its own way; so has one that answers for so long that it can't take that one now. It may also be one that lets
//! everybody in and can take nothing (its disk is full): so, where it took no other message meanwhile, only one is set aside, and the
//! next one not before something was taken; and one that is put off has twice the time then.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::channel::duration;

/// So many times: with the pauses of `retry` between them.
const TIMES: u32 = 5;
/// Of so many deliveries it is known; beyond that it is counted anew.
const KNOWN: usize = 16_384;

/// What is known of a destination. It outlives the worker, not the program: after a start it is counted anew.
#[derive(Debug, Default)]
pub(super) struct BreakOffs {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many were taken, or refused by an answer.
    taken: u64,
    /// How many that were, when one was set aside while no other was taken.
    alone_at: Option<u64>,
    counts: HashMap<i64, Count>,
}

/// How a far side does not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It breaks off.
    BrokeOff,
    /// It answers that it can't take it now.
    PutOff {
        /// For how long it has been tried.
        tried: Duration,
        /// For how long it is to be.
        patience: Duration,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    broke_off: u32,
    put_off: u32,
    /// How many others were taken before the first time.
    taken_before: u64,
}

/// It was often enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    times: u32,
    how: How,
    /// It took others meanwhile.
    took_others: bool,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Refusal {
            times,
            how,
            took_others,
        } = self;
        match how {
            How::BrokeOff => write!(f, "The far side broke off {times} times at this one")?,
            How::PutOff { patience, .. } => write!(
                f,
                "The far side has put this one off {times} times, for longer than {}",
                duration::show(*patience)
            )?,
        }
        f.write_str(match (took_others, how) {
            (true, _) => ", while it took others",
            (false, How::BrokeOff) => ", and let us in each time",
            (false, How::PutOff { .. }) => ", and was there each time",
        })
    }
}

impl BreakOffs {
    /// A delivery was taken, or refused by an answer: the far side works.
    pub fn taken(&self, delivery: i64) {
        let mut state = self.lock();
        state.taken += 1;
        state.counts.remove(&delivery);
    }

    /// The far side did not take this one. Says if that was often enough, and for long enough.
    pub fn not_taken(&self, delivery: i64, how: How) -> Option<Refusal> {
        let mut state = self.lock();
        let taken = state.taken;
        if KNOWN <= state.counts.len() && !state.counts.contains_key(&delivery) {
            state.counts.clear();
        }
        let count = state.counts.entry(delivery).or_insert(Count {
            taken_before: taken,
            ..Count::default()
        });
        let times = match how {
            How::BrokeOff => &mut count.broke_off,
            How::PutOff { .. } => &mut count.put_off,
        };
        *times = times.saturating_add(1);
        let refusal = Refusal {
            times: *times,
            how,
            took_others: count.taken_before < taken,
        };
        let is_long = match how {
            How::BrokeOff => true,
            How::PutOff { tried, patience } if refusal.took_others => patience <= tried,
            How::PutOff { tried, patience } => patience.saturating_mul(2) <= tried,
        };
        let is_often = TIMES <= refusal.times;
        if !is_often || !is_long || (!refusal.took_others && state.alone_at == Some(taken)) {
            return None;
        }
        if !refusal.took_others {
            state.alone_at = Some(taken);
        }
        state.counts.remove(&delivery);
        Some(refusal)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broke(known: &BreakOffs, delivery: i64, times: u32) -> Vec<Option<bool>> {
        (0..times)
            .map(|_| {
                known
                    .not_taken(delivery, How::BrokeOff)
                    .map(|refusal| refusal.took_others)
            })
            .collect()
    }

    #[test]
    fn one_is_set_aside_after_five_times_while_others_are_taken() {
        let known = BreakOffs::default();
        assert_eq!(broke(&known, 1, 4), [None; 4]);
        known.taken(2);
        let refusal = known.not_taken(1, How::BrokeOff).unwrap();
        assert_eq!(
            refusal.to_string(),
            "The far side broke off 5 times at this one, while it took others"
        );
        // Each other one too, while something is taken between.
        assert_eq!(broke(&known, 3, 4), [None; 4]);
        known.taken(4);
        assert_eq!(
            known
                .not_taken(3, How::BrokeOff)
                .map(|refusal| refusal.took_others),
            Some(true)
        );
        // What was taken in the end begins anew.
        assert_eq!(broke(&known, 5, 4), [None; 4]);
        known.taken(5);
        assert_eq!(broke(&known, 5, 4), [None; 4]);
    }

    #[test]
    fn where_nothing_is_taken_one_alone_is_set_aside() {
        let known = BreakOffs::default();
        assert_eq!(broke(&known, 1, 5), [None, None, None, None, Some(false)]);
        // It takes nothing: the next one waits, however often it is tried.
        assert_eq!(broke(&known, 2, 50), [None; 50]);
        assert_eq!(broke(&known, 3, 50), [None; 50]);
        // Until something is taken.
        known.taken(4);
        assert_eq!(
            known
                .not_taken(2, How::BrokeOff)
                .map(|refusal| refusal.took_others),
            Some(true)
        );
        assert_eq!(broke(&known, 6, 5), [None, None, None, None, Some(false)]);
        assert_eq!(broke(&known, 7, 6), [None; 6]);
    }

    #[test]
    fn what_is_put_off_has_its_time_and_twice_that_where_nothing_else_is_taken() {
        let known = BreakOffs::default();
        let put_off = |delivery: i64, minutes: u64| {
            let how = How::PutOff {
                tried: Duration::from_secs(minutes * 60),
                patience: Duration::from_secs(30 * 60),
            };
            known.not_taken(delivery, how)
        };
        // Long, and not often; often, and not long.
        assert_eq!([0, 31, 40, 59].map(|minutes| put_off(1, minutes)), [None; 4]);
        assert_eq!([0, 0, 0, 0, 0, 29].map(|minutes| put_off(2, minutes)), [None; 6]);
        known.taken(3);
        let refusal = put_off(2, 30).unwrap();
        assert_eq!(
            refusal.to_string(),
            "The far side has put this one off 7 times, for longer than 30m, while it took others"
        );
        // It may take nothing any more: twice the time, and one alone.
        assert_eq!([1, 2, 3, 4, 59].map(|minutes| put_off(4, minutes)), [None; 5]);
        assert_eq!(put_off(4, 60).map(|refusal| refusal.took_others), Some(false));
        assert_eq!(
            [1, 2, 3, 4, 500, 600].map(|minutes| put_off(5, minutes)),
            [None; 6]
        );
        known.taken(6);
        assert_eq!(put_off(5, 601).map(|refusal| refusal.took_others), Some(true));
    }
}
