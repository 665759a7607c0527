//! Durations as channel files write them: `500ms`, `2s`, `10m`, `1h30m`, `7d`.
//!
//! Our own few lines, since the crates for this read `1m` and `1M` as different things, take months and years of no
//! fixed length, or let `2 sec` pass; here there is one way to write each unit, and what was meant is told.

use std::time::Duration;

/// The longest duration that may be written: ten years.
pub const MAX: Duration = Duration::from_secs(10 * 366 * DAY);

const DAY: u64 = 24 * 3600;

/// The units, from the greatest, with the milliseconds of each.
const UNITS: [(&str, u64); 5] = [
    ("d", DAY * 1000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Other words for the units that people write; they are told which one to use.
const OTHER_WORDS: [(&str, &str); 24] = [
    ("day", "d"),
    ("days", "d"),
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("hrs", "h"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("msec", "ms"),
    ("millis", "ms"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("zi", "d"),
    ("zile", "d"),
    ("ora", "h"),
    ("ore", "h"),
    ("minut", "m"),
    ("secunde", "s"),
];

/// Reads a duration: numbers with a unit (`d`, `h`, `m`, `s`, `ms`), the greater first, each once, nothing between.
/// The error is a sentence that says what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let parts = match split(text) {
        Some(parts) if !parts.is_empty() => parts,
        _ => return Err(no_duration(text, None)),
    };
    let mut total: u64 = 0;
    let mut strict = !text.contains(char::is_whitespace);
    let mut last_unit = usize::MAX;
    for (number, word) in &parts {
        let unit = UNITS.iter().position(|(name, _)| name == word);
        let meant = unit.or_else(|| unit_meant(word));
        let Some(meant) = meant else {
            let hint = if word.is_empty() {
                Some(format!("{number}s"))
            } else {
                None
            };
            return Err(no_duration(text, hint));
        };
        strict &= unit.is_some() && (last_unit == usize::MAX || last_unit < meant);
        last_unit = meant;
        total = match number
            .checked_mul(UNITS[meant].1)
            .and_then(|part| total.checked_add(part))
        {
            Some(total) => total,
            None => return Err(too_long(text)),
        };
    }
    let duration = Duration::from_millis(total);
    if MAX < duration {
        return Err(too_long(text));
    }
    if strict {
        Ok(duration)
    } else {
        Err(no_duration(text, Some(show(duration))))
    }
}

/// Writes a duration in the same way; parts of a millisecond are left out.
pub fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, length) in UNITS {
        if length <= rest {
            text.push_str(&format!("{}{name}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Takes `1h30m` apart into numbers and the letters after them.
fn split(text: &str) -> Option<Vec<(u64, String)>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let letters = rest
            .chars()
            .take_while(|c| c.is_alphabetic())
            .map(char::len_utf8)
            .sum();
        parts.push((number, rest.get(..letters)?.to_owned()));
        rest = rest.get(letters..)?.trim_start();
    }
    Some(parts)
}

fn unit_meant(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let name = OTHER_WORDS
        .iter()
        .find(|(other, _)| *other == word)
        .map_or(word.as_str(), |(_, name)| name);
    UNITS.iter().position(|(unit, _)| *unit == name)
}

fn no_duration(text: &str, hint: Option<String>) -> String {
    let text: String = text.chars().take(40).collect();
    match hint {
        Some(hint) => format!("\"{text}\" is no duration; write \"{hint}\""),
        None => format!("\"{text}\" is no duration; write it as \"2s\", \"10m\", \"1h30m\" or \"7d\""),
    }
}

fn too_long(text: &str) -> String {
    let text: String = text.chars().take(40).collect();
    format!("\"{text}\" is too long; ten years (\"3660d\") are the most")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_each_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            ("1d1ms", 86_400_001),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_to_write() {
        for (text, told) in [
            ("2 sec", "\"2 sec\" is no duration; write \"2s\""),
            ("30", "\"30\" is no duration; write \"30s\""),
            (
                "1 hour 30 minutes",
                "\"1 hour 30 minutes\" is no duration; write \"1h30m\"",
            ),
            ("5M", "\"5M\" is no duration; write \"5m\""),
            ("30m1h", "\"30m1h\" is no duration; write \"1h30m\""),
            ("90m30m", "\"90m30m\" is no duration; write \"2h\""),
            (
                "1 y",
                "\"1 y\" is no duration; write it as \"2s\", \"10m\", \"1h30m\" or \"7d\"",
            ),
            (
                "",
                "\"\" is no duration; write it as \"2s\", \"10m\", \"1h30m\" or \"7d\"",
            ),
            (
                "-1s",
                "\"-1s\" is no duration; write it as \"2s\", \"10m\", \"1h30m\" or \"7d\"",
            ),
            (
                "1.5h",
                "\"1.5h\" is no duration; write it as \"2s\", \"10m\", \"1h30m\" or \"7d\"",
            ),
            (
                "4000d",
                "\"4000d\" is too long; ten years (\"3660d\") are the most",
            ),
            (
                "18446744073709551615d",
                "\"18446744073709551615d\" is too long; ten years (\"3660d\") are the most",
            ),
        ] {
            assert_eq!(parse(text), Err(told.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(millis in 0..=MAX.as_millis() as u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
