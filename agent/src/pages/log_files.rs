//! Files beneath `/var/log`, and lists of its folders, as a file server shows them.
//!
//! A path is opened beneath the folder by the kernel, which follows no link that leads out of it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf, Take};

use super::{Body, text, whole};

/// Where a node's own logs are.
const FOLDER: &str = "/var/log";
/// Most names in one list.
const NAMES_MAX: usize = 10_000;
/// Bytes that are read at once.
const PIECE_LEN: usize = 32 * 1024;

/// What a path names.
enum Found {
    Folder(Vec<String>),
    File(File, u64),
}

/// Answers for a path beneath the folder; it begins with a slash, or is empty.
pub(super) async fn answer(path: &str) -> Response<Body> {
    let Some(wanted) = decode(path) else {
        return text(StatusCode::BAD_REQUEST, "invalid path\n".to_owned());
    };
    let found = tokio::task::spawn_blocking(move || find(Path::new(FOLDER), &wanted)).await;
    match found.unwrap_or_else(|error| Err(io::Error::other(error))) {
        // Relative links in a list need it.
        Ok(Found::Folder(_)) if !path.ends_with('/') => moved(path),
        Ok(Found::Folder(names)) => whole(StatusCode::OK, "text/html; charset=utf-8", list(&names)),
        Ok(Found::File(file, len)) => content(file, len),
        Err(error) if no_such_file(&error) => {
            text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// What is not there, and what is somewhere else.
fn no_such_file(error: &io::Error) -> bool {
    use nix::errno::Errno::{ELOOP, ENOENT, ENOTDIR, EXDEV};
    let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
    error.kind() == io::ErrorKind::NotFound
        || number.is_some_and(|number| matches!(number, ENOENT | ENOTDIR | EXDEV | ELOOP))
}

fn moved(path: &str) -> Response<Body> {
    let mut answer = text(StatusCode::MOVED_PERMANENTLY, String::new());
    let last = path.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or("logs");
    if let Ok(place) = HeaderValue::from_str(&format!("{last}/")) {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

/// A path without escapes, relative; none if it is malformed.
fn decode(path: &str) -> Option<String> {
    let mut bytes = path.trim_matches('/').bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok().filter(|path| !path.contains('\0'))
}

fn find(folder: &Path, path: &str) -> io::Result<Found> {
    let root = File::open(folder)?;
    let path = if path.is_empty() { "." } else { path };
    let opened: OwnedFd = rustix::fs::openat2(
        &root,
        path,
        // A pipe must not be waited for.
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )?;
    let metadata = rustix::fs::fstat(&opened)?;
    let kind = FileType::from_raw_mode(metadata.st_mode);
    if kind == FileType::Directory {
        return Ok(Found::Folder(names(&opened)?));
    }
    if kind != FileType::RegularFile {
        return Err(io::ErrorKind::NotFound.into());
    }
    let len = u64::try_from(metadata.st_size).unwrap_or(0);
    Ok(Found::File(File::from(opened), len))
}

/// Names in a folder, those of folders with a slash.
fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)?.take(NAMES_MAX) {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if !matches!(name, "." | "..") {
            let slash = if entry.file_type() == FileType::Directory { "/" } else { "" };
            names.push(format!("{name}{slash}"));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// As Go's file server lists a folder.
fn list(names: &[String]) -> String {
    let mut page =
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n"
            .to_owned();
    for name in names {
        page.push_str(&format!("<a href=\"{}\">{}</a>\n", link(name), shown(name)));
    }
    page.push_str("</pre>\n");
    page
}

fn link(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let mut link = String::new();
    for byte in name.bytes() {
        match plain(byte) {
            true => link.push(char::from(byte)),
            false => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

fn shown(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
}

/// As much of a file as there was when it was opened: a log grows.
fn content(file: File, len: u64) -> Response<Body> {
    let content =
        Content { reader: tokio::fs::File::from_std(file).take(len), buffer: vec![0; PIECE_LEN] };
    let mut answer = Response::new(content.boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    answer
}

/// A file that is read as fast as its reader takes it.
struct Content {
    reader: Take<tokio::fs::File>,
    buffer: Vec<u8>,
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { reader, buffer } = &mut *self;
        let mut piece = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(context, &mut piece))?;
        let piece = piece.filled();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(Bytes::copy_from_slice(piece)))))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_beneath_the_folder_are_found() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("log");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/a b.log"), "hello").unwrap();
        fs::write(base.path().join("secret"), "no").unwrap();
        symlink(base.path().join("secret"), folder.join("absolute")).unwrap();
        symlink("../secret", folder.join("relative")).unwrap();
        symlink("deep/a b.log", folder.join("inside")).unwrap();
        nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found = |path: &str| find(&folder, &decode(path).unwrap());
        assert!(matches!(found("/deep/a%20b.log"), Ok(Found::File(_, 5))));
        assert!(matches!(found("/inside"), Ok(Found::File(_, 5))));
        for path in ["/absolute", "/relative", "/../secret", "/deep/%2e%2e/../secret", "/pipe"] {
            assert!(found(path).is_err_and(|error| no_such_file(&error)), "{path}");
        }
        let Ok(Found::Folder(names)) = found("/") else { panic!("no list") };
        assert_eq!(names, ["absolute", "deep/", "inside", "pipe", "relative"]);
        assert_eq!(decode("/%zz"), None);
        assert_eq!(decode("/a%00"), None);
    }

    #[test]
    fn names_in_a_list_are_text_and_links() {
        let page = list(&["a<b> &\"?.log".to_owned()]);
        let line = "<a href=\"a%3Cb%3E%20%26%22%3F.log\">a&lt;b&gt; &amp;&#34;?.log</a>\n";
        assert!(page.contains(line), "{page}");
    }
}
