//! When something is to be done: TQ1 and TQ → timing. HL7 v2.5.1, 4.5.4 and 2.A.81.

use clinic::value::{Decimal, Period, Quantity, Timing};

use super::collect::{At, Seg};
use super::terms::{self, UCUM};
use super::{datatypes as data, numbers};

/// The URI of HL7 table 0335, and what its commonest patterns are in FHIR.
const PATTERN: terms::Table = terms::mapped("0335", "RepeatPattern");

/// All that a TQ1 or TQ says.
#[derive(Clone)]
pub struct Times<'m> {
    /// The pattern; none where nothing of it is said.
    pub timing: Option<Timing>,
    /// How much each time (CQ): not taken yet, since a prescription says it elsewhere.
    pub quantity: At<'m>,
    /// How urgent (table 0485): not taken yet, since not everything has a place for each code.
    pub urgency: At<'m>,
    /// On which condition.
    pub condition: Option<String>,
    /// Words.
    pub text: Option<String>,
}

/// TQ1 → when. What says nothing new stays to whoever reads it.
pub fn from_tq1<'m>(tq1: Seg<'m>) -> Times<'m> {
    let mut timing = Timing::default();
    let pattern = tq1.f(3).reps().into_iter().next();
    if let Some(pattern) = pattern {
        from_rpt(pattern, &mut timing);
    }
    if timing.events.is_empty() {
        let times = tq1.f(4).reps().into_iter();
        timing.times_of_day = times.filter_map(data::time_of_day).collect();
    } else if tq1.f(4).is_there() {
        // FHIR has times of the day or moments of the day, not both (invariant tim-10).
        tq1.f(4)
            .note("the repeat pattern names a moment of the day, which is used");
    }
    if timing.offset_minutes.is_none() {
        timing.offset_minutes = minutes(tq1.f(5));
    }
    bounds(tq1.f(7), tq1.f(8), tq1.f(6), &mut timing);
    timing.duration = duration(tq1.f(13));
    count(tq1.f(14), &mut timing);
    Times {
        timing: (timing != Timing::default()).then_some(timing),
        quantity: tq1.f(2).first(),
        urgency: tq1.f(9).first(),
        condition: tq1.f(10).long_text(),
        text: tq1.f(11).long_text(),
    }
}

/// RPT → pattern. HL7 v2.5.1, 2.A.66.
fn from_rpt(at: At<'_>, timing: &mut Timing) {
    timing.code = terms::concept(at.part(1), PATTERN);
    if at.part(2).is("DW") {
        let days: Vec<String> = [3, 4]
            .iter()
            .filter_map(|part| at.part(*part).read(day_of_week))
            .map(str::to_owned)
            .collect();
        if !days.is_empty() {
            at.part(2).take();
        }
        timing.days_of_week = days;
    }
    timing.period = amount_and_unit(at.part(5), at.part(6).part(1));
    // One code (ID); what stands behind it, as in a CWE, stays.
    if let Some(event) = at.part(8).part(1).text() {
        timing.events.push(event);
    }
    timing.offset_minutes = in_minutes(at.part(9), at.part(10).part(1));
}

/// The day of a number of table 0527 (`DW`: day of the week, 1 is Monday), as FHIR writes it.
fn day_of_week(text: &str) -> Result<&'static str, &'static str> {
    Ok(match text {
        "1" => "mon",
        "2" => "tue",
        "3" => "wed",
        "4" => "thu",
        "5" => "fri",
        "6" => "sat",
        "7" => "sun",
        _ => return Err("not a day of the week from 1 to 7"),
    })
}

