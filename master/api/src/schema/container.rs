//! Messages of `v1`: containers, their probes, environment and security.

use super::{ListType, Message, Type, atomic, field, inline, kept, message, pod};

pub(super) static APP_ARMOR_PROFILE: Message = message(
    "AppArmorProfile",
    &[field(1, "type", Type::String), kept(2, "localhostProfile", Type::String)],
);

pub(super) static CAPABILITIES: Message = message(
    "Capabilities",
    &[
        field(1, "add", Type::List(&Type::String, ListType::Atomic)),
        field(2, "drop", Type::List(&Type::String, ListType::Atomic)),
    ],
);

pub(super) static CONFIG_MAP_ENV_SOURCE: Message = message(
    "ConfigMapEnvSource",
    &[inline(1, &pod::LOCAL_OBJECT_REFERENCE), kept(2, "optional", Type::Bool)],
);

pub(super) static CONFIG_MAP_KEY_SELECTOR: Message = atomic(
    "ConfigMapKeySelector",
    &[
        inline(1, &pod::LOCAL_OBJECT_REFERENCE),
        field(2, "key", Type::String),
        kept(3, "optional", Type::Bool),
    ],
);

pub(super) static CONTAINER: Message = message(
    "Container",
    &[
        field(1, "name", Type::String),
        field(2, "image", Type::String),
        field(3, "command", Type::List(&Type::String, ListType::Atomic)),
        field(4, "args", Type::List(&Type::String, ListType::Atomic)),
        field(5, "workingDir", Type::String),
        field(
            6,
            "ports",
            Type::List(
                &Type::Message(&CONTAINER_PORT),
                ListType::Map(&["containerPort", "protocol"]),
            ),
        ),
        field(7, "env", Type::List(&Type::Message(&ENV_VAR), ListType::Map(&["name"]))),
        field(8, "resources", Type::Message(&RESOURCE_REQUIREMENTS)),
        field(
            9,
            "volumeMounts",
            Type::List(&Type::Message(&VOLUME_MOUNT), ListType::Map(&["mountPath"])),
        ),
        field(10, "livenessProbe", Type::Message(&PROBE)),
        field(11, "readinessProbe", Type::Message(&PROBE)),
        field(12, "lifecycle", Type::Message(&LIFECYCLE)),
        field(13, "terminationMessagePath", Type::String),
        field(14, "imagePullPolicy", Type::String),
        field(15, "securityContext", Type::Message(&SECURITY_CONTEXT)),
        field(16, "stdin", Type::Bool),
        field(17, "stdinOnce", Type::Bool),
        field(18, "tty", Type::Bool),
        field(19, "envFrom", Type::List(&Type::Message(&ENV_FROM_SOURCE), ListType::Atomic)),
        field(20, "terminationMessagePolicy", Type::String),
        field(
            21,
            "volumeDevices",
            Type::List(&Type::Message(&VOLUME_DEVICE), ListType::Map(&["devicePath"])),
        ),
        field(22, "startupProbe", Type::Message(&PROBE)),
        field(
            23,
            "resizePolicy",
            Type::List(&Type::Message(&CONTAINER_RESIZE_POLICY), ListType::Atomic),
        ),
        kept(24, "restartPolicy", Type::String),
        field(
            25,
            "restartPolicyRules",
            Type::List(&Type::Message(&CONTAINER_RESTART_RULE), ListType::Atomic),
        ),
    ],
);

pub(super) static CONTAINER_EXTENDED_RESOURCE_REQUEST: Message = message(
    "ContainerExtendedResourceRequest",
    &[
        field(1, "containerName", Type::String),
        field(2, "resourceName", Type::String),
        field(3, "requestName", Type::String),
    ],
);

pub(super) static CONTAINER_PORT: Message = message(
    "ContainerPort",
    &[
        field(1, "name", Type::String),
        field(2, "hostPort", Type::Int32),
        kept(3, "containerPort", Type::Int32),
        field(4, "protocol", Type::String),
        field(5, "hostIP", Type::String),
    ],
);

pub(super) static CONTAINER_RESIZE_POLICY: Message = message(
    "ContainerResizePolicy",
    &[field(1, "resourceName", Type::String), field(2, "restartPolicy", Type::String)],
);

pub(super) static CONTAINER_RESTART_RULE: Message = message(
    "ContainerRestartRule",
    &[
        field(1, "action", Type::String),
        field(2, "exitCodes", Type::Message(&CONTAINER_RESTART_RULE_ON_EXIT_CODES)),
    ],
);

pub(super) static CONTAINER_RESTART_RULE_ON_EXIT_CODES: Message = message(
    "ContainerRestartRuleOnExitCodes",
    &[
        field(1, "operator", Type::String),
        field(2, "values", Type::List(&Type::Int32, ListType::Set)),
    ],
);

