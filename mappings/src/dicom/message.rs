//! What a message is: an object, a question, word of a modality. By the command that it came with (PS3.7 E.1), which an
//! object has not.

use clinic::exchange::{Course, Keys, MapError, Reason};
use dicom_core::Tag;

use super::charset::Fallback;
use super::dataset::DataSet;
use super::part10::File;

/// The SOP class of worklists (PS3.4 K.7).
pub const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
/// The SOP class of performed procedure steps (PS3.4 F.7).
pub const MPPS: &str = "1.2.840.10008.3.1.2.3.3";
/// The SOP class of storage commitment (PS3.4 J.3).
pub const COMMITMENT: &str = "1.2.840.10008.1.20.1";

pub(crate) const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
pub(crate) const ISSUER: Tag = Tag(0x0010, 0x0021);
pub(crate) const STUDY: Tag = Tag(0x0020, 0x000D);
pub(crate) const ACCESSION: Tag = Tag(0x0008, 0x0050);
pub(crate) const MODALITY: Tag = Tag(0x0008, 0x0060);
pub(crate) const SCHEDULED: Tag = Tag(0x0040, 0x0270);

/// What is asked for by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Keep this object (C-STORE).
    Store,
    /// What is planned (C-FIND of worklists)?
    Worklist,
    /// What do you have (C-FIND at patient or study root)?
    Find,
    /// Send this elsewhere (C-MOVE).
    Move,
    /// Give me this (C-GET).
    Get,
    /// A step has begun (N-CREATE of MPPS).
    MppsCreate,
    /// A step goes on or has ended (N-SET of MPPS).
    MppsSet,
    /// Do you keep these for good (N-ACTION of commitment)?
    Commitment,
    /// What became of that question (N-EVENT-REPORT of commitment).
    CommitmentReport,
    /// Something that nobody here knows.
    Other,
}

impl Service {
    /// As it is shown and filtered by: `C-STORE`, `N-CREATE^MPPS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Store => "C-STORE",
            Service::Worklist => "C-FIND^WORKLIST",
            Service::Find => "C-FIND",
            Service::Move => "C-MOVE",
            Service::Get => "C-GET",
            Service::MppsCreate => "N-CREATE^MPPS",
            Service::MppsSet => "N-SET^MPPS",
            Service::Commitment => "N-ACTION^COMMITMENT",
            Service::CommitmentReport => "N-EVENT-REPORT^COMMITMENT",
            Service::Other => "unknown",
        }
    }
}

/// The state of a performed step that was begun (PS3.3 C.4.14).
const IN_PROGRESS: &str = "IN PROGRESS";

/// What the command of a message says.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// What is asked for.
    pub service: Service,
    /// The class that it is about.
    pub class: String,
    /// The instance that it is about; empty where it is about none.
    pub instance: String,
}

/// The command of a message. Without one it is an object to be kept, of the class and instance of its meta header.
pub fn command(file: &File<'_>) -> Result<Command, MapError> {
    let Some(set) = file.command_set()? else {
        return Ok(Command {
            service: Service::Store,
            class: file.meta.class.clone(),
            instance: file.meta.instance.clone(),
        });
    };
    let field = set
        .number(Tag(0, 0x0100))
        .ok_or_else(|| MapError::missing("0000,0100", "What the command asks for"))?;
    let either = |affected: Tag, requested: Tag| {
        let named = set.text(affected).or_else(|| set.text(requested));
        named.unwrap_or_default()
    };
    let class = either(Tag(0, 0x0002), Tag(0, 0x0003));
    let service = match (field, class.as_str()) {
        (0x0001, _) => Service::Store,
        (0x0020, WORKLIST) => Service::Worklist,
        (0x0020, _) => Service::Find,
        (0x0021, _) => Service::Move,
        (0x0010, _) => Service::Get,
        (0x0140, MPPS) => Service::MppsCreate,
        (0x0120, MPPS) => Service::MppsSet,
        (0x0130, COMMITMENT) => Service::Commitment,
        (0x0100, COMMITMENT) => Service::CommitmentReport,
        _ => Service::Other,
    };
    let instance = either(Tag(0, 0x1000), Tag(0, 0x1001));
    Ok(Command {
        service,
        class,
        instance: match instance.is_empty() {
            true => file.meta.instance.clone(),
            false => instance,
        },
    })
}

/// The number of what a modality says of a performed step in a state.
fn of_step(uid: &str, status: &str) -> String {
    format!("{uid}#{status}")
}

