//! `punte dicom` against DCMTK, as an integrator uses it.

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use e2e::dicom::{free_port, listening, made};
use e2e::program::binary;
use tempfile::TempDir;

fn by_hand(args: &[&str]) -> Result<Output> {
    Ok(Command::new(binary())
        .arg("dicom")
        .args(args)
        .stdin(Stdio::null())
        .output()?)
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn image(number: u32, patient: &str) -> String {
    let mut text = String::new();
    for (tag, vr, value) in [
        ("0008,0005", "CS", "ISO_IR 192"),
        ("0008,0016", "UI", "1.2.840.10008.5.1.4.1.1.7"),
        ("0008,0018", "UI", &format!("2.25.100{number}")),
        ("0008,0020", "DA", "20261127"),
        ("0008,0060", "CS", "OT"),
        ("0010,0010", "PN", patient),
        ("0010,0020", "LO", "P-1"),
        ("0020,000d", "UI", "2.25.1"),
        ("0020,000e", "UI", "2.25.2"),
        ("0020,0010", "SH", "1"),
    ] {
        let _ = writeln!(text, "({tag}) {vr} [{value}]");
    }
    text
}

#[test]
fn an_archive_is_asked_and_filled_by_hand() -> Result<()> {
    let folder = TempDir::new()?;
    let archive = folder.path().join("ARCHIVE");
    let study = folder.path().join("study");
    std::fs::create_dir(&archive)?;
    std::fs::create_dir_all(study.join("inner"))?;
    for (number, place) in [(1, "1.dcm"), (2, "2.dcm"), (3, "inner/3.dcm")] {
        made(&study.join(place), &image(number, "Țepeș^Ștefan"))?;
    }
    let port = free_port()?;
    let config = folder.path().join("dcmqrscp.cfg");
    std::fs::write(
        &config,
        format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\n\
             VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nARCHIVE {} RW (10, 100mb) ANY\nAETable END\n",
            archive.display()
        ),
    )?;
    let _archive = listening("dcmqrscp", &["-c", &config.to_string_lossy()], port)?;
    let to = format!("127.0.0.1:{port}");
    let output = by_hand(&["echo", &to, "--called", "ARCHIVE"])?;
    ensure!(
        output.status.success() && said(&output).contains("answers 0000 done"),
        "{}",
        said(&output)
    );
    let output = by_hand(&["store", &to, "--called", "ARCHIVE", &study.to_string_lossy()])?;
    ensure!(
        output.status.success() && said(&output).contains("3 of 3 taken"),
        "{}",
        said(&output)
    );
    // What it does not take as it is, is written anew on its way.
    let deflated = crate::python::root().join("samples/dicom/cr-deflated.dcm");
    let output = by_hand(&["store", &to, "--called", "ARCHIVE", &deflated.to_string_lossy()])?;
    ensure!(
        output.status.success() && said(&output).contains("1 of 1 taken"),
        "{}",
        said(&output)
    );
    // By a part of the name with the letters of the country, down to the image.
    let output = by_hand(&["find", &to, "--called", "ARCHIVE", "-k", "PatientName=Țep*"])?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(
        said(&output).contains("PatientName: Țepeș^Ștefan") && said(&output).contains("1 found"),
        "{}",
        said(&output)
    );
    let images = [
        "-k",
        "StudyInstanceUID=2.25.1",
        "-k",
        "SeriesInstanceUID=2.25.2",
        "--level",
        "image",
    ];
    let output = by_hand(&[&["find", &to, "--called", "ARCHIVE"], &images[..]].concat())?;
    ensure!(said(&output).contains("3 found"), "{}", said(&output));
    let output = by_hand(&[&["find", &to, "--called", "ARCHIVE", "--limit", "1"], &images[..]].concat())?;
    ensure!(
        output.status.success() && said(&output).contains("1 found"),
        "{}",
        said(&output)
    );
    // Fetched, each object is what was sent.
    let fetched = folder.path().join("fetched");
    let place = fetched.to_string_lossy().into_owned();
    let output = by_hand(&[
        "get", &to, "--called", "ARCHIVE", "--study", "2.25.1", "--to", &place,
    ])?;
    ensure!(
        output.status.success() && said(&output).contains("3 written"),
        "{}",
        said(&output)
    );
    for (sent, got) in [("1.dcm", "2.25.1001.dcm"), ("inner/3.dcm", "2.25.1003.dcm")] {
        let (sent, got) = (
            std::fs::read(study.join(sent))?,
            std::fs::read(fetched.join(got))?,
        );
        // The archive writes data sets anew; the patient is at its end, behind what it may have added.
        let patient = "Țepeș^Ștefan".as_bytes();
        ensure!(
            [&sent, &got]
                .iter()
                .all(|file| file.windows(patient.len()).any(|bytes| bytes == patient))
        );
    }
    let to_itself = [
        "move",
        &to,
        "--called",
        "ARCHIVE",
        "--study",
        "2.25.1",
        "--to",
        "ELSEWHERE",
    ];
    let moved = by_hand(&to_itself)?;
    ensure!(
        moved.status.code() == Some(1) && said(&moved).contains("A801"),
        "{}",
        said(&moved)
    );
    // What goes wrong says what it is, and is a failure.
    let text = study.join("no-image.txt");
    std::fs::write(&text, "no image")?;
    for (args, expected) in [
        (
            vec!["store", &to, "--called", "ARCHIVE", &text.to_string_lossy()],
            "it is no DICOM file",
        ),
        (
            vec!["find", &to, "--called", "ARCHIVE", "-k", "PatientNmae"],
            "the standard knows no \"PatientNmae\"",
        ),
        (
            vec!["find", &to, "--called", "NOBODY"],
            "is not the called AE title",
        ),
        (
            vec!["worklist", &to, "--called", "ARCHIVE"],
            "accepted no presentation context",
        ),
        (
            vec!["echo", "127.0.0.1:1", "--called", "ARCHIVE"],
            "Can't connect",
        ),
    ] {
        let output = by_hand(&args)?;
        ensure!(
            output.status.code() == Some(1) && said(&output).contains(expected),
            "{args:?}: {}",
            said(&output)
        );
    }
    Ok(())
}

