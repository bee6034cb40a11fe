//! The decision: several schemes, several tokens, and what is remembered of them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::token::carrier::target;
use crate::token::scheme::cloudflare_stream::{self, CloudflareStream};
use crate::token::scheme::jwt::{self, Jwt};
use crate::token::scheme::testkit::{NOW, Request, rsa, secret, source, token};
use crate::token::{KeySet, KeySource, Where};
use crate::units::Period;

const UID: &str = "ea95132c15732412d22c1476fa83f27a";

fn verifier() -> Verifier {
    Verifier::new(&VerifierConfig::default())
}

fn named(name: &str, scheme: Arc<dyn Scheme>) -> RouteScheme {
    RouteScheme { name: Name::new(name).expect("name"), scheme }
}

fn jwt_with(name: &str, config: Value, keys: KeySource) -> RouteScheme {
    let config: jwt::Config = serde_json::from_value(config).expect("config");
    named(name, Arc::new(Jwt::new(&config, keys).expect("scheme")))
}

fn jwt(name: &str, config: Value) -> RouteScheme {
    jwt_with(name, config, source(vec![secret(Some("h"))]))
}

fn stream() -> RouteScheme {
    let config: cloudflare_stream::Config = serde_json::from_value(json!({"keys": "k"})).expect("config");
    named("stream", Arc::new(CloudflareStream::new(&config, source(vec![rsa(Some("a"))])).expect("scheme")))
}

fn good(claims: Value) -> String {
    token(&secret(Some("h")), json!({"kid": "h"}), claims)
}

fn decide(schemes: &[RouteScheme], request: &Request) -> Result<Verdict, Refusal> {
    verifier().decide(schemes, &request.facts(), UnixTime(NOW))
}

/// Why, and by whom.
fn refusal(outcome: Result<Verdict, Refusal>) -> (Denial, Option<String>) {
    let Refusal { denial, scheme, .. } = outcome.expect_err("refused");
    (denial, scheme.map(|name| name.to_string()))
}

#[test]
fn no_token_is_missing() {
    assert_eq!(refusal(decide(&[], &Request::get("/a"))), (Denial::Missing, None));
    assert_eq!(refusal(decide(&[stream(), jwt("j", json!({"keys": "k"}))], &Request::get("/a"))), (Denial::Missing, None));
}

#[test]
fn one_token_is_good_if_one_scheme_takes_it() {
    let for_a = jwt("a", json!({"keys": "k", "audiences": ["a"]}));
    let for_b = jwt("b", json!({"keys": "k", "audiences": ["b"]}));
    let foreign = jwt_with("c", json!({"keys": "k"}), source(vec![rsa(Some("h"))]));
    let unknown = jwt_with("d", json!({"keys": "k"}), source(vec![secret(Some("x"))]));
    let both = [for_a, for_b.clone()];
    let request = |aud: &str| Request::get(&format!("/a?token={}", good(json!({"exp": NOW + 9, "aud": aud}))));
    assert_eq!(decide(&both, &request("a")).expect("good").scheme.as_str(), "a");
    assert_eq!(decide(&both, &request("b")).expect("good").scheme.as_str(), "b");
    assert_eq!(refusal(decide(&both, &request("z"))), (Denial::Audience, Some("a".into())));
    // What the holder of a good signature hears beats what everyone hears.
    let several = [unknown.clone(), foreign.clone(), for_b];
    assert_eq!(refusal(decide(&several, &request("a"))), (Denial::Audience, Some("b".into())));
    assert_eq!(refusal(decide(&[unknown, foreign], &request("a"))), (Denial::UnknownKey, Some("d".into())));
}

#[test]
fn several_tokens_must_all_be_good_and_agree() {
    let query = || jwt("q", json!({"keys": "k", "carriers": [{"query": "token"}]}));
    let cookie = || jwt("c", json!({"keys": "k", "carriers": [{"cookie": "c"}]}));
    let me = good(json!({"exp": NOW + 9, "sub": "me"}));
    for (second, expected) in [
        (json!({"exp": NOW + 8, "sub": "me"}), None),
        (json!({"exp": NOW + 8, "sub": "you"}), Some((Denial::Ambiguous, None))),
        (json!({"exp": NOW, "sub": "me"}), Some((Denial::Ambiguous, None))),
    ] {
        let request = Request::get(&format!("/a?token={me}")).with("cookie", &format!("c={}", good(second.clone())));
        let outcome = decide(&[query(), cookie()], &request);
        match expected {
            Some(expected) => assert_eq!(refusal(outcome), expected, "{second}"),
            None => assert_eq!(outcome.expect("good").strip, [Strip::Query("token".into()), Strip::Cookie("c".into())]),
        }
    }
}

