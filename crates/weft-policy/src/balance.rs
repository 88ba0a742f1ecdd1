//! Which instance takes a call: the less loaded of two chosen at random (power of two choices), on the
//! calls outstanding from this sidecar, in proportion to their weights.
//!
//! Weights are relative: instances that all have a small one share as if it were a large one. Of a drawn pair the
//! lot, by weight, names one; the other takes the call only when it has less to do, in proportion. So few
//! calls follow the lot and many follow the load. Among many instances one of twice the weight of the others gets by
//! lot somewhat less than twice their calls; the load does the rest.

/// What is known of an instance when a call is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Calls outstanding there.
    pub outstanding: u32,
    /// The share of calls that it should have, relative to others.
    pub weight: u32,
    /// Whether it should get calls: it says so itself, and its link is heard.
    pub eligible: bool,
}

/// The position of the instance to try next, or `None` when all were tried.
///
/// `candidate` tells of a position below `count`; `tried` are the positions already tried for this call;
/// `random` is any random number. Two are drawn; when neither is eligible, the first eligible one from there
/// on. When none is, knowledge is worse than hope: the less loaded of the two is tried all the same.
pub fn picked(
    count: usize,
    candidate: impl Fn(usize) -> Candidate,
    tried: &[usize],
    random: u64,
) -> Option<usize> {
    let fresh = |position: &usize| !tried.contains(position);
    let left = if tried.is_empty() {
        count
    } else {
        (0..count).filter(fresh).count()
    };
    let nth = |n: usize| {
        if tried.is_empty() {
            Some(n)
        } else {
            (0..count).filter(fresh).nth(n)
        }
    };
    match left {
        0 => None,
        1 => nth(0),
        _ => {
            let first = (random >> 32) as usize % left;
            let second = (first + 1 + (random & 0xffff_ffff) as usize % (left - 1)) % left;
            let (first, second) = (nth(first)?, nth(second)?);
            let (one, two) = (candidate(first), candidate(second));
            match (one.eligible, two.eligible) {
                (true, false) => Some(first),
                (false, true) => Some(second),
                (true, true) => Some(fitter((first, one), (second, two), random)),
                (false, false) => {
                    let mut others = (first..count).chain(0..first).filter(fresh);
                    let eligible = others.find(|at| candidate(*at).eligible);
                    eligible.or(Some(less(first, one, second, two)))
                }
            }
        }
    }
}

/// Whether one more of a service's instances may be passed over for what its callers found: at most half of them,
/// never the last.
pub fn may_be_passed_over(instances: usize, passed_over: usize) -> bool {
    (passed_over + 1) * 2 <= instances
}

/// The one of two that should have the next call.
fn fitter(first: (usize, Candidate), second: (usize, Candidate), random: u64) -> usize {
    let ((at, one), (_, two)) = (first, second);
    if one.weight == two.weight {
        return less(at, one, second.0, two);
    }
    let (one_weight, two_weight) = (u64::from(one.weight), u64::from(two.weight));
    // Other bits than those that drew the pair.
    let lot = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let is_first = (lot * (one_weight + two_weight)) >> 32 < one_weight;
    let (named, other) = if is_first {
        (first, second)
    } else {
        (second, first)
    };
    // With the call it would still have less to do than the one named has without it.
    let times = |calls: u64, weight: u32| calls.saturating_mul(u64::from(weight));
    let is_freer = times(u64::from(other.1.outstanding) + 1, named.1.weight)
        < times(u64::from(named.1.outstanding), other.1.weight);
    if is_freer { other.0 } else { named.0 }
}

fn less(first: usize, one: Candidate, second: usize, two: Candidate) -> usize {
    if two.outstanding < one.outstanding {
        second
    } else {
        first
    }
}

#[cfg(test)]
mod tests;
