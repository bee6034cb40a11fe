//! Attribute lists (RFC 8216 §4.2), read leniently: what a player may take for an attribute is one.

use std::ops::Range;

/// One `NAME=value`; ranges count within the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attribute<'l> {
    pub(super) name: &'l str,
    /// Without the quotes.
    pub(super) value: Range<usize>,
    pub(super) quoted: bool,
}

/// The attributes of `list`, in order, duplicates included. An unclosed quote ends the list.
pub(super) fn attributes(list: &str) -> Attributes<'_> {
    Attributes { list, at: 0 }
}

pub(super) struct Attributes<'l> {
    list: &'l str,
    at: usize,
}

impl<'l> Iterator for Attributes<'l> {
    type Item = Attribute<'l>;

    fn next(&mut self) -> Option<Attribute<'l>> {
        let list = self.list;
        loop {
            let rest = &list[self.at..];
            let end = rest.find(['=', ','])?;
            if rest.as_bytes()[end] == b',' {
                self.at += end + 1;
                continue;
            }
            let name = rest[..end].trim_matches([' ', '\t']);
            let start = self.at + end + 1;
            let start = start + list[start..].len() - list[start..].trim_start_matches([' ', '\t']).len();
            return if list[start..].starts_with('"') {
                let value = start + 1..start + 1 + list[start + 1..].find('"')?;
                self.at = list[value.end..].find(',').map_or(list.len(), |comma| value.end + comma + 1);
                Some(Attribute { name, value, quoted: true })
            } else {
                let end = list[start..].find(',').map_or(list.len(), |comma| start + comma);
                self.at = (end + 1).min(list.len());
                let end = start + list[start..end].trim_end_matches([' ', '\t']).len();
                Some(Attribute { name, value: start..end, quoted: false })
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Vec<(&str, &str, bool)> {
        attributes(list).map(|a| (a.name, &list[a.value.clone()], a.quoted)).collect()
    }

    #[test]
    fn lists_are_read_with_commas_in_quotes() {
        assert_eq!(
            read("METHOD=AES-128,URI=\"a,b=c\",IV=0x1"),
            [("METHOD", "AES-128", false), ("URI", "a,b=c", true), ("IV", "0x1", false)]
        );
        assert_eq!(read(" URI = \"x\" , B=2 "), [("URI", "x", true), ("B", "2", false)]);
        assert_eq!(read("A=,B=\"\""), [("A", "", false), ("B", "", true)]);
        assert_eq!(read("noise,URI=\"x\""), [("URI", "x", true)]);
        assert_eq!(read("URI=\"x\",URI=\"y\""), [("URI", "x", true), ("URI", "y", true)]);
        assert_eq!(read("A=1,URI=\"open"), [("A", "1", false)]);
        assert_eq!(read(""), []);
    }
}
