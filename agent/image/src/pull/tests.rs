//! Pulls from a hand-made registry that misbehaves on demand, and from Debian's real one.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::*;
use crate::{
    RegistryConfig,
    testing::{TarBuilder, TestImage, TestStore},
};

/// A request as the registry saw it.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    authorization: Option<String>,
    range: Option<String>,
}

/// Serves whatever a function answers: status, headers, body.
struct FakeRegistry {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl FakeRegistry {
    fn serve(answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, own_host, answer) = (Arc::clone(&seen), host.clone(), Arc::new(answer));
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, own_host, answer) =
                    (Arc::clone(&log), own_host.clone(), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut first = [0];
                    // A TLS handshake, which a plain server answers in its own tongue.
                    if stream.peek(&mut first).is_ok() && first == [0x16] {
                        return write_reply(&stream, (400, vec![], vec![]));
                    }
                    let Some(request) = read_request(&stream) else { return };
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    write_reply(&stream, answer(&request, &own_host));
                });
            }
        });
        Self { host, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self, part: &str) -> usize {
        self.seen().iter().filter(|request| request.path.contains(part)).count()
    }
}

/// A body after whose first byte nothing comes any more.
const STALLS: &[u8] = b"<stalls>";

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut seen = Seen { path, authorization: None, range: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "authorization" => seen.authorization = Some(value.to_owned()),
            "range" => seen.range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(seen)
}

fn write_reply(mut stream: &TcpStream, (status, headers, body): Reply) {
    let mut head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let stalls = body == STALLS;
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(b"\r\n"))
        .and_then(|()| stream.write_all(if stalls { b"<" } else { &body }));
    if stalls {
        // Until the other side gives up.
        let _ = stream.read(&mut [0]);
    }
}

/// Answers as an honest registry with one image would.
fn honest(image: &TestImage, request: &Seen) -> Reply {
    let last = request.path.rsplit('/').next().unwrap();
    if request.path.contains("/manifests/") {
        let known = last == "latest" || last == image.digest().to_string();
        return if known {
            (200, vec![], image.manifest.clone())
        } else {
            (404, vec![], b"{}".to_vec())
        };
    }
    let blob = image.blobs.iter().find(|blob| Digest::of(blob).to_string() == last);
    let Some(blob) = blob else { return (404, vec![], vec![]) };
    match request
        .range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
    {
        Some(start) => (206, vec![], blob[start..].to_vec()),
        None => (200, vec![], blob.clone()),
    }
}

fn layer(text: &str) -> Vec<u8> {
    TarBuilder::new().folder("etc", 0o755).file("etc/motd", text.as_bytes()).finish()
}

fn service(home: &TestStore, hosts: &[&str]) -> ImageService {
    let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
    let registries = hosts.iter().map(|host| ((*host).to_owned(), plain.clone())).collect();
    ImageService::new(home.store.clone(), Registries { registries }).unwrap()
}

fn secrets(host: &str, password: &str) -> PullSecrets {
    let mut secrets = PullSecrets::default();
    let json = serde_json::json!({ "auths": { host: { "username": "u", "password": password } } });
    secrets.add_dockerconfigjson(json.to_string().as_bytes()).unwrap();
    secrets
}

async fn pull(registry: &FakeRegistry, home: &TestStore) -> Result<Image, PullError> {
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    service(home, &[&registry.host])
        .ensure(&reference, PullPolicy::Always, &PullSecrets::default())
        .await
}

