//! The training itself: steps, measurements, saves.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    Gpu,
    train::{
        DeadChannels, ImageResult, Optimizer, PendingReport, Schedule, SgdForm, StepReport, Trainer, TrainerBuilder,
        shuffled,
    },
};
use serde_json::json;

use super::{
    Args, Order, Plan, ScheduleName, Task,
    checkpoint::{self, Progress},
    data::Data,
    examples::{Examples, Set},
    features,
    log::Log,
    report::Report,
};
use crate::failure::{Failure, note};

/// Pictures of a measurement that are read at once.
const MEASURED: usize = 256;
/// Epochs that the pictures held back may stall before the plateau schedule divides the rate.
const STALLED: u64 = 3;
/// Steps after which a loss that has not moved is told.
const FLAT: u64 = 200;

/// A training under way.
pub struct Session<'a> {
    args: &'a Args,
    plan: Plan,
    task: Task,
    labels: Vec<String>,
    examples: Examples,
    out: PathBuf,
    trainer: Trainer,
    /// The pictures in the order of the epoch; empty before the first step.
    order: Vec<usize>,
    progress: Progress,
    /// The number of steps at the last save of this run.
    saved: Option<u64>,
    /// The epoch of this run that was best on the pictures held back, and their results.
    best: Option<(u64, Vec<ImageResult>)>,
    log: Log,
    stop: Arc<AtomicBool>,
    start: Instant,
}

/// What an epoch's steps gave.
#[derive(Default)]
struct Sums {
    loss: f64,
    correct: usize,
    images: usize,
    /// Of each picture held back.
    results: Vec<ImageResult>,
}

impl Sums {
    fn add(&mut self, report: &StepReport) {
        self.loss += report.loss * report.images.len() as f64;
        self.correct += report.correct;
        self.images += report.images.len();
    }

