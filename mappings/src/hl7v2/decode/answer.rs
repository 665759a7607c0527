//! What an answer says about the clinic, with what it answers (HL7 v2.5.1, 2.9.2 and 2.9.3).
//!
//! An acknowledgement names no order: it speaks of those of the message whose MSH-10 stands in its MSA-2. So its change
//! set names the orders of that message by their numbers and says nothing of them; a script says what the answer means
//! here. What else was sent is not said again: it may be out of date by now.

use clinic::change_set::{Find, Missing};
use clinic::diagnostics::OrderChange;
use clinic::exchange::{MapError, Reason};
use clinic::people::PatientChange;
use clinic::records::MedicationOrderChange;
use clinic::{Body, Change, ChangeSet};

use super::collect::{Collected, Ledger};
use super::{Message, Profile, about, decode_message};
use crate::hl7v2::is_answer_to;

/// Reads an answer into a change set about what it answers. An answer that is more than an acknowledgement (a result)
/// speaks for itself.
pub fn decode_answer(sent: &[u8], answer: &[u8], profile: &Profile) -> Result<ChangeSet, MapError> {
    let message = Message::read_with(answer, &profile.reading)?;
    if !acknowledges(&message) {
        return decode_message(&message, profile);
    }
    if !is_answer_to(sent, answer) {
        let what = "it names another message than the one that was sent";
        return Err(MapError::new(Reason::UnknownKey, Some("MSA-2"), what));
    }
    let ledger = Ledger::new(&message, profile);
    let mut out = Collected::new(&ledger);
    if let Some(msh) = out.segments().first() {
        about::about_from_msh(&mut out, *msh);
    }
    let mut set = out.finish()?;
    let question = decode_message(&Message::read_with(sent, &profile.reading)?, profile)?;
    set.changes = question.changes.into_iter().filter_map(named).collect();
    Ok(set)
}

/// What answers and says nothing of the clinic itself (table 0076): an acknowledgement, and the replies to orders, which
/// have the orders' segments only where the far side wants to show them.
fn acknowledges(message: &Message) -> bool {
    let kind = message.msh().field(9);
    matches!(
        kind.component(1).text().trim(),
        "ACK" | "MCF" | "ORR" | "ORL" | "ORG" | "ORI"
    )
}

/// An order or a patient by its numbers alone, where it is there.
fn named(change: Change) -> Option<Change> {
    let identifiers = change.say.identifiers().to_vec();
    let say: Body = if let Body::Order(say) = change.say {
        OrderChange {
            patient: say.patient,
            ..OrderChange::default()
        }
        .into()
    } else if let Body::MedicationOrder(say) = change.say {
        MedicationOrderChange {
            patient: say.patient,
            ..MedicationOrderChange::default()
        }
        .into()
    } else if let Body::Patient(_) = change.say {
        PatientChange::default().into()
    } else {
        return None;
    };
    let mut find = Find {
        missing: Missing::Skip,
        ..change.find
    };
    if find.identifiers.is_empty() && find.natural.is_none() && find.id.is_none() {
        find.identifiers = identifiers;
    }
    Some(Change {
        find,
        ..Change::new(change.key, say)
    })
}

#[cfg(test)]
mod tests {
    use clinic::Kind;

    use super::*;

    const ORDER: &str = "MSH|^~\\&|EMR|C|LIS|LAB|20260105||OML^O21^OML_O21|Q1|P|2.5.1|||AL|AL\rPID|1||P-1^^^C^MR||Pop^Ana\r\
        ORC|NW|A-1^EMR\rOBR|1|A-1^EMR||K^Potassium^L\r";

    fn read(answer: &str) -> Result<ChangeSet, MapError> {
        decode_answer(ORDER.as_bytes(), answer.as_bytes(), &Profile::default())
    }

    #[test]
    fn an_acknowledgement_names_the_orders_of_what_it_answers_and_says_nothing_of_them() {
        let set = read("MSH|^~\\&|LIS|LAB|EMR|C|2026||ACK^O21^ACK|9|P|2.5.1\rMSA|AA|Q1\r").unwrap();
        assert_eq!(set.about.control_id.as_deref(), Some("9"));
        let kinds: Vec<Kind> = set.changes.iter().map(Change::kind).collect();
        assert_eq!(kinds, [Kind::Patient, Kind::Order]);
        for change in &set.changes {
            assert_eq!(change.find.missing, Missing::Skip);
            assert!(!change.find.identifiers.is_empty());
            assert!(change.say.fields().iter().all(|field| *field == "patient"));
        }
        let order = &set.changes[1].find.identifiers;
        assert_eq!(order[0].value, "A-1");
    }

    #[test]
    fn another_messages_answer_is_refused() {
        let error = read("MSH|^~\\&|LIS|LAB|EMR|C|2026||ACK|9|P|2.5.1\rMSA|AA|Q2\r").unwrap_err();
        assert_eq!(error.place.unwrap().0, "MSA-2");
    }
}
