//! A stand-in for an OAuth 2.0 server: client credentials, refresh tokens that are good once, revocation
//! (RFC 6749, RFC 7009).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::json;

use tollgate::clock::UnixTime;
use tollgate::demo::vendor::{self, Call, Vendor, basic_of, random_id, set};
use tollgate::query;
use tollgate::secret::random::BASE62;

/// The client that is known.
pub(crate) const CLIENT: (&str, &str) = ("gateway", "client-secret");

/// The server.
pub(crate) struct Oauth2 {
    life: i64,
    rotates: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    access: BTreeMap<String, UnixTime>,
    refresh: BTreeSet<String>,
}

impl Oauth2 {
    /// Access tokens live for `life` seconds; `rotates`: they come with refresh tokens, each good once.
    pub(crate) fn new(life: i64, rotates: bool) -> Self {
        Self { life, rotates, state: Mutex::default() }
    }

    /// Whether an access token is good.
    pub(crate) fn takes(&self, token: &str, now: UnixTime) -> bool {
        self.state.lock().expect("no panics inside").access.get(token).is_some_and(|end| now < *end)
    }

    /// Withdraws every refresh token, as if another client had used it.
    pub(crate) fn forget_refresh_tokens(&self) {
        self.state.lock().expect("no panics inside").refresh.clear();
    }

    fn issue(&self, state: &mut State, now: UnixTime) -> Response<Bytes> {
        let token = random_id("at-", BASE62, 40);
        state.access.insert(token.clone(), now.plus(self.life));
        let mut body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": self.life });
        if self.rotates {
            let refresh = random_id("rt-", BASE62, 40);
            state.refresh.insert(refresh.clone());
            body["refresh_token"] = refresh.into();
        }
        let mut response = vendor::json(200, &body);
        set(&mut response, "cache-control", "no-store");
        response
    }
}

fn refusal(status: u16, error: &str) -> Response<Bytes> {
    let mut response = vendor::json(status, &json!({ "error": error }));
    if status == 401 {
        set(&mut response, "www-authenticate", "Basic realm=\"stand-in\"");
    }
    response
}

impl Vendor for Oauth2 {
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes> {
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let of = |name: &str| query::values(&form, name).next().and_then(query::decode);
        let of_field = basic_of(call).and_then(|(user, password)| Some((query::decode(&user)?, query::decode(&password)?)));
        // RFC 6749 §2.3: a client uses one way only.
        if of_field.is_some() && of("client_secret").is_some() {
            return refusal(400, "invalid_request");
        }
        let client = of_field.or_else(|| Some((of("client_id")?, of("client_secret")?)));
        if client.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str())) != Some(CLIENT) {
            return refusal(401, "invalid_client");
        }
        let mut state = self.state.lock().expect("no panics inside");
        match (&call.method, call.path(), of("grant_type").as_deref()) {
            (&Method::POST, "/revoke", _) => {
                let token = of("token").unwrap_or_default();
                state.access.remove(&token);
                state.refresh.remove(&token);
                vendor::empty(200)
            }
            (&Method::POST, "/token", Some("client_credentials")) => self.issue(&mut state, now),
            (&Method::POST, "/token", Some("refresh_token")) => {
                let good = state.refresh.remove(&of("refresh_token").unwrap_or_default());
                if good { self.issue(&mut state, now) } else { refusal(400, "invalid_grant") }
            }
            (&Method::POST, "/token", _) => refusal(400, "unsupported_grant_type"),
            _ => vendor::empty(404),
        }
    }

    fn refuse(&self, status: u16, _: UnixTime) -> Response<Bytes> {
        let mut response = refusal(status, "temporarily_unavailable");
        if matches!(status, 429 | 503) {
            set(&mut response, "retry-after", "1");
        }
        response
    }
}
