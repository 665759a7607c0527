//! `punte.toml`, read so that all that is wrong in it is told, each at its place.

use std::path::Path;

use engine::channel::{Problem, nearest};
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use crate::home::Settings;

/// The most that is told of one file.
const MOST: usize = 100;

/// What came of the file.
#[derive(Debug, Default)]
pub struct Read {
    /// The settings, without what is wrong.
    pub settings: Settings,
    /// What is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// The paths of what was left out for it.
    left_out: Vec<String>,
}

impl Read {
    /// True where something may be wrong at a path only because something was left out in it or around it.
    pub fn follows(&self, path: &str) -> bool {
        let is_within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let names_receiver = path.contains(".to[");
        self.left_out.iter().any(|gone| {
            let is_receiver = gone.starts_with("alerts.receiver") && gone.matches('.').count() <= 2;
            is_within(gone, path) || is_within(path, gone) || (is_receiver && names_receiver)
        })
    }
}

/// Reads the text of the file.
pub fn read(file: &Path, text: &str) -> Read {
    let problem = |at: usize, path: &str, what: String| {
        let (line, column) = line_and_column(text, at);
        Problem {
            file: file.to_owned(),
            line,
            column,
            path: path.to_owned(),
            what,
        }
    };
    let mut read = Read::default();
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let wrong = errors.iter().map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            problem(at, "", format!("this is no TOML: {what}"))
        });
        read.problems = wrong.take(MOST).collect();
        return read;
    }
    let mut told: Vec<String> = vec![];
    // What is wrong is taken out, and the rest is read again: the reader stops at the first mistake.
    while read.problems.len() < MOST {
        let error = match Settings::deserialize(Deserializer::from(table.clone())) {
            Ok(settings) => {
                read.settings = settings;
                break;
            }
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start);
        let gone = take_out(table.get_mut(), at, "");
        let path = gone.as_deref().unwrap_or_default();
        let what = in_words(error.message());
        // What lacks only because it was taken out, or is misspelt, was told.
        let lacks = what
            .strip_suffix("\" is missing")
            .map(|key| format!("{path}.{}", &key[1..]));
        if !lacks.is_some_and(|key| told.contains(&key)) {
            told.extend(meant(path, &what));
            read.problems.push(problem(at, path, what));
        }
        let Some(gone) = gone else { break };
        told.push(gone.clone());
        read.left_out.push(gone);
    }
    if let Some(zone) = read.settings.zone.take_if(|zone| TimeZone::get(zone).is_err()) {
        let at = span_of(text, "zone").unwrap_or_default();
        read.problems.push(problem(at, "zone", no_zone(&zone)));
    }
    read.problems
        .sort_by_key(|problem| (problem.line, problem.column));
    read
}

/// The path of the key that a misspelt one is told to mean.
fn meant(path: &str, what: &str) -> Option<String> {
    let key = what.rsplit_once("did you mean \"")?.1.strip_suffix("\"?")?;
    let (table, _) = path.rsplit_once('.')?;
    Some(format!("{table}.{key}"))
}

fn no_zone(zone: &str) -> String {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    match nearest(zone, known.iter().map(String::as_str)) {
        Some(near) => format!("{zone:?} is no time zone; did you mean {near:?}?"),
        None => format!("{zone:?} is no time zone; write one as \"Europe/Bucharest\""),
    }
}

/// Takes out what stands at a byte of the text, as small a piece as it is; its path.
fn take_out(table: &mut DeTable<'_>, at: usize, path: &str) -> Option<String> {
    let keys: Vec<String> = table.iter().map(|(key, _)| key.get_ref().to_string()).collect();
    for key in keys {
        let below = match path {
            "" => key.clone(),
            _ => format!("{path}.{key}"),
        };
        let at_key = table
            .iter()
            .any(|(name, _)| name.get_ref() == key.as_str() && name.span().contains(&at));
        let value = table.get_mut(key.as_str())?;
        let is_here = value.span().contains(&at);
        if let Some(found) = take_out_of(value, at, &below) {
            return Some(found);
        }
        if at_key || is_here {
            table.remove(key.as_str());
            return Some(below);
        }
    }
    None
}

fn take_out_of(value: &mut Spanned<DeValue<'_>>, at: usize, path: &str) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(table) => take_out(table, at, path),
        DeValue::Array(items) => items
            .iter_mut()
            .enumerate()
            .find_map(|(idx, item)| take_out_of(item, at, &format!("{path}[{idx}]"))),
        _ => None,
    }
}

