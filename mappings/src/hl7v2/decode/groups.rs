//! The groups of order and result messages, by the order of their segments.
//!
//! Structures differ from version to version, and senders from structures. So a segment belongs to what was opened
//! last before it: an OBX to its OBR (or to the specimen in between), an NTE to the entity right before it.

use super::collect::{At, Seg};

/// An OBX, the lines that go on with it, and the remarks behind it.
#[derive(Clone)]
pub struct Obx<'m> {
    /// The first, and mostly the only, segment.
    pub obx: Seg<'m>,
    /// Lines of the same text report: segments that differ in OBX-1 and OBX-5 only.
    pub lines: Vec<Seg<'m>>,
    /// NTE.
    pub notes: Vec<Seg<'m>>,
    /// PRT.
    pub roles: Vec<Seg<'m>>,
}

/// A specimen.
#[derive(Clone)]
pub struct Sample<'m> {
    /// SPM.
    pub spm: Seg<'m>,
    /// NTE.
    pub notes: Vec<Seg<'m>>,
    /// SAC.
    pub containers: Vec<Seg<'m>>,
    /// OBX behind it.
    pub observations: Vec<Obx<'m>>,
}

/// One order, or one report.
#[derive(Clone)]
pub struct Group<'m> {
    /// The segment that opened it.
    pub first: Seg<'m>,
    /// Its ORC: the last one before its OBR (HL7 v2.5.1, 4.5.1).
    pub orc: Option<Seg<'m>>,
    /// True where the ORC speaks for several OBR.
    pub shares_orc: bool,
    /// Its OBR.
    pub obr: Option<Seg<'m>>,
    /// Its RXO.
    pub rxo: Option<Seg<'m>>,
    /// Its RXE.
    pub rxe: Option<Seg<'m>>,
    /// RXR.
    pub routes: Vec<Seg<'m>>,
    /// TQ1.
    pub timings: Vec<Seg<'m>>,
    /// Those before the first OBR of the ORC: they speak for each OBR that has none of its own.
    timings_of_orc: Vec<Seg<'m>>,
    /// True where `timings` are those.
    has_timings_of_orc: bool,
    /// IPC.
    pub protocols: Vec<Seg<'m>>,
    /// ZDS of IHE: the study of an imaging order.
    pub study: Option<Seg<'m>>,
    /// NTE behind ORC, OBR, TQ1, RXO, RXE or RXR.
    pub notes: Vec<Seg<'m>>,
    /// PRT behind them.
    pub roles: Vec<Seg<'m>>,
    /// DG1, each with its NTE.
    pub diagnoses: Vec<(Seg<'m>, Vec<Seg<'m>>)>,
    /// OBX before any SPM.
    pub observations: Vec<Obx<'m>>,
    /// SPM.
    pub samples: Vec<Sample<'m>>,
    /// Earlier results that were sent along with the order.
    pub prior: Vec<Group<'m>>,
}

/// A field that no segment has: a view of nothing.
const NO_FIELD: usize = 9_999;

impl<'m> Group<'m> {
    fn new(first: Seg<'m>) -> Self {
        Group {
            first,
            orc: None,
            shares_orc: false,
            obr: None,
            rxo: None,
            rxe: None,
            routes: vec![],
            timings: vec![],
            timings_of_orc: vec![],
            has_timings_of_orc: false,
            protocols: vec![],
            study: None,
            notes: vec![],
            roles: vec![],
            diagnoses: vec![],
            observations: vec![],
            samples: vec![],
            prior: vec![],
        }
    }

    fn field(&self, segment: Option<Seg<'m>>, number: usize) -> At<'m> {
        segment.map_or_else(|| self.first.f(NO_FIELD), |segment| segment.f(number))
    }

    /// A field of the ORC; a view of nothing where there is none.
    pub fn orc(&self, number: usize) -> At<'m> {
        self.field(self.orc, number)
    }

