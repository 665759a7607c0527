//! ADT: registrations, visits, moves, merges. HL7 v2.5.1, chapter 3.
//!
//! Every event is read by its segments in their order, whatever MSH-9.3 says: each PID begins a patient, and what
//! follows it is theirs. Which state a visit moves to is in [`super::visit`], what is merged in [`super::merge`].

use clinic::Body;
use clinic::exchange::{MapError, Place, Reason};
use clinic::patch::{Items, Patch};
use clinic::value::Ref;

use super::collect::{At, Collected, Seg};
use super::groups::Obx;
use super::record::{self, Chart};
use super::visit::{self, Visit};
use super::{merge, observations, parties, people, terms};

/// Reads the segments behind MSH and EVN.
pub fn read<'m>(out: &mut Collected<'m>, event: &str, segments: &[Seg<'m>]) -> Result<(), MapError> {
    let number = event.strip_prefix('A').and_then(|n| n.parse::<u32>().ok());
    if event.len() != 3 || !number.is_some_and(|n| (1..=62).contains(&n)) {
        return Err(MapError::new(
            Reason::UnsupportedEvent,
            Some("MSH-9.2"),
            "no ADT event that is known here (A01 to A62). Correct it at the sender, or filter it out before decoding.",
        ));
    }
    if event == "A20" {
        return bed(out, segments);
    }
    let groups = patients(segments);
    if groups.is_empty() {
        return Err(MapError::missing("PID-3", "the patient (segment PID)"));
    }
    let mut keys: Vec<Ref> = vec![];
    for group in &groups {
        keys.push(patient(out, event, group));
    }
    match (event, keys.as_slice()) {
        ("A24", [one, other]) => merge::link(out, one, other),
        ("A37", [one, other]) => merge::unlink(out, one, other),
        _ => {}
    }
    does_nothing(out, event);
    Ok(())
}

/// Says of an event that deletes, or takes back what is not kept here, that it moved no state.
fn does_nothing(out: &mut Collected<'_>, event: &str) {
    let why = match event {
        "A23" | "A29" => "deletes at the sender; nothing is deleted here, and the states stay",
        "A25" | "A32" | "A33" => {
            "takes back a plan or the record of a way, of which no state is kept here; the visit stays as it is"
        }
        _ => return,
    };
    out.extra(Place("MSH-9.2".to_owned()), event, why);
}

/// The segments from each PID to the next.
pub fn patients<'s, 'm>(segments: &'s [Seg<'m>]) -> Vec<&'s [Seg<'m>]> {
    let starts: Vec<usize> = (0..segments.len())
        .filter(|&at| segments[at].name() == "PID")
        .collect();
    let end = |idx: usize| starts.get(idx + 1).copied().unwrap_or(segments.len());
    starts
        .iter()
        .enumerate()
        .map(|(idx, &start)| &segments[start..end(idx)])
        .collect()
}

/// What ROL and PRT are about: whatever stands before them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Patient,
    Visit,
    Other,
}

/// Whether an event says who a patient is (v2.5.1 3.3): it registers them, admits them, or changes what is known of them or their
/// numbers. All others move, end, merge or add to what is known, and name the patient only for that.
fn registers(event: &str) -> bool {
    matches!(
        event,
        "A01" | "A04" | "A05" | "A06" | "A07" | "A08" | "A14" | "A28" | "A31" | "A46" | "A47" | "A48" | "A49"
    )
}

