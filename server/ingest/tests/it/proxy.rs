//! A wire that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Default)]
struct Gate {
    shut: bool,
    /// How often connections were cut: those from before end.
    cuts: u64,
    /// Connections that are there.
    active: usize,
}

/// Forwards connections to a node.
pub struct Proxy {
    pub address: SocketAddr,
    gate: Arc<watch::Sender<Gate>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let gate = Arc::new(watch::Sender::new(Gate::default()));
        let shared = Arc::clone(&gate);
        #[expect(clippy::disallowed_methods, reason = "aborted when the proxy is dropped")]
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let gate = Arc::clone(&shared);
                connections.spawn(async move {
                    let mut watch = gate.subscribe();
                    let cuts = watch.borrow_and_update().cuts;
                    if watch.borrow().shut {
                        return;
                    }
                    gate.send_modify(|gate| gate.active += 1);
                    tokio::select! {
                        () = forward(near, target) => {}
                        _ = watch.wait_for(|gate| gate.cuts > cuts) => {}
                    }
                    gate.send_modify(|gate| gate.active -= 1);
                });
            }
        });
        Proxy { address, gate, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection; new ones are let through.
    pub async fn cut(&self) {
        self.shut().await;
        self.open();
    }

    /// Ends every connection, and every new one.
    pub async fn shut(&self) {
        self.gate.send_modify(|gate| {
            gate.shut = true;
            gate.cuts += 1;
        });
        let mut watch = self.gate.subscribe();
        watch.wait_for(|gate| gate.active == 0).await.expect("the sender is here");
    }

    pub fn open(&self) {
        self.gate.send_modify(|gate| gate.shut = false);
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
