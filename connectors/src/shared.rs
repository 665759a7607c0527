//! Listeners that channels share: those that name the same address with the same settings. What tells the channels apart is
//! the connector's matter.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use engine::connector::{ConnectorError, Stop, Surroundings};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::sockets::{self, Gate, STOPPED_AFTER};
use crate::tls::{Acceptor, ListenerTls, Stream};

/// One channel's part of a listener.
pub(crate) trait Route: Send + Sync + Sized + 'static {
    /// What is spoken inside TLS, in the words of ALPN.
    const PROTOCOLS: &'static [&'static str];
    /// The settings that those who share an address must agree on.
    const AGREE_ON: &'static str;
    /// What all connections of a listener have in common.
    type Common: Send + Sync;

    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// How connections are secured.
    fn tls(&self) -> Option<&ListenerTls>;
    /// Both are served by the same listener alike.
    fn agrees_with(&self, other: &Self) -> bool;
    /// Why both can't be on one listener.
    fn collides_with(&self, other: &Self) -> Option<String>;
    /// Who is let in.
    fn gate(&self) -> Gate;
    /// For a listener that this one opens.
    fn common(&self) -> Self::Common;
    /// One connection, to its end. Told to stop, it has [`STOPPED_AFTER`].
    fn serve(
        stream: Stream,
        peer: SocketAddr,
        routes: Arc<Routes<Self>>,
        stop: Stop,
    ) -> impl Future<Output = ()> + Send;
}

/// All listeners of a connector, by the address that their channels name.
pub(crate) struct Listeners<R: Route> {
    by_address: Arc<Mutex<HashMap<SocketAddr, Arc<Listener<R>>>>>,
}

impl<R: Route> Clone for Listeners<R> {
    fn clone(&self) -> Self {
        Listeners {
            by_address: self.by_address.clone(),
        }
    }
}

impl<R: Route> Default for Listeners<R> {
    fn default() -> Self {
        Listeners {
            by_address: Arc::default(),
        }
    }
}

/// One address.
struct Listener<R: Route> {
    local: SocketAddr,
    opened_by: Arc<R>,
    routes: Arc<Routes<R>>,
    stop: Stop,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Who is on a listener.
pub(crate) struct Routes<R: Route> {
    list: RwLock<Vec<Arc<R>>>,
    common: R::Common,
}

/// A route's place on its listener, given up when dropped.
pub(crate) struct Membership<R: Route> {
    listeners: Listeners<R>,
    listener: Arc<Listener<R>>,
    route: Arc<R>,
    left: bool,
}

impl<R: Route> Listeners<R> {
    /// Puts a route on the listener of its address, which is opened if there is none.
    pub(crate) fn join(
        &self,
        route: Arc<R>,
        surroundings: &Surroundings,
    ) -> Result<Membership<R>, ConnectorError> {
        let address = route.address();
        let mut by_address = self.lock();
        // Port 0 is another one each time.
        let shared = by_address.get(&address).filter(|_| address.port() != 0).cloned();
        let listener = match shared {
            Some(listener) => {
                if !listener.opened_by.agrees_with(&route) {
                    return Err(ConnectorError::new(format!(
                        "Another channel listens on {address} with another {}. \
                         Channels that share an address must agree on them.",
                        R::AGREE_ON
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

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Listener<R>>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Route> Membership<R> {
    pub(crate) fn local(&self) -> SocketAddr {
        self.listener.local
    }

    /// Gives the place up. The last one to leave gets the listener's task, which has been told to stop, to wait for.
    pub(crate) fn leave(mut self) -> Option<JoinHandle<()>> {
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

impl<R: Route> Drop for Membership<R> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<R: Route> Listener<R> {
    fn open(route: &Arc<R>, surroundings: &Surroundings) -> Result<Self, ConnectorError> {
        let acceptor = Acceptor::open(route.tls(), &surroundings.folder, R::PROTOCOLS)?;
        let (socket, local) = sockets::listen(route.address())?;
        let routes = Arc::new(Routes {
            list: RwLock::new(vec![route.clone()]),
            common: route.common(),
        });
        let stop = Stop::new();
        let task = tokio::spawn(listen(
            socket,
            route.gate(),
            acceptor,
            routes.clone(),
            stop.clone(),
        ));
        Ok(Listener {
            local,
            opened_by: route.clone(),
            routes,
            stop,
            task: Mutex::new(Some(task)),
        })
    }
}

impl<R: Route> Routes<R> {
    fn add(&self, route: Arc<R>) -> Result<(), ConnectorError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = list.iter().find_map(|other| route.collides_with(other)) {
            return Err(ConnectorError::new(why));
        }
        list.push(route);
        Ok(())
    }

    /// Those of which something is so.
    pub(crate) fn of(&self, is_so: impl Fn(&R) -> bool) -> Vec<Arc<R>> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|route| is_so(route)).cloned().collect()
    }

    /// What all connections of the listener have in common.
    pub(crate) fn common(&self) -> &R::Common {
        &self.common
    }

    /// True when it was the last one.
    fn remove(&self, route: &Arc<R>) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|other| !Arc::ptr_eq(other, route));
        list.is_empty()
    }
}

async fn listen<R: Route>(
    socket: TcpListener,
    gate: Gate,
    acceptor: Acceptor,
    routes: Arc<Routes<R>>,
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
                            R::serve(stream, peer, routes, stop).await;
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
