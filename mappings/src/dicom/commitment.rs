//! Storage commitment (PS3.4 J.3): what a modality asks to be kept for good (N-ACTION), and the report on it
//! (N-EVENT-REPORT).

use std::collections::HashSet;

use clinic::archive::{Kept, Referenced};
use clinic::exchange::{Judgement, MapError, Reason};
use dicom_core::Tag;

use super::charset::{Fallback, Set};
use super::message::{COMMITMENT, Command, Service, command};
use super::part10::{File, Meta, packing};
use super::scan::Coding;
use super::write::{Out, Said};

/// The one instance of the class (PS3.4 J.3.5).
const INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// The most objects of one request.
const MOST: usize = 50_000;

const TRANSACTION: Tag = Tag(0x0008, 0x1195);
const FAILED: Tag = Tag(0x0008, 0x1198);
const REFERENCED: Tag = Tag(0x0008, 0x1199);
const CLASS: Tag = Tag(0x0008, 0x1150);
const UID: Tag = Tag(0x0008, 0x1155);
const REASON: Tag = Tag(0x0008, 0x1197);
const EVENT: Tag = Tag(0x0000, 0x1002);
const ACTION: Tag = Tag(0x0000, 0x1008);

/// A request.
struct Request {
    transaction: String,
    objects: Vec<Referenced>,
}

/// The objects that a message asks to be kept; none: it asks no such thing.
pub fn requested(bytes: &[u8]) -> Option<Result<Vec<Referenced>, MapError>> {
    let file = File::read(bytes).ok()?;
    let command = command(&file).ok()?;
    (command.service == Service::Commitment).then(|| Ok(read(&file, &command)?.objects))
}

/// Why a request can't be answered; checked before it is taken.
pub(super) fn check(file: &File<'_>, command: &Command) -> Result<(), MapError> {
    read(file, command).map(|_| ())
}

fn read(file: &File<'_>, command: &Command) -> Result<Request, MapError> {
    let action = file.command_set()?.and_then(|set| set.number(ACTION));
    if action != Some(1) {
        let what = "is no action of storage commitment; there is one, 1";
        return Err(MapError::new(Reason::UnsupportedEvent, Some("0000,1008"), what));
    }
    if command.instance != INSTANCE {
        let what = "is not the instance of storage commitment";
        return Err(MapError::new(Reason::UnknownKey, Some("0000,1001"), what));
    }
    let set = file.data_set(Fallback::default())?;
    let missing = |place, what| MapError::missing(place, what);
    let transaction = set.text(TRANSACTION);
    let transaction = transaction.ok_or_else(|| missing("0008,1195", "The UID of the transaction"))?;
    let items = set.items(REFERENCED);
    if items.is_empty() {
        return Err(missing("0008,1199", "A list of objects"));
    }
    if MOST < items.len() {
        let what = format!("names more than {MOST} objects; ask for fewer at once");
        return Err(MapError::new(Reason::DataType, Some("0008,1199"), what));
    }
    let objects = items.iter().map(|item| {
        Ok(Referenced {
            class: item
                .text(CLASS)
                .ok_or_else(|| missing("0008,1150", "The class of an object"))?,
            instance: item
                .text(UID)
                .ok_or_else(|| missing("0008,1155", "The UID of an object"))?,
        })
    });
    Ok(Request {
        transaction,
        objects: objects.collect::<Result<_, MapError>>()?,
    })
}

