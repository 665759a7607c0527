//! JPEG-LS (T.87, ISO 14495-1), lossless and near-lossless, of 2 to 16 bits, in each order of its values.
//!
//! Absent: restart intervals, mapping tables and what other parts of the standard add.

use clinic::exchange::MapError;

use super::bits::{Bits, Stuffing};
use super::{Shape, unsupported, wrong};

/// By how many bits runs are counted (T.87 table A.7.1.1).
const RUNS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15,
];
/// Contexts of values that are predicted; the two of what ends a run come behind them.
const REGULAR: usize = 365;

struct Frame {
    bits: u32,
    components: Vec<u8>,
}

/// What a scan hangs on (T.87 §C.2.4.1.1).
#[derive(Clone, Copy)]
struct Preset {
    most: i32,
    steps: [i32; 3],
    reset: i32,
}

/// In which order values come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Planes,
    Lines,
    Pixels,
}

/// The values of a frame, colour by pixel.
pub(super) fn decoded(shape: &Shape, bytes: &[u8]) -> Result<Vec<u16>, MapError> {
    let mut out = vec![0; shape.values()];
    let mut rest = bytes
        .strip_prefix(b"\xFF\xD8")
        .ok_or_else(|| wrong("is no JPEG-LS"))?;
    let mut frame = None;
    let mut said = None;
    let mut scanned = vec![false; shape.samples];
    loop {
        let at = rest
            .windows(2)
            .position(|two| two[0] == 0xFF && 0xC0 <= two[1] && two[1] != 0xFF);
        let at = at.ok_or_else(cut)?;
        let kind = rest[at + 1];
        rest = &rest[at + 2..];
        let length = rest
            .first_chunk::<2>()
            .map(|two| usize::from(u16::from_be_bytes(*two)));
        let segment = length.and_then(|length| rest.get(2..length));
        let (Some(segment), false) = (segment, kind == 0xD9) else {
            return Err(cut());
        };
        rest = &rest[2 + segment.len()..];
        match kind {
            0xF7 => frame = Some(Frame::read(segment, shape)?),
            0xF8 => match segment.first() {
                Some(1) => said = segment.get(1..11),
                _ => return Err(unsupported("has a JPEG-LS with tables that are not read here")),
            },
            0xDD if segment.iter().any(|byte| *byte != 0) => {
                return Err(unsupported("has a JPEG-LS that begins anew within an image"));
            }
            0xE8 if segment.starts_with(b"mrfx") && segment.get(4).is_some_and(|kind| *kind != 0) => {
                return Err(unsupported(
                    "has a JPEG-LS whose colours were changed in a way of its writer",
                ));
            }
            0xDA => {
                let frame = frame
                    .as_ref()
                    .ok_or_else(|| wrong("has a JPEG-LS without a frame"))?;
                let (numbers, scan) = Scan::read(segment, frame, said)?;
                for number in &numbers {
                    if std::mem::replace(&mut scanned[*number], true) {
                        return Err(cut());
                    }
                }
                rest = scan.decode(shape, &numbers, rest, &mut out)?;
                if scanned.iter().all(|done| *done) {
                    return Ok(out);
                }
            }
            _ => {}
        }
    }
}

fn cut() -> MapError {
    wrong("has a JPEG-LS that is cut or broken")
}

impl Frame {
    fn read(said: &[u8], shape: &Shape) -> Result<Self, MapError> {
        let head = said.first_chunk::<6>().ok_or_else(cut)?;
        let two = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        if (two(1), two(3), usize::from(head[5])) != (shape.rows, shape.columns, shape.samples) {
            return Err(wrong("has a JPEG-LS of another size than the object says"));
        }
        let bits = u32::from(head[0]);
        if !(2..=16).contains(&bits) || shape.allocated < bits {
            return Err(wrong("has a JPEG-LS of more bits than the object says"));
        }
        let components: Vec<&[u8]> = said[6..].chunks_exact(3).take(shape.samples).collect();
        if components.len() != shape.samples || components.iter().any(|one| one[1] != 0x11) {
            return Err(unsupported("has a JPEG-LS with fewer values of one colour"));
        }
        Ok(Frame {
            bits,
            components: components.iter().map(|one| one[0]).collect(),
        })
    }
}

