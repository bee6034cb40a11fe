//! The signed requests that Google Cloud CDN and Media CDN have in common: a signed URL, a signed
//! URL prefix in query or cookie, a signed path component. They differ in the signature only.
//!
//! The fields come in one fixed order with the signature last; anything else beside them refuses the
//! token. A token's text is one letter for its form, the signature, and the signed bytes, which hold
//! the URL where the signature covers it: verdicts can be remembered under that text.

use super::{SignError, SignRequest, Signed, digest, fields};
use crate::clock::UnixTime;
use crate::path::percent_decode;
use crate::token::grant::Window;
use crate::token::url_rule::{self, UrlPrefix, UrlRule};
use crate::token::{Carrier, Denial, Grant, Presented, RequestFacts, Scope, Strip, Where, carrier};

const FIELDS: [&str; 4] = ["URLPrefix", "Expires", "KeyName", "Signature"];
const LONGEST: usize = 8192;

/// How a signed request looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Query, the whole URL signed.
    Url,
    /// Query, a prefix signed.
    Prefix,
    /// Cookie, a prefix signed.
    Cookie,
    /// Path component, all before it signed.
    Path,
}

/// A signed request, taken apart.
pub(super) struct SignedRequest<'t> {
    form: Form,
    /// The encoded signature.
    pub(super) signature: &'t str,
    /// The bytes it covers.
    pub(super) signed: &'t str,
    /// The key that made it.
    pub(super) key_name: &'t str,
    expires: &'t str,
    prefix: Option<&'t str>,
}

fn text(form: Form, signature: &str, signed: &str) -> Result<String, Denial> {
    // Clients may encode the padding.
    let signature = percent_decode(signature).ok_or(Denial::Malformed)?;
    let letter = match form {
        Form::Url => 'u',
        Form::Prefix => 'p',
        Form::Cookie => 'c',
        Form::Path => 'd',
    };
    if signature.contains('\n') || signature.len() + signed.len() > LONGEST + crate::path::CleanPath::MAX {
        return Err(Denial::Malformed);
    }
    let text = format!("{letter}\n{signature}\n{signed}");
    SignedRequest::parse(&text)?;
    Ok(text)
}

/// Whether these are the name of a field in the query.
pub(super) fn reads(place: Where<'_>) -> bool {
    matches!(place, Where::Query(name) if FIELDS.contains(&name))
}

/// A signed URL or URL prefix in the query.
pub(super) fn in_query<'r>(facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
    let Some(query) = facts.query else { return Ok(None) };
    let mut given = [false; 4];
    for (given, name) in given.iter_mut().zip(FIELDS) {
        *given = carrier::single_query(query, name)?.is_some();
    }
    // `Expires` and `Signature` are other vendors' names too.
    let [prefix, _, key_name, _] = given;
    if !prefix && !key_name {
        return Ok(None);
    }
    let (signed, signature) = query.rsplit_once("&Signature=").ok_or(Denial::Malformed)?;
    if signature.contains('&') {
        return Err(Denial::Malformed);
    }
    let token = if prefix {
        let at = if signed.starts_with("URLPrefix=") { 0 } else { signed.find("&URLPrefix=").ok_or(Denial::Malformed)? + 1 };
        text(Form::Prefix, signature, &signed[at..])?
    } else {
        text(Form::Url, signature, &format!("{}{}?{signed}", url_rule::origin(facts), facts.path.raw()))?
    };
    let strip = FIELDS.iter().map(|name| Strip::Query((*name).to_owned())).collect();
    Ok(Some(Presented { token: token.into(), strip }))
}

/// Whether a cookie's value is a signed prefix, rather than a token of another format.
pub(super) fn is_cookie(value: &str) -> bool {
    value.contains(":KeyName=") && !value.contains('~')
}

/// A signed URL prefix in a cookie.
pub(super) fn in_cookie<'r>(facts: &RequestFacts<'r>, name: &str) -> Result<Option<Presented<'r>>, Denial> {
    let Some(found) = Carrier::Cookie(name.to_owned()).find(facts)? else { return Ok(None) };
    let (signed, signature) = found.token.rsplit_once(":Signature=").ok_or(Denial::Malformed)?;
    let token = text(Form::Cookie, signature, signed)?;
    Ok(Some(Presented { token: token.into(), strip: found.strip }))
}

