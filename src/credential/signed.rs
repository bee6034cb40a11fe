//! Requests signed anew for an origin that verifies, by any scheme that can sign.
//!
//! One signature serves many requests: it is kept under what it opens and the half-life it was made in,
//! so that it is renewed ahead of its end and never made twice in between.

use std::sync::Arc;

use http::HeaderMap;
use moka::sync::Cache;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::exact::Carrying;
use crate::token::{Denial, RequestFacts, Scheme, SignError, SignRequest, Signed, Strip, Where, carrier};
use crate::units::Period;

/// Most signatures kept of one route, about 1 KiB each.
const MOST: u64 = 20_000;

/// Shortest lifetime that makes sense: clocks differ by seconds, and requests wait in queues.
const SHORTEST: i64 = 10;

/// A route's `upstream_sign` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignConfig {
    /// The scheme that signs, by name. Its key set holds what it signs with.
    pub scheme: Name,
    /// How long a signature is good when it is made; it is made anew after half of that.
    #[serde(default = "five_minutes")]
    pub lifetime: Period,
    /// What one signature opens: `path`, or `directory` where the scheme can say that.
    #[serde(default)]
    pub scope: SignScope,
    /// Who the signature says it is for, where the scheme has a place for that: a name that the origin knows this gateway by.
    #[serde(default)]
    pub subject: Option<String>,
}

/// What one signature opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignScope {
    /// The path asked for.
    #[default]
    Path,
    /// The folder that it lies in.
    Directory,
}

fn five_minutes() -> Period {
    Period::seconds(300)
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'t> {
    /// Whether by https.
    pub https: bool,
    /// `host[:port]` as the origin is asked.
    pub host: &'t str,
    /// The raw path.
    pub path: &'t str,
    /// The raw query.
    pub query: Option<&'t str>,
}

/// What one signature is kept under: web origin, path or folder, query, half-life.
type Opens = (bool, String, String, Option<String>, i64);

/// Signs for one route.
pub struct Signer {
    name: Name,
    scheme: Arc<dyn Scheme>,
    half: i64,
    scope: SignScope,
    subject: Option<String>,
    kept: Cache<Opens, Arc<Kept>>,
}

/// A signature, and the path that it was made with.
struct Kept {
    signed: Signed,
    path: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("scheme", &self.scheme.kind()).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer by `scheme`.
    ///
    /// # Errors
    /// The key of the table, and a sentence for the operator, when the scheme cannot sign this.
    pub fn new(config: &SignConfig, scheme: Arc<dyn Scheme>) -> Result<Self, (&'static str, String)> {
        if config.lifetime.as_unix() < SHORTEST {
            return Err(("lifetime", format!("a signature that is good for less than {SHORTEST} seconds may end on its way")));
        }
        let half = config.lifetime.as_unix() / 2;
        let kept = Cache::builder().max_capacity(MOST).time_to_live(config.lifetime.0).build();
        let signer = Self { name: config.scheme.clone(), scheme, half, scope: config.scope, subject: config.subject.clone(), kept };
        signer.try_out()?;
        Ok(signer)
    }

    /// Signs something, so that what can never work is a fault of the config and not of every request.
    fn try_out(&self) -> Result<(), (&'static str, String)> {
        // Any time will do, but for formats that cannot write one before 1970.
        let now = UnixTime(1_000_000_000);
        let bucket = now.0.div_euclid(self.half);
        let path = self.scheme.sample_path();
        let target = Target { https: true, host: "origin.example.com", path: &path, query: None };
        let keys = self.scheme.key_sources();
        match self.make(target, None, (bucket, now)) {
            Err(SignError::CannotSign) => return Err(("scheme", format!("the scheme \"{}\" cannot sign", self.name))),
            // A set that is fetched is not there yet.
            Err(SignError::NoKey(_)) if keys.iter().any(|keys| keys.load().is_empty()) => return Ok(()),
            Err(fault @ SignError::NoKey(_)) => return Err(("scheme", format!("the scheme \"{}\" has {fault}", self.name))),
            Err(fault) => return Err(("scheme", format!("the scheme \"{}\" cannot sign for an origin: {fault}", self.name))),
            Ok(_) => {}
        }
        let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
        let why = match (self.scope, self.make(target, Some(folder), (bucket, now))) {
            (SignScope::Path, _) => return Ok(()),
            (SignScope::Directory, Ok(signed)) => {
                let kept = Kept { signed, path: path.clone() };
                if self.opens_siblings(&kept, target, (folder, now)) {
                    return Ok(());
                }
                "its signature is for one path".to_owned()
            }
            (SignScope::Directory, Err(fault)) => fault.to_string(),
        };
        Err(("scope", format!("the scheme \"{}\" cannot sign for a directory: {why}", self.name)))
    }

