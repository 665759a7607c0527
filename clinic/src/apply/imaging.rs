//! Imaging: what is said of a part completes what is known of it, what the modalities say moves the order, and a study
//! finds its order.

use std::borrow::Cow;

use uuid::Uuid;

use super::images::{Said, check_number, check_patient, keep_decision, patient_key, said_patient};
use super::resolve::Work;
use super::settle::note_who;
use super::states::plan_again;
use super::{ApplyError, Candidate, Decision, FindKey};
use crate::change_set::Change;
use crate::diagnostics::{Order, OrderChange, OrderStatus};
use crate::exchange::{MapError, Reason};
use crate::held::{ENDS, Writer};
use crate::imaging::{
    self, ACCESSION, ImagingInstance, ImagingInstanceChange, ImagingStep, ImagingStudy, ImagingStudyChange,
    Moves, Progress, SHORT, UID_SYSTEM,
};
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::{Items, Patch};
use crate::search::is_live;
use crate::value::{Identifier, Ref};

/// The place of the refusal to change a performed step that has ended.
pub const PERFORMED_STATUS: &str = "performed.status";

/// What a change says of one aggregate, together with what is known of the parts that it speaks of.
pub(super) fn completed<'b>(
    change: &Change,
    body: Cow<'b, Body>,
    id: Uuid,
    known: &Aggregate,
    writer: Writer<'_>,
) -> Result<Cow<'b, Body>, ApplyError> {
    match (&*body, known) {
        (Body::Order(say), Aggregate::Order(known)) => match order(change, say, known, id, writer)? {
            Some(say) => Ok(Cow::Owned(say.into())),
            None => Ok(body),
        },
        (Body::ImagingStudy(say), Aggregate::ImagingStudy(known)) => match (study(say, known), writer) {
            (Some(say), Writer::Feed { .. }) => Ok(Cow::Owned(say.into())),
            (_, Writer::Feed { .. } | Writer::Actor(_)) => Ok(body),
        },
        (Body::ImagingInstance(say), Aggregate::ImagingInstance(known)) => {
            same_object(say, known)?;
            Ok(body)
        }
        // Every other kind is taken as it is said; another kind than the known one can't be.
        _ => Ok(body),
    }
}

fn order(
    change: &Change,
    say: &OrderChange,
    known: &Order,
    id: Uuid,
    writer: Writer<'_>,
) -> Result<Option<OrderChange>, ApplyError> {
    let performed = say.performed.values();
    if say.imaging.value().is_none() && performed.is_empty() {
        return Ok(None);
    }
    let mut out = say.clone();
    if let Patch::Set(said) = &say.imaging {
        check(said)?;
        let uids = [Some(said), known.imaging.as_ref()].map(|one| one?.study_uid.as_ref());
        if let ([Some(said), Some(known)], Writer::Actor(_)) = (uids, writer)
            && said != known
        {
            let what = "The study UID of an order is made once: there may be images of it. Leave it out, or write the one that it has.";
            return Err(MapError::new(Reason::Conflict, Some("imaging.study_uid"), what).into());
        }
        let (by_report, orders_nothing) = (change.find.by_report, change.find.orders_nothing);
        let said = match by_report {
            true => Cow::Owned(imaging::booked(said, known.imaging.as_ref(), id)),
            false => Cow::Borrowed(said),
        };
        let mut before = known.imaging.clone();
        // The study UID that an appointment's order got here gives way to that of who places it, as long as nothing was begun.
        if let (Some(before), Writer::Feed { .. }) = (&mut before, writer)
            && known.is_only_booked()
            && !(by_report || orders_nothing)
            && known.performed.is_empty()
            && said.study_uid.is_some()
        {
            before.study_uid = None;
        }
        out.imaging = Patch::Set(imaging::planned(&said, before.as_ref(), id));
    }
    if !performed.is_empty() {
        let mut all = Vec::with_capacity(performed.len());
        for said in performed {
            let before = known.performed.iter().find(|known| known.uid == said.uid);
            let said = match before {
                None => Cow::Owned(imaging::of_planned_steps(said, known.imaging.as_ref())),
                Some(_) => Cow::Borrowed(said),
            };
            let Some(one) = imaging::complete_performed(&said, before) else {
                let what =
                    "The performed procedure step has ended, and an end is final. Nothing was changed.";
                return Err(MapError::new(Reason::Conflict, Some(PERFORMED_STATUS), what).into());
            };
            all.push(one);
        }
        out.performed = as_said(&say.performed, all);
    }
    Ok(Some(out))
}

