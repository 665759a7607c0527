//! The imaging part of an order: IPC (HL7 v2.5.1, 4.5.6) as OMI^O23 has it (IHE RAD-4), what ORM^O01 says in OBR-18 to
//! -20 and -24 and in the ZDS of IHE, and appointments of a modality (AIS, AIG, AIL, AIP).
//!
//! A worklist has room for 16 characters of a number. A longer accession number is kept as a number of the order, and
//! said; other numbers that are too long stay without a place.

use clinic::diagnostics::{OrderChange, OrderIntent, OrderStatus, ResultChange};
use clinic::imaging::{self, ACCESSION, Imaging, ImagingStep, SHORT, StepStatus};
use clinic::patch::{Items, Patch};
use clinic::scheduling::AppointmentChange;
use clinic::value::{Concept, Identifier, Ref, When};
use clinic::{Body, Change};

use super::cases::Subject;
use super::collect::{At, Collected, Seg, natural};
use super::groups::Group;
use super::orders::{times, twin};
use super::terms::{self, NO_TABLE};
use super::{datatypes as data, parties};

/// The URI of the modalities of DICOM.
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";

/// The modality of a code as DICOM has it, or as HL7 table 0074 does. Other words go through a table of the channel.
fn modality_of(code: &str) -> Option<&'static str> {
    Some(match code.to_ascii_uppercase().as_str() {
        "CT" | "CTH" => "CT",
        "MR" | "MRI" | "NMR" => "MR",
        "US" | "RUS" | "OUS" | "VUS" | "CUS" => "US",
        "NM" | "NMS" => "NM",
        "PT" | "PET" => "PT",
        "RX" => "DX",
        "XRC" => "RF",
        "CR" => "CR",
        "DX" => "DX",
        "MG" => "MG",
        "IO" => "IO",
        "PX" => "PX",
        "XA" => "XA",
        "RF" => "RF",
        "BMD" => "BMD",
        "ES" => "ES",
        "XC" => "XC",
        "OP" => "OP",
        "OPT" => "OPT",
        _ => return None,
    })
}

/// True for the sections of table 0074 that make images, of whatever modality.
fn makes_images(code: &str) -> bool {
    matches!(code.to_ascii_uppercase().as_str(), "RAD" | "IMG") || modality_of(code).is_some()
}

/// The modality that a coded field names, by the channel's table or by its own code. Nothing is taken.
fn modality_at(at: At<'_>) -> Option<String> {
    let own = || modality_of(&at.part(1).peek()?).map(str::to_owned);
    mapped_modality(at).or_else(own)
}

/// The same by the channel's table alone.
fn mapped_modality(at: At<'_>) -> Option<String> {
    let code = at.part(1).peek()?;
    let system = at
        .part(3)
        .peek()
        .map(|name| terms::system_uri(&name).into_owned());
    let tables = [system, Some(terms::v2("0074"))];
    tables.into_iter().flatten().find_map(|system| {
        let others = at.profile().codes.get(&(system, code.clone()))?;
        others
            .iter()
            .find(|coding| coding.system.as_deref() == Some(DCM))?
            .code
            .clone()
    })
}

/// True for an order of images.
fn is_imaging(group: &Group<'_>) -> bool {
    let section = || {
        let at = group.obr(24).first();
        modality_at(at).is_some() || at.part(1).peek().is_some_and(|code| makes_images(&code))
    };
    !group.protocols.is_empty() || group.study.is_some() || section()
}

/// IPC-1 to -4, OBR-18 to -20, ZDS-1 as they stand there: the same examination twice in a message (left, right) has other
/// ones. Of what makes no images none: there OBR-18 to -20 mean what sender and receiver agreed on.
pub(super) fn examination(group: &Group<'_>) -> Vec<String> {
    if !is_imaging(group) {
        return vec![];
    }
    let of_steps = group
        .protocols
        .iter()
        .flat_map(|ipc| (1..=4).map(|field| ipc.f(field)));
    let of_order = (18..=20).map(|field| group.obr(field));
    let of_study = group.study.iter().map(|zds| zds.f(1));
    of_steps
        .chain(of_order)
        .chain(of_study)
        .map(|at| at.raw().to_owned())
        .collect()
}

