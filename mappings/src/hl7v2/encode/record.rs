//! Allergies, diagnoses, procedures, covers → AL1, DG1, PR1, IN1; records that prove to be of one person → MRG.
//! HL7 v2.5.1, 3.4.6, 6.5.2, 6.5.4, 6.5.6, 3.4.9.

use clinic::Body;
use clinic::records::{
    Allergy, AllergyCategory, Condition, Coverage, Criticality, Encounter, EventStatus, Procedure, Severity,
};
use clinic::value::{Concept, Identifier, Ref};
use uuid::Uuid;

use super::datatypes as data;
use super::people;
use super::terms;
use super::wire::{Seg, comps, ot};
use super::world::{Said, World};
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::terms::{NO_TABLE, Table, hl7, table};

fn of(concept: Option<&Concept>, table: Table, profile: &Profile) -> String {
    concept
        .map(|concept| comps(terms::cwe(concept, table, profile)))
        .unwrap_or_default()
}

fn is_of(world: &World<'_>, whose: Option<&Ref>, patient: Uuid) -> bool {
    whose.and_then(|of| world.id(of)) == Some(patient)
}

/// AL1, DG1, PR1, IN1 of a patient, in the order that ADT_A01 has them; before orders IN1 stands first, as OML_O21 and OMI_O23
/// have it. `taken` stand below an order.
pub(super) fn chart(
    world: &World<'_>,
    patient: Uuid,
    visit: Option<&Encounter>,
    taken: &[Uuid],
    before_orders: bool,
    out: &mut Vec<Seg>,
) {
    if !before_orders {
        clinical(world, patient, visit, taken, out);
    }
    let coverages = world.coverages().into_iter();
    let theirs = coverages.filter(|(_, cover)| {
        is_of(world, cover.patient.as_ref(), patient) && cover.financial_class.is_none()
    });
    out.extend(
        theirs
            .enumerate()
            .map(|(idx, (said, cover))| in1(world, said, cover, patient, idx + 1)),
    );
    if before_orders {
        clinical(world, patient, visit, taken, out);
    }
}

/// AL1, DG1, PR1 of a patient.
fn clinical(world: &World<'_>, patient: Uuid, visit: Option<&Encounter>, taken: &[Uuid], out: &mut Vec<Seg>) {
    let allergies = world.allergies().into_iter();
    let theirs = allergies.filter(|(_, allergy)| is_of(world, allergy.patient.as_ref(), patient));
    out.extend(
        theirs
            .enumerate()
            .map(|(idx, (said, allergy))| al1(world, said, allergy, idx + 1)),
    );
    out.extend(diagnoses(world, patient, visit, taken));
    let procedures = world.procedures().into_iter();
    let theirs =
        procedures.filter(|(_, one)| is_of(world, one.patient.as_ref(), patient) && one.code.is_some());
    out.extend(
        theirs
            .enumerate()
            .map(|(idx, (_, procedure))| pr1(world, procedure, idx + 1)),
    );
}

/// DG1 of a patient. A diagnosis that is only named by its number, as the cause of another, is no segment.
pub(super) fn diagnoses(
    world: &World<'_>,
    patient: Uuid,
    visit: Option<&Encounter>,
    taken: &[Uuid],
) -> Vec<Seg> {
    let all = world.conditions().into_iter();
    let theirs = all.filter(|(said, condition)| {
        is_of(world, condition.patient.as_ref(), patient)
            && condition.code.is_some()
            && !taken.contains(&said.id)
    });
    theirs
        .enumerate()
        .map(|(idx, (said, condition))| dg1(world, said.id, condition, visit, idx + 1))
        .collect()
}

/// Allergy → AL1.
fn al1(world: &World<'_>, said: &Said<'_>, allergy: &Allergy, number: usize) -> Seg {
    let profile = world.profile;
    let mut al1 = Seg::numbered("AL1", number);
    al1.put(2, of(allergy.category_original.as_ref(), table("0127"), profile));
    if al1.is_empty(2) {
        let code = match allergy.categories.first() {
            Some(AllergyCategory::Medication) => "DA",
            Some(AllergyCategory::Food) => "FA",
            Some(AllergyCategory::Environment) => "EA",
            Some(AllergyCategory::Biologic) => "AA",
            None => "",
        };
        al1.put(2, code.to_owned());
    }
    al1.put(3, of(allergy.code.as_ref(), NO_TABLE, profile));
    al1.put(
        4,
        of(allergy.criticality_original.as_ref(), table("0128"), profile),
    );
    if al1.is_empty(4) {
        let severity = allergy.reactions.iter().find_map(|reaction| reaction.severity);
        let code = match (severity, allergy.criticality) {
            (Some(Severity::Severe), _) | (None, Some(Criticality::High)) => "SV",
            (Some(Severity::Moderate), _) => "MO",
            (Some(Severity::Mild), _) | (None, Some(Criticality::Low)) => "MI",
            (None, Some(Criticality::UnableToAssess)) => "U",
            (None, None) => "",
        };
        al1.put(4, code.to_owned());
    }
    let seen = allergy
        .reactions
        .iter()
        .flat_map(|reaction| &reaction.manifestations);
    for manifestation in seen {
        al1.rep(5, terms::words(manifestation));
    }
    al1.put(6, data::owhen(allergy.onset.as_ref()));
    al1.clear_if(6, said.cleared("onset"));
    al1
}

