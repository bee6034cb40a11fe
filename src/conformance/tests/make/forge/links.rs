//! Signed links: fields and a digest, in a query, a path or a cookie.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::super::{BUNNY, MEDIA_SECRET, SECRET, WOWZA, kept_key};
use super::{Asked, END, File, Hash, NOW, PATH, base64url, get, hex, sha256_hex, spoilt};
use crate::token::Algorithm;

/// The path of a neighbour that only begins alike.
const NEAR: &str = "/vid10/master.m3u8";
/// The last good second of what says that.
const LAST: i64 = END - 1;
const AS_THE_OTHERS: &str = "well made, as those that are refused";
const BEGINS_ALIKE: &str = "a path that only begins like it";
const NO_END: &str = "has no end";
const OTHER_COOKIE: &str = "another cookie hides no token of the query";

pub(super) fn akamai(file: &mut File) {
    const KEY: [u8; 2] = [0x52, 0xa1];
    file.key = json!({ "hex": "52a1", "algorithm": "sha256", "salt": null });
    let token = |fields: &str| format!("{fields}~hmac={}", sha256_hex(&KEY, fields));
    let at = |path: &str, fields: &str| get(&format!("{path}?hdnts={}", token(fields)));
    let good = format!("exp={LAST}~acl=/vid1/*");
    file.allow("forged-as-the-others", &at(PATH, &good), AS_THE_OTHERS);
    file.deny("dup-field", "acl-in-data", &at("/vid9/a.ts", &format!("{good}~data=x~acl=/*")), "the data brings an acl of its own");
    file.deny("prefix-without-boundary", "folder", &at(NEAR, &good), BEGINS_ALIKE);
    file.deny("prefix-without-boundary", "exact", &at(NEAR, &format!("exp={LAST}~acl=/vid1")), "an acl without a wildcard is one path");
    let sha1 = format!("{good}~hmac={}", hex(&Hash::Sha1.mac(&KEY, &[good.as_bytes()])));
    file.deny("alg-confusion", "sha1", &get(&format!("{PATH}?hdnts={sha1}")), "another hash than the configured one");
    file.deny("future-dated", "st", &at(PATH, &format!("st={}~{good}", NOW + 600)), "begins in the future");
    file.deny("forever", "no-exp", &at(PATH, "acl=/vid1/*"), NO_END);
    file.deny("claims-ignored", "field", &at(PATH, &format!("{good}~moon=1")), "a field that is not known");
    file.deny("claims-ignored", "ip", &at(PATH, &format!("ip=203.0.113.7~{good}")), "for another address");
    file.deny("mac-not-verified", "changed", &get(&format!("{PATH}?hdnts={}", spoilt(&token(&good)))), "one digit changed");
    file.deny("mac-not-verified", "empty", &get(&format!("{PATH}?hdnts={good}~hmac=")), "no digest");
    let wide = token(&format!("exp={LAST}~acl=/*"));
    file.deny("carrier-shadowing", "two", &at(PATH, &good).header("hdnts", &wide), "another token in a header");
    file.allow("cookie-without-token", &at(PATH, &good).header("cookie", "theme=dark"), OTHER_COOKIE);
    let long = |acl: &str| ("hdntl", token(&format!("exp={}~acl={acl}~data=hdntl", LAST + 7200)));
    exchange(file, &at(PATH, &good), [long("/vid1/*"), long("/vid2/*")]);
}

/// Where short tokens are exchanged for long ones, the one that ends later speaks, for good and ill. The long ones are for
/// this folder and for another.
fn exchange(file: &mut File, short: &Asked, [ours, others]: [(&str, String); 2]) {
    let beside = |(name, long): &(&str, String)| short.clone().header("cookie", &format!("{name}={long}"));
    file.config = json!({ "exchange": {} });
    file.allow("exchange-goes-on", &beside(&ours).at(END + 60), "the long token goes on when the short one is over");
    file.deny(
        "carrier-shadowing",
        "exchange",
        &beside(&others),
        "the long token is for another folder, and the short one does not help it",
    );
    file.config = Value::Null;
}

