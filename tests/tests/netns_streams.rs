//! Programs in containers and connections to pods, as people have them with kubectl.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bramble_tests::api::{Api, Secured};
use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::memory::pss_mb;
use bramble_tests::programs::installed;
use bramble_tests::skip_unless;
use bramble_tests::state;

const SOON: Duration = Duration::from_secs(60);
/// More than all buffers between the two ends hold.
const FILE_LEN: usize = 64 << 20;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: registry.local/hello:1
    command: [sh, -c, 'mkdir -p /tmp/www; echo hello > /tmp/www/index.html; dd if=/dev/zero of=/tmp/www/big bs=1024k count=8; httpd -h /tmp/www -p 127.0.0.1:8080; sleep 100000']
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, runAsGroup: 1001}
  containers:
  - {name: a, image: 'registry.local/hello:1', command: [sh, -c, 'sleep 100000']}
  - {name: b, image: 'registry.local/hello:1', command: [sh, -c, 'sleep 100000']}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: 'registry.local/hello:1', command: ['true']}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: registry.local/hello:1
    ports: [{name: web, containerPort: 8080}]
    command:
    - sh
    - -c
    - |
      mkdir -p /tmp/w/cgi-bin; cd /tmp/w
      echo '<a href=\"/x\">x</a>' > page.html
      dd if=/dev/zero of=big bs=1024k count=8
      cat > cgi-bin/say <<'EOF'
      #!/bin/sh
      echo 'Content-Type: text/plain'
      echo
      echo \"$REQUEST_METHOD $QUERY_STRING\"
      cat
      EOF
      busybox chmod 755 cgi-bin/say
      cat > /tmp/change <<'EOF'
      while read -r line; do [ ${#line} -le 1 ] && break; done
      printf 'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n'
      exec cat
      EOF
      nc -ll -p 8082 -e sh /tmp/change &
      exec httpd -f -p 8080 -h /tmp/w
---
apiVersion: v1
kind: Service
metadata: {name: served}
spec:
  selector: {app: server}
  ports: [{name: web, port: 80, targetPort: web}, {name: none, port: 81, targetPort: 1}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
";

#[test]
fn programs_run_in_containers_and_nothing_of_them_stays() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(57).unwrap();
    cluster.add_agent("n1").unwrap();
    cluster.wait_until_ready().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(PODS).unwrap();
    let phases =
        [("web", "Running"), ("two", "Running"), ("server", "Running"), ("done", "Succeeded")];
    for (pod, phase) in phases {
        cluster.wait_until(pod, SOON, || state::pod_phase(&kubectl, pod, phase)).unwrap();
    }

    output_codes_and_input(&kubectl);
    errors_are_upstreams(&kubectl);
    a_terminal_knows_its_size(&kubectl);
    files_are_copied_both_ways(&cluster, &kubectl);
    who_goes_away_leaves_nothing(&cluster, &kubectl);
    ports_are_forwarded(&cluster, &kubectl);
    people_are_attached_to_containers(&cluster, &kubectl);
    requests_are_passed_on(&cluster, &kubectl);
    a_changed_connection_is_carried_on(&cluster);

    kubectl.run(&["delete", "pod", "--all", "--now"]).unwrap();
    cluster.stop_and_check().unwrap();
}

fn exec(kubectl: &Kubectl, args: &[&str]) -> Output {
    kubectl.output(&[&["exec"], args].concat()).unwrap()
}

fn output_codes_and_input(kubectl: &Kubectl) {
    let done = exec(kubectl, &["web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert_eq!(done.stdout, b"out\n");
    let errors = String::from_utf8(done.stderr).unwrap();
    assert!(errors.starts_with("err\n"), "{errors}");
    assert!(errors.contains("command terminated with exit code 7"), "{errors}");
    // Input ends when it has an end, and not before.
    let data = "0123456789abcdef\n".repeat(200_000);
    let mut echo = kubectl
        .command(&["exec", "-i", "web", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = echo.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let data = data.clone();
        move || stdin.write_all(data.as_bytes()).unwrap()
    });
    let done = echo.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success() && done.stdout == data.as_bytes(), "{}", done.stdout.len());
    // The container's user, not root.
    let id = kubectl.run(&["exec", "two", "-c", "b", "--", "id", "-u"]).unwrap();
    assert_eq!(id, "1000\n");
}

fn errors_are_upstreams(kubectl: &Kubectl) {
    let check = |args: &[&str], expected: &str| {
        let done = exec(kubectl, args);
        assert!(!done.status.success());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains(expected), "`{expected}` is not in `{said}`");
    };
    check(&["nobody", "--", "true"], "pods \"nobody\" not found");
    check(&["web", "-c", "x", "--", "true"], "container x is not valid for pod web");
    check(&["web", "--", "nope"], "exec: \"nope\": executable file not found in $PATH");
    check(
        &["done", "--", "true"],
        "cannot exec into a container in a completed pod; current phase is Succeeded",
    );
}

fn a_terminal_knows_its_size(kubectl: &Kubectl) {
    skip_unless!(installed("script"), "no terminal without `script`");
    // The size follows the start, as upstream's does.
    let script = "for i in $(seq 50); do stty size | grep -q '33 101' && break; sleep 0.1; done; \
                  stty size; tty; exit 3";
    let inner = kubectl.command(&["exec", "-it", "web", "--", "sh", "-c", script]);
    let words: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let line = format!("stty rows 33 cols 101; {}", words.join(" "));
    let done = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("/dev/pts/0"), "{said}");
    assert!(said.contains("33 101"), "{said}");
    assert_eq!(done.status.code(), Some(3), "{said}");
}

fn files_are_copied_both_ways(cluster: &Cluster, kubectl: &Kubectl) {
    let folder = cluster.folder();
    let (there, back) = (folder.join("there"), folder.join("back"));
    let block: Vec<u8> = (0..251_u8).cycle().take(1 << 20).collect();
    let content = block.repeat(FILE_LEN >> 20);
    std::fs::write(&there, &content).unwrap();
    let memory = || pss_mb(&cluster.agent("n1").unwrap().daemons().unwrap());
    let before = memory();
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    kubectl.run(&["cp", &path(&there), "web:/tmp/file"]).unwrap();
    kubectl.run(&["cp", "web:/tmp/file", &path(&back)]).unwrap();
    assert!(std::fs::read(&back).unwrap() == content, "the file has changed on its way");
    let after = memory();
    assert!(after < before + 20.0, "{before} MB before, {after} MB after");
}

fn ports_are_forwarded(cluster: &Cluster, kubectl: &Kubectl) {
    let mut forwarder = kubectl
        .command(&["port-forward", "pod/web", "18080:8080", "18081:9"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What listens on the pod's loopback alone.
    let get = |port: u16, path: &str| -> std::io::Result<Vec<u8>> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    cluster
        .wait_until("the port is forwarded", SOON, || {
            Ok(match get(18080, "/index.html") {
                Ok(answer) if answer.ends_with(b"\r\n\r\nhello\n") => None,
                other => Some(format!("{other:?}")),
            })
        })
        .unwrap();
    // Several at a time, and each as a whole.
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| get(18080, "/big").unwrap().len())).collect();
        for one in all {
            assert!(one.join().unwrap() > 8 << 20);
        }
    });
    // Nothing listens there, which ends kubectl's whole session.
    assert_eq!(get(18081, "/").unwrap_or_default(), b"");
    cluster
        .wait_until("kubectl gives up", SOON, || {
            Ok(forwarder.try_wait()?.is_none().then(|| "still there".to_owned()))
        })
        .unwrap();
    let said = forwarder.wait_with_output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("error forwarding port 9 to pod web"), "{said}");
    assert!(said.contains("connection refused"), "{said}");
}

