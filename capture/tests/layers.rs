//! Which module may import which: the layering of ARCHITECTURE.md, held against the source files. Cargo keeps the
//! layers that are crates of their own; here their manifests are held to what they may depend on.
//!
//! The files are read as tokens, so that comments and strings do not count and a path counts wherever it stands: in a
//! `use`, in an expression, in a macro's arguments. Test modules are left out: they may use what they like.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use capture::output::{FORMATS, format::Request};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use toml::Table;

/// A module of `capture`, which other modules it may import, and what of the world outside it may touch.
struct Layer {
    module: &'static str,
    imports: &'static [&'static str],
    touches: &'static [Reach],
}

/// What only some layers may touch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    /// aya: loading programs, maps.
    Aya,
    /// tokio.
    Tokio,
    /// clap: the command line and its help.
    Clap,
    /// Reading a clock.
    Clock,
    /// The process's own output.
    Output,
    /// `unsafe`, and system calls made by hand.
    Unsafe,
}
use Reach::{Aya, Clap, Clock, Output, Tokio, Unsafe};

/// The table. A module that is not in it fails the test, so that each new one gets a place.
const LAYERS: &[Layer] = &[
    // Where packets come from.
    Layer { module: "ports", imports: &[], touches: &[] },
    Layer { module: "pcapng", imports: &[], touches: &[] },
    Layer { module: "filter", imports: &["ports"], touches: &[] },
    Layer { module: "source", imports: &["filter", "pcapng"], touches: &[] },
    // A second process, and sockets between the two.
    Layer { module: "process", imports: &[], touches: &[Unsafe] },
    Layer { module: "kernel", imports: &["messages", "process"], touches: &[Aya, Tokio, Clock, Unsafe] },
    // Names for addresses: waits for them, by the clock, with poll(2).
    Layer { module: "etc", imports: &[], touches: &[] },
    // What is given up before a file is read: through nix, without `unsafe`.
    Layer { module: "sandbox", imports: &["etc"], touches: &[Unsafe] },
    Layer { module: "lookup", imports: &["etc"], touches: &[] },
    Layer { module: "resolve", imports: &["etc", "process"], touches: &[Clock, Unsafe] },
    // Where lines go. What waits for room in an output does so with poll(2), through nix and without `unsafe`.
    Layer { module: "blocking", imports: &[], touches: &[Unsafe] },
    // Files are opened and closed by hand, so that links are not followed and no error is lost: through nix, likewise. The
    // clock names and ends them.
    Layer {
        module: "output",
        imports: &["blocking", "pcapng", "process", "source"],
        touches: &[Tokio, Clock, Unsafe],
    },
    Layer { module: "engine", imports: &["output", "source", "summary"], touches: &[] },
    Layer { module: "messages", imports: &["blocking"], touches: &[] },
    Layer { module: "summary", imports: &[], touches: &[] },
    // What was asked for.
    Layer { module: "cli", imports: &["kernel", "output", "ports"], touches: &[Clap] },
    Layer { module: "config", imports: &["cli", "filter", "kernel", "output", "sandbox"], touches: &[] },
];

/// These hold all others together, and may import and touch whatever they need. Nothing imports them.
const TOP: [&str; 3] = ["main", "lib", "run"];

impl Reach {
    const ALL: [Self; 6] = [Aya, Tokio, Clap, Clock, Output, Unsafe];

    /// Whether a path, as its segments, touches this.
    fn is_touched_by(self, path: &[String]) -> bool {
        let head = |names: &[&str]| names.contains(&path[0].as_str());
        let any = |names: &[&str]| path.iter().any(|segment| names.contains(&segment.as_str()));
        match self {
            Aya => head(&["aya", "aya_log", "aya_obj"]),
            Tokio => head(&["tokio"]),
            Clap => head(&["clap"]),
            Clock => {
                any(&["Instant", "SystemTime", "clock_gettime"])
                    || (path.len() > 1 && path.last().is_some_and(|segment| segment == "now"))
            }
            Output => any(&["stdout", "stderr", "print!", "println!", "eprint!", "eprintln!", "dbg!"]),
            Unsafe => any(&["unsafe"]) || head(&["libc", "nix"]),
        }
    }
}

/// What a source file uses of what the table grants.
#[derive(Debug, PartialEq)]
enum Use {
    /// Another module, by its name.
    Import(String),
    /// A part of the world outside, and the path that leads there.
    Touch(Reach, String),
}

