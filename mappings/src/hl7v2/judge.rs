//! What comes back for what we sent (HL7 v2.5.1 §2.9): believed only where it is matched to its question.

use clinic::exchange::{Judgement, Response};

use super::ack::code_text;
use super::index::{Message, Tree};
use super::keys::{head, lenient};
use super::path::Path;

/// True if a message answers another: its MSA-2 is the other's MSH-10.
pub fn is_answer_to(sent: &[u8], candidate: &[u8]) -> bool {
    let Some(candidate) = lenient(candidate) else {
        return false;
    };
    let Some(msa) = candidate.first("MSA") else {
        return false;
    };
    lenient(head(sent)).is_some_and(|sent| is_same(&sent.msh().field(10).text(), &msa.field(2).text()))
}

/// Control ids are the same but for blanks around them, and for control characters, which receivers leave out.
fn is_same(ours: &str, theirs: &str) -> bool {
    let seen = |id: &str| id.chars().filter(|c| !c.is_control()).collect::<String>();
    ours.trim() == theirs.trim() || seen(ours).trim() == seen(theirs).trim()
}

/// What an answer means for what we sent. It is believed only if it is HL7 and names our control id.
///
/// AA and CA: taken, unless the status of the transport says otherwise. CA where we asked for an application acknowledgement that comes in any case or on success
/// (our MSH-16 is AL or SU): pending, the reference is our control id; with ER no news is good news. AE, AR, CE,
/// CR: refused, unless the error code is 206 or 207: then it is to be sent again. What is no HL7 is judged by the
/// status of its transport where that has one; else it may have been taken.
pub fn judge(sent: &[u8], answer: &Response) -> Judgement {
    let Some(reply) = lenient(&answer.body) else {
        return by_status(answer);
    };
    let Some(msa) = reply.first("MSA") else {
        return unsure("the answer is an HL7 message without MSA, so it answers nothing");
    };
    let Some(ours) = lenient(head(sent)) else {
        return unsure("what was sent has no MSH, so that no answer can be matched to it");
    };
    let control_id = ours.msh().field(10).text().trim().to_owned();
    if !is_same(&control_id, &msa.field(2).text()) {
        return unsure("MSA-2 names another message than the one that was sent");
    }
    let code = msa.field(1).text().trim().to_ascii_uppercase();
    // A transport that says that it did not work, and an answer that says that it did: one of them is wrong.
    if let Some(status) = answer.status.filter(|status| !(200..300).contains(status))
        && matches!(code.as_str(), "AA" | "CA")
    {
        return unsure(&format!("status {status}, and the answer says {code}"));
    }
    match code.as_str() {
        "AA" => Judgement::Accepted,
        "CA" => match ours.msh().field(16).text().trim() {
            "AL" | "SU" => Judgement::Pending {
                reference: control_id,
            },
            _ => Judgement::Accepted,
        },
        "AE" | "AR" | "CE" | "CR" => {
            let errors = errors(&reply);
            let mut why = code.clone();
            for (index, (code, place)) in errors.iter().take(5).enumerate() {
                why.push_str(if index == 0 { ": " } else { ", " });
                why.push_str(code);
                if let Some(text) = code.parse().ok().and_then(code_text) {
                    why.push(' ');
                    why.push_str(text);
                }
                if let Some(place) = place {
                    why.push_str(" at ");
                    why.push_str(place);
                }
            }
            if errors.iter().any(|(code, _)| code == "206" || code == "207") {
                Judgement::Retry { why }
            } else {
                Judgement::Refused { why }
            }
        }
        _ => unsure("MSA-1 is no acknowledgement code of table 0008"),
    }
}

fn unsure(why: &str) -> Judgement {
    Judgement::Unsure { why: why.to_owned() }
}

/// What is no HL7: a page, a proxy's error, nothing. Only the transport's status can say that nothing was taken.
fn by_status(answer: &Response) -> Judgement {
    let what = match answer.body.trim_ascii() {
        [] => "the answer is empty",
        [b'<', ..] => "the answer is a page or an XML document, not HL7",
        _ => "the answer is no HL7 message",
    };
    match answer.status {
        Some(status @ (408 | 425 | 429 | 503)) => Judgement::Retry {
            why: format!("status {status}, and {what}"),
        },
        Some(status @ 400..=499) => Judgement::Refused {
            why: format!("status {status}, and {what}"),
        },
        Some(status) => Judgement::Unsure {
            why: format!("status {status}, and {what}"),
        },
        None => unsure(what),
    }
}

