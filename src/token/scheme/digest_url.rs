//! The scheme `digest-url`: links signed by a digest or an HMAC over a text made of parts of the
//! request, by recipe.
//!
//! The recipes differ, the rules do not: every field that rides in the URL is covered by the signature;
//! a field that comes twice is refused; the signature is compared in constant time and in full length;
//! moments have one spelling. Several vendors hash fields without a separator between them. Where such a
//! field is a moment, it must have its full width, so that no digit can pass from one to the other; a path
//! that runs into an address (`{path}{ip}`) stays ambiguous as the vendor made it: a link for `/a/1` and
//! `2.3.4.5` is one for `/a/` and `12.3.4.5` too.

mod moment;
mod recipe;
mod template;

use std::borrow::Cow;

use base64::Engine as _;

use super::digest;
use super::{Scheme, SignError, SignRequest, Signed, fields};
use crate::clock::UnixTime;
use crate::path::{CleanPath, percent_decode};
use crate::query;
use crate::token::attributes::{Attribute, Viewer};
use crate::token::grant::Window;
use crate::token::near::Prefixes;
use crate::token::{Carrier, Denial, Grant, Key, KeySource, Presented, RequestFacts, Strip, Where, carrier};
pub use moment::Form;
pub use recipe::{Boundary, Config, Encoding, KeyEncoding, Place, Preset, SourceConfig};
use recipe::{From, Recipe, Source};

/// The longest link fields together, in bytes.
const MAX_FIELDS: usize = 8 * 1024;

/// The scheme with its keys.
#[derive(Debug)]
pub struct DigestUrl {
    recipe: Recipe,
    keys: KeySource,
}

/// What a message is made from: a request to verify, or one to sign for.
struct Scene<'s> {
    https: bool,
    method: &'s str,
    host: &'s str,
    path: &'s str,
    decoded: String,
    query: Option<&'s str>,
    viewer: &'s dyn Viewer,
    prefixes: Prefixes,
}

/// The fields of a link, by name.
type Fields<'f> = Vec<(&'f str, &'f str)>;

fn field<'f>(fields: &[(&str, &'f str)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(have, _)| *have == name).map(|(_, value)| *value)
}

