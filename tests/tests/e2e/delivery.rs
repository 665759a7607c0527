//! What a receiver can do, and what becomes of the delivery: an answer belongs to its question or to nobody.

use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};

use crate::scenes;

const SOON: Duration = Duration::from_secs(30);

async fn state_of(punte: &Punte, id: &str) -> Option<String> {
    let rows = punte.messages(&format!("&control_id={id}")).await.ok()?;
    rows.first()?["deliveries"][0]["state"]
        .as_str()
        .map(str::to_owned)
}

async fn becomes(punte: &Punte, id: &str, states: &[&str]) -> String {
    eventually(&format!("{id} becomes {states:?}"), SOON, async || {
        state_of(punte, id)
            .await
            .filter(|state| states.contains(&state.as_str()))
    })
    .await
}

async fn routed() -> Result<(Sink, Home, Punte, Sender)> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[("route", &scenes::route(sink.address))])?;
    let punte = home.serve()?;
    let sender = Sender::connect(punte.listens("route")).await?;
    Ok((sink, home, punte, sender))
}

/// A channel that writes to the clinic and tells the portal.
fn telling(id: &str, portal: &Sink) -> String {
    format!(
        "id = \"{id}\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\napply = true\n\
         [[destination]]\nname = \"portal\"\nencode = \"fhir-r4\"\nfhir = {{ base = \"http://{}/fhir\" }}\n",
        portal.address
    )
}

/// How the resources of a type are asked for in the bundle of a message.
fn requests(portal: &Sink, control_id: &str, kind: &str) -> Vec<(String, String)> {
    let bundles = portal.texts().into_iter().rev();
    let bundle = bundles
        .into_iter()
        .find(|text| text.contains(&format!("{control_id:?}")));
    let bundle: serde_json::Value = serde_json::from_str(&bundle.unwrap_or_default()).unwrap_or_default();
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let of_kind = entries.filter(|entry| entry["resource"]["resourceType"] == kind);
    of_kind
        .map(|entry| {
            let text = |name: &str| entry["request"][name].as_str().unwrap_or_default().to_owned();
            (text("method"), text("ifNoneExist"))
        })
        .collect()
}

/// Two channels to one server, of which one waits: what waited is not written over what the other has told since, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_not_told_over_what_is_newer() -> Result<()> {
    let portal = Sink::fhir().await?;
    let channels = [("one", telling("one", &portal)), ("two", telling("two", &portal))];
    let channels: Vec<(&str, &str)> = channels
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    for restarts in [false, true] {
        let home = Home::with(&channels)?;
        let mut punte = home.serve()?;
        let tag = if restarts { "R" } else { "S" };
        let adt = |event: &str, id: &str, chart: &str, more: &str| {
            format!(
                "{}EVN|{event}|20260505083000\rPID|1||{chart}^^^TEST^MR||Pop^Ana^^^^^L||19800514|F\r{more}",
                scenes::msh(&format!("ADT^{event}"), &format!("{tag}{id}"))
            )
        };
        let visit = |place: &str, end: &str| {
            let between = "|".repeat(16);
            let to_end = "|".repeat(26);
            format!("PV1|1|I|{place}{between}V-1^^^TEST^VN{to_end}{end}\r")
        };
        let mut one = Sender::connect(punte.listens("one")).await?;
        let mut two = Sender::connect(punte.listens("two")).await?;
        let arrived = async |id: &str| {
            let sent = format!("\"{tag}{id}\"");
            eventually(id, SOON, async || {
                portal
                    .texts()
                    .iter()
                    .any(|text| text.contains(&sent))
                    .then_some(())
            })
            .await;
        };
        one.ask(adt("A01", "1", "P-1", &visit("WARD", "")).as_bytes())
            .await?;
        one.ask(adt("A28", "2", "P-2", "").as_bytes()).await?;
        arrived("2").await;
        assert!(
            home.run(&["channels", "pause", "one/portal", "--reason", "test"])?
                .status
                .success()
        );
        one.ask(adt("A02", "3", "P-1", &visit("ICU", "")).as_bytes())
            .await?;
        one.ask(adt("A31", "4", "P-2", "").replace("Ana", "Anca").as_bytes())
            .await?;
        two.ask(adt("A03", "5", "P-1", &visit("ICU", "20260506")).as_bytes())
            .await?;
        two.ask(adt("A40", "6", "P-1", "MRG|P-2^^^TEST^MR\r").as_bytes())
            .await?;
        arrived("6").await;
        if restarts {
            assert!(punte.stop()?.success());
            punte = home.serve()?;
        }
        assert!(home.run(&["channels", "start", "one/portal"])?.status.success());
        arrived("4").await;
        let made = |kind: &str, id: &str| requests(&portal, &format!("{tag}{id}"), kind);
        let of = |requests: &[(String, String)]| -> Vec<String> {
            requests.iter().map(|(method, _)| method.clone()).collect()
        };
        assert_eq!(of(&made("Encounter", "5")), ["PUT"], "the newest is told");
        assert_eq!(of(&made("Encounter", "3")), ["POST"], "the discharge stays");
        let location = made("Location", "3");
        assert!(
            !location.is_empty() && of(&location).iter().all(|method| method == "PUT"),
            "{location:?}"
        );
        let [(method, query)] = made("Patient", "4").try_into().expect("one patient");
        assert_eq!(method, "POST", "the merge stays");
        assert!(
            query.starts_with("identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A"),
            "{query}"
        );
        eventually("what stayed is said with the try", SOON, async || {
            let rows = punte.messages(&format!("&control_id={tag}4")).await.ok()?;
            let last = rows.first()?["deliveries"][0]["last"].as_str()?;
            last.contains("newer version").then_some(())
        })
        .await;
        assert!(punte.stop()?.success());
    }
    Ok(())
}

