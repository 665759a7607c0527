//! Overlays: planes of single bits that are shown over an image (PS3.3 C.9.2), such as what somebody has drawn on it.
//! Those of objects before 2004 may have no data of their own, and lie in bits of the pixels that no value has.

use std::borrow::Cow;

use dicom_core::{Tag, VR};

use super::super::dataset::DataSet;
use super::picture::Picture;
use super::render::Values;

/// What is drawn is white.
const DRAWN: u8 = 255;

/// One plane, for one frame.
struct Plane<'v> {
    rows: usize,
    columns: usize,
    /// Line and column of the image where its first bit lies, from 0; less: outside.
    top: i64,
    left: i64,
    /// True: it marks a region that was measured, and is no drawing.
    is_region: bool,
    bytes: Cow<'v, [u8]>,
    /// True: each two bytes lie the other way round.
    is_turned: bool,
    /// Where its first bit lies in the bytes.
    first: usize,
}

impl<'v> Plane<'v> {
    /// Of a group (6000 to 601E), for a frame counted from 0; none: nothing of it is over that frame.
    fn of(set: &'v DataSet<'_>, group: u16, frame: usize, values: &Values<'_>) -> Option<Self> {
        let number = |element: u16| {
            let number = set.number(Tag(group, element))?;
            usize::try_from(number).ok()
        };
        let element = set.get(Tag(group, 0x3000));
        let (rows, columns) = (number(0x0010)?, number(0x0011)?);
        let size = rows.checked_mul(columns).filter(|size| 0 < *size)?;
        let bytes = match element {
            Some(element) => Cow::Borrowed(element.bytes()?),
            None => Cow::Owned(in_pixels(values, [rows, columns], number(0x0102)?)?),
        };
        let plane = match number(0x0015) {
            // Each frame has its own in its bits.
            _ if element.is_none() => 0,
            // One plane for all frames.
            None => 0,
            Some(count) => {
                let begins = number(0x0051).unwrap_or(1).max(1) - 1;
                frame.checked_sub(begins).filter(|plane| *plane < count)?
            }
        };
        let first = plane.checked_mul(size)?;
        // Cut: nothing of it is shown, since half a drawing is another one.
        if bytes.len() < first.checked_add(size)?.div_ceil(8) {
            return None;
        }
        let origin = set.texts(Tag(group, 0x0050));
        let origin = |at: usize| {
            origin
                .get(at)
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or(1)
                - 1
        };
        Some(Plane {
            rows,
            columns,
            top: origin(0),
            left: origin(1),
            is_region: set.text(Tag(group, 0x0040)).as_deref() == Some("R"),
            bytes,
            is_turned: element
                .is_some_and(|element| element.header.coding.big_endian && element.header.vr == VR::OW),
            first,
        })
    }

