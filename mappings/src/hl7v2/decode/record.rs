//! AL1, IAM, DG1, PR1, IN1 → allergies, diagnoses, procedures, covers. HL7 v2.5.1, 3.4.6, 6.5.2, 6.5.4, 6.5.6.

use clinic::change_set::Find;
use clinic::patch::{Items, Patch};
use clinic::people::RelatedPersonChange;
use clinic::places::OrganizationContact;
use clinic::records::{
    AllergyCategory, AllergyChange, AllergyKind, ConditionChange, CoverageChange, Criticality,
    EncounterDiagnosis, EventStatus, FinancialStatus, Performer, ProcedureChange, Reaction, Severity,
};
use clinic::value::{Concept, Identifier, Period, Ref, When};
use clinic::{Body, Change};

use super::collect::{At, Collected, Seg, natural, not_by_number};
use super::datatypes as data;
use super::parties::{self, add};
use super::people;
use super::terms::{self, hl7, table};

/// Whose record it is, and of which visit.
#[derive(Clone, Copy)]
pub struct Chart<'a> {
    /// The patient.
    pub patient: &'a Ref,
    /// The visit.
    pub encounter: Option<&'a Ref>,
}

/// A concept as a key that is the same each time: its first code with its system, else its words.
pub fn concept_key(concept: &Concept) -> String {
    match concept.codings.iter().find(|coding| coding.code.is_some()) {
        Some(coding) => format!(
            "{}|{}",
            coding.system.as_deref().unwrap_or_default(),
            coding.code.as_deref().unwrap_or_default()
        ),
        None => concept.text.as_deref().unwrap_or_default().to_lowercase(),
    }
}

/// AL1 → allergy.
pub fn allergy_from_al1(out: &mut Collected<'_>, al1: Seg<'_>, patient: &Ref) {
    let more = AllergyChange {
        clinical_status: clinical_status("active", "Active"),
        onset: al1.f(6).patch(data::when),
        ..AllergyChange::default()
    };
    allergy(out, al1, patient, more);
}

/// IAM → allergy: the first fields are those of AL1, the further ones say its number, its state and when it was told.
/// HL7 v2.5.1, 3.4.7.
pub fn allergy_from_iam(out: &mut Collected<'_>, iam: Seg<'_>, patient: &Ref) {
    let number = data::entity(iam.f(7).first(), None);
    let mut more = AllergyChange {
        identifiers: Items::merge(number.into_iter().collect()),
        clinical_status: clinical_status("active", "Active"),
        onset: iam.f(11).patch(data::when),
        recorded: iam.f(13).patch(data::when),
        recorder: people::reporter_from_iam(out, iam, patient).into(),
        ..AllergyChange::default()
    };
    let verified = |code: &str, display: &str| {
        Patch::Set(Concept::coded(
            &hl7("allergyintolerance-verification"),
            code,
            Some(display),
        ))
    };
    // Table 0438, and table 0323 for what is deleted.
    let state = iam.f(17).part(1);
    match state.peek().as_deref() {
        Some("C") => more.verification = verified("confirmed", "Confirmed"),
        Some("I") => {
            more.verification = verified("confirmed", "Confirmed");
            more.clinical_status = clinical_status("inactive", "Inactive");
        }
        Some("U" | "P" | "S" | "D") => more.verification = verified("unconfirmed", "Unconfirmed"),
        Some("E") => more.verification = verified("entered-in-error", "Entered in Error"),
        Some(_) | None => {}
    }
    if !more.verification.is_absent() {
        state.take();
    }
    let action = iam.f(6).part(1);
    if action.is("D") {
        action.take();
        more.verification = verified("entered-in-error", "Entered in Error");
    }
    allergy(out, iam, patient, more);
}

fn clinical_status(code: &str, display: &str) -> Patch<Concept> {
    Patch::Set(Concept::coded(
        &hl7("allergyintolerance-clinical"),
        code,
        Some(display),
    ))
}

