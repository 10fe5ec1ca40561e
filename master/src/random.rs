//! Random bytes and the names made of them.

use std::fmt::Write as _;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Letters of generated names, as upstream's: no vowels, so that no words come out.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of the random end of a generated name.
const NAME_SUFFIX_LEN: usize = 5;

/// Returns `N` random bytes that nobody can guess.
///
/// # Panics
///
/// When the kernel has no randomness to give: nothing may go on without it.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    assert!(filled.is_ok(), "the kernel gives no random bytes");
    bytes
}

/// Makes a random (version 4) uid.
pub(crate) fn uid() -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes::<16>().into_iter().enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Makes the random end of a generated name.
pub(crate) fn name_suffix() -> String {
    bytes::<NAME_SUFFIX_LEN>()
        .into_iter()
        .filter_map(|byte| NAME_ALPHABET.get(usize::from(byte) % NAME_ALPHABET.len()))
        .map(|&letter| char::from(letter))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn uid_has_the_form_of_version_4() {
        let uid = super::uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]));
        assert_ne!(uid, super::uid());
    }

    #[test]
    fn name_suffix_has_five_letters() {
        assert_eq!(super::name_suffix().len(), 5);
    }
}
