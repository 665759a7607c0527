//! Numbers as laboratories write them: `5.40`, `1,5`, `<5`, `>= 300`, `5 %`, and ranges such as `3,9 - 5,8`.
//!
//! Nothing here fails: what is not plainly a number is no number, and stays the text that it is.

use clinic::value::{Comparator, Decimal};

/// A number with what may stand around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// `<`, `>=` …
    pub comparator: Option<Comparator>,
    /// The digits as they came.
    pub value: Decimal,
    /// True for `5 %`.
    pub percent: bool,
}

impl Number {
    /// True where the text says the number in the same form as it will be shown.
    pub fn same_form(&self, text: &str) -> bool {
        self.comparator.is_none() && !self.percent && self.value.as_str() == text
    }
}

/// Reads a number. A single comma is the decimal sign; thousands separators are not guessed at.
pub(super) fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let (comparator, rest) = comparator_before(text);
    let (rest, percent) = match rest.strip_suffix('%') {
        Some(rest) => (rest.trim_end(), true),
        None => (rest, false),
    };
    Some(Number {
        comparator,
        value: decimal(rest)?,
        percent,
    })
}

/// The comparator at the start of a text, and what follows it. `=` says what no comparator says.
fn comparator_before(text: &str) -> (Option<Comparator>, &str) {
    const SIGNS: &[(&str, Option<Comparator>)] = &[
        ("<=", Some(Comparator::LessOrEqual)),
        ("=<", Some(Comparator::LessOrEqual)),
        ("≤", Some(Comparator::LessOrEqual)),
        (">=", Some(Comparator::GreaterOrEqual)),
        ("=>", Some(Comparator::GreaterOrEqual)),
        ("≥", Some(Comparator::GreaterOrEqual)),
        ("<", Some(Comparator::Less)),
        (">", Some(Comparator::Greater)),
        ("=", None),
    ];
    SIGNS
        .iter()
        .find_map(|(sign, comparator)| Some((*comparator, text.strip_prefix(sign)?.trim_start())))
        .unwrap_or((None, text))
}

/// A comparator alone, as SN.1 has it. `None`: not a comparator (`<>` is none).
pub(super) fn comparator(text: &str) -> Option<Comparator> {
    match comparator_before(text.trim()) {
        (Some(comparator), "") => Some(comparator),
        _ => None,
    }
}

/// Digits with at most one decimal sign, point or comma.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    if text.len() > 400 {
        return None;
    }
    match text.bytes().filter(|byte| *byte == b',').count() {
        0 => text.parse().ok(),
        1 if !text.contains('.') => text.replace(',', ".").parse().ok(),
        _ => None,
    }
}

/// Reads `40-60`, `3,9 - 5,8`, `-2.0--1.0`: two plain numbers, the lesser first. Anything else is words.
pub(super) fn range(text: &str) -> Option<(Decimal, Decimal)> {
    let text = text.trim();
    if text.len() > 100 {
        return None;
    }
    text.char_indices()
        .skip(1)
        .filter(|(_, character)| matches!(character, '-' | '–' | '—'))
        .find_map(|(at, dash)| {
            let low = decimal(text[..at].trim_end())?;
            let high = decimal(text[at + dash.len_utf8()..].trim_start())?;
            (low.value()? <= high.value()?).then_some((low, high))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let number = number(text)?;
        let comparator = number.comparator.map_or("", Comparator::as_str);
        let percent = if number.percent { "%" } else { "" };
        Some(format!("{comparator}{}{percent}", number.value))
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, want) in [
            ("5.40", Some("5.40")),
            ("0.10", Some("0.10")),
            ("123456789.123456789", Some("123456789.123456789")),
            ("1,5", Some("1.5")),
            ("<5", Some("<5")),
            (">300", Some(">300")),
            ("<= 0,30", Some("<=0.30")),
            ("≥ 7", Some(">=7")),
            ("=4", Some("4")),
            ("5 %", Some("5%")),
            ("+3", Some("3")),
            ("-.5", Some("-0.5")),
            ("1e3", Some("1e3")),
            ("1,234.5", None),
            ("1.234,5", None),
            ("1 234", None),
            ("neg", None),
            ("<", None),
            ("%", None),
            ("", None),
            ("5 mg", None),
        ] {
            assert_eq!(shown(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_form_that_changes_is_known() {
        let same = |text: &str| number(text).map(|number| number.same_form(text));
        assert_eq!(same("5.40"), Some(true));
        assert_eq!(same("1,5"), Some(false));
        assert_eq!(same("<5"), Some(false));
        assert_eq!(same("007"), Some(false));
        assert_eq!(same("5 %"), Some(false));
    }

    #[test]
    fn ranges_are_two_plain_numbers() {
        let shown = |text: &str| range(text).map(|(low, high)| format!("{low}..{high}"));
        assert_eq!(shown("40-60").as_deref(), Some("40..60"));
        assert_eq!(shown("3,9 - 5,8").as_deref(), Some("3.9..5.8"));
        assert_eq!(shown("-2.0--1.0").as_deref(), Some("-2.0..-1.0"));
        assert_eq!(shown("0 – 5").as_deref(), Some("0..5"));
        assert_eq!(shown("12-5"), None);
        assert_eq!(shown("<200"), None);
        assert_eq!(shown("1-2-3"), None);
        assert_eq!(shown("M: 4-6"), None);
        assert_eq!(shown("-"), None);
        assert_eq!(shown(""), None);
    }
}
