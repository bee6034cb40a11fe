//! JSON Web Tokens of all schemes that have them.

use serde_json::{Value, json};

use super::super::{ARN, CHANNEL, MEDIA_SECRET, SECRET, UID, ivs_key, pem, rsa_key};
use super::{Asked, END, File, Hash, NOW, PATH, base64url, get, spoilt};
use crate::token::Key;

type Sign<'c> = &'c dyn Fn(&[u8]) -> Vec<u8>;

/// One scheme's tokens.
struct Jose<'c> {
    header: Value,
    /// The claims of a good one.
    claims: Value,
    sign: Sign<'c>,
    /// An algorithm that the key is not for, and what somebody would sign with it.
    confused: (&'static str, Sign<'c>),
    /// The request that carries a token.
    place: &'c dyn Fn(&str) -> Asked,
}

impl Jose<'_> {
    fn sealed(&self, header: &Value, payload: &str) -> String {
        seal(header, payload, self.sign)
    }

    fn good(&self) -> String {
        self.sealed(&self.header, &self.claims.to_string())
    }

    /// A token with this claim, or without it where it is null.
    fn with(&self, name: &str, value: &Value) -> Asked {
        let mut claims = self.claims.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
            value => claims[name] = value.clone(),
        }
        (self.place)(&self.sealed(&self.header, &claims.to_string()))
    }

    fn with_header(&self, name: &str, value: Value) -> Asked {
        let mut header = self.header.clone();
        header[name] = value;
        (self.place)(&self.sealed(&header, &self.claims.to_string()))
    }

    /// A good token, asked for with this path instead.
    fn moved(&self, from: &str, to: &str) -> Asked {
        let mut asked = (self.place)(&self.good());
        asked.path = asked.path.replace(from, to);
        asked
    }

    /// What every scheme of this kind must refuse.
    fn common(&self, file: &mut File) {
        let (payload, good) = (self.claims.to_string(), self.good());
        file.allow("forged-as-the-others", &(self.place)(&good), "well made, as those that are refused");
        let twice = format!("{},\"exp\":{}}}", &payload[..payload.len() - 1], END + 999_999);
        file.deny("dup-field", "exp", &(self.place)(&self.sealed(&self.header, &twice)), "exp comes twice");
        for (name, sign) in [("none", &(|_: &[u8]| Vec::new()) as Sign<'_>), self.confused] {
            let mut header = self.header.clone();
            header["alg"] = name.into();
            file.deny("alg-confusion", name, &(self.place)(&seal(&header, &payload, sign)), "an algorithm that the key is not for");
        }
        file.deny("mac-not-verified", "changed", &(self.place)(&spoilt(&good)), "one character of the signature changed");
        let bare = &good[..=good.rfind('.').expect("a signature")];
        file.deny("mac-not-verified", "cut-off", &(self.place)(bare), "no signature");
        file.deny("string-numbers", "exp", &self.with("exp", &json!("1e10")), "an end in a text that is no whole number");
        file.deny("future-dated", "nbf", &self.with("nbf", &json!(NOW + 600)), "begins in the future");
        file.deny("forever", "no-exp", &self.with("exp", &Value::Null), "has no end");
        file.deny("claims-ignored", "crit", &self.with_header("crit", json!(["moon"])), "says what must be understood, and it is not");
        file.deny("unknown-kid", "header", &self.with_header("kid", json!("nobody")), "names a key that nobody has");
    }
}

fn seal(header: &Value, payload: &str, sign: Sign<'_>) -> String {
    let signed = format!("{}.{}", base64url(header.to_string()), base64url(payload));
    format!("{signed}.{}", base64url(sign(signed.as_bytes())))
}

/// The public key, which anybody has, as a shared secret.
fn by_public_key(key: &Key) -> impl Fn(&[u8]) -> Vec<u8> {
    let public = pem(key).as_str().expect("PEM").to_owned();
    move |text| Hash::Sha256.mac(public.as_bytes(), &[text])
}

