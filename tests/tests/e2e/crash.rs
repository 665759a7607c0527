//! The program is killed (SIGKILL), or its power is cut, in the middle of the day, again and again; nothing is missing at
//! the end. The harness is in `src/crash`.

use anyhow::Result;
use e2e::crash::{Plan, run};

/// `PUNTE_KILLS` says how often; 20 unless it does.
fn kills() -> u32 {
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
    // There was something to lose, and it was lost.
    assert!(report.undone.writes > 0 && report.undone.names > 0, "{report}");
    Ok(())
}
