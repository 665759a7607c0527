//! JPEG (T.81): sequential by Huffman, of 8 and 12 bits (PS3.5 §8.2.1: baseline, extended), [`progressive`] of the same, which
//! the standard has retired and devices still write, and lossless of 2 to 16.
//!
//! Absent: hierarchical modes, which the standard has retired, and arithmetic coding. What ends too early is refused: half an
//! image must not pass for a whole one.

mod progressive;

use std::sync::LazyLock;

use clinic::exchange::MapError;

use super::bits::{Bits, Stuffing};
use super::{Shape, unsupported, wrong};
use progressive::{Band, Gathered};

const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What stands for each sixteen bits: how many of them are a code, and its value.
type Codes = Vec<(u8, u8)>;

struct Component {
    id: u8,
    /// Sampling factors.
    across: usize,
    down: usize,
    quantization: usize,
    /// Its values, and how many lie in a row of them.
    plane: Vec<u16>,
    stride: usize,
    columns: usize,
    rows: usize,
    is_scanned: bool,
    /// What has come of it, where it comes in several scans.
    gathered: Option<Gathered>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Sequential,
    Progressive,
    Lossless,
}

struct Frame {
    process: Process,
    precision: u32,
    rows: usize,
    columns: usize,
    across: usize,
    down: usize,
    components: Vec<Component>,
}

#[derive(Default)]
struct Decoder {
    quantizations: [Option<[f32; 64]>; 4],
    direct: [Option<Codes>; 4],
    alternating: [Option<Codes>; 4],
    interval: usize,
    frame: Option<Frame>,
    is_jfif: bool,
    /// What the segment of Adobe says of the colours.
    adobe: Option<u8>,
}

/// The values of a frame, colour by pixel. `is_ycc`: the object says that they are brightness and two colours, and red,
/// green and blue are wanted.
pub(super) fn decoded(shape: &Shape, is_ycc: bool, bytes: &[u8]) -> Result<Vec<u16>, MapError> {
    let mut decoder = Decoder::default();
    decoder.read(shape, bytes)?;
    let frame = decoder
        .frame
        .as_ref()
        .ok_or_else(|| wrong("has a JPEG without a frame"))?;
    let mut out = frame.values();
    // Where the object says red, green and blue, and the JPEG knows better, as many a writer of files has it.
    let is_ycc = match (decoder.adobe, is_ycc) {
        (Some(0), _) => false,
        (Some(1), _) => true,
        (_, true) => true,
        (_, false) => decoder.is_jfif && shape.photometric == "RGB",
    };
    if is_ycc && frame.process != Process::Lossless && frame.components.len() == 3 {
        to_rgb(&mut out, frame.precision);
    }
    Ok(out)
}

fn segment<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], MapError> {
    let length = rest
        .first_chunk::<2>()
        .map(|two| usize::from(u16::from_be_bytes(*two)));
    let length = length.filter(|length| (2..=rest.len()).contains(length));
    let length = length.ok_or_else(|| wrong("has a JPEG that ends inside its headers"))?;
    let (segment, after) = rest.split_at(length);
    *rest = after;
    Ok(&segment[2..])
}

fn tables() -> MapError {
    wrong("has a JPEG with tables that are none")
}

