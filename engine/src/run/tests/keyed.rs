//! Destinations whose order goes by a key, and those that take nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Place, Running, eventually};
use crate::connector::Outcome;
use crate::message::DeliveryState;

const FILE: &str =
    "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"lis\"\nfake.name = \"lis\"\n";

fn file(more: &str) -> String {
    format!("{FILE}{more}")
}

const BY_PATIENT: &str = "order_by = \"patient\"\nparallel = 4\nretry = { first = \"20ms\", max = \"20ms\" }\n\
    breaker = { after = 10000, pause = \"1s\" }\n";

/// What came first of each text, in its order.
fn first_arrivals(got: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    got.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

/// The first arrivals of each patient.
fn by_patient(got: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in first_arrivals(got) {
        let patient = text.split_once(" for ").map_or("", |(_, patient)| patient);
        by.entry(patient.to_owned()).or_default().push(text);
    }
    by
}

async fn states(running: &Running) -> Vec<DeliveryState> {
    let rows = running.messages("adt").await;
    rows.iter().map(|row| row.deliveries[0].state).collect()
}

async fn send_all(running: &Running, texts: &[&str]) {
    for text in texts {
        assert_eq!(running.send("in", text).await.outcome, Outcome::Stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_held_another_tried_again_a_third_unsure_and_the_others_flow() {
    let place = Place::new();
    let channels = || place.channels(&[&file(BY_PATIENT)]);
    place.ends.always("for held", Some("no"));
    place.ends.always("for busy", Some("busy"));
    place.ends.always("for lost", Some("lost"));
    let running = place.start(channels()).await;
    send_all(
        &running,
        &[
            "1:a for held",
            "2:a for busy",
            "3:a for lost",
            "4:a for P1",
            "5:a",
        ],
    )
    .await;
    send_all(
        &running,
        &[
            "6:b for held",
            "7:b for busy",
            "8:b for lost",
            "9:b for P1",
            "10:b",
        ],
    )
    .await;
    let flow = async |running: &Running, n: u32| {
        let more = format!("{n}:c for P1");
        send_all(running, &[&more]).await;
        eventually(async || place.ends.got("lis").contains(&more).then_some(())).await;
    };
    flow(&running, 11).await;
    eventually(async || {
        (3 <= place
            .ends
            .got("lis")
            .iter()
            .filter(|text| *text == "2:a for busy")
            .count())
        .then_some(())
    })
    .await;
    let of = |patient: &str| {
        by_patient(place.ends.got("lis"))
            .remove(patient)
            .unwrap_or_default()
    };
    assert_eq!(of("P1"), ["4:a for P1", "9:b for P1", "11:c for P1"]);
    eventually(async || (of("") == ["5:a", "10:b"]).then_some(())).await;
    for patient in ["held", "busy", "lost"] {
        assert_eq!(
            of(patient).len(),
            1,
            "{patient}: the second one waits for the first"
        );
    }
    let held = place
        .ends
        .got("lis")
        .iter()
        .filter(|text| text.ends_with("held"))
        .count();
    assert_eq!(held, 1, "what was refused is not sent again");
    let stand = states(&running).await;
    assert_eq!((stand[0], stand[5]), (DeliveryState::Held, DeliveryState::Queued));

    // The same after a restart: the held one stands still, the others go on where they were.
    running.engine.stop().await.unwrap();
    let running = place.start(channels()).await;
    flow(&running, 12).await;
    place.ends.always("for busy", None);
    place.ends.always("for lost", None);
    eventually(async || (of("busy") == ["2:a for busy", "7:b for busy"]).then_some(())).await;
    eventually(async || (of("lost") == ["3:a for lost", "8:b for lost"]).then_some(())).await;
    assert_eq!(of("held"), ["1:a for held"]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_at_once_and_each_key_in_its_order() {
    let place = Place::new();
    *place.ends.takes.lock().unwrap() = Duration::from_millis(3);
    place.ends.always("7:", Some("busy"));
    let channels = || place.channels(&[&file(BY_PATIENT)]);
    let running = place.start(channels()).await;
    let mut sent = vec![];
    for n in 0..300 {
        // Patients of different numbers of messages; every tenth message has none.
        let text = match n % 10 {
            9 => format!("{n}:hello"),
            _ => format!("{n}:hello for P{}", n * n % 13),
        };
        send_all(&running, &[&text]).await;
        sent.push(text);
        if n == 150 {
            place.ends.always("7:", None);
        }
    }
    eventually(async || (first_arrivals(place.ends.got("lis")).len() == 300).then_some(())).await;
    assert_eq!(by_patient(place.ends.got("lis")), by_patient(sent));
    assert_eq!(place.ends.most_at_once.load(Ordering::SeqCst), 4);
    eventually(async || {
        states(&running)
            .await
            .iter()
            .all(|state| *state == DeliveryState::Sent)
            .then_some(())
    })
    .await;
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_about_two_keeps_its_order_with_all() {
    let place = Place::new();
    place.ends.always("for P1", Some("busy"));
    let running = place.start(place.channels(&[&file(BY_PATIENT)])).await;
    send_all(
        &running,
        &[
            "1:a for P1",
            "2:a for P2",
            "3:merge for P2+P3",
            "4:b for P2",
            "5:a for P3",
            "6:a for P4",
        ],
    )
    .await;
    eventually(async || {
        (3 <= place
            .ends
            .got("lis")
            .iter()
            .filter(|text| *text == "1:a for P1")
            .count())
        .then_some(())
    })
    .await;
    assert_eq!(
        first_arrivals(place.ends.got("lis")),
        ["1:a for P1", "2:a for P2"]
    );
    place.ends.always("for P1", None);
    eventually(async || (first_arrivals(place.ends.got("lis")).len() == 6).then_some(())).await;
    let got = first_arrivals(place.ends.got("lis"));
    assert_eq!(got[..3], ["1:a for P1", "2:a for P2", "3:merge for P2+P3"]);
    let of_p2 = got.iter().filter(|text| text.ends_with("for P2"));
    assert_eq!(of_p2.collect::<Vec<_>>(), ["2:a for P2", "4:b for P2"]);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_by_a_reload_keeps_the_order_of_what_waits() {
    let place = Place::new();
    place.ends.always("1:", Some("busy"));
    let retry = "retry = { first = \"20ms\", max = \"20ms\" }\n";
    let running = place.start(place.channels(&[&file(retry)])).await;
    send_all(&running, &["1:a for P1", "2:a for P2", "3:b for P1"]).await;
    running
        .engine
        .reload(place.channels(&[&file(BY_PATIENT)]))
        .await
        .unwrap();
    send_all(&running, &["4:b for P2", "5:c for P1"]).await;
    eventually(async || (5 <= place.ends.got("lis").len()).then_some(())).await;
    assert_eq!(first_arrivals(place.ends.got("lis")), ["1:a for P1"]);
    place.ends.always("1:", None);
    eventually(async || (first_arrivals(place.ends.got("lis")).len() == 5).then_some(())).await;
    let got = first_arrivals(place.ends.got("lis"));
    assert_eq!(got[..3], ["1:a for P1", "2:a for P2", "3:b for P1"]);
    // And back: one after the other.
    place.ends.always("6:", Some("busy"));
    send_all(&running, &["6:d for P1", "7:c for P2"]).await;
    eventually(async || {
        place
            .ends
            .got("lis")
            .contains(&"7:c for P2".to_owned())
            .then_some(())
    })
    .await;
    running
        .engine
        .reload(place.channels(&[&file(retry)]))
        .await
        .unwrap();
    send_all(&running, &["8:d for P2"]).await;
    place.ends.always("6:", None);
    eventually(async || (first_arrivals(place.ends.got("lis")).last()? == "8:d for P2").then_some(())).await;
    running.engine.stop().await.unwrap();
}

/// A message that failed and is sent again keeps its place: it may stand before what was sent meanwhile, and before
/// what waits it must stand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_failed_first_and_comes_again_goes_before_those_after_it() {
    let place = Place::new();
    let breaks = file(&format!(
        "{BY_PATIENT}step = [{{ filter = {{ \"$\" = {{ not = {{ matches = \"x\" }} }} }} }}]\n"
    ));
    let fails = breaks.replace("[[destination]]", "[[step]]\ndecode = \"text\"\n[[destination]]");
    let running = place.start(place.channels(&[&fails])).await;
    let first = running.send("in", "1:a for P1").await;
    assert_eq!(first.outcome, Outcome::Failed);
    place.ends.always("2:", Some("busy"));
    // The channel is mended, and the sender sends it again.
    running.engine.reload(place.channels(&[&breaks])).await.unwrap();
    send_all(&running, &["2:b for P1", "3:c for P1"]).await;
    eventually(async || {
        place
            .ends
            .got("lis")
            .contains(&"2:b for P1".to_owned())
            .then_some(())
    })
    .await;
    let again = running.send("in", "1:a for P1").await;
    assert_eq!(
        (again.outcome, again.message),
        (Outcome::Stored, first.message),
        "it is the same message"
    );
    eventually(async || {
        place
            .ends
            .got("lis")
            .contains(&"1:a for P1".to_owned())
            .then_some(())
    })
    .await;
    place.ends.always("2:", None);
    eventually(async || {
        place
            .ends
            .got("lis")
            .contains(&"3:c for P1".to_owned())
            .then_some(())
    })
    .await;
    let mut got = place.ends.got("lis");
    got.reverse();
    let last = first_arrivals(got);
    assert_eq!(
        last,
        ["3:c for P1", "2:b for P1", "1:a for P1"],
        "by last arrivals, the last one first"
    );
    assert_eq!(running.messages("adt").await.len(), 3);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_takes_nothing_is_left_alone_and_asked_by_one() {
    let place = Place::new();
    place.ends.always(":", Some("busy"));
    let by_key = file(
        "order_by = \"patient\"\nparallel = 8\nretry = { first = \"1ms\", max = \"1ms\", give_up = \"1h\" }\nbreaker = { after = 3, pause = \"300ms\" }\non_error = \"dead\"\n",
    );
    // At first one at a time, so that the count is exact.
    let running = place
        .start(place.channels(&[&by_key.replace("parallel = 8", "parallel = 1")]))
        .await;
    for n in 0..20 {
        send_all(&running, &[&format!("{n}:a for P{n}")]).await;
    }
    let open = eventually(async || {
        running.engine.channels().await.unwrap()[0]
            .left_alone
            .first()
            .cloned()
    })
    .await;
    assert_eq!(open.destination, "lis");
    let tries = place.ends.got("lis").len();
    assert!((3..=4).contains(&tries), "{tries}");
    // Each pause one try, also where many may be under way at once. What is not tried uses no retries up.
    running.engine.reload(place.channels(&[&by_key])).await.unwrap();
    let now = place.ends.clock.now();
    place.ends.clock.set(now + Duration::from_secs(3 * 3600));
    eventually(async || (6 <= place.ends.got("lis").len()).then_some(())).await;
    assert!(
        !states(&running).await.contains(&DeliveryState::Dead),
        "the pauses have used its time up"
    );
    let arrived = place.ends.arrived();
    for two in arrived[3..].windows(2) {
        let pause = two[1].duration_since(two[0]);
        assert!(Duration::from_millis(300) <= pause.unsigned_abs(), "{pause:?}");
    }
    place.ends.always(":", None);
    eventually(async || (first_arrivals(place.ends.got("lis")).len() == 20).then_some(())).await;
    eventually(async || {
        states(&running)
            .await
            .iter()
            .all(|state| *state == DeliveryState::Sent)
            .then_some(())
    })
    .await;
    assert!(running.engine.channels().await.unwrap()[0].left_alone.is_empty());

    // One that is refused does not count as nobody there.
    place.ends.always(":b", Some("no"));
    for n in 20..30 {
        send_all(&running, &[&format!("{n}:b for P{n}")]).await;
    }
    eventually(async || {
        (states(&running)
            .await
            .iter()
            .filter(|state| **state == DeliveryState::Dead)
            .count()
            == 10)
            .then_some(())
    })
    .await;
    assert!(running.engine.channels().await.unwrap()[0].left_alone.is_empty());
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_the_far_side_breaks_off_at_is_set_aside_while_it_takes_others() {
    let place = Place::new();
    let more =
        |more: &str| format!("{more}retry = {{ first = \"5ms\", max = \"5ms\" }}\non_error = \"dead\"\n");
    place.ends.always("bad", Some("breaks"));
    let running = place.start(place.channels(&[&file(&more(""))])).await;
    send_all(&running, &["1:a", "2:bad", "3:b", "4:bad", "5:bad", "6:c"]).await;
    // Nothing was taken between the fourth and the fifth: that one waits, and all behind it. It may be that nothing is taken any
    // more.
    let times = |text: &str| place.ends.got("lis").iter().filter(|got| *got == text).count();
    eventually(async || (20 < times("5:bad")).then_some(())).await;
    let stand = states(&running).await;
    let (dead, sent) = (DeliveryState::Dead, DeliveryState::Sent);
    assert_eq!(stand[..4], [sent, dead, sent, dead]);
    assert!(stand[4] != dead && stand[5] == DeliveryState::Queued, "{stand:?}");
    assert_eq!((times("2:bad"), times("4:bad"), times("6:c")), (5, 5, 0));
    let rows = running.messages("adt").await;
    let last = rows[1].deliveries[0].last.clone().unwrap();
    assert_eq!(
        last,
        "refused: The far side broke off 5 times at this one, and let us in each time. The last time: it fell over"
    );
    place.ends.always("bad", None);
    eventually(async || (states(&running).await[4..] == [sent, sent]).then_some(())).await;
    running.engine.stop().await.unwrap();

    // By its key, it waits for nobody else, and two of them are set aside.
    let place = Place::new();
    place.ends.always("bad", Some("breaks"));
    let running = place
        .start(place.channels(&[&file(&more("order_by = \"patient\"\n"))]))
        .await;
    send_all(
        &running,
        &["1:bad for P1", "2:bad for P2", "3:a for P1", "4:a for P2"],
    )
    .await;
    let mut n = 4;
    eventually(async || {
        n += 1;
        send_all(&running, &[&format!("{n}:c for P3")]).await;
        (states(&running).await[..4] == [dead, dead, sent, sent]).then_some(())
    })
    .await;
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_put_off_while_others_are_taken_is_set_aside_after_its_time() {
    let place = Place::new();
    let more = "order_by = \"patient\"\non_error = \"dead\"\nretry = { first = \"5ms\", max = \"5ms\", put_off = \"100ms\" }\n\
        breaker = { after = 10000, pause = \"30ms\" }\n";
    place.ends.always("bad", Some("full"));
    // What is busy is busy for all.
    place.ends.always("late", Some("busy"));
    let running = place.start(place.channels(&[&file(more)])).await;
    send_all(
        &running,
        &["1:bad for P1", "2:a for P1", "3:late for P2", "4:b for P2"],
    )
    .await;
    let (dead, sent) = (DeliveryState::Dead, DeliveryState::Sent);
    let mut n = 4;
    eventually(async || {
        n += 1;
        send_all(&running, &[&format!("{n}:c for P3")]).await;
        (states(&running).await[..2] == [dead, sent]).then_some(())
    })
    .await;
    let rows = running.messages("adt").await;
    let last = rows[0].deliveries[0].last.clone().unwrap();
    assert!(
        last.contains("for longer than 100ms, while it took others"),
        "{last}"
    );
    let times = |text: &str| place.ends.got("lis").iter().filter(|got| *got == text).count();
    eventually(async || (30 < times("3:late for P2")).then_some(())).await;
    assert_ne!(states(&running).await[2], dead);
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_never_taken_does_not_ask_for_all() {
    let place = Place::new();
    let more = "order_by = \"patient\"\nparallel = 1\nretry = { first = \"5ms\", max = \"5ms\" }\n\
        breaker = { after = 3, pause = \"30ms\" }\n";
    place.ends.always("for", Some("busy"));
    let running = place.start(place.channels(&[&file(more)])).await;
    let texts = [
        "1:a for P1",
        "2:a for P2",
        "3:a for P3",
        "4:a for P4",
        "5:a for P1",
    ];
    send_all(&running, &texts).await;
    eventually(async || (5 <= place.ends.got("lis").len()).then_some(())).await;
    // It is there again, for all but the first two.
    place.ends.always("for", None);
    place.ends.always("for P1", Some("busy"));
    place.ends.always("for P2", Some("busy"));
    let (retrying, sent) = (DeliveryState::Retrying, DeliveryState::Sent);
    let expected = [retrying, retrying, sent, sent, DeliveryState::Queued];
    eventually(async || (states(&running).await == expected).then_some(())).await;
    running.engine.stop().await.unwrap();
}
