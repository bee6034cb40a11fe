//! Editing in place: what is not replaced is copied byte for byte.
//!
//! [`Expanded`] stands between a text as written (with `&amp;` or `{$name}`) and as meant, so that
//! a change of the meaning touches as few written bytes as it can.

use std::borrow::Cow;
use std::ops::Range;

use super::ManifestFault;

/// Collects replacements, in order, over `source`.
pub(super) struct Editor<'s> {
    source: &'s [u8],
    out: Vec<u8>,
    copied: usize,
    limit: usize,
    edits: usize,
}

impl<'s> Editor<'s> {
    pub(super) fn new(source: &'s [u8], limit: usize) -> Self {
        Self { source, out: Vec::new(), copied: 0, limit, edits: 0 }
    }

    /// Replaces `range`, which begins at or after the end of the one before.
    ///
    /// # Errors
    /// [`ManifestFault::TooLarge`] when the result grows past the limit.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str) -> Result<(), ManifestFault> {
        debug_assert!(self.copied <= range.start && range.start <= range.end && range.end <= self.source.len());
        if self.out.capacity() == 0 {
            self.out.reserve(self.source.len() + self.source.len() / 2);
        }
        self.out.extend_from_slice(&self.source[self.copied..range.start]);
        self.out.extend_from_slice(with.as_bytes());
        self.copied = range.end;
        self.edits += 1;
        if self.out.len() > self.limit { Err(ManifestFault::TooLarge) } else { Ok(()) }
    }

    /// The edited bytes and how many edits there were; the source itself when there were none.
    ///
    /// # Errors
    /// [`ManifestFault::TooLarge`] when the result is past the limit.
    pub(super) fn finish(mut self) -> Result<(Cow<'s, [u8]>, usize), ManifestFault> {
        if self.edits == 0 {
            return Ok((Cow::Borrowed(self.source), 0));
        }
        self.out.extend_from_slice(&self.source[self.copied..]);
        if self.out.len() > self.limit { Err(ManifestFault::TooLarge) } else { Ok((Cow::Owned(self.out), self.edits)) }
    }
}

/// A text as meant, and which part of it came from which written bytes.
#[derive(Debug)]
pub(super) struct Expanded<'t> {
    text: Cow<'t, str>,
    /// Empty when the text stands as written.
    pieces: Vec<Piece>,
    written: usize,
}

#[derive(Debug)]
struct Piece {
    meant: Range<usize>,
    written: Range<usize>,
    literal: bool,
}

impl<'t> Expanded<'t> {
    /// A text that means what it says.
    pub(super) fn plain(text: &'t str) -> Self {
        Self { text: Cow::Borrowed(text), pieces: Vec::new(), written: text.len() }
    }

    /// A text with pieces to come.
    pub(super) fn pieces() -> Self {
        Self { text: Cow::Owned(String::new()), pieces: Vec::new(), written: 0 }
    }

    /// Adds bytes that mean themselves.
    pub(super) fn push_literal(&mut self, text: &str) {
        self.push(text, text.len(), true);
    }

    /// Adds `written` bytes that mean `text`.
    pub(super) fn push_meaning(&mut self, text: &str, written: usize) {
        self.push(text, written, false);
    }

    fn push(&mut self, text: &str, written: usize, literal: bool) {
        if written == 0 {
            return;
        }
        let start = self.text.len();
        self.text.to_mut().push_str(text);
        self.pieces.push(Piece { meant: start..self.text.len(), written: self.written..self.written + written, literal });
        self.written += written;
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The smallest edit of the written bytes that makes them mean `mapped`: their range, and what to write there.
    pub(super) fn edit<'m>(&self, mapped: &'m str) -> (Range<usize>, &'m str) {
        let (same_start, same_end) = common(&self.text, mapped);
        let insert = &mapped[same_start..mapped.len() - same_end];
        match (self.written_at(same_start), self.written_at(self.text.len() - same_end)) {
            (Some(start), Some(end)) if start <= end => (start..end, insert),
            _ => (0..self.written, mapped),
        }
    }

    fn written_at(&self, at: usize) -> Option<usize> {
        if self.pieces.is_empty() {
            return Some(at);
        }
        self.pieces.iter().find_map(|piece| match at {
            at if piece.literal && piece.meant.start <= at && at <= piece.meant.end => Some(piece.written.start + at - piece.meant.start),
            at if at == piece.meant.start => Some(piece.written.start),
            at if at == piece.meant.end => Some(piece.written.end),
            _ => None,
        })
    }
}

/// How many bytes are the same at the start and at the end, on character boundaries and without overlap.
fn common(a: &str, b: &str) -> (usize, usize) {
    // A link mostly grows at its end: comparing it whole first is what memcmp is quick at.
    let mut start = if b.starts_with(a) { a.len() } else { a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count() };
    while !a.is_char_boundary(start) || !b.is_char_boundary(start) {
        start -= 1;
    }
    let most = a.len().min(b.len()) - start;
    let mut end = a.bytes().rev().zip(b.bytes().rev()).take(most).take_while(|(x, y)| x == y).count();
    while !a.is_char_boundary(a.len() - end) || !b.is_char_boundary(b.len() - end) {
        end -= 1;
    }
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_touch_only_what_changed() {
        let mut text = Expanded::pieces();
        text.push_literal("a?x=1");
        text.push_meaning("&", 5);
        text.push_literal("y=2#f");
        assert_eq!(text.text(), "a?x=1&y=2#f");
        assert_eq!(text.edit("a?x=1&y=2&t=T#f"), (13..13, "&t=T"));
        assert_eq!(text.edit("a?x=1|y=2#f"), (5..10, "|"));
        assert_eq!(Expanded::plain("é").edit("è"), (0..2, "è"));
    }

    #[test]
    fn an_edit_inside_a_meaning_writes_it_out() {
        let mut text = Expanded::pieces();
        text.push_meaning("/vod/", 4);
        text.push_literal("x");
        assert_eq!(text.edit("/vod/t/x"), (4..4, "t/"));
        assert_eq!(text.edit("/t/vod/x"), (0..5, "/t/vod/x"));
    }

    #[test]
    fn nothing_edited_is_borrowed() {
        assert!(matches!(Editor::new(b"abc", 1).finish(), Ok((Cow::Borrowed(b"abc"), 0))));
        let mut editor = Editor::new(b"abc", 10);
        editor.replace(1..2, "XX").expect("fits");
        assert_eq!(editor.finish().expect("fits").0.as_ref(), b"aXXc");
        assert_eq!(Editor::new(b"abc", 2).replace(0..0, "xyz"), Err(ManifestFault::TooLarge));
    }
}
