//! The receivers: an HL7 listener and a FHIR server that note which message came and answer at once. Both run on one
//! thread and keep no body.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, anyhow};
use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::messages::{MARK, name, number_in};

/// What one receiver got.
#[derive(Clone, Default)]
pub struct Got {
    /// Messages, each counted once.
    pub messages: u64,
    /// Times that one came again.
    pub doubles: u64,
    /// Bodies in which no message's number was found.
    pub unknown: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// When the last one came.
    pub last: Option<Instant>,
    seen: Vec<u64>,
    /// When each came that has a number from this one on; none: that is not noted.
    noted_from: Option<u64>,
    came: Vec<(u64, Instant)>,
}

impl Got {
    fn note(&mut self, number: Option<u64>, length: usize) {
        self.bytes += length as u64;
        self.last = Some(Instant::now());
        let Some(number) = number else {
            self.unknown += 1;
            return;
        };
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1024, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.messages += 1;
            if self.noted_from.is_some_and(|from| from <= number) {
                self.came.push((number, Instant::now()));
            }
        } else {
            self.doubles += 1;
        }
    }
}

type Shared = Arc<Mutex<Got>>;

/// Both receivers.
pub struct Sinks {
    pub hl7: SocketAddr,
    pub fhir: SocketAddr,
    hl7_got: Shared,
    fhir_got: Shared,
}

impl Sinks {
    /// Starts them on a thread that lives as long as the program.
    pub fn start() -> Result<Sinks> {
        let (tx, rx) = std::sync::mpsc::channel();
        let (hl7_got, fhir_got) = (Shared::default(), Shared::default());
        let (for_hl7, for_fhir) = (hl7_got.clone(), fhir_got.clone());
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async move {
                let (Ok(hl7), Ok(fhir)) = (
                    TcpListener::bind("127.0.0.1:0").await,
                    TcpListener::bind("127.0.0.1:0").await,
                ) else {
                    return;
                };
                let _ = tx.send((hl7.local_addr(), fhir.local_addr()));
                loop {
                    tokio::select! {
                        Ok((stream, _)) = hl7.accept() => { tokio::spawn(serve_hl7(stream, for_hl7.clone())); }
                        Ok((stream, _)) = fhir.accept() => { tokio::spawn(serve_fhir(stream, for_fhir.clone())); }
                        else => return,
                    }
                }
            });
        });
        let (hl7, fhir) = rx
            .recv()
            .map_err(|_| anyhow!("the receivers could not be started"))?;
        Ok(Sinks {
            hl7: hl7?,
            fhir: fhir?,
            hl7_got,
            fhir_got,
        })
    }

    /// What the HL7 listener got until now, without the list.
    pub fn hl7_got(&self) -> Got {
        summary(&self.hl7_got)
    }

    /// Notes when each message comes at the HL7 listener, from this number on.
    pub fn note_from(&self, number: u64) {
        let mut got = self
            .hl7_got
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        got.noted_from = Some(number);
    }

    /// What was noted.
    pub fn came(&self) -> Vec<(u64, Instant)> {
        let got = self
            .hl7_got
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        got.came.clone()
    }

    /// What the FHIR server got until now, without the list.
    pub fn fhir_got(&self) -> Got {
        summary(&self.fhir_got)
    }
}

fn summary(got: &Shared) -> Got {
    let got = got.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Got {
        seen: vec![],
        noted_from: None,
        came: vec![],
        messages: got.messages,
        doubles: got.doubles,
        unknown: got.unknown,
        bytes: got.bytes,
        last: got.last,
    }
}

fn note(got: &Shared, number: Option<u64>, length: usize) {
    got.lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .note(number, length);
}

async fn serve_hl7(mut stream: TcpStream, got: Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mark = Finder::new(MARK);
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(end) = memchr::memchr(0x1C, &buffer).filter(|end| end + 1 < buffer.len()) {
            // The number stands in MSH-10 first.
            let number = number_in(&mark, &buffer[..end]);
            note(&got, number, end.saturating_sub(1));
            buffer.drain(..end + 2);
            let id = number.map(name).unwrap_or_default();
            let answer = format!(
                "\x0bMSH|^~\\&|SINK|BENCH|PUNTE|BENCH|20260512083000||ACK|A{id}|P|2.5.1\rMSA|AA|{id}\r\x1c\r"
            );
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

/// Just enough HTTP/1.1 for one client that sends Content-Length.
async fn serve_fhir(mut stream: TcpStream, got: Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mark, blank) = (Finder::new(MARK), Finder::new(b"\r\n\r\n"));
    let entry = Finder::new(br#""fullUrl""#);
    let mut buffer = Vec::with_capacity(256 * 1024);
    loop {
        let body_start = loop {
            if let Some(at) = blank.find(&buffer) {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..body_start]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        while buffer.len() < body_start + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = &buffer[body_start..body_start + length];
        let entries = entry.find_iter(body).count();
        note(&got, number_in(&mark, body), length);
        buffer.drain(..body_start + length);
        let answer = transaction_response(entries);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        let mut out = head.into_bytes();
        out.extend_from_slice(answer.as_bytes());
        stream.write_all(&out).await?;
    }
}

fn transaction_response(entries: usize) -> String {
    let each = vec![r#"{"response":{"status":"200 OK"}}"#; entries];
    format!(
        r#"{{"resourceType":"Bundle","type":"transaction-response","entry":[{}]}}"#,
        each.join(",")
    )
}
