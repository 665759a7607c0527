//! The FHIR interface, asked as a client would.

use std::time::Duration;

use anyhow::Result;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::Value;

use crate::python::assert_valid_fhir;
use crate::scenes;

async fn clinic(messages: &[String]) -> Result<(Home, Punte)> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    for text in messages {
        let answer = sender.ask(text.as_bytes()).await?;
        assert_eq!(
            field(&answer, "MSA", 1),
            "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok((home, punte))
}

fn ids(found: &[Value]) -> Vec<&str> {
    found
        .iter()
        .filter_map(|resource| resource["id"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_whatever_their_letters() -> Result<()> {
    let messages = [
        scenes::register("1", "P-1", "Țîru"),
        scenes::register("2", "P-2", "Ştefănescu-Popa"),
        scenes::register("3", "P-3", "Wolfeschlegelsteinhausen"),
        scenes::register("4", "P-4", "Bo"),
    ];
    let (_home, punte) = clinic(&messages).await?;
    for (query, count) in [
        ("family=tiru", 1),
        ("family=%C8%9A%C3%8Eru", 1),
        ("family=tir", 1),
        ("family=stefan", 1),
        ("family=popa", 1),
        ("family=wolfeschlegelstein", 1),
        ("family=wolfeschlegelsteinX", 0),
        ("family=bo", 1),
        ("family=b", 1),
        ("family=ti", 1),
        ("family=%C8%9B", 1),
        ("family=pa", 0),
        ("family=po", 1),
        ("family=b,tir", 2),
        ("given=an", 4),
        ("name=an&birthdate=1980", 4),
        ("identifier=%7CP-3", 0),
        ("given=ana", 4),
        ("name=ana", 4),
        ("name=zzz", 0),
        ("birthdate=1980-05-14", 4),
        ("birthdate=1980-05", 4),
        ("birthdate=gt1980-05-14", 0),
        ("birthdate=le1980-05-14&family=bo", 1),
        ("identifier=P-3", 1),
        ("identifier=P-3,P-4", 2),
        ("identifier=p-3", 0),
        ("_lastUpdated=ge2020-01-01", 4),
        ("_lastUpdated=lt2020-01-01", 0),
    ] {
        let found = punte.search(&format!("Patient?{query}")).await?;
        assert_eq!(found.len(), count, "{query}");
    }
    let all = punte.search("Patient?_count=1").await?;
    assert_eq!(all.len(), 4, "pages of one, each patient once");
    let id = ids(&all)[0];
    assert_eq!(punte.search(&format!("Patient?_id={id}")).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_while_the_clinic_changes() -> Result<()> {
    let messages: Vec<String> = (0..30)
        .map(|n| scenes::result(&format!("{n}"), "P-1", &format!("C-{n}"), "0.10"))
        .collect();
    let (_home, punte) = clinic(&messages).await?;
    let (_, first) = punte.get("/fhir/Observation?_count=10&code=2093-3").await?;
    let next = |page: &Value| {
        page["link"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|l| l["relation"] == "next")
            .and_then(|l| l["url"].as_str())
            .map(|url| {
                let (_, rest) = url.split_once("/fhir/").unwrap_or_default();
                format!("/fhir/{rest}")
            })
    };
    let mut seen: Vec<String> = vec![];
    let mut page = first;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    let mut number = 100;
    loop {
        for entry in page["entry"].as_array().into_iter().flatten() {
            seen.push(entry["resource"]["id"].as_str().unwrap_or_default().to_owned());
        }
        let Some(path) = next(&page) else { break };
        // One more comes in while we turn the page.
        sender
            .ask(scenes::result(&format!("{number}"), "P-1", &format!("C-{number}"), "0.10").as_bytes())
            .await?;
        number += 1;
        page = punte.get(&path).await?.1;
        assert!(number < 200, "the pages do not end");
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "something came on two pages");
    assert!(30 <= once.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_keep_their_digits() -> Result<()> {
    let messages = [
        scenes::result("1", "P-1", "C-1", "5.40"),
        scenes::result("2", "P-1", "C-2", "0.10"),
        scenes::result("3", "P-1", "C-3", "123456789.123456789"),
    ];
    let (_home, punte) = clinic(&messages).await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let url = format!("http://{}/fhir/Observation?code=2093-3", punte.http);
    let text = client
        .get(url)
        .bearer_auth(&punte.key)
        .send()
        .await?
        .text()
        .await?;
    for digits in [
        "\"value\":5.40,",
        "\"value\":0.10,",
        "\"value\":123456789.123456789,",
    ] {
        assert!(text.contains(digits), "{digits} is not in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_fhir_and_unknown_parameters_are_left_out() -> Result<()> {
    let (_home, punte) = clinic(&[scenes::register("1", "P-1", "Pop")]).await?;
    for (path, status) in [
        ("/fhir/Patient/00000000-0000-7000-8000-000000000000", 404),
        ("/fhir/Patient/nobody", 404),
        ("/fhir/Basic", 404),
        ("/fhir/Patient?birthdate=yesterday", 400),
        ("/fhir/Coverage?patient=x", 400),
        ("/fhir/Patient?_format=xml", 406),
    ] {
        let (got, body) = punte.get(path).await?;
        assert_eq!(got, status, "{path}: {body}");
        assert_eq!(body["resourceType"], "OperationOutcome", "{path}: {body}");
    }
    let (status, bundle) = punte
        .get("/fhir/Patient?family=pop&_totalMethod=count&favourite=blue")
        .await?;
    assert_eq!(status, 200);
    let own = bundle["link"][0]["url"].as_str().unwrap_or_default();
    assert!(own.ends_with("/fhir/Patient?family=pop"), "{own}");
    assert_valid_fhir(&[bundle.to_string()])?;
    let (status, statement) = punte.get("/fhir/metadata").await?;
    assert_eq!(status, 200);
    assert_valid_fhir(&[statement.to_string()])?;
    assert_eq!(statement["fhirVersion"], "4.0.1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_match_is_told_exactly_where_that_is_asked() -> Result<()> {
    let messages = [
        scenes::register("1", "P-1", "Țîru"),
        scenes::register("2", "P-2", "Pop"),
        scenes::register("3", "P-3", "Popa"),
    ];
    let (_home, punte) = clinic(&messages).await?;
    for (query, total) in [
        ("_count=0", 3),
        ("_summary=count", 3),
        ("_summary=count&_count=1", 3),
        ("family=pop&_count=0", 2),
        ("family=po&_count=0", 2),
        ("family=zz&_count=0", 0),
        ("family=-&_count=0", 0),
        ("birthdate=1980-05&_count=0", 3),
        ("birthdate=1979&_count=0", 0),
    ] {
        let (status, bundle) = punte.get(&format!("/fhir/Patient?{query}")).await?;
        assert_eq!(status, 200, "{query}: {bundle}");
        assert_eq!(bundle["total"], total, "{query}");
        assert!(bundle.get("entry").is_none(), "{query}: {bundle}");
        assert_eq!(bundle["link"].as_array().map(Vec::len), Some(1), "{query}");
        assert_valid_fhir(&[bundle.to_string()])?;
    }
    let (_, bundle) = punte.get("/fhir/Patient?family=pop").await?;
    assert!(bundle.get("total").is_none(), "{bundle}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_what_is_allowed_and_is_fhir() -> Result<()> {
    use reqwest::Method;
    let (_home, punte) = clinic(&[scenes::register("1", "P-1", "Pop")]).await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let id = "00000000-0000-7000-8000-000000000000";
    let one = format!("/fhir/Patient/{id}");
    let version = format!("{one}/_history/1");
    let asked = async |method: &Method, path: &str, kind: Option<&str>, body: &'static str| -> Result<_> {
        let mut request = client
            .request(method.clone(), format!("http://{}{path}", punte.http))
            .bearer_auth(&punte.key)
            .body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answer = request.send().await?;
        let allow = answer
            .headers()
            .get("allow")
            .map(|allow| allow.to_str().unwrap_or_default().to_owned());
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok((status, allow.unwrap_or_default(), body))
    };
    let writes = [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    for method in &writes {
        for path in [one.as_str(), "/fhir/Patient", "/fhir/metadata", version.as_str()] {
            let (status, allow, body) = asked(method, path, None, "").await?;
            assert_eq!((status, allow.as_str()), (405, "GET, HEAD"), "{method} {path}");
            assert_eq!(body["resourceType"], "OperationOutcome", "{method} {path}");
        }
    }
    let (status, allow, body) = asked(&Method::GET, "/fhir/Patient/_search", None, "").await?;
    assert_eq!((status, allow.as_str()), (405, "POST"));
    assert_eq!(body["resourceType"], "OperationOutcome");
    for path in ["/fhir", "/fhir/", "/fhir/Patient/1/2/3", "/fhir/Patient/%FF"] {
        let (status, _, body) = asked(&Method::GET, path, None, "").await?;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        assert_eq!(body["resourceType"], "OperationOutcome", "{path}: {body}");
    }
    // What can't be read finds nobody.
    let form = "application/x-www-form-urlencoded";
    for (kind, body, wanted) in [
        (Some(form), "family=pop", 200),
        (
            Some("application/x-www-form-urlencoded; charset=UTF-8"),
            "family=pop",
            200,
        ),
        (None, "", 200),
        (None, "family=x", 415),
        (Some("application/json"), "{\"family\":\"x\"}", 415),
        (Some("multipart/form-data; boundary=x"), "--x--", 415),
    ] {
        let (status, _, answer) = asked(&Method::POST, "/fhir/Patient/_search", kind, body).await?;
        assert_eq!(status, wanted, "{kind:?}: {answer}");
        let is = if status == 200 {
            "Bundle"
        } else {
            "OperationOutcome"
        };
        assert_eq!(answer["resourceType"], is, "{kind:?}");
    }
    for query in ["code=http://loinc.org%7C", "identifier=urn:oid:1.2%7C"] {
        let (status, _, body) = asked(&Method::GET, &format!("/fhir/Observation?{query}"), None, "").await?;
        assert_eq!(status, 400, "{query}: {body}");
    }
    // What is said to be there is there.
    let (_, _, statement) = asked(&Method::GET, "/fhir/metadata", None, "").await?;
    for resource in statement["rest"][0]["resource"].as_array().into_iter().flatten() {
        let interactions = resource["interaction"].as_array();
        let has_versions = interactions
            .into_iter()
            .flatten()
            .any(|one| one["code"] == "vread");
        assert_eq!(has_versions, resource["type"] != "Endpoint", "{resource}");
        assert_eq!(resource["readHistory"], has_versions, "{resource}");
    }
    let found = punte.search("Patient?family=pop").await?;
    let ours = ids(&found)[0];
    let (status, _, body) = asked(
        &Method::GET,
        &format!("/fhir/Patient/{ours}/_history/1"),
        None,
        "",
    )
    .await?;
    assert_eq!((status, body["resourceType"].as_str()), (200, Some("Patient")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_with_patient_data_is_open() -> Result<()> {
    let (home, punte) = clinic(&[scenes::register("1", "P-1", "Pop")]).await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let ask = async |path: &str, key: Option<&str>| -> Result<u16> {
        let mut request = client.get(format!("http://{}{path}", punte.http));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        Ok(request.send().await?.status().as_u16())
    };
    for path in [
        "/fhir/Patient",
        "/admin/messages",
        "/admin/parked",
        "/admin/channels",
        "/admin/keys",
    ] {
        assert_eq!(ask(path, None).await?, 401, "{path} is open");
        assert_eq!(ask(path, Some("punte_wrong")).await?, 401, "{path} takes any key");
    }
    let key = home.json(&["key", "add", "portal", "--scope", "clinic:read", "--json"])?;
    let key = key["key"].as_str().unwrap_or_default();
    assert_eq!(ask("/fhir/Patient", Some(key)).await?, 200);
    assert_eq!(ask("/admin/messages", Some(key)).await?, 403);
    assert_eq!(ask("/health", None).await?, 200);
    assert_eq!(ask("/metrics", None).await?, 200);
    let metrics = client
        .get(format!("http://{}/metrics", punte.http))
        .send()
        .await?
        .text()
        .await?;
    assert!(metrics.contains("punte_messages_total"), "{metrics}");
    assert!(!metrics.contains("Pop"));
    let listed = home.run(&["key", "list"])?;
    assert!(
        !String::from_utf8_lossy(&listed.stdout).contains(key),
        "a key is shown once"
    );
    assert!(home.run(&["key", "remove", "portal"])?.status.success());
    assert_eq!(ask("/fhir/Patient", Some(key)).await?, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_leads_from_the_old_record_to_the_new_one() -> Result<()> {
    let merge = format!(
        "{}EVN|A40|20260505083000\rPID|1||P-1^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\rMRG|P-2^^^TEST^MR\r",
        scenes::msh("ADT^A40^ADT_A39", "M")
    );
    let messages = [
        scenes::register("1", "P-1", "Pop"),
        scenes::result("2", "P-2", "C-2", "5.40"),
        merge,
        scenes::result("3", "P-2", "C-3", "5.50"),
    ];
    let (_home, punte) = clinic(&messages).await?;
    let survivors: Vec<Value> = punte
        .search("Patient?identifier=P-2")
        .await?
        .into_iter()
        .filter(|p| p["active"] != false)
        .collect();
    assert_eq!(survivors.len(), 1);
    let id = survivors[0]["id"].as_str().unwrap_or_default();
    assert!(
        survivors[0]["link"]
            .as_array()
            .is_some_and(|links| links.iter().any(|link| link["type"] == "replaces"))
    );
    // The whole chart is found under the survivor: what was there before, and what came late under the old number.
    assert_eq!(punte.search(&format!("Observation?patient={id}")).await?.len(), 2);
    Ok(())
}
