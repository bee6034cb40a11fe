//! What is refused before a connection is tried.

use super::*;

fn fault(toml: &str) -> Option<String> {
    let config: ValkeyStoreConfig = toml::from_str(toml).expect("a table");
    let variable = |name: &str| (name == "PASSWORD").then(|| "secret".to_owned());
    way(&config, Place { folder: Path::new("/nowhere"), variable: &variable }).err()
}

#[test]
fn what_cannot_be_safe_is_refused() {
    for (toml, word) in [
        (r#"url = "http://h:1""#, "is not redis://"),
        (r#"url = "redis://user:secret@h:1""#, "must not carry"),
        (r#"url = "rediss://h:1#insecure""#, "must not contain"),
        ("url = 'redis://h:1'\nmore_urls = ['redis://i:1']", "cluster = true"),
        ("url = 'redis://h:1'\nusername = 'u'", "needs password_file"),
        ("url = 'redis://h:1'\npassword_env = 'NONE'", "is not set"),
        ("url = 'redis://h:1'\npassword_env = 'PASSWORD'\npassword_file = 'f'", "only one of"),
        ("url = 'rediss://h:1'\nclient_key_file = 'k'", "go together"),
        ("url = 'rediss://h:1'\nca_file = 'none.pem'", "cannot read /nowhere/none.pem"),
    ] {
        let fault = fault(toml).unwrap_or_else(|| panic!("{toml} is taken"));
        assert!(fault.contains(word), "{toml}: {fault}");
        assert!(!fault.contains("secret@"), "{fault}");
    }
    assert_eq!(fault("url = 'rediss://h:1'\nusername = 'u'\npassword_env = 'PASSWORD'"), None);
}

#[test]
fn all_keys_of_a_fleet_lie_in_one_slot() {
    for (prefix, want) in [("tollgate:", "{tollgate:}"), ("a{b}:", "a{b}:")] {
        let config = toml::from_str(&format!("url = 'redis://h:1'\nprefix = '{prefix}'")).expect("a table");
        assert_eq!(base(&config), want);
    }
}
