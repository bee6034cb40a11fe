//! Two whole gateways on one ledger: what one of them issues, the other takes; what one withdraws, both refuse.

use serde_json::{Value, json};

use super::{gateway, gateway_with, shared, within_promise};
use crate::dialects::flows::{UID, apivideo, cloudflare, text, ziggeo};
use crate::dialects::{ADMIN, APP, Rig, basic, body};
use crate::fleet::server::{self, Server, programs};
use crate::rig::{self, Answer, Folder};

/// A server with two gateways on it.
fn fleets(what: &str) -> Vec<(&'static str, Server, [Rig; 2])> {
    let start = |program: &crate::fleet::server::Program| {
        let (server, folder) = (Server::start(program, &[]), Folder::new());
        let both = [gateway(&server, &folder), gateway(&server, &folder)];
        (program.name, server, both)
    };
    programs(what).iter().map(start).collect()
}

fn upload_token(rig: &Rig) -> String {
    text(&body(&apivideo(rig, "POST", "/upload-tokens", "{\"ttl\":600}")), "token").to_owned()
}

fn upload(rig: &Rig, token: &str) -> Answer {
    rig.play("POST", &format!("/upload?token={token}"))
}

#[test]
fn what_one_issues_the_other_takes_at_once_and_both_refuse_what_one_withdraws() {
    for (name, _server, [one, two]) in fleets("upload tokens of a fleet") {
        // It is asked for before it is there, so that its absence is remembered.
        assert_eq!(upload(&two, "to0000000000000000000000").status, 401);
        for _ in 0..20 {
            let token = upload_token(&one);
            assert_eq!(upload(&two, &token).status, 201, "{name}");
        }
        let token = upload_token(&one);
        assert_eq!((upload(&one, &token).status, upload(&two, &token).status), (201, 201));
        let seen = body(&apivideo(&two, "GET", &format!("/upload-tokens/{token}"), ""));
        assert_eq!(seen["token"], token);
        assert_eq!(body(&apivideo(&two, "GET", "/upload-tokens?pageSize=5", ""))["pagination"]["itemsTotal"], 21);
        assert_eq!(apivideo(&one, "DELETE", &format!("/upload-tokens/{token}"), "").status, 204);
        assert_eq!(upload(&one, &token).status, 401, "here, the very next one");
        let took = within_promise("refused elsewhere", || upload(&two, &token).status == 401);
        eprintln!("{name}: a token that one gateway deleted was refused by the other {took:?} later");
        let again = apivideo(&two, "DELETE", &format!("/upload-tokens/{token}"), "");
        assert_eq!(again.status, 404);
    }
}

#[test]
fn signing_keys_of_one_verify_on_the_other_until_either_deletes_them() {
    for (name, _server, [one, two]) in fleets("signing keys of a fleet") {
        let play = |rig: &Rig, token: &str| rig.play("GET", &format!("/cf/{token}/manifest/video.m3u8"));
        let minted = body(&cloudflare(&one, "POST", &format!("{UID}/token"), json!({})));
        let own = text(&minted["result"], "token").to_owned();
        let took = within_promise("the account's own key", || play(&two, &own).status == 200);
        eprintln!("{name}: a key that one gateway made verified on the other {took:?} later");
        // Both sign with the one key of the account, whoever needed it first.
        let others = text(&body(&cloudflare(&two, "POST", &format!("{UID}/token"), json!({})))["result"], "token").to_owned();
        assert_eq!(play(&one, &others).status, 200);
        let key = body(&cloudflare(&one, "POST", "keys", Value::Null))["result"].clone();
        let fields = json!({ "id": key["id"], "pem": key["pem"] });
        let given = text(&body(&cloudflare(&two, "POST", &format!("{UID}/token"), fields))["result"], "token").to_owned();
        within_promise("a key of the caller's", || play(&two, &given).status == 200);
        assert_eq!(play(&one, &given).status, 200);
        let id = text(&key, "id");
        assert_eq!(cloudflare(&two, "DELETE", &format!("keys/{id}"), Value::Null).status, 200);
        assert_eq!(play(&two, &given).code(), "token_invalid", "here, the very next one");
        let took = within_promise("its tokens are refused elsewhere", || play(&one, &given).code() == "token_invalid");
        eprintln!("{name}: tokens of a key that one gateway deleted were refused by the other {took:?} later");
        assert_eq!((play(&one, &own).status, play(&two, &own).status), (200, 200));
    }
}