/// The codes of a concept, and its words: DG1 and PR1 have a field for those (DG1-4, PR1-4).
fn codes_and_words(concept: Option<&Concept>, profile: &Profile) -> [String; 2] {
    let Some(concept) = concept else {
        return [String::new(), String::new()];
    };
    let codes = Concept {
        codings: concept.codings.clone(),
        text: None,
    };
    [of(Some(&codes), NO_TABLE, profile), ot(concept.text.as_ref())]
}

/// Diagnosis → DG1, with what it is for the visit.
pub(super) fn dg1(
    world: &World<'_>,
    id: Uuid,
    condition: &Condition,
    visit: Option<&Encounter>,
    number: usize,
) -> Seg {
    let profile = world.profile;
    let mut dg1 = Seg::numbered("DG1", number);
    let [codes, words] = codes_and_words(condition.code.as_ref(), profile);
    dg1.put(3, codes);
    dg1.put(4, words);
    dg1.put(5, data::owhen(condition.onset.as_ref()));
    let of_visit = visit.and_then(|visit| {
        let mut all = visit.diagnoses.iter();
        all.find(|diagnosis| world.id(&diagnosis.condition) == Some(id))
    });
    let verification = condition.verification.as_ref().and_then(Concept::code);
    if let Some(role) = of_visit.and_then(|diagnosis| diagnosis.role.as_ref()) {
        dg1.put(6, comps(role_code(role, profile)));
    }
    if dg1.is_empty(6) {
        let code = match verification {
            Some("provisional" | "differential" | "unconfirmed") => "W",
            Some("confirmed") => "F",
            Some(_) | None => "",
        };
        dg1.put(6, code.to_owned());
    }
    let rank = of_visit.and_then(|diagnosis| diagnosis.rank);
    dg1.put(15, rank.map(|rank| rank.to_string()).unwrap_or_default());
    dg1.comps(16, data::xcn_of(world, condition.asserter.as_ref()));
    let attested = condition.asserted_at.as_ref().or(condition.recorded.as_ref());
    dg1.put(19, data::owhen(attested));
    dg1.comps(20, number_of(condition.identifiers.first(), profile));
    if verification == Some("entered-in-error") {
        dg1.put(21, "D".to_owned());
    }
    let cause = condition.due_to.as_ref().and_then(|cause| world.condition(cause));
    let cause = cause.and_then(|cause| cause.identifiers.first());
    dg1.comps(22, number_of(cause, profile));
    dg1
}

fn number_of(identifier: Option<&Identifier>, profile: &Profile) -> Vec<String> {
    identifier.map(|id| data::ei(id, profile)).unwrap_or_default()
}

/// What a diagnosis is for the visit → code of table 0052: the sender's own, or the one for FHIR's diagnosis-role.
fn role_code(role: &Concept, profile: &Profile) -> Vec<String> {
    let derived = hl7("diagnosis-role");
    let own: Vec<_> = role
        .codings
        .iter()
        .filter(|coding| coding.system.as_deref() != Some(derived.as_str()))
        .cloned()
        .collect();
    if own.is_empty() {
        let code = match role.code() {
            Some("AD") => "A",
            Some("DD") => "F",
            Some(_) | None => "",
        };
        return vec![code.to_owned()];
    }
    let only_working = own.iter().any(|coding| coding.code.as_deref() == Some("W"));
    let text = role
        .text
        .clone()
        .filter(|text| !(only_working && text == "working"));
    terms::cwe(&Concept { codings: own, text }, table("0052"), profile)
}

