//! Where bytes come in and go out. Each connector is a folder: its page says what it speaks, what it refuses, its limits.
//!
//! - [`mllp`]: HL7 v2 over TCP, both ways.
//! - [`fhir`]: Bundles to a FHIR server.
//! - [`dicom`]: objects, worklist and performed procedure steps, both ways.
//! - [`file`]: files in a folder, both ways.
//! - [`http`]: one message in each request, both ways.
//! - [`dicomweb`]: objects by the HTTP interface of the program (STOW-RS).
//! - [`timer`]: messages at set times.
//! - [`notice`]: short texts to people: e-mail, webhook, syslog; not of messages, and of no channel.
//! - [`script`]: a script of the channel, both ways; what scripts call is in [`http::calls`].
//!
//! All of them speak TLS by one table: [`tls`].
//!
//! A source hands in what it reads through the engine's [`Intake`](engine::connector::Intake); what comes back *is* the
//! acknowledgement. A destination sends one message and tells what is known of it afterwards: an answer, surely not
//! received, refused, or unsure. The arm is chosen by what is known, never by what is likely.
//!
//! Absent by design: formats (a connector moves bytes and never looks into them), the store, retries, counting of
//! deliveries, and bodies or names in logs and errors.

pub mod dicom;
pub mod dicomweb;
pub mod fhir;
pub mod file;
pub mod http;
pub mod mllp;
pub mod notice;
pub mod script;
pub mod secrets;
mod shared;
mod sockets;
pub mod timer;
pub mod tls;
mod values;
pub mod watched;

use engine::connector::Connectors;

/// All of them.
pub fn all() -> Connectors {
    let images = dicom::Dicom::default();
    Connectors::default()
        .with(mllp::Mllp)
        .with(http::Http::default())
        .with(fhir::Fhir)
        .with(images.commitment())
        .with(images)
        .with(file::Files)
        .with(dicomweb::DicomWeb::default())
        .with(timer::Timers::default())
        .with(script::Script)
        .with_calls(http::calls::HttpCalls)
}
