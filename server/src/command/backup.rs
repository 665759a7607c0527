//! `punte backup`: copies what an engine needs to go on elsewhere, while it runs.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::store::backup::{Manifest, Source, back_up};
use serde_json::{Value, json};

use super::print;
use super::progress::Progress;
use crate::home::Home;
use crate::master::KeyPlace;

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "It works the same whether the engine runs or not, and holds nothing up. In the backup is everything that was\nacknowledged before it began: the store with its big bodies, channels/ and punte.toml. What is sealed in the store\nis sealed in the backup.\n\nNOT in it is the master key, without which the backup can't be read. The command says where it lies: keep a copy of\nit in a safe place, and not beside the backup.\n\nA backup that was broken off has no name that could be taken for one: FOLDER is there once it is whole.\n\nExamples:\n  punte backup /mnt/backup/punte-$(date +%F)\n  punte restore /mnt/backup/punte-2026-05-05 --home /srv/punte-new"
)]
pub struct Args {
    /// The folder to make; it may not be there yet
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Makes the backup.
pub fn run(home: &Home, args: &Args) -> anyhow::Result<ExitCode> {
    home.needs_a_store()?;
    let settings = home.settings()?;
    let master = home.master_key(&settings, false)?;
    let place = home.key_place(&settings)?;
    let key_file = match &place {
        KeyPlace::File(path) => path.clone(),
        KeyPlace::Variable | KeyPlace::Command(_) => PathBuf::new(),
    };
    let source = Source {
        home: home.folder(),
        master: &master,
        beside: &home.beside_the_store(&settings),
        key_file: &key_file,
        program: crate::VERSION,
        now: (crate::world::real().now)(),
    };
    let manifest = back_up(&source, &args.to, &mut Progress::of_parts())?;
    if args.json {
        let mut value = summary(&manifest);
        value["folder"] = args.to.display().to_string().into();
        value["key_file"] = place.to_string().into();
        print(&format!("{value:#}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let bytes: u64 = manifest.files.iter().map(|file| file.length).sum();
    print(&format!(
        "Backed up to {}, in {} files and {} MB: {}.\nThe master key is not in it. It is in {}: keep a copy of it in a safe place, not beside the backup. Without it the backup can't be read.\n",
        args.to.display(),
        manifest.files.len(),
        bytes.div_ceil(1 << 20),
        manifest.counts,
        place
    ));
    Ok(ExitCode::SUCCESS)
}

/// A manifest without the list of files.
pub fn summary(manifest: &Manifest) -> Value {
    json!({
        "program": manifest.program,
        "made_at": manifest.made_at,
        "clinic": manifest.clinic,
        "schema": manifest.schema,
        "counts": manifest.counts,
        "journal_head": manifest.journal_head,
        "files": manifest.files.len(),
    })
}
