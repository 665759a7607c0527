//! A question for patients and its answer: QBP^Q22 → RSP^K22 (HL7 v2.5.1 §3.3.57 and §5.3; as IHE PDQ asks).
//!
//! QPD-3 repeats what is asked by (`@PID.5.1^Pop~@PID.7^19800514`), QPD-8 names the authorities whose numbers are to be
//! told, RCP-2 says how many at most. Asked by: number (PID.3.1, its authority PID.3.4), family and given name (PID.5.1,
//! PID.5.2: by their beginnings, with or without a `*` at the end), birth date (PID.7), sex (PID.8). Anything else is
//! refused: an answer that left a condition out would name the wrong people.
//!
//! Who is found is told as PID, with QAK-2 `OK`, or `NF` where nobody is. What can't be asked is answered AE, another
//! query than Q22 AR. Answers are in UTF-8.

use clinic::ask::{MOST, PatientQuestion};
use clinic::exchange::{MapError, Reason, Stamp};
use clinic::people::Sex;
use clinic::value::When;
use clinic::{Aggregate, Record};

use super::ack::code_text;
use super::decode::Profile;
use super::encode::{Answer, answer_segments};
use super::index::{Message, Tree};
use super::keys::lenient;
use super::views::{Repetition, Segment};

/// So many people are counted in an answer.
const MOST_PEOPLE: usize = 1_000;

/// The most conditions of one question.
const MAX_CONDITIONS: usize = 32;

/// What a message asks; none: it is no question. An error says why it can't be answered.
pub fn question(bytes: &[u8]) -> Option<Result<PatientQuestion, MapError>> {
    let message = lenient(bytes)?;
    let kind = message.msh().field(9);
    if kind.component(1).text().trim() != "QBP" {
        return None;
    }
    Some(asked(&message))
}

fn asked(message: &Message) -> Result<PatientQuestion, MapError> {
    let event = message.msh().field(9).component(2).text();
    if event.trim() != "Q22" {
        let what = "is a query that nobody here answers; Q22 (find patients) is answered";
        return Err(MapError::new(Reason::UnsupportedEvent, Some("MSH-9.2"), what));
    }
    let qpd = message
        .first("QPD")
        .ok_or_else(|| MapError::missing("QPD", "The segment that says what is asked"))?;
    let mut question = PatientQuestion::default();
    let mut authority = None;
    for (idx, condition) in qpd.field(3).repetitions().enumerate() {
        if MAX_CONDITIONS <= idx {
            let what = format!("more than {MAX_CONDITIONS} conditions");
            return Err(MapError::new(Reason::DataType, Some("QPD-3"), what));
        }
        take(&condition, idx, &mut question, &mut authority)?;
    }
    match (&mut question.number, authority) {
        (Some((_, of)), authority) => *of = authority,
        (None, Some(_)) => {
            let what = "an authority (PID.3.4) is asked for without a number (PID.3.1)";
            return Err(MapError::new(Reason::RequiredMissing, Some("QPD-3"), what));
        }
        (None, None) => {}
    }
    if !question.can_be_searched() {
        let what = "A number (@PID.3.1), a family name (@PID.5.1) or a given name (@PID.5.2)";
        return Err(MapError::missing("QPD-3", what));
    }
    question.limit = limit(message)?;
    Ok(question)
}

/// One repetition of QPD-3: `@PID.5.1^Pop`.
fn take(
    condition: &Repetition<'_>,
    idx: usize,
    question: &mut PatientQuestion,
    authority: &mut Option<String>,
) -> Result<(), MapError> {
    let place = if idx == 0 {
        "QPD-3".to_owned()
    } else {
        format!("QPD-3[{}]", idx + 1)
    };
    let name = condition.component(1).text().trim().to_ascii_uppercase();
    let value = condition.component(2).text().trim().to_owned();
    if name.is_empty() || value.is_empty() {
        return Ok(());
    }
    let begins = || Some(value.trim_end_matches('*').to_owned());
    match name.trim_start_matches('@') {
        "PID.3" | "PID.3.1" => question.number = Some((value, None)),
        "PID.3.4" | "PID.3.4.1" | "PID.3.4.2" => *authority = Some(value),
        // Which kind of universal id it is says nothing to the search.
        "PID.3.4.3" => {}
        "PID.5" | "PID.5.1" | "PID.5.1.1" => question.family = begins(),
        "PID.5.2" => question.given = begins(),
        "PID.7" | "PID.7.1" => question.birth = Some(date(&value, &place)?),
        "PID.8" => question.sex = Some(sex(&value, &place)?),
        _ => {
            let what =
                "asks by something that is not searched by; ask by PID.3, PID.5.1, PID.5.2, PID.7, PID.8";
            return Err(MapError::new(Reason::UnknownKey, Some(&place), what));
        }
    }
    Ok(())
}

