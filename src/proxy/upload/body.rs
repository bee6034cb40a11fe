//! The body of an upload while it passes: counted, looked into, given what its client left out, and stopped when it must not go on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};

use super::job::Job;
use crate::clock::UnixTime;
use crate::form::multipart::Multipart;
use crate::form::{Boundary, Choice, Edit, Fault, Part};
use crate::name::Name;
use crate::proxy::body::{self, Malformed};
use crate::proxy::{Error, State};
use crate::token::Denial;
use crate::upload::{Bounds, Kind, Owner, Piece, Upload};

/// The field that names a video to api.video.
pub(super) const VIDEO_ID: &str = "videoId";

/// Which id a later part gets whose client leaves it out.
pub(super) struct Supply {
    candidates: Vec<Arc<Upload>>,
    piece: Piece,
    length: usize,
}

impl Supply {
    /// Nothing is supplied where no upload has an id yet, or where the path names the video.
    pub(super) fn new(candidates: &[Arc<Upload>], piece: Piece, path: &str) -> Option<Self> {
        let named = |upload: &&Arc<Upload>| upload.video().is_some_and(|id| !path.contains(&id));
        let candidates: Vec<_> = candidates.iter().filter(named).cloned().collect();
        let length = candidates.last()?.video()?.len();
        Some(Self { candidates, piece, length })
    }

    /// The edit that chooses among the candidates when all of the body but its end has passed. What it chose is put into `chosen`.
    fn edit(self, chosen: Rc<RefCell<Arc<Upload>>>, supplied: Rc<Cell<bool>>) -> Edit {
        let Self { candidates, piece, length } = self;
        let choose = move |parts: &[Part]| {
            let said = parts.iter().find(|part| part.name == VIDEO_ID);
            if let Some(said) = said {
                let id = said.value.as_deref().unwrap_or_default();
                let own = candidates.iter().find(|upload| upload.video().is_some_and(|video| video.as_bytes() == id));
                *chosen.borrow_mut() = own.ok_or(Fault::Choice)?.clone();
                return Ok(None);
            }
            let file = parts.iter().find_map(|part| part.filename.as_deref());
            let of_file = |upload: &&Arc<Upload>| file.is_none_or(|file| upload.file().is_none_or(|own| own == file));
            let mut fitting: Vec<_> = candidates.iter().filter(of_file).collect();
            if fitting.len() > 1 {
                fitting.retain(|upload| upload.expects(piece));
            }
            let [only] = fitting[..] else { return Err(Fault::Choice) };
            *chosen.borrow_mut() = only.clone();
            supplied.set(true);
            Ok(only.video())
        };
        Edit::Chosen(Choice { name: VIDEO_ID.into(), length, choose: Rc::new(choose) })
    }
}

/// A body under watch.
pub(super) struct Watched {
    form: Option<Multipart>,
    /// Whether a form that cannot be read is refused: something depends on what it says.
    strict: bool,
    bounds: Bounds,
    /// Bytes that this body may have.
    most: Option<u64>,
    declared: Option<u64>,
    route: Name,
    owner: Owner,
    looked: usize,
    touched: UnixTime,
    state: Arc<State>,
    upload: Rc<RefCell<Arc<Upload>>>,
    counted: Rc<Cell<u64>>,
    cause: Rc<RefCell<Option<Error>>>,
    supplied: Rc<Cell<bool>>,
}

type Shared = (Rc<RefCell<Arc<Upload>>>, Rc<Cell<u64>>, Rc<RefCell<Option<Error>>>);

impl Watched {
    /// # Errors
    /// [`Error::BodyBroken`] when a form cannot be read whose fields are asked for.
    pub(super) fn new(headers: &HeaderMap, job: &Job, supply: Option<Supply>, (upload, counted, cause): Shared) -> Result<Self, Error> {
        let own = job.current();
        let in_parts = matches!(job.kind, Kind::Part(_));
        let strict = in_parts || own.bounds.asks_type();
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let supplied = Rc::new(Cell::new(false));
        let form = match Boundary::of(said).filter(|_| strict) {
            None => None,
            Some(Err(_)) => return Err(Error::BodyBroken),
            Some(Ok(boundary)) => Some(form(&boundary, supply, (&upload, &supplied), job.head.declared.is_some())?),
        };
        let before = job.head.offset.unwrap_or_else(|| own.bytes());
        Ok(Self {
            form,
            strict,
            most: own.bounds.bytes.map(|most| most.saturating_sub(before)),
            bounds: own.bounds.clone(),
            declared: job.head.declared,
            route: job.route.name.clone(),
            owner: own.owner,
            looked: 0,
            touched: job.state.clock.now(),
            state: job.state.clone(),
            upload,
            counted,
            cause,
            supplied,
        })
    }

