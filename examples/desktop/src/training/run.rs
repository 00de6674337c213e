//! What the training's thread does: it reads the pictures into memory, takes steps, and saves the best model.

use std::{
    fs,
    io::ErrorKind,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    AlexNet, Gpu, Model, Network, Picture, Pipeline, Preprocessing, Resize, Variant, Weights, splitmix,
    train::{Init, Optimizer, Schedule, StepReport, Trainer, head, initial_weights, shuffled},
    wgpu::DeviceType,
};
use half::f16;

use super::{
    Command, Measured, Recipe, Shared, Stage,
    folder::{Found, Labelled},
};
use crate::{
    filters::Filters,
    pictures::at_once,
    worker::{LATER, SOON},
};

/// Inputs are kept in memory, which takes at most so many bytes.
const BYTES: usize = 2 << 30;
/// Pictures of a measurement at once.
const MEASURED: usize = 256;
/// Pictures that a model can be tried on.
const EXAMPLES: usize = 12;
/// The time between two looks at the filters.
const BETWEEN_FILTERS: Duration = Duration::from_secs(1);
/// The side of a whole network's input, and of the pictures of which it gets a part at random.
const SIDE: usize = 67;
const AROUND: usize = 76;

/// Looks into the folder and trains when it is told to.
pub(super) fn work(
    folder: &Path,
    open: impl Fn() -> Result<Gpu, String>,
    commands: &Receiver<Command>,
    shared: &Shared,
) -> Result<(), String> {
    let found = Found::find(folder)?;
    shared.tell(SOON, |progress| {
        progress.labels.clone_from(&found.labels);
        (progress.training, progress.held) = (found.training.len(), found.held.len());
        let step = found.held.len().div_ceil(EXAMPLES).max(1);
        progress.examples = found.held.iter().step_by(step).map(|picture| picture.path.clone()).collect();
        progress.stage = Stage::Ready;
    });
    loop {
        let Ok(Command::Start(recipe, epochs)) = commands.recv() else { return Ok(()) };
        let gpu = open()?;
        let task = Task::new(recipe, found.labels.len()).map_err(|e| e.to_string())?;
        let Some([training, held]) = task.inputs(&gpu, &found, shared)? else {
            shared.tell(SOON, |progress| progress.stage = Stage::Ready);
            continue;
        };
        let mut run = Run::new(&gpu, task, [training, held], found.labels, folder, epochs, shared)?;
        loop {
            run.train()?;
            let Ok(Command::GoOn) = commands.recv() else { return Ok(()) };
        }
    }
}

/// A network to be trained, and how.
struct Task {
    /// The features that it gets in place of pictures.
    trunk: Option<Model>,
    network: Network,
    weights: Weights,
    preprocessing: Preprocessing,
    optimizer: Optimizer,
    rate: f32,
    decay: f32,
    batch: usize,
}

impl Task {
    fn new(recipe: Recipe, classes: usize) -> Result<Self, alexnet_wgpu::WeightsError> {
        let (trunk, network, preprocessing) = match recipe {
            Recipe::Head => {
                let trunk = Model::imagenet_trunk()?;
                let (network, preprocessing) = (head(trunk.network.output(), &[256], classes)?, trunk.preprocessing);
                (Some(trunk), network, preprocessing)
            }
            Recipe::Whole => {
                let alexnet = AlexNet::UNGROUPED.width(0.5).head(512, 512).classes(classes);
                let input = alexnet_wgpu::Shape::new(3, SIDE, SIDE);
                let preprocessing = Variant::Ungrouped.preprocessing().resize(Resize::ShorterSide(AROUND));
                (None, alexnet.network()?.with_input(input)?, preprocessing.cropped(SIDE, SIDE))
            }
        };
        let weights = initial_weights(&network, Init::Torch, 0);
        // Those of `alexnet train`: its recipes finetune and torchvision.
        let (optimizer, rate, decay, batch) = match recipe {
            Recipe::Head => (Optimizer::ADAMW, 5e-4, 0.01, 64),
            // A frame of the window waits for the step before it.
            Recipe::Whole => (Optimizer::SGD, 0.01, 1e-4, 32),
        };
        Ok(Self { trunk, network, weights, preprocessing, optimizer, rate, decay, batch })
    }

