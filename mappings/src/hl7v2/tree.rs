//! A message as plain values, for scripts that build or go through one:
//!
//! ```json
//! [["MSH", "|", "^~\\&", [["LIS"]], …],
//!  ["PID", "", "", [["4711", "", "", ["LAB", "1.2.3", "ISO"]], ["99"]], …]]
//! ```
//!
//! A segment is a list whose item n is field n; its item 0 is the name. A field that is empty is `""`, any other the list
//! of its repetitions, each the list of its components, each a text or the list of its sub-components. Texts have no
//! escapes. What is written may be shorter: a text stands for a field, or a repetition, with nothing else in it.

use clinic::exchange::{MapError, Place, Reason};
use serde_json::Value;

use super::index::{Message, Tree};
use super::normalise::Reading;
use super::set::{Wire, segment_spans};
use super::views::{Component, Field, Segment};

/// A message as such a tree.
pub fn tree(bytes: &[u8]) -> Result<Value, MapError> {
    let message = Message::read(bytes)?;
    Ok(message.segments().map(|segment| of_segment(&segment)).collect())
}

/// The message that a tree says, in the delimiters and the charset of `bytes`. A segment that stands in both, in the
/// same order, stays byte for byte as it came.
pub fn with_tree(bytes: &[u8], tree: &Value) -> Result<Vec<u8>, MapError> {
    let message = Message::read(bytes)?;
    let known: Vec<Value> = message.segments().map(|segment| of_segment(&segment)).collect();
    let mut wire = Wire::open(bytes, &Reading::default())?;
    let mut spans = segment_spans(&wire.bytes, wire.dialect.delimiters.field);
    if spans.len() != known.len() {
        // Read otherwise than it stands there: then all of it is written anew.
        spans.clear();
    }
    let segments = tree.as_array().filter(|segments| !segments.is_empty());
    let segments = segments.ok_or_else(|| wrong("tree", "a message is a list of segments"))?;
    if header(segments.first()) != header(known.first()) {
        let what = "the delimiters of a message can't be changed, nor can MSH be removed.";
        return Err(wrong("MSH", what));
    }
    let mut out = Vec::with_capacity(wire.bytes.len());
    let mut next = 0;
    for (idx, segment) in segments.iter().enumerate() {
        let same = spans
            .iter()
            .zip(&known)
            .skip(next)
            .position(|(_, known)| known == segment);
        if let Some(ahead) = same {
            out.extend_from_slice(&wire.bytes[spans[next + ahead].clone()]);
            next += ahead + 1;
        } else {
            let text = Writer { wire: &wire, idx }.segment(segment)?;
            out.extend(wire.coded_at(&text, &format!("tree[{idx}]"))?);
        }
        out.push(b'\r');
    }
    wire.bytes = out;
    wire.close()
}

/// The name of the first segment and its delimiters.
fn header(segment: Option<&Value>) -> Option<Vec<&Value>> {
    Some(segment?.as_array()?.iter().take(3).collect())
}

fn of_segment(segment: &Segment<'_>) -> Value {
    let is_header = matches!(segment.name(), "MSH" | "FHS" | "BHS");
    let mut items = vec![Value::from(segment.name())];
    items.extend(segment.fields().map(|field| {
        if is_header && field.number() <= 2 {
            Value::from(field.raw().unwrap_or_default())
        } else {
            of_field(&field)
        }
    }));
    Value::Array(items)
}

fn of_field(field: &Field<'_>) -> Value {
    if field.raw().unwrap_or_default().is_empty() {
        return Value::from("");
    }
    field
        .repetitions()
        .map(|repetition| {
            repetition
                .components()
                .map(|part| of_component(&part))
                .collect::<Value>()
        })
        .collect()
}

fn of_component(component: &Component<'_>) -> Value {
    let mut parts: Vec<Value> = component
        .subcomponents()
        .map(|part| text_of(part.is_null(), part.text()))
        .collect();
    match parts.len() {
        0 => Value::from(""),
        1 => parts.remove(0),
        _ => Value::Array(parts),
    }
}

