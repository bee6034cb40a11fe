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
