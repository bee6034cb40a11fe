//! Whether a token stays inside the paths of the policy that it is issued under.
//!
//! What was asked for is not what a token opens: a scheme may have no words for paths, may read one scope as a list of them,
//! or may take a prefix without its segment boundary. So the token that was made is tried on paths beside those of the policy.

use super::{Problem, carried};
use crate::path;
use crate::token::{Denial, SignRequest, Signed};
use crate::verifier::RouteScheme;

/// A name that no media has.
const NOWHERE: &str = "tollgate-beside-its-policy";

/// Whether a decoded path is one of `paths`, or below one.
pub(super) fn is_inside(path: &str, paths: &[String]) -> bool {
    !path.contains("..") && paths.iter().any(|prefix| path::is_under(path, prefix.trim_end_matches('/')))
}

/// Whether a scope is one path or pattern by every scheme's reading. Some read a list of them out of one text, with `!` (Akamai)
/// or `,` (Media CDN) between.
pub(super) fn is_one(scope: &str) -> bool {
    scope.chars().all(|char| char.is_alphanumeric() || "/-._~*? ".contains(char))
}

/// Refuses a token that opens more than `paths`; none are no bound.
pub(super) fn check(paths: &[String], scheme: &RouteScheme, made: (&SignRequest, &Signed)) -> Result<(), Problem> {
    let (request, signed) = made;
    if paths.is_empty() {
        return Ok(());
    }
    let at_home = judged(scheme, made, (&signed.path, request.mount));
    if at_home == Err(Denial::Path) {
        return Err(Problem::Invalid("the scheme's token would not open its own URL".into()));
    }
    // What it is refused for at home as well, such as a country that is not known here, says nothing of the path.
    if beside(paths).iter().any(|path| moved(made, path).is_some_and(|at| judged(scheme, made, (&at.0, at.1)) == at_home)) {
        return Err(Problem::Invalid("the scheme's token would open more than the paths of the policy".into()));
    }
    Ok(())
}

/// Raw paths outside, near and far.
fn beside(paths: &[String]) -> Vec<String> {
    let near = paths.iter().map(|prefix| format!("{}-{NOWHERE}", path::percent_encode(prefix.trim_end_matches('/'))));
    let all = near.chain([format!("/{NOWHERE}")]).flat_map(|path| [format!("{path}/{NOWHERE}"), path]);
    all.filter(|path| path::percent_decode(path).is_some_and(|path| !is_inside(&path, paths))).collect()
}

/// Another path with the token in the place where it was put, and how much of it is the route's prefix. `None` where there is no
/// such place: the token stands for what it opens.
fn moved((request, signed): (&SignRequest, &Signed), path: &str) -> Option<(String, usize)> {
    let (mount, rest) = request.path.split_at_checked(request.mount)?;
    let token = signed.path.strip_suffix(rest)?.strip_prefix(mount)?;
    match path.strip_prefix(mount).filter(|below| below.starts_with('/')) {
        Some(below) => Some((format!("{mount}{token}{below}"), mount.len())),
        None => Some((format!("{token}{path}"), 0)),
    }
}

/// What the scheme says of its token on a raw path, whatever the time.
fn judged(scheme: &RouteScheme, (request, signed): (&SignRequest, &Signed), (raw, mount): (&str, usize)) -> Result<(), Denial> {
    let there = SignRequest { mount, ..request.clone() };
    let judged = carried(scheme, (&there, signed), raw, |facts| {
        let presented = scheme.scheme.present(facts)?.ok_or(Denial::Missing)?;
        let grant = scheme.scheme.open(&presented, facts)?;
        grant.covers(facts, grant.window.from)?;
        scheme.scheme.fits(&grant, facts)
    });
    judged.unwrap_or(Err(Denial::Malformed))
}
