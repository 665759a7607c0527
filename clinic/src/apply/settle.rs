//! Taking in what is said, and saying what is to be written.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::beside::REGISTRATION;
use super::bookings::{self, bookings, end_cancellation, is_shared, move_along};
use super::identify::named;
use super::imaging::completed;
use super::late::{self, LATER_REPORT};
use super::old_records;
use super::resolve::{Target, Touched, Work, unknown_id};
use super::states;
use super::visits;
use super::{Applied, ApplyError, Context, FindKey, Record, Write};
use crate::aggregate::Meta;
use crate::change_set::{About, Change};
use crate::events;
use crate::held::{Kept, Writer};
use crate::keys::{find_keys, names_one, same_in_series};
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::{Field, Items, Patch};
use crate::refs::Refs;
use crate::value::{Concept, Identifier, IdentifierUse, Ref};

/// Takes what every change says into its aggregate: of a new one first what is said of new ones only.
pub(super) fn settle(work: &mut Work<'_>, writer: Writer<'_>) -> Result<(), ApplyError> {
    check_ids(work)?;
    let mut dangling: Vec<String> = vec![];
    let late_places = late::late(work, writer);
    let parted = old_records::parted(work)?;
    for place in 0..work.touched.len() {
        let changes = std::mem::take(&mut work.touched[place].changes);
        let kind = work.touched[place].kind;
        let mut after = std::mem::replace(&mut work.touched[place].after, Aggregate::new(kind));
        let said = changes
            .iter()
            .filter(|idx| !work.mute[**idx])
            .map(|idx| &work.set.changes[*idx]);
        if work.touched[place].before.is_none() {
            for change in said.clone() {
                if let Some(body) = &change.say_if_new {
                    let known = reported_before(change, &after);
                    let body = settled(body, work, &mut dangling);
                    take_in(
                        completed(change, body, work.touched[place].id, &after, writer)?,
                        &mut after,
                    );
                    if let (Some(known), Aggregate::Order(order)) = (known, &mut after) {
                        order.code = Some(known);
                    }
                }
            }
            said.clone().for_each(|change| name_new(change, &mut after));
        }
        if work.touched[place].before.is_some() {
            for change in said.clone() {
                take_what_is_reported(change, &mut after);
            }
        }
        let mut kept: Vec<Kept> = vec![];
        let id = work.touched[place].id;
        for change in said {
            let said = parted.survivors.get(change.key.as_str()).unwrap_or(&change.say);
            let mut body = settled(said, work, &mut dangling);
            if late_places.contains(&place) {
                kept.push(Kept::new(kind, id, "status", LATER_REPORT));
                let Some(rest) = late::rest(body) else { continue };
                body = Cow::Owned(rest);
            }
            if let Some(again) = states::booked_again(&work.touched[place], &body) {
                body = Cow::Owned(again);
            } else if let Some(rest) = states::that_stays(change, &work.touched[place], &body) {
                kept.push(Kept::new(kind, id, "status", states::ANOTHER_EVENT));
                body = Cow::Owned(rest);
            }
            let (body, identity) = work.without_identity(place, body, writer);
            let of_identity = identity.into_iter();
            kept.extend(of_identity.map(|field| Kept::new(kind, id, field, REGISTRATION)));
            let body = completed(change, body, id, &after, writer)?;
            let body = with_what_follows(body, &after, writer);
            let held = work.stays_beside(&work.touched[place], change, writer);
            if !matches!(writer, Writer::Feed { overwrite: false }) || held.is_empty() {
                take_in(body, &mut after);
                continue;
            }
            for field in body.apply_yielding(&mut after, &held) {
                kept.push(Kept::new(kind, id, field, held.who(field).unwrap_or_default()));
            }
        }
        kept.extend(of_no_test(work, place, &changes));
        work.kept.extend(kept);
        bookings::keep_others(work, place, &changes, &mut after)?;
        moved_appointment(work, place, &changes, &mut after);
        bookings::check_times(work, &changes, &after, writer)?;
        visits::keep_places(work, place, &changes, &mut after);
        work.without_numbers_of_others(place, &changes, &mut after);
        work.keep_ended_numbers(place, &changes, &mut after);
        note_who(&mut work.touched[place], &after, writer);
        keep_old_numbers(&mut after);
        old_records::stay(work, place, &changes, &mut after)?;
        work.touched[place].after = after;
        work.touched[place].changes = changes;
    }
    old_records::take(work, parted.olds, writer);
    for key in dangling {
        if !work.left_out.contains(&key) {
            work.left_out.push(key);
        }
    }
    Ok(())
}

