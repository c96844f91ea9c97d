//! The sets of flags that packets are printed with.

use crate::{oracle::Invocation, random::Random};

/// Each flag by itself, and those that meddle with each other together. `-n` is always there.
pub(crate) const FIXED: [&str; 46] = [
    "",
    "-t",
    "-tt",
    "-ttt",
    "-tttt",
    "-ttttt",
    "--nano",
    "--nano -tt",
    "--nano -ttt",
    "--nano -tttt",
    "--nano -ttttt",
    "--micro -ttt",
    "-v",
    "-vv",
    "-vvv",
    "-v -K",
    "-vv -K",
    "-v -S",
    "-e",
    "-e -v",
    "-e -vvv -t",
    "-q",
    "-q -v",
    "-q -e",
    "-q -S -t",
    "-S",
    "-S -vv",
    "-#",
    "-# -t",
    "-# -v -e",
    "-K",
    "-x",
    "-xx",
    "-X",
    "-XX",
    "-A",
    "-AA",
    "-x -v",
    "-xx -e",
    "-X -q",
    "-XX -vvv -e -S -# -tttt --nano",
    "-A -t -q",
    "-AA -e -ttttt",
    "-X -A",
    "-x -X -A",
    "-A -vv -t",
];

/// Zones that need no database, and zones of one: with daylight saving time in the north and the south, with half
/// hours, and none.
const ZONES: [&str; 10] = [
    "GMT0",
    "UTC",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+0530>-5:30",
    "<-03>3",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

/// The sets that every packet is printed with.
pub(super) fn fixed() -> Vec<Invocation> {
    FIXED.iter().map(|flags| invocation(flags.split_ascii_whitespace().map(str::to_owned))).collect()
}

/// A set at random.
pub(super) fn random(random: &mut Random) -> Invocation {
    let choices: [&[&str]; 11] = [
        &["", "-t", "-tt", "-ttt", "-tttt", "-ttttt"],
        &["", "", "--nano", "--micro"],
        &["", "-v", "-vv", "-vvv"],
        &["", "", "-e"],
        &["", "", "", "-q"],
        &["", "", "-S"],
        &["", "", "-#"],
        &["", "", "-K"],
        &["", "", "-x", "-xx", "-X", "-XX"],
        &["", "", "", "", "-A", "-AA"],
        // Again: the last one counts.
        &[
            "",
            "",
            "",
            "",
            "",
            "",
            "-e -e",
            "-qq",
            "-SS",
            "-##",
            "-K -K",
            "--nano --micro",
            "--micro --nano",
            "-c9 -c99",
        ],
    ];
    let flags = choices.map(|choices| random.pick(choices));
    invocation(flags.into_iter().flat_map(str::split_ascii_whitespace).map(str::to_owned))
}

/// Adds what is not named in a set: the zone, and a port at times.
pub(super) fn with_circumstances(mut invocation: Invocation, random: &mut Random) -> Invocation {
    let zone = random.pick(&ZONES).to_owned();
    invocation.zone.get_or_insert(zone);
    if random.one_in(6) {
        // Not several: where a frame ends between the two ports, tcpdump's `port A or port B` depends on the order.
        let port = random.pick(&["8888", "8000-9999", "0", "32768-65535"]);
        invocation.port.get_or_insert(port.to_owned());
    }
    invocation
}

fn invocation(flags: impl Iterator<Item = String>) -> Invocation {
    Invocation { zone: None, flags: std::iter::once("-n".to_owned()).chain(flags).collect(), port: None }
}