    /// The scheme that signs, by its name in the config.
    #[must_use]
    pub fn scheme(&self) -> (&Name, &'static str) {
        (&self.name, self.scheme.kind())
    }

    /// What one signature opens.
    #[must_use]
    pub fn scope(&self) -> SignScope {
        self.scope
    }

    /// What a request to the origin already has where the origin looks for the signature. It came from the viewer, and must not
    /// stand beside ours.
    ///
    /// # Errors
    /// [`Denial::Ambiguous`] when it stands in the path, where it cannot be taken out without changing what was asked for.
    pub fn in_the_way(&self, target: Target<'_>, headers: &HeaderMap) -> Result<Vec<Strip>, Denial> {
        for segment in target.path.split('/').filter(|segment| !segment.is_empty()) {
            let mut parameters = segment.split(';').skip(1).filter_map(|parameter| parameter.split('=').next());
            if self.scheme.reads(Where::Segment(segment)) || parameters.any(|name| self.scheme.reads(Where::PathParameter(name))) {
                return Err(Denial::Ambiguous);
            }
        }
        Ok(carrier::places_read(target.query, headers, |place| self.scheme.reads(place)))
    }

    /// What is sent instead of `target`: path and query with the token in place, and the headers and cookies that carry it.
    ///
    /// # Errors
    /// [`SignError`] when there is no key, or the scheme has no words for the target.
    pub fn sign(&self, target: Target<'_>, now: UnixTime) -> Result<Signed, SignError> {
        let folder = match self.scope {
            SignScope::Directory => target.path.rfind('/').map(|slash| &target.path[..=slash]),
            SignScope::Path => None,
        };
        let bucket = now.0.div_euclid(self.half);
        let under = |path: &str| (target.https, target.host.to_owned(), path.to_owned(), target.query.map(str::to_owned), bucket);
        let shared = folder.and_then(|folder| self.kept.get(&under(folder)));
        if let Some(signed) = shared.and_then(|kept| kept.signed.moved(&kept.path, target.path)) {
            return Ok(signed);
        }
        if let Some(kept) = self.kept.get(&under(target.path)) {
            return Ok(kept.signed.clone());
        }
        let kept = Arc::new(Kept { signed: self.make(target, folder, (bucket, now))?, path: target.path.to_owned() });
        match folder {
            Some(folder) if self.opens_siblings(&kept, target, (folder, now)) => self.kept.insert(under(folder), kept.clone()),
            _ => self.kept.insert(under(target.path), kept.clone()),
        }
        Ok(kept.signed.clone())
    }

    /// Whether the signature is good for the rest of the folder: not every scheme can say that, and some sign on without.
    fn opens_siblings(&self, kept: &Kept, target: Target<'_>, (folder, now): (&str, UnixTime)) -> bool {
        let sibling = format!("{folder}sibling-of-this");
        let Some(signed) = kept.signed.moved(&kept.path, &sibling) else { return false };
        let Some(carrying) = Carrying::new(&*self.scheme, target.host, &signed) else { return false };
        let facts = RequestFacts { https: target.https, ..carrying.facts() };
        let verdict = || {
            let presented = self.scheme.present(&facts)?.ok_or(Denial::Missing)?;
            let grant = self.scheme.open(&presented, &facts)?;
            grant.check(&facts, now)?;
            self.scheme.fits(&grant, &facts)
        };
        verdict().is_ok()
    }

