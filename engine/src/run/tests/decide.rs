//! What a person decides about deliveries: it is done at once, in order, and nothing is sent after it was answered.

use std::time::Duration;

use uuid::Uuid;

use super::{Place, Running, eventually};
use crate::message::DeliveryState;
use crate::run::{Decide, Decided, EngineError, decide_at_rest};
use crate::store::{DecidedWord, Store};

const FILE: &str = "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"ris\"\nfake.name = \"ris\"\n\
     retry = { first = \"5ms\", max = \"10ms\" }\n";

const ASKS: &str = "on_unsure = { ask = \"ris\", question = \"{$}\" }\n";

fn file(more: &str) -> String {
    format!("{FILE}{more}")
}

fn about(word: DecidedWord) -> Decide {
    Decide {
        word,
        only: vec![],
        was: None,
        by: "anna".into(),
        reason: "phoned the ward".into(),
    }
}

async fn decide(running: &Running, id: Uuid, word: DecidedWord) -> Result<Decided, EngineError> {
    running.engine.decide(id, about(word)).await
}

async fn states(running: &Running) -> Vec<DeliveryState> {
    let rows = running.messages("adt").await;
    rows.iter().map(|row| row.deliveries[0].state).collect()
}

async fn become_states(running: &Running, wanted: &[DeliveryState]) {
    eventually(async || (states(running).await == wanted).then_some(())).await;
}

