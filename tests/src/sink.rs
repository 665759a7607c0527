//! Receivers that keep what they get, and can misbehave: an HL7 listener and a FHIR server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::mllp::field;

/// How a receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Polite,
    /// Takes the message and says nothing.
    Silent,
    /// Answers for another message first, then rightly.
    AnotherFirst,
    /// Answers rightly, twice.
    Twice,
    /// Answers only for another message.
    AnotherOnly,
    /// Answers with a page of HTML.
    Html,
    /// Refuses: AE, or HTTP 422.
    Refuse,
    /// Is busy: AE with 207, or HTTP 503.
    Busy,
    /// Closes without an answer.
    Close,
    /// Answers after this.
    Late(Duration),
    /// Is busy for messages with this in them; polite for the others.
    BusyFor(String),
}

/// A receiver.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    received: Kept,
    manner: Arc<Mutex<Manner>>,
    task: JoinHandle<()>,
}

impl Sink {
    /// An HL7 listener that answers AA.
    pub async fn hl7() -> Result<Sink> {
        Self::start("127.0.0.1:0", false).await
    }

    /// An HL7 listener at a place of choice.
    pub async fn hl7_at(address: &str) -> Result<Sink> {
        Self::start(address, false).await
    }

    /// A FHIR server that takes every transaction and every resource.
    pub async fn fhir() -> Result<Sink> {
        Self::start("127.0.0.1:0", true).await
    }

    async fn start(address: &str, http: bool) -> Result<Sink> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(vec![]));
        let manner = Arc::new(Mutex::new(Manner::Polite));
        let (kept, how) = (received.clone(), manner.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without it the second write of an answer waits for a delayed acknowledgement: 40 ms for each.
                let _ = stream.set_nodelay(true);
                let (kept, how) = (kept.clone(), how.clone());
                tokio::spawn(async move {
                    let _ = if http {
                        serve_http(stream, kept, how).await
                    } else {
                        serve_hl7(stream, kept, how).await
                    };
                });
            }
        });
        Ok(Sink {
            address,
            received,
            manner,
            task,
        })
    }

    /// Behaves like this from now on.
    pub fn behave(&self, manner: Manner) {
        *self
            .manner
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = manner;
    }

    /// All bodies in the order of arrival, repeats too.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.arrivals().into_iter().map(|(_, body)| body).collect()
    }

    /// The same from one on, for who has read those before.
    pub fn received_from(&self, first: usize) -> Vec<Vec<u8>> {
        let received = self
            .received
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        received
            .iter()
            .skip(first)
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// The same, each with the time when it was there whole. It is written down before it is answered.
    pub fn arrivals(&self) -> Vec<(Instant, Vec<u8>)> {
        self.received
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// The same as text.
    pub fn texts(&self) -> Vec<String> {
        self.received()
            .iter()
            .map(|body| String::from_utf8_lossy(body).into_owned())
            .collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Kept = Arc<Mutex<Vec<(Instant, Vec<u8>)>>>;
type How = Arc<Mutex<Manner>>;

fn keep(kept: &Kept, body: &[u8]) {
    kept.lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .push((Instant::now(), body.to_vec()));
}

fn manner(how: &How) -> Manner {
    how.lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clone()
}

fn ack(code: &str, control_id: &str, error: &str) -> Vec<u8> {
    let mut text = format!(
        "\x0bMSH|^~\\&|SINK|TEST|PUNTE|TEST|20260505083000||ACK|A{control_id}|P|2.5.1\rMSA|{code}|{control_id}\r"
    );
    if !error.is_empty() {
        text.push_str(&format!("ERR|||{error}|E\r"));
    }
    text.push_str("\x1c\r");
    text.into_bytes()
}

async fn serve_hl7(mut stream: TcpStream, kept: Kept, how: How) -> Result<()> {
    let mut buffer = vec![];
    loop {
        let mut chunk = [0_u8; 64 * 1024];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..count]);
        while let Some(end) = buffer.windows(2).position(|two| two == [0x1C, 0x0D]) {
            let frame: Vec<u8> = buffer.drain(..end + 2).collect();
            let body = &frame[1..end];
            keep(&kept, body);
            let id = field(body, "MSH", 10);
            let manner = match manner(&how) {
                Manner::BusyFor(part) if !String::from_utf8_lossy(body).contains(&part) => Manner::Polite,
                manner => manner,
            };
            match manner {
                Manner::Polite => stream.write_all(&ack("AA", &id, "")).await?,
                Manner::Silent => {}
                Manner::Twice => {
                    stream.write_all(&ack("AA", &id, "")).await?;
                    stream.write_all(&ack("AA", &id, "")).await?;
                }
                Manner::AnotherFirst => {
                    stream.write_all(&ack("AA", "SOMEBODY-ELSE", "")).await?;
                    stream.write_all(&ack("AA", &id, "")).await?;
                }
                Manner::AnotherOnly => stream.write_all(&ack("AA", "SOMEBODY-ELSE", "")).await?,
                Manner::Html => {
                    stream
                        .write_all(b"\x0b<html><body>200 OK</body></html>\x1c\r")
                        .await?
                }
                Manner::Refuse => {
                    stream
                        .write_all(&ack("AE", &id, "102^Data type error^HL70357"))
                        .await?
                }
                Manner::Busy | Manner::BusyFor(_) => {
                    stream
                        .write_all(&ack("AE", &id, "207^Application internal error^HL70357"))
                        .await?
                }
                Manner::Close => return Ok(()),
                Manner::Late(pause) => {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&ack("AA", &id, "")).await?;
                }
            }
        }
    }
}

