//! Scripts as ends. What runs here is Rust that behaves as a script does, well and not so well: the real ones, in worker
//! processes, are met by the end-to-end tests.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use engine::connector::{Accept, Destination, Outcome, SendError, Stop, Surroundings};
use engine::run::{ScriptEnd, World};
use engine::script::{Call, Polled, PolledMessage, Returned, Said, Script, ScriptFailed, Task, Verdict};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{Engine, outgoing, paths, until, within};

type Does = dyn Fn(&Task) -> Result<Said, ScriptFailed> + Send + Sync;

/// What stands for a script: told what it is run for, it says something.
struct Acts(Box<Does>);

impl fmt::Debug for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script")
    }
}

impl Script for Acts {
    fn file(&self) -> &str {
        "acts.js"
    }

    fn run(&self, call: &Call<'_>) -> Result<Returned, ScriptFailed> {
        Ok(Returned {
            said: (self.0)(call.task)?,
            changes: None,
            console: vec![],
            counted: Default::default(),
            cached: vec![],
        })
    }
}

fn failed(what: &str, may_pass: bool) -> ScriptFailed {
    ScriptFailed {
        error: MapError::new(Reason::Internal, None, what),
        may_pass,
        console: vec![],
    }
}

/// The script with all that it needs. Its clock goes on by two seconds whenever somebody looks: each tick is due at once.
fn with(does: impl Fn(&Task) -> Result<Said, ScriptFailed> + Send + Sync + 'static) -> Surroundings {
    let seconds = AtomicI64::new(1_800_000_000);
    let world = World {
        now: Arc::new(move || Timestamp::from_second(seconds.fetch_add(2, Ordering::SeqCst)).unwrap()),
        new_id: Arc::new(Uuid::now_v7),
    };
    Surroundings {
        script: Some(ScriptEnd::alone(Arc::new(Acts(Box::new(does))), "text", world)),
        ..Surroundings::default()
    }
}

struct Polling {
    stop: Stop,
    task: JoinHandle<()>,
}

impl Polling {
    async fn from(surroundings: &Surroundings, engine: &Arc<Engine>) -> Self {
        let connector = connectors::all().get("script").unwrap();
        let settings = json!({ "file": "acts.js", "every": "1s" });
        assert_eq!(connector.check_source(&settings), []);
        let source = connector.open_source(&settings, surroundings).await.unwrap();
        let stop = Stop::new();
        let intake: Arc<dyn Accept> = engine.clone();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { source.run(intake, stop).await.unwrap() }
        });
        Polling { stop, task }
    }

    async fn stopped(self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        within(3, self.task).await.unwrap();
        begun.elapsed()
    }
}

/// A far system with numbered messages: a poll gets the next three after the cursor.
fn three_more(task: &Task, of: usize) -> Polled {
    std::thread::sleep(Duration::from_millis(1));
    let Task::Poll { cursor } = task else {
        panic!("{task:?} is no poll")
    };
    let from: usize = cursor.as_ref().map_or(0, |cursor| cursor.parse().unwrap());
    let to = (from + 3).min(of);
    Polled {
        messages: (from..to).map(numbered).collect(),
        cursor: Some(to.to_string()),
    }
}

fn numbered(number: usize) -> PolledMessage {
    PolledMessage {
        identity: format!("far-{number}"),
        content_type: None,
        body: Bytes::from(format!("message {number}")),
    }
}

