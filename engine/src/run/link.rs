//! `channel`: a destination that is another channel, and the source of a channel that others lead to.
//!
//! It has no protocol: the [feeder](super::feeder) of such a destination writes the other channel's message and the end
//! of the delivery in one unit of work. This is only what channel files say of it.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::channel::OnUnsure;
use crate::connector::{Connector, ConnectorError, Source, Surroundings};

/// Its name in channel files.
pub const LINK: &str = "channel";

/// The most channels that a message passes. One that has passed so many goes round in a circle that can't be seen in
/// the channel files.
pub const HOPS: usize = 16;

/// The link as an end of channels.
pub struct Link;

#[async_trait]
impl Connector for Link {
    fn name(&self) -> &'static str {
        LINK
    }

    fn format(&self) -> Option<&'static str> {
        None
    }

    fn source_schema(&self) -> Option<Value> {
        Some(json!({
            "description": "Other channels, whose destinations lead here by channel = \"…\". Has no settings: {}.",
            "type": "object",
            "additionalProperties": false,
            "properties": {}
        }))
    }

    fn destination_schema(&self) -> Option<Value> {
        Some(json!({
            "description": "The channel that it leads to; its source is [source.channel].",
            "type": "string"
        }))
    }

    /// What the other channel has stored is taken; nobody judges.
    fn answers(&self) -> bool {
        false
    }

    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Inside))
    }

    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

/// A source inside Punte: what it brings comes through the door by itself.
pub(super) struct Inside;

#[async_trait]
impl Source for Inside {
    fn local_address(&self) -> Option<std::net::SocketAddr> {
        None
    }

    async fn run(
        self: Box<Self>,
        _: crate::connector::Intake,
        stop: crate::connector::Stop,
    ) -> Result<(), ConnectorError> {
        stop.cancelled().await;
        Ok(())
    }
}
