//! Which instance takes a call: the less loaded of two chosen at random (power of two choices), on the
//! calls outstanding from this sidecar.

/// What is known of an instance when a call is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Calls outstanding there.
    pub outstanding: u32,
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
                (true, true) => Some(less(first, one, second, two)),
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

fn less(first: usize, one: Candidate, second: usize, two: Candidate) -> usize {
    if two.outstanding < one.outstanding {
        second
    } else {
        first
    }
}

#[cfg(test)]
mod tests;
