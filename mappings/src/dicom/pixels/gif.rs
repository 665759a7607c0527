//! A picture as GIF (GIF89a): grey and few colours as they are, many in 252 that are near to them.

use std::collections::HashMap;

use super::picture::Picture;

/// Bits of a value.
const BITS: u32 = 8;
/// Forgets all runs.
const CLEAR: u16 = 256;
/// Nothing more follows.
const END: u16 = 257;
/// Codes have at most twelve bits.
const MOST_CODES: u16 = 4096;
/// Levels of red, green and blue where there are too many colours.
const LEVELS: [u16; 3] = [6, 7, 6];

/// Writes it.
pub(super) fn gif(picture: &Picture) -> Vec<u8> {
    let (palette, values) = match picture.is_colour {
        false => (grey(), picture.pixels.clone()),
        true => coloured(&picture.pixels),
    };
    let side = |side: usize| u16::try_from(side).unwrap_or(u16::MAX).to_le_bytes();
    let (width, height) = (side(picture.width), side(picture.height));
    let mut out = b"GIF89a".to_vec();
    out.extend(width);
    out.extend(height);
    // A palette of 256 colours for all; the first is behind it; pixels are square.
    out.extend([0xF7, 0, 0]);
    out.extend(palette.iter().flatten());
    out.extend([0x2C, 0, 0, 0, 0]);
    out.extend(width);
    out.extend(height);
    out.extend([0, BITS as u8]);
    for block in packed(&values).chunks(255) {
        out.push(block.len() as u8);
        out.extend(block);
    }
    out.extend([0, 0x3B]);
    out
}

fn grey() -> Vec<[u8; 3]> {
    (0..=255).map(|level| [level; 3]).collect()
}

/// The colours, and which of them each pixel has.
fn coloured(pixels: &[u8]) -> (Vec<[u8; 3]>, Vec<u8>) {
    exact(pixels).unwrap_or_else(|| near(pixels))
}

/// None: there are more than 256.
fn exact(pixels: &[u8]) -> Option<(Vec<[u8; 3]>, Vec<u8>)> {
    let mut palette: Vec<[u8; 3]> = vec![];
    let mut known: HashMap<[u8; 3], u8> = HashMap::new();
    let mut values = Vec::with_capacity(pixels.len() / 3);
    for pixel in pixels.as_chunks::<3>().0 {
        let value = match known.get(pixel) {
            Some(value) => *value,
            None => {
                let value = u8::try_from(palette.len()).ok()?;
                palette.push(*pixel);
                known.insert(*pixel, value);
                value
            }
        };
        values.push(value);
    }
    palette.resize(256, [0; 3]);
    Some((palette, values))
}

fn near(pixels: &[u8]) -> (Vec<[u8; 3]>, Vec<u8>) {
    let [reds, greens, blues] = LEVELS;
    let shown = |level: u16, of: u16| (level * 255 / (of - 1)) as u8;
    let all = (0..reds)
        .flat_map(|red| (0..greens).flat_map(move |green| (0..blues).map(move |blue| [red, green, blue])));
    let mut palette: Vec<[u8; 3]> = all
        .map(|[red, green, blue]| [shown(red, reds), shown(green, greens), shown(blue, blues)])
        .collect();
    palette.resize(256, [0; 3]);
    let level = |value: u8, of: u16| (u16::from(value) * (of - 1) + 127) / 255;
    let values = pixels.as_chunks::<3>().0.iter().map(|[red, green, blue]| {
        let place = (level(*red, reds) * greens + level(*green, greens)) * blues + level(*blue, blues);
        place as u8
    });
    (palette, values.collect())
}

/// Values, by the codes of the runs that were there before (LZW, as GIF has it: the low bits first).
fn packed(values: &[u8]) -> Vec<u8> {
    let mut out = Bits::default();
    let mut runs = Runs::default();
    let (mut next, mut size) = (END + 1, BITS + 1);
    out.push(CLEAR, size);
    let mut values = values.iter();
    let Some(mut run) = values.next().map(|value| u16::from(*value)) else {
        out.push(END, size);
        return out.finish();
    };
    for value in values {
        if let Some(longer) = runs.find(run, *value) {
            run = longer;
            continue;
        }
        out.push(run, size);
        if next < MOST_CODES {
            runs.add(run, *value, next);
            // Who reads is one code behind.
            if next == 1 << size {
                size += 1;
            }
            next += 1;
        } else {
            out.push(CLEAR, size);
            runs = Runs::default();
            (next, size) = (END + 1, BITS + 1);
        }
        run = u16::from(*value);
    }
    out.push(run, size);
    // The last code was one more for who reads.
    if next == 1 << size && size < 12 {
        size += 1;
    }
    out.push(END, size);
    out.finish()
}

