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

/// A rule of a scheme's own: code, which cannot be written.
pub(super) mod own {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::token::grant::Condition;
    use crate::token::{Denial, RequestFacts};

    #[derive(Debug)]
    struct Never;

    impl Condition for Never {
        fn check(&self, _: &RequestFacts<'_>) -> Result<(), Denial> {
            Err(Denial::Claim)
        }
    }

    pub(in crate::token::grant) fn serialize<S: Serializer>(_: &Arc<dyn Condition>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_unit()
    }

    pub(in crate::token::grant) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<dyn Condition>, D::Error> {
        <()>::deserialize(from).map(|()| Arc::new(Never) as Arc<dyn Condition>)
    }
}

/// Grants inside a grant. A `NoneOf` with a rule in it that cannot be written would let everything in
/// once that rule never holds, so it becomes one that nothing passes.
pub(super) mod combined {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::token::grant::{Binding, Combination, Grant};

    fn is_whole(grant: &Grant) -> bool {
        let inner = grant.combined.iter().all(|combination| match combination {
            Combination::AnyOf(grants) | Combination::NoneOf(grants) => grants.iter().all(is_whole),
        });
        inner && !grant.bindings.iter().any(|binding| matches!(binding, Binding::Own(_)))
    }

    pub(in crate::token::grant) fn serialize<S: Serializer>(all: &[Combination], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|combination| match combination {
            Combination::NoneOf(grants) if !grants.iter().all(is_whole) => Combination::AnyOf(Vec::new()),
            other => other.clone(),
        }))
    }

    pub(in crate::token::grant) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Combination>, D::Error> {
        Vec::deserialize(from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::UnixTime;
    use crate::token::grant::{Binding, Combination, Condition};
    use crate::token::scheme::testkit::Request;
    use crate::token::{Denial, Grant, RequestFacts};

    #[derive(Debug)]
    struct Says(Result<(), Denial>);

    impl Condition for Says {
        fn check(&self, _: &RequestFacts<'_>) -> Result<(), Denial> {
            self.0
        }
    }

    fn bound(says: Result<(), Denial>) -> Grant {
        Grant { bindings: vec![Binding::Own(Arc::new(Says(says)))], ..Grant::default() }
    }

    #[test]
    fn what_cannot_be_written_never_lets_in() {
        let refusing = bound(Err(Denial::Path));
        let deep = Grant { combined: vec![Combination::AnyOf(vec![refusing.clone()])], ..Grant::default() };
        for grant in [
            bound(Ok(())),
            Grant { combined: vec![Combination::AnyOf(vec![bound(Ok(()))])], ..Grant::default() },
            Grant { combined: vec![Combination::NoneOf(vec![refusing])], ..Grant::default() },
            Grant { combined: vec![Combination::NoneOf(vec![deep])], ..Grant::default() },
        ] {
            let request = Request::get("/a");
            assert_eq!(grant.check(&request.facts(), UnixTime(0)), Ok(()));
            let text = serde_json::to_string(&grant).expect("written");
            let read: Grant = serde_json::from_str(&text).expect("read");
            assert!(read.check(&request.facts(), UnixTime(0)).is_err(), "{text}");
        }
    }
}
