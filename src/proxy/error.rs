//! Every way a request can end here, and what the caller sees of it.
//!
//! One word per way to end: [`Error::code`] is the problem body, the log field, the metric label
//! and the README row. The map to the wire is complete: a new reason does not compile until
//! someone has decided its status and title.

use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRAILER, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::Body;
use crate::path::PathFault;
use crate::session::fleet::EntryFault;
use crate::session::ticket::TicketFault;
use crate::session::{End, Gone, Limit, RefusalStatus};
use crate::token::carrier::field_value;
use crate::token::{Answer, Denial};
use crate::verifier::Refusal;

/// Why the walk stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The path has more than one reading.
    BadPath(PathFault),
    /// The query holds bytes that may not stand raw in one.
    BadQuery,
    /// No host, several, or two that differ.
    BadHost,
    /// The head breaks a framing or syntax rule; the word is for the log.
    BadHead(&'static str),
    /// The request target is too long.
    UriTooLong,
    /// The head is too long, or has too many fields.
    HeadTooLarge,
    /// `CONNECT`, `TRACE` and targets without a path are not proxied.
    NotProxied,
    /// No route serves this host and path.
    NoRoute,
    /// The route serves other methods.
    MethodNotAllowed(HeaderValue),
    /// Path parameters where the route has none.
    PathParameters,
    /// The token was refused.
    Denied(Denial),
    /// The token was refused, and has a word of its own on what is answered then.
    Answered(Denial, Box<Answer>),
    /// The ticket is not one of ours, or not for this place.
    TicketInvalid,
    /// The ticket's time is over.
    TicketExpired,
    /// There is no place for this viewing; the status is the route's choice.
    SessionRefused(Limit, StatusCode),
    /// The ticket's session cannot go on.
    SessionGone(Gone),
    /// The shared session store does not answer, and the route admits nobody without it.
    StoreAway,
    /// The store of the shared ledger does not answer, and what it holds is not remembered here.
    LedgerAway,
    /// The origin's playlist cannot be read, so no ticket can be put on it.
    PlaylistBroken,
    /// The upload has more bytes than it may have.
    UploadTooLarge,
    /// Files of this type may not be uploaded here.
    UploadType,
    /// The upload comes more slowly than it must.
    UploadTooSlow,
    /// A later part came before the first one was answered.
    UploadPending,
    /// The upload is known and cannot go on right now. Clients of tus take nothing else for a reason to wait.
    UploadLocked,
    /// Several uploads could be meant, or none of those that are under way.
    UploadUnclear,
    /// The upload is somebody else's.
    UploadForeign,
    /// Not an upload of the kind that the provider's address takes.
    UploadKind,
    /// The provider takes this upload by one value only, and that has ended or is refused.
    UploadCredentialEnded,
    /// There is no credential for the origin that may be used; after this time there may be.
    CredentialUnavailable(Duration),
    /// The path, or what came with it, is nothing that the origin's scheme can put a signature on.
    Unsignable,
    /// The origin's answer shows what callers must not see, and cannot be changed.
    AnswerWithheld,
    /// The route puts its credential into a form, and the request has none.
    FormExpected,
    /// The address is under a ticket that is not ours, or not for this place or caller.
    MappingInvalid,
    /// The address was given out, and its time is over.
    MappingExpired,
    /// This caller has presented too many bad tokens lately.
    Slowed(Duration),
    /// The origin has as many requests in flight as it may.
    OriginBusy,
    /// No endpoint could be reached.
    OriginUnreachable,
    /// The origin did not answer in time.
    OriginTimeout,
    /// The origin's answer was not HTTP, or broke off before its head.
    OriginBroken,
    /// The caller stopped sending its body.
    BodyTimeout,
    /// The caller's body broke the framing rules or broke off.
    BodyBroken,
    /// A fault of our own.
    Internal,
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadPath(_) => "bad_path",
            Self::BadQuery => "bad_query",
            Self::BadHost => "bad_host",
            Self::BadHead(_) => "bad_head",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::NotProxied => "not_proxied",
            Self::NoRoute => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::PathParameters => "path_parameters",
            Self::Denied(denial) | Self::Answered(denial, _) => denial.code(),
            Self::TicketInvalid => "ticket_invalid",
            Self::TicketExpired => "ticket_expired",
            Self::SessionRefused(limit, _) => limit_code(*limit),
            Self::SessionGone(gone) => gone_code(*gone),
            Self::StoreAway => "session_store_away",
            Self::LedgerAway => "ledger_away",
            Self::PlaylistBroken => "playlist_broken",
            Self::UploadTooLarge => "upload_too_large",
            Self::UploadType => "upload_type",
            Self::UploadTooSlow => "upload_too_slow",
            Self::UploadPending => "upload_pending",
            Self::UploadLocked => "upload_locked",
            Self::UploadUnclear => "upload_unclear",
            Self::UploadForeign => "upload_foreign",
            Self::UploadKind => "upload_kind",
            Self::UploadCredentialEnded => "upload_credential_ended",
            Self::CredentialUnavailable(_) => "credential_unavailable",
            Self::Unsignable => "path_unsignable",
            Self::AnswerWithheld => "answer_withheld",
            Self::FormExpected => "form_expected",
            Self::MappingInvalid => "address_invalid",
            Self::MappingExpired => "address_expired",
            Self::Slowed(_) => "too_many_refusals",
            Self::OriginBusy => "origin_busy",
            Self::OriginUnreachable => "origin_unreachable",
            Self::OriginTimeout => "origin_timeout",
            Self::OriginBroken => "origin_broken",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Internal => "internal",
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadPath(_) | Self::BadQuery | Self::BadHost | Self::BadHead(_) => StatusCode::BAD_REQUEST,
            Self::PathParameters | Self::Unsignable | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotProxied => StatusCode::NOT_IMPLEMENTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied(denial) => denial_status(*denial),
            Self::Answered(_, answer) => answer.status,
            Self::TicketInvalid => StatusCode::UNAUTHORIZED,
            Self::TicketExpired | Self::SessionGone(_) => StatusCode::FORBIDDEN,
            // Our own limit, not the viewer's.
            Self::SessionRefused(Limit::Ceiling, _) => StatusCode::SERVICE_UNAVAILABLE,
            Self::SessionRefused(_, status) => *status,
            Self::StoreAway | Self::LedgerAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::UploadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UploadType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UploadTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UploadPending => StatusCode::SERVICE_UNAVAILABLE,
            Self::UploadLocked => StatusCode::LOCKED,
            Self::UploadUnclear => StatusCode::CONFLICT,
            Self::UploadForeign => StatusCode::FORBIDDEN,
            Self::UploadKind => StatusCode::BAD_REQUEST,
            Self::UploadCredentialEnded => StatusCode::GONE,
            Self::PlaylistBroken | Self::AnswerWithheld => StatusCode::BAD_GATEWAY,
            Self::CredentialUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::FormExpected => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // tus 1.0.0: a client that is told 404 or 410 begins its upload anew.
            Self::MappingInvalid => StatusCode::NOT_FOUND,
            Self::MappingExpired => StatusCode::GONE,
            Self::Slowed(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::OriginBusy => StatusCode::SERVICE_UNAVAILABLE,
            Self::OriginUnreachable | Self::OriginBroken => StatusCode::BAD_GATEWAY,
            Self::OriginTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The title: one fixed sentence per code.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::BadPath(_) => "The path is ambiguous",
            Self::BadQuery => "The query is malformed",
            Self::BadHost => "The request must name exactly one host",
            Self::BadHead(_) => "The request head is malformed",
            Self::UriTooLong => "The request target is too long",
            Self::HeadTooLarge => "The request head is too large",
            Self::NotProxied => "This kind of request is not proxied",
            Self::NoRoute => "No route serves this host and path",
            Self::MethodNotAllowed(_) => "The method is not allowed here",
            Self::PathParameters => "Path parameters are not allowed here",
            Self::Denied(denial) | Self::Answered(denial, _) => denial_title(*denial),
            Self::TicketInvalid => "The session's ticket is not valid here",
            Self::TicketExpired => "The session's ticket has expired",
            Self::SessionRefused(limit, _) => limit_title(*limit),
            Self::SessionGone(gone) => gone_title(*gone),
            Self::StoreAway => "Sessions and uses cannot be counted right now",
            Self::LedgerAway => "Tokens that were issued here cannot be looked up right now",
            Self::PlaylistBroken => "The origin's playlist could not be read",
            Self::UploadTooLarge => "The upload is larger than allowed",
            Self::UploadType => "Files of this type may not be uploaded here",
            Self::UploadTooSlow => "The upload comes too slowly",
            Self::UploadPending => "The first part of the upload has not been answered yet",
            Self::UploadLocked => "The upload cannot go on right now; try again",
            Self::UploadUnclear => "It is not clear which upload this part belongs to",
            Self::UploadForeign => "The upload belongs to somebody else",
            Self::UploadKind => "Uploads are not taken in this way here",
            Self::UploadCredentialEnded => "What the provider gave for this upload has ended; begin it anew",
            Self::CredentialUnavailable(_) => "The gateway has no credential for the origin right now",
            Self::Unsignable => "This path cannot be signed for the origin",
            Self::AnswerWithheld => "The origin's answer cannot be shown",
            Self::FormExpected => "The request needs a form as its body",
            Self::MappingInvalid => "This address was not given out for this request",
            Self::MappingExpired => "This address has expired",
            Self::Slowed(_) => "Too many refused tokens; slow down",
            Self::OriginBusy => "The origin is busy",
            Self::OriginUnreachable => "The origin cannot be reached",
            Self::OriginTimeout => "The origin did not answer in time",
            Self::OriginBroken => "The origin's answer could not be used",
            Self::BodyTimeout => "The request body stopped coming",
            Self::BodyBroken => "The request body is malformed",
            Self::Internal => "Something went wrong in the gateway",
        }
    }

    /// What the log says beyond the code.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::BadPath(fault) => Some(fault.to_string()),
            Self::BadHead(word) => Some((*word).to_owned()),
            Self::Denied(denial) | Self::Answered(denial, _) => Some(denial.reason().to_owned()),
            _ => None,
        }
    }

    /// Whether the connection must not be used again, because its framing is in doubt.
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(self, Self::BadHead(_) | Self::HeadTooLarge | Self::BodyTimeout | Self::BodyBroken | Self::NotProxied)
            || matches!(self, Self::UploadTooLarge | Self::UploadType | Self::UploadTooSlow | Self::UploadUnclear | Self::UploadForeign)
    }

    /// The answer: RFC 9457 problem details, never cached. CORS headers are added by the door.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<Body> {
        let status = self.status();
        let body = serde_json::json!({
            "type": format!("urn:tollgate:problem:{}", self.code()),
            "title": self.title(),
            "status": status.as_u16(),
            "code": self.code(),
            "request_id": request_id,
        });
        let mut response = Response::new(Body::full(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            // RFC 6750 §3: a request without any credential gets no error code.
            Self::Denied(Denial::Missing) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Denied(_) if status == StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            Self::Answered(_, answer) => add_answer(headers, *answer),
            Self::MethodNotAllowed(allow) => {
                headers.insert(ALLOW, allow);
            }
            Self::Slowed(wait) | Self::CredentialUnavailable(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            Self::OriginBusy
            | Self::StoreAway
            | Self::LedgerAway
            | Self::UploadPending
            | Self::UploadLocked
            | Self::SessionRefused(Limit::Ceiling, _) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1_u64));
            }
            _ => {}
        }
        response
    }
}

