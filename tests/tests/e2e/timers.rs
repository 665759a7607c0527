//! Timers: each tick once, also when the program is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use e2e::eventually;
use e2e::program::Home;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_ticks_each_counts_once() -> Result<()> {
    let channel = r#"id = "clock"
source.timer = { every = "1s", missed = "skip" }
[[destination]]
name = "ticks"
file = { folder = "../out", name = "ticks.txt", append = true }
"#;
    let home = Home::with(&[("clock", channel)])?;
    std::fs::create_dir(home.path().join("out"))?;
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(home.path().join("out/ticks.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let mut punte = home.serve()?;
    for round in 1..=3 {
        eventually("some ticks", PATIENCE, async || {
            (2 * round <= lines().len()).then_some(())
        })
        .await;
        punte.kill();
        punte = home.serve()?;
    }
    eventually("it ticks on", PATIENCE, async || {
        (8 <= lines().len()).then_some(())
    })
    .await;
    let rows = punte.messages("&channel=clock").await?;
    let numbers: BTreeSet<&str> = rows.iter().filter_map(|row| row["control_id"].as_str()).collect();
    assert_eq!(numbers.len(), rows.len(), "each tick is stored once");
    assert!(numbers.iter().all(|number| number.starts_with("tick-20")));
    punte.stop()?;
    let lines = lines();
    assert!(
        lines.is_sorted() && lines[0].starts_with("{\"tick\":\"20"),
        "{lines:?}"
    );
    assert_eq!(
        lines.iter().collect::<BTreeSet<_>>().len(),
        lines.len(),
        "each tick is written once"
    );
    Ok(())
}

#[test]
fn a_timer_that_never_ticks_is_refused() -> Result<()> {
    let channel = |timer: &str| format!("id = \"clock\"\nsource.timer = {timer}\n");
    for (timer, words) in [
        (
            r#"{ cron = "0 0 31 2 *" }"#,
            "2:25 source.timer.cron  \"0 0 31 2 *\" never comes",
        ),
        (
            r#"{ cron = "0 25 * * *" }"#,
            "the hour \"25\" is none; it goes from 0 to 23",
        ),
        (
            r#"{ every = "15 min" }"#,
            "source.timer.every  \"15 min\" is no duration",
        ),
        ("{}", "source.timer  when does it tick? Write every = \"15m\""),
        (
            r#"{ every = "15m", missed = "never" }"#,
            "source.timer.missed  not known here; write one of \"once\", \"skip\"",
        ),
    ] {
        let home = Home::with(&[("clock", &channel(timer))])?;
        let output = home.run(&["check"])?;
        assert!(!output.status.success(), "{timer}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(words), "{words} is not in:\n{told}");
    }
    Ok(())
}