/// A PID and what follows it.
fn patient<'m>(out: &mut Collected<'m>, event: &str, segments: &[Seg<'m>]) -> Ref {
    let find = |name: &str| segments.iter().copied().find(|segment| segment.name() == name);
    let pid = segments[0];
    let key = people::patient_from_pid(out, pid);
    if !registers(event)
        && let Some(change) = out.change_mut(&key)
    {
        change.find.registers_nobody = true;
    }
    // The first visit is the one that all else belongs to; A45 names further ones, each behind its MRG.
    let mut encounter: Option<Ref> = None;
    let mut seen_visit = false;
    let mut about = About::Patient;
    let mut observed: Vec<Obx<'_>> = vec![];
    let moves = matches!(event, "A42" | "A45" | "A50" | "A51");
    for (at, &segment) in segments.iter().enumerate() {
        let chart = Chart {
            patient: &key,
            encounter: encounter.as_ref(),
        };
        let name = segment.name();
        match name {
            "PD1" => people::patient_from_pd1(out, segment, &key),
            "NK1" if matches!(event, "A05" | "A06" | "A07" | "A14" | "A28" | "A31") => {
                people::anyone_from_nk1(out, segment, &key);
            }
            "NK1" => people::next_of_kin_from_nk1(out, segment, &key),
            "PV1" if !moves && !seen_visit => {
                seen_visit = true;
                encounter = visit::encounter_from_pv1(
                    out,
                    Visit {
                        event,
                        patient: &key,
                        pid: Some(pid),
                        pv1: segment,
                        pv2: find("PV2"),
                    },
                );
            }
            "MRG" => {
                let visit = segments[at..]
                    .iter()
                    .find(|s| s.name() == "PV1")
                    .map(|pv1| Visit {
                        event,
                        patient: &key,
                        pid: Some(pid),
                        pv1: *pv1,
                        pv2: None,
                    });
                merge::merge_from_mrg(out, event, segment, &key, visit);
            }
            "AL1" => record::allergy_from_al1(out, segment, &key),
            "IAM" => record::allergy_from_iam(out, segment, &key),
            "DG1" => record::condition_from_dg1(out, segment, chart),
            "PR1" => record::procedure_from_pr1(out, segment, chart),
            "IN1" => record::coverage_from_in1(out, segment, &key),
            "ROL" | "PRT" => match (about, &encounter) {
                (About::Patient, _) => people::family_doctor_from_role(out, segment, &key),
                (About::Visit, Some(encounter)) => visit::participant_from_role(out, segment, encounter),
                (About::Visit | About::Other, _) => {}
            },
            _ => {}
        }
        if name == "OBX" {
            observed.push(Obx {
                obx: segment,
                lines: vec![],
                notes: notes_behind(&segments[at + 1..]),
                roles: vec![],
            });
        }
        about = match name {
            "PID" | "PD1" | "NK1" => About::Patient,
            "PV1" | "PV2" => About::Visit,
            "ROL" | "PRT" | "ARV" | "OH1" | "OH2" | "OH3" | "OH4" => about,
            _ => About::Other,
        };
    }
    whole_lists(out, segments, &key, encounter.as_ref());
    if let (Some(mrg), Some(encounter)) = (find("MRG"), &encounter) {
        merge::old_account(out, mrg, encounter);
    }
    observations::on_chart(out, &observed, Some(&key), encounter.as_ref());
    key
}

/// NK1 and DG1 where the channel says that they are sent whole: whom they leave out is no contact of the patient any more, and what
/// they leave out no diagnosis of the visit. Segments that say nothing but `""` empty the list. HL7 v2.5.1, 2.10.4.1.
fn whole_lists(out: &mut Collected<'_>, segments: &[Seg<'_>], patient: &Ref, encounter: Option<&Ref>) {
    let is_whole = |name: &str| {
        out.profile().snapshots.contains(name) && segments.iter().any(|segment| segment.name() == name)
    };
    let (of_kin, of_visit) = (is_whole("NK1"), is_whole("DG1"));
    if of_kin && let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &mut change.say) {
        say.contacts = whole(std::mem::take(&mut say.contacts));
    }
    if of_visit
        && let Some(Body::Encounter(say)) = encounter
            .and_then(|of| out.change_mut(of))
            .map(|change| &mut change.say)
    {
        say.diagnoses = whole(std::mem::take(&mut say.diagnoses));
    }
}

fn whole<T>(said: Items<T>) -> Items<T> {
    match said {
        Items::Merge(values) | Items::Replace(values) => Items::Replace(values),
        Items::Absent | Items::Clear => Items::Clear,
    }
}

/// The NTE right behind a segment.
fn notes_behind<'m>(segments: &[Seg<'m>]) -> Vec<Seg<'m>> {
    segments
        .iter()
        .copied()
        .take_while(|segment| segment.name() == "NTE")
        .collect()
}

/// NPU → whether a bed is free (A20, which speaks of no patient). HL7 v2.5.1, 3.4.8.
fn bed(out: &mut Collected<'_>, segments: &[Seg<'_>]) -> Result<(), MapError> {
    let npu = segments.iter().find(|segment| segment.name() == "NPU");
    let Some(npu) = npu else {
        return Err(MapError::missing("NPU-1", "the bed (segment NPU)"));
    };
    let Some(place) = parties::place(out, npu.f(1).first()) else {
        return Err(MapError::missing("NPU-1", "the bed"));
    };
    let status = npu
        .f(2)
        .patch(|at: At<'_>| terms::coding(at, terms::table("0116")));
    if let Some(Body::Room(say)) = out.change_mut(&place).map(|change| &mut change.say)
        && !matches!(status, Patch::Absent)
    {
        say.operational_status = status;
    }
    Ok(())
}