/// The fields that a token's own answer asks for (CTA-5007 `catif`). What frames the answer, says how it may be kept or
/// belongs to the connection stays ours.
fn add_answer(headers: &mut HeaderMap, answer: Answer) {
    const OURS: [HeaderName; 8] =
        [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING, CACHE_CONTROL, CONNECTION, UPGRADE, TRAILER];
    for (name, value) in answer.headers {
        // One that holds a token is kept out of debug output.
        if let (false, Ok(value)) = (OURS.contains(&name), field_value(&value)) {
            headers.append(name, value);
        }
    }
}

const fn limit_code(limit: Limit) -> &'static str {
    match limit {
        Limit::ConcurrentToken => "session_concurrent_token",
        Limit::ConcurrentSubject => "session_concurrent_subject",
        Limit::ConcurrentDevice => "session_concurrent_device",
        Limit::ConcurrentAsset => "session_concurrent_asset",
        Limit::TotalToken => "session_total_token",
        Limit::Networks => "session_networks",
        Limit::Duration => "session_duration",
        Limit::Bytes => "session_bytes",
        Limit::Ceiling => "session_ceiling",
    }
}

const fn limit_title(limit: Limit) -> &'static str {
    match limit {
        Limit::ConcurrentToken => "This token is being used as often as it may be at the same time",
        Limit::ConcurrentSubject => "This viewer is watching as often as allowed at the same time",
        Limit::ConcurrentDevice => "This device is watching as often as allowed at the same time",
        Limit::ConcurrentAsset => "This asset has as many viewers as allowed at the same time",
        Limit::TotalToken => "This token has been used as often as it may be",
        Limit::Networks => "This token is being used from too many networks",
        Limit::Duration => "The session's time is over",
        Limit::Bytes => "The session has had all its bytes",
        Limit::Ceiling => "The gateway has no room for more sessions",
    }
}

