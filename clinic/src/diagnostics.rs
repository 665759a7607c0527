//! Diagnostics: orders, specimens, results and what was measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::aggregate;
use crate::imaging::{Imaging, PerformedStep};
use crate::patch::Item;
use crate::records::Performer;
use crate::refs::no_refs;
use crate::value::{
    Annotation, Attachment, Coding, Concept, Identifier, Period, Quantity, Range, Ratio, Ref, Telecom,
    Timing, When, codes,
};

codes! {
    /// How far an order is.
    OrderStatus { Draft = "draft", Active = "active", OnHold = "on-hold", Revoked = "revoked", Completed = "completed", EnteredInError = "entered-in-error", Unknown = "unknown" }
}
codes! {
    /// What kind of request.
    OrderIntent {
        Proposal = "proposal", Plan = "plan", Directive = "directive", Order = "order", OriginalOrder = "original-order",
        ReflexOrder = "reflex-order", FillerOrder = "filler-order", InstanceOrder = "instance-order", Option = "option",
    }
}
codes! {
    /// How urgent.
    Priority { Routine = "routine", Urgent = "urgent", Asap = "asap", Stat = "stat" }
}

aggregate! {
    /// A request for a test, an image, a service.
    Order, OrderChange {
        /// For whom.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// How far it is.
        status: Option<OrderStatus>,
        /// The status or order control as its sender coded it (HL7 ORC-5, ORC-1).
        status_original: Option<Concept>,
        /// What kind of request.
        intent: Option<OrderIntent>,
        /// Laboratory, imaging …: the section that serves it (HL7 OBR-24).
        categories: Vec<Concept>,
        /// How urgent.
        priority: Option<Priority>,
        /// The urgency as its sender coded it.
        priority_original: Option<Concept>,
        /// What.
        code: Option<Concept>,
        /// What more exactly.
        details: Vec<Concept>,
        /// How much of it.
        quantity: Option<Quantity>,
        /// When it is to be done, as a moment.
        occurrence_at: Option<When>,
        /// When it is to be done, from and to.
        occurrence_period: Option<Period>,
        /// When it is to be done, as a pattern.
        occurrence_timing: Option<Timing>,
        /// When it was ordered.
        authored: Option<When>,
        /// When its state last moved (HL7 ORC-9).
        status_changed: Option<When>,
        /// Who ordered it.
        requester: Option<Ref>,
        /// For which organisation.
        requester_organization: Option<Ref>,
        /// Whom to call about it (HL7 OBR-17, ORC-14).
        callback: Vec<Telecom>,
        /// Who is to do it.
        performers: Vec<Ref>,
        /// Where it is to be done, as a code (HL7 ORC-29).
        location_codes: Vec<Concept>,
        /// Why.
        reasons: Vec<Concept>,
        /// Problems that led to it (HL7 DG1 within an order).
        reason_conditions: Vec<Ref>,
        /// Why its state moved (HL7 ORC-16).
        control_reason: Option<Concept>,
        /// What those who do it should know (HL7 OBR-13).
        clinical_info: Vec<Concept>,
        /// Which group of orders it was written in (HL7 ORC-4).
        group: Option<Identifier>,
        /// The orders or results that led to it (HL7 OBR-29, ORC-8).
        based_on: Vec<Ref>,
        /// The orders that led to it, by their numbers only.
        parent_identifiers: Vec<Identifier>,
        /// From which specimens.
        specimens: Vec<Ref>,
        /// Answers to questions asked at ordering, and earlier results that were sent along.
        supporting_info: Vec<Ref>,
        /// Where in the body.
        body_sites: Vec<Concept>,
        /// What the patient should know.
        patient_instruction: Option<String>,
        /// How confidential it is.
        security: Vec<Coding>,
        /// Remarks.
        notes: Vec<Annotation>,
        /// What is asked of a modality, where it is imaging.
        imaging: Option<Imaging>,
        /// What the modalities say that they did.
        performed: Vec<PerformedStep>,
    }
}

impl Order {
    /// True where an appointment has made it, and nobody has placed it so far: it is the filler's view of an order (R4 request-intent,
    /// `filler-order`).
    pub(crate) fn is_only_booked(&self) -> bool {
        self.intent == Some(OrderIntent::FillerOrder) && self.authored.is_none() && self.requester.is_none()
    }
}

codes! {
    /// Whether a specimen can be used.
    SpecimenStatus { Available = "available", Unavailable = "unavailable", Unsatisfactory = "unsatisfactory", EnteredInError = "entered-in-error" }
}

