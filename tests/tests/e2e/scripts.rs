//! Scripts over the built program: what they do to a message, what they can't do to the rest, and what is said of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use e2e::mllp::{Sender, field};
use e2e::program::{Home, Punte};
use e2e::sink::Sink;
use serde_json::Value;

use crate::scenes;

/// A channel whose only step is a script.
pub(crate) fn channel(id: &str, options: &str, to: std::net::SocketAddr) -> String {
    format!(
        "id = \"{id}\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nscript = \"{id}.js\"\n{options}\n[[destination]]\nname = \"ris\"\nmllp = {{ connect = \"{to}\", reply_timeout = \"5s\" }}\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n"
    )
}

pub(crate) fn script(home: &Home, name: &str, text: &str) -> Result<()> {
    let path = home.path().join("channels").join(name);
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    Ok(std::fs::write(path, text)?)
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds()? {
        if deadline < Instant::now() {
            bail!("it did not come true: {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The worker processes of an engine.
fn workers(engine: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let mut after_name = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let is_alive = after_name.next().is_some_and(|state| state != "Z");
            let parent = after_name.next().and_then(|parent| parent.parse().ok());
            let words = read("cmdline");
            let is_worker = words
                .split(|byte| *byte == 0)
                .any(|word| word == b"script-worker");
            // Whose engine is gone has another parent.
            is_alive && is_worker && (parent == Some(engine) || engine == 0)
        })
        .collect()
}

fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}

fn kill(pid: u32) -> Result<()> {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()?;
    anyhow::ensure!(status.success(), "{pid} could not be killed");
    Ok(())
}

/// How long a process has used a processor, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11);
    ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

pub(crate) async fn newest(punte: &Punte, channel: &str) -> Result<Value> {
    let messages = punte.messages(&format!("&channel={channel}")).await?;
    Ok(messages.first().cloned().unwrap_or(Value::Null))
}

const WARDS: &str = "system,code,system,code,display\nLIS,7,http://clinic.example/wards,W-7,Ward seven\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_script_changes_what_it_names_and_nothing_else() -> Result<()> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[("fix", &channel("fix", "tables = [\"wards.csv\"]", sink.address))])?;
    script(&home, "wards.csv", WARDS)?;
    script(
        &home,
        "lib/units.js",
        "export const unit = (text) => text === 'mg' ? 'mg/dL' : text;\n",
    )?;
    script(
        &home,
        "fix.js",
        "import { unit } from './lib/units.js';\n\
         export default function (message, context) {\n\
           if (message.get('MSH-11.1') === 'T') return false;\n\
           for (const obx of message.segments('OBX')) obx.set(6, unit(obx.get('6.1')));\n\
           const ward = context.lookup('wards.csv', 'LIS', message.get('PV1-3.1'));\n\
           if (!ward) context.fail('no such ward in wards.csv', 'PV1-3.1');\n\
           message.set('PV1-3.1', ward.code);\n\
           console.log('the ward of', message.get('PID-5.1'));\n\
         }\n",
    )?;
    let body = |id: &str, ward: &str, unit: &str| {
        format!(
            "{}PID|1||P-1^^^T^MR||Pop^Ana \\T\\ co|||\"\"\nPV1|1|I|{ward}^2^3||||D1^Dan\rOBX|1|NM|K^^L||5.40|{unit}|3-5|H\rOBX|2|NM|NA||140|mmol/L\rZZZ|odd|^~x\r",
            scenes::msh("ORU^R01^ORU_R01", id)
        )
    };

    // Tried first: each step is shown, and the console too.
    let file = home.path().join("one.hl7");
    std::fs::write(&file, body("1", "7", "mg"))?;
    let tried = home.run(&["try", "fix", &file.display().to_string()])?;
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert!(
        tried.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    assert!(
        said.contains("step[0].script: fix.js") && said.contains("console: the ward of Pop"),
        "{said}"
    );
    assert!(said.contains("PV1|1|I|W-7^2^3"), "{said}");

    // The console of a script that fails, ends a message or takes too long is shown as well.
    for (end, told) in [
        ("throw new Error('no')", "no"),
        ("return false", "filtered"),
        ("for (;;) {}", "takes longer than its limit"),
    ] {
        let lines = format!("export default function () {{\n console.log('so far');\n {end};\n}}\n");
        script(&home, "late.js", &lines)?;
        home.channel(
            "late",
            "id = \"late\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\nscript = \"late.js\"\ntimeout = \"500ms\"\n",
        )?;
        let tried = home.run(&["try", "late", &file.display().to_string()])?;
        let said = String::from_utf8_lossy(&tried.stdout).into_owned();
        assert!(
            said.contains("\n   console: so far\n") && said.contains(told),
            "{end}: {said}"
        );
    }
    std::fs::remove_file(home.path().join("channels/late.toml"))?;

    let punte = home.serve_with(&[("PUNTE_LOG", "debug"), ("PUNTE_TEST_SECRET", "hunter2")])?;
    let mut sender = Sender::connect(punte.listens("fix")).await?;
    let answer = sender.ask(body("1", "7", "mg").as_bytes()).await?;
    assert_eq!(
        field(&answer, "MSA", 1),
        "AA",
        "{}",
        String::from_utf8_lossy(&answer)
    );
    until("the message is delivered", || Ok(!sink.received().is_empty())).await?;
    assert_eq!(sink.texts()[0], body("1", "W-7", "mg/dL"));

    // Filtered, failed: as by any other step.
    let test = body("2", "7", "mg").replacen("|P|2.5.1", "|T|2.5.1", 1);
    assert_eq!(field(&sender.ask(test.as_bytes()).await?, "MSA", 1), "AA");
    assert_eq!(newest(&punte, "fix").await?["state"], "filtered");
    let answer = sender.ask(body("3", "8", "mg").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    let failed = newest(&punte, "fix").await?;
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["failure"]["step"], "step[0].script");
    assert_eq!(failed["failure"]["place"], "PV1-3.1");
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("fix.js:6:") && why.ends_with("no such ward in wards.csv"),
        "{why}"
    );

    // A worker gets nothing of the environment, and what is written to the console stands in no log.
    let pids = workers(punte.id());
    assert!(!pids.is_empty());
    for pid in pids {
        assert_eq!(
            std::fs::read(format!("/proc/{pid}/environ"))?,
            b"",
            "the environment of a worker"
        );
    }
    let log = home.log();
    assert!(
        log.contains("The script wrote to its console.") && !log.contains("Pop"),
        "{log}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_after_the_apply_and_on_the_way_to_a_destination() -> Result<()> {
    let sink = Sink::hl7().await?;
    let other = Sink::hl7().await?;
    let text = format!(
        "id = \"chart\"\nsource.mllp.listen = \"127.0.0.1:0\"\n[[step]]\ndecode = \"hl7v2\"\n[[step]]\nscript = \"chart.js\"\n[[step]]\napply = true\n[[destination]]\nname = \"ris\"\nmllp.connect = \"{}\"\nstep = [{{ script = \"ris.js\" }}]\n[[destination]]\nname = \"plain\"\nmllp.connect = \"{}\"\n",
        sink.address, other.address
    );
    let home = Home::with(&[("chart", &text)])?;
    script(
        &home,
        "chart.js",
        "export default (message, { changes }) => {\n  for (const { say } of changes.changes) {\n    const names = say.Patient?.names;\n    if (names) (names.merge ?? names)[0].family = 'Renamed';\n  }\n};\n",
    )?;
    script(
        &home,
        "ris.js",
        "export default (message, context) => {\n  if (message.get('PID-5.1') === 'Writes') context.changes.about.control_id = 'Y';\n  message.set('MSH-5', 'RIS');\n};\n",
    )?;
    let punte = home.serve()?;
    let mut sender = Sender::connect(punte.listens("chart")).await?;
    let body = scenes::register("1", "P-1", "Pop");
    let answer = sender.ask(body.as_bytes()).await?;
    assert_eq!(
        field(&answer, "MSA", 1),
        "AA",
        "{:?}",
        newest(&punte, "chart").await?
    );
    until("both have it", || {
        Ok(!sink.received().is_empty() && !other.received().is_empty())
    })
    .await?;
    assert_eq!(field(&sink.received()[0], "MSH", 5), "RIS");
    assert_eq!(other.texts()[0], body);
    assert_eq!(punte.search("Patient?family=Renamed").await?.len(), 1);
    assert_eq!(punte.search("Patient?family=Pop").await?.len(), 0);

    // What is applied can't be changed any more.
    let answer = sender
        .ask(scenes::register("2", "P-2", "Writes").as_bytes())
        .await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    let failed = newest(&punte, "chart").await?;
    assert_eq!(failed["failure"]["step"], "destination[0].step[0].script");
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("written to the clinic already"), "{why}");
    Ok(())
}