const fn gone_code(gone: Gone) -> &'static str {
    match gone {
        Gone::Unknown => "session_unknown",
        Gone::Ended(End::Idle) => "session_idle",
        Gone::Ended(End::Evicted) => "session_evicted",
        Gone::Ended(End::Duration) => "session_duration",
        Gone::Ended(End::Revoked) => "session_revoked",
        Gone::Ended(End::Replaced) => "session_replaced",
        Gone::Ended(End::Closed) => "session_closed",
        Gone::Bytes => "session_bytes",
    }
}

const fn gone_title(gone: Gone) -> &'static str {
    match gone {
        Gone::Unknown => "The session is not known; open the video again",
        Gone::Ended(End::Idle) => "The session ended by silence",
        Gone::Ended(End::Evicted) => "Another viewer took the session's place",
        Gone::Ended(End::Duration) => limit_title(Limit::Duration),
        Gone::Ended(End::Revoked) => "The session's token has been revoked",
        Gone::Ended(End::Replaced) => "The same device has opened another session",
        Gone::Ended(End::Closed) => "The session has been ended",
        Gone::Bytes => limit_title(Limit::Bytes),
    }
}

const fn denial_status(denial: Denial) -> StatusCode {
    match denial {
        Denial::Duplicate => StatusCode::BAD_REQUEST,
        Denial::Missing
        | Denial::Ambiguous
        | Denial::TooLarge
        | Denial::Malformed
        | Denial::UnknownKey
        | Denial::WrongAlgorithm
        | Denial::BadSignature
        | Denial::NotIssued
        | Denial::Unsupported => StatusCode::UNAUTHORIZED,
        // 403 rather than 401: players take it as final for this URL and fall over to another one.
        Denial::Expired
        | Denial::NotYetValid
        | Denial::NoExpiry
        | Denial::Lifetime
        | Denial::Issuer
        | Denial::Audience
        | Denial::Claim
        | Denial::Path
        | Denial::Host
        | Denial::Address
        | Denial::Country
        | Denial::Method
        | Denial::Referrer
        | Denial::UserAgent
        | Denial::Header
        | Denial::Protocol
        | Denial::Entitlement
        | Denial::Parameters
        | Denial::Revoked
        | Denial::Replayed => StatusCode::FORBIDDEN,
    }
}

