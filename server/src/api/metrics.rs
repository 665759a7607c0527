//! Prometheus metrics. They name channels, destinations and outcomes, never patients or messages.

use std::sync::OnceLock;

use axum::extract::State as Extract;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::{Problem, State};

/// What renders the metrics.
pub type Handle = PrometheusHandle;

/// Installs the recorder; once in a process.
pub fn install() -> Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}

/// All metrics as text. What is in the store is counted when asked.
pub async fn show(Extract(state): Extract<State>) -> Result<String, Problem> {
    let now = (crate::world::real().now)();
    for queue in state.store().queues().await? {
        let (channel, destination) = (queue.channel, queue.destination);
        let age = queue
            .oldest
            .map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
        metrics::gauge!("punte_oldest_waiting_seconds", "channel" => channel.clone(), "destination" => destination.clone()).set(age);
        for (delivery_state, count) in queue.counts {
            metrics::gauge!("punte_deliveries", "channel" => channel.clone(), "destination" => destination.clone(), "outcome" => delivery_state.as_str()).set(count as f64);
        }
    }
    for (channel, message_state, count) in state.store().counts().await? {
        metrics::gauge!("punte_stored_messages", "channel" => channel, "outcome" => message_state.as_str())
            .set(count as f64);
    }
    state.inner.serving.metrics.run_upkeep();
    Ok(state.inner.serving.metrics.render())
}
