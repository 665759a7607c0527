//! The systems that receive: two HL7 listeners and a FHIR server. Each keeps a log of control ids. By themselves: no
//! code of the product.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Control ids of what was received, in order of arrival, repeats too.
#[derive(Clone, Default)]
pub struct Log {
    ids: Arc<Mutex<Vec<String>>>,
    /// Takes this one, says so, and forgets it: a fault that the count has to notice.
    swallow: Option<String>,
}

impl Log {
    /// A log; `swallow`: the control id that is answered and forgotten.
    pub fn new(swallow: Option<&str>) -> Self {
        Log {
            ids: Arc::default(),
            swallow: swallow.map(str::to_owned),
        }
    }

    fn note(&self, id: &str) {
        if self.swallow.as_deref() == Some(id) {
            return;
        }
        self.ids
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(id.to_owned());
    }

    /// How many times this one came.
    pub fn count(&self, id: &str) -> usize {
        self.ids
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .iter()
            .filter(|known| *known == id)
            .count()
    }

    /// All, in order.
    pub fn all(&self) -> Vec<String> {
        self.ids
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

/// An HL7 system that takes everything.
pub async fn hl7(log: Log) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let _ = answer_all(stream, log).await;
            });
        }
    });
    Ok(address)
}

async fn answer_all(mut stream: TcpStream, log: Log) -> std::io::Result<()> {
    let mut frame = vec![];
    loop {
        match stream.read_u8().await? {
            0x0B => frame.clear(),
            0x1C => {
                let text = String::from_utf8_lossy(&frame).into_owned();
                let header: Vec<&str> = text.split('\r').next().unwrap_or_default().split('|').collect();
                let id = header.get(9).copied().unwrap_or_default();
                log.note(id);
                let answer = format!(
                    "\u{b}MSH|^~\\&|DEMO|DEMO|||20260101000000||ACK|A-{id}|P|2.5.1\rMSA|AA|{id}\r\u{1c}\r"
                );
                stream.write_all(answer.as_bytes()).await?;
            }
            byte => frame.push(byte),
        }
    }
}

/// A FHIR server that takes every transaction. It knows a message by the Provenance in it.
pub async fn fhir(log: Log) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = axum::Router::new().route("/fhir", post(take)).with_state(log);
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok(address)
}

async fn take(State(log): State<Log>, body: Bytes) -> impl IntoResponse {
    let bundle: Value = serde_json::from_slice(&body).unwrap_or_default();
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let id = entries
        .iter()
        .map(|entry| &entry["resource"])
        .filter(|resource| resource["resourceType"] == "Provenance")
        .flat_map(|provenance| provenance["entity"].as_array().into_iter().flatten())
        .find_map(|entity| entity["what"]["identifier"]["value"].as_str());
    if let Some(id) = id {
        log.note(id);
    }
    let answers: Vec<Value> = entries
        .iter()
        .map(|_| json!({ "response": { "status": "201 Created" } }))
        .collect();
    let answer = json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": answers });
    (
        [(header::CONTENT_TYPE, "application/fhir+json")],
        answer.to_string(),
    )
}
