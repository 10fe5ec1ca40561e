//! The leader's term: raised in the store at every start, before anything is acknowledged.

use bramble_store::{Class, Compare, Op, Store, StoreError, Txn, TxnReply};

/// Where the term is kept; not an object.
const KEY: &str = "/bramble/term";

/// Stores the next term and returns it.
pub(super) async fn raise(store: &dyn Store) -> Result<u64, StoreError> {
    loop {
        let present = store.get(KEY).await?;
        let (term, revision) = match &present {
            Some(entry) => (parse(&entry.value)?, entry.mod_revision),
            None => (0, 0),
        };
        let term = term + 1;
        let value = term.to_string().into_bytes().into();
        let txn = Txn {
            compares: vec![Compare { key: KEY.to_owned(), mod_revision: revision }],
            ops: vec![Op::Put { key: KEY.to_owned(), value, class: Class::Intent }],
        };
        if let TxnReply::Committed { .. } = store.txn(txn).await? {
            return Ok(term);
        }
    }
}

/// A term that cannot be read must not become a lower one: agents would refuse us for ever.
fn parse(value: &[u8]) -> Result<u64, StoreError> {
    let term = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let reason = || StoreError::Stopped { reason: format!("the term at `{KEY}` is damaged") };
    term.ok_or_else(reason)
}
