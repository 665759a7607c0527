//! What a message says of itself: for dedup, order, search and answers.

use clinic::exchange::Keys;

use super::index::{Message, Tree};
use super::normalise::{Limits, Reading, normalise};
use super::views::{Field, Repetition};

/// How many keys of one kind are taken from a message.
const MAX_KEYS: usize = 1_000;

/// How many values of one kind are looked at: a hostile message may repeat the same one a million times.
const MAX_LOOKED_AT: usize = 5_000;

/// Of a longer message only so much is read for what it says of itself: a file in it may be a hundred times as long.
const HEAD: usize = 1 << 20;

/// How much of a message that can't be read whole is read for its header.
const HEADER_BYTES: usize = 64 << 10;

/// The keys of a message. Of bytes that are none, no keys; of one that can't be read whole, those of its header; of one
/// over 1 MB, those of the segments that end in its first 1 MB.
pub fn keys(bytes: &[u8]) -> Keys {
    lenient(head(bytes))
        .map(|message| of(&message))
        .unwrap_or_default()
}

/// What is read of a message for what it says of itself: all, or the segments that end in its first 1 MB.
pub fn head(bytes: &[u8]) -> &[u8] {
    let Some(head) = bytes.get(..HEAD) else {
        return bytes;
    };
    let end = memchr::memrchr2(b'\r', b'\n', head).map_or(HEAD, |at| at + 1);
    &head[..end]
}

/// A message as far as it can be read: of one that is over the limits, the MSH segment. None where there is no
/// MSH with a separator.
pub(crate) fn lenient(bytes: &[u8]) -> Option<Message> {
    let reading = Reading::default();
    if let Ok(message) = normalise(bytes, &reading).and_then(|normal| Message::over(normal, &reading)) {
        return Some(message);
    }
    let start = bytes.len() - super::normalise::trimmed_start(bytes).len();
    let header = &bytes[start..bytes.len().min(start + HEADER_BYTES)];
    let end = memchr::memchr2(b'\r', b'\n', header).unwrap_or(header.len());
    let limits = Limits {
        segments: 1,
        ..Limits::default()
    };
    let reading = Reading { limits, ..reading };
    let normal = normalise(&header[..end], &reading).ok()?;
    Message::over(normal, &reading).ok()
}

/// The keys of a message that was read.
pub fn of(message: &Message) -> Keys {
    let msh = message.msh();
    let mut keys = Keys {
        sender: joined(&msh.field(3), &msh.field(4)),
        control_id: msh
            .field(10)
            .present()
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty()),
        message_type: message_type(message),
        ..Keys::default()
    };
    let (mut patients, mut visits, mut orders) = (Found::default(), Found::default(), Found::default());
    for segment in message.segments() {
        // CX: the id, and its assigner in component 4 (HL7 v2.5.1 §2.A.14). EI: the id, and its assigner in
        // component 2 or 3 (§2.A.28).
        match segment.name() {
            "PID" => {
                for number in [2, 3, 4] {
                    each(&segment.field(number), 4, &mut patients);
                }
            }
            "MRG" => {
                for number in [1, 2, 4] {
                    each(&segment.field(number), 4, &mut patients);
                }
                each(&segment.field(5), 4, &mut visits);
            }
            "PV1" => {
                for number in [19, 50] {
                    each(&segment.field(number), 4, &mut visits);
                }
            }
            "ORC" | "OBR" => {
                for number in [2, 3] {
                    each(&segment.field(number), 2, &mut orders);
                }
            }
            "SCH" | "ARQ" => {
                for number in [1, 2] {
                    each(&segment.field(number), 2, &mut orders);
                }
            }
            // Accession number and study UID.
            "IPC" => {
                for number in [1, 3] {
                    each(&segment.field(number), 2, &mut orders);
                }
            }
            "MSA" if keys.answers.is_none() => {
                keys.answers = segment
                    .field(2)
                    .present()
                    .map(|id| id.trim().to_owned())
                    .filter(|id| !id.is_empty());
            }
            _ => {}
        }
    }
    Keys {
        patients: patients.keys,
        visits: visits.keys,
        orders: orders.keys,
        ..keys
    }
}

