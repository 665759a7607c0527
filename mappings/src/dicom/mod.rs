//! DICOM: messages as files of PS3.10, what is in them, and what is answered.
//!
//! The way in: [`part10::File`] reads the meta header, [`scan`] walks over the headers of the data set and believes none
//! before it was checked, [`dataset::DataSet`] is what is left as a tree without pixels. What a message is says
//! [`message`]. The bytes of a data set are never written anew: what is stored and forwarded is what was received.
//!
//! Places are written `0040,0100[0].0008,0060`; items are counted from 0, as in FHIR paths.

pub mod charset;
pub mod dataset;
pub mod edit;
pub mod matching;
pub mod message;
pub mod names;
pub mod ops;
pub mod part10;
pub mod path;
pub mod scan;
pub mod write;
