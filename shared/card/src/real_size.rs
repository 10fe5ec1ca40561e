//! Whether a card has all the memory that it claims: fake cards take every write and keep what fits.
//!
//! Marks are written over the whole range, made durable, and read back: what a fake card did not
//! keep, or wrote over an earlier mark because its addresses wrap, is seen. What was there before is
//! put back from the last mark to the first, which undoes a wrapped write, too. A handful of sectors
//! is touched, so that it takes as long on any card.
//!
//! Does not know devices: it is told how to empty caches.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::layout::SECTOR_LEN;

/// Places spread evenly over the range: one that lacks more than a 64th of it is noticed. A card whose
/// addresses wrap is noticed if it has a power of two, or a multiple of a 64th of what it claims.
const PLACES: u64 = 64;
/// Bytes of one mark: what flash memory writes at a time is never smaller.
const MARK_LEN: usize = 4096;

/// Why a card is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeSizeError {
    /// It claims more than it has.
    #[error(
        "the card says that it has {} MiB, but what is written at {} MiB is not there afterwards: \
         it is fake or dying; use another one",
        len >> 20, at >> 20
    )]
    Fake {
        /// Bytes that it claims.
        len: u64,
        /// First mark that was lost.
        at: u64,
    },
    /// It fails.
    #[error("the card fails at {} MiB: it is dying, or was taken out", at >> 20)]
    Fails {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
}

/// Tells whether bytes `from` to `len` of a card are really there. `nonce` is a number that no
/// earlier run has used. `settle` brings what was written onto the card and has the next reads come
/// from there.
///
/// # Errors
/// They are not, or the card fails.
pub fn probe_size<T: Read + Write + Seek>(
    card: &mut T,
    from: u64,
    len: u64,
    nonce: u64,
    mut settle: impl FnMut(&mut T) -> io::Result<()>,
) -> Result<(), ProbeSizeError> {
    let places = places(from, len);
    let fails = |at| move |source| ProbeSizeError::Fails { at, source };
    let mut before = Vec::new();
    let mut marked = || {
        for &at in &places {
            let mut old = vec![0; MARK_LEN];
            read(card, at, &mut old).map_err(fails(at))?;
            before.push((at, old));
            write(card, at, &mark(nonce, at)).map_err(fails(at))?;
        }
        settle(card).map_err(fails(len))?;
        let mut found = vec![0; MARK_LEN];
        for &at in &places {
            read(card, at, &mut found).map_err(fails(at))?;
            if found != mark(nonce, at) {
                return Err(ProbeSizeError::Fake { len, at });
            }
        }
        Ok(())
    };
    let verdict = marked();
    let mut restored = Ok(());
    for (at, old) in before.into_iter().rev() {
        let written = write(card, at, &old).map_err(fails(at));
        restored = restored.and(written);
    }
    let settled = settle(card).map_err(fails(len));
    verdict.and(restored).and(settled)
}

/// Where marks are put, ascending: from the first one on evenly, and at distances that are powers of
/// two, since wrapped addresses lose their highest bits; and at the very end.
fn places(from: u64, len: u64) -> Vec<u64> {
    let mark_len = MARK_LEN as u64;
    let Some(last) = len.checked_sub(mark_len).filter(|last| *last >= from) else {
        return Vec::new();
    };
    let first = from.next_multiple_of(mark_len);
    let step = len / PLACES / mark_len * mark_len;
    let even = (0..PLACES).map(|place| first + step * place);
    let powers = (mark_len.trailing_zeros()..u64::BITS).map(|bit| first.saturating_add(1 << bit));
    let mut places: Vec<u64> = even
        .chain(powers)
        .filter(|at| (from..=last).contains(at))
        .chain([last / SECTOR_LEN * SECTOR_LEN])
        .collect();
    places.sort_unstable();
    places.dedup();
    // Marks must not overlap: the last one wins.
    let mut kept: Vec<u64> = Vec::with_capacity(places.len());
    for at in places.into_iter().rev() {
        if kept.last().is_none_or(|next| at + mark_len <= *next) {
            kept.push(at);
        }
    }
    kept.reverse();
    kept
}

