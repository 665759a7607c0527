//! Objects that leave in another transfer syntax than they came in: compressed by DCMTK, and read by it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{data_set, dcmtk, dumped, free_port, listening};
use e2e::eventually;
use e2e::program::Home;
use tempfile::TempDir;

use crate::simulate::{files, modality, pacs, text};

/// How long something may take that is to happen.
const SOON: Duration = Duration::from_secs(30);

fn tool(program: &str, args: &[&str]) -> Result<()> {
    let output = dcmtk(program, args)?;
    ensure!(output.status.success(), "{program} {args:?}: {}", text(&output));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_objects_leave_as_everybody_takes_them() -> Result<()> {
    let folder = TempDir::new()?;
    let (made, sent, kept) = (
        folder.path().join("made"),
        folder.path().join("sent"),
        folder.path().join("kept"),
    );
    std::fs::create_dir(&sent)?;
    std::fs::create_dir(&kept)?;
    // A small object, and one that is long even when it is compressed.
    let (_pacs, port) = pacs(&made, &[])?;
    let to = format!("127.0.0.1:{port}");
    for side in ["64", "1500"] {
        let args = [
            to.as_str(),
            "--without",
            "worklist,mpps,commitment",
            "--images",
            "1",
            "--side",
            side,
        ];
        ensure!(modality(&args)?.status.success());
    }
    let originals = files(&made)?;
    let mut number = 0;
    let mut all: Vec<(String, String)> = vec![];
    for original in &originals {
        for (program, more, send) in [
            ("dcmcjpeg", Some("+e1"), "-xs"),
            ("dcmcrle", None, "-xr"),
            ("dcmconv", Some("+ti"), "-xi"),
            ("dcmconv", Some("+tb"), "-xb"),
            ("dcmconv", Some("+te"), "-xe"),
        ] {
            number += 1;
            let file = sent.join(format!("{number}.dcm"));
            let (from, into) = (
                original.to_string_lossy().into_owned(),
                file.to_string_lossy().into_owned(),
            );
            let args: Vec<&str> = more.into_iter().chain([from.as_str(), into.as_str()]).collect();
            tool(program, &args)?;
            let uid = format!("2.25.55{number}");
            tool("dcmodify", &["-nb", "-m", &format!("(0008,0018)={uid}"), &into])?;
            all.push((uid, send.to_owned()));
        }
    }
    let port = free_port()?;
    let place = kept.to_string_lossy().into_owned();
    let args = [
        "--fork",
        "+xe",
        "+B",
        "-od",
        &place,
        "-fe",
        ".dcm",
        &port.to_string(),
    ];
    let _archive = listening("storescp", &args, port)?;
    let channel = format!(
        "id = \"images\"\n[source]\ndicom = {{ listen = \"127.0.0.1:0\", services = [\"store\"] }}\n\
         [[destination]]\nname = \"viewer\"\nstep = [{{ transcode = \"explicit-little\" }}]\n\
         dicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"VIEWER\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    let to = punte.listens("images").port().to_string();
    for (at, (_, send)) in all.iter().enumerate() {
        let file = sent
            .join(format!("{}.dcm", at + 1))
            .to_string_lossy()
            .into_owned();
        tool(
            "storescu",
            &["-aec", "PUNTE", "-R", send, "127.0.0.1", &to, &file],
        )?;
    }
    eventually("all have left", SOON, async || {
        let messages = punte.messages("&channel=images").await.ok()?;
        let is_sent = messages.iter().all(|message| message["state"] == "routed");
        (files(&kept).ok()?.len() == all.len() && is_sent && messages.len() == all.len()).then_some(())
    })
    .await;
    let half = all.len() / originals.len();
    for (at, (uid, send)) in all.iter().enumerate() {
        let file = found(&kept, uid)?;
        let said = dumped(&file)?;
        ensure!(
            said.contains("(0002,0010) UI [1.2.840.10008.1.2.1]"),
            "{send}: {said}"
        );
        let pixels = |file: &Path, count: usize| -> Result<Vec<u8>> {
            let data = data_set(file)?;
            Ok(data[data.len() - count..].to_vec())
        };
        let original = &originals[at / half];
        let count = if dumped(original)?.contains("(0028,0010) US 64") {
            64 * 64 * 2
        } else {
            1500 * 1500 * 2
        };
        ensure!(
            pixels(&file, count)? == pixels(original, count)?,
            "{send}: the pixels are others"
        );
    }
    punte.stop()?;
    // A word that is none, with its place.
    let home = Home::with(&[("images", &channel.replace("explicit-little", "jpeg"))])?;
    let checked = home.run(&["check"])?;
    ensure!(text(&checked).contains("explicit-little"), "{}", text(&checked));
    Ok(())
}

/// The file of an object.
fn found(folder: &Path, uid: &str) -> Result<std::path::PathBuf> {
    let all = files(folder)?;
    let mut named = all.into_iter().filter(|file| {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.is_some_and(|stem| stem.ends_with(&format!(".{uid}")) || stem == uid)
    });
    named.next().with_context(|| format!("no {uid}"))
}
