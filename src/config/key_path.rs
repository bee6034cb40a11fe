//! Where a key stands in the config: `server.limits.max_head`, `routes[0].path`.

use std::fmt;

use serde::{Serialize, Serializer};

/// One step down: into a table by key, or into a list by position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// A position in a list, from 0.
    At(usize),
}

/// The steps from the top of the config down to a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(pub Vec<Step>);

impl KeyPath {
    /// The path of a table or key at the top.
    #[must_use]
    pub fn top(key: &str) -> Self {
        Self(vec![Step::Key(key.to_owned())])
    }

    /// One key further down.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// One list position further down.
    #[must_use]
    pub fn at(&self, index: usize) -> Self {
        self.with(Step::At(index))
    }

    /// One step further down.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The table or list it stands in; `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// The last key, list positions left out.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::At(_) => None,
        })
    }

    /// Whether it is `other`, or lies below it.
    #[must_use]
    pub fn is_under(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::At(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_people_write_them() {
        let path = KeyPath::top("routes").at(0).key("cors").key("max_age");
        assert_eq!(path.to_string(), "routes[0].cors.max_age");
        assert_eq!(path.last_key(), Some("max_age"));
        assert!(path.is_under(&KeyPath::top("routes").at(0)));
        assert!(!path.is_under(&KeyPath::top("routes").at(1)));
    }
}
