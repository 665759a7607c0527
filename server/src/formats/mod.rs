//! The formats of this program, as the engine sees them. One visible list.

pub mod bytes;
pub mod fhir;
pub mod hl7v2;

use engine::format::Formats;

/// All formats.
pub fn all() -> Formats {
    Formats::default()
        .with(hl7v2::Hl7v2)
        .with(fhir::FhirR4)
        .with(bytes::Bytes)
}
