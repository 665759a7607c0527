//! What a channel file says about an MLLP end.

use std::net::SocketAddr;
use std::time::Duration;

use engine::connector::SettingsProblem;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::tls::{ListenerTls, SenderTable, SenderTls};
use crate::values::{Allowed, Problems, Table, default_from};

/// `[source.mllp]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The address and port to listen on: "127.0.0.1:2575". Port 0 takes a free one.
    pub listen: String,
    /// The longest message taken: "16 MB".
    #[serde(default = "default_frame")]
    pub max_frame: String,
    /// How long a connection may be silent between messages: "5m". "0s" lets it be silent for ever.
    #[serde(default = "default_idle")]
    pub idle_timeout: String,
    /// How long a message may take from its first byte to its last, and an answer to be taken: "30s".
    #[serde(default = "default_from_first_byte")]
    pub frame_timeout: String,
    /// How many connections are served at the same time; more are closed at once.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_connections: usize,
    /// TLS: the certificate that is shown, and whose certificates senders must show.
    pub tls: Option<ListenerTls>,
    /// Who may connect: addresses ("10.0.0.7") and networks ("10.0.0.0/24"). Empty: everybody who can reach the port.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// A source's settings, checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bytes.
    pub max_frame: usize,
    /// None: for ever.
    pub idle_timeout: Option<Duration>,
    /// From the first byte to the last.
    pub frame_timeout: Duration,
    /// At the same time.
    pub max_connections: usize,
    /// How connections are secured.
    pub tls: Option<ListenerTls>,
    /// Who may connect.
    pub allow: Allowed,
}

/// `mllp = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// The host and port to connect to: "10.0.0.7:2575".
    pub connect: String,
    /// TLS: how the far side's certificate is checked, and which one we show. `true`: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// How long connecting may take: "10s".
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long to wait for the answer once the message has left, and for the far side to take the message: "30s".
    #[serde(default = "default_reply")]
    pub reply_timeout: String,
    /// Keep one connection open for all messages; otherwise each has its own.
    #[serde(default = "default_true")]
    pub keep_open: bool,
    /// The longest message sent and the longest answer taken: "16 MB".
    #[serde(default = "default_frame")]
    pub max_frame: String,
    /// How many answers for other messages are read past before the connection is given up.
    #[serde(default = "default_answers")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_answers: usize,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Host and port.
    pub connect: String,
    /// How the connection is secured.
    pub tls: Option<SenderTable>,
    /// For connecting.
    pub connect_timeout: Duration,
    /// For the answer.
    pub reply_timeout: Duration,
    /// One connection for all messages.
    pub keep_open: bool,
    /// Bytes.
    pub max_frame: usize,
    /// Answers for others that are read past.
    pub max_answers: usize,
}

default_from! {
    default_frame = "16 MB";
    default_idle = "5m";
    default_from_first_byte = "30s";
    default_connect = "10s";
    default_reply = "30s";
}

fn default_connections() -> usize {
    256
}

fn default_answers() -> usize {
    1000
}

fn default_true() -> bool {
    true
}

impl Table for SourceSettings {
    type Checked = Source;

    fn check(&self) -> Result<Source, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let checked = Source {
            listen: problems.address("listen", &self.listen),
            max_frame: problems.size("max_frame", &self.max_frame, 64..=1 << 30),
            idle_timeout: problems.duration_or_never("idle_timeout", &self.idle_timeout),
            frame_timeout: problems.duration("frame_timeout", &self.frame_timeout),
            max_connections: problems.count("max_connections", self.max_connections, 1..=65_536),
            tls: self.tls.clone(),
            allow: problems.allowed("allow", &self.allow),
        };
        if let Some(tls) = &self.tls {
            tls.check("tls", &mut problems);
        }
        problems.into_result(checked)
    }
}

impl Table for DestinationSettings {
    type Checked = Destination;

    fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let checked = Destination {
            connect: problems.host_and_port("connect", &self.connect),
            tls: self.tls.as_ref().and_then(SenderTls::table),
            connect_timeout: problems.duration("connect_timeout", &self.connect_timeout),
            reply_timeout: problems.duration("reply_timeout", &self.reply_timeout),
            keep_open: self.keep_open,
            max_frame: problems.size("max_frame", &self.max_frame, 64..=1 << 30),
            max_answers: problems.count("max_answers", self.max_answers, 1..=100_000),
        };
        if let Some(tls) = &self.tls {
            tls.check("tls", &mut problems);
        }
        problems.into_result(checked)
    }
}
