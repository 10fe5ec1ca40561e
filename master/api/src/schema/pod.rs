//! Messages of `v1`: Pod.

use super::{
    ListType, Message, Type, atomic, container, field, kept, message, meta, retained, scheduling,
    volume,
};

pub(super) static CLIENT_IP_CONFIG: Message =
    message("ClientIpConfig", &[kept(1, "timeoutSeconds", Type::Int32)]);

pub(super) static HOST_ALIAS: Message = message(
    "HostAlias",
    &[
        field(1, "ip", Type::String),
        field(2, "hostnames", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static HOST_IP: Message = message("HostIp", &[field(1, "ip", Type::String)]);

pub(super) static LOCAL_OBJECT_REFERENCE: Message =
    atomic("LocalObjectReference", &[field(1, "name", Type::String)]);

pub(super) static OBJECT_REFERENCE: Message = atomic(
    "ObjectReference",
    &[
        field(1, "kind", Type::String),
        field(2, "namespace", Type::String),
        field(3, "name", Type::String),
        field(4, "uid", Type::String),
        field(5, "apiVersion", Type::String),
        field(6, "resourceVersion", Type::String),
        field(7, "fieldPath", Type::String),
    ],
);

pub(super) static POD: Message = message(
    "Pod",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&POD_SPEC)),
        field(3, "status", Type::Message(&POD_STATUS)),
    ],
);

pub(super) static POD_CONDITION: Message = message(
    "PodCondition",
    &[
        field(1, "type", Type::String),
        field(2, "status", Type::String),
        field(3, "lastProbeTime", Type::Time),
        field(4, "lastTransitionTime", Type::Time),
        field(5, "reason", Type::String),
        field(6, "message", Type::String),
        field(7, "observedGeneration", Type::Int64),
    ],
);

pub(super) static POD_DNS_CONFIG: Message = message(
    "PodDnsConfig",
    &[
        field(1, "nameservers", Type::List(&Type::String, ListType::Atomic)),
        field(2, "searches", Type::List(&Type::String, ListType::Atomic)),
        field(3, "options", Type::List(&Type::Message(&POD_DNS_CONFIG_OPTION), ListType::Atomic)),
    ],
);

pub(super) static POD_DNS_CONFIG_OPTION: Message = message(
    "PodDnsConfigOption",
    &[field(1, "name", Type::String), kept(2, "value", Type::String)],
);

pub(super) static POD_EXTENDED_RESOURCE_CLAIM_STATUS: Message = message(
    "PodExtendedResourceClaimStatus",
    &[
        field(
            1,
            "requestMappings",
            Type::List(
                &Type::Message(&container::CONTAINER_EXTENDED_RESOURCE_REQUEST),
                ListType::Atomic,
            ),
        ),
        field(2, "resourceClaimName", Type::String),
    ],
);

pub(super) static POD_IP: Message = message("PodIp", &[field(1, "ip", Type::String)]);

pub(super) static POD_OS: Message = message("PodOs", &[field(1, "name", Type::String)]);

pub(super) static POD_READINESS_GATE: Message =
    message("PodReadinessGate", &[field(1, "conditionType", Type::String)]);

pub(super) static POD_RESOURCE_CLAIM: Message = message(
    "PodResourceClaim",
    &[
        field(1, "name", Type::String),
        kept(3, "resourceClaimName", Type::String),
        kept(4, "resourceClaimTemplateName", Type::String),
    ],
);

pub(super) static POD_RESOURCE_CLAIM_STATUS: Message = message(
    "PodResourceClaimStatus",
    &[field(1, "name", Type::String), kept(2, "resourceClaimName", Type::String)],
);

pub(super) static POD_SCHEDULING_GATE: Message =
    message("PodSchedulingGate", &[field(1, "name", Type::String)]);

