//! Days in free text: by one that is written there the days by which all others were moved can be read off, and the birth date told
//! (PS3.15 §E.3.6).

use std::ops::Range;

use jiff::civil::Date;

/// A day as people write it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Where it stands, in letters.
    pub(super) at: Range<usize>,
    /// What may be meant: which of two numbers the month is, is not known.
    pub(super) may_be: Vec<Date>,
    /// It can hardly be anything else.
    pub(super) is_sure: bool,
}

/// The months by their first letters, in Romanian, English, German and French.
const MONTHS: [&[&str]; 12] = [
    &["ian", "jan"],
    &["feb", "fev"],
    &["mar"],
    &["apr", "avr"],
    &["mai", "may"],
    &["iun", "jun", "juin"],
    &["iul", "jul", "juil"],
    &["aug", "aou"],
    &["sep"],
    &["oct", "okt"],
    &["noi", "nov"],
    &["dec", "dez"],
];

/// The days in a text of small letters without marks: `20261128`, `2026-11-28`, `28.11.2026`, `11/28/2026`, `28.11.26`,
/// `28 noiembrie 2026`.
pub(super) fn written(text: &[char]) -> Vec<Written> {
    let mut out: Vec<Written> = vec![];
    let mut at = 0;
    while at < text.len() {
        let begins = text[at].is_ascii_digit() && !continues(text[..at].iter().rev());
        match begins.then(|| day_at(text, at)).flatten() {
            Some(day) => {
                at = day.at.end;
                out.push(day);
            }
            None if text[at].is_ascii_digit() => at += digits(text, at),
            None => at += 1,
        }
    }
    out
}

/// Whether a number goes on here: by a digit, or by one behind a point, a line or a stroke.
fn continues<'t>(mut letters: impl Iterator<Item = &'t char>) -> bool {
    match letters.next() {
        Some(letter) if letter.is_ascii_digit() => true,
        Some('.' | '-' | '/') => letters.next().is_some_and(char::is_ascii_digit),
        Some(_) | None => false,
    }
}

fn day_at(text: &[char], at: usize) -> Option<Written> {
    let first = digits(text, at);
    if 8 <= first {
        return in_a_run(text, at, first);
    }
    let (second_at, separator) = match text.get(at + first) {
        Some(letter @ ('.' | '-' | '/')) => (at + first + 1, Some(*letter)),
        _ => (at + first, None),
    };
    let second = digits(text, second_at);
    let separator = separator.filter(|_| (1..=2).contains(&second));
    let Some(separator) = separator else {
        return with_a_word(text, at, first);
    };
    let third_at = second_at + second + 1;
    if text.get(second_at + second) != Some(&separator) {
        return None;
    }
    let third = digits(text, third_at);
    let end = third_at + third;
    if continues(text[end..].iter()) {
        return None;
    }
    let [one, two, three] =
        [(at, first), (second_at, second), (third_at, third)].map(|(at, n)| number(text, at, n));
    let may_be = match (first, third) {
        (4, 1 | 2) => days(&[(one, two, three)]),
        (1 | 2, 4) => days(&[(three, two, one), (three, one, two)]),
        (1 | 2, 2) => {
            let centuries = [1900, 2000].map(|century| century + three);
            days(
                &centuries
                    .map(|year| [(year, two, one), (year, one, two)])
                    .concat(),
            )
        }
        _ => vec![],
    };
    some(at..end, may_be, first == 4 || third == 4)
}

/// Eight digits, alone or with a time behind; of more the first eight may be a day.
fn in_a_run(text: &[char], at: usize, length: usize) -> Option<Written> {
    let year_first = (
        number(text, at, 4),
        number(text, at + 4, 2),
        number(text, at + 6, 2),
    );
    let year_last = (
        number(text, at + 4, 4),
        number(text, at + 2, 2),
        number(text, at, 2),
    );
    let (year, one, two) = year_last;
    let may_be = match length {
        8 => days(&[year_first, year_last, (year, two, one)]),
        _ => days(&[year_first]),
    };
    some(at..at + 8, may_be, matches!(length, 8 | 12 | 14))
}

