//! Steps that ask a destination.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use clinic::exchange::{MapError, Reason};

use super::{Flow, Halt, Pipeline};
use crate::channel::ask::{Ask, Filled, OrElse, Stamped};
use crate::channel::heading;
use crate::format::{Answered, Format, SetOp};
use crate::message::Failure;
use crate::run::asking::{Known, Question, failed, several};

impl Pipeline {
    /// Writes what a destination answers into the message, or says what is to be asked first.
    pub(super) fn ask(&self, name: &str, flow: &mut Flow, ask: &Ask) -> Result<(), Halt> {
        let fail = |error: MapError| Halt::Failed(Failure::of(name, error));
        let format = self.format_of(&ask.destination).map_err(fail)?;
        let (id, now) = self.answers.stamp(name, &self.world);
        let zone = self.channel.source.format_settings.zone.as_deref();
        let value = |path: &str| match heading(&self.headers, path) {
            Some(values) => Ok(values),
            None => flow.format.values(&flow.body, path),
        };
        let filled = ask
            .question
            .fill(format.as_ref(), Stamped { id, now, zone }, &value);
        let body = match filled.map_err(fail)? {
            Filled::Question(body) => Bytes::from(body),
            Filled::Lacks(path) => {
                let what = format!("has no value, so that {} can't be asked by it", ask.destination);
                let error = MapError::new(Reason::RequiredMissing, Some(&path), what);
                return without(ask.missing, error, flow).map_err(fail);
            }
        };
        let question = Question {
            step: name.to_owned(),
            destination: ask.destination.clone(),
            body,
            within: ask.within,
        };
        let nothing = |what: String| MapError::new(Reason::UnknownKey, None, what);
        let answered = match self.answers.of(&question, format.as_ref()) {
            Known::Answer(answered) => answered,
            Known::Asks => return Err(Halt::Asks(question)),
            Known::WouldAsk => {
                let text = String::from_utf8_lossy(&question.body).into_owned();
                flow.told = format!("{} was not asked: {text}", ask.destination);
                return Ok(());
            }
        };
        if let Some(error) = failed(&ask.destination, &answered) {
            return without(ask.on_failure, error, flow).map_err(fail);
        }
        match answered {
            Answered::Found(found) => self.take(flow, ask, format.as_ref(), &found).map_err(fail),
            Answered::Nothing | Answered::Not(_) => {
                let error = nothing(format!("{} has found nothing", ask.destination));
                without(ask.missing, error, flow).map_err(fail)
            }
            Answered::Several(count) => {
                let error = nothing(several(&ask.destination, count));
                without(ask.missing, error, flow).map_err(fail)
            }
        }
    }

    /// Writes the values of an answer into the message. What the answer does not say stays as it is.
    fn take(&self, flow: &mut Flow, ask: &Ask, format: &dyn Format, found: &[u8]) -> Result<(), MapError> {
        let mut ops = vec![];
        let is_same_format = format.name() == flow.format.name();
        for (to, from) in &ask.set {
            let values = format.values(found, from)?;
            if let Some(value) = values.into_iter().find(|value| !value.trim().is_empty()) {
                ops.push(match is_same_format {
                    true => (to.clone(), SetOp::Assign(value)),
                    false => (to.clone(), SetOp::Literal(value)),
                });
            }
        }
        flow.told = format!(
            "{} answered: {} of {} values",
            ask.destination,
            ops.len(),
            ask.set.len()
        );
        if !ops.is_empty()
            && let Cow::Owned(body) = flow.format.set(&flow.body, &ops)?
        {
            flow.set(Bytes::from(body));
        }
        Ok(())
    }

    /// The format of what a destination answers.
    pub(super) fn format_of(&self, destination: &str) -> Result<Arc<dyn Format>, MapError> {
        let mut all = self.channel.destinations.iter();
        let end = all
            .find(|known| known.name == destination)
            .map(|known| &known.end);
        let end = end.ok_or_else(|| {
            let what = format!("the channel has no destination {destination:?}");
            MapError::new(Reason::Internal, None, what)
        })?;
        self.format(&end.format, &end.format_settings)
    }
}

/// What a message comes to without the values that were asked for.
fn without(otherwise: OrElse, error: MapError, flow: &mut Flow) -> Result<(), MapError> {
    match otherwise {
        OrElse::Fail => Err(error),
        OrElse::Keep => {
            flow.told = error.to_string();
            Ok(())
        }
    }
}
