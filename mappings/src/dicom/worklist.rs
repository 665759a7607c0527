//! Worklists: what a modality asks, and what it is told (PS3.4 K.6).
//!
//! One answer for each planned step. Every attribute that the standard has a place for here is made of the clinic's
//! records first; what answers the keys is told of it ([`super::matching`]), in a character set that the device can show.
//! What the standard wants a value of has one: a step that names no station is that of the one who asks.

use clinic::ask::{Found, Question, WorklistQuestion};
use clinic::diagnostics::{Observation, Priority, Value};
use clinic::exchange::{MapError, Reason, Stamp};
use clinic::imaging::StepStatus;
use clinic::people::{Patient, Practitioner};
use clinic::records::Criticality;
use clinic::value::{
    Annotation, Coding, Concept, Identifier, IdentifierUse, NameRepresentation, PersonName, When,
};
use clinic::worklist::{Entry, Measure, entries, in_si};
use dicom_core::Tag;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::charset::{Set, Shows};
use super::dataset::DataSet;
use super::matching::{dates, is_partly, matches, told};
use super::message::{Service, command};
use super::part10::{File, packing};
use super::reply::status;
use super::write::{Out, Said};
use super::{Device, Profile, found};

const STEP: Tag = Tag(0x0040, 0x0100);
const STATION: Tag = Tag(0x0040, 0x0001);
const START_DATE: Tag = Tag(0x0040, 0x0002);
const MODALITY: Tag = Tag(0x0008, 0x0060);

/// The most answers to one question. More are not cut: the question is refused.
const MOST: usize = 2_000;

/// What a message asks; none: it is no question. An error says why it can't be answered.
pub fn question(bytes: &[u8], profile: &Profile) -> Option<Result<Question, MapError>> {
    let file = File::read(bytes).ok()?;
    match command(&file).ok()?.service {
        Service::Worklist => {}
        Service::Find
        | Service::Move
        | Service::Get
        | Service::Store
        | Service::MppsCreate
        | Service::MppsSet
        | Service::Commitment
        | Service::CommitmentReport
        | Service::Other => return None,
    }
    let set = match file.data_set(profile.of(&file.meta.calling).fallback) {
        Ok(set) => set,
        Err(error) => return Some(Err(error)),
    };
    Some(Ok(Question::Worklist(coarse(&set))))
}

/// What of the keys narrows the search; the rest is left to the matching of each.
fn coarse(query: &DataSet<'_>) -> WorklistQuestion {
    let single = |tag| {
        let mut values = query.texts(tag);
        let plain = values.len() == 1
            && !values
                .iter()
                .any(|value| value.is_empty() || value.contains(['*', '?']));
        plain.then(|| values.swap_remove(0))
    };
    let step = query.items(STEP).iter().find(|item| !item.elements.is_empty());
    let days = step.and_then(|step| dates(&step.texts(START_DATE)));
    let any_of = |tag| {
        let values = step.map(|step| step.texts(tag)).unwrap_or_default();
        let is_open = |value: &String| value.is_empty() || value.contains(['*', '?']);
        match values.iter().any(is_open) {
            true => vec![],
            false => values,
        }
    };
    let name = query.text(Tag(0x0010, 0x0010)).map(|name| {
        let group = name.split('=').next().unwrap_or_default();
        let family = group.split('^').next().unwrap_or_default();
        let beginning = family.split(['*', '?']).next().unwrap_or_default();
        beginning.to_owned()
    });
    let (from, to) = days.unwrap_or_default();
    WorklistQuestion {
        from,
        to,
        modalities: any_of(MODALITY),
        stations: any_of(STATION),
        patient: single(Tag(0x0010, 0x0020)),
        name: name.filter(|name| !name.is_empty()),
        accession: single(Tag(0x0008, 0x0050)),
        study: single(Tag(0x0020, 0x000D)),
    }
}

/// What is answered to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The answers, one frame each, and a status line at the end. Where something that is asked for is not known here, a
    /// status line `FF01` stands before them: that of each.
    pub frames: Vec<Vec<u8>>,
    /// The patients whom they name.
    pub told: Vec<Uuid>,
}