#[test]
fn api_keys_of_one_open_routes_of_the_other_until_either_withdraws_them() {
    for program in programs("API keys of a fleet") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let takes_keys = |config: &mut Value| {
            config["schemes"]["backend"] = json!({ "type": "api-key", "dialect": "apivideo", "account": "acme" });
            config["routes"]
                .as_array_mut()
                .expect("routes")
                .push(json!({ "name": "videos", "path": "/videos", "methods": ["POST"], "accept": ["backend"], "origin": "media" }));
        };
        let [one, two] = [gateway_with(&server, &folder, takes_keys), gateway_with(&server, &folder, takes_keys)];
        let admin = format!("Bearer {ADMIN}");
        let admin = [("Authorization", admin.as_str()), ("Content-Type", "application/json")];
        let made = body(&one.call("POST", "/v1/api-keys", &admin, "{\"name\":\"app\",\"role\":\"issuer\"}"));
        let access = body(&one.call("POST", "/auth/api-key", &[], &json!({ "apiKey": made["key"] }).to_string()));
        let ways = [basic(text(&made, "key"), ""), format!("Bearer {}", text(&access, "access_token"))];
        let send = |rig: &Rig, way: &str| rig.send("POST", "/videos/vi1/source", &[("Authorization", way)]).status;
        for way in &ways {
            assert_eq!((send(&one, way), send(&two, way)), (201, 201), "{}: at once", program.name);
        }
        assert_eq!(two.call("DELETE", &format!("/v1/api-keys/{}", text(&made, "id")), &admin, "").status, 200);
        for way in &ways {
            assert_eq!(send(&two, way), 401, "{}: here, the very next one", program.name);
            within_promise("refused elsewhere", || send(&one, way) == 401);
        }
    }
}

#[test]
fn what_is_said_of_a_video_holds_on_both() {
    for (name, _server, [one, two]) in fleets("settings of videos of a fleet") {
        let open = |rig: &Rig| rig.play("GET", &format!("/cf/{UID}/manifest/video.m3u8")).status == 200;
        assert!(!open(&two), "nothing was said: protected");
        for (says, hears, signed) in [(&one, &two, false), (&two, &one, true), (&one, &two, false)] {
            let said = cloudflare(says, "POST", UID, json!({ "uid": UID, "requireSignedURLs": signed }));
            assert_eq!((said.status, open(says)), (200, !signed), "{name}");
            within_promise("said elsewhere", || open(hears) != signed);
        }
    }
}

#[test]
fn a_one_time_token_is_used_once_over_both() {
    for (name, _server, [one, two]) in fleets("one-time tokens of a fleet") {
        for round in 0..20 {
            let video = body(&apivideo(&one, "GET", "/videos/vi4k0jvEUuaTdRAEjQ4Jfrgz", ""));
            let url = text(&video["assets"], "hls").to_owned();
            let target = &url[url.find("/vod/").expect("a path")..];
            // Both at the same time: the store lets one of them through.
            let play = |rig: &Rig| rig.play("GET", target);
            let (here, there) = std::thread::scope(|scope| {
                let there = scope.spawn(|| play(&two));
                (play(&one), there.join().expect("no panic"))
            });
            let mut statuses = [here.status, there.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 404], "{name}, round {round}");
            assert_eq!((play(&one).status, play(&two).status), (404, 404));
            let first = if here.status == 200 { here } else { there };
            let session = first.field("x-token-session").to_owned();
            let goes_on = format!("{target}?avh={session}");
            assert_eq!((one.play("GET", &goes_on).status, two.play("GET", &goes_on).status), (200, 200), "its session goes on on both");
        }
    }
}

