//! MessageHeader and Provenance: what a message says of itself (HL7 v2-to-FHIR: MSH, EVN, ORC[Provenance]).

use clinic::change_set::{About, Act, Party};
use clinic::exchange::Stamp;
use clinic::value::{Concept, Identifier, Ref};
use clinic::{Aggregate, ChangeSet, Kind};
use uuid::Uuid;

use crate::bundle::Set;
use crate::json::{Json, Object, Value};
use crate::types::{self, concept, concept_of, date_time_of};

const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const V2_0003: &str = "http://terminology.hl7.org/CodeSystem/v2-0003";

/// What was sent by and to whom, as references: entries of the bundle where it has some.
pub(crate) struct Parties {
    pub(crate) sender: Option<Json>,
    pub(crate) receiver: Option<Json>,
    /// Organisations that only the header names, to be put into the bundle.
    pub(crate) organizations: Vec<(Uuid, Json)>,
}

impl Parties {
    /// `as_entries`: an organisation that isn't in the set becomes an entry; else it is named by its number.
    pub(crate) fn new(about: &About, set: &Set<'_>, as_entries: bool) -> Self {
        let mut organizations = vec![];
        let mut reference = |party: &Party| {
            if let Some(responsible) = party.responsible.as_ref().and_then(|to| set.reference(to)) {
                return Some(responsible);
            }
            let facility = party.facility.as_ref().filter(|f| !f.value.trim().is_empty())?;
            if let Some(id) = known_organization(set, facility) {
                return Object::new().put("reference", format!("urn:uuid:{id}")).json();
            }
            if !as_entries {
                return named("Organization", facility);
            }
            let (id, organization) = organization(facility, party.country.as_ref());
            if !organizations.iter().any(|(other, _)| *other == id) {
                organizations.push((id, organization));
            }
            Object::new().put("reference", format!("urn:uuid:{id}")).json()
        };
        Parties {
            sender: reference(&about.sender),
            receiver: reference(&about.receiver),
            organizations,
        }
    }
}

/// An organisation of the set that has this number.
fn known_organization(set: &Set<'_>, facility: &Identifier) -> Option<Uuid> {
    set.records
        .iter()
        .find(|record| {
            let Aggregate::Clinic(clinic) = &record.aggregate else {
                return false;
            };
            clinic
                .identifiers
                .iter()
                .any(|i| i.value == facility.value && i.system == facility.system)
        })
        .map(|record| record.meta.id)
}

/// HD → Organization: the name it goes by, and its universal id where it has one.
fn organization(facility: &Identifier, country: Option<&String>) -> (Uuid, Json) {
    let id = types::derived_id(
        Uuid::nil(),
        &format!(
            "organization|{}|{}",
            facility.system.as_deref().unwrap_or_default(),
            facility.value
        ),
    );
    let organization = Object::new()
        .put("resourceType", "Organization")
        .put("id", id.to_string())
        .put(
            "identifier",
            vec![
                types::identifier(facility),
                universal(facility),
                Some(types::own_identifier(id)),
            ],
        )
        .put("name", facility.assigner.as_ref().unwrap_or(&facility.value))
        .put("address", vec![Object::new().put("country", country)]);
    (id, organization.into())
}

/// The universal id of an HD as an identifier of its own.
fn universal(of: &Identifier) -> Option<Json> {
    let uri = types::system(of.system.as_ref())
        .filter(|uri| uri.starts_with("urn:oid:") || uri.starts_with("urn:uuid:"))?;
    let kind = if uri.starts_with("urn:oid:") {
        "ISO"
    } else {
        "UUID"
    };
    Object::new()
        .put(
            "type",
            types::coded("http://terminology.hl7.org/CodeSystem/v2-0301", kind),
        )
        .put("system", "urn:ietf:rfc:3986")
        .put("value", uri)
        .json()
}

/// A reference by number and name.
fn named(resource_type: &'static str, identifier: &Identifier) -> Option<Json> {
    let number = types::identifier(identifier)?;
    Object::new()
        .put("type", resource_type)
        .put("identifier", number)
        .put(
            "display",
            identifier.assigner.as_ref().unwrap_or(&identifier.value),
        )
        .json()
}