impl Decoder {
    fn read(&mut self, shape: &Shape, bytes: &[u8]) -> Result<(), MapError> {
        let mut rest = bytes
            .strip_prefix(b"\xFF\xD8")
            .ok_or_else(|| wrong("is no JPEG"))?;
        loop {
            let ended = || wrong("has a JPEG that ends before its last line");
            let at = rest
                .windows(2)
                .position(|two| two[0] == 0xFF && !matches!(two[1], 0 | 0xFF));
            let at = at.ok_or_else(ended)?;
            let kind = rest[at + 1];
            rest = &rest[at + 2..];
            match kind {
                0xC0..=0xC3 => {
                    if self.frame.is_some() {
                        return Err(unsupported("has a JPEG of several frames"));
                    }
                    let frame = Frame::read(kind, segment(&mut rest)?, shape)?;
                    self.frame = Some(frame);
                }
                0xC4 => self.huffman(segment(&mut rest)?)?,
                0xC5..=0xCF => {
                    return Err(unsupported("has a JPEG of a kind that is not decoded here"));
                }
                0xDB => self.quantization(segment(&mut rest)?)?,
                0xDD => {
                    let two = segment(&mut rest)?.first_chunk::<2>().copied();
                    self.interval = two.map_or(0, |two| usize::from(u16::from_be_bytes(two)));
                }
                0xDA => {
                    let head = segment(&mut rest)?;
                    rest = self.scan(head, rest)?;
                    let frame = self.frame.as_ref();
                    let frame = frame.filter(|frame| frame.process != Process::Progressive);
                    if frame.is_some_and(|frame| frame.components.iter().all(|one| one.is_scanned)) {
                        return Ok(());
                    }
                }
                0xD9 => match self.frame.as_mut() {
                    Some(frame) if frame.process == Process::Progressive => {
                        return progressive::finished(frame);
                    }
                    Some(_) | None => return Err(ended()),
                },
                0xE0 => self.is_jfif |= segment(&mut rest)?.starts_with(b"JFIF\0"),
                0xEE => {
                    let said = segment(&mut rest)?;
                    if said.starts_with(b"Adobe") {
                        self.adobe = said.get(11).copied();
                    }
                }
                0x01 | 0xD0..=0xD8 => {}
                _ => {
                    segment(&mut rest)?;
                }
            }
        }
    }

    fn quantization(&mut self, mut said: &[u8]) -> Result<(), MapError> {
        while let Some((&head, rest)) = said.split_first() {
            let width = usize::from(head >> 4) + 1;
            let table = self
                .quantizations
                .get_mut(usize::from(head & 15))
                .filter(|_| width <= 2);
            let table = table.ok_or_else(tables)?;
            let (values, rest) = rest.split_at_checked(64 * width).ok_or_else(tables)?;
            let mut into = [0.0; 64];
            for (value, place) in values.chunks_exact(width).zip(ZIGZAG) {
                let value = value.iter().fold(0u16, |all, byte| all << 8 | u16::from(*byte));
                into[place] = f32::from(value);
            }
            *table = Some(into);
            said = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut said: &[u8]) -> Result<(), MapError> {
        while let Some((&head, rest)) = said.split_first() {
            let kind = match head >> 4 {
                0 => &mut self.direct,
                1 => &mut self.alternating,
                _ => return Err(tables()),
            };
            let table = kind.get_mut(usize::from(head & 15)).ok_or_else(tables)?;
            let (counts, rest) = rest.split_at_checked(16).ok_or_else(tables)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, rest) = rest.split_at_checked(total).ok_or_else(tables)?;
            let mut codes = Codes::with_capacity(1 << 16);
            let mut values = values.iter();
            for (length, count) in (1u8..).zip(counts) {
                for value in values.by_ref().take(usize::from(*count)) {
                    let fills = 1 << (16 - length);
                    if (1 << 16) < codes.len() + fills {
                        return Err(tables());
                    }
                    codes.resize(codes.len() + fills, (length, *value));
                }
            }
            codes.resize(1 << 16, (0, 0));
            *table = Some(codes);
            said = rest;
        }
        Ok(())
    }

