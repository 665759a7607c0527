//! Objects without those whom they are about: the basic profile of PS3.15 annex E with its options.
//!
//! One secret makes one project: the same UID, patient and study always become the same other ones, so that a late image
//! falls into its study, and nobody who lacks the secret can tell which. Who holds the secret finds the patient again by
//! reckoning the pseudonyms of those whom he knows: no list has to be kept.
//!
//! Beyond the table: every name (VR PN), every private element (but those of [`private`], where they are to stay), every UID that
//! is not the standard's, curves and overlays are treated wherever they stand; dates that the table does not name are treated as those that it does; free text that it
//! does not name, or an option leaves, loses the names and numbers that the object has elsewhere, what else is taken out there, and days ([`dates`]). A code, a number or a date that breaks the rules of its
//! kind is replaced ([`trusted`]), and the object says so. What may show the patient in its pixels or in a document is refused, unless
//! it was looked at.

mod dates;
mod private;
mod rules;
#[cfg(test)]
mod tests;
mod trusted;

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac;
use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};
use jiff::civil::Date;

use super::behind::end_of_pixels;
use super::charset::Fallback;
use super::dataset::{DataSet, Element, Value, trimmed};
use super::edit::{Becomes, Editor, edited};
use super::part10::{self, File};
use super::pixels::places::header;
use super::write::{Out, Said, most};
use rules::Does;

/// An option of the profile (PS3.15 §E.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// UIDs stay (E.3.9).
    Uids,
    /// What tells the device (E.3.7).
    Device,
    /// What tells the institution (E.3.11).
    Institution,
    /// Age, sex, size, weight and the like (E.3.5).
    Patient,
    /// Dates and times, as they are (E.3.6).
    Dates,
    /// Dates and times, each patient's moved by days of his own (E.3.6).
    ShiftedDates,
    /// Descriptions, without the names and numbers that the object has elsewhere (E.3.4).
    Descriptors,
    /// The content of reports, likewise (E.3.3).
    Structured,
    /// What was drawn on images and its text, likewise (E.3.2); overlays only where somebody has looked at the pixels, since text
    /// may be drawn in them.
    Graphics,
    /// Private elements that are known to tell nobody (E.3.10).
    SafePrivate,
}

impl Keep {
    /// All of them.
    pub const ALL: [Keep; 10] = [
        Keep::Uids,
        Keep::Device,
        Keep::Institution,
        Keep::Patient,
        Keep::Dates,
        Keep::ShiftedDates,
        Keep::Descriptors,
        Keep::Structured,
        Keep::Graphics,
        Keep::SafePrivate,
    ];

    /// Its word in channel files.
    pub fn as_str(self) -> &'static str {
        match self {
            Keep::Uids => "uids",
            Keep::Device => "device",
            Keep::Institution => "institution",
            Keep::Patient => "patient",
            Keep::Dates => "dates",
            Keep::ShiftedDates => "dates-shifted",
            Keep::Descriptors => "descriptors",
            Keep::Structured => "structured",
            Keep::Graphics => "graphics",
            Keep::SafePrivate => "safe-private",
        }
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keep| keep.as_str() == word)
    }

    /// Its code and what that means (PS3.16 CID 7050).
    fn code(self) -> (&'static str, &'static str) {
        match self {
            Keep::Uids => ("113110", "Retain UIDs Option"),
            Keep::Device => ("113109", "Retain Device Identity Option"),
            Keep::Institution => ("113112", "Retain Institution Identity Option"),
            Keep::Patient => ("113108", "Retain Patient Characteristics Option"),
            Keep::Dates => (
                "113106",
                "Retain Longitudinal Temporal Information Full Dates Option",
            ),
            Keep::ShiftedDates => (
                "113107",
                "Retain Longitudinal Temporal Information Modified Dates Option",
            ),
            Keep::Descriptors => ("113105", "Clean Descriptors Option"),
            Keep::Structured => ("113104", "Clean Structured Content Option"),
            Keep::Graphics => ("113103", "Clean Graphics Option"),
            Keep::SafePrivate => ("113111", "Retain Safe Private Option"),
        }
    }
}

