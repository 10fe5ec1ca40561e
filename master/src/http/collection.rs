//! Lists as streams: made piece by piece from stored bytes while the client reads.
//!
//! However many lists are read at once, each holds a few pieces and shares the stored objects with
//! everybody else. Knows nothing of where objects come from.

use std::io;
use std::sync::Arc;
use std::vec;

use bramble_api::table::{self, IncludeObject};
use bramble_api::{Resource, Status};
use bramble_store::KeyValue;
use bytes::Bytes;
use serde_json::{Value, json};

use super::accept::Form;
use crate::objects::{Shape, append, decode, decode_for_columns};

/// Bytes of a piece, about: two of what TLS sends at once.
const PIECE_BYTES: usize = 32 << 10;

/// The form of the single objects of a list or watch, as one client wants it.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    /// What they are.
    pub(super) resource: Arc<Resource>,
    /// How they are shown.
    pub(super) form: Form,
    /// What goes along with the rows of a table.
    pub(super) include: IncludeObject,
    /// Time of day in seconds, for ages.
    pub(super) now: i64,
}

impl Printer {
    /// Appends one object, or row, as lists have it.
    pub(super) fn append_item(&self, out: &mut Vec<u8>, entry: &KeyValue) -> Result<(), Status> {
        match self.form {
            Form::Object => append(out, entry, Shape::Item),
            Form::Metadata => append(out, entry, Shape::Metadata),
            Form::Table => self.append_row(out, entry),
        }
    }

