//! A sender of HL7 over MLLP that keeps a log. By itself: no code of the product.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub struct Sender {
    stream: TcpStream,
}

impl Sender {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> anyhow::Result<Sender> {
        let stream = TcpStream::connect(to)
            .await
            .with_context(|| format!("the demo's sender can't reach {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Sender { stream })
    }

    /// Sends one message and returns the code of its answer (MSA-1) and the rest of it.
    pub async fn send(&mut self, message: &str) -> anyhow::Result<(String, String)> {
        let mut frame = vec![0x0B];
        frame.extend_from_slice(message.as_bytes());
        frame.extend_from_slice(&[0x1C, 0x0D]);
        self.stream.write_all(&frame).await?;
        let answer = tokio::time::timeout(Duration::from_secs(20), self.answer())
            .await
            .context("no answer within 20 s")??;
        let code = answer
            .split('\r')
            .find_map(|line| line.strip_prefix("MSA|"))
            .and_then(|rest| rest.split('|').next())
            .unwrap_or("none")
            .to_owned();
        Ok((code, answer))
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        let mut bytes = vec![];
        loop {
            let byte = self.stream.read_u8().await?;
            match byte {
                0x0B => bytes.clear(),
                0x1C => break,
                byte => bytes.push(byte),
            }
            if 1 << 20 < bytes.len() {
                bail!("an answer of more than 1 MB");
            }
        }
        // The carriage return behind it.
        let _ = self.stream.read_u8().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
