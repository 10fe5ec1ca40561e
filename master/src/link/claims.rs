//! Which folder of its node a claim of a pod is: what claims and volumes say, put into the pod.
//!
//! Pure: fed with objects. A pod that asks for a claim without a volume stays as it is, and no node
//! starts it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::desired::Name;
use super::field::Field;

/// Claims and volumes.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The volume of each claim that has one.
    volumes: BTreeMap<Name, String>,
    /// What each volume is on its node, as the source of a pod's volume.
    sources: BTreeMap<String, Value>,
}

impl Claims {
    /// Takes in a claim; none if it is gone.
    pub(super) fn set_claim(&mut self, name: Name, claim: Option<&Value>) {
        let volume = claim.map(|claim| Field(claim).get("spec").get("volumeName").string());
        match volume.filter(|volume| !volume.is_empty()) {
            Some(volume) => drop(self.volumes.insert(name, volume)),
            None => drop(self.volumes.remove(&name)),
        }
    }

    /// Takes in a volume; none if it is gone.
    pub(super) fn set_volume(&mut self, name: &str, volume: Option<&Value>) {
        let source = volume.and_then(|volume| {
            let spec = Field(volume).get("spec");
            let (host, local) = (spec.get("hostPath"), spec.get("local"));
            if host.is_set() {
                Some(json!({"path": host.get("path").text(), "type": host.get("type").text()}))
            } else {
                let path = local.get("path").text();
                (!path.is_empty()).then(|| json!({"path": path, "type": "Directory"}))
            }
        });
        match source {
            Some(source) => drop(self.sources.insert(name.to_owned(), source)),
            None => drop(self.sources.remove(name)),
        }
    }

    /// Puts folders where a pod asks for claims; false if some claim has none.
    pub(super) fn resolve(&self, pod: &mut Value) -> bool {
        let metadata = Field(pod).get("metadata");
        let (namespace, name) = (metadata.get("namespace").string(), metadata.get("name").string());
        let volumes = pod.pointer_mut("/spec/volumes").and_then(Value::as_array_mut);
        let (mut all, mut read_only) = (true, Vec::new());
        for volume in volumes.into_iter().flatten() {
            let own = Field(volume).get("name").string();
            let claim = Field(volume).get("persistentVolumeClaim");
            let asked = if claim.is_set() {
                claim.get("claimName").string()
            } else if Field(volume).get("ephemeral").is_set() {
                format!("{name}-{own}")
            } else {
                continue;
            };
            let found = self.volumes.get(&(namespace.clone(), asked));
            let Some(source) = found.and_then(|volume| self.sources.get(volume)) else {
                all = false;
                continue;
            };
            if claim.get("readOnly").flag().unwrap_or(false) {
                read_only.push(own.clone());
            }
            *volume = json!({"name": own, "hostPath": source});
        }
        for list in ["containers", "initContainers"] {
            let containers =
                pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            let mounts = containers.into_iter().flatten().filter_map(|container| {
                container.get_mut("volumeMounts").and_then(Value::as_array_mut)
            });
            for mount in mounts.flatten().filter_map(Value::as_object_mut) {
                let of = mount.get("name").and_then(Value::as_str);
                if of.is_some_and(|of| read_only.iter().any(|name| name == of)) {
                    mount.insert("readOnly".to_owned(), Value::Bool(true));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(source: Value) -> Value {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"metadata": {"namespace": "d", "name": "web"},
            "spec": {"volumes": [volume], "containers": [{"volumeMounts": [{"name": "v"}]}]}})
    }

    #[test]
    fn claims_become_folders_of_the_node() {
        let mut claims = Claims::default();
        let mut asked =
            pod(json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}}));
        assert!(!claims.resolve(&mut asked), "nothing is known of the claim");
        let claim = json!({"spec": {"volumeName": "pv"}});
        claims.set_claim(("d".into(), "data".into()), Some(&claim));
        assert!(!claims.resolve(&mut asked), "nothing is known of the volume");
        let volume = json!({"spec": {"hostPath": {"path": "/a", "type": "DirectoryOrCreate"}}});
        claims.set_volume("pv", Some(&volume));
        assert!(claims.resolve(&mut asked));
        let folder = json!({"path": "/a", "type": "DirectoryOrCreate"});
        assert_eq!(asked["spec"]["volumes"][0], json!({"name": "v", "hostPath": folder}));
        let mount = &asked["spec"]["containers"][0]["volumeMounts"][0];
        assert_eq!(mount, &json!({"name": "v", "readOnly": true}));
    }

    #[test]
    fn an_ephemeral_volume_has_a_claim_of_its_own() {
        let mut claims = Claims::default();
        let claim = json!({"spec": {"volumeName": "pv"}});
        claims.set_claim(("d".into(), "web-v".into()), Some(&claim));
        claims.set_volume("pv", Some(&json!({"spec": {"local": {"path": "/b"}}})));
        let mut asked = pod(json!({"ephemeral": {}}));
        assert!(claims.resolve(&mut asked));
        assert_eq!(
            asked["spec"]["volumes"][0]["hostPath"],
            json!({"path": "/b", "type": "Directory"})
        );
        claims.set_claim(("d".into(), "web-v".into()), None);
        assert!(!claims.resolve(&mut pod(json!({"ephemeral": {}}))));
    }
}