/// MSH → MessageHeader.
pub(crate) fn message_header(changes: &ChangeSet, set: &Set<'_>, parties: &Parties, stamp: &Stamp) -> Json {
    let about = &changes.about;
    let tag = |code: Option<&str>, system: &'static str| {
        let code = code.and_then(types::code)?;
        Object::new().put("system", system).put("code", code).json()
    };
    let security: Vec<Object> = about
        .security
        .iter()
        .flat_map(|concept| match concept.codings.is_empty() {
            true => vec![
                Object::new()
                    .put("code", concept.text.as_deref().and_then(types::code))
                    .put("display", concept.text.as_ref()),
            ],
            false => types::codings(&concept.codings),
        })
        .collect();
    let meta = Object::new().put("security", security).put(
        "tag",
        vec![
            tag(
                about.processing.as_deref(),
                "http://terminology.hl7.org/CodeSystem/v2-0103",
            ),
            tag(
                about.processing_mode.as_deref(),
                "http://terminology.hl7.org/CodeSystem/v2-0207",
            ),
        ],
    );
    let language = about
        .language
        .as_ref()
        .and_then(|language| language.code().or(language.text.as_deref()))
        .and_then(types::code);
    let (profile, more_profiles) = match about.profiles.split_first() {
        Some((first, rest)) => (Some(first), rest),
        None => (None, &[][..]),
    };
    let more_profiles = more_profiles.iter().map(|profile| {
        types::extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-MessageHeader.definition",
            "valueCanonical",
            types::system_uri(profile),
        )
    });
    let operator = about
        .operators
        .first()
        .and_then(|operator| set.reference(operator));
    Object::new()
        .put("resourceType", "MessageHeader")
        .put("id", stamp.id.to_string())
        .put("meta", meta)
        .put("language", language)
        .put("extension", more_profiles.collect::<Vec<_>>())
        .put("eventCoding", event(about))
        .put("destination", vec![destination(&about.receiver, parties)])
        .put("sender", parties.sender.clone())
        .put("enterer", operator)
        .put("source", source(about))
        .put(
            "responsible",
            about.responsible.as_ref().and_then(|to| set.reference(to)),
        )
        .put("reason", concept_of(about.reason.as_ref()))
        .put("focus", focus(set))
        .put("definition", profile.map(|profile| types::system_uri(profile)))
        .into()
}

/// MSH-9 as a coding of table 0003, with the whole of it as its words.
fn event(about: &About) -> Object {
    let whole = about.message_type.as_deref().unwrap_or_default();
    let told = about.event.as_ref().and_then(|event| event.codings.first());
    let code = told
        .and_then(|coding| coding.code.as_deref())
        .or_else(|| whole.split('^').nth(1))
        .and_then(types::code)
        .unwrap_or_else(|| "unknown".to_owned());
    let system = told
        .and_then(|coding| types::system(coding.system.as_ref()))
        .unwrap_or(V2_0003.into());
    let display = told.and_then(|coding| coding.display.as_deref()).unwrap_or(whole);
    Object::new()
        .put("system", system)
        .put("code", code)
        .put("display", display)
}

/// The endpoint of a party: its address, else the universal id of its program, else unknown.
fn endpoint(out: &mut Object, party: &Party) {
    let universal = party.application.as_ref().and_then(|application| {
        let texts = [application.system.as_deref(), Some(application.value.as_str())];
        let mut uris = texts.into_iter().flatten().map(types::system_uri);
        uris.find(|uri| !uri.starts_with("urn:id:"))
    });
    let address = party
        .endpoint
        .as_deref()
        .filter(|address| !address.trim().is_empty())
        .map(types::system_uri);
    let told = address.or(universal);
    let absent = told.is_none().then(types::absent);
    types::primitive(out, "endpoint", told, vec![absent]);
}

fn source(about: &About) -> Object {
    let said = |field: &str| {
        // What the message says of its program stands in the notes by the place it had there.
        about.notes.iter().find_map(|note| {
            let place = note.place.0.strip_prefix("SFT")?;
            let (_, path) = place.split_once('-')?;
            (path.split(['.', '[']).next() == Some(field)).then_some(&note.value)
        })
    };
    let application = about.sender.application.as_ref();
    let mut out = Object::new()
        .put("name", application.map(|a| &a.value))
        .put(
            "software",
            said("3").map(String::as_str).or_else(|| {
                let system = application?.system.as_deref()?;
                let bare = system
                    .strip_prefix("urn:oid:")
                    .or_else(|| system.strip_prefix("urn:uuid:"));
                Some(bare.unwrap_or(system))
            }),
        )
        .put("version", said("2"));
    endpoint(&mut out, &about.sender);
    out
}

fn destination(receiver: &Party, parties: &Parties) -> Option<Json> {
    if *receiver == Party::default() {
        return None;
    }
    let application = receiver.application.as_ref();
    let mut out = Object::new().put("name", application.map(|a| &a.value)).put(
        "target",
        application.and_then(|application| named("Device", application)),
    );
    endpoint(&mut out, receiver);
    out.put("receiver", parties.receiver.clone()).json()
}