/// Procedure → PR1.
fn pr1(world: &World<'_>, procedure: &Procedure, number: usize) -> Seg {
    let profile = world.profile;
    let mut pr1 = Seg::numbered("PR1", number);
    let [codes, words] = codes_and_words(procedure.code.as_ref(), profile);
    pr1.put(3, codes);
    pr1.put(4, words);
    let period = procedure.performed_period.as_ref();
    let start = procedure
        .performed_at
        .as_ref()
        .or(period.and_then(|period| period.start.as_ref()));
    pr1.put(5, data::owhen(start));
    pr1.put(6, of(procedure.category.as_ref(), table("0230"), profile));
    if let Some(minutes) = period
        .and_then(super::timing::seconds)
        .map(|seconds| seconds / 60)
    {
        pr1.put(7, minutes.to_string());
    }
    for performer in &procedure.performers {
        let field = match performer.role.as_ref().and_then(Concept::code) {
            Some("88189002") => 8,
            Some("304292004") => 11,
            Some(_) | None => 12,
        };
        pr1.rep(field, comps(data::xcn_of(world, Some(&performer.actor))));
    }
    pr1.put(
        14,
        procedure.rank.map(|rank| rank.to_string()).unwrap_or_default(),
    );
    pr1.put(15, of(procedure.reasons.first(), NO_TABLE, profile));
    pr1.reps(
        16,
        procedure
            .modifiers
            .iter()
            .map(|one| terms::cwe(one, table("0340"), profile)),
    );
    pr1.comps(19, number_of(procedure.identifiers.first(), profile));
    if procedure.status == Some(EventStatus::EnteredInError) {
        pr1.put(20, "D".to_owned());
    }
    if let Some(place) = &procedure.location {
        pr1.comps(23, data::pl(world, place));
    }
    let whole = procedure
        .part_of
        .as_ref()
        .and_then(|whole| world.procedure(whole));
    pr1.comps(
        25,
        number_of(whole.and_then(|whole| whole.identifiers.first()), profile),
    );
    pr1
}

/// Cover → IN1.
fn in1(world: &World<'_>, said: &Said<'_>, cover: &Coverage, patient: Uuid, number: usize) -> Seg {
    let profile = world.profile;
    let mut in1 = Seg::numbered("IN1", number);
    in1.put(2, of(cover.plan.as_ref(), NO_TABLE, profile));
    if let Some(payor) = cover.payors.first().and_then(|payor| world.clinic(payor)) {
        in1.reps(3, payor.identifiers.iter().map(|id| data::cx(id, profile)));
        in1.text(4, payor.name.as_ref());
        in1.reps(5, payor.addresses.iter().map(data::xad));
        let contact = payor.contacts.first().and_then(|contact| contact.name.as_ref());
        in1.reps(6, contact.map(data::xpn));
        in1.reps(7, payor.telecoms.iter().map(data::xtn));
    }
    in1.text(8, cover.group_number.as_ref());
    in1.clear_if(8, said.cleared("group_number"));
    in1.text(9, cover.group_name.as_ref());
    in1.clear_if(9, said.cleared("group_name"));
    if let Some(holder) = cover
        .policy_holder
        .as_ref()
        .and_then(|holder| world.clinic(holder))
    {
        in1.reps(10, holder.identifiers.first().map(|id| data::cx(id, profile)));
        in1.text(11, holder.name.as_ref());
    }
    in1.put(
        12,
        data::owhen(cover.period.as_ref().and_then(|period| period.start.as_ref())),
    );
    in1.put(
        13,
        data::owhen(cover.period.as_ref().and_then(|period| period.end.as_ref())),
    );
    in1.put(15, of(cover.kind.as_ref(), table("0086"), profile));
    in1.clear_if(15, said.cleared("kind"));
    if let Some(subscriber) = &cover.subscriber {
        people::insured(world, subscriber, Some(patient), &mut in1);
    }
    in1.put(17, relationship(cover.relationship.as_ref(), profile));
    in1.put(22, cover.order.map(|order| order.to_string()).unwrap_or_default());
    in1.text(36, cover.policy_number.as_ref());
    in1.reps(49, cover.subscriber_ids.iter().map(|id| data::cx(id, profile)));
    in1
}

/// What the patient is to the insured person: the sender's own code, or the one of table 0063.
fn relationship(relationship: Option<&Concept>, profile: &Profile) -> String {
    let Some(relationship) = relationship else {
        return String::new();
    };
    let derived = hl7("subscriber-relationship");
    let own = Concept {
        codings: relationship
            .codings
            .iter()
            .filter(|coding| coding.system.as_deref() != Some(derived.as_str()))
            .cloned()
            .collect(),
        text: relationship.text.clone(),
    };
    if !own.is_empty() {
        return of(Some(&own), table("0063"), profile);
    }
    let code = match relationship.code() {
        Some("self") => "SEL",
        Some("spouse") => "SPO",
        Some("child") => "CHD",
        Some("parent") => "PAR",
        Some("common") => "DOM",
        Some(_) => "OTH",
        None => "",
    };
    code.to_owned()
}

/// The numbers and the name of the record that goes → MRG.
pub(super) fn mrg(world: &World<'_>, numbers: &[Identifier], old: &Body) -> Seg {
    let mut mrg = Seg::new("MRG");
    mrg.reps(1, numbers.iter().map(|id| data::cx(id, world.profile)));
    let said_name = match old {
        Body::Patient(say) => say.names.values().first(),
        _ => None,
    };
    mrg.reps(7, said_name.map(data::xpn));
    mrg
}
