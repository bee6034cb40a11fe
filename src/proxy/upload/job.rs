//! One request of an upload: admitted, counted, and settled by its answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::body::Body as _;

use super::body::{Supply, Watched};
use super::{answer, find};
use crate::proxy::body::Rate;
use crate::proxy::request::{Admitted, Proof, Routed};
use crate::proxy::{Body, Error, Route, State, ticket};
use crate::secret::Fingerprint;
use crate::session::{Ask, End, Gone, Key, Keys, Limit, ResumeFault, Seen, Session, Viewer};
use crate::token::{Grant, Scope};
use crate::upload::{self, Bounds, Kind, Owner, Piece, UPLOAD_LENGTH, UPLOAD_OFFSET, Upload, UploadConfig};

/// A request of an upload under way. What it holds is given back however it ends.
pub(super) struct Job {
    pub(super) state: Arc<State>,
    pub(super) route: Arc<Route>,
    /// The upload it was counted under, which the body may change to another of the same recorder.
    pub(super) upload: Rc<RefCell<Arc<Upload>>>,
    /// The one that it keeps busy.
    entered: Arc<Upload>,
    pub(super) kind: Kind,
    pub(super) head: Head,
    /// Whether it began with this request.
    pub(super) fresh: bool,
    /// Bytes of the body so far.
    pub(super) counted: Rc<Cell<u64>>,
    /// Why the body was stopped.
    cause: Rc<RefCell<Option<Error>>>,
    settled: bool,
}

/// What the head says.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: http::Method,
    /// Path and query as the origin's answer may refer to them.
    pub(super) path: String,
    pub(super) place: String,
    pub(super) https: bool,
    pub(super) authority: String,
    /// Bytes of the body, where declared.
    pub(super) declared: Option<u64>,
    /// Where in the file the body begins, where the head says so.
    pub(super) offset: Option<u64>,
    /// Bytes of the whole file, where the head says so.
    pub(super) length: Option<u64>,
    pub(super) piece: Option<Piece>,
}

impl Head {
    fn of(routed: &Routed, kind: Kind) -> Self {
        let head = &routed.request.head;
        let number = |name| upload::number(&head.headers, name);
        let said = head.headers.get(http::header::CONTENT_RANGE).and_then(|value| Piece::parse(value.to_str().ok()?));
        let piece = match kind {
            Kind::Part(piece) => Some(piece),
            Kind::Place => said,
            Kind::Whole | Kind::Create => None,
        };
        let from = |piece: Piece| if let Piece::Bytes { from, .. } = piece { Some(from) } else { None };
        Self {
            method: head.method.clone(),
            path: routed.request.settled.path.raw().to_owned(),
            place: find::place(routed),
            https: routed.request.settled.https,
            authority: routed.request.settled.authority.clone(),
            declared: routed.request.body.size_hint().exact(),
            offset: number(&UPLOAD_OFFSET).or_else(|| piece.and_then(from)),
            length: number(&UPLOAD_LENGTH).or_else(|| piece.and_then(Piece::file_bytes)),
            piece,
        }
    }

    /// Refuses what is too long by what the head alone says. `taken`: bytes that the origin has.
    fn check(&self, bounds: &Bounds, taken: u64) -> Result<(), Error> {
        let Some(most) = bounds.bytes else { return Ok(()) };
        let body = self.declared.unwrap_or(0).saturating_add(self.offset.unwrap_or(taken));
        if self.length.is_some_and(|length| length > most) || body > most { Err(Error::UploadTooLarge) } else { Ok(()) }
    }
}

/// Admits the request, or says why not; `None` when it only asks and holds no place.
///
/// # Errors
/// Everything that the head can be refused for.
pub(super) async fn open(admitted: &mut Admitted, kind: Kind) -> Result<Option<Job>, Error> {
    let Some(config) = admitted.routed.route.upload.clone() else { return Ok(None) };
    let owner = find::owner(admitted, kind);
    let head = Head::of(&admitted.routed, kind);
    let candidates = match kind {
        Kind::Part(piece) if !piece.is_first() => {
            admitted.routed.request.state.uploads.of_parts(&owner, find::parts(&admitted.routed), piece)
        }
        Kind::Place => at_place(&admitted.routed, &head, &owner)?.into_iter().collect(),
        _ => Vec::new(),
    };
    let Some(known) = choose(&candidates)? else {
        let asks = kind == Kind::Place && matches!(head.method, http::Method::HEAD | http::Method::DELETE);
        return if asks { Ok(None) } else { begin(admitted, &config, owner, (kind, head)).await.map(Some) };
    };
    head.check(&known.bounds, known.bytes())?;
    if !known.is_finished() {
        revive(admitted, &config, &known, kind).await?;
    }
    let job = Job::new(admitted, known, (kind, head), false);
    watch(admitted, &job, &config, &candidates)?;
    Ok(Some(job))
}