/// IPC, ZDS, OBR-12, -18 to -20, -24, -30, -34, -36, -44 → what is asked of a modality.
pub(super) fn of_order<'m>(out: &mut Collected<'m>, group: &Group<'m>, say: &mut OrderChange) {
    if !is_imaging(group) {
        return;
    }
    let mut imaging = Imaging {
        transport: group.obr(30).text(),
        danger: terms::concept(group.obr(12).first(), NO_TABLE),
        procedure: terms::concept(group.obr(44).first(), NO_TABLE),
        ..Imaging::default()
    };
    for ipc in &group.protocols {
        head(*ipc, &mut imaging, say);
    }
    // The older places of the same, where IPC says nothing.
    let first = group.protocols.first();
    let other = |field: usize, number: usize| match first {
        Some(ipc) => twin(ipc.f(field).first(), group.obr(number).first()),
        None => group.obr(number).first(),
    };
    if imaging.accession.is_none() {
        accession(other(1, 18), &mut imaging, say);
    }
    imaging.procedure_id = imaging
        .procedure_id
        .take()
        .or_else(|| short(other(2, 19).part(1)));
    if let Some(zds) = group.study {
        let at = zds.f(1).first();
        imaging.study_uid = imaging.study_uid.take().or_else(|| uid(at.part(1)));
        // RP: what kind of pointer it is goes without saying.
        for (part, word) in [(3, "Application"), (4, "DICOM")] {
            if at.part(part).is(word) {
                at.part(part).take();
            }
        }
    }
    let mut common = ImagingStep {
        start: start(group, say),
        duration_minutes: minutes(say),
        ..ImagingStep::default()
    };
    if let Some(technician) = group.obr(34).reps().into_iter().next() {
        common.performer = parties::practitioner_from_ndl(out, technician);
    }
    if group.orc(5).part(1).is("IP") {
        common.status = Some(StepStatus::Started);
    }
    let by_section = modality_at(group.obr(24).first());
    for ipc in group.protocols.iter().filter(|ipc| plans(ipc)) {
        let step = step(*ipc, &common);
        imaging.steps.push(ImagingStep {
            modality: step.modality.clone().or_else(|| by_section.clone()),
            ..step
        });
    }
    if group.protocols.is_empty() {
        imaging.steps.push(ImagingStep {
            id: short(group.obr(20).first().part(1)),
            modality: by_section,
            protocols: protocol(say.code.value()).into_iter().collect(),
            ..common
        });
    }
    say.imaging = Patch::Set(imaging);
}

/// Whether an IPC says a step, and not the numbers of the examination alone.
fn plans(ipc: &Seg<'_>) -> bool {
    (4..=9).any(|field| ipc.f(field).is_there())
}

/// Whether the IPC of an order are all its steps: who places it, or changes it, says it whole (HL7 v2.5.1, OMI^O23: `{IPC}` is part of
/// the order, and has no action code). What reports a state, or calls off, need not.
pub(super) fn says_all_steps(group: &Group<'_>) -> bool {
    const PLACE: [&str; 5] = ["NW", "XO", "XX", "RO", "RP"];
    let control = group.orc(1).part(1).peek();
    control.is_some_and(|control| PLACE.contains(&control.as_str())) && group.protocols.iter().any(plans)
}

/// The code of DICOM for a study, and for its UID: what a report names its study by (IHE RAD TF-2, 4.28; PS3.16 D).
const STUDY_CODES: [&str; 2] = ["113014", "110180"];

