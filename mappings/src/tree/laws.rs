//! Laws that hold for JSON, XML and CSV alike.

use clinic::exchange::MapError;
use proptest::prelude::*;

use super::{Change, Document, Path, Reading};
use crate::{csv, json, xml};

/// Writes these changes into a document.
type Set = fn(&[u8], &[(String, Change)], &Reading) -> Result<Vec<u8>, MapError>;

/// A format by its functions.
struct Format {
    read: for<'a> fn(&'a [u8], &Reading) -> Result<Document<'a>, MapError>,
    path: fn(&str) -> Result<Path, String>,
    set: Set,
}

const FORMATS: [Format; 3] = [
    Format {
        read: json::read,
        path: json::path,
        set: json::set,
    },
    Format {
        read: xml::read,
        path: xml::path,
        set: xml::set,
    },
    Format {
        read: csv::read,
        path: csv::path,
        set: csv::set,
    },
];

impl Format {
    fn values(&self, bytes: &[u8], path: &str) -> Vec<String> {
        let document = (self.read)(bytes, &Reading::default()).expect("a document");
        document.values(0, &(self.path)(path).expect("a path"))
    }
}

/// A text that all three can hold: XML has no control characters, and undoes line ends to line feeds.
fn text() -> impl Strategy<Value = String> {
    "[ -~\u{a0}-\u{d7ff}\u{e000}-\u{fffd}\n]{1,40}"
}

fn json_document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
        text().prop_map(|text| json::literal(&text)),
    ];
    let blank = "[ \n\t]{0,3}";
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), blank)
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!("{blank},")))),
            (prop::collection::btree_map("[a-d]", inner, 0..4), blank).prop_map(|(members, blank)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| format!("{blank}\"{name}\" :{blank}{value}"))
                    .collect();
                format!("{{{}{blank}}}", members.join(","))
            }),
        ]
    })
}

fn xml_document() -> impl Strategy<Value = String> {
    let leaf = text().prop_map(|text| xml::escaped(&text, None));
    leaf.prop_recursive(3, 30, 4, |inner| {
        (prop::collection::vec(("[a-d]", inner), 1..4), "[ \n]{0,3}").prop_map(|(children, blank)| {
            children
                .iter()
                .map(|(name, inside)| format!("{blank}<x:{name} id='1&amp;2' >{inside}</x:{name}>"))
                .collect::<String>()
        })
    })
    .prop_map(|inside| format!("<?xml version='1.0'?>\n<whole xmlns:x=\"u\">{inside}<!-- end --></whole>\n"))
}

fn csv_document() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(prop::collection::vec(text(), 3), 1..5),
        any::<bool>(),
        prop_oneof![Just("\n"), Just("\r\n")],
    )
        .prop_map(|(rows, quoted, end)| {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| {
                    row.iter()
                        .map(|text| csv::field(text, ';', quoted))
                        .collect::<Vec<_>>()
                        .join(";")
                })
                .collect();
            format!("a;b;c{end}{}{end}", rows.join(end))
        })
}

