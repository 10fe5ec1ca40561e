//! The node's own resolvers, as its `resolv.conf` names them.

use std::net::IpAddr;

/// Resolvers that are read, as glibc.
const RESOLVERS_MAX: usize = 3;

/// Whom to ask for names that are not the cluster's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Their addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// Those that were left out, since they would ask back.
    pub looping: Vec<IpAddr>,
}

/// Reads a `resolv.conf`. `own` is the address of cluster DNS: asking it would be asking oneself.
#[must_use]
pub fn resolvers(text: &str, own: IpAddr) -> Resolvers {
    let mut found = Resolvers::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // `fe80::1%eth0` names a link, too, and is only good on it.
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        if address == own || address.is_unspecified() {
            found.looping.push(address);
        } else if !found.addresses.contains(&address) && found.addresses.len() < RESOLVERS_MAX {
            found.addresses.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_but_for_oneself() {
        let text = "# by hand\nnameserver 192.168.1.1\nnameserver 10.43.0.10\nsearch lan\n\
                    nameserver 192.168.1.1\nnameserver fd00::1\nnameserver nonsense\n";
        let found = resolvers(text, "10.43.0.10".parse().unwrap());
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(found.addresses, [parse("192.168.1.1"), parse("fd00::1")]);
        assert_eq!(found.looping, [parse("10.43.0.10")]);
    }
}
