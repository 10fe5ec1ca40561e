//! What can be typed: commands, flags and the examples that `--help` teaches by.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::age::parse_duration;
use crate::output::{Format, ObjectFormat};

/// Commands that work on a cluster through its API server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Start one pod from an image
    #[command(after_help = "Examples:
  bramble run web --image=nginx --port=80
  bramble run once --image=busybox --restart=Never -- echo hello
  bramble run web --image=nginx --dry-run=client -o yaml > web.yaml")]
    Run(RunArgs),
    /// Show objects as rows, or whole with -o yaml
    #[command(after_help = "Examples:
  bramble get pods
  bramble get pods -A -o wide
  bramble get deploy/web svc/web
  bramble get pods -l app=web --watch
  bramble get node pi-2 -o yaml
  bramble get all")]
    Get(GetArgs),
    /// Tell all about objects, with their events
    #[command(after_help = "Examples:
  bramble describe pod web
  bramble describe node pi-2
  bramble describe deploy,svc -l app=web")]
    Describe(DescribeArgs),
    /// Create objects from files, or bring them up to date
    #[command(after_help = "Examples:
  bramble apply -f web.yaml
  bramble apply -f folder/
  cat web.yaml | bramble apply -f -
  bramble apply -f web.yaml --dry-run=server")]
    Apply(ApplyArgs),
    /// Delete objects
    #[command(after_help = "Examples:
  bramble delete pod web
  bramble delete -f web.yaml
  bramble delete pods -l app=web
  bramble delete pod web --grace-period=0 --force")]
    Delete(DeleteArgs),
    /// Print what a pod's container wrote
    #[command(after_help = "Examples:
  bramble logs web
  bramble logs -f deploy/web --tail=20
  bramble logs web -c sidecar --since=10m
  bramble logs web --previous")]
    Logs(LogsArgs),
    /// Set how many pods a deployment or the like has
    #[command(after_help = "Examples:
  bramble scale --replicas=3 deploy/web
  bramble scale --replicas=0 statefulset db")]
    Scale(ScaleArgs),
    /// Keep new pods off nodes
    #[command(after_help = "Examples:
  bramble cordon pi-2
  bramble uncordon pi-2        (takes it back)")]
    Cordon(CordonArgs),
    /// Let new pods onto nodes again
    #[command(after_help = "Examples:
  bramble uncordon pi-2")]
    Uncordon(CordonArgs),
    /// Move all pods off nodes, before they are switched off
    #[command(after_help = "Examples:
  bramble drain pi-2 --ignore-daemonsets
  bramble drain pi-2 --ignore-daemonsets --delete-emptydir-data --timeout=5m
  bramble uncordon pi-2        (once it is back)")]
    Drain(DrainArgs),
    /// Show where the cluster is and how it does
    #[command(
        name = "cluster-info",
        after_help = "Examples:
  bramble cluster-info"
    )]
    ClusterInfo(ClusterInfoArgs),
    /// Show the versions of this program and of the API server
    #[command(after_help = "Examples:
  bramble version
  bramble version --client")]
    Version(VersionArgs),
    /// Ask what you may do, and who you are to the cluster
    #[command(
        subcommand,
        after_help = "Examples:
  bramble auth can-i delete pods
  bramble auth can-i get pods/web -n shop
  bramble auth whoami"
    )]
    Auth(AuthCommand),
    /// Give a person a kubeconfig of his own
    #[command(
        subcommand,
        after_help = "Examples:
  bramble kubeconfig create eve --group shop -o eve.kubeconfig"
    )]
    Kubeconfig(KubeconfigCommand),
    /// See the boards of the cluster
    #[command(
        subcommand,
        after_help = "Examples:
  bramble node list
  bramble node list -o wide
  bramble node upgrade pi-2 --image bramble-arm64.img.gz
  bramble node replace pi-2
  bramble node revoke pi-2"
    )]
    Node(NodeCommand),
}

/// What is asked about oneself.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Say whether you may do something; the exit code says it, too
    #[command(name = "can-i")]
    CanI(CanIArgs),
    /// Say who you are to the cluster
    Whoami(WhoamiArgs),
}