/// The answers to a question.
pub fn answer(bytes: &[u8], found: Result<&Found, &MapError>, profile: &Profile, stamp: &Stamp) -> Answers {
    let answers = found
        .map_err(Clone::clone)
        .and_then(|found| answers(bytes, found, profile, stamp));
    answers.unwrap_or_else(|error| Answers {
        frames: vec![status(refused(&error), &error.what)],
        told: vec![],
    })
}

pub(super) fn refused(error: &MapError) -> u16 {
    match error.reason {
        // No resources: to be asked again, or for less.
        Reason::Internal | Reason::Locked => 0xA700,
        Reason::RequiredMissing | Reason::UnsupportedType => 0xA900,
        Reason::Sequence
        | Reason::DataType
        | Reason::UnknownCode
        | Reason::UnsupportedEvent
        | Reason::UnsupportedProcessingId
        | Reason::UnsupportedVersion
        | Reason::UnknownKey
        | Reason::Duplicate
        | Reason::Conflict => 0xC001,
    }
}

fn answers(bytes: &[u8], found: &Found, profile: &Profile, stamp: &Stamp) -> Result<Answers, MapError> {
    let file = File::read(bytes)?;
    let device = profile.of(&file.meta.calling);
    let query = file.data_set(device.fallback)?;
    let asker = Asker::new(&query, &file.meta.calling);
    let shows = shows(device, &query);
    let mut frames = vec![];
    let mut told_of: Vec<Uuid> = vec![];
    let mut shape: Option<Out> = None;
    for entry in entries(found) {
        if !asker.may_see(&entry) {
            continue;
        }
        let whole = written(&entry, &asker, profile, stamp);
        if matches(&query, &whole) {
            let mut answer = told(&query, &whole);
            let set = answer.choose(&shows);
            let packing = packing(&file.meta.syntax);
            frames.push(answer.written(packing.coding, set));
            if !told_of.contains(&entry.patient_id) {
                told_of.push(entry.patient_id);
            }
        }
        shape.get_or_insert(whole);
        if MOST < frames.len() {
            let what = format!("more than {MOST} planned steps are meant; ask for a day");
            return Err(MapError::new(Reason::DataType, None, what));
        }
    }
    if shape.is_some_and(|shape| is_partly(&query, &shape)) && !frames.is_empty() {
        frames.insert(0, status(0xFF01, ""));
    }
    frames.push(status(0x0000, ""));
    Ok(Answers {
        frames,
        told: told_of,
    })
}

/// What the device can show: as the channel says, else what it writes itself, else anything.
pub(super) fn shows(device: &Device, query: &DataSet<'_>) -> Shows {
    let own = || query.charset().shows().unwrap_or(Shows::up_to(Set::Utf8));
    device.shows.clone().unwrap_or_else(own)
}

/// Who asks.
struct Asker<'q> {
    /// Its AE title.
    calling: &'q str,
    /// The stations that it asks for.
    stations: Vec<String>,
    /// The modality that it asks for, where it is one.
    modality: Option<String>,
}

impl<'q> Asker<'q> {
    fn new(query: &DataSet<'_>, calling: &'q str) -> Self {
        let step = query.items(STEP).first();
        let plain = |tag| {
            let values = step.map(|step| step.texts(tag)).unwrap_or_default();
            let plain = values.into_iter();
            plain
                .filter(|value: &String| !value.is_empty() && !value.contains(['*', '?']))
                .collect::<Vec<_>>()
        };
        Asker {
            calling,
            stations: plain(STATION),
            modality: plain(MODALITY).into_iter().next(),
        }
    }

    /// What a station works on is seen by that one alone.
    fn may_see(&self, entry: &Entry<'_>) -> bool {
        let is_theirs =
            |station: &&str| *station == self.calling || self.stations.iter().any(|asked| asked == station);
        entry.busy_at.is_empty() || entry.busy_at.iter().any(is_theirs)
    }
}

