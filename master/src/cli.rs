//! Command line of `bramble`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bramble_cli::ClientCommand;
use clap::{Args, Parser, Subcommand};

use crate::config::StoreKind;
use crate::flash::FlashArgs;

/// Kubernetes for Raspberry Pis.
#[derive(Debug, Parser)]
#[command(
    name = "bramble",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  bramble flash                        (on a PC: cards of boards that need no more than a card)
  bramble server                       (the master, on its board)
  bramble token create                 (there too: a token for another board)
  bramble get nodes
  bramble apply -f web.yaml
  bramble get pods -o wide
  bramble logs -f deploy/web

Clients find the cluster by --kubeconfig, $KUBECONFIG or ~/.kube/config; kubectl works as well."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `bramble` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the master.
    #[command(after_help = "Examples:
  bramble server
  bramble server --advertise-address=192.168.1.10
  bramble server --data-dir=/tmp/bramble --listen=127.0.0.1:6443 --log-level=debug

Its kubeconfig is `admin.kubeconfig` in the data folder:
  export KUBECONFIG=/var/lib/bramble/admin.kubeconfig")]
    Server(ServerFlags),
    /// Make, list and delete the tokens with which boards join (on the master's device).
    #[command(after_help = "Examples:
  bramble token create
  bramble token create --ttl=1d --uses=10 --description=shelf
  bramble token list
  bramble token delete mzxw6ytb

Then, on the board that shall join:
  bramble-agent join <token> --server <address of the master>:6443")]
    Token(TokenArgs),
    /// Make the card of a node, and the cluster with the card of its master.
    #[command(after_help = "Examples:
  bramble flash                                                   (lists cards)
  bramble flash --role master --node pi-1 --ssh-key ~/.ssh/id_ed25519.pub --device /dev/sdb
  bramble flash --node pi-2 --device /dev/sdb
  bramble flash --node pi-3 --wifi-ssid home --wifi-country DE --device /dev/sdb
  bramble flash --node pi-4 --output pi-4.img
  bramble flash --replace pi-3 --device /dev/sdb

The cluster's keys are kept in ~/.config/bramble/clusters; who has them can add boards.")]
    Flash(Box<FlashArgs>),
    /// Import and list images on this board; the same as `bramble-agent image`.
    #[command(disable_help_flag = true)]
    Image {
        /// What `bramble-agent image` takes: `import FILE`, `list`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        args: Vec<OsString>,
    },
    /// Work with the objects of a cluster.
    #[command(flatten)]
    Client(ClientCommand),
}

/// Flags of `bramble server`; each overrides the key of the same name in the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerFlags {
    /// Configuration file [default: /etc/bramble/server.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of everything that must survive [default: /var/lib/bramble].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// TCP address of the API and the node link [default: 0.0.0.0:6443].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// UDP port of heartbeats [default: the port of --listen].
    #[arg(long, value_name = "PORT")]
    pub(crate) heartbeat_port: Option<u16>,
    /// Address by which clients and nodes reach this master [default: the one of this machine].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise_address: Option<Ipv4Addr>,
    /// Addresses of pods [default: 10.42.0.0/16].
    #[arg(long, value_name = "RANGE")]
    pub(crate) cluster_range: Option<String>,
    /// Addresses of Services [default: 10.43.0.0/16].
    #[arg(long, value_name = "RANGE")]
    pub(crate) service_range: Option<String>,
    /// Ports that Services may have on every node [default: 30000-32767].
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) node_port_range: Option<String>,
    /// Where objects are kept [default: disk].
    #[arg(long, value_enum)]
    pub(crate) store: Option<StoreKind>,
    /// Take a new cluster's identity from this folder instead of making one, as a flashed card does.
    #[arg(long, value_name = "DIR")]
    pub(crate) identity_from: Option<PathBuf>,
    /// What pods may ask of their node where the namespace's labels do not say: privileged, baseline
    /// or restricted.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) pod_security_default: Option<String>,
    /// Write the audit log to this file, too: who changed what, and who was refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// More to log: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: Option<tracing::Level>,
}

/// Arguments of `bramble token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Configuration file of the master, for its data folder and port.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Data folder of the master.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// TCP address of the master.
    #[arg(long, value_name = "ADDRESS:PORT", global = true)]
    pub(crate) listen: Option<SocketAddr>,
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

/// What `bramble token` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it.
    #[command(after_help = "Examples:
  bramble token create
  bramble token create --ttl=1d --uses=10 --description=shelf")]
    Create {
        /// How long it can be used: 30m, 1h, 7d.
        #[arg(long, default_value = "1h", value_parser = parse_duration_s)]
        ttl: u64,
        /// How many boards may use it.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        uses: u32,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List tokens.
    List,
    /// Delete a token.
    Delete {
        /// Its id. That of a card's token is revoked, whether it was used or not.
        id: String,
    },
}

/// Reads a duration like `90s`, `30m`, `1h` or `7d`, in seconds.
fn parse_duration_s(text: &str) -> Result<u64, String> {
    let problem = || format!("`{text}` is no duration like 90s, 30m, 1h or 7d");
    let unit = text.chars().next_back().ok_or_else(problem)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(problem()),
    };
    let count: u64 = text.trim_end_matches(unit).parse().map_err(|_| problem())?;
    count.checked_mul(seconds).filter(|&total| total > 0).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, parse_duration_s};

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration_s("90s"), Ok(90));
        assert_eq!(parse_duration_s("2d"), Ok(172_800));
        for bad in ["", "1", "0h", "-1h", "1w", "h"] {
            assert!(parse_duration_s(bad).is_err(), "{bad}");
        }
    }
}
