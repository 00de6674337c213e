// Included by what differs from step to step of training.

struct TrainingStep {
  seed: vec2u,
  number: u32,
  first_image: u32,      // of this part of the step's images

  rate: f32,             // the learning rate, as the schedule has it
  dropout: u32,          // whether numbers are dropped
  correction1: f32,      // AdamW's corrections of its moments, 1 / (1 − beta^number)
  correction2: f32,
}
@group(0) @binding(10) var<storage, read> current: TrainingStep;