    /// Reads the pictures that are trained on, and those held back. `None` after a stop.
    fn inputs(&self, gpu: &Gpu, found: &Found, shared: &Shared) -> Result<Option<[Inputs; 2]>, String> {
        let (preprocessing, len) = match &self.trunk {
            Some(trunk) => (trunk.preprocessing, self.network.input().len()),
            None => (self.preprocessing.cropped(AROUND, AROUND), 3 * AROUND * AROUND),
        };
        let pictures: Vec<&Labelled> = found.training.iter().chain(&found.held).collect();
        let bytes = pictures.len() * len * size_of::<f16>();
        if bytes > BYTES {
            return Err(format!(
                "expected at most {} pictures, which are kept in memory, found {}: `alexnet train` takes any number",
                BYTES / len / size_of::<f16>(),
                pictures.len()
            ));
        }
        let mut features = self.trunk.as_ref().map(|trunk| Features::new(gpu, trunk)).transpose()?;
        let mut rows: Vec<Option<Vec<f16>>> = vec![None; pictures.len()];
        let mut done = 0;
        let took = read(&pictures, preprocessing, |index, input| {
            done += 1;
            shared.tell(LATER, |progress| progress.stage = Stage::Reading(done, pictures.len()));
            match (&mut features, input) {
                (Some(features), Some(input)) => features.add(index, input, &mut rows)?,
                (None, Some(input)) => rows[index] = Some(input.into_iter().map(f16::from_f32).collect()),
                (_, None) => {}
            }
            Ok(!shared.is_stopped())
        });
        if !took? {
            return Ok(None);
        }
        if let Some(features) = &mut features {
            features.finish(&mut rows)?;
        }
        let (training, held) = rows.split_at(found.training.len());
        let sets = [Inputs::new(training, &found.training, len), Inputs::new(held, &found.held, len)];
        let counts = [sets[0].classes.len(), sets[1].classes.len()];
        shared.tell(SOON, |progress| {
            progress.unreadable = pictures.len() - counts[0] - counts[1];
            [progress.training, progress.held] = counts;
        });
        if counts[0] == 0 {
            return Err("none of the pictures can be read: choose a folder of JPEG, PNG or other pictures".into());
        }
        Ok(Some(sets))
    }

    /// The whole network with these parameters.
    fn model(&self, trained: &Weights, labels: &[String]) -> Result<Model, alexnet_wgpu::WeightsError> {
        match &self.trunk {
            Some(trunk) => trunk.with_head(&self.network, trained, labels.to_vec()),
            None => Model::new(self.network.clone(), trained.clone(), self.preprocessing, labels.to_vec()),
        }
    }
}

