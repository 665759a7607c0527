//! Deliveries at which a far side breaks off that is there: a message that makes its reader fall over must not keep all
//! behind it for days.
//!
//! A far side that is down is tried until it is back. One that lets us in, and breaks off at the same message so many times,
//! has refused it in its own way. It may also be one that lets everybody in and can take nothing (its disk is full): so, where it
//! took no other message meanwhile, only one is set aside, and the next one not before something was taken.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

#[derive(Clone, Copy, Debug)]
struct Count {
    times: u32,
    /// How many others were taken before the first time.
    taken_before: u64,
}

/// It was often enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    times: u32,
    /// It took others meanwhile.
    took_others: bool,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let meanwhile = match self.took_others {
            true => "while it took others",
            false => "and let us in each time",
        };
        write!(
            f,
            "The far side broke off {} times at this one, {meanwhile}",
            self.times
        )
    }
}

impl BreakOffs {
    /// A delivery was taken, or refused by an answer: the far side works.
    pub fn taken(&self, delivery: i64) {
        let mut state = self.lock();
        state.taken += 1;
        state.counts.remove(&delivery);
    }

    /// The far side broke off at this one. Says if that was often enough.
    pub fn broke(&self, delivery: i64) -> Option<Refusal> {
        let mut state = self.lock();
        let taken = state.taken;
        if KNOWN <= state.counts.len() && !state.counts.contains_key(&delivery) {
            state.counts.clear();
        }
        let count = state.counts.entry(delivery).or_insert(Count {
            times: 0,
            taken_before: taken,
        });
        count.times = count.times.saturating_add(1);
        let refusal = Refusal {
            times: count.times,
            took_others: count.taken_before < taken,
        };
        if refusal.times < TIMES || (!refusal.took_others && state.alone_at == Some(taken)) {
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
            .map(|_| known.broke(delivery).map(|refusal| refusal.took_others))
            .collect()
    }

    #[test]
    fn one_is_set_aside_after_five_times_while_others_are_taken() {
        let known = BreakOffs::default();
        assert_eq!(broke(&known, 1, 4), [None; 4]);
        known.taken(2);
        let refusal = known.broke(1).unwrap();
        assert_eq!(
            refusal.to_string(),
            "The far side broke off 5 times at this one, while it took others"
        );
        // Each other one too, while something is taken between.
        assert_eq!(broke(&known, 3, 4), [None; 4]);
        known.taken(4);
        assert_eq!(known.broke(3).map(|refusal| refusal.took_others), Some(true));
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
        assert_eq!(known.broke(2).map(|refusal| refusal.took_others), Some(true));
        assert_eq!(broke(&known, 6, 5), [None, None, None, None, Some(false)]);
        assert_eq!(broke(&known, 7, 6), [None; 6]);
    }
}