/// All that a worklist has a place for. Elements that say nothing are there too, so that they come back when asked for.
fn written(entry: &Entry<'_>, asker: &Asker<'_>, profile: &Profile, stamp: &Stamp) -> Out {
    let Entry { order, imaging, .. } = entry;
    let mut out = Out::default();
    about_patient(&mut out, entry, stamp);
    let procedure = imaging.procedure.as_ref().or(order.code.as_ref());
    let about = procedure.map(words).unwrap_or_default();
    let step = step(entry, &about, asker, profile, stamp);
    out.put("ScheduledProcedureStepSequence", Said::Items(vec![step]));
    out.put("RequestedProcedureID", some(imaging.procedure_id.as_deref()));
    let description = match about.is_empty() {
        true => entry.step.description.clone().unwrap_or_else(|| "-".to_owned()),
        false => about,
    };
    out.text("RequestedProcedureDescription", &description);
    out.put("RequestedProcedureCodeSequence", codes(procedure.into_iter()));
    out.put("StudyInstanceUID", some(imaging.study_uid.as_deref()));
    out.put("ReferencedStudySequence", Said::Items(vec![]));
    out.put("RequestedProcedurePriority", some(priority(entry)));
    out.put("PatientTransportArrangements", some(imaging.transport.as_deref()));
    out.put(
        "ReasonForTheRequestedProcedure",
        joined(order.reasons.iter().map(words)),
    );
    out.put("RequestedProcedureComments", joined(order.notes.iter().map(note)));
    out.put("AccessionNumber", some(imaging.accession.as_deref()));
    let issuer = imaging.accession_issuer.as_deref().map(|issuer| {
        let mut item = Out::default();
        item.text("LocalNamespaceEntityID", issuer);
        item
    });
    out.put(
        "IssuerOfAccessionNumberSequence",
        Said::Items(issuer.into_iter().collect()),
    );
    out.put(
        "RequestingPhysician",
        some(entry.requester.and_then(name_of).as_deref()),
    );
    out.put("RequestingService", some(entry.service));
    out.put(
        "ReferringPhysicianName",
        some(entry.referrer.and_then(name_of).as_deref()),
    );
    out.put(
        "PlacerOrderNumberImagingServiceRequest",
        some(numbered(&order.identifiers, "PLAC")),
    );
    out.put(
        "FillerOrderNumberImagingServiceRequest",
        some(numbered(&order.identifiers, "FILL")),
    );
    let visit = entry
        .encounter
        .map(|visit| &visit.identifiers[..])
        .unwrap_or_default();
    let visit = numbered(visit, "VN").or(visit.first().map(|id| id.value.as_str()));
    out.put("AdmissionID", some(visit));
    out.put(
        "CurrentPatientLocation",
        joined(entry.location.iter().map(|name| (*name).to_owned())),
    );
    out.put("ReferencedPatientSequence", Said::Items(vec![]));
    out
}

fn step(entry: &Entry<'_>, about: &str, asker: &Asker<'_>, profile: &Profile, stamp: &Stamp) -> Out {
    let planned = entry.step;
    let mut out = Out::default();
    // No station is named: it is for whoever asks.
    let stations = match planned.station_aes.is_empty() {
        false => planned.station_aes.clone(),
        true if asker.stations.is_empty() => vec![asker.calling.to_owned()],
        true => asker.stations.clone(),
    };
    out.put("ScheduledStationAETitle", Said::Texts(stations));
    let (date, time) = moment(entry.start, &profile.zone)
        .or_else(|| moment(Some(&When::from_timestamp(stamp.now)), &profile.zone))
        .unwrap_or_default();
    out.text("ScheduledProcedureStepStartDate", &date);
    out.text("ScheduledProcedureStepStartTime", &time);
    let modality = planned.modality.clone().or_else(|| asker.modality.clone());
    out.text("Modality", modality.as_deref().unwrap_or("OT"));
    out.put(
        "ScheduledPerformingPhysicianName",
        some(entry.performer.and_then(name_of).as_deref()),
    );
    let description = [planned.description.as_deref().unwrap_or_default(), about, "-"];
    let description = description.into_iter().find(|text| !text.is_empty());
    out.put("ScheduledProcedureStepDescription", some(description));
    let protocols = match planned.protocols.is_empty() {
        true => codes(entry.order.code.iter()),
        false => codes(planned.protocols.iter()),
    };
    out.put("ScheduledProtocolCodeSequence", protocols);
    out.put("ScheduledProcedureStepID", some(planned.id.as_deref()));
    out.put("ScheduledStationName", some(planned.station_name.as_deref()));
    out.put(
        "ScheduledProcedureStepLocation",
        some(planned.location.as_deref()),
    );
    out.put("PreMedication", some(planned.premedication.as_deref()));
    out.put("RequestedContrastAgent", some(planned.contrast.as_deref()));
    out.text(
        "ScheduledProcedureStepStatus",
        match entry.status {
            StepStatus::Scheduled => "SCHEDULED",
            StepStatus::Arrived => "ARRIVED",
            StepStatus::Ready => "READY",
            StepStatus::Started => "STARTED",
            StepStatus::Completed => "COMPLETED",
            StepStatus::Discontinued => "DISCONTINUED",
            StepStatus::Cancelled => "CANCELLED",
        },
    );
    out.put(
        "CommentsOnTheScheduledProcedureStep",
        some(planned.note.as_deref()),
    );
    out
}

