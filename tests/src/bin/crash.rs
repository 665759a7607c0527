//! The crash harness by hand: `cargo xtask crash --kills 500 --power`. Exit code 1 where a promise is broken.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::crash::{Fault, Plan, images, run};

/// Kills the program under load, again and again, and proves that nothing acknowledged is lost, doubled, reordered or
/// invented
#[derive(Parser)]
struct Args {
    /// How often it is killed
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Cut its power: what was not flushed is lost, wholly or in part
    #[arg(long)]
    power: bool,
    /// Modalities store objects, in place of messages by MLLP
    #[arg(long, conflicts_with = "fault")]
    images: bool,
    /// What else goes wrong: failed-flush, no-room, slow-disk, locked, receivers, clock-in-spring, clock-in-autumn,
    /// connections
    #[arg(long, value_parser = fault)]
    fault: Option<Fault>,
    /// Search all that it writes for what was told of people, with the log at TRACE
    #[arg(long)]
    search: bool,
    /// All that is random comes from this number; a fresh one unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Another program than the one that was built beside this
    #[arg(long)]
    program: Option<PathBuf>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.into_iter().find(|fault| fault.name() == name);
    found.ok_or_else(|| format!("{name} is none of: {}", Fault::ALL.map(Fault::name).join(", ")))
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut plan = Plan {
        power: args.power,
        fault: args.fault,
        program: args.program,
        says: true,
        searches: args.search,
        ..Plan::kills(args.kills)
    };
    plan.seed = args.seed.unwrap_or(plan.seed);
    eprintln!("seed {}", plan.seed);
    let report = match args.images {
        true => images::run(&plan).await?,
        false => run(&plan).await?,
    };
    println!("{report}");
    Ok(if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
