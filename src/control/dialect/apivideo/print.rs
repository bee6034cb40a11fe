//! Answers of api.video's API, printed: pure.

use serde_json::{Value, json};

use super::super::date::atom;
use super::read::Paging;
use crate::clock::UnixTime;
use crate::ledger::record::UploadToken;
use crate::ledger::{Body, Record};

/// An upload token. `expiresAt` is left out where there is no end.
#[must_use]
pub fn token(record: &Record) -> Option<Value> {
    let Body::UploadToken(UploadToken { ttl }) = record.body else { return None };
    let mut token = json!({ "token": record.id, "ttl": ttl, "createdAt": atom(record.created) });
    if record.expires != UnixTime::MAX {
        token["expiresAt"] = atom(record.expires).into();
    }
    Some(token)
}

/// A page of tokens.
#[must_use]
pub fn page(items: &[Value], paging: Paging, total: u64) -> Value {
    let pages = total.div_ceil(paging.size);
    // Relative, absolute in path, and with these two parameters only: as in the vendor's examples.
    let link = |rel: &str, page: u64| json!({ "rel": rel, "uri": format!("/upload-tokens?currentPage={page}&pageSize={}", paging.size) });
    let mut links = vec![link("self", paging.page), link("first", 1)];
    if paging.page > 1 {
        links.push(link("previous", (paging.page - 1).min(pages.max(1))));
    }
    if paging.page < pages {
        links.push(link("next", paging.page + 1));
    }
    links.push(link("last", pages.max(1)));
    let pagination = json!({
        "currentPage": paging.page,
        "currentPageItems": items.len(),
        "pageSize": paging.size,
        "pagesTotal": pages,
        "itemsTotal": total,
        "links": links,
    });
    json!({ "data": items, "pagination": pagination })
}

/// What `/auth/…` answers.
#[must_use]
pub fn access(access: &str, refresh: &str, seconds: i64) -> Value {
    json!({ "token_type": "Bearer", "expires_in": seconds, "access_token": access, "refresh_token": refresh })
}

/// A private video, as far as a gateway knows it: its id, and where it is played with this one-time token.
#[must_use]
pub fn video(id: &str, token: &str, base: &str) -> Value {
    let player = format!("{base}/vod/{id}?token={token}");
    let assets = json!({
        "iframe": iframe(&player),
        "player": player,
        "hls": format!("{base}/vod/{id}/token/{token}/hls/manifest.m3u8"),
        "thumbnail": format!("{base}/vod/{id}/token/{token}/thumbnail.jpg"),
        "mp4": format!("{base}/vod/{id}/token/{token}/mp4/source.mp4"),
    });
    let source = json!({ "uri": format!("/videos/{id}/source") });
    json!({ "videoId": id, "title": id, "public": false, "panoramic": false, "mp4Support": true, "tags": [], "metadata": [], "source": source, "assets": assets })
}

/// A private live stream, likewise.
#[must_use]
pub fn live_stream(id: &str, token: &str, base: &str) -> Value {
    let player = format!("{base}/live/{id}?token={token}");
    let assets = json!({
        "iframe": iframe(&player),
        "player": player,
        "hls": format!("{base}/private/{token}/{id}.m3u8"),
        "thumbnail": format!("{base}/live/{id}/thumbnail.jpg?token={token}"),
    });
    // The Python SDK takes no live stream that does not say what it is sent on to.
    json!({ "liveStreamId": id, "name": id, "public": false, "restreams": [], "assets": assets })
}

fn iframe(player: &str) -> String {
    format!("<iframe src=\"{player}\" width=\"100%\" height=\"100%\" frameborder=\"0\" scrolling=\"no\" allowfullscreen=\"true\"></iframe>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Account, Order};

    #[test]
    fn a_token_without_end_has_no_end() {
        let at = UnixTime(1_606_903_999);
        let record = |ttl: u32| Record::new(&Account::new("a"), "to1", at, Body::UploadToken(UploadToken { ttl }));
        let wanted = json!({ "token": "to1", "ttl": 0, "createdAt": "2020-12-02T10:13:19+00:00" });
        assert_eq!(token(&record(0)), Some(wanted));
        let ends = token(&record(3600).until(at.plus(3600))).expect("a token");
        assert_eq!(ends["expiresAt"], "2020-12-02T11:13:19+00:00");
    }

    #[test]
    fn assets_are_where_players_look_for_them() {
        let base = "https://media.example.com";
        for (printed, wanted) in [
            (
                video("vi1", "pt", base),
                [
                    ("player", "/vod/vi1?token=pt"),
                    ("hls", "/vod/vi1/token/pt/hls/manifest.m3u8"),
                    ("mp4", "/vod/vi1/token/pt/mp4/source.mp4"),
                    ("thumbnail", "/vod/vi1/token/pt/thumbnail.jpg"),
                ]
                .as_slice(),
            ),
            (live_stream("li1", "pt", base), &[("hls", "/private/pt/li1.m3u8")]),
        ] {
            assert_eq!(printed["public"], false);
            for (name, path) in wanted {
                assert_eq!(printed["assets"][name], format!("{base}{path}"), "{name}");
            }
        }
    }

    #[test]
    fn links_lead_on_and_back() {
        let rels = |page, total| {
            let paging = Paging { order: Order::Created, descending: true, page, size: 25 };
            let printed = super::page(&[], paging, total);
            let links = printed["pagination"]["links"].as_array().expect("links").clone();
            links
                .iter()
                .map(|link| format!("{} {}", link["rel"].as_str().expect("rel"), link["uri"].as_str().expect("uri")))
                .collect::<Vec<_>>()
        };
        let uri = |rel: &str, page: u64| format!("{rel} /upload-tokens?currentPage={page}&pageSize=25");
        assert_eq!(rels(1, 2), [uri("self", 1), uri("first", 1), uri("last", 1)]);
        assert_eq!(rels(2, 60), [uri("self", 2), uri("first", 1), uri("previous", 1), uri("next", 3), uri("last", 3)]);
        assert_eq!(rels(1, 0), [uri("self", 1), uri("first", 1), uri("last", 1)]);
    }
}
