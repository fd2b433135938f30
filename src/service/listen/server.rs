//! Serves HTTP at a socket, whoever answers: the connections, their limits, and the host that a request names.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use slog::{Logger, warn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::{Paths, answer};
use super::connections::{ClientEntry, Connections};

/// The pause after the process had no descriptor left.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Time limit for the head of a request. An idle connection is closed after as long.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time limit for a connection: a client that does not read its answer must not keep others out. An open page connects
/// again.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Time limit for an answer that is being written when its connection has to end.
const LAST_ANSWER_TIME: Duration = Duration::from_secs(5);
/// The most bytes in the head of a request.
const HEAD_SIZE: usize = 16 * 1024;

/// A socket at which clients connect.
pub enum HttpListener {
    /// An address and a port.
    Tcp(TcpListener),
    /// A path. Whoever may open it is let in, and a proxy there may serve it under any name.
    Unix(UnixListener),
}

/// A client that has connected.
enum Client {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl HttpListener {
    async fn accept(&self) -> io::Result<Client> {
        Ok(match self {
            HttpListener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Client::Tcp(stream, from.ip().to_canonical())
            }
            HttpListener::Unix(listener) => Client::Unix(listener.accept().await?.0),
        })
    }
}

/// Answers all who connect, until this is dropped, and the connections with it.
pub(super) async fn serve<P: Paths>(listener: &HttpListener, paths: Rc<P>, log: &Logger) {
    let mut connections = JoinSet::new();
    let table = Connections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(Client::Tcp(stream, from)) => {
                    // The address of the connection, not of the listener: 0.0.0.0 is reached by the loopback address, too.
                    let is_local = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
                    table.add(Some(from), |entry| {
                        connections.spawn_local(converse(stream, is_local, entry, paths.clone()))
                    })
                }
                // No browser connects here by itself.
                Ok(Client::Unix(stream)) => table.add(None, |entry| {
                    connections.spawn_local(converse(stream, false, entry, paths.clone()))
                }),
                // A client that is gone already needs no pause; without a descriptor left, a try at once would loop.
                Err(why) if is_of_client(&why) => (),
                Err(why) => {
                    warn!(log, "the page takes no connections for a moment"; "why" => %why);
                    sleep(RETRY_AFTER).await;
                }
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

fn is_of_client(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn converse<S>(stream: S, is_local: bool, entry: Rc<ClientEntry>, paths: Rc<impl Paths>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let entry = entry.clone();
        let paths = paths.clone();
        async move { Ok::<_, Infallible>(entry.answer(answer(&request, is_local, &*paths)).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    // An error is the client's affair.
    if timeout(CONNECTION_TIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER_TIME, connection).await;
    }
}
