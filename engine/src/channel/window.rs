//! Delivery windows: when a destination may be sent to, by the clock on the wall in the clinic's zone.
//!
//! A window is open whenever that clock shows a time in it. So there is nothing to be kept: the time that is passed in
//! says all, also after a restart. A time that the clock skips in spring is not there; one that it shows twice in
//! autumn counts both times.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

use super::problem::nearest;

/// How many days ahead a change is looked for: a week, and another one where a clock change leaves the only one out.
const AHEAD: usize = 15;

/// A week: from here on a weekday alone does not say which day is meant.
const WEEK: Duration = Duration::from_secs(6 * 24 * 3600);

/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// The days as channel files write them.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Other words for the days that people write; they are told which one to use.
const OTHER_DAYS: [(&str, &str); 16] = [
    ("monday", "mon"),
    ("tuesday", "tue"),
    ("wednesday", "wed"),
    ("thursday", "thu"),
    ("friday", "fri"),
    ("saturday", "sat"),
    ("sunday", "sun"),
    ("luni", "mon"),
    ("marti", "tue"),
    ("marți", "tue"),
    ("miercuri", "wed"),
    ("joi", "thu"),
    ("vineri", "fri"),
    ("sambata", "sat"),
    ("sâmbătă", "sat"),
    ("duminica", "sun"),
];

/// When a destination may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) zone: TimeZone,
    /// It is open where one of these is.
    pub(super) spans: Vec<Span>,
}

/// A span of the day, on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// On which days it begins, from Monday.
    days: [bool; 7],
    /// The minute of the day at which it begins.
    from: u16,
    /// The minute of the day before which it ends; not after `from`: on the next day.
    to: u16,
}

impl Window {
    /// Reads `open` and `days` as they are written; `days` not said: all. An error names the key, and says what to write.
    pub fn read(
        open: &str,
        days: Option<&str>,
        zone: TimeZone,
    ) -> Result<Window, Vec<(&'static str, String)>> {
        let spans = vec![Span::read(open, days)?];
        Ok(Window { zone, spans })
    }

    /// Whether it is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let minute = minute_of(local.time());
        self.spans
            .iter()
            .any(|span| span.has(local.date().weekday(), minute))
    }

    /// Until when it is shut; none: it is open, or does not open again.
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return None;
        }
        self.changes_after(now)
    }

    /// How long it was open between two moments.
    pub fn open_between(&self, from: Timestamp, to: Timestamp) -> Duration {
        let mut open = Duration::ZERO;
        let mut at = from;
        while at < to {
            let next = self.changes_after(at).map_or(to, |next| next.min(to));
            if self.is_open(at) {
                open += Duration::try_from(next.duration_since(at)).unwrap_or_default();
            }
            at = next;
        }
        open
    }

    /// `shut until Mon 07:00`; none where it is open. With the date where the weekday alone could be this one.
    pub fn says(&self, now: Timestamp) -> Option<String> {
        if self.is_open(now) {
            return None;
        }
        let Some(until) = self.shut_until(now) else {
            return Some("shut".to_owned());
        };
        let is_far = now.checked_add(WEEK).is_ok_and(|week| week <= until);
        let form = if is_far { "%a %-d %b %H:%M" } else { "%a %H:%M" };
        let local = self.zone.to_datetime(until);
        Some(format!("shut until {}", local.strftime(form)))
    }

    /// When it opens or shuts next.
    fn changes_after(&self, at: Timestamp) -> Option<Timestamp> {
        let is_open = self.is_open(at);
        let mut bounds = self.bounds(at);
        bounds.retain(|bound| at < *bound);
        bounds.sort_unstable();
        bounds.into_iter().find(|bound| self.is_open(*bound) != is_open)
    }

    /// All moments at which it may open or shut, from the day before: where its spans begin and end by the clock, twice
    /// where the clock shows that time twice, and where the clock itself is changed.
    fn bounds(&self, at: Timestamp) -> Vec<Timestamp> {
        let mut bounds = vec![];
        let mut date = self.zone.to_datetime(at).date();
        date = date.yesterday().unwrap_or(date);
        for _ in 0..=AHEAD + 1 {
            for span in &self.spans {
                for minute in [span.from, span.to] {
                    bounds.extend(self.moments(date, minute));
                }
            }
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        let last = bounds.iter().max().copied().unwrap_or(at);
        let changes = self.zone.following(at).map(|change| change.timestamp());
        bounds.extend(changes.take_while(|change| *change <= last));
        bounds
    }

    /// When the clock shows this minute of this day.
    fn moments(&self, date: Date, minute: u16) -> impl Iterator<Item = Timestamp> {
        let date = if minute < DAY { Ok(date) } else { date.tomorrow() };
        let minute = minute % DAY;
        let local = date.map(|date| date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0));
        let shown = local.map(|local| self.zone.to_ambiguous_timestamp(local)).ok();
        let both = shown.map(|shown| [shown.earlier(), shown.later()]);
        both.into_iter().flatten().flatten()
    }
}