/// What a message says, with what follows from it: an allergy or a diagnosis that was deleted, and is said again, holds again
/// (HL7 v2.5.1, 3.4.7.6 and 6.5.2.21, action code A); who is said not to be dead did not die at any time (3.4.2.30).
fn with_what_follows<'b>(body: Cow<'b, Body>, known: &Aggregate, writer: Writer<'_>) -> Cow<'b, Body> {
    let is_error =
        |known: &Option<Concept>| known.as_ref().and_then(Concept::code) == Some("entered-in-error");
    let follows = match (&*body, known) {
        (Body::Allergy(say), Aggregate::Allergy(known)) => {
            say.verification.is_absent() && !say.code.is_absent() && is_error(&known.verification)
        }
        (Body::Condition(say), Aggregate::Condition(known)) => {
            say.verification.is_absent() && !say.code.is_absent() && is_error(&known.verification)
        }
        (Body::Patient(say), Aggregate::Patient(known)) => {
            say.deceased == Patch::Set(false) && say.deceased_at.is_absent() && known.deceased_at.is_some()
        }
        _ => false,
    };
    if !follows || matches!(writer, Writer::Actor(_)) {
        return body;
    }
    let mut body = body.into_owned();
    match &mut body {
        Body::Allergy(say) => say.verification = Patch::Clear,
        Body::Condition(say) => say.verification = Patch::Clear,
        Body::Patient(say) => say.deceased_at = Patch::Clear,
        _ => {}
    }
    Cow::Owned(body)
}

/// Who is told to stand in the way of what is said of a requisition, and of none of its tests ([`crate::held::Kept::by`]).
const REQUISITION: &str = "several tests of one number";

/// States that a requisition was said to be in, and that none of its orders took.
fn of_no_test(work: &Work<'_>, place: usize, changes: &[usize]) -> Vec<Kept> {
    let touched = &work.touched[place];
    let says_state = |idx: &&usize| match &work.set.changes[**idx].say {
        Body::Order(say) => !say.status.is_absent(),
        _ => false,
    };
    let all = changes.iter().filter(|idx| work.of_requisition.contains_key(idx));
    all.filter(says_state)
        .map(|_| Kept::new(touched.kind, touched.id, "status", REQUISITION))
        .collect()
}

/// Who takes part in an appointment that moved moves with it, and one that is booked again was not cancelled.
fn moved_appointment(work: &Work<'_>, place: usize, changes: &[usize], after: &mut Aggregate) {
    let before = work.touched[place]
        .before
        .as_ref()
        .map(|record| &record.aggregate);
    let (Some(Aggregate::Appointment(before)), Aggregate::Appointment(after)) = (before, after) else {
        return;
    };
    let said = changes.iter().filter(|idx| !work.mute[**idx]);
    let said: Vec<_> = said
        .filter_map(|idx| match &work.set.changes[*idx].say {
            Body::Appointment(say) => Some(&**say),
            _ => None,
        })
        .collect();
    move_along(before, after, &said);
    end_cancellation(before, after, &said);
}

/// What the first of several reports of one new order is of: that is the order's.
fn reported_before(change: &Change, order: &Aggregate) -> Option<Concept> {
    match order {
        Aggregate::Order(order) if change.find.by_report => order.code.clone(),
        _ => None,
    }
}

