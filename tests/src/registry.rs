//! A real image registry: Debian's `docker-registry`, filled by `skopeo`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cgroup::Cgroup;
use crate::programs::run;
use crate::wait::wait_until;

/// A running registry over plain HTTP. Ends when dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddrV4,
    child: Child,
    config: PathBuf,
    cgroup: Cgroup,
}

impl Registry {
    /// Starts one at this address.
    ///
    /// # Errors
    /// `docker-registry` is missing, or the port is in use.
    pub fn start(cluster: &str, address: Ipv4Addr, port: u16, folder: &Path) -> Result<Self> {
        let address = SocketAddrV4::new(address, port);
        let data = folder.join("registry");
        fs::create_dir_all(&data)?;
        let config = folder.join("registry.yaml");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
             http: {{addr: \"{address}\"}}\n",
            data.display()
        );
        fs::write(&config, text)?;
        let cgroup = Cgroup::create(&format!("{cluster}-registry"))?;
        let child = start_process(&config, &cgroup)?;
        let mut registry = Self { address, child, config, cgroup };
        registry.wait_until_open()?;
        Ok(registry)
    }

    /// Copies an image of an OCI layout into the registry under `name` (`hello:1`).
    ///
    /// # Errors
    /// `skopeo` is missing or fails.
    pub fn push(&self, layout: &Path, name: &str) -> Result<()> {
        self.copy(&format!("oci:{}:hello:1", layout.display()), name)
    }

    /// Copies the only image of an OCI layout, whatever it is called there.
    ///
    /// # Errors
    /// As [`Registry::push`].
    pub fn push_layout(&self, layout: &Path, name: &str) -> Result<()> {
        self.copy(&format!("oci:{}", layout.display()), name)
    }

    fn copy(&self, from: &str, name: &str) -> Result<()> {
        let to = format!("docker://{}/{name}", self.address);
        run("skopeo", &["copy", "--quiet", "--dest-tls-verify=false", from, &to]).map(drop)
    }

    /// Stops it, as if it had crashed.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again with what it had.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.child = start_process(&self.config, &self.cgroup)?;
        self.wait_until_open()
    }

    fn wait_until_open(&mut self) -> Result<()> {
        let address = self.address.into();
        let child = &mut self.child;
        wait_until("the registry answers", Duration::from_secs(10), || {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(format!("docker-registry ended: {status}")));
            }
            let open = TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok();
            Ok((!open).then(|| "port closed".to_owned()))
        })?;
        Ok(())
    }
}

fn start_process(config: &Path, cgroup: &Cgroup) -> Result<Child> {
    let log = config.with_extension("log");
    let log = File::options().create(true).append(true).open(log)?;
    Command::new("sh")
        .args(["-c", &format!("{} && exec docker-registry serve \"$0\"", cgroup.join_line())])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("could not start `docker-registry` (Debian package of that name)")
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
