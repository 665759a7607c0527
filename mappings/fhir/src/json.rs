//! The JSON that FHIR wants: no empty objects, arrays or strings, decimals with exactly the digits they came with.
//!
//! Why a tree of our own and not the types of `fhir-sdk`: those hold decimals as `f64` (`5.40` becomes `5.4`). See
//! `docs/adr/0002-fhir-json.md`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A piece of JSON. `Null` occurs only inside arrays of primitives, where FHIR aligns `x` and `_x` by position
/// (FHIR R4 §2.6.2).
#[derive(Clone, PartialEq, Eq)]
pub enum Json {
    /// `{…}`, in this order.
    Object(Object),
    /// `[…]`
    Array(Vec<Json>),
    /// `"…"`
    String(String),
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number, written digit for digit. Always in the grammar of JSON numbers.
    Decimal(String),
    /// The place of a value that is only described by its extensions.
    Null,
}

/// The fields of an object. What is empty never gets in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Object(Vec<(Cow<'static, str>, Json)>);

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Json(•••)")
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Object(•••)")
    }
}

/// What can stand in an object. `None`: it is empty, and is left out.
pub trait Value {
    /// As JSON.
    fn json(self) -> Option<Json>;
}

impl Value for Json {
    fn json(self) -> Option<Json> {
        match self {
            Json::Object(object) => object.json(),
            // What stands in a tree is clean already; only what is empty is left out.
            Json::Array(mut entries) => {
                entries.retain(|entry| !entry.is_empty());
                (!entries.is_empty()).then_some(Json::Array(entries))
            }
            Json::String(text) => text.json(),
            Json::Null => None,
            other @ (Json::Bool(_) | Json::Integer(_) | Json::Decimal(_)) => Some(other),
        }
    }
}

impl Value for Object {
    fn json(self) -> Option<Json> {
        (!self.0.is_empty()).then_some(Json::Object(self))
    }
}

impl Value for String {
    fn json(self) -> Option<Json> {
        Some(Json::String(match clean(&self)? {
            Cow::Borrowed(_) => self,
            Cow::Owned(cleaned) => cleaned,
        }))
    }
}

impl Value for &str {
    fn json(self) -> Option<Json> {
        clean(self).map(|text| Json::String(text.into_owned()))
    }
}

impl Value for &String {
    fn json(self) -> Option<Json> {
        self.as_str().json()
    }
}

impl Value for Cow<'_, str> {
    fn json(self) -> Option<Json> {
        match self {
            Cow::Borrowed(text) => text.json(),
            Cow::Owned(text) => text.json(),
        }
    }
}

impl Value for bool {
    fn json(self) -> Option<Json> {
        Some(Json::Bool(self))
    }
}

impl Value for u32 {
    fn json(self) -> Option<Json> {
        Some(Json::Integer(i64::from(self)))
    }
}

impl Value for &clinic::value::Decimal {
    fn json(self) -> Option<Json> {
        Some(Json::Decimal(self.as_str().to_owned()))
    }
}

impl<T: Value> Value for Option<T> {
    fn json(self) -> Option<Json> {
        self.and_then(Value::json)
    }
}

impl<T: Value> Value for Vec<T> {
    fn json(self) -> Option<Json> {
        let entries: Vec<Json> = self.into_iter().filter_map(Value::json).collect();
        (!entries.is_empty()).then_some(Json::Array(entries))
    }
}

/// A text as FHIR takes it (R4 §2.24.0.1, `string`): no control characters but tab and line ends, no white space other
/// than the ASCII one, and something in it to be read.
fn clean(text: &str) -> Option<Cow<'_, str>> {
    let is_ascii = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_ascii && text.bytes().any(|byte| byte != b' ') {
        return Some(Cow::Borrowed(text));
    }
    if text.trim().is_empty() {
        return None;
    }
    let plain = |c: char| matches!(c, '\t' | '\r' | '\n') || !(c.is_control() || c.is_whitespace());
    if text.chars().all(|c| c == ' ' || plain(c)) {
        return Some(Cow::Borrowed(text));
    }
    Some(text.chars().map(|c| if plain(c) { c } else { ' ' }).collect())
}

impl Object {
    /// An empty one.
    pub fn new() -> Self {
        Object::default()
    }

    /// With a field more, unless the value is empty.
    #[must_use]
    pub fn put(mut self, name: impl Into<Cow<'static, str>>, value: impl Value) -> Self {
        self.set(name, value);
        self
    }