pub(super) static CONTAINER_STATE: Message = message(
    "ContainerState",
    &[
        field(1, "waiting", Type::Message(&CONTAINER_STATE_WAITING)),
        field(2, "running", Type::Message(&CONTAINER_STATE_RUNNING)),
        field(3, "terminated", Type::Message(&CONTAINER_STATE_TERMINATED)),
    ],
);

pub(super) static CONTAINER_STATE_RUNNING: Message =
    message("ContainerStateRunning", &[field(1, "startedAt", Type::Time)]);

pub(super) static CONTAINER_STATE_TERMINATED: Message = message(
    "ContainerStateTerminated",
    &[
        kept(1, "exitCode", Type::Int32),
        field(2, "signal", Type::Int32),
        field(3, "reason", Type::String),
        field(4, "message", Type::String),
        field(5, "startedAt", Type::Time),
        field(6, "finishedAt", Type::Time),
        field(7, "containerID", Type::String),
    ],
);

pub(super) static CONTAINER_STATE_WAITING: Message = message(
    "ContainerStateWaiting",
    &[field(1, "reason", Type::String), field(2, "message", Type::String)],
);

pub(super) static CONTAINER_STATUS: Message = message(
    "ContainerStatus",
    &[
        field(1, "name", Type::String),
        field(2, "state", Type::Message(&CONTAINER_STATE)),
        field(3, "lastState", Type::Message(&CONTAINER_STATE)),
        kept(4, "ready", Type::Bool),
        kept(5, "restartCount", Type::Int32),
        field(6, "image", Type::String),
        field(7, "imageID", Type::String),
        field(8, "containerID", Type::String),
        kept(9, "started", Type::Bool),
        field(10, "allocatedResources", Type::Map(&Type::Quantity)),
        field(11, "resources", Type::Message(&RESOURCE_REQUIREMENTS)),
        field(
            12,
            "volumeMounts",
            Type::List(&Type::Message(&VOLUME_MOUNT_STATUS), ListType::Map(&["mountPath"])),
        ),
        field(13, "user", Type::Message(&CONTAINER_USER)),
        field(
            14,
            "allocatedResourcesStatus",
            Type::List(&Type::Message(&RESOURCE_STATUS), ListType::Map(&["name"])),
        ),
        field(15, "stopSignal", Type::String),
    ],
);

pub(super) static CONTAINER_USER: Message =
    message("ContainerUser", &[field(1, "linux", Type::Message(&LINUX_CONTAINER_USER))]);

pub(super) static ENV_FROM_SOURCE: Message = message(
    "EnvFromSource",
    &[
        field(1, "prefix", Type::String),
        field(2, "configMapRef", Type::Message(&CONFIG_MAP_ENV_SOURCE)),
        field(3, "secretRef", Type::Message(&SECRET_ENV_SOURCE)),
    ],
);

pub(super) static ENV_VAR: Message = message(
    "EnvVar",
    &[
        field(1, "name", Type::String),
        field(2, "value", Type::String),
        field(3, "valueFrom", Type::Message(&ENV_VAR_SOURCE)),
    ],
);

pub(super) static ENV_VAR_SOURCE: Message = message(
    "EnvVarSource",
    &[
        field(1, "fieldRef", Type::Message(&OBJECT_FIELD_SELECTOR)),
        field(2, "resourceFieldRef", Type::Message(&RESOURCE_FIELD_SELECTOR)),
        field(3, "configMapKeyRef", Type::Message(&CONFIG_MAP_KEY_SELECTOR)),
        field(4, "secretKeyRef", Type::Message(&SECRET_KEY_SELECTOR)),
        field(5, "fileKeyRef", Type::Message(&FILE_KEY_SELECTOR)),
    ],
);

pub(super) static EPHEMERAL_CONTAINER: Message = message(
    "EphemeralContainer",
    &[inline(1, &EPHEMERAL_CONTAINER_COMMON), field(2, "targetContainerName", Type::String)],
);