/// A signed path component; `start` is its beginning, with the sign.
pub(super) fn in_path<'r>(facts: &RequestFacts<'r>, start: &str) -> Result<Option<Presented<'r>>, Denial> {
    let Some(found) = Carrier::PathPrefixed(start.to_owned()).find(facts)? else { return Ok(None) };
    let (fields, signature) = found.token.rsplit_once("&Signature=").ok_or(Denial::Malformed)?;
    let raw = facts.path.raw();
    let before = raw.find(&format!("/{start}")).and_then(|at| raw.get(..=at)).ok_or(Denial::Malformed)?;
    let token = text(Form::Path, signature, &format!("{}{before}{start}{fields}", url_rule::origin(facts)))?;
    Ok(Some(Presented { token: token.into(), strip: found.strip }))
}

impl<'t> SignedRequest<'t> {
    /// Reads a token's text.
    pub(super) fn parse(text: &'t str) -> Result<Self, Denial> {
        let mut lines = text.splitn(3, '\n');
        let (Some(letter), Some(signature), Some(signed)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Denial::Malformed);
        };
        let (form, separator) = match letter {
            "u" => (Form::Url, '&'),
            "p" => (Form::Prefix, '&'),
            "c" => (Form::Cookie, ':'),
            "d" => (Form::Path, '&'),
            _ => return Err(Denial::Malformed),
        };
        let fields = match form {
            Form::Url => signed.split_once('?').ok_or(Denial::Malformed)?.1,
            Form::Prefix | Form::Cookie => signed,
            Form::Path => signed.rsplit_once('/').and_then(|(_, last)| last.split_once('=')).ok_or(Denial::Malformed)?.1,
        };
        let mut fields = fields.rsplit(separator);
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=').filter(|value| !value.is_empty());
        let (Some(key_name), Some(expires)) = (field("KeyName"), field("Expires")) else { return Err(Denial::Malformed) };
        let prefix = match form {
            Form::Prefix | Form::Cookie => Some(field("URLPrefix").ok_or(Denial::Malformed)?),
            Form::Url | Form::Path => None,
        };
        let named = key_name.len() <= 128 && key_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !named || (form != Form::Url && fields.next().is_some()) {
            return Err(Denial::Malformed);
        }
        Ok(Self { form, signature, signed, key_name, expires, prefix })
    }

    /// When it says that it ends.
    pub(super) fn ends(&self) -> Option<UnixTime> {
        fields::seconds(self.expires).ok()
    }

    /// What it allows, once its signature has been found good. `Expires` is the last good second.
    pub(super) fn grant(&self, leeway: i64) -> Result<Grant, Denial> {
        let scope = match (self.form, self.prefix) {
            (Form::Prefix | Form::Cookie, Some(prefix)) => url_scope(prefix, "")?,
            // All of the URL before the component is in the signed bytes.
            (Form::Path, _) => below_component(self.signed)?,
            // The URL is.
            _ => Scope::Route,
        };
        let until = fields::seconds(self.expires)?.plus(leeway).plus(1);
        Ok(Grant { window: Window::until(until), scope, key_id: Some(self.key_name.into()), ..Grant::default() })
    }
}

/// The scope of a signed path component: what lies in the folder that it stands in.
fn below_component(signed: &str) -> Result<Scope, Denial> {
    let (folder, component) = signed.rsplit_once('/').ok_or(Denial::Malformed)?;
    let (name, _) = component.split_once('=').ok_or(Denial::Malformed)?;
    let prefix = UrlPrefix::parse(&format!("{folder}/")).ok_or(Denial::Unsupported)?;
    Ok(Scope::Urls(vec![UrlRule::Under { prefix, beside: Some(format!("{name}=")) }]))
}

