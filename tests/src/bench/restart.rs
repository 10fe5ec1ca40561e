//! Row 17: a master with a thousand stored pods is killed and started again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::api::Api;
use crate::bench::load::{self, CONNECTIONS, PODS, Request};
use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::bench::statistics::Samples;
use crate::cluster::Cluster;
use crate::programs::binary_folder;
use crate::state::items;
use crate::wait::{now, pause, wait_until};

/// Number of this cluster's LAN.
const NUMBER: u8 = 54;
const STORED: usize = 1_000;
const STARTS: usize = 10;

/// Measures row 17.
#[must_use]
pub fn measure() -> Vec<Figure> {
    vec![Figure::new(17, Place::Namespaces, restarts())]
}

fn restarts() -> Result<String> {
    progress("a thousand pods, and restarts of the master");
    let mut cluster = Cluster::start(NUMBER)?;
    let api = Api::from_kubeconfig(&cluster.kubeconfig())?;
    load::send(&api, CONNECTIONS, STORED, |index| {
        Request::create(PODS, &load::homeless_pod(&format!("stored-{index}")))
    })?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(restart(&mut cluster, &api).with_context(|| cluster.master().logs())?);
    }
    let list = api.connect()?.get(PODS)?;
    ensure!(items(&list).len() == STORED, "{} pods after the restarts", items(&list).len());
    cluster.master_mut().cut_power()?;
    Ok(format!(
        "{}, from starting the process after SIGKILL to an answer over a new connection",
        Samples::new(times).median_and_spread()
    ))
}

fn restart(cluster: &mut Cluster, api: &Api) -> Result<Duration> {
    for pid in cluster.master().processes_with("server")? {
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    }
    let master = cluster.master();
    wait_until("the master has ended", Duration::from_secs(5), || {
        let left = master.processes_with("server")?;
        Ok((!left.is_empty()).then(|| format!("{left:?}")))
    })?;
    let program = binary_folder()?.join("bramble");
    let data = cluster.master_data().to_string_lossy().into_owned();
    let address = cluster.master().address.to_string();
    let args = ["server", "--data-dir", &data, "--advertise-address", &address];
    let start = now();
    cluster.master_mut().spawn("server", &program, &args)?;
    loop {
        // The port is closed at first, then TLS may not answer yet: all of it is "not ready".
        let answer = api.connect().and_then(|mut one| one.request("GET", "/readyz", None));
        let took = start.elapsed();
        if answer.is_ok_and(|(status, _)| status == 200) {
            return Ok(took);
        }
        ensure!(took < Duration::from_secs(20), "the master does not become ready");
        pause(Duration::from_millis(1));
    }
}
