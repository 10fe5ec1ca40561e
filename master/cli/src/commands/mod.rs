//! What the commands do, one file each.

mod apply;
mod can_i;
mod cluster_info;
mod cordon;
mod delete;
mod describe;
mod drain;
mod get;
mod kubeconfig;
mod logs;
mod node_access;
mod node_list;
mod node_upgrade;
mod run;
mod scale;
mod version;

use std::io::Write;
use std::process::ExitCode;

use crate::command::{AuthCommand, ClientCommand, KubeconfigCommand, NodeCommand};
use crate::error::CliError;
use crate::session::Session;

/// Runs one command.
pub(crate) async fn run(
    command: ClientCommand,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, CliError> {
    match command {
        ClientCommand::Run(args) => run::run(&args, out, err).await?,
        ClientCommand::Get(args) => {
            get::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Describe(args) => {
            describe::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Apply(args) => {
            apply::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Delete(args) => {
            delete::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Logs(args) => {
            logs::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Scale(args) => {
            scale::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Cordon(args) => {
            cordon::run(&args, true, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Uncordon(args) => {
            cordon::run(&args, false, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Drain(args) => {
            drain::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::ClusterInfo(args) => {
            cluster_info::run(&mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Version(args) => version::run(&args, out, err).await?,
        ClientCommand::Auth(AuthCommand::CanI(args)) => {
            let mut session = Session::new(&args.connection, out, err)?;
            return can_i::can_i(&args, &mut session).await;
        }
        ClientCommand::Auth(AuthCommand::Whoami(args)) => {
            can_i::whoami(&mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Kubeconfig(KubeconfigCommand::Create(args)) => {
            kubeconfig::create(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Node(NodeCommand::List(args)) => {
            node_list::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Node(NodeCommand::Upgrade(args)) => {
            node_upgrade::run(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Node(NodeCommand::Replace(args)) => {
            node_access::replace(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
        ClientCommand::Node(NodeCommand::Revoke(args)) => {
            node_access::revoke(&args, &mut Session::new(&args.connection, out, err)?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
