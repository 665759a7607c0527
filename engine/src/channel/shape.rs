//! Runs the JSON Schema over a file and says what it found in words, each at its place in the file.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value as Json;

use super::problem::{nearest, not_known};
use super::tree::{Node, Path, Segment, Value};

/// What is wrong at a path.
pub(super) struct Finding {
    pub(super) path: Path,
    /// Told at the key instead of the value.
    pub(super) at_key: bool,
    pub(super) what: String,
    /// What is absent, where that is the finding.
    pub(super) goes_without_saying: Option<Absent>,
    /// The key that is asked for, which this one is a misspelling of.
    pub(super) stands_for: Option<String>,
}

/// What a table lacks.
pub(super) enum Absent {
    /// A key.
    Key(String),
    /// One key of several.
    OneOf,
}

impl Finding {
    /// Told at the value.
    pub(super) fn at_value(path: Path, what: String) -> Finding {
        Finding {
            path,
            at_key: false,
            what,
            goes_without_saying: None,
            stands_for: None,
        }
    }

    /// Told at the key.
    pub(super) fn at_key(path: Path, what: String) -> Finding {
        Finding {
            at_key: true,
            ..Finding::at_value(path, what)
        }
    }
}

/// A schema, ready to be run.
pub(super) struct Shape {
    schema: Json,
    validator: Validator,
}

impl Shape {
    /// An error says that a connector's schema is none.
    pub(super) fn new(schema: Json) -> Result<Shape, String> {
        match jsonschema::validator_for(&schema) {
            Ok(validator) => Ok(Shape { schema, validator }),
            Err(error) => Err(format!(
                "the schema of the connectors can't be used: {}",
                error.masked()
            )),
        }
    }

    /// All problems of a file.
    pub(super) fn check(&self, root: &Node) -> Vec<Finding> {
        let json = root.to_json();
        let mut findings = Vec::new();
        for error in self.validator.iter_errors(&json) {
            self.explain(&error, root, 0, &mut findings);
        }
        // A misspelt word is one problem, not two: that of the word which it should have been goes without saying.
        let unknown: Vec<(Path, String)> = findings
            .iter()
            .filter(|finding| finding.at_key)
            .map(|finding| (finding.path.clone(), finding.what.clone()))
            .collect();
        findings.retain(|finding| {
            let mut below = unknown.iter().filter(|(path, _)| path.is_child_of(&finding.path));
            match &finding.goes_without_saying {
                Some(Absent::Key(key)) => {
                    let meant = format!("did you mean \"{key}\"?");
                    !below.any(|(_, what)| what.ends_with(&meant))
                }
                Some(Absent::OneOf) => below.next().is_none(),
                None => true,
            }
        });
        findings
    }

    /// Whether a table of a connector is right for its schema.
    pub(super) fn fits(schema: Json, settings: &Json) -> bool {
        jsonschema::validator_for(&super::schema::embedded(schema))
            .is_ok_and(|validator| validator.is_valid(settings))
    }

    /// The schema object whose keyword has failed.
    fn schema_of(&self, error: &ValidationError<'_>) -> &Json {
        let pointer = error.schema_path().as_str();
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.schema.pointer(parent).unwrap_or(&Json::Null)
    }

