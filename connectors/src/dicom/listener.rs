//! What listeners are for DICOM: by called AE title and service a message finds its channel.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dimse::AeTitle;
use engine::connector::{ConnectorError, Intake, Stop, Surroundings};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tracing::Span;

use super::caller::Caller;
use super::reports::Reports;
use super::serve;
use super::service::Service;
use super::settings;
use crate::shared;
use crate::sockets::Gate;
use crate::tls::{ListenerTls, Stream};
use crate::values::Allowed;

/// All listeners of the program, by the address that their channels name.
pub(super) type Listeners = shared::Listeners<Route>;
/// A route's place on its listener.
pub(super) type Membership = shared::Membership<Route>;
/// Who answers what.
pub(super) type Routes = shared::Routes<Route>;

/// So many connections beside the associations are heard out, to be told that there is no room.
const SPARE: usize = 32;
/// So many addresses that were refused are remembered, and are therefore not said again.
const REMEMBERED: usize = 1024;

/// One channel's part of a listener.
pub(super) struct Route {
    settings: settings::Source,
    /// Where others listen whom a peer may name.
    peers: Vec<Caller>,
    /// Where reports on storage commitment wait for who asked.
    reports: Reports,
    intake: OnceLock<Intake>,
    closing: Stop,
    under_way: TaskTracker,
    span: Span,
}

impl Route {
    pub(super) fn new(
        settings: settings::Source,
        surroundings: &Surroundings,
        reports: Reports,
    ) -> Result<Self, ConnectorError> {
        let peers = settings.peers.iter().cloned();
        let peers = peers
            .map(|peer| Caller::new(peer, surroundings))
            .collect::<Result<_, _>>()?;
        Ok(Route {
            settings,
            peers,
            reports,
            intake: OnceLock::new(),
            closing: Stop::new(),
            under_way: TaskTracker::new(),
            span: Span::current(),
        })
    }

    /// Where somebody listens whom a peer names; none: nobody here knows.
    pub(super) fn peer(&self, title: &str) -> Option<&Caller> {
        self.peers
            .iter()
            .find(|peer| peer.settings.called_ae.as_str() == title)
    }

    pub(super) fn settings(&self) -> &settings::Source {
        &self.settings
    }

    /// From now on messages are taken.
    pub(super) fn open(&self, intake: Intake) {
        // A route is run once; a second intake would have nothing to say.
        let _ = self.intake.set(intake);
    }

    /// From now on peers are told to come again.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.under_way.close();
    }

    /// Waits for the messages under way.
    pub(super) async fn ended(&self) {
        self.under_way.wait().await;
    }

    /// Where messages go; none: the channel does not run just now.
    pub(super) fn intake(&self) -> Option<&Intake> {
        self.intake.get().filter(|_| !self.closing.is_cancelled())
    }

    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    pub(super) fn offers(&self, service: Service) -> bool {
        self.settings.services.contains(&service)
    }

    pub(super) fn lets_in(&self, calling: &AeTitle, address: IpAddr) -> bool {
        let allow = &self.settings.allow;
        allow.is_empty() || allow.iter().any(|caller| caller.is(calling, address))
    }

    /// Does something that a stop waits for.
    pub(super) async fn busy<T>(&self, work: impl Future<Output = T>) -> T {
        self.under_way.track_future(work).await
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }
}

/// They can share a listener.
pub(super) fn agree(one: &settings::Source, other: &settings::Source) -> bool {
    one.max_associations == other.max_associations && one.limits == other.limits && one.tls == other.tls
}

/// A service that both offer as the same title.
pub(super) fn both_offer(one: &settings::Source, other: &settings::Source) -> Option<Service> {
    if one.ae_title != other.ae_title {
        return None;
    }
    // Everybody answers C-ECHO.
    let mut both = one
        .services
        .iter()
        .filter(|service| other.services.contains(service));
    both.find(|service| **service != Service::Echo).copied()
}

/// What those who share a listener agree on.
pub(super) const AGREE_ON: &str =
    "`max_associations`, `max_pdu`, `idle_timeout`, `message_timeout`, `artim` or `tls`";

/// What all associations of a listener have in common.
pub(super) struct Common {
    places: Semaphore,
    /// Who was refused, and that was said.
    said: Mutex<HashSet<IpAddr>>,
}

impl Common {
    /// Room for an association.
    pub(super) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// That this address is refused has not been said yet.
    pub(super) fn is_news(&self, address: IpAddr) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < REMEMBERED && said.insert(address)
    }

    /// It was let in: that it is refused would be news again.
    pub(super) fn is_in(&self, address: IpAddr) {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&address);
    }
}

impl shared::Route for Route {
    const PROTOCOLS: &'static [&'static str] = &[];
    const AGREE_ON: &'static str = AGREE_ON;
    type Common = Common;

    fn address(&self) -> SocketAddr {
        self.settings.listen
    }

    fn tls(&self) -> Option<&ListenerTls> {
        self.settings.tls.as_ref()
    }

    fn agrees_with(&self, other: &Self) -> bool {
        agree(&self.settings, &other.settings)
    }

    fn collides_with(&self, other: &Self) -> Option<String> {
        let service = both_offer(&self.settings, &other.settings)?;
        Some(format!(
            "Another channel offers {:?} as {} on {}.",
            service.as_str(),
            self.settings.ae_title,
            self.settings.listen
        ))
    }

    fn gate(&self) -> Gate {
        Gate::new(Allowed::default(), self.settings.max_associations + SPARE)
    }

    fn common(&self) -> Common {
        Common {
            places: Semaphore::new(self.settings.max_associations),
            said: Mutex::default(),
        }
    }

    async fn serve(stream: Stream, peer: SocketAddr, routes: Arc<Routes>, stop: Stop) {
        serve::association(stream, peer, &routes, &stop).await;
    }
}
