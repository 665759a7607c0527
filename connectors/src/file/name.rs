//! The name of a file, made of the message that is written to it.

use aws_lc_rs::digest;
use engine::connector::Outgoing;
use jiff::tz::TimeZone;

use super::pattern::Pattern;

/// The longest name, in bytes: what every file system takes, with room for a number and the ending of a temporary name.
const LONGEST: usize = 200;
/// Names that mean something else on Windows.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// A name with values in braces: `{MSH-10}-{date}.hl7`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value { of: Value, otherwise: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Id,
    Seq,
    Channel,
    Date,
    Time,
    Path(String),
}

impl Template {
    /// Reads one. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            pieces.push(Piece::Text(before.to_owned()));
            let Some(inside) = after.strip_prefix('{') else {
                return Err("a `}` without its `{`".to_owned());
            };
            let Some((inside, after)) = inside.split_once('}') else {
                return Err("a `{` without its `}`".to_owned());
            };
            let (value, otherwise) = match inside.split_once('|') {
                Some((value, otherwise)) => (value, Some(otherwise.to_owned())),
                None => (inside, None),
            };
            let of = match value.trim() {
                "" => {
                    return Err(
                        "`{}` names no value; write {MSH-10}, {id}, {seq}, {date}, {time} or {channel}"
                            .to_owned(),
                    );
                }
                "id" => Value::Id,
                "seq" => Value::Seq,
                "channel" => Value::Channel,
                "date" => Value::Date,
                "time" => Value::Time,
                path => Value::Path(path.to_owned()),
            };
            pieces.push(Piece::Value { of, otherwise });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        if pieces.is_empty() {
            return Err("empty; write \"{MSH-10}.hl7\" or \"{id}.txt\"".to_owned());
        }
        let texts = pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Value { otherwise, .. } => otherwise.as_ref(),
        });
        for text in texts {
            if let Some(letter) = text.chars().find(|letter| !is_harmless(*letter)) {
                return Err(format!(
                    "{letter:?} can't stand in the name of a file everywhere; the folder is said by `folder`"
                ));
            }
        }
        if let Some(Piece::Text(first)) = pieces.first()
            && first.starts_with('.')
        {
            return Err(
                "a name that begins with a dot is hidden; such files are for what is not yet whole"
                    .to_owned(),
            );
        }
        Ok(Template { pieces })
    }

    /// The paths of the message that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value {
                of: Value::Path(path),
                ..
            } => Some(path.as_str()),
            Piece::Value { .. } | Piece::Text(_) => None,
        })
    }

    /// All names that it may give.
    pub fn pattern(&self) -> Pattern {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Value { .. } => "*",
        });
        Pattern::new(&pieces.collect::<String>())
    }

    /// The name for a message: the same each time. The error says what it lacks.
    pub fn name(&self, outgoing: &Outgoing) -> Result<String, String> {
        let about = &outgoing.about;
        let zone = about.zone.as_deref().unwrap_or("Europe/Bucharest");
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let at = about.received_at.to_zoned_datetime(zone);
        let mut name = String::new();
        for piece in &self.pieces {
            let (of, otherwise) = match piece {
                Piece::Text(text) => {
                    name.push_str(text);
                    continue;
                }
                Piece::Value { of, otherwise } => (of, otherwise),
            };
            let value = match of {
                Value::Id => about.message.to_string(),
                Value::Seq => outgoing.delivery.to_string(),
                Value::Channel => about.channel.clone(),
                Value::Date => at.strftime("%Y-%m-%d").to_string(),
                Value::Time => at.strftime("%H%M%S").to_string(),
                Value::Path(path) => {
                    let values = (about.values)(path).map_err(|error| error.to_string())?;
                    let found = values.into_iter().find(|value| !value.trim().is_empty());
                    match (found, otherwise) {
                        (Some(value), _) => harmless(value.trim()),
                        (None, Some(otherwise)) => otherwise.clone(),
                        (None, None) => {
                            return Err(format!(
                                "{path}: no value, and the name of the file needs one. Write {{{path}|none}} for such messages."
                            ));
                        }
                    }
                }
            };
            name.push_str(&value);
        }
        Ok(usable(name))
    }
}

/// Stands in the name of a file on every system.
fn is_harmless(letter: char) -> bool {
    !letter.is_control() && !"/\\:*?\"<>|".contains(letter)
}

/// A value of a message as a part of a name: no separators, no blanks, nothing that a shell takes for something else.
fn harmless(value: &str) -> String {
    let letter = |letter: char| match letter {
        letter if letter.is_alphanumeric() || "-_.+=@,".contains(letter) => letter,
        _ => '_',
    };
    value.chars().map(letter).collect()
}

