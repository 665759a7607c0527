//! ORU^R01 and its kin → reports and what was measured. HL7 v2.5.1, 7.3 and 7.4.1.

use std::collections::HashMap;
use std::mem::take;

use clinic::Body;
use clinic::change_set::Find;
use clinic::diagnostics::{OrderChange, ResultChange, ResultStatus};
use clinic::exchange::{MapError, Reason};
use clinic::imaging::Imaging;
use clinic::patch::{Items, Patch};
use clinic::records::Performer;
use clinic::value::{Attachment, Concept, Identifier, Ref};

use super::cases::{self, Subject};
use super::collect::{At, Collected, Seg, natural, not_by_number};
use super::groups::{self, Group, Obx, Shape};
use super::observations::Series;
use super::terms::{self, NO_TABLE, hl7, table};
use super::{datatypes as data, imaging, notes, orders, parties, people, specimen};

/// Reads the segments behind MSH.
pub fn read<'m>(out: &mut Collected<'m>, segments: &[Seg<'m>]) -> Result<(), MapError> {
    let cases = groups::read(segments, Shape::Results);
    if cases.is_empty() {
        return Err(MapError::missing("PID", "the patient (segment PID)"));
    }
    let mut parents: Parents = HashMap::new();
    for case in &cases {
        let subject = cases::subject(out, case)?;
        for group in &case.groups {
            refuse_errors(group)?;
            report_of(out, group, &subject, false, &mut parents);
        }
    }
    Ok(())
}

/// OBR-25 `Y` and `Z` are answers to a query that failed, not reports.
fn refuse_errors(group: &Group<'_>) -> Result<(), MapError> {
    let at = group.obr(25);
    let what = match at.part(1).peek().as_deref() {
        Some("Y") => "the laboratory has no order on record for this test (Y)",
        Some("Z") => "the laboratory has no record of this patient (Z)",
        Some(_) | None => return Ok(()),
    };
    let what = format!("{what}. This is no report; look into it at the sender.");
    Err(MapError::new(Reason::UnknownKey, Some(&at.place().0), what))
}

/// The observations of the reports so far, by code and sub-id: what OBR-26 of a later report may name.
type Parents = HashMap<(String, String), Ref>;

/// A report that stands alone: earlier results with a new order. Its observations.
pub fn report<'m>(out: &mut Collected<'m>, group: &Group<'m>, subject: &Subject, prior: bool) -> Vec<Ref> {
    report_of(out, group, subject, prior, &mut HashMap::new())
}

