//! The header of one part of a form (RFC 7578 §4).

use super::{Fault, could_be};
use crate::path::percent_decode;

/// One part of a form, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Its name, as it stands.
    pub name: String,
    /// The name of its file; a part that has one is a file.
    pub filename: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its value, if it is one of those that are read.
    pub value: Option<Vec<u8>>,
    /// Bytes of its content so far.
    pub bytes: u64,
    /// Whether it has come whole.
    pub complete: bool,
    /// Whether it was taken out.
    pub removed: bool,
}

impl Part {
    /// Reads a header: lines that each end with CRLF.
    ///
    /// # Errors
    /// [`Fault::Header`] when it has no name, or more than one reading.
    pub(super) fn read(header: &[u8]) -> Result<Self, Fault> {
        let header = std::str::from_utf8(header).map_err(|_| Fault::Header)?;
        let mut part = Self::default();
        let mut disposition = None;
        for line in header.split_terminator("\r\n") {
            let (name, value) = line.split_once(':').ok_or(Fault::Header)?;
            let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n', '\0']) {
                return Err(Fault::Header);
            }
            let before = match name {
                _ if name.eq_ignore_ascii_case("content-disposition") => disposition.replace(value.trim()),
                _ if name.eq_ignore_ascii_case("content-type") => {
                    part.content_type.replace(value.trim().to_owned()).map(|_| "content-type twice")
                }
                _ => None,
            };
            if before.is_some() {
                return Err(Fault::Header);
            }
        }
        part.read_disposition(disposition.ok_or(Fault::Header)?)?;
        Ok(part)
    }

    fn read_disposition(&mut self, text: &str) -> Result<(), Fault> {
        let (kind, rest) = text.split_once(';').ok_or(Fault::Header)?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(Fault::Header);
        }
        let mut own_name = None;
        for (name, value) in parameters(rest).ok_or(Fault::Header)? {
            let before = match name {
                _ if name.eq_ignore_ascii_case("name") => own_name.replace(value),
                _ if name.eq_ignore_ascii_case("filename") => self.filename.replace(value),
                // RFC 7578 §4.2: not in forms. A reader that knows it would see another name.
                _ if name.eq_ignore_ascii_case("name*") => return Err(Fault::Header),
                _ => None,
            };
            if before.is_some() {
                return Err(Fault::Header);
            }
        }
        self.name = own_name.ok_or(Fault::Header)?;
        Ok(())
    }

    /// Whether an origin could read it as the field `name`: escapes come with a backslash from some clients, in percent from others.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let decoded = || percent_decode(&self.name).is_some_and(|decoded| could_be(&decoded, name));
        could_be(&self.name, name) || could_be(&self.name.replace('\\', ""), name) || decoded()
    }
}

/// The parameters of a header field, `; name=value; name="value"`, with what is quoted taken out of its quotes; `None` when malformed.
pub(super) fn parameters(text: &str) -> Option<Vec<(&str, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ';']);
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let value = behind[..end].trim_end();
                if value.contains(['"', ' ', '\t']) {
                    return None;
                }
                (value.to_owned(), &behind[end..])
            }
        };
        let behind = behind.trim_start_matches([' ', '\t']);
        if !behind.is_empty() && !behind.starts_with(';') {
            return None;
        }
        found.push((name.trim(), value));
        rest = behind.trim_start_matches([' ', '\t', ';']);
    }
    Some(found)
}

/// The text up to the closing quote, and what stands behind that. A backslash escapes quotes and itself only: browsers send those of
/// Windows paths as they are.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_recorders_write_them() {
        for (header, name, filename) in [
            ("Content-Disposition: form-data; name=\"videoId\"\r\n", "videoId", None),
            ("content-disposition:form-data;name=file; filename=\"a b.mp4\"\r\nContent-Type: video/mp4\r\n", "file", Some("a b.mp4")),
            ("Content-Disposition: form-data; name=\"f\"; filename=\"a\\\"b;c=d\"\r\n", "f", Some("a\"b;c=d")),
            ("Content-Disposition: form-data; filename=\"C:\\dir\\é.mov\"; name=\"f\"\r\n", "f", Some("C:\\dir\\é.mov")),
            ("Content-Disposition: form-data; name=\"f\"; filename=\"x\"; filename*=UTF-8''x\r\n", "f", Some("x")),
            ("Content-Disposition: form-data; name=\"\"\r\n", "", None),
        ] {
            let part = Part::read(header.as_bytes()).expect(header);
            assert_eq!((part.name.as_str(), part.filename.as_deref()), (name, filename), "{header}");
        }
    }

    #[test]
    fn headers_with_two_readings_are_refused() {
        for header in [
            "Content-Type: text/plain\r\n",
            "Content-Disposition: form-data\r\n",
            "Content-Disposition: attachment; name=\"a\"\r\n",
            "Content-Disposition: form-data; name=\"a\"; name=\"b\"\r\n",
            "Content-Disposition: form-data; name=\"a\"; name*=utf-8''b\r\n",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n",
            "Content-Disposition: form-data;\r\n name=\"a\"\r\n",
            "Content-Disposition : form-data; name=\"a\"\r\n",
            "Content-Disposition: form-data; name=\"a\r\n",
            "Content-Disposition: form-data; name=a b\r\n",
            "Content-Disposition: form-data; name=\"a\"x\r\n",
            "Content-Disposition: form-data; name=\"a\"\nX: y\r\n",
            "Content-Disposition: form-data; name=\"a\"\0\r\n",
        ] {
            assert_eq!(Part::read(header.as_bytes()), Err(Fault::Header), "{header}");
        }
    }

    #[test]
    fn a_field_is_known_under_any_spelling() {
        for name in ["token", "TOKEN", "t%6fken", "to\\ken", "token[]"] {
            assert!(Part { name: name.into(), ..Part::default() }.is_named("token"), "{name}");
        }
    }
}
