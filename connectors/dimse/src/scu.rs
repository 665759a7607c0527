//! The requests of a service user (PS3.7 9 and 10).

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::ae::AeTitle;
use crate::association::{Association, Context, Message};
use crate::command::{Command, Operation, tags};
use crate::error::Error;
use crate::pdu::Fault;
use crate::status::{Status, StatusKind};
use crate::uids;

/// The longest data set of an answer: a match of a query, a list of failed instances.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its command set.
    pub command: Command,
    /// Its data set; mostly empty.
    pub data: Bytes,
}

impl Answer {
    /// What it says.
    pub fn status(&self) -> Status {
        self.command.status()
    }
}

/// An object that is to be stored.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Its class.
    pub class: &'a str,
    /// Its instance.
    pub instance: &'a str,
    /// On whose behalf, by which message: where this is a sub-operation of a C-MOVE (PS3.7 9.1.1.1).
    pub originator: Option<(&'a AeTitle, u16)>,
}

/// A request of which more than one answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    context: u8,
    message_id: u16,
}

impl Asked {
    /// The message id of the request, which its answers name.
    pub fn message_id(&self) -> u16 {
        self.message_id
    }
}

/// An answer to a query.
#[derive(Clone, Debug)]
pub enum Found {
    /// A match, in the transfer syntax of the context.
    Match(Answer),
    /// There are no more.
    End(Answer),
}

/// What comes while objects are retrieved.
#[derive(Clone, Debug)]
pub enum Retrieved {
    /// How far it is.
    Progress(Answer),
    /// Of C-GET: an object, whose data set follows ([`Association::data`]); to be answered with [`Association::send`].
    Object(Message),
    /// It is over.
    End(Answer),
}

/// How many sub-operations are in which state (PS3.7 9.1.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To come; an end has none.
    pub remaining: Option<u16>,
    /// Done.
    pub completed: u16,
    /// Failed.
    pub failed: u16,
    /// Done with a warning.
    pub warning: u16,
}

impl Counts {
    /// On an answer.
    pub fn on(self, command: Command) -> Command {
        let command = match self.remaining {
            Some(remaining) => command.number(tags::REMAINING, remaining),
            None => command,
        };
        command
            .number(tags::COMPLETED, self.completed)
            .number(tags::FAILED, self.failed)
            .number(tags::WARNING, self.warning)
    }

    /// As an answer says.
    pub fn of(command: &Command) -> Self {
        let number = |tag| command.get_number(tag);
        Counts {
            remaining: number(tags::REMAINING),
            completed: number(tags::COMPLETED).unwrap_or(0),
            failed: number(tags::FAILED).unwrap_or(0),
            warning: number(tags::WARNING).unwrap_or(0),
        }
    }
}

/// Medium (PS3.7 9.1).
const PRIORITY: u16 = 0;

impl<S: AsyncRead + AsyncWrite + Unpin> Association<S> {
    /// The accepted context of a class; an error where there is none.
    pub fn context_of(&self, class: &str) -> Result<Context, Error> {
        let context = self.context(class, None).cloned();
        context.ok_or_else(|| Error::NoContext {
            class: class.to_owned(),
        })
    }

    /// C-ECHO (PS3.7 9.1.5).
    pub async fn echo(&mut self) -> Result<Status, Error> {
        let context = self.context_of(uids::VERIFICATION)?;
        let command =
            |id| Command::request(Operation::Echo, id).uid(tags::AFFECTED_CLASS, uids::VERIFICATION);
        Ok(self.ask(&context, command, None).await?.status())
    }

    /// C-STORE (PS3.7 9.1.1) of a data set that is whole here.
    pub async fn store(
        &mut self,
        context: &Context,
        object: &Object<'_>,
        data: &[u8],
    ) -> Result<Answer, Error> {
        let asked = self.begin_store(context, object);
        self.send_data(context.id, data, true).await?;
        self.answer(asked).await
    }

    /// Begins a C-STORE: its data set follows ([`Association::send_data`]), then its answer ([`Association::answer`]).
    pub fn begin_store(&mut self, context: &Context, object: &Object<'_>) -> Asked {
        let command = |id| {
            let command = Command::request(Operation::Store, id)
                .uid(tags::AFFECTED_CLASS, object.class)
                .uid(tags::AFFECTED_INSTANCE, object.instance)
                .number(tags::PRIORITY, PRIORITY);
            match object.originator {
                Some((title, id)) => command
                    .text(tags::MOVE_ORIGINATOR, title.as_str())
                    .number(tags::MOVE_ORIGINATOR_ID, id),
                None => command,
            }
        };
        self.begin_request(context, command, true)
    }

    /// C-FIND (PS3.7 9.1.2); its answers are had by [`Association::next_match`].
    pub async fn find(&mut self, context: &Context, identifier: &[u8]) -> Result<Asked, Error> {
        self.query(Operation::Find, context, identifier, None).await
    }

    /// C-MOVE (PS3.7 9.1.4) to an AE; its answers are had by [`Association::next_retrieved`].
    pub async fn retrieve_to(
        &mut self,
        context: &Context,
        identifier: &[u8],
        destination: &AeTitle,
    ) -> Result<Asked, Error> {
        self.query(Operation::Move, context, identifier, Some(destination))
            .await
    }

    /// C-GET (PS3.7 9.1.3); objects and answers are had by [`Association::next_retrieved`].
    pub async fn get(&mut self, context: &Context, identifier: &[u8]) -> Result<Asked, Error> {
        self.query(Operation::Get, context, identifier, None).await
    }

