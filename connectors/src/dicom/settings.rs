//! What a channel file says about a DICOM end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dimse::AeTitle;
use engine::connector::SettingsProblem;
use schemars::JsonSchema;
use serde::Deserialize;

use super::service::Service;
use crate::tls::{ListenerTls, SenderTable, SenderTls};
use crate::values::{Allowed, Problems, Table, default_from};

/// `[source.dicom]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The address and port to listen on: "0.0.0.0:11112". Channels that name the same one share it.
    pub listen: String,
    /// Our AE title: peers that call another one are rejected.
    #[serde(default = "default_title")]
    pub ae_title: String,
    /// What is offered: "store", "worklist", "mpps", "commitment", "query", "retrieve"; "echo" is always answered.
    pub services: Vec<Service>,
    /// Which calling AE titles are let in: "CT1", or with its address "CT1@10.0.0.7", or its network "CT1@10.0.0.0/24".
    /// Empty: everybody who can reach the port.
    #[serde(default)]
    pub allow: Vec<String>,
    /// How many associations are served at the same time; more are rejected, to come again.
    #[serde(default = "default_associations")]
    #[schemars(range(min = 1, max = 4_096))]
    pub max_associations: usize,
    /// The longest piece of data taken at once: "128 KB".
    #[serde(default = "default_pdu")]
    pub max_pdu: String,
    /// How long an association may be silent between messages: "10m". "0s" lets it be silent for ever.
    #[serde(default = "default_idle")]
    pub idle_timeout: String,
    /// How long the request for an association may take from the first byte, and a peer may take to close (ARTIM): "30s".
    #[serde(default = "default_artim")]
    pub artim: String,
    /// How long a peer may be silent within a message, and may take to take an answer: "30s".
    #[serde(default = "default_message")]
    pub message_timeout: String,
    /// The longest object taken: "4 GB". Long ones go to the disk as they come.
    #[serde(default = "default_object")]
    pub max_object: String,
    /// TLS: the certificate that is shown, and whose certificates peers must show.
    pub tls: Option<ListenerTls>,
    /// Where others listen, by their AE titles: who may be named as the destination of a C-MOVE.
    #[serde(default)]
    pub peers: BTreeMap<String, PeerSettings>,
}

/// Where somebody listens whom a peer names by its AE title.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// The host and port to connect to: "10.0.0.9:11112".
    pub connect: String,
    /// TLS: how its certificate is checked, and which one we show. `true`: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// How long connecting, and the negotiation after it, may take: "10s".
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long to wait for the answer once an object has left: "60s".
    #[serde(default = "default_reply")]
    pub reply_timeout: String,
}

impl PeerSettings {
    /// As a far side that we call.
    fn called(&self, title: &str, ours: &str) -> DestinationSettings {
        DestinationSettings {
            connect: self.connect.clone(),
            called_ae: title.to_owned(),
            calling_ae: ours.to_owned(),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout.clone(),
            reply_timeout: self.reply_timeout.clone(),
            keep_open: "0s".to_owned(),
            max_pdu: default_pdu(),
        }
    }
}

/// A source's settings, checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who we are.
    pub ae_title: AeTitle,
    /// At least one.
    pub services: Vec<Service>,
    /// Who is let in; empty: everybody.
    pub allow: Vec<Caller>,
    /// At the same time.
    pub max_associations: usize,
    /// The limits of each.
    pub limits: dimse::Limits,
    /// Bytes.
    pub max_object: usize,
    /// How connections are secured.
    pub tls: Option<ListenerTls>,
    /// Where others listen.
    pub peers: Vec<Destination>,
}

/// Somebody who may call.
#[derive(Clone, Debug)]
pub struct Caller {
    title: AeTitle,
    from: Allowed,
}

impl Caller {
    /// It is this one.
    pub fn is(&self, title: &AeTitle, address: IpAddr) -> bool {
        self.title == *title && self.from.lets_in(address)
    }
}

/// `dicom = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// The host and port to connect to: "10.0.0.5:104".
    pub connect: String,
    /// The AE title of the far side.
    pub called_ae: String,
    /// Our AE title, as the far side knows us.
    #[serde(default = "default_title")]
    pub calling_ae: String,
    /// TLS: how the far side's certificate is checked, and which one we show. `true`: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// How long connecting, and the negotiation after it, may take: "10s".
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long to wait for the answer once an object has left: "60s".
    #[serde(default = "default_reply")]
    pub reply_timeout: String,
    /// How long an association is kept for the next object: "10s". "0s": each object has its own.
    #[serde(default = "default_keep")]
    pub keep_open: String,
    /// The longest piece of data that we take at once: "128 KB".
    #[serde(default = "default_pdu")]
    pub max_pdu: String,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Host and port.
    pub connect: String,
    /// The far side.
    pub called_ae: AeTitle,
    /// We.
    pub calling_ae: AeTitle,
    /// How the connection is secured.
    pub tls: Option<SenderTable>,
    /// For connecting.
    pub connect_timeout: Duration,
    /// None: for one object only.
    pub keep_open: Option<Duration>,
    /// The limits of an association.
    pub limits: dimse::Limits,
}

