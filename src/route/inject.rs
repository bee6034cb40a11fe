//! A route's credentials: which are put where on its requests, and what of its answers callers may not see.

use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::json::Field;
use crate::credential::{Credential, Format, Mode, Place, Scope};
use crate::name::Name;
use crate::path::percent_decode;
use crate::units::{Period, Size};

/// One `[[routes.inject]]` entry: a credential, and its place on the route's requests. What the caller sent in that place is
/// taken out first, under every spelling that some origin takes for the same name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InjectConfig {
    /// The credential, by name.
    pub credential: Name,
    /// The kind of place it goes into.
    pub into: Into,
    /// Name of the parameter, header, cookie or field; what a `path-prefix` segment begins with; the user of `basic`.
    #[serde(default)]
    pub name: Option<String>,
    /// Number of the `path-segment` below the route's prefix, from 0.
    #[serde(default)]
    pub segment: usize,
    /// What happens to what an earlier entry put into the same place.
    #[serde(default)]
    pub mode: Mode,
    /// Lets the caller's own value stand where exactly one came; with `only-if-absent` only.
    #[serde(default)]
    pub keep_own: bool,
    /// How it is written, such as `Token {value}` or `{detail.uid}`. Unset: as its place wants it.
    #[serde(default)]
    pub format: Option<String>,
    /// Which part of the path names the resource, such as `/videos/{resource}/**`, for a credential of scope `resource`.
    #[serde(default)]
    pub resource: Option<String>,
    /// Statuses by which the origin says that the credential is not good: it is renewed, and the request is sent once more.
    #[serde(default = "refusals")]
    pub refused_by: Vec<u16>,
}

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Into {
    /// A query parameter.
    Query,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
    /// `Authorization: Basic` with `name` as the user; without one, the value is the user and the password is empty.
    Basic,
    /// `Authorization: Bearer`.
    Bearer,
    /// A segment of the path: in place of the one there, or with `append` in front of it.
    PathSegment,
    /// A segment of its own in front of the path.
    PathPrefix,
    /// A field of a form in `application/x-www-form-urlencoded`.
    Form,
    /// A field of a form in `multipart/form-data`.
    Multipart,
    /// Nowhere on the request: it is a one-time upload address, of an origin that the route or its `answers` names, and the upload is
    /// sent to it.
    Address,
}

fn refusals() -> Vec<u16> {
    vec![401, 403]
}

/// A route's `answers` table: addresses that would show a credential become tickets of the gateway's own, and fields of JSON
/// answers are hidden.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswersConfig {
    /// Headers with an address in them that becomes a ticket.
    pub headers: Vec<String>,
    /// Origins, by name, that tickets may lead to beside the route's own.
    pub origins: Vec<Name>,
    /// How long a ticket is good.
    pub lifetime: Period,
    /// What the path segment of a ticket begins with, before `~`.
    pub marker: String,
    /// Lets in who comes to such an address without a token, as the vendors' own do: for SDKs that send their key in a header, and back
    /// ends that hand an address on. It opens for `lifetime`, whatever becomes of the token that it was asked for with.
    pub tokenless: bool,
    /// Fields of JSON answers.
    pub json: Vec<JsonConfig>,
    /// Longest JSON answer that is read; a longer one is withheld where `json` names fields.
    pub max_json: Size,
    /// Lets `Set-Cookie` of the origin through: cookies that were set for our credential are ours.
    pub keep_cookies: bool,
}

/// What happens to one field of JSON answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// `/result/uploadURL` (RFC 6901) or `result.uploadURL`; `*` is any key or index.
    pub field: String,
    /// What happens to it.
    #[serde(default)]
    pub action: JsonAction,
}

/// What happens to a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JsonAction {
    /// Its value is replaced by `"[redacted]"`.
    #[default]
    Redact,
    /// An address becomes a ticket; what is no address of a known origin is redacted.
    Rewrite,
}

impl Default for AnswersConfig {
    fn default() -> Self {
        Self {
            headers: vec!["location".into(), "content-location".into()],
            origins: Vec::new(),
            lifetime: Period::seconds(24 * 3600),
            marker: "up".into(),
            tokenless: false,
            json: Vec::new(),
            max_json: Size::kib(1024),
            keep_cookies: false,
        }
    }
}

