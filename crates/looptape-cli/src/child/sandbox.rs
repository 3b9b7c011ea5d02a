//! A network namespace for one program, in which only this process's listener can be reached.
//!
//! A helper, this binary once more ([`inside`]), makes the namespace, opens the listener in it and hands it over;
//! then it becomes the program. So the listener is inside, and is served from outside. Nothing else is in there:
//! not the machine's loopback, no other interface, no name service over the network. What is not of the network is
//! not cut off: files, processes, and Unix sockets with a path.
//!
//! The two talk over a Unix socket in a private folder, which is gone before the program begins:
//! - the helper: one byte with the listener, or in words why there is none;
//! - this process, each ended by a NUL: the variables to add, an empty one, how many words the command line has, and
//!   these;
//! - the helper: nothing if it became the program, else the system's error number.

pub(crate) mod inside;

use super::process::{self, NotStarted, Program, Running};
use super::tool_hooks::FrameworkTools;
use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::process::Command;

/// The hidden verb by which this binary becomes the helper.
pub(crate) const VERB: &str = "sandboxed";

/// With this the helper hands its listener over.
const READY: u8 = b'+';

/// The longest reason that is read.
const REASON_BYTES: usize = 4 << 10;

/// A helper that has made the namespace, and waits to become the program.
#[derive(Debug)]
pub(crate) struct Sandbox<'a> {
    command: &'a [OsString],
    folder: Option<&'a Path>,
    tools: FrameworkTools,
    helper: Running,
    link: UnixStream,
}

impl<'a> Sandbox<'a> {
    /// Makes the namespace, and opens a listener in it.
    pub(crate) async fn open(program: Program<'a>) -> anyhow::Result<(Self, TcpListener)> {
        let (command, folder, tools) = (program.command, program.folder, program.tools);
        process::name(command)?;
        let private = tempfile::Builder::new().prefix("looptape-sandbox-").tempdir();
        let private = private.context("no private folder can be made for the sandbox")?;
        let place = private.path().join("link");
        let listening = UnixListener::bind(&place)
            .with_context(|| format!("the sandbox's socket {} cannot be made", place.display()))?;
        let mut helper = start_helper(program, &place)?;
        let link = tokio::select! {
            // A helper that has ended may have said why.
            biased;
            link = listening.accept() => link.context("the sandbox's helper cannot be heard")?.0,
            ended = helper.ended() => {
                let status = ended.context("the sandbox's helper cannot be waited for")?;
                bail!("the sandbox's helper ended at once ({status})");
            }
        };
        let listener = handed_over(&link).await.context("the sandbox's helper cannot be heard")?;
        let listener = listener.map_err(|why| anyhow::anyhow!("{}", refusal(&why)))?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok((Self { command, folder, tools, helper, link }, TcpListener::from_std(listener)?))
    }

    pub(crate) fn command(&self) -> &'a [OsString] {
        self.command
    }

    pub(crate) fn tools(&self) -> FrameworkTools {
        self.tools
    }

    /// The same for another command line.
    pub(crate) fn with<'b>(self, command: &'b [OsString]) -> Sandbox<'b>
    where
        'a: 'b,
    {
        Sandbox { command, ..self }
    }

    /// Lets the helper become the program.
    pub(crate) async fn start(
        self,
        variables: &[(String, String)],
    ) -> anyhow::Result<Result<Running, NotStarted>> {
        let Self { command, folder, mut helper, mut link, .. } = self;
        let set = variables.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
        let words = command.iter().map(|word| word.as_bytes().to_vec());
        let count = command.len().to_string().into_bytes();
        let message: Vec<u8> =
            set.chain([Vec::new(), count]).chain(words).flat_map(|part| [part, vec![0]].concat()).collect();
        let mut failed = Vec::new();
        let told = async {
            link.write_all(&message).await?;
            link.read_to_end(&mut failed).await
        };
        told.await.context("the sandbox's helper went away")?;
        let Ok(number) = <[u8; 4]>::try_from(failed) else { return Ok(Ok(helper)) };
        helper.ended().await.context("the sandbox's helper cannot be waited for")?;
        let error = io::Error::from_raw_os_error(i32::from_le_bytes(number));
        let name = process::name(command)?.to_string_lossy();
        Ok(Err(process::not_started(&name, folder, &error)))
    }
}

/// This binary again, whatever became of its file meanwhile.
fn start_helper(program: Program<'_>, place: &Path) -> anyhow::Result<Running> {
    let own = Path::new("/proc/self/exe");
    let own = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
    let mut helper = Command::new(own);
    helper.arg(VERB).arg(place);
    process::spawn(helper, program)?.context("the sandbox's helper cannot be started")
}

/// The listener, or the helper's reason.
async fn handed_over(link: &UnixStream) -> io::Result<Result<OwnedFd, String>> {
    let mut heard = Vec::new();
    loop {
        link.readable().await?;
        let (bytes, listener) = match link.try_io(Interest::READABLE, || receive(link)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            received => received?,
        };
        match listener {
            Some(listener) if bytes == [READY] => return Ok(Ok(listener)),
            _ if bytes.is_empty() || heard.len() > REASON_BYTES => break,
            _ => heard.extend(bytes),
        }
    }
    Ok(Err(String::from_utf8_lossy(&heard).into_owned()))
}

fn receive(link: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = [0u8; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with_it = RecvAncillaryBuffer::new(&mut space);
    let mut places = [IoSliceMut::new(&mut bytes)];
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let received =
        recvmsg(link, &mut places, &mut with_it, flags).map_err(|error: Errno| io::Error::from(error))?;
    let listener = with_it.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((bytes[..received.bytes].to_vec(), listener))
}

/// What to do where the system does not permit it.
fn refusal(why: &str) -> String {
    let why = if why.trim().is_empty() { "the helper went away" } else { why.trim() };
    format!("--sandbox: {why}. Without it, --block-egress refuses what goes through HTTP proxies")
}
