//! The file of a store: creating it, checking it, and reading all of it into memory.
//!
//! ```text
//! meta     "format"   u32, little endian
//!          "cluster"  id of the cluster, UTF-8
//!          "reserved" u64, little endian: revisions up to this may have been handed out
//! entries  key -> create revision, modification revision, version (u64 each), value
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    TableDefinition, WriteTransaction,
};

use crate::{KeyValue, Revision};

pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const ENTRIES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("entries");
pub(super) const RESERVED: &str = "reserved";
const FORMAT: &str = "format";
const CLUSTER: &str = "cluster";

/// Raised when an older build could not read the file.
const FORMAT_NUMBER: u32 = 1;

/// Every entry is in memory, so the file's own cache serves commits only.
const CACHE_BYTES: usize = 2 << 20;

/// First bytes of every redb file.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// A file smaller than this is not worth the writes of compacting it.
const COMPACT_FILE_BYTES_MIN: u64 = 4 << 20;

/// Revisions handed out between two notes of it in the file. Large, so that an idle cluster, whose
/// leases use some 100,000 a day, writes nothing for them for days; 2^64 lasts for 10^13 starts.
pub(super) const RESERVE_BLOCK: Revision = 1_000_000;

/// Why a new store could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateStoreError {
    /// It would overwrite something.
    #[error("store file `{}` exists already", path.display())]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// The folder or the disk refused.
    #[error("could not create store file `{}`", path.display())]
    CreateFile {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The first commit failed.
    #[error("could not write the first entries of store file `{}`", path.display())]
    Initialize {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<redb::Error>,
    },
    /// It was made, but could not be opened.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
}

/// Why an existing store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Nothing is there.
    #[error("store file `{}` does not exist", path.display())]
    Missing {
        /// File.
        path: PathBuf,
    },
    /// The file could not be read or locked.
    #[error("could not open store file `{}`", path.display())]
    OpenFile {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("file `{}` is not a bramble store", path.display())]
    Foreign {
        /// File.
        path: PathBuf,
    },
    /// It was one, but is not whole.
    #[error("store file `{}` is damaged ({reason}); restore it from a snapshot", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer bramble.
    #[error(
        "store file `{}` has format {found}, this build reads up to {supported}",
        path.display()
    )]
    NewerFormat {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Newest format of this build.
        supported: u32,
    },
    /// It belongs to another cluster.
    #[error("store file `{}` is of cluster `{found}`, not `{expected}`", path.display())]
    OtherCluster {
        /// File.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Another process has it open.
    #[error("store file `{}` is in use by another process", path.display())]
    InUse {
        /// File.
        path: PathBuf,
    },
    /// The disk failed or is full.
    #[error("could not read or write store file `{}`", path.display())]
    Access {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<redb::Error>,
    },
    /// No thread could be had.
    #[error("could not start the store's writer")]
    StartWriter {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// All that the file says.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) entries: Vec<KeyValue>,
    /// Above every revision that was handed out before.
    pub(super) revision: Revision,
    /// Up to here revisions can be handed out without a commit.
    pub(super) reserved: Revision,
    pub(super) database: Database,
}

/// Makes an empty store. It appears under its name only once it is whole and on the disk.
pub(super) fn create(path: &Path, cluster_id: &str) -> Result<(), CreateStoreError> {
    let create_file = |source| CreateStoreError::CreateFile { path: path.to_owned(), source };
    if path.try_exists().map_err(create_file)? {
        return Err(CreateStoreError::Exists { path: path.to_owned() });
    }
    let mut unfinished = OsString::from(path);
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(create_file(error)),
        Ok(()) | Err(_) => {}
    }
    // Secrets of the cluster are in it.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(create_file)?;
    initialize(file, cluster_id).map_err(|source| CreateStoreError::Initialize {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(create_file)?;
    fs::rename(&unfinished, path).map_err(create_file)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(create_file)
}

fn initialize(file: File, cluster_id: &str) -> Result<(), redb::Error> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(FileBackend::new(file)?)?;
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, FORMAT_NUMBER.to_le_bytes().as_slice())?;
        meta.insert(CLUSTER, cluster_id.as_bytes())?;
        meta.insert(RESERVED, 0u64.to_le_bytes().as_slice())?;
        transaction.open_table(ENTRIES)?;
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

/// Opens and checks a store, reads all of it, and reserves the first revisions.
pub(super) fn open(path: &Path, cluster_id: &str) -> Result<Loaded, OpenStoreError> {
    check_magic(path)?;
    let mut database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .open(path)
        .map_err(|error| open_error(path, error))?;
    let contents = read(path, &database, cluster_id)?;
    let file_bytes = fs::metadata(path)
        .map_err(|source| OpenStoreError::OpenFile { path: path.to_owned(), source })?
        .len();
    if file_bytes > COMPACT_FILE_BYTES_MIN && file_bytes / 2 > contents.bytes {
        database.compact().map_err(|error| access(path, error.into()))?;
    }
    // One above: a client may have seen every revision of the block, and then rightly holds that
    // nothing is between it and the last one. Reports that were lost are.
    let revision = contents.reserved + 1;
    let reserved = revision + RESERVE_BLOCK;
    reserve(&database, reserved).map_err(|error| access(path, error))?;
    Ok(Loaded { entries: contents.entries, revision, reserved, database })
}

fn check_magic(path: &Path) -> Result<(), OpenStoreError> {
    let mut start = Vec::new();
    let length = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
    match File::open(path).and_then(|file| file.take(length).read_to_end(&mut start)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenStoreError::Missing { path: path.to_owned() });
        }
        Err(source) => return Err(OpenStoreError::OpenFile { path: path.to_owned(), source }),
    }
    if start.is_empty() {
        return Err(damaged(path, "it is empty"));
    }
    if start != MAGIC {
        return Err(OpenStoreError::Foreign { path: path.to_owned() });
    }
    Ok(())
}

