//! Which route a request takes.

use super::request::{Request, Routed};
use super::{Error, Filter};
use crate::route::plan::Found;

/// The room.
#[derive(Debug, Clone)]
pub struct FindRoute;

impl Filter<Request> for FindRoute {
    type Out = Routed;

    fn check(&self, request: Request) -> Result<Routed, Error> {
        let route = match request.state.plan.find(&request.settled.host, &request.settled.path, &request.head.method) {
            Found::Route(route) => route,
            Found::OtherMethod(route) => {
                let allow = route.allow.clone();
                // The record learns the route, so that the refusal is counted and readable (CORS) there.
                let _ = request.record.route.set(route);
                return Err(Error::MethodNotAllowed(allow));
            }
            Found::Nothing => return Err(Error::NoRoute),
        };
        let _ = request.record.route.set(route.clone());
        if !request.state.plan.path_tokens().is_empty() {
            route.reads(&request.settled.path)?;
        }
        if request.settled.path.has_parameters() && !route.allow_path_parameters {
            return Err(Error::PathParameters);
        }
        let mount = route.mount(&request.settled.path);
        Ok(Routed { request, route, mount, ticketed: None })
    }
}
