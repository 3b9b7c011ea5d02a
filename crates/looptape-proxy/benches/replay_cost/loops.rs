//! What agents sent and got: recorded once, then asked for again and again.

use crate::Failure;
use crate::conversation::{Conversation, Shape};
use crate::roles::Target;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::fs;
use std::path::Path;
use tokio::net::TcpStream;

pub(crate) const PATH: &str = "/v1/chat/completions";

/// One call's bytes.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) request: Bytes,
    pub(crate) reply: Bytes,
}

pub(crate) struct Loops {
    pub(crate) loops: Vec<Vec<Call>>,
}

impl Loops {
    /// Sends `count` loops of so many steps, and keeps both sides.
    pub(crate) async fn record(recorder: &Target, count: usize, steps: usize) -> Result<Self, Failure> {
        let address = recorder.address();
        let mut connection = connect(address).await?;
        let mut loops = Vec::new();
        for seed in 0..count as u64 {
            let mut agent = Conversation::new(Shape::Loop, seed + 1);
            let mut calls = Vec::new();
            for _ in 0..steps {
                let request = Bytes::from(agent.request());
                let reply = send(&mut connection, address, request.clone()).await?;
                agent.reply(std::str::from_utf8(&reply)?).ok_or("a reply without its text")?;
                calls.push(Call { request, reply });
            }
            loops.push(calls);
        }
        Ok(Self { loops })
    }

    /// For the server that answers from memory: each body with its length before it.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for body in self.loops.iter().flatten().flat_map(|call| [&call.request, &call.reply]) {
            bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
            bytes.extend_from_slice(body);
        }
        Ok(fs::write(file, bytes)?)
    }

    pub(crate) fn read(file: &Path) -> Result<Vec<Call>, Failure> {
        let mut bytes = Bytes::from(fs::read(file)?);
        let mut bodies = Vec::new();
        while bytes.len() >= 8 {
            let length = u64::from_le_bytes(bytes.split_to(8)[..].try_into()?);
            bodies.push(bytes.split_to(usize::try_from(length)?));
        }
        Ok(bodies.chunks(2).map(|pair| Call { request: pair[0].clone(), reply: pair[1].clone() }).collect())
    }
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: &str) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(driver);
    Ok(connection)
}

/// One call, as an SDK sends it.
pub(crate) async fn send(connection: &mut Connection, address: &str, body: Bytes) -> Result<Bytes, Failure> {
    let request = Request::post(PATH)
        .header("host", address)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "replay-cost/1")
        .header("authorization", "Bearer sk-benchmark-0123456789abcdef")
        .body(Full::new(body))?;
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    let reply = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("status {status}: {}", String::from_utf8_lossy(&reply)).into());
    }
    Ok(reply)
}
