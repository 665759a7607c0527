//! Sends to an MLLP receiver, one message at a time on a connection, and waits for the answer that is this message's
//! own. Where several are sent at once (`order_by`), each has a connection of its own.
//!
//! An answer can only reach the message that it belongs to: what waits on the connection before a message is sent is
//! thrown away, what comes for another is read past, and on a connection on which an answer is still due no other message
//! is sent. It is kept for that delivery: where the answer has come by the next try, nothing is sent again. So a receiver
//! that always answers too late gets no flood of copies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use clinic::exchange::Response;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::framing::{CR, END, Framer, Piece, START, forbidden, write_frame};
use super::settings;
use crate::sockets;
use crate::tls::{Secured, Stream, refused_by_peer};

/// A receiver, and the connection to it.
pub(super) struct MllpDestination {
    settings: settings::Destination,
    secured: Option<Secured>,
    deliveries: Kept,
    /// Questions go by a connection of their own, so that no answer to one is met by a delivery, nor the reverse; one
    /// behind the other.
    questions: Kept,
    asking: Mutex<()>,
}

/// A frame is put together for one write up to this length.
const ONE_WRITE: usize = 64 * 1024;

/// A frame, in the parts that it is written in.
type Parts<'f> = [&'f [u8]; 3];

fn length_of(frame: Parts<'_>) -> usize {
    frame.iter().map(|part| part.len()).sum()
}

/// So many connections on which an answer is still due are kept.
const LATE: usize = 16;

/// The connections that nothing is under way on. One is taken out for a message, so that a send that is broken off takes
/// its connection with it.
#[derive(Default)]
struct Kept {
    idle: std::sync::Mutex<Vec<Connection>>,
    /// Those on which the answer to a delivery is still due, the oldest first.
    late: std::sync::Mutex<VecDeque<(i64, Connection)>>,
    under_way: AtomicUsize,
}

/// A message is under way.
struct UnderWay<'k>(&'k Kept);

impl Kept {
    fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
    }

    fn take(&self) -> Option<Connection> {
        self.lock().pop()
    }

    fn put(&self, connection: Connection) {
        self.lock().push(connection);
    }

    /// The answer to this delivery has not come in time; it may come later.
    fn wait_on(&self, delivery: i64, connection: Connection) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late.len() == LATE {
            late.pop_front();
        }
        late.push_back((delivery, connection));
    }

    /// An answer to an earlier try of this delivery that has come meanwhile. Where there is none yet, it is waited for
    /// on.
    fn came_late(&self, delivery: i64, mine: &Mine<'_>) -> Option<Vec<u8>> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = None;
        late.retain_mut(|(of, connection)| {
            if *of != delivery || answer.is_some() {
                return *of != delivery;
            }
            match connection.look(mine) {
                Look::Answer(body) => {
                    answer = Some(body);
                    false
                }
                Look::NotYet => true,
                Look::Ended => false,
            }
        });
        if answer.is_some() {
            late.retain(|(of, _)| *of != delivery);
        }
        answer
    }

    /// The delivery has its answer: no other is waited for.
    fn is_answered(&self, delivery: i64) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|(of, _)| *of != delivery);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Connection {
    stream: Stream,
    framer: Framer,
}

/// How a write ended badly, how much was taken by then, and whether any of it left.
struct WriteFailed {
    written: usize,
    has_left: bool,
    why: String,
}

