//! Patient, RelatedPerson and Practitioner (HL7 v2-to-FHIR: PID, PD1, NK1, PV1-16, XCN).

use clinic::Record;
use clinic::people::{Patient, PatientContact, Practitioner, Qualification, RelatedPerson};
use clinic::value::Concept;

use crate::context::Context;
use crate::json::{Json, Object, Value};
use crate::types::{self, STANDARD, concept, concept_of, extension, nested_extension};

pub(crate) fn patient(of: &Patient, record: &Record, ctx: &mut Context<'_>) -> Object {
    let standard = |name: &str, field: &'static str, value: Option<Json>| {
        extension(format_args!("{STANDARD}patient-{name}"), field, value)
    };
    let coded = |name: &str, value: Option<&Concept>| {
        standard(name, "valueCodeableConcept", concept_of(value).json())
    };
    let with_code = |name: &str, value: &Concept| {
        let code = extension("code", "valueCodeableConcept", concept(value));
        nested_extension(format_args!("{STANDARD}patient-{name}"), vec![code])
    };
    let mut extensions = vec![
        standard(
            "mothersMaidenName",
            "valueString",
            of.mothers_maiden_name.as_ref().json(),
        ),
        coded("religion", of.religion.as_ref()),
        standard(
            "birthPlace",
            "valueAddress",
            of.birth_place.as_ref().map(types::address).json(),
        ),
    ];
    extensions.extend(of.citizenships.iter().map(|c| with_code("citizenship", c)));
    extensions.extend(of.nationality.iter().map(|c| with_code("nationality", c)));
    extensions.push(nested_extension(
        format_args!("{STANDARD}patient-animal"),
        vec![
            extension("species", "valueCodeableConcept", concept_of(of.species.as_ref())),
            extension("breed", "valueCodeableConcept", concept_of(of.breed.as_ref())),
        ],
    ));
    // HL7 v2-to-FHIR gives PID-39 the same extension as PID-26.
    extensions.extend(of.tribal_citizenship.iter().map(|c| with_code("citizenship", c)));
    extensions.push(coded("importance", of.importance.as_ref()));
    extensions.push(coded("disability", of.disability.as_ref()));
    extensions.push(standard(
        "congregation",
        "valueString",
        of.place_of_worship.as_ref().json(),
    ));
    extensions.push(living_will(of, ctx));

    let mut out = Object::new()
        .put("resourceType", "Patient")
        .put("extension", extensions)
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("active", of.active)
        .put("name", types::human_names(&of.names))
        .put("telecom", types::contact_points(&of.telecoms));
    types::code_with_original(
        &mut out,
        "gender",
        of.sex.map(|s| s.as_str()),
        of.sex_original.as_ref(),
    );
    let birth_time = of.birth_date.as_ref().and_then(types::instant);
    types::primitive(
        &mut out,
        "birthDate",
        of.birth_date.as_ref().and_then(types::date),
        vec![standard("birthTime", "valueDateTime", birth_time.json())],
    );
    match &of.deceased_at {
        Some(when) => out.set("deceasedDateTime", types::date_time(when)),
        None => out.set("deceasedBoolean", of.deceased),
    }
    out.set("address", types::addresses(&of.addresses));
    out.set("maritalStatus", concept_of(of.marital_status.as_ref()));
    match of.birth_order {
        Some(order) => out.set("multipleBirthInteger", order),
        None => out.set("multipleBirthBoolean", of.multiple_birth),
    }
    let contacts: Vec<Option<Json>> = of.contacts.iter().map(|c| contact(c, ctx)).collect();
    let links: Vec<Option<Json>> = of
        .links
        .iter()
        .map(|link| {
            let other = ctx.reference(&link.other)?;
            Object::new()
                .put("other", other)
                .put("type", link.kind.as_str())
                .json()
        })
        .collect();
    out.put(
        "photo",
        of.photo
            .as_ref()
            .map(types::attachment)
            .into_iter()
            .collect::<Vec<_>>(),
    )
    .put("contact", contacts)
    .put(
        "communication",
        of.languages.iter().map(types::communication).collect::<Vec<_>>(),
    )
    .put("generalPractitioner", ctx.references(&of.general_practitioners))
    .put("link", links)
}

/// PD1-7 is an observation of its own (LOINC 75320-2). Kept with the patient, it is told as contained.
fn living_will(of: &Patient, ctx: &mut Context<'_>) -> Option<Json> {
    let value = concept_of(of.living_will.as_ref()).json()?;
    let subject = if ctx.apart() {
        ctx.reference(&clinic::value::Ref::Id(clinic::Kind::Patient, ctx.owner()))
    } else {
        Object::new().put("reference", "#").json()
    };
    let observation = Object::new()
        .put("resourceType", "Observation")
        .put("status", "final")
        .put("code", types::coded("http://loinc.org", "75320-2"))
        .put("subject", subject)
        .put("valueCodeableConcept", value);
    let reference = ctx.small("living-will", observation);
    extension(
        format_args!("{STANDARD}workflow-supportingInfo"),
        "valueReference",
        reference,
    )
}