/// Neither hidden, nor a step up, nor a device, nor too long; what is cut is told apart by a hash of the whole.
fn usable(mut name: String) -> String {
    let kept = name.trim_end_matches(['.', ' ']).len();
    name.truncate(kept);
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_device = DEVICES.iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|rest| {
            rest.is_empty() || rest.len() == 1 && rest.starts_with(|c: char| c.is_ascii_digit())
        })
    });
    if name.is_empty() || name.starts_with('.') || is_device {
        name.insert(0, '_');
    }
    if name.len() <= LONGEST {
        return name;
    }
    let whole = digest::digest(&digest::SHA256, name.as_bytes());
    let hash: String = whole
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (stem, ending) = split_ending(&name);
    let ending = if ending.len() <= 20 { ending } else { "" };
    let mut most = LONGEST - hash.len() - 1 - ending.len();
    while !stem.is_char_boundary(most) {
        most -= 1;
    }
    format!("{}-{hash}{ending}", &stem[..most])
}

/// A name and its ending, with the dot: `a.b.hl7` is `a.b` and `.hl7`.
pub(super) fn split_ending(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if 0 < at => name.split_at(at),
        Some(_) | None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::connector::About;
    use proptest::prelude::*;

    use super::*;

    fn outgoing(values: &'static [(&'static str, &'static str)]) -> Outgoing {
        Outgoing {
            delivery: 4711,
            body: bytes::Bytes::new(),
            big: None,
            content_type: String::new(),
            about: About {
                channel: "lab".to_owned(),
                received_at: "2026-10-25T00:30:15Z".parse().unwrap(),
                values: Arc::new(move |path: &str| {
                    let found = values.iter().filter(|(known, _)| *known == path);
                    Ok(found.map(|(_, value)| (*value).to_owned()).collect())
                }),
                ..About::default()
            },
        }
    }

    #[test]
    fn names_of_values() {
        let values = &[
            ("MSH-10", "A/1"),
            ("PID-3", "../../etc/passwd"),
            ("PID-5", ""),
            ("ZZZ-1", "  "),
            ("ZZZ-2", "nul.txt"),
        ];
        let name = |template: &str| Template::parse(template).unwrap().name(&outgoing(values));
        assert_eq!(name("{MSH-10}.hl7").unwrap(), "A_1.hl7");
        assert_eq!(name("{PID-3}").unwrap(), "_.._.._etc_passwd");
        // The hour that happens twice has one name for each of its moments, in the clinic's zone.
        assert_eq!(
            name("{channel}-{date}-{time}-{seq}.csv").unwrap(),
            "lab-2026-10-25-033015-4711.csv"
        );
        assert_eq!(name("{id}").unwrap(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(name("{PID-5|none}-{ZZZ-1|x}").unwrap(), "none-x");
        assert_eq!(name("{ZZZ-2}").unwrap(), "_nul.txt");
        assert!(name("a{PID-5}").unwrap_err().starts_with("PID-5: no value"));
    }

    #[test]
    fn wrong_templates() {
        for (template, word) in [
            ("", "empty"),
            ("{MSH-10", "without its `}`"),
            ("MSH-10}", "without its `{`"),
            ("{}", "names no value"),
            ("a/b", "'/'"),
            ("..\\{id}", "'\\\\'"),
            (".{id}", "begins with a dot"),
            ("{id|a:b}", "':'"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(word), "{template}: {error}");
        }
    }

    proptest! {
        /// Whatever the message says, the name is one name in the folder, visible, and not too long.
        #[test]
        fn any_value_is_a_name(value in "\\PC{0,300}|[./\\\\ ]{0,10}", ending in prop::sample::select(vec![".hl7", "", "."])) {
            let mut outgoing = outgoing(&[]);
            outgoing.about.values = Arc::new(move |_| Ok(vec![value.clone()]));
            if let Ok(name) = Template::parse(&format!("{{X}}{ending}")).unwrap().name(&outgoing) {
                prop_assert!(!name.is_empty() && name.len() <= LONGEST);
                prop_assert!(!name.starts_with('.') && !name.contains(['/', '\\', '\0']));
                prop_assert_eq!(std::path::Path::new(&name).file_name().and_then(|name| name.to_str()), Some(&*name));
            }
        }

        /// Long names stay apart.
        #[test]
        fn long_names_stay_apart(one in "[a-z]{250}", other in "[a-z]{250}") {
            prop_assume!(one != other);
            let (one, other) = (usable(format!("{one}.hl7")), usable(format!("{other}.hl7")));
            prop_assert!(one != other && one.ends_with(".hl7") && one.len() <= LONGEST);
        }
    }
}
