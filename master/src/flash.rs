//! `bramble flash`: makes the card of a node, and the cluster with the card of its master.
//!
//! ```text
//!  flags --> device or file, cluster, settings      (nothing has changed yet)
//!        --> asked, answered yes
//!        --> cluster made, if it is a new one       (used again if the card fails)
//!        --> card written and read back
//!        --> card noted in `cluster.toml`, kubeconfig written
//! ```
//!
//! A card that was not finished is not noted: flashing it again needs no `--replace`.

mod administrator;
mod args;
mod cluster_choice;
mod cluster_folder;
mod console;
mod image_file;
mod settings;

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bramble_card::layout;
use bramble_card::settings::Role;
use bramble_flash::choice::{Candidate, Refusal};
use bramble_flash::image::{Content, Image, OpenImageError};
use bramble_flash::machine::DeviceNumber;
use bramble_flash::probe::{self, ProbeError};
use bramble_flash::target::{Target, TargetError};
use bramble_flash::write::{WriteCardError, write_card};
use tokio::signal::unix::{SignalKind, signal};

use crate::durable::{self, WriteFileError};
use crate::pki::{IdentityError, JoinKey, SignError, kubeconfig};
use crate::random;
use crate::token::card_token;
use administrator::{Administrator, FindAdministratorError};
use cluster_choice::{ChooseClusterError, NameError, next_generation};
use cluster_folder::{ClusterFolder, ClusterFolderError, Flashed};
use console::Progress;
use image_file::FindImageError;
use settings::SettingsError;

pub(crate) use args::FlashArgs;