/// The examination that a message with these keys begins (N-CREATE of MPPS, PS3.4 F.7.2.1) or goes on with (N-SET, F.7.2.2).
pub fn course(keys: &Keys) -> Option<Course> {
    let (begins, goes_on) = (Service::MppsCreate.as_str(), Service::MppsSet.as_str());
    let kind = keys.message_type.as_deref()?;
    if kind != begins && kind != goes_on {
        return None;
    }
    let (uid, _) = keys.control_id.as_deref()?.split_once('#')?;
    let states = [IN_PROGRESS, "COMPLETED", "DISCONTINUED", ""];
    Some(Course {
        is_beginning: kind == begins,
        begun_by: begins.to_owned(),
        begins: of_step(uid, IN_PROGRESS),
        goes_on_by: goes_on.to_owned(),
        goes_on: states.iter().map(|status| of_step(uid, status)).collect(),
    })
}

/// What a message says of itself. Never fails: what can't be read says nothing.
pub fn keys(bytes: &[u8]) -> Keys {
    let Ok(file) = File::read(bytes) else {
        return Keys::default();
    };
    let Ok(command) = command(&file) else {
        return Keys::default();
    };
    let mut keys = Keys {
        sender: (!file.meta.calling.is_empty()).then(|| file.meta.calling.clone()),
        control_id: control_id(&command),
        message_type: Some(command.service.as_str().to_owned()),
        ..Keys::default()
    };
    let Ok(set) = file.data_set(Fallback::default()) else {
        return keys;
    };
    if command.service == Service::Store
        && let Some(modality) = set.text(MODALITY)
    {
        keys.message_type = Some(format!("{}^{modality}", command.service.as_str()));
    }
    if matches!(command.service, Service::MppsCreate | Service::MppsSet) {
        // An end says other things than another end, and than the beginning.
        let status = set.text(Tag(0x0040, 0x0252)).unwrap_or_default();
        keys.control_id = keys.control_id.map(|id| of_step(&id, &status));
    }
    keys.patients = with_issuer(set.text(PATIENT_ID), set.text(ISSUER));
    keys.visits = with_issuer(set.text(Tag(0x0038, 0x0010)), None);
    keys.orders = order_keys(&set);
    if matches!(command.service, Service::Commitment | Service::CommitmentReport) {
        let transaction = set.text(Tag(0x0008, 0x1195));
        match command.service {
            Service::CommitmentReport => {
                // A second one on the same request is the same.
                keys.control_id = transaction.as_ref().map(|uid| format!("{uid}#report"));
                keys.answers = transaction;
            }
            _ => keys.control_id = transaction,
        }
    }
    keys
}

/// By what a repeat is known again. A question is answered anew each time.
fn control_id(command: &Command) -> Option<String> {
    let instance = &command.instance;
    if instance.is_empty() {
        return None;
    }
    match command.service {
        Service::Store => Some(instance.clone()),
        Service::MppsCreate | Service::MppsSet => Some(instance.clone()),
        Service::Worklist
        | Service::Find
        | Service::Move
        | Service::Get
        | Service::Commitment
        | Service::CommitmentReport
        | Service::Other => None,
    }
}

fn with_issuer(value: Option<String>, issuer: Option<String>) -> Vec<String> {
    let Some(value) = value else { return vec![] };
    let with = issuer.map(|issuer| format!("{value}^{issuer}"));
    std::iter::once(value).chain(with).collect()
}

/// The study first, so that what belongs to it stays in its order; then the numbers of the order.
fn order_keys(set: &DataSet<'_>) -> Vec<String> {
    const MOST: usize = 64;
    let scheduled = set.items(SCHEDULED);
    let scheduled = scheduled.iter().chain(set.items(Tag(0x0040, 0x0275)));
    let mut keys: Vec<String> = vec![];
    for set in std::iter::once(set).chain(scheduled).take(MOST) {
        for tag in [STUDY, ACCESSION, Tag(0x0040, 0x2016), Tag(0x0040, 0x2017)] {
            if let Some(text) = set.text(tag)
                && !keys.contains(&text)
            {
                keys.push(text);
            }
        }
    }
    keys
}

