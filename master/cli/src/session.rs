//! One command's run: whom it talks to, in which namespace, and where its words go.

use std::io::Write;

use crate::client::{Client, Path};
use crate::command::ConnectionArgs;
use crate::discovery::{Discovery, Resource};
use crate::error::CliError;
use crate::kubeconfig::{self, Surroundings};

/// Where namespaced objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In one namespace.
    Namespace(String),
    /// In all.
    All,
}

/// What every command needs.
pub(crate) struct Session<'a> {
    pub(crate) client: Client,
    /// Certificates that may sign the server's, in PEM.
    pub(crate) authority: Option<Vec<u8>>,
    /// Namespace of the command.
    pub(crate) namespace: String,
    /// Whether the user gave it.
    pub(crate) namespace_given: bool,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        connection: &ConnectionArgs,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
    ) -> Result<Self, CliError> {
        let mut target = kubeconfig::load(
            connection.kubeconfig.as_deref(),
            connection.context.as_deref(),
            &Surroundings::of_process(),
        )?;
        if let Some(server) = &connection.server {
            target.server = server.trim_end_matches('/').to_owned();
        }
        if let Some(token) = &connection.token {
            target.token = Some(token.clone());
        }
        let given = connection.namespace.clone();
        Ok(Self {
            client: Client::new(&target, connection.request_timeout)?,
            authority: target.authority.clone(),
            namespace_given: given.is_some(),
            namespace: given.or(target.namespace).unwrap_or_else(|| "default".to_owned()),
            out,
            err,
        })
    }

    /// The command's namespace, or all of them.
    pub(crate) fn scope(&self, all_namespaces: bool) -> Scope {
        if all_namespaces { Scope::All } else { Scope::Namespace(self.namespace.clone()) }
    }

    /// Path of one object in the command's namespace.
    pub(crate) fn object_path(&self, resource: &Resource, name: &str) -> Path {
        resource.collection(&self.scope(false)).join(name)
    }

    /// Resources of the server.
    pub(crate) async fn discover(&self) -> Result<Discovery, CliError> {
        Discovery::fetch(&self.client).await
    }
}
