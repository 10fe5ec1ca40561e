//! A master whose disk takes no more ends, and says why; it never stays and calls itself ready.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Largest file that the master may write, in blocks of 512 bytes: the system refuses what is
/// beyond, as a broken card does. Enough for a store with little in it.
const FILE_BLOCKS_MAX: u32 = 12_288;
/// Bytes of one ConfigMap; a few of them are more than the largest file.
const CONFIG_MAP_BYTES: usize = 900_000;
/// ConfigMaps after which the disk surely has refused.
const CONFIG_MAPS: usize = 30;

/// Ends the process whatever becomes of the test.
struct Master(Child);

impl Drop for Master {
    fn drop(&mut self) {
        // It has ended already, or a failed test does not care how it ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> Master {
    let log = fs::File::create(folder.join("log")).expect("a log file");
    // The signal would end the process before it could say why.
    let script = format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS_MAX}; exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_bramble")])
        .args(["server", "--listen", "127.0.0.1:0"])
        .args(["--advertise-address", "127.0.0.1", "--data-dir"])
        .arg(folder.join("data"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a shell starts");
    Master(child)
}

fn create(folder: &Path, name: &str) -> bool {
    let manifest = folder.join("manifest.yaml");
    let text = "x".repeat(CONFIG_MAP_BYTES);
    let object = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {text}}}\n"
    );
    fs::write(&manifest, object).expect("a manifest");
    let output = Command::new(env!("CARGO_BIN_EXE_bramble"))
        .env("KUBECONFIG", folder.join("data/admin.kubeconfig"))
        .args(["apply", "-f"])
        .arg(manifest)
        .output()
        .expect("bramble starts");
    output.status.success()
}

#[test]
fn master_whose_disk_fails_ends_and_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut master = start(folder.path());
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    for attempt in 0.. {
        if create(folder.path(), "first") {
            break;
        }
        assert!(attempt < 100, "the master does not serve: {}", log());
        sleep(Duration::from_millis(100));
    }
    let stored = (0..CONFIG_MAPS).take_while(|n| create(folder.path(), &format!("c{n}"))).count();
    assert!(stored < CONFIG_MAPS, "the disk never refused");
    for attempt in 0.. {
        if let Some(status) = master.0.try_wait().expect("the master was ours") {
            assert_eq!(status.code(), Some(1), "{}", log());
            break;
        }
        assert!(attempt < 100, "the master stays although its disk failed: {}", log());
        sleep(Duration::from_millis(100));
    }
    assert!(log().contains("the store has stopped"), "{}", log());
}
