//! The queue against a model of it in memory: whatever is done in whichever order, over restarts too, both say the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::message::DeliveryState;
use engine::store::{Attempted, Committed, SqliteStore, Store};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::Fresh;
use crate::make::{commit, delivery, message, now};

const DESTINATIONS: [&str; 3] = ["portal", "ris", "archive"];

/// What can happen to a queue.
#[derive(Clone, Debug)]
enum Event {
    /// A message comes, for those of the three destinations.
    Comes([bool; 3]),
    /// The message that came so many before comes again.
    ComesAgain(usize),
    /// A delivery (which, of those that there are) is marked as on its way.
    Leaves(usize),
    /// A try of one came to this.
    Tried(usize, DeliveryState),
    /// The program ends properly and starts again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let states = DeliveryState::ALL.to_vec();
    prop_oneof![
        6 => any::<[bool; 3]>().prop_map(Event::Comes),
        2 => (0_usize..4).prop_map(Event::ComesAgain),
        2 => any::<usize>().prop_map(Event::Leaves),
        6 => (any::<usize>(), prop::sample::select(states)).prop_map(|(which, state)| Event::Tried(which, state)),
        1 => Just(Event::Restart),
    ]
}

/// A delivery as the model knows it.
#[derive(Clone, Debug, PartialEq)]
struct Owed {
    state: DeliveryState,
    attempts: u32,
    due: Option<Timestamp>,
    body: String,
}

/// By destination, in the order of the messages.
#[derive(Default)]
struct Model {
    came: Vec<String>,
    queues: BTreeMap<&'static str, BTreeMap<i64, Owed>>,
}

impl Model {
    fn ids(&self) -> Vec<(&'static str, i64)> {
        let all = self.queues.iter();
        all.flat_map(|(name, queue)| queue.keys().map(|id| (*name, *id)))
            .collect()
    }

    fn waiting(&self, name: &str) -> Vec<(i64, Owed)> {
        let queue = self.queues.get(name).into_iter().flatten();
        queue
            .filter(|(_, owed)| !owed.state.is_over())
            .map(|(id, owed)| (*id, owed.clone()))
            .collect()
    }

    /// How many of each state there are that is not over, and of the dead.
    fn counts(&self, name: &str) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for owed in self.queues.get(name).into_iter().flat_map(|queue| queue.values()) {
            *counts.entry(owed.state.as_str()).or_default() += 1;
        }
        counts
    }
}

async fn happen(store: &Arc<SqliteStore>, model: &mut Model, event: &Event) -> Result<(), TestCaseError> {
    match event {
        Event::Comes(to) => {
            let id = format!("M{}", model.came.len());
            let names = DESTINATIONS.into_iter().zip(to).filter(|(_, goes)| **goes);
            let names: Vec<&'static str> = names.map(|(name, _)| name).collect();
            let mut unit = commit(message(&id, id.clone()));
            let body = |name: &str| format!("{id} for {name}");
            unit.deliveries = names
                .iter()
                .map(|name| delivery(name, Some(&body(name))))
                .collect();
            let committed = store.commit(unit).await.unwrap();
            let is_stored = matches!(committed, Committed::Stored { .. });
            prop_assert!(is_stored);
            for name in names {
                // The new one is the last of its queue.
                let known = model.queues.get(name).and_then(|queue| queue.last_key_value());
                let after = known.map_or(0, |(id, _)| *id);
                let waiting = store.waiting("lab", name, after, 10).await.unwrap();
                prop_assert_eq!(waiting.len(), 1, "a message is not the last of its queue");
                let owed = Owed {
                    state: DeliveryState::Queued,
                    attempts: 0,
                    due: None,
                    body: body(name),
                };
                model.queues.entry(name).or_default().insert(waiting[0].id, owed);
            }
            model.came.push(id);
        }
        Event::ComesAgain(before) => {
            let Some(place) = model.came.len().checked_sub(before + 1) else {
                return Ok(());
            };
            let id = &model.came[place];
            let mut unit = commit(message(id, id.clone()));
            unit.deliveries = vec![delivery("portal", Some("again"))];
            let committed = store.commit(unit).await.unwrap();
            prop_assert!(matches!(committed, Committed::Repeat(_)), "{committed:?}");
        }
        Event::Leaves(which) => {
            let ids = model.ids();
            let Some((name, id)) = which.checked_rem(ids.len()).map(|place| ids[place]) else {
                return Ok(());
            };
            store.sending(id).await.unwrap();
            let owed = model
                .queues
                .get_mut(name)
                .and_then(|queue| queue.get_mut(&id))
                .unwrap();
            (owed.state, owed.due) = (DeliveryState::Sending, None);
        }
        Event::Tried(which, state) => {
            let ids = model.ids();
            let Some((name, id)) = which.checked_rem(ids.len()).map(|place| ids[place]) else {
                return Ok(());
            };
            let owed = model
                .queues
                .get_mut(name)
                .and_then(|queue| queue.get_mut(&id))
                .unwrap();
            let due = (*state == DeliveryState::Retrying).then(now);
            let number = owed.attempts + 1;
            // What was taken out stays so, whatever was on its way.
            if owed.state != DeliveryState::Cancelled {
                owed.attempts = number;
                (owed.state, owed.due) = (*state, due);
            }
            let attempted = Attempted {
                delivery: id,
                number,
                at: now(),
                state: *state,
                due,
                verdict: "retry",
                why: None,
                reference: None,
                response: None,
            };
            store.attempted(attempted).await.unwrap();
        }
        // By the caller.
        Event::Restart => {}
    }
    Ok(())
}

async fn compare(store: &Arc<SqliteStore>, model: &Model, page: u32) -> Result<(), TestCaseError> {
    let counted = store.queues().await.unwrap();
    for name in DESTINATIONS {
        // In pages, as a worker reads.
        let (mut read, mut after) = (vec![], 0);
        loop {
            let waiting = store.waiting("lab", name, after, page).await.unwrap();
            let Some(last) = waiting.last() else { break };
            after = last.id;
            read.extend(waiting.into_iter().map(|waiting| {
                let owed = Owed {
                    state: waiting.state,
                    attempts: waiting.attempts,
                    due: waiting.due,
                    body: String::from_utf8_lossy(&waiting.body).into_owned(),
                };
                (waiting.id, owed)
            }));
        }
        prop_assert_eq!(read, model.waiting(name), "the queue of {}", name);
        let row = counted.iter().find(|row| row.destination == name);
        let counts: BTreeMap<&str, u64> = row
            .into_iter()
            .flat_map(|row| &row.counts)
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| (state.as_str(), *count))
            .collect();
        let mut wanted = model.counts(name);
        // What is over is not listed, but for the dead and what is pending.
        wanted.retain(|state, _| !matches!(*state, "sent" | "cancelled"));
        prop_assert_eq!(counts, wanted, "the counts of {}", name);
    }
    Ok(())
}

async fn run(events: Vec<Event>, page: u32) -> Result<(), TestCaseError> {
    let fresh = Fresh::new();
    let mut store = fresh.open().await;
    let mut model = Model::default();
    for event in &events {
        if matches!(event, Event::Restart) {
            store.close().await.unwrap();
            drop(store);
            store = fresh.open().await;
        }
        happen(&store, &mut model, event).await?;
        compare(&store, &model, page).await?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_queue_is_as_its_model(events in prop::collection::vec(event(), 1..40), page in 1_u32..5) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(events, page))?;
    }
}
