//! Cron patterns: minute, hour, day of the month, month, day of the week.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A pattern is looked at for so many days: all that the calendar has to offer comes within 28 years, or 40 where a
/// century has no leap day.
const DAYS: u32 = 41 * 366;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// Both are said: either will do, as cron has it.
    either_day: bool,
}

/// A field of a pattern.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        least: 0,
        most: 59,
        words: &[],
    },
    Field {
        name: "hour",
        least: 0,
        most: 23,
        words: &[],
    },
    Field {
        name: "day of the month",
        least: 1,
        most: 31,
        words: &[],
    },
    Field {
        name: "month",
        least: 1,
        most: 12,
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Field {
        name: "day of the week",
        least: 0,
        most: 7,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Cron {
    /// Reads one. The error says which field is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = written.as_slice() else {
            return Err(format!(
                "{text:?} has {} fields; write minute, hour, day, month and day of the week, such as \"0 7 * * 1-5\"",
                written.len()
            ));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let weekdays = weekdays.read(weekday)?;
        let cron = Cron {
            minutes: minutes.read(minute)?,
            hours: hours.read(hour)?,
            days: days.read(day)?,
            months: months.read(month)?,
            // Sunday is 0 and 7.
            weekdays: weekdays | ((weekdays >> 7) & 1),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let start = Date::constant(2024, 1, 1);
        let ever =
            (0..DAYS).any(|days| after_days(start, i64::from(days)).is_some_and(|date| cron.is_day(date)));
        if ever {
            Ok(cron)
        } else {
            Err(format!(
                "{text:?} never comes: no such day is in any of its months"
            ))
        }
    }

    /// The first moment after another.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after).date();
        (-1..i64::from(DAYS)).find_map(|days| {
            let date = after_days(start, days)?;
            self.moments(date, zone).filter(|at| after < *at).min()
        })
    }

    /// The last moment that is not after another.
    pub fn latest(&self, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(until).date();
        (-1..i64::from(DAYS)).find_map(|days| {
            let date = after_days(start, -days)?;
            self.moments(date, zone).filter(|at| *at <= until).max()
        })
    }

    fn is_day(&self, date: Date) -> bool {
        let has = |set: u64, bit: i8| u8::try_from(bit).is_ok_and(|bit| (set >> bit) & 1 == 1);
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month())
            && if self.either_day {
                day || weekday
            } else {
                day && weekday
            }
    }

    /// Its moments of a day. An hour that is left out (in spring) comes an hour later; of one that happens twice (in
    /// autumn) the first counts.
    fn moments<'a>(&'a self, date: Date, zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
        let hours = (0..24_i8).filter(move |hour| self.is_day(date) && (self.hours >> hour) & 1 == 1);
        hours
            .flat_map(move |hour| {
                let minutes = (0..60_i8).filter(move |minute| (self.minutes >> minute) & 1 == 1);
                minutes.map(move |minute| date.at(hour, minute, 0, 0))
            })
            .filter_map(|time| zone.to_timestamp(time).ok())
    }
}

fn after_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(jiff::Span::new().days(days)).ok()
}