/// What AL1 and IAM have in common: kind, to what, severity, what happened.
fn allergy(out: &mut Collected<'_>, al1: Seg<'_>, patient: &Ref, more: AllergyChange) {
    let Some(code) = terms::concept(al1.f(3), terms::NO_TABLE) else {
        return;
    };
    let key = format!("allergy|{}", concept_key(&code));
    let kind_code = al1.f(2).part(1).peek();
    let (kind, category) = match kind_code.as_deref() {
        Some("DA") => (Some(AllergyKind::Allergy), Some(AllergyCategory::Medication)),
        Some("FA") => (Some(AllergyKind::Allergy), Some(AllergyCategory::Food)),
        Some("EA" | "PA" | "LA") => (Some(AllergyKind::Allergy), Some(AllergyCategory::Environment)),
        Some("AA") => (Some(AllergyKind::Allergy), Some(AllergyCategory::Biologic)),
        Some("MA") => (Some(AllergyKind::Allergy), None),
        Some(_) | None => (None, None),
    };
    let severity_code = al1.f(4).part(1).peek();
    let (criticality, severity) = match severity_code.as_deref() {
        Some("SV") => (Some(Criticality::High), Some(Severity::Severe)),
        Some("MO") => (None, Some(Severity::Moderate)),
        Some("MI") => (Some(Criticality::Low), Some(Severity::Mild)),
        Some(_) | None => (None, None),
    };
    let seen: Vec<Concept> = al1
        .f(5)
        .reps()
        .iter()
        .filter_map(At::text)
        .map(Concept::words)
        .collect();
    let reaction = (!seen.is_empty() || severity == Some(Severity::Moderate)).then(|| Reaction {
        manifestations: seen,
        severity,
        ..Reaction::default()
    });
    let say = AllergyChange {
        patient: Patch::Set(patient.clone()),
        kind: or_empty(al1.f(2), kind.into()),
        categories: match al1.f(2).is_null() {
            true => Items::Clear,
            false => Items::merge(category.into_iter().collect()),
        },
        category_original: al1.f(2).patch(|at| terms::concept(at, table("0127"))),
        criticality: or_empty(al1.f(4), criticality.into()),
        criticality_original: al1.f(4).patch(|at| terms::concept(at, table("0128"))),
        code: Patch::Set(code),
        // AL1-5 has all of them; a severity alone says nothing of which.
        reactions: match al1.f(5).is_empty() {
            true => Items::merge(reaction.into_iter().collect()),
            false if al1.f(5).empties() => Items::Clear,
            false => Items::replace(reaction.into_iter().collect()),
        },
        ..more
    };
    // Found by what it is, also where it has a number: an AL1 and an IAM of the same thing are one allergy.
    let find = out.numbered(patient, key);
    let find = match say.identifiers.values().is_empty() {
        true => find,
        false => not_by_number(find),
    };
    out.add_found("allergy", find, say);
}

/// What is said of a value that a field has a part of: `""` empties it.
fn or_empty<T>(at: At<'_>, said: Patch<T>) -> Patch<T> {
    match at.is_null() {
        true => Patch::Clear,
        false => said,
    }
}

/// A coding method in a field of its own (DG1-2, PR1-2) names the system of codes that name none.
fn with_method(mut concept: Concept, method: At<'_>) -> Concept {
    let Some(first) = concept
        .codings
        .iter_mut()
        .find(|c| c.code.is_some() && c.system.is_none())
    else {
        return concept;
    };
    first.system = method.text().map(|name| terms::system_uri(&name).into_owned());
    concept
}

/// A code with its words from a field of its own (DG1-4, PR1-4).
fn with_words(concept: Option<Concept>, words: At<'_>) -> Option<Concept> {
    match concept {
        Some(concept) if concept.text.is_some() => Some(concept),
        Some(concept) => Some(Concept {
            text: words.text(),
            ..concept
        }),
        None => words.text().map(Concept::words),
    }
}