fn identities(engine: &Engine) -> Vec<String> {
    let taken = engine.taken.lock().unwrap();
    taken
        .iter()
        .map(|incoming| incoming.identity.clone().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_fetched_is_handed_in_once_in_its_order_over_a_restart() {
    let engine = Arc::new(Engine::default());
    let surroundings = with(|task| Ok(Said::Polled(three_more(task, 8))));
    let polling = Polling::from(&surroundings, &engine).await;
    until("some came", || engine.taken.lock().unwrap().len() >= 3).await;
    assert!(polling.stopped().await < Duration::from_secs(1));
    let polling = Polling::from(&surroundings, &engine).await;
    until("all came", || {
        *engine.cursor.lock().unwrap() == Some("8".to_owned())
    })
    .await;
    polling.stopped().await;
    let expected: Vec<String> = (0..8).map(|number| format!("message {number}")).collect();
    let mut bodies = engine.bodies();
    // Stopped in the middle of three, it fetches these three again; each is known by its number.
    bodies.dedup();
    let mut once = identities(&engine);
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 8);
    for wanted in &expected {
        assert!(bodies.contains(wanted), "{wanted} is missing in {bodies:?}");
    }
}

#[tokio::test]
async fn what_is_not_stored_is_fetched_again_with_the_same_numbers() {
    let engine = Arc::new(Engine::default());
    *engine.outcome.lock().unwrap() = Outcome::Unavailable;
    let polling = Polling::from(&with(|task| Ok(Said::Polled(three_more(task, 3)))), &engine).await;
    until("it was tried three times", || {
        engine.taken.lock().unwrap().len() >= 3
    })
    .await;
    assert_eq!(*engine.cursor.lock().unwrap(), None);
    // The first one is tried and tried again; nothing overtakes it.
    assert!(identities(&engine).iter().all(|identity| identity == "far-0"));
    engine.taken.lock().unwrap().clear();
    *engine.outcome.lock().unwrap() = Outcome::Stored;
    until("all came", || {
        *engine.cursor.lock().unwrap() == Some("3".to_owned())
    })
    .await;
    polling.stopped().await;
    let mut taken = identities(&engine);
    taken.dedup();
    assert_eq!(taken, ["far-0", "far-1", "far-2"]);
}

#[tokio::test]
async fn a_script_that_fails_is_told_once_and_tried_again() {
    let engine = Arc::new(Engine::default());
    let runs = AtomicUsize::new(0);
    let surroundings = with(move |task| match runs.fetch_add(1, Ordering::SeqCst) {
        0..3 => Err(failed("poll.js:3:7 TypeError: nothing there", false)),
        3 => Ok(Said::Kept),
        4 => panic!("a fault in what runs scripts"),
        _ => Ok(Said::Polled(three_more(task, 3))),
    });
    let polling = Polling::from(&surroundings, &engine).await;
    until("all came", || {
        *engine.cursor.lock().unwrap() == Some("3".to_owned())
    })
    .await;
    polling.stopped().await;
    assert_eq!(engine.bodies(), ["message 0", "message 1", "message 2"]);
    let reasons: Vec<String> = engine.kept().into_iter().map(|(_, why)| why).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("poll.js:3:7"), "{reasons:?}");
    assert!(reasons[1].contains("does not say what it fetched"), "{reasons:?}");
    assert!(reasons[2].contains("panicked"), "{reasons:?}");
}

#[tokio::test]
async fn a_flood_is_taken_message_by_message() {
    let engine = Arc::new(Engine::default());
    let surroundings = with(|task| match task {
        Task::Poll { cursor: None } => Ok(Said::Polled(Polled {
            messages: (0..1_000).map(numbered).collect(),
            cursor: Some("1000".to_owned()),
        })),
        Task::Poll { .. } | Task::Step | Task::Deliver { .. } => Ok(Said::Polled(Polled::default())),
    });
    let polling = Polling::from(&surroundings, &engine).await;
    until("all came", || engine.cursor.lock().unwrap().is_some()).await;
    polling.stopped().await;
    assert_eq!(engine.taken.lock().unwrap().len(), 1_000);
    assert_eq!(engine.bodies()[999], "message 999");
}

#[tokio::test]
async fn stopped_while_it_runs_and_while_the_store_is_slow() {
    let slow = with(|task| {
        std::thread::sleep(Duration::from_millis(1_500));
        Ok(Said::Polled(three_more(task, 3)))
    });
    let engine = Arc::new(Engine::default());
    let polling = Polling::from(&slow, &engine).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(polling.stopped().await < Duration::from_secs(1));
    assert_eq!(engine.bodies(), Vec::<String>::new());
    let engine = Engine::slow(Duration::from_millis(300));
    let polling = Polling::from(&with(|task| Ok(Said::Polled(three_more(task, 30)))), &engine).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(polling.stopped().await < Duration::from_secs(1));
    // What was being handed in is in; the cursor does not say more than that.
    assert_eq!(engine.bodies(), ["message 0"]);
    assert_eq!(*engine.cursor.lock().unwrap(), None);
}