    /// Reads a scan and hands back what follows it.
    fn scan<'a>(&mut self, head: &[u8], data: &'a [u8]) -> Result<&'a [u8], MapError> {
        let frame = self
            .frame
            .as_mut()
            .ok_or_else(|| wrong("has a JPEG without a frame"))?;
        let bad = || wrong("has a JPEG with a scan of nothing that is there");
        let count = usize::from(*head.first().ok_or_else(bad)?);
        let said = head.get(1..1 + 2 * count).ok_or_else(bad)?;
        let last = *head[1 + 2 * count..].first_chunk::<3>().ok_or_else(bad)?;
        let [selection, _, approximation] = last;
        let band = match frame.process {
            Process::Progressive => Some(Band::of(last)?),
            Process::Sequential | Process::Lossless => None,
        };
        let mut scanned: Vec<Scanned<'_>> = vec![];
        for two in said.chunks_exact(2) {
            let number = frame
                .components
                .iter()
                .position(|component| component.id == two[0]);
            let number = number.ok_or_else(bad)?;
            let is_again = match band {
                Some(_) => scanned.iter().any(|(known, ..)| *known == number),
                None => std::mem::replace(&mut frame.components[number].is_scanned, true),
            };
            if is_again {
                return Err(bad());
            }
            let direct = self.direct.get(usize::from(two[1] >> 4)).and_then(Option::as_ref);
            // Most scans of a progressive picture have codes of one kind only.
            if direct.is_none() && band.is_none_or(|band| band.is_direct() && band.needs_codes()) {
                return Err(tables());
            }
            let alternating = self
                .alternating
                .get(usize::from(two[1] & 15))
                .and_then(Option::as_ref);
            scanned.push((number, direct, alternating));
        }
        if scanned.is_empty() {
            return Err(bad());
        }
        let mut reading = Reading {
            bits: Bits::new(data, Stuffing::Byte),
            interval: self.interval,
            done: 0,
            restarts: 0,
        };
        match frame.process {
            Process::Lossless => {
                let scanned = scanned
                    .iter()
                    .map(|(number, direct, _)| Some((*number, (*direct)?)));
                let scanned: Vec<_> = scanned.collect::<Option<_>>().ok_or_else(tables)?;
                lossless(
                    frame,
                    &scanned,
                    selection,
                    u32::from(approximation & 15),
                    &mut reading,
                )?;
            }
            Process::Sequential => sequential(frame, &scanned, &self.quantizations, &mut reading)?,
            Process::Progressive => {
                let band = band.ok_or_else(bad)?;
                progressive::scan(frame, &scanned, band, &self.quantizations, &mut reading)?;
            }
        }
        Ok(reading.bits.rest())
    }
}

impl Frame {
    fn read(kind: u8, said: &[u8], shape: &Shape) -> Result<Self, MapError> {
        let bad = || wrong("has a JPEG with a frame that is none");
        let head = said.first_chunk::<6>().ok_or_else(bad)?;
        let two = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let (precision, rows, columns) = (u32::from(head[0]), two(1), two(3));
        let process = match kind {
            0xC2 => Process::Progressive,
            0xC3 => Process::Lossless,
            _ => Process::Sequential,
        };
        let is_precise = match process {
            Process::Lossless => (2..=16).contains(&precision),
            Process::Sequential | Process::Progressive => matches!(precision, 8 | 12),
        };
        if !is_precise || shape.allocated < precision {
            return Err(wrong("has a JPEG of more bits than the object says"));
        }
        if (rows, columns, usize::from(head[5])) != (shape.rows, shape.columns, shape.samples) {
            return Err(wrong("has a JPEG of another size than the object says"));
        }
        let said: Vec<&[u8]> = said[6..].chunks_exact(3).take(shape.samples).collect();
        let factors = said
            .iter()
            .map(|one| (usize::from(one[1] >> 4), usize::from(one[1] & 15)));
        let (across, down) = factors
            .clone()
            .fold((0, 0), |(a, d), (across, down)| (a.max(across), d.max(down)));
        let fits = factors
            .clone()
            .all(|(a, d)| (1..=4).contains(&a) && (1..=4).contains(&d));
        if said.len() != shape.samples || !fits {
            return Err(bad());
        }
        let is_even = factors.clone().all(|one| one == (across, down));
        if process == Process::Lossless && !is_even {
            return Err(unsupported("has a lossless JPEG with fewer values of one colour"));
        }
        // Factors that are all the same mean nothing, nor do those of the only one.
        let (across, down) = if is_even { (1, 1) } else { (across, down) };
        let (units_across, units_down) = (columns.div_ceil(8 * across), rows.div_ceil(8 * down));
        let component = |(one, (a, d)): (&&[u8], (usize, usize))| {
            let (a, d) = if is_even { (1, 1) } else { (a, d) };
            let (stride, lines) = match process {
                Process::Lossless => (columns, rows),
                Process::Sequential | Process::Progressive => (units_across * a * 8, units_down * d * 8),
            };
            Component {
                id: one[0],
                across: a,
                down: d,
                quantization: usize::from(one[2]),
                plane: vec![0; stride * lines],
                stride,
                columns: (columns * a).div_ceil(across),
                rows: (rows * d).div_ceil(down),
                is_scanned: false,
                gathered: (process == Process::Progressive).then(|| Gathered::new(stride * lines)),
            }
        };
        let components = said.iter().zip(factors).map(component).collect();
        Ok(Frame {
            process,
            precision,
            rows,
            columns,
            across,
            down,
            components,
        })
    }

