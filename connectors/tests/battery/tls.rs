//! TLS on both sides: right, wrong, expired and no certificates; renewal; peers that stall or speak plainly.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::connector::{Destination, SendError, Surroundings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::pki::{Authority, expired, self_signed, valid};
use crate::{Engine, Running, destination_in, outgoing, start_in, within};

/// A folder with everybody's certificates.
struct Pki {
    folder: TempDir,
    ours: Authority,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ours, foreign) = (
            Authority::new("Ours").unwrap(),
            Authority::new("Foreign").unwrap(),
        );
        ours.write(folder.path(), "ca.pem").unwrap();
        foreign.write(folder.path(), "foreign-ca.pem").unwrap();
        ours.sign(folder.path(), "punte", valid("localhost")).unwrap();
        ours.sign(folder.path(), "lis", valid("lis.example")).unwrap();
        ours.sign(folder.path(), "old", expired("localhost")).unwrap();
        foreign
            .sign(folder.path(), "stranger", valid("localhost"))
            .unwrap();
        self_signed(folder.path(), "device", valid("localhost")).unwrap();
        Pki { folder, ours }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            folder: self.path().to_owned(),
            ..Surroundings::default()
        }
    }

    async fn listens(&self, name: &str, tls: Value, engine: &Arc<Engine>) -> Running {
        let settings = json!({ "listen": "127.0.0.1:0", "tls": tls });
        start_in(&self.surroundings(), &connectors::all(), name, settings, engine).await
    }

    /// A client that trusts `ca`, and shows a certificate.
    fn client(
        &self,
        ca: &str,
        shows: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path().join(ca)).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match shows {
            None => builder.with_no_client_auth(),
            Some(name) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(self.path().join(format!("{name}.pem"))).unwrap()],
                    PrivateKeyDer::from_pem_file(self.path().join(format!("{name}.key"))).unwrap(),
                )
                .unwrap(),
        }
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

async fn connect(running: &Running, client: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(running.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

/// Sends a frame and gives the answer; an error or nothing where there is none.
async fn ask(stream: &mut TlsStream<TcpStream>, text: &str) -> std::io::Result<String> {
    stream.write_all(format!("\x0b{text}\x1c\r").as_bytes()).await?;
    stream.flush().await?;
    let mut heard = vec![0; format!("\x0bACK {text}\x1c\r").len()];
    within(8, stream.read_exact(&mut heard)).await?;
    Ok(String::from_utf8_lossy(&heard)
        .trim_matches(['\x0b', '\x1c', '\r'])
        .to_owned())
}

/// The certificate that the far side showed.
fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test]
async fn a_listener_takes_tls_of_both_versions_and_nothing_plain() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let running = pki
        .listens(
            "mllp",
            json!({ "cert": "punte.pem", "key": "punte.key" }),
            &engine,
        )
        .await;
    for (number, version) in BOTH.into_iter().enumerate() {
        let mut sender = connect(&running, pki.client("ca.pem", None, &[version]))
            .await
            .unwrap();
        let text = format!("hello{number}");
        assert_eq!(ask(&mut sender, &text).await.unwrap(), format!("ACK {text}"));
    }
    // It trusts somebody else: the sender breaks off.
    assert!(
        connect(&running, pki.client("foreign-ca.pem", None, &BOTH))
            .await
            .is_err()
    );
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"\x0bMSH|^~\\&|plain\x1c\r").await.unwrap();
    let mut heard = vec![];
    let _ = within(5, plain.read_to_end(&mut heard)).await;
    assert!(!heard.contains(&b'A'), "a plain sender has an answer");
    assert_eq!(engine.bodies(), ["hello0", "hello1"]);
    assert!(engine.kept().is_empty());
    assert!(running.stopped().await < Duration::from_secs(1));
}

