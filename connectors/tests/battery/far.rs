//! A far side that speaks HTTP as the test writes it down: one request on each connection.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::within;

pub struct Far(Arc<TcpListener>);

impl Far {
    pub async fn new() -> Self {
        Far(Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap()))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.local_addr().unwrap())
    }

    /// Takes one request for each answer; the requests come back as they came.
    pub fn answers(&self, answers: &[&str]) -> JoinHandle<Vec<String>> {
        let listener = self.0.clone();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = within(5, listener.accept()).await.unwrap();
                requests.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        })
    }

    /// Takes one request and leaves it without an answer until the far side gives up.
    pub fn says_nothing(&self) -> JoinHandle<()> {
        let listener = self.0.clone();
        tokio::spawn(async move {
            let (mut stream, _) = within(5, listener.accept()).await.unwrap();
            request(&mut stream).await;
            let _ = stream.read(&mut [0; 16]).await;
        })
    }
}

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let heard = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = heard.split_once("\r\n\r\n") {
            let length = header(head, "content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if length <= body.len() {
                return heard;
            }
        }
        if within(5, stream.read_buf(&mut text)).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&text).into_owned();
        }
    }
}

/// A header of a request or answer.
pub fn header(head: &str, name: &str) -> Option<String> {
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