/// What runs away, mostly inside one native call: nothing but the end of its process stops it there.
const BOMBS: [(&str, &str); 9] = [
    ("join", "new Array(1e9) + ''"),
    (
        "sort",
        "Array.from({ length: 3e6 }, (_, idx) => (idx * 7919) % 3000017).sort()",
    ),
    ("regex", "/^(a|aa)+$/.test('a'.repeat(60) + 'b')"),
    ("bigint", "for (;;) (3n ** 600000n).toString()"),
    (
        "recursion",
        "(function deeper() { return deeper() + deeper(); })()",
    ),
    (
        "allocation",
        "for (const all = [];;) all.push(new Uint8Array(1 << 20))",
    ),
    ("text", "for (let text = 'x';;) text += text"),
    ("loop", "for (;;) ;"),
    ("catching", "for (;;) try { for (;;) ; } catch {}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_away_fails_and_keeps_nobody_waiting() -> Result<()> {
    let sink = Sink::hl7().await?;
    let mut channels = vec![("route".to_owned(), scenes::route(sink.address))];
    channels.push(("good".to_owned(), channel("good", "", sink.address)));
    for (name, _) in BOMBS {
        channels.push((
            name.to_owned(),
            channel(name, "timeout = \"300ms\"", sink.address),
        ));
    }
    let home = Home::with(
        &channels
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect::<Vec<_>>(),
    )?;
    script(
        &home,
        "good.js",
        "export default (message) => { message.set('MSH-5', 'GOOD'); };\n",
    )?;
    for (name, bomb) in BOMBS {
        script(
            &home,
            &format!("{name}.js"),
            &format!("export default function () {{\n  {bomb};\n}}\n"),
        )?;
    }
    let punte = home.serve()?;
    let mut route = Sender::connect(punte.listens("route")).await?;
    let mut good = Sender::connect(punte.listens("good")).await?;
    for (name, _) in BOMBS {
        let mut bomb = Sender::connect(punte.listens(name)).await?;
        bomb.tell(scenes::register("B", "P-1", "Pop").as_bytes()).await?;
        // While it runs away, others are served: with and without scripts.
        let mut during = 0;
        let answer = loop {
            tokio::select! {
                answer = bomb.answer() => break answer.with_context(|| format!("{name} is never answered"))?,
                answer = async {
                    let body = scenes::register(&format!("{name}-{during}"), "P-1", "Pop");
                    good.ask(body.as_bytes()).await?;
                    route.ask(body.as_bytes()).await
                } => {
                    assert_eq!(field(&answer?, "MSA", 1), "AA");
                    during += 1;
                }
            }
        };
        assert_eq!(field(&answer, "MSA", 1), "AE", "{name}");
        let failed = newest(&punte, name).await?;
        assert_eq!(failed["state"], "failed", "{name}");
        let why = failed["failure"]["why"].as_str().unwrap_or_default();
        assert!(why.starts_with(&format!("{name}.js")), "{why}");
        let limits = [
            "takes longer than its limit",
            "takes more memory than its limit",
            "Maximum call stack",
            "invalid",
            "too long",
        ];
        assert!(limits.iter().any(|limit| why.contains(limit)), "{name}: {why}");
        // A select! may have cut one off in the middle.
        route = Sender::connect(punte.listens("route")).await?;
        good = Sender::connect(punte.listens("good")).await?;
        for number in 0..20 {
            let body = scenes::register(&format!("{name}-after-{number}"), "P-1", "Pop");
            assert_eq!(field(&good.ask(body.as_bytes()).await?, "MSA", 1), "AA", "{name}");
            assert_eq!(
                field(&route.ask(body.as_bytes()).await?, "MSA", 1),
                "AA",
                "{name}"
            );
        }
    }
    // None of those that ran away is left.
    let used = || -> Vec<u64> { workers(punte.id()).into_iter().map(ticks).collect() };
    let before = used();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(before, used(), "no worker uses its processor");
    Ok(())
}

const ENDLESS: &str = "export default function () {\n  new Array(1e9) + '';\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_is_replaced() -> Result<()> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[
        (
            "endless",
            &channel("endless", "timeout = \"1m\"\nmemory = \"512 MB\"", sink.address),
        ),
        ("good", &channel("good", "", sink.address)),
    ])?;
    script(&home, "endless.js", ENDLESS)?;
    script(
        &home,
        "good.js",
        "export default (message) => { message.set('MSH-5', 'GOOD'); };\n",
    )?;
    let punte = home.serve()?;
    let idle = workers(punte.id());
    let mut endless = Sender::connect(punte.listens("endless")).await?;
    endless
        .tell(scenes::register("1", "P-1", "Pop").as_bytes())
        .await?;
    // Killed in the middle it is run once more, since it has changed nothing; killed again the message fails.
    let working = |known: &[u32]| -> Option<u32> {
        let is_busy = |pid: &u32| 20 < ticks(*pid);
        workers(punte.id())
            .into_iter()
            .find(|pid| !known.contains(pid) && is_busy(pid))
    };
    let mut killed = vec![];
    for _ in 0..2 {
        let mut found = None;
        until("the script is at work", || {
            found = working(&killed);
            Ok(found.is_some())
        })
        .await?;
        let pid = found.context("a worker")?;
        kill(pid)?;
        killed.push(pid);
    }
    let answer = endless.answer().await?;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    let failed = newest(&punte, "endless").await?;
    let why = failed["failure"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("ended in the middle"), "{why}");

    // One that is killed while it waits is not missed.
    for pid in workers(punte.id()).into_iter().chain(idle) {
        let _ = kill(pid);
    }
    let mut good = Sender::connect(punte.listens("good")).await?;
    let answer = good.ask(scenes::register("2", "P-1", "Pop").as_bytes()).await?;
    assert_eq!(field(&answer, "MSA", 1), "AA");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_outlives_the_engine() -> Result<()> {
    let sink = Sink::hl7().await?;
    let home = Home::with(&[(
        "endless",
        &channel("endless", "timeout = \"1m\"\nmemory = \"512 MB\"", sink.address),
    )])?;
    script(&home, "endless.js", ENDLESS)?;
    let punte = home.serve()?;
    let mut endless = Sender::connect(punte.listens("endless")).await?;
    endless
        .tell(scenes::register("1", "P-1", "Pop").as_bytes())
        .await?;
    let mut pids = vec![];
    until("the script is at work", || {
        pids = workers(punte.id());
        Ok(pids.iter().any(|pid| 20 < ticks(*pid)))
    })
    .await?;
    punte.kill();
    until("no worker is left", || Ok(pids.iter().all(|pid| !is_there(*pid)))).await?;

    // The message was not acknowledged; nothing of it is stored.
    let punte = home.serve()?;
    assert_eq!(punte.messages("").await?.len(), 0);
    Ok(())
}