/// TQ → when. HL7 v2.5.1, 2.A.81.
pub fn from_tq<'m>(at: At<'m>) -> Times<'m> {
    let mut timing = Timing {
        code: terms::concept(at.part(2).part(1), PATTERN),
        ..Timing::default()
    };
    // Several times stand in one text: `0800,1600`.
    let times = at.part(2).part(2);
    let clock = times.read(|text| {
        let each: Option<Vec<String>> = text.split(',').map(|time| clock(time.trim())).collect();
        each.ok_or("not times of day (HHMM,HHMM)")
    });
    timing.times_of_day = clock.unwrap_or_default();
    timing.bounds = data::period_of(at.part(4), at.part(5));
    at.part(3).read(|text| {
        match tq_duration(text)? {
            Limit::Times(times) => timing.count = Some(times),
            Limit::For(duration) if timing.bounds.is_none() => timing.bounds_duration = Some(duration),
            Limit::For(duration) => {
                let seconds = seconds_in(&duration);
                if !seconds.is_some_and(|seconds| complete(timing.bounds.as_mut(), seconds)) {
                    return Err("how long it goes on, beside from when and until when");
                }
            }
        }
        Ok(())
    });
    if let Some(total) = data::positive(at.part(12)) {
        timing.count = Some(total);
    }
    Times {
        timing: (timing != Timing::default()).then_some(timing),
        quantity: at.part(1),
        urgency: at.part(6),
        condition: at.part(7).text(),
        text: at.part(8).text(),
    }
}

/// `0800` → `08:00:00`.
fn clock(text: &str) -> Option<String> {
    let (hours, minutes) = (text.get(..2)?, text.get(2..4)?);
    let in_range = |part: &str, below: u32| part.parse::<u32>().is_ok_and(|number| number < below);
    let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
    (digits && in_range(hours, 24) && in_range(minutes, 60)).then(|| format!("{hours}:{minutes}:00"))
}

enum Limit {
    For(Quantity),
    Times(u32),
}

/// TQ.3: `M30` is 30 minutes, `X3` three times.
fn tq_duration(text: &str) -> Result<Limit, &'static str> {
    const WRONG: &str = "not a duration as TQ.3 has it (S M H D W L X and a number)";
    let mut letters = text.chars();
    let letter = letters.next().ok_or(WRONG)?;
    let number = letters.as_str();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let unit = match letter {
        'S' => "s",
        'M' => "min",
        'H' => "h",
        'D' => "d",
        'W' => "wk",
        'L' => "mo",
        'X' => return number.parse().map(Limit::Times).map_err(|_| WRONG),
        _ => return Err(WRONG),
    };
    let value = number.parse().map_err(|_| WRONG)?;
    Ok(Limit::For(time_quantity(value, unit)))
}

/// TQ.3 → minutes, in the notation of the standard (`M30`), or as the number alone that schedulers write.
pub fn tq_minutes(text: &str) -> Result<u32, &'static str> {
    if let Ok(minutes) = text.parse::<u32>() {
        return (0 < minutes).then_some(minutes).ok_or("not a length of time");
    }
    let Limit::For(duration) = tq_duration(text)? else {
        return Err("a number of times, and not a length of time");
    };
    let seconds = seconds_in(&duration).filter(|seconds| 0 < *seconds && seconds % 60 == 0);
    let minutes = seconds.and_then(|seconds| u32::try_from(seconds / 60).ok());
    minutes.ok_or("not a whole number of minutes")
}

/// The seconds of a length of time; none of months, which have no one length.
fn seconds_in(duration: &Quantity) -> Option<i64> {
    seconds(duration.value.as_ref()?.value()?, duration.code.as_deref()?)
}

/// Makes the end of a period that has none, or its beginning. False: it has both, or can't be shifted by so much.
fn complete(period: Option<&mut Period>, seconds: i64) -> bool {
    let Some(period) = period else { return false };
    match (&period.start, &period.end) {
        (Some(start), None) => period.end = start.shifted(seconds),
        (None, Some(end)) => period.start = end.shifted(-seconds),
        (Some(_), Some(_)) | (None, None) => return false,
    }
    period.start.is_some() && period.end.is_some()
}

/// From when to when; a duration makes the end that is missing, or stands alone.
fn bounds(start: At<'_>, end: At<'_>, duration_at: At<'_>, timing: &mut Timing) {
    timing.bounds = data::period_of(start, end);
    if timing.bounds.is_none() {
        timing.bounds_duration = duration(duration_at);
        return;
    }
    let Some(seconds) = seconds_of(duration_at.part(1), duration_at.part(2).part(1)) else {
        return;
    };
    if complete(timing.bounds.as_mut(), seconds) {
        duration_at.part(1).take();
        take_unit(duration_at.part(2).part(1));
    }
}

/// TQ1-14, TQ.12 → how many times at the most. FHIR has a greatest count beside a count only, so that both are said.
fn count(at: At<'_>, timing: &mut Timing) {
    timing.count = data::positive(at);
    timing.count_max = timing.count;
}

