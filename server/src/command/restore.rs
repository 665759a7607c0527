//! `punte restore`: puts a backup into an empty home folder.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::store::backup::{Backup, refuse_full};

use super::backup::summary;
use super::print;
use super::progress::Progress;
use crate::home::Home;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Every file is checked before anything is written, and the counts are compared after it. It refuses a home folder\nthat has a store or channels, a backup that is damaged (and says which file) or was broken off, one of a newer\nprogram, and another master key than the one of that day. What it refuses leaves the folder as it was.\n\nThe master key is not in the backup: put your copy to its place first, or name it with PUNTE_KEY_FILE.\n\nBefore you start what was restored:\n  - make sure that the old engine does not run any more;\n  - what waited in its queues when the backup was made is sent again, also what the old engine has sent since:\n    with the same control ids, so that a receiver that knows repeats takes it once;\n  - what came after the backup is not there: ask the senders to send it again.\n\nExample: punte restore /mnt/backup/punte-2026-05-05 --home /srv/punte-new"
)]
pub struct Args {
    /// The folder that punte backup made
    #[arg(value_name = "BACKUP")]
    from: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Checks the backup and puts it into the home folder.
pub fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    refuse_full(home.folder())?;
    let mut progress = Progress::of_parts();
    let backup = Backup::open(&args.from, &mut progress)?;
    // The place of the key is that of the engine that was backed up, unless the environment says otherwise.
    let settings = Home::new(backup.folder()).settings()?;
    let master = home.master_key(&settings, false)?;
    backup.restore(home.folder(), &master, &mut progress)?;
    drop(progress);
    let manifest = &backup.manifest;
    if args.json {
        print(&format!("{:#}\n", summary(manifest)));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "Restored to {} as of {}: {}. That is what the backup says.\nCheck the journal with: punte verify --home {}\nWhat waited in the queues then is sent when you start it, also what the old engine has sent since; see punte restore --help.\n",
        home.folder().display(),
        manifest.made_at,
        manifest.counts,
        home.folder().display()
    ));
    Ok(ExitCode::SUCCESS)
}