    fn make(&self, target: Target<'_>, folder: Option<&str>, (bucket, now): (i64, UnixTime)) -> Result<Signed, SignError> {
        self.scheme.sign(&SignRequest {
            https: target.https,
            host: target.host.to_owned(),
            path: target.path.to_owned(),
            query: target.query.map(str::to_owned),
            scope: folder.map(str::to_owned),
            expires: Some(UnixTime((bucket + 2).saturating_mul(self.half))),
            now: Some(now),
            subject: self.subject.clone(),
            ..SignRequest::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::HeaderValue;
    use http::header::COOKIE;
    use serde_json::json;

    use super::*;
    use crate::token::scheme::akamai_edgeauth::AkamaiEdgeauth;
    use crate::token::scheme::bunny::Bunny;
    use crate::token::scheme::testing::{Asked, NOW, config, secrets, to_sign};
    use crate::token::{Grant, Presented};

    struct Counting(Arc<dyn Scheme>, AtomicUsize);

    impl Scheme for Counting {
        fn kind(&self) -> &'static str {
            self.0.kind()
        }

        fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
            self.0.present(facts)
        }

        fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
            self.0.open(presented, facts)
        }

        fn reads(&self, place: Where<'_>) -> bool {
            self.0.reads(place)
        }

        fn path_tokens(&self) -> Vec<String> {
            self.0.path_tokens()
        }

        fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.sign(request)
        }
    }

    fn signer(scheme: impl Scheme + 'static, scope: &str) -> (Signer, Arc<Counting>) {
        let counting = Arc::new(Counting(Arc::new(scheme), AtomicUsize::new(0)));
        let table = serde_json::from_value(json!({ "scheme": "s", "lifetime": "100s", "scope": scope })).expect("config");
        let signer = Signer::new(&table, counting.clone()).expect("signer");
        counting.1.store(0, Ordering::Relaxed);
        (signer, counting)
    }

    fn target(path: &str) -> Target<'_> {
        Target { https: true, host: "media.example.com", path, query: None }
    }

    /// The origin's verdict on what is sent for `path` at `now`.
    fn taken(signer: &Signer, path: &str, now: i64) -> Result<(), Denial> {
        let signed = signer.sign(target(path), UnixTime(now)).expect("signed");
        let request = to_sign(&format!("https://media.example.com{path}"));
        Asked::signed(&request, &signed).at(now).verdict(&*signer.scheme)
    }

    fn akamai() -> AkamaiEdgeauth {
        AkamaiEdgeauth::new(&config(json!({ "leeway": "0s" })), secrets(&[("a", b"akamai")])).expect("scheme")
    }

    #[test]
    fn one_signature_of_a_folder_serves_its_files_until_half_its_life() {
        let (signer, counting) = signer(akamai(), "directory");
        let start = NOW - NOW.rem_euclid(50);
        for path in ["/v/a.m3u8", "/v/1.ts", "/v/2.ts"] {
            assert_eq!(taken(&signer, path, start), Ok(()), "{path}");
            assert_eq!(taken(&signer, path, start + 49), Ok(()), "{path}");
        }
        assert_eq!(counting.1.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&signer, "/v/1.ts", start + 50), Ok(()));
        assert_eq!(taken(&signer, "/w/1.ts", start + 50), Ok(()));
        assert_eq!(counting.1.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_signature_of_a_path_serves_that_path() {
        let (signer, counting) = signer(akamai(), "path");
        for _ in 0..3 {
            assert_eq!(taken(&signer, "/v/a.m3u8", NOW), Ok(()));
            assert_eq!(taken(&signer, "/v/1.ts", NOW), Ok(()));
        }
        assert_eq!(counting.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_scheme_without_folders_is_a_fault() {
        let scheme = crate::token::scheme::digest_url::DigestUrl::new(&config(json!({ "preset": "keycdn" })), secrets(&[("k", b"keycdn")]));
        let scheme: Arc<dyn Scheme> = Arc::new(scheme.expect("scheme"));
        let table = |scope: &str| serde_json::from_value(json!({ "scheme": "s", "scope": scope })).expect("config");
        assert!(Signer::new(&table("path"), scheme.clone()).is_ok());
        let (key, why) = Signer::new(&table("directory"), scheme).map(|_| ()).expect_err("a fault");
        assert!(key == "scope" && why.contains("cannot sign for a directory"), "{key} {why}");
    }

    #[test]
    fn what_the_viewer_put_where_the_signature_goes_is_in_the_way() {
        let (signer, _) = signer(akamai(), "path");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("theme=dark; hdnea=mine"));
        headers.insert("hdntl", HeaderValue::from_static("mine"));
        let target = Target { query: Some("q=1&hdnt%73=mine"), ..target("/v/a.m3u8") };
        let found = signer.in_the_way(target, &headers).expect("can be taken out");
        let header = http::HeaderName::from_static("hdntl");
        assert_eq!(found, [Strip::Query("hdnts".into()), Strip::Cookie("hdnea".into()), Strip::Header(header)]);
        let in_path = Target { path: "/hdnts=mine/v/a.m3u8", ..target };
        assert_eq!(signer.in_the_way(in_path, &headers), Err(Denial::Ambiguous));
    }

    #[test]
    fn a_token_before_the_path_is_kept_for_its_folder_too() {
        let scheme = Bunny::new(&config(json!({ "sign_into": "path" })), secrets(&[("b", b"bunny")])).expect("scheme");
        let (signer, counting) = signer(scheme, "directory");
        let first = signer.sign(target("/v/a.m3u8"), UnixTime(NOW)).expect("signed");
        let second = signer.sign(target("/v/1.ts"), UnixTime(NOW)).expect("signed");
        assert_eq!(second.path, first.path.replace("a.m3u8", "1.ts"));
        assert_eq!(counting.1.load(Ordering::Relaxed), 1);
    }
}