impl MllpDestination {
    pub(super) fn open(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let secured = match &settings.tls {
            Some(tls) => Some(Secured::open(tls, &surroundings.folder)?),
            None => None,
        };
        Ok(MllpDestination {
            settings,
            secured,
            deliveries: Kept::default(),
            questions: Kept::default(),
            asking: Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<Connection, String> {
        let (to, within) = (&self.settings.connect, self.settings.connect_timeout);
        let stream = sockets::connect(to, within).await?;
        let stream = match &self.secured {
            Some(secured) => timeout(within, secured.connect(to, stream))
                .await
                .unwrap_or_else(|_| Err(format!("No secure connection to {to} within {within:?}.")))?,
            None => Stream::plain(stream),
        };
        Ok(Connection {
            stream,
            framer: Framer::new(self.settings.max_frame),
        })
    }

    /// A connection on which the frame has left whole.
    async fn deliver(&self, kept: Option<Connection>, frame: Parts<'_>) -> Result<Connection, SendError> {
        // A kept connection may have died unnoticed. As long as no byte was taken, a fresh one may be tried instead.
        if let Some(mut connection) = kept.and_then(Connection::still_alive) {
            match connection.write(frame, self.settings.reply_timeout).await {
                Ok(()) => return Ok(connection),
                Err(failed) if !failed.has_left => {
                    tracing::debug!(
                        why = failed.why,
                        "The kept connection was dead; connecting again."
                    );
                }
                Err(failed) => return Err(failed.into_error(length_of(frame))),
            }
        }
        let mut connection = self
            .connect()
            .await
            .map_err(|why| SendError::Retry { why, after: None })?;
        match connection.write(frame, self.settings.reply_timeout).await {
            Ok(()) => Ok(connection),
            Err(failed) => Err(failed.into_error(length_of(frame))),
        }
    }

    /// One message and its answer, by this connection.
    async fn exchange(&self, by: &Kept, outgoing: &Outgoing, mine: &Mine<'_>) -> Result<Response, SendError> {
        let refused = |why: String| Err(SendError::Refused { why });
        let body = &outgoing.body;
        if body.is_empty() {
            return refused("The message is empty; there is nothing to send.".to_owned());
        }
        if self.settings.max_frame < body.len() {
            let (length, limit) = (body.len(), self.settings.max_frame);
            return refused(format!(
                "The message has {length} bytes, over the limit of {limit}. Raise `max_frame`."
            ));
        }
        if let Some(at) = forbidden(body) {
            return refused(format!(
                "Byte {at} of the message is 0x0B or 0x1C, which MLLP can't carry."
            ));
        }
        let _under_way = by.begin();
        if let Some(body) = by.came_late(outgoing.delivery, mine) {
            tracing::debug!(
                delivery = outgoing.delivery,
                "The answer to an earlier try has come; nothing is sent again."
            );
            return Ok(Response {
                body,
                ..Response::default()
            });
        }
        let kept = by.take();
        let mut small = BytesMut::new();
        let frame: Parts<'_> = match body.len() <= ONE_WRITE {
            true => {
                write_frame(body, &mut small);
                [&small, &[], &[]]
            }
            // Of a big one no copy is made.
            false => [&[START], body, &[END, CR]],
        };
        let mut connection = self.deliver(kept, frame).await?;
        drop(small);
        let deadline = Instant::now() + self.settings.reply_timeout;
        let body = match connection.answer(mine, deadline, &self.settings).await {
            Ok(body) => body,
            Err(NoAnswer { error, may_come }) => {
                if may_come {
                    by.wait_on(outgoing.delivery, connection);
                }
                return Err(error);
            }
        };
        by.is_answered(outgoing.delivery);
        if self.settings.keep_open {
            by.put(connection);
        } else {
            sockets::close(connection.stream, Duration::from_millis(100)).await;
        }
        Ok(Response {
            body,
            ..Response::default()
        })
    }
}

#[async_trait]
impl engine::connector::Destination for MllpDestination {
    async fn send(&self, outgoing: &Outgoing, mine: &Mine<'_>) -> Result<Response, SendError> {
        self.exchange(&self.deliveries, outgoing, mine).await
    }

    async fn query(&self, question: &Outgoing, mine: &Mine<'_>) -> Result<Response, SendError> {
        let _one = self.asking.lock().await;
        self.exchange(&self.questions, question, mine).await
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        // A message under way proves more than we could.
        if self.deliveries.under_way.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        // It takes the place of a message meanwhile: a receiver may take one connection only.
        let _under_way = self.deliveries.begin();
        if let Some(alive) = self.deliveries.take().and_then(Connection::still_alive) {
            self.deliveries.put(alive);
            return Ok(());
        }
        let connection = self.connect().await.map_err(ConnectorError::new)?;
        if self.settings.keep_open {
            self.deliveries.put(connection);
        }
        Ok(())
    }
}

impl Connection {
    /// Throws away what waits unread (it answers nothing that is still open), and notices a connection that was closed.
    fn still_alive(mut self) -> Option<Self> {
        let mut unread = 0;
        loop {
            // What a far side sends unasked may go on for ever.
            if super::framing::KEPT < unread {
                return None;
            }
            // Asked once, without waiting for more.
            let mut read = std::pin::pin!(self.stream.read_buf(self.framer.room()));
            match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(0)) => return None,
                Poll::Ready(Ok(read)) => unread += read,
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return None,
            }
        }
        // Half an answer is the beginning of a frame that would end inside the next one.
        while self.framer.next_piece().is_some() {}
        if !self.framer.is_between() || self.framer.is_lost() {
            return None;
        }
        if unread != 0 {
            tracing::debug!(unread, "Answers that nothing asked for were thrown away.");
        }
        Some(self)
    }

