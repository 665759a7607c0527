//! Callers, well-behaved and not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::connector::{Connectors, Outcome, Surroundings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::far::header;
use crate::{Engine, Running, paths, start, until, within};

async fn http(more: Value, engine: &Arc<Engine>) -> Running {
    on(&connectors::all(), more, engine).await
}

async fn on(connectors: &Connectors, more: Value, engine: &Arc<Engine>) -> Running {
    let mut settings = json!({ "listen": "127.0.0.1:0", "path": "/in" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    start(connectors, "http", settings, engine).await
}

async fn open(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.unwrap()
}

fn post(body: &str, more: &str) -> String {
    format!(
        "POST /in HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

/// One answer: its status, and all of it.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = header(head, "content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if length <= body.len() {
                return (text[9..12].parse().unwrap(), text);
            }
        }
        if within(8, stream.read_buf(&mut heard)).await.unwrap_or(0) == 0 {
            return (0, text);
        }
    }
}

async fn ask(running: &Running, request: &str) -> (u16, String) {
    let mut stream = open(running).await;
    let _ = stream.write_all(request.as_bytes()).await;
    answer(&mut stream).await
}

#[tokio::test]
async fn each_message_is_answered_once_in_its_order() {
    let engine = Arc::new(Engine::default());
    let running = http(json!({ "keep_headers": ["X-Tenant"] }), &engine).await;
    let mut stream = open(&running).await;
    let more = "Content-Type: application/hl7-v2\r\nAuthorization: Bearer s3cret\r\nX-Tenant: one\r\nX-Other: two\r\n";
    // Two at once, the second in pieces.
    let second = post("two", more);
    stream
        .write_all((post("one", more) + &second[..20]).as_bytes())
        .await
        .unwrap();
    let (status, text) = answer(&mut stream).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("\r\n\r\nACK one"), "{text}");
    assert_eq!(
        header(&text, "content-type").as_deref(),
        Some("application/hl7-v2")
    );
    stream.write_all(&second.as_bytes()[20..]).await.unwrap();
    assert!(answer(&mut stream).await.1.ends_with("ACK two"));
    // Half closed: the answer comes all the same.
    stream.write_all(post("three", "").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(answer(&mut stream).await.1.ends_with("ACK three"));
    let chunked = "POST /in?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfou\r\n1\r\nr\r\n0\r\n\r\n";
    assert_eq!(ask(&running, chunked).await.0, 200);
    assert_eq!(engine.bodies(), ["one", "two", "three", "four"]);
    {
        let taken = engine.taken.lock().unwrap();
        let names: Vec<&str> = taken[0].headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["peer", "method", "path", "content-type", "x-tenant"]);
        assert!(taken[3].headers.contains(&("query".to_owned(), "x=1".to_owned())));
        assert!(taken[3].headers.contains(&("query:x".to_owned(), "1".to_owned())));
        assert_eq!(taken[0].content_type, "application/hl7-v2");
    }
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn the_outcome_is_the_status() {
    let engine = Arc::new(Engine::default());
    let running = http(json!({}), &engine).await;
    for (outcome, status, after) in [
        (Outcome::Stored, 200, None),
        (Outcome::Failed, 422, None),
        (Outcome::Unavailable, 503, Some("5")),
    ] {
        *engine.outcome.lock().unwrap() = outcome;
        engine.mute.store(false, Ordering::SeqCst);
        let (found, text) = ask(&running, &post("one", "")).await;
        assert_eq!((found, header(&text, "retry-after").as_deref()), (status, after));
        assert!(text.ends_with("ACK one"));
        engine.mute.store(true, Ordering::SeqCst);
        let (found, text) = ask(&running, &post("one", "")).await;
        assert_eq!((found, header(&text, "retry-after").as_deref()), (status, after));
        match outcome {
            Outcome::Stored => assert!(text.ends_with("\r\n\r\n")),
            Outcome::Failed | Outcome::Unavailable => {
                assert_eq!(
                    header(&text, "content-type").as_deref(),
                    Some("application/problem+json")
                );
                let problem: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
                assert_eq!(problem["status"], status);
                assert_eq!(problem["detail"], "As the test wants it.");
            }
        }
    }
    running.stopped().await;
}

