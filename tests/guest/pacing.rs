//! What runs in the guest, whose kernel has a queueing discipline that keeps datagrams until their
//! times.

use std::net::{Ipv4Addr, UdpSocket as Peer};
use std::process::Command;
use std::time::Duration;

use punktfunk_core::net::clock;
use punktfunk_core::net::udp::{Batch, Pacer, Path, UdpSocket};

use crate::support::tool;

const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long datagrams are kept: far longer than it takes to send them.
const DELAY: Duration = Duration::from_millis(500);

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

#[test]
#[ignore = "runs in the guest"]
fn the_kernel_keeps_datagrams_where_its_discipline_does() {
    for (discipline, is_kernel) in [("noqueue", false), ("pfifo", false), ("fq", true)] {
        run(tool("tc").args(["qdisc", "replace", "dev", "lo", "root", discipline]));
        let peer = Peer::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let path = Path { remote: peer.local_addr().unwrap(), local: None };
        let mut batch = Batch::new(WAIT_MAX);

        let pacer = Pacer::of(&socket, &path);
        let departure = clock::now() + DELAY;
        // Without the kernel there is nothing to be told, and nothing waits.
        let told = pacer.at(departure);
        let sent = batch.send_at(&socket, &path, &[7; 40 * 100], 100, None, told);
        for _ in 0..40 {
            assert_eq!(peer.recv(&mut [0; 200]).unwrap(), 100, "{discipline}");
            assert!(!is_kernel || clock::now() >= departure, "{discipline}");
        }

        assert_eq!((pacer.is_kernel(), told.is_some()), (is_kernel, is_kernel), "{discipline}");
        assert_eq!((sent.datagrams, batch.is_segmented()), (40, true), "{discipline}");
    }
    run(tool("tc").args(["qdisc", "delete", "dev", "lo", "root"]));
}
