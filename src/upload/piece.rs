//! Which part of a file a request carries: `Content-Range` as recorders send it.
//!
//! api.video's `part n/M` and `part n/*` are no ranges of RFC 9110, and are passed on as they came;
//! what is read here only tells which upload a part belongs to and when it is whole.

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The part with this number, from 1 (`part n/M`); all of them, where that is known.
    Part {
        /// Its number.
        number: u32,
        /// How many there are.
        of: Option<u32>,
    },
    /// Bytes (`bytes a-b/c`).
    Bytes {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
        /// How many there are, where that is known.
        of: Option<u64>,
    },
}

impl Piece {
    /// Reads a `Content-Range`; `None` for every other form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        match unit {
            "part" => {
                let (number, of) = (digits(range)?, all(total)?);
                let (number, of) = (u32::try_from(number).ok()?, of.map(u32::try_from).transpose().ok()?);
                (number > 0 && of.is_none_or(|of| number <= of)).then_some(Self::Part { number, of })
            }
            "bytes" => {
                let (from, to) = range.split_once('-')?;
                let (from, to, of) = (digits(from)?, digits(to)?, all(total)?);
                (from <= to && of.is_none_or(|of| to < of)).then_some(Self::Bytes { from, to, of })
            }
            _ => None,
        }
    }

    /// Whether an upload begins with it.
    #[must_use]
    pub const fn is_first(self) -> bool {
        matches!(self, Self::Part { number: 1, .. } | Self::Bytes { from: 0, .. })
    }

    /// Whether nothing comes with it or after it but itself.
    #[must_use]
    pub fn is_alone(self) -> bool {
        matches!(self, Self::Part { number: 1, of: Some(1) }) || matches!(self, Self::Bytes { from: 0, to, of: Some(of) } if to + 1 == of)
    }

    /// Bytes of the whole file, where it says so.
    #[must_use]
    pub const fn file_bytes(self) -> Option<u64> {
        match self {
            Self::Part { .. } => None,
            Self::Bytes { of, .. } => of,
        }
    }

    /// Whether the other one can be of the same file: counted in the same way, to the same sum as far as that is known.
    #[must_use]
    pub fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Part { of: Some(one), .. }, Self::Part { of: Some(other), .. }) => one == other,
            (Self::Bytes { of: Some(one), .. }, Self::Bytes { of: Some(other), .. }) => one == other,
            (Self::Part { .. }, Self::Part { .. }) | (Self::Bytes { .. }, Self::Bytes { .. }) => true,
            _ => false,
        }
    }
}

fn digits(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn all(text: &str) -> Option<Option<u64>> {
    if text == "*" { Some(None) } else { digits(text).map(Some) }
}

/// Which parts of an upload have been taken. Bounded: what is further apart than [`Taken::MOST`] gaps is not told apart.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Half-open, in order, not touching.
    spans: Vec<(u64, u64)>,
    all: Option<u64>,
}

impl Taken {
    /// Most gaps that are remembered.
    pub const MOST: usize = 1024;

    /// Notes a part that was taken.
    pub fn note(&mut self, piece: Piece) {
        let (from, to, of) = match piece {
            Piece::Part { number, of } => (u64::from(number) - 1, u64::from(number), of.map(u64::from)),
            Piece::Bytes { from, to, of } => (from, to.saturating_add(1), of),
        };
        self.all = of.or(self.all);
        let at = self.spans.partition_point(|span| span.1 < from);
        let end = self.spans.partition_point(|span| span.0 <= to);
        let joined = self.spans[at..end].iter().fold((from, to), |joined, span| (joined.0.min(span.0), joined.1.max(span.1)));
        if at < end || self.spans.len() < Self::MOST {
            self.spans.splice(at..end, [joined]);
        }
    }

    /// Whether every part has been taken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.all.is_some_and(|all| self.spans.first() == Some(&(0, all)))
    }

    /// Whether the part follows what has been taken without a gap, or is the last of it once more.
    #[must_use]
    pub fn expects(&self, piece: Piece) -> bool {
        let (from, to) = match piece {
            Piece::Part { number, .. } => (u64::from(number) - 1, u64::from(number)),
            Piece::Bytes { from, to, .. } => (from, to.saturating_add(1)),
        };
        self.spans.first().is_some_and(|first| first.0 == 0 && (from == first.1 || to == first.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_the_vendors_is_read() {
        for (text, piece) in [
            ("part 2/3", Some(Piece::Part { number: 2, of: Some(3) })),
            ("part 2/*", Some(Piece::Part { number: 2, of: None })),
            ("bytes 0-99/200", Some(Piece::Bytes { from: 0, to: 99, of: Some(200) })),
            ("bytes 0-99/*", Some(Piece::Bytes { from: 0, to: 99, of: None })),
            ("part 0/3", None),
            ("part 4/3", None),
            ("part 1/0", None),
            ("part -1/3", None),
            ("bytes 9-8/20", None),
            ("bytes 0-20/20", None),
            ("bytes */20", None),
            ("parts 1/2", None),
            ("part 99999999999/999999999999", None),
        ] {
            assert_eq!(Piece::parse(text), piece, "{text}");
        }
    }

    #[test]
    fn parts_of_one_file_go_together() {
        let piece = |text: &str| Piece::parse(text).expect("piece");
        assert!(piece("part 1/*").goes_with(piece("part 3/3")) && piece("part 1/3").goes_with(piece("part 2/3")));
        assert!(!piece("part 1/3").goes_with(piece("part 2/4")) && !piece("part 1/3").goes_with(piece("bytes 5-9/10")));
        assert!(piece("part 1/1").is_alone() && piece("bytes 0-9/10").is_alone() && !piece("part 1/*").is_alone());
    }

    proptest! {
        #[test]
        fn a_file_is_whole_when_each_part_came(mut order in Just((1..=12_u32).collect::<Vec<_>>()).prop_shuffle(), last in 0..12_usize) {
            let missing = order.remove(last);
            let mut taken = Taken::default();
            for number in &order {
                taken.note(Piece::Part { number: *number, of: Some(12) });
                prop_assert!(!taken.is_whole());
            }
            taken.note(Piece::Part { number: missing, of: None });
            prop_assert!(taken.is_whole());
        }
    }
}
