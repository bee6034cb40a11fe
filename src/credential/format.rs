//! How a credential is written in its place: `Bearer {value}`, or what came along with it, such as `{detail.uid}`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Issued;

/// A text with holes. `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    basic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value,
    Detail(String),
}

/// A detail that the credential did not come with, by its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credential came without \"{0}\"")]
pub struct Missing(pub String);

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let tail = &rest[at..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                plain.push_str(&tail[..1]);
                rest = &tail[2..];
                continue;
            }
            let hole = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
            let Some((hole, tail)) = hole else { return Err(format!("a brace in \"{text}\" has no other; write it twice to mean itself")) };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(match hole.strip_prefix("detail.") {
                Some(name) if !name.is_empty() => Piece::Detail(name.to_owned()),
                _ if hole == "value" => Piece::Value,
                _ => return Err(format!("\"{{{hole}}}\" is neither {{value}} nor {{detail.NAME}}")),
            });
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return Err(format!("\"{text}\" says nowhere where the credential goes; write {{value}}"));
        }
        Ok(Self { pieces, basic: false })
    }

    /// The value as it is.
    #[must_use]
    pub fn plain() -> Self {
        Self { pieces: vec![Piece::Value], basic: false }
    }

    /// `Bearer`, and the value (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer() -> Self {
        Self { pieces: vec![Piece::Text("Bearer ".into()), Piece::Value], basic: false }
    }

    /// `Basic` (RFC 7617 §2) with what this format writes as `user:password`.
    #[must_use]
    pub fn as_basic(mut self) -> Self {
        self.basic = true;
        self
    }

    /// `Basic` with this user and the value as the password; without a user, the value is the user and there is no password.
    #[must_use]
    pub fn basic(user: Option<&str>) -> Self {
        let pieces = match user {
            Some(user) => vec![Piece::Text(format!("{user}:")), Piece::Value],
            None => vec![Piece::Value, Piece::Text(":".into())],
        };
        Self { pieces, basic: true }
    }

    /// The text for `issued`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn write<'i>(&self, issued: &'i Issued) -> Result<Cow<'i, str>, Missing> {
        if let ([Piece::Value], false) = (self.pieces.as_slice(), self.basic) {
            return Ok(Cow::Borrowed(issued.value.expose()));
        }
        let mut out = String::new();
        for piece in &self.pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Value => issued.value.expose(),
                Piece::Detail(name) => issued.details.get(name).ok_or_else(|| Missing(name.clone()))?.expose(),
            });
        }
        Ok(Cow::Owned(if self.basic { format!("Basic {}", STANDARD.encode(zeroize::Zeroizing::new(out))) } else { out }))
    }

    /// What of `issued` is written, each by itself: what must not be shown.
    pub fn secrets<'i>(&self, issued: &'i Issued) -> impl Iterator<Item = &'i str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value => Some(issued.value.expose().as_str()),
            Piece::Detail(name) => issued.details.get(name).map(|detail| detail.expose().as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::secret::Secret;

    fn issued() -> Issued {
        let mut issued = Issued::new("tok".into(), UnixTime(0), None);
        issued.details.insert("uid".into(), Secret::new("u1".into()));
        issued
    }

    #[test]
    fn holes_are_filled() {
        for (format, text) in [
            ("{value}", "tok"),
            ("Bearer {value}", "Bearer tok"),
            ("{detail.uid}/{value}", "u1/tok"),
            ("{{{value}}}", "{tok}"),
            ("a}}{value}", "a}tok"),
        ] {
            assert_eq!(Format::parse(format).expect(format).write(&issued()).expect(format), text);
        }
        assert_eq!(Format::basic(None).write(&issued()).expect("text"), "Basic dG9rOg==");
        assert_eq!(Format::basic(Some("ann")).write(&issued()).expect("text"), "Basic YW5uOnRvaw==");
        assert_eq!(Format::parse("{detail.uid}:{value}").expect("read").as_basic().write(&issued()).expect("text"), "Basic dTE6dG9r");
        assert_eq!(Format::parse("{detail.x}").expect("read").write(&issued()), Err(Missing("x".into())));
        assert_eq!(Format::parse("{detail.uid}/{value}").expect("read").secrets(&issued()).collect::<Vec<_>>(), ["u1", "tok"]);
    }

    #[test]
    fn holes_that_are_none_are_refused() {
        for format in ["", "Bearer", "{", "}", "{value", "value}", "{x}", "{detail.}", "{{value}}"] {
            assert!(Format::parse(format).is_err(), "{format}");
        }
    }
}