impl Span {
    /// Reads `open` and `days` as they are written; `days` not said: all. An error names the key, and says what to write.
    pub(super) fn read(open: &str, days: Option<&str>) -> Result<Span, Vec<(&'static str, String)>> {
        let mut wrong = vec![];
        let hours = read_hours(open).map_err(|what| wrong.push(("open", what)));
        let days = days.map_or(Ok([true; 7]), read_days);
        let days = days.map_err(|what| wrong.push(("days", what)));
        match (hours, days) {
            (Ok((from, to)), Ok(days)) => Ok(Span { days, from, to }),
            _ => Err(wrong),
        }
    }

    /// Whether the clock shows a time in it.
    fn has(&self, day: Weekday, minute: u16) -> bool {
        let begins_on = |day: Weekday| {
            let day = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
            self.days.get(day).copied().unwrap_or_default()
        };
        if self.from < self.to {
            return begins_on(day) && self.from <= minute && minute < self.to;
        }
        (begins_on(day) && self.from <= minute) || (begins_on(day.previous()) && minute < self.to)
    }
}

fn minute_of(time: Time) -> u16 {
    u16::try_from(time.hour()).unwrap_or_default() * 60 + u16::try_from(time.minute()).unwrap_or_default()
}

/// `07:00-19:00`
fn read_hours(text: &str) -> Result<(u16, u16), String> {
    let no_span = |hint: &str| format!("\"{text}\" is no span of the day; write {hint}");
    let parts: Vec<&str> = text.split(['-', '–']).map(str::trim).collect();
    let read = match parts.as_slice() {
        [from, to] => read_time(from).zip(read_time(to)),
        _ => None,
    };
    let Some((from, to)) = read.filter(|(from, _)| *from < DAY) else {
        return Err(no_span("it as \"07:00-19:00\", or \"19:00-07:00\" over midnight"));
    };
    let shown = format!("{}-{}", show_time(from), show_time(to));
    if text != shown {
        return Err(no_span(&format!("\"{shown}\"")));
    }
    if from == to {
        let what = "it ends as it begins, so it never opens; the whole day is \"00:00-24:00\"";
        return Err(what.to_owned());
    }
    Ok((from, to))
}

/// A time of the day as people write it: `7`, `07:00`, `7.30`.
fn read_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once([':', '.']).unwrap_or((text, "0"));
    let number = |text: &str| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

