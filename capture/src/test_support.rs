//! For tests that need the kernel.

/// Ends the test where it cannot be root: loudly, and as a failure where `CI` is set, because nothing may be skipped
/// there. `cargo xtask test` counts the lines.
macro_rules! needs_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            assert!(std::env::var_os("CI").is_none(), "{name} needs root, and nothing may be skipped in CI");
            eprintln!("SKIPPED {name}: needs root");
            return;
        }
    };
}

pub(crate) use needs_root;