async fn taking(
    does: impl Fn(&Task) -> Result<Said, ScriptFailed> + Send + Sync + 'static,
) -> Arc<dyn Destination> {
    let connector = connectors::all().get("script").unwrap();
    let settings = json!("acts.js");
    assert_eq!(connector.check_destination(&settings), []);
    connector.open_destination(&settings, &with(does)).await.unwrap()
}

/// The arm, and what it says.
async fn sent(destination: &Arc<dyn Destination>) -> (&'static str, String) {
    match destination.send(&outgoing("a message"), &|_: &[u8]| false).await {
        Ok(response) => ("answer", String::from_utf8(response.body).unwrap()),
        Err(SendError::Retry { why, after }) => ("retry", format!("{why} {after:?}")),
        Err(SendError::Refused { why }) => ("refused", why),
        Err(SendError::Unsure { why } | SendError::BrokenOff { why, .. }) => ("unsure", why),
    }
}

#[tokio::test]
async fn the_arm_is_what_the_script_says() {
    let verdicts = Mutex::new(vec![
        Verdict::Unsure {
            why: "no answer".to_owned(),
        },
        Verdict::Retry {
            why: "busy".to_owned(),
            after: Some(Duration::from_secs(30)),
        },
        Verdict::Refused {
            why: "not ours".to_owned(),
        },
        Verdict::Accepted {
            reference: Some("A-17".to_owned()),
        },
    ]);
    let destination = taking(move |task| {
        let delivery = crate::outgoing("x").key().to_string();
        assert!(matches!(task, Task::Deliver { delivery: known } if known.len() == delivery.len()));
        Ok(Said::Verdict(verdicts.lock().unwrap().pop().unwrap()))
    })
    .await;
    assert_eq!(sent(&destination).await, ("answer", "A-17".to_owned()));
    assert_eq!(sent(&destination).await, ("refused", "not ours".to_owned()));
    assert_eq!(sent(&destination).await, ("retry", "busy Some(30s)".to_owned()));
    assert_eq!(sent(&destination).await, ("unsure", "no answer".to_owned()));
    destination.probe().await.unwrap();
}

#[tokio::test]
async fn what_it_does_not_say_is_chosen_by_what_is_known() {
    // It called nobody, so nothing was sent: what it does wrong each time is not tried again, what may pass is.
    let wrong = taking(|_| Err(failed("deliver.js:2:1 ReferenceError", false))).await;
    let (arm, why) = sent(&wrong).await;
    assert_eq!(arm, "refused");
    assert!(why.contains("deliver.js:2:1"), "{why}");
    let late = taking(|_| Err(failed("took longer than 1s", true))).await;
    assert_eq!(sent(&late).await.0, "retry");
    let silent = taking(|_| Ok(Said::Kept)).await;
    let (arm, why) = sent(&silent).await;
    assert_eq!(arm, "refused");
    assert!(why.contains("does not say what became of it"), "{why}");
    let broken = taking(|_| panic!("a fault in what runs scripts")).await;
    assert_eq!(sent(&broken).await.0, "refused");
}

#[tokio::test]
async fn wrong_settings() {
    let connector = connectors::all().get("script").unwrap();
    let wrong = |settings| {
        let problems = connector.check_source(&settings);
        paths(&problems)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(wrong(json!({ "file": "a.js" })), [""]);
    assert_eq!(
        wrong(json!({ "file": "a.js", "every": "1m", "cron": "0 7 * * *" })),
        ["cron"]
    );
    assert_eq!(wrong(json!({ "file": "a.js", "every": "1ms" })), ["every"]);
    assert_eq!(
        wrong(json!({ "file": "a.js", "every": "1m", "timeout": "2h" })),
        ["timeout"]
    );
    assert_eq!(
        wrong(json!({ "file": "a.js", "every": "1m", "memory": "1 KB" })),
        ["memory"]
    );
    // A script that was not checked with its channel does not run.
    let settings = json!({ "file": "a.js", "every": "1m" });
    let opened = connector.open_source(&settings, &Surroundings::default()).await;
    assert!(opened.is_err());
}
