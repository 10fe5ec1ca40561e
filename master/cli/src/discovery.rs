//! Which resources the API server has, and which of them a typed name means.

use serde_json::Value;

use crate::client::{Client, JSON, Path};
use crate::error::CliError;
use crate::object::{flag, items, plain, text};
use crate::session::Scope;

/// One kind of object, as the API server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    /// Such as `v1`.
    pub(crate) version: String,
    /// In paths: `pods`.
    pub(crate) plural: String,
    /// `pod`.
    pub(crate) singular: String,
    /// `Pod`.
    pub(crate) kind: String,
    /// Whether its objects are in namespaces.
    pub(crate) namespaced: bool,
    /// `po`.
    pub(crate) short_names: Vec<String>,
    /// `all`.
    pub(crate) categories: Vec<String>,
    /// What can be done: `list`, `watch`.
    pub(crate) verbs: Vec<String>,
    /// `scale`, `eviction`.
    pub(crate) subresources: Vec<String>,
}

impl Resource {
    /// Path of all objects of a scope.
    pub(crate) fn collection(&self, scope: &Scope) -> Path {
        let base = match self.group.as_str() {
            "" => Path::new("/api").join(&self.version),
            group => Path::new("/apis").join(group).join(&self.version),
        };
        match scope {
            Scope::Namespace(namespace) if self.namespaced => {
                base.join("namespaces").join(namespace).join(&self.plural)
            }
            Scope::Namespace(_) | Scope::All => base.join(&self.plural),
        }
    }

    /// `deployment.apps`, or `pod` of the core group.
    pub(crate) fn singular_with_group(&self) -> String {
        let singular =
            if self.singular.is_empty() { self.kind.to_lowercase() } else { self.singular.clone() };
        if self.group.is_empty() { singular } else { format!("{singular}.{}", self.group) }
    }

    /// `deployment.apps/web`.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.singular_with_group())
    }

    fn answers_to(&self, name: &str) -> bool {
        self.plural == name
            || self.singular == name
            || self.kind.to_lowercase() == name
            || self.short_names.iter().any(|short| short == name)
    }

    fn belongs_to(&self, group: &str, version: Option<&str>) -> bool {
        self.group == group && version.is_none_or(|version| self.version == version)
    }
}

/// All resources, the core group first, then in the server's order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovery {
    resources: Vec<Resource>,
}

