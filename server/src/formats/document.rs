//! JSON, XML and CSV, as the engine sees them: found and changed by paths, decoded and encoded by a mapping file.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use engine::format::{Answered, FindTable, Format, MappingProblem, Replies, SetOp, Settings};
use jiff::tz::TimeZone;
use mappings::hl7v2::Charset;
use mappings::map::{self, Mapping, Wire};
use mappings::tree::{Change, Document as Tree, Path, Reading};
use mappings::{csv, json, xml};

use super::bytes::{by_status, is_nowhere};

/// One of the three.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Xml,
    Csv,
}

/// JSON, XML or CSV, read as one channel says.
pub struct Document {
    kind: Kind,
    reading: Reading,
}

impl Document {
    /// JSON (RFC 8259).
    pub fn json() -> Self {
        Self::of(Kind::Json)
    }

    /// XML 1.0.
    pub fn xml() -> Self {
        Self::of(Kind::Xml)
    }

    /// CSV (RFC 4180).
    pub fn csv() -> Self {
        Self::of(Kind::Csv)
    }

    fn of(kind: Kind) -> Self {
        Document {
            kind,
            reading: Reading::default(),
        }
    }

    fn read<'a>(&self, message: &'a [u8]) -> Result<Tree<'a>, MapError> {
        match self.kind {
            Kind::Json => json::read(message, &self.reading),
            Kind::Xml => xml::read(message, &self.reading),
            Kind::Csv => csv::read(message, &self.reading),
        }
    }

    fn path(&self, path: &str) -> Result<Path, String> {
        match self.kind {
            Kind::Json => json::path(path),
            Kind::Xml => xml::path(path),
            Kind::Csv => csv::path(path),
        }
    }

    fn no_tree(&self) -> MapError {
        let what = match self.kind {
            Kind::Json => "JSON is plain values already: message.json",
            Kind::Csv | Kind::Xml => "CSV is no tree; read it by paths, or as text",
        };
        MapError::new(Reason::UnsupportedType, None, what)
    }

    fn wire(&self) -> Wire {
        match self.kind {
            Kind::Json => Wire::Json,
            Kind::Xml => Wire::Xml,
            Kind::Csv => Wire::Csv,
        }
    }

    fn map<'s>(&self, settings: &'s Settings) -> Result<&'s Mapping, MapError> {
        let mapping = settings.mapping.as_ref();
        mapping
            .and_then(|mapping| mapping.read.downcast_ref())
            .ok_or_else(|| {
                let what = format!("{} can't be read or written without a mapping", self.name());
                MapError::new(Reason::Internal, None, what)
            })
    }
}

