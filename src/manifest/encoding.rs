//! Content codings of playlists, undone under caps (RFC 9110 §8.4.1).
//!
//! One coding only: a chain of them is refused.

use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::ManifestFault;

/// Most bytes out for a byte in. Real playlists stay below 40.
pub const MAX_RATIO: usize = 100;

/// A start that is always allowed, so that a tiny and very regular playlist is not taken for a bomb.
const FLOOR: usize = 64 << 10;

/// Undoes `encoding`, the value of `Content-Encoding` (`identity`, `gzip`, `x-gzip`, `deflate`, `br`, or empty).
///
/// # Errors
/// [`ManifestFault::TooLarge`] past `cap` bytes, [`ManifestFault::TooDense`] past [`MAX_RATIO`],
/// [`ManifestFault::UnknownEncoding`], [`ManifestFault::BrokenEncoding`].
pub fn decode(bytes: &[u8], encoding: &str, cap: usize) -> Result<Vec<u8>, ManifestFault> {
    if bytes.len() > cap {
        return Err(ManifestFault::TooLarge);
    }
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(bytes.to_vec()),
        "gzip" | "x-gzip" => read_capped(MultiGzDecoder::new(bytes), bytes.len(), cap),
        // RFC 9110 §8.4.1.2: "deflate" is the zlib format.
        "deflate" => read_capped(ZlibDecoder::new(bytes), bytes.len(), cap),
        "br" => read_capped(brotli::Decompressor::new(bytes, 4096), bytes.len(), cap),
        _ => Err(ManifestFault::UnknownEncoding),
    }
}

fn read_capped(decoder: impl Read, compressed: usize, cap: usize) -> Result<Vec<u8>, ManifestFault> {
    let dense = compressed.saturating_mul(MAX_RATIO).max(FLOOR);
    let most = dense.min(cap);
    let mut out = Vec::new();
    // One byte more than allowed tells "just fits" from "goes on".
    decoder.take(most as u64 + 1).read_to_end(&mut out).map_err(|_| ManifestFault::BrokenEncoding)?;
    match out.len() {
        size if size <= most => Ok(out),
        _ if dense < cap => Err(ManifestFault::TooDense),
        _ => Err(ManifestFault::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const CAP: usize = 8 << 20;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::default());
        to.write_all(bytes).expect("memory");
        to.finish().expect("memory")
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut to = ZlibEncoder::new(Vec::new(), Compression::default());
        to.write_all(bytes).expect("memory");
        to.finish().expect("memory")
    }

    fn br(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(bytes).expect("memory");
        out
    }

    #[test]
    fn what_was_encoded_comes_back() {
        let text = b"#EXTM3U\n#EXTINF:4,\nseg1.ts\n".as_slice();
        for (name, bytes) in [("gzip", gzip(text)), ("X-GZIP", gzip(text)), ("deflate", zlib(text)), ("br", br(text)), ("", text.to_vec())]
        {
            assert_eq!(decode(&bytes, name, CAP).as_deref(), Ok(text), "{name}");
        }
    }

    #[test]
    fn bombs_stop_early() {
        let zeros = vec![0; 16 << 20];
        for (name, bytes) in [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("br", br(&zeros))] {
            assert_eq!(decode(&bytes, name, CAP), Err(ManifestFault::TooDense), "{name}");
        }
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("seg{n}.ts\n").into_bytes()).collect();
        assert_eq!(decode(&gzip(&text), "gzip", 1 << 20), Err(ManifestFault::TooLarge));
    }

    #[test]
    fn chains_and_broken_data_are_refused() {
        let twice = gzip(&gzip(b"x"));
        assert_eq!(decode(&twice, "gzip, gzip", CAP), Err(ManifestFault::UnknownEncoding));
        assert_eq!(decode(&twice, "zstd", CAP), Err(ManifestFault::UnknownEncoding));
        let whole = gzip(b"#EXTM3U\n");
        assert_eq!(decode(&whole[..whole.len() - 1], "gzip", CAP), Err(ManifestFault::BrokenEncoding));
        assert_eq!(decode(&br(b"#EXTM3U\n#EXT-X-ENDLIST")[..8], "br", CAP), Err(ManifestFault::BrokenEncoding));
        assert_eq!(decode(&[], "gzip", CAP), Err(ManifestFault::BrokenEncoding));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_do_not(bytes: Vec<u8>, name in prop::sample::select(vec!["gzip", "deflate", "br"])) {
            let _ = decode(&bytes, name, CAP);
        }
    }
}
