//! The formats of texts that a schema may ask for; unknown ones hold for every text.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::timestamp;

/// Whether a text has a format.
pub(crate) fn holds(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => timestamp::parse_micro(text).is_some(),
        "date" => date(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "byte" => crate::protobuf::from_base64(text).is_some(),
        "email" => email(text),
        "hostname" => hostname(text),
        "uri" => uri(text),
        "hexcolor" => hex_colour(text),
        "duration" => duration(text),
        _ => true,
    }
}

fn digits(text: &str, len: usize) -> Option<u32> {
    let right = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let parts = (digits(year, 4), digits(month, 2), digits(day, 2));
    // Which months have how many days is known where times are read.
    parts.0.is_some()
        && parts.1.is_some()
        && parts.2.is_some()
        && timestamp::parse(&format!("{text}T00:00:00Z")).is_some()
}

fn cidr(text: &str) -> bool {
    let Some((address, len)) = text.split_once('/') else { return false };
    let max = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        (Err(_), Err(_)) => return false,
    };
    let plain = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
    plain && len.parse::<u32>().is_ok_and(|len| len <= max)
}

fn mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()))
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let plain: String = text.chars().filter(|letter| *letter != '-').collect();
    let dashes = text.len() - plain.len();
    let at_their_places =
        text.char_indices().all(|(at, letter)| letter != '-' || matches!(at, 8 | 13 | 18 | 23));
    plain.len() == 32
        && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (dashes == 0 || (dashes == 4 && at_their_places))
        && version.is_none_or(|version| plain.chars().nth(12) == Some(version))
}

fn email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(who, host)| {
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        !who.is_empty() && !who.contains(odd) && !host.is_empty() && !host.contains(odd)
    })
}

fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

fn uri(text: &str) -> bool {
    let absolute = text.split_once(':').is_some_and(|(scheme, rest)| {
        let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let rule = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        first && scheme.bytes().all(rule) && !rest.is_empty()
    });
    (absolute || text.starts_with('/'))
        && !text.contains(|letter: char| letter.is_control() || letter == ' ')
}

fn hex_colour(text: &str) -> bool {
    let hex = text.strip_prefix('#').unwrap_or(text);
    matches!(hex.len(), 3 | 6) && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Go's durations, and whole numbers of hours, minutes, days or weeks in words.
fn duration(text: &str) -> bool {
    let text = text.trim().trim_start_matches(['-', '+']);
    let mut rest = text;
    if text == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number =
            rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(0);
        let (number, after) = rest.split_at(number);
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let known = matches!(
            unit.trim(),
            "ns" | "us"
                | "\u{b5}s"
                | "ms"
                | "s"
                | "m"
                | "h"
                | "d"
                | "w"
                | "sec"
                | "secs"
                | "second"
                | "seconds"
                | "min"
                | "mins"
                | "minute"
                | "minutes"
                | "hr"
                | "hrs"
                | "hour"
                | "hours"
                | "day"
                | "days"
                | "week"
                | "weeks"
        );
        if number.is_empty() || number.parse::<f64>().is_err() || !known {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[track_caller]
    fn check(format: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(holds(format, text), "{text} is no {format}");
        }
        for text in bad {
            assert!(!holds(format, text), "{text} is a {format}");
        }
    }

    #[test]
    fn texts_have_the_format_that_is_asked_for() {
        check("date-time", &["2026-01-02T03:04:05Z"], &["2026-01-02", "x", ""]);
        check("date", &["2026-02-28"], &["2026-02-30", "26-02-01", "2026-2-1"]);
        check("ipv4", &["10.0.0.1"], &["::1", "10.0.0", "x"]);
        check("ipv6", &["::1"], &["10.0.0.1"]);
        check("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "x/1", "::/+1"]);
        check("mac", &["00:1a:2B:3c:4d:5e"], &["00:1a", "00:1a:2B:3c:4d:zz"]);
        let id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
        check("uuid", &[id], &["6ba7b810", "6ba7b8109-dad-41d1-80b4-00c04fd430c8"]);
        check("uuid4", &[id], &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]);
        check("byte", &["YQ=="], &["Y", "?"]);
        check("email", &["a@b.c"], &["a", "@b", "a b@c"]);
        check("hostname", &["a.b-c"], &["-a", "a_b", ""]);
        check("uri", &["https://a/b", "/a"], &["a", "1:b", "ht tp://a"]);
        check("hexcolor", &["#fff", "00ff00"], &["#ff", "red"]);
        check("duration", &["1h30m", "5s", "3 days", "0"], &["", "h", "5", "5x"]);
        check("of-my-own", &["anything"], &[]);
    }
}
