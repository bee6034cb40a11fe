//! A MAC in a claim over what of its viewer a token is bound to, and which itself stands nowhere in it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::secret::Secret;
use crate::token::attributes::{Attribute, Viewer};
use crate::token::near::Prefixes;
use crate::token::scheme::digest::{Hash, same};
use crate::token::{Binding, Denial, Grant, RequestFacts, SignError, SignRequest, jws};

/// The `seal` table of a JWT scheme.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealConfig {
    /// The claim that holds the MAC; tokens without it are refused.
    #[serde(default = "claim")]
    pub claim: String,
    /// What it covers, in this order: `network` (as `198.51.100.0/24`), `system` (the number of the autonomous system), `country`
    /// (ISO 3166-1 alpha-2), `header.NAME`. It is the base64url of HMAC-SHA256 over a line `WORD=VALUE` for each, line ends included.
    pub attributes: Vec<String>,
    /// The secret that keys it. Whoever signs tokens has it as well.
    #[schemars(with = "String")]
    pub secret: Secret<String>,
    /// What of an address is its network.
    #[serde(flatten)]
    pub prefixes: Prefixes,
}

fn claim() -> String {
    "seal".into()
}

/// The table, checked.
#[derive(Debug)]
pub(super) struct Seal {
    claim: String,
    attributes: Vec<Attribute>,
    secret: Secret<String>,
    prefixes: Prefixes,
}

impl Seal {
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn new(config: &SealConfig) -> Result<Self, String> {
        let attribute = |word: &String| {
            Attribute::parse(word).ok_or_else(|| format!("seal.attributes: \"{word}\" is not network, system, country or header.NAME"))
        };
        let attributes = config.attributes.iter().map(attribute).collect::<Result<Vec<_>, _>>()?;
        if attributes.is_empty() || config.claim.is_empty() || config.secret.expose().is_empty() {
            return Err("seal: the claim, the attributes and the secret must not be empty".into());
        }
        Ok(Self { claim: config.claim.clone(), attributes, secret: config.secret.clone(), prefixes: config.prefixes })
    }

    /// Whether it covers the viewer's address.
    pub(super) fn covers_address(&self) -> bool {
        self.attributes.contains(&Attribute::Network)
    }

    fn mac(&self, viewer: &dyn Viewer) -> Result<String, Denial> {
        let mut text = String::new();
        for attribute in &self.attributes {
            // No value holds a line end: a header's cannot.
            text.extend([attribute.word().as_str(), "=", &attribute.value(viewer, self.prefixes)?, "\n"]);
        }
        Ok(URL_SAFE_NO_PAD.encode(Hash::Sha256.mac(self.secret.expose().as_bytes(), &[text.as_bytes()])))
    }

    /// The claim as a binding.
    ///
    /// # Errors
    /// [`Denial::Claim`] when it is not there.
    pub(super) fn read(&self, claims: &Map<String, Value>) -> Result<Binding, Denial> {
        let mac = jws::text(claims, &self.claim)?.ok_or(Denial::Claim)?;
        Ok(Binding::Sealed(Arc::from(mac)))
    }

    /// Whether the viewer is the one whom the token was sealed for.
    ///
    /// # Errors
    /// The denial of the first attribute that is not known, else of the first one there is: which one differs is not known.
    pub(super) fn check(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let given = grant.bindings.iter().find_map(|binding| match binding {
            Binding::Sealed(mac) => Some(mac),
            _ => None,
        });
        let given = given.ok_or(Denial::Claim)?;
        if same(self.mac(facts)?.as_bytes(), given.as_bytes()) {
            return Ok(());
        }
        Err(self.attributes.first().map_or(Denial::Claim, Attribute::denial))
    }

    /// Sets the claim for the viewer of `request`.
    ///
    /// # Errors
    /// [`SignError::CannotExpress`] when the request does not say an attribute, or the claim is there already.
    pub(super) fn fill(&self, claims: &mut Map<String, Value>, request: &SignRequest) -> Result<(), SignError> {
        let unsaid = |_| SignError::CannotExpress(format!("the seal needs the viewer's {}", self.words()));
        let mac = self.mac(request).map_err(unsaid)?;
        match claims.insert(self.claim.clone(), mac.into()) {
            None => Ok(()),
            Some(_) => Err(SignError::CannotExpress(format!("claim {} is the seal's", self.claim))),
        }
    }