/// A credential in its place, ready to serve.
#[derive(Debug)]
pub struct Injection {
    /// The credential.
    pub credential: Credential,
    /// Its place.
    pub place: Place,
    /// What happens to what an earlier entry put there.
    pub mode: Mode,
    /// Whether the caller's own value counts.
    pub keep_own: bool,
    /// How it is written.
    pub format: Format,
    /// Which part of the path names the resource.
    pub resource: Option<ResourcePath>,
    /// Statuses by which the origin refuses it.
    pub refused_by: Vec<StatusCode>,
}

impl InjectConfig {
    /// The place that it says.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn place(&self) -> Result<Place, String> {
        let named = || self.name.clone().filter(|name| !name.is_empty()).ok_or("this place needs a `name`".to_owned());
        if self.name.is_some() && matches!(self.into, Into::Bearer | Into::PathSegment | Into::Address) {
            return Err("this place has no `name`".into());
        }
        Ok(match self.into {
            Into::Query => Place::Query(named()?),
            Into::Header => Place::Header(header(&named()?)?),
            Into::Cookie => Place::Cookie(token(named()?)?),
            Into::Basic | Into::Bearer => Place::Header(AUTHORIZATION),
            Into::PathSegment => Place::Segment(self.segment),
            Into::PathPrefix => Place::Prefix(prefix(named()?)?),
            Into::Form => Place::Form(named()?),
            Into::Multipart => Place::Multipart(named()?),
            Into::Address => Place::Address,
        })
    }

    /// How it is written there.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn format(&self) -> Result<Format, String> {
        let user = self.name.as_deref();
        if self.into == Into::Basic && user.is_some_and(|user| user.contains(':')) {
            // RFC 7617 §2: the first colon ends the user.
            return Err("a user has no colon in it".into());
        }
        match (&self.format, self.into) {
            (Some(_), Into::Basic) if user.is_some() => Err("`format` writes the whole of user and password, so `name` has no use".into()),
            (Some(format), Into::Basic) => Ok(Format::parse(format)?.as_basic()),
            (Some(format), _) => Format::parse(format),
            (None, Into::Basic) => Ok(Format::basic(user)),
            (None, Into::Bearer) => Ok(Format::bearer()),
            (None, _) => Ok(Format::plain()),
        }
    }

    /// Ready to serve with `credential`, on a route that is `public` or not.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn build(&self, credential: Credential, public: bool) -> Result<Injection, String> {
        if self.keep_own && self.mode != Mode::OnlyIfAbsent {
            return Err("`keep_own` goes with `mode = \"only-if-absent\"`".into());
        }
        if credential.scope() == Scope::Session && public {
            return Err(format!("\"{}\" has a value for each session, and a public route knows nobody", credential.name()));
        }
        if (self.into == Into::Address) != credential.serves().is_address() {
            return Err(format!("upload addresses go into \"address\", and nothing else does; \"{}\" is not that", credential.name()));
        }
        if self.into == Into::Address && credential.scope() != Scope::Session {
            return Err(format!("an address is for one upload: the scope of \"{}\" must be \"session\"", credential.name()));
        }
        if self.resource.is_some() && credential.scope() != Scope::Resource {
            return Err(format!("`resource` does nothing: \"{}\" is not one for each resource", credential.name()));
        }
        let status = |code: &u16| StatusCode::from_u16(*code).ok().filter(StatusCode::is_client_error);
        let refused_by = self.refused_by.iter().map(|code| status(code).ok_or_else(|| format!("{code} refuses nobody; 4xx do")));
        Ok(Injection {
            place: self.place()?,
            mode: self.mode,
            keep_own: self.keep_own,
            format: self.format()?,
            resource: self.resource.as_deref().map(ResourcePath::parse).transpose()?,
            refused_by: refused_by.collect::<Result<_, _>>()?,
            credential,
        })
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a header name"))?;
    let framing = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect", "trailer", "cookie"];
    if framing.contains(&header.as_str()) { Err(format!("\"{name}\" is not for credentials")) } else { Ok(header) }
}

