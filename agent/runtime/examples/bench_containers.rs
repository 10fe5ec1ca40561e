//! Measures create + start + delete of one container (NUMBERS row 11) against crun and runc, in
//! the same run and with the same spec, and prints medians in milliseconds.
//!
//! `bench_containers [ROUNDS]`; needs root, busybox, and crun or runc. Each round takes its turn
//! with every runtime, so that a busy machine slows all of them alike. What is timed: until
//! create returned, start returned, the program has ended, and delete returned.
//!
//! crun refuses hybrid hosts whose v2 hierarchy has controllers; run it there without that mount:
//! `unshare -m sh -c 'umount /sys/fs/cgroup/unified; exec bench_containers'`.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bramble_runtime::cgroup::Cgroups;
use bramble_runtime::client::RuntimeClient;
use bramble_runtime::clock::raw_us;
use bramble_runtime::protocol::{CreateContainer, Event, OwnStreams};
use bramble_runtime::run_dir::RunDir;
use bramble_runtime::spec::{self, ContainerSpec, image_root};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The parts of one round, in microseconds.
type Parts = [u64; 3];

fn main() -> Outcome<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(40), |text| text.parse())?;
    let root = std::env::temp_dir().join(format!("bramble-bench-{}", std::process::id()));
    let cgroup = format!("/bramble-bench-{}", std::process::id());
    fs::create_dir_all(&root)?;
    let rootfs = root.join("rootfs");
    make_rootfs(&rootfs)?;
    let mut runtime = start_runtime(&root)?;
    let result = measure(rounds, &root, &rootfs, &cgroup);
    runtime.kill()?;
    runtime.wait()?;
    Cgroups::detect()?.remove(&cgroup)?;
    fs::remove_dir_all(&root)?;
    let mut out = std::io::stdout();
    for (name, parts) in result? {
        let total = median(parts.iter().map(|one| one.iter().sum()).collect());
        let part =
            |index: usize| median(parts.iter().filter_map(|one| one.get(index).copied()).collect());
        writeln!(
            out,
            "{name:8} {:7.2} ms   create {:.2}  start to end {:.2}  delete {:.2}   n={}",
            total,
            part(0),
            part(1),
            part(2),
            parts.len()
        )?;
    }
    Ok(())
}

fn measure(
    rounds: usize,
    root: &Path,
    rootfs: &Path,
    cgroup: &str,
) -> Outcome<Vec<(&'static str, Vec<Parts>)>> {
    let mut client = RuntimeClient::connect(&RunDir::new(root.join("run")).runtime_socket())?;
    client.subscribe()?;
    let mut all: Vec<(&'static str, Vec<Parts>)> = vec![("bramble", Vec::new())];
    for other in ["crun", "runc"] {
        if Command::new(other).arg("--version").stdout(Stdio::null()).status().is_ok() {
            all.push((other, Vec::new()));
        }
    }
    for round in 0..rounds + 2 {
        for (name, parts) in &mut all {
            let id = format!("bench-{name}-{round}");
            let container = ContainerSpec::new(
                text(rootfs)?,
                vec!["/bin/true".into()],
                format!("{cgroup}/{id}"),
            );
            let json = spec::build(&container)?;
            let measured = if *name == "bramble" {
                with_bramble(&mut client, &id, json)?
            } else {
                with_command(name, root, &id, &json)?
            };
            // The first two fill caches.
            if round >= 2 {
                parts.push(measured);
            }
        }
    }
    Ok(all)
}

fn with_bramble(client: &mut RuntimeClient, id: &str, spec_json: Vec<u8>) -> Outcome<Parts> {
    let begin = raw_us();
    client.create(CreateContainer {
        id: id.to_owned(),
        spec_json,
        log_file: None,
        stdio_budget_bytes: 0,
        singleton: false,
        streams: OwnStreams::default(),
    })?;
    let created = raw_us();
    client.start(id)?;
    loop {
        match client.next_event(Duration::from_secs(10))? {
            Some(Event::Exited { id: ended, .. }) if ended == id => break,
            Some(_) => {}
            None => return Err("no exit".into()),
        }
    }
    let ended = raw_us();
    client.delete(id, false)?;
    Ok([created - begin, ended - created, raw_us() - ended])
}

fn with_command(program: &str, root: &Path, id: &str, spec_json: &[u8]) -> Outcome<Parts> {
    let bundle = root.join(id);
    let state = root.join(format!("state-{program}"));
    fs::create_dir_all(&bundle)?;
    fs::write(bundle.join("config.json"), spec_json)?;
    let pid_file = bundle.join("pid");
    let run = |args: &[&str]| -> Outcome<()> {
        let status = Command::new(program)
            .arg("--root")
            .arg(&state)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {status}").into()) }
    };
    let begin = raw_us();
    run(&["create", "--bundle", text(&bundle)?, "--pid-file", text(&pid_file)?, id])?;
    let created = raw_us();
    let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse()?;
    let ticks = bramble_runtime::process::start_ticks(pid).unwrap_or(0);
    run(&["start", id])?;
    while bramble_runtime::process::runs(pid, ticks) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let ended = raw_us();
    run(&["delete", id])?;
    Ok([created - begin, ended - created, raw_us() - ended])
}

fn start_runtime(root: &Path) -> Outcome<Child> {
    let program = std::env::current_exe()?.with_file_name("node_process");
    let child =
        Command::new(program).arg("runtime").arg(root.join("run")).arg("/unused").spawn()?;
    let socket = RunDir::new(root.join("run")).runtime_socket();
    let begin = raw_us();
    while RuntimeClient::connect(&socket).is_err() {
        if raw_us() - begin > 10_000_000 {
            return Err("the runtime process does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}

fn make_rootfs(rootfs: &Path) -> Outcome<()> {
    let bin: PathBuf = rootfs.join("bin");
    fs::create_dir_all(&bin)?;
    image_root::check(rootfs)?;
    fs::copy("/bin/busybox", bin.join("true"))?;
    fs::set_permissions(bin.join("true"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn text(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| "path is not text".into())
}

/// Returns the median in milliseconds.
fn median(mut times_us: Vec<u64>) -> f64 {
    times_us.sort_unstable();
    let middle = times_us.get(times_us.len() / 2).copied().unwrap_or(0);
    f64::from(u32::try_from(middle).unwrap_or(u32::MAX)) / 1000.0
}