/// How objects lose those whom they are about.
pub struct Profile {
    /// What stays all the same.
    pub keep: Vec<Keep>,
    /// True: the pixels, and the documents that an object holds, were looked at and show nobody.
    pub pixels_are_clean: bool,
    secret: hmac::Key,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({:?})", self.keep)
    }
}

impl Profile {
    /// With the secret of a project.
    pub fn new(keep: Vec<Keep>, pixels_are_clean: bool, secret: &[u8; 32]) -> Self {
        Profile {
            keep,
            pixels_are_clean,
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    fn keeps(&self, keep: Keep) -> bool {
        self.keep.contains(&keep)
    }

    fn number(&self, what: &str, of: &str) -> u128 {
        let mut bytes = what.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend(of.as_bytes());
        let tag = hmac::sign(&self.secret, &bytes);
        let first = tag.as_ref().first_chunk::<16>();
        u128::from_be_bytes(first.copied().unwrap_or_default())
    }

    /// What a UID becomes. Those of the standard itself (classes, syntaxes, coding schemes) stay.
    pub fn uid(&self, uid: &str) -> String {
        let uid = trimmed(uid);
        if uid.is_empty() || uid.starts_with("1.2.840.10008.") && clinic::imaging::may_be_uid(uid) {
            return uid.to_owned();
        }
        format!("2.25.{}", self.number("uid", uid))
    }

    /// What the number of a patient becomes.
    pub fn pseudonym(&self, patient_id: &str) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        let mut number = self.number("patient", trimmed(patient_id));
        let mut letters = String::from("P-");
        for _ in 0..12 {
            letters.push(char::from(LETTERS[(number % 32) as usize]));
            number /= 32;
        }
        letters
    }

    /// By how many days the dates of a patient are moved: back, by one to ten years.
    fn days(&self, patient_id: &str) -> i64 {
        -365 - (self.number("days", trimmed(patient_id)) % (9 * 365)) as i64
    }
}

/// Burned In Annotation.
const BURNED_IN: Tag = Tag(0x0028, 0x0301);
/// Image Type.
const IMAGE_TYPE: Tag = Tag(0x0008, 0x0008);
/// Series Description.
const SERIES: Tag = Tag(0x0008, 0x103E);
/// Specimen Label in Image (PS3.3 C.8.12.4).
const SPECIMEN_LABEL: Tag = Tag(0x0048, 0x0010);
/// Encapsulated Document.
const DOCUMENT: Tag = Tag(0x0042, 0x0011);

/// What holds a document that may name anybody (PS3.4 B.5: encapsulated storage), and captures of screens.
fn may_show_anybody(class: &str) -> bool {
    class.starts_with("1.2.840.10008.5.1.4.1.1.104.")
        || class == "1.2.840.10008.5.1.4.1.1.7"
        || class.starts_with("1.2.840.10008.5.1.4.1.1.7.")
}

/// What Image Type (0008,0008) says of pixels in which somebody may be named: the label of a slide, and the whole of it with the
/// label (PS3.3 C.8.12.4.1.1), pictures of screens and of dose pages, in the words of devices.
fn is_picture_of_text(kind: &str) -> bool {
    let kind = kind.to_ascii_uppercase().replace('_', " ");
    let is_page = |word: &str| {
        matches!(
            word,
            "PROT"
                | "PROTOCOL"
                | "CAPTURE"
                | "CAPTURED"
                | "SNAPSHOT"
                | "PRINT"
                | "PRINTED"
                | "FILM"
                | "FILMED"
        )
    };
    matches!(kind.as_str(), "LABEL" | "OVERVIEW")
        || kind.starts_with("SCREEN")
        || kind.starts_with("DOSE")
        || kind.ends_with("REPORT")
        || kind.split(' ').any(is_page)
}

/// The same of Series Description (0008,103E), in which devices name the pages that they draw beside the images.
fn is_series_of_pages(description: &str) -> bool {
    let description = description.to_ascii_uppercase().replace(['_', '-'], " ");
    let pages = [
        "PATIENT PROTOCOL",
        "DOSE REPORT",
        "DOSE INFO",
        "SCREEN SAVE",
        "SCREENSAVE",
        "SCREEN SHOT",
        "SCREENSHOT",
    ];
    pages.iter().any(|page| description.contains(page))
}

/// True where the object itself says that text may stand in its pixels.
fn says_that_it_shows(set: &DataSet<'_>) -> bool {
    let says_yes = |tag| set.text(tag).is_some_and(|said| said.eq_ignore_ascii_case("YES"));
    says_yes(BURNED_IN)
        || says_yes(SPECIMEN_LABEL)
        || set.texts(IMAGE_TYPE).iter().any(|kind| is_picture_of_text(kind))
        || set.text(SERIES).is_some_and(|text| is_series_of_pages(&text))
}

/// True where an overlay has no data of its own: it lies in bits of the pixels, and text may be drawn in it.
fn is_drawn_in_pixels(set: &DataSet<'_>) -> bool {
    let mut groups = (0x6000..=0x601E).step_by(2);
    groups.any(|group| set.get(Tag(group, 0x3000)).is_none() && set.get(Tag(group, 0x0102)).is_some())
}

/// The object without those whom it is about.
pub fn deidentified(bytes: &[u8], fallback: Fallback, profile: &Profile) -> Result<Vec<u8>, MapError> {
    let (patient, words, removed, said) = {
        let file = File::read(bytes)?;
        let set = file.data_set(fallback)?;
        let may_show =
            says_that_it_shows(&set) || may_show_anybody(&file.meta.class) || is_drawn_in_pixels(&set);
        if may_show && !profile.pixels_are_clean {
            let what = "may show the patient in its pixels, or in the document that it holds; look at such objects, and write pixels = \"clean\" where they show nobody";
            return Err(MapError::new(Reason::UnsupportedType, Some("0028,0301"), what));
        }
        let number = set.text(Tag(0x0010, 0x0020));
        let study = set.text(Tag(0x0020, 0x000D)).unwrap_or_default();
        let mut words = vec![];
        gather(&set, &mut words);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        let mut removed = Removed::default();
        removed.gather(&set, profile, false);
        // Without a number each study is a patient of its own.
        (number.unwrap_or(study), words, removed, private::Said::of(&set))
    };
    let cut = without_rest(bytes)?;
    let bytes = cut.as_ref();
    let mut without = Without {
        profile,
        pseudonym: profile.pseudonym(&patient),
        days: profile.days(&patient),
        words,
        removed,
        said,
        replaced: false,
        says_replaced: false,
    };
    let mut changed = edited(bytes, fallback, &mut without)?;
    if without.replaced {
        // Said in the object itself: known only once all of it was looked at.
        without.says_replaced = true;
        changed = edited(bytes, fallback, &mut without)?;
    }
    // The titles of those who sent it tell where it was made.
    let file = File::read(&changed)?;
    let mut meta = file.meta.clone();
    if !profile.keeps(Keep::Device) {
        meta.calling.clear();
        meta.called.clear();
    }
    let mut out = meta.written();
    out.extend(file.data);
    Ok(out)
}

/// The object under other UIDs: its own, and those of all that it refers to, so that the objects of a study stay together. What kind of
/// object it is, and which device made it, stays.
pub fn with_new_uids(bytes: &[u8], fallback: Fallback, profile: &Profile) -> Result<Vec<u8>, MapError> {
    edited(bytes, fallback, &mut Renumbered(profile))
}

struct Renumbered<'p>(&'p Profile);

