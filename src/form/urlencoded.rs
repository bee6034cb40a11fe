//! `application/x-www-form-urlencoded`, edited chunk by chunk.
//!
//! Names are compared as the origin will decode them; values pass as they came. What is taken out of a body of declared length is made
//! up with `&` at its end: empty pairs say nothing (URL Standard §5.1).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Edit, Fault, Field, Limits, could_be};
use crate::query;

/// An editor of one body.
#[derive(Debug)]
pub struct Urlencoded {
    edits: Vec<Edit>,
    limits: Limits,
    fills_up: bool,
    /// A name whose end has not come.
    name: BytesMut,
    state: State,
    names: Vec<String>,
    owed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Name,
    Value { removed: bool },
}

impl Urlencoded {
    /// Makes `edits`.
    #[must_use]
    pub fn editing(edits: Vec<Edit>) -> Self {
        Self { edits, limits: Limits::default(), fills_up: true, name: BytesMut::new(), state: State::Start, names: Vec::new(), owed: 0 }
    }

    /// For a body whose length is not declared: nothing is made up for what is taken out.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.fills_up = false;
        self
    }

    /// Holds other limits.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// By how many bytes a body of declared length grows, whatever it turns out to hold.
    #[must_use]
    pub fn growth(&self) -> u64 {
        let added = |edit: &Edit| match edit {
            Edit::Remove(_) | Edit::Chosen(_) => 0,
            Edit::Replace(field) | Edit::Append(field) | Edit::IfAbsent(field) => written(field).len() as u64 + 1,
        };
        self.edits.iter().map(added).sum()
    }

    /// Takes the next bytes in, and puts those that may go on into `out`.
    ///
    /// # Errors
    /// A limit that is passed; nothing of the body may go on then.
    pub fn push(&mut self, mut chunk: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        self.start(out);
        while !chunk.is_empty() {
            match self.state {
                State::Value { removed } => {
                    let end = chunk.iter().position(|byte| *byte == b'&');
                    let value = chunk.split_to(end.unwrap_or(chunk.len()));
                    self.emit(value, removed, out);
                    if end.is_some() {
                        self.separator(chunk.split_to(1), removed, out);
                    }
                }
                State::Start | State::Name => {
                    let end = chunk.iter().position(|byte| matches!(byte, b'&' | b'='));
                    self.name.extend_from_slice(&chunk.split_to(end.unwrap_or(chunk.len())));
                    if self.name.len() > self.limits.header {
                        return Err(Fault::HeaderTooLong);
                    }
                    if end.is_some() {
                        self.named(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// As of [`push`](Self::push).
    pub fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        self.start(out);
        if self.state == State::Name && !self.name.is_empty() {
            self.named(out)?;
        }
        for edit in std::mem::take(&mut self.edits) {
            let Edit::IfAbsent(field) = edit else { continue };
            let pair = written(&field);
            if self.names.iter().any(|name| could_be(name, &field.name)) {
                self.owed += pair.len() + 1;
            } else {
                out.push_back(format!("&{pair}").into());
            }
        }
        if self.fills_up && self.owed > 0 {
            out.push_back("&".repeat(self.owed).into());
            self.owed = 0;
        }
        Ok(())
    }

    fn start(&mut self, out: &mut VecDeque<Bytes>) {
        if self.state != State::Start {
            return;
        }
        self.state = State::Name;
        for edit in &self.edits {
            if let Edit::Replace(field) | Edit::Append(field) = edit {
                out.push_back(format!("{}&", written(field)).into());
            }
        }
    }

    /// The name of a pair has come whole.
    fn named(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        let raw = self.name.split().freeze();
        // A name that is not UTF-8 cannot be one of ours.
        let name = std::str::from_utf8(&raw).ok().and_then(query::decode).unwrap_or_default();
        if self.names.len() >= self.limits.parts {
            return Err(Fault::TooManyParts);
        }
        let removed = self.edits.iter().any(|edit| edit.removes() && could_be(&name, edit.name()));
        self.names.push(name);
        self.emit(raw, removed, out);
        self.state = State::Value { removed };
        Ok(())
    }

    fn separator(&mut self, separator: Bytes, removed: bool, out: &mut VecDeque<Bytes>) {
        self.emit(separator, removed, out);
        self.state = State::Name;
    }

    fn emit(&mut self, bytes: Bytes, removed: bool, out: &mut VecDeque<Bytes>) {
        if removed {
            self.owed += bytes.len();
        } else if !bytes.is_empty() {
            out.push_back(bytes);
        }
    }
}

fn written(field: &Field) -> String {
    format!("{}={}", query::encode(&field.name), query::encode(field.value.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn field(value: &str) -> Field {
        Field { name: "token".into(), value: Secret::new(value.into()) }
    }

    fn run(edits: Vec<Edit>, body: &[u8], cut: usize) -> Result<String, Fault> {
        let mut editor = Urlencoded::editing(edits);
        let growth = editor.growth() as usize;
        let mut out = VecDeque::new();
        for chunk in body.chunks(cut.max(1)) {
            editor.push(Bytes::copy_from_slice(chunk), &mut out)?;
        }
        editor.finish(&mut out)?;
        let text = String::from_utf8(out.into_iter().flatten().collect()).expect("text");
        assert_eq!(text.len(), body.len() + growth, "{text}");
        Ok(text)
    }

    #[test]
    fn each_edit_does_what_it_says() {
        let said = |body: &str| query::pairs(body).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        for (edit, body, becomes) in [
            (Edit::Remove("token".into()), "a=1&token=x&b=2", "a=1&b=2"),
            (Edit::Remove("token".into()), "t%6Fken=x&token&token[]=y&b=2", "b=2"),
            (Edit::Replace(field("s t")), "token=x&b=2", "token=s%20t&b=2"),
            (Edit::Replace(field("s")), "", "token=s"),
            (Edit::Append(field("s")), "token=x", "token=s&token=x"),
            (Edit::IfAbsent(field("s")), "token=x", "token=x"),
            (Edit::IfAbsent(field("s")), "a=1&b", "a=1&b=&token=s"),
        ] {
            assert_eq!(said(&run(vec![edit], body.as_bytes(), 100).expect("edited")), becomes, "{body}");
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(body in "[a-z=&%+]{0,40}(&token=[a-z]{0,5})?[a-z=&]{0,10}", cut in 1_usize..9) {
            let edits = || vec![Edit::Replace(field("s")), Edit::IfAbsent(Field { name: "zz".into(), value: Secret::new("1".into()) })];
            let whole = run(edits(), body.as_bytes(), 1000)?;
            prop_assert_eq!(&run(edits(), body.as_bytes(), cut)?, &whole);
            prop_assert_eq!(query::values(&whole, "token").collect::<Vec<_>>(), ["s"]);
        }
    }
}