/// DG1 → diagnosis, and what it is for the visit.
pub fn condition_from_dg1(out: &mut Collected<'_>, dg1: Seg<'_>, chart: Chart<'_>) {
    let code = terms::concept(dg1.f(3), terms::NO_TABLE).map(|code| with_method(code, dg1.f(2)));
    let Some(code) = with_words(code, dg1.f(4)) else {
        return;
    };
    let identifier = data::entity(dg1.f(20), None);
    let owner = chart.encounter.unwrap_or(chart.patient);
    let kind = dg1.f(6).part(1).peek();
    let find = match identifier {
        Some(_) => Find::default(),
        // What was thought at admission and what is known at discharge are two diagnoses, of one code or not.
        None => {
            let kind = kind.as_deref().unwrap_or_default();
            out.numbered(owner, format!("diagnosis|{kind}|{}", concept_key(&code)))
        }
    };
    let deleted = dg1.f(21).part(1).is("D");
    let verification = match kind.as_deref() {
        _ if deleted => Some(("entered-in-error", "Entered in Error")),
        Some("W") => Some(("provisional", "Provisional")),
        Some("F") => Some(("confirmed", "Confirmed")),
        Some(_) | None => None,
    };
    if deleted {
        dg1.f(21).part(1).take();
    }
    let asserter = parties::practitioner(out, dg1.f(16).first());
    let due_to = stub(out, dg1.f(22), "condition", |identifier| {
        ConditionChange {
            identifiers: Items::Merge(vec![identifier]),
            patient: Patch::Set(chart.patient.clone()),
            ..ConditionChange::default()
        }
        .into()
    });
    let attested = dg1.f(19).patch(data::when);
    let categories = chart.encounter.map(|_| {
        Concept::coded(
            &hl7("condition-category"),
            "encounter-diagnosis",
            Some("Encounter Diagnosis"),
        )
    });
    let say = ConditionChange {
        identifiers: Items::merge(identifier.clone().into_iter().collect()),
        patient: Patch::Set(chart.patient.clone()),
        encounter: chart.encounter.cloned().into(),
        verification: verification
            .map(|(code, display)| Concept::coded(&hl7("condition-ver-status"), code, Some(display)))
            .into(),
        categories: Items::merge(categories.into_iter().collect()),
        code: Patch::Set(code),
        onset: dg1.f(5).patch(data::when),
        recorded: attested.clone(),
        asserted_at: attested,
        asserter: asserter.into(),
        due_to: due_to.into(),
        ..ConditionChange::default()
    };
    let condition = identified(out, "condition", identifier.as_ref(), find, say.into());
    let Some(encounter) = chart.encounter else {
        return;
    };
    let diagnosis = EncounterDiagnosis {
        condition,
        role: diagnosis_role(dg1.f(6)),
        rank: data::positive(dg1.f(15)),
    };
    if let Some(Body::Encounter(say)) = out.change_mut(encounter).map(|change| &mut change.say) {
        add(&mut say.diagnoses, Some(diagnosis));
    }
}

/// DG1-6 → admission, discharge, or in words.
fn diagnosis_role(at: At<'_>) -> Option<Concept> {
    let original = terms::concept(at, table("0052"))?;
    let role = match original.code() {
        Some("A") => Some(("AD", "Admission diagnosis")),
        Some("F") => Some(("DD", "Discharge diagnosis")),
        Some(_) | None => None,
    };
    let text = match (&original.text, original.code()) {
        (Some(text), _) => Some(text.clone()),
        (None, Some("W")) => Some("working".to_owned()),
        (None, _) => None,
    };
    let mut codings = vec![];
    codings.extend(
        role.map(|(code, display)| clinic::value::Coding::new(&hl7("diagnosis-role"), code, Some(display))),
    );
    codings.extend(original.codings);
    Some(Concept { codings, text })
}

/// Something that is only named by its number (EI): what is said of it elsewhere in the message, else a change that
/// says no more than the number.
fn stub(
    out: &mut Collected<'_>,
    at: At<'_>,
    name: &'static str,
    make: impl FnOnce(Identifier) -> Body,
) -> Option<Ref> {
    let identifier = data::entity(at, None)?;
    let signature = format!("{:?}|{}", identifier.system, identifier.value);
    Some(
        out.once(name, &signature, || (Find::default(), make(identifier)))
            .0,
    )
}

