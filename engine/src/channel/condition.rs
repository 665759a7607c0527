//! Whether a message is what a `filter` or a `when` asks for.

use clinic::exchange::MapError;

use super::{Condition, Test, heading};
use crate::format::Format;

/// The largest program that a regular expression of a channel may become, in bytes. The engine behind it takes time
/// in proportion to the text whatever the expression, so that memory is what needs a limit.
const REGEX_LIMIT: usize = 1 << 20;

impl Condition {
    /// True where all keys match. An error says that the message can't be read at one of the paths.
    pub fn matches(
        &self,
        format: &dyn Format,
        message: &[u8],
        headers: &[(String, String)],
    ) -> Result<bool, MapError> {
        for (path, test) in &self.all {
            let values = match heading(headers, path) {
                Some(values) => values,
                None => format.values(message, path)?,
            };
            if !test.matches(&values) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Test {
    /// Whether one of the values found at a path (one for each repetition and segment) is what is asked for. `Not`
    /// is the opposite of its test: with no value at all, `not = "RAD"` holds.
    pub fn matches(&self, values: &[String]) -> bool {
        match self {
            Test::Any(wanted) => values
                .iter()
                .any(|value| wanted.iter().any(|wanted| names(wanted, value))),
            Test::Not(test) => !test.matches(values),
            Test::Matches(regex) => values.iter().any(|value| regex.is_match(value)),
            Test::Present(wanted) => values.iter().any(|value| !value.is_empty()) == *wanted,
        }
    }
}

/// `ORU^R01` names the first two components of `ORU^R01^ORU_R01`; it does not match `ORU` or `ORU^R011`.
fn names(wanted: &str, value: &str) -> bool {
    match value.strip_prefix(wanted) {
        Some(rest) => rest.is_empty() || rest.starts_with('^'),
        None => false,
    }
}

/// Makes a regular expression of what a channel says, with limits; the error is a sentence.
pub(super) fn regex(written: &str) -> Result<regex::Regex, String> {
    if 4096 < written.len() {
        return Err("is too long for a regular expression; 4096 letters are the most".to_owned());
    }
    regex::RegexBuilder::new(written)
        .size_limit(REGEX_LIMIT)
        .dfa_size_limit(REGEX_LIMIT)
        .build()
        .map_err(|error| match &error {
            regex::Error::CompiledTooBig(_) => {
                "is too large for a regular expression; repeat less in it".to_owned()
            }
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("is no regular expression: {}", last.trim_start_matches("error: "))
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(wanted: &[&str]) -> Test {
        Test::Any(wanted.iter().map(|text| (*text).to_owned()).collect())
    }

    #[track_caller]
    fn check(test: &Test, values: &[&str], expected: bool) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        assert_eq!(test.matches(&values), expected, "{test:?} on {values:?}");
    }

    #[test]
    fn a_value_counts_by_the_components_that_the_test_names() {
        check(&any(&["ORU^R01"]), &["ORU^R01^ORU_R01"], true);
        check(&any(&["ORU^R01"]), &["ORU^R01"], true);
        check(&any(&["ORU"]), &["ORU^R01^ORU_R01"], true);
        check(&any(&["ORU^R01^ORU_R01"]), &["ORU^R01"], false);
        check(&any(&["ORU^R0"]), &["ORU^R01"], false);
        check(&any(&["ORU^R01"]), &["oru^r01"], false);
        check(&any(&["ADT^A01", "ORU^R01"]), &["ORU^R01"], true);
    }

    #[test]
    fn any_repetition_will_do() {
        check(&any(&["RAD"]), &["LAB", "RAD"], true);
        check(&any(&["RAD"]), &["LAB"], false);
        check(&any(&["RAD"]), &[], false);
    }

    #[test]
    fn not_is_the_opposite() {
        let not = Test::Not(Box::new(any(&["RAD"])));
        check(&not, &["LAB"], true);
        check(&not, &["LAB", "RAD"], false);
        check(&not, &[], true);
    }

    #[test]
    fn present_means_a_value_that_is_not_empty() {
        check(&Test::Present(true), &["x"], true);
        check(&Test::Present(true), &[""], false);
        check(&Test::Present(true), &[], false);
        check(&Test::Present(false), &["", ""], true);
        check(&Test::Present(false), &["", "x"], false);
    }

    #[test]
    fn a_regex_is_looked_for_anywhere_in_a_value() {
        let test = Test::Matches(regex("^R0[13]$").expect("a regex"));
        check(&test, &["R01"], true);
        check(&test, &["R011", "x"], false);
        let test = Test::Matches(regex("R0").expect("a regex"));
        check(&test, &["ORU^R01"], true);
    }

    #[test]
    fn a_regex_has_limits() {
        assert_eq!(
            regex("(a").map(drop),
            Err("is no regular expression: unclosed group".to_owned())
        );
        assert_eq!(
            regex("((a{1000}){1000}){1000}").map(drop),
            Err("is too large for a regular expression; repeat less in it".to_owned())
        );
        assert!(regex(&"a".repeat(5000)).is_err());
    }
}
