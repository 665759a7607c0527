//! What a message of DICOM is inside Punte: a file (PS3.10 7.1). 128 zeros, `DICM`, group 2 in explicit little endian, and
//! then the data set exactly as it came. Nothing of the data set is looked at.

use bytes::{Buf, Bytes};
use dimse::{AeTitle, uids};

/// Under this creator the meta group carries the command of what is no C-STORE: (0002,0100), and in (0002,0102) the bytes of
/// the command set as they came (implicit little endian).
pub const COMMAND_CREATOR: &str = "2.25.141285237120467938461276031942765104873";

/// Preamble and prefix.
const PREFIX: usize = 132;
/// The longest meta group that is read.
const LONGEST_META: usize = 128 * 1024;

/// The meta group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// (0002,0002)
    pub class: String,
    /// (0002,0003); empty for a question.
    pub instance: String,
    /// (0002,0010)
    pub syntax: String,
    /// (0002,0102) of our own creator: what is no C-STORE.
    pub command: Option<Bytes>,
}

/// The file up to its data set.
pub fn head(meta: &Meta, calling: &AeTitle, called: &AeTitle) -> Vec<u8> {
    let mut group = Vec::with_capacity(256);
    element(0x0001, b"OB", &[0, 1], 0, &mut group);
    element(0x0002, b"UI", meta.class.as_bytes(), 0, &mut group);
    element(0x0003, b"UI", meta.instance.as_bytes(), 0, &mut group);
    element(0x0010, b"UI", meta.syntax.as_bytes(), 0, &mut group);
    element(
        0x0012,
        b"UI",
        uids::IMPLEMENTATION_CLASS.as_bytes(),
        0,
        &mut group,
    );
    element(0x0016, b"AE", calling.as_str().as_bytes(), b' ', &mut group);
    element(0x0018, b"AE", called.as_str().as_bytes(), b' ', &mut group);
    if let Some(command) = &meta.command {
        element(0x0100, b"UI", COMMAND_CREATOR.as_bytes(), 0, &mut group);
        element(0x0102, b"OB", command, 0, &mut group);
    }
    let mut head = vec![0; 128];
    head.extend(b"DICM");
    let length = u32::try_from(group.len()).unwrap_or(u32::MAX);
    element(0x0000, b"UL", &length.to_le_bytes(), 0, &mut head);
    head.extend(group);
    head
}

/// Explicit VR little endian (PS3.5 7.1.2): OB has a long length, the others a short one.
fn element(number: u16, vr: &[u8; 2], value: &[u8], pad: u8, out: &mut Vec<u8>) {
    out.extend([2, 0]);
    out.extend(number.to_le_bytes());
    out.extend(vr);
    let padded = value.len() + value.len() % 2;
    if vr == b"OB" {
        out.extend([0, 0]);
        out.extend(u32::try_from(padded).unwrap_or(u32::MAX).to_le_bytes());
    } else {
        // UIDs and titles: at most a few hundred bytes, whatever a peer sends.
        out.extend(u16::try_from(padded).unwrap_or(u16::MAX).to_le_bytes());
    }
    out.extend_from_slice(value);
    if padded != value.len() {
        out.push(pad);
    }
}

/// Reads the meta group and says where the data set begins.
pub fn read(file: &Bytes) -> Result<(Meta, usize), &'static str> {
    if file.len() < PREFIX || &file[128..PREFIX] != b"DICM" {
        return Err("it is no DICOM file: DICM does not stand after 128 bytes");
    }
    let mut rest = file.slice(PREFIX..file.len().min(PREFIX + LONGEST_META));
    let (mut meta, mut creator) = (Meta::default(), String::new());
    let mut at = PREFIX;
    let mut command = None;
    // By the groups of the elements: the group length is wrong in many a file.
    while rest.len() >= 8 && rest[..2] == [2, 0] {
        let before = rest.len();
        rest.advance(2);
        let number = rest.get_u16_le();
        let vr = [rest.get_u8(), rest.get_u8()];
        let length = match &vr {
            b"OB" | b"OW" | b"UN" | b"SQ" | b"UT" | b"OF" | b"OD" | b"OL" | b"UC" | b"UR" => {
                if rest.len() < 6 {
                    return Err(CUT);
                }
                rest.advance(2);
                rest.get_u32_le() as usize
            }
            _ => usize::from(rest.get_u16_le()),
        };
        if rest.len() < length {
            return Err(CUT);
        }
        let value = rest.split_to(length);
        match number {
            0x0002 => meta.class = text(&value),
            0x0003 => meta.instance = text(&value),
            0x0010 => meta.syntax = text(&value),
            0x0100 => creator = text(&value),
            0x0102 => command = Some(value),
            _ => {}
        }
        at += before - rest.len();
    }
    if meta.class.is_empty() || meta.syntax.is_empty() {
        return Err("its meta group (0002) names no class or no transfer syntax");
    }
    meta.command = command.filter(|_| creator == COMMAND_CREATOR);
    Ok((meta, at))
}

const CUT: &str = "its meta group (0002) ends inside an element";

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_matches(['\0', ' '])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ae(title: &str) -> AeTitle {
        AeTitle::from_wire(title.as_bytes())
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        for command in [None, Some(Bytes::from_static(b"odd"))] {
            let meta = Meta {
                class: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
                instance: "2.25.1".to_owned(),
                syntax: uids::EXPLICIT_LITTLE.to_owned(),
                command: command.clone(),
            };
            let mut file = head(&meta, &ae("CT"), &ae("PUNTE"));
            let length = u32::from_le_bytes([file[140], file[141], file[142], file[143]]) as usize;
            assert_eq!(file.len(), 144 + length);
            let begins = file.len();
            file.extend(b"\x08\0\x16\0data set");
            let (read, at) = read(&file.into()).expect("a file");
            assert_eq!(at, begins);
            let padded = command.map(|_| Bytes::from_static(b"odd\0"));
            assert_eq!(
                read,
                Meta {
                    command: padded,
                    ..meta
                }
            );
        }
    }

    #[test]
    fn what_is_no_file() {
        let meta = Meta {
            class: "1.2".to_owned(),
            instance: String::new(),
            syntax: "1.2.3".to_owned(),
            command: None,
        };
        let whole = head(&meta, &ae(""), &ae(""));
        assert!(read(&whole.clone().into()).is_ok());
        for end in 0..whole.len() {
            // Cut between elements it may still have what is needed; never a panic.
            let _ = read(&Bytes::copy_from_slice(&whole[..end]));
        }
        for wrong in [&b""[..], b"MSH|", &[0; 200]] {
            assert!(read(&Bytes::copy_from_slice(wrong)).is_err());
        }
        let lies = [&whole[..PREFIX], b"\x02\0\x01\0OB\0\0\xff\xff\xff\xff"].concat();
        assert!(read(&lies.into()).is_err());
    }
}
