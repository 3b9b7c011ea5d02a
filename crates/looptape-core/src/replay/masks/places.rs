//! Places that differ from machine to machine and run to run, by their shape: temporary folders, addresses
//! with a port, names of the local network.
//!
//! Of a temporary path the folder is masked, never what lies in it: `/tmp/run-8f3a/report.csv` may be in
//! another folder, but it is the same `report.csv`.

use super::kind::MaskKind;

/// No name is longer, so no text makes the search slow.
const NAME_BYTES: usize = 255;

/// A masked part of a text, by its offset from where it was looked for.
pub(super) type Part = (std::ops::Range<usize>, MaskKind);

/// The length of the temporary folder with which the text begins; `own` are the runs' own.
pub(super) fn temporary_path(text: &[u8], own: &[String]) -> Option<usize> {
    let root = temporary_root(text, own)?;
    let Some(b'/') = text.get(root) else {
        return (!text.get(root).is_some_and(|&byte| is_name_byte(byte))).then_some(root);
    };
    let rest = &text[root + 1..];
    let component = rest.iter().take(NAME_BYTES).take_while(|&&byte| is_name_byte(byte)).count();
    if rest.get(component) == Some(&b'/') && component > 0 {
        return Some(root + 1 + component);
    }
    let name = trim_stops(&rest[..component]);
    let stem = &name[..name.len() - extension(name)];
    let is_folder = stem.len() == name.len();
    Some(if is_made_up(stem, is_folder) { root + 1 + stem.len() } else { root })
}

fn temporary_root(text: &[u8], own: &[String]) -> Option<usize> {
    if let Some(own) = own.iter().find(|own| text.starts_with(own.as_bytes())) {
        return Some(own.len());
    }
    let private = if text.starts_with(b"/private/") { b"/private".len() } else { 0 };
    let rest = &text[private..];
    for root in [b"/tmp".as_slice(), b"/var/tmp"] {
        if rest.starts_with(root) {
            return Some(private + root.len());
        }
    }
    // macOS: /var/folders/xx/…/T
    let mut at = rest.strip_prefix(b"/var/folders").map(|_| b"/var/folders".len())?;
    for _ in 0..3 {
        let folder = rest.get(at..)?.strip_prefix(b"/")?;
        let length = folder.iter().take(NAME_BYTES).take_while(|&&byte| is_name_byte(byte)).count();
        at += 1 + length;
    }
    Some(private + at)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'~' | b'@' | b'%')
        || byte >= 0x80
}

fn trim_stops(name: &[u8]) -> &[u8] {
    let stops = name.iter().rev().take_while(|&&byte| byte == b'.').count();
    &name[..name.len() - stops]
}

/// The length of a file's extension with its dot: at most five letters and digits.
fn extension(name: &[u8]) -> usize {
    let length = name.iter().rev().take(6).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let has_stem = name.len() > length + 1;
    if (1..=5).contains(&length) && has_stem && name[name.len() - length - 1] == b'.' {
        length + 1
    } else {
        0
    }
}

/// Whether a program made the name up: what `mkdtemp` and its kin put at the end of one.
fn is_made_up(stem: &[u8], is_folder: bool) -> bool {
    let has = |text: &[u8], is: fn(&u8) -> bool| text.iter().any(is);
    if stem.starts_with(b"tmp") || stem.starts_with(b".tmp") {
        return stem.len() > 4;
    }
    let tail = stem.rsplit(|byte| matches!(byte, b'-' | b'_' | b'.')).next().unwrap_or(stem);
    let mixes = has(tail, u8::is_ascii_digit) && has(tail, u8::is_ascii_alphabetic);
    let mixes_case = tail.iter().skip(1).any(u8::is_ascii_uppercase) && has(tail, u8::is_ascii_lowercase);
    (tail.len() >= 6 && (mixes || mixes_case))
        || (is_folder && (has(stem, u8::is_ascii_digit) || ends_as_python_does(stem)))
}

/// Eight of `a-z0-9_` behind a prefix: what Python's `mkdtemp` appends need not hold a digit.
fn ends_as_python_does(stem: &[u8]) -> bool {
    let Some((prefix, tail)) = stem.split_last_chunk::<8>() else { return false };
    let is_drawn = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    tail.iter().all(is_drawn) && matches!(prefix.last(), Some(b'-' | b'_' | b'.'))
}

