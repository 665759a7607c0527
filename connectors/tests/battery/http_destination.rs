//! Servers, well-behaved and not.

use std::sync::Arc;
use std::time::Duration;

use clinic::exchange::Response;
use engine::connector::{Destination, SendError, Surroundings};
use serde_json::{Value, json};

use crate::far::{Far, answer, header};
use crate::{Engine, destination, outgoing, paths, start};

async fn sender(far: &Far, more: Value) -> Arc<dyn Destination> {
    let mut settings = json!({ "url": far.url("/orders?clinic=1"), "reply_timeout": "400ms" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    destination("http", settings).await
}

async fn send(sender: &Arc<dyn Destination>) -> Result<Response, SendError> {
    sender.send(&outgoing("a message"), &|_: &[u8]| false).await
}

pub fn arm(result: &Result<Response, SendError>) -> String {
    match result {
        Ok(response) => {
            let status = response
                .status
                .map(|status| status.to_string())
                .unwrap_or_default();
            format!("answer {status} {}", String::from_utf8_lossy(&response.body))
        }
        Err(SendError::Retry { why, after }) => format!("retry {after:?} {why}"),
        Err(SendError::Refused { why }) => format!("refused {why}"),
        Err(SendError::Unsure { why } | SendError::BrokenOff { why, .. }) => format!("unsure {why}"),
    }
}

#[tokio::test]
async fn a_message_is_a_request() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let far = Far::new().await;
    let settings = json!({
        "url": far.url("/orders?clinic=1"), "method": "PUT", "headers": { "X-Clinic": "one" },
        "auth": { "bearer_file": "token" },
    });
    let connector = connectors::all().get("http").unwrap();
    let surroundings = Surroundings {
        folder: folder.path().to_owned(),
        ..Surroundings::default()
    };
    let sender = connector
        .open_destination(&settings, &surroundings)
        .await
        .unwrap();
    let requests = far.answers(&[&answer("201 Created", "Content-Type: text/x\r\n", "taken")]);
    let response = send(&sender).await.unwrap();
    assert_eq!(response.status, Some(201));
    assert_eq!(response.content_type.as_deref(), Some("text/x"));
    assert_eq!(response.body, b"taken");
    let request = requests.await.unwrap().remove(0);
    assert!(
        request.starts_with("PUT /orders?clinic=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\na message"));
    let found = |name| header(&request, name).unwrap_or_default();
    assert_eq!(found("content-type"), "text/plain");
    assert_eq!(
        found("idempotency-key"),
        crate::outgoing("a message").key().to_string()
    );
    assert_eq!(found("authorization"), "Bearer s3cret");
    assert_eq!(found("x-clinic"), "one");
    // A user and a password.
    let settings = json!({ "url": far.url("/"), "auth": { "user": "u", "password_file": "token" }, "idempotency_header": "" });
    let sender = connector
        .open_destination(&settings, &surroundings)
        .await
        .unwrap();
    let requests = far.answers(&[&answer("200 OK", "", "")]);
    send(&sender).await.unwrap();
    let request = requests.await.unwrap().remove(0);
    assert_eq!(
        header(&request, "authorization").as_deref(),
        Some("Basic dTpzM2NyZXQ=")
    );
    assert_eq!(header(&request, "idempotency-key"), None);
    // A secret that is not there is said when the channel opens.
    let settings = json!({ "url": far.url("/"), "auth": { "bearer_env": "PUNTE_TEST_NO_SUCH_VARIABLE" } });
    let error = connector
        .open_destination(&settings, &surroundings)
        .await
        .err()
        .unwrap();
    assert!(error.what.contains("PUNTE_TEST_NO_SUCH_VARIABLE"));
}

#[tokio::test]
async fn answers_are_handed_back_whatever_they_say() {
    let far = Far::new().await;
    let sender = sender(&far, json!({ "max_answer": "64 B" })).await;
    for (said, expected) in [
        (answer("200 OK", "", "<html>"), "answer 200 <html>"),
        (
            answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
            "answer 302 ",
        ),
        (answer("422 Unprocessable", "", "no"), "answer 422 no"),
        (answer("500 Oops", "", "AE"), "answer 500 AE"),
        (answer("503 Busy", "", ""), "answer 503 "),
        (answer("500 Oops", "Retry-After: 7\r\n", ""), "answer 500 "),
        // A refusal whose text breaks off is one all the same.
        (
            "HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\nhal".to_owned(),
            "answer 400 hal",
        ),
    ] {
        let requests = far.answers(&[&said]);
        assert_eq!(arm(&send(&sender).await), expected);
        requests.await.unwrap();
    }
    let long = answer("200 OK", "", &"x".repeat(100_000));
    let requests = far.answers(&[&long]);
    assert_eq!(send(&sender).await.unwrap().body.len(), 64);
    let _ = requests.await;
}

#[tokio::test]
async fn the_arm_is_what_is_known() {
    let far = Far::new().await;
    let sender = sender(&far, json!({})).await;
    for (said, expected) in [
        (answer("503 Busy", "Retry-After: 7\r\n", ""), "retry Some(7s)"),
        (
            answer("429 Slow", "Retry-After: 99999999\r\n", ""),
            "retry Some(86400s)",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhal".to_owned(),
            "unsure The answer 200 OK broke off",
        ),
        (
            "\x0bMSH|no HTTP\x1c\r".to_owned(),
            "unsure The connection ended before",
        ),
        (String::new(), "unsure The connection ended before"),
    ] {
        let requests = far.answers(&[&said]);
        let found = arm(&send(&sender).await);
        assert!(found.starts_with(expected), "{found}");
        requests.await.unwrap();
    }
    let silent = far.says_nothing();
    let found = arm(&send(&sender).await);
    assert_eq!(found, "unsure No answer in time.");
    silent.await.unwrap();
    sender.probe().await.unwrap();
    drop(far);
    let found = arm(&send(&sender).await);
    assert!(
        found.starts_with("retry None The far side can't be reached"),
        "{found}"
    );
    assert!(!found.contains("clinic=1"), "{found}");
    assert!(sender.probe().await.is_err());
}

#[tokio::test]
async fn against_our_own_source() {
    let engine = Engine::slow(Duration::from_millis(1));
    let running = start(
        &connectors::all(),
        "http",
        json!({ "listen": "127.0.0.1:0", "path": "/in" }),
        &engine,
    )
    .await;
    let sender = destination("http", json!({ "url": format!("http://{}/in", running.address) })).await;
    for _ in 0..50 {
        assert_eq!(arm(&send(&sender).await), "answer 200 ACK a message");
    }
    assert_eq!(engine.bodies().len(), 50);
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[test]
fn settings_are_checked() {
    let http = connectors::all().get("http").unwrap();
    let wrong = json!({
        "url": "ftp://erp", "method": "post", "headers": { "Authorization": "x", "a b": "x" }, "auth": {},
        "reply_timeout": "soon", "max_answer": "lots", "idempotency_header": "a b",
    });
    let mut found = http.check_destination(&wrong);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let expected = [
        "auth",
        "headers.Authorization",
        "headers.a b",
        "idempotency_header",
        "max_answer",
        "method",
        "reply_timeout",
        "url",
    ];
    assert_eq!(paths(&found), expected);
    for url in [
        "",
        "erp",
        "https://",
        "https://user:secret@erp/",
        "https://erp/#x",
    ] {
        let problems = http.check_destination(&json!({ "url": url }));
        assert_eq!(paths(&problems), ["url"], "{url}");
        assert!(!problems[0].what.contains("secret"));
    }
    assert_eq!(
        http.check_destination(&json!({ "url": "https://erp/", "tls": {} })),
        []
    );
    assert_eq!(http.check_destination(&json!({ "url": "https://erp/" })), []);
}
