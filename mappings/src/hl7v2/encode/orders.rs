//! Orders → ORC, TQ1, OBR with all that stands below them; OML^O21. HL7 v2.5.1, 4.4.6, 4.5.

use clinic::Body;
use clinic::change_set::Act;
use clinic::diagnostics::{
    Order, OrderIntent, OrderStatus, Priority, Result as Report, Specimen, SpecimenStatus,
};
use clinic::value::{Annotation, Concept, Identifier, Timing};
use uuid::Uuid;

use super::datatypes as data;
use super::imaging;
use super::notes;
use super::observations::Series;
use super::record;
use super::results;
use super::terms;
use super::timing;
use super::wire::{Seg, comps, subs, t};
use super::world::{Said, World};
use crate::hl7v2::decode::notes::TIMING_NOTES;
use crate::hl7v2::decode::terms::{NO_TABLE, mapped, table, v2};

/// Every order of a patient with what hangs below it; earlier results that were sent along stand in their order.
pub(super) fn of_patient(world: &World<'_>, patient: Uuid, out: &mut Vec<Seg>) {
    let priors = priors(world);
    let mut series_number = 0;
    for (said, order) in world.orders() {
        let is_prior = priors.iter().any(|prior| prior.orders.contains(&said.id));
        if is_prior || order.patient.as_ref().and_then(|of| world.id(of)) != Some(patient) {
            continue;
        }
        series_number += 1;
        let mut orc = orc(world, said, order, None);
        if orc.is_empty(1) {
            orc.put(1, control(world, said, order).to_owned());
        }
        out.push(orc);
        let remarks = with_timing(world, order, out);
        let mut obr = obr(world, order, series_number);
        if let Some(imaging) = order.imaging.as_ref().filter(|_| imaging::is_all_imaging(world)) {
            imaging::on_obr(world, imaging, &mut obr);
        }
        obr.reps(
            24,
            order
                .categories
                .iter()
                .map(|one| terms::cwe(one, table("0074"), world.profile)),
        );
        let mut specimens = specimens(world, &order.specimens);
        collector(world, &specimens, &mut obr);
        if imaging::is_all_imaging(world) {
            source(world, &mut specimens, &mut obr);
        }
        out.push(obr);
        out.extend(notes::ntes(world, remarks));
        diagnoses(world, order, out);
        below(world, order, &priors, &specimens, out);
        if let Some(imaging) = order.imaging.as_ref().filter(|_| imaging::is_all_imaging(world)) {
            imaging::ipcs(world, imaging, out);
        }
        for prior in priors.iter().filter(|prior| prior.is_of(world, order)) {
            results::prior(world, prior.said, prior.report, out);
        }
    }
}

/// An earlier result that was sent along with an order.
struct Prior<'w, 'a> {
    said: &'w Said<'a>,
    report: &'a Report,
    orders: Vec<Uuid>,
    observations: Vec<Uuid>,
}

impl Prior<'_, '_> {
    fn is_of(&self, world: &World<'_>, order: &Order) -> bool {
        let informs = world.ids(&order.supporting_info);
        self.observations.iter().any(|id| informs.contains(id))
    }
}

fn priors<'w, 'a>(world: &'w World<'a>) -> Vec<Prior<'w, 'a>> {
    let all = world.results().into_iter();
    all.map(|(said, report)| Prior {
        said,
        report,
        orders: world.ids(&report.orders),
        observations: world.ids(&report.observations),
    })
    .collect()
}

