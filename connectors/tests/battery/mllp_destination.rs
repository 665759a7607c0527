//! Receivers, well-behaved and not.

use std::time::{Duration, Instant};

use connectors::mllp::framing::{Framer, Piece, write_frame};
use engine::connector::SendError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{destination, outgoing, within};

/// A receiver whose behaviour the test writes down.
struct Receiver(TcpListener);

struct Call {
    stream: TcpStream,
    framer: Framer,
}

impl Receiver {
    async fn new() -> Self {
        Receiver(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    async fn is_called(&self) -> Call {
        let (stream, _) = within(5, self.0.accept()).await.unwrap();
        Call {
            stream,
            framer: Framer::new(64 << 20),
        }
    }

    async fn sender(&self, more: Value) -> std::sync::Arc<dyn engine::connector::Destination> {
        let mut settings =
            json!({ "connect": self.0.local_addr().unwrap().to_string(), "reply_timeout": "300ms" });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        destination("mllp", settings).await
    }
}

impl Call {
    async fn gets(&mut self) -> Option<String> {
        loop {
            if let Some(Piece::Frame(body)) = self.framer.next_piece() {
                return Some(String::from_utf8_lossy(&body).into_owned());
            }
            if within(5, self.stream.read_buf(self.framer.room()))
                .await
                .unwrap_or(0)
                == 0
            {
                return None;
            }
        }
    }

    async fn says(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answers(&mut self, to: &str) {
        let mut frame = bytes::BytesMut::new();
        write_frame(format!("ACK {to}").as_bytes(), &mut frame);
        self.says(&frame).await;
    }
}

fn mine(to: &'static str) -> impl Fn(&[u8]) -> bool + Send + Sync {
    move |candidate| candidate == format!("ACK {to}").as_bytes()
}

fn arm(result: Result<clinic::exchange::Response, SendError>) -> String {
    match result {
        Ok(response) => format!("answer {}", String::from_utf8_lossy(&response.body)),
        Err(SendError::Retry { why, .. }) => format!("retry {why}"),
        Err(SendError::Refused { why }) => format!("refused {why}"),
        Err(SendError::Unsure { why } | SendError::BrokenOff { why, .. }) => format!("unsure {why}"),
    }
}

#[tokio::test]
async fn one_connection_serves_all_messages() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({})).await;
    let far = tokio::spawn(async move {
        let mut call = receiver.is_called().await;
        for n in 0..3 {
            assert_eq!(call.gets().await.unwrap(), format!("message {n}"));
            call.answers(&n.to_string()).await;
        }
        (receiver, call)
    });
    sender.probe().await.unwrap();
    for (n, number) in ["0", "1", "2"].into_iter().enumerate() {
        let result = sender
            .send(&outgoing(format!("message {n}")), &mine(number))
            .await;
        assert_eq!(arm(result), format!("answer ACK {n}"));
    }
    // The receiver closes in between: noticed before the next message leaves.
    let (receiver, call) = far.await.unwrap();
    drop(call);
    let far = tokio::spawn(async move {
        let mut call = receiver.is_called().await;
        assert_eq!(call.gets().await.unwrap(), "message 3");
        call.answers("3").await;
        call.gets().await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        arm(sender.send(&outgoing("message 3"), &mine("3")).await),
        "answer ACK 3"
    );
    drop(sender);
    assert_eq!(far.await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_belongs_to_its_question_or_to_nobody() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({})).await;
    let far = tokio::spawn(async move {
        // Answers for others, twice, noise, half a frame; then the right one, in two packets.
        let mut call = receiver.is_called().await;
        call.gets().await;
        call.says(b"\x0bACK other\x1c\r\x0bhtml\x1c\r  junk \x0bha\x0b\x1c\r\x0bACK")
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        call.says(b" 1\x1c\r").await;
        // A second answer to the first message waits when the next is sent.
        call.answers("1").await;
        call.gets().await;
        call.answers("2").await;
        // Never answers the third in time. That connection is not used again, so the late answer meets nobody.
        call.gets().await;
        let next = receiver.is_called();
        let mut next = within(5, next).await;
        let _ = call.stream.write_all(b"\x0bACK 3\x1c\r").await;
        assert_eq!(next.gets().await.unwrap(), "message 4");
        next.answers("4").await;
    });
    assert_eq!(
        arm(sender.send(&outgoing("message 1"), &mine("1")).await),
        "answer ACK 1"
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        arm(sender.send(&outgoing("message 2"), &mine("2")).await),
        "answer ACK 2"
    );
    let result = arm(sender.send(&outgoing("message 3"), &mine("3")).await);
    assert!(result.starts_with("unsure No answer within"), "{result}");
    assert_eq!(
        arm(sender.send(&outgoing("message 4"), &mine("4")).await),
        "answer ACK 4"
    );
    far.await.unwrap();
}

/// A receiver that is always too slow gets each message once, where its answer is there by the next try.
#[tokio::test]
async fn a_late_answer_is_that_of_its_own_delivery() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({ "reply_timeout": "100ms" })).await;
    let of = |delivery: i64, text: &'static str| engine::connector::Outgoing {
        delivery,
        ..outgoing(text)
    };
    let (answered_tx, answered) = tokio::sync::oneshot::channel();
    let far = tokio::spawn(async move {
        let mut call = receiver.is_called().await;
        assert_eq!(call.gets().await.unwrap(), "message 1");
        tokio::time::sleep(Duration::from_millis(150)).await;
        call.answers("1").await;
        answered_tx.send(()).unwrap();
        // The next one comes by another connection, and is not answered by what is late here.
        let mut next = within(5, receiver.is_called()).await;
        assert_eq!(next.gets().await.unwrap(), "message 2");
        next.answers("2").await;
    });
    let result = arm(sender.send(&of(1, "message 1"), &mine("1")).await);
    assert!(result.starts_with("unsure No answer within"), "{result}");
    answered.await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        arm(sender.send(&of(1, "message 1"), &mine("1")).await),
        "answer ACK 1"
    );
    assert_eq!(
        arm(sender.send(&of(2, "message 2"), &mine("2")).await),
        "answer ACK 2"
    );
    far.await.unwrap();
}

