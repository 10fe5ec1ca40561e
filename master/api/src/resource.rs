//! A resource of the API: names, scope, verbs, subresources, and how its objects are defaulted,
//! validated and printed. What is built in is written down as rows of data.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::custom::Custom;
use crate::defaults;
use crate::schema::{self, Message};
use crate::status::FieldError;
use crate::table::{self, Column};
use crate::validate::{self, names};

/// How durable changes of a resource have to be; the store's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What a client was told is stored, is stored.
    Intent,
    /// In memory first; becomes durable with the next commit, or after a while.
    Reported,
    /// In memory only: events and leases.
    Volatile,
}

/// One resource of the API, built in or made while the program runs.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty is core.
    pub group: Text,
    /// Version, such as `v1`.
    pub version: Text,
    /// Kind, such as `Pod`.
    pub kind: Text,
    /// Name in paths, such as `pods`.
    pub plural: Text,
    /// Name of one, such as `pod`.
    pub singular: Text,
    /// Abbreviations that kubectl accepts.
    pub short_names: Vec<Text>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Groups of kinds that kubectl accepts, such as `all`.
    pub categories: Vec<Text>,
    /// What is below an object's path.
    pub subresources: &'static [Subresource],
    /// Fields that a field selector may name, beyond `metadata.name` and `metadata.namespace`.
    pub fields: Vec<Text>,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Where the pod spec in its objects is, if there is one.
    pub pod_spec: Option<&'static str>,
    /// What is special about how its objects are written and deleted.
    pub strategy: Strategy,
    /// What is asked by creating one, if that is answered and nothing is kept.
    pub question: Option<Question>,
    /// What its objects are like.
    pub(crate) rules: Rules,
}

/// What objects are like.
#[derive(Debug)]
pub(crate) enum Rules {
    /// As the program says.
    BuiltIn(&'static Row),
    /// As a schema says.
    Custom(Box<Custom>),
}

/// Where in an object the number of replicas is, as JSON pointers.
#[derive(Debug, Clone)]
pub struct Scale {
    /// How many there are to be.
    pub replicas: Text,
    /// How many there are.
    pub present: Text,
    /// What selects them, if anything does.
    pub selector: Option<Text>,
    /// Whether the selector is written as lists take it.
    pub written: bool,
}

/// A name: part of the program for what is built in.
pub type Text = Cow<'static, str>;

/// The descriptor of a built-in resource, as it is written down.
#[derive(Debug)]
pub struct Row {
    /// API group; empty is core.
    pub group: &'static str,
    /// Version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Pod`.
    pub kind: &'static str,
    /// Name in paths, such as `pods`.
    pub plural: &'static str,
    /// Name of one, such as `pod`.
    pub singular: &'static str,
    /// Abbreviations that kubectl accepts.
    pub short_names: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Groups of kinds that kubectl accepts, such as `all`.
    pub categories: &'static [&'static str],
    /// What is below an object's path.
    pub subresources: &'static [Subresource],
    /// Fields that a field selector may name, beyond `metadata.name` and `metadata.namespace`.
    pub fields: &'static [&'static str],
    /// Columns of the printed table.
    pub columns: &'static [Column],
    /// Cells of one printed row, as many as there are columns; time in seconds since 1970.
    pub cells: fn(&Value, i64) -> Vec<Value>,
    /// Fills in what the user left out.
    pub defaults: fn(&mut Map<String, Value>),
    /// Finds what is wrong with an object, metadata aside.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// Finds what only an object that is there may have.
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// Finds what an update (old, new) must not change.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    /// Where the pod spec in its objects is, if there is one.
    pub pod_spec: Option<&'static str>,
    /// What is special about how its objects are written and deleted.
    pub strategy: Strategy,
    /// How its objects are kept, if not as they are served.
    pub storage: Option<Storage>,
    /// What is asked by creating one, if that is answered and nothing is kept.
    pub question: Option<Question>,
}

/// What is asked by creating an object that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whose a token is.
    Token,
    /// Who asks.
    Oneself,
    /// What somebody may do.
    Access,
    /// What somebody may do in the namespace.
    LocalAccess,
    /// What the one who asks may do.
    OwnAccess,
    /// All that the one who asks may do in a namespace.
    OwnRules,
}