/// OBX of the order, then each SPM with its own.
fn below(
    world: &World<'_>,
    order: &Order,
    priors: &[Prior<'_, '_>],
    specimens: &[(Uuid, &Specimen)],
    out: &mut Vec<Seg>,
) {
    let informs = world.ids(&order.supporting_info);
    let mut series = Series::default();
    let answers: Vec<_> = world
        .observations()
        .into_iter()
        .filter(|(said, _)| informs.contains(&said.id))
        .filter(|(said, _)| !priors.iter().any(|prior| prior.observations.contains(&said.id)))
        .collect();
    let specimen_of = |observation: &clinic::diagnostics::Observation| {
        let id = observation
            .specimen
            .as_ref()
            .and_then(|specimen| world.id(specimen))?;
        specimens.iter().any(|(known, _)| *known == id).then_some(id)
    };
    for (said, observation) in answers.iter().filter(|(_, one)| specimen_of(one).is_none()) {
        series.write(world, said, observation, None, false, out);
    }
    for (idx, (id, specimen)) in specimens.iter().enumerate() {
        spm(world, specimen, idx + 1, out);
        for (said, observation) in answers.iter().filter(|(_, one)| specimen_of(one) == Some(*id)) {
            series.write(world, said, observation, None, false, out);
        }
    }
}

/// Specimens of an order or report that the change set speaks of, in its order.
pub(super) fn specimens<'a>(world: &World<'a>, of: &[clinic::value::Ref]) -> Vec<(Uuid, &'a Specimen)> {
    let ids = world.ids(of);
    let mut known: Vec<(Uuid, &Specimen)> = vec![];
    for reference in of {
        let Some(id) = world.id(reference) else { continue };
        if world.said_of(id).is_none() || known.iter().any(|(one, _)| *one == id) || !ids.contains(&id) {
            continue;
        }
        if let Some(specimen) = world.specimen(reference) {
            known.push((id, specimen));
        }
    }
    known
}

/// Who took the first specimen → OBR-10.
pub(super) fn collector(world: &World<'_>, specimens: &[(Uuid, &Specimen)], obr: &mut Seg) {
    if let Some((_, first)) = specimens.first() {
        obr.comps(10, data::xcn_of(world, first.collector.as_ref()));
    }
}

/// Problems that led to the order → DG1.
pub(super) fn diagnoses(world: &World<'_>, order: &Order, out: &mut Vec<Seg>) {
    let visit = order.encounter.as_ref().and_then(|visit| world.encounter(visit));
    let mut number = 0;
    for reason in &order.reason_conditions {
        let (Some(id), Some(condition)) = (world.id(reason), world.condition(reason)) else {
            continue;
        };
        if world.said_of(id).is_none() || condition.code.is_none() {
            continue;
        }
        number += 1;
        out.push(record::dg1(world, id, condition, visit, number));
        out.extend(notes::ntes(world, &condition.notes));
    }
}

/// TQ1, with the remarks that are its words, and those that are left for NTE.
pub(super) fn with_timing<'o>(
    world: &World<'_>,
    order: &'o Order,
    out: &mut Vec<Seg>,
) -> Vec<&'o Annotation> {
    let (words, remarks): (Vec<&Annotation>, Vec<&Annotation>) = order
        .notes
        .iter()
        .partition(|remark| TIMING_NOTES.iter().any(|kind| notes::is_of(remark, kind)));
    let words = TIMING_NOTES.map(|kind| {
        let of = words.iter().filter(|remark| notes::is_of(remark, kind));
        let texts: Vec<&str> = of.map(|remark| remark.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    });
    let by_urgency;
    let priority = match (&order.priority_original, order.priority) {
        (Some(original), _) => Some(original),
        (None, Some(priority)) => {
            let code = match priority {
                Priority::Stat => "S",
                Priority::Urgent | Priority::Asap => "A",
                Priority::Routine => "R",
            };
            by_urgency = Concept::coded(&v2("0485"), code, None);
            Some(&by_urgency)
        }
        (None, None) => None,
    };
    // From when to when it is to be done is said where a pattern is: OBR-6 has room for a moment only.
    let in_period = order.occurrence_period.as_ref().map(|period| Timing {
        bounds: Some(period.clone()),
        ..Timing::default()
    });
    let by_step = imaging::timing_of(order).filter(|_| order.occurrence_at.is_none());
    let tq1 = timing::tq1(
        order
            .occurrence_timing
            .as_ref()
            .or(in_period.as_ref())
            .or(by_step.as_ref()),
        order.quantity.as_ref(),
        priority,
        words,
        world.profile,
    );
    out.extend(tq1);
    remarks
}

