//! The scripts of this program: one pool of workers for all channels, and what a worker does.

use std::process::ExitCode;
use std::sync::OnceLock;

use engine::script::{NoScripts, Scripts};
use scripts::{Host, Program};

use crate::formats;

/// The subcommand that makes this program a worker.
pub const WORKER: &str = "script-worker";

/// The scripts of all channels. No worker is started before the first one is checked or run.
pub fn host() -> &'static dyn Scripts {
    static HOST: OnceLock<Option<Host>> = OnceLock::new();
    let host = HOST.get_or_init(|| Program::this(WORKER).ok().map(Host::new));
    host.as_ref().map_or(&NoScripts as &dyn Scripts, |host| host)
}

/// A worker's life.
pub fn work() -> ExitCode {
    match scripts::work(formats::all()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
