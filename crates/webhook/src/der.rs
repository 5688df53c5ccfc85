//! Reading and writing of the little DER (X.690) that keys and certificates need.

/// Splits DER into the tag and the content of its first element, and the rest (X.690, section 8.1).
pub(crate) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let bytes = usize::from(length & 0x7f);
        let (digits, rest) = rest.split_at_checked(bytes).filter(|_| (1..=3).contains(&bytes))?;
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Returns the algorithm and the key of the content of a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7): the content
/// of its AlgorithmIdentifier and that of its BIT STRING.
pub(crate) fn public_key_info(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (0x30, algorithm, rest) = element(content)? else { return None };
    let (0x03, [0, key @ ..], []) = element(rest)? else { return None };
    Some((algorithm, key))
}

/// Returns the validity of a certificate (RFC 5280, section 4.1.2.5), in seconds since 1970.
pub(crate) fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (0x30, certificate, []) = element(certificate)? else { return None };
    let (0x30, certificate, _) = element(certificate)? else { return None };
    let (tag, _, mut rest) = element(certificate)?;
    // The version is left out of a certificate of version 1.
    if tag == 0xa0 {
        rest = element(rest)?.2;
    }
    let (0x30, _algorithm, rest) = element(rest)? else { return None };
    let (0x30, _issuer, rest) = element(rest)? else { return None };
    let (0x30, validity, _) = element(rest)? else { return None };
    let (tag, not_before, rest) = element(validity)?;
    let not_before = unix_s(tag, not_before)?;
    let (tag, not_after, []) = element(rest)? else { return None };
    Some((not_before, unix_s(tag, not_after)?))
}

/// Returns a UTCTime or GeneralizedTime in the form of RFC 5280: to the second, in UTC.
fn unix_s(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match (tag, text.len()) {
        (0x17, 12) => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        (0x18, 14) => text.to_owned(),
        _ => return None,
    };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |at: std::ops::Range<usize>| text.get(at)?.parse::<u8>().ok();
    let month = time::Month::try_from(number(4..6)?).ok()?;
    let date = time::Date::from_calendar_date(text.get(..4)?.parse().ok()?, month, number(6..8)?).ok()?;
    let time = time::Time::from_hms(number(8..10)?, number(10..12)?, number(12..14)?).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

/// Returns an RSAPublicKey (RFC 8017, appendix A.1.1) of its big-endian numbers.
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    written(0x30, &[integer(modulus), integer(exponent)].concat())
}

/// Returns an INTEGER that is not negative.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let sign: &[u8] = if number.get(zeros).is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    written(0x02, &[sign, &number[zeros..]].concat())
}

fn written(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = &length[zeros..];
    let mut der = vec![tag];
    match digits {
        [] => der.push(0),
        [short @ 0..0x80] => der.push(*short),
        // At most eight digits.
        _ => {
            der.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            der.extend(digits);
        }
    }
    der.extend(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_form_of_rfc_5280() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "500101000000Z", Some(-631_152_000)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x18, "20240229000000Z", Some(1_709_164_800)),
            (0x18, "20230229000000Z", None),
            (0x18, "500101000000Z", None),
            (0x17, "7001010000Z", None),
            (0x17, "700101000000+0000", None),
            (0x17, "70010100000aZ", None),
            (0x17, "701301000000Z", None),
            (0x17, "700101240000Z", None),
            (0x04, "700101000000Z", None),
        ] {
            assert_eq!(unix_s(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for (number, content) in
            [(&[0, 0, 1][..], &[1][..]), (&[0x80], &[0, 0x80]), (&[0, 0x7f], &[0x7f]), (&[0], &[0]), (&[], &[0])]
        {
            assert_eq!(element(&integer(number)), Some((0x02, content, &[][..])));
        }
        for length in [0, 127, 128, 255, 256, 70_000] {
            let content = vec![1; length];
            assert_eq!(element(&written(0x04, &content)), Some((0x04, &*content, &[][..])), "{length}");
        }
    }

    #[test]
    fn no_cut_certificate_has_a_validity() {
        let time = |text: &str| written(0x17, text.as_bytes());
        let sequence = |parts: &[Vec<u8>]| written(0x30, &parts.concat());
        let validity_of = sequence(&[time("251110000000Z"), time("261014235959Z")]);
        let body = [written(0xa0, &[2, 1, 2]), written(2, &[1]), sequence(&[]), sequence(&[]), validity_of];
        let certificate = sequence(&[sequence(&body)]);
        assert_eq!(validity(&certificate), Some((1_762_732_800, 1_792_022_399)));
        for length in 0..certificate.len() {
            assert_eq!(validity(&certificate[..length]), None, "{length}");
        }
    }
}
