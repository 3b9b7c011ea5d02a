//! The exact decimal value of a JSON number, as text.
//!
//! No floating point is involved: two numbers are the same only if they are mathematically equal.

/// Appends the number's value as `-`? digits `e` exponent, without leading or trailing zeros. An exponent
/// beyond `i64` is kept as it was written, so that only equal spellings of such a number are equal.
pub(super) fn push_value(raw: &[u8], out: &mut Vec<u8>) {
    let (negative, unsigned) = match raw.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, raw),
    };
    let (mantissa, exponent) = split_at_byte(unsigned, |b| b == b'e' || b == b'E');
    let (whole, fraction) = split_at_byte(mantissa, |b| b == b'.');
    let digits: Vec<u8> = whole.iter().chain(fraction).copied().skip_while(|&d| d == b'0').collect();
    let significant = digits.iter().rposition(|&d| d != b'0').map_or(0, |last| last + 1);
    if significant == 0 {
        out.push(b'0');
        return;
    }
    if negative {
        out.push(b'-');
    }
    match scale(exponent, fraction.len(), digits.len() - significant) {
        Some(scale) => {
            out.extend_from_slice(&digits[..significant]);
            out.push(b'e');
            out.extend_from_slice(scale.to_string().as_bytes());
        }
        None => out.extend_from_slice(unsigned),
    }
}

fn scale(exponent: &[u8], fraction_len: usize, dropped_zeros: usize) -> Option<i64> {
    let text = std::str::from_utf8(exponent).ok()?;
    let exponent: i64 = if text.is_empty() { 0 } else { text.parse().ok()? };
    exponent.checked_sub(i64::try_from(fraction_len).ok()?)?.checked_add(i64::try_from(dropped_zeros).ok()?)
}

/// The parts before and after the first byte that `is_separator` accepts; the second may be empty.
fn split_at_byte(bytes: &[u8], is_separator: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&b| is_separator(b)) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn values() {
        for (raw, value) in [
            ("0", "0"),
            ("-0.000", "0"),
            ("1", "1e0"),
            ("1.50", "15e-1"),
            ("1500", "15e2"),
            ("1.5e3", "15e2"),
            ("-1.5E+3", "-15e2"),
            ("0.0015", "15e-4"),
            ("1e9223372036854775808", "1e9223372036854775808"),
        ] {
            let mut out = Vec::new();
            super::push_value(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value, "{raw}");
        }
    }
}
