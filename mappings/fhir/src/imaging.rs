//! ImagingStudy, the objects of a study, and the imaging part of a ServiceRequest.
//!
//! R4 has no place for what a worklist tells nor for what a modality says that it did, and no type for one object of a
//! study: the first two stand as extensions of the ServiceRequest, an object is a DocumentReference (IHE MHD).

use std::collections::BTreeMap;

use clinic::diagnostics::Order;
use clinic::imaging::{
    Imaging, ImagingInstance, ImagingStep, ImagingStudy, PerformedStep, Series, UID_SYSTEM, accession, uid,
};
use clinic::value::{Concept, Identifier};
use clinic::{Aggregate, Record};

use crate::Beside;
use crate::context::Context;
use crate::json::{Json, Object};
use crate::types::{self, concept, date_time_of, extension, nested_extension};

/// The modalities of DICOM.
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// What stands in for a number that there is none of (`ImagingStudy.series.instance.uid` must be there).
const NO_UID: &str = "0";

pub(crate) fn study(of: &ImagingStudy, record: &Record, beside: &Beside, ctx: &Context<'_>) -> Object {
    let mut modalities: Vec<&str> = of.modalities.iter().map(String::as_str).collect();
    for one in of.series.iter().filter_map(|series| series.modality.as_deref()) {
        if !modalities.contains(&one) {
            modalities.push(one);
        }
    }
    let mut objects: BTreeMap<&str, Vec<&ImagingInstance>> = BTreeMap::new();
    for record in &beside.objects {
        if let Aggregate::ImagingInstance(one) = &record.aggregate {
            objects
                .entry(one.series_uid.as_deref().unwrap_or_default())
                .or_default()
                .push(one);
        }
    }
    // Counts of series are told only where every object is at hand.
    let all = beside
        .count
        .is_some_and(|count| count as usize == beside.objects.len());
    let series = of.series.iter().map(|one| {
        let mut own = objects.remove(one.uid.as_str()).unwrap_or_default();
        own.sort_by(|a, b| (a.number, a.uid()).cmp(&(b.number, b.uid())));
        series(one, &own, all)
    });
    let series: Vec<Object> = series.collect();
    // The Study ID (0020,0010) is one of them (FHIR R4, ImagingStudy, mapping to DICOM).
    let study_id = of.number.as_ref().map(|number| Identifier {
        value: number.clone(),
        kind: Some(Concept::words("Study ID")),
        ..Identifier::default()
    });
    let numbers: Vec<Identifier> = of.identifiers.iter().cloned().chain(study_id).collect();
    let endpoint = beside.endpoint.iter();
    let endpoint = endpoint.map(|id| Object::new().put("reference", format!("Endpoint/{id}")));
    Object::new()
        .put("resourceType", "ImagingStudy")
        .put("identifier", types::identifiers(&numbers, record.meta.id))
        .put("status", of.status.map_or("unknown", |status| status.as_str()))
        .put(
            "modality",
            modalities.iter().map(|code| modality(code)).collect::<Vec<_>>(),
        )
        .put("subject", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()))
        .put("started", date_time_of(of.started.as_ref()))
        .put("basedOn", ctx.references(&of.orders))
        .put("referrer", ctx.optional(of.referrer.as_ref()))
        .put("endpoint", endpoint.collect::<Vec<_>>())
        .put(
            "numberOfSeries",
            u32::try_from(of.series.len()).ok().filter(|count| 0 < *count),
        )
        .put("numberOfInstances", beside.count)
        .put("procedureCode", types::concepts(&of.procedures))
        .put("reasonCode", types::concepts(&of.reasons))
        .put("note", types::annotations(&of.notes, ctx))
        .put("description", of.description.as_ref())
        .put("series", series)
}