#[tokio::test]
async fn what_does_not_come_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret").unwrap();
    let engine = Arc::new(Engine::default());
    let token = folder.path().join("token");
    let running = http(json!({ "auth": { "bearer_file": token } }), &engine).await;
    let known = "Authorization: bearer s3cret\r\n";
    for (request, expected) in [
        (post("x", ""), 401),
        (post("x", "Authorization: Bearer wrong\r\n"), 401),
        (post("x", "Authorization: s3cret\r\n"), 401),
        (post("x", "Authorization: Basic s3cret\r\n"), 401),
        (post("x", known).replace("/in", "/elsewhere"), 404),
        (post("x", known).replace("POST", "PUT"), 405),
        (post("", known), 400),
        (post("x", &format!("{known}Content-Encoding: gzip\r\n")), 415),
        ("NONSENSE\r\n\r\n".to_owned(), 400),
        (post("x", known), 200),
    ] {
        let (status, text) = ask(&running, &request).await;
        assert_eq!(status, expected, "{request}");
        assert!(!text.contains("s3cret"));
        match status {
            401 => assert_eq!(header(&text, "www-authenticate").as_deref(), Some("Bearer")),
            405 => assert_eq!(header(&text, "allow").as_deref(), Some("POST")),
            _ => {}
        }
    }
    assert_eq!(engine.bodies(), ["x"]);
    assert_eq!(engine.kept(), []);
    running.stopped().await;
    let running = http(json!({ "allow": ["10.0.0.0/8"] }), &engine).await;
    assert_eq!(ask(&running, &post("x", "")).await.0, 403);
    running.stopped().await;
}