fn about_patient(out: &mut Out, entry: &Entry<'_>, stamp: &Stamp) {
    let patient = entry.patient;
    let number = device_number(patient);
    let name = Some(names(&patient.names)).filter(|name| !name.is_empty());
    out.text("PatientName", name.as_deref().unwrap_or("UNKNOWN"));
    let id = entry.patient_id.simple().to_string();
    out.text("PatientID", number.map_or(id.as_str(), |number| &number.value));
    out.put("IssuerOfPatientID", some(number.and_then(issuer)));
    let others = patient
        .identifiers
        .iter()
        .filter(|other| !is_personal(other) && Some(*other) != number);
    let others = others.map(|other| {
        let mut item = Out::default();
        item.text("PatientID", &other.value);
        item.put("IssuerOfPatientID", some(issuer(other)));
        item.text("TypeOfPatientID", "TEXT");
        item
    });
    out.put("OtherPatientIDsSequence", Said::Items(others.collect()));
    out.put("PatientBirthDate", some(found::birth_date(patient).as_deref()));
    out.put("PatientSex", some(patient.sex.and_then(found::sex)));
    let measured = |measure| number_of(entry.last(measure).and_then(in_si));
    out.put("PatientSize", some(measured(Measure::Height).as_deref()));
    out.put("PatientWeight", some(measured(Measure::Weight).as_deref()));
    let danger = entry.imaging.danger.as_ref().map(words);
    out.put(
        "PatientState",
        Said::Texts(danger.into_iter().filter(|text| !text.is_empty()).collect()),
    );
    let dangerous = entry
        .allergies
        .iter()
        .filter(|allergy| allergy.criticality == Some(Criticality::High));
    let alerts = dangerous
        .filter_map(|allergy| allergy.code.as_ref())
        .chain(&entry.order.clinical_info);
    let alerts = alerts.map(words).filter(|text| !text.is_empty());
    out.put("MedicalAlerts", Said::Texts(alerts.collect()));
    let importance = patient.importance.as_ref().map(words);
    out.put(
        "ConfidentialityConstraintOnPatientDataDescription",
        some(importance.as_deref()),
    );
    let allergies = entry
        .allergies
        .iter()
        .filter_map(|allergy| allergy.code.as_ref().map(words));
    out.put(
        "Allergies",
        Said::Texts(allergies.filter(|text| !text.is_empty()).collect()),
    );
    let arrangements = entry
        .encounter
        .map(|visit| &visit.arrangements[..])
        .unwrap_or_default();
    let is_pregnant = arrangements
        .iter()
        .any(|arrangement| arrangement.code() == Some("B6"));
    // HL7 table 0009: B6 is pregnant.
    let pregnancy = match is_pregnant {
        true => Some(3),
        false => entry
            .last(Measure::Pregnancy)
            .and_then(|observation| pregnancy(observation, stamp)),
    };
    out.put(
        "PregnancyStatus",
        pregnancy.map_or(Said::Texts(vec![]), Said::Number),
    );
    let needs = arrangements
        .iter()
        .filter(|arrangement| arrangement.code() != Some("B6"));
    out.put(
        "SpecialNeeds",
        joined(needs.chain(&patient.disability).map(words)),
    );
}