    fn explain(&self, error: &ValidationError<'_>, root: &Node, depth: usize, out: &mut Vec<Finding>) {
        let instance_path = error.instance_path();
        let path = Path::from_pointer(instance_path.as_str(), root);
        let node = path.node(root);
        let schema = self.schema_of(error);
        if let Some(what) = node.and_then(|node| told_apart(&path, node)) {
            out.push(Finding::at_value(path, what));
            return;
        }
        let mut told = |what: String| out.push(Finding::at_value(path.clone(), what));
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                for key in unexpected {
                    let what = self.unknown_key(key, &path, root, schema);
                    let stands_for = asked_for(&what, schema).filter(|key| {
                        let of = path.node(root);
                        of.is_some_and(|table| table.get(key).is_none())
                    });
                    out.push(Finding {
                        stands_for: stands_for.map(str::to_owned),
                        ..Finding::at_key(path.key(key), what)
                    });
                }
            }
            ValidationErrorKind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                out.push(Finding {
                    goes_without_saying: Some(Absent::Key(key.to_owned())),
                    ..Finding::at_value(path.clone(), missing(key, schema))
                });
            }
            ValidationErrorKind::Type { .. } => told(wrong_type(node, schema)),
            ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => {
                told(not_an_option(node, &options(schema)));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                let names = required_names(schema);
                let allowed = options(schema);
                if !names.is_empty() {
                    let title = schema.get("title").and_then(Json::as_str).unwrap_or("table");
                    out.push(Finding {
                        goes_without_saying: Some(Absent::OneOf),
                        ..Finding::at_value(
                            path.clone(),
                            format!("a {title} needs one of: {}", names.join(", ")),
                        )
                    });
                } else if !allowed.is_empty() {
                    told(not_an_option(node, &allowed));
                } else if let Some(branch) = meant_branch(context, &path, root).filter(|_| depth < 8) {
                    match (branch.as_slice(), schema.get("description")) {
                        // One word of a list, or something else: all that may be written is told.
                        ([error], Some(Json::String(forms)))
                            if matches!(error.kind(), ValidationErrorKind::Enum { .. })
                                && error.instance_path() == instance_path =>
                        {
                            let words = options(self.schema_of(error));
                            match node
                                .and_then(Node::text)
                                .and_then(|text| nearest_option(text, &words))
                            {
                                Some(word) => told(format!("not known here; did you mean \"{word}\"?")),
                                None => told(format!("not known here; write {forms}")),
                            }
                        }
                        (errors, _) => {
                            for error in errors {
                                self.explain(error, root, depth + 1, out);
                            }
                        }
                    }
                } else {
                    told(wrong_type(node, schema));
                }
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                told(several_of(&required_names(schema), schema, node));
            }
            ValidationErrorKind::Minimum { limit } => told(format!("too small; {limit} is the least")),
            ValidationErrorKind::Maximum { limit } => told(format!("too great; {limit} is the most")),
            ValidationErrorKind::ExclusiveMinimum { limit } => told(format!("must be more than {limit}")),
            ValidationErrorKind::ExclusiveMaximum { limit } => told(format!("must be less than {limit}")),
            ValidationErrorKind::MinLength { limit } if *limit <= 1 => told("empty; write a text".to_owned()),
            ValidationErrorKind::MinLength { limit } => {
                told(format!("too short; {limit} letters are the least"))
            }
            ValidationErrorKind::MaxLength { limit } => {
                told(format!("too long; {limit} letters are the most"))
            }
            ValidationErrorKind::MinItems { limit } if *limit <= 1 => {
                told("the list is empty; write what belongs in it, or leave the key out".to_owned());
            }
            ValidationErrorKind::MinItems { limit } => told(format!("too few; {limit} are the least")),
            ValidationErrorKind::MaxItems { limit } => told(format!("too many; {limit} are the most")),
            ValidationErrorKind::MinProperties { .. } => {
                told("empty; write what belongs in it, or leave the key out".to_owned());
            }
            ValidationErrorKind::Pattern { pattern } => told(format!("does not have the form {pattern}")),
            ValidationErrorKind::UniqueItems => told("the same stands here twice".to_owned()),
            _ => told(format!("does not fit: {}", error.masked())),
        }
    }

    fn unknown_key(&self, key: &str, path: &Path, root: &Node, schema: &Json) -> String {
        let known = property_names(schema);
        let title = schema.get("title").and_then(Json::as_str).unwrap_or_default();
        match (title, key) {
            ("step", "ask") => {
                return "not known here; a destination is asked by lookup = { ask = \"…\", … }".to_owned();
            }
            ("channel", "format") => {
                return "not known here; the format of what comes in is source.format".to_owned();
            }
            ("channel", "steps") => return "not known here; each step is a [[step]]".to_owned(),
            ("channel", "destinations") => {
                return "not known here; each destination is a [[destination]]".to_owned();
            }
            _ => {}
        }
        // `PID-3.1 = "x"` without quotes is a table of a table in TOML.
        if matches!(title, "test" | "set")
            && key.starts_with(|c: char| c.is_ascii_digit())
            && let Some(Segment::Key(parent)) = path.0.last()
        {
            return format!("a path with a dot stands in quotes: \"{parent}.{key}\"");
        }
        if nearest(key, known.iter().copied()).is_none()
            && let Some(table) = belongs_to(key, schema, path.node(root))
        {
            return format!("not known here; it belongs to {}", path.key(table));
        }
        let other_end = match title {
            "source" => "/properties/destination/items",
            "destination" => "/properties/source",
            _ => "",
        };
        let other = self.schema.pointer(other_end).filter(|_| !other_end.is_empty());
        if other.is_some_and(|other| required_names(other).contains(&key)) {
            let names = required_names(schema).join(", ");
            return format!("\"{key}\" can't be a {title}; a {title} has one of: {names}");
        }
        not_known(key, &known)
    }
}

