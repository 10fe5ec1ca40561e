//! Upstream's packages of types, which OpenAPI puts before their names.

/// Package that a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `apps/v1`.
    Apps,
    /// `autoscaling/v1`.
    Autoscaling,
    /// `coordination.k8s.io/v1`.
    Coordination,
    /// `v1`.
    Core,
    /// `discovery.k8s.io/v1`.
    Discovery,
    /// `meta/v1`, which all groups share.
    Meta,
    /// `policy/v1`.
    Policy,
}

impl Package {
    /// Path of the package as OpenAPI has it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Apps => "io.k8s.api.apps.v1",
            Self::Autoscaling => "io.k8s.api.autoscaling.v1",
            Self::Coordination => "io.k8s.api.coordination.v1",
            Self::Core => "io.k8s.api.core.v1",
            Self::Discovery => "io.k8s.api.discovery.v1",
            Self::Meta => "io.k8s.apimachinery.pkg.apis.meta.v1",
            Self::Policy => "io.k8s.api.policy.v1",
        }
    }
}
