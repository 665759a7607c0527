//! What a sender is told, and what is made of what a far side says: status codes (PS3.7 annex C, PS3.4 B.2.3, F.7.2,
//! J.3.2, C.4). Between a format and its connector a status is a line: `A900 the UIDs differ`; where an Error ID goes with it,
//! `0110/A710 …`.

use clinic::exchange::{Judgement, MapError, Reason, Response, Verdict};

use super::message::{Service, command};
use super::part10::File;

/// The longest comment that an answer carries (VR LO of (0000,0902)).
const MAX_COMMENT: usize = 64;

/// The Error ID of an N-SET of a step that has ended (PS3.4 table F.7.2-2).
const NO_LONGER_UPDATED: u16 = 0xA710;

/// A status line.
pub fn status(code: u16, comment: &str) -> Vec<u8> {
    let plain: String = comment
        .chars()
        .flat_map(|c| super::charset::plain_letters(c).chars().collect::<Vec<_>>())
        .collect();
    let plain: String = plain
        .chars()
        .map(|c| match c {
            c if c.is_ascii_graphic() && c != '\\' => c,
            _ => ' ',
        })
        .take(MAX_COMMENT)
        .collect();
    let line = format!("{code:04X} {plain}");
    line.trim_end().as_bytes().to_vec()
}

/// The code of a status line, and its comment. An Error ID stands with the comment.
pub fn read_status(line: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(line);
    let (code, comment) = text.trim().split_once([' ', '/']).unwrap_or((text.trim(), ""));
    if code.len() != 4 || !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let comment = comment.chars().take(MAX_COMMENT).collect();
    Some((u16::from_str_radix(code, 16).ok()?, comment))
}

/// What the sender of a message is told.
pub fn reply(to: &[u8], verdict: Verdict<'_>) -> Vec<u8> {
    let error = match verdict {
        Verdict::Accepted => return status(0x0000, ""),
        Verdict::Refused(error) => error,
    };
    let service = File::read(to)
        .and_then(|file| command(&file))
        .map(|command| command.service);
    let service = service.unwrap_or(Service::Store);
    let mut line = status(code(service, error), &error.what);
    let has_ended = error
        .place
        .as_ref()
        .is_some_and(|place| place.0 == clinic::apply::PERFORMED_STATUS);
    if service == Service::MppsSet && error.reason == Reason::Conflict && has_ended {
        line.splice(4..4, format!("/{NO_LONGER_UPDATED:04X}").into_bytes());
    }
    line
}

/// What the sender of a repeat is told; none: what it was told the first time. A step that exists already is answered 0111
/// (PS3.4 F.7.2.1.3), whether or not the device has heard that it was taken.
pub fn told_of_repeat(message: &[u8]) -> Option<MapError> {
    let service = command(&File::read(message).ok()?).ok()?.service;
    let what = "it was begun already; nothing was done twice";
    (service == Service::MppsCreate).then(|| MapError::new(Reason::Duplicate, Some("0000,1000"), what))
}

fn code(service: Service, error: &MapError) -> u16 {
    match service {
        Service::Store => match error.reason {
            Reason::Internal | Reason::Locked => 0xA700,
            Reason::UnknownKey | Reason::Duplicate | Reason::Conflict | Reason::RequiredMissing => 0xA900,
            Reason::UnsupportedType => 0x0122,
            Reason::Sequence
            | Reason::DataType
            | Reason::UnknownCode
            | Reason::UnsupportedEvent
            | Reason::UnsupportedProcessingId
            | Reason::UnsupportedVersion => 0xC000,
        },
        Service::Worklist | Service::Find | Service::Move | Service::Get => match error.reason {
            Reason::Internal | Reason::Locked => 0xA700,
            Reason::RequiredMissing | Reason::UnsupportedType => 0xA900,
            Reason::Sequence
            | Reason::DataType
            | Reason::UnknownCode
            | Reason::UnsupportedEvent
            | Reason::UnsupportedProcessingId
            | Reason::UnsupportedVersion
            | Reason::UnknownKey
            | Reason::Duplicate
            | Reason::Conflict => 0xC001,
        },
        // A report on what nobody here asked for is heard all the same; a person looks at it.
        Service::CommitmentReport if error.reason == Reason::UnknownKey => 0x0000,
        // What exists already, whatever became of it.
        Service::MppsCreate if error.reason == Reason::Conflict => 0x0111,
        Service::MppsCreate
        | Service::MppsSet
        | Service::Commitment
        | Service::CommitmentReport
        | Service::Other => match error.reason {
            Reason::Internal | Reason::Locked => 0x0213,
            Reason::RequiredMissing => 0x0120,
            Reason::DataType | Reason::UnknownCode => 0x0106,
            Reason::Duplicate => 0x0111,
            Reason::UnknownKey => 0x0112,
            Reason::UnsupportedType => 0x0211,
            Reason::UnsupportedEvent => 0x0123,
            // Also of a step that has ended already.
            Reason::Conflict
            | Reason::Sequence
            | Reason::UnsupportedProcessingId
            | Reason::UnsupportedVersion => 0x0110,
        },
    }
}

