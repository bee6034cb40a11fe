//! Which claim of a JWT says what: from claims to a grant, and from a request for a token to claims.

use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::token::access::parse_net;
use crate::token::{Binding, Country, Denial, Grant, PathRule, Scope, SessionTerms, SignError, SignRequest, UploadTerms, jws};

/// Which claim says what. A name with dots walks into nested objects (`video.paths`); a name with a
/// `:` in it, such as a URL, is taken as it is. Unset: no claim says it, nothing is restricted by it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// Who holds the token.
    pub subject: String,
    /// Paths it opens: one or a list; each opens what is below it, or is a glob when it has a `*`. A token that rides in the path
    /// is no part of it. Tokens without the claim are refused. Unset: every path of the route.
    pub paths: Option<String>,
    /// Addresses or ranges of the viewer. Tokens without the claim are not bound by it; so with the claims below.
    pub networks: Option<String>,
    /// Countries of the viewer (ISO 3166-1 alpha-2).
    pub countries: Option<String>,
    /// Autonomous systems of the viewer's network, by number.
    pub systems: Option<String>,
    /// Request methods.
    pub methods: Option<String>,
    /// Hosts asked for; `*.` stands for one or more labels.
    pub hosts: Option<String>,
    /// How many sessions at the same time.
    pub concurrent: Option<String>,
    /// How many sessions in all.
    pub total: Option<String>,
    /// How many seconds one session may last.
    pub session_seconds: Option<String>,
    /// Which asset it is for.
    pub resource: Option<String>,
    /// How many bytes one upload may have.
    pub upload_bytes: Option<String>,
    /// Media types that may be uploaded: one or a list, such as `video/*`.
    pub upload_types: Option<String>,
    /// Which device it was made for: what `concurrent_per_device` of a route counts by.
    pub device: Option<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            paths: None,
            networks: None,
            countries: None,
            systems: None,
            methods: None,
            hosts: None,
            concurrent: None,
            total: None,
            session_seconds: None,
            resource: None,
            upload_bytes: None,
            upload_types: None,
            device: None,
        }
    }
}

impl ClaimNames {
    /// Whether every name can be found and set.
    pub(super) fn check(&self) -> Result<(), String> {
        let others = [
            &self.paths,
            &self.networks,
            &self.countries,
            &self.systems,
            &self.methods,
            &self.hosts,
            &self.concurrent,
            &self.total,
            &self.session_seconds,
            &self.resource,
            &self.upload_bytes,
            &self.upload_types,
            &self.device,
        ];
        let mut names = others.into_iter().flatten().chain([&self.subject]);
        let bad = |name: &&String| name.is_empty() || steps(name).any(str::is_empty);
        names.find(bad).map_or(Ok(()), |name| Err(format!("\"{name}\" is not the name of a claim")))
    }

