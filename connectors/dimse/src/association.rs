//! An association: messages in and out, until its end (PS3.8 9.2).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::ae::AeTitle;
use crate::command::Command;
use crate::error::Error;
use crate::message::{Assembler, Piece};
use crate::negotiation::Limits;
use crate::pdu::{self, Abort, Fault, Limit, Pdu, Role};
use crate::wire::Wire;

/// The longest fragment that we send, whatever the peer would take.
const LONGEST_FRAGMENT: usize = 128 * 1024 - 6;
/// So much is written before it leaves; a small message leaves as a whole.
const LEAVES: usize = 64 * 1024;

/// An accepted presentation context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Odd.
    pub id: u8,
    /// The class, a UID.
    pub class: String,
    /// The transfer syntax, a UID.
    pub syntax: String,
}

/// A message that has begun: its command set is whole.
#[derive(Clone, Debug)]
pub struct Message {
    /// The context that it came on.
    pub context: Context,
    /// The command set.
    pub command: Command,
    /// Its bytes, as they came.
    pub bytes: Bytes,
}

/// Who is at the ends, and what the peer said.
pub(crate) struct Ends {
    pub(crate) calling: AeTitle,
    pub(crate) called: AeTitle,
    pub(crate) is_requestor: bool,
    /// What the peer takes; 0: anything.
    pub(crate) max_length: u32,
    pub(crate) roles: Vec<Role>,
}

