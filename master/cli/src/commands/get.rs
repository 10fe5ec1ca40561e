//! `get`: objects as rows, or whole.

use serde_json::Value;

use crate::age::age_of;
use crate::client::{JSON, Path, TABLE};
use crate::clock;
use crate::command::GetArgs;
use crate::discovery::Resource;
use crate::error::CliError;
use crate::object::{items, name, namespace, number, pairs, plain, text};
use crate::output::{Format, hide_managed_fields, joined, json, yaml};
use crate::selection;
use crate::session::{Scope, Session};
use crate::table::{TableWriter, cell};

/// Most objects of one answer; the rest is asked for again, so that neither side holds all.
const PAGE: &str = "500";

/// Shows what the arguments select.
pub(super) async fn run(args: &GetArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let selections = selection::parse(&args.what)?;
    let discovery = session.discover().await?;
    let mut wanted = Vec::new();
    for selection in &selections {
        for resource in discovery.find(&selection.resource)? {
            wanted.push((resource, selection.names.as_slice()));
        }
    }
    if args.all_namespaces && wanted.iter().any(|(_, names)| !names.is_empty()) {
        return Err(CliError::Usage(
            "a resource cannot be retrieved by name across all namespaces".to_owned(),
        ));
    }
    if args.watch || args.watch_only {
        let [(resource, names)] = wanted.as_slice() else {
            return Err(CliError::Usage("you may only watch a single resource type".to_owned()));
        };
        return watch(args, resource, names, session).await;
    }
    match args.output {
        None | Some(Format::Wide) => show_rows(args, &wanted, session).await,
        Some(format @ (Format::Yaml | Format::Json | Format::Name)) => {
            show_objects(args, &wanted, format, session).await
        }
    }
}

/// Answers to all requests of one resource, and the first error.
async fn fetch(
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    accept: &str,
    session: &mut Session<'_>,
) -> Result<(Vec<Value>, Option<CliError>), CliError> {
    let mut answers = Vec::new();
    let mut failed = None;
    for name in names {
        match session.client.get(&session.object_path(resource, name), accept).await {
            Ok(answer) => answers.push(answer),
            Err(error) if error.not_found() && args.ignore_not_found => {}
            Err(error @ CliError::Server { .. }) => match failed {
                None => failed = Some(error),
                // Only one error can be returned, but none may be lost.
                Some(_) => writeln!(session.err, "{error}")?,
            },
            Err(error) => return Err(error),
        }
    }
    if names.is_empty() {
        let collection = selected(args, resource, session).with("limit", PAGE);
        let mut next = Some(collection.clone());
        while let Some(path) = next.take() {
            let answer = session.client.get(&path, accept).await?;
            let more = text(&answer, "/metadata/continue");
            if !more.is_empty() {
                next = Some(collection.clone().with("continue", more));
            }
            answers.push(answer);
        }
    }
    Ok((answers, failed))
}

fn selected(args: &GetArgs, resource: &Resource, session: &Session<'_>) -> Path {
    resource
        .collection(&session.scope(args.all_namespaces))
        .with_some("labelSelector", args.selectors.selector.as_deref())
        .with_some("fieldSelector", args.selectors.field_selector.as_deref())
}

