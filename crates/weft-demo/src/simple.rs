//! Motan's "simple" serialization (code 6), as far as the demo apps use it: strings and 64-bit integers.

/// The serialize byte of a Motan2 header: code 6 in the upper five bits.
pub(crate) const SERIALIZE: u8 = 0x30;

const TAG_STRING: u8 = 0x01;
const TAG_INT64: u8 = 0x09;

/// Appends a string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(TAG_STRING);
    // Demo texts are short; one that is not fits into no frame either.
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a 64-bit integer, zigzag and in seven bits a byte.
pub(crate) fn write_int64(value: i64, out: &mut Vec<u8>) {
    out.push(TAG_INT64);
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The string at the beginning of `bytes`.
pub(crate) fn read_string(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.strip_prefix(&[TAG_STRING])?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    std::str::from_utf8(text).ok()
}

/// The 64-bit integer at the beginning of `bytes`.
pub(crate) fn read_int64(bytes: &[u8]) -> Option<i64> {
    const BYTES_MAX: usize = 10;
    let rest = bytes.strip_prefix(&[TAG_INT64])?;
    let mut value = 0u64;
    for (index, byte) in rest.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests;
