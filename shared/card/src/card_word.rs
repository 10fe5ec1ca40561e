//! The word of a kernel's command line that names the card: `bramble.card=` and the signature of its
//! partition table, 8 hexadecimal digits.
//!
//! The firmware hands a slot's command line to the kernel, and so tells from which of several cards
//! it has started the board. An image has zeros there; the flasher and upgrades put the card's own
//! signature in their place.

/// What the word begins with.
pub const CARD_WORD: &str = "bramble.card=";
/// Digits behind it.
const DIGITS: usize = 8;

/// The word of a card, or of an image if the signature is 0. All have the same length.
#[must_use]
pub fn card_word(signature: u32) -> String {
    format!("{CARD_WORD}{signature:08x}")
}

/// The signature that a command line tells; none if it tells none or that of an image. The last word
/// counts.
#[must_use]
pub fn signature(command_line: &str) -> Option<u32> {
    let mut told =
        command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(CARD_WORD));
    let digits = told.next_back().filter(|digits| digits.len() == DIGITS)?;
    u32::from_str_radix(digits, 16).ok().filter(|&signature| signature != 0)
}

/// The command line with this card's word and no other one.
#[must_use]
pub fn with_signature(command_line: &str, signature: u32) -> String {
    let own = card_word(signature);
    let others = command_line.split_ascii_whitespace().filter(|word| !word.starts_with(CARD_WORD));
    let mut words: Vec<&str> = others.collect();
    words.push(&own);
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_read_as_it_was_written() {
        let line = with_signature("quiet bramble.card=00000000 bramble.slot=b\n", 0xabc);
        assert_eq!(line, "quiet bramble.slot=b bramble.card=00000abc\n");
        assert_eq!(signature(&line), Some(0xabc));
        assert_eq!(with_signature(&line, 0xabc), line);
        assert_eq!(card_word(0).len(), card_word(u32::MAX).len());
    }

    #[test]
    fn lines_of_images_and_others_name_no_card() {
        let lines =
            ["", "quiet", "bramble.card=00000000", "bramble.card=1", "bramble.card=0000000g"];
        for line in lines {
            assert_eq!(signature(line), None, "{line}");
        }
    }
}
