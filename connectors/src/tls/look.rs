//! What `punte check` says of certificates: it reads the files and opens nothing.

use std::net::SocketAddr;
use std::path::Path;

use engine::connector::{Looked, Surroundings};
use jiff::Timestamp;

use super::files;
use super::{ListenerTls, SenderTable};

/// What is said of a listener that others reach without TLS.
pub const OPEN: &str = "whoever is on the way can read what is sent here; write tls = { cert = \"…\", key = \"…\" }, or listen on 127.0.0.1";

/// A look at a source that listens, whose table has `listen` and `tls`.
pub(crate) fn look_at_source(
    listen: SocketAddr,
    tls: Option<&ListenerTls>,
    surroundings: &Surroundings,
) -> Looked {
    let mut looked = match tls {
        Some(tls) => look_at_listener(tls, &surroundings.folder, Timestamp::now()),
        None => Looked::default(),
    };
    if tls.is_none() && !listen.ip().is_loopback() {
        looked.warn("listen", OPEN);
    }
    looked
}

/// A look at a destination, whose table has `tls`.
pub(crate) fn look_at_destination(tls: Option<&SenderTable>, surroundings: &Surroundings) -> Looked {
    let mut look = Look::new(&surroundings.folder, Timestamp::now());
    if let Some(file) = tls.and_then(|tls| tls.ca.as_ref()) {
        look.roots("ca", file);
    }
    if let Some(tls) = tls
        && let (Some(cert), Some(key)) = (&tls.cert, &tls.key)
    {
        look.identity(cert, key);
    }
    look.looked
}

/// A look at the files of a listener's `tls` table; what is found stands at `tls.…`.
pub fn look_at_listener(tls: &ListenerTls, folder: &Path, now: Timestamp) -> Looked {
    let mut look = Look::new(folder, now);
    look.identity(&tls.cert, &tls.key);
    if let Some(file) = &tls.client_ca {
        look.roots("client_ca", file);
    }
    look.looked
}

/// What a certificate file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is shown: one that has ended in its chain ends all of it.
    Shown,
    /// Others are checked by it: any one of it will do.
    Checks,
}

/// Until when the certificates of a file are good.
pub fn valid_until(file: &Path, used: Use) -> Result<Timestamp, String> {
    let certificates = files::certificates(file)?;
    let ends = certificates
        .iter()
        .filter_map(|certificate| Some(files::validity(certificate)?.to));
    let until = match used {
        Use::Shown => ends.min(),
        Use::Checks => ends.max(),
    };
    until.ok_or_else(|| format!("no certificate in {} can be read", file.display()))
}

/// What is wrong with the order of the certificates in a file, where each is to be signed by the next; none: nothing, or
/// they are roots that have nothing to do with each other. Looks at names only: whether the signatures are right, the far
/// side finds out.
pub fn broken_chain(file: &Path) -> Option<String> {
    let certificates = files::certificates(file).ok()?;
    let names: Vec<(String, String)> = certificates.iter().filter_map(files::names).collect();
    if names.iter().all(|(subject, issuer)| subject == issuer) {
        return None;
    }
    let broken = names.windows(2).position(|pair| pair[0].1 != pair[1].0)?;
    Some(format!(
        "certificate {} in it has not signed certificate {}, so that those who do not know it refuse it",
        broken + 2,
        broken + 1
    ))
}

struct Look<'a> {
    folder: &'a Path,
    now: Timestamp,
    looked: Looked,
}

impl<'a> Look<'a> {
    fn new(folder: &'a Path, now: Timestamp) -> Self {
        Look {
            folder,
            now,
            looked: Looked::default(),
        }
    }

    fn identity(&mut self, cert: &str, key: &str) {
        match files::identity(self.folder, cert, key) {
            Err(faults) => {
                for fault in faults {
                    self.looked.problem(&format!("tls.{}", fault.setting), fault.what);
                }
            }
            Ok(identity) => {
                let (expired, early) = self.dates(&identity.cert[..1]);
                if let Some(when) = expired.or(early) {
                    self.looked.warn("tls.cert", format!("the certificate {when}"));
                }
            }
        }
    }

    fn roots(&mut self, setting: &str, file: &str) {
        let path = format!("tls.{setting}");
        match files::roots(&self.folder.join(file)) {
            Err(what) => self.looked.problem(&path, what),
            Ok(roots) => {
                let all = roots.certificates.len();
                let expired = roots
                    .certificates
                    .iter()
                    .filter(|certificate| self.dates(std::slice::from_ref(certificate)).0.is_some())
                    .count();
                if expired != 0 {
                    self.looked.warn(
                        &path,
                        format!("{expired} of {all} certificates in it have expired"),
                    );
                }
            }
        }
    }

    /// That a certificate has expired, and that it is not valid yet, in words.
    fn dates(
        &self,
        certificates: &[rustls_pki_types::CertificateDer<'_>],
    ) -> (Option<String>, Option<String>) {
        let validity = certificates.first().and_then(files::validity);
        let expired = validity.as_ref().filter(|validity| validity.to < self.now);
        let early = validity.as_ref().filter(|validity| self.now < validity.from);
        (
            expired.map(|validity| format!("has expired: it was valid until {}", validity.to)),
            early.map(|validity| format!("is not valid yet: it is from {}", validity.from)),
        )
    }
}
