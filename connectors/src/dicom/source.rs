//! A channel's place on a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use engine::connector::{ConnectorError, Intake, Stop, Surroundings};
use tokio::time::{Instant, timeout_at};

use super::listener::{Listeners, Membership, Route};
use super::reports::Reports;
use super::settings;
use crate::sockets::STOPPED_AFTER;

/// A route that waits to be run; until then its peers are told to come again.
pub(super) struct DicomSource {
    membership: Membership,
    route: Arc<Route>,
}

impl DicomSource {
    pub(super) fn open(
        settings: settings::Source,
        surroundings: &Surroundings,
        listeners: &Listeners,
        reports: Reports,
    ) -> Result<Self, ConnectorError> {
        let route = Arc::new(Route::new(settings, surroundings, reports)?);
        let membership = listeners.join(route.clone(), surroundings)?;
        Ok(DicomSource { membership, route })
    }
}

#[async_trait]
impl engine::connector::Source for DicomSource {
    fn local_address(&self) -> Option<SocketAddr> {
        Some(self.membership.local())
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        self.route.open(intake);
        stop.cancelled().await;
        let deadline = Instant::now() + STOPPED_AFTER;
        self.route.close();
        let listener = self.membership.leave();
        let ended = async {
            self.route.ended().await;
            if let Some(listener) = listener {
                // Its own end is not ours: it has been told to stop, and says what went wrong itself.
                let _ = listener.await;
            }
        };
        if timeout_at(deadline, ended).await.is_err() {
            tracing::debug!("Messages still busy at the stop have no answer; their peers send again.");
        }
        Ok(())
    }
}