/// What of the address is masked with which the text begins; `after_slashes` is what stands before it
/// ending in `//`, as in a URL.
pub(super) fn host(text: &[u8], before: &[u8]) -> Option<Part> {
    if text.starts_with(b"[::1]") {
        let port = port_after(text, b"[::1]".len())?;
        return Some((0..port.end, MaskKind::Host));
    }
    let name = host_name(text);
    let port = port_after(text, name.len());
    let is_local_name = is_under_local(name);
    if is_local_name && port.is_none() {
        return Some((0..name.len(), MaskKind::Host));
    }
    let port = port?;
    let address = ipv4(name);
    if is_local_name || name.eq_ignore_ascii_case(b"localhost") || address.is_some_and(is_private) {
        Some((0..port.end, MaskKind::Host))
    } else {
        (address.is_some() || before.ends_with(b"://")).then_some((port, MaskKind::Port))
    }
}

/// Letters, digits, hyphens and single dots, not ending in a dot.
fn host_name(text: &[u8]) -> &[u8] {
    let length = text
        .iter()
        .take(NAME_BYTES)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        .count();
    trim_stops(&text[..length])
}

fn is_under_local(name: &[u8]) -> bool {
    [b".local".as_slice(), b".internal"].iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

/// The digits of a port behind the colon at `at`.
fn port_after(text: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let digits = text.get(at..)?.strip_prefix(b":")?;
    let end = port_digits(digits)?;
    Some(at + 1..at + 1 + end)
}

/// How many digits of a port the text begins with.
pub(super) fn port_digits(text: &[u8]) -> Option<usize> {
    let length = text.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let port: u32 = std::str::from_utf8(text.get(..length)?).ok()?.parse().ok()?;
    let ends = !text.get(length).is_some_and(u8::is_ascii_alphanumeric);
    (ends && (1..=65_535).contains(&port)).then_some(length)
}

fn ipv4(name: &[u8]) -> Option<std::net::Ipv4Addr> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

fn is_private(address: std::net::Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_and_not_what_lies_in_it() {
        for (path, masked) in [
            ("/tmp/run-8f3a/report.csv", "/tmp/run-8f3a"),
            ("/tmp/alpha/x", "/tmp/alpha"),
            ("/tmp/report.csv", "/tmp"),
            ("/tmp/out1.txt", "/tmp"),
            ("/tmp/tmpab12cd_x.txt", "/tmp/tmpab12cd_x"),
            ("/tmp/tmp.X8fKq2mVbZ", "/tmp/tmp.X8fKq2mVbZ"),
            ("/tmp/agent-x8f3Kd", "/tmp/agent-x8f3Kd"),
            ("/tmp/agent-jylsh_zt", "/tmp/agent-jylsh_zt"),
            ("/tmp/agent-jylshazt and", "/tmp/agent-jylshazt"),
            ("/tmp/agent-notes.txt", "/tmp"),
            ("/tmp/run1.", "/tmp/run1"),
            ("/tmp/work and", "/tmp"),
            ("/tmp", "/tmp"),
            ("/tmp/", "/tmp"),
            ("/private/tmp/a/b", "/private/tmp/a"),
            ("/var/folders/zz/a1b2_c3/T/tmp.Abc123/x", "/var/folders/zz/a1b2_c3/T/tmp.Abc123"),
            ("/scratch/job/alpha/x", "/scratch/job/alpha"),
        ] {
            let own = ["/scratch/job".to_owned()];
            assert_eq!(temporary_path(path.as_bytes(), &own), Some(masked.len()), "{path}");
        }
        for path in ["/tmpfs/a", "/home/tmp/a", "/var/log/a", "/tmp2"] {
            assert_eq!(temporary_path(path.as_bytes(), &[]), None, "{path}");
        }
    }

    #[test]
    fn addresses_with_ports_and_local_names() {
        let masked = |text: &str, before: &str| {
            let (range, kind) = host(text.as_bytes(), before.as_bytes())?;
            Some((text[range].to_owned(), kind))
        };
        for (text, before, part, kind) in [
            ("127.0.0.1:43121/x", "", "127.0.0.1:43121", MaskKind::Host),
            ("localhost:8080", "http://", "localhost:8080", MaskKind::Host),
            ("[::1]:8080", "", "[::1]:8080", MaskKind::Host),
            ("192.168.1.7:80", "", "192.168.1.7:80", MaskKind::Host),
            ("8.8.8.8:53", "", "53", MaskKind::Port),
            ("example.com:8443/a", "https://", "8443", MaskKind::Port),
            ("macbook.local is", "", "macbook.local", MaskKind::Host),
            ("ip-10-0-1-23.ec2.internal:99", "", "ip-10-0-1-23.ec2.internal:99", MaskKind::Host),
        ] {
            assert_eq!(masked(text, before), Some((part.to_owned(), kind)), "{text}");
        }
        for text in [
            "main.rs:120",
            "example.com:8443",
            "12:30",
            "127.0.0.1",
            "localhost",
            "settings.local.json",
            "localhost:99999",
        ] {
            assert_eq!(masked(text, ""), None, "{text}");
        }
    }
}