/// Three messages, the first of which is refused and held.
async fn held(place: &Place, more: &str) -> (Running, Vec<Uuid>) {
    place.ends.answer("ris", "no");
    let running = place.start(place.channels(&[&file(more)])).await;
    for text in ["1:a", "2:b", "3:c"] {
        running.send("in", text).await;
    }
    let waits = DeliveryState::Queued;
    become_states(&running, &[DeliveryState::Held, waits, waits]).await;
    let ids = running.messages("adt").await.iter().map(|row| row.id).collect();
    (running, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_head_is_released_and_the_queue_follows_in_order() {
    for more in ["", "on_unsure = \"hold\"\n", ASKS] {
        let place = Place::new();
        let (running, ids) = held(&place, more).await;
        let decided = decide(&running, ids[0], DecidedWord::Released).await.unwrap();
        assert_eq!(decided.decided.len(), 1);
        assert_eq!(decided.decided[0].was, DeliveryState::Held);
        become_states(&running, &[DeliveryState::Sent; 3]).await;
        assert_eq!(place.ends.got("ris"), ["1:a", "1:a", "2:b", "3:c"]);
        let delivery = running.detail(ids[0]).await.deliveries.remove(0);
        assert_eq!(delivery.row.attempts, 2, "a decision is no try");
        let verdicts: Vec<&str> = delivery.attempts.iter().map(|row| row.verdict.as_str()).collect();
        assert_eq!(verdicts, ["refused", "released", "accepted"]);
        assert_eq!(delivery.attempts[1].by.as_deref(), Some("anna"));
        assert_eq!(delivery.attempts[1].why.as_deref(), Some("phoned the ward"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_or_cancelled_is_not_sent_and_the_next_goes() {
    for (word, state) in [
        (DecidedWord::Done, DeliveryState::Sent),
        (DecidedWord::Cancelled, DeliveryState::Cancelled),
    ] {
        let place = Place::new();
        let (running, ids) = held(&place, "").await;
        // One that only waits can be cancelled too, and not called done.
        let refused = decide(&running, ids[1], DecidedWord::Done).await.unwrap_err();
        assert!(refused.to_string().contains("ris queued"), "{refused}");
        decide(&running, ids[1], DecidedWord::Cancelled).await.unwrap();
        decide(&running, ids[0], word).await.unwrap();
        become_states(&running, &[state, DeliveryState::Cancelled, DeliveryState::Sent]).await;
        assert_eq!(place.ends.got("ris"), ["1:a", "3:c"]);
        // What is over stays so.
        for again in DecidedWord::ALL {
            let refused = decide(&running, ids[1], again).await.unwrap_err();
            assert!(matches!(refused, EngineError::NotNow(_)), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dead_is_sent_again_and_has_all_its_time_again() {
    let place = Place::new();
    place.ends.always("a", Some("busy"));
    let settings = "on_error = \"dead\"\n".to_owned();
    let text = file(&settings).replace("max = \"10ms\"", "max = \"10ms\", give_up = \"100ms\"");
    let running = place.start(place.channels(&[&text])).await;
    running.send("in", "1:a").await;
    become_states(&running, &[DeliveryState::Dead]).await;
    let id = running.messages("adt").await[0].id;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let before = place.ends.got("ris").len();
    decide(&running, id, DecidedWord::Released).await.unwrap();
    eventually(async || (before + 2 < place.ends.got("ris").len()).then_some(())).await;
    become_states(&running, &[DeliveryState::Dead]).await;
    place.ends.always("a", None);
    decide(&running, id, DecidedWord::Released).await.unwrap();
    become_states(&running, &[DeliveryState::Sent]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_stands_goes_on_alone() {
    let place = Place::new();
    place.ends.always("a for P1", Some("no"));
    place.ends.always("a for P3", Some("no"));
    let text = file("order_by = \"patient\"\nparallel = 4\n");
    let running = place.start(place.channels(&[&text])).await;
    for text in [
        "1:a for P1",
        "2:b for P1",
        "3:a for P2",
        "4:a for P3",
        "5:b for P3",
        "6:c for P1",
    ] {
        running.send("in", text).await;
    }
    let (sent, held, waits) = (DeliveryState::Sent, DeliveryState::Held, DeliveryState::Queued);
    become_states(&running, &[held, waits, sent, held, waits, waits]).await;
    place.ends.always("a for P1", None);
    let ids: Vec<Uuid> = running.messages("adt").await.iter().map(|row| row.id).collect();
    decide(&running, ids[0], DecidedWord::Released).await.unwrap();
    become_states(&running, &[sent, sent, sent, held, waits, sent]).await;
    let p1: Vec<String> = place
        .ends
        .got("ris")
        .into_iter()
        .filter(|text| text.ends_with("P1"))
        .collect();
    assert_eq!(p1, ["1:a for P1", "1:a for P1", "2:b for P1", "6:c for P1"]);
    decide(&running, ids[3], DecidedWord::Cancelled).await.unwrap();
    become_states(
        &running,
        &[sent, sent, sent, DeliveryState::Cancelled, sent, sent],
    )
    .await;
}

/// Many are cancelled while they are sent as fast as may be. Whoever is told that it is cancelled has not been sent and is
/// not sent; whoever is told no has been or is being sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_after_it_was_said_to_be_cancelled() {
    for more in [
        "",
        "on_unsure = \"hold\"\n",
        ASKS,
        "order_by = \"patient\"\nparallel = 4\n",
    ] {
        let place = Place::new();
        *place.ends.takes.lock().unwrap() = Duration::from_millis(12);
        let running = place.start(place.channels(&[&file(more)])).await;
        for n in 0..120 {
            running.send("in", &format!("{n}:x for P{}", n % 7)).await;
        }
        let rows = running.messages("adt").await;
        let (mut cancelled, mut refused) = (vec![], 0);
        for (n, row) in rows.iter().enumerate().rev().filter(|(n, _)| n % 3 != 0) {
            match decide(&running, row.id, DecidedWord::Cancelled).await {
                Ok(_) => {
                    let text = format!("{n}:x for P{}", n % 7);
                    assert!(!place.ends.got("ris").contains(&text), "{text} had been sent");
                    cancelled.push(text);
                }
                Err(EngineError::NotNow(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        eventually(async || {
            states(&running)
                .await
                .iter()
                .all(|state| state.is_over())
                .then_some(())
        })
        .await;
        let got = place.ends.got("ris");
        assert!(
            !cancelled.is_empty(),
            "{more}: nothing could be cancelled, {refused} refused"
        );
        for text in &cancelled {
            assert!(!got.contains(text), "{more}: {text} was sent all the same");
        }
        assert_eq!(
            got.len() + cancelled.len(),
            rows.len(),
            "{more}: the others went once each"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_sent_is_not_decided_about() {
    let place = Place::new();
    *place.ends.takes.lock().unwrap() = Duration::from_millis(400);
    let running = place.start(place.channels(&[&file("")])).await;
    running.send("in", "1:a").await;
    eventually(async || (!place.ends.got("ris").is_empty()).then_some(())).await;
    let id = running.messages("adt").await[0].id;
    let refused = decide(&running, id, DecidedWord::Cancelled).await.unwrap_err();
    assert!(refused.to_string().contains("being sent just now"), "{refused}");
    become_states(&running, &[DeliveryState::Sent]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_decided_without_an_engine_too_and_kept_over_a_restart() {
    let place = Place::new();
    let (running, ids) = held(&place, "").await;
    running.engine.stop().await.unwrap();
    let store = place.open_store().await;
    let now = place.ends.clock.now();
    let nothing = Decide {
        reason: " ".into(),
        ..about(DecidedWord::Released)
    };
    let wrong = decide_at_rest(store.as_ref(), ids[0], nothing, now).await;
    assert!(matches!(wrong, Err(EngineError::Wrong(_))));
    decide_at_rest(store.as_ref(), ids[0], about(DecidedWord::Released), now)
        .await
        .unwrap();
    decide_at_rest(store.as_ref(), ids[1], about(DecidedWord::Cancelled), now)
        .await
        .unwrap();
    store.close().await.unwrap();
    let running = place.start(place.channels(&[&file("")])).await;
    become_states(
        &running,
        &[DeliveryState::Sent, DeliveryState::Cancelled, DeliveryState::Sent],
    )
    .await;
    assert_eq!(place.ends.got("ris"), ["1:a", "1:a", "3:c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_refused_goes_on() {
    // What waits for another channel is fed, not sent.
    let place = Place::new();
    let adt = "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"ris\"\nchannel = \"on\"\n";
    let on = "id = \"on\"\n[source]\nformat = \"text\"\nchannel = {}\n[[destination]]\nname = \"ris\"\nfake.name = \"ris\"\n";
    let running = place.start(place.channels(&[adt, on])).await;
    let halt = crate::store::Halt {
        channel: "adt".into(),
        destination: Some("ris".into()),
        word: crate::store::HaltWord::Paused,
        since: place.ends.clock.now(),
        by: "anna".into(),
        reason: None,
    };
    running.engine.halt(halt).await.unwrap();
    for text in ["1:a", "2:b"] {
        running.send("in", text).await;
    }
    let ids: Vec<Uuid> = running.messages("adt").await.iter().map(|row| row.id).collect();
    decide(&running, ids[0], DecidedWord::Cancelled).await.unwrap();
    running.engine.resume("adt", Some("ris"), "anna").await.unwrap();
    become_states(&running, &[DeliveryState::Cancelled, DeliveryState::Sent]).await;
    eventually(async || (place.ends.got("ris") == ["2:b"]).then_some(())).await;
}