/// The report on a request, from us to who asked, in the transfer syntax of the request. `kept`: what became of each of its
/// objects, in their order.
pub fn report(request: &[u8], kept: &[Kept]) -> Result<Vec<u8>, MapError> {
    let file = File::read(request)?;
    let asked = read(&file, &command(&file)?)?;
    let (mut good, mut failed) = (vec![], vec![]);
    for (object, kept) in asked.objects.iter().zip(kept) {
        let mut item = Out::default();
        item.text("ReferencedSOPClassUID", &object.class);
        item.text("ReferencedSOPInstanceUID", &object.instance);
        match kept {
            Kept::Here => good.push(item),
            Kept::Missing => {
                item.put("FailureReason", Said::Number(0x0112));
                failed.push(item);
            }
            Kept::OfOtherClass => {
                item.put("FailureReason", Said::Number(0x0119));
                failed.push(item);
            }
        }
    }
    let mut event = Out::default();
    event.text("AffectedSOPClassUID", COMMITMENT);
    event.put("CommandField", Said::Number(0x0100));
    event.put("MessageID", Said::Number(1));
    event.text("AffectedSOPInstanceUID", INSTANCE);
    event.put("EventTypeID", Said::Number(if failed.is_empty() { 1 } else { 2 }));
    let mut set = Out::default();
    set.text("TransactionUID", &asked.transaction);
    // A sequence of no items is none.
    for (keyword, items) in [("ReferencedSOPSequence", good), ("FailedSOPSequence", failed)] {
        if !items.is_empty() {
            set.put(keyword, Said::Items(items));
        }
    }
    let meta = Meta {
        class: COMMITMENT.to_owned(),
        instance: INSTANCE.to_owned(),
        syntax: file.meta.syntax.clone(),
        calling: file.meta.called.clone(),
        called: file.meta.calling.clone(),
        command: Some(event.written(Coding::IMPLICIT, Set::Ascii)),
        ..Meta::default()
    };
    let data = set.written(packing(&file.meta.syntax).coding, Set::Ascii);
    Ok([meta.written(), data].concat())
}

/// The transaction that a message asks for or reports on; none: it is neither.
fn transaction(bytes: &[u8], service: Service) -> Option<String> {
    let file = File::read(bytes).ok()?;
    (command(&file).ok()?.service == service).then_some(())?;
    file.data_set(Fallback::default()).ok()?.text(TRANSACTION)
}

/// A message is a report.
pub fn is_report(bytes: &[u8]) -> bool {
    let service = File::read(bytes).and_then(|file| command(&file));
    service.is_ok_and(|command| command.service == Service::CommitmentReport)
}

/// Whether a report is on this request.
pub fn is_on(report: &[u8], request: &[u8]) -> bool {
    let of = transaction(report, Service::CommitmentReport);
    of.is_some() && of == transaction(request, Service::Commitment)
}

/// What an archive's first answer to a request means: its report comes later, and names the transaction. None: this was no
/// request.
pub fn taken(request: &[u8]) -> Option<Judgement> {
    let reference = transaction(request, Service::Commitment)?;
    Some(Judgement::Pending { reference })
}

