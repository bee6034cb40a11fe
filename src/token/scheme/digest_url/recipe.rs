//! The recipes of `digest-url`: what is hashed, how, and where the parts ride; by preset or spelt out.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::moment::Form;
use super::template::{Piece, Template};
use crate::name::Name;
use crate::token::near::Prefixes;
use crate::token::scheme::digest::Hash;
use crate::units::Period;

/// The table's keys. A preset fills in all but `keys`; every key given beside it wins over the preset's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set with the shared secrets; every one of them is tried.
    pub keys: Name,
    /// A vendor's recipe to begin with.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// What is hashed: text with `{path}` (as received), `{decoded_path}`, `{link}` (decoded, without the
    /// first slash), `{stream}` (the same without its last segment), `{dir.N}` (the N-th folder, from 0),
    /// `{ip}`, `{network}` (of the address, as `198.51.100.0/24`), `{system}` (its AS number), `{country}`, `{host}`, `{scheme}`, `{method}`, `{secret}`, `{query.NAME}` (raw; empty when absent),
    /// `{header.NAME}` (empty when absent), and the fields of `sources`. Put a separator between fields of
    /// free length: without one, two requests can have the same text, and without a preset it is refused.
    #[serde(default)]
    pub message: Option<String>,
    /// Where the signature and the other fields ride.
    #[serde(default)]
    pub sources: Option<Vec<SourceConfig>>,
    /// The hash function.
    #[serde(default)]
    pub hash: Option<Hash>,
    /// Whether the secret keys an HMAC, or is hashed as part of the message (`{secret}`).
    #[serde(default)]
    pub hmac: Option<bool>,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// How the secret is written in the key set.
    #[serde(default)]
    pub key_encoding: Option<KeyEncoding>,
    /// How `{time}` and `{start}` are written.
    #[serde(default)]
    pub time: Option<Form>,
    /// Whether the last second itself is still good.
    #[serde(default)]
    pub boundary: Option<Boundary>,
    /// How long after `{time}` the link is good: zero when `{time}` is the end itself.
    #[serde(default)]
    pub validity: Option<Period>,
    /// What one step of `{period}` is.
    #[serde(default)]
    pub period_unit: Option<Period>,
    /// How many minutes the signer's clock face is ahead of UTC, for forms without a zone (480 for UTC+8).
    #[serde(default)]
    pub utc_offset_minutes: Option<i32>,
    /// Whether a link without an end is refused (it is, unless the preset says otherwise).
    #[serde(default)]
    pub require_expiry: Option<bool>,
    /// Whether the message may leave the path out, so that a link opens every path of its route. Nimble's
    /// recipe is of this kind; all others are refused without a path in the message.
    #[serde(default)]
    pub any_path: Option<bool>,
    /// What of an address is its `{network}`.
    #[serde(flatten)]
    pub prefixes: Prefixes,
}

/// The vendors' recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// nginx `secure_link` and `secure_link_md5`: `?md5=…&expires=…`.
    NginxSecureLink,
    /// nginx `secure_link_secret`: `/p/HASH/link`, without an end.
    NginxSecureLinkSecret,
    /// ngx_http_hmac_secure_link_module: `?st=…&ts=…&e=…`.
    NginxHmacSecureLink,
    /// Fastly's token functions: `?token=EXPIRES_HMAC`; the secret in base64.
    Fastly,
    /// Alibaba Cloud CDN, URL signing type A.
    AlibabaA,
    /// Alibaba Cloud CDN, type B.
    AlibabaB,
    /// Alibaba Cloud CDN, type C.
    AlibabaC,
    /// Tencent Cloud CDN, type A.
    TencentA,
    /// Tencent Cloud CDN, type B.
    TencentB,
    /// Tencent Cloud CDN, type C.
    TencentC,
    /// Tencent Cloud CDN, type D.
    TencentD,
    /// KeyCDN secure tokens.
    Keycdn,
    /// Nimble Streamer (WMSPanel) `wmsAuthSign`.
    Nimble,
    /// Flussonic `securetoken`.
    Flussonic,
}

/// One place with fields in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Where.
    pub from: Place,
    /// How the fields stand in it, such as `{time}_{signature}`; for `path` the leading segments, such as
    /// `/{signature}/{time}`. `{time}`, `{start}` and `{period}` mean what they say; other names are free.
    pub shape: String,
    /// Whether the value is percent-decoded first; nginx variables are not.
    #[serde(default)]
    pub decode: bool,
    /// Whether the whole value is base64 of the shape.
    #[serde(default)]
    pub base64: bool,
}

