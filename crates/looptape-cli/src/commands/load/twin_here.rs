//! The simulated provider of a run that has no other target.

use anyhow::Context;
use looptape_core::scenario::Scenario;
use looptape_core::simulated::{Generated, MockClock, MockDesk, MockProvider, Says, SimTime};
use looptape_proxy::simulated_server::{MockPlayer, SimulatedServer, SimulatedServerHandle};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The twin, on a thread of its own: it must not wait for the client, nor the client for it.
pub(super) struct TwinHere {
    runtime: tokio::runtime::Runtime,
    server: SimulatedServerHandle,
    url: String,
}

impl TwinHere {
    pub(super) fn start(scenario: &Scenario) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("the twin's thread cannot be started")?;
        let time = SimTime::Times(1.0);
        let (url, server) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            let says = Says::Generated(Generated::default());
            let provider = MockProvider::new(says, scenario.seed, time, MockClock::Real);
            let desk = MockDesk::new(scenario.twin.clone(), scenario.seed);
            SimulatedServer::start_mock(listener, Arc::new(MockPlayer::new(provider, desk, time)))
        })?;
        Ok(Self { runtime, server, url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn stop(self) {
        let Self { runtime, server, .. } = self;
        drop(server);
        runtime.shutdown_background();
    }
}
