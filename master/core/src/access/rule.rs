//! One rule of a role: what it allows, and whether others allow all of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attributes::Attributes;

/// Single permissions that are compared before a rule is called too large to be checked.
const ATOMS_MAX: usize = 20_000;

/// One rule, as `rbac.authorization.k8s.io/v1` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Groups of resources; `*` is all.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Paths; a `*` at the end stands for whatever follows.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub paths: Vec<String>,
    /// Names; none is all.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Resources, as `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Verbs; `*` is all.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
}

fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    crate::view::null_as_default(deserializer)
}

impl Rule {
    /// Everything about all objects, and every path: what who takes over unknown rules must have.
    #[must_use]
    pub fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() },
            Self { verbs: all(), paths: all(), ..Self::default() },
        ]
    }

    /// Whether it allows what is asked for.
    #[must_use]
    pub fn allows(&self, asked: &Attributes) -> bool {
        if !names(&self.verbs, &asked.verb) {
            return false;
        }
        if !asked.is_resource() {
            return self.paths.iter().any(|rule| path_matches(rule, &asked.path));
        }
        names(&self.api_groups, &asked.group)
            && self.resources.iter().any(|rule| {
                rule == "*"
                    || same_resource(rule, &asked.resource, &asked.subresource)
                    || (!asked.subresource.is_empty()
                        && rule.strip_prefix("*/") == Some(&asked.subresource))
            })
            && (self.resource_names.is_empty() || self.resource_names.contains(&asked.name))
    }

    /// Whether it allows one single permission of another rule, which may hold a `*` itself.
    fn covers(&self, atom: &Atom<'_>) -> bool {
        if !names(&self.verbs, atom.verb) {
            return false;
        }
        match atom.what {
            What::Path(path) => self.paths.iter().any(|rule| path_matches(rule, path)),
            What::Object { group, resource, name } => {
                names(&self.api_groups, group)
                    && self.resources.iter().any(|rule| {
                        rule == "*"
                            || rule == resource
                            || resource
                                .split_once('/')
                                .is_some_and(|(_, part)| rule.strip_prefix("*/") == Some(part))
                    })
                    && (self.resource_names.is_empty()
                        || name.is_some_and(|name| {
                            self.resource_names.iter().any(|rule| rule == name)
                        }))
            }
        }
    }

    fn atoms_len(&self) -> usize {
        let objects = self
            .api_groups
            .len()
            .saturating_mul(self.resources.len())
            .saturating_mul(self.resource_names.len().max(1));
        self.verbs.len().saturating_mul(objects.saturating_add(self.paths.len()))
    }

    fn atoms(&self) -> impl Iterator<Item = Atom<'_>> {
        self.verbs.iter().flat_map(move |verb| {
            let paths = self.paths.iter().map(|path| What::Path(path));
            let objects = self.api_groups.iter().flat_map(move |group| {
                self.resources.iter().flat_map(move |resource| {
                    let names = self.resource_names.iter().map(|name| Some(name.as_str()));
                    let all = self.resource_names.is_empty().then_some(None);
                    names.chain(all).map(move |name| What::Object { group, resource, name })
                })
            });
            paths.chain(objects).map(move |what| Atom { verb, what })
        })
    }
}

/// One verb on one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Atom<'a> {
    verb: &'a str,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What<'a> {
    Path(&'a str),
    Object { group: &'a str, resource: &'a str, name: Option<&'a str> },
}

/// What some rules allow and others do not, as single permissions.
///
/// # Errors
///
/// When it is too much to be compared.
pub fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Result<Vec<Rule>, TooLarge> {
    let atoms = wanted.iter().map(Rule::atoms_len).fold(0, usize::saturating_add);
    if atoms.saturating_mul(owned.len().max(1)) > ATOMS_MAX.saturating_mul(100) || atoms > ATOMS_MAX
    {
        return Err(TooLarge);
    }
    let missing = wanted.iter().flat_map(Rule::atoms);
    let missing = missing.filter(|atom| !owned.iter().any(|rule| rule.covers(atom)));
    Ok(missing.map(|atom| atom.rule()).collect())
}

/// The rules are too large to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rules are too large to be checked")]
pub struct TooLarge;

impl Atom<'_> {
    fn rule(&self) -> Rule {
        let mut rule = Rule { verbs: vec![self.verb.to_owned()], ..Rule::default() };
        match self.what {
            What::Path(path) => rule.paths.push(path.to_owned()),
            What::Object { group, resource, name } => {
                rule.api_groups.push(group.to_owned());
                rule.resources.push(resource.to_owned());
                rule.resource_names.extend(name.map(str::to_owned));
            }
        }
        rule
    }
}

/// As upstream writes rules in messages.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.paths),
            ("Verbs", &self.verbs),
        ];
        let written: Vec<String> = parts
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| {
                let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
                format!("{name}:[{}]", items.join(" "))
            })
            .collect();
        write!(f, "{{{}}}", written.join(", "))
    }
}