fn token(name: String) -> Result<String, String> {
    // RFC 6265 §4.1.1: a cookie's name is a token.
    if HeaderName::from_bytes(name.as_bytes()).is_ok() { Ok(name) } else { Err(format!("\"{name}\" is not a cookie name")) }
}

fn prefix(text: String) -> Result<String, String> {
    let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~=,:@".contains(&b));
    if fine { Ok(text) } else { Err(format!("\"{text}\" cannot begin a path segment")) }
}

/// Which part of a path names the resource: literal segments, `*` for any one, `{resource}` for the one that does, `**` at the end
/// for whatever follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePath {
    segments: Vec<Segment>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Is(String),
    Any,
    Resource,
}

impl ResourcePath {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("\"{text}\" is not like \"/videos/{{resource}}/**\"");
        let inner = text.strip_prefix('/').ok_or_else(fault)?;
        let (inner, open) = inner.strip_suffix("/**").map_or((inner, false), |inner| (inner, true));
        let segment = |segment: &str| match segment {
            "{resource}" => Ok(Segment::Resource),
            "*" => Ok(Segment::Any),
            "" | "**" => Err(fault()),
            text if text.contains(['{', '}', '*']) => Err(fault()),
            text => Ok(Segment::Is(text.to_owned())),
        };
        let segments: Vec<Segment> = inner.split('/').map(segment).collect::<Result<_, _>>()?;
        if segments.iter().filter(|segment| **segment == Segment::Resource).count() != 1 {
            return Err(fault());
        }
        Ok(Self { segments, open })
    }

    /// The resource that a raw path names.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<String> {
        let came: Vec<String> = path.strip_prefix('/')?.split('/').map(percent_decode).collect::<Option<_>>()?;
        let fits = came.len() == self.segments.len() || (self.open && came.len() > self.segments.len());
        let same = |(meant, came): (&Segment, &String)| match meant {
            Segment::Is(text) => text == came,
            Segment::Any | Segment::Resource => !came.is_empty(),
        };
        if !fits || !self.segments.iter().zip(&came).all(same) {
            return None;
        }
        let at = self.segments.iter().position(|segment| *segment == Segment::Resource)?;
        Some(came[at].clone())
    }
}

/// A route's `answers` table, ready to serve. `O` stands for an origin on the floor above.
#[derive(Debug)]
pub struct Answers<O> {
    /// Headers whose addresses become tickets.
    pub headers: Vec<HeaderName>,
    /// Origins that tickets may lead to beside the route's own.
    pub origins: Vec<O>,
    /// How long a ticket is good, in seconds.
    pub lifetime: i64,
    /// What a ticket's segment begins with.
    pub marker: String,
    /// Whether a ticket opens without a token.
    pub tokenless: bool,
    /// Fields of JSON answers.
    pub json: Vec<(Field, JsonAction)>,
    /// Longest JSON answer that is read.
    pub max_json: usize,
    /// Whether `Set-Cookie` passes.
    pub keep_cookies: bool,
}

