//! Whether a token stays inside the paths of the policy that it is issued under.
//!
//! What was asked for is not what a token opens: a scheme may have no words for paths, or read one scope as a list of them. So
//! the token that was made is tried on paths beside those of the policy.

use super::Problem;
use crate::path;
use crate::token::exact::{self, Exact};
use crate::token::{Scheme, SignRequest};

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
pub(super) fn check(paths: &[String], scheme: &dyn Scheme, (request, exact): (&SignRequest, &Exact)) -> Result<(), Problem> {
    let mount = &request.path[..request.mount];
    if !paths.is_empty() && beside(paths, mount).iter().any(|path| exact::opens(scheme, request, exact, path)) {
        return Err(Problem::Invalid("the scheme's token would open more than the paths of the policy".into()));
    }
    Ok(())
}

/// Raw paths outside: beside each, elsewhere on the route, and elsewhere on the host.
fn beside(paths: &[String], mount: &str) -> Vec<String> {
    let near = paths.iter().map(|prefix| format!("{}-{NOWHERE}", path::percent_encode(prefix.trim_end_matches('/'))));
    let all = near.chain([format!("{mount}/{NOWHERE}"), format!("/{NOWHERE}")]);
    let all = all.flat_map(|path| [format!("{path}/{NOWHERE}"), path]);
    all.filter(|path| path::percent_decode(path).is_some_and(|path| !is_inside(&path, paths))).collect()
}
