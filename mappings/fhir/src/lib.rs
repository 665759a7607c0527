//! The clinic as FHIR R4 (4.0.1).
//!
//! [`resource`] tells one aggregate as it is kept. [`bundle()`] tells what a message changed, as a message or as a
//! transaction; [`per_resource`] the same for servers without transactions. What the FHIR API of the server says beside
//! resources is in [`server`].
//!
//! Absent by design: async, I/O, a clock, the store, other wire formats. Callers pass time and ids in. Elements,
//! constants and extensions follow the HL7 v2-to-FHIR maps, so that what came in by HL7 v2 leaves as those say.

mod about;
mod answer;
mod bundle;
mod context;
mod diagnostics;
mod documents;
#[cfg(test)]
mod fixture;
mod gate;
#[cfg(test)]
mod golden;
mod imaging;
#[cfg(test)]
mod invariants;
pub mod json;
mod people;
mod places;
mod scheduling;
pub mod server;
#[cfg(test)]
mod tests;
mod timing;
mod types;
mod visits;

use clinic::aggregate::Meta;
use clinic::value::Coding;
use clinic::{Aggregate, Kind, Record};
use uuid::Uuid;

pub use answer::{decode_answer, patients_of};
pub use bundle::{Entry, Shape, bundle, bundle_to, checked_bundle, per_resource};
pub use gate::admit;
pub use json::Json;
pub use types::system_uri;

use context::{Context, Follow};
use json::{Object, Value};

/// The FHIR type that an aggregate is told as.
pub fn fhir_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Patient => "Patient",
        Kind::RelatedPerson => "RelatedPerson",
        Kind::Practitioner => "Practitioner",
        Kind::Clinic => "Organization",
        Kind::Site | Kind::Room => "Location",
        Kind::Service => "HealthcareService",
        Kind::Schedule => "Schedule",
        Kind::Slot => "Slot",
        Kind::Appointment => "Appointment",
        Kind::Encounter => "Encounter",
        Kind::Condition => "Condition",
        Kind::Allergy => "AllergyIntolerance",
        Kind::Procedure => "Procedure",
        Kind::Coverage => "Coverage",
        Kind::Order => "ServiceRequest",
        Kind::Specimen => "Specimen",
        Kind::Result => "DiagnosticReport",
        Kind::Observation => "Observation",
        // R4 has no type for one object of a study; IHE MHD refers to it as a document.
        Kind::Document | Kind::ImagingInstance => "DocumentReference",
        Kind::MedicationOrder => "MedicationRequest",
        Kind::ImagingStudy => "ImagingStudy",
    }
}

/// The aggregates that a FHIR type tells; none for a type that nothing here is told as.
pub fn kinds(fhir_type: &str) -> &'static [Kind] {
    match fhir_type {
        "Patient" => &[Kind::Patient],
        "RelatedPerson" => &[Kind::RelatedPerson],
        "Practitioner" => &[Kind::Practitioner],
        "Organization" => &[Kind::Clinic],
        "Location" => &[Kind::Site, Kind::Room],
        "HealthcareService" => &[Kind::Service],
        "Schedule" => &[Kind::Schedule],
        "Slot" => &[Kind::Slot],
        "Appointment" => &[Kind::Appointment],
        "Encounter" => &[Kind::Encounter],
        "Condition" => &[Kind::Condition],
        "AllergyIntolerance" => &[Kind::Allergy],
        "Procedure" => &[Kind::Procedure],
        "Coverage" => &[Kind::Coverage],
        "ServiceRequest" => &[Kind::Order],
        "Specimen" => &[Kind::Specimen],
        "DiagnosticReport" => &[Kind::Result],
        "Observation" => &[Kind::Observation],
        "DocumentReference" => &[Kind::Document, Kind::ImagingInstance],
        "MedicationRequest" => &[Kind::MedicationOrder],
        "ImagingStudy" => &[Kind::ImagingStudy],
        _ => &[],
    }
}

/// What a resource tells beside its own aggregate, because FHIR has it the other way round.
#[derive(Default)]
pub struct Beside {
    /// The objects of a study.
    pub objects: Vec<Record>,
    /// How many objects the study has, where that was counted.
    pub count: Option<u32>,
    /// The studies of the orders of a report.
    pub studies: Vec<Uuid>,
    /// The id of the Endpoint where the objects of a study are had.
    pub endpoint: Option<&'static str>,
}

/// One aggregate as the resource that `GET /fhir/Type/id` answers with. References are `Type/id`.
pub fn resource(record: &Record) -> Json {
    resource_with(record, &Beside::default())
}

