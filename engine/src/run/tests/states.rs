//! The states of deliveries against a model of them: whatever the far side answers, in whichever order and over restarts,
//! each delivery ends as the design says, after as many tries, in order.

use proptest::prelude::*;

use super::{Place, eventually};
use crate::message::DeliveryState;

/// What the far side says to one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    Busy,
    /// It is taken, and the answer is lost.
    Lost,
    /// It is not taken, and nobody says so.
    Gone,
    Refused,
    Pending,
}

impl Answer {
    fn words(self) -> &'static str {
        match self {
            Answer::Taken => "yes",
            Answer::Busy => "busy",
            Answer::Lost => "lost",
            Answer::Gone => "gone",
            Answer::Refused => "no",
            Answer::Pending => "pending",
        }
    }
}

/// What is done with what is unsure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsure {
    Repeat,
    Hold,
    Ask,
}

/// How the destination is set.
#[derive(Clone, Copy, Debug)]
struct Settings {
    unsure: Unsure,
    sets_aside: bool,
}

impl Settings {
    fn channel(self) -> String {
        let on_unsure = match self.unsure {
            Unsure::Repeat => "\"repeat\"",
            Unsure::Hold => "\"hold\"",
            Unsure::Ask => "{ ask = \"portal\", question = \"{$}\" }",
        };
        let on_error = if self.sets_aside { "dead" } else { "hold" };
        format!(
            "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"portal\"\nfake.name = \"portal\"\n\
             on_unsure = {on_unsure}\non_error = \"{on_error}\"\nretry = {{ first = \"5ms\", max = \"10ms\" }}\n"
        )
    }
}

/// What a delivery comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    state: DeliveryState,
    /// How often it is sent.
    sends: u32,
    /// How often it is asked for.
    questions: u32,
}

/// What each delivery comes to; the last answer of each is always repeated as "taken".
fn model(settings: Settings, answers: &[Vec<Answer>]) -> Vec<End> {
    let mut is_stuck = false;
    let each = |answers: &Vec<Answer>| {
        let (mut state, mut sends, mut questions) = (DeliveryState::Queued, 0, 0);
        for answer in answers.iter().chain([&Answer::Taken]) {
            if is_stuck {
                break;
            }
            sends += 1;
            let is_unsure = matches!(answer, Answer::Lost | Answer::Gone);
            questions += u32::from(is_unsure && settings.unsure == Unsure::Ask);
            state = match answer {
                Answer::Taken => DeliveryState::Sent,
                Answer::Pending => DeliveryState::Pending,
                Answer::Busy => continue,
                Answer::Lost | Answer::Gone if settings.unsure == Unsure::Hold => DeliveryState::Held,
                Answer::Lost if settings.unsure == Unsure::Ask => DeliveryState::Sent,
                Answer::Lost | Answer::Gone => continue,
                Answer::Refused if settings.sets_aside => DeliveryState::Dead,
                Answer::Refused => DeliveryState::Held,
            };
            is_stuck = state == DeliveryState::Held;
            break;
        }
        End {
            state,
            sends,
            questions,
        }
    };
    answers.iter().map(each).collect()
}

/// Only those answers are queued that are asked for: after a decision the next message has its turn.
fn spoken(answers: &[Vec<Answer>], model: &[End]) -> Vec<Answer> {
    let mut spoken = vec![];
    for (answers, end) in answers.iter().zip(model) {
        let with_end = answers.iter().copied().chain([Answer::Taken]);
        spoken.extend(with_end.take(end.sends as usize));
    }
    spoken
}

async fn run(
    settings: Settings,
    answers: Vec<Vec<Answer>>,
    restarts: Vec<bool>,
) -> Result<(), TestCaseError> {
    let place = Place::new();
    let wanted = model(settings, &answers);
    for answer in spoken(&answers, &wanted) {
        place.ends.answer("portal", answer.words());
    }
    let channels = || place.channels(&[&settings.channel()]);
    let mut running = place.start(channels()).await;
    for (n, restarts) in (0..answers.len()).zip(restarts.iter().chain(std::iter::repeat(&false))) {
        running.send("in", &format!("{n}:hello")).await;
        if *restarts {
            running.engine.stop().await.unwrap();
            running = place.start(channels()).await;
        }
    }
    let mut order = vec![];
    for (n, end) in wanted.iter().enumerate() {
        order.extend((0..end.sends).map(|_| format!("{n}:hello")));
    }
    let asked: u32 = wanted.iter().map(|end| end.questions).sum();
    let wanted: Vec<(DeliveryState, u32)> = wanted
        .iter()
        .map(|end| (end.state, end.sends + end.questions))
        .collect();
    let found = eventually(async || {
        let mut rows = running.messages("adt").await;
        // Without the questions.
        rows.retain(|row| row.origin.is_none());
        let found: Vec<(DeliveryState, u32)> = rows
            .iter()
            .map(|row| (row.deliveries[0].state, row.deliveries[0].attempts))
            .collect();
        (found == wanted || order.len() < place.ends.got("portal").len()).then_some(found)
    })
    .await;
    prop_assert_eq!(found, wanted);
    prop_assert_eq!(place.ends.got("portal"), order);
    prop_assert_eq!(place.ends.asked().len(), asked as usize);
    running.engine.stop().await.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn deliveries_end_as_their_model(
        unsure in prop::sample::select(vec![Unsure::Repeat, Unsure::Hold, Unsure::Ask]),
        sets_aside in any::<bool>(),
        answers in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec![Answer::Busy, Answer::Busy, Answer::Lost, Answer::Gone, Answer::Refused, Answer::Pending]),
                0..4,
            ),
            1..8,
        ),
        restarts in prop::collection::vec(prop::bool::weighted(0.2), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(Settings { unsure, sets_aside }, answers, restarts))?;
    }
}

/// A clock that is set back by an hour keeps nobody waiting for it, also over a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_does_not_put_off_the_next_try() {
    let hour = std::time::Duration::from_secs(3600);
    for (order, restarts) in [
        ("", false),
        ("", true),
        ("order_by = \"patient\"\n", false),
        ("order_by = \"patient\"\n", true),
    ] {
        let place = Place::new();
        let file = format!(
            "id = \"adt\"\nsource.fake.name = \"in\"\n[[destination]]\nname = \"portal\"\nfake.name = \"portal\"\nretry = {{ first = \"50ms\", max = \"100ms\" }}\n{order}"
        );
        let mut running = place.start(place.channels(&[&file])).await;
        place.ends.always("1:", Some("busy"));
        running.send("in", "1:a for P1").await;
        eventually(async || {
            let rows = running.messages("adt").await;
            (1 < rows[0].deliveries[0].attempts).then_some(())
        })
        .await;
        place.ends.clock.set(jiff::Timestamp::now() - hour);
        place.ends.always("1:", None);
        if restarts {
            running.engine.stop().await.unwrap();
            running = place.start(place.channels(&[&file])).await;
        }
        let begun = std::time::Instant::now();
        eventually(async || {
            let rows = running.messages("adt").await;
            (rows[0].deliveries[0].state == DeliveryState::Sent).then_some(())
        })
        .await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
        running.engine.stop().await.unwrap();
    }
}