/// A place in the request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The query parameter of this name.
    Query(String),
    /// The cookie of this name.
    Cookie(String),
    /// The header of this name.
    Header(String),
    /// The first path segments below the route's prefix.
    Path,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hex.
    Hex,
    /// base64url (RFC 4648 §5) without padding; padding is let pass.
    Base64url,
    /// base64 (RFC 4648 §4) with padding.
    Base64,
}

/// How a secret is written in the key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The octets are the secret.
    #[default]
    Plain,
    /// The octets are base64 of it.
    Base64,
    /// The octets are hex of it.
    Hex,
}

/// What the end of a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// Still good in that second.
    #[default]
    Through,
    /// Refused from that second on.
    Until,
}

/// A recipe, checked.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) message: Template,
    pub(super) sources: Vec<Source>,
    pub(super) hash: Hash,
    pub(super) hmac: bool,
    pub(super) encoding: Encoding,
    pub(super) key_encoding: KeyEncoding,
    pub(super) time: Form,
    pub(super) boundary: Boundary,
    pub(super) validity: i64,
    pub(super) period_unit: i64,
    pub(super) utc_offset: i64,
    pub(super) require_expiry: bool,
    /// Moments must have their full width, because they stand beside another field in the message.
    pub(super) fixed_width: bool,
    pub(super) prefixes: Prefixes,
}

/// A place, checked.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) from: From,
    pub(super) decode: bool,
    pub(super) base64: bool,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    Query(String, Template),
    Cookie(String, Template),
    Header(HeaderName, Template),
    Path(Vec<Template>),
}

impl Source {
    pub(super) fn shapes(&self) -> &[Template] {
        match &self.from {
            From::Query(_, shape) | From::Cookie(_, shape) | From::Header(_, shape) => std::slice::from_ref(shape),
            From::Path(shapes) => shapes,
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.shapes().iter().flat_map(Template::fields)
    }
}

/// A preset's part, before the config's own keys.
struct Base {
    message: &'static str,
    sources: Vec<SourceConfig>,
    hash: Hash,
    hmac: bool,
    encoding: Encoding,
    time: Form,
    validity: u64,
    period_unit: u64,
}

fn query(name: &str, shape: &str) -> SourceConfig {
    SourceConfig { from: Place::Query(name.into()), shape: shape.into(), decode: false, base64: false }
}

fn path(shape: &str) -> SourceConfig {
    SourceConfig { from: Place::Path, shape: shape.into(), decode: false, base64: false }
}

impl Base {
    fn md5(message: &'static str, sources: Vec<SourceConfig>) -> Self {
        Self { message, sources, hash: Hash::Md5, hmac: false, encoding: Encoding::Hex, time: Form::Unix, validity: 0, period_unit: 1 }
    }
}

/// Half an hour: what Alibaba's and Tencent's consoles begin with.
const CONSOLE_VALIDITY: u64 = 1800;

impl Preset {
    fn base(self) -> Base {
        match self {
            Self::NginxSecureLink | Self::NginxSecureLinkSecret | Self::NginxHmacSecureLink => self.nginx(),
            Self::AlibabaA | Self::AlibabaB | Self::AlibabaC => self.alibaba(),
            Self::TencentA | Self::TencentB | Self::TencentC | Self::TencentD => self.tencent(),
            Self::Fastly => Base { hash: Hash::Sha1, hmac: true, ..Base::md5("{path}{time}", vec![query("token", "{time}_{signature}")]) },
            Self::Keycdn => Base {
                encoding: Encoding::Base64url,
                ..Base::md5("{path}{secret}{time}", vec![query("token", "{signature}"), query("expire", "{time}")])
            },
            Self::Nimble => {
                let shape = "server_time={time}&hash_value={signature}&validminutes={period}";
                let source = SourceConfig { base64: true, decode: true, ..query("wmsAuthSign", shape) };
                let base = Base::md5("{ip}{secret}{time}{period}", vec![source]);
                Base { encoding: Encoding::Base64, time: Form::UsDate, period_unit: 60, ..base }
            }
            Self::Flussonic => Base {
                hash: Hash::Sha1,
                ..Base::md5("{stream}{ip}{start}{time}{secret}{salt}", vec![query("token", "{signature}-{salt}-{time}-{start}")])
            },
        }
    }