/// Adds what is said of something with a number; where it was named before by the number alone, it is said there.
fn identified(
    out: &mut Collected<'_>,
    name: &'static str,
    identifier: Option<&Identifier>,
    find: Find,
    say: Body,
) -> Ref {
    let Some(identifier) = identifier else {
        return out.add_found(name, find, say);
    };
    let signature = format!("{:?}|{}", identifier.system, identifier.value);
    let mut say = Some(say);
    let (key, is_new) = out.once(name, &signature, || {
        (
            find,
            say.take().unwrap_or_else(|| ConditionChange::default().into()),
        )
    });
    if is_new {
        return key;
    }
    let Some(say) = say else { return key };
    match out.change_mut(&key) {
        // Named before by its number alone.
        Some(change) if change.say.fields().len() <= 2 => {
            change.say = say;
            key
        }
        _ => {
            let again = out.key(name);
            out.push(Change::new(again, say))
        }
    }
}

/// PR1 → procedure.
pub fn procedure_from_pr1(out: &mut Collected<'_>, pr1: Seg<'_>, chart: Chart<'_>) {
    let code = terms::concept(pr1.f(3).first(), terms::NO_TABLE).map(|code| with_method(code, pr1.f(2)));
    let Some(code) = with_words(code, pr1.f(4)) else {
        return;
    };
    let identifier = data::entity(pr1.f(19), None);
    let (performed_at, performed_period) = performed(pr1);
    let owner = chart.encounter.unwrap_or(chart.patient);
    let start = performed_at
        .as_ref()
        .or(performed_period.as_ref().and_then(|p| p.start.as_ref()));
    let find = match identifier {
        Some(_) => Find::default(),
        None => {
            let start = start.map_or("", When::as_str);
            out.numbered(owner, format!("procedure|{}|{start}", concept_key(&code)))
        }
    };
    let deleted = pr1.f(20).part(1).is("D");
    if deleted {
        pr1.f(20).part(1).take();
    }
    let part_of = stub(out, pr1.f(25), "procedure", |identifier| {
        ProcedureChange {
            identifiers: Items::Merge(vec![identifier]),
            patient: Patch::Set(chart.patient.clone()),
            status: Patch::Set(EventStatus::Unknown),
            ..ProcedureChange::default()
        }
        .into()
    });
    let say = ProcedureChange {
        identifiers: Items::merge(identifier.clone().into_iter().collect()),
        patient: Patch::Set(chart.patient.clone()),
        encounter: chart.encounter.cloned().into(),
        status: Patch::Set(if deleted {
            EventStatus::EnteredInError
        } else {
            EventStatus::Unknown
        }),
        category: pr1.f(6).patch(|at| terms::concept(at, table("0230"))),
        code: Patch::Set(code),
        modifiers: pr1.f(16).items(|at| terms::concept(at, table("0340"))),
        performed_at: performed_at.into(),
        performed_period: performed_period.into(),
        performers: performers(out, pr1),
        location: pr1.f(23).patch(|at| parties::place(out, at.first())),
        reasons: pr1.f(15).items(|at| terms::concept(at, terms::NO_TABLE)),
        part_of: part_of.into(),
        ..ProcedureChange::default()
    };
    identified(out, "procedure", identifier.as_ref(), find, say.into());
}

/// PR1-5, PR1-7 → when it was done: from and to where a time of day and the minutes are given.
fn performed(pr1: Seg<'_>) -> (Option<When>, Option<Period>) {
    let Some(start) = data::when(pr1.f(5)) else {
        return (None, None);
    };
    let minutes = pr1
        .f(7)
        .part(1)
        .peek()
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|m| (0..=100_000).contains(m));
    let end = minutes
        .filter(|_| start.has_time())
        .and_then(|minutes| end_of(&start, minutes));
    match end {
        Some(end) => {
            pr1.f(7).part(1).take();
            let period = Period {
                start: Some(start),
                end: Some(end),
            };
            (None, Some(period))
        }
        None => (Some(start), None),
    }
}

