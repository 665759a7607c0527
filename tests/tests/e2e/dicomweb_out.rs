//! Objects out by STOW-RS: to Orthanc, to another Punte, and to an archive that misbehaves; and what archives are asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::dicom::{Orthanc, data_set, dumped, free_port, listening};
use e2e::eventually;
use e2e::program::{Home, Punte};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(30);
const INTO: &str = "id = \"images\"\n[source]\ndicomweb = {}\n";

fn key(home: &Home, name: &str, scopes: &[&str]) -> Result<String> {
    let mut words = vec!["key", "add", name, "--json"];
    for scope in scopes {
        words.extend(["--scope", scope]);
    }
    Ok(home.json(&words)?["key"].as_str().context("a key")?.to_owned())
}

/// The sample of a CT as the object of this number, with pixels of this length.
fn object(number: u8, length: usize) -> Result<Vec<u8>> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/dicom/ct-explicit.dcm");
    let mut bytes = std::fs::read(sample)?;
    for at in 0..bytes.len() - 9 {
        if bytes[at..].starts_with(b"2.25.7001") {
            bytes[at + 8] = b'0' + number;
        }
    }
    let head = b"\xE0\x7F\x10\0OW\0\0";
    // The last: an icon has some too.
    let pixels = bytes
        .windows(head.len())
        .rposition(|eight| eight == head)
        .context("pixels")?;
    bytes.truncate(pixels + head.len());
    bytes.extend(u32::try_from(length)?.to_le_bytes());
    bytes.extend((0..length).map(|at| (at % 251) as u8));
    Ok(bytes)
}