/// The error codes of an answer, each with its place: ERR-3 and ERR-2 from 2.5 on, before that ERR-1 and MSA-6.
/// Only codes are taken, since texts of others may hold anything.
fn errors(reply: &Message) -> Vec<(String, Option<String>)> {
    let mut out = Vec::new();
    for error in reply.named("ERR").take(20) {
        let place = error.field(2).component(1);
        if let Some(code) = plain_code(&error.field(3).component(1).text()) {
            let part = |number: usize| error.field(2).component(number).text().trim().to_owned();
            out.push((
                code,
                place
                    .present()
                    .and_then(|_| place_of(&[1, 2, 3, 4, 5, 6].map(part))),
            ));
            continue;
        }
        for repetition in error.field(1).repetitions().take(20) {
            let code = repetition.component(4);
            // Some write the code alone into ERR-1.
            let alone = repetition.component(1).text();
            let alone = alone.trim().parse::<u16>().is_ok().then_some(alone);
            let text = if code.is_empty() {
                alone.unwrap_or_default()
            } else {
                code.subcomponent(1).text()
            };
            if let Some(code) = plain_code(&text) {
                let part = |number: usize| match number {
                    1..=3 => repetition.component(number).text().trim().to_owned(),
                    _ => String::new(),
                };
                out.push((code, place_of(&[1, 2, 3, 4, 5, 6].map(part))));
            }
        }
    }
    if out.is_empty()
        && let Some(code) = reply
            .first("MSA")
            .and_then(|msa| plain_code(&msa.field(6).component(1).text()))
    {
        out.push((code, None));
    }
    out
}

/// A code is a few letters and digits; anything else could be a person's value.
fn plain_code(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
}

/// An ERL as a path; nothing where it can't be one.
fn place_of(parts: &[String; 6]) -> Option<String> {
    let number = |index: usize| parts[index].parse::<u32>().ok().filter(|&number| number > 0);
    let path = Path {
        segment: parts[0].clone(),
        occurrence: number(1).filter(|&number| number > 1),
        field: number(2),
        repetition: number(3).filter(|&number| number > 1),
        component: number(4),
        subcomponent: number(5),
    };
    // Reading it back proves that it is nothing but a path.
    path.to_string().parse::<Path>().ok().map(|path| path.to_string())
}

#[cfg(test)]
mod tests {
    use clinic::exchange::{MapError, Reason, Stamp, Verdict};

    use super::super::replies;
    use super::*;

    fn question(version: &str, accept: &str, application: &str) -> Vec<u8> {
        format!("MSH|^~\\&|LIS|LAB|CLINIC|C|20260505||ORU^R01^ORU_R01|S10|P|{version}|||{accept}|{application}\rPID|1\r")
            .into_bytes()
    }

    fn answered(msa: &str) -> Judgement {
        answered_to(&question("2.5.1", "", ""), msa)
    }

    fn answered_to(sent: &[u8], msa: &str) -> Judgement {
        let body = format!("MSH|^~\\&|CLINIC|C|LIS|LAB|2026||ACK|9|P|2.5.1\r{msa}\r").into_bytes();
        judge(
            sent,
            &Response {
                body,
                ..Response::default()
            },
        )
    }

    #[test]
    fn a_control_character_in_the_control_id_loses_no_answer() {
        let sent = b"MSH|^~\\&|A|B|C|D|20260505||ADT^A04|S\x1b[2J\t1|P|2.5.1\r";
        let stamp = clinic::exchange::Stamp {
            now: jiff::Timestamp::UNIX_EPOCH,
            id: uuid::Uuid::nil(),
        };
        let replies = crate::hl7v2::replies(sent, clinic::exchange::Verdict::Accepted, &stamp);
        let reply = replies.application.expect("an answer");
        assert!(
            String::from_utf8_lossy(&reply).contains("MSA|AA|S\u{1b}[2J\t1"),
            "{reply:?}"
        );
        assert!(is_answer_to(sent, &reply));
        // Another receiver may leave them out.
        assert_eq!(answered_to(sent, "MSA|AA|S[2J1"), Judgement::Accepted);
        assert!(matches!(
            answered_to(sent, "MSA|AA|S[2J2"),
            Judgement::Unsure { .. }
        ));
    }