/// So many minutes later, with the offset that the start is written in.
pub fn end_of(start: &When, minutes: i64) -> Option<When> {
    let moment: jiff::Timestamp = start.as_str().parse().ok()?;
    let end = moment
        .checked_add(jiff::SignedDuration::from_mins(minutes))
        .ok()?;
    let offset = offset_of(start.as_str())?;
    let local = offset.to_datetime(end);
    let sign = if offset.seconds() < 0 { '-' } else { '+' };
    let total = offset.seconds().unsigned_abs() / 60;
    format!(
        "{}{sign}{:02}:{:02}",
        local.strftime("%Y-%m-%dT%H:%M:%S"),
        total / 60,
        total % 60
    )
    .parse()
    .ok()
}

fn offset_of(text: &str) -> Option<jiff::tz::Offset> {
    let clock = text.get(19..)?;
    let at = clock.find(['+', '-', 'Z'])?;
    if clock[at..].starts_with('Z') {
        return Some(jiff::tz::Offset::UTC);
    }
    let sign = if clock[at..].starts_with('-') { -1 } else { 1 };
    let hours: i32 = clock.get(at + 1..at + 3)?.parse().ok()?;
    let minutes: i32 = clock.get(at + 4..at + 6)?.parse().ok()?;
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// PR1-8, -11, -12 → who did it. The two roles are codes of SNOMED CT that the official map names.
fn performers(out: &mut Collected<'_>, pr1: Seg<'_>) -> Items<Performer> {
    let fields = [
        (8, Some(("88189002", "Anesthesiologist"))),
        (11, Some(("304292004", "Surgeon"))),
        (12, None),
    ];
    let mut all: Vec<Performer> = vec![];
    for (field, role) in fields {
        for rep in pr1.f(field).reps() {
            let Some(actor) = parties::practitioner(out, rep) else {
                continue;
            };
            let role =
                role.map(|(code, display)| Concept::coded("http://snomed.info/sct", code, Some(display)));
            let performer = Performer { actor, role };
            if !all.contains(&performer) {
                all.push(performer);
            }
        }
    }
    Items::merge(all)
}

/// IN1 → cover, with who pays and whose policy it is.
pub fn coverage_from_in1(out: &mut Collected<'_>, in1: Seg<'_>, patient: &Ref) {
    let plan = terms::concept(in1.f(2), terms::NO_TABLE);
    let payor = payor(out, in1);
    let number = in1.f(36).part(1).text();
    if plan.is_none() && payor.is_none() && number.is_none() && in1.f(49).is_empty() {
        return;
    }
    let company = in1
        .f(3)
        .part(1)
        .peek()
        .or_else(|| in1.f(4).part(1).peek())
        .unwrap_or_default();
    let key = format!(
        "coverage|{}|{}",
        plan.as_ref().map(concept_key).unwrap_or_default(),
        company.to_lowercase()
    );
    let relationship = in1
        .f(17)
        .patch(|at| terms::concept(at, table("0063")).map(subscriber_relationship));
    let is_self = relationship.value().is_some_and(|r| r.code() == Some("self"));
    let subscriber = if is_self {
        Some(patient.clone())
    } else {
        insured(out, in1, patient)
    };
    let (subscriber_ids, policy_holder) = group_numbers(out, in1);
    let say = CoverageChange {
        patient: Patch::Set(patient.clone()),
        status: Patch::Set(FinancialStatus::Active),
        kind: in1.f(15).patch(|at| terms::concept(at, table("0086"))),
        plan: plan.into(),
        payors: Items::replace(payor.into_iter().collect()),
        policy_holder: policy_holder.into(),
        subscriber: subscriber.into(),
        subscriber_ids,
        relationship,
        period: data::period_of(in1.f(12), in1.f(13)).into(),
        policy_number: number.into(),
        group_number: in1.f(8).patch(|at| at.text()),
        group_name: in1.f(9).patch(|at| at.part(1).text()),
        order: in1.f(22).patch(data::positive),
        ..CoverageChange::default()
    };
    let find = out.numbered(patient, key);
    out.add_found("coverage", find, say);
}

/// IN1-3 to IN1-7 → the insurer.
fn payor(out: &mut Collected<'_>, in1: Seg<'_>) -> Option<Ref> {
    let number = in1.f(3).reps().into_iter().find_map(data::identifier);
    let by_name = parties::organisation(out, in1.f(4).first());
    let payor = match (by_name, number) {
        (Some(payor), number) => {
            if let Some(change) = out.change_mut(&payor)
                && let Body::Clinic(say) = &mut change.say
            {
                if say.identifiers.is_absent() && number.is_some() {
                    change.find = Find::default();
                }
                add(&mut say.identifiers, number);
            }
            payor
        }
        (None, number) => parties::organisation_named(out, number, None)?,
    };
    let contact = OrganizationContact {
        name: data::name(in1.f(6).first()),
        telecoms: vec![],
        ..OrganizationContact::default()
    };
    let addresses: Vec<_> = in1.f(5).reps().into_iter().filter_map(data::address).collect();
    let telecoms: Vec<_> = in1
        .f(7)
        .reps()
        .into_iter()
        .filter_map(|at| data::telecom(at, None))
        .collect();
    if let Some(Body::Clinic(say)) = out.change_mut(&payor).map(|change| &mut change.say) {
        addresses
            .into_iter()
            .for_each(|address| add(&mut say.addresses, Some(address)));
        telecoms
            .into_iter()
            .for_each(|telecom| add(&mut say.telecoms, Some(telecom)));
        let contact = (contact != OrganizationContact::default()).then_some(contact);
        add(&mut say.contacts, contact);
    }
    Some(payor)
}

/// Table 0063 → what the patient is to the insured person, with the code itself behind it.
fn subscriber_relationship(original: Concept) -> Concept {
    let (code, display) = match original.code() {
        Some("SEL" | "18") => ("self", "Self"),
        Some("SPO") => ("spouse", "Spouse"),
        Some("CHD" | "NCH" | "SCH" | "FCH") => ("child", "Child"),
        Some("PAR" | "MTH" | "FTH") => ("parent", "Parent"),
        Some("DOM") => ("common", "Common Law Spouse"),
        Some(_) | None => ("other", "Other"),
    };
    let known = clinic::value::Coding::new(&hl7("subscriber-relationship"), code, Some(display));
    Concept {
        codings: std::iter::once(known).chain(original.codings).collect(),
        text: original.text,
    }
}

/// IN1-16, -18, -19, -43 → the insured person, where that is not the patient.
fn insured(out: &mut Collected<'_>, in1: Seg<'_>, patient: &Ref) -> Option<Ref> {
    let names: Vec<_> = in1.f(16).reps().into_iter().flat_map(data::names).collect();
    let name = names.first()?;
    let key = format!(
        "insured|{}|{}",
        name.family.clone().unwrap_or_default(),
        name.given.join(" ")
    )
    .to_lowercase();
    let say = RelatedPersonChange {
        patient: Patch::Set(patient.clone()),
        names: Items::merge(names),
        birth_date: in1.f(18).patch(data::when),
        addresses: in1.f(19).items(data::address),
        sex: people::sex(in1.f(43)).into(),
        ..RelatedPersonChange::default()
    };
    Some(out.add_found("related-person", natural(Some(patient), key), say))
}

/// IN1-49 and IN1-10 of type SN → numbers of the insured person; other IN1-10 and IN1-11 → the company whose policy
/// it is.
fn group_numbers(out: &mut Collected<'_>, in1: Seg<'_>) -> (Items<Identifier>, Option<Ref>) {
    let mut persons: Vec<Identifier> = in1
        .f(49)
        .reps()
        .into_iter()
        .filter_map(data::identifier)
        .collect();
    let mut company: Option<Identifier> = None;
    for rep in in1.f(10).reps() {
        if rep.part(5).is("SN") {
            persons.extend(data::identifier(rep));
        } else if company.is_none() {
            company = data::identifier(rep);
        }
    }
    let by_name = parties::organisation(out, in1.f(11).first());
    let holder = match by_name {
        Some(holder) => {
            if let Some(Body::Clinic(say)) = out.change_mut(&holder).map(|change| &mut change.say) {
                add(&mut say.identifiers, company);
            }
            Some(holder)
        }
        None => parties::organisation_named(out, company, None),
    };
    (Items::merge(persons), holder)
}
