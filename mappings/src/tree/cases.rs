//! What each format does to one document.

use super::{Change, Reading};
use crate::{csv, json, xml};

fn changes(list: &[(&str, Change)]) -> Vec<(String, Change)> {
    list.iter()
        .map(|(path, change)| ((*path).to_owned(), change.clone()))
        .collect()
}

fn assign(text: &str) -> Change {
    Change::Assign(text.to_owned())
}

#[track_caller]
fn json_set(document: &str, list: &[(&str, Change)], expected: &str) {
    let after = json::set(document.as_bytes(), &changes(list), &Reading::default()).expect("set");
    assert_eq!(String::from_utf8(after).expect("UTF-8"), expected);
}

#[track_caller]
fn xml_set(document: &str, list: &[(&str, Change)], expected: &str) {
    let after = xml::set(document.as_bytes(), &changes(list), &Reading::default()).expect("set");
    assert_eq!(String::from_utf8(after).expect("UTF-8"), expected);
}

#[track_caller]
fn refused<T>(result: Result<T, clinic::exchange::MapError>, expected: &str) {
    let error = result.map(|_| ()).expect_err("an error").to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn json_keeps_digits_blanks_and_order() {
    let document = "{ \"b\" : 1.50,\n  \"a\": [ 1e2 , \"\\u0219\" ],\n  \"c\": {} }\n";
    json_set(
        document,
        &[("b", assign("2.00"))],
        &document.replace("1.50", "2.00"),
    );
    json_set(
        document,
        &[("b", assign("two"))],
        &document.replace("1.50", "\"two\""),
    );
    json_set(
        document,
        &[("a[1]", assign("x\"y"))],
        &document.replace("\"\\u0219\"", "\"x\\\"y\""),
    );
    json_set(
        document,
        &[("c.d", assign("1"))],
        &document.replace("{}", "{\"d\":\"1\"}"),
    );
    json_set(
        document,
        &[("a[2]", Change::Copy("b".into()))],
        &document.replace("\"\\u0219\" ", "\"\\u0219\", 1.50 "),
    );
    json_set(
        document,
        &[("a", Change::Clear)],
        &document.replace("[ 1e2 , \"\\u0219\" ]", "null"),
    );
    json_set(
        document,
        &[("a[0]", Change::Remove)],
        &document.replace("1e2 , ", ""),
    );
    json_set(
        document,
        &[("c", Change::Remove)],
        &document.replace(",\n  \"c\": {}", ""),
    );
    json_set(
        document,
        &[("e", assign("1"))],
        &document.replace("{} }", "{},\n  \"e\": \"1\" }"),
    );
    json_set(document, &[("none", Change::Remove)], document);
}

#[test]
fn json_makes_what_is_missing() {
    json_set("{}", &[("a.b[0].c", assign("x"))], r#"{"a":{"b":[{"c":"x"}]}}"#);
    json_set(r#"{"a":null}"#, &[("a.b", assign("x"))], r#"{"a":{"b":"x"}}"#);
    json_set(r#"{"a":[]}"#, &[("a.b", assign("x"))], r#"{"a":[{"b":"x"}]}"#);
    json_set(
        r#"{"a":[{"b":1},{}]}"#,
        &[("a.b", assign("2"))],
        r#"{"a":[{"b":2},{"b":"2"}]}"#,
    );
    let set = |document: &str, path: &str| {
        json::set(
            document.as_bytes(),
            &changes(&[(path, assign("x"))]),
            &Reading::default(),
        )
    };
    refused(set(r#"{"a":[1]}"#, "a[3]"), "a[3]: the list has 1 entries");
    refused(set(r#"{"a":1}"#, "a.b"), "a.b: a single value stands");
    refused(set(r#"{"a":{"b":1}}"#, "a"), "a: an object stands here");
}

#[test]
fn json_is_read_strictly() {
    let read = |text: &str| json::read(text.as_bytes(), &Reading::default()).map(|_| ());
    refused(
        read("{\"a\":1,\n \"a\":2}"),
        "2:2: This is no JSON: this name stands twice",
    );
    refused(read("{\"a\":NaN}"), "1:6: This is no JSON: no value begins here");
    refused(read("[1] x"), "1:5: This is no JSON: text after the end");
    refused(read("[1,]"), "1:4: This is no JSON: no value begins here");
    refused(read("[01]"), "1:2: This is no JSON: a number that is none");
    refused(
        read("[\"\\ud800\"]"),
        "1:2: This is no JSON: a text with an escape",
    );
    refused(read(""), "1:1: This is no JSON: it ends");
    refused(
        read(&"[".repeat(100_000)),
        "1:130: This is no JSON: nested deeper",
    );
    assert!(read("\u{feff}{\"a\":1}").is_ok());
    let utf16: Vec<u8> = [0xFEFF_u16]
        .into_iter()
        .chain("{\"ș\":1}".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let after = json::set(&utf16, &changes(&[("ț", assign("x"))]), &Reading::default()).expect("set");
    let expected: Vec<u8> = [0xFEFF_u16]
        .into_iter()
        .chain("{\"ș\":1,\"ț\":\"x\"}".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(after, expected);
}

#[test]
fn json_paths_mean_each_entry_without_an_index() {
    let document = json::read(
        br#"{"a":[{"b":1},{"b":[2,3]}],"x.y":null,"o":{"p":1}}"#,
        &Reading::default(),
    )
    .expect("read");
    let values = |path: &str| document.values(0, &json::path(path).expect("a path"));
    assert_eq!(values("a.b"), ["1", "2", "3"]);
    assert_eq!(values("a[1].b[0]"), ["2"]);
    assert_eq!(values("$.a[*].b"), ["1", "2", "3"]);
    assert_eq!(values("[\"x.y\"]"), [""; 0]);
    assert_eq!(values("o"), ["{\"p\":1}"]);
    for wrong in ["", "a..b", "a.", "a[", "a[x]", "a]b", "a[0]b", "[\"x"] {
        assert!(json::path(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn xml_keeps_quotes_blanks_and_comments() {
    let document = "<?xml version='1.0'?>\n<n:order xmlns:n='u' n:id = '5'>\n  <n:item a=\"1\"/><!-- x -->\n  <n:item>a &amp; b</n:item>\n</n:order>\n";
    xml_set(
        document,
        &[("/order/@id", assign("6'7"))],
        &document.replace("'5'", "'6&apos;7'"),
    );
    xml_set(
        document,
        &[("/order/item[2]", assign("<c>"))],
        &document.replace("a &amp; b", "&lt;c&gt;"),
    );
    xml_set(
        document,
        &[("/order/item[1]", assign("c"))],
        &document.replace("a=\"1\"/>", "a=\"1\">c</n:item>"),
    );
    xml_set(
        document,
        &[("/order/item[1]/@b", assign("2"))],
        &document.replace("a=\"1\"", "a=\"1\" b=\"2\""),
    );
    xml_set(
        document,
        &[("/order/note", assign("new"))],
        &document.replace("b</n:item>", "b</n:item>\n  <n:note>new</n:note>"),
    );
    xml_set(
        document,
        &[("/order/item[1]/@a", Change::Remove)],
        &document.replace(" a=\"1\"", ""),
    );
    xml_set(
        document,
        &[("/order/item[2]", Change::Copy("/order/@id".into()))],
        &document.replace("a &amp; b", "5"),
    );
    xml_set(
        document,
        &[("/order/item[2]", Change::Clear)],
        &document.replace("a &amp; b", ""),
    );
    xml_set(
        document,
        &[("/order/item[3]/sub/@k", assign("v"))],
        &document.replace("b</n:item>", "b</n:item>\n  <n:item><n:sub k=\"v\"/></n:item>"),
    );
}

#[test]
fn xml_is_read_strictly() {
    let read = |text: &str| xml::read(text.as_bytes(), &Reading::default()).map(|_| ());
    refused(
        read("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"),
        "1:1: This is no XML: a document type is not taken",
    );
    refused(read("<a>&x;</a>"), "1:4: This is no XML: an entity that is none");
    refused(
        read("<a b='1' b='2'/>"),
        "1:10: This is no XML: an attribute that stands twice",
    );
    refused(read("<a></b>"), "1:4: This is no XML: ");
    refused(read("<a>\n<b>"), "2:4: This is no XML: ");
    refused(read("<a/>x"), "1:5: This is no XML: text outside");
    refused(read("<a/><b/>"), "1:5: This is no XML: a second root");
    refused(
        read("<a b=1/>"),
        "1:4: This is no XML: an attribute without a value",
    );
    refused(read(""), "1:1: This is no XML: there is no element");
    refused(read(&"<a>".repeat(200)), "1:385: This is no XML: nested deeper");
    refused(
        read("<?xml version='1.0' encoding='klingon'?><a/>"),
        "1:1: The declared encoding \"klingon\"",
    );
}

#[test]
fn xml_goes_by_its_declaration() {
    let declared = b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?><a>\xbas\xfe</a>";
    let document = xml::read(declared, &Reading::default()).expect("read");
    assert_eq!(document.values(0, &xml::path("/a").expect("a path")), ["şsţ"]);
    let after = xml::set(declared, &changes(&[("/a/@b", assign("ț"))]), &Reading::default()).expect("set");
    assert_eq!(
        after,
        b"<?xml version=\"1.0\" encoding=\"iso-8859-2\"?><a b=\"\xfe\">\xbas\xfe</a>"
    );
    refused(
        xml::set(declared, &changes(&[("/a", assign("ж"))]), &Reading::default()),
        "the character U+0436 does not exist in ISO 8859-2",
    );
}

#[test]
fn xml_text_between_elements_is_not_lost() {
    let document = xml::read(b"<a>x<b>1</b><![CDATA[<y>]]></a>", &Reading::default()).expect("read");
    assert_eq!(
        document.values(0, &xml::path("/a/text()").expect("a path")),
        ["x<y>"]
    );
    assert_eq!(document.values(0, &xml::path("/*/b").expect("a path")), ["1"]);
}

#[test]
fn csv_keeps_quotes_and_line_ends() {
    let document = "Nr;\"Nume\";Nota\r\n1;\"Pop; Ana\";x\r\n\r\n2;Ion;\"a \"\"b\"\"\"";
    let set = |path: &str, change: Change| {
        let after = csv::set(
            document.as_bytes(),
            &changes(&[(path, change)]),
            &Reading::default(),
        )
        .expect("set");
        String::from_utf8(after).expect("UTF-8")
    };
    assert_eq!(
        set("[1].Nume", assign("Ene")),
        document.replace("Pop; Ana", "Ene")
    );
    assert_eq!(set("[2].#2", assign("a;b")), document.replace("Ion", "\"a;b\""));
    assert_eq!(
        set("Nota", Change::Clear),
        document.replace(";x\r", ";\r").replace("\"a \"\"b\"\"\"", "\"\"")
    );
    assert_eq!(
        set("[2].Nota", Change::Copy("[1].Nume".into())),
        document.replace("a \"\"b\"\"", "Pop; Ana")
    );
    let read = csv::read(document.as_bytes(), &Reading::default()).expect("read");
    assert_eq!(
        read.values(0, &csv::path("Nume").expect("a path")),
        ["Pop; Ana", "Ion"]
    );
    refused(
        csv::set(
            document.as_bytes(),
            &changes(&[("Nimic", assign("x"))]),
            &Reading::default(),
        ),
        "Nimic: there is no column",
    );
    refused(
        csv::set(
            document.as_bytes(),
            &changes(&[("[9].Nr", assign("x"))]),
            &Reading::default(),
        ),
        "[9].Nr: there is no row 9",
    );
}

#[test]
fn a_quote_within_the_first_line_does_not_hide_its_end() {
    let reading = Reading::default();
    let document = "Tub 5\"|Nr\n1;2;3;4|7\n";
    let read = csv::read(document.as_bytes(), &reading).expect("read");
    assert_eq!(read.values(0, &csv::path("Nr").expect("a path")), ["7"]);
    let after = csv::set(
        document.as_bytes(),
        &changes(&[("[1].Nr", assign("a;b;c,d"))]),
        &reading,
    );
    assert_eq!(after, Ok(b"Tub 5\"|Nr\n1;2;3;4|\"a;b;c,d\"\n".to_vec()));
    // Doubled quotes, and a line end within quotes.
    let read = csv::read(b"\"a \"\"b\"\";\n\",c\n1,2\n", &reading).expect("read");
    assert_eq!(read.values(0, &csv::path("c").expect("a path")), ["2"]);
    // The only field of a row is emptied, and the row stays.
    let after = csv::set(b"a\nx\ny\n", &changes(&[("[1].a", Change::Clear)]), &reading);
    assert_eq!(after, Ok(b"a\n\"\"\ny\n".to_vec()));
}

#[test]
fn csv_is_read_strictly() {
    let read = |text: &str| csv::read(text.as_bytes(), &Reading::default()).map(|_| ());
    refused(
        read("a,b\n1,2\n3\n"),
        "3:1: This row has 1 fields, and the first line 2",
    );
    refused(read("a,b\n1,\"2"), "2:3: A quote that is not closed");
    refused(read("a,b\n\"1\"x,2"), "2:4: Text after a closing quote");
    refused(read(""), "1:1: The file is empty");
    refused(read(&",".repeat(2_000)), "1:1002: More than 1,000 columns");
    let cp1250 = Reading {
        charset: crate::hl7v2::Charset::named("windows-1250"),
        ..Reading::default()
    };
    // The header's `ş` is the path's `ș`.
    let clinic = csv::read(b"Fi\xbaa;Nume\n1;x\n", &cp1250).expect("read");
    assert_eq!(clinic.values(0, &csv::path("Fișa").expect("a path")), ["1"]);
    let document = b"Nume\tOra\n\xaatefan\t8\n";
    let read = csv::read(document, &cp1250).expect("read");
    assert_eq!(read.values(0, &csv::path("Nume").expect("a path")), ["Ştefan"]);
    let after = csv::set(document, &changes(&[("Ora", assign("ș"))]), &cp1250).expect("set");
    assert_eq!(after, b"Nume\tOra\n\xaatefan\t\xba\n");
    refused(
        csv::read(document, &Reading::default()).map(|_| ()),
        "2:1: A byte that does not exist",
    );
}
