//! Whether the far ends can be reached, as their connectors know to look: nothing is sent.

use std::time::Duration;

use engine::channel::{Channel, Destination};
use engine::connector::Surroundings;
use futures_util::future::join_all;

use super::Line;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// All destinations at once.
pub async fn probe(channels: &[Channel]) -> Vec<Line> {
    let ends = channels
        .iter()
        .flat_map(|channel| channel.destinations.iter().map(move |end| (channel, end)));
    let lines = join_all(ends.map(|(channel, destination)| one(channel, destination))).await;
    lines.into_iter().flatten().collect()
}

/// None: it leads to another channel.
async fn one(channel: &Channel, destination: &Destination) -> Option<Line> {
    let connector = connectors::all().get(&destination.end.connector)?;
    let name = format!("{}/{}", channel.id, destination.name);
    let surroundings = Surroundings {
        folder: channel.file.parent().map(Into::into).unwrap_or_default(),
        script: None,
    };
    if destination.end.script.is_some() {
        return Some(Line::ok(
            "far end",
            format!("{name} is a script, which only sends; not looked at"),
        ));
    }
    let reached = async {
        let opened = connector
            .open_destination(&destination.end.settings, &surroundings)
            .await?;
        opened.probe().await
    };
    let to_do = "see that it runs, that the address is right, and that no firewall is between; what is for it waits meanwhile";
    Some(match tokio::time::timeout(PATIENCE, reached).await {
        Ok(Ok(())) => Line::ok("far end", format!("{name} can be reached")),
        Ok(Err(error)) => Line::problem("far end", format!("{name}: {error}"), to_do),
        Err(_) => Line::problem(
            "far end",
            format!("{name}: no answer within {} s", PATIENCE.as_secs()),
            to_do,
        ),
    })
}
