//! Calls that a script makes while it runs: granted, counted, and kept for a run again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::call::{CallAnswer, CallError, CallRequest, FarSides, MOST_CALLS};

/// The most bytes of answers that one script gets for one message.
const MOST_BYTES: usize = 32 << 20;

/// What one script called for one message, in its order. The same calls get the same answers when it runs again: a
/// version that moved re-runs the steps, never what they did outside.
#[derive(Debug, Default)]
pub(super) struct Called {
    calls: Mutex<Vec<(CallRequest, Result<CallAnswer, CallError>)>>,
}

impl Called {
    /// The answer to a call that was made already, or of a new one.
    pub(super) fn answer(
        &self,
        number: usize,
        request: CallRequest,
        call: impl FnOnce(&CallRequest) -> Result<CallAnswer, CallError>,
    ) -> Result<CallAnswer, CallError> {
        let (known, before) = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let known = calls.get(number).filter(|(asked, _)| *asked == request);
            let known = known.map(|(_, answer)| answer.clone());
            if known.is_none() {
                // From here on it goes another way than before.
                calls.truncate(number);
            }
            let bytes: usize = calls.iter().flat_map(|(_, a)| a).map(|a| a.body.len()).sum();
            (known, bytes)
        };
        if let Some(known) = known {
            return known;
        }
        if MOST_CALLS <= number {
            let what = format!("too many calls for one message; {MOST_CALLS} are the most");
            return Err(CallError::not_sent(what));
        }
        if MOST_BYTES < before {
            return Err(CallError::not_sent(
                "too much was answered for one message; 32 MB are the most",
            ));
        }
        let answer = call(&request);
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((request, answer.clone()));
        answer
    }

    /// Whether a far side may have taken something: a call that changes something was sent. What only reads (GET)
    /// changes nothing (RFC 9110, 9.2.1).
    pub(super) fn may_have_changed(&self) -> bool {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().any(|(request, answer)| {
            request.method != "GET" && answer.as_ref().map_or_else(|error| error.is_sent, |_| true)
        })
    }

    /// Whether a far side could not be reached.
    pub(super) fn has_missed(&self) -> bool {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().any(|(_, answer)| answer.is_err())
    }
}

/// Calls a far side of a channel and waits for its answer. For threads that may wait.
pub(super) fn call(
    channel: &str,
    sides: &FarSides,
    request: &CallRequest,
    within: Duration,
) -> Result<CallAnswer, CallError> {
    let Some(side) = sides.get(&request.to) else {
        return Err(CallError::not_sent("the channel grants no such call"));
    };
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|_| CallError::not_sent("nobody can be called from here"))?;
    let answer = runtime.block_on(async {
        let calling = side.call(request, within);
        tokio::time::timeout(within, calling).await.unwrap_or_else(|_| {
            Err(CallError {
                why: "No answer in time.".to_owned(),
                is_sent: true,
            })
        })
    });
    let outcome = match &answer {
        Ok(_) => "answered",
        Err(error) if error.is_sent => "unsure",
        Err(_) => "not_sent",
    };
    metrics::counter!("punte_script_calls_total", "channel" => channel.to_owned(), "outcome" => outcome)
        .increment(1);
    // Neither path nor answer: both may tell of a patient.
    tracing::debug!(channel, to = %request.to, method = %request.method, outcome, "A script called.");
    answer
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(path: &str) -> CallRequest {
        CallRequest {
            to: "a".into(),
            method: "POST".into(),
            path: path.into(),
            headers: vec![],
            body: Bytes::new(),
        }
    }

    fn answer(status: u16) -> Result<CallAnswer, CallError> {
        Ok(CallAnswer {
            status,
            headers: vec![],
            body: Bytes::new(),
        })
    }

    #[test]
    fn what_was_answered_is_kept_for_the_same_calls() {
        let called = Called::default();
        let status = |number, path: &str, now| {
            let answer = called.answer(number, request(path), |_| answer(now));
            answer.map_or(0, |answer| answer.status)
        };
        assert_eq!(status(0, "a", 200), 200);
        assert_eq!(status(1, "b", 201), 201);
        assert_eq!(status(0, "a", 500), 200, "kept");
        assert_eq!(status(1, "c", 202), 202, "another call");
        assert_eq!(status(1, "c", 500), 202);
        assert_eq!(status(0, "z", 203), 203);
        assert_eq!(
            status(1, "c", 204),
            204,
            "what followed the other way is not kept"
        );
        assert_eq!(status(MOST_CALLS, "d", 200), 0);
    }

    #[test]
    fn what_may_have_been_taken_is_known() {
        let lost = |is_sent| {
            Err(CallError {
                why: String::new(),
                is_sent,
            })
        };
        let after = |method: &str, result: Result<CallAnswer, CallError>| {
            let called = Called::default();
            let mut request = request("a");
            request.method = method.into();
            let _ = called.answer(0, request, |_| result);
            (called.may_have_changed(), called.has_missed())
        };
        assert_eq!(after("POST", answer(500)), (true, false));
        assert_eq!(after("POST", lost(true)), (true, true));
        assert_eq!(after("POST", lost(false)), (false, true));
        assert_eq!(after("GET", answer(200)), (false, false));
        assert_eq!(after("GET", lost(true)), (false, true));
    }
}
