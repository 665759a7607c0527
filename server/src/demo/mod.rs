//! A made-up day of a clinic: a reception, a laboratory and a CT send over real sockets, two HL7 systems, a patient
//! portal and a PACS receive, and in the end everything that was sent is accounted for.
//!
//! Those that speak HL7 and FHIR share no reader or writer with the product, so that the two can't agree in the same
//! mistake; the CT and the PACS are those of `punte simulate`, which tests hold against other makes. What is counted comes from the senders' log, the receivers' logs and the chart as FHIR tells it, not from our tables.

pub mod chart;
pub mod day;
pub mod imaging;
pub mod people;
pub mod receivers;
pub mod sender;
