//! The helper's side of a sandbox: it leaves this machine's network, opens the listener, and becomes the program.
//!
//! It has one thread, as a process must that enters a user namespace. The program keeps its user and group, and
//! has no more rights than before: those that the namespace gave the helper are gone with it, unless it is root's.

use super::READY;
use crate::exit::Exit;
use anyhow::Context;
use rustix::fd::AsFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Talks to the process that listens at `place`, and becomes the program that it names.
pub(crate) fn run(place: &Path) -> anyhow::Result<Exit> {
    let mut link = UnixStream::connect(place).context("this verb is looptape's own, for --sandbox")?;
    match namespace::enter().map_err(|error| format!("{error:#}")) {
        Ok(listener) => hand_over(&link, &listener)?,
        Err(why) => {
            link.write_all(why.as_bytes())?;
            return Ok(Exit::Failure);
        }
    }
    let Some((variables, command)) = told(&mut BufReader::new(&link))? else {
        // Whoever wanted the program is gone.
        return Ok(Exit::Failure);
    };
    let Some((program, arguments)) = command.split_first() else { return Ok(Exit::Usage) };
    let error = Command::new(program).args(arguments).envs(variables).exec();
    link.write_all(&error.raw_os_error().unwrap_or_default().to_le_bytes())?;
    Ok(Exit::Failure)
}

fn hand_over(link: &UnixStream, listener: &TcpListener) -> anyhow::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with_it = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    with_it.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(link, &[IoSlice::new(&[READY])], &mut with_it, SendFlags::empty())?;
    Ok(())
}

/// The variables to add, and the command line.
type Told = (Vec<(String, String)>, Vec<OsString>);

/// What is told; `None` if it does not come to its end.
fn told(link: &mut impl BufRead) -> anyhow::Result<Option<Told>> {
    let mut variables = Vec::new();
    loop {
        let Some(variable) = part(link)? else { return Ok(None) };
        if variable.is_empty() {
            break;
        }
        let variable = String::from_utf8(variable)?;
        variables.extend(variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let Some(count) = part(link)? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..String::from_utf8(count)?.parse::<usize>()? {
        let Some(word) = part(link)? else { return Ok(None) };
        words.push(OsString::from_vec(word));
    }
    Ok(Some((variables, words)))
}

/// What is before the next NUL.
fn part(link: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut part = Vec::new();
    link.read_until(0, &mut part)?;
    Ok((part.pop() == Some(0)).then_some(part))
}

#[cfg(not(target_os = "linux"))]
mod namespace {
    pub(super) fn enter() -> anyhow::Result<std::net::TcpListener> {
        anyhow::bail!("network namespaces are Linux's")
    }
}

#[cfg(target_os = "linux")]
mod namespace {
    use anyhow::Context;
    use rustix::io::Errno;
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, send, socket_with,
    };
    use rustix::process::{getgid, getuid};
    use rustix::thread::UnshareFlags;
    use std::fs;
    use std::net::{Ipv4Addr, TcpListener};

    /// Enters a network namespace of its own; a listener on its loopback.
    pub(super) fn enter() -> anyhow::Result<TcpListener> {
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        match unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) {
            Ok(()) => keep_user(user, group).context("the user cannot be kept in a user namespace")?,
            // Root may leave the network without leaving its user namespace, where that is forbidden.
            Err(error) if user != 0 || unshare(UnshareFlags::NEWNET).is_err() => {
                return Err(error)
                    .with_context(|| format!("a network namespace is not permitted here{}", hint()));
            }
            Err(_) => {}
        }
        raise_loopback().context("the sandbox's loopback cannot be raised")?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("nothing can listen in the sandbox")
    }

    #[expect(
        unsafe_code,
        reason = "rustix has no safe form of unshare, because of flags that are not used here"
    )]
    fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
        // SAFETY: the table of file descriptors is not unshared, and this process has one thread.
        unsafe { rustix::thread::unshare_unsafe(flags) }
    }

    /// The same user and group inside as outside, so that files are whose they were.
    fn keep_user(user: u32, group: u32) -> std::io::Result<()> {
        // A group can be mapped only by who cannot change groups any more.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
    }

    /// A new namespace's loopback is down. Asked over rtnetlink (rtnetlink(7)): `RTM_NEWLINK`, with the flag
    /// `IFF_UP` to be changed to up.
    fn raise_loopback() -> anyhow::Result<()> {
        const RTM_NEWLINK: u16 = 16;
        const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
        const IFF_UP: u32 = 1;
        const MESSAGE_BYTES: u32 = 32;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let index = netdevice::name_to_index(&socket, "lo")?;
        let mut message = Vec::with_capacity(MESSAGE_BYTES as usize);
        // The header: length, type, flags, sequence number, sender.
        message.extend(MESSAGE_BYTES.to_ne_bytes());
        message.extend(RTM_NEWLINK.to_ne_bytes());
        message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
        message.extend([0; 8]);
        // The link: family and type, index, flags, which of them change.
        message.extend([0; 4]);
        message.extend(index.to_ne_bytes());
        message.extend(IFF_UP.to_ne_bytes());
        message.extend(IFF_UP.to_ne_bytes());
        send(&socket, &message, SendFlags::empty())?;
        let mut answer = [0u8; 512];
        let (_, bytes) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
        // The acknowledgement is an error message, whose number is 0.
        let number = answer.get(16..20).filter(|_| bytes >= 20).and_then(|number| number.try_into().ok());
        match number.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(error) => Err(std::io::Error::from_raw_os_error(-error).into()),
            None => anyhow::bail!("rtnetlink gave no answer"),
        }
    }

    /// What forbids it, as far as the system says.
    fn hint() -> String {
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok();
        let is = |name: &str, value: &str| setting(name).is_some_and(|text| text.trim() == value);
        let is_filtered =
            || fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Seccomp:\t2"));
        let what = if is("user/max_user_namespaces", "0") {
            "user.max_user_namespaces is 0 (set it with sysctl)"
        } else if is("user/max_net_namespaces", "0") {
            "user.max_net_namespaces is 0 (set it with sysctl)"
        } else if is("kernel/unprivileged_userns_clone", "0") {
            "kernel.unprivileged_userns_clone is 0 (set it to 1 with sysctl)"
        } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
            "kernel.apparmor_restrict_unprivileged_userns is 1 (set it to 0 with sysctl, or give looptape an AppArmor profile with `userns`)"
        } else if is_filtered() {
            "a seccomp filter is in the way, as containers have one (start the container with --security-opt seccomp=unconfined, or a profile that permits unshare)"
        } else {
            return String::new();
        };
        format!(", {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_to_its_end_or_not_at_all() {
        let read = |bytes: &[u8]| told(&mut &bytes[..]).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let words = ["sh", ""].map(OsString::from).to_vec();
        assert_eq!(read(b"A=1\0B==\0\x002\0sh\0\0"), Some((vec![pair("A", "1"), pair("B", "=")], words)));
        assert_eq!(read(b"\x000\0"), Some((Vec::new(), Vec::new())));
        for cut in [&b""[..], b"A=1", b"A=1\0", b"\0", b"\x002\0sh\0", b"\x001\0sh"] {
            assert_eq!(read(cut), None);
        }
    }
}