pub(super) fn google_media_cdn(file: &mut File) {
    let ed = kept_key("ed25519", Some("key-a"), None);
    let (named, bare) = (json!({ "key-a": file.key["ed25519_pub_b64url"].clone() }), file.key.clone());
    let seal = |fields: &str| format!("{fields}~hmac={}", sha256_hex(MEDIA_SECRET, fields));
    let at = |path: &str, fields: &str| get(&format!("{path}?hdnts={}", seal(fields)));
    let good = format!("PathGlobs=/vid1/*~Expires={LAST}");
    file.allow("forged-as-the-others", &at(PATH, &good), AS_THE_OTHERS);
    file.deny("dup-field", "globs", &at("/vid9/a.ts", &format!("{good}~PathGlobs=/*")), "the paths come twice");
    let prefix = base64url("https://media.example.com/vid1");
    file.deny("prefix-without-boundary", "prefix", &at(NEAR, &format!("URLPrefix={prefix}~Expires={LAST}")), BEGINS_ALIKE);
    file.deny("prefix-without-boundary", "globs", &at(NEAR, &good), BEGINS_ALIKE);
    file.config = json!({ "hmac": "sha256" });
    let sha1 = format!("{good}~hmac={}", hex(&Hash::Sha1.mac(MEDIA_SECRET, &[good.as_bytes()])));
    file.deny("alg-confusion", "sha1", &get(&format!("{PATH}?hdnts={sha1}")), "another hash than the configured one");
    file.config = Value::Null;
    file.deny("future-dated", "Starts", &at(PATH, &format!("{good}~Starts={}", NOW + 600)), "begins in the future");
    file.deny("forever", "no-Expires", &at(PATH, "PathGlobs=/vid1/*"), NO_END);
    file.deny("claims-ignored", "field", &at(PATH, &format!("{good}~Moon=1")), "a field that is not known");
    let ranges = base64url("203.0.113.0/24");
    file.deny("claims-ignored", "IPRanges", &at(PATH, &format!("{good}~IPRanges={ranges}")), "for other addresses");
    file.deny("mac-not-verified", "changed", &get(&format!("{PATH}?hdnts={}", spoilt(&seal(&good)))), "one digit changed");
    file.deny("mac-not-verified", "empty", &get(&format!("{PATH}?hdnts={good}~Signature=")), "no signature");
    let wide = format!("Edge-Cache-Cookie={}", seal(&format!("PathGlobs=/*~Expires={LAST}")));
    file.deny("carrier-shadowing", "two", &at(PATH, &good).header("cookie", &wide), "another token in the cookie");
    file.allow("cookie-without-token", &at(PATH, &good).header("cookie", "theme=dark"), OTHER_COOKIE);
    let long = |glob: &str| ("Edge-Cache-Cookie", seal(&format!("PathGlobs={glob}~Expires={}~Data=hdntl", LAST + 7200)));
    exchange(file, &at(PATH, &good), [long("/vid1/*"), long("/vid2/*")]);
    file.key = json!({ "key-a": { "ed25519_pub_b64url": named["key-a"] } });
    let signed = format!("Expires={LAST}&KeyName=nobody");
    let signature = URL_SAFE.encode(ed.sign(format!("https://media.example.com{PATH}?{signed}").as_bytes()).expect("signed"));
    file.deny("unknown-kid", "KeyName", &get(&format!("{PATH}?{signed}&Signature={signature}")), "names a key that nobody has");
    file.key = bare;
}

