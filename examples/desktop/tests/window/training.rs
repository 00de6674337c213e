//! A network learns the classes of a folder.

use alexnet_wgpu::{Model, ModelOptions};
use image::{Rgb, RgbImage};

use super::*;

/// A folder of two classes that anything can tell apart: horizontal and vertical stripes.
fn stripes(folder: &Path, pictures: u32) -> PathBuf {
    let folder = folder.join("stripes");
    for (class, vertical) in [("across", false), ("down", true)] {
        let class = folder.join(class);
        fs::create_dir_all(&class).unwrap();
        for number in 0..pictures {
            let pixel = |x: u32, y: u32| {
                let at = if vertical { x } else { y } + number;
                Rgb(if at / (4 + number % 3) % 2 == 0 { [20, 30, 40] } else { [220, 200, 180] })
            };
            RgbImage::from_fn(80, 80, pixel).save(class.join(format!("{number}.png"))).unwrap();
        }
    }
    folder
}

fn train_on(harness: &mut Harness<'_, Window>, folder: PathBuf) {
    settle(harness);
    harness.key_press(Key::Num5);
    harness.run_steps(2);
    assert!(shows(harness, "Choose folder"));
    // As file managers copy it.
    harness.event(Event::Paste(format!("file://{}", folder.display())));
    harness.run_steps(2);
    settle(harness);
}

#[test]
fn a_model_is_trained_and_tried() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = stripes(folder.path(), 15);
    fs::write(pictures.join("down").join("broken.png"), "not a picture").unwrap();
    let mut harness = standard();
    train_on(&mut harness, pictures);
    assert!(shows(&harness, "2 classes, 25 pictures to train on, 6 held back"));
    assert!(shows(&harness, "across, down"));
    harness.get_by_label("Start training").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(shows(&harness, "The best model names 100.0 % of the pictures held back"));
    assert!(shows(&harness, "1 unreadable"));
    assert!(shows(&harness, "Loss by epoch") && shows(&harness, "Per cent right by epoch"));
    let file = folder.path().join("stripes-model").join("best.safetensors");
    let model = Model::open(&file, &ModelOptions::default()).unwrap();
    assert_eq!(model.labels, ["across", "down"]);
    snapshot(&mut harness, "train");

    harness.get_by_label("Try it").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().source, Source::File(file));
    assert_eq!(harness.state_mut().app().pictures().count(), 6);
    assert!(["across", "down"].contains(&best(&mut harness).as_str()));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn a_whole_network_shows_its_filters_and_goes_on_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = standard();
    train_on(&mut harness, stripes(folder.path(), 40));
    harness.get_by_label("A whole network from random weights").click();
    harness.run_steps(2);
    harness.get_by_label("Start training").click();
    harness.run_steps(2);
    wait(&mut harness, "filters", |app| app.is_training());
    while !shows(&harness, "48 filters of the first layer after step") {
        wait(&mut harness, "a frame", |_| true);
        assert!(harness.state_mut().app().is_training());
    }
    harness.get_by_label("Stop").click();
    harness.run_steps(2);
    settle(&mut harness);
    let model = folder.path().join("stripes-model").join("best.safetensors");
    assert!(model.is_file());
    harness.get_by_label("Go on").click();
    harness.run_steps(2);
    assert!(harness.state_mut().app().is_training());
    harness.get_by_label("Stop").click();
    harness.run_steps(2);
    settle(&mut harness);
    // Another one takes no folder of the first.
    harness.get_by_label("Train again").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(shows(&harness, "Start training"));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn a_folder_without_classes_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = standard();
    train_on(&mut harness, folder.path().into());
    assert!(shows(&harness, "expected a folder of pictures for each class, found none"));
    assert!(shows(&harness, "Another folder"));
}
