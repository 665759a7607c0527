//! What a device says of what it does: modality performed procedure step (PS3.4 F.7.2).

use std::str::FromStr;

use mappings::dicom::write::Out;

use super::image::Made;
use super::modality::{Examination, Moment};
use super::step::code;
use super::{items, reference, text};

/// The number of the one step that a device performs.
pub const STEP: &str = "SIM1";

/// How an examination ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As planned.
    Completed,
    /// Broken off.
    Discontinued(Reason),
}

/// Why an examination is broken off (PS3.16 CID 9300).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    code: &'static str,
    meaning: &'static str,
}

/// Word on the command line, code, meaning.
const REASONS: [(&str, &str, &str); 10] = [
    ("doctor", "110500", "Doctor cancelled procedure"),
    ("equipment", "110501", "Equipment failure"),
    ("wrong-procedure", "110502", "Incorrect procedure ordered"),
    ("allergy", "110503", "Patient allergic to media/contrast"),
    ("refused", "110505", "Patient refused to continue procedure"),
    ("not-arrived", "110507", "Patient did not arrive"),
    ("pregnant", "110508", "Patient pregnant"),
    ("wrong-side", "110512", "Incorrect side ordered"),
    ("unspecified", "110513", "Discontinued for unspecified reason"),
    ("wrong-entry", "110514", "Incorrect worklist entry selected"),
];

impl FromStr for Reason {
    type Err = String;

    /// By its word or its code.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut known = REASONS.into_iter();
        let found = known.find(|(word, code, _)| [*word, *code].contains(&text));
        found
            .map(|(_, code, meaning)| Reason { code, meaning })
            .ok_or_else(|| {
                let words = REASONS.map(|(word, ..)| word).join(", ");
                format!("no such reason; write one of {words}, or its code")
            })
    }
}

impl End {
    /// As the status says it.
    pub fn status(self) -> &'static str {
        match self {
            End::Completed => "COMPLETED",
            End::Discontinued(_) => "DISCONTINUED",
        }
    }
}

/// What is said at the beginning (N-CREATE).
pub fn begun(examination: &Examination) -> Out {
    let Examination { step, started, .. } = examination;
    let mut planned = Out::default();
    text(&mut planned, "StudyInstanceUID", &examination.study);
    text(&mut planned, "AccessionNumber", &step.accession);
    text(&mut planned, "RequestedProcedureID", &step.procedure_id);
    text(&mut planned, "RequestedProcedureDescription", &step.procedure);
    text(&mut planned, "ScheduledProcedureStepID", &step.id);
    text(
        &mut planned,
        "ScheduledProcedureStepDescription",
        &step.description,
    );
    items(&mut planned, "ScheduledProtocolCodeSequence", step.codes());
    items(&mut planned, "ReferencedStudySequence", vec![]);
    let mut out = Out::default();
    items(&mut out, "ScheduledStepAttributesSequence", vec![planned]);
    step.put_patient(&mut out);
    items(&mut out, "ReferencedPatientSequence", vec![]);
    text(&mut out, "PerformedProcedureStepID", STEP);
    text(&mut out, "PerformedStationAETitle", &examination.station);
    text(&mut out, "PerformedStationName", &examination.station);
    text(&mut out, "PerformedLocation", "");
    text(&mut out, "PerformedProcedureStepStartDate", &started.date());
    text(&mut out, "PerformedProcedureStepStartTime", &started.time());
    text(&mut out, "PerformedProcedureStepStatus", "IN PROGRESS");
    text(&mut out, "PerformedProcedureStepDescription", &step.description);
    text(&mut out, "PerformedProcedureTypeDescription", "");
    items(&mut out, "ProcedureCodeSequence", vec![]);
    text(&mut out, "PerformedProcedureStepEndDate", "");
    text(&mut out, "PerformedProcedureStepEndTime", "");
    text(&mut out, "Modality", &examination.modality);
    text(&mut out, "StudyID", &step.procedure_id);
    items(&mut out, "PerformedProtocolCodeSequence", step.codes());
    items(&mut out, "PerformedSeriesSequence", vec![]);
    out
}

/// What is said at the end (N-SET).
pub fn ended(examination: &Examination, made: &[Made], end: End, at: &Moment) -> Out {
    let mut out = Out::default();
    text(&mut out, "PerformedProcedureStepStatus", end.status());
    text(&mut out, "PerformedProcedureStepEndDate", &at.date());
    text(&mut out, "PerformedProcedureStepEndTime", &at.time());
    if let End::Discontinued(reason) = end {
        let reason = code(reason.code, "DCM", reason.meaning);
        items(
            &mut out,
            "PerformedProcedureStepDiscontinuationReasonCodeSequence",
            vec![reason],
        );
    }
    let mut series = Out::default();
    text(&mut series, "PerformingPhysicianName", "");
    text(&mut series, "OperatorsName", "");
    text(&mut series, "ProtocolName", "Simulated");
    text(&mut series, "SeriesInstanceUID", &examination.series);
    text(&mut series, "SeriesDescription", "Simulated");
    text(&mut series, "RetrieveAETitle", "");
    let class = examination.kind.class();
    let images = made.iter().map(|made| reference(class, &made.instance));
    items(&mut series, "ReferencedImageSequence", images.collect());
    items(
        &mut series,
        "ReferencedNonImageCompositeSOPInstanceSequence",
        vec![],
    );
    items(&mut out, "PerformedSeriesSequence", vec![series]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_words_and_codes() {
        assert_eq!("wrong-entry".parse::<Reason>(), "110514".parse());
        assert!(
            "tired"
                .parse::<Reason>()
                .is_err_and(|why| why.contains("wrong-entry"))
        );
    }
}