aggregate! {
    /// A sample of a patient.
    Specimen, SpecimenChange {
        /// Whose.
        patient: Option<Ref>,
        /// Number given by the laboratory on receipt.
        accession: Option<Identifier>,
        /// Whether it can be used.
        status: Option<SpecimenStatus>,
        /// Of what.
        kind: Option<Concept>,
        /// When it arrived.
        received: Option<When>,
        /// When it was taken, as a moment.
        collected_at: Option<When>,
        /// When it was taken, from and to.
        collected_period: Option<Period>,
        /// Who took it.
        collector: Option<Ref>,
        /// How much.
        quantity: Option<Quantity>,
        /// How.
        method: Option<Concept>,
        /// From where in the body.
        body_site: Option<Concept>,
        /// Whether the patient had eaten.
        fasting: Option<Concept>,
        /// In what.
        container: Option<Concept>,
        /// With what added.
        additives: Vec<Concept>,
        /// In which state it arrived.
        conditions: Vec<Concept>,
        /// Of which other specimens it is a part.
        parents: Vec<Ref>,
        /// For which orders.
        orders: Vec<Ref>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

codes! {
    /// How far a report is.
    ResultStatus {
        Registered = "registered", Partial = "partial", Preliminary = "preliminary", Final = "final", Amended = "amended", Corrected = "corrected",
        Appended = "appended", Cancelled = "cancelled", EnteredInError = "entered-in-error", Unknown = "unknown",
    }
}

aggregate! {
    /// A report: what came of an order.
    Result, ResultChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// Of which orders.
        orders: Vec<Ref>,
        /// How far it is.
        status: Option<ResultStatus>,
        /// The status as its sender coded it.
        status_original: Option<Concept>,
        /// Which section made it (HL7 OBR-24).
        categories: Vec<Concept>,
        /// Of what.
        code: Option<Concept>,
        /// When it holds, as a moment.
        effective_at: Option<When>,
        /// When it holds, from and to.
        effective_period: Option<Period>,
        /// When it was issued.
        issued: Option<When>,
        /// Who made it.
        performers: Vec<Ref>,
        /// In which role some of them did (HL7 OBR-34 `SPRF`, OBR-35 `TRANS`: v3-ParticipationType).
        performer_roles: Vec<Performer>,
        /// Who vouches for it.
        interpreters: Vec<Ref>,
        /// From which specimens.
        specimens: Vec<Ref>,
        /// What was measured.
        observations: Vec<Ref>,
        /// In words.
        conclusion: Option<String>,
        /// In codes.
        conclusion_codes: Vec<Concept>,
        /// The report as it is shown.
        documents: Vec<Attachment>,
        /// Why the order's state moved (HL7 ORC-16).
        control_reason: Option<Concept>,
        /// How confidential it is.
        security: Vec<Coding>,
        /// Remarks.
        notes: Vec<Annotation>,
    }
}

codes! {
    /// How far a measurement is.
    ObservationStatus {
        Registered = "registered", Preliminary = "preliminary", Final = "final", Amended = "amended", Corrected = "corrected",
        Cancelled = "cancelled", EnteredInError = "entered-in-error", Unknown = "unknown",
    }
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// An amount.
    Quantity(Quantity),
    /// Something in codes or words.
    Concept(Concept),
    /// A text.
    Text(String),
    /// A moment or a day.
    When(When),
    /// A time of day, `HH:MM:SS`.
    Time(String),
    /// From when to when.
    Period(Period),
    /// From how much to how much.
    Range(Range),
    /// One by another.
    Ratio(Ratio),
    /// A file.
    Attachment(Attachment),
    /// A row of numbers, as text parted by spaces.
    Sampled(String),
}

/// What is normal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReferenceRange {
    /// The least.
    pub low: Option<Quantity>,
    /// The most.
    pub high: Option<Quantity>,
    /// In words, as the laboratory prints it.
    pub text: Option<String>,
}

/// One part of a measurement that has several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Component {
    /// Which.
    pub code: Concept,
    /// What was measured.
    pub value: Option<Value>,
}

aggregate! {
    /// One thing that was measured, seen or asked.
    Observation, ObservationChange {
        /// Whose.
        patient: Option<Ref>,
        /// In which visit.
        encounter: Option<Ref>,
        /// For which orders.
        orders: Vec<Ref>,
        /// How far it is.
        status: Option<ObservationStatus>,
        /// The status as its sender coded it (HL7 OBX-11).
        status_original: Option<Concept>,
        /// Laboratory, vital signs …
        categories: Vec<Concept>,
        /// What.
        code: Option<Concept>,
        /// What part it plays among others: a question at ordering … (HL7 OBX-30, table 0937).
        structure_type: Option<Concept>,
        /// Which of several with the same code (HL7 OBX-4).
        sub_id: Option<String>,
        /// What came of it.
        value: Option<Value>,
        /// The value exactly as it was sent, where reading it changed its form (`1,5`, `<5`).
        value_original: Option<String>,
        /// The unit of a value that is a text, as `0-2` or `1+` (HL7 OBX-6): an amount without a number.
        text_unit: Option<Quantity>,
        /// Why there is no value.
        absent_reason: Option<Concept>,
        /// Further values of the same measurement (HL7 OBX-5 repeated).
        components: Vec<Component>,
        /// Low, high, critical … (HL7 OBX-8).
        interpretations: Vec<Concept>,
        /// What is normal.
        reference_ranges: Vec<ReferenceRange>,
        /// What kind of normal that is (HL7 OBX-10).
        norm_kinds: Vec<Concept>,
        /// When it was taken.
        effective_at: Option<When>,
        /// When it was analysed (HL7 OBX-19).
        analysed_at: Option<When>,
        /// When it was issued.
        issued: Option<When>,
        /// Who measured.
        performers: Vec<Ref>,
        /// Who answers for it (HL7 OBX-16).
        responsible: Vec<Ref>,
        /// How.
        method: Option<Concept>,
        /// With which device, by its numbers (HL7 OBX-18).
        devices: Vec<Identifier>,
        /// Where in the body.
        body_site: Option<Concept>,
        /// From which specimen.
        specimen: Option<Ref>,
        /// Files that belong to it.
        attachments: Vec<Attachment>,
        /// Remarks.
        notes: Vec<Annotation>,
        /// Of which other observations it is a part.
        part_of: Vec<Ref>,
        /// How confidential it is.
        security: Vec<Coding>,
    }
}

crate::value::private!(Value);
no_refs!(
    OrderStatus,
    OrderIntent,
    Priority,
    SpecimenStatus,
    ResultStatus,
    ObservationStatus,
    Value,
    ReferenceRange,
    Component
);

impl Item for ReferenceRange {
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}
impl Item for Component {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.code.code().or(self.code.text.as_deref())))
    }
}
