//! Custom resources: what a definition makes of itself.
//!
//! [`resources`] makes the descriptors of a definition's versions, which are served like any other;
//! [`lifecycle`] decides what a definition's status says. Which definitions there are, others know.

pub(crate) mod columns;
mod formats;
pub mod lifecycle;
mod openapi;
pub(crate) mod rules;
pub(crate) mod structural;
pub(crate) mod values;

use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::{Map, Value};

use crate::object::{items, text, truth};
use crate::resource::{
    ALL_VERBS, Handler, Resource, Rules, STATUS_VERBS, Scale, Strategy, Subresource, Text,
};
use crate::status::FieldError;
use crate::validate::Errors;
use columns::{JsonPath, PrinterColumn};
use structural::Structural;

/// Group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Their name in paths.
pub const PLURAL: &str = "customresourcedefinitions";
/// What holds a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What can be done with objects of which no new ones are made.
const ENDING_VERBS: &[&str] =
    &["delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const STATUS: Subresource = Subresource {
    name: "status",
    group: "",
    version: "",
    kind: "",
    verbs: STATUS_VERBS,
    handler: Handler::Status,
};

const SCALE: Subresource = Subresource::scale();

/// What is special about a version of a custom resource.
#[derive(Debug)]
pub(crate) struct Custom {
    /// What its objects are like.
    pub(crate) schema: Structural,
    /// Kind of a list of them.
    pub(crate) list_kind: String,
    /// Where the number of their replicas is.
    pub(crate) scale: Option<Scale>,
    /// What clients are told that still use it.
    pub(crate) deprecation: Option<String>,
    columns: Vec<PrinterColumn>,
    /// What `apiVersion` says of objects that are written: that of the version that is kept.
    kept: String,
    /// Whether what is kept may be in another form than this version's.
    converted: bool,
    /// The schema as it was written, compressed; for documents.
    document: Box<[u8]>,
}

/// The descriptors of a definition's versions that are served, the one that is kept first.
#[must_use]
pub fn resources(definition: &Value) -> Vec<Arc<Resource>> {
    let versions = items(definition, "/spec/versions");
    let served = versions.iter().filter(|version| truth(version, "/served"));
    let mut served: Vec<&Value> = served.collect();
    served.sort_by_key(|version| !truth(version, "/storage"));
    served.into_iter().map(|version| Arc::new(resource(definition, version))).collect()
}

/// The descriptor of the version that a definition's objects are kept in, served or not; none
/// if it never had any.
#[must_use]
pub fn kept(definition: &Value) -> Option<Arc<Resource>> {
    let versions = items(definition, "/spec/versions");
    let version = versions.iter().find(|version| truth(version, "/storage"))?;
    lifecycle::established(definition).then(|| Arc::new(resource(definition, version)))
}

fn resource(definition: &Value, version: &Value) -> Resource {
    let own = |pointer: &str| Text::Owned(text(definition, pointer).to_owned());
    let names = |key: &str| text(definition, &format!("/status/acceptedNames/{key}")).to_owned();
    let list = |key: &str| {
        let names = items(definition, &format!("/status/acceptedNames/{key}")).iter();
        names.filter_map(|name| Some(Text::Owned(name.as_str()?.to_owned()))).collect()
    };
    let fields = items(version, "/selectableFields").iter();
    let fields = fields.map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned());
    let status = version.pointer("/subresources/status").is_some();
    let scale = Custom::scale_of(version);
    let ending = !text(definition, "/metadata/deletionTimestamp").is_empty();
    Resource {
        group: own("/spec/group"),
        version: Text::Owned(text(version, "/name").to_owned()),
        kind: names("kind").into(),
        plural: names("plural").into(),
        singular: names("singular").into(),
        short_names: list("shortNames"),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        verbs: if ending { ENDING_VERBS } else { ALL_VERBS },
        categories: list("categories"),
        subresources: match (status, scale.is_some()) {
            (false, false) => &[],
            (true, false) => &[STATUS],
            (false, true) => &[SCALE],
            (true, true) => &[STATUS, SCALE],
        },
        fields: fields.map(Text::Owned).collect(),
        generation: true,
        pod_spec: None,
        strategy: Strategy {
            initial_status: |_| Value::Null,
            unconditional_update: false,
            ..Strategy::PLAIN
        },
        question: None,
        rules: Rules::Custom(Box::new(Custom::of(definition, version, scale))),
    }
}

