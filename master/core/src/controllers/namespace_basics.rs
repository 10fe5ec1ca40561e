//! Gives every namespace what its pods need to speak with the API: the service account `default`
//! and the CA's certificate in the config map `kube-root-ca.crt`.
//!
//! Other accounts and config maps are their owners' business.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Outcome;
use crate::action::{Action, Target};
use crate::snapshot::Snapshot;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::root_ca::NAME as ROOT_CA;

/// The account of pods that name none.
pub const ACCOUNT: &str = "default";
/// The only key in it.
const ROOT_CA_KEY: &str = "ca.crt";
/// What the config map says of itself.
const DESCRIPTION: &str =
    "The certificate of the CA that signed the API server's own: for whoever calls it from a pod.";

/// Makes what is missing in all namespaces and puts right what was changed. `root_ca` is the CA's
/// certificate, PEM.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, root_ca: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for key in snapshot.namespaces().keys() {
        outcome.merge(reconcile_key(snapshot, key, root_ca));
    }
    outcome
}

/// As [`reconcile`], for one namespace.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, root_ca: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let namespace = snapshot.namespaces().get(key);
    if !snapshot.synced || namespace.is_none_or(|namespace| namespace.meta.deleting()) {
        return outcome;
    }
    outcome.actions.extend(account(snapshot, &key.name));
    outcome.actions.extend(certificate(snapshot, &key.name, root_ca));
    outcome
}

/// Whether a change of this object concerns its namespace's key.
pub(super) fn concerns(id: &ObjectId) -> bool {
    (id.resource == Resource::SERVICE_ACCOUNTS && &*id.key.name == ACCOUNT)
        || (id.resource == Resource::CONFIG_MAPS && &*id.key.name == ROOT_CA)
}

fn account(snapshot: &Snapshot, namespace: &Arc<str>) -> Option<Action> {
    let id = id(&Resource::SERVICE_ACCOUNTS, namespace, ACCOUNT);
    snapshot.meta(&id).is_none().then(|| Action::Create {
        resource: Resource::SERVICE_ACCOUNTS,
        namespace: Arc::clone(namespace),
        object: json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": ACCOUNT, "namespace": namespace },
        }),
    })
}

fn certificate(snapshot: &Snapshot, namespace: &Arc<str>, root_ca: &str) -> Option<Action> {
    let id = id(&Resource::CONFIG_MAPS, namespace, ROOT_CA);
    let Some(meta) = snapshot.meta(&id) else {
        return Some(Action::Create {
            resource: Resource::CONFIG_MAPS,
            namespace: Arc::clone(namespace),
            object: json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CA,
                    "namespace": namespace,
                    "annotations": { "kubernetes.io/description": DESCRIPTION },
                },
                "data": { ROOT_CA_KEY: root_ca },
            }),
        });
    };
    let present = snapshot.root_ca(namespace);
    let right = present.is_some_and(|present| {
        let data = &present.data;
        data.len() == 1 && data.get(ROOT_CA_KEY).is_some_and(|text| &**text == root_ca)
    });
    if right || meta.deleting() {
        return None;
    }
    let target = Target::of(&Resource::CONFIG_MAPS, meta);
    if present.is_some_and(|present| present.immutable) {
        // It cannot be changed back; the next run makes it anew.
        return Some(Action::Delete { target, grace_seconds: None, propagation: None });
    }
    let mut data: Map<String, Value> = present
        .map(|present| &present.data)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .map(|key| (key.to_string(), Value::Null))
        .collect();
    data.insert(ROOT_CA_KEY.to_owned(), root_ca.into());
    Some(Action::Update { target, patch: json!({ "data": data }) })
}

fn id(resource: &Resource, namespace: &Arc<str>, name: &str) -> ObjectId {
    let key = ObjectKey { namespace: Arc::clone(namespace), name: Arc::from(name) };
    ObjectId { resource: resource.clone(), key }
}

#[cfg(test)]
mod tests {
    use super::super::model::{CA, Model};
    use super::*;

    const NAMESPACE: &str = "/core/namespaces/_/d";
    const ACCOUNT_KEY: &str = "/core/serviceaccounts/d/default";
    const CERTIFICATE_KEY: &str = "/core/configmaps/d/kube-root-ca.crt";

    fn run(snapshot: &Snapshot) -> Vec<Action> {
        reconcile(snapshot, CA).actions
    }

    #[track_caller]
    fn check_settled(model: &mut Model) {
        model.settle(run);
        assert!(model.get(ACCOUNT_KEY).is_object());
        assert_eq!(model.get(CERTIFICATE_KEY)["data"], json!({ "ca.crt": CA }));
    }

    #[test]
    fn what_is_missing_or_changed_is_put_right() {
        let mut model = Model::new();
        model.put(NAMESPACE, json!({}));
        check_settled(&mut model);
        model.remove(ACCOUNT_KEY);
        model.remove(CERTIFICATE_KEY);
        check_settled(&mut model);
        model.merge(CERTIFICATE_KEY, &json!({"data": {"ca.crt": "evil", "more": "x"}}));
        check_settled(&mut model);
        model.merge(CERTIFICATE_KEY, &json!({"data": null}));
        check_settled(&mut model);
        model.merge(CERTIFICATE_KEY, &json!({"data": {"ca.crt": "evil"}, "immutable": true}));
        check_settled(&mut model);
    }

    #[test]
    fn namespace_that_goes_gets_nothing() {
        let mut model = Model::new();
        model.put(NAMESPACE, json!({"metadata": {"deletionTimestamp": "2001-09-09T01:46:40Z"}}));
        assert_eq!(run(model.snapshot()), []);
    }
}