/// The scope of an encoded `URLPrefix`; `start` is the beginning of the token's path segment, if it has one.
pub(super) fn url_scope(encoded: &str, start: &str) -> Result<Scope, Denial> {
    let prefix = digest::base64url(encoded).and_then(|bytes| String::from_utf8(bytes).ok());
    let prefix = prefix.and_then(|url| UrlPrefix::parse(&url)).ok_or(Denial::Unsupported)?;
    let beside = (!start.is_empty()).then(|| start.to_owned());
    Ok(Scope::Urls(vec![UrlRule::Under { prefix, beside }]))
}

/// Where a new signed request is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put<'c> {
    /// In the query.
    Query,
    /// In a cookie of this name.
    Cookie(&'c str),
    /// In a path component that begins with this.
    Path(&'c str),
}

/// Makes a signed request; `sign` gives the encoded signature of a text.
pub(super) fn sign(
    request: &SignRequest,
    put: Put<'_>,
    key_name: &str,
    sign: impl Fn(&str) -> Option<String>,
) -> Result<Signed, SignError> {
    let expires = fields::expiry(request)?.plus(-1);
    let beyond = request.client_ip.is_some() || request.not_before.is_some() || request.subject.is_some() || !request.claims.is_empty();
    let own = |query: &str| crate::query::pairs(query).any(|(name, _)| FIELDS.contains(&name));
    if beyond || request.query.as_deref().is_some_and(own) {
        return Err(cannot("a signed request has fields for an expiry and a prefix only, and its names must be free in the query"));
    }
    let signature = |text: &str| sign(text).ok_or(SignError::Crypto);
    let tail = format!("Expires={expires}&KeyName={key_name}");
    let mut out = Signed { path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
    let before = request.query.as_ref().map_or_else(String::new, |query| format!("{query}&"));
    match put {
        Put::Query if request.scope.is_none() => {
            let covered = format!("{}{}?{before}{tail}", origin(request), request.path);
            out.token = format!("{tail}&Signature={}", signature(&covered)?);
            out.query = Some(format!("{before}{}", out.token));
        }
        Put::Query => {
            let covered = format!("URLPrefix={}&{tail}", url_prefix(request)?);
            out.token = format!("{covered}&Signature={}", signature(&covered)?);
            out.query = Some(format!("{before}{}", out.token));
        }
        Put::Cookie(name) => {
            let covered = format!("URLPrefix={}:Expires={expires}:KeyName={key_name}", url_prefix(request)?);
            out.token = format!("{covered}:Signature={}", signature(&covered)?);
            out.cookies.push((name.to_owned(), out.token.clone()));
        }
        Put::Path(start) => {
            let folder = folder(request)?;
            let covered = format!("{}{folder}{start}{tail}", origin(request));
            out.token = format!("{tail}&Signature={}", signature(&covered)?.trim_end_matches('='));
            out.path = format!("{folder}{start}{}/{}", out.token, &request.path[folder.len()..]);
        }
    }
    Ok(out)
}

fn cannot(why: &str) -> SignError {
    SignError::CannotExpress(why.to_owned())
}

fn origin(request: &SignRequest) -> String {
    format!("{}://{}", if request.https { "https" } else { "http" }, request.host)
}

/// The encoded `URLPrefix`: the scope, as a path of this host or a whole URL; else the path's folder.
pub(super) fn url_prefix(request: &SignRequest) -> Result<String, SignError> {
    use base64::Engine as _;
    let url = match request.scope.as_deref() {
        Some(url) if url.contains("://") => url.to_owned(),
        Some(_) | None => format!("{}{}", origin(request), folder(request)?),
    };
    UrlPrefix::parse(&url).ok_or_else(|| cannot("the scope is not the beginning of a URL"))?;
    Ok(base64::engine::general_purpose::URL_SAFE.encode(url))
}

fn folder(request: &SignRequest) -> Result<&str, SignError> {
    match request.scope.as_deref() {
        None => Ok(&request.path[..request.path.rfind('/').map_or(0, |at| at + 1)]),
        Some(scope) if scope.ends_with('/') && request.path.starts_with(scope) => Ok(scope),
        Some(_) => Err(cannot("the scope must be a folder above the path, with a slash at its end")),
    }
}
