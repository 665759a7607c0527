//! Structured reports as a person reads them (PS3.3 A.35, C.17.3): the content tree line by line, as HTML or as plain text
//! (PS3.18 table 8.7.4-1). For looking at: what a report means, its object says.

use std::fmt::Write as _;

use super::dataset::DataSet;
use super::names::by_keyword;

/// How deep the content is read.
const DEEPEST: usize = 32;
/// The most lines.
const MOST_LINES: usize = 20_000;
/// The most points of one shape.
const MOST_POINTS: usize = 64;

/// Whether objects of this class are reports (PS3.4 B.5).
pub fn is_report(class: &str) -> bool {
    class.starts_with("1.2.840.10008.5.1.4.1.1.88.")
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is.
    pub title: String,
    /// About whom, when, and who has signed it.
    pub head: Vec<(&'static str, String)>,
    /// What stands in it.
    pub lines: Vec<Line>,
}

/// One item of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How deep.
    pub depth: usize,
    /// What is said; empty: it does not say that.
    pub name: String,
    /// What about it; none: others stand below it.
    pub value: Option<String>,
}

impl Report {
    /// Of the data set of a report.
    pub fn of(set: &DataSet<'_>) -> Self {
        let root = At(set);
        let mut lines = vec![];
        root.content(0, &mut lines);
        if lines.len() == MOST_LINES {
            lines.push(Line {
                depth: 0,
                name: String::new(),
                value: Some(format!("… more than {MOST_LINES} lines")),
            });
        }
        let title = root.code("ConceptNameCodeSequence");
        Report {
            title: title.unwrap_or_else(|| "Structured report".to_owned()),
            head: root.head(),
            lines,
        }
    }

    /// As plain text in UTF-8.
    pub fn plain(&self) -> String {
        let mut out = format!("{}\n\n", self.title);
        for (name, value) in &self.head {
            let _ = writeln!(out, "{name}: {value}");
        }
        out.push('\n');
        for Line { depth, name, value } in &self.lines {
            let indent = "  ".repeat(*depth);
            let value = value
                .as_deref()
                .map(|value| value.replace('\n', &format!("\n{indent}  ")));
            let _ = match value {
                None => writeln!(out, "{indent}{name}"),
                Some(value) if name.is_empty() => writeln!(out, "{indent}{value}"),
                Some(value) => writeln!(out, "{indent}{name}: {value}"),
            };
        }
        out
    }