pub(super) static EPHEMERAL_CONTAINER_COMMON: Message = message(
    "EphemeralContainerCommon",
    &[
        field(1, "name", Type::String),
        field(2, "image", Type::String),
        field(3, "command", Type::List(&Type::String, ListType::Atomic)),
        field(4, "args", Type::List(&Type::String, ListType::Atomic)),
        field(5, "workingDir", Type::String),
        field(
            6,
            "ports",
            Type::List(
                &Type::Message(&CONTAINER_PORT),
                ListType::Map(&["containerPort", "protocol"]),
            ),
        ),
        field(7, "env", Type::List(&Type::Message(&ENV_VAR), ListType::Map(&["name"]))),
        field(8, "resources", Type::Message(&RESOURCE_REQUIREMENTS)),
        field(
            9,
            "volumeMounts",
            Type::List(&Type::Message(&VOLUME_MOUNT), ListType::Map(&["mountPath"])),
        ),
        field(10, "livenessProbe", Type::Message(&PROBE)),
        field(11, "readinessProbe", Type::Message(&PROBE)),
        field(12, "lifecycle", Type::Message(&LIFECYCLE)),
        field(13, "terminationMessagePath", Type::String),
        field(14, "imagePullPolicy", Type::String),
        field(15, "securityContext", Type::Message(&SECURITY_CONTEXT)),
        field(16, "stdin", Type::Bool),
        field(17, "stdinOnce", Type::Bool),
        field(18, "tty", Type::Bool),
        field(19, "envFrom", Type::List(&Type::Message(&ENV_FROM_SOURCE), ListType::Atomic)),
        field(20, "terminationMessagePolicy", Type::String),
        field(
            21,
            "volumeDevices",
            Type::List(&Type::Message(&VOLUME_DEVICE), ListType::Map(&["devicePath"])),
        ),
        field(22, "startupProbe", Type::Message(&PROBE)),
        field(
            23,
            "resizePolicy",
            Type::List(&Type::Message(&CONTAINER_RESIZE_POLICY), ListType::Atomic),
        ),
        kept(24, "restartPolicy", Type::String),
        field(
            25,
            "restartPolicyRules",
            Type::List(&Type::Message(&CONTAINER_RESTART_RULE), ListType::Atomic),
        ),
    ],
);

pub(super) static EXEC_ACTION: Message =
    message("ExecAction", &[field(1, "command", Type::List(&Type::String, ListType::Atomic))]);

pub(super) static FILE_KEY_SELECTOR: Message = atomic(
    "FileKeySelector",
    &[
        field(1, "volumeName", Type::String),
        field(2, "path", Type::String),
        field(3, "key", Type::String),
        kept(4, "optional", Type::Bool),
    ],
);

pub(super) static GRPC_ACTION: Message =
    message("GrpcAction", &[kept(1, "port", Type::Int32), kept(2, "service", Type::String)]);

pub(super) static HTTP_GET_ACTION: Message = message(
    "HttpGetAction",
    &[
        field(1, "path", Type::String),
        field(2, "port", Type::IntOrString),
        field(3, "host", Type::String),
        field(4, "scheme", Type::String),
        field(5, "httpHeaders", Type::List(&Type::Message(&HTTP_HEADER), ListType::Atomic)),
    ],
);

pub(super) static HTTP_HEADER: Message =
    message("HttpHeader", &[field(1, "name", Type::String), field(2, "value", Type::String)]);

pub(super) static LIFECYCLE: Message = message(
    "Lifecycle",
    &[
        field(1, "postStart", Type::Message(&LIFECYCLE_HANDLER)),
        field(2, "preStop", Type::Message(&LIFECYCLE_HANDLER)),
        field(3, "stopSignal", Type::String),
    ],
);

pub(super) static LIFECYCLE_HANDLER: Message = message(
    "LifecycleHandler",
    &[
        field(1, "exec", Type::Message(&EXEC_ACTION)),
        field(2, "httpGet", Type::Message(&HTTP_GET_ACTION)),
        field(3, "tcpSocket", Type::Message(&TCP_SOCKET_ACTION)),
        field(4, "sleep", Type::Message(&SLEEP_ACTION)),
    ],
);

pub(super) static LINUX_CONTAINER_USER: Message = message(
    "LinuxContainerUser",
    &[
        field(1, "uid", Type::Int64),
        kept(2, "gid", Type::Int64),
        field(3, "supplementalGroups", Type::List(&Type::Int64, ListType::Atomic)),
    ],
);

pub(super) static OBJECT_FIELD_SELECTOR: Message = atomic(
    "ObjectFieldSelector",
    &[field(1, "apiVersion", Type::String), field(2, "fieldPath", Type::String)],
);

pub(super) static PROBE: Message = message(
    "Probe",
    &[
        inline(1, &PROBE_HANDLER),
        field(2, "initialDelaySeconds", Type::Int32),
        field(3, "timeoutSeconds", Type::Int32),
        field(4, "periodSeconds", Type::Int32),
        field(5, "successThreshold", Type::Int32),
        field(6, "failureThreshold", Type::Int32),
        kept(7, "terminationGracePeriodSeconds", Type::Int64),
    ],
);

pub(super) static PROBE_HANDLER: Message = message(
    "ProbeHandler",
    &[
        field(1, "exec", Type::Message(&EXEC_ACTION)),
        field(2, "httpGet", Type::Message(&HTTP_GET_ACTION)),
        field(3, "tcpSocket", Type::Message(&TCP_SOCKET_ACTION)),
        field(4, "grpc", Type::Message(&GRPC_ACTION)),
    ],
);

