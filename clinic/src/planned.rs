//! What is planned, in memory: which orders a question for a worklist may mean, by day, station and modality.
//!
//! Whoever keeps it puts in each order and each appointment as it was committed, in any order: an older version never
//! takes the place of a newer one. What is found may be more than is meant, never less: it is read and looked at as a
//! whole ([`crate::worklist`]). So nothing has to be right here but what leads to an order.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::aggregate::Meta;
use crate::apply::Record;
use crate::ask::WorklistQuestion;
use crate::imaging::{PerformedStatus, step_status_of};
use crate::kinds::Aggregate;
use crate::value::{Ref, When};
use crate::worklist::{is_on, is_planned};

/// The planned steps of a clinic.
#[derive(Default)]
pub struct Planned {
    orders: HashMap<Uuid, Order>,
    appointments: HashMap<Uuid, Appointment>,
    /// The appointments of each order.
    booked: HashMap<Uuid, Vec<Uuid>>,
    /// The days on which an order may be asked for, and what says so: the order or an appointment.
    days: BTreeSet<(Date, Uuid, Uuid)>,
    /// Orders that may be asked for on a day which they don't name.
    any_day: HashSet<Uuid>,
    /// The newest versions of those that are not kept, since nothing of them is planned: while older ones may still come.
    passed_over: HashMap<Uuid, u64>,
    /// No older version comes after a newer one any more.
    is_in_order: bool,
}

/// An imaging order in its newest version; without steps where nothing is planned by it.
struct Order {
    version: u64,
    /// True where there may be appointments that were never put in.
    is_loose: bool,
    patient: Option<Uuid>,
    steps: Box<[Step]>,
    /// What a modality has begun of it and not ended.
    begun: Option<Box<Begun>>,
}

/// An examination that a modality has begun and not ended (MPPS, PS3.4 F.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The AE title of the station.
    pub station: Option<String>,
    /// Since when, by the modality's clock where it says so.
    pub since: jiff::Timestamp,
}

struct Step {
    start: Option<Start>,
    modality: Option<Box<str>>,
    stations: Box<[Box<str>]>,
}

/// An appointment in its newest version; without orders where it was called off.
struct Appointment {
    version: u64,
    start: Option<Start>,
    orders: Box<[Uuid]>,
}

/// When something begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At a moment: seconds since 1970.
    At(i64),
    /// At the beginning of a day, by the clock of whoever asks.
    On(Date),
}

impl Start {
    fn of(when: &When) -> Option<Self> {
        let first = when.earliest(&TimeZone::UTC)?;
        Some(match when.has_time() {
            true => Start::At(first.as_second()),
            false => Start::On(TimeZone::UTC.to_datetime(first).date()),
        })
    }

    /// The day under which it is filed: at most one off from that of any zone.
    fn filed(self) -> Date {
        self.day(&TimeZone::UTC)
    }

    fn day(self, zone: &TimeZone) -> Date {
        match self {
            Start::At(second) => {
                let at = jiff::Timestamp::from_second(second).unwrap_or_default();
                zone.to_datetime(at).date()
            }
            Start::On(day) => day,
        }
    }
}

/// A question, with what it is to be understood by.
#[derive(Clone)]
pub struct PlannedQuery {
    /// The question.
    pub question: WorklistQuestion,
    /// The records of those who are meant; none: anybody.
    pub patients: Option<HashSet<Uuid>>,
    /// The zone of its days.
    pub zone: TimeZone,
    /// Today, there. What names no day is told as of now.
    pub today: Date,
}

impl Planned {
    /// Takes in an order or an appointment as it stands in its version. Nothing else has a say here.
    pub fn put(&mut self, record: &Record) {
        let Record { meta, aggregate } = record;
        match aggregate {
            Aggregate::Order(order) => self.put_order(meta, order),
            Aggregate::Appointment(appointment) => self.put_appointment(meta.id, meta.version, appointment),
            _ => {}
        }
    }

    /// From here on each is put in as it is committed: no older version comes any more.
    pub fn in_order_from_here(&mut self) {
        self.is_in_order = true;
        self.passed_over = HashMap::new();
    }

    /// Whether a version of something that is not kept needs no look: nothing of it is planned, or a newer one was passed
    /// over.
    fn is_passed_over(&mut self, id: Uuid, version: u64, is_planned: bool) -> bool {
        if self.passed_over.get(&id).is_some_and(|newer| version <= *newer) {
            return true;
        }
        if !is_planned && !self.is_in_order {
            self.passed_over.insert(id, version);
        }
        !is_planned
    }

    fn put_order(&mut self, meta: &Meta, order: &crate::diagnostics::Order) {
        let (id, version) = (meta.id, meta.version);
        match self.orders.get(&id).map(|known| known.version) {
            Some(known) if version <= known => return,
            None if self.is_passed_over(id, version, order.imaging.is_some()) => return,
            Some(_) | None => {}
        }
        let known = self.orders.get(&id);
        // What is new has no appointment yet; of what was changed unseen there may be some.
        let is_loose = known.map_or(1 < version, |known| known.is_loose);
        self.forget_days(id);
        let steps = order.imaging.iter().flat_map(|imaging| &imaging.steps);
        let open = steps.filter(|step| is_planned(order) && !step_status_of(order, step).is_over());
        let steps: Box<[Step]> = open
            .map(|step| Step {
                start: step.start.as_ref().and_then(Start::of),
                modality: step.modality.as_deref().map(|modality| modality.trim().into()),
                stations: step.station_aes.iter().map(|title| title.trim().into()).collect(),
            })
            .collect();
        let starts = steps.iter().filter_map(|step| step.start);
        self.days.extend(starts.map(|start| (start.filed(), id, id)));
        let is_open = !steps.is_empty() && (is_loose || steps.iter().any(|step| step.start.is_none()));
        if is_open {
            self.any_day.insert(id);
        }
        let order = Order {
            version,
            is_loose,
            patient: order.patient.as_ref().and_then(Ref::id),
            steps,
            begun: begun(order, meta.updated_at).map(Box::new),
        };
        self.orders.insert(id, order);
    }

