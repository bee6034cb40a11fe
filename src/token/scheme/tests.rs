//! What holds for every scheme that signs: what it signs it takes, and nothing of that can be changed: no byte, and no border
//! between two fields.

use std::collections::BTreeMap;

use http::HeaderName;
use serde_json::json;

use super::testing::every::{every_signer, for_viewer, if_it_can, sign_as_it_can};
use super::testing::{Asked, NOW};
use super::{Scheme, SignError, SignRequest};
use crate::clock::UnixTime;
use crate::token::{Country, exact};

const WHOLE: &str = "/ea95132c15732412d22c1476fa83f27a/us-east-1.111122223333.channel.AbCd.m3u8";
const FOLDER: &str = "/ea95132c15732412d22c1476fa83f27a";
const FILE: &str = "us-east-1.111122223333.channel.AbCd.m3u8";

/// What of a request a signature does not cover, by the scheme's own rules, and why.
const FREE: [(&str, &str, &str); 11] = [
    ("access-control", WHOLE, "without a scope it opens its route"),
    ("jwt", WHOLE, "where no claim says paths it opens its route"),
    ("nimble", WHOLE, "its recipe has no path in it"),
    ("ivs", FOLDER, "a channel is named by the segment that says so"),
    ("ivs", "m3u8", "what follows the channel's name is a file of it"),
    ("flussonic", FILE, "opens a stream, all of its files"),
    ("media-cdn-cookie", FILE, "a cookie opens a folder"),
    ("media-cdn-path", FILE, "a path component opens the folder that it stands in"),
    ("mux", "/us-east-1.111122223333.channel.AbCd.m3u8", "opens all of a playback id's renditions, in its folder or beside it"),
    ("stream", FILE, "opens all of a video"),
    ("wowza", FILE, "opens a stream, all of its files"),
];

/// Schemes that sign the query beside their own fields.
const WITH_QUERY: [&str; 9] =
    ["cloudfront", "cloudfront-ec", "cookies", "media-cdn", "cloud-cdn", "bunny", "bunny-sha256", "url-sig", "rfc9246"];

/// Schemes that sign the host.
const WITH_HOST: [&str; 9] =
    ["cloudfront", "cloudfront-ec", "cookies", "media-cdn", "media-cdn-cookie", "media-cdn-path", "cloud-cdn", "url-sig", "rfc9246"];

/// A signed request that is taken.
struct Case {
    label: String,
    scheme: Box<dyn Scheme>,
    good: Asked,
    /// Signed for the file's folder.
    for_folder: bool,
}

/// Every signer's: for the path as it is, and for its folder where it has words for that.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ((label, scheme), (_, again)) in every_signer().into_iter().zip(every_signer()) {
        let query = WITH_QUERY.contains(&label).then(|| "q=1".to_owned());
        let (request, signed) = sign_as_it_can(label, &*scheme, &SignRequest { query, ..for_viewer() });
        cases.push(Case { label: label.into(), scheme, good: Asked::signed(&request, &signed), for_folder: false });
        let folder = SignRequest { scope: Some(format!("{FOLDER}/")), ..for_viewer() };
        if let Some((request, signed)) = if_it_can(&*again, &folder) {
            let label = format!("{label} for a folder");
            cases.push(Case { label, scheme: again, good: Asked::signed(&request, &signed), for_folder: true });
        }
    }
    cases
}

/// The texts of a request that a token can be in, in order: path, query, header values.
fn texts(asked: &Asked) -> Vec<String> {
    let headers = asked.headers.iter().map(|(_, value)| value.clone());
    [asked.path.clone(), asked.query.clone().unwrap_or_default()].into_iter().chain(headers).collect()
}

fn with_texts(asked: &Asked, texts: &[String]) -> Asked {
    let mut asked = asked.clone();
    asked.path.clone_from(&texts[0]);
    asked.query = Some(texts[1].clone()).filter(|query| !query.is_empty());
    for (header, text) in asked.headers.iter_mut().zip(&texts[2..]) {
        header.1.clone_from(text);
    }
    asked
}

impl Case {
    /// Whether a byte of a text is one of those that the signature does not cover.
    fn is_free(&self, text: &str, at: usize) -> bool {
        // Base64 with its padding cut off is the same hash.
        let padding = self.label.starts_with("wowza") && at + 1 == text.len() && text.ends_with('=');
        let covers = |free: &str| text.match_indices(free).any(|(start, free)| (start..start + free.len()).contains(&at));
        padding || (self.for_folder && covers(FILE)) || FREE.iter().any(|(label, free, _)| *label == self.label && covers(free))
    }

