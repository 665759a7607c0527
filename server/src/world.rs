//! The one place that reads the clock and makes ids.

use std::sync::Arc;

use engine::run::World;
use jiff::Timestamp;
use uuid::Uuid;

/// The real world.
pub fn real() -> World {
    World {
        now: Arc::new(Timestamp::now),
        new_id: Arc::new(Uuid::now_v7),
    }
}