/// IPC-1 to -3, ZDS-1, OBR-18, and an OBX with the study UID → the examination that a report is of. The number stands with the
/// report, so that it is said where its order is known by another. In OBR-18 of a report that does not say that it is of images
/// anything may stand: it is looked for, and stays.
pub(super) fn of_report(group: &Group<'_>, report: &mut ResultChange) -> (Vec<Identifier>, Option<Imaging>) {
    let mut imaging = Imaging::default();
    let mut named = OrderChange::default();
    for ipc in &group.protocols {
        head(*ipc, &mut imaging, &mut named);
    }
    if let Some(zds) = group.study {
        imaging.study_uid = imaging.study_uid.take().or_else(|| uid(zds.f(1).first().part(1)));
    }
    imaging.study_uid = imaging
        .study_uid
        .take()
        .or_else(|| group.observations.iter().find_map(|obx| study_named(obx.obx)));
    let is_of_images = is_imaging(group) || imaging.study_uid.is_some();
    let at = group.obr(18).first();
    let mut finds: Vec<Identifier> = imaging
        .study_uid
        .as_deref()
        .map(imaging::uid)
        .into_iter()
        .collect();
    if is_of_images && imaging.accession.is_none() {
        accession(at, &mut imaging, &mut named);
    } else if let (None, true, Some(number)) =
        (&imaging.accession, group.obr(24).is_empty(), at.part(1).peek())
    {
        finds.push(imaging::accession(&number, None));
    }
    let number = imaging.accession.as_deref();
    let number = number.map(|value| imaging::accession(value, imaging.accession_issuer.as_deref()));
    let mut all = report.identifiers.values().to_vec();
    all.extend(number.clone());
    all.extend(named.identifiers.values().iter().cloned());
    report.identifiers = Items::merge(all);
    finds.extend(number);
    (finds, is_of_images.then_some(imaging))
}

/// OBX → the study UID that it says: as text, as the name of an HD, or as what an RP points to. It stays an observation.
fn study_named(obx: Seg<'_>) -> Option<String> {
    let code = obx.f(3).first();
    let is_dicom = |system: &str| system.starts_with("DCM") || terms::system_uri(system) == DCM;
    let names_study = [(1, 3), (4, 6)].into_iter().any(|(name, system)| {
        let name = code.part(name).peek();
        name.is_some_and(|name| STUDY_CODES.contains(&name.as_str()))
            && code.part(system).peek().is_some_and(|system| is_dicom(&system))
    });
    let value = obx.f(5).first();
    let mut parts = [1, 2].into_iter().filter_map(|part| value.part(part).peek());
    parts.find(|part| names_study && part.contains('.') && imaging::may_be_uid(part))
}

/// IPC-1 to -3: the same in each IPC of an order.
fn head(ipc: Seg<'_>, imaging: &mut Imaging, say: &mut OrderChange) {
    let known = imaging.clone();
    if imaging.accession.is_none() {
        accession(ipc.f(1).first(), imaging, say);
    } else {
        again(ipc.f(1).first(), known.accession.as_deref());
    }
    match &known.procedure_id {
        None => imaging.procedure_id = short(ipc.f(2).first().part(1)),
        Some(id) => again(ipc.f(2).first(), Some(id)),
    }
    match &known.study_uid {
        None => imaging.study_uid = uid(ipc.f(3).first().part(1)),
        Some(uid) => again(ipc.f(3).first(), Some(uid)),
    }
}

/// What another IPC of the order has said: taken where it is the same.
fn again(at: At<'_>, known: Option<&str>) {
    if at.part(1).peek().as_deref() == known {
        at.take();
    } else if at.is_there() {
        at.note("an earlier IPC of the order says something else, and is used");
    }
}

