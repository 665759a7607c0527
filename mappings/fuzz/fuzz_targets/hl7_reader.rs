//! Any bytes as HL7 v2, in every way that the engine reads them. None may panic, hang or break a law.

#![no_main]

use clinic::exchange::{MapError, Reason, Response, Stamp, Verdict};
use libfuzzer_sys::fuzz_target;
use mappings::hl7v2::{
    Change, Delimiters, Message, Path, Reading, Tree, batch, escape, get_all, is_answer_to, judge, keys, replies, set, unescape,
};

const PATHS: [&str; 9] =
    ["MSH-9", "MSH-18", "PID-3[2].1.2", "PID-5", "OBX-5.2", "OBX[2]-5", "ZPI", "MSH-2", "ERR-1[1].4.1"];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::read(bytes) {
        read(bytes, &message);
    }
    if let Ok(file) = batch::take_apart(bytes, &batch::Limits::default()) {
        for part in &file.messages {
            let _ = Message::read(&part.bytes);
        }
    }
    let found = keys(bytes);
    let stamp = Stamp { now: jiff::Timestamp::UNIX_EPOCH, id: uuid::Uuid::nil() };
    let error = MapError::new(Reason::Internal, Some("OBX[2]-3[2].1"), "a | sentence & more ^ of ~ it \\ all");
    for verdict in [Verdict::Accepted, Verdict::Refused(&error)] {
        let replies = replies(bytes, verdict, &stamp);
        for body in [replies.accept, replies.application].into_iter().flatten() {
            Message::read(&body).expect("an answer of ours is a message");
            if found.control_id.as_ref().is_some_and(|id| id.is_ascii() && id.len() < 100) {
                let _ = is_answer_to(bytes, &body);
            }
            let _ = judge(bytes, &Response { body, ..Response::default() });
        }
    }
    let _ = judge(bytes, &Response { status: Some(500), body: bytes.to_vec(), ..Response::default() });
});

/// Escapes are written with letters, digits, dots and signs (`.br`, `.sp+2`, `X0D`): where a header makes one of these a
/// delimiter, nobody can tell the two apart, and there and back need not be the same.
fn can_be_told_from_codes(delimiters: &Delimiters) -> bool {
    let all = [
        Some(delimiters.field),
        delimiters.component,
        delimiters.repetition,
        delimiters.escape,
        delimiters.subcomponent,
    ];
    all.into_iter().flatten().all(|byte| byte.is_ascii_punctuation() && !b".+-".contains(&byte))
}

fn read(bytes: &[u8], message: &Message) {
    for segment in message.segments() {
        for field in segment.fields() {
            for repetition in field.repetitions() {
                for component in repetition.components() {
                    for part in component.subcomponents() {
                        let text = part.text();
                        let escaped = escape(&text, &part.dialect());
                        if let Ok(escaped) = escaped
                            && can_be_told_from_codes(&part.dialect().delimiters)
                        {
                            assert_eq!(unescape(&escaped, &part.dialect()), text);
                        }
                    }
                }
            }
            let _ = (field.value(), field.place());
        }
    }
    let path: Path = PATHS[bytes.len() % PATHS.len()].parse().expect("a right path");
    for found in get_all(message, &path) {
        let _ = (found.value(), found.place(), found.is("A^B&C"));
    }
    for change in [
        Change::Assign { to: path.clone(), text: "ș | x".to_owned() },
        Change::AssignParts { to: path.clone(), parts: "A^B".to_owned() },
        Change::Clear { at: path.clone() },
        Change::Copy { to: path.clone(), from: "PID-3.1".parse().expect("a right path") },
        Change::Remove { at: path.clone() },
    ] {
        if let Ok(changed) = set(bytes, &[change], &Reading::default()) {
            let _ = Message::read(&changed);
        }
    }
}
