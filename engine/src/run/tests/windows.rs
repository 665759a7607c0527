//! Destinations that are shut at night, by a clock that the tests set.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::{Place, Running, eventually};
use crate::message::{DeliveryState, MessageRow};
use crate::run::Again;
use crate::store::{Halt, HaltWord};

const FILE: &str =
    "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"portal\"\nfake.name = \"portal\"\n";

const WORKDAYS: &str = "window = { open = \"07:00-19:00\", days = \"mon-fri\" }\n";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn shown(at: Timestamp) -> (Weekday, i8, i8) {
    let local = TimeZone::get("Europe/Bucharest").unwrap().to_datetime(at);
    (local.date().weekday(), local.time().hour(), local.time().minute())
}

/// The delivery of a message once it has had so many tries.
async fn tried(running: &Running, n: usize, tries: u32) -> MessageRow {
    eventually(async || {
        let row = running.messages("adt").await.into_iter().nth(n)?;
        // A listing may read the state just before a try is written, and the try just after.
        let delivery = &row.deliveries[0];
        (tries <= delivery.attempts && delivery.state != DeliveryState::Queued).then_some(row)
    })
    .await
}

/// What is put off has its time while the destination is open: a night uses nothing of it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_is_no_part_of_the_time_for_which_one_is_put_off() {
    let place = Place::new();
    place.ends.clock.set(at("2026-03-19T18:55:00+02:00"));
    place.ends.always("bad", Some("full"));
    let retry = "retry = { first = \"10m\", max = \"10m\", put_off = \"30m\" }\n";
    let running = place
        .start(place.channels(&[&format!("{FILE}{WORKDAYS}{retry}")]))
        .await;
    running.send("in", "1:bad").await;
    // Five tries, and 56 minutes in which it was open: twice the time is an hour, since nothing else was taken.
    let times = ["19T18:55", "20T07:15", "20T07:27", "20T07:39", "20T07:51"];
    for (tries, time) in (1..).zip(times) {
        place.ends.clock.set(at(&format!("2026-03-{time}:00+02:00")));
        // Who comes wakes it.
        running.send("in", &format!("{time}:good")).await;
        let row = tried(&running, 0, tries).await;
        assert_eq!(row.deliveries[0].state, DeliveryState::Retrying, "{time}");
    }
    place.ends.clock.set(at("2026-03-20T08:03:00+02:00"));
    running.send("in", "9:good").await;
    let row = tried(&running, 0, 6).await;
    assert_eq!(row.deliveries[0].state, DeliveryState::Held);
    let last = row.deliveries[0].last.clone().unwrap();
    assert_eq!(
        last,
        "refused: The far side has put this one off 6 times, for longer than 30m, and was there each time. The last time: full"
    );
    running.engine.stop().await.unwrap();
}

