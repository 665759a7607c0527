//! Senders, well-behaved and not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::connector::Outcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Engine, Running, paths, start, until, within};

async fn mllp(more: Value, engine: &Arc<Engine>) -> Running {
    let mut settings = json!({ "listen": "127.0.0.1:0" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    start(&connectors::all(), "mllp", settings, engine).await
}

struct Sender(TcpStream);

impl Sender {
    async fn to(running: &Running) -> Self {
        Sender(TcpStream::connect(running.address).await.unwrap())
    }

    async fn sends(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Everything up to the end of the connection; a reset counts as the end.
    async fn hears_till_the_end(&mut self) -> String {
        let mut heard = Vec::new();
        let _ = within(8, self.0.read_to_end(&mut heard)).await;
        String::from_utf8_lossy(&heard).into_owned()
    }

    async fn hears(&mut self, expected: &str) {
        let mut heard = vec![0; expected.len()];
        within(8, self.0.read_exact(&mut heard)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
}

#[tokio::test]
async fn each_message_is_answered_once_in_its_order() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({}), &engine).await;
    let mut sender = Sender::to(&running).await;
    sender.sends(b"\x0bone\x1c\r\x0btwo\x1c\r\x0bthree\x1c").await;
    sender
        .hears("\x0bACK one\x1c\r\x0bACK two\x1c\r\x0bACK three\x1c\r")
        .await;
    // One frame in many packets, LF endings, noise.
    for part in [&b"\r\n\x0bfo"[..], b"u", b"r", b"\x1c", b"\n"] {
        sender.sends(part).await;
        tokio::task::yield_now().await;
    }
    sender.hears("\x0bACK four\x1c\r").await;
    // Half closed: the answer comes all the same.
    sender.sends(b"\x0bfive\x1c\r").await;
    sender.0.shutdown().await.unwrap();
    assert_eq!(sender.hears_till_the_end().await, "\x0bACK five\x1c\r");
    assert_eq!(engine.bodies(), ["one", "two", "three", "four", "five"]);
    assert_eq!(engine.kept(), []);
    let peer = engine.taken.lock().unwrap()[0].headers[0].clone();
    assert_eq!(peer.0, "peer");
    assert!(peer.1.starts_with("127.0.0.1:"));
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_no_frame_is_kept_with_the_reason() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({}), &engine).await;
    let mut sender = Sender::to(&running).await;
    // Bytes before a frame and an unfinished one are not answered; an end without a start is.
    sender
        .sends(b"junk\x0bhalf of it\x0bwhole\x1c\rnever begun\x1c\r\x0blast\x1c\r")
        .await;
    sender
        .hears("\x0bACK whole\x1c\r\x0bNAK never begu\x1c\r\x0bACK last\x1c\r")
        .await;
    // Neither is one that the sender's end cuts off lost, nor bytes that never were a frame.
    sender.sends(b"\x0bcut off").await;
    sender.0.shutdown().await.unwrap();
    assert_eq!(sender.hears_till_the_end().await, "\x0bNAK cut off\x1c\r");
    let mut sender = Sender::to(&running).await;
    sender.sends(b"MSH|raw").await;
    drop(sender);
    until("kept", || engine.kept().len() == 5).await;
    let lengths: Vec<usize> = engine.kept().iter().map(|kept| kept.0).collect();
    assert_eq!(lengths, [4, 10, 11, 7, 7]);
    assert_eq!(engine.bodies(), ["whole", "last"]);
    for (_, why) in engine.kept() {
        assert!(why.starts_with("MLLP: "), "{why}");
    }
    running.stopped().await;
}

#[tokio::test]
async fn limits_of_size() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({ "max_frame": "1 MB" }), &engine).await;
    let mut sender = Sender::to(&running).await;
    let mut frame = vec![0x0b];
    frame.extend(vec![b'x'; 1024 * 1024]);
    frame.extend(b"\x1c\r");
    sender.sends(&frame).await;
    sender.hears("\x0bACK xxxxxxxxxx\x1c\r").await;
    frame.insert(1, b'y');
    // A sender that does not stop sending gets its answer all the same.
    let _ = sender.0.write_all(&frame).await;
    let _ = sender.0.write_all(&vec![b'z'; 300_000]).await;
    assert_eq!(sender.hears_till_the_end().await, "\x0bNAK yxxxxxxxxx\x1c\r");
    let kept = engine.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, 256 * 1024);
    assert!(kept[0].1.contains("1048576 bytes"), "{}", kept[0].1);
    // A flood of bytes that are no frame.
    let mut sender = Sender::to(&running).await;
    let _ = sender.0.write_all(&vec![b'q'; 2_000_000]).await;
    sender.hears_till_the_end().await;
    until("kept", || engine.kept().len() == 2).await;
    running.stopped().await;
}