#[tokio::test]
async fn image_is_pulled_once_and_then_present() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer("1"), layer("2")]);
    let digest = image.digest();
    let registry = FakeRegistry::serve(move |request, _| honest(&image, request));
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let service = service(&home, &[&registry.host]);
    let none = PullSecrets::default();
    let error = service.ensure(&reference, PullPolicy::Never, &none).await.unwrap_err();
    assert_eq!((error.reason(), error.never_pull()), ("ErrImageNeverPull", true));
    let pulled = service.ensure(&reference, PullPolicy::IfNotPresent, &none).await.unwrap();
    assert_eq!((pulled.digest, pulled.config.user.as_str()), (digest, "web"));
    let before = registry.seen().len();
    assert_eq!(service.ensure(&reference, PullPolicy::IfNotPresent, &none).await.unwrap(), pulled);
    assert_eq!(service.ensure(&reference, PullPolicy::Never, &none).await.unwrap(), pulled);
    assert_eq!(registry.seen().len(), before);
    service.ensure(&reference, PullPolicy::Always, &none).await.unwrap();
    assert_eq!(registry.seen().len(), before + 1, "only the manifest is asked for again");
}

#[tokio::test]
async fn foreign_urls_are_never_asked() {
    let home = TestStore::new();
    let elsewhere = FakeRegistry::serve(|_, _| (200, vec![], vec![]));
    let image =
        TestImage::with_foreign_urls(&[layer("1")], &[&format!("http://{}/blob", elsewhere.host)]);
    let registry = FakeRegistry::serve(move |request, _| honest(&image, request));
    pull(&registry, &home).await.unwrap();
    assert_eq!((elsewhere.seen().len(), registry.count("/blobs/")), (0, 2));
}

#[tokio::test]
async fn concurrent_wishes_are_one_pull() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer("1")]);
    let registry = FakeRegistry::serve(move |request, _| {
        thread::sleep(std::time::Duration::from_millis(50));
        honest(&image, request)
    });
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let service = service(&home, &[&registry.host]);
    let none = PullSecrets::default();
    let wishes = (0..10).map(|_| service.ensure(&reference, PullPolicy::IfNotPresent, &none));
    let images = futures_util::future::try_join_all(wishes).await.unwrap();
    assert_eq!(images.len(), 10);
    assert_eq!((registry.count("/manifests/"), registry.count("/blobs/")), (1, 2));
    assert!(service.0.running.lock().unwrap().is_empty());
}

#[tokio::test]
async fn errors_are_told_apart() {
    let reply = |status, body: &'static str| {
        FakeRegistry::serve(move |_, _| (status, vec![], body.as_bytes().to_vec()))
    };
    let home = TestStore::new();
    let registry = reply(404, "");
    let error = pull(&registry, &home).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }));
    assert!(error.message().ends_with("/a:latest: not found"), "{}", error.message());
    let denied = r#"{"errors":[{"code":"DENIED","message":"go away"}]}"#;
    for status in [401, 403] {
        let error = pull(&reply(status, denied), &home).await.unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }));
        assert!(
            error.message().contains("pull access denied")
                && error.message().contains("denied: go away")
        );
    }
    let error = pull(&reply(429, ""), &home).await.unwrap_err();
    assert!(error.message().contains("429"), "{}", error.message());
    let error = pull(&reply(200, "{}"), &home).await.unwrap_err();
    assert!(matches!(error, PullError::Malformed { .. }));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reference = Reference::parse(&format!("{closed}/a")).unwrap();
    let error = service(&home, &[&closed.to_string()])
        .ensure(&reference, PullPolicy::Always, &PullSecrets::default())
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.reason(), "RegistryUnavailable");
    assert!(error.message().contains("refused"), "{}", error.message());
}

#[tokio::test]
async fn plain_http_is_spoken_only_where_configured() {
    let home = TestStore::new();
    let registry = FakeRegistry::serve(|_, _| (200, vec![], vec![]));
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let error = service(&home, &[])
        .ensure(&reference, PullPolicy::Always, &PullSecrets::default())
        .await
        .unwrap_err();
    assert!(
        error.message().ends_with("server gave HTTP response to HTTPS client"),
        "{}",
        error.message()
    );
    assert_eq!(registry.seen().len(), 0);
}