/// What a worklist can't tell is refused, not cut (PS3.5 6.2, 9.1).
fn check(said: &imaging::Imaging) -> Result<(), ApplyError> {
    let numbers = [
        ("accession", &said.accession),
        ("procedure_id", &said.procedure_id),
    ];
    let steps = said.steps.iter().map(|step| ("steps.id", &step.id));
    for (field, number) in numbers.into_iter().chain(steps) {
        let Some(number) = number else { continue };
        let count = number.chars().count();
        if !(1..=SHORT).contains(&count) {
            let what = format!(
                "{count} characters where a worklist takes 1 to {SHORT}. Give a shorter number, or none."
            );
            return Err(MapError::new(Reason::DataType, Some(&format!("imaging.{field}")), what).into());
        }
    }
    for step in &said.steps {
        let wrong = if !step.station_aes.iter().all(|title| imaging::is_ae_title(title)) {
            (
                "imaging.steps.station_aes",
                "This is no AE title: 1 to 16 letters of ASCII without a backslash. A device that is called \
              otherwise would be told another one.",
            )
        } else if !step.modality.as_deref().is_none_or(imaging::is_code) {
            (
                "imaging.steps.modality",
                "This is no modality of DICOM, such as CT, MR or US: 1 to 16 capitals, digits, blanks and `_`.",
            )
        } else {
            continue;
        };
        return Err(MapError::new(Reason::DataType, Some(wrong.0), wrong.1).into());
    }
    // Systems that make them of a date and a time begin parts with a zero. What they made once is the study's.
    if said
        .study_uid
        .as_ref()
        .is_some_and(|uid| !imaging::may_be_uid(uid))
    {
        let what = "This is no UID: digits and dots, at most 64 characters.";
        return Err(MapError::new(Reason::DataType, Some("imaging.study_uid"), what).into());
    }
    Ok(())
}

fn study(say: &ImagingStudyChange, known: &ImagingStudy) -> Option<ImagingStudyChange> {
    let said = say.series.values();
    let known_of = |uid: &str| known.series.iter().find(|series| series.uid == uid);
    if !said.iter().any(|series| known_of(&series.uid).is_some()) {
        return None;
    }
    let completed = said.iter().map(|series| match known_of(&series.uid) {
        Some(known) => imaging::complete_series(series, known),
        None => series.clone(),
    });
    Some(ImagingStudyChange {
        series: as_said(&say.series, completed.collect()),
        ..say.clone()
    })
}

/// These in place of those that are said, in the same way.
fn as_said<T>(said: &Items<T>, values: Vec<T>) -> Items<T> {
    match said {
        Items::Replace(_) => Items::Replace(values),
        Items::Absent | Items::Clear | Items::Merge(_) => Items::Merge(values),
    }
}

