//! The processes of a node without the agent, for tests and benchmarks.
//!
//! `node_process {runtime|log-writer|fence|supervise|supervise-stop} RUN_DIR CGROUP_ROOT`

use std::process::ExitCode;

use bramble_runtime::fence::{FenceConfig, run_fence};
use bramble_runtime::log_writer::{LogWriterConfig, run_log_writer};
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::runtime::{RuntimeConfig, run_runtime};
use bramble_runtime::supervisor::{ChildCommand, SupervisorConfig, supervise};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, run, cgroup_root, rest @ ..] = args.as_slice() else {
        return ExitCode::from(2);
    };
    let run_dir = RunDir::new(run);
    let outcome = match role.as_str() {
        "runtime" => {
            let supervisor_fd = rest
                .iter()
                .find_map(|arg| arg.strip_prefix("--supervisor-fd=")?.parse::<i32>().ok());
            run_runtime(&RuntimeConfig { run_dir, supervisor_fd }).map_err(|e| format!("{e:?}"))
        }
        "log-writer" => {
            run_log_writer(&LogWriterConfig::new(run_dir)).map_err(|e| format!("{e:?}"))
        }
        "fence" => run_fence(&FenceConfig {
            run_dir,
            singletons_cgroup: format!("{cgroup_root}/singletons"),
            watchdog: None,
        })
        .map_err(|e| format!("{e:?}")),
        "supervise" | "supervise-stop" => {
            let config = SupervisorConfig {
                run_dir,
                stop_pods: role == "supervise-stop",
                cgroup_root: cgroup_root.clone(),
                protect_from_oom: false,
                first_process: false,
            };
            let child = |name: &str| {
                let args = vec![name.to_owned(), run.clone(), cgroup_root.clone()];
                let parks = name == "runtime";
                ChildCommand { parks, ..ChildCommand::of_this_program(name, args) }
            };
            supervise(&config, vec![child("fence"), child("runtime"), child("log-writer")])
                .map_err(|e| format!("{e:?}"))
        }
        other => Err(format!("unknown role `{other}`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error}\n");
            let _unheard = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            ExitCode::FAILURE
        }
    }
}
