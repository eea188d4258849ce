//! Connections: so many and no more, and none for those who do not read.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tower::Layer;

/// How many connections there may be: each has its buffers, and is a file for the operating system.
const CONNECTIONS: usize = 1024;
/// How long a caller may take nothing of an answer.
const WRITE: Duration = Duration::from_secs(30);

/// Lets connections in.
#[derive(Clone, Debug)]
pub struct Door(Arc<Semaphore>);

/// The place of a connection: it comes with each of its calls.
#[derive(Clone, Debug)]
pub struct Place {
    _place: Arc<OwnedSemaphorePermit>,
}

impl Default for Door {
    fn default() -> Self {
        Self::of(CONNECTIONS)
    }
}

impl Door {
    fn of(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections)))
    }
}

impl<S> Accept<TcpStream, S> for Door {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // One too many is closed at once: those that wait would be open files too.
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else {
            return ready(Err(io::Error::other("there are too many connections")));
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE));
        let place = Place {
            _place: Arc::new(place),
        };
        ready(Ok((Box::pin(stream), Extension(place).layer(service))))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// One connection too many is refused, until another has ended.
    #[tokio::test]
    async fn so_many() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut callers = Vec::new();
        let mut stream = async || {
            callers.push(TcpStream::connect(address).await.expect("a connection"));
            listener.accept().await.expect("a connection").0
        };
        let door = Door::of(2);
        let first = door.accept(stream().await, ()).await.expect("a place");
        let second = door.accept(stream().await, ()).await;
        assert!(second.is_ok());
        assert!(door.accept(stream().await, ()).await.is_err());
        drop(first);
        assert!(door.accept(stream().await, ()).await.is_ok());
    }

    /// Somebody who reads nothing is given up.
    #[tokio::test(start_paused = true)]
    async fn nobody_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let _caller = TcpStream::connect(address).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        let (mut stream, _) = Door::default().accept(stream, ()).await.expect("a place");
        let writing = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 4096]).await {
                    return error;
                }
            }
        };
        let error = tokio::time::timeout(2 * WRITE, writing).await;
        assert_eq!(error.expect("an end").kind(), io::ErrorKind::TimedOut);
    }
}
