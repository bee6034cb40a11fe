//! Every scheme's tokens, taken out and replaced by every other scheme's: what one side signs, the other takes.

use super::*;
use crate::token::scheme::testing::every::{URL, every_signer, for_viewer, sign_as_it_can};
use crate::token::{Key, SignRequest, Signed, Where, carrier};

fn every() -> Vec<RouteScheme> {
    every_signer().into_iter().map(|(label, scheme)| named(label, scheme.into())).collect()
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

fn sign(scheme: &RouteScheme, request: &SignRequest) -> Signed {
    sign_as_it_can(scheme.name.as_str(), &*scheme.scheme, request).1
}

#[test]
fn every_token_can_be_replaced_by_every_other() {
    let schemes = every();
    let mut pairs = 0;
    for from in &schemes {
        let (path, query) = opened(from, &sign(from, &for_viewer()));
        assert_eq!((path.as_str(), &query), (&URL["https://media.example.com".len()..], &None), "{from:?}");
        for to in &schemes {
            let request = SignRequest { path: path.clone(), query: query.clone(), ..for_viewer() };
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
        let signed = sign(&scheme, &for_viewer());
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
    // One wants a name; the hashes of the others hold an address, which an origin would see another one of.
    let others: Vec<&String> = all.iter().filter(|name| !names("path").contains(name)).collect();
    assert_eq!(others, ["access-control", "nginx-secure-link", "nimble", "flussonic"]);
    let with_name = SignConfig { subject: Some("tollgate".into()), ..table("directory") };
    let access = every().into_iter().find(|scheme| scheme.name.as_str() == "access-control").expect("there");
    assert!(Signer::new(&with_name, access.scheme).is_ok());
    // A Cloudflare Stream token opens a whole video, no folder in it.
    let known = [
        ["cloudfront", "cloudfront-ec", "cookies"].as_slice(),
        &["akamai", "akamai-path", "media-cdn", "media-cdn-cookie", "media-cdn-path", "media-cdn-token", "cloud-cdn"],
        &["bunny", "bunny-path", "bunny-sha256", "wowza", "rfc9246", "cat", "url-sig", "smd"],
    ];
    assert_eq!(names("directory"), known.concat());
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
        let signed = sign(from, &for_viewer());
        for to in schemes.iter().filter(|to| to.scheme.kind() != from.scheme.kind()) {
            let Ok(path) = crate::path::CleanPath::parse(&signed.path) else { continue };
            let request = Request { path, ..request_of(&Signed { path: "/".into(), ..signed.clone() }, &*to.scheme) };
            assert!(decide(std::slice::from_ref(to), &request).is_err(), "{to:?} takes what {from:?} made");
        }
    }
}
