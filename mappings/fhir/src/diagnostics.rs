//! ServiceRequest, Specimen, DiagnosticReport and Observation (HL7 v2-to-FHIR: ORC, OBR, TQ1, SPM, OBX).

use clinic::diagnostics::{
    Component, Observation, Order, ReferenceRange, Result as Report, Specimen, Value as Measured,
};
use clinic::records::Performer;
use clinic::value::{Attachment, Concept, Period, Ref, Timing};
use clinic::{Kind, Record};

use crate::context::{Context, logical};
use crate::imaging;
use crate::json::{Json, Object, Value};
use crate::timing;
use crate::types::{
    self, ORIGINAL_TEXT, STANDARD, concept, concept_of, date_time_of, extension, nested_extension,
};

/// The table spells it with `https`.
const VALUE_ATTACHMENT: &str =
    "https://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.valueAttachment";
/// HL7 table 0119, order control.
const ORDER_CONTROL: &str = "http://terminology.hl7.org/CodeSystem/v2-0119";

pub(crate) fn service_request(of: &Order, record: &Record, ctx: &mut Context<'_>) -> Object {
    // ORC-1 is the event of the order, ORC-5 its status: only the latter stands beside the status.
    let is_control = |c: &&Concept| {
        c.codings.iter().any(|coding| {
            coding
                .system
                .as_deref()
                .is_some_and(|s| types::system_uri(s) == ORDER_CONTROL)
        })
    };
    let control = of.status_original.as_ref().filter(is_control);
    let status_original = of.status_original.as_ref().filter(|c| !is_control(c));
    let business_event = |name: &str, field: &'static str, value: Option<Json>| {
        nested_extension(
            format_args!("{STANDARD}businessEvent"),
            vec![extension(name, field, value)],
        )
    };
    let mut extensions = vec![
        business_event("value", "valueCodeableConcept", concept_of(control).json()),
        business_event(
            "date",
            "valueDateTime",
            date_time_of(of.status_changed.as_ref()).json(),
        ),
        extension(
            format_args!("{STANDARD}request-statusReason"),
            "valueCodeableConcept",
            concept_of(of.control_reason.as_ref()),
        ),
    ];
    extensions.extend(of.callback.iter().map(callback));
    // R5 has a CodeableReference here, which an extension of 4.0.1 can't hold: the concept alone.
    extensions.extend(of.clinical_info.iter().map(|info| {
        extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-ServiceRequest.supportingInfo",
            "valueCodeableConcept",
            concept(info),
        )
    }));
    extensions.push(imaging::planned(of, ctx));
    extensions.extend(of.performed.iter().map(imaging::performed));
    let mut based_on = ctx.references(&of.based_on);
    based_on.extend(
        of.parent_identifiers
            .iter()
            .filter_map(|parent| logical("ServiceRequest", parent)),
    );

    let mut out = Object::new()
        .put("resourceType", "ServiceRequest")
        .put("extension", extensions)
        .put(
            "identifier",
            types::identifiers(&imaging::identifiers(of), record.meta.id),
        )
        .put("basedOn", based_on)
        .put(
            "requisition",
            of.group
                .as_ref()
                .and_then(|group| types::identifier_as(group, "PGN", None)),
        );
    types::code_with_original(
        &mut out,
        "status",
        Some(of.status.map_or("unknown", |s| s.as_str())),
        status_original,
    );
    out = out
        .put("intent", of.intent.map_or("order", |i| i.as_str()))
        .put("category", types::concepts(&of.categories));
    types::code_with_original(
        &mut out,
        "priority",
        of.priority.map(|p| p.as_str()),
        of.priority_original.as_ref(),
    );
    let code = match (&of.code, of.details.is_empty()) {
        // prr-1: details are details of something.
        (None, false) => types::unknown_concept(),
        (code, _) => Json::Object(concept_of(code.as_ref())),
    };
    out = out
        .put("code", code)
        .put("orderDetail", types::concepts(&of.details))
        .put("quantityQuantity", types::quantity_of(of.quantity.as_ref()))
        .put("subject", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()));
    occurrence(of, &mut out);
    out.put("authoredOn", date_time_of(of.authored.as_ref()))
        .put("requester", requester(of, ctx))
        .put("performer", ctx.references(&of.performers))
        .put("locationCode", types::concepts(&of.location_codes))
        .put("reasonCode", types::concepts(&of.reasons))
        .put("reasonReference", ctx.references(&of.reason_conditions))
        .put("supportingInfo", ctx.references(&of.supporting_info))
        .put("specimen", ctx.references(&of.specimens))
        .put("bodySite", types::concepts(&of.body_sites))
        .put("note", types::annotations(&of.notes, ctx))
        .put("patientInstruction", of.patient_instruction.as_ref())
}