/// EI → accession number. One that is too long for a worklist is a number of the order all the same.
fn accession(at: At<'_>, imaging: &mut Imaging, say: &mut OrderChange) {
    let Some(number) = data::entity(at, Some(ACCESSION)) else {
        return;
    };
    if number.value.chars().count() <= SHORT {
        imaging.accession_issuer = number.system;
        imaging.accession = Some(number.value);
        return;
    }
    at.remark(format!(
        "longer than the {SHORT} characters that a worklist has room for: kept as a number of the order, \
         and not used as its accession number"
    ));
    let mut all: Vec<Identifier> = say.identifiers.values().to_vec();
    all.push(number);
    say.identifiers = Items::merge(all);
}

/// A number that a worklist has room for; a longer one stays.
fn short(at: At<'_>) -> Option<String> {
    at.read(|text| {
        if text.chars().count() <= SHORT {
            Ok(text.to_owned())
        } else {
            Err("longer than the 16 characters that a worklist has room for; another number is made")
        }
    })
}

/// A UID, also one with a part that begins with a zero, as those made of a date and a time have: the modality makes the images under
/// it, and the viewer asks for it. Anything else stays.
fn uid(at: At<'_>) -> Option<String> {
    at.read(|text| {
        if imaging::may_be_uid(text) {
            Ok(text.to_owned())
        } else {
            Err("no UID (digits and dots, at most 64 characters)")
        }
    })
}

/// IPC-4 to -9 → step.
fn step(ipc: Seg<'_>, common: &ImagingStep) -> ImagingStep {
    let modality = ipc.f(5).first();
    let named =
        modality_at(modality).or_else(|| modality.part(1).peek().filter(|code| imaging::is_code(code)));
    if named.is_some() {
        modality.part(1).take();
        let system = modality.part(3).peek();
        if system.is_some_and(|system| terms::system_uri(&system) == DCM) {
            modality.part(3).take();
        }
    } else if modality.is_there() {
        modality.note("no modality that DICOM knows; map it in the channel's table of codes");
    }
    let mut description = None;
    let mut protocols = vec![];
    for rep in ipc.f(6).reps() {
        if description.is_none() {
            description = rep.part(2).peek();
        }
        if rep.part(1).is_there() {
            protocols.extend(terms::concept(rep, NO_TABLE));
        } else {
            rep.part(2).take();
        }
    }
    let place = ipc.f(8).first();
    let titles = ipc.f(9).read(|text| {
        let titles = text.split('\\').map(str::trim).filter(|title| !title.is_empty());
        match titles.clone().all(imaging::is_ae_title) {
            true => Ok(titles.map(str::to_owned).collect()),
            false => Err("no AE title: 1 to 16 letters of ASCII"),
        }
    });
    ImagingStep {
        id: short(ipc.f(4).first().part(1)),
        modality: named,
        station_aes: titles.unwrap_or_default(),
        station_name: ipc.f(7).first().part(1).text(),
        location: place.part(1).text().or_else(|| place.part(2).text()),
        description,
        protocols,
        ..common.clone()
    }
}

/// OBR-4.4 to -6: what is to be done as the modality knows it, where that has a code of its own.
fn protocol(code: Option<&Concept>) -> Option<Concept> {
    let second = code?.codings.get(1)?;
    second.code.as_ref()?;
    Some(Concept {
        codings: vec![second.clone()],
        text: None,
    })
}

/// TQ1-7 (ORC-7.4, OBR-27.4), else OBR-36, else OBR-6 → when it begins.
fn start(group: &Group<'_>, say: &OrderChange) -> Option<When> {
    let timing = say.occurrence_timing.value();
    let planned = timing.and_then(|timing| timing.bounds.as_ref()?.start.clone());
    let planned = planned.or_else(|| times(group)?.timing?.bounds?.start);
    planned
        .or_else(|| data::when(group.obr(36)))
        .or_else(|| say.occurrence_at.value().cloned())
}

