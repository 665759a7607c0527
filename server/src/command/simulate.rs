//! `punte simulate`: a modality and a PACS for those who have none at hand.

mod modality;
mod pacs;

use std::process::ExitCode;
use std::time::Duration;

/// What it is told.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Be a modality: ask the worklist, say what is done (MPPS), make images, have them stored and committed
    #[command(
        mut_arg("called", |arg| arg.default_value("PUNTE")),
        mut_arg("calling", |arg| arg.default_value("CT1")),
        after_help = "\
What it does, each on an association of its own: asks the worklist and takes a step of it, says that it begins (N-CREATE),
makes images with the numbers of the step, has them stored (C-STORE), asks that they are kept for good (N-ACTION) and
waits for the report, and says that it has ended (N-SET). The images show a grey ramp and the accession number.

Examples:
  punte simulate modality 127.0.0.1:11112 --modality CT                     the first CT that is planned
  punte simulate modality 127.0.0.1:11112 --all --images 20                 everything that is planned
  punte simulate modality 127.0.0.1:11112 --discontinue wrong-entry --images 0
  punte simulate modality 127.0.0.1:11112 --without worklist --patient-id 7 --patient-name 'POP^ANA' --modality US
  punte simulate modality 127.0.0.1:11112 --store-to 10.0.0.5:104 --store-called PACS --without commitment
  punte simulate modality 127.0.0.1:11112 --wrong-patient                   is such an image parked?
  punte simulate modality 127.0.0.1:11112 --abort-after 2 --no-final        a device that is switched off

A report of storage commitment may come by an association that the other side opens: then --listen says where the device
listens, and the other side has to know that address by the device's AE title.

Exit codes: 0 all was answered as it should be, 1 something was refused, not answered, or nothing is planned."
    )]
    Modality(Box<modality::Args>),
    /// Be a PACS: take objects into a folder, answer C-ECHO and C-FIND over them, and requests for storage commitment
    #[command(after_help = "\
Examples:
  punte simulate pacs                                        on 127.0.0.1:11113, as whoever it is called
  punte simulate pacs --listen 0.0.0.0:104 --title PACS --folder images/
  punte simulate pacs --status A700 --refuse 3               full at first: is sent again what it refused?
  punte simulate pacs --status C000                          it takes nothing: is it held, and who is told?
  punte simulate pacs --slow 5s --abort-after 10

Objects lie in the folder as UID.dcm, in the transfer syntax that they came in; what lies there from before is found too.
An object that comes again stays as it was. Ctrl-C ends it.

Exit codes: 0 it was ended, or has what --until says; 1 it could not listen.")]
    Pacs(Box<pacs::Args>),
}

/// Does what is asked for.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Modality(args) => modality::run(args).await,
        Command::Pacs(args) => pacs::run(args).await,
    }
}

/// A duration on the command line.
fn duration(text: &str) -> Result<Duration, String> {
    engine::channel::duration::parse(text).map_err(|error| error.to_string())
}
