//! A DICOM message as Punte keeps it: a file of PS3.10 §7, with the data set as it was received behind a meta header
//! that says what it is. What came with a command that is no C-STORE carries that command too, as private information.

use std::borrow::Cow;
use std::io::Read;

use clinic::exchange::{MapError, Reason};
use dicom_core::{Tag, VR};

use super::charset::Fallback;
use super::dataset::{DataSet, trimmed};
use super::scan::{self, Coding, Event, Reached, Until};

/// Who wrote the meta header.
pub const IMPLEMENTATION_CLASS: &str = "2.25.270110421735561437259913574466317154481";
/// Who may say what the private information of the meta header is: here, a command set.
pub const COMMAND_CREATOR: &str = "2.25.141285237120467938461276031942765104873";

/// What GE writes by this name: implicit, with the pixels alone in big endian.
pub const GE_BIG_PIXELS: &str = "1.2.840.113619.5.2";
/// Explicit VR little endian.
pub(super) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// The most bytes that a deflated data set may have before its pixels.
pub(super) const MAX_INFLATED: usize = 64 * 1024 * 1024;
/// So many bytes are inflated at first, then twice as many each time.
const FIRST_INFLATED: usize = 256 * 1024;
/// The most bytes of a meta header: everything in it is short but for a command set.
const MAX_META: usize = 256 * 1024;

const PREAMBLE: usize = 128;

/// How a data set is packed, by its transfer syntax (PS3.5 annex A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// How elements are written.
    pub coding: Coding,
    /// True: the whole is deflated.
    pub deflated: bool,
}

/// How a transfer syntax packs a data set. Everything but three of them is explicit little endian with pixels of some
/// kind, also those that nobody here has heard of.
pub fn packing(syntax: &str) -> Packing {
    let (coding, deflated) = match syntax {
        "1.2.840.10008.1.2" => (Coding::IMPLICIT, false),
        GE_BIG_PIXELS => (Coding::IMPLICIT, false),
        "1.2.840.10008.1.2.2" => (Coding::BIG, false),
        // Deflated explicit, and those of JPIP that are deflated too.
        "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205" => {
            (Coding::EXPLICIT, true)
        }
        _ => (Coding::EXPLICIT, false),
    };
    Packing { coding, deflated }
}

/// What the meta header says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// SOP class.
    pub class: String,
    /// SOP instance.
    pub instance: String,
    /// Transfer syntax.
    pub syntax: String,
    /// Who wrote the file: (0002,0012).
    pub implementation: String,
    /// The AE title that it came from.
    pub calling: String,
    /// The AE title that it was sent to.
    pub called: String,
    /// The command set that it came with, where that is no C-STORE; in implicit little endian.
    pub command: Option<Vec<u8>>,
}

/// A message.
pub struct File<'a> {
    /// What the meta header says.
    pub meta: Meta,
    /// The bytes of the data set as they stand in the file.
    pub data: &'a [u8],
    /// At which byte of the file they begin.
    pub begins: usize,
    inflated: Option<Cow<'a, [u8]>>,
}

impl<'a> File<'a> {
    /// Reads the meta header. The data set is looked at by [`Self::data_set`] and [`Self::check`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, MapError> {
        let (meta, begins) = meta(bytes)?;
        let mut file = File {
            meta,
            data: &bytes[begins..],
            begins,
            inflated: None,
        };
        if packing(&file.meta.syntax).deflated {
            file.inflated = Some(Cow::Owned(inflate(file.data)?));
        }
        Ok(file)
    }

    /// How the data set is written.
    pub fn coding(&self) -> Coding {
        packing(&self.meta.syntax).coding
    }

    /// The bytes of the data set up to its pixels at least, inflated where they are deflated.
    pub fn plain(&self) -> &[u8] {
        self.inflated.as_deref().unwrap_or(self.data)
    }

    /// Whether the data set holds together, up to its pixels or to its end.
    pub fn check(&self, until: Until) -> Result<Reached, MapError> {
        let until = match self.inflated {
            // Of what is deflated only what comes before the pixels is there.
            Some(_) => Until::Pixels,
            None => until,
        };
        scan::check(self.plain(), self.coding(), until)
    }

    /// The data set up to its pixels.
    pub fn data_set(&self, fallback: Fallback) -> Result<DataSet<'_>, MapError> {
        DataSet::read(self.plain(), self.coding(), fallback)
    }

    /// The command set, where there is one.
    pub fn command_set(&self) -> Result<Option<DataSet<'_>>, MapError> {
        let Some(command) = &self.meta.command else {
            return Ok(None);
        };
        DataSet::read(command, Coding::IMPLICIT, Fallback::default()).map(Some)
    }
}

