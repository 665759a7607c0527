//! `punte simulate modality`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use connectors::dicom::Caller;
use dimse::Status;
use tokio::net::TcpListener;

use crate::command::dicom::keys::Keys;
use crate::command::dicom::{Far, Narrow};
use crate::command::print;
use crate::simulate::commitment;
use crate::simulate::modality::{self, Duplicate, Examination, Manners, is_done, said};
use crate::simulate::mpps::{End, Reason};
use crate::simulate::step::Step;

/// N-CREATE of what is there already.
const EXISTS: Status = Status::DUPLICATE_INSTANCE;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    far: Far,
    #[command(flatten)]
    narrow: Narrow,
    /// A further key of the worklist, with a value: AccessionNumber=7001
    #[arg(short, long = "key", value_name = "KEY=VALUE")]
    keys: Vec<String>,
    /// Which of the planned steps is done, from 1
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "all")]
    pick: usize,
    /// Do all that is planned
    #[arg(long)]
    all: bool,
    /// Leave a service out
    #[arg(long, value_enum, value_name = "SERVICE", value_delimiter = ',')]
    without: Vec<Service>,
    /// Without worklist: the number of the patient
    #[arg(long, value_name = "ID", default_value = "SIMULATED-1")]
    patient_id: String,
    /// Without worklist: the name of the patient
    #[arg(long, value_name = "FAMILY^GIVEN", default_value = "Simulated^Patient")]
    patient_name: String,
    /// So many images are made
    #[arg(long, default_value_t = 3, value_name = "N")]
    images: usize,
    /// So many points each way they have
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(8..=4096))]
    side: u16,
    /// The images go to another archive than the one that has the worklist
    #[arg(long, value_name = "HOST:PORT")]
    store_to: Option<String>,
    /// Its AE title
    #[arg(long, value_name = "TITLE", requires = "store_to", default_value = "PACS")]
    store_called: String,
    /// Where the device listens for the report of storage commitment
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How long it waits for that report
    #[arg(long, default_value = "30s", value_parser = super::duration)]
    patience: Duration,
    /// The examination is broken off: doctor, equipment, wrong-procedure, allergy, refused, not-arrived, pregnant, wrong-side, unspecified, wrong-entry
    #[arg(long, value_name = "REASON")]
    discontinue: Option<Reason>,
    /// Misbehave: say twice that it begins, as after an answer that was lost
    #[arg(long, help_heading = "Misbehaviour")]
    repeat_create: bool,
    /// Misbehave: never say that it has ended
    #[arg(long, help_heading = "Misbehaviour")]
    no_final: bool,
    /// Misbehave: name another patient in the images
    #[arg(long, help_heading = "Misbehaviour")]
    wrong_patient: bool,
    /// Misbehave: send the last image again
    #[arg(long, help_heading = "Misbehaviour", value_enum, num_args = 0..=1, default_missing_value = "same", require_equals = true)]
    duplicate: Option<Duplicate>,
    /// Misbehave: abort in the middle of the image after these
    #[arg(long, help_heading = "Misbehaviour", value_name = "N")]
    abort_after: Option<usize>,
    /// Misbehave: wait so long before each message, and in the middle of each image
    #[arg(long, help_heading = "Misbehaviour", value_name = "TIME", value_parser = super::duration)]
    slow: Option<Duration>,
}

/// What a device may do without.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Service {
    /// It asks for no plan: the patient is who is named on the command line
    Worklist,
    /// It does not say what it does
    Mpps,
    /// It does not ask whether its images are kept for good
    Commitment,
}

impl Args {
    fn has(&self, service: Service) -> bool {
        !self.without.contains(&service)
    }

    fn manners(&self) -> Manners {
        Manners {
            wrong_patient: self.wrong_patient,
            duplicate: self.duplicate,
            abort_after: self.abort_after,
            slow: self.slow,
        }
    }

    /// What is to be done.
    async fn planned(&self, caller: &Caller) -> anyhow::Result<Vec<Step>> {
        if !self.has(Service::Worklist) {
            let modality = self.narrow.modality.clone();
            return Ok(vec![Step {
                patient: self.patient_id.clone(),
                name: self.patient_name.clone(),
                modality: modality.unwrap_or_else(|| "CT".to_owned()),
                ..Step::default()
            }]);
        }
        let mut keys = Keys::default();
        self.narrow.add_to(&mut keys)?;
        for key in &self.keys {
            let (key, value) = key.split_once('=').unwrap_or((key, ""));
            keys.add(key, value)?;
        }
        let mut steps = modality::worklist(caller, &keys).await?;
        print(&format!("worklist: {} planned\n", steps.len()));
        for (idx, step) in steps.iter().enumerate() {
            print(&format!("  {}  {}\n", idx + 1, step.shown()));
        }
        if self.all {
            return Ok(steps);
        }
        match self.pick.checked_sub(1).filter(|idx| *idx < steps.len()) {
            Some(idx) => Ok(vec![steps.swap_remove(idx)]),
            None if steps.is_empty() => Ok(steps),
            None => bail!("--pick {}: there are {} planned", self.pick, steps.len()),
        }
    }
}

