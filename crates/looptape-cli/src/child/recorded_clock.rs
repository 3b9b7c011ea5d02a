//! A wall clock for the child that shows the recorded time: `--clock recorded`.
//!
//! A small library (`preload/recorded_clock.rs`) is written to a private folder, with the shift in it, and put
//! first into `LD_PRELOAD`, where the child's own children find it too. The folder lives as long as this value.
//! A statically linked program has no loader that would read `LD_PRELOAD`, and is named ([`escapes`]).

use super::environment::Variables;
use anyhow::Context;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[cfg(recorded_clock)]
const LIBRARY: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/recorded_clock.so")));
#[cfg(not(recorded_clock))]
const LIBRARY: Option<&[u8]> = None;

/// What stands before the shift in the library.
const MARK: &[u8; 16] = b"looptape-shift-\x01";

const PRELOAD: &str = "LD_PRELOAD";

/// The library, written down.
#[derive(Debug)]
#[must_use = "the child's clock is shifted as long as this lives"]
pub(crate) struct RecordedClock {
    _folder: TempDir,
    /// For the child.
    pub(crate) variables: Variables,
}

impl RecordedClock {
    /// A clock that is `shift_us` ahead of the real one. `preloaded` is what the child preloads anyway.
    pub(crate) fn prepare(shift_us: i64, preloaded: Option<&str>) -> anyhow::Result<Self> {
        let library = LIBRARY.context(
            "--clock recorded is not available in this build: it needs Linux on x86_64 or aarch64. Leave it \
             out, and dates in prompts are today's",
        )?;
        let folder = tempfile::Builder::new().prefix("looptape-clock-").tempdir();
        let folder = folder.context("no private folder can be made for the clock")?;
        let file = folder.path().join("recorded_clock.so");
        let library = with_shift(library, shift_us.saturating_mul(1000))
            .context("the clock's library holds no place for the shift: this is a bug")?;
        fs::write(&file, library)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o500)))
            .with_context(|| format!("the clock cannot be written to {}", file.display()))?;
        let file = file.to_str().filter(|path| !path.contains([':', ' ']));
        let file = file.context(
            "the temporary folder's path holds a space or a colon, which LD_PRELOAD cannot: set TMPDIR to another",
        )?;
        let all = match preloaded.filter(|before| !before.trim().is_empty()) {
            Some(before) => format!("{file}:{before}"),
            None => file.to_owned(),
        };
        Ok(Self { _folder: folder, variables: vec![(PRELOAD.to_owned(), all)] })
    }
}

fn with_shift(library: &[u8], shift_ns: i64) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(library, MARK)? + MARK.len();
    let mut library = library.to_vec();
    library.get_mut(at..at + 8)?.copy_from_slice(&shift_ns.to_ne_bytes());
    Some(library)
}

/// Why the clock of `program` stays the real one, if it does. `path` is the child's `PATH`.
pub(crate) fn escapes(program: &OsStr, path: Option<&OsStr>) -> Option<String> {
    let file = found(program, path)?;
    let (file, head) = through_scripts(file)?;
    let is_static = head.starts_with(b"\x7fELF") && !has_loader(&head);
    is_static.then(|| format!("{} is statically linked, so its clock stays the real one", file.display()))
}

/// Where the system finds a program.
fn found(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let named = Path::new(program);
    if named.components().count() > 1 {
        return Some(named.to_owned());
    }
    std::env::split_paths(path?).map(|folder| folder.join(named)).find(|file| file.is_file())
}

/// The program behind a script, at most a few deep, and its first bytes.
fn through_scripts(mut file: PathBuf) -> Option<(PathBuf, Vec<u8>)> {
    const DEEP: usize = 4;
    const HEAD_BYTES: u64 = 64 << 10;
    for _ in 0..DEEP {
        let mut head = Vec::new();
        fs::File::open(&file).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
        let Some(line) = head.strip_prefix(b"#!") else { return Some((file, head)) };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        file = PathBuf::from(line.split_whitespace().next()?);
    }
    None
}

/// Whether an ELF file names a loader (`PT_INTERP`), as everything that is dynamically linked does. Files of
/// another width or byte order are taken for such: nothing is known of them.
fn has_loader(elf: &[u8]) -> bool {
    const WIDE_LITTLE: [u8; 2] = [2, 1];
    const INTERP: u32 = 3;
    if elf.get(4..6) != Some(&WIDE_LITTLE) {
        return true;
    }
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut wide = [0u8; 8];
        wide[..bytes].copy_from_slice(elf.get(at..at + bytes)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((first, size, count)) = headers() else { return true };
    (0..count).any(|n| number(first + n * size, 4) == Some(INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_is_written_behind_its_mark() {
        let library = [b"code", MARK.as_slice(), &[0; 8], b"more"].concat();
        let shifted = with_shift(&library, -5).unwrap();
        assert_eq!(shifted.len(), library.len());
        assert_eq!(shifted[20..28], (-5i64).to_ne_bytes());
        assert!(with_shift(b"no mark", 1).is_none());
    }

    #[test]
    fn programs_without_a_loader_escape() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, bytes: &[u8]| {
            let file = folder.path().join(name);
            fs::write(&file, bytes).unwrap();
            file
        };
        let elf = |kind: u32| {
            let mut bytes = vec![0u8; 64 + 56];
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[32] = 64;
            bytes[54] = 56;
            bytes[56] = 1;
            bytes[64..68].copy_from_slice(&kind.to_le_bytes());
            bytes
        };
        let plain = place("static", &elf(1));
        place("dynamic", &elf(3));
        place("script", format!("#!{} -x\n", plain.display()).as_bytes());
        let escapes = |name: &str| escapes(OsStr::new(name), Some(folder.path().as_os_str()));
        assert!(escapes("static").unwrap().contains("statically linked"));
        assert!(escapes("script").unwrap().contains("/static "));
        assert_eq!(escapes("dynamic"), None);
        assert_eq!(escapes("nowhere"), None);
    }
}
