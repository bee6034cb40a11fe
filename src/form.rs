//! Bodies of HTML forms, edited while they stream: fields found, taken out, put in; files never held.
//!
//! Chunks go in, chunks come out, and what is not edited keeps every byte. An editor that has
//! something to change is strict: where two readers of the body could disagree on what its fields
//! are, it stops, because the origin may be the other reader. One that only looks lets everything pass.

mod boundary;
pub mod multipart;
mod needle;
mod part;
pub mod urlencoded;

pub use boundary::Boundary;
pub use part::Part;

use std::rc::Rc;

use crate::secret::Secret;

/// A text field to be put in.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value: mostly a credential.
    pub value: Secret<String>,
}

/// What is to happen to the fields of one name.
#[derive(Debug, Clone)]
pub enum Edit {
    /// None may pass.
    Remove(String),
    /// This one goes in front of all others; what came under its name is taken out.
    Replace(Field),
    /// This one goes in front of all others; what came under its name stays.
    Append(Field),
    /// This one goes behind all others, if none came under its name.
    IfAbsent(Field),
    /// What goes behind all others is chosen when they have come; in multipart bodies only.
    Chosen(Choice),
}

/// A text field whose value, or absence, depends on the other parts.
#[derive(Clone)]
pub struct Choice {
    /// Its name.
    pub name: String,
    /// Bytes of its value, if it gets one: the length of the body is said before the parts have come.
    pub length: usize,
    /// The value; `None` puts nothing in.
    pub choose: Rc<Choose>,
}

/// Chooses by the parts of a body. A fault ends the body.
pub type Choose = dyn Fn(&[Part]) -> Result<Option<String>, Fault>;

impl std::fmt::Debug for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Choice").field("name", &self.name).field("length", &self.length).finish_non_exhaustive()
    }
}

impl Edit {
    fn name(&self) -> &str {
        match self {
            Self::Remove(name) => name,
            Self::Replace(field) | Self::Append(field) | Self::IfAbsent(field) => &field.name,
            Self::Chosen(choice) => &choice.name,
        }
    }

    const fn removes(&self) -> bool {
        matches!(self, Self::Remove(_) | Self::Replace(_))
    }
}

/// What an editor may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one part's header, or of one urlencoded name.
    pub header: usize,
    /// Bytes of the value of a field that is read.
    pub field: usize,
    /// Parts, or urlencoded pairs.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: 8 * 1024, field: 4 * 1024, parts: 256 }
    }
}

/// Why a body cannot be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The content type names no boundary, several, or one that RFC 2046 §5.1.1 does not allow.
    #[error("the boundary is missing or malformed")]
    Boundary,
    /// Something looks like a delimiter and is none, or the other way round.
    #[error("a delimiter has more than one reading")]
    Ambiguous,
    /// A part's header has more than one reading, or no name.
    #[error("the header of a part is malformed")]
    Header,
    /// A part's header, or a name, is longer than allowed.
    #[error("the header of a part is too long")]
    HeaderTooLong,
    /// A field that is read is longer than allowed.
    #[error("a field is too long")]
    FieldTooLong,
    /// More parts than allowed.
    #[error("too many parts")]
    TooManyParts,
    /// The body ended before its closing delimiter.
    #[error("the closing delimiter is missing")]
    Unterminated,
    /// A field to be put in has a value that would end it.
    #[error("a value to be put in holds the boundary, or is not as long as was said")]
    Value,
    /// What the body says does not fit what it is for.
    #[error("the fields do not say which value is meant")]
    Choice,
}

/// Whether an origin could take a field of the name `came` for one named `meant`: case, blanks around it and what PHP takes
/// for an index (`name[]`) are no difference.
fn could_be(came: &str, meant: &str) -> bool {
    let bare = came.trim();
    let bare = bare.find('[').filter(|at| *at > 0).map_or(bare, |at| &bare[..at]);
    bare.eq_ignore_ascii_case(meant) || came.eq_ignore_ascii_case(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_origins_fold_are_one_name() {
        for came in ["token", "Token", " token ", "token[]", "token[x][y]"] {
            assert!(could_be(came, "token"), "{came}");
        }
        for came in ["tokens", "to ken", "[token]", ""] {
            assert!(!could_be(came, "token"), "{came}");
        }
    }
}
