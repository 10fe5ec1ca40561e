//! Lets QEMU have a [`Disk`]: a server of the Network Block Device protocol on a unix socket.
//!
//! Fixed newstyle handshake with `GO` and `EXPORT_NAME`; read, write, write zeroes, flush, and
//! writes that are forced. One client at a time, one request at a time: a card has one queue.
//! Numbers are those of the protocol's description (`doc/proto.md` of the project nbd).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;

use crate::qemu::disk::Disk;
use crate::qemu::socket_server::SocketServer;
use crate::qemu::write_log::SECTOR_LEN;

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Fixed newstyle, no zeroes after the export.
const HANDSHAKE_FLAGS: u16 = 1 | 2;
/// Has flags, flush, force unit access, write zeroes.
const EXPORT_FLAGS: u16 = 1 | 4 | 8 | 64;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = (1 << 31) | 1;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

const COMMAND_READ: u16 = 0;
const COMMAND_WRITE: u16 = 1;
const COMMAND_DISCONNECT: u16 = 2;
const COMMAND_FLUSH: u16 = 3;
const COMMAND_WRITE_ZEROES: u16 = 6;
const FORCED: u16 = 1;

/// Longest data of a request; QEMU splits larger ones.
const REQUEST_LEN_MAX: u32 = 32 << 20;
/// Longest data of an option: a name, and a list of what is asked.
const OPTION_LEN_MAX: u32 = 8 << 10;

/// A running server. Ends when dropped.
#[derive(Debug)]
pub struct Server(SocketServer);

impl Server {
    /// Serves a disk at this path.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(disk: Disk, path: &Path) -> Result<Self> {
        // A client that goes, or talks nonsense, is replaced by the next.
        let serve_client = move |client| drop(serve(&disk, client));
        SocketServer::start(path, serve_client).map(Self)
    }

    /// What QEMU's `file=` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nbd+unix:///?socket={}", self.0.path().display())
    }

    /// Ends the connection to the client that there is, if any.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }
}

fn serve(disk: &Disk, mut client: UnixStream) -> io::Result<()> {
    if !negotiate(disk, &mut client)? {
        return Ok(());
    }
    let mut data = Vec::new();
    loop {
        if u32::from_be_bytes(read(&mut client)?) != REQUEST_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let flags = u16::from_be_bytes(read(&mut client)?);
        let command = u16::from_be_bytes(read(&mut client)?);
        let handle: [u8; 8] = read(&mut client)?;
        let at = u64::from_be_bytes(read(&mut client)?);
        let len = u32::from_be_bytes(read(&mut client)?);
        if len > REQUEST_LEN_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        data.clear();
        if matches!(command, COMMAND_READ | COMMAND_WRITE | COMMAND_WRITE_ZEROES) {
            data.resize(usize::try_from(len).unwrap_or_default(), 0);
        }
        let forced = flags & FORCED != 0;
        let done = match command {
            COMMAND_READ => disk.read(&mut data, at),
            COMMAND_WRITE => {
                client.read_exact(&mut data)?;
                disk.write(&data, at, forced)
            }
            COMMAND_WRITE_ZEROES => disk.write(&data, at, forced),
            COMMAND_FLUSH => disk.flush(),
            COMMAND_DISCONNECT => return Ok(()),
            _ => Err(io::Error::from_raw_os_error(nix::libc::EINVAL)),
        };
        if !disk.powered() {
            // No answer, as from a card without power: an error would still be acted upon.
            while client.read(&mut [0; 4096])? > 0 {}
            return Ok(());
        }
        let error = done.as_ref().err().map_or(0, protocol_error);
        let mut reply = Vec::with_capacity(16 + data.len());
        reply.extend(REPLY_MAGIC.to_be_bytes());
        reply.extend(error.to_be_bytes());
        reply.extend(handle);
        if command == COMMAND_READ && error == 0 {
            reply.extend(&data);
        }
        client.write_all(&reply)?;
    }
}

