//! The page `docs/first-channel.md`, tried as it is written: its commands run one after the other in one shell, and what
//! it says they print is printed.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use e2e::program::binary;

/// A block of the page: what is typed, and what is printed.
#[derive(Default)]
struct Block {
    typed: String,
    printed: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let mut fence = None;
    for line in page.lines() {
        match (fence, line.strip_prefix("```")) {
            (None, Some("sh")) => {
                blocks.push(Block::default());
                fence = Some("sh");
            }
            (None, Some("text")) => fence = Some("text"),
            (Some(_), Some("")) => fence = None,
            (Some("sh"), _) => {
                if let Some(block) = blocks.last_mut() {
                    block.typed.push_str(line);
                    block.typed.push('\n');
                }
            }
            (Some(_), _) => {
                if let Some(block) = blocks.last_mut() {
                    block.printed.push(line.to_owned());
                }
            }
            (None, _) => {}
        }
    }
    blocks
}

/// Whether some line of `output` has the parts of `line` that stand between its `…`, in that order.
fn is_printed(output: &str, line: &str) -> bool {
    output.lines().any(|printed| {
        let mut rest = printed;
        line.split('…').map(str::trim).all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

#[test]
fn the_first_channel_is_made_as_the_page_says() -> Result<()> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/first-channel.md");
    let mut page = std::fs::read_to_string(page)?;
    // The only thing that is not as written: ports that are free here.
    let mut held = vec![];
    for port in ["25751", "25752", "25753"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        page = page.replace(port, &listener.local_addr()?.port().to_string());
        held.push(listener);
    }
    drop(held);
    let blocks = blocks(&page);
    assert!(8 <= blocks.len(), "the page has its commands");
    let mut script = "set -eu\ntrap 'kill %1 2>/dev/null || true' EXIT\n".to_owned();
    for (idx, block) in blocks.iter().enumerate() {
        script.push_str(&format!("{}echo '@@ {idx}'\n", block.typed));
    }
    let folder = tempfile::tempdir()?;
    let program = binary();
    let programs = program.parent().context("a folder")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
    let mut shell = Command::new("bash")
        .current_dir(folder.path())
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder.path().join("config"))
        .env("NO_COLOR", "1")
        .env_remove("PUNTE_HOME")
        .env_remove("PUNTE_KEY_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    shell
        .stdin
        .take()
        .context("standard input")?
        .write_all(script.as_bytes())?;
    let output = shell.wait_with_output()?;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{out}\n{err}");
    let mut rest = out.as_str();
    for (idx, block) in blocks.iter().enumerate() {
        let (printed, after) = rest
            .split_once(&format!("@@ {idx}\n"))
            .with_context(|| format!("block {idx} did not end:\n{out}\n{err}"))?;
        rest = after;
        for line in &block.printed {
            assert!(
                is_printed(printed, line),
                "{line:?} is not printed by:\n{}\nbut:\n{printed}\n{err}",
                block.typed
            );
        }
    }
    Ok(())
}
