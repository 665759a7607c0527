//! The sockets of the HTTP interface: with TLS or without, as `axum` takes them.

use std::net::SocketAddr;

use connectors::tls::{Acceptor, Arrivals, Stream};
use tokio::net::TcpListener;

/// Where requests come in.
pub struct Door(Arrivals);

impl Door {
    /// The door of a listener.
    pub fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        Door(Arrivals::new(listener, acceptor))
    }
}

impl axum::serve::Listener for Door {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        self.0.next().await
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_address()
    }
}
