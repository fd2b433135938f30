//! Numbers in as few bytes as they take: seven bits in each, the lowest first, and the top bit set in all but the last.

/// Appends a number: one byte below 128, at most ten.
pub(super) fn put(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    to.push(low_bits(number));
}

/// Appends a number that may be negative: one byte from -64 to 63.
pub(super) fn put_signed(number: i64, to: &mut Vec<u8>) {
    // The sign becomes the lowest bit, so that small numbers of both signs are short.
    put((number << 1 ^ number >> 63).cast_unsigned(), to);
}

/// Takes a number of [`put`] off the front of `bytes`; `None` if there is none.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Most are so short, and many are read to find one entry.
    if let Some((&byte, rest)) = bytes.split_first()
        && byte < 0x80
    {
        *bytes = rest;
        return Some(byte.into());
    }
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number of [`put_signed`] off the front of `bytes`; `None` if there is none.
pub(super) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let number = take(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written_and_takes_a_byte_for_each_seven_bits() {
        for (number, length) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX >> 1, 9), (u64::MAX, 10)]
        {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            assert_eq!(bytes.len(), length, "{number}");
            bytes.push(7);
            let mut rest = &*bytes;
            assert_eq!((take(&mut rest), rest), (Some(number), &[7][..]));
        }
        for (number, length) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (-65, 2), (i64::MAX, 10), (i64::MIN, 10)]
        {
            let mut bytes = Vec::new();
            put_signed(number, &mut bytes);
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(take_signed(&mut &*bytes), Some(number));
        }
    }

    #[test]
    fn what_does_not_end_or_is_too_large_is_no_number() {
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11], &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]] {
            assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
        }
    }
}