/// Replacing an object in silence would destroy evidence.
fn same_object(say: &ImagingInstanceChange, known: &ImagingInstance) -> Result<(), ApplyError> {
    match (say.content.value(), &known.content) {
        (Some(said), Some(known)) if said != known => Err(ApplyError::Parked {
            why: "An object with this SOP Instance UID is here with other content. The first one is kept. \
                  Find out which of the two is right."
                .to_owned(),
            about: None,
            candidates: vec![],
        }),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// After all that is said was taken in: numbers, states, and which study belongs to which order.
pub(super) fn settle(
    work: &mut Work<'_>,
    writer: Writer<'_>,
    decisions: &[Decision],
) -> Result<(), ApplyError> {
    for place in 0..work.touched.len() {
        if work.touched[place].kind == Kind::Appointment {
            end_its_own_order(work, place, writer)?;
        }
    }
    for place in 0..work.touched.len() {
        if work.touched[place].kind == Kind::Order {
            settle_order(work, place, writer, decisions)?;
        }
    }
    for place in 0..work.touched.len() {
        if work.touched[place].kind == Kind::ImagingStudy {
            settle_study(work, place, decisions)?;
        }
    }
    for place in 0..work.touched.len() {
        if work.touched[place].kind == Kind::ImagingInstance {
            settle_instance(work, place)?;
        }
    }
    Ok(())
}

// ---- orders ----

/// An appointment that names no order makes one. Where it comes to name the one that was placed, its own was none: it ends, unless
/// something was done under it.
fn end_its_own_order(work: &mut Work<'_>, place: usize, writer: Writer<'_>) -> Result<(), ApplyError> {
    let Aggregate::Appointment(appointment) = &work.touched[place].after else {
        return Ok(());
    };
    let ids: Vec<Uuid> = appointment.orders.iter().filter_map(Ref::id).collect();
    if ids.len() < 2 {
        return Ok(());
    }
    let mut own = vec![];
    for id in &ids {
        let record = match work.index.get(&(Kind::Order, *id)) {
            Some(at) => Some(&work.touched[*at].after),
            None => work
                .reader
                .load(Kind::Order, *id)?
                .map(|record| &record.aggregate),
        };
        let Some(Aggregate::Order(order)) = record else {
            continue;
        };
        let is_made = |number: &Identifier| is_uid_of_study(number) || number.kind_code() == Some(ACCESSION);
        if order.is_only_booked() && order.performed.is_empty() && order.identifiers.iter().all(is_made) {
            let uid = order
                .imaging
                .as_ref()
                .and_then(|imaging| imaging.study_uid.clone());
            own.push((*id, uid));
        }
    }
    if own.len() == ids.len() {
        return Ok(());
    }
    for (id, uid) in own {
        if has_images(work, uid.as_deref())? {
            continue;
        }
        let at = work.touch(Kind::Order, id)?;
        let mut after = work.touched[at].after.clone();
        if let Aggregate::Order(order) = &mut after
            && is_live(order)
        {
            order.status = Some(OrderStatus::EnteredInError);
        }
        note_who(&mut work.touched[at], &after, writer);
        work.touched[at].after = after;
        if let Aggregate::Appointment(appointment) = &mut work.touched[place].after {
            appointment.orders.retain(|order| order.id() != Some(id));
        }
    }
    Ok(())
}

/// Whether there are images of a study.
fn has_images(work: &mut Work<'_>, uid: Option<&str>) -> Result<bool, ApplyError> {
    let Some(uid) = uid else { return Ok(false) };
    let key = FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid);
    Ok(!work.reader.find(&key)?.is_empty())
}

/// The study UID that an order had before, where there are images of it: it stays.
fn study_with_images(work: &mut Work<'_>, place: usize) -> Result<Option<String>, ApplyError> {
    let touched = &work.touched[place];
    let before = touched.before.as_ref().map(|record| &record.aggregate);
    let (Some(Aggregate::Order(before)), Aggregate::Order(after)) = (before, &touched.after) else {
        return Ok(None);
    };
    let [before, after] = [&**before, &**after].map(|order| order.imaging.as_ref()?.study_uid.clone());
    Ok(match before != after && has_images(work, before.as_deref())? {
        true => before,
        false => None,
    })
}

/// Parks what a modality begins that names a step which its order has not, where no step of the order is of its modality or station.
fn check_begun(work: &Work<'_>, place: usize, decisions: &[Decision]) -> Result<(), ApplyError> {
    let touched = &work.touched[place];
    let Aggregate::Order(order) = &touched.after else {
        return Ok(());
    };
    let Some(planned) = order
        .imaging
        .as_ref()
        .map(|imaging| &imaging.steps)
        .filter(|steps| !steps.is_empty())
    else {
        return Ok(());
    };
    let before = match touched.before.as_ref().map(|record| &record.aggregate) {
        Some(Aggregate::Order(before)) => before.performed.as_slice(),
        _ => &[],
    };
    let is_new = |uid: &str| before.iter().all(|known| known.uid != uid);
    let is_of_none = order.performed.iter().any(|one| {
        let is_of_one = || planned.iter().any(|step| imaging::is_for(one, step, planned));
        is_new(&one.uid) && !one.steps.is_empty() && !is_of_one()
    });
    let about = touched
        .changes
        .first()
        .map(|idx| work.set.changes[*idx].key.clone());
    if !is_of_none || decisions.iter().any(|one| Some(&one.key) == about.as_ref()) {
        return Ok(());
    }
    Err(ApplyError::Parked {
        why: "The order has neither the step that the modality names, nor one of its kind or station. Choose which order is meant, or \
              correct the plan and resend it."
            .to_owned(),
        about,
        candidates: vec![Candidate {
            kind: Kind::Order,
            id: touched.id,
            why: "has the numbers of the examination".to_owned(),
        }],
    })
}

fn settle_order(
    work: &mut Work<'_>,
    place: usize,
    writer: Writer<'_>,
    decisions: &[Decision],
) -> Result<(), ApplyError> {
    let left_out = steps_left_out(work, place, writer);
    let study = study_with_images(work, place)?;
    if matches!(writer, Writer::Feed { .. }) {
        check_begun(work, place, decisions)?;
    }
    let touched = &mut work.touched[place];
    let before = touched.before.as_ref().map(|record| &record.aggregate);
    let before = match before {
        Some(Aggregate::Order(before)) => Some(&**before),
        _ => None,
    };
    let Aggregate::Order(after) = &mut touched.after else {
        return Ok(());
    };
    if let Some(imaging) = &mut after.imaging {
        let goes = |step: &ImagingStep| step.id.as_ref().is_some_and(|id| left_out.contains(id));
        imaging.steps.retain(|step| !goes(step));
        imaging.study_uid = study.or(imaging.study_uid.take());
    }
    imaging::with_identifiers(after);
    let is_named_anew = before.is_none_or(|before| before.identifiers != after.identifiers);
    let progress = imaging::progress(after);
    let moved = before.is_none_or(|before| before.performed != after.performed);
    // What was still to be done is to be done no longer, and all else is done.
    let is_live = after.status.is_none_or(|status| !ENDS.contains(&status.as_str()));
    let is_done = !left_out.is_empty() && is_live && progress == Some(Progress::Completed);
    let performed = &after.performed;
    let planned = after
        .imaging
        .as_ref()
        .map_or_else(Vec::new, |imaging| imaging.steps.clone());
    for step in after.imaging.iter_mut().flat_map(|imaging| &mut imaging.steps) {
        let Some(status) = imaging::step_status(performed, step, &planned) else {
            continue;
        };
        // What was broken off may be planned anew; what is under way or done is not taken back by a late plan.
        let stands = match status {
            imaging::StepStatus::Started | imaging::StepStatus::Completed => true,
            imaging::StepStatus::Scheduled
            | imaging::StepStatus::Arrived
            | imaging::StepStatus::Ready
            | imaging::StepStatus::Discontinued
            | imaging::StepStatus::Cancelled => before
                .is_none_or(|before| imaging::step_status(&before.performed, step, &planned) != Some(status)),
        };
        if stands {
            step.status = Some(status);
        }
    }
    if let (Some(before), false) = (before, moved) {
        plan_again(before, after);
    }
    let is_examination = after.imaging.is_some() || !after.performed.is_empty();
    if is_named_anew && is_examination {
        check_examination(work, place, writer, decisions)?;
        link_late(work, place, writer)?;
    }
    let (Some(progress), true) = (progress, moved || is_done) else {
        return Ok(());
    };
    let touched = &mut work.touched[place];
    let Aggregate::Order(after) = &mut touched.after else {
        return Ok(());
    };
    let by_a_person = touched.held.has("status", "")
        && after.status.is_some_and(|status| ENDS.contains(&status.as_str()))
        && matches!(writer, Writer::Feed { overwrite: false });
    let status = Some(imaging::order_status(progress));
    if !by_a_person && after.status != status {
        after.status = status;
        // The code that a sender had for what was before.
        after.status_original = None;
    }
    let after = touched.after.clone();
    note_who(&mut work.touched[place], &after, writer);
    move_visit(work, place, progress, writer)
}

/// The numbers of the steps that are to be done no longer: of those that were known before, those that none of the plans of this set
/// says that say all steps ([`Change::all_steps`]). What a person planned stays.
///
/// [`Change::all_steps`]: crate::change_set::Change::all_steps
fn steps_left_out(work: &Work<'_>, place: usize, writer: Writer<'_>) -> Vec<String> {
    let touched = &work.touched[place];
    let Some(Aggregate::Order(before)) = touched.before.as_ref().map(|record| &record.aggregate) else {
        return vec![];
    };
    let by_a_person = matches!(writer, Writer::Feed { overwrite: false }) && touched.held.has("imaging", "");
    let Some(known) = before.imaging.as_ref().filter(|_| !by_a_person) else {
        return vec![];
    };
    let said = touched.changes.iter().filter(|idx| !work.mute[**idx]);
    let plans: Vec<(bool, &[ImagingStep])> = said
        .filter_map(|idx| match &work.set.changes[*idx] {
            change @ Change {
                say: Body::Order(say),
                ..
            } => {
                let steps = say.imaging.value()?.steps.as_slice();
                Some((change.all_steps, steps))
            }
            _ => None,
        })
        .collect();
    if plans.is_empty() || plans.iter().any(|(all, _)| !all) {
        return vec![];
    }
    let mut gone: Option<Vec<String>> = None;
    for (_, steps) in plans {
        let here = imaging::left_out(steps, &known.steps, touched.id);
        gone = Some(match gone {
            None => here,
            Some(known) => known.into_iter().filter(|id| here.contains(id)).collect(),
        });
    }
    gone.unwrap_or_default()
}

/// Parks an order whose study UID, or whose accession number while both are to be done, is that of another patient's: images of two
/// patients would lie in one study (PS3.3 A.1.2). Who decides that it is another order, or that one for this patient now, has it taken.
fn check_examination(
    work: &mut Work<'_>,
    place: usize,
    writer: Writer<'_>,
    decisions: &[Decision],
) -> Result<(), ApplyError> {
    let touched = &work.touched[place];
    let about = touched
        .changes
        .first()
        .map(|idx| work.set.changes[*idx].key.clone());
    let is_decided = decisions.iter().any(|one| Some(&one.key) == about.as_ref());
    // A report orders nothing.
    let is_reported = |idx: &usize| work.set.changes[*idx].find.by_report;
    let is_taken = is_decided || touched.changes.iter().any(is_reported);
    let (Writer::Feed { .. }, false, Aggregate::Order(order)) = (writer, is_taken, &touched.after) else {
        return Ok(());
    };
    let (id, is_live, identifiers) = (touched.id, is_live(order), order.identifiers.clone());
    let Some(patient) = order.patient.as_ref().and_then(Ref::id) else {
        return Ok(());
    };
    let before = touched
        .before
        .as_ref()
        .map_or(&[][..], |record| record.aggregate.identifiers());
    let said: Vec<Identifier> = identifiers
        .into_iter()
        .filter(|one| !before.contains(one))
        .collect();
    let patient = work.reader.survivor(patient)?;
    for number in &said {
        let is_uid = is_uid_of_study(number);
        if !is_uid && number.kind_code() != Some(ACCESSION) {
            continue;
        }
        let key = |kind| match is_uid {
            true => FindKey::system_value(kind, UID_SYSTEM, &number.value),
            false => FindKey::value(kind, &number.value),
        };
        let has = |order: &Order| {
            let same = || order.identifiers.iter().any(|id| is_same_examination(id, number));
            (is_uid || is_live && self::is_live(order) && order.imaging.is_some()) && same()
        };
        let mut others: Vec<(Kind, Uuid, Option<Ref>)> = orders_by(work, &key(Kind::Order), &has)?
            .into_iter()
            .map(|(other, order)| (Kind::Order, other, order.patient))
            .collect();
        if is_uid {
            for study in work.reader.find(&key(Kind::ImagingStudy))?.to_vec() {
                if let Some(record) = work.reader.load(Kind::ImagingStudy, study)? {
                    others.push((Kind::ImagingStudy, study, record.aggregate.patient().cloned()));
                }
            }
        }
        for (kind, other, theirs) in others {
            let Some(theirs) = theirs.as_ref().and_then(Ref::id).filter(|_| other != id) else {
                continue;
            };
            if work.reader.survivor(theirs)? == patient {
                continue;
            }
            let what = match is_uid {
                true => "study UID",
                false => "accession number",
            };
            let candidate = Candidate {
                kind,
                id: other,
                why: format!("has the {what}"),
            };
            return Err(ApplyError::Parked {
                why: format!(
                    "The {what} of the order is that of another patient's examination. Correct it at the sender and send it \
                     again, or decide that it is an order of its own."
                ),
                about,
                candidates: Some(candidate)
                    .filter(|one| one.kind == Kind::Order)
                    .into_iter()
                    .collect(),
            });
        }
    }
    Ok(())
}

/// The order of a study that was here before it: images may come before their order does.
fn link_late(work: &mut Work<'_>, place: usize, writer: Writer<'_>) -> Result<(), ApplyError> {
    let Aggregate::Order(order) = &work.touched[place].after else {
        return Ok(());
    };
    let Some(patient) = order.patient.as_ref().and_then(Ref::id) else {
        return Ok(());
    };
    let (id, encounter) = (work.touched[place].id, order.encounter.clone());
    let named = order.identifiers.iter();
    let accession = match &order.imaging {
        Some(imaging) => imaging.accession.clone(),
        None => accessions(&order.identifiers)
            .first()
            .map(|number| number.value.clone()),
    };
    let by_uid = named
        .filter(|id| is_uid_of_study(id))
        .map(|uid| FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, &uid.value));
    let by_number = accession
        .as_deref()
        .map(|number| FindKey::value(Kind::ImagingStudy, number));
    let keys: Vec<FindKey> = by_uid.chain(by_number).collect();
    let patient = work.reader.survivor(patient)?;
    for key in keys {
        for found in work.reader.find(&key)?.to_vec() {
            let at = work.touch(Kind::ImagingStudy, found)?;
            let mut after = work.touched[at].after.clone();
            let theirs = match after.patient().and_then(Ref::id) {
                Some(id) => Some(work.reader.survivor(id)?),
                None => None,
            };
            if let Aggregate::ImagingStudy(study) = &mut after
                && (study.orders.is_empty() || is_one_of_several(study, accession.as_deref()))
                && !study.orders.iter().any(|order| order.id() == Some(id))
                && theirs == Some(patient)
            {
                study.orders.push(Ref::Id(Kind::Order, id));
                study.encounter = study.encounter.take().or_else(|| encounter.clone());
            }
            note_who(&mut work.touched[at], &after, writer);
            work.touched[at].after = after;
        }
    }
    Ok(())
}

