//! The certificates that the settings name, and until when they are good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::tls;
use engine::channel::Channel;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lasts;
use crate::home::{Home, Settings};

/// A certificate file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The file.
    pub file: PathBuf,
    /// Until when it is good: one that is shown, until the first of its chain ends; those that others are checked by,
    /// until the last one does.
    pub until: Timestamp,
}

impl Certificate {
    /// How many whole days it is good for yet; below 0: it has ended.
    pub fn days(&self, now: Timestamp) -> i64 {
        self.until.duration_since(now).as_secs().div_euclid(86_400)
    }

    /// `ends in 5 d 2 h`, `has ended`.
    pub fn says(&self, now: Timestamp) -> String {
        let left = self.until.duration_since(now).as_secs_f64();
        if left < 0.0 {
            "has ended".to_owned()
        } else {
            format!("ends in {}", lasts(left))
        }
    }
}

/// All that the settings of the program and its channels name, the first to end first. What can't be read is left out:
/// `punte check` says it.
pub fn all(home: &Home, settings: &Settings, channels: &[Arc<Channel>]) -> Vec<Certificate> {
    let mut files = BTreeMap::new();
    if let Some(http) = &settings.http.tls {
        files.insert(home.folder().join(&http.cert), tls::Use::Shown);
        if let Some(ca) = &http.client_ca {
            files.insert(home.folder().join(ca), tls::Use::Checks);
        }
    }
    for channel in channels {
        let folder = channel.file.parent().unwrap_or(Path::new("."));
        let ends = channel.destinations.iter().map(|destination| &destination.end);
        let ends = std::iter::once(&channel.source)
            .chain(ends)
            .map(|end| &end.settings);
        for settings in ends.chain(channel.calls.values()) {
            named(settings, folder, &mut files);
        }
    }
    let certificate = |(file, used): (PathBuf, tls::Use)| {
        let until = tls::valid_until(&file, used).ok()?;
        Some(Certificate { file, until })
    };
    let mut certificates: Vec<Certificate> = files.into_iter().filter_map(certificate).collect();
    certificates.sort_by_key(|certificate| certificate.until);
    certificates
}

/// The files in each table `tls` of some settings.
fn named(settings: &Value, folder: &Path, files: &mut BTreeMap<PathBuf, tls::Use>) {
    let Value::Object(table) = settings else { return };
    for (key, value) in table {
        if key == "tls" {
            for (key, used) in [
                ("cert", tls::Use::Shown),
                ("ca", tls::Use::Checks),
                ("client_ca", tls::Use::Checks),
            ] {
                if let Some(file) = value[key].as_str() {
                    files.insert(folder.join(file), used);
                }
            }
        } else {
            named(value, folder, files);
        }
    }
}