    fn is_set(&self, row: usize, column: usize) -> bool {
        let bit = self.first + row * self.columns + column;
        let byte = match self.is_turned {
            true => (bit / 8) ^ 1,
            false => bit / 8,
        };
        self.bytes
            .get(byte)
            .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// Whether something is drawn there: of a region its edge alone, so that what is in it stays to be seen.
    fn is_drawn(&self, row: usize, column: usize) -> bool {
        if !self.is_region || !self.is_set(row, column) {
            return self.is_set(row, column);
        }
        let is_in = |row: Option<usize>, column: Option<usize>| match (row, column) {
            (Some(row), Some(column)) => row < self.rows && column < self.columns && self.is_set(row, column),
            _ => false,
        };
        let around = [
            (row.checked_sub(1), Some(column)),
            (row.checked_add(1), Some(column)),
            (Some(row), column.checked_sub(1)),
            (Some(row), column.checked_add(1)),
        ];
        !around.into_iter().all(|(row, column)| is_in(row, column))
    }

    /// Its lines or columns that lie over as many of the image.
    fn over(begins: i64, own: usize, image: usize) -> std::ops::Range<usize> {
        let first = usize::try_from(begins.saturating_neg()).unwrap_or(0);
        let last = i64::try_from(image).unwrap_or(i64::MAX).saturating_sub(begins);
        first..own.min(usize::try_from(last).unwrap_or(0))
    }
}

/// The plane that lies at a bit of the pixels (PS3.5 §8.1.2, retired); none: that bit is one of their values.
fn in_pixels(values: &Values<'_>, size: [usize; 2], position: usize) -> Option<Vec<u8>> {
    let shape = values.shape();
    let of_values = (shape.high + 1).saturating_sub(shape.stored)..shape.high + 1;
    let position = u32::try_from(position)
        .ok()
        .filter(|bit| *bit < shape.allocated)?;
    if of_values.contains(&position) || size != [shape.rows, shape.columns] || shape.samples != 1 {
        return None;
    }
    let mut bytes = vec![0; (size[0] * size[1]).div_ceil(8)];
    for at in 0..size[0] * size[1] {
        bytes[at / 8] |= ((values.raw(at) >> position & 1) as u8) << (at % 8);
    }
    Some(bytes)
}

/// Draws all overlays of a frame, counted from 0, into its picture.
pub(super) fn draw(set: &DataSet<'_>, values: &Values<'_>, frame: usize, picture: &mut Picture) {
    let shape = values.shape();
    let width = if picture.is_colour { 3 } else { 1 };
    for group in (0x6000..=0x601E).step_by(2) {
        let Some(plane) = Plane::of(set, group, frame, values) else {
            continue;
        };
        for row in Plane::over(plane.top, plane.rows, shape.rows) {
            for column in Plane::over(plane.left, plane.columns, shape.columns) {
                if !plane.is_drawn(row, column) {
                    continue;
                }
                // Both are inside the image.
                let y = (row as i64 + plane.top) as usize;
                let x = (column as i64 + plane.left) as usize;
                let at = (y * shape.columns + x) * width;
                if let Some(pixel) = picture.pixels.get_mut(at..at + width) {
                    pixel.fill(DRAWN);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::charset::Fallback;
    use super::super::super::scan::Coding;
    use super::super::decode::tests::shape;
    use super::*;

    fn element(number: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0x60];
        out.extend(number.to_le_bytes());
        out.extend(vr);
        match vr {
            b"OB" | b"OW" => {
                out.extend([0, 0]);
                out.extend((value.len() as u32).to_le_bytes());
            }
            _ => out.extend((value.len() as u16).to_le_bytes()),
        }
        out.extend(value);
        out
    }

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// An image of three lines and four columns with one overlay of two and three.
    fn drawn(kind: &[u8], origin: &[i16], more: &[(u16, i16)], bits: &[u8], frame: usize) -> Vec<u8> {
        let mut elements = vec![
            (0x0010, element(0x0010, b"US", &words(&[2]))),
            (0x0011, element(0x0011, b"US", &words(&[3]))),
            (0x0040, element(0x0040, b"CS", kind)),
            (0x0050, element(0x0050, b"SS", &words(origin))),
            (0x3000, element(0x3000, b"OB", bits)),
        ];
        for (number, value) in more {
            elements.push((*number, element(*number, b"US", &words(&[*value]))));
        }
        elements.sort();
        let bytes: Vec<u8> = elements.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let set = DataSet::read(&bytes, Coding::EXPLICIT, Fallback::default()).expect("a data set");
        let mut picture = Picture {
            width: 4,
            height: 3,
            is_colour: false,
            pixels: vec![0; 12],
        };
        let of = shape(3, 4, 1, 8);
        let values = Values::of(&of, &[0; 12]).expect("whole");
        draw(&set, &values, frame, &mut picture);
        let lit = picture
            .pixels
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0);
        lit.map(|(at, _)| at as u8).collect()
    }

    #[test]
    fn bits_are_drawn_where_they_lie() {
        // 101 and 011, the first bit the lowest.
        let bits = [0b0011_0101, 0];
        assert_eq!(drawn(b"G ", &[1, 1], &[], &bits, 0), [0, 2, 5, 6]);
        assert_eq!(drawn(b"G ", &[2, 2], &[], &bits, 0), [5, 7, 10, 11]);
        // What lies outside is not there.
        assert_eq!(drawn(b"G ", &[0, 0], &[], &bits, 0), [0, 1]);
        assert_eq!(drawn(b"G ", &[3, 4], &[], &bits, 0), [11]);
        assert!(drawn(b"G ", &[-32768, 32767], &[], &bits, 0).is_empty());
        // Cut, it is not half drawn.
        assert!(drawn(b"G ", &[1, 1], &[(0x0015, 2)], &bits[..1], 1).is_empty());
    }

    #[test]
    fn frames_have_planes_of_their_own() {
        let bits = [0b1100_0001, 0];
        // Six bits each: the second plane is over the third frame.
        let more = [(0x0015, 2), (0x0051, 2)];
        assert!(drawn(b"G ", &[1, 1], &more, &bits, 0).is_empty());
        assert_eq!(drawn(b"G ", &[1, 1], &more, &bits, 1), [0]);
        assert_eq!(drawn(b"G ", &[1, 1], &more, &bits, 2), [0, 1]);
        assert!(drawn(b"G ", &[1, 1], &more, &bits, 3).is_empty());
        // One that names no frames is over all.
        assert_eq!(drawn(b"G ", &[1, 1], &[], &bits, 7), [0]);
    }

    #[test]
    fn of_a_region_its_edge_is_drawn() {
        let mut set = vec![];
        set.extend(element(0x0010, b"US", &words(&[3])));
        set.extend(element(0x0011, b"US", &words(&[3])));
        set.extend(element(0x0040, b"CS", b"R "));
        set.extend(element(0x3000, b"OW", &[0xFF, 0x01]));
        let set = DataSet::read(&set, Coding::EXPLICIT, Fallback::default()).expect("a data set");
        let mut picture = Picture {
            width: 3,
            height: 3,
            is_colour: true,
            pixels: vec![7; 27],
        };
        let of = shape(3, 3, 3, 8);
        let values = Values::of(&of, &[0; 27]).expect("whole");
        draw(&set, &values, 0, &mut picture);
        assert_eq!(picture.pixels[12..15], [7; 3], "the middle of it");
        let lit = picture.pixels.iter().filter(|value| **value == 255).count();
        assert_eq!(lit, 24);
    }

    #[test]
    fn old_overlays_lie_in_bits_of_the_pixels() {
        let lit = |position: i16, high: u32| {
            let mut set = vec![];
            set.extend(element(0x0010, b"US", &words(&[1])));
            set.extend(element(0x0011, b"US", &words(&[4])));
            set.extend(element(0x0040, b"CS", b"G "));
            set.extend(element(0x0050, b"SS", &words(&[1, 1])));
            set.extend(element(0x0100, b"US", &words(&[16])));
            set.extend(element(0x0102, b"US", &words(&[position])));
            let set = DataSet::read(&set, Coding::EXPLICIT, Fallback::default()).expect("a data set");
            let mut of = shape(1, 4, 1, 12);
            of.high = high;
            let pixels: Vec<u8> = [0x1000_u16, 0x0FFF, 0x2FFF, 0xF001]
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let values = Values::of(&of, &pixels).expect("whole");
            let mut picture = Picture {
                width: 4,
                height: 1,
                is_colour: false,
                pixels: vec![0; 4],
            };
            draw(&set, &values, 0, &mut picture);
            picture.pixels.iter().map(|value| *value != 0).collect::<Vec<_>>()
        };
        assert_eq!(lit(12, 11), [true, false, false, true]);
        assert_eq!(lit(13, 11), [false, false, true, true]);
        assert_eq!(lit(0, 15), [false, true, true, true]);
        // A bit of the values is no overlay, and there is none beyond the last.
        assert_eq!(lit(3, 11), [false; 4]);
        assert_eq!(lit(16, 11), [false; 4]);
    }
}
