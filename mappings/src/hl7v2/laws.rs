//! Laws of the wire layer, over generated messages and over any bytes.

use clinic::exchange::{MapError, Reason, Response, Stamp, Verdict};
use proptest::prelude::*;

use super::set::segment_spans;
use super::*;

/// Messages for tests: the ones below, and every single message under `samples/`.
pub(super) fn samples() -> Vec<(String, Vec<u8>)> {
    let plain = [
        "MSH|^~\\&|A|B|C|D|20260505||ADT^A04^ADT_A01|1|P|2.5.1||||||UNICODE UTF-8\rPID|1||N-1^^^X&1.2&ISO^MR~2^^^CNP||Ană^B\rPV1|1|O\r",
        "MSH|^~\\&|A|B|C|D|20260505||ORU^R01|2|P|2.3\rPID|1\rOBX|1|TX|a^b||x \\T\\ y\\.br\\z||||||F\rOBX|2|NM|c||\"\"\r",
        "MSH#@*/+#A#B#C#D#20260505##ADT@A04@ADT_A01#3#P#2.5.1\rPID#1##N@@@X+1*M\r",
        "MSH|^~\\&|A|B|C|D|20260505||ORU^R01|4|P|2.5\nPID|1\nOBX|1|TX|a||line one\nline two\n\nline four||||||F\nZPI|x",
        "msh|^~\\&|A|B\r\n\r\npid|1||X\r\nPV1\r\n",
        "\u{B}MSH|^~&|A|B|||||ACK|5\rMSA|AA|4\r\u{1C}\r",
        "MSH|^~\\&#|A|B|||||ACK^R01^ACK|6|P|2.7\rMSA|AE|4\rERR||OBX^1^5|102|E\r",
        "MSH|^~\\&|A|B|||||SIU^S12|7|P|2.5|||AL|NE\rSCH|P-1^X|F-1^Y||||||||||^^20^2026\r",
        "MSH|^~\\&|A|B|||||ORM^O01|8|P|2.4\rORC|NW|C-1^X\rOBR|1|C-1^X||a^b^c||||||||||||d&e&f^g\r",
        "MSH|^~\\&|A|B|||||MDM^T02|9|P|2.5\rTXA|1||TX|||||||||D-1\rOBX|1|ED|||^application^pdf^Base64^JVBERi0=\r",
        "MSH|^~\\&|A|B|||||BAR^P01|10|P|2.5\rPID|||~~X~||\rGT1||\"\"^\"\"&a|&^&~^|\r",
    ];
    let mut out: Vec<(String, Vec<u8>)> = plain
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("{index}"), text.as_bytes().to_vec()))
        .collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hl7v2");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "hl7"))
    {
        let bytes = std::fs::read(file).unwrap();
        for part in batch::take_apart(&bytes, &batch::Limits::default())
            .unwrap()
            .messages
        {
            out.push((file.display().to_string(), part.bytes.into_owned()));
        }
    }
    out
}

fn field_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => Just("\"\"".to_owned()),
        6 => "[A-Za-z0-9ăâîșțşţ .^~&\\\\\"#-]{0,12}",
    ]
}

/// Well-formed messages: usual delimiters, segments with fields, CR everywhere.
pub(super) fn message_text() -> impl Strategy<Value = String> {
    let segment = ("[A-Z][A-Z0-9]{2}", prop::collection::vec(field_text(), 1..8))
        .prop_filter("not a second header", |(name, _)| {
            !["MSH", "FHS", "BHS"].contains(&name.as_str())
        })
        .prop_map(|(name, fields)| format!("{name}|{}\r", fields.join("|")));
    (
        prop::collection::vec(field_text(), 0..9),
        prop::collection::vec(segment, 0..8),
    )
        .prop_map(|(header, segments)| format!("MSH|^~\\&|{}\r{}", header.join("|"), segments.concat()))
}