#[tokio::test]
async fn with_client_ca_only_senders_with_its_certificates_get_in() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let tls = json!({ "cert": "punte.pem", "key": "punte.key", "client_ca": "ca.pem" });
    let running = pki.listens("mllp", tls, &engine).await;
    let mut lis = connect(&running, pki.client("ca.pem", Some("lis"), &BOTH))
        .await
        .unwrap();
    assert_eq!(ask(&mut lis, "right").await.unwrap(), "ACK right");
    for version in BOTH {
        for shows in [None, Some("stranger"), Some("old")] {
            let client = pki.client("ca.pem", shows, &[version]);
            // In TLS 1.3 the sender learns it only when it listens.
            let asked = match connect(&running, client).await {
                Ok(mut stream) => ask(&mut stream, "wrong").await,
                Err(error) => Err(error),
            };
            assert!(asked.is_err(), "{shows:?} got in by {version:?}");
        }
    }
    assert_eq!(ask(&mut lis, "still").await.unwrap(), "ACK still");
    assert_eq!(engine.bodies(), ["right", "still"]);
    let taken = engine.taken.lock().unwrap();
    let certificate = taken[0].headers.iter().find(|(name, _)| name == "certificate");
    assert!(
        certificate.is_some_and(|(_, subject)| subject.contains("CN=lis.example")),
        "{:?}",
        taken[0].headers
    );
}

#[tokio::test]
async fn who_stalls_in_the_handshake_holds_up_nobody() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let tls = json!({ "cert": "punte.pem", "key": "punte.key" });
    for name in ["mllp", "http"] {
        let running = pki.listens(name, tls.clone(), &engine).await;
        let mut stalling = vec![];
        for _ in 0..20 {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            // The beginning of a TLS record that never ends.
            stream.write_all(&[0x16, 3, 1]).await.unwrap();
            stalling.push(stream);
        }
        let client = pki.client("ca.pem", None, &BOTH);
        within(5, connect(&running, client)).await.unwrap();
        assert!(running.stopped().await < Duration::from_secs(1), "{name}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_open_connections_stay() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let tls = json!({ "cert": "punte.pem", "key": "punte.key" });
    let running = pki.listens("mllp", tls, &engine).await;
    let client = || pki.client("ca.pem", None, &BOTH);
    let mut before = connect(&running, client()).await.unwrap();
    assert_eq!(ask(&mut before, "one").await.unwrap(), "ACK one");
    pki.ours.sign(pki.path(), "punte", valid("localhost")).unwrap();
    let after = connect(&running, client()).await.unwrap();
    assert_ne!(shown(&before), shown(&after));
    assert_eq!(ask(&mut before, "two").await.unwrap(), "ACK two");
    // Half a renewal: the key is not that of the certificate. What was right before stays.
    std::fs::copy(pki.path().join("lis.pem"), pki.path().join("punte.pem")).unwrap();
    let kept = connect(&running, client()).await.unwrap();
    assert_eq!(shown(&kept), shown(&after));
    std::fs::write(pki.path().join("punte.pem"), "rubbish").unwrap();
    std::fs::remove_file(pki.path().join("punte.key")).unwrap();
    let kept = connect(&running, client()).await.unwrap();
    assert_eq!(shown(&kept), shown(&after));
    pki.ours.sign(pki.path(), "punte", valid("localhost")).unwrap();
    let renewed = connect(&running, client()).await.unwrap();
    assert_ne!(shown(&renewed), shown(&after));
    assert_eq!(ask(&mut before, "three").await.unwrap(), "ACK three");
}

async fn send(to: &Arc<dyn Destination>) -> Result<String, SendError> {
    let answer = within(8, to.send(&outgoing("message"), &|_: &[u8]| true)).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// Why it was surely not received.
async fn refused(to: &Arc<dyn Destination>) -> String {
    match send(to).await {
        Err(SendError::Retry { why, .. }) => why,
        other => panic!("it was taken, or is unsure: {other:?}"),
    }
}

#[tokio::test]
async fn a_sender_checks_the_far_side() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    for (name, address) in [("mllp", "connect"), ("http", "url"), ("fhir", "base")] {
        let source = if name == "mllp" { "mllp" } else { "http" };
        let to = async |cert: &str, tls: Value| {
            let shown = json!({ "cert": format!("{cert}.pem"), "key": format!("{cert}.key") });
            let running = pki.listens(source, shown, &engine).await;
            let at = match name {
                "mllp" => running.address.to_string(),
                _ => format!("https://{}", running.address),
            };
            let settings = json!({ address: at, "tls": tls, "reply_timeout": "5s" });
            (destination_in(&pki.surroundings(), name, settings).await, running)
        };
        let (right, _running) = to("punte", json!({ "ca": "ca.pem" })).await;
        assert!(send(&right).await.unwrap().starts_with("ACK "), "{name}");
        assert!(name == "fhir" || right.probe().await.is_ok());
        // A device that has signed its own certificate.
        let (device, _running) = to("device", json!({ "ca": "device.pem" })).await;
        assert!(send(&device).await.unwrap().starts_with("ACK "), "{name}");
        for (cert, tls) in [
            ("punte", json!({ "ca": "foreign-ca.pem" })),
            ("stranger", json!({ "ca": "ca.pem" })),
            ("old", json!({ "ca": "ca.pem" })),
            ("old", json!({ "ca": "old.pem" })),
            ("device", json!({ "ca": "ca.pem" })),
            ("punte", json!({ "ca": "ca.pem", "name": "other.example" })),
        ] {
            let (wrong, _running) = to(cert, tls.clone()).await;
            let why = refused(&wrong).await;
            assert!(why.contains("certificate"), "{name} {cert} {tls}: {why}");
        }
    }
    assert_eq!(engine.bodies().len(), 6);
}

#[tokio::test]
async fn a_sender_shows_its_certificate_and_uses_a_renewed_one() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let tls = json!({ "cert": "punte.pem", "key": "punte.key", "client_ca": "ca.pem" });
    for name in ["mllp", "http"] {
        let running = pki.listens(name, tls.clone(), &engine).await;
        let to = async |own: &str| {
            let tls = json!({ "ca": "ca.pem", "cert": format!("{own}.pem"), "key": format!("{own}.key") });
            let settings = match name {
                "mllp" => json!({ "connect": running.address.to_string(), "tls": tls, "keep_open": false }),
                _ => json!({ "url": format!("https://{}", running.address), "tls": tls }),
            };
            destination_in(&pki.surroundings(), name, settings).await
        };
        let before = engine.bodies().len();
        assert!(send(&to("lis").await).await.is_ok(), "{name}");
        // Somebody else's certificate: not let in. In TLS 1.3 that may be learnt too late to be sure of it.
        pki.ours.sign(pki.path(), "own", expired("lis.example")).unwrap();
        let own = to("own").await;
        let refused = send(&own).await;
        assert!(
            matches!(&refused, Err(SendError::Retry { .. } | SendError::Unsure { .. })),
            "{name}: {refused:?}"
        );
        assert_eq!(engine.bodies().len(), before + 1);
        pki.ours.sign(pki.path(), "own", valid("lis.example")).unwrap();
        assert!(
            send(&own).await.is_ok(),
            "{name}: a renewed certificate is not used"
        );
        assert_eq!(engine.bodies().len(), before + 2);
    }
    let taken = engine.taken.lock().unwrap();
    assert!(
        taken
            .iter()
            .all(|incoming| incoming.headers.iter().any(|(name, _)| name == "certificate"))
    );
}

