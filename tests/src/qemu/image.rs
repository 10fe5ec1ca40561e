//! The card image that boards are flashed with, and altered copies of it for upgrades.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bramble_card::layout::{self, Slot};
use bramble_card::{boot_file, fat};
use bramble_cross::board;
use bramble_cross::build::{Built, build};
use bramble_cross::toolchain::Toolchain;
use bramble_images::version::Version;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Environment variable that names an image to use instead of building one.
pub const VARIABLE: &str = "BRAMBLE_CARD_IMAGE";

/// Folder of the sources.
///
/// # Errors
/// They are in none.
pub fn sources() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate is in no folder")
}

/// The image in [`VARIABLE`], or one that is built now from the sources as they are, with the
/// profile `release`; what is unchanged since the last time is not compiled again.
///
/// # Errors
/// [`VARIABLE`] names no file, or the image cannot be built.
pub fn card_image(root: &Path) -> Result<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE).map(PathBuf::from) {
        ensure!(path.is_file(), "{VARIABLE} names no file: `{}`", path.display());
        return Ok(path);
    }
    let folder = root.join("target/images");
    let version = Version::of_sources(root, None)?;
    let image = bramble_images::build::build(&binaries(root)?, &version, &folder)?;
    let path = folder.join("bramble-arm64-test.img.gz");
    fs::write(&path, image).with_context(|| format!("could not write `{}`", path.display()))?;
    Ok(path)
}

/// Binaries for 64-bit boards: those in `BRAMBLE_BOARD_BINARIES`, or built now.
///
/// # Errors
/// They cannot be built.
pub fn binaries(root: &Path) -> Result<Built> {
    if let Some(folder) = env::var_os("BRAMBLE_BOARD_BINARIES").map(PathBuf::from) {
        return Built::in_folder(&folder);
    }
    let board = board::find("arm64").context("no row for 64-bit boards")?;
    build(board, Toolchain::find(board, true)?, "release", root)
}

/// A static busybox for the boards' processor, from the packages that images are made of.
///
/// # Errors
/// No image was built here.
pub fn board_busybox(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/images/packages/unpacked");
    let found = fs::read_dir(&folder).into_iter().flatten().flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with("busybox-static_") && name.ends_with("_arm64");
        let program = entry.path().join("usr/bin/busybox");
        (ours && program.is_file()).then_some(program)
    });
    found.with_context(|| {
        format!("no busybox for boards in `{}`: run `cargo images build` once", folder.display())
    })
}

/// What an altered image has that the original has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Another first line of its version file; it works as before.
    Version(&'a str),
    /// Half of its system is missing: the kernel starts, and nothing else.
    HalfOfTheSystem,
    /// Words more on the kernel's command line.
    CommandLine(&'a str),
}

/// Words for [`Change::CommandLine`]: the system starts, but `virt`'s network card stays dead, so
/// that the node never becomes Ready.
pub const NO_NETWORK: &str = "initcall_blacklist=virtio_net_driver_init";

/// Writes a copy of a compressed image with changes in its slot.
///
/// # Errors
/// The image cannot be read or changed.
pub fn altered(image: &Path, copy: &Path, changes: &[Change<'_>]) -> Result<()> {
    let plain = copy.with_extension("plain");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(true).open(&plain)?;
    std::io::copy(&mut GzDecoder::new(File::open(image)?), &mut file)
        .with_context(|| format!("could not unpack `{}`", image.display()))?;
    let slot = fat::open(&mut file, Slot::A.start(), layout::SLOT_LEN)?;
    let read = |name: &str| -> Result<Vec<u8>> {
        fat::read(&slot, name)?.with_context(|| format!("the image has no {name}"))
    };
    for change in changes {
        let (name, content) = match change {
            Change::Version(version) => {
                let old = read(boot_file::VERSION)?;
                let old = String::from_utf8_lossy(&old).into_owned();
                let rest = old.split_once('\n').map_or("", |(_, rest)| rest);
                (boot_file::VERSION, format!("{version}\n{rest}").into_bytes())
            }
            Change::HalfOfTheSystem => {
                let mut content = read(boot_file::SYSTEM)?;
                content.truncate(content.len() / 2);
                (boot_file::SYSTEM, content)
            }
            Change::CommandLine(words) => {
                let old = read(boot_file::COMMAND_LINE)?;
                let old = String::from_utf8_lossy(&old).into_owned();
                (boot_file::COMMAND_LINE, format!("{} {words}\n", old.trim_end()).into_bytes())
            }
        };
        fat::write(&slot, name, &content)?;
    }
    slot.unmount()?;
    let mut packed = GzEncoder::new(File::create(copy)?, Compression::fast());
    file.rewind()?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        packed.write_all(buffer.get(..len).unwrap_or_default())?;
    }
    packed.finish()?;
    fs::remove_file(&plain)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_differs_where_it_was_changed() {
        let folder = env::temp_dir().join(format!("bramble-image-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (image, copy) = (folder.join("image.gz"), folder.join("copy.gz"));
        let mut bytes = vec![0; usize::try_from(layout::IMAGE_LEN).unwrap()];
        fat::format(
            std::io::Cursor::new(&mut bytes[..]),
            Slot::A.start(),
            layout::SLOT_LEN,
            Slot::A.label(),
            1,
        )
        .unwrap();
        {
            let files =
                fat::open(std::io::Cursor::new(&mut bytes[..]), Slot::A.start(), layout::SLOT_LEN)
                    .unwrap();
            fat::write(&files, boot_file::VERSION, b"1.0\nlinux 6\n").unwrap();
            fat::write(&files, boot_file::SYSTEM, &[7; 1000]).unwrap();
            fat::write(&files, boot_file::COMMAND_LINE, b"quiet bramble.slot=a\n").unwrap();
            files.unmount().unwrap();
        }
        let mut packed = GzEncoder::new(File::create(&image).unwrap(), Compression::fast());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap();
        let changes =
            [Change::Version("2.0"), Change::HalfOfTheSystem, Change::CommandLine("more")];
        altered(&image, &copy, &changes).unwrap();
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(&copy).unwrap()).read_to_end(&mut bytes).unwrap();
        let card = std::io::Cursor::new(bytes);
        let files = fat::open(card, Slot::A.start(), layout::SLOT_LEN).unwrap();
        let read = |name| fat::read(&files, name).unwrap().unwrap();
        assert_eq!(read(boot_file::VERSION), b"2.0\nlinux 6\n");
        assert_eq!(read(boot_file::SYSTEM), [7; 500]);
        assert_eq!(read(boot_file::COMMAND_LINE), b"quiet bramble.slot=a more\n");
        drop(files);
        let _ = fs::remove_dir_all(&folder);
    }
}
