//! Developer commands, one door for everyone: `cargo xtask --help`.

mod dist;
mod needs;
mod tools;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use needs::Needs;
use tools::{cargo, run};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Punte")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lints, licences: what takes no running program
    Check {
        /// Install what is missing (tools of cargo into the target folder, system packages by apt)
        #[arg(long)]
        install: bool,
    },
    /// All tests: unit, laws, end to end over the built program with real peers
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
        /// Install what is missing
        #[arg(long)]
        install: bool,
    },
    /// Exactly what CI runs: check, test, fuzz for a minute
    Ci {
        /// Install what is missing
        #[arg(long)]
        install: bool,
    },
    /// Write the generated files under schemas/
    Schemas,
    /// Fuzz every reader of foreign bytes
    Fuzz {
        /// Seconds for all targets together
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Install what is missing
        #[arg(long)]
        install: bool,
    },
    /// Measure: table, or --json. Arguments are passed on
    #[command(trailing_var_arg = true, allow_hyphen_values = true)]
    Bench {
        /// See `cargo xtask bench --help`
        args: Vec<String>,
    },
    /// Pack one archive for a clinic: the program, a systemd unit, channels, the guide, licences, checksums
    Dist {
        /// Pack this program instead of a release build
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
        /// Into this folder instead of one under the target folder
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Install what is missing
        #[arg(long)]
        install: bool,
    },
    /// Kill the program under load, or cut its power, and prove that nothing is lost. Arguments are passed on
    #[command(trailing_var_arg = true, allow_hyphen_values = true)]
    Crash {
        /// See `cargo xtask crash --help`: --kills N, --power, --seed S
        args: Vec<String>,
    },
    /// The long forms: many kills and power cuts, a long queue, long fuzzing. By hand
    Soak {
        /// How many times the program is killed in the middle of the day, and how many times its power is cut
        #[arg(long, default_value_t = 500)]
        kills: u32,
        /// How many messages come while their destination is down
        #[arg(long, default_value_t = 1_000_000)]
        backlog: u32,
        /// Seconds of fuzzing
        #[arg(long, default_value_t = 3600)]
        fuzz_seconds: u64,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Check { install } => check(&Needs::new(install)?),
        Command::Test { filter, install } => test(&Needs::new(install)?, filter.as_deref()),
        Command::Ci { install } => {
            let needs = Needs::new(install)?;
            check(&needs)?;
            test(&needs, None)?;
            fuzz(&needs, 60, Path::Same)
        }
        Command::Schemas => schemas(),
        Command::Fuzz { seconds, install } => fuzz(&Needs::new(install)?, seconds, Path::New),
        Command::Bench { args } => bench(&Needs::new(false)?, &args),
        Command::Crash { args } => crash(&args.iter().map(String::as_str).collect::<Vec<_>>()),
        Command::Dist { program, to, install } => {
            dist::dist(&Needs::new(install)?, dist::Dist { program, to })
        }
        Command::Soak {
            kills,
            backlog,
            fuzz_seconds,
        } => {
            let needs = Needs::new(false)?;
            let kills = kills.to_string();
            crash(&["--kills", &kills])?;
            crash(&["--kills", &kills, "--power"])?;
            long_form(&needs, "PUNTE_BACKLOG", backlog, "a_destination_is_down")?;
            fuzz(&needs, fuzz_seconds, Path::New)
        }
    }
}

/// Format, lints, licences and sources.
fn check(needs: &Needs) -> Result<()> {
    let deny = needs.cargo_tool("cargo-deny", "0.20.2")?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        // What only the benchmark has is looked at too.
        "--features",
        "e2e/bench,punte/bench",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    // Advisories need a database from outside; licences, bans and sources do not.
    run(std::process::Command::new(deny).args(["check", "licenses", "bans", "sources"]))
}

/// Everything that can be tested by a test runner: nextest where it is there, cargo's own elsewhere.
fn test(needs: &Needs, filter: Option<&str>) -> Result<()> {
    build_sabotaged()?;
    run(cargo().args(["build", "--workspace", "--locked"]))?;
    let mut runner = cargo();
    if tools::works("cargo", &["nextest", "--version"]) {
        runner.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    } else {
        runner.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    }
    runner.args(filter);
    run(with_python(needs, &mut runner)?)?;
    run(cargo().args(["test", "--workspace", "--locked", "--doc"]))
}

