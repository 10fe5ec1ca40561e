//! Matches shell patterns, as module aliases are: `*`, `?`, `[a-z]`, `[!a-z]`.

/// Tells whether the whole text matches the pattern.
///
/// A set that is not closed matches nothing. Time is bounded by the product of the lengths.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on if it does not match: after the last star, one byte later in the text.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(pattern_at..).unwrap_or_default();
        let byte = text.get(text_at).copied();
        if rest.first() == Some(&b'*') {
            star = Some((pattern_at + 1, text_at));
            pattern_at += 1;
            continue;
        }
        match (one(rest, byte), byte, star) {
            (Some(len), Some(_), _) => {
                pattern_at += len;
                text_at += 1;
            }
            (_, None, _) => return rest.is_empty(),
            (None, Some(_), Some((after, from))) => {
                star = Some((after, from + 1));
                pattern_at = after;
                text_at = from + 1;
            }
            (None, Some(_), None) => return false,
        }
    }
}

/// Bytes of the pattern that match this byte of the text.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<usize> {
    let byte = byte?;
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (negated, set) = match set {
                [b'!' | b'^', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let len = set.iter().skip(1).position(|&b| b == b']')? + 1;
            let members = set.get(..len)?;
            let skipped = 1 + usize::from(negated);
            (in_set(members, byte) != negated).then_some(skipped + len + 1)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

fn in_set(mut members: &[u8], byte: u8) -> bool {
    loop {
        members = match members {
            [first, b'-', last, rest @ ..] => {
                if (*first..=*last).contains(&byte) {
                    return true;
                }
                rest
            }
            [member, rest @ ..] => {
                if *member == byte {
                    return true;
                }
                rest
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        };
        check("", "", true);
        check("*", "", true);
        check("", "a", false);
        check("usb:v0424pEC00d*dc*", "usb:v0424pEC00d0200dcFFdsc00", true);
        check("usb:v0424pEC00d*dc*", "usb:v0424p9E00d0200dcFFdsc00", false);
        check("of:N*T*Cbrcm,bcm2711-emmc2C*", "of:NmmcT(null)Cbrcm,bcm2711-emmc2", false);
        check("of:N*T*Cbrcm,bcm2711-emmc2", "of:NmmcT(null)Cbrcm,bcm2711-emmc2", true);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("d[0-9]*x", "d12x", true);
        check("d[!0-9]x", "dax", true);
        check("d[!0-9]x", "d1x", false);
        check("d[]a]", "d]", true);
        check("d[ab", "da", false);
        check("*a*b*c", "xxaxxbxxbxxc", true);
        check("*a*b*c", "xxaxxbxxbxx", false);
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(400).as_bytes()));
    }
}
