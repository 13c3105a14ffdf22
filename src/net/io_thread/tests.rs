use super::{super::wakeups::Notify, *};

#[derive(Default)]
struct TestNotifier {
    marked: AtomicUsize,
    notified: AtomicUsize,
}

impl Notify for TestNotifier {
    fn mark_ready(&self) {
        self.marked.fetch_add(1, Ordering::AcqRel);
    }

    fn notify(&self) {
        self.notified.fetch_add(1, Ordering::AcqRel);
    }
}

/// Notifies when it is dropped, as a driver does.
struct Dropped(Arc<TestNotifier>);

impl Drop for Dropped {
    fn drop(&mut self) {
        wakeups::notify(self.0.clone());
    }
}

#[test]
fn whoever_waits_for_a_task_that_the_end_of_its_thread_drops_is_woken() {
    let thread = start(0).expect("a thread");
    let notifier = Arc::new(TestNotifier::default());
    let (task, (tell, runs)) = (Dropped(notifier.clone()), mpsc::channel());
    thread.io.spawn(async move {
        let _task = task;
        let _ = tell.send(());
        std::future::pending::<()>().await;
    });
    runs.recv().expect("it runs");
    thread.stop.ask();
    thread.join.join().expect("the thread ends");
    assert_eq!(notifier.marked.load(Ordering::Acquire), 1);
    assert_eq!(notifier.notified.load(Ordering::Acquire), 1);
}