/// `19800514` (a time of day is nobody's question), `198005`, `1980`.
fn date(text: &str, place: &str) -> Result<When, MapError> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).take(8).collect();
    let written = match digits.len() {
        4 => digits,
        6 => format!("{}-{}", &digits[..4], &digits[4..]),
        8 => format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]),
        _ => String::new(),
    };
    let wrong = |_| {
        MapError::new(
            Reason::DataType,
            Some(place),
            "is no date; write YYYYMMDD, YYYYMM or YYYY",
        )
    };
    written.parse().map_err(wrong)
}

fn sex(text: &str, place: &str) -> Result<Sex, MapError> {
    match text {
        "F" => Ok(Sex::Female),
        "M" => Ok(Sex::Male),
        "O" => Ok(Sex::Other),
        "U" => Ok(Sex::Unknown),
        _ => Err(MapError::new(
            Reason::UnknownCode,
            Some(place),
            "is no sex; write F, M, O or U",
        )),
    }
}

/// RCP-2: how many records at most.
fn limit(message: &Message) -> Result<Option<usize>, MapError> {
    let Some(rcp) = message.first("RCP") else {
        return Ok(None);
    };
    let Some(text) = rcp.field(2).component(1).present() else {
        return Ok(None);
    };
    match text.trim().parse::<usize>() {
        Ok(limit) if 0 < limit => Ok(Some(limit)),
        Ok(_) | Err(_) => {
            let what = "is no number of records; write a whole number, or leave it out";
            Err(MapError::new(Reason::DataType, Some("RCP-2"), what))
        }
    }
}

/// The answer: those who were found, in their order, or why it can't be given.
pub fn answer(
    bytes: &[u8],
    found: Result<&[Record], &MapError>,
    profile: &Profile,
    stamp: &Stamp,
) -> Vec<u8> {
    let Some(message) = lenient(bytes) else {
        return vec![];
    };
    let text = |segment: &str, field: usize| {
        let segment = message.first(segment);
        segment
            .map(|segment| segment.field(field).text().trim().to_owned())
            .unwrap_or_default()
    };
    let qpd = message.first("QPD");
    let limit = asked(&message).map_or(MOST, |question| question.most());
    let domains = qpd.map(|qpd| domains(&qpd)).unwrap_or_default();
    let named = found.map(|all| told(all, &domains, limit));
    let header = Answer {
        sender: [text("MSH", 5), text("MSH", 6)],
        receiver: [text("MSH", 3), text("MSH", 4)],
        control_id: text("MSH", 10),
        processing: text("MSH", 11),
        version: text("MSH", 12),
        query: [0, 1].map(|n| qpd_part(qpd.as_ref(), n + 1)),
        conditions: qpd.map(|qpd| conditions(&qpd)).unwrap_or_default(),
        of_all: found.map_or(0, <[Record]>::len),
    };
    let error = named.as_ref().err().map(|error| {
        let code = error.reason.code();
        (
            code,
            code_text(code).unwrap_or_default(),
            error.reason.is_rejection(),
            error.to_string(),
        )
    });
    let patients = named.as_ref().map(Vec::as_slice).unwrap_or_default();
    answer_segments(&header, patients, error, profile, stamp).into_bytes()
}

fn qpd_part(qpd: Option<&Segment<'_>>, number: usize) -> Vec<String> {
    let Some(qpd) = qpd else { return vec![] };
    let parts = qpd.field(number);
    parts
        .components()
        .take(6)
        .map(|part| part.text().into_owned())
        .collect()
}

fn conditions(qpd: &Segment<'_>) -> Vec<[String; 2]> {
    let all = qpd.field(3);
    let all = all.repetitions().take(MAX_CONDITIONS);
    all.map(|condition| [1, 2].map(|n| condition.component(n).text().into_owned()))
        .collect()
}

/// QPD-8: `^^^NORD~^^^SUD&1.2.3&ISO`.
fn domains(qpd: &Segment<'_>) -> Vec<String> {
    let mut out = vec![];
    for domain in qpd.field(8).repetitions().take(MAX_CONDITIONS) {
        let authority = domain.component(4);
        for part in [1, 2] {
            let text = authority.subcomponent(part).text().trim().to_owned();
            if !text.is_empty() {
                out.push(text);
            }
        }
    }
    out
}