/// How long it takes, in minutes: from the beginning to the end, or as said.
fn minutes(say: &OrderChange) -> Option<u32> {
    let timing = say.occurrence_timing.value()?;
    if let Some(bounds) = &timing.bounds {
        let moment = |when: &When| when.as_str().parse::<jiff::Timestamp>().ok();
        let (start, end) = (moment(bounds.start.as_ref()?)?, moment(bounds.end.as_ref()?)?);
        let seconds = end.as_second().checked_sub(start.as_second())?;
        return u32::try_from(seconds / 60)
            .ok()
            .filter(|minutes| (1..=24 * 60).contains(minutes));
    }
    None
}

// ---- appointments ----

/// What is booked together: AIS, and AIG, AIL and AIP, of one RGS or of a whole message.
#[derive(Default)]
pub(super) struct Booked<'m> {
    pub(super) services: Vec<Seg<'m>>,
    pub(super) resources: Vec<Seg<'m>>,
}

impl<'m> Booked<'m> {
    /// A segment below its RGS.
    pub(super) fn add(&mut self, segment: Seg<'m>) {
        match segment.name() {
            "AIS" => self.services.push(segment),
            "AIG" | "AIL" | "AIP" => self.resources.push(segment),
            _ => {}
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Seg<'m>> {
        self.resources
            .iter()
            .filter(move |segment| segment.name() == name)
    }

    /// The modality that does it: AIG-4, AIG-5 or AIL-4 names one, or AIS-3 by the channel's table of codes.
    fn modality(&self) -> Option<String> {
        let by_thing = self
            .named("AIG")
            .flat_map(|aig| [aig.f(4).first(), aig.f(5).first()]);
        let by_place = self.named("AIL").map(|ail| ail.f(4).first());
        let by_service = || {
            self.services
                .iter()
                .find_map(|ais| mapped_modality(ais.f(3).first()))
        };
        by_thing.chain(by_place).find_map(modality_at).or_else(by_service)
    }

    /// The step of an appointment, at the time of the service in this place where that has one.
    fn step(
        &self,
        out: &mut Collected<'m>,
        modality: &str,
        booked: &AppointmentChange,
        service: usize,
    ) -> ImagingStep {
        let own = self.services.get(service).and_then(|ais| data::when(ais.f(4)));
        let person = |aip: &Seg<'m>| parties::practitioner(out, aip.f(3).first());
        ImagingStep {
            modality: Some(modality.to_owned()),
            performer: self.named("AIP").find_map(person),
            station_name: self.named("AIG").find_map(|aig| aig.f(3).first().part(1).peek()),
            location: self.named("AIL").find_map(|ail| {
                let at = ail.f(3).first();
                at.part(2).peek().or_else(|| at.part(1).peek())
            }),
            start: own.or_else(|| booked.start.value().cloned()),
            duration_minutes: booked.duration_minutes.value().copied(),
            ..ImagingStep::default()
        }
    }

    fn service(&self) -> Option<Concept> {
        terms::concept(self.services.first()?.f(3).first(), NO_TABLE)
    }
}

/// What an appointment books.
pub(super) struct Booking<'a, 'm> {
    pub(super) whole: &'a Booked<'m>,
    /// By RGS.
    pub(super) groups: &'a [Booked<'m>],
    /// Whether those are all of it.
    pub(super) names_all: bool,
    /// Of the appointment.
    pub(super) number: Option<String>,
}

