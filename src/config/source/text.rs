//! Lines and columns, and what of a line may be shown.

use std::ops::Range;

use crate::config::fault::Place;
use crate::config::secrets;

/// Stands where a secret stood.
const BLANK: &str = "[redacted]";
/// Longest line shown, in characters; a longer one is cut around the mark.
const WIDEST: usize = 160;

/// The first line of `span` in `text`, `secrets` blanked.
pub(super) fn place(text: &str, span: Range<usize>, secrets: &[Range<usize>]) -> Place {
    let span = inside(text, span);
    let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[span.start..].find(['\n', '\r']).map_or(text.len(), |at| span.start + at);
    let mark_end = span.end.clamp(span.start, line_end);
    // A comment can hold what was a secret until it was commented out.
    let line = &text[line_start..line_end];
    let comment = line.find('#').and_then(|hash| Some(line_start + hash + secrets::sounds_secret(&line[hash..])?..line_end));
    let mut shown = Shown::default();
    let mut at = line_start;
    while at < line_end {
        shown.marks(at, span.start, mark_end);
        if let Some(secret) = secrets.iter().chain(&comment).find(|secret| secret.contains(&at)) {
            shown.text.push_str(BLANK);
            at = secret.end.min(line_end);
            shown.passed(at, span.start, mark_end);
            continue;
        }
        let Some(next) = text[at..].chars().next() else { break };
        shown.text.push(next);
        at += next.len_utf8();
    }
    shown.marks(at, span.start, mark_end);
    let mark_at = shown.start.unwrap_or(0);
    let mark_end = shown.end.unwrap_or_else(|| shown.text.chars().count()).max(mark_at);
    let place = Place {
        line: Some(text[..span.start].matches('\n').count() + 1),
        column: Some(text[line_start..span.start].chars().count() + 1),
        text: shown.text,
        mark_at,
        mark_len: (mark_end - mark_at).max(1),
    };
    cut(place)
}

/// [`place`] in a text that could not be parsed, so that where its secrets stand is a guess: what
/// follows a key that sounds secret is blanked, and so is a line that is not plainly a key or a table.
pub(super) fn place_unparsed(text: &str, span: Range<usize>) -> Place {
    let span = inside(text, span);
    let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[span.start..].find(['\n', '\r']).map_or(text.len(), |at| span.start + at);
    let line = &text[line_start..line_end];
    let hidden = secrets::hidden_from(line).map(|from| line_start + from..line_end);
    place(text, span, hidden.as_slice())
}

/// The line being put together, and where the mark falls in it.
#[derive(Default)]
struct Shown {
    text: String,
    start: Option<usize>,
    end: Option<usize>,
}

impl Shown {
    fn marks(&mut self, at: usize, start: usize, end: usize) {
        if at == start && self.start.is_none() {
            self.start = Some(self.text.chars().count());
        }
        if at == end && self.end.is_none() {
            self.end = Some(self.text.chars().count());
        }
    }

    /// After a blank that may have swallowed either end of the mark.
    fn passed(&mut self, at: usize, start: usize, end: usize) {
        let now = self.text.chars().count();
        if at > start && self.start.is_none() {
            self.start = Some(now - BLANK.len());
        }
        if at >= end && self.end.is_none() && self.start.is_some() {
            self.end = Some(now);
        }
    }
}

fn inside(text: &str, span: Range<usize>) -> Range<usize> {
    let back = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = back(span.start);
    start..back(span.end).max(start)
}

fn cut(mut place: Place) -> Place {
    let length = place.text.chars().count();
    if length > WIDEST {
        let from = place.mark_at.saturating_sub(WIDEST / 2);
        place.text = place.text.chars().skip(from).take(WIDEST).collect();
        place.mark_at -= from;
        place.mark_len = place.mark_len.min(WIDEST - place.mark_at).max(1);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let place = place("a = 1\né = \"ü\" # x\n", 11..15, &[]);
        assert_eq!((place.line, place.column, place.mark_at, place.mark_len), (Some(2), Some(5), 4, 3));
        assert_eq!(place.text, "é = \"ü\" # x");
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one secret")]
    fn secrets_are_blanked_and_marks_keep_their_place() {
        let text = "secret = \"hunter2\" # why";
        let whole = place(text, 9..18, &[9..18]);
        assert_eq!((whole.text.as_str(), whole.mark_at, whole.mark_len), ("secret = [redacted] # why", 9, 10));
        let behind = place(text, 21..24, &[9..18]);
        assert_eq!((behind.text.as_str(), behind.mark_at, behind.mark_len), ("secret = [redacted] # why", 22, 3));
        let within = place(text, 12..14, &[9..18]);
        assert_eq!((within.mark_at, within.mark_len), (9, 10));
    }

    #[test]
    fn spans_past_the_end_are_held() {
        assert_eq!(place("", 7..9, &[]).line, Some(1));
        assert_eq!(place("a", 1..1, &[]).mark_at, 1);
    }
}
