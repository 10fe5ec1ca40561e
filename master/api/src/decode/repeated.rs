//! Where in a YAML text a key is there twice: its reader does not say.

/// Says of a key that is there twice, by its path, in which line it is there again. Where a text is
/// written in another way than one key a line, only the key is named.
#[must_use]
pub fn repeated(body: &[u8], path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    let text = String::from_utf8_lossy(body);
    let what = format!("key {key:?} already set in map");
    match line_of(&text, key) {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// The first line with a key that another line of the same map has before it.
fn line_of(text: &str, key: &str) -> Option<usize> {
    // How far in the last such key was, for each map that is still open.
    let mut open: Vec<usize> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start_matches([' ', '-']);
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        let begins_item = line.trim_start().starts_with("- ");
        // What is less far in ends the map, and so does the next item of its list.
        open.retain(|known| *known < indent || (*known == indent && !begins_item));
        let name = content.split_once(':').map_or("", |(name, _)| name.trim());
        if name.trim_matches(['"', '\'']) != key {
            continue;
        }
        if open.contains(&indent) {
            return Some(number + 1);
        }
        open.push(indent);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn lines_are_those_of_the_second_key() {
        let check = |text: &str, path: &str, expected: &str| {
            assert_eq!(repeated(text.as_bytes(), path), expected, "{text}");
        };
        let again = |line: &str| format!("{line}key \"a\" already set in map");
        check("\nspec:\n  a: 1\n  b: 2\n  a: 3\n", "spec.a", &again("line 5: "));
        check("x:\n  a: 1\ny:\n  a: 1\n  a: 2\n", "y.a", &again("line 5: "));
        check("l:\n- a: 1\n- a: 2\n  a: 3\n", "l[1].a", &again("line 4: "));
        check("a: 1\n# a: 2\n\"a\": 3\n", "a", &again("line 3: "));
        check("{a: 1, a: 2}", "a", &again(""));
    }
}
