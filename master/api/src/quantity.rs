//! Resource quantities such as `100m`, `1.5Gi` or `2e3`: exact reading, comparing, adding and
//! printing in canonical form.
//!
//! A value is kept as a whole number of nano units, so nothing is rounded but what is finer
//! than a nano unit (up, as upstream does), and the range is larger than upstream's.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
/// Digits of the number; more cannot be held exactly and are no honest input.
const DIGITS_MAX: usize = 27;

/// An amount of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Family of suffixes that a quantity was written with and is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// It is malformed.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// It is too large.
    #[error("quantity is out of range")]
    Range,
    /// It is negative where only an amount makes sense.
    #[error("must be greater than or equal to 0")]
    Negative,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// A whole number of units.
    #[must_use]
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::Decimal }
    }

    /// Thousandths, as CPU is counted.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * 1_000_000, format: Format::Decimal }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Sum in the format of the first; none if it is out of range.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let nanos = self.nanos.checked_add(other.nanos)?;
        let format = if self.is_zero() { other.format } else { self.format };
        Some(Self { nanos, format })
    }

    /// Difference in the format of the first; none if it is out of range.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let nanos = self.nanos.checked_sub(other.nanos)?;
        let format = if self.is_zero() { other.format } else { self.format };
        Some(Self { nanos, format })
    }

    /// Thousandths, rounded up; the largest number if it does not fit.
    #[must_use]
    pub fn milli(&self) -> i64 {
        i64::try_from(ceil_div(self.nanos, 1_000_000)).unwrap_or(i64::MAX)
    }

    /// Whole units, rounded up; the largest number if it does not fit.
    #[must_use]
    pub fn units(&self) -> i64 {
        i64::try_from(ceil_div(self.nanos, NANO)).unwrap_or(i64::MAX)
    }
}

/// Thousandths of a CPU, rounded up.
///
/// # Errors
/// The text is no quantity, or a negative one.
pub fn cpu_milli(text: &str) -> Result<u64, ParseQuantityError> {
    let milli = text.parse::<Quantity>()?.milli();
    u64::try_from(milli).map_err(|_| ParseQuantityError::Negative)
}

/// Bytes (or pods, or devices), rounded up.
///
/// # Errors
/// The text is no quantity, or a negative one.
pub fn bytes(text: &str) -> Result<u64, ParseQuantityError> {
    let units = text.parse::<Quantity>()?.units();
    u64::try_from(units).map_err(|_| ParseQuantityError::Negative)
}

fn ceil_div(value: i128, divisor: i128) -> i128 {
    value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0)
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseQuantityError::Format);
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() + fraction.len() > DIGITS_MAX {
            return Err(ParseQuantityError::Range);
        }
        let digits: i128 =
            format!("0{whole}{fraction}").parse().map_err(|_| ParseQuantityError::Format)?;
        let places = i32::try_from(fraction.len()).map_err(|_| ParseQuantityError::Range)?;
        let (format, base, exponent) = read_suffix(suffix)?;
        let nanos = match base {
            2 => scale_binary(digits, places, exponent),
            _ => scale_decimal(digits, exponent - places + 9),
        }
        .ok_or(ParseQuantityError::Range)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

fn read_suffix(suffix: &str) -> Result<(Format, u32, i32), ParseQuantityError> {
    Ok(match suffix {
        "" => (Format::Decimal, 10, 0),
        "n" => (Format::Decimal, 10, -9),
        "u" => (Format::Decimal, 10, -6),
        "m" => (Format::Decimal, 10, -3),
        "k" => (Format::Decimal, 10, 3),
        "M" => (Format::Decimal, 10, 6),
        "G" => (Format::Decimal, 10, 9),
        "T" => (Format::Decimal, 10, 12),
        "P" => (Format::Decimal, 10, 15),
        "E" => (Format::Decimal, 10, 18),
        "Ki" => (Format::Binary, 2, 10),
        "Mi" => (Format::Binary, 2, 20),
        "Gi" => (Format::Binary, 2, 30),
        "Ti" => (Format::Binary, 2, 40),
        "Pi" => (Format::Binary, 2, 50),
        "Ei" => (Format::Binary, 2, 60),
        other => {
            let digits = other.strip_prefix(['e', 'E']).ok_or(ParseQuantityError::Format)?;
            let exponent: i32 = digits.parse().map_err(|_| ParseQuantityError::Format)?;
            if exponent.unsigned_abs() > 40 {
                return Err(ParseQuantityError::Range);
            }
            (Format::Exponent, 10, exponent)
        }
    })
}

