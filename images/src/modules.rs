//! Kernel modules: what each one needs, in the order in which they must be loaded, and for which
//! devices it is. Pure: works on the text of `depmod`'s files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};

/// What a kernel says of its modules. Names have underscores.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// By name: what must be loaded before, last first.
    dependencies: BTreeMap<String, Vec<String>>,
    /// By name: what should be loaded before if the kernel has it; names or aliases.
    wishes: BTreeMap<String, Vec<String>>,
    /// Pairs of a pattern and a name.
    aliases: Vec<(String, String)>,
    built_in: BTreeSet<String>,
}

impl Modules {
    /// Reads `modules.dep`, `modules.softdep`, `modules.alias` and `modules.builtin`.
    #[must_use]
    pub fn parse(dep: &str, softdep: &str, alias: &str, builtin: &str) -> Self {
        let dependencies = dep.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            Some((module_name(path), needs.split_whitespace().map(module_name).collect()))
        });
        let mut wishes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(name), Some("pre:")) =
                (words.next(), words.next(), words.next())
            {
                let before = words.take_while(|word| *word != "post:").map(str::to_owned);
                wishes.entry(module_name(name)).or_default().extend(before);
            }
        }
        let aliases = alias.lines().filter_map(|line| {
            let (pattern, name) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
            Some((pattern.to_owned(), name.to_owned()))
        });
        Self {
            dependencies: dependencies.collect(),
            wishes,
            aliases: aliases.collect(),
            built_in: builtin.lines().map(module_name).collect(),
        }
    }

    /// Modules with all that they need, in load order and each once. What is built into the kernel
    /// is left out.
    ///
    /// # Errors
    /// The kernel lacks a module.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<String>> {
        let mut order = Vec::new();
        for name in wanted {
            if self.dependencies.contains_key(*name) {
                self.add(name, &mut order);
            } else if !self.built_in.contains(*name) {
                return Err(anyhow::anyhow!("the kernel has no module `{name}`"));
            }
        }
        Ok(order)
    }

    /// What must be loaded before a module, in load order, itself left out.
    #[must_use]
    pub fn before(&self, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.add(name, &mut order);
        order.retain(|module| module != name);
        order
    }

    /// Lines `PATTERN NAME` of these modules, in the kernel's order.
    #[must_use]
    pub fn alias_lines(&self, names: &[String]) -> String {
        let mut lines = String::new();
        for (pattern, name) in &self.aliases {
            if names.contains(name) {
                let _ = writeln!(lines, "{pattern} {name}");
            }
        }
        lines
    }

    fn add(&self, name: &str, order: &mut Vec<String>) {
        if order.iter().any(|known| known == name) {
            return;
        }
        let needs = self.dependencies.get(name).into_iter().flatten().rev();
        let wishes = self.wishes.get(name).into_iter().flatten();
        for before in needs.chain(wishes.filter_map(|wish| self.with_name_or_alias(wish))) {
            self.add(before, order);
        }
        order.push(name.to_owned());
    }

    /// The module of a soft dependency, which may be an alias; none if it is built in.
    fn with_name_or_alias(&self, word: &str) -> Option<&String> {
        let name = word.replace('-', "_");
        if let Some((name, _)) = self.dependencies.get_key_value(&name) {
            return Some(name);
        }
        let (_, name) = self.aliases.iter().find(|(pattern, _)| pattern == word)?;
        Some(name)
    }
}

/// Name of a module from its path: `kernel/net/veth.ko.xz` is `veth`. The kernel does not tell
/// hyphens from underscores.
#[must_use]
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Lines `NAME: DEP DEP` of modules, with what must be loaded before in load order.
#[must_use]
pub fn dependency_lines(modules: &Modules, names: &[String]) -> String {
    let mut lines = String::new();
    for name in names {
        let before = modules.before(name);
        let space = if before.is_empty() { "" } else { " " };
        let _ = writeln!(lines, "{name}:{space}{}", before.join(" "));
    }
    lines
}

/// The text of files that the kernel's own helper `modprobe` (busybox has it) reads in a folder
/// below the modules: `modules.dep` and `modules.alias`.
///
/// # Errors
/// A line of `dependencies` has no name.
pub fn modprobe_files(dependencies: &str, aliases: &str) -> Result<[(&'static str, String); 2]> {
    let (mut dep, mut alias) = (String::new(), String::new());
    for line in dependencies.lines() {
        let (name, before) = line.split_once(':').context("a line has no module")?;
        let _ = write!(dep, "../{name}.ko:");
        // modprobe wants last what is loaded first.
        for module in before.split_whitespace().rev() {
            let _ = write!(dep, " ../{module}.ko");
        }
        dep.push('\n');
    }
    for line in aliases.lines() {
        let _ = writeln!(alias, "alias {line}");
    }
    Ok([("modules.dep", dep), ("modules.alias", alias)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/a.ko.xz: kernel/b-x.ko.xz kernel/c.ko.xz\n\
        kernel/b-x.ko.xz: kernel/c.ko.xz\nkernel/c.ko.xz:\nkernel/sum_generic.ko:\n";
    const SOFTDEP: &str = "softdep c pre: crypto-sum nothing post: a\n";
    const ALIAS: &str =
        "# comment\nalias crypto-sum sum_generic\nalias usb:v1* a\nalias of:N*T*Cx b_x\n";

    fn modules() -> Modules {
        Modules::parse(DEP, SOFTDEP, ALIAS, "kernel/built-in.ko\n")
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let order = modules().closure(&["b_x", "built_in", "a"]).unwrap();
        assert_eq!(order, ["sum_generic", "c", "b_x", "a"]);
        assert_eq!(modules().before("c"), ["sum_generic"]);
    }

    #[test]
    fn unknown_module_is_an_error_with_its_name() {
        let error = modules().closure(&["zzz"]).unwrap_err();
        assert!(error.to_string().contains("zzz"));
    }

    #[test]
    fn files_name_only_what_is_there() {
        let modules = modules();
        let names = modules.closure(&["b_x"]).unwrap();
        let lines = dependency_lines(&modules, &names);
        assert_eq!(lines, "sum_generic:\nc: sum_generic\nb_x: sum_generic c\n");
        let aliases = modules.alias_lines(&names);
        assert_eq!(aliases, "crypto-sum sum_generic\nof:N*T*Cx b_x\n");
        let [(_, dep), (_, alias)] = modprobe_files(&lines, &aliases).unwrap();
        assert!(dep.ends_with("../b_x.ko: ../c.ko ../sum_generic.ko\n"), "{dep}");
        assert!(alias.starts_with("alias crypto-sum sum_generic\n"), "{alias}");
    }
}
