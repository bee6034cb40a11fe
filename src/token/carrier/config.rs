//! Carriers as the config writes them, the search over several of them, and the way a new token gets into its place.

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Carrier, Presented};
use crate::query;
use crate::token::{Denial, RequestFacts, SignError, SignRequest, Signed};

/// One place where a token may ride: `"path-segment"`, or a table with one of `query`, `header`,
/// `cookie`, `path_parameter` and `path_prefix`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum CarrierConfig {
    /// `"path-segment"`: the first path segment below the route's prefix.
    Word(CarrierWord),
    /// A table.
    Table(CarrierTable),
}

impl<'de> Deserialize<'de> for CarrierConfig {
    /// By hand, so that a fault in a table is that table's own and names the key.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = CarrierConfig;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"path-segment\", or a table with one of query, header, cookie, path_parameter and path_prefix")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<CarrierConfig, E> {
                CarrierWord::deserialize(word.into_deserializer()).map(CarrierConfig::Word)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<CarrierConfig, A::Error> {
                CarrierTable::deserialize(MapAccessDeserializer::new(table)).map(CarrierConfig::Table)
            }
        }

        from.deserialize_any(Either)
    }
}

/// Carriers that need no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierWord {
    /// The first path segment below the route's prefix.
    PathSegment,
}

/// A carrier with a name; exactly one of the keys but `prefix` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CarrierTable {
    /// A query parameter.
    pub query: Option<String>,
    /// A header.
    pub header: Option<String>,
    /// What stands before the token in the header; `"Bearer "` for `authorization` when unset, nothing for others.
    pub prefix: Option<String>,
    /// A cookie.
    pub cookie: Option<String>,
    /// A path parameter, `;name=TOKEN`; the route must let path parameters through.
    pub path_parameter: Option<String>,
    /// What a path segment begins with that carries the token, such as `t=`.
    pub path_prefix: Option<String>,
}

impl CarrierConfig {
    /// The carrier it says.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn build(&self) -> Result<Carrier, String> {
        match self {
            Self::Word(CarrierWord::PathSegment) => Ok(Carrier::PathSegment),
            Self::Table(table) => table.build(),
        }
    }
}

impl CarrierTable {
    fn build(&self) -> Result<Carrier, String> {
        let named = [&self.query, &self.header, &self.cookie, &self.path_parameter, &self.path_prefix];
        if named.iter().filter(|name| name.is_some()).count() != 1 || named.into_iter().flatten().any(String::is_empty) {
            return Err("a carrier has exactly one of query, header, cookie, path_parameter and path_prefix, and it is not empty".into());
        }
        if self.prefix.is_some() && self.header.is_none() {
            return Err("prefix goes with header only; for path segments write path_prefix".into());
        }
        Ok(if let Some(name) = &self.header {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a header name"))?;
            let bearer = if name == http::header::AUTHORIZATION { "Bearer " } else { "" };
            Carrier::Header(name, self.prefix.clone().unwrap_or_else(|| bearer.into()))
        } else if let Some(name) = &self.query {
            Carrier::Query(name.clone())
        } else if let Some(name) = &self.cookie {
            Carrier::Cookie(name.clone())
        } else if let Some(name) = &self.path_parameter {
            Carrier::PathParameter(name.clone())
        } else {
            Carrier::PathPrefixed(self.path_prefix.clone().unwrap_or_default())
        })
    }
}

/// `?token=`, and `Authorization: Bearer`.
#[must_use]
pub fn query_and_bearer() -> Vec<CarrierConfig> {
    let table = |table| CarrierConfig::Table(table);
    vec![
        table(CarrierTable { query: Some("token".into()), ..CarrierTable::default() }),
        table(CarrierTable { header: Some("authorization".into()), prefix: Some("Bearer ".into()), ..CarrierTable::default() }),
    ]
}

