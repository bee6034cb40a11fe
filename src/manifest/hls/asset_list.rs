//! The JSON body behind `X-ASSET-LIST` (draft-pantos-hls-rfc8216bis, appendix D): the `URI` of every asset.

use serde::de::IgnoredAny;

use super::super::splice::Editor;
use super::super::{Facts, Limits, Link, Links, ManifestFault, Place, Rewritten};

/// Maps every member `URI` of an asset list, at any depth, so that a vendor's additions are met too. All
/// other bytes stay. The facts say nothing.
///
/// # Errors
/// [`ManifestFault::NotAManifest`] when it is no JSON object; [`ManifestFault::TooLarge`].
pub fn rewrite_asset_list<'b>(body: &'b [u8], links: &dyn Links, limits: Limits) -> Result<Rewritten<'b>, ManifestFault> {
    if body.len() > limits.input {
        return Err(ManifestFault::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| ManifestFault::NotUtf8)?;
    // Once it is known to be JSON (nested no deeper than the reader allows), strings can be found without a tree.
    if !text.trim_start().starts_with('{') || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err(ManifestFault::NotAManifest);
    }
    let mut editor = Editor::new(body, limits.output);
    let mut at = 0;
    let mut after_uri = false;
    while let Some(start) = text[at..].find('"').map(|found| at + found) {
        // A key is followed by a colon; whatever else stands between two strings ends the pair.
        let value = after_uri && text[at..start].trim() == ":";
        let end = string_end(text, start).ok_or(ManifestFault::NotAManifest)?;
        let meant: String = serde_json::from_str(&text[start..end]).map_err(|_| ManifestFault::NotAManifest)?;
        let mapped = if value { links.map(&Link { uri: &meant, place: Place::AssetUri, bases: &[] }) } else { None };
        if let Some(mapped) = mapped.filter(|mapped| *mapped != meant) {
            editor.replace(start..end, &serde_json::Value::String(mapped).to_string())?;
        }
        after_uri = !value && meant == "URI";
        at = end;
    }
    let (body, changed) = editor.finish()?;
    Ok(Rewritten { body, facts: Facts::default(), changed })
}

/// Where the string that begins at `start` ends, its closing quote included.
fn string_end(text: &str, start: usize) -> Option<usize> {
    let mut escaped = false;
    let quote = text.bytes().enumerate().skip(start + 1).find(|(_, byte)| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    quote.map(|(end, _)| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Absolute, Mode, Resolver};

    fn run(body: &str) -> Result<String, ManifestFault> {
        let document = Absolute::parse("https://gw.example/v/list.json").expect("address");
        let links = Resolver::new(document, "/v", Mode::Query { name: "t".into(), ticket: "T".into() });
        rewrite_asset_list(body.as_bytes(), &links, Limits::default()).map(|out| String::from_utf8(out.body.into_owned()).expect("text"))
    }

    #[test]
    fn asset_addresses_get_the_ticket() {
        for (body, wanted) in [
            (
                r#"{"ASSETS":[{"URI":"ad.m3u8","DURATION":5}, {"URI" : "b?x=1#f"}]}"#,
                r#"{"ASSETS":[{"URI":"ad.m3u8?t=T","DURATION":5}, {"URI" : "b?x=1&t=T#f"}]}"#,
            ),
            (
                r#"{"ASSETS":[{"URI":"https:\/\/gw.example\/v\/a","X":"URI"}]}"#,
                r#"{"ASSETS":[{"URI":"https://gw.example/v/a?t=T","X":"URI"}]}"#,
            ),
            (
                r#"{"URI":"https://ads.example/a","N":"URI\":\"x","M":["URI","x"],"URI":1}"#,
                r#"{"URI":"https://ads.example/a","N":"URI\":\"x","M":["URI","x"],"URI":1}"#,
            ),
            (r#"{"a":"\\","URI":"é\n"}"#, r#"{"a":"\\","URI":"é\n"}"#),
        ] {
            assert_eq!(run(body).as_deref(), Ok(wanted), "{body}");
            assert_eq!(run(wanted).as_deref(), Ok(wanted), "{wanted}");
        }
        for body in ["", "[]", "{", "{\"URI\":\"x\"} x", "#EXTM3U"] {
            assert_eq!(run(body), Err(ManifestFault::NotAManifest), "{body}");
        }
    }
}
