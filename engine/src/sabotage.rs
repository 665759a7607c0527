//! Promises that are broken on purpose, so that the crash harness can show that it would notice; and a panic with a message
//! at hand, so that a test can show that nothing of the message is told.
//!
//! Only a build with the feature `sabotage` has the switches; `PUNTE_SABOTAGE` throws one of them. No release can be
//! built with it, and such a program says so wherever it can.

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!("a release can't be built with the feature `sabotage`: it can break what Punte promises");

/// Whether this build has the switches.
pub const IS_BUILT_IN: bool = cfg!(feature = "sabotage");

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The store writes with `synchronous = OFF`.
    NoFlush,
    /// Packs of big bodies are not flushed.
    NoPackFlush,
    /// The sender is told before the commit.
    AckFirst,
    /// A repeat is not known again.
    NoDedup,
    /// A worker says of one delivery that it was sent, and does not send it.
    SkipOne,
    /// A step panics over the first message, and its text quotes all of that message.
    PanicOne,
}

/// Whether this promise is broken.
#[cfg(feature = "sabotage")]
pub(crate) fn is_on(switch: Switch) -> bool {
    static THROWN: std::sync::OnceLock<Option<Switch>> = std::sync::OnceLock::new();
    let thrown = THROWN.get_or_init(|| match std::env::var("PUNTE_SABOTAGE").ok()?.as_str() {
        "no-flush" => Some(Switch::NoFlush),
        "no-pack-flush" => Some(Switch::NoPackFlush),
        "ack-first" => Some(Switch::AckFirst),
        "no-dedup" => Some(Switch::NoDedup),
        "skip-one" => Some(Switch::SkipOne),
        "panic-one" => Some(Switch::PanicOne),
        _ => None,
    });
    *thrown == Some(switch)
}

/// Nothing is broken in a build that anybody uses.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn is_on(_: Switch) -> bool {
    false
}

/// Panics over the first message, where that is asked for.
pub(crate) fn panic_over(message: &[u8]) {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    if is_on(Switch::PanicOne) && !PANICKED.swap(true, Ordering::Relaxed) {
        // As the standard library does over a letter that is cut in two.
        panic!(
            "it is not the boundary of a letter in {:?}",
            String::from_utf8_lossy(message)
        );
    }
}
