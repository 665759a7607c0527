//! A full disk: AE is answered, nothing is stored, and it goes on by itself when there is space.
//!
//! The data folder is a small file system of its own, in a mount namespace that needs no rights.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, binary};

use crate::scenes;

/// Whether a mount namespace can be made here.
pub fn namespaces_work() -> bool {
    Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=1m none /mnt",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_goes_on_by_itself() -> Result<()> {
    if !namespaces_work() {
        assert!(
            std::env::var_os("CI").is_none(),
            "mount namespaces do not work here, and this is CI"
        );
        eprintln!(
            "SKIPPED: the disk-full test needs `unshare --user --mount` (util-linux, user namespaces allowed)"
        );
        return Ok(());
    }
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    std::fs::create_dir_all(home.path().join("data"))?;
    std::fs::write(
        home.path().join("punte.toml"),
        "[http]\nlisten = \"127.0.0.1:0\"\n",
    )?;
    let keys = tempfile::TempDir::new()?;
    let out = home.path().join("out.txt");
    let script = "mount -t tmpfs -o size=6m none \"$0/data\" && exec \"$1\" serve --home \"$0\"";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(home.path())
        .arg(binary())
        .env("PUNTE_KEY_FILE", keys.path().join("master.key"))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(home.path().join("log.txt"))?)
        .process_group(0);
    let child = Guard(command.spawn().context("unshare")?);
    let address = eventually("it listens", Duration::from_secs(30), async || {
        let text = std::fs::read_to_string(&out).ok()?;
        text.contains("punte: ready").then_some(())?;
        text.lines()
            .find_map(|line| line.strip_prefix("punte: channel clinic listens on "))?
            .parse()
            .ok()
    })
    .await;
    // `unshare --mount` keeps the process: its root shows the small file system.
    let data = format!("/proc/{}/root{}/data", child.0.id(), home.path().display());
    let mut sender = Sender::connect(address).await?;
    let big = "x".repeat(20_000);
    let mut refused = None;
    for number in 0..2_000 {
        let text = format!(
            "{}NTE|1||{big}{number}\r",
            scenes::register(&format!("F{number}"), "P-1", "Pop")
        );
        // What can't be compressed away fills the disk.
        let text = text.replace('x', &format!("{:x}", number % 16));
        let answer = sender.ask(text.as_bytes()).await?;
        match field(&answer, "MSA", 1).as_str() {
            "AA" => {}
            "AE" => {
                assert!(
                    field(&answer, "ERR", 3).starts_with("207"),
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                refused = Some(number);
                break;
            }
            other => panic!("answered {other}"),
        }
        if number == 20 {
            fill(&data)?;
        }
    }
    let refused = refused.context("the disk did not become full")?;
    let text = scenes::register("AGAIN", "P-1", "Pop");
    assert_eq!(
        field(&sender.ask(text.as_bytes()).await?, "MSA", 1),
        "AE",
        "still full"
    );
    std::fs::remove_file(format!("{data}/ballast"))?;
    eventually("it goes on by itself", Duration::from_secs(30), async || {
        let answer = sender.ask(text.as_bytes()).await.ok()?;
        (field(&answer, "MSA", 1) == "AA").then_some(())
    })
    .await;
    assert!(20 <= refused);
    Ok(())
}

/// Takes all the space that is left.
fn fill(data: &str) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(format!("{data}/ballast"))?;
    let block = [0xA5_u8; 4096];
    while file.write_all(&block).is_ok() {}
    Ok(())
}

/// Kills the whole group at the end.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