/// Hour by hour through the weeks of both clock changes: what comes is sent in order, and nothing while it is shut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weeks_with_both_clock_changes() {
    let window = "window = [{ open = \"07:00-19:00\", days = \"mon-fri\" }, { open = \"22:00-03:30\", days = \"sat\" }]\n";
    let is_open = |at: Timestamp| match shown(at) {
        (Weekday::Saturday, hour, _) => 22 <= hour,
        (Weekday::Sunday, hour, minute) => (hour, minute) < (3, 30),
        (_, hour, _) => (7..19).contains(&hour),
    };
    for (start, hours_of_the_night) in [
        // By the wall: 22:20, 23:20, 0:20, 1:20, 2:20 and, but in spring, 3:20; in autumn twice.
        ("2026-03-26T12:20:00+02:00", 5),
        ("2026-10-22T12:20:00+03:00", 7),
    ] {
        let place = Place::new();
        let running = place.start(place.channels(&[&format!("{FILE}{window}")])).await;
        let mut sent = vec![];
        let mut in_the_night = 0;
        // From Thursday to Thursday.
        for hour in 0..7 * 24_u64 {
            let now = at(start) + std::time::Duration::from_secs(hour * 3600);
            place.ends.clock.set(now);
            let text = format!("{hour}:hello");
            running.send("in", &text).await;
            sent.push(text);
            if is_open(now) {
                eventually(async || (place.ends.got("portal") == sent).then_some(())).await;
                let is_night = matches!(shown(now), (Weekday::Saturday | Weekday::Sunday, _, _));
                in_the_night += usize::from(is_night);
            }
        }
        assert_eq!(in_the_night, hours_of_the_night, "{start}");
        let arrived = place.ends.arrived();
        assert!(150 < arrived.len(), "{}", arrived.len());
        let wrong: Vec<_> = arrived.into_iter().filter(|at| !is_open(*at)).collect();
        assert_eq!(wrong, [], "sent while it was shut");
        running.engine.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_waits_over_a_restart_and_goes_on_by_itself_at_the_opening() {
    let place = Place::new();
    let channels = || place.channels(&[&format!("{FILE}{WORKDAYS}")]);
    place.ends.clock.set(at("2026-05-09T12:00:00+03:00"));
    let running = place.start(channels()).await;
    for text in ["1:a", "2:b", "3:c"] {
        running.send("in", text).await;
    }
    running.engine.stop().await.unwrap();
    let opening = at("2026-05-11T07:00:00+03:00");
    place
        .ends
        .clock
        .set(opening - std::time::Duration::from_millis(700));
    let running = place.start(channels()).await;
    let row = running.engine.channels().await.unwrap().remove(0);
    if place.ends.clock.now() < opening {
        assert_eq!(row.queues["portal"]["queued"], 3);
        let shut = serde_json::to_value(&row.shut).unwrap();
        let expected = serde_json::json!([
            { "destination": "portal", "until": "2026-05-11T04:00:00Z", "says": "shut until Mon 07:00" },
        ]);
        assert_eq!(shut, expected);
    }
    // Nobody rings.
    eventually(async || (place.ends.got("portal").len() == 3).then_some(())).await;
    assert_eq!(place.ends.got("portal"), ["1:a", "2:b", "3:c"]);
    assert!(place.ends.arrived().iter().all(|at| opening <= *at));
    assert!(running.engine.channels().await.unwrap()[0].shut.is_empty());

    // What a person replays waits as well. What stands still does not wait for the opening, and is not said to.
    place.ends.clock.set(at("2026-05-11T19:00:00+03:00"));
    let first = running.messages("adt").await[0].id;
    running.engine.replay(first, Again::default()).await.unwrap();
    let halt = Halt {
        channel: "adt".into(),
        destination: Some("portal".into()),
        word: HaltWord::Paused,
        since: place.ends.clock.now(),
        by: "me".into(),
        reason: None,
    };
    running.engine.halt(halt).await.unwrap();
    assert!(running.engine.channels().await.unwrap()[0].shut.is_empty());
    running.engine.resume("adt", Some("portal"), "me").await.unwrap();
    let says = &running.engine.channels().await.unwrap()[0].shut[0].says;
    assert_eq!(says, "shut until Tue 07:00");
    let opening = at("2026-05-12T07:00:00+03:00");
    place.ends.clock.set(opening);
    running.send("in", "4:d").await;
    eventually(async || (place.ends.got("portal").len() == 5).then_some(())).await;
    assert_eq!(place.ends.got("portal")[3..], ["1:a", "4:d"]);
    assert!(place.ends.arrived()[3..].iter().all(|at| opening <= *at));
    running.engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_the_closing_ends() {
    let place = Place::new();
    let running = place.start(place.channels(&[&format!("{FILE}{WORKDAYS}")])).await;
    place.ends.clock.set(at("2026-05-08T18:59:00+03:00"));
    place.ends.takes_until(at("2026-05-08T19:00:00+03:00"));
    for text in ["1:a", "2:b"] {
        running.send("in", text).await;
    }
    let row = tried(&running, 0, 1).await;
    assert_eq!(row.deliveries[0].state, DeliveryState::Sent);
    let opening = at("2026-05-11T07:00:00+03:00");
    place.ends.clock.set(opening);
    running.send("in", "3:c").await;
    eventually(async || (place.ends.got("portal") == ["1:a", "2:b", "3:c"]).then_some(())).await;
    assert!(place.ends.arrived()[1..].iter().all(|at| opening <= *at));
    running.engine.stop().await.unwrap();
}

/// `give_up` counts the time in which it was open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_in_which_it_is_shut_uses_no_retries_up() {
    let place = Place::new();
    let retry = "retry = { first = \"1h\", max = \"1h\", give_up = \"4h\" }\n";
    let running = place
        .start(place.channels(&[&format!("{FILE}{WORKDAYS}{retry}")]))
        .await;
    for _ in 0..3 {
        place.ends.answer("portal", "busy");
    }
    let state_after = async |tries: u32, time: &str| {
        place.ends.clock.set(at(time));
        running.send("in", &format!("{tries}:hello")).await;
        tried(&running, 0, tries).await.deliveries[0].state
    };
    let friday = state_after(1, "2026-05-08T18:30:00+03:00").await;
    assert_eq!(friday, DeliveryState::Retrying);
    // 60 hours later, of which half an hour counts.
    let monday = state_after(2, "2026-05-11T07:00:00+03:00").await;
    assert_eq!(
        monday,
        DeliveryState::Retrying,
        "the week-end has used nothing up"
    );
    let later = state_after(3, "2026-05-11T10:31:00+03:00").await;
    assert_eq!(later, DeliveryState::Held, "four hours in which it was open");
    running.engine.stop().await.unwrap();
}
