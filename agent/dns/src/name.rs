//! Domain names as they are on the wire.

use std::fmt;

/// Longest name, in bytes of the wire (RFC 1035, 3.1).
const LEN_MAX: usize = 255;
/// Longest label, in bytes.
const LABEL_LEN_MAX: usize = 63;
/// Most jumps of a compressed name; more are a loop or malice.
const JUMPS_MAX: usize = 32;

/// A name in the form of the wire, in lower case.
///
/// Invariant: labels with their lengths before them, ended by an empty one; at most 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// Reads `a.b.c`, with or without a dot at its end; none if it is no name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut bytes = Vec::with_capacity(text.len() + 2);
        if !text.is_empty() {
            for label in text.split('.') {
                push(&mut bytes, label.as_bytes())?;
            }
        }
        bytes.push(0);
        (bytes.len() <= LEN_MAX).then_some(Self(bytes))
    }

    /// Reads the name at `at` of a packet, compressed or not; returns where it ends, too.
    #[must_use]
    pub fn read(packet: &[u8], at: usize) -> Option<(Self, usize)> {
        let (mut bytes, mut at, mut end, mut jumps) = (Vec::new(), at, None, 0);
        loop {
            let len = *packet.get(at)?;
            match len & 0xc0 {
                0 if len == 0 => {
                    bytes.push(0);
                    return Some((Self(bytes), end.unwrap_or(at + 1)));
                }
                0 => {
                    let first = at + 1;
                    at = first + usize::from(len);
                    push(&mut bytes, packet.get(first..at)?)?;
                    if bytes.len() >= LEN_MAX {
                        return None;
                    }
                }
                0xc0 => {
                    jumps += 1;
                    if jumps > JUMPS_MAX {
                        return None;
                    }
                    let low = *packet.get(at + 1)?;
                    end = end.or(Some(at + 2));
                    at = usize::from(len & 0x3f) << 8 | usize::from(low);
                }
                _ => return None,
            }
        }
    }

    /// The bytes of the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The labels, the most special one first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            (!label.is_empty()).then_some(label)
        })
    }

    /// The labels in front of `zone`, as text; none if the name is not within it. A label that is
    /// no text becomes one that nobody has.
    #[must_use]
    pub fn within(&self, zone: &Self) -> Option<Vec<&str>> {
        let front = self.0.strip_suffix(zone.0.as_slice())?;
        let mut labels = Vec::new();
        let mut rest = front;
        while let Some((len, after)) = rest.split_first() {
            // The end of a longer label may look like the zone.
            let (label, after) = after.split_at_checked(usize::from(*len))?;
            labels.push(label);
            rest = after;
        }
        Some(labels.iter().map(|label| std::str::from_utf8(label).unwrap_or("?")).collect())
    }
}

fn push(bytes: &mut Vec<u8>, label: &[u8]) -> Option<()> {
    let len = u8::try_from(label.len()).ok()?;
    if len == 0 || usize::from(len) > LABEL_LEN_MAX {
        return None;
    }
    bytes.push(len);
    bytes.extend(label.iter().map(u8::to_ascii_lowercase));
    Some(())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            write!(f, "{}.", String::from_utf8_lossy(label))?;
        }
        if self.0.len() == 1 { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_bounded() {
        assert_eq!(Name::parse("Web.Default.").unwrap().to_string(), "web.default.");
        assert_eq!(Name::parse(".").unwrap().to_string(), ".");
        assert_eq!(Name::parse("a..b"), None);
        assert_eq!(Name::parse(&"a".repeat(64)), None);
        assert_eq!(Name::parse(&["a"; 128].join(".")), None);
        assert!(Name::parse(&["a"; 127].join(".")).is_some());
    }

    #[test]
    fn compressed_names_are_followed_and_loops_are_not() {
        let packet = b"\x03com\x00\x03www\xc0\x00\xc0\x0b";
        let (name, end) = Name::read(packet, 5).unwrap();
        assert_eq!((name.to_string().as_str(), end), ("www.com.", 11));
        assert_eq!(Name::read(packet, 11), None, "it leads to itself");
        assert_eq!(Name::read(packet, 100), None);
    }

    #[test]
    fn what_stands_before_a_zone_is_found() {
        let zone = Name::parse("cluster.local").unwrap();
        let name = Name::parse("web.default.svc.cluster.local").unwrap();
        assert_eq!(name.within(&zone), Some(vec!["web", "default", "svc"]));
        assert_eq!(Name::parse("notcluster.local").unwrap().within(&zone), None);
        assert_eq!(zone.within(&zone), Some(vec![]));
    }
}