/// What a file of the module path `module` (`["kernel", "hook"]`) uses, each with its line.
fn uses(module: &[String], source: &str) -> Vec<(usize, Use)> {
    let mut uses = Vec::new();
    for (line, path) in paths(source) {
        if let Some(imported) = imported_module(module, &path)
            && imported != module[0]
        {
            uses.push((line, Use::Import(imported)));
        }
        let touched = Reach::ALL.into_iter().filter(|reach| reach.is_touched_by(&path));
        uses.extend(touched.map(|reach| (line, Use::Touch(reach, path.join("::")))));
    }
    uses
}

/// What is wrong with a file of the module path `module`, one line for each fault.
fn faults(module: &[String], source: &str) -> Vec<String> {
    let name = module[0].as_str();
    if TOP.contains(&name) {
        return Vec::new();
    }
    let Some(layer) = LAYERS.iter().find(|layer| layer.module == name) else {
        return vec![format!("the module `{name}` has no place in the table of layers")];
    };
    let fault = |(line, used)| match used {
        Use::Import(imported) if !layer.imports.contains(&imported.as_str()) => {
            Some(format!("line {line}: `{name}` must not import `{imported}`"))
        }
        Use::Touch(reach, path) if !layer.touches.contains(&reach) => {
            Some(format!("line {line}: `{name}` must not touch {reach:?}: {path}"))
        }
        _ => None,
    };
    uses(module, source).into_iter().filter_map(fault).collect()
}

/// What the table grants a layer that none of its files uses: a grant must not outlive its reason.
fn unused(layer: &Layer, uses: &[Use]) -> Vec<String> {
    let is_imported =
        |module: &str| uses.iter().any(|used| matches!(used, Use::Import(name) if name == module));
    let is_touched =
        |reach| uses.iter().any(|used| matches!(used, Use::Touch(touched, _) if *touched == reach));
    let imports =
        layer.imports.iter().filter(|module| !is_imported(module)).map(|module| format!("`{module}`"));
    let touches = layer.touches.iter().filter(|reach| !is_touched(**reach)).map(|reach| format!("{reach:?}"));
    let grants = imports.chain(touches);
    grants.map(|grant| format!("`{}` is granted {grant}, and does not use it", layer.module)).collect()
}

/// The top-level module that a path in the module `module` leads to, if it starts at `crate` or `super`.
fn imported_module(module: &[String], path: &[String]) -> Option<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let from = match path[0].as_str() {
        "crate" => 0,
        "super" => module.len().saturating_sub(supers),
        _ => return None,
    };
    let rest = path.iter().skip(supers.max(1));
    module[..from].iter().chain(rest).next().cloned()
}

/// Every path in a source file as its segments, with its line; a path of one name is any identifier. A macro's name
/// ends in `!`.
fn paths(source: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    collect(source.parse().unwrap(), &[], &mut found);
    found
}

fn collect(stream: TokenStream, prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let is_punct =
        |tree: &TokenTree, wanted| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted);
    let punct = |at: usize, wanted: char| trees.get(at).is_some_and(|tree| is_punct(tree, wanted));
    let mut at = 0;
    while at < trees.len() {
        if test_module(&trees[at..]).is_some() {
            at += 5;
            continue;
        }
        match &trees[at] {
            TokenTree::Group(group) => {
                collect(group.stream(), &[], found);
                at += 1;
            }
            TokenTree::Ident(first) => {
                let line = first.span().start().line;
                let mut path = prefix.to_vec();
                path.push(first.to_string());
                at += 1;
                let mut complete = true;
                while punct(at, ':') && punct(at + 1, ':') {
                    match trees.get(at + 2) {
                        Some(TokenTree::Ident(next)) => {
                            path.push(next.to_string());
                            at += 3;
                        }
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect(group.stream(), &path, found);
                            complete = false;
                            at += 3;
                        }
                        // A glob or generic arguments.
                        _ => at += 2,
                    }
                }
                let alone =
                    |punct: &proc_macro2::Punct| punct.as_char() == '!' && punct.spacing() == Spacing::Alone;
                if matches!(trees.get(at), Some(TokenTree::Punct(punct)) if alone(punct))
                    && let Some(last) = path.last_mut()
                {
                    last.push('!');
                }
                if complete {
                    found.push((line, path));
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// The name and the body, or the `;`, of `#[cfg(test)] mod name { .. }` (five tokens), if that comes next.
fn test_module(trees: &[TokenTree]) -> Option<(String, &TokenTree)> {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), rest @ ..] = trees else { return None };
    let is_test = hash.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)";
    match rest {
        [TokenTree::Ident(word), TokenTree::Ident(name), body, ..] if is_test && word == "mod" => {
            Some((name.to_string(), body))
        }
        _ => None,
    }
}

