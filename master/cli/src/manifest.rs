//! Objects from files: YAML or JSON, several to a file, files of a folder.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;

use crate::error::CliError;
use crate::object::{name, text};

/// An object and where it was written, for messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// Such as `web.yaml, document 2`.
    pub(crate) origin: String,
    /// Invariant: has `apiVersion`, `kind` and `metadata.name`.
    pub(crate) object: Value,
}

/// Reads everything that `-f` names; `-` is the standard input.
pub(crate) fn read_all(files: &[PathBuf], recursive: bool) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|source| read_error(file, source))?;
            manifests.extend(parse(&text, "standard input")?);
            continue;
        }
        let metadata = fs::metadata(file).map_err(|source| read_error(file, source))?;
        let paths =
            if metadata.is_dir() { manifests_in(file, recursive)? } else { vec![file.clone()] };
        for path in paths {
            let text = fs::read_to_string(&path).map_err(|source| read_error(&path, source))?;
            manifests.extend(parse(&text, &path.display().to_string())?);
        }
    }
    if manifests.is_empty() {
        return Err(CliError::Usage("no objects passed: the given files are empty".to_owned()));
    }
    Ok(manifests)
}

fn read_error(path: &Path, source: io::Error) -> CliError {
    CliError::ReadFile { path: path.to_owned(), source }
}

/// Files of a folder that look like manifests, in the order of their names.
fn manifests_in(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, CliError> {
    let entries = fs::read_dir(folder).map_err(|source| read_error(folder, source))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| read_error(folder, source))?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            if recursive {
                found.extend(manifests_in(&path, true)?);
            }
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Takes a text apart into objects; lists are taken apart too, empty documents are passed over.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    for (index, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let origin = match index {
            0 => origin.to_owned(),
            later => format!("{origin}, document {}", later + 1),
        };
        let value = Value::deserialize(document).map_err(|error| CliError::Manifest {
            origin: origin.clone(),
            problem: error.to_string(),
        })?;
        flatten(value, &origin, &mut manifests)?;
    }
    Ok(manifests)
}

fn flatten(value: Value, origin: &str, into: &mut Vec<Manifest>) -> Result<(), CliError> {
    let wrong = |problem: &str| {
        Err(CliError::Manifest { origin: origin.to_owned(), problem: problem.to_owned() })
    };
    if value.is_null() {
        return Ok(());
    }
    if !value.is_object() {
        return wrong("this is not an object with apiVersion and kind");
    }
    if text(&value, "/kind").ends_with("List")
        && let Some(Value::Array(items)) = value.get("items")
    {
        return items.iter().try_for_each(|item| flatten(item.clone(), origin, into));
    }
    for (pointer, field) in [("/apiVersion", "apiVersion"), ("/kind", "kind")] {
        if text(&value, pointer).is_empty() {
            return wrong(&format!("{field} is not set"));
        }
    }
    if name(&value).is_empty() {
        return wrong("metadata.name is not set");
    }
    into.push(Manifest { origin: origin.to_owned(), object: value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let manifests = parse(text, "test.yaml").unwrap();
        manifests.iter().map(|manifest| name(&manifest.object).to_owned()).collect()
    }

    fn problem(text: &str) -> String {
        parse(text, "test.yaml").unwrap_err().to_string()
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";

    #[test]
    fn documents_are_taken_apart() {
        let two = format!("# a comment\n---\n{POD}---\n---\n{}", POD.replace("name: a", "name: b"));
        assert_eq!(names(&two), ["a", "b"]);
        assert_eq!(names(POD), ["a"]);
        assert!(names("").is_empty());
        assert!(names("---\n# nothing\n").is_empty());
    }

    #[test]
    fn lists_and_json_are_read() {
        let list = r#"{"apiVersion":"v1","kind":"List","items":[
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}},
            {"apiVersion":"v1","kind":"PodList","items":[
                {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}]}]}"#;
        assert_eq!(names(list), ["a", "b"]);
    }

    #[test]
    fn mistakes_are_located() {
        assert!(problem("kind: Pod\nmetadata: {name: a}").contains("apiVersion is not set"));
        assert!(problem("apiVersion: v1\nkind: Pod").contains("metadata.name is not set"));
        let second = format!("{POD}---\njust text");
        assert!(
            problem(&second).starts_with("error: test.yaml, document 2: this is not an object")
        );
        assert!(problem("a: [1, 2").contains("test.yaml"));
    }
}
