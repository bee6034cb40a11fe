//! What is in `deploy/` fits the code beside it.

use tollgate::config::Config;

/// The block of text under `key` in a YAML file, without its indentation.
fn block<'t>(yaml: &'t str, key: &str) -> String {
    let (_, rest) = yaml.split_once(&format!("{key}: |\n")).expect("the key");
    let indent = rest.len() - rest.trim_start_matches(' ').len();
    let inside = |line: &&'t str| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent;
    rest.lines().take_while(inside).map(|line| line.get(indent..).unwrap_or("")).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_sidecar_s_config_is_one() {
    let text = block(include_str!("../../deploy/kubernetes/sidecar.yaml"), "tollgate.toml");
    let config: Config = toml::from_str(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let ports = (config.server.listeners[0].address.port(), config.admin.address.port());
    assert_eq!((ports, config.routes.len()), ((8080, 9900), 1));
}
