//! What is planned, as an answer of the worklist tells it (PS3.4 K.6.1).

use mappings::dicom::dataset::DataSet;
use mappings::dicom::names;
use mappings::dicom::write::Out;

use super::text;

/// A code: value, scheme, meaning.
type Code = (String, String, String);

/// One planned step, or what is done without a plan.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Patient's Name.
    pub name: String,
    /// Patient ID.
    pub patient: String,
    /// Patient's Birth Date.
    pub birth: String,
    /// Patient's Sex.
    pub sex: String,
    /// Accession Number.
    pub accession: String,
    /// Study Instance UID.
    pub study: String,
    /// Referring Physician's Name.
    pub referrer: String,
    /// Requested Procedure ID.
    pub procedure_id: String,
    /// Requested Procedure Description.
    pub procedure: String,
    /// Scheduled Procedure Step ID.
    pub id: String,
    /// Scheduled Procedure Step Description.
    pub description: String,
    /// Modality.
    pub modality: String,
    /// Scheduled Procedure Step Start Date, and Time.
    pub start: (String, String),
    /// Scheduled Protocol Code Sequence.
    pub protocol: Vec<Code>,
}

impl Step {
    /// As an answer says.
    pub fn read(set: &DataSet<'_>) -> Step {
        let nothing = Step::default();
        let steps = items(set, "ScheduledProcedureStepSequence");
        let mut step = Step {
            name: at(set, "PatientName"),
            patient: at(set, "PatientID"),
            birth: at(set, "PatientBirthDate"),
            sex: at(set, "PatientSex"),
            accession: at(set, "AccessionNumber"),
            study: at(set, "StudyInstanceUID"),
            referrer: at(set, "ReferringPhysicianName"),
            procedure_id: at(set, "RequestedProcedureID"),
            procedure: at(set, "RequestedProcedureDescription"),
            ..nothing
        };
        if let Some(set) = steps.first() {
            step.id = at(set, "ScheduledProcedureStepID");
            step.description = at(set, "ScheduledProcedureStepDescription");
            step.modality = at(set, "Modality");
            let start = |of| at(set, &format!("ScheduledProcedureStepStart{of}"));
            step.start = (start("Date"), start("Time"));
            let codes = items(set, "ScheduledProtocolCodeSequence").iter();
            step.protocol = codes
                .map(|code| {
                    let [value, scheme, meaning] =
                        ["CodeValue", "CodingSchemeDesignator", "CodeMeaning"].map(|part| at(code, part));
                    (value, scheme, meaning)
                })
                .collect();
        }
        step
    }

    /// For a line on a screen.
    pub fn shown(&self) -> String {
        let (date, time) = &self.start;
        let parts = [
            &self.accession,
            &self.modality,
            date,
            time,
            &self.patient,
            &self.name,
            match self.description.is_empty() {
                true => &self.procedure,
                false => &self.description,
            },
        ];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("  ")
    }

    /// Whose examination it is.
    pub fn put_patient(&self, out: &mut Out) {
        text(out, "PatientName", &self.name);
        text(out, "PatientID", &self.patient);
        text(out, "PatientBirthDate", &self.birth);
        text(out, "PatientSex", &self.sex);
    }

    /// The items of a code sequence for its protocol.
    pub fn codes(&self) -> Vec<Out> {
        let code = |(value, scheme, meaning): &Code| code(value, scheme, meaning);
        self.protocol.iter().map(code).collect()
    }
}

/// An item of a code sequence (PS3.3 8.8).
pub fn code(value: &str, scheme: &str, meaning: &str) -> Out {
    let mut out = Out::default();
    text(&mut out, "CodeValue", value);
    text(&mut out, "CodingSchemeDesignator", scheme);
    text(&mut out, "CodeMeaning", meaning);
    out
}

/// The first value of an element; empty where there is none.
pub fn at(set: &DataSet<'_>, keyword: &str) -> String {
    let value = names::by_keyword(keyword).and_then(|tag| set.text(tag));
    value.unwrap_or_default()
}

/// The items of a sequence.
pub fn items<'s, 'a>(set: &'s DataSet<'a>, keyword: &str) -> &'s [DataSet<'a>] {
    names::by_keyword(keyword)
        .map(|tag| set.items(tag))
        .unwrap_or_default()
}
