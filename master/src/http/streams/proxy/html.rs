//! Finds links in a page and leads them elsewhere, while the page passes by.
//!
//! Pure. Everything but the values of changed attributes stays as it is, byte by byte. A tag is kept
//! until it is whole; one that is too long passes unread. Scripts, styles and comments are no tags.

/// Longest tag that is looked at, in bytes.
const TAG_LEN_MAX: usize = 64 * 1024;

/// Attributes that are links, by tag.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Tags whose content is text up to their end, with what that end begins with.
const RAW: &[(&str, &str)] = &[
    ("iframe", "</iframe"),
    ("noembed", "</noembed"),
    ("noframes", "</noframes"),
    ("noscript", "</noscript"),
    ("script", "</script"),
    ("style", "</style"),
    ("textarea", "</textarea"),
    ("title", "</title"),
    ("xmp", "</xmp"),
];

const COMMENT_BEGIN: &[u8] = b"<!--";
const COMMENT_END: &str = "-->";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// Within a tag, which is kept; within a value in these quotes, if any. `value`: the last byte
    /// but for blanks was the sign before a value.
    Tag {
        quote: Option<u8>,
        value: bool,
    },
    /// Text that ends with these words, so many of whose bytes have passed.
    Until {
        end: &'static str,
        passed: usize,
    },
}

/// Rewrites one page; `lead` says where a link is to lead instead.
#[derive(Debug)]
pub(super) struct Rewriter<L> {
    lead: L,
    state: State,
    tag: Vec<u8>,
}

impl<L: Fn(&str) -> Option<String>> Rewriter<L> {
    pub(super) fn new(lead: L) -> Self {
        Self { lead, state: State::Text, tag: Vec::new() }
    }

    /// Takes a piece of the page and returns what can be passed on by now.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + self.tag.len());
        for &byte in piece {
            self.step(byte, &mut out);
        }
        out
    }

    /// What is left at the end of the page.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.state = State::Text;
        std::mem::take(&mut self.tag)
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Text if byte == b'<' => {
                self.tag.push(byte);
                self.state = State::Tag { quote: None, value: false };
            }
            State::Text => out.push(byte),
            State::Until { end, passed } => {
                out.push(byte);
                let wanted = end.as_bytes();
                let passed = match wanted.get(passed) {
                    Some(next) if next.eq_ignore_ascii_case(&byte) => passed + 1,
                    // A third dash is still the second last of a comment.
                    _ if byte == b'-' && end == COMMENT_END => passed,
                    _ => usize::from(wanted.first() == Some(&byte)),
                };
                self.state = match passed == wanted.len() {
                    true => State::Text,
                    false => State::Until { end, passed },
                };
            }
            State::Tag { quote, value } => self.step_in_tag(byte, quote, value, out),
        }
    }

    fn step_in_tag(&mut self, byte: u8, quote: Option<u8>, value: bool, out: &mut Vec<u8>) {
        let opens = byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?');
        if self.tag.len() == 1 && !opens {
            // No tag, but a sign.
            out.append(&mut self.tag);
            self.state = State::Text;
            return self.step(byte, out);
        }
        self.tag.push(byte);
        if self.tag.len() > TAG_LEN_MAX {
            out.append(&mut self.tag);
            self.state = State::Text;
            return;
        }
        if self.tag == COMMENT_BEGIN {
            out.append(&mut self.tag);
            self.state = State::Until { end: COMMENT_END, passed: 0 };
            return;
        }
        self.state = match (quote, byte) {
            (Some(open), byte) if open == byte => State::Tag { quote: None, value: false },
            (Some(_), _) => State::Tag { quote, value: false },
            (None, b'>') => {
                let tag = std::mem::take(&mut self.tag);
                let name = name(&tag);
                self.write_tag(&tag, &name, out);
                let raw = RAW.iter().find(|(raw, _)| *raw == name);
                raw.map_or(State::Text, |(_, end)| State::Until { end, passed: 0 })
            }
            (None, b'"' | b'\'') if value => State::Tag { quote: Some(byte), value: false },
            (None, byte) => State::Tag {
                quote: None,
                value: byte == b'=' || value && byte.is_ascii_whitespace(),
            },
        };
    }

    fn write_tag(&self, tag: &[u8], name: &str, out: &mut Vec<u8>) {
        let Some((_, links)) = LINKS.iter().find(|(tag, _)| *tag == name) else {
            return out.extend_from_slice(tag);
        };
        let mut rest = tag;
        while let Some(attribute) = Attribute::find(rest) {
            let Attribute { before, name, written, value, after } = attribute;
            let lead = || (self.lead)(&unescape(&String::from_utf8_lossy(value)));
            out.extend_from_slice(before);
            match links.iter().any(|link| link.as_bytes().eq_ignore_ascii_case(name)).then(lead) {
                Some(Some(link)) => {
                    out.extend_from_slice(format!("\"{}\"", escape(&link)).as_bytes())
                }
                Some(None) | None => out.extend_from_slice(written),
            }
            rest = after;
        }
        out.extend_from_slice(rest);
    }
}