fn names(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

fn same_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    if subresource.is_empty() {
        return rule == resource;
    }
    rule.split_once('/').is_some_and(|(of, part)| of == resource && part == subresource)
}

fn path_matches(rule: &str, path: &str) -> bool {
    rule == "*"
        || rule == path
        || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        Rule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            ..Rule::default()
        }
    }

    fn asked(verb: &str, resource: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn resource_does_not_stand_for_its_parts() {
        let pods = rule(&["get"], &[""], &["pods"], &[]);
        assert!(pods.allows(&asked("get", "pods", "a")));
        assert!(!pods.allows(&asked("get", "pods/log", "a")));
        assert!(!pods.allows(&asked("list", "pods", "")));
        let logs = rule(&["get"], &[""], &["pods/log"], &[]);
        assert!(logs.allows(&asked("get", "pods/log", "a")));
        assert!(!logs.allows(&asked("get", "pods", "a")));
        let scales = rule(&["*"], &["*"], &["*/scale"], &[]);
        assert!(scales.allows(&asked("update", "deployments/scale", "a")));
        assert!(!scales.allows(&asked("update", "scale", "a")));
        let all = rule(&["*"], &["*"], &["*"], &[]);
        assert!(all.allows(&asked("get", "pods/log", "a")));
        assert!(!all.allows(&Attributes::of_path("get", "/metrics")));
    }

    #[test]
    fn named_objects_are_no_lists() {
        let named = rule(&["get", "list", "create"], &[""], &["secrets"], &["a"]);
        assert!(named.allows(&asked("get", "secrets", "a")));
        assert!(!named.allows(&asked("get", "secrets", "b")));
        assert!(!named.allows(&asked("list", "secrets", "")));
        assert!(!named.allows(&asked("create", "secrets", "")));
    }

    #[test]
    fn star_at_the_end_of_a_path_stands_for_what_follows() {
        let paths = Rule {
            verbs: own(&["get"]),
            paths: own(&["/healthz/*", "/version"]),
            ..Rule::default()
        };
        for (path, expected) in
            [("/healthz/etcd", true), ("/healthz", false), ("/version", true), ("/versions", false)]
        {
            assert_eq!(paths.allows(&Attributes::of_path("get", path)), expected, "{path}");
        }
    }

    #[test]
    fn only_what_nobody_allows_is_uncovered() {
        let owned = [
            rule(&["get", "list"], &[""], &["pods"], &[]),
            rule(&["*"], &["apps"], &["*"], &["a"]),
            rule(&["update"], &["apps"], &["*/scale"], &[]),
        ];
        let check = |wanted: Rule, expected: &[&str]| {
            let found = uncovered(&owned, &[wanted]).unwrap();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(rule(&["get"], &[""], &["pods"], &["b"]), &[]);
        check(
            rule(&["get", "delete"], &[""], &["pods"], &[]),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#],
        );
        check(rule(&["delete"], &["apps"], &["deployments"], &["a"]), &[]);
        check(
            rule(&["delete"], &["apps"], &["deployments"], &[]),
            &[r#"{APIGroups:["apps"], Resources:["deployments"], Verbs:["delete"]}"#],
        );
        check(rule(&["update"], &["apps"], &["deployments/scale"], &[]), &[]);
        check(
            rule(&["*"], &[""], &["pods"], &[]),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#],
        );
    }

    #[test]
    fn rules_that_are_too_large_are_not_compared() {
        let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let large = Rule {
            verbs: own(&["get", "list"]),
            api_groups: many.clone(),
            resources: many,
            ..Rule::default()
        };
        assert_eq!(uncovered(&Rule::everything(), &[large]), Err(TooLarge));
    }
}