/// The upload of a place, if it is known and the caller's own.
fn at_place(routed: &Routed, head: &Head, owner: &Owner) -> Result<Option<Arc<Upload>>, Error> {
    let Some(upload) = routed.request.state.uploads.at_place(&routed.route.name, &head.place) else { return Ok(None) };
    if upload.owner.is(owner) { Ok(Some(upload)) } else { Err(Error::UploadForeign) }
}

/// The upload that a later part is counted under until its body says more. A first part that is not answered has no id that
/// a later one could be given: the later one has to wait.
fn choose(candidates: &[Arc<Upload>]) -> Result<Option<Arc<Upload>>, Error> {
    let named = candidates.iter().rev().find(|upload| upload.video().is_some());
    match named.or(candidates.last()) {
        Some(upload) if named.is_none() && upload.busy() > 0 && upload.awaits_id() => Err(Error::UploadPending),
        found => Ok(found.cloned()),
    }
}

/// A new upload with a place of its own.
async fn begin(admitted: &mut Admitted, config: &UploadConfig, owner: Owner, (kind, head): (Kind, Head)) -> Result<Job, Error> {
    let (_, grant) = admitted.proof.strip_and_grant();
    let none = Grant::default();
    let grant = grant.unwrap_or(&none);
    let bounds = config.bounds(grant);
    head.check(&bounds, 0)?;
    check_type(&admitted.routed.request.head.headers, &bounds, kind)?;
    let ask = ask(admitted, config, grant, &owner);
    let state = admitted.routed.request.state.clone();
    let route = admitted.routed.route.clone();
    let given = match &state.fleet {
        Some(fleet) => fleet.admit(&ask, config.on_store_error).await.map_err(|fault| entry(Error::entry(&fault, &route)))?,
        None => state.sessions.admit(&ask).map_err(|refusal| full(refusal.limit))?,
    };
    let begun = state.uploads.begin(&given.session, owner, bounds, state.clock.now());
    let Ok(upload) = begun else {
        end(&state, given.session.id, End::Closed);
        return Err(full(Limit::Ceiling));
    };
    state.metrics.uploads_begun.with_label_values(&[route.name.as_str()]).inc();
    if let Some(length) = head.length {
        upload.set_length(length);
    }
    match kind {
        Kind::Part(piece) if !piece.is_alone() => {
            upload.await_id();
            state.uploads.in_parts(&upload, find::parts(&admitted.routed), piece);
        }
        Kind::Place => state.uploads.set_place(&upload, &route.name, &head.place),
        _ => {}
    }
    let job = Job::new(admitted, upload, (kind, head), true);
    watch(admitted, &job, config, &[])?;
    Ok(job)
}

fn ask(admitted: &Admitted, config: &UploadConfig, grant: &Grant, owner: &Owner) -> Ask {
    let routed = &admitted.routed;
    let request = &routed.request;
    let (scheme, fingerprint) = match &admitted.proof {
        Proof::Token(verdict) => (verdict.scheme.clone(), verdict.fingerprint()),
        Proof::Session { session, .. } => (session.scheme.clone(), session.seen.fingerprint),
        _ => (routed.route.name.clone(), Fingerprint::of(&owner.token.0)),
    };
    let agent = request.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let unique = uuid::Uuid::new_v4();
    Ask {
        now: request.state.clock.now(),
        route: routed.route.name.clone(),
        scheme,
        keys: Keys { token: owner.token, subject: owner.subject, device: None, asset: None },
        terms: config.terms(grant),
        // Each upload is a viewer of its own: the same recorder may have several.
        viewer: Viewer { key: Key::of("upload", &[unique.as_bytes()]), device: None },
        network: ticket::network(routed),
        // Later requests are bound to the upload, wherever its place is.
        grant: Arc::new(Grant { scope: Scope::Route, ..grant.clone() }),
        seen: Seen::new(fingerprint, request.settled.client_ip, agent),
    }
}

