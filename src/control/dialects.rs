//! The dialects at their base paths, and which of them a request is for.

use std::sync::Arc;

use super::{BaseConfig, Dialect};

/// Dialects with their bases.
#[derive(Clone, Default)]
pub struct Dialects(Arc<Vec<Mounted>>);

struct Mounted {
    /// Without a slash at its end; empty at the root.
    base: String,
    dialect: Box<dyn Dialect>,
}

impl Dialects {
    /// The dialects that the config gives a base.
    #[must_use]
    pub fn new(config: &BaseConfig) -> Self {
        let all: [(&Option<String>, fn() -> Box<dyn Dialect>); 1] = [(&config.tollgate, || Box::new(super::own::Own))];
        Self::mounted(all.into_iter().filter_map(|(base, make)| Some((base.as_deref()?, make()))))
    }

    /// These dialects, each at its base.
    pub fn mounted<'b>(all: impl Iterator<Item = (&'b str, Box<dyn Dialect>)>) -> Self {
        let mut mounted: Vec<Mounted> =
            all.map(|(base, dialect)| Mounted { base: base.trim_end_matches('/').to_owned(), dialect }).collect();
        // The longest base speaks first; among equals, the order of the list.
        mounted.sort_by_key(|mounted| std::cmp::Reverse(mounted.base.len()));
        Self(Arc::new(mounted))
    }

    /// The dialect that a raw path is for, and the path below its base. A path that none owns goes to the one with the
    /// longest base above it, which knows how to say that it is not there.
    #[must_use]
    pub fn find<'p>(&self, path: &'p str) -> Option<(&dyn Dialect, &'p str)> {
        let below = |mounted: &Mounted| {
            let rest = path.strip_prefix(mounted.base.as_str())?;
            if rest.is_empty() { Some("/") } else { rest.starts_with('/').then_some(rest) }
        };
        let mut under = self.0.iter().filter_map(|mounted| Some((&*mounted.dialect, below(mounted)?)));
        let first = under.clone().next();
        under.find(|(dialect, rest)| dialect.owns(rest)).or(first)
    }
}
