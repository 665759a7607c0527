//! Changes of the clinic that start channels.

use super::{Place, eventually};
use crate::message::By;
use crate::run::Again;

const IN: &str =
    "id = \"in\"\nsource.fake.name = \"in\"\n[[step]]\ndecode = \"text\"\n[[step]]\napply = true\n";

fn listening(id: &str, clinic: &str) -> String {
    format!(
        "id = \"{id}\"\nsource.clinic = {{ {clinic} }}\n[[step]]\ndecode = \"clinic\"\n[[destination]]\nname = \"{id}\"\nencode = \"text\"\nfake.name = \"{id}\"\n"
    )
}

fn order(number: &str, status: &str) -> String {
    format!(
        r#"{{"changes":[
            {{"key":"p","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"P-1"}}]}}}}}},
            {{"key":"v","say":{{"Encounter":{{"identifiers":[{{"system":"TEST","value":"V-1"}}],"patient":{{"local":"p"}}}}}}}},
            {{"key":"o","say":{{"Order":{{"identifiers":[{{"system":"TEST","value":"{number}"}}],"status":"{status}",
              "patient":{{"local":"p"}},"encounter":{{"local":"v"}}}}}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_starts_the_channels_that_listen_and_no_echo_goes_round() {
    let place = Place::new();
    let channels = place.channels(&[
        IN,
        &listening("orders", "on = [\"Order.placed\", \"Order.completed\"]"),
        &listening("deaf", "on = [\"Order.placed\"], not_from = [\"in\"]"),
        &listening("patients", "on = [\"Patient.created\"]"),
    ]);
    let running = place.start(channels).await;
    for (number, status) in [
        ("O-1", "active"),
        ("O-2", "active"),
        ("O-1", "completed"),
        ("O-1", "completed"),
    ] {
        running.send("in", &order(number, status)).await;
    }
    let got = eventually(async || Some(place.ends.got("orders")).filter(|got| 3 <= got.len())).await;
    assert_eq!(
        got,
        [
            "Order.placed Order O-1 Patient P-1 Encounter V-1",
            "Order.placed Order O-2 Patient P-1 Encounter V-1",
            "Order.completed Order O-1 Patient P-1 Encounter V-1",
        ]
    );
    let got = eventually(async || Some(place.ends.got("patients")).filter(|got| !got.is_empty())).await;
    assert_eq!(got, ["Patient.created Patient P-1"]);
    assert!(running.messages("deaf").await.is_empty());
    let writer = &running.messages("in").await[0];
    let told = &running.messages("orders").await[0];
    let origin = told.origin.clone().unwrap();
    assert_eq!(
        (origin.by, origin.message, origin.trace),
        (By::Event, writer.id, vec!["in".to_owned()])
    );
    let detail = running.detail(told.id).await;
    let header = |name: &str| {
        detail
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (header("event"), header("version")),
        (Some("Order.placed"), Some("1"))
    );
    let to: Vec<String> = writer
        .deliveries
        .iter()
        .map(|delivery| delivery.destination.clone())
        .collect();
    assert_eq!(to, ["orders@events", "patients@events"]);
    let events: Vec<Option<String>> = running
        .detail(writer.id)
        .await
        .wrote
        .into_iter()
        .map(|wrote| wrote.event)
        .collect();
    assert!(events.contains(&Some("Order.placed".to_owned())), "{events:?}");
    // What a person takes again goes out again, with the same words.
    running.engine.replay(told.id, Again::default()).await.unwrap();
    let got = eventually(async || Some(place.ends.got("orders")).filter(|got| 4 <= got.len())).await;
    assert_eq!(got[3], got[0]);
    running.engine.stop().await.unwrap();
}

#[test]
fn the_check_knows_the_events_and_the_partners() {
    let place = Place::new();
    let lab = IN.replace("\"in\"", "\"lab-results\"");
    let told = |clinic: &str| {
        let listens = listening("lab", clinic);
        let checked = place.checked(&[&lab, &listens]);
        let told: Vec<String> = checked
            .problems
            .iter()
            .chain(&checked.warnings)
            .map(ToString::to_string)
            .collect();
        told
    };
    assert_eq!(
        told("on = [\"Order.plced\"], not_from = [\"lab-result\"]"),
        [
            "channels/1.toml:2:25 source.clinic.on[0]  no event of the clinic; did you mean \"Order.placed\"?",
            "channels/1.toml:2:53 source.clinic.not_from[0]  not known here; did you mean \"lab-results\"?",
        ]
    );
    assert_eq!(
        told("on = [\"Order.placed\"]"),
        [
            "channels/1.toml:2:17 source.clinic  \"lab-results\" seems to bring changes of a partner who is told here; \
             write not_from = [\"lab-results\"], or what it brings goes back there",
        ]
    );
    assert_eq!(
        told("on = [\"Order.placed\"], not_from = [\"lab-results\", \"write-door\"]"),
        Vec::<String>::new()
    );
}
