//! The schemes of the config: one `[schemes.NAME]` table each, told apart by its `type`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::name::Name;
use crate::token::attributes::Attribute;
use crate::token::{Issued, KeySource, NothingIssued};

/// What a scheme looks up in the record of what was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookUp {
    /// Its tokens, or those of the account that it is for.
    Tokens,
    /// Those of its tokens that are not sealed with its key.
    SomeTokens,
    /// What the account that it is for said of the resources.
    Resources,
}

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
    /// Amazon CloudFront signed URLs and signed cookies.
    #[serde(rename = "cloudfront")]
    CloudFront(super::cloudfront::Config),
    /// Akamai Edge Auth 2.0 tokens.
    AkamaiEdgeauth(super::akamai_edgeauth::Config),
    /// Google Media CDN signed requests and dual-token tokens.
    GoogleMediaCdn(super::google_media_cdn::Config),
    /// Google Cloud CDN signed URLs and cookies.
    GoogleCloudCdn(super::google_cloud_cdn::Config),
    /// Bunny CDN token authentication.
    Bunny(super::bunny::Config),
    /// Wowza SecureToken version 2.
    Wowza(super::wowza::Config),
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
    /// Ziggeo auth tokens of our own, and client tokens.
    Ziggeo(super::ziggeo::Config),
    /// api.video upload tokens of our own.
    ApivideoUpload(super::apivideo_upload::Config),
    /// api.video private videos with tokens of our own.
    ApivideoPrivate(super::apivideo_private::Config),
    /// API keys of the control listener, from the vendors' SDKs.
    ApiKey(super::api_key::Config),
    /// Common Access Token.
    #[serde(rename = "cta-5007")]
    Cta5007(Box<super::cta_5007::Config>),
}

impl SchemeConfig {
    /// The key set it names; none where tokens are only looked up.
    #[must_use]
    pub fn keys(&self) -> Option<&Name> {
        Some(match self {
            Self::Ziggeo(config) => &config.keys,
            Self::ApiKey(_) | Self::ApivideoUpload(_) | Self::ApivideoPrivate(_) => return None,
            Self::CloudflareStream(config) => &config.keys,
            Self::Mux(config) => &config.keys,
            Self::Jwt(config) => &config.keys,
            Self::CloudFront(config) => &config.keys,
            Self::AkamaiEdgeauth(config) => &config.keys,
            Self::GoogleMediaCdn(config) => &config.keys,
            Self::GoogleCloudCdn(config) => &config.keys,
            Self::Bunny(config) => &config.keys,
            Self::Wowza(config) => &config.keys,
            Self::DigestUrl(config) => &config.keys,
            Self::Rfc9246(config) => &config.keys,
            Self::Cta5007(config) => &config.keys,
            Self::AmazonIvs(config) => &config.keys,
            Self::AwsSmd(config) => &config.keys,
            Self::AtsUrlSig(config) => &config.keys,
            Self::AtsAccessControl(config) => &config.keys,
        })
    }

    /// What it looks up in the record of what was given out; `None` where the token and the keys say everything.
    #[must_use]
    pub fn looks_up(&self) -> Option<LookUp> {
        Some(match self {
            Self::ApiKey(_) | Self::ApivideoUpload(_) | Self::ApivideoPrivate(_) => LookUp::Tokens,
            Self::Ziggeo(config) if config.account.is_some() => LookUp::Tokens,
            Self::Ziggeo(_) => LookUp::SomeTokens,
            Self::CloudflareStream(config) if config.account.is_some() => LookUp::Resources,
            _ => return None,
        })
    }

    /// What it asks of an address, beside the address itself: the key that says so, and whether it asks that of every token.
    #[must_use]
    pub fn asks_where(&self) -> Vec<(Vec<&'static str>, Attribute, bool)> {
        let mut asked = Vec::new();
        if let Self::Jwt(config) = self {
            asked.extend(config.claims.countries.as_ref().map(|_| (vec!["claims", "countries"], Attribute::Country, false)));
            asked.extend(config.claims.systems.as_ref().map(|_| (vec!["claims", "systems"], Attribute::System, false)));
            let sealed = config.seal.iter().flat_map(|seal| &seal.attributes).filter_map(|word| Attribute::parse(word));
            asked.extend(sealed.map(|attribute| (vec!["seal", "attributes"], attribute, true)));
        }
        if let Self::DigestUrl(config) = self {
            let covers = |word: &str| config.message.as_ref().is_some_and(|message| message.contains(word));
            let asks = [("{country}", Attribute::Country), ("{system}", Attribute::System)];
            asked.extend(asks.into_iter().filter(|(word, _)| covers(word)).map(|(_, attribute)| (vec!["message"], attribute, true)));
        }
        asked
    }

    /// The scheme, with its keys in hand, where nothing was given out.
    ///
    /// # Errors
    /// A sentence for the operator when the table does not make sense.
    pub fn build(&self, keys: KeySource) -> Result<Box<dyn super::Scheme>, String> {
        let nothing: Arc<dyn Issued> = Arc::new(NothingIssued);
        self.build_with(keys, &nothing)
    }

