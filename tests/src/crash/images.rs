//! The same with DICOM: modalities store objects, short ones that lie in the transaction and long ones that lie in files,
//! while the program is killed or cut off from its power. At the end each object that was answered 0000 is held whole,
//! once, and has come to the archive, DCMTK's `storescp`, as it was sent.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dimse::scu::Object;
use dimse::{Association, Limits, Proposal, uids};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Plan, Report, Rng, Shim};
use crate::dicom::{Storescp, admit, free_port};
use crate::program::{Home, Punte, binary};

/// CT images.
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Modalities at once, each with one study.
const MODALITIES: u32 = 4;

/// Does it, and proves what can be proved.
pub async fn run(plan: &Plan) -> Result<Report> {
    let mut harness = Harness::new(plan).await?;
    let load = Load::start(plan.seed, harness.port);
    for round in 0..plan.kills {
        if !harness.round(round, &load).await? {
            return Ok(harness.report);
        }
    }
    harness.finish(load).await
}

struct Harness<'a> {
    plan: &'a Plan,
    rng: Rng,
    home: Home,
    shim: Option<Shim>,
    archive: Storescp,
    port: u16,
    report: Report,
}

impl<'a> Harness<'a> {
    async fn new(plan: &'a Plan) -> Result<Self> {
        let archive = Storescp::start()?;
        let port = free_port()?;
        let channel = format!(
            "id = \"images\"\n[source.dicom]\nlisten = \"127.0.0.1:{port}\"\nae_title = \"PUNTE\"\n\
             services = [\"store\"]\n[[step]]\ndecode = \"dicom\"\n[[step]]\napply = true\n\
             [[destination]]\nname = \"pacs\"\nformat = \"bytes\"\nretry = {{ first = \"100ms\", max = \"1s\" }}\n\
             dicom = {{ connect = \"127.0.0.1:{}\", called_ae = \"PACS\" }}\n",
            archive.port
        );
        let mut home = Home::with(&[("images", &channel)])?;
        // By the program as it should be, before anything happens to it.
        let punte = home.serve()?;
        let numbers: Vec<String> = (0..MODALITIES).map(Told::patient).collect();
        admit(&punte, &home, &numbers).await?;
        punte.stop()?;
        home.runs(plan.program.clone().unwrap_or_else(binary));
        let shim = match plan.power {
            true => Some(Shim::new(&home)?),
            false => None,
        };
        Ok(Harness {
            plan,
            rng: Rng::new(plan.seed),
            home,
            shim,
            archive,
            port,
            report: Report {
                seed: plan.seed,
                ..Report::default()
            },
        })
    }

    /// Starts it, lets it work for a moment, kills it. False: it did not start, or stands.
    async fn round(&mut self, round: u32, load: &Load) -> Result<bool> {
        let Some(punte) = self.start() else {
            return Ok(false);
        };
        load.opens(true);
        let more = 1 + self.rng.below(12) as u32;
        let moment = Duration::from_micros(self.rng.below(60_000));
        if !load.has_acknowledged(more, self.plan.patience).await {
            let stuck = format!(
                "round {round}: {more} more objects were not answered within {:?}",
                self.plan.patience
            );
            self.report.violations.push(stuck);
            return Ok(false);
        }
        tokio::time::sleep(moment).await;
        punte.kill();
        load.opens(false);
        self.report.kills += 1;
        if let Some(shim) = &self.shim {
            if self.rng.one_in(5) {
                shim.after_a_kill()?;
            } else {
                self.report.undone += shim.cut(&mut self.rng).context("the power cut")?;
                self.report.cuts += 1;
            }
        }
        if self.plan.says && round % 10 == 9 {
            eprintln!(
                "{} kills, {} objects answered, {} writes undone",
                round + 1,
                load.acknowledged(),
                self.report.undone.writes
            );
        }
        Ok(true)
    }

