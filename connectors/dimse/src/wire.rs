//! A stream of PDUs: read into a big buffer, written in one piece each.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Error;
use crate::pdu::{self, Abort, Limit, Pdu};

/// So much is read at once where it is there.
const READ: usize = 64 * 1024;

pub(crate) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
    /// From the first byte of a PDU to its last; for writing.
    pub(crate) within: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, within: Duration) -> Self {
        Wire {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            within,
        }
    }

    /// The next PDU, whole before `deadline`, whatever drips.
    pub(crate) async fn pdu_before(
        &mut self,
        limit: Limit,
        deadline: Instant,
        what: &'static str,
    ) -> Result<Pdu, Error> {
        timeout_at(deadline, async {
            loop {
                if let Some(pdu) = pdu::next(&mut self.input, limit)? {
                    return Ok(pdu);
                }
                self.more().await?;
            }
        })
        .await
        .unwrap_or(Err(Error::TimedOut { what }))
    }

    /// The next PDU, which begins within `idle` and ends within its own time.
    pub(crate) async fn pdu(
        &mut self,
        limit: Limit,
        idle: Option<Duration>,
        what: &'static str,
    ) -> Result<Pdu, Error> {
        if self.input.is_empty() {
            match idle {
                Some(idle) => timeout(idle, self.more())
                    .await
                    .unwrap_or(Err(Error::TimedOut { what }))?,
                None => self.more().await?,
            }
        }
        let deadline = Instant::now() + self.within;
        self.pdu_before(limit, deadline, "the rest of a PDU").await
    }

    /// The next PDU if it is there; does not wait.
    pub(crate) fn pdu_now(&mut self, limit: Limit) -> Result<Option<Pdu>, Error> {
        loop {
            if let Some(pdu) = pdu::next(&mut self.input, limit)? {
                return Ok(Some(pdu));
            }
            self.input.reserve(READ);
            let mut read = std::pin::pin!(self.stream.read_buf(&mut self.input));
            match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(0)) => return Err(Error::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => return Ok(None),
            }
        }
    }

    async fn more(&mut self) -> Result<(), Error> {
        if self.input.capacity() - self.input.len() < READ / 4 {
            self.input.reserve(READ);
        }
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(Error::Closed),
            _ => Ok(()),
        }
    }

    /// Where the next PDUs are written, before they leave together.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Lets leave what was written.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let writing = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let ended = timeout(self.within, writing).await;
        self.output.clear();
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::TimedOut {
                what: "room for what we write",
            }),
        }
    }

    /// Aborts; how that went changes nothing.
    pub(crate) async fn abort(&mut self, abort: Abort, artim: Duration) {
        self.output.clear();
        pdu::abort(abort, &mut self.output);
        if self.flush().await.is_ok() {
            self.linger(artim).await;
        }
    }

    /// Waits until the peer closes, at most ARTIM (PS3.8 9.2, Sta13), and closes.
    pub(crate) async fn linger(&mut self, artim: Duration) {
        let mut scrap = vec![0; 16 * 1024];
        self.input = BytesMut::new();
        let drained = async { while self.stream.read(&mut scrap).await.is_ok_and(|read| read != 0) {} };
        // A peer that does not close has had its time.
        let _ = timeout(artim, drained).await;
        let _ = timeout(artim, self.stream.shutdown()).await;
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}
