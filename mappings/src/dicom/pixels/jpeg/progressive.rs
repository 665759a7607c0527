//! The progressive mode of JPEG (T.81 annex G): coefficients come in several scans, a band of them at a time and their high
//! bits before the low ones. They are gathered, and become values when the last has come.
//!
//! What the scans leave out is not guessed: a picture whose coefficients have not all come down to their last bit is cut.

use clinic::exchange::MapError;

use super::super::{unsupported, wrong};
use super::{Codes, Component, Frame, Reading, Scanned, ZIGZAG, cut, store, tables};

/// The most scans of a picture: each goes through all blocks, however short it is.
const MOST_SCANS: u32 = 128;

/// What of a component has come.
pub(super) struct Gathered {
    /// By block and, within it, by line and column.
    coefficients: Vec<i16>,
    /// Of how many low bits each coefficient has not come, by its place in the zigzag; none: of all.
    missing: [Option<u8>; 64],
    /// The steps of its values, as they were when its first scan came.
    steps: Option<[f32; 64]>,
    scans: u32,
}

impl Gathered {
    /// For so many values.
    pub(super) fn new(values: usize) -> Self {
        Gathered {
            coefficients: vec![0; values],
            missing: [None; 64],
            steps: None,
            scans: 0,
        }
    }
}

/// Which coefficients a scan has, and which bits of them.
#[derive(Clone, Copy)]
pub(super) struct Band {
    first: usize,
    last: usize,
    /// True: one more bit of what has come already.
    refines: bool,
    /// The lowest bit that comes.
    low: u8,
}

impl Band {
    /// Of the three bytes at the end of the head of a scan.
    pub(super) fn of([first, last, bits]: [u8; 3]) -> Result<Self, MapError> {
        let (high, low) = (bits >> 4, bits & 15);
        let is_band = match first {
            0 => last == 0,
            _ => first <= last && last < 64,
        };
        if !is_band || 13 < low || high != 0 && high != low + 1 {
            return Err(wrong(
                "has a progressive JPEG with a scan of nothing that is there",
            ));
        }
        Ok(Band {
            first: first.into(),
            last: last.into(),
            refines: high != 0,
            low,
        })
    }

    /// True for the coefficients that stand for a whole block.
    pub(super) fn is_direct(self) -> bool {
        self.first == 0
    }

    /// True where codes say what comes: not for one more bit of each block.
    pub(super) fn needs_codes(self) -> bool {
        !(self.is_direct() && self.refines)
    }
}

