//! The machine that the run is on, and who used its processors. Linux tells it; elsewhere the figures are missing.

use serde_json::{Value, json};

/// Ticks of /proc a second (USER_HZ, 100 on every Linux that we know).
pub const TICKS: u64 = 100;

/// Where and what is measured.
pub struct Environment {
    pub cores: usize,
    pub memory_mb: Option<u64>,
    pub system: String,
    pub version: String,
    pub quick: bool,
    pub load_before: Option<String>,
    pub load_after: Option<String>,
}

impl Environment {
    pub fn look(quick: bool) -> Self {
        let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let version = std::process::Command::new(e2e::program::binary())
            .arg("--version")
            .output();
        Environment {
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_mb: read("/proc/meminfo")
                .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
                .map(|kilobytes| kilobytes / 1024),
            system: format!(
                "{} {} {}",
                std::env::consts::OS,
                kernel.trim(),
                std::env::consts::ARCH
            ),
            version: version.map_or(String::new(), |out| {
                String::from_utf8_lossy(&out.stdout).trim().to_owned()
            }),
            quick,
            load_before: load_average(),
            load_after: None,
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "version": self.version,
            "profile": profile(),
            "cores": self.cores,
            "memory_mb": self.memory_mb,
            "system": self.system,
            "quick": self.quick,
            "load_before": self.load_before,
            "load_after": self.load_after,
        })
    }
}

/// How this program and the measured one were built.
pub fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug: the figures mean nothing"
    } else {
        "release"
    }
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load_average() -> Option<String> {
    let text = read("/proc/loadavg")?;
    Some(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

/// Ticks that all processors together were busy since the start.
pub fn busy_ticks() -> Option<u64> {
    let text = read("/proc/stat")?;
    let numbers: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|number| number.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are counted in user already.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = numbers.as_slice() else {
        return None;
    };
    Some(user + nice + system + irq + softirq + steal)
}

/// Ticks that this program used.
pub fn own_ticks() -> Option<u64> {
    let stat = read("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
