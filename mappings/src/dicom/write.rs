//! Data sets that are made here: answers, commands, and samples of tests. Elements come in the order of their tags, text
//! in one character set that carries all of it.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};

use super::charset::{Set, Shows, encode};
use super::names;
use super::scan::{Coding, is_long};

/// What an element says.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// Text: one value each. Empty: the element is there and says nothing.
    Texts(Vec<String>),
    /// A whole number of two bytes.
    Number(u16),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The items of a sequence.
    Items(Vec<Out>),
}

/// A data set to be written, or an item of a sequence.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Out {
    elements: BTreeMap<Tag, (VR, Said)>,
}

impl Out {
    /// Says something by the name of an element; a name that the dictionary has not says nothing.
    pub fn put(&mut self, keyword: &str, said: Said) {
        let tag = names::by_keyword(keyword);
        debug_assert!(tag.is_some(), "{keyword}");
        if let Some(tag) = tag {
            self.set(tag, names::vr(tag), said);
        }
    }

    /// Says one text.
    pub fn text(&mut self, keyword: &str, text: &str) {
        self.put(keyword, Said::Texts(vec![text.to_owned()]));
    }

    /// Says something at a tag.
    pub fn set(&mut self, tag: Tag, vr: VR, said: Said) {
        self.elements.insert(tag, (vr, said));
    }

    /// Says what another one says too, in place of what stands here.
    pub fn extend(&mut self, other: Out) {
        self.elements.extend(other.elements);
    }

    /// Says something at a tag within sequences, of which each has one item.
    pub fn set_within(&mut self, sequences: &[Tag], tag: Tag, vr: VR, said: Said) {
        let Some((first, rest)) = sequences.split_first() else {
            return self.set(tag, vr, said);
        };
        let mut item = match self.elements.remove(first) {
            Some((_, Said::Items(mut items))) if !items.is_empty() => items.swap_remove(0),
            Some(_) | None => Out::default(),
        };
        item.set_within(rest, tag, vr, said);
        self.set(*first, VR::SQ, Said::Items(vec![item]));
    }

