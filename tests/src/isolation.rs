//! A pod that tries what no pod may: its board's disk, and cgroups.
//!
//! It has two containers. `plain` is an ordinary one; `passed` has the same disk by a hostPath of
//! type `BlockDevice`, to read. Each says what it could do, and both what they share.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Memory limit of both containers, in bytes: what they must see of their cgroup.
const LIMIT: u64 = 32 << 20;

/// The last line of a container that came to its end.
const END: &str = "the end";

/// What both containers do; `$0` is their name and `$1` the disk's name.
const SCRIPT: &str = r#"
exec 2>&1
n=$(cat /sys/block/$1/dev)
busybox mknod /tmp/disk b ${n%:*} ${n#*:} && echo made
head -c 512 /tmp/disk > /tmp/read && echo READ
(: >> /tmp/disk) && echo WRITTEN
busybox mknod /tmp/zero c 1 5 && head -c 1 /tmp/zero > /tmp/z && echo zero
[ $0 = plain ] || { head -c 512 /passed > /tmp/passed && echo opened; }
[ $0 = plain ] || { (: >> /passed) && echo OVERWRITTEN; }
for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
  [ -e $f ] || continue
  echo limit $(cat $f); (echo 1073741824 > $f) && echo RAISED; echo limit $(cat $f)
done
for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/zz && echo MADE $d; done
busybox sed 's/^/in /' /proc/self/cgroup
echo $(busybox readlink /proc/self/ns/ipc) $(hostname) > /dev/shm/$0
until [ -e /dev/shm/plain ] && [ -e /dev/shm/passed ]; do sleep 0.2; done
cat /dev/shm/plain /dev/shm/passed | busybox sed 's/^/shares /'
echo the end
"#;

/// The pod, for a node whose disk has this name in `/dev`.
#[must_use]
pub fn pod(name: &str, node: &str, image: &str, disk: &str) -> String {
    let container = |name: &str, mounts: Value| {
        json!({
            "name": name,
            "image": image,
            "command": ["sh", "-c", SCRIPT, name, disk],
            "resources": { "limits": { "memory": LIMIT.to_string() } },
            "volumeMounts": mounts,
        })
    };
    let disk_mount = json!([{ "name": "disk", "mountPath": "/passed", "readOnly": true }]);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": { "kubernetes.io/hostname": node },
            "containers": [container("plain", json!([])), container("passed", disk_mount)],
            "volumes": [{
                "name": "disk",
                "hostPath": { "path": format!("/dev/{disk}"), "type": "BlockDevice" },
            }],
        },
    })
    .to_string()
}

/// Checks what the two containers have said.
///
/// # Errors
/// One could do what it may not, or could not do what it may.
pub fn check(pod: &str, plain: &str, passed: &str) -> Result<()> {
    for (name, said) in [("plain", plain), ("passed", passed)] {
        let has = |line: &str| said.lines().any(|own| own == line);
        for line in ["made", "zero", END] {
            ensure!(has(line), "{name} lacks `{line}`:\n{said}");
        }
        for word in ["WRITTEN", "OVERWRITTEN", "RAISED", "MADE"] {
            ensure!(!said.contains(word), "{name} has {word}:\n{said}");
        }
        let limits: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("limit ")).collect();
        let limit = LIMIT.to_string();
        ensure!(limits == [&limit, &limit], "{name} sees other limits:\n{said}");
        let outside = said.lines().filter_map(|line| line.strip_prefix("in ")).find(|line| {
            // Number, controllers, and the root of what it sees.
            !line.ends_with(":/")
        });
        ensure!(outside.is_none(), "{name} sees the node's cgroups:\n{said}");
        let shared: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("shares ")).collect();
        let same = shared.len() == 2 && shared.first() == shared.last();
        let named = shared.iter().all(|line| line.starts_with("ipc:") && line.ends_with(pod));
        ensure!(same && named, "{name} shares too little:\n{said}");
    }
    // The node that it made itself, and the one that it was given: the same disk.
    ensure!(!plain.contains("READ"), "plain reads the disk:\n{plain}");
    let refused = plain.matches("/tmp/disk: Operation not permitted").count();
    ensure!(refused == 2, "plain is refused for another reason:\n{plain}");
    ensure!(passed.contains("READ") && passed.contains("opened"), "passed is refused:\n{passed}");
    Ok(())
}
