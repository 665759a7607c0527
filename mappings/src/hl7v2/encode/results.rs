//! Reports → ORC, OBR, NTE, TQ1, OBX, SPM; ORU^R01. HL7 v2.5.1, 7.3.1 and 7.4.1.

use std::collections::HashMap;

use clinic::diagnostics::{Observation, Order, Result as Report, ResultStatus, Specimen, Value};
use clinic::imaging::ACCESSION;
use clinic::value::{Attachment, Concept};
use uuid::Uuid;

use super::datatypes as data;
use super::notes;
use super::observations::{self, Series};
use super::orders;
use super::terms;
use super::wire::{Seg, comps, t};
use super::world::{Said, World};
use crate::hl7v2::decode::terms::{mapped, table};

/// Every report of a patient.
pub(super) fn of_patient(world: &World<'_>, patient: Uuid, out: &mut Vec<Seg>) {
    let mut number = 0;
    for (said, report) in world.results() {
        if report.patient.as_ref().and_then(|of| world.id(of)) == Some(patient) {
            number += 1;
            group(world, said, report, number, false, out);
        }
    }
    for (_, document) in world.documents() {
        if document.patient.as_ref().and_then(|of| world.id(of)) != Some(patient) {
            continue;
        }
        number += 1;
        let mut obr = Seg::numbered("OBR", number);
        let id = document.identifiers.first();
        obr.comps(3, id.map(|id| data::ei(id, world.profile)).unwrap_or_default());
        obr.comps(4, data::concept(document.kind.as_ref(), world.profile));
        obr.put(7, data::owhen(document.date.as_ref()));
        obr.put(22, data::owhen(document.date.as_ref()));
        obr.put(25, "F".to_owned());
        out.push(obr);
        let mut series = Series::default();
        for file in &document.contents {
            series.file(file, "F", out);
        }
    }
}

/// Earlier results that are sent along with an order: ORC-1 is PR.
pub(super) fn prior(world: &World<'_>, said: &Said<'_>, report: &Report, out: &mut Vec<Seg>) {
    group(world, said, report, 1, true, out);
}

fn group(
    world: &World<'_>,
    said: &Said<'_>,
    report: &Report,
    number: usize,
    prior: bool,
    out: &mut Vec<Seg>,
) {
    let order_ref = report.orders.first();
    let order = order_ref.and_then(|order| world.order(order));
    let order_said = order_ref.and_then(|order| world.said_of(world.id(order)?));
    let nothing = Order::default();
    let ordered = order.unwrap_or(&nothing);
    let mut obr = orders::obr(world, ordered, number);
    from_report(world, report, &mut obr);
    let own = report
        .identifiers
        .iter()
        .find(|id| id.kind_code() == Some(ACCESSION));
    let planned = ordered
        .imaging
        .as_ref()
        .and_then(|imaging| imaging.accession.as_ref());
    obr.text(18, own.map(|id| &id.value).or(planned));
    let specimens = orders::specimens(world, &report.specimens);
    orders::collector(world, &specimens, &mut obr);
    if let Some(order_said) = order_said {
        let mut orc = orders::orc(world, order_said, ordered, Some(report));
        if orc.is_empty(16) {
            orc.comps(16, data::concept(report.control_reason.as_ref(), world.profile));
        }
        if orc.is_empty(28) {
            for label in &report.security {
                orc.rep(
                    28,
                    comps(terms::coding(
                        label,
                        mapped("0177", "ConfidentialityCode"),
                        world.profile,
                    )),
                );
            }
        }
        // What OBR says too needs no ORC; the control code of a report is RE.
        let needed = (1..=38).any(|field| !matches!(field, 2 | 3 | 8 | 12 | 14) && !orc.is_empty(field));
        if prior {
            orc.put(1, "PR".to_owned());
            if orc.is_empty(5) {
                orc.put(5, orders::state(ordered).to_owned());
            }
        } else if orc.is_empty(1) && needed {
            orc.put(1, "RE".to_owned());
        }
        if needed || prior {
            out.push(orc);
        }
    }
    let mut timings = vec![];
    let _ = orders::with_timing(world, ordered, &mut timings);
    out.push(obr);
    out.extend(notes::ntes(world, &report.notes));
    out.extend(timings);
    orders::diagnoses(world, ordered, out);
    measured(world, said, report, ordered, &specimens, out);
}

/// What the report adds to the order in its OBR.
fn from_report(world: &World<'_>, report: &Report, obr: &mut Seg) {
    let profile = world.profile;
    if obr.is_empty(2) && obr.is_empty(3) {
        orders::numbers(&report.identifiers, world, obr);
    }
    obr.comps(4, data::concept(report.code.as_ref(), profile));
    obr.put(7, data::owhen(report.effective_at.as_ref()));
    if let Some(period) = &report.effective_period {
        obr.put(7, data::owhen(period.start.as_ref()));
        obr.put(8, data::owhen(period.end.as_ref()));
    }
    obr.put(22, data::owhen(report.issued.as_ref()));
    obr.reps(
        24,
        report
            .categories
            .iter()
            .map(|one| terms::cwe(one, table("0074"), profile)),
    );
    obr.put(25, status(report));
    let of = |person: &clinic::value::Ref| {
        world
            .practitioner(person)
            .map(|person| data::ndl(person, profile))
            .unwrap_or_default()
    };
    obr.reps(32, report.interpreters.iter().map(of));
    for performer in &report.performers {
        let role = report
            .performer_roles
            .iter()
            .find(|known| world.id(&known.actor) == world.id(performer))
            .and_then(|known| known.role.as_ref())
            .and_then(Concept::code);
        let field = if role == Some("TRANS") { 35 } else { 34 };
        obr.rep(field, comps(of(performer)));
    }
    let parent = report
        .observations
        .iter()
        .filter_map(|observation| world.observation(observation))
        .find_map(|observation| world.observation(observation.part_of.first()?));
    obr.comps(
        26,
        parent
            .map(|parent| observations::parent(world, parent))
            .unwrap_or_default(),
    );
}

