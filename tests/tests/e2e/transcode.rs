//! Objects that leave in another transfer syntax than they came in: compressed by DCMTK, and read by it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::dicom::{Listening, data_set, dcmtk, dumped, free_port, listening};
use e2e::eventually;
use e2e::program::Home;
use tempfile::TempDir;

use crate::dicom_archive::knows;
use crate::simulate::{files, modality, pacs, text};

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

fn tool(program: &str, args: &[&str]) -> Result<()> {
    let output = dcmtk(program, args)?;
    ensure!(output.status.success(), "{program} {args:?}: {}", text(&output));
    Ok(())
}

/// Objects of two sizes, as they were made and in five transfer syntaxes, each with a UID of its own.
struct Variants {
    sent: PathBuf,
    originals: Vec<PathBuf>,
    /// UID, and as what it is sent.
    all: Vec<(String, &'static str)>,
}

/// How DCMTK makes each of an object, and sends it.
const WAYS: [(&str, Option<&str>, &str); 5] = [
    ("dcmcjpeg", Some("+e1"), "-xs"),
    ("dcmcrle", None, "-xr"),
    ("dcmconv", Some("+ti"), "-xi"),
    ("dcmconv", Some("+tb"), "-xb"),
    ("dcmconv", Some("+te"), "-xe"),
];

impl Variants {
    /// A small object, and one that is long even when it is compressed.
    fn make(folder: &Path) -> Result<Self> {
        let (made, sent) = (folder.join("made"), folder.join("sent"));
        std::fs::create_dir(&sent)?;
        let (_pacs, port) = pacs(&made, &[])?;
        let to = format!("127.0.0.1:{port}");
        for side in ["64", "1500"] {
            let args = [
                to.as_str(),
                "--without",
                "worklist,mpps,commitment",
                "--images",
                "1",
                "--patient-id",
                "P-7",
                "--patient-name",
                "Tira^Ana",
                "--side",
                side,
            ];
            ensure!(modality(&args)?.status.success());
        }
        let originals = files(&made)?;
        let mut all = vec![];
        for original in &originals {
            for (program, more, send) in WAYS {
                let number = all.len() + 1;
                let file = sent.join(format!("{number}.dcm"));
                let (from, into) = (
                    original.to_string_lossy().into_owned(),
                    file.to_string_lossy().into_owned(),
                );
                let args: Vec<&str> = more.into_iter().chain([from.as_str(), into.as_str()]).collect();
                tool(program, &args)?;
                let uid = format!("2.25.55{number}");
                tool("dcmodify", &["-nb", "-m", &format!("(0008,0018)={uid}"), &into])?;
                all.push((uid, send));
            }
        }
        Ok(Variants { sent, originals, all })
    }

    /// Each in its own transfer syntax.
    fn send(&self, port: u16) -> Result<()> {
        let port = port.to_string();
        for (at, (_, send)) in self.all.iter().enumerate() {
            let file = self.sent.join(format!("{}.dcm", at + 1));
            let file = file.to_string_lossy().into_owned();
            tool(
                "storescu",
                &["-aec", "PUNTE", "-R", send, "127.0.0.1", &port, &file],
            )?;
        }
        Ok(())
    }