/// What the message is about: the appointment, order or result, the visit, and the patient.
pub(crate) fn focus(set: &Set<'_>) -> Vec<Json> {
    let of = |kind: Kind| {
        set.spoken_of
            .iter()
            .filter(move |(k, _)| *k == kind)
            .filter_map(|(kind, id)| set.reference(&Ref::Id(*kind, *id)))
    };
    let mut out: Vec<Json> = [
        Kind::Appointment,
        Kind::Result,
        Kind::ImagingStudy,
        Kind::Order,
        Kind::MedicationOrder,
        Kind::Document,
        Kind::Encounter,
        Kind::Patient,
    ]
    .into_iter()
    .flat_map(of)
    .collect();
    if out.is_empty() {
        out = set
            .spoken_of
            .iter()
            .filter_map(|(kind, id)| set.reference(&Ref::Id(*kind, *id)))
            .take(1)
            .collect();
    }
    out
}

/// The Provenance resources of a message. `header`: a reference to its MessageHeader where there is one.
pub(crate) fn provenances(
    changes: &ChangeSet,
    set: &Set<'_>,
    parties: &Parties,
    stamp: &Stamp,
    header: Option<Json>,
) -> Vec<(Uuid, Json)> {
    let about = &changes.about;
    let focus = focus(set);
    let targets = match &header {
        Some(header) => vec![header.clone()],
        None => focus,
    };
    let mut out = vec![];
    let mut add = |name: &str, body: Option<Object>| {
        if let Some(body) = body {
            let id = types::derived_id(stamp.id, name);
            let head = Object::new()
                .put("resourceType", "Provenance")
                .put("id", id.to_string());
            out.push((id, head.with(body).into()));
        }
    };
    if !targets.is_empty() {
        add(
            "provenance-source",
            Some(message_source(about, set, parties, stamp, &targets)),
        );
        add(
            "provenance-transformation",
            Some(transformation(about, stamp, &targets)),
        );
        add(
            "provenance-event",
            event_provenance(about, set, parties, stamp, &targets),
        );
    }
    for (idx, act) in about.acts.iter().enumerate() {
        add(
            &format!("provenance-act-{idx}"),
            act_provenance(act, about, set, parties, stamp, header.as_ref()),
        );
    }
    out
}

fn agent(role: Object, who: Json) -> Object {
    Object::new().put("type", role).put("who", who)
}

fn in_role(code: &'static str) -> Object {
    types::coded(PARTICIPANT, code)
}

/// Who must be there and isn't known is the sending organisation, else the sending program, else unknown.
fn sender(about: &About, parties: &Parties) -> Json {
    parties
        .sender
        .clone()
        .or_else(|| about.sender.application.as_ref().and_then(|a| named("Device", a)))
        .unwrap_or_else(crate::context::unknown_reference)
}

/// The message as it was sent, by its number.
fn original(about: &About, role: &'static str) -> Option<Json> {
    let what = message_identifier(about)?;
    Object::new()
        .put("role", role)
        .put("what", Object::new().put("identifier", what))
        .json()
}

/// The number of the message: MSH-10, of its sender.
pub(crate) fn message_identifier(about: &About) -> Option<Json> {
    let value = about.control_id.as_ref()?.json()?;
    let parts = [&about.sender.application, &about.sender.facility];
    let sender: Vec<&str> = parts
        .into_iter()
        .flatten()
        .map(|part| part.value.as_str())
        .collect();
    let system = format!("urn:id:message:{}", types::percent_encoded(&sender.join("|")));
    Object::new().put("system", system).put("value", value).json()
}

fn recorded(when: Option<&clinic::value::When>, stamp: &Stamp) -> String {
    when.and_then(types::instant)
        .unwrap_or_else(|| stamp.now.to_string())
}

/// MSH[Provenance-Source].
fn message_source(
    about: &About,
    set: &Set<'_>,
    parties: &Parties,
    stamp: &Stamp,
    targets: &[Json],
) -> Object {
    let mut agents = vec![agent(in_role("author"), sender(about, parties))];
    if let Some(responsible) = about.responsible.as_ref().and_then(|to| set.reference(to)) {
        agents.push(agent(in_role("author"), responsible));
    }
    let program = about
        .sender
        .application
        .as_ref()
        .and_then(|application| named("Device", application))
        .and_then(|what| Object::new().put("role", "source").put("what", what).json());
    let display = format!("message - {}", whole_type(about));
    Object::new()
        .put("target", targets.to_vec())
        .put("occurredDateTime", date_time_of(about.sent.as_ref()))
        .put("recorded", recorded(about.sent.as_ref(), stamp))
        .put("activity", shown(display))
        .put("agent", agents)
        .put("entity", vec![original(about, "source"), program])
}

