//! Deliveries whose answer is lost, to destinations that are asked what became of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::fake::Text;
use super::{Place, Running, eventually};
use crate::message::{By, DeliveryState, MessageRow, MessageState};
use crate::run::asking::Known;
use crate::run::{Answers, Decide, Question};
use crate::store::{DecidedWord, Halt, HaltWord, Store};

const FILE: &str =
    "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"erp\"\nfake.name = \"erp\"\n";
const ASKS: &str = "on_unsure = { ask = \"erp\", question = \"{$}\" }\n";
const RETRY: &str = "retry = { first = \"5ms\", max = \"10ms\" }\n";

fn file(more: &str) -> String {
    format!("{FILE}{more}")
}

/// The messages that came in, without the questions.
async fn rows(running: &Running) -> Vec<MessageRow> {
    let mut rows = running.messages("adt").await;
    rows.retain(|row| row.origin.is_none());
    rows
}

async fn become_states(running: &Running, wanted: &[DeliveryState]) {
    eventually(async || {
        let rows = rows(running).await;
        let states: Vec<DeliveryState> = rows.iter().map(|row| row.deliveries[0].state).collect();
        (states == wanted).then_some(())
    })
    .await;
}

/// The tries of a message: verdict and reason.
async fn tries(running: &Running, n: usize) -> Vec<(String, String)> {
    let id = rows(running).await[n].id;
    let delivery = running.detail(id).await.deliveries.remove(0);
    let told = delivery.attempts.into_iter();
    told.map(|row| (row.verdict, row.why.unwrap_or_default()))
        .collect()
}

async fn verdicts(running: &Running, n: usize) -> Vec<String> {
    let tries = tries(running, n).await;
    tries.into_iter().map(|(verdict, _)| verdict).collect()
}

async fn send(running: &Running, texts: &[&str]) {
    for text in texts {
        running.send("in", text).await;
    }
}