    /// A field of the OBR; a view of nothing where there is none.
    pub fn obr(&self, number: usize) -> At<'m> {
        self.field(self.obr, number)
    }

    /// A field of the ORC and the one of the OBR that says the same thing, the one that is right first: what an ORC says for
    /// several OBR gives way to what an OBR says of itself.
    pub fn two(&self, orc: usize, obr: usize) -> (At<'m>, At<'m>) {
        let is_number = matches!(orc, 2 | 3);
        match self.shares_orc {
            // What came of another order (OBR-29) has that one's number beside its own, not as its own.
            true if is_number && self.obr(29).is_there() && self.is_numbered() => {
                (self.obr(obr), self.first.f(NO_FIELD))
            }
            true => (self.obr(obr), self.orc(orc)),
            false => (self.orc(orc), self.obr(obr)),
        }
    }

    fn is_numbered(&self) -> bool {
        self.obr(2).is_there() || self.obr(3).is_there()
    }

    /// A group for the next OBR of the same ORC.
    fn next_of_orc(&mut self, obr: Seg<'m>) -> Self {
        let mut next = Group::new(obr);
        if self.orc.is_some() && !self.is_medication() {
            next.orc = self.orc;
            next.timings = self.timings_of_orc.clone();
            next.timings_of_orc = self.timings_of_orc.clone();
            next.has_timings_of_orc = true;
            next.shares_orc = true;
            self.shares_orc = true;
        }
        next
    }

    /// A field of the RXO; a view of nothing where there is none.
    pub fn rxo(&self, number: usize) -> At<'m> {
        self.field(self.rxo, number)
    }

    /// A field of the RXE; a view of nothing where there is none.
    pub fn rxe(&self, number: usize) -> At<'m> {
        self.field(self.rxe, number)
    }

    /// A TQ1: one behind the OBR stands for those that the OBR has of an ORC with several.
    fn timing(&mut self, segment: Seg<'m>) {
        if self.obr.is_none() {
            self.timings_of_orc.push(segment);
        } else if std::mem::take(&mut self.has_timings_of_orc) {
            self.timings.clear();
        }
        self.timings.push(segment);
    }

    /// True for an order of a medicine.
    pub fn is_medication(&self) -> bool {
        self.rxo.is_some() || self.rxe.is_some()
    }

    /// True where nothing but an ORC (with its timing) has come so far.
    fn awaits_detail(&self) -> bool {
        self.obr.is_none() && !self.is_medication() && self.observations.is_empty()
    }
}

/// One patient of the message, with all that is said about them.
#[derive(Clone, Default)]
pub struct Case<'m> {
    /// The PID; none where orders come before any.
    pub pid: Option<Seg<'m>>,
    /// Everything about the person and the visit, in order: PD1, NTE, NK1, PV1, PV2, IN1, AL1 …
    pub about: Vec<Seg<'m>>,
    /// OBX before any order.
    pub observations: Vec<Obx<'m>>,
    /// Orders or reports.
    pub groups: Vec<Group<'m>>,
}

/// Which kind of message the groups are of: the same segments in the same order mean other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// ORM, OML, OMG, OMI, OMP: a PID or PV1 behind an order opens earlier results.
    Orders,
    /// ORU: a PID behind results is the next patient.
    Results,
}

/// What the next NTE belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Person,
    Group,
    Diagnosis,
    Observation,
    Sample,
}

/// Reads the groups. Segments that belong to none of them are left alone.
pub fn read<'m>(segments: &[Seg<'m>], shape: Shape) -> Vec<Case<'m>> {
    let mut reader = Reader {
        cases: vec![],
        last: Last::Nothing,
        in_sample: false,
        prior: false,
        shape,
    };
    for (idx, segment) in segments.iter().enumerate() {
        reader.take(*segment, segments.get(idx + 1..).unwrap_or(&[]));
    }
    for case in &mut reader.cases {
        join_lines(&mut case.observations);
        case.groups.iter_mut().for_each(|group| settle(group, shape));
    }
    reader.cases
}

struct Reader<'m> {
    cases: Vec<Case<'m>>,
    last: Last,
    in_sample: bool,
    /// The groups that come belong to earlier results of the order before them.
    prior: bool,
    shape: Shape,
}