/// A number as DS: at most 16 characters, to the gram and the millimetre.
fn number_of(number: Option<f64>) -> Option<String> {
    let text = format!("{:.3}", number?);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Pregnancy Status (0010,21C0) by what was last found: 1 not, 2 possibly, 3 definitely. What was found too long ago says
/// nothing of today: that she is not, a week; that she is, as long as it may last.
fn pregnancy(observation: &Observation, stamp: &Stamp) -> Option<u16> {
    let Some(Value::Concept(found)) = &observation.value else {
        return None;
    };
    let codes = found.codings.iter().filter_map(|coding| coding.code.as_deref());
    // LOINC answers of 82810-3, and the findings of SNOMED CT.
    let (status, days) = codes.into_iter().find_map(|code| match code {
        "LA26683-5" | "60001007" => Some((1, 7)),
        "152231000119106" | "102874004" => Some((2, 300)),
        "LA15173-0" | "77386006" => Some((3, 300)),
        _ => None,
    })?;
    let at = observation.effective_at.as_ref()?.earliest(&TimeZone::UTC)?;
    (stamp.now.duration_since(at) <= SignedDuration::from_hours(24 * days)).then_some(status)
}

/// The number by which devices know a patient: the clinic's own, and never the personal number of the state.
pub(super) fn device_number(patient: &Patient) -> Option<&Identifier> {
    // One that does not hold any more (after an A47, a merge) only where there is no other.
    let is_old = |number: &&Identifier| number.usage == Some(IdentifierUse::Old);
    let all = || patient.identifiers.iter().filter(|number| !is_personal(number));
    let holds = || all().filter(|number| !is_old(number));
    let of_kind = |kind: &str| holds().find(|number| number.kind_code() == Some(kind));
    let of_any = || holds().next().or_else(|| all().next());
    of_kind("MR").or_else(|| of_kind("PI")).or_else(of_any)
}

fn is_personal(number: &Identifier) -> bool {
    let by_kind = matches!(
        number.kind_code(),
        Some("NI" | "NNROU" | "SS" | "SB" | "PPN" | "DL" | "NH")
    );
    by_kind || clinic::cnp::is_national(number) || clinic::cnp::Cnp::problem(&number.value).is_none()
}

/// Whose number it is; addresses of systems say nothing on a device.
pub(super) fn issuer(number: &Identifier) -> Option<&str> {
    let named = number.assigner.as_deref().or(number.system.as_deref())?;
    (!named.contains([':', '/'])).then_some(named)
}

fn numbered<'a>(identifiers: &'a [Identifier], kind: &str) -> Option<&'a str> {
    let number = identifiers
        .iter()
        .find(|number| number.kind_code() == Some(kind))?;
    Some(&number.value)
}

fn name_of(practitioner: &Practitioner) -> Option<String> {
    Some(names(&practitioner.names)).filter(|name| !name.is_empty())
}

/// Somebody's first name as PN, in each of the ways that it is written in: alphabetic, ideographic, phonetic.
pub fn names(all: &[PersonName]) -> String {
    let in_letters = |letters: NameRepresentation| {
        let mut names = all.iter();
        let found =
            names.find(|name| name.representation.unwrap_or(NameRepresentation::Alphabetic) == letters);
        found.map(name).unwrap_or_default()
    };
    let groups = [
        NameRepresentation::Alphabetic,
        NameRepresentation::Ideographic,
        NameRepresentation::Phonetic,
    ];
    groups.map(in_letters).join("=").trim_end_matches('=').to_owned()
}