/// Reads and preprocesses pictures on several threads. `take` gets each with its index as they come, `None` where it cannot be read,
/// and says whether to go on. Whether all were taken.
fn read(
    pictures: &[&Labelled],
    preprocessing: Preprocessing,
    mut take: impl FnMut(usize, Option<Vec<f32>>) -> Result<bool, String>,
) -> Result<bool, String> {
    let (send, inputs) = mpsc::sync_channel(32);
    let first = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once() {
            let (send, first) = (send.clone(), &first);
            scope.spawn(move || {
                loop {
                    let index = first.fetch_add(1, Ordering::Relaxed);
                    let Some(picture) = pictures.get(index) else { return };
                    let input = || preprocessing.apply(&Picture::open(&picture.path).ok()?).ok();
                    // A decoder that panics costs one picture.
                    let input = panic::catch_unwind(AssertUnwindSafe(input)).ok().flatten();
                    if send.send((index, input)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (index, input) in inputs {
            if !take(index, input)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Features of pictures, some at a time.
struct Features {
    pipeline: Pipeline,
    indices: Vec<usize>,
    inputs: Vec<f32>,
}

impl Features {
    fn new(gpu: &Gpu, trunk: &Model) -> Result<Self, String> {
        // A frame of the window waits for those before it.
        let batch = if gpu.info().device_type == DeviceType::Cpu { 4 } else { 16 };
        let builder = Pipeline::builder(gpu, &trunk.network, &trunk.weights).batch(batch);
        let pipeline = builder.build().map_err(|e| e.to_string())?;
        Ok(Self { pipeline, indices: Vec::new(), inputs: Vec::new() })
    }

    fn add(&mut self, index: usize, input: Vec<f32>, rows: &mut [Option<Vec<f16>>]) -> Result<(), String> {
        self.indices.push(index);
        self.inputs.extend(input);
        if self.indices.len() == self.pipeline.batch() { self.finish(rows) } else { Ok(()) }
    }

    fn finish(&mut self, rows: &mut [Option<Vec<f16>>]) -> Result<(), String> {
        if self.indices.is_empty() {
            return Ok(());
        }
        // The last ones may be fewer.
        self.inputs.resize(self.pipeline.batch() * self.pipeline.network().input().len(), 0.0);
        let outputs = self.pipeline.run_blocking(&self.inputs).map_err(|e| e.to_string())?;
        let len = self.pipeline.network().output().len();
        for (index, output) in self.indices.drain(..).zip(outputs.chunks_exact(len)) {
            rows[index] = Some(output.iter().copied().map(f16::from_f32).collect());
        }
        self.inputs.clear();
        Ok(())
    }
}

/// Inputs of a network in memory, one a picture.
struct Inputs {
    values: Vec<f16>,
    classes: Vec<usize>,
    len: usize,
}

impl Inputs {
    fn new(rows: &[Option<Vec<f16>>], pictures: &[Labelled], len: usize) -> Self {
        let known = || rows.iter().zip(pictures).filter_map(|(row, picture)| Some((row.as_ref()?, picture.class)));
        let values = known().flat_map(|(row, _)| row.iter().copied()).collect();
        Self { values, classes: known().map(|(_, class)| class).collect(), len }
    }

    /// The inputs and classes of some. Of pictures that are larger than the network's input, `draw` seeds which part is taken and
    /// whether it is mirrored; without it, the middle is.
    fn batch(&self, indices: &[usize], input: usize, draw: Option<u64>) -> (Vec<f32>, Vec<usize>) {
        let mut inputs = Vec::with_capacity(indices.len() * input);
        for &index in indices {
            let row = &self.values[index * self.len..][..self.len];
            if self.len == input {
                inputs.extend(row.iter().map(|value| value.to_f32()));
                continue;
            }
            let most = AROUND - SIDE;
            let draws = draw.map(|seed| splitmix::uniform(seed ^ (index as u64) << 24, 3, 0.5));
            let [x, y, mirrored] = match draws.as_deref() {
                Some(&[x, y, z]) => [x, y, z].map(|v| v + 0.5),
                _ => [0.5, 0.5, 1.0],
            };
            let [left, top] = [x, y].map(|share| ((share * (most + 1) as f32) as usize).min(most));
            for line in row.chunks_exact(AROUND).enumerate().filter_map(|(at, line)| {
                let inside = (top..top + SIDE).contains(&(at % AROUND));
                inside.then_some(&line[left..left + SIDE])
            }) {
                let values = line.iter().map(|value| value.to_f32());
                if mirrored < 0.5 { inputs.extend(values.rev()) } else { inputs.extend(values) }
            }
        }
        (inputs, indices.iter().map(|&index| self.classes[index]).collect())
    }
}

/// The sums of some reports.
#[derive(Default)]
struct Sums {
    loss: f64,
    correct: usize,
    images: usize,
}

impl Sums {
    fn add(&mut self, report: &StepReport) {
        self.loss += report.loss * report.images.len() as f64;
        self.correct += report.correct;
        self.images += report.images.len();
    }

    /// Loss and accuracy; `None` of no images.
    fn means(&self) -> Option<[f64; 2]> {
        let images = self.images as f64;
        (self.images > 0).then(|| [self.loss / images, self.correct as f64 / images])
    }
}

/// A training in steps.
struct Run<'a> {
    task: Task,
    trainer: Trainer,
    training: Inputs,
    held: Inputs,
    labels: Vec<String>,
    file: PathBuf,
    epochs: u64,
    /// The steps taken.
    steps: u64,
    /// The pictures in the order of the epoch.
    order: Vec<usize>,
    sums: Sums,
    shared: &'a Shared,
}

impl<'a> Run<'a> {
    fn new(
        gpu: &Gpu,
        task: Task,
        [training, held]: [Inputs; 2],
        labels: Vec<String>,
        folder: &Path,
        epochs: u64,
        shared: &'a Shared,
    ) -> Result<Self, String> {
        let batch = task.batch.min(training.classes.len());
        let builder = Trainer::builder(gpu, &task.network, &task.weights).batch(batch);
        let trainer = builder.optimizer(task.optimizer).weight_decay(task.decay).build().map_err(|e| e.to_string())?;
        let file = model_folder(folder)?.join("best.safetensors");
        let task = Task { batch, ..task };
        let (order, sums) = (Vec::new(), Sums::default());
        let run = Self { task, trainer, training, held, labels, file, epochs, steps: 0, order, sums, shared };
        shared.tell(SOON, |progress| progress.total = run.total());
        Ok(run)
    }

    fn steps_of_epoch(&self) -> u64 {
        self.training.classes.len().div_ceil(self.task.batch) as u64
    }

    fn total(&self) -> u64 {
        self.epochs * self.steps_of_epoch()
    }

    /// Takes steps until the end, or until it is stopped.
    fn train(&mut self) -> Result<(), String> {
        self.shared.tell(SOON, |progress| progress.stage = Stage::Training);
        let (total, of_epoch) = (self.total(), self.steps_of_epoch());
        let mut looked = None::<Instant>;
        while self.steps < total && !self.shared.is_stopped() {
            self.step(total)?;
            if self.steps.is_multiple_of(of_epoch) {
                self.measure()?;
            }
            if self.task.trunk.is_none() && looked.is_none_or(|looked| looked.elapsed() > BETWEEN_FILTERS) {
                looked = Some(Instant::now());
                self.look()?;
            }
            // wgpu resizes the window only while nothing is submitted.
            thread::sleep(Duration::from_millis(2));
        }
        if self.sums.images > 0 {
            self.measure()?;
        }
        let stage = if self.steps < total { Stage::Stopped } else { Stage::Done };
        self.shared.tell(SOON, |progress| progress.stage = stage);
        Ok(())
    }

    fn step(&mut self, total: u64) -> Result<(), String> {
        let (epoch, at) = (self.steps / self.steps_of_epoch(), self.steps % self.steps_of_epoch());
        if at == 0 {
            self.order = shuffled(self.training.classes.len(), epoch);
        }
        let indices = self.order.chunks(self.task.batch).nth(at as usize).unwrap_or_default();
        let input = self.task.network.input().len();
        let (inputs, classes) = self.training.batch(indices, input, Some(self.steps));
        let rate = self.task.rate * Schedule::Cosine.factor(self.steps, total) as f32;
        let mut report = self.trainer.step(&inputs, &classes, rate).map_err(|e| e.to_string())?;
        let report = self.trainer.wait(&mut report).map_err(|e| e.to_string())?;
        if !report.loss.is_finite() {
            return Err(format!(
                "the loss is not a finite number after step {}: train `{}`, or with `alexnet train` and a smaller --lr",
                self.steps + 1,
                Recipe::Head.title()
            ));
        }
        self.steps += 1;
        self.sums.add(&report);
        let (steps, loss) = (self.steps, report.loss);
        let epochs = steps as f64 / self.steps_of_epoch() as f64;
        self.shared.tell(LATER, |progress| {
            progress.steps = steps;
            progress.losses.push([epochs, loss]);
        });
        Ok(())
    }

    /// Measures the pictures held back, and saves the model where it is better than ever.
    fn measure(&mut self) -> Result<(), String> {
        let mut held = Sums::default();
        let all: Vec<usize> = (0..self.held.classes.len()).collect();
        for indices in all.chunks(MEASURED) {
            let (inputs, classes) = self.held.batch(indices, self.task.network.input().len(), None);
            held.add(&self.trainer.evaluate(&inputs, &classes).map_err(|e| e.to_string())?);
        }
        let held = held.means();
        let training = std::mem::take(&mut self.sums).means().unwrap_or_default();
        let best = self.shared.progress().best;
        // Without pictures held back, the newest is the best.
        if held.is_none_or(|[_, accuracy]| best.is_none_or(|best| accuracy > best)) {
            self.save()?;
        }
        let epochs = self.steps as f64 / self.steps_of_epoch() as f64;
        self.shared.tell(SOON, |progress| {
            progress.best = held.map(|[_, accuracy]| progress.best.map_or(accuracy, |best| best.max(accuracy)));
            progress.measured.push(Measured { epochs, training, held });
        });
        Ok(())
    }

    fn model(&self) -> Result<Model, String> {
        let weights = self.trainer.weights().map_err(|e| e.to_string())?;
        self.task.model(&weights, &self.labels).map_err(|e| e.to_string())
    }

    fn save(&self) -> Result<(), String> {
        let weights = self.model()?.to_weights().map_err(|e| e.to_string())?;
        weights.save(&self.file).map_err(|e| e.to_string())?;
        self.shared.progress().saved = Some(self.file.clone());
        Ok(())
    }

    /// Shows the filters as they are now.
    fn look(&self) -> Result<(), String> {
        let filters = Filters::of(&self.model()?).map(|filters| (self.steps, filters));
        self.shared.tell(LATER, |progress| progress.filters = filters);
        Ok(())
    }
}

impl Drop for Run<'_> {
    /// Leaves no folder behind that nothing was saved in.
    fn drop(&mut self) {
        let _ = self.file.parent().map(fs::remove_dir);
    }
}

/// Makes a new folder for the model, beside the folder of the pictures.
fn model_folder(pictures: &Path) -> Result<PathBuf, String> {
    let pictures = fs::canonicalize(pictures).unwrap_or_else(|_| pictures.into());
    let name = pictures.file_name().map_or("pictures".into(), |name| name.to_string_lossy().into_owned());
    for number in 1.. {
        let name = if number == 1 { format!("{name}-model") } else { format!("{name}-model-{number}") };
        let folder = pictures.parent().unwrap_or(&pictures).join(name);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(format!(
                    "cannot make {} for the model: {e}; copy the pictures to a place that can be written to",
                    folder.display()
                ));
            }
        }
    }
    unreachable!("the numbers do not end")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_part_of_a_picture_is_taken_at_random_and_the_middle_without() {
        let plane: Vec<f16> = (0..AROUND * AROUND).map(|at| f16::from_f32((at % AROUND) as f32)).collect();
        let inputs = Inputs { values: plane.repeat(3), classes: vec![1], len: 3 * AROUND * AROUND };
        let len = 3 * SIDE * SIDE;
        let (middle, classes) = inputs.batch(&[0], len, None);
        assert_eq!((middle.len(), classes), (len, vec![1]));
        assert_eq!([middle[0], middle[SIDE - 1]], [5.0, (SIDE + 4) as f32]);
        let firsts: Vec<f32> = (0..40).map(|draw| inputs.batch(&[0], len, Some(draw)).0[0]).collect();
        // From the left, or mirrored from the right.
        assert!(firsts.iter().any(|&x| x < 10.0) && firsts.iter().any(|&x| x > 60.0), "{firsts:?}");
        assert!(firsts.iter().all(|x| !(10.0..66.0).contains(x)));
    }

    #[test]
    fn a_model_never_takes_another_ones_folder() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("pictures");
        fs::create_dir(&pictures).unwrap();
        let names: Vec<_> = (0..3).map(|_| model_folder(&pictures).unwrap()).collect();
        let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["pictures-model", "pictures-model-2", "pictures-model-3"]);
    }
}
