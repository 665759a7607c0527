//! A frame as a person sees it (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2; PS3.4 N.2): from stored values by modality and window to
//! grey, by palette or from brightness and two colours to red, green and blue. Eight bits each.
//!
//! What is drawn over it ([`overlay`]) is a part of it.
//!
//! Absent: shutters, presentation states, colour profiles.

use clinic::exchange::MapError;
use dicom_core::{Tag, VR};

use super::super::dataset::{DataSet, Element};
use super::picture::Picture;
use super::{Shape, overlay, unsupported, wrong};

/// The most stored values that are looked up, not computed one by one.
const LOOKED_UP: u32 = 16;

/// How values become grey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `LINEAR`.
    Linear,
    /// `LINEAR_EXACT`.
    LinearExact,
    /// `SIGMOID`.
    Sigmoid,
}

impl Function {
    /// By its word (PS3.3 C.11.2.1.3), in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "LINEAR" => Function::Linear,
            "LINEAR_EXACT" => Function::LinearExact,
            "SIGMOID" => Function::Sigmoid,
            _ => return None,
        })
    }
}

/// Which values are shown, from black to white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its middle.
    pub center: f64,
    /// How wide it is.
    pub width: f64,
    /// By which function.
    pub function: Function,
}

impl Window {
    /// From 0 to 1.
    fn of(&self, value: f64) -> f64 {
        let Window { center, width, .. } = *self;
        match self.function {
            Function::Linear if width <= 1.0 => f64::from(u8::from(center - 0.5 < value)),
            Function::Linear => ((value - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            Function::LinearExact if width <= 0.0 => f64::from(u8::from(center < value)),
            Function::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width.max(f64::MIN_POSITIVE)).exp()),
        }
    }
}

/// A table of values (PS3.3 C.11.1.1).
struct Table {
    first: i64,
    values: Vec<u16>,
    bits: u32,
}

impl Table {
    /// What a descriptor says: how many values, the first that is looked up, and of how many bits.
    fn descriptor(set: &DataSet<'_>, descriptor: Tag, is_signed: bool) -> Option<(usize, i64, u32)> {
        let said: Vec<i64> = set
            .texts(descriptor)
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let [count, first, bits] = *said.first_chunk::<3>()?;
        let count = match count & 0xFFFF {
            0 => 65_536,
            count => usize::try_from(count).ok()?,
        };
        let first = match is_signed && 0x7FFF < first {
            true => first - 0x1_0000,
            false => first,
        };
        let bits = u32::try_from(bits).ok().filter(|bits| (1..=16).contains(bits))?;
        Some((count, first, bits))
    }

    /// A table that is written in segments (PS3.3 C.7.9.2).
    fn segmented(set: &DataSet<'_>, descriptor: Tag, data: Tag, is_signed: bool) -> Option<Self> {
        let (count, first, bits) = Table::descriptor(set, descriptor, is_signed)?;
        let element = set.get(data)?;
        let bytes = element.bytes()?;
        let words: Vec<u16> = match bits {
            8 => bytes.iter().map(|byte| u16::from(*byte)).collect(),
            _ => numbers(element, bytes).collect(),
        };
        let mut values = vec![];
        segments(
            &words,
            0,
            usize::MAX,
            if bits == 8 { 4 } else { 2 },
            count,
            &mut values,
        )?;
        (values.len() == count).then_some(Table { first, values, bits })
    }

    fn read(set: &DataSet<'_>, descriptor: Tag, data: Tag, is_signed: bool) -> Option<Self> {
        let (count, first, bits) = Table::descriptor(set, descriptor, is_signed)?;
        let element = set.get(data)?;
        let bytes = element.bytes()?;
        let values: Vec<u16> = match bytes.len() < 2 * count {
            true => bytes.iter().take(count).map(|byte| u16::from(*byte)).collect(),
            false => numbers(element, bytes).take(count).collect(),
        };
        (!values.is_empty()).then_some(Table { first, values, bits })
    }

    fn of(&self, value: i64) -> u16 {
        let last = self.values.len() - 1;
        let at = usize::try_from(value.saturating_sub(self.first))
            .unwrap_or(0)
            .min(last);
        self.values[at]
    }

