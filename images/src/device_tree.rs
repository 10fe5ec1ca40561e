//! Device trees as boards read them ("flattened"), and overlays: what the Pi's firmware puts over a
//! tree before the kernel sees it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u32 = 0xd00d_feed;
/// Version of the format, and the oldest one that its readers may know.
const VERSION: u32 = 17;
const COMPATIBLE_VERSION: u32 = 16;

/// Where a tree's head says where its nodes begin and where the names of its properties do.
const NODES_AT: usize = 8;
const NAMES_AT: usize = 12;
/// Length of the head, and of the list of reserved memory behind it while that is empty.
const HEAD_LEN: usize = 40;
const RESERVED_LEN: usize = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;
const END: u32 = 9;

/// The property by which other nodes name a node.
const HANDLE: &str = "phandle";

/// A device tree: nodes by path, the root's being empty, with values of properties by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTree {
    nodes: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl DeviceTree {
    /// Reads a tree.
    ///
    /// # Errors
    /// It is none, or it is cut off.
    pub fn parse(blob: &[u8]) -> Result<Self> {
        ensure!(word(blob, 0)? == MAGIC, "not a device tree");
        let names = usize::try_from(word(blob, NAMES_AT)?)?;
        let mut at = usize::try_from(word(blob, NODES_AT)?)?;
        let mut tree = Self::default();
        let mut path: Vec<&str> = Vec::new();
        loop {
            let token = word(blob, at)?;
            at += 4;
            match token {
                BEGIN_NODE => {
                    let name = text(blob, at)?;
                    at = (at + name.len() + 1).next_multiple_of(4);
                    path.push(name);
                    tree.nodes.entry(path.join("/")).or_default();
                }
                END_NODE => drop(path.pop().context("a node ends that has not begun")?),
                PROPERTY => {
                    let len = usize::try_from(word(blob, at)?)?;
                    let name = names + usize::try_from(word(blob, at + 4)?)?;
                    let value = blob.get(at + 8..at + 8 + len).context("a property is cut off")?;
                    at = (at + 8 + len).next_multiple_of(4);
                    let node = tree.nodes.entry(path.join("/")).or_default();
                    node.insert(text(blob, name)?.to_owned(), value.to_vec());
                }
                NOTHING => {}
                END => return Ok(tree),
                other => bail!("a device tree has no token {other}"),
            }
        }
    }

    /// The overlay that makes another tree of this one.
    ///
    /// # Errors
    /// There is none: an overlay can add and change properties, but neither take something away nor
    /// change by what handles nodes name each other.
    pub fn overlay_to(&self, other: &Self) -> Result<Vec<u8>> {
        let mut blob = Blob::default();
        blob.begin("");
        for path in self.nodes.keys() {
            ensure!(other.nodes.contains_key(path), "an overlay cannot remove `{path}`");
        }
        let mut number = 0;
        for (path, new) in &other.nodes {
            let old = self.nodes.get(path).with_context(|| format!("`{path}` is new"))?;
            for name in old.keys() {
                ensure!(new.contains_key(name), "an overlay cannot remove `{name}` of `{path}`");
            }
            let changed: Vec<_> =
                new.iter().filter(|(name, value)| old.get(*name) != Some(*value)).collect();
            if changed.is_empty() {
                continue;
            }
            let path = if path.is_empty() { "/" } else { path };
            blob.begin(&format!("fragment@{number}"));
            blob.property("target-path", &[path.as_bytes(), b"\0"].concat())?;
            blob.begin("__overlay__");
            for (name, value) in changed {
                ensure!(name != HANDLE, "`{path}` has another handle");
                blob.property(name, value)?;
            }
            blob.end();
            blob.end();
            number += 1;
        }
        blob.end();
        blob.finish()
    }
}

/// A tree that is being written.
#[derive(Debug, Default)]
struct Blob {
    nodes: Vec<u8>,
    names: Vec<u8>,
}

impl Blob {
    fn begin(&mut self, name: &str) {
        self.token(BEGIN_NODE);
        self.nodes.extend_from_slice(name.as_bytes());
        self.nodes.push(0);
        self.align();
    }

    fn end(&mut self) {
        self.token(END_NODE);
    }

