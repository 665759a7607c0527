//! The values of settings: durations, sizes, addresses; and the list of what is wrong with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use engine::channel::{duration, size};
use engine::connector::{ConnectorError, SettingsProblem};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Functions for `#[serde(default = …)]` that give a text.
macro_rules! default_from {
    ($($name:ident = $text:literal;)*) => {
        $(fn $name() -> String { $text.to_owned() })*
    };
}
pub(crate) use default_from;

/// A table of a channel file: what is written, and what it means.
pub(crate) trait Table: DeserializeOwned + schemars::JsonSchema {
    /// The settings in their own types.
    type Checked;
    /// All problems, or what the table means.
    fn check(&self) -> Result<Self::Checked, Vec<SettingsProblem>>;
}

/// Reads a table and says what it means, or all that is wrong with it.
pub(crate) fn read<T: Table>(settings: &Value) -> Result<T::Checked, Vec<SettingsProblem>> {
    let table = T::deserialize(settings).map_err(|error| {
        vec![SettingsProblem {
            path: String::new(),
            what: error.to_string(),
        }]
    })?;
    table.check()
}

/// What is wrong with a table.
pub(crate) fn problems<T: Table>(settings: &Value) -> Vec<SettingsProblem> {
    read::<T>(settings).err().unwrap_or_default()
}

/// What a table means, to open an end by.
pub(crate) fn checked<T: Table>(settings: &Value) -> Result<T::Checked, ConnectorError> {
    read::<T>(settings).map_err(as_error)
}

/// The problems as one error, for `open` (where `check` has passed there are none).
fn as_error(problems: Vec<SettingsProblem>) -> ConnectorError {
    let list: Vec<String> = problems
        .into_iter()
        .map(|problem| match problem.path.is_empty() {
            true => problem.what,
            false => format!("{}: {}", problem.path, problem.what),
        })
        .collect();
    ConnectorError::new(list.join("; "))
}

/// A JSON Schema as a value.
pub(crate) fn schema_of<T: Table>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Inside `impl Connector`: the schemas and checks of its tables.
macro_rules! tables {
    ($(source = $source:ident $(,)?)? $(destination = $destination:ident)?) => {
        $(
            fn source_schema(&self) -> Option<serde_json::Value> {
                Some($crate::values::schema_of::<$source>())
            }

            fn check_source(&self, settings: &serde_json::Value) -> Vec<engine::connector::SettingsProblem> {
                $crate::values::problems::<$source>(settings)
            }
        )?
        $(
            fn destination_schema(&self) -> Option<serde_json::Value> {
                Some($crate::values::schema_of::<$destination>())
            }

            fn check_destination(&self, settings: &serde_json::Value) -> Vec<engine::connector::SettingsProblem> {
                $crate::values::problems::<$destination>(settings)
            }
        )?
    };
}
pub(crate) use tables;

/// Collects what is wrong. Its readers give a harmless value where the text can't be read.
#[derive(Default)]
pub(crate) struct Problems {
    list: Vec<SettingsProblem>,
}

impl Problems {
    pub(crate) fn add(&mut self, path: &str, what: impl Into<String>) {
        self.list.push(SettingsProblem {
            path: path.to_owned(),
            what: what.into(),
        });
    }

    pub(crate) fn into_result<T>(self, checked: T) -> Result<T, Vec<SettingsProblem>> {
        if self.list.is_empty() {
            Ok(checked)
        } else {
            Err(self.list)
        }
    }

    fn keep<T>(&mut self, path: &str, result: Result<T, String>, otherwise: T) -> T {
        result.unwrap_or_else(|what| {
            self.add(path, what);
            otherwise
        })
    }

    /// More than nothing.
    pub(crate) fn duration(&mut self, path: &str, text: &str) -> Duration {
        let result = duration::parse(text).and_then(|duration| match duration.is_zero() {
            true => Err(format!("{text:?} leaves no time at all; write \"30s\"")),
            false => Ok(duration),
        });
        self.keep(path, result, Duration::from_secs(1))
    }

    /// Zero stands for no limit.
    pub(crate) fn duration_or_never(&mut self, path: &str, text: &str) -> Option<Duration> {
        let duration = self.keep(path, duration::parse(text), Duration::ZERO);
        (!duration.is_zero()).then_some(duration)
    }

