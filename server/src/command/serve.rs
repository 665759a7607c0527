//! `punte serve`: runs the channels until stopped.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use connectors::dicomweb::DicomWeb;
use connectors::tls::Acceptor;
use engine::channel::write_door::WRITE_DOOR;
use engine::run::{Engine, Parts};
use engine::store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alerts::{Alerts, Courier, Current, Watch};
use crate::api::door::Door;
use crate::door::{Doorway, WriteDoor};
use crate::home::{Home, Running};
use crate::overview::Lookout;
use crate::{alerts, api, doctor, formats};

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
    if engine::sabotage::IS_BUILT_IN {
        eprintln!(
            "\n  *** THIS BUILD CAN BREAK WHAT PUNTE PROMISES (feature sabotage). It is for the crash harness.\n  *** NEVER GIVE IT A MESSAGE OF A REAL PERSON.\n"
        );
    }
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
    is_secure: bool,
    servers: JoinSet<()>,
    stop: CancellationToken,
}

impl Started {
    fn lines(&self) -> Vec<String> {
        let scheme = if self.is_secure { "https" } else { "http" };
        let mut lines = vec![format!("punte: {scheme} on {}\n", self.http)];
        for id in self.engine.channel_ids() {
            if let Some(address) = self.engine.listens(&id) {
                lines.push(format!("punte: channel {id} listens on {address}\n"));
            }
        }
        lines.push("punte: ready\n".into());
        lines
    }

    /// Stops everything and closes the store.
    pub async fn stop(mut self, home: &Home) -> anyhow::Result<()> {
        home.remove_running();
        self.stop.cancel();
        let all_ended = async { while self.servers.join_next().await.is_some() {} };
        // Who does not end now has had their time.
        let _ = tokio::time::timeout(Duration::from_secs(2), all_ended).await;
        self.engine.stop().await?;
        log_head(self.engine.store().as_ref());
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
    let (problems, warnings) = home.look_at_settings(Some(&channels))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if !problems.is_empty() {
        for problem in &problems {
            eprintln!("{problem}");
        }
        bail!("punte.toml is not right; nothing was started");
    }
    let zone = settings.time_zone()?;
    let alerts = Alerts::new(Current::open(&settings.alerts, &zone, home.folder()).await?);
    let bounds = settings
        .http
        .bounds()
        .map_err(|(key, what)| anyhow!("punte.toml: http.{key}: {what}"))?;
    let tls = settings.http.tls.as_ref();
    let acceptor = Acceptor::open(tls, home.folder(), &["h2", "http/1.1"])
        .map_err(|error| anyhow!("punte.toml: http.tls: {error}"))?;
    let listen = http.unwrap_or(&settings.http.listen);
    // Said before the address is: of two engines on one folder the second one would only hear of that.
    if home.is_taken() {
        bail!(
            "another process has the data folder {} open. Stop it, or give another --home",
            home.data().display()
        );
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("http can't listen on {listen}"))?;
    let address = listener.local_addr()?;
    home.is_written_to()?;
    let mut odd = doctor::system::at_start(home, (crate::world::real().now)());
    odd.extend(doctor::files::key_at_start(home, &settings));
    let store = home.open_store(true).await?;
    for line in odd {
        tracing::error!(check = line.check, to_do = line.to_do, "{}.", line.says);
    }
    let metrics = api::metrics::install().context("the numbers for Prometheus can't be kept")?;
    let doorway = Doorway::default();
    let image_door = connectors::dicomweb::Doorway::default();
    let parts = Parts {
        channels,
        formats: formats::all(),
        connectors: connectors::all()
            .with(WriteDoor::new(doorway.clone()))
            .with(DicomWeb::new(image_door.clone())),
        store: store.clone(),
        world: crate::world::real(),
        keep: settings.keep.clone(),
    };
    let engine = Engine::start(parts).await?;
    let key = api::auth::new_secret()?;
    // The commands of this machine need no certificate: they have a door of their own, which nobody else reaches.
    let local = match tls {
        Some(_) => Some(tokio::net::TcpListener::bind("127.0.0.1:0").await?),
        None => None,
    };
    let local_address = match &local {
        Some(local) => local.local_addr()?,
        None => address,
    };
    home.write_running(&Running {
        address: local_address.to_string(),
        key: key.clone(),
    })?;
    let stop = CancellationToken::new();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let is_secure = settings.http.tls.is_some();
    let http = format!("{scheme}://{address}");
    let watch = Watch::open(alerts.clone(), store.clone()).await?;
    let courier = Courier {
        alerts: alerts.clone(),
        store: store.clone(),
        zone: zone.clone(),
    };
    let lookout = Arc::new(Lookout::new(engine.clone(), home, settings, zone, http));
    let refusals = Arc::new(api::refused::Refusals::default());
    let state = api::State::new(
        engine.clone(),
        store.clone(),
        doorway,
        api::Serving {
            local_key: key.clone(),
            metrics: metrics.clone(),
            lookout: lookout.clone(),
            alerts,
            scheme,
            home: home.clone(),
            refusals: refusals.clone(),
            image_door,
            at_start: home.settings_table(),
        },
    );
    let router = api::router(state);
    let mut servers = JoinSet::new();
    servers.spawn(Door::new(listener, acceptor, bounds).serve(router.clone(), stop.clone()));
    if let Some(local) = local {
        let plain = Acceptor::open(None, home.folder(), &[]).map_err(|error| anyhow!(error.what))?;
        servers.spawn(Door::new(local, plain, bounds).serve(router, stop.clone()));
    }
    servers.spawn(refusals.keep(store.clone(), stop.clone()));
    servers.spawn(log_heads(store, stop.clone()));
    servers.spawn(until(stop.clone(), alerts::watch(lookout.clone(), watch)));
    servers.spawn(until(stop.clone(), alerts::tell(courier)));
    servers.spawn(until(stop.clone(), keep_pace(lookout, metrics)));
    Ok(Started {
        engine,
        http: address,
        key,
        is_secure,
        servers,
        stop,
    })
}

/// The rates, and what the histograms have gathered: read or not, it is put together before it grows.
async fn keep_pace(lookout: Arc<Lookout>, metrics: api::metrics::Handle) {
    lookout.keep_pace(|| metrics.run_upkeep()).await;
}

/// Work that goes on until the stop.
async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! { () = stop.cancelled() => {} () = work => {} }
}

/// Every hour the log gets a line that proves later how far the journal was.
async fn log_heads(store: Arc<dyn Store>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(HOUR) => log_head(store.as_ref()),
        }
    }
}

fn log_head(store: &dyn Store) {
    let journal_head = store.journal_head();
    tracing::info!(%journal_head, "So the journal ends; punte verify --journal-head checks it against this line.");
}

/// Between two such lines.
const HOUR: Duration = Duration::from_secs(3600);

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
