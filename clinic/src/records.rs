//! The medical record: visits, problems, allergies, procedures, documents, prescriptions, cover.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::aggregate;
use crate::patch::Item;
use crate::refs::{no_refs, refs_in};
use crate::value::{
    Annotation, Attachment, Coding, Concept, Identifier, Period, Quantity, Range, Ratio, Ref, Telecom,
    Timing, When, codes,
};

codes! {
    /// How far a visit is.
    EncounterStatus {
        Planned = "planned", Arrived = "arrived", Triaged = "triaged", InProgress = "in-progress", OnLeave = "onleave",
        Finished = "finished", Cancelled = "cancelled", EnteredInError = "entered-in-error", Unknown = "unknown",
    }
}

impl EncounterStatus {
    /// True where the visit is to come, or under way.
    pub(crate) fn goes_on(self) -> bool {
        use EncounterStatus as S;
        match self {
            S::Planned | S::Arrived | S::Triaged | S::InProgress | S::OnLeave => true,
            S::Finished | S::Cancelled | S::EnteredInError | S::Unknown => false,
        }
    }
}

codes! {
    /// How a visit uses a place.
    StayStatus { Planned = "planned", Active = "active", Reserved = "reserved", Completed = "completed" }
}

/// A place that a visit uses, used or will use. Points at the most granular place: the bed, else the room, else the ward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stay {
    /// Where.
    pub place: Ref,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StayStatus>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// True: only for a time, beside the place that they belong to (HL7 PV1-11, PV1-43).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

/// Somebody who takes part in a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncounterParticipant {
    /// Who.
    pub person: Ref,
    /// In which role: v3-ParticipationType ATND, REF, CON, ADM, PART …
    pub role: Concept,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}

/// A diagnosis of a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EncounterDiagnosis {
    /// Which.
    pub condition: Ref,
    /// What it is for the visit: admission, discharge … (HL7 DG1-6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Concept>,
    /// 1 is the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
}

aggregate! {
    /// A visit.
    Encounter, EncounterChange {
        /// Whose.
        patient: Option<Ref>,
        /// How far it is.
        status: Option<EncounterStatus>,
        /// Ambulatory, inpatient, emergency: v3-ActCode AMB, IMP, EMER, PRENC …
        class: Option<Coding>,
        /// The class as its sender coded it.
        class_original: Option<Concept>,
        /// What kind of visit (HL7 PV1-4).
        kinds: Vec<Concept>,
        /// Which service gives it (HL7 PV1-10).
        service_type: Option<Concept>,
        /// How urgent (HL7 PV2-25).
        priority: Option<Concept>,
        /// From when to when it lasted.
        period: Option<Period>,
        /// When it is expected to begin (HL7 PV2-8).
        planned_start: Option<When>,
        /// When it is expected to end (HL7 PV2-9).
        planned_end: Option<When>,
        /// How long it lasted (HL7 PV2-11).
        length: Option<Quantity>,
        /// Why.
        reasons: Vec<Concept>,
        /// What the event says of its own reason (HL7 EVN-4).
        event_reason: Option<Concept>,
        /// In words (HL7 PV2-12).
        description: Option<String>,
        /// Who takes part.
        participants: Vec<EncounterParticipant>,
        /// Where.
        stays: Vec<Stay>,
        /// Diagnoses.
        diagnoses: Vec<EncounterDiagnosis>,
        /// Number given before admission (HL7 PV1-5).
        preadmission: Option<Identifier>,
        /// From where they were admitted.
        admit_source: Option<Concept>,
        /// True where they were here before for the same reason (HL7 PV1-13).
        readmission: Option<Concept>,
        /// What kind of discharge.
        discharge_disposition: Option<Concept>,
        /// Where they were discharged to.
        destination: Option<Ref>,
        /// From where they were admitted, as a place.
        origin: Option<Ref>,
        /// Diets.
        diets: Vec<Concept>,
        /// Courtesies (HL7 PV1-16).
        courtesies: Vec<Concept>,
        /// Arrangements: wheelchair, interpreter … (HL7 PV1-15).
        arrangements: Vec<Concept>,
        /// How they came (HL7 PV2-38).
        mode_of_arrival: Option<Coding>,
        /// Confidentiality of the visit (HL7 PV2-22).
        security: Vec<Coding>,
        /// Whose premises.
        clinic: Option<Ref>,
        /// The appointments that it fulfils.
        appointments: Vec<Ref>,
        /// The accounts that it is billed to (HL7 PID-18).
        accounts: Vec<Identifier>,
        /// The number of the episode that it is a part of (HL7 PV1-54).
        episode: Option<Identifier>,
        /// That episode in words (HL7 PV1-53).
        episode_description: Option<String>,
        /// The visit that it is a part of.
        part_of: Option<Ref>,
    }
}