const SENT: DeliveryState = DeliveryState::Sent;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_was_sent_and_what_is_not_there_is_sent_again() {
    for order in ["", "order_by = \"patient\"\nparallel = 4\n"] {
        let place = Place::new();
        let running = place
            .start(place.channels(&[&file(&format!("{ASKS}{RETRY}{order}"))]))
            .await;
        for answer in ["lost", "gone", "lost"] {
            place.ends.answer("erp", answer);
        }
        place.ends.tells("several");
        send(&running, &["1:a for P1", "2:b for P1", "3:c for P1"]).await;
        become_states(&running, &[SENT; 3]).await;
        let got = place.ends.got("erp");
        assert_eq!(got, ["1:a for P1", "2:b for P1", "2:b for P1", "3:c for P1"]);
        let has = |why: &str| ("accepted".to_owned(), format!("erp was asked, and has {why}"));
        let lost = ("unsure".to_owned(), "lost".to_owned());
        assert_eq!(tries(&running, 0).await, [lost.clone(), has("2 of it")]);
        let second = tries(&running, 1).await;
        let not_there = ("retry".to_owned(), "erp was asked: it is not there".to_owned());
        assert_eq!(second[..2], [lost.clone(), not_there]);
        // What was sent again is lost too.
        assert_eq!(second[2..], [lost, has("it")]);
        assert_eq!(verdicts(&running, 2).await, ["accepted"]);

        // Each question is a message of its own, and says for which one it was asked.
        let first = rows(&running).await[0].id;
        let mut questions = running.messages("adt").await;
        questions.retain(|row| row.state == MessageState::Answered);
        assert_eq!(questions.len(), 3);
        let origin = questions[0].origin.clone().unwrap();
        assert_eq!((origin.by, origin.message), (By::Ask, first));
        let question = running.detail(questions[0].id).await;
        assert_eq!(&question.body[..], b"1:a for P1");
        let by = ("asked:by".to_owned(), "destination[0].on_unsure".to_owned());
        assert!(question.headers.contains(&by), "{:?}", question.headers);
        // A step that asks the same in a rehearsal is not told what was answered to this.
        let store = running.engine.store().as_ref();
        let answers = Answers::of_message(store, &running.detail(first).await)
            .await
            .unwrap();
        let same = Question {
            step: "step[0].lookup".to_owned(),
            destination: "erp".to_owned(),
            body: question.body,
            within: Duration::from_secs(1),
        };
        assert!(matches!(
            answers.of(&same, &Text { name: "text" }),
            Known::WouldAsk
        ));
        running.engine.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_be_asked_is_asked_again_and_the_next_waits() {
    let place = Place::new();
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{RETRY}"))]))
        .await;
    place.ends.answer("erp", "lost");
    for told in ["down", "no", "busy"] {
        place.ends.tells(told);
    }
    send(&running, &["1:a", "2:b"]).await;
    become_states(&running, &[SENT; 2]).await;
    assert_eq!(place.ends.got("erp"), ["1:a", "2:b"], "never sent blindly");
    let why: Vec<String> = tries(&running, 0).await.into_iter().map(|(_, why)| why).collect();
    let wanted = [
        "lost",
        "erp could not be asked: nobody is there",
        "erp refused the question: no",
        "erp could not be asked: busy",
        "erp was asked, and has it",
    ];
    assert_eq!(why, wanted);
    let last_asked = place.ends.asked().last().unwrap().2;
    assert!(last_asked < place.ends.arrived()[1], "the next one waits");
    let failed = running.messages("adt").await;
    let failed = failed.iter().filter(|row| row.state == MessageState::Failed);
    assert_eq!(failed.count(), 3);
    running.engine.stop().await.unwrap();
}

/// Held, also where what can't be sent is set aside: nobody knows whether it was taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_be_asked_for_too_long_or_at_all_is_held() {
    for (question, why) in [
        ("{$}", "erp could not be asked: nobody is there"),
        ("{none}", "none has no value, so that erp can't be asked for it"),
    ] {
        let place = Place::new();
        place.ends.is_deaf.store(true, Ordering::SeqCst);
        place.ends.answer("erp", "lost");
        let file = file(&format!(
            "on_unsure = {{ ask = \"erp\", question = \"{question}\" }}\non_error = \"dead\"\n\
             retry = {{ first = \"5ms\", max = \"10ms\", give_up = \"60ms\" }}\n"
        ));
        let running = place.start(place.channels(&[&file])).await;
        send(&running, &["1:a", "2:b"]).await;
        become_states(&running, &[DeliveryState::Held, DeliveryState::Queued]).await;
        assert_eq!(place.ends.got("erp"), ["1:a"]);
        let last = tries(&running, 0).await.pop().unwrap();
        assert_eq!(last, ("unsure".to_owned(), why.to_owned()));
        assert_eq!(place.ends.asked().is_empty(), question == "{none}");
        running.engine.stop().await.unwrap();
    }
}

/// What is not there in spite of all tries goes the way of what nobody takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_never_there_is_given_up() {
    let place = Place::new();
    place.ends.always("1:", Some("gone"));
    let retry = "retry = { first = \"5ms\", max = \"10ms\", give_up = \"100ms\" }\non_error = \"dead\"\n";
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{retry}"))]))
        .await;
    send(&running, &["1:a", "2:b"]).await;
    become_states(&running, &[DeliveryState::Dead, SENT]).await;
    let last = tries(&running, 0).await.pop().unwrap();
    assert_eq!(last.1, "erp was asked: it is not there");
    assert!(2 < place.ends.got("erp").len());
    running.engine.stop().await.unwrap();
}