    /// The highest value that it can have.
    fn most(&self) -> f64 {
        f64::from((1_u32 << self.bits) - 1)
    }

    fn eight_bits(&self, value: i64) -> u8 {
        let value = self.of(value);
        let shift = self.bits.saturating_sub(8);
        u8::try_from(value >> shift).unwrap_or(u8::MAX)
    }
}

/// Writes at most so many segments, from a word on, as the values that they stand for; what is more than `count` is left. `wide`: of
/// how many words the place of other segments is. None: they break the rules.
fn segments(
    words: &[u16],
    mut at: usize,
    mut most: usize,
    wide: usize,
    count: usize,
    values: &mut Vec<u16>,
) -> Option<()> {
    while at < words.len() && 0 < most && values.len() < count {
        most -= 1;
        let [kind, length] = *words.get(at..)?.first_chunk::<2>()?;
        // What fills up a table of bytes.
        if length == 0 {
            break;
        }
        at += 2;
        let length = usize::from(length);
        match kind {
            0 => {
                values.extend(words.get(at..at + length)?);
                at += length;
            }
            1 => {
                let (from, to) = (f64::from(*values.last()?), f64::from(*words.get(at)?));
                let step = (to - from) / length as f64;
                values.extend((1..=length).map(|number| (from + step * number as f64).round() as u16));
                at += 1;
            }
            // Segments that stand elsewhere, none of which names others.
            2 if wide != 0 => {
                let place = words.get(at..at + wide)?;
                let bits = if wide == 4 { 8 } else { 16 };
                let place = place
                    .iter()
                    .rev()
                    .fold(0_usize, |all, word| all << bits | usize::from(*word));
                let place = if wide == 4 { place } else { place / 2 };
                segments(words, place, length, 0, count, values)?;
                at += wide;
            }
            _ => return None,
        }
    }
    values.truncate(count);
    Some(())
}

fn numbers<'a>(element: &Element<'_>, bytes: &'a [u8]) -> impl Iterator<Item = u16> + 'a {
    // Bytes that nobody knows the kind of came in little endian.
    let is_big = element.header.coding.big_endian && element.header.vr != VR::UN;
    bytes.chunks_exact(2).map(move |two| match is_big {
        true => u16::from_be_bytes([two[0], two[1]]),
        false => u16::from_le_bytes([two[0], two[1]]),
    })
}

/// How stored values become those that the modality means.
enum Modality {
    Scaled { slope: f64, intercept: f64 },
    Table(Table),
}

impl Modality {
    fn of(&self, value: i64) -> f64 {
        match self {
            Modality::Scaled { slope, intercept } => value as f64 * slope + intercept,
            Modality::Table(table) => f64::from(table.of(value)),
        }
    }
}

/// How those become grey.
enum Shown {
    Window(Window),
    Table(Table),
}

impl Shown {
    fn of(&self, value: f64) -> f64 {
        match self {
            Shown::Window(window) => window.of(value),
            Shown::Table(table) => f64::from(table.of(value.round() as i64)) / table.most(),
        }
    }
}

