//! What the arguments of a command point at: `pods`, `pod web`, `deploy/web svc/web`, `po,svc`.

use crate::error::CliError;

/// A resource as typed, with names or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Resource, short name, kind or category, perhaps with a group: `deployments.apps`.
    pub(crate) resource: String,
    /// Names; none means all.
    pub(crate) names: Vec<String>,
}

/// Reads the arguments of `get`, `describe`, `delete` and the like.
pub(crate) fn parse(arguments: &[String]) -> Result<Vec<Selection>, CliError> {
    let wrong = |text: String| Err(CliError::Usage(text));
    let Some((first, names)) = arguments.split_first() else {
        return wrong("say which resource, for example `pods` or `deploy/web`".to_owned());
    };
    if arguments.iter().any(|argument| argument.contains('/')) {
        return arguments.iter().map(|argument| typed_name(argument)).collect();
    }
    let resources: Vec<_> = first.split(',').collect();
    if resources.iter().any(|resource| resource.is_empty()) {
        return wrong(format!("`{first}` has an empty resource in it"));
    }
    if let Some(empty) = names.iter().position(String::is_empty) {
        return wrong(format!("name {} is empty", empty + 1));
    }
    let selection =
        |resource: &&str| Selection { resource: (*resource).to_owned(), names: names.to_vec() };
    Ok(resources.iter().map(selection).collect())
}

/// Reads `TYPE/NAME`.
fn typed_name(argument: &str) -> Result<Selection, CliError> {
    match argument.split_once('/') {
        Some((resource, name))
            if !resource.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(Selection { resource: resource.to_owned(), names: vec![name.to_owned()] })
        }
        Some(_) => Err(CliError::Usage(format!("`{argument}` is not TYPE/NAME"))),
        None => Err(CliError::Usage(format!(
            "`{argument}` has no type, though other arguments are TYPE/NAME; write TYPE/{argument}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], wanted: &[(&str, &[&str])]) {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let selections = parse(&arguments).unwrap();
        let seen: Vec<(&str, Vec<&str>)> = selections
            .iter()
            .map(|one| (one.resource.as_str(), one.names.iter().map(String::as_str).collect()))
            .collect();
        let wanted: Vec<_> = wanted.iter().map(|(kind, names)| (*kind, names.to_vec())).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn all_ways_to_point_are_read() {
        check(&["pods"], &[("pods", &[])]);
        check(&["pod", "a", "b"], &[("pod", &["a", "b"])]);
        check(&["po,svc"], &[("po", &[]), ("svc", &[])]);
        check(&["po,svc", "web"], &[("po", &["web"]), ("svc", &["web"])]);
        check(&["deploy/web", "svc/web"], &[("deploy", &["web"]), ("svc", &["web"])]);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            &[] as &[&str],
            &["po,"],
            &["pod/"],
            &["/web"],
            &["pod/a", "b"],
            &["a/b/c"],
            &["pod", ""],
        ] {
            let arguments: Vec<_> = wrong.iter().map(|&argument| argument.to_owned()).collect();
            assert!(parse(&arguments).is_err(), "{wrong:?}");
        }
    }
}
