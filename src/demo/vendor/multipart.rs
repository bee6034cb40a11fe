//! `multipart/form-data` of a whole body (RFC 7578), as stand-ins need it: fields, and files byte for byte.

use bytes::Bytes;

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// The file's name; only files have one.
    pub file_name: Option<String>,
    /// What it holds.
    pub content: Bytes,
}

/// The parts of a body whose `Content-Type` is this; `None` when it is not `multipart/form-data` or not whole.
#[must_use]
pub fn parts(content_type: Option<&str>, body: &Bytes) -> Option<Vec<Part>> {
    let boundary = boundary(content_type?)?;
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter may stand without the line end before it.
    let mut at = if body.starts_with(&delimiter[2..]) { delimiter.len() - 2 } else { find(body, &delimiter, 0)? + delimiter.len() };
    let mut parts = Vec::new();
    loop {
        match body.get(at..at + 2)? {
            b"--" => return Some(parts),
            b"\r\n" => at += 2,
            _ => return None,
        }
        let head_end = find(body, b"\r\n\r\n", at)?;
        let head = std::str::from_utf8(&body[at..head_end]).ok()?;
        let from = head_end + 4;
        // The line end before the delimiter may be the one that ends the head, where a part is empty.
        let end = find(body, &delimiter, head_end + 2)?;
        parts.push(part(head, body.slice(from.min(end.max(from))..end.max(from)))?);
        at = end + delimiter.len();
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    let value = kind.trim().eq_ignore_ascii_case("multipart/form-data").then(|| parameter(parameters, "boundary"))??;
    (1..=70).contains(&value.len()).then_some(value)
}

fn part(head: &str, content: Bytes) -> Option<Part> {
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let (_, parameters) = line.split_once(';')?;
    Some(Part { name: parameter(parameters, "name")?, file_name: parameter(parameters, "filename"), content })
}

/// A parameter, quoted or not. `;` in quotes does not end it.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if name.trim_start_matches([';', ' ']).trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        rest = next;
    }
}

/// Where `needle` stands at or after `from`: Horspool's search, which looks at few of the bytes of a large file.
fn find(body: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let last = needle.len().checked_sub(1)?;
    let mut skip = [needle.len(); 256];
    for (at, byte) in needle[..last].iter().enumerate() {
        skip[usize::from(*byte)] = last - at;
    }
    let mut at = from;
    while let Some(window) = body.get(at..at + needle.len()) {
        if window == needle {
            return Some(at);
        }
        at += skip[usize::from(window[last])];
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(kind: &str, body: &[u8]) -> Option<Vec<(String, Option<String>, Vec<u8>)>> {
        let parts = parts(Some(kind), &Bytes::copy_from_slice(body))?;
        Some(parts.into_iter().map(|part| (part.name, part.file_name, part.content.to_vec())).collect())
    }

    #[test]
    fn fields_and_files_are_read() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"videoId\"\r\n\r\nvi1\r\n--b\r\ncontent-disposition: form-data; name=file; filename=\"a;b.mp4\"\r\nContent-Type: video/mp4\r\n\r\n\r\n--bo\r\n\r\n--b--\r\n";
        let expected = vec![("videoId".into(), None, b"vi1".to_vec()), ("file".into(), Some("a;b.mp4".into()), b"\r\n--bo\r\n".to_vec())];
        assert_eq!(read("multipart/form-data; boundary=b", body), None, "a delimiter may not stand in a file");
        let body = String::from_utf8(body.to_vec()).expect("text").replace("--b\r\n", "--XX\r\n").replace("--b--", "--XX--");
        assert_eq!(read("Multipart/Form-Data; charset=x; boundary=\"XX\"", body.as_bytes()), Some(expected));
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n";
        for end in 0..body.len() - 2 {
            assert_eq!(read("multipart/form-data; boundary=b", &body[..end]), None, "{end}");
        }
        assert_eq!(read("text/plain", body), None);
        assert_eq!(read("multipart/form-data; boundary=b", b"--b--\r\n"), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn files_come_back_byte_for_byte(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut body = b"--Boundary7\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n".to_vec();
            body.extend(&content);
            body.extend(b"\r\n--Boundary7--\r\n");
            let read = read("multipart/form-data; boundary=Boundary7", &body).expect("parts");
            prop_assert_eq!(&read[0].2, &content);
        }
    }
}
