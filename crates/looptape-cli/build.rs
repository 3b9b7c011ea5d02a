//! Compiles `preload/recorded_clock.rs` into a library of its own, which the binary carries.
//!
//! Where that cannot be done (another system than Linux, another processor, no linker for shared libraries) the
//! binary is built without it, and `--clock recorded` says so.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "preload/recorded_clock.rs";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(recorded_clock)");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let of_cargo = |name: &str| env::var(name).unwrap_or_default();
    let knows_processor = matches!(of_cargo("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64");
    if of_cargo("CARGO_CFG_TARGET_OS") != "linux" || !knows_processor {
        return;
    }
    let library = Path::new(&of_cargo("OUT_DIR")).join("recorded_clock.so");
    match compile(&of_cargo, &library) {
        Ok(()) => println!("cargo::rustc-cfg=recorded_clock"),
        Err(why) => println!("cargo::warning=--clock recorded will not be available: {why}"),
    }
}

fn compile(of_cargo: &dyn Fn(&str) -> String, library: &Path) -> Result<(), String> {
    let mut rustc = Command::new(of_cargo("RUSTC"));
    rustc.args(["--crate-name", "recorded_clock", "--crate-type", "cdylib", "--edition", "2024"]);
    rustc.args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "strip=symbols"]);
    // It needs no library, not even the C library: so it goes with any.
    rustc.args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-Wl,-soname,recorded_clock.so"]);
    rustc.args(["--target", &of_cargo("TARGET")]);
    if of_cargo("CARGO_CFG_TARGET_ENV") == "musl" {
        rustc.args(["-C", "target-feature=-crt-static"]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let output = rustc.arg("-o").arg(library).arg(SOURCE).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned()),
    }
}