aggregate! {
    /// A problem or diagnosis.
    Condition, ConditionChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit it was found.
        encounter: Option<Ref>,
        /// Active, resolved …: condition-clinical.
        clinical_status: Option<Concept>,
        /// Provisional, confirmed, entered-in-error …: condition-ver-status.
        verification: Option<Concept>,
        /// Problem-list-item or encounter-diagnosis.
        categories: Vec<Concept>,
        /// How bad.
        severity: Option<Concept>,
        /// Which (ICD-10).
        code: Option<Concept>,
        /// Where in the body.
        body_sites: Vec<Concept>,
        /// Since when.
        onset: Option<When>,
        /// Until when.
        abatement: Option<When>,
        /// When it was recorded.
        recorded: Option<When>,
        /// When it was attested (HL7 DG1-19).
        asserted_at: Option<When>,
        /// Who says so.
        asserter: Option<Ref>,
        /// Caused by which other one (HL7 DG1-22).
        due_to: Option<Ref>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

codes! {
    /// How much harm an allergy can do.
    Criticality { Low = "low", High = "high", UnableToAssess = "unable-to-assess" }
}
codes! {
    /// What kind of thing somebody is allergic to.
    AllergyCategory { Food = "food", Medication = "medication", Environment = "environment", Biologic = "biologic" }
}
codes! {
    /// Whether the immune system is at work.
    AllergyKind { Allergy = "allergy", Intolerance = "intolerance" }
}
codes! {
    /// How bad a reaction was.
    Severity { Mild = "mild", Moderate = "moderate", Severe = "severe" }
}

/// What happened after exposure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reaction {
    /// What was seen.
    pub manifestations: Vec<Concept>,
    /// How bad it was.
    pub severity: Option<Severity>,
    /// When it began.
    pub onset: Option<When>,
    /// To what exactly.
    pub substance: Option<Concept>,
}

aggregate! {
    /// Something that a patient must not get.
    Allergy, AllergyChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit it was found.
        encounter: Option<Ref>,
        /// Active, inactive, resolved: allergyintolerance-clinical.
        clinical_status: Option<Concept>,
        /// Confirmed, refuted, entered-in-error …: allergyintolerance-verification.
        verification: Option<Concept>,
        /// Allergy or intolerance.
        kind: Option<AllergyKind>,
        /// To what kind of thing.
        categories: Vec<AllergyCategory>,
        /// The category as its sender coded it.
        category_original: Option<Concept>,
        /// How much harm it can do.
        criticality: Option<Criticality>,
        /// The criticality as its sender coded it.
        criticality_original: Option<Concept>,
        /// To what.
        code: Option<Concept>,
        /// Since when.
        onset: Option<When>,
        /// When it was recorded.
        recorded: Option<When>,
        /// Who reported it (HL7 IAM-14).
        recorder: Option<Ref>,
        /// Who says so.
        asserter: Option<Ref>,
        /// What happened.
        reactions: Vec<Reaction>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

codes! {
    /// How far something that is done is.
    EventStatus {
        Preparation = "preparation", InProgress = "in-progress", NotDone = "not-done", OnHold = "on-hold", Stopped = "stopped",
        Completed = "completed", EnteredInError = "entered-in-error", Unknown = "unknown",
    }
}

/// Somebody who took part in a procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Performer {
    /// Who.
    pub actor: Ref,
    /// In which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Concept>,
}

