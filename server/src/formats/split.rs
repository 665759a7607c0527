//! Files taken apart: the words of channel files joined to the pure functions of `mappings::split`.

use std::borrow::Cow;

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};
use engine::connector::SettingsProblem;
use engine::split::{Part, Splitter};
use mappings::split::{JsonPath, Kind, Limits, split};
use serde::Deserialize;
use serde_json::{Value, json};

/// All kinds of files.
pub struct Split;

/// What stands behind `split`: a word, or a table.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Word(String),
    Table(Table),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    lines: Option<Lines>,
    json: Option<String>,
    xml: Option<String>,
    max_parts: Option<usize>,
    max_part: Option<String>,
    max_total: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lines {
    header: bool,
    quoted: bool,
}

/// What the words mean, or what is wrong with them and where.
fn meant(settings: &Value) -> Result<(Kind, Limits), SettingsProblem> {
    let problem = |path: &str, what: String| SettingsProblem {
        path: path.to_owned(),
        what,
    };
    let words =
        Words::deserialize(settings).map_err(|_| problem("", "a word or a table belongs here".into()))?;
    let mut limits = Limits::default();
    let table = match words {
        Words::Word(word) => {
            let kind = match word.as_str() {
                "hl7v2" => Kind::Hl7v2,
                "zip" => Kind::Zip,
                _ => Kind::Lines {
                    header: false,
                    quoted: false,
                },
            };
            return Ok((kind, limits));
        }
        Words::Table(table) => table,
    };
    if let Some(parts) = table.max_parts {
        limits.parts = parts;
    }
    for (key, text, limit) in [
        ("max_part", &table.max_part, &mut limits.part_bytes),
        ("max_total", &table.max_total, &mut limits.total_bytes),
    ] {
        if let Some(text) = text {
            let size = engine::channel::size::parse(text).map_err(|what| problem(key, what))?;
            *limit = usize::try_from(size).unwrap_or(usize::MAX);
        }
    }
    let kind = if let Some(path) = table.json {
        Kind::Json {
            at: JsonPath::parse(&path).map_err(|what| problem("json", what))?,
        }
    } else if let Some(element) = table.xml {
        if element.is_empty() || element.contains([':', '<', '/', ' ']) {
            let what = "write the name of the element alone, without prefix or brackets: \"Pacient\"";
            return Err(problem("xml", what.to_owned()));
        }
        Kind::Xml { element }
    } else {
        let Lines { header, quoted } = table.lines.unwrap_or_default();
        Kind::Lines { header, quoted }
    };
    Ok((kind, limits))
}

impl Splitter for Split {
    fn schema(&self) -> Value {
        let limits = json!({
            "max_parts": { "description": "The most parts of a file.", "type": "integer", "minimum": 1, "default": 100_000 },
            "max_part": { "description": "The longest part, as a size.", "type": "string", "examples": ["16 MB"], "default": "16 MB" },
            "max_total": { "description": "All parts together, as a size.", "type": "string", "examples": ["256 MB"], "default": "256 MB" },
        });
        let mut properties = json!({
            "lines": {
                "description": "Each line that is not blank.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "header": { "description": "The first line stands before each of the others.", "type": "boolean", "default": false },
                    "quoted": { "description": "A line end between double quotes belongs to the value (CSV).", "type": "boolean", "default": false },
                }
            },
            "json": { "description": "The path of a JSON array: each of its elements.", "type": "string", "examples": ["$.entry"] },
            "xml": { "description": "The name of an XML element: each of them.", "type": "string", "minLength": 1 },
        });
        if let (Value::Object(properties), Value::Object(limits)) = (&mut properties, limits) {
            properties.extend(limits);
        }
        json!({
            "description": "\"hl7v2\", \"lines\", \"zip\", { lines = { header = true, quoted = true } }, { json = \"$.entry\" } or { xml = \"Pacient\" }",
            "anyOf": [
                { "enum": ["hl7v2", "lines", "zip"] },
                {
                    "title": "split",
                    "type": "object",
                    "additionalProperties": false,
                    "properties": properties,
                    "oneOf": [{ "required": ["lines"] }, { "required": ["json"] }, { "required": ["xml"] }],
                }
            ]
        })
    }

    fn check(&self, settings: &Value) -> Vec<SettingsProblem> {
        meant(settings).err().into_iter().collect()
    }

    fn split(&self, settings: &Value, whole: &Bytes) -> Result<Vec<Part>, MapError> {
        let (kind, limits) =
            meant(settings).map_err(|problem| MapError::new(Reason::Internal, None, problem.what))?;
        let parts = split(&kind, whole, &limits)?;
        Ok(parts
            .into_iter()
            .map(|part| Part {
                place: part.place,
                name: part.name,
                body: match part.bytes {
                    Cow::Borrowed(bytes) => whole.slice_ref(bytes),
                    Cow::Owned(bytes) => Bytes::from(bytes),
                },
            })
            .collect())
    }
}
