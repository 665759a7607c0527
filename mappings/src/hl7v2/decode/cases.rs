//! PID and what stands between it and the orders → the patient, the visit and the rest of the chart.

use clinic::exchange::MapError;
use clinic::value::Ref;
use clinic::{Body, Kind};

use super::collect::{Collected, Seg};
use super::groups::Case;
use super::record::{self, Chart};
use super::visit::{self, Visit};
use super::{notes, observations, parties, people};

/// Whom and which visit orders, results and appointments are about.
#[derive(Clone)]
pub struct Subject {
    /// The patient.
    pub patient: Ref,
    /// The visit.
    pub encounter: Option<Ref>,
}

/// The patient and the visit of a group of orders or results. Without a PID nobody is meant.
pub fn subject<'m>(out: &mut Collected<'m>, case: &Case<'m>) -> Result<Subject, MapError> {
    let Some(pid) = case.pid else {
        return Err(MapError::missing("PID", "the patient (segment PID)"));
    };
    Ok(subject_of(out, pid, case))
}

/// The same where the PID is there.
pub fn subject_of<'m>(out: &mut Collected<'m>, pid: Seg<'m>, case: &Case<'m>) -> Subject {
    let mut subject = Subject {
        patient: people::patient_from_pid(out, pid),
        encounter: None,
    };
    let mut is_about_visit = false;
    let pv2 = case.about.iter().copied().find(|segment| segment.name() == "PV2");
    for segment in &case.about {
        let segment = *segment;
        match segment.name() {
            "PD1" => people::patient_from_pd1(out, segment, &subject.patient),
            "NK1" => people::next_of_kin_from_nk1(out, segment, &subject.patient),
            "PV1" if subject.encounter.is_none() => {
                let visit = Visit {
                    event: "",
                    patient: &subject.patient,
                    pid: Some(pid),
                    pv1: segment,
                    pv2,
                };
                subject.encounter = visit::encounter_from_pv1(out, visit);
            }
            "AL1" => record::allergy_from_al1(out, segment, &subject.patient),
            "IAM" => record::allergy_from_iam(out, segment, &subject.patient),
            "IN1" => record::coverage_from_in1(out, segment, &subject.patient),
            "DG1" => {
                condition(out, segment, &[], &subject);
            }
            "ROL" | "PRT" => match subject.encounter.clone().filter(|_| is_about_visit) {
                Some(encounter) => visit::participant_from_role(out, segment, &encounter),
                None => people::family_doctor_from_role(out, segment, &subject.patient),
            },
            _ => {}
        }
        is_about_visit = match segment.name() {
            "PV1" | "PV2" => true,
            "ROL" | "PRT" => is_about_visit,
            _ => false,
        };
    }
    let chart = (Some(&subject.patient), subject.encounter.as_ref());
    observations::on_chart(out, &case.observations, chart.0, chart.1);
    subject
}

/// DG1 with its NTE → condition.
pub fn condition<'m>(
    out: &mut Collected<'m>,
    dg1: Seg<'m>,
    remarks: &[Seg<'m>],
    subject: &Subject,
) -> Option<Ref> {
    let chart = Chart {
        patient: &subject.patient,
        encounter: subject.encounter.as_ref(),
    };
    let before = out.changes().len();
    record::condition_from_dg1(out, dg1, chart);
    let made = out
        .changes()
        .get(before..)?
        .iter()
        .rfind(|change| change.kind() == Kind::Condition)?;
    let key = Ref::Local(made.key.clone());
    for remark in notes::annotations(out, remarks) {
        if let Some(Body::Condition(say)) = out.change_mut(&key).map(|change| &mut change.say) {
            parties::add(&mut say.notes, Some(remark));
        }
    }
    Some(key)
}