/// What was before and behind a change is the same text.
fn stays(before: &str, after: &[u8], most: usize) -> bool {
    let before = before.as_bytes();
    let same_start = before
        .iter()
        .zip(after)
        .take_while(|(one, other)| one == other)
        .count();
    let same_end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(one, other)| one == other)
        .count();
    before.len().saturating_sub(same_start + same_end) <= most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), path in "[a-c./@\\[\\]0-9*#$\"]{0,12}") {
        for format in &FORMATS {
            let _ = (format.read)(&bytes, &Reading::default());
            let changes = [(path.clone(), Change::Assign("x".into())), (path.clone(), Change::Copy("a".into())), (path.clone(), Change::Remove)];
            for change in changes {
                let _ = (format.set)(&bytes, &[change], &Reading::default());
            }
        }
    }

    #[test]
    fn no_text_that_is_nearly_right_makes_a_panic(
        text in "[\\[\\]{}<>/a\"':;,&#x!?= \n-]{0,60}", path in "[a-c./@\\[\\]0-9*#$]{0,8}", wrong in 0_usize..400, document in prop_oneof![json_document(), xml_document(), csv_document()],
    ) {
        let cut: String = document.chars().take(wrong).collect();
        for format in &FORMATS {
            for bytes in [text.as_bytes(), cut.as_bytes()] {
                let _ = (format.read)(bytes, &Reading::default());
                let _ = (format.set)(bytes, &[(path.clone(), Change::Assign(text.clone()))], &Reading::default());
                let _ = (format.set)(bytes, &[(path.clone(), Change::Remove)], &Reading::default());
            }
        }
    }

    #[test]
    fn what_is_set_in_json_is_found(document in json_document(), path in "[a-d](\\.[a-d]){0,2}", text in text()) {
        let json = &FORMATS[0];
        if let Ok(after) = (json.set)(document.as_bytes(), &[(path.clone(), Change::Assign(text.clone()))], &Reading::default()) {
            let found = json.values(&after, &path);
            prop_assert!(!found.is_empty() && found.iter().all(|value| *value == text) || document.starts_with('['), "{found:?}");
            prop_assert!(json::read(&after, &Reading::default()).is_ok(), "no JSON any more");
        }
    }

    #[test]
    fn one_value_of_json_changes_and_nothing_else(document in json_document(), text in text()) {
        let json = &FORMATS[0];
        let read = json::read(document.as_bytes(), &Reading::default()).expect("JSON");
        // The way to the first leaf.
        let mut way = String::new();
        let mut node = 0;
        while let Some(child) = read.nodes[node].children.first() {
            way += &if read.nodes[*child].name.is_empty() { "[0]".to_owned() } else { format!(".{}", read.nodes[*child].name) };
            node = *child;
        }
        let span = read.nodes[node].span.clone();
        if !way.is_empty() && !matches!(read.nodes[node].kind, super::Kind::Map | super::Kind::List) {
            let after = (json.set)(document.as_bytes(), &[(format!("${way}"), Change::Assign(text.clone()))], &Reading::default()).expect("set");
            let after = String::from_utf8(after).expect("UTF-8");
            prop_assert_eq!(&after[..span.start], &document[..span.start]);
            prop_assert!(after.ends_with(&document[span.end..]));
            prop_assert_eq!(json.values(after.as_bytes(), &format!("${way}")), vec![text]);
        }
    }

    #[test]
    fn what_is_set_in_xml_is_found(document in xml_document(), name in "[a-d]", text in text()) {
        let xml = &FORMATS[1];
        for path in [format!("/whole/{name}/@id"), format!("/whole/{name}/@new"), format!("/whole/{name}"), "/whole/new/a/@b".to_owned()] {
            if let Ok(after) = (xml.set)(document.as_bytes(), &[(path.clone(), Change::Assign(text.clone()))], &Reading::default()) {
                let found = xml.values(&after, &path);
                prop_assert!(!found.is_empty() && found.iter().all(|value| *value == text), "{path} {found:?}");
                let removed = (xml.set)(&after, &[(path.clone(), Change::Remove)], &Reading::default()).expect("removed");
                prop_assert!(xml.values(&removed, &path).is_empty());
            }
        }
    }

    #[test]
    fn what_is_set_in_csv_is_found(document in csv_document(), column in "[abc]", text in text()) {
        let csv = &FORMATS[2];
        let path = format!("[1].{column}");
        let before = csv.values(document.as_bytes(), &path).concat();
        let after = (csv.set)(document.as_bytes(), &[(path.clone(), Change::Assign(text.clone()))], &Reading::default()).expect("set");
        prop_assert_eq!(csv.values(&after, &path), vec![text]);
        prop_assert!(stays(&document, &after, 2 * before.len() + 2));
        for other in ["a", "b", "c"].iter().filter(|other| **other != column) {
            prop_assert_eq!(csv.values(&after, other), csv.values(document.as_bytes(), other));
        }
    }

    #[test]
    fn our_json_reader_takes_what_serde_json_takes(text in "[\\[\\]{}\"a:,0-9.eE+ -]{0,12}|(true|false|null|\\[1\\]|\\{\"a\":1\\}| )*") {
        let ours = json::read(text.as_bytes(), &Reading::default());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let twice = ours.as_ref().err().is_some_and(|error| error.what.contains("twice"));
        // serde_json refuses numbers that are too large for it, and takes a name twice.
        let large = theirs.as_ref().err().is_some_and(|error| error.to_string().contains("out of range"));
        prop_assert!(ours.is_ok() == theirs.is_ok() || twice || large, "{text:?}");
    }
}