#[tokio::test]
async fn without_a_right_answer_it_is_unsure() {
    let cases: [(&[u8], bool, &str); 6] = [
        (b"", true, "closed before the answer came."),
        (
            b"<html><body>200 OK</body></html>",
            true,
            "32 bytes came that are no answer",
        ),
        (b"<html>\x1c\r", false, "6 bytes came that are no answer"),
        (b"\x0bACK 1", true, "5 bytes came that are no answer"),
        (
            b"\x0bACK 2\x1c\r\x0bACK 3\x1c\r",
            false,
            "2 answers came, to other messages",
        ),
        (b"\x0b\x1c\r", false, "No answer within"),
    ];
    for (said, closes, expected) in cases {
        let receiver = Receiver::new().await;
        let sender = receiver.sender(json!({})).await;
        let far = tokio::spawn(async move {
            let mut call = receiver.is_called().await;
            call.gets().await;
            call.says(said).await;
            if !closes {
                call.gets().await;
            }
        });
        let result = arm(sender.send(&outgoing("message"), &mine("1")).await);
        assert!(
            result.starts_with("unsure") && result.contains(expected),
            "{result}"
        );
        // Where only time has run out the connection is kept for the answer.
        drop(sender);
        far.await.unwrap();
    }
}

#[tokio::test]
async fn floods_end() {
    for flood in [vec![b'x'; 100_000], b"\x0bACK other\x1c\r".repeat(1000), {
        let mut endless = vec![0x0b];
        endless.extend(vec![b'x'; 100_000]);
        endless
    }] {
        let receiver = Receiver::new().await;
        let sender = receiver
            .sender(json!({ "reply_timeout": "20s", "max_frame": "64 KB" }))
            .await;
        let far = tokio::spawn(async move {
            let mut call = receiver.is_called().await;
            call.gets().await;
            while call.stream.write_all(&flood).await.is_ok() {}
        });
        let begun = Instant::now();
        let result = arm(sender.send(&outgoing("message"), &mine("1")).await);
        assert!(result.starts_with("unsure"), "{result}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        within(5, far).await.unwrap();
    }
}

#[tokio::test]
async fn surely_not_received_is_retry() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({})).await;
    drop(receiver);
    let result = arm(sender.send(&outgoing("message"), &mine("1")).await);
    assert!(result.starts_with("retry Can't connect"), "{result}");
    assert!(sender.probe().await.is_err());
    // One that accepts and takes nothing: part of it left.
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({ "max_frame": "64 MB" })).await;
    let result = arm(sender.send(&outgoing(vec![b'x'; 32 << 20]), &mine("1")).await);
    assert!(
        result.starts_with("unsure The connection failed after"),
        "{result}"
    );
}