/// What a message can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Patients: PID, and the one that is merged away (MRG).
    Patient,
    /// Visits: PV1, and the one that is merged away (MRG-5).
    Visit,
    /// Orders (ORC, OBR) and appointments (SCH, ARQ).
    Order,
}

/// A number of each patient (visit, order) that a message is about, for those who keep an order by it: PID-3, else 2, 4;
/// PV1-19, else 50; the number of who placed the order, else of who fills it. Two mean that it is about two.
pub fn about(bytes: &[u8], what: Subject) -> Vec<String> {
    let Some(message) = lenient(head(bytes)) else {
        return vec![];
    };
    let mut about = Found::default();
    for segment in message.segments() {
        let numbers: &[usize] = match (what, segment.name()) {
            (Subject::Patient, "PID") => &[3, 2, 4],
            (Subject::Patient, "MRG") => &[1, 2, 4],
            (Subject::Visit, "PV1") => &[19, 50],
            (Subject::Visit, "MRG") => &[5],
            (Subject::Order, "ORC" | "OBR") => &[2, 3],
            (Subject::Order, "SCH" | "ARQ") => &[1, 2],
            _ => continue,
        };
        let first = numbers
            .iter()
            .find_map(|number| first_of(&segment.field(*number)));
        about.looked_at += 1;
        if MAX_LOOKED_AT < about.looked_at || MAX_KEYS <= about.keys.len() {
            break;
        }
        if let Some(first) = first {
            about.push(first);
        }
    }
    about.keys
}

/// The first number of a field.
fn first_of(field: &Field<'_>) -> Option<String> {
    let mut repetitions = field.repetitions();
    repetitions.find_map(|repetition| {
        let value = repetition.component(1).present()?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    })
}

/// The keys of one kind.
#[derive(Default)]
struct Found {
    keys: Vec<String>,
    looked_at: usize,
}

impl Found {
    fn push(&mut self, key: String) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }
}

/// MSH-9 as `ADT^A04`, whatever the delimiters.
pub(crate) fn message_type(message: &Message) -> Option<String> {
    let field = message.msh().field(9);
    let (code, event) = (field.component(1).text(), field.component(2).text());
    let (code, event) = (code.trim(), event.trim());
    match (code.is_empty(), event.is_empty()) {
        (true, true) => None,
        (_, true) => Some(code.to_owned()),
        _ => Some(format!("{code}^{event}")),
    }
}

fn joined(application: &Field<'_>, facility: &Field<'_>) -> Option<String> {
    let (application, facility) = (application.text(), facility.text());
    if application.is_empty() && facility.is_empty() {
        return None;
    }
    Some(format!("{application}|{facility}"))
}

/// Each repetition as `value`, and as `value^authority` where it names one.
fn each(field: &Field<'_>, authority: usize, out: &mut Found) {
    for repetition in field.repetitions() {
        out.looked_at += 1;
        if out.looked_at > MAX_LOOKED_AT || out.keys.len() + 2 > MAX_KEYS {
            return;
        }
        let Some(value) = repetition.component(1).present() else {
            continue;
        };
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        out.push(value.to_owned());
        if let Some(name) = authority_of(&repetition, authority) {
            out.push(format!("{value}^{name}"));
        }
    }
}

