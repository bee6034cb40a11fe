//! Test vectors, judged as requests are judged.
//!
//! A file of vectors is `{scheme, vectors: [{id, key, input: {method, url, headers, client_ip, country,
//! alpn, repeat, state: {single_use_seen, revoked_versions}}, now, expected, upstream_path}]}`. Each vector becomes request facts and goes through
//! [`Verifier::decide`]; nothing here knows how a scheme decides. Rewritten playlists are judged next door. A scheme that is not built yet is
//! counted as unsupported, never as passed.

mod akamai_edgeauth;
mod apivideo_private;
mod ats;
mod aws;
mod bunny;
mod cloudflare_stream;
mod cloudfront;
mod cta_5007;
mod digest_url;
mod google_cloud_cdn;
mod google_media_cdn;
mod jwt;
mod mux;
mod request;
mod rewriting;
mod rfc9246;
mod wowza;
mod ziggeo;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use self::request::Request;
use crate::clock::UnixTime;
use crate::name::Name;
use crate::path::CleanPath;
use crate::token::{Denial, Grant, Key, KeySet, KeySource, Scheme, carrier};
use crate::verifier::{RouteScheme, Verifier, VerifierConfig};

/// Makes the scheme that one vector of a file is for: `None` when this kind of vector is not supported.
type Builder = fn(&Value, &Value) -> Option<Result<Arc<dyn Scheme>, String>>;

/// The builders by the `scheme` that files name.
fn builder(scheme: &str) -> Option<Builder> {
    Some(match scheme {
        "akamai_edgeauth2" => akamai_edgeauth::build,
        "amazon_ivs" => aws::ivs,
        "ats_access_control" => ats::access_control,
        "ats_url_sig" => ats::url_sig,
        "aws_secure_media_delivery" => aws::smd,
        "bunny_v2" => bunny::build,
        "cloudflare_stream" => cloudflare_stream::build,
        "cloudfront" => cloudfront::build,
        "cta5007_cat" | "cta5007_cat_cose" => cta_5007::build,
        "digest_url" | "fastly" | "misc_cdn_recipes" | "nginx_secure_link" | "nginx_secure_link_hmac" => digest_url::build,
        "google_cloud_cdn" => google_cloud_cdn::build,
        "google_media_cdn" => google_media_cdn::build,
        "jwt" => jwt::build,
        "mux" => mux::build,
        "rfc9246_uri_signing" => rfc9246::build,
        "wowza_securetoken2" => wowza::build,
        "ziggeo" => ziggeo::build,
        _ => return None,
    })
}

/// The scheme's table that its vectors presume, with the keys of a vector's own `config` over it.
fn table<C: serde::de::DeserializeOwned>(mut presumed: Value, vector: &Value) -> Result<C, String> {
    if let (Some(table), Some(own)) = (presumed.as_object_mut(), vector["config"].as_object()) {
        table.extend(own.clone());
    }
    serde_json::from_value(presumed).map_err(|fault| fault.to_string())
}

/// One shared secret as a key source.
fn secret(id: Option<&str>, octets: &[u8]) -> KeySource {
    KeySource::new(KeySet::new(vec![Key::secret(id, octets.to_vec())]))
}

/// Right verdicts out of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Vectors decided as expected.
    pub right: usize,
    /// Vectors decided.
    pub all: usize,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.right, self.all)
    }
}

/// What came of one scheme's vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The scheme's name in the files.
    pub scheme: String,
    /// Vectors that expect `allow`.
    pub allow: Score,
    /// Vectors that expect `deny`.
    pub deny: Score,
    /// Vectors that could not be decided.
    pub unsupported: usize,
    /// One sentence for each vector decided otherwise than expected, with its id.
    pub mismatches: Vec<String>,
}