    fn forget_days(&mut self, id: Uuid) {
        let Some(known) = self.orders.get(&id) else { return };
        for start in known.steps.iter().filter_map(|step| step.start) {
            self.days.remove(&(start.filed(), id, id));
        }
        self.any_day.remove(&id);
    }

    fn put_appointment(&mut self, id: Uuid, version: u64, appointment: &crate::scheduling::Appointment) {
        match self.appointments.get(&id).map(|known| known.version) {
            Some(known) if version <= known => return,
            None if self.is_passed_over(id, version, !appointment.orders.is_empty()) => return,
            Some(_) | None => {}
        }
        if let Some(Appointment { start, orders, .. }) = self.appointments.remove(&id) {
            for order in orders {
                if let Some(start) = start {
                    self.days.remove(&(start.filed(), order, id));
                }
                if let Some(all) = self.booked.get_mut(&order) {
                    all.retain(|one| *one != id);
                }
            }
        }
        let start = appointment.start.as_ref().and_then(Start::of);
        let orders: Box<[Uuid]> = match is_on(appointment) {
            true => appointment.orders.iter().filter_map(Ref::id).collect(),
            false => Box::default(),
        };
        for order in &orders {
            self.booked.entry(*order).or_default().push(id);
            self.days.extend(start.map(|start| (start.filed(), *order, id)));
        }
        let appointment = Appointment {
            version,
            start,
            orders,
        };
        self.appointments.insert(id, appointment);
    }

    /// The orders of which something is planned.
    pub fn orders(&self) -> impl Iterator<Item = Uuid> + '_ {
        let planned = self.orders.iter().filter(|(_, order)| !order.steps.is_empty());
        planned.map(|(id, _)| *id)
    }

    /// All appointments of these orders have been put in.
    pub fn all_are_in(&mut self, orders: &[Uuid]) {
        for id in orders {
            let Some(order) = self.orders.get_mut(id) else {
                continue;
            };
            order.is_loose = false;
            if order.steps.iter().all(|step| step.start.is_some()) {
                self.any_day.remove(id);
            }
        }
    }

    /// What the modalities have begun and not ended: of each order the oldest.
    pub fn begun(&self) -> impl Iterator<Item = &Begun> {
        self.orders.values().filter_map(|order| order.begun.as_deref())
    }

    /// The orders that may be meant, each once.
    pub fn find(&self, asked: &PlannedQuery) -> Vec<Uuid> {
        let WorklistQuestion { from, to, .. } = &asked.question;
        let mut ids: Vec<Uuid> = match (*from, *to) {
            (None, None) => self.orders().collect(),
            (from, to) => {
                // A day is filed at most one off.
                let first = from.map_or(Date::MIN, |from| from.yesterday().unwrap_or(from));
                let last = to.map_or(Date::MAX, |to| to.tomorrow().unwrap_or(to));
                let filed = (first, Uuid::nil(), Uuid::nil())..=(last, Uuid::max(), Uuid::max());
                let filed = match first <= last {
                    true => Some(self.days.range(filed)),
                    false => None,
                };
                let filed = filed.into_iter().flatten().map(|(_, order, _)| *order);
                filed.chain(self.any_day.iter().copied()).collect()
            }
        };
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| {
            let order = self.orders.get(id);
            order.is_some_and(|order| self.may_be(*id, order, asked))
        });
        ids
    }

    fn may_be(&self, id: Uuid, order: &Order, asked: &PlannedQuery) -> bool {
        let PlannedQuery { question, zone, .. } = asked;
        let is_theirs = asked
            .patients
            .as_ref()
            .is_none_or(|patients| order.patient.is_some_and(|patient| patients.contains(&patient)));
        let is_any_day = order.is_loose || question.from.is_none() && question.to.is_none();
        let is_on = |day: Date| {
            question.from.is_none_or(|from| from <= day) && question.to.is_none_or(|to| day <= to)
        };
        let booked = || {
            let all = self.booked.get(&id).into_iter().flatten();
            all.filter_map(|id| self.appointments.get(id)?.start)
        };
        is_theirs
            && order.steps.iter().any(|step| {
                let modality = step.modality.as_deref().is_none_or(|known| {
                    question.modalities.is_empty() || question.modalities.iter().any(|asked| asked == known)
                });
                let station = step.stations.is_empty()
                    || question.stations.is_empty()
                    || step
                        .stations
                        .iter()
                        .any(|known| question.stations.iter().any(|asked| **asked == **known));
                let day = || {
                    let mut starts = step.start.into_iter().chain(booked()).peekable();
                    match starts.peek() {
                        None => is_on(asked.today),
                        Some(_) => starts.any(|start| is_on(start.day(zone))),
                    }
                };
                modality && station && (is_any_day || day())
            })
    }
}

/// The oldest of what is under way of an order that has not ended.
fn begun(order: &crate::diagnostics::Order, written: jiff::Timestamp) -> Option<Begun> {
    let under_way = order.performed.iter().filter(|performed| {
        crate::search::is_live(order) && performed.status == Some(PerformedStatus::InProgress)
    });
    let all = under_way.map(|performed| {
        let started = performed
            .started
            .as_ref()
            .and_then(|when| when.earliest(&TimeZone::UTC));
        Begun {
            station: performed.station_ae.clone(),
            since: started.unwrap_or(written),
        }
    });
    all.min_by_key(|begun| begun.since)
}