    fn mean(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

impl<'a> Session<'a> {
    pub fn new(
        args: &'a Args,
        plan: Plan,
        task: Task,
        data: Data,
        examples: Examples,
        (out, stop): (PathBuf, Arc<AtomicBool>),
        gpu: &Gpu,
    ) -> Result<Self, Failure> {
        let settings = settings(args, &plan, &data, &task, &examples);
        let (state, progress) = match args.resume {
            true => {
                checkpoint::load(&out, &task.network, &settings).map(|(state, progress)| (Some(state), progress))?
            }
            false => (None, Progress::new(settings)),
        };
        if examples.training.len() == 0 {
            return Err(Failure::run("expected pictures to train on, and none of them can be read"));
        }
        let mut builder = builder(gpu, args, &plan, &task, &data);
        if let Some(state) = &state {
            builder = builder.resume(state);
        }
        let trainer = builder.build()?;
        let log = Log::new(&out, &args.log, args.json, args.resume)?;
        Ok(Self {
            args,
            plan,
            task,
            labels: data.labels,
            examples,
            out,
            trainer,
            order: Vec::new(),
            progress,
            saved: None,
            best: None,
            log,
            stop,
            start: Instant::now(),
        })
    }

    pub fn run(mut self) -> Result<ExitCode, Failure> {
        let steps = self.steps_of_epoch();
        let total = self.total();
        self.log.begin(total, self.trainer.steps());
        let mut sums = Sums::default();
        let mut pending: Vec<(PendingReport, u64)> = Vec::new();
        let mut stopped_early = false;
        while self.trainer.steps() < total && !self.is_stopped() {
            let step = self.trainer.steps();
            let (epoch, in_epoch) = (step / steps, step % steps);
            let indices = self.batch(epoch, in_epoch);
            let seed = self.args.seed;
            let (inputs, classes) = self.examples.training.batch(&indices, |i| mixed(&[seed, step, i as u64]));
            let rate = self.rate(step, total);
            pending.push((self.trainer.step(&inputs, &classes, rate)?, epoch));
            self.take(&mut pending, &mut sums, false)?;
            let ends_epoch = in_epoch + 1 == steps;
            if ends_epoch {
                self.take(&mut pending, &mut sums, true)?;
                let better = self.end_epoch(epoch, &std::mem::take(&mut sums))?;
                self.save(better)?;
                if self.args.patience.is_some_and(|patience| self.progress.stalled >= patience) {
                    self.log.say("the pictures held back did not get better: stopped early")?;
                    stopped_early = true;
                    break;
                }
            } else if (step + 1).is_multiple_of(self.args.save_every.max(1)) {
                self.take(&mut pending, &mut sums, true)?;
                self.save(false)?;
            }
        }
        self.take(&mut pending, &mut sums, true)?;
        if self.saved != Some(self.trainer.steps()) {
            self.save(false)?;
        }
        self.log.end();
        // Who stops it does not wait for more.
        let is_stopped = self.stop.load(Ordering::Relaxed);
        let dead = if is_stopped { None } else { Some(self.dead_channels()?) };
        self.warn_of_dead(dead.as_deref().unwrap_or_default());
        self.report(dead.as_deref())?;
        let out = self.out.display();
        if is_stopped {
            note(&format!(
                "stopped after step {}: `alexnet train {} --out {out} --resume` goes on, with the same options",
                self.trainer.steps(),
                self.args.folder.display()
            ));
        } else {
            if stopped_early || self.trainer.steps() >= total {
                features::forget(&self.out);
            }
            let model = checkpoint::best(&self.out);
            let model = model.display();
            self.log.say(&match self.progress.best {
                Some(best) => format!("{model}: {:.1} % of the pictures held back are right", 100.0 * best),
                None => model.to_string(),
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes report.html.
    fn report(&self, dead: Option<&[DeadChannels]>) -> Result<(), Failure> {
        let (plan, pictures) = (&self.plan, &self.examples);
        let mut facts = vec![
            ("network", format!("{}, {} parameters trained", self.task.network.name(), self.task.parameters())),
            ("pictures", format!("{} trained on, {} held back", pictures.training.len(), pictures.held.len())),
            ("steps", format!("{} of {} pictures", self.trainer.steps(), plan.batch)),
            ("optimiser", format!("{}, learning rate {}", described(plan.optimizer), plan.rate)),
            ("seed", self.args.seed.to_string()),
        ];
        if let Some(dead) = dead.filter(|dead| !dead.is_empty()) {
            let layer = |found: &DeadChannels| format!("{} {} of {}", found.layer, found.dead, found.channels);
            facts.push(("dead ReLUs", dead.iter().map(layer).collect::<Vec<_>>().join(", ")));
        }
        let held = self.best.as_ref().map(|(epoch, results)| (*epoch, &pictures.held.pictures[..], &results[..]));
        let report = Report {
            title: format!("Training of {}", self.out.display()),
            facts: facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            labels: &self.labels,
            held,
            network: &self.task.network,
            before: &self.task.weights,
            after: &self.trainer.weights()?,
        };
        report.write(&self.out)
    }

    fn is_stopped(&self) -> bool {
        let late = |most: Duration| self.start.elapsed() >= most;
        self.stop.load(Ordering::Relaxed) || self.args.max_time().is_some_and(late)
    }

    /// The number of steps of the whole training.
    fn total(&self) -> u64 {
        self.args.steps.unwrap_or(u64::MAX).min(self.plan.epochs.saturating_mul(self.steps_of_epoch()))
    }

    fn steps_of_epoch(&self) -> u64 {
        self.examples.training.len().div_ceil(self.plan.batch) as u64
    }

    /// The pictures of a step.
    fn batch(&mut self, epoch: u64, step: u64) -> Vec<usize> {
        if step == 0 || self.order.is_empty() {
            let len = self.examples.training.len();
            self.order = match self.args.order {
                Order::Random => shuffled(len, mixed(&[self.args.seed, epoch, u64::MAX])),
                Order::Path => (0..len).collect(),
            };
        }
        let first = step as usize * self.plan.batch;
        self.order[first..].iter().copied().take(self.plan.batch).collect()
    }

    /// The learning rate of a step, which counts from 0.
    fn rate(&self, step: u64, total: u64) -> f32 {
        let factor = match self.plan.schedule {
            ScheduleName::Constant => Schedule::Constant.factor(step, total),
            ScheduleName::Step => Schedule::Step.factor(step, total),
            ScheduleName::Plateau => 0.1f64.powi(self.progress.divided as i32),
            ScheduleName::Cosine => Schedule::Cosine.factor(step, total),
        };
        (f64::from(self.plan.rate) * factor) as f32
    }

    /// Takes the reports that have come, or all of them.
    fn take(&mut self, pending: &mut Vec<(PendingReport, u64)>, sums: &mut Sums, all: bool) -> Result<(), Failure> {
        while let Some((report, epoch)) = pending.first_mut() {
            let (found, epoch) = match report.poll() {
                Some(found) => (found?, *epoch),
                None if all => (self.trainer.wait(report)?, *epoch),
                None => return Ok(()),
            };
            drop(pending.remove(0));
            sums.add(&found);
            self.watch(&found)?;
            self.log.step(epoch + 1, &found, sums.accuracy())?;
        }
        Ok(())
    }

    /// Says what is wrong when the network does not learn.
    fn watch(&mut self, report: &StepReport) -> Result<(), Failure> {
        if !report.loss.is_finite() {
            return Err(self.diverged(report.step));
        }
        let chance = (self.labels.len() as f64).ln();
        self.progress.flat = match (report.loss - chance).abs() < 0.01 * chance {
            true => self.progress.flat + 1,
            false => 0,
        };
        if self.progress.flat == FLAT {
            note(&format!(
                "the loss has stayed at ln({}) = {chance:.3} for {FLAT} steps, as for guesses: try another --lr, or \
                 --recipe finetune",
                self.labels.len()
            ));
            let dead = self.dead_channels()?;
            self.warn_of_dead(&dead);
        }
        Ok(())
    }

    /// The dead ReLUs of each layer, as some of the pictures show them.
    fn dead_channels(&mut self) -> Result<Vec<DeadChannels>, Failure> {
        let set = &self.examples.training;
        let some: Vec<usize> = (0..set.len()).step_by(set.len().div_ceil(MEASURED).max(1)).collect();
        let (inputs, _) = set.batch(&some, |_| 0);
        Ok(self.trainer.dead_channels(&inputs)?)
    }

    fn warn_of_dead(&self, layers: &[DeadChannels]) {
        let most = layers.iter().filter(|layer| 2 * layer.dead > layer.channels);
        let named: Vec<String> =
            most.map(|found| format!("{} of {} in {}", found.dead, found.channels, found.layer)).collect();
        if !named.is_empty() {
            note(&format!(
                "most ReLUs are dead, which learn no more ({}): try a smaller learning rate than --lr {}",
                named.join(", "),
                self.plan.rate
            ));
        }
    }

    fn diverged(&self, step: u64) -> Failure {
        Failure::run(format!(
            "the loss is not a finite number after step {step}: try a smaller learning rate than --lr {}; last.safetensors is \
             from before, if it was saved",
            self.plan.rate
        ))
    }

    /// Measures the pictures held back. Returns whether they are better than ever.
    fn end_epoch(&mut self, epoch: u64, sums: &Sums) -> Result<bool, Failure> {
        let held = measure(&mut self.trainer, &self.examples.held)?;
        let rate = self.rate(self.trainer.steps().saturating_sub(1), self.total());
        self.log.epoch(
            epoch + 1,
            self.trainer.steps(),
            [sums.mean(), sums.accuracy()],
            held.as_ref().map(|held| [held.mean(), held.accuracy()]),
            rate,
        )?;
        let accuracy = held.as_ref().map(Sums::accuracy);
        // Without pictures held back, the newest is the best.
        let better = accuracy.is_none_or(|accuracy| self.progress.best.is_none_or(|best| accuracy > best));
        if let Some(held) = held.filter(|_| better || self.best.is_none()) {
            self.best = Some((epoch + 1, held.results));
        }
        if better {
            (self.progress.best, self.progress.stalled) = (accuracy, 0);
        } else {
            self.progress.stalled += 1;
            if self.progress.stalled.is_multiple_of(STALLED) && self.plan.schedule == ScheduleName::Plateau {
                self.progress.divided += 1;
            }
        }
        Ok(better)
    }

    /// Saves the training, unless numbers that are not finite would take the place of good ones.
    fn save(&mut self, is_best: bool) -> Result<(), Failure> {
        let state = self.trainer.state()?;
        if state.weights.check_finite().is_err() {
            return Err(self.diverged(state.steps));
        }
        let model = self.task.model(&state.weights, &self.labels)?;
        checkpoint::save(&self.out, &model, &state, &self.progress, is_best)?;
        self.saved = Some(state.steps);
        Ok(())
    }
}

/// The trainer with everything but a state.
pub fn builder<'a>(gpu: &'a Gpu, args: &Args, plan: &Plan, task: &'a Task, data: &Data) -> TrainerBuilder<'a> {
    let [rate, decay] = plan.biases;
    let mut builder = Trainer::builder(gpu, &task.network, &task.weights)
        .batch(plan.batch)
        .optimizer(plan.optimizer)
        .weight_decay(plan.weight_decay)
        .biases(rate, decay)
        .dropout(args.dropout)
        .seed(args.seed);
    for layer in task.frozen() {
        builder = builder.rate(&layer.name, 0.0);
    }
    if let Some(images) = args.at_once {
        builder = builder.at_once(images);
    }
    if let Some(norm) = args.clip {
        builder = builder.clip(norm);
    }
    if args.balance {
        let (counts, all) = (data.counts(), data.training.len() as f32);
        let classes = counts.iter().filter(|count| **count > 0).count() as f32;
        builder = builder.class_weights(counts.iter().map(|&count| all / (classes * count.max(1) as f32)).collect());
    }
    builder
}

/// The optimiser in words.
fn described(optimizer: Optimizer) -> String {
    match optimizer {
        Optimizer::Sgd { form, momentum, nesterov } => {
            let form = if form == SgdForm::Caffe { "Caffe's form" } else { "PyTorch's form" };
            let kind = if nesterov { "Nesterov's momentum" } else { "momentum" };
            format!("SGD in {form} with {kind} of {momentum}")
        }
        Optimizer::AdamW { .. } => "AdamW".into(),
        other => format!("{other:?}"),
    }
}

/// What must be the same for a training to go on as it was.
fn settings(args: &Args, plan: &Plan, data: &Data, task: &Task, examples: &Examples) -> serde_json::Value {
    json!({
        "plan": format!("{plan:?}"),
        "steps": args.steps,
        "recipe": format!("{:?}", args.recipe),
        "seed": args.seed,
        "order": format!("{:?}", args.order),
        "clip": args.clip,
        "dropout": args.dropout,
        "balance": args.balance,
        "at_once": args.at_once,
        "freeze": args.freeze,
        "augment": format!("{:?}", args.augment()),
        "preprocessing": format!("{:?}", task.preprocessing),
        "labels": data.labels,
        "pictures": examples.training.len(),
    })
}

/// The loss and accuracy of pictures, without any that are random.
fn measure(trainer: &mut Trainer, set: &Set) -> Result<Option<Sums>, Failure> {
    if set.len() == 0 {
        return Ok(None);
    }
    let mut sums = Sums::default();
    let all: Vec<usize> = (0..set.len()).collect();
    for indices in all.chunks(MEASURED) {
        let (inputs, classes) = set.batch(indices, |_| 0);
        let report = trainer.evaluate(&inputs, &classes)?;
        sums.add(&report);
        sums.results.extend(report.images);
    }
    Ok(Some(sums))
}

/// One number of several.
fn mixed(numbers: &[u64]) -> u64 {
    // FNV-1a over whole words, then spread by SplitMix64's constant.
    let fold = |hash: u64, number: &u64| (hash ^ number).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    numbers.iter().fold(0xcbf2_9ce4_8422_2325, fold).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