/// The zone of times that name none.
fn zone(settings: &Settings) -> TimeZone {
    let name = settings.zone.as_deref().unwrap_or("Europe/Bucharest");
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// How a channel reads documents that do not say it themselves.
fn reading(settings: &Settings) -> Reading {
    let mapping: Option<&Mapping> = settings
        .mapping
        .as_ref()
        .and_then(|mapping| mapping.read.downcast_ref());
    Reading {
        charset: settings.charset.as_deref().and_then(Charset::named),
        delimiter: mapping.and_then(Mapping::delimiter).or(settings.csv.delimiter),
        header: settings.csv.header && mapping.is_none_or(Mapping::header),
    }
}

impl Format for Document {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Json => "json",
            Kind::Xml => "xml",
            Kind::Csv => "csv",
        }
    }

    fn content_type(&self) -> &'static str {
        match self.kind {
            Kind::Json => "application/json",
            Kind::Xml => "application/xml",
            Kind::Csv => "text/csv",
        }
    }

    fn of_channel(&self, settings: &Settings) -> Option<Arc<dyn Format>> {
        Some(Arc::new(Document {
            kind: self.kind,
            reading: reading(settings),
        }))
    }

    /// A document says nothing of itself: the channel names its keys by paths.
    fn keys(&self, _: &[u8]) -> Keys {
        Keys::default()
    }

    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        self.read(message).map(|_| ())
    }

    fn mapping(
        &self,
        text: &str,
        writes: bool,
        table: &mut FindTable<'_>,
    ) -> Option<Result<Arc<dyn Any + Send + Sync>, Vec<MappingProblem>>> {
        let mut rows = |name: &str| table(name).map(|table| Arc::new(table.rows.clone()));
        Some(match map::read(text, self.wire(), writes, &mut rows) {
            Ok(mapping) => Ok(Arc::new(mapping)),
            Err(problems) => Err(problems
                .into_iter()
                .map(|problem| MappingProblem {
                    at: problem.at,
                    what: problem.what,
                })
                .collect()),
        })
    }

    fn needs_mapping(&self) -> bool {
        true
    }

    fn decode(&self, message: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        map::decode(message, self.map(settings)?, &reading(settings), &zone(settings))
    }

    fn encode(
        &self,
        changes: &ChangeSet,
        applied: &Applied,
        settings: &Settings,
        _: &Stamp,
    ) -> Result<Vec<u8>, MapError> {
        map::encode(changes, applied, self.map(settings)?, &zone(settings))
    }

    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }

    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }

    /// By its status; and an answer that is no document of the format (a page of HTML with status 200) is nobody's.
    fn judge(&self, _: &[u8], answer: &Response) -> Judgement {
        if let Some(judged) = by_status(answer) {
            return judged;
        }
        let says_nothing = answer.body.trim_ascii().is_empty();
        match self.kind {
            Kind::Csv => Judgement::Accepted,
            Kind::Json | Kind::Xml if says_nothing || self.read(&answer.body).is_ok() => Judgement::Accepted,
            Kind::Json | Kind::Xml => Judgement::Unsure {
                why: format!(
                    "the answer is no {}: it can't be believed",
                    self.name().to_uppercase()
                ),
            },
        }
    }

    /// Nothing is there where the address is not (HTTP 404, 410), and in an empty list, object or text.
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        if is_nowhere(question, answer) {
            return Answered::Nothing;
        }
        match Answered::by(self.judge(question, answer), &answer.body) {
            Answered::Found(body) if self.kind == Kind::Json && says_nothing(&body) => Answered::Nothing,
            answered => answered,
        }
    }

    /// A value within a text of the document; in CSV as it is.
    fn escaped(&self, value: &str) -> String {
        match self.kind {
            Kind::Csv => value.to_owned(),
            Kind::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Kind::Xml => value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&apos;"),
        }
    }

    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        let wrong = |what: String| MapError::new(Reason::DataType, Some(path), what);
        let steps = self.path(path).map_err(wrong)?;
        let document = self.read(message)?;
        if self.kind == Kind::Csv {
            csv::known(&document, &steps).map_err(wrong)?;
        }
        Ok(document.values(0, &steps))
    }

    fn tree(&self, message: &[u8]) -> Result<serde_json::Value, MapError> {
        match self.kind {
            Kind::Xml => xml::tree(message, &self.reading),
            Kind::Json | Kind::Csv => Err(self.no_tree()),
        }
    }

    fn with_tree(&self, message: &[u8], tree: &serde_json::Value) -> Result<Vec<u8>, MapError> {
        match self.kind {
            Kind::Xml => xml::with_tree(message, tree, &self.reading),
            Kind::Json | Kind::Csv => Err(self.no_tree()),
        }
    }

    fn check_path(&self, path: &str) -> Result<(), String> {
        self.path(path).map(|_| ())
    }

    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let changes: Vec<(String, Change)> = ops.iter().map(change).collect();
        let changed = match self.kind {
            Kind::Json => json::set(message, &changes, &self.reading),
            Kind::Xml => xml::set(message, &changes, &self.reading),
            Kind::Csv => csv::set(message, &changes, &self.reading),
        };
        changed.map(Cow::Owned)
    }
}

/// Whether JSON has no value in it: `[]`, `{ }`, `null`.
fn says_nothing(json: &[u8]) -> bool {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let mut bytes = json.iter().filter(|byte| !byte.is_ascii_whitespace());
    let first: Vec<u8> = bytes.by_ref().take(5).copied().collect();
    matches!(first.as_slice(), b"" | b"[]" | b"{}" | b"\"\"" | b"null")
}

fn change((path, op): &(String, SetOp)) -> (String, Change) {
    let change = match op {
        SetOp::Assign(text) | SetOp::Literal(text) => Change::Assign(text.clone()),
        SetOp::Clear => Change::Clear,
        SetOp::Copy(from) => Change::Copy(from.clone()),
        SetOp::Remove => Change::Remove,
    };
    (path.clone(), change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(format: &Document, question: &str, status: u16, body: &str) -> Answered {
        let response = Response {
            status: Some(status),
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        format.answered(question.as_bytes(), &response)
    }

    #[test]
    fn what_is_nothing_in_an_answer() {
        let json = Document::json();
        for (status, body) in [
            (404, "<html>"),
            (410, "{\"error\":1}"),
            (204, ""),
            (200, " \n"),
            (200, "[]"),
            (200, "[ \n ]"),
            (200, "{}"),
            (200, "null\n"),
            (200, "\"\""),
        ] {
            assert_eq!(
                ask(&json, "?number=7", status, body),
                Answered::Nothing,
                "{status} {body}"
            );
        }
        // What else there is was found, whatever it says.
        for body in [
            "[{\"number\":7}]",
            "{\"total\":0}",
            "[[]]",
            "0",
            "false",
            "[null]",
        ] {
            let found = Answered::Found(body.as_bytes().into());
            assert_eq!(ask(&json, "?number=7", 200, body), found);
        }
        for (question, status, body) in [
            ("?number=7", 200, "<html>welcome"),
            ("?number=7", 403, "{}"),
            ("?number=7", 500, "[]"),
            ("?number=7", 302, ""),
            ("{\"number\":7}", 404, ""),
        ] {
            let answered = ask(&json, question, status, body);
            assert!(
                matches!(answered, Answered::Not(_)),
                "{status} {body}: {answered:?}"
            );
        }
        assert_eq!(ask(&Document::xml(), "/a/7", 404, ""), Answered::Nothing);
    }
}
