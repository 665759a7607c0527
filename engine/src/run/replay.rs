//! A stored message, taken again: as it came or edited, to all destinations or some.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::asking::Answers;
use super::door::{Door, Settled};
use super::halt::known_destination;
use super::host::{Engine, EngineError};
use super::outcome::Outcome;
use super::pipeline::Pipeline;
use super::trace::Trace;
use crate::format::SetOp;
use crate::message::{By, Incoming, MessageDetail, MessageState, Origin};
use crate::store::StoreError;

/// How a stored message is taken again.
#[derive(Clone, Debug, Default)]
pub struct Again {
    /// To these destinations alone; none: to all.
    pub only: Option<Vec<String>>,
    /// These bytes in place of those that came.
    pub body: Option<Bytes>,
    /// These values changed.
    pub set: Vec<(String, SetOp)>,
    /// Who does it: the name of a key. It is kept with the message.
    pub by: String,
}

/// A message that is ready to be taken again.
struct Prepared {
    door: Arc<Door>,
    detail: MessageDetail,
    body: Bytes,
    /// What it answers, where it is an answer.
    sent: Option<Bytes>,
}

impl Engine {
    /// Takes a stored message again, as new, with a link to its origin.
    pub async fn replay(&self, id: Uuid, again: Again) -> Result<(Uuid, MessageState), EngineError> {
        let Prepared {
            door,
            detail,
            body,
            sent,
        } = self.prepare(id, &again).await?;
        let is_edited = body != detail.body;
        // What the transport said stays: the steps of the channel may ask for it.
        let mut headers = detail.headers;
        headers.retain(|(name, _)| !["origin", "by", "edited"].contains(&name.as_str()));
        headers.push(("origin".to_owned(), "replay".to_owned()));
        headers.push(("by".to_owned(), again.by));
        if is_edited {
            headers.push(("edited".to_owned(), "true".to_owned()));
        }
        let incoming = Incoming {
            body,
            big: detail.big.filter(|_| !is_edited),
            content_type: detail.content_type,
            headers,
            received_at: (self.world.now)(),
            identity: None,
        };
        match door
            .replay(id, detail.row.origin, incoming, again.only, sent)
            .await
        {
            Settled::Stored { id, state, .. } => Ok((id, state)),
            Settled::Not(error) => Err(error.into()),
            Settled::Over => Err(StoreError::Unavailable("the delivery that makes it is over".into()).into()),
        }
    }

    /// What [`Engine::replay`] would do, step by step. Nothing is written and nothing is sent.
    pub async fn rehearse(&self, id: Uuid, again: Again) -> Result<(Outcome, Vec<Trace>), EngineError> {
        let Prepared { door, body, sent, .. } = self.prepare(id, &again).await?;
        let snapshot = self.store.snapshot()?;
        let id = (self.world.new_id)();
        let (channel, formats, world) = (door.channel.clone(), self.formats.clone(), self.world.clone());
        let pipeline = Pipeline::new(channel, formats, world, id, again.only);
        let shown = pipeline
            .answering(sent)
            .show(body, Arc::new(Answers::none()), snapshot.as_ref());
        shown.map_err(|error| StoreError::Unavailable(error.to_string()).into())
    }

    /// What a message answers, where it is an answer: the bytes of the delivery that it was made by.
    pub(super) async fn sent_of(&self, detail: &MessageDetail) -> Result<Option<Bytes>, EngineError> {
        let Some(origin) = detail
            .row
            .origin
            .as_ref()
            .filter(|origin| origin.by == By::Response)
        else {
            return Ok(None);
        };
        let question = self.store.message(origin.message).await?;
        let deliveries = question.into_iter().flat_map(|question| question.deliveries);
        let sent = deliveries
            .into_iter()
            .find(|delivery| delivery.row.id == origin.delivery);
        Ok(sent.map(|delivery| delivery.body))
    }

    async fn prepare(&self, id: Uuid, again: &Again) -> Result<Prepared, EngineError> {
        let detail = self
            .store
            .message(id)
            .await?
            .ok_or_else(|| EngineError::NotThere(format!("there is no message {id}")))?;
        if detail.is_question() {
            return Err(EngineError::Wrong(format!(
                "message {id} is a question, which is answered and not taken again; ask it again"
            )));
        }
        if detail.row.pruned.is_some() && again.body.is_none() {
            return Err(EngineError::NotNow(format!(
                "the bytes of message {id} were taken out when their time had come; give others with --edit, or ask its sender"
            )));
        }
        let door = self.door(&detail.row.channel).ok_or_else(|| {
            EngineError::NotThere(format!(
                "the channel {:?} of message {id} is not there any more",
                detail.row.channel
            ))
        })?;
        let is_part = |origin: &Origin| origin.by == By::Part;
        let is_whole = door.channel.split().is_some() && !detail.row.origin.as_ref().is_some_and(is_part);
        if again.only.is_some() && is_whole {
            return Err(EngineError::Wrong(format!(
                "message {id} is a whole, whose parts go to the destinations; take it again as it is, or one of its parts"
            )));
        }
        for name in again.only.iter().flatten() {
            known_destination(&door.channel, name)?;
        }
        if detail.is_beginning() && again.body.is_none() && !again.set.is_empty() {
            return Err(EngineError::Wrong(format!(
                "message {id} is too long to be changed; take it again as it is"
            )));
        }
        let body = again.body.as_ref().unwrap_or(&detail.body);
        let changed = door
            .format
            .set(body, &again.set)
            .map_err(|error| EngineError::Wrong(error.to_string()))?;
        let body = match changed {
            Cow::Borrowed(_) => body.clone(),
            Cow::Owned(changed) => changed.into(),
        };
        if body != detail.body {
            // What came unreadable may be taken again as it was; an edit is to be a message.
            let inspected = door.format.inspect(&body);
            inspected.map_err(|error| EngineError::Wrong(format!("the edited message: {error}")))?;
        }
        let sent = self.sent_of(&detail).await?;
        Ok(Prepared {
            door,
            detail,
            body,
            sent,
        })
    }
}