    /// As a page.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title><style>\
             body{{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
             th{{text-align:left;padding-right:1em;font-weight:normal;color:#555}}\
             p{{margin:.3em 0;white-space:pre-wrap}}b{{font-weight:600}}</style></head>\n<body><h1>{title}</h1>\n<table>\n"
        );
        for (name, value) in &self.head {
            let _ = writeln!(out, "<tr><th>{name}</th><td>{}</td></tr>", escaped(value));
        }
        out.push_str("</table>\n");
        for Line { depth, name, value } in &self.lines {
            let name = escaped(name);
            let margin = format!("style=\"margin-left:{}em\"", depth * 2);
            let _ = match value.as_deref().map(escaped) {
                None => writeln!(out, "<p {margin}><b>{name}</b></p>"),
                Some(value) if name.is_empty() => writeln!(out, "<p {margin}>{value}</p>"),
                Some(value) => writeln!(out, "<p {margin}>{name}: {value}</p>"),
            };
        }
        out.push_str("</body></html>\n");
        out
    }
}

/// A data set or an item, by keywords.
#[derive(Clone, Copy)]
struct At<'d>(&'d DataSet<'d>);

impl<'d> At<'d> {
    fn text(self, keyword: &str) -> Option<String> {
        self.0.text(by_keyword(keyword)?)
    }

    fn texts(self, keyword: &str) -> Vec<String> {
        by_keyword(keyword).map_or_else(Vec::new, |tag| self.0.texts(tag))
    }

    fn items(self, keyword: &str) -> impl Iterator<Item = At<'d>> {
        let items = by_keyword(keyword).map_or(&[][..], |tag| self.0.items(tag));
        items.iter().map(At)
    }

    /// What the first code of a sequence means.
    fn code(self, keyword: &str) -> Option<String> {
        let item = self.items(keyword).next()?;
        let words = ["CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue"];
        words.iter().find_map(|word| item.text(word))
    }

    fn head(self) -> Vec<(&'static str, String)> {
        let verified = |item: At<'_>| {
            let name = item.text("VerifyingObserverName").map(|name| shown_name(&name));
            let when = item.text("VerificationDateTime").map(|when| shown_moment(&when));
            let of = item.text("VerifyingOrganization");
            let all: Vec<String> = [name, of, when].into_iter().flatten().collect();
            (!all.is_empty()).then(|| all.join(", "))
        };
        let day = |keyword: &str| self.text(keyword).map(|day| shown_moment(&day));
        let flags = [self.text("CompletionFlag"), self.text("VerificationFlag")];
        let flags: Vec<String> = flags
            .into_iter()
            .flatten()
            .map(|flag| flag.to_lowercase())
            .collect();
        let date = self.text("ContentDate").map(|date| {
            let time = self.text("ContentTime").unwrap_or_default();
            shown_moment(&format!("{date}{time}"))
        });
        let mut head = vec![
            ("Patient", self.text("PatientName").map(|name| shown_name(&name))),
            ("Number", self.text("PatientID")),
            ("Born", day("PatientBirthDate")),
            ("Study", self.text("StudyDescription")),
            ("Accession number", self.text("AccessionNumber")),
            ("Date", date),
            ("State", (!flags.is_empty()).then(|| flags.join(", "))),
        ];
        let observers = self.items("VerifyingObserverSequence").take(16);
        head.extend(observers.map(|item| ("Verified by", verified(item))));
        head.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    fn content(self, depth: usize, lines: &mut Vec<Line>) {
        for item in self.items("ContentSequence") {
            if MOST_LINES <= lines.len() || DEEPEST <= depth {
                return;
            }
            lines.push(Line {
                depth,
                name: item.code("ConceptNameCodeSequence").unwrap_or_default(),
                value: item.value(),
            });
            item.content(depth + 1, lines);
        }
    }

    /// What an item says (PS3.3 table C.17.3-7); none: it holds others together.
    fn value(self) -> Option<String> {
        let referred = self.texts("ReferencedContentItemIdentifier");
        if !referred.is_empty() {
            return Some(format!("see {}", referred.join(".")));
        }
        let said = match self.text("ValueType")?.as_str() {
            "CONTAINER" => return None,
            "TEXT" => self
                .text("TextValue")
                .map(|text| text.replace("\r\n", "\n").replace('\r', "\n")),
            "CODE" => self.code("ConceptCodeSequence"),
            "NUM" => self.measured(),
            "DATE" => self.text("Date").map(|text| shown_moment(&text)),
            "TIME" => self.text("Time").map(|text| shown_time(&text)),
            "DATETIME" => self.text("DateTime").map(|text| shown_moment(&text)),
            "UIDREF" => self.text("UID"),
            "PNAME" => self.text("PersonName").map(|name| shown_name(&name)),
            "SCOORD" | "SCOORD3D" => self.shape(),
            "TCOORD" => self.text("TemporalRangeType").map(|kind| kind.to_lowercase()),
            "IMAGE" | "COMPOSITE" | "WAVEFORM" => self.object(),
            other => Some(format!("({other})")),
        };
        Some(said.unwrap_or_else(|| "–".to_owned()))
    }

    fn measured(self) -> Option<String> {
        let Some(measured) = self.items("MeasuredValueSequence").next() else {
            // Why there is no number.
            return self.code("NumericValueQualifierCodeSequence");
        };
        let number = measured.text("NumericValue")?;
        let units = measured.items("MeasurementUnitsCodeSequence").next();
        // The code of UCUM is what is written; 1 is none, and braces are words.
        let unit = units.and_then(|units| units.text("CodeValue"));
        let unit = unit
            .filter(|unit| unit != "1")
            .map(|unit| unit.replace(['{', '}'], ""));
        Some(match unit {
            Some(unit) => format!("{number} {unit}"),
            None => number,
        })
    }

    fn shape(self) -> Option<String> {
        let kind = self.text("GraphicType")?.to_lowercase();
        let points = self.texts("GraphicData");
        let shown: Vec<&str> = points.iter().take(MOST_POINTS).map(String::as_str).collect();
        let more = if shown.len() < points.len() { " …" } else { "" };
        Some(format!("{kind} {}{more}", shown.join(" ")))
    }

    fn object(self) -> Option<String> {
        let object = self.items("ReferencedSOPSequence").next()?;
        let uid = object.text("ReferencedSOPInstanceUID")?;
        let frames = object.texts("ReferencedFrameNumber");
        Some(match frames.is_empty() {
            true => uid,
            false => format!("{uid}, frame {}", frames.join(", ")),
        })
    }
}

/// `Popescu^Ion^^Dr.` → `Dr. Ion Popescu`; the first way of writing.
fn shown_name(name: &str) -> String {
    let way = name
        .split('=')
        .find(|way| !way.trim().is_empty())
        .unwrap_or_default();
    let parts: Vec<&str> = way.split('^').map(str::trim).collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let words = [part(3), part(1), part(2), part(0), part(4)];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// `20261127083000` → `2026-11-27 08:30:00`; what is none stays as it is.
fn shown_moment(text: &str) -> String {
    let digits = text.len()
        - text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .len();
    if digits < 8 {
        return text.to_owned();
    }
    let day = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8]);
    match text[8..].is_empty() {
        true => day,
        false => format!("{day} {}", shown_time(&text[8..])),
    }
}

