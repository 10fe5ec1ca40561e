//! Rules for names, labels and keys; each returns what is wrong, in upstream's words.

const DNS_LABEL_MAX: usize = 63;
const DNS_SUBDOMAIN_MAX: usize = 253;
const QUALIFIED_NAME_MAX: usize = 63;
const LABEL_VALUE_MAX: usize = 63;

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
     characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  \
     or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
     alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
     (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric \
     characters or '-', start with an alphabetic character, and end with an alphanumeric \
     character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  \
     or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
     characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
     'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' \
     or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
     '[-._a-zA-Z0-9]+')";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn check(text: &str, max: usize, valid: bool, why: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > max {
        errors.push(too_long(max));
    }
    if !valid {
        errors.push(why.to_owned());
    }
    errors
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn edges(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| edge(*byte))
        && bytes.last().is_some_and(|byte| edge(*byte))
        && bytes.iter().all(|byte| edge(*byte) || inner(*byte))
}

fn valid_label(text: &str) -> bool {
    edges(text, lower, |byte| byte == b'-')
}

/// One part of a host name, such as a namespace or a container.
#[must_use]
pub fn dns_label(text: &str) -> Vec<String> {
    check(text, DNS_LABEL_MAX, valid_label(text), DNS_LABEL)
}

/// A host name, as most objects have.
#[must_use]
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let valid = text.split('.').all(valid_label);
    check(text, DNS_SUBDOMAIN_MAX, valid, DNS_SUBDOMAIN)
}

/// One part of a host name that starts with a letter, as services have.
#[must_use]
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let letter = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    check(text, DNS_LABEL_MAX, letter && valid_label(text), DNS_1035_LABEL)
}

/// A key of a label or annotation: `name` or `prefix/name`.
#[must_use]
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            let why = "a qualified name must consist of alphanumeric characters, '-', '_' or \
                       '.', and must start and end with an alphanumeric character (e.g. \
                       'MyName',  or 'my.name',  or '123-abc') with an optional DNS subdomain \
                       prefix and '/' (e.g. 'example.com/MyName')";
            return vec![why.to_owned()];
        }
        Some(("", name)) => {
            errors.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            let wrong = dns_subdomain(prefix);
            errors.extend(wrong.into_iter().map(|why| format!("prefix part {why}")));
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    }
    if name.len() > QUALIFIED_NAME_MAX {
        errors.push(format!("name part {}", too_long(QUALIFIED_NAME_MAX)));
    }
    if !word(name) {
        errors.push(QUALIFIED_NAME.to_owned());
    }
    errors
}

fn word(text: &str) -> bool {
    edges(text, |byte| byte.is_ascii_alphanumeric(), |byte| matches!(byte, b'-' | b'_' | b'.'))
}

/// Value of a label.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    check(text, LABEL_VALUE_MAX, text.is_empty() || word(text), LABEL_VALUE)
}

/// Name of an environment variable.
#[must_use]
pub fn environment_name(text: &str) -> Vec<String> {
    // Any printable letter but `=` works in a container.
    let valid =
        !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    let why = "a valid environment variable name must consist only of printable ASCII characters \
               other than '='";
    check(text, usize::MAX, valid, why)
}

/// Name of a port: an IANA service name.
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push("must be no more than 15 bytes".to_owned());
    }
    if !text.bytes().all(|byte| lower(byte) || byte == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// Key of a config map or secret, which becomes a file name.
#[must_use]
pub fn config_key(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("must not be '{text}'")];
    }
    if text.starts_with("..") {
        return vec!["must not start with '..'".to_owned()];
    }
    let valid = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    check(text, DNS_SUBDOMAIN_MAX, valid, CONFIG_KEY)
}

/// Name of an object in a path.
#[must_use]
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%']
        .into_iter()
        .filter(|letter| text.contains(*letter))
        .map(|letter| format!("may not contain '{letter}'"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let check = |rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]| {
            for text in good {
                assert_eq!(rule(text), Vec::<String>::new(), "{text}");
            }
            for text in bad {
                assert!(!rule(text).is_empty(), "{text}");
            }
        };
        let long = "a".repeat(64);
        check(dns_label, &["a", "a-b", "1a"], &["", "A", "-a", "a-", "a.b", &long]);
        check(dns_subdomain, &["a", "a.b", "1.a-b"], &["", "a..b", ".a", "a_b", "A"]);
        check(dns_1035_label, &["a", "a1"], &["1a", "", "A"]);
        check(qualified_name, &["a", "A_b", "x.y/z"], &["", "a/b/c", "/a", "X/a", "a/", &long]);
        check(label_value, &["", "a", "A.b_c"], &["-a", "a b", &long]);
        check(port_name, &["http", "a-1"], &["80", "a--b", "-a", "abcdefghijklmnop", "A"]);
        check(config_key, &["a.b", "_a", ".a"], &["", "..", "..a", "a/b"]);
        check(environment_name, &["A", "a.b", "A B"], &["", "A=B", "\u{e4}"]);
        check(path_segment, &["a"], &["..", "a/b", "a%"]);
    }
}
