//! The own API, held to its description by schemathesis: no fault of the gateway, no answer that the description does not know.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::own::issuing;
use super::{ADMIN, Issuing};
use crate::rig::Folder;
use crate::support::Origin;
use crate::tool;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/schemathesis");

/// Not all: a JSON schema has no words for which schemes, policies and addresses there are, and there is one caller.
const LEFT_OUT: &str = "positive_data_acceptance,object_level_authorization";

/// Runs it with the admin's key; gives what it says when it finds something.
fn run(issuing: &Issuing) -> Result<String, String> {
    let folder = Folder::new();
    let mut command = Command::new("python3");
    command.args(["-m", "schemathesis.cli", "--no-color", "run", &format!("http://{}/openapi.json", issuing.control)]);
    command.args(["--header", &format!("Authorization: Bearer {ADMIN}"), "--generation-deterministic", "--max-examples", "5"]);
    command.args(["--checks", "all", "--exclude-checks", LEFT_OUT, "--phases", "examples,coverage,fuzzing,stateful"]);
    command.args(["--no-shrink", "--continue-on-failure", "--warnings", "off"]);
    command.env("PYTHONPATH", PYTHON).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder.path());
    let ended = tool::run(&mut command, "", Duration::from_secs(120));
    if ended.well() { Ok(ended.stdout) } else { Err(format!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr)) }
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let packages = Path::new(PYTHON).join("schemathesis").exists();
    let missing = tool::find("python3").is_none().then_some("python3").or_else(|| (!packages).then_some("target/schemathesis"));
    if !tool::here("holding the control API to its description", missing) {
        return;
    }
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    assert_eq!(issuing.ask(ADMIN, "POST", "/v1/keys", json!({})).await.status(), 201);
    let (said, issuing) = tokio::task::spawn_blocking(move || (run(&issuing), issuing)).await.expect("run");
    let said = said.unwrap_or_else(|found| panic!("{found}"));
    assert!(said.contains("18 selected / 18 total"), "not all operations were tried:\n{said}");
    let issued = issuing.ask(ADMIN, "GET", "/v1/tokens?policy=trailer", serde_json::Value::Null).await.json();
    assert!(issued["items"].as_array().is_some_and(|items| !items.is_empty()), "no token was issued on the way");
}
