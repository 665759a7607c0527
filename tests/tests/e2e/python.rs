//! The Python peers.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Into::into)
        .unwrap_or_default()
}

/// Runs one of the scripts of `tests/python` with this standard input.
pub fn run(script: &str, args: &[String], input: &str) -> Result<Output> {
    let python = std::env::var_os("PUNTE_TEST_PYTHON").context(
        "PUNTE_TEST_PYTHON is not set: run the tests by `cargo xtask test`, which makes a Python with the peers",
    )?;
    let mut child = Command::new(python)
        .arg(root().join("tests/python").join(script))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    Ok(output)
}

/// Each document must be valid FHIR R4B, with no reference in a bundle that leads nowhere.
pub fn assert_valid_fhir(documents: &[String]) -> Result<()> {
    assert!(!documents.is_empty(), "there is nothing to validate");
    let lines: Vec<String> = documents.iter().map(|d| d.replace(['\n', '\r'], " ")).collect();
    let output = run("validate.py", &[], &(lines.join("\n") + "\n"))?;
    assert!(
        output.status.success(),
        "not valid FHIR:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// All HL7 samples of the repository.
pub fn samples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("samples/hl7v2"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "hl7"))
        .collect();
    files.sort();
    files
}