/// An event tells its aggregate as it stands, in its version: beside channels that told the server of it before it is the newest.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_in_its_version() -> Result<()> {
    let portal = Sink::fhir().await?;
    let events = format!(
        "id = \"events\"\nsource.clinic.on = [\"Encounter.finished\"]\n[[step]]\ndecode = \"clinic\"\n\
         [[destination]]\nname = \"portal\"\nencode = \"fhir-r4\"\nfhir = {{ base = \"http://{}/fhir\" }}\n",
        portal.address
    );
    let home = Home::with(&[
        ("one", &telling("one", &portal)),
        ("events", &events),
        ("chart", &scenes::chart_only()),
    ])?;
    let punte = home.serve()?;
    let message = |event: &str, id: &str| {
        let between = "|".repeat(16);
        format!(
            "{}EVN|{event}|20260505083000\rPID|1||P-1^^^TEST^MR||Pop^Ana\rPV1|1|I|WARD{between}V-1^^^TEST^VN\r",
            scenes::msh(&format!("ADT^{event}"), id)
        )
    };
    let mut sender = Sender::connect(punte.listens("one")).await?;
    sender.ask(message("A01", "1").as_bytes()).await?;
    eventually("the visit is there", SOON, async || {
        (!portal.received().is_empty()).then_some(())
    })
    .await;
    // The chart alone hears of the end; the event tells it.
    let mut chart = Sender::connect(punte.listens("clinic")).await?;
    chart.ask(message("A03", "2").as_bytes()).await?;
    let told = eventually("the event is told", SOON, async || {
        portal
            .texts()
            .into_iter()
            .find(|text| text.contains("\"finished\""))
    })
    .await;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let entries = told["entry"].as_array().into_iter().flatten();
    let visit = entries
        .into_iter()
        .find(|entry| entry["resource"]["resourceType"] == "Encounter");
    let visit = visit.cloned().unwrap_or_default();
    assert_eq!(visit["request"]["method"], "PUT", "{visit}");
    assert_eq!(visit["resource"]["meta"]["versionId"], "2", "{visit}");
    assert!(punte.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn routing_keeps_every_byte_and_the_order() -> Result<()> {
    let (sink, _home, punte, mut sender) = routed().await?;
    let mut sent = vec![];
    for number in 0..200 {
        // Odd but legal: a Z segment, escapes, trailing delimiters, letters beyond ASCII.
        let text = format!(
            "{}ZZZ|{number}|ă\\T\\ș|||\r",
            scenes::register(&format!("R{number}"), "P-1", "Pop")
        );
        sent.push(text.clone().into_bytes());
        assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    }
    eventually("200 arrive", SOON, async || {
        (200 <= sink.received().len()).then_some(())
    })
    .await;
    assert!(
        sink.received() == sent,
        "what arrived is not what was sent, byte for byte and in order"
    );
    becomes(&punte, "R199", &["sent"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_another_message_is_nobodys() -> Result<()> {
    let (sink, _home, punte, mut sender) = routed().await?;
    sink.behave(Manner::AnotherFirst);
    sender
        .ask(scenes::register("A1", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "A1", &["sent"]).await;
    assert_eq!(
        sink.received().len(),
        1,
        "the right answer came behind the wrong one"
    );
    sink.behave(Manner::AnotherOnly);
    sender
        .ask(scenes::register("A2", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "A2", &["unsure", "retrying"]).await;
    sink.behave(Manner::Polite);
    becomes(&punte, "A2", &["sent"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_closes_no_delivery() -> Result<()> {
    for manner in [Manner::Silent, Manner::Html, Manner::Close, Manner::Busy] {
        let (sink, _home, punte, mut sender) = routed().await?;
        sink.behave(manner.clone());
        sender
            .ask(scenes::register("H1", "P-1", "Pop").as_bytes())
            .await?;
        sender
            .ask(scenes::register("H2", "P-1", "Pop").as_bytes())
            .await?;
        becomes(&punte, "H1", &["unsure", "retrying"]).await;
        assert_eq!(
            state_of(&punte, "H2").await.as_deref(),
            Some("queued"),
            "{manner:?}: the next one waits"
        );
        sink.behave(Manner::Polite);
        becomes(&punte, "H2", &["sent"]).await;
        assert_eq!(
            state_of(&punte, "H1").await.as_deref(),
            Some("sent"),
            "{manner:?}"
        );
        // By first arrivals in order.
        let ids: Vec<String> = sink
            .received()
            .iter()
            .map(|body| field(body, "MSH", 10))
            .collect();
        let first = |id: &str| ids.iter().position(|known| known == id);
        assert!(first("H1") < first("H2"), "{manner:?}: {ids:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_never_belongs_to_the_next() -> Result<()> {
    let (sink, _home, punte, mut sender) = routed().await?;
    // Later than the reply_timeout of a second.
    sink.behave(Manner::Late(Duration::from_millis(1500)));
    sender
        .ask(scenes::register("L1", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "L1", &["unsure", "retrying"]).await;
    sink.behave(Manner::Refuse);
    becomes(&punte, "L1", &["held"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_held_and_the_queue_waits() -> Result<()> {
    let (sink, home, punte, mut sender) = routed().await?;
    sink.behave(Manner::Refuse);
    sender
        .ask(scenes::register("X1", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "X1", &["held"]).await;
    sink.behave(Manner::Polite);
    sender
        .ask(scenes::register("X2", "P-1", "Pop").as_bytes())
        .await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(state_of(&punte, "X2").await.as_deref(), Some("queued"));
    assert_eq!(
        sink.received().len(),
        1,
        "a refused delivery is not repeated blindly"
    );
    let shown = home.run(&["messages", "--state", "held"])?;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("X1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_channel_says_dead_the_next_goes() -> Result<()> {
    let sink = Sink::hl7().await?;
    let channel = format!("{}on_error = \"dead\"\n", scenes::route(sink.address));
    let home = Home::with(&[("route", &channel)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    sink.behave(Manner::Refuse);
    sender
        .ask(scenes::register("D1", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "D1", &["dead"]).await;
    sink.behave(Manner::Polite);
    sender
        .ask(scenes::register("D2", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "D2", &["sent"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_down_gets_everything_when_it_comes_up() -> Result<()> {
    let place = Sink::hl7().await?.address;
    // That sink is gone again: nobody listens there.
    let home = Home::with(&[("route", &scenes::route(place))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    for number in 0..50 {
        let text = scenes::register(&format!("W{number}"), "P-1", "Pop");
        assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    }
    becomes(&punte, "W0", &["retrying"]).await;
    let sink = Sink::hl7_at(&place.to_string()).await?;
    eventually("50 arrive", SOON, async || {
        (50 <= sink.received().len()).then_some(())
    })
    .await;
    let ids: Vec<String> = sink
        .received()
        .iter()
        .map(|body| field(body, "MSH", 10))
        .collect();
    assert_eq!(
        ids,
        (0..50).map(|number| format!("W{number}")).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fhir_answers_are_judged_as_fhir() -> Result<()> {
    for manner in [Manner::Html, Manner::Busy, Manner::Close] {
        let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
        let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
        let punte = home.serve()?;
        let mut sender = Sender::connect(punte.listens("clinic")).await?;
        portal.behave(manner.clone());
        sender
            .ask(scenes::register("F1", "P-1", "Pop").as_bytes())
            .await?;
        becomes(&punte, "F1", &["unsure", "retrying"]).await;
        portal.behave(Manner::Polite);
        becomes(&punte, "F1", &["sent"]).await;
        let bodies = portal.received();
        assert!(
            bodies.iter().all(|body| *body == bodies[0]),
            "{manner:?}: each try sends the same bytes"
        );
    }
    let (portal, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let home = Home::with(&[("clinic", &scenes::clinic(portal.address, ris.address))])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    portal.behave(Manner::Refuse);
    sender
        .ask(scenes::register("F2", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "F2", &["held"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_and_when_of_a_destination() -> Result<()> {
    let (lab, all) = (Sink::hl7().await?, Sink::hl7().await?);
    let channel = format!(
        "id = \"fan\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nfilter = {{ \"MSH-9\" = [\"ADT\", \"ORU^R01\"] }}\n[[destination]]\nname = \"lab\"\nwhen = {{ \"MSH-9\" = \"ORU^R01\" }}\nstep = [{{ set = {{ \"MSH-5\" = \"LAB\", \"PID-8\" = {{ clear = true }}, \"PID-18\" = {{ copy = \"PID-3.1\" }} }} }}]\nmllp.connect = \"{}\"\n[[destination]]\nname = \"all\"\nmllp.connect = \"{}\"\n",
        lab.address, all.address
    );
    let home = Home::with(&[("fan", &channel)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("fan")).await?;
    let adt = scenes::register("S1", "P-1", "Pop");
    let oru = scenes::result("S2", "P-1", "C-1", "5.40");
    let siu = scenes::booking("S3", "AP-1", "P-1", "20260520140000", "20260520142000");
    for text in [&adt, &oru, &siu] {
        assert_eq!(field(&sender.ask(text.as_bytes()).await?, "MSA", 1), "AA");
    }
    eventually("three deliveries", SOON, async || {
        (lab.received().len() + all.received().len() == 3).then_some(())
    })
    .await;
    assert_eq!(all.received(), vec![adt.into_bytes(), oru.clone().into_bytes()]);
    let changed = String::from_utf8(lab.received()[0].clone())?;
    let expected = oru
        .replace("|PUNTE|", "|LAB|")
        .replace("||19800514|F\r", "||19800514|\"\"||||||||||P-1\r");
    assert_eq!(changed, expected);
    assert_eq!(punte.messages("&state=filtered").await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_a_new_message_with_a_link() -> Result<()> {
    let (sink, home, punte, mut sender) = routed().await?;
    sender
        .ask(scenes::register("P1", "P-1", "Pop").as_bytes())
        .await?;
    becomes(&punte, "P1", &["sent"]).await;
    let first = punte.messages("").await?[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let output = home.run(&["messages", "replay", &first])?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eventually("two arrive", SOON, async || {
        (2 <= sink.received().len()).then_some(())
    })
    .await;
    let rows = punte.messages("").await?;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["replay_of"], first.as_str());
    let output = home.run(&["messages", "replay", &first, "--to", "nobody"])?;
    assert!(!output.status.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fhir_goes_resource_by_resource_where_the_server_has_no_transactions() -> Result<()> {
    let (server, ris) = (Sink::fhir().await?, Sink::hl7().await?);
    let channel =
        scenes::clinic(server.address, ris.address).replace("/fhir\" }", "/fhir\", as = \"resources\" }");
    let home = Home::with(&[("clinic", &channel)])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("clinic")).await?;
    sender
        .ask(scenes::result("RR1", "P-1", "C-1", "5.40").as_bytes())
        .await?;
    eventually("all is sent", SOON, async || {
        let rows = punte.messages("&control_id=RR1").await.ok()?;
        let states = rows.first()?["deliveries"].as_array()?.clone();
        states
            .iter()
            .all(|delivery| delivery["state"] == "sent")
            .then_some(())
    })
    .await;
    let bodies = server.texts();
    let kinds: Vec<String> = bodies
        .iter()
        .filter_map(|body| serde_json::from_str::<serde_json::Value>(body).ok())
        .filter_map(|body| body["resourceType"].as_str().map(str::to_owned))
        .collect();
    for kind in ["Patient", "ServiceRequest", "DiagnosticReport", "Observation"] {
        assert!(
            kinds.iter().any(|known| known == kind),
            "{kind} was not sent: {kinds:?}"
        );
    }
    assert!(!kinds.iter().any(|kind| kind == "Bundle"));
    crate::python::assert_valid_fhir(&bodies)
}

#[tokio::test(flavor = "multi_thread")]
async fn hl7_over_http_in_and_out() -> Result<()> {
    let receiver = Sink::fhir().await?;
    let channel = format!(
        "id = \"web\"\n[source]\nformat = \"hl7v2\"\nhttp = {{ listen = \"127.0.0.1:0\", path = \"/hl7\" }}\n[[destination]]\nname = \"far\"\nformat = \"bytes\"\nhttp = {{ url = \"http://{}/in\" }}\n",
        receiver.address
    );
    let home = Home::with(&[("web", &channel)])?;
    let punte = home.serve()?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()?;
    let url = format!("http://{}/hl7", punte.listens("web"));
    let text = scenes::register("WEB1", "P-1", "Pop");
    let answer = client
        .post(&url)
        .header("content-type", "application/hl7-v2")
        .body(text.clone())
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(field(&answer.bytes().await?, "MSA", 1), "AA");
    eventually("it arrives", SOON, async || {
        (receiver.received() == vec![text.clone().into_bytes()]).then_some(())
    })
    .await;
    becomes(&punte, "WEB1", &["sent"]).await;
    let bad = client.post(&url).body("no hl7 at all").send().await?;
    assert_eq!(bad.status(), 422);
    assert_eq!(client.get(&url).send().await?.status(), 405);
    assert_eq!(punte.messages("&state=failed").await?.len(), 1);
    Ok(())
}

/// Known engines flood a receiver with copies once an acknowledgement has timed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_always_late_gets_no_flood_and_no_answer_goes_astray() -> Result<()> {
    let late = |to: std::net::SocketAddr, retry: &str| {
        format!(
            "id = \"route\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{to}\", reply_timeout = \"300ms\" }}\nretry = {{ {retry} }}\n"
        )
    };
    // Later than the time-out, and there by the next try: each message once.
    // Later than several tries: some copies, and it ends.
    for (pause, retry, most) in [
        (600, "first = \"1s\", max = \"1s\"", 1),
        (1500, "first = \"300ms\", max = \"300ms\"", 5),
    ] {
        let sink = Sink::hl7().await?;
        sink.behave(Manner::Late(Duration::from_millis(pause)));
        let home = Home::with(&[("route", &late(sink.address, retry))])?;
        let punte = home.serve()?;
        let mut sender = Sender::connect(punte.listens("route")).await?;
        let ids: Vec<String> = (0..4).map(|n| format!("L{pause}-{n}")).collect();
        for id in &ids {
            sender.ask(scenes::register(id, "P-1", "Pop").as_bytes()).await?;
        }
        for id in &ids {
            becomes(&punte, id, &["sent"]).await;
        }
        let came: Vec<String> = sink
            .received()
            .iter()
            .map(|body| field(body, "MSH", 10))
            .collect();
        println!(
            "{pause} ms late: {} arrivals of {} messages",
            came.len(),
            ids.len()
        );
        for id in &ids {
            let copies = came.iter().filter(|known| *known == id).count();
            assert!((1..=most).contains(&copies), "{id} came {copies} times: {came:?}");
        }
        // One behind the other all the same: no answer to one has let the next go early.
        let mut order = came.clone();
        order.dedup();
        assert_eq!(order, ids, "{came:?}");
        for id in &ids {
            let rows = punte.messages(&format!("&control_id={id}")).await?;
            let message = rows[0]["id"].as_str().unwrap_or_default().to_owned();
            let shown = home.json(&["messages", "show", &message, "--json"])?;
            let answer = shown["deliveries"][0]["attempt_list"]
                .as_array()
                .and_then(|all| all.last());
            let answer = answer
                .map(|last| last["response"].to_string())
                .unwrap_or_default();
            assert!(
                answer.contains(&format!("MSA|AA|{id}")),
                "the answer of {id}: {answer}"
            );
        }
    }
    Ok(())
}

/// Results are flushed together, so that the order is not bound to one flush a message: what a kill takes with it is a
/// tail, which comes once more, in order, with the same control ids.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_repeats_at_most_the_unflushed_tail_in_order() -> Result<()> {
    const MESSAGES: usize = 1_500;
    let sink = Sink::hl7().await?;
    sink.behave(Manner::Busy);
    let home = Home::with(&[("route", &scenes::route(sink.address))])?;
    let mut punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("route")).await?;
    let ids: Vec<String> = (0..MESSAGES).map(|n| format!("T{n}")).collect();
    for some in ids.chunks(100) {
        for id in some {
            sender.tell(scenes::register(id, "P-1", "Pop").as_bytes()).await?;
        }
        for _ in some {
            assert_eq!(field(&sender.answer().await?, "MSA", 1), "AA");
        }
    }
    drop(sender);
    let busy = sink.received().len();
    sink.behave(Manner::Polite);
    let mut longest = 0;
    let mut next = 0;
    let mut read = busy;
    for kill in 1..=5 {
        eventually("some more arrive", SOON, async || {
            (busy + kill * 150 <= sink.received().len()).then_some(())
        })
        .await;
        punte.kill();
        punte = home.serve()?;
        let came: Vec<String> = sink
            .received_from(read)
            .iter()
            .map(|body| field(body, "MSH", 10))
            .collect();
        read += came.len();
        for id in came {
            let place = ids.iter().position(|known| *known == id).unwrap_or(MESSAGES);
            assert!(place <= next, "{id} came before the one before it");
            if place < next {
                // The tail begins anew.
                longest = longest.max(next - place);
            }
            next = place + 1;
        }
    }
    eventually("all arrive", SOON, async || {
        let came = sink.received_from(read);
        let last = came.last().map(|body| field(body, "MSH", 10));
        (last.as_ref() == ids.last()).then_some(())
    })
    .await;
    for body in sink.received_from(read) {
        let id = field(&body, "MSH", 10);
        let place = ids.iter().position(|known| *known == id).unwrap_or(MESSAGES);
        assert!(place <= next, "{id} came before the one before it");
        longest = longest.max(next - place);
        next = place + 1;
    }
    println!("the longest tail that came twice: {longest}");
    assert_eq!(next, MESSAGES);
    assert!(longest <= 257, "{longest} came twice");
    Ok(())
}
