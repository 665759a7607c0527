//! Scripts of the channel as its ends.
//!
//! ```toml
//! [http.erp]
//! base    = "https://erp.example/api"
//! methods = ["GET", "POST"]
//!
//! [source.script]
//! file  = "poll.js"              # fetches messages: returns { messages: [{ id, body }], cursor }
//! every = "1m"                   # or cron = "0 7 * * 1-5"
//!
//! [[destination]]
//! name   = "erp"
//! format = "json"
//! script = "deliver.js"          # or { file = "deliver.js", timeout = "10s", memory = "128 MB" }
//! ```
//!
//! **Destination.** The script gets the body and says what became of it: `{ accepted: true }` (or what the far side calls
//! it), `{ refused: "why" }`, `{ retry: "why", after: "30s" }`, `{ unsure: "why" }`. Where it says nothing of that, since
//! it failed or took too long, the arm is chosen by what is known: *unsure* where a call that changes something was sent,
//! *retry* where nobody was reached or its time was over, else *refused*.
//!
//! **Source.** Each tick runs the script, `every` also at the start; one that is still at work misses its ticks. Its
//! messages are handed in one after the other, each known again by its id, and then its cursor counts. Killed between, it
//! fetches from the old cursor, and what was stored is known. Where it fails, a failed message with the reason is kept,
//! once for each reason, and the next tick tries again; so it does where the store could not take a message.
//!
//! Absent by design: files, other protocols than the granted HTTP.

mod destination;
pub mod settings;
mod source;

use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{Connector, ConnectorError, Destination, NamedScript, Source, Surroundings};
use engine::run::ScriptEnd;
use serde_json::Value;

use crate::values::{checked, read, tables};
use settings::{DestinationSettings, SourceSettings};

/// The connector `script`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script;

fn end(surroundings: &Surroundings) -> Result<ScriptEnd, ConnectorError> {
    let end = surroundings.script.clone();
    end.ok_or_else(|| ConnectorError::new("The script was not checked with its channel."))
}

#[async_trait]
impl Connector for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    /// A script takes anything: the channel says what.
    fn format(&self) -> Option<&'static str> {
        None
    }

    tables!(source = SourceSettings, destination = DestinationSettings);

    fn script(&self, settings: &Value) -> Option<NamedScript> {
        let source = || read::<SourceSettings>(settings).ok().map(|source| source.script);
        read::<DestinationSettings>(settings).ok().or_else(source)
    }

    /// The script has judged.
    fn answers(&self) -> bool {
        false
    }

    async fn open_source(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(source::ScriptSource {
            schedule: checked::<SourceSettings>(settings)?.schedule,
            end: end(surroundings)?,
        }))
    }

    async fn open_destination(
        &self,
        _: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        Ok(Arc::new(destination::ScriptDestination(end(surroundings)?)))
    }

    /// Whether what a script does may be done twice is known to who wrote it.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Hold
    }
}