/// The meta header of a file whose beginning this is, and where its data set begins.
pub fn meta(bytes: &[u8]) -> Result<(Meta, usize), MapError> {
    let is_marked = bytes.get(PREAMBLE..PREAMBLE + 4) == Some(b"DICM");
    if !is_marked {
        let what = "is no DICOM file: `DICM` does not stand after its first 128 bytes";
        return Err(MapError::new(Reason::UnsupportedType, None, what));
    }
    let from = PREAMBLE + 4;
    let rest = &bytes[from..];
    let end = meta_end(rest)?;
    let mut meta = Meta::default();
    let mut creator = String::new();
    scan::walk(&rest[..end], Coding::EXPLICIT, Until::End, &mut |event| {
        let Event::Value(header, value) = event else {
            return;
        };
        let text = || trimmed(&String::from_utf8_lossy(value)).to_owned();
        match header.tag {
            Tag(2, 0x0002) => meta.class = text(),
            Tag(2, 0x0003) => meta.instance = text(),
            Tag(2, 0x0010) => meta.syntax = text(),
            Tag(2, 0x0012) => meta.implementation = text(),
            Tag(2, 0x0016) => meta.calling = text(),
            Tag(2, 0x0018) => meta.called = text(),
            Tag(2, 0x0100) => creator = text(),
            Tag(2, 0x0102) => meta.command = Some(value.to_vec()),
            _ => {}
        }
    })?;
    // What somebody else keeps there is no command.
    if creator != COMMAND_CREATOR {
        meta.command = None;
    }
    if meta.syntax.is_empty() {
        return Err(MapError::missing("0002,0010", "The transfer syntax"));
    }
    Ok((meta, from + end))
}

/// Where the meta header ends: by its group length, and where that is absent or wrong, where another group begins.
fn meta_end(bytes: &[u8]) -> Result<usize, MapError> {
    if let Some(head) = bytes.first_chunk::<12>()
        && head[..8] == *b"\x02\0\0\0UL\x04\0"
    {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let end = 12 + length.min(MAX_META);
        let group = bytes.get(..end);
        if let Some(group) = group
            && only_meta(group)
            && !goes_on(&bytes[end..])
        {
            return Ok(end);
        }
    }
    let mut at = 0;
    while bytes.get(at..at + 2) == Some(&[2, 0]) && at < MAX_META {
        let wrong = || {
            let what = format!("the meta header can't be read at byte {at} of it");
            MapError::new(Reason::DataType, Some("0002"), what)
        };
        let header = bytes.get(at..at + 8).ok_or_else(wrong)?;
        let vr = VR::from_binary([header[4], header[5]]).ok_or_else(wrong)?;
        let length = match scan::is_long(vr) {
            false => 8 + usize::from(u16::from_le_bytes([header[6], header[7]])),
            true => {
                let length = bytes.get(at + 8..at + 12).and_then(|l| l.first_chunk::<4>());
                12 + u32::from_le_bytes(*length.ok_or_else(wrong)?) as usize
            }
        };
        at = at
            .checked_add(length)
            .filter(|end| *end <= bytes.len())
            .ok_or_else(wrong)?;
    }
    Ok(at)
}

/// True where another element of a meta header follows.
fn goes_on(bytes: &[u8]) -> bool {
    bytes.get(..6).is_some_and(|next| {
        next[..2] == [2, 0] && next[3] <= 1 && next[4..].iter().all(u8::is_ascii_uppercase)
    })
}

/// True where all of it is whole elements of the group of meta headers.
fn only_meta(bytes: &[u8]) -> bool {
    let mut only = true;
    let walked = scan::walk(bytes, Coding::EXPLICIT, Until::End, &mut |event| match event {
        Event::Value(header, _) => only &= header.tag.0 == 2,
        Event::Begin(_) | Event::Fragments(..) | Event::Pixels(..) => only = false,
        Event::Item | Event::ItemEnd | Event::End(_) => {}
    });
    only && walked.is_ok()
}

