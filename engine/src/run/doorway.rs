//! Where the door of a channel hangs: a source keeps the doorway, and a reload hangs another door into it.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::door::Door;
use super::tasks::Tasks;
use crate::archive::KeptObject;
use crate::body::BodyWriter;
use crate::channel::{Channel, End};
use crate::connector::{Accept, Acknowledgement, ConnectorError, Source, Stop};
use crate::message::Incoming;

/// The doorway of one channel. A message goes by the door that hangs here when it comes, to its end.
pub(super) struct Doorway {
    door: RwLock<Arc<Door>>,
}

impl Doorway {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Doorway {
            door: RwLock::new(door),
        }
    }

    /// The door as it is now.
    pub(super) fn door(&self) -> Arc<Door> {
        self.door.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another door from now on.
    pub(super) fn hang(&self, door: Arc<Door>) {
        *self.door.write().unwrap_or_else(PoisonError::into_inner) = door;
    }
}

#[async_trait]
impl Accept for Doorway {
    async fn accept(&self, incoming: Incoming) -> Acknowledgement {
        self.door().accept(incoming).await
    }

    async fn ask(&self, question: Incoming) -> Acknowledgement {
        self.door().ask(question).await
    }

    async fn fetch(&self, question: Incoming) -> Result<Vec<KeptObject>, Acknowledgement> {
        self.door().fetch(question).await
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        self.door().reject(kept, why).await
    }

    fn begin_body(&self, limit: u64) -> BodyWriter {
        self.door().begin_body(limit)
    }

    async fn newest(&self, beginning: &str) -> Result<Option<String>, ConnectorError> {
        self.door().newest(beginning).await
    }

    async fn cursor(&self) -> Result<Option<String>, ConnectorError> {
        self.door().cursor().await
    }

    async fn keep_cursor(&self, cursor: &str) -> Result<(), ConnectorError> {
        self.door().keep_cursor(cursor).await
    }
}

/// One channel as the engine has it.
pub(super) struct Life {
    pub(super) doorway: Arc<Doorway>,
    /// Its source, where it runs.
    pub(super) source: Option<Listening>,
}

impl Life {
    pub(super) fn channel(&self) -> Arc<Channel> {
        self.doorway.door().channel.clone()
    }
}

/// A source that runs.
pub(super) struct Listening {
    pub(super) end: End,
    pub(super) address: Option<SocketAddr>,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Listening {
    /// Lets a source run into a doorway.
    pub(super) fn begin(
        channel: &Channel,
        source: Box<dyn Source>,
        doorway: Arc<Doorway>,
        tasks: &Tasks,
    ) -> Self {
        let stop = tasks.stop().child_token();
        let address = source.local_address();
        let (id, stopped) = (channel.id.clone(), stop.clone());
        let task = tasks.spawn(async move {
            tracing::info!(channel = %id, ?address, "The channel is open.");
            if let Err(error) = source.run(doorway, stopped).await {
                tracing::error!(channel = %id, %error, "The source ended; nothing more comes in by it.");
            }
        });
        Listening {
            end: channel.source.clone(),
            address,
            stop,
            task,
        }
    }

    /// True where it ended by itself: something is wrong with it.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops it: what it has begun is answered, its address is free when this returns.
    pub(super) async fn end(self) {
        self.stop.cancel();
        // How it ended has been told where it did.
        let _ = self.task.await;
    }
}
