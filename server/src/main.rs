//! `punte`: the integration engine of a clinic. The command line.

mod alerts;
mod api;
mod codes;
mod command;
mod demo;
mod doctor;
mod door;
mod formats;
mod golden;
mod home;
mod journal;
mod master;
mod overview;
mod panics;
mod pseudonyms;
mod punte_toml;
mod render;
mod rerun;
mod scripting;
mod simulate;
mod views;
mod whereabouts;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The version; a build that can break its promises, or can store in plain text, says so.
pub(crate) const VERSION: &str = match (engine::sabotage::IS_BUILT_IN, cfg!(feature = "bench")) {
    (true, _) => concat!(env!("CARGO_PKG_VERSION"), "+sabotage"),
    (false, true) => concat!(env!("CARGO_PKG_VERSION"), "+bench"),
    (false, false) => env!("CARGO_PKG_VERSION"),
};

#[cfg(all(feature = "jemalloc", unix))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The integration engine of a clinic: HL7 v2 and FHIR in, one clinic inside, HL7 v2 and FHIR out.
#[derive(Parser)]
#[command(
    name = "punte",
    version = VERSION,
    about,
    max_term_width = 110,
    after_help = "First steps:\n  punte demo                     a day of a clinic, made up, on free ports\n  punte check --home DIR         are the channels right?\n  punte serve --home DIR         run them\n  punte messages --home DIR      what came, and what became of it\n  punte status --home DIR        how it goes\n\nExit codes: 0 all is well, 1 something was refused or is wrong, 2 the command line is wrong."
)]
struct Cli {
    /// The folder with punte.toml, channels/ and data/
    #[arg(
        long,
        global = true,
        env = "PUNTE_HOME",
        default_value = ".",
        value_name = "DIR"
    )]
    home: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[allow(
    clippy::large_enum_variant,
    reason = "there is one, made from the command line"
)]
#[derive(Subcommand)]
enum Command {
    /// Run the channels until stopped
    Serve(command::serve::Args),
    /// Show a made-up day of a clinic: everything is started, sent, received and shown
    Demo(command::demo::Args),
    /// Check all channel files and say every problem with its place
    Check(command::check::Args),
    /// Run a message through a channel and show each step; nothing is written or sent
    Try(command::try_out::Args),
    /// Run the golden tests beside the channels; exit code 1 where something is not as expected
    Test(command::test::Args),
    /// Turn messages from one format into another
    Convert(command::convert::Args),
    /// Send the messages of a file to a listener over MLLP and print the answers
    Send(command::send::Args),
    /// Ask another system by DICOM whether it is there, what it has, what is planned; send it objects
    Dicom(command::dicom::Args),
    /// Be a modality, or a PACS, for those who have none at hand; well behaved, or not
    Simulate(command::simulate::Args),
    /// Ask another system by a destination of a channel, and print what it answers
    Ask(command::ask::Args),
    /// List messages, show one, replay one
    Messages(command::messages::Args),
    /// List what waits for a person's decision, with the candidates; decide
    Parked(command::parked::Args),
    /// List the channels, what they have done and what waits; start, stop and pause them
    Channels(command::channels::Args),
    /// Say how it goes: channels, queues, rates, disk, certificates; exit code 1 where something needs a person
    Status(command::status::Args),
    /// List the alerts that are on; test whether those who are to be told can be
    Alerts(command::alerts::Args),
    /// Say what is wrong around the engine, and what to do: ports, disk, clock, certificates, key
    Doctor(command::doctor::Args),
    /// Take the channel files as they are now, without a stop
    Reload(command::reload::Args),
    /// Say where an order, a result, a patient's messages are: received, held, sent, in the chart
    Where(command::where_is::Args),
    /// List the channels that use a table, a module, a destination
    Uses(command::uses::Args),
    /// Add, list and remove the keys of the API
    Key(command::key::Args),
    /// Say who read what of whom
    Journal(command::journal::Args),
    /// Check that the store and the journal are as they were written
    Verify(command::verify::Args),
    /// Give the store another master key, or a new data key
    Seal(command::seal::Args),
    /// Take out what is older than its channel keeps; by itself the engine does it every hour
    Prune(command::prune::Args),
    /// Copy the store and the channels, while the engine runs, into a folder that can be restored
    Backup(command::backup::Args),
    /// Put a backup into an empty home folder, and check it
    Restore(command::restore::Args),
    /// Run messages through a channel into the store without sockets, for the benchmark
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BareLoop(command::bare_loop::Args),
    /// Run the scripts of channels for the engine that starts it
    #[command(hide = true, name = scripting::WORKER)]
    ScriptWorker,
}

fn main() -> ExitCode {
    panics::without_their_texts();
    let cli = Cli::parse();
    if matches!(cli.command, Command::ScriptWorker) {
        return scripting::work();
    }
    // One provider of cryptography for everything; a second one would make "the default" ambiguous.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("punte: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let home = home::Home::new(&cli.home);
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => command::serve::run(&home, args).await,
            Command::Demo(args) => command::demo::run(args).await,
            Command::Check(args) => command::check::run(&home, &args),
            Command::Try(args) => command::try_out::run(&home, &args).await,
            Command::Test(args) => command::test::run(&home, &args).await,
            Command::Convert(args) => command::convert::run(&args),
            Command::Send(args) => command::send::run(&args).await,
            Command::Dicom(args) => command::dicom::run(&home, &args).await,
            Command::Simulate(args) => command::simulate::run(&args).await,
            Command::Ask(args) => command::ask::run(&home, &args).await,
            Command::Messages(args) => command::messages::run(&home, args).await,
            Command::Parked(args) => command::parked::run(&home, args).await,
            Command::Channels(args) => command::channels::run(&home, args).await,
            Command::Status(args) => command::status::run(&home, &args).await,
            Command::Alerts(args) => command::alerts::run(&home, args).await,
            Command::Doctor(args) => command::doctor::run(&home, &args).await,
            Command::Reload(args) => command::reload::run(&home, &args).await,
            Command::Where(args) => command::where_is::run(&home, &args).await,
            Command::Uses(args) => command::uses::run(&home, &args),
            Command::Key(args) => command::key::run(&home, args).await,
            Command::Journal(args) => command::journal::run(&home, args).await,
            Command::Verify(args) => command::verify::run(&home, &args).await,
            Command::Seal(args) => command::seal::run(&home, args).await,
            Command::Prune(args) => command::prune::run(&home, &args).await,
            Command::Backup(args) => command::backup::run(&home, &args),
            Command::Restore(args) => command::restore::run(&home, &args),
            #[cfg(feature = "bench")]
            Command::BareLoop(args) => command::bare_loop::run(&home, &args).await,
            Command::ScriptWorker => Ok(scripting::work()),
        }
    });
    // What still runs on the blocking pool (a read of standard input) must not keep the program.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("punte: {}", render::lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}
