//! JSON, XML and CSV through the built program: from curl and Python, changed by paths, into the clinic by a mapping.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::eventually;
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::{Value, json};

use crate::python;

const SOON: Duration = Duration::from_secs(30);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Status and body of what curl is answered.
fn curl(url: &str, args: &[&str]) -> Result<(u16, String)> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("curl is needed: apt-get install -y curl")?;
    let said = text(&output.stdout);
    let (body, status) = said.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn orders(sink: &Sink) -> String {
    format!(
        r#"
id = "orders"
[source]
format = "json"
keys = {{ control_id = "message.id", patient = "patient.cnp", order = "orders.number", sender = "header:x-source" }}
[source.http]
listen = "127.0.0.1:0"
path = "/shops/{{shop}}/orders"
methods = ["POST", "PUT"]
keep_headers = ["x-source"]
answer.stored = {{ status = 201, body = '{{ "message": "{{id}}", "state": "{{state}}" }}' }}
answer.failed = {{ status = 400, body = '{{ "error": "{{why}}", "place": "{{place}}" }}' }}
[[step]]
filter = {{ "query:dry" = {{ present = false }} }}
[[step]]
set = {{ "shop" = {{ copy = "path:shop" }}, "patient.cnp" = {{ remove = true }}, "orders[0].urgent" = "true" }}
[[destination]]
name = "erp"
format = "json"
when = {{ "orders.number" = {{ matches = "^[0-9]+$" }} }}
http = {{ url = "http://{}/in" }}
"#,
        sink.address
    )
}

