//! One archive with all that a clinic needs: the program, a systemd unit, channels, docs, samples, schemas, licences,
//! checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::needs::Needs;
use crate::tools::{build_released, cargo, root, run, target};

/// What builds say of themselves that fail on purpose, or can store in plain text: made for tests and measurements alone.
const NEVER_PACKED: [&str; 2] = ["+sabotage", "+bench"];

/// What is packed.
pub struct Dist {
    /// This program, instead of a release build.
    pub program: Option<PathBuf>,
    /// Into this folder, instead of one under the target folder.
    pub to: Option<PathBuf>,
}

/// Builds and packs.
pub fn dist(needs: &Needs, dist: Dist) -> Result<()> {
    for tool in ["tar", "sha256sum"] {
        needs.program(tool, &["--version"])?;
    }
    let program = match dist.program {
        Some(program) => program,
        None => build(needs)?,
    };
    let version = version(&program)?;
    let folder = dist.to.unwrap_or_else(|| target().join("archive"));
    let name = format!(
        "punte-{version}-{}-{}",
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let inner = folder.join(&name);
    if inner.exists() {
        std::fs::remove_dir_all(&inner)?;
    }
    std::fs::create_dir_all(&inner)?;
    let put = |from: &Path, to: &str| {
        let copied = std::fs::copy(from, inner.join(to));
        copied.with_context(|| format!("{} can't be packed", from.display()))
    };
    let size = put(&program, "punte")?;
    for file in ["punte.service", "INSTALL.md"] {
        put(&root().join("xtask/dist").join(file), file)?;
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"] {
        put(&root().join(file), file)?;
    }
    // The pages name the others by their places.
    for folder in ["channels", "docs", "samples", "schemas"] {
        copy_folder(&root().join(folder), &inner.join(folder))?;
    }
    std::fs::write(inner.join("THIRD-PARTY.txt"), third_party()?)?;
    sums(&inner)?;
    let archive = format!("{name}.tar.gz");
    // The same files make the same archive, whoever packs them.
    run(Command::new("tar").current_dir(&folder).args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=2026-01-01 00:00Z",
        "-czf",
        &archive,
        &name,
    ]))?;
    std::fs::remove_dir_all(&inner)?;
    let sum = checked(Command::new("sha256sum").current_dir(&folder).arg(&archive))?;
    std::fs::write(folder.join(format!("{archive}.sha256")), &sum)?;
    let packed = std::fs::metadata(folder.join(&archive))?.len();
    println!("{}", folder.join(&archive).display());
    println!(
        "the program {:.1} MB, the archive {:.1} MB",
        megabytes(size),
        megabytes(packed)
    );
    print!("{sum}");
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The program as it is handed out; says how long it took.
fn build(needs: &Needs) -> Result<PathBuf> {
    let begun = Instant::now();
    let folder = build_released(needs, &[])?;
    println!("the build took {} s", begun.elapsed().as_secs());
    Ok(folder.join(if cfg!(windows) { "punte.exe" } else { "punte" }))
}

/// The version that the program says; refuses one that is made to fail.
fn version(program: &Path) -> Result<String> {
    let said = checked(Command::new(program).arg("--version"))?;
    let version = said
        .trim()
        .strip_prefix("punte ")
        .context("it does not say its version")?;
    if NEVER_PACKED.iter().any(|mark| said.contains(mark)) {
        bail!(
            "{} is a build for tests or measurements ({version}), that fails on purpose or can store in plain text; it is never packed. Build without that feature",
            program.display()
        );
    }
    Ok(version.to_owned())
}

/// What a command prints, if it succeeds.
fn checked(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("{shown} could not be started"))?;
    if !output.status.success() {
        bail!(
            "{shown} failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// `SHA256SUMS` over all files of the folder.
fn sums(folder: &Path) -> Result<()> {
    let mut files = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    files.sort();
    let sums = checked(Command::new("sha256sum").current_dir(folder).args(&files))?;
    Ok(std::fs::write(folder.join("SHA256SUMS"), sums)?)
}

/// The packages that the program is made of, and the texts of their licences, each text once.
fn third_party() -> Result<String> {
    let metadata = checked(cargo().args(["metadata", "--format-version", "1", "--locked", "--offline"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let mut out = String::from("Punte is made with these packages. Their licences follow.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in reached(&metadata, &packages)? {
        let package = packages.get(id).context("a package is not listed")?;
        // Ours has no source.
        if package["source"].is_null() {
            continue;
        }
        let text = |key: &str| package[key].as_str().unwrap_or("-");
        let named = format!("{} {}", text("name"), text("version"));
        out.push_str(&format!(
            "{named:<40} {:<45} {}\n",
            text("license"),
            text("repository")
        ));
        let folder = Path::new(text("manifest_path")).parent().unwrap_or(Path::new(""));
        for licence in licences(folder) {
            texts.entry(licence).or_default().push(named.clone());
        }
    }
    for (text, of) in texts {
        out.push_str(&format!(
            "\n{}\n{}\n\n{}\n",
            "=".repeat(100),
            of.join(", "),
            text.trim_end()
        ));
    }
    Ok(out)
}

/// What the program is built of, by name: the packages that it reaches, without those of tests.
fn reached<'a>(metadata: &'a Value, packages: &BTreeMap<&'a str, &Value>) -> Result<Vec<&'a str>> {
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let name = |id: &str| {
        packages
            .get(id)
            .and_then(|package| package["name"].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let first = nodes
        .keys()
        .find(|id| name(id) == "punte")
        .context("there is no package punte")?;
    let (mut seen, mut next) = (BTreeSet::from([*first]), vec![*first]);
    while let Some(id) = next.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in list(&node["deps"]) {
            let is_for_tests = list(&dependency["dep_kinds"]).all(|kind| kind["kind"] == "dev");
            if let Some(id) = dependency["pkg"].as_str().filter(|_| !is_for_tests)
                && seen.insert(id)
            {
                next.push(id);
            }
        }
    }
    let mut ids: Vec<&str> = seen.into_iter().collect();
    ids.sort_by_key(|id| name(id));
    Ok(ids)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The texts of the licence files in a package's folder.
fn licences(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_uppercase();
            ["LICEN", "COPYING", "NOTICE"]
                .iter()
                .any(|word| name.starts_with(word))
                && path.is_file()
        })
        .collect();
    files.sort();
    let text = |file: PathBuf| Some(String::from_utf8_lossy(&std::fs::read(file).ok()?).replace('\r', ""));
    files.into_iter().filter_map(text).collect()
}