impl Preset {
    /// What is said, and what is not said as it is for this range (T.87 §C.2.4.1.1.1).
    fn of(bits: u32, near: i32, said: Option<&[u8]>) -> Self {
        let said: Vec<i32> = said
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|two| i32::from(u16::from_be_bytes([two[0], two[1]])))
            .collect();
        let said = |at: usize| said.get(at).copied().filter(|value| *value != 0);
        let range = (1 << bits) - 1;
        let most = said(0).filter(|most| *most <= range).unwrap_or(range);
        let within = |value: i32, least: i32| {
            if (least..=most).contains(&value) {
                value
            } else {
                least
            }
        };
        let [one, two, three] = match 128 <= most {
            true => {
                let factor = (most.min(4095) + 128) / 256;
                [
                    factor + 2 + 3 * near,
                    4 * factor + 3 + 5 * near,
                    17 * factor + 4 + 7 * near,
                ]
            }
            false => {
                let factor = 256 / (most + 1);
                [
                    (3 / factor + 3 * near).max(2),
                    (7 / factor + 5 * near).max(3),
                    (21 / factor + 7 * near).max(4),
                ]
            }
        };
        let one = said(1).unwrap_or_else(|| within(one, near + 1));
        let two = said(2).unwrap_or_else(|| within(two, one));
        let three = said(3).unwrap_or_else(|| within(three, two));
        Preset {
            most,
            steps: [one, two, three],
            reset: said(4).unwrap_or(64).max(3),
        }
    }
}

/// What is known of the errors that were made around a place (T.87 §A.2).
#[derive(Clone, Copy)]
struct Context {
    count: i32,
    /// Of absolute errors, and of errors.
    sizes: i32,
    sum: i32,
    correction: i32,
    /// Errors below zero, of what ends a run.
    below: i32,
}

struct Scan {
    order: Order,
    near: i32,
    preset: Preset,
    /// How many errors there are, and the bits of one.
    range: i32,
    bits: u32,
    limit: u32,
    contexts: Vec<Context>,
}

impl Scan {
    fn read(said: &[u8], frame: &Frame, preset: Option<&[u8]>) -> Result<(Vec<usize>, Self), MapError> {
        let count = usize::from(*said.first().ok_or_else(cut)?);
        let ids = said.get(1..1 + 2 * count).ok_or_else(cut)?;
        let [near, order, shift] = *said[1 + 2 * count..].first_chunk::<3>().ok_or_else(cut)?;
        let mut numbers = vec![];
        for one in ids.chunks_exact(2) {
            let number = frame
                .components
                .iter()
                .position(|id| *id == one[0])
                .ok_or_else(cut)?;
            if one[1] != 0 {
                return Err(unsupported("has a JPEG-LS with tables that are not read here"));
            }
            numbers.push(number);
        }
        let order = match (order, numbers.len()) {
            (_, 0) => return Err(cut()),
            (0..=2, 1) => Order::Planes,
            (1, _) => Order::Lines,
            (2, ..=4) => Order::Pixels,
            _ => return Err(cut()),
        };
        let near = i32::from(near);
        let preset = Preset::of(frame.bits, near, preset);
        if shift != 0 || preset.most / 2 < near {
            return Err(wrong("has a JPEG-LS that is nearer to nothing than to an image"));
        }
        let range = (preset.most + 2 * near) / (2 * near + 1) + 1;
        let bits_of = |count: i32| 32 - (count - 1).leading_zeros();
        let whole = bits_of(preset.most + 1).max(2);
        let begins = Context {
            count: 1,
            sizes: ((range + 32) / 64).max(2),
            sum: 0,
            correction: 0,
            below: 0,
        };
        let scan = Scan {
            order,
            near,
            preset,
            range,
            bits: bits_of(range),
            limit: 2 * (whole + whole.max(8)),
            contexts: vec![begins; REGULAR + 2],
        };
        Ok((numbers, scan))
    }