#[test]
fn a_field_that_comes_twice_is_refused_by_whoever_reads_it() {
    let request = Request::get("/a?token=x&token=y");
    assert_eq!(refusal(decide(&[stream(), jwt("j", json!({"keys": "k"}))], &request)), (Denial::Duplicate, Some("j".into())));
}

#[test]
fn every_place_of_a_token_is_taken_out() {
    let claims = json!({"sub": UID, "exp": NOW + 9});
    let token = token(&rsa(Some("a")), json!({"kid": "a"}), claims);
    let other = jwt_with("j", json!({"keys": "k", "carriers": ["path-segment", {"query": "token"}]}), source(vec![secret(Some("a"))]));
    let request = Request::get(&format!("/{token}/manifest/video.m3u8?token={token}&x=1"));
    for schemes in [[stream(), other.clone()], [other, stream()]] {
        let verdict = decide(&schemes, &request).expect("good");
        assert_eq!((verdict.scheme.as_str(), verdict.kind), ("stream", "cloudflare-stream"));
        let upstream = target(&request.facts(), &verdict.strip, &verdict.grant);
        assert_eq!(upstream, (format!("/{UID}/manifest/video.m3u8"), Some("x=1".into())));
    }
}

/// Counts how often it has to open a token.
struct Counting {
    inner: Arc<dyn Scheme>,
    opened: AtomicUsize,
    remembers: bool,
}

impl Scheme for Counting {
    fn reads(&self, place: Where<'_>) -> bool {
        self.inner.reads(place)
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        self.inner.present(facts)
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.inner.open(presented, facts)
    }

    fn remembers(&self) -> bool {
        self.remembers
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        self.inner.fits(grant, facts)
    }

    fn key_sources(&self) -> Vec<KeySource> {
        self.inner.key_sources()
    }
}

fn counting(keys: KeySource, remembers: bool) -> (Arc<Counting>, [RouteScheme; 1]) {
    let config = json!({"keys": "k", "claims": {"paths": "p", "networks": "n"}});
    let inner = jwt_with("j", config, keys).scheme;
    let scheme = Arc::new(Counting { inner, opened: 0.into(), remembers });
    (scheme.clone(), [named("j", scheme)])
}

fn bound() -> String {
    good(json!({"exp": NOW + 9, "nbf": NOW, "p": "/v", "n": "198.51.100.7"}))
}

