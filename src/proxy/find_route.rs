//! Which route a request takes.

use std::borrow::Cow;

use http::Method;
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::request::Parts;

use super::inject::take_ticket;
use super::request::{Request, Routed};
use super::{Error, Filter};
use crate::route::plan::Found;

/// The room.
#[derive(Debug, Clone)]
pub struct FindRoute;

impl Filter<Request> for FindRoute {
    type Out = Routed;

    fn check(&self, mut request: Request) -> Result<Routed, Error> {
        let method = method_of(&request.head);
        let route = match request.state.plan.find(&request.settled.host, &request.settled.path, &method) {
            Found::Route(route) => route,
            // A preflight for a method that is not served learns which ones are.
            Found::OtherMethod(route, _) if request.head.method == Method::OPTIONS => route,
            Found::OtherMethod(route, allow) => {
                // The record learns the route, so that the refusal is counted and readable (CORS) there.
                let _ = request.record.route.set(route);
                return Err(Error::MethodNotAllowed(allow));
            }
            Found::Nothing => return Err(Error::NoRoute),
        };
        let _ = request.record.route.set(route.clone());
        let mapped = match &route.answers {
            // Nothing behind this room knows of the ticket: tokens and scopes are asked as for the path that it was given on.
            Some(answers) => take_ticket(&mut request.settled.path, &answers.marker, request.state.plan.path_tokens())?,
            None => None,
        };
        if !request.state.plan.path_tokens().is_empty() {
            route.reads(&request.settled.path)?;
        }
        if request.settled.path.has_parameters() && !route.allow_path_parameters {
            return Err(Error::PathParameters);
        }
        let mount = route.mount(&request.settled.path);
        Ok(Routed { request, route, mount, ticketed: None, mapped })
    }
}

/// The method that decides: a preflight speaks for the request that it announces (Fetch §4.8), which may
/// have a route of its own.
fn method_of(head: &Parts) -> Cow<'_, Method> {
    let announced = || head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| Method::from_bytes(value.as_bytes()).ok());
    match head.method {
        Method::OPTIONS => announced().map_or(Cow::Borrowed(&head.method), Cow::Owned),
        _ => Cow::Borrowed(&head.method),
    }
}