default_from! {
    default_title = "PUNTE";
    default_pdu = "128 KB";
    default_idle = "10m";
    default_artim = "30s";
    default_message = "30s";
    default_object = "4 GB";
    default_connect = "10s";
    default_reply = "60s";
    default_keep = "10s";
}

fn default_associations() -> usize {
    64
}

impl Table for SourceSettings {
    type Checked = Source;

    fn check(&self) -> Result<Source, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        if self.services.is_empty() {
            problems.add("services", "write at least one, such as [\"store\"]");
        }
        let checked = Source {
            listen: problems.address("listen", &self.listen),
            ae_title: title("ae_title", &self.ae_title, &mut problems),
            services: self.services.clone(),
            allow: callers(&self.allow, &mut problems),
            max_associations: problems.count("max_associations", self.max_associations, 1..=4096),
            limits: dimse::Limits {
                max_pdu: pdu(&self.max_pdu, &mut problems),
                artim: problems.duration("artim", &self.artim),
                idle: problems.duration_or_never("idle_timeout", &self.idle_timeout),
                within: problems.duration("message_timeout", &self.message_timeout),
                ..dimse::Limits::default()
            },
            max_object: problems.size("max_object", &self.max_object, 1024..=1 << 40),
            tls: self.tls.clone(),
            peers: peers(&self.peers, &self.ae_title, &mut problems),
        };
        if let Some(tls) = &self.tls {
            tls.check("tls", &mut problems);
        }
        let knows_callers =
            !self.allow.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let told = self.services.iter().find_map(|service| match service {
            Service::Worklist => Some("the worklist"),
            Service::Query | Service::Retrieve => Some("who was examined, and the images"),
            Service::Echo | Service::Store | Service::NonPatient | Service::Mpps | Service::Commitment => {
                None
            }
        });
        if let Some(told) = told.filter(|_| !knows_callers && !checked.listen.ip().is_loopback()) {
            let what = format!(
                "everybody in the network could read {told}; name the AE titles that may, such as [\"CT1@10.0.0.7\"]"
            );
            problems.add("allow", what);
        }
        problems.into_result(checked)
    }
}

impl Table for DestinationSettings {
    type Checked = Destination;

    fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let reply = problems.duration("reply_timeout", &self.reply_timeout);
        let connect_timeout = problems.duration("connect_timeout", &self.connect_timeout);
        let checked = Destination {
            connect: problems.host_and_port("connect", &self.connect),
            called_ae: title("called_ae", &self.called_ae, &mut problems),
            calling_ae: title("calling_ae", &self.calling_ae, &mut problems),
            tls: self.tls.as_ref().and_then(SenderTls::table),
            connect_timeout,
            keep_open: problems.duration_or_never("keep_open", &self.keep_open),
            limits: dimse::Limits {
                max_pdu: pdu(&self.max_pdu, &mut problems),
                artim: connect_timeout,
                idle: None,
                within: reply,
                answer: reply,
            },
        };
        if let Some(tls) = &self.tls {
            tls.check("tls", &mut problems);
        }
        problems.into_result(checked)
    }
}

fn title(path: &str, text: &str, problems: &mut Problems) -> AeTitle {
    text.parse().unwrap_or_else(|error| {
        problems.add(path, format!("{text:?} is no AE title: {error}"));
        AeTitle::from_wire(b"PUNTE")
    })
}

/// Where others listen; what is wrong with one is told at its place.
pub(super) fn peers(
    table: &BTreeMap<String, PeerSettings>,
    ours: &str,
    problems: &mut Problems,
) -> Vec<Destination> {
    let mut peers = Vec::new();
    for (name, settings) in table {
        title(&format!("peers.{name}"), name, problems);
        match settings.called(name, ours).check() {
            Ok(peer) => peers.push(peer),
            Err(wrong) => wrong
                .into_iter()
                // What is wrong with a title was told.
                .filter(|problem| !problem.path.ends_with("_ae"))
                .for_each(|problem| problems.add(&format!("peers.{name}.{}", problem.path), problem.what)),
        }
    }
    peers
}

fn pdu(text: &str, problems: &mut Problems) -> u32 {
    // Fits: at most 1 MB.
    u32::try_from(problems.size("max_pdu", text, 4096..=1 << 20)).unwrap_or(4096)
}

fn callers(texts: &[String], problems: &mut Problems) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let path = format!("allow[{at}]");
        let (name, network) = text
            .split_once('@')
            .map_or((text.as_str(), None), |(name, network)| (name, Some(network)));
        let mut of_network = Problems::default();
        let networks: Vec<String> = network.into_iter().map(str::to_owned).collect();
        let from = of_network.allowed(&path, &networks);
        for problem in of_network.into_result(()).err().unwrap_or_default() {
            problems.add(&path, problem.what);
        }
        callers.push(Caller {
            title: title(&path, name, problems),
            from,
        });
    }
    callers
}
