//! Reports that came before their order. Laboratories answer by the number of a requisition before the clinic has said what
//! was ordered by it: then the first test stands for all, and each further one takes its own reports when it comes.

use uuid::Uuid;

use super::resolve::{Target, Work};
use super::settle::note_who;
use super::{ApplyError, FindKey};
use crate::held::Writer;
use crate::kinds::{Aggregate, Kind};
use crate::value::Ref;

/// Gives each new order of a number that others have its own reports.
pub(super) fn come_home(work: &mut Work<'_>, writer: Writer<'_>) -> Result<(), ApplyError> {
    let set = work.set;
    let mut new: Vec<(usize, Vec<Uuid>)> = std::mem::take(&mut work.siblings).into_iter().collect();
    new.sort_unstable();
    for (idx, siblings) in new {
        let (Some(key), Target::Is(place)) = (&set.changes[idx].find.reports, work.targets[idx]) else {
            continue;
        };
        if work.touched[place].before.is_some() {
            continue;
        }
        let order = work.touched[place].id;
        for sibling in siblings {
            let filed = FindKey::natural(Kind::Result, Some(sibling), key);
            for report in work.reader.find(&filed)?.to_vec() {
                let at = work.touch(Kind::Result, report)?;
                if !relink(work, at, sibling, order, writer) {
                    continue;
                }
                let found = FindKey::natural(Kind::Result, Some(order), key);
                work.touched[at].natural_keys.push(found);
                let measured = match &work.touched[at].after {
                    Aggregate::Result(report) => report.observations.clone(),
                    _ => vec![],
                };
                for id in measured.iter().filter_map(Ref::id) {
                    let at = work.touch(Kind::Observation, id)?;
                    relink(work, at, sibling, order, writer);
                }
            }
        }
    }
    Ok(())
}

/// What is of the one order is of the other; false where it is not of it.
fn relink(work: &mut Work<'_>, at: usize, from: Uuid, to: Uuid, writer: Writer<'_>) -> bool {
    let mut after = work.touched[at].after.clone();
    let orders = match &mut after {
        Aggregate::Result(report) => &mut report.orders,
        Aggregate::Observation(measured) => &mut measured.orders,
        _ => return false,
    };
    let Some(order) = orders.iter_mut().find(|order| order.id() == Some(from)) else {
        return false;
    };
    *order = Ref::Id(Kind::Order, to);
    note_who(&mut work.touched[at], &after, writer);
    work.touched[at].after = after;
    true
}
