//! The crash harness: the program under load, killed or cut off from its power at random moments, started again, and at
//! the end a proof from three logs (the senders', the store's own listing, the receivers') that nothing acknowledged was
//! lost, doubled, reordered or invented. `docs/crash.md` says what it proves and how.

mod arrivals;
mod fault;
pub mod images;
mod load;
mod proof;
mod rng;
mod scene;
mod shim;
mod undo;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use self::fault::Fault;
pub use self::rng::Rng;
pub use self::shim::Shim;
pub use self::undo::Undone;
use crate::grep::Grep;
use crate::program::{Home, Punte, binary};
use crate::sink::Sink;
use fault::Striking;
use load::Load;

/// What is to be done to the program.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often it is killed.
    pub kills: u32,
    /// What was not flushed is undone, wholly or in part, after most kills.
    pub power: bool,
    /// What else goes wrong.
    pub fault: Option<Fault>,
    /// All that is random comes from it; what the machine does in which order does not.
    pub seed: u64,
    /// Which program; none: the one that was built beside the tests.
    pub program: Option<PathBuf>,
    /// How long progress may take, on a busy machine.
    pub patience: Duration,
    /// What is added to its environment.
    pub env: Vec<(String, String)>,
    /// A line for each round on standard error.
    pub says: bool,
    /// It logs at TRACE, and at the end its whole folder is searched for what was told of people.
    pub searches: bool,
}

impl Plan {
    /// So many kills, by a seed that is printed.
    pub fn kills(kills: u32) -> Plan {
        let seed = std::env::var("PUNTE_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        Plan {
            kills,
            power: false,
            fault: None,
            seed: seed.unwrap_or_else(Rng::fresh_seed),
            program: None,
            patience: Duration::from_secs(60),
            env: vec![],
            says: false,
            searches: false,
        }
    }

    /// The same with its power cut.
    pub fn cuts(cuts: u32) -> Plan {
        Plan {
            power: true,
            ..Plan::kills(cuts)
        }
    }
}

/// What was done, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By which seed.
    pub seed: u64,
    /// How often it was killed under load.
    pub kills: u32,
    /// How often while it was starting.
    pub kills_at_start: u32,
    /// How often its power was cut with that.
    pub cuts: u32,
    /// What that undid.
    pub undone: Undone,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Messages that are stored.
    pub stored: usize,
    /// Sends that the senders repeated, for want of an answer or on purpose.
    pub repeats: u32,
    /// What came to the receivers, repeats too.
    pub arrivals: usize,
    /// What came to them a second time.
    pub arrivals_again: usize,
    /// What came to the one that must get nothing twice.
    pub at_hold: usize,
    /// What must not be: empty, or the promise is broken.
    pub violations: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { seed, undone, .. } = self;
        writeln!(to, "seed {seed}")?;
        writeln!(
            to,
            "killed {} times under load and {} times while starting; {} times its power was cut with that",
            self.kills, self.kills_at_start, self.cuts
        )?;
        if self.cuts > 0 {
            writeln!(to, "undone: {undone}")?;
        }
        writeln!(
            to,
            "{} messages acknowledged, {} stored; the senders repeated {}",
            self.acknowledged, self.stored, self.repeats
        )?;
        writeln!(
            to,
            "{} arrivals, {} of them for the second time; {} where nothing may come twice",
            self.arrivals, self.arrivals_again, self.at_hold
        )?;
        for violation in self.violations.iter().take(20) {
            writeln!(to, "BROKEN: {violation}")?;
        }
        match self.violations.len() {
            0 => write!(to, "nothing is lost, doubled, reordered or invented"),
            many => write!(to, "{many} promises are broken"),
        }
    }
}

impl Plan {
    /// What its program gets into its environment.
    fn env(&self, shim: Option<&Shim>) -> Vec<(String, String)> {
        let mut env = self.env.clone();
        env.extend(shim.map(Shim::env).unwrap_or_default());
        if self.searches {
            env.push(("PUNTE_LOG".to_owned(), "trace".to_owned()));
        }
        env
    }
}

/// Where what was told of people stands in plain, in all that the program has written into its folder: store, logs, and
/// what it printed. With a search that is shown to find it.
fn shown(home: &Home, secrets: &[String]) -> Result<Vec<String>> {
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let grep = Grep::new(&secrets);
    ensure!(home.log().contains("DEBUG"), "the log says too little");
    grep.finds_what_is_planted(&home.path().join("planted"))?;
    grep.folder(home.path())
}

/// Does it, and proves what can be proved.
pub async fn run(plan: &Plan) -> Result<Report> {
    let mut harness = Harness::new(plan).await?;
    let mut load = Load::start(plan.seed, plan.fault == Some(Fault::Connections));
    for round in 0..plan.kills {
        if !harness.round(round, &mut load).await? {
            // It does not start any more: what has been seen is proof enough.
            return Ok(harness.report);
        }
    }
    harness.finish(load).await
}

/// The receivers of the messages.
pub(crate) struct Receivers {
    pub portal: Sink,
    pub ris: Sink,
    /// Must get nothing twice.
    pub printer: Sink,
}

struct Harness<'a> {
    plan: &'a Plan,
    rng: Rng,
    receivers: Receivers,
    home: Home,
    shim: Option<Shim>,
    /// What the clock is set to be ahead.
    ahead: i64,
    data: PathBuf,
    report: Report,
}