impl DigestUrl {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        Ok(Self { recipe: Recipe::new(config)?, keys })
    }

    /// The value of one place, with what to strip. `Ok(None)` when it is not there.
    fn find<'r>(source: &Source, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        match &source.from {
            From::Query(name, _) => {
                let Some(raw) = carrier::single_query(facts.query.unwrap_or(""), name)? else { return Ok(None) };
                Ok(Some(Presented { token: raw.into(), strip: vec![Strip::Query(name.clone())] }))
            }
            From::Cookie(name, _) => Carrier::Cookie(name.clone()).find(facts),
            From::Header(name, _) => Carrier::Header(name.clone(), String::new()).find(facts),
            From::Path(shapes) => {
                let Some((head, _)) = split_segments(facts.below_mount(), shapes.len()) else { return Ok(None) };
                let strip = (0..shapes.len()).map(Strip::Segment).collect();
                Ok(Some(Presented { token: head.into(), strip }))
            }
        }
    }

    /// The fields of one place, appended as lines `name=value`.
    fn read(source: &Source, value: &str, lines: &mut String) -> Result<(), Denial> {
        let value = decoded(source, value)?;
        let parts: Vec<&str> = if matches!(source.from, From::Path(_)) { value.split('/').collect() } else { vec![&value] };
        for (shape, part) in source.shapes().iter().zip(parts) {
            for (name, field) in shape.read(part).ok_or(Denial::Malformed)? {
                if field.bytes().any(|b| b.is_ascii_control()) {
                    return Err(Denial::Malformed);
                }
                lines.extend([name, "=", field, "\n"]);
            }
        }
        Ok(())
    }

    /// Whether the signature among `lines`, if it is among them, could be one.
    fn looks_signed(&self, lines: &str) -> bool {
        let signature = lines.lines().find_map(|line| line.strip_prefix("signature="));
        signature.is_none_or(|text| decode_signature(self.recipe.encoding, text).is_some_and(|bytes| bytes.len() == self.recipe.hash.len()))
    }

    fn head_segments(&self) -> usize {
        self.recipe.sources.iter().map(|source| if let From::Path(shapes) = &source.from { shapes.len() } else { 0 }).sum()
    }

    fn scene<'s>(&self, facts: &'s RequestFacts<'s>, path: &'s str) -> Result<Scene<'s>, Denial> {
        Ok(Scene {
            https: facts.https,
            method: facts.method.as_str(),
            host: facts.host,
            path,
            decoded: percent_decode(path).ok_or(Denial::Malformed)?,
            query: facts.query,
            viewer: facts,
            prefixes: self.recipe.prefixes,
        })
    }

    /// The text under the signature, `secret` being the key's octets.
    fn message(&self, scene: &Scene<'_>, fields: &Fields<'_>, secret: &[u8]) -> Result<Vec<u8>, Denial> {
        self.recipe.message.write(|name, out| {
            if name == "secret" {
                out.extend_from_slice(secret);
            } else if let Some(value) = field(fields, name) {
                out.extend_from_slice(value.as_bytes());
            } else {
                out.extend_from_slice(scene.part(name)?.as_bytes());
            }
            Ok(())
        })
    }

    fn digest(&self, scene: &Scene<'_>, fields: &Fields<'_>, key: &Key) -> Result<Vec<u8>, Denial> {
        let secret = self.secret(key).ok_or(Denial::WrongAlgorithm)?;
        let message = self.message(scene, fields, &secret)?;
        Ok(if self.recipe.hmac { self.recipe.hash.mac(&secret, &[&message]) } else { self.recipe.hash.of(&[&message]) })
    }

    fn secret<'k>(&self, key: &'k Key) -> Option<Cow<'k, [u8]>> {
        let octets = key.octets()?;
        match self.recipe.key_encoding {
            KeyEncoding::Plain => Some(octets.into()),
            KeyEncoding::Base64 => base64::engine::general_purpose::STANDARD.decode(octets).ok().map(Cow::Owned),
            KeyEncoding::Hex => digest::unhex(&std::str::from_utf8(octets).ok()?.to_ascii_lowercase()).map(Cow::Owned),
        }
    }

    fn signer(&self, scene: &Scene<'_>, fields: &Fields<'_>) -> Result<std::sync::Arc<Key>, Denial> {
        let given = field(fields, "signature").ok_or(Denial::Malformed)?;
        let given = decode_signature(self.recipe.encoding, given).ok_or(Denial::Malformed)?;
        let keys = self.keys.load();
        for key in keys.iter().filter(|key| key.octets().is_some()) {
            if digest::same(&self.digest(scene, fields, key)?, &given) {
                return Ok(key.clone());
            }
        }
        Err(Denial::BadSignature)
    }

    fn moment(&self, text: &str) -> Result<i64, Denial> {
        let full = self.recipe.time.width().is_none_or(|width| text.len() == width);
        if self.recipe.fixed_width && !full {
            return Err(Denial::Malformed);
        }
        let moment = self.recipe.time.read(text).ok_or(Denial::Malformed)?;
        Ok(moment - self.recipe.utc_offset)
    }

    fn window(&self, fields: &Fields<'_>) -> Result<Window, Denial> {
        let mut window = Window::default();
        if let Some(start) = field(fields, "start") {
            window.from = UnixTime(self.moment(start)?);
        }
        let Some(time) = field(fields, "time") else { return Ok(window) };
        let time = self.moment(time)?;
        let period = match field(fields, "period") {
            Some(text) => Form::Unix.read(text).ok_or(Denial::Malformed)?,
            None => 0,
        };
        if field(fields, "period").is_some() && period == 0 {
            // The nginx HMAC module reads a period of zero as "without an end".
            return if self.recipe.require_expiry { Err(Denial::NoExpiry) } else { Ok(window) };
        }
        let end = UnixTime(time).plus(self.recipe.validity).plus(period.saturating_mul(self.recipe.period_unit));
        window.until = if self.recipe.boundary == Boundary::Through { end.plus(1) } else { end };
        Ok(window)
    }
}

impl Scene<'_> {
    /// A part of the request, by its name in a template.
    fn part(&self, name: &str) -> Result<Cow<'_, str>, Denial> {
        Ok(match name {
            "path" => self.path.into(),
            "decoded_path" => self.decoded.as_str().into(),
            "link" => self.link().into(),
            "stream" => self.link().rsplit_once('/').map_or("", |(stream, _)| stream).into(),
            "ip" => self.viewer.address().ok_or(Denial::Address)?.to_canonical().to_string().into(),
            "host" => self.host.into(),
            "scheme" => if self.https { "https" } else { "http" }.into(),
            "method" => self.method.into(),
            "network" | "system" | "country" => Attribute::parse(name).ok_or(Denial::Malformed)?.value(self.viewer, self.prefixes)?.into(),
            _ => self.named_part(name)?,
        })
    }

    fn link(&self) -> &str {
        self.decoded.strip_prefix('/').unwrap_or(&self.decoded)
    }

    fn named_part(&self, name: &str) -> Result<Cow<'_, str>, Denial> {
        let (kind, name) = name.split_once('.').ok_or(Denial::Malformed)?;
        match kind {
            "dir" => {
                let index = name.parse::<usize>().map_err(|_| Denial::Malformed)?;
                let folders = self.link().rsplit_once('/').map_or("", |(folders, _)| folders);
                folders.split('/').nth(index).filter(|folder| !folder.is_empty()).map(Cow::from).ok_or(Denial::Path)
            }
            "query" => Ok(carrier::single_query(self.query.unwrap_or(""), name)?.unwrap_or("").into()),
            "header" => Ok(self.viewer.header(name)?.unwrap_or("").into()),
            _ => Err(Denial::Malformed),
        }
    }
}

