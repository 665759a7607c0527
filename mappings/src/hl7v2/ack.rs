//! The answers to what comes in (HL7 v2.5.1 §2.9, segments MSA and ERR §2.15).
//!
//! Original mode, where MSH-15 and MSH-16 are empty: one application acknowledgement, AA, AE or AR. Enhanced mode,
//! where either is valued: an accept acknowledgement by MSH-15 (CA, CE, CR), an application acknowledgement by
//! MSH-16, each for itself; the empty one of the two counts as NE. Of what is refused CE and AE say that the
//! content is, CR and AR that the type, event, version or processing id is.

use clinic::exchange::{MapError, Stamp, Verdict, control_id};

use super::batch;
use super::escape::escape;
use super::index::{Message, Tree};
use super::keys::{head, lenient};
use super::normalise::{Delimiters, Dialect};
use super::path::Path;

/// Longer values of the question are cut in its answer, and then can't be matched: nobody's MSH-10 is that long.
const MAX_ECHO: usize = 2_000;

/// What goes back to the sender of a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Replies {
    /// The accept acknowledgement of enhanced mode.
    pub accept: Option<Vec<u8>>,
    /// The application acknowledgement; it follows the accept acknowledgement.
    pub application: Option<Vec<u8>>,
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = |reply: &Option<Vec<u8>>| reply.as_ref().map(Vec::len);
        write!(
            f,
            "Replies(accept {:?}, application {:?} bytes)",
            bytes(&self.accept),
            bytes(&self.application)
        )
    }
}

/// The answers to a message, as it asks for them. None where it asks for none, where it is an answer itself and
/// its MSH-15 asks for nothing, and where it is no HL7 at all. A truncated one is answered with what is there. A file or
/// batch has one answer as a whole, in original mode: MSA-2 is its own control id (FHS-11, BHS-11).
pub fn replies(to: &[u8], verdict: Verdict<'_>, stamp: &Stamp) -> Replies {
    let Some(question) = lenient(head(to)).or_else(|| batch::question(to)) else {
        return Replies::default();
    };
    let msh = question.msh();
    let (accept, application) = (msh.field(15).text(), msh.field(16).text());
    let (accept, application) = (accept.trim(), application.trim());
    let refused = matches!(verdict, Verdict::Refused(_));
    let is_answer = question.first("MSA").is_some() || msh.field(9).component(1).text().trim() == "ACK";
    let id = control_id(stamp.id);
    if accept.is_empty() && application.is_empty() {
        let reply = (!is_answer).then(|| write(&question, &verdict, Kind::Original, &id, stamp));
        return Replies {
            accept: None,
            application: reply,
        };
    }
    // One more answer needs one more id: the same but for its last letter, which no other id has.
    let second_id = format!("{}U", id.get(..19).unwrap_or(&id));
    Replies {
        accept: wanted(accept, refused).then(|| write(&question, &verdict, Kind::Accept, &id, stamp)),
        application: (!is_answer && wanted(application, refused))
            .then(|| write(&question, &verdict, Kind::Application, &second_id, stamp)),
    }
}

