//! `punte simulate pacs`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use connectors::tls::{Acceptor, ListenerTls};
use dimse::{AeTitle, Status};
use tokio::net::TcpListener;

use crate::command::dicom::Far;
use crate::command::{print, serve};
use crate::simulate::pacs::{Manners, Pacs};

#[derive(clap::Args)]
pub struct Args {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:11113", value_name = "ADDRESS:PORT")]
    listen: String,
    /// Its AE title: who calls another one is rejected. Unless said, any will do
    #[arg(long, value_name = "TITLE")]
    title: Option<AeTitle>,
    /// Where objects are kept; it is made where it is not there
    #[arg(long, default_value = "simulated-pacs", value_name = "FOLDER")]
    folder: PathBuf,
    /// End once so many objects were taken and nobody is associated any more
    #[arg(long, value_name = "N")]
    until: Option<usize>,
    /// Bring reports of storage commitment to this address, by an association of their own; unless said, by the one that asked
    #[arg(long, value_name = "HOST:PORT")]
    report_to: Option<String>,
    /// The AE title of the device there
    #[arg(long, value_name = "TITLE", requires = "report_to", default_value = "CT1")]
    report_called: String,
    /// TLS: the certificate that it shows (PEM)
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// TLS: its key (PEM)
    #[arg(long = "tls-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// TLS: callers must show a certificate that one of these has signed (PEM)
    #[arg(long = "tls-ca", value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,
    /// Misbehave: refuse objects with this status; alone: all of them
    #[arg(long, help_heading = "Misbehaviour", value_name = "HEX", value_parser = status)]
    status: Option<Status>,
    /// Misbehave: refuse the first so many objects, with A700 unless --status says otherwise
    #[arg(long, help_heading = "Misbehaviour", value_name = "N")]
    refuse: Option<usize>,
    /// Misbehave: reject the first so many associations, to come again
    #[arg(long, help_heading = "Misbehaviour", value_name = "N", default_value_t = 0)]
    reject: usize,
    /// Misbehave: wait so long before each answer
    #[arg(long, help_heading = "Misbehaviour", value_name = "TIME", value_parser = super::duration)]
    slow: Option<Duration>,
    /// Misbehave: abort in the middle of the object after these, once
    #[arg(long, help_heading = "Misbehaviour", value_name = "N")]
    abort_after: Option<usize>,
}

/// Four hex digits that mean a failure, or a warning.
fn status(text: &str) -> Result<Status, String> {
    let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = digits.then(|| u16::from_str_radix(text, 16).ok()).flatten();
    code.filter(|code| *code != 0).map(Status).ok_or_else(|| {
        "a status is four hex digits, such as A700 (out of resources) or C000 (not understood)".to_owned()
    })
}

impl Args {
    fn manners(&self) -> Manners {
        Manners {
            reject: self.reject,
            status: self.status.or(self.refuse.map(|_| Status::OUT_OF_RESOURCES)),
            refuse: self.refuse,
            slow: self.slow,
            abort_after: self.abort_after,
        }
    }

    fn acceptor(&self) -> anyhow::Result<Acceptor> {
        let named = |path: &Path| path.to_string_lossy().into_owned();
        let tls = self
            .cert
            .as_deref()
            .zip(self.key.as_deref())
            .map(|(cert, key)| ListenerTls {
                cert: named(cert),
                key: named(key),
                client_ca: self.ca.as_deref().map(named),
            });
        Ok(Acceptor::open(tls.as_ref(), Path::new(""), &[])?)
    }
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report_to = match &args.report_to {
        None => None,
        Some(to) => {
            let calling = args.title.as_ref().map_or("PACS", AeTitle::as_str);
            Some(Far::plain(to, &args.report_called, calling).caller()?)
        }
    };
    let tell = Box::new(|line: &str| {
        print(&format!(
            "{}  {line}\n",
            jiff::ZonedDateTime::now().strftime("%H:%M:%S%.3f")
        ));
    });
    let pacs = Pacs::open(args.title.clone(), &args.folder, args.manners(), report_to, tell)?;
    let acceptor = args.acceptor()?;
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("--listen {}", args.listen))?;
    let before = pacs.shelf().instances().len();
    print(&format!(
        "A simulated PACS listens on {} as {}; it has {before} object{} in {}\n",
        listener.local_addr()?,
        args.title
            .as_ref()
            .map_or("whoever it is called", AeTitle::as_str),
        if before == 1 { "" } else { "s" },
        args.folder.display(),
    ));
    let enough = async {
        match args.until {
            Some(objects) => pacs.has_taken(objects).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = pacs.clone().serve(listener, acceptor) => served?,
        () = enough => {}
        () = serve::stopped() => {}
    }
    print(&format!(
        "{} objects in {}\n",
        pacs.shelf().instances().len(),
        args.folder.display()
    ));
    Ok(ExitCode::SUCCESS)
}
