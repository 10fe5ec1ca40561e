//! `logs`: what containers wrote.

use bytes::BytesMut;
use serde_json::Value;

use crate::client::{JSON, Path};
use crate::command::LogsArgs;
use crate::error::CliError;
use crate::object::{items, name, selector, terminating, text};
use crate::session::Session;

/// Lines of each pod if several are asked for and the user says nothing, as with kubectl.
const TAIL_OF_SEVERAL: i64 = 10;

/// Prints the logs of the pods that the arguments select.
pub(super) async fn run(args: &LogsArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let pods = pods(args, session).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        for container in containers(args, pod, session)? {
            sources.push((name(pod).to_owned(), container));
        }
    }
    if args.follow && sources.len() > 1 {
        let all = sources.iter().map(|(pod, container)| format!("{pod} -c {container}"));
        return Err(CliError::Usage(format!(
            "only one container can be followed at a time; choose one of: {}",
            all.collect::<Vec<_>>().join(", ")
        )));
    }
    for (pod, container) in sources {
        let prefix = args.prefix.then(|| format!("[pod/{pod}/{container}] "));
        let path = log_path(args, &pod, &container, session);
        print(&path, prefix.as_deref(), session).await?;
    }
    Ok(())
}

async fn pods(args: &LogsArgs, session: &mut Session<'_>) -> Result<Vec<Value>, CliError> {
    let namespace = Path::new("/api/v1/namespaces").join(&session.namespace);
    if let Some(selector) = &args.selector {
        let list = session
            .client
            .get(&namespace.join("pods").with("labelSelector", selector), JSON)
            .await?;
        let pods = items(&list, "/items").to_vec();
        if pods.is_empty() {
            let message = format!("No resources found in {} namespace.", session.namespace);
            writeln!(session.err, "{message}")?;
        }
        return Ok(pods);
    }
    let what = args.what.as_deref().unwrap_or_default();
    match what.split_once('/') {
        None => Ok(vec![session.client.get(&namespace.join("pods").join(what), JSON).await?]),
        Some((resource, name)) => {
            let discovery = session.discover().await?;
            let found = discovery.find(resource)?;
            let resource = match found.as_slice() {
                [resource] if !name.is_empty() => *resource,
                _ => return Err(CliError::Usage(format!("`{what}` is not TYPE/NAME"))),
            };
            let object = session.client.get(&session.object_path(resource, name), JSON).await?;
            if resource.group.is_empty() && resource.plural == "pods" {
                return Ok(vec![object]);
            }
            pod_behind(&object, what, session).await.map(|pod| vec![pod])
        }
    }
}

/// One pod of a deployment, service or the like, by its selector.
async fn pod_behind(
    object: &Value,
    what: &str,
    session: &mut Session<'_>,
) -> Result<Value, CliError> {
    let selector = match object.pointer("/spec/selector") {
        Some(structured) if structured.get("matchLabels").is_some() => selector(structured),
        Some(structured) if structured.get("matchExpressions").is_some() => selector(structured),
        // A service's is plain labels.
        Some(plain) => selector(&serde_json::json!({ "matchLabels": plain })),
        None => String::new(),
    };
    if selector.is_empty() {
        return Err(CliError::Usage(format!("{what} selects no pods, so it has no logs")));
    }
    let path = Path::new("/api/v1/namespaces").join(&session.namespace).join("pods");
    let list = session.client.get(&path.with("labelSelector", &selector), JSON).await?;
    let pods = items(&list, "/items");
    let chosen = pods.iter().min_by_key(|pod| {
        let running = text(pod, "/status/phase") == "Running";
        (terminating(pod), !running, name(pod).to_owned())
    });
    let Some(chosen) = chosen else {
        return Err(CliError::Usage(format!("{what} has no pods at the moment")));
    };
    if pods.len() > 1 {
        writeln!(session.err, "Found {} pods, using pod/{}", pods.len(), name(chosen))?;
    }
    Ok(chosen.clone())
}

fn containers(
    args: &LogsArgs,
    pod: &Value,
    session: &mut Session<'_>,
) -> Result<Vec<String>, CliError> {
    let names = |pointer: &str| -> Vec<String> {
        items(pod, pointer).iter().map(|one| text(one, "/name").to_owned()).collect()
    };
    let (init, main) = (names("/spec/initContainers"), names("/spec/containers"));
    if args.all_containers {
        return Ok(init.into_iter().chain(main).collect());
    }
    if let Some(wanted) = args.container.as_ref().or(args.container_argument.as_ref()) {
        if !init.contains(wanted) && !main.contains(wanted) {
            let all: Vec<_> = main.iter().chain(&init).map(String::as_str).collect();
            return Err(CliError::Usage(format!(
                "container {wanted} is not valid for pod {}; it has: {}",
                name(pod),
                all.join(", ")
            )));
        }
        return Ok(vec![wanted.clone()]);
    }
    let annotation = pod.pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container");
    let chosen = annotation.and_then(Value::as_str).map(str::to_owned);
    match (chosen, main.first()) {
        (Some(chosen), _) => Ok(vec![chosen]),
        (None, Some(first)) => {
            if main.len() + init.len() > 1 {
                let inits = init.iter().map(|name| format!("{name} (init)"));
                let all: Vec<_> = main.iter().cloned().chain(inits).collect();
                let all = all.join(", ");
                writeln!(session.err, "Defaulted container \"{first}\" out of: {all}")?;
            }
            Ok(vec![first.clone()])
        }
        (None, None) => Err(CliError::Usage(format!("pod {} has no containers", name(pod)))),
    }
}

fn log_path(args: &LogsArgs, pod: &str, container: &str, session: &Session<'_>) -> Path {
    let several = args.selector.is_some() && !args.follow;
    let tail = args.tail.or_else(|| several.then_some(TAIL_OF_SEVERAL)).filter(|lines| *lines >= 0);
    let flag = |set: bool| set.then_some("true");
    Path::new("/api/v1/namespaces")
        .join(&session.namespace)
        .join("pods")
        .join(pod)
        .join("log")
        .with("container", container)
        .with_some("follow", flag(args.follow))
        .with_some("previous", flag(args.previous))
        .with_some("timestamps", flag(args.timestamps))
        .with_some("tailLines", tail.map(|lines| lines.to_string()).as_deref())
        .with_some("limitBytes", args.limit_bytes.map(|bytes| bytes.to_string()).as_deref())
        .with_some("sinceSeconds", args.since.map(|since| since.as_secs().to_string()).as_deref())
        .with_some("sinceTime", args.since_time.as_deref())
}

async fn print(
    path: &Path,
    prefix: Option<&str>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut stream = session.client.stream(path, "*/*").await?;
    let mut rest = BytesMut::new();
    while let Some(bytes) = stream.next().await? {
        match prefix {
            None => session.out.write_all(&bytes)?,
            Some(prefix) => {
                rest.extend_from_slice(&bytes);
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    session.out.write_all(prefix.as_bytes())?;
                    session.out.write_all(&rest.split_to(end + 1))?;
                }
            }
        }
        session.out.flush()?;
    }
    if let (Some(prefix), false) = (prefix, rest.is_empty()) {
        session.out.write_all(prefix.as_bytes())?;
        session.out.write_all(&rest)?;
        writeln!(session.out)?;
    }
    Ok(())
}