#[test]
fn check_tells_what_is_wrong_with_scripts() -> Result<()> {
    let secret = tempfile::tempdir()?;
    std::fs::write(secret.path().join("secret.js"), "export default () => {};\n")?;
    let outside: PathBuf = secret.path().join("secret.js");
    for (what, files, line) in [
        (
            "syntax",
            vec![("fix.js", "export default function (message) {\n  let x = ;\n}\n")],
            "fix.js:2:11 SyntaxError",
        ),
        (
            "a missing module",
            vec![(
                "fix.js",
                "import { a } from './lib/a.js';\nexport default () => a;\n",
            )],
            "fix.js:1:19 there is no file",
        ),
        (
            "a fault in a module",
            vec![
                (
                    "fix.js",
                    "import { a } from './lib/a.js';\nexport default () => a;\n",
                ),
                ("lib/a.js", "export const a = 1;\nexport const b = {;\n"),
            ],
            "lib/a.js:2:19 SyntaxError",
        ),
        (
            "out of the folder",
            vec![("fix.js", "import '../up.js';\nexport default () => {};\n")],
            "fix.js:1:8 \"../up.js\" leads out of the channels' folder",
        ),
        ("no file", vec![], "step[0].script  there is no file"),
        (
            "no function",
            vec![("fix.js", "export const a = 1;\n")],
            "fix.js:1:1 there is no default function",
        ),
        (
            "endless at the top",
            vec![("fix.js", "for (;;) ;\n")],
            "takes longer than its limit",
        ),
    ] {
        let home = Home::with(&[("fix", &channel("fix", "", "127.0.0.1:9".parse()?))])?;
        for (name, text) in files {
            script(&home, name, text)?;
        }
        let output = home.run(&["check"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(line), "{what}: {said}");
    }

    // A link that leads out of the folder is no way out.
    #[cfg(unix)]
    {
        let home = Home::with(&[("fix", &channel("fix", "", "127.0.0.1:9".parse()?))])?;
        std::os::unix::fs::symlink(&outside, home.path().join("channels/fix.js"))?;
        let output = home.run(&["check"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("leads out of the channels' folder"), "{said}");
    }
    for (script, options, told) in [
        (
            "../fix.js",
            "",
            "a script lies beside the channel file or in a folder under it",
        ),
        (
            "/etc/fix.js",
            "",
            "a script lies beside the channel file or in a folder under it",
        ),
        ("fix.toml", "", "is no JavaScript file by its name"),
        (
            "fix.js",
            "timeout = \"2h\"",
            "a script has from \"10ms\" to \"1m\" for a message",
        ),
        (
            "fix.js",
            "memory = \"1 GB\"",
            "a script has from \"4 MB\" to \"512 MB\"",
        ),
        ("fix.js", "tables = [\"none.csv\"]", "there is no file"),
    ] {
        let text =
            channel("fix", options, "127.0.0.1:9".parse()?).replace("\"fix.js\"", &format!("\"{script}\""));
        let home = Home::with(&[("fix", &text)])?;
        std::fs::write(home.path().join("channels/fix.js"), "export default () => {};\n")?;
        let output = home.run(&["check"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(told), "{script} {options}: {said}");
    }
    Ok(())
}

/// The blocks of the guide: language, the words after it, text.
fn blocks(text: &str) -> Vec<(String, Vec<String>, String)> {
    let mut blocks = vec![];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((language, words.collect(), body.join("\n") + "\n"));
    }
    blocks
}

/// Each example of `docs/guide/scripts.md` does what the guide says.
#[test]
fn the_guide_is_right() -> Result<()> {
    let guide = std::fs::read_to_string(crate::python::root().join("docs/guide/scripts.md"))?;
    let blocks = blocks(&guide);
    let home = Home::with(&[])?;
    let (mut sent, mut expected) = (vec![], vec![]);
    for (language, words, text) in &blocks {
        match (language.as_str(), words.as_slice()) {
            ("toml" | "js" | "csv", [file]) => {
                script(&home, file, text)?;
                if let Some(name) = file.strip_suffix(".js").filter(|name| !name.contains('/')) {
                    // A channel for a script that the guide gives none.
                    let path = home.path().join("channels").join(format!("{name}.toml"));
                    if !path.exists() {
                        std::fs::write(path, channel(name, "", "127.0.0.1:9".parse()?))?;
                    }
                }
            }
            ("hl7" | "xml", [way, name]) => {
                let lines = if language == "hl7" { "\r" } else { "\n" };
                let kept = if way == "in" { &mut sent } else { &mut expected };
                kept.push((name, text.replace('\n', lines)));
            }
            _ => {}
        }
    }
    assert!(4 <= sent.len() && sent.len() == expected.len());
    for ((name, body), (other, expected)) in sent.iter().zip(&expected) {
        assert_eq!(name, other);
        let file = home.path().join("in.hl7");
        std::fs::write(&file, body)?;
        let tried = home.json(&["try", name, &file.display().to_string(), "--json"])?;
        let last = tried["steps"]
            .as_array()
            .and_then(|steps| steps.last())
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            last["shows"].as_str(),
            Some(expected.as_str()),
            "{name}: {tried:#}"
        );
    }
    Ok(())
}

/// The channels that ship, scripts too.
#[test]
fn shipped_channels_are_right() -> Result<()> {
    let home = Home::with(&[])?;
    let from = crate::python::root().join("channels");
    copy(&from, &home.path().join("channels"))?;
    // Also where a script imports it, which the file of the channel does not show.
    for name in ["units.js", "lib/units.js"] {
        let uses = home.json(&["uses", name, "--json"])?;
        let found: Vec<&str> = uses["uses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|used| used["channel"].as_str())
            .collect();
        assert_eq!(found, ["lab-units"], "{name}: {uses}");
    }
    for command in ["check", "test"] {
        let output = home.run(&[command])?;
        assert!(
            output.status.success(),
            "{command}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