/// The one token that any of `carriers` holds. The same token in several places is one token, taken out of all of them.
/// Every path has a first segment; it is a token only if `segment_is_token` says so.
///
/// # Errors
/// As [`Carrier::find`]; [`Denial::Ambiguous`] when two places hold different tokens.
pub fn find_in<'r>(
    carriers: &[Carrier],
    facts: &RequestFacts<'r>,
    segment_is_token: impl Fn(&str) -> bool,
) -> Result<Option<Presented<'r>>, Denial> {
    super::only(carriers.iter().map(|carrier| {
        let is_token = |text: &str| !text.is_empty() && (*carrier != Carrier::PathSegment || segment_is_token(text));
        Ok(carrier.find(facts)?.filter(|here| is_token(&here.token)))
    }))
}

/// The URL or headers of `request` with `token` in this carrier, where [`Carrier::find`] finds it again.
///
/// # Errors
/// [`SignError::CannotExpress`] when the token's text cannot stand there.
pub fn place(carrier: &Carrier, request: &SignRequest, token: String) -> Result<Signed, SignError> {
    let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
    let mut signed = Signed { path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
    let (mount, below) =
        request.path.split_at_checked(request.mount).ok_or_else(|| cannot("the route's prefix is longer than the path"))?;
    let in_path = matches!(carrier, Carrier::PathSegment | Carrier::PathPrefixed(_) | Carrier::PathParameter(_));
    if in_path && (!below.starts_with('/') || token.contains(['/', ';', '%', '?', '#'])) {
        return Err(cannot("the token cannot stand in this path"));
    }
    match carrier {
        Carrier::PathSegment => signed.path = format!("{mount}/{token}{below}"),
        Carrier::PathPrefixed(prefix) => signed.path = format!("{mount}/{prefix}{token}{below}"),
        Carrier::PathParameter(name) => {
            let end = below[1..].find('/').map_or(below.len(), |end| end + 1);
            signed.path = format!("{mount}{};{name}={token}{}", &below[..end], &below[end..]);
        }
        Carrier::Query(name) => {
            let mut query = request.query.clone().unwrap_or_default();
            query::push(&mut query, name, &token);
            signed.query = Some(query);
        }
        Carrier::Header(name, prefix) => {
            let value = format!("{prefix}{token}");
            HeaderValue::from_str(&value).map_err(|_| cannot("the token cannot stand in a header"))?;
            signed.headers.push((name.clone(), value));
        }
        Carrier::Cookie(name) => signed.cookies.push((name.clone(), token.clone())),
    }
    signed.token = token;
    Ok(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(json: &str) -> Result<Carrier, String> {
        serde_json::from_str::<CarrierConfig>(json).map_err(|e| e.to_string())?.build()
    }

    #[test]
    fn carriers_are_read() {
        let authorization = http::header::AUTHORIZATION;
        for (json, carrier) in [
            (r#""path-segment""#, Carrier::PathSegment),
            (r#"{"query":"token"}"#, Carrier::Query("token".into())),
            (r#"{"header":"Authorization"}"#, Carrier::Header(authorization.clone(), "Bearer ".into())),
            (r#"{"header":"authorization","prefix":""}"#, Carrier::Header(authorization, String::new())),
            (r#"{"header":"x-token"}"#, Carrier::Header(HeaderName::from_static("x-token"), String::new())),
            (r#"{"cookie":"c"}"#, Carrier::Cookie("c".into())),
            (r#"{"path_parameter":"p"}"#, Carrier::PathParameter("p".into())),
            (r#"{"path_prefix":"t="}"#, Carrier::PathPrefixed("t=".into())),
        ] {
            assert_eq!(build(json), Ok(carrier), "{json}");
        }
    }

    #[test]
    fn carriers_that_say_nothing_or_too_much_are_refused() {
        for json in [
            "{}",
            r#"{"query":""}"#,
            r#"{"query":"a","cookie":"b"}"#,
            r#"{"query":"a","prefix":"b"}"#,
            r#"{"header":"a b"}"#,
            r#"{"quary":"a"}"#,
            r#""path""#,
        ] {
            assert!(build(json).is_err(), "{json}");
        }
        assert!(build(r#"{"quary":"a"}"#).expect_err("a fault").contains("unknown field `quary`"));
    }
}
