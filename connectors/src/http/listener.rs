//! What listeners are for HTTP: by path and method a request finds its channel.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::connector::Stop;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::request::{Caller, Route, serve};
use crate::shared;
use crate::sockets::Gate;
use crate::tls::{ListenerTls, Stream};
use crate::values::Allowed;
use crate::watched::Watched;

/// All listeners of the program, by the address that their channels name.
pub(super) type Listeners = shared::Listeners<Route>;
/// A route's place on its listener.
pub(super) type Membership = shared::Membership<Route>;
/// Who answers what.
pub(super) type Routes = shared::Routes<Route>;

impl shared::Route for Route {
    const PROTOCOLS: &'static [&'static str] = &["http/1.1"];
    const AGREE_ON: &'static str = "`max_connections`, `timeout` or `tls`";
    type Common = ();

    fn address(&self) -> SocketAddr {
        self.settings().listen
    }

    fn tls(&self) -> Option<&ListenerTls> {
        self.settings().tls.as_ref()
    }

    fn agrees_with(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.settings(), other.settings());
        ours.max_connections == theirs.max_connections
            && ours.timeout == theirs.timeout
            && ours.tls == theirs.tls
    }

    fn collides_with(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.settings(), other.settings());
        let is_same = ours.path.is_same(&theirs.path)
            && ours.methods.iter().any(|method| theirs.methods.contains(method));
        is_same.then(|| {
            format!(
                "Another channel answers {} on {} with one of the same methods.",
                ours.path.as_str(),
                ours.listen
            )
        })
    }

    fn gate(&self) -> Gate {
        // Each route has its own `allow`.
        Gate::new(Allowed::default(), self.settings().max_connections)
    }

    fn common(&self) {}

    async fn serve(stream: Stream, peer: SocketAddr, routes: Arc<Routes>, stop: Stop) {
        // They agree on it.
        let Some(within) = routes.of(|_| true).first().map(|route| route.settings().timeout) else {
            return;
        };
        connection(stream, peer, within, routes, stop).await;
    }
}

/// All routes of a path, the most exact first.
pub(super) fn of_path(routes: &Routes, path: &str) -> Vec<Arc<Route>> {
    let mut routes = routes.of(|route| route.settings().path.places(path).is_some());
    routes.sort_by_key(|route| std::cmp::Reverse(route.settings().path.exactness()));
    routes
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
