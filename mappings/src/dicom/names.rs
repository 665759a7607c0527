//! Tags by their names and kinds, as the standard's dictionary (PS3.6) has them.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// The kind of an element where the data set does not say it (PS3.5 A.1): that of the dictionary, else UN.
pub fn vr(tag: Tag) -> VR {
    if tag.1 == 0 {
        return VR::UL;
    }
    if tag.0 % 2 == 1 {
        // The names of those who reserved private blocks; the rest is known to them alone.
        return match (0x0010..=0x00FF).contains(&tag.1) {
            true => VR::LO,
            false => VR::UN,
        };
    }
    let Some(entry) = StandardDataDictionary.by_tag(tag) else {
        return VR::UN;
    };
    match entry.vr() {
        VirtualVr::Exact(vr) => vr,
        // Which of two it is hangs on the pixels, and no text comes of either.
        VirtualVr::Xs => VR::US,
        VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt => VR::OW,
        _ => VR::UN,
    }
}

/// `0010,0010`.
pub fn place(tag: Tag) -> String {
    format!("{:04X},{:04X}", tag.0, tag.1)
}

/// `PatientName`, and the number where the dictionary has no name.
pub fn name(tag: Tag) -> String {
    let entry = (tag.0.is_multiple_of(2) && tag.1 != 0)
        .then(|| StandardDataDictionary.by_tag(tag))
        .flatten();
    match entry {
        // One name for many tags is the name of none.
        Some(entry) if !entry.alias().is_empty() && by_keyword(entry.alias()) == Some(tag) => {
            entry.alias().to_owned()
        }
        _ => place(tag),
    }
}

/// By its name in the dictionary.
pub fn by_keyword(keyword: &str) -> Option<Tag> {
    let entry = StandardDataDictionary.by_name(keyword)?;
    Some(entry.tag())
}

/// By its number: `0010,0010`, `(0010,0010)`, `00100010`.
pub fn by_number(text: &str) -> Option<Tag> {
    let bare = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let digits = match bare.unwrap_or(text).split_once(',') {
        Some((group, element)) if group.len() == 4 && element.len() == 4 => format!("{group}{element}"),
        Some(_) => return None,
        None => text.to_owned(),
    };
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(&digits, 16).ok()?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_names_and_kinds() {
        assert_eq!(by_keyword("PatientName"), Some(Tag(0x10, 0x10)));
        assert_eq!(name(Tag(0x10, 0x10)), "PatientName");
        assert_eq!(name(Tag(0x9, 0x1001)), "0009,1001");
        for written in ["0010,0010", "(0010,0010)", "00100010"] {
            assert_eq!(by_number(written), Some(Tag(0x10, 0x10)), "{written}");
        }
        for written in ["0010", "10,10", "0010,001G", "0010,00100", "+0100010"] {
            assert_eq!(by_number(written), None, "{written}");
        }
        assert_eq!(vr(Tag(0x40, 0x100)), VR::SQ);
        assert_eq!(vr(Tag(0x9, 0x10)), VR::LO);
        assert_eq!(vr(Tag(0x9, 0x1001)), VR::UN);
        assert_eq!(vr(Tag(0x28, 0x106)), VR::US);
        assert_eq!(vr(Tag(0, 0x100)), VR::US);
    }
}