pub(super) fn google_cloud_cdn(file: &mut File) {
    const KEY: &[u8] = b"0123456789abcdef";
    let sign = |text: &str| URL_SAFE.encode(Hash::Sha1.mac(KEY, &[text.as_bytes()]));
    let at = |path: &str, fields: &str| get(&format!("{path}?{fields}&Signature={}", sign(fields)));
    let prefix = |url: &str| format!("URLPrefix={}", URL_SAFE.encode(url));
    let tail = format!("Expires={LAST}&KeyName=key-a");
    let good = format!("{}&{tail}", prefix("https://media.example.com/vid1/"));
    file.allow("forged-as-the-others", &at(PATH, &good), AS_THE_OTHERS);
    file.deny("dup-field", "Expires", &at(PATH, &format!("Expires={}&{good}", LAST + 9999)), "the end comes twice");
    file.deny(
        "prefix-without-boundary",
        "prefix",
        &at(NEAR, &format!("{}&{tail}", prefix("https://media.example.com/vid1"))),
        BEGINS_ALIKE,
    );
    let forever = format!("{}&KeyName=key-a", prefix("https://media.example.com/vid1/"));
    file.deny("forever", "no-Expires", &at(PATH, &forever), NO_END);
    let mut after = at(PATH, &good);
    after.query.as_mut().expect("a query").push_str("&quality=hd");
    file.deny("claims-ignored", "after", &after, "something stands behind the signature");
    let cookie = |fields: &str| format!("Cloud-CDN-Cookie={fields}:Signature={}", sign(fields));
    let moon = good.replace('&', ":").replacen(":Expires", ":Moon=1:Expires", 1);
    file.deny("claims-ignored", "field", &get(PATH).header("cookie", &cookie(&moon)), "a field that is not known");
    let mut changed = at(PATH, &good);
    changed.query = changed.query.map(|query| query.replacen("Signature=", "Signature=AAAA", 1));
    file.deny("mac-not-verified", "changed", &changed, "a signature that is not the prefix's");
    file.deny("mac-not-verified", "empty", &get(&format!("{PATH}?{good}&Signature=")), "no signature");
    let wide = format!("{}:Expires={LAST}:KeyName=key-a", prefix("https://media.example.com/"));
    file.deny("carrier-shadowing", "two", &at(PATH, &good).header("cookie", &cookie(&wide)), "another token in the cookie");
    file.allow("cookie-without-token", &at(PATH, &good).header("cookie", "theme=dark"), OTHER_COOKIE);
    file.deny("unknown-kid", "KeyName", &at(PATH, &good.replace("key-a", "nobody")), "names a key that nobody has");
}