/// What the reader says, in the words of channel files. What stands in the file is not repeated: it may be a secret.
fn in_words(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field") {
        return match quoted.as_slice() {
            [written, known @ ..] => match nearest(written, known.iter().copied()) {
                Some(near) => format!("not known here; did you mean \"{near}\"?"),
                None if known.is_empty() => "not known here; nothing is to be written here".to_owned(),
                None => format!("not known here; known are {}", known.join(", ")),
            },
            [] => "not known here".to_owned(),
        };
    }
    if let (true, [key]) = (message.starts_with("missing field"), quoted.as_slice()) {
        return format!("\"{key}\" is missing");
    }
    let of_type = message.strip_prefix("invalid type: ");
    if let Some((is, expected)) = of_type.and_then(|rest| rest.rsplit_once(", expected ")) {
        let is = kind(is.split(' ').next().unwrap_or_default());
        return format!("{is}, where {} is expected", kind(expected));
    }
    if message.starts_with("UUID parsing failed") {
        return "is no id of a clinic (a UUID)".to_owned();
    }
    message.lines().collect::<Vec<_>>().join(", ")
}

/// A kind of value in words.
fn kind(name: &str) -> &str {
    match name {
        "string" | "a string" | "path string" | "a path string" => "a text",
        "integer" | "floating" | "u64" | "u32" | "usize" | "i64" => "a number",
        "boolean" | "a boolean" => "true or false",
        "sequence" | "a sequence" => "a list",
        "map" | "a map" => "a table",
        // The tables of ours call themselves by their types.
        _ if name.starts_with("struct ") => "a table",
        _ => name,
    }
}

/// Where the value at a dotted path begins in a TOML text.
pub fn span_of(text: &str, path: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for key in path.split('.') {
        // `rule[2]`: the third of a list.
        let (key, places) = key.split_once('[').unwrap_or((key, ""));
        let Some((_, mut value)) = table.iter().find(|(name, _)| name.get_ref() == key) else {
            break;
        };
        let place = places.trim_end_matches(']').parse::<usize>().ok();
        if let (DeValue::Array(items), Some(place)) = (value.get_ref(), place)
            && let Some(item) = items.get(place)
        {
            value = item;
        }
        at = Some(value.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    at
}

/// Line and column, both from 1, of a place in a text.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(1, |l| l.chars().count() + 1);
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    /// Cases of `wrong.txt`: `=== title`, the file, then `>>>` and the lines that are told. Warnings begin with
    /// `warning: `.
    ///
    /// With `UPDATE_WRONG=1` in the environment the file is written anew from what is told now.
    #[test]
    fn each_wrong_file_is_told_what_is_wrong_with_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/punte_toml/wrong.txt");
        let cases = std::fs::read_to_string(&path).unwrap();
        let mut told = String::new();
        for case in cases.split("=== ").skip(1) {
            let (title, rest) = case.split_once('\n').unwrap();
            let (source, _) = rest.split_once(">>>\n").unwrap();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("punte.toml"), source).unwrap();
            let (problems, warnings) = Home::new(folder.path()).look_at_settings(None).unwrap();
            assert!(0 < problems.len() + warnings.len(), "{title}: nothing is told");
            told.push_str(&format!("=== {title}\n{source}>>>\n"));
            let lines = problems.iter().map(ToString::to_string);
            for line in lines.chain(warnings.iter().map(|warning| format!("warning: {warning}"))) {
                told.push_str(&line.replace(&format!("{}/", folder.path().display()), ""));
                told.push('\n');
            }
            told.push('\n');
        }
        if std::env::var_os("UPDATE_WRONG").is_some() {
            std::fs::write(&path, &told).unwrap();
            return;
        }
        for (now, kept) in told.split("=== ").zip(cases.split("=== ")) {
            assert_eq!(now, kept);
        }
        assert_eq!(told, cases);
    }

    #[test]
    fn what_is_right_beside_a_mistake_is_read_and_no_value_is_repeated() {
        let read = read(
            Path::new("punte.toml"),
            "zone = \"Europe/Paris\"\nclinic = 7\n[http]\nlisten = \"127.0.0.1:1\"\npasswort = \"geheim\"\norigins = \"geheim\"\n",
        );
        assert_eq!(read.settings.http.listen, "127.0.0.1:1");
        assert_eq!(read.settings.zone.as_deref(), Some("Europe/Paris"));
        let told: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(!told.concat().contains("geheim"), "{told:?}");
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_never_panics_and_has_its_places(cut in 0usize..400, more in "[a-z\"=\\[\\]{}.,\n0-9ș -]{0,6}") {
            const RIGHT: &str = "zone = \"Europe/Bucharest\"\n[http]\nlisten = \"127.0.0.1:1\"\n[keep]\nmessages = \"90d\"\n[alerts]\ncalm = \"1m\"\n[alerts.receiver.it]\nwebhook = { url = \"https://x/\", secret_env = \"X\" }\n[[alerts.rule]]\nheld = 3\nto = [\"it\"]\n";
            let at = cut.min(RIGHT.len());
            let text = format!("{}{more}{}", &RIGHT[..at], &RIGHT[at..]);
            for problem in read(Path::new("punte.toml"), &text).problems {
                proptest::prop_assert!(1 <= problem.line && problem.line <= text.lines().count() + 1);
                proptest::prop_assert!(!problem.what.is_empty());
            }
        }
    }
}