    /// Looks whether the answer that is due has come, without waiting for it.
    fn look(&mut self, mine: &Mine<'_>) -> Look {
        loop {
            match self.framer.next_piece() {
                Some(Piece::Frame(body)) if mine(&body) => return Look::Answer(body.to_vec()),
                Some(Piece::Frame(_) | Piece::Damaged(_)) => return Look::Ended,
                None => {}
            }
            let mut read = std::pin::pin!(self.stream.read_buf(self.framer.room()));
            match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Look::Ended,
                Poll::Pending => return Look::NotYet,
            }
        }
    }

    async fn write(&mut self, frame: Parts<'_>, within: Duration) -> Result<(), WriteFailed> {
        let deadline = Instant::now() + within;
        let before = self.stream.sent();
        let mut written = 0;
        let ended = timeout_at(deadline, async {
            for mut part in frame {
                while !part.is_empty() {
                    let some = self.stream.write(part).await?;
                    if some == 0 {
                        return Err(std::io::ErrorKind::WriteZero.into());
                    }
                    written += some;
                    part = &part[some..];
                }
            }
            self.stream.flush().await
        })
        .await;
        let why = match ended {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not taken within {within:?}"),
        };
        Err(WriteFailed {
            written,
            has_left: before != self.stream.sent(),
            why,
        })
    }

    /// The first answer that is this message's own, or what is known of the message without one.
    async fn answer(
        &mut self,
        mine: &Mine<'_>,
        deadline: Instant,
        settings: &settings::Destination,
    ) -> Result<Vec<u8>, NoAnswer> {
        let unsure = |why: String| Err(NoAnswer::never(SendError::Unsure { why }));
        let mut others = 0_usize;
        let mut rubbish = 0_usize;
        loop {
            while let Some(piece) = self.framer.next_piece() {
                match piece {
                    Piece::Frame(body) if mine(&body) => return Ok(body.to_vec()),
                    Piece::Frame(body) => {
                        others += 1;
                        tracing::debug!(length = body.len(), "An answer to another message was read past.");
                        if settings.max_answers <= others {
                            return unsure(format!("{others} answers came, none of them to this message."));
                        }
                    }
                    Piece::Damaged(damaged) => {
                        rubbish += damaged.length;
                        tracing::debug!(damage = ?damaged.damage, length = damaged.length, "Something that is no MLLP frame was read past.");
                        if super::framing::KEPT < rubbish || settings.max_frame < rubbish {
                            return unsure(format!(
                                "{rubbish} bytes came back that are no answer in an MLLP frame."
                            ));
                        }
                    }
                }
            }
            let ended = match timeout_at(deadline, self.stream.read_buf(self.framer.room())).await {
                Ok(Ok(0)) => "The connection was closed before the answer came".to_owned(),
                Ok(Ok(_)) => continue,
                Ok(Err(error)) if let Some(why) = refused_by_peer(&error) => {
                    let why = format!("The message was not taken: {why}.");
                    return Err(NoAnswer::never(SendError::Retry { why, after: None }));
                }
                Ok(Err(error)) => format!("The connection broke before the answer came ({error})"),
                Err(_) if others == 0 && rubbish == 0 && self.framer.is_between() => {
                    let why = format!("No answer within {:?}.", settings.reply_timeout);
                    return Err(NoAnswer {
                        error: SendError::Unsure { why },
                        may_come: settings.keep_open,
                    });
                }
                Err(_) => format!("No answer within {:?}", settings.reply_timeout),
            };
            let rubbish = rubbish + self.framer.take_rest().map_or(0, |rest| rest.length);
            let came = match (others, rubbish) {
                (0, 0) => String::new(),
                (0, bytes) => format!(" {bytes} bytes came that are no answer in an MLLP frame."),
                (others, 0) => format!(" {others} answers came, to other messages."),
                (others, bytes) => {
                    format!(
                        " {others} answers came, to other messages, and {bytes} bytes that are no answer."
                    )
                }
            };
            return unsure(format!("{ended}.{came}"));
        }
    }
}

/// Why there is no answer, and whether it may still come by this connection.
struct NoAnswer {
    error: SendError,
    may_come: bool,
}

impl NoAnswer {
    fn never(error: SendError) -> Self {
        NoAnswer {
            error,
            may_come: false,
        }
    }
}

/// What a look at a connection finds on which an answer is due.
enum Look {
    Answer(Vec<u8>),
    NotYet,
    /// Closed, or something else came: no answer is expected any more.
    Ended,
}

impl WriteFailed {
    /// With no byte gone it was surely not received. Otherwise we can't know what a receiver makes of a part.
    fn into_error(self, length: usize) -> SendError {
        let WriteFailed {
            written,
            has_left,
            why,
        } = self;
        match has_left {
            false => SendError::Retry {
                why: format!("The message could not be written: {why}."),
                after: None,
            },
            true => SendError::Unsure {
                why: format!("The connection failed after {written} of {length} bytes: {why}."),
            },
        }
    }
}