/// A name as PN (PS3.5 §6.2.1): family, given, middle, prefix, suffix.
pub fn name(name: &PersonName) -> String {
    let part = |text: &str| {
        let clean = text.replace(['^', '=', '\\'], " ");
        clean.trim().to_owned()
    };
    let family = name
        .family
        .as_deref()
        .or(name.text.as_deref().filter(|_| name.given.is_empty()));
    let given = name.given.split_first();
    let parts = [
        part(family.unwrap_or_default()),
        part(given.map_or("", |(first, _)| first)),
        part(&given.map(|(_, more)| more.join(" ")).unwrap_or_default()),
        part(&name.prefix.join(" ")),
        part(&name.suffix.join(" ")),
    ];
    parts.join("^").trim_end_matches('^').to_owned()
}

/// The local date and time of a moment; of a day its beginning.
fn moment(when: Option<&When>, zone: &TimeZone) -> Option<(String, String)> {
    let local = zone.to_datetime(when?.earliest(zone)?);
    let date = local.strftime("%Y%m%d").to_string();
    Some((date, local.strftime("%H%M%S").to_string()))
}

fn priority(entry: &Entry<'_>) -> Option<&'static str> {
    let coded = entry.order.priority_original.as_ref().and_then(Concept::code);
    let by_code = match coded {
        Some("S") => Some("STAT"),
        Some("A") => Some("HIGH"),
        Some("R") => Some("ROUTINE"),
        Some("T" | "P" | "C") => Some("MEDIUM"),
        Some(_) | None => None,
    };
    by_code.or_else(|| {
        entry.order.priority.map(|priority| match priority {
            Priority::Stat => "STAT",
            Priority::Asap | Priority::Urgent => "HIGH",
            Priority::Routine => "ROUTINE",
        })
    })
}

/// What a concept says in words.
fn words(concept: &Concept) -> String {
    let display = concept
        .codings
        .iter()
        .find_map(|coding| coding.display.as_deref());
    let text = concept.text.as_deref().or(display).or(concept.code());
    text.unwrap_or_default().trim().to_owned()
}

fn note(note: &Annotation) -> String {
    note.text.trim().to_owned()
}

fn some(text: Option<&str>) -> Said {
    Said::Texts(
        text.into_iter()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn joined(texts: impl Iterator<Item = String>) -> Said {
    let all: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    some(Some(&all.join(", ")))
}

/// Codes as items of a code sequence (PS3.3 table 8.8-1): each with code, scheme and meaning.
pub(super) fn codes<'a>(concepts: impl Iterator<Item = &'a Concept>) -> Said {
    let mut items = vec![];
    for concept in concepts {
        for coding in &concept.codings {
            items.extend(code(coding, concept));
        }
    }
    Said::Items(items)
}

fn code(coding: &Coding, of: &Concept) -> Option<Out> {
    let code = coding.code.as_deref().filter(|code| !code.is_empty())?;
    let mut item = Out::default();
    // 16 characters are all that a code value has.
    match code.chars().count() <= 16 {
        true => item.text("CodeValue", code),
        false => item.text("LongCodeValue", code),
    }
    item.text("CodingSchemeDesignator", &scheme(coding.system.as_deref()));
    if let Some(version) = &coding.version {
        item.text("CodingSchemeVersion", version);
    }
    let meaning = coding
        .display
        .as_deref()
        .or(of.text.as_deref())
        .filter(|text| !text.is_empty());
    item.text("CodeMeaning", meaning.unwrap_or(code));
    Some(item)
}

/// The designator of a coding scheme (PS3.16 table 8-1); one of the clinic's own begins with 99.
fn scheme(system: Option<&str>) -> String {
    match system {
        Some("http://loinc.org" | "LN") => "LN".to_owned(),
        Some("http://snomed.info/sct" | "SCT" | "SNM3") => "SCT".to_owned(),
        Some("http://dicom.nema.org/resources/ontology/DCM" | "DCM") => "DCM".to_owned(),
        Some("http://hl7.org/fhir/sid/icd-10" | "I10") => "I10".to_owned(),
        Some(short) if !short.contains([':', '/']) && (1..=16).contains(&short.chars().count()) => {
            match short {
                "L" => "99LOCAL".to_owned(),
                short => short.to_owned(),
            }
        }
        Some(_) | None => "99LOCAL".to_owned(),
    }
}
