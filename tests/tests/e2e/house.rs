//! Rules of the house that can be tested.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::python::{root, samples};

/// The edges between our crates that ARCHITECTURE.md allows.
const EDGES: &[(&str, &str)] = &[
    ("engine", "clinic"),
    ("mappings", "clinic"),
    ("mappings-fhir", "clinic"),
    ("mappings-fhir", "fhir-gate"),
    ("connectors", "engine"),
    // The words of an answer (clinic::exchange), nothing of the clinic itself.
    ("connectors", "clinic"),
    // The wire of DICOM, of which the connector is the end.
    ("connectors", "dimse"),
    ("scripts", "engine"),
    // The words of a failure, and the change set that a script may change.
    ("scripts", "clinic"),
    ("punte", "clinic"),
    ("punte", "engine"),
    ("punte", "mappings"),
    ("punte", "mappings-fhir"),
    ("punte", "connectors"),
    // `punte dicom` speaks it by hand.
    ("punte", "dimse"),
    ("punte", "scripts"),
    // The benchmark's bare loop writes the rows of the store itself.
    ("e2e", "engine"),
    ("e2e", "clinic"),
    // … and is a modality and an archive beside it.
    ("e2e", "dimse"),
];

#[test]
fn crates_know_only_whom_they_may() -> Result<()> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    assert!(ours.contains("engine"));
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_for_tests = dependency["kind"] == "dev";
            if ours.contains(other) && !is_for_tests {
                assert!(
                    EDGES.contains(&(name, other)),
                    "{name} may not know {other} (ARCHITECTURE.md)"
                );
            }
        }
    }
    Ok(())
}

/// A CNP names a county; no county has these numbers, so that nobody bears them.
#[test]
fn samples_hold_no_cnp_of_a_real_person() -> Result<()> {
    for file in samples() {
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        for digits in text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| digits.len() == 13)
        {
            let first = digits.as_bytes()[0];
            let month: u32 = digits[3..5].parse()?;
            let is_cnp = (b'1'..=b'8').contains(&first) && (1..=12).contains(&month);
            let (county, serial): (u32, u32) = (digits[7..9].parse()?, digits[9..12].parse()?);
            // Nobody is registered in a county that does not exist; serial numbers from 900 on are given to nobody.
            assert!(
                !is_cnp || 52 < county || 900 <= serial,
                "{}: {}… may belong to somebody",
                file.display(),
                &digits[..7]
            );
        }
    }
    Ok(())
}

#[test]
fn the_repository_names_no_machine() -> Result<()> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["grep", "-nE", "/(root|home)/[a-z.]"])
        .output()?;
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Vec<&str> = found
        .lines()
        .filter(|line| !line.starts_with("tests/tests/e2e/house.rs"))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    Ok(())
}
