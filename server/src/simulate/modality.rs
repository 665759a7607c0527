//! A device: asks what is planned, says that it begins, makes images, has them stored and committed, and says that it ends.
//!
//! Each service has an association of its own, as with most devices.

use std::time::Duration;

use anyhow::{Context, bail};
use connectors::dicom::Caller;
use connectors::tls::Stream;
use dimse::scu::{Found, Object};
use dimse::{Association, Status, StatusKind, uids};
use jiff::ZonedDateTime as Zoned;
use mappings::dicom::charset::Fallback;
use mappings::dicom::dataset::DataSet;
use mappings::dicom::part10::packing;
use mappings::dicom::write::Out;

use super::image::{self, Kind, Made, Twist};
use super::mpps::{self, End};
use super::step::Step;
use super::{PLAIN, uid, written};
use crate::command::dicom::keys::Keys;

/// More planned steps are not listened to.
const MOST_STEPS: usize = 10_000;

/// A moment, by the clock of the device.
#[derive(Clone)]
pub struct Moment(Zoned);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Moment(Zoned::now())
    }

    /// As DA.
    pub fn date(&self) -> String {
        self.0.strftime("%Y%m%d").to_string()
    }

    /// As TM.
    pub fn time(&self) -> String {
        self.0.strftime("%H%M%S").to_string()
    }
}

/// What is examined, and under which numbers.
pub struct Examination {
    /// What was planned.
    pub step: Step,
    /// What kind of object is made.
    pub kind: Kind,
    /// As the objects say.
    pub modality: String,
    /// Study Instance UID: the planned one, else a new one.
    pub study: String,
    /// Series Instance UID.
    pub series: String,
    /// Frame of Reference UID.
    pub frame: String,
    /// Of the performed procedure step.
    pub mpps: String,
    /// It says what it does (MPPS).
    pub reports: bool,
    /// The AE title of the device.
    pub station: String,
    /// So many points each way an image has.
    pub side: u16,
    /// When it began.
    pub started: Moment,
}

impl Examination {
    /// Of a planned step, begun now.
    pub fn of(step: Step, station: &str, side: u16) -> Self {
        let modality = match step.modality.as_str() {
            "" => "OT",
            known => known,
        };
        Examination {
            kind: Kind::of(modality),
            modality: modality.to_owned(),
            study: match step.study.as_str() {
                "" => uid(),
                planned => planned.to_owned(),
            },
            series: uid(),
            frame: uid(),
            mpps: uid(),
            reports: true,
            station: station.to_owned(),
            side,
            started: Moment::now(),
            step,
        }
    }
}

/// How a device misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// Its images name another patient than was planned.
    pub wrong_patient: bool,
    /// It sends its last image once more.
    pub duplicate: Option<Duplicate>,
    /// After so many images it aborts, in the middle of the next one.
    pub abort_after: Option<usize>,
    /// It waits so long before each message, and within each image.
    pub slow: Option<Duration>,
}

/// How an image is sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Duplicate {
    /// As it was
    Same,
    /// With other pixels under the same UID
    Changed,
}

impl Manners {
    async fn wait(&self) {
        if let Some(slow) = self.slow {
            tokio::time::sleep(slow).await;
        }
    }
}

/// What came of the images.
#[derive(Debug, Default)]
pub struct Stored {
    /// Those that were taken.
    pub taken: Vec<Made>,
    /// How many were not.
    pub refused: usize,
    /// It was aborted, as was asked for.
    pub aborted: bool,
}

/// An answer, in words.
pub fn said(status: Status) -> String {
    format!("{status} {}", status.words()).trim_end().to_owned()
}

/// The answer says that it was done.
pub fn is_done(status: Status) -> bool {
    matches!(status.kind(), StatusKind::Success | StatusKind::Warning)
}

/// An association for one class.
pub(super) async fn associate(
    caller: &Caller,
    class: &str,
) -> anyhow::Result<(Association<Stream>, dimse::Context)> {
    // With something that everybody offers beside it: DCMTK rejects a request of which it takes nothing, and says not why.
    let proposal = caller
        .proposal()
        .with(class, PLAIN)
        .with(uids::VERIFICATION, [uids::IMPLICIT_LITTLE]);
    let association = caller.associate(proposal).await.map_err(anyhow::Error::msg)?;
    match association.context(class, None).cloned() {
        Some(context) => Ok((association, context)),
        None => {
            association.release().await?;
            bail!(
                "{} does not offer the service {}",
                caller.called(),
                service(class)
            )
        }
    }
}

fn service(class: &str) -> &str {
    match class {
        uids::WORKLIST => "worklist",
        uids::MPPS => "MPPS",
        uids::COMMITMENT => "storage commitment",
        class => class,
    }
}

