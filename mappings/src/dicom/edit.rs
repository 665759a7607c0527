//! Tags of a file changed. What is not changed stays byte for byte as it came, the pixels and all that follows them with
//! it. Where a new text does not fit into the character set of the data set, all its text is written anew in UTF-8
//! (ISO_IR 192): a text in one set under the name of another is somebody else's name.

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::charset::{Fallback, Set, encode_exactly};
use super::dataset::{DataSet, Element, Value};
use super::names::{self, place};
use super::part10::{EXPLICIT_LITTLE, File, MAX_INFLATED, Meta, deflate, inflate_whole, packing};
use super::scan::{Coding, Header, is_pixels};
use super::write::{Out, Said, element, has_charset, item, most, padded, text_bytes, u16_bytes, u32_bytes};

/// Specific Character Set.
const CHARSET: Tag = Tag(0x0008, 0x0005);
/// SOP class and instance, which the meta header has too.
const CLASS: Tag = Tag(0x0008, 0x0016);
const INSTANCE: Tag = Tag(0x0008, 0x0018);

/// What becomes of an element.
#[derive(Clone, PartialEq, Eq)]
pub enum Becomes {
    /// It stays as it came; of a sequence, the elements in it are asked for.
    Same,
    /// It is taken out.
    Gone,
    /// It stays, and says nothing.
    Empty,
    /// It has these values.
    Texts(Vec<String>),
    /// It has the values that it had, without some of their words; what is too long for its kind is cut.
    Cleaned(Vec<String>),
    /// It is a sequence that has its items as they came, and these behind them.
    Longer(Vec<Out>),
}

/// Who changes a data set. It is asked for each element, in the order of the data set, and may be asked twice.
pub trait Editor {
    /// What becomes of an element that is there. `within`: the sequences and numbers of items around it.
    fn becomes(
        &mut self,
        within: &[(Tag, usize)],
        set: &DataSet<'_>,
        element: &Element<'_>,
    ) -> Result<Becomes, MapError>;
    /// What is to stand in a data set, or in an item, where nothing is left at its tag.
    fn added(&mut self, within: &[(Tag, usize)], set: &DataSet<'_>) -> Result<Vec<(Tag, Said)>, MapError>;
}

/// The file with its changes. `fallback`: what text is written in that does not say it.
pub fn edited(bytes: &[u8], fallback: Fallback, editor: &mut dyn Editor) -> Result<Vec<u8>, MapError> {
    let file = File::read(bytes)?;
    if packing(&file.meta.syntax).deflated {
        return deflated(bytes, &file, fallback, editor);
    }
    let set = file.data_set(fallback)?;
    let kept = set.charset().only().unwrap_or(Set::Ascii);
    let mut writing = Writing {
        bytes: file.data,
        coding: file.coding(),
        anew: None,
        text: kept,
        fits: true,
        wanted: None,
        class: None,
        instance: None,
    };
    let mut data = writing.set(&mut vec![], &set, true, editor)?;
    let target = match writing.wanted {
        Some(wanted) if wanted != kept => Some(wanted),
        Some(_) | None => (!writing.fits).then_some(Set::Utf8),
    };
    if let Some(target) = target {
        writing.anew = Some(target);
        writing.text = target;
        data = writing.set(&mut vec![], &set, true, editor)?;
    }
    let mut meta = file.meta.clone();
    if let Some(class) = writing.class {
        meta.class = class;
    }
    if let Some(instance) = writing.instance {
        meta.instance = instance;
    }
    let mut out = match meta == file.meta {
        true => bytes[..file.begins].to_vec(),
        false => meta.written(),
    };
    out.extend(data.unwrap_or_else(|| file.data.to_vec()));
    Ok(out)
}

/// The same of a deflated data set: all of it is inflated, changed as if it had never been deflated, and deflated again.
fn deflated(
    bytes: &[u8],
    file: &File<'_>,
    fallback: Fallback,
    editor: &mut dyn Editor,
) -> Result<Vec<u8>, MapError> {
    let plain = inflate_whole(file.data, MAX_INFLATED)?;
    let meta = Meta {
        syntax: EXPLICIT_LITTLE.to_owned(),
        ..file.meta.clone()
    };
    let begins = meta.written();
    let edited = edited(&[begins.as_slice(), &plain].concat(), fallback, editor)?;
    let changed = File::read(&edited)?;
    if changed.data == plain {
        return Ok(bytes.to_vec());
    }
    let meta = Meta {
        syntax: file.meta.syntax.clone(),
        ..changed.meta.clone()
    };
    let mut out = match meta == file.meta {
        true => bytes[..file.begins].to_vec(),
        false => meta.written(),
    };
    out.extend(deflate(changed.data));
    Ok(out)
}

/// A sequence of unknown kind: it has no length, and what is in it is implicit.
fn unknown_sequence(coding: Coding, tag: Tag, items: &[u8], out: &mut Vec<u8>) {
    out.extend(u16_bytes(coding, tag.0));
    out.extend(u16_bytes(coding, tag.1));
    out.extend(b"UN\0\0\xFF\xFF\xFF\xFF");
    out.extend(items);
    out.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
}

struct Writing<'a> {
    bytes: &'a [u8],
    coding: Coding,
    /// All text is written anew in this set.
    anew: Option<Set>,
    /// The set that new text is written in.
    text: Set,
    /// All new text had a place in it.
    fits: bool,
    /// The set that the editor names.
    wanted: Option<Set>,
    class: Option<String>,
    instance: Option<String>,
}

