//! The uploads under way, by every name that a request of theirs can come under.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Bounds, Piece, Taken};
use crate::clock::UnixTime;
use crate::credential::{Credential, Held};
use crate::name::Name;
use crate::session::{End, Key, Session};

/// Whose an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its token, by its own id.
    pub token: Key,
    /// Who holds it.
    pub subject: Option<Key>,
    /// The very bytes of the token: what still names it when it has expired.
    pub presented: Key,
}

impl Owner {
    /// The name of a token's bytes.
    #[must_use]
    pub fn presented(token: &str) -> Key {
        Key::of("upload token", &[token.as_bytes()])
    }

    /// Whether it is the same one: by token, or by a further token of the same subject.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.presented == other.presented || self.token == other.token || (self.subject.is_some() && self.subject == other.subject)
    }
}

/// What tells the parts of a file apart from those of others while no id does: the recorder they come from.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'p> {
    /// Their route.
    pub route: &'p Name,
    /// The path that they are sent to.
    pub path: &'p str,
    /// The network they come from.
    pub network: Key,
    /// What the client calls itself (`AV-Origin-Client`, else `User-Agent`).
    pub client: &'p str,
}

impl Parts<'_> {
    /// What uploads of this recorder go by, for one of an owner's three keys.
    fn key(&self, by: Key) -> Key {
        Key::of("upload parts", &[self.route.as_str().as_bytes(), self.path.as_bytes(), &by.0, &self.network.0, self.client.as_bytes()])
    }
}

/// One upload.
#[derive(Debug)]
pub struct Upload {
    /// Its own id: what a mapped place is called here.
    pub id: String,
    /// Whose it is.
    pub owner: Owner,
    /// What its bytes must keep to.
    pub bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: Arc<Session>,
    names: Vec<Key>,
    /// Bytes of parts that were taken.
    bytes: u64,
    taken: Taken,
    piece: Option<Piece>,
    file: Option<String>,
    video: Option<String>,
    length: Option<u64>,
    busy: u32,
    /// Whether its later parts will need an id that no answer has named yet.
    awaits_id: bool,
    finished: Option<UnixTime>,
    /// The provider's values that it goes with, one of each credential at most.
    held: Vec<Held>,
}

impl State {
    fn is_bound_like(&self, value: &Held) -> bool {
        self.held.iter().any(|held| held.is_same_credential(value))
    }
}

impl Upload {
    fn state(&self) -> MutexGuard<'_, State> {
        // No step leaves it half done and panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that holds its place.
    #[must_use]
    pub fn session(&self) -> Arc<Session> {
        self.state().session.clone()
    }

    /// Its session came back as this one.
    pub fn set_session(&self, session: Arc<Session>) {
        self.state().session = session;
    }