/// One that was being sent when the program ended.
async fn ended_while_it_was_sent(place: &Place, settings: &str) -> Running {
    let channels = || place.channels(&[&file(settings)]);
    place.ends.always("1:", Some("busy"));
    let running = place.start(channels()).await;
    send(&running, &["1:a for P1", "2:b for P1"]).await;
    become_states(&running, &[DeliveryState::Retrying, DeliveryState::Queued]).await;
    let id = rows(&running).await[0].id;
    let delivery = running.detail(id).await.deliveries[0].row.id;
    running.engine.stop().await.unwrap();
    place.ends.always("1:", None);
    let store = place.open_store().await;
    store.sending(delivery).await.unwrap();
    store.close().await.unwrap();
    place.start(channels()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_sent_when_the_program_ended_is_asked_for_after_a_pause() {
    const PAUSE: &str = "retry = { first = \"300ms\", max = \"300ms\" }\n";
    for order in ["", "order_by = \"patient\"\nparallel = 4\n"] {
        for is_taken in [true, false] {
            let place = Place::new();
            if is_taken {
                place.ends.taken.lock().unwrap().push("1:a for P1".to_owned());
            }
            let running = ended_while_it_was_sent(&place, &format!("{ASKS}{PAUSE}{order}")).await;
            become_states(&running, &[SENT; 2]).await;
            let mut got = place.ends.got("erp");
            got.dedup();
            assert_eq!(got, ["1:a for P1", "2:b for P1"]);
            // That nobody took it at first was one, and the other one is the last.
            let sends = place.ends.got("erp").len();
            let busy = verdicts(&running, 0).await;
            let busy = busy.iter().take_while(|verdict| *verdict == "retry").count();
            assert_eq!(sends, busy + 1 + usize::from(!is_taken));
            let tries = tries(&running, 0).await;
            assert_eq!(
                tries[busy],
                (
                    "unsure".to_owned(),
                    "the program ended while it was sent".to_owned()
                )
            );
            // The far side may still be at work on it.
            let id = rows(&running).await[0].id;
            let since = running.detail(id).await.deliveries[0].attempts[busy].at;
            let pause = place.ends.asked()[0].2.duration_since(since);
            assert!(270 <= pause.as_millis(), "{pause:?}");
            running.engine.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_sent_is_held_where_the_channel_says_so_and_what_is_behind_it_waits() {
    for order in ["", "order_by = \"patient\"\nparallel = 4\n"] {
        let place = Place::new();
        let settings = format!("on_unsure = \"hold\"\n{RETRY}{order}");
        let running = ended_while_it_was_sent(&place, &settings).await;
        become_states(&running, &[DeliveryState::Held, DeliveryState::Queued]).await;
        let released = || Decide {
            word: DecidedWord::Released,
            only: vec![],
            was: None,
            by: "anna".into(),
            reason: "they say that they have not got it".into(),
        };
        let id = rows(&running).await[0].id;
        // Its worker may have it in hand for a moment more.
        eventually(async || running.engine.decide(id, released()).await.ok()).await;
        become_states(&running, &[SENT; 2]).await;
        let mut got = place.ends.got("erp");
        got.dedup();
        assert_eq!(got, ["1:a for P1", "2:b for P1"]);
        running.engine.stop().await.unwrap();
    }
}

/// A key whose first one is unsure stands still, and the others flow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_unsure_waits_alone() {
    let place = Place::new();
    place.ends.is_deaf.store(true, Ordering::SeqCst);
    place.ends.always("1:", Some("lost"));
    place.ends.always("3:", Some("gone"));
    let running = place
        .start(place.channels(&[&file(&format!(
            "{ASKS}{RETRY}order_by = \"patient\"\nparallel = 4\n"
        ))]))
        .await;
    let texts = [
        "1:a for P1",
        "2:b for P1",
        "3:a for P2",
        "4:b for P2",
        "5:a for P3",
        "6:c for P1",
    ];
    send(&running, &texts).await;
    let (unsure, waits) = (DeliveryState::Unsure, DeliveryState::Queued);
    become_states(&running, &[unsure, waits, unsure, waits, SENT, waits]).await;
    place.ends.always("3:", None);
    place.ends.is_deaf.store(false, Ordering::SeqCst);
    become_states(&running, &[SENT; 6]).await;
    let of = |patient: &str| {
        let mut got = place.ends.got("erp");
        got.retain(|text| text.ends_with(patient));
        got
    };
    assert_eq!(of("P1"), ["1:a for P1", "2:b for P1", "6:c for P1"]);
    assert_eq!(of("P2"), ["3:a for P2", "3:a for P2", "4:b for P2"]);
    running.engine.stop().await.unwrap();
}

/// A question that says nothing must not be waited for by those that ask whether the far side takes anything at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_does_not_keep_a_destination_left_alone() {
    let place = Place::new();
    place.ends.is_deaf.store(true, Ordering::SeqCst);
    place.ends.always("1:", Some("lost"));
    let breaks = "order_by = \"patient\"\nparallel = 1\nbreaker = { after = 1, pause = \"30ms\" }\n";
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{RETRY}{breaks}"))]))
        .await;
    send(&running, &["1:a for P1"]).await;
    become_states(&running, &[DeliveryState::Unsure]).await;
    place.ends.always("2:", Some("busy"));
    send(&running, &["2:a for P2"]).await;
    eventually(async || {
        let rows = running.engine.channels().await.unwrap();
        (!rows[0].left_alone.is_empty()).then_some(())
    })
    .await;
    let asked = place.ends.asked().len();
    eventually(async || (asked + 3 < place.ends.asked().len()).then_some(())).await;
    place.ends.always("2:", None);
    place.ends.is_deaf.store(false, Ordering::SeqCst);
    become_states(&running, &[SENT; 2]).await;
    assert_eq!(
        verdicts(&running, 0).await.last().map(String::as_str),
        Some("accepted")
    );
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_destination_is_asked_unless_it_stands_still() {
    let place = Place::new();
    let asks = "on_unsure = { ask = \"registry\", question = \"{$}\" }\n";
    let registry = "[[destination]]\nname = \"registry\"\nwhen = \"asked\"\nfake.name = \"registry\"\n";
    let running = place
        .start(place.channels(&[&file(&format!("{asks}{RETRY}{registry}"))]))
        .await;
    let halt = |destination: &str| Halt {
        channel: "adt".into(),
        destination: Some(destination.into()),
        word: HaltWord::Stopped,
        since: place.ends.clock.now(),
        by: "anna".into(),
        reason: None,
    };
    running.engine.halt(halt("registry")).await.unwrap();
    place.ends.answer("erp", "lost");
    send(&running, &["1:a"]).await;
    eventually(async || (2 < verdicts(&running, 0).await.len()).then_some(())).await;
    let second = tries(&running, 0).await.remove(1);
    assert!(
        second.1.contains("registry could not be asked: it stands still"),
        "{second:?}"
    );
    assert!(place.ends.asked().is_empty());
    // One that stands still itself asks nobody.
    running.engine.halt(halt("erp")).await.unwrap();
    running
        .engine
        .resume("adt", Some("registry"), "anna")
        .await
        .unwrap();
    // Several pauses long.
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(place.ends.asked().is_empty());
    running.engine.resume("adt", Some("erp"), "anna").await.unwrap();
    become_states(&running, &[SENT]).await;
    assert_eq!(place.ends.asked().last().unwrap().0, "registry");
    assert_eq!(place.ends.got("erp"), ["1:a"]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unsure_when_the_channel_says_hold_is_held() {
    let place = Place::new();
    place.ends.is_deaf.store(true, Ordering::SeqCst);
    place.ends.answer("erp", "lost");
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{RETRY}"))]))
        .await;
    send(&running, &["1:a", "2:b"]).await;
    become_states(&running, &[DeliveryState::Unsure, DeliveryState::Queued]).await;
    let holds = file(&format!("on_unsure = \"hold\"\n{RETRY}"));
    running.engine.reload(place.channels(&[&holds])).await.unwrap();
    become_states(&running, &[DeliveryState::Held, DeliveryState::Queued]).await;
    assert_eq!(place.ends.got("erp"), ["1:a"]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_outside_the_window() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let place = Place::new();
    let window = "window = { open = \"07:00-19:00\", days = \"mon-fri\" }\n";
    place.ends.clock.set(at("2026-05-08T18:59:00+03:00"));
    place.ends.takes_until(at("2026-05-08T19:00:00+03:00"));
    place.ends.answer("erp", "lost");
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{RETRY}{window}"))]))
        .await;
    send(&running, &["1:a"]).await;
    become_states(&running, &[DeliveryState::Unsure]).await;
    let opening = at("2026-05-11T07:00:00+03:00");
    place.ends.clock.set(opening);
    send(&running, &["2:b"]).await;
    become_states(&running, &[SENT; 2]).await;
    assert!(opening <= place.ends.asked()[0].2);
    assert_eq!(place.ends.got("erp"), ["1:a", "2:b"]);
    running.engine.stop().await.unwrap();
}

/// What its answer would have said is lost; that of the next one is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_of_an_answer_that_is_lost() {
    let place = Place::new();
    let archive = "id = \"archive\"\n[source]\nformat = \"text\"\nchannel = {}\n";
    let response = "[[destination.response]]\nchannel = \"archive\"\n";
    let running = place
        .start(place.channels(&[&file(&format!("{ASKS}{RETRY}{response}")), archive]))
        .await;
    for answer in ["lost", "gone", "b:fine"] {
        place.ends.answer("erp", answer);
    }
    send(&running, &["1:a", "2:b"]).await;
    become_states(&running, &[SENT; 2]).await;
    let archived = running.messages_of("archive", 1).await;
    assert_eq!(archived.len(), 1);
    assert_eq!(running.detail(archived[0].id).await.body, "b:fine");
    assert_eq!(place.ends.got("erp"), ["1:a", "2:b", "2:b"]);
    running.engine.stop().await.unwrap();
}
