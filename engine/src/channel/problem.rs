//! What is wrong with a channel file, where, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// One problem of a channel file. It is shown as one line:
///
/// ```text
/// channels/lab-results.toml:21:24 destination[0].retry.first  "2 sec" is no duration; write "2s"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in letters, from 1.
    pub column: usize,
    /// Where in the file's tree: `destination[0].retry.first`. Empty: the file as a whole.
    pub path: String,
    /// What is wrong, what was expected, the nearest right word.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} ", self.file.display(), self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}  ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

/// Line and column of a byte of a text, both from 1; the column counts letters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let at = at.min(text.len());
    let bytes = text.as_bytes();
    let line_start = bytes[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    // Counting the bytes that begin a letter needs no boundary, so that `at` may lie anywhere.
    let letters = bytes[line_start..at]
        .iter()
        .filter(|byte| **byte & 0xC0 != 0x80)
        .count();
    (line, letters + 1)
}

/// What is said where there is no channel of that name, but these.
pub fn no_channel(name: &str, ids: &[String]) -> String {
    match nearest(name, ids.iter().map(String::as_str)) {
        Some(near) => format!("there is no channel {name:?}; did you mean {near:?}?"),
        None => format!("there is no channel {name:?}; there are: {}", ids.join(", ")),
    }
}

/// The nearest right word to one that was written, if one is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let most = match written.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        6..=9 => 3,
        _ => 4,
    };
    known
        .into_iter()
        .map(|word| {
            let plain = word.to_lowercase().replace('-', "_");
            let is_part = 3 < written.len() && (plain.starts_with(&written) || written.starts_with(&plain));
            let distance = strsim::damerau_levenshtein(&written, &plain);
            let distance = if is_part { distance.min(most) } else { distance };
            // Of two words as near, the one that begins in the same way was meant.
            let begins_otherwise = plain.chars().next() != written.chars().next();
            (distance, begins_otherwise, word)
        })
        .filter(|(distance, _, word)| *distance <= most && *distance < word.chars().count())
        .min_by_key(|(distance, begins_otherwise, _)| (*distance, *begins_otherwise))
        .map(|(_, _, word)| word)
}

/// `not known here; did you mean "codes"?`, or what is known where nothing is near.
pub(super) fn not_known(written: &str, known: &[&str]) -> String {
    match (nearest(written, known.iter().copied()), known) {
        (Some(word), _) => format!("not known here; did you mean \"{word}\"?"),
        (None, []) => "not known here; nothing is to be written here".to_owned(),
        (None, [one]) => format!("not known here; \"{one}\" is"),
        (None, _) => format!("not known here; known are {}", known.join(", ")),
    }
}

/// A problem of a file as a whole.
pub(super) fn whole_file(file: &Path, what: impl Into<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 1,
        column: 1,
        path: String::new(),
        what: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_letters() {
        let text = "a = 1\nș = \"țț\" x\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        let at = text.find('x').expect("an x");
        assert_eq!(line_and_column(text, at), (2, 10));
        assert_eq!(line_and_column(text, text.len()), (3, 1));
        assert_eq!(line_and_column(text, 999), (3, 1));
    }

    #[test]
    fn finds_the_nearest_word() {
        let known = ["filter", "decode", "codes", "set", "encode", "apply", "lookup"];
        for (written, expected) in [
            ("codec", Some("codes")),
            ("decod", Some("decode")),
            ("Filter", Some("filter")),
            ("look-up", Some("lookup")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
        assert_eq!(
            nearest("reply-timeout", ["connect", "reply_timeout"]),
            Some("reply_timeout")
        );
        assert_eq!(nearest("desc", ["id", "description"]), Some("description"));
    }
}
