//! Durations and sizes as people write them in a config: `10s`, `1h 30m`, `32KiB`.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time: `250ms`, `10s`, `1h 30m`. A bare `0` means "off" where the key says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Whole seconds, at most `i64::MAX`, for arithmetic with [`crate::clock::UnixTime`].
    #[must_use]
    pub fn as_unix(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Debug for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = TextOrNumber::deserialize(from)?;
        match text {
            TextOrNumber::Text(text) => humantime::parse_duration(text.trim()).map(Self).map_err(|_| {
                serde::de::Error::custom("not a duration: write a number and a unit, such as \"250ms\", \"10s\", \"5m\" or \"1h 30m\"")
            }),
            TextOrNumber::Number(0) => Ok(Self(Duration::ZERO)),
            TextOrNumber::Number(_) => Err(serde::de::Error::custom("a duration needs its unit, such as \"10s\"")),
        }
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "a duration such as \"250ms\", \"10s\", \"1h 30m\"; 0 alone needs no unit" })
    }
}

/// A number of bytes: `32KiB`, `1MB`, or a bare number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// So many KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// As a `usize`, held at its end.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Debug for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", bytesize::ByteSize(self.0).display().iec())
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match TextOrNumber::deserialize(from)? {
            TextOrNumber::Number(bytes) => Ok(Self(bytes)),
            TextOrNumber::Text(text) => text
                .parse::<bytesize::ByteSize>()
                .map(|size| Self(size.0))
                .map_err(|_| serde::de::Error::custom("not a size: write bytes, or a number and a unit, such as \"32KiB\"")),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "a size in bytes, or such as \"32KiB\", \"1MB\"" })
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text with a unit")]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(serde_json::from_str::<Period>("\"1h 30m\"").expect("duration").0, Duration::from_secs(5400));
        assert_eq!(serde_json::from_str::<Period>("0").expect("off").0, Duration::ZERO);
        assert!(serde_json::from_str::<Period>("10").is_err());
        assert!(serde_json::from_str::<Period>("\"soon\"").is_err());
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!(serde_json::from_str::<Size>("\"32KiB\"").expect("size"), Size::kib(32));
        assert_eq!(serde_json::from_str::<Size>("7").expect("size"), Size(7));
        assert!(serde_json::from_str::<Size>("\"big\"").is_err());
    }
}