pub(super) fn cloudflare_stream(file: &mut File) {
    let key = rsa_key();
    let jose = Jose {
        header: json!({ "alg": "RS256", "kid": "a" }),
        claims: json!({ "sub": UID, "exp": END }),
        sign: &|text| key.sign(text).expect("signed"),
        confused: ("HS256", &by_public_key(&key)),
        place: &|token| get(&format!("/{token}/manifest/video.m3u8")),
    };
    jose.common(file);
    file.allow("exp-as-text", &jose.with("exp", &json!(END.to_string())), "the vendor's own tokens have digits in a text");
    file.deny("future-dated", "nbf-as-text", &jose.with("nbf", &json!((NOW + 600).to_string())), "a start in a text counts like a number");
    file.deny("claims-ignored", "rule", &jose.with("accessRules", &json!([{ "type": "moon", "action": "allow" }])), "an unknown rule");
    let blocked = json!([{ "type": "ip.geoip.country", "country": ["SE"], "action": "block" }]);
    file.deny("claims-ignored", "country", &jose.with("accessRules", &blocked), "a rule that blocks the viewer's country");
}

pub(super) fn mux(file: &mut File) {
    let key = rsa_key();
    let jose = Jose {
        header: json!({ "alg": "RS256", "kid": "a" }),
        claims: json!({ "sub": "abcDEF01", "aud": "v", "exp": END }),
        sign: &|text| key.sign(text).expect("signed"),
        confused: ("HS256", &by_public_key(&key)),
        place: &|token| Asked::url(&format!("https://stream.mux.com/abcDEF01.m3u8?token={token}")),
    };
    jose.common(file);
    file.deny("prefix-without-boundary", "id", &jose.moved("abcDEF01", "abcDEF010"), "an id that only begins like it");
    file.deny("claims-ignored", "restriction", &jose.with("playback_restriction_id", &json!("gone")), "a restriction that is not known");
    let mut beside = jose.with("time", &json!("5"));
    beside.query.as_mut().expect("a query").push_str("&time=9");
    file.deny("claims-ignored", "parameter", &beside, "a parameter beside the token that must stand in it");
}

pub(super) fn jwt(file: &mut File) {
    let jose = Jose {
        header: json!({ "alg": "HS256", "kid": "a" }),
        claims: json!({ "sub": "u1", "exp": END, "paths": "/vid1" }),
        sign: &|text| Hash::Sha256.mac(MEDIA_SECRET, &[text]),
        confused: ("HS512", &|text| Hash::Sha512.mac(MEDIA_SECRET, &[text])),
        place: &|token| get(&format!("{PATH}?token={token}")),
    };
    jose.common(file);
    file.deny("prefix-without-boundary", "paths", &jose.moved("vid1", "vid10"), "a path that only begins like it");
    file.deny("claims-ignored", "country", &jose.with("co", &json!(["US"])), "for another country");
    file.deny("claims-ignored", "no-paths", &jose.with("paths", &Value::Null), "says no paths where they must be said");
    let good = (jose.place)(&jose.good());
    let wide = jose.sealed(&jose.header, &json!({ "sub": "u2", "exp": END, "paths": "/" }).to_string());
    let two = good.clone().header("authorization", &format!("Bearer {wide}"));
    file.deny("carrier-shadowing", "two", &two, "another viewer's token in a header beside the one in the query");
    file.allow("cookie-without-token", &good.header("cookie", "theme=dark"), "another cookie hides no token of the query");
}

pub(super) fn amazon_ivs(file: &mut File) {
    let key = ivs_key();
    let jose = Jose {
        header: json!({ "alg": "ES384" }),
        claims: json!({ "aws:channel-arn": ARN, "exp": END }),
        sign: &|text| key.sign(text).expect("signed"),
        confused: ("HS256", &by_public_key(&key)),
        place: &|token| Asked::url(&format!("{CHANNEL}?token={token}")),
    };
    jose.common(file);
    file.deny("prefix-without-boundary", "channel", &jose.moved("AbCd", "AbCdE"), "a channel that only begins like it");
    file.deny("claims-ignored", "aws", &jose.with("aws:moon", &json!(true)), "a claim of the vendor's that is not known");
    file.deny("claims-ignored", "strict", &jose.with("aws:strict-origin-enforcement", &json!(true)), "enforces an origin and names none");
}

