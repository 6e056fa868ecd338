//! The listening socket: our own, one that several gateways share, or one that systemd handed over.
//!
//! When the gateway ends, no connection that the kernel has already made for it is lost: see [`Listener::last`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream};
use witgate_core::config::Server;

/// Where connections come from.
pub struct Listener {
    tcp: TcpListener,
    kind: Kind,
}

/// Who else has the socket or its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nobody.
    Own,
    /// Other gateways with sockets of their own (SO_REUSEPORT): the kernel spreads connections over all of them.
    SharedPort,
    /// Whoever started us keeps it open: what we do not accept, the next gateway does.
    Inherited,
}

impl Listener {
    /// The socket that systemd handed over if there is one, else a new one; must be called within the runtime.
    ///
    /// # Errors
    /// When the address is taken or not ours, or what was handed over cannot be used; the text says which.
    pub fn open(server: &Server) -> io::Result<Self> {
        let (tcp, kind) = match inherited(ListenFd::from_env())? {
            Some(tcp) => (tcp, Kind::Inherited),
            None => (bind(server)?, if server.reuse_port { Kind::SharedPort } else { Kind::Own }),
        };
        Ok(Self { tcp: TcpListener::from_std(tcp)?, kind })
    }

    /// Where it listens; the port is the true one when the configuration says 0.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether the socket was handed over, so that `server.listen` does not count.
    pub fn is_inherited(&self) -> bool {
        self.kind == Kind::Inherited
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        self.tcp.accept().await.map(|(stream, _)| stream)
    }

    /// Closes the socket, and gives the connections that the kernel had made for it: closing would reset them.
    pub(super) async fn last(self) -> Vec<TcpStream> {
        let patience = match self.kind {
            // They wait for the next gateway.
            Kind::Inherited => return Vec::new(),
            Kind::Own => Duration::ZERO,
            Kind::SharedPort => match refuse_new(&self.tcp) {
                Ok(()) => HANDSHAKE,
                Err(error) => {
                    tracing::warn!(%error, "connections that begin just now may be refused");
                    Duration::ZERO
                }
            },
        };
        let mut last = Vec::new();
        while let Ok(Ok((stream, _))) = tokio::time::timeout(patience, self.tcp.accept()).await {
            last.push(stream);
        }
        last
    }
}

/// Opens the listening socket and closes it again.
///
/// # Errors
/// As [`Listener::open`].
pub fn probe(server: &Server) -> io::Result<()> {
    bind(server).map(drop)
}

fn bind(server: &Server) -> io::Result<std::net::TcpListener> {
    let address = server.listen;
    let explain = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if server.reuse_port => {
                "; the process that listens there does not share the port: `server.reuse_port` must be set for both, \
                 and both must belong to the same user"
            }
            io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another `server.listen`",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another `server.listen`",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    };
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(explain)?;
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true).map_err(explain)?;
    if server.reuse_port {
        socket.set_reuse_port(true).map_err(explain)?;
    }
    socket.set_nonblocking(true).map_err(explain)?;
    socket.bind(&address.into()).map_err(explain)?;
    socket.listen(BACKLOG).map_err(explain)?;
    Ok(socket.into())
}

fn inherited(mut handed: ListenFd) -> io::Result<Option<std::net::TcpListener>> {
    let sockets = handed.len();
    if sockets == 0 {
        return Ok(None);
    }
    if sockets > 1 {
        let message = format!(
            "{sockets} sockets were handed over (LISTEN_FDS), and the gateway takes one: keep one `ListenStream=` in \
             its socket unit"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let explain = |error: io::Error| {
        let message = format!(
            "the socket that was handed over (LISTEN_FDS) cannot be used: {error}; it must be a listening TCP socket"
        );
        io::Error::new(error.kind(), message)
    };
    let socket = handed.take_tcp_listener(0).map_err(explain)?;
    if let Some(socket) = &socket {
        socket.set_nonblocking(true).map_err(explain)?;
    }
    Ok(socket)
}

/// From now on the kernel drops what asks for a new connection at this socket. Who asked tries again after a second,
/// and by then this socket is closed and another gateway's takes its place. Connections that are being made go on.
#[cfg(target_os = "linux")]
fn refuse_new(tcp: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    // Classic BPF over the TCP header: byte 13 holds the flags, and SYN without ACK asks for a connection.
    let filter = [
        SockFilter::new(0x30, 0, 0, 13),          // load the byte
        SockFilter::new(0x54, 0, 0, 0x12),        // keep SYN and ACK of it
        SockFilter::new(0x15, 0, 1, 0x02),        // SYN alone?
        SockFilter::new(0x06, 0, 0, 0),           // then drop the packet,
        SockFilter::new(0x06, 0, 0, 0xffff_ffff), // else keep all of it
    ];
    socket2::SockRef::from(tcp).attach_filter(&filter)
}

#[cfg(not(target_os = "linux"))]
fn refuse_new(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

const BACKLOG: i32 = 4096;
/// One round trip of a connection that was being made when the last one had begun.
const HANDSHAKE: Duration = Duration::from_millis(200);
