//! What all listeners and callers do with their sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::connector::{ConnectorError, Stop};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::tls::Stream;
use crate::values::Allowed;

/// What is begun at a stop has this long to end; the rest of the second is for closing.
pub(crate) const GRACE: Duration = Duration::from_millis(700);

/// What comes of work before the grace after a stop is over; what is under way then, the next start does again.
pub(crate) async fn before_the_end<T>(work: impl Future<Output = T>, stop: &Stop) -> Option<T> {
    let end = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}

/// A source that is stopped is gone after this.
pub(crate) const STOPPED_AFTER: Duration = Duration::from_millis(900);

/// Listens.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ConnectorError> {
    let open = || {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        Ok((TcpListener::from_std(socket)?, local))
    };
    open().map_err(|error: std::io::Error| {
        ConnectorError::new(format!(
            "Can't listen on {address}: {error}. Is another program, or another channel, using the port?"
        ))
    })
}

/// Says that a connection ended by a fault.
pub(crate) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // Not the panic's text: it may quote a message.
        tracing::error!(
            "A connection ended by a fault in the program; its sender has no answer and will send again."
        );
    }
}

/// Small packets leave at once, and a peer that vanished is noticed within minutes also while nothing is said.
pub(crate) fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    // A socket that can't be tuned still works; if it is dead, the next read says so.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Connects to `host:port`, trying each of its addresses.
pub(crate) async fn connect(to: &str, within: Duration) -> Result<TcpStream, String> {
    let stream = match tokio::time::timeout(within, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("Can't connect to {to}: {error}.")),
        Err(_) => return Err(format!("Can't connect to {to}: no answer within {within:?}.")),
    };
    tune(&stream);
    Ok(stream)
}

/// Ends a connection so that what was written last arrives: closing with unread bytes would reset it.
pub(crate) async fn close(mut stream: Stream, patience: Duration) {
    let drain = async {
        stream.shutdown().await?;
        let mut scrap = vec![0; 16 * 1024];
        while stream.read(&mut scrap).await? != 0 {}
        std::io::Result::Ok(())
    };
    // Whatever the far side does now, nothing depends on it.
    let _ = tokio::time::timeout(patience, drain).await;
}

/// Lets connections in, as many as are allowed from where they are allowed.
pub(crate) struct Gate {
    allow: Allowed,
    places: Arc<Semaphore>,
    max: usize,
    /// That there is no room was said; that somebody was turned away was said.
    said_full: AtomicBool,
    said_denied: AtomicBool,
}

/// A connection's place; given back when dropped.
pub(crate) type Place = tokio::sync::OwnedSemaphorePermit;

impl Gate {
    pub(crate) fn new(allow: Allowed, max: usize) -> Self {
        Gate {
            allow,
            places: Arc::new(Semaphore::new(max)),
            max,
            said_full: AtomicBool::new(false),
            said_denied: AtomicBool::new(false),
        }
    }

    /// None: it is to be closed at once.
    pub(crate) fn enter(&self, peer: SocketAddr) -> Option<Place> {
        // Each is said once until somebody gets in: a flood must not become a flood of log lines.
        if !self.allow.lets_in(peer.ip()) {
            if !self.said_denied.swap(true, Ordering::Relaxed) {
                tracing::warn!(%peer, "A connection from an address that is not in `allow` was closed.");
            }
            return None;
        }
        match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                self.said_full.store(false, Ordering::Relaxed);
                self.said_denied.store(false, Ordering::Relaxed);
                Some(place)
            }
            Err(_) => {
                if !self.said_full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%peer, max = self.max, "More connections than `max_connections`; new ones are closed at once.");
                }
                None
            }
        }
    }
}

/// After a failed accept (mostly: no file handles left) others may need a moment to end. All listeners fail of it at once
/// and again: it is said once in a while.
pub(crate) async fn after_failed_accept(error: std::io::Error) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    if is_time_again(
        &mut SAID.lock().unwrap_or_else(PoisonError::into_inner),
        Instant::now(),
    ) {
        tracing::warn!(%error, "Connections can't be taken just now; tried again ten times a second.");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// True where nothing was said for ten seconds before now.
fn is_time_again(said: &mut Option<Instant>, now: Instant) -> bool {
    let is_time = said.is_none_or(|then| Duration::from_secs(10) <= now.duration_since(then));
    if is_time {
        *said = Some(now);
    }
    is_time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_said_once_in_a_while() {
        let (mut said, begin) = (None, Instant::now());
        let times: Vec<u64> = (0..250)
            .filter(|tenth| is_time_again(&mut said, begin + Duration::from_millis(100 * tenth)))
            .collect();
        assert_eq!(times, [0, 100, 200]);
    }
}