/// An association over a stream.
pub struct Association<S> {
    wire: Wire<S>,
    limits: Limits,
    contexts: Vec<Context>,
    ends: Ends,
    assembler: Assembler,
    /// What came and was not asked for yet.
    pieces: VecDeque<Piece>,
    /// The data set of the message that was given out last has not ended.
    in_data: bool,
    next_message: u16,
    /// What the peer has cancelled while something else was waited for.
    cancelled: Option<u16>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Association<S> {
    pub(crate) fn new(wire: Wire<S>, limits: Limits, contexts: Vec<Context>, ends: Ends) -> Self {
        Association {
            wire,
            limits,
            contexts,
            ends,
            assembler: Assembler::default(),
            pieces: VecDeque::new(),
            in_data: false,
            next_message: 1,
            cancelled: None,
        }
    }

    /// Who called.
    pub fn calling(&self) -> &AeTitle {
        &self.ends.calling
    }

    /// Who was called.
    pub fn called(&self) -> &AeTitle {
        &self.ends.called
    }

    /// What was accepted.
    pub fn contexts(&self) -> &[Context] {
        &self.contexts
    }

    /// Roles that were accepted; of other classes the requestor is the user.
    pub fn roles(&self) -> &[Role] {
        &self.ends.roles
    }

    /// The accepted context of a class with this syntax; without one: the first of the class.
    pub fn context(&self, class: &str, syntax: Option<&str>) -> Option<&Context> {
        let mut contexts = self.contexts.iter().filter(|context| context.class == class);
        contexts.find(|context| syntax.is_none_or(|syntax| context.syntax == syntax))
    }

    /// A message id that is not in use.
    pub(crate) fn message_id(&mut self) -> u16 {
        let id = self.next_message;
        self.next_message = if id == u16::MAX { 1 } else { id + 1 };
        id
    }

    /// Waits for the next message. What is left of the data set of the one before is passed over.
    pub async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            let idle = match self.assembler.is_within() || self.in_data {
                true => Some(self.limits.within),
                false => self.limits.idle,
            };
            if let Some(message) = self.begun(idle, "the next message").await? {
                return Ok(message);
            }
        }
    }

    /// As [`Association::receive`], for an answer, which has its own time.
    pub(crate) async fn receive_answer(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.begun(Some(self.limits.answer), "an answer").await? {
                return Ok(message);
            }
        }
    }

    /// The peer has cancelled a message of its own; [`Association::is_cancelled`] tells it.
    pub(crate) fn cancels(&mut self, message_id: u16) {
        self.cancelled = Some(message_id);
    }

    async fn begun(&mut self, idle: Option<Duration>, what: &'static str) -> Result<Option<Message>, Error> {
        match self.piece(idle, what).await? {
            Piece::Command {
                context,
                command,
                bytes,
            } => {
                self.in_data = command.has_data();
                let Some(context) = self.contexts.iter().find(|known| known.id == context).cloned() else {
                    return Err(self.fail(UNKNOWN_CONTEXT).await);
                };
                Ok(Some(Message {
                    context,
                    command,
                    bytes,
                }))
            }
            Piece::Data(_) => Ok(None),
            Piece::End => {
                self.in_data = false;
                Ok(None)
            }
        }
    }

    /// The next part of the data set of the message that [`Association::receive`] gave; none: it is whole, or has none.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.in_data {
            return Ok(None);
        }
        match self
            .piece(Some(self.limits.within), "the rest of a message")
            .await?
        {
            Piece::Data(bytes) => Ok(Some(bytes)),
            Piece::End => {
                self.in_data = false;
                Ok(None)
            }
            // The assembler gives no command before the end of a data set.
            Piece::Command { .. } => Err(self
                .fail(Fault::unexpected("a command before the end of a data set"))
                .await),
        }
    }

    /// The whole data set, where it is at most this long.
    pub async fn whole_data(&mut self, limit: usize) -> Result<Bytes, Error> {
        let Some(first) = self.data().await? else {
            return Ok(Bytes::new());
        };
        let mut whole = first;
        let mut many = BytesMut::new();
        while let Some(next) = self.data().await? {
            if many.is_empty() {
                many.extend_from_slice(&whole);
                whole = Bytes::new();
            }
            if limit < many.len() + next.len() {
                return Err(Error::TooLong { limit });
            }
            many.extend_from_slice(&next);
        }
        let whole = if many.is_empty() { whole } else { many.freeze() };
        match whole.len() <= limit {
            true => Ok(whole),
            false => Err(Error::TooLong { limit }),
        }
    }

    /// Whether the peer has cancelled this message of its own. Looks at what is there, and does not wait for more.
    pub async fn is_cancelled(&mut self, message_id: u16) -> Result<bool, Error> {
        if self.cancelled.take() == Some(message_id) {
            return Ok(true);
        }
        loop {
            while let Some(Piece::Command { command, .. }) = self.pieces.front() {
                let Some(cancelled) = command.cancels() else {
                    return Ok(false);
                };
                self.pieces.pop_front();
                if cancelled == message_id {
                    return Ok(true);
                }
            }
            // A data set belongs to a message that waits behind: it is no cancel.
            if !self.pieces.is_empty() {
                return Ok(false);
            }
            self.heed().await?;
            if self.pieces.is_empty() {
                return Ok(false);
            }
        }
    }

    async fn piece(&mut self, idle: Option<Duration>, what: &'static str) -> Result<Piece, Error> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(piece);
            }
            match self.wire.pdu(self.limit(), idle, what).await {
                Ok(pdu) => self.take(pdu).await?,
                Err(Error::Fault(fault)) => return Err(self.fail(fault).await),
                Err(error @ Error::TimedOut { .. }) => {
                    self.wire.abort(Abort::USER, self.limits.artim).await;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What a PDU means in an association that stands (PS3.8 9.2, Sta6).
    async fn take(&mut self, pdu: Pdu) -> Result<(), Error> {
        match pdu {
            Pdu::Data(pdvs) => {
                for pdv in pdvs {
                    if let Err(fault) = self.assembler.push(pdv, &mut self.pieces) {
                        return Err(self.fail(fault).await);
                    }
                }
                Ok(())
            }
            Pdu::ReleaseRq => {
                self.released().await;
                Err(Error::Released)
            }
            Pdu::Abort(abort) => Err(Error::PeerAborted(abort)),
            Pdu::AssociateRq(_) | Pdu::AssociateAc(_) | Pdu::AssociateRj(_) | Pdu::ReleaseRp => {
                Err(self.fail(UNEXPECTED).await)
            }
        }
    }

    /// Says why it is over, and that it is.
    pub(crate) async fn fail(&mut self, fault: Fault) -> Error {
        self.wire.abort(fault.abort(), self.limits.artim).await;
        fault.into()
    }

    /// Answers a release, and waits for the peer to close.
    async fn released(&mut self) {
        pdu::release_rp(self.wire.output());
        if self.wire.flush().await.is_ok() {
            self.wire.linger(self.limits.artim).await;
        }
    }

    fn limit(&self) -> Limit {
        Limit {
            data: self.limits.max_pdu,
        }
    }

    /// Sends a message whole.
    pub async fn send(&mut self, context: u8, command: &Command, data: Option<&[u8]>) -> Result<(), Error> {
        self.begin(context, command, data.is_some());
        match data {
            Some(data) => self.send_data(context, data, true).await,
            None => self.flush().await,
        }
    }

    /// Begins a message. It leaves with the first part of its data set; without one, by [`Association::flush`].
    pub fn begin(&mut self, context: u8, command: &Command, has_data: bool) {
        let bytes = command.write(has_data);
        let most = self.fragment();
        let mut rest = &bytes[..];
        loop {
            let (fragment, after) = rest.split_at(rest.len().min(most));
            pdu::data(context, true, after.is_empty(), fragment, self.wire.output());
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Sends a part of the data set of the message that was begun; each part but the last has an even length.
    pub async fn send_data(&mut self, context: u8, part: &[u8], is_last: bool) -> Result<(), Error> {
        let most = self.fragment();
        let mut rest = part;
        loop {
            let (fragment, after) = rest.split_at(rest.len().min(most));
            rest = after;
            if !fragment.is_empty() || is_last {
                pdu::data(
                    context,
                    false,
                    is_last && rest.is_empty(),
                    fragment,
                    self.wire.output(),
                );
            }
            let done = rest.is_empty();
            if done && is_last {
                return self.flush().await;
            }
            if LEAVES <= self.wire.output().len() {
                self.flush().await?;
                self.heed().await?;
            }
            if done {
                return Ok(());
            }
        }
    }

    /// Takes what has come meanwhile, without waiting: a peer that has aborted reads on for a while, and means none of it.
    async fn heed(&mut self) -> Result<(), Error> {
        loop {
            match self.wire.pdu_now(self.limit()) {
                Ok(Some(pdu)) => self.take(pdu).await?,
                Ok(None) => return Ok(()),
                Err(Error::Fault(fault)) => return Err(self.fail(fault).await),
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets leave what was begun.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let failed = match self.wire.flush().await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        // Why nothing is taken any more may have come before.
        loop {
            match self.wire.pdu_now(self.limit()) {
                Ok(Some(Pdu::Abort(abort))) => return Err(Error::PeerAborted(abort)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err(failed),
            }
        }
    }

    /// The peer's maximum less the header of a value (PS3.8 D.1), even; an absurd maximum is not kept to the letter.
    fn fragment(&self) -> usize {
        match self.ends.max_length {
            0 => LONGEST_FRAGMENT,
            length => (length as usize).saturating_sub(6).clamp(2, LONGEST_FRAGMENT) & !1,
        }
    }

    /// Whether nothing has come and the connection stands: a kept association can be used again.
    pub fn is_alive(&mut self) -> bool {
        // Between messages nothing of the peer is due: what comes is its end.
        self.pieces.is_empty() && matches!(self.wire.pdu_now(self.limit()), Ok(None))
    }

    /// Releases it in order, at most within ARTIM. Where both sides do at once, each is answered (PS3.8 9.2, Sta9 to 12).
    pub async fn release(mut self) -> Result<(), Error> {
        pdu::release_rq(self.wire.output());
        self.wire.flush().await?;
        let deadline = Instant::now() + self.limits.artim;
        let mut collided = false;
        loop {
            match self
                .wire
                .pdu_before(self.limit(), deadline, "the answer to our release")
                .await
            {
                Ok(Pdu::ReleaseRp) => break,
                Ok(Pdu::ReleaseRq) if !collided => {
                    collided = true;
                    if self.ends.is_requestor {
                        pdu::release_rp(self.wire.output());
                        self.wire.flush().await?;
                    }
                }
                // A message that was on its way.
                Ok(Pdu::Data(_)) => {}
                Ok(Pdu::Abort(abort)) => return Err(Error::PeerAborted(abort)),
                Ok(Pdu::AssociateRq(_) | Pdu::AssociateAc(_) | Pdu::AssociateRj(_) | Pdu::ReleaseRq) => {
                    return Err(self.fail(UNEXPECTED).await);
                }
                Err(Error::Fault(fault)) => return Err(self.fail(fault).await),
                Err(error) => return Err(error),
            }
        }
        if collided && !self.ends.is_requestor {
            self.released().await;
        }
        Ok(())
    }

    /// Aborts it by its user, and gives the peer so long to close.
    pub async fn abort(mut self, patience: Duration) {
        self.wire.abort(Abort::USER, patience).await;
    }

    /// Aborts it for what the peer did.
    pub async fn abort_for(mut self, fault: Fault) {
        self.fail(fault).await;
    }

    /// The stream below: for who knows more of it.
    pub fn into_stream(self) -> S {
        self.wire.into_stream()
    }
}

const UNEXPECTED: Fault = Fault::unexpected("a PDU that has no place in an association");
const UNKNOWN_CONTEXT: Fault = Fault::invalid("a message in a context that was not accepted");
