//! Wholes that are taken apart.

use super::{Place, eventually};
use crate::connector::Outcome;
use crate::message::{By, DeliveryState, MessageState};
use crate::split::PARTS;

const DAY: &str = "id = \"day\"\nsource.fake.name = \"day\"\n[[step]]\nsplit = \"lines\"\n[[step]]\nfilter = { \"$\" = { not = { matches = \"secret\" } } }\n[[destination]]\nname = \"shelf\"\nfake.name = \"shelf\"\n";

fn day(from: u32, to: u32) -> String {
    let lines: String = (from..to).map(|n| format!("{n}:hello\n")).collect();
    format!("{lines}={}", to - from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_is_a_message_in_order_and_knows_its_whole() {
    let place = Place::new();
    let running = place.start(place.channels(&[DAY])).await;
    // More than the deliveries that a message may have.
    running.send("day", &day(0, 1500)).await;
    let rows = running.messages_of("day", 1501).await;
    let whole = rows.iter().find(|row| row.origin.is_none()).unwrap();
    assert_eq!(whole.state, MessageState::Routed);
    let detail = eventually(async || {
        let detail = running.detail(whole.id).await;
        (detail.row.deliveries[0].state == DeliveryState::Sent).then_some(detail)
    })
    .await;
    assert_eq!(detail.row.deliveries[0].destination, PARTS);
    assert_eq!(detail.deliveries[0].made.len(), 100);
    let last = rows.last().unwrap().origin.clone().unwrap();
    assert_eq!(
        (last.by, last.message, last.number, last.of),
        (By::Part, whole.id, 1500, 1500)
    );
    assert!(last.trace.is_empty());
    let headers = running.detail(rows.last().unwrap().id).await.headers;
    assert!(
        headers.contains(&("part".into(), "line 1500".into())),
        "{headers:?}"
    );
    assert!(
        headers.contains(&("file".into(), "day.txt".into())),
        "{headers:?}"
    );
    let got = eventually(async || Some(place.ends.got("shelf")).filter(|got| 1500 <= got.len())).await;
    let sent: Vec<String> = (0..1500).map(|n| format!("{n}:hello")).collect();
    assert_eq!(got, sent);
    // The same file again: its parts are known again, and nothing is done twice.
    running.send("day", &day(0, 3)).await;
    let rows = running.messages_of("day", 1502).await;
    let again = rows.last().unwrap().id;
    eventually(async || {
        (running.detail(again).await.row.deliveries[0].state == DeliveryState::Sent).then_some(())
    })
    .await;
    assert_eq!(running.messages("day").await.len(), 1502);
    // Taken again on purpose, it goes to the destinations again: the whole, and one of its parts.
    running.engine.replay(again, None).await.unwrap();
    let rows = running.messages_of("day", 1506).await;
    let refused = running.engine.replay(again, Some(vec!["shelf".into()])).await;
    assert!(refused.unwrap_err().to_string().contains("is a whole"));
    let part = rows.last().unwrap().id;
    running
        .engine
        .replay(part, Some(vec!["shelf".into()]))
        .await
        .unwrap();
    let got = eventually(async || Some(place.ends.got("shelf")).filter(|got| 1504 <= got.len())).await;
    assert_eq!(got[1500..], ["0:hello", "1:hello", "2:hello", "2:hello"]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_whose_trailer_counts_otherwise_fails_and_nothing_of_it_is_done() {
    let place = Place::new();
    let running = place.start(place.channels(&[DAY])).await;
    let answer = running.send("day", "1:hello\n2:hello\n=3").await;
    assert_eq!(answer.outcome, Outcome::Failed);
    running.send("day", "=0").await;
    running.send("day", "?\n1:secret\n2:hello\n=3").await;
    let rows = running.messages_of("day", 6).await;
    let failure = rows[0].failure.clone().unwrap();
    assert_eq!(failure.step, "step[0].split");
    assert_eq!(failure.place.unwrap().0, "trailer");
    assert_eq!(failure.why, "the trailer says 3, and there are 2");
    assert!(rows[0].deliveries.is_empty() && rows[1].deliveries.is_empty());
    let states: Vec<MessageState> = rows.iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [
            MessageState::Failed,
            MessageState::Routed,
            MessageState::Routed,
            MessageState::Failed,
            MessageState::Filtered,
            MessageState::Routed
        ]
    );
    running.engine.stop().await.unwrap();
}

#[test]
fn a_split_stands_first_and_in_the_channel() {
    let place = Place::new();
    let late = "id = \"a\"\nsource.fake.name = \"a\"\n[[step]]\nfilter = { \"$\" = \"x\" }\n[[step]]\nsplit = \"lines\"\n[[destination]]\nname = \"d\"\nfake.name = \"d\"\nstep = [{ split = \"line\" }]\n";
    let told: Vec<String> = place
        .checked(&[late])
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "channels/0.toml:6:9 step[1].split  stands first: the steps before it would see the whole, those after it see each part",
            "channels/0.toml:10:19 destination[0].step[0].split  not known here; did you mean \"lines\"?",
        ]
    );
}
