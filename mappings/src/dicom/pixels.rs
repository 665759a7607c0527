//! Pixels (PS3.3 C.7.6.3, PS3.5 §8, annex A): where the frames of an object lie, what is in them once they are decoded,
//! and how a person sees them.
//!
//! The way: [`Shape`] is what the data set says of its pixels, and bounds everything after it; [`places`] finds the bytes
//! of each frame; [`decode`] makes samples of them, low byte first and colour by pixel; [`render`] makes a picture of those,
//! which [`picture`] scales and writes as JPEG, PNG or GIF.

use clinic::exchange::{MapError, Reason};
use dicom_core::Tag;

use super::dataset::DataSet;

mod bits;
pub mod decode;
mod gif;
mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod jpeg_xl;
mod overlay;
#[cfg(test)]
mod peer_tests;
pub mod picture;
pub mod places;
pub mod render;
mod rle;

/// The most bytes of one frame that is decoded.
pub const LONGEST_FRAME: u64 = 128 * 1024 * 1024;
/// The most frames of one object.
const MOST_FRAMES: u64 = 200_000;

pub(super) const PIXELS: Tag = Tag(0x7FE0, 0x0010);
/// Pixels that are fractions of four and eight bytes (PS3.3 C.7.6.24, C.7.6.25).
const FRACTIONS: [Tag; 2] = [Tag(0x7FE0, 0x0008), Tag(0x7FE0, 0x0009)];
pub(super) const SAMPLES: Tag = Tag(0x0028, 0x0002);
pub(super) const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
pub(super) const PLANAR: Tag = Tag(0x0028, 0x0006);

/// What a data set says of its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Height.
    pub rows: usize,
    /// Width.
    pub columns: usize,
    /// Values of each pixel.
    pub samples: usize,
    /// Bits that a value takes.
    pub allocated: u32,
    /// Bits of it that count.
    pub stored: u32,
    /// The highest of those.
    pub high: u32,
    /// True: values may be below zero.
    pub is_signed: bool,
    /// True: first all values of one colour, then all of the next.
    pub is_planar: bool,
    /// Photometric Interpretation.
    pub photometric: String,
    /// How many frames.
    pub frames: usize,
}

impl Shape {
    /// Of an object.
    pub fn of(set: &DataSet<'_>) -> Result<Self, MapError> {
        let number = |tag| set.number(tag).and_then(|number| u64::try_from(number).ok());
        let needed = |element: u16, what: &str| {
            let place = format!("0028,{element:04X}");
            let number = number(Tag(0x0028, element)).ok_or_else(|| MapError::missing(&place, what))?;
            match number {
                1..=65_535 => Ok(number as u32),
                _ => Err(MapError::new(
                    Reason::DataType,
                    Some(&place),
                    "is no such number of pixels",
                )),
            }
        };
        let allocated = needed(0x0100, "Bits Allocated")?;
        let stored = number(Tag(0x0028, 0x0101)).map_or(allocated, |stored| stored.min(64) as u32);
        let high = number(Tag(0x0028, 0x0102)).map_or(stored.saturating_sub(1), |high| high.min(63) as u32);
        let shape = Shape {
            rows: needed(0x0010, "Rows")? as usize,
            columns: needed(0x0011, "Columns")? as usize,
            samples: number(SAMPLES).unwrap_or(1).clamp(1, 16) as usize,
            allocated,
            stored,
            high,
            is_signed: number(Tag(0x0028, 0x0103)) == Some(1),
            is_planar: number(PLANAR) == Some(1),
            photometric: set.text(PHOTOMETRIC).unwrap_or_default(),
            frames: number(Tag(0x0028, 0x0008)).unwrap_or(1).clamp(1, MOST_FRAMES) as usize,
        };
        if shape.stored == 0 || shape.allocated < shape.stored || shape.high + 1 < shape.stored {
            return Err(MapError::new(
                Reason::DataType,
                Some("0028,0101"),
                "has more bits than there are",
            ));
        }
        Ok(shape)
    }

    /// How many values a frame has.
    pub fn values(&self) -> usize {
        self.rows * self.columns * self.samples
    }

    /// Bytes of a value, where it has whole ones.
    pub(crate) fn width(&self) -> Option<usize> {
        matches!(self.allocated, 8 | 16 | 32).then_some(self.allocated as usize / 8)
    }

    /// Bytes of a frame that is not compressed; of one of single bits, the last may be filled up.
    pub fn frame_bytes(&self) -> u64 {
        self.frame_bits().div_ceil(8)
    }

    /// Bits of a frame that is not compressed.
    pub(crate) fn frame_bits(&self) -> u64 {
        let values = self.values() as u64;
        // One blue and one red for two pixels (PS3.3 C.7.6.3.1.2).
        let values = match self.photometric.as_str() {
            "YBR_FULL_422" | "YBR_PARTIAL_422" if self.samples == 3 => values / 3 * 2,
            _ => values,
        };
        values * u64::from(self.allocated)
    }
}

/// How samples are wrong: at the pixel data.
pub(crate) fn wrong(what: &str) -> MapError {
    MapError::new(Reason::DataType, Some("7FE0,0010"), what)
}

/// What nobody here can do.
pub(crate) fn unsupported(what: &str) -> MapError {
    MapError::new(Reason::UnsupportedType, Some("7FE0,0010"), what)
}