    /// By how many bytes the body grows.
    pub(super) fn growth(&self) -> u64 {
        self.form.as_ref().map_or(0, Multipart::growth)
    }

    fn stop(&self, error: Error) -> Malformed {
        self.cause.replace(Some(error));
        Malformed
    }

    /// An upload ends with its session, in the middle of its body too.
    fn alive(&mut self, at_end: bool) -> Result<(), Malformed> {
        let now = self.state.clock.now();
        if now == self.touched && !at_end {
            return Ok(());
        }
        self.touched = now;
        let upload = self.upload.borrow().clone();
        if upload.is_finished() {
            return Ok(());
        }
        let session = upload.session();
        if self.state.revocations.is_revoked(&(&*session).into(), now) {
            return Err(self.stop(Error::Denied(Denial::Revoked)));
        }
        self.state.sessions.touch(session.id, now, 0).map(|_| ()).map_err(|gone| self.stop(Error::SessionGone(gone)))
    }

    /// What the parts say that have come.
    fn look(&mut self) -> Result<(), Malformed> {
        let Some(form) = &self.form else { return Ok(()) };
        let parts = form.parts();
        for part in &parts[self.looked.min(parts.len())..] {
            if let Some(file) = &part.filename {
                if !self.bounds.takes(part.content_type.as_deref()) {
                    return Err(self.stop(Error::UploadType));
                }
                self.upload.borrow().set_file(file);
            }
            if !part.complete {
                break;
            }
            self.looked += 1;
            if part.name == VIDEO_ID && self.is_foreign(part.value.as_deref()) {
                return Err(self.stop(Error::UploadForeign));
            }
        }
        Ok(())
    }

    fn is_foreign(&self, id: Option<&[u8]>) -> bool {
        let known = id.and_then(|id| std::str::from_utf8(id).ok()).and_then(|id| self.state.uploads.of_video(&self.route, id));
        known.is_some_and(|upload| !upload.owner.is(&self.owner))
    }

    fn edited(&mut self, edited: Result<(), Fault>) -> Result<(), Malformed> {
        // What came before a fault may be the better reason.
        self.look()?;
        let fault = edited.err().or_else(|| self.form.as_ref().and_then(Multipart::fault).filter(|_| self.strict));
        match fault {
            None => Ok(()),
            Some(Fault::Choice) => Err(self.stop(Error::UploadUnclear)),
            Some(_) => Err(self.stop(Error::BodyBroken)),
        }
    }
}

fn form(
    boundary: &Boundary,
    supply: Option<Supply>,
    (upload, supplied): (&Rc<RefCell<Arc<Upload>>>, &Rc<Cell<bool>>),
    has_length: bool,
) -> Result<Multipart, Error> {
    let form = match supply {
        None => Multipart::looking(boundary),
        Some(supply) => {
            let edits = vec![supply.edit(upload.clone(), supplied.clone())];
            Multipart::editing(boundary, edits).map_err(|_| Error::BodyBroken)?
        }
    };
    let form = form.wanting(&[VIDEO_ID]);
    Ok(if has_length { form } else { form.without_length() })
}

impl body::Edit for Watched {
    fn push(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Malformed> {
        let seen = self.counted.get().saturating_add(piece.len() as u64);
        self.counted.set(seen);
        if self.most.is_some_and(|most| seen > most) {
            return Err(self.stop(Error::UploadTooLarge));
        }
        // With its last byte the origin has it all.
        self.alive(self.declared == Some(seen))?;
        match &mut self.form {
            None => {
                out.push_back(piece);
                Ok(())
            }
            Some(form) => {
                let edited = form.push(piece, out);
                self.edited(edited)
            }
        }
    }

    fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Malformed> {
        self.alive(true)?;
        if let Some(form) = &mut self.form {
            let edited = form.finish(out);
            self.edited(edited)?;
        }
        Ok(())
    }

    fn length(&self, length: u64) -> Option<u64> {
        Some(length.saturating_add(self.growth()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.supplied.get() {
            self.state.metrics.uploads_video_ids.with_label_values(&[self.route.as_str()]).inc();
        }
    }
}
