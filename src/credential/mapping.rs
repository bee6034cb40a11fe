//! Mapping tickets: sealed handles that stand for upstream URLs which callers must not see.
//!
//! Whoever makes an upload is told where to go on; that URL is a credential by itself, or shows ours. The caller gets a
//! ticket instead, and the gateway that meets the ticket finds the URL in it: no state, so any gateway with the same
//! ticket keys will do. On the wire it is the base64url of
//!
//! ```text
//! 1 byte   version (high 4 bits) and 4 bits that tell the key (low 4 bits)
//! 12       nonce
//! rest     AES-256-GCM of: expiry (8 bytes, big-endian), length of the origin's name (1 byte), the name, path and query
//! ```
//!
//! Route, host and holder are not in it but authenticated beside it, each behind its length: whoever opens it says where it was
//! found, and a ticket that was moved does not open. Every way to be wrong but expiry is one fault (no padding oracle, nothing to guess by).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::UnixTime;
use crate::secret::Secret;

/// What is authenticated first. Another layout needs another one.
const CONTEXT: &[u8] = b"tollgate mapping ticket v1";
/// What ticket keys are derived by, so that no MAC of a session's ticket tells anything of them.
const DERIVATION: &[u8] = b"tollgate mapping ticket key v1";
const VERSION: u8 = 1;
/// Longest path and query that is sealed: tickets have to fit into request targets of 8 KiB.
pub const LONGEST: usize = 4096;
/// Longest text that is looked at.
const LONGEST_TEXT: usize = (LONGEST + 512) * 4 / 3;

/// What a mapping ticket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'t> {
    /// The route's name.
    pub route: &'t str,
    /// The host that the gateway was asked for, lower case, without port.
    pub host: &'t str,
    /// Whose it is: a subject or session; empty where the route knows neither.
    pub holder: &'t str,
}

/// Where a ticket leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// The origin, by its name in the config: a ticket cannot name a host.
    pub origin: String,
    /// Path and query there.
    pub target: Secret<String>,
    /// The first second in which it is refused.
    pub expires: UnixTime,
}

/// Why a ticket does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MappingFault {
    /// Malformed, forged, changed, or moved to another route, host or holder.
    #[error("not a mapping ticket of ours for this place")]
    Invalid,
    /// At or after its end.
    #[error("the mapping ticket is expired")]
    Expired,
}

/// The keys that seal and open mapping tickets.
pub struct Mappings {
    /// Newest first.
    keys: Vec<(LessSafeKey, u8)>,
}

impl Mappings {
    /// Keys derived from those of the sessions' tickets, newest first; none: a random one that ends with the process.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(secrets: &[Secret<String>]) -> Result<Self, String> {
        let no_key = |_| "no key for mapping tickets could be made".to_owned();
        if secrets.is_empty() {
            let mut random = zeroize::Zeroizing::new([0; 32]);
            rand::fill(&mut *random).map_err(no_key)?;
            return Ok(Self { keys: vec![derived(&*random).map_err(no_key)?] });
        }
        let keys = secrets.iter().map(|secret| derived(secret.expose().as_bytes()).map_err(no_key));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// A ticket that leads to `mapped`. `None` when its URL is too long, or the system gives no random numbers.
    #[must_use]
    pub fn seal(&self, mapped: &Mapped, bound: Bound<'_>) -> Option<String> {
        let (key, hint) = self.keys.first()?;
        let (origin, target) = (mapped.origin.as_bytes(), mapped.target.expose().as_bytes());
        if target.len() > LONGEST {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(9 + origin.len() + target.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&mapped.expires.0.to_be_bytes());
        sealed.push(u8::try_from(origin.len()).ok()?);
        sealed.extend_from_slice(origin);
        sealed.extend_from_slice(target);
        let head = VERSION << 4 | hint;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(beside(head, bound)), &mut sealed).ok()?;
        let mut bytes = vec![head];
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens a ticket that was found on `bound`.
    ///
    /// # Errors
    /// [`MappingFault`]. One that is both expired and not ours is not ours.
    pub fn open(&self, text: &str, bound: Bound<'_>, now: UnixTime) -> Result<Mapped, MappingFault> {
        let bytes = if text.len() > LONGEST_TEXT { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let bytes = bytes.filter(|bytes| bytes.len() > 1 + NONCE_LEN && bytes[0] >> 4 == VERSION).ok_or(MappingFault::Invalid)?;
        let (head, rest) = (bytes[0], &bytes[1..]);
        let open = |(key, hint): &(LessSafeKey, u8)| {
            let nonce = Nonce::try_assume_unique_for_key(&rest[..NONCE_LEN]).ok()?;
            let mut sealed = zeroize::Zeroizing::new(rest[NONCE_LEN..].to_vec());
            let aad = Aad::from(beside(head, bound));
            let plain = if *hint == head & 0x0f { key.open_in_place(nonce, aad, &mut sealed).ok()? } else { return None };
            read(plain)
        };
        let mapped = self.keys.iter().find_map(open).ok_or(MappingFault::Invalid)?;
        if now >= mapped.expires { Err(MappingFault::Expired) } else { Ok(mapped) }
    }
}

fn derived(secret: &[u8]) -> Result<(LessSafeKey, u8), aws_lc_rs::error::Unspecified> {
    let from = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let bytes = hmac::sign(&from, DERIVATION);
    let hint = hmac::sign(&from, b"tollgate mapping ticket key id").as_ref()[0] & 0x0f;
    Ok((LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_ref())?), hint))
}