    fn decode<'a>(
        mut self,
        shape: &Shape,
        numbers: &[usize],
        data: &'a [u8],
        out: &mut [u16],
    ) -> Result<&'a [u8], MapError> {
        let mut bits = Bits::new(data, Stuffing::Bit);
        let columns = shape.columns;
        // A line has the first of the line above before it, and its own last behind it.
        let empty = vec![vec![0_i32; columns + 2]; numbers.len()];
        let (mut above, mut lines) = (empty.clone(), empty);
        let mut runs = vec![0; numbers.len()];
        for y in 0..shape.rows {
            for (line, above) in lines.iter_mut().zip(&mut above) {
                line[0] = above[1];
                above[columns + 1] = above[columns];
            }
            match self.order {
                Order::Pixels => self.line(&mut bits, &above, &mut lines, &mut runs[0])?,
                Order::Planes | Order::Lines => {
                    for number in 0..numbers.len() {
                        let (above, line) = (&above[number..=number], &mut lines[number..=number]);
                        self.line(&mut bits, above, line, &mut runs[number])?;
                    }
                }
            }
            for (line, number) in lines.iter().zip(numbers) {
                let from = y * columns * shape.samples + number;
                let places = out[from..].iter_mut().step_by(shape.samples);
                for (place, value) in places.zip(&line[1..=columns]) {
                    *place = *value as u16;
                }
            }
            std::mem::swap(&mut above, &mut lines);
        }
        Ok(bits.rest())
    }

    /// A line of one component, or of all whose values come together.
    fn line(
        &mut self,
        bits: &mut Bits<'_>,
        above: &[Vec<i32>],
        lines: &mut [Vec<i32>],
        run: &mut usize,
    ) -> Result<(), MapError> {
        let columns = lines[0].len() - 2;
        let mut x = 1;
        while x <= columns {
            let mut is_flat = true;
            let mut around = [(0, 0); 4];
            for (number, around) in (0..lines.len()).zip(&mut around) {
                let (line, above) = (&lines[number], &above[number]);
                let (left, top, corner, next) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
                let slopes = [next - top, top - corner, corner - left];
                is_flat &= slopes.iter().all(|slope| slope.abs() <= self.near);
                *around = (self.context(slopes), predicted(left, top, corner));
            }
            if is_flat {
                x = self.run(bits, above, lines, run, x)?;
                continue;
            }
            for (line, (context, predicted)) in lines.iter_mut().zip(around) {
                line[x] = self.regular(bits, context, predicted)?;
            }
            x += 1;
        }
        Ok(())
    }

    /// The context of three slopes, below zero where it is that of the mirrored ones (T.87 §A.3.3, §A.3.4).
    fn context(&self, slopes: [i32; 3]) -> i32 {
        let [one, two, three] = self.preset.steps;
        slopes.into_iter().fold(0, |all, slope| {
            let size = slope.abs();
            let step = match size {
                _ if size <= self.near => 0,
                _ if size < one => 1,
                _ if size < two => 2,
                _ if size < three => 3,
                _ => 4,
            };
            all * 9 + step * slope.signum()
        })
    }

    fn regular(&mut self, bits: &mut Bits<'_>, context: i32, predicted: i32) -> Result<i32, MapError> {
        let sign = if context < 0 { -1 } else { 1 };
        let (near, reset, limit) = (self.near, self.preset.reset, self.limit);
        let at = context.unsigned_abs() as usize;
        let known = *self.contexts.get(at).ok_or_else(cut)?;
        let predicted = (predicted + sign * known.correction).clamp(0, self.preset.most);
        let shift = shift(known.count, known.sizes);
        let mapped = self.number(bits, shift, limit)?;
        let odd = mapped & 1;
        let error = match near == 0 && shift == 0 && 2 * known.sum <= -known.count {
            true if odd == 1 => (mapped - 1) / 2,
            true => -(mapped / 2) - 1,
            false if odd == 1 => -((mapped + 1) / 2),
            false => mapped / 2,
        };
        let context = &mut self.contexts[at];
        context.sum = context.sum.saturating_add(error.saturating_mul(2 * near + 1));
        context.sizes = context.sizes.saturating_add(error.abs());
        if context.count == reset {
            context.sizes >>= 1;
            context.sum >>= 1;
            context.count >>= 1;
        }
        context.count += 1;
        if context.sum <= -context.count {
            context.correction = (context.correction - 1).max(-128);
            context.sum = (context.sum + context.count).max(1 - context.count);
        } else if 0 < context.sum {
            context.correction = (context.correction + 1).min(127);
            context.sum = (context.sum - context.count).min(0);
        }
        Ok(self.value(predicted, sign * error))
    }

    /// A value from what was predicted and the error of that.
    fn value(&self, predicted: i32, error: i32) -> i32 {
        let wide = self.range * (2 * self.near + 1);
        let value = predicted.saturating_add(error.saturating_mul(2 * self.near + 1));
        let value = match value {
            _ if value < -self.near => value + wide,
            _ if self.preset.most + self.near < value => value - wide,
            _ => value,
        };
        value.clamp(0, self.preset.most)
    }

    /// A number in the code of Golomb, of limited length (T.87 §A.5.3).
    fn number(&self, bits: &mut Bits<'_>, shift: u32, limit: u32) -> Result<i32, MapError> {
        let most = limit.checked_sub(self.bits + 1).ok_or_else(cut)?;
        let mut zeros = 0;
        while bits.take(1).ok_or_else(cut)? == 0 {
            zeros += 1;
            if most < zeros {
                return Err(cut());
            }
        }
        let (high, low) = match zeros < most {
            true => (zeros << shift, bits.take(shift).ok_or_else(cut)?),
            false => (1, bits.take(self.bits).ok_or_else(cut)?),
        };
        i32::try_from(high.saturating_add(low)).map_err(|_| cut())
    }

    /// A run of the same value and what ends it (T.87 §A.7). Hands back where it goes on.
    fn run(
        &mut self,
        bits: &mut Bits<'_>,
        above: &[Vec<i32>],
        lines: &mut [Vec<i32>],
        run: &mut usize,
        mut x: usize,
    ) -> Result<usize, MapError> {
        let columns = lines[0].len() - 2;
        let fill = |lines: &mut [Vec<i32>], from: usize, count: usize| {
            for line in lines {
                let value = line[from - 1];
                line[from..from + count].fill(value);
            }
        };
        while bits.take(1).ok_or_else(cut)? == 1 {
            let whole = 1 << RUNS[*run];
            let count = whole.min(columns + 1 - x);
            fill(lines, x, count);
            x += count;
            if count == whole {
                *run = (*run + 1).min(31);
            }
            if columns < x {
                return Ok(x);
            }
        }
        let count = bits.take(RUNS[*run]).ok_or_else(cut)? as usize;
        if columns < x + count {
            return Err(cut());
        }
        fill(lines, x, count);
        x += count;
        let is_alone = lines.len() == 1;
        for (line, above) in lines.iter_mut().zip(above) {
            let (left, top) = (line[x - 1], above[x]);
            let is_same = is_alone && (left - top).abs() <= self.near;
            let error = self.end_of_run(bits, is_same, RUNS[*run])?;
            line[x] = match is_same {
                true => self.value(left, error),
                false if top < left => self.value(top, -error),
                false => self.value(top, error),
            };
        }
        *run = run.saturating_sub(1);
        Ok(x + 1)
    }

    fn end_of_run(&mut self, bits: &mut Bits<'_>, is_same: bool, taken: u32) -> Result<i32, MapError> {
        let same = i32::from(is_same);
        let at = REGULAR + usize::from(is_same);
        let known = self.contexts[at];
        let shift = shift(known.count, known.sizes + same * (known.count >> 1));
        let limit = self.limit.saturating_sub(taken + 1);
        let mapped = self.number(bits, shift, limit)?;
        let sum = mapped.saturating_add(same);
        let odd = sum & 1;
        let size = (sum + odd) / 2;
        let is_below = (shift != 0 || known.count <= 2 * known.below) == (odd == 1);
        let error = if is_below { -size } else { size };
        let reset = self.preset.reset;
        let context = &mut self.contexts[at];
        context.below += i32::from(error < 0);
        context.sizes = context
            .sizes
            .saturating_add((mapped.saturating_add(1) - same) >> 1);
        if context.count == reset {
            context.sizes >>= 1;
            context.count >>= 1;
            context.below >>= 1;
        }
        context.count += 1;
        Ok(error)
    }
}

/// By how many bits errors of this mean size are counted.
fn shift(count: i32, sizes: i32) -> u32 {
    (0..16)
        .find(|shift| i64::from(sizes) <= i64::from(count) << shift)
        .unwrap_or(16)
}

/// What the neighbours make likely: the left one or the upper one at an edge, else the plane through them.
fn predicted(left: i32, top: i32, corner: i32) -> i32 {
    match corner {
        _ if left.max(top) <= corner => left.min(top),
        _ if corner <= left.min(top) => left.max(top),
        _ => left + top - corner,
    }
}