    /// How many units a scan has, across and down. One component alone comes block by block, without those that only fill up.
    fn units(&self, scanned: &[Scanned<'_>]) -> (usize, usize) {
        match scanned {
            [(number, ..)] => {
                let component = &self.components[*number];
                (component.columns.div_ceil(8), component.rows.div_ceil(8))
            }
            _ => (
                self.columns.div_ceil(8 * self.across),
                self.rows.div_ceil(8 * self.down),
            ),
        }
    }

    /// All values, each component as large as the largest.
    fn values(&self) -> Vec<u16> {
        let count = self.components.len();
        let mut out = vec![0; self.rows * self.columns * count];
        for (number, component) in self.components.iter().enumerate() {
            let mut places = out.iter_mut().skip(number).step_by(count);
            for y in 0..self.rows {
                for x in 0..self.columns {
                    if let Some(place) = places.next() {
                        *place = component.at(x, y, self.across, self.down);
                    }
                }
            }
        }
        out
    }
}

impl Component {
    /// Where the blocks of a unit lie, counted in blocks: one, where this component is alone in its scan.
    fn blocks_of(
        &self,
        (x, y): (usize, usize),
        components: usize,
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (across, down) = match components {
            1 => (1, 1),
            _ => (self.across, self.down),
        };
        (0..across * down).map(move |block| (x * across + block % across, y * down + block / across))
    }

    /// The value at a pixel. Where there are half as many, three parts of the nearest and one of the next.
    fn at(&self, x: usize, y: usize, across: usize, down: usize) -> u16 {
        let value = |x: usize, y: usize| {
            let (x, y) = (x.min(self.columns - 1), y.min(self.rows - 1));
            u32::from(self.plane[y * self.stride + x])
        };
        // Which of the two is next: the one before where it is the first of a pair.
        let next = |at: usize| match at % 2 {
            0 => (at / 2).saturating_sub(1),
            _ => at / 2 + 1,
        };
        let mixed = match (across / self.across, down / self.down) {
            (1, 1) => value(x, y),
            (2, 1) => (3 * value(x / 2, y) + value(next(x), y) + 1 + x as u32 % 2) / 4,
            (2, 2) => {
                let column = |x: usize| 3 * value(x, y / 2) + value(x, next(y));
                (3 * column(x / 2) + column(next(x)) + 8 - x as u32 % 2) / 16
            }
            _ => value(x * self.across / across, y * self.down / down),
        };
        u16::try_from(mixed).unwrap_or(u16::MAX)
    }
}

/// Where a scan is read.
struct Reading<'a> {
    bits: Bits<'a>,
    interval: usize,
    /// Units that were read, and restarts that were passed.
    done: usize,
    restarts: u8,
}