impl Writing<'_> {
    /// The bytes of a set, or of an item; none: they are as they came.
    fn set(
        &mut self,
        within: &mut Vec<(Tag, usize)>,
        set: &DataSet<'_>,
        is_whole: bool,
        editor: &mut dyn Editor,
    ) -> Result<Option<Vec<u8>>, MapError> {
        let mut added = editor.added(within, set)?;
        for element in &set.elements {
            let tag = element.header.tag;
            if added.iter().any(|(added, _)| *added == tag)
                && editor.becomes(within, set, element)? != Becomes::Gone
            {
                added.retain(|(added, _)| *added != tag);
            }
        }
        if let Some(target) = self.anew.filter(|_| is_whole)
            && set.get(CHARSET).is_none()
            && let Some(term) = target.term()
        {
            added.push((CHARSET, Said::Texts(vec![term.to_owned()])));
        }
        added.sort_by_key(|(tag, _)| *tag);
        let mut added = added.into_iter().peekable();
        let mut out = vec![];
        let mut changed = false;
        for element in &set.elements {
            let tag = element.header.tag;
            while let Some((new, said)) = added.next_if(|(new, _)| *new <= tag) {
                self.add(within, new, &said, is_whole, &mut out)?;
                changed = true;
            }
            let begin = out.len();
            self.element(within, set, element, is_whole, editor, &mut out)?;
            changed |= out[begin..] != self.bytes[element.header.at..element.end];
        }
        for (new, said) in added {
            self.add(within, new, &said, is_whole, &mut out)?;
            changed = true;
        }
        Ok(changed.then_some(out))
    }

    fn add(
        &mut self,
        within: &[(Tag, usize)],
        tag: Tag,
        said: &Said,
        is_whole: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), MapError> {
        let vr = names::vr(tag);
        match said {
            Said::Texts(values) => self.write(within, tag, vr, values, is_whole, out)?,
            Said::Items(items) => {
                let items = self.new_items(within, tag, items)?;
                self.sequence(tag, &items, out);
            }
            Said::Number(_) | Said::Bytes(_) => {
                let mut alone = Out::default();
                alone.set(tag, vr, said.clone());
                out.extend(alone.written(self.coding, self.text));
            }
        }
        Ok(())
    }

    /// Items that were not there.
    fn new_items(&mut self, within: &[(Tag, usize)], tag: Tag, items: &[Out]) -> Result<Vec<u8>, MapError> {
        let mut all = vec![];
        for (number, new) in items.iter().enumerate() {
            let within = [within, &[(tag, number)]].concat();
            let mut value = vec![];
            for (tag, said) in new.clone().into_elements() {
                self.add(&within, tag, &said, false, &mut value)?;
            }
            item(self.coding, &value, &mut all);
        }
        Ok(all)
    }

    fn element(
        &mut self,
        within: &mut Vec<(Tag, usize)>,
        set: &DataSet<'_>,
        element: &Element<'_>,
        is_whole: bool,
        editor: &mut dyn Editor,
        out: &mut Vec<u8>,
    ) -> Result<(), MapError> {
        let header = element.header;
        let as_it_came = &self.bytes[header.at..element.end];
        if header.tag == CHARSET
            && let Some(target) = self.anew
        {
            // Items have the set of the whole.
            if let Some(term) = target.term().filter(|_| is_whole) {
                self.write(within, CHARSET, VR::CS, &[term.to_owned()], false, out)?;
            }
            return Ok(());
        }
        match editor.becomes(within, set, element)? {
            Becomes::Gone => {}
            Becomes::Empty => self.empty(header.tag, header.vr, out),
            Becomes::Texts(values) => {
                self.write(within, header.tag, header.read_as().0, &values, is_whole, out)?;
            }
            Becomes::Cleaned(values) => {
                // What came too long stays too long: it is not the words that were taken out which make it so.
                let value = text_bytes(&values, header.read_as().0, self.text);
                self.fits &= !has_charset(header.read_as().0)
                    || values
                        .iter()
                        .all(|text| encode_exactly(text, self.text).is_some());
                super::write::element(self.coding, header.tag, header.read_as().0, &value, out);
            }
            Becomes::Longer(new) => self.items(within, element, &new, editor, out)?,
            Becomes::Same => match &element.value {
                Value::Items(_) => self.items(within, element, &[], editor, out)?,
                Value::Bytes(bytes) => match self.anew {
                    Some(target) if has_charset(header.vr) && !bytes.is_ascii() => {
                        let values = set.values(element);
                        let value = text_bytes(&values, header.vr, target);
                        super::write::element(self.coding, header.tag, header.vr, &value, out);
                    }
                    Some(_) | None => out.extend(as_it_came),
                },
                Value::Elsewhere => out.extend(as_it_came),
            },
        }
        Ok(())
    }

    /// A sequence with what becomes of its items, and new ones behind them.
    fn items(
        &mut self,
        within: &mut Vec<(Tag, usize)>,
        element: &Element<'_>,
        new: &[Out],
        editor: &mut dyn Editor,
        out: &mut Vec<u8>,
    ) -> Result<(), MapError> {
        let Header { tag, vr, at, .. } = element.header;
        let around = self.coding;
        // What is in a sequence whose writer did not know it is implicit (PS3.5 §6.2.2, note 4).
        let is_unknown = vr == VR::UN && !around.implicit;
        if is_unknown {
            self.coding = Coding::IMPLICIT;
        }
        let items = self.items_written(within, element, new, editor);
        self.coding = around;
        match items? {
            Some(value) if is_unknown => unknown_sequence(around, tag, &value, out),
            Some(value) => self.sequence(tag, &value, out),
            None => out.extend(&self.bytes[at..element.end]),
        }
        Ok(())
    }

    /// The items of a sequence; none: they are as they came.
    fn items_written(
        &mut self,
        within: &mut Vec<(Tag, usize)>,
        element: &Element<'_>,
        new: &[Out],
        editor: &mut dyn Editor,
    ) -> Result<Option<Vec<u8>>, MapError> {
        let tag = element.header.tag;
        let items = match &element.value {
            Value::Items(items) => items.as_slice(),
            Value::Bytes(_) | Value::Elsewhere => &[],
        };
        let mut written = vec![];
        let mut changed = !new.is_empty();
        for (number, set) in items.iter().enumerate() {
            within.push((tag, number));
            let value = self.set(within, set, false, editor);
            within.pop();
            let value = value?;
            changed |= value.is_some();
            let value = value.unwrap_or_else(|| self.as_they_came(set));
            item(self.coding, &value, &mut written);
        }
        written.extend(self.new_items(within, tag, new)?);
        Ok(changed.then_some(written))
    }

    fn as_they_came(&self, set: &DataSet<'_>) -> Vec<u8> {
        let each = |element: &Element<'_>| &self.bytes[element.header.at..element.end];
        set.elements.iter().flat_map(each).copied().collect()
    }

    fn sequence(&self, tag: Tag, value: &[u8], out: &mut Vec<u8>) {
        super::write::element(self.coding, tag, VR::SQ, value, out);
    }

    fn empty(&self, tag: Tag, vr: VR, out: &mut Vec<u8>) {
        super::write::element(self.coding, tag, vr, &[], out);
    }

    /// An element with new values.
    fn write(
        &mut self,
        within: &[(Tag, usize)],
        tag: Tag,
        vr: VR,
        values: &[String],
        is_whole: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), MapError> {
        let value = self.value(vr, values).map_err(|what| {
            let place = placed(within, tag);
            MapError::new(Reason::DataType, Some(place.as_str()), what)
        })?;
        if is_whole {
            let first = values.first().cloned();
            match tag {
                CLASS => self.class = first,
                INSTANCE => self.instance = first,
                CHARSET => self.wanted = Some(charset(values)?),
                _ => {}
            }
        }
        element(self.coding, tag, vr, &value, out);
        Ok(())
    }

    fn value(&mut self, vr: VR, values: &[String]) -> Result<Vec<u8>, String> {
        let coding = self.coding;
        if let Some(bytes) = numbers(coding, vr, values)? {
            return Ok(bytes);
        }
        match vr {
            VR::SQ => return Err("is a sequence; name a tag in one of its items".to_owned()),
            VR::AT | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => {
                return Err("holds bytes, which can't be written as text".to_owned());
            }
            _ => {}
        }
        for value in values {
            let letters = match vr {
                VR::PN => value
                    .split('=')
                    .map(|group| group.chars().count())
                    .max()
                    .unwrap_or(0),
                _ => value.chars().count(),
            };
            if most(vr).is_some_and(|most| most < letters) {
                let most = most(vr).unwrap_or_default();
                return Err(format!("{letters} characters where {vr:?} has at most {most}"));
            }
        }
        let fits = |value: &String| encode_exactly(value, self.text).is_some();
        if has_charset(vr) {
            self.fits &= values.iter().all(fits);
        } else if !values.iter().all(|value| value.is_ascii()) {
            return Err(format!("{vr:?} has letters of ASCII only"));
        }
        Ok(text_bytes(values, vr, self.text))
    }
}

