//! The program is killed (SIGKILL), or its power is cut, in the middle of the day, again and again; nothing is missing at
//! the end. The harness is in `src/crash`.

use anyhow::Result;
use e2e::crash::{Fault, Plan, run};
use e2e::program::{Home, binary};

/// `PUNTE_KILLS` says how often; 20 unless it does.
pub fn kills() -> u32 {
    std::env::var("PUNTE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_the_day_nothing_is_missing() -> Result<()> {
    let report = run(&Plan::kills(kills())).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    // It was at work all the while.
    assert_eq!(report.kills, kills());
    assert!(
        kills() <= report.acknowledged as u32 && report.at_hold > 0,
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_nothing_is_missing_that_was_acknowledged() -> Result<()> {
    let report = run(&Plan::cuts(kills())).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(kills() / 2 < report.cuts, "{report}");
    // There was something to lose, and it was lost. (Names too, but not in each twenty cuts.)
    assert!(report.undone.writes > 0, "{report}");
    Ok(())
}

/// Killed and cut off in the middle, it leaves nothing of the people behind that can be read: in its folder, in its log at
/// TRACE, in what it printed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_behind_shows_nobody() -> Result<()> {
    for plan in [Plan::kills(4), Plan::cuts(4)] {
        let plan = Plan {
            searches: true,
            ..plan
        };
        let report = run(&plan).await?;
        assert!(report.violations.is_empty(), "{report}");
        assert!(report.stored > 0, "{report}");
    }
    Ok(())
}

/// Some kills with something else that goes wrong in each round.
async fn survives(fault: Fault, kills: u32) -> Result<()> {
    let plan = Plan {
        fault: Some(fault),
        ..Plan::kills(kills)
    };
    let report = run(&plan).await?;
    println!("{}: {report}", fault.name());
    assert!(report.violations.is_empty(), "{}: {report}", fault.name());
    assert!(
        report.kills == kills && kills <= report.acknowledged as u32,
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_fails_and_the_power_is_cut_within_a_second() -> Result<()> {
    survives(Fault::FailedFlush, 10).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full_for_a_moment() -> Result<()> {
    survives(Fault::NoRoom, 6).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_slow() -> Result<()> {
    survives(Fault::SlowDisk, 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_locks_the_store() -> Result<()> {
    survives(Fault::Locked, 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_answer_late_twice_with_garbage_or_never() -> Result<()> {
    survives(Fault::Receivers, 8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_set_around_the_beginning_of_summer_time() -> Result<()> {
    survives(Fault::ClockInSpring, 5).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_set_around_the_end_of_summer_time() -> Result<()> {
    survives(Fault::ClockInAutumn, 5).await
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_break_their_connections_in_every_phase() -> Result<()> {
    survives(Fault::Connections, 6).await
}

/// The build that can break its promises, beside the one under test.
pub fn sabotaged() -> Option<std::path::PathBuf> {
    let program = binary().parent()?.join("sabotage").join("punte");
    if !program.is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing, and this is CI",
            program.display()
        );
        eprintln!("SKIPPED: the harness is tested by `cargo xtask test`, which builds the program for it");
        return None;
    }
    Some(program)
}

/// Runs the harness over a program that breaks its word until it is found out. True: it said so in these words.
async fn finds(switch: &str, power: bool, words: &[&str]) -> Result<bool> {
    let Some(program) = sabotaged() else {
        return Ok(true);
    };
    for _ in 0..5 {
        let plan = Plan {
            power,
            program: Some(program.clone()),
            // Progress may never come.
            patience: std::time::Duration::from_secs(15),
            env: vec![("PUNTE_SABOTAGE".to_owned(), switch.to_owned())],
            ..Plan::kills(6)
        };
        let report = run(&plan).await?;
        println!("{switch}: {report}");
        if report
            .violations
            .iter()
            .any(|broken| words.iter().any(|words| broken.contains(words)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_a_store_that_does_not_flush() -> Result<()> {
    // Lost, or so damaged that it can't be opened or read.
    let words = [
        "was acknowledged and is not stored",
        "it does not start",
        "database disk image is malformed",
    ];
    assert!(finds("no-flush", true, &words).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_an_acknowledgement_before_the_commit() -> Result<()> {
    assert!(finds("ack-first", false, &["was acknowledged and is not stored"]).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_repeats_that_are_not_known_again() -> Result<()> {
    assert!(finds("no-dedup", false, &["is stored 2 times"]).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_a_delivery_that_was_skipped() -> Result<()> {
    let words = ["is stored and did not come to", "is said to be sent to"];
    assert!(finds("skip-one", false, &words).await?);
    Ok(())
}

#[test]
fn a_build_that_can_break_its_promises_says_so() -> Result<()> {
    let version = |program: &std::path::Path| -> Result<String> {
        let output = std::process::Command::new(program).arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    assert!(!version(&binary())?.contains("sabotage"));
    let Some(program) = sabotaged() else { return Ok(()) };
    assert!(version(&program)?.trim().ends_with("+sabotage"));
    let demo = std::process::Command::new(&program)
        .args(["demo", "--once"])
        .output()?;
    assert!(!demo.status.success());
    let home = Home::with(&[])?;
    // It can't start without a channel, and has said it by then.
    let output = std::process::Command::new(&program)
        .args(["serve", "--home"])
        .arg(home.path())
        .output()?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("CAN BREAK WHAT PUNTE PROMISES"));
    Ok(())
}