/// HL7 table 0155. A word that is not in it is answered: better one answer too many than a sender that waits.
fn wanted(condition: &str, refused: bool) -> bool {
    match condition {
        "" | "NE" | "\"\"" => false,
        "ER" => refused,
        "SU" => !refused,
        _ => true,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Original,
    Accept,
    Application,
}

/// HL7 table 0008.
fn code(verdict: &Verdict<'_>, kind: Kind) -> &'static str {
    let accept = kind == Kind::Accept;
    match verdict {
        Verdict::Accepted if accept => "CA",
        Verdict::Accepted => "AA",
        Verdict::Refused(error) => match (accept, error.reason.is_rejection()) {
            (true, true) => "CR",
            (true, false) => "CE",
            (false, true) => "AR",
            (false, false) => "AE",
        },
    }
}

fn write(question: &Message, verdict: &Verdict<'_>, kind: Kind, id: &str, stamp: &Stamp) -> Vec<u8> {
    let version = Version::of(question);
    let writer = Writer::of(question);
    let echo = |number: usize| writer.echo(question.msh().field(number).raw().unwrap_or(""));
    let separator = char::from(writer.dialect.delimiters.field);
    let mut out = format!("MSH{separator}{}", writer.msh2);
    let now = writer.text(&stamp.now.strftime("%Y%m%d%H%M%S+0000").to_string());
    // A reply says itself what it wants for an answer: nothing, where the mode lets one say that.
    let nothing = if kind == Kind::Original { "" } else { "NE" };
    let processing = echo(11);
    let msh12 = echo(12);
    let fields = [
        echo(5),
        echo(6),
        echo(3),
        echo(4),
        now,
        String::new(),
        writer.message_type(question, version),
        id.to_owned(),
        if processing.is_empty() {
            "P".to_owned()
        } else {
            processing
        },
        if msh12.is_empty() {
            "2.5.1".to_owned()
        } else {
            msh12
        },
        String::new(),
        String::new(),
        nothing.to_owned(),
        nothing.to_owned(),
        String::new(),
        echo(18),
    ];
    writer.segment(&mut out, &fields);
    out.push_str("MSA");
    let mut fields = vec![code(verdict, kind).to_owned(), echo(10)];
    if let Verdict::Refused(error) = verdict {
        // The text of MSA-3 went in version 2.7; ERR-8 says the same from 2.5 on.
        if version < Version(2, 7) {
            fields.push(writer.text(&error.to_string()));
        }
    }
    writer.segment(&mut out, &fields);
    if let Verdict::Refused(error) = verdict {
        out.push_str("ERR");
        writer.segment(&mut out, &writer.error(error, version));
    }
    writer.bytes(&out)
}

/// Major and minor number of MSH-12.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    /// What says no version is read as 2.5.
    fn of(message: &Message) -> Version {
        let text = message.msh().field(12).component(1).text();
        let mut numbers = text.trim().split('.').map_while(|number| number.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), minor) => Version(major, minor.unwrap_or(0)),
            _ => Version(2, 5),
        }
    }

    /// MSH-9.3 exists from 2.3.1 on.
    fn has_structure(self, message: &Message) -> bool {
        let text = message.msh().field(12).component(1).text();
        self > Version(2, 3) || self == Version(2, 3) && text.trim().starts_with("2.3.")
    }
}

/// Writes in the delimiters and the charset of the question.
struct Writer {
    dialect: Dialect,
    msh2: String,
    component: char,
    subcomponent: char,
}

impl Writer {
    fn of(question: &Message) -> Writer {
        let mut dialect = question.dialect();
        let raw = question.msh().field(2).raw().unwrap_or("");
        // An answer needs components. Where the question declares no usable ones, the usual ones are declared.
        let usable = dialect.delimiters.component.is_some() && raw.len() <= 5 && raw.is_ascii();
        let msh2 = if usable && !raw.is_empty() && !raw.bytes().any(|byte| byte < 0x20) {
            raw.to_owned()
        } else {
            dialect.delimiters = Delimiters {
                field: dialect.delimiters.field,
                ..Delimiters::USUAL
            };
            if b"^~\\&".contains(&dialect.delimiters.field) {
                dialect.delimiters.field = b'|';
            }
            "^~\\&".to_owned()
        };
        let component = char::from(dialect.delimiters.component.unwrap_or(b'^'));
        let subcomponent = dialect.delimiters.subcomponent.map_or(' ', char::from);
        Writer {
            dialect,
            msh2,
            component,
            subcomponent,
        }
    }

    fn segment(&self, out: &mut String, fields: &[String]) {
        let used = fields
            .iter()
            .rposition(|field| !field.is_empty())
            .map_or(0, |last| last + 1);
        for field in &fields[..used] {
            out.push(char::from(self.dialect.delimiters.field));
            out.push_str(field);
        }
        out.push('\r');
    }

    /// A field of the question as it stood there: its sender looks for it. What would cut the answer or its frame
    /// goes.
    fn echo(&self, raw: &str) -> String {
        let separator = char::from(self.dialect.delimiters.field);
        raw.chars()
            .filter(|&c| !matches!(c, '\0' | '\n' | '\r' | '\u{b}' | '\u{1c}') && c != separator)
            .take(MAX_ECHO)
            .collect()
    }

    /// A text of ours. Without an escape character its delimiters become blanks.
    fn text(&self, text: &str) -> String {
        match escape(text, &self.dialect) {
            Ok(text) => text.into_owned(),
            Err(_) => {
                let delimiters = self.dialect.delimiters;
                let bad = |c: char| {
                    let byte = u8::try_from(c).ok();
                    c < ' '
                        || byte == Some(delimiters.field)
                        || byte.is_some()
                            && [
                                delimiters.component,
                                delimiters.repetition,
                                delimiters.subcomponent,
                            ]
                            .contains(&byte)
                };
                text.chars().map(|c| if bad(c) { ' ' } else { c }).collect()
            }
        }
    }