    /// Bytes that were taken so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// The id that the provider gave it.
    #[must_use]
    pub fn video(&self) -> Option<String> {
        self.state().video.clone()
    }

    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        self.state().file.clone()
    }

    /// Notes the name of its file; the first one stays.
    pub fn set_file(&self, name: &str) {
        self.state().file.get_or_insert_with(|| name.to_owned());
    }

    /// Bytes of the whole file, where known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.state().length
    }

    /// Notes how long the file is.
    pub fn set_length(&self, length: u64) {
        self.state().length = Some(length);
    }

    /// Requests of it that are under way.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.state().busy
    }

    /// One more request of it.
    pub fn enter(&self) {
        self.state().busy += 1;
    }

    /// One less.
    pub fn leave(&self) {
        let mut state = self.state();
        state.busy = state.busy.saturating_sub(1);
    }

    /// Its first part is on its way, and the answer may name the id that later ones need.
    pub fn await_id(&self) {
        self.state().awaits_id = true;
    }

    /// The answer has come, whatever it named.
    pub fn has_id(&self) {
        self.state().awaits_id = false;
    }

    /// Whether that answer is still to come.
    #[must_use]
    pub fn awaits_id(&self) -> bool {
        self.state().awaits_id
    }

    /// Whether this part can be one of it.
    #[must_use]
    pub fn goes_with(&self, piece: Piece) -> bool {
        self.state().piece.is_none_or(|own| own.goes_with(piece))
    }

    /// Whether this part follows what was taken.
    #[must_use]
    pub fn expects(&self, piece: Piece) -> bool {
        self.state().taken.expects(piece)
    }

    /// The origin has taken `bytes`, as this part. `true` when the file is whole by now.
    pub fn took(&self, bytes: u64, piece: Option<Piece>) -> bool {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_add(bytes);
        if let Some(piece) = piece {
            state.taken.note(piece);
        }
        state.taken.is_whole()
    }

    /// So many bytes of the file are there by the origin's word. `true` when it is whole by now.
    pub fn is_at(&self, offset: u64) -> bool {
        let mut state = self.state();
        state.bytes = offset;
        state.length == Some(offset)
    }

    /// It is whole, or given up: its place is free.
    pub fn finish(&self, now: UnixTime) {
        self.state().finished.get_or_insert(now);
    }

    /// Whether it is whole, or given up.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state().finished.is_some()
    }

    /// The value of `credential` that it goes with, once it has one.
    #[must_use]
    pub fn held(&self, credential: &Credential) -> Option<Held> {
        self.state().held.iter().find(|held| held.is_of(credential)).cloned()
    }

    /// Whether it goes with a value of the credential that this one is of.
    #[must_use]
    pub fn is_bound_like(&self, value: &Held) -> bool {
        self.state().is_bound_like(value)
    }

    /// It goes with this value from now on, unless it has one of that credential.
    pub fn hold(&self, new: &Held) {
        let mut state = self.state();
        if !state.is_bound_like(new) {
            // A reload may have made a new credential of the name.
            state.held.retain(|held| held.name() != new.name());
            state.held.push(new.clone());
        }
    }

    /// Whether nothing of it can come any more. One that fell silent may come back until its end; one that is whole is still asked for.
    fn is_over(&self, now: UnixTime) -> bool {
        let state = self.state();
        let session = &state.session;
        let lingers = |since: UnixTime| now.since(since) <= i64::from(session.idle());
        match (state.finished, session.ended()) {
            (Some(since), _) => !lingers(since),
            (None, Some(End::Idle) | None) => session.ends <= now || now.since(session.last_seen()) > REMEMBERED,
            (None, Some(_)) => true,
        }
    }

    /// Whether its place is held.
    fn is_live(&self) -> bool {
        let state = self.state();
        state.finished.is_none() && state.session.ended().is_none()
    }
}

/// Seconds that a silent upload is remembered, so that it can be resumed.
const REMEMBERED: i64 = 24 * 3600;

/// The table is full of uploads under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many uploads")]
pub struct Full;

/// The table. Clones share it; it outlives reloads of the config.
#[derive(Clone)]
pub struct Uploads(Arc<Mutex<Table>>);

struct Table {
    all: HashMap<String, Arc<Upload>, ahash::RandomState>,
    names: HashMap<Key, Vec<Arc<Upload>>, ahash::RandomState>,
    most: usize,
    swept: UnixTime,
}

/// Seconds between looks for uploads that are over.
const SWEEP_EVERY: i64 = 30;

impl Uploads {
    /// An empty table for `most` uploads.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Table { all: HashMap::default(), names: HashMap::default(), most, swept: UnixTime::MIN })))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No step leaves it half done and panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new upload under `session`, which holds its place.
    ///
    /// # Errors
    /// [`Full`]: then the place is to be given back.
    pub fn begin(&self, session: &Arc<Session>, owner: Owner, bounds: Bounds, now: UnixTime) -> Result<Arc<Upload>, Full> {
        let mut table = self.table();
        table.make_room(now)?;
        let state = State {
            session: session.clone(),
            names: Vec::new(),
            bytes: 0,
            taken: Taken::default(),
            piece: None,
            file: None,
            video: None,
            length: None,
            busy: 0,
            awaits_id: false,
            finished: None,
            held: Vec::new(),
        };
        let upload = Arc::new(Upload { id: session.id.to_string(), owner, bounds, state: Mutex::new(state) });
        table.all.insert(upload.id.clone(), upload.clone());
        Ok(upload)
    }