#[tokio::test]
async fn limits_of_size_and_time() {
    let engine = Arc::new(Engine::default());
    let running = http(json!({ "max_body": "1 MB", "timeout": "400ms" }), &engine).await;
    assert_eq!(ask(&running, &post(&"x".repeat(1 << 20), "")).await.0, 200);
    let (status, text) = ask(&running, &post(&"x".repeat((1 << 20) + 1), "")).await;
    assert_eq!(status, 413, "{text}");
    assert_eq!(header(&text, "connection").as_deref(), Some("close"));
    // Asked before sending: nothing is sent, nothing kept.
    let asks = "POST /in HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n";
    assert_eq!(ask(&running, asks).await.0, 413);
    // Never whole.
    assert_eq!(
        ask(&running, &post("half", "").replace("Length: 4", "Length: 8"))
            .await
            .0,
        408
    );
    let mut drops = open(&running).await;
    drops
        .write_all(post("drops", "").replace("Length: 5", "Length: 9").as_bytes())
        .await
        .unwrap();
    drop(drops);
    until("kept", || engine.kept().len() == 3).await;
    let lengths: Vec<usize> = engine.kept().iter().map(|kept| kept.0).collect();
    assert_eq!(lengths, [256 * 1024, 4, 5]);
    // Silence, half a head, a head without end, a head of endless size.
    let begun = Instant::now();
    for says in ["", "POST /in HT", "POST /in HTTP/1.1\r\nHost: x\r\n"] {
        let (_, text) = ask(&running, says).await;
        assert!(!text.contains("200"), "{text}");
    }
    let endless = format!("POST /in HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    assert!(matches!(ask(&running, &endless).await.0, 0 | 431));
    assert!(begun.elapsed() < Duration::from_secs(6));
    running.stopped().await;
}

#[tokio::test]
async fn stops_within_a_second_while_busy() {
    let engine = Engine::slow(Duration::from_millis(400));
    let running = http(json!({}), &engine).await;
    let mut busy = open(&running).await;
    let mut idle = open(&running).await;
    let mut half = open(&running).await;
    busy.write_all(post("one", "").as_bytes()).await.unwrap();
    half.write_all(post("half", "").replace("Length: 4", "Length: 8").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(running.stopped());
    assert!(answer(&mut busy).await.1.ends_with("ACK one"));
    assert_eq!(answer(&mut half).await.0, 503);
    assert_eq!(answer(&mut idle).await.0, 0);
    assert!(within(3, stopping).await.unwrap() < Duration::from_secs(1));
    // A store that hangs does not hold the stop up.
    let engine = Engine::slow(Duration::from_secs(60));
    let running = http(json!({}), &engine).await;
    let mut busy = open(&running).await;
    busy.write_all(post("one", "").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(running.stopped().await < Duration::from_secs(1));
    assert_eq!(answer(&mut busy).await.0, 0);
}

#[tokio::test]
async fn channels_share_an_address() {
    let connectors = connectors::all();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("127.0.0.1:{port}");
    let (orders, results) = (Arc::new(Engine::default()), Arc::new(Engine::default()));
    let first = on(&connectors, json!({ "listen": listen }), &orders).await;
    let second = on(
        &connectors,
        json!({ "listen": listen, "methods": ["PUT"] }),
        &results,
    )
    .await;
    assert_eq!(first.address, second.address);
    assert_eq!(ask(&first, &post("one", "")).await.0, 200);
    assert_eq!(ask(&first, &post("two", "").replace("POST", "PUT")).await.0, 200);
    assert_eq!(
        (orders.bodies(), results.bodies()),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );
    let connector = connectors.get("http").unwrap();
    for (settings, expected) in [
        (
            json!({ "listen": listen, "path": "/in", "methods": ["GET", "PUT"] }),
            "Another channel answers /in",
        ),
        (
            json!({ "listen": listen, "path": "/other", "timeout": "1s" }),
            "must agree",
        ),
    ] {
        let error = connector
            .open_source(&settings, &Surroundings::default())
            .await
            .err()
            .unwrap();
        assert!(error.what.contains(expected), "{error}");
    }
    // One that is opened and not run says so, and makes room when it is dropped.
    let waiting = json!({ "listen": listen, "path": "/waits" });
    let source = connector
        .open_source(&waiting, &Surroundings::default())
        .await
        .unwrap();
    assert_eq!(ask(&first, &post("x", "").replace("/in", "/waits")).await.0, 503);
    drop(source);
    assert_eq!(ask(&first, &post("x", "").replace("/in", "/waits")).await.0, 404);
    // One goes, the other stays; the last one closes the port.
    let address = first.address;
    first.stopped().await;
    assert_eq!(ask(&second, &post("one", "")).await.0, 405);
    second.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
    let again = on(&connectors, json!({ "listen": listen }), &orders).await;
    assert_eq!(ask(&again, &post("again", "")).await.0, 200);
    again.stopped().await;
}

#[tokio::test]
async fn callers_that_drop_flood_or_do_not_listen_hurt_nobody_else() {
    let engine = Arc::new(Engine::default());
    engine.loud.store(true, Ordering::SeqCst);
    let running = http(json!({ "timeout": "500ms", "max_connections": 40 }), &engine).await;
    for _ in 0..30 {
        let mut stream = open(&running).await;
        stream
            .write_all(&post("drops", "").as_bytes()[..40])
            .await
            .unwrap();
    }
    let mut deaf = open(&running).await;
    let flood = tokio::spawn(async move {
        let packet = post("flood", "").repeat(100);
        while deaf.write_all(packet.as_bytes()).await.is_ok() {}
    });
    let mut rubbish = open(&running).await;
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let _ = rubbish.write_all(&bytes).await;
    within(20, flood).await.unwrap();
    let mut tries = 0;
    while ask(&running, &post("good", "")).await.0 != 200 {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[test]
fn settings_are_checked() {
    let http = connectors::all().get("http").unwrap();
    let wrong = json!({
        "listen": "here", "path": "in?x", "methods": ["POST", "TRACE"], "max_body": "1", "timeout": "0s",
        "max_connections": 0, "allow": ["x"], "auth": {}, "keep_headers": ["Cookie", "X-Tenant"],
    });
    let mut found = http.check_source(&wrong);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let expected = [
        "allow[0]",
        "auth",
        "keep_headers[0]",
        "listen",
        "max_body",
        "max_connections",
        "methods[1]",
        "path",
        "timeout",
    ];
    assert_eq!(paths(&found), expected);
    // Beyond loopback nobody is let in unseen.
    let open = json!({ "listen": "0.0.0.0:8080" });
    assert_eq!(paths(&http.check_source(&open)), ["listen"]);
    for more in [
        json!({ "auth": { "bearer_env": "TOKEN" } }),
        json!({ "allow": ["10.0.0.7"] }),
    ] {
        let mut settings = open.clone();
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        assert_eq!(http.check_source(&settings), []);
    }
    assert_eq!(http.check_source(&json!({ "listen": "127.0.0.1:8080" })), []);
}
