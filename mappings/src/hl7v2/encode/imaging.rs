//! Imaging orders → IPC of OMI^O23 (HL7 v2.5.1, 4.5.6; IHE RAD-4), and how far they are → ORM^O01 to whoever keeps the
//! schedule (IHE RAD-3): ORC-1 `SC`, ORC-5 `IP`, `CM`, `DC`, or `SC` where a wrong entry was taken back.

use clinic::diagnostics::Order;
use clinic::imaging::{Imaging, ImagingStep, PerformedStep};
use clinic::value::{Period, Timing};
use uuid::Uuid;

use super::datatypes as data;
use super::orders;
use super::terms;
use super::wire::{Seg, comps, ot, t};
use super::world::World;
use crate::hl7v2::decode::terms::{NO_TABLE, table};

/// True where every order of the change set is one of images.
pub(super) fn is_all_imaging(world: &World<'_>) -> bool {
    let orders = world.orders();
    !orders.is_empty() && orders.iter().all(|(_, order)| order.imaging.is_some())
}

/// The state (ORC-5, table 0038) that an event of an imaging order tells; none for any other event.
pub(super) fn state_of_event(world: &World<'_>) -> Option<&'static str> {
    let about = world.changes.about.message_type.as_deref().unwrap_or_default();
    let state = match about.strip_prefix("Order.")? {
        "started" => "IP",
        "completed" => "CM",
        "discontinued" => "DC",
        "returned" => "SC",
        _ => return None,
    };
    let (said, order) = world.orders().into_iter().next()?;
    let is_told = world.said.first().is_some_and(|first| first.id == said.id);
    (is_told && order.imaging.is_some()).then_some(state)
}

/// How far the order of the event is: ORC and OBR, nothing else.
pub(super) fn state_of_patient(world: &World<'_>, state: &'static str, patient: Uuid, out: &mut Vec<Seg>) {
    let Some((said, order)) = world.orders().into_iter().next() else {
        return;
    };
    if order.patient.as_ref().and_then(|of| world.id(of)) != Some(patient) {
        return;
    }
    let last = order.performed.last();
    let mut orc = orders::orc(world, said, order, None);
    orc.put(1, "SC".to_owned());
    orc.put(5, state.to_owned());
    let moved = last.and_then(|one| one.ended.as_ref().or(one.started.as_ref()));
    orc.put(9, data::owhen(moved));
    if let Some(reason) = last.and_then(|one| one.reason.as_ref()).filter(|_| state == "DC") {
        orc.comps(16, data::concept(Some(reason), world.profile));
    }
    out.push(orc);
    let mut obr = orders::obr(world, order, 1);
    if let Some(imaging) = &order.imaging {
        obr.text(18, imaging.accession.as_ref());
        obr.text(19, imaging.procedure_id.as_ref());
        let step = step_of(imaging, last);
        obr.text(20, step.and_then(|step| step.id.as_ref()));
        obr.text(
            24,
            last.and_then(|one| one.modality.as_ref())
                .or(step.and_then(|step| step.modality.as_ref())),
        );
    }
    if obr.is_empty(24) {
        let section = order.categories.first();
        obr.comps(
            24,
            section
                .map(|one| terms::cwe(one, table("0074"), world.profile))
                .unwrap_or_default(),
        );
    }
    out.push(obr);
}

/// The step that a modality spoke of last; of several none.
fn step_of<'i>(imaging: &'i Imaging, last: Option<&PerformedStep>) -> Option<&'i ImagingStep> {
    if let [only] = imaging.steps.as_slice() {
        return Some(only);
    }
    let [id] = last?.steps.as_slice() else { return None };
    imaging.steps.iter().find(|step| step.id.as_ref() == Some(id))
}

/// What an order says to its modality beside what every order says → OBR-12, OBR-30, OBR-34, OBR-44.
pub(super) fn on_obr(world: &World<'_>, imaging: &Imaging, obr: &mut Seg) {
    obr.text(30, imaging.transport.as_ref());
    for (field, concept) in [(12, &imaging.danger), (44, &imaging.procedure)] {
        let said = concept
            .as_ref()
            .map(|one| terms::cwe(one, NO_TABLE, world.profile));
        obr.comps(field, said.unwrap_or_default());
    }
    let performer = imaging.steps.iter().find_map(|step| step.performer.as_ref());
    if let Some(person) = performer.and_then(|person| world.practitioner(person)) {
        obr.comps(34, data::ndl(person, world.profile));
    }
}

/// When the first step begins → TQ1, where the order itself names no time.
pub(super) fn timing_of(order: &Order) -> Option<Timing> {
    let steps = order.imaging.iter().flat_map(|imaging| &imaging.steps);
    let step = steps.into_iter().find(|step| step.start.is_some())?;
    let start = step.start.clone()?;
    let seconds = step.duration_minutes.map(|minutes| i64::from(minutes) * 60);
    let end = seconds.and_then(|seconds| start.shifted(seconds));
    Some(Timing {
        bounds: Some(Period {
            start: Some(start),
            end,
        }),
        ..Timing::default()
    })
}

/// Each step → IPC; an order without steps has one for its numbers.
pub(super) fn ipcs(world: &World<'_>, imaging: &Imaging, out: &mut Vec<Seg>) {
    let none = [ImagingStep::default()];
    let steps = if imaging.steps.is_empty() {
        &none[..]
    } else {
        &imaging.steps
    };
    for step in steps {
        let mut ipc = Seg::new("IPC");
        let mut number = vec![ot(imaging.accession.as_ref())];
        number.extend(data::hd(imaging.accession_issuer.as_deref(), None, world.profile));
        ipc.comps(1, number);
        ipc.text(2, imaging.procedure_id.as_ref());
        ipc.text(3, imaging.study_uid.as_ref());
        ipc.text(4, step.id.as_ref());
        if let Some(modality) = &step.modality {
            ipc.comps(5, vec![t(modality), String::new(), "DCM".to_owned()]);
        }
        let protocols = step
            .protocols
            .iter()
            .map(|one| terms::cwe(one, NO_TABLE, world.profile));
        ipc.reps(6, protocols);
        if step.protocols.is_empty() {
            ipc.put(6, comps(vec![String::new(), ot(step.description.as_ref())]));
        }
        ipc.text(7, step.station_name.as_ref());
        ipc.text(8, step.location.as_ref());
        ipc.put(9, t(&step.station_aes.join("\\")));
        out.push(ipc);
    }
}