impl Editor for Renumbered<'_> {
    fn becomes(
        &mut self,
        _within: &[(Tag, usize)],
        set: &DataSet<'_>,
        element: &Element<'_>,
    ) -> Result<Becomes, MapError> {
        let is_device = |group: &rules::Group| group.kept.contains(&Keep::Device);
        let group = rules::of(element.header.tag).filter(|group| !is_device(group));
        let is_uid = element.header.read_as().0 == VR::UI && !element.is_empty();
        Ok(match group {
            Some(group) if group.does == Does::Uid && is_uid => uids(self.0, set, element),
            Some(_) | None => Becomes::Same,
        })
    }

    fn added(&mut self, _: &[(Tag, usize)], _: &DataSet<'_>) -> Result<Vec<(Tag, Said)>, MapError> {
        Ok(vec![])
    }
}

/// Whether nothing but pixels follows the beginning of an object of so many bytes.
pub fn rest_is_pixels(beginning: &[u8], length: u64) -> bool {
    let ends = || {
        let (meta, begins) = part10::meta(beginning).ok()?;
        if part10::packing(&meta.syntax).deflated {
            return None;
        }
        let (pixels, said) = header(beginning.get(begins..)?, &meta.syntax).ok()??;
        Some((begins + pixels.from) as u64 + u64::from(said?))
    };
    ends() == Some(length)
}