/// The numbers of an order: the placer's first (ORC-2, OBR-2), the filler's (ORC-3, OBR-3), further ones of the placer (ORC-33). HL7
/// v2.5.1, 4.5.1.2.
pub(super) fn numbers(identifiers: &[Identifier], world: &World<'_>, segment: &mut Seg) {
    let of = |kind: &'static str| identifiers.iter().filter(move |id| id.kind_code() == Some(kind));
    let profile = world.profile;
    segment.comps(
        2,
        of("PLAC")
            .next()
            .map(|id| data::ei(id, profile))
            .unwrap_or_default(),
    );
    segment.comps(
        3,
        of("FILL")
            .next()
            .map(|id| data::ei(id, profile))
            .unwrap_or_default(),
    );
    // An order of neither kind of number: what it has is the placer's, so that it can be found again.
    if segment.is_empty(2) && segment.is_empty(3) {
        let any = identifiers
            .iter()
            .find(|id| !matches!(id.kind_code(), Some("PGN" | "FGN")));
        segment.comps(2, any.map(|id| data::ei(id, profile)).unwrap_or_default());
    }
    if segment.name() == "ORC" {
        segment.reps(33, of("PLAC").skip(1).map(|id| data::cx(id, profile)));
        segment.comps(
            38,
            of("FGN")
                .next()
                .map(|id| data::ei(id, profile))
                .unwrap_or_default(),
        );
    }
}

/// What is said of an order itself, with its control code and state.
fn said_codes<'s>(said: &'s Said<'_>) -> Option<&'s Concept> {
    said.says.iter().find_map(|say| match say {
        Body::Order(say) => say.status_original.value(),
        _ => None,
    })
}

/// The control code of an order whose message named none (table 0119).
fn control(world: &World<'_>, said: &Said<'_>, order: &Order) -> &'static str {
    match order.status {
        Some(OrderStatus::Revoked | OrderStatus::EnteredInError) => "CA",
        Some(OrderStatus::OnHold) => "HD",
        Some(OrderStatus::Completed) => "SC",
        Some(OrderStatus::Draft | OrderStatus::Active | OrderStatus::Unknown) | None => {
            if world.is_new(said.id) { "NW" } else { "XO" }
        }
    }
}

/// ORC-5 (table 0038) of an order whose message said no state; empty while it goes on.
pub(super) fn state(order: &Order) -> &'static str {
    match order.status {
        Some(OrderStatus::Completed) => "CM",
        Some(OrderStatus::OnHold) => "HD",
        Some(OrderStatus::Revoked) => "CA",
        Some(OrderStatus::EnteredInError) => "ER",
        Some(OrderStatus::Draft | OrderStatus::Active | OrderStatus::Unknown) | None => "",
    }
}

/// Order → ORC. `report` adds what the report says of its own state.
pub(super) fn orc(world: &World<'_>, said: &Said<'_>, order: &Order, report: Option<&Report>) -> Seg {
    let profile = world.profile;
    let mut orc = Seg::new("ORC");
    let codes = said_codes(said);
    orc.text(1, codes.and_then(|codes| terms::code_of(codes, "0119")));
    numbers(&order.identifiers, world, &mut orc);
    orc.comps(
        4,
        order
            .group
            .as_ref()
            .map(|id| data::ei(id, profile))
            .unwrap_or_default(),
    );
    orc.text(5, codes.and_then(|codes| terms::code_of(codes, "0038")));
    if codes.is_none() && report.is_none() {
        orc.put(5, state(order).to_owned());
    }
    orc.comps(8, data::eip(&order.parent_identifiers, profile));
    let moved = order.status_changed.as_ref().or(order.authored.as_ref());
    orc.put(9, data::owhen(moved));
    orc.comps(12, data::xcn_of(world, order.requester.as_ref()));
    act(world, said.id, &mut orc);
    orc.reps(14, order.callback.iter().map(data::xtn));
    orc.comps(16, data::concept(order.control_reason.as_ref(), profile));
    if let Some(clinic) = order
        .requester_organization
        .as_ref()
        .and_then(|of| world.clinic(of))
    {
        orc.comps(21, data::xon(clinic, profile));
        orc.reps(22, clinic.addresses.first().map(data::xad));
        orc.reps(23, clinic.telecoms.iter().map(data::xtn));
    }
    let requester = order
        .requester
        .as_ref()
        .and_then(|person| world.practitioner(person));
    orc.reps(
        24,
        requester
            .and_then(|person| person.addresses.first())
            .map(data::xad),
    );
    for label in &order.security {
        orc.rep(
            28,
            comps(terms::coding(
                label,
                mapped("0177", "ConfidentialityCode"),
                profile,
            )),
        );
    }
    orc.reps(
        29,
        order
            .location_codes
            .iter()
            .map(|code| terms::cwe(code, mapped("0482", "OrderType"), profile)),
    );
    orc
}

