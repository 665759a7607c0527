//! Listeners that channels share: by path and method a request finds its channel.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use engine::connector::{ConnectorError, Stop, Surroundings};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::request::{Caller, Route, serve};
use crate::sockets::{self, Gate, STOPPED_AFTER};
use crate::tls::{Acceptor, ListenerTls, Stream};
use crate::values::Allowed;
use crate::watched::Watched;

/// All listeners of the program, by the address that their channels name.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    by_address: Arc<Mutex<HashMap<SocketAddr, Arc<Listener>>>>,
}

/// One address.
struct Listener {
    local: SocketAddr,
    max_connections: usize,
    timeout: Duration,
    tls: Option<ListenerTls>,
    routes: Arc<Routes>,
    stop: Stop,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Who answers what.
#[derive(Default)]
pub(super) struct Routes {
    list: RwLock<Vec<Arc<Route>>>,
}

/// A route's place on its listener, given up when dropped.
pub(super) struct Membership {
    listeners: Listeners,
    listener: Arc<Listener>,
    route: Arc<Route>,
    left: bool,
}

impl Listeners {
    /// Puts a route on the listener of its address, which is opened if there is none.
    pub(super) fn join(
        &self,
        route: Arc<Route>,
        surroundings: &Surroundings,
    ) -> Result<Membership, ConnectorError> {
        let settings = route.settings();
        let address = settings.listen;
        let mut by_address = self.lock();
        // Port 0 is another one each time.
        let shared = by_address.get(&address).filter(|_| address.port() != 0).cloned();
        let listener = match shared {
            Some(listener) => {
                if listener.max_connections != settings.max_connections
                    || listener.timeout != settings.timeout
                    || listener.tls != settings.tls
                {
                    return Err(ConnectorError::new(format!(
                        "Another channel listens on {address} with another `max_connections`, `timeout` or `tls`. \
                         Channels that share an address must agree on them."
                    )));
                }
                listener.routes.add(route.clone())?;
                listener
            }
            None => {
                let listener = Arc::new(Listener::open(&route, surroundings)?);
                if address.port() != 0 {
                    by_address.insert(address, listener.clone());
                }
                listener
            }
        };
        drop(by_address);
        Ok(Membership {
            listeners: self.clone(),
            listener,
            route,
            left: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Listener>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    pub(super) fn local(&self) -> SocketAddr {
        self.listener.local
    }

    /// Gives the place up. The last one to leave gets the listener's task, which has been told to stop, to wait for.
    pub(super) fn leave(mut self) -> Option<JoinHandle<()>> {
        self.give_up()
    }

    fn give_up(&mut self) -> Option<JoinHandle<()>> {
        if std::mem::replace(&mut self.left, true) {
            return None;
        }
        let mut by_address = self.listeners.lock();
        if !self.listener.routes.remove(&self.route) {
            return None;
        }
        by_address.retain(|_, listener| !Arc::ptr_eq(listener, &self.listener));
        self.listener.stop.cancel();
        self.listener
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Listener {
    fn open(route: &Arc<Route>, surroundings: &Surroundings) -> Result<Self, ConnectorError> {
        let settings = route.settings();
        let acceptor = Acceptor::open(settings.tls.as_ref(), &surroundings.folder, &["http/1.1"])?;
        let (socket, local) = sockets::listen(settings.listen)?;
        let routes = Arc::new(Routes::default());
        routes.add(route.clone())?;
        let stop = Stop::new();
        let gate = Gate::new(Allowed::default(), settings.max_connections);
        let task = tokio::spawn(listen(
            socket,
            gate,
            acceptor,
            settings.timeout,
            routes.clone(),
            stop.clone(),
        ));
        Ok(Listener {
            local,
            max_connections: settings.max_connections,
            timeout: settings.timeout,
            tls: settings.tls.clone(),
            routes,
            stop,
            task: Mutex::new(Some(task)),
        })
    }
}

impl Routes {
    fn add(&self, route: Arc<Route>) -> Result<(), ConnectorError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if list.iter().any(|other| other.collides_with(&route)) {
            let settings = route.settings();
            return Err(ConnectorError::new(format!(
                "Another channel answers {} on {} with one of the same methods.",
                settings.path, settings.listen
            )));
        }
        list.push(route);
        Ok(())
    }

    /// True when it was the last one.
    fn remove(&self, route: &Arc<Route>) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|other| !Arc::ptr_eq(other, route));
        list.is_empty()
    }

    /// All routes of a path.
    pub(super) fn of_path(&self, path: &str) -> Vec<Arc<Route>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter()
            .filter(|route| route.settings().path == path)
            .cloned()
            .collect()
    }
}

async fn listen(
    socket: TcpListener,
    gate: Gate,
    acceptor: Acceptor,
    within: Duration,
    routes: Arc<Routes>,
    stop: Stop,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => sockets::report(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = gate.enter(peer) else { continue };
                    let (acceptor, routes, stop) = (acceptor.clone(), routes.clone(), stop.clone());
                    connections.spawn(async move {
                        let stream = tokio::select! {
                            () = stop.cancelled() => None,
                            stream = acceptor.accept(stream, peer) => stream,
                        };
                        if let Some(stream) = stream {
                            connection(stream, peer, within, routes, stop).await;
                        }
                        drop(place);
                    });
                }
                Err(error) => sockets::after_failed_accept(error).await,
            },
        }
    }
    drop(socket);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            sockets::report(ended);
        }
    };
    if timeout(STOPPED_AFTER, all_ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(stream: Stream, peer: SocketAddr, within: Duration, routes: Arc<Routes>, stop: Stop) {
    let caller = Caller {
        peer,
        certificate: stream.peer_subject(),
    };
    let service = service_fn(move |request| {
        let (routes, caller) = (routes.clone(), caller.clone());
        async move { Ok::<_, Infallible>(serve(request, caller, &routes).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(64 * 1024)
        .max_headers(100)
        .half_close(true)
        .serve_connection(TokioIo::new(Watched::new(stream, within)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "An HTTP connection ended badly.");
    }
}
