//! Files that end by the clock.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, Mutex},
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    super::{Autostop, Clock, Files, FilesOptions, Ring, Rotation, Tcpdump},
    *,
};

/// A clock that a test sets.
#[derive(Clone, Debug)]
struct Hand(Arc<Mutex<(Timestamp, Duration)>>);

impl Hand {
    fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new((time.parse().unwrap(), Duration::ZERO))))
    }

    fn pass(&self, seconds: f64) {
        let mut time = self.0.lock().unwrap();
        let passed = Duration::from_secs_f64(seconds);
        *time = (time.0 + passed, time.1 + passed);
    }

    fn set(&self, time: &str) {
        self.0.lock().unwrap().0 = time.parse().unwrap();
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// Files by the clock, and what a test does to them.
struct Run {
    folder: TempDir,
    clock: Hand,
    files: Files,
    progress: Progress,
}

impl Run {
    fn new(name: &str, rotation: Rotation, autostop: Autostop) -> Self {
        Self::at("2026-11-26T12:00:00.7Z", TimeZone::UTC, name, rotation, autostop)
    }

    fn at(time: &str, time_zone: TimeZone, name: &str, rotation: Rotation, autostop: Autostop) -> Self {
        let (folder, clock) = (folder(), Hand::at(time));
        let options = FilesOptions { rotation, autostop, time_zone, ..to(folder.path().join(name)) };
        let files = Files::with_clock(options, Bytes::from_static(b"H"), Box::new(clock.clone())).unwrap();
        Self { folder, clock, files, progress: Progress::default() }
    }

    fn write(&mut self, text: &str) {
        let (block, ends) = words(text);
        self.files.write(&block, &ends, &self.progress).unwrap();
    }

    /// Time passes, and nothing comes.
    fn idle(&mut self, seconds: f64) {
        self.clock.pass(seconds);
        self.files.tick(&self.progress).unwrap();
    }

    /// `name=contents` of each file.
    fn found(&self) -> Vec<String> {
        let names = names(self.folder.path());
        names.iter().map(|name| format!("{name}={}", text(&self.folder, name))).collect()
    }
}

fn period(seconds: u32) -> Tcpdump {
    Tcpdump { period: Some(seconds), ..Tcpdump::default() }
}

/// The next file begins at the second, without a packet, and periods do not drift.
#[test]
fn a_period_ends_on_an_idle_link() {
    let mut run = Run::new("x-%H%M%S", Rotation::Tcpdump(period(5)), Autostop::default());
    run.write("aa");
    assert_eq!(run.files.wait(), Some(Duration::from_millis(4300)));
    run.idle(4.2);
    run.write("bb");
    run.idle(0.4);
    assert_eq!(run.files.wait(), Some(Duration::from_millis(4700)));
    run.idle(5.0);
    run.write("cc");
    assert_eq!(run.found(), ["x-120000=Haabb", "x-120005=H", "x-120010=Hcc"]);
    assert!(run.files.warning().is_none());
    // No one looked for a while: one file, and the periods stay where they were.
    run.clock.pass(17.0);
    run.write("dd");
    assert_eq!(run.found()[3], "x-120027=Hdd");
    assert_eq!(run.files.wait(), Some(Duration::from_millis(2700)));
}

/// As in the C library: names are bytes, and a pattern may be no text.
#[test]
fn names_keep_their_bytes() {
    let folder = folder();
    let clock = Hand::at("2026-11-26T12:00:00Z");
    let name = OsStr::from_bytes(b"a\xff%H%\xe4%M\xc3%");
    let options = FilesOptions { rotation: Rotation::Tcpdump(period(5)), ..to(folder.path().join(name)) };
    Files::with_clock(options, HEADER, Box::new(clock)).unwrap();
    let found: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(found, [OsStr::from_bytes(b"a\xff12%\xe400\xc3%")]);
}

/// The times in names are local, and what strftime(3) does not know stays.
#[test]
fn names_have_local_time() {
    let zone = TimeZone::posix("CET-1").unwrap();
    let time = "2026-11-26T23:30:00Z";
    let run = Run::at(
        time,
        zone,
        "a%%b_%Y-%m-%d_%H.%M.%S_%j_%Q!",
        Rotation::Tcpdump(period(5)),
        Autostop::default(),
    );
    let found = run.found();
    assert!(found[0].starts_with("a%b_2026-11-27_00.30.00_331_"), "{found:?}");
}

/// A name without a time is not written over.
#[test]
fn files_of_the_same_name_are_numbered() {
    for (name, expected) in
        [("x", ["x=Haa", "x1=Hbb", "x2=Hcc"]), ("x%H", ["x12=Haa", "x121=Hbb", "x122=Hcc"])]
    {
        let mut run = Run::new(name, Rotation::Tcpdump(period(5)), Autostop::default());
        let warning = run.files.warning().unwrap();
        assert!(warning.contains("so the files get numbers"), "{warning}");
        run.write("aa");
        run.clock.pass(5.0);
        run.write("bb");
        run.clock.pass(5.0);
        run.write("cc");
        assert_eq!(run.found(), expected);
    }
}

/// The clock is set back: names come again, and what is written stays.
#[test]
fn a_clock_that_is_set_back_overwrites_nothing() {
    let mut run = Run::new("x%H%M%S", Rotation::Tcpdump(period(5)), Autostop::default());
    for packet in ["aa", "bb", "cc"] {
        run.write(packet);
        run.clock.pass(5.0);
    }
    // Not due: a period is never longer than it was to be.
    run.write("dd");
    run.clock.set("2026-11-26T11:59:55Z");
    run.write("ee");
    for packet in ["ff", "gg"] {
        run.clock.pass(5.0);
        run.write(packet);
    }
    let expected =
        ["x120000=Haa", "x1200001=Hff", "x120005=Hbb", "x1200051=Hgg", "x120010=Hcc", "x120015=Hddee"];
    assert_eq!(run.found(), expected);
}

/// `-G -W`: after so many files the output has enough, without a packet, and what comes then is counted.
#[test]
fn enough_periods_end_the_output() {
    let rules = Tcpdump { files: Some(2), ..period(5) };
    let mut run = Run::new("x%S", Rotation::Tcpdump(rules), Autostop::default());
    run.write("aa");
    run.idle(5.0);
    run.write("bb");
    assert!(!run.progress.has_enough());
    run.idle(5.0);
    assert!(run.progress.has_enough());
    assert_eq!(run.files.wait(), None);
    run.write("cc dd");
    assert_eq!(run.found(), ["x00=Haa", "x05=Hbb"]);
    assert_eq!((run.progress.packets(), run.progress.left_out()), (2, 2));
    assert_eq!(run.progress.take_notes(), ["Maximum file limit reached: 2"]);
}

/// `-G -C`: numbers within each period; with `-W`, a ring within each period, and no end.
#[test]
fn sizes_and_periods_together() {
    for (files, expected) in [
        (None, &["x00=Haa", "x001=Hbb", "x002=Hcc", "x05=Hdd", "x051=Hee"][..]),
        (Some(2), &["x000=Hcc", "x001=Hbb", "x050=Hdd", "x051=Hee"]),
    ] {
        let rules = Tcpdump { size: Some(2), files, ..period(5) };
        let mut run = Run::new("x%S", Rotation::Tcpdump(rules), Autostop::default());
        run.write("aa bb cc");
        run.clock.pass(5.0);
        run.write("dd ee");
        assert_eq!(run.found(), expected);
        assert!(!run.progress.has_enough());
    }
}

/// dumpcap's `interval`: at multiples of it in local time.
#[test]
fn intervals_are_aligned() {
    let zone = TimeZone::posix("IST-5:30").unwrap();
    let interval = Some(Duration::from_secs(3600));
    let rotation = Rotation::Ring(Ring { interval, ..Ring::default() });
    let mut run = Run::at("2026-11-26T12:10:00Z", zone, "x.pcap", rotation, Autostop::default());
    run.write("aa");
    run.idle(20.0 * 60.0);
    run.write("bb");
    run.idle(59.0 * 60.0);
    run.idle(61.0);
    let expected = [
        "x_00001_20261126174000.pcap=Haa",
        "x_00002_20261126180000.pcap=Hbb",
        "x_00003_20261126190001.pcap=H",
    ];
    assert_eq!(run.found(), expected);
}

/// dumpcap's `duration` for files and for the whole, whatever the time of day is set to.
#[test]
fn durations_do_not_depend_on_the_time_of_day() {
    let rules = Ring { duration: Some(Duration::from_millis(500)), packets: Some(1), ..Ring::default() };
    let autostop = Autostop { duration: Some(Duration::from_secs(2)), ..Autostop::default() };
    let mut run = Run::new("x", Rotation::Ring(rules), autostop);
    run.write("aa");
    run.clock.set("2030-01-01T00:00:00Z");
    run.idle(0.4);
    run.write("bb");
    // The second file has its time from its own start.
    assert_eq!(run.files.wait(), Some(Duration::from_millis(500)));
    run.idle(0.4);
    assert_eq!(run.found().len(), 2);
    run.idle(0.1);
    assert_eq!(run.found().len(), 3);
    run.clock.pass(1.1);
    assert!(!run.progress.has_enough());
    run.write("cc");
    assert!(run.progress.has_enough());
    assert_eq!((run.found().len(), run.progress.left_out()), (3, 1));
}