/// The key that must be there of which an unknown key is told to be a misspelling.
fn asked_for<'a>(what: &str, schema: &'a Json) -> Option<&'a str> {
    let meant = what.rsplit_once("did you mean \"")?.1.strip_suffix("\"?")?;
    let required = schema.get("required")?.as_array()?.iter();
    required.filter_map(Json::as_str).find(|key| *key == meant)
}

/// Sentences of our own for what people write because other engines have it.
fn told_apart(path: &Path, node: &Node) -> Option<String> {
    let key = match path.0.as_slice() {
        [.., Segment::Key(key)] => key.as_str(),
        _ => return None,
    };
    match (path.0.len(), key, &node.value) {
        (1, "ack", Value::Text(text)) if text == "received" => Some(
            "\"received\" is not offered: a message that is acknowledged before it is stored is lost by a crash; \
             write \"stored\""
                .to_owned(),
        ),
        (1, "step" | "destination", Value::Table(_)) => {
            Some(format!("a single table, where a list is expected; write [[{key}]]"))
        }
        (3, "response", Value::Table(_)) => Some(
            "a single table, where a list is expected; write [[destination.response]]".to_owned(),
        ),
        (3, "on_unsure", Value::Text(text)) if text == "ask" => {
            Some("\"ask\" does not say who is asked, and what; write { ask = \"erp\", question = \"?number={MSH-10}\" }".to_owned())
        }
        _ => None,
    }
}

fn property_names(schema: &Json) -> Vec<&str> {
    match schema.get("properties") {
        Some(Json::Object(properties)) => properties.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A table that stands beside the key and knows it.
fn belongs_to<'a>(key: &str, schema: &'a Json, node: Option<&Node>) -> Option<&'a str> {
    let Some(Json::Object(properties)) = schema.get("properties") else {
        return None;
    };
    properties
        .iter()
        .filter(|(name, _)| node.is_some_and(|node| node.get(name).is_some()))
        .find(|(_, table)| property_names(table).contains(&key))
        .map(|(name, _)| name.as_str())
}

/// `"listen" is missing: the address to listen on`.
fn missing(key: &str, schema: &Json) -> String {
    let description = schema
        .pointer(&format!("/properties/{key}/description"))
        .and_then(Json::as_str)
        .and_then(|text| text.lines().next())
        .map(|text| text.trim_end_matches('.'));
    match description {
        Some(description) => {
            let mut letters = description.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
            format!("\"{key}\" is missing: {first}{}", letters.as_str())
        }
        None => format!("\"{key}\" is missing"),
    }
}

fn wrong_type(node: Option<&Node>, schema: &Json) -> String {
    let Some(node) = node else {
        return "a value of another kind is expected".to_owned();
    };
    let kind = node.kind();
    if let (None, Some(Json::String(forms))) = (schema.get("type"), schema.get("description")) {
        return format!("{kind} does not fit here; write {forms}");
    }
    let expected = match schema.get("type") {
        Some(Json::String(one)) => type_in_words(one).to_owned(),
        Some(Json::Array(several)) => several
            .iter()
            .filter_map(Json::as_str)
            .map(type_in_words)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => return format!("{kind} does not fit here"),
    };
    // Only numbers and flags are repeated: a text in the wrong place may be a secret.
    let example = schema.pointer("/examples/0").filter(|_| node.text().is_none());
    if let Some(example) = example {
        return format!("{kind}, where {expected} is expected; write it as {example}");
    }
    let written = match (&node.value, expected.as_str()) {
        (Value::Integer(number), "a text") => Some(format!("\"{number}\"")),
        (Value::Float(number), "a text") => Some(format!("\"{number}\"")),
        (Value::Bool(flag), "a text") => Some(format!("\"{flag}\"")),
        (Value::Text(text), "a whole number") if text.len() < 12 && text.parse::<i64>().is_ok() => {
            Some(text.clone())
        }
        (Value::Text(text), "true or false") if text == "true" || text == "false" => Some(text.clone()),
        (Value::Text(_), "a list") => Some("it as [\"…\"]".to_owned()),
        _ => None,
    };
    match written {
        Some(written) => format!("{kind}, where {expected} is expected; write {written}"),
        None => format!("{kind}, where {expected} is expected"),
    }
}

