//! What tcpdump and capture print of packets that another program treats: the table of docs/neighbours.md.

use nix::net::if_::if_nametoindex;

use crate::{
    namespace::Namespace,
    others::{self, Order, Place, Treatment, WINDOW},
    process::Tracer,
    traffic::{Sender, long_frame, tagged},
};

/// What one of the two prints of a treated packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    /// Nothing.
    Nothing,
    /// The packet as the program found it.
    Before,
    /// The packet as the program left it.
    After,
}

fn printed(stdout: &str) -> Printed {
    let line = stdout.lines().find(|line| line.ends_with(", length 260"));
    match line {
        None => Printed::Nothing,
        Some(line) if line.contains(&format!(", win {WINDOW},")) => Printed::After,
        Some(_) => Printed::Before,
    }
}

/// One packet that is treated and one that is not, past tcpdump and capture.
fn observe(incoming: bool, attach: impl FnOnce(&Namespace, u32)) -> [Printed; 2] {
    const MARKER: &str = ", length 0\n";

    let (here, there) = Namespace::pair();
    here.ip("link add aside type veth peer name asidepeer");
    here.ip("link set aside up");
    here.ip("link set asidepeer up");
    let aside = here.run(|| if_nametoindex("aside")).expect("it exists");
    attach(&here, aside);
    let direction = if incoming { "in" } else { "out" };
    let arguments = format!("-n -t -l -i veth0 -Q {direction} tcp port 8888");
    let tracers = [Tracer::tcpdump(&here, &arguments), Tracer::capture(&here, &arguments)];
    let (sender, interface) = if incoming { (&there, "veth1") } else { (&here, "veth0") };
    for frame in [long_frame(300), tagged(&[])] {
        Sender::new(sender, interface, &frame).send();
    }
    tracers.map(|tracer| {
        tracer.wait_for_stdout(MARKER);
        printed(&tracer.interrupt().stdout)
    })
}

const NOTHING: [Printed; 2] = [Printed::Nothing; 2];
const SAME: [Printed; 2] = [Printed::Before; 2];
const LATER: [Printed; 2] = [Printed::After; 2];
/// tcpdump prints nothing, capture the packet as it was.
const NEVER_LEFT: [Printed; 2] = [Printed::Nothing, Printed::Before];
/// tcpdump prints the packet as it became, capture as it was.
const CHANGED_AFTER: [Printed; 2] = [Printed::After, Printed::Before];

/// The treatments in the order in which the tables below have what is printed of them.
fn treatments(aside: u32) -> [Treatment; 5] {
    [Treatment::Next, Treatment::Accept, Treatment::Drop, Treatment::Redirect(aside), Treatment::Rewrite]
}

/// A program that was there before capture came, at its own hook.
#[test]
#[ignore = "needs root"]
fn of_programs_at_tcx_and_xdp() {
    for (incoming, place, expected) in [
        (true, Place::TcxIngress, [SAME, SAME, SAME, SAME, SAME]),
        (false, Place::TcxEgress, [SAME, SAME, NEVER_LEFT, NEVER_LEFT, CHANGED_AFTER]),
        (true, Place::XdpNative, [SAME, SAME, NOTHING, NOTHING, LATER]),
        (true, Place::XdpGeneric, [SAME, SAME, NOTHING, NOTHING, LATER]),
    ] {
        for (number, expected) in expected.into_iter().enumerate() {
            let mut link = None;
            let mut treated = None;
            let seen = observe(incoming, |here, aside| {
                let treatment = treatments(aside)[number];
                treated = Some(treatment);
                link = Some(others::attach(here, "veth0", place, Order::Last, "other", treatment));
            });
            assert_eq!(seen, expected, "{place:?}, {treated:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn of_clsact_filters() {
    const U32: &str = "protocol ip u32 match u16 300 0xffff at 2";
    const ACTIONS: [&str; 2] = ["flowid 1:1", "action mirred egress redirect dev aside"];

    for (incoming, side, by_program, by_u32) in [
        (true, "ingress", [SAME, SAME, SAME, SAME, SAME], [SAME, SAME]),
        (false, "egress", [SAME, SAME, NEVER_LEFT, NEVER_LEFT, CHANGED_AFTER], [SAME, NEVER_LEFT]),
    ] {
        for (number, expected) in by_program.into_iter().enumerate() {
            let seen = observe(incoming, |here, aside| {
                here.output("tc qdisc add dev veth0 clsact");
                let treatment = treatments(aside)[number];
                others::add_filter(here, "veth0", &format!("{side} prio 1"), "other", treatment);
            });
            assert_eq!(seen, expected, "{side}, treatment {number}");
        }
        for (action, expected) in ACTIONS.into_iter().zip(by_u32) {
            let seen = observe(incoming, |here, _| {
                here.output("tc qdisc add dev veth0 clsact");
                here.output(&format!("tc filter add dev veth0 {side} prio 1 {U32} {action}"));
            });
            assert_eq!(seen, expected, "{side}, u32, {action}");
        }
    }
}
