//! When else it could be booked: the nearest times at which all that an appointment needs is free.
//!
//! Where the practitioner or room has free slots in a schedule, those are offered. Else the time between their other
//! appointments: from 8 to 20 o'clock (or wider, where they are booked earlier or later), Monday to Friday and on the
//! other days on which they are booked. Time that is blocked in a schedule of theirs is not offered.

use clinic::aggregate::Source;
use clinic::apply::{Booking, Context, OnUnmatched};
use clinic::scheduling::SlotStatus;
use clinic::value::{Ref, When};
use clinic::{Aggregate, Kind};
use engine::store::{Booked, ClinicQuery, TimeRange};
use jiff::civil::{Time, Weekday};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Problem, State};

/// How many are offered for each appointment.
const OFFERED: usize = 5;
/// How many days before and after the wished time are looked at.
const DAYS: i64 = 14;
/// The least step between two offers.
const STEP: SignedDuration = SignedDuration::from_mins(5);
/// The most slots that are looked at.
const SLOTS: u32 = 1_000;

/// For each appointment of a change set that can't have its time: its key, and when it could be.
pub async fn of(state: &State, body: &[u8]) -> Result<Value, Problem> {
    let mut answers = vec![];
    for wish in wishes(state, body)? {
        let now = (crate::world::real().now)();
        let reach = SignedDuration::from_hours(24 * DAYS);
        let span = (wish.start.saturating_sub(reach), wish.end.saturating_add(reach));
        let (Ok(from), Ok(to)) = span else { continue };
        let resources: Vec<Uuid> = wish.needs.iter().map(|need| need.resource).collect();
        let taken = state.store().bookings(&resources, from, to).await?;
        let mut taken: Vec<Booked> = taken
            .into_iter()
            .filter(|booked| booked.appointment != wish.appointment && !booked.booking.overbooked)
            .collect();
        if wish.is_free_at(wish.start, &taken) {
            continue;
        }
        let slots = slots(state, &resources, (from, to)).await?;
        taken.extend(slots.iter().filter(|slot| !slot.is_free).flat_map(Slot::taken));
        let mut offers = free_slots(&wish, &slots, &taken);
        if offers.is_empty() {
            offers = gaps(state, &wish, &taken);
        }
        offers.retain(|offer| now < offer.start);
        offers.sort_by_key(|offer| (offer.start.duration_since(wish.start).abs(), offer.start));
        offers.dedup_by_key(|offer| offer.start);
        offers.truncate(OFFERED);
        let times = offers.iter().map(|offer| offer.shown(state));
        answers.push(json!({ "key": wish.key, "times": times.collect::<Vec<_>>() }));
    }
    Ok(answers.into())
}

/// What an appointment needs.
struct Wish {
    key: String,
    appointment: Uuid,
    start: Timestamp,
    end: Timestamp,
    needs: Vec<Booking>,
}

impl Wish {
    /// Whether all that it needs is free when it begins then.
    fn is_free_at(&self, start: Timestamp, taken: &[Booked]) -> bool {
        let shift = start.duration_since(self.start);
        self.needs.iter().all(|need| {
            let (Ok(from), Ok(to)) = (need.start.saturating_add(shift), need.end.saturating_add(shift))
            else {
                return false;
            };
            !taken.iter().any(|booked| {
                let other = &booked.booking;
                other.resource == need.resource && other.start < to && from < other.end
            })
        })
    }

    fn length(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }
}

/// A time that is free.
struct Offer {
    start: Timestamp,
    end: Timestamp,
    slot: Option<Uuid>,
}

impl Offer {
    fn shown(&self, state: &State) -> Value {
        let local = |at: Timestamp| {
            let at = at.to_zoned_datetime(state.zone().clone());
            at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        };
        let mut shown = json!({ "start": local(self.start), "end": local(self.end) });
        if let Some(slot) = self.slot {
            shown["slot"] = json!(slot);
        }
        shown
    }
}

/// What the appointments of a set would need, as the apply works it out; nothing is written.
fn wishes(state: &State, body: &[u8]) -> Result<Vec<Wish>, Problem> {
    let Ok(set) = clinic::json::read(body) else {
        return Ok(vec![]);
    };
    let world = crate::world::real();
    let new_id = world.new_id.clone();
    let context = Context {
        source: Source::Actor {
            name: String::new(),
            message: None,
        },
        now: (world.now)(),
        site: None,
        on_unmatched: OnUnmatched::Create,
        decisions: &[],
        overwrite: false,
        new_id: &mut || new_id(),
    };
    let snapshot = state.store().snapshot()?;
    let Ok(applied) = clinic::apply(&set, snapshot.as_ref(), context) else {
        return Ok(vec![]);
    };
    let key_of = |id: Uuid| {
        applied
            .ids
            .iter()
            .find(|(_, (_, its))| *its == id)
            .map(|(key, _)| key.clone())
    };
    let wishes = applied.writes.iter().filter_map(|write| {
        let id = write.record.meta.id;
        let needs: Vec<Booking> = write
            .bookings
            .iter()
            .filter(|need| !need.overbooked)
            .cloned()
            .collect();
        Some(Wish {
            key: key_of(id)?,
            appointment: id,
            start: needs.iter().map(|need| need.start).min()?,
            end: needs.iter().map(|need| need.end).max()?,
            needs,
        })
    });
    Ok(wishes.collect())
}