/// How objects are kept that are served in more than one form: all forms have the same objects.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    /// Group of the form that is kept; its plural name is the same.
    pub group: &'static str,
    /// Makes the served form of a kept object.
    pub read: fn(&mut Value),
    /// Makes the kept form of a served object.
    pub write: fn(&mut Value),
}

/// What is special about a resource where its objects are written and deleted: nobody else asks
/// for a kind by its name.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// How durable a change from an old object, if there was one, to a new one has to be.
    pub class: fn(Option<&Value>, &Value) -> Class,
    /// Finds what is wrong with a name.
    pub name: fn(&str) -> Vec<String>,
    /// The first status of an object, which clients cannot set.
    pub initial_status: fn(&Value) -> Value,
    /// Changes a new object once its name and uid are known.
    pub named: fn(&mut Value),
    /// Takes from the old object what an ordinary update cannot change.
    pub prepare_update: fn(&Value, &mut Value),
    /// Whether an update may leave out the resource version that it is based on.
    pub unconditional_update: bool,
    /// Whether dependents stay unless the client wants otherwise.
    pub orphans: bool,
    /// Whether objects are created in a namespace that is being deleted, too.
    pub outlives_namespace: bool,
    /// Names of objects that cannot be deleted, since nothing works without them.
    pub immortal: &'static [&'static str],
    /// Seconds that an object takes to end, if it needs any.
    pub grace_s: fn(&Value) -> Option<i64>,
    /// Whether more than its finalizers holds an object that is being deleted.
    pub held: fn(&Value) -> bool,
    /// Changes an object that begins to be deleted.
    pub deleting: fn(&mut Value),
    /// What its objects hold that no other may have.
    pub holds: Holds,
    /// Whether its objects say what people may do.
    pub grants: bool,
}

/// What objects hold that no other object may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// Cluster addresses and node ports.
    ServiceAddresses,
    /// The number and the pod range of a node.
    NodeNumbers,
}

impl Strategy {
    /// Nothing is special.
    pub(crate) const PLAIN: Self = Self {
        class: |_, _| Class::Intent,
        name: names::dns_subdomain,
        initial_status: |_| Value::Object(Map::new()),
        named: |_| {},
        prepare_update: |_, _| {},
        unconditional_update: true,
        orphans: false,
        outlives_namespace: false,
        immortal: &[],
        grace_s: |_| None,
        held: |_| false,
        deleting: |_| {},
        holds: Holds::Nothing,
        grants: false,
    };
}

/// One subresource, such as `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Last part of the path.
    pub name: &'static str,
    /// Group of what is sent and answered.
    pub group: &'static str,
    /// Version of what is sent and answered.
    pub version: &'static str,
    /// Kind of what is sent and answered.
    pub kind: &'static str,
    /// What can be done with it.
    pub verbs: &'static [&'static str],
    /// Who answers.
    pub handler: Handler,
}

/// What a subresource is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// The status of the object.
    Status,
    /// The number of its replicas.
    Scale,
    /// What a pod's containers have written.
    Log,
    /// The node of a pod.
    Binding,
    /// Deletion of a pod that disruption budgets may refuse.
    Eviction,
    /// The finalizers in a namespace's spec.
    Finalize,
    /// A token of a service account.
    Token,
    /// The own program of one of a pod's containers.
    Attach,
    /// A program in one of a pod's containers.
    Exec,
    /// Connections to a pod's ports.
    PortForward,
    /// Requests that a pod answers.
    PodProxy,
    /// Requests that one of a Service's pods answers.
    ServiceProxy,
    /// Requests that a node itself answers.
    NodeProxy,
    /// What a pod's containers may use.
    Resize,
    /// Containers that come to a pod later, to look at it.
    EphemeralContainers,
}

/// Verbs of a resource that can be stored.
pub(crate) const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Verbs of what is passed on.
pub(crate) const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
/// Verbs of `status` and `scale`.
pub(crate) const STATUS_VERBS: &[&str] = &["get", "patch", "update"];

