//! Field paths as channels write them: `MSH-9`, `PID-3[2].1.2`, `OBX[2]-5`, `ZPI`.
//!
//! What is not indexed means all: `OBX-3` is OBX-3 of every OBX with every repetition, `OBX[2]-3[1]` is one.
//! Numbers count from 1 (HL7 v2.5.1 §2.5.3); MSH-1 is the field separator.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use clinic::exchange::Place;

use super::index::Tree;
use super::views::{Component, Field, Repetition, Segment, SubComponent, Value};

/// The greatest number that a path may name at any level.
pub const MAX_NUMBER: u32 = 9_999;

/// Which values of a message are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The segment's name, three capitals or digits.
    pub segment: String,
    /// Which of the segments of this name.
    pub occurrence: Option<u32>,
    /// Which field; without one the path means whole segments.
    pub field: Option<u32>,
    /// Which repetition of the field.
    pub repetition: Option<u32>,
    /// Which component.
    pub component: Option<u32>,
    /// Which sub-component.
    pub subcomponent: Option<u32>,
}

/// A path that can't be read. The texts hold the path itself, which comes from a channel and not from a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is no HL7 path: {what}")]
pub struct PathError {
    /// What was written.
    pub path: String,
    /// What is wrong with it, and what is right.
    pub what: String,
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(written: &str) -> Result<Path, PathError> {
        let wrong = |what: &str| PathError {
            path: written.chars().take(60).collect(),
            what: what.to_owned(),
        };
        let (Some(name), Some(rest)) = (written.get(..3), written.get(3..)) else {
            return Err(wrong(
                "it starts with the three letters of a segment, as in PID-3.1",
            ));
        };
        let capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !name.as_bytes()[0].is_ascii_uppercase() || !name.bytes().all(capitals) {
            return Err(wrong(&match hinted(written) {
                Some(near) => format!("a segment is three capitals or digits; did you mean {near}?"),
                None => "a segment is three capitals or digits, as in PID-3.1".to_owned(),
            }));
        }
        let mut path = Path {
            segment: name.to_owned(),
            occurrence: None,
            field: None,
            repetition: None,
            component: None,
            subcomponent: None,
        };
        let (occurrence, rest) = index(rest).map_err(wrong)?;
        path.occurrence = occurrence;
        if rest.is_empty() {
            return Ok(path);
        }
        let Some(rest) = rest.strip_prefix('-') else {
            return Err(wrong(&match hinted(written) {
                Some(near) => format!("a hyphen stands before the field; did you mean {near}?"),
                None => "after the three letters of a segment comes a hyphen and the field, as in PID-3.1"
                    .to_owned(),
            }));
        };
        let (field, rest) = number(rest).map_err(wrong)?;
        path.field = Some(field);
        let (repetition, rest) = index(rest).map_err(wrong)?;
        path.repetition = repetition;
        if rest.is_empty() {
            return Ok(path);
        }
        let Some(rest) = rest.strip_prefix('.') else {
            return Err(wrong(
                "after the field comes [repetition], then .component, as in PID-3[2].1",
            ));
        };
        let (component, rest) = number(rest).map_err(wrong)?;
        path.component = Some(component);
        if rest.is_empty() {
            return Ok(path);
        }
        let Some(rest) = rest.strip_prefix('.') else {
            return Err(wrong("after the component comes .sub-component, as in PID-3.4.2"));
        };
        let (subcomponent, rest) = number(rest).map_err(wrong)?;
        path.subcomponent = Some(subcomponent);
        if rest.is_empty() {
            Ok(path)
        } else {
            Err(wrong("nothing may follow the sub-component"))
        }
    }
}

/// The nearest right writing of `pid.3.1` and `PID-3-1`, where that makes it right.
fn hinted(written: &str) -> Option<String> {
    let mut out = String::new();
    let mut separators = 0;
    for character in written.chars() {
        match character {
            '-' | '.' => {
                out.push(if separators == 0 { '-' } else { '.' });
                separators += 1;
            }
            other => out.push(other.to_ascii_uppercase()),
        }
    }
    let is_right = out != written && out.parse::<Path>().is_ok();
    is_right.then_some(out)
}

/// A number from 1 at the start of `text`, and what follows.
fn number(text: &str) -> Result<(u32, &str), &'static str> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    match digits.parse() {
        Ok(value) if (1..=MAX_NUMBER).contains(&value) => Ok((value, rest)),
        _ => Err("numbers go from 1 to 9999"),
    }
}

/// `[n]` at the start of `text`, if there is one, and what follows.
fn index(text: &str) -> Result<(Option<u32>, &str), &'static str> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok((None, text));
    };
    let (value, rest) = number(inner)?;
    rest.strip_prefix(']')
        .map(|rest| (Some(value), rest))
        .ok_or("the bracket is not closed, as in PID-3[2]")
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        if let Some(occurrence) = self.occurrence {
            write!(f, "[{occurrence}]")?;
        }
        if let Some(field) = self.field {
            write!(f, "-{field}")?;
        }
        if let Some(repetition) = self.repetition {
            write!(f, "[{repetition}]")?;
        }
        if let Some(component) = self.component {
            write!(f, ".{component}")?;
        }
        if let Some(subcomponent) = self.subcomponent {
            write!(f, ".{subcomponent}")?;
        }
        Ok(())
    }
}

