//! Messages of `v1`: volumes of a pod.

use super::{ListType, Message, Type, container, field, inline, kept, message, meta, pod};

pub(super) static AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE: Message = message(
    "AwsElasticBlockStoreVolumeSource",
    &[
        field(1, "volumeID", Type::String),
        field(2, "fsType", Type::String),
        field(3, "partition", Type::Int32),
        field(4, "readOnly", Type::Bool),
    ],
);

pub(super) static AZURE_DISK_VOLUME_SOURCE: Message = message(
    "AzureDiskVolumeSource",
    &[
        field(1, "diskName", Type::String),
        field(2, "diskURI", Type::String),
        kept(3, "cachingMode", Type::String),
        kept(4, "fsType", Type::String),
        kept(5, "readOnly", Type::Bool),
        kept(6, "kind", Type::String),
    ],
);

pub(super) static AZURE_FILE_VOLUME_SOURCE: Message = message(
    "AzureFileVolumeSource",
    &[
        field(1, "secretName", Type::String),
        field(2, "shareName", Type::String),
        field(3, "readOnly", Type::Bool),
    ],
);

pub(super) static CSI_VOLUME_SOURCE: Message = message(
    "CSIVolumeSource",
    &[
        field(1, "driver", Type::String),
        kept(2, "readOnly", Type::Bool),
        kept(3, "fsType", Type::String),
        field(4, "volumeAttributes", Type::Map(&Type::String)),
        field(5, "nodePublishSecretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
    ],
);

pub(super) static CEPH_FS_VOLUME_SOURCE: Message = message(
    "CephFsVolumeSource",
    &[
        field(1, "monitors", Type::List(&Type::String, ListType::Atomic)),
        field(2, "path", Type::String),
        field(3, "user", Type::String),
        field(4, "secretFile", Type::String),
        field(5, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
        field(6, "readOnly", Type::Bool),
    ],
);

pub(super) static CINDER_VOLUME_SOURCE: Message = message(
    "CinderVolumeSource",
    &[
        field(1, "volumeID", Type::String),
        field(2, "fsType", Type::String),
        field(3, "readOnly", Type::Bool),
        field(4, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
    ],
);

pub(super) static CLUSTER_TRUST_BUNDLE_PROJECTION: Message = message(
    "ClusterTrustBundleProjection",
    &[
        kept(1, "name", Type::String),
        kept(2, "signerName", Type::String),
        field(3, "labelSelector", Type::Message(&meta::LABEL_SELECTOR)),
        field(4, "path", Type::String),
        kept(5, "optional", Type::Bool),
    ],
);

pub(super) static CONFIG_MAP_PROJECTION: Message = message(
    "ConfigMapProjection",
    &[
        inline(1, &pod::LOCAL_OBJECT_REFERENCE),
        field(2, "items", Type::List(&Type::Message(&KEY_TO_PATH), ListType::Atomic)),
        kept(4, "optional", Type::Bool),
    ],
);

pub(super) static CONFIG_MAP_VOLUME_SOURCE: Message = message(
    "ConfigMapVolumeSource",
    &[
        inline(1, &pod::LOCAL_OBJECT_REFERENCE),
        field(2, "items", Type::List(&Type::Message(&KEY_TO_PATH), ListType::Atomic)),
        kept(3, "defaultMode", Type::Int32),
        kept(4, "optional", Type::Bool),
    ],
);

pub(super) static DOWNWARD_API_PROJECTION: Message = message(
    "DownwardAPIProjection",
    &[field(1, "items", Type::List(&Type::Message(&DOWNWARD_API_VOLUME_FILE), ListType::Atomic))],
);

pub(super) static DOWNWARD_API_VOLUME_FILE: Message = message(
    "DownwardAPIVolumeFile",
    &[
        field(1, "path", Type::String),
        field(2, "fieldRef", Type::Message(&container::OBJECT_FIELD_SELECTOR)),
        field(3, "resourceFieldRef", Type::Message(&container::RESOURCE_FIELD_SELECTOR)),
        kept(4, "mode", Type::Int32),
    ],
);

pub(super) static DOWNWARD_API_VOLUME_SOURCE: Message = message(
    "DownwardAPIVolumeSource",
    &[
        field(1, "items", Type::List(&Type::Message(&DOWNWARD_API_VOLUME_FILE), ListType::Atomic)),
        kept(2, "defaultMode", Type::Int32),
    ],
);

pub(super) static EMPTY_DIR_VOLUME_SOURCE: Message = message(
    "EmptyDirVolumeSource",
    &[field(1, "medium", Type::String), field(2, "sizeLimit", Type::Quantity)],
);

pub(super) static EPHEMERAL_VOLUME_SOURCE: Message = message(
    "EphemeralVolumeSource",
    &[field(1, "volumeClaimTemplate", Type::Message(&PERSISTENT_VOLUME_CLAIM_TEMPLATE))],
);

pub(super) static FC_VOLUME_SOURCE: Message = message(
    "FcVolumeSource",
    &[
        field(1, "targetWWNs", Type::List(&Type::String, ListType::Atomic)),
        field(2, "lun", Type::Int32),
        field(3, "fsType", Type::String),
        field(4, "readOnly", Type::Bool),
        field(5, "wwids", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static FLEX_VOLUME_SOURCE: Message = message(
    "FlexVolumeSource",
    &[
        field(1, "driver", Type::String),
        field(2, "fsType", Type::String),
        field(3, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
        field(4, "readOnly", Type::Bool),
        field(5, "options", Type::Map(&Type::String)),
    ],
);

pub(super) static FLOCKER_VOLUME_SOURCE: Message = message(
    "FlockerVolumeSource",
    &[field(1, "datasetName", Type::String), field(2, "datasetUUID", Type::String)],
);

pub(super) static GCE_PERSISTENT_DISK_VOLUME_SOURCE: Message = message(
    "GcePersistentDiskVolumeSource",
    &[
        field(1, "pdName", Type::String),
        field(2, "fsType", Type::String),
        field(3, "partition", Type::Int32),
        field(4, "readOnly", Type::Bool),
    ],
);

pub(super) static GIT_REPO_VOLUME_SOURCE: Message = message(
    "GitRepoVolumeSource",
    &[
        field(1, "repository", Type::String),
        field(2, "revision", Type::String),
        field(3, "directory", Type::String),
    ],
);

pub(super) static GLUSTERFS_VOLUME_SOURCE: Message = message(
    "GlusterfsVolumeSource",
    &[
        field(1, "endpoints", Type::String),
        field(2, "path", Type::String),
        field(3, "readOnly", Type::Bool),
    ],
);

pub(super) static HOST_PATH_VOLUME_SOURCE: Message = message(
    "HostPathVolumeSource",
    &[field(1, "path", Type::String), kept(2, "type", Type::String)],
);

pub(super) static IMAGE_VOLUME_SOURCE: Message = message(
    "ImageVolumeSource",
    &[field(1, "reference", Type::String), field(2, "pullPolicy", Type::String)],
);

pub(super) static ISCSI_VOLUME_SOURCE: Message = message(
    "IscsiVolumeSource",
    &[
        field(1, "targetPortal", Type::String),
        field(2, "iqn", Type::String),
        kept(3, "lun", Type::Int32),
        field(4, "iscsiInterface", Type::String),
        field(5, "fsType", Type::String),
        field(6, "readOnly", Type::Bool),
        field(7, "portals", Type::List(&Type::String, ListType::Atomic)),
        field(8, "chapAuthDiscovery", Type::Bool),
        field(10, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
        field(11, "chapAuthSession", Type::Bool),
        kept(12, "initiatorName", Type::String),
    ],
);

pub(super) static KEY_TO_PATH: Message = message(
    "KeyToPath",
    &[field(1, "key", Type::String), field(2, "path", Type::String), kept(3, "mode", Type::Int32)],
);

pub(super) static NFS_VOLUME_SOURCE: Message = message(
    "NfsVolumeSource",
    &[
        field(1, "server", Type::String),
        field(2, "path", Type::String),
        field(3, "readOnly", Type::Bool),
    ],
);

pub(super) static PERSISTENT_VOLUME_CLAIM_SPEC: Message = message(
    "PersistentVolumeClaimSpec",
    &[
        field(1, "accessModes", Type::List(&Type::String, ListType::Atomic)),
        field(2, "resources", Type::Message(&VOLUME_RESOURCE_REQUIREMENTS)),
        field(3, "volumeName", Type::String),
        field(4, "selector", Type::Message(&meta::LABEL_SELECTOR)),
        kept(5, "storageClassName", Type::String),
        kept(6, "volumeMode", Type::String),
        field(7, "dataSource", Type::Message(&pod::TYPED_LOCAL_OBJECT_REFERENCE)),
        field(8, "dataSourceRef", Type::Message(&pod::TYPED_OBJECT_REFERENCE)),
        kept(9, "volumeAttributesClassName", Type::String),
    ],
);

pub(super) static PERSISTENT_VOLUME_CLAIM_TEMPLATE: Message = message(
    "PersistentVolumeClaimTemplate",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&PERSISTENT_VOLUME_CLAIM_SPEC)),
    ],
);

pub(super) static PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE: Message = message(
    "PersistentVolumeClaimVolumeSource",
    &[field(1, "claimName", Type::String), field(2, "readOnly", Type::Bool)],
);

pub(super) static PHOTON_PERSISTENT_DISK_VOLUME_SOURCE: Message = message(
    "PhotonPersistentDiskVolumeSource",
    &[field(1, "pdID", Type::String), field(2, "fsType", Type::String)],
);

pub(super) static POD_CERTIFICATE_PROJECTION: Message = message(
    "PodCertificateProjection",
    &[
        field(1, "signerName", Type::String),
        field(2, "keyType", Type::String),
        kept(3, "maxExpirationSeconds", Type::Int32),
        field(4, "credentialBundlePath", Type::String),
        field(5, "keyPath", Type::String),
        field(6, "certificateChainPath", Type::String),
        field(7, "userAnnotations", Type::Map(&Type::String)),
    ],
);

pub(super) static PORTWORX_VOLUME_SOURCE: Message = message(
    "PortworxVolumeSource",
    &[
        field(1, "volumeID", Type::String),
        field(2, "fsType", Type::String),
        field(3, "readOnly", Type::Bool),
    ],
);

pub(super) static PROJECTED_VOLUME_SOURCE: Message = message(
    "ProjectedVolumeSource",
    &[
        field(1, "sources", Type::List(&Type::Message(&VOLUME_PROJECTION), ListType::Atomic)),
        kept(2, "defaultMode", Type::Int32),
    ],
);

pub(super) static QUOBYTE_VOLUME_SOURCE: Message = message(
    "QuobyteVolumeSource",
    &[
        field(1, "registry", Type::String),
        field(2, "volume", Type::String),
        field(3, "readOnly", Type::Bool),
        field(4, "user", Type::String),
        field(5, "group", Type::String),
        field(6, "tenant", Type::String),
    ],
);

pub(super) static RBD_VOLUME_SOURCE: Message = message(
    "RbdVolumeSource",
    &[
        field(1, "monitors", Type::List(&Type::String, ListType::Atomic)),
        field(2, "image", Type::String),
        field(3, "fsType", Type::String),
        field(4, "pool", Type::String),
        field(5, "user", Type::String),
        field(6, "keyring", Type::String),
        field(7, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
        field(8, "readOnly", Type::Bool),
    ],
);

pub(super) static SCALE_IO_VOLUME_SOURCE: Message = message(
    "ScaleIoVolumeSource",
    &[
        field(1, "gateway", Type::String),
        field(2, "system", Type::String),
        field(3, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
        field(4, "sslEnabled", Type::Bool),
        field(5, "protectionDomain", Type::String),
        field(6, "storagePool", Type::String),
        field(7, "storageMode", Type::String),
        field(8, "volumeName", Type::String),
        field(9, "fsType", Type::String),
        field(10, "readOnly", Type::Bool),
    ],
);

pub(super) static SECRET_PROJECTION: Message = message(
    "SecretProjection",
    &[
        inline(1, &pod::LOCAL_OBJECT_REFERENCE),
        field(2, "items", Type::List(&Type::Message(&KEY_TO_PATH), ListType::Atomic)),
        kept(4, "optional", Type::Bool),
    ],
);

pub(super) static SECRET_VOLUME_SOURCE: Message = message(
    "SecretVolumeSource",
    &[
        field(1, "secretName", Type::String),
        field(2, "items", Type::List(&Type::Message(&KEY_TO_PATH), ListType::Atomic)),
        kept(3, "defaultMode", Type::Int32),
        kept(4, "optional", Type::Bool),
    ],
);

pub(super) static SERVICE_ACCOUNT_TOKEN_PROJECTION: Message = message(
    "ServiceAccountTokenProjection",
    &[
        field(1, "audience", Type::String),
        kept(2, "expirationSeconds", Type::Int64),
        field(3, "path", Type::String),
    ],
);

pub(super) static STORAGE_OS_VOLUME_SOURCE: Message = message(
    "StorageOsVolumeSource",
    &[
        field(1, "volumeName", Type::String),
        field(2, "volumeNamespace", Type::String),
        field(3, "fsType", Type::String),
        field(4, "readOnly", Type::Bool),
        field(5, "secretRef", Type::Message(&pod::LOCAL_OBJECT_REFERENCE)),
    ],
);

pub(super) static VOLUME: Message =
    message("Volume", &[field(1, "name", Type::String), inline(2, &VOLUME_SOURCE)]);

pub(super) static VOLUME_PROJECTION: Message = message(
    "VolumeProjection",
    &[
        field(1, "secret", Type::Message(&SECRET_PROJECTION)),
        field(2, "downwardAPI", Type::Message(&DOWNWARD_API_PROJECTION)),
        field(3, "configMap", Type::Message(&CONFIG_MAP_PROJECTION)),
        field(4, "serviceAccountToken", Type::Message(&SERVICE_ACCOUNT_TOKEN_PROJECTION)),
        field(5, "clusterTrustBundle", Type::Message(&CLUSTER_TRUST_BUNDLE_PROJECTION)),
        field(6, "podCertificate", Type::Message(&POD_CERTIFICATE_PROJECTION)),
    ],
);

pub(super) static VOLUME_RESOURCE_REQUIREMENTS: Message = message(
    "VolumeResourceRequirements",
    &[
        field(1, "limits", Type::Map(&Type::Quantity)),
        field(2, "requests", Type::Map(&Type::Quantity)),
    ],
);

pub(super) static VOLUME_SOURCE: Message = message(
    "VolumeSource",
    &[
        field(1, "hostPath", Type::Message(&HOST_PATH_VOLUME_SOURCE)),
        field(2, "emptyDir", Type::Message(&EMPTY_DIR_VOLUME_SOURCE)),
        field(3, "gcePersistentDisk", Type::Message(&GCE_PERSISTENT_DISK_VOLUME_SOURCE)),
        field(4, "awsElasticBlockStore", Type::Message(&AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE)),
        field(5, "gitRepo", Type::Message(&GIT_REPO_VOLUME_SOURCE)),
        field(6, "secret", Type::Message(&SECRET_VOLUME_SOURCE)),
        field(7, "nfs", Type::Message(&NFS_VOLUME_SOURCE)),
        field(8, "iscsi", Type::Message(&ISCSI_VOLUME_SOURCE)),
        field(9, "glusterfs", Type::Message(&GLUSTERFS_VOLUME_SOURCE)),
        field(10, "persistentVolumeClaim", Type::Message(&PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE)),
        field(11, "rbd", Type::Message(&RBD_VOLUME_SOURCE)),
        field(12, "flexVolume", Type::Message(&FLEX_VOLUME_SOURCE)),
        field(13, "cinder", Type::Message(&CINDER_VOLUME_SOURCE)),
        field(14, "cephfs", Type::Message(&CEPH_FS_VOLUME_SOURCE)),
        field(15, "flocker", Type::Message(&FLOCKER_VOLUME_SOURCE)),
        field(16, "downwardAPI", Type::Message(&DOWNWARD_API_VOLUME_SOURCE)),
        field(17, "fc", Type::Message(&FC_VOLUME_SOURCE)),
        field(18, "azureFile", Type::Message(&AZURE_FILE_VOLUME_SOURCE)),
        field(19, "configMap", Type::Message(&CONFIG_MAP_VOLUME_SOURCE)),
        field(20, "vsphereVolume", Type::Message(&VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE)),
        field(21, "quobyte", Type::Message(&QUOBYTE_VOLUME_SOURCE)),
        field(22, "azureDisk", Type::Message(&AZURE_DISK_VOLUME_SOURCE)),
        field(23, "photonPersistentDisk", Type::Message(&PHOTON_PERSISTENT_DISK_VOLUME_SOURCE)),
        field(24, "portworxVolume", Type::Message(&PORTWORX_VOLUME_SOURCE)),
        field(25, "scaleIO", Type::Message(&SCALE_IO_VOLUME_SOURCE)),
        field(26, "projected", Type::Message(&PROJECTED_VOLUME_SOURCE)),
        field(27, "storageos", Type::Message(&STORAGE_OS_VOLUME_SOURCE)),
        field(28, "csi", Type::Message(&CSI_VOLUME_SOURCE)),
        field(29, "ephemeral", Type::Message(&EPHEMERAL_VOLUME_SOURCE)),
        field(30, "image", Type::Message(&IMAGE_VOLUME_SOURCE)),
    ],
);

pub(super) static VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE: Message = message(
    "VsphereVirtualDiskVolumeSource",
    &[
        field(1, "volumePath", Type::String),
        field(2, "fsType", Type::String),
        field(3, "storagePolicyName", Type::String),
        field(4, "storagePolicyID", Type::String),
    ],
);
