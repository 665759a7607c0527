//! Listens for MLLP senders. One message after the other on each connection: the next is read once the last is answered.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use engine::connector::{Acknowledgement, ConnectorError, Intake, Outcome, Stop, Surroundings};
use engine::message::Incoming;
use engine::room::{self, Place, SMALL};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

use super::framing::{Damage, Damaged, Framer, Piece, write_frame};
use super::{CONTENT_TYPE, settings};
use crate::sockets::{self, GRACE, Gate, STOPPED_AFTER};
use crate::tls::{Acceptor, Stream};

/// A listener that waits to be run.
pub(super) struct MllpSource {
    settings: settings::Source,
    listener: TcpListener,
    acceptor: Acceptor,
    local: SocketAddr,
}

impl MllpSource {
    pub(super) fn open(
        settings: settings::Source,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let acceptor = Acceptor::open(settings.tls.as_ref(), &surroundings.folder, &[])?;
        let (listener, local) = sockets::listen(settings.listen)?;
        Ok(MllpSource {
            settings,
            listener,
            acceptor,
            local,
        })
    }
}

#[async_trait]
impl engine::connector::Source for MllpSource {
    fn local_address(&self) -> Option<SocketAddr> {
        Some(self.local)
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        let gate = Gate::new(self.settings.allow.clone(), self.settings.max_connections);
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = conversations.join_next() => sockets::report(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let Some(place) = gate.enter(peer) else { continue };
                        let of_all = OfAll {
                            settings: self.settings.clone(),
                            acceptor: self.acceptor.clone(),
                            intake: intake.clone(),
                            stop: stop.clone(),
                        };
                        let task = async move {
                            of_all.converse(stream, peer).await;
                            drop(place);
                        };
                        conversations.spawn(task.in_current_span());
                    }
                    Err(error) => sockets::after_failed_accept(error).await,
                },
            }
        }
        drop(self.listener);
        let all_ended = async {
            while let Some(ended) = conversations.join_next().await {
                sockets::report(ended);
            }
        };
        if timeout(STOPPED_AFTER, all_ended).await.is_err() {
            tracing::debug!(
                left = conversations.len(),
                "Connections still busy at the stop are cut; their senders have no answer."
            );
            conversations.shutdown().await;
        }
        Ok(())
    }
}

/// What all connections of a source have in common.
struct OfAll {
    settings: settings::Source,
    acceptor: Acceptor,
    intake: Intake,
    stop: Stop,
}

impl OfAll {
    /// One connection, from its handshake to its end.
    async fn converse(self, stream: TcpStream, peer: SocketAddr) {
        let stream = tokio::select! {
            biased;
            // Nothing has been said yet that could be lost.
            () = self.stop.cancelled() => return,
            stream = self.acceptor.accept(stream, peer) => stream,
        };
        let Some(stream) = stream else { return };
        let mut conversation = Conversation {
            framer: Framer::careful(self.settings.max_frame),
            certificate: stream.peer_subject(),
            stream,
            peer,
            of_all: self,
            place: None,
            said: false,
        };
        let patience = conversation.run().await;
        sockets::close(conversation.stream, patience).await;
    }
}

/// One connection.
struct Conversation {
    of_all: OfAll,
    framer: Framer,
    stream: Stream,
    peer: SocketAddr,
    /// Whom the sender's certificate names.
    certificate: Option<String>,
    /// The room of a big frame that is under way.
    place: Option<Place>,
    /// That something was no frame has been said.
    said: bool,
}

/// Why reading ended.
enum End {
    /// The peer says no more.
    Closed,
    /// A frame begun was not ended in time.
    Overdue,
    /// Silent for too long, broken, or stopped: nothing is left to say.
    Quiet,
}

/// How long an ended connection is read on, so that the last answer is not lost by a reset.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited whether something follows an end without its carriage return.
const FOLLOWS: Duration = Duration::from_millis(50);
/// The same at a stop.
const PATIENCE_AT_STOP: Duration = Duration::from_millis(100);

impl Conversation {
    /// Reads, hands in, answers, until the end. What comes back is the patience for closing.
    async fn run(&mut self) -> Duration {
        tracing::debug!(peer = %self.peer, "A sender connected.");
        loop {
            let go_on = match self.next().await {
                Ok(piece) => self.take(piece).await,
                Err(End::Quiet) => false,
                Err(End::Closed | End::Overdue) => {
                    if let Some(rest) = self.framer.take_rest() {
                        self.take(Piece::Damaged(rest)).await;
                    }
                    false
                }
            };
            if self.of_all.stop.is_cancelled() {
                // What was in progress has its answer. What waits behind it is not begun: its sender sends it again.
                return PATIENCE_AT_STOP;
            }
            if !go_on {
                return PATIENCE;
            }
            if self.framer.waiting() <= SMALL {
                self.place = None;
            }
        }
    }