/// CQ → a length of time. Without a unit that is one of time it stays.
pub fn duration(at: At<'_>) -> Option<Quantity> {
    amount_and_unit(at.part(1), at.part(2).part(1))
}

fn amount_and_unit(amount: At<'_>, unit: At<'_>) -> Option<Quantity> {
    amount.peek()?;
    let Some(code) = unit.peek().and_then(|text| time_unit(&text)) else {
        amount.note("a length of time without a unit of time");
        return None;
    };
    let value = data::decimal(amount)?;
    unit.take();
    Some(time_quantity(value, code))
}

fn time_quantity(value: Decimal, code: &str) -> Quantity {
    Quantity {
        value: Some(value),
        unit: Some(code.to_owned()),
        system: Some(UCUM.to_owned()),
        code: Some(code.to_owned()),
        comparator: None,
    }
}

/// A unit of time in UCUM, by the names that senders have for it.
pub fn time_unit(text: &str) -> Option<&'static str> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "min",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        "w" | "wk" | "week" | "weeks" => "wk",
        "mo" | "mon" | "month" | "months" => "mo",
        "a" | "y" | "yr" | "year" | "years" => "a",
        _ => return None,
    })
}

/// CQ → whole minutes.
fn minutes(at: At<'_>) -> Option<u32> {
    in_minutes(at.part(1), at.part(2).part(1))
}

/// An amount and a unit in two places → whole minutes. Without a unit they are minutes.
pub fn in_minutes(amount: At<'_>, unit: At<'_>) -> Option<u32> {
    let seconds = seconds_of(amount, unit)?;
    let Some(minutes) = (seconds % 60 == 0)
        .then(|| u32::try_from(seconds / 60).ok())
        .flatten()
    else {
        amount.note("not a whole number of minutes");
        return None;
    };
    amount.take();
    take_unit(unit);
    Some(minutes)
}

/// Takes a unit that says something: minutes are what is meant without one.
pub fn take_unit(unit: At<'_>) {
    if unit.peek().is_some_and(|text| time_unit(&text) != Some("min")) {
        unit.take();
    }
}

/// An amount and a unit in two places → seconds, not taken. Without a unit they are minutes.
pub fn seconds_of(amount: At<'_>, unit: At<'_>) -> Option<i64> {
    let number = numbers::decimal(&amount.peek()?)?.value()?;
    let unit = unit.peek().map_or(Some("min"), |text| time_unit(&text))?;
    seconds(number, unit)
}

/// So many of a unit of UCUM, in seconds.
fn seconds(number: rust_decimal::Decimal, unit: &str) -> Option<i64> {
    let each: i64 = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "wk" => 604_800,
        _ => return None,
    };
    let seconds = number.checked_mul(each.into())?;
    let whole: i64 = seconds.trunc().try_into().ok()?;
    // A century is enough for anything that is booked or taken.
    (whole.abs() <= 3_200_000_000).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_tq_is_minutes_also_as_a_number_alone() {
        let minutes = |text: &str| tq_minutes(text).ok();
        let all = ["M30", "H1", "S1800", "30", "D1"].map(minutes);
        assert_eq!(all, [Some(30), Some(60), Some(30), Some(30), Some(1440)]);
        let none = ["0", "M0", "S90", "X3", "L1", "", "half an hour"].map(minutes);
        assert_eq!(none, [None; 7]);
    }

    #[test]
    fn durations_of_tq_have_a_letter() {
        let shown = |text: &str| match tq_duration(text) {
            Ok(Limit::For(quantity)) => quantity
                .value
                .map(|v| format!("{v} {}", quantity.code.unwrap_or_default())),
            Ok(Limit::Times(times)) => Some(format!("{times} times")),
            Err(_) => None,
        };
        assert_eq!(shown("M30").as_deref(), Some("30 min"));
        assert_eq!(shown("L2").as_deref(), Some("2 mo"));
        assert_eq!(shown("X3").as_deref(), Some("3 times"));
        for wrong in ["", "30", "INDEF", "Ă3", "X", "M-3"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clocks_are_four_digits() {
        assert_eq!(clock("0800").as_deref(), Some("08:00:00"));
        for wrong in ["2460", "2400", "8", "ăă", "08000"] {
            assert_eq!(clock(wrong), None, "{wrong}");
        }
    }
}
