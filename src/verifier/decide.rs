//! The decision on a request's tokens.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::VerifierConfig;
use super::cache::{Entry, Remembered};
use super::jwks::Remote;
use super::used::{Claims, Use, Used};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::secret::Fingerprint;
use crate::token::{Answer, Denial, Grant, KeySource, Presented, RequestFacts, Scheme, Strip};

/// A scheme that a route accepts, under its name in the config.
#[derive(Clone)]
pub struct RouteScheme {
    /// Its name.
    pub name: Name,
    /// The scheme.
    pub scheme: Arc<dyn Scheme>,
}

impl std::fmt::Debug for RouteScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.scheme.kind())
    }
}

/// A request's token was found good for this request at this time.
#[derive(Clone)]
pub struct Verdict {
    /// The name of the scheme that took it.
    pub scheme: Name,
    /// The scheme's type, such as `mux`.
    pub kind: &'static str,
    /// What the token allows.
    pub grant: Arc<Grant>,
    /// What must not reach the origin: every place where a token was found.
    pub strip: Vec<Strip>,
    /// Whether the signature had been checked before and was remembered.
    pub remembered: bool,
    /// Tokens that it used up here.
    uses: Vec<Use>,
    token: Arc<str>,
}

impl Verdict {
    /// Takes out as well what another scheme found in the same request.
    pub fn strip_also(&mut self, others: &[Strip]) {
        add_strips(&mut self.strip, others);
    }

    /// The token's text, for the keys that sessions are counted by; never for a log.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The name that the token goes by in logs; computed on each call.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.token.as_bytes())
    }
}

impl std::fmt::Debug for Verdict {
    /// The token goes by its fingerprint.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verdict")
            .field("scheme", &self.scheme)
            .field("token", &self.fingerprint())
            .field("grant", &self.grant)
            .field("remembered", &self.remembered)
            .finish_non_exhaustive()
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// The scheme that said so, if one did.
    pub scheme: Option<Name>,
    /// What the refused token itself wants answered.
    pub answer: Option<Box<Answer>>,
}

impl Refusal {
    fn new(denial: Denial, scheme: Option<&Name>) -> Self {
        Self { denial, scheme: scheme.cloned(), answer: None }
    }

    /// The same, with the word that `grant` has on it.
    fn answered(denial: Denial, by: &RouteScheme, grant: &Grant, now: UnixTime) -> Self {
        // An answer that cannot be made is none; the refusal stands all the same.
        let answer = by.scheme.answer(grant, denial, now).ok().flatten().map(Box::new);
        Self { answer, ..Self::new(denial, Some(&by.name)) }
    }
}

/// Why a use was not told to a fleet.
#[derive(Debug, Clone)]
pub enum ClaimFault {
    /// Another gateway's use was first.
    Refused(Refusal),
    /// The store does not answer; the token is not used up.
    Away(String),
}

/// Judges tokens and remembers the good ones.
pub struct Verifier {
    remembered: Remembered,
    used: Arc<Used>,
    claims: Option<Arc<dyn Claims>>,
    remotes: ArcSwap<Vec<Arc<Remote>>>,
}

impl Verifier {
    /// A verifier that remembers as its config says.
    #[must_use]
    pub fn new(config: &VerifierConfig) -> Self {
        Self::with_used(config, Arc::default())
    }

    /// The same, with the memory of used tokens that another verifier had.
    #[must_use]
    pub fn with_used(config: &VerifierConfig, used: Arc<Used>) -> Self {
        Self { remembered: Remembered::new(config.remembered, config.remember_for.0), used, claims: None, remotes: ArcSwap::default() }
    }

    /// The same, with uses told to a fleet.
    #[must_use]
    pub fn claiming(self, claims: Option<Arc<dyn Claims>>) -> Self {
        Self { claims, ..self }
    }

    /// Whether [`Verifier::claim`] has to be asked on a verdict.
    #[must_use]
    pub fn has_to_claim(&self, verdict: &Verdict) -> bool {
        self.claims.is_some() && !verdict.uses.is_empty()
    }

    /// Uses up over the fleet what a verdict used up here.
    ///
    /// # Errors
    /// The refusal when another gateway's use was first.
    pub async fn claim(&self, schemes: &[RouteScheme], verdict: &Verdict, now: UnixTime) -> Result<(), ClaimFault> {
        let Some(claims) = &self.claims else { return Ok(()) };
        for used in &verdict.uses {
            match used.claim(&**claims).await {
                Ok(true) => {}
                Ok(false) => {
                    let by = schemes.iter().find(|by| by.name == verdict.scheme);
                    let plain = || Refusal::new(Denial::Replayed, Some(&verdict.scheme));
                    let refusal = by.map_or_else(plain, |by| Refusal::answered(Denial::Replayed, by, &verdict.grant, now));
                    return Err(ClaimFault::Refused(refusal));
                }
                Err(why) => {
                    verdict.uses.iter().for_each(|used| self.used.take_back(used));
                    return Err(ClaimFault::Away(why));
                }
            }
        }
        Ok(())
    }