impl<'m> Reader<'m> {
    fn case(&mut self) -> &mut Case<'m> {
        if self.cases.is_empty() {
            self.cases.push(Case::default());
        }
        let last = self.cases.len() - 1;
        &mut self.cases[last]
    }

    /// The group that is open, if one is.
    fn group(&mut self) -> Option<&mut Group<'m>> {
        let prior = self.prior;
        let group = self.cases.last_mut()?.groups.last_mut()?;
        if prior && !group.prior.is_empty() {
            return group.prior.last_mut();
        }
        Some(group)
    }

    /// The group before the next one, among those that the next one joins.
    fn before(&mut self) -> Option<&mut Group<'m>> {
        let prior = self.prior;
        let last = self.cases.last_mut()?.groups.last_mut()?;
        if prior { last.prior.last_mut() } else { Some(last) }
    }

    fn open(&mut self, group: Group<'m>) {
        self.in_sample = false;
        self.last = Last::Group;
        let prior = self.prior;
        let groups = &mut self.case().groups;
        match groups.last_mut() {
            Some(order) if prior => order.prior.push(group),
            _ => groups.push(group),
        }
    }

    fn take(&mut self, segment: Seg<'m>, rest: &[Seg<'m>]) {
        let was = std::mem::replace(&mut self.last, Last::Nothing);
        match segment.name() {
            "PID" => self.patient(segment, rest),
            "PD1" | "NK1" | "PV1" | "PV2" | "GT1" | "IN1" | "IN2" | "IN3" | "AL1" | "IAM" | "ROL" => {
                self.person(segment, rest);
            }
            "ORC" => self.control(segment),
            "OBR" | "RXO" | "RXE" => self.detail(segment),
            "TQ1" => {
                if let Some(group) = self.group() {
                    group.timing(segment);
                    self.last = Last::Group;
                }
            }
            "IPC" => {
                if let Some(group) = self.group() {
                    group.protocols.push(segment);
                    self.last = Last::Group;
                }
            }
            "ZDS" => {
                if let Some(group) = self.group().filter(|group| group.study.is_none()) {
                    group.study = Some(segment);
                    self.last = Last::Group;
                }
            }
            "RXR" => {
                if let Some(group) = self.group() {
                    group.routes.push(segment);
                    self.last = Last::Group;
                }
            }
            "DG1" => match self.group() {
                Some(group) => {
                    group.diagnoses.push((segment, vec![]));
                    self.last = Last::Diagnosis;
                }
                None => self.person(segment, rest),
            },
            "OBX" => self.observation(segment),
            "SPM" => {
                let sample = Sample {
                    spm: segment,
                    notes: vec![],
                    containers: vec![],
                    observations: vec![],
                };
                if let Some(group) = self.group() {
                    group.samples.push(sample);
                    self.in_sample = true;
                    self.last = Last::Sample;
                }
            }
            "SAC" => {
                if let Some(sample) = self.group().and_then(|group| group.samples.last_mut()) {
                    sample.containers.push(segment);
                    self.in_sample = true;
                    self.last = Last::Sample;
                }
            }
            "NTE" => {
                self.last = was;
                self.note(segment);
            }
            // Of the person, as a ROL is, or of the order or result before it; remarks go on being about that.
            "PRT" if was == Last::Person => self.person(segment, rest),
            "PRT" => {
                self.last = was;
                self.role(segment);
            }
            _ => {}
        }
    }

    fn patient(&mut self, segment: Seg<'m>, rest: &[Seg<'m>]) {
        let orders_before = self.cases.last().is_some_and(|case| !case.groups.is_empty());
        if self.shape == Shape::Orders && orders_before && !next_is_new_order(rest) {
            // The patient of earlier results: the same person, as they were called then.
            self.prior = true;
            return;
        }
        self.prior = false;
        self.in_sample = false;
        self.cases.push(Case {
            pid: Some(segment),
            ..Case::default()
        });
        self.last = Last::Person;
    }

    fn person(&mut self, segment: Seg<'m>, rest: &[Seg<'m>]) {
        let case = self.case();
        if case.groups.is_empty() {
            case.about.push(segment);
            self.last = Last::Person;
        } else if self.shape == Shape::Orders && segment.name() == "PV1" && !next_is_new_order(rest) {
            self.prior = true;
        }
    }

    fn control(&mut self, segment: Seg<'m>) {
        if self.shape == Shape::Orders {
            let has_order = self.cases.last().is_some_and(|case| !case.groups.is_empty());
            self.prior = has_order && is_prior(segment);
        }
        let mut group = Group::new(segment);
        group.orc = Some(segment);
        self.open(group);
    }

    fn detail(&mut self, segment: Seg<'m>) {
        let is_rxe = segment.name() == "RXE";
        let fits = |group: &Group<'m>| match is_rxe {
            true => group.obr.is_none() && group.rxe.is_none(),
            false => group.awaits_detail(),
        };
        if !self.group().is_some_and(|group| fits(group)) {
            let next = match self.before().filter(|_| segment.name() == "OBR") {
                Some(before) => before.next_of_orc(segment),
                None => Group::new(segment),
            };
            self.open(next);
        }
        if let Some(group) = self.group() {
            match segment.name() {
                "OBR" => group.obr = Some(segment),
                "RXO" => group.rxo = Some(segment),
                _ => group.rxe = Some(segment),
            }
        }
        self.last = Last::Group;
        self.in_sample = false;
    }

    fn observation(&mut self, segment: Seg<'m>) {
        let obx = Obx {
            obx: segment,
            lines: vec![],
            notes: vec![],
            roles: vec![],
        };
        self.last = Last::Observation;
        let in_sample = self.in_sample;
        match self.group() {
            Some(group) => match group.samples.last_mut() {
                Some(sample) if in_sample => sample.observations.push(obx),
                _ => group.observations.push(obx),
            },
            None => self.case().observations.push(obx),
        }
    }

    /// The last OBX.
    fn observed(&mut self) -> Option<&mut Obx<'m>> {
        let in_sample = self.in_sample;
        if self.group().is_none() {
            return self.case().observations.last_mut();
        }
        let group = self.group()?;
        match group.samples.last_mut() {
            Some(sample) if in_sample => sample.observations.last_mut(),
            _ => group.observations.last_mut(),
        }
    }

    fn role(&mut self, segment: Seg<'m>) {
        match self.last {
            Last::Group => {
                if let Some(group) = self.group() {
                    group.roles.push(segment);
                }
            }
            Last::Observation => {
                if let Some(obx) = self.observed() {
                    obx.roles.push(segment);
                }
            }
            Last::Nothing | Last::Person | Last::Diagnosis | Last::Sample => {}
        }
    }

    fn note(&mut self, segment: Seg<'m>) {
        match self.last {
            Last::Nothing => {}
            Last::Person => self.case().about.push(segment),
            Last::Group => {
                if let Some(group) = self.group() {
                    group.notes.push(segment);
                }
            }
            Last::Diagnosis => {
                if let Some((_, notes)) = self.group().and_then(|group| group.diagnoses.last_mut()) {
                    notes.push(segment);
                }
            }
            Last::Sample => {
                if let Some(sample) = self.group().and_then(|group| group.samples.last_mut()) {
                    sample.notes.push(segment);
                }
            }
            Last::Observation => {
                if let Some(obx) = self.observed() {
                    obx.notes.push(segment);
                }
            }
        }
    }
}