pub(super) static POD_SECURITY_CONTEXT: Message = message(
    "PodSecurityContext",
    &[
        field(1, "seLinuxOptions", Type::Message(&container::SE_LINUX_OPTIONS)),
        kept(2, "runAsUser", Type::Int64),
        kept(3, "runAsNonRoot", Type::Bool),
        field(4, "supplementalGroups", Type::List(&Type::Int64, ListType::Atomic)),
        kept(5, "fsGroup", Type::Int64),
        kept(6, "runAsGroup", Type::Int64),
        field(7, "sysctls", Type::List(&Type::Message(&SYSCTL), ListType::Atomic)),
        field(8, "windowsOptions", Type::Message(&container::WINDOWS_SECURITY_CONTEXT_OPTIONS)),
        kept(9, "fsGroupChangePolicy", Type::String),
        field(10, "seccompProfile", Type::Message(&SECCOMP_PROFILE)),
        field(11, "appArmorProfile", Type::Message(&container::APP_ARMOR_PROFILE)),
        kept(12, "supplementalGroupsPolicy", Type::String),
        kept(13, "seLinuxChangePolicy", Type::String),
    ],
);

pub(super) static POD_SPEC: Message = message(
    "PodSpec",
    &[
        retained(
            1,
            "volumes",
            Type::List(&Type::Message(&volume::VOLUME), ListType::Map(&["name"])),
        ),
        field(
            2,
            "containers",
            Type::List(&Type::Message(&container::CONTAINER), ListType::Map(&["name"])),
        ),
        field(3, "restartPolicy", Type::String),
        kept(4, "terminationGracePeriodSeconds", Type::Int64),
        kept(5, "activeDeadlineSeconds", Type::Int64),
        field(6, "dnsPolicy", Type::String),
        field(7, "nodeSelector", Type::AtomicMap(&Type::String)),
        field(8, "serviceAccountName", Type::String),
        field(9, "serviceAccount", Type::String),
        field(10, "nodeName", Type::String),
        field(11, "hostNetwork", Type::Bool),
        field(12, "hostPID", Type::Bool),
        field(13, "hostIPC", Type::Bool),
        field(14, "securityContext", Type::Message(&POD_SECURITY_CONTEXT)),
        field(
            15,
            "imagePullSecrets",
            Type::List(&Type::Message(&LOCAL_OBJECT_REFERENCE), ListType::Map(&["name"])),
        ),
        field(16, "hostname", Type::String),
        field(17, "subdomain", Type::String),
        field(18, "affinity", Type::Message(&scheduling::AFFINITY)),
        field(19, "schedulerName", Type::String),
        field(
            20,
            "initContainers",
            Type::List(&Type::Message(&container::CONTAINER), ListType::Map(&["name"])),
        ),
        kept(21, "automountServiceAccountToken", Type::Bool),
        field(
            22,
            "tolerations",
            Type::List(&Type::Message(&scheduling::TOLERATION), ListType::Atomic),
        ),
        field(23, "hostAliases", Type::List(&Type::Message(&HOST_ALIAS), ListType::Map(&["ip"]))),
        field(24, "priorityClassName", Type::String),
        kept(25, "priority", Type::Int32),
        field(26, "dnsConfig", Type::Message(&POD_DNS_CONFIG)),
        kept(27, "shareProcessNamespace", Type::Bool),
        field(
            28,
            "readinessGates",
            Type::List(&Type::Message(&POD_READINESS_GATE), ListType::Atomic),
        ),
        kept(29, "runtimeClassName", Type::String),
        kept(30, "enableServiceLinks", Type::Bool),
        kept(31, "preemptionPolicy", Type::String),
        field(32, "overhead", Type::Map(&Type::Quantity)),
        field(
            33,
            "topologySpreadConstraints",
            Type::List(
                &Type::Message(&scheduling::TOPOLOGY_SPREAD_CONSTRAINT),
                ListType::Map(&["topologyKey", "whenUnsatisfiable"]),
            ),
        ),
        field(
            34,
            "ephemeralContainers",
            Type::List(&Type::Message(&container::EPHEMERAL_CONTAINER), ListType::Map(&["name"])),
        ),
        kept(35, "setHostnameAsFQDN", Type::Bool),
        field(36, "os", Type::Message(&POD_OS)),
        kept(37, "hostUsers", Type::Bool),
        field(
            38,
            "schedulingGates",
            Type::List(&Type::Message(&POD_SCHEDULING_GATE), ListType::Map(&["name"])),
        ),
        field(
            39,
            "resourceClaims",
            Type::List(&Type::Message(&POD_RESOURCE_CLAIM), ListType::Map(&["name"])),
        ),
        field(40, "resources", Type::Message(&container::RESOURCE_REQUIREMENTS)),
        kept(41, "hostnameOverride", Type::String),
    ],
);

