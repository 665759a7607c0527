//! The HTTP interface under callers who open connections and say nothing, or half of something.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scenes;

fn home(http: &str) -> Result<(Home, Punte)> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    std::fs::write(home.path().join("punte.toml"), format!("[http]\n{http}\n"))?;
    let punte = home.serve()?;
    Ok((home, punte))
}

/// What comes until the end of a connection; none: it goes on.
async fn end_of(stream: &mut TcpStream) -> Option<String> {
    let mut all = vec![];
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    ended.ok().map(|_| String::from_utf8_lossy(&all).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_end_in_time_and_whole_ones_are_answered() -> Result<()> {
    let (_home, punte) = home("timeout = \"1s\"")?;
    let body = format!(
        "POST /fhir/Patient/_search HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nfamily=",
        punte.key
    );
    for half in ["", "G", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost:", &body] {
        let mut stream = TcpStream::connect(punte.http).await?;
        stream.write_all(half.as_bytes()).await?;
        let said = end_of(&mut stream)
            .await
            .with_context(|| format!("{half:?} is held"))?;
        assert!(!said.contains(" 200 "), "{half:?}: {said}");
    }
    // A line now and then is no whole head.
    let mut stream = TcpStream::connect(punte.http).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await?;
    let drip = async {
        while stream.write_all(b"X-A: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(
        timeout(Duration::from_secs(20), drip).await.is_ok(),
        "it goes on for ever"
    );
    let mut stream = TcpStream::connect(punte.http).await?;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let said = end_of(&mut stream)
        .await
        .context("the connection is kept for ever")?;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_take_nothing_from_the_channels() -> Result<()> {
    let (_home, punte) = home("max_connections = 4\ntimeout = \"10m\"")?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(punte.http).await?;
        let _ = stream.write_all(b"GET / HT").await;
        calls.spawn(async move { (end_of(&mut stream).await.is_some(), stream) });
    }
    let callers = calls.join_all().await;
    let closed = callers.iter().filter(|(is_closed, _)| *is_closed).count();
    assert!((8..12).contains(&closed), "{closed}");
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let answer = sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    drop(callers);
    e2e::eventually("there is room again", Duration::from_secs(10), async || {
        punte
            .get("/health")
            .await
            .ok()
            .filter(|(status, _)| *status == 200)
    })
    .await;
    Ok(())
}

#[test]
fn bounds_that_can_not_be_are_told() -> Result<()> {
    for (wrong, place) in [
        ("timeout = \"soon\"", "http.timeout"),
        ("timeout = \"0s\"", "http.timeout"),
        ("max_connections = 0", "http.max_connections"),
    ] {
        let home = Home::with(&[("clinic", &scenes::chart_only())])?;
        std::fs::write(home.path().join("punte.toml"), format!("[http]\n{wrong}\n"))?;
        let output = home.run(&["check"])?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            !output.status.success() && said.contains(place),
            "{wrong}: {said}"
        );
    }
    Ok(())
}
