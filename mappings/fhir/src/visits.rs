//! Encounter, Condition, AllergyIntolerance, Procedure and Coverage (HL7 v2-to-FHIR: PV1, PV2, DG1, AL1, PR1, IN1).

use clinic::Record;
use clinic::records::{Allergy, Condition, Coverage, Encounter, EncounterDiagnosis, Procedure, Reaction};
use clinic::value::{Coding, Concept, Identifier};

use crate::context::{Context, unknown_reference};
use crate::json::{Json, Object, Value};
use crate::types::{self, ALTERNATE_CODES, STANDARD, concept, concept_of, date_time_of, extension};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

pub(crate) fn encounter(of: &Encounter, record: &Record, ctx: &Context<'_>) -> Object {
    let planned = |name: &str, when| {
        extension(
            format_args!("http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.{name}"),
            "valueDateTime",
            date_time_of(when),
        )
    };
    let mut identifiers: Vec<Json> = of.identifiers.iter().filter_map(visit_number).collect();
    identifiers.extend(
        of.accounts
            .iter()
            .filter_map(|account| types::identifier_as(account, "AN", None)),
    );
    identifiers.push(types::own_identifier(record.meta.id));

    let class = of
        .class
        .as_ref()
        .map(types::coding)
        .filter(|class| !class.is_empty())
        .unwrap_or_else(|| Object::new().put("system", ACT_CODE).put("code", "AMB"));
    let original = extension(
        ALTERNATE_CODES,
        "valueCodeableConcept",
        concept_of(of.class_original.as_ref()),
    );

    let participants = of.participants.iter().map(|participant| {
        Object::new()
            .put("type", vec![concept(&participant.role)])
            .put("period", types::period(participant.period.as_ref()))
            .put("individual", ctx.reference(&participant.person))
    });
    let stays = of.stays.iter().filter_map(|stay| {
        let place = ctx.reference(&stay.place)?;
        let temporary = Object::new()
            .put("system", "http://hl7.org/fhir/ValueSet/subject-location")
            .put("code", "temporary");
        let temporary = extension(
            format_args!("{STANDARD}subject-locationClassification"),
            "valueCodeableConcept",
            Object::new().put("coding", vec![temporary]),
        );
        Object::new()
            .put("extension", vec![temporary.filter(|_| stay.temporary)])
            .put("location", place)
            .put("status", stay.status.map(|s| s.as_str()))
            .put("period", types::period(stay.period.as_ref()))
            .json()
    });
    let hospitalization = Object::new()
        .put(
            "preAdmissionIdentifier",
            of.preadmission.as_ref().and_then(types::identifier),
        )
        .put("origin", ctx.optional(of.origin.as_ref()))
        .put("admitSource", concept_of(of.admit_source.as_ref()))
        .put("reAdmission", concept_of(of.readmission.as_ref()))
        .put("dietPreference", types::concepts(&of.diets))
        .put("specialCourtesy", types::concepts(&of.courtesies))
        .put("specialArrangement", types::concepts(&of.arrangements))
        .put("destination", ctx.optional(of.destination.as_ref()))
        .put(
            "dischargeDisposition",
            concept_of(of.discharge_disposition.as_ref()),
        );
    // The episode is no record of ours: it is told by its number and its words.
    let mut episode = Object::new()
        .put("identifier", of.episode.as_ref().and_then(types::identifier))
        .put("display", of.episode_description.as_ref());
    if !episode.is_empty() {
        episode.set("type", "EpisodeOfCare");
    }
    Object::new()
        .put("resourceType", "Encounter")
        .put("text", of.description.as_deref().and_then(narrative))
        .put(
            "extension",
            vec![
                planned("plannedStartDate", of.planned_start.as_ref()),
                planned("plannedEndDate", of.planned_end.as_ref()),
                extension(
                    format_args!("{STANDARD}encounter-modeOfArrival"),
                    "valueCoding",
                    of.mode_of_arrival.as_ref().map(types::coding),
                ),
                extension(
                    format_args!("{STANDARD}event-statusReason"),
                    "valueCodeableConcept",
                    concept_of(of.event_reason.as_ref()),
                ),
            ],
        )
        .put("identifier", identifiers)
        .put("status", of.status.map_or("unknown", |s| s.as_str()))
        .put(
            "class",
            Object::new().put("extension", vec![original]).with(class),
        )
        .put("type", types::concepts(&of.kinds))
        .put("serviceType", concept_of(of.service_type.as_ref()))
        .put("priority", concept_of(of.priority.as_ref()))
        .put("subject", ctx.optional(of.patient.as_ref()))
        .put("episodeOfCare", vec![episode])
        .put("participant", participants.collect::<Vec<_>>())
        .put("appointment", ctx.references(&of.appointments))
        .put("period", types::period(of.period.as_ref()))
        .put("length", types::quantity_of(of.length.as_ref()))
        .put("reasonCode", types::concepts(&of.reasons))
        .put(
            "diagnosis",
            of.diagnoses.iter().map(|d| diagnosis(d, ctx)).collect::<Vec<_>>(),
        )
        .put("hospitalization", hospitalization)
        .put("location", stays.collect::<Vec<_>>())
        .put("serviceProvider", ctx.optional(of.clinic.as_ref()))
        .put("partOf", ctx.optional(of.part_of.as_ref()))
}