/// What was not as it should be, and how much was done.
#[derive(Default)]
struct Sum {
    images: usize,
    wrong: usize,
}

impl Sum {
    fn line(&mut self, what: &str, answer: &str, is_right: bool) {
        self.wrong += usize::from(!is_right);
        print(&format!(
            "  {what:<14}{answer}{}\n",
            if is_right { "" } else { "   <- not as it should be" }
        ));
    }

    fn failed(&mut self, what: &str, error: &anyhow::Error) {
        self.line(what, &format!("{error:#}"), false);
    }
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let caller = args.far.caller()?;
    let archive = match &args.store_to {
        None => args.far.caller()?,
        Some(to) => {
            let mut far = args.far.clone();
            far.to.clone_from(to);
            far.called.clone_from(&args.store_called);
            far.caller()?
        }
    };
    let listener = match &args.listen {
        None => None,
        Some(at) => Some(
            TcpListener::bind(at)
                .await
                .with_context(|| format!("--listen {at}"))?,
        ),
    };
    let steps = args.planned(&caller).await?;
    if steps.is_empty() {
        print(
            "Nothing is planned that was asked for. Is it the right day, modality, station? Ask without them.\n",
        );
        return Ok(ExitCode::FAILURE);
    }
    let mut sum = Sum::default();
    let examinations = steps.len();
    for step in steps {
        let whose = [step.accession.as_str(), step.patient.as_str()]
            .into_iter()
            .filter(|word| !word.is_empty());
        print(&format!("examination {}\n", whose.collect::<Vec<_>>().join("  ")));
        let mut examination = Examination::of(step, &args.far.calling, args.side);
        examination.reports = args.has(Service::Mpps);
        examine(args, &caller, &archive, listener.as_ref(), &examination, &mut sum).await;
    }
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let done = format!(
        "{}, {}",
        plural(examinations, "examination"),
        plural(sum.images, "image")
    );
    match sum.wrong {
        0 => print(&format!("{done}: all was answered as it should be\n")),
        wrong => print(&format!(
            "{done}: {} not as it should be\n",
            plural(wrong, "answer")
        )),
    }
    Ok(if sum.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn examine(
    args: &Args,
    caller: &Caller,
    archive: &Caller,
    listener: Option<&TcpListener>,
    examination: &Examination,
    sum: &mut Sum,
) {
    let manners = args.manners();
    if examination.reports {
        let times = if args.repeat_create { 2 } else { 1 };
        match modality::begin(caller, examination, times, &manners).await {
            Ok(statuses) => {
                for (idx, status) in statuses.into_iter().enumerate() {
                    // Said again, it is there.
                    let is_right = is_done(status) || idx != 0 && status == EXISTS;
                    sum.line("begins", &said(status), is_right);
                }
            }
            Err(error) => sum.failed("begins", &error),
        }
    }
    let mut lines = vec![];
    let mut number = 0;
    let mut tell = |made: &crate::simulate::image::Made, status: Status| {
        number += 1;
        let again = if number == made.number { "" } else { " again" };
        let what = format!("image {}{again}", made.number);
        print(&format!("  {what:<14}{}  {}\n", said(status), made.instance));
        if !is_done(status) {
            lines.push(what);
        }
    };
    let stored = match args.images {
        0 => Ok(modality::Stored::default()),
        images => modality::store(archive, examination, images, &manners, &mut tell).await,
    };
    let taken = match stored {
        Ok(stored) => {
            if stored.aborted {
                sum.line("images", "aborted, as asked for", true);
            }
            sum.wrong += lines.len();
            stored.taken
        }
        Err(error) => {
            sum.failed("images", &error);
            vec![]
        }
    };
    sum.images += taken.len();
    if args.has(Service::Commitment) && !taken.is_empty() {
        let class = examination.kind.class();
        match commitment::ask(archive, class, &taken, listener, args.patience).await {
            Ok(report) => {
                let by = if report.called_back {
                    ", by an association of its own"
                } else {
                    ""
                };
                let failed = match report.failed {
                    (0, _) => String::new(),
                    (count, Some(why)) => format!(", {count} not ({})", said(why)),
                    (count, None) => format!(", {count} not"),
                };
                let text = format!("{} kept for good{failed}{by}", report.committed);
                sum.line(
                    "commitment",
                    &text,
                    report.failed.0 == 0 && report.committed == taken.len(),
                );
            }
            Err(error) => sum.failed("commitment", &error),
        }
    }
    if examination.reports && !args.no_final {
        let end = args.discontinue.map_or(End::Completed, End::Discontinued);
        match modality::end(caller, examination, &taken, end, &manners).await {
            Ok(status) => sum.line(&end.status().to_lowercase(), &said(status), is_done(status)),
            Err(error) => sum.failed("ends", &error),
        }
    }
}