fn float(set: &DataSet<'_>, tag: Tag) -> Option<f64> {
    set.text(tag)?
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// What is said of one frame: in a sequence of its own group of functions, or of those that all share, or of the object.
fn said<'s, 'b>(set: &'s DataSet<'b>, frame: usize, sequence: Tag) -> &'s DataSet<'b> {
    let own = set.items(Tag(0x5200, 0x9230)).get(frame);
    let shared = set.items(Tag(0x5200, 0x9229)).first();
    let item = [own, shared]
        .into_iter()
        .flatten()
        .find_map(|group| group.items(sequence).first());
    item.unwrap_or(set)
}

fn modality(set: &DataSet<'_>, shape: &Shape, frame: usize) -> Modality {
    let table = set.items(Tag(0x0028, 0x3000)).first();
    let table =
        table.and_then(|item| Table::read(item, Tag(0x0028, 0x3002), Tag(0x0028, 0x3006), shape.is_signed));
    if let Some(table) = table {
        return Modality::Table(table);
    }
    let said = said(set, frame, Tag(0x0028, 0x9145));
    Modality::Scaled {
        slope: float(said, Tag(0x0028, 0x1053)).unwrap_or(1.0),
        intercept: float(said, Tag(0x0028, 0x1052)).unwrap_or(0.0),
    }
}

/// What the object says of how it is to be shown; none: nothing.
fn own(set: &DataSet<'_>, shape: &Shape, frame: usize) -> Option<Shown> {
    let said = said(set, frame, Tag(0x0028, 0x9132));
    let center = float(said, Tag(0x0028, 0x1050));
    if let (Some(center), Some(width)) = (center, float(said, Tag(0x0028, 0x1051))) {
        let word = said.text(Tag(0x0028, 0x1056));
        let function = word
            .and_then(|word| Function::from_word(&word))
            .unwrap_or(Function::Linear);
        return Some(Shown::Window(Window {
            center,
            width,
            function,
        }));
    }
    let table = set.items(Tag(0x0028, 0x3010)).first()?;
    let table = Table::read(table, Tag(0x0028, 0x3002), Tag(0x0028, 0x3006), shape.is_signed)?;
    Some(Shown::Table(table))
}

/// The stored values of a frame, one after the other.
pub(super) struct Values<'v> {
    bytes: &'v [u8],
    shape: &'v Shape,
    shift: u32,
    mask: u64,
}

impl<'v> Values<'v> {
    pub(super) fn of(shape: &'v Shape, bytes: &'v [u8]) -> Result<Self, MapError> {
        if !matches!(shape.allocated, 1 | 8 | 16 | 32) {
            return Err(unsupported("has values of a width that is not shown here"));
        }
        if (bytes.len() as u64) < shape.frame_bytes() || bytes.is_empty() {
            return Err(wrong("is shorter than its frames"));
        }
        Ok(Values {
            bytes,
            shape,
            shift: shape.high + 1 - shape.stored,
            mask: u64::MAX >> (64 - shape.stored),
        })
    }

    /// What they are values of.
    pub(super) fn shape(&self) -> &'v Shape {
        self.shape
    }

    /// All bits that a value has.
    pub(super) fn raw(&self, at: usize) -> u64 {
        let byte = |at: usize| u64::from(self.bytes.get(at).copied().unwrap_or_default());
        match self.shape.allocated {
            1 => byte(at / 8) >> (at % 8) & 1,
            8 => byte(at),
            16 => byte(2 * at) | byte(2 * at + 1) << 8,
            _ => (0..4).fold(0, |all, part| all | byte(4 * at + part) << (8 * part)),
        }
    }

    /// The bits that count.
    fn bits(&self, at: usize) -> u64 {
        self.raw(at) >> self.shift & self.mask
    }

    /// As a number.
    fn number(&self, bits: u64) -> i64 {
        let above = 64 - self.shape.stored;
        match self.shape.is_signed {
            true => ((bits << above) as i64) >> above,
            false => i64::try_from(bits).unwrap_or(i64::MAX),
        }
    }

    /// The highest eight bits.
    fn eight_bits(&self, at: usize) -> u8 {
        let bits = self.bits(at);
        let bits = match self.shape.stored {
            stored @ 8.. => bits >> (stored - 8),
            _ => bits * 255 / self.mask,
        };
        u8::try_from(bits).unwrap_or(u8::MAX)
    }
}

/// A frame, counted from 0, as it is seen. `values`: what is in it, as [`super::decode`] and
/// [`super::places::Frames::decoded`] give it; `shape`: what it is then.
pub fn picture(
    set: &DataSet<'_>,
    shape: &Shape,
    frame: usize,
    values: &[u8],
    window: Option<Window>,
) -> Result<Picture, MapError> {
    let values = Values::of(shape, values)?;
    let mut picture = plain(set, &values, frame, window)?;
    overlay::draw(set, &values, frame, &mut picture);
    Ok(picture)
}

