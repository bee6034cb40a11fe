//! The compiled plan: found once per request, everything behind an `Arc`, no look-up by name later.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method};

use super::inject::{Answers, Injection};
use super::session::RouteSession;
use super::{RouteConfig, RouteMode};
use crate::credential::Signer;
use crate::credential::sign_head::SignHead;
use crate::metrics::RouteMetrics;
use crate::name::Name;
use crate::path::{CleanPath, PathFault};
use crate::token::Near;
use crate::token::grant::host_matches;
use crate::upload::UploadConfig;
use crate::verifier::RouteScheme;

/// A route, ready to serve. `O` is what stands for its origin on the floor above.
#[derive(Debug)]
pub struct Route<O> {
    /// Its name.
    pub name: Name,
    /// Path prefix, decoded, without a slash at its end.
    pub prefix: String,
    /// The schemes it accepts; empty only when it is public.
    pub schemes: Vec<RouteScheme>,
    /// What a refused token means.
    pub mode: RouteMode,
    /// The schemes that are asked beside `schemes`, and open nothing.
    pub compare: Vec<RouteScheme>,
    path_tokens: Vec<String>,
    /// Where its requests go.
    pub origin: O,
    /// What replaces the prefix on the way to the origin.
    pub rewrite_prefix: Option<String>,
    /// Whether path parameters may pass.
    pub allow_path_parameters: bool,
    /// Whether the token goes on to the origin.
    pub forward_token: bool,
    /// What signs its requests anew for the origin.
    pub upstream_sign: Option<Signer>,
    /// What signs its requests as a whole, last of all.
    pub sign_head: Option<Arc<dyn SignHead>>,
    /// The credentials that its requests show the origin.
    pub inject: Vec<Injection>,
    /// What callers must not see of its answers.
    pub answers: Option<Answers<O>>,
    /// What it does about sessions, if anything.
    pub session: Option<RouteSession>,
    /// What it does about uploads, if anything.
    pub upload: Option<UploadConfig>,
    /// How near a viewer must be to an address that a token names.
    pub bind: Option<Near>,
    /// Who may read answers across web origins.
    pub cors: Cors,
    /// Its metrics.
    pub metrics: RouteMetrics,
    methods: Vec<Method>,
    /// `Access-Control-Allow-Methods`: its own, because who may ask by other methods is for their routes to say.
    pub allow_methods: HeaderValue,
    below_only: bool,
}

impl<O> Route<O> {
    /// Puts a route together. The config has been checked.
    ///
    /// # Errors
    /// A sentence for the operator when a method or origin is not well-formed.
    pub fn new(config: &RouteConfig, schemes: Vec<RouteScheme>, origin: O, metrics: RouteMetrics) -> Result<Self, String> {
        let methods = config.methods.iter().map(|m| m.parse::<Method>().map_err(|_| format!("\"{m}\" is not a method")));
        let methods = methods.collect::<Result<Vec<_>, _>>()?;
        let listed: Vec<&str> = methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
        Ok(Self {
            name: config.name.clone(),
            prefix: config.path.trim_end_matches('/').to_owned(),
            path_tokens: schemes.iter().flat_map(|scheme| scheme.scheme.path_tokens()).collect(),
            schemes,
            mode: config.mode,
            compare: Vec::new(),
            origin,
            rewrite_prefix: config.rewrite_prefix.as_deref().map(|p| p.trim_end_matches('/').to_owned()),
            allow_path_parameters: config.allow_path_parameters,
            forward_token: config.forward_token,
            upstream_sign: None,
            sign_head: None,
            inject: Vec::new(),
            answers: None,
            session: config.session.as_ref().map(RouteSession::new).transpose()?,
            upload: config.upload.clone().map(checked).transpose()?,
            bind: config.bind.clone(),
            cors: Cors::new(&config.cors)?,
            metrics,
            allow_methods: HeaderValue::from_str(&listed.join(", ")).map_err(|_| "methods do not fit in a header".to_owned())?,
            methods,
            below_only: config.path.len() > 1 && config.path.ends_with('/'),
        })
    }

    /// The same route, with its requests signed anew for the origin.
    #[must_use]
    pub fn signing(mut self, signer: Option<Signer>) -> Self {
        self.upstream_sign = signer;
        self
    }

