//! Upstream's end-to-end tests against a bramble: what they need, and what they said.
//!
//! The suite is a program of upstream's, `e2e.test`. It reports as JSON of Ginkgo, a list of
//! suites with their `SpecReports`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::state::text;

/// Registries that the suite knows by these names are all this cluster's one.
const REGISTRIES: [(&str, &str); 7] = [
    ("promoterE2eRegistry", "/e2e-test-images"),
    ("gcRegistry", ""),
    ("gcEtcdRegistry", ""),
    ("buildImageRegistry", "/build-image"),
    ("sigStorageRegistry", "/sig-storage"),
    ("dockerLibraryRegistry", "/library"),
    ("cloudProviderGcpRegistry", "/cloud-provider-gcp"),
];

/// What became of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Special interest group and subject: `apps StatefulSet`.
    pub group: String,
    /// The rest of its name.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
    /// First lines of what it missed.
    pub reason: String,
}

/// Text of a `KUBE_TEST_REPO_LIST` that takes all images from `registry`.
#[must_use]
pub fn registries(registry: &str) -> String {
    REGISTRIES.iter().map(|(name, folder)| format!("{name}: {registry}{folder}\n")).collect()
}

/// Image layouts beneath a folder: their folders, and the names by which they are pulled. The last
/// part of the path is the tag: `e2e-test-images/agnhost/2.63.0`.
///
/// # Errors
/// A folder cannot be read.
pub fn image_layouts(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), Vec::<String>::new())];
    while let Some((path, parts)) = open.pop() {
        if path.join("oci-layout").is_file() {
            if let Some((tag, name)) = parts.split_last() {
                found.push((path, format!("{}:{tag}", name.join("/"))));
            }
            continue;
        }
        let entries =
            fs::read_dir(&path).with_context(|| format!("could not read `{}`", path.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.path().is_dir() {
                let name = entry.file_name().to_string_lossy().into_owned();
                open.push((entry.path(), [&parts[..], &[name]].concat()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a report of Ginkgo's; tests that were not chosen are left out.
///
/// # Errors
/// It is not JSON.
pub fn verdicts(report: &str) -> Result<Vec<Verdict>> {
    let report: Value = serde_json::from_str(report).context("the report is not JSON")?;
    let suites = report.as_array().into_iter().flatten();
    Ok(suites
        .filter_map(|suite| suite["SpecReports"].as_array())
        .flatten()
        // `It`; the others make the suite ready.
        .filter(|spec| spec["LeafNodeType"] == "It")
        .filter_map(verdict)
        .collect())
}

fn verdict(spec: &Value) -> Option<Verdict> {
    let state = spec["State"].as_str()?;
    if matches!(state, "skipped" | "pending") {
        return None;
    }
    let containers = spec["ContainerHierarchyTexts"].as_array()?;
    let mut words = containers.iter().filter_map(Value::as_str);
    let first = words.next().unwrap_or_default();
    let group = first.trim_start_matches("[sig-").replacen(']', "", 1);
    let group = group.split(" [").next().unwrap_or(&group).trim().to_owned();
    let leaf = spec["LeafNodeText"].as_str().unwrap_or_default();
    let name = words.chain([leaf]).collect::<Vec<_>>().join(" ");
    let message = text(spec, "/Failure/Message");
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    Some(Verdict {
        group,
        name,
        passed: state == "passed",
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of minutes")]
        seconds: spec["RunTime"].as_u64().unwrap_or_default() as f64 / 1e9,
        reason: lines.iter().take(REASON_LINES).copied().collect::<Vec<_>>().join(" | "),
    })
}

/// A table by group, and what failed below it.
#[must_use]
pub fn table(verdicts: &[Verdict]) -> String {
    let mut groups = BTreeMap::<&str, (usize, usize, f64)>::new();
    for verdict in verdicts {
        let (passed, all, seconds) = groups.entry(&verdict.group).or_default();
        *passed += usize::from(verdict.passed);
        *all += 1;
        *seconds += verdict.seconds;
    }
    let mut text = String::from("| group | passed | of | seconds |\n|---|---|---|---|\n");
    for (group, (passed, all, seconds)) in &groups {
        text += &format!("| {group} | {passed} | {all} | {seconds:.0} |\n");
    }
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    text += &format!("| all | {passed} | {} | |\n", verdicts.len());
    for verdict in verdicts.iter().filter(|verdict| !verdict.passed) {
        text +=
            &format!("\nFAILED {} {}\n       {}\n", verdict.group, verdict.name, verdict.reason);
    }
    text
}

const REASON_LINES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"[{"SpecReports":[
        {"LeafNodeType":"SynchronizedBeforeSuite","State":"passed","ContainerHierarchyTexts":null},
        {"LeafNodeType":"It","State":"passed","RunTime":1500000000,"LeafNodeText":"adopts pods",
         "ContainerHierarchyTexts":["[sig-apps] ReplicaSet [Slow]","in a namespace"]},
        {"LeafNodeType":"It","State":"failed","RunTime":500000000,"LeafNodeText":"scales",
         "ContainerHierarchyTexts":["[sig-apps] ReplicaSet"],
         "Failure":{"Message":"timed out\n\n  after 60 s"}},
        {"LeafNodeType":"It","State":"skipped","LeafNodeText":"x","ContainerHierarchyTexts":["y"]}]}]"#;

    #[test]
    fn a_report_becomes_a_table_by_group() {
        let verdicts = verdicts(REPORT).unwrap();
        assert_eq!(verdicts.len(), 2);
        assert_eq!(verdicts[0].name, "in a namespace adopts pods");
        let table = table(&verdicts);
        assert!(table.contains("| apps ReplicaSet | 1 | 2 | 2 |"), "{table}");
        assert!(table.contains("FAILED apps ReplicaSet scales\n       timed out | after 60 s"));
    }

    #[test]
    fn a_report_that_is_none_is_refused() {
        assert!(verdicts("Ran 3 of 5 Specs").is_err());
        assert_eq!(verdicts("{}").unwrap(), []);
    }
}
