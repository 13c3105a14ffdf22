use super::{super::wakes::Notify, *};

#[derive(Default)]
struct Bell {
    noted: AtomicUsize,
    rung: AtomicUsize,
}

impl Notify for Bell {
    fn note(&self) {
        self.noted.fetch_add(1, Ordering::AcqRel);
    }

    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::AcqRel);
    }
}

/// Notifies when it is dropped, as an actor does.
struct Dropped(Arc<Bell>);

impl Drop for Dropped {
    fn drop(&mut self) {
        wakes::notify(self.0.clone());
    }
}

#[test]
fn whoever_waits_for_a_task_that_the_end_of_its_thread_drops_is_woken() {
    let thread = start(0).expect("a thread");
    let bell = Arc::new(Bell::default());
    let (task, (tell, runs)) = (Dropped(bell.clone()), mpsc::channel());
    thread.io.spawn(async move {
        let _task = task;
        let _ = tell.send(());
        std::future::pending::<()>().await;
    });
    runs.recv().expect("it runs");
    thread.stop.ask();
    thread.join.join().expect("the thread ends");
    assert_eq!(bell.noted.load(Ordering::Acquire), 1);
    assert_eq!(bell.rung.load(Ordering::Acquire), 1);
}