/// Those who are named: where authorities are asked for, with the numbers of those alone, and only who has one.
fn told(found: &[Record], domains: &[String], limit: usize) -> Vec<Record> {
    let mut out = vec![];
    for record in found {
        let mut record = record.clone();
        if let Aggregate::Patient(patient) = &mut record.aggregate
            && !domains.is_empty()
        {
            let asked = |id: &clinic::value::Identifier| {
                let of = |domain: &String| {
                    clinic::ask::is_of(id, domain) || clinic::ask::is_of(id, &format!("urn:oid:{domain}"))
                };
                domains.iter().any(of)
            };
            patient.identifiers.retain(asked);
            if patient.identifiers.is_empty() {
                continue;
            }
        }
        out.push(record);
        if out.len() == limit {
            break;
        }
    }
    out
}

/// What a far side answered to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What was asked for, or the one who was.
    Found,
    /// Nothing of it (QAK-2 `NF`).
    Nothing,
    /// So many people.
    Several(usize),
    /// The query was refused, though it was received: QAK-2 says so.
    Refused(String),
    /// It is no answer to this query: why.
    Another(&'static str),
}

/// True for word that a message has come (MSA-1 `CA`), which its answer follows (HL7 v2.5.1 §2.9.3).
pub fn is_receipt(candidate: &[u8]) -> bool {
    lenient(candidate).is_some_and(|message| {
        let msa = message.first("MSA");
        msa.is_some_and(|msa| msa.field(1).text().trim().eq_ignore_ascii_case("CA"))
    })
}

/// What an accepted answer says to a query (HL7 v2.5.1 §5.5.2, QAK). That it belongs to it by MSA-2 has been seen.
pub fn heard(question: &[u8], answer: &[u8]) -> Told {
    let (Some(question), Some(answer)) = (lenient(question), lenient(answer)) else {
        return Told::Another("it is no HL7 message");
    };
    if answer.msh().field(9).component(1).text().trim() == "ACK" {
        return Told::Another("it is an acknowledgement without an answer");
    }
    let text = |message: &Message, segment: &str, field: usize| {
        let segment = message.first(segment);
        segment.map_or(String::new(), |segment| {
            segment.field(field).text().trim().to_owned()
        })
    };
    let tags = [text(&question, "QPD", 2), text(&answer, "QAK", 1)];
    if let [asked, answered] = &tags
        && !asked.is_empty()
        && !answered.is_empty()
        && asked != answered
    {
        return Told::Another("QAK-1 names another query than QPD-2");
    }
    match text(&answer, "QAK", 2).to_ascii_uppercase().as_str() {
        "NF" => Told::Nothing,
        code @ ("AE" | "AR") => Told::Refused(format!("QAK-2 {code}")),
        // The answer to a question for people has a PID for each; one to another question may have none.
        _ => match answer.named("PID").take(MOST_PEOPLE).count() {
            0 | 1 => Told::Found,
            several => Told::Several(several),
        },
    }
}

#[cfg(test)]
mod tests {
    use clinic::people::Patient;
    use clinic::value::Identifier;
    use proptest::prelude::*;

    use super::*;

    fn asks(conditions: &str) -> Result<PatientQuestion, MapError> {
        let text = format!(
            "MSH|^~\\&|LIS|LAB|P|C|20260505||QBP^Q22|1|P|2.5.1\rQPD|Q22|T|{conditions}\rRCP|I|5^RD\r"
        );
        question(text.as_bytes()).expect("a question")
    }

    #[test]
    fn conditions_are_read() {
        let asked = asks("@PID.3.1^7~@PID.3.4^NORD~@PID.5.1.1^pop*~@PID.5.2^ana~@PID.7^198005~@PID.8^F")
            .expect("right");
        assert_eq!(asked.number, Some(("7".to_owned(), Some("NORD".to_owned()))));
        assert_eq!(
            (asked.family.as_deref(), asked.given.as_deref()),
            (Some("pop"), Some("ana"))
        );
        assert_eq!(asked.birth.as_ref().map(When::as_str), Some("1980-05"));
        assert_eq!((asked.sex, asked.limit), (Some(Sex::Female), Some(5)));
    }

