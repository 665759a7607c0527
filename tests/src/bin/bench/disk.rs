//! What a flush costs: 4 KiB overwritten in a preallocated file beside the data, fdatasync after each.

use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

const BLOCK: usize = 4096;
/// Blocks of the file; each flush takes the next one.
const BLOCKS: u64 = 256;

/// How long flushes took.
pub struct Flushes {
    pub count: u32,
    pub p50: Duration,
    pub p99: Duration,
}

/// Flushes so many times.
pub fn flushes(count: u32) -> Result<Flushes> {
    let folder = tempfile::TempDir::new()?;
    let mut file = std::fs::File::create_new(folder.path().join("flush"))?;
    let mut block = vec![0x5A_u8; BLOCK];
    for _ in 0..BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let mut took = Vec::with_capacity(count as usize);
    for number in 0..count {
        block[..4].copy_from_slice(&number.to_le_bytes());
        file.seek(SeekFrom::Start(u64::from(number) % BLOCKS * BLOCK as u64))?;
        let begun = Instant::now();
        file.write_all(&block)?;
        // Rust's name for fdatasync.
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(Flushes {
        count,
        p50: crate::load::percentile(&took, 50),
        p99: crate::load::percentile(&took, 99),
    })
}
