//! When something is to happen (FHIR R4 Timing), from HL7 v2 TQ, TQ1 and RPT.

use clinic::value::{Quantity, Timing};

use crate::json::Object;
use crate::types::{ORIGINAL_TEXT, concept_of, extension, period, quantity_of, strings};

/// The units of time that a Timing takes (FHIR R4 value set units-of-time).
fn time_unit(of: &Quantity) -> Option<&'static str> {
    let unit = of.code.as_deref().or(of.unit.as_deref())?;
    Some(match unit {
        "s" | "S" | "sec" | "second" | "seconds" => "s",
        "min" | "M" | "MIN" | "minute" | "minutes" => "min",
        "h" | "H" | "hr" | "hour" | "hours" => "h",
        "d" | "D" | "day" | "days" => "d",
        "wk" | "W" | "week" | "weeks" => "wk",
        "mo" | "L" | "month" | "months" => "mo",
        "a" | "Y" | "year" | "years" => "a",
        _ => return None,
    })
}

/// The moments of a day that a Timing takes (FHIR R4 value set event-timing).
const EVENTS: &[&str] = &[
    "MORN",
    "MORN.early",
    "MORN.late",
    "NOON",
    "AFT",
    "AFT.early",
    "AFT.late",
    "EVE",
    "EVE.early",
    "EVE.late",
    "NIGHT",
    "PHS",
    "HS",
    "WAKE",
    "C",
    "CM",
    "CD",
    "CV",
    "AC",
    "ACM",
    "ACD",
    "ACV",
    "PC",
    "PCM",
    "PCD",
    "PCV",
];

/// `HH:MM:SS`, of a real time.
pub(crate) fn is_time(text: &str) -> bool {
    text.len() >= 8 && text.is_ascii() && text.parse::<jiff::civil::Time>().is_ok() && {
        let (clock, fraction) = text.split_at(8);
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        clock.as_bytes()[2] == b':'
            && clock.as_bytes()[5] == b':'
            && &clock[6..] < "60"
            && (fraction.is_empty()
                || fraction
                    .strip_prefix('.')
                    .is_some_and(|f| !f.is_empty() && digits(f)))
    }
}

/// When something is to happen. `events` are moments that are known as such.
pub(crate) fn timing(of: &Timing, events: &[String]) -> Object {
    let whens: Vec<&str> = of
        .events
        .iter()
        .map(String::as_str)
        .filter(|event| EVENTS.contains(event))
        .collect();
    let times: Vec<&str> = of
        .times_of_day
        .iter()
        .map(String::as_str)
        .filter(|time| is_time(time) && whens.is_empty())
        .collect();
    let days: Vec<&str> = of
        .days_of_week
        .iter()
        .map(String::as_str)
        .filter(|day| ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].contains(day))
        .collect();
    let bounds = period(of.bounds.as_ref());
    let duration = of
        .duration
        .as_ref()
        .and_then(|d| d.value.as_ref().zip(time_unit(d)));
    let every = of
        .period
        .as_ref()
        .and_then(|p| p.value.as_ref().zip(time_unit(p)));
    // A length in a unit that isn't one of time is kept in words.
    let odd = [(&of.duration, duration.is_none()), (&of.period, every.is_none())]
        .into_iter()
        .filter_map(|(length, unread)| length.as_ref().filter(|_| unread))
        .map(|length| {
            let number = length.value.as_ref().map_or("", |value| value.as_str());
            let unit = length
                .unit
                .as_deref()
                .or(length.code.as_deref())
                .unwrap_or_default();
            extension(ORIGINAL_TEXT, "valueString", format!("{number} {unit}").trim())
        });
    // So is a moment that is none of those that a Timing takes (HL7 table 0528 has more).
    let other = of.events.iter().filter(|event| !EVENTS.contains(&event.as_str()));
    let other = other.map(|event| extension(ORIGINAL_TEXT, "valueString", event.as_str()));
    // An offset is one from a moment, and not from a meal itself (invariant tim-9).
    let meals = ["C", "CM", "CD", "CV"];
    let offset = of
        .offset_minutes
        .filter(|_| !whens.is_empty() && !whens.iter().any(|when| meals.contains(when)));
    let apart = of.offset_minutes.filter(|_| offset.is_none());
    let apart = apart.map(|minutes| extension(ORIGINAL_TEXT, "valueString", format!("{minutes} min")));
    // The most times are told beside how many times (tim-8).
    let count = of.count.filter(|n| 0 < *n);
    let count_max = of.count_max.filter(|n| 0 < *n);
    let at_most = count_max.filter(|_| count.is_none());
    let at_most = at_most.map(|n| extension(ORIGINAL_TEXT, "valueString", format!("at most {n} times")));
    let beside: Vec<_> = odd.chain(other).chain(apart).chain(at_most).collect();
    let mut repeat = Object::new().put("extension", beside);
    if bounds.is_empty() {
        repeat.set("boundsDuration", quantity_of(of.bounds_duration.as_ref()));
    } else {
        repeat.set("boundsPeriod", bounds);
    }
    let repeat = repeat
        .put("count", count)
        .put("countMax", count_max.filter(|_| count.is_some()))
        .put("duration", duration.map(|(value, _)| value))
        .put("durationUnit", duration.map(|(_, unit)| unit))
        .put("frequency", of.frequency.filter(|n| 0 < *n))
        .put("period", every.map(|(value, _)| value))
        .put("periodUnit", every.map(|(_, unit)| unit))
        .put("dayOfWeek", days)
        .put("timeOfDay", times)
        .put("when", whens)
        .put("offset", offset);
    Object::new()
        .put("event", strings(events))
        .put("repeat", repeat)
        .put("code", concept_of(of.code.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Value as _;

    #[test]
    fn a_moment_that_fhir_does_not_know_is_told_in_words() {
        let of = Timing {
            events: vec!["PC".to_owned(), "ICM".to_owned()],
            ..Timing::default()
        };
        let told: serde_json::Value =
            serde_json::from_str(&timing(&of, &[]).json().unwrap().to_string()).unwrap();
        assert_eq!(told["repeat"]["when"], serde_json::json!(["PC"]));
        assert_eq!(told["repeat"]["extension"][0]["valueString"], "ICM");
    }

    #[test]
    fn an_offset_is_one_from_a_moment() {
        let told = |events: &[&str]| {
            let of = Timing {
                events: events.iter().map(|event| (*event).to_owned()).collect(),
                offset_minutes: Some(30),
                ..Timing::default()
            };
            timing(&of, &[]).json().unwrap().to_string()
        };
        assert!(told(&["PC"]).contains("\"offset\":30"));
        for without in [&["BEDTIME"][..], &["CM"][..], &[][..]] {
            let told = told(without);
            assert!(!told.contains("\"offset\""), "{told}");
            assert!(told.contains("\"30 min\""), "{told}");
        }
    }
}