/// The first `count` segments of `below` and, with its slash, what comes after them.
fn split_segments(below: &str, count: usize) -> Option<(&str, &str)> {
    let inner = below.strip_prefix('/')?;
    let slash = inner.match_indices('/').nth(count.checked_sub(1)?)?.0;
    Some((&inner[..slash], &inner[slash..]))
}

fn decoded<'v>(source: &Source, value: &'v str) -> Result<Cow<'v, str>, Denial> {
    let value = if source.decode { Cow::Owned(percent_decode(value).ok_or(Denial::Malformed)?) } else { Cow::Borrowed(value) };
    if !source.base64 {
        return Ok(value);
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_bytes()).map_err(|_| Denial::Malformed)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Denial::Malformed)
}

fn decode_signature(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => digest::unhex(text),
        Encoding::Base64url => digest::base64url(text),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD.decode(text).ok(),
    }
}

fn encode_signature(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => digest::hex(bytes),
        Encoding::Base64url => base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

impl Scheme for DigestUrl {
    fn kind(&self) -> &'static str {
        "digest-url"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let mut lines = String::new();
        let mut strip = Vec::new();
        let mut missing = false;
        let mut signed = false;
        for source in &self.recipe.sources {
            let holds_signature = source.fields().any(|name| name == "signature");
            match Self::find(source, facts)? {
                Some(found) if found.token.len() > MAX_FIELDS => return Err(Denial::TooLarge),
                Some(found) => {
                    let read = Self::read(source, &found.token, &mut lines);
                    // Any path has segments: only those of the right shape are a token.
                    if matches!(source.from, From::Path(_)) && (read.is_err() || !self.looks_signed(&lines)) {
                        return Ok(None);
                    }
                    read?;
                    strip.extend(found.strip);
                    signed |= holds_signature;
                }
                None => missing = true,
            }
        }
        match (signed, missing) {
            (false, _) => Ok(None),
            (true, true) => Err(Denial::Malformed),
            (true, false) => Ok(Some(Presented { token: lines.into(), strip })),
        }
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let fields: Fields<'_> = presented.token.lines().filter_map(|line| line.split_once('=')).collect();
        let path = match self.head_segments() {
            0 => Cow::Borrowed(facts.path.raw()),
            count => {
                let (_, rest) = split_segments(facts.below_mount(), count).ok_or(Denial::Malformed)?;
                Cow::Owned(format!("{}{rest}", &facts.path.raw()[..facts.mount]))
            }
        };
        let key = self.signer(&self.scene(facts, &path)?, &fields)?;
        // What the signature covers of the viewer holds for children that come without it, too.
        let covered = self.recipe.message.fields().filter_map(Attribute::parse);
        let bindings = covered.filter_map(|attribute| attribute.binding(facts, self.recipe.prefixes)).collect();
        Ok(Grant { key_id: key.id().cloned(), window: self.window(&fields)?, bindings, ..Grant::default() })
    }

    /// The signature covers the path, so one token's verdict differs from path to path.
    fn remembers(&self) -> bool {
        false
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let mut owned = self.fields_for(request)?;
        let scene = self.scene_for(request)?;
        let fields: Fields<'_> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let cannot = |denial: Denial| SignError::CannotExpress(format!("the recipe needs what the request does not give ({denial})"));
        let signature = encode_signature(self.recipe.encoding, &self.digest(&scene, &fields, &key).map_err(cannot)?);
        owned.push(("signature".into(), signature));
        self.place(request, &owned)
    }

    fn reads(&self, place: Where<'_>) -> bool {
        self.recipe.sources.iter().any(|source| match (&source.from, place) {
            (From::Query(name, _), Where::Query(here)) | (From::Cookie(name, _), Where::Cookie(here)) => name == here,
            (From::Header(name, _), Where::Header(here)) => name == here,
            _ => false,
        })
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

impl DigestUrl {
    fn scene_for<'s>(&self, request: &'s SignRequest) -> Result<Scene<'s>, SignError> {
        let path = CleanPath::parse(&request.path).map_err(|fault| SignError::CannotExpress(fault.to_string()))?;
        Ok(Scene {
            https: request.https,
            method: "GET",
            host: request.host.split(':').next().unwrap_or(""),
            path: &request.path,
            decoded: path.decoded().to_owned(),
            query: request.query.as_deref(),
            viewer: request,
            prefixes: self.recipe.prefixes,
        })
    }

    /// The values of every field but the signature.
    fn fields_for(&self, request: &SignRequest) -> Result<Vec<(String, String)>, SignError> {
        let names: Vec<&str> = self.recipe.sources.iter().flat_map(Source::fields).filter(|name| *name != "signature").collect();
        let is_free = |name: &str| names.contains(&name) && !["time", "start", "period"].contains(&name);
        if !request.claims.keys().all(|name| is_free(name)) {
            return Err(SignError::NoWords("claims"));
        }
        names.into_iter().map(|name| Ok((name.to_owned(), self.field_for(name, request)?))).collect()
    }

    fn field_for(&self, name: &str, request: &SignRequest) -> Result<String, SignError> {
        let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
        let has_period = self.recipe.sources.iter().flat_map(Source::fields).any(|field| field == "period");
        let write = |moment: i64| self.recipe.time.write(moment + self.recipe.utc_offset);
        match name {
            "time" if has_period => Ok(write(request.now.ok_or_else(|| cannot("now is needed"))?.0)),
            "time" => Ok(write(self.last_second(request)? - self.recipe.validity)),
            "start" => Ok(write(request.not_before.or(request.now).ok_or_else(|| cannot("not_before is needed"))?.0)),
            "period" => {
                let now = request.now.ok_or_else(|| cannot("now is needed"))?;
                let steps = (self.last_second(request)? - now.0).div_euclid(self.recipe.period_unit.max(1));
                if steps > 0 { Ok(steps.to_string()) } else { Err(cannot("the link would be over, or without an end")) }
            }
            other => match request.claims.get(other) {
                Some(serde_json::Value::String(text)) => Ok(text.clone()),
                Some(number @ serde_json::Value::Number(_)) => Ok(number.to_string()),
                Some(_) => Err(cannot("a field of a link is text or a number")),
                None => Ok("0".into()),
            },
        }
    }

    fn last_second(&self, request: &SignRequest) -> Result<i64, SignError> {
        let expires = request.expires.ok_or_else(|| SignError::CannotExpress("the recipe needs an expiry".into()))?;
        Ok(if self.recipe.boundary == Boundary::Through { expires.0 - 1 } else { expires.0 })
    }

    /// Puts the fields where they ride.
    fn place(&self, request: &SignRequest, fields: &[(String, String)]) -> Result<Signed, SignError> {
        let mut signed = Signed { path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
        for source in &self.recipe.sources {
            let texts = source.shapes().iter().map(|shape| fill(shape, fields)).collect::<Result<Vec<_>, _>>()?;
            let text = match texts.join("/") {
                plain if source.base64 => base64::engine::general_purpose::STANDARD.encode(plain),
                plain => plain,
            };
            match &source.from {
                From::Query(name, _) => {
                    let query = signed.query.get_or_insert_default();
                    if source.decode {
                        query::push(query, name, &text);
                    } else {
                        let separator = if query.is_empty() { "" } else { "&" };
                        query.extend([separator, name.as_str(), "=", text.as_str()]);
                    }
                }
                From::Cookie(name, _) => signed.cookies.push((name.clone(), text.clone())),
                From::Header(name, _) => signed.headers.push((name.clone(), text.clone())),
                From::Path(_) => signed.path.insert_str(request.mount, &format!("/{text}")),
            }
            signed.token = text;
        }
        Ok(signed)
    }
}

fn fill(shape: &template::Template, fields: &[(String, String)]) -> Result<String, SignError> {
    let bytes = shape.write(|name, out| {
        let value = fields.iter().find(|(have, _)| have == name).map_or("", |(_, value)| value.as_str());
        out.extend_from_slice(value.as_bytes());
        Ok::<(), SignError>(())
    })?;
    let text = String::from_utf8(bytes).map_err(|_| SignError::Crypto)?;
    let back = shape.read(&text);
    let same = back.is_some_and(|back| back.iter().all(|(name, value)| fields.iter().any(|(n, v)| n == name && v == value)));
    if same { Ok(text) } else { Err(SignError::CannotExpress("a field holds the sign that ends it".into())) }
}

#[cfg(test)]
mod tests;
