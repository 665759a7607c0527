//! Bits of an entropy-coded segment, the highest first.

/// What follows a byte of ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuffing {
    /// A byte of zeros, which means nothing (JPEG, T.81 §F.1.2.3).
    Byte,
    /// A bit of zero, which means nothing (JPEG-LS, T.87 §9.1).
    Bit,
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    stuffing: Stuffing,
    held: u64,
    count: u32,
    was_ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], stuffing: Stuffing) -> Self {
        Bits {
            bytes,
            at: 0,
            stuffing,
            held: 0,
            count: 0,
            was_ones: false,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            let mut bits = 8;
            match self.stuffing {
                Stuffing::Byte if byte == 0xFF => match self.bytes.get(self.at + 1) {
                    Some(0) => self.at += 1,
                    Some(_) | None => return,
                },
                Stuffing::Byte => {}
                Stuffing::Bit if self.was_ones && 0x80 <= byte => return,
                Stuffing::Bit => {
                    if self.was_ones {
                        bits = 7;
                    }
                    // What begins a marker is no data.
                    if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|next| 0x80 <= *next) {
                        return;
                    }
                    self.was_ones = byte == 0xFF;
                }
            }
            self.at += 1;
            self.held = self.held << bits | u64::from(byte);
            self.count += bits;
        }
    }

    /// So many bits, at most 16, without taking them; what is behind the end is zero.
    pub(super) fn peek(&mut self, bits: u32) -> u32 {
        if self.count < bits {
            self.fill();
        }
        let value = match self.count < bits {
            true => self.held << (bits - self.count),
            false => self.held >> (self.count - bits),
        };
        (value & ((1 << bits) - 1)) as u32
    }

    /// Takes what was looked at; none: it was not there.
    pub(super) fn skip(&mut self, bits: u32) -> Option<()> {
        self.count = self.count.checked_sub(bits)?;
        Some(())
    }

    /// So many bits, at most 16.
    pub(super) fn take(&mut self, bits: u32) -> Option<u32> {
        if bits == 0 {
            return Some(0);
        }
        let value = self.peek(bits);
        self.skip(bits)?;
        Some(value)
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The marker that follows; the bits before it are passed over.
    pub(super) fn marker(&mut self) -> Option<u8> {
        self.held = 0;
        self.count = 0;
        self.was_ones = false;
        let mut at = self.at;
        loop {
            let rest = self.bytes.get(at..)?;
            let ones = rest.iter().position(|byte| *byte == 0xFF)?;
            at += ones + 1;
            match *self.bytes.get(at)? {
                0x00 | 0xFF => {}
                kind => {
                    self.at = at + 1;
                    return Some(kind);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_is_passed_over() {
        let mut bits = Bits::new(&[0xFF, 0x00, 0xA5, 0xFF, 0xD9, 1], Stuffing::Byte);
        assert_eq!(bits.take(12), Some(0xFFA));
        assert_eq!(bits.peek(8), 0x50);
        assert_eq!(bits.take(4), Some(5));
        assert_eq!(bits.take(1), None);
        assert_eq!((bits.marker(), bits.rest()), (Some(0xD9), &[1][..]));
        let mut bits = Bits::new(&[0xFF, 0x25, 0x80, 0xFF, 0xD9], Stuffing::Bit);
        assert_eq!(bits.take(15), Some(0xFF << 7 | 0x25));
        assert_eq!(bits.take(8), Some(0x80));
        assert_eq!(bits.take(1), None);
        assert_eq!((bits.marker(), bits.rest()), (Some(0xD9), &[][..]));
        assert_eq!(bits.marker(), None);
    }
}
