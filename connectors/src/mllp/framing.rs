//! MLLP framing: `<VT> body <FS><CR>` (HL7 MLLP release 1, §2.1). Knows nothing of HL7.
//!
//! A body holds neither VT (0x0B) nor FS (0x1C): VT starts a frame even where the last was never ended, and FS ends one
//! where a CR, other white space, another mark or nothing follows. What lies between frames is white space (ignored) or
//! stray bytes (handed out, so that they can be kept and reported).
//!
//! Of what is received as a message ([`Framer::careful`]) FS does not end a frame where another byte follows at once: half
//! of a message would be taken for the whole. That nothing follows, only time tells ([`Framer::end_here`]). An answer ends
//! at its FS.
//!
//! Each byte is looked at once, and the same bytes give the same pieces however they were cut into packets.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Starts a frame.
pub const START: u8 = 0x0B;
/// Ends a frame; a CR follows, or should.
pub const END: u8 = 0x1C;
/// Follows [`END`].
pub const CR: u8 = 0x0D;
/// Of what can't be a message, this much is kept: 256 KB.
pub const KEPT: usize = 256 * 1024;

/// Buffers longer than this are given back once they are empty.
const KEEP_CAPACITY: usize = 64 * 1024;

/// What the bytes of a connection come to.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// The body of a whole frame, never empty (an empty frame says nothing and is passed over).
    Frame(Bytes),
    /// Something that is no frame.
    Damaged(Damaged),
}

/// What came and is no frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What is wrong with it.
    pub damage: Damage,
    /// The first [`KEPT`] bytes of it.
    pub kept: Bytes,
    /// How many bytes there were.
    pub length: usize,
}

/// What is wrong with bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A new frame started before this one was ended.
    Unfinished,
    /// Bytes before the start of a frame.
    Between,
    /// FS stands in the middle of it.
    EndInside,
    /// Ended by FS, never started by VT.
    NoStart,
    /// The frame is over the limit. Nothing more can be read from this connection.
    TooLong,
    /// More than [`KEPT`] bytes without the start of a frame. Nothing more can be read from this connection.
    Flood,
    /// A frame that was started and whose end never came (time-out, or the connection ended).
    NoEnd,
    /// Bytes, and then neither the start nor the end of a frame (time-out, or the connection ended).
    NoFrame,
}

impl Damaged {
    fn new(damage: Damage, bytes: &[u8]) -> Self {
        Damaged {
            damage,
            kept: Bytes::copy_from_slice(&bytes[..bytes.len().min(KEPT)]),
            length: bytes.len(),
        }
    }

    /// A sentence for whoever looks at it later.
    pub fn why(&self, limit: usize) -> String {
        let length = self.length;
        match self.damage {
            Damage::Unfinished => format!(
                "MLLP: a new frame started (0x0B) after {length} bytes of this one, before its end (0x1C 0x0D). What \
                 came of it is kept; the sender has had no answer to it."
            ),
            Damage::Between => format!(
                "MLLP: {length} bytes before the start of a frame (0x0B). They are kept and belong to no message."
            ),
            Damage::EndInside => format!(
                "MLLP: 0x1C, which ends a frame with 0x0D after it, stands in the middle of this one of {length} bytes. \
                 Nothing of it is taken; have the sender leave such bytes out."
            ),
            Damage::NoStart => format!(
                "MLLP: {length} bytes ended by 0x1C that no 0x0B started. Have the sender put 0x0B before each message."
            ),
            Damage::TooLong => format!(
                "MLLP: the frame is over the limit of {limit} bytes; its beginning is kept. Raise `max_frame` if such \
                 messages are to be taken."
            ),
            Damage::Flood => format!(
                "MLLP: {length} bytes without the start of a frame (0x0B). Whatever sends them does not speak MLLP."
            ),
            Damage::NoEnd => format!(
                "MLLP: the frame was not ended (0x1C 0x0D) in time, or was broken off; {length} bytes came. The sender has \
                 to send it again."
            ),
            Damage::NoFrame => format!(
                "MLLP: {length} bytes came that no 0x0B started and no 0x1C ended. Have the sender frame each message."
            ),
        }
    }
}

