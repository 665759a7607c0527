//! What only Unix has: limits that the system holds for a worker, whatever its script does. Elsewhere it has none of
//! them, and is killed by the clock all the same.

/// The most memory that a worker may have beside what its program is, in bytes.
#[cfg(unix)]
const DATA: u64 = 1536 << 20;

/// Takes from this process what a worker does not need: other files than its two pipes, a dump of its memory (which
/// holds a message), memory without end, and its place before the engine where the machine is busy.
#[cfg(unix)]
pub fn confine() {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let most = |limit| Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    // What can't be set stays as it is: these are a second line behind the limits of the runtime and the clock.
    let _ = setrlimit(Resource::Core, most(0));
    let _ = setrlimit(Resource::Fsize, most(0));
    let _ = setrlimit(Resource::Nofile, most(0));
    let _ = setrlimit(Resource::Data, most(DATA));
    let _ = nice(5);
}

/// Nothing is held here.
#[cfg(not(unix))]
pub fn confine() {}

/// This program, also where its file has been replaced since it was started.
pub fn this_program() -> std::io::Result<std::path::PathBuf> {
    let link = std::path::Path::new("/proc/self/exe");
    if link.exists() {
        return Ok(link.to_owned());
    }
    std::env::current_exe()
}
