//! The archive that a clinic gets, made of the program that is tested, unpacked and used.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use e2e::program::binary;
use tempfile::TempDir;

use crate::python::root;

/// The developer command, built beside the program.
fn xtask() -> PathBuf {
    binary().with_file_name("xtask")
}

fn dist(program: &Path, to: &Path) -> Result<Output> {
    let mut command = Command::new(xtask());
    command
        .args(["dist", "--program"])
        .arg(program)
        .arg("--to")
        .arg(to);
    Ok(command.current_dir(root()).output()?)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn succeeds(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    Ok(text(&output))
}

#[test]
fn an_archive_has_all_that_a_clinic_needs() -> Result<()> {
    let folder = TempDir::new()?;
    let packed = dist(&binary(), folder.path())?;
    assert!(packed.status.success(), "{}", text(&packed));
    assert!(
        text(&packed).contains("the program ") && text(&packed).contains("the archive "),
        "{}",
        text(&packed)
    );
    let names: Vec<String> = std::fs::read_dir(folder.path())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let archive = names
        .iter()
        .find(|name| name.ends_with(".tar.gz"))
        .context("no archive")?;
    assert_eq!(names.len(), 2, "the archive and its sum: {names:?}");
    succeeds(
        Command::new("sha256sum")
            .current_dir(folder.path())
            .args(["-c", &format!("{archive}.sha256")]),
    )?;
    succeeds(
        Command::new("tar")
            .current_dir(folder.path())
            .args(["-xzf", archive]),
    )?;
    let home = folder.path().join(archive.trim_end_matches(".tar.gz"));
    succeeds(
        Command::new("sha256sum")
            .current_dir(&home)
            .args(["--quiet", "-c", "SHA256SUMS"]),
    )?;

    // It is the program, and it works from where it was unpacked.
    let program = home.join("punte");
    assert_ne!(
        std::fs::metadata(&program)?.permissions().mode() & 0o111,
        0,
        "it can be run"
    );
    let version = succeeds(Command::new(&program).arg("--version"))?;
    assert!(
        archive.contains(version.trim().trim_start_matches("punte ")),
        "{archive} {version}"
    );
    let checked = succeeds(Command::new(&program).arg("check").arg("--home").arg(&home))?;
    assert!(
        checked.contains("channels in") && checked.contains("are right"),
        "{checked}"
    );
    let tested = succeeds(Command::new(&program).arg("test").arg("--home").arg(&home))?;
    assert!(tested.contains("all as expected"), "{tested}");
    let day = succeeds(Command::new(&program).args(["demo", "--once"]).current_dir(&home))?;
    assert!(day.contains("portal"), "{day}");

    // Whose work it is made of.
    let others = std::fs::read_to_string(home.join("THIRD-PARTY.txt"))?;
    for word in [
        "tokio 1.",
        "rusqlite ",
        "lettre ",
        "Apache License",
        "Permission is hereby granted",
    ] {
        assert!(others.contains(word), "{word}");
    }
    assert!(!others.contains("proptest "), "what only tests need is not in it");
    assert!(home.join("LICENSE-MIT").exists());
    for folder in ["docs/guide", "docs/channels"] {
        for page in std::fs::read_dir(home.join(folder))? {
            leads_nowhere(&page?.path())?;
        }
    }
    assert!(home.join("schemas/channel.schema.json").exists() && home.join("samples/hl7v2").exists());

    // The unit, as systemd reads it; the program lies elsewhere here.
    let unit = std::fs::read_to_string(home.join("punte.service"))?;
    let here = unit.replace("/usr/local/bin/punte", &program.display().to_string());
    let file = folder.path().join("punte.service");
    std::fs::write(&file, here)?;
    if Command::new("systemd-analyze").arg("--version").output().is_ok() {
        let said = succeeds(Command::new("systemd-analyze").arg("verify").arg(&file))?;
        assert!(!said.contains("punte.service"), "{said}");
        // 10 is open to everything, 0 to nothing.
        let arguments = ["security", "--offline=yes", "--threshold=20"];
        succeeds(Command::new("systemd-analyze").args(arguments).arg(&file))?;
    }
    Ok(())
}

/// Fails where a page names a file that is not packed.
fn leads_nowhere(page: &Path) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    for (_, rest) in text
        .match_indices("](")
        .map(|(at, mark)| text.split_at(at + mark.len()))
    {
        let target = rest.split([')', '#']).next().unwrap_or_default();
        let here = page.parent().unwrap_or(page).join(target);
        assert!(
            target.is_empty() || target.starts_with("http") || here.exists(),
            "{} names {target}",
            page.display()
        );
    }
    Ok(())
}

#[test]
fn a_program_that_fails_on_purpose_is_never_packed() -> Result<()> {
    let folder = TempDir::new()?;
    let program = folder.path().join("punte");
    std::fs::write(&program, "#!/bin/sh\necho punte 0.1.0+sabotage\n")?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let to = folder.path().join("dist");
    let refused = dist(&program, &to)?;
    assert!(!refused.status.success());
    assert!(text(&refused).contains("fails on purpose"), "{}", text(&refused));
    assert!(!to.exists(), "nothing was packed");
    Ok(())
}
