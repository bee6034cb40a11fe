//! `multipart/form-data` (RFC 7578), read and edited chunk by chunk.
//!
//! A delimiter is the boundary behind a CRLF (or at the very start) with CRLF or `--` right behind it, and nothing
//! else. Held back are at most a part's header or the beginning of a delimiter; the content of files goes out as the chunks that it
//! came in. A body of known length keeps a length that is known beforehand: what is taken out is made up with line ends behind
//! the closing delimiter, where RFC 2046 §5.1.1 has readers ignore everything.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::needle::Needle;
use super::{Boundary, Choice, Edit, Fault, Field, Limits, Part};

/// An editor of one body.
#[derive(Debug)]
pub struct Multipart {
    needle: Needle,
    edits: Vec<Edit>,
    wanted: Vec<String>,
    limits: Limits,
    fills_up: bool,
    state: State,
    held: BytesMut,
    parts: Vec<Part>,
    /// The byte in front of what is looked at next.
    last: Option<u8>,
    /// Bytes to be made up at the end.
    owed: usize,
    opened: bool,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// What is held begins with a delimiter.
    Header,
    Content,
    /// Behind the closing delimiter, and how many bytes of it have come.
    Epilogue(usize),
    /// Not understood, and none of our business.
    Opaque,
}

enum Found {
    /// None; from here on it is not decided.
    Nothing(usize),
    Delimiter {
        at: usize,
        closes: bool,
    },
}

impl Multipart {
    /// Only looks: every byte passes as it is, whatever it says.
    #[must_use]
    pub fn looking(boundary: &Boundary) -> Self {
        Self {
            needle: Needle::new(format!("--{}", boundary.as_str()).into_bytes()),
            edits: Vec::new(),
            wanted: Vec::new(),
            limits: Limits::default(),
            fills_up: true,
            state: State::Preamble,
            held: BytesMut::new(),
            parts: Vec::new(),
            last: None,
            owed: 0,
            opened: false,
            fault: None,
        }
    }

    /// Makes `edits`, or stops.
    ///
    /// # Errors
    /// [`Fault::Value`] when a value holds the boundary.
    pub fn editing(boundary: &Boundary, edits: Vec<Edit>) -> Result<Self, Fault> {
        let looking = Self::looking(boundary);
        let unfit = |edit: &Edit| match edit {
            Edit::Remove(_) | Edit::Chosen(_) => false,
            Edit::Replace(field) | Edit::Append(field) | Edit::IfAbsent(field) => {
                looking.needle.find(field.value.expose().as_bytes(), 0).is_some()
            }
        };
        if edits.iter().any(unfit) {
            return Err(Fault::Value);
        }
        Ok(Self { edits, ..looking })
    }

    /// Reads the values of the fields `names` as well.
    #[must_use]
    pub fn wanting(mut self, names: &[&str]) -> Self {
        self.wanted = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Holds other limits.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For a body whose length is not declared: nothing is made up for what is taken out.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.fills_up = false;
        self
    }

    /// By how many bytes a body of declared length grows, whatever it turns out to hold.
    #[must_use]
    pub fn growth(&self) -> u64 {
        let added = |edit: &Edit| match edit {
            Edit::Remove(_) => 0,
            Edit::Replace(field) | Edit::Append(field) | Edit::IfAbsent(field) => self.written(field).len(),
            Edit::Chosen(choice) => self.part(&choice.name, "").len() + choice.length,
        };
        self.edits.iter().map(added).sum::<usize>() as u64
    }

