//! A compressed frame as its values (PS3.5 annex A.4).

use clinic::exchange::MapError;

use super::places::Place;
use super::{LONGEST_FRAME, Shape, jpeg, jpeg_2000, jpeg_ls, jpeg_xl, rle, unsupported, wrong};

/// Who packed a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    /// It is not packed, and yet in fragments.
    None,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
    /// High-throughput JPEG 2000.
    Fast,
    JpegXl,
}

fn codec(syntax: &str) -> Option<Codec> {
    Some(match syntax.strip_prefix("1.2.840.10008.1.2.")? {
        "1.98" => Codec::None,
        "5" => Codec::Rle,
        "4.50" | "4.51" | "4.53" | "4.55" | "4.57" | "4.70" => Codec::Jpeg,
        "4.80" | "4.81" => Codec::JpegLs,
        "4.90" | "4.91" => Codec::Jpeg2000,
        "4.201" | "4.202" | "4.203" => Codec::Fast,
        "4.110" | "4.111" | "4.112" => Codec::JpegXl,
        _ => return None,
    })
}

/// Whether frames of a transfer syntax can be decoded.
pub fn is_known(syntax: &str) -> bool {
    codec(syntax).is_some()
}

/// What the pixels are once they are decoded (PS3.5 §8.2): what a codec undoes by itself is red, green and blue.
pub fn photometric<'a>(syntax: &str, was: &'a str) -> &'a str {
    match (codec(syntax), was) {
        (Some(Codec::Jpeg2000 | Codec::Fast), "YBR_ICT" | "YBR_RCT") => "RGB",
        (Some(Codec::JpegXl), "XYB" | "YBR_FULL_422" | "YBR_PARTIAL_420" | "YBR_ICT" | "YBR_RCT") => "RGB",
        (Some(Codec::JpegXl), "YBR_FULL") if !is_lossless(syntax) => "RGB",
        (Some(Codec::Jpeg), "YBR_FULL_422" | "YBR_PARTIAL_422" | "YBR_PARTIAL_420") => "RGB",
        (Some(Codec::Jpeg), "YBR_FULL") if !is_lossless(syntax) => "RGB",
        _ => was,
    }
}

fn is_lossless(syntax: &str) -> bool {
    [".4.57", ".4.70", ".4.110"]
        .iter()
        .any(|end| syntax.ends_with(end))
}

/// What an object says of its pixels once they are decoded.
pub fn shape(syntax: &str, was: &Shape) -> Shape {
    Shape {
        photometric: photometric(syntax, &was.photometric).to_owned(),
        is_planar: false,
        ..was.clone()
    }
}

/// The values of one frame: each of the bytes that the object allocates for it, the low one first, colour by pixel.
pub fn decoded(syntax: &str, was: &Shape, bytes: &[u8]) -> Result<Vec<u8>, MapError> {
    let codec =
        codec(syntax).ok_or_else(|| unsupported("is in a transfer syntax that is not decoded here"))?;
    let is = shape(syntax, was);
    if LONGEST_FRAME < is.frame_bytes() {
        return Err(unsupported("has frames that are too large to be decoded here"));
    }
    let values = match codec {
        Codec::None => {
            let size = was.frame_bytes() as usize;
            let bytes = bytes
                .get(..size)
                .ok_or_else(|| wrong("is shorter than its frames"))?;
            return Ok(bytes.to_vec());
        }
        Codec::Rle => return rle::decoded(was, bytes),
        Codec::Jpeg => jpeg::decoded(was, is.photometric != was.photometric, bytes)?,
        Codec::JpegLs => jpeg_ls::decoded(was, bytes)?,
        Codec::Jpeg2000 => jpeg_2000::decoded(was, bytes)?,
        Codec::Fast => jpeg_2000::decoded_fast(was, bytes)?,
        Codec::JpegXl => jpeg_xl::decoded(was, bytes)?,
    };
    match was.width() {
        Some(1) => Ok(values.into_iter().map(|value| value as u8).collect()),
        Some(2) => Ok(values.into_iter().flat_map(u16::to_le_bytes).collect()),
        Some(_) | None => Err(unsupported("has values of a width that its codec has not")),
    }
}

/// About how many bytes of memory decoding one of these frames takes.
pub(crate) fn memory(syntax: &str, shape: &Shape, frames: &[Vec<Place>]) -> usize {
    let packed = frames
        .iter()
        .map(|frame| frame.iter().map(|place| place.length).sum::<u64>());
    let packed = usize::try_from(packed.max().unwrap_or_default()).unwrap_or(usize::MAX);
    // The values of a codec, as it has them and as two bytes each, and those that are handed on.
    let each = match codec(syntax) {
        // It has them as fractions too, and what it is put together of.
        Some(Codec::JpegXl) => 24,
        _ => 8,
    };
    packed.saturating_add(shape.values().saturating_mul(each))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Shape;

    /// Grey of so many bits, or colour.
    pub(crate) fn shape(rows: usize, columns: usize, samples: usize, bits: u32) -> Shape {
        Shape {
            rows,
            columns,
            samples,
            allocated: if bits <= 8 { 8 } else { 16 },
            stored: bits,
            high: bits - 1,
            is_signed: false,
            is_planar: false,
            photometric: if samples == 3 { "RGB" } else { "MONOCHROME2" }.to_owned(),
            frames: 1,
        }
    }
}
