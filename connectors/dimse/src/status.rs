//! Statuses of answers.

use std::fmt;

/// The status of an answer (PS3.7 annex C, PS3.4 by service).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

/// What a status is, for all services alike (PS3.7 C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    /// Done.
    Success,
    /// Done, with a remark.
    Warning,
    /// Not done.
    Failure,
    /// Stopped, because that was asked for.
    Cancel,
    /// More answers follow.
    Pending,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal $kind:ident $text:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($code);)*

            /// In words; empty where the code belongs to a range only.
            pub fn words(self) -> &'static str {
                match self.0 {
                    $($code => $text,)*
                    _ => "",
                }
            }
        }

        #[cfg(test)]
        const TABLE: &[(Status, StatusKind)] = &[$((Status::$name, StatusKind::$kind),)*];
    };
}

statuses! {
    /// Done.
    SUCCESS = 0x0000 Success "done";
    /// N-services: no such attribute (PS3.7 C.5).
    NO_SUCH_ATTRIBUTE = 0x0105 Failure "no such attribute";
    /// N-CREATE, N-SET: value not allowed (PS3.7 C.5).
    INVALID_ATTRIBUTE_VALUE = 0x0106 Failure "value not allowed";
    /// N-SET, N-CREATE: attributes were ignored (PS3.7 C.4).
    ATTRIBUTE_LIST_ERROR = 0x0107 Warning "some attributes were ignored";
    /// When nothing says it better (PS3.7 C.5).
    PROCESSING_FAILURE = 0x0110 Failure "processing failure";
    /// N-CREATE: the instance exists (PS3.7 C.5).
    DUPLICATE_INSTANCE = 0x0111 Failure "the instance exists already";
    /// N-SET, N-ACTION, N-GET: no such instance (PS3.7 C.5).
    NO_SUCH_INSTANCE = 0x0112 Failure "no such instance";
    /// N-ACTION, N-EVENT-REPORT (PS3.7 C.5).
    INVALID_ARGUMENT = 0x0115 Failure "argument value wrong";
    /// A value lies outside its range and was changed (PS3.7 C.4).
    ATTRIBUTE_OUT_OF_RANGE = 0x0116 Warning "a value was out of range";
    /// The instance UID is malformed (PS3.7 C.5).
    INVALID_INSTANCE = 0x0117 Failure "the instance UID is malformed";
    /// The instance is of another class (PS3.7 C.5).
    CLASS_INSTANCE_CONFLICT = 0x0119 Failure "the instance is of another class";
    /// N-CREATE: a required attribute is absent (PS3.7 C.5).
    MISSING_ATTRIBUTE = 0x0120 Failure "a required attribute is absent";
    /// N-CREATE: a required attribute is empty (PS3.7 C.5).
    MISSING_VALUE = 0x0121 Failure "a required value is absent";
    /// The class is not supported here (PS3.7 C.5).
    CLASS_NOT_SUPPORTED = 0x0122 Failure "class not supported";
    /// N-ACTION: no such action (PS3.7 C.5).
    NO_SUCH_ACTION = 0x0123 Failure "no such action";
    /// Not authorised (PS3.7 C.5).
    NOT_AUTHORISED = 0x0124 Failure "not authorised";
    /// The message id is in use (PS3.7 C.5).
    DUPLICATE_INVOCATION = 0x0210 Failure "message id in use";
    /// Operation not known, or not for this class (PS3.7 C.5).
    UNRECOGNIZED_OPERATION = 0x0211 Failure "operation not known";
    /// A parameter of the wrong kind (PS3.7 C.5).
    MISTYPED_ARGUMENT = 0x0212 Failure "parameter of the wrong kind";
    /// Too much (PS3.7 C.5).
    RESOURCE_LIMITATION = 0x0213 Failure "resource limit";
    /// No room: to be sent again (PS3.4 B.2.3, C.4.1.1.4).
    OUT_OF_RESOURCES = 0xA700 Failure "out of resources";
    /// C-MOVE, C-GET: matches can't be counted (PS3.4 C.4.2.1.5).
    UNABLE_TO_COUNT = 0xA701 Failure "matches cannot be counted";
    /// C-MOVE, C-GET: no sub-operation could be run (PS3.4 C.4.2.1.5).
    UNABLE_TO_PERFORM = 0xA702 Failure "sub-operations cannot be run";
    /// C-MOVE (PS3.4 C.4.2.1.5).
    MOVE_DESTINATION_UNKNOWN = 0xA801 Failure "destination AE not known";
    /// Data set and class, or identifier and class, do not agree (PS3.4 B.2.3, C.4.1.1.4).
    DATA_SET_MISMATCH = 0xA900 Failure "the data set does not fit its class";
    /// Can't be parsed (PS3.4 B.2.3).
    CANNOT_UNDERSTAND = 0xC000 Failure "cannot be understood";
    /// Can't be processed (PS3.4 C.4.1.1.4).
    UNABLE_TO_PROCESS = 0xC001 Failure "cannot be processed";
    /// Stored, elements changed; of C-MOVE and C-GET: some failed (PS3.4 B.2.3, C.4.2.1.5).
    COERCED = 0xB000 Warning "done, with changes or in part";
    /// Stored, elements left out (PS3.4 B.2.3).
    ELEMENTS_DISCARDED = 0xB006 Warning "stored, elements left out";
    /// Stored although it does not fit its class (PS3.4 B.2.3).
    STORED_MISMATCH = 0xB007 Warning "stored although it does not fit its class";
    /// Stopped as asked (PS3.4 C.4.1.1.4).
    CANCELLED = 0xFE00 Cancel "stopped";
    /// A match (PS3.4 C.4.1.1.4).
    PENDING = 0xFF00 Pending "more follow";
    /// A match; some optional key is not supported (PS3.4 C.4.1.1.4).
    PENDING_WITHOUT_KEYS = 0xFF01 Pending "more follow; some key is not supported";
}

impl Status {
    /// By the rules that all services share (PS3.7 C): a code that nobody knows is a failure.
    pub fn kind(self) -> StatusKind {
        match self.0 {
            0x0000 => StatusKind::Success,
            0xFF00 | 0xFF01 => StatusKind::Pending,
            0xFE00 => StatusKind::Cancel,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusKind::Warning,
            _ => StatusKind::Failure,
        }
    }

    /// Done, without a remark.
    pub fn is_success(self) -> bool {
        self.kind() == StatusKind::Success
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04X}", self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04X} {}", self.0, self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_ranges() {
        for (status, kind) in TABLE {
            assert_eq!(status.kind(), *kind, "{status}");
            assert!(!status.words().is_empty());
        }
        assert_eq!(Status(0xA7FF).kind(), StatusKind::Failure);
        assert_eq!(Status(0xB123).kind(), StatusKind::Warning);
        assert_eq!(Status(0x0001).kind(), StatusKind::Warning);
        assert_eq!(Status(0x4711).kind(), StatusKind::Failure);
    }
}