    fn start(&mut self) -> Option<Punte> {
        let env = self.plan.env(self.shim.as_ref());
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match self.home.serve_with(&env) {
            Ok(punte) => Some(punte),
            Err(error) => {
                let broken = format!("it does not start: {error:#}");
                self.report.violations.push(broken);
                None
            }
        }
    }

    /// Everything is sent, forwarded and looked at.
    async fn finish(mut self, load: Load) -> Result<Report> {
        self.search()?;
        let Some(punte) = self.start() else {
            return Ok(self.report);
        };
        load.opens(true);
        let (sent, repeats, problems) = load.end(self.plan.patience).await;
        self.report.repeats = repeats;
        self.report.violations.extend(problems);
        self.report.acknowledged = sent.iter().filter(|sent| sent.is_acknowledged).count();
        if let Err(error) = self.each_is_held_once(&punte, &sent).await {
            // A store that starts and can't be read has lost what is in it.
            let broken = format!("it can't show what it holds: {error:#}");
            self.report.violations.push(broken);
        }
        self.each_came_to_the_archive(&sent).await?;
        if let Err(error) = punte.stop() {
            self.report
                .violations
                .push(format!("it does not stop: {error:#}"));
        }
        self.search()?;
        let verified = self.home.run(&["verify"])?;
        if !verified.status.success() {
            let said = String::from_utf8_lossy(&verified.stdout).into_owned();
            self.report
                .violations
                .push(format!("punte verify finds damage: {said}"));
        }
        if !self.report.violations.is_empty() {
            eprintln!("{}", self.home.log_end(60));
        }
        Ok(self.report)
    }

    /// What is shown of people where it is searched for that.
    fn search(&mut self) -> Result<()> {
        if self.plan.searches {
            let mut secrets = vec!["Proba^Imagini".to_owned(), "Imagini".to_owned()];
            secrets.extend((0..MODALITIES).map(Told::patient));
            self.report.violations.extend(super::shown(&self.home, &secrets)?);
        }
        Ok(())
    }

    /// By WADO-RS, as it is stored.
    async fn each_is_held_once(&mut self, punte: &Punte, sent: &[Sent]) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        for sent in sent.iter().filter(|sent| sent.is_acknowledged) {
            let told = &sent.told;
            let url = format!(
                "http://{}/dicom-web/studies/{}/series/{}.1/instances/{}",
                punte.http,
                told.study(),
                told.study(),
                told.instance()
            );
            let answer = client
                .get(url)
                .bearer_auth(&punte.key)
                .header(
                    "accept",
                    "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
                )
                .send()
                .await?;
            let status = answer.status().as_u16();
            let body = answer.bytes().await?;
            let whole = told.data_set();
            if status != 200 {
                let broken = format!("{} was answered 0000 and is not held: {status}", told.instance());
                self.report.violations.push(broken);
                continue;
            }
            match body
                .windows(whole.len())
                .filter(|held| **held == whole[..])
                .count()
            {
                1 => self.report.stored += 1,
                0 => self
                    .report
                    .violations
                    .push(format!("{} is held, but not as it was sent", told.instance())),
                many => self
                    .report
                    .violations
                    .push(format!("{} is held {many} times", told.instance())),
            }
        }
        let (mut held, mut status) = (0, 200);
        while status == 200 {
            let (answer, page) = punte.get(&format!("/dicom-web/instances?offset={held}")).await?;
            let found = page.as_array().map_or(0, Vec::len);
            if answer == 200 && found == 0 {
                break;
            }
            (held, status) = (held + found, answer);
        }
        let most = sent.len();
        if status != 200 || held < self.report.stored || most < held {
            let broken = format!(
                "{held} objects are found, {} were answered, {most} sent",
                self.report.stored
            );
            self.report.violations.push(broken);
        }
        Ok(())
    }

    async fn each_came_to_the_archive(&mut self, sent: &[Sent]) -> Result<()> {
        let mut missing: Vec<&Sent> = sent.iter().filter(|sent| sent.is_acknowledged).collect();
        let until = Instant::now() + self.plan.patience;
        while !missing.is_empty() && Instant::now() < until {
            missing.retain(|sent| !came(self.archive.folder(), &sent.told));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for sent in missing {
            let instance = sent.told.instance();
            self.report.violations.push(format!(
                "{instance} was answered 0000 and did not come to the archive as it was sent"
            ));
        }
        self.report.arrivals = std::fs::read_dir(self.archive.folder())?.count();
        Ok(())
    }
}