/// Whether a study was done for several orders, of which one has this number.
fn is_one_of_several(study: &ImagingStudy, number: Option<&str>) -> bool {
    let numbers = accessions(&study.identifiers);
    1 < numbers.len() && numbers.iter().any(|known| Some(known.value.as_str()) == number)
}

/// Moves the appointment and the visit of an order, and keeps on the MPPS what they were.
fn move_visit(
    work: &mut Work<'_>,
    place: usize,
    progress: Progress,
    writer: Writer<'_>,
) -> Result<(), ApplyError> {
    let Aggregate::Order(order) = &work.touched[place].after else {
        return Ok(());
    };
    let encounter = order.encounter.as_ref().and_then(Ref::id);
    let before = Moves {
        appointment: order.performed.iter().find_map(|one| one.appointment_before),
        encounter: order.performed.iter().find_map(|one| one.encounter_before),
    };
    let appointment = appointment_of(work, work.touched[place].id)?;
    let encounter = match encounter {
        Some(id) if work.reader.load(Kind::Encounter, id)?.is_some() => {
            Some(work.touch(Kind::Encounter, id)?)
        }
        Some(_) | None => None,
    };
    let now = Moves {
        appointment: appointment.and_then(|at| match &work.touched[at].after {
            Aggregate::Appointment(appointment) => appointment.status,
            _ => None,
        }),
        encounter: encounter.and_then(|at| match &work.touched[at].after {
            Aggregate::Encounter(encounter) => encounter.status,
            _ => None,
        }),
    };
    let mut to = imaging::moves(progress, now, before);
    if progress == Progress::Completed && !others_ended(work, appointment, place)? {
        to.appointment = None;
    }
    for at in [appointment, encounter].into_iter().flatten() {
        let mut after = work.touched[at].after.clone();
        match &mut after {
            Aggregate::Appointment(appointment) => appointment.status = to.appointment.or(appointment.status),
            Aggregate::Encounter(encounter) => encounter.status = to.encounter.or(encounter.status),
            _ => {}
        }
        note_who(&mut work.touched[at], &after, writer);
        work.touched[at].after = after;
    }
    // What was moved is remembered where it may have to be taken back, and forgotten once it was.
    let Aggregate::Order(order) = &mut work.touched[place].after else {
        return Ok(());
    };
    match progress {
        Progress::Started => {
            if let Some(one) = order.performed.last_mut() {
                one.appointment_before = to.appointment.and(now.appointment).or(one.appointment_before);
                one.encounter_before = to.encounter.and(now.encounter).or(one.encounter_before);
            }
        }
        Progress::Completed => {}
        Progress::Scheduled | Progress::Discontinued => {
            for one in &mut order.performed {
                one.appointment_before = None;
                one.encounter_before = None;
            }
        }
    }
    Ok(())
}