    /// True where something stands at a tag, be it empty.
    pub fn has(&self, tag: Tag) -> bool {
        self.elements.contains_key(&tag)
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// What stands at a tag.
    pub fn get(&self, tag: Tag) -> Option<&Said> {
        self.elements.get(&tag).map(|(_, said)| said)
    }

    /// All that it says.
    pub fn into_elements(self) -> impl Iterator<Item = (Tag, Said)> {
        self.elements.into_iter().map(|(tag, (_, said))| (tag, said))
    }

    /// All text in it whose letters hang on the character set.
    fn texts(&self) -> Vec<&str> {
        let mut all = vec![];
        for (vr, said) in self.elements.values() {
            match said {
                Said::Texts(texts) if has_charset(*vr) => all.extend(texts.iter().map(String::as_str)),
                Said::Items(items) => all.extend(items.iter().flat_map(Out::texts)),
                Said::Texts(_) | Said::Number(_) | Said::Bytes(_) => {}
            }
        }
        all
    }

    /// The character set that this is to be written in for who can show so much; where it is not plain letters, the
    /// data set says so.
    /// A name that is written in several ways is told as far as one set carries it: the letters of the alphabet go before the others.
    pub fn choose(&mut self, shows: &Shows) -> Set {
        if self.has_letters_beyond(shows) {
            self.tell_names_in_one_way();
        }
        let set = shows.choose(self.texts().into_iter());
        if let Some(term) = set.term() {
            self.text("SpecificCharacterSet", term);
        }
        set
    }

    /// True where names are written in further letters, and no set carries all text.
    fn has_letters_beyond(&self, shows: &Shows) -> bool {
        self.has_names_in_several_ways() && !shows.carry(self.texts().into_iter())
    }

    fn has_names_in_several_ways(&self) -> bool {
        self.elements.values().any(|(vr, said)| match said {
            Said::Texts(texts) => *vr == VR::PN && texts.iter().any(|text| text.contains('=')),
            Said::Items(items) => items.iter().any(Out::has_names_in_several_ways),
            Said::Number(_) | Said::Bytes(_) => false,
        })
    }

    fn tell_names_in_one_way(&mut self) {
        for (vr, said) in self.elements.values_mut() {
            match said {
                Said::Texts(texts) if *vr == VR::PN => {
                    for text in texts {
                        if let Some((first, _)) = text.split_once('=').filter(|(first, _)| !first.is_empty())
                        {
                            *text = first.to_owned();
                        }
                    }
                }
                Said::Items(items) => items.iter_mut().for_each(Out::tell_names_in_one_way),
                Said::Texts(_) | Said::Number(_) | Said::Bytes(_) => {}
            }
        }
    }

    /// Its bytes.
    pub fn written(&self, coding: Coding, set: Set) -> Vec<u8> {
        let mut out = vec![];
        for (tag, (vr, said)) in &self.elements {
            let value = match said {
                Said::Number(number) => u16_bytes(coding, *number).to_vec(),
                Said::Bytes(bytes) => padded(bytes.clone(), 0),
                Said::Texts(texts) => text_bytes(texts, *vr, set),
                Said::Items(items) => {
                    let mut value = vec![];
                    for said in items {
                        item(coding, &said.written(coding, set), &mut value);
                    }
                    value
                }
            };
            element(coding, *tag, *vr, &value, &mut out);
        }
        out
    }
}

/// True for the kinds that are written in the character set of their data set (PS3.5 §6.1.2.2).
pub fn has_charset(vr: VR) -> bool {
    matches!(vr, VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT)
}

/// The most characters of a value (PS3.5 §6.2); of a name, of each of its groups.
pub fn most(vr: VR) -> Option<usize> {
    Some(match vr {
        VR::SH | VR::AE | VR::CS | VR::DS => 16,
        VR::LO | VR::PN | VR::UI => 64,
        VR::ST => 1024,
        VR::LT => 10_240,
        _ => return None,
    })
}

pub(super) fn text_bytes(texts: &[String], vr: VR, set: Set) -> Vec<u8> {
    let set = match has_charset(vr) {
        true => set,
        false => Set::Ascii,
    };
    let several = !matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR);
    let mut value = vec![];
    for (idx, text) in texts.iter().enumerate() {
        if idx != 0 {
            value.push(b'\\');
        }
        // A backslash parts values; controls mean nothing in them.
        let clean: String = text
            .chars()
            .map(|c| match c {
                '\\' if several => '/',
                '\r' | '\n' if several => ' ',
                c => c,
            })
            .filter(|c| !c.is_control() || matches!(c, '\r' | '\n'))
            .collect();
        let most = most(vr).unwrap_or(usize::MAX);
        let cut = |text: &str| text.chars().take(most).collect::<String>();
        let short = match vr {
            // Each way of writing it.
            VR::PN => clean.split('=').map(cut).collect::<Vec<_>>().join("="),
            _ => cut(&clean),
        };
        value.extend(encode(&short, set));
    }
    padded(value, if vr == VR::UI { 0 } else { b' ' })
}

/// The bytes of one item of a sequence.
pub(super) fn item(coding: Coding, value: &[u8], out: &mut Vec<u8>) {
    tag_bytes(coding, Tag(0xFFFE, 0xE000), out);
    out.extend(u32_bytes(coding, value.len()));
    out.extend(value);
}

/// The bytes of one element.
pub fn element(coding: Coding, tag: Tag, vr: VR, value: &[u8], out: &mut Vec<u8>) {
    tag_bytes(coding, tag, out);
    if !coding.implicit {
        out.extend(vr.to_bytes());
        if is_long(vr) {
            out.extend([0, 0]);
        } else if let Ok(length) = u16::try_from(value.len()) {
            out.extend(u16_bytes(coding, length));
            out.extend(value);
            return;
        } else {
            // Too long for its kind: kept whole, as a value of unknown kind (PS3.5 §6.2.2).
            let at = out.len() - 2;
            out.truncate(at);
            out.extend(b"UN\0\0");
        }
    }
    out.extend(u32_bytes(coding, value.len()));
    out.extend(value);
}

