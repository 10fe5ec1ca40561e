//! The images of one node: pull, import, unpack, mount as a container's root, collect garbage.
//!
//! Knows nothing of pods, of the master or of the container runtime; it does not decide when an
//! image is garbage or whether a pull is retried.
//!
//! ```text
//!  ImageService::ensure --registry.rs--> blobs/sha256/<digest>     (download, import)
//!                                          | unpack.rs
//!                                          v
//!                                        layers/<diff id>/fs       (ImageStore)
//!                                          | overlay.rs
//!                                          v
//!                                        <container dir>/rootfs    (mount_root, unmount_root)
//! ```
//!
//! How an agent uses it:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bramble_image::{ImageService, ImageStore, PullPolicy, PullSecrets, Reference, Registries};
//! use std::{collections::BTreeSet, path::Path};
//!
//! let store = ImageStore::open(Path::new("/var/lib/bramble"))?;
//! let service = ImageService::new(store.clone(), Registries::default())?;
//! let reference = Reference::parse("busybox")?;
//! let mut secrets = PullSecrets::default();
//! secrets.add_dockerconfigjson(br#"{"auths":{}}"#)?;
//! let image = service.ensure(&reference, PullPolicy::IfNotPresent, &secrets).await?;
//! let container_dir = Path::new("/run/bramble/containers/0001");
//! let rootfs = bramble_image::mount_root(&store, &image, container_dir)?;
//! let user = bramble_image::resolve_user(&rootfs, &image.config.user)?;
//! assert_eq!(user.uid, 0);
//! bramble_image::unmount_root(container_dir)?;
//! store.garbage_collect(&bramble_image::Keep {
//!     references: BTreeSet::from([reference]),
//!     digests: BTreeSet::from([image.digest]),
//! })?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod decompress;
mod digest;
mod image;
mod implied;
mod import;
mod manifest;
mod overlay;
mod platform;
mod pull;
mod reference;
mod registry;
mod remove_tree;
mod secrets;
mod store;
mod unpack;
mod user;

#[cfg(test)]
mod testing;

pub use digest::{Digest, ParseDigestError};
pub use image::{Image, ImageConfig};
pub use import::{ImportError, import};
pub use overlay::{MountRootError, UnmountRootError, mount_root, mounted_image, unmount_root};
pub use platform::Platform;
pub use pull::{ImageService, NewImageServiceError, PullError, PullPolicy};
pub use reference::{ParseReferenceError, Reference};
pub use registry::{Registries, RegistryConfig};
pub use secrets::{ParsePullSecretError, PullSecrets};
pub use store::{Collected, ImageStore, Keep, OpenStoreError, StoreError};
pub use user::{ResolveUserError, ResolvedUser, resolve_user};
