//! What it costs to take DICOM objects, beside two that take them as well: DCMTK's `storescp +B`, which writes the bytes
//! to a file and promises nothing, and Orthanc with a synced storage area. One sender for all three, each answer waited
//! for, no peer with Nagle's algorithm: with it DCMTK and Orthanc do 21 objects a second and a comparison means nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dimse::scu::Object;
use dimse::{Limits, Proposal, uids};
use e2e::dicom::{Orthanc, Storescp, free_port};
use e2e::program::{Home, Punte};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::disk;
use crate::figures::{Goal, Line, Lines};

/// CT images.
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";

/// Objects of one size.
#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    pixels: usize,
    count: u64,
    /// The most processor time of an object, in milliseconds.
    cpu: f64,
}

const SMALL: Size = Size {
    name: "small",
    pixels: 30_000,
    count: 500,
    cpu: 1.5,
};
const LARGE: Size = Size {
    name: "CT",
    pixels: 512 * 1024,
    count: 200,
    cpu: 3.0,
};

/// Who takes objects.
struct Peer<'a> {
    name: &'static str,
    title: &'static str,
    port: u16,
    punte: Option<&'a Punte>,
}

/// What one run came to.
#[derive(Clone, Copy)]
struct Run {
    rate: f64,
    /// Milliseconds of processor time an object, where it can be known.
    cpu: Option<f64>,
}

/// Measures all three.
pub fn run(quick: bool) -> Result<Vec<Line>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut lines = Lines::default();
    let flush = disk::flushes(1_000)?.p50;
    lines.add("flush of 4 KiB, half of all", micros(flush), "µs", None);
    let flush_large = large_flush()?;
    lines.add("flush of 512 KiB, half of all", micros(flush_large), "µs", None);
    let (orthanc, storescp) = runtime.block_on(async {
        let orthanc = Orthanc::start(&[]).await?;
        anyhow::Ok((orthanc, Storescp::start()?))
    })?;
    let port = free_port()?;
    let home = Home::with(&[("images", &channel(port, ""))])?;
    let punte = home.serve()?;
    let peers = [
        Peer {
            name: "storescp +B",
            title: "STORESCP",
            port: storescp.port,
            punte: None,
        },
        Peer {
            name: "Orthanc",
            title: orthanc.aet,
            port: orthanc.dicom,
            punte: None,
        },
        Peer {
            name: "Punte",
            title: "PUNTE",
            port,
            punte: Some(&punte),
        },
    ];
    for size in [SMALL, LARGE] {
        for associations in [1, 4, 8] {
            let mut runs = vec![];
            for peer in &peers {
                // The first one warms up: folders are made, pages are read.
                let size = if quick {
                    Size {
                        count: size.count / 5,
                        ..size
                    }
                } else {
                    size
                };
                store(&runtime, peer, size, associations, size.count / 5)?;
                let best = (0..if quick { 1 } else { 3 })
                    .map(|_| store(&runtime, peer, size, associations, size.count))
                    .collect::<Result<Vec<Run>>>()?
                    .into_iter()
                    .max_by(|one, other| one.rate.total_cmp(&other.rate));
                runs.push(best.context("nothing was run")?);
            }
            let [storescp, orthanc, ours] = runs.as_slice() else {
                bail!("a peer is missing")
            };
            let what = |name: &str| format!("{}, {associations} associations: {name}", size.name);
            lines.add(what(peers[0].name), storescp.rate, "/s", None);
            lines.add(what(peers[1].name), orthanc.rate, "/s", None);
            let goal = if associations == 1 {
                // Its time, and the flushes that it does without.
                let own = Duration::from_secs_f64(1.0 / storescp.rate);
                let flushes = if size.pixels == LARGE.pixels {
                    flush + flush_large
                } else {
                    flush
                };
                0.8 / (own + flushes).as_secs_f64()
            } else {
                storescp.rate.max(2.0 * orthanc.rate)
            };
            lines.add(what(peers[2].name), ours.rate, "/s", Some(Goal::Least(goal)));
            if let Some(cpu) = ours.cpu {
                lines.add(
                    format!("{}, {associations} associations: processor time each", size.name),
                    cpu,
                    "ms",
                    Some(Goal::Below(size.cpu)),
                );
            }
        }
    }
    punte.stop()?;
    memory(&runtime, quick, &mut lines)?;
    Ok(lines.0)
}