fn came(folder: &Path, told: &Told) -> bool {
    let file = folder.join(format!("CT.{}", told.instance()));
    std::fs::read(file).is_ok_and(|file| file.ends_with(&told.data_set()))
}

/// Which object: all of it follows from these.
#[derive(Clone, Copy, Debug)]
struct Told {
    modality: u32,
    number: u32,
    pixels: usize,
}

impl Told {
    fn patient(modality: u32) -> String {
        format!("IMG-77413-{modality}")
    }

    fn study(&self) -> String {
        format!("1.2.826.0.1.3680043.10.7.{}", self.modality)
    }

    fn instance(&self) -> String {
        format!("{}.1.{}", self.study(), self.number)
    }

    /// Explicit VR little endian.
    fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pixels + 400);
        let mut element = |group: u16, element: u16, vr: &str, value: &str, pad: u8| {
            out.extend(group.to_le_bytes());
            out.extend(element.to_le_bytes());
            out.extend(vr.bytes());
            out.extend(((value.len() + value.len() % 2) as u16).to_le_bytes());
            out.extend(value.bytes());
            out.extend(std::iter::repeat_n(pad, value.len() % 2));
        };
        let series = format!("{}.1", self.study());
        element(0x0008, 0x0016, "UI", CLASS, 0);
        element(0x0008, 0x0018, "UI", &self.instance(), 0);
        element(0x0008, 0x0020, "DA", "20261127", b' ');
        element(0x0008, 0x0060, "CS", "CT", b' ');
        element(0x0010, 0x0010, "PN", "Proba^Imagini", b' ');
        element(0x0010, 0x0020, "LO", &Told::patient(self.modality), b' ');
        element(0x0020, 0x000D, "UI", &self.study(), 0);
        element(0x0020, 0x000E, "UI", &series, 0);
        element(0x0020, 0x0013, "IS", &self.number.to_string(), b' ');
        out.extend(b"\xE0\x7F\x10\x00OW\0\0");
        out.extend((self.pixels as u32).to_le_bytes());
        // No two the same, and nothing that can be compressed away.
        let mut rng = Rng::new(u64::from(self.modality) << 32 | u64::from(self.number));
        let end = out.len() + self.pixels;
        while out.len() < end {
            out.extend(rng.below(u64::MAX).to_le_bytes());
        }
        out.truncate(end);
        out
    }
}

/// An object as its modality knows it.
#[derive(Clone, Copy, Debug)]
struct Sent {
    told: Told,
    is_acknowledged: bool,
}

#[derive(Default)]
struct Shared {
    is_open: AtomicBool,
    is_over: AtomicBool,
    acknowledged: AtomicU32,
    repeats: AtomicU32,
    problems: Mutex<Vec<String>>,
}

/// The modalities at work.
struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    fn start(seed: u64, port: u16) -> Load {
        let shared = Arc::new(Shared::default());
        let task = |modality: u32| {
            let working = Working {
                modality,
                port,
                shared: shared.clone(),
                rng: Rng::new(seed ^ u64::from(modality + 1) << 40),
                sent: vec![],
            };
            tokio::spawn(working.work())
        };
        Load {
            tasks: (0..MODALITIES).map(task).collect(),
            shared,
        }
    }

    fn opens(&self, is_open: bool) {
        self.shared.is_open.store(is_open, Ordering::SeqCst);
    }

    fn acknowledged(&self) -> u32 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    async fn has_acknowledged(&self, more: u32, within: Duration) -> bool {
        let (wanted, until) = (self.acknowledged() + more, Instant::now() + within);
        while self.acknowledged() < wanted {
            if until < Instant::now() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Lets each finish what it has begun: what was sent, repeats, problems.
    async fn end(self, within: Duration) -> (Vec<Sent>, u32, Vec<String>) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let (mut sent, mut problems) = (vec![], vec![]);
        let until = tokio::time::Instant::now() + within;
        for mut task in self.tasks {
            match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(all)) => sent.extend(all),
                Ok(Err(error)) => problems.push(format!("a modality failed: {error}")),
                Err(_) => {
                    task.abort();
                    problems.push(format!("a modality had no answer within {within:?}"));
                }
            }
        }
        let told = self
            .shared
            .problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        problems.extend(told.iter().cloned());
        (sent, self.shared.repeats.load(Ordering::SeqCst), problems)
    }
}

