//! RLE (PS3.5 annex G): each byte of each value in a segment of its own, the high byte first.

use clinic::exchange::MapError;

use super::{Shape, wrong};

/// The values of a frame, low byte first, colour by pixel.
pub(super) fn decoded(shape: &Shape, bytes: &[u8]) -> Result<Vec<u8>, MapError> {
    let width = shape
        .width()
        .ok_or_else(|| wrong("is of values that RLE does not have"))?;
    let number = |at: usize| {
        let four = bytes
            .get(at * 4..at * 4 + 4)
            .and_then(|four| four.first_chunk::<4>());
        four.map(|four| u32::from_le_bytes(*four) as usize)
            .ok_or_else(|| wrong("ends inside the header of a frame"))
    };
    let segments = shape.samples * width;
    if number(0)? != segments || 15 < segments {
        return Err(wrong("has another number of segments than its values have bytes"));
    }
    let pixels = shape.rows * shape.columns;
    let mut out = vec![0; pixels * segments];
    for segment in 0..segments {
        let from = number(1 + segment)?;
        let to = match segment + 1 < segments {
            true => number(2 + segment)?,
            false => bytes.len(),
        };
        let packed = bytes.get(from..to).filter(|_| 64 <= from);
        let packed = packed.ok_or_else(|| wrong("has segments where there is nothing"))?;
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        let places = out.iter_mut().skip(sample * width + byte).step_by(segments);
        unpack(packed, pixels, places)?;
    }
    Ok(out)
}

fn unpack<'a>(
    packed: &[u8],
    count: usize,
    mut places: impl Iterator<Item = &'a mut u8>,
) -> Result<(), MapError> {
    let mut packed = packed.iter().copied();
    let mut left = count;
    let short = || wrong("is shorter than its frame");
    while 0 < left {
        let head = packed.next().ok_or_else(short)?;
        let (run, same) = match head {
            0..=127 => (usize::from(head) + 1, None),
            128 => continue,
            129.. => (257 - usize::from(head), Some(packed.next().ok_or_else(short)?)),
        };
        for _ in 0..run.min(left) {
            let value = match same {
                Some(value) => value,
                None => packed.next().ok_or_else(short)?,
            };
            if let Some(place) = places.next() {
                *place = value;
            }
        }
        left = left.saturating_sub(run);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::shape;
    use super::*;

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; 64];
        out[..4].copy_from_slice(&(segments.len() as u32).to_le_bytes());
        for (idx, segment) in segments.iter().enumerate() {
            let from = out.len() as u32;
            out[4 + idx * 4..8 + idx * 4].copy_from_slice(&from.to_le_bytes());
            out.extend(*segment);
        }
        out
    }

    #[test]
    fn segments_are_bytes_of_values() {
        let shape = shape(1, 4, 1, 16);
        // 0x0105, 0x0105, 0x0105, 0x0207: three ones and a two, then three fives and a seven.
        let packed = frame(&[&[0xFE, 1, 0, 2], &[2, 5, 5, 5, 0x80, 0, 7, 0]]);
        assert_eq!(decoded(&shape, &packed), Ok(vec![5, 1, 5, 1, 5, 1, 7, 2]));
        assert!(decoded(&shape, &frame(&[&[0xFE, 1, 0, 2], &[2, 5, 5]])).is_err());
        assert!(decoded(&shape, &frame(&[&[0xFE, 1]])).is_err());
        assert!(decoded(&shape, b"").is_err());
    }
}