    /// The next thing that came.
    async fn next(&mut self) -> Result<Piece, End> {
        if let Some(piece) = self.framer.next_piece() {
            return Ok(piece);
        }
        let mut between = self.framer.is_between();
        let within = if between {
            self.of_all.settings.idle_timeout
        } else {
            Some(self.of_all.settings.frame_timeout)
        };
        let mut deadline = within.map(|within| Instant::now() + within);
        let mut stopping = false;
        loop {
            let needs_room = SMALL < self.framer.waiting() && self.place.is_none();
            let overdue = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.of_all.stop.cancelled(), if !stopping => {
                    if between {
                        return Err(End::Quiet);
                    }
                    stopping = true;
                    let until = Instant::now() + GRACE;
                    deadline = Some(deadline.map_or(until, |deadline| deadline.min(until)));
                }
                // How long it will be is not known: room for the longest, or two halves could wait for each other.
                place = room::coming_in().take(self.of_all.settings.max_frame), if needs_room => {
                    self.place = Some(place);
                    // The sender has been made to wait; it was not slow.
                    if !stopping {
                        deadline = Some(Instant::now() + self.of_all.settings.frame_timeout);
                    }
                }
                read = self.stream.read_buf(self.framer.room()), if !needs_room => {
                    match read {
                        Ok(0) => return self.framer.end_here().ok_or(End::Closed),
                        Ok(_) => {}
                        Err(error) => {
                            tracing::debug!(peer = %self.peer, %error, "The connection broke.");
                            return Err(End::Closed);
                        }
                    }
                    if let Some(piece) = self.framer.next_piece() {
                        return Ok(piece);
                    }
                    // Line ends between frames begin nothing.
                    let was_between = std::mem::replace(&mut between, self.framer.is_between());
                    if was_between && !between {
                        deadline = Some(Instant::now() + self.of_all.settings.frame_timeout);
                    }
                }
                () = sleep(FOLLOWS), if self.framer.may_end() && !needs_room => {
                    if let Some(piece) = self.framer.end_here() {
                        return Ok(piece);
                    }
                }
                () = overdue, if stopping || !needs_room => {
                    if stopping || between {
                        tracing::debug!(peer = %self.peer, "The connection is closed: nothing came in time.");
                        return Err(End::Quiet);
                    }
                    return Err(End::Overdue);
                }
            }
        }
    }

    /// Hands in what came and answers it. False: the connection is to be closed.
    async fn take(&mut self, piece: Piece) -> bool {
        match piece {
            Piece::Frame(body) => {
                let body = match self.place.take() {
                    Some(place) => place.hold(body),
                    None => body,
                };
                let incoming = self.incoming(body);
                let acknowledgement = self.of_all.intake.accept(incoming).await;
                self.answer(acknowledgement).await
            }
            Piece::Damaged(damaged) => self.take_damaged(damaged).await,
        }
    }

    async fn take_damaged(&mut self, damaged: Damaged) -> bool {
        let Damaged { damage, length, .. } = damaged;
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(peer = %self.peer, ?damage, length, "A sender sent something that is no MLLP frame; it is kept.");
        }
        let why = damaged.why(self.of_all.settings.max_frame);
        let incoming = self.incoming(damaged.kept);
        let acknowledgement = self.of_all.intake.reject(incoming, why).await;
        match damage {
            // An answer could be taken for that of the frame which follows; mostly it is the same message once more.
            Damage::Unfinished | Damage::Between => true,
            Damage::NoStart | Damage::EndInside => self.answer(acknowledgement).await,
            Damage::TooLong | Damage::Flood | Damage::NoEnd | Damage::NoFrame => {
                self.answer(acknowledgement).await;
                false
            }
        }
    }

    async fn answer(&mut self, acknowledgement: Acknowledgement) -> bool {
        if acknowledgement.frames.is_empty() {
            // Where the format has no words for "try again", a closed connection says it.
            return acknowledgement.outcome != Outcome::Unavailable;
        }
        let mut out = BytesMut::new();
        for frame in &acknowledgement.frames {
            write_frame(frame, &mut out);
        }
        match timeout(self.of_all.settings.frame_timeout, write(&mut self.stream, &out)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "The connection broke before the answer was written.");
                false
            }
            Err(_) => {
                tracing::warn!(peer = %self.peer, "A sender does not take its answer; the connection is closed.");
                false
            }
        }
    }

    fn incoming(&self, body: Bytes) -> Incoming {
        let mut headers = vec![("peer".to_owned(), self.peer.to_string())];
        headers.extend(
            self.certificate
                .clone()
                .map(|subject| ("certificate".to_owned(), subject)),
        );
        Incoming {
            body,
            big: None,
            content_type: CONTENT_TYPE.to_owned(),
            headers,
            received_at: jiff::Timestamp::now(),
            identity: None,
        }
    }
}

/// Writes all, and sees to it that it leaves.
async fn write(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