    fn nginx(self) -> Base {
        match self {
            Self::NginxSecureLinkSecret => Base::md5("{link}{secret}", vec![path("/p/{signature}")]),
            Self::NginxHmacSecureLink => {
                let sources = vec![query("st", "{signature}"), query("ts", "{time}"), query("e", "{period}")];
                let base = Base::md5("{decoded_path}|{time}|{period}", sources);
                Base { hash: Hash::Sha256, hmac: true, encoding: Encoding::Base64url, time: Form::Any, ..base }
            }
            _ => Base {
                encoding: Encoding::Base64url,
                ..Base::md5("{time}{decoded_path}{ip} {secret}", vec![query("md5", "{signature}"), query("expires", "{time}")])
            },
        }
    }

    fn alibaba(self) -> Base {
        match self {
            Self::AlibabaB => timed_path("/{time}/{signature}", "{secret}{time}{path}", Form::Minute),
            Self::AlibabaC => timed_path("/{signature}/{time}", "{secret}{path}{time}", Form::Hex),
            _ => Base::md5("{path}-{time}-{rand}-{uid}-{secret}", vec![query("auth_key", "{time}-{rand}-{uid}-{signature}")]),
        }
    }

    fn tencent(self) -> Base {
        match self {
            Self::TencentB => timed_path("/{time}/{signature}", "{secret}{time}{path}", Form::Minute),
            Self::TencentC => timed_path("/{signature}/{time}", "{secret}{path}{time}", Form::Hex),
            Self::TencentD => {
                let base = Base::md5("{secret}{path}{time}", vec![query("sign", "{signature}"), query("t", "{time}")]);
                Base { time: Form::UnixOrHex, validity: CONSOLE_VALIDITY, ..base }
            }
            _ => {
                let base = Base::md5("{path}-{time}-{rand}-{uid}-{secret}", vec![query("sign", "{time}-{rand}-{uid}-{signature}")]);
                Base { validity: CONSOLE_VALIDITY, ..base }
            }
        }
    }
}

fn timed_path(shape: &str, message: &'static str, time: Form) -> Base {
    Base { time, validity: CONSOLE_VALIDITY, ..Base::md5(message, vec![path(shape)]) }
}

impl Recipe {
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let base = config.preset.map(Preset::base);
        let message = config.message.as_deref().or(base.as_ref().map(|b| b.message)).ok_or("without a preset, message is needed")?;
        let sources = config.sources.as_ref().or(base.as_ref().map(|b| &b.sources)).ok_or("without a preset, sources are needed")?;
        let seconds = |period: Option<Period>, preset: Option<u64>, otherwise| {
            period.map_or(preset.map_or(otherwise, |s| Period::seconds(s).as_unix()), Period::as_unix)
        };
        let mut recipe = Self {
            message: Template::parse(message)?,
            sources: sources.iter().map(source).collect::<Result<_, _>>()?,
            hash: config.hash.or(base.as_ref().map(|b| b.hash)).unwrap_or(Hash::Sha256),
            hmac: config.hmac.or(base.as_ref().map(|b| b.hmac)).unwrap_or(true),
            encoding: config.encoding.or(base.as_ref().map(|b| b.encoding)).unwrap_or(Encoding::Base64url),
            key_encoding: config.key_encoding.unwrap_or_else(|| preset_key_encoding(config.preset)),
            time: config.time.or(base.as_ref().map(|b| b.time)).unwrap_or_default(),
            boundary: config.boundary.unwrap_or_default(),
            validity: seconds(config.validity, base.as_ref().map(|b| b.validity), 0),
            period_unit: seconds(config.period_unit, base.as_ref().map(|b| b.period_unit), 1),
            utc_offset: i64::from(config.utc_offset_minutes.unwrap_or(0)) * 60,
            require_expiry: config.require_expiry.unwrap_or(config.preset != Some(Preset::NginxSecureLinkSecret)),
            fixed_width: false,
            prefixes: config.prefixes,
        };
        recipe.fixed_width = recipe.time_touches_a_field();
        if config.preset.is_none() {
            recipe.check_apart()?;
        }
        recipe.check(config.any_path.unwrap_or(config.preset == Some(Preset::Nimble)))?;
        Ok(recipe)
    }