    fn join(&self, parts: &[&str], separator: char) -> String {
        parts.join(separator.to_string().as_str())
    }

    /// `ACK^A04^ACK`; before 2.3.1 there is no structure, before 2.2 no event in an acknowledgement.
    fn message_type(&self, question: &Message, version: Version) -> String {
        let event = self.echo(question.msh().field(9).component(2).raw().unwrap_or(""));
        let event = event.trim();
        if version < Version(2, 2) || event.is_empty() || event == "\"\"" {
            return "ACK".to_owned();
        }
        match version.has_structure(question) {
            true => self.join(&["ACK", event, "ACK"], self.component),
            false => self.join(&["ACK", event], self.component),
        }
    }

    /// The fields of ERR: from 2.5 on location, code, severity and texts each for themselves, before that all in
    /// ERR-1 (HL7 v2.5.1 §2.15.5).
    fn error(&self, error: &MapError, version: Version) -> Vec<String> {
        let number = error.reason.code().to_string();
        let name = code_text(error.reason.code()).unwrap_or("");
        let location = error
            .place
            .as_ref()
            .and_then(|place| place.0.parse().ok())
            .map(|path: Path| location(&path));
        let location = location.unwrap_or_default();
        let parts: Vec<&str> = location.iter().map(String::as_str).collect();
        if version < Version(2, 5) {
            let mut parts: Vec<&str> = parts.into_iter().take(3).collect();
            parts.resize(3, "");
            let code = self.join(&[&number, name, "HL70357"], self.subcomponent);
            parts.push(&code);
            return vec![self.join(&parts, self.component)];
        }
        let code = self.join(&[&number, name, "HL70357"], self.component);
        vec![
            String::new(),
            self.join(&parts, self.component),
            code,
            "E".to_owned(),
            String::new(),
            String::new(),
            self.text(&error.to_string()),
            self.text(&error.what),
        ]
    }

    /// In the charset of the question. What could not be read in it can't be written in it either and shows as `?`.
    fn bytes(&self, text: &str) -> Vec<u8> {
        let charset = self.dialect.charset;
        charset.encode(text).unwrap_or_else(|_| {
            let fits = |c: char| charset.can_write(c.encode_utf8(&mut [0; 4]));
            let marked: String = text.chars().map(|c| if fits(c) { c } else { '?' }).collect();
            charset.encode(&marked).unwrap_or_default()
        })
    }
}

/// ERR-2, type ERL: segment, occurrence, field, repetition, component, sub-component.
fn location(path: &Path) -> Vec<String> {
    let mut out = vec![path.segment.clone(), path.occurrence.unwrap_or(1).to_string()];
    if let Some(field) = path.field {
        out.push(field.to_string());
        out.push(path.repetition.unwrap_or(1).to_string());
    }
    out.extend(path.component.map(|number| number.to_string()));
    out.extend(path.subcomponent.map(|number| number.to_string()));
    out
}