#[test]
fn what_is_remembered_is_still_asked_everything_else() {
    let (scheme, schemes) = counting(source(vec![secret(Some("h"))]), true);
    let verifier = verifier();
    let token = bound();
    for (target, ip, now, expected, remembered) in [
        ("/v/a", "198.51.100.7", NOW, None, false),
        ("/v/b", "198.51.100.7", NOW + 8, None, true),
        ("/v/b", "198.51.100.7", NOW + 9, Some(Denial::Expired), true),
        ("/v/b", "198.51.100.7", NOW - 1, Some(Denial::NotYetValid), true),
        ("/w", "198.51.100.7", NOW, Some(Denial::Path), true),
        ("/v", "198.51.100.8", NOW, Some(Denial::Address), true),
    ] {
        let request = Request::get(&format!("{target}?token={token}")).from(ip);
        let outcome = verifier.decide(&schemes, &request.facts(), UnixTime(now));
        assert_eq!(outcome.as_ref().err().map(|refusal| refusal.denial), expected, "{target} {ip} {now}");
        assert!(outcome.is_err() || outcome.is_ok_and(|verdict| verdict.remembered == remembered));
    }
    assert_eq!(scheme.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn the_cheapest_of_several_is_asked_first() {
    let verifier = verifier();
    let (dear, [by_rsa]) = counting(source(vec![rsa(Some("h"))]), true);
    let (cheap, [by_secret]) = counting(source(vec![secret(Some("h"))]), true);
    let schemes = [by_rsa, by_secret];
    let ask = |token: &str| {
        verifier.decide(&schemes, &Request::get(&format!("/v?token={token}")).facts(), UnixTime(NOW)).expect("good");
        (dear.opened.load(Ordering::SeqCst), cheap.opened.load(Ordering::SeqCst))
    };
    assert_eq!(ask(&bound()), (0, 1));
    let other = token(&rsa(Some("h")), json!({"kid": "h"}), json!({"exp": NOW + 9, "p": "/v", "n": "198.51.100.7"}));
    assert_eq!(ask(&other), (1, 2));
    // What is remembered costs nothing, whatever it cost at first.
    assert_eq!(ask(&other), (1, 2));
}

#[test]
fn nothing_is_remembered_over_a_change_of_keys() {
    let keys = source(vec![secret(Some("h"))]);
    let (scheme, schemes) = counting(keys.clone(), true);
    let (verifier, request) = (verifier(), Request::get(&format!("/v?token={}", bound())));
    let judge =
        || verifier.decide(&schemes, &request.facts(), UnixTime(NOW)).map(|verdict| verdict.remembered).map_err(|refusal| refusal.denial);
    assert_eq!((judge(), judge()), (Ok(false), Ok(true)));
    keys.replace(KeySet::new(vec![secret(Some("h")), rsa(Some("r"))]));
    assert_eq!((judge(), judge()), (Ok(false), Ok(true)));
    keys.replace(KeySet::new(vec![rsa(Some("r"))]));
    assert_eq!((judge(), judge()), (Err(Denial::UnknownKey), Err(Denial::UnknownKey)));
    assert_eq!(scheme.opened.load(Ordering::SeqCst), 4, "refusals are not remembered");
}

#[test]
fn verdicts_are_the_schemes_own() {
    let verifier = verifier();
    let request = Request::get(&format!("/v?token={}", bound()));
    let (first, one) = counting(source(vec![secret(Some("h"))]), true);
    verifier.decide(&one, &request.facts(), UnixTime(NOW)).expect("good");
    drop(first);
    // The same name after a reload, with other rules: nothing of the old scheme holds for it.
    let (_, other) = counting(source(vec![secret(Some("x"))]), true);
    assert_eq!(
        verifier.decide(&other, &request.facts(), UnixTime(NOW)).map(|_| ()).map_err(|refusal| refusal.denial),
        Err(Denial::UnknownKey)
    );
}

#[test]
fn remembering_can_be_off() {
    let off = [
        VerifierConfig { remembered: 0, ..VerifierConfig::default() },
        VerifierConfig { remember_for: Period::seconds(0), ..VerifierConfig::default() },
    ];
    let request = Request::get(&format!("/v?token={}", bound()));
    for (config, remembers) in [(off[0].clone(), true), (off[1].clone(), true), (VerifierConfig::default(), false)] {
        let (scheme, schemes) = counting(source(vec![secret(Some("h"))]), remembers);
        let verifier = Verifier::new(&config);
        for _ in 0..3 {
            let verdict = verifier.decide(&schemes, &request.facts(), UnixTime(NOW)).expect("good");
            assert!(!verdict.remembered);
        }
        assert_eq!((scheme.opened.load(Ordering::SeqCst), verifier.remembered()), (3, 0));
    }
}

#[test]
fn an_unknown_key_has_its_set_fetched_anew() {
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};
    let (ours, others) =
        (Arc::new(Remote::new("https://a.test/", None, None, None)), Arc::new(Remote::new("https://b.test/", None, None, None)));
    let verifier = verifier();
    verifier.watch(vec![ours.clone(), others.clone()]);
    let schemes = [jwt_with("j", json!({"keys": "k"}), ours.keys().clone())];
    let request = Request::get(&format!("/v?token={}", bound()));
    assert_eq!(refusal(verifier.decide(&schemes, &request.facts(), UnixTime(NOW))), (Denial::UnknownKey, Some("j".into())));
    let asked = |remote: &Remote| std::pin::pin!(remote.nudged()).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!((asked(&ours), asked(&others)), (Poll::Ready(()), Poll::Pending));
}

#[test]
fn fingerprints_name_tokens() {
    let schemes = [jwt("j", json!({"keys": "k"}))];
    let print = |sub: &str| {
        let request = Request::get(&format!("/a?token={}", good(json!({"exp": NOW + 9, "sub": sub}))));
        decide(&schemes, &request).expect("good").fingerprint()
    };
    assert_eq!(print("a"), print("a"));
    assert_ne!(print("a"), print("b"));
}

proptest! {
    #[test]
    fn deciding_never_panics(path in "/[a-zA-Z0-9._=;~-]{0,40}(/[a-z.]{0,9})?", query in "(token=[a-zA-Z0-9._%+-]{0,60}&?|[a-z%]{0,5}=?){0,3}", bearer in "[ -~]{0,40}") {
        if crate::path::CleanPath::parse(&path).is_ok() {
            let request = Request::get(&format!("{path}?{query}")).with("authorization", &format!("Bearer {bearer}"));
            let schemes = [stream(), jwt("j", json!({"keys": "k"}))];
            prop_assert!(decide(&schemes, &request).is_err());
        }
    }
}

/// One route that is moving between three vendors, with a token of its own beside.
fn moving() -> Vec<RouteScheme> {
    use crate::token::scheme::{akamai_edgeauth::AkamaiEdgeauth, bunny::Bunny, digest_url::DigestUrl, testing::config};
    let one = |secret: &[u8]| source(vec![crate::token::Key::secret(None, secret.to_vec())]);
    let akamai = AkamaiEdgeauth::new(&config(json!({"names": ["hdnts"]})), one(b"akamai")).expect("scheme");
    let bunny = Bunny::new(&config(json!({})), one(b"bunny")).expect("scheme");
    let nginx = DigestUrl::new(&config(json!({"preset": "nginx-secure-link"})), one(b"nginx")).expect("scheme");
    vec![
        named("akamai", Arc::new(akamai)),
        named("bunny", Arc::new(bunny)),
        named("nginx", Arc::new(nginx)),
        jwt("jwt", json!({"keys": "k", "carriers": [{"header": "authorization"}]})),
    ]
}

/// A request with what `scheme` has made for `/v/a.ts`.
fn made_by(scheme: &RouteScheme, ip: Option<IpAddr>) -> Request {
    let asked = crate::token::SignRequest { client_ip: ip, ..crate::token::scheme::testing::to_sign("https://media.example.com/v/a.ts") };
    let signed = scheme.scheme.sign(&asked).expect("signed");
    let mut request = Request::get(&signed.query.map_or(signed.path.clone(), |query| format!("{}?{query}", signed.path)));
    for (name, value) in signed.headers {
        request.headers.append(name, value.parse().expect("value"));
    }
    request
}

#[test]
fn of_many_schemes_on_a_route_the_one_that_matches_is_known() {
    let schemes = moving();
    for scheme in &schemes {
        let request = made_by(scheme, (scheme.name.as_str() == "nginx").then_some(IpAddr::from([198, 51, 100, 7])));
        let verdict = decide(&schemes, &request).unwrap_or_else(|refusal| panic!("{scheme:?}: {refusal:?}"));
        assert_eq!(verdict.scheme, scheme.name);
        assert_eq!(target(&request.facts(), &verdict.strip, &verdict.grant), ("/v/a.ts".into(), None));
    }
}

#[test]
fn two_tokens_of_different_schemes_must_not_speak_of_different_viewers() {
    let schemes = moving();
    let bearer = |sub: Value| format!("Bearer {}", good(json!({"exp": NOW + 9, "sub": sub})));
    let request = made_by(&schemes[0], None).with("authorization", &bearer(json!("me")));
    assert_eq!(refusal(decide(&schemes, &request)), (Denial::Ambiguous, None));
    let stale = format!("Bearer {}", good(json!({"exp": NOW})));
    assert_eq!(refusal(decide(&schemes, &made_by(&schemes[0], None).with("authorization", &stale))), (Denial::Ambiguous, None));
    let agreeing = format!("Bearer {}", good(json!({"exp": NOW + 9})));
    let request = made_by(&schemes[0], None).with("authorization", &agreeing);
    let verdict = decide(&schemes, &request).expect("good");
    assert_eq!(verdict.strip, [Strip::Query("hdnts".into()), Strip::Header(http::header::AUTHORIZATION)]);
}

#[test]
fn a_token_for_one_use_is_used_up_by_get_and_not_by_head() {
    use crate::token::scheme::{rfc9246::Rfc9246, testing::config};
    let scheme = Rfc9246::new(&config(json!({"issuers": ["us"]})), source(vec![secret(Some("h"))])).expect("scheme");
    let schemes = [named("once", Arc::new(scheme))];
    let mut asked = crate::token::scheme::testing::to_sign("https://media.example.com/v/a.ts");
    asked.claims.insert("jti".into(), "n1".into());
    let signed = schemes[0].scheme.sign(&asked).expect("signed");
    let mut request = Request::get(&format!("{}?{}", signed.path, signed.query.unwrap_or_default()));
    let verifier = verifier();
    let mut ask = |method: http::Method| {
        request.method = method;
        verifier.decide(&schemes, &request.facts(), UnixTime(NOW)).map(|_| ())
    };
    assert_eq!(ask(http::Method::HEAD), Ok(()));
    assert_eq!(ask(http::Method::GET), Ok(()));
    let again = Err(Refusal::new(Denial::Replayed, Some(&Name::new("once").expect("name"))));
    assert_eq!(ask(http::Method::HEAD), again);
    assert_eq!(ask(http::Method::GET), again);
    // A reload brings a new verifier, with the same memory.
    let after = Verifier::with_used(&VerifierConfig::default(), verifier.used().clone());
    assert_eq!(after.decide(&schemes, &request.facts(), UnixTime(NOW)).map(|_| ()), again);
}

mod matrix;