impl Reading<'_> {
    /// Before each unit: true where everything begins anew.
    fn begins_anew(&mut self) -> Result<bool, MapError> {
        let is_anew = self.interval != 0 && self.done != 0 && self.done.is_multiple_of(self.interval);
        self.done += 1;
        if is_anew {
            let expected = 0xD0 + self.restarts % 8;
            if self.bits.marker() != Some(expected) {
                return Err(wrong("has a JPEG with a part missing"));
            }
            self.restarts = self.restarts.wrapping_add(1);
        }
        Ok(is_anew)
    }

    fn symbol(&mut self, codes: &Codes) -> Result<u8, MapError> {
        let (length, value) = codes[self.bits.peek(16) as usize];
        let taken = self.bits.skip(length.into()).filter(|()| length != 0);
        taken.map(|()| value).ok_or_else(cut)
    }

    /// A number of so many bits, of which the highest says whether it is below zero.
    fn number(&mut self, bits: u32) -> Result<i32, MapError> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.bits.take(bits).ok_or_else(cut)? as i32;
        Ok(match value >> (bits - 1) {
            0 => value - (1 << bits) + 1,
            _ => value,
        })
    }
}

fn cut() -> MapError {
    wrong("has a JPEG that is cut or broken")
}

/// A component of a scan, by its number, and the codes of its first coefficients and of the others.
type Scanned<'s> = (usize, Option<&'s Codes>, Option<&'s Codes>);

fn sequential(
    frame: &mut Frame,
    scanned: &[Scanned<'_>],
    quantizations: &[Option<[f32; 64]>; 4],
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    let mut tables = vec![];
    for (number, _, _) in scanned {
        let table = quantizations
            .get(frame.components[*number].quantization)
            .and_then(Option::as_ref);
        tables.push(table.ok_or_else(self::tables)?);
    }
    let mut last = [0; 4];
    let (units_across, units_down) = frame.units(scanned);
    for unit in 0..units_across * units_down {
        if reading.begins_anew()? {
            last = [0; 4];
        }
        let place = (unit % units_across, unit / units_across);
        for (idx, (number, direct, alternating)) in scanned.iter().enumerate() {
            let direct = direct.ok_or_else(self::tables)?;
            let alternating = alternating.ok_or_else(self::tables)?;
            let component = &mut frame.components[*number];
            for (x, y) in component.blocks_of(place, scanned.len()) {
                let last = last.get_mut(idx).ok_or_else(cut)?;
                let values = coefficients(reading, direct, alternating, tables[idx], last)?;
                store(&values, frame.precision, component, x * 8, y * 8);
            }
        }
    }
    Ok(())
}

/// The coefficients of one block.
fn coefficients(
    reading: &mut Reading<'_>,
    direct: &Codes,
    alternating: &Codes,
    table: &[f32; 64],
    last: &mut i32,
) -> Result<[f32; 64], MapError> {
    let mut out = [0.0; 64];
    let bits = u32::from(reading.symbol(direct)?);
    if 15 < bits {
        return Err(cut());
    }
    *last = last.wrapping_add(reading.number(bits)?);
    out[0] = *last as f32 * table[0];
    let mut at = 1;
    while at < 64 {
        let symbol = reading.symbol(alternating)?;
        let (zeros, bits) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, bits) {
            (0, 0) => break,
            (15, 0) => at += 16,
            (_, 0) => return Err(cut()),
            _ => {
                at += zeros;
                let value = reading.number(bits)? as f32;
                let place = *ZIGZAG.get(at).ok_or_else(cut)?;
                out[place] = value * table[place];
                at += 1;
            }
        }
    }
    Ok(out)
}