impl Discovery {
    /// Asks the server.
    pub(crate) async fn fetch(client: &Client) -> Result<Self, CliError> {
        let core = client.get(&Path::new("/api/v1"), JSON).await?;
        let mut resources = parse_list(&core, "", "v1");
        let groups = client.get(&Path::new("/apis"), JSON).await?;
        for group in items(&groups, "/groups") {
            // The preferred version first: it is the one that a name without version means.
            let preferred = text(group, "/preferredVersion/version");
            let others = items(group, "/versions").iter().map(|version| text(version, "/version"));
            let versions =
                [preferred].into_iter().chain(others.filter(|other| *other != preferred));
            for version in versions.filter(|version| !version.is_empty()) {
                let name = text(group, "/name");
                let path = Path::new("/apis").join(name).join(version);
                match client.get(&path, JSON).await {
                    Ok(list) => resources.extend(parse_list(&list, name, version)),
                    // A broken extension must not hide everything else.
                    Err(CliError::Server { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self { resources })
    }

    /// What a typed name means: one resource, or all of a category such as `all`.
    pub(crate) fn find(&self, typed: &str) -> Result<Vec<&Resource>, CliError> {
        let name = typed.to_lowercase();
        if let Some(resource) = self.find_one(&name) {
            return Ok(vec![resource]);
        }
        let mut found: Vec<&Resource> = Vec::new();
        for resource in &self.resources {
            let listed = resource.verbs.iter().any(|verb| verb == "list");
            let member = resource.categories.contains(&name);
            let known =
                found.iter().any(|f| f.group == resource.group && f.plural == resource.plural);
            if member && listed && !known {
                found.push(resource);
            }
        }
        if found.is_empty() {
            return Err(CliError::UnknownResource {
                name: typed.to_owned(),
                suggestion: self.suggestion(&name),
            });
        }
        Ok(found)
    }

    fn find_one(&self, name: &str) -> Option<&Resource> {
        let exact = self.resources.iter().find(|resource| resource.answers_to(name));
        if exact.is_some() {
            return exact;
        }
        // `deployments.apps`, then `deployments.v1.apps`.
        let (name, group) = name.split_once('.')?;
        let of = |group: &str, version: Option<&str>| {
            self.resources.iter().find(|one| one.answers_to(name) && one.belongs_to(group, version))
        };
        of(group, None).or_else(|| {
            let (version, group) = group.split_once('.').unwrap_or((group, ""));
            of(group, Some(version))
        })
    }

    /// The resource of a manifest.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Result<&Resource, CliError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = self
            .resources
            .iter()
            .find(|one| one.kind == kind && one.belongs_to(group, Some(version)));
        found.ok_or_else(|| {
            let elsewhere = self.resources.iter().find(|resource| resource.kind == kind);
            CliError::Usage(format!(
                "no matches for kind \"{kind}\" in version \"{api_version}\"{}",
                match elsewhere {
                    Some(one) if one.group.is_empty() => format!("; try \"{}\"", one.version),
                    Some(one) => format!("; try \"{}/{}\"", one.group, one.version),
                    None => "; its CustomResourceDefinition must be applied first".to_owned(),
                }
            ))
        })
    }

    fn suggestion(&self, typed: &str) -> Option<String> {
        let names = self.resources.iter().map(|resource| resource.plural.as_str());
        let near = names.map(|name| (distance(name, typed), name)).min()?;
        (near.0 <= 2).then(|| near.1.to_owned())
    }
}

fn parse_list(list: &Value, group: &str, version: &str) -> Vec<Resource> {
    let words = |object: &Value, pointer: &str| -> Vec<String> {
        items(object, pointer).iter().map(plain).collect()
    };
    let (subresources, resources): (Vec<&Value>, Vec<&Value>) =
        items(list, "/resources").iter().partition(|one| text(one, "/name").contains('/'));
    let parse = |one: &Value| {
        let plural = text(one, "/name").to_owned();
        let below = subresources.iter().filter_map(|sub| {
            let (parent, name) = text(sub, "/name").split_once('/')?;
            (parent == plural).then(|| name.to_owned())
        });
        Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            singular: text(one, "/singularName").to_owned(),
            kind: text(one, "/kind").to_owned(),
            namespaced: flag(one, "/namespaced"),
            short_names: words(one, "/shortNames"),
            categories: words(one, "/categories"),
            verbs: words(one, "/verbs"),
            subresources: below.collect(),
            plural,
        }
    };
    resources.into_iter().map(parse).collect()
}

/// Letters to change, add or leave out to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((to, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(from != *to)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn discovery() -> Discovery {
        let core = json!({"resources": [
            {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": true,
             "shortNames": ["po"], "categories": ["all"], "verbs": ["get", "list"]},
            {"name": "pods/eviction", "kind": "Eviction", "namespaced": true, "verbs": ["create"]},
            {"name": "nodes", "singularName": "node", "kind": "Node", "namespaced": false,
             "shortNames": ["no"], "verbs": ["get", "list"]},
            {"name": "events", "singularName": "event", "kind": "Event", "namespaced": true,
             "verbs": ["get", "list"]},
        ]});
        let apps = json!({"resources": [
            {"name": "deployments", "singularName": "deployment", "kind": "Deployment",
             "namespaced": true, "shortNames": ["deploy"], "categories": ["all"],
             "verbs": ["get", "list"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true, "verbs": ["patch"]},
        ]});
        let events = json!({"resources": [
            {"name": "events", "singularName": "event", "kind": "Event", "namespaced": true,
             "verbs": ["get", "list"]},
        ]});
        let mut resources = parse_list(&core, "", "v1");
        resources.extend(parse_list(&apps, "apps", "v1"));
        resources.extend(parse_list(&events, "events.k8s.io", "v1"));
        Discovery { resources }
    }

    #[test]
    fn every_way_to_name_a_resource_finds_it() {
        let discovery = discovery();
        let check = |typed: &str, group: &str, plural: &str| {
            let found = discovery.find(typed).unwrap();
            assert_eq!(
                (found[0].group.as_str(), found[0].plural.as_str()),
                (group, plural),
                "{typed}"
            );
        };
        for typed in ["po", "pod", "pods", "Pod", "PODS"] {
            check(typed, "", "pods");
        }
        for typed in ["deploy", "deployments.apps", "deploy.apps", "deployments.v1.apps"] {
            check(typed, "apps", "deployments");
        }
        check("events", "", "events");
        check("events.events.k8s.io", "events.k8s.io", "events");
        check("pods.v1", "", "pods");
    }

    #[test]
    fn category_means_all_its_members() {
        let discovery = discovery();
        let found: Vec<_> =
            discovery.find("all").unwrap().iter().map(|one| one.plural.clone()).collect();
        assert_eq!(found, ["pods", "deployments"]);
    }

    #[test]
    fn unknown_resource_gets_a_suggestion() {
        let text = discovery().find("podz").unwrap_err().to_string();
        assert!(text.ends_with("resource type \"podz\"; did you mean \"pods\"?"), "{text}");
        let text = discovery().find("elephants").unwrap_err().to_string();
        assert!(text.ends_with("resource type \"elephants\""), "{text}");
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let discovery = discovery();
        let path = |typed: &str, scope: &Scope| {
            discovery.find(typed).unwrap()[0].collection(scope).to_string()
        };
        let web = Scope::Namespace("web".to_owned());
        assert_eq!(path("po", &web), "/api/v1/namespaces/web/pods");
        assert_eq!(path("po", &Scope::All), "/api/v1/pods");
        assert_eq!(path("deploy", &web), "/apis/apps/v1/namespaces/web/deployments");
        assert_eq!(path("nodes", &web), "/api/v1/nodes");
    }

    #[test]
    fn kinds_of_manifests_are_found_or_explained() {
        let discovery = discovery();
        assert_eq!(discovery.of_kind("apps/v1", "Deployment").unwrap().plural, "deployments");
        let text = discovery.of_kind("extensions/v1beta1", "Deployment").unwrap_err().to_string();
        assert!(text.ends_with("; try \"apps/v1\""), "{text}");
    }

    #[test]
    fn subresources_are_known() {
        let discovery = discovery();
        assert_eq!(discovery.find("pods").unwrap()[0].subresources, ["eviction"]);
        assert_eq!(discovery.find("deploy").unwrap()[0].reference("web"), "deployment.apps/web");
    }
}