/// Why this is no message that can be read; checked before anything else.
pub fn inspect(bytes: &[u8], until: super::scan::Until) -> Result<(), MapError> {
    let file = File::read(bytes)?;
    let command = command(&file)?;
    file.check(until)?;
    if command.service == Service::Other {
        let what = "is a command that nobody here knows";
        return Err(MapError::new(Reason::UnsupportedType, Some("0000,0100"), what));
    }
    if command.service == Service::Commitment {
        super::commitment::check(&file, &command)?;
    }
    if command.service != Service::Store {
        return Ok(());
    }
    let set = file.data_set(Fallback::default())?;
    for (tag, place, said) in [
        (Tag(0x0008, 0x0016), "0008,0016", &command.class),
        (Tag(0x0008, 0x0018), "0008,0018", &command.instance),
    ] {
        match set.text(tag) {
            None => return Err(MapError::missing(place, "The UID of an object")),
            Some(uid) if uid != *said => {
                let what = "differs from what the command says. Correct it at the sender and send it again.";
                return Err(MapError::new(Reason::UnknownKey, Some(place), what));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::part10::Meta;
    use super::super::write::{Out, Said};
    use super::*;

    /// A message with a command, as the connector makes it.
    pub(crate) fn message(field: u16, class: &str, instance: &str, set: &Out) -> Vec<u8> {
        let mut command = Out::default();
        command.text("AffectedSOPClassUID", class);
        command.put("CommandField", Said::Number(field));
        command.put("MessageID", Said::Number(7));
        if !instance.is_empty() {
            command.text("AffectedSOPInstanceUID", instance);
        }
        let meta = Meta {
            class: class.to_owned(),
            instance: instance.to_owned(),
            syntax: "1.2.840.10008.1.2.1".to_owned(),
            calling: "CT1".to_owned(),
            called: "PUNTE".to_owned(),
            command: Some(command.written(
                super::super::scan::Coding::IMPLICIT,
                super::super::charset::Set::Ascii,
            )),
            ..Meta::default()
        };
        let data = set.written(
            super::super::scan::Coding::EXPLICIT,
            super::super::charset::Set::Utf8,
        );
        [meta.written(), data].concat()
    }

    /// An object, as the connector makes it.
    pub(crate) fn object(class: &str, instance: &str, set: &Out) -> Vec<u8> {
        let meta = Meta {
            class: class.to_owned(),
            instance: instance.to_owned(),
            syntax: "1.2.840.10008.1.2.1".to_owned(),
            calling: "CT1".to_owned(),
            called: "PUNTE".to_owned(),
            ..Meta::default()
        };
        let data = set.written(
            super::super::scan::Coding::EXPLICIT,
            super::super::charset::Set::Utf8,
        );
        [meta.written(), data].concat()
    }

    #[test]
    fn a_message_says_what_it_is() {
        let mut set = Out::default();
        set.text("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
        set.text("SOPInstanceUID", "1.2.3");
        set.text("Modality", "CT");
        set.text("PatientID", "P-7");
        set.text("IssuerOfPatientID", "NORD");
        set.text("StudyInstanceUID", "1.2");
        set.text("AccessionNumber", "A-1");
        let bytes = object("1.2.840.10008.5.1.4.1.1.2", "1.2.3", &set);
        let keys = keys(&bytes);
        assert_eq!(keys.sender.as_deref(), Some("CT1"));
        assert_eq!(keys.control_id.as_deref(), Some("1.2.3"));
        assert_eq!(keys.message_type.as_deref(), Some("C-STORE^CT"));
        assert_eq!(keys.patients, ["P-7", "P-7^NORD"]);
        assert_eq!(keys.orders, ["1.2", "A-1"]);
        let until = super::super::scan::Until::End;
        assert_eq!(inspect(&bytes, until), Ok(()));
        let other = object("1.2.840.10008.5.1.4.1.1.2", "1.2.4", &set);
        let error = inspect(&other, until).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.starts_with("0008,0018: differs")));
    }

    #[test]
    fn word_of_a_modality_is_known_again() {
        let mut set = Out::default();
        set.text("PerformedProcedureStepStatus", "COMPLETED");
        let mut step = Out::default();
        step.text("StudyInstanceUID", "1.2");
        step.text("AccessionNumber", "A-1");
        set.put("ScheduledStepAttributesSequence", Said::Items(vec![step]));
        let keys = keys(&message(0x0120, MPPS, "1.2.9", &set));
        assert_eq!(keys.message_type.as_deref(), Some("N-SET^MPPS"));
        assert_eq!(keys.control_id.as_deref(), Some("1.2.9#COMPLETED"));
        assert_eq!(keys.orders, ["1.2", "A-1"]);
        // A beginning is known again too, and its repeat is told that it is one.
        let mut begun = Out::default();
        begun.text("PerformedProcedureStepStatus", "IN PROGRESS");
        let begun = message(0x0140, MPPS, "1.2.9", &begun);
        let number = super::keys(&begun).control_id;
        assert_eq!(number.as_deref(), Some("1.2.9#IN PROGRESS"));
        let told = super::super::reply::told_of_repeat(&begun).expect("told");
        let verdict = clinic::exchange::Verdict::Refused(&told);
        assert!(super::super::reply::reply(&begun, verdict).starts_with(b"0111 "));
        let end = message(0x0120, MPPS, "1.2.9", &set);
        assert_eq!(super::super::reply::told_of_repeat(&end), None);
    }
}