/// The values of a kind that is written as binary numbers.
fn numbers(coding: Coding, vr: VR, values: &[String]) -> Result<Option<Vec<u8>>, String> {
    let mut out = vec![];
    for value in values {
        let wrong = || format!("{value:?} is no number that {vr:?} can hold");
        let value = value.trim();
        match vr {
            VR::US => out.extend(u16_bytes(coding, value.parse().map_err(|_| wrong())?)),
            VR::SS => {
                let number: i16 = value.parse().map_err(|_| wrong())?;
                out.extend(u16_bytes(coding, number.cast_unsigned()));
            }
            VR::UL => {
                let number: u32 = value.parse().map_err(|_| wrong())?;
                out.extend(u32_bytes(coding, number as usize));
            }
            VR::SL => {
                let number: i32 = value.parse().map_err(|_| wrong())?;
                out.extend(order(coding, number.to_le_bytes()));
            }
            VR::FL => {
                let number: f32 = value.parse().map_err(|_| wrong())?;
                out.extend(order(coding, number.to_le_bytes()));
            }
            VR::FD => {
                let number: f64 = value.parse().map_err(|_| wrong())?;
                out.extend(order(coding, number.to_le_bytes()));
            }
            VR::UV => {
                let number: u64 = value.parse().map_err(|_| wrong())?;
                out.extend(order(coding, number.to_le_bytes()));
            }
            VR::SV => {
                let number: i64 = value.parse().map_err(|_| wrong())?;
                out.extend(order(coding, number.to_le_bytes()));
            }
            _ => return Ok(None),
        }
    }
    let is_number = matches!(
        vr,
        VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::UV | VR::SV
    );
    Ok(is_number.then(|| padded(out, 0)))
}

