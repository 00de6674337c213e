//! Files read on all processor cores, while the device works on those before them.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use indicatif::ProgressBar;

use crate::{
    failure::{Failure, complain},
    progress,
};

/// Calls `read` for each item, on all processor cores, and `take` with the results in the order of the items. About `waiting`
/// results may wait; more would only take memory. Reading ends early when `take` does.
pub fn in_order<'a, T: Sync, R: Send, O>(
    items: &'a [T],
    waiting: usize,
    read: impl Fn(&'a T) -> R + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = (&'a T, R)>) -> O,
) -> O {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    thread::scope(|scope| {
        let read = &read;
        // Each thread reads every so many-th item into a queue of its own, and the queues are emptied in turns.
        let reader = |first: usize| {
            let (send, results) = mpsc::sync_channel(waiting.div_ceil(threads));
            scope.spawn(move || {
                for item in items.iter().skip(first).step_by(threads) {
                    if send.send(read(item)).is_err() {
                        return;
                    }
                }
            });
            results
        };
        let queues: Vec<mpsc::Receiver<R>> = (0..threads).map(reader).collect();
        take(&mut items.iter().zip(queues.iter().cycle()).map_while(|(item, queue)| Some((item, queue.recv().ok()?))))
    })
}

/// Calls `read` for each item, on all processor cores, `run` with several items and their results, and `take` with these and what
/// `run` gave, one batch after the other. Two batches are under way at once, so that the device has one while the other is
/// prepared. `start` is called when the first item was read, and gives the size of a batch and what `run` needs; about `waiting`
/// results may wait. Reports an item that cannot be read, and calls `failed` with it and the reason. After `stop`, runs what is
/// read already.
pub fn in_batches<'a, T: Sync, R: Send, D: Send + Sync, O: Send>(
    items: &'a [T],
    waiting: usize,
    (bar, stop): (&ProgressBar, &AtomicBool),
    read: impl Fn(&'a T) -> Result<R, String> + Sync,
    start: impl FnOnce() -> Result<(usize, D), Failure>,
    run: impl Fn(&D, &[(&'a T, R)]) -> Result<O, Failure> + Sync,
    (mut take, mut failed): (impl FnMut(&D, &[(&'a T, R)], O) -> Result<(), Failure>, impl FnMut(&'a T, String)),
) -> Result<(), Failure> {
    in_order(items, waiting, read, |results| {
        // A large first picture takes seconds; later ones are read behind the bar.
        let first = progress::while_working("reading", || results.next());
        let started: OnceLock<(usize, D)> = OnceLock::new();
        thread::scope(|scope| {
            let lane = || {
                let (send, batches) = mpsc::sync_channel::<Vec<(&'a T, R)>>(1);
                let (done, results) = mpsc::sync_channel(1);
                let (run, started) = (&run, &started);
                scope.spawn(move || {
                    for batch in batches {
                        let Some((_, device)) = started.get() else { return };
                        let result = run(device, &batch);
                        if done.send((batch, result)).is_err() {
                            return;
                        }
                    }
                });
                (send, results)
            };
            let lanes = [lane(), lane()];
            let ended = |_| Failure::run("a thread that runs batches has ended");
            let mut finish = |(batch, result): (Vec<(&'a T, R)>, Result<O, Failure>)| -> Result<(), Failure> {
                let Some((_, device)) = started.get() else { return Ok(()) };
                take(device, &batch, result?)?;
                bar.inc(batch.len() as u64);
                Ok(())
            };
            // Batches go to the lanes in turns, and come back in turns.
            let (mut sent, mut taken) = (0, 0);
            let (mut start, mut size) = (Some(start), 0);
            let mut batch = Vec::new();
            for (item, result) in first.into_iter().chain(results) {
                match result {
                    Ok(result) => {
                        if let Some(start) = start.take() {
                            let made = start()?;
                            size = started.get_or_init(|| made).0;
                            // Nothing is known of the first batch until all of it has been read and run.
                            bar.tick();
                        }
                        batch.push((item, result));
                    }
                    Err(reason) => {
                        bar.suspend(|| complain(&reason));
                        bar.inc(1);
                        failed(item, reason);
                    }
                }
                if !batch.is_empty() && batch.len() >= size {
                    if sent - taken == lanes.len() {
                        finish(lanes[taken % lanes.len()].1.recv().map_err(ended)?)?;
                        taken += 1;
                    }
                    let _ = lanes[sent % lanes.len()].0.send(std::mem::take(&mut batch));
                    sent += 1;
                }
                while taken < sent
                    && let Ok(done) = lanes[taken % lanes.len()].1.try_recv()
                {
                    finish(done)?;
                    taken += 1;
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            if !batch.is_empty() {
                let _ = lanes[sent % lanes.len()].0.send(batch);
                sent += 1;
            }
            while taken < sent {
                finish(lanes[taken % lanes.len()].1.recv().map_err(ended)?)?;
                taken += 1;
            }
            Ok(())
        })
    })
}

/// The inputs of a batch of `size`: after the last one, copies of it. Zeros could lead to what is no number.
pub fn padded<'r>(inputs: impl ExactSizeIterator<Item = &'r Vec<f32>> + Clone, size: usize) -> Vec<f32> {
    let last = inputs.clone().last();
    let missing = size.saturating_sub(inputs.len());
    let mut all = Vec::with_capacity(size * last.map_or(0, Vec::len));
    inputs.chain(last.into_iter().cycle().take(missing)).for_each(|input| all.extend_from_slice(input));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_batch_is_filled_with_its_last_picture() {
        let inputs = [vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(padded(inputs.iter(), 4), [1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0]);
        assert_eq!(padded(inputs.iter(), 2), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn batches_are_in_order_and_without_what_cannot_be_read() {
        let items: Vec<usize> = (0..101).collect();
        let (mut seen, mut bad) = (vec![], vec![]);
        let read = |&item: &usize| match item % 10 {
            3 => Err(format!("{item}")),
            _ => Ok(vec![item as f32; 2]),
        };
        let done = in_batches(
            &items,
            20,
            (&ProgressBar::hidden(), &AtomicBool::new(false)),
            read,
            || Ok((8, ())),
            |(), batch| {
                assert!(batch.len() == 8 || *batch.last().unwrap().0 == 100);
                Ok(batch.iter().map(|(item, _)| **item).sum::<usize>())
            },
            (
                |(): &(), batch: &[(&usize, Vec<f32>)], sum| {
                    assert_eq!(sum, batch.iter().map(|(item, _)| **item).sum::<usize>());
                    for (item, input) in batch {
                        assert_eq!(*input, [**item as f32; 2]);
                        seen.push(**item);
                    }
                    Ok(())
                },
                |&item: &usize, reason| bad.push((item, reason)),
            ),
        );
        assert!(done.is_ok());
        assert_eq!(seen, items.iter().copied().filter(|item| item % 10 != 3).collect::<Vec<_>>());
        assert_eq!(bad, (0..10).map(|tens| (10 * tens + 3, format!("{}", 10 * tens + 3))).collect::<Vec<_>>());
    }

    #[test]
    fn reading_ends_with_what_takes() {
        let items: Vec<usize> = (0..100_000).collect();
        let first = in_order(&items, 4, |&item| item, |results| results.take(3).map(|(_, item)| item).sum::<usize>());
        assert_eq!(first, 3);
        assert_eq!(in_order(&[], 4, |&item: &usize| item, |results| results.count()), 0);
        // A device that fails.
        let (bar, stop) = (ProgressBar::hidden(), AtomicBool::new(false));
        let lost = |(): &(), _: &[(&usize, ())]| Err(Failure::run("lost"));
        let run = |(): &(), _: &[(&usize, ())]| Ok(());
        let (take, failed) = (|(): &(), _: &[(&usize, ())], ()| Ok(()), |_: &usize, _| ());
        let read = |_: &usize| Ok(());
        assert!(in_batches(&items, 5, (&bar, &stop), read, || Ok((5, ())), lost, (take, failed)).is_err());
        let none = || Err::<(usize, ()), _>(Failure::run("none"));
        assert!(in_batches(&items, 5, (&bar, &stop), read, none, run, (take, failed)).is_err());
        // A disk that is full.
        let full = |(): &(), _: &[(&usize, ())], ()| Err(Failure::run("full"));
        assert!(in_batches(&items, 5, (&bar, &stop), read, || Ok((5, ())), run, (full, failed)).is_err());
        // A signal: what is read already is run.
        let mut count = 0;
        let read = |&item: &usize| {
            stop.store(item >= 2, Ordering::Relaxed);
            Ok(())
        };
        let count_all = |(): &(), batch: &[(&usize, ())], ()| {
            count += batch.len();
            Ok(())
        };
        let stopped = in_batches(&items, 1000, (&bar, &stop), read, || Ok((100_000, ())), run, (count_all, failed));
        assert!(stopped.is_ok() && (1..items.len()).contains(&count), "{count}");
    }
}
