//! Channels at work: the doors of sources, the steps, the workers of destinations.
//!
//! ```text
//! source ─► door ─► pipeline (on a snapshot) ─► one commit ─► acknowledgement
//!                                                  ├─► worker per destination ─► send ─► judge ─► attempt
//!                                                  └─► feeder per link ─► door of the other channel
//! ```

mod arrange;
mod ask;
mod asking;
#[cfg(feature = "bench")]
pub mod bench;
mod break_offs;
mod breaker;
mod calling;
mod case;
mod course;
mod decide;
mod delivered;
mod door;
mod doors;
mod doorway;
mod events;
mod feeder;
mod gather;
mod halt;
mod host;
mod lane;
mod late;
mod link;
mod numbers;
mod ordering;
mod outcome;
mod parts;
mod pipeline;
mod reload;
mod replay;
mod resolve;
mod response;
mod script_end;
mod servers;
mod settle;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod trace;
mod tries;
mod upkeep;
mod worker;

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

pub use asking::{Answers, Askable, Heard, Question, Told};
pub use decide::{Decide, Decided, Moved, NotMoved, decide_at_rest};
pub use events::{CLINIC, Clinic};
pub use host::{ChannelRow, Engine, EngineError, LeftAlone, Parts, Shut, try_answer, try_message};
pub use link::{HOPS, LINK, Link};
pub use numbers::Total;
pub use outcome::Outcome;
pub use parts::parts_of;
pub use reload::{Left, Reloaded};
pub use replay::Again;
pub use resolve::{Resolve, Resolved};
pub(crate) use response::Responses;
pub use script_end::{Fetched, ScriptEnd};
pub use trace::Trace;
pub use upkeep::keeping;

/// Time and ids, passed in so that tests can choose them.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A fresh UUIDv7.
    pub new_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}
