//! Names from the config: routes, origins, schemes, key sets.
//!
//! A name is safe as a metric label, a log field and a part of a file name, because nothing else
//! can become a [`Name`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// 1 to 64 of `a-z A-Z 0-9 - _ .`, the first one a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Name(#[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"))] Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 letters, digits, '-', '_' or '.', the first one a letter or digit")]
pub struct NotAName;

impl Name {
    /// Longest name, so that a label or a log field stays short.
    pub const MAX: usize = 64;

    /// Takes `text` as a name.
    ///
    /// # Errors
    /// [`NotAName`] when a character or the length is outside the rule.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if first && rest && text.len() <= Self::MAX { Ok(Self(text.into())) } else { Err(NotAName) }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_label_safe() {
        for good in ["a", "vod", "v1.2_x-y", "9", &"a".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a\n", "ü", "a/b", "a\"", &"a".repeat(65)] {
            assert_eq!(Name::new(bad), Err(NotAName), "{bad}");
        }
    }
}