/// One thing that a path leads to. Views of nothing are never among them.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A whole segment, for a path without a field.
    Segment(Segment<'a>),
    /// MSH-1 and MSH-2, which hold delimiters as their value.
    Field(Field<'a>),
    /// A repetition of a field.
    Repetition(Repetition<'a>),
    /// A component.
    Component(Component<'a>),
    /// A sub-component.
    SubComponent(SubComponent<'a>),
}

impl<'a> Found<'a> {
    /// Where it stands.
    pub fn place(&self) -> Place {
        match self {
            Found::Segment(view) => view.place(),
            Found::Field(view) => view.place(),
            Found::Repetition(view) => view.place(),
            Found::Component(view) => view.place(),
            Found::SubComponent(view) => view.place(),
        }
    }

    /// What stands there, as it stands there.
    pub fn raw(&self) -> &'a str {
        match self {
            Found::Segment(view) => view.raw(),
            Found::Field(view) => view.raw().unwrap_or(""),
            Found::Repetition(view) => view.raw().unwrap_or(""),
            Found::Component(view) => view.raw().unwrap_or(""),
            Found::SubComponent(view) => view.raw().unwrap_or(""),
        }
    }

    /// Nothing, `""`, or the text with escapes undone, in which `^` and `&` stand between components and
    /// sub-components whatever the message uses for them.
    pub fn value(&self) -> Value<Cow<'a, str>> {
        match self {
            Found::Segment(view) => Value::Present(Cow::Borrowed(view.raw())),
            Found::Field(view) => Value::from_text(view.raw().map(Cow::Borrowed)),
            Found::Repetition(view) => {
                let usual = view.dialect().delimiters.component == Some(b'^');
                if usual && view.dialect().delimiters.subcomponent == Some(b'&') {
                    return view.value();
                }
                view.value()
                    .map(|_| Cow::Owned(join(view.components().map(|part| component_text(&part)), "^")))
            }
            Found::Component(view) => view.value().map(|_| Cow::Owned(component_text(view))),
            Found::SubComponent(view) => view.value(),
        }
    }

    /// True if this is the wanted value. A value counts by the parts that it names: `ORU^R01` is found in
    /// `ORU^R01^ORU_R01`, `RAD` in `RAD^Radiology`, and a part that is left empty may be anything. Parts are
    /// written with `^` and `&`, whatever the message uses. `""` is found where the sender deletes.
    pub fn is(&self, wanted: &str) -> bool {
        let text = match self.value() {
            Value::Absent => return wanted.is_empty(),
            Value::Null => return wanted == "\"\"",
            Value::Present(text) => text,
        };
        if text == wanted {
            return true;
        }
        if wanted.is_empty() {
            return false;
        }
        match self {
            Found::Segment(_) | Found::Field(_) | Found::SubComponent(_) => false,
            Found::Repetition(view) => {
                let mut parts = wanted
                    .split('^')
                    .enumerate()
                    .filter(|(_, part)| !part.is_empty())
                    .peekable();
                parts.peek().is_some()
                    && parts.all(|(index, part)| component_is(&view.component(index + 1), part))
            }
            Found::Component(view) => component_is(view, wanted),
        }
    }
}

fn component_is(component: &Component<'_>, wanted: &str) -> bool {
    if component.is_null() {
        return wanted == "\"\"";
    }
    if component.text() == wanted {
        return true;
    }
    let mut parts = wanted
        .split('&')
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .peekable();
    parts.peek().is_some() && parts.all(|(index, part)| component.subcomponent(index + 1).text() == part)
}

fn component_text(component: &Component<'_>) -> String {
    join(
        component.subcomponents().map(|part| part.text().into_owned()),
        "&",
    )
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

impl<'a> Value<Cow<'a, str>> {
    fn from_text(text: Option<Cow<'a, str>>) -> Self {
        match text {
            Some(text) if !text.is_empty() => Value::Present(text),
            _ => Value::Absent,
        }
    }
}

/// Everything that a path leads to, in the order of the message; nothing where nothing stands. Empty
/// repetitions and components between others are among it, as [`Value::Absent`].
pub fn get_all<'a>(tree: &'a impl Tree, path: &Path) -> Vec<Found<'a>> {
    let mut out = Vec::new();
    for segment in tree.segments() {
        if segment.name() != path.segment {
            continue;
        }
        if path
            .occurrence
            .is_some_and(|occurrence| occurrence != segment.occurrence())
        {
            continue;
        }
        let Some(number) = path.field else {
            out.push(Found::Segment(segment));
            continue;
        };
        let field = segment.field(number as usize);
        if matches!(path.segment.as_str(), "MSH" | "FHS" | "BHS") && number <= 2 {
            if path.repetition.unwrap_or(1) == 1
                && path.component.unwrap_or(1) == 1
                && path.subcomponent.unwrap_or(1) == 1
                && field.raw().is_some()
            {
                out.push(Found::Field(field));
            }
            continue;
        }
        match path.repetition {
            Some(repetition) => in_repetition(field.repetition(repetition as usize), path, &mut out),
            None => field
                .repetitions()
                .for_each(|repetition| in_repetition(repetition, path, &mut out)),
        }
    }
    out
}

fn in_repetition<'a>(repetition: Repetition<'a>, path: &Path, out: &mut Vec<Found<'a>>) {
    let Some(component) = path.component else {
        if repetition.raw().is_some() {
            out.push(Found::Repetition(repetition));
        }
        return;
    };
    let component = repetition.component(component as usize);
    let Some(subcomponent) = path.subcomponent else {
        if component.raw().is_some() {
            out.push(Found::Component(component));
        }
        return;
    };
    let subcomponent = component.subcomponent(subcomponent as usize);
    if subcomponent.raw().is_some() {
        out.push(Found::SubComponent(subcomponent));
    }
}