/// What came of a folder of vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One a scheme, in the order of the file names.
    pub tallies: Vec<Tally>,
    /// Files that could not be read, each a sentence with its name.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether every file could be read and every vector that could be decided was decided as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty() && self.tallies.iter().all(|tally| tally.mismatches.is_empty())
    }

    fn tally(&mut self, scheme: &str) -> &mut Tally {
        let at = self.tallies.iter().position(|tally| tally.scheme == scheme).unwrap_or_else(|| {
            self.tallies.push(Tally { scheme: scheme.to_owned(), ..Tally::default() });
            self.tallies.len() - 1
        });
        &mut self.tallies[at]
    }
}

impl fmt::Display for Report {
    /// One line a scheme, then one for each mismatch and each file that could not be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Tally { scheme, allow, deny, unsupported, .. } in &self.tallies {
            writeln!(f, "{scheme} allow {allow} deny {deny} unsupported {unsupported}")?;
        }
        for Tally { scheme, mismatches, .. } in &self.tallies {
            mismatches.iter().try_for_each(|mismatch| writeln!(f, "{scheme} {mismatch}"))?;
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

/// Judges every vector of every `*.json` in `folder`, in the order of the file names.
#[must_use]
pub fn run(folder: &Path) -> Report {
    let mut report = Report::default();
    let names = match files(folder) {
        Ok(names) => names,
        Err(fault) => {
            report.faults.push(fault);
            return report;
        }
    };
    if names.is_empty() {
        report.faults.push(format!("{}: no .json file in this folder", folder.display()));
    }
    for path in names {
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match read(&path) {
            Ok(file) => run_file(&mut report, &shown, &file),
            Err(fault) => report.faults.push(format!("{shown}: {fault}")),
        }
    }
    report
}

fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let cannot = |e: std::io::Error| format!("{}: cannot read this folder: {e}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    let file: Value = serde_json::from_slice(&text).map_err(|e| format!("is not JSON: {e}"))?;
    if file.is_object() { Ok(file) } else { Err("is not a JSON object".into()) }
}

fn run_file(report: &mut Report, shown: &str, file: &Value) {
    let Some(scheme) = file.get("scheme").and_then(Value::as_str) else {
        report.faults.push(format!("{shown}: has no scheme"));
        return;
    };
    let vectors = file.get("vectors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let usable = !vectors.is_empty() && vectors.iter().all(|vector| vector.get("input").is_some_and(Value::is_object));
    let tally = report.tally(scheme);
    if scheme == "apivideo_private" && usable {
        let faults = apivideo_private::run(tally, vectors);
        report.faults.extend(faults.into_iter().map(|fault| format!("{shown}: {fault}")));
        return;
    }
    if rewriting::is_for(scheme) {
        let faults: Vec<_> = vectors.iter().filter_map(|vector| run_rewriting(tally, vector).err()).collect();
        report.faults.extend(faults.iter().map(|fault| format!("{shown}: {fault}")));
        return;
    }
    match builder(scheme) {
        Some(build) if usable => {
            let mut faults = Vec::new();
            for vector in vectors {
                if let Err(fault) = run_vector(tally, build, (file, vector)) {
                    faults.push(format!("{shown}: vector {}: {fault}", id(vector)));
                }
            }
            report.faults.append(&mut faults);
        }
        _ => tally.unsupported += vectors.len().max(1),
    }
}

fn id(vector: &Value) -> &str {
    vector.get("id").and_then(Value::as_str).unwrap_or("(without id)")
}

/// Judges one rewritten playlist; one that is right counts as allowed.
fn run_rewriting(tally: &mut Tally, vector: &Value) -> Result<(), String> {
    let wrong = rewriting::judge(vector)?;
    tally.allow.all += 1;
    match wrong {
        None => tally.allow.right += 1,
        Some(fault) => tally.mismatches.push(format!("{}: {fault}", vector["path"].as_str().unwrap_or("(without path)"))),
    }
    Ok(())
}

/// Judges one vector.
///
/// # Errors
/// Why it is not a vector.
fn run_vector(tally: &mut Tally, build: Builder, (file, vector): (&Value, &Value)) -> Result<(), String> {
    let expected = match vector.get("expected").and_then(Value::as_str) {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err("expected is neither allow nor deny".into()),
    };
    let now = vector.get("now").or_else(|| file.get("now")).and_then(Value::as_i64).ok_or("has no now")?;
    let Some(scheme) = build(file, vector) else {
        tally.unsupported += 1;
        return Ok(());
    };
    let schemes = [RouteScheme { name: Name::new("vector").map_err(|e| e.to_string())?, scheme: scheme? }];
    let (verdict, upstream) = judge(&schemes[0], vector, UnixTime(now))?;
    let score = if expected { &mut tally.allow } else { &mut tally.deny };
    score.all += 1;
    let fault = match (expected, verdict) {
        (true, Err(why)) => Some(format!("expected allow, got deny ({why})")),
        (false, Ok(())) => Some("expected deny, got allow".into()),
        (true, Ok(())) => wrong_upstream(vector, &upstream),
        (false, Err(why)) => wrong_denial(vector, why),
    };
    match fault {
        None => score.right += 1,
        Some(fault) => tally.mismatches.push(format!("{}: {fault}", id(vector))),
    }
    Ok(())
}

/// Vectors of ours say for which reason they are refused, so that none passes for another one.
fn wrong_denial(vector: &Value, why: &str) -> Option<String> {
    let wanted = vector.get("denial").and_then(Value::as_str).filter(|wanted| *wanted != why)?;
    Some(format!("expected deny ({wanted}), got deny ({why})"))
}

fn wrong_upstream(vector: &Value, upstream: &(String, Option<String>)) -> Option<String> {
    let wanted = vector.get("upstream_path").and_then(Value::as_str)?;
    let (path, query) = upstream;
    let have = match query {
        Some(query) if wanted.contains('?') => format!("{path}?{query}"),
        _ => path.clone(),
    };
    (have != wanted).then(|| format!("expected upstream path {wanted}, got {have}"))
}

/// The verdict, with the reason when it is no, and the upstream path and query when it is yes.
type Judged = (Result<(), &'static str>, (String, Option<String>));

/// Judges as often as the vector says it is asked; the last verdict counts.
fn judge(scheme: &RouteScheme, vector: &Value, now: UnixTime) -> Result<Judged, String> {
    let refused = |why: &'static str| Ok((Err(why), (String::new(), None)));
    let request = match Request::of(vector, &scheme.scheme.path_tokens())? {
        Ok(request) => request,
        // What the server would not even read as a request never reaches an origin.
        Err(why) => return refused(why),
    };
    let facts = request.facts();
    let state = &vector["input"]["state"];
    let verifier = verifier(state, &scheme.name);
    let times = vector["input"]["repeat"].as_u64().unwrap_or(1).clamp(1, MOST_REPEATS);
    let decide = || verifier.decide(std::slice::from_ref(scheme), &facts, now);
    let last = (1..times).fold(decide(), |_, _| decide());
    let verdict = match last {
        Ok(verdict) => verdict,
        Err(refusal) => return refused(refusal.denial.reason()),
    };
    if is_revoked(state, &verdict.grant) {
        return refused(Denial::Revoked.reason());
    }
    let (path, query) = carrier::target(&facts, &verdict.strip, &verdict.grant);
    if CleanPath::parse(&path).is_err() {
        return refused("bad_path");
    }
    Ok((Ok(()), (path, query)))
}

/// Most times that one vector may be asked.
const MOST_REPEATS: u64 = 100;

/// A verifier of its own for each vector: what one has used is not used for another.
fn verifier(state: &Value, scheme: &Name) -> Verifier {
    let verifier = Verifier::new(&VerifierConfig::default());
    for id in state["single_use_seen"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = verifier.used().first_use((scheme, id), &Grant::default(), UnixTime::MIN);
    }
    verifier
}

/// Whether the vector's own list revokes the subject's version: lists of that kind come from outside the verifier.
fn is_revoked(state: &Value, grant: &Grant) -> bool {
    let up_to = grant.subject.as_deref().and_then(|subject| state["revoked_versions"][subject].as_u64());
    up_to.zip(grant.session_version).is_some_and(|(up_to, version)| version <= up_to)
}

#[cfg(test)]
mod tests;
