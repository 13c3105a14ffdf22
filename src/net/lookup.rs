//! Name lookups: each in a thread of its own, since the system's resolver blocks and may hang.
//!
//! A host has few threads at a time, so that one whose lookups hang leaves the others theirs; what comes more waits for
//! them. A thread that cannot be had is an error of the lookup.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{blocking, process::PerProcess};
use crate::sync::Mutex;

/// Lookups of one host at a time.
const MAX_LOOKUPS_A_HOST: usize = 4;

type Hosts = HashMap<String, Arc<Semaphore>>;

/// The hosts that are being looked up.
static HOSTS: PerProcess<Mutex<Hosts>> = PerProcess::new(Mutex::default);

/// All addresses of `host`.
pub(super) async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = host.to_owned();
    run(host, move || Ok((name.as_str(), port).to_socket_addrs()?.collect())).await
}

/// Runs `work`, which blocks, for `host`. Whoever waits may go; the work then ends by itself.
async fn run<T: Send + 'static>(
    host: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let semaphore = Arc::clone(
        HOSTS
            .get()
            .lock()
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_LOOKUPS_A_HOST))),
    );
    // Kept by the thread for as long as it works, also when nobody waits for it any more.
    let place = HostPermit {
        host: host.to_owned(),
        _permit: semaphore.acquire_owned().await.map_err(io::Error::other)?,
    };
    blocking::run("fal-realtime-dns", move || {
        let outcome = work();
        drop(place);
        outcome
    })
    .await?
}

/// One of a host's threads.
struct HostPermit {
    host: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for HostPermit {
    /// Forgets a host that nobody looks up any more.
    fn drop(&mut self) {
        let mut hosts = HOSTS.get().lock();
        // The map has one reference, and so has this permit; who waits for one has another.
        if hosts.get(&self.host).is_some_and(|semaphore| Arc::strong_count(semaphore) <= 2) {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_host_whose_lookups_hang_holds_up_no_other() {
        let mut hanging = Vec::new();
        for _ in 0..20 {
            let (release, blocked) = mpsc::channel::<()>();
            let lookup = tokio::spawn(run("hangs.example", move || {
                let _ = blocked.recv();
                Ok(())
            }));
            hanging.push((release, lookup));
        }
        tokio::task::yield_now().await; // they begin
        assert_eq!(run("fine.example", || Ok(7)).await.unwrap(), 7);
        assert!(HOSTS.get().lock().contains_key("hangs.example"));
        for (release, lookup) in hanging {
            drop(release);
            lookup.await.unwrap().unwrap();
        }
        let hosts = HOSTS.get().lock();
        assert!(!hosts.contains_key("hangs.example") && !hosts.contains_key("fine.example"));
    }

    #[tokio::test]
    async fn a_hosts_lookups_are_few_at_a_time_also_when_nobody_waits_for_them() {
        let (tell, mut began) = tokio::sync::mpsc::unbounded_channel();
        let mut releases = Vec::new();
        for _ in 0..=MAX_LOOKUPS_A_HOST {
            let (release, blocked) = mpsc::channel::<()>();
            let tell = tell.clone();
            let lookup = tokio::spawn(run("slow.example", move || {
                let _ = tell.send(());
                let _ = blocked.recv();
                Ok(())
            }));
            releases.push((release, lookup));
        }
        for _ in 0..MAX_LOOKUPS_A_HOST {
            began.recv().await.unwrap();
        }
        for (_, lookup) in releases.iter().take(MAX_LOOKUPS_A_HOST) {
            lookup.abort();
        }
        tokio::task::yield_now().await;
        assert!(began.try_recv().is_err(), "the threads are still at work");
        drop(releases.remove(0));
        began.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_real_name_is_found() {
        let addresses = lookup("localhost", 80).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }
}
