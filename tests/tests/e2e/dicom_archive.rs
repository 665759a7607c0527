//! Images that are kept, asked for and taken by DCMTK, pynetdicom and Orthanc.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Orthanc, dcmtk, free_port};
use e2e::eventually;
use e2e::program::{Home, Punte};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::python;

const SOON: Duration = Duration::from_secs(30);

fn channel(allow: &str, peers: &[(&str, u16)]) -> String {
    let peers: String = peers
        .iter()
        .map(|(title, port)| format!("{title} = {{ connect = \"127.0.0.1:{port}\" }}\n"))
        .collect();
    format!(
        "id = \"archive\"\n[source]\nquestions = \"clinic\"\n[source.dicom]\nlisten = \"127.0.0.1:0\"\n\
         services = [\"store\", \"query\", \"retrieve\"]\nallow = [{allow}]\n[source.dicom.peers]\n{peers}\
         [[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n"
    )
}

async fn clinic(channel: &str) -> Result<(Home, Punte)> {
    let home = Home::with(&[("archive", channel)])?;
    let punte = home.serve()?;
    knows(&home, &punte).await?;
    Ok((home, punte))
}

/// The clinic knows two people from now on, by the numbers P-7 and P-8.
pub async fn knows(home: &Home, punte: &Punte) -> Result<()> {
    let made = home.json(&["key", "add", "reception", "--json", "--scope", "clinic:write"])?;
    let key = made["key"].as_str().context("a key")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (number, family, given) in [("P-7", "Țîră", "Ana"), ("P-8", "Pop", "Ion")] {
        let change = json!({ "changes": [{ "key": "patient", "say": { "Patient": {
            "identifiers": { "merge": [{ "system": "TEST", "value": number, "kind": {
                "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] } }] },
            "names": [{ "family": family, "given": [given], "use": "official" }] } } }] });
        let answer = client
            .post(format!("http://{}/clinic/changes", punte.http))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(change.to_string())
            .send()
            .await?;
        assert_eq!(answer.status().as_u16(), 201);
    }
    Ok(())
}

/// An object of Ana's as a file.
fn object(folder: &Path, number: u32, series: u32) -> Result<()> {
    let (text, file) = (folder.join("text"), folder.join(format!("{number}.dcm")));
    let elements = format!(
        "(0008,0016) UI [1.2.840.10008.5.1.4.1.1.2]\n(0008,0018) UI [2.25.30{number}]\n(0008,0020) DA [20260505]\n\
         (0008,0050) SH [A-1]\n(0008,0060) CS [CT]\n(0010,0010) PN [Tira^Ana]\n(0010,0020) LO [P-7]\n\
         (0020,000d) UI [2.25.1]\n(0020,000e) UI [2.25.2{series}]\n(0020,0013) IS [{number}]\n"
    );
    std::fs::write(&text, elements)?;
    let output = dcmtk(
        "dump2dcm",
        &["+te", &text.to_string_lossy(), &file.to_string_lossy()],
    )?;
    std::fs::remove_file(&text)?;
    ensure!(output.status.success());
    Ok(())
}

fn runs(program: &str, args: &[&str]) -> Result<String> {
    let output = dcmtk(program, args)?;
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{program}: {said}");
    Ok(said)
}

fn files(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_found_and_taken_by_the_tools_of_dcmtk() -> Result<()> {
    let folder = TempDir::new()?;
    let sent = folder.path().join("sent");
    std::fs::create_dir(&sent)?;
    for (number, series) in [(1, 1), (2, 1), (3, 2)] {
        object(&sent, number, series)?;
    }
    let to = free_port()?;
    let (_home, punte) = clinic(&channel("\"DCMTK\"", &[("MOVESCU", to)])).await?;
    let port = punte.listens("archive").port().to_string();
    let called = ["-aet", "DCMTK", "-aec", "PUNTE", "127.0.0.1", &port];
    let sent = sent.to_string_lossy().into_owned();
    runs("storescu", &[&called[..], &["+sd", &sent]].concat())?;
    let within = |name: &str| -> Result<(std::path::PathBuf, String)> {
        let place = folder.path().join(name);
        std::fs::create_dir(&place)?;
        let text = place.to_string_lossy().into_owned();
        Ok((place, text))
    };
    let study = [
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID=2.25.1",
    ];
    let images = [
        "-S",
        "-k",
        "QueryRetrieveLevel=IMAGE",
        "-k",
        "StudyInstanceUID=2.25.1",
        "-k",
        "SeriesInstanceUID=2.25.21",
        "-k",
        "SOPInstanceUID",
    ];
    for (name, keys, count) in [("study", &study[..], 1), ("images", &images, 2)] {
        let (found, text) = within(name)?;
        runs("findscu", &[&["-X", "-od", &text], keys, &called].concat())?;
        assert_eq!(files(&found)?.len(), count, "{name}");
    }
    let (got, text) = within("got")?;
    runs("getscu", &[&["-od", &text], &study[..], &called].concat())?;
    let (moved, text) = within("moved")?;
    let destination = to.to_string();
    let ways = ["+P", &destination, "-aem", "MOVESCU", "-od", &text];
    runs("movescu", &[&ways, &study[..], &called].concat())?;
    for place in [got, moved] {
        let files = files(&place)?;
        assert_eq!(files.len(), 3, "{}", place.display());
        // The tools write the data set anew; what is in it stays.
        let name = b"Tira^Ana";
        assert!(
            files
                .iter()
                .all(|file| file.windows(name.len()).any(|part| part == name))
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workstation_asks_and_takes_level_by_level() -> Result<()> {
    let first = (0..100)
        .find_map(|_| {
            let first = free_port().ok()?;
            let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            (is_free(first + 1) && is_free(first + 2)).then_some(first)
        })
        .context("three ports")?;
    let peers = [
        ("WORKSTATION", first),
        ("DEAF", first + 1),
        ("FUSSY", first + 2),
        ("OFFLINE", 1),
    ];
    let (home, punte) = clinic(&channel("\"WS1@127.0.0.1\"", &peers)).await?;
    let port = punte.listens("archive").port();
    let args = [
        "127.0.0.1".to_owned(),
        port.to_string(),
        "PUNTE".to_owned(),
        first.to_string(),
    ];
    let output = tokio::task::spawn_blocking(move || python::run("workstation.py", &args, "")).await??;
    ensure!(
        output.status.success(),
        "{}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        home.log_end(20)
    );
    // Who was told of whom, and who took whose images, stands in the journal.
    let journal = home.json(&["journal", "--patient", "P-7", "--json"])?;
    let rows = journal["journal"].as_array().context("rows")?;
    ensure!(
        rows.iter()
            .filter(|row| row["action"] == "ask" && row["outcome"] == "shown")
            .count()
            > 10,
        "{journal}"
    );
    let messages = punte.messages("&channel=archive").await?;
    for kind in ["C-FIND", "C-MOVE", "C-GET"] {
        ensure!(
            messages
                .iter()
                .any(|message| message["message_type"] == kind && message["state"] == "answered"),
            "{kind} is not listed: {:?}",
            messages.first()
        );
    }
    Ok(())
}

/// Orthanc finds a study here, and has it sent to itself.
#[tokio::test(flavor = "multi_thread")]
async fn orthanc_finds_and_retrieves() -> Result<()> {
    let folder = TempDir::new()?;
    for (number, series) in [(1, 1), (2, 1), (3, 2)] {
        object(folder.path(), number, series)?;
    }
    // It has to know us, and we it: the ports are taken from what is free.
    let (to, listen) = (free_port()?, free_port()?);
    let channel = channel("\"DCMTK\", \"ORTHANC\"", &[("ORTHANC", to)])
        .replace("127.0.0.1:0", &format!("127.0.0.1:{listen}"));
    let (home, punte) = clinic(&channel).await?;
    let orthanc = Orthanc::start_at(to, &[("PUNTE", listen)]).await?;
    let port = punte.listens("archive").port().to_string();
    let sent = folder.path().to_string_lossy().into_owned();
    runs(
        "storescu",
        &["-aet", "DCMTK", "-aec", "PUNTE", "127.0.0.1", &port, "+sd", &sent],
    )?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let post = async |path: &str, body: Value| -> Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", orthanc.http);
        let answer = client.post(url).body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {text}\n{}\n{}",
            orthanc.log(),
            home.log_end(20)
        );
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let query = json!({ "Level": "Study", "Query": { "PatientName": "TIRA*", "StudyDate": "20260505" } });
    let asked = post("/modalities/punte/query", query).await?;
    let id = asked["ID"].as_str().context("a query")?;
    let answers = orthanc.get(&format!("/queries/{id}/answers")).await?;
    assert_eq!(answers, json!(["0"]));
    post(
        &format!("/queries/{id}/answers/0/retrieve"),
        json!({ "TargetAet": "ORTHANC", "Synchronous": true }),
    )
    .await?;
    let all = ["2.25.301", "2.25.302", "2.25.303"];
    eventually("all three have come", SOON, async || {
        (orthanc.instances().await.ok()? == all).then_some(())
    })
    .await;
    Ok(())
}