/// Reads one scan.
pub(super) fn scan(
    frame: &mut Frame,
    scanned: &[Scanned<'_>],
    band: Band,
    quantizations: &[Option<[f32; 64]>; 4],
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    for (number, ..) in scanned {
        begin(&mut frame.components[*number], band, quantizations)?;
    }
    match (scanned, band.is_direct()) {
        (_, true) => direct(frame, scanned, band, reading),
        ([one], false) => alternating(frame, one, band, reading),
        _ => Err(wrong(
            "has a progressive JPEG whose scans mix what may not be mixed",
        )),
    }
}

/// Notes what a scan brings. Bits come from the highest to the lowest, each once.
fn begin(
    component: &mut Component,
    band: Band,
    quantizations: &[Option<[f32; 64]>; 4],
) -> Result<(), MapError> {
    let steps = quantizations.get(component.quantization).copied().flatten();
    let gathered = component.gathered.as_mut().ok_or_else(cut)?;
    gathered.scans += 1;
    if MOST_SCANS < gathered.scans {
        return Err(unsupported(
            "has a progressive JPEG of more scans than are decoded here",
        ));
    }
    if gathered.steps.is_none() {
        gathered.steps = Some(steps.ok_or_else(tables)?);
    }
    for missing in &mut gathered.missing[band.first..=band.last] {
        let expected = band.refines.then_some(band.low + 1);
        if *missing != expected {
            return Err(wrong(
                "has a progressive JPEG whose bits come twice or in no order",
            ));
        }
        *missing = Some(band.low);
    }
    Ok(())
}

/// The coefficients that stand for whole blocks, of one or several components.
fn direct(
    frame: &mut Frame,
    scanned: &[Scanned<'_>],
    band: Band,
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    let mut last = [0_i32; 4];
    let (units_across, units_down) = frame.units(scanned);
    for unit in 0..units_across * units_down {
        if reading.begins_anew()? {
            last = [0; 4];
        }
        let place = (unit % units_across, unit / units_across);
        for (idx, (number, codes, _)) in scanned.iter().enumerate() {
            let component = &mut frame.components[*number];
            for (x, y) in component.blocks_of(place, scanned.len()) {
                let block = component.block(x, y)?;
                if band.refines {
                    let bit = reading.bits.take(1).ok_or_else(cut)? as i16;
                    block[0] |= bit << band.low;
                    continue;
                }
                let bits = u32::from(reading.symbol(codes.ok_or_else(tables)?)?);
                if 15 < bits {
                    return Err(cut());
                }
                let last = last.get_mut(idx).ok_or_else(cut)?;
                *last = last.wrapping_add(reading.number(bits)?);
                block[0] = (*last << band.low) as i16;
            }
        }
    }
    Ok(())
}

/// A band of the other coefficients, of one component.
fn alternating(
    frame: &mut Frame,
    scanned: &Scanned<'_>,
    band: Band,
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    let (number, _, codes) = scanned;
    let codes = codes.ok_or_else(tables)?;
    let (blocks_across, blocks_down) = frame.units(std::slice::from_ref(scanned));
    let component = &mut frame.components[*number];
    // Of so many blocks nothing more comes.
    let mut empty = 0;
    for y in 0..blocks_down {
        for x in 0..blocks_across {
            if reading.begins_anew()? {
                empty = 0;
            }
            let block = component.block(x, y)?;
            match band.refines {
                false => first_bits(block, band, codes, &mut empty, reading)?,
                true => one_more_bit(block, band, codes, &mut empty, reading)?,
            }
        }
    }
    Ok(())
}

/// How many blocks end here, this one among them (T.81 §G.1.2.2).
fn ending(zeros: u32, reading: &mut Reading<'_>) -> Result<u32, MapError> {
    Ok((1 << zeros) + reading.bits.take(zeros).ok_or_else(cut)?)
}

fn first_bits(
    block: &mut [i16],
    band: Band,
    codes: &Codes,
    empty: &mut u32,
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    if 0 < *empty {
        *empty -= 1;
        return Ok(());
    }
    let mut at = band.first;
    while at <= band.last {
        let symbol = reading.symbol(codes)?;
        let (zeros, bits) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, bits) {
            (15, 0) => at += 16,
            (_, 0) => {
                *empty = ending(zeros, reading)? - 1;
                return Ok(());
            }
            _ => {
                at += zeros as usize;
                if band.last < at {
                    return Err(cut());
                }
                block[ZIGZAG[at]] = (reading.number(bits)? << band.low) as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// One more bit of each coefficient that is not zero, and those that become so by it (T.81 §G.1.2.3).
fn one_more_bit(
    block: &mut [i16],
    band: Band,
    codes: &Codes,
    empty: &mut u32,
    reading: &mut Reading<'_>,
) -> Result<(), MapError> {
    let bit = 1_i16 << band.low;
    let mut at = band.first;
    while *empty == 0 && at <= band.last {
        let symbol = reading.symbol(codes)?;
        let (mut zeros, bits) = (u32::from(symbol >> 4), symbol & 15);
        let new = match (zeros, bits) {
            (15, 0) => None,
            (_, 0) => {
                *empty = ending(zeros, reading)?;
                break;
            }
            (_, 1) => Some(match reading.bits.take(1).ok_or_else(cut)? {
                1 => bit,
                _ => -bit,
            }),
            _ => return Err(cut()),
        };
        // Past those that are not zero, and as many zeros as were said.
        while at <= band.last {
            let value = &mut block[ZIGZAG[at]];
            if *value != 0 {
                grown(value, bit, reading)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        if let Some(new) = new {
            if band.last < at {
                return Err(cut());
            }
            block[ZIGZAG[at]] = new;
        }
        at += 1;
    }
    if 0 < *empty {
        for place in ZIGZAG.get(at..=band.last).unwrap_or_default() {
            if block[*place] != 0 {
                grown(&mut block[*place], bit, reading)?;
            }
        }
        *empty -= 1;
    }
    Ok(())
}

/// A coefficient with its next bit.
fn grown(value: &mut i16, bit: i16, reading: &mut Reading<'_>) -> Result<(), MapError> {
    if reading.bits.take(1).ok_or_else(cut)? == 1 && *value & bit == 0 {
        *value = value.wrapping_add(if *value < 0 { -bit } else { bit });
    }
    Ok(())
}

/// Makes values of what was gathered, where all of it has come.
pub(super) fn finished(frame: &mut Frame) -> Result<(), MapError> {
    let precision = frame.precision;
    for component in &mut frame.components {
        let gathered = component.gathered.take().ok_or_else(cut)?;
        let is_whole = gathered.missing.iter().all(|missing| *missing == Some(0));
        let steps = gathered.steps.filter(|_| is_whole);
        let steps = steps.ok_or_else(|| wrong("has a progressive JPEG that ends before its last scan"))?;
        let across = component.stride / 8;
        for (number, block) in gathered.coefficients.chunks_exact(64).enumerate() {
            let mut values = [0.0; 64];
            for ((value, coefficient), step) in values.iter_mut().zip(block).zip(steps) {
                *value = f32::from(*coefficient) * step;
            }
            let (x, y) = (number % across * 8, number / across * 8);
            store(&values, precision, component, x, y);
        }
    }
    Ok(())
}

impl Component {
    /// The coefficients of a block.
    fn block(&mut self, x: usize, y: usize) -> Result<&mut [i16], MapError> {
        let from = (y * (self.stride / 8) + x) * 64;
        let gathered = self.gathered.as_mut().ok_or_else(cut)?;
        gathered.coefficients.get_mut(from..from + 64).ok_or_else(cut)
    }
}
