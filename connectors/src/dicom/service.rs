//! Which service a class and an operation belong to.

use dimse::{Operation, uids};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a channel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Answers C-ECHO. Always done where the called AE title is right; to be named where a channel does nothing else.
    Echo,
    /// Takes objects: C-STORE, each a message.
    Store,
    /// Takes objects that are about no patient: hanging protocols, colour palettes, templates of implants, planned protocols. C-STORE,
    /// each a message, which no step can decode.
    NonPatient,
    /// Answers what is planned: C-FIND of the modality worklist.
    Worklist,
    /// Takes what a modality does: N-CREATE and N-SET of performed procedure steps.
    Mpps,
    /// Takes requests for storage commitment (N-ACTION), and results of ours (N-EVENT-REPORT).
    Commitment,
    /// Answers which images are kept: C-FIND at patient and study root.
    Query,
    /// Gives images that are kept, to who asks (C-GET) or to somebody known (C-MOVE).
    Retrieve,
}

impl Service {
    /// Of a class; none: nobody here knows it.
    pub fn of(class: &str) -> Option<Self> {
        match class {
            uids::VERIFICATION => Some(Service::Echo),
            uids::WORKLIST => Some(Service::Worklist),
            uids::MPPS => Some(Service::Mpps),
            uids::COMMITMENT => Some(Service::Commitment),
            uids::PATIENT_ROOT_FIND | uids::STUDY_ROOT_FIND => Some(Service::Query),
            uids::PATIENT_ROOT_MOVE
            | uids::PATIENT_ROOT_GET
            | uids::STUDY_ROOT_MOVE
            | uids::STUDY_ROOT_GET => Some(Service::Retrieve),
            class if uids::is_non_patient(class) => Some(Service::NonPatient),
            class if uids::is_storage(class) => Some(Service::Store),
            _ => None,
        }
    }

    /// Its name in channel files.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Store => "store",
            Service::NonPatient => "non-patient",
            Service::Worklist => "worklist",
            Service::Mpps => "mpps",
            Service::Commitment => "commitment",
            Service::Query => "query",
            Service::Retrieve => "retrieve",
        }
    }

    /// Which of the offered transfer syntaxes is taken: the first in the order of the sender. Objects pass untouched, so that
    /// any syntax of the standard will do, and one that nobody knows only where nothing else is offered; what is read
    /// on the way is taken in the two that everybody speaks.
    pub fn syntax(self, offered: &[String]) -> Option<&String> {
        match self {
            Service::Store | Service::NonPatient => {
                let standard = |syntax: &&String| {
                    *syntax == uids::IMPLICIT_LITTLE || syntax.starts_with("1.2.840.10008.1.2.")
                };
                offered.iter().find(standard).or(offered.first())
            }
            Service::Echo
            | Service::Worklist
            | Service::Mpps
            | Service::Commitment
            | Service::Query
            | Service::Retrieve => offered
                .iter()
                .find(|syntax| [uids::IMPLICIT_LITTLE, uids::EXPLICIT_LITTLE].contains(&syntax.as_str())),
        }
    }

    /// How an operation of it is called in the header `service` of its message; none: it has no such operation.
    pub fn message(self, operation: Operation) -> Option<&'static str> {
        match (self, operation) {
            (Service::Echo, Operation::Echo) => Some("echo"),
            (Service::Store | Service::NonPatient, Operation::Store) => Some("store"),
            (Service::Worklist, Operation::Find) => Some("worklist"),
            (Service::Mpps, Operation::NCreate) => Some("mpps-create"),
            (Service::Mpps, Operation::NSet) => Some("mpps-set"),
            (Service::Query, Operation::Find) => Some("query"),
            (Service::Retrieve, Operation::Move) => Some("move"),
            (Service::Retrieve, Operation::Get) => Some("get"),
            (Service::Commitment, Operation::NAction) => Some("commitment"),
            (Service::Commitment, Operation::EventReport) => Some("commitment-report"),
            (
                Service::Echo
                | Service::Store
                | Service::NonPatient
                | Service::Worklist
                | Service::Mpps
                | Service::Commitment
                | Service::Query
                | Service::Retrieve,
                Operation::Store
                | Operation::Get
                | Operation::Find
                | Operation::Move
                | Operation::Echo
                | Operation::EventReport
                | Operation::NGet
                | Operation::NSet
                | Operation::NAction
                | Operation::NCreate
                | Operation::NDelete,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_sender_counts() {
        let offered = |list: &[&str]| list.iter().map(|syntax| (*syntax).to_owned()).collect::<Vec<_>>();
        let chosen = |service: Service, list: &[&str]| service.syntax(&offered(list)).cloned();
        let private = "1.2.840.113619.5.2";
        let jpeg = "1.2.840.10008.1.2.4.91";
        assert_eq!(
            chosen(Service::Store, &[private, jpeg, uids::IMPLICIT_LITTLE]).as_deref(),
            Some(jpeg)
        );
        assert_eq!(chosen(Service::Store, &[private]).as_deref(), Some(private));
        assert_eq!(
            chosen(Service::Worklist, &[jpeg, uids::EXPLICIT_LITTLE]).as_deref(),
            Some(uids::EXPLICIT_LITTLE)
        );
        assert_eq!(chosen(Service::Mpps, &[jpeg]), None);
        assert_eq!(chosen(Service::Store, &[]), None);
    }
}