#[test]
fn auth_tokens_and_what_sessions_made_hold_on_both() {
    for (name, _server, [one, two]) in fleets("auth tokens of a fleet") {
        let grants = "key=mine&grants[create][all]=true&grants[read][session_owned]=true";
        let token = text(&body(&ziggeo(&one, "POST", "/v1/authtokens/", grants)), "token").to_owned();
        assert_eq!(body(&ziggeo(&two, "GET", "/v1/authtokens/mine", ""))["token"], token, "by its key, elsewhere");
        let said = one.play("POST", &format!("/v1/applications/{APP}/session"));
        let session = text(&body(&said), "token").to_owned();
        let ask = |rig: &Rig, method: &str, rest: &str| {
            let carried = format!("server_auth={token}&i07af2jp98rvoctt26y5egy3{APP}={session}");
            rig.play(method, &format!("/v1/applications/{APP}/videos/{rest}?{carried}"))
        };
        assert_eq!(ask(&two, "GET", "made1/video.mp4").code(), "token_entitlement", "remembered as nobody's");
        assert_eq!(ask(&one, "POST", "videos-upload-url").status, 201);
        within_promise("made elsewhere", || ask(&two, "GET", "made1/video.mp4").status == 200);
        assert_eq!(ziggeo(&two, "POST", &format!("/v1/authtokens/{token}"), "hidden=True").status, 200);
        let took = within_promise("a change elsewhere", || ask(&one, "GET", "made1/video.mp4").code() == "token_invalid");
        eprintln!("{name}: a token that one gateway changed was refused by the other {took:?} later");
    }
}

/// Asks the gateway's own API.
pub(super) fn own(rig: &Rig, key: &str, (method, target): (&str, &str), fields: Value, once: Option<&str>) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    headers.extend(once.map(|once| ("Idempotency-Key", once)));
    rig.call(method, target, &headers, &if fields.is_null() { String::new() } else { fields.to_string() })
}

/// With a scheme whose keys are made over the gateway's own API, on a route of its own.
pub(super) fn signing(config: &mut Value) {
    config["keys"]["own"] = json!({ "ledger": "acme", "algorithm": "EdDSA" });
    config["schemes"]["own"] = json!({ "type": "jwt", "keys": "own" });
    let route = json!({ "name": "own", "path": "/own", "accept": ["own"], "origin": "media" });
    config["routes"].as_array_mut().expect("routes").push(route);
}

#[test]
fn tokens_of_the_own_api_are_withdrawn_on_both_and_keys_to_it_open_both() {
    for program in programs("tokens of the own API over a fleet") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let [one, two] = [gateway_with(&server, &folder, signing), gateway_with(&server, &folder, signing)];
        let made = own(&one, ADMIN, ("POST", "/v1/api-keys"), json!({ "name": "ci", "role": "admin" }), None);
        let key = text(&body(&made), "key").to_owned();
        assert_eq!(own(&two, &key, ("POST", "/v1/keys"), json!({ "kind": "ed25519" }), None).status, 201, "{}", program.name);
        let wanted = json!({ "scheme": "own", "url": "https://gate.test/own/a.mp4", "ttl": 600 });
        let issue = || own(&one, &key, ("POST", "/v1/tokens"), wanted.clone(), None);
        within_promise("it signs with the other's key", || issue().status == 201);
        let issued = body(&issue());
        let target = text(&issued, "url").replacen("https://gate.test", "", 1);
        assert_eq!((one.play("GET", &target).status, two.play("GET", &target).status), (200, 200));
        let id = text(&issued, "id").to_owned();
        assert_eq!(own(&two, &key, ("DELETE", &format!("/v1/tokens/{id}")), Value::Null, None).status, 200);
        assert_eq!(two.play("GET", &target).code(), "token_revoked", "here, the very next one");
        let took = within_promise("withdrawn elsewhere", || one.play("GET", &target).code() == "token_revoked");
        eprintln!("{}: a token that one gateway withdrew was refused by the other {took:?} later", program.name);
        let late = gateway_with(&server, &folder, signing);
        assert_eq!(late.play("GET", &target).code(), "token_revoked", "by a gateway that starts later");
        let id = text(&body(&made), "id").to_owned();
        assert_eq!(own(&one, ADMIN, ("DELETE", &format!("/v1/api-keys/{id}")), Value::Null, None).status, 200);
        within_promise("its key is withdrawn", || own(&two, &key, ("GET", "/v1/tokens"), Value::Null, None).status == 401);
    }
}

