//! `[[destination.response]]`: what comes of the answer of a destination. It is a message of a channel of its own, which
//! is written together with what became of the delivery.

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::Response;
use serde_json::Value;

use super::World;
use super::door::{Door, Handed};
use super::link::Inside;
use crate::channel::OnUnsure;
use crate::channel::response::RESPONSE;
use crate::connector::{Connector, ConnectorError, Source, Surroundings};
use crate::message::{By, Incoming, Origin};
use crate::store::{Attempted, Lineage, MadeBy};

/// The source of the channels that answers go through. No file can name it.
pub(crate) struct Responses;

#[async_trait]
impl Connector for Responses {
    fn name(&self) -> &'static str {
        RESPONSE
    }

    fn format(&self) -> Option<&'static str> {
        None
    }

    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Inside))
    }

    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

/// Which delivery was answered, and what was sent with it.
pub(super) struct Question {
    /// The message that it belongs to.
    pub message: uuid::Uuid,
    /// What that one hands on.
    pub lineage: Lineage,
    /// The bytes that were sent.
    pub sent: Bytes,
}

impl Door {
    /// An answer as the message that is made of it, by the try that it ends.
    pub(super) fn answer(
        &self,
        world: &World,
        question: Question,
        response: &Response,
        ends: Attempted,
    ) -> Handed {
        let mut headers = vec![];
        headers.extend(
            response
                .status
                .map(|status| ("status".to_owned(), status.to_string())),
        );
        let location = response.location.as_ref();
        headers.extend(location.map(|location| ("location".to_owned(), location.clone())));
        let content_type = response.content_type.clone();
        let mut trace = question.lineage.trace;
        trace.push(question.lineage.channel);
        Handed {
            incoming: Incoming {
                body: Bytes::copy_from_slice(&response.body),
                big: None,
                content_type: content_type.unwrap_or_else(|| self.format.content_type().to_owned()),
                headers,
                received_at: (world.now)(),
                identity: None,
            },
            origin: Origin {
                by: By::Response,
                message: question.message,
                delivery: ends.delivery,
                number: 1,
                of: 1,
                trace,
            },
            made_by: MadeBy {
                delivery: ends.delivery,
                // A try has one answer.
                number: ends.number,
                ends: Some(ends),
            },
            is_known_again: false,
            sent: Some(question.sent),
        }
    }
}