/// A frame without what is drawn over it.
fn plain(
    set: &DataSet<'_>,
    values: &Values<'_>,
    frame: usize,
    window: Option<Window>,
) -> Result<Picture, MapError> {
    let shape = values.shape;
    let pixels = match (shape.photometric.as_str(), shape.samples) {
        ("MONOCHROME1" | "MONOCHROME2" | "", 1) => return Ok(grey(set, values, frame, window)),
        ("PALETTE COLOR", 1) => palette(set, values)?,
        ("RGB", 3) => colours(values).flatten().collect(),
        ("YBR_FULL", 3) => colours(values).flat_map(red_green_blue).collect(),
        ("YBR_FULL_422", 3) => halved(values),
        _ => return Err(unsupported("has colours of a kind that is not shown here")),
    };
    Ok(Picture {
        width: shape.columns,
        height: shape.rows,
        is_colour: true,
        pixels,
    })
}

fn grey(set: &DataSet<'_>, values: &Values<'_>, frame: usize, window: Option<Window>) -> Picture {
    let shape = values.shape;
    let modality = modality(set, shape, frame);
    let shown = match window {
        Some(window) => Shown::Window(window),
        None => own(set, shape, frame).unwrap_or_else(|| Shown::Window(all_of(set, values, &modality))),
    };
    let is_inverse =
        shape.photometric == "MONOCHROME1" || set.text(Tag(0x2050, 0x0020)).as_deref() == Some("INVERSE");
    let of = |bits: u64| {
        let light = shown.of(modality.of(values.number(bits)));
        let light = if is_inverse { 1.0 - light } else { light };
        (light * 255.0).round() as u8
    };
    let count = shape.rows * shape.columns;
    let pixels = match shape.stored <= LOOKED_UP && 1 << shape.stored <= count {
        true => {
            let table: Vec<u8> = (0..1_u64 << shape.stored).map(of).collect();
            (0..count).map(|at| table[values.bits(at) as usize]).collect()
        }
        false => (0..count).map(|at| of(values.bits(at))).collect(),
    };
    Picture {
        width: shape.columns,
        height: shape.rows,
        is_colour: false,
        pixels,
    }
}

/// From the lowest to the highest value, without those that only fill up.
fn all_of(set: &DataSet<'_>, values: &Values<'_>, modality: &Modality) -> Window {
    let padding = set.number(Tag(0x0028, 0x0120)).map(|one| {
        let other = set.number(Tag(0x0028, 0x0121)).unwrap_or(one);
        one.min(other)..=one.max(other)
    });
    let count = values.shape.rows * values.shape.columns;
    let numbers = (0..count).map(|at| values.number(values.bits(at)));
    let shown = numbers.filter(|number| padding.as_ref().is_none_or(|padding| !padding.contains(number)));
    let range = shown
        .map(|number| modality.of(number))
        .fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        });
    let (low, high) = range.unwrap_or_default();
    Window {
        center: (low + high) / 2.0,
        width: (high - low).max(f64::MIN_POSITIVE),
        function: Function::LinearExact,
    }
}

fn palette(set: &DataSet<'_>, values: &Values<'_>) -> Result<Vec<u8>, MapError> {
    let table = |number: u16| {
        let (descriptor, data) = (Tag(0x0028, 0x1101 + number), Tag(0x0028, 0x1201 + number));
        Table::read(set, descriptor, data, values.shape.is_signed)
            .or_else(|| {
                Table::segmented(
                    set,
                    descriptor,
                    Tag(0x0028, 0x1221 + number),
                    values.shape.is_signed,
                )
            })
            .ok_or_else(|| unsupported("has a palette that is absent or of a kind that is not read here"))
    };
    let tables = [table(0)?, table(1)?, table(2)?];
    let count = values.shape.rows * values.shape.columns;
    let pixels = (0..count).flat_map(|at| {
        let number = values.number(values.bits(at));
        tables.each_ref().map(|table| table.eight_bits(number))
    });
    Ok(pixels.collect())
}

fn colours<'v>(values: &'v Values<'_>) -> impl Iterator<Item = [u8; 3]> + 'v {
    let count = values.shape.rows * values.shape.columns;
    let is_planar = values.shape.is_planar;
    (0..count).map(move |at| {
        [0, 1, 2].map(|sample| {
            values.eight_bits(match is_planar {
                true => sample * count + at,
                false => 3 * at + sample,
            })
        })
    })
}