/// Inflates up to the pixels (PS3.5 A.5: raw deflate of the whole). A bomb is refused at [`MAX_INFLATED`].
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, MapError> {
    let mut reader = flate2::read::DeflateDecoder::new(bytes);
    let mut out = vec![];
    let mut limit = FIRST_INFLATED;
    let wrong = |what: &str| MapError::new(Reason::DataType, None, format!("the deflated data set {what}"));
    loop {
        let wanted = limit - out.len();
        let read = reader.by_ref().take(wanted as u64).read_to_end(&mut out);
        let ended = match read {
            Ok(read) => read < wanted,
            // Cut in its pixels, as the beginning of a long one is: enough where the pixels have begun.
            Err(_) => {
                return match scan::check(&out, Coding::EXPLICIT, Until::Pixels) {
                    Ok(Reached::Pixels(_)) => Ok(out),
                    Ok(Reached::End) | Err(_) => Err(wrong("can't be inflated")),
                };
            }
        };
        if ended
            || matches!(
                scan::check(&out, Coding::EXPLICIT, Until::Pixels),
                Ok(Reached::Pixels(_))
            )
        {
            return Ok(out);
        }
        if MAX_INFLATED <= limit {
            let what = format!("has more than {MAX_INFLATED} bytes before its pixels");
            return Err(wrong(&what));
        }
        limit = (limit * 2).min(MAX_INFLATED);
    }
}

/// Inflates all of it, the pixels too. What is cut, or has more than so many bytes, is refused.
pub(super) fn inflate_whole(bytes: &[u8], most: usize) -> Result<Vec<u8>, MapError> {
    let wrong = |what: &str| MapError::new(Reason::DataType, None, format!("the deflated data set {what}"));
    let mut inflating = flate2::Decompress::new(false);
    let mut out = Vec::with_capacity(FIRST_INFLATED);
    loop {
        let consumed = usize::try_from(inflating.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(consumed..).unwrap_or_default();
        let before = out.len();
        let status = inflating
            .decompress_vec(rest, &mut out, flate2::FlushDecompress::None)
            .map_err(|_| wrong("can't be inflated"))?;
        match status {
            flate2::Status::StreamEnd => return Ok(out),
            _ if most <= out.len() => {
                let what = format!("has more than {most} bytes, and can't be written anew");
                return Err(wrong(&what));
            }
            _ if out.len() == out.capacity() => out.reserve(out.len().min(most)),
            _ if before == out.len() => {
                return Err(wrong(
                    "is not here as a whole, and can't be written anew: it is too long, or was cut",
                ));
            }
            flate2::Status::Ok | flate2::Status::BufError => {}
        }
    }
}

/// Deflates a data set (PS3.5 A.5), padded to an even length.
pub(super) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::default());
    // Writing to memory does not fail.
    let written = std::io::Write::write_all(&mut writer, bytes).and_then(|()| writer.finish());
    let mut out = written.unwrap_or_default();
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

impl Meta {
    /// What it says at a tag that is known here.
    pub fn values(&self, tag: Tag) -> Vec<String> {
        let text = match tag {
            Tag(2, 0x0002) => &self.class,
            Tag(2, 0x0003) => &self.instance,
            Tag(2, 0x0010) => &self.syntax,
            Tag(2, 0x0012) => &self.implementation,
            Tag(2, 0x0016) => &self.calling,
            Tag(2, 0x0018) => &self.called,
            _ => return vec![],
        };
        Some(text.clone())
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect()
    }

