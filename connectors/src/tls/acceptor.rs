//! The listening side: handshakes, with certificates that are looked at anew for each connection.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use engine::connector::ConnectorError;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{Error, InvalidMessage, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::files::{self, Fault};
use super::fresh::Fresh;
use super::stream::Metered;
use super::{HANDSHAKE, ListenerTls, Stream};
use crate::sockets;

/// So many addresses that were refused are remembered, and are therefore not said again.
const REMEMBERED: usize = 1024;

/// Lets connections in: as they are, or by TLS.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<Arc<Tls>>,
}

struct Tls {
    config: Arc<Fresh<ServerConfig>>,
    /// Who was refused, and that was said.
    said: Mutex<HashSet<IpAddr>>,
}

impl Acceptor {
    /// Reads the certificates; without settings connections are taken as they are. `protocols`: what is spoken inside, in
    /// the words of ALPN.
    pub fn open(
        settings: Option<&ListenerTls>,
        folder: &Path,
        protocols: &[&str],
    ) -> Result<Self, ConnectorError> {
        let Some(settings) = settings else {
            return Ok(Acceptor { tls: None });
        };
        let all = [
            Some(settings.cert.as_str()),
            Some(settings.key.as_str()),
            settings.client_ca.as_deref(),
        ];
        let files = files::paths(folder, &all);
        let (settings, folder) = (settings.clone(), folder.to_owned());
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let make = move || {
            let mut config = server_config(&settings, &folder)?;
            config.alpn_protocols = protocols.clone();
            Ok(config)
        };
        let config = Fresh::new(files, make)
            .map_err(|what| ConnectorError::new(format!("TLS can't be offered: {what}.")))?;
        Ok(Acceptor {
            tls: Some(Arc::new(Tls {
                config,
                said: Mutex::default(),
            })),
        })
    }

    /// The connection, once it may be used. None: it is closed, and that was said.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        sockets::tune(&stream);
        let Some(tls) = &self.tls else {
            return Some(Stream::plain(stream));
        };
        let acceptor = tokio_rustls::TlsAcceptor::from(tls.config.get().await);
        let why = match timeout(HANDSHAKE, acceptor.accept(Metered::new(stream))).await {
            Ok(Ok(stream)) => {
                tls.said().remove(&peer.ip());
                return Some(Stream::tls(stream));
            }
            Ok(Err(error)) => refusal(&error),
            Err(_) => format!("the TLS handshake did not end within {HANDSHAKE:?}"),
        };
        if tls.is_news(peer.ip()) {
            tracing::warn!(%peer, why, "A connection was closed: it can't be secured. This address is not said again until it gets in.");
        } else {
            tracing::debug!(%peer, why, "A connection was closed: it can't be secured.");
        }
        None
    }
}

impl Tls {
    fn said(&self) -> std::sync::MutexGuard<'_, HashSet<IpAddr>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_news(&self, address: IpAddr) -> bool {
        let mut said = self.said();
        said.len() < REMEMBERED && said.insert(address)
    }
}

fn server_config(settings: &ListenerTls, folder: &Path) -> Result<ServerConfig, String> {
    let faults = |faults: Vec<Fault>| {
        let whats: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
        whats.join("; ")
    };
    let identity = files::identity(folder, &settings.cert, &settings.key).map_err(faults)?;
    let builder = ServerConfig::builder_with_provider(files::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(client_verifier(&folder.join(file))?),
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = files::roots(path)?;
    let verifier: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(roots.store, files::provider())
            .build()
            .map_err(|error| error.to_string())?;
    Ok(verifier)
}

/// Why a handshake failed, in our words where it is one of the everyday reasons.
fn refusal(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the sender speaks without TLS, and this port takes only TLS".to_owned()
        }
        Some(Error::NoCertificatesPresented) => {
            "the sender shows no certificate, and `client_ca` asks for one".to_owned()
        }
        Some(Error::InvalidCertificate(why)) => {
            format!("the sender's certificate is not accepted by `client_ca`: {why}")
        }
        Some(Error::AlertReceived(alert)) => {
            format!("the sender does not accept our certificate, or broke off ({alert:?})")
        }
        Some(error) => format!("the TLS handshake failed: {error}"),
        None => format!("the TLS handshake broke off: {error}"),
    }
}

/// Connections as they arrive, each ready for use. Handshakes run side by side.
pub struct Arrivals {
    listener: TcpListener,
    acceptor: Acceptor,
    handshakes: JoinSet<Option<(Stream, SocketAddr)>>,
}

/// The most handshakes at the same time; who comes then waits in the queue of the system.
const HANDSHAKES: usize = 256;

impl Arrivals {
    /// Those of a listener.
    pub fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        Arrivals {
            listener,
            acceptor,
            handshakes: JoinSet::new(),
        }
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next one. May be dropped before it has come; nothing is lost.
    pub async fn next(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => match ended {
                    Ok(Some(arrived)) => return arrived,
                    Ok(None) => {}
                    Err(error) => sockets::report(Err(error)),
                },
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, peer)) => {
                        let acceptor = self.acceptor.clone();
                        self.handshakes.spawn(async move { Some((acceptor.accept(stream, peer).await?, peer)) });
                    }
                    Err(error) => sockets::after_failed_accept(error).await,
                },
            }
        }
    }
}
