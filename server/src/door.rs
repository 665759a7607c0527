//! The source of the write door: hands the engine's intake to the HTTP interface.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::channel::{OnUnsure, write_door};
use engine::connector::{Connector, ConnectorError, Intake, Source, Stop, Surroundings};
use serde_json::Value;
use tokio::sync::watch;

/// How long a request waits for the channel to be open.
const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// Where the intake of the open channel is found.
#[derive(Clone)]
pub struct Doorway {
    open: Arc<watch::Sender<Option<Intake>>>,
}

impl Default for Doorway {
    fn default() -> Self {
        Doorway {
            open: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Doorway {
    /// The intake; none: the channel is not open.
    pub async fn intake(&self) -> Option<Intake> {
        let mut seen = self.open.subscribe();
        let opened = tokio::time::timeout(OPENS_WITHIN, seen.wait_for(Option::is_some)).await;
        opened.ok()?.ok()?.clone()
    }
}

/// The connector `api`: a source that listens nowhere itself.
pub struct WriteDoor {
    doorway: Doorway,
}

impl WriteDoor {
    /// Opens at this doorway.
    pub fn new(doorway: Doorway) -> Self {
        WriteDoor { doorway }
    }
}

#[async_trait]
impl Connector for WriteDoor {
    fn name(&self) -> &'static str {
        write_door::CONNECTOR
    }
    fn format(&self) -> Option<&'static str> {
        Some("clinic")
    }
    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Open {
            doorway: self.doorway.clone(),
        }))
    }
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Hold
    }
}

struct Open {
    doorway: Doorway,
}

#[async_trait]
impl Source for Open {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        self.doorway.open.send_replace(Some(intake.clone()));
        stop.cancelled().await;
        // Another one may have been opened in its place meanwhile.
        self.doorway.open.send_if_modified(|open| {
            let mine = open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &intake));
            if mine {
                *open = None;
            }
            mine
        });
        Ok(())
    }
}
