//! A short token for a long one: how Akamai (`hdnts` for `hdntl`) and Media CDN (dual-token) let children in.
//!
//! The short token opens the entry only, for a minute; with the entry comes a token for its folder, good for a whole film.
//! Who answers with the long token also verifies it. It is never given for less than was shown: the short one's address and
//! session are in the long one, and an entry in the route's own folder gets none, because that would open the whole route.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Due, SignError};
use crate::clock::UnixTime;
use crate::path;
use crate::token::renewal::{self, Renewal, RenewalCarrier, Renewed};
use crate::token::{Grant, Presented, carrier};
use crate::units::Period;

/// A scheme's `exchange` table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// How long the long token is good.
    pub lifetime: Period,
    /// How it travels: `cookie`, or `path`, which relative links inherit and which needs no cookies.
    pub into: Into,
    /// The name of the cookie or path segment; `hdntl` or the vendor's own when unset.
    pub name: Option<String>,
    /// The id of the key that signs it; the first one that can when unset.
    pub key: Option<String>,
    /// Extensions of entries: what a long token is given with.
    pub entries: Vec<String>,
}

/// How a long token travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Into {
    /// In a cookie for the entry's folder, with the entry.
    #[default]
    Cookie,
    /// In a path segment, by a redirect of the entry.
    Path,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { lifetime: Period::seconds(4 * 3600), into: Into::Cookie, name: None, key: None, entries: vec!["m3u8".into(), "mpd".into()] }
    }
}

impl Exchange {
    /// The wish that a short token's grant carries.
    pub(super) fn renewal(&self) -> Renewal {
        Renewal { within: None, seconds: self.lifetime.as_unix(), by: RenewalCarrier::Same }
    }

    /// The long token with which a short one is answered, by this name; `make` makes it for a folder, until a time.
    ///
    /// # Errors
    /// [`SignError`] of `make`, or for an entry in the route's own folder.
    pub(super) fn renew(
        &self,
        due: &Due<'_>,
        name: &str,
        make: impl FnOnce(&str, UnixTime) -> Result<String, SignError>,
    ) -> Result<Option<Renewed>, SignError> {
        let Some(renewal) = &due.grant.renewal else { return Ok(None) };
        let Some(folder) = self.folder(due)? else { return Ok(None) };
        let until = due.now.plus(renewal.seconds);
        let token = make(&folder, until)?;
        Ok(Some(self.answer(due, (name, token), (&folder, until))))
    }

    /// The folder of an entry as its children will name it, with a slash at its end; `None` for what is no entry.
    ///
    /// # Errors
    /// [`SignError::CannotExpress`] for an entry in the route's own folder.
    fn folder(&self, due: &Due<'_>) -> Result<Option<String>, SignError> {
        let (raw, _) = carrier::target(due.facts, &due.presented.strip, due.grant);
        let file = raw.rsplit('/').next().unwrap_or("");
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !self.entries.iter().any(|entry| entry.eq_ignore_ascii_case(extension)) {
            return Ok(None);
        }
        let folder = &raw[..raw.len() - file.len()];
        if folder.len() <= due.facts.mount + 1 {
            return Err(SignError::CannotExpress("the entry lies in the route's own folder, which a long token would open whole".into()));
        }
        Ok(Some(folder.to_owned()))
    }

    /// What carries the long token to the viewer.
    fn answer(&self, due: &Due<'_>, (name, token): (&str, String), (folder, until): (&str, UnixTime)) -> Renewed {
        let mut renewed = Renewed { token, cookies: Vec::new(), headers: Vec::new(), redirect: None, until };
        match self.into {
            Into::Cookie => {
                // A `;` ends the attribute: the cookie then belongs to the folder above.
                let path = folder.split(';').next().unwrap_or("/");
                renewed.cookies.push(renewal::set_cookie(name, &renewed.token, path, self.lifetime.as_unix(), &[]));
            }
            Into::Path => {
                // What the token adds for the origin is added on each request, so it does not stand in the URL.
                let bare = Grant { upstream_query: Vec::new(), ..due.grant.clone() };
                let (path, query) = carrier::target(due.facts, &due.presented.strip, &bare);
                let (mount, below) = path.split_at(due.facts.mount.min(path.len()));
                let query = query.map_or_else(String::new, |query| format!("?{query}"));
                renewed.redirect = Some((302, format!("{mount}/{name}={}{below}{query}", renewed.token)));
            }
        }
        renewed
    }
}

/// Of two tokens found in one request, the one that speaks: a long one stays with the browser while it opens entries by
/// short ones, so the one that ends later does. Both are taken out. `None` when neither says when it ends.
pub(super) fn later<'r>(first: Presented<'r>, second: Presented<'r>, ends: impl Fn(&str) -> Option<UnixTime>) -> Option<Presented<'r>> {
    let (one, other) = (ends(&first.token)?, ends(&second.token)?);
    let (mut speaks, silent) = if other > one { (second, first) } else { (first, second) };
    speaks.strip.extend(silent.strip);
    Some(speaks)
}

/// The folder as it stands in a list of patterns; `None` when it would read as one itself.
pub(super) fn plain(folder: &str) -> Option<&str> {
    let decoded = path::percent_decode(folder)?;
    (decoded == folder && !folder.contains(['*', '?', '!', ',', '~', '[', ']', '{', '}'])).then_some(folder)
}

#[cfg(test)]
mod tests;