fn show_time(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `mon-sat`, `mon,wed`, `fri-mon`
fn read_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (read_day(first.trim())?, read_day(last.trim())?);
        let mut day = first;
        loop {
            days[day] = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Ok(days)
}

fn read_day(word: &str) -> Result<usize, String> {
    if let Some(day) = DAYS.iter().position(|day| *day == word) {
        return Ok(day);
    }
    let lower = word.to_lowercase();
    let other = OTHER_DAYS
        .iter()
        .find(|(other, _)| *other == lower)
        .map(|(_, day)| *day);
    match other.or_else(|| nearest(&lower, DAYS)) {
        Some(day) => Err(format!("\"{word}\" is no day; did you mean \"{day}\"?")),
        None => Err(format!(
            "\"{word}\" is no day; write \"mon\", \"mon-fri\" or \"mon,wed\" of {}",
            DAYS.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(spans: &[(&str, Option<&str>)]) -> Window {
        let spans = spans.iter().map(|(open, days)| Span::read(open, *days));
        Window {
            zone: TimeZone::get("Europe/Bucharest").expect("the zone"),
            spans: spans.collect::<Result<_, _>>().expect("spans"),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    /// What it does over a time: each change with whether it is open from then on, as the wall shows it.
    fn changes(window: &Window, from: &str, to: &str) -> Vec<String> {
        let (mut now, to) = (at(from), at(to));
        let mut told = vec![];
        while let Some(next) = window.changes_after(now).filter(|next| *next <= to) {
            let local = next.to_zoned_datetime(window.zone.clone());
            let word = if window.is_open(next) { "opens" } else { "shuts" };
            told.push(format!("{word} {}", local.strftime("%a %H:%M %:z")));
            now = next;
        }
        told
    }

    #[test]
    fn a_week() {
        let window = window(&[("07:00-19:00", Some("mon-fri")), ("08:00-12:30", Some("sat"))]);
        let told = changes(&window, "2026-05-04T00:00:00+03:00", "2026-05-11T08:00:00+03:00");
        let mut expected = vec![];
        for day in ["Mon", "Tue", "Wed", "Thu", "Fri"] {
            expected.push(format!("opens {day} 07:00 +03:00"));
            expected.push(format!("shuts {day} 19:00 +03:00"));
        }
        expected.push("opens Sat 08:00 +03:00".to_owned());
        expected.push("shuts Sat 12:30 +03:00".to_owned());
        expected.push("opens Mon 07:00 +03:00".to_owned());
        assert_eq!(told, expected);
        let saturday = at("2026-05-09T12:30:00+03:00");
        assert_eq!(window.says(saturday).as_deref(), Some("shut until Mon 07:00"));
        assert_eq!(window.shut_until(saturday), Some(at("2026-05-11T07:00:00+03:00")));
        assert_eq!(window.says(at("2026-05-09T12:29:59.999+03:00")), None);
    }

    #[test]
    fn over_midnight_it_belongs_to_the_day_on_which_it_begins() {
        let window = window(&[("22:00-05:30", Some("fri,sun"))]);
        let told = changes(&window, "2026-05-04T00:00:00+03:00", "2026-05-12T00:00:00+03:00");
        assert_eq!(
            told,
            [
                "shuts Mon 05:30 +03:00",
                "opens Fri 22:00 +03:00",
                "shuts Sat 05:30 +03:00",
                "opens Sun 22:00 +03:00",
                "shuts Mon 05:30 +03:00",
            ]
        );
    }

    #[test]
    fn spring_skips_the_hour_from_three_to_four() {
        let (from, to) = ("2026-03-28T12:00:00+02:00", "2026-03-30T00:00:00+03:00");
        for (open, expected) in [
            // The night is an hour shorter.
            (
                "20:00-08:00",
                &[
                    "opens Sat 20:00 +02:00",
                    "shuts Sun 08:00 +03:00",
                    "opens Sun 20:00 +03:00",
                ][..],
            ),
            // What begins in the hour that is not there begins where the clock goes on …
            (
                "03:30-06:00",
                &["opens Sun 04:00 +03:00", "shuts Sun 06:00 +03:00"],
            ),
            // … what ends in it ends there …
            (
                "01:00-03:30",
                &["opens Sun 01:00 +02:00", "shuts Sun 04:00 +03:00"],
            ),
            // … and what lies in it is not there.
            ("03:10-03:50", &[]),
        ] {
            assert_eq!(changes(&window(&[(open, None)]), from, to), expected, "{open}");
        }
        let only_then = window(&[("03:10-03:50", Some("sun"))]);
        let before = at("2026-03-28T12:00:00+02:00");
        assert_eq!(
            only_then.says(before).as_deref(),
            Some("shut until Sun 5 Apr 03:10")
        );
    }

    #[test]
    fn autumn_shows_the_hour_from_three_to_four_twice() {
        let (from, to) = ("2026-10-24T12:00:00+03:00", "2026-10-26T00:00:00+02:00");
        for (open, expected) in [
            // The night is an hour longer.
            (
                "20:00-08:00",
                &[
                    "opens Sat 20:00 +03:00",
                    "shuts Sun 08:00 +02:00",
                    "opens Sun 20:00 +02:00",
                ][..],
            ),
            (
                "03:00-04:00",
                &["opens Sun 03:00 +03:00", "shuts Sun 04:00 +02:00"],
            ),
            (
                "03:10-03:50",
                &[
                    "opens Sun 03:10 +03:00",
                    "shuts Sun 03:50 +03:00",
                    "opens Sun 03:10 +02:00",
                    "shuts Sun 03:50 +02:00",
                ],
            ),
            (
                "01:00-03:30",
                &[
                    "opens Sun 01:00 +03:00",
                    "shuts Sun 03:30 +03:00",
                    "opens Sun 03:00 +02:00",
                    "shuts Sun 03:30 +02:00",
                ],
            ),
        ] {
            assert_eq!(changes(&window(&[(open, None)]), from, to), expected, "{open}");
        }
    }

    #[test]
    fn only_the_time_in_which_it_was_open_is_counted() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let days = window(&[("07:00-19:00", Some("mon-fri"))]);
        let friday = at("2026-05-08T18:00:00+03:00");
        assert_eq!(
            days.open_between(friday, at("2026-05-11T08:00:00+03:00")),
            hours(2)
        );
        assert_eq!(days.open_between(friday, friday), hours(0));
        assert_eq!(
            days.open_between(friday, at("2026-05-15T18:00:00+03:00")),
            hours(60)
        );
        let nights = window(&[("20:00-08:00", None)]);
        let night = |from, to| nights.open_between(at(from), at(to));
        assert_eq!(
            night("2026-03-28T12:00:00+02:00", "2026-03-29T12:00:00+03:00"),
            hours(11)
        );
        assert_eq!(
            night("2026-10-24T12:00:00+03:00", "2026-10-25T12:00:00+02:00"),
            hours(13)
        );
        let always = window(&[("00:00-24:00", None)]);
        assert_eq!(
            always.open_between(friday, at("2026-05-11T18:00:00+03:00")),
            hours(72)
        );
        assert_eq!(always.says(friday), None);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(open in "\\PC{0,14}", days in "\\PC{0,8}") {
            let _ = Span::read(&open, Some(&days));
        }

        /// Minute by minute, over the weeks of both clock changes.
        #[test]
        fn between_two_changes_nothing_changes(
            from in 0_u16..DAY, to in 0_u16..=DAY, day in 0_usize..7, autumn: bool, hours in 0_i64..200, next in 0_i64..2000,
        ) {
            prop_assume!(from != to);
            let open = format!("{}-{}", show_time(from), show_time(to));
            let window = window(&[(&open, Some(DAYS[day]))]);
            let start = at(if autumn { "2026-10-20T00:00:00Z" } else { "2026-03-24T00:00:00Z" });
            let start = start + Duration::from_secs(3600 * hours.unsigned_abs());
            let later = start + Duration::from_secs(60 * next.unsigned_abs());
            let change = window.changes_after(start);
            if change.is_none_or(|change| later < change) {
                prop_assert_eq!(window.is_open(start), window.is_open(later));
            }
            if let Some(change) = change {
                prop_assert_ne!(window.is_open(start), window.is_open(change));
            }
        }
    }
}
