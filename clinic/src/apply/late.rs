//! Reports that come late. What a laboratory says is taken in the order in which it said it, not in which it arrives:
//! a preliminary report that was stuck in a queue never takes the place of the final one, nor a final one that of its
//! correction. What only the late report knows, such as a measurement that no other has, is taken all the same.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::resolve::{Target, Work};
use crate::diagnostics::{Result as Report, ResultChange, ResultStatus};
use crate::held::Writer;
use crate::kinds::{Aggregate, Body};
use crate::patch::Items;
use crate::value::{Ref, When};

/// Who is told to have written what stands there ([`crate::held::Kept::by`]).
pub(super) const LATER_REPORT: &str = "a later report";

/// The places of late reports, and of the observations in them that are known already. None for what a person writes.
pub(super) fn late(work: &Work<'_>, writer: Writer<'_>) -> HashSet<usize> {
    let mut late = HashSet::new();
    if matches!(writer, Writer::Actor(_)) {
        return late;
    }
    for (place, touched) in work.touched.iter().enumerate() {
        let Some(Aggregate::Result(known)) = touched.before.as_ref().map(|record| &record.aggregate) else {
            continue;
        };
        let said = touched.changes.iter().filter(|idx| !work.mute[**idx]);
        for idx in said {
            let Body::Result(say) = &work.set.changes[*idx].say else {
                continue;
            };
            if !is_late(known, say) {
                continue;
            }
            late.insert(place);
            let measured = say.observations.values().iter();
            late.extend(
                measured
                    .filter_map(|reference| place_of(work, reference))
                    .filter(|place| work.touched[*place].before.is_some()),
            );
        }
    }
    late
}

/// What is still taken of a change at such a place: of a report the links to what it measured, of an observation nothing.
pub(super) fn rest(body: Cow<'_, Body>) -> Option<Body> {
    let Body::Result(say) = body.as_ref() else {
        return None;
    };
    let rest = ResultChange {
        observations: Items::merge(say.observations.values().to_vec()),
        ..ResultChange::default()
    };
    Some(rest.into())
}

/// Where both say when they were issued, the earlier one is late, but for a correction of what is not corrected yet; else
/// one that is still to come is late after one that is done.
fn is_late(known: &Report, say: &ResultChange) -> bool {
    let said = step(say.status.value().copied());
    let known_step = step(known.status);
    if let (Some(known), Some(issued)) = (&known.issued, say.issued.value()) {
        if is_before(issued, known) {
            return said <= known_step;
        }
        if is_before(known, issued) {
            return false;
        }
    }
    let is_done = matches!(
        known.status,
        Some(ResultStatus::Final | ResultStatus::Amended | ResultStatus::Corrected | ResultStatus::Appended)
    );
    said == Step::ToCome && is_done
}

/// How far a report is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    ToCome,
    Done,
    Corrected,
}

fn step(status: Option<ResultStatus>) -> Step {
    match status {
        Some(ResultStatus::Registered | ResultStatus::Partial | ResultStatus::Preliminary) => Step::ToCome,
        Some(ResultStatus::Final | ResultStatus::Unknown) | None => Step::Done,
        Some(
            ResultStatus::Amended
            | ResultStatus::Corrected
            | ResultStatus::Appended
            | ResultStatus::Cancelled
            | ResultStatus::EnteredInError,
        ) => Step::Corrected,
    }
}

/// True where the whole of the first lies before the second: a day and a moment of it are the same.
pub(super) fn is_before(first: &When, second: &When) -> bool {
    match (first.latest(&TimeZone::UTC), second.earliest(&TimeZone::UTC)) {
        (Some(first), Some(second)) => first < second,
        _ => false,
    }
}

fn place_of(work: &Work<'_>, reference: &Ref) -> Option<usize> {
    match reference {
        Ref::Local(key) => match work.targets.get(*work.keys.get(key.as_str())?)? {
            Target::Is(place) => Some(*place),
            Target::LeftOut | Target::NoOld | Target::Unseen | Target::Open => None,
        },
        Ref::Id(kind, id) => work.index.get(&(*kind, *id)).copied(),
    }
}
