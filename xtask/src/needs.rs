//! What the tests need beside Rust: said precisely when it is missing, installed with `--install`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::tools::{cargo, root, run, target, works};

/// Finds what is needed, or installs it.
pub struct Needs {
    install: bool,
}

impl Needs {
    /// `install`: may install.
    pub fn new(install: bool) -> Result<Self> {
        Ok(Needs { install })
    }

    /// A tool of cargo, in a folder of its own under the target folder unless it is on the path.
    pub fn cargo_tool(&self, name: &str, version: &str) -> Result<PathBuf> {
        let sub = name.trim_start_matches("cargo-");
        if works(name, &[sub, "--version"]) || works(name, &["--version"]) {
            return Ok(name.into());
        }
        let folder = target().join("tools");
        let program = folder.join("bin").join(name);
        if program.exists() {
            return Ok(program);
        }
        let line = format!("cargo install {name} --version {version} --locked");
        if !self.install {
            bail!("{name} is missing. Install it with:\n\n    {line}\n\nor run this command with --install");
        }
        // A target folder of its own: its features must not disturb ours.
        run(cargo()
            .args(["install", name, "--version", version, "--locked", "--root"])
            .arg(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target")))?;
        Ok(program)
    }

    /// A program of the system, in a package of the same name.
    pub fn program(&self, name: &str, version: &[&str]) -> Result<()> {
        self.program_of(&[name], name, version)
    }

    /// A program of the system that is in these packages of Debian.
    pub fn program_of(&self, packages: &[&str], name: &str, version: &[&str]) -> Result<()> {
        if works(name, version) {
            return Ok(());
        }
        self.packages(name, packages)
    }

    /// A file that comes with these packages of Debian.
    pub fn file_of(&self, packages: &[&str], file: &str) -> Result<()> {
        if Path::new(file).exists() {
            return Ok(());
        }
        self.packages(file, packages)
    }

    fn packages(&self, what: &str, packages: &[&str]) -> Result<()> {
        if !self.install {
            bail!(
                "{what} is missing. Install it with:\n\n    apt-get install -y {}\n\nor run this command with --install",
                packages.join(" ")
            );
        }
        run(Command::new("apt-get").arg("update"))?;
        run(Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages))
    }

    /// Prometheus' checker of metrics. Its package is only unpacked under the target folder: installed, it would bring a
    /// service that begins to run. None: it is not here, and may not be brought; its test says so.
    pub fn promtool(&self) -> Result<Option<PathBuf>> {
        if works("promtool", &["--version"]) {
            return Ok(Some("promtool".into()));
        }
        let folder = target().join("tools").join("prometheus");
        let program = folder.join("usr/bin/promtool");
        if !program.exists() && self.install {
            std::fs::create_dir_all(&folder)?;
            run(Command::new("apt-get").arg("update"))?;
            run(Command::new("apt-get")
                .args(["download", "prometheus"])
                .current_dir(&folder))?;
            let unpack = "dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb";
            run(Command::new("sh").args(["-c", unpack]).current_dir(&folder))?;
        }
        Ok(program.exists().then_some(program))
    }

    /// A Python with the peers of the end-to-end tests: a virtual environment under the target folder.
    pub fn python(&self) -> Result<PathBuf> {
        let wanted = std::fs::read_to_string(root().join("tests/python/requirements.txt"))?;
        let folder = target().join("tests-venv");
        let python = folder.join("bin").join("python");
        let stamp = folder.join("installed.txt");
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(python);
        }
        if !works("python3", &["-c", "import venv, ensurepip"]) {
            let line = "apt-get install -y python3 python3-venv";
            if !self.install {
                bail!(
                    "Python 3 with venv is missing. Install it with:\n\n    {line}\n\nor run this command with --install"
                );
            }
            run(Command::new("apt-get").args(["update"]))?;
            run(Command::new("apt-get").args(["install", "-y", "python3", "python3-venv"]))?;
        }
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))?;
        run(Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(root().join("tests/python/requirements.txt")))?;
        std::fs::write(stamp, wanted)?;
        Ok(python)
    }
}
