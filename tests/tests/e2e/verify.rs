//! `punte verify` beside a running engine and without one. The people are invented.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
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
    let mut files: Vec<PathBuf> = vec![];
    collect(&home.path().join("data/blobs"), &mut files)?;
    // What lies ready for the next one is none.
    let file = files
        .iter()
        .find(|file| file.extension().is_none())
        .context("no file")?;
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, &bytes)?;
    let found = home.run(&["verify"])?;
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8_lossy(&found.stderr).into_owned();
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    assert!(said.contains(name) && said.contains("from a backup"), "{said}");
    assert!(!said.contains("Zamfirescu") && !said.contains("P-1"), "{said}");
    punte.stop()?;
    assert_eq!(home.run(&["verify"])?.status.code(), Some(1));
    bytes[middle] ^= 1;
    std::fs::write(file, &bytes)?;
    assert!(home.run(&["verify"])?.status.success());
    Ok(())
}
