//! DocumentReference and MedicationRequest (HL7 v2-to-FHIR: TXA, RXO, RXR).

use clinic::Record;
use clinic::records::{Document, Dosage, MedicationOrder};

use crate::context::{Context, logical};
use crate::diagnostics::callback;
use crate::json::{Json, Object, Value};
use crate::timing;
use crate::types::{self, STANDARD, concept, concept_of, date_time_of, extension};

pub(crate) fn document_reference(of: &Document, record: &Record, ctx: &Context<'_>) -> Object {
    // TXA-12 is the number of the document itself, others are further ones.
    let (master, others) = match of.identifiers.split_first() {
        Some((first, rest)) => (types::identifier(first), rest),
        None => (None, &[][..]),
    };
    let mut contents: Vec<Json> = of
        .contents
        .iter()
        .filter_map(|file| {
            let file = types::attachment(file).json()?;
            Object::new().put("attachment", file).json()
        })
        .collect();
    if contents.is_empty() {
        let unknown = Object::new().put("extension", vec![types::absent()]);
        contents.extend(Object::new().put("attachment", unknown).json());
    }
    // `date` is a moment; a day alone has an extension (TXA-6).
    let day = of
        .date
        .as_ref()
        .filter(|date| !date.has_time())
        .and_then(types::date_time);
    let labels: Vec<Option<Json>> = of
        .security
        .iter()
        .map(|label| {
            let coding = types::coding(label).json()?;
            Object::new().put("coding", vec![coding]).json()
        })
        .collect();
    Object::new()
        .put("resourceType", "DocumentReference")
        .put(
            "extension",
            vec![extension(
                "http://hl7.org/fhir/6.0/StructureDefinition/extension-date",
                "valueDate",
                day,
            )],
        )
        .put("masterIdentifier", master)
        .put("identifier", types::identifiers(others, record.meta.id))
        .put("status", of.status.map_or("current", |s| s.as_str()))
        .put("docStatus", of.text_status.map(|s| s.as_str()))
        .put("type", concept_of(of.kind.as_ref()))
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put("date", of.date.as_ref().and_then(types::instant))
        .put("author", ctx.references(&of.authors))
        .put("authenticator", ctx.optional(of.authenticator.as_ref()))
        .put("description", of.description.as_ref())
        .put("securityLabel", labels)
        .put("content", contents)
        .put(
            "context",
            Object::new()
                .put(
                    "encounter",
                    ctx.optional(of.encounter.as_ref())
                        .into_iter()
                        .collect::<Vec<_>>(),
                )
                .put("related", ctx.references(&of.related)),
        )
}

pub(crate) fn medication_request(of: &MedicationOrder, record: &Record, ctx: &mut Context<'_>) -> Object {
    let mut out = Object::new()
        .put("resourceType", "MedicationRequest")
        .put("extension", of.callback.iter().map(callback).collect::<Vec<_>>())
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("status", of.status.map_or("unknown", |s| s.as_str()))
        .put("intent", of.intent.map_or("order", |i| i.as_str()))
        .put("priority", of.priority.map(|p| p.as_str()));
    match medication(of, ctx) {
        Some(reference) => out.set("medicationReference", reference),
        None => out.set(
            "medicationCodeableConcept",
            types::required_concept(of.medication.as_ref()),
        ),
    }
    let dispense = Object::new()
        .put("numberOfRepeatsAllowed", of.refills)
        .put("quantity", types::quantity_of(of.quantity.as_ref()));
    let substitution = concept_of(of.substitution.as_ref())
        .json()
        .map(|allowed| Object::new().put("allowedCodeableConcept", allowed));
    out.put("subject", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()))
        .put("authoredOn", date_time_of(of.authored.as_ref()))
        .put("requester", requester(of, ctx))
        .put("reasonCode", types::concepts(&of.reasons))
        .put("reasonReference", ctx.references(&of.reason_conditions))
        .put(
            "groupIdentifier",
            of.group
                .as_ref()
                .and_then(|group| types::identifier_as(group, "PGN", None)),
        )
        .put("note", types::annotations(&of.notes, ctx))
        .put(
            "dosageInstruction",
            of.dosages.iter().map(dosage).collect::<Vec<_>>(),
        )
        .put("dispenseRequest", dispense)
        .put("substitution", substitution)
}

/// A medicine of which more is known than its code is a resource of its own (RXO-5, RXO-18).
fn medication(of: &MedicationOrder, ctx: &mut Context<'_>) -> Option<Json> {
    let form = concept_of(of.form.as_ref()).json();
    let strength = of.strength.as_ref().and_then(|strength| {
        Object::new()
            .put("numerator", types::quantity_of(strength.numerator.as_ref()))
            .put("denominator", types::quantity_of(strength.denominator.as_ref()))
            .json()
    });
    if form.is_none() && strength.is_none() {
        return None;
    }
    let code = concept_of(of.medication.as_ref()).json();
    let ingredient = strength.map(|strength| {
        Object::new()
            .put(
                "itemCodeableConcept",
                types::required_concept(of.medication.as_ref()),
            )
            .put("strength", strength)
    });
    let medication = Object::new()
        .put("resourceType", "Medication")
        .put("code", code)
        .put("form", form)
        .put("ingredient", ingredient.into_iter().collect::<Vec<_>>());
    Some(ctx.small("medication", medication))
}

/// Who wrote it, with the first of their registrations (RXO-14); FHIR has room for one beside the reference.
fn requester(of: &MedicationOrder, ctx: &Context<'_>) -> Option<Json> {
    let mut registrations = of.requester_registrations.iter();
    let first = registrations.next().and_then(types::identifier);
    let others = registrations.map(|registration| {
        extension(
            format_args!("{STANDARD}alternate-reference"),
            "valueReference",
            logical("Practitioner", registration),
        )
    });
    let more = Object::new()
        .put("extension", others.collect::<Vec<_>>())
        .put("identifier", first);
    match &of.requester {
        Some(requester) => ctx.reference_with(requester, more),
        None => more.json(),
    }
}

fn dosage(of: &Dosage) -> Option<Json> {
    let dose = Object::new()
        .put("doseRange", of.dose.as_ref().map(types::range))
        .put("rateQuantity", types::quantity_of(of.rate.as_ref()));
    let dose = if dose.is_empty() {
        dose
    } else {
        Object::new()
            .put(
                "type",
                types::coded("http://terminology.hl7.org/CodeSystem/dose-rate-type", "ordered"),
            )
            .with(dose)
    };
    Object::new()
        .put("text", of.text.as_ref())
        .put(
            "additionalInstruction",
            of.instructions.iter().map(concept).collect::<Vec<_>>(),
        )
        .put(
            "timing",
            of.timing.as_ref().map(|timing| timing::timing(timing, &[])),
        )
        .put("site", concept_of(of.site.as_ref()))
        .put("route", concept_of(of.route.as_ref()))
        .put("method", concept_of(of.method.as_ref()))
        .put("doseAndRate", vec![dose])
        .put("maxDosePerPeriod", of.max_per_period.as_ref().map(types::ratio))
        .json()
}