/// What a far side's status means for what was sent to it. What is already there was taken before.
pub fn judge(answer: &Response) -> Judgement {
    let Some((code, comment)) = read_status(&answer.body) else {
        let why = "the far side's status can't be read".to_owned();
        return Judgement::Unsure { why };
    };
    let why = match comment.is_empty() {
        true => format!("status {code:04X}"),
        false => format!("status {code:04X}: {comment}"),
    };
    by_status(code, why)
}

/// Whether the far side says that it has no room, or not enough of something, for this (PS3.4 table B.2-1).
pub fn is_out_of_resources(answer: &Response) -> bool {
    answer.status.is_none() && matches!(read_status(&answer.body), Some((0xA700..=0xA7FF, _)))
}

/// What a status means for what was sent, where it came by another way: `how` says by which.
pub(super) fn judge_status(code: u16, how: &str) -> Judgement {
    by_status(code, format!("{how}: status {code:04X}"))
}

fn by_status(code: u16, why: String) -> Judgement {
    match code {
        0x0000 | 0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => Judgement::Accepted,
        // A repeat of what it has: an instance, a message.
        0x0111 => Judgement::Accepted,
        0x0210 | 0x0213 | 0xA700..=0xA7FF => Judgement::Retry { why },
        0xFE00 | 0xFF00 | 0xFF01 => Judgement::Unsure { why },
        _ => Judgement::Refused { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_line() {
        assert_eq!(status(0x0000, ""), b"0000");
        assert_eq!(read_status(b"A900 differs"), Some((0xA900, "differs".to_owned())));
        assert_eq!(read_status(b"0000"), Some((0, String::new())));
        assert_eq!(
            read_status(b"0110/A710 it has ended"),
            Some((0x0110, "A710 it has ended".to_owned()))
        );
        for wrong in [&b""[..], b"000", b"00000", b"+000", b"OK"] {
            assert_eq!(read_status(wrong), None);
        }
        let long = status(0xC000, &format!("ș\n\\{}", "x".repeat(100)));
        assert_eq!(long.len(), 5 + MAX_COMMENT);
        assert!(long.starts_with(b"C000 s  xxx"));
    }

    #[test]
    fn what_a_far_side_says_is_believed_by_its_code() {
        let judged = |line: &str| {
            judge(&Response {
                body: line.as_bytes().to_vec(),
                ..Response::default()
            })
        };
        for accepted in ["0000", "B000 coerced", "B007", "0107", "0116", "0111"] {
            assert_eq!(judged(accepted), Judgement::Accepted, "{accepted}");
        }
        for later in ["A700", "A7FF full", "0213"] {
            assert!(matches!(judged(later), Judgement::Retry { .. }), "{later}");
        }
        for never in ["A900", "C000", "C001 why", "0122", "0124", "0110", "0211"] {
            assert!(matches!(judged(never), Judgement::Refused { .. }), "{never}");
        }
        for lost in ["", "FE00", "HTTP"] {
            assert!(matches!(judged(lost), Judgement::Unsure { .. }), "{lost}");
        }
    }
}
