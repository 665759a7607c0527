//! Imaging: what is to be examined, what the modalities did, and what they made.
//!
//! The imaging part of an [`Order`](crate::diagnostics::Order) has what a worklist tells (PS3.4 K.6) as [`Imaging`], and
//! beside it what the modalities said of it by MPPS (PS3.4 F.7) as a list of [`PerformedStep`]: what is planned and what
//! is done are written by different hands. What the one means for the other is in [`rules`].
//!
//! An [`ImagingInstance`] is an aggregate of its own, so that a study of two thousand images never rewrites a growing
//! list (`docs/adr/0020`).

mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::aggregate;
use crate::patch::Item;
use crate::records::EncounterStatus;
use crate::refs::{no_refs, refs_in};
use crate::scheduling::AppointmentStatus;
use crate::value::{Annotation, Concept, Identifier, Ref, When, codes};

pub use rules::{Moves, Progress, moves, order_status, progress, step_status, step_status_of};
pub(crate) use rules::{
    booked, complete_performed, complete_series, given, is_for, left_out, of_planned_steps, planned,
    with_identifiers,
};

/// The system of DICOM unique identifiers (FHIR R4 ImagingStudy.identifier). Values are bare: `1.2.840…`.
pub const UID_SYSTEM: &str = "urn:dicom:uid";

/// The kind of an accession number (HL7 table 0203).
pub const ACCESSION: &str = "ACSN";

/// The most characters of an accession number, a requested procedure id and a step id (VR SH, PS3.5 6.2).
pub const SHORT: usize = 16;

codes! {
    /// How far a planned step is: the words of (0040,0020) in small letters, and how it ended.
    StepStatus {
        Scheduled = "scheduled", Arrived = "arrived", Ready = "ready", Started = "started",
        Completed = "completed", Discontinued = "discontinued", Cancelled = "cancelled",
    }
}

impl StepStatus {
    /// True where nothing more comes of it.
    pub fn is_over(self) -> bool {
        match self {
            StepStatus::Scheduled | StepStatus::Arrived | StepStatus::Ready | StepStatus::Started => false,
            StepStatus::Completed | StepStatus::Discontinued | StepStatus::Cancelled => true,
        }
    }
}

codes! {
    /// How far a performed step is: the words of (0040,0252) in small letters.
    PerformedStatus { InProgress = "in-progress", Completed = "completed", Discontinued = "discontinued" }
}

/// What an order asks of a modality: one requested procedure and its steps.
///
/// What is said of it is taken field by field and step by step: what a message leaves out stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Imaging {
    /// The accession number (0008,0050), at most 16 characters. Made here where the sender gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accession: Option<String>,
    /// Who gave it (0008,0051).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accession_issuer: Option<String>,
    /// The number of the requested procedure (0040,1001), at most 16 characters. Made here where the sender gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procedure_id: Option<String>,
    /// The UID that the study has or will have (0020,000D). Made once, and never changed by a later message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study_uid: Option<String>,
    /// How the patient comes (0040,1004; HL7 OBR-30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Whom those at the modality have to be careful of: an infection, a violent patient (0038,0500; HL7 OBR-12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub danger: Option<Concept>,
    /// The requested procedure, where it is coded otherwise than the order (0032,1064; HL7 OBR-44).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Concept>,
    /// What is to be done, each at one modality.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ImagingStep>,
}

/// One scheduled procedure step: an entry of a worklist.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImagingStep {
    /// Its number (0040,0009), at most 16 characters. Made here where the sender gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The modality as DICOM codes it (0008,0060): CT, US, DX …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// The AE titles of the stations that may do it (0040,0001).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub station_aes: Vec<String>,
    /// The name of the station (0040,0010).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station_name: Option<String>,
    /// The room (0040,0011).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<When>,
    /// How long it takes, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<u32>,
    /// What is done, in words (0040,0007).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is done, in codes (0040,0008).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Concept>,
    /// Who is to do it (0040,0006).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performer: Option<Ref>,
    /// What the patient gets before it (0040,0012).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub premedication: Option<String>,
    /// The contrast agent (0032,1070).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    /// How far it is; moved by what the modalities say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StepStatus>,
    /// A remark (0040,0400).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a modality says that it does or did: one MPPS instance.
///
/// What is said of one that is known is taken field by field, so that the end need not repeat the beginning.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PerformedStep {
    /// The SOP Instance UID of the MPPS.
    pub uid: String,
    /// The numbers of the planned steps that it is for; none: for every step of the order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PerformedStatus>,
    /// The modality's own number of it (0040,0253).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The AE title of the station that does it (0040,0241).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station_ae: Option<String>,
    /// The name of the station (0040,0242).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub station_name: Option<String>,
    /// The room (0040,0243).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The modality (0008,0060).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<When>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<When>,
    /// What was done, in words (0040,0254).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What was done, in codes (0040,0260).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Concept>,
    /// Why it was broken off (0040,0281).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Concept>,
    /// Which series it made, by their UIDs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<String>,
    /// A remark (0040,0280).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The state of the appointment before this moved it, so that a wrong entry can be taken back. Kept here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appointment_before: Option<AppointmentStatus>,
    /// The state of the visit before this moved it. Kept here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encounter_before: Option<EncounterStatus>,
}

