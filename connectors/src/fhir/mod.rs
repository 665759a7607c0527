//! FHIR: Bundles to a FHIR R4 server over its REST API (FHIR R4 §3.1.0).
//!
//! ```toml
//! [[destination]]
//! name   = "portal"
//! encode = "fhir-r4"
//! fhir   = { base = "https://portal.example/fhir", auth = { bearer_env = "PORTAL_TOKEN" } }
//! ```
//!
//! `as = "transaction"` (default): the Bundle is posted to the base; the server takes all of it or nothing
//! (`Prefer: return=minimal`).
//!
//! `as = "resources"`, for servers without transactions: each entry of the Bundle is a request of its own, as
//! `entry.request` says (update, conditional update, conditional create, delete). An entry goes once all entries that
//! it refers to have gone, with their `urn:uuid:` exchanged for the ids that the server gave (from Location, or from the
//! resource that comes back); otherwise in the order of the Bundle. The first entry that the server does not take ends
//! it: what went before stands, what follows is not sent. Repeating is safe, since every request is conditional or names
//! its resource: what stands is updated with the same. A POST without `ifNoneExist`, entries that refer to each other in
//! a circle, and an address outside the base are *refused*.
//!
//! The response is then a Bundle of type transaction-response made here, in the order of the entries, with the status,
//! location and OperationOutcome of each (`424 Failed Dependency` for one not sent); its own status is 200, or that of
//! the entry that was not taken.
//!
//! **Asked**, it answers a read or a search: the question is the address below the base, `Patient/7` or
//! `Patient?identifier=7`. An answer over `max_answer` is none.
//!
//! *Retry*: not connected, and 429 or 503 with a Retry-After. *Unsure*: sent, and the answer did not come, or not whole.
//! Every other answer is the format's to judge.

mod bundle;
mod destination;
pub mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{
    Asks, Connector, ConnectorError, Destination, Looked, SettingsProblem, Source, Surroundings,
};
use serde_json::Value;

use crate::tls::look_at_destination;
use crate::values::{checked, read, tables};
use settings::DestinationSettings;

/// FHIR R4 §2.6.0.
const FHIR_JSON: &str = "application/fhir+json";

/// The connector `fhir`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fhir;

#[async_trait]
impl Connector for Fhir {
    fn name(&self) -> &'static str {
        "fhir"
    }

    fn format(&self) -> Option<&'static str> {
        Some("fhir-r4")
    }

    fn source_schema(&self) -> Option<Value> {
        None
    }

    tables!(destination = DestinationSettings);

    fn check_source(&self, _settings: &Value) -> Vec<SettingsProblem> {
        vec![SettingsProblem {
            path: String::new(),
            what: "fhir is no source; the FHIR API of `punte serve` is where others ask and write".to_owned(),
        }]
    }

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<DestinationSettings>(settings) {
            Ok(settings) => look_at_destination(settings.calling.tls(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open_source(
        &self,
        _settings: &Value,
        _surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::new("fhir is no source."))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        Ok(Arc::new(
            destination::FhirDestination::open(settings, surroundings).await?,
        ))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Address)
    }

    fn check_question(&self, question: &str) -> Result<(), String> {
        destination::check_question(question)
    }

    /// A server knows doubles by the identifiers in conditional requests.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Repeat
    }
}