/// What is authenticated beside the sealed part: each field behind its length, so that no two lists of fields read alike.
fn beside(head: u8, bound: Bound<'_>) -> Vec<u8> {
    let fields = [CONTEXT, &[head], bound.route.as_bytes(), bound.host.as_bytes(), bound.holder.as_bytes()];
    let mut all = Vec::with_capacity(64);
    for field in fields {
        all.extend_from_slice(&(field.len() as u64).to_be_bytes());
        all.extend_from_slice(field);
    }
    all
}

fn read(plain: &[u8]) -> Option<Mapped> {
    let (expires, rest) = plain.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first()?;
    let (origin, target) = rest.split_at_checked(usize::from(*length))?;
    Some(Mapped {
        origin: std::str::from_utf8(origin).ok()?.to_owned(),
        target: Secret::new(std::str::from_utf8(target).ok()?.to_owned()),
        expires: UnixTime(i64::from_be_bytes(*expires)),
    })
}

impl std::fmt::Debug for Mappings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mappings").field("keys", &self.keys.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const HERE: Bound<'static> = Bound { route: "up", host: "gate.test", holder: "ann" };

    fn keys(secrets: &[&str]) -> Mappings {
        Mappings::new(&secrets.iter().map(|text| Secret::new((*text).to_owned())).collect::<Vec<_>>()).expect("keys")
    }

    fn upload() -> Mapped {
        Mapped { origin: "tus".into(), target: Secret::new("/files/1?token=canary".into()), expires: NOW.plus(60) }
    }

    #[test]
    fn any_gateway_with_the_key_opens_it_until_its_end() {
        let ticket = keys(&["new", "old"]).seal(&upload(), HERE).expect("a ticket");
        for other in [keys(&["new"]), keys(&["newer", "new"])] {
            assert_eq!(other.open(&ticket, HERE, NOW.plus(59)), Ok(upload()));
        }
        assert_eq!(keys(&["new"]).open(&ticket, HERE, NOW.plus(60)), Err(MappingFault::Expired));
        assert!(!ticket.contains("files") && !ticket.contains("Y2FuYXJ5") && !format!("{:?}", upload()).contains("canary"));
        assert_eq!(keys(&[]).open(&ticket, HERE, NOW), Err(MappingFault::Invalid));
        assert_ne!(keys(&["new"]).seal(&upload(), HERE), Some(ticket));
    }

    #[test]
    fn one_that_was_moved_or_changed_does_not_open() {
        let keys = keys(&["k"]);
        let ticket = keys.seal(&upload(), HERE).expect("a ticket");
        for moved in [
            Bound { route: "other", ..HERE },
            Bound { host: "other.test", ..HERE },
            Bound { holder: "bob", ..HERE },
            Bound { holder: "", ..HERE },
            // The same letters, split elsewhere.
            Bound { route: "upg", host: "ate.test", ..HERE },
            Bound { host: "gate.testann", holder: "", ..HERE },
        ] {
            assert_eq!(keys.open(&ticket, moved, NOW), Err(MappingFault::Invalid), "{moved:?}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&ticket).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open(&URL_SAFE_NO_PAD.encode(changed), HERE, NOW), Err(MappingFault::Invalid), "byte {at}");
        }
        for text in ["", "a", "####", &ticket[..20], &format!("{ticket}AAAA"), &"A".repeat(LONGEST_TEXT + 4)] {
            assert_eq!(keys.open(text, HERE, NOW), Err(MappingFault::Invalid), "{text}");
        }
    }

    #[test]
    fn urls_that_are_too_long_get_none() {
        let long = |length| Mapped { target: Secret::new("a".repeat(length)), ..upload() };
        let ticket = keys(&["k"]).seal(&long(LONGEST), HERE).expect("a ticket");
        assert!(keys(&["k"]).open(&ticket, HERE, NOW).is_ok() && ticket.len() < 7 * 1024);
        assert_eq!(keys(&["k"]).seal(&long(LONGEST + 1), HERE), None);
    }

    proptest::proptest! {
        #[test]
        fn no_two_bindings_have_the_same_bytes(a in "[a-c]{0,4}", b in "[a-c]{0,4}", c in "[a-c]{0,4}", d in "[a-c]{0,4}", e in "[a-c]{0,4}", f in "[a-c]{0,4}") {
            let (one, two) = (Bound { route: &a, host: &b, holder: &c }, Bound { route: &d, host: &e, holder: &f });
            proptest::prop_assert_eq!(one == two, beside(1, one) == beside(1, two));
        }
    }
}
