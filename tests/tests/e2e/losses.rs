//! What an object says that is not carried into the model is told, also behind its pixels, of a short one and of a long one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::dicom::made;
use e2e::program::Home;
use tempfile::TempDir;

const CHANNEL: &str = "id = \"images\"\n[source]\ndicomweb = {}\n[[step]]\ndecode = \"dicom\"\n";

/// What a scanner may write behind its pixels.
const BEHIND: &[u8] =
    b"\xE1\x7F\x10\0LO\x04\0ACME\xE1\x7F\x01\x10LO\x08\0a secret\xFC\xFF\xFC\xFFOB\0\0\x04\0\0\0\0\0\0\0";

/// An object with so many bytes of pixels, and something behind them.
fn written(file: &Path, uid: &str, pixels: usize) -> Result<Vec<u8>> {
    let said = format!(
        "(0008,0005) CS [ISO_IR 192]\n(0008,0016) UI [1.2.840.10008.5.1.4.1.1.7]\n(0008,0018) UI [{uid}]\n(0008,0060) CS [OT]\n\
         (0010,0010) PN [Pop^Ana]\n(0010,0020) LO [P-1]\n(0020,000d) UI [1.2.826.0.1.8]\n(0020,000e) UI [1.2.826.0.1.8.1]\n\
         (0020,0013) IS [1]\n(7fe0,0010) OW 0102\n"
    );
    made(file, &said)?;
    let mut bytes = std::fs::read(file)?;
    let head = b"\xE0\x7F\x10\0OW";
    let at = bytes
        .windows(head.len())
        .rposition(|six| six == head)
        .context("pixels")?;
    bytes.truncate(at + 6);
    bytes.extend([0, 0]);
    bytes.extend(u32::try_from(pixels)?.to_le_bytes());
    bytes.resize(bytes.len() + pixels, 7);
    bytes.extend(BEHIND);
    std::fs::write(file, &bytes)?;
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_the_pixels_is_among_the_losses() -> Result<()> {
    let folder = TempDir::new()?;
    let home = Home::with(&[("images", CHANNEL)])?;
    let punte = home.serve()?;
    let key = home.json(&["key", "add", "sends", "--json", "--scope", "images:write"])?;
    for (uid, pixels) in [("1.2.826.0.1.8.1.1", 2_000), ("1.2.826.0.1.8.1.2", 1_500_000)] {
        let file = folder.path().join(format!("{uid}.dcm"));
        let bytes = written(&file, uid, pixels)?;
        let told = home.run(&[
            "convert",
            "--from",
            "dicom",
            "--losses",
            &file.display().to_string(),
        ])?;
        let told_of_file = String::from_utf8_lossy(&told.stderr).into_owned();
        ensure!(told.status.success(), "{told_of_file}");
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("http://{}/dicom-web/studies", punte.http))
            .bearer_auth(key["key"].as_str().context("a key")?)
            .header(
                "content-type",
                "multipart/related; type=\"application/dicom\"; boundary=b",
            )
            .body(
                [
                    &b"--b\r\nContent-Type: application/dicom\r\n\r\n"[..],
                    &bytes,
                    b"\r\n--b--\r\n",
                ]
                .concat(),
            )
            .send()
            .await?;
        ensure!(answer.status().as_u16() == 200, "{}", answer.text().await?);
        let listed = home.json(&["messages", "--json", "--channel", "images"])?;
        let id = listed["messages"][0]["id"].as_str().context("a message")?;
        let shown = home.run(&["messages", "show", id])?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let changes = home.run(&["messages", "show", id, "--changes"])?;
        let changes = String::from_utf8_lossy(&changes.stdout).into_owned();
        for place in ["7FE1,0010", "7FE1,1001"] {
            ensure!(
                told_of_file.contains(place),
                "{place} of {pixels}: {told_of_file}"
            );
            ensure!(shown.contains(place), "{place} of {pixels}: {shown}");
        }
        ensure!(
            told_of_file.contains("a secret") && changes.contains("a secret"),
            "{changes}"
        );
        ensure!(!changes.contains("7FE0"), "{changes}");
    }
    Ok(())
}
