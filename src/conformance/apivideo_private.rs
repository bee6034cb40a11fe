//! Vectors of api.video's private and upload tokens: steps of sequences, each sequence against one state.
//!
//! The tokens are opaque and were given out before: what a sequence presumes is put into a state of fixed records. A
//! session token that a step names (`avh=sess-1`, `avh=$session`) is the one that was given at the sequence's first step.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Tally, id, request::Request};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::issued::{FixedIssued, Issue, PrivateToken, UploadToken};
use crate::token::scheme::config::SchemeConfig;
use crate::token::{Issued, KeySource, Scheme};
use crate::verifier::{RouteScheme, Verifier, VerifierConfig};

/// Seconds that a private token waits for its first use.
const WAITS: i64 = 3600;

/// One sequence under way.
struct Sequence {
    verifier: Verifier,
    playback: RouteScheme,
    upload: RouteScheme,
    session: Option<String>,
    records: FixedIssued,
}

/// Judges all vectors; gives a sentence for each that is none.
pub(super) fn run(tally: &mut Tally, vectors: &[Value]) -> Vec<String> {
    let mut sequences: BTreeMap<String, Sequence> = BTreeMap::new();
    let mut faults = Vec::new();
    for vector in vectors {
        let name = vector["sequence"].as_str().unwrap_or_default();
        let now = UnixTime(vector["now"].as_i64().unwrap_or_default());
        if !sequences.contains_key(name) {
            match Sequence::new(name, now) {
                Ok(sequence) => drop(sequences.insert(name.to_owned(), sequence)),
                Err(fault) => faults.push(fault),
            }
        }
        let Some(sequence) = sequences.get_mut(name) else { continue };
        match sequence.step(vector, now) {
            Ok(verdict) => count(tally, vector, verdict),
            Err(fault) => faults.push(format!("vector {}: {fault}", id(vector))),
        }
    }
    faults
}

fn count(tally: &mut Tally, vector: &Value, verdict: Result<(), &'static str>) {
    let expected = vector["expected"] == "allow";
    let score = if expected { &mut tally.allow } else { &mut tally.deny };
    score.all += 1;
    let otherwise = verdict.err().filter(|_| !expected).and_then(|why| super::wrong_denial(vector, why));
    if let Some(fault) = otherwise {
        tally.mismatches.push(format!("{}: {fault}", id(vector)));
        return;
    }
    if expected == verdict.is_ok() {
        score.right += 1;
        return;
    }
    let wanted = if expected { "allow" } else { "deny" };
    tally.mismatches.push(format!("{}: expected {wanted}, got {}", id(vector), verdict.err().unwrap_or("allow")));
}

/// What the sequences presume: two private tokens of one video; or an upload token of an hour, and one without end.
fn records(sequence: &str, now: UnixTime) -> FixedIssued {
    let upload = |ttl| Issue::UploadToken(UploadToken { account: "vector".into(), ttl, created: now });
    if sequence == "upload" {
        return FixedIssued::default().with("to-1", upload(3600)).with("to-0ttl", upload(0));
    }
    let private = || private_token(now);
    FixedIssued::default().with("priv-1", Issue::PrivateToken(private())).with("priv-2", Issue::PrivateToken(private()))
}

fn private_token(now: UnixTime) -> PrivateToken {
    let (account, video, secret) = ("vector".into(), "viABC".into(), "vector".into());
    PrivateToken { account, video, secret, created: now, until: now.plus(WAITS), spent: false }
}

impl Sequence {
    fn new(name: &str, now: UnixTime) -> Result<Self, String> {
        let records = records(name, now);
        let issued: Arc<dyn Issued> = Arc::new(records.clone());
        let scheme = |kind: &str| {
            let config: SchemeConfig = serde_json::from_value(serde_json::json!({ "type": kind })).map_err(|e| e.to_string())?;
            let scheme: Arc<dyn Scheme> = config.build_with(KeySource::default(), &issued)?.into();
            Ok::<_, String>(RouteScheme { name: Name::new(kind).map_err(|e| e.to_string())?, scheme })
        };
        Ok(Self {
            verifier: Verifier::new(&VerifierConfig::default()),
            playback: scheme("apivideo-private")?,
            upload: scheme("apivideo-upload")?,
            session: None,
            records,
        })
    }

    fn step(&mut self, vector: &Value, now: UnixTime) -> Result<Result<(), &'static str>, String> {
        let mut vector = vector.clone();
        let url = vector["input"]["url"].as_str().ok_or("has no url")?.to_owned();
        let session = self.session.as_deref().unwrap_or("none");
        vector["input"]["url"] = url.replace("avh=sess-1", &format!("avh={session}")).replace("$session", session).into();
        let request = match Request::of(&vector, &[])? {
            Ok(request) => request,
            Err(why) => return Ok(Err(why)),
        };
        let facts = request.facts();
        let scheme = if facts.path.decoded() == "/upload" { &self.upload } else { &self.playback };
        let verdict = match self.verifier.decide(std::slice::from_ref(scheme), &facts, now) {
            Ok(verdict) => verdict,
            Err(refusal) => return Ok(Err(refusal.denial.reason())),
        };
        if verdict.grant.single_use {
            self.session = Some(self.given(scheme, &verdict.grant, &facts, now));
        }
        Ok(Ok(()))
    }

    /// The session token that the first use gives: in the answer to `/session`, else beside the video.
    fn given(&self, scheme: &RouteScheme, grant: &crate::token::Grant, facts: &crate::token::RequestFacts<'_>, now: UnixTime) -> String {
        let reply = scheme.scheme.reply(Some(grant), facts, now).and_then(|reply| serde_json::from_str::<Value>(&reply.body).ok());
        let said = reply.and_then(|body| body["session_token"].as_str().map(str::to_owned));
        said.unwrap_or_else(|| {
            let id = grant.token_id.as_deref().unwrap_or_default();
            match self.records.find(crate::token::Kind::PrivateToken, id).as_deref() {
                Some(Issue::PrivateToken(token)) => token.session(now.plus(PrivateToken::SESSION)),
                _ => String::new(),
            }
        })
    }
}