/// Of an order that nobody said the test of, it is that of the report.
fn take_what_is_reported(change: &Change, aggregate: &mut Aggregate) {
    if let (Aggregate::Order(order), Some(Body::Order(new))) = (aggregate, &change.say_if_new)
        && change.find.by_report
        && order.code.is_none()
    {
        order.code = new.code.value().cloned();
    }
}

/// Takes what is said into the aggregate.
fn take_in(body: Cow<'_, Body>, aggregate: &mut Aggregate) {
    match body {
        Cow::Borrowed(body) => body.apply_to(aggregate),
        Cow::Owned(body) => body.go_into(aggregate),
    };
}

/// Who wrote what differs now.
pub(super) fn note_who(touched: &mut Touched, after: &Aggregate, writer: Writer<'_>) {
    let nothing_held = touched.held.is_empty();
    match writer {
        Writer::Feed { .. } if nothing_held => return,
        Writer::Feed { .. } | Writer::Actor(_) => {}
    }
    let changed = match &touched.before {
        Some(before) => before.aggregate.differing(after),
        None => Aggregate::new(touched.kind).differing(after),
    };
    touched.held.note(changed, writer);
}

/// A number that came by a merge stays an old one, also where a late message uses it as if it were not.
fn keep_old_numbers(aggregate: &mut Aggregate) {
    let Aggregate::Patient(patient) = aggregate else {
        return;
    };
    for number in patient.links.iter().flat_map(|link| &link.identifiers) {
        let came = |id: &&mut Identifier| same_in_series(id, number);
        patient
            .identifiers
            .iter_mut()
            .filter(came)
            .for_each(|id| id.usage = Some(IdentifierUse::Old));
    }
}

/// Ids come from a sender who claims to know them: each has to be there.
fn check_ids(work: &mut Work<'_>) -> Result<(), ApplyError> {
    let set = work.set;
    for (idx, change) in set.changes.iter().enumerate() {
        let mut ids: Vec<(Kind, Uuid)> = vec![];
        let mut note = |reference: &Ref| {
            if let Ref::Id(kind, id) = reference {
                ids.push((*kind, *id));
            }
        };
        change.say.refs(&mut note);
        change.say_if_new.iter().for_each(|body| body.refs(&mut note));
        let owner = change.find.natural.as_ref().and_then(|n| n.owner.as_ref());
        for reference in [owner, change.find.from.as_ref()].into_iter().flatten() {
            if let Ref::Id(kind, id) = reference {
                ids.push((*kind, *id));
            }
        }
        for (kind, id) in ids {
            if !work.index.contains_key(&(kind, id)) && work.reader.load(kind, id)?.is_none() {
                return Err(unknown_id(&format!("changes[{idx}]"), kind).into());
            }
        }
    }
    Ok(())
}

/// What is said, with every reference made an id, and without those that lead nowhere.
fn settled<'b>(body: &'b Body, work: &Work<'_>, dangling: &mut Vec<String>) -> Cow<'b, Body> {
    let mut any = false;
    body.refs(&mut |reference| any |= matches!(reference, Ref::Local(_)));
    if !any {
        return Cow::Borrowed(body);
    }
    let mut body = body.clone();
    of_requisition(&mut body, work);
    body.settle(&mut |reference| {
        let Ref::Local(key) = &*reference else {
            return true;
        };
        match work.keys.get(key.as_str()).map(|idx| work.targets[*idx]) {
            Some(Target::Is(place)) => {
                let touched = &work.touched[place];
                *reference = Ref::Id(touched.kind, touched.id);
                true
            }
            Some(Target::LeftOut | Target::NoOld | Target::Unseen | Target::Open) | None => {
                dangling.push(key.clone());
                false
            }
        }
    });
    Cow::Owned(body)
}