#[tokio::test]
async fn what_can_not_be_sent_is_refused() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({ "max_frame": "64 B" })).await;
    for body in [vec![], vec![b'x'; 65], b"a\x0bb".to_vec(), b"a\x1cb".to_vec()] {
        let result = arm(sender.send(&outgoing(body), &mine("1")).await);
        assert!(result.starts_with("refused"), "{result}");
    }
}

#[tokio::test]
async fn a_connection_for_each_message() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({ "keep_open": false })).await;
    let far = tokio::spawn(async move {
        for n in 1..3 {
            let mut call = receiver.is_called().await;
            call.gets().await;
            call.answers(&n.to_string()).await;
            assert_eq!(call.gets().await, None);
        }
    });
    assert_eq!(
        arm(sender.send(&outgoing("message 1"), &mine("1")).await),
        "answer ACK 1"
    );
    assert_eq!(
        arm(sender.send(&outgoing("message 2"), &mine("2")).await),
        "answer ACK 2"
    );
    far.await.unwrap();
}

#[tokio::test]
async fn a_send_that_is_broken_off_takes_its_connection_with_it() {
    let receiver = Receiver::new().await;
    let sender = receiver.sender(json!({ "reply_timeout": "10s" })).await;
    let far = tokio::spawn(async move {
        let mut first = receiver.is_called().await;
        first.gets().await;
        let mut second = receiver.is_called().await;
        let _ = first.stream.write_all(b"\x0bACK 1\x1c\r").await;
        assert_eq!(second.gets().await.unwrap(), "message 2");
        second.answers("2").await;
    });
    let message = outgoing("message 1");
    let answer = mine("1");
    let first = tokio::time::timeout(Duration::from_millis(100), sender.send(&message, &answer)).await;
    assert!(first.is_err());
    assert_eq!(
        arm(sender.send(&outgoing("message 2"), &mine("2")).await),
        "answer ACK 2"
    );
    far.await.unwrap();
}

#[tokio::test]
async fn against_our_own_source() {
    let engine = std::sync::Arc::new(crate::Engine::default());
    let running = crate::start(
        &connectors::all(),
        "mllp",
        json!({ "listen": "127.0.0.1:0" }),
        &engine,
    )
    .await;
    let sender = destination("mllp", json!({ "connect": running.address.to_string() })).await;
    for n in 0..200 {
        let expected = format!("ACK message {n}");
        let expected = expected.as_bytes()[..14.min(expected.len())].to_vec();
        let wanted = expected.clone();
        let mine = move |candidate: &[u8]| candidate == wanted;
        let response = sender
            .send(&outgoing(format!("message {n}")), &mine)
            .await
            .unwrap();
        assert_eq!(response.body, expected);
    }
    assert_eq!(engine.bodies().len(), 200);
    running.stopped().await;
}