#[tokio::test]
async fn channels_that_share_a_port_agree_on_tls() {
    let (pki, engine) = (Pki::new(), Arc::new(Engine::default()));
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let connectors = connectors::all();
    let tls = json!({ "cert": "punte.pem", "key": "punte.key" });
    let settings =
        |path: &str, tls: Option<&Value>| json!({ "listen": free.to_string(), "path": path, "tls": tls });
    let here = pki.surroundings();
    let _one = start_in(&here, &connectors, "http", settings("/one", Some(&tls)), &engine).await;
    let _two = start_in(&here, &connectors, "http", settings("/two", Some(&tls)), &engine).await;
    let http = connectors.get("http").unwrap();
    let other = http.open_source(&settings("/three", None), &here).await.err();
    assert!(other.is_some_and(|error| error.what.contains("`tls`")));
}

#[tokio::test]
async fn a_look_at_the_files_says_what_is_wrong_with_them() {
    let pki = Pki::new();
    std::fs::write(pki.path().join("empty.pem"), "\n").unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(pki.path().join("locked.key"), locked).unwrap();
    let mllp = connectors::all().get("mllp").unwrap();
    let here = pki.surroundings();
    let source = |listen: &str, tls: Value| {
        let looked = mllp.look_at_source(&json!({ "listen": listen, "tls": tls }), &here);
        let all = looked.problems.iter().map(|problem| ("problem", problem));
        let all = all.chain(looked.warnings.iter().map(|warning| ("warning", warning)));
        all.map(|(weight, found)| format!("{weight} {}: {}", found.path, found.what))
            .collect::<Vec<_>>()
    };
    let local = "127.0.0.1:1";
    assert!(
        source(
            local,
            json!({ "cert": "punte.pem", "key": "punte.key", "client_ca": "ca.pem" })
        )
        .is_empty()
    );
    for (tls, expected) in [
        (
            json!({ "cert": "none.pem", "key": "punte.key" }),
            "problem tls.cert: there is no file",
        ),
        (
            json!({ "cert": "punte.pem", "key": "none.key" }),
            "problem tls.key: there is no file",
        ),
        (
            json!({ "cert": "punte.pem", "key": "lis.key" }),
            "problem tls.key: lis.key is not the key of",
        ),
        (
            json!({ "cert": "punte.key", "key": "punte.key" }),
            "problem tls.cert: there is no certificate in",
        ),
        (
            json!({ "cert": "punte.pem", "key": "punte.pem" }),
            "problem tls.key: there is no key in",
        ),
        (
            json!({ "cert": "punte.pem", "key": "locked.key" }),
            "problem tls.key: the key in",
        ),
        (
            json!({ "cert": "old.pem", "key": "old.key" }),
            "warning tls.cert: the certificate has expired",
        ),
        (
            json!({ "cert": "punte.pem", "key": "punte.key", "client_ca": "empty.pem" }),
            "problem tls.client_ca: there is no certificate in",
        ),
        (
            json!({ "cert": "punte.pem", "key": "punte.key", "client_ca": "old.pem" }),
            "warning tls.client_ca: 1 of 1 certificates in it have expired",
        ),
    ] {
        let found = source(local, tls.clone());
        assert_eq!(found.len(), 1, "{tls}: {found:?}");
        assert!(found[0].starts_with(expected), "{tls}: {found:?}");
    }
    let open = source("0.0.0.0:1", Value::Null);
    assert!(
        open.len() == 1 && open[0].starts_with("warning listen: "),
        "{open:?}"
    );
    assert!(source("0.0.0.0:1", json!({ "cert": "punte.pem", "key": "punte.key" })).is_empty());
    let looked = mllp.look_at_destination(&json!({ "connect": "a:1", "tls": { "ca": "none.pem" } }), &here);
    assert_eq!(looked.problems.len(), 1);
    assert!(
        mllp.look_at_destination(&json!({ "connect": "a:1", "tls": true }), &here)
            .problems
            .is_empty()
    );
    // A channel whose files are not right does not open, and says why.
    let settings = json!({ "listen": "127.0.0.1:0", "tls": { "cert": "punte.pem", "key": "lis.key" } });
    let error = mllp.open_source(&settings, &here).await.err();
    assert!(error.is_some_and(|error| error.what.contains("is not the key of")));
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let problems = |name: &str, settings: Value| {
        let connector = connectors::all().get(name).unwrap();
        let problems = connector.check_destination(&settings);
        problems
            .into_iter()
            .map(|problem| problem.path)
            .collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(problems("mllp", json!({ "connect": "a:1", "tls": {} })), none);
    assert_eq!(
        problems("mllp", json!({ "connect": "a:1", "tls": { "cert": "a.pem" } })),
        ["tls.cert"]
    );
    assert_eq!(
        problems("mllp", json!({ "connect": "a:1", "tls": { "key": "a.key" } })),
        ["tls.key"]
    );
    assert_eq!(
        problems("mllp", json!({ "connect": "a:1", "tls": { "ca": "" } })),
        ["tls.ca"]
    );
    assert_eq!(
        problems("mllp", json!({ "connect": "a:1", "tls": { "name": "a b" } })),
        ["tls.name"]
    );
    assert_eq!(
        problems("http", json!({ "url": "http://a/", "tls": true })),
        ["tls"]
    );
    assert_eq!(
        problems("http", json!({ "url": "https://a/", "tls": false })),
        ["tls"]
    );
    assert_eq!(
        problems("http", json!({ "url": "http://a/", "tls": false })),
        none
    );
    assert_eq!(
        problems(
            "fhir",
            json!({ "base": "http://a/fhir", "tls": { "ca": "a.pem" } })
        ),
        ["tls"]
    );
    let open = json!({ "listen": "0.0.0.0:1", "tls": { "cert": "a", "key": "b", "client_ca": "c" } });
    assert!(
        connectors::all()
            .get("http")
            .unwrap()
            .check_source(&open)
            .is_empty()
    );
}
