//! A channel's place on a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use engine::connector::{ConnectorError, Intake, Stop, Surroundings};
use tokio::time::{Instant, timeout_at};

use super::listener::{Listeners, Membership};
use super::request::Route;
use super::settings;
use crate::sockets::STOPPED_AFTER;

/// A route that waits to be run; until then its callers are told to come again.
pub(super) struct HttpSource {
    membership: Membership,
    route: Arc<Route>,
}

impl HttpSource {
    pub(super) async fn open(
        settings: settings::Source,
        surroundings: &Surroundings,
        listeners: &Listeners,
    ) -> Result<Self, ConnectorError> {
        let token = match &settings.auth {
            Some(bearer) => Some(bearer.resolve(surroundings).await?),
            None => None,
        };
        let route = Arc::new(Route::new(settings, token));
        let membership = listeners.join(route.clone(), surroundings)?;
        Ok(HttpSource { membership, route })
    }
}

#[async_trait]
impl engine::connector::Source for HttpSource {
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
            tracing::debug!("Requests still busy at the stop have no answer; their senders send again.");
        }
        Ok(())
    }
}