/// The object up to the end of its pixels. Nothing behind them says how they are seen: signatures, what fills up, and private
/// elements, all of which the profile takes out.
fn without_rest(bytes: &[u8]) -> Result<Cow<'_, [u8]>, MapError> {
    let file = File::read(bytes)?;
    let is_deflated = part10::packing(&file.meta.syntax).deflated;
    let data = match is_deflated {
        true => Cow::Owned(part10::inflate_whole(file.data, part10::MAX_INFLATED)?),
        false => Cow::Borrowed(file.data),
    };
    let end = end_of_pixels(&data, file.coding()).filter(|end| *end < data.len());
    let Some(end) = end else {
        return Ok(Cow::Borrowed(bytes));
    };
    let head = &bytes[..file.begins];
    let kept = match is_deflated {
        true => Cow::Owned(part10::deflate(&data[..end])),
        false => Cow::Borrowed(&data[..end]),
    };
    Ok(Cow::Owned([head, &kept].concat()))
}

/// The words by which an object names people: the parts of names, and the numbers of the patient and the order.
fn gather(set: &DataSet<'_>, words: &mut Vec<String>) {
    for element in &set.elements {
        let tag = element.header.tag;
        match &element.value {
            Value::Items(items) => items.iter().for_each(|item| gather(item, words)),
            Value::Bytes(_) if element.header.read_as().0 == VR::PN => {
                for value in set.values(element) {
                    let parts = value.split(['^', '=', ' ', '-', ',', '.']);
                    words.extend(parts.filter(|part| 2 < part.chars().count()).map(folded));
                }
            }
            Value::Bytes(_) if is_number(tag) => {
                let values = set.values(element);
                words.extend(
                    values
                        .iter()
                        .filter(|value| 3 < value.len())
                        .map(|value| folded(value)),
                );
            }
            Value::Bytes(_) | Value::Elsewhere => {}
        }
    }
}

/// What is taken out of an object and must not stand in its free text either.
#[derive(Default)]
struct Removed {
    /// Institutions, devices, addresses and the like, whole.
    texts: Vec<Vec<char>>,
    /// Days that do not stay as they are.
    days: Vec<Date>,
}

impl Removed {
    /// Shorter ones are met by chance.
    const SHORTEST: usize = 4;