/// Half the cosines of the transform (T.81 §A.3.3), by frequency and place.
static WAVES: LazyLock<[[f32; 8]; 8]> = LazyLock::new(|| {
    let mut waves = [[0.0; 8]; 8];
    for (frequency, wave) in waves.iter_mut().enumerate() {
        let scale = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
        for (place, value) in wave.iter_mut().enumerate() {
            let angle = (2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
            *value = (scale * angle.cos() / 2.0) as f32;
        }
    }
    waves
});

/// Turns the coefficients of a block into its values.
fn store(block: &[f32; 64], precision: u32, component: &mut Component, x: usize, y: usize) {
    let (middle, most) = ((1 << (precision - 1)) as f32, ((1 << precision) - 1) as f32);
    let waves = &*WAVES;
    let mut lines = [[0.0_f32; 8]; 8];
    for (line, frequencies) in lines.iter_mut().zip(block.chunks_exact(8)) {
        for (wave, value) in waves.iter().zip(frequencies) {
            if *value != 0.0 {
                line.iter_mut()
                    .zip(wave)
                    .for_each(|(out, wave)| *out += wave * value);
            }
        }
    }
    for row in 0..8 {
        let mut out = [middle; 8];
        for (wave, line) in waves.iter().zip(&lines) {
            out.iter_mut()
                .zip(line)
                .for_each(|(out, value)| *out += wave[row] * value);
        }
        let from = (y + row) * component.stride + x;
        if let Some(places) = component.plane.get_mut(from..from + 8) {
            for (place, value) in places.iter_mut().zip(out) {
                *place = value.round().clamp(0.0, most) as u16;
            }
        }
    }
}

/// A lossless scan (T.81 annex H).
fn lossless(
    frame: &mut Frame,
    scanned: &[(usize, &Codes)],
    predictor: u8,
    shift: u32,
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    if frame.precision <= shift || !(1..=7).contains(&predictor) {
        return Err(wrong("has a lossless JPEG that is predicted in no known way"));
    }
    let first = 1 << (frame.precision - shift - 1);
    let columns = frame.columns;
    // Lines before this one are not looked at.
    let mut top = 0;
    for y in 0..frame.rows {
        for x in 0..columns {
            if reading.begins_anew()? {
                if x != 0 {
                    return Err(wrong("has a lossless JPEG that begins anew within a line"));
                }
                top = y;
            }
            for (number, codes) in scanned {
                let difference = match reading.symbol(codes)? {
                    16 => 32_768,
                    bits @ 0..=15 => reading.number(bits.into())?,
                    _ => return Err(cut()),
                };
                let plane = &mut frame.components[*number].plane;
                let at = y * columns + x;
                let value = |at: usize| i32::from(plane[at]);
                let predicted = match (y == top, x) {
                    (true, 0) => first,
                    (true, _) => value(at - 1),
                    (false, 0) => value(at - columns),
                    (false, _) => {
                        let (left, above, corner) =
                            (value(at - 1), value(at - columns), value(at - columns - 1));
                        match predictor {
                            1 => left,
                            2 => above,
                            3 => corner,
                            4 => left + above - corner,
                            5 => left + ((above - corner) >> 1),
                            6 => above + ((left - corner) >> 1),
                            _ => (left + above) >> 1,
                        }
                    }
                };
                plane[at] = ((predicted + difference) & 0xFFFF) as u16;
            }
        }
    }
    for (number, _) in scanned {
        frame.components[*number]
            .plane
            .iter_mut()
            .for_each(|value| *value <<= shift);
    }
    Ok(())
}

/// Brightness and two colours as red, green and blue (T.871 §7).
fn to_rgb(values: &mut [u16], precision: u32) {
    let (middle, most) = ((1 << (precision - 1)) as f32, ((1 << precision) - 1) as f32);
    for pixel in values.chunks_exact_mut(3) {
        let [y, blue, red] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        let (blue, red) = (blue - middle, red - middle);
        let mixed = [
            y + 1.402 * red,
            y - 0.344_136 * blue - 0.714_136 * red,
            y + 1.772 * blue,
        ];
        for (place, value) in pixel.iter_mut().zip(mixed) {
            *place = value.round().clamp(0.0, most) as u16;
        }
    }
}