fn channel(port: u16, more: &str) -> String {
    format!(
        "id = \"images\"\n[source.dicom]\nlisten = \"127.0.0.1:{port}\"\nae_title = \"PUNTE\"\nservices = [\"store\"]\n{more}"
    )
}

/// What a gigabyte on eight associations takes of memory, and one object of a gigabyte beside what was there.
fn memory(runtime: &tokio::runtime::Runtime, quick: bool, lines: &mut Lines) -> Result<()> {
    let port = free_port()?;
    let home = Home::with(&[("images", &channel(port, "max_object = \"2 GB\"\n"))])?;
    let punte = home.serve()?;
    let peer = Peer {
        name: "Punte",
        title: "PUNTE",
        port,
        punte: None,
    };
    let part = if quick { 10 } else { 1 };
    let size = Size {
        count: 2_000 / part,
        ..LARGE
    };
    store(runtime, &peer, size, 8, size.count)?;
    let peak = megabytes(&punte)?;
    lines.add(
        "resident after a gigabyte on 8 associations, peak",
        peak,
        "MB",
        Some(Goal::Below(150.0)),
    );
    let huge = Size {
        name: "huge",
        pixels: (1 << 30) / part as usize,
        count: 1,
        cpu: 0.0,
    };
    store(runtime, &peer, huge, 1, 1)?;
    let more = megabytes(&punte)? - peak;
    lines.add(
        "one object of a gigabyte, more than that",
        more,
        "MB",
        Some(Goal::Below(40.0)),
    );
    punte.stop().map(drop)
}

/// The most that was ever resident.
fn megabytes(punte: &Punte) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", punte.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kilobytes.context("no VmHWM")? * 1024.0 / 1e6)
}

/// Sends so many objects over so many associations, and waits for each answer.
fn store(
    runtime: &tokio::runtime::Runtime,
    peer: &Peer<'_>,
    size: Size,
    associations: u64,
    count: u64,
) -> Result<Run> {
    let before = peer.punte.and_then(Punte::cpu_ticks);
    let each = (count / associations).max(1);
    let (took, sent) = runtime.block_on(async {
        let mut ready = vec![];
        for _ in 0..associations {
            ready.push(Sender::connect(peer).await?);
        }
        let begun = Instant::now();
        let sending: Vec<_> = ready
            .into_iter()
            .map(|sender| tokio::spawn(sender.send(size.pixels, each)))
            .collect();
        for task in sending {
            task.await??;
        }
        anyhow::Ok((begun.elapsed(), each * associations))
    })?;
    let after = peer.punte.and_then(Punte::cpu_ticks);
    let ticks = before.zip(after).map(|(before, after)| after - before);
    Ok(Run {
        rate: sent as f64 / took.as_secs_f64(),
        cpu: ticks.map(|ticks| crate::load::micros_each(ticks, sent) / 1_000.0),
    })
}

/// One association.
struct Sender {
    association: dimse::Association<TcpStream>,
}

/// The number of the next object: no two are the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Sender {
    async fn connect(peer: &Peer<'_>) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], peer.port));
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let proposal =
            Proposal::new("BENCH".parse()?, peer.title.parse()?).with(CLASS, [uids::EXPLICIT_LITTLE]);
        let limits = Limits {
            answer: Duration::from_secs(120),
            ..Limits::default()
        };
        let association = dimse::request(stream, proposal, limits)
            .await
            .with_context(|| peer.name)?;
        Ok(Sender { association })
    }

    async fn send(mut self, pixels: usize, count: u64) -> Result<()> {
        let context = self.association.context_of(CLASS)?;
        let block = noise(pixels.min(4 << 20));
        for _ in 0..count {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let instance = format!("1.2.826.0.1.3680043.10.9.{}.{number}", std::process::id());
            let head = head(&instance, number, pixels);
            let object = Object {
                class: CLASS,
                instance: &instance,
                originator: None,
            };
            let asked = self.association.begin_store(&context, &object);
            self.association.send_data(context.id, &head, false).await?;
            let mut left = pixels;
            while left != 0 {
                let part = &block[..left.min(block.len())];
                left -= part.len();
                self.association.send_data(context.id, part, left == 0).await?;
            }
            let answer = self.association.answer(asked).await?;
            if !answer.status().is_success() {
                bail!("an object was answered with {:04X}", answer.status().0);
            }
        }
        Ok(self.association.release().await?)
    }
}