/// NK1 as a contact. One of name, telecom, address, organisation has to be there (pat-1): an unknown name where none is.
fn contact(of: &PatientContact, ctx: &Context<'_>) -> Option<Json> {
    let name = of.name.as_ref().map(types::human_name).json();
    let telecoms = types::contact_points(&of.telecoms).json();
    let address = of.address.as_ref().map(types::address).json();
    let organization = ctx.optional(of.organization.as_ref());
    let relationships = types::concepts(&of.relationships).json();
    let period = types::period(of.period.as_ref()).json();
    let reachable = name.is_some() || telecoms.is_some() || address.is_some() || organization.is_some();
    if !reachable && relationships.is_none() && of.sex.is_none() && period.is_none() {
        return None;
    }
    let unknown = (!reachable).then(|| Object::new().put("extension", vec![types::absent()]).into());
    Object::new()
        .put("relationship", relationships)
        .put("name", name.or(unknown))
        .put("telecom", telecoms)
        .put("address", address)
        .put("gender", of.sex.map(|s| s.as_str()))
        .put("organization", organization)
        .put("period", period)
        .json()
}

pub(crate) fn related_person(of: &RelatedPerson, record: &Record, ctx: &Context<'_>) -> Object {
    let mut out = Object::new()
        .put("resourceType", "RelatedPerson")
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("active", of.active)
        .put("patient", ctx.required(of.patient.as_ref()))
        .put("relationship", types::concepts(&of.relationships))
        .put("name", types::human_names(&of.names))
        .put("telecom", types::contact_points(&of.telecoms))
        .put("gender", of.sex.map(|s| s.as_str()));
    birth_date(&mut out, of.birth_date.as_ref());
    out.put("address", types::addresses(&of.addresses))
        .put("period", types::period(of.period.as_ref()))
        .put(
            "communication",
            of.languages.iter().map(types::communication).collect::<Vec<_>>(),
        )
}

/// The day of birth; its time, where it is known, is an extension (as of a Patient).
fn birth_date(out: &mut Object, when: Option<&clinic::value::When>) {
    let time = extension(
        format_args!("{STANDARD}patient-birthTime"),
        "valueDateTime",
        when.and_then(types::instant),
    );
    types::primitive(out, "birthDate", when.and_then(types::date), vec![time]);
}

pub(crate) fn practitioner(of: &Practitioner, record: &Record) -> Object {
    let mut identifiers: Vec<Json> = of.identifiers.iter().filter_map(types::identifier).collect();
    let known = |stamp: &&String| {
        of.identifiers
            .iter()
            .any(|identifier| identifier.value == **stamp)
    };
    let stamp = of.stamp_code.as_ref().filter(|stamp| !known(stamp));
    // The stamp code (*parafă*) is the number by which CNAS and the pharmacies know a doctor.
    identifiers.extend(stamp.and_then(|stamp| {
        let stamp = stamp.json()?;
        Object::new()
            .put("type", Object::new().put("text", "cod parafă"))
            .put("system", "urn:id:cod-parafa")
            .put("value", stamp)
            .json()
    }));
    identifiers.push(types::own_identifier(record.meta.id));
    let specialties = of.specialties.iter().map(|specialty| {
        let code = concept(specialty).json()?;
        Object::new().put("code", code).json()
    });
    let mut out = Object::new()
        .put("resourceType", "Practitioner")
        .put("identifier", identifiers)
        .put("active", of.active)
        .put("name", types::human_names(&of.names))
        .put("telecom", types::contact_points(&of.telecoms))
        .put("address", types::addresses(&of.addresses))
        .put("gender", of.sex.map(|s| s.as_str()));
    birth_date(&mut out, of.birth_date.as_ref());
    let qualifications: Vec<Option<Json>> = of
        .qualifications
        .iter()
        .map(qualification)
        .chain(specialties)
        .collect();
    out.put("qualification", qualifications)
}

fn qualification(of: &Qualification) -> Option<Json> {
    let identifier = of.identifier.as_ref().and_then(types::identifier);
    let period = types::period(of.period.as_ref());
    let code = concept(&of.code).json();
    if code.is_none() && identifier.is_none() && period.is_empty() {
        return None;
    }
    Object::new()
        .put("identifier", identifier.into_iter().collect::<Vec<_>>())
        .put("code", code.unwrap_or_else(types::unknown_concept))
        .put("period", period)
        .json()
}