/// The assigner: its name, else its universal id. In CX both are sub-components of one component, in EI the
/// universal id is the next component.
fn authority_of(repetition: &Repetition<'_>, number: usize) -> Option<String> {
    let component = repetition.component(number);
    let next = repetition.component(number + 1).text();
    let name = component.subcomponent(1).text();
    let id = component.subcomponent(2).text();
    let all = [
        name.as_ref(),
        id.as_ref(),
        if number == 2 { next.as_ref() } else { "" },
    ];
    all.into_iter()
        .map(str::trim)
        .find(|text| !text.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_big_message_the_head_is_read() {
        let front = "MSH|^~\\&|A|B|C|D|20260505||ORU^R01|1|P|2.5.1\rPID|1||N-1\rORC|RE|C-1\r";
        let big = format!("{front}OBX|1|ED|||^^^Base64^{}\rORC|RE|C-2\r", "A".repeat(HEAD));
        assert_eq!(head(big.as_bytes()), front.as_bytes());
        assert_eq!(head(front.as_bytes()), front.as_bytes());
        let keys = keys(big.as_bytes());
        assert_eq!(
            (keys.control_id.as_deref(), &keys.orders[..]),
            (Some("1"), &["C-1".to_owned()][..])
        );
        let one_line = "M".repeat(2 * HEAD);
        assert_eq!(head(one_line.as_bytes()).len(), HEAD);
    }

    #[test]
    fn a_merge_is_about_two_patients_and_a_result_about_one() {
        let merge = "MSH|^~\\&|A|B|C|D|20260505||ADT^A40|1|P|2.5.1\r\
            PID|1||N-1^^^NORD~175^^^CNP\rMRG|N-2^^^NORD\r";
        assert_eq!(about(merge.as_bytes(), Subject::Patient), ["N-1", "N-2"]);
        let result = "MSH|^~\\&|A|B|C|D|20260505||ORU^R01|1|P|2.5.1\r\
            PID|1||N-1~175\rPV1|1|O|||||||||||||||||VN-1\r\
            ORC|RE|C-1|L-1\rOBR|1|C-1|L-1\rORC|RE||L-2\rOBR|1||L-2\r";
        assert_eq!(about(result.as_bytes(), Subject::Patient), ["N-1"]);
        assert_eq!(about(result.as_bytes(), Subject::Visit), ["VN-1"]);
        assert_eq!(about(result.as_bytes(), Subject::Order), ["C-1", "L-2"]);
        assert_eq!(about(b"nothing", Subject::Order), [""; 0]);
    }

    #[test]
    fn an_imaging_order_is_found_by_its_accession_number_and_study() {
        let message = "MSH|^~\\&|RIS|N|PUNTE|N|20260505||OMI^O23|1|P|2.5.1\rPID|1||N-1\rORC|NW|C-1\rOBR|1|C-1\r\
            IPC|A-1^RIS|RP-1|1.2.3|S-1\r";
        assert_eq!(
            keys(message.as_bytes()).orders,
            ["C-1", "A-1", "A-1^RIS", "1.2.3"]
        );
    }

    #[test]
    fn keys_of_a_result() {
        let message = "MSH|^~\\&|LIS|LAB|CLINIC|C|20260505||ORU^R01^ORU_R01|S10|P|2.5.1\r\
            PID|1||N-502^^^NORD&1.2&ISO^MR~1750930222346^^^CNP^NI~N-502^^^NORD\r\
            PV1|1|O|||||||||||||||||VN-1^^^NORD^VN\r\
            ORC|RE|C-100^CLINIC|LN-88^^1.2.3^ISO\rOBR|1|C-100^CLINIC|LN-88\r";
        let keys = keys(message.as_bytes());
        assert_eq!(keys.sender.as_deref(), Some("LIS|LAB"));
        assert_eq!(keys.control_id.as_deref(), Some("S10"));
        assert_eq!(keys.message_type.as_deref(), Some("ORU^R01"));
        assert_eq!(
            keys.patients,
            ["N-502", "N-502^NORD", "1750930222346", "1750930222346^CNP"]
        );
        assert_eq!(keys.visits, ["VN-1", "VN-1^NORD"]);
        assert_eq!(keys.orders, ["C-100", "C-100^CLINIC", "LN-88", "LN-88^1.2.3"]);
        assert_eq!(keys.answers, None);
    }

    #[test]
    fn keys_of_what_is_hardly_a_message() {
        assert_eq!(keys(b""), Keys::default());
        assert_eq!(keys(b"<html>"), Keys::default());
        assert_eq!(keys(b"MSH"), Keys::default());
        assert_eq!(keys(b"MSH|^~\\&|A").sender.as_deref(), Some("A|"));
        assert_eq!(
            keys(b"MSH|^~\\&|||||||ACK|1\rMSA|AA|77\r").answers.as_deref(),
            Some("77")
        );
        let mut long = b"MSH|^~\\&|||||||ADT^A01|42\r".to_vec();
        long.extend(std::iter::repeat_n(b"ZZZ|\r".as_slice(), 60_000).flatten());
        assert_eq!(keys(&long).control_id.as_deref(), Some("42"));
    }
}