fn series(of: &Series, objects: &[&ImagingInstance], all: bool) -> Object {
    let unknown = Object::new().put("extension", vec![types::absent()]);
    // FHIR wants one code here: the words stand beside it.
    let site = of.body_site.as_ref().map(|site| {
        let mut coding = site.codings.first().map(types::coding).unwrap_or_default();
        if coding.get("display").is_none() {
            coding.set("display", site.text.as_ref());
        }
        let rest = site
            .codings
            .iter()
            .skip(1)
            .map(|coding| extension("urn:punte:extension:coding", "valueCoding", types::coding(coding)));
        let text = extension("urn:punte:extension:text", "valueString", site.text.as_ref());
        Object::new()
            .put("extension", rest.chain([text]).collect::<Vec<_>>())
            .with(coding)
    });
    Object::new()
        .put("uid", of.uid.as_str())
        .put("number", of.number)
        .put("modality", of.modality.as_deref().map_or(unknown, modality))
        .put("description", of.description.as_ref())
        .put(
            "numberOfInstances",
            u32::try_from(objects.len()).ok().filter(|_| all),
        )
        .put("bodySite", site)
        .put("laterality", of.laterality.as_deref().map(laterality))
        .put("started", date_time_of(of.started.as_ref()))
        .put(
            "instance",
            objects.iter().map(|one| instance(one)).collect::<Vec<_>>(),
        )
}

fn instance(of: &ImagingInstance) -> Object {
    Object::new()
        .put("uid", of.uid().unwrap_or(NO_UID))
        .put("sopClass", oid(of.sop_class.as_deref().unwrap_or(NO_UID)))
        .put("number", of.number)
        .put("title", of.title.as_ref())
}

/// A UID as a code.
fn oid(uid: &str) -> Object {
    Object::new()
        .put("system", "urn:ietf:rfc:3986")
        .put("code", format!("urn:oid:{uid}"))
}

fn modality(code: &str) -> Object {
    Object::new().put("system", DCM).put("code", code)
}

/// (0020,0060) in the codes of SNOMED CT.
fn laterality(side: &str) -> Object {
    let code = match side {
        "L" => "7771000",
        "R" => "24028007",
        "B" => "51440002",
        "U" => "66459002",
        other => return Object::new().put("display", other),
    };
    Object::new()
        .put("system", "http://snomed.info/sct")
        .put("code", code)
}

/// One object of a study as a DocumentReference.
pub(crate) fn object(of: &ImagingInstance, record: &Record, ctx: &Context<'_>) -> Object {
    let is_uid = |id: &&Identifier| id.system.as_deref() == Some(UID_SYSTEM);
    let master = of.identifiers.iter().find(is_uid).and_then(types::identifier);
    let others: Vec<Identifier> = match &master {
        Some(_) => {
            let own = of.uid().unwrap_or_default();
            let rest = of
                .identifiers
                .iter()
                .filter(|id| !(is_uid(id) && id.value == own));
            rest.cloned().collect()
        }
        None => of.identifiers.clone(),
    };
    let text = |name: &str, value: &Option<String>| extension(name, "valueString", value.as_ref());
    let count = |name: &str, value: Option<u32>| extension(name, "valueUnsignedInt", value);
    let about = nested_extension(
        "urn:punte:extension:dicom-object",
        vec![
            text("series", &of.series_uid),
            count("number", of.number),
            text("transferSyntax", &of.transfer_syntax),
            count("frames", of.frames),
            count("rows", of.rows),
            count("columns", of.columns),
            count("bits", of.bits),
            text("sha256", &of.content),
        ],
    );
    let attachment = Object::new()
        .put("contentType", "application/dicom")
        .put("title", of.title.as_ref());
    Object::new()
        .put("resourceType", "DocumentReference")
        .put("extension", vec![about])
        .put("masterIdentifier", master)
        .put("identifier", types::identifiers(&others, record.meta.id))
        .put("status", "current")
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put(
            "content",
            vec![
                Object::new()
                    .put("attachment", attachment)
                    .put("format", of.sop_class.as_deref().map(oid)),
            ],
        )
        .put(
            "context",
            Object::new().put(
                "related",
                ctx.optional(of.study.as_ref()).into_iter().collect::<Vec<_>>(),
            ),
        )
}

