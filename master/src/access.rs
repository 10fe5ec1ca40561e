//! Who asks, and what he may do: tokens of service accounts as they are issued and believed, roles
//! and bindings as the store has them.
//!
//! What a token claims and what a role allows is `bramble_master_core::access`; this is the part that
//! needs the key and the store.

mod account_tokens;
mod audit_log;
mod authorizer;
mod default_roles;
mod signer;

use std::sync::Arc;

use crate::token::Tokens;

pub(crate) use audit_log::{AuditLog, OpenAuditLogError};
pub(crate) use authorizer::Authorizer;
pub(crate) use default_roles::ensure as ensure_default_roles;
pub(crate) use signer::{CLIENT_SIGNER, follow as sign_requests, requested_subject};

pub(crate) use account_tokens::{AccountTokens, Asked, Bound, BoundKind, ISSUER};

/// What the API server needs to know who asks.
#[derive(Debug)]
pub(crate) struct Access {
    /// Join tokens.
    pub(crate) tokens: Arc<Tokens>,
    /// Tokens of service accounts.
    pub(crate) account_tokens: Arc<AccountTokens>,
    /// What users may do.
    pub(crate) authorizer: Arc<Authorizer>,
    /// Who did what.
    pub(crate) audit: Arc<AuditLog>,
}