/// The program once more, with switches that break what it promises (`engine::sabotage`): the tests show that the crash
/// harness would notice. In the same target folder, so that only what knows the engine is compiled twice.
fn build_sabotaged() -> Result<()> {
    run(cargo().args(["build", "--workspace", "--locked", "--features", "punte/sabotage"]))?;
    let debug = tools::target().join("debug");
    let folder = debug.join("sabotage");
    std::fs::create_dir_all(&folder)?;
    let name = if cfg!(windows) { "punte.exe" } else { "punte" };
    std::fs::copy(debug.join(name), folder.join(name))?;
    Ok(())
}

/// The end-to-end tests find their Python peers by this.
fn with_python<'a>(
    needs: &Needs,
    command: &'a mut std::process::Command,
) -> Result<&'a mut std::process::Command> {
    needs.program("openssl", &["version"])?;
    needs.program("curl", &["--version"])?;
    needs.program_of(&["dcmtk"], "storescp", &["--version"])?;
    let orthanc = ["orthanc", "orthanc-dicomweb"];
    needs.program_of(&orthanc, "Orthanc", &["--version"])?;
    needs.file_of(&orthanc, "/usr/share/orthanc/plugins/libOrthancDicomWeb.so")?;
    if let Some(promtool) = needs.promtool()? {
        command.env("PUNTE_PROMTOOL", promtool);
    }
    Ok(command.env("PUNTE_TEST_PYTHON", needs.python()?))
}

fn schemas() -> Result<()> {
    run(cargo()
        .args(["test", "-p", "clinic", "-p", "punte", "schemas_are_as_generated"])
        .env("PUNTE_WRITE_SCHEMAS", "1"))
}

/// Which way the fuzzers go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Always the same from the samples on, so that CI tells of the change and not of luck.
    Same,
    /// A new one each time, on from what earlier runs have found.
    New,
}

/// Fuzz targets with the one stable toolchain.
fn fuzz(needs: &Needs, seconds: u64, path: Path) -> Result<()> {
    let tool = needs.cargo_tool("cargo-fuzz", "0.13.1")?;
    let targets: [(&str, &str); 8] = [
        ("mappings/fuzz", "hl7_reader"),
        ("mappings/fuzz", "documents"),
        ("mappings/fuzz", "dicom_reader"),
        ("mappings/fuzz", "dicom_pixels"),
        ("mappings/fuzz", "split"),
        ("connectors/fuzz", "mllp_framing"),
        ("connectors/fuzz", "dimse"),
        ("connectors/fuzz", "multipart"),
    ];
    let each = (seconds / targets.len() as u64).max(1);
    for (folder, target) in targets {
        let folder = tools::root().join(folder);
        let target_dir = tools::target().join("fuzz");
        let (kept, seed) = match path {
            Path::Same => ("fuzz-corpus-ci", "-seed=20261126"),
            Path::New => ("fuzz-corpus", "-seed=0"),
        };
        let corpus = tools::target().join(kept).join(target);
        if path == Path::Same && corpus.exists() {
            std::fs::remove_dir_all(&corpus)?;
        }
        std::fs::create_dir_all(&corpus)?;
        let kind = if target.starts_with("dicom_") {
            "dicom"
        } else {
            "hl7v2"
        };
        let samples = tools::root().join("samples").join(kind);
        run(std::process::Command::new(&tool)
            .current_dir(&folder)
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", "--sanitizer", "none", "--target-dir"])
            .arg(&target_dir)
            .arg(target)
            .arg(&corpus)
            .arg(&samples)
            .arg(folder.join("seeds").join(target))
            .args([
                "--",
                &format!("-max_total_time={each}"),
                seed,
                "-rss_limit_mb=2048",
                "-timeout=10",
            ]))?;
    }
    Ok(())
}

/// The harness over the program as it is built for tests.
fn crash(args: &[&str]) -> Result<()> {
    run(cargo().args(["build", "--workspace", "--locked"]))?;
    run(std::process::Command::new(tools::target().join("debug").join("crash")).args(args))
}

/// The long form of a test over the program as it is built for tests.
fn long_form(needs: &Needs, variable: &str, value: u32, test: &str) -> Result<()> {
    run(cargo().args(["build", "--workspace", "--locked"]))?;
    let mut runner = cargo();
    runner.args([
        "test",
        "--workspace",
        "--locked",
        "--test",
        "e2e",
        test,
        "--",
        "--nocapture",
    ]);
    run(with_python(needs, &mut runner)?.env(variable, value.to_string()))
}

fn bench(needs: &Needs, args: &[String]) -> Result<()> {
    let name = if cfg!(windows) { "bench.exe" } else { "bench" };
    let program =
        tools::build_released(needs, &["-p", "e2e", "--features", "e2e/bench,punte/bench"])?.join(name);
    if !program.exists() {
        bail!("{} was not built", program.display());
    }
    run(std::process::Command::new(program).args(args))
}