async fn show_objects(
    args: &GetArgs,
    wanted: &[(&Resource, &[String])],
    format: Format,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut objects = Vec::new();
    let mut failed = None;
    for (resource, names) in wanted {
        let (answers, error) = fetch(args, resource, names, JSON, session).await?;
        failed = failed.or(error);
        for answer in answers {
            for mut object in taken_apart(answer, resource) {
                if !args.show_managed_fields {
                    hide_managed_fields(&mut object);
                }
                if format == Format::Name {
                    writeln!(session.out, "{}", resource.reference(name(&object)))?;
                }
                objects.push(object);
            }
        }
    }
    let single = matches!(wanted, [(_, [_])]);
    // A single object that does not exist, and need not, is nothing; not an empty list.
    if !(single && objects.is_empty()) {
        let objects = joined(objects, !single);
        match format {
            Format::Yaml => yaml(&objects, session.out)?,
            Format::Json => json(&objects, session.out)?,
            Format::Name | Format::Wide => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The objects of an answer. Those of a list do not say what they are, so they are told.
fn taken_apart(mut answer: Value, resource: &Resource) -> Vec<Value> {
    let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else {
        return vec![answer];
    };
    let api_version = match resource.group.as_str() {
        "" => resource.version.clone(),
        group => format!("{group}/{}", resource.version),
    };
    let complete = |mut item: Value| {
        if let Some(fields) = item.as_object_mut() {
            fields.insert("apiVersion".to_owned(), api_version.clone().into());
            fields.insert("kind".to_owned(), resource.kind.clone().into());
        }
        item
    };
    items.into_iter().map(complete).collect()
}

async fn show_rows(
    args: &GetArgs,
    wanted: &[(&Resource, &[String])],
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut failed = None;
    let mut shown = false;
    let mut in_namespace = false;
    for (resource, names) in wanted {
        let (answers, error) = fetch(args, resource, names, TABLE, session).await?;
        failed = failed.or(error);
        in_namespace |= resource.namespaced;
        let mut columns = Columns::new(args, resource, wanted.len() > 1);
        let mut rows = Vec::new();
        for (page, answer) in answers.iter().enumerate() {
            let table = columns.rows(answer);
            rows.extend(table.into_iter().skip(usize::from(page > 0)));
        }
        if rows.len() < 2 {
            continue;
        }
        if shown {
            writeln!(session.out)?;
        }
        shown = true;
        if args.no_headers {
            rows.remove(0);
        }
        TableWriter::default().write(&rows, session.out)?;
    }
    let asked_by_name = wanted.iter().any(|(_, names)| !names.is_empty());
    if !shown && !asked_by_name && !args.ignore_not_found {
        match session.scope(args.all_namespaces) {
            Scope::Namespace(namespace) if in_namespace => {
                writeln!(session.err, "No resources found in {namespace} namespace.")?;
            }
            Scope::Namespace(_) | Scope::All => writeln!(session.err, "No resources found")?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Which columns are shown.
struct Columns<'a> {
    args: &'a GetArgs,
    resource: &'a Resource,
    with_type: bool,
    with_namespace: bool,
    /// Headings of the server's columns, and whether each is shown. A watch tells them only once.
    known: Vec<(String, bool)>,
}

impl<'a> Columns<'a> {
    fn new(args: &'a GetArgs, resource: &'a Resource, several: bool) -> Self {
        Self {
            args,
            resource,
            with_type: several || args.show_kind,
            with_namespace: args.all_namespaces && resource.namespaced,
            known: Vec::new(),
        }
    }

    /// Rows of a table that the server made, the headings first.
    fn rows(&mut self, answer: &Value) -> Vec<Vec<String>> {
        if text(answer, "/kind") != "Table" {
            return self.plain_rows(answer);
        }
        let definitions = items(answer, "/columnDefinitions");
        if !definitions.is_empty() {
            let wide = self.args.output == Some(Format::Wide);
            let known = |column: &Value| {
                (text(column, "/name").to_uppercase(), wide || number(column, "/priority") == 0)
            };
            self.known = definitions.iter().map(known).collect();
        }
        let shown = self.known.iter().filter(|(_, shown)| *shown);
        let mut rows = vec![self.headings(shown.map(|(name, _)| name.clone()).collect())];
        for row in items(answer, "/rows") {
            let cells = items(row, "/cells").iter().zip(&self.known);
            let cells = cells.filter(|(_, (_, shown))| *shown).map(|(value, _)| {
                if value.is_null() { "<none>".to_owned() } else { cell(&plain(value)) }
            });
            let nothing = Value::Null;
            rows.push(self.row(cells.collect(), row.get("object").unwrap_or(&nothing)));
        }
        rows
    }

    /// For a server that makes no tables of this resource.
    fn plain_rows(&self, answer: &Value) -> Vec<Vec<String>> {
        let now = clock::unix_seconds();
        let mut rows = vec![self.headings(vec!["NAME".to_owned(), "AGE".to_owned()])];
        for object in taken_apart(answer.clone(), self.resource) {
            let age = age_of(text(&object, "/metadata/creationTimestamp"), now);
            rows.push(self.row(vec![name(&object).to_owned(), age], &object));
        }
        rows
    }

    fn headings(&self, mut cells: Vec<String>) -> Vec<String> {
        if self.with_namespace {
            cells.insert(0, "NAMESPACE".to_owned());
        }
        for label in &self.args.label_columns {
            // As kubectl does: `board.example/type` becomes TYPE.
            let short = label.rsplit('/').next().unwrap_or(label);
            cells.push(short.to_uppercase());
        }
        if self.args.show_labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(&self, mut cells: Vec<String>, object: &Value) -> Vec<String> {
        if self.with_type
            && let Some(first) = cells.first_mut()
        {
            *first = self.resource.reference(first);
        }
        if self.with_namespace {
            cells.insert(0, namespace(object).to_owned());
        }
        let labels = pairs(object, "/metadata/labels");
        for label in &self.args.label_columns {
            cells.push(labels.get(label).cloned().unwrap_or_default());
        }
        if self.args.show_labels {
            let all: Vec<_> =
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            cells.push(if all.is_empty() { "<none>".to_owned() } else { all.join(",") });
        }
        cells
    }
}

/// Shows what is there, then every change, until the user has seen enough.
async fn watch(
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut path = selected(args, resource, session);
    match names {
        [] => {}
        [name] => path = path.with("fieldSelector", &format!("metadata.name={name}")),
        _ => {
            return Err(CliError::Usage("you may only watch one name, or all".to_owned()));
        }
    }
    let objects = matches!(args.output, Some(Format::Yaml | Format::Json | Format::Name));
    let accept = if objects { JSON } else { TABLE };
    let mut view = WatchView {
        args,
        resource,
        columns: Columns::new(args, resource, false),
        table: TableWriter::default(),
        headings_shown: args.no_headers,
        first: true,
    };
    let mut silent = args.watch_only;
    loop {
        let list = session.client.get(&path, accept).await?;
        if !silent {
            view.show(&list, session)?;
        }
        // After the watch has fallen behind, the list shows everything once more, as kubectl does.
        silent = false;
        let mut revision = text(&list, "/metadata/resourceVersion").to_owned();
        while follow(&path, accept, &mut revision, &mut view, session).await? {}
    }
}

/// Shows one stream of changes; false if the past that it needs is gone.
async fn follow(
    path: &Path,
    accept: &str,
    revision: &mut String,
    view: &mut WatchView<'_>,
    session: &mut Session<'_>,
) -> Result<bool, CliError> {
    let path = path.clone().with("watch", "true").with("resourceVersion", revision);
    let mut stream = match session.client.stream(&path, accept).await {
        Ok(stream) => stream,
        Err(error) if error.code() == Some(410) => return Ok(false),
        Err(error) => return Err(error),
    };
    while let Some(event) = stream.next_json().await? {
        let object = event.get("object").unwrap_or(&Value::Null);
        if text(&event, "/type") == "ERROR" {
            if number(object, "/code") == 410 {
                return Ok(false);
            }
            return Err(CliError::Server {
                code: u16::try_from(number(object, "/code")).unwrap_or(500),
                reason: text(object, "/reason").to_owned(),
                message: text(object, "/message").to_owned(),
            });
        }
        let rows = items(object, "/rows").iter().map(|row| row.pointer("/object"));
        let of_rows = rows.flatten().last().unwrap_or(object);
        let seen = text(of_rows, "/metadata/resourceVersion");
        if !seen.is_empty() {
            seen.clone_into(revision);
        }
        if text(&event, "/type") != "BOOKMARK" {
            view.show(object, session)?;
        }
    }
    // Servers end every watch after a while; it goes on from where it was.
    Ok(true)
}

struct WatchView<'a> {
    args: &'a GetArgs,
    resource: &'a Resource,
    columns: Columns<'a>,
    table: TableWriter,
    headings_shown: bool,
    first: bool,
}

impl WatchView<'_> {
    fn show(&mut self, answer: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
        match self.args.output {
            None | Some(Format::Wide) => {
                let mut rows = self.columns.rows(answer);
                // Headings come with the first row, so that an empty list shows nothing yet.
                if self.headings_shown || rows.len() < 2 {
                    rows.remove(0);
                } else {
                    self.headings_shown = true;
                }
                self.table.write(&rows, session.out)?;
            }
            Some(format @ (Format::Yaml | Format::Json | Format::Name)) => {
                for mut object in taken_apart(answer.clone(), self.resource) {
                    if !self.args.show_managed_fields {
                        hide_managed_fields(&mut object);
                    }
                    match format {
                        Format::Json => json(&object, session.out)?,
                        Format::Name => {
                            writeln!(session.out, "{}", self.resource.reference(name(&object)))?;
                        }
                        Format::Yaml | Format::Wide => {
                            if !self.first {
                                writeln!(session.out, "---")?;
                            }
                            yaml(&object, session.out)?;
                        }
                    }
                    self.first = false;
                }
            }
        }
        // Someone looks on: nothing may wait in a buffer.
        Ok(session.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::discovery::tests::discovery;

    fn table() -> Value {
        json!({
            "kind": "Table",
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Status", "priority": 0},
                {"name": "Node", "priority": 1},
            ],
            "rows": [{
                "cells": ["web", "Running", null],
                "object": {"metadata": {"name": "web", "namespace": "shop",
                                        "labels": {"app": "web", "x/tier": "front"}}},
            }],
        })
    }

    fn check(args: GetArgs, several: bool, wanted: &[&[&str]]) {
        let discovery = discovery();
        let resource = discovery.find("deploy").unwrap()[0];
        assert_eq!(Columns::new(&args, resource, several).rows(&table()), wanted);
    }

    #[test]
    fn columns_follow_the_flags() {
        check(GetArgs::default(), false, &[&["NAME", "STATUS"], &["web", "Running"]]);
        check(
            GetArgs { output: Some(Format::Wide), ..GetArgs::default() },
            false,
            &[&["NAME", "STATUS", "NODE"], &["web", "Running", "<none>"]],
        );
        check(
            GetArgs { all_namespaces: true, show_labels: true, ..GetArgs::default() },
            true,
            &[
                &["NAMESPACE", "NAME", "STATUS", "LABELS"],
                &["shop", "deployment.apps/web", "Running", "app=web,x/tier=front"],
            ],
        );
        check(
            GetArgs { label_columns: vec!["x/tier".into(), "no".into()], ..GetArgs::default() },
            false,
            &[&["NAME", "STATUS", "TIER", "NO"], &["web", "Running", "front", ""]],
        );
    }

    #[test]
    fn columns_of_a_watch_are_remembered() {
        let discovery = discovery();
        let args = GetArgs::default();
        let mut columns = Columns::new(&args, discovery.find("deploy").unwrap()[0], false);
        columns.rows(&table());
        let mut later = table();
        later["columnDefinitions"] = Value::Null;
        assert_eq!(columns.rows(&later)[1], ["web", "Running"]);
    }

    #[test]
    fn items_of_a_list_are_told_what_they_are() {
        let discovery = discovery();
        let resource = discovery.find("deploy").unwrap()[0];
        let list = json!({"kind": "DeploymentList", "items": [{"metadata": {"name": "web"}}]});
        let objects = taken_apart(list, resource);
        assert_eq!(
            objects,
            [json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}})]
        );
    }
}
