//! The battery: every connector over real sockets and folders, against peers that behave and peers that don't.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that fails says where")]

mod dicom;
mod dicom_destination;
mod dicom_source;
mod dicom_tls;
mod far;
mod fhir;
mod file_destination;
mod file_source;
mod http_destination;
mod http_source;
mod mllp_destination;
mod mllp_source;
#[path = "../../../tests/src/pki.rs"]
mod pki;
mod script;
mod timer;
mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::connector::{
    About, Accept, Acknowledgement, ConnectorError, Connectors, Destination, Outcome, Outgoing,
    SettingsProblem, Stop, Surroundings,
};
use engine::message::Incoming;
use serde_json::Value;
use tokio::task::JoinHandle;

/// An engine that keeps everything in memory and answers `ACK ` and the beginning of what came.
#[derive(Default)]
pub struct Engine {
    pub taken: Mutex<Vec<Incoming>>,
    pub kept: Mutex<Vec<(Incoming, String)>>,
    /// Storing takes this long.
    pub slow: Mutex<Duration>,
    /// What it says of what it takes.
    pub outcome: Mutex<Outcome>,
    /// It answers without frames.
    pub mute: AtomicBool,
    /// It adds 100 KB to each answer to a message that begins with `flood`.
    pub loud: AtomicBool,
    /// Where a source that fetches goes on.
    pub cursor: Mutex<Option<String>>,
}

impl Engine {
    pub fn slow(duration: Duration) -> Arc<Self> {
        let engine = Engine::default();
        *engine.slow.lock().unwrap() = duration;
        Arc::new(engine)
    }

    pub fn bodies(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .map(|incoming| String::from_utf8_lossy(&incoming.body).into_owned())
            .collect()
    }

    /// Length and reason of what was kept and could not be a message.
    pub fn kept(&self) -> Vec<(usize, String)> {
        let kept = self.kept.lock().unwrap();
        kept.iter()
            .map(|(incoming, why)| (incoming.body.len(), why.clone()))
            .collect()
    }

    fn acknowledge(&self, word: &str, body: &[u8], outcome: Outcome) -> Acknowledgement {
        let mut frame = word.as_bytes().to_vec();
        frame.extend(&body[..body.len().min(10)]);
        if self.loud.load(Ordering::SeqCst) && body.starts_with(b"flood") {
            frame.resize(100 * 1024, b'!');
        }
        Acknowledgement {
            frames: if self.mute.load(Ordering::SeqCst) {
                vec![]
            } else {
                vec![frame]
            },
            outcome,
            note: Some("As the test wants it.".to_owned()),
            ..Acknowledgement::default()
        }
    }
}

#[async_trait]
impl Accept for Engine {
    async fn accept(&self, incoming: Incoming) -> Acknowledgement {
        let slow = *self.slow.lock().unwrap();
        tokio::time::sleep(slow).await;
        let outcome = *self.outcome.lock().unwrap();
        let acknowledgement = self.acknowledge("ACK ", &incoming.body, outcome);
        self.taken.lock().unwrap().push(incoming);
        acknowledgement
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        let acknowledgement = self.acknowledge("NAK ", &kept.body, Outcome::Failed);
        self.kept.lock().unwrap().push((kept, why));
        acknowledgement
    }

    async fn newest(&self, beginning: &str) -> Result<Option<String>, ConnectorError> {
        let taken = self.taken.lock().unwrap();
        let mut numbers = taken
            .iter()
            .rev()
            .filter_map(|incoming| incoming.identity.clone());
        Ok(numbers.find(|number| number.starts_with(beginning)))
    }

    async fn cursor(&self) -> Result<Option<String>, ConnectorError> {
        Ok(self.cursor.lock().unwrap().clone())
    }

    async fn keep_cursor(&self, cursor: &str) -> Result<(), ConnectorError> {
        *self.cursor.lock().unwrap() = Some(cursor.to_owned());
        Ok(())
    }
}

/// A source that runs.
pub struct Running {
    pub address: SocketAddr,
    pub stop: Stop,
    pub task: JoinHandle<()>,
}

impl Running {
    /// Stops it and gives how long that took.
    pub async fn stopped(self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        within(3, self.task).await.unwrap();
        begun.elapsed()
    }
}

pub async fn start(connectors: &Connectors, name: &str, settings: Value, engine: &Arc<Engine>) -> Running {
    start_in(&Surroundings::default(), connectors, name, settings, engine).await
}

pub async fn start_in(
    surroundings: &Surroundings,
    connectors: &Connectors,
    name: &str,
    settings: Value,
    engine: &Arc<Engine>,
) -> Running {
    let connector = connectors.get(name).unwrap();
    assert_eq!(connector.check_source(&settings), []);
    let source = connector.open_source(&settings, surroundings).await.unwrap();
    let address = source.local_address().unwrap();
    let stop = Stop::new();
    let intake: Arc<dyn Accept> = engine.clone();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { source.run(intake, stop).await.unwrap() }
    });
    Running { address, stop, task }
}

pub async fn destination(name: &str, settings: Value) -> Arc<dyn Destination> {
    destination_in(&Surroundings::default(), name, settings).await
}

pub async fn destination_in(
    surroundings: &Surroundings,
    name: &str,
    settings: Value,
) -> Arc<dyn Destination> {
    let connector = connectors::all().get(name).unwrap();
    assert_eq!(connector.check_destination(&settings), []);
    connector.open_destination(&settings, surroundings).await.unwrap()
}

pub fn outgoing(body: impl Into<bytes::Bytes>) -> Outgoing {
    Outgoing {
        delivery: 42,
        body: body.into(),
        big: None,
        content_type: "text/plain".to_owned(),
        about: About::default(),
    }
}

pub fn paths(problems: &[SettingsProblem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.path.as_str()).collect()
}

/// A future that has to end in time.
pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .expect("in time")
}

/// Waits until something is so.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not so within five seconds: {what}");
}