fn order<const N: usize>(coding: Coding, mut bytes: [u8; N]) -> [u8; N] {
    if coding.big_endian {
        bytes.reverse();
    }
    bytes
}

/// A character set that can be written.
fn charset(values: &[String]) -> Result<Set, MapError> {
    let set = match values {
        [] => Some(Set::Ascii),
        [term] if term.trim().is_empty() => Some(Set::Ascii),
        [term] => Set::by_term(term),
        _ => None,
    };
    set.filter(|set| encode_exactly("", *set).is_some())
        .ok_or_else(|| {
            let what =
                "is no character set that text can be written in here; ISO_IR 6, 100, 101, 144 and 192, GB18030 and GBK are";
            MapError::new(Reason::DataType, Some("0008,0005"), what)
        })
}

/// `0040,0100[0].0008,0060`.
pub fn placed(within: &[(Tag, usize)], tag: Tag) -> String {
    let around = within
        .iter()
        .map(|(tag, number)| format!("{}[{number}].", place(*tag)));
    around.chain([place(tag)]).collect()
}

/// What can't be changed by hand, since it follows from the rest: the meta header, the command, group lengths, pixels.
pub fn cannot_be_set(tag: Tag) -> Option<&'static str> {
    match tag {
        Tag(0x0000 | 0x0002, _) => Some("the command and the meta header follow from the data set"),
        Tag(_, 0) => Some("group lengths are not written"),
        tag if is_pixels(tag) => Some("pixels are not changed by a step"),
        _ => None,
    }
}
