//! Objects without those whom they are about: the basic profile of PS3.15 annex E with its options.
//!
//! One secret makes one project: the same UID, patient and study always become the same other ones, so that a late image
//! falls into its study, and nobody who lacks the secret can tell which. Who holds the secret finds the patient again by
//! reckoning the pseudonyms of those whom he knows: no list has to be kept.
//!
//! Beyond the table: every name (VR PN), every private element (but those of [`private`], where they are to stay), every UID that
//! is not the standard's, curves and overlays are treated wherever they stand; dates that the table does not name are treated as those that it does; free text that it
//! does not name loses the names and numbers that the object has elsewhere. A code, a number or a date that breaks the rules of its
//! kind is replaced ([`trusted`]), and the object says so. What may show the patient in its pixels or in a document is refused, unless
//! it was looked at.

mod private;
mod rules;
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
/// Encapsulated Document.
const DOCUMENT: Tag = Tag(0x0042, 0x0011);

/// What holds a document that may name anybody (PS3.4 B.5: encapsulated storage), and captures of screens.
fn may_show_anybody(class: &str) -> bool {
    class.starts_with("1.2.840.10008.5.1.4.1.1.104.")
        || class == "1.2.840.10008.5.1.4.1.1.7"
        || class.starts_with("1.2.840.10008.5.1.4.1.1.7.")
}

/// True where an overlay has no data of its own: it lies in bits of the pixels, and text may be drawn in it.
fn is_drawn_in_pixels(set: &DataSet<'_>) -> bool {
    let mut groups = (0x6000..=0x601E).step_by(2);
    groups.any(|group| set.get(Tag(group, 0x3000)).is_none() && set.get(Tag(group, 0x0102)).is_some())
}

