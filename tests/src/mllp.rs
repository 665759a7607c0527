//! An HL7 sender of our own, for what well-behaved client libraries can't do.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a listener.
pub struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Sender {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> Result<Sender> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Sender {
            stream,
            buffer: vec![],
        })
    }

    /// Writes bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends one message in a frame.
    pub async fn tell(&mut self, message: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(message.len() + 3);
        frame.push(0x0B);
        frame.extend_from_slice(message);
        frame.extend_from_slice(&[0x1C, 0x0D]);
        self.raw(&frame).await
    }

    /// The next frame that comes back.
    pub async fn answer(&mut self) -> Result<Vec<u8>> {
        tokio::time::timeout(Duration::from_secs(20), self.next_frame()).await?
    }

    async fn next_frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == [0x1C, 0x0D]) {
                let start = self.buffer[..end]
                    .iter()
                    .position(|byte| *byte == 0x0B)
                    .map_or(0, |at| at + 1);
                let frame = self.buffer[start..end].to_vec();
                self.buffer.drain(..end + 2);
                return Ok(frame);
            }
            let mut chunk = [0_u8; 16 * 1024];
            let count = self.stream.read(&mut chunk).await?;
            if count == 0 {
                bail!("the listener closed the connection");
            }
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Sends one message and returns its answer.
    pub async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        self.tell(message).await?;
        self.answer().await
    }

    /// True once the listener has closed the connection.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }
}

/// A field of a message: `field(answer, "MSA", 1)`. MSH counts as HL7 does.
pub fn field(message: &[u8], segment: &str, number: usize) -> String {
    let text = String::from_utf8_lossy(message);
    let Some(line) = text.split(['\r', '\n']).find(|line| line.starts_with(segment)) else {
        return String::new();
    };
    let separator = text.chars().nth(3).unwrap_or('|');
    let number = if segment == "MSH" { number - 1 } else { number };
    line.split(separator).nth(number).unwrap_or_default().to_owned()
}