/// Just enough HTTP/1.1 for one client that sends Content-Length.
async fn serve_http(mut stream: TcpStream, kept: Kept, how: How) -> Result<()> {
    let mut buffer: Vec<u8> = vec![];
    loop {
        let (head, body_start) = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&buffer[..at]).into_owned(), at + 4);
            }
            let mut chunk = [0_u8; 64 * 1024];
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&chunk[..count]);
        };
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|v| v.trim().to_owned())
            })
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        while buffer.len() < body_start + length {
            let mut chunk = [0_u8; 64 * 1024];
            let count = stream.read(&mut chunk).await?;
            if count == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&chunk[..count]);
        }
        let body: Vec<u8> = buffer[body_start..body_start + length].to_vec();
        buffer.drain(..body_start + length);
        keep(&kept, &body);
        let (status, content_type, answer) = match manner(&how) {
            // HTTP has one answer to a question.
            Manner::Polite | Manner::Twice => {
                ("200 OK", "application/fhir+json", transaction_response(&body))
            }
            Manner::Late(pause) => {
                tokio::time::sleep(pause).await;
                ("200 OK", "application/fhir+json", transaction_response(&body))
            }
            Manner::Silent => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                return Ok(());
            }
            Manner::Html | Manner::AnotherOnly | Manner::AnotherFirst => (
                "200 OK",
                "text/html",
                "<html><body>Welcome</body></html>".to_owned(),
            ),
            Manner::Refuse => ("422 Unprocessable Entity", "application/fhir+json", outcome()),
            Manner::Busy | Manner::BusyFor(_) => ("503 Service Unavailable", "text/plain", String::new()),
            Manner::Close => return Ok(()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream
            .write_all(&[head.as_bytes(), answer.as_bytes()].concat())
            .await?;
    }
}

/// Ids that the server gives.
static COUNT: AtomicU32 = AtomicU32::new(1);

fn outcome() -> String {
    r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#.to_owned()
}

fn transaction_response(request: &[u8]) -> String {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap_or_default();
    if request["resourceType"] != "Bundle" {
        // A server gives its own id and shows what it has stored.
        let mut stored = request;
        let id = format!("server-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        stored["id"] = id.into();
        return stored.to_string();
    }
    let entries: Vec<serde_json::Value> = request["entry"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|_| serde_json::json!({ "response": { "status": "200 OK" } }))
        .collect();
    serde_json::json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries })
        .to_string()
}