/// ORC-14 and OBR-17: whom to call about an order.
pub(crate) fn callback(telecom: &clinic::value::Telecom) -> Option<Json> {
    extension(
        format_args!("{STANDARD}servicerequest-order-callback-phone-number"),
        "valueContactPoint",
        types::contact_point(telecom),
    )
}

/// Who ordered it. A person and the organisation they order for are one role (ORC-12, ORC-21).
fn requester(of: &Order, ctx: &mut Context<'_>) -> Option<Json> {
    let person = ctx.optional(of.requester.as_ref());
    let organization = ctx.optional(of.requester_organization.as_ref());
    if person.is_none() || organization.is_none() {
        return person.or(organization);
    }
    let role = Object::new()
        .put("resourceType", "PractitionerRole")
        .put("practitioner", person)
        .put("organization", organization);
    Some(ctx.small("requester", role))
}

/// FHIR has room for a moment, a period or a pattern; where more than one is told, the pattern holds them all.
fn occurrence(of: &Order, out: &mut Object) {
    let told = [
        of.occurrence_at.is_some(),
        of.occurrence_period.is_some(),
        of.occurrence_timing.is_some(),
    ];
    if told.iter().filter(|told| **told).count() <= 1 && of.occurrence_timing.is_none() {
        out.set("occurrenceDateTime", date_time_of(of.occurrence_at.as_ref()));
        out.set("occurrencePeriod", types::period(of.occurrence_period.as_ref()));
        return;
    }
    let mut timing: Timing = of.occurrence_timing.clone().unwrap_or_default();
    if let Some(period) = &of.occurrence_period {
        let bounds = timing.bounds.get_or_insert_with(Period::default);
        bounds.start = bounds.start.take().or_else(|| period.start.clone());
        bounds.end = bounds.end.take().or_else(|| period.end.clone());
    }
    let events: Vec<String> = date_time_of(of.occurrence_at.as_ref()).into_iter().collect();
    out.set("occurrenceTiming", timing::timing(&timing, &events));
}

pub(crate) fn specimen(of: &Specimen, record: &Record, ctx: &Context<'_>) -> Object {
    let mut collection = Object::new().put("collector", ctx.optional(of.collector.as_ref()));
    match &of.collected_period {
        Some(period) => collection.set("collectedPeriod", types::period(Some(period))),
        None => collection.set("collectedDateTime", date_time_of(of.collected_at.as_ref())),
    }
    let collection = collection
        .put("quantity", types::quantity_of(of.quantity.as_ref()))
        .put("method", concept_of(of.method.as_ref()))
        .put("bodySite", concept_of(of.body_site.as_ref()))
        .put("fastingStatusCodeableConcept", concept_of(of.fasting.as_ref()));
    // A container has room for one additive; the others get a container entry of their own.
    let mut additives = of.additives.iter().map(concept);
    let mut containers = vec![
        Object::new()
            .put("type", concept_of(of.container.as_ref()))
            .put("additiveCodeableConcept", additives.next()),
    ];
    containers.extend(additives.map(|additive| Object::new().put("additiveCodeableConcept", additive)));
    Object::new()
        .put("resourceType", "Specimen")
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put(
            "accessionIdentifier",
            of.accession.as_ref().and_then(types::identifier),
        )
        .put("status", of.status.map(|s| s.as_str()))
        .put("type", concept_of(of.kind.as_ref()))
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put("receivedTime", date_time_of(of.received.as_ref()))
        .put("parent", ctx.references(&of.parents))
        .put("request", ctx.references(&of.orders))
        .put("collection", collection)
        .put("container", containers)
        .put("condition", types::concepts(&of.conditions))
        .put("note", types::annotations(&of.notes, ctx))
}

