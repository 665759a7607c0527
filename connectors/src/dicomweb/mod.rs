//! DICOMweb (PS3.18): objects in and out by STOW-RS, questions out by QIDO-RS and WADO-RS.
//!
//! ```toml
//! [source]
//! dicomweb = { max_object = "2 GB" }
//!
//! [[destination]]
//! name     = "cloud-pacs"
//! dicomweb = { base = "https://pacs.example/dicom-web", auth = { bearer_env = "PACS_TOKEN" } }
//! ```
//!
//! **Source.** The channel that what comes by STOW-RS is handed to. It listens nowhere itself; the HTTP interface of the
//! program does, and finds the open channel at a [`Doorway`].
//!
//! **Destination.** Each object is a request of its own, read from the store as it is sent. The answer goes to the format's
//! judge with its status and its list of what failed. *Retry*: not connected, and 429 or 503 with a Retry-After. *Unsure*:
//! sent, and the answer did not come; an archive knows an object by its UID, so that it is sent again.
//!
//! **Asked.** A search or metadata, by an address below `base` that begins with `/`.
//!
//! Absent by design: several objects in one request (a delivery is one object), redirects, compression.

mod destination;
pub mod multipart;
pub mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::channel::{OnUnsure, size};
use engine::connector::{
    Asks, Connector, ConnectorError, Destination, EndSettings, Intake, Looked, SettingsProblem, Source, Stop,
    Surroundings,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::settings::DestinationSettings;
use crate::tls::look_at_destination;
use crate::values::{checked, read, tables};

/// How long a request waits for the channel to be open.
const OPENS_WITHIN: Duration = Duration::from_secs(5);
/// The largest object unless the channel says otherwise.
const MAX_OBJECT: &str = "2 GB";
/// The most that it may say.
const MOST: u64 = 64 << 30;

/// An open channel.
#[derive(Clone)]
pub struct Open {
    /// Its door.
    pub intake: Intake,
    /// The largest object.
    pub max_object: u64,
}

/// Where the open channel is found.
#[derive(Clone)]
pub struct Doorway {
    open: Arc<watch::Sender<Option<Open>>>,
}

impl Default for Doorway {
    fn default() -> Self {
        Doorway {
            open: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Doorway {
    /// The open channel; none: there is none.
    pub async fn open(&self) -> Option<Open> {
        let mut seen = self.open.subscribe();
        let opened = tokio::time::timeout(OPENS_WITHIN, seen.wait_for(Option::is_some)).await;
        opened.ok()?.ok()?.clone()
    }
}

/// The connector.
#[derive(Default)]
pub struct DicomWeb {
    doorway: Doorway,
}

impl DicomWeb {
    /// Opens at this doorway.
    pub fn new(doorway: Doorway) -> Self {
        DicomWeb { doorway }
    }
}

fn max_object(settings: &Value) -> Result<u64, String> {
    let said = settings["max_object"].as_str().unwrap_or(MAX_OBJECT);
    let bytes = size::parse(said)?;
    match bytes <= MOST && 0 < bytes {
        true => Ok(bytes),
        false => Err(format!(
            "{said:?} is none that could be taken; write 1 B to 64 GB"
        )),
    }
}

#[async_trait]
impl Connector for DicomWeb {
    fn name(&self) -> &'static str {
        "dicomweb"
    }
    fn format(&self) -> Option<&'static str> {
        Some("dicom")
    }
    tables!(destination = DestinationSettings);

    fn source_schema(&self) -> Option<Value> {
        Some(json!({
            "type": "object",
            "description": "Objects that come by POST /dicom-web/studies (STOW-RS). One channel at most has this source.",
            "additionalProperties": false,
            "properties": {
                "max_object": {
                    "type": "string",
                    "description": "The largest object taken: \"2 GB\".",
                    "default": MAX_OBJECT,
                },
            },
        }))
    }
    fn check_source(&self, settings: &Value) -> Vec<SettingsProblem> {
        let problem = |what| SettingsProblem {
            path: "max_object".to_owned(),
            what,
        };
        max_object(settings).err().map(problem).into_iter().collect()
    }
    fn clash(&self, this: EndSettings<'_>, other: EndSettings<'_>) -> Option<SettingsProblem> {
        (this.is_source && other.is_source).then(|| SettingsProblem {
            path: String::new(),
            what: "takes what comes by DICOMweb already".to_owned(),
        })
    }
    async fn open_source(
        &self,
        settings: &Value,
        _: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Listening {
            doorway: self.doorway.clone(),
            max_object: max_object(settings).map_err(ConnectorError::new)?,
        }))
    }
    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<DestinationSettings>(settings) {
            Ok(settings) => look_at_destination(settings.calling.tls(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        let destination = destination::DicomWebDestination::open(settings, surroundings).await?;
        Ok(Arc::new(destination))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Address)
    }

    fn check_question(&self, question: &str) -> Result<(), String> {
        destination::check_question(question)
    }

    /// An archive knows an object by its UID.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}

struct Listening {
    doorway: Doorway,
    max_object: u64,
}

#[async_trait]
impl Source for Listening {
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    async fn run(self: Box<Self>, intake: Intake, stop: Stop) -> Result<(), ConnectorError> {
        self.doorway.open.send_replace(Some(Open {
            intake: intake.clone(),
            max_object: self.max_object,
        }));
        stop.cancelled().await;
        // Another one may have been opened in its place meanwhile.
        self.doorway.open.send_if_modified(|open| {
            let mine = open
                .as_ref()
                .is_some_and(|open| Arc::ptr_eq(&open.intake, &intake));
            if mine {
                *open = None;
            }
            mine
        });
        Ok(())
    }
}
