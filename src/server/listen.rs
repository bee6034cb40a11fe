//! Sockets: one per address and worker, all on the same port, so that the kernel spreads connections.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait for a worker; the kernel caps it at its own limit.
const BACKLOG: i32 = 4096;

/// `workers` sockets on `address`. Port 0 is settled by the first and taken over by the others.
///
/// # Errors
/// The system's own, with the address.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<std::net::TcpListener>, String> {
    let first = socket(address)?;
    let settled = first.local_addr().map_err(|e| format!("{address}: {e}"))?;
    let others = (1..workers).map(|_| socket(settled));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn socket(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let fault = |e: std::io::Error| format!("cannot listen on {address}: {e}");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(fault)?;
    socket.set_reuse_address(true).map_err(fault)?;
    #[cfg(unix)]
    socket.set_reuse_port(true).map_err(fault)?;
    socket.set_nonblocking(true).map_err(fault)?;
    socket.bind(&address.into()).map_err(fault)?;
    socket.listen(BACKLOG).map_err(fault)?;
    Ok(socket.into())
}