    /// What the mapped claims allow; the window is not theirs.
    pub(super) fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, Denial> {
        let find = |name: &Option<String>| name.as_deref().and_then(|name| find(claims, name));
        let text = |value: &Value| value.as_str().map(Into::into).ok_or(Denial::Claim);
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).ok_or(Denial::Claim);
        let scope = match &self.paths {
            None => Scope::Route,
            Some(name) => paths(self::find(claims, name).ok_or(Denial::Claim)?)?,
        };
        Ok(Grant {
            subject: self::find(claims, &self.subject).map(text).transpose()?,
            resource: find(&self.resource).map(text).transpose()?,
            device: find(&self.device).map(text).transpose()?,
            scope,
            bindings: self.bindings(claims)?,
            session: SessionTerms {
                concurrent: find(&self.concurrent).map(number).transpose()?,
                total: find(&self.total).map(number).transpose()?,
                seconds: find(&self.session_seconds).map(number).transpose()?,
                once: false,
            },
            upload: UploadTerms {
                bytes: find(&self.upload_bytes).map(|value| value.as_u64().ok_or(Denial::Claim)).transpose()?,
                content_types: find(&self.upload_types)
                    .map(jws::texts)
                    .transpose()?
                    .unwrap_or_default()
                    .into_iter()
                    .map(Into::into)
                    .collect(),
            },
            ..Grant::default()
        })
    }

    fn bindings(&self, claims: &Map<String, Value>) -> Result<Vec<Binding>, Denial> {
        let list = |name: &Option<String>| name.as_deref().and_then(|name| find(claims, name)).map(jws::texts).transpose();
        let mut bindings = Vec::new();
        if let Some(nets) = list(&self.networks)? {
            bindings.push(Binding::Networks(each(&nets, parse_net)?));
        }
        if let Some(codes) = list(&self.countries)? {
            bindings.push(Binding::Countries(each(&codes, Country::new)?));
        }
        if let Some(systems) = self.systems.as_deref().and_then(|name| find(claims, name)) {
            bindings.push(Binding::Systems(systems_of(systems)?));
        }
        if let Some(methods) = list(&self.methods)? {
            bindings.push(Binding::Methods(each(&methods, |method| Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok())?));
        }
        if let Some(hosts) = list(&self.hosts)? {
            bindings.push(Binding::Hosts(hosts.iter().map(|host| host.to_ascii_lowercase()).collect()));
        }
        Ok(bindings)
    }

    /// Sets the claims that say what `request` asks for. The address needs none where it is `sealed`.
    pub(super) fn fill(&self, claims: &mut Map<String, Value>, request: &SignRequest, sealed: bool) -> Result<(), SignError> {
        let cannot = |what: &str| SignError::CannotExpress(format!("no claim is mapped that says {what}"));
        if let Some(subject) = &request.subject {
            put(claims, &self.subject, &subject.as_str().into())?;
        }
        match (&self.paths, &request.scope) {
            (None, Some(_)) => return Err(cannot("which paths the token opens")),
            (None, None) => {}
            (Some(name), None) if find(claims, name).is_some() => {}
            (Some(name), scope) => {
                let whole = crate::path::percent_decode(&request.path)
                    .ok_or_else(|| SignError::CannotExpress("the path does not decode".into()))?;
                put(claims, name, &scope.clone().unwrap_or(whole).into())?;
            }
        }
        let terms = [
            (&self.concurrent, request.session.concurrent, "how many sessions there may be at the same time"),
            (&self.total, request.session.total, "how many sessions there may be"),
            (&self.session_seconds, request.session.seconds, "how long a session lasts"),
        ];
        for (name, term, what) in terms {
            if let Some(term) = term {
                put(claims, name.as_deref().ok_or_else(|| cannot(what))?, &term.into())?;
            }
        }
        if let Some(ip) = request.client_ip.filter(|_| !sealed || self.networks.is_some()) {
            let name = self.networks.as_deref().ok_or_else(|| cannot("which address the token is bound to"))?;
            put(claims, name, &ip.to_string().into())?;
        }
        Ok(())
    }
}

/// One number, or a list of them.
fn systems_of(value: &Value) -> Result<Vec<u32>, Denial> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok()).ok_or(Denial::Claim);
    value.as_array().map_or_else(|| number(value).map(|one| vec![one]), |list| list.iter().map(number).collect())
}

fn each<T>(texts: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Denial> {
    texts.iter().map(|text| read(text).ok_or(Denial::Claim)).collect()
}

fn paths(value: &Value) -> Result<Scope, Denial> {
    let rule = |text: &&str| match *text {
        glob if glob.starts_with(['/', '*']) && glob.contains('*') => Ok(PathRule::Glob(glob.to_owned())),
        prefix if prefix.starts_with('/') => Ok(PathRule::Under(prefix.to_owned())),
        _ => Err(Denial::Claim),
    };
    jws::texts(value)?.iter().map(rule).collect::<Result<_, _>>().map(Scope::Paths)
}

/// The members that a name walks through.
fn steps(name: &str) -> std::str::SplitN<'_, char> {
    name.splitn(if name.contains(':') { 1 } else { usize::MAX }, '.')
}

/// A claim that is there with the wrong kind of parent is found to be absent by nobody: the walk stops at `null`.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut steps = steps(name);
    let mut value = claims.get(steps.next()?)?;
    for step in steps {
        match value {
            Value::Object(map) => value = map.get(step)?,
            _ => return Some(&Value::Null),
        }
    }
    Some(value)
}

fn put(claims: &mut Map<String, Value>, name: &str, value: &Value) -> Result<(), SignError> {
    let clash = || SignError::CannotExpress(format!("claim {name} clashes with another claim"));
    let mut at = claims;
    let mut steps = steps(name).peekable();
    while let Some(step) = steps.next() {
        if steps.peek().is_none() {
            return match at.insert(step.to_owned(), value.clone()) {
                Some(other) if other != *value => Err(clash()),
                _ => Ok(()),
            };
        }
        at = at.entry(step).or_insert_with(|| Value::Object(Map::new())).as_object_mut().ok_or_else(clash)?;
    }
    Err(clash())
}