/// SIU: an appointment of a modality says when, where and by whom the step of its order is done; without an order's number
/// it is an order itself, if somebody is named, with a step for each group that books a service of a modality.
pub(super) fn of_appointment<'m>(
    out: &mut Collected<'m>,
    booking: &Booking<'_, 'm>,
    subject: Option<&Subject>,
    booked: &AppointmentChange,
    orders: &mut Vec<Ref>,
) {
    let Booking { whole, groups, .. } = booking;
    let Some(modality) = whole.modality() else { return };
    let modality = &modality;
    let with_service = groups.iter().filter(|group| !group.services.is_empty());
    let of_modalities: Vec<(&Booked<'m>, Option<String>)> =
        with_service.map(|group| (group, group.modality())).collect();
    let mut parts: Vec<(&Booked<'m>, &String)> = of_modalities
        .iter()
        .filter_map(|(group, modality)| Some((*group, modality.as_ref()?)))
        .collect();
    let is_several = 1 < parts.len();
    if !is_several {
        parts = vec![(*whole, modality)];
    }
    let services: Vec<Concept> = parts.iter().filter_map(|(part, _)| part.service()).collect();
    if orders.is_empty() {
        let (Some(number), Some(subject)) = (&booking.number, subject) else {
            return;
        };
        let key = out.key("order");
        let say = OrderChange {
            patient: Patch::Set(subject.patient.clone()),
            encounter: subject.encounter.clone().into(),
            code: one_of(&services).into(),
            imaging: planned(steps(out, &parts, booked)),
            ..OrderChange::default()
        };
        let new = OrderChange {
            status: Patch::Set(OrderStatus::Active),
            intent: Patch::Set(OrderIntent::FillerOrder),
            ..OrderChange::default()
        };
        orders.push(out.push(Change {
            find: natural(Some(&subject.patient), format!("imaging|{number}")),
            say_if_new: Some(new.into()),
            all_steps: booking.names_all,
            ..Change::new(key, say)
        }));
        return;
    }
    // The one that it made for itself before it named any is this one, where nobody else has placed it.
    if let ([order], Some(number), Some(subject)) = (orders.as_slice(), &booking.number, subject)
        && let Some(change) = out.change_mut(order)
    {
        change.find.natural = natural(Some(&subject.patient), format!("imaging|{number}")).natural;
    }
    // One that nobody has placed is of all services, each at its device.
    if let ([order], true) = (orders.as_slice(), is_several) {
        let steps = steps(out, &parts, booked);
        if let Some(change) = out.change_mut(order)
            && let (Body::Order(say), Some(Body::Order(new))) = (&mut change.say, &mut change.say_if_new)
        {
            say.imaging = planned(steps);
            new.code = one_of(&services).into();
        }
        return;
    }
    // Of several orders with a service each, the one has what the other one has not.
    let is_each = 1 < orders.len() && orders.len() == of_modalities.len();
    for (idx, order) in orders.iter().enumerate() {
        let step = match is_each {
            false => whole.step(out, modality, booked, idx),
            true => match &of_modalities[idx] {
                (group, Some(modality)) => group.step(out, modality, booked, 0),
                (_, None) => continue,
            },
        };
        if let Some(Body::Order(say)) = out.change_mut(order).map(|change| &mut change.say) {
            say.imaging = planned(vec![step]);
        }
    }
}

fn planned(steps: Vec<ImagingStep>) -> Patch<Imaging> {
    Patch::Set(Imaging {
        steps,
        ..Imaging::default()
    })
}

/// The steps of what nobody has ordered otherwise: each of its service.
fn steps<'m>(
    out: &mut Collected<'m>,
    parts: &[(&Booked<'m>, &String)],
    booked: &AppointmentChange,
) -> Vec<ImagingStep> {
    let step = |(part, modality): &(&Booked<'m>, &String)| ImagingStep {
        protocols: part.service().into_iter().collect(),
        description: part.service().as_ref().and_then(words),
        ..part.step(out, modality, booked, 0)
    };
    parts.iter().map(step).collect()
}

fn words(service: &Concept) -> Option<String> {
    let display = service.codings.iter().find_map(|coding| coding.display.clone());
    service.text.clone().or(display)
}

/// What one examination is of that has several services: each of them, in words.
fn one_of(services: &[Concept]) -> Option<Concept> {
    match services {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(first.clone()),
        all => {
            let words: Vec<String> = all.iter().filter_map(words).collect();
            (!words.is_empty()).then(|| Concept::words(words.join("; ")))
        }
    }
}