/// What a report means for the request that it is on: each object that was asked for stands in it, as kept or as not (PS3.4 J.3.3). What
/// it leaves out is not known to be kept.
pub fn judge(report: &[u8], request: &[u8]) -> Judgement {
    let judged = || -> Result<Judgement, MapError> {
        let file = File::read(report)?;
        let event = file.command_set()?.and_then(|set| set.number(EVENT));
        let set = file.data_set(Fallback::default())?;
        let (kept, failed) = (set.items(REFERENCED), set.items(FAILED));
        let named: HashSet<String> = kept
            .iter()
            .chain(failed)
            .filter_map(|item| item.text(UID))
            .collect();
        let asked = requested(request).and_then(Result::ok).unwrap_or_default();
        let unnamed = asked.iter().filter(|object| !named.contains(&object.instance));
        let unnamed = unnamed.count();
        if failed.is_empty() && event == Some(1) && unnamed == 0 {
            return Ok(Judgement::Accepted);
        }
        let mut reasons: Vec<String> = vec![];
        for reason in failed.iter().filter_map(|item| item.number(REASON)) {
            let reason = format!("{reason:04X}");
            if !reasons.contains(&reason) && reasons.len() < 8 {
                reasons.push(reason);
            }
        }
        if unnamed > 0 {
            reasons.push(format!("{unnamed} not named in the report"));
        }
        let why = format!(
            "{} of {} objects are not kept there ({})",
            failed.len() + unnamed,
            failed.len() + kept.len() + unnamed,
            reasons.join(", ")
        );
        Ok(Judgement::Refused { why })
    };
    judged().unwrap_or_else(|error| Judgement::Unsure {
        why: format!("the report can't be read: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    fn asked(objects: &[(&str, &str)]) -> Vec<u8> {
        let items = objects.iter().map(|(class, instance)| {
            let mut item = Out::default();
            item.text("ReferencedSOPClassUID", class);
            item.text("ReferencedSOPInstanceUID", instance);
            item
        });
        let mut set = Out::default();
        set.text("TransactionUID", "2.25.7");
        set.put("ReferencedSOPSequence", Said::Items(items.collect()));
        let mut whole = message(0x0130, COMMITMENT, INSTANCE, &set);
        // The helper makes no action type: its command set is written once more with one.
        let file = File::read(&whole).expect("a file");
        let mut command = Out::default();
        command.text("RequestedSOPClassUID", COMMITMENT);
        command.put("CommandField", Said::Number(0x0130));
        command.put("MessageID", Said::Number(7));
        command.text("RequestedSOPInstanceUID", INSTANCE);
        command.put("ActionTypeID", Said::Number(1));
        let meta = Meta {
            command: Some(command.written(Coding::IMPLICIT, Set::Ascii)),
            ..file.meta.clone()
        };
        whole = [meta.written(), file.data.to_vec()].concat();
        whole
    }

    #[test]
    fn a_report_is_on_its_request() {
        let request = asked(&[("1.2", "1.2.1"), ("1.2", "1.2.2"), ("1.3", "1.2.3")]);
        let objects = requested(&request).expect("a request").expect("right");
        assert_eq!(objects.len(), 3);
        let all = report(&request, &[Kept::Here, Kept::Here, Kept::Here]).expect("a report");
        assert!(is_report(&all) && is_on(&all, &request) && !is_report(&request));
        assert_eq!(judge(&all, &request), Judgement::Accepted);
        // An archive that names two of the three says nothing of the third.
        let fewer = asked(&[("1.2", "1.2.1"), ("1.2", "1.2.2")]);
        let fewer = report(&fewer, &[Kept::Here, Kept::Here]).expect("a report");
        let Judgement::Refused { why } = judge(&fewer, &request) else {
            panic!("refused");
        };
        assert_eq!(
            why,
            "1 of 3 objects are not kept there (1 not named in the report)"
        );
        let some = report(&request, &[Kept::Here, Kept::Missing, Kept::OfOtherClass]).expect("a report");
        let Judgement::Refused { why } = judge(&some, &request) else {
            panic!("refused");
        };
        assert_eq!(why, "2 of 3 objects are not kept there (0112, 0119)");
        let file = File::read(&some).expect("a file");
        assert_eq!(
            (file.meta.calling.as_str(), file.meta.called.as_str()),
            ("PUNTE", "CT1")
        );
        let set = file.data_set(Fallback::default()).expect("a data set");
        assert_eq!(set.items(REFERENCED)[0].text(UID).as_deref(), Some("1.2.1"));
        assert_eq!(set.items(FAILED)[1].number(REASON), Some(0x0119));
        let reference = "2.25.7".to_owned();
        assert_eq!(taken(&request), Some(Judgement::Pending { reference }));
        assert_eq!(taken(&some), None);
    }

    #[test]
    fn what_is_no_request() {
        assert!(requested(b"nothing").is_none());
        let empty = message(0x0130, COMMITMENT, INSTANCE, &Out::default());
        let error = requested(&empty).expect("a request").expect_err("no action");
        assert_eq!(error.reason, Reason::UnsupportedEvent);
        let nothing = asked(&[]);
        let error = requested(&nothing).expect("a request").expect_err("no list");
        assert_eq!(error.reason, Reason::RequiredMissing);
        assert!(matches!(judge(b"nothing", &nothing), Judgement::Unsure { .. }));
    }
}