pub(super) fn padded(mut value: Vec<u8>, with: u8) -> Vec<u8> {
    if value.len() % 2 == 1 {
        value.push(with);
    }
    value
}

fn tag_bytes(coding: Coding, tag: Tag, out: &mut Vec<u8>) {
    out.extend(u16_bytes(coding, tag.0));
    out.extend(u16_bytes(coding, tag.1));
}

pub(super) fn u16_bytes(coding: Coding, number: u16) -> [u8; 2] {
    match coding.big_endian {
        true => number.to_be_bytes(),
        false => number.to_le_bytes(),
    }
}

pub(super) fn u32_bytes(coding: Coding, length: usize) -> [u8; 4] {
    let length = u32::try_from(length).unwrap_or(u32::MAX - 1);
    match coding.big_endian {
        true => length.to_be_bytes(),
        false => length.to_le_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::charset::Fallback;
    use super::super::dataset::DataSet;
    use super::*;

    #[test]
    fn names_in_further_letters_are_told_where_they_can_be() {
        let name = "Țîră^Ana=山田^太郎=やまだ^たろう";
        for (best, told) in [
            (Set::Utf8, name),
            (Set::Latin2, "Ţîră^Ana"),
            (Set::Ascii, "Tira^Ana"),
        ] {
            let mut item = Out::default();
            item.text("RequestingPhysician", name);
            let mut whole = Out::default();
            whole.text("PatientName", name);
            whole.put("RequestAttributesSequence", Said::Items(vec![item]));
            let set = whole.choose(&Shows::up_to(best));
            let bytes = whole.written(Coding::EXPLICIT, set);
            let read = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
            assert_eq!(read.text(Tag(0x10, 0x10)).as_deref(), Some(told));
            let item = &read.items(Tag(0x40, 0x275))[0];
            assert_eq!(item.text(Tag(0x32, 0x1032)).as_deref(), Some(told));
        }
        // Each way may have 64 letters.
        let long = format!("{0}={0}={0}", "山".repeat(70));
        let written = text_bytes(&[long], VR::PN, Set::Utf8);
        assert_eq!(
            String::from_utf8_lossy(&written),
            format!("{0}={0}={0}", "山".repeat(64))
        );
        // What is written in other letters alone stays.
        let mut whole = Out::default();
        whole.text("PatientName", "=山田");
        whole.choose(&Shows::up_to(Set::Latin1));
        assert!(whole.get(Tag(0x10, 0x10)) == Some(&Said::Texts(vec!["=山田".to_owned()])));
    }

    #[test]
    fn what_is_written_can_be_read_in_each_coding_and_set() {
        let mut step = Out::default();
        step.text("Modality", "CT");
        step.text("ScheduledProcedureStepDescription", "Ecografie țesuturi\\moi");
        let mut whole = Out::default();
        whole.text("PatientName", "Țîră^Ana");
        whole.text("PatientID", "P-7");
        whole.put("PregnancyStatus", Said::Number(3));
        whole.put("ScheduledProcedureStepSequence", Said::Items(vec![step]));
        whole.put("ReferencedStudySequence", Said::Items(vec![]));
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT, Coding::BIG] {
            for (best, name) in [
                (Set::Utf8, "Țîră^Ana"),
                (Set::Latin2, "Ţîră^Ana"),
                (Set::Latin1, "Tîra^Ana"),
                (Set::Ascii, "Tira^Ana"),
            ] {
                let mut whole = whole.clone();
                let set = whole.choose(&Shows::up_to(best));
                let bytes = whole.written(coding, set);
                let read = DataSet::read(&bytes, coding, Fallback::default()).expect("right");
                assert_eq!(read.text(Tag(0x10, 0x10)).as_deref(), Some(name));
                assert_eq!(read.number(Tag(0x10, 0x21C0)), Some(3));
                let step = &read.items(Tag(0x40, 0x100))[0];
                assert_eq!(step.text(Tag(8, 0x60)).as_deref(), Some("CT"));
                let description = step.texts(Tag(0x40, 7));
                assert_eq!(description.len(), 1, "{description:?}");
                assert!(read.get(Tag(8, 0x1110)).is_some());
            }
        }
    }
}