/// Bits, the low ones first.
#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    waiting: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, code: u16, size: u32) {
        self.waiting |= u32::from(code) << self.count;
        self.count += size;
        while 8 <= self.count {
            self.out.push(self.waiting as u8);
            self.waiting >>= 8;
            self.count -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if 0 < self.count {
            self.out.push(self.waiting as u8);
        }
        self.out
    }
}

/// Runs that have a code: one that has, and the value behind it. Twice as many places as there are codes.
struct Runs(Vec<(u32, u16)>);

impl Default for Runs {
    fn default() -> Self {
        Runs(vec![(u32::MAX, 0); 2 * usize::from(MOST_CODES)])
    }
}

impl Runs {
    /// Where a run stands, or would.
    fn place(&self, run: u16, value: u8) -> (usize, u32) {
        let key = u32::from(run) << 8 | u32::from(value);
        let mut place = (key.wrapping_mul(0x9E37_79B1) >> 19) as usize % self.0.len();
        while self.0[place].0 != key && self.0[place].0 != u32::MAX {
            place = (place + 1) % self.0.len();
        }
        (place, key)
    }

    fn find(&self, run: u16, value: u8) -> Option<u16> {
        let (place, key) = self.place(run, value);
        let (known, code) = self.0[place];
        (known == key).then_some(code)
    }

    fn add(&mut self, run: u16, value: u8, code: u16) {
        let (place, key) = self.place(run, value);
        self.0[place] = (key, code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a reader of GIF does it.
    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut bits = (0..bytes.len() * 8).map(|at| bytes[at / 8] >> (at % 8) & 1);
        let mut out: Vec<u8> = vec![];
        let mut runs: Vec<Vec<u8>> = vec![];
        let mut before: Option<Vec<u8>> = None;
        let mut size = 9;
        loop {
            let code = (0..size).fold(0_usize, |code, at| {
                code | usize::from(bits.next().expect("a bit")) << at
            });
            if code == usize::from(CLEAR) {
                runs = (0..=255_u8)
                    .map(|value| vec![value])
                    .chain([vec![], vec![]])
                    .collect();
                (before, size) = (None, 9);
                continue;
            }
            if code == usize::from(END) {
                return out;
            }
            let run = match (runs.get(code), &before) {
                (Some(run), _) => run.clone(),
                (None, Some(before)) => [&before[..], &before[..1]].concat(),
                (None, None) => panic!("a code that nobody knows"),
            };
            if let Some(before) = &before
                && runs.len() < 4096
            {
                runs.push([&before[..], &run[..1]].concat());
            }
            if runs.len() == 1 << size && size < 12 {
                size += 1;
            }
            out.extend(&run);
            before = Some(run);
        }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let noise = |count: usize| -> Vec<u8> {
            let mut seed = 7_u32;
            let next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            };
            std::iter::repeat_with(next).take(count).collect()
        };
        for values in [
            vec![],
            vec![5],
            vec![7; 100_000],
            noise(60_000),
            (0..=255).cycle().take(30_000).collect(),
        ] {
            assert!(unpacked(&packed(&values)) == values, "{} values", values.len());
        }
        // Of each length: the last code falls on each width.
        for count in 200..5_000 {
            let values = noise(count);
            assert!(unpacked(&packed(&values)) == values, "{count} values");
        }
    }

    #[test]
    fn few_colours_are_kept_and_many_are_near() {
        let few: Vec<u8> = (0..=255_u8).flat_map(|value| [value, 255 - value, 7]).collect();
        let (palette, values) = coloured(&few);
        let back: Vec<u8> = values
            .iter()
            .flat_map(|value| palette[usize::from(*value)])
            .collect();
        assert_eq!(back, few);
        let many: Vec<u8> = (0..=255_u8)
            .flat_map(|value| [value, value, value.wrapping_mul(3), 0, value, 9])
            .collect();
        let (palette, values) = coloured(&many);
        assert_eq!(palette.len(), 256);
        let back = values.iter().flat_map(|value| palette[usize::from(*value)]);
        assert!(back.zip(&many).all(|(seen, meant)| seen.abs_diff(*meant) <= 26));
    }
}