/// One modality.
struct Working {
    modality: u32,
    port: u16,
    shared: Arc<Shared>,
    rng: Rng,
    /// All but the last were answered.
    sent: Vec<Sent>,
}

impl Working {
    async fn work(mut self) -> Vec<Sent> {
        let mut open: Option<Association<TcpStream>> = None;
        loop {
            let is_over = self.shared.is_over.load(Ordering::SeqCst);
            let waits = self.sent.last().is_some_and(|sent| !sent.is_acknowledged);
            if is_over && !waits {
                return self.sent;
            }
            if !self.shared.is_open.load(Ordering::SeqCst) {
                open = None;
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let mut association = match open.take() {
                Some(association) => association,
                None => match self.associate().await {
                    Ok(association) => association,
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
            };
            if !waits && self.rng.one_in(15) && !self.sent.is_empty() {
                // The whole study once more, as devices do after a time-out: one of it here.
                let at = self.rng.below(self.sent.len() as u64) as usize;
                self.shared.repeats.fetch_add(1, Ordering::SeqCst);
                if self.exchange(&mut association, at).await.is_ok() {
                    open = Some(association);
                }
                continue;
            }
            if waits {
                self.shared.repeats.fetch_add(1, Ordering::SeqCst);
            } else {
                let told = Told {
                    modality: self.modality,
                    number: self.sent.len() as u32 + 1,
                    pixels: self.pixels(),
                };
                self.sent.push(Sent {
                    told,
                    is_acknowledged: false,
                });
            }
            if self.exchange(&mut association, self.sent.len() - 1).await.is_ok() {
                open = Some(association);
            }
        }
    }

    /// Two of three are short; the third lies in a file.
    fn pixels(&mut self) -> usize {
        let pixels = match self.rng.one_in(3) {
            true => 270_000 + self.rng.below(500_000),
            false => 1_000 + self.rng.below(60_000),
        };
        pixels as usize & !1
    }

    async fn associate(&self) -> Result<Association<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let calling = format!("MODALITY{}", self.modality);
        let proposal = Proposal::new(calling.parse()?, "PUNTE".parse()?).with(CLASS, [uids::EXPLICIT_LITTLE]);
        Ok(dimse::request(stream, proposal, Limits::default()).await?)
    }

    /// Sends one and takes its answer. An error: the association is gone.
    async fn exchange(&mut self, association: &mut Association<TcpStream>, at: usize) -> Result<()> {
        let told = self.sent[at].told;
        let instance = told.instance();
        let context = association.context_of(CLASS)?;
        let object = Object {
            class: CLASS,
            instance: &instance,
            originator: None,
        };
        let asked = association.begin_store(&context, &object);
        association.send_data(context.id, &told.data_set(), true).await?;
        let answer = association.answer(asked).await?;
        match answer.status().0 {
            0 => {
                if !self.sent[at].is_acknowledged {
                    self.sent[at].is_acknowledged = true;
                    self.shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
            // To be sent again.
            0xA700 => tokio::time::sleep(Duration::from_millis(50)).await,
            other => {
                let problem = format!("{instance} was answered {other:04X}");
                let mut problems = self
                    .shared
                    .problems
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                problems.push(problem);
                self.sent[at].is_acknowledged = true;
            }
        }
        Ok(())
    }
}
