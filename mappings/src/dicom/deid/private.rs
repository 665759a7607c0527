//! Private elements that tell nobody (PS3.15 §E.3.10): those of table E.3.10-1, and those of which the object itself says so
//! (Private Data Element Characteristics, PS3.3 C.12.1.1.7).
//!
//! Of the table what may hold anything is left out: bulk data, sequences of what only its maker knows, and what has no kind there.

use dicom_core::{Tag, VR};

use super::super::dataset::{DataSet, Element};

/// What an object says of its own private blocks.
#[derive(Default)]
pub(super) struct Said(Vec<Block>);

struct Block {
    group: u16,
    creator: String,
    /// The elements that tell nobody, by the low byte of their number; none: all of the block.
    safe: Option<Vec<u8>>,
}

impl Said {
    pub(super) fn of(set: &DataSet<'_>) -> Self {
        let block = |item: &DataSet<'_>| {
            let safe = match item.text(Tag(0x0008, 0x0303))?.as_str() {
                "SAFE" => None,
                "MIXED" => {
                    let elements = item.texts(Tag(0x0008, 0x0304));
                    let elements = elements.iter().filter_map(|text| text.parse::<u16>().ok());
                    // The number, or its low byte alone.
                    Some(elements.map(|number| (number & 0xFF) as u8).collect())
                }
                _ => return None,
            };
            Some(Block {
                group: u16::try_from(item.number(Tag(0x0008, 0x0301))?).ok()?,
                creator: item.text(Tag(0x0008, 0x0302))?,
                safe,
            })
        };
        Said(set.items(Tag(0x0008, 0x0300)).iter().filter_map(block).collect())
    }

    fn names(&self, creator: &str, group: u16, element: u8) -> bool {
        let blocks = self.0.iter();
        let mut blocks = blocks.filter(|block| block.group == group && block.creator == creator);
        blocks.any(|block| block.safe.as_ref().is_none_or(|safe| safe.contains(&element)))
    }

    fn knows(&self, creator: &str, group: u16) -> bool {
        self.0
            .iter()
            .any(|block| block.group == group && block.creator == creator)
    }
}

/// Of which kind an element is that tells nobody; none: nothing is known of it.
pub(super) fn safe(said: &Said, set: &DataSet<'_>, element: &Element<'_>) -> Option<VR> {
    let Tag(group, number) = element.header.tag;
    let own = element.header.vr;
    if (0x0010..=0x00FF).contains(&number) {
        let creator = set.text(element.header.tag)?;
        let is_needed = is_creator(&creator, group) || said.knows(&creator, group);
        return is_needed.then_some(VR::LO);
    }
    let (block, low) = (number >> 8, (number & 0xFF) as u8);
    let creator = set.text(Tag(group, block)).filter(|_| 0x10 <= block)?;
    if let Some(vr) = kind(&creator, group, low) {
        // What its writer calls otherwise is not what the table means; in implicit little endian nothing is said.
        return (own == vr || own == VR::UN)
            .then_some(vr)
            .filter(|vr| is_so(*vr, element));
    }
    said.names(&creator, group, low).then_some(own)
}

/// Whether the bytes can be of the kind that the table says: numbers are numbers, so that nothing else hides there.
fn is_so(vr: VR, element: &Element<'_>) -> bool {
    let Some(bytes) = element.bytes() else {
        return false;
    };
    let width = match vr {
        VR::US | VR::SS => 2,
        VR::UL | VR::SL | VR::FL => 4,
        VR::FD => 8,
        VR::DS | VR::IS => {
            let is_number = |byte: &u8| b"0123456789+-.eE\\ \0".contains(byte);
            return bytes.iter().all(is_number);
        }
        VR::CS => {
            let is_word = |byte: &u8| byte.is_ascii_uppercase() || b"0123456789_ \\\0".contains(byte);
            return bytes.iter().all(is_word);
        }
        // Text and UIDs are cleaned; where their kind isn't said, they can't be.
        _ => return element.header.vr == vr,
    };
    bytes.len().is_multiple_of(width)
}

