//! A picture of eight bits: cut, scaled, and written as JPEG, PNG or GIF.

use std::io::Write;

use clinic::exchange::MapError;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use jpeg_encoder::{ColorType, Encoder};

use super::wrong;

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Red, green and blue for each pixel; else one value.
    pub is_colour: bool,
    /// All values, line by line.
    pub pixels: Vec<u8>,
}

/// A part of a picture, in pixels from its upper left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From the left.
    pub x: usize,
    /// From the top.
    pub y: usize,
    /// How wide.
    pub width: usize,
    /// How high.
    pub height: usize,
    /// Left becomes right.
    pub is_mirrored: bool,
    /// Top becomes bottom.
    pub is_upside_down: bool,
}

impl Picture {
    fn channels(&self) -> usize {
        if self.is_colour { 3 } else { 1 }
    }

    /// A part of it; none: there is nothing at that place.
    pub fn part(&self, part: &Part) -> Option<Self> {
        let (right, bottom) = (part.x.checked_add(part.width)?, part.y.checked_add(part.height)?);
        if part.width == 0 || part.height == 0 || self.width < right || self.height < bottom {
            return None;
        }
        let channels = self.channels();
        let mut pixels = Vec::with_capacity(part.width * part.height * channels);
        for line in 0..part.height {
            let line = if part.is_upside_down {
                bottom - 1 - line
            } else {
                part.y + line
            };
            let from = (line * self.width + part.x) * channels;
            let line = self.pixels.get(from..from + part.width * channels)?;
            match part.is_mirrored {
                false => pixels.extend(line),
                true => line
                    .chunks_exact(channels)
                    .rev()
                    .for_each(|pixel| pixels.extend(pixel)),
            }
        }
        Some(Picture {
            width: part.width,
            height: part.height,
            is_colour: self.is_colour,
            pixels,
        })
    }

    /// As large as fits into so much, and as it was in its proportions.
    pub fn fitted(&self, width: usize, height: usize) -> Self {
        let scale = (width as f64 / self.width as f64).min(height as f64 / self.height as f64);
        let of = |length: usize| ((length as f64 * scale).round() as usize).max(1);
        self.scaled(of(self.width), of(self.height))
    }

    fn scaled(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let channels = self.channels();
        let across = Weights::of(self.width, width);
        let down = Weights::of(self.height, height);
        let lines: Vec<f32> = self
            .pixels
            .chunks_exact(self.width * channels)
            .flat_map(|line| {
                let at = |at: usize, channel: usize| f32::from(line[at * channels + channel]);
                let of = |(x, channel)| across.mixed(x, |from| at(from, channel));
                let places = (0..width).flat_map(|x| (0..channels).map(move |channel| (x, channel)));
                places.map(of).collect::<Vec<_>>()
            })
            .collect();
        let stride = width * channels;
        let pixels = (0..height).flat_map(|y| (0..stride).map(move |x| (x, y)));
        let pixels = pixels.map(|(x, y)| {
            let value = down.mixed(y, |line| lines[line * stride + x]);
            value.round().clamp(0.0, 255.0) as u8
        });
        Picture {
            width,
            height,
            is_colour: self.is_colour,
            pixels: pixels.collect(),
        }
    }

    /// As GIF: of more than 256 colours, those that are near to them.
    pub fn gif(&self) -> Vec<u8> {
        super::gif::gif(self)
    }

    /// As JPEG. `quality`: from 1 to 100.
    pub fn jpeg(&self, quality: u8) -> Result<Vec<u8>, MapError> {
        let mut out = vec![];
        let kind = match self.is_colour {
            true => ColorType::Rgb,
            false => ColorType::Luma,
        };
        let side = |length: usize| u16::try_from(length).map_err(|_| wrong("is too large for a JPEG"));
        Encoder::new(&mut out, quality.clamp(1, 100))
            .encode(&self.pixels, side(self.width)?, side(self.height)?, kind)
            .map_err(|_| wrong("can't be written as JPEG"))?;
        Ok(out)
    }

