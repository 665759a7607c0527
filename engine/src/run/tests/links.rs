//! Links from channel to channel.

use super::{Place, eventually};
use crate::message::{By, DeliveryState, MessageState};
use crate::run::HOPS;

const IN: &str =
    "id = \"in\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"on\"\nchannel = \"archive\"\n";
const ARCHIVE: &str = "id = \"archive\"\n[source]\nformat = \"text\"\nchannel = {}\n[[step]]\nfilter = { \"$\" = { not = { matches = \"secret\" } } }\n[[destination]]\nname = \"shelf\"\nfake.name = \"shelf\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_arrives_once_and_in_order_and_knows_where_it_came_from() {
    let place = Place::new();
    let running = place.start(place.channels(&[IN, ARCHIVE])).await;
    for n in 0..200 {
        running.send("in", &format!("{n}:hello")).await;
    }
    let made = running.messages_of("archive", 200).await;
    assert_eq!(made.len(), 200);
    let first = &running.messages("in").await[0];
    let origin = made[0].origin.clone().unwrap();
    assert_eq!(
        (origin.by, origin.message, origin.number, origin.of),
        (By::Link, first.id, 1, 1)
    );
    assert_eq!(origin.trace, ["in"]);
    let detail = running.detail(first.id).await;
    assert_eq!(detail.deliveries[0].row.id, origin.delivery);
    assert_eq!(detail.deliveries[0].row.state, DeliveryState::Sent);
    assert_eq!(detail.deliveries[0].made, [made[0].id]);
    assert_eq!(
        running.detail(made[0].id).await.headers,
        [("file".to_owned(), "day.txt".to_owned())]
    );
    let got = eventually(async || Some(place.ends.got("shelf")).filter(|got| 200 <= got.len())).await;
    let sent: Vec<String> = (0..200).map(|n| format!("{n}:hello")).collect();
    assert_eq!(got, sent);
    // A replay goes through again, and what it makes is no repeat.
    running.engine.replay(first.id, None).await.unwrap();
    let again = running.messages_of("archive", 201).await;
    assert_eq!(running.detail(again[200].id).await.body, "0:hello");
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_there_says_so_there_and_the_delivery_is_sent() {
    let place = Place::new();
    let mut channels = place.channels(&[IN, ARCHIVE]);
    // The first channel takes what the second one can't read.
    channels[0].source.format = "anything".into();
    let running = place.start(channels).await;
    running.send("in", "?").await;
    running.send("in", "1:secret").await;
    running.send("in", "2:hello").await;
    let made = running.messages_of("archive", 3).await;
    let states: Vec<MessageState> = made.iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [MessageState::Failed, MessageState::Filtered, MessageState::Routed]
    );
    let rows = running.messages("in").await;
    assert!(
        rows.iter()
            .all(|row| row.deliveries[0].state == DeliveryState::Sent)
    );
    assert_eq!(
        rows[0].deliveries[0].last.as_deref(),
        Some("accepted: the message in archive is failed")
    );
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_does_not_run_is_waited_for() {
    let place = Place::new();
    let channels = place.channels(&[IN, ARCHIVE]);
    let running = place.start(channels[..1].to_vec()).await;
    running.send("in", "1:hello").await;
    running.send("in", "2:hello").await;
    assert_eq!(
        running.messages("in").await[0].deliveries[0].state,
        DeliveryState::Queued
    );
    running.engine.stop().await.unwrap();
    let running = place.start(channels).await;
    let made = running.messages_of("archive", 2).await;
    assert_eq!(made.len(), 2);
    let queues = running.engine.store().queues().await.unwrap();
    assert!(
        queues
            .iter()
            .all(|queue| queue.channel != "in" || queue.oldest.is_none())
    );
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_that_no_check_has_seen_ends_at_the_most_hops() {
    let place = Place::new();
    for (on_error, state) in [("hold", DeliveryState::Held), ("dead", DeliveryState::Dead)] {
        let files = ["a", "b", "c"].map(|id| {
            let to = if id == "a" { "b" } else { "c" };
            let link =
                format!("[[destination]]\nname = \"on\"\nchannel = \"{to}\"\non_error = \"{on_error}\"\n");
            let link = if id == "c" { "" } else { &link };
            let id = format!("{id}-{on_error}");
            format!("id = \"{id}\"\n[source]\nformat = \"text\"\nchannel = {{}}\n{link}").replace(
                &format!("channel = \"{to}\""),
                &format!("channel = \"{to}-{on_error}\""),
            )
        });
        let mut channels = place.channels(&[&files[0], &files[1], &files[2]]);
        channels[0].source.connector = "fake".into();
        channels[0].source.settings = serde_json::json!({ "name": "in" });
        channels[1].destinations[0].end.settings = format!("a-{on_error}").into();
        channels.truncate(2);
        let running = place.start(channels).await;
        running.send("in", "1:hello").await;
        let last = eventually(async || {
            let mut rows = running.messages(&format!("a-{on_error}")).await;
            rows.extend(running.messages(&format!("b-{on_error}")).await);
            rows.into_iter().find(|row| row.deliveries[0].state == state)
        })
        .await;
        assert_eq!(last.origin.unwrap().trace.len(), HOPS - 1);
        assert!(
            last.deliveries[0]
                .last
                .as_ref()
                .unwrap()
                .contains("goes round in a circle")
        );
        running.engine.stop().await.unwrap();
    }
}