codes! {
    /// How far a study is (FHIR R4 imagingstudy-status).
    ImagingStudyStatus {
        Registered = "registered", Available = "available", Cancelled = "cancelled",
        EnteredInError = "entered-in-error", Unknown = "unknown",
    }
}

/// A row of images of one kind within a study.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Series {
    /// Its UID.
    pub uid: String,
    /// Its number in the study.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The modality as DICOM codes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_site: Option<Concept>,
    /// On which side: L, R, U, B (0020,0060).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub laterality: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<When>,
}

aggregate! {
    /// The images of one examination. Its identifiers: the study UID (system [`UID_SYSTEM`]) and the accession number
    /// (kind [`ACCESSION`]).
    ImagingStudy, ImagingStudyChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// Of which orders. Found here by the study UID, else by the accession number.
        orders: Vec<Ref>,
        /// How far it is: registered until there is a first object, then available.
        status: Option<ImagingStudyStatus>,
        /// Its number at the department (DICOM's Study ID), which is unique nowhere.
        number: Option<String>,
        /// When it began.
        started: Option<When>,
        /// The modalities of its series, as DICOM codes them.
        modalities: Vec<String>,
        /// Its series.
        series: Vec<Series>,
        /// In words.
        description: Option<String>,
        /// Who asked for it.
        referrer: Option<Ref>,
        /// What was done, in codes.
        procedures: Vec<Concept>,
        /// Why.
        reasons: Vec<Concept>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

aggregate! {
    /// One image, report or other object of a study. Its identifier: the SOP Instance UID (system [`UID_SYSTEM`]).
    /// The bytes are those of the message that made it.
    ImagingInstance, ImagingInstanceChange {
        /// Whose.
        patient: Option<Ref>,
        /// Of which study.
        study: Option<Ref>,
        /// Of which series, by its UID.
        series_uid: Option<String>,
        /// What kind of object: the UID of its SOP class.
        sop_class: Option<String>,
        /// Its number in the series.
        number: Option<u32>,
        /// What it is, in words.
        title: Option<String>,
        /// How it is coded: the UID of its transfer syntax.
        transfer_syntax: Option<String>,
        /// How many frames it has.
        frames: Option<u32>,
        /// How high it is, in pixels.
        rows: Option<u32>,
        /// How wide it is, in pixels.
        columns: Option<u32>,
        /// How many bits each value of a pixel takes.
        bits: Option<u32>,
        /// The SHA-256 of the data set as it was received, as 64 hexadecimal digits.
        content: Option<String>,
    }
}

/// A UID as an identifier.
pub fn uid(value: &str) -> Identifier {
    Identifier::new(Some(UID_SYSTEM), value)
}

/// Whether this is a UID: digits and dots, at most 64 characters, no part that is empty or begins with a zero
/// (PS3.5 9.1).
pub fn is_uid(text: &str) -> bool {
    let part = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    text.len() <= 64 && text.split('.').all(part)
}

/// Whether this can be meant as a UID: as [`is_uid`], but a part may begin with a zero, as those of many devices do.
pub fn may_be_uid(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 64 && text.split('.').all(part)
}

/// Whether this is the title of a device: 1 to 16 letters of ASCII, no backslash among them, and not blanks alone (VR AE, PS3.5 6.2).
pub fn is_ae_title(text: &str) -> bool {
    let is_letter = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\\';
    (1..=SHORT).contains(&text.len()) && text.bytes().all(is_letter) && !text.trim().is_empty()
}

/// Whether this is a code of DICOM, as a modality is: 1 to 16 capitals, digits, blanks and `_` (VR CS, PS3.5 6.2).
pub fn is_code(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" _".contains(&byte);
    (1..=SHORT).contains(&text.len()) && text.bytes().all(is_letter)
}

/// An accession number as an identifier.
pub fn accession(value: &str, issuer: Option<&str>) -> Identifier {
    Identifier {
        kind: Some(Concept::coded(
            "http://terminology.hl7.org/CodeSystem/v2-0203",
            ACCESSION,
            None,
        )),
        ..Identifier::new(issuer, value)
    }
}

impl ImagingStudy {
    /// Its UID.
    pub fn uid(&self) -> Option<&str> {
        uid_of(&self.identifiers)
    }

    /// Its accession number.
    pub fn accession(&self) -> Option<&Identifier> {
        self.identifiers
            .iter()
            .find(|id| id.kind_code() == Some(ACCESSION))
    }
}

impl ImagingInstance {
    /// Its UID.
    pub fn uid(&self) -> Option<&str> {
        uid_of(&self.identifiers)
    }
}

fn uid_of(identifiers: &[Identifier]) -> Option<&str> {
    let uid = identifiers
        .iter()
        .find(|id| id.system.as_deref() == Some(UID_SYSTEM));
    uid.map(|id| id.value.as_str())
}

crate::value::private!(Imaging, ImagingStep, PerformedStep, Series);
no_refs!(
    StepStatus,
    PerformedStatus,
    PerformedStep,
    ImagingStudyStatus,
    Series
);
refs_in!(Imaging { steps }, ImagingStep { performer });

impl Item for PerformedStep {
    fn group(&self) -> Option<String> {
        Some(self.uid.clone())
    }
}
impl Item for Series {
    fn group(&self) -> Option<String> {
        Some(self.uid.clone())
    }
}
