//! Refused requests (401, 403) in the journal. A flood of them does not grow it: of each key and address the first one of
//! a minute is noted at once, the others are counted and noted as one row when the minute is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State as Extract};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use engine::actor::Actor;
use engine::store::{Access, AccessOutcome, Store};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::State;
use super::auth::{Named, peer_of};

/// How long refusals of one are counted together.
const MINUTE: Duration = Duration::from_secs(60);
/// So many are told apart within a minute; what comes from others is counted as from anybody.
const MOST: usize = 64;
/// The longest address that is noted.
const LONGEST: usize = 200;

/// Refusals of the last minute.
#[derive(Default)]
pub struct Refusals {
    counted: Mutex<HashMap<Actor, Counted>>,
}

/// What was refused to one after the first time.
struct Counted {
    since: Timestamp,
    more: u64,
    last: String,
}

impl Refusals {
    /// Counts a refusal; true: it is the first of its minute, and to be noted.
    fn is_first(&self, actor: &mut Actor, what: &str, now: Timestamp) -> bool {
        let mut counted = self.lock();
        if MOST <= counted.len() && !counted.contains_key(actor) {
            *actor = Actor {
                peer: Some("others".to_owned()),
                ..Actor::default()
            };
        }
        match counted.get_mut(actor) {
            Some(known) => {
                known.more += 1;
                what.clone_into(&mut known.last);
                false
            }
            None => {
                let first = Counted {
                    since: now,
                    more: 0,
                    last: String::new(),
                };
                counted.insert(actor.clone(), first);
                true
            }
        }
    }

    /// What was counted in minutes that are over.
    fn over(&self, now: Timestamp) -> Vec<(Actor, Counted)> {
        let mut counted = self.lock();
        let is_over = |counted: &Counted| {
            let passed = Duration::try_from(now.duration_since(counted.since));
            passed.is_ok_and(|passed| MINUTE <= passed)
        };
        let over: Vec<Actor> = counted
            .iter()
            .filter(|(_, counted)| is_over(counted))
            .map(|(actor, _)| actor.clone())
            .collect();
        over.into_iter()
            .filter_map(|actor| counted.remove_entry(&actor))
            .filter(|(_, counted)| counted.more != 0)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Actor, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was counted, each minute and once more at the end.
    pub async fn keep(self: Arc<Self>, store: Arc<dyn Store>, stop: CancellationToken) {
        loop {
            let is_end = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(MINUTE) => false,
            };
            let now = (crate::world::real().now)();
            let until = match is_end {
                true => now.saturating_add(MINUTE).unwrap_or(now),
                false => now,
            };
            for (actor, Counted { since, more, last }) in self.over(until) {
                let words = format!("{more} more since {since:.0}");
                write(store.as_ref(), actor, vec![last], Some(words), now).await;
            }
            if is_end {
                return;
            }
        }
    }
}

/// Notes a request that is refused. The answer does not depend on it: it tells nothing.
pub async fn note(Extract(state): Extract<State>, mut request: Request, next: Next) -> Response {
    let named = Named::default();
    request.extensions_mut().insert(named.clone());
    let peer = peer_of(request.extensions());
    let address: String = request.uri().path().chars().take(LONGEST).collect();
    let what = format!("{} {address}", request.method());
    let response = next.run(request).await;
    if matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        let mut actor = Actor {
            key: named.get(),
            peer,
            ..Actor::default()
        };
        let now = (crate::world::real().now)();
        if state.refusals().is_first(&mut actor, &what, now) {
            write(state.store(), actor, vec![what], None, now).await;
        }
    }
    response
}

async fn write(store: &dyn Store, actor: Actor, what: Vec<String>, words: Option<String>, at: Timestamp) {
    let access = Access {
        at,
        actor,
        action: "refused".to_owned(),
        what,
        patients: vec![],
        identifiers: vec![],
        outcome: AccessOutcome::Refused,
        words,
        purpose: None,
    };
    if let Err(error) = store.accessed(access).await {
        tracing::warn!(%error, "A refused request could not be noted in the journal.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_600_000 + second).unwrap()
    }

    fn from(peer: String) -> Actor {
        Actor {
            peer: Some(peer),
            ..Actor::default()
        }
    }

    #[test]
    fn a_flood_is_two_rows_a_minute() {
        let refusals = Refusals::default();
        let first = |second| refusals.is_first(&mut from("10.0.0.1".into()), "GET /fhir", at(second));
        assert!(first(0));
        assert!((1..50).all(|second| !first(second)));
        assert!(refusals.over(at(59)).is_empty());
        let over = refusals.over(at(60));
        assert_eq!(over.len(), 1);
        assert_eq!((over[0].1.more, over[0].1.last.as_str()), (49, "GET /fhir"));
        assert!(first(61), "the next minute begins anew");
        assert!(refusals.over(at(130)).is_empty(), "nothing more came");
    }

    #[test]
    fn many_addresses_are_a_few_rows() {
        let refusals = Refusals::default();
        let rows = (0..10_000)
            .filter(|n| refusals.is_first(&mut from(format!("2001:db8::{n:x}")), "GET /", at(0)))
            .count();
        assert_eq!(rows, MOST + 1);
        assert_eq!(refusals.over(at(60)).len(), 1);
    }
}