/// Takes the bytes of one connection apart.
pub struct Framer {
    limit: usize,
    buffer: BytesMut,
    /// So many bytes at the front of the buffer hold no mark.
    scanned: usize,
    /// The buffer starts with the first byte of a body.
    inside: bool,
    /// Nothing more is read after [`Damage::TooLong`] and [`Damage::Flood`].
    lost: bool,
    /// FS ends a frame only where nothing, white space or a mark follows.
    careful: bool,
    /// The frame under way has an FS in its middle.
    is_broken: bool,
    /// The last byte of the buffer is an FS that ends the frame if nothing follows.
    may_end: bool,
}

impl Framer {
    /// Takes bodies of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Framer {
            limit,
            buffer: BytesMut::new(),
            scanned: 0,
            inside: false,
            lost: false,
            careful: false,
            is_broken: false,
            may_end: false,
        }
    }

    /// The same, for messages: an FS with another byte behind it ends none.
    pub fn careful(limit: usize) -> Self {
        Framer {
            careful: true,
            ..Self::new(limit)
        }
    }

    /// Whether a frame is whole if nothing follows.
    pub fn may_end(&self) -> bool {
        self.may_end
    }

    /// Nothing has followed: the frame that may end here has ended.
    pub fn end_here(&mut self) -> Option<Piece> {
        if !self.may_end {
            return None;
        }
        // As if its sender had ended it as it should be.
        self.buffer.put_u8(CR);
        let piece = self.next_piece();
        self.buffer.clear();
        piece
    }

    /// Where the next bytes of the connection are to be appended, with room for some.
    pub fn room(&mut self) -> &mut BytesMut {
        let room = if KEEP_CAPACITY < self.buffer.len() {
            64 * 1024
        } else {
            8 * 1024
        };
        self.buffer.reserve(room);
        &mut self.buffer
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// How many bytes wait for their end.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Nothing has been begun. Tells the truth after `next` has given `None`.
    pub fn is_between(&self) -> bool {
        !self.inside && self.buffer.is_empty()
    }

    /// After [`Damage::TooLong`] and [`Damage::Flood`]: nothing more can be read.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// What the bytes so far come to; none: more of them are needed.
    pub fn next_piece(&mut self) -> Option<Piece> {
        while !self.lost {
            if !self.inside && self.scanned == 0 {
                let noise = self.buffer.iter().take_while(|byte| is_noise(**byte)).count();
                self.buffer.advance(noise);
            }
            let limit = if self.inside { self.limit } else { KEPT };
            let Some(at) = memchr::memchr2(START, END, &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                if limit < self.scanned {
                    return Some(self.over_limit());
                }
                if self.buffer.is_empty() && KEEP_CAPACITY < self.buffer.capacity() {
                    self.buffer = BytesMut::new();
                }
                return None;
            };
            let end = self.scanned + at;
            if limit < end {
                return Some(self.over_limit());
            }
            let is_end = self.inside && self.buffer.get(end) == Some(&END);
            if self.careful && is_end {
                let follows = self.buffer.get(end + 1).copied();
                self.may_end = follows.is_none();
                match follows {
                    None => {
                        self.scanned = end;
                        return None;
                    }
                    Some(byte) if is_noise(byte) || byte == START || byte == END => {}
                    Some(_) => {
                        self.is_broken = true;
                        self.scanned = end + 1;
                        continue;
                    }
                }
            }
            let is_broken = std::mem::take(&mut self.is_broken);
            let bytes = self.buffer.split_to(end).freeze();
            self.scanned = 0;
            let mark = self.buffer.get_u8();
            let was_inside = std::mem::replace(&mut self.inside, mark == START);
            if bytes.is_empty() {
                continue;
            }
            return Some(match (was_inside, mark) {
                (true, END) if is_broken => Piece::Damaged(Damaged::new(Damage::EndInside, &bytes)),
                (true, END) => Piece::Frame(bytes),
                (true, _) => Piece::Damaged(Damaged::new(Damage::Unfinished, &bytes)),
                (false, END) => Piece::Damaged(Damaged::new(Damage::NoStart, &bytes)),
                (false, _) => Piece::Damaged(Damaged::new(Damage::Between, &bytes)),
            });
        }
        None
    }

    /// What has come and will not be completed; for the end of a connection and for time-outs.
    pub fn take_rest(&mut self) -> Option<Damaged> {
        let damage = if self.inside {
            Damage::NoEnd
        } else {
            Damage::NoFrame
        };
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        self.inside = false;
        self.is_broken = false;
        self.may_end = false;
        let something = !self.lost && !rest.is_empty();
        something.then(|| Damaged::new(damage, &rest))
    }

    fn over_limit(&mut self) -> Piece {
        let damage = if self.inside {
            Damage::TooLong
        } else {
            Damage::Flood
        };
        self.lost = true;
        let bytes = std::mem::take(&mut self.buffer);
        Piece::Damaged(Damaged::new(damage, &bytes))
    }
}