    fn property(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.token(PROPERTY);
        self.token(u32::try_from(value.len())?);
        self.token(u32::try_from(self.names.len())?);
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        self.nodes.extend_from_slice(value);
        self.align();
        Ok(())
    }

    fn token(&mut self, token: u32) {
        self.nodes.extend_from_slice(&token.to_be_bytes());
    }

    fn align(&mut self) {
        self.nodes.resize(self.nodes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.token(END);
        let nodes_at = HEAD_LEN + RESERVED_LEN;
        let names_at = nodes_at + self.nodes.len();
        let processor = 0;
        let head = [
            MAGIC,
            u32::try_from(names_at + self.names.len())?,
            u32::try_from(nodes_at)?,
            u32::try_from(names_at)?,
            u32::try_from(HEAD_LEN)?,
            VERSION,
            COMPATIBLE_VERSION,
            processor,
            u32::try_from(self.names.len())?,
            u32::try_from(self.nodes.len())?,
        ];
        let mut blob: Vec<u8> = head.into_iter().flat_map(u32::to_be_bytes).collect();
        blob.resize(nodes_at, 0);
        blob.append(&mut self.nodes);
        blob.append(&mut self.names);
        Ok(blob)
    }
}

fn word(blob: &[u8], at: usize) -> Result<u32> {
    let bytes = blob.get(at..).and_then(<[u8]>::first_chunk);
    Ok(u32::from_be_bytes(*bytes.context("a device tree is cut off")?))
}

fn text(blob: &[u8], at: usize) -> Result<&str> {
    let mut parts = blob.get(at..).unwrap_or_default().splitn(2, |byte| *byte == 0);
    let (Some(text), Some(_)) = (parts.next(), parts.next()) else {
        bail!("a name in a device tree is cut off");
    };
    std::str::from_utf8(text).context("a name in a device tree is no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Node<'a> = (&'a str, &'a [(&'a str, &'a [u8])]);

    fn tree(nodes: &[Node<'_>]) -> DeviceTree {
        let node = |properties: &[(&str, &[u8])]| {
            properties.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
        };
        let nodes = nodes.iter().map(|(path, it)| ((*path).to_owned(), node(it))).collect();
        DeviceTree { nodes }
    }

    #[test]
    fn overlay_has_what_differs_and_nothing_else() {
        let old =
            tree(&[("", &[("model", b"a\0")]), ("/soc", &[]), ("/soc/pins", &[("reg", b"1")])]);
        let new = tree(&[
            ("", &[("model", b"a\0")]),
            ("/soc", &[("ranges", b"")]),
            ("/soc/pins", &[("names", b"xyz"), ("reg", b"22")]),
        ]);
        let overlay = DeviceTree::parse(&old.overlay_to(&new).unwrap()).unwrap();
        let expected = tree(&[
            ("", &[]),
            ("/fragment@0", &[("target-path", b"/soc\0")]),
            ("/fragment@0/__overlay__", &[("ranges", b"")]),
            ("/fragment@1", &[("target-path", b"/soc/pins\0")]),
            ("/fragment@1/__overlay__", &[("names", b"xyz"), ("reg", b"22")]),
        ]);
        assert_eq!(overlay, expected);
    }

    #[test]
    fn what_no_overlay_can_do_is_refused() {
        let check = |old: &[Node<'_>], new: &[Node<'_>], word: &str| {
            let error = tree(old).overlay_to(&tree(new)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        check(&[("", &[("gone", b"1")])], &[("", &[])], "gone");
        check(&[("", &[]), ("/gone", &[])], &[("", &[])], "gone");
        check(&[("", &[])], &[("", &[]), ("/more", &[])], "more");
        check(&[("", &[(HANDLE, b"1")])], &[("", &[(HANDLE, b"2")])], "handle");
    }

    #[test]
    fn tree_that_is_cut_off_is_an_error() {
        let old = tree(&[("", &[])]);
        let blob = old.overlay_to(&tree(&[("", &[("model", b"abcd")])])).unwrap();
        assert!(DeviceTree::parse(&blob).is_ok());
        for len in 0..blob.len() {
            assert!(DeviceTree::parse(&blob[..len]).is_err(), "{len}");
        }
        assert!(DeviceTree::parse(b"kernel, not a tree").is_err());
    }
}
