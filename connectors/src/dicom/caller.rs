//! How a far side is called: connection, TLS, titles, limits.

use engine::connector::{ConnectorError, Surroundings};
use serde_json::Value;
use tokio::time::timeout;

use super::settings::{self, DestinationSettings};
use crate::sockets;
use crate::tls::{Secured, Stream};
use crate::values::checked;

/// A far side, and how it is called.
pub struct Caller {
    pub(super) settings: settings::Destination,
    secured: Option<Secured>,
}

impl Caller {
    /// By the table of a destination.
    pub fn open(table: &Value, surroundings: &Surroundings) -> Result<Self, ConnectorError> {
        Self::new(checked::<DestinationSettings>(table)?, surroundings)
    }

    pub(super) fn new(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let secured = match &settings.tls {
            Some(tls) => Some(Secured::open(tls, &surroundings.folder)?),
            None => None,
        };
        Ok(Caller { settings, secured })
    }

    /// Whom it calls.
    pub fn called(&self) -> &dimse::AeTitle {
        &self.settings.called_ae
    }

    /// As whom it calls.
    pub fn calling(&self) -> &dimse::AeTitle {
        &self.settings.calling_ae
    }

    /// A proposal with both titles.
    pub fn proposal(&self) -> dimse::Proposal {
        dimse::Proposal::new(self.settings.calling_ae.clone(), self.settings.called_ae.clone())
    }

    /// A proposal that names us otherwise: as the far side has called us.
    pub fn proposal_as(&self, ours: &str) -> dimse::Proposal {
        let ours = dimse::AeTitle::from_wire(ours.as_bytes());
        dimse::Proposal::new(ours, self.settings.called_ae.clone())
    }

    /// A new association. An error says why not, and that nothing was sent.
    pub async fn associate(&self, proposal: dimse::Proposal) -> Result<dimse::Association<Stream>, String> {
        let (to, within) = (&self.settings.connect, self.settings.connect_timeout);
        let stream = sockets::connect(to, within).await?;
        let stream = match &self.secured {
            Some(secured) => timeout(within, secured.connect(to, stream))
                .await
                .unwrap_or_else(|_| Err(format!("No secure connection to {to} within {within:?}.")))?,
            None => Stream::plain(stream),
        };
        dimse::request(stream, proposal, self.settings.limits)
            .await
            .map_err(|error| {
                format!(
                    "No association with {} at {to}: {error}.",
                    self.settings.called_ae
                )
            })
    }
}
