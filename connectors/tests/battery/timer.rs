//! Weeks in a moment: the clock of these tests runs on as soon as somebody waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connectors::timer::{Clock, Timers};
use engine::connector::{Accept, Connector, Outcome, Stop, Surroundings};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Engine, paths, until, within};

/// Begins at a time and stands still at its end.
struct Fast {
    now: Mutex<Timestamp>,
    end: Timestamp,
}

impl Fast {
    fn new(start: &str, run: Duration) -> Arc<Self> {
        let start: Timestamp = start.parse().unwrap();
        Arc::new(Fast {
            now: Mutex::new(start),
            end: start + run,
        })
    }
}

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        if self.end <= self.now() {
            std::future::pending::<()>().await;
        }
        let then = (self.now() + duration).min(self.end);
        *self.now.lock().unwrap() = then;
        tokio::task::yield_now().await;
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Runs a timer from a time on, for so long.
async fn run(settings: Value, start: &str, long: Duration, engine: &Arc<Engine>) {
    let clock = Fast::new(start, long);
    let timer = Timers::by(clock.clone());
    assert_eq!(timer.check_source(&settings), []);
    let source = timer
        .open_source(&settings, &Surroundings::default())
        .await
        .unwrap();
    let stop = Stop::new();
    let intake: Arc<dyn Accept> = engine.clone();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { source.run(intake, stop).await.unwrap() }
    });
    until("the time is over", || clock.end <= clock.now()).await;
    // What is due at the very end is handed in before anybody waits again.
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.cancel();
    within(2, task).await.unwrap();
}

/// The ticks that came, as they are written.
fn ticks(engine: &Engine) -> Vec<String> {
    let bodies = engine.bodies();
    let tick = |body: &String| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["tick"].as_str().unwrap().to_owned()
    };
    bodies.iter().map(tick).collect()
}

#[tokio::test]
async fn a_week_with_each_clock_change() {
    let engine = Arc::new(Engine::default());
    run(
        json!({ "cron": "30 3 * * *" }),
        "2026-03-26T22:00:00Z",
        4 * DAY,
        &engine,
    )
    .await;
    assert_eq!(
        ticks(&engine),
        [
            "2026-03-27T03:30:00+02:00",
            "2026-03-28T03:30:00+02:00",
            "2026-03-29T04:30:00+03:00",
            "2026-03-30T03:30:00+03:00"
        ]
    );
    let engine = Arc::new(Engine::default());
    run(
        json!({ "cron": "30 3 * * *" }),
        "2026-10-23T21:00:00Z",
        7 * DAY,
        &engine,
    )
    .await;
    assert_eq!(ticks(&engine).len(), 7);
    assert_eq!(ticks(&engine)[1], "2026-10-25T03:30:00+03:00");
    assert_eq!(ticks(&engine)[2], "2026-10-26T03:30:00+02:00");
    // An interval takes no notice: the day of 25 hours has 25.
    let engine = Arc::new(Engine::default());
    run(
        json!({ "every": "1h" }),
        "2026-10-24T21:30:00Z",
        25 * DAY / 24,
        &engine,
    )
    .await;
    assert_eq!(ticks(&engine).len(), 25);
    let engine = Arc::new(Engine::default());
    run(
        json!({ "cron": "0 * * * *" }),
        "2026-10-24T20:30:00Z",
        25 * DAY / 24,
        &engine,
    )
    .await;
    assert_eq!(ticks(&engine).len(), 24);
    // Working days only.
    let engine = Arc::new(Engine::default());
    run(
        json!({ "cron": "0 7 * * mon-fri" }),
        "2026-11-23T00:00:00Z",
        7 * DAY,
        &engine,
    )
    .await;
    assert_eq!(ticks(&engine).len(), 5);
}

#[tokio::test]
async fn what_was_missed() {
    for (missed, more) in [("once", vec!["2026-11-26T07:00:00+02:00"]), ("skip", vec![])] {
        let engine = Arc::new(Engine::default());
        let settings = json!({ "cron": "0 7 * * *", "missed": missed });
        run(settings.clone(), "2026-11-22T22:00:00Z", DAY, &engine).await;
        assert_eq!(ticks(&engine), ["2026-11-23T07:00:00+02:00"]);
        // Down for two days and a half.
        run(settings.clone(), "2026-11-26T10:00:00Z", DAY / 24, &engine).await;
        assert_eq!(ticks(&engine)[1..], more);
        // Down over the tick, for less than a minute: that is not missed.
        run(settings, "2026-11-27T05:00:40Z", DAY / 24, &engine).await;
        assert_eq!(ticks(&engine).last().unwrap(), "2026-11-27T07:00:00+02:00");
        assert_eq!(ticks(&engine).len(), 2 + more.len());
    }
    // The first start of all has missed nothing.
    let engine = Arc::new(Engine::default());
    run(
        json!({ "cron": "0 7 * * *" }),
        "2026-11-26T10:00:00Z",
        DAY / 2,
        &engine,
    )
    .await;
    assert_eq!(ticks(&engine), [""; 0]);
}

#[tokio::test]
async fn a_tick_is_handed_in_until_it_is_stored() {
    let engine = Arc::new(Engine::default());
    *engine.outcome.lock().unwrap() = Outcome::Unavailable;
    run(
        json!({ "every": "15m" }),
        "2026-11-26T10:00:01Z",
        Duration::from_secs(3600),
        &engine,
    )
    .await;
    let tries = engine.taken.lock().unwrap().len();
    assert!(10 < tries);
    assert!(
        ticks(&engine)
            .iter()
            .all(|tick| tick == "2026-11-26T12:15:00+02:00")
    );
    let numbers: Vec<_> = engine
        .taken
        .lock()
        .unwrap()
        .iter()
        .map(|incoming| incoming.identity.clone())
        .collect();
    assert!(
        numbers
            .iter()
            .all(|number| number.as_deref() == Some("tick-2026-11-26T10:15:00Z"))
    );
}

#[tokio::test]
async fn wrong_settings() {
    let timer = connectors::all().get("timer").unwrap();
    let problems = |settings: Value| timer.check_source(&settings);
    assert_eq!(problems(json!({ "every": "15m" })), []);
    assert_eq!(paths(&problems(json!({}))), [""]);
    assert_eq!(
        paths(&problems(json!({ "every": "1h", "cron": "0 7 * * *" }))),
        ["cron"]
    );
    assert_eq!(paths(&problems(json!({ "every": "500ms" }))), ["every"]);
    assert_eq!(paths(&problems(json!({ "every": "1s500ms" }))), ["every"]);
    assert_eq!(
        paths(&problems(
            json!({ "cron": "0 0 30 2 *", "zone": "Europe/Bucuresti" })
        )),
        ["zone", "cron"]
    );
    assert!(timer.destination_schema().is_none());
}
