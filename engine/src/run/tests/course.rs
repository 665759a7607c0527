//! What one message begins and others end, and a person who decides about the beginning.

use clinic::Kind;

use super::{Place, Running, eventually};
use crate::message::{MessageState, Resolution, ResolutionWord};

const FILE: &str = "id = \"ct\"\nsource.fake.name = \"in\"\nsource.format = \"courses\"\n\
     [[step]]\ndecode = \"courses\"\n[[step]]\napply = true\n";

fn begin(number: &str) -> String {
    format!(
        r#"{{"about":{{"message_type":"begin","control_id":"{number}-begin"}},"changes":[
            {{"key":"p","find":{{"identifiers":[{{"value":"P-{number}"}}],"missing":"park"}},"say":{{"Patient":{{}}}}}},
            {{"key":"o","say":{{"Order":{{"identifiers":[{{"system":"x","value":"{number}"}}],"patient":{{"local":"p"}},"status":"active"}}}}}}]}}"#
    )
}

fn end(number: &str) -> String {
    format!(
        r#"{{"about":{{"message_type":"end","control_id":"{number}-end"}},"changes":[
            {{"key":"o","find":{{"identifiers":[{{"system":"x","value":"{number}"}}],"missing":"refuse"}},"say":{{"Order":{{"status":"completed"}}}}}}]}}"#
    )
}

fn part(number: &str, one: &str) -> String {
    begin(number)
        .replace(&format!("{number}-begin"), &format!("{number}-{one}"))
        .replace("begin", "part")
}

fn resolution(word: ResolutionWord) -> Resolution {
    Resolution {
        word,
        decision: (word == ResolutionWord::New).then(|| clinic::apply::Decision {
            key: "p".into(),
            choice: clinic::apply::Choice::New,
        }),
        by: "anna".into(),
        at: jiff::Timestamp::now(),
        reason: None,
    }
}

async fn states(running: &Running) -> Vec<MessageState> {
    let rows = running.messages("ct").await;
    rows.iter().map(|row| row.state).collect()
}

/// The program ends after a person has decided about a beginning, and before what waits behind it was taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_waiting_behind_a_decided_beginning_is_taken_at_the_next_start() {
    use MessageState::{Filtered, Parked, Routed};
    let place = Place::new();
    let running = place.start(place.channels(&[FILE])).await;
    for number in ["1", "2", "3"] {
        running.send("in", &begin(number)).await;
        running.send("in", &end(number)).await;
    }
    assert_eq!(states(&running).await, [Parked; 6]);
    let rows = running.messages("ct").await;
    let door = running.engine.door("ct").unwrap();
    // Decided, and nothing more: as where the program is killed then.
    for (row, word) in [
        (&rows[0], ResolutionWord::New),
        (&rows[2], ResolutionWord::Ignored),
    ] {
        let detail = running.detail(row.id).await;
        let case = door.case_of(detail, vec![resolution(word)], None).await.unwrap();
        door.decide(case).await.unwrap();
    }
    assert_eq!(
        states(&running).await,
        [Routed, Parked, Filtered, Parked, Parked, Parked]
    );
    running.engine.stop().await.unwrap();
    drop((running, door));
    let running = place.start(place.channels(&[FILE])).await;
    let wanted = [Routed, Routed, Filtered, Filtered, Parked, Parked];
    eventually(async || (states(&running).await == wanted).then_some(())).await;
    let written = &running.detail(rows[1].id).await.wrote[0];
    assert_eq!(
        (written.kind, written.event.as_deref()),
        (Kind::Order, Some("Order.completed"))
    );
}

/// The program ends after a person has decided about one object of a study, and before the others were taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_with_another_is_taken_at_the_next_start() {
    use MessageState::{Filtered, Parked, Routed};
    let place = Place::new();
    let running = place.start(place.channels(&[FILE])).await;
    for (number, one) in [
        ("1", "a"),
        ("1", "b"),
        ("2", "a"),
        ("2", "b"),
        ("3", "a"),
        ("1", "c"),
    ] {
        running.send("in", &part(number, one)).await;
    }
    let rows = running.messages("ct").await;
    assert_eq!(states(&running).await, [Parked; 6]);
    let door = running.engine.door("ct").unwrap();
    for (row, word) in [
        (&rows[0], ResolutionWord::New),
        (&rows[2], ResolutionWord::Ignored),
    ] {
        let detail = running.detail(row.id).await;
        let case = door.case_of(detail, vec![resolution(word)], None).await.unwrap();
        door.decide(case).await.unwrap();
    }
    running.engine.stop().await.unwrap();
    drop((running, door));
    let running = place.start(place.channels(&[FILE])).await;
    let wanted = [Routed, Routed, Filtered, Parked, Parked, Routed];
    eventually(async || (states(&running).await == wanted).then_some(())).await;
}