/// The name of a tag that begins something, in small letters; empty for others.
fn name(tag: &[u8]) -> String {
    let name = tag.get(1..).unwrap_or_default();
    let end = name.iter().position(|byte| byte.is_ascii_whitespace() || b"/>".contains(byte));
    let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// The first attribute with a value in a piece of a tag.
struct Attribute<'a> {
    before: &'a [u8],
    name: &'a [u8],
    /// The value with its quotes.
    written: &'a [u8],
    value: &'a [u8],
    after: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn find(rest: &'a [u8]) -> Option<Self> {
        let sign = rest.iter().position(|byte| *byte == b'=')?;
        let (head, tail) = rest.split_at_checked(sign + 1)?;
        let name = head.get(..sign)?.trim_ascii_end();
        let begin =
            name.iter().rposition(|byte| byte.is_ascii_whitespace() || b"/\"'".contains(byte));
        let name = name.get(begin.map_or(0, |begin| begin + 1)..)?;
        let blanks = tail.len() - tail.trim_ascii_start().len();
        let (_, tail) = tail.split_at_checked(blanks)?;
        let (written, value) = match tail.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let inner = tail.get(1..)?;
                let end = inner.iter().position(|byte| byte == quote)?;
                (tail.get(..end + 2)?, inner.get(..end)?)
            }
            _ => {
                let end = tail.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>');
                let value = tail.get(..end.unwrap_or(tail.len()))?;
                (value, value)
            }
        };
        let before = rest.get(..sign + 1 + blanks)?;
        let after = tail.get(written.len()..)?;
        Some(Self { before, name, written, value, after })
    }
}

/// A value without the escapes that occur in links.
fn unescape(value: &str) -> String {
    [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(value.to_owned(), |value, (escaped, plain)| value.replace(escaped, plain))
}

fn escape(value: &str) -> String {
    [("&", "&amp;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&#34;")]
        .iter()
        .fold(value.to_owned(), |value, (plain, escaped)| value.replace(plain, escaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, expected: &str) {
        let lead = |link: &str| link.starts_with('/').then(|| format!("/p{link}"));
        for len in [1, 3, page.len().max(1)] {
            let mut rewriter = Rewriter::new(lead);
            let mut out = Vec::new();
            for piece in page.as_bytes().chunks(len) {
                out.extend(rewriter.pass(piece));
            }
            out.extend(rewriter.end());
            assert_eq!(String::from_utf8_lossy(&out), expected, "in pieces of {len}");
        }
    }

    #[test]
    fn links_are_led_elsewhere() {
        check(r#"<a href="/x">t</a>"#, r#"<a href="/p/x">t</a>"#);
        check(r"<A class=b HREF='/x' >t", r#"<A class=b HREF="/p/x" >t"#);
        check("<img src=/x/y.png alt=/z>", r#"<img src="/p/x/y.png" alt=/z>"#);
        check("<img src = /x\n usemap=\"/m\"/>", "<img src = \"/p/x\"\n usemap=\"/p/m\"/>");
        check(r#"<a href="/x?a=1&amp;b='2'">"#, r#"<a href="/p/x?a=1&amp;b=&#39;2&#39;">"#);
        check(r#"<script src="/a.js"></script>"#, r#"<script src="/p/a.js"></script>"#);
    }

    #[test]
    fn what_is_no_link_stays_byte_by_byte() {
        for page in [
            "",
            "a < b, a<b && c >d <",
            r#"<a href="x">"#,
            r#"<div href="/x">"#,
            r#"<!-- <a href="/x"> --- -->"#,
            r#"<script>let a = '<a href="/x">';</SCRIPT  >"#,
            r#"<a title=">" name='"/x"'>"#,
            r#"<a href="/x"#,
            r#"<a href>"#,
            "\u{fc}\u{0}<p =/x ==>",
            "<!doctype html>",
        ] {
            check(page, page);
        }
        check(r#"<!-- ---><a href="/x">"#, r#"<!-- ---><a href="/p/x">"#);
        check(r#"<title><a></title><a href="/x">"#, r#"<title><a></title><a href="/p/x">"#);
    }

    #[test]
    fn a_tag_without_end_is_not_kept() {
        let mut rewriter = Rewriter::new(|_: &str| None);
        let mut passed = rewriter.pass(b"<a href=\"").len();
        for _ in 0..100 {
            passed += rewriter.pass(&[b'x'; 4096]).len();
            assert!(rewriter.tag.len() <= TAG_LEN_MAX);
        }
        assert_eq!(passed + rewriter.end().len(), 9 + 100 * 4096);
    }
}