/// Table 0123: the sender's own code where it still says how far the report is.
fn status(report: &Report) -> String {
    let original = report
        .status_original
        .as_ref()
        .and_then(|status| terms::code_of(status, "0123"));
    let stands_for: &[&str] = match report.status {
        None | Some(ResultStatus::Unknown) => {
            // A code that stands for a state is one for what was before.
            let known = "ACFIMNOPRSX";
            let own = original.filter(|code| !known.contains(code.as_str()));
            return own.map(|code| t(code)).unwrap_or_default();
        }
        Some(ResultStatus::Final) => &["F", "N"],
        Some(ResultStatus::Corrected) => &["C", "M"],
        Some(ResultStatus::Amended | ResultStatus::Appended) => &["C", "M"],
        Some(ResultStatus::Preliminary) => &["P", "R"],
        Some(ResultStatus::Partial) => &["A"],
        Some(ResultStatus::Registered) => &["I", "O", "S"],
        Some(ResultStatus::Cancelled | ResultStatus::EnteredInError) => &["X"],
    };
    let own = original.filter(|code| stands_for.contains(&code.as_str()));
    let usual = stands_for.first().copied().unwrap_or_default();
    own.map_or(usual, String::as_str).to_owned()
}

/// OBX of what the change set speaks of, in its order, and SPM. A number of the specimen in OBX-33 says which one an
/// observation is from; without a number it stands behind its SPM.
fn measured(
    world: &World<'_>,
    said: &Said<'_>,
    report: &Report,
    order: &Order,
    specimens: &[(Uuid, &Specimen)],
    out: &mut Vec<Seg>,
) {
    let mut wanted = world.ids(&report.observations);
    wanted.extend(world.ids(&order.supporting_info));
    let all: Vec<_> = world
        .observations()
        .into_iter()
        .filter(|(said, _)| wanted.contains(&said.id))
        .collect();
    let behind = |observation: &Observation| {
        let id = observation
            .specimen
            .as_ref()
            .and_then(|specimen| world.id(specimen))?;
        let (_, specimen) = specimens.iter().find(|(known, _)| *known == id)?;
        let has_number = specimen
            .identifiers
            .iter()
            .any(|id| matches!(id.kind_code(), Some("PGN" | "FGN")));
        (!has_number).then_some(id)
    };
    let files = shown_files(report, &all);
    let file_of = |said: &Said<'_>| files.iter().find(|(id, _)| *id == said.id).map(|(_, file)| *file);
    let mut series = Series::default();
    for (said, observation) in all.iter().filter(|(_, one)| behind(one).is_none()) {
        series.write(world, said, observation, file_of(said), true, out);
    }
    let newly_said = |file: &Attachment| {
        said.says.iter().any(|say| match say {
            clinic::Body::Result(say) => say.documents.values().contains(file),
            _ => false,
        })
    };
    let is_shown = |file: &Attachment| files.iter().any(|(_, shown)| *shown == file);
    for file in report
        .documents
        .iter()
        .filter(|file| newly_said(file) && !is_shown(file))
    {
        series.file(file, "F", out);
    }
    for (idx, (id, specimen)) in specimens.iter().enumerate() {
        orders::spm(world, specimen, idx + 1, out);
        for (said, observation) in all.iter().filter(|(_, one)| behind(one) == Some(*id)) {
            series.write(world, said, observation, file_of(said), false, out);
        }
    }
}

/// Which file of the report each observation shows: the first of its title and kind, the second (numbered ` (2)`) for
/// the second observation that shows one of these, and so on.
fn shown_files<'r>(report: &'r Report, all: &[(&Said<'_>, &Observation)]) -> Vec<(Uuid, &'r Attachment)> {
    let mut counts: HashMap<(Option<&str>, Option<&str>), u32> = HashMap::new();
    let mut files = vec![];
    for (said, observation) in all {
        let Some(Value::Attachment(shown)) = &observation.value else {
            continue;
        };
        let count = counts
            .entry((shown.title.as_deref(), shown.content_type.as_deref()))
            .or_default();
        *count += 1;
        let title = match *count {
            1 => shown.title.clone(),
            count => {
                let title = shown.title.as_deref().unwrap_or_default();
                Some(format!("{title} ({count})").trim().to_owned())
            }
        };
        let mut known = report.documents.iter();
        let file = known.find(|file| file.title == title && file.content_type == shown.content_type);
        files.extend(file.map(|file| (said.id, file)));
    }
    files
}
