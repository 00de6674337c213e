//! Files read on all processor cores, while the device works on those before them.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use indicatif::ProgressBar;

use crate::failure::{Failure, complain};

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

/// Calls `read` for the input of each item, on all processor cores, and `run` with up to `size` items and their inputs, one
/// after the other. Reports an item that cannot be read, and calls `failed` with it and the reason. After `stop`, runs what
/// is read already.
pub fn in_batches<'a, T: Sync>(
    items: &'a [T],
    size: usize,
    (bar, stop): (&ProgressBar, &AtomicBool),
    read: impl Fn(&'a T) -> Result<Vec<f32>, String> + Sync,
    mut failed: impl FnMut(&'a T, String),
    mut run: impl FnMut(&[&'a T], &mut Vec<f32>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    in_order(items, size, read, |results| {
        // Nothing is known of the first batch until all of it has been read and run.
        bar.tick();
        let (mut batch, mut inputs) = (Vec::with_capacity(size), Vec::new());
        let mut run = |batch: &mut Vec<&'a T>, inputs: &mut Vec<f32>| -> Result<(), Failure> {
            run(batch, inputs)?;
            bar.inc(batch.len() as u64);
            batch.clear();
            inputs.clear();
            Ok(())
        };
        for (item, result) in results {
            match result {
                Ok(input) => {
                    batch.push(item);
                    inputs.extend(input);
                }
                Err(reason) => {
                    bar.suspend(|| complain(&reason));
                    bar.inc(1);
                    failed(item, reason);
                }
            }
            if batch.len() == size {
                run(&mut batch, &mut inputs)?;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if !batch.is_empty() {
            run(&mut batch, &mut inputs)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            8,
            (&ProgressBar::hidden(), &AtomicBool::new(false)),
            read,
            |&item, reason| bad.push((item, reason)),
            |batch, inputs| {
                assert!(batch.len() == 8 || *batch.last().unwrap_or(&&0) == &100);
                let expected: Vec<f32> = batch.iter().flat_map(|&&item| [item as f32; 2]).collect();
                assert_eq!(*inputs, expected);
                seen.extend(batch.iter().map(|&&item| item));
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
        let failing =
            in_batches(&items, 5, (&bar, &stop), |_| Ok(vec![0.0]), |_, _| (), |_, _| Err(Failure::run("lost")));
        assert!(failing.is_err());
        // A signal: what is read already is run.
        let mut count = 0;
        let read = |&item: &usize| {
            stop.store(item >= 2, Ordering::Relaxed);
            Ok(vec![0.0])
        };
        let stopped = in_batches(
            &items,
            100_000,
            (&bar, &stop),
            read,
            |_, _| (),
            |batch, _| {
                count += batch.len();
                Ok(())
            },
        );
        assert!(stopped.is_ok() && (1..items.len()).contains(&count), "{count}");
    }
}