/// A report or an appointment of a whole requisition is one of each of its orders.
fn of_requisition(body: &mut Body, work: &Work<'_>) {
    let orders = match body {
        Body::Result(say) => &mut say.orders,
        Body::Observation(say) => &mut say.orders,
        Body::Appointment(say) => &mut say.orders,
        _ => return,
    };
    let (Items::Replace(orders) | Items::Merge(orders)) = orders else {
        return;
    };
    let more: Vec<Ref> = orders
        .iter()
        .filter_map(|order| match order {
            Ref::Local(key) => work.of_requisition.get(work.keys.get(key.as_str())?),
            Ref::Id(..) => None,
        })
        .flatten()
        .map(|id| Ref::Id(Kind::Order, *id))
        .collect();
    if !more.is_empty() {
        orders.retain(|order| match order {
            Ref::Local(key) => {
                let idx = work.keys.get(key.as_str());
                idx.is_none_or(|idx| !work.of_requisition.contains_key(idx))
            }
            Ref::Id(..) => true,
        });
        orders.extend(more);
    }
}

/// What a new one is found by belongs to it, else it would not be found the next time.
fn name_new(change: &Change, aggregate: &mut Aggregate) {
    let missing: Vec<Identifier> = named(change)
        .filter(|named| {
            let has = |id: &&Identifier| id.system == named.system && id.value == named.value;
            !aggregate
                .identifiers()
                .iter()
                .chain(change.say.identifiers())
                .any(|id| has(&id))
        })
        .cloned()
        .collect();
    Field::take(aggregate.identifiers_mut(), &Items::merge(missing));
}

/// New orders that have a number which others have too, and those others: a report of a test that nobody ordered has the number of
/// the request.
fn sharing_numbers(work: &mut Work<'_>) -> Result<BTreeSet<Uuid>, ApplyError> {
    let mut keys: Vec<(Uuid, FindKey)> = vec![];
    for touched in work.touched.iter().filter(|touched| touched.before.is_none()) {
        let Aggregate::Order(order) = &touched.after else {
            continue;
        };
        let patient = order.patient.as_ref().and_then(Ref::id);
        let numbers = order.identifiers.iter();
        let numbers = numbers.filter(|number| names_one(Kind::Order, number));
        let named = numbers.filter_map(|number| FindKey::identifier(Kind::Order, number, patient));
        keys.extend(named.map(|key| (touched.id, key)));
    }
    let mut sharing = BTreeSet::new();
    for (id, key) in &keys {
        let known = work.reader.find(key)?.to_vec();
        let new = keys.iter().filter(|(_, other)| other == key).map(|(id, _)| *id);
        let all: BTreeSet<Uuid> = known.into_iter().chain(new).chain([*id]).collect();
        if 1 < all.len() {
            sharing.extend(all);
        }
    }
    Ok(sharing)
}

/// What came of it all.
pub(super) fn finish(mut work: Work<'_>, context: &Context<'_>) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for (idx, target) in work.targets.iter().enumerate() {
        if let Target::Is(place) = target {
            let touched = &work.touched[*place];
            let key = work.set.changes[idx].key.clone();
            applied.ids.entry(key).or_insert((touched.kind, touched.id));
        }
    }
    let (mut share_number, changes) = std::mem::take(&mut work.share_number);
    share_number.extend(changes.iter().filter_map(|idx| work.target_id(*idx)));
    share_number.extend(sharing_numbers(&mut work)?);
    applied.share_number = share_number;
    let mut neighbours = about_refs(&work);
    let shared = shared_rooms(&mut work)?;
    for touched in std::mem::take(&mut work.touched) {
        touched.after.refs(&mut |reference| {
            if let Ref::Id(kind, id) = reference {
                neighbours.push((*kind, *id));
            }
        });
        let id = touched.id;
        let record = match written(touched, context, &shared) {
            Outcome::Write(write) => {
                let record = write.record.clone();
                applied.writes.push(*write);
                record
            }
            Outcome::Same(record) => record,
        };
        applied.known.insert(id, record);
    }
    know(&mut work, neighbours, &mut applied.known)?;
    applied.left_out = std::mem::take(&mut work.left_out);
    applied.kept = std::mem::take(&mut work.kept);
    applied.finds = work.reader.finds();
    applied.reads = work.reader.reads;
    Ok(applied)
}