    /// The memory of used tokens.
    #[must_use]
    pub fn used(&self) -> &Arc<Used> {
        &self.used
    }

    /// Names the key sets that are fetched, so that a token under an unknown key has its set fetched
    /// anew. That request is still refused, without waiting; the next one finds the new key.
    pub fn watch(&self, remotes: Vec<Arc<Remote>>) {
        self.remotes.store(Arc::new(remotes));
    }

    /// How many tokens are remembered, about.
    #[must_use]
    pub fn remembered(&self) -> u64 {
        self.remembered.len()
    }

    /// Judges the request that `facts` tells of by the schemes that its route accepts.
    ///
    /// One token that several schemes know is good if one of them takes it, the cheapest asked first, then in order. Of several
    /// different tokens, all must be good and speak of the same subject and resource. A token for one
    /// use is used up by being found good, but not by `HEAD`.
    ///
    /// # Errors
    /// The most telling [`Denial`], and the scheme it came from.
    pub fn decide(&self, schemes: &[RouteScheme], facts: &RequestFacts<'_>, now: UnixTime) -> Result<Verdict, Refusal> {
        self.decide_as(schemes, facts, (now, *facts.method != http::Method::HEAD))
    }

    /// The same without using anything up: what would be decided.
    ///
    /// # Errors
    /// As [`Verifier::decide`].
    pub fn look(&self, schemes: &[RouteScheme], facts: &RequestFacts<'_>, now: UnixTime) -> Result<Verdict, Refusal> {
        self.decide_as(schemes, facts, (now, false))
    }

    fn decide_as(&self, schemes: &[RouteScheme], facts: &RequestFacts<'_>, (now, uses): (UnixTime, bool)) -> Result<Verdict, Refusal> {
        let mut tokens: Vec<Token<'_, '_>> = Vec::new();
        for scheme in schemes {
            let found = scheme.scheme.present(facts).map_err(|denial| Refusal::new(denial, Some(&scheme.name)))?;
            let Some(presented) = found else { continue };
            match tokens.iter_mut().find(|token| token.text == presented.token) {
                Some(token) => token.known_to.push((scheme, presented)),
                None => tokens.push(Token { text: presented.token.clone(), known_to: vec![(scheme, presented)] }),
            }
        }
        for token in tokens.iter_mut().filter(|token| token.known_to.len() > 1) {
            token.known_to.sort_by_key(|(scheme, presented)| self.cost(scheme, &presented.token));
        }
        match &tokens[..] {
            [] => Err(Refusal::new(Denial::Missing, None)),
            [token] => {
                let (by, mut verdict) = self.judge(token, facts, now)?;
                verdict.uses.extend(self.take_use(by, &verdict, (now, uses))?);
                Ok(verdict)
            }
            several => self.judge_all(several, facts, (now, uses)),
        }
    }

    /// The same for a caller who may cost no signature check now: only tokens that are remembered are
    /// found good; `None` for all others.
    #[must_use]
    pub fn recall(&self, schemes: &[RouteScheme], facts: &RequestFacts<'_>, now: UnixTime) -> Option<Verdict> {
        let known = |scheme: &RouteScheme| {
            let presented = scheme.scheme.present(facts).ok()??;
            self.remembered.get(&scheme.scheme, &presented.token).map(|_| ())
        };
        let carried = schemes.iter().filter(|scheme| !matches!(scheme.scheme.present(facts), Ok(None)));
        let mut carried = carried.peekable();
        carried.peek()?;
        if carried.all(|scheme| known(scheme).is_some()) { self.decide(schemes, facts, now).ok() } else { None }
    }

    /// How dear a verdict of this scheme is: nothing where it is remembered, then a digest, then a signature.
    fn cost(&self, scheme: &RouteScheme, token: &str) -> u8 {
        if self.remembered.get(&scheme.scheme, token).is_some() {
            return 0;
        }
        let signs = |keys: &KeySource| keys.load().iter().any(|key| key.octets().is_none());
        if scheme.scheme.key_sources().iter().any(signs) { 2 } else { 1 }
    }