#[tokio::test]
async fn limits_of_time() {
    let engine = Arc::new(Engine::default());
    let running = mllp(
        json!({ "idle_timeout": "400ms", "frame_timeout": "300ms" }),
        &engine,
    )
    .await;
    let begun = Instant::now();
    let mut silent = Sender::to(&running).await;
    let mut endless = Sender::to(&running).await;
    let mut raw = Sender::to(&running).await;
    endless.sends(b"\x0bno end").await;
    raw.sends(b"MSH|raw\r").await;
    // One that drips a byte now and then gains no time by it.
    let mut drips = Sender::to(&running).await;
    drips.sends(b"\x0b").await;
    let dripping = async {
        while drips.0.write_all(b"d").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    within(8, dripping).await;
    assert_eq!(endless.hears_till_the_end().await, "\x0bNAK no end\x1c\r");
    assert_eq!(raw.hears_till_the_end().await, "\x0bNAK MSH|raw\r\x1c\r");
    assert_eq!(silent.hears_till_the_end().await, "");
    assert!(begun.elapsed() < Duration::from_secs(4));
    until("all kept", || engine.kept().len() == 3).await;
    assert_eq!(engine.bodies(), [""; 0]);
    running.stopped().await;
}

#[tokio::test]
async fn idle_connections_may_be_allowed() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({ "idle_timeout": "0s", "frame_timeout": "100ms" }), &engine).await;
    let mut sender = Sender::to(&running).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sender.sends(b"\r\n").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    sender.sends(b"\x0bstill there\x1c\r").await;
    sender.hears("\x0bACK still ther\x1c\r").await;
    running.stopped().await;
}

#[tokio::test]
async fn stops_within_a_second_while_busy() {
    // The message under way gets its answer, those behind it are not begun.
    let engine = Engine::slow(Duration::from_millis(300));
    let running = mllp(json!({}), &engine).await;
    let mut busy = Sender::to(&running).await;
    let mut half = Sender::to(&running).await;
    let mut idle = Sender::to(&running).await;
    busy.sends(b"\x0bone\x1c\r\x0btwo\x1c\r\x0bthree\x1c\r").await;
    half.sends(b"\x0bhalf").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(running.stopped());
    tokio::time::sleep(Duration::from_millis(20)).await;
    half.sends(b" and half\x1c\r").await;
    assert!(busy.hears_till_the_end().await.starts_with("\x0bACK one\x1c\r"));
    assert_eq!(half.hears_till_the_end().await, "\x0bACK half and h\x1c\r");
    assert_eq!(idle.hears_till_the_end().await, "");
    assert!(within(3, stopping).await.unwrap() < Duration::from_secs(1));
    assert!(!engine.bodies().contains(&"three".to_owned()));
    // A store that hangs does not hold the stop up.
    let engine = Engine::slow(Duration::from_secs(60));
    let running = mllp(json!({}), &engine).await;
    let mut busy = Sender::to(&running).await;
    busy.sends(b"\x0bone\x1c\r").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(running.stopped().await < Duration::from_secs(1));
    assert_eq!(busy.hears_till_the_end().await, "");
    // Nor does a frame without an end.
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({}), &engine).await;
    let mut half = Sender::to(&running).await;
    half.sends(b"\x0bhalf").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn the_port_is_free_again_after_a_stop() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({}), &engine).await;
    let address = running.address;
    let mut sender = Sender::to(&running).await;
    sender.sends(b"\x0bone\x1c\r").await;
    sender.hears("\x0bACK one\x1c\r").await;
    running.stopped().await;
    let again = mllp(json!({ "listen": address.to_string() }), &engine).await;
    assert_eq!(again.address, address);
    // Taken by ourselves: said, not hung.
    let mllp = connectors::all().get("mllp").unwrap();
    let settings = json!({ "listen": address.to_string() });
    let error = mllp
        .open_source(&settings, &Default::default())
        .await
        .err()
        .unwrap();
    assert!(error.what.contains(&address.to_string()), "{error}");
    again.stopped().await;
}