/// The appointment that an order has: the one that is not over, by its place among the touched ones.
fn appointment_of(work: &mut Work<'_>, order: Uuid) -> Result<Option<usize>, ApplyError> {
    let found = work
        .reader
        .find(&FindKey::referring(Kind::Appointment, order))?
        .to_vec();
    let new = work.touched.iter().filter(|touched| match &touched.after {
        Aggregate::Appointment(appointment) => appointment.orders.iter().any(|one| one.id() == Some(order)),
        _ => false,
    });
    let mut all: Vec<Uuid> = new.map(|touched| touched.id).collect();
    all.extend(found);
    for id in all {
        let at = work.touch(Kind::Appointment, id)?;
        if let Aggregate::Appointment(appointment) = &work.touched[at].after
            && appointment
                .status
                .is_some_and(|status| !ENDS.contains(&status.as_str()))
        {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether the other orders of an appointment have ended too.
fn others_ended(work: &mut Work<'_>, appointment: Option<usize>, order: usize) -> Result<bool, ApplyError> {
    let Some(Aggregate::Appointment(appointment)) = appointment.map(|at| &work.touched[at].after) else {
        return Ok(true);
    };
    let own = work.touched[order].id;
    let others: Vec<Uuid> = appointment
        .orders
        .iter()
        .filter_map(Ref::id)
        .filter(|id| *id != own)
        .collect();
    for id in others {
        let record = match work.index.get(&(Kind::Order, id)) {
            Some(place) => Some(&work.touched[*place].after),
            None => work.reader.load(Kind::Order, id)?.map(|record| &record.aggregate),
        };
        let ended = match record {
            Some(Aggregate::Order(other)) => {
                other.status.is_some_and(|status| ENDS.contains(&status.as_str()))
            }
            _ => true,
        };
        if !ended {
            return Ok(false);
        }
    }
    Ok(true)
}

// ---- studies ----

/// A study belongs to the order that its UID or its accession number names, if it is of the same patient; one that names several
/// numbers was done for several orders. Whom the images name has to be the patient of the study, or of the order where there is no study yet.
fn settle_study(work: &mut Work<'_>, place: usize, decisions: &[Decision]) -> Result<(), ApplyError> {
    let Aggregate::ImagingStudy(study) = &work.touched[place].after else {
        return Ok(());
    };
    let identifiers = study.identifiers.clone();
    let is_for_several = 1 < accessions(&identifiers).len();
    let is_open = study.orders.is_empty() || is_for_several;
    let before = work.touched[place].before.as_ref();
    let known = before.and_then(|record| record.aggregate.patient().and_then(Ref::id));
    let mut orders = if is_open {
        let whose = match said_patient(work, place)? {
            Said::Is(id) => Some(id),
            Said::Nobody | Said::Unknown => known,
        };
        orders_of(work, &identifiers, whose)?
    } else {
        vec![]
    };
    let others = orders.split_off(orders.len().min(1));
    let order = orders.pop();
    let theirs = order
        .as_ref()
        .and_then(|(_, order)| order.patient.as_ref().and_then(Ref::id));
    let mut survivors = [known, theirs];
    for patient in survivors.iter_mut().flatten() {
        *patient = work.reader.survivor(*patient)?;
    }
    let [known, theirs] = survivors;
    let key = patient_key(work, place);
    let is_theirs = |decision: &Decision| Some(&decision.key) == key.as_ref();
    let is_now = decisions.iter().any(is_theirs);
    let decided = is_now || work.decided_before.iter().any(is_theirs);
    if let (true, Some(key)) = (is_now, &key) {
        keep_decision(work, place, key);
    }
    // Who names the study by its id knows which one it is.
    let mut changes = work.touched[place].changes.iter();
    let by_id = changes.any(|idx| work.set.changes[*idx].find.id.is_some());
    if let Some(expected) = known.or(theirs)
        && !decided
        && !by_id
    {
        check_patient(work, place, expected, key.clone())?;
    }
    if known.or(theirs).is_none() && !decided && !by_id {
        check_number(work, place, key.clone())?;
    }
    let said = match said_patient(work, place)? {
        Said::Is(id) => Some(id),
        Said::Nobody => known.or(theirs),
        Said::Unknown => known,
    };
    if let Some((id, order)) = order
        && (theirs.is_none() || said == theirs)
        && let Aggregate::ImagingStudy(study) = &mut work.touched[place].after
    {
        // Images go with their order, also where that is an old record's.
        study.patient = match known {
            None => order.patient.or_else(|| study.patient.take()),
            Some(_) => study.patient.take().or(order.patient),
        };
        study.encounter = study.encounter.take().or(order.encounter);
        let others = others
            .into_iter()
            .filter(|(_, other)| other.patient == study.patient);
        for id in std::iter::once(id).chain(others.map(|(id, _)| id)) {
            let order = Ref::Id(Kind::Order, id);
            if !study.orders.contains(&order) {
                study.orders.push(order);
            }
        }
    }
    if matches!(&work.touched[place].after, Aggregate::ImagingStudy(study) if study.patient.is_some())
        || !matches!(said_patient(work, place)?, Said::Unknown)
    {
        return Ok(());
    }
    Err(ApplyError::Parked {
        why:
            "No patient here is the one that the images name, and no order has their study. Choose who it is."
                .to_owned(),
        about: key,
        candidates: vec![],
    })
}

/// The order with this study UID, else the only one with this accession number, of several that of the patient, and of whom the
/// images name as having given it; of several numbers those of each.
fn orders_of(
    work: &mut Work<'_>,
    identifiers: &[Identifier],
    patient: Option<Uuid>,
) -> Result<Vec<(Uuid, Order)>, ApplyError> {
    let mut all: Vec<(Uuid, Order)> = vec![];
    for uid in identifiers.iter().filter(|id| is_uid_of_study(id)) {
        let has = |order: &Order| {
            // Of what a modality did unplanned it stands among the numbers alone.
            order.identifiers.iter().any(|id| is_same_examination(id, uid))
        };
        let key = FindKey::system_value(Kind::Order, UID_SYSTEM, &uid.value);
        let found = orders_by(work, &key, &has)?.into_iter().next();
        if let (Some(found), true) = (found, all.is_empty()) {
            all.push(found);
        }
    }
    let numbers = accessions(identifiers);
    // Where the UID is that of an order, a single number says nothing more.
    let numbers = match numbers.len() {
        1 if !all.is_empty() => vec![],
        _ => numbers,
    };
    for number in numbers {
        let has = |order: &Order| {
            let is_examination = order.imaging.is_some() || !order.performed.is_empty();
            is_examination && order.identifiers.iter().any(|id| is_same_examination(id, number))
        };
        let mut found = orders_by(work, &FindKey::value(Kind::Order, &number.value), &has)?;
        if 1 < found.len() {
            found = nearest(work, found, number, patient)?;
        }
        if let (Some(only), true) = (found.pop(), found.is_empty())
            && all.iter().all(|(known, _)| *known != only.0)
        {
            all.push(only);
        }
    }
    Ok(all)
}

/// Of several orders with an accession number, as two sites give it out, those of the patient, and of these those whose number is
/// that of the same issuer ((0008,0051)). Where one of the two tells nothing, it parts none.
fn nearest(
    work: &mut Work<'_>,
    found: Vec<(Uuid, Order)>,
    number: &Identifier,
    patient: Option<Uuid>,
) -> Result<Vec<(Uuid, Order)>, ApplyError> {
    let mut theirs = vec![];
    if let Some(patient) = patient {
        let patient = work.reader.survivor(patient)?;
        for (id, order) in &found {
            let of = order.patient.as_ref().and_then(Ref::id);
            if let Some(of) = of
                && work.reader.survivor(of)? == patient
            {
                theirs.push((*id, order.clone()));
            }
        }
    }
    let found = if theirs.is_empty() { found } else { theirs };
    let issuer = number.assigner.as_ref().or(number.system.as_ref());
    let is_issuers = |id: &Identifier| {
        let is_issuer = id.system.as_ref() == issuer || id.assigner.as_ref() == issuer;
        is_issuer && is_same_examination(id, number)
    };
    let (same, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(_, order)| issuer.is_some() && order.identifiers.iter().any(is_issuers));
    Ok(if same.is_empty() { others } else { same })
}

/// The orders of a patient whose examination is named by study UID, else by accession number: those that were planned with it,
/// and those of the study that has it. Each with what named it.
pub(super) fn examined<'i>(
    work: &mut Work<'_>,
    named: &'i [Identifier],
    patient: Uuid,
) -> Result<Vec<(Uuid, &'i Identifier)>, ApplyError> {
    let (uids, others): (Vec<_>, Vec<_>) = named
        .iter()
        .filter(|id| is_uid_of_study(id) || id.kind_code() == Some(ACCESSION))
        .partition(|id| is_uid_of_study(id));
    for names in [uids, others] {
        let mut out: Vec<(Uuid, &Identifier)> = vec![];
        for name in names {
            let has = |theirs: &[Identifier]| theirs.iter().any(|their| is_same_examination(their, name));
            let key = |kind| match is_uid_of_study(name) {
                true => FindKey::system_value(kind, UID_SYSTEM, &name.value),
                false => FindKey::value(kind, &name.value),
            };
            let planned = |order: &Order| order.imaging.is_some() && has(&order.identifiers);
            let mut ids: Vec<Uuid> = orders_by(work, &key(Kind::Order), &planned)?
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            for study in work.reader.find(&key(Kind::ImagingStudy))?.to_vec() {
                if let Some(record) = work.reader.load(Kind::ImagingStudy, study)?
                    && let Aggregate::ImagingStudy(study) = &record.aggregate
                    && has(&study.identifiers)
                {
                    ids.extend(study.orders.iter().filter_map(Ref::id));
                }
            }
            for id in ids {
                let is_known = out.iter().any(|(known, _)| *known == id);
                if !is_known && work.patient_of(Kind::Order, id)? == Some(patient) {
                    out.push((id, name));
                }
            }
        }
        if !out.is_empty() {
            return Ok(out);
        }
    }
    Ok(vec![])
}

fn is_uid_of_study(id: &Identifier) -> bool {
    id.system.as_deref() == Some(UID_SYSTEM)
}

/// Whether two name the same examination: a study UID, or an accession number, which may leave out who gave it.
fn is_same_examination(one: &Identifier, other: &Identifier) -> bool {
    if one.value != other.value {
        return false;
    }
    if is_uid_of_study(one) || is_uid_of_study(other) {
        return one.system == other.system;
    }
    let parted = one.system.is_some() && other.system.is_some() && one.system != other.system;
    [one, other].iter().all(|id| id.kind_code() == Some(ACCESSION)) && !parted
}

/// The accession numbers among some identifiers.
fn accessions(identifiers: &[Identifier]) -> Vec<&Identifier> {
    let all = identifiers.iter();
    all.filter(|id| id.kind_code() == Some(ACCESSION)).collect()
}

fn orders_by(
    work: &mut Work<'_>,
    key: &FindKey,
    has: &dyn Fn(&Order) -> bool,
) -> Result<Vec<(Uuid, Order)>, ApplyError> {
    let mut out: Vec<(Uuid, Order)> = vec![];
    for touched in &work.touched {
        if let Aggregate::Order(order) = &touched.after
            && has(order)
        {
            out.push((touched.id, (**order).clone()));
        }
    }
    for id in work.reader.find(key)?.to_vec() {
        if out.iter().any(|(known, _)| *known == id) {
            continue;
        }
        if let Some(record) = work.reader.load(Kind::Order, id)?
            && let Aggregate::Order(order) = &record.aggregate
            && has(order)
        {
            out.push((id, (**order).clone()));
        }
    }
    Ok(out)
}

// ---- instances ----

/// An object is its study's patient's.
fn settle_instance(work: &mut Work<'_>, place: usize) -> Result<(), ApplyError> {
    let Aggregate::ImagingInstance(instance) = &work.touched[place].after else {
        return Ok(());
    };
    let Some(study) = instance.study.as_ref().and_then(Ref::id) else {
        return Ok(());
    };
    let record = match work.index.get(&(Kind::ImagingStudy, study)) {
        Some(at) => Some(&work.touched[*at].after),
        None => work
            .reader
            .load(Kind::ImagingStudy, study)?
            .map(|record| &record.aggregate),
    };
    let patient = match record {
        Some(Aggregate::ImagingStudy(study)) => study.patient.clone(),
        _ => None,
    };
    if let Aggregate::ImagingInstance(instance) = &mut work.touched[place].after {
        instance.patient = patient.or_else(|| instance.patient.take());
    }
    Ok(())
}
