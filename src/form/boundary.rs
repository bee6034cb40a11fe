//! The boundary of a multipart body, as its content type names it (RFC 2046 §5.1.1).

use super::Fault;

/// A boundary: 1 to 70 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Reads the `Content-Type` of a `multipart/form-data` body; `None` for any other type.
    ///
    /// # Errors
    /// [`Fault::Boundary`] when it names no boundary, two, or one with characters that it may not have.
    pub fn of(content_type: &str) -> Option<Result<Self, Fault>> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        kind.trim().eq_ignore_ascii_case("multipart/form-data").then(|| Self::read(parameters))
    }

    fn read(parameters: &str) -> Result<Self, Fault> {
        let mut found = None;
        for (name, value) in super::part::parameters(parameters).ok_or(Fault::Boundary)? {
            if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
                return Err(Fault::Boundary);
            }
        }
        let boundary = found.ok_or(Fault::Boundary)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
        let fine = (1..=70).contains(&boundary.len()) && boundary.bytes().all(allowed) && !boundary.ends_with(' ');
        if fine { Ok(Self(boundary)) } else { Err(Fault::Boundary) }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        for (text, meant) in [
            ("multipart/form-data; boundary=abc", Some(Ok("abc"))),
            ("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b:c\"", Some(Ok("a b:c"))),
            // Some readers unescape, some do not.
            ("multipart/form-data; boundary=\"a\\-b\"", Some(Err(Fault::Boundary))),
            ("multipart/form-data", Some(Err(Fault::Boundary))),
            ("multipart/form-data; boundary=", Some(Err(Fault::Boundary))),
            ("multipart/form-data; boundary=a; boundary=b", Some(Err(Fault::Boundary))),
            ("multipart/form-data; boundary=\"a", Some(Err(Fault::Boundary))),
            ("multipart/form-data; boundary=\"a \"", Some(Err(Fault::Boundary))),
            ("multipart/form-data; boundary=\"a\r\n\"", Some(Err(Fault::Boundary))),
            ("multipart/mixed; boundary=abc", None),
            ("application/json", None),
        ] {
            let read = Boundary::of(text);
            assert_eq!(read.as_ref().map(|read| read.as_ref().map(Boundary::as_str).map_err(|fault| *fault)), meant, "{text}");
        }
    }
}
