//! Notices to a log server. RFC 5424; the framing by RFC 5426 (UDP), RFC 6587 3.4.1 (TCP) and RFC 5425 (TLS).

use async_trait::async_trait;
use engine::connector::Surroundings;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::{Notice, Way, within};
use crate::tls::{Secured, SenderTable};
use crate::values::Problems;

/// RFC 5424, 6.2.1: system daemons.
const DAEMON: u8 = 3;
/// Error conditions; normal but significant.
const ERROR: u8 = 3;
const NOTICE: u8 = 5;
/// A datagram that every receiver takes (RFC 5426, 3.2).
const LONGEST_DATAGRAM: usize = 2048;

/// `syslog = { … }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// `udp://host:port`, `tcp://host:port` or `tls://host:port`.
    pub to: String,
    /// How the far side's certificate is checked, and which one we show.
    pub tls: Option<SenderTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// A log server.
pub(super) struct Server {
    transport: Transport,
    to: String,
    secured: Option<Secured>,
}

impl Syslog {
    pub(super) fn check(&self, problems: &mut Problems) {
        match self.parts() {
            None => problems.add(
                "syslog.to",
                "an address as udp://10.0.0.9:514, tcp://… or tls://…",
            ),
            Some((transport, to)) => {
                problems.host_and_port("syslog.to", to);
                if self.tls.is_some() && transport != Transport::Tls {
                    problems.add("syslog.tls", "the address speaks no TLS; write tls://");
                }
            }
        }
    }

    fn parts(&self) -> Option<(Transport, &str)> {
        let (scheme, to) = self.to.split_once("://")?;
        let transport = match scheme {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            _ => return None,
        };
        Some((transport, to))
    }

    pub(super) fn open(&self, surroundings: &Surroundings) -> Result<Server, String> {
        let (transport, to) = self.parts().ok_or("it has no address")?;
        let secured = match transport {
            Transport::Tls => {
                let tls = self.tls.clone().unwrap_or_default();
                Some(Secured::open(&tls, &surroundings.folder).map_err(|error| error.to_string())?)
            }
            Transport::Udp | Transport::Tcp => None,
        };
        Ok(Server {
            transport,
            to: to.to_owned(),
            secured,
        })
    }
}

#[async_trait]
impl Way for Server {
    async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let line = line(notice);
        within(self.send(line.as_bytes())).await
    }
}

impl Server {
    async fn send(&self, line: &[u8]) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} can't be told: {error}", self.to);
        if self.transport == Transport::Udp {
            let addresses = tokio::net::lookup_host(&self.to).await.map_err(failed)?;
            let to = { addresses }
                .next()
                .ok_or_else(|| format!("{} has no address", self.to))?;
            let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from).await.map_err(failed)?;
            // Connected, so that a port where nobody listens is noticed where the system tells.
            socket.connect(to).await.map_err(failed)?;
            socket.send(line).await.map_err(failed)?;
            return Ok(());
        }
        let mut framed = format!("{} ", line.len()).into_bytes();
        framed.extend_from_slice(line);
        let mut stream = TcpStream::connect(&self.to).await.map_err(failed)?;
        match &self.secured {
            None => {
                stream.write_all(&framed).await.map_err(failed)?;
                stream.shutdown().await.map_err(failed)
            }
            Some(secured) => {
                let mut stream = secured.connect(&self.to, stream).await?;
                stream.write_all(&framed).await.map_err(failed)?;
                stream.shutdown().await.map_err(failed)
            }
        }
    }
}

/// `<27>1 2026-05-05T08:30:00.000000Z - punte - alert [origin software="punte"] BOM text`
fn line(notice: &Notice) -> String {
    let (severity, id) = if notice.is_end {
        (NOTICE, "alert-end")
    } else {
        (ERROR, "alert")
    };
    let text: String = notice
        .subject
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let mut line = format!(
        "<{}>1 {:.6} - punte - {id} [origin software=\"punte\"] \u{feff}{text} ({})",
        DAEMON * 8 + severity,
        notice.at,
        notice.id,
    );
    while LONGEST_DATAGRAM < line.len() {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_all_its_parts() {
        let notice = Notice {
            id: "7-begin".into(),
            at: "2026-05-05T08:30:00.123456789Z".parse().unwrap(),
            is_end: false,
            subject: "Punte: adt/ris: \n1 delivery is held".into(),
            text: String::new(),
        };
        assert_eq!(
            line(&notice),
            "<27>1 2026-05-05T08:30:00.123456Z - punte - alert [origin software=\"punte\"] \u{feff}Punte: adt/ris:  1 delivery is held (7-begin)"
        );
        let long = Notice {
            subject: "ș".repeat(3000),
            is_end: true,
            ..notice
        };
        assert!(line(&long).len() <= LONGEST_DATAGRAM && line(&long).starts_with("<29>1 "));
    }
}
