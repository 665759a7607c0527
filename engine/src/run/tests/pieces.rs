//! Long bodies that are handed in and out in pieces.

use jiff::Timestamp;

use super::{Place, Running, eventually};
use crate::connector::{Acknowledgement, Outcome};
use crate::message::{Incoming, MessageState};
use crate::run::Again;

const SMALL: usize = 256 * 1024;

/// `id:words`, a dot after so many bytes, and as many again.
fn text(id: &str, dot: usize) -> String {
    let mut text = format!("{id}:words {}", "word ".repeat(dot / 5));
    text.truncate(dot);
    text.push('.');
    text.push_str(&"rest ".repeat(dot / 5));
    text
}

async fn send(running: &Running, source: &str, text: &str) -> Acknowledgement {
    let intake = eventually(async || running.ends.intake(source)).await;
    let mut writer = intake.begin_body(1 << 30);
    for piece in text.as_bytes().chunks(10_000) {
        writer.write(piece).await.unwrap();
    }
    let body = writer.finish().await.unwrap();
    assert_eq!(body.length(), text.len() as u64);
    let incoming = Incoming {
        body: body.bytes,
        big: body.big,
        content_type: "text/plain".into(),
        headers: vec![],
        identity: None,
        received_at: Timestamp::now(),
    };
    intake.accept(incoming).await
}

/// The beginning goes through the steps, and all of it to the destinations; a format that has to see all of it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_format_reads_as_much_as_it_needs() {
    let first = "id = \"first\"\n[source]\nformat = \"heads\"\nfake.name = \"in\"\n[[destination]]\nname = \"one\"\nfake.name = \"pieces\"\nformat = \"heads\"\n[[destination]]\nname = \"two\"\nchannel = \"second\"\n";
    let second = "id = \"second\"\n[source]\nformat = \"heads\"\nchannel = {}\n[[destination]]\nname = \"end\"\nfake.name = \"end\"\nformat = \"heads\"\nwhen = { \"$\" = { present = true } }\n";
    let third = "id = \"third\"\n[source]\nformat = \"text\"\nfake.name = \"in too\"\n[[destination]]\nname = \"all\"\nfake.name = \"pieces of all\"\nwhen = { \"$\" = { present = true } }\n";
    let place = Place::new();
    let running = place.start(place.channels(&[first, second, third])).await;
    let (near, far) = (text("1", 1000) + &text("1", SMALL), text("2", 3 * SMALL));
    for text in [&near, &far] {
        assert_eq!(send(&running, "in", text).await.outcome, Outcome::Stored);
    }
    eventually(async || (place.ends.got("end").len() == 2).then_some(())).await;
    eventually(async || (place.ends.got("pieces").len() == 2).then_some(())).await;
    assert!(place.ends.got("pieces") == [near.clone(), far.clone()]);
    assert!(place.ends.got("end") == [near.clone(), far.clone()]);
    assert_eq!(send(&running, "in too", &far).await.outcome, Outcome::Stored);
    eventually(async || (place.ends.got("pieces of all").len() == 1).then_some(())).await;
    let mut at_hand = place.ends.at_hand.lock().unwrap().clone();
    at_hand.sort_unstable();
    let mut wanted = [SMALL, 4 * SMALL, near.len(), far.len(), far.len()];
    wanted.sort_unstable();
    assert_eq!(
        at_hand, wanted,
        "the beginnings, and all of them where that has to be"
    );
    let rows = running.messages("first").await;
    assert_eq!(rows[1].length, far.len() as u64);

    // Taken again, it refers to the same bytes.
    let again = Again {
        by: "me".into(),
        ..Again::default()
    };
    let (id, state) = running.engine.replay(rows[1].id, again).await.unwrap();
    assert_eq!(state, MessageState::Routed);
    let (was, is) = (running.detail(rows[1].id).await.big, running.detail(id).await.big);
    assert!(was.is_some() && was == is);
    eventually(async || (place.ends.got("pieces").len() == 3).then_some(())).await;
    assert!(place.ends.got("pieces")[2] == far);
    running.engine.stop().await.unwrap();
}

/// A step changes the beginning, and the rest follows it as it came; of the message itself nothing is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_at_its_beginning_goes_out_with_its_rest() {
    let file = "id = \"heads\"\n[source]\nformat = \"heads\"\nfake.name = \"in\"\n[[step]]\nset = { \"$\" = { remove = true } }\n[[destination]]\nname = \"one\"\nfake.name = \"pieces\"\nformat = \"heads\"\n[[destination]]\nname = \"two\"\nfake.name = \"end\"\nformat = \"heads\"\n";
    let place = Place::new();
    let running = place.start(place.channels(&[file])).await;
    let short = text("1", 1000);
    let long = text("2", 1000) + &"more ".repeat(SMALL);
    for text in [&short, &long] {
        assert_eq!(send(&running, "in", text).await.outcome, Outcome::Stored);
    }
    let removed = |text: &str| format!("removed{}", &text[text.find('.').unwrap()..]);
    for end in ["pieces", "end"] {
        eventually(async || (place.ends.got(end).len() == 2).then_some(())).await;
        assert!(place.ends.got(end) == [removed(&short), removed(&long)], "{end}");
    }
    let rows = running.messages("heads").await;
    assert_eq!(rows[1].length, long.len() as u64);
    assert!(
        running.detail(rows[1].id).await.body == long,
        "it is kept as it came"
    );
    running.engine.stop().await.unwrap();
}

/// What a far side answers is written into the beginning too, and the rest follows it as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_goes_out_with_the_rest() {
    let file = "id = \"heads\"\n[source]\nformat = \"heads\"\nfake.name = \"in\"\n[[step]]\nlookup = { ask = \"who\", question = \"who?\", set = { \"$\" = \"$\" } }\n[[destination]]\nname = \"one\"\nfake.name = \"pieces\"\nformat = \"heads\"\n[[destination]]\nname = \"who\"\nfake.name = \"who\"\nformat = \"heads\"\nwhen = \"asked\"\n";
    let place = Place::new();
    let running = place.start(place.channels(&[file])).await;
    let (short, long) = (text("1", 1000), text("2", 1000) + &"more ".repeat(SMALL));
    for text in [&short, &long] {
        running.ends.tells("told");
        let told = send(&running, "in", text).await;
        assert_eq!((told.outcome, told.note), (Outcome::Stored, None));
    }
    eventually(async || (place.ends.got("pieces").len() == 2).then_some(())).await;
    let told = |text: &str| format!("told{}", &text[text.find('.').unwrap()..]);
    assert!(place.ends.got("pieces") == [told(&short), told(&long)]);
    running.engine.stop().await.unwrap();
}
