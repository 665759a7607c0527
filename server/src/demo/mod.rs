//! A made-up day of a clinic: a reception and a laboratory send over real sockets, two HL7 systems and a patient
//! portal receive, and in the end everything that was sent is accounted for.
//!
//! The simulators share no reader or writer with the product, so that the two can't agree in the same mistake. What
//! is counted comes from the senders' log, the receivers' logs and the chart as FHIR tells it, not from our tables.

pub mod chart;
pub mod day;
pub mod people;
pub mod receivers;
pub mod sender;