    pub(crate) fn size(&mut self, path: &str, text: &str, range: RangeInclusive<u64>) -> usize {
        let result = size::parse(text).and_then(|size| match range.contains(&size) {
            true => Ok(size as usize),
            false => Err(format!(
                "{text:?} is out of range; write a size from {} to {} bytes, such as \"16 MB\"",
                range.start(),
                range.end()
            )),
        });
        self.keep(path, result, *range.start() as usize)
    }

    pub(crate) fn count(&mut self, path: &str, count: usize, range: RangeInclusive<usize>) -> usize {
        if !range.contains(&count) {
            self.add(
                path,
                format!(
                    "{count} is out of range; write {} to {}",
                    range.start(),
                    range.end()
                ),
            );
        }
        count
    }

    pub(crate) fn address(&mut self, path: &str, text: &str) -> SocketAddr {
        self.keep(path, address(text), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    pub(crate) fn host_and_port(&mut self, path: &str, text: &str) -> String {
        if let Err(what) = host_and_port(text) {
            self.add(path, what);
        }
        text.trim().to_owned()
    }

    pub(crate) fn allowed(&mut self, path: &str, texts: &[String]) -> Allowed {
        let mut networks = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            match Network::read(text) {
                Ok(network) => networks.push(network),
                Err(what) => self.add(&format!("{path}[{at}]"), what),
            }
        }
        Allowed { networks }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let named = text.trim().replacen("localhost:", "127.0.0.1:", 1);
    named.parse().map_err(|_| {
        format!(
            "{text:?} is no address to listen on; write an IP address and a port, such as \"127.0.0.1:2575\""
        )
    })
}

fn host_and_port(text: &str) -> Result<(), String> {
    let wrong =
        || format!("{text:?} is no place to connect to; write a host and a port, such as \"10.0.0.7:2575\"");
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let port_is_right = port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_is_right = !host.is_empty()
        && (bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    if port_is_right && host_is_right {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// Who may connect.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    networks: Vec<Network>,
}

impl Allowed {
    /// An empty list lets everybody in.
    pub fn lets_in(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(peer))
    }

    /// Nobody was named.
    pub fn is_everybody(&self) -> bool {
        self.networks.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address or network; write \"10.0.0.7\" or \"10.0.0.0/24\"");
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if width < bits {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }

    fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits())
                    .checked_shr(32 - self.bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits())
                    .checked_shr(128 - self.bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert!(address("127.0.0.1:2575").is_ok());
        assert_eq!(
            address("localhost:1"),
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
        );
        assert!(address("[::]:80").is_ok());
        for wrong in [
            "",
            "2575",
            ":2575",
            "lis.example:2575",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(host_and_port("ris.example:2575").is_ok());
        assert!(host_and_port("[::1]:2575").is_ok());
        for wrong in [
            "",
            "ris",
            "ris:",
            "ris:0",
            "::1:2575",
            "http://ris:80",
            "ris:70000",
            "r is:80",
        ] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks() {
        let mut problems = Problems::default();
        let allowed = problems.allowed(
            "allow",
            &["10.1.0.0/16".into(), "::1".into(), "192.168.1.7".into()],
        );
        assert!(problems.list.is_empty());
        let lets_in = |text: &str| allowed.lets_in(text.parse().expect("an address"));
        assert!(
            lets_in("10.1.2.3") && lets_in("::1") && lets_in("192.168.1.7") && lets_in("::ffff:10.1.2.3")
        );
        assert!(!lets_in("10.2.0.1") && !lets_in("192.168.1.8") && !lets_in("::2"));
        let everything = problems.allowed("allow", &["0.0.0.0/0".into()]);
        assert!(everything.lets_in(Ipv4Addr::new(8, 8, 8, 8).into()));
        problems.allowed("allow", &["10.0.0.0/33".into(), "lis".into()]);
        let paths: Vec<&str> = problems
            .list
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        assert_eq!(paths, ["allow[0]", "allow[1]"]);
        assert!(Allowed::default().lets_in(Ipv4Addr::LOCALHOST.into()));
    }
}
