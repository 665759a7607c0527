//! Panics, told by their place alone. The text of one may quote a message: that of a letter that is cut in two has all that
//! stands around it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use axum::response::{IntoResponse, Response};

use crate::api::Problem;

/// From now on nothing tells the text of a panic, unless it stands in the program as it is.
pub fn without_their_texts() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", told(panic))));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let place = match panic.location() {
        Some(place) => place.to_string(),
        None => "an unknown place".to_owned(),
    };
    let mut told = format!("punte: a fault in the program: it panicked at {place}");
    if let Some(text) = panic.payload().downcast_ref::<&'static str>() {
        told.push_str(": ");
        told.push_str(text);
    }
    told.push_str(". Please report this line.");
    // Names and lines of functions, where RUST_BACKTRACE asks for them.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        told.push_str(&format!("\n{trace}"));
    }
    told
}

/// What is answered to a request that panicked.
pub fn answer(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("A request ended by a fault in the program.");
    Problem::failed("this request met a fault in the program; please report it").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_text_is_told_only_where_it_stands_in_the_program() {
        let kept = Arc::new(Mutex::new(vec![]));
        let keeps = kept.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| keeps.lock().unwrap().push(told(panic))));
        let (cut, empty) = ("\u{218}tefăniță", None::<u8>);
        let _ = std::panic::catch_unwind(|| cut[1..].len());
        let _ = std::panic::catch_unwind(|| empty.unwrap());
        std::panic::set_hook(before);
        let told = kept.lock().unwrap();
        assert!(
            told[0].contains("it panicked at server/src/panics.rs:"),
            "{}",
            told[0]
        );
        assert!(!told[0].contains("tef"), "{}", told[0]);
        assert!(told[1].contains("unwrap()` on a `None` value"), "{}", told[1]);
    }
}
