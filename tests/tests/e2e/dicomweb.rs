//! DICOMweb: a viewer by dicomweb-client, Orthanc as a gateway, and keys.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dicom::Orthanc;
use e2e::eventually;
use e2e::program::{Home, Punte};
use serde_json::{Value, json};

use crate::python;

const SOON: Duration = Duration::from_secs(30);
const IMAGES: &str =
    "id = \"images\"\n[source]\ndicomweb = {}\n[[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n";

fn key(home: &Home, name: &str, scopes: &[&str]) -> Result<String> {
    let mut words = vec!["key", "add", name, "--json"];
    for scope in scopes {
        words.extend(["--scope", scope]);
    }
    let made = home.json(&words)?;
    Ok(made["key"].as_str().context("a key")?.to_owned())
}

/// A clinic that knows Ana Pop by the number P-7.
async fn clinic() -> Result<(Home, Punte)> {
    let home = Home::with(&[("images", IMAGES)])?;
    let punte = home.serve()?;
    let change = json!({ "changes": [{ "key": "patient", "say": { "Patient": {
        "identifiers": { "merge": [{ "system": "TEST", "value": "P-7", "kind": {
            "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] } }] },
        "names": [{ "family": "Pop", "given": ["Ana"], "use": "official" }],
        "birth_date": "1980-05-14", "sex": "female" } } }] });
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .post(format!("http://{}/clinic/changes", punte.http))
        .bearer_auth(key(&home, "reception", &["clinic:write"])?)
        .header("content-type", "application/json")
        .body(change.to_string())
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 201);
    Ok((home, punte))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sends_searches_and_reads_back() -> Result<()> {
    let (home, punte) = clinic().await?;
    let key = key(&home, "viewer", &["images:write", "clinic:read"])?;
    let base = format!("http://{}/dicom-web", punte.http);
    let output = tokio::task::spawn_blocking(move || python::run("dicomweb.py", &[base, key], "")).await??;
    assert!(
        output.status.success(),
        "{}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        home.log_end(30)
    );
    // Each read stands in the journal, with whom it was about.
    let journal = home.json(&["journal", "--patient", "P-7", "--json"])?;
    let rows = journal["journal"].as_array().context("rows")?;
    for action in ["search", "read"] {
        assert!(
            rows.iter().any(|row| row["action"] == action),
            "{action}: {journal}"
        );
    }
    Ok(())
}

/// Fifteen ways to pack pixels, each compared with what another decoder makes of it; pictures, thumbnails, long values.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_what_lies_compressed() -> Result<()> {
    let (home, punte) = clinic().await?;
    let key = key(&home, "viewer", &["images:write", "clinic:read"])?;
    let base = format!("http://{}/dicom-web", punte.http);
    let folder = tempfile::TempDir::new()?;
    let words = [base, key, folder.path().display().to_string()];
    let output = tokio::task::spawn_blocking(move || python::run("dicomweb_pixels.py", &words, "")).await??;
    assert!(
        output.status.success(),
        "{}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        home.log_end(30)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_an_empty_part_tells_nobody() -> Result<()> {
    let (_home, punte) = clinic().await?;
    for address in [
        "studies//series",
        "studies//instances",
        "studies/1.2//metadata",
        "/studies",
    ] {
        let (status, body) = punte.get(&format!("/dicom-web/{address}")).await?;
        assert!(matches!(status, 400 | 404), "{address}: {status} {body}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_search_can_not_be_is_told() -> Result<()> {
    let (home, punte) = clinic().await?;
    for (query, wanted) in [
        ("accept=application/json", 200),
        ("accept=application/dicom+json", 200),
        ("accept=text/html", 406),
        ("StudyDate=20260501-", 200),
        ("StudyDate=bad", 400),
        ("PatientNmae=Pop", 400),
    ] {
        let (status, body) = punte.get(&format!("/dicom-web/studies?{query}")).await?;
        assert_eq!(status, wanted, "{query}: {body}");
    }
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("http://{}/dicom-web/studies", punte.http))
        .bearer_auth(key(&home, "viewer", &["images:write"])?)
        .header(
            "content-type",
            "multipart/related; type=\"application/dicom\"; boundary=x",
        )
        .header("content-encoding", "gzip")
        .body("\u{1f}")
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 415);
    assert!(answer.text().await?.contains("compressed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_what_they_are_for() -> Result<()> {
    let (home, punte) = clinic().await?;
    let (reads, sends) = (
        key(&home, "reads", &["clinic:read"])?,
        key(&home, "sends", &["images:write"])?,
    );
    let client = reqwest::Client::builder().no_proxy().build()?;
    let base = format!("http://{}/dicom-web", punte.http);
    let post = client
        .post(format!("{base}/studies"))
        .header(
            "content-type",
            "multipart/related; type=\"application/dicom\"; boundary=b",
        )
        .body("--b--");
    let refused = post
        .try_clone()
        .context("a body")?
        .bearer_auth(&reads)
        .send()
        .await?;
    assert_eq!(refused.status().as_u16(), 403);
    // Nothing in it: the key was good.
    assert_eq!(post.bearer_auth(&sends).send().await?.status().as_u16(), 400);
    for path in [
        "studies",
        "series",
        "instances",
        "studies/1.2",
        "studies/1.2/metadata",
        "studies/1.2/series",
        "studies/1.2/series/1.3/instances/1.4/frames/1",
    ] {
        let get = client.get(format!("{base}/{path}"));
        let refused = get
            .try_clone()
            .context("a request")?
            .bearer_auth(&sends)
            .send()
            .await?;
        assert_eq!(refused.status().as_u16(), 403, "{path}");
        let status = get.bearer_auth(&reads).send().await?.status().as_u16();
        assert!(matches!(status, 200 | 404), "{path}: {status}");
    }
    Ok(())
}

/// Pages of the origins that are named, and of no others.
#[tokio::test(flavor = "multi_thread")]
async fn pages_ask_from_where_they_may() -> Result<()> {
    let home = Home::with(&[("images", IMAGES)])?;
    std::fs::write(
        home.path().join("punte.toml"),
        "[http]\norigins = [\"https://viewer.example\"]\n",
    )?;
    let punte = home.serve()?;
    let reads = key(&home, "reads", &["clinic:read"])?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/dicom-web/studies", punte.http);
    let ask = async |method: reqwest::Method, origin: &str| {
        let request = client
            .request(method, &url)
            .bearer_auth(&reads)
            .header("origin", origin);
        request
            .header("access-control-request-method", "GET")
            .send()
            .await
    };
    let of = |answer: &reqwest::Response, name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let may = ask(reqwest::Method::OPTIONS, "https://viewer.example").await?;
    assert_eq!(may.status().as_u16(), 204);
    assert_eq!(
        of(&may, "access-control-allow-origin").as_deref(),
        Some("https://viewer.example")
    );
    assert!(of(&may, "access-control-allow-headers").is_some_and(|all| all.contains("authorization")));
    let answer = ask(reqwest::Method::GET, "https://viewer.example").await?;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(
        of(&answer, "access-control-allow-origin").as_deref(),
        Some("https://viewer.example")
    );
    assert!(of(&answer, "access-control-expose-headers").is_some_and(|all| all.contains("content-location")));
    for method in [reqwest::Method::OPTIONS, reqwest::Method::GET] {
        let other = ask(method, "https://viewer.example.evil").await?;
        assert_eq!(of(&other, "access-control-allow-origin"), None);
    }
    Ok(())
}

/// Orthanc sends a study by STOW-RS, finds it by QIDO-RS and fetches it back by WADO-RS.
#[tokio::test(flavor = "multi_thread")]
async fn orthanc_sends_finds_and_fetches() -> Result<()> {
    let (home, punte) = clinic().await?;
    let key = key(&home, "orthanc", &["images:write", "clinic:read"])?;
    let orthanc = Orthanc::start(&[]).await?;
    // Orthanc closes what is silent for a second.
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()?;
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", orthanc.http);
    let server = json!({
        "Url": format!("http://{}/dicom-web/", punte.http),
        "HttpHeaders": { "Authorization": format!("Bearer {key}") },
    });
    let answer = client
        .put(at("/dicom-web/servers/punte"))
        .body(server.to_string())
        .send()
        .await?;
    assert!(answer.status().is_success(), "{answer:?}");
    let post = async |path: &str, body: Value| -> Result<Value> {
        let answer = client.post(at(path)).body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(
            status.is_success(),
            "{path}: {status} {text}\n{}\n{}",
            orthanc.log(),
            home.log_end(20)
        );
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let made = post(
        "/tools/create-dicom",
        json!({ "Tags": {
            "PatientID": "P-7", "PatientName": "Pop^Ana", "Modality": "OT", "AccessionNumber": "A-9",
            "StudyDescription": "Trimis de Orthanc", "StudyDate": "20260505",
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7" } }),
    )
    .await?;
    let id = made["ID"].as_str().context("an id")?.to_owned();
    let instances = orthanc.instances().await?;
    let tags = orthanc.get(&format!("/instances/{id}/simplified-tags")).await?;
    let study = tags["StudyInstanceUID"].as_str().context("a study")?.to_owned();
    post(
        "/dicom-web/servers/punte/stow",
        json!({ "Resources": [id], "Synchronous": true }),
    )
    .await?;
    let found = post(
        "/dicom-web/servers/punte/qido",
        json!({ "Uri": "/studies", "Arguments": { "PatientID": "P-7" } }),
    )
    .await?;
    assert_eq!(found[0]["0020000D"]["Value"], json!(study), "{found}");
    let answer = client.delete(at(&format!("/instances/{id}"))).send().await?;
    assert!(answer.status().is_success());
    assert!(orthanc.instances().await?.is_empty());
    post(
        "/dicom-web/servers/punte/retrieve",
        json!({ "Resources": [{ "Study": study }], "Synchronous": true }),
    )
    .await?;
    eventually("it is back", SOON, async || {
        (orthanc.instances().await.ok()? == instances).then_some(())
    })
    .await;
    Ok(())
}

/// Long values, films and documents: as one, with the media type that PS3.18 has for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_what_is_one_as_one() -> Result<()> {
    let (home, punte) = clinic().await?;
    let key = key(&home, "viewer", &["images:write", "clinic:read"])?;
    let base = format!("http://{}/dicom-web", punte.http);
    let output =
        tokio::task::spawn_blocking(move || python::run("dicomweb_whole.py", &[base, key], "")).await??;
    assert!(
        output.status.success(),
        "{}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        home.log_end(30)
    );
    Ok(())
}
