//! Which names a node may have.

use crate::limits::NODE_NAME_LEN_MAX;

/// Tells whether a text may be a node's name: a DNS label (RFC 1123) of small letters, digits and
/// inner hyphens, 1 to [`NODE_NAME_LEN_MAX`] bytes, since it is the board's host name, too.
#[must_use]
pub fn valid_node_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NODE_NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_dns_labels() {
        for name in ["pi-1", "a", "0", "a--b", &"x".repeat(NODE_NAME_LEN_MAX)] {
            assert!(valid_node_name(name), "{name}");
        }
        let long = "x".repeat(NODE_NAME_LEN_MAX + 1);
        for name in ["", "-", "-pi", "pi-", "Pi", "p.i", "pi/1", "pi_1", "pi\n", "\u{e4}", &long] {
            assert!(!valid_node_name(name), "{name}");
        }
    }
}
