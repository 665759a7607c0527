//! The two scenes: messages that are stored, and messages that are understood, applied and delivered twice. Each runs in
//! a program and a folder of its own, and ends with a count: of the answers, of what the receivers got, and of what the
//! program says that it has.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::program::{Home, Punte};

use crate::load::{self, Until, percentile};
use crate::machine;
use crate::messages::Pool;
use crate::sinks::{Got, Sinks};

/// Connections of the levels.
const LEVELS: [usize; 3] = [1, 16, 64];
/// Nothing came for so long: it is lost.
const STALLED: Duration = Duration::from_secs(60);

/// What was measured at one number of connections.
pub struct Level {
    pub connections: usize,
    pub messages: u64,
    pub stored_rate: f64,
    /// Both receivers had each message; none where nothing is delivered.
    pub delivered_rate: Option<f64>,
    pub ack_p50: Duration,
    pub ack_p99: Duration,
    pub ack_max: Duration,
    /// Of the program, for each message, until all was delivered.
    pub cpu_us: Option<f64>,
    /// Of senders and receivers, for each message.
    pub bench_cpu_us: Option<f64>,
    /// What everybody else used of the processors meanwhile, in percent of one.
    pub others_percent: Option<f64>,
}

/// One scene.
pub struct Scene {
    pub levels: Vec<Level>,
    /// From the start of the program, with a fresh store, to the first answer.
    pub first_ack: Duration,
    /// A second after that.
    pub resident_at_rest: Option<u64>,
    /// The most that was seen.
    pub resident_highest: Option<u64>,
    /// After all messages, and how many they were.
    pub resident_after: Option<(u64, u64)>,
    /// From a second start on what is stored by then.
    pub first_ack_again: Option<Duration>,
    /// In the data folder, per message.
    pub bytes: u64,
    /// Mean length of what was delivered: HL7, FHIR.
    pub delivered_bytes: Option<(u64, u64)>,
}

/// MLLP in → stored: a channel with a source and nothing else.
pub fn stored(plan: &crate::Plan) -> Result<Scene> {
    let address = free_address()?;
    let channel = format!("id = \"stored\"\nsource.mllp.listen = \"{address}\"\n");
    let mut play = Play::start("stored", &channel, address, Receivers::default())?;
    for connections in LEVELS {
        play.level(connections, plan.load)?;
    }
    play.end(false)
}

/// MLLP in → decode → apply → two deliveries: FHIR over HTTP and HL7 over MLLP.
pub fn delivered(plan: &crate::Plan, levels: bool, memory: bool) -> Result<Scene> {
    let sinks = Sinks::start()?;
    let address = free_address()?;
    let (hl7, fhir) = (sinks.hl7, sinks.fhir);
    let channel = format!(
        r#"id = "delivered"
source.mllp.listen = "{address}"

[[step]]
decode = "hl7v2"

[[step]]
apply = {{ on_unmatched = "create" }}

[[destination]]
name   = "portal"
encode = "fhir-r4"
fhir   = {{ base = "http://{fhir}/fhir", as = "transaction" }}

[[destination]]
name = "ris"
mllp = {{ connect = "{hl7}" }}
"#
    );
    let receivers = Receivers {
        hl7: true,
        fhir: true,
        sinks: Some(sinks),
        ..Receivers::default()
    };
    let mut play = Play::start("delivered", &channel, address, receivers)?;
    if levels {
        for connections in LEVELS {
            play.level(connections, plan.load)?;
        }
    }
    if memory {
        let missing = plan.memory.saturating_sub(play.sent);
        if missing > 0 {
            play.run(16, Until::Count(missing))?;
        }
        // What is given back after the last message is given back soon.
        std::thread::sleep(Duration::from_secs(2));
        play.resident_after = play.punte.resident().map(|resident| (resident, play.sent));
    }
    play.end(memory)
}

/// Who is to get the messages of a scene.
#[derive(Default)]
pub struct Receivers {
    pub sinks: Option<Sinks>,
    pub hl7: bool,
    pub fhir: bool,
    /// Deliveries of each message that are to wait.
    pub waiting: u64,
}

/// A program that runs, and what is counted.
pub struct Play {
    name: &'static str,
    home: Home,
    pub punte: Punte,
    pub address: SocketAddr,
    pub pool: Arc<Pool>,
    receivers: Receivers,
    /// So many messages were sent; the next one has this number.
    pub sent: u64,
    /// So many were in the store before.
    filled: u64,
    levels: Vec<Level>,
    pub first_ack: Duration,
    resident_at_rest: Option<u64>,
    resident_highest: AtomicU64,
    resident_after: Option<(u64, u64)>,
}