    /// The parts whose headers have come.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Why it stopped looking, if it only looks and did.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes the next bytes in, and puts those that may go on into `out`.
    ///
    /// # Errors
    /// Why the body cannot be edited; nothing of it may go on then. None where it only looks.
    pub fn push(&mut self, chunk: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        let mut rest = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            self.held.split().freeze()
        };
        while !rest.is_empty() {
            let goes_on = match self.state {
                State::Preamble | State::Content => self.content(&mut rest, out),
                State::Header => self.header(&mut rest, out),
                State::Epilogue(seen) => self.epilogue(seen, &mut rest, out),
                State::Opaque => {
                    out.push_back(std::mem::take(&mut rest));
                    Ok(true)
                }
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => self.give_up(fault)?,
            }
        }
        self.held.extend_from_slice(&rest);
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`Fault::Unterminated`] when its closing delimiter never came.
    pub fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        if !matches!(self.state, State::Epilogue(_) | State::Opaque) {
            self.give_up(Fault::Unterminated)?;
        }
        if !self.held.is_empty() {
            out.push_back(self.held.split().freeze());
        }
        if self.fills_up && self.owed > 0 {
            let line_ends = b"\r\n".iter().cycle().take(self.owed).copied();
            out.push_back(line_ends.collect::<Vec<_>>().into());
            self.owed = 0;
        }
        Ok(())
    }

    /// The end for an editor; one that only looks goes on with its eyes closed.
    fn give_up(&mut self, fault: Fault) -> Result<(), Fault> {
        self.fault = Some(fault);
        if !self.edits.is_empty() {
            return Err(fault);
        }
        self.state = State::Opaque;
        Ok(())
    }

    /// The next delimiter. What can be none and looks like one to some reader is a fault.
    fn find(&self, bytes: &[u8]) -> Result<Found, Fault> {
        let mut from = 0;
        while let Some(at) = self.needle.find(bytes, from) {
            let before = if at > 0 { Some(bytes[at - 1]) } else { self.last };
            let at_line = (at == 0 && self.last.is_none()) || (at >= 2 && bytes[at - 2..at] == *b"\r\n");
            match (at_line, before, &bytes[at + self.needle.len()..]) {
                (true, _, [b'\r', b'\n', ..]) => return Ok(Found::Delimiter { at, closes: false }),
                (true, _, [b'-', b'-', ..]) => return Ok(Found::Delimiter { at, closes: true }),
                (true, _, [] | [b'\r'] | [b'-']) => return Ok(Found::Nothing(at.saturating_sub(2))),
                (true, ..) | (false, None | Some(b'\r' | b'\n'), _) => return Err(Fault::Ambiguous),
                (false, ..) => from = at + 1,
            }
        }
        Ok(Found::Nothing(self.needle.undecided(bytes)))
    }

    /// The preamble, or the content of a part: up to the next delimiter.
    fn content(&mut self, rest: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<bool, Fault> {
        match self.find(rest)? {
            Found::Nothing(undecided) => {
                self.pass(rest.split_to(undecided), out)?;
                Ok(false)
            }
            Found::Delimiter { at, closes } => {
                let line_end = at.min(2);
                self.pass(rest.split_to(at - line_end), out)?;
                let line_end = rest.split_to(line_end);
                if let Some(part) = self.parts.last_mut() {
                    part.complete = true;
                }
                self.emit(line_end, out);
                self.delimiter(closes, rest, out)?;
                Ok(true)
            }
        }
    }

    /// Content that is no delimiter.
    fn pass(&mut self, content: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        let Some(last) = content.last() else { return Ok(()) };
        self.last = Some(*last);
        let cap = self.limits.field;
        if let Some(part) = self.parts.last_mut().filter(|_| self.state == State::Content) {
            part.bytes += content.len() as u64;
            let held = part.value.as_ref().map_or(0, Vec::len);
            if held + content.len() <= cap {
                part.value.iter_mut().for_each(|value| value.extend_from_slice(&content));
            } else if part.value.take().is_some() && !self.edits.is_empty() {
                return Err(Fault::FieldTooLong);
            }
        }
        self.emit(content, out);
        Ok(())
    }

    /// Lets bytes out, unless they belong to a part that is taken out.
    fn emit(&mut self, bytes: Bytes, out: &mut VecDeque<Bytes>) {
        let removed = matches!(self.state, State::Content | State::Header) && self.parts.last().is_some_and(|part| part.removed);
        if removed {
            self.owed += bytes.len();
        } else if !bytes.is_empty() {
            out.push_back(bytes);
        }
    }

    /// At a delimiter: what goes in front of the first part, and behind the last one.
    fn delimiter(&mut self, closes: bool, rest: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.opened, true) {
            let in_front = |edit: &Edit| match edit {
                Edit::Replace(field) | Edit::Append(field) => Some(self.written(field)),
                _ => None,
            };
            out.extend(self.edits.iter().filter_map(in_front));
        }
        if !closes {
            self.state = State::Header;
            return Ok(());
        }
        for edit in &self.edits {
            let (written, added) = match edit {
                Edit::IfAbsent(field) => (self.written(field), !self.parts.iter().any(|part| part.is_named(&field.name))),
                Edit::Chosen(choice) => self.chosen(choice)?,
                _ => continue,
            };
            if added {
                out.push_back(written);
            } else {
                self.owed += written.len();
            }
        }
        out.push_back(rest.split_to(self.needle.len() + 2));
        self.state = State::Epilogue(0);
        Ok(())
    }

    /// A field that is chosen now, and whether it is put in.
    fn chosen(&self, choice: &Choice) -> Result<(Bytes, bool), Fault> {
        let value = (choice.choose)(&self.parts)?;
        let part = self.part(&choice.name, value.as_deref().unwrap_or(&" ".repeat(choice.length)));
        let fits = value.as_ref().is_none_or(|value| value.len() == choice.length && self.needle.find(value.as_bytes(), 0).is_none());
        if fits { Ok((part, value.is_some())) } else { Err(Fault::Value) }
    }

    fn header(&mut self, rest: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<bool, Fault> {
        let lines = self.needle.len() + 2;
        // The delimiter's own CRLF is the end of an empty header.
        let end = rest[self.needle.len()..].windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|end| self.needle.len() + end) else {
            return if rest.len() - lines > self.limits.header { Err(Fault::HeaderTooLong) } else { Ok(false) };
        };
        if end + 2 > lines + self.limits.header {
            return Err(Fault::HeaderTooLong);
        }
        let mut part = Part::read(rest.get(lines..end + 2).unwrap_or_default())?;
        if self.parts.len() >= self.limits.parts {
            return Err(Fault::TooManyParts);
        }
        part.removed = self.edits.iter().any(|edit| edit.removes() && part.is_named(edit.name()));
        part.value = self.wanted.iter().any(|name| part.is_named(name)).then(Vec::new);
        self.parts.push(part);
        let opening = rest.split_to(end + 4);
        self.emit(opening, out);
        self.last = Some(b'\n');
        self.state = State::Content;
        Ok(true)
    }

    fn epilogue(&mut self, seen: usize, rest: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<bool, Fault> {
        let follows = b"\r\n".iter().skip(seen).zip(rest.iter());
        if follows.into_iter().any(|(meant, came)| meant != came) || self.needle.find(rest, 0).is_some() {
            return Err(Fault::Ambiguous);
        }
        let decided = rest.split_to(self.needle.undecided(rest));
        self.state = State::Epilogue(seen + decided.len());
        let goes_on = !decided.is_empty();
        if goes_on {
            out.push_back(decided);
        }
        Ok(goes_on)
    }

    fn written(&self, field: &Field) -> Bytes {
        self.part(&field.name, field.value.expose())
    }

    /// A field as it is put in: a whole part, with the delimiter in front of it (HTML, "multipart/form-data encoding algorithm").
    fn part(&self, name: &str, value: &str) -> Bytes {
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let mut part = self.needle.bytes().to_vec();
        part.extend_from_slice(format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
        part.extend_from_slice(value.as_bytes());
        part.extend_from_slice(b"\r\n");
        part.into()
    }
}

#[cfg(test)]
mod tests;
