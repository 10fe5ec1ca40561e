//! Which kernel modules there are, what they are for and what they need.

use std::collections::BTreeMap;

use crate::pattern;

/// The indexes beside the modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModuleIndex {
    /// Patterns by what is before their first colon, the name of a bus.
    aliases: BTreeMap<String, Vec<(String, String)>>,
    dependencies: BTreeMap<String, Vec<String>>,
}

impl ModuleIndex {
    /// Reads `modules.alias` (lines `PATTERN NAME`) and `modules.dep` (lines `NAME: DEP DEP`, in
    /// the order in which they are loaded). Lines of another form are skipped.
    pub(crate) fn parse(aliases: &str, dependencies: &str) -> Self {
        let mut index = Self::default();
        for line in aliases.lines() {
            let mut words = line.split_whitespace().filter(|&word| word != "alias");
            if let (Some(pattern), Some(name), None) = (words.next(), words.next(), words.next()) {
                let entry = (pattern.to_owned(), name.to_owned());
                index.aliases.entry(bus(pattern).to_owned()).or_default().push(entry);
            }
        }
        for line in dependencies.lines() {
            if let Some((name, needed)) = line.split_once(':') {
                let needed = needed.split_whitespace().map(str::to_owned).collect();
                index.dependencies.insert(name.trim().to_owned(), needed);
            }
        }
        index
    }

    /// Modules for a device, by its `modalias`.
    pub(crate) fn for_device(&self, modalias: &str) -> Vec<&str> {
        let fits = |pattern: &str| pattern::matches(pattern.as_bytes(), modalias.as_bytes());
        let candidates = self.aliases.get(bus(modalias)).into_iter().flatten();
        candidates.filter(|(pattern, _)| fits(pattern)).map(|(_, name)| name.as_str()).collect()
    }

    /// What must be loaded for a module, in order, itself last.
    pub(crate) fn load_order<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let needed = self.dependencies.get(name).into_iter().flatten().map(String::as_str);
        needed.chain([name]).collect()
    }
}

fn bus(alias: &str) -> &str {
    alias.split_once(':').map_or("", |(bus, _)| bus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_finds_its_modules_and_what_they_need() {
        let index = ModuleIndex::parse(
            "virtio:d00000001v* virtio_net\nusb:v0424p7800d* lan78xx\nalias pci:v* e1000\n\
             broken\n",
            "virtio_net: failover net_failover\nlan78xx:\n",
        );
        assert_eq!(index.for_device("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(index.for_device("pci:v1"), ["e1000"]);
        assert!(index.for_device("virtio:d00000002v00001AF4").is_empty());
        assert!(index.for_device("nothing").is_empty());
        assert_eq!(index.load_order("virtio_net"), ["failover", "net_failover", "virtio_net"]);
        assert_eq!(index.load_order("unknown"), ["unknown"]);
    }
}