    /// All lie in a folder, in this transfer syntax, with the pixels that were made.
    fn are_in(&self, folder: &Path, syntax: &str) -> Result<()> {
        for (at, (uid, send)) in self.all.iter().enumerate() {
            let file = found(folder, uid)?;
            let said = dumped(&file)?;
            ensure!(
                said.contains(&format!("(0002,0010) UI [{syntax}]")),
                "{}, sent with {send}: {said}",
                folder.display()
            );
            let original = &self.originals[at / WAYS.len()];
            let is_small = dumped(original)?.contains("(0028,0010) US 64");
            let count = if is_small { 64 * 64 * 2 } else { 1500 * 1500 * 2 };
            let pixels = |file: &Path| -> Result<Vec<u8>> {
                let data = data_set(file)?;
                Ok(data[data.len() - count..].to_vec())
            };
            ensure!(
                pixels(&file)? == pixels(original)?,
                "{send}: the pixels are others"
            );
        }
        Ok(())
    }
}

/// A receiver that takes one transfer syntax, and where it keeps what it took.
fn receiver(folder: &Path, takes: &str) -> Result<(Listening, u16, PathBuf)> {
    let kept = folder.join(format!("kept{takes}"));
    std::fs::create_dir(&kept)?;
    let (port, place) = (free_port()?, kept.to_string_lossy().into_owned());
    let args = [
        "--fork",
        takes,
        "+B",
        "-od",
        &place,
        "-fe",
        ".dcm",
        &port.to_string(),
    ];
    Ok((listening("storescp", &args, port)?, port, kept))
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_objects_leave_as_everybody_takes_them() -> Result<()> {
    let folder = TempDir::new()?;
    let variants = Variants::make(folder.path())?;
    let (_archive, port, kept) = receiver(folder.path(), "+xe")?;
    let channel = format!(
        "id = \"images\"\n[source]\ndicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"viewer\"\nstep = [{{ transcode = \"explicit-little\" }}]\n\
         dicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"VIEWER\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    variants.send(punte.listens("images").port())?;
    let count = variants.all.len();
    eventually("all have left", SOON, async || {
        let messages = punte.messages("&channel=images").await.ok()?;
        let is_sent = messages.iter().all(|message| message["state"] == "routed");
        (files(&kept).ok()?.len() == count && is_sent && messages.len() == count).then_some(())
    })
    .await;
    variants.are_in(&kept, EXPLICIT)?;
    punte.stop()?;
    // A word that is none, with its place.
    let home = Home::with(&[("images", &channel.replace("explicit-little", "jpeg"))])?;
    let checked = home.run(&["check"])?;
    ensure!(text(&checked).contains("explicit-little"), "{}", text(&checked));
    Ok(())
}

/// An archive that takes one transfer syntax gets everything in that, whatever it came in.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_gets_what_it_takes() -> Result<()> {
    let folder = TempDir::new()?;
    let variants = Variants::make(folder.path())?;
    let (_archive, port, kept) = receiver(folder.path(), "+xi")?;
    let channel = format!(
        "id = \"images\"\n[source]\ndicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"old\"\ndicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"OLD\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    variants.send(punte.listens("images").port())?;
    eventually("all have left", SOON, async || {
        (files(&kept).ok()?.len() == variants.all.len()).then_some(())
    })
    .await;
    variants.are_in(&kept, IMPLICIT)?;
    // What can't be decoded is refused, and says so.
    let broken = folder.path().join("broken.dcm");
    let mut bytes = std::fs::read(variants.sent.join("1.dcm"))?;
    let begins = bytes.windows(3).position(|part| part == b"\xFF\xD8\xFF");
    let begins = begins.context("a JPEG image")?;
    bytes[begins + 2..begins + 40].fill(0);
    std::fs::write(&broken, bytes)?;
    let port = punte.listens("images").port().to_string();
    let broken = broken.to_string_lossy().into_owned();
    tool(
        "storescu",
        &["-aec", "PUNTE", "-R", "-xs", "127.0.0.1", &port, &broken],
    )?;
    eventually("it is held", SOON, async || {
        let held = punte.messages("&channel=images&state=held").await.ok()?;
        (held.len() == 1).then_some(())
    })
    .await;
    punte.stop()?;
    Ok(())
}

/// Who asks for images and takes none of the transfer syntaxes that they lie in, gets them without compression.
#[tokio::test(flavor = "multi_thread")]
async fn images_are_given_as_who_asks_takes_them() -> Result<()> {
    let folder = TempDir::new()?;
    let variants = Variants::make(folder.path())?;
    let (_archive, port, moved) = receiver(folder.path(), "+xi")?;
    let channel = format!(
        "id = \"images\"\n[source]\nquestions = \"clinic\"\n[source.dicom]\nlisten = \"127.0.0.1:0\"\n\
         services = [\"store\", \"query\", \"retrieve\"]\n\
         peers = {{ VIEWER = {{ connect = \"127.0.0.1:{port}\" }} }}\n\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    knows(&home, &punte).await?;
    let to = punte.listens("images").port();
    variants.send(to)?;
    let to = to.to_string();
    let asks = |program: &str, study: &str, more: &[&str]| {
        let key = format!("StudyInstanceUID={study}");
        let keys = [
            "-S",
            "-aec",
            "PUNTE",
            "-k",
            "QueryRetrieveLevel=STUDY",
            "-k",
            &key,
        ];
        tool(program, &[more, &keys, &["127.0.0.1", &to]].concat())
    };
    let studies = variants
        .originals
        .iter()
        .map(|original| study(original))
        .collect::<Result<Vec<_>>>()?;
    // It proposes explicit little endian alone, whatever it is told.
    let got = folder.path().join("got");
    std::fs::create_dir(&got)?;
    let place = got.to_string_lossy().into_owned();
    for study in &studies {
        asks("getscu", study, &["+B", "-od", &place])?;
    }
    variants.are_in(&got, EXPLICIT)?;
    for study in &studies {
        asks("movescu", study, &["-aem", "VIEWER"])?;
    }
    variants.are_in(&moved, IMPLICIT)?;
    punte.stop()?;
    Ok(())
}

/// The UID of the study of a file.
fn study(file: &Path) -> Result<String> {
    let said = dumped(file)?;
    let line = said.lines().find(|line| line.starts_with("(0020,000d)"));
    let uid = line.and_then(|line| line.split(['[', ']']).nth(1));
    Ok(uid.context("no study")?.to_owned())
}

/// The file of an object.
fn found(folder: &Path, uid: &str) -> Result<PathBuf> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let name = name.strip_suffix(".dcm").unwrap_or(&name);
        if name == uid || name.ends_with(&format!(".{uid}")) {
            return Ok(path);
        }
    }
    bail!("no {uid} in {}", folder.display())
}
