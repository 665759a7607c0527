//! Keys and their scopes: every door has one, and says nothing to who lacks it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::mllp::Sender;
use e2e::program::{Home, Punte};
use reqwest::Method;
use serde_json::Value;

use crate::scenes;

const SCOPES: [&str; 8] = [
    "messages:read",
    "messages:replay",
    "clinic:read",
    "clinic:write",
    "channels:admin",
    "journal:read",
    "keys:admin",
    "admin",
];

/// A clinic with one patient, and a client.
async fn clinic() -> Result<(Home, Punte, reqwest::Client)> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    Ok((home, punte, client))
}

fn key(home: &Home, name: &str, scopes: &[&str]) -> Result<String> {
    let mut args = vec!["key", "add", name, "--json"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    let made = home.json(&args)?;
    Ok(made["key"].as_str().context("no key")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_opens_for_its_scope_and_for_no_other() -> Result<()> {
    let (home, punte, client) = clinic().await?;
    let patient = punte.search("Patient?identifier=P-1").await?[0]["id"].clone();
    let patient = patient.as_str().context("no id")?;
    let nobody = uuid_like(patient);
    let keys: BTreeMap<&str, String> = SCOPES
        .iter()
        .map(|scope| Ok((*scope, key(&home, &scope.replace(':', "-"), &[*scope])?)))
        .collect::<Result<_>>()?;
    let id = punte.messages("").await?[0]["id"].clone();
    let id = id.as_str().context("no id")?;
    for (method, path, scope) in [
        (Method::GET, format!("/fhir/Patient/{patient}"), "clinic:read"),
        (Method::GET, format!("/fhir/Patient/{nobody}"), "clinic:read"),
        (Method::GET, "/fhir/Patient?identifier=P-1".into(), "clinic:read"),
        (
            Method::GET,
            format!("/fhir/Patient/{patient}/_history/1"),
            "clinic:read",
        ),
        (Method::GET, "/admin/messages".into(), "messages:read"),
        (Method::GET, format!("/admin/messages/{id}"), "messages:read"),
        (Method::GET, format!("/admin/messages/{nobody}"), "messages:read"),
        (Method::GET, "/admin/parked".into(), "messages:read"),
        (Method::GET, "/admin/channels".into(), "messages:read"),
        (
            Method::POST,
            format!("/admin/messages/{nobody}/replay"),
            "messages:replay",
        ),
        (Method::POST, "/admin/channels/none/try".into(), "channels:admin"),
        (Method::GET, "/admin/journal".into(), "journal:read"),
        (Method::GET, "/admin/journal/verify".into(), "journal:read"),
        (Method::GET, "/admin/keys".into(), "keys:admin"),
        (Method::DELETE, "/admin/keys/none".into(), "keys:admin"),
        (Method::GET, "/admin/whoami".into(), "admin"),
    ] {
        let mut refusals = vec![];
        for (has, key) in &keys {
            let answer = client
                .request(method.clone(), format!("http://{}{path}", punte.http))
                .bearer_auth(key)
                .send()
                .await?;
            let status = answer.status().as_u16();
            let is_open = *has == scope || *has == "admin";
            assert_eq!(status == 403, !is_open, "{method} {path} with {has}: {status}");
            assert_ne!(status, 401);
            if !is_open {
                refusals.push(answer.text().await?.replace(&has.replace(':', "-"), "KEY"));
            }
        }
        // Whether the patient or the message is there makes no difference.
        assert!(
            refusals
                .iter()
                .all(|text| *text == refusals[0] && !text.contains(patient)),
            "{refusals:?}"
        );
    }
    Ok(())
}

/// An id of the same form that nobody has.
fn uuid_like(id: &str) -> String {
    let last = if id.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &id[..id.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_key_that_may_more_than_their_own() -> Result<()> {
    let (home, punte, client) = clinic().await?;
    let clerk = key(&home, "clerk", &["keys:admin", "messages:read"])?;
    let add = async |name: &str, scopes: &[&str]| -> Result<(u16, Value)> {
        let body = serde_json::json!({ "name": name, "scopes": scopes }).to_string();
        let answer = client
            .post(format!("http://{}/admin/keys", punte.http))
            .bearer_auth(&clerk)
            .body(body)
            .send()
            .await?;
        Ok((
            answer.status().as_u16(),
            serde_json::from_slice(&answer.bytes().await?)?,
        ))
    };
    assert_eq!(add("a", &["messages:read"]).await?.0, 200);
    assert_eq!(add("b", &["clinic:read"]).await?.0, 403);
    assert_eq!(add("c", &["admin"]).await?.0, 403);
    let (status, problem) = add("d", &["messages:raed"]).await?;
    assert_eq!(status, 400);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|what| what.contains("messages:read")),
        "{problem}"
    );
    let wrong = home.run(&["key", "add", "e", "--scope", "messages:raed"])?;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("messages:read"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires() -> Result<()> {
    let (home, punte, client) = clinic().await?;
    let made = home.json(&[
        "key",
        "add",
        "guest",
        "--scope",
        "clinic:read",
        "--expires",
        "1s",
        "--json",
    ])?;
    let key = made["key"].as_str().context("no key")?;
    let ask = async || -> Result<(u16, String)> {
        let answer = client
            .get(format!("http://{}/fhir/Patient", punte.http))
            .bearer_auth(key)
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let (status, text) = e2e::eventually("the key has expired", Duration::from_secs(10), async || {
        ask().await.ok().filter(|(status, _)| *status != 200)
    })
    .await;
    assert_eq!(status, 401);
    assert!(text.contains("has expired"), "{text}");
    let lasting = home.json(&[
        "key",
        "add",
        "lasting",
        "--scope",
        "clinic:read",
        "--expires",
        "90d",
        "--json",
    ])?;
    let lasting = lasting["key"].as_str().context("no key")?;
    let answer = client
        .get(format!("http://{}/fhir/Patient", punte.http))
        .bearer_auth(lasting)
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 200);
    assert!(
        !home
            .run(&["key", "add", "x", "--scope", "admin", "--expires", "soon"])?
            .status
            .success()
    );
    Ok(())
}
