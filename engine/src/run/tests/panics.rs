//! A panic in one message fails that message; the channel goes on.

use super::{Place, eventually};
use crate::connector::Outcome;
use crate::message::{DeliveryState, MessageState};

const FILE: &str = "id = \"adt\"\nsource.fake.name = \"in\"\n[[step]]\ndecode = \"text\"\n[[destination]]\nname = \"lis\"\nfake.name = \"lis\"\nwhen = { \"$\" = { present = true } }\nretry = { first = \"10ms\", max = \"10ms\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_step_in_a_when_and_in_a_judgement() {
    let place = Place::new();
    let running = place.start(place.channels(&[FILE])).await;
    let set = |control_id: &str, more: &str| {
        format!("{{\"about\":{{\"control_id\":\"{control_id}\"}},\"changes\":[]}}{more}")
    };
    assert_eq!(running.send("in", &set("1", "")).await.outcome, Outcome::Stored);
    for (text, step) in [
        (set("2", "panic in decode"), "step[0].decode"),
        (set("panic in when", ""), "destination[0].when"),
    ] {
        let told = running.send("in", &text).await;
        assert_eq!(told.outcome, Outcome::Failed, "{text}");
        let detail = running.detail(told.message.unwrap()).await;
        assert_eq!(detail.row.state, MessageState::Failed);
        let failure = detail.row.failure.unwrap();
        assert_eq!(failure.step, step);
        assert!(failure.why.contains("panicked"), "{}", failure.why);
        assert_eq!(&detail.body[..], text.as_bytes(), "it is kept");
    }
    assert_eq!(running.send("in", &set("4", "")).await.outcome, Outcome::Stored);
    eventually(async || (place.ends.got("lis").len() == 2).then_some(())).await;

    // What the far side says can't end the worker either.
    place.ends.answer("lis", "panic");
    assert_eq!(running.send("in", &set("5", "")).await.outcome, Outcome::Stored);
    eventually(async || {
        let row = running.messages("adt").await.pop()?;
        (row.deliveries[0].state == DeliveryState::Sent && row.deliveries[0].attempts == 2).then_some(())
    })
    .await;
    assert_eq!(place.ends.got("lis").len(), 4);
    running.engine.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_panic_says_is_told_to_nobody() {
    let worked = super::super::settle::blocking(|| -> u32 { panic!("{} is ill", "Ștefăniță") }).await;
    assert_eq!(
        worked.unwrap_err().to_string(),
        "the store is not available: the work on this message was broken off"
    );
}