pub(crate) fn diagnostic_report(
    of: &Report,
    record: &Record,
    studies: &[uuid::Uuid],
    ctx: &Context<'_>,
) -> Object {
    let studies: Vec<Ref> = studies
        .iter()
        .map(|id| Ref::Id(Kind::ImagingStudy, *id))
        .collect();
    let mut extensions = vec![extension(
        format_args!("{STANDARD}event-statusReason"),
        "valueCodeableConcept",
        concept_of(of.control_reason.as_ref()),
    )];
    // DiagnosticReport has no place for remarks before R5.
    extensions.extend(of.notes.iter().map(|note| {
        extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note",
            "valueAnnotation",
            types::annotation(note, ctx),
        )
    }));
    let mut out = Object::new()
        .put("resourceType", "DiagnosticReport")
        .put("extension", extensions)
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("basedOn", ctx.references(&of.orders));
    types::code_with_original(
        &mut out,
        "status",
        Some(of.status.map_or("unknown", |s| s.as_str())),
        of.status_original.as_ref(),
    );
    out = out
        .put("category", types::concepts(&of.categories))
        .put("code", types::required_concept(of.code.as_ref()))
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()));
    match &of.effective_period {
        Some(period) => out.set("effectivePeriod", types::period(Some(period))),
        None => out.set("effectiveDateTime", date_time_of(of.effective_at.as_ref())),
    }
    issued(&mut out, of.issued.as_ref());
    out.put("performer", performers(of, ctx))
        .put("resultsInterpreter", ctx.references(&of.interpreters))
        .put("specimen", ctx.references(&of.specimens))
        .put("result", ctx.references(&of.observations))
        .put("imagingStudy", ctx.references(&studies))
        .put("conclusion", of.conclusion.as_ref())
        .put("conclusionCode", types::concepts(&of.conclusion_codes))
        .put("presentedForm", types::attachments(&of.documents))
}

/// Who made a report, each in the role that is told of them (OBR-34 assists, OBR-35 types).
fn performers(of: &Report, ctx: &Context<'_>) -> Vec<Json> {
    let in_role = |performer: &Performer| {
        let role = extension(
            format_args!("{STANDARD}event-performerFunction"),
            "valueCodeableConcept",
            concept_of(performer.role.as_ref()),
        );
        ctx.reference_with(&performer.actor, Object::new().put("extension", vec![role]))
    };
    let without_role = of
        .performers
        .iter()
        .filter(|to| !of.performer_roles.iter().any(|performer| performer.actor == **to))
        .filter_map(|to| ctx.reference(to));
    of.performer_roles
        .iter()
        .filter_map(in_role)
        .chain(without_role)
        .collect()
}

/// `issued` is a moment; a day alone stands beside it.
fn issued(out: &mut Object, when: Option<&clinic::value::When>) {
    let instant = when.and_then(types::instant);
    let day = when.filter(|_| instant.is_none()).and_then(|when| {
        extension(
            "urn:punte:extension:date",
            "valueDateTime",
            types::date_time(when),
        )
    });
    types::primitive(out, "issued", instant, vec![day]);
}