impl Play {
    pub fn start(
        name: &'static str,
        channel: &str,
        address: SocketAddr,
        receivers: Receivers,
    ) -> Result<Play> {
        Self::start_in(Home::with(&[(name, channel)])?, 0, name, address, receivers)
    }

    /// In a folder in which so many messages are stored already.
    pub fn start_in(
        home: Home,
        filled: u64,
        name: &'static str,
        address: SocketAddr,
        receivers: Receivers,
    ) -> Result<Play> {
        eprintln!("bench: {name}");
        let pool = Arc::new(Pool::new());
        let (punte, first_ack) = start(&home, address, &pool, 0)?;
        std::thread::sleep(Duration::from_secs(1));
        let resident_at_rest = punte.resident();
        let play = Play {
            name,
            home,
            punte,
            address,
            pool,
            receivers,
            sent: 1,
            filled,
            levels: vec![],
            first_ack,
            resident_at_rest,
            resident_highest: AtomicU64::new(resident_at_rest.unwrap_or_default()),
            resident_after: None,
        };
        play.drain()?;
        Ok(play)
    }

    pub fn level(&mut self, connections: usize, until: Until) -> Result<()> {
        // A moment to write what hands out processors: new patients, connections, the first pages.
        self.run(connections, Until::Count(500))?;
        let level = self.run(connections, until)?;
        self.levels.push(level);
        Ok(())
    }

    /// Takes out what was measured last.
    pub fn pop_level(&mut self) -> Option<Level> {
        self.levels.pop()
    }

    pub fn sinks(&self) -> Option<&Sinks> {
        self.receivers.sinks.as_ref()
    }

