//! The write door, as programs with a key use it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use serde_json::{Value, json};

use crate::scenes;

/// A client with a key.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    fn new(punte: &Punte, key: &str) -> Result<Self> {
        Ok(Client {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: format!("http://{}/clinic/changes", punte.http),
            key: key.to_owned(),
        })
    }

    async fn post(&self, body: &Value) -> Result<(u16, Value)> {
        self.post_as(None, body.to_string()).await
    }

    async fn post_as(&self, number: Option<&str>, body: String) -> Result<(u16, Value)> {
        let mut request = self.http.post(&self.url).bearer_auth(&self.key);
        if let Some(number) = number {
            request = request.header("Idempotency-Key", number);
        }
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        let expected = if status < 300 {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert_eq!(kind, expected, "{status}");
        Ok((status, serde_json::from_slice(&answer.bytes().await?)?))
    }
}

fn key(home: &Home, name: &str, scope: &str) -> Result<String> {
    let made = home.json(&["key", "add", name, "--scope", scope, "--json"])?;
    Ok(made["key"].as_str().context("a key")?.to_owned())
}

fn clinic() -> Result<(Home, Punte, Client)> {
    let home = Home::with(&[("clinic", &scenes::chart_only())])?;
    let punte = home.serve()?;
    let client = Client::new(&punte, &key(&home, "reception", "clinic:write")?)?;
    Ok((home, punte, client))
}

fn patient(number: &str, family: &str) -> Value {
    json!({ "key": "patient", "say": { "Patient": {
        "identifiers": { "merge": [{ "system": "TEST", "value": number, "kind": {
            "codings": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] } }] },
        "names": [{ "family": family, "given": ["Ana"], "use": "official" }],
        "birth_date": "1980-05-14" } } })
}