/// Two of brightness, then one of each colour for both.
fn halved(values: &Values<'_>) -> Vec<u8> {
    let count = values.shape.rows * values.shape.columns;
    let colour = |at: usize| {
        let pair = at / 2 * 4;
        red_green_blue([pair + at % 2, pair + 2, pair + 3].map(|at| values.eight_bits(at)))
    };
    (0..count).flat_map(colour).collect()
}

fn red_green_blue([light, blue, red]: [u8; 3]) -> [u8; 3] {
    let (light, blue, red) = (f32::from(light), f32::from(blue) - 128.0, f32::from(red) - 128.0);
    [
        light + 1.402 * red,
        light - 0.344_136 * blue - 0.714_136 * red,
        light + 1.772 * blue,
    ]
    .map(|value| value.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::super::super::charset::{Fallback, Set};
    use super::super::super::scan::Coding;
    use super::super::super::write::{Out, Said};
    use super::super::decode::tests::shape;
    use super::*;

    fn seen(out: &Out, shape: &Shape, values: &[u8], window: Option<Window>) -> Result<Vec<u8>, MapError> {
        let bytes = out.written(Coding::EXPLICIT, Set::Ascii);
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default())?;
        picture(&set, shape, 0, values, window).map(|picture| picture.pixels)
    }

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn grey_goes_by_modality_and_window() {
        let mut out = Out::default();
        out.text("RescaleSlope", "2");
        out.text("RescaleIntercept", "-1000");
        let mut of = shape(1, 4, 1, 12);
        // Of itself from the lowest to the highest.
        let values = words(&[0xF000, 1000, 500, 2000]);
        assert_eq!(seen(&out, &of, &values, None), Ok(vec![0, 128, 64, 255]));
        // -1000, 1000, 0, 3000: the bits above the twelfth do not count.
        out.text("WindowCenter", "0");
        out.text("WindowWidth", "2001");
        assert_eq!(seen(&out, &of, &values, None), Ok(vec![0, 255, 128, 255]));
        of.photometric = "MONOCHROME1".to_owned();
        assert_eq!(seen(&out, &of, &values, None), Ok(vec![255, 0, 127, 0]));
        let window = |function| {
            Some(Window {
                center: 0.0,
                width: 2000.0,
                function,
            })
        };
        assert_eq!(
            seen(&out, &of, &values, window(Function::LinearExact)),
            Ok(vec![255, 0, 128, 0])
        );
        assert_eq!(
            seen(&out, &of, &values, window(Function::Sigmoid)),
            Ok(vec![225, 30, 128, 1])
        );
        assert!(seen(&out, &of, &values[..7], None).is_err());
    }

    #[test]
    fn values_may_be_below_zero_and_padded() {
        let mut of = shape(1, 3, 1, 16);
        of.is_signed = true;
        let mut out = Out::default();
        out.put("PixelPaddingValue", Said::Number(0x8000));
        out.put("PixelRepresentation", Said::Number(1));
        let values = words(&[0x8000, 0xFFFF, 1]);
        let padding = seen(&out, &of, &values, None).expect("right");
        // Read as a number without a sign, the padding is another value.
        assert_eq!(padding.last(), Some(&255));
        assert_eq!(padding.len(), 3);
    }

    #[test]
    fn tables_are_looked_up() {
        let mut item = Out::default();
        let three = |a: u16, b: u16, c: u16| Said::Bytes(words(&[a, b, c]));
        item.set(Tag(0x28, 0x3002), VR::US, three(3, 10, 8));
        item.set(Tag(0x28, 0x3006), VR::OW, Said::Bytes(words(&[0, 100, 255])));
        let mut out = Out::default();
        out.put("VOILUTSequence", Said::Items(vec![item]));
        let of = shape(1, 4, 1, 8);
        assert_eq!(seen(&out, &of, &[9, 10, 11, 200], None), Ok(vec![0, 0, 100, 255]));
        let mut palette = Out::default();
        for (number, data) in [(0u16, b"\0\x10"), (1, b"\0\x20"), (2, b"\xFF\x30")] {
            palette.set(Tag(0x28, 0x1101 + number), VR::US, three(2, 0, 8));
            palette.set(Tag(0x28, 0x1201 + number), VR::OW, Said::Bytes(data.to_vec()));
        }
        let mut of = shape(1, 2, 1, 8);
        of.photometric = "PALETTE COLOR".to_owned();
        assert_eq!(
            seen(&palette, &of, &[0, 7], None),
            Ok(vec![0, 0, 255, 0x10, 0x20, 0x30])
        );
        assert!(seen(&Out::default(), &of, &[0, 7], None).is_err());
    }

    #[test]
    fn palettes_may_be_written_in_segments() {
        let mut palette = Out::default();
        let discrete = [0, 2, 0, 100];
        let tables = [
            // Two values, four on the line to a third, and the first two segments again.
            [&discrete[..], &[1, 4, 500], &[2, 2, 0, 0]].concat(),
            [&discrete[..], &[1, 10, 100]].concat(),
            vec![0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        ];
        for (number, table) in tables.iter().enumerate() {
            let number = number as u16;
            let descriptor = Said::Bytes(words(&[12, 0, 16]));
            palette.set(Tag(0x28, 0x1101 + number), VR::US, descriptor);
            palette.set(Tag(0x28, 0x1221 + number), VR::OW, Said::Bytes(words(table)));
        }
        let bytes = palette.written(Coding::EXPLICIT, Set::Ascii);
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("right");
        let of = |number: u16| {
            Table::segmented(
                &set,
                Tag(0x28, 0x1101 + number),
                Tag(0x28, 0x1221 + number),
                false,
            )
            .map(|table| table.values)
        };
        let red = [0, 100, 200, 300, 400, 500];
        assert_eq!(of(0), Some([red, red].concat()));
        assert_eq!(of(1), Some([&[0][..], &[100; 11]].concat()));
        assert_eq!(of(2), Some((1..=12).collect()));
        let run = |words: &[u16]| segments(words, 0, usize::MAX, 2, 12, &mut vec![]);
        // A line without a beginning, a kind that is none, segments that name segments, and a cut one.
        for wrong in [&[1, 2, 3][..], &[3, 1, 1], &[2, 1, 0, 0], &[0, 3, 1]] {
            assert_eq!(run(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn colours_are_red_green_and_blue() {
        let mut of = shape(1, 2, 3, 8);
        let rgb = [1, 2, 3, 4, 5, 6];
        assert_eq!(seen(&Out::default(), &of, &rgb, None), Ok(rgb.to_vec()));
        of.is_planar = true;
        assert_eq!(
            seen(&Out::default(), &of, &[1, 4, 2, 5, 3, 6], None),
            Ok(rgb.to_vec())
        );
        of.is_planar = false;
        of.photometric = "YBR_FULL".to_owned();
        let red = [76, 85, 255, 255, 128, 128];
        assert_eq!(
            seen(&Out::default(), &of, &red, None),
            Ok(vec![254, 0, 0, 255, 255, 255])
        );
        of.photometric = "YBR_FULL_422".to_owned();
        assert_eq!(
            seen(&Out::default(), &of, &[76, 76, 85, 255], None),
            Ok(vec![254, 0, 0, 254, 0, 0])
        );
        of.photometric = "CMYK".to_owned();
        assert!(seen(&Out::default(), &of, &[0; 6], None).is_err());
    }

    #[test]
    fn each_frame_may_have_a_window_of_its_own() {
        let mut window = Out::default();
        window.text("WindowCenter", "5.5");
        window.text("WindowWidth", "2");
        let mut group = Out::default();
        group.put("FrameVOILUTSequence", Said::Items(vec![window]));
        let mut out = Out::default();
        out.put("PerFrameFunctionalGroupsSequence", Said::Items(vec![group]));
        let of = shape(1, 3, 1, 8);
        assert_eq!(seen(&out, &of, &[4, 5, 6], None), Ok(vec![0, 128, 255]));
    }
}