/// The upload's session lives, or comes back if there is room for it.
async fn revive(admitted: &Admitted, config: &UploadConfig, upload: &Arc<Upload>, kind: Kind) -> Result<(), Error> {
    let (routed, state) = (&admitted.routed, &admitted.routed.request.state);
    let now = state.clock.now();
    let id = upload.session().id;
    let gone = match state.sessions.touch(id, now, 0) {
        Ok(_) => return Ok(()),
        Err(gone) => gone,
    };
    if gone != Gone::Ended(End::Idle) {
        return Err(Error::SessionGone(gone));
    }
    let network = ticket::network(routed);
    let resumed: Result<Arc<Session>, Error> = match &state.fleet {
        Some(fleet) => {
            let resumed = fleet.resume(id, now, network, config.on_store_error).await;
            resumed.map(|admission| admission.session).map_err(|fault| entry(Error::entry(&fault, &routed.route)))
        }
        None => state.sessions.resume(id, now, network).map(|admission| admission.session).map_err(|fault| match fault {
            ResumeFault::Gone(gone) => Error::SessionGone(gone),
            ResumeFault::Refused(refusal) => full(refusal.limit),
        }),
    };
    match resumed {
        Ok(session) => upload.set_session(session),
        // There will be room again, and what is there must not be begun anew.
        Err(Error::SessionRefused(..)) if kind == Kind::Place => return Err(Error::UploadLocked),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What a file without form is said to be; the files of forms say it in their parts, those of tus at their creation.
fn check_type(headers: &HeaderMap, bounds: &Bounds, kind: Kind) -> Result<(), Error> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = crate::form::Boundary::of(said.unwrap_or("")).is_some();
    let tus = headers.contains_key(upload::TUS_RESUMABLE);
    let fits = match kind {
        Kind::Create if tus => bounds.takes(upload::file_type(headers).as_deref()),
        // A session description is no file, and what is at a tus place has been asked for its type when it was made.
        Kind::Create => true,
        Kind::Place if tus => true,
        Kind::Whole | Kind::Part(_) | Kind::Place => is_form || bounds.takes(said),
    };
    if fits { Ok(()) } else { Err(Error::UploadType) }
}

/// Puts our eyes on the body.
fn watch(admitted: &mut Admitted, job: &Job, config: &UploadConfig, candidates: &[Arc<Upload>]) -> Result<(), Error> {
    let request = &mut admitted.routed.request;
    let supply = match job.kind {
        Kind::Part(piece) if config.supply_video_id => Supply::new(candidates, piece, &job.head.path),
        _ => None,
    };
    if matches!(job.kind, Kind::Part(_)) {
        // The id is read out of the answer.
        request.head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let parts = (job.upload.clone(), job.counted.clone(), job.cause.clone());
    let watched = Watched::new(&request.head.headers, job, supply, parts)?;
    let grown = watched.growth();
    let rate = config.min_rate.map(|least| Rate::new(least.0, config.min_rate_over.0));
    request.body.watch(Box::new(watched), rate);
    if let (Some(length), true) = (job.head.declared, grown > 0) {
        request.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length.saturating_add(grown)));
    }
    Ok(())
}

/// What the recorder of an upload hears where no answer came. One of a place would begin again at zero for less than 423.
pub(super) fn told(error: Error, kind: Kind) -> Error {
    match error {
        Error::CredentialUnavailable(_) if kind == Kind::Place => Error::UploadLocked,
        error => error,
    }
}

/// There is no room. To wait and try again is what helps, so it is 429, whatever viewers get.
fn full(limit: Limit) -> Error {
    Error::SessionRefused(limit, http::StatusCode::TOO_MANY_REQUESTS)
}

fn entry(error: Error) -> Error {
    if let Error::SessionRefused(limit, _) = error { full(limit) } else { error }
}

fn end(state: &State, id: crate::session::SessionId, how: End) {
    let now = state.clock.now();
    match &state.fleet {
        Some(fleet) => fleet.end(id, how, now),
        None => state.sessions.end(id, how, now),
    };
}

impl Job {
    fn new(admitted: &mut Admitted, upload: Arc<Upload>, (kind, head): (Kind, Head), fresh: bool) -> Self {
        let session = upload.session();
        let _ = admitted.routed.request.record.session.set(session.clone());
        admitted.session = Some(session);
        admitted.upload = Some(upload.clone());
        upload.enter();
        Self {
            state: admitted.routed.request.state.clone(),
            route: admitted.routed.route.clone(),
            entered: upload.clone(),
            upload: Rc::new(RefCell::new(upload)),
            kind,
            head,
            fresh,
            counted: Rc::default(),
            cause: Rc::default(),
            settled: false,
        }
    }

    /// Settles what the answer says.
    ///
    /// # Errors
    /// Why the body was stopped, if it was; else what came of the walk.
    pub(super) fn close(mut self, result: Result<Response<Body>, Error>) -> Result<Response<Body>, Error> {
        match result {
            Ok(response) => answer::settle(self, response),
            Err(error) => {
                let error = self.cause.take().unwrap_or(error);
                match error {
                    // It has to be begun anew, and its place is needed for that.
                    Error::UploadCredentialEnded => self.end("failed"),
                    _ => self.broke_off(),
                }
                Err(told(error, self.kind))
            }
        }
    }

    pub(super) fn current(&self) -> Arc<Upload> {
        self.upload.borrow().clone()
    }

    /// The request counts as answered: what comes later is the next request's.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// The upload is over, and its place is free.
    pub(super) fn end(&mut self, result: &str) {
        self.settled = true;
        let upload = self.current();
        if upload.is_finished() {
            return;
        }
        let now = self.state.clock.now();
        upload.finish(now);
        end(&self.state, upload.session().id, End::Closed);
        self.state.metrics.uploads_ended.with_label_values(&[self.route.name.as_str(), result]).inc();
    }

    /// No answer came. What can be resumed keeps its place until it falls silent; what cannot gives it back.
    pub(super) fn broke_off(&mut self) {
        if self.fresh && self.kind != Kind::Place {
            self.end("failed");
        }
        self.settled = true;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.settled {
            self.broke_off();
        }
        self.entered.leave();
    }
}