    /// Puts a field, unless the value is empty; a field of that name is replaced.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Value) {
        let Some(value) = value.json() else { return };
        let name = name.into();
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// With all fields of another object at the end.
    #[must_use]
    pub fn with(mut self, other: Object) -> Self {
        for (name, value) in other.0 {
            self.set(name, value);
        }
        self
    }

    /// With an array exactly as given: its `Null`s stay, since they keep places.
    #[must_use]
    pub fn put_aligned(mut self, name: &'static str, entries: Vec<Json>) -> Self {
        if entries.iter().any(|e| *e != Json::Null) {
            self.0.push((name.into(), Json::Array(entries)));
        }
        self
    }

    /// Without the field of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// The field of that name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// True where there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(n, v)| (&**n, v))
    }
}

impl Json {
    /// True for what is left out of lists.
    fn is_empty(&self) -> bool {
        match self {
            Json::Object(object) => object.is_empty(),
            Json::Array(entries) => entries.is_empty(),
            Json::String(text) => text.trim().is_empty(),
            Json::Null => true,
            Json::Bool(_) | Json::Integer(_) | Json::Decimal(_) => false,
        }
    }

    /// The field of that name, of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(object) => object.get(name),
            Json::Array(_)
            | Json::String(_)
            | Json::Bool(_)
            | Json::Integer(_)
            | Json::Decimal(_)
            | Json::Null => None,
        }
    }

    /// The text, of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            Json::Object(_)
            | Json::Array(_)
            | Json::Bool(_)
            | Json::Integer(_)
            | Json::Decimal(_)
            | Json::Null => None,
        }
    }

    /// The type of a resource.
    pub fn resource_type(&self) -> Option<&str> {
        self.get("resourceType").and_then(Json::as_str)
    }

    /// As text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::with_capacity(16 * 1024);
        self.write(&mut out);
        out.into_bytes()
    }

    /// Shows each object of the tree, innermost last, to be changed.
    pub fn each_object(&mut self, change: &mut dyn FnMut(&mut Object)) {
        match self {
            Json::Object(object) => {
                change(object);
                object
                    .0
                    .iter_mut()
                    .for_each(|(_, value)| value.each_object(change));
            }
            Json::Array(entries) => entries.iter_mut().for_each(|entry| entry.each_object(change)),
            Json::String(_) | Json::Bool(_) | Json::Integer(_) | Json::Decimal(_) | Json::Null => {}
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Object(object) => {
                out.push('{');
                for (idx, (name, value)) in object.0.iter().enumerate() {
                    if 0 < idx {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Json::Array(entries) => {
                out.push('[');
                for (idx, entry) in entries.iter().enumerate() {
                    if 0 < idx {
                        out.push(',');
                    }
                    entry.write(out);
                }
                out.push(']');
            }
            Json::String(text) => write_string(text, out),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Integer(value) => {
                let _ = write!(out, "{value}");
            }
            Json::Decimal(digits) => out.push_str(digits),
            Json::Null => out.push_str("null"),
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Json::Object(object)
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (idx, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        // All bytes that are escaped are ASCII, so these are places between characters.
        out.push_str(&text[plain..idx]);
        plain = idx + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => {
                let _ = write!(out, "\\u{other:04x}");
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out() {
        let json = Object::new()
            .put("a", "")
            .put("b", "  ")
            .put("c", Object::new())
            .put("d", Vec::<Json>::new())
            .put("e", vec![Object::new(), Object::new().put("f", "x")])
            .put("g", None::<bool>)
            .put("h", false);
        assert_eq!(Json::from(json).to_string(), r#"{"e":[{"f":"x"}],"h":false}"#);
    }

    #[test]
    fn texts_are_escaped_and_keep_their_letters() {
        let json = Json::from(Object::new().put("a", "\"ș\\\n\u{1}\u{a0}ț\u{2028}"));
        assert_eq!(json.to_string(), "{\"a\":\"\\\"ș\\\\\\n  ț \"}");
    }

    #[test]
    fn decimals_keep_their_digits() {
        for digits in [
            "5.40",
            "0.10",
            "123456789012345678",
            "0.123456789012345678",
            "-1e-7",
        ] {
            let decimal: clinic::value::Decimal = digits.parse().unwrap();
            assert_eq!(
                Json::from(Object::new().put("v", &decimal)).to_string(),
                format!("{{\"v\":{digits}}}")
            );
        }
    }
}
