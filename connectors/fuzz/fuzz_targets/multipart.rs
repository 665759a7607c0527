//! Any bytes as a body of parts, cut anywhere: no panic, the same parts as in one piece, no byte more than came.
#![no_main]

use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../src/dicomweb/multipart.rs"]
#[allow(dead_code, reason = "the server uses the rest")]
mod multipart;

use multipart::{Parts, Wrong, parameters};

/// Where the parser waits for time; nothing here lets it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
});

type Read = (Vec<(Vec<(String, String)>, Vec<u8>)>, Option<Wrong>);

fn read(boundary: &str, pieces: Vec<Bytes>) -> Option<Read> {
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let mut parts = Parts::new(stream, boundary)?;
    let mut all = vec![];
    let wrong = RUNTIME.block_on(async {
        while let Some(headers) = parts.next().await? {
            all.push((headers, vec![]));
            while let Some(chunk) = parts.chunk().await? {
                assert!(!chunk.is_empty(), "a chunk is something");
                all.last_mut().expect("a part").1.extend_from_slice(&chunk);
            }
        }
        Ok(())
    });
    Some((all, wrong.err()))
}

fuzz_target!(|bytes: &[u8]| {
    // What stands before the first zero is a content type; the byte behind it says how the rest is cut.
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else { return };
    let said = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let Some((cut, body)) = bytes[end + 1..].split_first() else { return };
    let (_, parameters) = parameters(&said);
    let boundary = parameters.iter().find(|(name, _)| name == "boundary");
    let boundary = boundary.map_or("b", |(_, value)| value.as_str());
    let Some(whole) = read(boundary, vec![Bytes::copy_from_slice(body)]) else { return };
    let pieces = body.chunks(usize::from(*cut).max(1)).map(Bytes::copy_from_slice).collect();
    assert_eq!(Some(&whole), read(boundary, pieces).as_ref(), "how it is cut makes no difference");
    let told: usize = whole.0.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(told <= body.len(), "nothing is made up");
});