/// Who did what to the order: ORC-10, -11, -13, -17, -19; who ordered is the order's own (ORC-12).
pub(super) fn act(world: &World<'_>, order: Uuid, orc: &mut Seg) {
    let acts = &world.changes.about.acts;
    let Some(Act {
        agents,
        on_behalf_of,
        place,
        ..
    }) = acts.iter().find(|act| world.ids(&act.target).contains(&order))
    else {
        return;
    };
    for (agent, role) in agents {
        let field = match role.code() {
            Some("enterer") => 10,
            Some("verifier") => 11,
            Some("performer") => 19,
            Some(_) | None => continue,
        };
        orc.rep(field, comps(data::xcn_of(world, Some(agent))));
    }
    // A site is that of the ordering facility, which ORC-21 says.
    if let Some(place) = place.as_ref().filter(|place| world.room(place).is_some()) {
        orc.comps(13, data::pl(world, place));
    }
    if let Some(clinic) = on_behalf_of.as_ref().and_then(|clinic| world.clinic(clinic)) {
        orc.comps(17, data::organisation_cwe(clinic));
    }
}

/// Order → OBR, without what a report adds.
pub(super) fn obr(world: &World<'_>, order: &Order, number: usize) -> Seg {
    let profile = world.profile;
    let mut obr = Seg::numbered("OBR", number);
    numbers(&order.identifiers, world, &mut obr);
    obr.comps(4, data::concept(order.code.as_ref(), profile));
    obr.put(6, data::owhen(order.occurrence_at.as_ref()));
    if order.intent == Some(OrderIntent::ReflexOrder) {
        obr.put(11, "G".to_owned());
    }
    // OBR-13 is a text in 2.5.1; a code is written as CWE, as later versions have it.
    for information in &order.clinical_info {
        let words = information
            .text
            .as_ref()
            .filter(|_| information.codings.is_empty());
        let piece = words.map_or_else(
            || comps(terms::cwe(information, NO_TABLE, profile)),
            |text| t(text),
        );
        obr.rep(13, piece);
    }
    obr.comps(16, data::xcn_of(world, order.requester.as_ref()));
    obr.reps(17, order.callback.iter().map(data::xtn));
    obr.comps(29, data::eip(&order.parent_identifiers, profile));
    obr.reps(
        31,
        order
            .reasons
            .iter()
            .map(|reason| terms::cwe(reason, NO_TABLE, profile)),
    );
    obr.reps(
        46,
        order
            .details
            .iter()
            .map(|detail| terms::cwe(detail, table("0411"), profile)),
    );
    obr
}