#[tokio::test]
async fn connections_are_counted_and_chosen() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({ "max_connections": 2 }), &engine).await;
    let mut first = Sender::to(&running).await;
    let mut second = Sender::to(&running).await;
    first.sends(b"\x0bone\x1c\r").await;
    second.sends(b"\x0btwo\x1c\r").await;
    first.hears("\x0bACK one\x1c\r").await;
    second.hears("\x0bACK two\x1c\r").await;
    let mut third = Sender::to(&running).await;
    assert_eq!(third.hears_till_the_end().await, "");
    // A place that was left can be taken.
    drop(first);
    let mut tries = 0;
    loop {
        let mut fourth = Sender::to(&running).await;
        let _ = fourth.0.write_all(b"\x0bfour\x1c\r").await;
        if !fourth.hears_some().await.is_empty() {
            break;
        }
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stopped().await;
    let running = mllp(json!({ "allow": ["10.0.0.0/8"] }), &engine).await;
    assert_eq!(Sender::to(&running).await.hears_till_the_end().await, "");
    running.stopped().await;
}

impl Sender {
    async fn hears_some(&mut self) -> Vec<u8> {
        let mut heard = vec![0; 64];
        let read = within(8, self.0.read(&mut heard)).await.unwrap_or(0);
        heard.truncate(read);
        heard
    }
}

#[tokio::test]
async fn peers_that_drop_flood_or_do_not_listen_hurt_nobody_else() {
    let engine = Arc::new(Engine::default());
    engine.loud.store(true, Ordering::SeqCst);
    let running = mllp(json!({ "frame_timeout": "500ms" }), &engine).await;
    for _ in 0..50 {
        let mut sender = Sender::to(&running).await;
        sender.sends(b"\x0bdrops").await;
    }
    // Sends without end and never reads its answers.
    let mut deaf = Sender::to(&running).await;
    let flood = tokio::spawn(async move {
        let packet = b"\x0bflood\x1c\r".repeat(1000);
        while deaf.0.write_all(&packet).await.is_ok() {}
    });
    let mut rubbish = Sender::to(&running).await;
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let _ = rubbish.0.write_all(&bytes).await;
    drop(rubbish);
    let mut good = Sender::to(&running).await;
    good.sends(b"\x0bgood\x1c\r").await;
    good.hears("\x0bACK good\x1c\r").await;
    within(20, flood).await.unwrap();
    let mut again = Sender::to(&running).await;
    again.sends(b"\x0bagain\x1c\r").await;
    again.hears("\x0bACK again\x1c\r").await;
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_store_that_is_not_there() {
    // The format's answer says it; without one the closed connection does.
    let engine = Arc::new(Engine::default());
    *engine.outcome.lock().unwrap() = Outcome::Unavailable;
    let running = mllp(json!({}), &engine).await;
    let mut sender = Sender::to(&running).await;
    sender.sends(b"\x0bone\x1c\r").await;
    sender.hears("\x0bACK one\x1c\r").await;
    engine.mute.store(true, Ordering::SeqCst);
    sender.sends(b"\x0btwo\x1c\r").await;
    assert_eq!(sender.hears_till_the_end().await, "");
    running.stopped().await;
}

#[tokio::test]
async fn many_big_messages_at_once_wait_for_each_other() {
    let engine = Arc::new(Engine::default());
    let running = mllp(json!({}), &engine).await;
    let mut frame = vec![0x0b];
    frame.extend(vec![b'x'; 600_000]);
    frame.extend(b"\x1c\r");
    let mut senders = Vec::new();
    for _ in 0..24 {
        let mut sender = Sender::to(&running).await;
        let frame = frame.clone();
        senders.push(tokio::spawn(async move {
            sender.sends(&frame).await;
            sender.hears("\x0bACK xxxxxxxxxx\x1c\r").await;
        }));
    }
    for sender in senders {
        within(20, sender).await.unwrap();
    }
    assert_eq!(engine.bodies().len(), 24);
    running.stopped().await;
}

#[test]
fn settings_are_checked() {
    let mllp = connectors::all().get("mllp").unwrap();
    let wrong = json!({
        "listen": "2575", "max_frame": "16", "idle_timeout": "5 min", "frame_timeout": "0s", "max_connections": 0,
        "allow": ["10.0.0.1", "lis"],
    });
    let problems = mllp.check_source(&wrong);
    let expected = [
        "listen",
        "max_frame",
        "idle_timeout",
        "frame_timeout",
        "max_connections",
        "allow[1]",
    ];
    assert_eq!(paths(&problems), expected);
    assert_eq!(mllp.check_source(&json!({ "listen": "127.0.0.1:2575" })), []);
    assert_eq!(
        mllp.check_source(&json!({ "listen": "127.0.0.1:2575", "tls": {} }))
            .len(),
        1
    );
    let problems =
        mllp.check_destination(&json!({ "connect": "ris", "reply_timeout": "soon", "max_answers": 0 }));
    assert_eq!(paths(&problems), ["connect", "reply_timeout", "max_answers"]);
    let schema = mllp.source_schema().unwrap();
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["properties"]["max_frame"]["default"], json!("16 MB"));
}
