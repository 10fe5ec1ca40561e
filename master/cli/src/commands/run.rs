//! `run`: one pod from an image.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::client::Path;
use crate::command::{DryRun, RunArgs};
use crate::error::CliError;
use crate::object::name;
use crate::output::{self, ObjectFormat, hide_managed_fields};
use crate::session::Session;

/// Creates the pod, or shows it.
pub(super) async fn run(
    args: &RunArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), CliError> {
    let mut pod = pod(args)?;
    // A manifest can be written without a cluster.
    if args.dry_run == DryRun::Client {
        return show(args, &pod, out);
    }
    let session = Session::new(&args.connection, out, err)?;
    let path = Path::new("/api/v1/namespaces").join(&session.namespace).join("pods");
    pod = session.client.post(&path.with_some("dryRun", args.dry_run.parameter()), &pod).await?;
    hide_managed_fields(&mut pod);
    show(args, &pod, session.out)
}

fn show(args: &RunArgs, pod: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    match args.output {
        Some(ObjectFormat::Yaml) => output::yaml(pod, out),
        Some(ObjectFormat::Json) => output::json(pod, out),
        Some(ObjectFormat::Name) => Ok(writeln!(out, "pod/{}", name(pod))?),
        None => Ok(writeln!(out, "pod/{} created{}", name(pod), args.dry_run.suffix())?),
    }
}

fn pod(args: &RunArgs) -> Result<Value, CliError> {
    let mut container = Map::new();
    let mut set = |field: &str, value: Value| {
        container.insert(field.to_owned(), value);
    };
    set("name", json!(args.name));
    set("image", json!(args.image));
    if let Some(policy) = &args.image_pull_policy {
        set("imagePullPolicy", json!(policy));
    }
    if let Some(port) = args.port {
        set("ports", json!([{"containerPort": port}]));
    }
    let env = args
        .env
        .iter()
        .map(|pair| {
            let (name, value) = name_and_value(pair)?;
            Ok(json!({"name": name, "value": value}))
        })
        .collect::<Result<Vec<_>, CliError>>()?;
    if !env.is_empty() {
        set("env", json!(env));
    }
    if !args.arguments.is_empty() {
        set(if args.command { "command" } else { "args" }, json!(args.arguments));
    } else if args.command {
        return Err(CliError::Usage("--command needs a command after `--`".to_owned()));
    }
    let mut labels = Map::new();
    for label in &args.labels {
        let (name, value) = name_and_value(label)?;
        labels.insert(name.to_owned(), json!(value));
    }
    if labels.is_empty() {
        labels.insert("run".to_owned(), json!(args.name));
    }
    let mut metadata = json!({"name": args.name, "labels": labels});
    if let (Some(namespace), Some(fields)) = (&args.connection.namespace, metadata.as_object_mut())
    {
        fields.insert("namespace".to_owned(), json!(namespace));
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": args.restart},
    }))
}

fn name_and_value(pair: &str) -> Result<(&str, &str), CliError> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        Some(_) | None => Err(CliError::Usage(format!("`{pair}` is not NAME=VALUE"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ConnectionArgs;

    fn args() -> RunArgs {
        RunArgs {
            name: "web".to_owned(),
            image: "nginx".to_owned(),
            port: None,
            env: vec![],
            labels: vec![],
            restart: "Always".to_owned(),
            image_pull_policy: None,
            command: false,
            dry_run: DryRun::Client,
            output: None,
            arguments: vec![],
            connection: ConnectionArgs::default(),
        }
    }

    #[test]
    fn flags_end_up_in_the_pod() {
        assert_eq!(
            pod(&args()).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web", "labels": {"run": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}], "restartPolicy": "Always"},
            })
        );
        let full = RunArgs {
            port: Some(80),
            env: vec!["A=1=2".to_owned()],
            labels: vec!["a=b".to_owned(), "c=".to_owned()],
            command: true,
            arguments: vec!["sh".to_owned(), "-c".to_owned()],
            ..args()
        };
        let pod = pod(&full).unwrap();
        assert_eq!(pod["metadata"]["labels"], json!({"a": "b", "c": ""}));
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "A", "value": "1=2"}]));
        assert_eq!(container["command"], json!(["sh", "-c"]));
        assert_eq!(container["ports"], json!([{"containerPort": 80}]));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(pod(&RunArgs { env: vec!["A".to_owned()], ..args() }).is_err());
        assert!(pod(&RunArgs { labels: vec!["=b".to_owned()], ..args() }).is_err());
        assert!(pod(&RunArgs { command: true, ..args() }).is_err());
    }
}