async fn message(punte: &Punte, id: &str) -> Result<Value> {
    let rows = punte.messages(&format!("&control_id={id}")).await?;
    rows.first().cloned().with_context(|| format!("no message {id}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_answered_as_the_channel_says() -> Result<()> {
    let sink = Sink::fhir().await?;
    let home = Home::with(&[("orders", &orders(&sink))])?;
    let punte = home.serve()?;
    let base = format!("http://{}/shops", punte.listens("orders"));
    let order = r#"{ "message": {"id": "m-1"},  "total": 12.50, "patient": { "name": "Ana", "cnp": "x-1" }, "orders":[ {"number":7, "urgent":false}] }"#;
    let (status, body) = curl(
        &format!("{base}/nr%201/orders"),
        &["--data-binary", order, "-H", "x-source: web"],
    )?;
    assert_eq!(status, 201, "{body}");
    let first: Value = serde_json::from_str(&body)?;
    assert_eq!(first["state"], "routed");
    let row = message(&punte, "m-1").await?;
    assert_eq!(row["id"], first["message"]);
    assert_eq!(row["sender"], "web");
    // A repeat is answered as the first was, and does nothing.
    let (status, body) = curl(
        &format!("{base}/nr%201/orders"),
        &["--data-binary", order, "-H", "x-source: web"],
    )?;
    assert_eq!((status, serde_json::from_str::<Value>(&body)?), (201, first));
    // What was not named is byte for byte as it came.
    let expected = order
        .replace(r#""name": "Ana", "cnp": "x-1""#, r#""name": "Ana""#)
        .replace("\"urgent\":false", "\"urgent\":true")
        .replace("}] }", "}], \"shop\":\"nr 1\" }");
    eventually("the order arrives", SOON, async || {
        (!sink.received().is_empty()).then_some(())
    })
    .await;
    assert_eq!(sink.texts(), [expected]);
    // Found by the keys that the channel names.
    for query in ["&patient=x-1", "&order=7"] {
        assert_eq!(punte.messages(query).await?.len(), 1, "{query}");
    }
    // Wrong JSON is kept as failed, and said with its place.
    let (status, body) = curl(
        &format!("{base}/1/orders"),
        &["-X", "PUT", "--data-binary", "{\"a\":1,\n \"a\":2}"],
    )?;
    assert_eq!(status, 400);
    let error: Value = serde_json::from_str(&body)?;
    assert_eq!(error["place"], "2:2");
    // A filter by the query; other paths and methods are nobody's.
    let dry = order.replace("m-1", "m-2");
    let (status, body) = curl(&format!("{base}/1/orders?dry=1"), &["--data-binary", &dry])?;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body)?["state"].clone()),
        (201, json!("filtered"))
    );
    assert_eq!(
        curl(&format!("{base}/1/2/orders"), &["--data-binary", order])?.0,
        404
    );
    assert_eq!(curl(&format!("{base}/1/orders"), &["-X", "DELETE"])?.0, 405);
    assert_eq!(sink.received().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_sends_json_in_order() -> Result<()> {
    let sink = Sink::fhir().await?;
    let home = Home::with(&[("orders", &orders(&sink))])?;
    let punte = home.serve()?;
    let address = punte.listens("orders");
    let documents: Vec<String> = (0..100)
        .map(|number| format!("{{\"message\":{{\"id\":\"p-{number}\"}},\"orders\":[{{\"number\":{number}}}],\"preț\":{number}.10}}"))
        .collect();
    let lines: String = documents
        .iter()
        .map(|text| format!("{}\n", json!(text)))
        .collect();
    let args = [
        address.ip().to_string(),
        address.port().to_string(),
        "/shops/s/orders".into(),
        "application/json".into(),
    ];
    let output = python::run("post_documents.py", &args, &lines)?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert!(
        answers
            .iter()
            .all(|answer| answer["status"] == 201 && answer["type"] == "application/json"),
        "{answers:?}"
    );
    eventually("100 arrive", SOON, async || {
        (100 <= sink.received().len()).then_some(())
    })
    .await;
    let expected: Vec<String> = documents
        .iter()
        .map(|text| {
            text.replace("}],", ",\"urgent\":\"true\"}],")
                .replace(".10}", ".10,\"shop\":\"s\"}")
        })
        .collect();
    assert_eq!(sink.texts(), expected);
    Ok(())
}

const DAY_MAP: &str = r#"
[[change]]
key  = "patient"
kind = "Patient"
[change.say]
"identifiers"    = { from = "Fișa", system = "urn:cabinet", required = true }
"names.family"   = "Nume"
"names.given[0]" = "Prenume"
"birth_date"     = { from = "Născut", date = "%d.%m.%Y" }
"sex"            = { from = "Sex", codes = { M = "male", F = "female" } }
"#;

const DAY: &str = r#"
id = "day"
charset = "windows-1250"
[source]
format = "csv"
http = { listen = "127.0.0.1:0", path = "/day" }
[[step]]
decode  = "csv"
mapping = "day.map.toml"
[[step]]
apply = true
[[destination]]
name    = "erp"
encode  = "json"
mapping = "erp.map.toml"
http    = { url = "http://SINK/patients" }
"#;

const ERP_MAP: &str = r#"
each = "patients"
[fixed]
"source" = "punte"
[[change]]
key  = "patient"
kind = "Patient"
[change.say]
"identifiers"  = { from = "number", system = "urn:cabinet" }
"names.family" = "lastName"
"birth_date"   = "born"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_csv_goes_into_the_clinic_and_out_as_json() -> Result<()> {
    let sink = Sink::fhir().await?;
    let home = Home::with(&[("day", &DAY.replace("SINK", &sink.address.to_string()))])?;
    std::fs::write(home.path().join("channels/day.map.toml"), DAY_MAP)?;
    std::fs::write(home.path().join("channels/erp.map.toml"), ERP_MAP)?;
    // `Ștefan` as windows-1250 has it, with a cedilla.
    let csv =
        b"Fi\xbaa;Nume;Prenume;N\xe3scut;Sex;Note\r\n17;Pop;\xaatefan;12.05.1980;M;x\r\n18;Ene;Ana;;F;\r\n";
    let file = home.path().join("day.csv");
    std::fs::write(&file, csv)?;
    let sent = format!("@{}", file.display());
    let punte = home.serve()?;
    let address = punte.listens("day");
    let (status, body) = curl(
        &format!("http://{address}/day"),
        &["-H", "content-type: text/csv", "--data-binary", &sent],
    )?;
    assert_eq!((status, body.as_str()), (200, ""));
    let found = punte.search("Patient?family=Pop").await?;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["name"][0]["given"][0], "Ştefan");
    assert_eq!(found[0]["birthDate"], "1980-05-12");
    eventually("the ERP hears of them", SOON, async || {
        (!sink.received().is_empty()).then_some(())
    })
    .await;
    assert_eq!(
        serde_json::from_str::<Value>(&sink.texts()[0])?,
        json!({ "source": "punte", "patients": [
            { "number": "17", "lastName": "Pop", "born": "1980-05-12" },
            { "number": "18", "lastName": "Ene" },
        ]})
    );
    Ok(())
}

#[test]
fn the_mistakes_of_a_mapping_are_told_by_check() -> Result<()> {
    let home = Home::with(&[(
        "day",
        &DAY.replace("SINK", "127.0.0.1:1")
            .replace("mapping = \"erp.map.toml\"\n", ""),
    )])?;
    let wrong = DAY_MAP
        .replace("birth_date\"  ", "birthdate\"   ")
        .replace("\"Patient\"", "\"Pacient\"");
    std::fs::write(home.path().join("channels/day.map.toml"), wrong)?;
    let output = home.run(&["check"])?;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("day.map.toml:4:8 \"Pacient\" is no aggregate; did you mean \"Patient\"?"),
        "{said}"
    );
    assert!(
        said.contains("destination[0].encode  json says nothing of the clinic by itself"),
        "{said}"
    );
    let late = DAY_MAP.replace("birth_date\"  ", "birthdate\"   ");
    std::fs::write(home.path().join("channels/day.map.toml"), late)?;
    let said = text(&home.run(&["check"])?.stderr);
    assert!(
        said.contains(
            "day.map.toml:9:1 birthdate: \"birthdate\" is not in the model; did you mean \"birth_date\"?"
        ),
        "{said}"
    );
    Ok(())
}