    fn judge_all(&self, tokens: &[Token<'_, '_>], facts: &RequestFacts<'_>, (now, uses): (UnixTime, bool)) -> Result<Verdict, Refusal> {
        let ambiguous = || Refusal::new(Denial::Ambiguous, None);
        let judged: Result<Vec<_>, Refusal> = tokens.iter().map(|token| self.judge(token, facts, now)).collect();
        let mut judged = judged.map_err(|_| ambiguous())?.into_iter();
        let mut first = judged.next().ok_or_else(|| Refusal::new(Denial::Missing, None))?;
        let others: Vec<_> = judged.collect();
        for (_, other) in &others {
            if (&first.1.grant.subject, &first.1.grant.resource) != (&other.grant.subject, &other.grant.resource) {
                return Err(ambiguous());
            }
            add_strips(&mut first.1.strip, &other.strip);
        }
        let used = others.iter().chain([&first]).map(|(by, verdict)| self.take_use(by, verdict, (now, uses)));
        let used: Vec<Option<Use>> = used.collect::<Result<_, _>>()?;
        first.1.uses.extend(used.into_iter().flatten());
        Ok(first.1)
    }

    fn take_use(&self, by: &RouteScheme, verdict: &Verdict, (now, uses): (UnixTime, bool)) -> Result<Option<Use>, Refusal> {
        let grant = &*verdict.grant;
        if !grant.single_use {
            return Ok(None);
        }
        let token = grant.token_id.as_deref().unwrap_or(&verdict.token);
        let replayed = || Refusal::answered(Denial::Replayed, by, grant, now);
        if !uses {
            return if self.used.has(&verdict.scheme, token) { Err(replayed()) } else { Ok(None) };
        }
        let used = self.used.first_use((&verdict.scheme, token), grant, now).ok_or_else(replayed)?;
        by.scheme.spend(grant);
        Ok(Some(used))
    }

    fn judge<'s>(&self, token: &Token<'s, '_>, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(&'s RouteScheme, Verdict), Refusal> {
        let mut telling: Option<Refusal> = None;
        for (scheme, presented) in &token.known_to {
            match self.ask(scheme, presented, facts, now) {
                Ok(mut verdict) => {
                    token.known_to.iter().for_each(|(_, other)| add_strips(&mut verdict.strip, &other.strip));
                    return Ok((scheme, verdict));
                }
                Err(refusal) => {
                    let told = |had: &Refusal| had.denial.is_after_signature() || !refusal.denial.is_after_signature();
                    if !telling.as_ref().is_some_and(told) {
                        telling = Some(refusal);
                    }
                }
            }
        }
        Err(telling.unwrap_or_else(|| Refusal::new(Denial::Missing, None)))
    }

    fn ask(&self, scheme: &RouteScheme, presented: &Presented<'_>, facts: &RequestFacts<'_>, now: UnixTime) -> Result<Verdict, Refusal> {
        let (entry, remembered) = match self.remembered.get(&scheme.scheme, &presented.token) {
            Some(entry) => (entry, true),
            None => (self.open(scheme, presented, facts).map_err(|denial| Refusal::new(denial, Some(&scheme.name)))?, false),
        };
        let covers = entry.grant.check_presented(presented, facts, now).and_then(|()| scheme.scheme.fits(&entry.grant, facts));
        covers.map_err(|denial| Refusal::answered(denial, scheme, &entry.grant, now))?;
        Ok(Verdict {
            scheme: scheme.name.clone(),
            kind: scheme.scheme.kind(),
            grant: entry.grant.clone(),
            strip: presented.strip.clone(),
            remembered,
            uses: Vec::new(),
            token: entry.token.clone(),
        })
    }

    fn open(&self, scheme: &RouteScheme, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Arc<Entry>, Denial> {
        let keys = Entry::keys_of(&*scheme.scheme);
        let opened = scheme.scheme.open(presented, facts);
        if opened.as_ref().err() == Some(&Denial::UnknownKey) {
            let remotes = self.remotes.load();
            keys.iter().flat_map(|(source, _)| remotes.iter().filter(|remote| remote.keys().is(source))).for_each(|remote| remote.nudge());
        }
        let entry = Arc::new(Entry::new(scheme.scheme.clone(), &presented.token, opened?, keys));
        if scheme.scheme.remembers() {
            self.remembered.put(&entry);
        }
        Ok(entry)
    }
}

/// One token text, with the schemes that found it.
struct Token<'s, 'r> {
    text: Cow<'r, str>,
    known_to: Vec<(&'s RouteScheme, Presented<'r>)>,
}

/// Adds what another finder would take out, unless it would do something else to a segment that is being dealt with.
fn add_strips(strips: &mut Vec<Strip>, others: &[Strip]) {
    for other in others {
        let segment = |strip: &Strip| match strip {
            Strip::Segment(at) | Strip::SegmentToResource(at) => Some(*at),
            _ => None,
        };
        let dealt_with = segment(other).is_some_and(|at| strips.iter().any(|have| segment(have) == Some(at)));
        if dealt_with || strips.contains(other) {
            continue;
        }
        // The resource is another scheme's; a segment with a token in it goes all the same.
        strips.push(segment(other).map_or_else(|| other.clone(), Strip::Segment));
    }
}

#[cfg(test)]
mod tests;
