//! Makes a block device of a file.
//!
//! Loop devices are set up by ioctls, for which no safe wrapper exists.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

nix::ioctl_none_bad!(
    /// Asks for the number of a free device.
    get_free,
    0x4c82
);
nix::ioctl_write_ptr_bad!(
    /// Attaches a file (since Linux 5.8).
    configure,
    0x4c0a,
    Configuration
);

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
#[derive(Debug)]
pub struct Configuration {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
#[derive(Debug)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const FLAG_READ_ONLY: u32 = 1;
const FLAG_AUTOCLEAR: u32 = 4;

/// A loop device. It is given back when this value is dropped and nothing has it mounted.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _device: File,
}

impl LoopDevice {
    /// Attaches a file read-only to a free device.
    ///
    /// # Errors
    /// When the file cannot be opened, or the kernel has no loop devices.
    pub fn attach(file: &Path) -> io::Result<Self> {
        let backing = File::open(file)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        // Somebody may take the free one in between; on a board that boots nobody does, and on
        // others one of a few tries succeeds.
        let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..8 {
            match Self::attach_free(&control, &backing) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// The device's path, to be mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn attach_free(control: &File, backing: &File) -> io::Result<Self> {
        // SAFETY: the request takes no argument and returns a number; the descriptor is open.
        #[expect(unsafe_code, reason = "ioctl has no safe form")]
        let number = unsafe { get_free(control.as_raw_fd()) }?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path)?;
        let configuration = Configuration {
            fd: u32::try_from(backing.as_raw_fd()).map_err(io::Error::other)?,
            block_size: 0,
            info: Info {
                device: 0,
                inode: 0,
                rdevice: 0,
                offset: 0,
                size_limit: 0,
                number: 0,
                encrypt_type: 0,
                encrypt_key_size: 0,
                flags: FLAG_READ_ONLY | FLAG_AUTOCLEAR,
                file_name: [0; 64],
                crypt_name: [0; 64],
                encrypt_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        // SAFETY: the request reads a `struct loop_config`, whose layout `Configuration` has; it
        // outlives the call, and both descriptors are open.
        #[expect(unsafe_code, reason = "ioctl has no safe form")]
        unsafe { configure(device.as_raw_fd(), &raw const configuration) }?;
        Ok(Self { path, _device: device })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Configuration>(), 304);
    }

    #[test]
    fn a_device_shows_its_file_and_is_given_back() {
        let Ok(_control) = File::open("/dev/loop-control") else { return };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7_u8; 4096]).unwrap();
        let device = LoopDevice::attach(file.path()).unwrap();
        let mut content = Vec::new();
        File::open(device.path()).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, [7_u8; 4096]);
        let flags = Path::new("/sys/block").join(device.path().file_name().unwrap()).join("ro");
        assert_eq!(std::fs::read_to_string(flags).unwrap().trim(), "1");
        let name = device.path().file_name().unwrap().to_owned();
        drop(device);
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        let held = std::fs::read_to_string(backing).unwrap_or_default();
        assert_ne!(held.trim(), file.path().to_string_lossy());
    }
}