impl Field {
    /// A list of ranges with steps: `0,30`, `8-17`, `*/15`, `mon-fri`.
    fn read(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (self.value(first)?, self.value(last)?),
                None if range == "*" => (self.least, self.most),
                // A value with a step goes on to the end, as cron has it.
                None if step.is_some() => (self.value(range)?, self.most),
                None => (self.value(range)?, self.value(range)?),
            };
            if last < first {
                return Err(format!("the {} {range:?} ends before it begins", self.name));
            }
            let step = match step {
                None => 1,
                Some(step) => match step.parse::<u8>() {
                    Ok(step) if 0 < step => step,
                    Ok(_) | Err(_) => {
                        return Err(format!(
                            "the {} {part:?} has no step that is a number from 1",
                            self.name
                        ));
                    }
                },
            };
            for value in (first..=last).step_by(usize::from(step)) {
                set |= 1 << value;
            }
        }
        Ok(set)
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let word = text.to_ascii_lowercase();
        if let Some(at) = self.words.iter().position(|known| *known == word) {
            return Ok(self.least + at as u8);
        }
        match text.parse::<u8>() {
            Ok(value) if self.least <= value && value <= self.most => Ok(value),
            Ok(_) | Err(_) => Err(format!(
                "the {} {text:?} is none; it goes from {} to {}",
                self.name, self.least, self.most
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Bucharest").unwrap()
    }

    /// The next moments after a time, in the clinic's zone.
    fn told(pattern: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(pattern).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        let mut all = vec![];
        for _ in 0..count {
            at = cron.next(at, &zone()).unwrap();
            all.push(
                at.to_zoned_datetime(zone())
                    .strftime("%a %d.%m. %H:%M%:z")
                    .to_string(),
            );
        }
        all
    }

    #[test]
    fn moments() {
        assert_eq!(
            told("0 7 * * 1-5", "2026-11-27T00:00:00Z", 2),
            ["Fri 27.11. 07:00+02:00", "Mon 30.11. 07:00+02:00"]
        );
        assert_eq!(
            told("*/20 8-9 1,15 jan *", "2026-12-31T00:00:00Z", 7)[4..],
            [
                "Fri 01.01. 09:20+02:00",
                "Fri 01.01. 09:40+02:00",
                "Fri 15.01. 08:00+02:00"
            ]
        );
        // A day of the month or a day of the week, where both are said.
        assert_eq!(
            told("0 0 13 * fri", "2026-11-01T12:00:00Z", 3),
            [
                "Fri 06.11. 00:00+02:00",
                "Fri 13.11. 00:00+02:00",
                "Fri 20.11. 00:00+02:00"
            ]
        );
        assert_eq!(
            told("0 0 29 2 *", "2026-01-01T00:00:00Z", 1),
            ["Tue 29.02. 00:00+02:00"]
        );
        assert_eq!(
            told("30 12 * * sun", "2026-11-26T00:00:00Z", 1),
            told("30 12 * * 7", "2026-11-26T00:00:00Z", 1)
        );
    }

    #[test]
    fn both_clock_changes() {
        // 03:00 becomes 04:00: what would come at half past three comes an hour later.
        assert_eq!(
            told("30 3 * * *", "2026-03-28T00:00:00Z", 3),
            [
                "Sat 28.03. 03:30+02:00",
                "Sun 29.03. 04:30+03:00",
                "Mon 30.03. 03:30+03:00"
            ]
        );
        // 04:00 becomes 03:00: the hour that happens twice counts once.
        assert_eq!(
            told("30 3 * * *", "2026-10-24T00:00:00Z", 3),
            [
                "Sat 24.10. 03:30+03:00",
                "Sun 25.10. 03:30+03:00",
                "Mon 26.10. 03:30+02:00"
            ]
        );
        assert_eq!(
            told("0 2-4 * * *", "2026-10-24T22:00:00Z", 3)[1..],
            ["Sun 25.10. 03:00+03:00", "Sun 25.10. 04:00+02:00"]
        );
    }

    #[test]
    fn wrong_patterns() {
        for (pattern, words) in [
            ("0 7 * *", "has 4 fields"),
            ("60 * * * *", "the minute \"60\" is none; it goes from 0 to 59"),
            ("0 24 * * *", "the hour \"24\" is none"),
            ("0 0 0 * *", "the day of the month \"0\" is none"),
            ("0 0 * x *", "the month \"x\" is none"),
            ("0 0 * * fri-mon", "ends before it begins"),
            ("*/0 * * * *", "no step"),
            ("0 0 31 2 *", "never comes"),
            ("0 0 31 4,6 *", "never comes"),
        ] {
            let error = Cron::parse(pattern).unwrap_err();
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The next moment is after, nothing lies between, and going back finds it again.
        #[test]
        fn next_and_latest_agree(seconds in 1_700_000_000_i64..1_900_000_000, minute in 0_u8..60, hours in "[0-9]|1[0-9]|2[0-3]|\\*|\\*/5", weekday in "[0-6]|\\*") {
            let cron = Cron::parse(&format!("{minute} {hours} * * {weekday}")).unwrap();
            let after = Timestamp::from_second(seconds).unwrap();
            let next = cron.next(after, &zone()).unwrap();
            prop_assert!(after < next);
            prop_assert_eq!(cron.latest(next, &zone()), Some(next));
            let before = cron.latest(after, &zone()).unwrap();
            prop_assert!(before <= after);
            prop_assert_eq!(cron.next(before, &zone()), Some(next));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9*/,a-z -]{0,24}|\\PC{0,20}") {
            let _ = Cron::parse(&text);
        }
    }
}