pub(super) static RESOURCE_CLAIM: Message =
    message("ResourceClaim", &[field(1, "name", Type::String), field(2, "request", Type::String)]);

pub(super) static RESOURCE_FIELD_SELECTOR: Message = atomic(
    "ResourceFieldSelector",
    &[
        field(1, "containerName", Type::String),
        field(2, "resource", Type::String),
        field(3, "divisor", Type::Quantity),
    ],
);

pub(super) static RESOURCE_HEALTH: Message = message(
    "ResourceHealth",
    &[field(1, "resourceID", Type::String), field(2, "health", Type::String)],
);

pub(super) static RESOURCE_REQUIREMENTS: Message = message(
    "ResourceRequirements",
    &[
        field(1, "limits", Type::Map(&Type::Quantity)),
        field(2, "requests", Type::Map(&Type::Quantity)),
        field(3, "claims", Type::List(&Type::Message(&RESOURCE_CLAIM), ListType::Map(&["name"]))),
    ],
);

pub(super) static RESOURCE_STATUS: Message = message(
    "ResourceStatus",
    &[
        field(1, "name", Type::String),
        field(
            2,
            "resources",
            Type::List(&Type::Message(&RESOURCE_HEALTH), ListType::Map(&["resourceID"])),
        ),
    ],
);

pub(super) static SE_LINUX_OPTIONS: Message = message(
    "SeLinuxOptions",
    &[
        field(1, "user", Type::String),
        field(2, "role", Type::String),
        field(3, "type", Type::String),
        field(4, "level", Type::String),
    ],
);

pub(super) static SECRET_ENV_SOURCE: Message = message(
    "SecretEnvSource",
    &[inline(1, &pod::LOCAL_OBJECT_REFERENCE), kept(2, "optional", Type::Bool)],
);

pub(super) static SECRET_KEY_SELECTOR: Message = atomic(
    "SecretKeySelector",
    &[
        inline(1, &pod::LOCAL_OBJECT_REFERENCE),
        field(2, "key", Type::String),
        kept(3, "optional", Type::Bool),
    ],
);

pub(super) static SECURITY_CONTEXT: Message = message(
    "SecurityContext",
    &[
        field(1, "capabilities", Type::Message(&CAPABILITIES)),
        kept(2, "privileged", Type::Bool),
        field(3, "seLinuxOptions", Type::Message(&SE_LINUX_OPTIONS)),
        kept(4, "runAsUser", Type::Int64),
        kept(5, "runAsNonRoot", Type::Bool),
        kept(6, "readOnlyRootFilesystem", Type::Bool),
        kept(7, "allowPrivilegeEscalation", Type::Bool),
        kept(8, "runAsGroup", Type::Int64),
        kept(9, "procMount", Type::String),
        field(10, "windowsOptions", Type::Message(&WINDOWS_SECURITY_CONTEXT_OPTIONS)),
        field(11, "seccompProfile", Type::Message(&pod::SECCOMP_PROFILE)),
        field(12, "appArmorProfile", Type::Message(&APP_ARMOR_PROFILE)),
    ],
);

pub(super) static SLEEP_ACTION: Message =
    message("SleepAction", &[field(1, "seconds", Type::Int64)]);

pub(super) static TCP_SOCKET_ACTION: Message = message(
    "TcpSocketAction",
    &[field(1, "port", Type::IntOrString), field(2, "host", Type::String)],
);

pub(super) static VOLUME_DEVICE: Message = message(
    "VolumeDevice",
    &[field(1, "name", Type::String), field(2, "devicePath", Type::String)],
);

pub(super) static VOLUME_MOUNT: Message = message(
    "VolumeMount",
    &[
        field(1, "name", Type::String),
        field(2, "readOnly", Type::Bool),
        field(3, "mountPath", Type::String),
        field(4, "subPath", Type::String),
        kept(5, "mountPropagation", Type::String),
        field(6, "subPathExpr", Type::String),
        kept(7, "recursiveReadOnly", Type::String),
    ],
);

pub(super) static VOLUME_MOUNT_STATUS: Message = message(
    "VolumeMountStatus",
    &[
        field(1, "name", Type::String),
        field(2, "mountPath", Type::String),
        field(3, "readOnly", Type::Bool),
        kept(4, "recursiveReadOnly", Type::String),
    ],
);

pub(super) static WINDOWS_SECURITY_CONTEXT_OPTIONS: Message = message(
    "WindowsSecurityContextOptions",
    &[
        kept(1, "gmsaCredentialSpecName", Type::String),
        kept(2, "gmsaCredentialSpec", Type::String),
        kept(3, "runAsUserName", Type::String),
        kept(4, "hostProcess", Type::Bool),
    ],
);
