//! End-to-end tests over the built program. `cargo xtask test` builds it first and brings the peers.

mod again;
mod ask;
mod bad_input;
mod blanks;
mod cli;
mod concurrency;
mod crash;
mod delivered;
mod delivery;
mod disk_full;
mod documents;
mod fhir_api;
mod files;
mod first_channel;
mod golden;
mod house;
mod journal;
mod keys;
mod links;
mod operate;
mod python;
mod samples;
mod scenes;
mod timers;
mod tls;
mod write_door;
