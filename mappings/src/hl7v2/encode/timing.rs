//! When something is to be done → TQ1. HL7 v2.5.1, 4.5.4.

use clinic::value::{Concept, Period, Quantity, Timing};

use super::datatypes as data;
use super::terms;
use super::wire::{Seg, comps, subs, t};
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::terms::{mapped, table};

/// How long a period lasts, in seconds; none where one end is open or has no time of day.
pub(super) fn seconds(period: &Period) -> Option<i64> {
    let moment = |when: &clinic::value::When| when.as_str().parse::<jiff::Timestamp>().ok();
    let (start, end) = (moment(period.start.as_ref()?)?, moment(period.end.as_ref()?)?);
    let seconds = end.as_second().checked_sub(start.as_second())?;
    (seconds >= 0).then_some(seconds)
}

/// A length of time as number and unit: minutes where it is whole ones.
pub(super) fn length(seconds: i64) -> [String; 2] {
    if seconds % 60 == 0 {
        [(seconds / 60).to_string(), "min".to_owned()]
    } else {
        [seconds.to_string(), "s".to_owned()]
    }
}

/// Pattern, amount and urgency → TQ1; none where nothing of it is said. The words are the condition under which it is done
/// (TQ1-10), and the instruction for those who do it (TQ1-11).
pub(super) fn tq1(
    timing: Option<&Timing>,
    quantity: Option<&Quantity>,
    priority: Option<&Concept>,
    [condition, instruction]: [Option<String>; 2],
    profile: &Profile,
) -> Option<Seg> {
    let mut tq1 = Seg::numbered("TQ1", 1);
    tq1.comps(2, quantity.map(data::cq).unwrap_or_default());
    if let Some(timing) = timing {
        tq1.comps(3, pattern(timing, profile));
        for time in &timing.times_of_day {
            tq1.rep(4, data::time(time));
        }
        if let (true, Some(minutes)) = (timing.events.is_empty(), timing.offset_minutes) {
            tq1.comps(5, vec![minutes.to_string(), "min".to_owned()]);
        }
        tq1.comps(
            6,
            timing.bounds_duration.as_ref().map(in_time).unwrap_or_default(),
        );
        let bounds = timing.bounds.as_ref();
        tq1.put(7, data::owhen(bounds.and_then(|period| period.start.as_ref())));
        tq1.put(8, data::owhen(bounds.and_then(|period| period.end.as_ref())));
        tq1.comps(13, timing.duration.as_ref().map(in_time).unwrap_or_default());
        let count = timing.count.or(timing.count_max);
        tq1.put(14, count.map(|count| count.to_string()).unwrap_or_default());
    }
    if let Some(priority) = priority {
        tq1.put(9, comps(terms::cwe(priority, table("0485"), profile)));
    }
    tq1.put(10, condition.map(|text| t(&text)).unwrap_or_default());
    let several = timing.and_then(several_in_words);
    let all: Vec<String> = several.into_iter().chain(instruction).collect();
    tq1.put(11, t(&all.join("\n")));
    (!tq1.says_nothing()).then_some(tq1)
}

/// A length of time with the unit's code.
fn in_time(quantity: &Quantity) -> Vec<String> {
    let unit = quantity.code.as_ref().or(quantity.unit.as_ref());
    vec![
        data::digits(quantity),
        unit.map(|unit| t(unit)).unwrap_or_default(),
    ]
}

/// The pattern → RPT. HL7 v2.5.1, 2.A.66.
fn pattern(timing: &Timing, profile: &Profile) -> Vec<String> {
    let code = timing.code.as_ref().map(|code| {
        let pieces = terms::cwe(code, mapped("0335", "RepeatPattern"), profile);
        subs(pieces)
    });
    let code = code.or_else(|| several_a_day(timing).map(str::to_owned));
    let day = |at: usize| {
        timing
            .days_of_week
            .get(at)
            .map(|day| day_number(day))
            .unwrap_or_default()
    };
    let of_week = if timing.days_of_week.is_empty() { "" } else { "DW" };
    // RPT-5 is the time from one to the next: of several in a period it says nothing.
    let once = timing.period.as_ref().filter(|_| !is_several(timing));
    let [period, unit] = once.map(in_time).map_or_else(
        || [String::new(), String::new()],
        |pieces| {
            let mut pieces = pieces.into_iter();
            [
                pieces.next().unwrap_or_default(),
                pieces.next().unwrap_or_default(),
            ]
        },
    );
    let event = timing.events.first().map(|event| t(event));
    let offset = timing.offset_minutes.filter(|_| event.is_some());
    vec![
        code.unwrap_or_default(),
        of_week.to_owned(),
        day(0),
        day(1),
        period,
        unit,
        String::new(),
        event.unwrap_or_default(),
        offset.map(|minutes| minutes.to_string()).unwrap_or_default(),
        offset.map(|_| "min".to_owned()).unwrap_or_default(),
    ]
}

fn is_several(timing: &Timing) -> bool {
    timing.frequency.is_some_and(|frequency| frequency > 1)
}

/// Two, three and four times a day have codes of table 0335.
fn several_a_day(timing: &Timing) -> Option<&'static str> {
    let period = timing.period.as_ref()?;
    let is_day =
        period.code.as_deref() == Some("d") && period.value.as_ref().is_some_and(|v| v.as_str() == "1");
    match timing.frequency {
        Some(2) if is_day => Some("BID"),
        Some(3) if is_day => Some("TID"),
        Some(4) if is_day => Some("QID"),
        Some(_) | None => None,
    }
}

/// Several times in a period that has no code, in words.
fn several_in_words(timing: &Timing) -> Option<String> {
    let has_code = timing.code.is_some() || several_a_day(timing).is_some();
    let frequency = timing.frequency.filter(|_| is_several(timing) && !has_code)?;
    let period = timing.period.as_ref()?;
    let [value, unit] = [data::digits(period), period.unit.clone().or(period.code.clone())?];
    Some(format!("{frequency} x / {value} {unit}"))
}

/// The number of a day of the week (table 0527 `DW`), 1 is Monday.
fn day_number(day: &str) -> String {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let at = days.iter().position(|name| *name == day);
    at.map(|at| (at + 1).to_string()).unwrap_or_default()
}