/// The protocol's number of an error: those of Linux, of which it knows a few.
fn protocol_error(error: &io::Error) -> u32 {
    let (io_error, invalid) = (5, 22);
    if error.raw_os_error() == Some(nix::libc::EINVAL) { invalid } else { io_error }
}

/// `false` if the client goes without wanting the disk.
fn negotiate(disk: &Disk, client: &mut UnixStream) -> io::Result<bool> {
    client.write_all(&MAGIC.to_be_bytes())?;
    client.write_all(&OPTION_MAGIC.to_be_bytes())?;
    client.write_all(&HANDSHAKE_FLAGS.to_be_bytes())?;
    let no_zeroes = u32::from_be_bytes(read(client)?) & 2 != 0;
    loop {
        if u64::from_be_bytes(read(client)?) != OPTION_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = u32::from_be_bytes(read(client)?);
        let len = u32::from_be_bytes(read(client)?);
        if len > OPTION_LEN_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut data = vec![0; usize::try_from(len).unwrap_or_default()];
        client.read_exact(&mut data)?;
        match option {
            OPTION_EXPORT_NAME => {
                client.write_all(&disk.len().to_be_bytes())?;
                client.write_all(&EXPORT_FLAGS.to_be_bytes())?;
                if !no_zeroes {
                    client.write_all(&[0; 124])?;
                }
                return Ok(true);
            }
            OPTION_INFO | OPTION_GO => {
                let mut export = INFO_EXPORT.to_be_bytes().to_vec();
                export.extend(disk.len().to_be_bytes());
                export.extend(EXPORT_FLAGS.to_be_bytes());
                reply(client, option, REPLY_INFO, &export)?;
                let sector = u32::try_from(SECTOR_LEN).unwrap_or_default();
                let mut sizes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                for size in [sector, 4096, REQUEST_LEN_MAX] {
                    sizes.extend(size.to_be_bytes());
                }
                reply(client, option, REPLY_INFO, &sizes)?;
                reply(client, option, REPLY_ACK, &[])?;
                if option == OPTION_GO {
                    return Ok(true);
                }
            }
            OPTION_ABORT => {
                reply(client, option, REPLY_ACK, &[])?;
                return Ok(false);
            }
            _ => reply(client, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn reply(client: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut message = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    message.extend(option.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    message.extend(data);
    client.write_all(&message)
}

fn read<const LEN: usize>(client: &mut UnixStream) -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::seed::Seed;

    const LEN: u64 = 1 << 20;

    struct Served {
        disk: Disk,
        // Before its folder: it ends by a connection to its own socket.
        server: Server,
        folder: Folder,
    }

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Served {
        fn new(name: &str) -> (Self, UnixStream) {
            let folder =
                std::env::temp_dir().join(format!("bramble-nbd-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let card = folder.join("card");
            std::fs::write(&card, vec![0; LEN.try_into().unwrap()]).unwrap();
            let disk = Disk::open(&card).unwrap();
            let server = Server::start(disk.clone(), &folder.join("nbd")).unwrap();
            let client = UnixStream::connect(folder.join("nbd")).unwrap();
            (Self { disk, server, folder: Folder(folder) }, client)
        }
    }

    fn greet(client: &mut UnixStream) {
        assert_eq!(read::<16>(client).unwrap(), *b"NBDMAGICIHAVEOPT");
        assert_eq!(read::<2>(client).unwrap(), [0, 3]);
        client.write_all(&[0, 0, 0, 3]).unwrap();
    }

    fn ask(client: &mut UnixStream, option: u32, data: &[u8]) {
        client.write_all(b"IHAVEOPT").unwrap();
        client.write_all(&option.to_be_bytes()).unwrap();
        client.write_all(&u32::try_from(data.len()).unwrap().to_be_bytes()).unwrap();
        client.write_all(data).unwrap();
    }

    fn option_reply(client: &mut UnixStream) -> (u32, Vec<u8>) {
        assert_eq!(u64::from_be_bytes(read(client).unwrap()), OPTION_REPLY_MAGIC);
        let _option: [u8; 4] = read(client).unwrap();
        let kind = u32::from_be_bytes(read(client).unwrap());
        let len = u32::from_be_bytes(read(client).unwrap());
        let mut data = vec![0; len.try_into().unwrap()];
        client.read_exact(&mut data).unwrap();
        (kind, data)
    }

    fn request(client: &mut UnixStream, flags: u16, command: u16, at: u64, len: u32) {
        client.write_all(&REQUEST_MAGIC.to_be_bytes()).unwrap();
        client.write_all(&flags.to_be_bytes()).unwrap();
        client.write_all(&command.to_be_bytes()).unwrap();
        client.write_all(b"12345678").unwrap();
        client.write_all(&at.to_be_bytes()).unwrap();
        client.write_all(&len.to_be_bytes()).unwrap();
    }

    fn error(client: &mut UnixStream) -> u32 {
        assert_eq!(u32::from_be_bytes(read(client).unwrap()), REPLY_MAGIC);
        let error = u32::from_be_bytes(read(client).unwrap());
        assert_eq!(&read::<8>(client).unwrap(), b"12345678");
        error
    }

    #[test]
    fn client_reads_what_it_wrote_and_a_cut_ends_it() {
        let (served, mut client) = Served::new("write");
        greet(&mut client);
        ask(&mut client, 8, &[]);
        assert_eq!(option_reply(&mut client).0, REPLY_UNSUPPORTED);
        ask(&mut client, OPTION_GO, &[0; 6]);
        let (kind, export) = option_reply(&mut client);
        assert_eq!((kind, &export[2..10]), (REPLY_INFO, &LEN.to_be_bytes()[..]));
        assert_eq!(option_reply(&mut client).0, REPLY_INFO);
        assert_eq!(option_reply(&mut client), (REPLY_ACK, Vec::new()));

        request(&mut client, 0, COMMAND_WRITE, 512, 512);
        client.write_all(&[b'a'; 512]).unwrap();
        assert_eq!(error(&mut client), 0);
        request(&mut client, 0, COMMAND_FLUSH, 0, 0);
        assert_eq!(error(&mut client), 0);
        request(&mut client, FORCED, COMMAND_WRITE_ZEROES, 512, 256);
        assert_eq!(error(&mut client), 0);
        request(&mut client, 0, COMMAND_READ, 512, 512);
        assert_eq!(error(&mut client), 0);
        let read_back: [u8; 512] = read(&mut client).unwrap();
        assert_eq!((read_back[255], read_back[256]), (0, b'a'));

        served.disk.make_unreadable(0..1);
        for (command, at, wanted) in [(COMMAND_READ, 0, 5), (COMMAND_READ, LEN, 22), (9, 0, 22)] {
            request(&mut client, 0, command, at, 512);
            assert_eq!(error(&mut client), wanted);
        }
        served.disk.cut(&mut Seed::new(1)).unwrap();
        request(&mut client, 0, COMMAND_READ, 512, 512);
        client.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let answer = client.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(answer, Err(io::ErrorKind::WouldBlock));
        served.server.disconnect();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn old_handshake_nonsense_and_the_next_client_are_served() {
        let (served, mut client) = Served::new("nonsense");
        greet(&mut client);
        ask(&mut client, OPTION_EXPORT_NAME, b"");
        assert_eq!(u64::from_be_bytes(read(&mut client).unwrap()), LEN);
        let _flags: [u8; 2] = read(&mut client).unwrap();
        client.write_all(&[7; 28]).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_or_default(), 0);

        let mut next = UnixStream::connect(served.folder.0.join("nbd")).unwrap();
        greet(&mut next);
        ask(&mut next, OPTION_GO, &[0; 6]);
        assert_eq!(option_reply(&mut next).0, REPLY_INFO);
    }
}