impl<'a> Harness<'a> {
    async fn new(plan: &'a Plan) -> Result<Self> {
        let receivers = Receivers {
            portal: Sink::fhir().await?,
            ris: Sink::hl7().await?,
            printer: Sink::hl7().await?,
        };
        let mut home = Home::with(&[])?;
        home.runs(plan.program.clone().unwrap_or_else(binary));
        let shim = match plan.power || plan.fault.is_some_and(Fault::needs_shim) {
            true => Some(Shim::new(&home)?),
            false => None,
        };
        let ahead = plan.fault.map_or(0, fault::ahead);
        if let (Some(shim), true) = (&shim, ahead != 0) {
            shim.set_clock(ahead)?;
        }
        let data = home.path().join("data");
        Ok(Harness {
            data,
            plan,
            rng: Rng::new(plan.seed),
            receivers,
            home,
            shim,
            ahead,
            report: Report {
                seed: plan.seed,
                ..Report::default()
            },
        })
    }

    /// Starts it, lets it work for a moment, kills it. False: it did not start.
    async fn round(&mut self, round: u32, load: &mut Load) -> Result<bool> {
        // What is held for a person holds up its queue for good: a new one begins in every second round.
        let text = scene::channel(&self.receivers, round / 2);
        self.home.channel("crash", &text)?;
        if self.rng.one_in(6) {
            let after = Duration::from_millis(self.rng.below(400));
            self.home.killed_after(&self.env(), after)?;
            self.report.kills_at_start += 1;
            self.after_the_kill()?;
        }
        let Some(punte) = self.start() else {
            return Ok(false);
        };
        let more = 1 + self.rng.below(40) as u32;
        let moment = Duration::from_micros(self.rng.below(60_000));
        load.goes_to(Some(punte.listens(scene::CHANNEL)));
        if !load.has_acknowledged(more, self.plan.patience).await {
            let stuck = format!(
                "round {round}: {more} more messages were not acknowledged within {:?}",
                self.plan.patience
            );
            self.report.violations.push(stuck);
            return Ok(false);
        }
        if let Some(fault) = self.plan.fault {
            let mut rng = self.rng.clone();
            let broken = self.striking(fault).strike(load, &mut rng).await?;
            self.rng = rng;
            self.report.violations.extend(broken);
        }
        tokio::time::sleep(moment).await;
        punte.kill();
        load.goes_to(None);
        if let Some(fault) = self.plan.fault {
            self.striking(fault).relent()?;
        }
        self.report.kills += 1;
        self.after_the_kill()?;
        if self.plan.says && round % 10 == 9 {
            eprintln!(
                "{} kills, {} messages acknowledged, {} writes undone",
                round + 1,
                load.acknowledged(),
                self.report.undone.writes
            );
        }
        Ok(true)
    }

    fn striking(&self, fault: Fault) -> Striking<'_> {
        Striking {
            fault,
            shim: self.shim.as_ref(),
            receivers: &self.receivers,
            data: &self.data,
            patience: self.plan.patience,
            ahead: self.ahead,
        }
    }

    fn start(&mut self) -> Option<Punte> {
        let env = self.env();
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match self.home.serve_with(&env) {
            Ok(punte) => Some(punte),
            Err(error) => {
                self.report
                    .violations
                    .push(format!("it does not start: {error:#}"));
                None
            }
        }
    }

    fn env(&self) -> Vec<(String, String)> {
        self.plan.env(self.shim.as_ref())
    }

    /// What is shown of people where it is searched for that.
    fn search(&mut self) -> Result<()> {
        if self.plan.searches {
            let shown = shown(&self.home, &scene::secrets())?;
            self.report.violations.extend(shown);
        }
        Ok(())
    }

    /// Most kills are power cuts where those are asked for; after the others what was not flushed lives on, and may be
    /// lost by the next.
    fn after_the_kill(&mut self) -> Result<()> {
        let Some(shim) = &self.shim else { return Ok(()) };
        let is_kill = match self.plan.fault {
            Some(Fault::FailedFlush) => false,
            _ => !self.plan.power || self.rng.one_in(5),
        };
        if is_kill {
            return shim.after_a_kill();
        }
        self.report.undone += shim.cut(&mut self.rng).context("the power cut")?;
        self.report.cuts += 1;
        Ok(())
    }

    /// The day ends: everything is sent, delivered and looked at.
    async fn finish(mut self, mut load: Load) -> Result<Report> {
        self.search()?;
        self.home
            .channel("crash", &scene::channel(&self.receivers, self.plan.kills / 2))?;
        if let Some(fault) = self.plan.fault {
            self.striking(fault).end()?;
        }
        let Some(punte) = self.start() else {
            return Ok(self.report);
        };
        load.goes_to(Some(punte.listens(scene::CHANNEL)));
        let sent = load.end(self.plan.patience).await;
        self.report.violations.extend(sent.problems.iter().cloned());
        if let Err(error) = proof::prove(&punte, &self.receivers, &sent, &mut self.report).await {
            // A store that starts and can't be read has lost what is in it.
            let broken = format!("it can't show what it holds: {error:#}");
            self.report.violations.push(broken);
        }
        if let Err(error) = punte.stop() {
            self.report
                .violations
                .push(format!("it does not stop: {error:#}"));
        }
        self.search()?;
        if !self.report.violations.is_empty() {
            eprintln!("{}", self.home.log_end(60));
        }
        Ok(self.report)
    }
}
