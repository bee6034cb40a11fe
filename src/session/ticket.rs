//! Tickets: the short signed strings that carry a session through playlists and segments.
//!
//! A ticket names its session, its end and the scope of its grant. Route and host are not in it but under
//! its MAC: whoever opens it says where it was found. On the wire it is the base64url of
//!
//! ```text
//! 1 byte   version (high 4 bits) and 4 bits that tell the key (low 4 bits)
//! 16       session id
//! 5        expiry: seconds since 1970, big-endian
//! 4        digest of the grant's scope
//! 16       MAC: HMAC-SHA256 cut to 128 bits (RFC 2104 §5)
//! ```
//!
//! 42 bytes, 56 characters. Base64 is taken in its canonical form only (RFC 4648 §3.5), so that a ticket is written in one way.
//! The MAC goes over a context string and every field behind its length: no two tickets for different things have the same input.

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::{Key, SessionId};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::Grant;

/// What all MAC inputs begin with. Another layout needs another one.
const CONTEXT: &[u8] = b"tollgate session ticket v1";
const VERSION: u8 = 1;
const TAG: usize = 16;
const SAID: usize = 1 + 16 + 5 + 4;
const BYTES: usize = SAID + TAG;
/// Characters of a ticket: 42 bytes in base64, which come out even.
pub const LENGTH: usize = 56;
/// The last second that fits: the year 36812.
const LAST: u64 = (1 << 40) - 1;

/// What a ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketClaims<'t> {
    /// Whose it is.
    pub session: SessionId,
    /// The first second in which it is refused.
    pub expires: UnixTime,
    /// The scope of its grant (see [`ScopeDigest::of`]).
    pub scope: ScopeDigest,
    /// What it is bound to.
    pub bound: Bound<'t>,
}

/// What a ticket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'t> {
    /// The route's name.
    pub route: &'t str,
    /// The host it is good on, lower case, without port. Empty where a route's tickets go to several hosts.
    pub host: &'t str,
}

/// What tells one grant's scope from another's. Not a secret, and never believed without the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeDigest(pub [u8; 4]);

impl ScopeDigest {
    /// The digest of the asset and the paths that `grant` opens.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        let mut fields: Vec<&[u8]> = vec![if grant.resource.is_some() { b"asset" } else { b"" }];
        fields.push(grant.resource.as_deref().unwrap_or_default().as_bytes());
        // JSON of plain values: one text for one scope, and the same on every gateway.
        let scope = serde_json::to_vec(&grant.scope).unwrap_or_default();
        fields.push(&scope);
        let [a, b, c, d, ..] = Key::of("scope", &fields).0;
        Self([a, b, c, d])
    }
}

/// A ticket that was found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whose it is.
    pub session: SessionId,
    /// The first second in which it is refused.
    pub expires: UnixTime,
    /// The scope that its grant had: must be that of the session's grant.
    pub scope: ScopeDigest,
    /// Whether the newest key signed it; else it is time to hand out a new one.
    pub is_newest: bool,
}

impl Opened {
    /// Whether it is no longer good by itself.
    #[must_use]
    pub fn is_late(&self, now: UnixTime) -> bool {
        now >= self.expires
    }
}

/// Why a ticket was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketFault {
    /// Not of the form of a ticket.
    #[error("not a ticket")]
    Malformed,
    /// Not signed by any of our keys for this place: forged, changed, or moved to another route or host.
    #[error("not a ticket of ours for this place")]
    Forged,
    /// At or after its end.
    #[error("the ticket is expired")]
    Expired,
}

/// Why keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Shorter than the MAC's own strength (RFC 2104 §3).
    #[error("a ticket key needs at least 32 bytes; make one with `openssl rand -hex 32`")]
    Short,
    /// More than the hint can tell apart.
    #[error("at most 16 ticket keys are kept")]
    TooMany,
    /// The system gives no random numbers.
    #[error("no ticket key could be made: the system gives no random numbers")]
    NoRandom,
}

/// The keys that sign and verify tickets, parsed once.
pub struct Tickets {
    /// Newest first.
    keys: Vec<TicketKey>,
}

struct TicketKey {
    key: hmac::Key,
    /// 4 bits that tickets carry, so that few keys are tried on each.
    hint: u8,
}