async fn send(punte: &Punte, key: &str, objects: &[Vec<u8>]) -> Result<()> {
    let mut body = vec![];
    for object in objects {
        body.extend(b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend(object);
    }
    body.extend(b"\r\n--b--\r\n");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .post(format!("http://{}/dicom-web/studies", punte.http))
        .bearer_auth(key)
        .header(
            "content-type",
            "multipart/related; type=\"application/dicom\"; boundary=b",
        )
        .body(body)
        .send()
        .await?;
    ensure!(answer.status().as_u16() == 200, "{}", answer.text().await?);
    Ok(())
}

/// What became of the deliveries to a destination, in the order of their messages.
async fn states(punte: &Punte, destination: &str) -> Option<Vec<String>> {
    let mut rows = punte.messages("&channel=images").await.ok()?;
    // What was asked is recorded too.
    rows.retain(|row| row["state"] != "answered");
    rows.sort_by_key(|row| row["id"].as_str().unwrap_or_default().to_owned());
    let state = |row: &Value| {
        let deliveries = row["deliveries"].as_array().cloned().unwrap_or_default();
        let mine = deliveries
            .into_iter()
            .find(|one| one["destination"] == destination);
        mine.map_or_else(String::new, |mine| {
            mine["state"].as_str().unwrap_or_default().to_owned()
        })
    };
    Some(rows.iter().map(state).collect())
}

/// A short and a long one whose data sets have an odd length, which a peer breaks off on where they go as they lie.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_an_odd_length_is_filled_up_on_its_way() -> Result<()> {
    let folder = tempfile::TempDir::new()?;
    let (port, place) = (free_port()?, folder.path().to_string_lossy().into_owned());
    let args = [
        "--fork",
        "+xa",
        "+B",
        "-od",
        &place,
        "-fe",
        ".dcm",
        &port.to_string(),
    ];
    let _archive = listening("storescp", &args, port)?;
    let channel = format!(
        "{INTO}[[destination]]\nname = \"pacs\"\n\
         dicom = {{ connect = \"127.0.0.1:{port}\", called_ae = \"PACS\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    let sends = key(&home, "sends", &["images:write"])?;
    // An even one behind them: the association is as good as before.
    let lengths = [513, 3_000_001, 514];
    let objects: Vec<Vec<u8>> = (1..)
        .zip(lengths)
        .map(|(number, length)| object(number, length))
        .collect::<Result<_>>()?;
    send(&punte, &sends, &objects).await?;
    eventually("all are there", SOON, async || {
        (states(&punte, "pacs").await? == ["sent", "sent", "sent"]).then_some(())
    })
    .await;
    let mut pixels = vec![];
    for file in std::fs::read_dir(folder.path())? {
        let file = file?.path();
        dumped(&file)?;
        let data = data_set(&file)?;
        ensure!(data.len() % 2 == 0, "{}", file.display());
        let head = b"\xE0\x7F\x10\0OW\0\0";
        let at = data
            .windows(head.len())
            .rposition(|eight| eight == head)
            .context("pixels")?;
        pixels.push(data[at + 12..].to_vec());
    }
    pixels.sort_by_key(Vec::len);
    let made = |length: usize| -> Vec<u8> { (0..length).map(|at| (at % 251) as u8).collect() };
    let filled = |length: usize| [made(length), vec![0]].concat();
    let mut expected = vec![filled(513), made(514), filled(3_000_001)];
    for list in [&mut pixels, &mut expected] {
        list.sort();
    }
    ensure!(pixels == expected);
    Ok(())
}

/// Short and long ones, to two archives; then one of them is asked, by hand and by a step.
#[tokio::test(flavor = "multi_thread")]
async fn objects_go_to_archives_which_are_asked_about_them() -> Result<()> {
    let orthanc = Orthanc::start(&[]).await?;
    let far = Home::with(&[("images", INTO)])?;
    let far_runs = far.serve()?;
    let token = key(&far, "near", &["images:write"])?;
    let channel = format!(
        "{INTO}\
         [[step]]\n\
         lookup = {{ ask = \"pacs\", question = \"/studies?StudyInstanceUID={{StudyInstanceUID}}&PatientID={{PatientID}}\", \
                    set = {{ \"PatientComments\" = \"StudyID\" }} }}\n\
         [[destination]]\nname = \"pacs\"\n\
         dicomweb = {{ base = \"http://127.0.0.1:{}/dicom-web\" }}\n\
         [[destination]]\nname = \"far\"\n\
         dicomweb = {{ base = \"http://{}/dicom-web/\", auth = {{ bearer_env = \"FAR_TOKEN\" }} }}\n",
        orthanc.http, far_runs.http
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve_with(&[("FAR_TOKEN", &token)])?;
    let sends = key(&home, "sends", &["images:write"])?;
    // The archive has nothing of the study yet: the long one passes as it came. The short one is told what it has.
    for object in [object(2, 3_000_000)?, object(1, 512)?] {
        let before = orthanc.instances().await?.len();
        send(&punte, &sends, &[object]).await?;
        eventually("it is there", SOON, async || {
            (orthanc.instances().await.ok()?.len() == before + 1).then_some(())
        })
        .await;
    }
    for destination in ["pacs", "far"] {
        eventually(destination, SOON, async || {
            (states(&punte, destination).await? == ["sent", "sent"]).then_some(())
        })
        .await;
    }
    let came = far_runs.messages("&channel=images").await?;
    ensure!(came.len() == 2, "{came:?}");

    // By hand: one study, and nothing.
    let asked = home.json(&["ask", "images", "pacs", "/studies?PatientID=N-501", "--json"])?;
    ensure!(asked["found"] == 1, "{asked}");
    let asked = home.run(&["ask", "images", "pacs", "/studies?PatientID=NOBODY"])?;
    ensure!(
        asked.status.code() == Some(1),
        "{}",
        String::from_utf8_lossy(&asked.stderr)
    );
    // An address that answers with pixels is no question.
    let refused = home.run(&["ask", "images", "pacs", "/studies/2.25.7000"])?;
    ensure!(!refused.status.success());

    // By a step: what the archive says of the study was written into the object that came later.
    let study = orthanc.get("/dicom-web/studies").await?;
    ensure!(study[0]["00100020"]["Value"] == json!(["N-501"]), "{study}");
    let number = study[0]["00200010"]["Value"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let all = orthanc.get("/instances?expand").await?;
    for (uid, said) in [("2.25.7001", Some(number.as_str())), ("2.25.7002", None)] {
        let of = |one: &&Value| one["MainDicomTags"]["SOPInstanceUID"] == uid;
        let id = all
            .as_array()
            .into_iter()
            .flatten()
            .find(of)
            .and_then(|one| one["ID"].as_str());
        let id = id.context("the object")?;
        let tags = orthanc.get(&format!("/instances/{id}/simplified-tags")).await?;
        ensure!(
            !number.is_empty() && tags["PatientComments"].as_str() == said,
            "{number}: {tags}"
        );
    }
    Ok(())
}

/// Answers each request with the next of these; nothing at all where one is empty.
async fn archive(answers: Vec<String>) -> Result<(u16, Arc<Mutex<Vec<usize>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let came = Arc::new(Mutex::new(vec![]));
    let seen = came.clone();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![];
            let mut buffer = vec![0; 64 * 1024];
            let length = loop {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break None,
                    Ok(count) => request.extend(&buffer[..count]),
                }
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
                let said = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
                let length: usize = said.and_then(|said| said.parse().ok()).unwrap_or_default();
                if end + 4 + length <= request.len() {
                    break Some(length);
                }
            };
            if let Some(length) = length {
                seen.lock().expect("a lock").push(length);
                let answer = answers.next().unwrap_or_default();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    Ok((port, came))
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn failed(code: u16) -> String {
    json!({ "00081198": { "vr": "SQ", "Value": [{ "00081197": { "vr": "US", "Value": [code] } }] } })
        .to_string()
}

/// Each object is judged by what the archive says of it: again where it is sure or harmless, held where it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_misbehaves_gets_each_object_once_or_again() -> Result<()> {
    let (port, came) = archive(vec![
        // The first: busy, out of room, no answer at all, and then it is there already.
        answer("503 Service Unavailable", ""),
        answer("409 Conflict", &failed(0xA700)),
        String::new(),
        answer("409 Conflict", &failed(0x0111)),
        // The second is refused.
        answer("202 Accepted", &failed(0xA900)),
    ])
    .await?;
    let channel = format!(
        "{INTO}[[destination]]\nname = \"pacs\"\nretry = {{ first = \"50ms\", max = \"100ms\" }}\n\
         dicomweb = {{ base = \"http://127.0.0.1:{port}/dicom-web\" }}\n"
    );
    let home = Home::with(&[("images", &channel)])?;
    let punte = home.serve()?;
    let sends = key(&home, "sends", &["images:write"])?;
    send(&punte, &sends, &[object(1, 512)?, object(2, 600_000)?]).await?;
    eventually("one is done and one is held", SOON, async || {
        (states(&punte, "pacs").await? == ["sent", "held"]).then_some(())
    })
    .await;
    let came = came.lock().expect("a lock").clone();
    ensure!(came.len() == 5, "{came:?}");
    ensure!(
        came[..4].iter().all(|length| *length == came[0]) && 600_000 < came[4],
        "{came:?}"
    );
    Ok(())
}