/// MSH[Provenance-Transformation].
fn transformation(about: &About, stamp: &Stamp, targets: &[Json]) -> Object {
    Object::new()
        .put("target", targets.to_vec())
        .put("recorded", stamp.now.to_string())
        .put(
            "activity",
            types::coded(
                "http://hl7.org/fhir/uv/v2mappings/CodeSystem/provenance-activity-type-v2-to-fhir",
                "v2-fhir-transformation",
            ),
        )
        .put(
            "agent",
            vec![agent(
                in_role("assembler"),
                Object::new().put("display", "Punte").into(),
            )],
        )
        .put("entity", vec![original(about, "source")])
}

/// An activity in words only.
fn shown(display: String) -> Object {
    Object::new().put("coding", vec![Object::new().put("display", display)])
}

/// EVN[Provenance].
fn event_provenance(
    about: &About,
    set: &Set<'_>,
    parties: &Parties,
    stamp: &Stamp,
    targets: &[Json],
) -> Option<Object> {
    let told = about.recorded.is_some()
        || about.reason.is_some()
        || about.occurred.is_some()
        || about.place.is_some()
        || !about.operators.is_empty();
    if !told {
        return None;
    }
    let mut agents: Vec<Object> = about
        .operators
        .iter()
        .filter_map(|operator| Some(agent(in_role("enterer"), set.reference(operator)?)))
        .collect();
    if agents.is_empty() {
        let responsible = about.responsible.as_ref().and_then(|to| set.reference(to));
        agents.push(agent(
            in_role("enterer"),
            responsible.unwrap_or_else(|| sender(about, parties)),
        ));
    }
    Some(
        Object::new()
            .put("target", targets.to_vec())
            .put("occurredDateTime", date_time_of(about.occurred.as_ref()))
            .put(
                "recorded",
                recorded(about.recorded.as_ref().or(about.sent.as_ref()), stamp),
            )
            .put(
                "location",
                about.place.as_ref().and_then(|place| set.reference(place)),
            )
            .put("reason", vec![about.reason.as_ref().map(reason)])
            .put("activity", shown(format!("event - :{}", short_type(about))))
            .put("agent", agents),
    )
}

/// EVN-4 `U` says that the reason isn't known (HL7 v2-to-FHIR, EVN).
fn reason(of: &Concept) -> Object {
    let unknown = of.code() == Some("U");
    Object::new()
        .put("extension", vec![unknown.then(types::absent)])
        .with(concept(of))
}

/// `ADT^A04^ADT_A01`, or as much of it as the message says.
fn whole_type(about: &About) -> &str {
    let display = about
        .event
        .as_ref()
        .and_then(|event| event.codings.first()?.display.as_deref());
    display.or(about.message_type.as_deref()).unwrap_or("unknown")
}

/// `ADT^A04`: type and event without the structure.
fn short_type(about: &About) -> String {
    let whole = about.message_type.as_deref().unwrap_or("unknown");
    whole.splitn(3, '^').take(2).collect::<Vec<_>>().join("^")
}

/// ORC[Provenance] and PID[Provenance-Patient].
fn act_provenance(
    act: &Act,
    about: &About,
    set: &Set<'_>,
    parties: &Parties,
    stamp: &Stamp,
    header: Option<&Json>,
) -> Option<Object> {
    let mut targets: Vec<Json> = act.target.iter().filter_map(|target| set.entry(target)).collect();
    if targets.is_empty() {
        targets.extend(header.cloned());
    }
    if targets.is_empty() {
        return None;
    }
    let mut agents: Vec<Object> = act
        .agents
        .iter()
        .filter_map(|(who, role)| Some(agent(concept(role), set.reference(who)?)))
        .collect();
    // ORC-17 is the organisation of whoever entered it.
    let enterer = act
        .agents
        .iter()
        .position(|(_, role)| role.code() == Some("enterer"));
    if let (Some(for_whom), Some(agent)) = (
        act.on_behalf_of.as_ref().and_then(|to| set.reference(to)),
        agents.get_mut(enterer.unwrap_or(0)),
    ) {
        agent.set("onBehalfOf", for_whom);
    }
    if agents.is_empty() {
        agents.push(agent(in_role("author"), sender(about, parties)));
    }
    Some(
        Object::new()
            .put("target", targets)
            .put("occurredDateTime", date_time_of(act.recorded.as_ref()))
            .put(
                "recorded",
                recorded(act.recorded.as_ref().or(about.sent.as_ref()), stamp),
            )
            .put(
                "location",
                act.place.as_ref().and_then(|place| set.reference(place)),
            )
            .put("reason", vec![concept_of(act.reason.as_ref())])
            .put("activity", concept_of(act.activity.as_ref()))
            .put("agent", agents),
    )
}
