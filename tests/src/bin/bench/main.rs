//! The benchmark: `cargo xtask bench`. Measures the built program over real sockets, a bare loop that writes the same
//! rows, and the disk under both, in one run on one machine. What each figure means: `docs/benchmarks.md`.
//!
//! It fails where a message was refused, lost, doubled, or not stored as routed: a fast engine that loses is no engine.

mod bare;
mod dicom;
mod disk;
mod figures;
mod load;
mod machine;
mod messages;
mod prune;
mod report;
mod runaway;
mod scenes;
mod sinks;
mod speed;
mod worklist;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use report::Report;

/// Measures Punte: the disk, MLLP to stored, MLLP to delivered, memory, and a bare loop to compare with.
#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    after_help = "Folders are made under TMPDIR: point it at the disk that is to be measured.\n\
                  Exit codes: 0 measured, 1 something was lost, refused or could not be run."
)]
struct Options {
    /// A few seconds each; the figures are rougher
    #[arg(long)]
    quick: bool,
    /// How many messages at each number of connections, in place of a time
    #[arg(long, value_name = "COUNT")]
    messages: Option<u64>,
    /// How many messages the store is filled with for `speed`, beside the fresh one; a million takes a quarter of an hour
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    fill: u64,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Exit with 1 where a goal is missed, too
    #[arg(long)]
    strict: bool,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// fdatasync of 4 KiB, overwritten in place
    Disk,
    /// The loop that seals and inserts the rows of `stored`, without sockets
    Bare,
    /// MLLP in → stored
    Stored,
    /// MLLP in → decode → apply → FHIR and HL7 out
    Delivered,
    /// Memory after 100,000 messages (goes with `delivered`)
    Memory,
    /// MLLP in → stored, while old messages are taken out
    Prune,
    /// Other channels beside scripts that run away inside a native call
    Runaway,
    /// The engine beside a loop that runs the same steps and writes the same rows
    Speed,
    /// DICOM objects in → stored, beside DCMTK's storescp and Orthanc
    Dicom,
    /// A worklist of twenty out of 10,000 booked steps
    Worklist,
}

/// How much is run.
struct Plan {
    /// At each number of connections.
    load: load::Until,
    /// Units of work of each bare loop.
    bare: u64,
    /// Messages after which the memory is read.
    memory: u64,
    /// Messages that are there to be taken out.
    prune: u64,
    /// Flushes of the disk, each time.
    flushes: u32,
    /// How long each rate beside a script that runs away is measured.
    beside: std::time::Duration,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let seconds = if options.quick { 3 } else { 10 };
        let load = match options.messages {
            Some(count) => load::Until::Count(count),
            None => load::Until::Passed(std::time::Duration::from_secs(seconds)),
        };
        Plan {
            load,
            bare: if options.quick { 20_000 } else { 60_000 },
            memory: if options.quick { 20_000 } else { 100_000 },
            prune: if options.quick { 20_000 } else { 60_000 },
            flushes: 1_000,
            beside: std::time::Duration::from_secs(if options.quick { 1 } else { 4 }),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            if options.json {
                println!("{:#}", report.json());
            } else {
                print!("{}", report.table());
            }
            if options.strict && !report.meets_goals() {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let plan = Plan::of(options);
    let wants = |part| options.only.is_empty() || options.only.contains(&part);
    let mut report = Report::new(machine::Environment::look(options.quick));
    if wants(Part::Disk) {
        eprintln!("bench: the disk");
        report.disk_before = Some(disk::flushes(plan.flushes)?);
    }
    if wants(Part::Bare) {
        eprintln!("bench: the bare loop");
        report.bare.push(bare::run(plan.bare)?);
    }
    if wants(Part::Stored) {
        report.stored = Some(scenes::stored(&plan)?);
    }
    if wants(Part::Delivered) || wants(Part::Memory) {
        report.delivered = Some(scenes::delivered(
            &plan,
            wants(Part::Delivered),
            wants(Part::Memory),
        )?);
    }
    if wants(Part::Prune) {
        report.prune = Some(prune::run(&plan)?);
    }
    if wants(Part::Runaway) {
        report.runaway = runaway::run(&plan)?;
    }
    if wants(Part::Speed) {
        report.speed = speed::run(&speed::Plan {
            load: plan.load,
            looped: if options.quick { 4_000 } else { 20_000 },
            filled: options.fill,
        })?;
    }
    if wants(Part::Dicom) {
        report.dicom = dicom::run(options.quick)?;
    }
    if wants(Part::Worklist) {
        eprintln!("bench: the worklist");
        report.worklist = worklist::run(options.quick)?;
    }
    if wants(Part::Bare) {
        // Once more: between the two lies everything that the machine did meanwhile.
        eprintln!("bench: the bare loop again");
        report.bare.push(bare::run(plan.bare)?);
    }
    if wants(Part::Disk) {
        eprintln!("bench: the disk again");
        report.disk_after = Some(disk::flushes(plan.flushes)?);
    }
    report.environment.load_after = machine::load_average();
    Ok(report)
}
