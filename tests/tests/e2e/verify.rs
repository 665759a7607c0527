//! `punte verify` beside a running engine and without one. The people are invented.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use e2e::collect;
use e2e::mllp::{Sender, field};
use e2e::program::Home;
use e2e::sink::Sink;

use crate::scenes;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_big_body_is_told_and_where_to_find_it() -> Result<()> {
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[
        ("clinic", &scenes::clinic(portal.address, ris.address)),
        ("route", &scenes::route(ris.address)),
    ])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    for n in 0..20 {
        let text = scenes::register(&format!("V-{n}"), &format!("P-{}", n % 5), "Zamfirescu");
        ensure!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1) == "AA");
    }
    let page: String = (0..60_000_u32)
        .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let big = format!(
        "{}OBX|1|ED|PDF||^^^Base64^{page}|\r",
        scenes::result("BIG", "P-1", "O1", "1.0")
    );
    let mut route = Sender::connect(punte.listens("route")).await?;
    ensure!(field(&route.ask(big.as_bytes()).await?, "MSA", 1) == "AA");

    let running = home.json(&["verify", "--json"])?;
    assert_eq!(running["store"]["count"], 0, "{running}");
    assert_eq!(running["store"]["messages"], 21);
    assert_eq!(running["store"]["blobs"], 1);
    let blobs = home.path().join("data/blobs");
    let file = change(&blobs)?;
    let found = home.run(&["verify"])?;
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8_lossy(&found.stderr).into_owned();
    let name = file
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    assert!(said.contains(name) && said.contains("of a backup"), "{said}");
    assert!(!said.contains("Zamfirescu") && !said.contains("P-1"), "{said}");
    punte.stop()?;
    assert_eq!(home.run(&["verify"])?.status.code(), Some(1));
    change(&blobs)?;
    assert!(home.run(&["verify"])?.status.success());
    Ok(())
}

/// Changes a bit of the one big body, or changes it back.
fn change(blobs: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::FileExt;

    let mut files = vec![];
    collect(blobs, &mut files)?;
    let [path] = files.as_slice() else {
        bail!("{files:?}")
    };
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100_000)?;
    file.write_all_at(&[byte[0] ^ 1], 100_000)?;
    Ok(path.clone())
}