/// Why no card was flashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlashError {
    /// No name was given.
    #[error(
        "say which node the card is for: --node NAME, or --replace NAME for a new card of an old node"
    )]
    NoNode,
    /// No target was given.
    #[error("say where to write the card: --device PATH (see the list above) or --output FILE")]
    NoTarget,
    /// Nobody could be asked.
    #[error("nobody is there to confirm; say --yes if you are sure")]
    NoAnswer,
    /// Somebody said no.
    #[error("nothing was written")]
    Declined,
    /// The device is not where devices are.
    #[error("`{}` is not a block device; to write a file, say --output {}", path.display(), path.display())]
    NoDevice { path: PathBuf },
    /// The private half of the join key is elsewhere.
    #[error(
        "the join key of cluster `{cluster}` is not in `{}`: flash its cards where its master's card was flashed", folder.display()
    )]
    NoJoinKey { cluster: String, folder: PathBuf },
    /// The device may not be overwritten.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Devices could not be read.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Home folder.
    #[error(transparent)]
    Administrator(#[from] FindAdministratorError),
    /// Which cluster.
    #[error(transparent)]
    Choose(#[from] ChooseClusterError),
    /// The name is taken.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The cluster's files.
    #[error(transparent)]
    Folder(#[from] ClusterFolderError),
    /// The cluster's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The token could not be made.
    #[error("could not make the card's token")]
    Sign(#[from] SignError),
    /// Settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No image.
    #[error(transparent)]
    FindImage(#[from] FindImageError),
    /// Not the right image.
    #[error(transparent)]
    Image(#[from] OpenImageError),
    /// Target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The card was not written.
    #[error(transparent)]
    Write(#[from] WriteCardError),
    /// The kubeconfig could not be written.
    #[error("the card is good, but the kubeconfig was not written")]
    Kubeconfig(#[source] WriteFileError),
    /// The terminal is gone.
    #[error("could not write to the terminal")]
    Output(#[from] io::Error),
    /// The thread that writes has ended.
    #[error("the card was not finished")]
    Thread(#[from] tokio::task::JoinError),
}

/// What is written to.
#[derive(Clone, Debug)]
enum Destination {
    Device { path: PathBuf, number: DeviceNumber, candidate: Candidate },
    File { path: PathBuf, len: u64 },
}

/// Runs `bramble flash`.
///
/// # Errors
///
/// When no card was flashed; the text says what to do about it.
pub(crate) async fn run(args: &FlashArgs) -> Result<(), FlashError> {
    let Some(destination) = destination(args)? else {
        console::list_devices(&probe::machine()?.survey(layout::IMAGE_LEN))?;
        // Without any flag the list is what was asked for.
        return if args.names_a_card() { Err(FlashError::NoTarget) } else { Ok(()) };
    };
    let name = args.replace.as_ref().or(args.node.as_ref()).ok_or(FlashError::NoNode)?;
    let administrator =
        Administrator::find(args.config_dir.as_deref(), args.kubeconfig_dir.as_deref())?;
    let image_path = image_file::find(args.image.as_deref())?;
    let parts = settings::CardParts::from_args(args)?;

    // Everything that can be wrong is found before anything is made or overwritten.
    let known = cluster_folder::choose(args, &administrator)?;
    let record = known.as_ref().map(|folder| &folder.record);
    let replace = args.replace.is_some();
    let generation = next_generation(record, name, replace)?;
    let role = cluster_choice::role(record, name, args.role, replace)?;
    let server = parts.server(record, name, role);
    let mut settings = parts.settings(name, role, &server);
    settings.check().map_err(SettingsError::from)?;
    let known =
        known.map(|folder| Ok::<_, FlashError>((join_key(&folder)?, folder))).transpose()?;
    console::confirm(&destination, args.yes)?;

    let (key, mut folder) = match known {
        Some(known) => known,
        None => {
            let folder = ClusterFolder::create(&administrator)?;
            (join_key(&folder)?, folder)
        }
    };
    let (claim, token) = card_token(&folder.identity, &key, name, generation)?;
    settings.cluster.clone_from(&folder.identity.cluster_id);
    settings.token = token;
    let cluster = match role {
        Role::Master => folder.identity.card_files()?,
        Role::Agent => Vec::new(),
    };
    let signature = u32::from_le_bytes(random::bytes());
    let content = Content { settings: settings.text(), cluster, signature };
    let owner = administrator.owner;
    let target = destination.clone();
    let written = uninterrupted(move |stop| write(&image_path, &target, &content, owner, stop));
    written.await?;

    let flashed = Flashed { name: name.clone(), role, generation, token: claim.id.clone() };
    folder.note(flashed, &server)?;
    administrator.claim_folder(&folder.path);
    let kubeconfig = match role {
        Role::Master => Some(write_kubeconfig(&administrator, &folder, &server)?),
        Role::Agent => None,
    };
    report(&destination, &folder, name, &claim.id, kubeconfig.as_deref())?;
    Ok(())
}

fn join_key(folder: &ClusterFolder) -> Result<JoinKey, FlashError> {
    let identity = &folder.identity;
    let (cluster, path) = (&identity.cluster_id, &folder.path);
    identity
        .join_key()?
        .ok_or_else(|| FlashError::NoJoinKey { cluster: cluster.clone(), folder: path.clone() })
}

/// The device or file that the flags name; none if they name neither.
fn destination(args: &FlashArgs) -> Result<Option<Destination>, FlashError> {
    if let Some(path) = &args.output {
        return Ok(Some(Destination::File { path: path.clone(), len: args.card_size }));
    }
    let Some(path) = &args.device else { return Ok(None) };
    let no_device = || FlashError::NoDevice { path: path.clone() };
    let machine = probe::machine()?;
    if !path.exists() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        return Err(Refusal::NotThere { name }.into());
    }
    let number = probe::block_number(path).ok_or_else(no_device)?;
    let block = machine.blocks.iter().find(|block| block.number == number).ok_or_else(no_device)?;
    let candidate = machine.judge(&block.name, layout::IMAGE_LEN)?;
    let path = Path::new("/dev").join(&candidate.name);
    Ok(Some(Destination::Device { path, number, candidate }))
}

/// Runs work that asks now and then whether it is to stop, and tells it so at a signal.
async fn uninterrupted(
    work: impl FnOnce(&AtomicBool) -> Result<(), FlashError> + Send + 'static,
) -> Result<(), FlashError> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shared = Arc::clone(&stop);
    let mut worker = tokio::task::spawn_blocking(move || work(&shared));
    loop {
        tokio::select! {
            done = &mut worker => return done?,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    image: &Path,
    destination: &Destination,
    content: &Content,
    owner: Option<(u32, u32)>,
    stop: &AtomicBool,
) -> Result<(), FlashError> {
    let mut progress = Progress::new();
    let mut watch = |phase, done, total| {
        progress.show(phase, done, total);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let result = (|| {
        let image = Image::open(image, &mut watch)?;
        let (mut target, len) = match destination {
            Destination::Device { path, number, candidate } => {
                (Target::device(path, *number)?, candidate.len)
            }
            Destination::File { path, len } => (Target::file(path, *len)?, *len),
        };
        if let Some((uid, gid)) = owner {
            target.give_to(uid, gid)?;
        }
        write_card(&mut target, len, &image, content, &mut watch)?;
        Ok(target.finish()?)
    })();
    progress.end(result.is_ok());
    result
}

fn write_kubeconfig(
    administrator: &Administrator,
    folder: &ClusterFolder,
    server: &str,
) -> Result<PathBuf, FlashError> {
    let identity = &folder.identity;
    let path = administrator.kubeconfigs.join(&identity.cluster_id);
    let text = kubeconfig(
        &identity.cluster_id,
        &format!("https://{server}"),
        identity.authority.ca_pem(),
        &identity.admin,
    );
    durable::create_folder(&administrator.kubeconfigs)
        .and_then(|()| durable::write_file(&path, text.as_bytes()))
        .map_err(FlashError::Kubeconfig)?;
    administrator.claim(&path);
    Ok(path)
}

fn report(
    destination: &Destination,
    folder: &ClusterFolder,
    name: &str,
    token_id: &str,
    kubeconfig: Option<&Path>,
) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let cluster = &folder.identity.cluster_id;
    match kubeconfig {
        Some(path) => writeln!(
            output,
            "  cluster \"{cluster}\"  kubeconfig: {}   (works once {name} is up)",
            path.display()
        )?,
        None => writeln!(output, "  node {name} of cluster \"{cluster}\"")?,
    }
    writeln!(output, "  should the card get lost: bramble token delete {token_id}")?;
    match destination {
        Destination::Device { .. } => {
            writeln!(output, "  you can take the card out; put it into {name} and power it on")
        }
        Destination::File { path, .. } => writeln!(output, "  {} is ready", path.display()),
    }
}