    /// `is_place`: within what tells an institution or a device, in codes.
    fn gather(&mut self, set: &DataSet<'_>, profile: &Profile, is_place: bool) {
        for element in &set.elements {
            let (tag, vr) = (element.header.tag, element.header.read_as().0);
            let group = rules::of(tag);
            let stays = group.is_some_and(|group| group.kept.iter().any(|keep| profile.keeps(*keep)));
            let tells_place = group.is_some_and(|group| {
                group.kept.contains(&Keep::Institution) || group.kept.contains(&Keep::Device)
            });
            // What an option cleans is words of the trade, and is in other texts too.
            let is_told = group.is_some_and(|group| matches!(group.cleaned, [] | [Keep::Device]));
            match &element.value {
                Value::Items(items) => {
                    let is_place = !stays && (is_place || tells_place);
                    items.iter().for_each(|item| self.gather(item, profile, is_place));
                }
                Value::Bytes(_) if matches!(vr, VR::DA | VR::DT) => {
                    let stays = stays || group.is_none() && profile.keeps(Keep::Dates);
                    let values = set.values(element);
                    self.days
                        .extend(values.iter().filter(|_| !stays).filter_map(|value| day(value)));
                }
                Value::Bytes(_) if is_told && !stays || is_place && tag == CODE_MEANING => {
                    let is_text = matches!(vr, VR::LO | VR::SH | VR::ST | VR::LT | VR::UC | VR::UT | VR::AE);
                    let values = set.values(element).into_iter().filter(|_| is_text);
                    let values = values.map(|value| folded(value.trim()).chars().collect());
                    self.texts
                        .extend(values.filter(|value: &Vec<char>| Self::SHORTEST <= value.len()));
                }
                Value::Bytes(_) | Value::Elsewhere => {}
            }
        }
    }

    /// Where they stand in a text of small letters without marks.
    fn found_in(&self, plain: &[char], keeps_dates: bool) -> Vec<std::ops::Range<usize>> {
        let is_one = |day: &dates::Written| {
            let is_known = day.may_be.iter().any(|day| self.days.contains(day));
            is_known || day.is_sure && !keeps_dates
        };
        let days = dates::written(plain).into_iter().filter(is_one);
        let mut all: Vec<_> = days.map(|day| day.at).collect();
        let is_letter = |at: Option<&char>| at.is_some_and(|letter| letter.is_alphanumeric());
        for text in &self.texts {
            for at in 0..plain.len().saturating_sub(text.len() - 1) {
                let end = at + text.len();
                let is_whole = !is_letter(plain[..at].last()) && !is_letter(plain.get(end));
                if is_whole && plain[at..end] == **text {
                    all.push(at..end);
                }
            }
        }
        all
    }
}

/// Code Meaning.
const CODE_MEANING: Tag = Tag(0x0008, 0x0104);

/// The day at the beginning of a date or a moment.
fn day(value: &str) -> Option<Date> {
    let digits: String = value.chars().filter(|c| *c != '.').take(8).collect();
    Date::strptime("%Y%m%d", &digits).ok()
}

/// Numbers of the patient, the visit and the order.
fn is_number(tag: Tag) -> bool {
    matches!(
        tag,
        Tag(0x0008, 0x0050)
            | Tag(0x0010, 0x0020 | 0x1000 | 0x1001 | 0x2154)
            | Tag(0x0038, 0x0010)
            | Tag(0x0040, 0x1001 | 0x2016 | 0x2017)
    )
}

/// Without case and marks, letter for letter.
fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

fn fold(letter: char) -> char {
    let plain = super::charset::plain_letters(letter);
    let mut letters = plain.chars();
    match (letters.next(), letters.next()) {
        (Some(one), None) => one.to_ascii_lowercase(),
        _ => letter.to_lowercase().next().unwrap_or(letter),
    }
}

struct Without<'p> {
    profile: &'p Profile,
    pseudonym: String,
    days: i64,
    /// The longest first.
    words: Vec<String>,
    removed: Removed,
    /// What the object says of its private elements.
    said: private::Said,
    /// A value was met that breaks the rules of its kind.
    replaced: bool,
    /// The object is to say so.
    says_replaced: bool,
}

/// What becomes of one element.
enum Fate {
    Kept,
    Cleaned,
    Gone,
    Empty,
    Dummy,
    Uid,
    /// A date or a time.
    Time,
}