    fn takes(&self, texts: &[String]) -> bool {
        with_texts(&self.good, texts).verdict(&*self.scheme).is_ok()
    }
}

#[test]
fn what_is_signed_is_taken() {
    for Case { label, scheme, good, .. } in cases() {
        assert_eq!(good.verdict(&*scheme), Ok(()), "{label}");
    }
}

/// Others of the same alphabet, so that a decoder has to look: a letter in its other case, a digit, a hex digit, a separator.
fn others(byte: u8) -> impl Iterator<Item = u8> {
    let case = if byte.is_ascii_uppercase() { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() };
    [case, b'A', b'b', b'1', b'_', b'-', b'.', b'=', b'%', b'&'].into_iter().filter(move |other| *other != byte)
}

/// Whether it is the same digit of a percent-encoding in its other case (RFC 3986 §2.1).
fn is_same_escape(text: &str, at: usize, other: u8) -> bool {
    let escaped = [1, 2].iter().any(|back| at.checked_sub(*back).is_some_and(|before| text.as_bytes()[before] == b'%'));
    escaped && text.as_bytes()[at].eq_ignore_ascii_case(&other)
}

#[test]
fn any_changed_byte_is_refused() {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for case in cases() {
        let texts = texts(&case.good);
        for (which, text) in texts.iter().enumerate() {
            for (at, byte) in text.bytes().enumerate().filter(|(at, _)| !case.is_free(text, *at)) {
                for other in others(byte).filter(|other| !is_same_escape(text, at, *other)) {
                    let mut changed = texts.clone();
                    changed[which].replace_range(at..=at, char::from(other).encode_utf8(&mut [0; 4]));
                    if case.takes(&changed) {
                        taken.entry(format!("{} {text}", case.label)).or_default().push_str(&format!(" {at}:{}", char::from(other)));
                    }
                }
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn a_host_that_is_signed_is_held_to() {
    for Case { label, scheme, mut good, .. } in cases().into_iter().filter(|case| !case.for_folder) {
        good.host = "media.example.org".into();
        assert_eq!(good.verdict(&*scheme).is_ok(), !WITH_HOST.contains(&&*label), "{label}");
    }
}

/// Where a text falls into fields: at every sign that one scheme or another puts between two.
fn pieces(text: &str) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().chain(*b"&").enumerate() {
        if b"/?&=~.;:!|,-".contains(&byte) {
            if at > start {
                pieces.push((start, at));
            }
            start = at + 1;
        }
    }
    pieces
}

/// Moves the last byte of one field to the front of another, or its first byte to the other's end.
fn moved(texts: &[String], from: (usize, (usize, usize)), to: (usize, (usize, usize)), front: bool) -> Vec<String> {
    let mut texts = texts.to_vec();
    let (take, put) = if front { (from.1.1 - 1, to.1.0) } else { (from.1.0, to.1.1) };
    let byte = texts[from.0].remove(take);
    let shift = usize::from(from.0 == to.0 && put > take);
    texts[to.0].insert(put - shift, byte);
    texts
}

/// Fields beyond this many are taken with their neighbours only.
const MOST_FIELDS: usize = 16;

#[test]
fn no_two_splits_into_fields_sign_alike() {
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases() {
        let texts = texts(&case.good);
        let all = texts.iter().enumerate().flat_map(|(which, text)| pieces(text).into_iter().map(move |piece| (which, piece)));
        let fields: Vec<(usize, (usize, usize))> =
            all.filter(|(which, (start, end))| (*start..*end).all(|at| !case.is_free(&texts[*which], at))).collect();
        for (index, from) in fields.iter().enumerate() {
            let near = |other: &usize| *other != index && (fields.len() <= MOST_FIELDS || index.abs_diff(*other) == 1);
            for to in (0..fields.len()).filter(near).map(|other| fields[other]) {
                for front in [true, false] {
                    let changed = moved(&texts, *from, to, front);
                    if changed != texts && case.takes(&changed) {
                        taken.entry(format!("{} {texts:?}", case.label)).or_default().push(format!("{changed:?}"));
                    }
                }
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

/// Two recipes of vendors write the viewer's address right behind the path: what is signed for `/v/a1` and 98.51.100.7 is
/// good for `/v/a` and 198.51.100.7. No other scheme has that.
#[test]
fn the_address_has_its_border_but_in_two_recipes() {
    let mut taken = Vec::new();
    for (label, scheme) in every_signer() {
        for end in [FOLDER, WHOLE] {
            let longer = format!("{end}1");
            let request = SignRequest { path: WHOLE.replacen(end, &longer, 1), client_ip: "98.51.100.7".parse().ok(), ..for_viewer() };
            let Some((request, signed)) = if_it_can(&*scheme, &request).filter(|(request, _)| request.client_ip.is_some()) else {
                continue;
            };
            let mut other = Asked::signed(&request, &signed);
            assert_eq!(other.clone().from("98.51.100.7").verdict(&*scheme), Ok(()), "{label}");
            other.path = other.path.replacen(&longer, end, 1);
            taken.extend(other.verdict(&*scheme).is_ok().then_some(label));
        }
    }
    assert_eq!(taken, ["nginx-secure-link", "flussonic"]);
}

/// What may be asked of a token beside its URL, and a request that it must then not be good for.
type Wish = (&'static str, fn(&mut SignRequest), fn(Asked) -> Asked);

const WISHES: [Wish; 8] = [
    ("client_ip", |request| request.client_ip = "203.0.113.7".parse().ok(), |asked| asked.from("203.0.113.8")),
    ("not_before", |request| request.not_before = Some(UnixTime(NOW + 100)), |asked| asked.at(NOW + 60)),
    ("expires", |request| request.expires = Some(UnixTime(NOW + 7200)), |asked| asked.at(NOW + 7300)),
    (
        "scope",
        |request| request.scope = Some(format!("{FOLDER}/")),
        |mut asked| {
            asked.path = format!("/elsewhere{}", asked.path);
            asked.mount += "/elsewhere".len();
            asked
        },
    ),
    ("country", |request| request.country = Country::new("SE"), |asked| Asked { country: Country::new("NO"), ..asked }),
    ("system", |request| request.system = Some(64_500), |asked| asked),
    ("headers", |request| request.headers = vec![(HeaderName::from_static("x-device"), "tv".into())], |asked| asked),
    ("session", |request| request.session.total = Some(3), |asked| asked),
];

/// Who can say what in a token made for [`WISHES`].
const WORDS: [(&str, &str); 4] = [
    (
        "client_ip",
        "stream cloudfront cloudfront-ec cookies akamai akamai-path media-cdn-token bunny bunny-path bunny-sha256 bunny-md5 \
        url-sig smd nginx-secure-link nimble flussonic",
    ),
    (
        "not_before",
        "stream mux jwt jwt-prefixed jwt-parameter cloudfront cloudfront-ec cookies akamai akamai-path media-cdn-token wowza \
        rfc9246 cat access-control smd ivs flussonic",
    ),
    (
        "scope",
        "jwt-prefixed jwt-parameter cloudfront cloudfront-ec cookies akamai akamai-path media-cdn media-cdn-cookie \
        media-cdn-path media-cdn-token cloud-cdn bunny bunny-path bunny-sha256 wowza rfc9246 cat url-sig access-control smd \
        flussonic",
    ),
    ("subject", "jwt jwt-prefixed jwt-parameter akamai akamai-path media-cdn-token rfc9246 cat access-control ivs"),
];

/// What `scheme` makes of `request`, with what its tokens cannot do without.
fn exactly(scheme: &dyn Scheme, request: &SignRequest) -> Option<(SignRequest, exact::Exact)> {
    let bare = || request.clone();
    let named = SignRequest { subject: Some("u1".into()), ..bare() };
    let addressed = SignRequest { client_ip: request.client_ip.or(for_viewer().client_ip), ..bare() };
    [bare(), named, addressed].into_iter().find_map(|request| {
        let exact = exact::sign(scheme, &request).ok()?;
        Some((request, exact))
    })
}

/// Who is handed a token can count on all that was asked for: it is held to, or there is no token.
#[test]
fn what_is_asked_for_is_held_to_or_refused() {
    let mut words: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let anyone = || SignRequest { client_ip: None, subject: None, ..for_viewer() };
    for (label, scheme) in every_signer() {
        for (field, wish, beyond) in WISHES {
            let mut request = anyone();
            wish(&mut request);
            let Some((request, exact)) = exactly(&*scheme, &request) else { continue };
            let viewer = request.client_ip.or(for_viewer().client_ip).expect("an address");
            let asked = Asked::signed(&request, &exact.signed).at(NOW + 100).from(&viewer.to_string());
            assert_eq!(asked.verdict(&*scheme), Ok(()), "{label} {field}");
            assert!(beyond(asked).verdict(&*scheme).is_err(), "{label} {field}");
            words.entry(field).or_default().push(label);
        }
        let named = SignRequest { subject: Some("u1".into()), ..anyone() };
        words.entry("subject").or_default().extend(exact::sign(&*scheme, &named).is_ok().then_some(label));
    }
    let endless = |(label, _): &(&'static str, _)| !words["expires"].contains(label);
    let endless: Vec<&str> = every_signer().into_iter().filter(endless).map(|(label, _)| label).collect();
    assert_eq!(endless, ["nginx-secure-link-secret"]);
    words.remove("expires");
    assert_eq!(
        words.into_iter().map(|(field, labels)| (field, labels.join(" "))).collect::<Vec<_>>(),
        WORDS.map(|(field, labels)| (field, labels.to_owned()))
    );
}

#[test]
fn claims_that_a_scheme_does_not_know_and_keys_that_are_none_are_refused() {
    let mut takes_any = Vec::new();
    for (label, scheme) in every_signer() {
        let (request, signed) = if_it_can(&*scheme, &for_viewer()).expect("signs");
        let mut with_claim = request.clone();
        with_claim.claims.insert("no-such-claim".into(), "x".into());
        if let Ok(with_claim) = scheme.sign(&with_claim) {
            assert!(with_claim.token.len() > signed.token.len(), "{label}: the claim is left out");
            takes_any.push(label);
        }
        let unsigned = scheme.sign(&SignRequest { key_id: Some("no-such-key".into()), ..request });
        assert_eq!(unsigned, Err(SignError::NoKey(Some("no-such-key".into()))), "{label}");
    }
    assert_eq!(takes_any, ["stream", "mux", "jwt", "jwt-prefixed", "jwt-parameter", "wowza", "rfc9246", "ivs"]);
}

/// A token that is bound to much is still found to leave out the rest.
#[test]
fn a_field_that_another_scheme_has_words_for_is_named() {
    let keys = || super::testkit::source(vec![super::testkit::secret(Some("h"))]);
    let build = |table: serde_json::Value| {
        let table: super::config::SchemeConfig = serde_json::from_value(table).expect("config");
        table.build(keys()).expect("scheme")
    };
    let sealed = |attributes: &[&str]| {
        let claims = json!({ "paths": "paths", "networks": "ip", "total": "n" });
        let seal = json!({ "attributes": attributes, "secret": "a-secret" });
        build(json!({ "type": "jwt", "keys": "k", "claims": claims, "seal": seal, "leeway": "10m" }))
    };
    let mut all = for_viewer();
    WISHES.iter().for_each(|(_, wish, _)| wish(&mut all));
    let attributes = ["network", "system", "country", "header.x-device"];
    assert!(exact::sign(&*sealed(&attributes), &all).is_ok());
    for (left_out, field) in attributes.iter().zip(["", "system", "country", "headers"]).skip(1) {
        let others: Vec<&str> = attributes.into_iter().filter(|attribute| attribute != left_out).collect();
        let refused = exact::sign(&*sealed(&others), &all).expect_err("not all of it");
        assert_eq!(refused, SignError::NoWords(field));
    }
    let mut abroad = SignRequest { subject: None, ..for_viewer() };
    abroad.claims.insert("token_countries".into(), "NO".into());
    let bunny = build(json!({ "type": "bunny", "keys": "k" }));
    assert!(exact::sign(&*bunny, &abroad).is_ok(), "bound to a country that is not known here, and to the address");
}

#[test]
fn nothing_is_free_that_need_not_be() {
    for (label, free, why) in FREE {
        let case = cases().into_iter().find(|case| case.label == label).unwrap_or_else(|| panic!("no case {label}"));
        let at = case.good.path.find(free).unwrap_or_else(|| panic!("{label}: no {free} in {}", case.good.path));
        let mut changed = case.good.clone();
        changed.path.replace_range(at + 1..at + 2, "x");
        assert_eq!(changed.verdict(&*case.scheme), Ok(()), "{label}: {why}");
    }
}