/// A mark: bytes that depend on the run and on the place.
fn mark(nonce: u64, at: u64) -> Vec<u8> {
    let mut state = nonce ^ at.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    let words = std::iter::repeat_with(|| {
        // SplitMix64: no two places have the same words.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words.take(MARK_LEN / 8).flat_map(u64::to_le_bytes).collect()
}

fn read<T: Read + Seek>(card: &mut T, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    card.seek(SeekFrom::Start(at))?;
    card.read_exact(bytes)
}

fn write<T: Write + Seek>(card: &mut T, at: u64, bytes: &[u8]) -> io::Result<()> {
    card.seek(SeekFrom::Start(at))?;
    card.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a fake card does with addresses beyond its memory.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Beyond {
        Wraps,
        IsLost,
        Fails,
    }

    /// A card of `claimed` bytes with less memory.
    struct Card {
        memory: Vec<u8>,
        claimed: u64,
        beyond: Beyond,
        at: u64,
    }

    impl Card {
        fn new(real: u64, claimed: u64, beyond: Beyond) -> Self {
            let memory = (0..real).map(|at| u8::try_from(at % 251).unwrap()).collect();
            Self { memory, claimed, beyond, at: 0 }
        }

        /// Index of the next byte; none if it is nowhere.
        fn place(&self) -> io::Result<Option<usize>> {
            let real = self.memory.len() as u64;
            match self.beyond {
                _ if self.at < real => Ok(Some(usize::try_from(self.at).unwrap())),
                Beyond::Wraps => Ok(Some(usize::try_from(self.at % real).unwrap())),
                Beyond::IsLost => Ok(None),
                Beyond::Fails => Err(io::Error::other("no sense")),
            }
        }
    }

    impl Read for Card {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                assert!(self.at < self.claimed);
                *byte = self.place()?.map_or(0, |place| self.memory[place]);
                self.at += 1;
            }
            Ok(buffer.len())
        }
    }

    impl Write for Card {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            for byte in buffer {
                assert!(self.at < self.claimed);
                if let Some(place) = self.place()? {
                    self.memory[place] = *byte;
                }
                self.at += 1;
            }
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Card {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let SeekFrom::Start(at) = to else { panic!("{to:?}") };
            self.at = at;
            Ok(at)
        }
    }

    const FROM: u64 = 100_000;
    const LEN: u64 = 4 << 20;

    fn probe(card: &mut Card) -> Result<(), ProbeSizeError> {
        let before = card.memory.clone();
        let verdict = probe_size(card, FROM, card.claimed, 7, |_| Ok(()));
        assert!(card.memory == before, "the card was changed");
        verdict
    }

    #[test]
    fn honest_card_passes_and_is_unchanged() {
        for len in [LEN, LEN + 512, LEN - 1536] {
            probe(&mut Card::new(len, len, Beyond::Fails)).unwrap();
        }
    }

    #[test]
    fn fake_card_is_noticed_whatever_it_does_and_is_unchanged() {
        for beyond in [Beyond::Wraps, Beyond::IsLost] {
            for real in [LEN / 8, LEN / 2, LEN / 16 * 5, LEN - LEN / 32] {
                let error = probe(&mut Card::new(real, LEN, beyond)).unwrap_err();
                assert!(matches!(error, ProbeSizeError::Fake { .. }), "{beyond:?} {real}: {error}");
                assert!(error.to_string().contains("fake or dying"));
            }
        }
        let error = probe(&mut Card::new(LEN / 2, LEN, Beyond::Fails)).unwrap_err();
        assert!(matches!(error, ProbeSizeError::Fails { at, .. } if at >= LEN / 2), "{error}");
    }

    #[test]
    fn few_places_are_touched_and_the_last_sector_is_one() {
        for len in [LEN, 32 << 30, (1 << 40) + 512] {
            let places = places(FROM, len);
            assert!(places.len() < 128);
            assert!(places.windows(2).all(|pair| pair[0] + MARK_LEN as u64 <= pair[1]));
            assert_eq!(places.last().map(|last| last + MARK_LEN as u64), Some(len));
        }
        assert_eq!(places(FROM, FROM + 100), Vec::<u64>::new());
    }
}
