//! What comes of the answers of destinations.

use super::{Place, eventually};
use crate::channel::Channel;
use crate::connector::Outcome;
use crate::message::{By, DeliveryState, MessageRow, MessageState};
use crate::run::{Again, Resolve};
use crate::store::{Halt, HaltWord};

const ASKS: &str =
    "id = \"asks\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"lab\"\nfake.name = \"lab\"\n";
const ARCHIVE: &str = "id = \"archive\"\n[source]\nformat = \"text\"\nchannel = {}\n";
const LATE: &str = "id = \"late\"\nsource.fake.name = \"late\"\n";

fn asks(more: &str) -> String {
    format!("{ASKS}{more}")
}

const APPLIES: &str = "[[destination.response]]\ndecode = \"text\"\n[[destination.response]]\napply = { on_unmatched = \"park\" }\n";

/// A patient, as an answer tells of him.
fn patient(number: &str) -> String {
    format!(
        r#"{{"changes":[{{"key":"p","say":{{"Patient":{{"identifiers":[{{"system":"TEST","value":"{number}"}}]}}}}}}]}}"#
    )
}

async fn delivery_of(running: &super::Running, n: usize, state: DeliveryState) -> MessageRow {
    eventually(async || {
        let row = running.messages("asks").await.into_iter().nth(n)?;
        (row.deliveries[0].state == state).then_some(row)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_a_message_of_its_delivery_and_goes_on() {
    let place = Place::new();
    let file = asks(
        "[[destination.response]]\nfilter = { \"$\" = { not = { matches = \"boring\" } } }\n[[destination.response]]\nchannel = \"archive\"\n",
    );
    let running = place.start(place.channels(&[&file, ARCHIVE])).await;
    place.ends.answer("lab", "a:fine");
    place.ends.answer("lab", "b:boring");
    // An empty answer is none.
    place.ends.answer("lab", "");
    place.ends.answer("lab", "c:no");
    for n in 1..=4 {
        running.send("in", &format!("{n}:hello")).await;
    }
    let answers = running.messages_of("asks@lab", 3).await;
    let states: Vec<MessageState> = answers.iter().map(|row| row.state).collect();
    assert_eq!(
        states,
        [MessageState::Routed, MessageState::Filtered, MessageState::Routed]
    );
    let origin = answers[0].origin.clone().unwrap();
    let question = running.detail(origin.message).await;
    assert_eq!((origin.by, &question.body[..]), (By::Response, &b"1:hello"[..]));
    assert_eq!(origin.trace, ["asks"]);
    assert_eq!(question.deliveries[0].made, [answers[0].id]);
    assert_eq!(question.deliveries[0].row.state, DeliveryState::Sent);
    // A refusal is an answer too; what it does to the queue it does all the same.
    let held = delivery_of(&running, 3, DeliveryState::Held).await;
    assert_eq!(held.deliveries[0].last.as_deref(), Some("refused: no"));
    let archived = running.messages_of("archive", 2).await;
    let details = [
        running.detail(archived[0].id).await,
        running.detail(archived[1].id).await,
    ];
    assert_eq!(details.map(|detail| detail.body), ["a:fine", "c:no"]);
    assert_eq!(archived[0].origin.clone().unwrap().trace, ["asks", "asks@lab"]);
    assert!(!running.engine.channel_ids().contains(&"asks@lab".to_owned()));
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_or_parks_there_is_listed_and_the_delivery_is_sent() {
    let place = Place::new();
    let running = place.start(place.channels(&[&asks(APPLIES)])).await;
    for answer in ["?", "no change set", &patient("P-1")] {
        place.ends.answer("lab", answer);
    }
    for n in 1..=3 {
        running.send("in", &format!("{n}:hello")).await;
    }
    let answers = running.messages_of("asks@lab", 3).await;
    let told: Vec<(MessageState, String)> = answers
        .iter()
        .map(|row| (row.state, row.failure.clone().unwrap().step))
        .collect();
    assert_eq!(
        told,
        [
            (MessageState::Failed, "source".to_owned()),
            (MessageState::Failed, "response[0].decode".to_owned()),
            (MessageState::Parked, "response[1].apply".to_owned()),
        ]
    );
    for n in 0..3 {
        let row = delivery_of(&running, n, DeliveryState::Sent).await;
        let last = row.deliveries[0].last.clone().unwrap();
        assert!(last.contains("what came of the answer is"), "{last}");
    }
    let resolved = running
        .engine
        .resolve(answers[2].id, Resolve::New, "me", None)
        .await;
    assert_eq!(resolved.unwrap().state, MessageState::Routed);
    assert_eq!(running.detail(answers[2].id).await.wrote.len(), 1);
    // A person may take an answer again: the steps run, nothing is sent.
    let (again, state) = running
        .engine
        .replay(answers[2].id, Again::default())
        .await
        .unwrap();
    assert_eq!(state, MessageState::Routed);
    assert_eq!(running.detail(again).await.row.origin.unwrap().by, By::Response);
    assert_eq!(place.ends.got("lab").len(), 3);
    running.engine.stop().await.unwrap();
}

fn late_channels(place: &Place, answers: &str) -> Vec<Channel> {
    place.channels(&[
        &asks(&format!("{answers}{APPLIES}").replace(
            "decode = \"text\"",
            "filter = { \"$\" = { matches = \"never\" } }\n[[destination.response]]\ndecode = \"text\"",
        )),
        LATE,
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_later_finds_its_delivery() {
    let place = Place::new();
    let running = place
        .start(late_channels(&place, "answers = { by = \"late\" }\n"))
        .await;
    for n in 1..=3 {
        place.ends.answer("lab", "pending");
        running.send("in", &format!("{n}:hello")).await;
    }
    delivery_of(&running, 2, DeliveryState::Pending).await;
    let told = running.send("late", "x:re 2 fine").await;
    assert_eq!(told.outcome, Outcome::Stored);
    let row = delivery_of(&running, 1, DeliveryState::Sent).await;
    let [answer] = running.messages("asks@lab").await.try_into().unwrap();
    let answer: MessageRow = answer;
    let origin = answer.origin.clone().unwrap();
    assert_eq!((origin.message, origin.delivery), (row.id, row.deliveries[0].id));
    assert_eq!(
        (answer.id, row.deliveries[0].attempts),
        (told.message.unwrap(), 2)
    );
    // The same once more is answered as the first was, and does nothing.
    assert_eq!(running.send("late", "x:re 2 fine").await.message, told.message);
    assert_eq!(running.messages("asks@lab").await.len(), 1);
    // Nobody has asked: a message like others.
    running.send("late", "y:re 9 fine").await;
    running.send("late", "z:hello").await;
    assert_eq!(running.messages("late").await.len(), 2);
    // Refused later: the queue waits.
    running.send("late", "w:re 1 no").await;
    let row = delivery_of(&running, 0, DeliveryState::Held).await;
    assert_eq!(row.deliveries[0].last.as_deref(), Some("refused: no"));
    running.send("in", "4:hello").await;
    // A better answer lets it go on.
    running.send("late", "v:re 1 fine").await;
    delivery_of(&running, 0, DeliveryState::Sent).await;
    delivery_of(&running, 3, DeliveryState::Sent).await;
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_answer_it_is_is_not_guessed() {
    let place = Place::new();
    let two = |by: &str| {
        format!(
            "id = \"asks\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"lab\"\nfake.name = \"lab\"\nanswers = {{ within = \"1h\"{by} }}\n\
             [[destination]]\nname = \"ris\"\nfake.name = \"lab\"\nanswers = {{ within = \"1h\" }}\n"
        )
    };
    let running = place.start(place.channels(&[&two(""), LATE])).await;
    place.ends.answer("lab", "pending");
    place.ends.answer("lab", "pending");
    running.send("in", "1:hello").await;
    let pending = async || {
        let rows = running.messages("asks").await;
        let all = rows[0]
            .deliveries
            .iter()
            .all(|to| to.state == DeliveryState::Pending);
        all.then_some(())
    };
    eventually(pending).await;
    let told = running.send("late", "x:re 1 fine").await;
    assert_eq!(told.outcome, Outcome::Failed);
    assert!(told.note.unwrap().contains("answers = { by = "));
    // Once one of them says by which channel its answers come, it gets it, and the other one stays.
    let channels = place.channels(&[&two(", by = \"late\""), LATE]);
    running.engine.reload(channels).await.unwrap();
    running.send("late", "y:re 1 fine").await;
    let rows = running.messages("asks").await;
    let states: Vec<DeliveryState> = rows[0].deliveries.iter().map(|to| to.state).collect();
    assert_eq!(states, [DeliveryState::Sent, DeliveryState::Pending]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_in_time_is_told() {
    let place = Place::new();
    let channels = late_channels(&place, "answers = { within = \"300ms\" }\non_error = \"dead\"\n");
    let running = place.start(channels).await;
    place.ends.answer("lab", "pending");
    running.send("in", "1:hello").await;
    let row = delivery_of(&running, 0, DeliveryState::Dead).await;
    assert_eq!(
        row.deliveries[0].last.as_deref(),
        Some("unsure: no answer came within 300ms")
    );
    running.send("late", "x:re 1 fine").await;
    assert_eq!(running.messages("late").await.len(), 1);
    running.engine.stop().await.unwrap();
}

/// The answer may be faster than we write down that there will be one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_waits_for_a_delivery_that_is_still_to_be_sent() {
    let place = Place::new();
    let running = place
        .start(late_channels(&place, "answers = { by = \"late\" }\n"))
        .await;
    let halt = Halt {
        channel: "asks".into(),
        destination: Some("lab".into()),
        word: HaltWord::Paused,
        since: jiff::Timestamp::now(),
        by: "me".into(),
        reason: None,
    };
    running.engine.halt(halt).await.unwrap();
    running.send("in", "1:hello").await;
    place.ends.answer("lab", "pending");
    let (told, ()) = tokio::join!(running.send("late", "x:re 1 fine"), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(running.messages("late").await.is_empty());
        running.engine.resume("asks", Some("lab"), "me").await.unwrap();
    });
    assert_eq!(told.outcome, Outcome::Stored);
    delivery_of(&running, 0, DeliveryState::Sent).await;
    assert!(running.messages("late").await.is_empty());
    running.engine.stop().await.unwrap();
}

#[test]
fn the_check_finds_what_is_wrong_with_answers() {
    let place = Place::new();
    let told = |more: &str| {
        let checked = place.checked(&[&asks(more), ARCHIVE, LATE]);
        let told: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        told
    };
    let step = |step: &str| format!("[[destination.response]]\n{step}\n");
    for (more, what) in [
        (
            step("apply = true"),
            "7:9 destination[0].response[0].apply  needs a decode before it",
        ),
        (
            step("channel = \"archiv\""),
            "7:11 destination[0].response[0].channel  there is no channel \"archiv\"; did you mean \"archive\"?",
        ),
        (
            step("channel = \"late\""),
            "7:11 destination[0].response[0].channel  \"late\" takes nothing from other channels; write [source.channel] there",
        ),
        (
            step("channel = \"archive\"") + &step("filter = { \"$\" = \"x\" }"),
            "8:1 destination[0].response[1]  stands after `channel`, which hands the answer on; put it before",
        ),
        (
            step("split = \"lines\""),
            "7:1 destination[0].response[0].split  not known here",
        ),
        (
            step("lookup = { ask = \"lab\", question = \"?\", set = { \"$\" = \"$\" } }"),
            "7:18 destination[0].response[0].lookup.ask  an answer asks nobody; hand it on",
        ),
        (
            "answers = { by = \"lat\" }\n".to_owned(),
            "6:18 destination[0].answers.by  not known here; did you mean \"late\"?",
        ),
        (
            "answers = { by = \"archive\" }\n".to_owned(),
            "6:18 destination[0].answers.by  \"archive\" takes nothing from outside; name a channel that listens",
        ),
        (
            "answers = { within = \"soon\" }\n".to_owned(),
            "6:22 destination[0].answers.within  \"soon\" is no duration",
        ),
    ] {
        let told = told(&more);
        assert!(told.iter().any(|told| told.contains(what)), "{more}\n{told:#?}");
    }
}