const fn denial_title(denial: Denial) -> &'static str {
    match denial {
        Denial::Missing => "A token is required",
        Denial::Duplicate => "The token came more than once",
        Denial::Ambiguous => "Several tokens that do not agree",
        Denial::TooLarge
        | Denial::Malformed
        | Denial::UnknownKey
        | Denial::WrongAlgorithm
        | Denial::BadSignature
        | Denial::NotIssued
        | Denial::Unsupported => "The token is not valid",
        Denial::Expired => "The token has expired",
        Denial::NotYetValid => "The token is not valid yet",
        Denial::NoExpiry => "The token has no expiry",
        Denial::Lifetime => "The token lives too long",
        Denial::Issuer => "The token is from another issuer",
        Denial::Audience => "The token is for another audience",
        Denial::Claim => "The token lacks a claim, or has one of the wrong type",
        Denial::Path => "The token is for another path",
        Denial::Host => "The token is for another host",
        Denial::Address => "The token is for another address",
        Denial::Country => "The token is not for this country",
        Denial::Method => "The token is for another method",
        Denial::Referrer => "The token is for another page",
        Denial::UserAgent => "The token is for another user agent",
        Denial::Header => "The token is for other request headers",
        Denial::Protocol => "The token is for another protocol",
        Denial::Entitlement => "The token does not allow this",
        Denial::Parameters => "Parameters beside the token must be inside it",
        Denial::Revoked => "The token has been revoked",
        Denial::Replayed => "The token has been used",
    }
}