fn type_in_words(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => "a value",
    }
}

/// The values that an `enum`, a `const` or a list of them allows.
fn options(schema: &Json) -> Vec<String> {
    let word = |value: &Json| match value {
        Json::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    };
    if let Some(Json::Array(options)) = schema.get("enum") {
        return options.iter().map(word).collect();
    }
    if let Some(option) = schema.get("const") {
        return vec![word(option)];
    }
    for key in ["oneOf", "anyOf"] {
        let Some(Json::Array(branches)) = schema.get(key) else {
            continue;
        };
        let is_options = |branch: &Json| branch.get("const").is_some() || branch.get("enum").is_some();
        if branches.iter().all(is_options) {
            return branches.iter().flat_map(options).collect();
        }
    }
    Vec::new()
}

fn not_an_option(node: Option<&Node>, options: &[String]) -> String {
    let known = options.join(", ");
    let Some(node) = node else {
        return format!("write one of {known}");
    };
    let kind = match &node.value {
        Value::Bool(false) => "false",
        _ => node.kind(),
    };
    match (node.text(), options) {
        (Some(text), _) => match nearest_option(text, options) {
            Some(word) => format!("not known here; did you mean \"{word}\"?"),
            None => format!("not known here; write one of {known}"),
        },
        (None, [one]) => format!("{kind} does not fit here; write {one}"),
        (None, _) => format!("{kind} does not fit here; write one of {known}"),
    }
}

fn nearest_option<'a>(text: &str, options: &'a [String]) -> Option<&'a str> {
    nearest(text, options.iter().map(|option| option.trim_matches('"')))
}

/// The keys of which a table must have exactly one.
fn required_names(schema: &Json) -> Vec<&str> {
    let Some(Json::Array(branches)) = schema.get("oneOf") else {
        return Vec::new();
    };
    branches
        .iter()
        .filter_map(|branch| match branch.get("required") {
            Some(Json::Array(names)) if branch.as_object().is_some_and(|object| object.len() == 1) => {
                names.first().and_then(Json::as_str)
            }
            _ => None,
        })
        .collect()
}

fn several_of(names: &[&str], schema: &Json, node: Option<&Node>) -> String {
    let title = schema.get("title").and_then(Json::as_str).unwrap_or("table");
    let present: Vec<&str> = node
        .map(|node| {
            node.entries()
                .iter()
                .map(|entry| entry.key.as_str())
                .filter(|key| names.contains(key))
                .collect()
        })
        .unwrap_or_default();
    let hint = match title {
        "step" | "response" => "; make a step of each",
        "destination" => "; make a destination of each",
        "source" => "; make a channel of each",
        _ => "",
    };
    format!(
        "\"{}\" can't stand together in a {title}{hint}",
        present.join("\" and \"")
    )
}

/// Of the forms that a value may have, the one whose kind it is: that with no complaint about the type of the value
/// itself.
fn meant_branch<'a>(
    context: &'a [Vec<ValidationError<'static>>],
    path: &Path,
    root: &Node,
) -> Option<&'a Vec<ValidationError<'static>>> {
    let is_of_another_kind = |error: &ValidationError<'_>| {
        let is_here = Path::from_pointer(error.instance_path().as_str(), root) == *path;
        is_here
            && match error.kind() {
                ValidationErrorKind::Type { .. } => true,
                // A word out of a list counts for texts only, `true` for flags only.
                ValidationErrorKind::Enum { .. } => path.node(root).is_none_or(|node| node.text().is_none()),
                ValidationErrorKind::Constant { .. } => {
                    !matches!(path.node(root).map(|node| &node.value), Some(Value::Bool(_)))
                }
                _ => false,
            }
    };
    let mut meant = context
        .iter()
        .filter(|errors| !errors.is_empty() && !errors.iter().any(is_of_another_kind));
    match (meant.next(), meant.next()) {
        (Some(branch), None) => Some(branch),
        (Some(_), Some(_)) | (None, _) => None,
    }
}