    /// The preamble and the meta header: what is written before the data set.
    pub fn written(&self) -> Vec<u8> {
        let mut group = vec![];
        let mut long = |element: u16, value: &[u8]| {
            group.extend(2u16.to_le_bytes());
            group.extend(element.to_le_bytes());
            group.extend(b"OB\0\0");
            group.extend((value.len() as u32).to_le_bytes());
            group.extend(value);
        };
        long(0x0001, &[0, 1]);
        let mut short = |element: u16, vr: &[u8; 2], text: &str| {
            let mut value = text.as_bytes().to_vec();
            if value.len() % 2 == 1 {
                value.push(if vr == b"UI" { 0 } else { b' ' });
            }
            group.extend(2u16.to_le_bytes());
            group.extend(element.to_le_bytes());
            group.extend(vr);
            group.extend((value.len() as u16).to_le_bytes());
            group.extend(value);
        };
        short(0x0002, b"UI", &self.class);
        short(0x0003, b"UI", &self.instance);
        short(0x0010, b"UI", &self.syntax);
        short(0x0012, b"UI", IMPLEMENTATION_CLASS);
        for (element, title) in [(0x0016, &self.calling), (0x0018, &self.called)] {
            if !title.is_empty() {
                short(element, b"AE", title);
            }
        }
        if let Some(command) = &self.command {
            short(0x0100, b"UI", COMMAND_CREATOR);
            group.extend(b"\x02\0\x02\x01OB\0\0");
            group.extend((command.len() as u32).to_le_bytes());
            group.extend(command);
        }
        let mut out = vec![0; PREAMBLE];
        out.extend(b"DICM\x02\0\0\0UL\x04\0");
        out.extend((group.len() as u32).to_le_bytes());
        out.extend(group);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn meta(syntax: &str) -> Meta {
        Meta {
            class: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
            instance: "2.25.7".to_owned(),
            syntax: syntax.to_owned(),
            implementation: IMPLEMENTATION_CLASS.to_owned(),
            calling: "CT1".to_owned(),
            called: "PUNTE".to_owned(),
            command: None,
        }
    }

    fn name(set: &File<'_>) -> Option<String> {
        set.data_set(Fallback::default()).ok()?.text(Tag(0x10, 0x10))
    }

    const DATA: &[u8] = b"\x10\0\x10\0PN\x04\0Pop ";

    #[test]
    fn what_is_written_is_read() {
        let mut meta = meta("1.2.840.10008.1.2.1");
        for command in [None, Some(b"\0\0\0\x01\x02\0\0\0\x20\0".to_vec())] {
            meta.command = command;
            let bytes = [meta.written(), DATA.to_vec()].concat();
            let file = File::read(&bytes).expect("right");
            assert!(file.meta == meta);
            assert_eq!((file.data, file.begins), (DATA, bytes.len() - DATA.len()));
            assert_eq!(name(&file).as_deref(), Some("Pop"));
            let command = file.command_set().expect("right");
            assert_eq!(
                command.and_then(|set| set.number(Tag(0, 0x100))),
                meta.command.as_ref().map(|_| 0x20)
            );
        }
    }

    #[test]
    fn a_wrong_group_length_is_seen_through() {
        let mut bytes = [meta("1.2.840.10008.1.2.1").written(), DATA.to_vec()].concat();
        for wrong in [0, 7, 5_000, u32::MAX] {
            bytes[140..144].copy_from_slice(&wrong.to_le_bytes());
            let file = File::read(&bytes).expect("right");
            assert_eq!(name(&file).as_deref(), Some("Pop"), "{wrong}");
        }
        assert!(File::read(&bytes[..131]).is_err());
        assert!(File::read(DATA).is_err());
    }

    fn deflated(data: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::best());
        writer.write_all(data).expect("memory");
        let packed = writer.finish().expect("memory");
        [meta("1.2.840.10008.1.2.1.99").written(), packed].concat()
    }

    #[test]
    fn all_that_is_deflated_is_inflated_or_refused() {
        let noise: Vec<u8> = (0u32..200_000)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for data in [DATA, &noise, &vec![7; 3_000_000]] {
            let packed = deflate(data);
            assert_eq!(packed.len() % 2, 0);
            assert!(inflate_whole(&packed, MAX_INFLATED).expect("right") == data);
            let cut = inflate_whole(&packed[..packed.len() / 2], MAX_INFLATED);
            assert!(cut.is_err_and(|error| error.what.contains("not here as a whole")));
        }
        let bomb = inflate_whole(&deflate(&vec![0; MAX_INFLATED + FIRST_INFLATED]), MAX_INFLATED);
        assert!(bomb.is_err_and(|error| error.what.contains("more than")));
        assert!(inflate_whole(&[0xFF; 40], MAX_INFLATED).is_err());
    }

    #[test]
    fn what_is_deflated_is_read_up_to_its_pixels() {
        assert_eq!(
            name(&File::read(&deflated(DATA)).expect("right")).as_deref(),
            Some("Pop")
        );
        let pixels = [DATA, b"\xE0\x7F\x10\0OW\0\0\0\0\0\x01", &vec![7; 0x0100_0000][..]].concat();
        let packed = deflated(&pixels);
        let file = File::read(&packed).expect("right");
        assert_eq!(name(&file).as_deref(), Some("Pop"));
        assert!(file.plain().len() <= 2 * FIRST_INFLATED);
        // The beginning of it alone.
        let file = File::read(&packed[..packed.len() / 2]).expect("right");
        assert_eq!(name(&file).as_deref(), Some("Pop"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = [
            b"\x10\0\x10\0UT\0\0\xF0\xFF\xFF\x0F".to_vec(),
            vec![b' '; MAX_INFLATED + 10],
        ]
        .concat();
        let error = File::read(&deflated(&bomb)).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("more than 67108864 bytes")));
        let broken = [meta("1.2.840.10008.1.2.1.99").written(), vec![0xFF; 40]].concat();
        assert!(File::read(&broken).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = File::read(&bytes);
            for syntax in ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.3"] {
                let whole = [meta(syntax).written(), bytes.clone()].concat();
                if let Ok(file) = File::read(&whole) {
                    let _ = file.check(Until::End);
                    let _ = file.data_set(Fallback::default());
                    prop_assert_eq!(&file.meta.syntax, syntax);
                }
            }
        }
    }
}