/// A piece of a schedule of those who are needed: time that is meant to be booked, or is blocked.
struct Slot {
    id: Uuid,
    /// Whose, of those who are needed.
    of: Vec<Uuid>,
    start: Timestamp,
    end: Timestamp,
    is_free: bool,
}

impl Slot {
    /// The time of each that it takes.
    fn taken(&self) -> impl Iterator<Item = Booked> {
        self.of.iter().map(|resource| Booked {
            appointment: self.id,
            booking: Booking {
                resource: *resource,
                start: self.start,
                end: self.end,
                overbooked: false,
            },
        })
    }
}

/// The free and the blocked slots in the schedules of those who are needed.
async fn slots(
    state: &State,
    resources: &[Uuid],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Slot>, Problem> {
    let query = ClinicQuery {
        kinds: vec![Kind::Slot],
        statuses: Some(
            [SlotStatus::Free, SlotStatus::Unavailable]
                .map(|status| status.as_str().to_owned())
                .to_vec(),
        ),
        date_overlaps: vec![TimeRange {
            from: Some(from),
            to: Some(to),
        }],
        limit: SLOTS,
        ..ClinicQuery::default()
    };
    let mut slots = vec![];
    let mut schedules: std::collections::HashMap<Uuid, Vec<Uuid>> = Default::default();
    for record in state.store().search(&query).await? {
        let Aggregate::Slot(slot) = &record.aggregate else {
            continue;
        };
        let (Some(start), Some(end)) = (moment(slot.start.as_ref()), moment(slot.end.as_ref())) else {
            continue;
        };
        let Some(schedule) = slot.schedule.as_ref().and_then(Ref::id) else {
            continue;
        };
        let of = match schedules.get(&schedule) {
            Some(of) => of.clone(),
            None => {
                let record = state.store().read(Kind::Schedule, schedule).await?;
                let of: Vec<Uuid> = match record.as_ref().map(|record| &record.aggregate) {
                    Some(Aggregate::Schedule(schedule)) => {
                        let actors = schedule.actors.iter().filter_map(Ref::id);
                        actors.filter(|id| resources.contains(id)).collect()
                    }
                    _ => vec![],
                };
                schedules.insert(schedule, of.clone());
                of
            }
        };
        if !of.is_empty() {
            slots.push(Slot {
                id: record.meta.id,
                of,
                start,
                end,
                is_free: slot.status == Some(SlotStatus::Free),
            });
        }
    }
    Ok(slots)
}

/// Those of them in which it could be.
fn free_slots(wish: &Wish, slots: &[Slot], taken: &[Booked]) -> Vec<Offer> {
    let fits = |slot: &&Slot| {
        let is_long_enough = wish.length() <= slot.end.duration_since(slot.start);
        slot.is_free && is_long_enough && wish.is_free_at(slot.start, taken)
    };
    let offers = slots.iter().filter(fits).map(|slot| Offer {
        start: slot.start,
        end: slot.start.saturating_add(wish.length()).unwrap_or(slot.end),
        slot: Some(slot.id),
    });
    offers.collect()
}

fn moment(when: Option<&When>) -> Option<Timestamp> {
    when.filter(|when| when.has_time())?
        .earliest(&jiff::tz::TimeZone::UTC)
}

/// The time between other appointments, at the hours of work.
fn gaps(state: &State, wish: &Wish, taken: &[Booked]) -> Vec<Offer> {
    let zone = state.zone();
    let local = |at: Timestamp| zone.to_datetime(at);
    let (mut open, mut close) = (Time::constant(8, 0, 0, 0), Time::constant(20, 0, 0, 0));
    let mut days = vec![
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
    ];
    let booked = taken
        .iter()
        .map(|booked| (booked.booking.start, booked.booking.end));
    for (start, end) in booked.chain([(wish.start, wish.end)]) {
        let (start, end) = (local(start), local(end));
        open = open.min(start.time());
        if start.date() == end.date() {
            close = close.max(end.time());
        }
        if !days.contains(&start.date().weekday()) {
            days.push(start.date().weekday());
        }
    }
    let step = wish.length().max(STEP);
    let wished = local(wish.start);
    let mut offers = vec![];
    for day in -DAYS..=DAYS {
        let Ok(date) = wished.date().checked_add(jiff::Span::new().days(day)) else {
            continue;
        };
        if !days.contains(&date.weekday()) {
            continue;
        }
        // From the wished time of the day backwards to the opening, then forwards to the close.
        let mut at = date.to_datetime(wished.time());
        while let Ok(earlier) = at.checked_sub(step) {
            if earlier.date() != date || earlier.time() < open {
                break;
            }
            at = earlier;
        }
        while at.date() == date {
            let Ok(end) = at.checked_add(wish.length()) else {
                break;
            };
            if end.date() != date || close < end.time() {
                break;
            }
            if let Ok(start) = zone.to_timestamp(at)
                && wish.is_free_at(start, taken)
                && let Ok(end) = start.saturating_add(wish.length())
            {
                offers.push(Offer {
                    start,
                    end,
                    slot: None,
                });
            }
            match at.checked_add(step) {
                Ok(later) => at = later,
                Err(_) => break,
            }
        }
    }
    offers
}
