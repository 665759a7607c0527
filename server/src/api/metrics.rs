//! Prometheus metrics. They name channels, destinations and outcomes, never patients or messages.
//!
//! What happens is counted where it is logged, in the engine (`run::numbers`). How things stand is not counted but looked
//! at, when it is asked for ([`crate::overview`]), so that what is gone is gone here too.

use std::sync::OnceLock;

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::{Problem, State};
use crate::overview::Overview;

/// What renders the metrics.
pub type Handle = PrometheusHandle;

/// The upper bounds of the histograms, in seconds: from a store on a quick disk to a partner that times out.
const BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The text format of Prometheus, version 0.0.4.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Installs the recorder; once in a process.
pub fn install() -> Result<Handle, BuildError> {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let recorder = recorder()?;
    let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
    let _ = metrics::set_global_recorder(recorder);
    describe_counter!(
        "punte_messages_total",
        "Messages received and stored, by what they came to."
    );
    describe_counter!(
        "punte_repeats_total",
        "Messages that came again and were answered as the first."
    );
    describe_counter!(
        "punte_reruns_total",
        "Messages whose steps ran again, since what they had read had moved."
    );
    describe_counter!(
        "punte_not_stored_total",
        "Messages that could not be stored; their senders were told to send them again."
    );
    describe_counter!(
        "punte_attempts_total",
        "Tries of deliveries, by what the far side said."
    );
    describe_counter!(
        "punte_questions_total",
        "Questions to other systems, by what came back."
    );
    describe_counter!(
        "punte_script_calls_total",
        "Calls of scripts to other systems, by what came back."
    );
    describe_gauge!("punte_alerts", "Alerts that are on.");
    describe_histogram!(
        "punte_answer_seconds",
        Unit::Seconds,
        "From the receipt of a message to the answer to its sender."
    );
    describe_histogram!(
        "punte_send_seconds",
        Unit::Seconds,
        "From the start of a try to the answer of the far side."
    );
    Ok(handle)
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &BOUNDS)?
        .build_recorder())
}

/// All metrics as text.
pub async fn show(Extract(state): Extract<State>) -> Result<impl IntoResponse, Problem> {
    let overview = state.lookout().overview().await?;
    let handle = &state.inner.serving.metrics;
    handle.run_upkeep();
    let text = handle.render() + &as_it_stands(&overview)?;
    Ok(([(header::CONTENT_TYPE, TYPE)], text))
}

/// How things stand, by a recorder of its own.
fn as_it_stands(overview: &Overview) -> Result<String, Problem> {
    let recorder = recorder().map_err(|error| Problem::failed(error.to_string()))?;
    metrics::with_local_recorder(&recorder, || tell(overview));
    Ok(recorder.handle().render())
}

fn tell(overview: &Overview) {
    describe_gauge!(
        "punte_oldest_waiting_seconds",
        Unit::Seconds,
        "Age of the oldest delivery that waits or is held; 0: none does."
    );
    describe_gauge!(
        "punte_deliveries",
        "Deliveries that are not over, and dead ones, by their state."
    );
    describe_gauge!("punte_stored_messages", "Messages in the store, by their state.");
    describe_gauge!(
        "punte_failed_today",
        "Messages that failed since midnight by the clinic's clock."
    );
    describe_gauge!(
        "punte_channel_running",
        "1: the channel runs. 0: it is paused, stopped, ended or gone."
    );
    describe_gauge!(
        "punte_last_received_timestamp_seconds",
        "When something came in last since the start."
    );
    describe_gauge!(
        "punte_disk_free_bytes",
        Unit::Bytes,
        "What may still be written to the disk of the data folder."
    );
    describe_gauge!(
        "punte_disk_size_bytes",
        Unit::Bytes,
        "How large the disk of the data folder is."
    );
    describe_gauge!(
        "punte_store_bytes",
        Unit::Bytes,
        "How large the store is: database, log and big bodies."
    );
    describe_gauge!(
        "punte_store_log_bytes",
        Unit::Bytes,
        "How large the log of the database is."
    );
    describe_gauge!(
        "punte_certificate_end_timestamp_seconds",
        "When the certificates of a file end."
    );
    describe_gauge!("punte_start_timestamp_seconds", "When the engine was started.");
    for channel in &overview.channels {
        let id = || channel.id.clone();
        for (outcome, count) in &channel.messages {
            gauge!("punte_stored_messages", "channel" => id(), "outcome" => outcome.clone())
                .set(*count as f64);
        }
        gauge!("punte_failed_today", "channel" => id()).set(channel.failed_today as f64);
        gauge!("punte_channel_running", "channel" => id()).set(f64::from(channel.state == "running"));
        if let Some(heard) = channel.heard {
            gauge!("punte_last_received_timestamp_seconds", "channel" => id()).set(heard.as_second() as f64);
        }
        for queue in &channel.queues {
            let destination = || queue.destination.clone();
            gauge!("punte_oldest_waiting_seconds", "channel" => id(), "destination" => destination())
                .set(queue.oldest_seconds);
            for (outcome, count) in &queue.states {
                gauge!("punte_deliveries", "channel" => id(), "destination" => destination(), "outcome" => outcome.clone())
                    .set(*count as f64);
            }
        }
    }
    if let Some(disk) = overview.disk {
        gauge!("punte_disk_free_bytes").set(disk.free_bytes as f64);
        gauge!("punte_disk_size_bytes").set(disk.total_bytes as f64);
    }
    gauge!("punte_store_bytes").set(overview.store.all() as f64);
    gauge!("punte_store_log_bytes").set(overview.store.log_bytes as f64);
    for certificate in &overview.certificates {
        let file = certificate.file.display().to_string();
        gauge!("punte_certificate_end_timestamp_seconds", "file" => file)
            .set(certificate.until.as_second() as f64);
    }
    if let Some(since) = overview.since {
        gauge!("punte_start_timestamp_seconds").set(since.as_second() as f64);
    }
}
