//! Bodies of requests with credentials: short ones are kept, so that they can go out twice; forms are edited as they pass.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::head::Fields;
use crate::form::multipart::Multipart;
use crate::form::urlencoded::Urlencoded;
use crate::form::{self, Boundary};
use crate::proxy::Error;
use crate::proxy::body::{BodyError, Edit, Kept, Malformed, Received, RequestBody};
use crate::proxy::record::Shared;

/// Longest body that is kept for a second sending: what linkerd keeps for its retries.
const LONGEST: usize = 64 * 1024;

/// A caller's body, for one sending or two.
pub(super) struct Source {
    kind: Kind,
    record: Shared,
}

enum Kind {
    None,
    /// Whole, and short.
    Bytes(Bytes),
    /// Not begun.
    Stream(Box<RequestBody>, Option<Rc<Kept>>),
    /// On its way, or gone; what came of it is kept if it was short.
    Sent(Option<Rc<Kept>>),
}

impl Source {
    /// Takes the body. One whose length is known to be short is read whole if it may have to go twice (`may`).
    ///
    /// # Errors
    /// [`Error::BodyTimeout`] and [`Error::BodyBroken`].
    pub(super) async fn new(incoming: Received, head: &Parts, of: (Duration, &Shared), may: bool) -> Result<Self, Error> {
        let (silence, record) = (of.0, of.1.clone());
        if incoming.is_end_stream() {
            return Ok(Self { kind: Kind::None, record });
        }
        let length = incoming.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let body = RequestBody::new(incoming, silence, record.clone());
        // What a `GET` carries has no use, so nothing is held for it.
        let may = may && head.method != Method::GET;
        let kind = match length {
            Some(length) if may && length <= LONGEST => Kind::Bytes(read(body).await?),
            None if may => {
                let kept = Kept::new(LONGEST);
                Kind::Stream(Box::new(body.keeping(kept.clone())), Some(kept))
            }
            _ => Kind::Stream(Box::new(body), None),
        };
        Ok(Self { kind, record })
    }

    /// Whether it may turn out that it can be sent twice.
    pub(super) fn may_come_twice(&self) -> bool {
        !matches!(self.kind, Kind::Stream(_, None) | Kind::Sent(None))
    }

    /// Whether it can be sent (once more).
    pub(super) fn has_another(&mut self) -> bool {
        if let Kind::Sent(Some(kept)) = &self.kind {
            self.kind = kept.take().map_or(Kind::Sent(None), Kind::Bytes);
        }
        !matches!(self.kind, Kind::Sent(None))
    }

    /// The body to send, with `fields` in it.
    ///
    /// # Errors
    /// [`Error::FormExpected`] when it is of another media type, [`Error::BodyBroken`] when it is not of its own.
    pub(super) fn body(&mut self, head: &mut Parts, fields: Fields) -> Result<RequestBody, Error> {
        if !fields.is_empty() {
            return self.edited(head, fields);
        }
        let sent = Kind::Sent(match &self.kind {
            Kind::Stream(_, kept) => kept.clone(),
            _ => None,
        });
        Ok(match &self.kind {
            Kind::None => RequestBody::none(self.record.clone()),
            Kind::Bytes(bytes) => RequestBody::full(bytes.clone(), self.record.clone()),
            Kind::Stream(..) | Kind::Sent(_) => match std::mem::replace(&mut self.kind, sent) {
                Kind::Stream(body, _) => *body,
                _ => return Err(Error::Internal),
            },
        })
    }

    fn edited(&mut self, head: &mut Parts, fields: Fields) -> Result<RequestBody, Error> {
        if matches!(self.kind, Kind::None) {
            return self.made(head, &fields);
        }
        let known = matches!(&self.kind, Kind::Stream(body, _) if body.size_hint().exact().is_some());
        let mut edit = editor(head, fields, known)?;
        if let Kind::Bytes(bytes) = &self.kind {
            let mut out = VecDeque::new();
            let edited = edit.push(bytes.clone(), &mut out).and_then(|()| edit.finish(&mut out));
            edited.map_err(|Malformed| Error::BodyBroken)?;
            let whole: BytesMut = out.into_iter().flatten().collect();
            return Ok(RequestBody::full(whole.freeze(), self.record.clone()));
        }
        Ok(self.body(head, Fields::default())?.edited(edit))
    }

    /// A request without a body: one that is to change something gets a form, any other goes as it is.
    fn made(&self, head: &mut Parts, fields: &Fields) -> Result<RequestBody, Error> {
        let record = self.record.clone();
        if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(RequestBody::none(record));
        }
        if fields.form.is_empty() {
            return Err(Error::FormExpected);
        }
        let mut whole = String::new();
        for edit in &fields.form {
            if let form::Edit::Replace(field) | form::Edit::Append(field) | form::Edit::IfAbsent(field) = edit {
                crate::query::push(&mut whole, &field.name, field.value.expose());
            }
        }
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Ok(RequestBody::full(whole.into(), record))
    }
}

async fn read(body: RequestBody) -> Result<Bytes, Error> {
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(BodyError::Silent) => Err(Error::BodyTimeout),
        Err(BodyError::Slow) => Err(Error::UploadTooSlow),
        Err(BodyError::Broken(_) | BodyError::Malformed) => Err(Error::BodyBroken),
        Err(BodyError::SessionGone(gone)) => Err(Error::SessionGone(gone)),
    }
}

/// What edits a body of this head's media type.
fn editor(head: &Parts, fields: Fields, known_length: bool) -> Result<Box<dyn Edit>, Error> {
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let (kind, None) = (types.next().and_then(|kind| kind.to_str().ok()).unwrap_or(""), types.next()) else {
        return Err(Error::FormExpected);
    };
    // An origin that undoes an encoding would see other fields than the editor.
    let encoded = head.headers.contains_key(http::header::CONTENT_ENCODING);
    let plain = kind.split(';').next().unwrap_or("").trim();
    if encoded {
        return Err(Error::FormExpected);
    }
    if !fields.form.is_empty() && plain.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let edit = Urlencoded::editing(fields.form);
        return Ok(Box::new(Form::Urlencoded(if known_length { edit } else { edit.without_length() })));
    }
    let boundary = Boundary::of(kind).filter(|_| !fields.multipart.is_empty()).ok_or(Error::FormExpected)?;
    let boundary = boundary.map_err(|_| Error::BodyBroken)?;
    let edit = Multipart::editing(&boundary, fields.multipart).map_err(|_| Error::BodyBroken)?;
    Ok(Box::new(Form::Multipart(if known_length { edit } else { edit.without_length() })))
}

/// A form of either kind.
#[allow(clippy::large_enum_variant, reason = "one stands behind each pointer to an edit")]
enum Form {
    Urlencoded(Urlencoded),
    Multipart(Multipart),
}

impl Edit for Form {
    fn push(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Malformed> {
        told(match self {
            Self::Urlencoded(form) => form.push(piece, out),
            Self::Multipart(form) => form.push(piece, out),
        })
    }

    fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Malformed> {
        told(match self {
            Self::Urlencoded(form) => form.finish(out),
            Self::Multipart(form) => form.finish(out),
        })
    }

    fn length(&self, length: u64) -> Option<u64> {
        length.checked_add(match self {
            Self::Urlencoded(form) => form.growth(),
            Self::Multipart(form) => form.growth(),
        })
    }
}

fn told(edited: Result<(), form::Fault>) -> Result<(), Malformed> {
    edited.map_err(|fault| {
        tracing::debug!(%fault, "a form cannot be edited");
        Malformed
    })
}
