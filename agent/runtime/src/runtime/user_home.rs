//! Finds a user's home in a container's own `/etc/passwd`.
//!
//! The file is the container's to write, so it is read without waiting and only so far.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::libc;

/// Most bytes that are looked at; a thousand users need about as many.
const LEN_MAX: u64 = 64 * 1024;

/// Returns the home of a user in this process's root; `/` when there is no word of it.
pub(super) fn user_home(uid: u32) -> String {
    read_passwd().ok().and_then(|text| home_in(&text, uid)).unwrap_or_else(|| "/".to_owned())
}

fn read_passwd() -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    let mut reader = BufReader::new(file.take(LEN_MAX));
    // A line that is not text ends what can be known.
    while reader.read_line(&mut text).is_ok_and(|len| len > 0) {}
    Ok(text)
}

fn home_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.nth(2)?.parse() == Ok(uid);
        let home = fields.nth(2)?;
        (found && home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_the_sixth_field_of_the_users_line() {
        let check = |passwd: &str, uid, expected: Option<&str>| {
            assert_eq!(home_in(passwd, uid).as_deref(), expected, "{passwd}");
        };
        let usual = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n";
        check(usual, 0, Some("/root"));
        check(usual, 33, Some("/var/www"));
        check(usual, 34, None);
        check("broken\n:::\nx:x:7:7::relative:\n", 7, None);
    }
}
