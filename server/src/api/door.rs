//! The connections of the HTTP interface: with TLS or without, as many at a time as are allowed, each with a time for what it
//! has to send. Whoever can reach the port can open connections and send half of a request; the files of the process belong
//! to the channels too.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use connectors::tls::{Acceptor, Arrivals, Stream};
use connectors::watched::Watched;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutBody;

use super::auth::Peer;

/// How much is taken at a time, and how long somebody may take for it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at the same time; one more is closed at once.
    pub max_connections: usize,
    /// How long the head of a request may take from the end of the one before it, and how long a body, or somebody who is
    /// answered, may stand still.
    pub timeout: Duration,
}

/// Where requests come in.
pub struct Door {
    arrivals: Arrivals,
    bounds: Bounds,
}

impl Door {
    /// The door of a listener.
    pub fn new(listener: TcpListener, acceptor: Acceptor, bounds: Bounds) -> Self {
        Door {
            arrivals: Arrivals::new(listener, acceptor),
            bounds,
        }
    }

    /// Answers requests until the stop; what has been asked then is answered.
    pub async fn serve(mut self, router: Router, stop: CancellationToken) {
        let timeout = self.bounds.timeout;
        let router = router.layer(map_request(move |request: Request| async move {
            request.map(|body| axum::body::Body::new(TimeoutBody::new(timeout, body)))
        }));
        let places = Arc::new(Semaphore::new(self.bounds.max_connections));
        // That there is no room is said once until somebody gets in: a flood must not become a flood of log lines.
        let said_full = AtomicBool::new(false);
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                arrived = self.arrivals.next() => arrived,
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                if !said_full.swap(true, Ordering::Relaxed) {
                    let max = self.bounds.max_connections;
                    tracing::warn!(%peer, max, "More connections to the HTTP interface than `http.max_connections`; new ones are closed at once.");
                }
                continue;
            };
            said_full.store(false, Ordering::Relaxed);
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                connection(stream, peer, timeout, router, stop).await;
                drop(place);
            });
        }
        drop(self.arrivals);
        while connections.join_next().await.is_some() {}
    }
}

async fn connection(
    stream: Stream,
    peer: SocketAddr,
    timeout: Duration,
    router: Router,
    stop: CancellationToken,
) {
    let service = OfPeer {
        router: TowerToHyperService::new(router),
        peer: Peer::of(&stream, peer),
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeout)
        .keep_alive_timeout(timeout)
        .enable_connect_protocol();
    let stream = Opening::new(Watched::new(stream, timeout), timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "A connection to the HTTP interface ended badly.");
    }
}

/// The routes, and who asks.
struct OfPeer {
    router: TowerToHyperService<Router>,
    peer: Peer,
}

impl Service<hyper::Request<Incoming>> for OfPeer {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as Service<hyper::Request<Incoming>>>::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        self.router.call(request)
    }
}

/// What HTTP/2 begins with (RFC 9113 §3.4); only then is it known which HTTP is spoken.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that has to say in time which HTTP it speaks: until then nobody else looks at the clock.
struct Opening {
    stream: Watched,
    /// What has come of [`PREFACE`]; none: it is known what is spoken.
    matched: Option<usize>,
    deadline: Pin<Box<Sleep>>,
}

impl Opening {
    fn new(stream: Watched, within: Duration) -> Self {
        Opening {
            stream,
            matched: Some(0),
            deadline: Box::pin(sleep(within)),
        }
    }

    fn look_at(&mut self, new: &[u8]) {
        let Some(matched) = self.matched else { return };
        let rest = PREFACE.get(matched..).unwrap_or_default();
        let is_so_far = new.len() < rest.len() && rest.starts_with(new);
        self.matched = is_so_far.then_some(matched + new.len());
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.matched.is_none() {
            return poll;
        }
        if poll.is_ready() {
            self.look_at(buf.filled().get(before..).unwrap_or_default());
            return poll;
        }
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Opening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
