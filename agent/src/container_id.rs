//! Ids of containers in the runtime: which pod, which container, which start.

/// A container's id in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerId {
    /// Uid of the pod.
    pub(crate) uid: String,
    /// Name of the container.
    pub(crate) container: String,
    /// Number of the start.
    pub(crate) attempt: u32,
}

impl ContainerId {
    /// The id as text. Uids and names hold no dot, so it can be read back.
    pub(crate) fn text(uid: &str, container: &str, attempt: u32) -> String {
        format!("{uid}.{container}.{attempt}")
    }

    /// Reads an id; nothing if it is not one of the agent's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rest, attempt) = text.rsplit_once('.')?;
        let (uid, container) = rest.rsplit_once('.')?;
        let attempt = attempt.parse().ok()?;
        Some(Self { uid: uid.to_owned(), container: container.to_owned(), attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back() {
        let text = ContainerId::text("1b2c-3d", "main", 7);
        let expected =
            ContainerId { uid: "1b2c-3d".to_owned(), container: "main".to_owned(), attempt: 7 };
        assert_eq!(ContainerId::parse(&text), Some(expected));
        assert_eq!(ContainerId::parse("by-hand"), None);
    }
}