    fn words(&self) -> String {
        self.attributes.iter().map(Attribute::word).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::clock::UnixTime;
    use crate::token::scheme::jwt::Jwt;
    use crate::token::scheme::testkit::{NOW, Request, decide, object, route, secret, source, token};
    use crate::token::{Country, Denial, Scheme, SignError, SignRequest};

    fn scheme(attributes: &[&str]) -> Jwt {
        let table = json!({ "keys": "k", "seal": { "attributes": attributes, "secret": "known to the signer" } });
        Jwt::new(&serde_json::from_value(table).expect("config"), source(vec![secret(Some("h"))])).expect("scheme")
    }

    fn viewer() -> SignRequest {
        SignRequest {
            host: "media.example.com".into(),
            path: "/v/a.m3u8".into(),
            expires: Some(UnixTime(NOW + 60)),
            client_ip: "198.51.100.7".parse().ok(),
            country: Country::new("SE"),
            headers: vec![(http::header::USER_AGENT, "vlc".into())],
            ..SignRequest::default()
        }
    }

    fn asked(query: &str) -> Request {
        Request::get(&format!("/v/a.m3u8?{query}")).with("user-agent", "vlc")
    }

    #[test]
    fn a_sealed_token_is_its_viewers_and_says_nothing_of_them() {
        let signing = scheme(&["network", "country", "header.user-agent"]);
        let query = signing.sign(&viewer()).expect("signed").query.expect("a query");
        let scheme = route(signing);
        let other_agent = Request::get(&format!("/v/a.m3u8?{query}")).with("user-agent", "mpv");
        let abroad = Request { geo: crate::token::access::FixedGeo(Country::new("NO")), ..asked(&query) };
        let nowhere = Request { geo: crate::token::access::FixedGeo(None), ..asked(&query) };
        for (request, verdict) in [
            (asked(&query), Ok(())),
            (asked(&query).from("198.51.100.200"), Ok(())),
            (asked(&query).from("::ffff:198.51.100.9"), Ok(())),
            (asked(&query).from("198.51.101.7"), Err(Denial::Address)),
            (asked(&query).from("2001:db8::1"), Err(Denial::Address)),
            (other_agent, Err(Denial::Address)),
            (Request::get(&format!("/v/a.m3u8?{query}")), Err(Denial::Header)),
            (abroad, Err(Denial::Address)),
            (nowhere, Err(Denial::Country)),
        ] {
            assert_eq!(decide(&scheme, &request, NOW).map(|_| ()), verdict, "{} {:?}", request.client_ip, request.headers);
        }
        let payload = query.split('.').nth(1).expect("a payload");
        let payload = String::from_utf8(base64::Engine::decode(&super::URL_SAFE_NO_PAD, payload).expect("base64")).expect("JSON");
        assert!(!payload.contains("198.51") && !payload.contains("SE") && !payload.contains("vlc"), "{payload}");
    }

    #[test]
    fn the_seal_is_made_as_it_is_told() {
        // printf 'network=198.51.100.0/24\ncountry=SE\n' | openssl dgst -sha256 -hmac 'known to the signer' -binary | basenc --base64url
        let scheme = route(scheme(&["network", "country"]));
        let sealed = |seal: &str| {
            let token = token(&secret(Some("h")), json!({ "kid": "h" }), json!({ "sub": "me", "exp": NOW + 60, "seal": seal }));
            decide(&scheme, &asked(&format!("token={token}")), NOW).map(|_| ())
        };
        assert_eq!(sealed("gkEoFJ3zQGh3atPYWjs_1lO34kddapwyQm2JXAypmEE"), Ok(()));
        assert_eq!(sealed(""), Err(Denial::Address));
        let bare = token(&secret(Some("h")), json!({ "kid": "h" }), json!({ "sub": "me", "exp": NOW + 60 }));
        assert_eq!(decide(&scheme, &asked(&format!("token={bare}")), NOW).map(|_| ()), Err(Denial::Claim));
    }

    #[test]
    fn what_is_not_known_cannot_be_sealed() {
        let scheme = scheme(&["network", "country", "header.user-agent"]);
        for unsaid in [
            SignRequest { client_ip: None, ..viewer() },
            SignRequest { country: None, ..viewer() },
            SignRequest { headers: Vec::new(), ..viewer() },
            SignRequest { claims: object(json!({ "seal": "mine" })), ..viewer() },
        ] {
            assert!(matches!(scheme.sign(&unsaid), Err(SignError::CannotExpress(_))));
        }
        for bad in [json!({ "attributes": [], "secret": "s" }), json!({ "attributes": ["moon"], "secret": "s" })] {
            let config = serde_json::from_value(json!({ "keys": "k", "seal": bad })).expect("a table");
            assert!(Jwt::new(&config, source(vec![secret(None)])).is_err());
        }
    }
}