/// Arguments of `auth can-i`.
#[derive(Debug, Args)]
pub struct CanIArgs {
    /// What is to be done: get, list, create, delete, ...
    pub(crate) verb: String,
    /// With what: pods, deploy/web, or a path such as /metrics
    pub(crate) what: String,
    /// With which part of it: log, scale, ...
    #[arg(long, value_name = "NAME")]
    pub(crate) subresource: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `auth whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// What is done with kubeconfigs.
#[derive(Debug, Subcommand)]
pub enum KubeconfigCommand {
    /// Make a key and have a certificate signed for it, and print the kubeconfig
    #[command(after_help = "Examples:
  bramble kubeconfig create eve --group shop -o eve.kubeconfig
  kubectl create rolebinding eve --clusterrole=edit --user=eve -n shop

The certificate cannot be taken back before it ends; the rights of eve can, at any time: they are in
roles and bindings.")]
    Create(KubeconfigCreateArgs),
}

/// Arguments of `kubeconfig create`.
#[derive(Debug, Args)]
pub struct KubeconfigCreateArgs {
    /// Name of the person, as bindings have it
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: String,
    /// Group that the person is a member of
    #[arg(short, long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Days until the certificate ends
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) days: u32,
    /// File to write, instead of printing; it must not be there yet
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// What is done with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show all nodes
    List(NodeListArgs),
    /// Put a new system onto a node's card, and take it back if the node does not come up with it
    #[command(after_help = "Examples:
  bramble node upgrade pi-2 --image bramble-arm64.img.gz")]
    Upgrade(NodeUpgradeArgs),
    /// Let another board take a node's name: once, and within an hour
    #[command(after_help = "Examples:
  bramble node replace pi-2
  bramble node replace pi-2 --within 10m

The next board that joins as pi-2 takes its place; the keys of the earlier one are worth nothing
then. It also decides about a node that is quarantined because two boards used its certificate:
unplug the copy first.")]
    Replace(NodeReplaceArgs),
    /// End a node's access to the cluster, at once and until it is replaced
    #[command(after_help = "Examples:
  bramble node revoke pi-2

Its link is closed and its certificate refused; its pods are replaced as those of a board without
power. `bramble node replace` undoes it.")]
    Revoke(NodeRevokeArgs),
}

/// Which cluster, as whom, in which namespace.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Namespace to work in, instead of the context's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// File that says how to reach the cluster, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, instead of the current one
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Address of the API server, instead of the kubeconfig's
    #[arg(short, long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Bearer token, instead of the kubeconfig's
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// How long to wait for an answer, such as 10s; 0 waits for ever
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) request_timeout: Option<Duration>,
}

/// Which objects of a resource.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SelectorArgs {
    /// Only objects with these labels, such as app=web,tier!=db
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Only objects with these fields, such as spec.nodeName=pi-2
    #[arg(long, value_name = "FIELDS")]
    pub(crate) field_selector: Option<String>,
}

/// Whether to do it or to say what would be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Do it
    #[default]
    None,
    /// Send nothing that changes anything
    Client,
    /// Let the API server check it, but keep nothing
    Server,
}

impl DryRun {
    /// What kubectl adds to its messages.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }

    /// The parameter of a request.
    pub(crate) fn parameter(self) -> Option<&'static str> {
        (self == Self::Server).then_some("All")
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of the pod
    pub(crate) name: String,
    /// Image of its container
    #[arg(long)]
    pub(crate) image: String,
    /// Port that it listens on
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Environment variable, may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Labels, instead of run=NAME
    #[arg(short, long, value_name = "NAME=VALUE,...", value_delimiter = ',')]
    pub(crate) labels: Vec<String>,
    /// What to do when it ends: Always, OnFailure or Never
    #[arg(long, default_value = "Always", value_parser = ["Always", "OnFailure", "Never"])]
    pub(crate) restart: String,
    /// When to pull the image: Always, IfNotPresent or Never
    #[arg(long, value_parser = ["Always", "IfNotPresent", "Never"])]
    pub(crate) image_pull_policy: Option<String>,
    /// Take what follows `--` as the command, not as its arguments
    #[arg(long)]
    pub(crate) command: bool,
    /// Only say what would be created
    #[arg(long, value_enum, default_value = "none", default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// Show the created object
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<ObjectFormat>,
    /// Arguments of the container
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `get`.
#[derive(Debug, Default, Args)]
pub struct GetArgs {
    /// TYPE [NAME...], TYPE/NAME... or TYPE,TYPE
    #[arg(required = true, value_name = "TYPE")]
    pub(crate) what: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    #[command(flatten)]
    pub(crate) selectors: SelectorArgs,
    /// How to show them
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
    /// Go on showing what changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Show only what changes from now on
    #[arg(long)]
    pub(crate) watch_only: bool,
    /// Leave out the headings
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Add a column with all labels
    #[arg(long)]
    pub(crate) show_labels: bool,
    /// Add a column with the value of a label
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    pub(crate) label_columns: Vec<String>,
    /// Show the type before the name
    #[arg(long)]
    pub(crate) show_kind: bool,
    /// Show who set which field, with -o yaml or json
    #[arg(long)]
    pub(crate) show_managed_fields: bool,
    /// Do not fail if an object does not exist
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// TYPE [NAME...], TYPE/NAME... or TYPE,TYPE
    #[arg(required = true, value_name = "TYPE")]
    pub(crate) what: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    #[command(flatten)]
    pub(crate) selectors: SelectorArgs,
    /// Show the events (--show-events=false leaves them out)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pub(crate) show_events: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File or folder of objects in YAML or JSON; - reads the standard input
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Go down into folders
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Only say what would be done
    #[arg(long, value_enum, default_value = "none", default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// Show the objects as they are afterwards
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<ObjectFormat>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cascade {
    /// They are deleted soon after
    #[default]
    Background,
    /// They are deleted before
    Foreground,
    /// They stay
    Orphan,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with -l or --all
    #[arg(value_name = "TYPE", required_unless_present = "filename", conflicts_with = "filename")]
    pub(crate) what: Vec<String>,
    /// File or folder that names the objects; - reads the standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Go down into folders
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) selectors: SelectorArgs,
    /// All objects of the type
    #[arg(long)]
    pub(crate) all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Seconds that a pod has to end by itself; negative means what the pod says
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "SECONDS")]
    pub(crate) grace_period: i64,
    /// With --grace-period=0: forget the object at once, even if its node does not answer
    #[arg(long)]
    pub(crate) force: bool,
    /// Same as --grace-period=1
    #[arg(long, conflicts_with = "force")]
    pub(crate) now: bool,
    /// What becomes of the objects that it owns
    #[arg(long, value_enum, default_value = "background")]
    pub(crate) cascade: Cascade,
    /// Wait until it is gone (--wait=false does not)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pub(crate) wait: bool,
    /// How long to wait, such as 1m; 0 means as long as it takes
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Do not fail if it does not exist
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    /// Only say what would be deleted
    #[arg(long, value_enum, default_value = "none", default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// Print TYPE/NAME only
    #[arg(short, long, value_parser = ["name"])]
    pub(crate) output: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD or TYPE/NAME
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    pub(crate) what: Option<String>,
    /// Container, if the pod has several
    #[arg(value_name = "CONTAINER", conflicts_with = "container")]
    pub(crate) container_argument: Option<String>,
    /// Container, if the pod has several
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// All containers, one after the other
    #[arg(long, conflicts_with_all = ["container", "container_argument"])]
    pub(crate) all_containers: bool,
    /// All pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Go on printing what is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What the container's last run wrote, before it was started again
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Only so many of the last lines; negative means all
    #[arg(long, allow_hyphen_values = true, value_name = "LINES")]
    pub(crate) tail: Option<i64>,
    /// Only what was written in the last, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "since_time")]
    pub(crate) since: Option<Duration>,
    /// Only what was written after, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since_time: Option<String>,
    /// Only so many bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) limit_bytes: Option<u64>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Begin each line with its pod and container
    #[arg(long)]
    pub(crate) prefix: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// TYPE NAME... or TYPE/NAME...
    #[arg(required = true, value_name = "TYPE")]
    pub(crate) what: Vec<String>,
    /// How many pods there should be
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) replicas: i32,
    /// Only if there should be so many now
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) current_replicas: Option<i32>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `cordon` and `uncordon`.
#[derive(Debug, Args)]
pub struct CordonArgs {
    /// Nodes
    #[arg(required_unless_present = "selector", conflicts_with = "selector", value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// All nodes with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Only say what would be done
    #[arg(long, value_enum, default_value = "none", default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Nodes
    #[arg(required_unless_present = "selector", conflicts_with = "selector", value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// All nodes with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(crate) selector: Option<String>,
    /// Leave pods of daemon sets where they are: they would come back at once
    #[arg(long)]
    pub(crate) ignore_daemonsets: bool,
    /// Also pods whose emptyDir volumes are lost with them
    #[arg(long)]
    pub(crate) delete_emptydir_data: bool,
    /// Also pods that nothing will start again elsewhere
    #[arg(long)]
    pub(crate) force: bool,
    /// Only pods with these labels
    #[arg(long, value_name = "LABELS")]
    pub(crate) pod_selector: Option<String>,
    /// Delete pods without asking their disruption budgets
    #[arg(long)]
    pub(crate) disable_eviction: bool,
    /// Seconds that a pod has to end by itself; negative means what the pod says
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "SECONDS")]
    pub(crate) grace_period: i64,
    /// How long to try, such as 5m; 0 means as long as it takes
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Only say what would be done
    #[arg(long, value_enum, default_value = "none", default_missing_value = "client",
          num_args = 0..=1, require_equals = true)]
    pub(crate) dry_run: DryRun,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `cluster-info`.
#[derive(Debug, Args)]
pub struct ClusterInfoArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Only this program's
    #[arg(long)]
    pub(crate) client: bool,
    /// How to show it
    #[arg(short, long, value_parser = ["yaml", "json"])]
    pub(crate) output: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `node list`.
#[derive(Debug, Args)]
pub struct NodeListArgs {
    #[command(flatten)]
    pub(crate) selectors: SelectorArgs,
    /// Show also what system the boards run, their addresses and serials
    #[arg(short, long, value_parser = ["wide"])]
    pub(crate) output: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `node upgrade`.
#[derive(Debug, Args)]
pub struct NodeUpgradeArgs {
    /// Name of the node
    pub(crate) node: String,
    /// Image of the new system (.img or .img.gz), as it is flashed onto new cards
    #[arg(long, value_name = "FILE")]
    pub(crate) image: PathBuf,
    /// How long to wait for the node to come back
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `node replace`.
#[derive(Debug, Args)]
pub struct NodeReplaceArgs {
    /// Name of the node
    pub(crate) node: String,
    /// How long the other board has to join
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(crate) within: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Arguments of `node revoke`.
#[derive(Debug, Args)]
pub struct NodeRevokeArgs {
    /// Name of the node
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: ClientCommand,
    }

    fn parse(line: &str) -> Result<ClientCommand, String> {
        let words = ["bramble"].into_iter().chain(line.split_whitespace());
        Program::try_parse_from(words)
            .map(|program| program.command)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn definitions_are_sound() {
        Program::command().debug_assert();
    }

    #[test]
    fn flags_of_kubectl_are_understood() {
        let lines = [
            "get pods",
            "get pods -A -o wide -w",
            "get po,svc -n web -l app=web --field-selector=spec.nodeName=pi-2 --no-headers",
            "get deploy/web -oyaml --ignore-not-found",
            "get all --all-namespaces --show-labels -L app,tier",
            "describe node pi-2 --show-events=false",
            "apply -f a.yaml -f - --dry-run=server -o name",
            "apply -Rf folder --dry-run",
            "delete pod web --grace-period=0 --force --wait=false",
            "delete pod web --grace-period -1 --now",
            "delete -f a.yaml --cascade=orphan --timeout=1m",
            "delete pods --all -n web",
            "logs -f deploy/web --tail=-1 -c app",
            "logs web sidecar -p --since=10m --timestamps",
            "logs -l app=web --prefix --all-containers",
            "scale --replicas=3 deploy/web --current-replicas=2",
            "cordon pi-2 pi-3",
            "drain -l board=zero --ignore-daemonsets --force --timeout=5m --grace-period=10",
            "run web --image=nginx --port=80 --env A=1 --env B=2 --labels=a=b,c=d",
            "run once --image=busybox --restart=Never --command -- sh -c true",
            "cluster-info --context home",
            "version --client -o json",
            "node list",
            "auth can-i get pods/web -n shop",
            "auth whoami",
            "kubeconfig create eve --group shop -o eve.kubeconfig",
        ];
        for line in lines {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let lines = [
            "get",
            "apply",
            "delete",
            "delete pod web -f a.yaml",
            "scale deploy/web",
            "scale deploy/web --replicas=-1",
            "cordon",
            "logs",
            "run web",
            "get pods -o xml",
            "drain pi-2 --timeout=soon",
        ];
        for line in lines {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_help_has_examples() {
        for command in Program::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("bramble {}", command.get_name());
            assert!(help.contains(&example), "{} has no example", command.get_name());
        }
    }
}
