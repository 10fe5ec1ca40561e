//! The documents in which the API tells what it has.

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

/// Versions of a group, the preferred one first: all are stable, so that is the newest.
pub(crate) fn versions<'a>(registry: &'a Registry, group: &str) -> Vec<&'a str> {
    let resources = registry.all().iter().filter(|resource| resource.group == group);
    let versions: BTreeSet<&str> = resources.map(|resource| &*resource.version).collect();
    versions.into_iter().rev().collect()
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
        let mut row = json!({
            "name": format!("{}/{}", resource.plural, subresource.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": subresource.kind,
            "verbs": subresource.verbs,
        });
        let foreign =
            subresource.group != resource.group || subresource.version != resource.version;
        if let Some(fields) = row.as_object_mut().filter(|_| foreign) {
            fields.insert("group".to_owned(), subresource.group.into());
            fields.insert("version".to_owned(), subresource.version.into());
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
        json!({
            "subresource": one.name,
            "responseKind": kind(one.group, one.version, one.kind),
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
        assert_eq!(names[1], json!("apps"));
        let preferred =
            api_group(built_in(), "autoscaling").unwrap()["preferredVersion"]["version"].clone();
        assert_eq!(preferred, json!("v2"));
    }
}
