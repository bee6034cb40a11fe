//! A second look at every HTTP/1 request head, before hyper's.
//!
//! hyper repairs some things in silence that must be refused: a `Content-Length` beside a
//! `Transfer-Encoding` disappears, bare line feeds end lines, a fragment is cut off the target. This
//! scan watches the bytes of a connection go by, follows the framing far enough to know where each
//! head begins, and says what is wrong with it. It changes nothing; the door refuses a request that
//! it has found fault with. Pure: bytes in, faults out.

use std::collections::VecDeque;

/// What is wrong with a head (RFC 9112 unless said otherwise).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// A line that ends in LF alone (§2.2), or holds a CR elsewhere.
    LineEnd,
    /// Not `method target HTTP/1.x` with single spaces (§3).
    RequestLine,
    /// A target with a fragment or bytes that are not visible ASCII (§3.2).
    Target,
    /// A name that is not a token, or a space before the colon (§5.1).
    FieldName,
    /// A value with control characters (RFC 9110 §5.5).
    FieldValue,
    /// A field folded over several lines (§5.2).
    Folded,
    /// Both lengths (§6.1).
    TwoLengths,
    /// `Content-Length` more than once, or not digits (RFC 9110 §8.6).
    ContentLength,
    /// Anything but one `chunked`, or any in HTTP/1.0 (§6.1).
    TransferEncoding,
    /// `Host` not exactly once (§3.2).
    Host,
    /// More bytes than allowed.
    TooLarge,
    /// More fields than allowed.
    TooMany,
}

impl HeadFault {
    /// One word for the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LineEnd => "line_end",
            Self::RequestLine => "request_line",
            Self::Target => "target",
            Self::FieldName => "field_name",
            Self::FieldValue => "field_value",
            Self::Folded => "folded",
            Self::TwoLengths => "two_lengths",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::Host => "host",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
        }
    }
}

/// The scan of one connection.
#[derive(Debug)]
pub struct Scan {
    state: State,
    head: Head,
    /// A line that came in pieces.
    line: Vec<u8>,
    max_head: usize,
    max_headers: usize,
    heads: u64,
    faults: VecDeque<(u64, HeadFault)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Lines of a head.
    Head,
    /// So many body bytes to come.
    Length(u64),
    /// A chunk-size line.
    ChunkSize,
    /// So many chunk bytes, its line end among them.
    Chunk(u64),
    /// Lines after the last chunk.
    Trailers,
    /// Framing is in doubt: nothing after this can be told.
    Lost,
}

#[derive(Debug, Default, Clone, Copy)]
struct Head {
    bytes: usize,
    fields: usize,
    begun: bool,
    old: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    fault: Option<HeadFault>,
}

impl Scan {
    /// A scan of a fresh connection.
    #[must_use]
    pub fn new(max_head: usize, max_headers: usize) -> Self {
        Self { state: State::Head, head: Head::default(), line: Vec::new(), max_head, max_headers, heads: 0, faults: VecDeque::new() }
    }

