//! Reports on storage commitment (PS3.4 J.3.3): to whoever asked, at the address that is known of its AE title.
//!
//! ```toml
//! [[destination]]
//! name = "commitment"
//! when = { "header:service" = "commitment" }
//! storage-commitment = { grace = "1h", peers = { CT1 = { connect = "10.0.0.7:104" } } }
//! ```
//!
//! The engine makes the report of what the clinic has when it is sent ([`Destination::commits`]). It goes by an association
//! of ours, on which we are the provider (PS3.7 D.3.3.4); where `same_association` says so, first by the one that it was
//! asked on, if that still stands. *Retry*: nobody listens there just now. *Refused*: the asker is nobody of whom an address
//! is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::exchange::Response;
use dimse::{Command, tags, uids};
use engine::channel::OnUnsure;
use engine::connector::{
    Connector, ConnectorError, Destination, Looked, Mine, Outgoing, SendError, SettingsProblem, Source,
    Surroundings,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::status_line;
use super::caller::Caller;
use super::part10::{self, Meta};
use super::reports::Reports;
use super::settings::{self, PeerSettings, peers};
use crate::tls::look_at_destination;
use crate::values::{Problems, Table, checked, default_from, read, tables};

/// Its name in channel files.
const NAME: &str = "storage-commitment";

/// `storage-commitment = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitmentSettings {
    /// Where those who ask listen for the report, by their AE titles.
    #[serde(default)]
    pub peers: BTreeMap<String, PeerSettings>,
    /// How long objects that have not come are waited for, before the report says that they are not kept: "1h".
    #[serde(default = "default_grace")]
    pub grace: String,
    /// Whether the report goes by the association that it was asked on, where that still stands. Some devices break off
    /// on it.
    #[serde(default)]
    pub same_association: bool,
}

/// Its settings, checked.
pub struct Checked {
    peers: Vec<settings::Destination>,
    grace: Duration,
    same_association: bool,
}

default_from! {
    default_grace = "1h";
}

impl Table for CommitmentSettings {
    type Checked = Checked;

    fn check(&self) -> Result<Checked, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let checked = Checked {
            // Who we are says the request.
            peers: peers(&self.peers, "PUNTE", &mut problems),
            grace: problems
                .duration_or_never("grace", &self.grace)
                .unwrap_or_default(),
            same_association: self.same_association,
        };
        if self.peers.is_empty() && !self.same_association {
            problems.add(
                "peers",
                "write where those who ask listen, such as { CT1 = { connect = \"10.0.0.7:104\" } }",
            );
        }
        problems.into_result(checked)
    }
}

/// The connector `storage-commitment`.
#[derive(Clone)]
pub struct StorageCommitment {
    pub(super) reports: Reports,
}

#[async_trait]
impl Connector for StorageCommitment {
    fn commits(&self) -> bool {
        true
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn format(&self) -> Option<&'static str> {
        Some("dicom")
    }

    tables!(destination = CommitmentSettings);

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        let mut looked = Looked::default();
        if let Ok(settings) = read::<CommitmentSettings>(settings) {
            for peer in &settings.peers {
                let of_peer = look_at_destination(peer.tls.as_ref(), surroundings);
                looked.problems.extend(of_peer.problems);
                looked.warnings.extend(of_peer.warnings);
            }
        }
        looked
    }

    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::new(format!("{NAME} is no source")))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<CommitmentSettings>(settings)?;
        let peers = settings.peers.into_iter();
        Ok(Arc::new(Reporter {
            peers: peers
                .map(|peer| Caller::new(peer, surroundings))
                .collect::<Result<_, _>>()?,
            grace: settings.grace,
            reports: settings.same_association.then(|| self.reports.clone()),
        }))
    }

    /// Each transaction goes by itself.
    fn order(&self) -> Option<&'static str> {
        Some("0008,1195")
    }

    /// A device knows a transaction by its UID.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

struct Reporter {
    peers: Vec<Caller>,
    grace: Duration,
    /// Those who are connected just now; none: they are not told so.
    reports: Option<Reports>,
}

/// A report, taken apart.
pub(super) struct Report {
    pub(super) meta: Meta,
    pub(super) event: u16,
    pub(super) data: Bytes,
}

impl Report {
    fn read(file: &Bytes) -> Result<Self, &'static str> {
        let (meta, begins) = part10::read(file)?;
        let command = meta.command.clone().ok_or("it has no command")?;
        let command = Command::read(&command).map_err(|_| "its command can't be read")?;
        let event = command.get_number(tags::EVENT_TYPE);
        Ok(Report {
            meta,
            event: event.ok_or("it is no report")?,
            data: file.slice(begins..),
        })
    }
}

#[async_trait]
impl Destination for Reporter {
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let refused = |why: String| SendError::Refused { why };
        let report = Report::read(&outgoing.body)
            .map_err(|why| refused(format!("The report can't be sent: {why}.")))?;
        // Of the request: who sent it, and whom it called.
        let title = |path: &str| {
            let values = (outgoing.about.values)(path).unwrap_or_default();
            values.into_iter().next().unwrap_or_default()
        };
        let (asker, ours) = (title("0002,0016"), title("0002,0018"));
        if let Some(reports) = &self.reports
            && let Some(body) = reports.give(&asker, &ours, &report).await
        {
            return Ok(Response {
                body,
                ..Response::default()
            });
        }
        let mut peers = self.peers.iter();
        let Some(peer) = peers.find(|peer| peer.settings.called_ae.as_str() == asker) else {
            return Err(refused(format!(
                "It is not known where {asker:?} listens. Write its address into `peers` and send it again."
            )));
        };
        // PS3.4 J.3.3: the provider of the service asks for the association.
        let proposal = peer
            .proposal_as(&ours)
            .with(uids::COMMITMENT, [report.meta.syntax.as_str()])
            .with_role(uids::COMMITMENT, false, true);
        let mut association = peer
            .associate(proposal)
            .await
            .map_err(|why| SendError::Retry { why, after: None })?;
        let Some(context) = association.context(uids::COMMITMENT, None).cloned() else {
            release(association).await;
            return Err(refused(format!(
                "{asker} takes no reports on storage commitment."
            )));
        };
        let answer = association
            .n_event_report(&context, uids::COMMITMENT_INSTANCE, report.event, &report.data)
            .await
            .map_err(|error| SendError::Unsure {
                why: format!("No answer: {error}."),
            })?;
        let body = status_line(&answer.command);
        release(association).await;
        Ok(Response {
            body,
            ..Response::default()
        })
    }

    fn commits(&self) -> Option<Duration> {
        Some(self.grace)
    }

    /// There is not one far side; whom nobody reaches is seen by the reports that wait.
    async fn probe(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// How a far side takes it changes nothing.
async fn release(association: dimse::Association<crate::tls::Stream>) {
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "An association that carried a report ended without a release.");
    }
}
