//! Finding a short text in long chunks, without a byte-by-byte walk (Horspool's skip table).

/// The text that is looked for; at most 255 bytes, at least one.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    bytes: Vec<u8>,
    skip: [u8; 256],
}

impl Needle {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        debug_assert!(!bytes.is_empty() && bytes.len() < 256);
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        let mut skip = [length; 256];
        for (left, byte) in (1..length).rev().zip(&bytes) {
            skip[usize::from(*byte)] = left;
        }
        Self { bytes, skip }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where it first stands in `hay` at `from` or later.
    pub(super) fn find(&self, hay: &[u8], from: usize) -> Option<usize> {
        let length = self.bytes.len();
        let mut at = from;
        while at + length <= hay.len() {
            let last = hay[at + length - 1];
            if last == self.bytes[length - 1] && hay[at..at + length] == self.bytes[..] {
                return Some(at);
            }
            at += usize::from(self.skip[usize::from(last)]);
        }
        None
    }

    /// Where the end of `hay` begins that the text, or the text behind a line end, may go on from.
    pub(super) fn undecided(&self, hay: &[u8]) -> usize {
        let from = hay.len().saturating_sub(self.bytes.len() + 1);
        let may_go_on = |end: &[u8]| match end {
            [b'\r'] => true,
            [b'\r', b'\n', rest @ ..] => self.bytes.starts_with(rest),
            _ => self.bytes.starts_with(end),
        };
        (from..hay.len()).find(|at| may_go_on(&hay[*at..])).unwrap_or(hay.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_walk_finds(hay in "[-ab\r\n]{0,60}", needle in "--[ab]{1,4}", from in 0_usize..10) {
            let walk = (from..hay.len()).find(|at| hay.as_bytes()[*at..].starts_with(needle.as_bytes()));
            prop_assert_eq!(Needle::new(needle.into_bytes()).find(hay.as_bytes(), from), walk);
        }

        #[test]
        fn what_may_go_on_is_kept(before in "[-ab\r\n]{0,20}", needle in "--[ab]{1,4}", cut in 0_usize..8) {
            let whole = format!("{before}\r\n{needle}");
            let cut = whole.len() - cut.min(needle.len() + 1) - 1;
            prop_assert!(Needle::new(needle.into_bytes()).undecided(&whole.as_bytes()[..cut]) <= before.len().max(cut.min(before.len())));
        }
    }
}