#[test]
fn a_worklist_is_asked_by_hand() -> Result<()> {
    let folder = TempDir::new()?;
    let list = folder.path().join("WORKLIST");
    std::fs::create_dir(&list)?;
    std::fs::write(list.join("lockfile"), "")?;
    for (name, day) in [("a.wl", "20261127"), ("b.wl", "20261128")] {
        let text = format!(
            "(0008,0050) SH [A-{day}]\n(0008,1110) SQ\n(fffe,e0dd) -\n(0010,0010) PN [POP^ANA]\n(0010,0020) LO [P-1]\n\
             (0020,000d) UI [2.25.{day}]\n(0032,1060) LO [CT]\n(0040,0100) SQ\n(fffe,e000) -\n(0008,0060) CS [CT]\n\
             (0040,0001) AE [CT1]\n(0040,0002) DA [{day}]\n(0040,0003) TM [0900]\n(0040,0007) LO [CT]\n\
             (0040,0009) SH [S]\n(fffe,e00d) -\n(fffe,e0dd) -\n(0040,1001) SH [R]\n"
        );
        made(&list.join(name), &text)?;
    }
    let port = free_port()?;
    let lists = folder.path().to_string_lossy().into_owned();
    let _worklist = listening("wlmscpfs", &["-csk", "-dfp", &lists, &port.to_string()], port)?;
    let to = format!("127.0.0.1:{port}");
    let asked = ["worklist", &to, "--called", "WORKLIST", "--modality", "CT"];
    let output = by_hand(&[&asked[..], &["--date", "20261127"]].concat())?;
    ensure!(
        output.status.success() && said(&output).contains("1 found"),
        "{}",
        said(&output)
    );
    for line in [
        "AccessionNumber: A-20261127",
        "PatientName: POP^ANA",
        "  ScheduledStationAETitle: CT1",
    ] {
        ensure!(
            said(&output).lines().any(|said| said == line),
            "{line}: {}",
            said(&output)
        );
    }
    let output = by_hand(&[&asked[..], &["--date", "20261127-20261130"]].concat())?;
    ensure!(said(&output).contains("2 found"), "{}", said(&output));
    Ok(())
}