/// `""` is something that the sender says, and no empty text.
fn text_of(is_null: bool, text: std::borrow::Cow<'_, str>) -> Value {
    if is_null {
        Value::from("\"\"")
    } else {
        Value::from(text.into_owned())
    }
}

fn wrong(place: &str, what: &str) -> MapError {
    MapError {
        reason: Reason::DataType,
        place: Some(Place(place.to_owned())),
        what: what.to_owned(),
    }
}

/// Writes one segment.
struct Writer<'a> {
    wire: &'a Wire,
    idx: usize,
}

impl Writer<'_> {
    fn wrong(&self, field: usize, what: &str) -> MapError {
        wrong(&format!("tree[{}][{field}]", self.idx), what)
    }

    fn segment(&self, segment: &Value) -> Result<String, MapError> {
        let items = segment.as_array().map(Vec::as_slice).unwrap_or_default();
        let name = items.first().and_then(Value::as_str).unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if name.len() != 3 || !name.bytes().all(is_name) || name.as_bytes()[0].is_ascii_digit() {
            return Err(self.wrong(
                0,
                "a segment is a list that begins with its name, three capitals or digits",
            ));
        }
        let separator = char::from(self.wire.dialect.delimiters.field);
        let mut out = name.to_owned();
        let is_header = matches!(name, "MSH" | "FHS" | "BHS");
        for (number, item) in items.iter().enumerate().skip(1) {
            if is_header && number == 1 {
                continue;
            }
            out.push(separator);
            if is_header && number == 2 {
                out.push_str(item.as_str().unwrap_or_default());
            } else {
                out.push_str(&self.field(item, number)?);
            }
        }
        Ok(out)
    }

    fn field(&self, value: &Value, number: usize) -> Result<String, MapError> {
        let delimiters = self.wire.dialect.delimiters;
        self.joined(value, delimiters.repetition, number, &|repetition| {
            self.joined(repetition, delimiters.component, number, &|component| {
                self.joined(component, delimiters.subcomponent, number, &|part| {
                    Err(self.wrong(number, &format!("{} is no text", kind(part))))
                })
            })
        })
    }

    /// A text, or a list of what stands below.
    fn joined(
        &self,
        value: &Value,
        delimiter: Option<u8>,
        number: usize,
        below: &dyn Fn(&Value) -> Result<String, MapError>,
    ) -> Result<String, MapError> {
        match value {
            Value::String(text) if text == "\"\"" => Ok(text.clone()),
            Value::String(text) => super::escape(text, &self.wire.dialect)
                .map(std::borrow::Cow::into_owned)
                .map_err(|error| self.wrong(number, &error.to_string())),
            Value::Number(count) => Ok(count.to_string()),
            Value::Array(items) => {
                let parts: Vec<String> = items
                    .iter()
                    .map(|item| match item {
                        Value::Array(_) => below(item),
                        Value::String(_) | Value::Number(_) => self.joined(item, None, number, below),
                        Value::Null | Value::Bool(_) | Value::Object(_) => {
                            Err(self.wrong(number, &format!("{} is no text", kind(item))))
                        }
                    })
                    .collect::<Result<_, _>>()?;
                match delimiter {
                    Some(delimiter) => Ok(parts.join(&char::from(delimiter).to_string())),
                    None if parts.len() <= 1 => Ok(parts.concat()),
                    None => Err(self.wrong(
                        number,
                        "this message declares no delimiter for that level in MSH-2",
                    )),
                }
            }
            Value::Null | Value::Bool(_) | Value::Object(_) => {
                Err(self.wrong(number, &format!("{} is no text", kind(value))))
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ORU: &[u8] = b"MSH|^~\\&|LIS|LAB|PUNTE||20260505||ORU^R01|1|P|2.5.1\r\nPID|1||4711^^^LAB&1.2&ISO~99||Pop \\T\\ fiii||\"\"\nOBX|1|NM|K||5.4|\\H\\x\\N\\\rOBX|2|NM|NA||140\r";

    #[test]
    fn a_tree_shows_every_level() {
        let tree = tree(ORU).unwrap();
        assert_eq!(tree[0][1], "|");
        assert_eq!(tree[0][2], "^~\\&");
        assert_eq!(tree[0][9], json!([["ORU", "R01"]]));
        assert_eq!(
            tree[1][3],
            json!([["4711", "", "", ["LAB", "1.2", "ISO"]], ["99"]])
        );
        assert_eq!(tree[1][4], "");
        assert_eq!(tree[1][5], json!([["Pop & fiii"]]));
        assert_eq!(tree[1][7], json!([["\"\""]]));
    }

    #[test]
    fn what_is_not_changed_stays_as_it_came() {
        let mut tree = tree(ORU).unwrap();
        let segments = tree.as_array_mut().unwrap();
        segments[3][5] = json!("141 | 142");
        segments.insert(
            3,
            json!(["NTE", 1, "", "ok", ["a", ["b", "c"]], [["d", ["e", "f"]]]]),
        );
        segments.remove(1);
        let written = with_tree(ORU, &tree).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(
            text,
            "MSH|^~\\&|LIS|LAB|PUNTE||20260505||ORU^R01|1|P|2.5.1\rOBX|1|NM|K||5.4|\\H\\x\\N\\\rNTE|1||ok|a~b^c|d^e&f\rOBX|2|NM|NA||141 \\F\\ 142\r"
        );
    }

    #[test]
    fn a_charset_stays() {
        let latin = b"MSH|^~\\&|A|B|C|D|2026||ADT^A04|1|P|2.5|||||RO|8859/2\rPID|1||1||\xAAerban\r";
        let mut tree = tree(latin).unwrap();
        assert_eq!(tree[1][5], json!([["Şerban"]]));
        tree[1].as_array_mut().unwrap().push(json!("Şt"));
        let written = with_tree(latin, &tree).unwrap();
        assert!(written.ends_with(b"PID|1||1||\xAAerban|\xAAt\r"));
        tree[1][6] = json!("日");
        assert!(with_tree(latin, &tree).is_err());
    }

    #[test]
    fn rubbish_is_told_its_place() {
        for (tree, place) in [
            (json!("x"), "tree"),
            (json!([]), "tree"),
            (json!([["PID"]]), "MSH"),
            (json!([["MSH", "#", "^~\\&"]]), "MSH"),
            (json!([["MSH", "|", "^~\\&"], ["pid"]]), "tree[1][0]"),
            (json!([["MSH", "|", "^~\\&"], {}]), "tree[1][0]"),
            (json!([["MSH", "|", "^~\\&"], ["PID", null]]), "tree[1][1]"),
            (
                json!([["MSH", "|", "^~\\&"], ["PID", "", [[[["x"]]]]]]),
                "tree[1][2]",
            ),
        ] {
            let error = with_tree(ORU, &tree).unwrap_err();
            assert_eq!(error.place.map(|place| place.0).as_deref(), Some(place), "{tree}");
        }
    }

    proptest! {
        /// Written and read again, a tree is the same.
        #[test]
        fn a_tree_comes_back(fields in prop::collection::vec(prop::collection::vec(prop::collection::vec("[a-z|^~&ș .]{1,6}", 1..4), 1..3), 1..5)) {
            let mut segment = vec![json!("ZPI")];
            segment.extend(fields.iter().map(|field| json!(field)));
            let mut changed = tree(ORU).unwrap();
            changed.as_array_mut().unwrap().push(Value::Array(segment));
            let written = with_tree(ORU, &changed).unwrap();
            prop_assert_eq!(tree(&written).unwrap(), changed);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(found) = tree(&bytes) {
                let _ = with_tree(&bytes, &found);
            }
        }
    }
}