/// A specimen of which nothing is said but what OBR-15 has a place for → OBR-15 (SPS, HL7 v2.5.1, 2.A.72), with OBR-9 and OBR-14:
/// OMI_O23 has no SPM. One of which more is said stays for its SPM.
fn source(world: &World<'_>, specimens: &mut Vec<(Uuid, &Specimen)>, obr: &mut Seg) {
    let [(_, specimen)] = specimens.as_slice() else {
        return;
    };
    let rest = Specimen {
        kind: None,
        body_site: None,
        additives: vec![],
        conditions: vec![],
        quantity: None,
        received: None,
        collector: None,
        patient: None,
        orders: vec![],
        ..(*specimen).clone()
    };
    if rest != Specimen::default() || 1 < specimen.additives.len() || 1 < specimen.conditions.len() {
        return;
    }
    let part = |concept: Option<&Concept>, of| {
        let said = concept.map(|concept| terms::cwe(concept, of, world.profile));
        subs(said.unwrap_or_default())
    };
    obr.comps(9, specimen.quantity.as_ref().map(data::cq).unwrap_or_default());
    obr.put(14, data::owhen(specimen.received.as_ref()));
    obr.comps(
        15,
        vec![
            part(specimen.kind.as_ref(), table("0487")),
            part(specimen.additives.first(), table("0371")),
            String::new(),
            part(specimen.body_site.as_ref(), table("0163")),
            String::new(),
            part(specimen.conditions.first(), table("0493")),
        ],
    );
    specimens.clear();
}

/// Specimen → SPM with NTE. HL7 v2.5.1, 7.4.3.
pub(super) fn spm(world: &World<'_>, specimen: &Specimen, number: usize, out: &mut Vec<Seg>) {
    let profile = world.profile;
    let mut spm = Seg::numbered("SPM", number);
    spm.comps(2, data::eip(&specimen.identifiers, profile));
    for parent in &specimen.parents {
        if let Some(parent) = world.specimen(parent) {
            spm.rep(3, comps(data::eip(&parent.identifiers, profile)));
        }
    }
    let of = |concept: Option<&Concept>, table| {
        concept
            .map(|concept| terms::cwe(concept, table, profile))
            .unwrap_or_default()
    };
    spm.comps(4, of(specimen.kind.as_ref(), table("0487")));
    spm.reps(
        6,
        specimen
            .additives
            .iter()
            .map(|one| terms::cwe(one, table("0371"), profile)),
    );
    spm.comps(7, of(specimen.method.as_ref(), table("0488")));
    spm.comps(8, of(specimen.body_site.as_ref(), NO_TABLE));
    spm.comps(12, specimen.quantity.as_ref().map(data::cq).unwrap_or_default());
    let (plain, others): (Vec<&Annotation>, Vec<&Annotation>) =
        specimen.notes.iter().partition(|remark| notes::is_plain(remark));
    for remark in plain {
        spm.rep(14, t(&remark.text));
    }
    spm.put(17, data::owhen(specimen.collected_at.as_ref()));
    spm.comps(
        17,
        specimen
            .collected_period
            .as_ref()
            .map(data::period)
            .unwrap_or_default(),
    );
    spm.put(18, data::owhen(specimen.received.as_ref()));
    let usable = match specimen.status {
        Some(SpecimenStatus::Available) => "Y",
        Some(
            SpecimenStatus::Unavailable | SpecimenStatus::Unsatisfactory | SpecimenStatus::EnteredInError,
        ) => "N",
        None => "",
    };
    spm.put(20, usable.to_owned());
    spm.reps(
        24,
        specimen
            .conditions
            .iter()
            .map(|one| terms::cwe(one, table("0493"), profile)),
    );
    spm.comps(27, of(specimen.container.as_ref(), NO_TABLE));
    spm.reps(30, specimen.accession.iter().map(|id| data::cx(id, profile)));
    let is_shipment = |id: &&Identifier| {
        let kind = id.kind.as_ref();
        kind.is_some_and(|kind| kind.code().is_none() && kind.text.as_deref() == Some("Shipment"))
    };
    let is_own = |id: &&Identifier| matches!(id.kind_code(), Some("PGN" | "FGN"));
    let others_numbers = specimen
        .identifiers
        .iter()
        .filter(|id| !is_own(id) && !is_shipment(id));
    spm.reps(31, others_numbers.map(|id| data::cx(id, profile)));
    let shipment = specimen.identifiers.iter().find(is_shipment);
    spm.comps(32, shipment.map(|id| data::ei(id, profile)).unwrap_or_default());
    out.push(spm);
    out.extend(notes::ntes(world, others));
}
