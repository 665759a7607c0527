//! Lets the script take each delivery.

use async_trait::async_trait;
use clinic::exchange::Response;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError};
use engine::run::ScriptEnd;

/// A script that takes deliveries.
pub(super) struct ScriptDestination(pub(super) ScriptEnd);

#[async_trait]
impl engine::connector::Destination for ScriptDestination {
    /// The script pairs questions and answers itself, so `mine` is not asked.
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let reference = self.0.deliver(outgoing).await?;
        Ok(Response {
            status: None,
            content_type: reference.as_ref().map(|_| "text/plain".to_owned()),
            body: reference.unwrap_or_default().into_bytes(),
            location: None,
        })
    }

    /// Whom it will call is known to the script alone.
    async fn probe(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}
