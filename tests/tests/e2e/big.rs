//! Big bodies: a PDF of 50 MB in a message, several at once, through a channel that routes and one that decodes. What
//! must be whole in memory shares one budget; the next waits for room.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scenes;

/// The bytes of the PDF; base64 makes a third more of them.
const PDF: usize = 50_000_000;
/// How many are sent at once.
const AT_ONCE: usize = 4;
const SOON: Duration = Duration::from_secs(300);

/// What looks like a PDF and compresses badly.
fn pdf(seed: u64) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while bytes.len() < PDF {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            match place <= three.len() {
                true => text.push(char::from(LETTERS[(number >> (18 - 6 * place) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

/// A report of the patient, with its PDF.
fn report(n: usize) -> Vec<u8> {
    let text = format!(
        "{}PID|1||P-{n}^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\rORC|RE|D{n}^TEST|FD{n}^LIS\rOBR|1|D{n}^TEST|FD{n}^LIS|11502-2^Laboratory report^LN|||20260505084500|||||||||||||||20260505133000||LAB|F\rOBX|1|ED|PDF^Report^L||LIS^application^pdf^Base64^{}||||||F\r",
        scenes::msh("ORU^R01^ORU_R01", &format!("D{n}")),
        base64(&pdf(n as u64 + 1)),
    );
    text.into_bytes()
}

/// A receiver that keeps the bodies that it gets.
async fn receiver() -> Result<(SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let got: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = got.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut frame = vec![];
                let mut chunk = vec![0; 1 << 20];
                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                    frame.extend_from_slice(&chunk[..count]);
                    if !frame.ends_with(&[0x1C, 0x0D]) {
                        continue;
                    }
                    let body = frame[1..frame.len() - 2].to_vec();
                    frame.clear();
                    let id = field(&body[..1000], "MSH", 10);
                    kept.lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .push(body);
                    let ack = format!(
                        "\x0bMSH|^~\\&|S|T|P|T|20260505083000||ACK|A{id}|P|2.5.1\rMSA|AA|{id}\r\x1c\r"
                    );
                    if stream.write_all(ack.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok((address, got))
}

/// The most memory that the program has had, in MB, less its own code: a build for tests has several times that of a release,
/// and which part of it has been read varies.
fn most_resident(punte: &Punte) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", punte.id()))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let number = number.with_context(|| format!("no {name} in {status}"))?;
        Ok(number.trim().parse()?)
    };
    Ok((kib("VmHWM:")? - kib("RssFile:")?) / 1024)
}

/// Sends them all at once, each on a connection of its own, and waits until each is acknowledged.
async fn send_at_once(to: SocketAddr, messages: Vec<Vec<u8>>) -> Result<()> {
    let mut sending = tokio::task::JoinSet::new();
    for message in messages {
        sending.spawn(async move {
            let mut sender = Sender::connect(to).await?;
            sender.tell(&message).await?;
            loop {
                // Its own time-out is short; what is big waits for room.
                match sender.answer().await {
                    Ok(answer) => return anyhow::Ok(field(&answer, "MSA", 1)),
                    Err(error) if error.is::<tokio::time::error::Elapsed>() => {}
                    Err(error) => return Err(error),
                }
            }
        });
    }
    while let Some(answer) = sending.join_next().await {
        assert_eq!(answer??, "AA");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_of_67_mb_are_routed_in_little_memory_byte_for_byte() -> Result<()> {
    let (address, got) = receiver().await?;
    let route = format!(
        "id = \"route\"\nsource.mllp = {{ listen = \"127.0.0.1:0\", max_frame = \"100 MB\", frame_timeout = \"60s\" }}\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{address}\", max_frame = \"100 MB\", reply_timeout = \"60s\" }}\n"
    );
    let home = Home::with(&[("route", &route)])?;
    let punte = home.serve()?;
    let before = most_resident(&punte)?;
    let messages: Vec<Vec<u8>> = (0..AT_ONCE).map(report).collect();
    send_at_once(punte.listens("route"), messages.clone()).await?;
    eventually("all arrive", SOON, async || {
        let got = got.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (AT_ONCE <= got.len()).then_some(())
    })
    .await;
    let mut arrived = got
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clone();
    arrived.sort_by_key(|body| field(&body[..1000], "MSH", 10));
    assert!(
        arrived == messages,
        "what arrived is not what was sent, byte for byte"
    );
    let most = most_resident(&punte)?;
    println!(
        "routed: {AT_ONCE} of {} MB at once, at most {most} MB resident ({before} MB before)",
        messages[0].len() / 1_000_000
    );
    assert!(most < 200, "{most} MB");
    Ok(())
}

/// How much passes in pieces.
const PASSES: usize = 300 << 20;

/// Bytes that compress badly, one piece after the other.
struct Noise {
    state: u64,
    left: usize,
}

impl Noise {
    fn new() -> Self {
        Noise {
            state: 0x9E37_79B9_7F4A_7C15,
            left: PASSES,
        }
    }

    /// The next bytes: at most so many, a multiple of 8.
    fn next(&mut self, most: usize) -> Vec<u8> {
        let length = most.min(self.left);
        self.left -= length;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            bytes.extend_from_slice(&self.state.to_le_bytes());
        }
        bytes
    }
}

/// True where what is read to its end is the noise.
async fn is_noise(mut from: impl AsyncReadExt + Unpin) -> Result<bool> {
    let mut noise = Noise::new();
    let mut piece = vec![0; 1 << 16];
    while 0 < noise.left {
        let wanted = noise.next(1 << 16);
        let piece = &mut piece[..wanted.len()];
        from.read_exact(piece).await?;
        if *piece != wanted[..] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes one request with a long body and says whether it was the noise.
async fn takes_noise() -> Result<(SocketAddr, tokio::task::JoinHandle<Result<bool>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let taking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        ensure!(head.contains(&format!("content-length: {PASSES}\r\n")), "{head}");
        let is_right = is_noise(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
        Ok(is_right)
    });
    Ok((address, taking))
}

/// In by http, out by http, into a file, and over a link into another one: none of it is whole in memory.
#[tokio::test(flavor = "multi_thread")]
async fn of_300_mb_only_pieces_are_in_memory() -> Result<()> {
    let (address, taking) = takes_noise().await?;
    let pass = format!(
        "id = \"pass\"\n[source]\nformat = \"bytes\"\nhttp = {{ listen = \"127.0.0.1:0\", path = \"/in\", max_body = \"400 MB\", timeout = \"120s\" }}\n[[destination]]\nname = \"far\"\nformat = \"bytes\"\nhttp = {{ url = \"http://{address}/\", reply_timeout = \"120s\" }}\n[[destination]]\nname = \"copy\"\nfile = {{ folder = \"../out\", name = \"one.bin\" }}\n[[destination]]\nname = \"on\"\nchannel = \"on\"\n"
    );
    let on = "id = \"on\"\n[source]\nformat = \"bytes\"\nchannel = {}\n[[destination]]\nname = \"copy\"\nfile = { folder = \"../out\", name = \"two.bin\" }\n";
    let home = Home::with(&[("pass", &pass), ("on", on)])?;
    let out = home.path().join("out");
    std::fs::create_dir(&out)?;
    let punte = home.serve()?;
    let before = most_resident(&punte)?;
    let mut stream = tokio::net::TcpStream::connect(punte.listens("pass")).await?;
    let head = format!("POST /in HTTP/1.1\r\nhost: x\r\ncontent-length: {PASSES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut noise = Noise::new();
    while 0 < noise.left {
        stream.write_all(&noise.next(1 << 16)).await?;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    let received = most_resident(&punte)?;
    assert!(
        tokio::time::timeout(SOON, taking).await???,
        "what arrived is the noise"
    );
    for name in ["one.bin", "two.bin"] {
        let path = out.join(name);
        eventually("the copy is there", SOON, async || path.exists().then_some(())).await;
        assert!(
            is_noise(tokio::fs::File::open(&path).await?).await?,
            "{name} is the noise"
        );
    }
    let blobs = home.path().join("data/blobs");
    assert_eq!(files_below(&blobs)?, 1, "it lies there once");
    let most = most_resident(&punte)?;
    println!("300 MB in pieces: {before} MB before, {received} MB once it was there, at most {most} MB");
    assert!(most < before + 40, "{most} MB, {before} MB before");
    Ok(())
}

/// Big bodies of a store that have files of their own.
fn files_below(folder: &std::path::Path) -> Result<usize> {
    let mut count = 0;
    for folder in std::fs::read_dir(folder)? {
        for file in std::fs::read_dir(folder?.path())? {
            count += usize::from(file?.path().extension().is_none());
        }
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_pdfs_become_documents_in_bounded_memory() -> Result<()> {
    let chart = "id = \"clinic\"\nsource.mllp = { listen = \"127.0.0.1:0\", max_frame = \"100 MB\", frame_timeout = \"60s\" }\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n";
    let home = Home::with(&[("clinic", chart)])?;
    let punte = home.serve()?;
    let before = most_resident(&punte)?;
    let messages: Vec<Vec<u8>> = (0..AT_ONCE).map(report).collect();
    send_at_once(punte.listens("clinic"), messages.clone()).await?;
    let most = most_resident(&punte)?;
    println!(
        "decoded: {AT_ONCE} of {} MB at once, at most {most} MB resident ({before} MB before)",
        messages[0].len() / 1_000_000
    );
    let rows = punte.messages("").await?;
    assert_eq!(rows.len(), AT_ONCE);
    assert!(rows.iter().all(|row| row["state"] == "routed"), "{rows:#?}");
    assert!(most < 400, "{most} MB");
    Ok(())
}
