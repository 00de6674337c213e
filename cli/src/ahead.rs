//! Files read on all processor cores, while the device works on those before them.

use std::{
    sync::{
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

/// Calls `read` for each item, on all processor cores, and `run` with several items and their results, one batch after the other.
/// `start` is called when the first item was read, and gives the size of a batch and what `run` needs; about `waiting` results
/// may wait. Reports an item that cannot be read, and calls `failed` with it and the reason. After `stop`, runs what is read
/// already.
pub fn in_batches<'a, T: Sync, R: Send, D>(
    items: &'a [T],
    waiting: usize,
    (bar, stop): (&ProgressBar, &AtomicBool),
    read: impl Fn(&'a T) -> Result<R, String> + Sync,
    mut failed: impl FnMut(&'a T, String),
    start: impl FnOnce() -> Result<(usize, D), Failure>,
    mut run: impl FnMut(&D, &[(&'a T, R)]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    in_order(items, waiting, read, |results| {
        // A large first picture takes seconds; later ones are read behind the bar.
        let first = progress::while_working("reading", || results.next());
        let (mut start, mut started) = (Some(start), None);
        let mut batch = Vec::new();
        let mut run = |device: &D, batch: &mut Vec<(&'a T, R)>| -> Result<(), Failure> {
            run(device, batch)?;
            bar.inc(batch.len() as u64);
            batch.clear();
            Ok(())
        };
        for (item, result) in first.into_iter().chain(results) {
            match result {
                Ok(result) => {
                    if let Some(start) = start.take() {
                        started = Some(start()?);
                        // Nothing is known of the first batch until all of it has been read and run.
                        bar.tick();
                    }
                    batch.push((item, result));
                    match &started {
                        Some((size, device)) if batch.len() >= *size => run(device, &mut batch)?,
                        _ => {}
                    }
                }
                Err(reason) => {
                    bar.suspend(|| complain(&reason));
                    bar.inc(1);
                    failed(item, reason);
                }
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        match &started {
            Some((_, device)) if !batch.is_empty() => run(device, &mut batch),
            _ => Ok(()),
        }
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
            |&item, reason| bad.push((item, reason)),
            || Ok((8, ())),
            |(), batch| {
                assert!(batch.len() == 8 || *batch.last().unwrap().0 == 100);
                for (item, input) in batch {
                    assert_eq!(*input, [**item as f32; 2]);
                    seen.push(**item);
                }
                Ok(())
            },
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
        assert!(in_batches(&items, 5, (&bar, &stop), |_| Ok(()), |_, _| (), || Ok((5, ())), lost).is_err());
        let none = || Err::<(usize, ()), _>(Failure::run("none"));
        assert!(in_batches(&items, 5, (&bar, &stop), |_| Ok(()), |_, _| (), none, |_, _| Ok(())).is_err());
        // A signal: what is read already is run.
        let mut count = 0;
        let read = |&item: &usize| {
            stop.store(item >= 2, Ordering::Relaxed);
            Ok(())
        };
        let stopped = in_batches(
            &items,
            1000,
            (&bar, &stop),
            read,
            |_, _| (),
            || Ok((100_000, ())),
            |(), batch| {
                count += batch.len();
                Ok(())
            },
        );
        assert!(stopped.is_ok() && (1..items.len()).contains(&count), "{count}");
    }
}
