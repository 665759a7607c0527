//! DICOM over TCP: objects, worklist, performed procedure steps and storage commitment (PS3.4, PS3.7, PS3.8).
//!
//! ```toml
//! [source.dicom]
//! listen   = "0.0.0.0:11112"
//! ae_title = "PUNTE"
//! services = ["store", "worklist", "mpps"]
//! allow    = ["CT1@10.0.0.7", "US2"]       # who may call; empty: everybody
//!
//! [[destination]]
//! name  = "pacs"
//! dicom = { connect = "10.0.0.5:104", called_ae = "PACS", calling_ae = "PUNTE" }
//! ```
//!
//! **What is handed in** is a file (PS3.10): a meta group with class, instance, transfer syntax and both AE titles, then the
//! data set exactly as it came. Of what is no C-STORE the meta group carries the command set too. Headers: `peer`,
//! `certificate`, `calling-ae`, `called-ae`, `service` (`store`, `worklist`, `mpps-create`, `mpps-set`, `commitment`,
//! `commitment-report`).
//!
//! **Source.** Channels that name the same address share the listener; called AE title and service tell them apart. C-ECHO
//! is always answered. Transfer syntaxes are taken in the order of the sender: of objects any, else implicit and explicit
//! little endian. A question (worklist) is answered at once, anything else once it is stored.
//!
//! | what comes | what is said |
//! |---|---|
//! | a called AE title that is nobody here · a calling one that is not allowed | rejected (1/1/7 · 1/1/3) |
//! | an association over `max_associations` · the channel is not running yet | rejected for now (2/3/2 · 2/3/1) |
//! | a class that no channel offers · no syntax that is taken | that context is refused, the association is not |
//! | no complete request within `artim` | closed |
//! | bytes that break the protocol, a P-DATA over `max_pdu` | A-ABORT with the reason |
//! | silence for `idle_timeout`, or for `message_timeout` within a message | A-ABORT |
//! | an object over `max_object` | C000; its first 256 KB are kept with the reason |
//! | class of command and context differ · no such operation · UID malformed | 0122 · 0211 · 0117 |
//! | stored · stored as failed · not stored | as the format says; else 0000 · C000 (0110) · A700 (0213) |
//!
//! At a stop a message that is being handed in gets its answer, and nothing else is begun.
//!
//! **Destination.** An association is kept for `keep_open`, for the next object; it proposes what is to be sent and what was
//! sent before. Objects go in the transfer syntax that they have. The status that comes back is what the format judges:
//! four hex digits, and the error comment. *Retry*: no association, or not all of it was taken. *Refused*: no DICOM
//! file, or a class and syntax that the far side does not take. *Unsure*: sent, and the answer did not come. What came as
//! N-CREATE, N-SET, N-ACTION or N-EVENT-REPORT goes out as such.
//!
//! Both ends speak TLS by their `tls` table ([`crate::tls`]).
//!
//! Absent by design: any look into a data set, transcoding, asynchronous operations, extended negotiation.

mod answer;
mod asking;
mod caller;
pub mod commitment;
mod destination;
mod listener;
mod objects;
pub mod part10;
mod reports;
mod retrieve;
mod serve;
mod service;
pub mod settings;
mod source;

use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{
    Asks, Connector, ConnectorError, Destination, EndSettings, Looked, SettingsProblem, Source, Surroundings,
};
use serde_json::Value;

pub use caller::Caller;
pub use commitment::StorageCommitment;
pub use service::Service;

use crate::tls::{look_at_destination, look_at_source};
use crate::values::{checked, read, tables};
use settings::{DestinationSettings, SourceSettings};

/// A file of DICOM.
const CONTENT_TYPE: &str = "application/dicom";

/// The connector `dicom`, with the listeners that its channels share.
#[derive(Clone, Default)]
pub struct Dicom {
    listeners: listener::Listeners,
    reports: reports::Reports,
}

impl Dicom {
    /// The connector that reports on storage commitment to who is connected here.
    pub fn commitment(&self) -> StorageCommitment {
        StorageCommitment {
            reports: self.reports.clone(),
        }
    }
}

#[async_trait]
impl Connector for Dicom {
    fn name(&self) -> &'static str {
        "dicom"
    }

    fn format(&self) -> Option<&'static str> {
        Some("dicom")
    }

    tables!(source = SourceSettings, destination = DestinationSettings);

    /// Channels that share an address are told apart by title and service, and agree on the rest.
    fn shares_listeners(&self) -> bool {
        true
    }

    fn clash(&self, this: EndSettings<'_>, other: EndSettings<'_>) -> Option<SettingsProblem> {
        if !this.is_source || !other.is_source {
            return None;
        }
        let this = read::<SourceSettings>(this.settings).ok()?;
        let other = read::<SourceSettings>(other.settings).ok()?;
        if this.listen != other.listen || this.listen.port() == 0 {
            return None;
        }
        let (path, what) = match listener::agree(&this, &other) {
            false => (
                "listen",
                format!(
                    "listens there with another {}; channels that share an address must agree on them",
                    listener::AGREE_ON
                ),
            ),
            true => {
                let service = listener::both_offer(&this, &other)?.as_str();
                let title = &this.ae_title;
                let instead = "write another `ae_title`, or services that differ";
                (
                    "services",
                    format!("offers {service:?} as {title} there already; {instead}"),
                )
            }
        };
        Some(SettingsProblem {
            path: path.to_owned(),
            what,
        })
    }

    fn look_at_source(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<SourceSettings>(settings) {
            Ok(settings) => look_at_source(settings.listen, settings.tls.as_ref(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<DestinationSettings>(settings) {
            Ok(settings) => look_at_destination(settings.tls.as_ref(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open_source(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = checked::<SourceSettings>(settings)?;
        Ok(Box::new(source::DicomSource::open(
            settings,
            surroundings,
            &self.listeners,
            self.reports.clone(),
        )?))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        Ok(Arc::new(destination::DicomDestination::open(
            settings,
            surroundings,
        )?))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Message)
    }

    /// An archive knows an object by its UID: sent twice it is there once.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}
