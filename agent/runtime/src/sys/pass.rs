//! Sends and receives one message with a few descriptors over a Unix socket.
//!
//! Received descriptors arrive as numbers, and only unsafe code makes owners of them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Longest message in bytes.
pub(crate) const MESSAGE_LEN_MAX: usize = 512;

/// Most descriptors that come with one message: those of three standard streams.
pub(crate) const DESCRIPTORS_MAX: usize = 3;

/// Sends one message without waiting, with the descriptors given.
///
/// # Errors
/// When the other side is gone or its queue is full.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let with = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &with };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent =
        sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
    // Half a message is none; the other side will see that the socket ends.
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message without waiting; `None` when none is there, an empty one at the end.
///
/// # Errors
/// When the socket is broken.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut buffer = [0; MESSAGE_LEN_MAX];
    let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received =
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            other => other?,
        };
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            for number in numbers {
                // SAFETY: the kernel has just installed this descriptor for this process, so it
                // is open and nothing else owns it.
                #[expect(unsafe_code, reason = "descriptors arrive as numbers")]
                let owned = unsafe { OwnedFd::from_raw_fd(number) };
                descriptors.push(owned);
            }
        }
    }
    let len = received.bytes;
    Ok(Some((buffer.get(..len).unwrap_or_default().to_vec(), descriptors)))
}
