//! When a certificate expires, found in its DER without a parser of certificates.
//!
//! Only for the log: whether it is valid is for clients to say. Not here: anything that trusts it.

/// Tags of DER, as far as they come before the time.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity (RFC 5280, 4.1.2.5) as `2027-01-31T12:00:00Z`.
pub fn not_after(certificate: &[u8]) -> Option<String> {
    let inside = |der, tag| element(der).filter(|(found, ..)| *found == tag);
    let (_, certificate, _) = inside(certificate, SEQUENCE)?;
    let (_, mut rest, _) = inside(certificate, SEQUENCE)?;
    if let Some((_, _, after)) = inside(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = inside(rest, SEQUENCE)?;
    let (_, _, end) = element(validity)?;
    let (tag, time, _) = element(end)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let full = match tag {
        // Two digits: 50 to 99 are of the last century.
        UTC_TIME if time >= "50" => format!("19{time}"),
        UTC_TIME => format!("20{time}"),
        GENERALIZED_TIME => time.to_owned(),
        _ => return None,
    };
    let part = |from, to| full.get(from..to).filter(|_| full.len() == 14);
    let date = format!("{}-{}-{}", part(0, 4)?, part(4, 6)?, part(6, 8)?);
    Some(format!("{date}T{}:{}:{}Z", part(8, 10)?, part(10, 12)?, part(12, 14)?))
}

/// The first element: its tag, its content, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits;
        // Four bytes are more than any file has.
        (digits, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|_| first <= 0x84)?;
        length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length[..], &content[..]].concat()
    }

    fn certificate(version: &[u8], tag: u8, end: &str) -> Vec<u8> {
        let before = der(UTC_TIME, &[b"250101000000Z"]);
        let validity = der(SEQUENCE, &[&before, &der(tag, &[end.as_bytes()])]);
        let (serial, other) = (der(2, &[&[1; 200]]), der(SEQUENCE, &[]));
        der(SEQUENCE, &[&der(SEQUENCE, &[version, &serial, &other, &other, &validity])])
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let version = der(VERSION, &[&[2, 1, 2]]);
        for (version, tag, end, wanted) in [
            (&version[..], UTC_TIME, "270131120000Z", "2027-01-31T12:00:00Z"),
            (b"".as_slice(), UTC_TIME, "991231235959Z", "1999-12-31T23:59:59Z"),
            (&version[..], GENERALIZED_TIME, "21001231235959Z", "2100-12-31T23:59:59Z"),
        ] {
            assert_eq!(not_after(&certificate(version, tag, end)).unwrap(), wanted);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let good = certificate(&[], UTC_TIME, "270131120000Z");
        for length in 0..good.len() {
            assert_eq!(not_after(&good[..length]), None, "{length}");
        }
        assert_eq!(not_after(&certificate(&[], UTC_TIME, "2701311200Z")), None);
        assert_eq!(not_after(&certificate(&[], 4, "270131120000Z")), None);
        assert_eq!(not_after(&[SEQUENCE, 0xff, 1]), None);
    }
}
