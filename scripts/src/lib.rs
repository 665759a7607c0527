//! Scripts of channels: JavaScript in worker processes of the same program.
//!
//! ```text
//! step ─► Prepared ─► Pool ─► pipe ─► worker process ─► a fresh runtime for each message ─► pipe ─► step
//! ```
//!
//! A script that runs away can't be stopped inside a native call (`new Array(1e9) + ''`), and a thread in there keeps
//! its core. So scripts run in processes: one that takes too long is killed, its message fails, and the next message
//! gets a new process. [`Host`] is the side of the engine, [`work`] that of the worker; [`wire`] is between them.
//!
//! Absent by design: a clock and chance other than the message's own, files, network, anything kept from one message
//! for the next. Formats come as the engine's trait objects: a worker is the same program and has them too.

mod host;
mod machine;
mod message;
mod modules;
mod pool;
mod state;
#[cfg(test)]
mod tests;
mod unix;
mod wire;
mod worker;

pub use host::Host;
pub use pool::Program;
pub use worker::work;
