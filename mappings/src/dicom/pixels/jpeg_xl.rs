//! JPEG XL (ISO/IEC 18181; PS3.5 §8.2.16 and 8.2.17), by `jxl`, the decoder of those who write the format: of an image alone,
//! without vectors of the processor.
//!
//! Absent: values below zero, which the format has not, and what no image of DICOM has: animation, transparency.

use clinic::exchange::MapError;
use jxl::api::{
    Endianness, Event, JxlBitDepth, JxlColorType, JxlDataFormat, JxlDecoder, JxlDecoderOptions,
    JxlOutputBuffer, JxlPixelFormat, ProfileLevel,
};

use super::{Shape, unsupported, wrong};

/// So many values beyond those of the image may be in what it is put together of.
const MORE_VALUES: usize = 1 << 16;

fn broken<E>(_: E) -> MapError {
    wrong("has a JPEG XL that is cut, broken, or of a kind that is not decoded here")
}

/// The values of a frame, colour by pixel.
pub(super) fn decoded(shape: &Shape, bytes: &[u8]) -> Result<Vec<u16>, MapError> {
    if shape.is_signed {
        return Err(unsupported("has a JPEG XL of values that may be below zero"));
    }
    let mut options = JxlDecoderOptions::default();
    // As it lies: what an object shows which way up, it says itself.
    options.adjust_orientation = false;
    options.high_precision = true;
    options.max_profile_level = ProfileLevel::Main10;
    options.sample_limit = Some(shape.values() + MORE_VALUES);
    let mut decoder = JxlDecoder::new(options);
    let mut rest = bytes;
    if decoder.process(&mut rest, None, None).map_err(broken)? != Event::BasicInfo {
        return Err(broken(()));
    }
    let info = decoder.basic_info().ok_or_else(|| broken(()))?;
    if info.size != (shape.columns, shape.rows) {
        return Err(wrong("has a JPEG XL of another size than the object says"));
    }
    if !info.extra_channels.is_empty() || info.animation.is_some() {
        return Err(unsupported("has a JPEG XL that is more than an image"));
    }
    let bits = match info.bit_depth {
        JxlBitDepth::Int { bits_per_sample } => bits_per_sample,
        JxlBitDepth::Float { .. } => return Err(unsupported("has a JPEG XL of fractions")),
    };
    if bits == 0 || shape.allocated.min(16) < bits {
        return Err(wrong("has a JPEG XL of more bits than the object says"));
    }
    let is_grey = decoder
        .current_pixel_format()
        .is_some_and(|format| format.color_type.is_grayscale());
    let color_type = match (shape.samples, is_grey) {
        (1, true) => JxlColorType::Grayscale,
        (3, false) => JxlColorType::Rgb,
        _ => return Err(wrong("has a JPEG XL of other colours than the object says")),
    };
    // Its own bits: nothing is scaled.
    let color_data_format = Some(JxlDataFormat::U16 {
        endianness: Endianness::LittleEndian,
        bit_depth: bits as u8,
    });
    let format = JxlPixelFormat {
        color_type,
        color_data_format,
        extra_channel_format: vec![],
    };
    decoder.set_pixel_format(format).map_err(broken)?;
    let values = pixels(&mut decoder, rest, shape)?;
    let values = values.chunks_exact(2);
    Ok(values.map(|two| u16::from_le_bytes([two[0], two[1]])).collect())
}

/// Two bytes for each value.
fn pixels(decoder: &mut JxlDecoder, mut rest: &[u8], shape: &Shape) -> Result<Vec<u8>, MapError> {
    let size = 2 * shape.values();
    let mut room = vec![0; size + 1];
    // The decoder writes values of two bytes where such lie.
    let from = room.as_ptr().align_offset(2).min(1);
    let mut is_there = false;
    loop {
        let into = &mut room[from..from + size];
        let into = JxlOutputBuffer::new(into, shape.rows, 2 * shape.columns * shape.samples);
        match decoder
            .process(&mut rest, Some(&mut [into]), None)
            .map_err(broken)?
        {
            Event::FrameHeader | Event::BasicInfo => {}
            Event::FrameComplete {
                has_more_frames: false,
            } => is_there = true,
            Event::Complete if is_there => break,
            Event::FrameComplete { .. } | Event::Complete | Event::NeedMoreInput { .. } => {
                return Err(broken(()));
            }
        }
    }
    room.drain(..from);
    room.truncate(size);
    Ok(room)
}
