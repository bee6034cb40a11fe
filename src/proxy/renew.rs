//! Tokens that ask for their own renewal get it with the answer: in a cookie, in a header, or by a redirect.
//!
//! The scheme says when it is due and makes the new token (RFC 9246 §3.3, CTA-5007 `catr`); here it is sent.
//! Requests that a ticket let in have no token to renew. Where no key signs, the old token simply ends.

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use tower::Service;

use super::filter::{Answered, Around, Either};
use super::request::{Admitted, Proof};
use super::{Body, Error};
use crate::token::carrier::field_value;
use crate::token::{Due, Renewed};

/// Sends new tokens.
#[derive(Debug, Clone)]
pub struct Renew;

impl Around<Admitted> for Renew {
    type Next = Admitted;

    fn send<S>(&self, inner: &mut S, admitted: Admitted) -> Either<S::Future, Answered>
    where
        S: Service<Admitted, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static,
    {
        let Some(renewed) = renewed(&admitted) else { return Either::Left { future: inner.call(admitted) } };
        if let Some(redirect) = redirect(&renewed) {
            return Either::Right { future: Box::pin(std::future::ready(Ok(redirect))) };
        }
        let answer = inner.call(admitted);
        Either::Right {
            future: Box::pin(async move {
                let mut response = answer.await?;
                add(&mut response, &renewed);
                Ok(response)
            }),
        }
    }
}

/// The new token of a request whose old one is due.
fn renewed(admitted: &Admitted) -> Option<Renewed> {
    let Proof::Token(verdict) = &admitted.proof else { return None };
    verdict.grant.renewal.as_ref()?;
    let routed = &admitted.routed;
    let request = &routed.request;
    if request.head.method != Method::GET {
        return None;
    }
    let scheme = &routed.route.schemes.iter().find(|scheme| scheme.name == verdict.scheme)?.scheme;
    let facts = request.facts(routed.mount, &*request.state.geo);
    let presented = scheme.present(&facts).ok().flatten()?;
    let due = Due { grant: &verdict.grant, presented: &presented, facts: &facts, now: request.state.clock.now() };
    match scheme.renew(&due) {
        Ok(renewed) => renewed,
        Err(fault) => {
            tracing::warn!(route = %routed.route.name, scheme = %verdict.scheme, %fault, "a token that asks for its renewal cannot be renewed");
            None
        }
    }
}

fn redirect(renewed: &Renewed) -> Option<Response<Body>> {
    let (status, location) = renewed.redirect.as_ref()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(*status).ok().filter(StatusCode::is_redirection)?;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).ok()?);
    add_fields(&mut response, renewed);
    Some(response)
}

fn add(response: &mut Response<Body>, renewed: &Renewed) {
    // An error says nothing about the token, and may be remembered by a cache without the rest.
    if !response.status().is_client_error() && !response.status().is_server_error() {
        add_fields(response, renewed);
    }
}

fn add_fields(response: &mut Response<Body>, renewed: &Renewed) {
    let cookies = renewed.cookies.iter().map(|cookie| (SET_COOKIE, cookie));
    let headers = renewed.headers.iter().map(|(name, value)| (name.clone(), value));
    let fields: Vec<(HeaderName, HeaderValue)> =
        cookies.chain(headers).filter_map(|(name, value)| Some((name, field_value(value).ok()?))).collect();
    for (name, value) in fields {
        response.headers_mut().append(name, value);
    }
    // Whoever stores this answer would hand one viewer's token to the next (RFC 9111 §7.3).
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;

    fn made(redirect: Option<(u16, String)>) -> Renewed {
        let cookies = vec!["c=t; Secure; HttpOnly; SameSite=None".to_owned()];
        Renewed { token: "t".into(), cookies, headers: vec![(HeaderName::from_static("x-cat"), "t".into())], redirect, until: UnixTime(9) }
    }

    #[test]
    fn a_new_token_comes_with_the_answer_and_is_not_stored() {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(SET_COOKIE, HeaderValue::from_static("origin=1"));
        add(&mut response, &made(None));
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert_eq!(
            (&response.headers()["x-cat"], &response.headers()[CACHE_CONTROL]),
            (&"t".parse().expect("value"), &HeaderValue::from_static("private, no-store"))
        );
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().clear();
        add(&mut response, &made(None));
        assert!(response.headers().is_empty());
    }

    #[test]
    fn redirects_are_redirects() {
        let location = "https://media.example.com/v/a.m3u8?cat=t".to_owned();
        let response = redirect(&made(Some((307, location.clone())))).expect("a redirect");
        assert_eq!((response.status().as_u16(), &response.headers()[LOCATION]), (307, &location.parse().expect("value")));
        assert!(redirect(&made(Some((200, location)))).is_none());
        assert!(redirect(&made(None)).is_none());
    }
}