pub(crate) fn observation(of: &Observation, record: &Record, ctx: &Context<'_>) -> Object {
    let mut extensions: Vec<Option<Json>> = of.attachments.iter().map(value_attachment).collect();
    extensions.push(extension(
        format_args!("{STANDARD}observation-structure-type"),
        "valueCodeableConcept",
        concept_of(of.structure_type.as_ref()),
    ));
    extensions.push(of.sub_id.as_deref().and_then(sub_identifier));
    extensions.extend(of.norm_kinds.iter().map(|kind| {
        extension(
            format_args!("{STANDARD}observation-nature-of-abnormal-test"),
            "valueCodeableConcept",
            concept(kind),
        )
    }));
    extensions.push(extension(
        format_args!("{STANDARD}observation-analysis-date-time"),
        "valueDateTime",
        date_time_of(of.analysed_at.as_ref()),
    ));
    let original = of
        .value_original
        .as_ref()
        .and_then(|text| extension(ORIGINAL_TEXT, "valueString", text));
    let unit = extension(
        "urn:punte:extension:unit",
        "valueQuantity",
        of.text_unit.as_ref().map(types::quantity),
    );
    let (value, beside) = measured(of.value.as_ref(), original, unit);
    extensions.extend(beside.into_iter().map(Some));
    let mut devices = of.devices.iter().filter_map(|device| logical("Device", device));
    let device = devices.next();
    let more_devices: Vec<Option<Json>> = devices
        .map(|device| {
            extension(
                format_args!("{STANDARD}alternate-reference"),
                "valueReference",
                device,
            )
        })
        .collect();
    let device = device.map(|device| match device {
        Json::Object(object) => Json::Object(Object::new().put("extension", more_devices).with(object)),
        other => other,
    });

    let mut out = Object::new()
        .put("resourceType", "Observation")
        .put("extension", extensions)
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("basedOn", ctx.references(&of.orders));
    types::code_with_original(
        &mut out,
        "status",
        Some(of.status.map_or("unknown", |s| s.as_str())),
        of.status_original.as_ref(),
    );
    // OBX-16 answers for the result: a performer in that function.
    let function = extension(
        format_args!("{STANDARD}event-performerFunction"),
        "valueCodeableConcept",
        types::coded(
            "http://terminology.hl7.org/CodeSystem/practitioner-role",
            "responsibleObserver",
        ),
    );
    let mut performers: Vec<Json> = of
        .responsible
        .iter()
        .filter_map(|to| ctx.reference_with(to, Object::new().put("extension", vec![function.clone()])))
        .collect();
    performers.extend(ctx.references(&of.performers));
    out = out
        .put("category", types::concepts(&of.categories))
        .put("code", types::required_concept(of.code.as_ref()))
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()))
        .put("effectiveDateTime", date_time_of(of.effective_at.as_ref()));
    issued(&mut out, of.issued.as_ref());
    let has_value = value.fields().any(|(name, _)| name.starts_with("value"));
    // obs-6: a reason for the absence of a value only where there is none.
    let absent = of.absent_reason.as_ref().filter(|_| !has_value);
    out.put("performer", performers)
        .with(value)
        .put("dataAbsentReason", concept_of(absent))
        .put("interpretation", types::concepts(&of.interpretations))
        .put("note", types::annotations(&of.notes, ctx))
        .put("bodySite", concept_of(of.body_site.as_ref()))
        .put("method", concept_of(of.method.as_ref()))
        .put("specimen", ctx.optional(of.specimen.as_ref()))
        .put("device", device)
        .put(
            "referenceRange",
            of.reference_ranges
                .iter()
                .map(reference_range)
                .collect::<Vec<_>>(),
        )
        .put("derivedFrom", ctx.references(&of.part_of))
        .put(
            "component",
            of.components.iter().map(component).collect::<Vec<_>>(),
        )
}

fn value_attachment(of: &Attachment) -> Option<Json> {
    extension(VALUE_ATTACHMENT, "valueAttachment", types::attachment(of))
}