impl AnswersConfig {
    /// What does not make sense: the key, and a sentence on it.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut note = |key, fault: Option<String>| faults.extend(fault.map(|fault| (key, fault)));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let marker = (1..=16).contains(&self.marker.len()) && self.marker.bytes().all(plain);
        note("marker", (!marker).then(|| "`marker` is 1 to 16 letters, digits, '-' and '_'".into()));
        note("lifetime", (self.lifetime.as_unix() < 1).then(|| "`lifetime` must not be 0: no ticket would ever be good".into()));
        note("max_json", (self.max_json.0 == 0).then(|| "`max_json` must not be 0".into()));
        for header in &self.headers {
            note("headers", HeaderName::from_bytes(header.as_bytes()).err().map(|_| format!("`{header}` is not a header name")));
        }
        for rule in &self.json {
            note("json", Field::parse(&rule.field).err());
        }
        faults
    }

    /// Ready to serve with `origins`, the ones that it names.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn build<O>(&self, origins: Vec<O>) -> Result<Answers<O>, String> {
        if let Some((_, fault)) = self.faults().into_iter().next() {
            return Err(fault);
        }
        Ok(Answers {
            headers: self.headers.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect(),
            origins,
            lifetime: self.lifetime.as_unix(),
            marker: format!("{}~", self.marker),
            tokenless: self.tokenless,
            json: self.json.iter().map(|rule| Ok((Field::parse(&rule.field)?, rule.action))).collect::<Result<_, String>>()?,
            max_json: self.max_json.as_usize(),
            keep_cookies: self.keep_cookies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> InjectConfig {
        let mut table: serde_json::Value = serde_json::from_str(json).expect("JSON");
        table["credential"] = "c".into();
        serde_json::from_value(table).expect("a table")
    }

    #[test]
    fn places_need_what_they_need() {
        for (json, place) in [
            (r#"{"into":"query","name":"t"}"#, Place::Query("t".into())),
            (r#"{"into":"header","name":"X-Key"}"#, Place::Header(HeaderName::from_static("x-key"))),
            (r#"{"into":"cookie","name":"c"}"#, Place::Cookie("c".into())),
            (r#"{"into":"basic"}"#, Place::Header(AUTHORIZATION)),
            (r#"{"into":"basic","name":"ann"}"#, Place::Header(AUTHORIZATION)),
            (r#"{"into":"bearer"}"#, Place::Header(AUTHORIZATION)),
            (r#"{"into":"path-segment","segment":2}"#, Place::Segment(2)),
            (r#"{"into":"path-prefix","name":"t="}"#, Place::Prefix("t=".into())),
            (r#"{"into":"form","name":"f"}"#, Place::Form("f".into())),
            (r#"{"into":"multipart","name":"f"}"#, Place::Multipart("f".into())),
        ] {
            assert_eq!(config(json).place(), Ok(place), "{json}");
            assert!(config(json).format().is_ok(), "{json}");
        }
        for json in [
            r#"{"into":"query"}"#,
            r#"{"into":"query","name":""}"#,
            r#"{"into":"header","name":"a b"}"#,
            r#"{"into":"header","name":"Host"}"#,
            r#"{"into":"header","name":"cookie"}"#,
            r#"{"into":"cookie","name":"a;b"}"#,
            r#"{"into":"bearer","name":"x"}"#,
            r#"{"into":"path-prefix","name":"a/b"}"#,
        ] {
            assert!(config(json).place().is_err(), "{json}");
        }
        assert!(config(r#"{"into":"basic","name":"a:b"}"#).format().is_err());
        assert!(config(r#"{"into":"basic","name":"a","format":"{value}:x"}"#).format().is_err());
    }

    #[test]
    fn resources_are_found_in_paths() {
        let path = ResourcePath::parse("/videos/{resource}/**").expect("a template");
        for (came, found) in [
            ("/videos/v1", Some("v1")),
            ("/videos/v1/a/b", Some("v1")),
            ("/videos/v%20x", Some("v x")),
            ("/videos/", None),
            ("/videos", None),
            ("/video/v1", None),
        ] {
            assert_eq!(path.find(came).as_deref(), found, "{came}");
        }
        let exact = ResourcePath::parse("/*/{resource}").expect("a template");
        assert_eq!((exact.find("/a/b").as_deref(), exact.find("/a/b/c").as_deref()), (Some("b"), None));
        for bad in ["", "videos/{resource}", "/videos", "/{resource}/{resource}", "/a//{resource}", "/**/{resource}", "/x{resource}"] {
            assert!(ResourcePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_that_make_no_sense_are_told() {
        let faulty = AnswersConfig {
            marker: "a/b".into(),
            lifetime: Period::seconds(0),
            max_json: Size(0),
            headers: vec!["a b".into()],
            json: vec![JsonConfig { field: String::new(), action: JsonAction::Redact }],
            ..AnswersConfig::default()
        };
        assert_eq!(faulty.faults().len(), 5);
        assert!(AnswersConfig::default().faults().is_empty() && AnswersConfig::default().build::<()>(Vec::new()).is_ok());
    }
}
