//! How the parts of a grant that have no serde of their own are written: as their text.

/// A list of request methods.
pub(super) mod methods {
    use http::Method;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::token::grant) fn serialize<S: Serializer>(methods: &[Method], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(methods.iter().map(Method::as_str))
    }

    pub(in crate::token::grant) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Method>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| Method::from_bytes(text.as_bytes()).map_err(serde::de::Error::custom)).collect()
    }
}

/// A header's name.
pub(super) mod header {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::token::grant) fn serialize<S: Serializer>(name: &HeaderName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(in crate::token::grant) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderName, D::Error> {
        let text = String::deserialize(from)?;
        HeaderName::from_bytes(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// What a scheme keeps cannot be written down; leaving it out would widen the grant.
pub(super) fn no_details<S: serde::Serializer>(details: &super::Details, to: S) -> Result<S::Ok, S::Error> {
    if details.is_none() { to.serialize_unit() } else { Err(serde::ser::Error::custom("the scheme keeps details of this grant")) }
}

/// The same of combinations.
pub(super) fn no_combinations<S: serde::Serializer>(combined: &[super::Combination], to: S) -> Result<S::Ok, S::Error> {
    if combined.is_empty() { to.serialize_unit() } else { Err(serde::ser::Error::custom("this grant has others inside it")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::*;
    use crate::token::access::AccessMatch;

    #[test]
    fn a_grant_comes_back_as_it_was_written() {
        let nets = || vec!["192.0.2.0/24".parse().expect("net"), "2001:db8::/32".parse().expect("net")];
        let countries = || vec![Country::new("SE").expect("country")];
        let bindings = vec![
            Binding::Networks(nets()),
            Binding::Countries(countries()),
            Binding::Methods(vec![Method::GET, Method::from_bytes(b"PURGE").expect("method")]),
            Binding::Systems(vec![64_512]),
            Binding::Hosts(vec!["*.example.com".into()]),
            Binding::AccessRules(vec![
                AccessRule { on: AccessMatch::Any, allow: false },
                AccessRule { on: AccessMatch::Address(nets()), allow: true },
                AccessRule { on: AccessMatch::Country(countries()), allow: true },
            ]),
            Binding::Sealed("mac".into()),
            Binding::Header(http::HeaderName::from_static("x-device"), "1".into()),
            Binding::Referrers(Arc::new(Referrers { allowed: vec!["*".into()], allow_none: true })),
            Binding::UserAgents(Arc::new(UserAgents { allow_none: false, refused: vec!["bot".into()] })),
        ];
        let rules = vec![PathRule::Exact("/a".into()), PathRule::Under("/b".into()), PathRule::Glob("/**".into())];
        let text = |text: &str| Some(Arc::from(text));
        let grant = Grant {
            subject: text("me"),
            device: text("tv"),
            resource: text("film"),
            token_id: text("1"),
            key_id: text("k"),
            window: Window { from: UnixTime(1), until: UnixTime::MAX },
            scope: Scope::Paths(rules),
            bindings,
            session: SessionTerms { concurrent: Some(1), total: None, seconds: Some(9), once: true },
            kind: text("v"),
            downloads: Some(false),
            upstream_query: vec![("a".into(), "b".into())],
            ..Grant::default()
        };
        for grant in [grant, Grant::default()] {
            let written = serde_json::to_string(&grant).expect("written");
            let read: Grant = serde_json::from_str(&written).expect("read");
            assert_eq!(format!("{read:?}"), format!("{grant:?}"));
        }
        // What binds must not be lost on the way: an unknown kind of binding is a fault, not none.
        assert!(serde_json::from_str::<Binding>(r#"{"Moon":1}"#).is_err());
        assert!(serde_json::from_str::<Country>(r#""Sweden""#).is_err());
    }

    #[test]
    fn a_grant_knows_whether_it_can_be_written() {
        #[derive(Debug)]
        struct Never;
        impl Condition for Never {
            fn check(&self, _: &RequestFacts<'_>) -> Result<(), Denial> {
                Err(Denial::Claim)
            }
        }
        let own = Grant { bindings: vec![Binding::Own(Arc::new(Never))], ..Grant::default() };
        let detailed = Grant { details: Details::new(()), ..Grant::default() };
        let combined = Grant { combined: vec![Combination::AnyOf(Vec::new())], ..Grant::default() };
        for (grant, can) in [(Grant::default(), true), (own, false), (detailed, false), (combined, false)] {
            assert_eq!((grant.can_be_written(), serde_json::to_string(&grant).is_ok()), (can, can), "{grant:?}");
        }
    }
}