    fn check(&self, any_path: bool) -> Result<(), String> {
        let mut fields: Vec<&str> = self.sources.iter().flat_map(Source::fields).collect();
        fields.sort_unstable();
        if let Some(pair) = fields.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the field \"{}\" rides in two places", pair[0]));
        }
        let secret = self.message.fields().any(|name| name == "secret");
        match (fields.contains(&"signature"), self.hmac, secret) {
            (false, ..) => return Err("no source has the field {signature}".into()),
            (true, false, false) => return Err("without hmac, the message must hold {secret}".into()),
            (true, true, true) => return Err("with hmac, the secret is the key and must not stand in the message".into()),
            _ => {}
        }
        if self.require_expiry && !fields.contains(&"time") {
            return Err("no source has the field {time}; links without an end need require_expiry = false".into());
        }
        self.check_covered(&fields, any_path)
    }

    /// Every field that the message does not hold could be changed by anyone.
    fn check_covered(&self, fields: &[&str], any_path: bool) -> Result<(), String> {
        let signed: Vec<&str> = self.message.fields().collect();
        if let Some(loose) = fields.iter().find(|name| **name != "signature" && !signed.contains(name)) {
            return Err(format!("the field \"{loose}\" is not part of the message: anyone could change it"));
        }
        if let Some(unknown) = signed.iter().find(|name| !is_known(name) && !fields.contains(name)) {
            return Err(format!("the message has a field \"{unknown}\" that no source brings"));
        }
        let path = |name: &&&str| matches!(**name, "path" | "decoded_path" | "link" | "stream") || name.starts_with("dir.");
        if !any_path && signed.iter().filter(path).count() == 0 {
            return Err("the message holds no part of the path".into());
        }
        Ok(())
    }

    /// Two fields of free length side by side could pass bytes from one to the other: two requests
    /// would have the same signature. Vendors' recipes that do so cannot be helped; new ones can.
    fn check_apart(&self) -> Result<(), String> {
        let timed = |name: &str| (name == "time" || name == "start") && self.time.width().is_some();
        let rooted = |name: &str| name == "path" || name == "decoded_path";
        let slashless = |name: &str| {
            matches!(name, "ip" | "system" | "country" | "host" | "scheme" | "method" | "time" | "start") || name.starts_with("dir.")
        };
        for pair in self.message.pieces().windows(2) {
            let [Piece::Field(left), Piece::Field(right)] = pair else { continue };
            let told_apart = left == "secret" || right == "secret" || timed(left) || timed(right) || (slashless(left) && rooted(right));
            if !told_apart {
                return Err(format!("{{{left}}} and {{{right}}} stand side by side in the message: put a separator between them"));
            }
        }
        Ok(())
    }

    /// Whether `{time}` or `{start}` stands right beside a field that could lend it digits.
    fn time_touches_a_field(&self) -> bool {
        let is_time = |piece: &Piece| matches!(piece, Piece::Field(name) if name == "time" || name == "start");
        let is_open = |piece: &Piece| matches!(piece, Piece::Field(name) if name != "secret");
        let slashed = |piece: &Piece| matches!(piece, Piece::Field(name) if name == "path" || name == "decoded_path");
        self.message
            .pieces()
            .windows(2)
            .any(|pair| (is_time(&pair[1]) && is_open(&pair[0])) || (is_time(&pair[0]) && is_open(&pair[1]) && !slashed(&pair[1])))
    }
}

const fn preset_key_encoding(preset: Option<Preset>) -> KeyEncoding {
    match preset {
        Some(Preset::Fastly) => KeyEncoding::Base64,
        _ => KeyEncoding::Plain,
    }
}

fn is_known(name: &str) -> bool {
    let whole = ["path", "decoded_path", "link", "stream", "ip", "network", "system", "country", "host", "scheme", "method", "secret"];
    let number = |text: &str| text.parse::<usize>().is_ok();
    whole.contains(&name)
        || name.strip_prefix("dir.").is_some_and(number)
        || name.strip_prefix("query.").is_some_and(|n| !n.is_empty())
        || name.strip_prefix("header.").is_some_and(|n| HeaderName::from_bytes(n.as_bytes()).is_ok())
}

fn source(config: &SourceConfig) -> Result<Source, String> {
    let shape = || Template::shape(&config.shape);
    let from = match &config.from {
        Place::Query(name) => From::Query(name.clone(), shape()?),
        Place::Cookie(name) => From::Cookie(name.clone(), shape()?),
        Place::Header(name) => {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a header's name"))?;
            From::Header(header, shape()?)
        }
        Place::Path => {
            let segments = config.shape.strip_prefix('/').ok_or("the shape of a path begins with a slash")?;
            From::Path(segments.split('/').map(Template::shape).collect::<Result<_, _>>()?)
        }
    };
    let source = Source { from, decode: config.decode, base64: config.base64 };
    if let Some(taken) = source.fields().find(|name| is_known(name)) {
        return Err(format!("\"{taken}\" is a part of the request and cannot be a field of its own"));
    }
    Ok(source)
}
