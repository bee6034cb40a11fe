//! Vectors of rewritten playlists: what another rewriter made of them, judged by our rules.
//!
//! Such a vector is `{path, input, output}`. Ours passes when the links that it marked are at least those of its own host that the
//! recorded one marked, none of another host is marked, nothing else changed, and doing it twice changes nothing more.

use serde_json::Value;

use crate::manifest::{self, Absolute, Limits, Mode, Resolver};

/// What our rewriter puts on links, as unlike anything in a playlist as can be.
const NAME: &str = "tollgate-vector";
const TICKET: &str = "TICKET-OF-A-VECTOR";
/// The host that playlists of the collection lie on.
const HOST: &str = "media.example.com";

/// Whether vectors of this `scheme` are rewritten playlists.
pub(super) fn is_for(scheme: &str) -> bool {
    scheme.starts_with("manifest_rewrite")
}

/// Judges one vector. The answer says what is wrong, if anything is.
///
/// # Errors
/// Why it is not a vector.
pub(super) fn judge(vector: &Value) -> Result<Option<String>, String> {
    let text = |key: &str| vector.get(key).and_then(Value::as_str).ok_or_else(|| format!("has no {key}"));
    let (path, input, recorded) = (text("path")?, text("input")?, text("output")?);
    let kind = manifest::kind_of(None, path).ok_or("path names no playlist")?;
    let document = Absolute::parse(&format!("https://{HOST}{path}")).ok_or("path is not a path")?;
    let links = Resolver::new(document, "", Mode::Query { name: NAME.into(), ticket: TICKET.into() });
    let rewrite = |body: &str| {
        let out = manifest::rewrite(kind, body.as_bytes(), &links, Limits::default()).map_err(|fault| fault.to_string())?;
        String::from_utf8(out.body.into_owned()).map_err(|_| "not UTF-8".to_owned())
    };
    let ours = match rewrite(input) {
        Ok(ours) => ours,
        Err(fault) => return Ok(Some(fault)),
    };
    let mark = format!("{NAME}={TICKET}");
    let bare = ["&amp;", "&", "?"].iter().fold(ours.clone(), |text, before| text.replace(&format!("{before}{mark}"), ""));
    if bare != input {
        return Ok(Some("changed more than links".into()));
    }
    if rewrite(&ours)? != ours {
        return Ok(Some("twice is not once".into()));
    }
    Ok(missed(input, recorded, &ours, &mark))
}

/// The first link of our own host that the recorded rewriter marked and ours did not, or one of another host that ours did.
fn missed(input: &str, recorded: &str, ours: &str, mark: &str) -> Option<String> {
    let mut recorded = pieces(recorded);
    for (before, after) in pieces(input).zip(pieces(ours)) {
        let theirs = recorded.next().unwrap_or(before);
        let marked = after.contains(mark);
        if is_foreign(before) {
            if marked {
                return Some(format!("marked a link of another host: {before}"));
            }
        } else if theirs != before && !marked && !under_foreign_base(input) {
            return Some(format!("missed {before}"));
        }
    }
    None
}

/// A playlist cut where links begin or end: at lines, quotes and tags.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '"', '<', '>'])
}

fn is_foreign(piece: &str) -> bool {
    let host = piece.split_once("//").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    host.is_some_and(|host| host != HOST)
}

/// A manifest whose first base is another host's: its links are not ours, whatever they look like.
fn under_foreign_base(input: &str) -> bool {
    let base = input.split_once("<BaseURL").and_then(|(_, rest)| rest.split_once('>'));
    base.is_some_and(|(_, rest)| is_foreign(rest.split('<').next().unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missed_leaked_or_broken_is_seen() {
        let at = |input: &str, output: &str| judge(&json!({ "path": "/v/a.m3u8", "input": input, "output": output }));
        let input = "#EXTM3U\n#EXTINF:1,\na.ts\n#EXTINF:1,\nhttps://other.example/b.ts\n";
        assert_eq!(at(input, &input.replace("a.ts", "a.ts?t").replace("b.ts", "b.ts?t")), Ok(None));
        // A link that a player would not take for one, and the recorded rewriter did.
        let comment = "#EXTM3U\n# c.ts\n#EXTINF:1,\na.ts\n";
        assert_eq!(at(comment, &comment.replace("c.ts", "c.ts?t")), Ok(Some("missed # c.ts".into())));
        assert!(missed("a\nhttps://other.example/b", "a\nb", "a\nhttps://other.example/b?m", "m").is_some());
        assert!(judge(&json!({ "path": "/v/a.m3u8", "input": "#EXTM3U" })).is_err());
        assert!(judge(&json!({ "path": "/v/a.ts", "input": "", "output": "" })).is_err());
    }
}
