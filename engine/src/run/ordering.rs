//! With which others a delivery keeps its order, where its destination sends several at once (`order_by`).

use crate::channel::{By, Channel, Destination, heading};
use crate::format::{Format, Subject};
use crate::message::{Incoming, Lane, LaneKey, NewDelivery};

/// The lanes of those whose order goes by whom or what the message is about.
pub(super) fn by_subject(
    channel: &Channel,
    format: &dyn Format,
    incoming: &Incoming,
    deliveries: &mut [NewDelivery],
) {
    for delivery in deliveries
        .iter_mut()
        .filter(|delivery| delivery.queue_of.is_none())
    {
        let mut known = channel.destinations.iter();
        let order = known
            .find(|known| known.name == delivery.destination)
            .and_then(|known| known.order_by.as_ref());
        if let Some(order) = order
            && let By::Subject(subject) = order.by
        {
            delivery.lane = Some(Lane {
                by: order.written.clone(),
                key: LaneKey::of(about(channel, format, incoming, subject)),
            });
        }
    }
}

/// What a message is about: where the channel names a path for it (`keys`), what stands there, else what its format
/// says.
fn about(channel: &Channel, format: &dyn Format, incoming: &Incoming, subject: Subject) -> Vec<String> {
    let path = match subject {
        Subject::Patient => &channel.keys.patient,
        Subject::Visit => &channel.keys.visit,
        Subject::Order => &channel.keys.order,
    };
    match path {
        Some(path) => values(format, &incoming.body, &incoming.headers, path),
        None => format.about(&incoming.body, subject),
    }
}

/// The lane by a path of what is sent: the first value there counts. None: the order goes by something else.
pub(super) fn by_path(
    destination: &Destination,
    format: &dyn Format,
    body: &[u8],
    headers: &[(String, String)],
) -> Option<Lane> {
    let order = destination.order_by.as_ref()?;
    let By::Path(path) = &order.by else {
        return None;
    };
    let values = values(format, body, headers, path);
    Some(Lane {
        by: order.written.clone(),
        key: LaneKey::of(values.into_iter().find(|value| !value.is_empty())),
    })
}

/// What can't be read has no key.
fn values(format: &dyn Format, body: &[u8], headers: &[(String, String)], path: &str) -> Vec<String> {
    heading(headers, path).unwrap_or_else(|| format.values(body, path).unwrap_or_default())
}