/// What is planned.
pub async fn worklist(caller: &Caller, keys: &Keys) -> anyhow::Result<Vec<Step>> {
    let (mut association, context) = associate(caller, uids::WORKLIST).await?;
    let asked = association
        .find(&context, &keys.written(&context.syntax)?)
        .await?;
    let mut steps = vec![];
    let status = loop {
        match association.next_match(asked).await? {
            Found::Match(answer) => {
                let coding = packing(&context.syntax).coding;
                let set = DataSet::read(&answer.data, coding, Fallback::default())
                    .context("an answer of the worklist can't be read")?;
                if MOST_STEPS == steps.len() {
                    bail!(
                        "the worklist has more than {MOST_STEPS} entries; ask for fewer, such as those of a day"
                    );
                }
                steps.push(Step::read(&set));
            }
            Found::End(answer) => break answer.status(),
        }
    };
    association.release().await?;
    match is_done(status) {
        true => Ok(steps),
        false => bail!("the question for the worklist was refused: {}", said(status)),
    }
}

/// Says that it begins (N-CREATE); `times`: how often.
pub async fn begin(
    caller: &Caller,
    examination: &Examination,
    times: usize,
    manners: &Manners,
) -> anyhow::Result<Vec<Status>> {
    let (mut association, context) = associate(caller, uids::MPPS).await?;
    let data = written(mpps::begun(examination), &context.syntax);
    let mut statuses = vec![];
    for _ in 0..times {
        manners.wait().await;
        let answer = association.n_create(&context, &examination.mpps, &data).await?;
        statuses.push(answer.status());
    }
    association.release().await?;
    Ok(statuses)
}

/// Says that it has ended (N-SET).
pub async fn end(
    caller: &Caller,
    examination: &Examination,
    made: &[Made],
    end: End,
    manners: &Manners,
) -> anyhow::Result<Status> {
    let (mut association, context) = associate(caller, uids::MPPS).await?;
    let data = written(
        mpps::ended(examination, made, end, &Moment::now()),
        &context.syntax,
    );
    manners.wait().await;
    let answer = association.n_set(&context, &examination.mpps, &data).await?;
    association.release().await?;
    Ok(answer.status())
}

/// Makes images and has them stored. `tell`: each as it was answered.
pub async fn store(
    caller: &Caller,
    examination: &Examination,
    images: usize,
    manners: &Manners,
    tell: &mut (dyn FnMut(&Made, Status) + Send),
) -> anyhow::Result<Stored> {
    let mut stored = Stored::default();
    let (association, context) = associate(caller, examination.kind.class()).await?;
    let mut storing = Storing {
        association,
        context,
        manners,
    };
    let twist = Twist {
        wrong_patient: manners.wrong_patient,
        other_pixels: false,
    };
    let mut last = None;
    for number in 1..=images {
        let made = Made {
            instance: uid(),
            number,
        };
        let set = image::data_set(examination, &made, twist);
        if manners.abort_after == Some(number - 1) {
            storing.abort(examination, &made, set).await?;
            stored.aborted = true;
            return Ok(stored);
        }
        let status = storing.send(examination, &made, set).await?;
        tell(&made, status);
        match is_done(status) {
            true => stored.taken.push(made.clone()),
            false => stored.refused += 1,
        }
        last = Some(made);
    }
    if let (Some(duplicate), Some(made)) = (manners.duplicate, last) {
        let twist = Twist {
            other_pixels: duplicate == Duplicate::Changed,
            ..twist
        };
        let set = image::data_set(examination, &made, twist);
        let status = storing.send(examination, &made, set).await?;
        tell(&made, status);
        stored.refused += usize::from(!is_done(status));
    }
    storing.association.release().await?;
    Ok(stored)
}

struct Storing<'m> {
    association: Association<Stream>,
    context: dimse::Context,
    manners: &'m Manners,
}

impl Storing<'_> {
    async fn send(&mut self, examination: &Examination, made: &Made, set: Out) -> anyhow::Result<Status> {
        let data = written(set, &self.context.syntax);
        let (class, instance) = (examination.kind.class(), made.instance.as_str());
        self.manners.wait().await;
        let asked = self.association.begin_store(
            &self.context,
            &Object {
                class,
                instance,
                originator: None,
            },
        );
        let (first, rest) = data.split_at(data.len() / 4 * 2);
        if self.manners.slow.is_some() {
            self.association.send_data(self.context.id, first, false).await?;
            self.association.flush().await?;
            self.manners.wait().await;
            self.association.send_data(self.context.id, rest, true).await?;
        } else {
            self.association.send_data(self.context.id, &data, true).await?;
        }
        let answer = self.association.answer(asked).await;
        Ok(answer
            .with_context(|| format!("image {} was not answered", made.number))?
            .status())
    }

    /// Sends a half, and aborts.
    async fn abort(mut self, examination: &Examination, made: &Made, set: Out) -> anyhow::Result<()> {
        let data = written(set, &self.context.syntax);
        let (class, instance) = (examination.kind.class(), made.instance.as_str());
        self.association.begin_store(
            &self.context,
            &Object {
                class,
                instance,
                originator: None,
            },
        );
        let half = &data[..data.len() / 4 * 2];
        self.association.send_data(self.context.id, half, false).await?;
        self.association.flush().await?;
        self.association.abort(Duration::from_secs(5)).await;
        Ok(())
    }
}
