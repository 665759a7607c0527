//! Values that can't be what their kind says: a name that somebody typed into a code, a telephone number in a title. What breaks the
//! rules of its kind (PS3.5 §6.2) may be anything, and is not left standing because of its kind.

use dicom_core::{Tag, VR};

use super::folded;

/// The most characters of a number: devices write more than the 16 that they may.
const LONGEST_NUMBER: usize = 32;
/// Numbers of fewer digits than that are met by chance.
const SHORTEST_NUMBER: usize = 6;

/// What stands in place of a value that can't be trusted.
pub(super) fn instead(vr: VR) -> &'static str {
    match vr {
        VR::CS | VR::AE => "REMOVED",
        _ => "",
    }
}

/// Whether a value that stays is what its kind says, and none of the words that name somebody.
pub(super) fn is_trusted(tag: Tag, vr: VR, value: &str, words: &[String]) -> bool {
    let only = |letters: &str| {
        value
            .bytes()
            .all(|byte| byte.is_ascii_digit() || letters.as_bytes().contains(&byte))
    };
    let count = value.chars().count();
    match vr {
        VR::CS => {
            // How pixels are to be read is written in small letters too.
            let value = match tag.0 {
                0x0028 => value.to_ascii_uppercase(),
                _ => value.to_owned(),
            };
            let is_code =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" _".contains(&byte);
            count <= 16 && value.bytes().all(is_code) && (is_term(tag, &value) || !names(&value, words))
        }
        VR::AE => {
            count <= 16 && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !names(value, words)
        }
        VR::AS => {
            let bytes = value.as_bytes();
            value.is_empty()
                || bytes.len() == 4
                    && bytes[..3].iter().all(u8::is_ascii_digit)
                    && b"DWMY".contains(&bytes[3])
        }
        VR::DS => count <= LONGEST_NUMBER && only("+-.eE ") && !is_number(value, words),
        VR::IS => count <= LONGEST_NUMBER && only("+- ") && !is_number(value, words),
        VR::DA => count <= 18 && only(".- "),
        VR::TM => count <= 28 && only(".:- "),
        VR::DT => count <= 54 && only(".+- "),
        VR::UI => clinic::imaging::may_be_uid(value) || value.is_empty(),
        _ => true,
    }
}

/// Words of the standard, which name nobody though somebody be called so: what kind of image it is, and how its pixels are read.
fn is_term(tag: Tag, value: &str) -> bool {
    match tag {
        Tag(0x0028, _) | Tag(0x0008, 0x0060) => true,
        Tag(0x0008, 0x0008) => IMAGE_TYPES.contains(&value),
        _ => false,
    }
}

/// Words of Image Type (PS3.3 C.7.6.1.1.2, C.8.2.1, C.8.3.1, C.8.4.9, C.8.7.1, C.8.16.1). Behind them a device writes what it likes.
const IMAGE_TYPES: &[&str] = &[
    "ORIGINAL",
    "DERIVED",
    "MIXED",
    "PRIMARY",
    "SECONDARY",
    "AXIAL",
    "LOCALIZER",
    "OTHER",
    "VOLUME",
    "ANGIO",
    "CARDIAC",
    "FLUOROSCOPY",
    "PERFUSION",
    "REST",
    "STRESS",
    "STATIC",
    "DYNAMIC",
    "GATED",
    "WHOLE BODY",
    "TOMO",
    "RECON TOMO",
    "SINGLE PLANE",
    "BIPLANE A",
    "BIPLANE B",
    "PHASE MAP",
    "DENSITY MAP",
    "IMAGE ADDITION",
    "MODULUS SUBTRACT",
    "DIFFUSION",
    "VELOCITY",
    "EMISSION",
    "TRANSMISSION",
    "NONE",
    "RESAMPLED",
    "MPR",
    "MAXIMUM",
    "MINIMUM",
    "MEAN",
    "MEDIAN",
    "SUBTRACTION",
    "COLLAPSE",
    "MAX_IP",
    "MIN_IP",
    "LABEL",
    "OVERVIEW",
    "THUMBNAIL",
];

/// Whether one of its words is one of those.
fn names(value: &str, words: &[String]) -> bool {
    let mut parts = value.split(|letter: char| !letter.is_alphanumeric());
    parts.any(|part| words.contains(&folded(part))) || words.contains(&folded(value.trim()))
}

fn is_number(value: &str, words: &[String]) -> bool {
    SHORTEST_NUMBER <= value.trim().len() && words.contains(&folded(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_the_rules_of_its_kind_is_not_trusted() {
        let words = [
            "popescu".to_owned(),
            "1850312040011".to_owned(),
            "axial".to_owned(),
        ];
        let body = Tag(0x0018, 0x0015);
        for (tag, vr, value, is_so) in [
            (body, VR::CS, "CHEST", true),
            (body, VR::CS, "", true),
            (body, VR::CS, "CSA MPR", true),
            (body, VR::CS, "Ionescu", false),
            (body, VR::CS, "ŢÎRĂ", false),
            (body, VR::CS, "POPESCU_ANA", false),
            (body, VR::CS, "AXIAL", false),
            (body, VR::CS, "A CODE THAT IS FAR TOO LONG", false),
            (Tag(0x0008, 0x0008), VR::CS, "AXIAL", true),
            (Tag(0x0008, 0x0008), VR::CS, "Axial", false),
            (Tag(0x0008, 0x0008), VR::CS, "POPESCU", false),
            (Tag(0x0028, 0x0004), VR::CS, "monochrome2", true),
            (body, VR::AE, "CT_1", true),
            (body, VR::AE, "Dr. Popescu", false),
            (body, VR::AS, "045Y", true),
            (body, VR::AS, "45 ani", false),
            (body, VR::DS, "-1.2345678901234567890e-05", true),
            (body, VR::DS, "5 mm", false),
            (body, VR::DS, "1850312040011", false),
            (body, VR::IS, "+7", true),
            (body, VR::IS, "1.5", false),
            (body, VR::DA, "20260505-20260506", true),
            (body, VR::DA, "Pop Ana", false),
            (body, VR::TM, "10:15:00.25", true),
            (body, VR::TM, "azi", false),
            (body, VR::DT, "20260505101500.25+0300", true),
            (body, VR::UI, "1.2.840.1", true),
            (body, VR::UI, "1.2.Pop", false),
            (body, VR::LO, "Popescu", true),
        ] {
            assert_eq!(is_trusted(tag, vr, value, &words), is_so, "{tag} {vr:?} {value}");
        }
    }
}
