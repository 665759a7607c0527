//! What scripts keep from one message for the next: counters and caches.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use tokio::sync::watch;

use crate::scenes;
use crate::scripts::{channel, newest, script, until};

/// Writes the number into MSH-13, for each message that is not to fail or end.
const NUMBERED: &str = "export default function (message, context) {\n  const number = context.counter('sample').next();\n  message.set('MSH-13', number);\n  const family = message.get('PID-5.1');\n  if (family === 'Fails') context.fail('not this one', 'PID-5');\n  if (family === 'Ends') return false;\n}\n";

/// The numbers that a receiver got, by control id; each id once.
fn numbers(sink: &Sink) -> BTreeMap<String, u64> {
    let received = sink.received();
    let mut found = BTreeMap::new();
    for body in &received {
        let (id, number) = (field(body, "MSH", 10), field(body, "MSH", 13).parse());
        let number = number.unwrap_or_default();
        // A delivery may come twice after a kill: then with the same bytes.
        let before = found.insert(id.clone(), number);
        assert!(
            before.is_none_or(|before| before == number),
            "{id}: {before:?} {number}"
        );
    }
    found
}

#[track_caller]
fn without_gap(numbers: &BTreeMap<String, u64>) {
    let mut sorted: Vec<u64> = numbers.values().copied().collect();
    sorted.sort_unstable();
    let expected: Vec<u64> = (1..=sorted.len() as u64).collect();
    assert_eq!(sorted, expected, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_gets_a_number_of_its_own_and_none_is_left_out() -> Result<()> {
    let sink = Sink::hl7().await?;
    let text = format!("{}\n[counter.sample]\n", channel("numbered", "", sink.address));
    let home = Home::with(&[("numbered", &text)])?;
    script(&home, "numbered.js", NUMBERED)?;

    // Tried, nothing moves.
    let file = home.path().join("one.hl7");
    std::fs::write(&file, scenes::register("T", "P-1", "Pop"))?;
    for _ in 0..2 {
        let tried = home.json(&["try", "numbered", &file.display().to_string(), "--json"])?;
        let shown = tried["steps"][0]["shows"].as_str().unwrap_or_default().to_owned();
        assert_eq!(field(shown.as_bytes(), "MSH", 13), "1", "{tried}");
    }

    let punte = home.serve()?;
    let mut senders = vec![];
    for sender in 0..8 {
        let address = punte.listens("numbered");
        senders.push(tokio::spawn(async move {
            let mut connection = Sender::connect(address).await?;
            for number in 0..20 {
                // Those that fail or end here take no number with them.
                let (family, told) = match number % 5 {
                    3 => ("Fails", "AE"),
                    4 => ("Ends", "AA"),
                    _ => ("Pop", "AA"),
                };
                let body = scenes::register(&format!("{sender}-{number}"), "P-1", family);
                let answer = connection.ask(body.as_bytes()).await?;
                ensure!(
                    field(&answer, "MSA", 1) == told,
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                // The same message again is known, and takes none either.
                let answer = connection.ask(body.as_bytes()).await?;
                ensure!(field(&answer, "MSA", 1) == told, "a repeat");
            }
            Ok(())
        }));
    }
    for sender in senders {
        sender.await??;
    }
    until("all are delivered", || Ok(96 <= sink.received().len())).await?;
    let given = numbers(&sink);
    assert_eq!(given.len(), 96);
    without_gap(&given);

    // By replay it is a new message: the next number.
    let message = punte.messages("&state=routed").await?;
    let id = message[0]["id"].as_str().context("an id")?.to_owned();
    let output = home.run(&["messages", "replay", &id])?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    until("the replay is delivered", || Ok(97 <= sink.received().len())).await?;
    let last = sink.received();
    assert_eq!(field(&last[96], "MSH", 13), "97");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_burns_a_number_or_gives_one_twice() -> Result<()> {
    let sink = Sink::hl7().await?;
    let text = format!("{}\n[counter.sample]\n", channel("numbered", "", sink.address));
    let home = Home::with(&[("numbered", &text)])?;
    script(&home, "numbered.js", NUMBERED)?;
    let mut punte = home.serve()?;
    let (address, addresses) = watch::channel(punte.listens("numbered"));
    let (over, ends) = watch::channel(false);
    let mut senders = vec![];
    for sender in 0..4 {
        let (mut addresses, ends) = (addresses.clone(), ends.clone());
        senders.push(tokio::spawn(async move {
            let mut count = 0u32;
            while !*ends.borrow() {
                let body = scenes::register(&format!("K{sender}-{count}"), "P-1", "Pop");
                // Until it is acknowledged, on a new connection after each break.
                loop {
                    let to = *addresses.borrow_and_update();
                    let answer = match Sender::connect(to).await {
                        Ok(mut connection) => connection.ask(body.as_bytes()).await,
                        Err(error) => Err(error),
                    };
                    match answer {
                        Ok(answer) if field(&answer, "MSA", 1) == "AA" => break,
                        Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
                count += 1;
            }
            count
        }));
    }
    for _ in 0..5 {
        let before = sink.received().len();
        until("messages flow", || Ok(before + 10 <= sink.received().len())).await?;
        punte.kill();
        punte = home.serve()?;
        address.send(punte.listens("numbered"))?;
    }
    over.send(true)?;
    let mut sent = 0;
    for sender in senders {
        sent += sender.await? as usize;
    }
    until("all are delivered", || Ok(numbers(&sink).len() == sent)).await?;
    without_gap(&numbers(&sink));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_counter_is_one_for_all_and_begins_again_after_its_last() -> Result<()> {
    let sink = Sink::hl7().await?;
    let declared = "\n[counter.sample]\nshared = true\nfirst = 5\nlast = 8\n";
    let one = format!("{}{declared}", channel("one", "", sink.address));
    let other = format!("{}{declared}", channel("other", "", sink.address));
    let own = format!(
        "{}\n[counter.sample]\nfirst = 5\n",
        channel("own", "", sink.address)
    );
    let home = Home::with(&[("one", &one), ("other", &other), ("own", &own)])?;
    for name in ["one.js", "other.js", "own.js"] {
        script(&home, name, NUMBERED)?;
    }
    let punte = home.serve()?;
    let given = async |id: &str, channel: &str| -> Result<String> {
        let mut sender = Sender::connect(punte.listens(channel)).await?;
        let answer = sender.ask(scenes::register(id, "P-1", "Pop").as_bytes()).await?;
        ensure!(
            field(&answer, "MSA", 1) == "AA",
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let mut number = String::new();
        until("it is delivered", || {
            let received = sink.received();
            let found = received.iter().find(|body| field(body, "MSH", 10) == id);
            number = found.map(|body| field(body, "MSH", 13)).unwrap_or_default();
            Ok(found.is_some())
        })
        .await?;
        Ok(number)
    };
    let mut seen = vec![];
    for (idx, name) in ["one", "other", "own", "one", "other", "own", "one", "other"]
        .iter()
        .enumerate()
    {
        seen.push(given(&format!("S{idx}"), name).await?);
    }
    assert_eq!(seen, ["5", "6", "5", "7", "8", "6", "5", "6"]);
    Ok(())
}

/// Notes in a cache what came before: who and how often.
const SEEN: &str = "export default function (message, context) {\n  const cache = context.cache('seen');\n  const key = message.get('PID-3.1');\n  const before = cache.get(key) ?? { times: 0 };\n  cache.set(key, { times: before.times + 1 });\n  message.set('MSH-13', before.times);\n  if (message.get('PID-5.1') === 'Fails') context.fail('not this one', 'PID-5');\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_lives_as_long_as_it_says() -> Result<()> {
    let sink = Sink::hl7().await?;
    let cached = |id: &str, life: &str| {
        let text = channel(id, "", sink.address);
        format!("{text}\n[cache.seen]\nlife = {life}\n")
    };
    let home = Home::with(&[
        ("short", &cached("short", "\"400ms\"")),
        ("long", &cached("long", "\"restart\"")),
        ("few", &cached("few", "{ messages = 2 }")),
    ])?;
    for name in ["short.js", "long.js", "few.js"] {
        script(&home, name, SEEN)?;
    }
    let number = std::cell::Cell::new(0);
    let seen = async |punte: &Punte, channel: &str, chart: &str, family: &str| -> Result<String> {
        let mut sender = Sender::connect(punte.listens(channel)).await?;
        number.set(number.get() + 1);
        let id = format!("C{}", number.get());
        let answer = sender
            .ask(scenes::register(&id, chart, family).as_bytes())
            .await?;
        if field(&answer, "MSA", 1) == "AE" {
            return Ok("failed".to_owned());
        }
        let mut said = String::new();
        until("it is delivered", || {
            let received = sink.received();
            let found = received.iter().find(|body| field(body, "MSH", 10) == id);
            said = found.map(|body| field(body, "MSH", 13)).unwrap_or_default();
            Ok(found.is_some())
        })
        .await?;
        Ok(said)
    };
    let punte = home.serve()?;
    assert_eq!(seen(&punte, "long", "A", "Pop").await?, "0");
    assert_eq!(seen(&punte, "long", "A", "Pop").await?, "1");
    // What fails writes nothing.
    assert_eq!(seen(&punte, "long", "A", "Fails").await?, "failed");
    assert_eq!(seen(&punte, "long", "A", "Pop").await?, "2");
    assert_eq!(seen(&punte, "long", "B", "Pop").await?, "0");
    // A reload that leaves it as it is leaves what is in it.
    script(&home, "long.js", &format!("// the same\n{SEEN}"))?;
    let output = home.run(&["reload"])?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(seen(&punte, "long", "A", "Pop").await?, "3");

    assert_eq!(seen(&punte, "few", "A", "Pop").await?, "0");
    assert_eq!(seen(&punte, "few", "B", "Pop").await?, "0");
    assert_eq!(seen(&punte, "few", "C", "Pop").await?, "0");
    assert_eq!(
        seen(&punte, "few", "A", "Pop").await?,
        "0",
        "two messages came since"
    );
    assert_eq!(seen(&punte, "few", "A", "Pop").await?, "1");

    assert_eq!(seen(&punte, "short", "A", "Pop").await?, "0");
    let begun = std::time::Instant::now();
    while seen(&punte, "short", "A", "Pop").await? != "0" {
        // Each writes anew: only a pause lets it end.
        ensure!(begun.elapsed() < Duration::from_secs(30), "it never ends");
        tokio::time::sleep(Duration::from_millis(450)).await;
    }

    punte.stop()?;
    let punte = home.serve()?;
    assert_eq!(seen(&punte, "long", "A", "Pop").await?, "0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_declared_is_refused() -> Result<()> {
    let text = format!(
        "{}\n[counter.sampel]\n[cache.seen]\nlife = \"10m\"\n",
        channel("numbered", "", "127.0.0.1:9".parse()?)
    );
    let home = Home::with(&[("numbered", &text)])?;
    script(&home, "numbered.js", NUMBERED)?;
    let output = home.run(&["check"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    let told = "numbered.js:2:34 the channel has no counter \"sample\" (there are: sampel); write [counter.sample] in its file";
    assert!(said.contains(told), "{said}");

    // A name that is made while it runs is told then.
    let made = NUMBERED.replace("'sample'", "'sam' + 'ple'");
    script(&home, "numbered.js", &made)?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("numbered")).await?;
    let answer = sender.ask(scenes::register("1", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    let failed = newest(&punte, "numbered").await?;
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("numbered.js:2:") && why.contains("the channel has no counter \"sample\""),
        "{why}"
    );
    Ok(())
}
