//! Quantities as people write them: `10MiB`, `600/hour`, `30m`.

use serde::{Deserialize, Deserializer, de::Error};

/// A number of bytes: `0`, `512`, `10KiB`, `10MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A time in seconds: `45s`, `30m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// So much in so many seconds: `600/hour`, `1GiB/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub amount: u64,
    /// In how many seconds.
    pub seconds: u64,
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = units.iter().find(|(unit, _)| text.ends_with(unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (text.strip_suffix(unit)?, *factor),
        None => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(factor)
}

impl Bytes {
    /// The units that a number of bytes may have.
    pub(crate) const UNITS: [(&str, u64); 3] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

    /// Reads a number of bytes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        with_unit(text, &Self::UNITS).map(Self)
    }
}

impl Span {
    /// The units of a time, in seconds.
    pub(crate) const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

    /// Reads a time; its unit is not optional.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        with_unit(text, &Self::UNITS).filter(|seconds| unit && *seconds > 0).map(Self)
    }
}

impl Rate {
    /// The times in which an amount is counted, in seconds.
    pub(crate) const PERIODS: [(&str, u64); 4] =
        [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];

    /// Reads an amount per period; the amount may be a number of bytes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (amount, period) = text.split_once('/')?;
        let (_, seconds) = Self::PERIODS.iter().find(|(name, _)| *name == period)?;
        Some(Self { amount: Bytes::read(amount)?.0, seconds: *seconds })
    }
}

/// A scalar of YAML, which a number may also be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D, what: &str) -> Result<String, D::Error> {
    match Scalar::deserialize(deserializer) {
        Ok(Scalar::Number(number)) => Ok(number.to_string()),
        Ok(Scalar::Text(text)) => Ok(text),
        Err(_other) => Err(Error::custom(format!("expected {what}"))),
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "a number, with KiB, MiB or GiB for bytes";
        let text = scalar(deserializer, what)?;
        Self::read(&text).ok_or_else(|| Error::custom(format!("`{text}`: expected {what}")))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "a time such as 45s, 30m, 12h or 7d";
        let text = scalar(deserializer, what)?;
        Self::read(&text).ok_or_else(|| Error::custom(format!("`{text}`: expected {what}")))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let what = "an amount per second, minute, hour or day, such as 600/hour or 1GiB/day";
        let text = scalar(deserializer, what)?;
        Self::read(&text).ok_or_else(|| Error::custom(format!("`{text}`: expected {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_or_refused() {
        assert_eq!(Bytes::read("10MiB"), Some(Bytes(10 << 20)));
        assert_eq!(Bytes::read("0"), Some(Bytes(0)));
        assert_eq!(Span::read("30m"), Some(Span(1_800)));
        assert_eq!(Rate::read("1GiB/day"), Some(Rate { amount: 1 << 30, seconds: 86_400 }));
        for bad in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "1 MiB",
            "1MB",
            "99999999999999999999",
            "17179869184GiB",
        ] {
            assert_eq!(Bytes::read(bad), None, "{bad}");
        }
        for bad in ["30", "0s", "m", "1w"] {
            assert_eq!(Span::read(bad), None, "{bad}");
        }
        for bad in ["600", "600/year", "/hour", "x/hour"] {
            assert_eq!(Rate::read(bad), None, "{bad}");
        }
    }
}