/// `083000.5` → `08:30:00.5`.
fn shown_time(text: &str) -> String {
    let digits = text.len()
        - text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .len();
    let (clock, rest) = text.split_at(digits.min(6));
    let pairs: Vec<&str> = (0..clock.len())
        .step_by(2)
        .map(|at| &clock[at..(at + 2).min(clock.len())])
        .collect();
    format!("{}{rest}", pairs.join(":"))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::charset::{Fallback, Set};
    use super::super::part10::File;
    use super::super::scan::Coding;
    use super::super::write::{Out, Said};
    use super::*;

    fn code(meaning: &str) -> Said {
        let mut code = Out::default();
        code.text("CodeValue", "X");
        code.text("CodingSchemeDesignator", "99L");
        code.text("CodeMeaning", meaning);
        Said::Items(vec![code])
    }

    fn item(kind: &str, name: &str, more: &[(&str, &str)]) -> Out {
        let mut item = Out::default();
        item.text("RelationshipType", "CONTAINS");
        item.text("ValueType", kind);
        item.put("ConceptNameCodeSequence", code(name));
        more.iter().for_each(|(keyword, value)| item.text(keyword, value));
        item
    }

    fn said(content: Vec<Out>) -> Report {
        let mut out = Out::default();
        out.text("PatientName", "Țîră^Ana^^Dr.");
        out.text("PatientID", "N-1");
        out.text("ContentDate", "20261127");
        out.text("ContentTime", "083000.5");
        out.text("CompletionFlag", "COMPLETE");
        out.put("ConceptNameCodeSequence", code("Raport <CT>"));
        out.put("ContentSequence", Said::Items(content));
        let bytes = out.written(Coding::EXPLICIT, Set::Utf8);
        let mut text = b"\x08\0\x05\0CS\x0A\0ISO_IR 192".to_vec();
        text.extend(bytes);
        Report::of(&DataSet::read(&text, Coding::EXPLICIT, Fallback::default()).expect("right"))
    }

    #[test]
    fn a_report_is_read_line_by_line() {
        let mut number = item("NUM", "Diametru", &[]);
        let mut measured = Out::default();
        measured.text("NumericValue", "12.5");
        let mut unit = Out::default();
        unit.text("CodeValue", "mm");
        measured.put("MeasurementUnitsCodeSequence", Said::Items(vec![unit]));
        number.put("MeasuredValueSequence", Said::Items(vec![measured]));
        let mut finding = item("CODE", "Constatare", &[]);
        finding.put("ConceptCodeSequence", code("Nodul"));
        let mut part = item("CONTAINER", "Plămâni", &[]);
        let text = item("TEXT", "Descriere", &[("TextValue", "a<b & c\r\nal doilea rând")]);
        let person = item("PNAME", "Medic", &[("PersonName", "Ene^Mara")]);
        let date = item("DATETIME", "Când", &[("DateTime", "20261127083000.5+0200")]);
        part.put(
            "ContentSequence",
            Said::Items(vec![text, finding, number, person, date]),
        );
        let report = said(vec![part, item("NUM", "Fără", &[]), item("NEW", "Nou", &[])]);
        assert_eq!(
            report.plain(),
            "Raport <CT>\n\nPatient: Dr. Ana Țîră\nNumber: N-1\nDate: 2026-11-27 08:30:00.5\nState: complete\n\n\
             Plămâni\n  Descriere: a<b & c\n    al doilea rând\n  Constatare: Nodul\n  Diametru: 12.5 mm\n  Medic: Mara Ene\n  \
             Când: 2026-11-27 08:30:00.5+0200\nFără: –\nNou: (NEW)\n"
        );
        let html = report.html();
        for part in [
            "<h1>Raport &lt;CT&gt;</h1>",
            "<th>Patient</th><td>Dr. Ana Țîră</td>",
            "<p style=\"margin-left:0em\"><b>Plămâni</b></p>",
            "<p style=\"margin-left:2em\">Descriere: a&lt;b &amp; c\nal doilea rând</p>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn deep_and_long_reports_end() {
        let mut deep = item("TEXT", "x", &[("TextValue", "y")]);
        for _ in 0..40 {
            let mut around = item("CONTAINER", "c", &[]);
            around.put("ContentSequence", Said::Items(vec![deep]));
            deep = around;
        }
        assert_eq!(said(vec![deep]).lines.len(), DEEPEST);
        let many: Vec<Out> = (0..MOST_LINES + 5)
            .map(|_| item("TEXT", "x", &[("TextValue", "y")]))
            .collect();
        assert_eq!(said(many).lines.len(), MOST_LINES + 1);
    }

    #[test]
    fn the_sample_has_its_measurements() {
        let path = format!(
            "{}/../samples/dicom/sr-measurements.dcm",
            env!("CARGO_MANIFEST_DIR")
        );
        let bytes = std::fs::read(path).expect("the sample");
        let file = File::read(&bytes).expect("a file");
        assert!(is_report(&file.meta.class));
        let set = file.data_set(Fallback::default()).expect("a data set");
        let plain = Report::of(&set).plain();
        assert!(plain.lines().any(|line| line.ends_with(" mm")), "{plain}");
    }

    #[test]
    fn moments_and_names_are_shown_as_they_are_read() {
        for (said, shown) in [
            ("20261127", "2026-11-27"),
            ("202611270830", "2026-11-27 08:30"),
            ("2026", "2026"),
            ("ieri", "ieri"),
            ("", ""),
        ] {
            assert_eq!(shown_moment(said), shown);
        }
        for (said, shown) in [("083000", "08:30:00"), ("8", "8"), ("08.5", "08.5")] {
            assert_eq!(shown_time(said), shown);
        }
        assert_eq!(shown_name("Yamada^Tarou=山田^太郎"), "Tarou Yamada");
        assert_eq!(shown_name("=山田^太郎"), "太郎 山田");
    }
}
