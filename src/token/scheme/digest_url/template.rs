//! Templates: text with `{field}` in it, to render what is hashed and to read and write what rides
//! in the request.
//!
//! Reading is unambiguous: two fields never stand side by side in a shape, and a field never holds
//! the text that ends it.

/// Text with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that stands as it is.
    Text(String),
    /// A field, by its name.
    Field(String),
}

impl Template {
    /// Reads a template; `{{` stands for a brace.
    ///
    /// # Errors
    /// A sentence when a brace is left open or a name is not of `a-z A-Z 0-9 . _ -`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                literal.push('{');
                rest = after;
                continue;
            }
            let end = rest.find('}').ok_or_else(|| format!("an open brace in \"{text}\""))?;
            let name = &rest[..end];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
                return Err(format!("\"{name}\" is not the name of a field"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Field(name.to_owned()));
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// Reads a template that is matched against text.
    ///
    /// # Errors
    /// As [`Template::parse`], and when two fields stand side by side.
    pub(super) fn shape(text: &str) -> Result<Self, String> {
        let shape = Self::parse(text)?;
        if shape.0.windows(2).any(|pair| matches!(pair, [Piece::Field(_), Piece::Field(_)])) {
            return Err(format!("\"{text}\" has two fields side by side: nothing says where one ends"));
        }
        Ok(shape)
    }

    /// The pieces in order.
    #[must_use]
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The names of the fields, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The fields of `text`, if it has this shape.
    #[must_use]
    pub(super) fn read<'t>(&self, text: &'t str) -> Option<Vec<(&str, &'t str)>> {
        let mut fields = Vec::new();
        let mut rest = text;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Piece::Field(name) => {
                    let end = match pieces.peek() {
                        Some(Piece::Text(literal)) => rest.find(literal.as_str())?,
                        _ => rest.len(),
                    };
                    fields.push((name.as_str(), &rest[..end]));
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(fields)
    }

    /// The text with its fields filled in.
    ///
    /// # Errors
    /// The first error of `value`.
    pub(super) fn write<E>(&self, mut value: impl FnMut(&str, &mut Vec<u8>) -> Result<(), E>) -> Result<Vec<u8>, E> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => out.extend_from_slice(literal.as_bytes()),
                Piece::Field(name) => value(name, &mut out)?,
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shapes_are_read_from_left_to_right() {
        let shape = Template::shape("{time}-{rand}-{signature}").expect("shape");
        assert_eq!(shape.read("1-r-s-t"), Some(vec![("time", "1"), ("rand", "r"), ("signature", "s-t")]));
        assert_eq!(shape.read("1-r"), None);
        assert_eq!(Template::shape("a{x}b").expect("shape").read("a1bc"), None);
    }

    #[test]
    fn broken_templates_are_refused() {
        for bad in ["{", "{}", "{a b}", "{a"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::shape("{a}{b}").is_err());
        assert_eq!(Template::parse("{{x").expect("literal").pieces(), [Piece::Text("{x".into())]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a in "[a-z0-9]{0,8}", b in "[a-z0-9_=-]{0,8}") {
            let shape = Template::shape("x={a}_{b}").expect("shape");
            let text = shape.write(|name, out| { out.extend_from_slice(if name == "a" { a.as_bytes() } else { b.as_bytes() }); Ok::<(), ()>(()) });
            let text = String::from_utf8(text.expect("text")).expect("utf-8");
            prop_assert_eq!(shape.read(&text), Some(vec![("a", a.as_str()), ("b", b.as_str())]));
        }

        #[test]
        fn reading_never_panics(template in "\\PC{0,20}", text in "\\PC{0,20}") {
            if let Ok(shape) = Template::shape(&template) {
                let _ = shape.read(&text);
            }
        }
    }
}
