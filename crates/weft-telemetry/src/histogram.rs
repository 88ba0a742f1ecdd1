//! The shape of weft's histograms of durations: microseconds in log-linear buckets, eight to each doubling,
//! so that a value is known to 12.5 % (6 % around the middle of its bucket) from 1 us to 2^36 us (19 hours).
//!
//! Written by hand because a call writes into it: two shifts, no branch on the value's size beyond one. The
//! indexes are part of the sync protocol and never change.

/// Buckets per doubling, as a power of two.
const SUB_BITS: u32 = 3;
const SUBS: u64 = 1 << SUB_BITS;

/// Durations of 2^this microseconds and more fall into the last bucket.
const MAX_BITS: u32 = 36;

/// How many buckets there are.
pub const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) as usize) << SUB_BITS;

/// The bucket of a duration in microseconds.
pub fn bucket_of(us: u64) -> usize {
    if us < SUBS {
        return us as usize;
    }
    let shift = us.ilog2() - SUB_BITS;
    let index = (u64::from(shift) << SUB_BITS) + (us >> shift);
    (index as usize).min(BUCKETS - 1)
}

/// The largest duration in microseconds that falls into this bucket.
pub fn upper_bound_us(index: usize) -> u64 {
    let index = index.min(BUCKETS - 1) as u64;
    if index < SUBS {
        return index;
    }
    let shift = (index >> SUB_BITS) - 1;
    let base = (index & (SUBS - 1)) + SUBS;
    ((base + 1) << shift) - 1
}

/// The quantile `q` (0 to 1) of sparse counts, as the upper bound of its bucket in microseconds; `None` when
/// nothing was counted. `counts` are (bucket, count), in the order of the buckets.
pub fn quantile(counts: &[(u32, u64)], q: f64) -> Option<u64> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    for (index, count) in counts {
        seen += count;
        if seen >= rank {
            return Some(upper_bound_us(*index as usize));
        }
    }
    None
}

#[cfg(test)]
mod tests;
