//! JPEG 2000 (T.800), by `hayro-jpeg2000`, and its fast kind (HTJ2K, T.814), by `dicom-toolkit-jpeg2000`, which began as a copy of
//! that. Neither has unsafe code.

use clinic::exchange::MapError;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::{Shape, unsupported, wrong};

/// The most tiles of an image: each takes memory before anything of it is decoded.
const MOST_TILES: u64 = 4_096;

/// What the code stream says of its size (T.800 §A.5.1).
struct Size {
    columns: u64,
    rows: u64,
    tiles: u64,
    /// Precision of each component, and whether it may be below zero.
    components: Vec<(u32, bool)>,
}

/// The code stream, without the boxes of a file around it, which the standard does not want and some writers leave, and which say of
/// its colours what the object says better.
fn stream(bytes: &[u8]) -> &[u8] {
    let begins = bytes.windows(4).position(|four| four == b"\xFF\x4F\xFF\x51");
    begins.map_or(&[], |begins| &bytes[begins..])
}

fn size(stream: &[u8]) -> Option<Size> {
    let four = |at: usize| {
        let four = stream.get(at..at + 4)?.first_chunk::<4>()?;
        Some(u64::from(u32::from_be_bytes(*four)))
    };
    let [x, y, x_from, y_from] = [four(8)?, four(12)?, four(16)?, four(20)?];
    let [tile_x, tile_y] = [four(24)?.max(1), four(28)?.max(1)];
    let count = usize::from(u16::from_be_bytes(*stream.get(40..42)?.first_chunk()?));
    let components = stream.get(42..42 + 3 * count)?.chunks_exact(3);
    let components = components.map(|one| (u32::from(one[0] & 0x7F) + 1, one[0] & 0x80 != 0));
    Some(Size {
        columns: x.checked_sub(x_from)?,
        rows: y.checked_sub(y_from)?,
        tiles: x.div_ceil(tile_x).saturating_mul(y.div_ceil(tile_y)),
        components: components.collect(),
    })
}

/// What a code stream says of itself, where it is what the object says.
fn checked(shape: &Shape, bytes: &[u8]) -> Result<Size, MapError> {
    let size = size(bytes).ok_or_else(|| wrong("is no JPEG 2000"))?;
    if (size.rows, size.columns, size.components.len())
        != (shape.rows as u64, shape.columns as u64, shape.samples)
    {
        return Err(wrong("has a JPEG 2000 of another size than the object says"));
    }
    if size
        .components
        .iter()
        .any(|(bits, _)| shape.allocated.min(16) < *bits)
    {
        return Err(wrong("has a JPEG 2000 of more bits than the object says"));
    }
    if MOST_TILES < size.tiles {
        return Err(unsupported("has a JPEG 2000 of more tiles than are decoded here"));
    }
    Ok(size)
}

fn broken<E>(_: E) -> MapError {
    wrong("has a JPEG 2000 that is cut, broken, or of a kind that is not decoded here")
}

/// The values of a frame of the fast kind, colour by pixel.
pub(super) fn decoded_fast(shape: &Shape, bytes: &[u8]) -> Result<Vec<u16>, MapError> {
    let bytes = stream(bytes);
    let size = checked(shape, bytes)?;
    let first = size.components.first().copied().unwrap_or((0, false));
    if size.components.iter().any(|component| *component != first) {
        return Err(unsupported("has a JPEG 2000 whose colours differ in their bits"));
    }
    let settings = dicom_toolkit_jpeg2000::DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let image = dicom_toolkit_jpeg2000::Image::new(bytes, &settings).map_err(broken)?;
    let decoded = image.decode_native().map_err(broken)?;
    let values: Vec<u16> = match decoded.bytes_per_sample {
        1 => decoded.data.into_iter().map(u16::from).collect(),
        _ => {
            let values = decoded.data.chunks_exact(2);
            values.map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
        }
    };
    if values.len() != shape.values() {
        return Err(wrong("has a JPEG 2000 with fewer values of one colour"));
    }
    let (bits, is_signed) = first;
    // Values below zero come moved up by half the range.
    let moved = if is_signed { 1_u16 << (bits - 1) } else { 0 };
    Ok(values
        .into_iter()
        .map(|value| value.wrapping_sub(moved))
        .collect())
}

/// The values of a frame, colour by pixel.
pub(super) fn decoded(shape: &Shape, bytes: &[u8]) -> Result<Vec<u16>, MapError> {
    let bytes = stream(bytes);
    let size = checked(shape, bytes)?;
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let image = Image::new(bytes, &settings).map_err(broken)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(broken)?;
    let components = decoded.components();
    let pixels = shape.rows * shape.columns;
    if components.len() != shape.samples || components.iter().any(|one| one.samples().len() < pixels) {
        return Err(wrong("has a JPEG 2000 with fewer values of one colour"));
    }
    let mut out = vec![0; shape.values()];
    for (number, (component, (bits, is_signed))) in components.iter().zip(size.components).enumerate() {
        let most = ((1_u32 << bits) - 1) as f32;
        // Values below zero come moved up by half the range.
        let moved = if is_signed { 1 << (bits - 1) } else { 0 };
        let places = out.iter_mut().skip(number).step_by(shape.samples);
        for (place, value) in places.zip(component.samples()) {
            let value = value.round().clamp(0.0, most) as i32 - moved;
            *place = (value & 0xFFFF) as u16;
        }
    }
    Ok(out)
}
