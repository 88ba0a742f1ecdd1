//! Which instance takes a call: the less loaded of two chosen at random (power of two choices), on the
//! calls outstanding from this sidecar.

/// The position of the instance to try next, or `None` when all were tried.
///
/// `outstanding` gives the load of a position below `count`; `tried` are the positions already tried for
/// this call; `random` is any random number.
pub fn picked(
    count: usize,
    outstanding: impl Fn(usize) -> u32,
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
            Some(if outstanding(second) < outstanding(first) {
                second
            } else {
                first
            })
        }
    }
}

#[cfg(test)]
mod tests;
