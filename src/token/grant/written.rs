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
