//! The UIDs that the wire itself needs to know (PS3.6 annex A).

/// The one application context (PS3.7 A.2.1).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// This implementation (PS3.7 D.3.3.2).
pub const IMPLEMENTATION_CLASS: &str = "2.25.270110421735561437259913574466317154481";
/// Its version, at most 16 characters (PS3.7 D.3.3.2).
pub const IMPLEMENTATION_VERSION: &str = concat!("PUNTE_", env!("CARGO_PKG_VERSION"));

/// Implicit VR little endian: what everybody speaks.
pub const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
/// Explicit VR little endian.
pub const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Deflated explicit VR little endian.
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR big endian (retired).
pub const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

/// C-ECHO.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Modality worklist, C-FIND.
pub const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
/// Modality performed procedure step, N-CREATE and N-SET.
pub const MPPS: &str = "1.2.840.10008.3.1.2.3.3";
/// Storage commitment, push model: N-ACTION and N-EVENT-REPORT.
pub const COMMITMENT: &str = "1.2.840.10008.1.20.1";
/// The one instance of storage commitment.
pub const COMMITMENT_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Query at the patient root.
pub const PATIENT_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.1.1";
/// C-MOVE at the patient root.
pub const PATIENT_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.1.2";
/// C-GET at the patient root.
pub const PATIENT_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.1.3";
/// Query at the study root.
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// C-MOVE at the study root.
pub const STUDY_ROOT_MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// C-GET at the study root.
pub const STUDY_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

/// The class is one that objects are stored by: `1.2.840.10008.5.1.4.1.1` and below, and `1.2.840.10008.5.1.4.34.7` and
/// the like of radiotherapy, hanging protocols and templates (PS3.4 B.5, GG.3). Private classes are none of the known services: whoever
/// proposes one to a store means storage.
pub fn is_storage(class: &str) -> bool {
    const SERVICES: [&str; 7] = [
        VERIFICATION,
        WORKLIST,
        MPPS,
        COMMITMENT,
        "1.2.840.10008.1.20.2",
        "1.2.840.10008.3.1.2.3.4",
        "1.2.840.10008.3.1.2.3.5",
    ];
    if !class.starts_with("1.2.840.10008.") {
        return !class.is_empty();
    }
    if SERVICES.contains(&class) {
        return false;
    }
    class.starts_with("1.2.840.10008.5.1.4.1.1.")
        || [
            "1.2.840.10008.5.1.4.34.7",
            "1.2.840.10008.5.1.4.34.10",
            "1.2.840.10008.5.1.4.38.1",
            "1.2.840.10008.5.1.4.39.1",
            "1.2.840.10008.5.1.4.43.1",
            "1.2.840.10008.5.1.4.44.1",
            "1.2.840.10008.5.1.4.45.1",
        ]
        .contains(&class)
}

/// Those of storage whose objects are about no patient and have no study (PS3.4 GG.3): protocols, palettes, templates, inventories.
pub fn is_non_patient(class: &str) -> bool {
    [
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.3",
        "1.2.840.10008.5.1.4.1.1.200.7",
        "1.2.840.10008.5.1.4.1.1.201.1",
    ]
    .contains(&class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_storage() {
        assert!(IMPLEMENTATION_VERSION.len() <= 16);
        for class in [
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.5.1.4.1.1.104.1",
            "1.2.392.200036.9116.7.8.1.1.1",
        ] {
            assert!(is_storage(class), "{class}");
        }
        for class in [
            VERIFICATION,
            WORKLIST,
            MPPS,
            COMMITMENT,
            STUDY_ROOT_FIND,
            PATIENT_ROOT_MOVE,
            "",
        ] {
            assert!(!is_storage(class), "{class}");
        }
        // A protocol that was planned is about nobody, one that was done is.
        for (class, is_non) in [
            ("1.2.840.10008.5.1.4.38.1", true),
            ("1.2.840.10008.5.1.4.1.1.200.1", true),
            ("1.2.840.10008.5.1.4.1.1.200.2", false),
            ("1.2.840.10008.5.1.4.34.7", false),
        ] {
            assert!(is_storage(class), "{class}");
            assert_eq!(is_non_patient(class), is_non, "{class}");
        }
    }
}