    /// As PNG (ISO 15948).
    pub fn png(&self) -> Vec<u8> {
        let mut head = vec![];
        for side in [self.width, self.height] {
            head.extend(u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes());
        }
        head.extend([8, if self.is_colour { 2 } else { 0 }, 0, 0, 0]);
        let channels = self.channels();
        let mut packed = ZlibEncoder::new(vec![], Compression::new(6));
        for line in self.pixels.chunks_exact(self.width * channels) {
            // Each as its difference to the one before.
            let before = std::iter::repeat_n(&0, channels).chain(line);
            let mut filtered = vec![1];
            filtered.extend(
                line.iter()
                    .zip(before)
                    .map(|(value, before)| value.wrapping_sub(*before)),
            );
            // Into memory, which takes it.
            let _ = packed.write_all(&filtered);
        }
        let mut out = b"\x89PNG\r\n\x1A\n".to_vec();
        chunk(*b"IHDR", &head, &mut out);
        chunk(*b"IDAT", &packed.finish().unwrap_or_default(), &mut out);
        chunk(*b"IEND", &[], &mut out);
        out
    }
}

fn chunk(name: [u8; 4], data: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut sum = flate2::Crc::new();
    sum.update(&name);
    sum.update(data);
    out.extend(length.to_be_bytes());
    out.extend(name);
    out.extend(data);
    out.extend(sum.sum().to_be_bytes());
}

/// Which pixels make one of another size, and how much of each.
struct Weights(Vec<(usize, Vec<f32>)>);

impl Weights {
    /// By the distance from its middle, and where it becomes smaller, from as far as that takes.
    fn of(from: usize, to: usize) -> Self {
        let step = from as f64 / to as f64;
        let reach = step.max(1.0);
        let of = |place: usize| {
            let middle = (place as f64 + 0.5) * step;
            let first = (middle - reach).max(0.0) as usize;
            let last = ((middle + reach).ceil() as usize).min(from);
            let weights = (first..last).map(|at| {
                let distance = (at as f64 + 0.5 - middle).abs() / reach;
                (1.0 - distance).max(0.0) as f32
            });
            let mut weights: Vec<f32> = weights.collect();
            let sum: f32 = weights.iter().sum();
            weights
                .iter_mut()
                .for_each(|weight| *weight /= sum.max(f32::MIN_POSITIVE));
            (first, weights)
        };
        Weights((0..to).map(of).collect())
    }

    fn mixed(&self, place: usize, value: impl Fn(usize) -> f32) -> f32 {
        let (first, weights) = &self.0[place];
        (*first..)
            .zip(weights)
            .map(|(at, weight)| value(at) * weight)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope() -> Picture {
        Picture {
            width: 4,
            height: 2,
            is_colour: false,
            pixels: vec![0, 10, 20, 30, 100, 110, 120, 130],
        }
    }

    #[test]
    fn a_part_may_be_turned() {
        let part = Part {
            x: 1,
            y: 0,
            width: 2,
            height: 2,
            is_mirrored: false,
            is_upside_down: false,
        };
        let pixels = |part: &Part| slope().part(part).map(|picture| picture.pixels);
        assert_eq!(pixels(&part), Some(vec![10, 20, 110, 120]));
        assert_eq!(
            pixels(&Part {
                is_mirrored: true,
                ..part
            }),
            Some(vec![20, 10, 120, 110])
        );
        assert_eq!(
            pixels(&Part {
                is_upside_down: true,
                ..part
            }),
            Some(vec![110, 120, 10, 20])
        );
        assert_eq!(pixels(&Part { x: 3, ..part }), None);
        assert_eq!(pixels(&Part { width: 0, ..part }), None);
        assert_eq!(
            pixels(&Part {
                y: usize::MAX,
                ..part
            }),
            None
        );
    }

    #[test]
    fn its_proportions_stay() {
        let half = slope().fitted(2, 2);
        assert_eq!((half.width, half.height), (2, 1));
        assert!(
            (55..=60).contains(&half.pixels[0]) && (70..=80).contains(&half.pixels[1]),
            "{half:?}"
        );
        let large = slope().fitted(400, 100);
        assert_eq!((large.width, large.height), (200, 100));
        assert_eq!((large.pixels[0], large.pixels[19_999]), (0, 130));
        let flat = Picture {
            is_colour: true,
            pixels: [7, 8, 9].repeat(8),
            ..slope()
        };
        assert_eq!(flat.fitted(3, 9).pixels, [7, 8, 9].repeat(6));
    }
}
