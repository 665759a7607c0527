//! What wakes a worker.

use std::time::Duration;

use crate::run::worker::Bell;

async fn wakes_who_stands_still(bell: &Bell) -> bool {
    tokio::time::timeout(Duration::from_millis(20), bell.rung_for_an_old_one(|| false))
        .await
        .is_ok()
}

/// A destination that is down would read its queue again for each message that comes to its end.
#[tokio::test]
async fn what_comes_to_the_end_of_a_queue_wakes_nobody_who_stands_still() {
    let bell = Bell::default();
    assert!(!wakes_who_stands_still(&bell).await);
    bell.ring();
    assert!(!wakes_who_stands_still(&bell).await);
    bell.ring_for_an_old_one();
    assert!(wakes_who_stands_still(&bell).await);
    assert!(
        wakes_who_stands_still(&bell).await,
        "it is seen to by nobody else than the worker"
    );
    assert!(bell.starts_anew());
    bell.ring();
    assert!(!wakes_who_stands_still(&bell).await);
    let claim = bell.claim(7);
    assert!(claim.is_some());
    drop(claim);
    assert!(wakes_who_stands_still(&bell).await, "a person has decided");
    assert!(bell.starts_anew());
    bell.ring();
    bell.rung_for_an_old_one(|| true).await;
}
