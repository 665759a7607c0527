//! A modality and a PACS for those who have no device at hand: `punte simulate`, and the demo.
//!
//! They are built on the product's own DIMSE layer and writer. That they speak as others do is proven against DCMTK and
//! pynetdicom; that the product does, is proven against those peers and not against these.

pub mod commitment;
pub mod drawing;
pub mod image;
pub mod modality;
pub mod mpps;
pub mod pacs;
pub mod shelf;
pub mod step;

use mappings::dicom::charset::{Set, Shows};
use mappings::dicom::part10::packing;
use mappings::dicom::write::{Out, Said};

/// What everybody speaks.
pub const PLAIN: [&str; 2] = [dimse::uids::EXPLICIT_LITTLE, dimse::uids::IMPLICIT_LITTLE];

/// A UID that nobody else makes (PS3.5 B.2).
pub fn uid() -> String {
    format!("2.25.{}", uuid::Uuid::now_v7().as_u128())
}

/// A data set as it travels by a transfer syntax, in UTF-8 where plain letters don't do.
pub fn written(mut set: Out, syntax: &str) -> Vec<u8> {
    let charset = set.choose(&Shows::up_to(Set::Utf8));
    set.written(packing(syntax).coding, charset)
}

/// Says a text; an empty one: the element is there and says nothing.
pub(crate) fn text(out: &mut Out, keyword: &str, text: &str) {
    let texts = match text {
        "" => vec![],
        text => text.split('\\').map(str::to_owned).collect(),
    };
    out.put(keyword, Said::Texts(texts));
}

/// A sequence.
pub(crate) fn items(out: &mut Out, keyword: &str, items: Vec<Out>) {
    out.put(keyword, Said::Items(items));
}

/// An object as others refer to it (PS3.3 table 10-11).
pub(crate) fn reference(class: &str, instance: &str) -> Out {
    let mut out = Out::default();
    text(&mut out, "ReferencedSOPClassUID", class);
    text(&mut out, "ReferencedSOPInstanceUID", instance);
    out
}
