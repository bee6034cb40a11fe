//! Who calls: API keys, access tokens and their renewal.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::{Apivideo, Problem, State, members, new_secret};
use crate::clock::UnixTime;
use crate::demo::vendor::{self, Call, basic_of, bearer_of, random_id};
use crate::secret::random::BASE62;

/// Seconds that an access token is good for.
const ACCESS: i64 = 3600;

impl Apivideo {
    pub(super) fn sign_in(&self, state: &mut State, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let body = members(call)?;
        let key = body.get("apiKey").and_then(Value::as_str).ok_or_else(|| Problem::required("apiKey"))?;
        if key == self.settings.api_key { Ok(state.signed_in(now)) } else { Err(self.bad_credentials()) }
    }

    /// A refresh token is good once: the answer brings the next one.
    pub(super) fn refresh(&self, state: &mut State, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let body = members(call)?;
        let token = body.get("refreshToken").and_then(Value::as_str).ok_or_else(|| Problem::required("refreshToken"))?;
        if state.refresh.remove(token) { Ok(state.signed_in(now)) } else { Err(self.bad_credentials()) }
    }

    fn bad_credentials(&self) -> Problem {
        let title = "The user credentials were incorrect.";
        Problem::new(self.settings.bad_credentials, "authentication-invalid-user-credentials", title)
    }

    /// `Basic` with the key as user, or `Bearer` with an access token. An empty field counts as none, as one client sends it.
    pub(super) fn authenticate(&self, state: &State, call: &Call, now: UnixTime) -> Result<(), Problem> {
        let refused = |slug: &str, title: &str| Err(Problem::new(401, format!("authentication-{slug}"), title));
        if call.field("authorization").is_none() {
            return refused("missing-authorization-header", "The \"Authorization\" header is missing.");
        }
        if let Some((user, password)) = basic_of(call) {
            let good = user == self.settings.api_key && password.is_empty();
            return if good { Ok(()) } else { refused("invalid-api-key", "The API key is invalid.") };
        }
        match bearer_of(call) {
            Some(token) if state.access.get(token).is_some_and(|end| now < *end) => Ok(()),
            Some(_) => refused("invalid-access-token", "The access token is invalid or expired."),
            None => refused("invalid-authorization-header-value", "The \"Authorization\" header value is invalid."),
        }
    }
}

impl State {
    fn signed_in(&mut self, now: UnixTime) -> Response<Bytes> {
        // Clients treat it as opaque; its shape is that of a JWT.
        let access = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.{}.{}", random_id("", BASE62, 40), random_id("", BASE62, 86));
        let refresh = new_secret();
        self.access.insert(access.clone(), now.plus(ACCESS));
        self.refresh.insert(refresh.clone());
        let body = json!({ "token_type": "Bearer", "expires_in": ACCESS, "access_token": access, "refresh_token": refresh });
        vendor::json(200, &body)
    }
}
