//! What holds for every file that is taken apart, and the cases by which each kind is known.

use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use proptest::prelude::*;

use super::*;

fn json(path: &str) -> Kind {
    Kind::Json {
        at: JsonPath::parse(path).unwrap(),
    }
}

fn xml(element: &str) -> Kind {
    Kind::Xml {
        element: element.to_owned(),
    }
}

const LINES: Kind = Kind::Lines {
    header: false,
    quoted: false,
};

const TABLE: Kind = Kind::Lines {
    header: true,
    quoted: true,
};

fn small() -> Limits {
    Limits {
        parts: 3,
        part_bytes: 100,
        total_bytes: 150,
        ratio: 20,
    }
}

/// The parts as lines `place: bytes`, or the error.
fn told(kind: &Kind, bytes: &[u8], limits: &Limits) -> String {
    match split(kind, bytes, limits) {
        Ok(parts) => {
            let parts = parts.iter().map(|part| {
                let text = String::from_utf8_lossy(&part.bytes)
                    .replace('\r', "/")
                    .replace('\n', "!");
                let name = part
                    .name
                    .as_ref()
                    .map(|name| format!(" ({name})"))
                    .unwrap_or_default();
                format!("{}{name}: {text}", part.place)
            });
            parts.collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("error: {error}"),
    }
}

fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(method);
        match name.strip_suffix('/') {
            Some(folder) => writer.add_directory(folder, options).unwrap(),
            None => {
                writer.start_file(*name, options).unwrap();
                writer.write_all(bytes).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn hl7_files_are_taken_whole_or_not() {
    let whole = b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\rPID|a\rMSH|2\rBTS|2\rFTS|1\r";
    let limits = Limits::default();
    assert_eq!(
        told(&Kind::Hl7v2, whole, &limits),
        "line 3: MSH|1/PID|a/; line 5: MSH|2/"
    );
    for (file, words) in [
        (
            "FHS|^~\\&\rBHS|^~\\&\rMSH|1\rBTS|2\rFTS|1\r",
            "line 4: BTS-1: 2 messages declared, 1 found",
        ),
        (
            "FHS|^~\\&\rBHS|^~\\&\rMSH|1\rBTS|1\rFTS|2\r",
            "line 5: FTS-1: 2 batches declared, 1 found",
        ),
        (
            "BHS|^~\\&\rMSH|1\r",
            "line 1: its BTS is missing, so the file may be cut. Nothing of the file is taken",
        ),
        ("hello\rMSH|1\r", "line 1: 1 lines that belong to no message"),
        ("", "line 1: no HL7 message begins in this file"),
    ] {
        let error = told(&Kind::Hl7v2, file.as_bytes(), &limits);
        assert!(error.starts_with("error: ") && error.contains(words), "{error}");
    }
    // A day without results is a batch of none.
    assert_eq!(told(&Kind::Hl7v2, b"BHS|^~\\&\rBTS|0\r", &limits), "");
    let error = told(&Kind::Hl7v2, b"MSH|1\rMSH|2\rMSH|3\rMSH|4\r", &small());
    assert!(error.contains("line 4: more than 3 messages"), "{error}");
}

#[test]
fn lines_with_and_without_a_header() {
    let limits = Limits::default();
    assert_eq!(
        told(&LINES, b"\xEF\xBB\xBFa\n\n \r\nb\r\nc\rd", &limits),
        "line 1: a!; line 4: b/!; line 5: c/; line 6: d"
    );
    assert_eq!(
        told(&TABLE, b"x;y\n1;\"a\nb\"\n2;c\n", &limits),
        "line 2: x;y!1;\"a!b\"!; line 4: x;y!2;c!"
    );
    assert_eq!(told(&TABLE, b"x;y\n", &limits), "");
    assert!(told(&TABLE, b"x;y\n1;\"a\nb\n", &limits).contains("line 2: a quote is opened and never closed"));
    assert!(told(&LINES, b"\n\n", &limits).contains("no line that is not blank"));
    assert!(told(&LINES, b"\xFF\xFEa\0", &limits).contains("UTF-16"));
    assert!(told(&LINES, b"a\nb\nc\nd\n", &small()).contains("line 4: more than 3 parts"));
    assert!(told(&LINES, &[b'a'; 101], &small()).contains("line 1: a part of more than 100 bytes"));
    let two = [[b'a'; 80].as_slice(), b"\n", &[b'b'; 80]].concat();
    assert!(told(&LINES, &two, &small()).contains("line 2: the parts are more than 150 bytes together"));
    // A long header before many short lines counts each time.
    let header = [[b'h'; 60].as_slice(), b"\n1\n2\n3\n"].concat();
    assert!(told(&TABLE, &header, &small()).contains("line 4: the parts are more than 150 bytes together"));
}

#[test]
fn json_arrays_byte_for_byte() {
    let limits = Limits::default();
    let bundle = br#"{"type":"batch","entry":[ {"a" : 1.10}, [2], "x" ],"more":{"entry":[9]}}"#;
    assert_eq!(
        told(&json("$.entry"), bundle, &limits),
        r#"$.entry[0]: {"a" : 1.10}; $.entry[1]: [2]; $.entry[2]: "x""#
    );
    assert_eq!(told(&json("$.more.entry"), bundle, &limits), "$.more.entry[0]: 9");
    assert_eq!(told(&json("$"), b"[1,2]", &limits), "$[0]: 1; $[1]: 2");
    assert_eq!(
        told(&json("$[1].x"), br#"[{"x":[1]},{"x":[2]}]"#, &limits),
        "$[1].x[0]: 2"
    );
    assert_eq!(told(&json("$"), b"[]", &limits), "");
    for (path, text, words) in [
        ("$.a", r#"{"b":[1]}"#, "$.a: the array to be split is missing"),
        (
            "$.a",
            r#"{"a":"Ana Pop"}"#,
            "line 1 column 14: there is something else than `$.a` needs here",
        ),
        ("$.a", r#"{"a":{"b":1}}"#, "something else than `$.a` needs"),
        ("$.a", r#"{"a":[1],"a":[2]}"#, "stands twice"),
        ("$", "[1,", "ends too early"),
        ("$", "[1] 2", "no JSON from here on"),
        ("$", "[1,\n x]", "line 2 column 2: no JSON"),
    ] {
        let error = told(&json(path), text.as_bytes(), &limits);
        assert!(
            error.starts_with("error: ") && error.contains(words) && !error.contains("Ana"),
            "{error}"
        );
    }
    assert!(told(&json("$"), b"[\n\xFF]", &limits).contains("line 2: not UTF-8"));
    assert!(told(&json("$"), b"[1,2,3,4]", &small()).contains("$[3]: more than 3 parts"));
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert_eq!(split(&json("$"), &deep, &limits).unwrap().len(), 1);
}

#[test]
fn xml_elements_with_what_they_inherit() {
    let limits = Limits::default();
    let list = br#"<?xml version="1.0"?><l xmlns="urn:a" xmlns:p='q"q'><!-- <r/> --><r n="1">a<r/></r> <p:r xmlns="urn:b"/><x><r>&amp;</r></x></l>"#;
    assert_eq!(
        told(&xml("r"), list, &limits),
        concat!(
            r#"r[1]: <r xmlns="urn:a" xmlns:p='q"q' n="1">a<r/></r>; "#,
            r#"r[2]: <p:r xmlns:p='q"q' xmlns="urn:b"/>; "#,
            r#"r[3]: <r xmlns="urn:a" xmlns:p='q"q'>&amp;</r>"#
        )
    );
    let romanian = b"<?xml version='1.0' encoding='windows-1250'?><l><r>\xBA\xFE</r></l>";
    assert_eq!(told(&xml("r"), romanian, &limits), "r[1]: <r>\u{15F}\u{163}</r>");
    let wide: Vec<u8> = "\u{FEFF}<l><r>ș</r></l>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(told(&xml("r"), &wide, &limits), "r[1]: <r>ș</r>");
    for (text, words) in [
        ("<l><x/></l>", "no element `r` in the document"),
        ("<l>\n<r>", "line 2: the document ends inside of an element"),
        ("<l>\n<r></l>", "line 2: no well-formed XML"),
        (
            "<!DOCTYPE l [<!ENTITY a \"b\">]><l><r>&a;</r></l>",
            "entities of its own",
        ),
        (
            "<?xml version='1.0' encoding='utf-99'?><r/>",
            "an encoding that is not known",
        ),
    ] {
        let error = told(&xml("r"), text.as_bytes(), &limits);
        assert!(error.starts_with("error: ") && error.contains(words), "{error}");
    }
    assert!(told(&xml("r"), b"<l>\n<\0p:r/></l>", &limits).contains("line 2: a zero"));
    assert!(told(&xml("r"), b"<r>\xFF</r>", &limits).contains("bytes that are not UTF-8"));
    assert!(told(&xml("r"), &b"<r>".repeat(2000), &limits).contains("more than 1000 elements"));
    assert!(told(&xml("r"), b"<l><r/><r/><r/><r/></l>", &small()).contains("r[4]: more than 3 parts"));
    let many: String = (0..300).map(|number| format!(" xmlns:a{number}='u'")).collect();
    assert!(
        told(&xml("r"), format!("<l{many}><r/></l>").as_bytes(), &limits)
            .contains("more than 256 namespaces")
    );
}

#[test]
fn zip_entries_within_the_limits() {
    let limits = Limits::default();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let bytes = archive(
            &[
                ("a/", b""),
                ("a/one.hl7", b"1"),
                ("../../etc/two", b"2"),
                ("empty", b""),
            ],
            method,
        );
        assert_eq!(
            told(&Kind::Zip, &bytes, &limits),
            "entry 2 (a/one.hl7): 1; entry 3 (../../etc/two): 2; entry 4 (empty): "
        );
        assert!(told(&Kind::Zip, &bytes[..bytes.len() - 30], &limits).contains("not a ZIP archive"));
    }
    assert!(told(&Kind::Zip, b"no archive", &limits).contains("not a ZIP archive"));
    assert_eq!(
        told(&Kind::Zip, &archive(&[], CompressionMethod::Stored), &limits),
        ""
    );

    let bomb = vec![0; 8 << 20];
    let bytes = archive(&[("bomb", &bomb)], CompressionMethod::Deflated);
    assert!(bytes.len() < 20_000);
    assert!(
        told(&Kind::Zip, &bytes, &limits).contains("entry 1: it inflates to more than 200 times its size")
    );
    let long = archive(&[("a", &[b'a'; 101])], CompressionMethod::Deflated);
    assert!(told(&Kind::Zip, &long, &small()).contains("entry 1: a part of more than 100 bytes"));
    let two = archive(
        &[("a", &[b'a'; 80]), ("b", &[b'b'; 80])],
        CompressionMethod::Deflated,
    );
    assert!(told(&Kind::Zip, &two, &small()).contains("entry 2: the parts are more than 150 bytes together"));
    let four = archive(
        &[("a", b""), ("b", b""), ("c", b""), ("d", b"")],
        CompressionMethod::Stored,
    );
    assert!(told(&Kind::Zip, &four, &small()).contains("entry 4: more than 3 parts"));

    let mut damaged = archive(&[("a", b"some text")], CompressionMethod::Stored);
    let at = damaged.windows(4).position(|four| four == b"some").unwrap();
    damaged[at] = b'S';
    assert!(told(&Kind::Zip, &damaged, &limits).contains("entry 1: it is damaged"));

    // Two entries of one name: the second would hide the first.
    let mut twice = archive(&[("a1", b"1"), ("a2", b"2")], CompressionMethod::Stored);
    for at in 0..twice.len() - 1 {
        if twice[at..].starts_with(b"a2") {
            twice[at + 1] = b'1';
        }
    }
    assert!(told(&Kind::Zip, &twice, &limits).contains("two entries have one name"));

    // Encrypted, by the flag in both headers.
    let mut secret = archive(&[("a", b"1")], CompressionMethod::Stored);
    for at in 0..secret.len() - 10 {
        if secret[at..].starts_with(b"PK\x03\x04") {
            secret[at + 6] |= 1;
        }
        if secret[at..].starts_with(b"PK\x01\x02") {
            secret[at + 8] |= 1;
        }
    }
    assert!(told(&Kind::Zip, &secret, &limits).contains("entry 1: it is encrypted"));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Hl7v2),
        Just(LINES),
        Just(TABLE),
        Just(json("$")),
        Just(json("$.a[0]")),
        Just(xml("r")),
        Just(Kind::Zip),
    ]
}

/// Bytes near enough to the kinds to get past the first byte.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "MSH|",
        "BHS|",
        "BTS|1",
        "FHS|",
        "FTS|1",
        "\r",
        "\n",
        "\"",
        ";",
        "{\"a\":",
        "[",
        "]",
        ",",
        "}",
        "1",
        "<r",
        "<l xmlns:p='u'",
        ">",
        "/>",
        "</r>",
        "</l>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?xml encoding='iso-8859-2'?>",
        "&amp;",
        "ș",
        "PK\u{3}\u{4}",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(words, 0..40).prop_map(|words| words.concat().into_bytes()),
    ]
}

proptest! {
    /// No bytes make a panic, parts are numbered, and the limits hold.
    #[test]
    fn any_bytes(kind in kinds(), bytes in near()) {
        if let Ok(parts) = split(&kind, &bytes, &small()) {
            prop_assert!(parts.len() <= small().parts);
            prop_assert!(parts.iter().map(|part| part.bytes.len()).sum::<usize>() <= small().total_bytes);
            for (index, part) in parts.iter().enumerate() {
                prop_assert_eq!(part.number, index + 1);
                prop_assert!(part.bytes.len() <= small().part_bytes);
                // An element that was taken out is a document of its own, if the file was one: the reader lets some
                // through that are none.
                if kind == xml("r")
                    && let Ok(again) = split(&kind, &part.bytes, &Limits::default())
                {
                    prop_assert_eq!(&again[0].bytes, &part.bytes);
                }
            }
        }
    }

    /// Lines put together again are the file but for its blank lines.
    #[test]
    fn lines_there_and_back(lines in prop::collection::vec("[a-z;]{0,8}", 1..20), end in prop::sample::select(vec!["\n", "\r\n", "\r"])) {
        let file = lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
        let expected = lines.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}{end}")).collect::<String>();
        if !expected.is_empty() {
            let parts = split(&LINES, file.as_bytes(), &Limits::default()).unwrap();
            let again = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect::<Vec<_>>();
            prop_assert_eq!(again, expected.into_bytes());
        }
    }

    /// Every element of an array comes out as it went in.
    #[test]
    fn json_there_and_back(values in prop::collection::vec(prop_oneof![
        any::<i64>().prop_map(|number| serde_json::json!(number)),
        "\\PC{0,12}".prop_map(|text| serde_json::json!({"text": text, "in": [text]})),
    ], 0..20)) {
        let document = serde_json::json!({"before": values, "a": {"list": values}, "list": 1}).to_string();
        let parts = split(&json("$.a.list"), document.as_bytes(), &Limits::default()).unwrap();
        let again = parts.iter().map(|part| serde_json::from_slice::<serde_json::Value>(&part.bytes).unwrap()).collect::<Vec<_>>();
        prop_assert_eq!(again, values);
    }

    /// Every element comes out as it went in, and splitting a part by its own name gives the part itself.
    #[test]
    fn xml_there_and_back(texts in prop::collection::vec("[a-zăș ]{0,12}", 1..20)) {
        let elements = texts.iter().map(|text| format!("<p:r a='1'><b>{text}</b></p:r>")).collect::<Vec<_>>();
        let document = format!("<l xmlns:p=\"urn:p\">{}</l>", elements.join("\n"));
        let parts = split(&xml("r"), document.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(parts.len(), texts.len());
        for (part, text) in parts.iter().zip(&texts) {
            let expected = format!("<p:r xmlns:p=\"urn:p\" a='1'><b>{text}</b></p:r>");
            prop_assert_eq!(&*part.bytes, expected.as_bytes());
            let again = split(&xml("r"), &part.bytes, &Limits::default()).unwrap();
            prop_assert_eq!(&again[0].bytes, &part.bytes);
        }
    }

    /// Every entry comes out as it went in; with any byte of the archive changed there is an error or the same parts
    /// under other names, never other bytes.
    #[test]
    fn zip_there_and_back(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5), at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let names = (0..bodies.len()).map(|number| format!("f{number}")).collect::<Vec<_>>();
        let entries = names.iter().map(String::as_str).zip(bodies.iter().map(Vec::as_slice)).collect::<Vec<_>>();
        let mut bytes = archive(&entries, CompressionMethod::Deflated);
        let parts = split(&Kind::Zip, &bytes, &Limits::default()).unwrap();
        let again = parts.iter().map(|part| part.bytes.to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(&again, &bodies);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(parts) = split(&Kind::Zip, &bytes, &Limits::default()) {
            for part in &parts {
                prop_assert!(bodies.iter().any(|body| **body == *part.bytes));
            }
        }
    }
}