    #[test]
    fn what_can_not_be_asked_says_why() {
        for (conditions, why) in [
            ("", "QPD-3: A number"),
            ("@PID.7^1980", "QPD-3: A number"),
            ("@PID.5.1^***", "QPD-3: A number"),
            ("@PID.3.4^NORD~@PID.5.1^pop", "QPD-3: an authority"),
            ("@PID.5.1^pop~@PID.7^19801301", "QPD-3[2]: is no date"),
            ("@PID.5.1^pop~@PID.8^X", "QPD-3[2]: is no sex"),
            ("@PID.13^0740", "QPD-3: asks by something"),
        ] {
            let error = asks(conditions)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.starts_with(why), "{conditions}: {error}");
        }
        assert!(question(b"MSH|^~\\&|A|B|C|D|||ADT^A01|1\r").is_none());
    }

    #[test]
    fn what_was_told_is_read() {
        let asked = b"MSH|^~\\&|P|C|LIS|LAB|20260505||QBP^Q22|1|P|2.5.1\rQPD|Q22|T|@PID.3.1^7\rRCP|I\r";
        let answer = |rest: &str| {
            let text = format!("MSH|^~\\&|LIS|LAB|P|C|20260505||RSP^K22|9|P|2.5.1\r{rest}");
            heard(asked, text.as_bytes())
        };
        let one = "MSA|AA|1\rQAK|T|OK\rQPD|Q22|T\rPID|1||7\r";
        assert_eq!(answer(one), Told::Found);
        assert_eq!(answer(&format!("{one}PID|2||8\r")), Told::Several(2));
        assert_eq!(answer("MSA|AA|1\rQAK|T|NF\r"), Told::Nothing);
        assert_eq!(
            answer("MSA|AA|1\rQAK|T|AE\r"),
            Told::Refused("QAK-2 AE".to_owned())
        );
        assert!(matches!(
            answer("MSA|AA|1\rQAK|U|OK\rPID|1||7\r"),
            Told::Another(_)
        ));
        let ack = b"MSH|^~\\&|LIS|LAB|P|C|20260505||ACK|9|P|2.5.1\rMSA|AA|1\r";
        assert!(matches!(heard(asked, ack), Told::Another(_)));
        assert!(is_receipt(
            &String::from_utf8_lossy(ack).replace("AA", "CA").into_bytes()
        ));
        assert!(!is_receipt(ack));
    }

    /// The numbers of other authorities are nobody's business.
    #[test]
    fn only_the_numbers_that_are_asked_for_are_told() {
        let patient = Patient {
            identifiers: vec![
                Identifier::new(Some("NORD"), "7"),
                Identifier::new(Some("SUD"), "8"),
            ],
            ..Patient::default()
        };
        let meta = clinic::aggregate::Meta {
            id: uuid::Uuid::from_u128(1),
            site: None,
            version: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            source: clinic::aggregate::Source::Actor {
                name: "test".to_owned(),
                message: None,
            },
            held: Default::default(),
        };
        let record = Record {
            meta,
            aggregate: Aggregate::from(patient),
        };
        let stamp = Stamp {
            now: jiff::Timestamp::UNIX_EPOCH,
            id: uuid::Uuid::from_u128(2),
        };
        let ask = |domain: &str| {
            let text = format!(
                "MSH|^~\\&|LIS|LAB|P|C|20260505||QBP^Q22|1|P|2.5.1\rQPD|Q22|T|@PID.3.1^7|||||{domain}\r"
            );
            let found = [record.clone()];
            let answer = answer(text.as_bytes(), Ok(&found), &Profile::default(), &stamp);
            String::from_utf8(answer).expect("text")
        };
        let told = ask("^^^SUD");
        assert!(
            told.contains("PID|1||8^^^SUD") && !told.contains("7^^^NORD"),
            "{told}"
        );
        assert!(
            ask("^^^ELSE").contains("QAK|T|NF|Q22|1|0|1"),
            "{}",
            ask("^^^ELSE")
        );
    }

    proptest! {
        /// Whatever comes, it is a question or none, and has an answer.
        #[test]
        fn any_bytes_are_answered_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let stamp = Stamp { now: jiff::Timestamp::UNIX_EPOCH, id: uuid::Uuid::nil() };
            let mut asked = b"MSH|^~\\&|A|B|C|D|||QBP^Q22|1|P|2.5\rQPD|Q22|T|".to_vec();
            asked.extend_from_slice(text.as_bytes());
            asked.push(b'\r');
            asked.extend_from_slice(&bytes);
            for bytes in [&bytes, &asked] {
                let _ = question(bytes);
                let _ = answer(bytes, Ok(&[]), &Profile::default(), &stamp);
            }
            prop_assert!(question(&asked).is_some());
            let answer = answer(&asked, Ok(&[]), &Profile::default(), &stamp);
            prop_assert!(answer.starts_with(b"MSH|"));
        }
    }
}
