//! The sending side: the far side's certificate is checked, ours is shown where it asks.

use std::path::Path;
use std::sync::Arc;

use engine::connector::ConnectorError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::files::{self, Fault};
use super::fresh::Fresh;
use super::stream::Metered;
use super::{HANDSHAKE, SenderTable, Stream};

/// How connections to one far side are secured.
#[derive(Clone)]
pub(crate) struct Secured {
    config: Arc<Fresh<ClientConfig>>,
}

impl Secured {
    /// Reads the certificates.
    pub(crate) fn open(settings: &SenderTable, folder: &Path) -> Result<Self, ConnectorError> {
        let all = [
            settings.ca.as_deref(),
            settings.cert.as_deref(),
            settings.key.as_deref(),
        ];
        let files = files::paths(folder, &all);
        let (settings, folder) = (settings.clone(), folder.to_owned());
        let config = Fresh::new(files, move || client_config(&settings, &folder))
            .map_err(|what| ConnectorError::new(format!("TLS can't be spoken: {what}.")))?;
        Ok(Secured { config })
    }

    /// What connections are made by from now on: the same one as long as no file has changed.
    pub(crate) async fn config(&self) -> Arc<ClientConfig> {
        self.config.get().await
    }

    /// Secures a connection to `host:port`.
    pub(crate) async fn connect(&self, to: &str, stream: TcpStream) -> Result<Stream, String> {
        let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can have."))?;
        let connector = tokio_rustls::TlsConnector::from(self.config().await);
        match timeout(HANDSHAKE, connector.connect(name, Metered::new(stream))).await {
            Ok(Ok(stream)) => Ok(Stream::tls(stream)),
            Ok(Err(error)) => Err(format!("No secure connection to {to}: {}.", in_words(&error))),
            Err(_) => Err(format!(
                "No secure connection to {to}: the TLS handshake did not end within {HANDSHAKE:?}."
            )),
        }
    }
}

fn client_config(settings: &SenderTable, folder: &Path) -> Result<ClientConfig, String> {
    let provider = files::provider();
    let (inner, own): (Arc<dyn ServerCertVerifier>, _) = match &settings.ca {
        Some(file) => {
            let roots = files::roots(&folder.join(file))?;
            let inner = WebPkiServerVerifier::builder_with_provider(roots.store, provider.clone())
                .build()
                .map_err(|error| error.to_string())?;
            (inner, roots.certificates)
        }
        None => {
            let inner = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| {
                format!("the operating system's roots can't be had ({error}); name a file with `ca`")
            })?;
            (Arc::new(inner), vec![])
        }
    };
    let name = match &settings.name {
        Some(name) => {
            Some(ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a host"))?)
        }
        None => None,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        // Nothing is left out: it checks what the one inside checks, and what is said below.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { inner, own, name }));
    let config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let identity = files::identity(folder, cert, key).map_err(|faults: Vec<Fault>| {
                let whats: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
                whats.join("; ")
            })?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        (Some(_), None) | (None, Some(_)) | (None, None) => builder.with_no_client_auth(),
    };
    Ok(config)
}

/// Checks by the roots, and beside that takes a certificate that is itself in `ca`: many a device has one that it signed
/// itself. Its name and its dates count all the same.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ServerCertVerifier>,
    own: Vec<CertificateDer<'static>>,
    name: Option<ServerName<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        if !self.own.iter().any(|own| own == end_entity) {
            return self
                .inner
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        }
        let validity =
            files::validity(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < validity.from.as_second() {
            return Err(CertificateError::NotValidYet.into());
        }
        if validity.to.as_second() < now {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Why, where the far side broke a connection off because of our certificate. In TLS 1.3 that is said only after we have
/// sent; but nobody reads what was sent to somebody who was not let in: it was surely not received.
pub(crate) fn refused_by_peer(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let Error::AlertReceived(alert) = tls_error(error)? else {
        return None;
    };
    let is_about_us = matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
    );
    is_about_us.then(|| format!("the far side does not let us in by the certificate that we show, or asks for one ({alert:?}); look at `cert` and `key`"))
}

fn in_words(error: &std::io::Error) -> String {
    if let Some(why) = refused_by_peer(error) {
        return why;
    }
    match tls_error(error) {
        Some(Error::InvalidMessage(_)) => "the far side does not speak TLS there".to_owned(),
        Some(Error::InvalidCertificate(why)) => format!("its certificate is not accepted: {why}"),
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

/// The error of TLS among the causes of another.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        next = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
