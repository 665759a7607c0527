//! `punte serve`: runs the channels until stopped.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use engine::channel::write_door::WRITE_DOOR;
use engine::run::{Engine, Parts};

use crate::door::{Doorway, WriteDoor};
use crate::home::{Home, Running};
use crate::{api, formats};

/// What it is told.
#[derive(clap::Args)]
#[command(
    after_help = "Logs go to standard error; PUNTE_LOG chooses what is logged (info, debug, punte=debug …).\nIt stops on SIGTERM or Ctrl-C and finishes what is under way."
)]
pub struct Args {
    /// Where the HTTP interface listens (FHIR, admin, metrics, health) instead of what punte.toml says
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
}

/// Runs until a signal.
pub async fn run(home: &Home, args: Args) -> anyhow::Result<ExitCode> {
    log();
    let started = start(home, args.http.as_deref()).await?;
    for line in started.lines() {
        super::print(&line);
    }
    stopped().await;
    tracing::info!("Stopping.");
    started.stop(home).await?;
    Ok(ExitCode::SUCCESS)
}

/// A running engine with its HTTP interface.
pub struct Started {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Where the HTTP interface listens.
    pub http: std::net::SocketAddr,
    /// The local key.
    pub key: String,
    server: tokio::task::JoinHandle<()>,
    stop: tokio_util::sync::CancellationToken,
}

impl Started {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("punte: http on {}\n", self.http)];
        for id in self.engine.channel_ids() {
            if let Some(address) = self.engine.listens(&id) {
                lines.push(format!("punte: channel {id} listens on {address}\n"));
            }
        }
        lines.push("punte: ready\n".into());
        lines
    }

    /// Stops everything and closes the store.
    pub async fn stop(self, home: &Home) -> anyhow::Result<()> {
        home.remove_running();
        self.stop.cancel();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.server).await;
        self.engine.stop().await?;
        Ok(())
    }
}

/// Opens the store, the HTTP interface and all channels.
pub async fn start(home: &Home, http: Option<&str>) -> anyhow::Result<Started> {
    let settings = home.settings()?;
    let (channels, warnings) = match home.channels() {
        Ok(checked) => checked,
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            bail!("the channels are not right; nothing was started");
        }
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if channels.iter().all(|channel| channel.id == WRITE_DOOR) {
        bail!(
            "there is no channel in {}; see the guide for the five lines that make one",
            home.channels_folder().display()
        );
    }
    let listen = http.unwrap_or(&settings.http.listen);
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("http can't listen on {listen}"))?;
    let address = listener.local_addr()?;
    let store = home.open_store(true).await?;
    let metrics = api::metrics::install();
    let doorway = Doorway::default();
    let parts = Parts {
        channels,
        formats: formats::all(),
        connectors: connectors::all().with(WriteDoor::new(doorway.clone())),
        store: store.clone(),
        world: crate::world::real(),
    };
    let engine = Engine::start(parts).await?;
    let key = api::auth::new_secret()?;
    home.write_running(&Running {
        address: address.to_string(),
        key: key.clone(),
    })?;
    let stop = tokio_util::sync::CancellationToken::new();
    let zone = settings.zone.as_deref().unwrap_or("Europe/Bucharest");
    let zone =
        jiff::tz::TimeZone::get(zone).with_context(|| format!("punte.toml: zone {zone:?} is not known"))?;
    let state = api::State::new(engine.clone(), store, doorway, key.clone(), metrics, zone);
    let router = api::router(state);
    let until = stop.clone();
    let server = tokio::spawn(async move {
        let serve =
            axum::serve(listener, router).with_graceful_shutdown(async move { until.cancelled().await });
        if let Err(error) = serve.await {
            tracing::error!(%error, "The HTTP interface ended.");
        }
    });
    Ok(Started {
        engine,
        http: address,
        key,
        server,
        stop,
    })
}

/// Logs to standard error, by PUNTE_LOG.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PUNTE_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("warn,punte=info,engine=info,connectors=info")
    });
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

/// Returns on SIGTERM or Ctrl-C.
pub async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! { _ = terminate.recv() => {} _ = tokio::signal::ctrl_c() => {} }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