/// The same with what stands beside it.
pub fn resource_with(record: &Record, beside: &Beside) -> Json {
    let follow = |kind: Kind, id: Uuid| Some(format!("{}/{id}", fhir_type(kind)));
    build_with(record, beside, &follow, false).0
}

/// The resource of an aggregate, and the small ones that stand beside it where `apart`.
pub(crate) fn build(record: &Record, follow: Follow<'_>, apart: bool) -> (Json, Vec<(Uuid, Json)>) {
    build_with(record, &Beside::default(), follow, apart)
}

fn build_with(
    record: &Record,
    beside: &Beside,
    follow: Follow<'_>,
    apart: bool,
) -> (Json, Vec<(Uuid, Json)>) {
    let mut ctx = Context::new(record.meta.id, follow, apart);
    let body = body(record, beside, &mut ctx);
    let small = ctx.into_small();
    let (contained, beside) = if apart { (vec![], small) } else { (small, vec![]) };
    let contained: Vec<Json> = contained.into_iter().map(|(_, json)| json).collect();
    (
        headed(&record.meta, security(&record.aggregate), contained, body),
        beside,
    )
}

/// Puts type, id, meta and contained resources first, where readers look for them.
fn headed(meta: &Meta, security: &[Coding], contained: Vec<Json>, body: Object) -> Json {
    let mut out = Object::new();
    if let Some(resource_type) = body.get("resourceType").cloned() {
        out.set("resourceType", resource_type);
    }
    out.set("id", meta.id.to_string());
    out.set("meta", types::meta(meta, security));
    out.set("text", body.get("text").cloned());
    out.set("contained", contained.json());
    out.with(body).into()
}

fn body(record: &Record, beside: &Beside, ctx: &mut Context<'_>) -> Object {
    match &record.aggregate {
        Aggregate::Patient(of) => people::patient(of, record, ctx),
        Aggregate::RelatedPerson(of) => people::related_person(of, record, ctx),
        Aggregate::Practitioner(of) => people::practitioner(of, record),
        Aggregate::Clinic(of) => places::organization(of, record, ctx),
        Aggregate::Site(of) => places::site(of, record, ctx),
        Aggregate::Room(of) => places::room(of, record, ctx),
        Aggregate::Service(of) => scheduling::service(of, record, ctx),
        Aggregate::Schedule(of) => scheduling::schedule(of, record, ctx),
        Aggregate::Slot(of) => scheduling::slot(of, record, ctx),
        Aggregate::Appointment(of) => scheduling::appointment(of, record, ctx),
        Aggregate::Encounter(of) => visits::encounter(of, record, ctx),
        Aggregate::Condition(of) => visits::condition(of, record, ctx),
        Aggregate::Allergy(of) => visits::allergy(of, record, ctx),
        Aggregate::Procedure(of) => visits::procedure(of, record, ctx),
        Aggregate::Coverage(of) => visits::coverage(of, record, ctx),
        Aggregate::Order(of) => diagnostics::service_request(of, record, ctx),
        Aggregate::Specimen(of) => diagnostics::specimen(of, record, ctx),
        Aggregate::Result(of) => diagnostics::diagnostic_report(of, record, &beside.studies, ctx),
        Aggregate::Observation(of) => diagnostics::observation(of, record, ctx),
        Aggregate::Document(of) => documents::document_reference(of, record, ctx),
        Aggregate::MedicationOrder(of) => documents::medication_request(of, record, ctx),
        Aggregate::ImagingStudy(of) => imaging::study(of, record, beside, ctx),
        Aggregate::ImagingInstance(of) => imaging::object(of, record, ctx),
    }
}

/// What goes to `meta.security` (ORC-28, PV2-22). A document has a `securityLabel` of its own.
fn security(aggregate: &Aggregate) -> &[Coding] {
    match aggregate {
        Aggregate::Encounter(of) => &of.security,
        Aggregate::Order(of) => &of.security,
        Aggregate::Result(of) => &of.security,
        Aggregate::Observation(of) => &of.security,
        Aggregate::MedicationOrder(of) => &of.security,
        Aggregate::Patient(_)
        | Aggregate::RelatedPerson(_)
        | Aggregate::Practitioner(_)
        | Aggregate::Clinic(_)
        | Aggregate::Site(_)
        | Aggregate::Room(_)
        | Aggregate::Service(_)
        | Aggregate::Schedule(_)
        | Aggregate::Slot(_)
        | Aggregate::Appointment(_)
        | Aggregate::Condition(_)
        | Aggregate::Allergy(_)
        | Aggregate::Procedure(_)
        | Aggregate::Coverage(_)
        | Aggregate::Specimen(_)
        | Aggregate::Document(_)
        | Aggregate::ImagingStudy(_)
        | Aggregate::ImagingInstance(_) => &[],
    }
}