fn is_creator(creator: &str, group: u16) -> bool {
    (0..=0xFF).any(|element| kind(creator, group, element).is_some())
}

/// The kind of an element in table E.3.10-1.
#[rustfmt::skip]
fn kind(creator: &str, group: u16, element: u8) -> Option<VR> {
    Some(match (creator, group, element) {
        ("ELSCINT1", 0x00E1, 0x21 | 0x50) => VR::DS,
        ("ELSCINT1", 0x01E1, 0x26) | ("ELSCINT1", 0x01F1, 0x01) => VR::CS,
        ("ELSCINT1", 0x01F1, 0x07 | 0x26 | 0x27) => VR::DS,
        ("GEIIS PACS", 0x0903, 0x10..=0x12) => VR::US,
        ("GEMS_ACQU_01", 0x0019, 0x23 | 0x24 | 0x27) => VR::DS,
        ("GEMS_ACQU_01", 0x0019, 0x9E) => VR::LO,
        ("GEMS_HELIOS_01", 0x0045, 0x01) => VR::SS,
        ("GEMS_HELIOS_01", 0x0045, 0x02) => VR::FL,
        ("GEMS_PARM_01", 0x0043, 0x27) => VR::SH,
        ("GEMS_PARM_01", 0x0043, 0x39) => VR::IS,
        ("GEMS_PARM_01", 0x0043, 0x6F) => VR::DS,
        ("GEMS_SERS_01", 0x0025, 0x07) => VR::SL,
        ("HOLOGIC, Inc.", 0x7E01, 0x01) => VR::LO,
        ("HOLOGIC, Inc.", 0x7E01, 0x02) => VR::SH,
        ("NQHeader", 0x0099, 0x01 | 0x02) => VR::UI,
        ("NQHeader", 0x0099, 0x04) => VR::SS,
        ("NQHeader", 0x0099, 0x05) => VR::LT,
        ("NQHeader", 0x0099, 0x10 | 0x21) => VR::FL,
        ("NQHeader", 0x0099, 0x20) => VR::SH,
        ("NQLeft", 0x0199, 0x01..=0x16) | ("NQRight", 0x0299, 0x01..=0x16) => VR::FL,
        ("Philips Imaging DD 001", 0x2001, 0x03) => VR::FL,
        ("Philips Imaging DD 001", 0x2001, 0x04) => VR::CS,
        ("Philips MR Imaging DD 001", 0x2005, 0x0D | 0x0E) => VR::FL,
        ("Philips PET Private Group", 0x7053, 0x00 | 0x09) => VR::DS,
        ("SIEMENS MR HEADER", 0x0019, 0x0C) => VR::IS,
        ("SIEMENS MR HEADER", 0x0019, 0x0D) => VR::CS,
        ("SIEMENS MR HEADER", 0x0019, 0x0E | 0x27) => VR::FD,
        ("SIEMENS SYNGO ULTRA-SOUND TOYON DATA STREAMING", 0x7FD1, 0x09) => VR::UI,
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x00) => VR::LO,
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x05..=0x08) => VR::UL,
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x09) => VR::SS,
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x10) => VR::SH,
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x13) => VR::IS,
        ("SIEMENS Ultrasound SC2000", 0x0129, 0x02 | 0x07 | 0x12) => VR::UI,
        ("SIEMENS Ultrasound SC2000", 0x0129, 0x30) => VR::CS,
        ("SIEMENS Ultrasound SC2000", 0x0139, 0x01) => VR::SL,
        ("SIEMENS Ultrasound SC2000", 0x0149, 0x01) => VR::FD,
        ("SIEMENS Ultrasound SC2000", 0x7FD1, 0x09) => VR::UI,
        _ => return None,
    })
}