/// Every code with its status and title, for the README's table and the tests that keep it true.
#[must_use]
pub fn catalogue() -> Vec<(&'static str, u16, &'static str)> {
    let mut rows: Vec<_> = Error::samples().iter().map(|e| (e.code(), e.status().as_u16(), e.title())).collect();
    rows.extend(
        Limit::ALL
            .iter()
            .map(|limit| Error::SessionRefused(*limit, StatusCode::FORBIDDEN))
            .map(|e| (e.code(), e.status().as_u16(), e.title())),
    );
    let gone = End::ALL.into_iter().map(Gone::Ended).chain([Gone::Unknown, Gone::Bytes]).map(Error::SessionGone);
    rows.extend(gone.map(|e| (e.code(), e.status().as_u16(), e.title())));
    rows.extend(Denial::ALL.iter().map(|d| (d.code(), denial_status(*d).as_u16(), denial_title(*d))));
    let mut seen = std::collections::HashSet::new();
    rows.retain(|(code, _, _)| seen.insert(*code));
    rows
}

impl Error {
    fn samples() -> Vec<Self> {
        vec![
            Self::BadPath(PathFault::DotSegment),
            Self::BadQuery,
            Self::BadHost,
            Self::BadHead(""),
            Self::UriTooLong,
            Self::HeadTooLarge,
            Self::NotProxied,
            Self::NoRoute,
            Self::MethodNotAllowed(HeaderValue::from_static("GET")),
            Self::PathParameters,
            Self::TicketInvalid,
            Self::TicketExpired,
            Self::StoreAway,
            Self::LedgerAway,
            Self::PlaylistBroken,
            Self::UploadTooLarge,
            Self::UploadType,
            Self::UploadTooSlow,
            Self::UploadPending,
            Self::UploadLocked,
            Self::UploadUnclear,
            Self::UploadForeign,
            Self::UploadKind,
            Self::UploadCredentialEnded,
            Self::CredentialUnavailable(Duration::ZERO),
            Self::Unsignable,
            Self::AnswerWithheld,
            Self::FormExpected,
            Self::MappingInvalid,
            Self::MappingExpired,
            Self::Slowed(Duration::ZERO),
            Self::OriginBusy,
            Self::OriginUnreachable,
            Self::OriginTimeout,
            Self::OriginBroken,
            Self::BodyTimeout,
            Self::BodyBroken,
            Self::Internal,
        ]
    }
}

impl Error {
    /// The refusal of a session on `route`, with the status that the route's config chose.
    #[must_use]
    pub fn session(limit: Limit, route: &super::Route) -> Self {
        let status = route.session.as_ref().map_or(StatusCode::FORBIDDEN, |session| refusal_status(session.config.refusal_status));
        Self::SessionRefused(limit, status)
    }
}

const fn refusal_status(status: RefusalStatus) -> StatusCode {
    match status {
        RefusalStatus::Forbidden => StatusCode::FORBIDDEN,
        RefusalStatus::TooMany => StatusCode::TOO_MANY_REQUESTS,
    }
}

impl Error {
    /// Why a fleet gave no session on `route`.
    #[must_use]
    pub fn entry(fault: &EntryFault, route: &super::Route) -> Self {
        match fault {
            EntryFault::Refused(refusal) => Self::session(refusal.limit, route),
            EntryFault::Gone(gone) => Self::SessionGone(*gone),
            EntryFault::Away(_) => Self::StoreAway,
        }
    }
}

impl From<TicketFault> for Error {
    fn from(fault: TicketFault) -> Self {
        match fault {
            TicketFault::Expired => Self::TicketExpired,
            _ => Self::TicketInvalid,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.answer {
            Some(answer) => Self::Answered(refusal.denial, answer),
            None => Self::Denied(refusal.denial),
        }
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<PathFault> for Error {
    fn from(fault: PathFault) -> Self {
        Self::BadPath(fault)
    }
}