/// `digits * 10^exponent`, rounded up.
fn scale_decimal(digits: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        if digits == 0 { Some(0) } else { digits.checked_mul(power?) }
    } else {
        // A divisor beyond the range leaves less than one nano unit, which rounds up to one.
        Some(power.map_or_else(|| i128::from(digits != 0), |power| ceil_div(digits, power)))
    }
}

/// `digits / 10^places * 2^exponent` in nano units, rounded up.
fn scale_binary(digits: i128, places: i32, exponent: i32) -> Option<i128> {
    let shifted = digits.checked_mul(1_i128.checked_shl(exponent.unsigned_abs())?)?;
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    if places <= 9 {
        shifted.checked_mul(power(9 - places)?)
    } else {
        Some(ceil_div(shifted, power(places - 9)?))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        const EXPONENT: [&str; 10] =
            ["e-9", "e-6", "e-3", "", "e3", "e6", "e9", "e12", "e15", "e18"];
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Upstream falls back to decimal suffixes where binary ones would need a fraction, or
        // where the number is below one Ki.
        if self.format == Format::Binary
            && self.nanos % NANO == 0
            && (self.nanos / NANO).abs() >= 1024
        {
            let mut value = self.nanos / NANO;
            let mut suffix = "";
            for next in BINARY.into_iter().skip(1) {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = next;
            }
            return write!(f, "{value}{suffix}");
        }
        let suffixes = if self.format == Format::Exponent { EXPONENT } else { DECIMAL };
        let mut value = self.nanos;
        let mut suffix = "";
        for next in suffixes {
            suffix = next;
            if value % 1000 != 0 || next == "E" || next == "e18" {
                break;
            }
            value /= 1000;
        }
        write!(f, "{value}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn quantities_are_printed_in_canonical_form() {
        let cases = [
            ("0", "0"),
            ("1", "1"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1500e-3", "1500e-3"),
            ("100M", "100M"),
            ("-5m", "-5m"),
            ("1000Ki", "1000Ki"),
            ("1Ei", "1Ei"),
            ("1E", "1E"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.1n", "1n"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", ".", "abc", "1x", "1.2.3", "Mi", "1 Gi", "--1", "1mi", "1e"] {
            assert_eq!(text.parse::<Quantity>(), Err(ParseQuantityError::Format), "{text}");
        }
        assert_eq!("1e39".parse::<Quantity>(), Err(ParseQuantityError::Range));
    }

    #[test]
    fn amounts_are_rounded_up() {
        assert_eq!(cpu_milli("0.5"), Ok(500));
        assert_eq!(cpu_milli("1u"), Ok(1));
        assert_eq!(bytes("64Mi"), Ok(64 << 20));
        assert_eq!(bytes("1m"), Ok(1));
        assert_eq!(bytes("-1"), Err(ParseQuantityError::Negative));
    }

    proptest! {
        #[test]
        fn printing_and_reading_keep_the_value(milli in any::<i64>()) {
            let quantity = Quantity::from_milli(milli);
            assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,30}[a-zA-Z0-9+-]{0,4}") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
            }
        }

        #[test]
        fn order_is_that_of_the_numbers(left in any::<i32>(), right in any::<i32>()) {
            let quantity = |value: i32| Quantity::from_units(i64::from(value));
            assert_eq!(quantity(left).cmp(&quantity(right)), left.cmp(&right));
            let sum = quantity(left).checked_add(quantity(right)).unwrap();
            assert_eq!(sum.units(), i64::from(left) + i64::from(right));
        }
    }
}