/// What may stand between frames without meaning anything: line ends after FS above all.
fn is_noise(byte: u8) -> bool {
    matches!(byte, CR | b'\n' | b' ' | b'\t' | 0)
}

/// Appends a frame. The body must hold no mark, see [`forbidden`].
pub fn write_frame(body: &[u8], out: &mut BytesMut) {
    out.reserve(body.len() + 3);
    out.put_u8(START);
    out.put_slice(body);
    out.put_u8(END);
    out.put_u8(CR);
}

/// The place of a byte that a frame can't carry, if there is one.
pub fn forbidden(body: &[u8]) -> Option<usize> {
    memchr::memchr2(START, END, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64;

    fn show(piece: &Piece) -> String {
        match piece {
            Piece::Frame(body) => format!("frame {}", body.escape_ascii()),
            Piece::Damaged(damaged) => format!(
                "{:?} {} {}",
                damaged.damage,
                damaged.length,
                damaged.kept[..damaged.kept.len().min(20)].escape_ascii()
            ),
        }
    }

    fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        pieces_of(Framer::new(LIMIT), chunks)
    }

    fn pieces_of<'a>(mut framer: Framer, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut found = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            while let Some(piece) = framer.next_piece() {
                found.push(show(&piece));
            }
        }
        while let Some(piece) = framer.end_here() {
            found.push(show(&piece));
        }
        found.extend(framer.take_rest().map(|rest| show(&Piece::Damaged(rest))));
        found
    }

    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(pieces([bytes]), expected, "in one packet");
        assert_eq!(pieces(bytes.chunks(1)), expected, "byte by byte");
        check_careful(bytes, expected);
    }

    fn check_careful(bytes: &[u8], expected: &[&str]) {
        let careful = || Framer::careful(LIMIT);
        assert_eq!(
            pieces_of(careful(), [bytes]),
            expected,
            "in one packet, with care"
        );
        assert_eq!(
            pieces_of(careful(), bytes.chunks(1)),
            expected,
            "byte by byte, with care"
        );
    }

    #[test]
    fn an_end_in_the_middle_ends_nothing() {
        let half = b"\x0bPID|Po\x1cp^Ana\r\x1c\r\x0bB\x1c\r";
        check_careful(half, &["EndInside 13 PID|Po\\x1cp^Ana\\r", "frame B"]);
        check_careful(b"\x0bA\x1cB\x1cC\x1c", &["EndInside 5 A\\x1cB\\x1cC"]);
        check_careful(b"\x0bA\x1cB\x0bC\x1c\r", &["Unfinished 3 A\\x1cB", "frame C"]);
        check_careful(b"\x0bA\x1cB", &["NoEnd 3 A\\x1cB"]);
        // Where nothing follows it has ended, and only then.
        let mut framer = Framer::careful(LIMIT);
        framer.push(b"\x0bA\x1c");
        assert!(framer.next_piece().is_none() && framer.may_end() && !framer.is_between());
        framer.push(b"B\x1c\r");
        assert!(matches!(framer.next_piece(), Some(Piece::Damaged(_))));
        framer.push(b"\x0bA\x1c");
        assert!(framer.next_piece().is_none());
        assert!(matches!(framer.end_here(), Some(Piece::Frame(body)) if body == "A"[..]));
        assert!(framer.next_piece().is_none() && framer.end_here().is_none() && framer.is_between());
        // An answer ends at once.
        let mut framer = Framer::new(LIMIT);
        framer.push(b"\x0bA\x1c");
        assert!(matches!(framer.next_piece(), Some(Piece::Frame(_))));
    }

    #[test]
    fn frames_and_common_sins() {
        check(b"\x0bA\r\x1c\r", &["frame A\\r"]);
        check(
            b"\x0bA\x1c\r\x0bB\x1c\r\x0bC\x1c\r",
            &["frame A", "frame B", "frame C"],
        );
        // No CR after FS, LF after it, both, blank lines.
        check(b"\x0bA\x1c\x0bB\x1c", &["frame A", "frame B"]);
        check(
            b"\x0bA\x1c\n\x0bB\x1c\r\n\r\n\x0bC\x1c",
            &["frame A", "frame B", "frame C"],
        );
        // A frame without content, a doubled start, a doubled end.
        check(b"\x0b\x1c\r\x0b\x0bA\x1c\x1c\r", &["frame A"]);
    }

    #[test]
    fn what_is_no_frame_is_handed_out() {
        check(b"xyz\x0bA\x1c\r", &["Between 3 xyz", "frame A"]);
        check(b"\x0bhalf\x0bA\x1c\r", &["Unfinished 4 half", "frame A"]);
        check(b"MSH|\x1c\r\x0bA\x1c\r", &["NoStart 4 MSH|", "frame A"]);
        check(b"\x0bA\x1c\r\x0bhalf", &["frame A", "NoEnd 4 half"]);
        check(b"MSH|raw\r", &["NoFrame 8 MSH|raw\\r"]);
        check(b"\x0b", &[]);
        check(b"", &[]);
    }

    #[test]
    fn limits() {
        let mut exact = vec![START];
        exact.extend([b'x'; LIMIT]);
        exact.extend([END, CR]);
        assert_eq!(pieces([&exact[..]]).len(), 1);
        assert!(pieces([&exact[..]])[0].starts_with("frame"));
        exact.insert(1, b'x');
        assert_eq!(pieces([&exact[..]]), ["TooLong 67 xxxxxxxxxxxxxxxxxxxx"]);
        let flood = vec![b'x'; KEPT + 10];
        assert_eq!(pieces([&flood[..]]).len(), 1);
        assert!(pieces([&flood[..]])[0].starts_with("Flood"));
        // Nothing after it is believed.
        let mut framer = Framer::new(1);
        framer.push(b"\x0btoo long");
        assert!(framer.next_piece().is_some());
        framer.push(b"\x1c\r\x0bA\x1c\r");
        assert!(framer.next_piece().is_none());
        assert!(framer.take_rest().is_none());
    }

    #[test]
    fn a_frame_of_many_packets_is_read_once() {
        // A reader that begins anew at each packet would look at 16 GB here.
        let mut framer = Framer::new(8 * 1024 * 1024);
        framer.push(&[START]);
        let started = std::time::Instant::now();
        for _ in 0..4096 {
            framer.room();
            framer.push(&[b'x'; 1024]);
            assert!(framer.next_piece().is_none());
        }
        framer.push(&[END]);
        assert!(matches!(framer.next_piece(), Some(Piece::Frame(body)) if body.len() == 4 * 1024 * 1024));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => prop::collection::vec(prop::sample::select(b"AB|\r".to_vec()), 0..40),
            2 => Just(vec![START]),
            2 => Just(vec![END, CR]),
            1 => Just(vec![END]),
            1 => prop::collection::vec(any::<u8>(), 0..80),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// However the bytes are cut, the frames are the same; of what is over the limit the length may differ.
        #[test]
        fn chunks_do_not_matter(bytes in wire(), cuts in prop::collection::vec(1usize..30, 1..40)) {
            let mut rest = &bytes[..];
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let cut = |piece: String| if piece.starts_with("TooLong") { "TooLong".to_owned() } else { piece };
            for careful in [false, true] {
                let framer = || if careful { Framer::careful(LIMIT) } else { Framer::new(LIMIT) };
                let whole: Vec<String> = pieces_of(framer(), [&bytes[..]]).into_iter().map(cut).collect();
                let parts: Vec<String> = pieces_of(framer(), chunks.clone()).into_iter().map(cut).collect();
                prop_assert_eq!(whole, parts);
            }
        }

        /// Bodies come back as they were written.
        #[test]
        fn written_frames_are_read(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..LIMIT), 0..8)) {
            let bodies: Vec<Vec<u8>> = bodies.into_iter().filter(|body| forbidden(body).is_none()).collect();
            let mut wire = BytesMut::new();
            bodies.iter().for_each(|body| write_frame(body, &mut wire));
            let mut framer = Framer::new(LIMIT);
            framer.push(&wire);
            for body in &bodies {
                prop_assert!(matches!(framer.next_piece(), Some(Piece::Frame(found)) if found == body[..]));
            }
            prop_assert!(framer.next_piece().is_none());
            prop_assert!(framer.is_between());
        }
    }
}
