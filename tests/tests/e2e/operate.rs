//! Channels that are started, stopped, paused and reloaded while they work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::eventually;
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::{Manner, Sink};

use crate::scenes::{control_ids, message};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(90);

/// A channel that routes to two, with a mark in MSH-6.
fn router(listen: &str, mark: &str, first: &str, ris: &Sink, lis: &Sink) -> String {
    format!(
        r#"
id = "adt"
source.mllp.listen = "{listen}"
[[step]]
set = {{ "MSH-6" = "{mark}" }}
[[destination]]
name = "ris"
mllp.connect = "{}"
retry = {{ first = "{first}", max = "5s" }}
[[destination]]
name = "lis"
mllp.connect = "{}"
"#,
        ris.address, lis.address
    )
}

async fn post(punte: &Punte, path: &str, body: Value) -> Result<(u16, Value)> {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("http://{}{path}", punte.http))
        .bearer_auth(&punte.key)
        .body(body.to_string())
        .send()
        .await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// A port that is free just now, for channels whose address has to stay the same.
fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

fn text(output: &std::process::Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_pauses_or_stops_stays_so_over_a_restart() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let listen = free_address()?;
    let home = Home::with(&[("adt", &router(&listen, "A", "100ms", &ris, &lis))])?;
    let punte = home.serve()?;
    let paused = home.run(&[
        "channels",
        "pause",
        "adt/ris",
        "--reason",
        "the RIS is being updated",
    ])?;
    assert!(paused.status.success(), "{}", text(&paused));

    let mut sender = Sender::connect(listen.parse()?).await?;
    for number in 0..5 {
        let answer = sender.ask(message(&format!("A{number}")).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA");
    }
    eventually("the other destination goes on", LONG, async || {
        (lis.received().len() == 5).then_some(())
    })
    .await;
    assert!(ris.received().is_empty(), "nothing goes to what is paused");

    punte.stop()?;
    let punte = home.serve()?;
    let list = text(&home.run(&["channels"])?);
    assert!(list.contains("adt/ris paused since"), "{list}");
    assert!(
        list.contains("local") && list.contains(": the RIS is being updated"),
        "{list}"
    );
    assert!(ris.received().is_empty(), "a restart does not start it");

    // Stopped: nothing comes in; and the destination can't be started alone.
    assert!(home.run(&["channels", "stop", "adt"])?.status.success());
    assert!(
        Sender::connect(listen.parse()?).await.is_err(),
        "its listener is closed"
    );
    let alone = home.run(&["channels", "start", "adt/ris"])?;
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        text(&alone).contains("the channel \"adt\" itself is stopped"),
        "{}",
        text(&alone)
    );
    punte.stop()?;
    let punte = home.serve()?;
    assert!(
        Sender::connect(listen.parse()?).await.is_err(),
        "a restart does not open it"
    );

    assert!(home.run(&["channels", "start", "adt"])?.status.success());
    let mut sender = Sender::connect(listen.parse()?).await?;
    sender.ask(message("A5").as_bytes()).await?;
    assert!(ris.received().is_empty(), "ris is still paused by itself");
    assert!(home.run(&["channels", "start", "adt/ris"])?.status.success());
    eventually("all of it, in order", LONG, async || {
        (control_ids(&ris) == ["A0", "A1", "A2", "A3", "A4", "A5"]).then_some(())
    })
    .await;
    let again = home.run(&["channels", "start", "adt/ris"])?;
    assert!(text(&again).contains("is running already"), "{}", text(&again));
    let unknown = home.run(&["channels", "pause", "atd"])?;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        text(&unknown).contains("did you mean \"adt\"?"),
        "{}",
        text(&unknown)
    );
    let unknown = home.run(&["channels", "pause", "adt/riss"])?;
    assert!(
        text(&unknown).contains("did you mean \"ris\"?"),
        "{}",
        text(&unknown)
    );
    punte.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_channel_stores_what_comes_and_sends_it_in_order_when_started() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let home = Home::with(&[("adt", &router("127.0.0.1:0", "A", "100ms", &ris, &lis))])?;
    let punte = home.serve()?;
    // A try that is under way when the pause comes ends by itself, however long it takes.
    ris.behave(Manner::Late(Duration::from_millis(1500)));
    let mut sender = Sender::connect(punte.listens("adt")).await?;
    sender.ask(message("B0").as_bytes()).await?;
    eventually("B0 is under way", LONG, async || {
        (ris.received().len() == 1).then_some(())
    })
    .await;
    let (status, _) = post(&punte, "/admin/channels/adt/pause", json!({})).await?;
    assert_eq!(status, 200);
    for number in 1..20 {
        let answer = sender.ask(message(&format!("B{number}")).as_bytes()).await?;
        assert_eq!(field(&answer, "MSA", 1), "AA", "what comes in is taken");
    }
    let (_, started) = post(&punte, "/admin/channels/adt/start", json!({})).await?;
    assert_eq!(started["changed"], true);
    ris.behave(Manner::Polite);
    let expected: Vec<String> = (0..20).map(|number| format!("B{number}")).collect();
    eventually("each once, in order", LONG, async || {
        (control_ids(&ris).len() >= 20 && control_ids(&lis).len() >= 20).then_some(())
    })
    .await;
    assert_eq!(control_ids(&ris), expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_one_wrong_file_changes_nothing_and_says_what_check_says() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let listen = free_address()?;
    let home = Home::with(&[("adt", &router(&listen, "A", "100ms", &ris, &lis))])?;
    let _punte = home.serve()?;
    home.channel("adt", &router(&listen, "B", "100ms", &ris, &lis))?;
    home.channel("wrong", "id = \"wrong\"\nsource.mlp.listen = \"127.0.0.1:0\"\n")?;
    let reload = home.run(&["reload"])?;
    assert_eq!(reload.status.code(), Some(1));
    let check = home.run(&["check"])?;
    let said = text(&reload);
    let first = text(&check).lines().next().unwrap_or_default().to_owned();
    assert!(
        first.contains("source.mlp") && said.contains(&first),
        "{said}\n{first}"
    );
    let mut sender = Sender::connect(listen.parse()?).await?;
    sender.ask(message("C0").as_bytes()).await?;
    eventually("by the old steps", LONG, async || {
        ris.received()
            .first()
            .map(|body| assert_eq!(field(body, "MSH", 6), "A"))
    })
    .await;

    // An address that is taken: also nothing changes, and the old one goes on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    std::fs::remove_file(home.path().join("channels/wrong.toml"))?;
    home.channel(
        "adt",
        &router(&taken.local_addr()?.to_string(), "B", "100ms", &ris, &lis),
    )?;
    let reload = home.run(&["reload"])?;
    assert_eq!(reload.status.code(), Some(1), "{}", text(&reload));
    assert!(text(&reload).contains("source.mllp"), "{}", text(&reload));
    let mut sender = Sender::connect(listen.parse()?).await?;
    sender.ask(message("C1").as_bytes()).await?;
    eventually("by the old steps again", LONG, async || {
        ris.received()
            .get(1)
            .map(|body| assert_eq!(field(body, "MSH", 6), "A"))
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_swaps_starts_and_ends_channels_and_an_open_connection_goes_on() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let (one, two) = (free_address()?, free_address()?);
    let other = |id: &str, listen: &str| {
        format!(
            "id = \"{id}\"\nsource.mllp.listen = \"{listen}\"\n[[destination]]\nname = \"lis\"\nmllp.connect = \"{}\"\n",
            lis.address
        )
    };
    let home = Home::with(&[
        ("adt", &router(&one, "A", "100ms", &ris, &lis)),
        ("old", &other("old", &two)),
    ])?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(one.parse()?).await?;
    sender.ask(message("D0").as_bytes()).await?;

    home.channel("adt", &router(&one, "B", "100ms", &ris, &lis))?;
    std::fs::remove_file(home.path().join("channels/old.toml"))?;
    // The new one takes over the address of the one that ends.
    home.channel("new", &other("new", &two))?;
    let reload = home.run(&["reload"])?;
    let said = text(&reload);
    assert!(reload.status.success(), "{said}");
    assert!(said.contains("changed adt; new new; ended old"), "{said}");
    let answer = sender.ask(message("D1").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA", "the same connection goes on");
    let marks = eventually("both", LONG, async || {
        let marks: Vec<String> = ris.received().iter().map(|body| field(body, "MSH", 6)).collect();
        (marks.len() == 2).then_some(marks)
    })
    .await;
    assert_eq!(
        marks,
        ["A", "B"],
        "the first by the old steps, the next by the new"
    );
    let mut sender = Sender::connect(two.parse()?).await?;
    sender.ask(message("D2").as_bytes()).await?;
    let channels = punte.get("/admin/channels").await?.1;
    let ids: Vec<&str> = channels["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["id"].as_str())
        .collect();
    assert_eq!(ids, ["adt", "new", "write-door"]);

    // Two channels change places.
    home.channel("adt", &router(&two, "B", "100ms", &ris, &lis))?;
    home.channel("new", &other("new", &one))?;
    let reload = home.run(&["reload"])?;
    assert!(reload.status.success(), "{}", text(&reload));
    let mut sender = Sender::connect(two.parse()?).await?;
    sender.ask(message("D3").as_bytes()).await?;
    eventually("by its new address", LONG, async || {
        control_ids(&ris).contains(&"D3".to_owned()).then_some(())
    })
    .await;

    // A destination that goes leaves its queue; it is said, and goes on when the destination is back.
    assert!(home.run(&["channels", "pause", "new/lis"])?.status.success());
    let mut sender = Sender::connect(one.parse()?).await?;
    sender.ask(message("D4").as_bytes()).await?;
    home.channel("new", &format!("id = \"new\"\nsource.mllp.listen = \"{one}\"\n"))?;
    let said = text(&home.run(&["reload"])?);
    assert!(
        said.contains("1 delivery waits for new/lis, which is not there any more"),
        "{said}"
    );
    home.channel("new", &other("new", &one))?;
    home.run(&["reload"])?;
    assert!(home.run(&["channels", "start", "new/lis"])?.status.success());
    eventually("what waited goes", LONG, async || {
        control_ids(&lis).contains(&"D4".to_owned()).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_operates_channels() -> Result<()> {
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let home = Home::with(&[("adt", &router("127.0.0.1:0", "A", "100ms", &ris, &lis))])?;
    let punte = home.serve()?;
    let key = |scope: &str| -> Result<String> {
        let made = home.json(&["key", "add", &scope.replace(':', "-"), "--scope", scope, "--json"])?;
        Ok(made["key"].as_str().context("a key")?.to_owned())
    };
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (scope, status) in [("messages:read", 403), ("channels:admin", 200)] {
        let key = key(scope)?;
        for path in ["channels/adt/pause", "channels/adt/start", "reload"] {
            let url = format!("http://{}/admin/{path}", punte.http);
            let answer = client.post(url).bearer_auth(&key).send().await?;
            assert_eq!(answer.status().as_u16(), status, "{scope} {path}");
        }
    }
    Ok(())
}

/// Messages of each sender, and the pause between two reloads: few and none, unless `PUNTE_LOAD` says how many. The long
/// form leaves the processors to the messages, to see the rate: with the release build,
/// `PUNTE_BIN=target/release/punte PUNTE_LOAD=5000`.
fn load() -> (usize, std::time::Duration) {
    let said = std::env::var("PUNTE_LOAD")
        .ok()
        .and_then(|said| said.parse().ok());
    said.map_or((600, std::time::Duration::ZERO), |each| {
        (each, std::time::Duration::from_millis(250))
    })
}

/// Senders at full speed; meanwhile the channel is reloaded, paused and started, and messages are replayed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_out_of_order_under_reload_pause_and_replay() -> Result<()> {
    const SENDERS: usize = 8;
    let (each, breath) = load();
    let (ris, lis) = (Sink::hl7().await?, Sink::hl7().await?);
    let listen = free_address()?;
    let home = Arc::new(Home::with(&[("adt", &router(&listen, "A", "1s", &ris, &lis))])?);
    let punte = Arc::new(home.serve()?);
    let over = Arc::new(AtomicBool::new(false));

    let began = std::time::Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..SENDERS {
        let to = listen.parse()?;
        senders.spawn(async move {
            let mut sender = Sender::connect(to).await?;
            // Eight are sent before the first answer is read: the order of a connection is that of its frames.
            let mut asked = 0;
            for answered in 0..each {
                while asked < each && asked < answered + 8 {
                    sender
                        .tell(message(&format!("S{number}-{asked}")).as_bytes())
                        .await?;
                    asked += 1;
                }
                let answer = sender.answer().await?;
                if field(&answer, "MSA", 1) != "AA"
                    || field(&answer, "MSA", 2) != format!("S{number}-{answered}")
                {
                    bail!("S{number}-{answered}: {}", String::from_utf8_lossy(&answer));
                }
            }
            Ok(())
        });
    }

    let (reloads, pauses, replays) = {
        let reloading = {
            let (punte, home, over, listen) = (punte.clone(), home.clone(), over.clone(), listen.clone());
            let texts: Vec<String> = [("A", "1s"), ("B", "1s"), ("B", "2s"), ("A", "2s")]
                .into_iter()
                .map(|(mark, first)| router(&listen, mark, first, &ris, &lis))
                .collect();
            tokio::spawn(async move {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) || count < 4 {
                    home.channel("adt", &texts[count % texts.len()])?;
                    let (status, value) = post(&punte, "/admin/reload", json!({})).await?;
                    if status != 200 || value["problems"] != json!([]) {
                        bail!("{status} {value}");
                    }
                    count += 1;
                    tokio::time::sleep(breath).await;
                }
                Ok(count)
            })
        };
        let pausing = {
            let (punte, over) = (punte.clone(), over.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) || count < 4 {
                    let end = [json!({ "destination": "ris" }), json!({})][count % 2].clone();
                    for verb in ["pause", "start"] {
                        let (status, value) =
                            post(&punte, &format!("/admin/channels/adt/{verb}"), end.clone()).await?;
                        if status != 200 {
                            bail!("{verb}: {status} {value}");
                        }
                    }
                    count += 1;
                    tokio::time::sleep(breath).await;
                }
                anyhow::Ok(count)
            })
        };
        let replaying = {
            let (punte, over) = (punte.clone(), over.clone());
            tokio::spawn(async move {
                let mut replayed: BTreeMap<String, usize> = BTreeMap::new();
                while !over.load(Ordering::Relaxed) || replayed.is_empty() {
                    let (_, list) = punte.get("/admin/messages?limit=5").await?;
                    for row in list["messages"].as_array().into_iter().flatten() {
                        let (id, control_id) = (row["id"].as_str(), row["control_id"].as_str());
                        let (id, control_id) = (id.context("an id")?, control_id.context("a control id")?);
                        let (status, value) = post(
                            &punte,
                            &format!("/admin/messages/{id}/replay"),
                            json!({ "to": ["lis"] }),
                        )
                        .await?;
                        if status != 200 {
                            bail!("{status} {value}");
                        }
                        *replayed.entry(control_id.to_owned()).or_default() += 1;
                    }
                    tokio::time::sleep(breath).await;
                }
                Ok(replayed)
            })
        };
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        over.store(true, Ordering::Relaxed);
        (reloading.await??, pausing.await??, replaying.await??)
    };
    let took = began.elapsed();
    let replayed: usize = replays.values().sum();
    println!(
        "{} messages in {took:?} ({:.0} a second), {reloads} reloads, {pauses} pauses, {replayed} replays",
        SENDERS * each,
        (SENDERS * each) as f64 / took.as_secs_f64(),
    );

    let all_sent = async || {
        let (_, value) = punte.get("/admin/channels").await.ok()?;
        let queues = &value["channels"][0]["queues"];
        let waits = queues.as_object()?.values().any(|states| {
            states
                .as_object()
                .is_some_and(|states| states.values().any(|count| count != 0))
        });
        (!waits).then_some(())
    };
    eventually("all queues are empty", LONG, all_sent).await;
    for (sink, name) in [(&ris, "ris"), (&lis, "lis")] {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for control_id in control_ids(sink) {
            let times = seen.entry(control_id.clone()).or_default();
            *times += 1;
            if *times == 1 {
                let (sender, number) = control_id[1..].split_once('-').context("a number")?;
                let (sender, number) = (sender.parse()?, number.parse::<usize>()?);
                let expected = last.get(&sender).map_or(0, |last| last + 1);
                assert_eq!(number, expected, "{name}: out of order or lost, sender {sender}");
                last.insert(sender, number);
            }
        }
        assert_eq!(seen.len(), SENDERS * each, "{name}: each one came");
        for (control_id, times) in seen {
            let again = if name == "lis" {
                replays.get(&control_id).copied().unwrap_or(0)
            } else {
                0
            };
            assert_eq!(times, 1 + again, "{name}: {control_id}");
        }
    }
    Ok(())
}