impl Row {
    /// A plain resource in namespaces: no subresources, no rules, printed by name and age.
    pub(crate) const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
            singular,
            short_names: &[],
            namespaced: true,
            verbs: ALL_VERBS,
            categories: &[],
            subresources: &[],
            fields: &[],
            columns: table::PLAIN_COLUMNS,
            cells: table::plain_cells,
            defaults: defaults::nothing,
            validate: validate::nothing,
            validate_create: validate::nothing,
            validate_update: validate::nothing_changed,
            generation: false,
            pod_spec: None,
            strategy: Strategy::PLAIN,
            storage: None,
            question: None,
        }
    }

    /// As [`Row::namespaced`], but cluster-scoped.
    pub(crate) const fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
    ) -> Self {
        Self { namespaced: false, ..Self::namespaced(group, version, kind, plural, singular) }
    }

    /// A question that is asked at cluster scope.
    pub(crate) const fn question(
        group: &'static str,
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
        question: Question,
    ) -> Self {
        Self {
            verbs: &["create"],
            question: Some(question),
            ..Self::cluster(group, "v1", kind, plural, singular)
        }
    }
}

impl Resource {
    /// The resource that a row describes.
    pub(crate) fn built_in(row: &'static Row) -> Self {
        let texts = |list: &[&'static str]| list.iter().copied().map(Text::Borrowed).collect();
        Self {
            group: row.group.into(),
            version: row.version.into(),
            kind: row.kind.into(),
            plural: row.plural.into(),
            singular: row.singular.into(),
            short_names: texts(row.short_names),
            namespaced: row.namespaced,
            verbs: row.verbs,
            categories: texts(row.categories),
            subresources: row.subresources,
            fields: texts(row.fields),
            generation: row.generation,
            pod_spec: row.pod_spec,
            strategy: row.strategy,
            question: row.question,
            rules: Rules::BuiltIn(row),
        }
    }

    /// What is special about a custom resource; none for what is built in.
    pub(crate) fn custom(&self) -> Option<&Custom> {
        match &self.rules {
            Rules::BuiltIn(_) => None,
            Rules::Custom(custom) => Some(custom),
        }
    }

    /// Columns of the printed table, as it announces them.
    #[must_use]
    pub fn columns(&self) -> Vec<Value> {
        match &self.rules {
            Rules::BuiltIn(row) => row.columns.iter().map(Column::definition).collect(),
            Rules::Custom(custom) => {
                let name = table::name_column().definition();
                std::iter::once(name).chain(custom.column_definitions()).collect()
            }
        }
    }

    /// Cells of one printed row, as many as there are columns; time in seconds since 1970.
    #[must_use]
    pub fn cells(&self, object: &Value, now: i64) -> Vec<Value> {
        match &self.rules {
            Rules::BuiltIn(row) => (row.cells)(object, now),
            Rules::Custom(custom) => {
                std::iter::once(table::name(object)).chain(custom.cells(object, now)).collect()
            }
        }
    }

    /// Fills in what the user left out.
    pub(crate) fn fill_in(&self, object: &mut Map<String, Value>) {
        match &self.rules {
            Rules::BuiltIn(row) => (row.defaults)(object),
            Rules::Custom(custom) => custom.fill_in(object),
        }
    }

    /// Finds what is wrong with an object, which may replace an old one; metadata aside.
    pub(crate) fn problems(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match (&self.rules, old) {
            (Rules::BuiltIn(row), None) => {
                let mut errors = (row.validate)(object);
                errors.extend((row.validate_create)(object));
                errors
            }
            (Rules::BuiltIn(row), Some(old)) => {
                let mut errors = (row.validate)(object);
                errors.extend((row.validate_update)(old, object));
                errors
            }
            (Rules::Custom(custom), old) => custom.problems(object, old),
        }
    }

    /// Finds what is wrong with an object of which a part was replaced; that part has rules of its
    /// own.
    pub(crate) fn problems_of_whole(&self, object: &Value) -> Vec<FieldError> {
        match &self.rules {
            Rules::BuiltIn(row) => (row.validate)(object),
            Rules::Custom(_) => Vec::new(),
        }
    }

    /// Finds what is wrong with a status that replaces an old one.
    pub(crate) fn status_problems(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        match &self.rules {
            Rules::BuiltIn(_) => Vec::new(),
            Rules::Custom(custom) => custom.problems(object, Some(old)),
        }
    }

    /// Whether its objects are kept in another form than the one in which they are served.
    #[must_use]
    pub fn converted(&self) -> bool {
        match &self.rules {
            Rules::BuiltIn(row) => row.storage.is_some(),
            Rules::Custom(custom) => custom.converted(),
        }
    }

    /// Makes the served form of a kept object.
    pub fn read(&self, object: &mut Value) {
        match &self.rules {
            Rules::BuiltIn(row) => {
                if let Some(storage) = &row.storage {
                    (storage.read)(object);
                }
            }
            Rules::Custom(custom) => custom.read(self.api_version(), object),
        }
    }

    /// Makes the kept form of a served object.
    pub fn write(&self, object: &mut Value) {
        match &self.rules {
            Rules::BuiltIn(row) => {
                if let Some(storage) = &row.storage {
                    (storage.write)(object);
                }
            }
            Rules::Custom(custom) => custom.write(object),
        }
    }

    /// Whether strategic merge patches are known for it: they need to know how lists are merged.
    #[must_use]
    pub fn merges_strategically(&self) -> bool {
        self.custom().is_none()
    }

    /// What clients are told that still use it.
    #[must_use]
    pub fn deprecation(&self) -> Option<&str> {
        self.custom()?.deprecation.as_deref()
    }

    /// Where the number of replicas is.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.custom().and_then(|custom| custom.scale.clone()).unwrap_or_else(|| Scale {
            replicas: "/spec/replicas".into(),
            present: "/status/replicas".into(),
            selector: Some("/spec/selector".into()),
            written: false,
        })
    }

    /// Group and version as an object's `apiVersion` has them.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Kind of a list of its objects.
    #[must_use]
    pub fn list_kind(&self) -> String {
        match &self.rules {
            Rules::BuiltIn(_) => format!("{}List", self.kind),
            Rules::Custom(custom) => custom.list_kind.clone(),
        }
    }

    /// Name with the group, as messages have it: `pods`, `deployments.apps`.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Kind with the group, as messages have it: `Pod`, `Deployment.apps`.
    #[must_use]
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_string()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// Store key of an object; the namespace of cluster-scoped objects is empty.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        format!("{}{name}", self.namespace_prefix(namespace))
    }

    /// What the store keys of all its objects start with.
    #[must_use]
    pub fn prefix(&self) -> String {
        let group = match &self.rules {
            Rules::BuiltIn(row) => row.storage.map_or(&*self.group, |storage| storage.group),
            Rules::Custom(_) => &*self.group,
        };
        let group = if group.is_empty() { "core" } else { group };
        format!("/{group}/{}/", self.plural)
    }

    /// What the store keys of its objects in a namespace start with.
    #[must_use]
    pub fn namespace_prefix(&self, namespace: &str) -> String {
        let namespace = if namespace.is_empty() { "_" } else { namespace };
        format!("{}{namespace}/", self.prefix())
    }

    /// Finds a subresource.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Message of its objects.
    #[must_use]
    pub fn schema(&self) -> Option<Message<'_>> {
        match &self.rules {
            Rules::BuiltIn(_) => schema::built_in().find(&self.group, &self.version, &self.kind),
            Rules::Custom(custom) => Some(Message::custom(&custom.schema)),
        }
    }

    /// Whether status is written apart from the rest.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

