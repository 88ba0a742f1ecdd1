//! How long calls took, to 1 in 128. Not the histogram of the mesh: what is to be checked does not count for
//! its own checker.

use std::time::Duration;

/// Buckets per doubling, as a power of two.
const SUB_BITS: u32 = 7;
const SUBS: u64 = 1 << SUB_BITS;
/// Durations of 2^this microseconds (over an hour) and more fall into the last bucket.
const MAX_BITS: u32 = 32;
const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) as usize) << SUB_BITS;

/// Counted durations.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(micros)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The microseconds that this share of the calls did not exceed; 0 when nothing was counted.
    pub(crate) fn quantile_us(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(bucket);
            }
        }
        0
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < SUBS {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BITS;
    let bucket = (u64::from(shift) << SUB_BITS) + (micros >> shift);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest number of microseconds in a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUBS {
        return bucket;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    (((bucket & (SUBS - 1)) + SUBS + 1) << shift) - 1
}

#[cfg(test)]
mod tests;