fn diagnosis(of: &EncounterDiagnosis, ctx: &Context<'_>) -> Option<Json> {
    let condition = ctx.reference(&of.condition)?;
    Object::new()
        .put("condition", condition)
        .put("use", concept_of(of.role.as_ref()))
        .put("rank", of.rank.filter(|rank| 0 < *rank))
        .json()
}

/// A text as the narrative of a resource (PV2-12 has no other place).
fn narrative(text: &str) -> Option<Json> {
    let text = text.json()?;
    let escaped = text
        .as_str()?
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    Object::new()
        .put("status", "additional")
        .put(
            "div",
            format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{escaped}</div>"),
        )
        .json()
}

/// PV1-19 with its kind in words, as HL7 v2-to-FHIR has it.
fn visit_number(of: &Identifier) -> Option<Json> {
    if of.kind_code() != Some("VN") {
        return types::identifier(of);
    }
    types::identifier_as(of, "VN", Some("visit number"))
}

fn says(concept: Option<&Concept>, code: &str) -> bool {
    concept.is_some_and(|c| {
        c.codings
            .iter()
            .any(|coding| coding.code.as_deref() == Some(code))
    })
}

pub(crate) fn condition(of: &Condition, record: &Record, ctx: &Context<'_>) -> Object {
    // con-5: what was entered in error has no clinical status.
    let in_error = says(of.verification.as_ref(), "entered-in-error");
    let clinical = of.clinical_status.as_ref().filter(|_| !in_error);
    // con-4: what has an end is over; where its sender says otherwise or nothing, the end stands beside it.
    let is_over = ["inactive", "resolved", "remission"]
        .into_iter()
        .any(|code| says(clinical, code));
    let abatement = date_time_of(of.abatement.as_ref());
    let (abatement, beside) = if is_over {
        (abatement, None)
    } else {
        (None, abatement)
    };
    let due_to = extension(
        format_args!("{STANDARD}condition-dueTo"),
        "valueReference",
        ctx.optional(of.due_to.as_ref()),
    );
    Object::new()
        .put("resourceType", "Condition")
        .put(
            "extension",
            vec![
                extension(
                    format_args!("{STANDARD}condition-assertedDate"),
                    "valueDateTime",
                    date_time_of(of.asserted_at.as_ref()),
                ),
                due_to,
                extension("urn:punte:extension:abatement", "valueDateTime", beside),
            ],
        )
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("clinicalStatus", concept_of(clinical))
        .put("verificationStatus", concept_of(of.verification.as_ref()))
        .put("category", types::concepts(&of.categories))
        .put("severity", concept_of(of.severity.as_ref()))
        .put("code", concept_of(of.code.as_ref()))
        .put("bodySite", types::concepts(&of.body_sites))
        .put("subject", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()))
        .put("onsetDateTime", date_time_of(of.onset.as_ref()))
        .put("abatementDateTime", abatement)
        .put("recordedDate", date_time_of(of.recorded.as_ref()))
        .put("asserter", ctx.optional(of.asserter.as_ref()))
        .put("note", types::annotations(&of.notes, ctx))
}