    /// The scheme, with its keys in hand, and with `issued` to look tokens up in.
    ///
    /// # Errors
    /// A sentence for the operator when the table does not make sense.
    pub fn build_with(&self, keys: KeySource, issued: &Arc<dyn Issued>) -> Result<Box<dyn super::Scheme>, String> {
        Ok(match self {
            Self::Ziggeo(config) => Box::new(super::ziggeo::Ziggeo::new(config, keys, issued.clone())?),
            Self::ApiKey(config) => Box::new(super::api_key::ApiKeys::new(config, issued.clone())?),
            Self::ApivideoUpload(config) => Box::new(super::apivideo_upload::ApivideoUpload::new(config, issued.clone())),
            Self::ApivideoPrivate(config) => Box::new(super::apivideo_private::ApivideoPrivate::new(config, issued.clone())),
            Self::CloudflareStream(config) => {
                Box::new(super::cloudflare_stream::CloudflareStream::new(config, keys)?.looking_up(issued.clone()))
            }
            Self::Mux(config) => Box::new(super::mux::Mux::new(config, keys)?),
            Self::Jwt(config) => Box::new(super::jwt::Jwt::new(config, keys)?),
            Self::CloudFront(config) => Box::new(super::cloudfront::CloudFront::new(config, keys)?),
            Self::AkamaiEdgeauth(config) => Box::new(super::akamai_edgeauth::AkamaiEdgeauth::new(config, keys)?),
            Self::GoogleMediaCdn(config) => Box::new(super::google_media_cdn::GoogleMediaCdn::new(config, keys)?),
            Self::GoogleCloudCdn(config) => Box::new(super::google_cloud_cdn::GoogleCloudCdn::new(config, keys)?),
            Self::Bunny(config) => Box::new(super::bunny::Bunny::new(config, keys)?),
            Self::Wowza(config) => Box::new(super::wowza::Wowza::new(config, keys)?),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Tables {
        schemes: BTreeMap<Name, SchemeConfig>,
    }

    /// The lines of the first example in a file's doc comments.
    fn example(source: &str) -> String {
        let doc = source.lines().filter_map(|line| line.strip_prefix("/// ").or_else(|| line.strip_prefix("///")));
        doc.skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect()
    }

    #[test]
    fn the_examples_of_the_docs_are_read() {
        for (source, kind) in
            [(include_str!("cloudflare_stream.rs"), "cloudflare-stream"), (include_str!("mux.rs"), "mux"), (include_str!("jwt.rs"), "jwt")]
        {
            let tables: Tables = toml::from_str(&example(source)).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            let config = tables.schemes.values().next().expect("a scheme");
            let scheme = config.build(KeySource::default()).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            assert_eq!(scheme.kind(), kind);
        }
    }

    #[test]
    fn every_type_has_its_name_and_takes_no_unknown_key() {
        for kind in [
            "akamai-edgeauth",
            "amazon-ivs",
            "api-key",
            "apivideo-private",
            "apivideo-upload",
            "ats-access-control",
            "ats-url-sig",
            "aws-smd",
            "bunny",
            "cloudflare-stream",
            "cloudfront",
            "cta-5007",
            "digest-url",
            "google-cloud-cdn",
            "google-media-cdn",
            "jwt",
            "mux",
            "rfc9246",
            "wowza",
            "ziggeo",
        ] {
            // Those that need another word than type and keys.
            let more = match kind {
                "digest-url" => "keys = \"k\"\npreset = \"keycdn\"",
                "ziggeo" => "keys = \"k\"\napplication_token = \"a\"",
                "api-key" => "dialect = \"apivideo\"",
                "apivideo-upload" | "apivideo-private" => "",
                _ => "keys = \"k\"",
            };
            let table = format!("[schemes.a]\ntype = \"{kind}\"\n{more}\n");
            let tables: Tables = toml::from_str(&table).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            let config = tables.schemes.values().next().expect("a scheme");
            assert_eq!(config.keys().is_some(), more.contains("keys"), "{kind}");
            let scheme = config.build(KeySource::default()).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            assert_eq!(scheme.kind(), kind);
            assert!(toml::from_str::<Tables>(&format!("{table}colour = 1")).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named() {
        for text in [
            "[schemes.a]\ntype = \"mux\"\nkeys = \"k\"\nleway = \"1s\"",
            "[schemes.a]\ntype = \"jwt\"\nkeys = \"k\"\nclaims = { leway = \"x\" }",
            "[schemes.a]\ntype = \"jwt\"\nkeys = \"k\"\ncarriers = [{ leway = \"x\" }]",
        ] {
            let fault = toml::from_str::<Tables>(text).map(|_| ()).expect_err("a fault");
            assert!(fault.to_string().contains("leway"), "{fault}");
        }
    }
}