#[tokio::test]
async fn wrong_content_is_refused() {
    let home = TestStore::new();
    let original = TestImage::new(&[layer("1")]);
    let layer_digest = Digest::of(&original.blobs[0]).to_string();
    for (replace, expected) in [(0, "unexpected content"), (1, "longer than"), (2, "")] {
        let image = TestImage::new(&[layer("1")]);
        let layer_digest = layer_digest.clone();
        let registry = FakeRegistry::serve(move |request, _| {
            let (status, headers, mut body) = honest(&image, request);
            if request.path.ends_with(&layer_digest) {
                match replace {
                    0 => body[600] ^= 1,
                    1 => body.extend_from_slice(b"more"),
                    _ => body.truncate(body.len() - 512),
                }
            }
            (status, headers, body)
        });
        let error = pull(&registry, &home).await.unwrap_err();
        assert!(error.message().contains(expected), "{}", error.message());
        assert_eq!(home.store.list(), []);
        home.store.garbage_collect(&crate::Keep::default()).unwrap();
    }
}

#[tokio::test]
async fn manifest_that_is_not_the_pinned_one_is_refused() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer("1")]);
    let registry = FakeRegistry::serve(move |_, _| (200, vec![], image.manifest.clone()));
    let reference =
        Reference::parse(&format!("{}/a@{}", registry.host, Digest::of(b"other"))).unwrap();
    let error = service(&home, &[&registry.host])
        .ensure(&reference, PullPolicy::Always, &PullSecrets::default())
        .await;
    assert!(matches!(error, Err(PullError::WrongDigest { .. })));
}

#[tokio::test]
async fn image_for_other_machines_is_refused() {
    let home = TestStore::new();
    let image = TestImage::for_architecture(&[layer("1")], "s390x");
    let registry = FakeRegistry::serve(move |request, _| honest(&image, request));
    let error = pull(&registry, &home).await.unwrap_err().message();
    assert!(
        error.ends_with(&format!("no match for platform {} in manifest", Platform::host())),
        "{error}"
    );
    let index = r#"{"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"platform":{"os":"linux","architecture":"s390x"}}]}"#;
    let registry = FakeRegistry::serve(move |_, _| (200, vec![], index.as_bytes().to_vec()));
    assert!(matches!(pull(&registry, &home).await, Err(PullError::WrongPlatform { .. })));
}

#[tokio::test]
async fn cut_download_goes_on_where_it_stopped() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer(&"x".repeat(100_000))]);
    let layer_digest = Digest::of(&image.blobs[0]).to_string();
    let size = image.blobs[0].len();
    let registry = FakeRegistry::serve(move |request, _| {
        let (status, mut headers, mut body) = honest(&image, request);
        if request.path.ends_with(&layer_digest) && request.range.is_none() {
            headers.push(("Content-Length", size.to_string()));
            body.truncate(50_000);
        }
        (status, headers, body)
    });
    let error = pull(&registry, &home).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error:?}");
    pull(&registry, &home).await.unwrap();
    let ranges: Vec<_> = registry.seen().into_iter().filter_map(|request| request.range).collect();
    assert_eq!(ranges, ["bytes=50000-"]);
}

/// Serves an image whose blobs stop after their first byte, for ever.
fn stalled(image: TestImage) -> FakeRegistry {
    FakeRegistry::serve(move |request, _| {
        let (status, mut headers, body) = honest(&image, request);
        if !request.path.contains("/blobs/") {
            return (status, headers, body);
        }
        headers.push(("Content-Length", body.len().to_string()));
        (status, headers, STALLS.to_vec())
    })
}

