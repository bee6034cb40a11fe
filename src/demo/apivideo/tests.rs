//! The stand-in's rules, call by call.

use http::HeaderValue;

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);
const KEY: &str = "9VxMaPgsaFg7EBqmuspSzF7";

fn vendor() -> Apivideo {
    Apivideo::new(Settings { least_part: 4, ..Settings::new(KEY) })
}

fn call(method: &str, target: &str, fields: &[(&'static str, &str)], body: &[u8]) -> Call {
    let mut headers = http::HeaderMap::new();
    for (name, value) in fields {
        headers.insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    let (method, target) = (method.parse().expect("a method"), target.parse().expect("a target"));
    Call { method, target, headers, body: Bytes::copy_from_slice(body), length: body.len() as u64, whole: true }
}

/// Status, slug of the problem, and the body.
fn ask(vendor: &Apivideo, now: UnixTime, call: &Call) -> (u16, String, Value) {
    let response = vendor.answer(call, now);
    let body: Value = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
    let slug = body["type"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or("").to_owned();
    (response.status().as_u16(), slug, body)
}

const BASIC: (&str, &str) = ("authorization", "Basic OVZ4TWFQZ3NhRmc3RUJxbXVzcFN6Rjc6");

fn form(video: Option<&str>, files: &[&str]) -> Vec<u8> {
    let mut body = String::new();
    if let Some(video) = video {
        body += &format!("--b\r\nContent-Disposition: form-data; name=\"videoId\"\r\n\r\n{video}\r\n");
    }
    for file in files {
        body += &format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n{file}\r\n");
    }
    (body + "--b--\r\n").into_bytes()
}

fn upload(vendor: &Apivideo, token: &str, video: Option<&str>, (range, file): (&str, &str)) -> (u16, String, Value) {
    let fields = [("content-type", "multipart/form-data; boundary=b"), ("content-range", range)];
    ask(vendor, NOW, &call("POST", &format!("/upload?token={token}"), &fields, &form(video, &[file])))
}

#[test]
fn who_calls_is_looked_at() {
    let vendor = vendor();
    for (field, expected) in [
        ("", "authentication-missing-authorization-header"),
        ("Digest x", "authentication-invalid-authorization-header-value"),
        ("Basic eDo=", "authentication-invalid-api-key"),
        ("Bearer x", "authentication-invalid-access-token"),
    ] {
        let (status, slug, _) = ask(&vendor, NOW, &call("GET", "/upload-tokens", &[("authorization", field)], b""));
        assert_eq!((status, slug.as_str()), (401, expected), "{field}");
    }
    assert_eq!(ask(&vendor, NOW, &call("GET", "/upload-tokens", &[BASIC], b"")).0, 200);
}

#[test]
fn refresh_tokens_are_good_once_and_access_tokens_for_an_hour() {
    let vendor = vendor();
    let post =
        |path: &str, body: &Value| ask(&vendor, NOW, &call("POST", path, &[("content-type", "text/plain")], body.to_string().as_bytes()));
    assert_eq!(post("/auth/api-key", &json!({ "apiKey": "x" })).0, 400);
    let (_, _, first) = post("/auth/api-key", &json!({ "apiKey": KEY }));
    let refresh = json!({ "refreshToken": first["refresh_token"] });
    assert_eq!(post("/auth/refresh", &refresh).0, 200);
    assert_eq!(post("/auth/refresh", &refresh).1, "authentication-invalid-user-credentials");
    let bearer = format!("Bearer {}", first["access_token"].as_str().expect("a token"));
    let list = call("GET", "/upload-tokens", &[("authorization", &bearer)], b"");
    assert_eq!((ask(&vendor, NOW.plus(3599), &list).0, ask(&vendor, NOW.plus(3600), &list).0), (200, 401));
}

#[test]
fn upload_tokens_live_as_long_as_they_say() {
    let vendor = vendor();
    let create = |body: &str| ask(&vendor, NOW, &call("POST", "/upload-tokens", &[BASIC], body.as_bytes()));
    assert_eq!(create("{\"ttl\":-1}").1, "invalid-attribute");
    let (status, _, made) = create("{\"ttl\":60}");
    assert_eq!(
        (status, made["createdAt"].as_str(), made["expiresAt"].as_str()),
        (200, Some("2027-01-15T08:00:00+00:00"), Some("2027-01-15T08:01:00+00:00"))
    );
    assert_eq!(create("").2.get("expiresAt"), None);
    let get = call("GET", &format!("/upload-tokens/{}", made["token"].as_str().expect("a token")), &[BASIC], b"");
    assert_eq!((ask(&vendor, NOW.plus(59), &get).0, ask(&vendor, NOW.plus(60), &get).1.as_str()), (200, "resource-not-found"));
    let delete = Call { method: Method::DELETE, ..get };
    assert_eq!((vendor.answer(&delete, NOW).status().as_u16(), ask(&vendor, NOW, &delete).0), (204, 404));
}

#[test]
fn lists_have_pages() {
    let vendor = vendor();
    (0..30).for_each(|_| drop(vendor.make_upload_token(0, NOW)));
    let list = |query: &str| ask(&vendor, NOW, &call("GET", &format!("/upload-tokens?{query}"), &[BASIC], b""));
    let (_, _, second) = list("currentPage=2&pageSize=25");
    assert_eq!((second["data"].as_array().map(Vec::len), &second["pagination"]["pagesTotal"]), (Some(5), &json!(2)));
    let rels: Vec<&str> = second["pagination"]["links"].as_array().expect("links").iter().filter_map(|link| link["rel"].as_str()).collect();
    assert_eq!(rels, ["self", "first", "previous", "last"]);
    for bad in ["pageSize=101", "currentPage=0", "sortBy=x", "sortOrder=x"] {
        assert_eq!(list(bad).1, "request-invalid-query-parameter", "{bad}");
    }
}

#[test]
fn an_upload_needs_a_token_and_one_file() {
    let vendor = vendor();
    let token = vendor.make_upload_token(60, NOW);
    let post = |target: &str, now: UnixTime, body: &[u8]| {
        ask(&vendor, now, &call("POST", target, &[("content-type", "multipart/form-data; boundary=b")], body))
    };
    let with = format!("/upload?token={token}");
    for (target, now, body, expected) in [
        ("/upload", NOW, form(None, &["x"]), "authentication-missing-upload-token"),
        ("/upload?token=to1", NOW, form(None, &["x"]), "authentication-invalid-upload-token"),
        (&with, NOW.plus(60), form(None, &["x"]), "authentication-invalid-upload-token"),
        (&with, NOW, form(None, &[]), "uploaded-file-no-file"),
        (&with, NOW, b"x".to_vec(), "uploaded-file-no-file"),
        (&with, NOW, form(None, &["x", "y"]), "uploaded-file-multiple-files"),
        (&with, NOW, form(None, &[""]), "uploaded-file-empty"),
        (&with, NOW, form(Some("vi1"), &["x"]), "resource-not-found"),
    ] {
        assert_eq!(post(target, now, &body).1, expected, "{target}");
    }
    assert_eq!(vendor.uploads(), []);
    let (status, _, video) = post(&with, NOW, &form(None, &["film"]));
    assert_eq!((status, video["title"].as_str()), (201, Some("a.mp4")));
    assert_eq!((&vendor.uploads()[0].bytes[..], vendor.uploads()[0].whole), (&b"film"[..], true));
}

#[test]
fn parts_make_one_file_only_with_the_video_they_began() {
    let vendor = vendor();
    let token = vendor.make_upload_token(0, NOW);
    let (_, _, first) = upload(&vendor, &token, None, ("part 2/3", "bbbb"));
    let id = first["videoId"].as_str().expect("an id");
    assert_eq!(first, json!({ "videoId": id }));
    assert_eq!(upload(&vendor, &token, Some(id), ("part 1/*", "aaaa")).2, json!({ "videoId": id }));
    // Without the id it is another video.
    assert_ne!(upload(&vendor, &token, None, ("part 3/3", "c")).2["videoId"], json!(id));
    let other = vendor.make_upload_token(0, NOW);
    assert_eq!(upload(&vendor, &other, Some(id), ("part 3/3", "c")).1, "resource-not-found");
    assert_eq!(upload(&vendor, &token, Some(id), ("part 3/3", "c")).2["title"], "a.mp4");
    assert_eq!((&vendor.uploads()[0].bytes[..], vendor.uploads()[0].whole), (&b"aaaabbbbc"[..], true));
    assert_eq!(upload(&vendor, &token, Some(id), ("part 3/3", "c")).1, "video-source-already-uploaded");
}

#[test]
fn a_last_part_says_how_many_there_are() {
    let vendor = vendor();
    let token = vendor.make_upload_token(0, NOW);
    let (_, _, first) = upload(&vendor, &token, None, ("part 1/*", "aaaa"));
    let id = first["videoId"].as_str().expect("an id");
    assert!(upload(&vendor, &token, Some(id), ("part 2/2", "b")).2.get("assets").is_some());
    let (_, _, only) = upload(&vendor, &token, None, ("part 1/1", "b"));
    assert!(only.get("assets").is_some());
}

#[test]
fn bad_parts_are_refused() {
    let vendor = vendor();
    let token = vendor.make_upload_token(0, NOW);
    for (range, expected) in [
        ("part 1", "malformed"),
        ("part -1/2", "malformed"),
        ("chunk 1/2", "malformed"),
        ("bytes 0-3", "malformed"),
        ("part 0/2", "by-part-part-zero"),
        ("part 1/0", "by-part-total-parts-zero"),
        ("part 3/2", "by-part-part-too-high-total"),
        ("part 10001/*", "by-part-part-too-high-allowed"),
        ("part 1/10001", "by-part-total-parts-too-high"),
        ("bytes 0-3/0", "by-bytes-total-bytes-zero"),
        ("bytes 3-2/9", "by-bytes-from-byte-too-high"),
        ("bytes 0-9/9", "by-bytes-to-byte-too-high-total"),
        ("bytes 0-4/9", "by-bytes-range-mismatch"),
    ] {
        assert_eq!(upload(&vendor, &token, None, (range, "aaaa")).1, format!("video-content-range-{expected}"), "{range}");
    }
    assert_eq!(upload(&vendor, &token, None, ("part 1/2", "aaa")).1, "video-content-range-by-part-uploaded-file-too-small");
    let (_, _, first) = upload(&vendor, &token, None, ("part 1/3", "aaaa"));
    let id = first["videoId"].as_str();
    for (range, expected) in [
        ("part 1/3", "by-part-part-already-sent"),
        ("part 2/4", "by-part-different-total-parts"),
        ("part 4/*", "by-part-part-too-high-total"),
        ("bytes 0-3/9", "started-with-part"),
    ] {
        assert_eq!(upload(&vendor, &token, id, (range, "aaaa")).1, format!("video-content-range-{expected}"), "{range}");
    }
    let (_, _, first) = upload(&vendor, &token, None, ("bytes 0-3/9", "aaaa"));
    let id = first["videoId"].as_str();
    for (range, expected) in
        [("bytes 2-5/9", "by-bytes-range-overlap"), ("bytes 4-7/10", "by-bytes-different-total-bytes"), ("part 1/3", "started-with-bytes")]
    {
        assert_eq!(upload(&vendor, &token, id, (range, "aaaa")).1, format!("video-content-range-{expected}"), "{range}");
    }
    assert!(upload(&vendor, &token, id, ("bytes 4-8/9", "bbbbb")).2.get("assets").is_some());
}

#[test]
fn a_private_video_is_opened_once_or_in_a_session() {
    let vendor = vendor();
    let id = vendor.make_private_video(b"film", NOW);
    let token = || {
        let (_, _, video) = ask(&vendor, NOW, &call("GET", &format!("/videos/{id}"), &[BASIC], b""));
        let hls = video["assets"]["hls"].as_str().expect("an address").to_owned();
        hls.split('/').nth(6).expect("a token").to_owned()
    };
    let get =
        |now: UnixTime, token: &str, rest: &str| vendor.answer(&call("GET", &format!("/vod/{id}/token/{token}/{rest}"), &[], b""), now);
    let first = token();
    assert_eq!(get(NOW, &first, "mp4/source.mp4").body(), "film");
    assert_eq!(get(NOW, &first, "mp4/source.mp4").status(), 404);
    let second = token();
    let session: Value = serde_json::from_slice(get(NOW, &second, "session").body()).expect("JSON");
    let file = format!("mp4/source.mp4?avh={}", session["session_token"].as_str().expect("a session"));
    assert_eq!(get(NOW.plus(86_399), &second, &file).status(), 200);
    assert_eq!(get(NOW.plus(86_400), &second, &file).status(), 404);
}

#[test]
fn a_minute_has_so_many_calls() {
    let vendor = Apivideo::new(Settings { rates: [1, 1, 2], ..Settings::new(KEY) });
    let list = call("GET", "/upload-tokens", &[BASIC], b"");
    let seen = |now: UnixTime| {
        let response = vendor.answer(&list, now);
        let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        (response.status().as_u16(), field("x-ratelimit-remaining"), field("x-ratelimit-retry-after"))
    };
    assert_eq!(seen(NOW), (200, "1".into(), "60".into()));
    assert_eq!(seen(NOW.plus(1)), (200, "0".into(), "59".into()));
    assert_eq!(seen(NOW.plus(2)), (429, "0".into(), "58".into()));
    assert_eq!(seen(NOW.plus(60)).0, 200);
}

#[test]
fn unknown_places_and_methods_are_told_apart() {
    let vendor = vendor();
    for (method, path, expected) in [
        ("GET", "/upload", "method-not-allowed"),
        ("PUT", "/upload-tokens", "method-not-allowed"),
        ("GET", "/nothing", "unrecognized-request-url"),
        ("GET", "/videos/a/b/c", "unrecognized-request-url"),
    ] {
        assert_eq!(ask(&vendor, NOW, &call(method, path, &[BASIC], b"")).1, expected, "{method} {path}");
    }
    let preflight =
        vendor.answer(&call("OPTIONS", "/upload", &[("access-control-request-headers", "content-range,av-origin-client")], b""), NOW);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "content-range,av-origin-client");
}
