//! Upload tokens: made, listed, told about, deleted.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::{Problem, State, atom, members, new_id, page};
use crate::clock::UnixTime;
use crate::demo::vendor::{self, Call};

/// An upload token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    ttl: i64,
    created: UnixTime,
    /// Tells tokens of one second apart.
    number: u64,
}

impl Token {
    pub(super) fn is_good(&self, now: UnixTime) -> bool {
        self.end().is_none_or(|end| now < end)
    }

    fn end(&self) -> Option<UnixTime> {
        (self.ttl > 0).then(|| self.created.plus(self.ttl))
    }

    fn told(&self, token: &str) -> Value {
        let mut told = json!({ "token": token, "ttl": self.ttl, "createdAt": atom(self.created) });
        if let Some(end) = self.end() {
            told["expiresAt"] = atom(end).into();
        }
        told
    }
}

impl State {
    pub(super) fn make_token(&mut self, ttl: i64, now: UnixTime) -> String {
        self.made += 1;
        let token = new_id("to");
        self.tokens.insert(token.clone(), Token { ttl, created: now, number: self.made });
        token
    }

    pub(super) fn create_token(&mut self, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let ttl = match members(call)?.get("ttl") {
            None => 0,
            Some(ttl) => ttl.as_i64().filter(|ttl| (0..=2_147_483_647).contains(ttl)).ok_or_else(|| Problem::attribute("ttl"))?,
        };
        let token = self.make_token(ttl, now);
        Ok(vendor::json(200, &self.tokens[&token].told(&token)))
    }

    /// Those that are still good; newest first where no order is asked for, as in the vendor's examples.
    pub(super) fn list_tokens(&self, call: &Call, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let mut good: Vec<_> = self.tokens.iter().filter(|(_, token)| token.is_good(now)).collect();
        match call.parameter("sortBy").as_deref() {
            None | Some("createdAt") => good.sort_by_key(|(_, token)| (token.created, token.number)),
            Some("ttl") => good.sort_by_key(|(_, token)| (token.end().unwrap_or(UnixTime::MAX), token.number)),
            Some(_) => return Err(Problem::query("sortBy", usize::MAX)),
        }
        match call.parameter("sortOrder").as_deref() {
            Some("asc") => {}
            None | Some("desc") => good.reverse(),
            Some(_) => return Err(Problem::query("sortOrder", usize::MAX)),
        }
        let (range, pagination) = page(call, good.len())?;
        let data: Vec<Value> = good[range].iter().map(|(name, token)| token.told(name)).collect();
        Ok(vendor::json(200, &json!({ "data": data, "pagination": pagination })))
    }

    pub(super) fn get_token(&self, token: &str, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let found = self.tokens.get(token).filter(|token| token.is_good(now));
        found.map(|found| vendor::json(200, &found.told(token))).ok_or_else(|| Problem::not_found("uploadToken"))
    }

    pub(super) fn delete_token(&mut self, token: &str, now: UnixTime) -> Result<Response<Bytes>, Problem> {
        let found = self.tokens.remove(token).filter(|token| token.is_good(now));
        found.map(|_| vendor::empty(204)).ok_or_else(|| Problem::not_found("uploadToken"))
    }

    /// One error for unknown, expired and deleted tokens.
    pub(super) fn check_token(&self, token: Option<&str>, now: UnixTime) -> Result<(), Problem> {
        let refused = |slug: &str, title: &str| Err(Problem::new(401, format!("authentication-{slug}"), title));
        match token.filter(|token| !token.is_empty()) {
            None => refused("missing-upload-token", "The upload token is missing."),
            Some(token) if self.tokens.get(token).is_some_and(|token| token.is_good(now)) => Ok(()),
            Some(_) => refused("invalid-upload-token", "The upload token is invalid or expired."),
        }
    }
}