#[test]
fn convert_reads_csv_by_a_mapping() -> Result<()> {
    let home = Home::with(&[])?;
    let map = home.path().join("day.map.toml");
    std::fs::write(&map, DAY_MAP)?;
    let file = home.path().join("day.csv");
    std::fs::write(
        &file,
        "Fișa;Nume;Prenume;Născut;Sex;Note\n17;Pop;Ana;12.05.1980;F;vine luni\n",
    )?;
    let convert = |args: &[&str]| {
        Command::new(e2e::program::binary())
            .args(["convert", "--from", "csv"])
            .args(args)
            .stdin(Stdio::null())
            .output()
    };
    let (map, file) = (map.display().to_string(), file.display().to_string());
    let output = convert(&["--mapping", &map, "--losses", &file])?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("[1].Note  \"vine luni\""),
        "{}",
        text(&output.stderr)
    );
    python::assert_valid_fhir(&[text(&output.stdout)])?;
    let output = convert(&["--mapping", &map, "--to", "csv", "--to-mapping", &map, &file])?;
    assert_eq!(
        text(&output.stdout).trim_end(),
        "Fișa;Nume;Prenume;Născut;Sex\r\n17;Pop;Ana;12.05.1980;F"
    );
    let output = convert(&[&file])?;
    assert!(
        text(&output.stderr).contains("--mapping FILE.map.toml"),
        "{}",
        text(&output.stderr)
    );
    Ok(())
}

#[test]
fn the_day_that_ships_is_tried() -> Result<()> {
    let home = Home::with(&[])?;
    let channels = python::root().join("channels");
    for file in ["csv-day.toml", "csv-day.map.toml", "csv-day-erp.map.toml"] {
        std::fs::copy(channels.join(file), home.path().join("channels").join(file))?;
    }
    std::fs::create_dir_all(home.path().join("files/day"))?;
    let sample = python::root().join("samples/csv/day.csv").display().to_string();
    let tried = home.json(&["try", "csv-day", &sample, "--json"])?;
    assert_eq!(tried["state"], "routed", "{tried:#}");
    let steps = tried["steps"].as_array().context("no steps")?;
    let to_erp = |step: &&Value| {
        step["step"]
            .as_str()
            .is_some_and(|name| name.ends_with(", destination[1]"))
    };
    let sent: Vec<&Value> = steps.iter().filter(to_erp).collect();
    assert_eq!(sent.len(), 3, "one for each row: {tried:#}");
    let sent: Value = serde_json::from_str(sent[0]["shows"].as_str().unwrap_or_default())?;
    assert_eq!(
        sent["appointments"][0],
        json!({
            "patient": { "chart": "1001", "lastName": "Pop", "firstName": "Ana", "born": "1980-05-12" },
            "number": "A-2041", "start": "2026-11-30T08:30:00+02:00", "minutes": 20,
        })
    );
    Ok(())
}
