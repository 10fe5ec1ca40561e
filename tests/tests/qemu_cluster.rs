//! Blank cards become a cluster: one master and three agents, flashed and switched on.

use std::path::Path;
use std::time::Duration;

use bramble_tests::programs::installed;
use bramble_tests::qemu::cluster::QemuCluster;
use bramble_tests::qemu::lag::HostLag;
use bramble_tests::qemu::machine::PowerEvent;
use bramble_tests::qemu::model::Model;
use bramble_tests::qemu::{PROGRAM, image, network};
use bramble_tests::skip_unless;
use bramble_tests::wait::now;

/// Four emulated boards on a busy machine take their time.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn blank_cards_become_a_ready_cluster() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    skip_unless!(installed(PROGRAM), "qemu-system-aarch64 is not installed");
    skip_unless!(network::installed(), "dnsmasq is not installed");
    skip_unless!(Path::new("/dev/net/tun").exists(), "this kernel has no tun device");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let image = image::card_image(root).unwrap();
    let models = [Model::Virt, Model::Virt, Model::Virt, Model::Raspi3b];
    let mut cluster = QemuCluster::flash(41, &image, &models).unwrap();

    let (start, lag) = (now(), HostLag::start());
    cluster.power_on().unwrap();
    cluster.wait_until_ready(models.len(), PATIENCE).unwrap();
    println!("power-on to 4 Ready: {:.1} s, emulated", start.elapsed().as_secs_f64());
    println!("timers beside it were late: {}", lag.stop().unwrap());
    for board in cluster.boards() {
        let (text, wear) = (board.console().text(), board.disk().wear());
        let events = board.events();
        println!(
            "{}: {:.1} MB and {} flushes to its card, {} lines on its console",
            board.spec().name,
            f64::from(u32::try_from(wear.bytes / 1000).unwrap()) / 1000.0,
            wear.flushes,
            text.lines().count()
        );
        let slots: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        assert_eq!(slots, [PowerEvent::Started { slot: "a".into(), trial: false }]);
    }
    println!("{}", cluster.bramble("get nodes").unwrap().text);
    cluster.stop_and_check().unwrap();
}
