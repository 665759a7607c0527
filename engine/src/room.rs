//! Room for big bodies. What has to be whole in memory takes its room first; where there is none, it waits. So the memory
//! that bodies take is bounded, however many come at once.
//!
//! What comes in and what goes out have room each: a sender may wait for a destination, and then neither may wait for the
//! room of the other.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies up to this long need no room.
pub const SMALL: usize = 256 * 1024;

/// Room is counted in pieces of this many bytes.
const PIECE: usize = 64 * 1024;
/// How many of them there are: 128 MB.
const PIECES: u32 = 2048;

static COMING_IN: LazyLock<Room> = LazyLock::new(Room::default);
static GOING_OUT: LazyLock<Room> = LazyLock::new(Room::default);

/// Room for what is being received and taken.
pub fn coming_in() -> &'static Room {
    &COMING_IN
}

/// Room for what is being sent.
pub fn going_out() -> &'static Room {
    &GOING_OUT
}

/// Some room. Who waits longest is let in first.
pub struct Room {
    free: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            free: Arc::new(Semaphore::new(PIECES as usize)),
        }
    }
}

/// The room of one body.
pub struct Place(Option<OwnedSemaphorePermit>);

impl Room {
    /// Waits for so much room. Who needs more than there is gets all of it.
    pub async fn take(&self, bytes: usize) -> Place {
        let taken = self.free.clone().acquire_many_owned(pieces(bytes)).await;
        // It is never closed.
        Place(taken.ok())
    }
}

fn pieces(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(PIECES).min(PIECES)
}

/// A body and its room.
struct Held {
    body: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Place {
    /// The body that it was taken for: it keeps as much room as it needs, as long as anybody has it.
    pub fn hold(mut self, body: Bytes) -> Bytes {
        let needed = pieces(body.len()) as usize;
        if let Some(taken) = &mut self.0 {
            let spare = taken.num_permits().saturating_sub(needed);
            drop(taken.split(spare));
        }
        Bytes::from_owner(Held { body, _place: self })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_next_waits_until_nobody_has_the_body() {
        let room = Room::default();
        let waits = async |bytes| {
            tokio::time::timeout(Duration::from_millis(20), room.take(bytes))
                .await
                .is_err()
        };
        let body = room.take(100 << 20).await.hold(Bytes::from(vec![1; 70 << 20]));
        assert!(waits(100 << 20).await, "70 of 128 MB are taken");
        assert!(!waits(50 << 20).await, "what was not needed was given back");
        let clone = body.slice(..10);
        drop(body);
        assert!(waits(100 << 20).await, "a part of it is still there");
        drop(clone);
        let all = room.take(usize::MAX).await;
        assert!(waits(1).await, "who needs more than there is has all of it");
        drop(all);
        assert!(!waits(128 << 20).await);
    }
}