/// HL7 table 0357.
pub(super) fn code_text(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "Message accepted",
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        207 => "Application internal error",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clinic::exchange::Reason;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            now: "2026-05-05T05:30:00Z".parse().unwrap(),
            id: "0196a0b0-1234-7abc-8def-0123456789ab".parse().unwrap(),
        }
    }

    fn shown(reply: Option<Vec<u8>>) -> String {
        reply.map_or("-".to_owned(), |reply| {
            String::from_utf8(reply).unwrap().replace('\r', "\n")
        })
    }

    fn question(version: &str, accept: &str, application: &str) -> Vec<u8> {
        format!("MSH|^~\\&|LIS|LAB|CLINIC|C|20260505||ORU^R01^ORU_R01|S10|P|{version}|||{accept}|{application}||UNICODE UTF-8\rPID|1\r")
            .into_bytes()
    }

    fn refusal(reason: Reason, place: &str) -> MapError {
        MapError::new(reason, Some(place), "a number stands here & it is none.")
    }

    #[test]
    fn original_mode() {
        let replies = replies(&question("2.5.1", "", ""), Verdict::Accepted, &stamp());
        assert_eq!(shown(replies.accept), "-");
        assert_eq!(
            shown(replies.application),
            "MSH|^~\\&|CLINIC|C|LIS|LAB|20260505053000+0000||ACK^R01^ACK|06BA1C0J6JNW6YY093DB|P|2.5.1||||||UNICODE UTF-8\n\
             MSA|AA|S10\n"
        );
    }

    #[test]
    fn a_refusal_names_place_and_code_in_the_form_of_its_version() {
        let error = refusal(Reason::DataType, "OBX[2]-5.1");
        let reply = |version| {
            shown(replies(&question(version, "", ""), Verdict::Refused(&error), &stamp()).application)
        };
        let new = reply("2.5.1");
        assert!(new.ends_with(
            "MSA|AE|S10|OBX[2]-5.1: a number stands here \\T\\ it is none.\n\
             ERR||OBX^2^5^1^1|102^Data type error^HL70357|E|||OBX[2]-5.1: a number stands here \\T\\ it is none.|a number stands here \\T\\ it is none.\n"
        ), "{new}");
        let newest = reply("2.8");
        assert!(newest.contains("MSA|AE|S10\nERR||OBX^2^5^1^1|"), "{newest}");
        let old = reply("2.3");
        assert!(old.contains("||ACK^R01|") && old.contains("|2.3|"), "{old}");
        assert!(
            old.ends_with("ERR|OBX^2^5^102&Data type error&HL70357\n"),
            "{old}"
        );
        let oldest = reply("2.1");
        assert!(oldest.contains("||ACK|"), "{oldest}");
        let rejected = refusal(Reason::UnsupportedType, "MSH-9");
        let reply =
            shown(replies(&question("2.5.1", "", ""), Verdict::Refused(&rejected), &stamp()).application);
        assert!(
            reply.contains("MSA|AR|S10|") && reply.contains("ERR||MSH^1^9^1|200^"),
            "{reply}"
        );
    }

    #[test]
    fn enhanced_mode_answers_what_is_asked_for() {
        let error = refusal(Reason::DataType, "PID-3");
        let rejection = refusal(Reason::UnsupportedEvent, "MSH-9");
        for (accept, application, accepted, refused, rejected) in [
            ("AL", "NE", "CA -", "CE -", "CR -"),
            ("AL", "AL", "CA AA", "CE AE", "CR AR"),
            ("AL", "", "CA -", "CE -", "CR -"),
            ("NE", "NE", "- -", "- -", "- -"),
            ("NE", "AL", "- AA", "- AE", "- AR"),
            ("", "AL", "- AA", "- AE", "- AR"),
            ("ER", "SU", "- AA", "CE -", "CR -"),
            ("SU", "ER", "CA -", "- AE", "- AR"),
        ] {
            let told = |verdict| {
                let replies = replies(&question("2.5.1", accept, application), verdict, &stamp());
                let code = |reply: Option<Vec<u8>>| {
                    let reply = shown(reply);
                    reply
                        .split("MSA|")
                        .nth(1)
                        .map_or("-".to_owned(), |rest| rest[..2].to_owned())
                };
                format!("{} {}", code(replies.accept), code(replies.application))
            };
            assert_eq!(told(Verdict::Accepted), accepted, "{accept} {application}");
            assert_eq!(told(Verdict::Refused(&error)), refused, "{accept} {application}");
            assert_eq!(
                told(Verdict::Refused(&rejection)),
                rejected,
                "{accept} {application}"
            );
        }
        let both = replies(&question("2.5.1", "AL", "AL"), Verdict::Accepted, &stamp());
        let id = |reply: Option<Vec<u8>>| {
            lenient(&reply.unwrap())
                .unwrap()
                .msh()
                .field(10)
                .text()
                .into_owned()
        };
        // Of the answer to another message of the same millisecond too.
        let next = Stamp {
            id: uuid::Uuid::from_u128(stamp().id.as_u128() + 1),
            ..stamp()
        };
        let next = replies(&question("2.5.1", "AL", "AL"), Verdict::Accepted, &next);
        let ids: std::collections::BTreeSet<String> = [both.accept, both.application, next.accept]
            .into_iter()
            .map(id)
            .collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn answers_are_not_answered_and_rubbish_neither() {
        for (bytes, accept, application) in [
            (&b"MSH|^~\\&|||||||ACK^R01|7|P|2.5\rMSA|AA|1\r"[..], false, false),
            (
                b"MSH|^~\\&|||||||ACK^R01|7|P|2.5|||AL|AL\rMSA|AA|1\r",
                true,
                false,
            ),
            (b"MSH|^~\\&|||||||ACK|7\r", false, false),
            (b"hello", false, false),
            (b"", false, false),
            (b"MSH", false, false),
            (b"PID|1\r", false, false),
            (b"MSH|", false, true),
            (b"MSH|^~\\&|A|B", false, true),
            (b"MSH|^~\\&|\xFF\xFE|B\r\xC3", false, true),
        ] {
            let error = refusal(Reason::RequiredMissing, "MSH-9");
            let replies = replies(bytes, Verdict::Refused(&error), &stamp());
            assert_eq!(
                (replies.accept.is_some(), replies.application.is_some()),
                (accept, application)
            );
        }
    }

    #[test]
    fn a_batch_has_one_answer() {
        let part = "MSH|^~\\&|LIS|LAB|CLINIC|C|20260505||ORU^R01|S1|T|2.4|||NE|NE||8859/2\rPID|1\r";
        let answer = |batch: &str, verdict: Verdict<'_>| {
            let replies = replies(batch.as_bytes(), verdict, &stamp());
            assert_eq!(replies.accept, None);
            shown(replies.application)
        };
        assert_eq!(
            answer(
                &format!("BHS|^~\\&|H|A|P|C|20260505||||B1\r{part}{part}BTS|2\r"),
                Verdict::Accepted
            ),
            "MSH|^~\\&|P|C|H|A|20260505053000+0000||ACK|06BA1C0J6JNW6YY093DB|T|2.4||||||8859/2\nMSA|AA|B1\n"
        );
        let error = MapError::new(
            Reason::Sequence,
            None,
            "line 4: BTS-1: 5 messages declared, 1 found",
        );
        let refused = answer(
            &format!("\u{feff}FHS|^~\\&|H||||||n||F1\rBHS|^~\\&|H\r{part}BTS|5\rFTS|1\r"),
            Verdict::Refused(&error),
        );
        assert!(refused.starts_with("MSH|^~\\&|CLINIC|C|H|LAB|"), "{refused}");
        assert!(
            refused.contains("\nMSA|AE|F1|line 4: BTS-1: 5 messages"),
            "{refused}"
        );
        for (batch, id) in [
            (
                format!("FHS|^~\\&|H\rBHS|^~\\&|H||||||||B2\r{part}BTS\rFTS\r"),
                "B2",
            ),
            (format!("FHS|^~\\&|H\rBHS|^~\\&|H\r{part}BTS\rFTS\r"), "S1"),
            (format!("BHS#$*@%#H########B\r{part}BTS#1\r"), "B"),
            ("BHS|^~\\&|H||||||||B4\rBTS|0\r".to_owned(), "B4"),
        ] {
            let said = answer(&batch, Verdict::Accepted);
            let separator = batch.chars().nth(3).unwrap();
            assert!(
                said.ends_with(&format!("\nMSA{separator}AA{separator}{id}\n")),
                "{said}"
            );
        }
        for batch in [
            "BHS|^~\\&|H||||||||B1|OURS-7\rBTS|0\r",
            "BHS\r",
            "FTS|1\r",
            "BTS|1\r",
        ] {
            assert_eq!(answer(batch, Verdict::Accepted), "-", "{batch}");
        }
    }

    #[test]
    fn delimiters_and_charset_are_those_of_the_question() {
        let odd = b"MSH#@*/+#A#B#C#D#2026##ADT@A04@ADT_A01#S/F/1#P#2.5.1######8859/2\rPID#1##\xBA\r";
        let error = refusal(Reason::DataType, "PID-3[2].1");
        let reply = replies(odd, Verdict::Refused(&error), &stamp())
            .application
            .unwrap();
        let text = String::from_utf8(reply.clone()).unwrap().replace('\r', "\n");
        assert!(
            text.starts_with("MSH#@*/+#C#D#A#B#20260505053000/T/0000##ACK@A04@ACK#"),
            "{text}"
        );
        assert!(text.contains("\nMSA#AE#S/F/1#"), "{text}");
        assert!(
            text.contains("ERR##PID@1@3@2@1#102@Data type error@HL70357#E#"),
            "{text}"
        );
        assert!(super::super::is_answer_to(odd, &reply));
        let short = b"MSH|^~&|A|B|\xBA|D|2026||ADT^A04|1|P|2.5.1||||||8859/2\r";
        let reply = replies(short, Verdict::Refused(&error), &stamp())
            .application
            .unwrap();
        assert!(reply.starts_with(b"MSH|^~&|\xBA|D|A|B|"));
        assert!(Message::read(&reply).is_ok());
    }
}
