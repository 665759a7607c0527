//! What the benchmark compares the engine with: a channel's steps and their commit, with nobody who waits.

use std::sync::Arc;

use clinic::apply::Snapshot;

use super::World;
use super::case::{Case, unit};
use super::pipeline::Pipeline;
use crate::channel::Channel;
use crate::format::Formats;
use crate::message::Incoming;
use crate::store::{Commit, StoreError};

/// Runs a message through a channel as its door does, up to the unit of work that is to be written. Nothing is asked, and
/// nobody is told.
pub fn unit_of_work(
    channel: &Arc<Channel>,
    formats: &Formats,
    world: &World,
    incoming: Incoming,
    snapshot: &dyn Snapshot,
) -> Result<Commit, StoreError> {
    let wrong = |what: String| StoreError::Unavailable(what);
    let source = &channel.source;
    let format = formats
        .open(&source.format, &source.format_settings)
        .ok_or_else(|| wrong(format!("the format {:?} is not known", source.format)))?;
    format
        .inspect(&incoming.body)
        .map_err(|error| wrong(error.to_string()))?;
    let keys = channel
        .keys
        .of(format.as_ref(), &incoming.body, &incoming.headers);
    let case = Case::new((world.new_id)(), incoming.clone(), keys);
    let outcome = Pipeline::new(
        channel.clone(),
        formats.clone(),
        world.clone(),
        (world.new_id)(),
        None,
    )
    .prepared(&incoming)
    .finish(snapshot)
    .map_err(|error| wrong(error.to_string()))?;
    Ok(unit(channel, &case, outcome))
}