    async fn query(
        &mut self,
        operation: Operation,
        context: &Context,
        identifier: &[u8],
        destination: Option<&AeTitle>,
    ) -> Result<Asked, Error> {
        let message_id = self.message_id();
        let mut command = Command::request(operation, message_id)
            .uid(tags::AFFECTED_CLASS, &context.class)
            .number(tags::PRIORITY, PRIORITY);
        if let Some(destination) = destination {
            command = command.text(tags::MOVE_DESTINATION, destination.as_str());
        }
        self.send(context.id, &command, Some(identifier)).await?;
        Ok(Asked {
            context: context.id,
            message_id,
        })
    }

    /// The next answer to a query.
    pub async fn next_match(&mut self, asked: Asked) -> Result<Found, Error> {
        let answer = self.answer(asked).await?;
        Ok(match answer.status().kind() {
            StatusKind::Pending => Found::Match(answer),
            StatusKind::Success | StatusKind::Warning | StatusKind::Failure | StatusKind::Cancel => {
                Found::End(answer)
            }
        })
    }

    /// The next thing that comes of a C-MOVE or C-GET.
    pub async fn next_retrieved(&mut self, asked: Asked) -> Result<Retrieved, Error> {
        let message = self.receive_answer().await?;
        if message.command.operation() == Some(Operation::Store) {
            return Ok(Retrieved::Object(message));
        }
        let answer = self.checked(asked, message).await?;
        Ok(match answer.status().kind() {
            StatusKind::Pending => Retrieved::Progress(answer),
            StatusKind::Success | StatusKind::Warning | StatusKind::Failure | StatusKind::Cancel => {
                Retrieved::End(answer)
            }
        })
    }

    /// C-CANCEL (PS3.7 9.3.2.3): the answer comes as the end of the others.
    pub async fn cancel(&mut self, asked: Asked) -> Result<(), Error> {
        self.send(asked.context, &Command::cancel(asked.message_id), None)
            .await
    }

    /// N-CREATE (PS3.7 10.1.5).
    pub async fn n_create(
        &mut self,
        context: &Context,
        instance: &str,
        data: &[u8],
    ) -> Result<Answer, Error> {
        let command = |id| {
            Command::request(Operation::NCreate, id)
                .uid(tags::AFFECTED_CLASS, &context.class)
                .uid(tags::AFFECTED_INSTANCE, instance)
        };
        self.ask(context, command, Some(data)).await
    }

    /// N-SET (PS3.7 10.1.3).
    pub async fn n_set(&mut self, context: &Context, instance: &str, data: &[u8]) -> Result<Answer, Error> {
        let command = |id| {
            Command::request(Operation::NSet, id)
                .uid(tags::REQUESTED_CLASS, &context.class)
                .uid(tags::REQUESTED_INSTANCE, instance)
        };
        self.ask(context, command, Some(data)).await
    }

    /// N-ACTION (PS3.7 10.1.4).
    pub async fn n_action(
        &mut self,
        context: &Context,
        instance: &str,
        action: u16,
        data: &[u8],
    ) -> Result<Answer, Error> {
        let command = |id| {
            Command::request(Operation::NAction, id)
                .uid(tags::REQUESTED_CLASS, &context.class)
                .uid(tags::REQUESTED_INSTANCE, instance)
                .number(tags::ACTION_TYPE, action)
        };
        self.ask(context, command, Some(data)).await
    }

    /// N-EVENT-REPORT (PS3.7 10.1.1).
    pub async fn n_event_report(
        &mut self,
        context: &Context,
        instance: &str,
        event: u16,
        data: &[u8],
    ) -> Result<Answer, Error> {
        let command = |id| {
            Command::request(Operation::EventReport, id)
                .uid(tags::AFFECTED_CLASS, &context.class)
                .uid(tags::AFFECTED_INSTANCE, instance)
                .number(tags::EVENT_TYPE, event)
        };
        self.ask(context, command, Some(data)).await
    }

    /// One request, made with its message id, and its one answer.
    pub async fn ask(
        &mut self,
        context: &Context,
        command: impl FnOnce(u16) -> Command,
        data: Option<&[u8]>,
    ) -> Result<Answer, Error> {
        let asked = self.begin_request(context, command, data.is_some());
        match data {
            Some(data) => self.send_data(context.id, data, true).await?,
            None => self.flush().await?,
        }
        self.answer(asked).await
    }

    /// Begins a request, made with its message id: its data set follows ([`Association::send_data`]), or nothing
    /// ([`Association::flush`]); then its answer ([`Association::answer`]).
    pub fn begin_request(
        &mut self,
        context: &Context,
        command: impl FnOnce(u16) -> Command,
        has_data: bool,
    ) -> Asked {
        let message_id = self.message_id();
        self.begin(context.id, &command(message_id), has_data);
        Asked {
            context: context.id,
            message_id,
        }
    }

    /// The next answer to a request.
    pub async fn answer(&mut self, asked: Asked) -> Result<Answer, Error> {
        let message = self.receive_answer().await?;
        self.checked(asked, message).await
    }

    /// An answer belongs to its question. A request of the peer meanwhile is one that nobody here knows.
    async fn checked(&mut self, asked: Asked, mut message: Message) -> Result<Answer, Error> {
        while !message.command.is_answer() {
            if let Some(cancelled) = message.command.cancels() {
                self.cancels(cancelled);
                message = self.receive_answer().await?;
                continue;
            }
            let refusal = message.command.answer(Status::UNRECOGNIZED_OPERATION);
            self.send(message.context.id, &refusal, None).await?;
            message = self.receive_answer().await?;
        }
        if message.command.responds_to() != asked.message_id {
            return Err(self
                .fail(Fault::invalid("an answer to a message that was not sent"))
                .await);
        }
        let data = self.whole_data(LONGEST_ANSWER).await?;
        Ok(Answer {
            command: message.command,
            data,
        })
    }
}