fn report_of<'m>(
    out: &mut Collected<'m>,
    group: &Group<'m>,
    subject: &Subject,
    prior: bool,
    parents: &mut Parents,
) -> Vec<Ref> {
    let order_key = out.key("order");
    let order = Ref::Local(order_key.clone());
    let result_key = out.key("result");
    let result = Ref::Local(result_key.clone());
    let mut request = orders::order_from_orc_obr(out, group, subject);
    // What was reported before moves nothing: ORC-1 and ORC-5 are of the order that it came with (HL7 v2.5.1, 4.4.6, ORDER_PRIOR).
    let state = prior.then(|| OrderChange {
        status: take(&mut request.status),
        status_original: take(&mut request.status_original),
        status_changed: take(&mut request.status_changed),
        ..OrderChange::default()
    });
    let mut say = result_from_orc_obr(out, group, subject);
    say.orders = Items::merge(vec![order.clone()]);
    let (examination, imaging) = imaging::of_report(group, &mut say);
    let specimens = specimen::specimens(out, group, Some(&subject.patient), Some(&order), false);
    let mut series = Series {
        patient: Some(subject.patient.clone()),
        encounter: subject.encounter.clone(),
        orders: vec![order.clone()],
        owner: Some(result.clone()),
        part_of: parent(group, parents).into_iter().collect(),
        // HL7 v2.5.1, 7.4.2.14: OBX-14 is needed only where it differs.
        taken_at: data::when(group.obr(7)),
        ..Series::default()
    };
    let mut all: Vec<(&Obx<'m>, Option<Ref>)> = vec![];
    for obx in &group.observations {
        let named = obx.obx.f(33).first();
        all.push((obx, specimen::named(out, named, Some(&subject.patient))));
    }
    for (sample, specimen) in group.samples.iter().zip(&specimens) {
        all.extend(
            sample
                .observations
                .iter()
                .map(|obx| (obx, Some(specimen.clone()))),
        );
    }
    let (mut measured, mut answers, mut files) = (vec![], vec![], vec![]);
    for (obx, specimen) in all {
        let Some(observed) = series.observe(out, obx, specimen.as_ref(), true) else {
            continue;
        };
        let part = |at: At<'_>| at.part(1).peek().unwrap_or_default();
        parents.insert(
            (part(obx.obx.f(3)), part(obx.obx.f(4))),
            observed.observation.clone(),
        );
        files.extend(observed.file);
        if observed.is_answer {
            answers.push(observed.observation);
        } else {
            measured.push(observed.observation);
        }
    }
    if series.undated > 0 {
        let obr_7 = group.obr(7);
        obr_7.remark(format!(
            "also when {} of its values were taken: they have no OBX-14",
            series.undated
        ));
    }
    request.supporting_info = Items::merge(answers.clone());
    request.specimens = Items::merge(specimens.clone());
    let reasons = group.diagnoses.iter();
    let reasons = reasons
        .filter_map(|(dg1, remarks)| cases::condition(out, *dg1, remarks, subject))
        .collect();
    request.reason_conditions = Items::merge(reasons);
    say.specimens = Items::merge(specimens);
    say.observations = Items::merge(measured.clone());
    say.documents = Items::merge(distinct(files));
    let find = find(group, &order);
    orders::push_reported(out, group, order_key, request, subject);
    if let Some(change) = out.change_mut(&order) {
        of_examination(change, examination, imaging);
        if let (Some(state), Some(Body::Order(new))) = (state, &mut change.say_if_new) {
            if !state.status.is_absent() {
                new.status = state.status;
            }
            new.status_original = state.status_original;
            new.status_changed = state.status_changed;
        }
    }
    let known = out.changes().iter().filter(|change| change.find == find).count();
    let find = if known == 0 { find } else { again(find, known + 1) };
    let say_if_new = say.status.is_absent().then(|| {
        let new = ResultChange {
            status: Patch::Set(ResultStatus::Unknown),
            ..ResultChange::default()
        };
        new.into()
    });
    out.push(clinic::Change {
        find,
        say_if_new,
        ..clinic::Change::new(result_key, say)
    });
    if !prior {
        orders::act(out, group, order);
    }
    measured.extend(answers);
    measured
}

/// The order of a report is found by its examination too, and is one of images where nobody has ordered it.
fn of_examination(change: &mut clinic::Change, examination: Vec<Identifier>, imaging: Option<Imaging>) {
    change.find.identifiers.extend(examination);
    if let Some(Body::Order(new)) = &mut change.say_if_new {
        new.imaging = imaging.into();
    }
}

/// A report is found by its order and what it is of. Its numbers are the order's, which other reports have too, so
/// that they find nothing here: an identifier without a value is one that nobody has.
fn find(group: &Group<'_>, order: &Ref) -> Find {
    not_by_number(natural(Some(order), within_order(group)))
}

/// What a report is within its order: by OBR-4.
pub fn within_order(group: &Group<'_>) -> String {
    let at = group.obr(4);
    let part = |n: usize| at.part(n).peek().unwrap_or_default();
    let code = match part(1) {
        code if code.is_empty() => format!("text|{}", part(2).to_lowercase()),
        code => format!("{}|{code}", part(3)),
    };
    format!("result|{code}")
}

/// The same code of the same order again in one message.
fn again(mut find: Find, count: usize) -> Find {
    if let Some(natural) = &mut find.natural {
        natural.key.push_str(&format!("|#{count}"));
    }
    find
}

/// OBR-26 → the observation that a report is about, where it stands in the same message.
fn parent(group: &Group<'_>, parents: &Parents) -> Option<Ref> {
    let at = group.obr(26);
    let code = at.part(1).part(1).peek()?;
    let sub_id = at.part(2).part(1).peek().unwrap_or_default();
    let parent = parents.get(&(code, sub_id)).cloned();
    match parent {
        Some(_) => at.take(),
        None => at.note("the parent observation is not in this message"),
    }
    parent
}

/// Files, each once: two of one title and kind are told apart by a number.
fn distinct(files: Vec<Attachment>) -> Vec<Attachment> {
    let mut seen: HashMap<(Option<String>, Option<String>), u32> = HashMap::new();
    let mut all: Vec<Attachment> = Vec::with_capacity(files.len());
    for mut file in files {
        let count = seen
            .entry((file.title.clone(), file.content_type.clone()))
            .or_default();
        *count += 1;
        if *count > 1 {
            let title = file.title.unwrap_or_default();
            file.title = Some(format!("{title} ({count})").trim().to_owned());
        }
        all.push(file);
    }
    all
}

/// ORC, OBR → what is said of a report, without what hangs below it.
fn result_from_orc_obr<'m>(out: &mut Collected<'m>, group: &Group<'m>, subject: &Subject) -> ResultChange {
    let mut identifiers: Vec<Identifier> = orders::numbers(group)
        .into_iter()
        .filter(|id| matches!(id.kind_code(), Some("PLAC" | "FILL")))
        .collect();
    let (placer_group, filler_group) = orders::group_numbers(group);
    identifiers.extend(placer_group);
    identifiers.extend(filler_group);
    let mut say = ResultChange {
        identifiers: Items::merge(identifiers),
        patient: Patch::Set(subject.patient.clone()),
        encounter: subject.encounter.clone().into(),
        categories: group.obr(24).items(|at| terms::concept(at, table("0074"))),
        code: group.obr(4).patch(|at| terms::concept(at, NO_TABLE)),
        issued: group.obr(22).patch(data::when),
        control_reason: group.orc(16).patch(|at| terms::concept(at, NO_TABLE)),
        security: orders::security(group.orc(28)),
        notes: Items::replace(notes::annotations(out, &group.notes)),
        ..ResultChange::default()
    };
    if group.obr(8).is_empty() {
        say.effective_at = group.obr(7).patch(data::when);
    } else {
        say.effective_period = data::period_of(group.obr(7), group.obr(8)).into();
    }
    if let Some(code) = group.obr(25).part(1).text() {
        say.status = Patch::Set(status(&code));
        say.status_original = Patch::Set(Concept::coded(&terms::v2("0123"), &code, None));
    }
    let interpreters = group.obr(32).reps();
    let mut interpreters: Vec<Ref> = interpreters
        .iter()
        .filter_map(|rep| from_ndl(out, *rep))
        .collect();
    interpreters.extend(people::in_roles(out, &group.roles, &["PRI", "PI", "ARI", "AI"]));
    say.interpreters = Items::replace(interpreters);
    let (mut performers, mut roles) = (vec![], vec![]);
    for (field, code, display) in [(34, "SPRF", "secondary performer"), (35, "TRANS", "Transcriber")] {
        for rep in group.obr(field).reps() {
            let Some(actor) = from_ndl(out, rep) else { continue };
            let role = Concept::coded(&hl7("v3-ParticipationType"), code, Some(display));
            performers.push(actor.clone());
            roles.push(Performer {
                actor,
                role: Some(role),
            });
        }
    }
    say.performers = Items::replace(performers);
    say.performer_roles = Items::replace(roles);
    say
}

/// OBR-25, table 0123, with what the official map leaves open.
fn status(code: &str) -> ResultStatus {
    match code {
        "F" | "N" => ResultStatus::Final,
        "C" | "M" => ResultStatus::Corrected,
        "P" | "R" => ResultStatus::Preliminary,
        "A" => ResultStatus::Partial,
        "O" | "I" | "S" => ResultStatus::Registered,
        "X" => ResultStatus::Cancelled,
        _ => ResultStatus::Unknown,
    }
}

/// NDL → practitioner. Some write the name's parts as components, as an XCN has them.
fn from_ndl<'m>(out: &mut Collected<'m>, at: At<'m>) -> Option<Ref> {
    let flat = at.part(1).parts().len() <= 1;
    let is_name = at
        .part(2)
        .peek()
        .is_some_and(|text| !text.starts_with(|c: char| c.is_ascii_digit()));
    if flat && is_name {
        return parties::practitioner(out, at);
    }
    parties::practitioner_from_ndl(out, at)
}