#[test]
fn what_is_asked_of_both_under_one_idempotency_key_is_made_once() {
    for (name, _server, [one, two]) in fleets("idempotency keys of a fleet") {
        for round in 0..10 {
            let once = format!("once-{round}");
            let ask = |rig: &Rig| loop {
                let answer = own(rig, ADMIN, ("POST", "/v1/api-keys"), json!({ "name": "n", "role": "reader" }), Some(&once));
                // The other one is still under way.
                if answer.status != 409 {
                    return answer;
                }
            };
            let (here, there) = std::thread::scope(|scope| {
                let there = scope.spawn(|| ask(&two));
                (ask(&one), there.join().expect("no panic"))
            });
            assert_eq!((here.status, body(&here)), (201, body(&there)), "{name}, round {round}");
            let total = body(&own(&two, ADMIN, ("GET", "/v1/api-keys"), Value::Null, None))["total"].clone();
            assert_eq!(total, json!(round + 1));
        }
    }
}

#[test]
fn a_user_who_may_not_listen_hears_by_polling_and_a_cluster_holds_a_ledger_on_one_node() {
    for program in programs("a ledger by polling alone, and on a cluster") {
        let user = "--user tollgate on >open-sesame resetchannels ~{tollgate:}* +@read +@write +@scripting +@connection +time";
        let arguments: Vec<_> = user.split(' ').chain(["--user", "default", "off"]).map(str::to_owned).collect();
        let quiet = Server::start(&program, &arguments);
        let cluster = server::cluster(&program, 1).remove(0);
        for (server, more) in [(quiet, json!({ "username": "tollgate" })), (cluster, json!({ "cluster": true }))] {
            let folder = Folder::new();
            let password = folder.file("password", "open-sesame");
            let start = || {
                gateway_with(&server, &folder, |config| {
                    let mut valkey = crate::support::gateway::over(config["ledger"]["valkey"].take(), more.clone());
                    if more["username"].is_string() {
                        valkey["password_file"] = json!(password);
                    }
                    config["ledger"]["valkey"] = valkey;
                })
            };
            let [one, two] = [start(), start()];
            let token = upload_token(&one);
            assert_eq!((upload(&one, &token).status, upload(&two, &token).status), (201, 201));
            assert_eq!(apivideo(&one, "DELETE", &format!("/upload-tokens/{token}"), "").status, 204);
            let took = within_promise("refused elsewhere", || upload(&two, &token).status == 401);
            eprintln!("{} with {more}: refused by the other {took:?} later", program.name);
        }
    }
}

#[test]
fn copies_are_made_and_taken_in_beside_running_gateways() {
    for program in programs("copies of a shared ledger") {
        let (server, folder) = (Server::start(&program, &[]), Folder::new());
        let one = gateway(&server, &folder);
        let token = upload_token(&one);
        let config = folder.file("tollgate.json", &json!({ "ledger": shared(&server, &folder) }).to_string());
        let copy = folder.path().join("copy");
        let ledger = |command: &str| {
            let arguments = ["ledger", command, "--config", config.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8")];
            let ended = rig::run(&arguments, folder.path());
            assert!(ended.well(), "{ended:?}");
        };
        ledger("export");
        assert!(!std::fs::read_to_string(&copy).expect("a copy").contains(&token), "the copy is sealed");
        assert_eq!(apivideo(&one, "DELETE", &format!("/upload-tokens/{token}"), "").status, 204);
        assert_eq!(upload(&one, &token).status, 401);
        ledger("import");
        within_promise("taken in", || upload(&one, &token).status == 201);
    }
}