impl Without<'_> {
    fn fate(&self, within: &[(Tag, usize)], set: &DataSet<'_>, element: &Element<'_>) -> Fate {
        let (tag, vr) = (element.header.tag, element.header.vr);
        // What stands in a sequence whose content is replaced is replaced.
        let is_replaced = within.iter().any(|(around, _)| {
            rules::of(*around).is_some_and(|group| group.does == Does::Dummy && !self.spares(group))
        });
        if tag.0 % 2 == 1 {
            return match is_replaced || !self.profile.keeps(Keep::SafePrivate) {
                true => Fate::Gone,
                false => self.private(set, element),
            };
        }
        let keeps_graphics = self.profile.keeps(Keep::Graphics);
        match tag {
            Tag(0x5000..=0x50FF, _) => return Fate::Gone,
            Tag(0x6000..=0x60FF, 0x3000) if keeps_graphics && self.profile.pixels_are_clean => {
                return Fate::Kept;
            }
            Tag(0x6000..=0x60FF, 0x4000) if keeps_graphics => return Fate::Cleaned,
            Tag(0x6000..=0x60FF, 0x3000 | 0x4000) => return Fate::Gone,
            _ => {}
        }
        if tag == DOCUMENT && self.profile.pixels_are_clean {
            return Fate::Kept;
        }
        let fate = match rules::of(tag) {
            Some(group) if group.kept.iter().any(|keep| self.profile.keeps(*keep)) => Fate::Kept,
            Some(group) if group.kept.contains(&Keep::Dates) => Fate::Time,
            Some(group) if group.cleaned.iter().any(|keep| self.profile.keeps(*keep)) => Fate::Cleaned,
            Some(group) => match group.does {
                Does::Gone => Fate::Gone,
                Does::Empty => Fate::Empty,
                Does::Dummy => Fate::Dummy,
                Does::Uid => Fate::Uid,
            },
            None => self.by_kind(vr),
        };
        // Of what is replaced the codes stay: what kind of thing was said, and not what.
        let is_code = vr == VR::CS || matches!(tag, Tag(0x0008, 0x0100..=0x0121)) || vr == VR::SQ;
        match fate {
            Fate::Kept | Fate::Cleaned if is_replaced && !is_code => Fate::Dummy,
            fate => fate,
        }
    }

    /// What becomes of an element that the table does not name.
    fn by_kind(&self, vr: VR) -> Fate {
        match vr {
            VR::PN => Fate::Dummy,
            VR::DA | VR::DT | VR::TM if self.profile.keeps(Keep::Dates) => Fate::Kept,
            VR::DA | VR::DT | VR::TM => Fate::Time,
            VR::UI if self.profile.keeps(Keep::Uids) => Fate::Kept,
            VR::UI => Fate::Uid,
            // A kind that nobody knows may hold anything.
            VR::UN => Fate::Gone,
            // Free text; addresses have the numbers of whom they lead to in them.
            VR::LO | VR::LT | VR::SH | VR::ST | VR::UC | VR::UT | VR::UR => Fate::Cleaned,
            _ => Fate::Kept,
        }
    }

    /// A private element, where those stay that tell nobody. The name of its maker stays, and what it says is treated as what has no
    /// rule of its own.
    fn private(&self, set: &DataSet<'_>, element: &Element<'_>) -> Fate {
        let is_creator = (0x0010..=0x00FF).contains(&element.header.tag.1);
        match private::safe(&self.said, set, element) {
            None => Fate::Gone,
            Some(_) if is_creator => Fate::Kept,
            Some(vr) => self.by_kind(vr),
        }
    }

    fn spares(&self, group: &rules::Group) -> bool {
        let mut options = group.kept.iter().chain(group.cleaned);
        options.any(|keep| self.profile.keeps(*keep))
    }

    /// An element that stays, without those of its values that can't be what their kind says.
    fn kept(&mut self, set: &DataSet<'_>, element: &Element<'_>) -> Becomes {
        let (tag, vr) = (element.header.tag, element.header.read_as().0);
        let mut values = set.values(element);
        let mut is_all = true;
        for value in &mut values {
            if !trusted::is_trusted(tag, vr, value, &self.words) {
                *value = trusted::instead(vr).to_owned();
                is_all = false;
            }
        }
        if is_all {
            return Becomes::Same;
        }
        self.replaced = true;
        // Cut, a number would be another one.
        let is_short = |value: &String| most(vr).is_none_or(|most| value.chars().count() <= most);
        match values.iter().all(is_short) && values.iter().any(|value| !value.is_empty()) {
            true => Becomes::Texts(values),
            false => Becomes::Empty,
        }
    }

    /// The texts without the words that name somebody, and without what is taken out elsewhere.
    fn cleaned(&self, texts: Vec<String>) -> Vec<String> {
        texts.into_iter().map(|text| self.clean(text)).collect()
    }

    fn clean(&self, text: String) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let plain: Vec<char> = letters.iter().map(|letter| fold(*letter)).collect();
        for word in &self.words {
            let word: Vec<char> = word.chars().collect();
            for at in 0..plain.len().saturating_sub(word.len().saturating_sub(1)) {
                if plain[at..].starts_with(&word) {
                    letters[at..at + word.len()].fill('*');
                }
            }
        }
        for found in self.removed.found_in(&plain, self.profile.keeps(Keep::Dates)) {
            letters[found].fill('*');
        }
        letters.into_iter().collect()
    }

    /// A date or a time, moved where that is the option; none: it goes.
    fn time(&self, vr: VR, values: Vec<String>) -> Option<Vec<String>> {
        if !self.profile.keeps(Keep::ShiftedDates) {
            return None;
        }
        let is_trusted = |value: &String| trusted::is_trusted(Tag(0, 0), vr, value, &self.words);
        match vr {
            VR::TM => Some(values).filter(|values| values.iter().all(is_trusted)),
            VR::DA | VR::DT => values
                .iter()
                .map(|value| self.shifted(value).filter(is_trusted))
                .collect(),
            // A moment in bytes can't be moved.
            VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => None,
            // The zone, and what else goes with dates and is none.
            _ => Some(self.cleaned(values)),
        }
    }

    /// A date, or the date at the beginning of a moment, moved; none: it can't be read.
    fn shifted(&self, value: &str) -> Option<String> {
        if value.is_empty() {
            return Some(String::new());
        }
        let moved = day(value)?
            .checked_add(jiff::Span::new().try_days(self.days).ok()?)
            .ok()?;
        let length = match value.as_bytes().get(4) {
            Some(b'.') => 10,
            _ => 8,
        };
        let rest = value.get(length.min(value.len())..)?;
        Some(format!("{}{rest}", moved.strftime("%Y%m%d")))
    }
}