struct Contents {
    entries: Vec<KeyValue>,
    bytes: u64,
    reserved: Revision,
}

fn read(path: &Path, database: &Database, cluster_id: &str) -> Result<Contents, OpenStoreError> {
    let storage = |error: StorageError| open_error(path, DatabaseError::Storage(error));
    let transaction = database.begin_read().map_err(|error| access(path, error.into()))?;
    // A redb file without these tables was made by another program.
    let foreign = |_| OpenStoreError::Foreign { path: path.to_owned() };
    let meta = transaction.open_table(META).map_err(foreign)?;
    let table = transaction.open_table(ENTRIES).map_err(foreign)?;
    let value = |name: &str| -> Result<Vec<u8>, OpenStoreError> {
        let value = meta.get(name).map_err(storage)?;
        let value = value.ok_or_else(|| damaged(path, &format!("`{name}` is missing")))?;
        Ok(value.value().to_vec())
    };
    let not_a_number = |_| damaged(path, "a number has the wrong length");
    let format = u32::from_le_bytes(value(FORMAT)?.try_into().map_err(not_a_number)?);
    if format > FORMAT_NUMBER {
        return Err(OpenStoreError::NewerFormat {
            path: path.to_owned(),
            found: format,
            supported: FORMAT_NUMBER,
        });
    }
    let found = String::from_utf8_lossy(&value(CLUSTER)?).into_owned();
    if found != cluster_id {
        return Err(OpenStoreError::OtherCluster {
            path: path.to_owned(),
            found,
            expected: cluster_id.to_owned(),
        });
    }
    let reserved = Revision::from_le_bytes(value(RESERVED)?.try_into().map_err(not_a_number)?);
    let mut entries = Vec::new();
    for row in table.iter().map_err(storage)? {
        let (key, row) = row.map_err(storage)?;
        let entry = decode(key.value(), row.value())
            .ok_or_else(|| damaged(path, &format!("entry `{}` is cut off", key.value())))?;
        entries.push(entry);
    }
    let stats = table.stats().map_err(storage)?;
    let bytes = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
    Ok(Contents { entries, bytes, reserved })
}

fn reserve(database: &Database, reserved: Revision) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    write_reserved(&transaction, reserved)?;
    transaction.commit()?;
    Ok(())
}

/// Notes, as part of a commit, that revisions up to `reserved` may be handed out.
pub(super) fn write_reserved(
    transaction: &WriteTransaction,
    reserved: Revision,
) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(RESERVED, reserved.to_le_bytes().as_slice())?;
    Ok(())
}

/// A row of the file.
pub(super) fn encode(entry: &KeyValue) -> Vec<u8> {
    let mut row = Vec::with_capacity(24 + entry.value.len());
    row.extend_from_slice(&entry.create_revision.to_le_bytes());
    row.extend_from_slice(&entry.mod_revision.to_le_bytes());
    row.extend_from_slice(&entry.version.to_le_bytes());
    row.extend_from_slice(&entry.value);
    row
}

fn decode(key: &str, row: &[u8]) -> Option<KeyValue> {
    let (create_revision, row) = row.split_first_chunk()?;
    let (mod_revision, row) = row.split_first_chunk()?;
    let (version, value) = row.split_first_chunk()?;
    Some(KeyValue {
        key: key.into(),
        value: Arc::from(value),
        create_revision: u64::from_le_bytes(*create_revision),
        mod_revision: u64::from_le_bytes(*mod_revision),
        version: u64::from_le_bytes(*version),
    })
}

fn damaged(path: &Path, reason: &str) -> OpenStoreError {
    OpenStoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

fn access(path: &Path, source: redb::Error) -> OpenStoreError {
    OpenStoreError::Access { path: path.to_owned(), source: Box::new(source) }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "redb may add kinds of errors")]
fn open_error(path: &Path, error: DatabaseError) -> OpenStoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenStoreError::InUse { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => damaged(path, &reason),
        // A file that ends too early, or a header that makes no sense.
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ) =>
        {
            damaged(path, &error.to_string())
        }
        DatabaseError::Storage(StorageError::Io(source)) => {
            OpenStoreError::OpenFile { path: path.to_owned(), source }
        }
        DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_) => {
            damaged(path, &error.to_string())
        }
        other => access(path, other.into()),
    }
}