fn booking(patient_number: &str, start: &str, end: &str) -> Value {
    json!({ "changes": [
        patient(patient_number, "Pop"),
        { "key": "doctor", "say": { "Practitioner": {
            "identifiers": { "merge": [{ "system": "STAFF", "value": "D500" }] } } } },
        { "key": "visit", "say": { "Appointment": {
            "identifiers": { "merge": [{ "system": "WEB", "value": format!("A-{patient_number}") }] },
            "status": "booked", "start": start, "end": end,
            "patient": { "local": "patient" },
            "participants": [{ "actor": { "local": "doctor" }, "status": "accepted" }] } } },
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_is_applied_kept_and_answered_alike_when_it_comes_again() -> Result<()> {
    let (home, punte, client) = clinic()?;
    let body = json!({ "changes": [patient("W-1", "Pop")] });
    let (status, first) = client.post_as(Some("n-1"), body.to_string()).await?;
    assert_eq!(status, 201, "{first}");
    assert_eq!(first["ids"]["patient"]["kind"], "Patient");
    assert_eq!(first["ids"]["patient"]["version"], 1);
    let id = first["ids"]["patient"]["id"].as_str().context("an id")?;

    let (status, again) = client.post_as(Some("n-1"), body.to_string()).await?;
    assert_eq!(
        (status, &again),
        (201, &first),
        "a repeat is answered as the first was"
    );

    let (_, found) = punte.get(&format!("/fhir/Patient/{id}")).await?;
    assert_eq!(found["name"][0]["family"], "Pop");
    assert_eq!(found["meta"]["versionId"], "1");
    assert_eq!(found["meta"]["source"], "urn:punte:actor:reception");

    let change = json!({ "changes": [{ "key": "p", "find": { "id": id, "version": 1 },
        "say": { "Patient": { "birth_date": "1981" } } }] });
    let (status, changed) = client.post(&change).await?;
    assert_eq!(
        (status, &changed["ids"]["p"]["version"]),
        (200, &json!(2)),
        "{changed}"
    );
    let (status, refused) = client.post(&change).await?;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(refused["pointer"], "/changes/0/find/version");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("is at version 2"))
    );

    let same = json!({ "changes": [{ "key": "p", "find": { "id": id }, "say": { "Patient": { "birth_date": "1981" } } }] });
    let (status, same) = client.post(&same).await?;
    assert_eq!(
        (status, &same["wrote"]),
        (200, &json!([])),
        "the same writes nothing: {same}"
    );
    assert_eq!(
        same["ids"]["p"],
        json!({ "kind": "Patient", "id": id, "version": 2, "changed": false })
    );

    // Everything that came is there as a message, with who it came from; also after the program was killed.
    punte.kill();
    let punte = home.serve()?;
    let messages = punte.messages("&channel=write-door").await?;
    let states: Vec<&str> = messages.iter().filter_map(|m| m["state"].as_str()).collect();
    assert_eq!(states, ["routed", "failed", "routed", "routed"]);
    let oldest = messages[3]["id"].as_str().context("an id")?;
    let shown = home.json(&["messages", "show", oldest, "--json"])?;
    assert_eq!(shown["sender"], "reception");
    assert_eq!(shown["control_id"], "n-1");
    assert_eq!(shown["repeats"], 1);
    let client = Client::new(&punte, &client.key)?;
    let (status, again) = client.post_as(Some("n-1"), body.to_string()).await?;
    assert_eq!((status, &again), (201, &first), "also after a kill");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_once_and_nothing_is_half_done() -> Result<()> {
    let (home, punte, client) = clinic()?;
    let wrong = json!({ "changes": [
        { "key": "a", "say": { "Patient": { "birth_date": "1980-13", "naems": [] } } },
        { "key": "b", "say": { "Order": { "patient": { "local": "x" }, "status": "activ" } } },
    ] });
    let (status, answer) = client.post(&wrong).await?;
    assert_eq!(status, 400);
    let pointers: Vec<&str> = answer["errors"]
        .as_array()
        .context("errors")?
        .iter()
        .filter_map(|error| error["pointer"].as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/changes/0/say/Patient/birth_date",
            "/changes/0/say/Patient/naems",
            "/changes/1/say/Order/status",
        ]
    );
    for body in ["", "[]", "{", "{\"changes\": 1}", "{} x", "{\"a\":1,\"a\":2}"] {
        let (status, answer) = client.post_as(None, body.to_owned()).await?;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["errors"][0]["what"].is_string());
    }
    let numbered = |cnp: &str, other: &str| {
        json!({ "changes": [{ "key": "p", "say": { "Patient": {
            "names": [{ "family": "Pop" }],
            "identifiers": { "merge": [
                { "system": "https://punte.org/sid/cnp", "value": cnp },
                { "system": "urn:passport:HU", "value": other },
            ] },
        } } }] })
    };
    let (status, answer) = client.post(&numbered("123", "123")).await?;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(
        answer["errors"][0]["pointer"], "/changes/0/say/Patient/identifiers/merge/0/value",
        "{answer}"
    );
    assert_eq!(
        answer["errors"].as_array().map(Vec::len),
        Some(1),
        "a number of another country is one"
    );
    let (status, answer) = client.post(&numbered("2850312120016", "A1")).await?;
    assert!(
        status == 422 && answer["detail"].to_string().contains("control digit"),
        "{answer}"
    );
    let nobody = json!({ "changes": [
        patient("W-2", "Pop"),
        { "key": "x", "find": { "id": "0190a0a0-0000-7000-8000-000000000001" }, "say": { "Order": {} } },
    ] });
    let (status, answer) = client.post(&nobody).await?;
    assert_eq!(
        (status, &answer["pointer"]),
        (422, &json!("/changes/1/find/id")),
        "{answer}"
    );
    assert!(
        punte.search("Patient").await?.is_empty(),
        "nothing of it was written"
    );
    let (status, answer) = client.post(&numbered("2850312120015", "A1")).await?;
    assert_eq!(status, 201, "{answer}");

    let reader = Client::new(&punte, &key(&home, "portal", "clinic:read")?)?;
    let (status, answer) = reader.post(&json!({ "changes": [] })).await?;
    assert_eq!(status, 403, "{answer}");
    let nobody = Client::new(&punte, "punte_00")?;
    assert_eq!(nobody.post(&json!({ "changes": [] })).await?.0, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_want_one_time_one_gets_it_and_the_others_are_told_when_else() -> Result<()> {
    const CLIENTS: usize = 50;
    let (_home, punte, client) = clinic()?;
    // The doctor is known before, so that they meet at the time alone.
    let (status, answer) = client
        .post(&booking("W-0", "2036-05-05T08:00:00Z", "2036-05-05T08:20:00Z"))
        .await?;
    assert_eq!(status, 201, "{answer}");
    for round in 0..3 {
        let (start, end) = (
            format!("2036-05-0{}T09:00:00Z", 6 + round),
            format!("2036-05-0{}T09:20:00Z", 6 + round),
        );
        let gate = std::sync::Arc::new(tokio::sync::Barrier::new(CLIENTS));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(&punte, &client.key)?;
            let (gate, body) = (gate.clone(), booking(&format!("R{round}-{number}"), &start, &end));
            tasks.spawn(async move {
                gate.wait().await;
                client.post(&body).await
            });
        }
        let (mut won, mut lost) = (0, 0);
        let mut offer = None;
        while let Some(ended) = tasks.join_next().await {
            let (status, answer) = ended??;
            match status {
                201 => won += 1,
                409 => {
                    lost += 1;
                    let times = &answer["alternatives"][0]["times"];
                    assert_eq!(answer["alternatives"][0]["key"], "visit", "{answer}");
                    assert_eq!(times.as_array().map(Vec::len), Some(5), "{answer}");
                    offer = Some(times[0].clone());
                }
                other => panic!("{other}: {answer}"),
            }
        }
        assert_eq!((won, lost), (1, CLIENTS - 1), "round {round}");
        // What was offered can be had.
        let offer = offer.context("an offer")?;
        let (start, end) = (
            offer["start"].as_str().context("start")?,
            offer["end"].as_str().context("end")?,
        );
        let (status, answer) = client.post(&booking(&format!("R{round}-x"), start, end)).await?;
        assert_eq!(status, 201, "{offer}: {answer}");
    }
    assert_eq!(punte.search("Appointment").await?.len(), 7);
    Ok(())
}

/// A block (SIU^S23) refuses no booking, since those who book may know better; but nobody is sent there.
#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_blocked_is_not_offered() -> Result<()> {
    let (_home, _punte, client) = clinic()?;
    let (start, end) = ("2036-05-06T09:00:00Z", "2036-05-06T09:20:00Z");
    let (status, answer) = client.post(&booking("W-0", start, end)).await?;
    assert_eq!(status, 201, "{answer}");
    // The hours around it.
    let blocks = |status: &str| {
        let slot = |key: &str, start: &str, end: &str| {
            json!({ "key": key, "find": { "natural": { "owner": { "local": "schedule" }, "key": key } },
                "say": { "Slot": { "schedule": { "local": "schedule" }, "status": status, "start": start, "end": end } } })
        };
        json!({ "changes": [
            { "key": "doctor", "say": { "Practitioner": {
                "identifiers": { "merge": [{ "system": "STAFF", "value": "D500" }] } } } },
            { "key": "schedule", "find": { "natural": { "owner": { "local": "doctor" }, "key": "schedule" } },
                "say": { "Schedule": { "actors": { "merge": [{ "local": "doctor" }] } } } },
            slot("before", "2036-05-06T06:00:00Z", start),
            slot("after", end, "2036-05-06T12:00:00Z"),
        ] })
    };
    let offered = async || -> Result<Vec<String>> {
        let (status, answer) = client.post(&booking("W-1", start, end)).await?;
        assert_eq!(status, 409, "{answer}");
        let times = answer["alternatives"][0]["times"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let starts = times
            .iter()
            .filter_map(|time| time["start"].as_str().map(str::to_owned));
        Ok(starts.collect())
    };
    let nearest = offered().await?;
    assert_eq!(nearest[0], "2036-05-06T11:40:00+03:00");
    let (status, answer) = client.post(&blocks("busy-unavailable")).await?;
    assert_eq!(status, 201, "{answer}");
    let nearest = offered().await?;
    assert_eq!(nearest.len(), 5);
    assert!(
        nearest
            .iter()
            .all(|start| !("2036-05-06T08:41".."2036-05-06T15:00").contains(&start.as_str())),
        "{nearest:?}"
    );
    let (status, answer) = client
        .post(&booking("W-1", "2036-05-06T10:00:00Z", "2036-05-06T10:20:00Z"))
        .await?;
    assert_eq!(status, 201, "the block refuses nothing: {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_meant_may_have_to_be_decided() -> Result<()> {
    let (home, punte, client) = clinic()?;
    for (number, family) in [("W-1", "Pop"), ("W-2", "Ionescu")] {
        assert_eq!(
            client
                .post(&json!({ "changes": [patient(number, family)] }))
                .await?
                .0,
            201
        );
    }
    let both = json!({ "changes": [{ "key": "p", "find": { "identifiers": [
        { "system": "TEST", "value": "W-1" }, { "system": "TEST", "value": "W-2" }] },
        "say": { "Patient": { "birth_date": "1990" } } }] });
    let (status, answer) = client.post(&both).await?;
    assert_eq!((status, &answer["state"]), (202, &json!("parked")), "{answer}");
    assert_eq!(answer["candidates"].as_array().map(Vec::len), Some(2));
    let parked = home.json(&["parked", "--json"])?;
    assert_eq!(parked["parked"][0]["id"], answer["message"]);
    drop(punte);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_wrote_stays_and_a_feed_is_told() -> Result<()> {
    let overwriting = "id = \"over\"\nsource.mllp.listen = \"127.0.0.1:0\"\nstep = [{ decode = \"hl7v2\" }, { apply = { overwrite = true } }]\n";
    let home = Home::with(&[("clinic", &scenes::chart_only()), ("over", overwriting)])?;
    let punte = home.serve()?;
    let client = Client::new(&punte, &key(&home, "reception", "clinic:write")?)?;
    let mut feed = Sender::connect(punte.listens("clinic")).await?;
    feed.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    let correct = json!({ "changes": [{ "key": "p", "find": { "identifiers": [{ "system": "TEST", "value": "P-1" }] },
        "say": { "Patient": { "birth_date": "1982-01-01" } } }] });
    let (status, answer) = client.post(&correct).await?;
    assert_eq!(status, 200, "{answer}");

    let answer = feed
        .ask(scenes::register("2", "P-1", "Popescu").as_bytes())
        .await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    let patients = punte.search("Patient").await?;
    assert_eq!(patients[0]["birthDate"], "1982-01-01", "the person's stays");
    assert_eq!(patients[0]["name"][0]["family"], "Popescu", "the rest is taken");
    let messages = punte.messages("&control_id=2").await?;
    let id = messages[0]["id"].as_str().context("an id")?;
    let shown = String::from_utf8(home.run(&["messages", "show", id])?.stdout)?;
    let line = shown
        .lines()
        .find(|line| line.starts_with("not taken"))
        .context("told")?;
    assert!(
        line.ends_with("birth_date: reception wrote what stands there"),
        "{line}"
    );

    let file = home.path().join("again.hl7");
    std::fs::write(&file, scenes::register("3", "P-1", "Pop"))?;
    let tried = home.run(&["try", "clinic", &file.display().to_string()])?;
    let tried = String::from_utf8(tried.stdout)?;
    assert!(tried.contains("1 values not taken"), "{tried}");
    assert!(
        tried.contains("birth_date: not taken, reception wrote what stands there"),
        "{tried}"
    );

    let mut over = Sender::connect(punte.listens("over")).await?;
    over.ask(scenes::register("4", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(
        punte.search("Patient").await?[0]["birthDate"],
        "1980-05-14",
        "it may overwrite"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_undone_by_it() -> Result<()> {
    let (_home, punte, client) = clinic()?;
    let mut feed = Sender::connect(punte.listens("clinic")).await?;
    feed.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    feed.ask(scenes::register("2", "P-2", "Pop").as_bytes()).await?;
    let ids: Vec<Value> = punte
        .search("Patient")
        .await?
        .iter()
        .map(|p| p["id"].clone())
        .collect();
    let merge = |id: &str| {
        format!(
            "{}EVN|A40|20260505083000\rPID|1||P-1^^^TEST^MR||Pop^Ana\rMRG|P-2^^^TEST^MR\r",
            scenes::msh("ADT^A40^ADT_A39", id)
        )
    };
    assert_eq!(field(&feed.ask(merge("3").as_bytes()).await?, "MSA", 1), "AA");
    let active = async |id: &Value| -> Result<Value> {
        Ok(punte
            .get(&format!("/fhir/Patient/{}", id.as_str().unwrap_or_default()))
            .await?
            .1["active"]
            .clone())
    };
    let old = if active(&ids[0]).await? == json!(false) {
        0
    } else {
        1
    };
    assert_eq!(active(&ids[old]).await?, json!(false));
    let undo = json!({
        "changes": [
            { "key": "stays", "find": { "id": ids[1 - old] }, "say": { "Patient": {} } },
            { "key": "back", "find": { "id": ids[old] }, "say": { "Patient": {} } },
        ],
        "merges": [{ "survivor": "stays", "old": "back", "undo": true }],
    });
    let (status, answer) = client.post(&undo).await?;
    assert_eq!(
        (status, answer["wrote"].as_array().map(Vec::len)),
        (200, Some(2)),
        "{answer}"
    );
    assert_ne!(active(&ids[old]).await?, json!(false));
    // The feed says it once more: the person has decided otherwise.
    feed.ask(merge("4").as_bytes()).await?;
    assert_ne!(active(&ids[old]).await?, json!(false));
    Ok(())
}

/// The guide's lines, as written there, by curl.
#[tokio::test(flavor = "multi_thread")]
async fn curl_writes_as_the_guide_says() -> Result<()> {
    let (_home, punte, client) = clinic()?;
    let guide = std::fs::read_to_string(crate::python::root().join("docs/guide/write-door.md"))?;
    let body = guide
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("the guide has an example")?;
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
        ])
        .args(["--header", &format!("Authorization: Bearer {}", client.key)])
        .args(["--header", "Content-Type: application/json"])
        .args(["--header", "Idempotency-Key: 2026-0001"])
        .args(["--data-binary", body])
        .arg(format!("http://{}/clinic/changes", punte.http))
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let (answer, status) = text.rsplit_once('\n').context("a status")?;
    assert_eq!(status, "201", "{answer}");
    let answer: Value = serde_json::from_str(answer)?;
    assert_eq!(answer["ids"]["visit"]["version"], 1);
    assert_eq!(punte.search("Appointment?status=booked").await?.len(), 1);
    Ok(())
}

/// The change set is a format like the others: in by HTTP with a mapping of none, out by HTTP as it was.
#[tokio::test(flavor = "multi_thread")]
async fn change_sets_come_in_and_go_out_by_channels() -> Result<()> {
    let sink = e2e::sink::Sink::fhir().await?;
    let channel = format!(
        "id = \"sets\"\nsource.http = {{ listen = \"127.0.0.1:0\", path = \"/sets\" }}\nstep = [{{ decode = \"clinic\" }}, {{ apply = true }}]\n[[destination]]\nname = \"copy\"\nencode = \"clinic\"\nhttp = {{ url = \"http://{}/fhir/copy\" }}\n",
        sink.address
    );
    let home = Home::with(&[("sets", &channel)])?;
    let punte = home.serve()?;
    let body = json!({ "about": { "control_id": "c-1" }, "changes": [patient("W-7", "Pop")] });
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/sets", punte.listens("sets"));
    let send = async |body: String| -> Result<(u16, Value)> {
        let answer = http
            .post(&url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        Ok((
            answer.status().as_u16(),
            serde_json::from_slice(&answer.bytes().await?)?,
        ))
    };
    let (status, answer) = send(body.to_string()).await?;
    assert_eq!((status, &answer["control_id"]), (200, &json!("c-1")), "{answer}");
    assert_eq!(send(body.to_string()).await?, (200, answer), "a repeat");
    let (status, answer) =
        send(json!({ "changes": [{ "key": "a", "say": { "Patint": {} } }] }).to_string()).await?;
    assert_eq!(status, 422);
    assert_eq!(answer["error"]["place"], "/changes/0/say/Patint");
    assert_eq!(punte.search("Patient").await?.len(), 1);
    let copy = e2e::eventually(
        "the copy arrives",
        std::time::Duration::from_secs(10),
        async || sink.texts().into_iter().find(|text| text.contains("W-7")),
    )
    .await;
    let start = copy.find('{').context("a body")?;
    let copy: Value = serde_json::from_str(&copy[start..])?;
    assert_eq!(copy["about"]["control_id"], "c-1");
    assert_eq!(
        copy["changes"][0]["say"], body["changes"][0]["say"],
        "what was said goes out as it came"
    );
    Ok(())
}