/// ORC-1 `PR`: earlier results with a new order.
fn is_prior(orc: Seg<'_>) -> bool {
    orc.f(1).part(1).is("PR")
}

/// True where the next order begins with an ORC that is not about earlier results.
fn next_is_new_order(rest: &[Seg<'_>]) -> bool {
    rest.iter()
        .find(|segment| matches!(segment.name(), "ORC" | "OBR" | "RXO" | "PID"))
        .is_some_and(|segment| segment.name() == "ORC" && !is_prior(*segment))
}

/// What can only be told at the end of a group.
fn settle(group: &mut Group<'_>, shape: Shape) {
    if shape == Shape::Results && group.observations.is_empty() && group.samples.len() == 1 {
        // Laboratories of 2.5 and older send the SPM first: these are the results of the OBR.
        group.observations = std::mem::take(&mut group.samples[0].observations);
    }
    join_lines(&mut group.observations);
    for sample in &mut group.samples {
        join_lines(&mut sample.observations);
    }
    group
        .prior
        .iter_mut()
        .for_each(|prior| settle(prior, Shape::Results));
}

/// Puts the lines of a text report together that comes as one OBX a line.
fn join_lines(observations: &mut Vec<Obx<'_>>) {
    let mut joined: Vec<Obx<'_>> = Vec::with_capacity(observations.len());
    for next in observations.drain(..) {
        match joined.last_mut() {
            Some(before) if before.notes.is_empty() && is_next_line(before.obx, next.obx) => {
                before.lines.push(next.obx);
                before.notes = next.notes;
                before.roles.extend(next.roles);
            }
            _ => joined.push(next),
        }
    }
    *observations = joined;
}

/// True for two texts that say the same in every field but number and value. With instances named (OBX-21) each is
/// one of its own.
fn is_next_line(before: Seg<'_>, next: Seg<'_>) -> bool {
    const LAST_FIELD: usize = 33;
    let is_text = before.f(2).is("TX") || before.f(2).is("FT");
    is_text
        && before.f(21).is_empty()
        && before.f(3).is_there()
        && (2..=LAST_FIELD).all(|n| n == 5 || before.f(n).raw() == next.f(n).raw())
}