/// The day, the month as a word, the year.
fn with_a_word(text: &[char], at: usize, first: usize) -> Option<Written> {
    let skip = |mut at: usize| {
        while matches!(text.get(at), Some(' ' | '.' | '-')) {
            at += 1;
        }
        at
    };
    let word_at = skip(at + first);
    let length = text
        .get(word_at..)?
        .iter()
        .take_while(|letter| letter.is_alphabetic())
        .count();
    let word: String = text[word_at..word_at + length].iter().collect();
    let is_month = |names: &[&str]| names.iter().any(|name| word.starts_with(name));
    let month = MONTHS.iter().position(|names| is_month(names))?;
    let year_at = skip(word_at + length);
    let is_year = digits(text, year_at) == 4 && (1..=2).contains(&first);
    let month = i16::try_from(month + 1).ok().filter(|_| is_year)?;
    let day = (number(text, year_at, 4), month, number(text, at, first));
    some(at..year_at + 4, days(&[day]), true)
}

fn some(at: Range<usize>, may_be: Vec<Date>, is_sure: bool) -> Option<Written> {
    (!may_be.is_empty()).then_some(Written { at, may_be, is_sure })
}

/// Those of these years, months and days that there are, in the time of those who live.
fn days(all: &[(i16, i16, i16)]) -> Vec<Date> {
    let day = |(year, month, day): &(i16, i16, i16)| {
        let (month, day) = (i8::try_from(*month).ok()?, i8::try_from(*day).ok()?);
        Date::new(*year, month, day)
            .ok()
            .filter(|_| (1880..=2120).contains(year))
    };
    all.iter().filter_map(day).collect()
}

fn digits(text: &[char], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|letter| letter.is_ascii_digit()).count()
}

/// At most four digits as a number.
fn number(text: &[char], at: usize, count: usize) -> i16 {
    let digits = text.get(at..at + count.min(4)).unwrap_or_default();
    let digits = digits.iter().filter_map(|letter| letter.to_digit(10));
    digits.fold(0, |number, digit| number * 10 + digit as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, Vec<String>, bool)> {
        let letters: Vec<char> = text.chars().collect();
        let all = written(&letters).into_iter();
        all.map(|one| {
            let stands = letters[one.at].iter().collect();
            (
                stands,
                one.may_be.iter().map(ToString::to_string).collect(),
                one.is_sure,
            )
        })
        .collect()
    }

    #[test]
    fn days_are_known_as_people_write_them() {
        for (text, stands, may_be, is_sure) in [
            (
                "ct din 28.11.2026, ora 10",
                "28.11.2026",
                &["2026-11-28"][..],
                true,
            ),
            ("20261128 spital", "20261128", &["2026-11-28"], true),
            ("(2026-11-28t11:46)", "2026-11-28", &["2026-11-28"], true),
            ("2026/1/5", "2026/1/5", &["2026-01-05"], true),
            ("11/12/2026", "11/12/2026", &["2026-12-11", "2026-11-12"], true),
            ("11/28/2026", "11/28/2026", &["2026-11-28"], true),
            ("28.11.26", "28.11.26", &["1926-11-28", "2026-11-28"], false),
            ("20261128114600", "20261128", &["2026-11-28"], true),
            ("nr. 20261128001", "20261128", &["2026-11-28"], false),
            ("28112026", "28112026", &["2026-11-28"], true),
            ("28 noiembrie 2026", "28 noiembrie 2026", &["2026-11-28"], true),
            ("28-nov-2026", "28-nov-2026", &["2026-11-28"], true),
            ("ct20261128x", "20261128", &["2026-11-28"], true),
        ] {
            let may_be = may_be.iter().map(|day| (*day).to_owned()).collect();
            assert_eq!(found(text), [(stands.to_owned(), may_be, is_sure)], "{text}");
        }
        assert_eq!(found("28.11.2026 si 04.12.1979").len(), 2);
        for text in [
            "1.2.840.28.11.2026.5",
            "12 mm",
            "31.02.2026",
            "10.5",
            "120/80",
            "3 mai",
            "12345678",
            "99999999",
            "",
            "1.",
            "2026",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