/// Bytes that look like a message more often than chance has it.
fn near_messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"MSH|^~\\&|".to_vec()),
        Just(b"MSH#@*/+#A#".to_vec()),
        Just(b"msh|".to_vec()),
        Just(b"MSH".to_vec()),
        Just(b"PID|1||a^b~c&d|".to_vec()),
        Just(b"OBX|1|TX|||\\X".to_vec()),
        Just(b"MSA|AA|".to_vec()),
        Just(b"ERR||PID^1^3|207".to_vec()),
        Just(b"FHS|^~\\&\rBHS|^~\\&\r".to_vec()),
        Just(b"BTS|2\rFTS|1\r".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\x0B".to_vec()),
        Just(b"\x1C\r".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just(b"\xFF\xFE".to_vec()),
        Just(b"M\0S\0H\0|\0".to_vec()),
        Just(b"||||||||||||||||8859/2|".to_vec()),
        Just(b"\\F\\\\.sp99\\\\.br\\\\Xc4\\\\XA3\\\\Z1\\\\".to_vec()),
        Just("ăȘ日😀".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
        "[ -~]{0,12}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Everything that reads foreign bytes, on the same bytes.
fn read_in_every_way(bytes: &[u8]) {
    if let Ok(message) = Message::read(bytes) {
        for segment in message.segments() {
            for field in segment.fields() {
                assert_eq!(rejoined(&field), field.raw().unwrap_or(""), "{}", field.place());
                let _ = (field.text(), field.value(), field.is_empty());
            }
            assert!(segment.field(0).raw().is_none() && segment.field(9_999_999).raw().is_none());
        }
        for path in ["MSH-9", "PID-3[2].1.2", "OBX-5", "MSH-1", "ZZZ", "MSH-2.2"] {
            let path: Path = path.parse().unwrap();
            for found in get_all(&message, &path) {
                let _ = (found.value(), found.place(), found.is("A^B"));
            }
        }
        let to: Path = "MSH-5".parse().unwrap();
        let _ = set(
            bytes,
            &[Change::Assign {
                to,
                text: "x".to_owned(),
            }],
            &Reading::default(),
        );
        let _ = message.print();
    }
    let _ = batch::take_apart(bytes, &batch::Limits::default());
    let _ = keys(bytes);
    let stamp = Stamp {
        now: jiff::Timestamp::UNIX_EPOCH,
        id: uuid::Uuid::nil(),
    };
    let error = MapError::new(Reason::DataType, Some("PID-3[2].1"), "no | number & none");
    for verdict in [Verdict::Accepted, Verdict::Refused(&error)] {
        let Replies { accept, application } = replies(bytes, verdict, &stamp);
        for reply in [accept, application].into_iter().flatten() {
            let reading = Message::read(&reply).unwrap();
            assert!(reading.count() >= 2);
            let _ = judge(
                bytes,
                &Response {
                    body: reply,
                    ..Response::default()
                },
            );
        }
    }
    let _ = judge(
        bytes,
        &Response {
            body: bytes.to_vec(),
            ..Response::default()
        },
    );
}

/// A field put together again from its lowest parts.
fn rejoined(field: &Field<'_>) -> String {
    let delimiters = field.dialect().delimiters;
    let join = |parts: Vec<String>, delimiter: Option<u8>| {
        parts.join(
            &delimiter
                .map(|byte| char::from(byte).to_string())
                .unwrap_or_default(),
        )
    };
    let repetitions = field.repetitions().map(|repetition| {
        let components = repetition.components().map(|component| {
            let parts = component
                .subcomponents()
                .map(|part| part.raw().unwrap_or("").to_owned())
                .collect();
            join(parts, delimiters.subcomponent)
        });
        join(components.collect(), delimiters.component)
    });
    join(repetitions.collect(), delimiters.repetition)
}

#[test]
fn samples_are_read_in_every_way_and_cut_at_every_place() {
    for (name, bytes) in samples() {
        let message = Message::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(message.count() > 0, "{name}");
        read_in_every_way(&bytes);
        let step = bytes.len() / 200 + 1;
        for cut in (0..bytes.len()).step_by(step) {
            read_in_every_way(&bytes[..cut]);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_in_every_way(&bytes);
    }

    #[test]
    fn near_messages_are_read_without_a_panic(bytes in near_messages()) {
        read_in_every_way(&bytes);
        let mut framed = b"MSH|^~\\&|A|".to_vec();
        framed.extend(&bytes);
        read_in_every_way(&framed);
    }

    #[test]
    fn well_formed_messages_print_as_they_came(text in message_text()) {
        let message = Message::read(text.as_bytes()).unwrap();
        prop_assert_eq!(message.print().unwrap(), text.as_bytes());
        let told: Vec<_> = message.repairs().iter().filter(|repair| !matches!(repair, Repair::Charset(_))).collect();
        prop_assert!(told.is_empty(), "{:?}", told);
    }

    #[test]
    fn messages_of_other_charsets_print_as_they_came(
        text in message_text(),
        set in prop::sample::select(vec!["8859/2", "8859/16", "8859/5", "CP1250", "UNICODE UTF-8"]),
    ) {
        let text = text.replacen("MSH|^~\\&|", &format!("MSH|^~\\&|{}{set}||", "|".repeat(15)), 1);
        let charset = Charset::named(set).unwrap();
        if let Ok(bytes) = charset.encode(&text) {
            // What is UTF-8 too is read as that, whatever the message says of itself.
            prop_assume!(charset == Charset::Utf8 || bytes.is_ascii() || std::str::from_utf8(&bytes).is_err());
            let message = Message::read(&bytes).unwrap();
            prop_assert_eq!(message.charset(), charset);
            prop_assert_eq!(message.print().unwrap(), bytes);
        }
    }

    #[test]
    fn what_was_escaped_comes_back(text in any::<String>(), mixed in "[|^~\\\\&\"#\r\n\u{B}\u{1C}XFSTREăH.br ]{0,20}") {
        let odd = Message::read("MSH#@*/+#A\r".as_bytes()).unwrap().dialect();
        let wide = Dialect { charset: Charset::Utf16Be, ..Dialect::USUAL };
        for dialect in [Dialect::USUAL, odd, wide] {
            for text in [&text, &mixed] {
                let escaped = escape(text, &dialect).unwrap();
                let delimiters = dialect.delimiters;
                let harms = |byte: u8| {
                    byte < 0x20 && byte != b'\t'
                        || byte == delimiters.field
                        || [delimiters.component, delimiters.repetition, delimiters.subcomponent].contains(&Some(byte))
                };
                prop_assert!(!escaped.bytes().any(harms));
                prop_assert_ne!(escaped.as_ref(), "\"\"");
                prop_assert_eq!(unescape(&escaped, &dialect), text.as_str());
            }
        }
    }

    #[test]
    fn a_set_value_is_read_again_and_nothing_else_moves(
        text in message_text(),
        ends in prop::sample::select(vec!["\r", "\n", "\r\n", "\r\n\r\n"]),
        field in 3_u32..12,
        component in prop::option::of(1_u32..5),
        value in "[A-Za-zăș|^&~\\\\ ]{1,10}",
    ) {
        let bytes = text.replace('\r', ends).into_bytes();
        let to = Path {
            segment: "MSH".to_owned(), occurrence: None, field: Some(field), repetition: Some(1), component, subcomponent: None,
        };
        let out = set(&bytes, &[Change::Assign { to: to.clone(), text: value.clone() }], &Reading::default()).unwrap();
        let message = Message::read(&out).unwrap();
        let found = get_all(&message, &to);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(unescape(found[0].raw(), &message.dialect()), value.as_str());
        // Behind MSH, byte for byte.
        let tail = |bytes: &[u8]| bytes[bytes.iter().position(|byte| b"\r\n".contains(byte)).unwrap()..].to_vec();
        prop_assert_eq!(tail(&out), tail(&bytes));
        let before = Message::read(&bytes).unwrap();
        for number in (1..before.msh().field_count()).filter(|&number| number != field as usize) {
            prop_assert_eq!(before.msh().field(number).raw(), message.msh().field(number).raw());
        }
    }

    #[test]
    fn changes_find_the_segments_that_reading_finds(bytes in near_messages()) {
        let mut framed = b"MSH|^~\\&|A|".to_vec();
        framed.extend(&bytes);
        if let Ok(message) = Message::read(&framed)
            && message.charset() != Charset::Utf16Be
            && message.charset() != Charset::Utf16Le
        {
            let spans = segment_spans(&framed, b'|');
            let names: Vec<String> = spans
                .iter()
                .map(|span| String::from_utf8_lossy(&framed[span.start..span.start + 3]).to_ascii_uppercase())
                .collect();
            let read: Vec<&str> = message.segments().map(|segment| segment.name()).collect();
            prop_assert_eq!(names, read);
        }
    }

    #[test]
    fn files_give_their_messages_back(
        texts in prop::collection::vec(message_text(), 0..6),
        framing in prop::sample::select(vec![("", ""), ("\u{B}", "\u{1C}\r"), ("\u{B}", "\u{1C}"), ("", "\r\n")]),
        batch in any::<bool>(),
    ) {
        let mut file: String = texts.iter().map(|text| format!("{}{text}{}", framing.0, framing.1)).collect();
        // Names of batch segments would be taken for such.
        prop_assume!(!["BTS|", "FTS|"].iter().any(|name| file.contains(name)));
        if batch && framing != ("\u{B}", "\u{1C}") {
            file = format!("FHS|^~\\&\rBHS|^~\\&\r{file}BTS|{}\rFTS|1\r", texts.len());
        }
        let taken = batch::take_apart(file.as_bytes(), &batch::Limits::default()).unwrap();
        prop_assert!(taken.notes.is_empty(), "{:?}", taken.notes);
        prop_assert_eq!(taken.messages.len(), texts.len());
        for (part, text) in taken.messages.iter().zip(&texts) {
            let bytes = part.bytes.as_ref();
            prop_assert!(bytes.starts_with(text.as_bytes()));
            prop_assert_eq!(&file.as_bytes()[part.offset..part.offset + bytes.len()], bytes);
            let line = file[..part.offset].matches('\r').count() + 1;
            if framing != ("\u{B}", "\u{1C}") {
                prop_assert_eq!(part.line, line);
            }
        }
    }
}