    /// Whether the caller is, for all that can be told, still sending a request.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.state != State::Head || self.head.begun || !self.line.is_empty()
    }

    /// The fault of head number `number`, counted from 0, if it has one. Numbers only grow.
    pub fn fault_of(&mut self, number: u64) -> Option<HeadFault> {
        while self.faults.front().is_some_and(|(at, _)| *at < number) {
            self.faults.pop_front();
        }
        self.faults.front().filter(|(at, _)| *at == number).map(|(_, fault)| *fault)
    }

    /// Looks at the next bytes of the connection.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Lost => return,
                State::Length(left) => self.pass(bytes, left, State::Length),
                State::Chunk(left) => self.pass(bytes, left, State::Chunk),
                State::Head | State::ChunkSize | State::Trailers => self.feed_line(bytes),
            };
        }
    }

    fn pass<'b>(&mut self, bytes: &'b [u8], left: u64, more: fn(u64) -> State) -> &'b [u8] {
        let take = left.min(bytes.len() as u64);
        #[allow(clippy::cast_possible_truncation, reason = "at most the slice's length")]
        let rest = &bytes[take as usize..];
        let done = if matches!(more(0), State::Chunk(_)) { State::ChunkSize } else { State::Head };
        self.state = if take == left { done } else { more(left - take) };
        rest
    }

    fn feed_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            self.check_size(self.line.len());
            return &[];
        };
        let (piece, rest) = bytes.split_at(end + 1);
        if self.line.is_empty() {
            self.take_line(piece);
        } else {
            self.line.extend_from_slice(piece);
            let line = std::mem::take(&mut self.line);
            self.take_line(&line);
            self.line = line;
            self.line.clear();
        }
        rest
    }

    fn check_size(&mut self, pending: usize) {
        if self.head.bytes + pending > self.max_head {
            if self.state == State::Head {
                self.fault(HeadFault::TooLarge);
                self.end_head();
            }
            self.state = State::Lost;
            self.line = Vec::new();
        }
    }

    fn fault(&mut self, fault: HeadFault) {
        self.head.fault.get_or_insert(fault);
    }

    fn take_line(&mut self, line: &[u8]) {
        self.head.bytes += line.len();
        self.check_size(0);
        if self.state == State::Lost {
            return;
        }
        let text = match line.strip_suffix(b"\r\n") {
            Some(text) => text,
            None => {
                self.fault(HeadFault::LineEnd);
                &line[..line.len() - 1]
            }
        };
        if text.contains(&b'\r') {
            self.fault(HeadFault::LineEnd);
        }
        match self.state {
            State::ChunkSize => self.chunk_size(text),
            State::Trailers if text.is_empty() => self.next_head(),
            State::Trailers | State::Length(_) | State::Chunk(_) | State::Lost => {}
            State::Head => self.head_line(text),
        }
    }

    fn head_line(&mut self, text: &[u8]) {
        match (self.head.begun, text.is_empty()) {
            // §2.2: an empty line before a request is to be let be.
            (false, true) => self.head.bytes = 0,
            (false, false) => {
                self.head.begun = true;
                self.request_line(text);
            }
            (true, true) => self.end_head(),
            (true, false) => self.field(text),
        }
    }

    fn request_line(&mut self, text: &[u8]) {
        let mut parts = text.split(|byte| *byte == b' ');
        let (method, target, version) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
        if parts.next().is_some() || method.is_empty() || !method.iter().all(|b| is_token(*b)) {
            self.fault(HeadFault::RequestLine);
        }
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.head.old = true,
            _ => self.fault(HeadFault::RequestLine),
        }
        if target.is_empty() || !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
            self.fault(HeadFault::Target);
        }
    }

    fn field(&mut self, text: &[u8]) {
        self.head.fields += 1;
        if self.head.fields > self.max_headers {
            self.fault(HeadFault::TooMany);
        }
        if matches!(text[0], b' ' | b'\t') {
            return self.fault(HeadFault::Folded);
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':') else { return self.fault(HeadFault::FieldName) };
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return self.fault(HeadFault::FieldName);
        }
        if value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
            self.fault(HeadFault::FieldValue);
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            self.head.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value);
        }
    }

    fn content_length(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
        match number {
            Some(length) if self.head.length.is_none() => self.head.length = Some(length),
            _ => self.fault(HeadFault::ContentLength),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) {
        if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            self.fault(HeadFault::TransferEncoding);
        }
        self.head.chunked = true;
    }

    fn end_head(&mut self) {
        let head = self.head;
        if head.chunked && head.length.is_some() {
            self.fault(HeadFault::TwoLengths);
        }
        if head.chunked && head.old {
            self.fault(HeadFault::TransferEncoding);
        }
        if head.hosts != 1 {
            self.fault(HeadFault::Host);
        }
        if let Some(fault) = self.head.fault {
            self.faults.push_back((self.heads, fault));
        }
        self.heads += 1;
        let doubtful = self.head.fault.is_some_and(|fault| fault != HeadFault::Host);
        self.state = match (doubtful, head.chunked, head.length) {
            // The connection ends with the answer to this request, so nothing after it matters.
            (true, _, _) => State::Lost,
            (false, true, _) => State::ChunkSize,
            (false, false, Some(length)) if length > 0 => State::Length(length),
            (false, false, _) => State::Head,
        };
        self.head = Head::default();
    }

    fn next_head(&mut self) {
        self.head = Head::default();
        self.state = State::Head;
    }

    /// A chunk's size, and whatever extension follows it. hyper refuses what is malformed; here it
    /// only means that nothing more can be told.
    fn chunk_size(&mut self, text: &[u8]) {
        self.head.bytes = 0;
        let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&text[..digits]).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        self.state = match size {
            None => State::Lost,
            Some(0) => State::Trailers,
            Some(size) => size.checked_add(2).map_or(State::Lost, State::Chunk),
        };
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faults(text: &str) -> Vec<Option<HeadFault>> {
        let mut scan = Scan::new(1024, 8);
        scan.feed(text.as_bytes());
        (0..scan.heads).map(|number| scan.fault_of(number)).collect()
    }

    #[test]
    fn good_heads_have_no_fault() {
        let two = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nhost:a\r\n\r\n";
        assert_eq!(faults(two), [None, None, None]);
        let chunked = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: 1\r\n\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(faults(chunked), [None, None]);
    }

    #[test]
    fn bad_heads_are_named() {
        use HeadFault::{
            ContentLength, FieldName, FieldValue, Folded, Host, LineEnd, RequestLine, Target, TooLarge, TooMany, TransferEncoding,
            TwoLengths,
        };
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1100));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(8));
        for (text, fault) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", LineEnd),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", LineEnd),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", RequestLine),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", FieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", FieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", FieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: \u{1}\r\n\r\n", FieldValue),
            ("GET / HTTP/1.1\r\nHost: a\r\nx: a\r\n b\r\n\r\n", Folded),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", TwoLengths),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", TwoLengths),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", ContentLength),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", ContentLength),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", ContentLength),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", TransferEncoding),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
            ("GET / HTTP/1.1\r\n\r\n", Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
            (long.as_str(), TooLarge),
            (many.as_str(), TooMany),
        ] {
            assert_eq!(faults(text).first(), Some(&Some(fault)), "{text:?}");
        }
    }

    #[test]
    fn a_request_is_unfinished_until_its_last_byte() {
        for text in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"] {
            let mut scan = Scan::new(1024, 8);
            assert!(!scan.is_unfinished());
            let (last, before) = text.as_bytes().split_last().expect("text");
            before.iter().for_each(|byte| {
                scan.feed(&[*byte]);
                assert!(scan.is_unfinished());
            });
            scan.feed(&[*last]);
            assert!(!scan.is_unfinished());
        }
    }

    proptest! {
        #[test]
        fn it_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            Scan::new(256, 8).feed(&bytes);
        }

        #[test]
        fn how_bytes_are_cut_changes_nothing(cut in 1_usize..40) {
            let text = b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut scan = Scan::new(1024, 8);
            text.chunks(cut).for_each(|piece| scan.feed(piece));
            prop_assert_eq!(scan.heads, 2);
            prop_assert_eq!((scan.fault_of(0), scan.fault_of(1)), (None, Some(HeadFault::TwoLengths)));
        }
    }
}
