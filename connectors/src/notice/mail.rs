//! Notices by e-mail.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use engine::connector::Surroundings;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::Deserialize;

use super::{Notice, PATIENCE, Way, in_words, within};
use crate::secrets;
use crate::values::Problems;

/// Where the whole conversation is TLS (RFC 8314).
const TLS_PORT: u16 = 465;

/// `mail = { … }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The mail server, `host:port`.
    pub server: String,
    /// Who writes.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
    /// The user, where the server wants one.
    pub user: Option<String>,
    /// The environment variable that holds the user's password.
    pub password_env: Option<String>,
    /// The file that holds it.
    pub password_file: Option<String>,
    /// False: without TLS, for a server on this machine.
    pub tls: Option<bool>,
    /// A PEM file: one of these must have signed the server's certificate. Unless said: the roots of the operating system.
    pub ca: Option<String>,
}

/// A mail server and what it is told.
pub(super) struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    domain: String,
}

impl Mail {
    pub(super) fn check(&self, problems: &mut Problems) {
        let server = problems.host_and_port("mail.server", &self.server);
        if let Err(what) = mailbox(&self.from) {
            problems.add("mail.from", what);
        }
        if self.to.is_empty() {
            problems.add("mail.to", "nobody is told; write to = [\"it@clinic.example\"]");
        }
        for (idx, to) in self.to.iter().enumerate() {
            if let Err(what) = mailbox(to) {
                problems.add(&format!("mail.to[{idx}]"), what);
            }
        }
        let passwords = [&self.password_env, &self.password_file]
            .into_iter()
            .flatten()
            .count();
        if passwords != usize::from(self.user.is_some()) {
            problems.add(
                "mail.user",
                "write `user` with one of `password_env` and `password_file`, or none of them",
            );
        }
        let host = host(&server);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if self.tls == Some(false) && !is_here {
            problems.add(
                "mail.tls",
                "without TLS only a server on this machine is told: whoever is on the way can read it",
            );
        }
    }

    pub(super) async fn open(&self, surroundings: &Surroundings) -> Result<Post, String> {
        let (name, port) = self.server.rsplit_once(':').ok_or("the server is no host:port")?;
        let port: u16 = port
            .parse()
            .map_err(|_| "the server is no host:port".to_owned())?;
        let tls = match self.tls {
            Some(false) => Tls::None,
            Some(true) | None => {
                let parameters = self.parameters(host(name), surroundings)?;
                if port == TLS_PORT {
                    Tls::Wrapper(parameters)
                } else {
                    Tls::Required(parameters)
                }
            }
        };
        let from = mailbox(&self.from)?;
        let domain = from.email.domain().to_owned();
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host(name))
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain(domain.clone()))
            .timeout(Some(PATIENCE));
        if let Some(user) = &self.user {
            let password = secrets::read(&self.password_env, &self.password_file, surroundings).await;
            let password = password.map_err(|error| error.to_string())?;
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(Post {
            transport: builder.build(),
            from,
            to: self.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            domain,
        })
    }

    fn parameters(&self, host: &str, surroundings: &Surroundings) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(ca) = &self.ca {
            let path = surroundings.folder.join(ca);
            let pem =
                std::fs::read(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
            let roots = Certificate::from_pem(&pem)
                .map_err(|error| format!("{}: {}", path.display(), in_words(&error)))?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(roots);
        }
        builder
            .build()
            .map_err(|error| format!("TLS can't be spoken: {}", in_words(&error)))
    }
}

#[async_trait]
impl Way for Post {
    async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(&notice.subject)
            .date(moment(notice))
            // The same for each try, so that a mail that comes twice is known to be one.
            .message_id(Some(format!("<{}@{}>", notice.id, self.domain)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mail = builder
            .body(notice.text.clone())
            .map_err(|error| in_words(&error))?;
        within(async { self.transport.send(mail).await.map_err(|error| in_words(&error)) }).await?;
        Ok(())
    }
}

/// As mails write it: to the second.
fn moment(notice: &Notice) -> SystemTime {
    let seconds = u64::try_from(notice.at.as_second()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no e-mail address; write it@clinic.example"))
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(server: &str) -> &str {
    let host = match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => server,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}
