//! The tasks of the engine: each has an owner, which waits for all of them at the end.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::connector::Stop;

/// What is spawned, and what stops it.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    stop: Stop,
    tracker: TaskTracker,
}

impl Tasks {
    /// What stops all of them.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Lets one run. A panic ends this one alone, and is told.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tracker.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("A task of the engine ended by a panic.");
            }
        })
    }

    /// Stops all and waits for their ends.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
