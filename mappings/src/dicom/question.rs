//! What an archive or a worklist is asked by a step: `STUDY?PatientID=P-7&StudyDate=` as a C-FIND (PS3.4 C.4.1, K.4.1).
//!
//! Before the `?` stands the level: PATIENT (patient root), STUDY, SERIES, IMAGE (study root), WORKLIST. After it the keys, by
//! names or numbers, through sequences with a dot. One without a value asks for what stands there.

use clinic::exchange::{Judgement, Response};

use super::archive::add_key;
use super::charset::{Set, Shows};
use super::message::WORKLIST;
use super::part10::{File, Meta};
use super::reply::{judge, read_status};
use super::scan::Coding;
use super::write::{Out, Said};

/// Implicit VR little endian: what everybody speaks.
const SYNTAX: &str = "1.2.840.10008.1.2";
/// The most keys of a question.
const MAX_KEYS: usize = 100;

/// The levels, and the class that each is asked by.
const LEVELS: [(&str, &str); 5] = [
    ("PATIENT", "1.2.840.10008.5.1.4.1.2.1.1"),
    ("STUDY", "1.2.840.10008.5.1.4.1.2.2.1"),
    ("SERIES", "1.2.840.10008.5.1.4.1.2.2.1"),
    ("IMAGE", "1.2.840.10008.5.1.4.1.2.2.1"),
    ("WORKLIST", WORKLIST),
];

/// A question as a message. An error says what is wrong with it.
pub fn written(text: &str) -> Result<Vec<u8>, String> {
    let (level, pairs) = text.trim().split_once('?').unwrap_or((text.trim(), ""));
    let Some((_, class)) = LEVELS.iter().find(|(word, _)| *word == level) else {
        let words = LEVELS.map(|(word, _)| word).join(", ");
        return Err(format!(
            "{level:?} is no level; a question is written STUDY?PatientID=P-7&StudyDate=, and levels are {words}"
        ));
    };
    let mut keys = Out::default();
    let pairs = pairs.split('&').map(str::trim).filter(|pair| !pair.is_empty());
    for (n, pair) in pairs.enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !add_key(&mut keys, name, &decoded(value)) {
            return Err(format!("{name:?} is no name or number of an attribute"));
        }
        if MAX_KEYS <= n {
            return Err(format!("more than {MAX_KEYS} keys"));
        }
    }
    if keys.is_empty() {
        return Err("it has no key; write at least one, such as PatientID=P-7".to_owned());
    }
    if *class != WORKLIST {
        keys.text("QueryRetrieveLevel", level);
    }
    let mut command = Out::default();
    command.text("AffectedSOPClassUID", class);
    command.put("CommandField", Said::Number(0x0020));
    command.put("MessageID", Said::Number(1));
    let meta = Meta {
        class: (*class).to_owned(),
        syntax: SYNTAX.to_owned(),
        command: Some(command.written(Coding::IMPLICIT, Set::Ascii)),
        ..Meta::default()
    };
    let set = keys.choose(&Shows::up_to(Set::Utf8));
    Ok([meta.written(), keys.written(Coding::IMPLICIT, set)].concat())
}

/// A value as a part of a question. What would be a wildcard or a list there is none: a value of a message never asks for
/// everybody.
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '%' => out.push_str("%25"),
            '&' => out.push_str("%26"),
            '\n' => out.push_str("%0A"),
            '\r' => out.push_str("%0D"),
            '*' | '?' | '\\' => out.push('_'),
            letter => out.push(letter),
        }
    }
    out
}

fn decoded(value: &str) -> String {
    let parts = [("%26", "&"), ("%0A", " "), ("%0D", " "), ("%25", "%")];
    let decode = |value: String, (from, to): (&str, &str)| value.replace(from, to);
    parts.into_iter().fold(value.to_owned(), decode)
}

/// What a far side has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One, whose answer is a message.
    One,
    /// Nothing.
    Nothing,
    /// So many.
    Several(usize),
    /// There is no answer that can be believed: why.
    Not(Judgement),
}

/// What an answer says: a file with what was found, or a status: `0000` for nothing, `FF00` with how many there were.
pub fn found(answer: &Response) -> Found {
    match read_status(&answer.body) {
        Some((0x0000, _)) => Found::Nothing,
        Some((0xFF00, count)) => Found::Several(count.parse().unwrap_or(2)),
        Some(_) => match judge(answer) {
            Judgement::Accepted | Judgement::Pending { .. } => Found::Nothing,
            judged @ (Judgement::Refused { .. } | Judgement::Retry { .. } | Judgement::Unsure { .. }) => {
                Found::Not(judged)
            }
        },
        None if File::read(&answer.body).is_ok() => Found::One,
        None => Found::Not(Judgement::Unsure {
            why: "the answer can't be read".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::Tag;

    use super::super::charset::Fallback;
    use super::*;

    #[test]
    fn a_question_is_a_find() {
        assert_eq!(escaped("P*\\?"), "P___");
        let value = escaped("50%26&^Țîră");
        let text = format!("STUDY?PatientID={value}&0008,0020=&ProcedureCodeSequence.CodeValue=X&StudyTime");
        let bytes = written(&text).expect("a question");
        let file = File::read(&bytes).expect("a file");
        let set = file.data_set(Fallback::default()).expect("a data set");
        assert_eq!(set.text(Tag(0x0010, 0x0020)).as_deref(), Some("50%26&^Țîră"));
        assert_eq!(set.text(Tag(0x0008, 0x0052)).as_deref(), Some("STUDY"));
        assert!(set.get(Tag(0x0008, 0x0020)).is_some() && set.get(Tag(0x0008, 0x0030)).is_some());
        let codes = set.items(Tag(0x0008, 0x1032));
        assert_eq!(codes[0].text(Tag(0x0008, 0x0100)).as_deref(), Some("X"));
        let worklist = written("WORKLIST?ScheduledProcedureStepSequence.Modality=CT").expect("a question");
        let file = File::read(&worklist).expect("a file");
        assert_eq!(file.meta.class, WORKLIST);
        let set = file.data_set(Fallback::default()).expect("a data set");
        assert!(set.get(Tag(0x0008, 0x0052)).is_none());
        for wrong in [
            "",
            "FRAME?PatientID=1",
            "STUDY",
            "STUDY?",
            "STUDY?PatientNmae=X",
            "STUDY?PatientID.Rows=1",
        ] {
            assert!(written(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_found() {
        let of = |body: &[u8]| {
            found(&Response {
                body: body.to_vec(),
                ..Response::default()
            })
        };
        assert_eq!(of(b"0000"), Found::Nothing);
        assert_eq!(of(b"FF00 3"), Found::Several(3));
        assert!(matches!(
            of(b"A900 no level"),
            Found::Not(Judgement::Refused { .. })
        ));
        assert!(matches!(of(b"A700"), Found::Not(Judgement::Retry { .. })));
        assert!(matches!(of(b"nonsense"), Found::Not(Judgement::Unsure { .. })));
        assert_eq!(of(&written("STUDY?PatientID=1").expect("a question")), Found::One);
    }
}
