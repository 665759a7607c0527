//! `punte bare-loop`: what the benchmark compares the engine with. Messages of a file go through a channel's own steps
//! into a fresh store, on one thread, so many a transaction, without sockets and without anybody who waits.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clinic::apply::Snapshot;
use engine::message::Incoming;
use engine::store::sqlite::bench;
use engine::store::{SqliteOptions, StoreError};

use super::print;
use crate::home::Home;
use crate::{formats, world};

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// The channel
    channel: String,
    /// Messages, each ended by the bytes FS CR
    file: PathBuf,
    /// Messages of one transaction
    #[arg(long, default_value_t = 64)]
    each: u64,
}

/// Runs it, and prints how long it took, in microseconds, and for how many.
pub async fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    let channel = super::try_out::from_files(home, &args.channel)?;
    let (formats, world) = (formats::all(), world::real());
    let file = Bytes::from(std::fs::read(&args.file).context("the messages can't be read")?);
    let mut messages: Vec<Bytes> = vec![];
    let mut start = 0;
    for (at, _) in file.windows(2).enumerate().filter(|(_, two)| *two == b"\x1c\r") {
        messages.push(file.slice(start..at));
        start = at + 2;
    }
    let mut make = |number: u64, snapshot: &dyn Snapshot| {
        let body = usize::try_from(number).ok().and_then(|at| messages.get(at));
        let incoming = Incoming {
            body: body
                .cloned()
                .ok_or_else(|| StoreError::Unavailable("there is no such message".into()))?,
            big: None,
            content_type: "x-application/hl7-v2+er7".into(),
            headers: vec![("peer".into(), "127.0.0.1:40000".into())],
            received_at: (world.now)(),
            identity: None,
        };
        engine::run::bench::unit_of_work(&channel, &formats, &world, incoming, snapshot)
    };
    let took = bench::bare(
        &home.data(),
        &home.master_key(&home.settings()?, true)?,
        SqliteOptions::default(),
        messages.len() as u64,
        args.each,
        &mut make,
    )
    .await?;
    print(&format!(
        "{{\"messages\":{},\"micros\":{}}}\n",
        messages.len(),
        took.as_micros()
    ));
    Ok(ExitCode::SUCCESS)
}