    #[test]
    fn an_answer_is_believed_only_if_it_is_ours() {
        assert_eq!(answered("MSA|AA|S10"), Judgement::Accepted);
        assert_eq!(answered("MSA|CA|S10"), Judgement::Accepted);
        let both = question("2.5.1", "AL", "AL");
        assert_eq!(
            answered_to(&both, "MSA|CA|S10"),
            Judgement::Pending {
                reference: "S10".to_owned()
            }
        );
        assert_eq!(answered_to(&both, "MSA|AA|S10"), Judgement::Accepted);
        assert_eq!(
            answered_to(&question("2.5.1", "AL", "ER"), "MSA|CA|S10"),
            Judgement::Accepted
        );
        for msa in [
            "MSA|AA|S11",
            "MSA|AA",
            "MSA|XX|S10",
            "MSA||S10",
            "ZZZ|1",
            "MSA|AE|S11\rERR|||207",
        ] {
            assert!(matches!(answered(msa), Judgement::Unsure { .. }), "{msa}");
        }
        for body in ["", "<html><body>200 OK</body></html>", "OK", "\u{1}\u{2}"] {
            let response = Response {
                body: body.as_bytes().to_vec(),
                ..Response::default()
            };
            assert!(
                matches!(
                    judge(&question("2.5.1", "", ""), &response),
                    Judgement::Unsure { .. }
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn refusals_are_told_by_code_and_place_and_never_by_text() {
        let refused = |msa, why: &str| assert_eq!(answered(msa), Judgement::Refused { why: why.to_owned() });
        refused("MSA|AE|S10|Popescu is dead", "AE");
        refused(
            "MSA|AE|S10\rERR||OBX^2^5^1^1|102^Data type error^HL70357|E|||Valoarea 'abc'",
            "AE: 102 Data type error at OBX[2]-5.1",
        );
        refused("MSA|AR|S10\rERR|||200", "AR: 200 Unsupported message type");
        refused(
            "MSA|CE|S10\rERR|PID^1^5^103&x&y",
            "CE: 103 Table value not found at PID-5",
        );
        refused("MSA|AE|S10\rERR|||Popescu Ion", "AE");
        refused("MSA|AE|S10||||101", "AE: 101 Required field missing");
        for msa in [
            "MSA|AE|S10\rERR|||207^Internal",
            "MSA|AR|S10\rERR|||206",
            "MSA|CE|S10\rERR|PID^1^5^207&x&y",
            "MSA|AE|S10||||207^x",
        ] {
            assert!(matches!(answered(msa), Judgement::Retry { .. }), "{msa}");
        }
    }

    #[test]
    fn the_status_of_the_transport_counts_where_there_is_no_hl7() {
        let judged = |status, body: &[u8]| {
            judge(
                &question("2.5.1", "", ""),
                &Response {
                    status: Some(status),
                    body: body.to_vec(),
                    ..Response::default()
                },
            )
        };
        assert!(matches!(judged(503, b"<html>"), Judgement::Retry { .. }));
        assert!(matches!(judged(404, b""), Judgement::Refused { .. }));
        assert!(matches!(judged(500, b""), Judgement::Unsure { .. }));
        assert!(matches!(judged(200, b"<html>"), Judgement::Unsure { .. }));
        let fault = b"MSH|^~\\&|||||||ACK|9\rMSA|AE|S10\rERR|||101\r";
        assert!(matches!(judged(500, fault), Judgement::Refused { .. }));
        // Where it says the contrary of the answer, nobody knows.
        let taken = b"MSH|^~\\&|||||||ACK|9\rMSA|AA|S10\r";
        assert_eq!(judged(200, taken), Judgement::Accepted);
        for status in [302, 404, 500] {
            assert!(
                matches!(judged(status, taken), Judgement::Unsure { .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn our_own_answers_are_judged_as_they_were_meant() {
        let error = MapError::new(Reason::Internal, Some("MSH"), "not just now.");
        let stamp = || Stamp {
            now: jiff::Timestamp::UNIX_EPOCH,
            id: uuid::Uuid::nil(),
        };
        for version in ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5.1", "2.8.2", "", "x"] {
            let sent = question(version, "", "");
            let body = replies(&sent, Verdict::Accepted, &stamp()).application.unwrap();
            assert_eq!(
                judge(
                    &sent,
                    &Response {
                        body,
                        ..Response::default()
                    }
                ),
                Judgement::Accepted
            );
            let body = replies(&sent, Verdict::Refused(&error), &stamp())
                .application
                .unwrap();
            assert!(matches!(
                judge(
                    &sent,
                    &Response {
                        body,
                        ..Response::default()
                    }
                ),
                Judgement::Retry { .. }
            ));
        }
    }
}