    /// The same route, with these schemes asked beside its own.
    #[must_use]
    pub fn comparing(mut self, schemes: Vec<RouteScheme>) -> Self {
        self.path_tokens.extend(schemes.iter().flat_map(|scheme| scheme.scheme.path_tokens()));
        self.compare = schemes;
        self
    }

    /// The same route, with its requests signed as a whole.
    #[must_use]
    pub fn signing_heads(mut self, by: Option<Arc<dyn SignHead>>) -> Self {
        self.sign_head = by;
        self
    }

    /// The same route, showing its origin these credentials, with these rules for its answers.
    #[must_use]
    pub fn injecting(mut self, inject: Vec<Injection>, answers: Option<Answers<O>>) -> Self {
        self.inject = inject;
        self.answers = answers;
        self
    }

    /// Whether everybody is let in.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.schemes.is_empty()
    }

    /// Whether the path has one reading here: it is clean, or what is not clean in it are segments that
    /// hold tokens of schemes that this route accepts.
    ///
    /// # Errors
    /// Why it has not.
    pub fn reads(&self, path: &CleanPath) -> Result<(), PathFault> {
        CleanPath::parse_or_with_tokens(path.raw(), &self.path_tokens).map(|_| ())
    }

    /// Whether a scheme that it accepts has tokens in path segments that need not be clean.
    #[must_use]
    pub fn takes_path_tokens(&self) -> bool {
        !self.path_tokens.is_empty()
    }

    fn holds(&self, path: &CleanPath) -> bool {
        path.is_under(&self.prefix) && !(self.below_only && path.decoded().len() == self.prefix.len())
    }

    /// How many bytes of the raw path are the prefix (see [`crate::token::RequestFacts::mount`]).
    #[must_use]
    pub fn mount(&self, path: &CleanPath) -> usize {
        let segments = self.prefix.matches('/').count();
        path.raw().match_indices('/').nth(segments).map_or(path.raw().len(), |(at, _)| at)
    }
}

fn checked(upload: UploadConfig) -> Result<UploadConfig, String> {
    upload.faults().into_iter().next().map_or(Ok(upload), |(_, fault)| Err(format!("upload: {fault}")))
}

/// All routes, found by host, path and method.
#[derive(Debug)]
pub struct Plan<O> {
    exact: HashMap<String, Vec<Arc<Route<O>>>>,
    wildcard: Vec<(String, Vec<Arc<Route<O>>>)>,
    any: Vec<Arc<Route<O>>>,
    path_tokens: Vec<String>,
}

/// What a look-up gives.
#[derive(Debug)]
pub enum Found<O> {
    /// The route.
    Route(Arc<Route<O>>),
    /// Routes serve this host and path, but not by this method: the first of them, and what all of them serve (`Allow`).
    OtherMethod(Arc<Route<O>>, HeaderValue),
    /// None does.
    Nothing,
}

impl<O> Plan<O> {
    /// Sorts the routes by how specific they are.
    #[must_use]
    pub fn new(routes: Vec<(Vec<String>, Arc<Route<O>>)>) -> Self {
        let mut plan = Self { exact: HashMap::new(), wildcard: Vec::new(), any: Vec::new(), path_tokens: Vec::new() };
        for (hosts, route) in routes {
            plan.path_tokens.extend(route.path_tokens.iter().cloned());
            if hosts.is_empty() {
                plan.any.push(route.clone());
            }
            for host in hosts {
                plan.list_of(&host.to_ascii_lowercase()).push(route.clone());
            }
        }
        plan.path_tokens.sort();
        plan.path_tokens.dedup();
        let longest_first =
            |list: &mut Vec<Arc<Route<O>>>| list.sort_by_key(|route| std::cmp::Reverse((route.prefix.len(), route.below_only)));
        plan.exact.values_mut().for_each(longest_first);
        plan.wildcard.iter_mut().for_each(|(_, list)| longest_first(list));
        longest_first(&mut plan.any);
        plan.wildcard.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        plan
    }

