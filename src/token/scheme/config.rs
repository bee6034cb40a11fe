//! The schemes of the config: one `[schemes.NAME]` table each, told apart by its `type`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::name::Name;

/// One `[schemes.NAME]` table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum SchemeConfig {
    /// Cloudflare Stream signed URLs.
    CloudflareStream(super::cloudflare_stream::Config),
    /// Mux signed playback.
    Mux(super::mux::Config),
    /// Any JWS.
    Jwt(Box<super::jwt::Config>),
    /// Links signed by a digest or HMAC over parts of the request.
    DigestUrl(Box<super::digest_url::Config>),
    /// URI Signing for CDNI.
    Rfc9246(Box<super::rfc9246::Config>),
    /// Apache Traffic Server's `url_sig`.
    AtsUrlSig(super::ats_url_sig::Config),
    /// Apache Traffic Server's `access_control`.
    AtsAccessControl(super::ats_access_control::Config),
    /// Amazon IVS private channels.
    AmazonIvs(super::amazon_ivs::Config),
    /// AWS Secure Media Delivery at the Edge.
    AwsSmd(super::aws_smd::Config),
    /// Common Access Token.
    #[serde(rename = "cta-5007")]
    Cta5007(Box<super::cta_5007::Config>),
}

impl SchemeConfig {
    /// The key set it names.
    #[must_use]
    pub fn keys(&self) -> &Name {
        match self {
            Self::CloudflareStream(config) => &config.keys,
            Self::Mux(config) => &config.keys,
            Self::Jwt(config) => &config.keys,
            Self::DigestUrl(config) => &config.keys,
            Self::Rfc9246(config) => &config.keys,
            Self::Cta5007(config) => &config.keys,
            Self::AmazonIvs(config) => &config.keys,
            Self::AwsSmd(config) => &config.keys,
            Self::AtsUrlSig(config) => &config.keys,
            Self::AtsAccessControl(config) => &config.keys,
        }
    }

    /// The scheme, with its keys in hand.
    ///
    /// # Errors
    /// A sentence for the operator when the table does not make sense.
    pub fn build(&self, keys: crate::token::KeySource) -> Result<Box<dyn super::Scheme>, String> {
        Ok(match self {
            Self::CloudflareStream(config) => Box::new(super::cloudflare_stream::CloudflareStream::new(config, keys)?),
            Self::Mux(config) => Box::new(super::mux::Mux::new(config, keys)?),
            Self::Jwt(config) => Box::new(super::jwt::Jwt::new(config, keys)?),
            Self::DigestUrl(config) => Box::new(super::digest_url::DigestUrl::new(config, keys)?),
            Self::Rfc9246(config) => Box::new(super::rfc9246::Rfc9246::new(config, keys)?),
            Self::AtsUrlSig(config) => Box::new(super::ats_url_sig::AtsUrlSig::new(config, keys)?),
            Self::AtsAccessControl(config) => Box::new(super::ats_access_control::AtsAccessControl::new(config, keys)?),
            Self::AmazonIvs(config) => Box::new(super::amazon_ivs::AmazonIvs::new(config, keys)?),
            Self::AwsSmd(config) => Box::new(super::aws_smd::AwsSmd::new(config, keys)?),
            Self::Cta5007(config) => Box::new(super::cta_5007::Cta5007::new(config, keys)?),
        })
    }
}