/// The object without those whom it is about.
pub fn deidentified(bytes: &[u8], fallback: Fallback, profile: &Profile) -> Result<Vec<u8>, MapError> {
    let (patient, words, said) = {
        let file = File::read(bytes)?;
        let set = file.data_set(fallback)?;
        let burned_in = set.text(BURNED_IN).is_some_and(|said| said == "YES");
        let may_show = burned_in || may_show_anybody(&file.meta.class) || is_drawn_in_pixels(&set);
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
        // Without a number each study is a patient of its own.
        (number.unwrap_or(study), words, private::Said::of(&set))
    };
    let cut = without_rest(bytes)?;
    let bytes = cut.as_ref();
    let mut without = Without {
        profile,
        pseudonym: profile.pseudonym(&patient),
        days: profile.days(&patient),
        words,
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

    /// The texts without the words that name somebody.
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
        let digits: String = value.chars().filter(|c| *c != '.').take(8).collect();
        let date = Date::strptime("%Y%m%d", &digits).ok()?;
        let moved = date
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

#[cfg(test)]
mod tests {
    use super::super::charset::Set;
    use super::super::part10::Meta;
    use super::super::scan::{Coding, Until};
    use super::*;

    const SECRET: &[u8; 32] = &[7; 32];

    fn profile(keep: &[Keep]) -> Profile {
        Profile::new(keep.to_vec(), false, SECRET)
    }

    fn code(value: &str, meaning: &str) -> Out {
        let mut code = Out::default();
        code.text("CodeValue", value);
        code.text("CodingSchemeDesignator", "DCM");
        code.text("CodeMeaning", meaning);
        code
    }

    /// An image that names its patient and her doctor wherever it can.
    fn object(instance: &str) -> Out {
        let mut request = Out::default();
        request.text("RequestedProcedureDescription", "CT pentru Știrbei Ruxandra");
        request.text("AccessionNumber", "ACC7001");
        request.text("StudyInstanceUID", "1.2.826.0.1.7");
        let mut image = Out::default();
        image.text("ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
        image.text("ReferencedSOPInstanceUID", "1.2.826.0.1.7.1.1");
        let mut text = Out::default();
        text.text("ValueType", "TEXT");
        text.put(
            "ConceptNameCodeSequence",
            Said::Items(vec![code("121071", "Finding")]),
        );
        text.text("TextValue", "Doamna Știrbei nu are fracturi");
        let mut out = Out::default();
        out.text("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2");
        out.text("SOPInstanceUID", instance);
        out.text("StudyDate", "20260305");
        out.text("AcquisitionDateTime", "20260305101500.5");
        out.text("StudyTime", "101500");
        out.text("AccessionNumber", "ACC7001");
        out.text("Modality", "CT");
        out.text("InstitutionName", "Clinica Știrbei");
        out.text("ReferringPhysicianName", "Medic^Ioana");
        out.text("StudyDescription", "CT torace STIRBEI, dr. Ioana");
        out.text("StationName", "CT sala 1");
        out.put("ReferencedImageSequence", Said::Items(vec![image]));
        out.text("PatientName", "Știrbei^Ruxandra");
        out.text("PatientID", "P-7001");
        out.text("PatientBirthDate", "19790312");
        out.text("PatientSex", "F");
        out.text("PatientAge", "047Y");
        out.text("StudyInstanceUID", "1.2.826.0.1.7");
        out.text("SeriesInstanceUID", "1.2.826.0.1.7.1");
        out.text("FrameOfReferenceUID", "1.2.826.0.1.7.9");
        out.put("Rows", Said::Number(64));
        out.put("RequestAttributesSequence", Said::Items(vec![request]));
        out.put("ContentSequence", Said::Items(vec![text]));
        out.set(Tag(0x0009, 0x0010), VR::LO, Said::Texts(vec!["ACME".to_owned()]));
        out.set(
            Tag(0x0009, 0x1001),
            VR::LO,
            Said::Texts(vec!["Ruxandra".to_owned()]),
        );
        // A name in a place that no table foresees.
        out.text("InterpretationAuthor", "Medic^Ioana");
        out
    }

    fn file(out: &Out, class: &str, set: Set, coding: Coding) -> Vec<u8> {
        let mut out = out.clone();
        if let Some(term) = set.term() {
            out.text("SpecificCharacterSet", term);
        }
        let syntax = if coding.implicit {
            "1.2.840.10008.1.2"
        } else {
            "1.2.840.10008.1.2.1"
        };
        let mut bytes = Meta {
            class: class.to_owned(),
            instance: "1.2.826.0.1.7.1.1".to_owned(),
            syntax: syntax.to_owned(),
            calling: "CT1".to_owned(),
            called: "PUNTE".to_owned(),
            ..Meta::default()
        }
        .written();
        bytes.extend(out.written(coding, set));
        super::super::write::element(coding, Tag(0x7FE0, 0x10), VR::OW, &[7; 64], &mut bytes);
        bytes
    }

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    fn without(bytes: &[u8], keep: &[Keep]) -> Vec<u8> {
        deidentified(bytes, Fallback::default(), &profile(keep)).expect("right")
    }

    fn at(bytes: &[u8], path: &str) -> Vec<String> {
        let file = File::read(bytes).expect("right");
        file.check(Until::End).expect("whole");
        let set = file.data_set(Fallback::default()).expect("right");
        path.parse::<super::super::path::Path>()
            .expect("a path")
            .values(&set)
    }

    /// Anything by which somebody could be known, in any case and with any marks.
    fn names_somebody(bytes: &[u8]) -> Option<&'static str> {
        let text = folded(&String::from_utf8_lossy(bytes));
        let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let latin = folded(&latin);
        [
            "tirbei", "ruxandra", "ioana", "medic", "p-7001", "acc7001", "19790312", "20260305", "clinica",
            "sala 1", "1.2.826", "047y", "ct1", "acme",
        ]
        .into_iter()
        .find(|word| text.contains(word) || latin.contains(word))
    }

    #[test]
    fn nothing_is_left_by_which_somebody_could_be_known() {
        for set in [Set::Utf8, Set::Latin2, Set::Latin1] {
            for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
                let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, set, coding);
                assert!(names_somebody(&bytes).is_some(), "the harness sees what is there");
                let clean = without(&bytes, &[]);
                assert_eq!(names_somebody(&clean), None);
                assert_eq!(at(&clean, "Modality"), ["CT"]);
                assert_eq!(at(&clean, "Rows"), ["64"]);
                assert_eq!(at(&clean, "PatientIdentityRemoved"), ["YES"]);
                assert_eq!(at(&clean, "LongitudinalTemporalInformationModified"), ["REMOVED"]);
                assert_eq!(
                    at(&clean, "DeidentificationMethodCodeSequence.CodeValue"),
                    ["113100"]
                );
                assert_eq!(
                    at(&clean, "ContentSequence.ConceptNameCodeSequence.CodeMeaning"),
                    ["Finding"]
                );
                assert!(clean.ends_with(&[7; 64]), "the pixels stay");
            }
        }
    }

    #[test]
    fn what_breaks_the_rules_of_its_kind_is_replaced_and_that_is_said() {
        let mut object = object("1.2.826.0.1.7.1.1");
        object.text("PatientPosition", "Știrbei R");
        object.put(
            "ImageType",
            Said::Texts(["ORIGINAL", "PRIMARY", "Dna Ionescu"].map(str::to_owned).to_vec()),
        );
        object.text("SliceThickness", "5 mm Vasile");
        object.text("ReconstructionDiameter", "500");
        object.text("AcquisitionNumber", "Vasile");
        object.text("ScanOptions", "RUXANDRA");
        object.text("RelatedGeneralSOPClassUID", "1.2.840.10008.Vasile");
        for keep in [
            &[][..],
            &[
                Keep::Dates,
                Keep::Uids,
                Keep::Device,
                Keep::Patient,
                Keep::Descriptors,
            ],
            &[Keep::ShiftedDates],
        ] {
            let mut object = object.clone();
            object.text("SeriesTime", "la Vasile");
            object.text("SeriesDate", "Ionescu");
            object.text("AcquisitionDateTime", "20260305 Vasile");
            object.text("PatientSex", "Dna Ionescu");
            let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
            let clean = without(&bytes, keep);
            let text = String::from_utf8_lossy(&clean).to_lowercase();
            for word in ["vasile", "ionescu", "tirbei", "ruxandra"] {
                assert!(!text.contains(word), "{keep:?}: {word}");
            }
            assert_eq!(at(&clean, "ImageType"), ["ORIGINAL", "PRIMARY", "REMOVED"]);
            assert_eq!(at(&clean, "PatientPosition"), ["REMOVED"]);
            assert_eq!(at(&clean, "ReconstructionDiameter"), ["500"]);
            assert_eq!(at(&clean, "DeidentificationMethod").len(), 2);
        }
        let bytes = file(
            &super::tests::object("1.2.826.0.1.7.1.1"),
            CT,
            Set::Utf8,
            Coding::EXPLICIT,
        );
        assert_eq!(at(&without(&bytes, &[]), "DeidentificationMethod").len(), 1);
    }

    #[test]
    fn what_is_drawn_in_bits_of_the_pixels_is_not_seen_into() {
        let mut object = object("1.2.826.0.1.7.1.1");
        object.set(Tag(0x6000, 0x0102), VR::US, Said::Number(12));
        let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
        let clean = |are_clean| {
            deidentified(
                &bytes,
                Fallback::default(),
                &Profile::new(vec![], are_clean, SECRET),
            )
            .is_ok()
        };
        assert_eq!((clean(false), clean(true)), (false, true));
    }

    #[test]
    fn of_a_long_object_it_is_known_whether_pixels_alone_follow() {
        let object = object("1.2.826.0.1.7.1.1");
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
            let bytes = file(&object, CT, Set::Utf8, coding);
            let length = bytes.len() as u64;
            let beginning = &bytes[..bytes.len() - 60];
            assert!(rest_is_pixels(beginning, length));
            assert!(!rest_is_pixels(beginning, length + 12));
            assert!(!rest_is_pixels(&bytes[..200], length));
        }
        let mut bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
        let at = bytes.len() - 68;
        bytes[at..at + 4].fill(0xFF);
        assert!(
            !rest_is_pixels(&bytes, bytes.len() as u64),
            "in fragments their end is not known"
        );
    }

    #[test]
    fn nothing_is_left_behind_the_pixels() {
        let object = object("1.2.826.0.1.7.1.1");
        for coding in [Coding::IMPLICIT, Coding::EXPLICIT] {
            let mut bytes = file(&object, CT, Set::Utf8, coding);
            let plain = without(&bytes, &[]);
            let add = |tag, vr, value: &[u8], bytes: &mut Vec<u8>| {
                super::super::write::element(coding, tag, vr, value, bytes);
            };
            add(Tag(0x7FE1, 0x0010), VR::LO, b"ACME", &mut bytes);
            add(Tag(0x7FE1, 0x1001), VR::LO, b"Ruxandra", &mut bytes);
            add(Tag(0xFFFC, 0xFFFC), VR::OB, b"Medic Ioana ", &mut bytes);
            assert_eq!(without(&bytes, &[]), plain);
            assert_eq!(names_somebody(&without(&bytes, &[Keep::SafePrivate])), None);
            // What does not hold together goes too.
            bytes.extend(b"Ruxandra");
            assert_eq!(without(&bytes, &[]), plain);
        }
        let bytes = file(&object, CT, Set::Utf8, Coding::EXPLICIT);
        let read = File::read(&bytes).expect("right");
        let mut data = read.data.to_vec();
        data.extend(b"\xFC\xFF\xFC\xFFOB\0\0\x08\0\0\0Ruxandra");
        let meta = Meta {
            syntax: "1.2.840.10008.1.2.1.99".to_owned(),
            ..read.meta.clone()
        };
        let deflated = [meta.written(), part10::deflate(&data)].concat();
        let clean = without(&deflated, &[]);
        let clean = part10::inflate_whole(File::read(&clean).expect("right").data, 100_000).expect("right");
        assert_eq!(names_somebody(&clean), None);
        assert!(clean.ends_with(&[7; 64]));
    }

    #[test]
    fn text_of_unknown_kind_and_text_that_is_too_long_lose_names_too() {
        let mut object = object("1.2.826.0.1.7.1.1");
        let words = "CT torace, doamna Ruxandra, ".repeat(5);
        object.set(
            Tag(0x0008, 0x1030),
            VR::UN,
            Said::Bytes(words.clone().into_bytes()),
        );
        object.set(Tag(0x0008, 0x103E), VR::UT, Said::Texts(vec![words.clone()]));
        let keep = [Keep::Descriptors];
        let clean = without(&file(&object, CT, Set::Utf8, Coding::EXPLICIT), &keep);
        assert_eq!(names_somebody(&clean), None);
        assert!(at(&clean, "StudyDescription")[0].starts_with("CT torace, doamna ****"));
        // In implicit, the dictionary says that it is a text of 64 characters.
        let clean = without(&file(&object, CT, Set::Utf8, Coding::IMPLICIT), &keep);
        assert_eq!(names_somebody(&clean), None);
        assert_eq!(at(&clean, "SeriesDescription")[0].len(), 64);
    }

    #[test]
    fn uids_patients_and_days_are_the_same_ones_at_each_place_and_with_each_object() {
        let keep = [Keep::ShiftedDates];
        let one = without(
            &file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT),
            &keep,
        );
        let mut other = object("1.2.826.0.1.7.1.2");
        other.text("StudyDate", "20260306");
        let other = without(&file(&other, CT, Set::Latin2, Coding::IMPLICIT), &keep);
        for path in [
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
            "PatientID",
            "PatientName",
        ] {
            assert_eq!(at(&one, path), at(&other, path), "{path}");
        }
        assert_ne!(at(&one, "SOPInstanceUID"), at(&other, "SOPInstanceUID"));
        assert_eq!(
            at(&one, "SOPInstanceUID"),
            at(&other, "ReferencedImageSequence.ReferencedSOPInstanceUID")
        );
        assert_eq!(
            at(&one, "SOPInstanceUID")[0],
            File::read(&one).expect("right").meta.instance
        );
        assert_eq!(at(&one, "ReferencedImageSequence.ReferencedSOPClassUID"), [CT]);
        assert_eq!(
            at(&one, "PatientID"),
            [profile(&[]).pseudonym("P-7001")],
            "who has the secret finds him"
        );
        let uid = &at(&one, "StudyInstanceUID")[0];
        assert!(uid.starts_with("2.25.") && uid.len() <= 64, "{uid}");
        // A day after the other one, as before.
        let date = |bytes: &[u8]| Date::strptime("%Y%m%d", &at(bytes, "StudyDate")[0]).expect("a date");
        assert_eq!(date(&one).tomorrow().expect("a day"), date(&other));
        assert!(date(&one) < jiff::civil::date(2025, 3, 6));
        assert_eq!(at(&one, "StudyTime"), ["101500"]);
        let moment = &at(&one, "AcquisitionDateTime")[0];
        assert_eq!(*moment, format!("{}101500.5", at(&one, "StudyDate")[0]));
        assert_eq!(at(&one, "LongitudinalTemporalInformationModified"), ["MODIFIED"]);
        // Another project knows nothing of this one.
        let stranger = Profile::new(vec![], false, &[8; 32]);
        assert_ne!(stranger.pseudonym("P-7001"), profile(&[]).pseudonym("P-7001"));
        assert_ne!(stranger.uid("1.2.826.0.1.7"), profile(&[]).uid("1.2.826.0.1.7"));
    }

    #[test]
    fn each_option_keeps_what_it_says() {
        let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT);
        let kept = |keep: Keep, path: &str| at(&without(&bytes, &[keep]), path);
        assert_eq!(kept(Keep::Uids, "StudyInstanceUID"), ["1.2.826.0.1.7"]);
        assert_eq!(kept(Keep::Device, "StationName"), ["CT sala 1"]);
        assert_eq!(kept(Keep::Institution, "InstitutionName"), ["Clinica Știrbei"]);
        assert_eq!(kept(Keep::Patient, "PatientAge"), ["047Y"]);
        assert_eq!(kept(Keep::Dates, "StudyDate"), ["20260305"]);
        assert_eq!(
            kept(Keep::Descriptors, "StudyDescription"),
            ["CT torace *******, dr. *****"]
        );
        assert_eq!(
            kept(Keep::Structured, "ContentSequence.TextValue"),
            ["Doamna ******* nu are fracturi"]
        );
        for keep in Keep::ALL {
            assert_eq!(Keep::from_word(keep.as_str()), Some(keep));
            let codes = kept(keep, "DeidentificationMethodCodeSequence.CodeValue");
            assert_eq!(codes, ["113100", keep.code().0]);
            // None of them leaves the patient's name or number.
            assert_eq!(kept(keep, "PatientID"), [profile(&[]).pseudonym("P-7001")]);
        }
    }

    /// One private element of each of these: group, creator, number, kind, value.
    fn with_private(out: &mut Out, all: &[(u16, &str, u16, VR, Said)]) {
        for (group, creator, number, vr, said) in all {
            out.set(
                Tag(*group, 0x0010),
                VR::LO,
                Said::Texts(vec![(*creator).to_owned()]),
            );
            out.set(Tag(*group, 0x1000 | number), *vr, said.clone());
        }
    }

    #[test]
    fn private_elements_that_tell_nobody_may_stay() {
        let text = |text: &str| Said::Texts(vec![text.to_owned()]);
        let mut out = object("1.2.826.0.1.7.1.1");
        with_private(
            &mut out,
            &[
                (0x7053, "Philips PET Private Group", 0x00, VR::DS, text("0.00021")),
                (
                    0x7053,
                    "Philips PET Private Group",
                    0x09,
                    VR::DS,
                    text("RUXANDRA"),
                ),
                (
                    0x7053,
                    "Philips PET Private Group",
                    0x03,
                    VR::ST,
                    text("d:/ruxandra.img"),
                ),
                (0x0019, "SIEMENS MR HEADER", 0x0C, VR::IS, text("1000")),
                (0x0019, "SIEMENS MR HEADER", 0x0D, VR::LO, text("Ruxandra")),
                (0x0099, "NQHeader", 0x02, VR::UI, text("1.2.826.0.1.7.9")),
                (0x0099, "NQHeader", 0x05, VR::LT, text("fine, Știrbei")),
                (0x0043, "GEMS_ACQU_01", 0x39, VR::IS, text("7")),
                (0x0051, "ACME", 0x01, VR::DS, text("5")),
                (0x0051, "ACME", 0x02, VR::DS, text("6")),
            ],
        );
        let mut said = Out::default();
        said.set(Tag(0x0008, 0x0301), VR::US, Said::Number(0x0051));
        said.set(Tag(0x0008, 0x0302), VR::LO, text("ACME"));
        said.set(Tag(0x0008, 0x0303), VR::CS, text("MIXED"));
        said.set(Tag(0x0008, 0x0304), VR::US, Said::Number(2));
        out.set(Tag(0x0008, 0x0300), VR::SQ, Said::Items(vec![said]));
        let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
        let clean = without(&bytes, &[Keep::SafePrivate]);
        let clean = File::read(&clean).expect("right");
        let set = clean.data_set(Fallback::default()).expect("right");
        let left = |tag: Tag| set.text(tag);
        assert_eq!(left(Tag(0x7053, 0x1000)).as_deref(), Some("0.00021"));
        assert_eq!(
            left(Tag(0x7053, 0x0010)).as_deref(),
            Some("Philips PET Private Group")
        );
        assert_eq!(left(Tag(0x0019, 0x100C)).as_deref(), Some("1000"));
        assert_eq!(
            left(Tag(0x0099, 0x1002)),
            Some(profile(&[]).uid("1.2.826.0.1.7.9"))
        );
        assert_eq!(left(Tag(0x0099, 0x1005)).as_deref(), Some("fine, *******"));
        assert_eq!(left(Tag(0x0051, 0x1002)).as_deref(), Some("6"));
        for gone in [
            // Not what the table says, not in it, of another maker, not said to be safe.
            Tag(0x7053, 0x1009),
            Tag(0x7053, 0x1003),
            Tag(0x0019, 0x100D),
            Tag(0x0043, 0x1039),
            Tag(0x0043, 0x0010),
            Tag(0x0051, 0x1001),
        ] {
            assert!(set.get(gone).is_none(), "{gone:?}");
        }
        let none = without(&bytes, &[]);
        let none = File::read(&none).expect("right");
        let none = none.data_set(Fallback::default()).expect("right");
        assert!(none.elements.iter().all(|element| element.header.tag.0 % 2 == 0));
    }

    /// In implicit little endian nobody says of which kind a private element is: numbers stay, text can't be cleaned.
    #[test]
    fn private_elements_without_a_kind_stay_where_they_are_numbers() {
        let text = |text: &str| Said::Texts(vec![text.to_owned()]);
        let mut out = object("1.2.826.0.1.7.1.1");
        with_private(
            &mut out,
            &[
                (0x7053, "Philips PET Private Group", 0x00, VR::DS, text("0.00021")),
                (0x0099, "NQHeader", 0x05, VR::LT, text("fine")),
                (
                    0x2005,
                    "Philips MR Imaging DD 001",
                    0x0E,
                    VR::FL,
                    Said::Bytes(vec![0, 0, 128, 63]),
                ),
                (
                    0x2001,
                    "Philips Imaging DD 001",
                    0x03,
                    VR::FL,
                    Said::Bytes(vec![0, 0, 128, 63, 0, 0]),
                ),
            ],
        );
        let bytes = file(&out, CT, Set::Utf8, Coding::IMPLICIT);
        let clean = without(&bytes, &[Keep::SafePrivate]);
        let clean = File::read(&clean).expect("right");
        let set = clean.data_set(Fallback::default()).expect("right");
        assert!(set.get(Tag(0x7053, 0x1000)).is_some());
        assert!(set.get(Tag(0x2005, 0x100E)).is_some());
        assert!(set.get(Tag(0x0099, 0x1005)).is_none());
        assert!(set.get(Tag(0x2001, 0x1003)).is_none());
    }

    #[test]
    fn what_was_drawn_may_stay_without_its_names() {
        let mut drawn = Out::default();
        drawn.text("UnformattedTextValue", "leziune, Știrbei");
        let mut annotation = Out::default();
        annotation.put("TextObjectSequence", Said::Items(vec![drawn]));
        let mut out = object("1.2.826.0.1.7.1.1");
        out.put("GraphicAnnotationSequence", Said::Items(vec![annotation]));
        out.set(Tag(0x6000, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
        out.set(
            Tag(0x6000, 0x4000),
            VR::LT,
            Said::Texts(vec!["a lui Știrbei".to_owned()]),
        );
        let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
        let path = "GraphicAnnotationSequence.TextObjectSequence.UnformattedTextValue";
        assert_eq!(at(&without(&bytes, &[]), path), ["REMOVED"]);
        let clean = without(&bytes, &[Keep::Graphics]);
        assert_eq!(at(&clean, path), ["leziune, *******"]);
        assert_eq!(at(&clean, "6000,4000"), ["a lui *******"]);
        let has_overlay = |bytes: &[u8]| {
            let file = File::read(bytes).expect("right");
            let set = file.data_set(Fallback::default()).expect("right");
            set.get(Tag(0x6000, 0x3000)).is_some()
        };
        assert!(!has_overlay(&clean), "nobody has looked at what is drawn in it");
        let looked_at = Profile::new(vec![Keep::Graphics], true, SECRET);
        let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
        assert!(has_overlay(&clean));
    }

    #[test]
    fn what_may_show_the_patient_is_refused_unless_it_was_looked_at() {
        let mut burned = object("1.2.826.0.1.7.1.1");
        burned.text("BurnedInAnnotation", "YES");
        let plain = object("1.2.826.0.1.7.1.1");
        for (out, class) in [
            (&burned, CT),
            (&plain, "1.2.840.10008.5.1.4.1.1.7"),
            (&plain, "1.2.840.10008.5.1.4.1.1.104.1"),
        ] {
            let bytes = file(out, class, Set::Utf8, Coding::EXPLICIT);
            let error = deidentified(&bytes, Fallback::default(), &profile(&[])).err();
            assert!(
                error.is_some_and(|error| error.to_string().contains("may show the patient")),
                "{class}"
            );
            let looked_at = Profile::new(vec![], true, SECRET);
            let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
            assert_eq!(at(&clean, "BurnedInAnnotation"), ["NO"]);
            let codes = at(&clean, "DeidentificationMethodCodeSequence.CodeValue");
            assert_eq!(codes, ["113100", "113101"]);
        }
    }

    #[test]
    fn what_the_table_names_by_its_groups_goes_and_a_document_that_was_looked_at_stays() {
        let mut out = object("1.2.826.0.1.7.1.1");
        out.set(Tag(0x5000, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
        out.set(Tag(0x6002, 0x3000), VR::OW, Said::Bytes(vec![1, 2]));
        out.set(
            Tag(0x6002, 0x4000),
            VR::LT,
            Said::Texts(vec!["Ruxandra".to_owned()]),
        );
        out.set(Tag(0x6002, 0x0010), VR::US, Said::Number(8));
        out.set(Tag(0x0019, 0x0010), VR::LO, Said::Texts(vec!["ACME".to_owned()]));
        out.set(Tag(0x0019, 0x1001), VR::SH, Said::Texts(vec!["Medic".to_owned()]));
        out.put("EncapsulatedDocument", Said::Bytes(b"%PDF-1.7".to_vec()));
        let bytes = file(&out, "1.2.840.10008.5.1.4.1.1.104.1", Set::Utf8, Coding::EXPLICIT);
        let looked_at = Profile::new(vec![], true, SECRET);
        let clean = deidentified(&bytes, Fallback::default(), &looked_at).expect("right");
        assert_eq!(names_somebody(&clean), None);
        let file = File::read(&clean).expect("right");
        let set = file.data_set(Fallback::default()).expect("right");
        for gone in [
            Tag(0x5000, 0x3000),
            Tag(0x6002, 0x3000),
            Tag(0x6002, 0x4000),
            Tag(0x0019, 0x0010),
            Tag(0x0019, 0x1001),
        ] {
            assert!(set.get(gone).is_none(), "{gone:?}");
        }
        assert!(set.get(Tag(0x6002, 0x0010)).is_some());
        assert_eq!(set.get(DOCUMENT).and_then(Element::bytes), Some(&b"%PDF-1.7"[..]));
    }

    /// One element of each kind that the table names, in a place where nothing else would touch it.
    #[test]
    fn each_element_of_the_table_loses_what_it_says() {
        for tag in rules::all().filter(|tag| 8 <= tag.0 && *tag != DOCUMENT) {
            let vr = super::super::names::vr(tag);
            let said = match vr {
                VR::SQ => {
                    let mut item = Out::default();
                    item.text("TextValue", "Ruxandra");
                    item.text("PersonName", "Ruxandra");
                    Said::Items(vec![item])
                }
                VR::UI => Said::Texts(vec!["1.2.826.0.1.99".to_owned()]),
                VR::DA => Said::Texts(vec!["20260305".to_owned()]),
                VR::DT => Said::Texts(vec!["20260305101500".to_owned()]),
                VR::AS => Said::Texts(vec!["047Y".to_owned()]),
                VR::OB | VR::OW | VR::UN | VR::OF | VR::OD | VR::OL | VR::OV => {
                    Said::Bytes(b"Ruxandra".to_vec())
                }
                vr if super::super::write::has_charset(vr) => Said::Texts(vec!["Ruxandra".to_owned()]),
                VR::AE | VR::CS | VR::UR => Said::Texts(vec!["RUXANDRA".to_owned()]),
                _ => continue,
            };
            let mut out = Out::default();
            out.text("SOPClassUID", CT);
            out.text("SOPInstanceUID", "1.2.3");
            out.set(tag, vr, said);
            let bytes = file(&out, CT, Set::Utf8, Coding::EXPLICIT);
            assert_ne!(
                names_somebody(&bytes),
                None,
                "{tag:?}: the harness sees what is there"
            );
            let clean = without(&bytes, &[]);
            assert_eq!(names_somebody(&clean), None, "{tag:?} {vr:?}");
        }
    }

    #[test]
    fn twice_is_no_less_than_once() {
        let bytes = file(&object("1.2.826.0.1.7.1.1"), CT, Set::Utf8, Coding::EXPLICIT);
        let twice = without(&without(&bytes, &[]), &[]);
        assert_eq!(names_somebody(&twice), None);
        assert_eq!(
            at(&twice, "DeidentificationMethodCodeSequence.CodeValue"),
            ["113100"]
        );
    }
}
