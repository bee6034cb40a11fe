//! Every scheme's tokens, taken out and replaced by every other scheme's: what one side signs, the other takes.

use super::*;
use crate::token::scheme::testing::{config, ed25519, secrets, to_sign};
use crate::token::scheme::{
    akamai_edgeauth, amazon_ivs, ats_access_control, ats_url_sig, aws_smd, bunny, cloudfront, cta_5007, digest_url, google_cloud_cdn,
    google_media_cdn, mux, rfc9246, wowza,
};
use crate::token::{Key, SignRequest, Signed, Where, carrier};

/// Where every scheme has something to sign: an id in the first segment, an IVS channel in the last.
const URL: &str = "https://media.example.com/ea95132c15732412d22c1476fa83f27a/us-east-1.111122223333.channel.AbCd.m3u8";
const ARN: &str = "arn:aws:ivs:us-east-1:111122223333:channel/AbCd";

fn one(octets: &[u8]) -> KeySource {
    source(vec![Key::secret(None, octets.to_vec())])
}

fn es384() -> Key {
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("pair");
    let material = crate::token::key::Material::private(pair.to_pkcs8v1().expect("pkcs8").as_ref()).expect("material");
    Key::new(material, None, Some(crate::token::Algorithm::ES384)).expect("key")
}

/// One of each kind, and of digest-url one of each preset that tells its end.
fn every() -> Vec<RouteScheme> {
    let presets = ["nginx-secure-link", "keycdn", "alibaba-a", "alibaba-b", "alibaba-c", "tencent-a", "tencent-c", "tencent-d", "fastly"];
    let digests = presets.map(|preset| {
        let secret: &[u8] = if preset == "fastly" { b"c2VjcmV0c2VjcmV0" } else { b"digest" };
        named(preset, Arc::new(digest_url::DigestUrl::new(&config(json!({"preset": preset})), one(secret)).expect("scheme")))
    });
    let mut all = vec![
        stream(),
        named("mux", Arc::new(mux::Mux::new(&config(json!({})), source(vec![rsa(Some("a"))])).expect("scheme"))),
        jwt("jwt", json!({"keys": "k"})),
        named(
            "cloudfront",
            Arc::new(cloudfront::CloudFront::new(&config(json!({})), source(vec![crate::token::scheme::testing::rsa()])).expect("scheme")),
        ),
        named(
            "cookies",
            Arc::new(
                cloudfront::CloudFront::new(&config(json!({"sign_into": "cookies"})), source(vec![crate::token::scheme::testing::rsa()]))
                    .expect("scheme"),
            ),
        ),
        named("akamai", Arc::new(akamai_edgeauth::AkamaiEdgeauth::new(&config(json!({})), one(b"akamai")).expect("scheme"))),
        named(
            "media-cdn",
            Arc::new(google_media_cdn::GoogleMediaCdn::new(&config(json!({})), source(vec![ed25519("g")])).expect("scheme")),
        ),
        named(
            "cloud-cdn",
            Arc::new(google_cloud_cdn::GoogleCloudCdn::new(&config(json!({})), secrets(&[("c", b"0123456789abcdef")])).expect("scheme")),
        ),
        named("bunny", Arc::new(bunny::Bunny::new(&config(json!({})), one(b"bunny")).expect("scheme"))),
        named("bunny-path", Arc::new(bunny::Bunny::new(&config(json!({"sign_into": "path"})), one(b"bunny")).expect("scheme"))),
        named("wowza", Arc::new(wowza::Wowza::new(&config(json!({})), one(b"wowza")).expect("scheme"))),
        named(
            "rfc9246",
            Arc::new(rfc9246::Rfc9246::new(&config(json!({"issuers": ["us"]})), source(vec![secret(Some("r"))])).expect("scheme")),
        ),
        named("cat", Arc::new(cta_5007::Cta5007::new(&config(json!({})), source(vec![secret(Some("t"))])).expect("scheme"))),
        named("url-sig", Arc::new(ats_url_sig::AtsUrlSig::new(&config(json!({})), secrets(&[("key3", b"ats")])).expect("scheme"))),
        named(
            "access-control",
            Arc::new(ats_access_control::AtsAccessControl::new(&config(json!({})), secrets(&[("key1", b"ats")])).expect("scheme")),
        ),
        named("smd", Arc::new(aws_smd::AwsSmd::new(&config(json!({})), secrets(&[("a", b"smd")])).expect("scheme"))),
        named("ivs", Arc::new(amazon_ivs::AmazonIvs::new(&config(json!({"channels": [ARN]})), source(vec![es384()])).expect("scheme"))),
    ];
    all.extend(digests);
    all
}

/// The viewer's address is in some of the hashes.
fn asking() -> SignRequest {
    SignRequest { client_ip: "198.51.100.7".parse().ok(), subject: Some("u1".into()), ..to_sign(URL) }
}

fn request_of(signed: &Signed, scheme: &dyn Scheme) -> Request {
    let mut request = Request::get(&signed.query.as_ref().map_or_else(|| "/".to_owned(), |query| format!("/?{query}")));
    request.path = crate::path::CleanPath::parse_or_with_tokens(&signed.path, &scheme.path_tokens()).expect("a path");
    for (name, value) in &signed.headers {
        request.headers.append(name.clone(), value.parse().expect("value"));
    }
    let cookies: Vec<String> = signed.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !cookies.is_empty() {
        request.headers.append("cookie", cookies.join("; ").parse().expect("value"));
    }
    request
}

