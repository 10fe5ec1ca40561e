//! The documents in which the API tells what it has.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::registry::Registry;
use crate::resource::{Resource, Subresource};

/// `GET /api`.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs":
            [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `GET /apis`.
#[must_use]
pub fn api_groups(registry: &Registry) -> Value {
    let groups: Vec<Value> =
        groups(registry).into_iter().map(|group| group_value(registry, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/{group}`; none if there is no such group.
#[must_use]
pub fn api_group(registry: &Registry, group: &str) -> Option<Value> {
    let group = groups(registry).into_iter().find(|known| *known == group)?;
    let mut value = group_value(registry, group);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("kind".to_owned(), "APIGroup".into());
        fields.insert("apiVersion".to_owned(), "v1".into());
    }
    Some(value)
}

/// `GET /api/v1` and `GET /apis/{group}/{version}`; none if there is no such version.
#[must_use]
pub fn api_resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let resources = of_version(registry, group, version);
    let first = resources.first()?;
    let rows: Vec<Value> = resources.iter().flat_map(|resource| resource_rows(resource)).collect();
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version(),
        "resources": rows,
    }))
}

/// `GET /api` with the `Accept` of aggregated discovery.
#[must_use]
pub fn aggregated_core(registry: &Registry) -> Value {
    aggregated(registry, &[""])
}

/// `GET /apis` with the `Accept` of aggregated discovery.
#[must_use]
pub fn aggregated_groups(registry: &Registry) -> Value {
    aggregated(registry, &groups(registry).into_iter().collect::<Vec<_>>())
}

/// Groups but core, in the order of their names.
pub(crate) fn groups(registry: &Registry) -> BTreeSet<&str> {
    let groups = registry.all().iter().map(|resource| &*resource.group);
    groups.filter(|group| !group.is_empty()).collect()
}

/// Versions of a group, the preferred one first: stable ones before others, then the newest.
pub(crate) fn versions<'a>(registry: &'a Registry, group: &str) -> Vec<&'a str> {
    let resources = registry.all().iter().filter(|resource| resource.group == group);
    let versions: BTreeSet<&str> = resources.map(|resource| &*resource.version).collect();
    let mut versions: Vec<&str> = versions.into_iter().collect();
    versions.sort_by_key(|version| rank(version));
    versions
}

/// Places versions: `v2` before `v1` before `v2beta1` before `v1alpha1`, and all others after them.
fn rank(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, &str) {
    let other = (3, Reverse(0), Reverse(0), version);
    let Some(rest) = version.strip_prefix('v') else { return other };
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (major, stage) = rest.split_at(digits);
    let number = |text: &str| text.parse::<u64>().ok();
    let place = |stage: u8, minor: &str| Some((stage, number(minor)?));
    let staged = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
        _ if stage.is_empty() => Some((0, 0)),
        (Some(minor), _) => place(1, minor),
        (None, Some(minor)) => place(2, minor),
        (None, None) => None,
    };
    match (number(major), staged) {
        (Some(major), Some((stage, minor))) => (stage, Reverse(major), Reverse(minor), ""),
        _ => other,
    }
}

/// Resources of a version of a group.
pub(crate) fn of_version<'a>(
    registry: &'a Registry,
    group: &str,
    version: &str,
) -> Vec<&'a Resource> {
    let all = registry.all().iter().map(|resource| &**resource);
    all.filter(|resource| resource.group == group && resource.version == version).collect()
}

fn group_value(registry: &Registry, group: &str) -> Value {
    let versions: Vec<Value> = versions(registry, group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

fn resource_rows(resource: &Resource) -> Vec<Value> {
    let mut row = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if let Some(fields) = row.as_object_mut() {
        for (key, list) in
            [("shortNames", &resource.short_names), ("categories", &resource.categories)]
        {
            if !list.is_empty() {
                fields.insert(key.to_owned(), json!(list));
            }
        }
    }
    let mut rows = vec![row];
    for subresource in resource.subresources {
        let (group, version, kind) = subresource.answers(resource);
        let mut row = json!({
            "name": format!("{}/{}", resource.plural, subresource.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind,
            "verbs": subresource.verbs,
        });
        let foreign = group != resource.group || version != resource.version;
        if let Some(fields) = row.as_object_mut().filter(|_| foreign) {
            fields.insert("group".to_owned(), group.into());
            fields.insert("version".to_owned(), version.into());
        }
        rows.push(row);
    }
    rows
}

fn aggregated(registry: &Registry, groups: &[&str]) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions(registry, group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> = of_version(registry, group, version)
                        .into_iter()
                        .map(aggregated_resource)
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subresource = |one: &Subresource| {
        let (group, version, name) = one.answers(resource);
        json!({
            "subresource": one.name,
            "responseKind": kind(group, version, name),
            "verbs": one.verbs,
        })
    };
    let mut row = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if let Some(fields) = row.as_object_mut() {
        for (key, list) in
            [("shortNames", &resource.short_names), ("categories", &resource.categories)]
        {
            if !list.is_empty() {
                fields.insert(key.to_owned(), json!(list));
            }
        }
        if !resource.subresources.is_empty() {
            let subresources = resource.subresources.iter().map(subresource).collect();
            fields.insert("subresources".to_owned(), Value::Array(subresources));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{self, built_in};

    #[test]
    fn every_resource_is_listed_where_clients_look() {
        for resource in registry::all() {
            let list = api_resources(built_in(), &resource.group, &resource.version).unwrap();
            let rows = list["resources"].as_array().unwrap();
            assert!(rows.iter().any(|row| row["name"] == json!(resource.plural)));
        }
        assert_eq!(api_resources(built_in(), "nothing", "v1"), None);
        assert_eq!(api_group(built_in(), "nothing"), None);
        assert_eq!(
            api_group(built_in(), "apps").unwrap()["preferredVersion"]["groupVersion"],
            json!("apps/v1")
        );
    }

    #[test]
    fn subresources_of_another_group_say_so() {
        let list = api_resources(built_in(), "", "v1").unwrap();
        let rows = list["resources"].as_array().unwrap();
        let eviction = rows.iter().find(|row| row["name"] == json!("pods/eviction")).unwrap();
        assert_eq!(eviction["group"], json!("policy"));
        assert_eq!(eviction["kind"], json!("Eviction"));
    }

    #[test]
    fn stable_and_new_versions_come_first() {
        let mut versions =
            ["foo", "v1alpha1", "v1", "v10beta3", "v2", "v10", "v1beta2", "bar", "v", "v1beta"];
        versions.sort_by_key(|version| rank(version));
        let wanted =
            ["v10", "v2", "v1", "v10beta3", "v1beta2", "v1alpha1", "bar", "foo", "v", "v1beta"];
        assert_eq!(versions, wanted);
    }

    #[test]
    fn aggregated_discovery_has_all_groups() {
        let core = aggregated_core(built_in());
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let names: Vec<Value> = aggregated_groups(built_in())["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].clone())
            .collect();
        assert_eq!(names.len(), groups(built_in()).len());
        assert!(names.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()));
        assert!(names.contains(&json!("apps")));
        let preferred =
            api_group(built_in(), "autoscaling").unwrap()["preferredVersion"]["version"].clone();
        assert_eq!(preferred, json!("v2"));
    }
}