    /// Its further requests are parts of a file from this recorder.
    pub fn in_parts(&self, upload: &Arc<Upload>, parts: Parts<'_>, piece: Piece) {
        upload.state().piece = Some(piece);
        let owner = upload.owner;
        for by in [Some(owner.token), owner.subject, Some(owner.presented)].into_iter().flatten() {
            self.table().put(upload, parts.key(by));
        }
    }

    /// Uploads of this recorder that the part can belong to, the latest last.
    #[must_use]
    pub fn of_parts(&self, owner: &Owner, parts: Parts<'_>, piece: Piece) -> Vec<Arc<Upload>> {
        let table = self.table();
        let keys = [Some(owner.presented), Some(owner.token), owner.subject];
        let named = keys.into_iter().flatten().find_map(|by| table.names.get(&parts.key(by)).filter(|list| !list.is_empty()));
        let fits = |upload: &&Arc<Upload>| !upload.is_finished() && upload.goes_with(piece);
        named.into_iter().flatten().filter(fits).cloned().collect()
    }

    /// The upload whose place this is.
    #[must_use]
    pub fn at_place(&self, route: &Name, path: &str) -> Option<Arc<Upload>> {
        self.named(place(route, path))
    }

    /// The upload's place is at this path of the gateway.
    pub fn set_place(&self, upload: &Arc<Upload>, route: &Name, path: &str) {
        self.table().put(upload, place(route, path));
    }

    /// The upload of this video.
    #[must_use]
    pub fn of_video(&self, route: &Name, video: &str) -> Option<Arc<Upload>> {
        self.named(self::video(route, video))
    }

    /// The provider has given the upload this id.
    pub fn set_video(&self, upload: &Arc<Upload>, route: &Name, video: &str) {
        upload.state().video = Some(video.to_owned());
        self.table().put(upload, self::video(route, video));
    }

    fn named(&self, key: Key) -> Option<Arc<Upload>> {
        self.table().names.get(&key).and_then(|list| list.last()).cloned()
    }

    /// Forgets an upload of which no further request can come.
    pub fn forget(&self, upload: &Arc<Upload>) {
        self.table().remove(upload);
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().all.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploads").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Table {
    fn put(&mut self, upload: &Arc<Upload>, key: Key) {
        if !self.all.contains_key(&upload.id) {
            return;
        }
        let list = self.names.entry(key).or_default();
        if !list.iter().any(|have| Arc::ptr_eq(have, upload)) {
            list.push(upload.clone());
            upload.state().names.push(key);
        }
    }

    fn remove(&mut self, upload: &Arc<Upload>) {
        self.all.remove(&upload.id);
        for key in std::mem::take(&mut upload.state().names) {
            if let Some(list) = self.names.get_mut(&key) {
                list.retain(|have| !Arc::ptr_eq(have, upload));
                if list.is_empty() {
                    self.names.remove(&key);
                }
            }
        }
    }

    /// Those that are over go; when there is still no room, so do those that hold no place, the longest silent first.
    fn make_room(&mut self, now: UnixTime) -> Result<(), Full> {
        if self.all.len() >= self.most || now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            let over: Vec<_> = self.all.values().filter(|upload| upload.is_over(now)).cloned().collect();
            over.iter().for_each(|upload| self.remove(upload));
        }
        if self.all.len() >= self.most {
            let mut resting: Vec<_> = self.all.values().filter(|upload| !upload.is_live()).cloned().collect();
            resting.sort_by_key(|upload| upload.session().last_seen());
            // A tenth at once, so that not every upload at a full table goes through all of it.
            resting.truncate((self.most / 10).max(1));
            resting.iter().for_each(|upload| self.remove(upload));
        }
        if self.all.len() >= self.most { Err(Full) } else { Ok(()) }
    }
}

fn place(route: &Name, path: &str) -> Key {
    Key::of("upload place", &[route.as_str().as_bytes(), path.as_bytes()])
}

fn video(route: &Name, id: &str) -> Key {
    Key::of("upload video", &[route.as_str().as_bytes(), id.as_bytes()])
}

#[cfg(test)]
mod tests;
