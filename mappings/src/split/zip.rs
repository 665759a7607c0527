//! ZIP archives: their files, inflated within the limits. What an archive says of its sizes is not believed.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};
use clinic::exchange::MapError;

use super::{Limits, Part, Parts, wrong};

/// What any entry may become, however small it is in the archive.
const SMALL: usize = 1 << 20;

pub(super) fn split<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Vec<Part<'a>>, MapError> {
    let whole = "archive";
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|_| wrong(whole, "not a ZIP archive that can be read; it may be cut"))?;
    if archive.has_duplicate_names() {
        return Err(wrong(
            whole,
            "two entries have one name, so that nobody knows which one counts",
        ));
    }
    let mut parts = Parts::new(limits);
    for index in 0..archive.len() {
        let place = format!("entry {}", index + 1);
        let mut entry = archive.by_index(index).map_err(|error| told(&place, &error))?;
        if entry.is_dir() {
            continue;
        }
        match entry.compression() {
            CompressionMethod::Stored | CompressionMethod::Deflated => {}
            _ => {
                return Err(wrong(
                    &place,
                    "compressed by a method that is not read here; deflate is",
                ));
            }
        }
        parts.room(&place, 0)?;
        let packed = usize::try_from(entry.compressed_size())
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let by_ratio = packed.saturating_mul(limits.ratio).max(SMALL);
        let left = limits.total_bytes.saturating_sub(parts.total);
        let most = by_ratio.min(limits.part_bytes).min(left);
        let mut inflated = Vec::new();
        let read = (&mut entry)
            .take(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1))
            .read_to_end(&mut inflated);
        if read.is_err() {
            return Err(wrong(
                &place,
                "it is damaged: it does not inflate to what its checksum says",
            ));
        }
        if by_ratio < inflated.len() {
            let what = format!("it inflates to more than {} times its size", limits.ratio);
            return Err(wrong(&place, what));
        }
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
        };
        parts.push(place, Some(name), Cow::Owned(inflated))?;
    }
    Ok(parts.parts)
}

fn told(place: &str, error: &ZipError) -> MapError {
    match error {
        ZipError::UnsupportedArchive(what) if *what == ZipError::PASSWORD_REQUIRED => {
            wrong(place, "it is encrypted; have it sent without a password")
        }
        ZipError::UnsupportedArchive(_) => wrong(
            place,
            "packed in a way that is not read here; deflate without a password is",
        ),
        _ => wrong(place, "it is damaged"),
    }
}