/// A value that tells nothing.
fn dummy(vr: VR) -> Option<&'static str> {
    Some(match vr {
        VR::AE | VR::CS | VR::LO | VR::LT | VR::SH | VR::ST | VR::UC | VR::UT | VR::PN => "REMOVED",
        VR::AS => "000D",
        VR::DA => "19000101",
        VR::DT => "19000101000000",
        VR::TM => "000000",
        VR::DS | VR::IS | VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::UV | VR::SV => "0",
        VR::UR | VR::UI | VR::AT | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SQ | VR::UN => {
            return None;
        }
    })
}

impl Editor for Without<'_> {
    fn becomes(
        &mut self,
        within: &[(Tag, usize)],
        set: &DataSet<'_>,
        element: &Element<'_>,
    ) -> Result<Becomes, MapError> {
        let (tag, vr) = (element.header.tag, element.header.vr);
        if within.is_empty() {
            match tag {
                Tag(0x0010, 0x0010 | 0x0020) => return Ok(Becomes::Texts(vec![self.pseudonym.clone()])),
                // Said anew.
                Tag(0x0012, 0x0062..=0x0064) | Tag(0x0028, 0x0303) => return Ok(Becomes::Gone),
                BURNED_IN if self.profile.pixels_are_clean => return Ok(Becomes::Gone),
                _ => {}
            }
        }
        let is_sequence = matches!(element.value, Value::Items(_));
        Ok(match self.fate(within, set, element) {
            Fate::Kept if is_sequence => Becomes::Same,
            Fate::Kept => self.kept(set, element),
            Fate::Gone => Becomes::Gone,
            Fate::Empty => Becomes::Empty,
            // What is in it is asked for.
            Fate::Cleaned | Fate::Dummy | Fate::Uid | Fate::Time if is_sequence => Becomes::Same,
            Fate::Cleaned => {
                let values = set.values(element);
                // Bytes can't be looked through for words.
                if values.is_empty() && !element.is_empty() {
                    return Ok(Becomes::Empty);
                }
                let cleaned = self.cleaned(values.clone());
                match cleaned == values {
                    true => Becomes::Same,
                    false => Becomes::Cleaned(cleaned),
                }
            }
            Fate::Dummy if element.is_empty() => Becomes::Same,
            Fate::Dummy if vr == VR::UI => uids(self.profile, set, element),
            Fate::Dummy => match dummy(vr) {
                Some(value) => Becomes::Texts(vec![value.to_owned()]),
                None => Becomes::Empty,
            },
            Fate::Uid => uids(self.profile, set, element),
            Fate::Time => match (self.time(vr, set.values(element)), rules::of(tag)) {
                (Some(values), _) => Becomes::Texts(values),
                (None, Some(group)) => match group.does {
                    Does::Gone | Does::Uid => Becomes::Gone,
                    Does::Empty => Becomes::Empty,
                    Does::Dummy => {
                        dummy(vr).map_or(Becomes::Empty, |value| Becomes::Texts(vec![value.to_owned()]))
                    }
                },
                (None, None) => Becomes::Empty,
            },
        })
    }

    fn added(&mut self, within: &[(Tag, usize)], set: &DataSet<'_>) -> Result<Vec<(Tag, Said)>, MapError> {
        if !within.is_empty() {
            return Ok(vec![]);
        }
        let text = |text: &str| Said::Texts(vec![text.to_owned()]);
        let mut codes = vec![("113100", "Basic Application Confidentiality Profile")];
        if self.profile.pixels_are_clean {
            codes.push(("113101", "Clean Pixel Data Option"));
        }
        codes.extend(self.profile.keep.iter().map(|keep| keep.code()));
        let item = |(code, meaning): (&str, &str)| {
            let mut item = Out::default();
            item.text("CodeValue", code);
            item.text("CodingSchemeDesignator", "DCM");
            item.text("CodeMeaning", meaning);
            item
        };
        let dates = match (
            self.profile.keeps(Keep::Dates),
            self.profile.keeps(Keep::ShiftedDates),
        ) {
            (true, _) => "UNMODIFIED",
            (false, true) => "MODIFIED",
            (false, false) => "REMOVED",
        };
        let mut methods = vec!["Punte: PS3.15 basic profile".to_owned()];
        if self.says_replaced {
            methods.push("Values that broke the rules of their kind were replaced".to_owned());
        }
        let mut added = vec![
            (Tag(0x0012, 0x0062), text("YES")),
            (Tag(0x0012, 0x0063), Said::Texts(methods)),
            (
                Tag(0x0012, 0x0064),
                Said::Items(codes.into_iter().map(item).collect()),
            ),
            (Tag(0x0028, 0x0303), text(dates)),
        ];
        if self.profile.pixels_are_clean {
            added.push((BURNED_IN, text("NO")));
        }
        for tag in [Tag(0x0010, 0x0010), Tag(0x0010, 0x0020)] {
            if set.get(tag).is_none() {
                added.push((tag, text(&self.pseudonym)));
            }
        }
        Ok(added)
    }
}

fn uids(profile: &Profile, set: &DataSet<'_>, element: &Element<'_>) -> Becomes {
    let values = set.values(element);
    Becomes::Texts(values.iter().map(|uid| profile.uid(uid)).collect())
}