    /// Sends, and waits until all is delivered.
    pub fn run(&mut self, connections: usize, until: Until) -> Result<Level> {
        eprintln!("bench: {}, {connections} connections", self.name);
        let ticks = || {
            Some((
                self.punte.cpu_ticks()?,
                machine::own_ticks()?,
                machine::busy_ticks()?,
            ))
        };
        let before = ticks();
        let begun = Instant::now();
        let over = AtomicBool::new(false);
        let (sent, last) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let resident = self.punte.resident().unwrap_or_default();
                    self.resident_highest.fetch_max(resident, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(250));
                }
            });
            let sent = load::send(self.address, connections, until, self.sent, &self.pool);
            let done = sent.and_then(|sent| {
                let last = self.delivered(self.sent + sent.messages)?;
                Ok((sent, last))
            });
            over.store(true, Ordering::Relaxed);
            done
        })
        .with_context(|| format!("{}, {connections} connections\n{}", self.name, self.log()))?;
        let all = begun.elapsed();
        let after = ticks();
        self.sent += sent.messages;
        let used = before.zip(after).map(|(before, after)| {
            let (punte, own, busy) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
            (punte, own, busy.saturating_sub(punte + own))
        });
        Ok(Level {
            connections,
            messages: sent.messages,
            stored_rate: sent.messages as f64 / sent.took.as_secs_f64(),
            delivered_rate: last
                .map(|last| sent.messages as f64 / last.saturating_duration_since(sent.begun).as_secs_f64()),
            ack_p50: percentile(&sent.waits, 50),
            ack_p99: percentile(&sent.waits, 99),
            ack_max: sent.waits.last().copied().unwrap_or_default(),
            cpu_us: used.map(|used| load::micros_each(used.0, sent.messages)),
            bench_cpu_us: used.map(|used| load::micros_each(used.1, sent.messages)),
            others_percent: used
                .map(|used| used.2 as f64 / machine::TICKS as f64 / all.as_secs_f64() * 100.0),
        })
    }

    fn drain(&self) -> Result<()> {
        self.delivered(self.sent)
            .map(|_| ())
            .with_context(|| format!("{}\n{}", self.name, self.log()))
    }

    /// Waits until both receivers have so many messages; when the last one came.
    pub fn delivered(&self, wanted: u64) -> Result<Option<Instant>> {
        let Some(sinks) = &self.receivers.sinks else {
            return Ok(None);
        };
        let (mut seen, mut since) = ((0, 0), Instant::now());
        loop {
            let (hl7, fhir) = (sinks.hl7_got(), sinks.fhir_got());
            if hl7.unknown + fhir.unknown + hl7.doubles + fhir.doubles > 0 {
                bail!(
                    "the receivers got {} and {} messages twice, and {} and {} that nobody sent (HL7, FHIR)",
                    hl7.doubles,
                    fhir.doubles,
                    hl7.unknown,
                    fhir.unknown
                );
            }
            let has_all = |got: &Got, wants: bool| got.messages == if wants { wanted } else { 0 };
            if has_all(&hl7, self.receivers.hl7) && has_all(&fhir, self.receivers.fhir) {
                return Ok(hl7.last.max(fhir.last));
            }
            if seen != (hl7.messages, fhir.messages) {
                seen = (hl7.messages, fhir.messages);
                since = Instant::now();
            }
            if STALLED < since.elapsed() {
                bail!(
                    "{wanted} messages were acknowledged, {} came as HL7 and {} as FHIR",
                    hl7.messages,
                    fhir.messages
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Counts once more, by what the program says; then, if asked, stops it and starts it again.
    pub fn end(self, again: bool) -> Result<Scene> {
        self.counted()?;
        let delivered_bytes = self.receivers.sinks.as_ref().map(|sinks| {
            let (hl7, fhir) = (sinks.hl7_got(), sinks.fhir_got());
            (hl7.bytes / hl7.messages.max(1), fhir.bytes / fhir.messages.max(1))
        });
        let status = self.punte.stop()?;
        if !status.success() {
            bail!("{}: the program ended with {status}", self.name);
        }
        let bytes = folder_bytes(&self.home.path().join("data")) / (self.sent + self.filled).max(1);
        let mut first_ack_again = None;
        if again {
            let (punte, took) = start(&self.home, self.address, &self.pool, self.sent)?;
            first_ack_again = Some(took);
            punte.stop()?;
        }
        Ok(Scene {
            levels: self.levels,
            first_ack: self.first_ack,
            resident_at_rest: self.resident_at_rest,
            resident_highest: Some(self.resident_highest.into_inner()).filter(|most| *most > 0),
            resident_after: self.resident_after,
            first_ack_again,
            bytes,
            delivered_bytes,
        })
    }

    /// All that was acknowledged is there as routed, and nothing waits, is held or dead.
    fn counted(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let (status, channels) = runtime.block_on(self.punte.get("/admin/channels"))?;
            let all = channels["channels"].as_array();
            let mine = all.and_then(|all| all.iter().find(|channel| channel["id"] == self.name));
            let channel = mine.unwrap_or(&channels["channels"][0]);
            let messages = &channel["messages"];
            let waiting: u64 = channel["queues"]
                .as_object()
                .into_iter()
                .flat_map(|queues| queues.values())
                .filter_map(|queue| queue.as_object())
                .flat_map(|states| states.values())
                .filter_map(|count| count.as_u64())
                .sum();
            let states = messages.as_object().map_or(0, |states| {
                states.values().filter(|count| count.as_u64() != Some(0)).count()
            });
            let all = self.sent + self.filled;
            if status == 200
                && messages["routed"].as_u64() == Some(all)
                && states == 1
                && waiting == self.receivers.waiting * all
            {
                return Ok(());
            }
            if until < Instant::now() {
                bail!(
                    "{}: {} messages were acknowledged; the program says {channel}",
                    self.name,
                    self.sent
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of what the program logged.
    fn log(&self) -> String {
        let log = self.home.log();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Starts the program and sends one message as soon as somebody listens; how long its answer took from the start on.
fn start(home: &Home, address: SocketAddr, pool: &Pool, number: u64) -> Result<(Punte, Duration)> {
    let mut message = vec![];
    pool.write(number, &mut message);
    let mut frame = vec![0x0B];
    frame.extend_from_slice(&message);
    frame.extend_from_slice(&[0x1C, 0x0D]);
    let begun = Instant::now();
    let first = std::thread::spawn(move || -> Result<Duration> {
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) if begun.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        };
        stream.write_all(&frame)?;
        let mut answer = [0; 2048];
        let count = stream.read(&mut answer)?;
        if !answer[..count].windows(7).any(|seven| seven == b"MSA|AA|") {
            bail!(
                "the first message was not taken: {}",
                String::from_utf8_lossy(&answer[..count])
            );
        }
        Ok(begun.elapsed())
    });
    let punte = home.serve()?;
    let took = first
        .join()
        .map_err(|_| anyhow::anyhow!("the first sender panicked"))??;
    Ok((punte, took))
}

/// A port that nobody uses now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Bytes of all files of a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
