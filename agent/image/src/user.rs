//! Finds the user and groups that an image's `USER` means.
//!
//! Reads `/etc/passwd` and `/etc/group` of the image as they are, beneath the container's root, and
//! nothing of the host. A number needs no entry; a name does.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// Whom a container's process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Groups of which `/etc/group` says that the user is a member, without the primary one.
    pub additional_gids: Vec<u32>,
    /// The name, if `/etc/passwd` has one.
    pub name: Option<String>,
    /// The home folder, if `/etc/passwd` has one.
    pub home: Option<String>,
}

/// Resolves `""`, `user`, `uid`, `user:group` or any mix of names and numbers.
///
/// # Errors
/// A name that the image does not have, a number out of range, or files that cannot be read.
pub fn resolve_user(rootfs: &Path, user: &str) -> Result<ResolvedUser, ResolveUserError> {
    let passwd = read_beneath(rootfs, "etc/passwd")?;
    let group = read_beneath(rootfs, "etc/group")?;
    resolve(&passwd, &group, user)
}

fn resolve(passwd: &str, group: &str, user: &str) -> Result<ResolvedUser, ResolveUserError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = parse_id(user)?;
    let entry = passwd.lines().filter_map(PasswdEntry::parse).find(|entry| match number {
        Some(uid) => entry.uid == uid,
        None => entry.name == user,
    });
    let uid = match (&entry, number) {
        (Some(entry), _) => in_range(entry.uid)?,
        (None, Some(uid)) => uid,
        (None, None) => return Err(ResolveUserError::NoUser { name: user.to_owned() }),
    };
    let mut resolved = ResolvedUser {
        uid,
        gid: in_range(entry.as_ref().map_or(0, |entry| entry.gid))?,
        additional_gids: Vec::new(),
        name: entry.as_ref().map(|entry| entry.name.to_owned()),
        home: entry.as_ref().map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty()),
    };
    let groups = || group.lines().filter_map(GroupEntry::parse);
    match (wanted_group, &resolved.name) {
        // A group that was asked for stands alone, as in other runtimes.
        (Some(wanted), _) => {
            resolved.gid = match parse_id(wanted)? {
                Some(gid) => gid,
                None => match groups().find(|entry| entry.name == wanted) {
                    Some(entry) => in_range(entry.gid)?,
                    None => return Err(ResolveUserError::NoGroup { name: wanted.to_owned() }),
                },
            };
        }
        (None, Some(name)) => {
            for entry in groups().filter(|entry| entry.has_member(name)).take(GROUPS_MAX) {
                let gid = in_range(entry.gid)?;
                if gid != resolved.gid && !resolved.additional_gids.contains(&gid) {
                    resolved.additional_gids.push(gid);
                }
            }
        }
        (None, None) => {}
    }
    Ok(resolved)
}

/// Reads a number; `None` is a name.
fn parse_id(text: &str) -> Result<Option<u32>, ResolveUserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) => in_range(id).map(Some),
        Err(_) => Err(ResolveUserError::OutOfRange { id: text.chars().take(40).collect() }),
    }
}

/// Refuses ids that the kernel takes for no change (-1) and that are not usable everywhere.
fn in_range(id: u32) -> Result<u32, ResolveUserError> {
    match i32::try_from(id) {
        Ok(_) => Ok(id),
        Err(_) => Err(ResolveUserError::OutOfRange { id: id.to_string() }),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }

    fn has_member(&self, name: &str) -> bool {
        self.members.split(',').any(|member| member == name)
    }
}