pub(crate) fn allergy(of: &Allergy, record: &Record, ctx: &Context<'_>) -> Object {
    // ait-1 and ait-2: a clinical status is there exactly where the entry isn't an error.
    let in_error = says(of.verification.as_ref(), "entered-in-error");
    let clinical = if in_error {
        Object::new()
    } else {
        of.clinical_status
            .as_ref()
            .map(concept)
            .filter(|c| !c.is_empty())
            .unwrap_or_else(|| {
                types::coded(
                    "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                    "active",
                )
            })
    };
    let original = extension(
        ALTERNATE_CODES,
        "valueCodeableConcept",
        concept_of(of.category_original.as_ref()),
    );
    let mut beside = vec![
        Object::new()
            .put("extension", vec![original])
            .json()
            .unwrap_or(Json::Null),
    ];
    beside.resize(of.categories.len().max(1), Json::Null);
    let mut out = Object::new()
        .put("resourceType", "AllergyIntolerance")
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("clinicalStatus", clinical)
        .put("verificationStatus", concept_of(of.verification.as_ref()))
        .put("type", of.kind.map(|k| k.as_str()))
        .put(
            "category",
            of.categories.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
        )
        .put_aligned("_category", beside);
    types::code_with_original(
        &mut out,
        "criticality",
        of.criticality.map(|c| c.as_str()),
        of.criticality_original.as_ref(),
    );
    out.put("code", concept_of(of.code.as_ref()))
        .put("patient", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()))
        .put("onsetDateTime", date_time_of(of.onset.as_ref()))
        .put("recordedDate", date_time_of(of.recorded.as_ref()))
        .put("recorder", ctx.optional(of.recorder.as_ref()))
        .put("asserter", ctx.optional(of.asserter.as_ref()))
        .put("note", types::annotations(&of.notes, ctx))
        .put("reaction", of.reactions.iter().map(reaction).collect::<Vec<_>>())
}

fn reaction(of: &Reaction) -> Option<Json> {
    let manifestations = types::concepts(&of.manifestations).json();
    let out = Object::new()
        .put("substance", concept_of(of.substance.as_ref()))
        .put("onset", date_time_of(of.onset.as_ref()))
        .put("severity", of.severity.map(|s| s.as_str()));
    if manifestations.is_none() && out.is_empty() {
        return None;
    }
    let unknown = || Json::Array(vec![types::unknown_concept()]);
    out.put("manifestation", manifestations.unwrap_or_else(unknown))
        .json()
}

pub(crate) fn procedure(of: &Procedure, record: &Record, ctx: &Context<'_>) -> Object {
    let performers = of.performers.iter().filter_map(|performer| {
        let actor = ctx.reference(&performer.actor)?;
        Object::new()
            .put("function", concept_of(performer.role.as_ref()))
            .put("actor", actor)
            .json()
    });
    let mut out = Object::new()
        .put("resourceType", "Procedure")
        .put(
            "extension",
            vec![extension(
                "urn:punte:extension:rank",
                "valuePositiveInt",
                of.rank.filter(|r| 0 < *r),
            )],
        )
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put(
            "partOf",
            ctx.optional(of.part_of.as_ref()).into_iter().collect::<Vec<_>>(),
        )
        .put("status", of.status.map_or("unknown", |s| s.as_str()))
        .put("category", concept_of(of.category.as_ref()))
        .put("code", code_with_modifiers(of.code.as_ref(), &of.modifiers))
        .put("subject", ctx.required(of.patient.as_ref()))
        .put("encounter", ctx.optional(of.encounter.as_ref()));
    match &of.performed_period {
        Some(period) => out.set("performedPeriod", types::period(Some(period))),
        None => out.set("performedDateTime", date_time_of(of.performed_at.as_ref())),
    }
    out.put("performer", performers.collect::<Vec<_>>())
        .put("location", ctx.optional(of.location.as_ref()))
        .put("reasonCode", types::concepts(&of.reasons))
        .put("bodySite", types::concepts(&of.body_sites))
        .put("note", types::annotations(&of.notes, ctx))
}