fn people_are_attached_to_containers(cluster: &Cluster, kubectl: &Kubectl) {
    // Input ends where it began, and with it the program.
    let run = ["run", "echo", "-i", "--rm", "--quiet", "--restart=Never"];
    let image = ["--image=registry.local/hello:1", "--", "sh", "-c"];
    let script = ["while read line; do echo got $line; done; echo over"];
    let mut echo = kubectl
        .command(&[&run[..], &image, &script].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = echo.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    drop(stdin);
    let done = echo.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("got one\ngot two\nover\n"), "{said}");

    // Somebody looks on for a while, and the container goes on.
    kubectl
        .run(&["run", "talker", image[0], "--", "sh", "-c", "while :; do echo hi; sleep 0.2; done"])
        .unwrap();
    cluster.wait_until("it runs", SOON, || state::pod_phase(kubectl, "talker", "Running")).unwrap();
    let mut looker = kubectl.command(&["attach", "talker"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = [0; 6];
    looker.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hi\nhi\n");
    looker.kill().unwrap();
    looker.wait().unwrap();
    let pod = kubectl.json(&["get", "pod", "talker"]).unwrap();
    let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
    assert_eq!(restarts.and_then(serde_json::Value::as_u64), Some(0));

    skip_unless!(installed("script"), "no terminal without `script`");
    let inner = ["run", "shell", "-it", "--rm", "--restart=Never", image[0], "--", "sh"];
    let inner = kubectl.command(&inner);
    let words: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    cluster
        .wait_until("the shell runs", SOON, || state::pod_phase(kubectl, "shell", "Running"))
        .unwrap();
    // It is attached to some time after that; what is typed before waits in the terminal.
    stdin.write_all(b"tty; echo $((6 * 7))\nexit\n").unwrap();
    let mut said = String::new();
    script.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    script.wait().unwrap();
    assert!(said.contains("/dev/pts/0") && said.contains("42"), "{said}");
}

/// Where the API passes requests on.
const PODS_PATH: &str = "/api/v1/namespaces/default/pods";
const SERVICES_PATH: &str = "/api/v1/namespaces/default/services";

fn requests_are_passed_on(cluster: &Cluster, kubectl: &Kubectl) {
    let get = |path: &str| kubectl.run(&["get", "--raw", path]);
    let page = format!("{PODS_PATH}/server/proxy/page.html");
    cluster
        .wait_until("the pod answers", SOON, || Ok(get(&page).err().map(|why| why.to_string())))
        .unwrap();
    // A link to the server's root leads back through here.
    let link = format!("<a href=\"{PODS_PATH}/server/proxy/x\">x</a>\n");
    assert_eq!(get(&page).unwrap(), link);
    for port in ["server:8080", "http:server:8080"] {
        assert!(get(&format!("{PODS_PATH}/{port}/proxy/page.html")).unwrap().contains("/proxy/x"));
    }
    let big = get(&format!("{SERVICES_PATH}/served:web/proxy/big")).unwrap();
    assert_eq!(big.len(), 8 << 20);
    assert!(get(&format!("{SERVICES_PATH}/http:served:80/proxy/page.html")).is_ok());

    let api = Api::from_kubeconfig(&cluster.kubeconfig()).unwrap();
    let ask = |method: &str, path: &str, body: Option<&[u8]>| {
        let answer = api.connect().unwrap().request(method, path, body).unwrap();
        (answer.0, String::from_utf8_lossy(&answer.1).into_owned())
    };
    let say = format!("{PODS_PATH}/server/proxy/cgi-bin/say?a=%20b");
    assert_eq!(ask("POST", &say, Some(b"hello")), (200, "POST a=%20b\nhello".to_owned()));
    // This server does not know the verb, but it was asked.
    assert_eq!(ask("DELETE", &page, None).0, 501);
    let (_, head) = begin(&api, "HEAD", &page, "");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: text/html"), "{head}");
    // Without a slash at its end the root's relative links would lead away.
    assert_eq!(ask("GET", &format!("{PODS_PATH}/server/proxy"), None).0, 301);

    let refused = |path: &str, code: u16, expected: &str| {
        let (found, said) = ask("GET", path, None);
        assert!(found == code && said.contains(expected), "{path}: {found} {said}");
    };
    refused(&format!("{PODS_PATH}/server:9/proxy/"), 503, "connect: connection refused");
    refused(&format!("{PODS_PATH}/x/proxy/"), 404, "not found");
    refused(&format!("{PODS_PATH}/ftp:server:21/proxy/"), 400, "invalid pod request");
    refused(
        &format!("{SERVICES_PATH}/nobody/proxy/"),
        503,
        "no endpoints available for service \\\"nobody\\\"",
    );
    refused(&format!("{SERVICES_PATH}/served:5/proxy/"), 503, "no service port 5 found");

    assert_eq!(get("/api/v1/nodes/n1/proxy/healthz").unwrap(), "ok");
    assert!(get("/api/v1/nodes/n1/proxy/logs/").unwrap().contains("<pre>"));
    refused("/api/v1/nodes/n1/proxy/logs/../../etc/passwd", 404, "not found");
    refused("/api/v1/nodes/n1/proxy/else", 404, "not found");
}

fn a_changed_connection_is_carried_on(cluster: &Cluster) {
    let api = Api::from_kubeconfig(&cluster.kubeconfig()).unwrap();
    let path = format!("{PODS_PATH}/server:8082/proxy/");
    let (mut stream, head) = begin(&api, "GET", &path, "Connection: Upgrade\r\nUpgrade: echo\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let data = "0123456789abcdef\n".repeat(500);
    for _ in 0..3 {
        stream.write_all(data.as_bytes()).unwrap();
        stream.flush().unwrap();
        let mut back = vec![0; data.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == data.as_bytes());
    }
}

/// Sends a request without a body and reads the head of the answer.
fn begin(api: &Api, method: &str, path: &str, headers: &str) -> (Secured, String) {
    let socket = std::net::TcpStream::connect(api.address()).unwrap();
    let mut stream = api.secure(socket).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: m1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn who_goes_away_leaves_nothing(cluster: &Cluster, kubectl: &Kubectl) {
    for _ in 0..3 {
        let mut gone = kubectl
            .command(&["exec", "web", "--", "sh", "-c", "sleep 4321 & sleep 4321"])
            .spawn()
            .unwrap();
        cluster.wait_until("it runs", SOON, || sleepers(kubectl, true)).unwrap();
        gone.kill().unwrap();
        gone.wait().unwrap();
        cluster.wait_until("it is gone", SOON, || sleepers(kubectl, false)).unwrap();
    }
}

/// None if there are such processes in the pod, or none, as wanted.
fn sleepers(kubectl: &Kubectl, wanted: bool) -> anyhow::Result<Option<String>> {
    let script = "for p in /proc/[0-9]*; do cat $p/cmdline; echo; done 2>/dev/null";
    let all = kubectl.run(&["exec", "web", "--", "sh", "-c", script])?;
    let found = all.lines().any(|line| line.contains("sleep\u{0}4321"));
    Ok((found != wanted).then_some(all))
}