impl Subresource {
    /// Group, version and kind of what is sent and answered; without any, those of the object.
    #[must_use]
    pub fn answers<'a>(&'a self, resource: &'a Resource) -> (&'a str, &'a str, &'a str) {
        if self.kind.is_empty() {
            (&resource.group, &resource.version, &resource.kind)
        } else {
            (self.group, self.version, self.kind)
        }
    }

    /// The `status` subresource of a kind.
    #[must_use]
    pub(crate) const fn status(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { name: "status", group, version, kind, verbs: STATUS_VERBS, handler: Handler::Status }
    }

    /// The `proxy` subresource of a core kind, with the kind of its options.
    #[must_use]
    pub(crate) const fn proxy(kind: &'static str, handler: Handler) -> Self {
        Self { name: "proxy", group: "", version: "v1", kind, verbs: PROXY_VERBS, handler }
    }

    /// A part of a core kind that is written by itself, as a whole object.
    #[must_use]
    pub(crate) const fn part(name: &'static str, kind: &'static str, handler: Handler) -> Self {
        Self { name, group: "", version: "v1", kind, verbs: STATUS_VERBS, handler }
    }

    /// The `scale` subresource.
    #[must_use]
    pub(crate) const fn scale() -> Self {
        Self {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: STATUS_VERBS,
            handler: Handler::Scale,
        }
    }
}