/// The identifiers of an order, with its study UID and its accession number.
pub(crate) fn identifiers(of: &Order) -> Vec<Identifier> {
    let mut all = of.identifiers.clone();
    let Some(imaging) = &of.imaging else { return all };
    let number = imaging.accession.as_deref();
    let wanted = [
        imaging.study_uid.as_deref().map(uid),
        number.map(|number| accession(number, imaging.accession_issuer.as_deref())),
    ];
    for one in wanted.into_iter().flatten() {
        if !all
            .iter()
            .any(|id| id.value == one.value && (id.system == one.system || one.system.is_none()))
        {
            all.push(one);
        }
    }
    all
}

/// What is planned at the modalities (PS3.4 K.6).
pub(crate) fn planned(of: &Order, ctx: &Context<'_>) -> Option<Json> {
    let Imaging {
        procedure_id,
        transport,
        danger,
        procedure,
        steps,
        // These two are identifiers.
        accession: _,
        accession_issuer: _,
        study_uid: _,
    } = of.imaging.as_ref()?;
    let mut parts = vec![
        extension("procedureId", "valueString", procedure_id.as_ref()),
        extension("transport", "valueString", transport.as_ref()),
        extension("danger", "valueCodeableConcept", danger.as_ref().map(concept)),
        extension(
            "procedure",
            "valueCodeableConcept",
            procedure.as_ref().map(concept),
        ),
    ];
    parts.extend(steps.iter().map(|one| step(one, ctx)));
    nested_extension("urn:punte:extension:imaging", parts)
}

fn step(of: &ImagingStep, ctx: &Context<'_>) -> Option<Json> {
    let text = |name: &str, value: &Option<String>| extension(name, "valueString", value.as_ref());
    let mut parts = vec![
        text("id", &of.id),
        extension("modality", "valueCoding", of.modality.as_deref().map(modality)),
        text("stationName", &of.station_name),
        text("location", &of.location),
        extension("start", "valueDateTime", date_time_of(of.start.as_ref())),
        extension("minutes", "valueUnsignedInt", of.duration_minutes),
        text("description", &of.description),
        extension("performer", "valueReference", ctx.optional(of.performer.as_ref())),
        text("premedication", &of.premedication),
        text("contrast", &of.contrast),
        extension("status", "valueCode", of.status.map(|status| status.as_str())),
        text("note", &of.note),
    ];
    parts.extend(
        of.station_aes
            .iter()
            .map(|ae| extension("stationAe", "valueString", ae)),
    );
    parts.extend(protocols(&of.protocols));
    nested_extension("step", parts)
}

/// What a modality says that it did (PS3.4 F.7).
pub(crate) fn performed(of: &PerformedStep) -> Option<Json> {
    let text = |name: &str, value: &Option<String>| extension(name, "valueString", value.as_ref());
    let reason: Option<Object> = of.reason.as_ref().map(concept);
    let mut parts = vec![
        extension("uid", "valueString", of.uid.as_str()),
        extension("status", "valueCode", of.status.map(|status| status.as_str())),
        text("id", &of.id),
        text("stationAe", &of.station_ae),
        text("stationName", &of.station_name),
        text("location", &of.location),
        extension("modality", "valueCoding", of.modality.as_deref().map(modality)),
        extension("started", "valueDateTime", date_time_of(of.started.as_ref())),
        extension("ended", "valueDateTime", date_time_of(of.ended.as_ref())),
        text("description", &of.description),
        extension("reason", "valueCodeableConcept", reason),
        text("note", &of.note),
        extension(
            "appointmentBefore",
            "valueCode",
            of.appointment_before.map(|status| status.as_str()),
        ),
        extension(
            "encounterBefore",
            "valueCode",
            of.encounter_before.map(|status| status.as_str()),
        ),
    ];
    parts.extend(of.steps.iter().map(|id| extension("step", "valueString", id)));
    parts.extend(
        of.series
            .iter()
            .map(|uid| extension("series", "valueString", uid)),
    );
    parts.extend(protocols(&of.protocols));
    nested_extension("urn:punte:extension:performed-step", parts)
}

fn protocols(of: &[Concept]) -> impl Iterator<Item = Option<Json>> {
    of.iter()
        .map(|one| extension("protocol", "valueCodeableConcept", concept(one)))
}
