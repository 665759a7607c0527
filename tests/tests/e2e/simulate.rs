//! `punte simulate` against others: DCMTK and pynetdicom call the simulated PACS, and the simulated modality calls a
//! worklist of DCMTK, a RIS of pynetdicom, and Orthanc.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::dicom::{Modality, Orthanc, data_set, dcmtk, dumped, free_port, listening, made};
use e2e::eventually;
use e2e::program::binary;
use serde_json::Value;
use tempfile::TempDir;

use crate::python;

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A program whose lines are read as they come. Killed when dropped.
pub struct Talking {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Talking {
    pub fn start(command: &mut Command) -> Result<Talking> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout: ChildStdout = child.stdout.take().context("no standard output")?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let into = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Talking { child, lines })
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line with this in it.
    pub fn says(&self, what: &str) -> Result<String> {
        for _ in 0..3000 {
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(what)) {
                return Ok(line);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it does not say {what:?}, but {:#?}", self.lines())
    }

    fn ends(&mut self) -> Result<i32> {
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait()? {
                return status.code().context("killed");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it does not end, and says {:#?}", self.lines())
    }
}

/// A simulated PACS in a folder, and its port.
pub fn pacs(folder: &Path, more: &[&str]) -> Result<(Talking, u16)> {
    pacs_at(0, folder, more)
}

/// At a port.
pub fn pacs_at(port: u16, folder: &Path, more: &[&str]) -> Result<(Talking, u16)> {
    let mut command = Command::new(binary());
    let listen = format!("127.0.0.1:{port}");
    command.args(["simulate", "pacs", "--listen", &listen, "--folder"]);
    let pacs = Talking::start(command.arg(folder).args(more))?;
    let line = pacs.says(" listens on ")?;
    let port = line.split(' ').find_map(|word| word.strip_prefix("127.0.0.1:"));
    let port = port.with_context(|| line.clone())?.parse()?;
    Ok((pacs, port))
}

pub fn modality(args: &[&str]) -> Result<Output> {
    let output = Command::new(binary())
        .args(["simulate", "modality"])
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}

fn image(number: u32, patient: &str) -> String {
    format!(
        "(0008,0005) CS [ISO_IR 192]\n(0008,0016) UI [1.2.840.10008.5.1.4.1.1.7]\n(0008,0018) UI [2.25.10{number}]\n\
         (0008,0020) DA [20261127]\n(0008,0050) SH [ACC7]\n(0008,0060) CS [OT]\n(0010,0010) PN [{patient}]\n\
         (0010,0020) LO [P-{patient}]\n(0020,000d) UI [2.25.{number}]\n(0020,000e) UI [2.25.9]\n(0020,0010) SH [1]\n"
    )
}

pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|file| Ok(file?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "dcm"));
    files.sort();
    Ok(files)
}

fn store(port: u16, called: &str, folder: &Path) -> Result<Output> {
    let (port, folder) = (port.to_string(), folder.to_string_lossy().into_owned());
    dcmtk(
        "storescu",
        &[
            "-aet",
            "CT1",
            "-aec",
            called,
            "-R",
            "127.0.0.1",
            &port,
            "+sd",
            &folder,
        ],
    )
}

#[test]
fn a_simulated_pacs_takes_and_finds_as_dcmtk_expects() -> Result<()> {
    let folder = TempDir::new()?;
    let (sent, kept) = (folder.path().join("sent"), folder.path().join("kept"));
    std::fs::create_dir(&sent)?;
    for (number, patient) in [(1, "Țepeș^Ștefan"), (2, "Țepeș^Ștefan"), (3, "Pop^Ana")] {
        made(&sent.join(format!("{number}.dcm")), &image(number, patient))?;
    }
    let (pacs, port) = pacs(&kept, &["--title", "ARCHIVE"])?;
    let to = port.to_string();
    let echo = dcmtk("echoscu", &["-aec", "ARCHIVE", "127.0.0.1", &to])?;
    ensure!(echo.status.success(), "{}", text(&echo));
    let stranger = dcmtk("echoscu", &["-aec", "OTHER", "127.0.0.1", &to])?;
    ensure!(
        !stranger.status.success() && text(&stranger).contains("Called AE Title Not Recognized"),
        "{}",
        text(&stranger)
    );

    // Byte for byte, once, whatever comes again.
    ensure!(store(port, "ARCHIVE", &sent)?.status.success());
    ensure!(store(port, "ARCHIVE", &sent)?.status.success());
    for number in 1..=3 {
        let came = data_set(&kept.join(format!("2.25.10{number}.dcm")))?;
        ensure!(
            came == data_set(&sent.join(format!("{number}.dcm")))?,
            "object {number}"
        );
    }
    ensure!(files(&kept)?.len() == 3);
    made(&sent.join("3.dcm"), &image(3, "Altcineva^X"))?;
    ensure!(store(port, "ARCHIVE", &sent)?.status.success());
    pacs.says("again     with other bytes; the first one stays  2.25.103")?;
    ensure!(dumped(&kept.join("2.25.103.dcm"))?.contains("[Pop^Ana]"));

    // Found, as findscu asks.
    let find = |keys: &[&str]| -> Result<String> {
        let mut args = vec!["-S", "-aec", "ARCHIVE"];
        keys.iter().for_each(|key| args.extend(["-k", key]));
        args.extend(["127.0.0.1", &to]);
        Ok(text(&dcmtk("findscu", &args)?))
    };
    let found = find(&[
        "QueryRetrieveLevel=STUDY",
        "PatientName=tepes*",
        "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
        "ModalitiesInStudy",
    ])?;
    ensure!(
        found.matches("(0020,000d)").count() == 2 && found.contains("[2.25.2]"),
        "{found}"
    );
    ensure!(found.contains("(0008,0052)") && found.contains("[OT]"), "{found}");
    let found = find(&[
        "QueryRetrieveLevel=IMAGE",
        "StudyInstanceUID=2.25.3",
        "SeriesInstanceUID=2.25.9",
        "SOPInstanceUID",
    ])?;
    ensure!(
        found.contains("[2.25.103]") && !found.contains("[2.25.101]"),
        "{found}"
    );
    find(&["QueryRetrieveLevel=HOUSE", "PatientName"])?;
    pacs.says("question that can't be answered")?;
    Ok(())
}

#[test]
fn a_simulated_pacs_finds_what_lay_there_and_ends_when_it_has_enough() -> Result<()> {
    let folder = TempDir::new()?;
    let (sent, kept) = (folder.path().join("sent"), folder.path().join("kept"));
    std::fs::create_dir(&sent)?;
    made(&sent.join("1.dcm"), &image(1, "Pop^Ana"))?;
    let (mut first, port) = pacs(&kept, &["--until", "1"])?;
    ensure!(store(port, "ANY", &sent)?.status.success());
    ensure!(first.ends()? == 0, "{:?}", first.lines());
    let (again, _port) = pacs(&kept, &[])?;
    again.says("it has 1 object in")?;
    // What is half there is not there.
    let names: Vec<_> = std::fs::read_dir(&kept)?
        .map(|file| file.map(|file| file.file_name()))
        .collect();
    ensure!(names.len() == 1, "{names:?}");
    Ok(())
}

#[test]
fn a_simulated_pacs_misbehaves_as_it_is_told() -> Result<()> {
    let folder = TempDir::new()?;
    let sent = folder.path().join("sent");
    std::fs::create_dir(&sent)?;
    for number in 1..=3 {
        made(&sent.join(format!("{number}.dcm")), &image(number, "Pop^Ana"))?;
    }
    let run = |name: &str, more: &[&str]| -> Result<(Output, usize, Talking, u16)> {
        let kept = folder.path().join(name);
        let (pacs, port) = pacs(&kept, more)?;
        let output = store(port, "ANY", &sent)?;
        let count = files(&kept)?.len();
        Ok((output, count, pacs, port))
    };
    // Full at first: storescu stops at the first refusal, and comes again.
    let (output, count, _pacs, port) = run("full", &["--refuse", "1"])?;
    ensure!(output.status.code() == Some(0xA7), "{}", text(&output));
    ensure!(count == 0);
    ensure!(store(port, "ANY", &sent)?.status.success());
    ensure!(files(&folder.path().join("full"))?.len() == 3);
    let (output, count, ..) = run("never", &["--status", "C000"])?;
    ensure!(!output.status.success() && count == 0, "{}", text(&output));
    let (output, count, pacs, port) = run("abort", &["--abort-after", "2"])?;
    ensure!(
        !output.status.success() && count == 2,
        "{count} {}",
        text(&output)
    );
    pacs.says("aborted within  2.25.10")?;
    ensure!(store(port, "ANY", &sent)?.status.success(), "once");
    let (output, count, _pacs, port) = run("reject", &["--reject", "1"])?;
    ensure!(!output.status.success() && count == 0, "{}", text(&output));
    ensure!(store(port, "ANY", &sent)?.status.success());
    let begun = std::time::Instant::now();
    let (output, ..) = run("slow", &["--slow", "200ms"])?;
    ensure!(output.status.success() && Duration::from_millis(600) <= begun.elapsed());
    let wrong = Command::new(binary())
        .args(["simulate", "pacs", "--status", "A7"])
        .output()?;
    ensure!(
        wrong.status.code() == Some(2) && text(&wrong).contains("four hex digits"),
        "{}",
        text(&wrong)
    );
    Ok(())
}

#[test]
fn a_simulated_pacs_keeps_for_good_what_pynetdicom_asks_it_to() -> Result<()> {
    let folder = TempDir::new()?;
    let (_pacs, port) = pacs(folder.path(), &["--title", "ARCHIVE"])?;
    let mut ct = Modality::start(&python::root().join("tests/python"), port, "ARCHIVE", "CT1")?;
    ct.does("unplanned")?;
    ensure!(ct.does("images 3 16")?["statuses"] == serde_json::json!([0, 0, 0]));
    let told = ct.does("commit")?;
    ensure!(
        told["event"] == 1 && told["same"] == true && told["committed"] == 3,
        "{told}"
    );
    // One that is not here any more is said to be missing; the folder is read at the start only.
    let one = files(folder.path())?.remove(0);
    drop(ct);
    std::fs::remove_file(one)?;
    let (_pacs, port) = pacs(folder.path(), &[])?;
    let mut ct = Modality::start(&python::root().join("tests/python"), port, "ANY", "CT1")?;
    ct.does("unplanned")?;
    ct.does("images 2 16")?;
    ensure!(ct.does("commit")?["committed"] == 2);
    Ok(())
}

/// Entries of a worklist for wlmscpfs.
fn worklist(folder: &Path) -> Result<()> {
    let list = folder.join("WORKLIST");
    std::fs::create_dir(&list)?;
    std::fs::write(list.join("lockfile"), "")?;
    for (number, modality, name) in [
        (1, "CT", "Știrbei^Ruxandra"),
        (2, "US", "Pop^Ana"),
        (3, "CR", "Rusu^Ion"),
        (4, "MR", "Lupu^Vera"),
        (5, "DX", "Radu^Dan"),
    ] {
        let text = format!(
            "(0008,0005) CS [ISO_IR 192]\n(0008,0050) SH [ACC-{number}]\n(0008,0090) PN [Medic^Ioana]\n(0008,1110) SQ\n\
             (fffe,e0dd) -\n(0010,0010) PN [{name}]\n(0010,0020) LO [P-{number}]\n(0010,0030) DA [19790312]\n(0010,0040) CS [F]\n\
             (0020,000d) UI [2.25.77{number}]\n(0032,1060) LO [Examen {modality}]\n(0040,0100) SQ\n(fffe,e000) -\n\
             (0008,0060) CS [{modality}]\n(0040,0001) AE [CT1]\n(0040,0002) DA [20261127]\n(0040,0003) TM [0{number}00]\n\
             (0040,0007) LO [Pas {modality}]\n(0040,0008) SQ\n(fffe,e000) -\n(0008,0100) SH [PROT{number}]\n(0008,0102) SH [99LOCAL]\n\
             (0008,0104) LO [Protocol]\n(fffe,e00d) -\n(fffe,e0dd) -\n\
             (0040,0009) SH [SPS-{number}]\n(fffe,e00d) -\n(fffe,e0dd) -\n(0040,1001) SH [RP-{number}]\n"
        );
        made(&list.join(format!("{number}.wl")), &text)?;
    }
    Ok(())
}

#[test]
fn a_simulated_modality_does_what_the_worklist_of_dcmtk_says() -> Result<()> {
    let folder = TempDir::new()?;
    worklist(folder.path())?;
    let (lists, archive) = (
        folder.path().to_string_lossy().into_owned(),
        folder.path().join("archive"),
    );
    std::fs::create_dir(&archive)?;
    let (listed, stored) = (free_port()?, free_port()?);
    let _worklist = listening("wlmscpfs", &["-csk", "-dfp", &lists, &listed.to_string()], listed)?;
    let place = archive.to_string_lossy().into_owned();
    let args = [
        "--fork",
        "+xa",
        "-aet",
        "ARCHIVE",
        "-od",
        &place,
        "-fe",
        ".dcm",
        &stored.to_string(),
    ];
    let _archive = listening("storescp", &args, stored)?;
    let (to, store_to) = (format!("127.0.0.1:{listed}"), format!("127.0.0.1:{stored}"));
    let base = [
        to.as_str(),
        "--called",
        "WORKLIST",
        "--store-to",
        &store_to,
        "--store-called",
        "ARCHIVE",
        "--without",
        "mpps,commitment",
        "--side",
        "64",
    ];

    let output = modality(&[&base[..], &["--modality", "CT", "--images", "2"]].concat())?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(
        text(&output).contains("worklist: 1 planned")
            && text(&output).contains("1 examination, 2 images: all"),
        "{}",
        text(&output)
    );
    let images = files(&archive)?;
    ensure!(images.len() == 2, "{images:?}");
    let said = dumped(&images[0])?;
    for value in [
        "(0010,0010) PN [Știrbei^Ruxandra]",
        "(0010,0020) LO [P-1]",
        "(0010,0030) DA [19790312]",
        "(0008,0050) SH [ACC-1]",
        "(0020,000d) UI [2.25.771]",
        "(0008,0060) CS [CT]",
        "(0040,0009) SH [SPS-1]",
        "(0040,1001) SH [RP-1]",
        "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]",
        "(0008,0090) PN [Medic^Ioana]",
        "(0008,0100) SH [PROT1]",
        "(0028,0010) US 64",
    ] {
        ensure!(said.contains(value), "{value}:\n{said}");
    }
    let series = |said: &str| {
        said.lines()
            .find(|line| line.starts_with("(0020,000e)"))
            .map(str::to_owned)
    };
    ensure!(
        series(&said).is_some() && series(&said) == series(&dumped(&images[1])?),
        "one series"
    );

    // All of them; each as its kind of object, and each can be read to its end and shown.
    let output = modality(&[&base[..], &["--all", "--images", "1"]].concat())?;
    ensure!(
        output.status.success() && text(&output).contains("5 examinations, 5 images"),
        "{}",
        text(&output)
    );
    let images = files(&archive)?;
    ensure!(images.len() == 7);
    for image in &images {
        let shown = folder.path().join("shown.pgm");
        let output = dcmtk(
            "dcm2pnm",
            &["+Wm", &image.to_string_lossy(), &shown.to_string_lossy()],
        )?;
        ensure!(
            output.status.success() && std::fs::read(&shown)?.starts_with(b"P"),
            "{}",
            text(&output)
        );
    }
    let classes: Vec<&str> = ["1.2", "1.6.1", "1.1", "1.4", "1.7"].to_vec();
    let all = images
        .iter()
        .map(|image| dumped(image))
        .collect::<Result<Vec<_>>>()?
        .concat();
    for class in classes {
        ensure!(
            all.contains(&format!("(0008,0016) UI [1.2.840.10008.5.1.4.1.{class}]")),
            "{class}"
        );
    }

    // Nothing that fits, or a step that is not there.
    let output = modality(&[&base[..], &["--modality", "MG"]].concat())?;
    ensure!(
        output.status.code() == Some(1) && text(&output).contains("Nothing is planned"),
        "{}",
        text(&output)
    );
    let output = modality(&[&base[..], &["--pick", "9"]].concat())?;
    ensure!(
        output.status.code() == Some(1) && text(&output).contains("there are 5 planned"),
        "{}",
        text(&output)
    );
    // Misbehaviour, as the archive sees it.
    let output = modality(
        &[
            &base[..],
            &[
                "-k",
                "AccessionNumber=ACC-2",
                "--images",
                "1",
                "--wrong-patient",
                "--duplicate=changed",
            ],
        ]
        .concat(),
    )?;
    ensure!(
        output.status.success() && text(&output).contains("image 1 again"),
        "{}",
        text(&output)
    );
    let all = files(&archive)?
        .iter()
        .map(|image| dumped(image))
        .collect::<Result<Vec<_>>>()?
        .concat();
    ensure!(all.contains("PN [Wrong^Patient]") && all.contains("LO [SIMULATED-WRONG]"));
    let before = files(&archive)?.len();
    let output = modality(
        &[
            &base[..],
            &["--images", "3", "--abort-after", "1", "--slow", "50ms"],
        ]
        .concat(),
    )?;
    ensure!(
        output.status.success() && text(&output).contains("aborted, as asked for"),
        "{}",
        text(&output)
    );
    let whole = files(&archive)?
        .iter()
        .filter(|file| dumped(file).is_ok_and(|said| said.contains("(7fe0,0010)")))
        .count();
    ensure!(whole == before + 1, "{whole} after {before}");
    // MPPS and commitment are not offered by a worklist and an archive of that kind; that is said, and is a failure.
    let output = modality(&[&base[..7], &["--modality", "CT", "--images", "1"]].concat())?;
    ensure!(output.status.code() == Some(1), "{}", text(&output));
    ensure!(
        text(&output).contains("does not offer the service MPPS"),
        "{}",
        text(&output)
    );
    ensure!(
        text(&output).contains("does not offer the service storage commitment"),
        "{}",
        text(&output)
    );
    Ok(())
}

#[test]
fn a_simulated_modality_says_what_it_does_as_strictly_as_the_standard_asks() -> Result<()> {
    let python = std::env::var_os("PUNTE_TEST_PYTHON").context("PUNTE_TEST_PYTHON is not set")?;
    let port = free_port()?;
    let script = python::root().join("tests/python/mpps_server.py");
    let ris = Talking::start(Command::new(python).arg(script).arg(port.to_string()))?;
    ris.says("ready")?;
    let folder = TempDir::new()?;
    let (_pacs, archive) = pacs(
        folder.path(),
        &[
            "--report-to",
            &format!("127.0.0.1:{port}"),
            "--report-called",
            "CT1",
        ],
    )?;
    let (to, store_to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{archive}"));
    let base = [
        to.as_str(),
        "--called",
        "RIS",
        "--store-to",
        &store_to,
        "--without",
        "worklist,commitment",
        "--patient-id",
        "P-9",
        "--patient-name",
        "Țîră^Ana",
        "--side",
        "32",
    ];
    let told = || -> Vec<Value> {
        ris.lines()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };

    let output = modality(&[&base[..], &["--images", "2", "--repeat-create"]].concat())?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(text(&output).contains("begins        0111"), "{}", text(&output));
    ris.says("COMPLETED")?;
    let said = told();
    let [begun, again, ended] = &said[1..] else {
        bail!("{said:?}")
    };
    ensure!(
        begun["create"]["fault"].is_null() && again["create"]["fault"] == "uid",
        "{said:?}"
    );
    ensure!(
        begun["create"]["name"] == "Țîră^Ana" && begun["create"]["id"] == "P-9",
        "{said:?}"
    );
    ensure!(
        ended["set"]["fault"].is_null() && ended["set"]["uid"] == begun["create"]["uid"],
        "{said:?}"
    );
    let stored: Vec<String> = files(folder.path())?
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    let mut images: Vec<String> = ended["set"]["images"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|uid| Some(uid.as_str()?.to_owned()))
        .collect();
    images.sort();
    ensure!(images == stored, "{images:?} {stored:?}");
    ensure!(
        dumped(&files(folder.path())?[0])?.contains(begun["create"]["uid"].as_str().unwrap_or("none")),
        "the images name their step"
    );

    let output = modality(&[&base[..], &["--images", "0", "--discontinue", "wrong-entry"]].concat())?;
    ensure!(output.status.success(), "{}", text(&output));
    let line = ris.says("DISCONTINUED")?;
    ensure!(line.contains("110514"), "{line}");
    let sets = |said: &[Value]| said.iter().filter(|line| !line["set"].is_null()).count();
    let before = sets(&told());
    let output = modality(&[&base[..], &["--images", "1", "--no-final"]].concat())?;
    ensure!(
        output.status.success() && sets(&told()) == before,
        "{}",
        text(&output)
    );

    // The report comes by an association of its own, to whom the archive knows by the title.
    let args = [
        &base[..5],
        &[
            "--without",
            "worklist,mpps",
            "--images",
            "2",
            "--side",
            "32",
            "--patience",
            "1s",
        ],
    ]
    .concat();
    let output = modality(&args)?;
    ensure!(
        output.status.code() == Some(1) && text(&output).contains("no report of storage commitment"),
        "{}",
        text(&output)
    );
    let report: Value = serde_json::from_str(&ris.says("report")?)?;
    ensure!(
        report["report"]["event"] == 1 && report["report"]["kept"].as_array().map(Vec::len) == Some(2),
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_modality_has_its_images_committed_by_orthanc() -> Result<()> {
    let device = free_port()?;
    let orthanc = Orthanc::start(&[("CT1", device)]).await?;
    let (to, listen) = (
        format!("127.0.0.1:{}", orthanc.dicom),
        format!("127.0.0.1:{device}"),
    );
    let args = [
        to.as_str(),
        "--called",
        "ORTHANC",
        "--calling",
        "CT1",
        "--without",
        "worklist,mpps",
        "--listen",
        &listen,
        "--modality",
        "US",
    ];
    let output = modality(&args)?;
    ensure!(output.status.success(), "{}\n{}", text(&output), orthanc.log());
    ensure!(
        text(&output).contains("3 kept for good, by an association of its own"),
        "{}",
        text(&output)
    );
    eventually("the images are there", SOON, async || {
        (orthanc.instances().await.ok()?.len() == 3).then_some(())
    })
    .await;
    // Nobody listens there: it is refused, and said.
    let output = modality(&["127.0.0.1:1", "--without", "worklist"])?;
    ensure!(
        output.status.code() == Some(1) && text(&output).contains("Can't connect"),
        "{}",
        text(&output)
    );
    Ok(())
}