impl TicketKey {
    fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // Another context than that of tickets: no ticket's MAC tells anything of it.
        let hint = hmac::sign(&key, b"tollgate ticket key id").as_ref()[0] & 0x0f;
        Self { key, hint }
    }
}

impl Tickets {
    /// Shortest key, in bytes.
    pub const KEY_MIN: usize = 32;
    /// Most keys: who forges tickets makes us try each that has the hint.
    pub const KEYS_MAX: usize = 16;

    /// Takes `keys`, newest first; none: a random one that ends with the process.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn new(keys: &[Secret<String>]) -> Result<Self, KeyFault> {
        if keys.len() > Self::KEYS_MAX {
            return Err(KeyFault::TooMany);
        }
        if keys.iter().any(|key| key.expose().len() < Self::KEY_MIN) {
            return Err(KeyFault::Short);
        }
        if keys.is_empty() {
            let mut random = zeroize::Zeroizing::new([0; Self::KEY_MIN]);
            rand::fill(&mut *random).map_err(|_| KeyFault::NoRandom)?;
            return Ok(Self { keys: vec![TicketKey::new(&*random)] });
        }
        Ok(Self { keys: keys.iter().map(|key| TicketKey::new(key.expose().as_bytes())).collect() })
    }

    /// The ticket that says `claims`, signed with the newest key.
    #[must_use]
    pub fn issue(&self, claims: &TicketClaims<'_>) -> String {
        // `new` makes no empty list.
        let Some(newest) = self.keys.first() else { return String::new() };
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION << 4 | newest.hint;
        bytes[1..17].copy_from_slice(claims.session.as_bytes());
        // A session without an end has a ticket to the end of what fits.
        let expires = u64::try_from(claims.expires.0).unwrap_or(0).min(LAST);
        bytes[17..22].copy_from_slice(&expires.to_be_bytes()[3..]);
        bytes[22..SAID].copy_from_slice(&claims.scope.0);
        let tag = mac(&newest.key, &bytes[..SAID], claims.bound);
        bytes[SAID..].copy_from_slice(&tag.as_ref()[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a ticket that was found on `bound`, if it is good by itself.
    ///
    /// # Errors
    /// [`TicketFault`]. One that is both expired and not ours is not ours.
    pub fn open(&self, text: &str, bound: Bound<'_>, now: UnixTime) -> Result<Opened, TicketFault> {
        let opened = self.read(text, bound)?;
        if opened.is_late(now) { Err(TicketFault::Expired) } else { Ok(opened) }
    }

    /// Reads a ticket of ours, late ones too: those are good only where their session vouches for them.
    ///
    /// # Errors
    /// [`TicketFault::Malformed`] and [`TicketFault::Forged`].
    pub fn read(&self, text: &str, bound: Bound<'_>) -> Result<Opened, TicketFault> {
        let mut bytes = [0; BYTES];
        if text.len() != LENGTH || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) || bytes[0] >> 4 != VERSION {
            return Err(TicketFault::Malformed);
        }
        let (said, tag) = bytes.split_at(SAID);
        let good = |key: &TicketKey| key.hint == said[0] & 0x0f && bool::from(mac(&key.key, said, bound).as_ref()[..TAG].ct_eq(tag));
        let at = self.keys.iter().position(good).ok_or(TicketFault::Forged)?;
        let expires = UnixTime(said[17..22].iter().fold(0, |all, byte| all << 8 | i64::from(*byte)));
        let mut id = [0; 16];
        id.copy_from_slice(&said[1..17]);
        let mut scope = [0; 4];
        scope.copy_from_slice(&said[22..]);
        Ok(Opened { session: SessionId::from_bytes(id), expires, scope: ScopeDigest(scope), is_newest: at == 0 })
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.keys.len()).finish()
    }
}

fn mac(key: &hmac::Key, said: &[u8], bound: Bound<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    feed([CONTEXT, said, bound.route.as_bytes(), bound.host.as_bytes()], |bytes| context.update(bytes));
    context.sign()
}

/// What the MAC goes over: each field behind its length, so that no two lists of fields read alike.
fn feed(fields: [&[u8]; 4], mut to: impl FnMut(&[u8])) {
    for field in fields {
        to(&(field.len() as u64).to_be_bytes());
        to(field);
    }
}

#[cfg(test)]
mod tests;
