//! Where addresses are, from a MaxMind database.
//!
//! The file is read into memory whole, so that one replaced on disk never changes under a look-up.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader};

use crate::token::{Country, Geo};

/// A MaxMind database (`.mmdb`) with countries, and autonomous systems where it has them.
pub struct MaxMind {
    reader: Reader<Vec<u8>>,
}

impl std::fmt::Debug for MaxMind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaxMind").field("type", &self.reader.metadata().database_type).finish()
    }
}

impl MaxMind {
    /// Reads the database at `path`.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let reader = Reader::open_readfile(path).map_err(|e| format!("{}: cannot be used as a MaxMind database: {e}", path.display()))?;
        Ok(Self { reader })
    }

    /// What the record of `ip` has at `path`. An address that is not in it, or a broken record, is not known.
    fn find<'a, T: serde::Deserialize<'a>>(&'a self, ip: IpAddr, path: &[PathElement<'_>]) -> Option<T> {
        self.reader.lookup(ip.to_canonical()).ok()?.decode_path(path).ok()?
    }
}

impl Geo for MaxMind {
    fn country(&self, ip: IpAddr) -> Option<Country> {
        Country::new(self.find::<&str>(ip, &[PathElement::Key("country"), PathElement::Key("iso_code")])?)
    }

    fn asn(&self, ip: IpAddr) -> Option<u32> {
        self.find(ip, &[PathElement::Key("autonomous_system_number")])
    }
}

/// One database for countries and one for autonomous systems, as MaxMind gives them out; or one that has both.
#[derive(Debug, Default)]
pub struct Databases {
    /// Countries, and systems where there is no other.
    pub countries: Option<MaxMind>,
    /// Systems.
    pub systems: Option<MaxMind>,
}

impl Geo for Databases {
    fn country(&self, ip: IpAddr) -> Option<Country> {
        self.countries.as_ref()?.country(ip)
    }

    fn asn(&self, ip: IpAddr) -> Option<u32> {
        self.systems.as_ref().or(self.countries.as_ref())?.asn(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&[2 << 5 | u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
    }

    fn pair(name: &str, value: &[u8]) -> Vec<u8> {
        [text(name), value.to_vec()].concat()
    }

    fn map(pairs: &[Vec<u8>]) -> Vec<u8> {
        [vec![7 << 5 | u8::try_from(pairs.len()).expect("few")], pairs.concat()].concat()
    }

    /// MaxMind DB 2.0 with one node: the lower half of IPv4 is Sweden, the upper half is not in it.
    fn database() -> Vec<u8> {
        let tree = [0, 0, 17, 0, 0, 1];
        let record =
            map(&[pair("country", &map(&[pair("iso_code", &text("SE"))])), pair("autonomous_system_number", &[6 << 5 | 2, 0xfd, 0xe8])]);
        let metadata = map(&[
            pair("node_count", &[6 << 5 | 1, 1]),
            pair("record_size", &[5 << 5 | 1, 24]),
            pair("ip_version", &[5 << 5 | 1, 4]),
            pair("database_type", &text("Test")),
            pair("languages", &[0, 4]),
            pair("binary_format_major_version", &[5 << 5 | 1, 2]),
            pair("binary_format_minor_version", &[5 << 5]),
            pair("build_epoch", &[1, 2, 1]),
            pair("description", &map(&[])),
        ]);
        [&tree[..], &[0; 16], &record, b"\xab\xcd\xefMaxMind.com", &metadata].concat()
    }

    #[test]
    fn addresses_have_countries_and_systems() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("geo.mmdb");
        std::fs::write(&path, database()).expect("written");
        let geo = MaxMind::open(&path).expect("opens");
        for (ip, country, asn) in [
            ("81.2.69.1", Country::new("SE"), Some(65000)),
            ("::ffff:81.2.69.1", Country::new("SE"), Some(65000)),
            ("203.0.113.1", None, None),
            ("2001:db8::1", None, None),
        ] {
            let ip = ip.parse().expect("address");
            assert_eq!((geo.country(ip), geo.asn(ip)), (country, asn), "{ip}");
        }
    }

    #[test]
    fn either_database_does_for_what_it_has() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("geo.mmdb");
        std::fs::write(&path, database()).expect("written");
        let open = || Some(MaxMind::open(&path).expect("opens"));
        let ip = "81.2.69.1".parse().expect("address");
        for (databases, country, asn) in [
            (Databases { countries: open(), systems: None }, Country::new("SE"), Some(65000)),
            (Databases { countries: None, systems: open() }, None, Some(65000)),
            (Databases::default(), None, None),
        ] {
            assert_eq!((databases.country(ip), databases.asn(ip)), (country, asn));
        }
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("geo.mmdb");
        assert!(MaxMind::open(&path).expect_err("missing").contains("geo.mmdb"));
        std::fs::write(&path, b"not a database").expect("written");
        assert!(MaxMind::open(&path).expect_err("broken").contains("geo.mmdb"));
    }
}