/// The rooms of the appointments of the set that are there for many at a time.
fn shared_rooms(work: &mut Work<'_>) -> Result<Vec<Uuid>, ApplyError> {
    let mut rooms: Vec<Uuid> = vec![];
    for touched in &work.touched {
        if let Aggregate::Appointment(appointment) = &touched.after {
            let actors = appointment.participants.iter().flat_map(|one| &one.actor);
            rooms.extend(actors.filter_map(|actor| match actor {
                Ref::Id(Kind::Room, id) => Some(*id),
                Ref::Id(..) | Ref::Local(_) => None,
            }));
        }
    }
    let mut shared = vec![];
    for id in rooms {
        let room = match work.index.get(&(Kind::Room, id)) {
            Some(place) => Some(&work.touched[*place].after),
            None => work.reader.load(Kind::Room, id)?.map(|record| &record.aggregate),
        };
        if let Some(Aggregate::Room(room)) = room
            && is_shared(room)
        {
            shared.push(id);
        }
    }
    Ok(shared)
}

/// What the touched ones and the message itself refer to, as it stands; of a place also all that it lies in, without which
/// it is a bed of no ward.
fn know(
    work: &mut Work<'_>,
    mut neighbours: Vec<(Kind, Uuid)>,
    known: &mut BTreeMap<Uuid, Arc<Record>>,
) -> Result<(), ApplyError> {
    while let Some((kind, id)) = neighbours.pop() {
        if known.contains_key(&id) {
            continue;
        }
        let Some(record) = work.reader.load(kind, id)? else {
            continue;
        };
        if let Aggregate::Room(room) = &record.aggregate
            && let Some(Ref::Id(kind, id)) = room.part_of
        {
            neighbours.push((kind, id));
        }
        known.insert(id, record.clone());
    }
    Ok(())
}

/// The ids that the message says of itself; its keys are among the touched ones already.
fn about_refs(work: &Work<'_>) -> Vec<(Kind, Uuid)> {
    let About {
        operators,
        place,
        responsible,
        acts,
        ..
    } = &work.set.about;
    let acts = acts.iter().flat_map(|act| {
        act.target
            .iter()
            .chain(act.agents.iter().map(|(agent, _)| agent))
            .chain(act.place.as_ref())
    });
    let all = operators.iter().chain(place).chain(responsible).chain(acts);
    all.filter_map(|reference| match reference {
        Ref::Id(kind, id) => Some((*kind, *id)),
        Ref::Local(_) => None,
    })
    .collect()
}

enum Outcome {
    Write(Box<Write>),
    Same(Arc<Record>),
}

fn written(touched: Touched, context: &Context<'_>, shared: &[Uuid]) -> Outcome {
    let Touched {
        id,
        before,
        after,
        natural_keys,
        verb,
        held,
        ..
    } = touched;
    let keys;
    let keys_changed;
    let state_verb = events::verb(before.as_ref().map(|record| &record.aggregate), &after);
    let meta = match &before {
        Some(record) if record.aggregate == after && record.meta.held == held => {
            return Outcome::Same(record.clone());
        }
        Some(record) => {
            keys = find_keys(&after);
            keys_changed = keys != find_keys(&record.aggregate);
            Meta {
                version: record.meta.version + 1,
                updated_at: context.now,
                source: context.source.clone(),
                held,
                ..record.meta.clone()
            }
        }
        None => {
            keys = find_keys(&after);
            keys_changed = true;
            Meta {
                id,
                site: context.site.clone(),
                version: 1,
                created_at: context.now,
                updated_at: context.now,
                source: context.source.clone(),
                held,
            }
        }
    };
    Outcome::Write(Box::new(Write {
        verb: verb.unwrap_or(state_verb),
        keys,
        keys_changed,
        natural_keys,
        bookings: bookings(&after, shared),
        record: Arc::new(Record {
            meta,
            aggregate: after,
        }),
        before,
    }))
}
