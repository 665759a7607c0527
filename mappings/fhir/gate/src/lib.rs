//! Texts read as the types of `fhir-sdk`, to find out whether they are FHIR R4.
//!
//! A crate of its own because these readers are long: with them in the crate that writes FHIR, each change there took
//! minutes to compile with optimisations. They are compiled once, and hardly optimised.

use fhir_sdk::r4b::resources as r4b;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

macro_rules! types {
    ($($name:ident),* $(,)?) => {
        /// Reads a text as the type of that name; `None` for a type that we never write.
        pub fn read(resource_type: &str, text: &str) -> Option<Result<(), Error>> {
            match resource_type { $(stringify!($name) => Some(read_as::<r4b::$name>(text)),)* _ => None }
        }

        /// As [`read`], and gives back what the type has kept of it: it drops the elements that it doesn't know.
        pub fn kept(resource_type: &str, text: &str) -> Option<Result<Value, Error>> {
            match resource_type { $(stringify!($name) => Some(kept_as::<r4b::$name>(text)),)* _ => None }
        }
    };
}

types!(
    AllergyIntolerance,
    Appointment,
    Bundle,
    CapabilityStatement,
    Condition,
    Coverage,
    DiagnosticReport,
    DocumentReference,
    Encounter,
    HealthcareService,
    ImagingStudy,
    Location,
    Medication,
    MedicationRequest,
    MessageHeader,
    Observation,
    OperationOutcome,
    Organization,
    Patient,
    Practitioner,
    PractitionerRole,
    Procedure,
    Provenance,
    RelatedPerson,
    Schedule,
    ServiceRequest,
    Slot,
    Specimen,
);

fn read_as<T: DeserializeOwned>(text: &str) -> Result<(), Error> {
    serde_json::from_str::<T>(text).map(drop)
}

fn kept_as<T: DeserializeOwned + Serialize>(text: &str) -> Result<Value, Error> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}
