//! All resources that this API has: one row each, found by path or by kind.

mod apps;
mod configuration;
mod coordination;
mod discovery;
mod event;
mod namespace;
mod node;
mod pod;
mod service;

use crate::resource::Resource;

static ALL: [&Resource; 12] = [
    &configuration::CONFIG_MAPS,
    &event::EVENTS,
    &namespace::NAMESPACES,
    &node::NODES,
    &pod::PODS,
    &configuration::SECRETS,
    &configuration::SERVICE_ACCOUNTS,
    &service::SERVICES,
    &apps::DEPLOYMENTS,
    &apps::REPLICA_SETS,
    &coordination::LEASES,
    &discovery::ENDPOINT_SLICES,
];

/// Every resource; core first, then by group.
#[must_use]
pub fn all() -> &'static [&'static Resource] {
    &ALL
}

/// Finds the resource of a path.
#[must_use]
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|resource| {
        resource.group == group && resource.version == version && resource.plural == plural
    })
}

/// Finds the resource of a kind.
#[must_use]
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Resource> {
    ALL.into_iter().find(|resource| resource.group == group && resource.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_a_schema_and_is_found() {
        for resource in all() {
            assert!(resource.schema().is_some(), "{}", resource.kind);
            let found = find(resource.group, resource.version, resource.plural).unwrap();
            assert_eq!(found.kind, resource.kind);
            assert_eq!(by_kind(resource.group, resource.kind).unwrap().plural, resource.plural);
        }
    }

    #[test]
    fn rows_have_as_many_cells_as_columns() {
        for resource in all() {
            let cells = (resource.cells)(&serde_json::json!({}), 0);
            assert_eq!(cells.len(), resource.columns.len(), "{}", resource.kind);
        }
    }

    #[test]
    fn keys_hold_group_resource_namespace_and_name() {
        let pods = find("", "v1", "pods").unwrap();
        assert_eq!(pods.key("default", "web"), "/core/pods/default/web");
        assert_eq!(pods.prefix(), "/core/pods/");
        let nodes = find("", "v1", "nodes").unwrap();
        assert_eq!(nodes.key("", "pi-1"), "/core/nodes/_/pi-1");
        let deployments = find("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.namespace_prefix("a"), "/apps/deployments/a/");
        assert_eq!(deployments.group_resource(), "deployments.apps");
    }
}
