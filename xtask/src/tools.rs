//! Running other programs, and where things lie.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::needs::Needs;

/// The root of the workspace.
pub fn root() -> PathBuf {
    // What cargo says now goes before what it said at the build: clones may share a target folder.
    let now = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = now.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(Into::into).unwrap_or(here)
}

/// The target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// cargo, in the root of the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end; an error names it.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    eprintln!("── {shown}");
    let status = command
        .status()
        .with_context(|| format!("{shown} could not be started"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// Builds what is handed out and what is measured: `more` are packages and features beside the program.
pub fn build_released(needs: &Needs, more: &[&str]) -> Result<PathBuf> {
    needs.program("make", &["--version"])?;
    let released = [
        "build",
        "--release",
        "-p",
        "punte",
        "--features",
        "punte/jemalloc",
        "--locked",
    ];
    // Two cores and a small clinic: few arenas, and what is not used is given back soon.
    let arenas = "narenas:4,dirty_decay_ms:500,muzzy_decay_ms:0";
    run(cargo()
        .args(released)
        .args(more)
        .env("JEMALLOC_SYS_WITH_MALLOC_CONF", arenas))?;
    Ok(target().join("release"))
}

/// Whether a program runs and says that all is well.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
