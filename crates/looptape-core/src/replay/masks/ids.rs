//! Ids by their shape: UUIDs, ULIDs, hex and base-n digits, addresses in memory.
//!
//! An id is a run of letters and digits that no word, number or name is. The rule for base-n ids is about
//! how letters and digits alternate: cut the run wherever an upper-case letter begins and wherever letters
//! meet digits; in names the pieces are words, in ids they are crumbs.

use super::kind::MaskKind;

/// The shortest and the longest run that may be an id; longer ones are content.
const ID_CHARS: std::ops::RangeInclusive<usize> = 16..=128;

/// Longer runs of base64 digits are content: a picture, a signature.
const LONGEST_TEXT_RUN: usize = 200;

/// The kind of id that fills `token`, a whole run of letters and digits.
pub(super) fn of_token(token: &[u8]) -> Option<MaskKind> {
    if !ID_CHARS.contains(&token.len()) {
        return None;
    }
    let digits = token.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits == token.len() {
        return None;
    }
    if is_ulid(token) {
        return Some(MaskKind::Ulid);
    }
    (!is_numbered(token) && (is_hex(token) || is_base_n(token))).then_some(MaskKind::Id)
}

/// The length of the UUID with which the text begins, its boundary checked.
pub(super) fn uuid(text: &[u8]) -> Option<usize> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    const LENGTH: usize = 36;
    let head = text.get(..LENGTH)?;
    let mut groups = head.split(|&byte| byte == b'-');
    let right = GROUPS.iter().all(|&length| {
        groups.next().is_some_and(|group| group.len() == length && group.iter().all(u8::is_ascii_hexdigit))
    });
    (right && groups.next().is_none() && !text.get(LENGTH).is_some_and(u8::is_ascii_alphanumeric))
        .then_some(LENGTH)
}

/// The length of an address such as `0x7f8a1c003a10`, of eight digits or more, that fills `token`.
pub(super) fn address(token: &[u8]) -> Option<usize> {
    let digits = token.strip_prefix(b"0x")?;
    ((8..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit)).then_some(token.len())
}

/// Whether the run of base64 digits around a token is content, not text. `run` begins where the run does.
pub(super) fn is_content(run: &[u8]) -> bool {
    run.len() > LONGEST_TEXT_RUN || (run.len() > 24 && run.contains(&b'+'))
}

pub(super) fn is_base64_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Capitals and then digits only: an account's or an order's number, such as an IBAN, whatever its letters.
fn is_numbered(token: &[u8]) -> bool {
    let letters = token.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    letters > 0 && token[letters..].iter().all(u8::is_ascii_digit)
}

fn is_hex(token: &[u8]) -> bool {
    let one_case = |is: fn(&u8) -> bool| token.iter().all(|byte| byte.is_ascii_digit() || is(byte));
    one_case(|byte| matches!(byte, b'a'..=b'f')) || one_case(|byte| matches!(byte, b'A'..=b'F'))
}

/// 26 digits of Crockford's base 32, the first at most 7.
fn is_ulid(token: &[u8]) -> bool {
    let digit = |byte: &u8| {
        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U'))
    };
    token.len() == 26 && matches!(token[0], b'0'..=b'7') && token.iter().all(digit)
}

fn is_base_n(token: &[u8]) -> bool {
    let (mut pieces, mut digit_runs) = (1, usize::from(token[0].is_ascii_digit()));
    for pair in token.windows(2) {
        let [before, here] = [pair[0], pair[1]];
        let digit_begins = here.is_ascii_digit() && !before.is_ascii_digit();
        let digit_ends = before.is_ascii_digit() && !here.is_ascii_digit();
        digit_runs += usize::from(digit_begins);
        pieces += usize::from(digit_begins || digit_ends || here.is_ascii_uppercase());
    }
    let has = |is: fn(&u8) -> bool| token.iter().any(is);
    if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) {
        // On average at most two and a half characters a piece.
        token.len() * 2 <= pieces * 5
    } else {
        let pieces = if has(u8::is_ascii_uppercase) { pieces_of_one_case(token) } else { pieces };
        digit_runs >= 2 && token.len() * 4 <= pieces * 13
    }
}

/// Pieces where case says nothing.
fn pieces_of_one_case(token: &[u8]) -> usize {
    1 + token.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_words() {
        for (token, kind) in [
            ("0af7651916cd43dd8448eb211c80319c", Some(MaskKind::Id)),
            ("8f3a0c1d2e4b5a69", Some(MaskKind::Id)),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Some(MaskKind::Ulid)),
            ("9pw1qnScqSBvVRrYtJmEXQGl", Some(MaskKind::Id)),
            ("011CXyZkR7qW3nVbT8mJpLsD", Some(MaskKind::Id)),
            ("bXk3vP9qLm2Rt8sYw4Zn", Some(MaskKind::Id)),
            ("ck2x9f8a7b6c5d4e3f2g1h0i", Some(MaskKind::Id)),
            ("abc123def456ghi789", Some(MaskKind::Id)),
            ("3f2g1h0i9j8k7l6", None),
            ("deadbeefdeadbeef", None),
            ("1234567890123456", None),
            ("DE89370400440532013000", None),
            ("getUserById2FromDatabase", None),
            ("sha256WithRSAEncryption", None),
            ("covid19wave2report", None),
            ("internationalization", None),
            ("INTERNATIONALIZATION2026", None),
            ("Meeting2026WithAlice", None),
        ] {
            assert_eq!(of_token(token.as_bytes()), kind, "{token}");
        }
        assert_eq!(of_token(&[b"a1".repeat(65)].concat()), None, "too long");
    }

    #[test]
    fn uuids_have_boundaries() {
        assert_eq!(uuid(b"123e4567-e89b-12d3-a456-426614174000."), Some(36));
        assert_eq!(uuid(b"123e4567-e89b-12d3-a456-4266141740001"), None);
        assert_eq!(uuid(b"123e4567-e89b-12d3-a456-42661417400"), None);
        assert_eq!(uuid(b"123e4567-e89b-12d3-a4564-26614174000"), None);
        assert_eq!(uuid(b"123e4567-e89b-12g3-a456-426614174000"), None);
    }

    #[test]
    fn addresses() {
        assert_eq!(address(b"0x7f8a1c003a10"), Some(14));
        assert_eq!(
            (address(b"0xff"), address(b"0x7f8a1c003g10"), address(b"7f8a1c003a10")),
            (None, None, None)
        );
    }
}
