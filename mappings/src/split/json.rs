//! JSON documents: the elements of the array at a path, byte for byte as they stand.

use std::borrow::Cow;
use std::fmt;

use clinic::exchange::MapError;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{Limits, Part, Parts, wrong};

/// Where in a JSON document something stands: `$`, `$.entry`, `$.labs[0].results`, `$["a.b"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

impl JsonPath {
    /// Reads one. The error says what is wrong and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let how = "a path is written `$`, `$.entry`, `$.labs[0].results` or `$[\"a.b\"]`";
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err(format!("it has to start with `$`: {how}"));
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(name) = rest.strip_prefix('.') {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return Err(format!("a name is missing after a dot: {how}"));
                }
                steps.push(Step::Member(name[..end].to_owned()));
                rest = &name[end..];
            } else if let Some(name) = rest.strip_prefix("[\"") {
                let Some((name, after)) = name.split_once("\"]") else {
                    return Err(format!("`[\"` is not closed: {how}"));
                };
                steps.push(Step::Member(name.to_owned()));
                rest = after;
            } else if let Some(number) = rest.strip_prefix('[') {
                let Some((number, after)) = number.split_once(']') else {
                    return Err(format!("`[` is not closed: {how}"));
                };
                let Ok(number) = number.parse() else {
                    return Err(format!("between `[` and `]` stands a number from 0: {how}"));
                };
                steps.push(Step::Element(number));
                rest = after;
            } else {
                return Err(format!("after `$`, a name or `]` comes `.` or `[`: {how}"));
            }
        }
        Ok(JsonPath { steps })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.steps {
            match step {
                Step::Member(name) if name.contains(['.', '[']) || name.is_empty() => {
                    write!(f, "[\"{name}\"]")?
                }
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Element(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}

pub(super) fn split<'a>(bytes: &'a [u8], at: &JsonPath, limits: &Limits) -> Result<Vec<Part<'a>>, MapError> {
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        wrong(&format!("line {line}"), "not UTF-8, which JSON has to be")
    })?;
    let mut found = Found {
        at,
        parts: Parts::new(limits),
        arrays: 0,
        error: None,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Seek {
        steps: &at.steps,
        found: &mut found,
    }
    .deserialize(&mut reader)
    .and_then(|()| reader.end());
    if let Some(error) = found.error {
        return Err(error);
    }
    // The reader's own words may quote a value; its place may not.
    if let Err(error) = read {
        let place = format!("line {} column {}", error.line(), error.column());
        return Err(match error.classify() {
            Category::Data => wrong(&place, format!("there is something else than `{at}` needs here")),
            Category::Eof => wrong(&place, "the document ends too early; it may be cut"),
            Category::Syntax | Category::Io => wrong(&place, "no JSON from here on"),
        });
    }
    match found.arrays {
        0 => Err(MapError::missing(&at.to_string(), "the array to be split")),
        1 => Ok(found.parts.parts),
        _ => Err(wrong(
            &at.to_string(),
            "stands twice in the document, so that nobody knows which one counts",
        )),
    }
}

struct Found<'a, 'l> {
    at: &'l JsonPath,
    parts: Parts<'a, 'l>,
    arrays: usize,
    error: Option<MapError>,
}

/// Goes down a path; what does not lie on it is only read past.
struct Seek<'s, 'a, 'l> {
    steps: &'s [Step],
    found: &'s mut Found<'a, 'l>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.steps.first() {
            Some(Step::Member(_)) => reader.deserialize_map(self),
            Some(Step::Element(_)) | None => reader.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the path names")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match self.steps.split_first() {
                Some((Step::Member(name), steps)) if *name == key => map.next_value_seed(Seek {
                    steps,
                    found: &mut *self.found,
                })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        match self.steps.split_first() {
            None => {
                self.found.arrays += 1;
                let mut index = 0;
                while let Some(element) = seq.next_element::<&'de RawValue>()? {
                    let place = format!("{}[{index}]", self.found.at);
                    let bytes = Cow::Borrowed(element.get().as_bytes());
                    if let Err(error) = self.found.parts.push(place, None, bytes) {
                        self.found.error = Some(error);
                        return Err(S::Error::custom("limit"));
                    }
                    index += 1;
                }
            }
            Some((step, steps)) => {
                let mut index = 0;
                loop {
                    if *step == Step::Element(index) {
                        let inner = Seek {
                            steps,
                            found: &mut *self.found,
                        };
                        if seq.next_element_seed(inner)?.is_none() {
                            break;
                        }
                    } else if seq.next_element::<IgnoredAny>()?.is_none() {
                        break;
                    }
                    index += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written() {
        for path in ["$", "$.entry", "$.labs[0].results", "$[\"a.b\"][3]", "$[1][2]"] {
            assert_eq!(JsonPath::parse(path).unwrap().to_string(), path);
        }
        assert_eq!(JsonPath::parse("$[\"entry\"]").unwrap().to_string(), "$.entry");
        for (path, word) in [
            ("", "start with"),
            ("entry", "start with"),
            ("$.", "name is missing"),
            ("$.a..b", "name is missing"),
            ("$[x]", "number from 0"),
            ("$[-1]", "number from 0"),
            ("$[0", "not closed"),
            ("$[\"a\"", "not closed"),
            ("$a", "comes `.`"),
        ] {
            let error = JsonPath::parse(path).unwrap_err();
            assert!(error.contains(word), "{path}: {error}");
        }
    }
}
