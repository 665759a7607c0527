//! Objects that a modality was told to be stored (0000) survive kills and power cuts between their last byte and the
//! answer, and after it.

use anyhow::Result;
use e2e::crash::{Plan, images};

use crate::crash::{kills, sabotaged};

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_modalities_store_nothing_is_missing() -> Result<()> {
    let report = images::run(&Plan::kills(kills())).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(
        report.kills == kills() && kills() <= report.acknowledged as u32,
        "{report}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_each_object_that_was_answered_is_held() -> Result<()> {
    let report = images::run(&Plan::cuts(kills())).await?;
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(kills() / 2 < report.cuts && report.undone.writes > 0, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_behind_of_images_shows_nobody() -> Result<()> {
    for plan in [Plan::kills(4), Plan::cuts(4)] {
        let plan = Plan {
            searches: true,
            ..plan
        };
        let report = images::run(&plan).await?;
        assert!(report.violations.is_empty(), "{report}");
        assert!(report.stored > 0, "{report}");
    }
    Ok(())
}

/// Runs it over a program that breaks its word until it is found out.
async fn finds(switch: &str, power: bool) -> Result<bool> {
    let Some(program) = sabotaged() else {
        return Ok(true);
    };
    for _ in 0..12 {
        let plan = Plan {
            power,
            program: Some(program.clone()),
            patience: std::time::Duration::from_secs(15),
            env: vec![("PUNTE_SABOTAGE".to_owned(), switch.to_owned())],
            ..Plan::kills(8)
        };
        let report = images::run(&plan).await?;
        println!("{switch}: {report}");
        let words = [
            "is not held",
            "does not start",
            "did not come",
            "finds damage",
            "database disk image is malformed",
        ];
        let is_found = |broken: &String| words.iter().any(|words| broken.contains(words));
        if report.violations.iter().any(is_found) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_an_object_that_was_answered_before_its_commit() -> Result<()> {
    assert!(finds("ack-first", false).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_finds_objects_that_were_not_flushed() -> Result<()> {
    assert!(finds("no-flush", true).await?);
    assert!(finds("no-pack-flush", true).await?);
    Ok(())
}