pub(super) fn aws_smd(file: &mut File) {
    let jose = Jose {
        header: json!({ "alg": "HS256", "kid": "a" }),
        claims: json!({ "exp": END, "paths": ["/vid1"] }),
        sign: &|text| Hash::Sha256.mac(SECRET, &[text]),
        confused: ("HS512", &|text| Hash::Sha512.mac(SECRET, &[text])),
        place: &|token| get(&format!("/{token}{PATH}")),
    };
    jose.common(file);
    file.deny("prefix-without-boundary", "paths", &jose.moved(PATH, "/vid10/master.m3u8"), "a path that only begins like it");
    let excused = jose.with("exc", &json!(["/vid1"])).at(END);
    file.deny("fallback-flags", "exc", &excused, "an exception from the paths is none from the end");
    let claims = json!({ "exp": END, "paths": ["/vid1"], "co": true, "co_fallback": true, "intsig": base64url([0; 32]) });
    let fallback = (jose.place)(&jose.sealed(&jose.header, &claims.to_string())).header("cloudfront-viewer-country", "SE");
    file.deny("fallback-flags", "co", &fallback, "a fallback for the country skips no other check");
    file.deny("claims-ignored", "city", &jose.with("cty", &json!(true)), "bound to a city, which the original never checks");
    file.deny("claims-ignored", "session", &jose.with("ssn", &json!(true)), "bound to a session that is not there");
}

pub(super) fn rfc9246(file: &mut File) {
    const NAME: &str = "URISigningPackage";
    let jose = Jose {
        header: json!({ "alg": "HS256", "kid": "a" }),
        claims: json!({ "iss": "issuer", "exp": END, "cdniuc": "regex:https://media\\.example\\.com/vid1/.*" }),
        sign: &|text| Hash::Sha256.mac(&[7; 32], &[text]),
        confused: ("HS512", &|text| Hash::Sha512.mac(&[7; 32], &[text])),
        place: &|token| get(&format!("{PATH}?{NAME}={token}")),
    };
    jose.common(file);
    let at = |regex: &str, path: &str| {
        let mut asked = jose.with("cdniuc", &json!(format!("regex:{regex}")));
        asked.path = path.into();
        asked
    };
    let exact = "https://media\\.example\\.com/vid1";
    file.deny("unanchored-regex", "end", &at(exact, "/vid10"), "the pattern holds the beginning only");
    file.deny("unanchored-regex", "start", &at("/vid1/master\\.m3u8", PATH), "the pattern holds the end only");
    file.deny("prefix-without-boundary", "folder", &jose.moved("vid1", "vid10"), "a path that only begins like it");
    file.deny("claims-ignored", "cdnicrit", &jose.with("cdnicrit", &json!("cdnimoon")), "a claim that must be understood is not");
    file.deny("claims-ignored", "cdniip", &jose.with("cdniip", &json!("203.0.113.7")), "an address in clear, which must be encrypted");
    file.deny("claims-ignored", "cdniv", &jose.with("cdniv", &json!(2)), "another version");
    let good = jose.good();
    let behind = (jose.place)(&spoilt(&good)).header("cookie", &format!("{NAME}={good}"));
    file.deny("carrier-shadowing", "behind-a-bad-one", &behind, "a good cookie does not help a bad token in the URL");
    let mut both = (jose.place)(&good);
    both.path = format!("/vid1;{NAME}={good}/master.m3u8");
    file.deny("carrier-shadowing", "two", &both, "one in the path and one in the query");
    file.allow("cookie-without-token", &(jose.place)(&good).header("cookie", "theme=dark"), "another cookie hides no token of the query");
}
