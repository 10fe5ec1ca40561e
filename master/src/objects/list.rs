//! Reading objects: one, or a page of many.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bramble_api::selector::{FieldSelector, Selector};
use bramble_api::{Resource, Status};
use bramble_store::{KeyValue, RangeRequest, Revision, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Objects;
use super::key::store_status;
use super::stored::{decode, decode_for_columns, served};

/// Entries read from the store at a time when only some of them match.
const CHUNK: usize = 500;

/// Which objects of a resource.
#[derive(Debug, Default)]
pub(crate) struct ListOptions {
    /// Only objects with these labels.
    pub(crate) labels: Option<Selector>,
    /// Only objects with these fields.
    pub(crate) fields: Option<FieldSelector>,
    /// Most objects; 0 means all.
    pub(crate) limit: usize,
    /// Goes on where the page with this token ended.
    pub(crate) continue_token: Option<String>,
    /// As of this revision; 0 means now.
    pub(crate) revision: Revision,
}

/// A page of objects as they are stored.
#[derive(Debug)]
pub(crate) struct Page {
    /// Objects, in the order of namespace and name.
    pub(crate) entries: Vec<KeyValue>,
    /// Revision as of which they were read.
    pub(crate) revision: Revision,
    /// Gets the next page, if there is one.
    pub(crate) continue_token: Option<String>,
    /// Objects after this page, where that is known.
    pub(crate) remaining: Option<usize>,
}

/// Objects of a resource.
#[derive(Debug)]
pub(crate) struct List {
    /// Objects, in the order of namespace and name.
    pub(crate) items: Vec<Value>,
}

/// Where a page ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Continue {
    v: String,
    /// [`NOW`] where the moment of the first page is gone.
    rv: i64,
    start: String,
}

/// Instead of a revision: as of the next request, whatever changed since the page before.
const NOW: i64 = -1;

impl ListOptions {
    /// Tells whether an object is asked for.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.as_ref().is_none_or(|selector| selector.matches_object(object))
            && self.fields.as_ref().is_none_or(|selector| selector.matches(object))
    }

    /// Tells whether some objects may not be asked for.
    pub(crate) fn selective(&self) -> bool {
        self.labels.as_ref().is_some_and(|selector| !selector.is_everything())
            || self.fields.is_some()
    }
}

impl Objects {
    pub(super) async fn get_object(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Status> {
        Ok(self.load(resource, namespace, name).await?.object)
    }

    pub(super) async fn list_objects(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let page = self.list_entries(resource, namespace, options).await?;
        Ok(List { items: page.entries.iter().map(decode).collect::<Result<_, _>>()? })
    }

    pub(super) async fn list_entries(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        let prefix = prefix(resource, namespace);
        let (mut revision, mut start_after) = match &options.continue_token {
            Some(token) => {
                let position = Continue::decode(token)?;
                (position.revision()?, Some(format!("{prefix}{}", position.start)))
            }
            None => (options.revision, None),
        };
        let mut entries = Vec::new();
        loop {
            let limit = match (options.limit, options.selective()) {
                (0, _) => 0,
                (limit, false) => limit,
                (_, true) => CHUNK,
            };
            let request = RangeRequest { prefix: prefix.clone(), start_after, limit, revision };
            let page = match (self.store.range(request).await, &options.continue_token) {
                (Err(StoreError::Compacted { .. }), Some(token)) => {
                    let start = Continue::decode(token)?.start;
                    return Err(Status::list_expired(Continue::encode(NOW, &start)));
                }
                (page, _) => page.map_err(store_status)?,
            };
            // All pages of one list show the same moment.
            revision = page.revision;
            let mut unread = page.entries.len();
            let last = page.entries.last().map(|entry| entry.key.to_string());
            for entry in page.entries {
                unread -= 1;
                let key = Arc::clone(&entry.key);
                let entry = served(resource, entry)?;
                if !options.selective() || options.matches(&decode_for_columns(&entry)?) {
                    entries.push(entry);
                }
                let full = options.limit != 0 && entries.len() >= options.limit;
                if full && unread + page.remaining > 0 {
                    let start = key.strip_prefix(prefix.as_str()).unwrap_or("");
                    return Ok(Page {
                        entries,
                        revision,
                        continue_token: Some(Continue::encode(revision.cast_signed(), start)),
                        remaining: (!options.selective()).then_some(unread + page.remaining),
                    });
                }
            }
            if page.remaining == 0 || last.is_none() {
                return Ok(Page { entries, revision, continue_token: None, remaining: None });
            }
            start_after = last;
        }
    }
}

/// Returns the prefix of the keys of a resource, or of those in one namespace.
pub(crate) fn prefix(resource: &Resource, namespace: &str) -> String {
    if resource.namespaced && !namespace.is_empty() {
        resource.namespace_prefix(namespace)
    } else {
        resource.prefix()
    }
}

impl Continue {
    fn encode(rv: i64, start: &str) -> String {
        let position = Self { v: "meta.k8s.io/v1".to_owned(), rv, start: start.to_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&position).unwrap_or_default())
    }

    /// Revision to read at; 0 means now.
    fn revision(&self) -> Result<Revision, Status> {
        match self.rv {
            NOW => Ok(0),
            rv => Revision::try_from(rv).ok().filter(|rv| *rv > 0).ok_or_else(|| {
                Status::bad_request(
                    "continue key is not valid: incorrect encoded start resourceVersion",
                )
            }),
        }
    }

    fn decode(token: &str) -> Result<Self, Status> {
        let not_valid = || Status::bad_request("continue key is not valid");
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| not_valid())?;
        serde_json::from_slice(&json).map_err(|_| not_valid())
    }
}

#[cfg(test)]
mod tests {
    use super::Continue;

    #[test]
    fn token_comes_back_as_it_was() {
        let token = Continue::encode(7, "default/a");
        let position = Continue::decode(&token).unwrap();
        assert_eq!((position.revision().unwrap(), position.start.as_str()), (7, "default/a"));
        assert_eq!(Continue::decode(&Continue::encode(super::NOW, "a")).unwrap().revision(), Ok(0));
    }

    #[test]
    fn token_without_a_moment_is_refused() {
        for rv in [0, -2, i64::MIN] {
            let position = Continue::decode(&Continue::encode(rv, "a")).unwrap();
            assert_eq!(position.revision().unwrap_err().code, 400, "{rv}");
        }
    }

    #[test]
    fn damaged_token_is_refused() {
        for token in ["", "!", "e30", "bm8"] {
            assert_eq!(Continue::decode(token).unwrap_err().code, 400, "{token}");
        }
    }
}