/// True if any of what a path leads to is the wanted value: see [`Found::is`].
pub fn any_is(tree: &impl Tree, path: &Path, wanted: &str) -> bool {
    get_all(tree, path).iter().any(|found| found.is(wanted))
}

/// True if a value stands anywhere that the path leads to; `""` is none.
pub fn is_present(tree: &impl Tree, path: &Path) -> bool {
    get_all(tree, path)
        .iter()
        .any(|found| found.value().present().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::Message;

    fn path(written: &str) -> Path {
        written.parse().unwrap()
    }

    #[test]
    fn paths_print_as_they_were_written() {
        for written in [
            "ZPI",
            "OBX[2]",
            "PID-3",
            "PID-3[2].1.2",
            "OBX[2]-5",
            "MSH-9",
            "PV1-3.4",
            "OBX[12]-5[3].1",
        ] {
            assert_eq!(path(written).to_string(), written);
        }
    }

    #[test]
    fn wrong_paths_say_what_is_right() {
        for (written, hint) in [
            ("pid-3", "did you mean PID-3?"),
            ("PID.3.1", "did you mean PID-3.1?"),
            ("PID-3-1", "[repetition]"),
            ("PID-0", "from 1"),
            ("PID-3[2", "closed"),
            ("PID-3.1.2.3", "nothing may follow"),
            ("PI", "three letters"),
            ("", "three letters"),
            ("ăb", "three"),
            ("PID-99999999999999", "from 1"),
        ] {
            let error = written.parse::<Path>().unwrap_err().to_string();
            assert!(error.contains(hint), "{written}: {error}");
        }
        for written in [
            "PIDX",
            "RequestAttributesSequence[0].AccessionNumber",
            "pidx.3",
            "patient",
        ] {
            let error = written.parse::<Path>().unwrap_err().to_string();
            assert!(
                !error.contains("did you mean") && error.contains("as in PID-3.1"),
                "{written}: {error}"
            );
        }
    }

    #[test]
    fn a_value_counts_by_the_parts_that_it_names() {
        let message = Message::read(
            b"MSH#@*/+#LIS####20260505##ORU@R01@ORU_R01#1#P#2.5.1\rPID#1##A@@@NORD+1.2*B@@@CNP##X/F/Y@\"\"\r",
        )
        .unwrap();
        for (at, wanted, is) in [
            ("MSH-9", "ORU^R01", true),
            ("MSH-9", "ORU", true),
            ("MSH-9", "^R01", true),
            ("MSH-9", "ORU^R0", false),
            ("MSH-9", "ORU^R01^ORU_R01", true),
            ("MSH-9", "", false),
            ("MSH-9", "^", false),
            ("MSH-9.2", "R01", true),
            ("MSH-1", "#", true),
            ("MSH-2", "@*/+", true),
            ("PID-3", "B", true),
            ("PID-3[1]", "B", false),
            ("PID-3[2].4", "CNP", true),
            ("PID-3.4", "NORD", true),
            ("PID-3.4", "NORD&1.2", true),
            ("PID-3.4.2", "1.2", true),
            ("PID-5.1", "X#Y", true),
            ("PID-5.2", "\"\"", true),
            ("PID-5.2", "", false),
            ("PID-7", "", false),
            ("ZZZ-1", "x", false),
        ] {
            assert_eq!(any_is(&message, &path(at), wanted), is, "{at} {wanted}");
        }
        assert!(is_present(&message, &path("PID")));
        assert!(!is_present(&message, &path("PID-5.2")));
        assert!(!is_present(&message, &path("ZPI")));
        let texts: Vec<_> = get_all(&message, &path("PID-3"))
            .iter()
            .map(|found| found.value().present().unwrap())
            .collect();
        assert_eq!(texts, ["A^^^NORD&1.2", "B^^^CNP"]);
        let places: Vec<_> = get_all(&message, &path("PID-3.1"))
            .iter()
            .map(|found| found.place().0)
            .collect();
        assert_eq!(places, ["PID-3.1", "PID-3[2].1"]);
    }
}