#[test]
fn registries_that_stall_leave_threads_for_the_others() {
    // The agent has 16; here, two would do if a download kept one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let home = TestStore::new();
        let stuck: Vec<_> = (0..4)
            .map(|number| stalled(TestImage::new(&[layer(&format!("stuck {number}"))])))
            .collect();
        let works = {
            let image = TestImage::new(&[layer("1")]);
            FakeRegistry::serve(move |request, _| honest(&image, request))
        };
        let hosts: Vec<&str> = stuck.iter().chain([&works]).map(|it| it.host.as_str()).collect();
        let service = service(&home, &hosts);
        let pulls: Vec<_> = stuck
            .iter()
            .map(|registry| {
                let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let secrets = PullSecrets::default();
                    service.ensure(&reference, PullPolicy::Always, &secrets).await
                })
            })
            .collect();
        while stuck.iter().any(|registry| registry.count("/blobs/") == 0) {
            tokio::task::yield_now().await;
        }
        let reference = Reference::parse(&format!("{}/a", works.host)).unwrap();
        let secrets = PullSecrets::default();
        service.ensure(&reference, PullPolicy::Always, &secrets).await.unwrap();
        assert!(pulls.iter().all(|pull| !pull.is_finished()));
    });
    runtime.shutdown_background();
}