aggregate! {
    /// Something that was done to a patient.
    Procedure, ProcedureChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// How far it is.
        status: Option<EventStatus>,
        /// What kind (HL7 PR1-6).
        category: Option<Concept>,
        /// What.
        code: Option<Concept>,
        /// What more exactly (HL7 PR1-16).
        modifiers: Vec<Concept>,
        /// When, as a moment.
        performed_at: Option<When>,
        /// When, from and to.
        performed_period: Option<Period>,
        /// By whom.
        performers: Vec<Performer>,
        /// Where.
        location: Option<Ref>,
        /// Why.
        reasons: Vec<Concept>,
        /// Of which it is a part.
        part_of: Option<Ref>,
        /// Where in the body.
        body_sites: Vec<Concept>,
        /// 1 is the main one (HL7 PR1-14).
        rank: Option<u32>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

codes! {
    /// Whether a cover holds.
    FinancialStatus { Active = "active", Cancelled = "cancelled", Draft = "draft", EnteredInError = "entered-in-error" }
}

aggregate! {
    /// Who pays for a patient: an insurance, a contract.
    Coverage, CoverageChange {
        /// Whose.
        patient: Option<Ref>,
        /// Whether it holds.
        status: Option<FinancialStatus>,
        /// What kind of plan.
        kind: Option<Concept>,
        /// Which plan.
        plan: Option<Concept>,
        /// Who pays.
        payors: Vec<Ref>,
        /// Whose policy it is, where that is a company.
        policy_holder: Option<Ref>,
        /// Whose policy it is, where that is a person.
        subscriber: Option<Ref>,
        /// The number of the insured person (HL7 IN1-49, IN1-10).
        subscriber_ids: Vec<Identifier>,
        /// What the patient is to the subscriber: subscriber-relationship.
        relationship: Option<Concept>,
        /// When it holds.
        period: Option<Period>,
        /// Policy number (HL7 IN1-36).
        policy_number: Option<String>,
        /// Group number (HL7 IN1-8).
        group_number: Option<String>,
        /// Group name (HL7 IN1-9).
        group_name: Option<String>,
        /// 1 pays first (HL7 IN1-22).
        order: Option<u32>,
        /// How the patient is paid for (HL7 PV1-20).
        financial_class: Option<Concept>,
    }
}

codes! {
    /// Whether a document is to be used.
    DocumentStatus { Current = "current", Superseded = "superseded", EnteredInError = "entered-in-error" }
}
codes! {
    /// How far the text of a document is.
    CompositionStatus { Preliminary = "preliminary", Final = "final", Amended = "amended", EnteredInError = "entered-in-error" }
}

aggregate! {
    /// A document on the chart: a letter, a scanned form, a report as PDF.
    Document, DocumentChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// Whether it is to be used.
        status: Option<DocumentStatus>,
        /// How far its text is.
        text_status: Option<CompositionStatus>,
        /// What kind of document.
        kind: Option<Concept>,
        /// When it was made.
        date: Option<When>,
        /// Who wrote it.
        authors: Vec<Ref>,
        /// Who vouches for it.
        authenticator: Option<Ref>,
        /// In words.
        description: Option<String>,
        /// The files.
        contents: Vec<Attachment>,
        /// The orders and results that it belongs to.
        related: Vec<Ref>,
        /// How confidential it is.
        security: Vec<Coding>,
    }
}

codes! {
    /// How far a prescription is.
    MedicationOrderStatus {
        Active = "active", OnHold = "on-hold", Cancelled = "cancelled", Completed = "completed",
        EnteredInError = "entered-in-error", Stopped = "stopped", Draft = "draft", Unknown = "unknown",
    }
}

/// What is in a medicine and how much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Strength {
    /// Of the substance.
    pub numerator: Option<Quantity>,
    /// In how much of the whole.
    pub denominator: Option<Quantity>,
}

/// How to take a medicine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dosage {
    /// In words, as for the patient.
    pub text: Option<String>,
    /// Each time.
    pub dose: Option<Range>,
    /// How often and how long.
    pub timing: Option<Timing>,
    /// By which way.
    pub route: Option<Concept>,
    /// Where in the body.
    pub site: Option<Concept>,
    /// With what.
    pub method: Option<Concept>,
    /// At the most in a period.
    pub max_per_period: Option<Ratio>,
    /// How fast.
    pub rate: Option<Quantity>,
    /// More to say (HL7 RXO-6, -7).
    pub instructions: Vec<Concept>,
}