pub(super) static POD_STATUS: Message = message(
    "PodStatus",
    &[
        field(1, "phase", Type::String),
        field(
            2,
            "conditions",
            Type::List(&Type::Message(&POD_CONDITION), ListType::Map(&["type"])),
        ),
        field(3, "message", Type::String),
        field(4, "reason", Type::String),
        field(5, "hostIP", Type::String),
        field(6, "podIP", Type::String),
        field(7, "startTime", Type::Time),
        field(
            8,
            "containerStatuses",
            Type::List(&Type::Message(&container::CONTAINER_STATUS), ListType::Atomic),
        ),
        field(9, "qosClass", Type::String),
        field(
            10,
            "initContainerStatuses",
            Type::List(&Type::Message(&container::CONTAINER_STATUS), ListType::Atomic),
        ),
        field(11, "nominatedNodeName", Type::String),
        field(12, "podIPs", Type::List(&Type::Message(&POD_IP), ListType::Map(&["ip"]))),
        field(
            13,
            "ephemeralContainerStatuses",
            Type::List(&Type::Message(&container::CONTAINER_STATUS), ListType::Atomic),
        ),
        field(14, "resize", Type::String),
        field(
            15,
            "resourceClaimStatuses",
            Type::List(&Type::Message(&POD_RESOURCE_CLAIM_STATUS), ListType::Map(&["name"])),
        ),
        field(16, "hostIPs", Type::List(&Type::Message(&HOST_IP), ListType::Map(&["ip"]))),
        field(17, "observedGeneration", Type::Int64),
        field(
            18,
            "extendedResourceClaimStatus",
            Type::Message(&POD_EXTENDED_RESOURCE_CLAIM_STATUS),
        ),
        field(19, "allocatedResources", Type::Map(&Type::Quantity)),
        field(20, "resources", Type::Message(&container::RESOURCE_REQUIREMENTS)),
    ],
);

pub(super) static POD_TEMPLATE_SPEC: Message = message(
    "PodTemplateSpec",
    &[
        field(1, "metadata", Type::Message(&meta::OBJECT_META)),
        field(2, "spec", Type::Message(&POD_SPEC)),
    ],
);

pub(super) static SECCOMP_PROFILE: Message = message(
    "SeccompProfile",
    &[field(1, "type", Type::String), kept(2, "localhostProfile", Type::String)],
);

pub(super) static SYSCTL: Message =
    message("Sysctl", &[field(1, "name", Type::String), field(2, "value", Type::String)]);

pub(super) static TYPED_LOCAL_OBJECT_REFERENCE: Message = atomic(
    "TypedLocalObjectReference",
    &[
        kept(1, "apiGroup", Type::String),
        field(2, "kind", Type::String),
        field(3, "name", Type::String),
    ],
);

pub(super) static TYPED_OBJECT_REFERENCE: Message = message(
    "TypedObjectReference",
    &[
        kept(1, "apiGroup", Type::String),
        field(2, "kind", Type::String),
        field(3, "name", Type::String),
        kept(4, "namespace", Type::String),
    ],
);