    fn append_row(&self, out: &mut Vec<u8>, entry: &KeyValue) -> Result<(), Status> {
        let object = match self.include {
            // The cells may show what the columns of no kind show.
            IncludeObject::Object => decode(entry)?,
            IncludeObject::None | IncludeObject::Metadata => decode_for_columns(entry)?,
        };
        let cells = self.resource.cells(&object, self.now);
        out.extend_from_slice(br#"{"cells":"#);
        // Writing into memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, &cells);
        match self.include {
            IncludeObject::None => {}
            IncludeObject::Metadata => {
                out.extend_from_slice(br#","object":"#);
                append(out, entry, Shape::Metadata)?;
            }
            IncludeObject::Object => {
                out.extend_from_slice(br#","object":"#);
                append(out, entry, Shape::Object)?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends a table of one row, as watches and answers about one object have it.
    pub(super) fn append_table(
        &self,
        out: &mut Vec<u8>,
        entry: &KeyValue,
        with_columns: bool,
    ) -> Result<(), Status> {
        let metadata = json!({ "resourceVersion": entry.mod_revision.to_string() });
        let table =
            table::table(&self.resource, &[], &metadata, self.include, with_columns, self.now);
        out.extend_from_slice(&opened(table, "rows"));
        self.append_row(out, entry)?;
        out.extend_from_slice(b"]}");
        Ok(())
    }

    /// What comes before the first item.
    fn head(&self, metadata: &Value) -> Vec<u8> {
        let head = match self.form {
            Form::Table => {
                table::table(&self.resource, &[], metadata, self.include, true, self.now)
            }
            Form::Object => json!({
                "kind": self.resource.list_kind(),
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
        };
        let items = match self.form {
            Form::Table => "rows",
            Form::Object | Form::Metadata => "items",
        };
        opened(head, items)
    }
}

/// Writes an object up to the opening bracket of a list, which becomes its last field.
fn opened(mut object: Value, list: &str) -> Vec<u8> {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(list);
    }
    let mut out = serde_json::to_vec(&object).unwrap_or_default();
    out.pop();
    out.extend_from_slice(format!(",\"{list}\":[").as_bytes());
    out
}

/// The pieces of a list's answer.
#[derive(Debug)]
pub(super) struct Pieces {
    printer: Printer,
    /// What is to be sent before the next item; none after the end.
    before: Option<Vec<u8>>,
    entries: vec::IntoIter<KeyValue>,
    first: bool,
}

/// Makes the answer of a list.
pub(super) fn pieces(printer: Printer, metadata: &Value, entries: Vec<KeyValue>) -> Pieces {
    let before = Some(printer.head(metadata));
    Pieces { printer, before, entries: entries.into_iter(), first: true }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = self.before.take()?;
        out.reserve(PIECE_BYTES);
        while out.len() < PIECE_BYTES {
            let Some(entry) = self.entries.next() else {
                out.extend_from_slice(b"]}");
                return Some(Ok(out.into()));
            };
            if !self.first {
                out.push(b',');
            }
            self.first = false;
            if let Err(status) = self.printer.append_item(&mut out, &entry) {
                // The answer has begun: all that is left is to end it so that nobody believes it.
                return Some(Err(io::Error::other(status.message)));
            }
        }
        self.before = Some(Vec::new());
        Some(Ok(out.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Objects;

    fn entries(count: usize) -> Vec<KeyValue> {
        let entry = |n: usize| {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("c{n}"), "namespace": "a"},
                "data": {"text": "x".repeat(1_000)}});
            KeyValue {
                key: format!("/core/configmaps/a/c{n}").into(),
                value: serde_json::to_vec(&value).unwrap().into(),
                create_revision: 1,
                mod_revision: 7,
                version: 1,
            }
        };
        (0..count).map(entry).collect()
    }

    fn printer(form: Form, include: IncludeObject) -> Printer {
        Printer { resource: Arc::clone(Objects::resource("", "configmaps")), form, include, now: 0 }
    }

    fn whole(form: Form, include: IncludeObject, count: usize) -> (Value, usize) {
        let metadata = json!({"resourceVersion": "9"});
        let pieces: Vec<Bytes> =
            pieces(printer(form, include), &metadata, entries(count)).map(Result::unwrap).collect();
        assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        (serde_json::from_slice(&pieces.concat()).unwrap(), pieces.len())
    }

    #[test]
    fn list_comes_in_pieces_and_is_whole() {
        for count in [0, 1, 200] {
            let (list, pieces) = whole(Form::Object, IncludeObject::Metadata, count);
            assert_eq!(list["kind"], "ConfigMapList");
            assert_eq!(list["metadata"]["resourceVersion"], "9");
            assert_eq!(list["items"].as_array().unwrap().len(), count);
            assert!(pieces > count / 40, "{pieces} pieces");
        }
        let (list, _) = whole(Form::Object, IncludeObject::Metadata, 2);
        let item = &list["items"][1];
        assert_eq!((&item["metadata"]["name"], item.get("kind")), (&json!("c1"), None));
        assert_eq!(item["metadata"]["resourceVersion"], "7");
        let (list, _) = whole(Form::Metadata, IncludeObject::Metadata, 2);
        let item = &list["items"][1];
        assert_eq!((&item["kind"], item.get("data")), (&json!("PartialObjectMetadata"), None));
    }

    #[test]
    fn table_has_the_rows_that_one_made_at_once_has() {
        for include in [IncludeObject::None, IncludeObject::Metadata, IncludeObject::Object] {
            let (streamed, _) = whole(Form::Table, include, 100);
            let objects: Vec<Value> =
                entries(100).iter().map(|entry| decode(entry).unwrap()).collect();
            let resource = Objects::resource("", "configmaps");
            let metadata = json!({"resourceVersion": "9"});
            let at_once = table::table(resource, &objects, &metadata, include, true, 0);
            assert_eq!(streamed, at_once);
        }
    }

    #[test]
    fn damaged_object_breaks_the_answer() {
        let mut damaged = entries(2);
        damaged[1].value = b"{".as_slice().into();
        let printer = printer(Form::Object, IncludeObject::Metadata);
        let last = pieces(printer, &json!({}), damaged).last().unwrap();
        assert!(last.is_err());
    }
}
