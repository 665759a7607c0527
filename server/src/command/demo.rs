//! `punte demo`: to come with the simulated laboratory and reception.

use std::process::ExitCode;

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    /// End when everything that was sent is accounted for
    #[arg(long)]
    once: bool,
}

/// Runs the day.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _ = args.once;
    anyhow::bail!("the demo is not there yet")
}