#[tokio::test]
async fn private_image_is_only_for_those_with_the_secret() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer("1")]);
    let registry = FakeRegistry::serve(move |request, host| {
        let bearer =
            format!(r#"Bearer realm="http://{host}/token",service="s",scope="repository:a:pull""#);
        match request.authorization.as_deref() {
            // u:right
            Some("Basic dTpyaWdodA==") if request.path.starts_with("/token?") => {
                (200, vec![], br#"{"token":"good"}"#.to_vec())
            }
            None if request.path.starts_with("/token?") => {
                (200, vec![], br#"{"token":"guest"}"#.to_vec())
            }
            Some("Bearer good") => honest(&image, request),
            _ => (401, vec![("WWW-Authenticate", bearer)], vec![]),
        }
    });
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let service = service(&home, &[&registry.host]);
    let (right, wrong) = (secrets(&registry.host, "right"), secrets(&registry.host, "wrong"));
    let image = service.ensure(&reference, PullPolicy::IfNotPresent, &right).await.unwrap();
    let before = registry.seen().len();
    assert_eq!(service.ensure(&reference, PullPolicy::IfNotPresent, &right).await.unwrap(), image);
    assert_eq!(registry.seen().len(), before, "the holder does not ask again");
    for poor in [&wrong, &PullSecrets::default()] {
        let refused = service.ensure(&reference, PullPolicy::IfNotPresent, poor).await;
        assert!(matches!(refused, Err(PullError::Unauthorized { .. })), "{refused:?}");
        let refused = service.ensure(&reference, PullPolicy::Never, poor).await;
        assert!(matches!(refused, Err(PullError::NotForThisPod { .. })));
        let by_digest = Reference::parse(&format!("{}/a@{}", registry.host, image.digest)).unwrap();
        let refused = service.ensure(&by_digest, PullPolicy::IfNotPresent, poor).await;
        assert!(matches!(refused, Err(PullError::Unauthorized { .. })));
    }
    drop(service);
    let index = fs::read_to_string(home.path().join("images/images.json")).unwrap();
    assert!(!index.contains("right") && !index.contains("dTpyaWdodA"), "{index}");
}

#[tokio::test]
async fn credentials_go_along_no_redirect_and_to_no_other_host() {
    let home = TestStore::new();
    let image = Arc::new(TestImage::new(&[layer("1")]));
    let served = Arc::clone(&image);
    let elsewhere = FakeRegistry::serve(move |request, _| honest(&served, request));
    let target = elsewhere.host.clone();
    let registry = FakeRegistry::serve(move |request, _| {
        match (&request.authorization, request.path.contains("/blobs/")) {
            (None, _) => (401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], vec![]),
            (Some(_), true) => {
                (307, vec![("Location", format!("http://{target}{}", request.path))], vec![])
            }
            (Some(_), false) => honest(&image, request),
        }
    });
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let service = service(&home, &[&registry.host, &elsewhere.host]);
    service.ensure(&reference, PullPolicy::Always, &secrets(&registry.host, "p")).await.unwrap();
    assert!(elsewhere.seen().len() >= 2);
    assert!(elsewhere.seen().iter().all(|request| request.authorization.is_none()));

    // A token service elsewhere is not even asked with credentials.
    let thief = FakeRegistry::serve(|_, _| (200, vec![], br#"{"token":"x"}"#.to_vec()));
    let realm = format!(
        r#"Bearer realm="http://localhost:{}/token""#,
        thief.host.rsplit_once(':').unwrap().1
    );
    let registry =
        FakeRegistry::serve(move |_, _| (401, vec![("WWW-Authenticate", realm.clone())], vec![]));
    let reference = Reference::parse(&format!("{}/b", registry.host)).unwrap();
    let service = self::service(&home, &[&registry.host]);
    let error = service
        .ensure(&reference, PullPolicy::Always, &secrets(&registry.host, "p"))
        .await
        .unwrap_err();
    assert!(error.message().contains("may not see"), "{}", error.message());
    assert!(thief.seen().iter().all(|request| request.authorization.is_none()));
}

/// A registry that wants a token of a service, which gives it to anyone.
fn wants_token(image: Arc<TestImage>, realm: String) -> FakeRegistry {
    FakeRegistry::serve(move |request, _| match request.authorization.as_deref() {
        Some("Bearer t") => honest(&image, request),
        Some(_) | None => (401, vec![("WWW-Authenticate", realm.clone())], vec![]),
    })
}

#[tokio::test]
async fn a_registry_that_is_redirected_to_gets_a_token_of_its_own_and_no_secret() {
    let home = TestStore::new();
    let image = Arc::new(TestImage::new(&[layer("1")]));
    let tokens = FakeRegistry::serve(|_, _| (200, vec![], br#"{"token":"t"}"#.to_vec()));
    let realm = format!(r#"Bearer realm="http://{}/token",service="back""#, tokens.host);
    let back = wants_token(Arc::clone(&image), realm);
    let target = back.host.clone();
    let front = FakeRegistry::serve(move |request, _| {
        (307, vec![("Location", format!("http://{target}{}", request.path))], vec![])
    });
    let service = service(&home, &[&front.host, &back.host]);
    for (name, secrets) in [("a", PullSecrets::default()), ("b", secrets(&front.host, "p"))] {
        let reference = Reference::parse(&format!("{}/{name}", front.host)).unwrap();
        service.ensure(&reference, PullPolicy::Always, &secrets).await.unwrap();
    }
    assert!(front.seen().iter().all(|request| request.authorization.is_none()));
    assert!(tokens.seen().iter().all(|request| request.authorization.is_none()));
    let shown: Vec<_> = back.seen().into_iter().filter_map(|seen| seen.authorization).collect();
    assert!(!shown.is_empty() && shown.iter().all(|shown| shown == "Bearer t"), "{shown:?}");
    assert_eq!(tokens.seen().len(), 2, "one token for each pull");
}

#[tokio::test]
async fn a_token_service_that_may_not_see_the_secret_is_asked_without_it() {
    let home = TestStore::new();
    let image = Arc::new(TestImage::new(&[layer("1")]));
    let tokens = FakeRegistry::serve(|_, _| (200, vec![], br#"{"token":"t"}"#.to_vec()));
    let port = tokens.host.rsplit_once(':').unwrap().1;
    let realm = format!(r#"Bearer realm="http://localhost:{port}/token""#);
    let registry = wants_token(image, realm);
    let reference = Reference::parse(&format!("{}/a", registry.host)).unwrap();
    let service = service(&home, &[&registry.host]);
    let secrets = secrets(&registry.host, "p");
    service.ensure(&reference, PullPolicy::Always, &secrets).await.unwrap();
    assert!(tokens.seen().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn mirror_is_asked_first_and_the_registry_when_it_fails() {
    let home = TestStore::new();
    let image = Arc::new(TestImage::new(&[layer("1")]));
    let served = Arc::clone(&image);
    let origin = FakeRegistry::serve(move |request, _| honest(&served, request));
    let broken = FakeRegistry::serve(|_, _| (500, vec![], vec![]));
    let lying = FakeRegistry::serve(move |request, _| {
        let (status, headers, mut body) = honest(&image, request);
        if request.path.contains("/blobs/") {
            body[0] ^= 1;
        }
        (status, headers, body)
    });
    let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
    let mirrors = vec![broken.host.clone(), lying.host.clone()];
    let registries = BTreeMap::from([
        (origin.host.clone(), RegistryConfig { mirrors, ..plain.clone() }),
        (broken.host.clone(), plain.clone()),
        (lying.host.clone(), plain),
    ]);
    let service = ImageService::new(home.store.clone(), Registries { registries }).unwrap();
    let reference = Reference::parse(&format!("{}/a", origin.host)).unwrap();
    service.ensure(&reference, PullPolicy::Always, &secrets(&origin.host, "p")).await.unwrap();
    assert!(!broken.seen().is_empty() && !lying.seen().is_empty());
    assert_eq!(origin.count("/manifests/"), 0, "the lying mirror's manifest was right");
    assert!(
        broken.seen().iter().chain(&lying.seen()).all(|request| request.authorization.is_none())
    );
}

/// Debian's registry on a free port, stopped at the end.
struct DebianRegistry {
    process: std::process::Child,
    host: String,
    _home: tempfile::TempDir,
}

impl DebianRegistry {
    async fn start() -> Option<Self> {
        if !["/usr/bin/docker-registry", "/usr/bin/skopeo"]
            .iter()
            .all(|tool| Path::new(tool).exists())
        {
            println!("skipped: docker-registry or skopeo is not installed");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = home.path().join("config.yml");
        let data = home.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new("/usr/bin/docker-registry");
        command
            .arg("serve")
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let registry = Self { process: command.spawn().unwrap(), host, _home: home };
        for _ in 0..200 {
            if TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("docker-registry did not start");
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn image_is_pulled_from_a_real_registry_and_mounted() {
    let Some(registry) = DebianRegistry::start().await else { return };
    let home = TestStore::new();
    let layout = home.path().join("layout");
    let image = TestImage::new(&[
        layer("low"),
        TarBuilder::new().file("etc/passwd", b"web:x:7:8::/home/web:/bin/sh\n").finish(),
    ]);
    image.write_layout(&layout, Some("v1"));
    // Skopeo gzips what it pushes, so the blobs' digests are not the diff ids.
    let pushed = std::process::Command::new("/usr/bin/skopeo")
        .args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-compress",
        ])
        .arg(format!("oci:{}:v1", layout.display()))
        .arg(format!("docker://{}/team/app:v1", registry.host))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let service = service(&home, &[&registry.host]);
    let reference = Reference::parse(&format!("{}/team/app:v1", registry.host)).unwrap();
    let none = PullSecrets::default();
    let image = service.ensure(&reference, PullPolicy::IfNotPresent, &none).await.unwrap();
    assert_eq!(image.layers.len(), 2);
    let container = home.path().join("container");
    let rootfs = crate::mount_root(&home.store, &image, &container).unwrap();
    assert_eq!(fs::read(rootfs.join("etc/motd")).unwrap(), b"low");
    let user = crate::resolve_user(&rootfs, &image.config.user).unwrap();
    assert_eq!((user.uid, user.gid, user.home.as_deref()), (7, 8, Some("/home/web")));
    crate::unmount_root(&container).unwrap();
    let missing = Reference::parse(&format!("{}/team/app:v2", registry.host)).unwrap();
    let error = service.ensure(&missing, PullPolicy::Always, &none).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error:?}");
}
