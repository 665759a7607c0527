//! Any bytes, cut anywhere: no panic, the same pieces as in one packet, no byte of a body lost or made up.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/mllp/framing.rs"]
#[allow(dead_code, reason = "the connector uses the rest")]
mod framing;

use framing::{Damage, Framer, KEPT, Piece};

const LIMIT: usize = 512;

fn pieces<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<(Option<Damage>, Vec<u8>)> {
    let mut framer = Framer::new(LIMIT);
    let mut found = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        while let Some(piece) = framer.next_piece() {
            found.push(match piece {
                Piece::Frame(body) => {
                    assert!(!body.is_empty() && body.len() <= LIMIT && framing::forbidden(&body).is_none());
                    (None, body.to_vec())
                }
                Piece::Damaged(damaged) => {
                    assert!(damaged.kept.len() <= KEPT && damaged.kept.len() <= damaged.length);
                    // Of what is over the limit the length depends on the packets.
                    let is_cut = matches!(damaged.damage, Damage::TooLong | Damage::Flood);
                    (Some(damaged.damage), if is_cut { vec![] } else { damaged.kept.to_vec() })
                }
            });
        }
    }
    found.extend(framer.take_rest().map(|rest| (Some(rest.damage), rest.kept.to_vec())));
    found
}

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else { return };
    let step = usize::from(*step) + 1;
    assert_eq!(pieces(std::iter::once(bytes)), pieces(bytes.chunks(step)));
});