/// PR1-16 goes after the code and a colon (HL7 v2-to-FHIR, PR1; the syntax of CPT), as one coding more for each.
fn code_with_modifiers(code: Option<&Concept>, modifiers: &[Concept]) -> Object {
    let mut whole = code.cloned().unwrap_or_default();
    let first = whole.codings.first().cloned().unwrap_or_default();
    for modifier in modifiers {
        let (Some(main), Some(modifier_code)) = (&first.code, modifier.code()) else {
            continue;
        };
        let coding = modifier.codings.iter().find(|c| c.code.is_some());
        whole.codings.push(Coding {
            code: Some(format!("{main}:{modifier_code}")),
            display: coding
                .and_then(|c| c.display.clone())
                .or_else(|| modifier.text.clone()),
            ..first.clone()
        });
    }
    // The modifiers themselves stand beside it, whole.
    let told = modifiers
        .iter()
        .map(|modifier| extension(ALTERNATE_CODES, "valueCodeableConcept", concept(modifier)));
    Object::new()
        .put("extension", told.collect::<Vec<_>>())
        .with(concept(&whole))
}

pub(crate) fn coverage(of: &Coverage, record: &Record, ctx: &Context<'_>) -> Object {
    const CLASS: &str = "http://terminology.hl7.org/CodeSystem/coverage-class";
    let mut identifiers: Vec<Json> = of.identifiers.iter().filter_map(types::identifier).collect();
    // IN1-2 is both the number of the cover (HL7 v2-to-FHIR, IN1) and the class of it.
    identifiers.extend(
        of.plan
            .iter()
            .flat_map(|plan| &plan.codings)
            .filter_map(|coding| {
                types::identifier(&Identifier {
                    system: coding.system.clone(),
                    value: coding.code.clone()?,
                    kind: coding.display.clone().map(Concept::words),
                    ..Identifier::default()
                })
            }),
    );
    identifiers.extend(of.policy_number.as_ref().and_then(|number| {
        let number = number.json()?;
        Object::new()
            .put("type", Object::new().put("text", "policy number"))
            .put("value", number)
            .json()
    }));
    identifiers.push(types::own_identifier(record.meta.id));

    let group = of
        .group_number
        .as_ref()
        .or(of.group_name.as_ref())
        .and_then(|value| {
            let value = value.json()?;
            Object::new()
                .put("type", types::coded(CLASS, "group"))
                .put("value", value)
                .put("name", of.group_name.as_ref())
                .json()
        });
    let plan = of.plan.as_ref().and_then(|plan| {
        let display = plan
            .codings
            .iter()
            .find_map(|c| c.display.as_deref())
            .or(plan.text.as_deref());
        let value = plan.code().or(display)?.json()?;
        Object::new()
            .put(
                "extension",
                vec![extension(ALTERNATE_CODES, "valueCodeableConcept", concept(plan))],
            )
            .put("type", types::coded(CLASS, "plan"))
            .put("value", value)
            .put("name", display)
            .json()
    });
    let kind = concept_of(of.kind.as_ref());
    let financial = concept_of(of.financial_class.as_ref());
    // PV1-20 and IN1-15 both go to `type`; where both are known the plan's own type is the main one.
    let kind = if kind.is_empty() {
        financial
    } else {
        Object::new()
            .put(
                "extension",
                vec![extension(ALTERNATE_CODES, "valueCodeableConcept", financial)],
            )
            .with(kind)
    };
    let subscriber_ids = of.subscriber_ids.iter().map(|id| {
        extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-subscriberId",
            "valueIdentifier",
            types::identifier(id),
        )
    });
    let mut payors = ctx.references(&of.payors);
    if payors.is_empty() {
        // Somebody pays, and it is not said who. The patient would be one who pays for himself.
        payors.push(unknown_reference());
    }
    Object::new()
        .put("resourceType", "Coverage")
        .put("extension", subscriber_ids.collect::<Vec<_>>())
        .put("identifier", identifiers)
        .put("status", of.status.map_or("active", |s| s.as_str()))
        .put("type", kind)
        .put("policyHolder", ctx.optional(of.policy_holder.as_ref()))
        .put("subscriber", ctx.optional(of.subscriber.as_ref()))
        .put("subscriberId", of.subscriber_ids.first().map(|id| &id.value))
        .put("beneficiary", ctx.required(of.patient.as_ref()))
        .put("relationship", concept_of(of.relationship.as_ref()))
        .put("period", types::period(of.period.as_ref()))
        .put("payor", payors)
        .put("class", vec![group, plan])
        .put("order", of.order.filter(|order| 0 < *order))
}
