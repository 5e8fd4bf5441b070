//! Quantities of Kubernetes: `500m`, `128Mi`, `1e3`, `0.5`.
//!
//! The grammar and the rounding (up) are those of `k8s.io/apimachinery/pkg/api/resource`. Not
//! here: which quantities an engine takes (`plan`).

/// Longest quantity, in bytes: twice what all digits of the largest one need.
const MAX_LENGTH_BYTES: usize = 64;

/// Largest quantity: what the engine's and Kubernetes' signed numbers hold.
const MAX: u128 = i64::MAX as u128;

/// Decimal and binary suffixes, as powers of 10 and of 2.
const SUFFIXES: [(&str, i32, u32); 16] = [
    ("", 0, 0),
    ("n", -9, 0),
    ("u", -6, 0),
    ("m", -3, 0),
    ("k", 3, 0),
    ("M", 6, 0),
    ("G", 9, 0),
    ("T", 12, 0),
    ("P", 15, 0),
    ("E", 18, 0),
    ("Ki", 0, 10),
    ("Mi", 0, 20),
    ("Gi", 0, 30),
    ("Ti", 0, 40),
    ("Pi", 0, 50),
    ("Ei", 0, 60),
];

/// Reads a quantity in some unit.
pub(super) type Parse = fn(&str) -> Result<u64, String>;

/// A quantity in whole units, such as bytes.
///
/// # Errors
/// What is wrong with it; the text goes on after a colon.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    scaled(text, 0)
}

/// A quantity in thousandths, such as those of a CPU.
///
/// # Errors
/// What is wrong with it; the text goes on after a colon.
pub(super) fn thousandths(text: &str) -> Result<u64, String> {
    scaled(text, 3)
}

/// A quantity times a power of 10, rounded up.
fn scaled(text: &str, places: i32) -> Result<u64, String> {
    let wrong = || "use a quantity such as 500m, 0.5, 128Mi or 1e3".to_owned();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_of_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let length = text.bytes().take_while(|byte| is_of_number(*byte)).count();
    let (number, suffix) = text.split_at_checked(length).ok_or_else(wrong)?;
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{integer}{fraction}");
    if text.len() > MAX_LENGTH_BYTES || digits.is_empty() || digits.contains('.') {
        return Err(wrong());
    }
    let (tens, twos) = power(suffix).ok_or_else(wrong)?;
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| wrong())?;
    let too_large = || format!("the largest quantity is {MAX}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    if is_negative {
        return Err("it must not be less than 0".to_owned());
    }
    let value = digits.parse::<u128>().ok().and_then(|it| it.checked_mul(1 << twos));
    let tens = tens.saturating_add(places).saturating_sub(fraction_digits);
    let value = value.and_then(|value| times_ten(value, tens));
    let value = value.filter(|value| *value <= MAX).ok_or_else(too_large)?;
    u64::try_from(value).map_err(|_| too_large())
}

/// What a suffix or an exponent stands for, as powers of 10 and of 2.
fn power(suffix: &str) -> Option<(i32, u32)> {
    if let Some((_, tens, twos)) = SUFFIXES.iter().find(|(name, ..)| *name == suffix) {
        return Some((*tens, *twos));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let has_digit = exponent.bytes().any(|byte| byte.is_ascii_digit());
    exponent.parse().ok().filter(|_| has_digit).map(|tens| (tens, 0))
}

/// A value that is not 0 times a power of 10, rounded up; `None` if it is too large.
fn times_ten(value: u128, tens: i32) -> Option<u128> {
    let factor = 10_u128.checked_pow(tens.unsigned_abs());
    match factor {
        Some(factor) if tens >= 0 => value.checked_mul(factor),
        Some(factor) => Some(value.div_ceil(factor)),
        None if tens >= 0 => None,
        None => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_in_every_form() {
        for (text, units, milli) in [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("1", 1, 1_000),
            ("+1", 1, 1_000),
            ("500m", 1, 500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("5.", 5, 5_000),
            ("0.0001", 1, 1),
            ("100n", 1, 1),
            ("1500u", 1, 2),
            ("1e3", 1_000, 1_000_000),
            ("1E3", 1_000, 1_000_000),
            ("1E", 1_000_000_000_000_000_000, 0),
            ("1e+2", 100, 100_000),
            ("12e-1", 2, 1_200),
            ("1e-999", 1, 1),
            ("2k", 2_000, 2_000_000),
            ("128Mi", 134_217_728, 134_217_728_000),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("1M", 1_000_000, 1_000_000_000),
            ("7Ei", 8_070_450_532_247_928_832, 0),
            ("9223372036854775807", i64::MAX as u64, 0),
            ("000000000000000000000000000000000000000000000000000000000001", 1, 1_000),
            ("0e99999", 0, 0),
        ] {
            assert_eq!(whole(text), Ok(units), "{text}");
            if milli > 0 || units == 0 {
                assert_eq!(thousandths(text), Ok(milli), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            ".",
            "+",
            "m",
            "1 Mi",
            "1mi",
            "1MiB",
            "1KB",
            "1K",
            "0x1",
            "1.2.3",
            "1e",
            "1e1.5",
            "1e+-1",
            "--1",
            "1ee1",
            "one",
            "1é",
            "1e99999999999",
        ] {
            assert!(whole(text).unwrap_err().contains("such as 500m"), "{text}");
        }
        assert!(whole(&"1".repeat(65)).unwrap_err().contains("such as 500m"));
        for text in ["9223372036854775808", "8Ei", "1e30", "1e99999", "10E"] {
            assert!(whole(text).unwrap_err().contains("largest"), "{text}");
        }
        assert!(thousandths("7Ei").unwrap_err().contains("largest"));
        assert!(whole("-1").unwrap_err().contains("less than 0"));
    }
}