aggregate! {
    /// A prescription.
    MedicationOrder, MedicationOrderChange {
        /// For whom.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// How far it is.
        status: Option<MedicationOrderStatus>,
        /// What kind of request: order, plan, original-order …
        intent: Option<crate::diagnostics::OrderIntent>,
        /// How urgent.
        priority: Option<crate::diagnostics::Priority>,
        /// Which medicine.
        medication: Option<Concept>,
        /// In which form.
        form: Option<Concept>,
        /// How strong.
        strength: Option<Strength>,
        /// How to take it.
        dosages: Vec<Dosage>,
        /// How much to give out.
        quantity: Option<Quantity>,
        /// How many times more.
        refills: Option<u32>,
        /// Whether another medicine may be given instead.
        substitution: Option<Concept>,
        /// When it was written.
        authored: Option<When>,
        /// Who wrote it.
        requester: Option<Ref>,
        /// The requester's registration for controlled medicines and the like (HL7 RXO-14).
        requester_registrations: Vec<Identifier>,
        /// Whom to call about it.
        callback: Vec<Telecom>,
        /// Which group of orders it was written in.
        group: Option<Identifier>,
        /// Why.
        reasons: Vec<Concept>,
        /// Problems that led to it (HL7 DG1 within an order).
        reason_conditions: Vec<Ref>,
        /// How confidential it is.
        security: Vec<Coding>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

refs_in!(
    Stay { place },
    EncounterParticipant { person },
    EncounterDiagnosis { condition },
    Performer { actor }
);
no_refs!(
    EncounterStatus,
    StayStatus,
    Criticality,
    AllergyCategory,
    AllergyKind,
    Reaction,
    EventStatus,
    FinancialStatus,
    DocumentStatus,
    CompositionStatus,
    MedicationOrderStatus,
    Strength,
    Dosage
);

impl Item for Stay {
    /// One place is used in one way at a time; a place that is active takes the turn of the active one.
    fn group(&self) -> Option<String> {
        match self.status {
            Some(StayStatus::Active) => Some(format!("active|{}", self.temporary)),
            Some(StayStatus::Planned | StayStatus::Reserved | StayStatus::Completed) | None => {
                Some(format!("{:?}|{:?}", self.status, self.place))
            }
        }
    }
}
impl Item for EncounterParticipant {
    /// The whole of a role is said at once: a new attending doctor takes the place of the old one.
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.role.code().or(self.role.text.as_deref())))
    }
}
impl Item for EncounterDiagnosis {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.condition))
    }
}
impl Item for Performer {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.role))
    }
}
impl Item for Reaction {
    fn group(&self) -> Option<String> {
        Some(format!(
            "{:?}",
            self.manifestations
                .iter()
                .map(|m| m.code().or(m.text.as_deref()))
                .collect::<Vec<_>>()
        ))
    }
}
impl Item for AllergyCategory {
    fn group(&self) -> Option<String> {
        None
    }
}
impl Item for Dosage {
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}

impl EncounterChange {
    /// The change with the ends of the period that it leaves unsaid as they are known: a discharge that names only its
    /// own time leaves the admission's. The end is kept only where the visit stays finished; one that goes on has none.
    pub(crate) fn completed(&self, visit: &Encounter) -> std::borrow::Cow<'_, Self> {
        use crate::patch::Patch;
        let Some(known) = &visit.period else {
            return std::borrow::Cow::Borrowed(self);
        };
        let goes_on = self.status.value().is_some_and(|status| status.goes_on());
        let over = [EncounterStatus::Finished, EncounterStatus::Cancelled];
        let was_over = visit.status.is_some_and(|status| over.contains(&status));
        let said = match &self.period {
            Patch::Set(said) => said.clone(),
            Patch::Absent if goes_on && was_over => Period::default(),
            Patch::Absent | Patch::Clear => return std::borrow::Cow::Borrowed(self),
        };
        let status = self.status.value().copied().or(visit.status);
        let known_end = known
            .end
            .clone()
            .filter(|_| status == Some(EncounterStatus::Finished));
        let period = Period {
            start: said.start.clone().or_else(|| known.start.clone()),
            end: said.end.clone().or(known_end),
        };
        if self.period.value() == Some(&period) {
            return std::borrow::Cow::Borrowed(self);
        }
        std::borrow::Cow::Owned(EncounterChange {
            period: match period == Period::default() {
                true => Patch::Clear,
                false => Patch::Set(period),
            },
            ..self.clone()
        })
    }
}