/// Pixels of 12 bits as a detector gives them: what is bright is noisy, and nothing of it comes again.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut pixel = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        [(state >> 32) as u8, 3 + (state >> 63) as u8]
    };
    (0..length / 2).flat_map(|_| pixel()).collect()
}

/// All that stands before the pixels, explicit VR little endian. Forty studies of made-up people.
fn head(instance: &str, number: u64, pixels: usize) -> Vec<u8> {
    let study = format!("1.2.826.0.1.3680043.10.8.{}", number % 40);
    let series = format!("{study}.1");
    let mut out = vec![];
    let mut element = |group: u16, element: u16, vr: &str, value: &[u8], pad: u8| {
        out.extend(group.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend(vr.bytes());
        out.extend(((value.len() + value.len() % 2) as u16).to_le_bytes());
        out.extend(value);
        out.extend(std::iter::repeat_n(pad, value.len() % 2));
    };
    let patient = format!("BENCH-{}", number % 40);
    element(0x0008, 0x0016, "UI", CLASS.as_bytes(), 0);
    element(0x0008, 0x0018, "UI", instance.as_bytes(), 0);
    element(0x0008, 0x0020, "DA", b"20261127", b' ');
    element(0x0008, 0x0030, "TM", b"101500", b' ');
    element(0x0008, 0x0050, "SH", patient.as_bytes(), b' ');
    element(0x0008, 0x0060, "CS", b"CT", b' ');
    element(0x0010, 0x0010, "PN", b"Proba^Masurare", b' ');
    element(0x0010, 0x0020, "LO", patient.as_bytes(), b' ');
    element(0x0020, 0x000D, "UI", study.as_bytes(), 0);
    element(0x0020, 0x000E, "UI", series.as_bytes(), 0);
    element(0x0020, 0x0013, "IS", number.to_string().as_bytes(), b' ');
    element(0x0028, 0x0002, "US", &1_u16.to_le_bytes(), 0);
    element(0x0028, 0x0004, "CS", b"MONOCHROME2", b' ');
    let rows = 64_u16;
    let columns = u16::try_from(pixels / 2 / usize::from(rows)).unwrap_or(u16::MAX);
    element(0x0028, 0x0010, "US", &rows.to_le_bytes(), 0);
    element(0x0028, 0x0011, "US", &columns.to_le_bytes(), 0);
    element(0x0028, 0x0100, "US", &16_u16.to_le_bytes(), 0);
    element(0x0028, 0x0101, "US", &12_u16.to_le_bytes(), 0);
    element(0x0028, 0x0102, "US", &11_u16.to_le_bytes(), 0);
    element(0x0028, 0x0103, "US", &0_u16.to_le_bytes(), 0);
    out.extend([0xE0, 0x7F, 0x10, 0x00]);
    out.extend(b"OW\0\0");
    out.extend((pixels as u32).to_le_bytes());
    out
}

/// Writes 512 KiB to a new file and flushes it: what a big object costs beside its row.
fn large_flush() -> Result<Duration> {
    use std::io::Write;
    let folder = TempDir::new()?;
    let block = vec![0x5A; 512 * 1024];
    let mut took = vec![];
    for number in 0..100 {
        let mut file = std::fs::File::create_new(folder.path().join(number.to_string()))?;
        file.write_all(&block)?;
        let begun = Instant::now();
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(crate::load::percentile(&took, 50))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