/// What goes upstream: the path and query without the token, which no header holds any more.
fn opened(scheme: &RouteScheme, signed: &Signed) -> (String, Option<String>) {
    let request = request_of(signed, &*scheme.scheme);
    let verdict = decide(std::slice::from_ref(scheme), &request).unwrap_or_else(|why| panic!("{scheme:?}: {why:?} {signed:?}"));
    let mut headers = request.headers.clone();
    carrier::strip_headers(&mut headers, &verdict.strip);
    assert!(headers.is_empty(), "{scheme:?}: {headers:?}");
    target(&request.facts(), &verdict.strip, &verdict.grant)
}

/// What `scheme` makes of `request`; the address is left out where it has no words for it.
fn sign(scheme: &RouteScheme, request: &SignRequest) -> Signed {
    let bare = SignRequest { client_ip: None, subject: None, ..request.clone() };
    let made =
        scheme.scheme.sign(request).or_else(|_| scheme.scheme.sign(&SignRequest { subject: request.subject.clone(), ..bare.clone() }));
    made.or_else(|_| scheme.scheme.sign(&bare)).unwrap_or_else(|why| panic!("{scheme:?}: {why}"))
}

#[test]
fn every_token_can_be_replaced_by_every_other() {
    let schemes = every();
    let mut pairs = 0;
    for from in &schemes {
        let (path, query) = opened(from, &sign(from, &asking()));
        assert_eq!((path.as_str(), &query), (&URL["https://media.example.com".len()..], &None), "{from:?}");
        for to in &schemes {
            let request = SignRequest { path: path.clone(), query: query.clone(), ..asking() };
            assert_eq!(opened(to, &sign(to, &request)), (path.clone(), None), "{from:?} to {to:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, schemes.len() * schemes.len());
}

/// Where a viewer could put something that an origin would read as the gateway's signature.
#[test]
fn every_scheme_knows_its_own_places() {
    for scheme in every() {
        let signed = sign(&scheme, &asking());
        let had: Vec<&str> = URL.split('/').collect();
        let segments = signed.path.split('/').filter(|segment| !segment.is_empty() && !had.contains(segment));
        let mut places: Vec<Where<'_>> = segments.map(Where::Segment).collect();
        places.extend(crate::query::pairs(signed.query.as_deref().unwrap_or("")).map(|(name, _)| Where::Query(name)));
        places.extend(signed.headers.iter().map(|(name, _)| Where::Header(name)));
        places.extend(signed.cookies.iter().map(|(name, _)| Where::Cookie(name)));
        // Which segments a digest stands in, only their position says.
        places.retain(|place| !(scheme.scheme.kind() == "digest-url" && matches!(place, Where::Segment(_))));
        assert!(places.iter().all(|place| scheme.scheme.reads(*place)), "{scheme:?}: {places:?}");
        for other in [Where::Query("quality"), Where::Cookie("theme"), Where::Segment("film"), Where::PathParameter("v")] {
            assert!(!scheme.scheme.reads(other), "{scheme:?}: {other:?}");
        }
    }
}

#[test]
fn a_signer_that_can_never_sign_is_a_fault_of_the_config() {
    use crate::credential::{SignConfig, Signer};
    let table = |scope: &str| -> SignConfig { serde_json::from_value(json!({ "scheme": "s", "scope": scope })).expect("config") };
    let names = |scope: &str| -> Vec<String> {
        let fits = |scheme: &&RouteScheme| Signer::new(&table(scope), scheme.scheme.clone()).is_ok();
        every().iter().filter(fits).map(|scheme| scheme.name.to_string()).collect()
    };
    let all: Vec<String> = every().iter().map(|scheme| scheme.name.to_string()).collect();
    // One wants a name; the hash of `secure_link` holds an address, which an origin would see another one of.
    let others: Vec<&String> = all.iter().filter(|name| !names("path").contains(name)).collect();
    assert_eq!(others, ["access-control", "nginx-secure-link"]);
    let with_name = SignConfig { subject: Some("tollgate".into()), ..table("directory") };
    let access = every().into_iter().find(|scheme| scheme.name.as_str() == "access-control").expect("there");
    assert!(Signer::new(&with_name, access.scheme).is_ok());
    // A Cloudflare Stream token opens a whole video, no folder in it.
    let known =
        ["cloudfront", "cookies", "akamai", "media-cdn", "cloud-cdn", "bunny", "bunny-path", "wowza", "rfc9246", "cat", "url-sig", "smd"];
    assert_eq!(names("directory"), known);
    let public = jwt_with(
        "public",
        json!({"keys": "k"}),
        source(vec![Key::new(crate::token::key::Material::public(rsa(None).public_der()).expect("public"), None, None).expect("key")]),
    );
    assert_eq!(Signer::new(&table("path"), public.scheme).map(|_| ()).expect_err("no private key").0, "scheme");
}

#[test]
fn no_scheme_takes_the_token_of_another() {
    let schemes = every();
    for from in &schemes {
        let signed = sign(from, &asking());
        for to in schemes.iter().filter(|to| to.scheme.kind() != from.scheme.kind()) {
            let Ok(path) = crate::path::CleanPath::parse(&signed.path) else { continue };
            let request = Request { path, ..request_of(&Signed { path: "/".into(), ..signed.clone() }, &*to.scheme) };
            assert!(decide(std::slice::from_ref(to), &request).is_err(), "{to:?} takes what {from:?} made");
        }
    }
}