/// The modules that `source` declares for tests only and that are in files of their own.
fn test_files(source: &str) -> Vec<String> {
    let trees: Vec<TokenTree> = source.parse::<TokenStream>().unwrap().into_iter().collect();
    let modules = (0..trees.len()).filter_map(|at| test_module(&trees[at..]));
    modules.filter(|(_, body)| matches!(body, TokenTree::Punct(_))).map(|(name, _)| name).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Rust files below `folder`.
fn sources(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
    files
}

/// `kernel/hook.rs` is the module `kernel::hook`, `kernel/mod.rs` and `kernel.rs` are `kernel`.
fn module_of(file: &Path) -> Vec<String> {
    let segments = file.with_extension("");
    let segments = segments.iter().map(|segment| segment.to_str().unwrap().to_owned());
    segments.filter(|segment| segment != "mod").collect()
}

fn child(module: &[String], name: String) -> Vec<String> {
    let parent = if module == ["lib"] { &[] } else { module };
    parent.iter().cloned().chain([name]).collect()
}

fn manifest(package: &str) -> Table {
    fs::read_to_string(repository().join(package).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// The names in one of a manifest's tables of dependencies.
fn dependencies(manifest: &Table, table: &str) -> BTreeSet<String> {
    manifest
        .get(table)
        .and_then(|table| table.as_table())
        .into_iter()
        .flat_map(Table::keys)
        .cloned()
        .collect()
}

/// The files of the package except those for tests, with their module paths and contents.
fn modules() -> Vec<(PathBuf, Vec<String>, String)> {
    let root = repository().join("capture/src");
    let mut modules: Vec<(PathBuf, Vec<String>, String)> = sources(&root)
        .into_iter()
        .map(|file| {
            let module = module_of(file.strip_prefix(&root).unwrap());
            let source = fs::read_to_string(&file).unwrap();
            (file, module, source)
        })
        .collect();
    let for_tests: Vec<Vec<String>> = modules
        .iter()
        .flat_map(|(_, module, source)| test_files(source).into_iter().map(move |name| child(module, name)))
        .collect();
    modules.retain(|(_, module, _)| !for_tests.iter().any(|tests| module.starts_with(tests)));
    modules
}

#[test]
fn modules_keep_to_their_layers() {
    let mut report = String::new();
    for (file, module, source) in modules() {
        for fault in faults(&module, &source) {
            writeln!(report, "{}: {fault}", file.display()).unwrap();
        }
    }
    assert!(report.is_empty(), "the layers are mixed up; see the table in capture/tests/layers.rs\n{report}");
}

#[test]
fn the_table_grants_only_what_is_used() {
    let modules = modules();
    let used_by = |layer: &Layer| -> Vec<Use> {
        let files = modules.iter().filter(|(_, module, _)| module[0] == layer.module);
        files.flat_map(|(_, module, source)| uses(module, source)).map(|(_, used)| used).collect()
    };
    let unused: Vec<String> = LAYERS.iter().flat_map(|layer| unused(layer, &used_by(layer))).collect();
    assert!(
        unused.is_empty(),
        "take these out of the table in capture/tests/layers.rs\n{}",
        unused.join("\n")
    );
}

/// Modules whose files need what stands in the module around them.
const ENTANGLED: &[&str] = &["kernel"];

/// The innermost module that a path in the module `module` leads through, if it starts at `crate` or `super`.
fn innermost_module(module: &[String], path: &[String], all: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let from = match path[0].as_str() {
        "crate" => 0,
        // Alone it is no import: `pub(super)`.
        "super" if path.len() > supers => module.len().saturating_sub(supers),
        _ => return None,
    };
    let full: Vec<String> = module[..from].iter().chain(path.iter().skip(supers.max(1))).cloned().collect();
    (1..=full.len()).rev().map(|length| full[..length].to_vec()).find(|prefix| all.contains(prefix))
}

/// A module imports its files, and they do not import it: what several of them need is in a file of its own.
#[test]
fn no_file_imports_the_module_around_it() {
    let modules = modules();
    let all: BTreeSet<Vec<String>> = modules.iter().map(|(_, module, _)| module.clone()).collect();
    let mut report = String::new();
    for (file, module, source) in modules.iter().filter(|(_, module, _)| !ENTANGLED.contains(&&*module[0])) {
        for (line, path) in paths(source) {
            let imported = innermost_module(module, &path, &all);
            if imported.is_some_and(|imported| imported != *module && module.starts_with(&imported)) {
                writeln!(report, "{}, line {line}: {}", file.display(), path.join("::")).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// What is asked for by an option of its own: its name leads to its file, and stands in the table, and nowhere else.
#[test]
fn an_output_is_a_file_and_a_line() {
    let by_name = FORMATS.iter().filter(|format| format.asked == Request::ByName);
    for format in by_name {
        let own = ["output", format.name].map(str::to_owned);
        let others = modules().into_iter().filter(|(_, module, _)| !module.starts_with(&own));
        let named: Vec<String> = others
            .flat_map(|(_, module, source)| {
                paths(&source).into_iter().map(move |(_, path)| (module.clone(), path))
            })
            .filter(|(_, path)| path.iter().any(|segment| segment == format.name))
            .map(|(module, path)| format!("{}: {}", module.join("::"), path.join("::")))
            .collect();
        let expected = [format!("output: {}", format.name), format!("output: {}::FORMAT", format.name)];
        assert_eq!(named, expected, "the module and its line in `FORMATS`");
    }
}

#[test]
fn the_shared_crate_depends_on_nothing() {
    let manifest = manifest("capture-common");
    for table in ["dependencies", "build-dependencies", "target"] {
        assert_eq!(dependencies(&manifest, table), BTreeSet::new(), "capture-common, {table}");
    }
    let root = repository().join("capture-common/src");
    let library = fs::read_to_string(root.join("lib.rs")).unwrap();
    assert!(library.contains("#![no_std]") && library.contains("#![forbid(unsafe_code)]"));
    for file in sources(&root) {
        for (line, path) in paths(&fs::read_to_string(&file).unwrap()) {
            let outside = ["std", "alloc"].contains(&path[0].as_str()) && path.len() > 1;
            assert!(!outside, "{}, line {line}: {}", file.display(), path.join("::"));
        }
    }
}

/// What the crates without I/O depend on. `no_std` leaves them no clock, no file and no output.
#[test]
fn the_crates_without_io_depend_on_no_more_than_they_need() {
    for (package, allowed) in [
        ("bounded-table", &[][..]),
        ("capture-filter", &[]),
        ("capture-flow", &["bounded-table", "capture-common", "capture-packet", "foldhash"]),
        ("capture-packet", &["capture-common"]),
        (
            "capture-text",
            &[
                "bounded-table",
                "bytes",
                "capture-common",
                "capture-flow",
                "capture-packet",
                "foldhash",
                "jiff",
            ],
        ),
    ] {
        let manifest = manifest(package);
        let found = dependencies(&manifest, "dependencies");
        assert_eq!(found, allowed.iter().map(|&name| name.to_owned()).collect(), "{package}");
        for table in ["build-dependencies", "target"] {
            assert_eq!(dependencies(&manifest, table), BTreeSet::new(), "{package}, {table}");
        }
        let library = fs::read_to_string(repository().join(package).join("src/lib.rs")).unwrap();
        for attribute in ["#![cfg_attr(not(test), no_std)]", "#![forbid(unsafe_code)]"] {
            assert!(library.contains(attribute), "{package}: {attribute}");
        }
        assert!(!library.contains("extern crate std"), "{package}");
    }
}

#[test]
fn the_programs_depend_on_the_shared_crate_and_aya_only() {
    let found = dependencies(&manifest("capture-ebpf"), "dependencies");
    assert_eq!(found, ["aya-ebpf", "aya-log-ebpf", "capture-common"].map(str::to_owned).into());
}

#[test]
fn tools_and_product_do_not_depend_on_each_other() {
    // The tools have to work when the product cannot be built: when the object is older than its source.
    for package in ["xtask", "lab", "test-support"] {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let found = dependencies(&manifest(package), table);
            assert!(!found.iter().any(|name| name.starts_with("capture")), "{package}, {table}: {found:?}");
        }
        assert!(!dependencies(&manifest("capture"), "dependencies").contains(package), "{package}");
    }
}

fn faults_of(module: &str, source: &str) -> Vec<String> {
    faults(&module.split("::").map(str::to_owned).collect::<Vec<_>>(), source)
}

#[test]
fn broken_rules_are_found() {
    for (module, source, fault) in [
        ("ports", "use crate::kernel::Rings;", "must not import `kernel`"),
        ("source", "use crate::{ports::PortSet, kernel::{Rings, attach}};", "must not import `"),
        ("ports::list", "fn f() { crate::run::stop() }", "must not import `run`"),
        ("ports", "use super::source::File;", "must not import `source`"),
        ("ports::list", "use super::super::source::File;", "must not import `source`"),
        ("ports", "use crate::source::filter::select;", "must not import `source`"),
        ("ports", "use crate::Everything;", "must not import `Everything`"),
        ("source", "use tokio::io::AsyncWrite;", "must not touch Tokio"),
        ("engine", "use tokio::sync::Notify;", "must not touch Tokio"),
        ("summary", "type T = ::tokio::task::JoinHandle<()>;", "must not touch Tokio"),
        ("ports", "fn f() { tokio::spawn(async {}); }", "must not touch Tokio"),
        ("kernel", "#[derive(Debug, clap::ValueEnum)] enum Hook {}", "must not touch Clap"),
        ("ports", "fn f() { info!(\"{}\", aya::maps::name()); }", "must not touch Aya"),
        ("ports", "use aya_obj as obj;", "must not touch Aya"),
        ("ports", "use std::{fmt, time::{Duration, Instant}};", "must not touch Clock"),
        ("ports", "fn f() -> i64 { jiff::Timestamp::now().as_second() }", "must not touch Clock"),
        ("ports", "fn f() { println!(\"a line\"); }", "must not touch Output"),
        ("output", "use std::io::{self, stdout};", "must not touch Output"),
        ("output", "fn f() { std::io::stderr().flush(); }", "must not touch Output"),
        ("ports", "fn f(p: *const u8) -> u8 { unsafe { *p } }", "must not touch Unsafe"),
        ("ports", "use libc::timeval;", "must not touch Unsafe"),
        ("kernel", "use crate::source::File;", "must not import `source`"),
        ("output", "use aya::maps::RingBuf;", "must not touch Aya"),
        ("nowhere", "", "the module `nowhere` has no place"),
    ] {
        let faults = faults_of(module, source);
        let as_intended = !faults.is_empty() && faults.iter().all(|found| found.contains(fault));
        assert!(as_intended, "{module}: {source}: {faults:?}");
    }
}

#[test]
fn unused_grants_are_found() {
    let layer = Layer { module: "cli", imports: &["kernel", "ports"], touches: &[Clock, Output] };
    let used = [Use::Import("ports".to_owned()), Use::Touch(Output, "stdout".to_owned())];
    let faults =
        ["`cli` is granted `kernel`, and does not use it", "`cli` is granted Clock, and does not use it"];
    assert_eq!(unused(&layer, &used), faults);
}

#[test]
fn kept_rules_are_accepted() {
    for (module, source) in [
        ("config", "use crate::{kernel::{self, Hook}, config::tests};"),
        ("kernel::log", "use super::Hook; use super::super::messages::Messages;"),
        (
            "ports",
            "//! Not [`crate::kernel`].\n/* tokio::spawn */ const S: &str = \"unsafe { println!() }\";",
        ),
        ("ports", "fn print(now: u64, unsafe_code: bool) -> bool { print(now, false) != true }"),
        ("ports", "#[cfg(test)]\nmod tests { use std::time::Instant; use crate::kernel; }"),
        ("source", "use std::io::stdin;"),
        ("kernel", "use aya::maps::MapData; fn f() { unsafe { mmap() } }"),
        ("run::live", "use crate::{kernel, source}; use tokio::signal;"),
        ("main", "fn main() { println!(); }"),
    ] {
        assert_eq!(faults_of(module, source), Vec::<String>::new(), "{module}: {source}");
    }
}
