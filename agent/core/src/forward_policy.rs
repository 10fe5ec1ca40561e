//! What firewalls of others on the board let through: Docker and ufw make iptables drop what the
//! board forwards, and so all that pods send and get.

/// The comment by which our rules are known.
const COMMENT: &str = "bramble-pods";

/// The rules that must be put before all others of `FORWARD`, as arguments of iptables; none if
/// everything is let through or they are there. `rules` is what `iptables -S FORWARD` prints.
#[must_use]
pub fn missing(rules: &str, bridge: &str) -> Vec<Vec<String>> {
    let open = rules.lines().any(|line| line.trim() == "-P FORWARD ACCEPT");
    // ufw may refuse in its own chains, whatever the policy is.
    if open && !rules.contains("ufw-") {
        return Vec::new();
    }
    ["-i", "-o"]
        .into_iter()
        .map(|direction| {
            let words = [direction, bridge, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
            words.map(str::to_owned).to_vec()
        })
        .filter(|rule| {
            let wanted = format!("-A FORWARD {}", rule.join(" "));
            !rules.lines().any(|line| line.replace('"', "").trim() == wanted)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_let_through_where_others_drop() {
        assert!(missing("-P FORWARD ACCEPT\n", "br0").is_empty());
        let docker = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n";
        let rules = missing(docker, "br0");
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].join(" "), "-i br0 -m comment --comment bramble-pods -j ACCEPT");
        let half = format!("{docker}-A FORWARD {}\n", rules[0].join(" "));
        assert_eq!(missing(&half, "br0"), rules[1..]);
        let whole = format!("{half}-A FORWARD {}\n", rules[1].join(" "));
        assert!(missing(&whole, "br0").is_empty());
        assert_eq!(
            missing("-P FORWARD ACCEPT\n-A FORWARD -j ufw-before-forward\n", "br0").len(),
            2
        );
    }
}
