//! Objects as YAML that every reader understands alike.
//!
//! kubectl reads YAML 1.1, where a bare `yes` or `0o7` is not text. So text is left bare only where
//! no reader of any version could take it for something else.

use serde_json::Value;

/// A whole document, laid out as by kubectl.
pub(crate) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(value, 0, &mut out),
        Value::Array(elements) if !elements.is_empty() => block(value, 0, &mut out),
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            scalar(value, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Lines of an object or array, of which the caller has indented the first.
fn block(value: &Value, indent: usize, out: &mut String) {
    let mut first = true;
    let mut start = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    for (name, field) in value.as_object().into_iter().flatten() {
        start(out);
        text(name, indent, false, out);
        out.push(':');
        match field {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent + 2));
                block(field, indent + 2, out);
            }
            // Elements stand below the name of their list, not further right.
            Value::Array(elements) if !elements.is_empty() => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                block(field, indent, out);
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                out.push(' ');
                scalar(field, indent, out);
                out.push('\n');
            }
        }
    }
    for element in value.as_array().into_iter().flatten() {
        start(out);
        out.push_str("- ");
        match element {
            Value::Object(fields) if !fields.is_empty() => block(element, indent + 2, out),
            Value::Array(elements) if !elements.is_empty() => block(element, indent + 2, out),
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => {
                scalar(element, indent, out);
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(content) => text(content, indent, true, out),
        // Empty ones, and what JSON and YAML write alike.
        Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            out.push_str(&value.to_string());
        }
    }
}

fn text(content: &str, indent: usize, lines_allowed: bool, out: &mut String) {
    if lines_allowed && has_plain_lines(content) {
        let end = match content.strip_suffix('\n') {
            None => "-",
            Some(rest) if rest.ends_with('\n') => "+",
            Some(_) => "",
        };
        out.push('|');
        out.push_str(end);
        let body = content.strip_suffix('\n').unwrap_or(content);
        for line in body.split('\n') {
            out.push('\n');
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', indent + 2));
                out.push_str(line);
            }
        }
    } else if bare(content) {
        out.push_str(content);
    } else {
        // JSON's strings are YAML's in double quotes, but for line ends that only YAML knows.
        for c in Value::String(content.to_owned()).to_string().chars() {
            if breaks_lines(c) {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
    }
}

/// Several lines, with nothing in them that needs quotes.
fn has_plain_lines(content: &str) -> bool {
    content.contains('\n')
        && !content.starts_with([' ', '\n', '\t'])
        && content.chars().all(|c| c == '\n' || !(c.is_control() || breaks_lines(c)))
        && content.split('\n').all(|line| !line.ends_with(' '))
}

/// Characters that YAML 1.1 takes for a line's end or a file's beginning.
fn breaks_lines(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn bare(content: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    content.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !content.ends_with([' ', ':'])
        && content.chars().all(|c| c.is_ascii_alphanumeric() || " ._/@%+=-,;()':\"".contains(c))
        && !content.contains(": ")
        && !WORDS.contains(&content.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_laid_out_as_by_kubectl() {
        let object = json!({
            "kind": "Pod", "empty": {}, "none": [], "n": null,
            "spec": {"containers": [{"name": "a", "args": ["yes", "1", "x: y", "a:b"]}, {}],
                     "matrix": [[1, 2], [3]]},
        });
        assert_eq!(
            render(&object),
            "empty: {}\nkind: Pod\n\"n\": null\nnone: []\nspec:\n  containers:\n  - args:\n    \
             - \"yes\"\n    - \"1\"\n    - \"x: y\"\n    - a:b\n    name: a\n  - {}\n  \
             matrix:\n  - - 1\n    - 2\n  - - 3\n"
        );
    }

    #[test]
    fn every_text_is_read_back_unchanged() {
        let texts = [
            "",
            " ",
            "a",
            "yes",
            "No",
            "~",
            "null",
            "0o7",
            "012",
            "1e3",
            "1_0",
            "12:30",
            "#a",
            "a #b",
            "- a",
            "a: b",
            "a:",
            "'a'",
            "\"a\"",
            "a\nb",
            "a\nb\n",
            "a\n\n\nb\n\n",
            " a\nb",
            "\na",
            "a \nb",
            "a\tb",
            "tab\n\tx\n",
            "\u{1b}[0m",
            "é",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "a,b",
            "2026-01-01T00:00:00Z",
            "=",
            "<<",
            "...",
            "---",
            "\n",
            "\n\n",
            "a\r\nb",
            "x\n- y\n#z",
            "\u{2028}a",
            "---\na",
            "a\n---\nb\n",
        ];
        for text in texts {
            let object = json!({"a": {"b": [text, {"c": text}], text: text}, "d": text});
            let rendered = render(&object);
            let read: Value = yaml_serde::from_str(&rendered)
                .unwrap_or_else(|error| panic!("{text:?}: {error}\n{rendered}"));
            assert_eq!(read, object, "{text:?}\n{rendered}");
        }
    }
}
