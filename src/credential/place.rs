//! Where a credential is put on an upstream request, and how what the caller sent in that place is taken out first.
//!
//! A caller's field is taken out under every spelling that some origin reads as the same name: the place is
//! ours, and an origin that finds two values may take the other one. Nothing here does I/O; bodies are edited by the rooms
//! that send them, with the same names.

mod cookie;
mod header;
mod path;
mod query;

pub use query::could_be;

use http::header::HeaderMap;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A query parameter.
    Query(String),
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// The path segment with this number below the route's prefix, from 0.
    Segment(usize),
    /// A path segment in front of all others below the route's prefix, which begins with this text.
    Prefix(String),
    /// A field of a body in `application/x-www-form-urlencoded`.
    Form(String),
    /// A field of a body in `multipart/form-data`.
    Multipart(String),
    /// Where the request goes: the credential is an address.
    Address,
}

impl Place {
    /// Its kind, as the config says it, and what it is called.
    #[must_use]
    pub fn told(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Query(name) => ("query", Some(name.clone())),
            Self::Header(name) => ("header", Some(name.to_string())),
            Self::Cookie(name) => ("cookie", Some(name.clone())),
            Self::Segment(index) => ("path-segment", Some(index.to_string())),
            Self::Prefix(prefix) => ("path-prefix", Some(prefix.clone())),
            Self::Form(name) => ("form", Some(name.clone())),
            Self::Multipart(name) => ("multipart", Some(name.clone())),
            Self::Address => ("address", None),
        }
    }
}

/// What a credential does about what stands in its place already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Takes the place for itself.
    #[default]
    Replace,
    /// Stands beside what an earlier entry put there. What the caller sent is taken out all the same.
    Append,
    /// Stands there only if no earlier entry put anything there.
    OnlyIfAbsent,
}

/// Why a credential cannot be put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceFault {
    /// The value has characters that may not stand there.
    #[error("the value cannot stand in its place")]
    Value,
    /// The path has too few segments.
    #[error("the path has no such segment")]
    Short,
}

/// A request's target and fields, taken apart once for all edits.
#[derive(Debug)]
pub struct Draft<'h> {
    headers: &'h mut HeaderMap,
    path: String,
    query: Option<String>,
    /// Bytes of the path that are the prefix, below which segments count.
    mount: usize,
    changed: bool,
}

impl<'h> Draft<'h> {
    /// Takes a head apart; `mount` bytes of its path are the prefix.
    #[must_use]
    pub fn new(uri: &Uri, headers: &'h mut HeaderMap, mount: usize) -> Self {
        // A target that a mapping ticket leads to need not lie below the prefix.
        let mount = if uri.path().get(mount..).is_some_and(|below| below.is_empty() || below.starts_with('/')) { mount } else { 0 };
        Self { headers, path: uri.path().to_owned(), query: uri.query().map(str::to_owned), mount, changed: false }
    }

    /// How often the caller has sent something in this place. 0 for bodies, which are not in the head, and for the
    /// path's segments, which are always there.
    #[must_use]
    pub fn count(&self, place: &Place) -> usize {
        match place {
            Place::Query(name) => self.query.as_deref().map_or(0, |query| query::count(query, name)),
            Place::Header(name) => header::twins(self.headers, name).iter().map(|twin| self.headers.get_all(twin).iter().count()).sum(),
            Place::Cookie(name) => cookie::count(self.headers, name),
            Place::Prefix(prefix) => path::count(&self.path[self.mount..], prefix),
            Place::Segment(_) | Place::Form(_) | Place::Multipart(_) | Place::Address => 0,
        }
    }

    /// Takes out what stands in this place, under any spelling.
    pub fn clear(&mut self, place: &Place) {
        match place {
            Place::Query(name) => {
                if let Some(query) = self.query.take() {
                    self.query = query::without(&query, name);
                    self.changed |= self.query.as_deref() != Some(query.as_str());
                }
            }
            Place::Header(name) => header::remove(self.headers, name),
            Place::Cookie(name) => cookie::remove(self.headers, name),
            Place::Prefix(prefix) => {
                let below = path::without(&self.path[self.mount..], prefix);
                self.set_below(below.as_deref());
            }
            // A segment is taken out when another takes its number.
            Place::Segment(_) | Place::Form(_) | Place::Multipart(_) | Place::Address => {}
        }
    }

    /// Puts `value` in its place: instead of what an earlier entry put there, or beside it.
    ///
    /// # Errors
    /// [`PlaceFault`]. The values of bodies are not put here, and addresses are followed by who sends.
    pub fn put(&mut self, place: &Place, mode: Mode, value: &str) -> Result<(), PlaceFault> {
        if mode == Mode::OnlyIfAbsent && self.count(place) > 0 {
            return Ok(());
        }
        if mode == Mode::Replace {
            self.clear(place);
        }
        match place {
            Place::Query(name) => {
                crate::query::push(self.query.get_or_insert_default(), name, value);
                self.changed = true;
                Ok(())
            }
            Place::Header(name) => header::add(self.headers, name, value),
            Place::Cookie(name) => cookie::add(self.headers, name, value),
            Place::Segment(index) => {
                let below = path::with_segment(&self.path[self.mount..], *index, mode != Mode::Append, value)?;
                self.set_below(Some(&below));
                Ok(())
            }
            Place::Prefix(prefix) => {
                let below = path::with_segment(&self.path[self.mount..], 0, false, &format!("{prefix}{value}"))?;
                self.set_below(Some(&below));
                Ok(())
            }
            Place::Form(_) | Place::Multipart(_) | Place::Address => Ok(()),
        }
    }

    /// The new target; `None` when it stays as it was.
    ///
    /// # Errors
    /// [`PlaceFault::Value`] when it is none.
    pub fn target(self) -> Result<Option<Uri>, PlaceFault> {
        if !self.changed {
            return Ok(None);
        }
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path,
        };
        PathAndQuery::try_from(target).map(|target| Some(Uri::from(target))).map_err(|_| PlaceFault::Value)
    }

    fn set_below(&mut self, below: Option<&str>) {
        if let Some(below) = below {
            self.path.truncate(self.mount);
            self.path.push_str(below);
            self.changed = true;
        }
    }
}

/// Puts one value into a head: takes out what the caller sent in its place first. For what has one credential; several go
/// through one [`Draft`], the caller's parts of all of them taken out first.
///
/// # Errors
/// [`PlaceFault`].
pub fn place(head: &mut Parts, mount: usize, place: &Place, value: &str) -> Result<(), PlaceFault> {
    let mut draft = Draft::new(&head.uri, &mut head.headers, mount);
    draft.clear(place);
    draft.put(place, Mode::Replace, value)?;
    if let Some(uri) = draft.target()? {
        head.uri = uri;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
