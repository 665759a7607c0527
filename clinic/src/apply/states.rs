//! States of visits and orders that a message does not move: one that comes late, or a second time, says nothing of an end that came
//! meanwhile. And examinations that are booked again after a modality broke them off.

use super::late::is_before;
use super::resolve::Touched;
use crate::change_set::Change;
use crate::diagnostics::{Order, OrderStatus};
use crate::held::ENDS;
use crate::imaging::{self, ImagingStep, StepStatus, step_status};
use crate::kinds::{Aggregate, Body};
use crate::patch::Patch;

/// Who is told to have written a state that a message did not move ([`crate::held::Kept::by`]).
pub(super) const ANOTHER_EVENT: &str = "another event";

/// What is still said of a known visit or order whose state this change does not move ([`Change::stays_in`],
/// [`Change::order_stays_in`]): all but the state. None: the state moves, or is the same already.
pub(super) fn that_stays(change: &Change, known: &Touched, body: &Body) -> Option<Body> {
    match (body, &known.before.as_ref()?.aggregate) {
        (Body::Encounter(say), Aggregate::Encounter(visit)) => {
            let (said, stored) = (say.status.value()?, visit.status.as_ref()?);
            if said == stored || !change.stays_in.contains(stored) {
                return None;
            }
            let mut rest = say.clone();
            rest.status = Patch::Absent;
            Some(Body::Encounter(rest))
        }
        (Body::Order(say), Aggregate::Order(order)) => {
            let (said, stored) = (say.status.value()?, order.status.as_ref()?);
            if said == stored || !change.order_stays_in.contains(stored) {
                return None;
            }
            let mut rest = say.clone();
            rest.status = Patch::Absent;
            rest.status_original = Patch::Absent;
            rest.status_changed = Patch::Absent;
            Some(Body::Order(rest))
        }
        _ => None,
    }
}

/// An order that the modalities broke off is to be done again where a new beginning is said of it, and no other state: all that is
/// said, and that it is active. None: it is nothing of the kind.
pub(super) fn booked_again(known: &Touched, body: &Body) -> Option<Body> {
    let (Body::Order(say), Aggregate::Order(order)) = (body, &known.before.as_ref()?.aggregate) else {
        return None;
    };
    let says_an_end = match &say.status {
        Patch::Absent | Patch::Set(OrderStatus::Active) => false,
        Patch::Set(_) | Patch::Clear => true,
    };
    if says_an_end || order.status != Some(OrderStatus::Revoked) {
        return None;
    }
    let planned = imaging::planned(say.imaging.value()?, order.imaging.as_ref(), known.id);
    if !planned.steps.iter().any(|step| is_booked_again(order, step)) {
        return None;
    }
    let mut again = say.clone();
    again.status = Patch::Set(OrderStatus::Active);
    Some(Body::Order(again))
}

/// Whether this is the plan of a step that the modalities broke off, with a beginning that it had not before and that lies after
/// all that they did.
pub(super) fn is_booked_again(before: &Order, step: &ImagingStep) -> bool {
    let planned = before
        .imaging
        .as_ref()
        .map_or(&[][..], |imaging| imaging.steps.as_slice());
    let known = planned.iter().find(|known| known.id == step.id);
    let (Some(known), Some(start)) = (known, &step.start) else {
        return false;
    };
    let is_broken_off = step_status(&before.performed, known, planned) == Some(StepStatus::Discontinued);
    let mut done = before
        .performed
        .iter()
        .filter_map(|one| one.ended.as_ref().or(one.started.as_ref()));
    is_broken_off && known.start.as_ref() != Some(start) && !done.any(|done| is_before(start, done))
}

/// Takes the steps that are to be done again back among those that are planned: those with a new beginning, else, of an order that
/// goes on again as a whole, all that were broken off.
pub(super) fn plan_again(before: &Order, after: &mut Order) {
    let is_again = before.status == Some(OrderStatus::Revoked)
        && after
            .status
            .is_some_and(|status| !ENDS.contains(&status.as_str()));
    let Some(imaging) = &mut after.imaging else { return };
    let is_broken_off = |step: &&mut ImagingStep| step.status == Some(StepStatus::Discontinued);
    let mut any = false;
    for step in imaging.steps.iter_mut().filter(is_broken_off) {
        if is_booked_again(before, step) {
            step.status = Some(StepStatus::Scheduled);
            any = true;
        }
    }
    if is_again && !any {
        for step in imaging.steps.iter_mut().filter(is_broken_off) {
            step.status = Some(StepStatus::Scheduled);
        }
    }
}