impl Custom {
    fn of(definition: &Value, version: &Value, scale: Option<Scale>) -> Self {
        let name = text(version, "/name");
        let versions = items(definition, "/spec/versions");
        let kept = versions.iter().find(|version| truth(version, "/storage"));
        let kept = kept.map_or(name, |version| text(version, "/name"));
        let stored = items(definition, "/status/storedVersions");
        let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
        let changed = crate::object::integer(definition, "/metadata/generation") > 1;
        let group = text(definition, "/spec/group");
        let deprecation = truth(version, "/deprecated").then(|| {
            let own = version.get("deprecationWarning").and_then(Value::as_str);
            let kind = text(definition, "/status/acceptedNames/kind");
            own.map_or_else(|| format!("{group}/{name} {kind} is deprecated"), str::to_owned)
        });
        Self {
            schema: Structural::of(schema),
            list_kind: text(definition, "/status/acceptedNames/listKind").to_owned(),
            scale,
            deprecation,
            columns: PrinterColumn::all(version),
            kept: format!("{group}/{kept}"),
            // What was written while the definition was as it is now is as it has to be.
            converted: changed || kept != name || stored.iter().any(|stored| *stored != name),
            document: deflated(schema),
        }
    }

    fn scale_of(version: &Value) -> Option<Scale> {
        let scale = version.pointer("/subresources/scale").filter(|it| it.is_object())?;
        let pointer = |key: &str| {
            let path = text(scale, &format!("/{key}"));
            JsonPath::parse(path).filter(|_| !path.is_empty())?.pointer()
        };
        Some(Scale {
            replicas: pointer("specReplicasPath")?.into(),
            present: pointer("statusReplicasPath")?.into(),
            selector: pointer("labelSelectorPath").map(Into::into),
            written: true,
        })
    }

    /// How a table announces the columns.
    pub(crate) fn column_definitions(&self) -> Vec<Value> {
        self.columns.iter().map(PrinterColumn::definition).collect()
    }

    /// Cells of a row, without the name.
    pub(crate) fn cells(&self, object: &Value, now: i64) -> impl Iterator<Item = Value> {
        self.columns.iter().map(move |column| column.cell(object, now))
    }

    /// Drops what the schema does not know, and names it.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        structural::prune(&self.schema, object, &mut unknown);
        unknown
    }

    /// Fills in what was left out.
    pub(crate) fn fill_in(&self, fields: &mut Map<String, Value>) {
        structural::fill_in(&self.schema, fields);
    }

    /// What is wrong with an object, which may replace an old one.
    pub(crate) fn problems(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Errors::default();
        values::check(&self.schema, object, old, &mut errors);
        let mut errors = errors.list();
        rules::check(&self.schema, object, old, &mut errors);
        errors
    }

    /// Whether what is kept may be in another form than that which is served.
    pub(crate) fn converted(&self) -> bool {
        self.converted
    }

    /// Makes the served form of a kept object, of a version of this name.
    pub(crate) fn read(&self, api_version: String, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        fields.insert("apiVersion".to_owned(), api_version.into());
        self.prune(object);
        if let Some(fields) = object.as_object_mut() {
            self.fill_in(fields);
        }
    }

    /// Makes the kept form of a served object.
    pub(crate) fn write(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.kept.as_str().into());
        }
    }

    /// The schema as it was written.
    pub(crate) fn document(&self) -> Value {
        let mut text = String::new();
        // The bytes are our own; without them there is nothing to tell.
        match DeflateDecoder::new(&*self.document).read_to_string(&mut text) {
            Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }
}

fn deflated(schema: &Value) -> Box<[u8]> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(schema.to_string().as_bytes());
    encoder.finish().unwrap_or_default().into()
}

pub(crate) use openapi::{definition, definition_name};

#[cfg(test)]
mod tests;