    fn list_of(&mut self, host: &str) -> &mut Vec<Arc<Route<O>>> {
        if !host.starts_with("*.") {
            return self.exact.entry(host.to_owned()).or_default();
        }
        let at = self.wildcard.iter().position(|(have, _)| have == host).unwrap_or_else(|| {
            self.wildcard.push((host.to_owned(), Vec::new()));
            self.wildcard.len() - 1
        });
        &mut self.wildcard[at].1
    }

    /// The most specific route. A path that a more specific route holds under other methods is not
    /// given to a less specific one: that one may be public.
    #[must_use]
    pub fn find(&self, host: &str, path: &CleanPath, method: &Method) -> Found<O> {
        let mut same = self.at(host, path).peekable();
        let Some(first) = same.peek().map(|route| (*route).clone()) else { return Found::Nothing };
        let serves = |route: &&Arc<Route<O>>| *method == Method::OPTIONS || route.methods.contains(method);
        match same.find(serves) {
            Some(route) => Found::Route(route.clone()),
            None => Found::OtherMethod(first, self.allow(host, path)),
        }
    }

    /// The methods of all routes of this host and path, each once: a caller sees one resource (RFC 9110 §10.2.1).
    #[must_use]
    pub fn allow(&self, host: &str, path: &CleanPath) -> HeaderValue {
        let mut listed: Vec<&str> = Vec::new();
        for method in self.at(host, path).flat_map(|route| &route.methods).map(Method::as_str).chain(["OPTIONS"]) {
            if !listed.contains(&method) {
                listed.push(method);
            }
        }
        // Each has been taken into a header of its own route.
        HeaderValue::from_str(&listed.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
    }

    /// The most specific routes of this host and path, which differ by their methods.
    fn at<'p>(&'p self, host: &'p str, path: &'p CleanPath) -> impl Iterator<Item = &'p Arc<Route<O>>> {
        let wildcards = self.wildcard.iter().filter(move |(pattern, _)| host_matches(pattern, host)).map(|(_, list)| list);
        let mut lists = self.exact.get(host).into_iter().chain(wildcards).chain([&self.any]);
        let (list, first) = lists.find_map(|list| Some((list, list.iter().find(|route| route.holds(path))?))).unzip();
        let held = list.into_iter().flatten().filter(|route| route.holds(path));
        held.take_while(move |route| first.is_some_and(|first| route.prefix == first.prefix && route.below_only == first.below_only))
    }

    /// Beginnings of path segments that hold tokens of any route's schemes; mostly none.
    #[must_use]
    pub fn path_tokens(&self) -> &[String] {
        &self.path_tokens
    }

    /// Every route, each once, for metrics and listings.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route<O>>> {
        self.exact.values().flatten().chain(self.wildcard.iter().flat_map(|(_, list)| list)).chain(&self.any)
    }
}

/// Who may read a route's answers from another web origin (Fetch §3.2).
#[derive(Debug)]
pub struct Cors {
    any: bool,
    origins: Vec<String>,
    /// Whether cookies may come along.
    pub credentials: bool,
    /// `Access-Control-Max-Age`.
    pub max_age: HeaderValue,
}

impl Cors {
    fn new(config: &super::CorsConfig) -> Result<Self, String> {
        let any = config.allow_origins.iter().any(|origin| origin == "*");
        if any && config.allow_credentials {
            // Fetch §3.2.5: a credentialed answer to "*" is thrown away by every browser.
            return Err("cors.allow_credentials needs a list of origins instead of \"*\"".into());
        }
        Ok(Self {
            any,
            origins: config.allow_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
            credentials: config.allow_credentials,
            max_age: HeaderValue::from(config.max_age.0.as_secs()),
        })
    }

    /// The value of `Access-Control-Allow-Origin` for a request from `origin`, if it may read.
    #[must_use]
    pub fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.iter().any(|pattern| origin_matches(pattern, &text)).then(|| origin.clone())
    }

    /// Whether answers differ by the asking origin, so that caches must be told (`Vary: Origin`).
    #[must_use]
    pub fn varies(&self) -> bool {
        !self.any
    }
}

/// `https://www.example.com` as it is, or `https://*.example.com` for what lies below.
fn origin_matches(pattern: &str, origin: &str) -> bool {
    match pattern.split_once("://*.") {
        Some((scheme, parent)) => origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .is_some_and(|host| host_matches(&format!("*.{parent}"), host)),
        None => pattern == origin,
    }
}