/// Reads a file of the image. Symlinks in it lead nowhere but into it; a missing file is empty.
fn read_beneath(rootfs: &Path, path: &'static str) -> Result<String, ResolveUserError> {
    let failed = |source: io::Error| ResolveUserError::Read { path, source };
    let root = rustix::fs::openat(
        CWD,
        rootfs,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| failed(errno.into()))?;
    // Not blocking, since it may be a pipe that nobody writes to.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why a user could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveUserError {
    /// The image has no such user.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoUser {
        /// The name.
        name: String,
    },
    /// The image has no such group.
    #[error("unable to find group {name}: no matching entries in group file")]
    NoGroup {
        /// The name.
        name: String,
    },
    /// A number that is no id.
    #[error("uids and gids must be in range 0-2147483647, not {id}")]
    OutOfRange {
        /// The number.
        id: String,
    },
    /// A file of the image could not be read.
    #[error("could not read `/{path}` of the image")]
    Read {
        /// Which file, without its slash.
        path: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// More than any real file; what lies behind is not looked at.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Linux' `NGROUPS_MAX` is 65,536; real users are in a dozen.
const GROUPS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:www:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\nmore:x:51:other,web\n";

    #[track_caller]
    fn check(user: &str, ids: (u32, u32), additional: &[u32], home: Option<&str>) {
        let resolved = resolve(PASSWD, GROUP, user).unwrap();
        assert_eq!((resolved.uid, resolved.gid), ids);
        assert_eq!(resolved.additional_gids, additional);
        assert_eq!(resolved.home.as_deref(), home);
    }

    #[test]
    fn names_and_numbers_mean_what_other_runtimes_make_of_them() {
        check("", (0, 0), &[], Some("/root"));
        check("web", (33, 34), &[50, 51], Some("/var/www"));
        check("33", (33, 34), &[50, 51], Some("/var/www"));
        check("web:logs", (33, 50), &[], Some("/var/www"));
        check("web:7", (33, 7), &[], Some("/var/www"));
        check("1000", (1000, 0), &[], None);
        check("1000:1001", (1000, 1001), &[], None);
        check(":50", (0, 50), &[], Some("/root"));
    }

    #[test]
    fn unknown_names_and_large_numbers_are_refused() {
        let error = |user| resolve(PASSWD, GROUP, user).unwrap_err().to_string();
        assert_eq!(error("foo"), "unable to find user foo: no matching entries in passwd file");
        assert_eq!(error("web:foo"), "unable to find group foo: no matching entries in group file");
        assert!(error("4294967295").contains("must be in range"));
        assert!(error("99999999999").contains("must be in range"));
    }

    #[test]
    fn names_do_not_stand_for_numbers_that_are_no_ids() {
        // The kernel takes -1 for no change, and the process that asks is root.
        let passwd = "minus:x:4294967295:1::/:\nhalf:x:1:4294967295::/:\nhigh:x:2147483648:1::/:\n\
            many:x:4294967296:1::/:\nok:x:5:5::/:\n";
        let group = "minus:x:4294967295:ok\n";
        for user in ["minus", "half", "high", "ok", "ok:minus"] {
            let error = resolve(passwd, group, user).unwrap_err().to_string();
            assert!(error.contains("must be in range"), "{user}: {error}");
        }
        let error = resolve(passwd, "", "many").unwrap_err().to_string();
        assert!(error.contains("no matching entries"), "{error}");
    }

    #[test]
    fn image_without_files_has_only_numbers() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(resolve_user(root.path(), "5").unwrap().uid, 5);
        assert!(resolve_user(root.path(), "web").is_err());
    }

    #[test]
    fn links_and_pipes_do_not_lead_out_of_the_image() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(home.path().join("outside"), "web:x:1:1::/:\n").unwrap();
        std::os::unix::fs::symlink("../../outside", root.join("etc/passwd")).unwrap();
        assert!(matches!(resolve_user(&root, "web"), Err(ResolveUserError::NoUser { .. })));
        std::fs::remove_file(root.join("etc/passwd")).unwrap();
        rustix::fs::mknodat(
            CWD,
            root.join("etc/passwd"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(matches!(resolve_user(&root, "web"), Err(ResolveUserError::Read { .. })));
    }
}
