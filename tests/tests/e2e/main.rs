//! End-to-end tests over the built program. `cargo xtask test` builds it first and brings the peers.

mod ask;
mod bad_input;
mod blanks;
mod cli;
mod concurrency;
mod crash;
mod delivery;
mod disk_full;
mod events;
mod fhir_api;
mod files;
mod house;
mod links;
mod python;
mod samples;
mod scenes;
mod scripts;
mod timers;
mod write_door;
