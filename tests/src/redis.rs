//! A real Redis server on a free port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::eventually;

/// A running server; it is killed when it is dropped.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    child: Child,
}

impl Redis {
    /// Starts a server that keeps nothing on disk, and waits until it listens.
    pub async fn start() -> Self {
        let address = free_address();
        Self { address, child: run(address).await }
    }

    /// Starts it again where it was, with nothing in it.
    pub async fn restart(&mut self) {
        self.child = run(self.address).await;
    }

    /// For the configuration.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn run(address: SocketAddr) -> Child {
    let port = address.port().to_string();
    let child = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (Debian's package of that name)");
    eventually("Redis listens", async || TcpStream::connect(address).is_ok()).await;
    child
}

/// An address at which nobody listens.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}
