//! The storage of a snapshot: volumes, claims and classes.
//!
//! Knows no indexes: the snapshot keeps those.

use std::sync::Arc;

use super::{Objects, decode};
use crate::view::meta::Meta;
use crate::view::persistent_volume::{ClaimView, ClassView, VolumeView};
use crate::view::resource::{ObjectId, Resource};

static VOLUMES: Resource = Resource::PERSISTENT_VOLUMES;
static CLAIMS: Resource = Resource::PERSISTENT_VOLUME_CLAIMS;
static CLASSES: Resource = Resource::STORAGE_CLASSES;

/// All storage.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// Persistent volumes; their keys have no namespace.
    pub volumes: Objects<VolumeView>,
    /// Claims.
    pub claims: Objects<ClaimView>,
    /// Storage classes; their keys have no namespace.
    pub classes: Objects<ClassView>,
}

/// An object that was read and is to be put in its place.
pub(super) enum Decoded {
    Volume(Arc<VolumeView>),
    Claim(Arc<ClaimView>),
    Class(Arc<ClassView>),
}

impl Storage {
    /// Whether a resource is one of these.
    pub(super) fn holds(resource: &Resource) -> bool {
        [&VOLUMES, &CLAIMS, &CLASSES].contains(&resource)
    }

    pub(super) fn meta(&self, id: &ObjectId) -> Option<&Meta> {
        if id.resource == VOLUMES {
            self.volumes.get(&id.key).map(|volume| &volume.meta)
        } else if id.resource == CLAIMS {
            self.claims.get(&id.key).map(|claim| &claim.meta)
        } else {
            self.classes.get(&id.key).map(|class| &class.meta)
        }
    }

    pub(super) fn metas(&self) -> impl Iterator<Item = (&Resource, &Meta)> {
        let volumes = self.volumes.values().map(|volume| (&VOLUMES, &volume.meta));
        let claims = self.claims.values().map(|claim| (&CLAIMS, &claim.meta));
        let classes = self.classes.values().map(|class| (&CLASSES, &class.meta));
        volumes.chain(claims).chain(classes)
    }

    /// Reads an object that these [hold](Self::holds).
    pub(super) fn decode(
        id: &ObjectId,
        value: &[u8],
        revision: u64,
    ) -> serde_json::Result<Decoded> {
        Ok(if id.resource == VOLUMES {
            Decoded::Volume(decode::<VolumeView>(value, id, revision, |view| &mut view.meta)?)
        } else if id.resource == CLAIMS {
            Decoded::Claim(decode::<ClaimView>(value, id, revision, |view| &mut view.meta)?)
        } else {
            Decoded::Class(decode::<ClassView>(value, id, revision, |view| &mut view.meta)?)
        })
    }

    pub(super) fn insert(&mut self, id: &ObjectId, decoded: Decoded) {
        let key = id.key.clone();
        match decoded {
            Decoded::Volume(volume) => drop(self.volumes.insert(key, volume)),
            Decoded::Claim(claim) => drop(self.claims.insert(key, claim)),
            Decoded::Class(class) => drop(self.classes.insert(key, class)),
        }
    }

    pub(super) fn remove(&mut self, id: &ObjectId) {
        if id.resource == VOLUMES {
            self.volumes.remove(&id.key);
        } else if id.resource == CLAIMS {
            self.claims.remove(&id.key);
        } else {
            self.classes.remove(&id.key);
        }
    }
}