pub(super) fn cloudfront(file: &mut File) {
    let key = kept_key("rsa", Some("KRSA"), Some(Algorithm::RS256));
    let own = |bytes: &[u8]| STANDARD.encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~");
    let fields = |policy: &str| [("Policy", own(policy.as_bytes())), ("Signature", own(&key.sign(policy.as_bytes()).expect("signed")))];
    let rest = "Key-Pair-Id=KRSA&Hash-Algorithm=SHA256";
    let query = |policy: &str| fields(policy).map(|(name, value)| format!("{name}={value}")).join("&");
    let at = |path: &str, policy: &str| get(&format!("{path}?{}&{rest}", query(policy)));
    let policy = |resource: &str, condition: &str| {
        format!(r#"{{"Statement":[{{"Resource":"https://media.example.com{resource}","Condition":{{{condition}}}}}]}}"#)
    };
    let end = format!(r#""DateLessThan":{{"AWS:EpochTime":{END}}}"#);
    let good = policy("/vid1/*", &end);
    file.allow("forged-as-the-others", &at(PATH, &good), AS_THE_OTHERS);
    let twice = good.replacen('{', r#"{"Statement":[],"#, 1);
    file.deny("dup-field", "statement", &at(PATH, &twice), "the statement comes twice");
    let wide = query(&policy("/*", &end));
    file.deny("dup-field", "policy", &get(&format!("{PATH}?{}&{rest}&{wide}", query(&good))), "two policies");
    file.deny("prefix-without-boundary", "folder", &at(NEAR, &good), BEGINS_ALIKE);
    file.deny("prefix-without-boundary", "exact", &at("/vid10", &policy("/vid1", &end)), "a resource without a wildcard is one URL");
    let md5 = format!("{PATH}?{}&Key-Pair-Id=KRSA&Hash-Algorithm=MD5", query(&good));
    file.deny("alg-confusion", "md5", &get(&md5), "a hash that nobody signs with");
    file.deny("alg-confusion", "sha1", &get(&format!("{PATH}?{}&Key-Pair-Id=KRSA", query(&good))), "a SHA-256 signature without its name");
    let text = policy("/vid1/*", &format!(r#""DateLessThan":{{"AWS:EpochTime":"{END}"}}"#));
    file.deny("string-numbers", "DateLessThan", &at(PATH, &text), "an end in a text");
    let future = policy("/vid1/*", &format!(r#"{end},"DateGreaterThan":{{"AWS:EpochTime":{}}}"#, NOW + 600));
    file.deny("future-dated", "DateGreaterThan", &at(PATH, &future), "begins in the future");
    file.deny("forever", "no-DateLessThan", &at(PATH, &policy("/vid1/*", "")), NO_END);
    let moon = policy("/vid1/*", &format!(r#"{end},"Moon":{{"AWS:Phase":"full"}}"#));
    file.deny("claims-ignored", "condition", &at(PATH, &moon), "a condition that is not known");
    let other = policy("/vid1/*", &format!(r#"{end},"IpAddress":{{"AWS:SourceIp":"203.0.113.0/24"}}"#));
    file.deny("claims-ignored", "SourceIp", &at(PATH, &other), "for other addresses");
    let mut changed = at(PATH, &good);
    changed.query = changed.query.map(|query| query.replacen("&Signature=", "&Signature=AAAA", 1));
    file.deny("mac-not-verified", "changed", &changed, "a signature that is not the policy's");
    let bad = changed.header("cookie", &fields(&good).map(|(name, value)| format!("CloudFront-{name}={value}")).join("; "));
    let bad = bad.header("cookie", "CloudFront-Key-Pair-Id=KRSA; CloudFront-Hash-Algorithm=SHA256");
    file.deny("carrier-shadowing", "behind-a-bad-one", &bad, "good cookies do not help a bad signature in the URL");
    file.allow("cookie-without-token", &at(PATH, &good).header("cookie", "theme=dark"), OTHER_COOKIE);
    let nobody = format!("{PATH}?{}&Key-Pair-Id=KNOBODY&Hash-Algorithm=SHA256", query(&good));
    file.deny("unknown-kid", "Key-Pair-Id", &get(&nobody), "names a key that nobody has");
}

pub(super) fn bunny(file: &mut File) {
    // `HMAC-SHA256(key, path, expires, parameters)`.
    let digest =
        |path: &str, data: &str| format!("HS256-{}", base64url(Hash::Sha256.mac(BUNNY, &[format!("{path}{LAST}{data}").as_bytes()])));
    let at = |path: &str, signed: &str, data: &str| {
        let and = if data.is_empty() { "" } else { "&" };
        get(&format!("{path}?token={}{and}{data}&expires={LAST}", digest(signed, data)))
    };
    let with = |asked: &Asked, more: &str| {
        let mut asked = asked.clone();
        asked.query.as_mut().expect("a query").push_str(more);
        asked
    };
    let good = at(PATH, PATH, "");
    file.allow("forged-as-the-others", &good, AS_THE_OTHERS);
    file.deny("dup-field", "expires", &with(&good, "&expires=1999999999"), "the end comes twice");
    file.deny("prefix-without-boundary", "token_path", &at(NEAR, "/vid1", "token_path=/vid1"), BEGINS_ALIKE);
    file.config = json!({ "generations": ["hs256"] });
    let old = base64url(Hash::Md5.of(&[BUNNY, PATH.as_bytes(), LAST.to_string().as_bytes()]));
    file.deny("alg-confusion", "md5", &get(&format!("{PATH}?token={old}&expires={LAST}")), "an older generation than the configured one");
    file.config = Value::Null;
    let forever = base64url(Hash::Sha256.mac(BUNNY, &[PATH.as_bytes()]));
    file.deny("forever", "no-expires", &get(&format!("{PATH}?token=HS256-{forever}&expires=")), NO_END);
    file.deny("fallback-flags", "ignore-params", &with(&good, "&token_ignore_params=true&a=1"), "a flag that the signer did not set");
    file.deny("claims-ignored", "restriction", &at(PATH, PATH, "token_moon=1"), "a restriction that is not known");
    file.deny("claims-ignored", "country", &at(PATH, PATH, "token_countries=US"), "for another country");
    file.deny("claims-ignored", "parameter", &with(&good, "&quality=hd"), "a parameter that was not signed");
    let mut changed = good.clone();
    changed.query = changed.query.map(|query| query.replacen("HS256-", "HS256-1-", 1));
    file.deny("mac-not-verified", "changed", &changed, "says that it is bound to an address, and is not");
    let mut both = good.clone();
    both.path = format!("/bcdn_token={}&expires={LAST}{PATH}", digest(PATH, ""));
    file.deny("carrier-shadowing", "two", &both, "one in the path and one in the query");
    file.allow("cookie-without-token", &good.header("cookie", "token=x"), OTHER_COOKIE);
}

pub(super) fn wowza(file: &mut File) {
    file.key = json!({ "secret": WOWZA, "prefix": "wowzatoken", "algorithm": "sha256", "client_ip_in_hash": false });
    let at = |path: &str, params: &[String]| {
        let mut all = params.to_vec();
        all.push(WOWZA.to_owned());
        all.sort();
        let digest = URL_SAFE.encode(Hash::Sha256.of(&[b"vid1?", all.join("&").as_bytes()]));
        get(&format!("{path}?{}&wowzatokenhash={digest}", params.join("&")))
    };
    let end = format!("wowzatokenendtime={LAST}");
    let good = at(PATH, std::slice::from_ref(&end));
    let with = |more: &str| {
        let mut asked = good.clone();
        asked.query.as_mut().expect("a query").push_str(more);
        asked
    };
    file.allow("forged-as-the-others", &good, AS_THE_OTHERS);
    file.deny("dup-field", "endtime", &with("&wowzatokenendtime=1999999999"), "the end comes twice");
    file.deny("prefix-without-boundary", "content", &at(NEAR, std::slice::from_ref(&end)), BEGINS_ALIKE);
    let start = format!("wowzatokenstarttime={}", NOW + 600);
    file.deny("future-dated", "starttime", &at(PATH, &[end.clone(), start]), "begins in the future");
    file.deny("forever", "no-endtime", &at(PATH, &["wowzatokenCustom=1".to_owned()]), NO_END);
    file.deny("forever", "zero", &at(PATH, &["wowzatokenendtime=0".to_owned()]), "an end of zero, which the vendor reads as none");
    file.deny("claims-ignored", "parameter", &with("&wowzatokenCustom=1"), "a parameter that was not hashed");
    let mut changed = good.clone();
    changed.query = changed.query.map(|query| query.replacen("hash=", "hash=AAAA", 1));
    file.deny("mac-not-verified", "changed", &changed, "another hash");
    file.allow("cookie-without-token", &good.header("cookie", "wowzatokenhash=x"), OTHER_COOKIE);
}

pub(super) fn digest_url(file: &mut File) {
    const VIEWER: &str = "198.51.100.7";
    file.key = "own-secret".into();
    let md5 = |path: &str| base64url(Hash::Md5.of(&[format!("{LAST}{path}{VIEWER} ").as_bytes(), SECRET]));
    file.config = json!({ "preset": "nginx-secure-link" });
    let good = get(&format!("{PATH}?md5={}&expires={LAST}", md5(PATH)));
    file.allow("forged-as-the-others", &good, AS_THE_OTHERS);
    let mut twice = good.clone();
    twice.query.as_mut().expect("a query").push_str("&expires=1999999999");
    file.deny("dup-field", "expires", &twice, "the end comes twice");
    file.deny("prefix-without-boundary", "path", &get(&format!("{NEAR}?md5={}&expires={LAST}", md5(PATH))), BEGINS_ALIKE);
    file.deny("mac-not-verified", "changed", &get(&format!("{PATH}?md5={}&expires={LAST}", spoilt(&md5(PATH)))), "one character changed");
    file.deny("mac-not-verified", "empty", &get(&format!("{PATH}?md5=&expires={LAST}")), "no digest");
    file.allow("cookie-without-token", &good.header("cookie", "md5=x"), OTHER_COOKIE);
    file.config = json!({ "preset": "nginx-hmac-secure-link" });
    let hmac = |time: i64, period: &str| {
        let mac = base64url(Hash::Sha256.mac(SECRET, &[format!("{PATH}|{time}|{period}").as_bytes()]));
        get(&format!("{PATH}?st={mac}&ts={time}&e={period}"))
    };
    file.allow("hmac-forged-as-the-others", &hmac(NOW, "600"), AS_THE_OTHERS);
    file.deny("forever", "zero-period", &hmac(NOW, "0"), "a period of zero, which the module reads as no end");
    file.config = json!({ "preset": "flussonic" });
    let start = NOW + 600;
    let sha1 = hex(&Hash::Sha1.of(&[format!("vid1{VIEWER}{start}{LAST}own-secretsalt").as_bytes()]));
    file.deny("future-dated", "start", &get(&format!("{PATH}?token={sha1}-salt-{LAST}-{start}")), "begins in the future");
    file.config = Value::Null;
}

pub(super) fn ats_url_sig(file: &mut File) {
    let mac = |covered: &str, before: &str| hex(&Hash::Sha1.mac(SECRET, &[format!("media.example.com{covered}?{before}").as_bytes()]));
    let at = |path: &str, before: &str| get(&format!("{path}?{before}{}", mac(PATH, before)));
    let fields = format!("E={LAST}&A=1&K=3&P=1&S=");
    let good = at(PATH, &fields);
    file.allow("forged-as-the-others", &good, AS_THE_OTHERS);
    let mut twice = good.clone();
    twice.query.as_mut().expect("a query").push_str("&E=1999999999");
    file.deny("dup-field", "E", &twice, "the end comes twice");
    file.deny("prefix-without-boundary", "path", &at(NEAR, &fields), BEGINS_ALIKE);
    file.deny("unanchored-regex", "exclude-end", &get("/crossdomain.xml/secret.ts"), "the pattern of free paths holds the beginning only");
    file.deny("unanchored-regex", "exclude-start", &get("/vid1/crossdomain.xml"), "the pattern of free paths holds the end only");
    file.deny("alg-confusion", "unknown", &at(PATH, &fields.replace("A=1", "A=3")), "an algorithm that there is not");
    file.deny("alg-confusion", "md5", &at(PATH, &fields.replace("A=1", "A=2")), "says MD5 and is SHA-1");
    file.deny("forever", "no-E", &at(PATH, "A=1&K=3&P=1&S="), NO_END);
    file.deny("forever", "zero", &at(PATH, "E=0&A=1&K=3&P=1&S="), "an end of zero");
    file.deny("claims-ignored", "C", &at(PATH, &format!("C=203.0.113.7&{fields}")), "for another address");
    file.deny("mac-not-verified", "changed", &get(&format!("{PATH}?{fields}{}", spoilt(&mac(PATH, &fields)))), "one digit changed");
    file.deny("mac-not-verified", "cut-off", &get(&format!("{PATH}?{fields}{}", &mac(PATH, &fields)[..20])), "half a digest");
    let inner = format!(";E={LAST};A=1;K=3;P=1;S=");
    let packed = base64url(format!("{inner}{}", hex(&Hash::Sha1.mac(SECRET, &[format!("media.example.com/vid1{inner}").as_bytes()]))));
    let mut both = good.clone();
    both.path = format!("/vid1;urlsig={packed}/master.m3u8");
    file.deny("carrier-shadowing", "two", &both, "one in the path and one in the query");
    file.allow("cookie-without-token", &good.header("cookie", "S=x"), OTHER_COOKIE);
    file.deny("unknown-kid", "K", &at(PATH, &fields.replace("K=3", "K=9")), "names a key that nobody has");
}

pub(super) fn ats_access_control(file: &mut File) {
    let seal = |pairs: &str| {
        let covered = format!("{pairs}&md=");
        STANDARD.encode(format!("{covered}{}", sha256_hex(SECRET, &covered)))
    };
    let at = |path: &str, pairs: &str| get(path).header("cookie", &format!("TokenCookie={}", seal(pairs)));
    let good = format!("sub=u1&exp={LAST}&kid=key1&st=HMAC-SHA-256");
    file.allow("forged-as-the-others", &at(PATH, &good), AS_THE_OTHERS);
    file.deny("dup-field", "exp", &at(PATH, &format!("exp=1999999999&{good}")), "the end comes twice");
    file.deny("prefix-without-boundary", "scope", &at(NEAR, &format!("scope=/vid1&{good}")), BEGINS_ALIKE);
    file.deny("alg-confusion", "md5", &at(PATH, &good.replace("SHA-256", "MD5")), "an algorithm that there is not");
    file.deny("alg-confusion", "sha512", &at(PATH, &good.replace("SHA-256", "SHA-512")), "says SHA-512 and is SHA-256");
    file.deny("future-dated", "nbf", &at(PATH, &format!("nbf={}&{good}", NOW + 600)), "begins in the future");
    file.deny("forever", "no-exp", &at(PATH, "sub=u1&kid=key1&st=HMAC-SHA-256"), NO_END);
    file.deny("forever", "zero", &at(PATH, "sub=u1&exp=0&kid=key1&st=HMAC-SHA-256"), "an end of zero, which newer plugins read as none");
    file.deny("claims-ignored", "field", &at(PATH, &format!("moon=1&{good}")), "a field that is not known");
    let changed = STANDARD.encode(format!("{good}&md={}", spoilt(&sha256_hex(SECRET, &format!("{good}&md=")))));
    file.deny("mac-not-verified", "changed", &get(PATH).header("cookie", &format!("TokenCookie={changed}")), "one digit changed");
    let bare = STANDARD.encode(format!("{good}&md="));
    file.deny("mac-not-verified", "empty", &get(PATH).header("cookie", &format!("TokenCookie={bare}")), "no digest");
    file.deny("unknown-kid", "kid", &at(PATH, &good.replace("key1", "nobody")), "names a key that nobody has");
}
