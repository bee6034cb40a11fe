//! Tokens that no signer of ours makes, well signed all the same: one file of vectors' share of the deny families.
//!
//! Written from the formats' documents and not with the code that is judged, but for keys and hashes.

mod jose;
mod links;
mod maps;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Asked, File, NOW};
use crate::token::scheme::digest::{Hash, hex};

/// Where every good token here ends.
const END: i64 = NOW + 3600;
/// The path that they are for.
const PATH: &str = "/vid1/master.m3u8";

/// Adds the families of this file's scheme.
pub(super) fn families(file: &mut File) {
    match file.scheme {
        "akamai_edgeauth2" => links::akamai(file),
        "amazon_ivs" => jose::amazon_ivs(file),
        "ats_access_control" => links::ats_access_control(file),
        "ats_url_sig" => links::ats_url_sig(file),
        "aws_secure_media_delivery" => jose::aws_smd(file),
        "bunny_v2" => links::bunny(file),
        "cloudflare_stream" => jose::cloudflare_stream(file),
        "cloudfront" => links::cloudfront(file),
        "cta5007_cat" => maps::cta_5007(file),
        "digest_url" => links::digest_url(file),
        "google_cloud_cdn" => links::google_cloud_cdn(file),
        "google_media_cdn" => links::google_media_cdn(file),
        "jwt" => jose::jwt(file),
        "mux" => jose::mux(file),
        "rfc9246_uri_signing" => jose::rfc9246(file),
        "wowza_securetoken2" => links::wowza(file),
        "ziggeo" => maps::ziggeo(file),
        other => panic!("{other} has no families"),
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256_hex(secret: &[u8], text: &str) -> String {
    hex(&Hash::Sha256.mac(secret, &[text.as_bytes()]))
}

/// `GET` of this path and query on the host of the vectors.
fn get(target: &str) -> Asked {
    Asked::url(&format!("https://media.example.com{target}"))
}

/// `text` with its last character another one, which base64 and hex have both.
fn spoilt(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    // In base64 the last character may have unused bits: the one before is changed.
    let (rest, before) = rest.split_at(rest.len() - 1);
    format!("{rest}{}{last}", if before == "a" { "b" } else { "a" })
}