/// OBX-4 (HL7 v2-to-FHIR, OG): as it came, and its group, sequence and identifier where it has such parts.
fn sub_identifier(sub_id: &str) -> Option<Json> {
    let parts: Vec<&str> = sub_id.split('^').collect();
    let number = |idx: usize| -> Option<clinic::value::Decimal> { parts.get(idx)?.trim().parse().ok() };
    // A group or sequence that is no number has no place of its own: then all of it stands as it came.
    let is_number =
        |idx: usize| parts.get(idx).is_none_or(|part| part.trim().is_empty()) || number(idx).is_some();
    let whole = if is_number(1) && is_number(2) && parts.len() <= 4 {
        parts.first().copied()
    } else {
        Some(sub_id)
    };
    nested_extension(
        format_args!("{STANDARD}observation-v2-subid"),
        vec![
            extension("original-sub-identifier", "valueString", whole),
            extension("group", "valueDecimal", number(1).as_ref()),
            extension("sequence", "valueDecimal", number(2).as_ref()),
            extension("identifier", "valueString", parts.get(3).copied()),
        ],
    )
}

/// `value[x]`, and what has no place in it (a file). `original` is the text that the value was read from, `unit` that of a text.
fn measured(value: Option<&Measured>, original: Option<Json>, unit: Option<Json>) -> (Object, Vec<Json>) {
    let with_original = |inner: Object, original: Option<Json>| {
        // What has no content of its own doesn't become one by where it came from.
        Object::new().put("extension", vec![original]).with(inner)
    };
    let mut out = Object::new();
    let mut beside = vec![];
    match value {
        None => beside.extend(original.into_iter().chain(unit)),
        Some(Measured::Quantity(quantity)) => {
            out.set(
                "valueQuantity",
                with_original(types::quantity(quantity), original),
            );
        }
        Some(Measured::Concept(of)) => out.set("valueCodeableConcept", with_original(concept(of), original)),
        Some(Measured::Period(period)) => {
            out.set(
                "valuePeriod",
                with_original(types::period(Some(period)), original),
            );
        }
        Some(Measured::Range(range)) => out.set("valueRange", with_original(types::range(range), original)),
        Some(Measured::Ratio(ratio)) => out.set("valueRatio", with_original(types::ratio(ratio), original)),
        Some(Measured::Text(text)) => types::primitive(&mut out, "valueString", text, vec![original, unit]),
        Some(Measured::When(when)) => {
            types::primitive(&mut out, "valueDateTime", types::date_time(when), vec![original]);
        }
        Some(Measured::Time(time)) if timing::is_time(time) => {
            types::primitive(&mut out, "valueTime", time, vec![original]);
        }
        Some(Measured::Time(text)) => types::primitive(&mut out, "valueString", text, vec![original]),
        Some(Measured::Attachment(file)) => {
            beside.extend(value_attachment(file));
            beside.extend(original);
        }
        Some(Measured::Sampled(data)) => {
            if let Some(data) = data.json() {
                let zero = Object::new().put("value", 0_u32);
                let sampled = Object::new()
                    .put("origin", zero)
                    .put("period", 1_u32)
                    .put("dimensions", 1_u32)
                    .put("data", data);
                out.set("valueSampledData", with_original(sampled, original));
            } else {
                beside.extend(original);
            }
        }
    }
    (out, beside)
}

fn component(of: &Component) -> Option<Json> {
    let (value, beside) = measured(of.value.as_ref(), None, None);
    let code = concept(&of.code).json();
    if code.is_none() && value.is_empty() && beside.is_empty() {
        return None;
    }
    Object::new()
        .put("extension", beside)
        .put("code", code.unwrap_or_else(types::unknown_concept))
        .with(value)
        .json()
}

fn reference_range(of: &ReferenceRange) -> Option<Json> {
    Object::new()
        .put("low", types::quantity_of(of.low.as_ref()))
        .put("high", types::quantity_of(of.high.as_ref()))
        .put("text", of.text.as_ref())
        .json()
}
